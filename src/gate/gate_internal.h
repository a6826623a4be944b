/*
 * What the files of the gate share: one struct gate per process, its listeners,
 * and the seam between an exchange and the client it serves. An exchange does
 * not know which protocol its client speaks: it talks to a client_stream.
 */
#ifndef WEIR_GATE_INTERNAL_H
#define WEIR_GATE_INTERNAL_H

#include "weir/base/arena.h"
#include "weir/base/buf.h"
#include "weir/base/list.h"
#include "weir/base/pool.h"
#include "weir/base/table.h"
#include "weir/gate/gate.h"
#include "weir/http/message.h"
#include "weir/http/write.h"
#include "weir/io/stream.h"
#include "weir/io/timer.h"
#include "weir/policy/idem.h"
#include "weir/policy/reason.h"

#include "shedding.h"

/* Room for the largest head weir writes: a processor's, plus what weir adds. */
#define GATE_SCRATCH_BYTES (RESPONSE_HEAD_BYTES_MAX + 16 * 1024)
/* Pipelined bytes that may wait behind a running exchange, before reading pauses. */
#define CLIENT_PENDING_BYTES_MAX (64 * 1024)
/* After an error answer: how much of the rest is read and thrown away, and for how long (RFC 9112 9.6). A caller that is
 * still sending its body must not lose the answer that says that nothing moved to the reset that unread bytes cause. */
#define CLIENT_LINGER_BYTES_MAX (1024 * 1024)
#define CLIENT_LINGER_US UINT64_C(2000000)
/* Runs of an answer's body that go out together: what framing adds (head, chunk head and tail, last chunk) fits beside. */
#define GATE_PARTS_MAX (STREAM_PARTS_MAX - 4)
/* Retry-After of answers that a moment's patience may mend. */
#define RETRY_AFTER_S 1

struct exchange;
struct limit_ready;
struct limiter;

/* ---- generation.c ---- */

#define HTTP_STATUS_COUNT 600

/* One route, ready: what its exchanges need without looking anything up. */
struct route_ready {
    const struct conf_route *conf;
    const struct conf_processor *processor_conf;
    struct processor *processor;  /* held by the generation */
    struct circuit *circuit;      /* the breaker of this route's calls there */
    struct route_ready *failover; /* the same route to the processor that takes what could not be sent; NULL: none */
    const struct profile *profile;
    uint64_t body_bytes_max;      /* 0: the listener's */
    uint32_t response_ms, total_ms;
    char access[512];             /* its part of the access line, ready: members of a JSON object */
    size_t access_len;
    stats_id stat_duration, stat_overhead, stat_processor_duration, stat_in_flight;
    stats_id stat_failovers;      /* to `failover` */
    stats_id stat_outcomes[OUTCOME_COUNT];
    stats_id stat_verdicts[IDEM_MISMATCH + 1]; /* what the store said to begins; STATS_NONE: no idempotency */
    stats_id stat_replays[HTTP_STATUS_COUNT];  /* requests_total of replayed answers by status; 0: not yet asked for */
    stats_id stat_reasons[REASON_COUNT];       /* requests_total of weir's own answers; 0: not yet asked for */
    stats_id stat_answers[HTTP_STATUS_COUNT];  /* requests_total of the processor's answers by status; ditto */
};

struct generation {
    struct conf *conf;
    struct generation_parts parts;
    struct generation_needs needs;
    uint32_t number;
    uint32_t holders;
    struct route_match *matches;
    struct route_ready *routes;
    struct route_ready *failovers;       /* of those routes that have one; in their order */
    struct processor **processors;       /* one per conf processor, held */
    struct profile *profiles;            /* one per conf profile */
    struct limit_ready *limits;          /* one per conf limit */
    struct route_ready unrouted;         /* counts requests that found no route */
    const struct profile *fallback;      /* shape of errors before a route is known */
};

/* ---- profiles.c ---- */

/* A profile as policy asks it. Texts are borrowed from the conf. */
void profile_from_conf(struct profile *profile, const struct conf_profile *from);

/* The route of a request; NULL: none. */
struct route_ready *generation_route(struct generation *generation, const struct http_head *head);
/* requests_total for an ended exchange. */
stats_id generation_requests_series(struct generation *generation, struct route_ready *route, uint16_t status,
                                    enum reason reason);

/* ---- listener.c ---- */

struct listener {
    struct gate *gate;              /* borrowed: the owner */
    struct list in_listeners;
    struct acceptor *acceptor;      /* NULL: no longer listening */
    struct generation *generation;  /* held: the newest that has this listener */
    const struct conf_listener *conf; /* in that generation */
    struct tls_server *tls;         /* in that generation; NULL: plain */
    uint32_t clients_count;
    bool paused;                    /* at its maximum of connections */
    bool closing;
    struct deferred burial;
    stats_id stat_accepted, stat_refused_address, stat_clients, stat_handshakes_failed;
    stats_id stat_handshakes[2][2]; /* by version (1.2, 1.3) and resumed */
};

WEIR_MUSTCHECK struct listener *listener_open(struct gate *gate, struct generation *generation, int index, char *why,
                                              size_t size);
/* Goes over to a newer generation, where it may have another name. */
void listener_renew(struct listener *listener, struct generation *generation, int index);
/* Stops accepting; goes when its last client has. */
void listener_close(struct listener *listener);
/* A client's connection is closing: its address has one less. `peer` is the socket's. */
void listener_forget_address(struct listener *listener, const struct addr *peer);
/* A client is gone. */
void listener_client_gone(struct listener *listener);

/* ---- client.c: the seam ---- */

/* What goes out in front of an answer's body. */
struct answer {
    uint16_t status;
    const struct http_head *from; /* fields of the processor's answer to pass on; NULL: none */
    struct bytes lines;           /* weir's own fields, whole lines */
    enum http_framing framing;
    uint64_t content_length;      /* for HTTP_FRAMING_LENGTH */
};

struct client_stream;

struct client_stream_ops {
    /* The head and the first parts of the body; `end`: nothing follows. */
    enum err (*answer)(struct client_stream *client, const struct answer *answer, const struct bytes *parts, int count,
                       bool end);
    /* More of the body. count 0 with end: just the end. */
    enum err (*body)(struct client_stream *client, const struct bytes *parts, int count, bool end);
    /* 100 Continue. */
    void (*go_on)(struct client_stream *client);
    /* Bytes that wait to be sent. */
    size_t (*queued)(const struct client_stream *client);
    /* Holds the client's body back; lets it go on. */
    void (*pause)(struct client_stream *client);
    void (*resume)(struct client_stream *client);
    /* The exchange is over and lets go of the client. `whole`: the answer went out entirely; else it is cut. */
    void (*finished)(struct client_stream *client, bool whole);
};

/* Facts of a client that its exchanges read. */
struct client_stream {
    const struct client_stream_ops *ops;
    struct exchange *exchange;      /* the one being served; NULL: none */
    struct listener *listener;      /* borrowed; it stays while it has clients */
    struct stream *stream;          /* for facts only: peer, TLS */
    const struct addr *peer;        /* the client's address: the PROXY header's, or the socket's */
    bool peer_trusted;
};

/* Takes an accepted stream in. */
void client_begin(struct listener *listener, struct stream *stream);

struct client;
size_t client_bytes(void); /* of a struct client, for the pool */
size_t client_more_bytes(void); /* ditto, of what some clients need besides */
/* Ends clients between requests; of one listener, or of all (NULL). */
void client_close_idle(struct gate *gate, const struct listener *listener);
void client_close_all(struct gate *gate);

/* ---- gate.c ---- */

struct gate {
    struct gate_options options;
    struct generation *generation;   /* held; NULL before the first */
    struct list listeners;
    struct list clients;
    struct list exchanges;
    struct pool client_pool;
    struct pool client_more_pool;
    struct pool exchange_pool;
    struct store *store;             /* borrowed; NULL: not open */
    struct limiter *limiter;         /* who has used how much of what */
    struct table *claims;            /* name of a record -> struct claim: the first with its key in this process */
    uint32_t waiters_count;          /* duplicates that wait for these */
    uint32_t late_count;             /* exchanges in LATE: they hold up nothing */
    struct shedding shedding;        /* who is turned away when there is too much to do */
    stats_id stat_unknown, stat_conflicts, stat_resolved[IDEM_HOW_COUNT];
    struct table *per_address;       /* address -> count of connections (as uintptr_t) */
    uint32_t clients_count, clients_tls_count, exchanges_count, exchanges_sent_count;
    uint64_t exchanges_total;
    bool draining;                   /* answers carry Connection: close */
    bool closing;                    /* no new client, no new request on an idle one */
    void (*quiet)(void *owner);
    void *quiet_owner;
    struct deferred quiet_later;
    struct bytes parts[GATE_PARTS_MAX];   /* body of the answer that is arriving now; emptied within the event */
    int part_count;
    char scratch[GATE_SCRATCH_BYTES];     /* one head at a time */
};

/* Something ended: tells a waiting drain. */
void gate_check_quiet(struct gate *gate);

/* ---- access.c ---- */

void access_write(struct exchange *x);

#endif
