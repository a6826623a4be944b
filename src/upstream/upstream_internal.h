/*
 * What the files of this layer share: the tree upstream > processor > endpoint
 * > link, and who may change what. Each struct is written by its own file
 * alone, but for the counts that a link moves between (endpoint_count_link).
 */
#ifndef WEIR_UPSTREAM_INTERNAL_H
#define WEIR_UPSTREAM_INTERNAL_H

#include "weir/base/list.h"
#include "weir/base/pool.h"
#include "weir/io/resolve.h"
#include "weir/io/timer.h"
#include "weir/policy/balance.h"
#include "weir/upstream/upstream.h"

#define ENDPOINTS_MAX RESOLVE_ADDRS_MAX
/* Links that one call may ask for, its first included; each one that failed sent nothing. */
#define CALL_ATTEMPTS_MAX 3

struct upstream {
    struct upstream_options options;
    struct list processors;      /* of struct processor, in the order they were made */
    struct pool links;
    uint64_t random;             /* state of the generator for balancing */
    bool closing;                /* goes with its last processor */
};

enum link_state {
    LINK_CONNECTING, /* its TCP connection or TLS handshake is under way */
    LINK_IDLE,       /* in its endpoint's idle list, watched */
    LINK_LEASED,     /* carries a call */
    LINK_CLOSED,     /* its stream is closing; gone at the end of a later turn [transient] */
    LINK_STATE_COUNT
};

struct endpoint {
    struct processor *processor; /* borrowed: the owner */
    struct list in_endpoints;    /* the processor's endpoints or retired ones */
    struct addr addr;
    char text[ADDR_TEXT_BYTES];
    struct list idle;            /* of struct link, the most recently used first */
    struct list unclaimed;       /* of struct link: still connecting, and the call that asked for it went */
    uint32_t links[LINK_STATE_COUNT];
    struct balance_load load;
    uint64_t resting_until_us;   /* a connect failed; 0: none did lately */
    bool retired;                /* no longer an address of the processor */
    stats_id stat_up;
};

/* Copies of what the newest generation says, since a processor outlives each of them. */
struct processor_settings {
    struct tls_client *tls;      /* held; NULL: plain */
    char *identity;              /* what a link must agree with to be reused; owned */
    char *server_name;           /* owned; NULL: none */
    char *host;                  /* owned */
    uint16_t port;
    bool fixed;                  /* endpoints are written, nothing is resolved */
    uint32_t connect_ms, link_idle_ms, link_age_ms;
    uint32_t connections, queue, concurrency;
    enum balance_way balance;
};

struct processor {
    struct upstream *upstream;   /* borrowed: the owner */
    struct list in_processors;
    char *name;                  /* owned */
    uint32_t holders;            /* generations that use it */
    uint32_t epoch;              /* rises when settings.identity changes; links of older epochs are not reused */
    struct processor_settings settings;
    struct processor_settings next; /* of the last hold, until it is used; host NULL: none waits */
    struct resolver *resolver;   /* NULL with fixed endpoints */
    enum { NAME_PENDING, NAME_KNOWN, NAME_FAILED } name_state;
    char name_why[160];
    struct endpoint *endpoints[ENDPOINTS_MAX]; /* in use */
    int endpoint_count;
    struct list retired;         /* endpoints whose last links are still closing */
    struct list queue;           /* of struct call, oldest first */
    uint32_t queue_count;
    uint32_t in_flight;          /* counted calls */
    uint32_t lingering;          /* calls that nobody waits for; no part of in_flight */
    uint32_t turn;               /* of round robin */
    struct deferred dispatch;    /* gives freed places to queued calls, at the end of the turn */
    struct deferred burial;      /* ends a processor without holders and links */
    stats_id stat_handshakes[2]; /* the second: resumed ones */
    stats_id stat_handshakes_failed;
    stats_id stat_connects_ok, stat_connects_failed, stat_reused, stat_desync, stat_links[LINK_STATE_COUNT], stat_queued;
};

struct link {
    struct endpoint *endpoint;   /* borrowed: it stays while it has links */
    struct list in_idle;         /* or in unclaimed */
    struct stream *stream;       /* NULL once closed */
    struct call *call;           /* borrowed: the call that waits for it or leases it; NULL: none */
    enum link_state state;
    uint32_t epoch;
    uint32_t calls_count;        /* carried so far */
    bool spoilt;                 /* something odd was seen: not for reuse */
    uint64_t opened_us;
    uint64_t idle_since_us;
    uint64_t connect_us;         /* what the connect took */
    struct timer timer;          /* connect timeout, then idle and age limits */
    struct deferred burial;
};

/* upstream.c */
uint64_t upstream_random(struct upstream *upstream);
/* A processor went: a closing upstream goes with the last. */
void upstream_maybe_free(struct upstream *upstream);

/* processor.c */
/* Some place came free, or addresses changed: look at the queue at the end of this turn. */
void processor_wake(struct processor *processor);
/* Ends the processor when nothing needs it any more. */
void processor_maybe_bury(struct processor *processor);
/* The endpoint to try for `call`; NULL: none has a place now. */
struct endpoint *processor_pick(struct processor *processor, const struct call *call, uint64_t now_us);
/* Sets the gauges. */
void processor_collect(struct processor *processor, struct stats *stats);
/* Frees retired endpoints without links. Call at the end of a turn. */
void processor_sweep(struct processor *processor);

/* link.c */
/* Starts connecting for `call`. ERR_OK: the link is in call->link. Else nothing was left behind. */
WEIR_MUSTCHECK enum err link_connect(struct endpoint *endpoint, struct call *call);
/* Leases an idle link to `call`, into call->link. False: there is none that it may use. */
bool link_lease_idle(struct endpoint *endpoint, struct call *call, uint64_t now_us);
/* Makes room for a new link: closes the one that has been idle for longest, if the endpoint is at its limit. */
void link_evict_idle(struct endpoint *endpoint);
/* The call of a connecting link goes: the link goes on for whoever comes next. */
void link_forget_call(struct link *link);
/* After a call: into the idle list if it is fit for reuse, else closed. */
void link_return(struct link *link);
/* Idempotent. */
void link_close(struct link *link, bool reset);
void link_close_idle(struct endpoint *endpoint);

/* call.c */
/* Events of the call's link. */
void call_on_link_open(struct call *call);
void call_on_link_failed(struct call *call, enum err err, const char *words);
void call_on_data(struct call *call, struct bytes data);
void call_on_link_end(struct call *call, enum err err);
/* A queued call's turn has come; true when it left the queue. */
bool call_unqueue(struct call *call);
/* Ends a waiting call. */
void call_refuse(struct call *call, enum call_refusal why, const char *words);

#endif
