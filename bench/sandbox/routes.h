/*
 * What the sandbox answers: from a whole request to a status and a body. It
 * executes payments in the ledger and reads or changes the test's own
 * resources (those that begin with /_). It knows neither sockets nor the faults
 * that concern them.
 */
#ifndef SANDBOX_ROUTES_H
#define SANDBOX_ROUTES_H

#include "dialect.h"
#include "faults.h"
#include "ledger.h"
#include "weir/base/arena.h"
#include "weir/http/head.h"

/* What every connection of one sandbox shares. */
struct sandbox {
    const char *name;          /* borrowed from the command line */
    struct bytes key_field;    /* the header that carries the key, ditto */
    const struct dialect *dialect; /* the processor that it plays; NULL: one of its own kind */
    struct ledger *ledger;     /* owned by main */
    struct faults_armed armed;        /* of payments */
    struct faults_armed armed_health; /* of GET /healthz */
};

/* A whole request; all borrowed from the connection until it has answered. */
struct request {
    const struct http_head *head;
    struct bytes body;   /* its first REQUEST_BODY_BYTES_KEPT bytes, or all of it */
    uint64_t busy_ms;    /* a fault will hold its answer back for so long */
};

#define REQUEST_BODY_BYTES_KEPT (64 * 1024)

struct answer {
    uint16_t status;
    struct bytes body;    /* static, in the arena, or `owned` */
    uint64_t filler_bytes; /* come behind body */
    struct bytes tail;    /* comes behind the filler; static */
    char *owned;          /* malloc'ed; answer_release frees it; NULL: none */
    const char *type;     /* Content-Type; static */
    bool replayed;        /* Idempotent-Replayed: true */
    struct bytes lines;   /* more of the head, whole lines in the arena */
};

/* Whether faults of headers and armed ones apply; the test's own resources are spared. */
bool routes_target_is_control(struct bytes target);
/* The armed faults that such a request takes; NULL: none. */
struct faults_armed *routes_armed(struct sandbox *sandbox, const struct http_head *head);

/* Fills in the answer; executes what the request asks for. Memory comes from the arena. */
void routes_answer(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer);
/* An error in the manner of Stripe: {"error":{"type":..,"message":..}}, or of its dialect. `message` is copied. */
void routes_answer_error(const struct sandbox *sandbox, struct arena *arena, uint16_t status, struct bytes message,
                         struct answer *answer);
/* The same, as a fault has it: `executed` tells whether the payment was made all the same. */
void routes_answer_fault(const struct sandbox *sandbox, struct arena *arena, uint16_t status, bool executed,
                         struct answer *answer);
/* Makes the body `bytes` long at least, and still JSON: what `big` asks for. */
void routes_answer_grow(struct answer *answer, uint64_t bytes);
void answer_release(struct answer *answer);

#endif
