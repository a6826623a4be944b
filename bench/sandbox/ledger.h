/*
 * What the sandbox did and saw: the executions (the money that moved) and the
 * requests (the bytes that came). Both are rings that forget their oldest
 * entry, so a benchmark may run for hours. It answers two questions of a test:
 * "was this key executed once?" and "what exactly did the processor get?"
 */
#ifndef SANDBOX_LEDGER_H
#define SANDBOX_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"

#define LEDGER_EXECUTIONS_MAX 200000
#define LEDGER_REQUESTS_MAX 10000
#define LEDGER_KEY_BYTES_MAX 255
#define LEDGER_BODY_BYTES_MAX 4096 /* of a request's body are kept */
#define LEDGER_TENANT_BYTES 12     /* hex digits of the hash of Authorization */
#define LEDGER_CURRENCY_BYTES_MAX 15
#define LEDGER_NUMBER_BYTES 20     /* hex digits of an execution's name, without its prefix */

struct ledger;

/* One payment that was made. Owned by the ledger; valid until the next ledger_execute or ledger_reset. */
struct execution {
    uint64_t number;                               /* counts from 1, never reused */
    char id[LEDGER_NUMBER_BYTES + 1];              /* unique among sandboxes; answers put pay_ or pi_ before it */
    char tenant[LEDGER_TENANT_BYTES + 1];          /* "" without Authorization */
    char currency[LEDGER_CURRENCY_BYTES_MAX + 1];  /* "" when the request named none */
    uint64_t amount;
    uint64_t at_wall_us;
    bool intent;                                   /* came in the Stripe dialect */
    uint64_t print;                                /* hash of the request that it was made for; 0: not asked for */
    uint64_t busy_until_us;                        /* monotonic; 0: its answer left at once */
    size_t key_len;                                /* 0: the request had no key */
    char key[];
};

/* What a payment is made of. */
struct execution_order {
    struct bytes key;
    struct bytes authorization; /* the whole value; the ledger keeps its hash */
    struct bytes currency;
    uint64_t amount;
    bool intent;
    uint64_t print;   /* told back by whoever finds the execution */
    uint64_t busy_ms; /* for how long its answer will not have left */
};

/* `dedup`: a tenant's key executes once. NULL on no memory. */
WEIR_MUSTCHECK struct ledger *ledger_open(bool dedup);
void ledger_close(struct ledger *ledger);
/* Forgets everything, the keys too. Numbers go on. */
void ledger_reset(struct ledger *ledger);

/*
 * Executes, or with dedup finds the execution that had this tenant's key; *replayed tells which.
 * NULL: no memory, nothing was executed.
 */
WEIR_MUSTCHECK const struct execution *ledger_execute(struct ledger *ledger, const struct execution_order *order,
                                                      bool *replayed);
/* By the id without its prefix; NULL: not here, or forgotten. */
const struct execution *ledger_find(const struct ledger *ledger, struct bytes id);

/* A request as it came. The slices are borrowed for the call. */
struct request_seen {
    struct bytes head;     /* raw, through its empty line */
    uint64_t connection;   /* which one, counting from 1 */
    bool reused;           /* not the connection's first request */
    const char *malformed; /* what broke HTTP (a static text); NULL: nothing */
};

/* Notes a request whose head has come; returns its number for ledger_note_body, 0 on no memory. */
uint64_t ledger_note_request(struct ledger *ledger, const struct request_seen *seen);
/* Its body has come whole: `kept` is its beginning. A request that was forgotten meanwhile is ignored. */
void ledger_note_body(struct ledger *ledger, uint64_t number, struct bytes kept, uint64_t body_bytes);
/* Its body broke HTTP or was cut short. */
void ledger_note_fault(struct ledger *ledger, uint64_t number, const char *malformed);

/* JSON arrays, oldest first; malloc'ed, the caller frees. at is NULL on no memory. */
WEIR_MUSTCHECK struct bytes ledger_print_executions(const struct ledger *ledger, const char *processor);
WEIR_MUSTCHECK struct bytes ledger_print_requests(const struct ledger *ledger);

#endif
