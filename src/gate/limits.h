/*
 * The limits of the gate: which apply to a request, who its caller is to each,
 * and whether there is room.
 *
 *   limit_ready.c   a limit of a generation, ready: its rates, its words, its counts
 *   limit_caller.c  who a request's caller is, as a keyed hash
 *   limiter.c       callers of this process, bounded, and the questions to the store about them
 *   limits.c        a request's limits, and those that this process decides alone
 *   limits_shared.c those whose buckets are in the store
 *   limits_reply.c  what the caller reads
 *   limit_held.c    callers that are being refused, for operators
 *
 * Where a limit is decided, cheapest first: by client_ip in this process alone;
 * a request without a key by tokens that were prepaid in the store
 * (policy/lease.h), and while the store refuses, by remembering that; a request
 * with a key by its begin, in the same trip. Whatever is decided, a refused
 * request has moved nothing and leaves its key free.
 */
#ifndef WEIR_GATE_LIMITS_H
#define WEIR_GATE_LIMITS_H

#include "exchange.h"
#include "tenant.h"

#include "weir/policy/lease.h"
#include "weir/policy/limit.h"
#include "weir/store/store.h"

struct http_writer;

/* ---- a limit, ready ---- */

/* Where a decision was made; a label of weir_ratelimit_decisions_total. */
enum limit_where {
    LIMIT_AT_STORE,  /* the store was asked for this request */
    LIMIT_AT_LEASE,  /* tokens were in hand */
    LIMIT_AT_LOCAL,  /* in this process: local limits, and shares while the store is away */
    LIMIT_AT_CACHE,  /* the store refused this caller a moment ago */
    LIMIT_AT_OPEN,   /* store_down: open */
    LIMIT_AT_CLOSED, /* store_down: closed */
    LIMIT_WHERE_COUNT
};

/* What one tier of callers gets. */
struct limit_grade {
    struct limit_rate rate; /* units 0: it limits `concurrent` */
    uint32_t concurrent;
    char policy[128];       /* its item of RateLimit-Policy */
    size_t policy_len;
    size_t name_len;        /* of the name at its beginning, in quotes */
};

struct limit_ready {
    const struct conf_limit *conf; /* of the generation */
    uint64_t id;                   /* of its name: the same in every generation */
    struct limit_grade *grades;    /* [0]: callers of no tier; then conf->tiers */
    bool shadow;
    stats_id stat_admitted[LIMIT_WHERE_COUNT], stat_denied[LIMIT_WHERE_COUNT], stat_skipped;
};

/* Of a whole generation: limits of mode off as well, which nothing asks. False: no memory. */
WEIR_MUSTCHECK bool limits_ready(struct generation *generation);
void limits_unready(struct generation *generation);

/* ---- callers ---- */

/* Callers of all limits that this process remembers. */
#define LIMITER_CALLERS_MAX 65536u
/* And one that many share, for each limit. */
#define LIMITER_SHARED_MAX 256u
/* Of these, such as nothing vouches for (a credential that is not known): one more shares an entry with its like. */
#define LIMITER_STRANGERS_MAX 32768u
/* Requests that wait for one answer of the store. */
#define LIMITER_WAITERS_MAX 1024u
#define LIMITER_WHO_BYTES 64

/* Who a request's caller is to one limit. */
struct caller_name {
    uint8_t hash[LIMIT_HASH_BYTES];
    uint16_t bucket;
    bool stranger;                /* it chose its name freely */
};

/* What several limits of one request share: found once. */
struct caller_facts {
    bool has_scope;
    struct scope scope;
    bool has_digest;
    uint8_t digest[32]; /* of the scope */
};

/* False: the request lacks something that the limit goes by. */
WEIR_MUSTCHECK bool caller_name(const struct exchange *x, const struct limit_ready *limit, struct caller_facts *facts,
                                struct caller_name *name);
/* The same for operators; never a credential. */
void caller_who(const struct exchange *x, const struct limit_ready *limit, struct caller_facts *facts,
                const struct caller_name *name, char who[LIMITER_WHO_BYTES]);
/* The tier of the caller, as an index into the limit's grades. */
int caller_grade(const struct exchange *x, const struct limit_ready *limit, struct caller_facts *facts);

/* ---- the limiter ---- */

/* One caller of one limit. */
struct caller {
    struct list in_ring;     /* of its kind: the order in which they are looked at when one must go */
    uint64_t limit;          /* limit_ready.id */
    uint8_t hash[LIMIT_HASH_BYTES];
    bool stranger;
    bool recent;             /* used since it was looked at last */
    uint32_t pins;           /* requests that hold it */
    uint32_t in_flight;      /* requests that count in `concurrent` */
    struct limit_bucket local;
    struct lease lease;
    struct store_limit_call *call; /* about the lease; NULL: none */
    uint64_t asked_us;
    uint64_t refused_us;     /* when the store refused it last; 0: never */
    struct list waiters;     /* of struct limited_one */
    uint32_t waiter_count;
    struct limiter *limiter; /* borrowed: the owner */
    struct limit_rate rate;  /* as the newest request of this caller has it */
    bool checks;             /* `call` asks whether there is room, and charges nothing */
    bool outdated;           /* a decline was charged since `call` was asked: what it says is of before */

    /* limit_held.c */
    char who[LIMITER_WHO_BYTES];
    uint64_t refused;        /* since held_since_us */
    uint64_t held_since_us, held_last_us; /* wall clock; 0: not held */
    uint64_t told_us;        /* wall clock, when the event was written; 0: not */
};

struct limiter {
    struct gate *gate; /* borrowed: the owner */
    struct pool callers_pool;
    struct table *callers; /* id and hash -> struct caller */
    struct table *counts;  /* id -> how many of them, as uintptr_t */
    struct list known, strangers;
    uint32_t strangers_count;
    struct lease_patience patience;
    struct timer probing;          /* runs while the store is left alone */
    struct store_limit_call *probe; /* NULL: none is under way */
    struct limit_ref asked;        /* the last question; its name stands in asked_name */
    char asked_name[64];
    uint64_t random;       /* state of a generator; never 0 */
    uint64_t trip_us;      /* what a question takes, smoothed */
    uint64_t events_us;    /* begin of the second whose events are counted */
    uint32_t events_count;
    stats_id stat_callers, stat_evicted, stat_away;
};

/* NULL: no memory. */
WEIR_MUSTCHECK struct limiter *limiter_open(struct gate *gate);
/* Forgets every question; a store that was closed before has answered them all. */
void limiter_close(struct limiter *limiter);
uint64_t limiter_random(struct limiter *limiter);

/* How many callers of a limit are remembered. */
uint32_t limiter_callers_of(const struct limiter *limiter, uint64_t limit);
/* The caller, pinned; NULL: no memory. One too many gets the entry that all of those share, and *name says so. */
WEIR_MUSTCHECK struct caller *limiter_pin(struct limiter *limiter, const struct limit_ready *limit,
                                          struct caller_name *name);
void limiter_unpin(struct caller *caller);
/* Its rate as the configuration has it now: a raised limit is not held up by what is remembered of the old one. */
void limiter_use_rate(struct caller *caller, const struct limit_rate *rate);
/* Whether the store is worth waiting for. */
bool limiter_may_wait(const struct limiter *limiter);
/*
 * Asks the store for tokens of this caller, unless it is being asked. False:
 * it cannot be asked. `ref`: of the limit as the request has it.
 */
bool limiter_ask(struct caller *caller, const struct limit_ref *ref);
/* What happened is charged, whoever waits. `ref` with LIMIT_FORCE. */
void limiter_charge(struct caller *caller, const struct limit_ref *ref);
/* After a token was used: asks ahead of need. */
void limiter_ask_ahead(struct caller *caller, const struct limit_ref *ref);

/* ---- held callers ---- */

/* A request of this caller was refused, or would have been. */
void held_note(struct caller *caller, const struct limit_ready *limit);

/* ---- a request's limits ---- */

/* Of an answer that is not held: so much of its beginning is looked at for the words of a decline. */
#define LIMITS_HEARD_BYTES 4096u

/* One limit of one request. */
struct limited_one {
    struct exchange *exchange;       /* borrowed: the owner */
    const struct limit_ready *limit;
    const struct limit_grade *grade;
    struct caller *caller;           /* pinned; NULL: the limit does not apply */
    struct limit_ref ref;            /* for the store */
    struct limit_told told;          /* for RateLimit, where `has_told` */
    bool has_told;
    bool refused;                    /* it is why the request was refused */
    bool slot;                       /* counts in caller->in_flight */
    bool noted;                      /* counts in the caller's demand */
    bool waited;                     /* for the store, */
    bool answered;                   /* which did answer */
    bool failed;                     /* the store did not answer */
    bool outrun;                     /* it did, but others were always first with what it gave */
    struct list in_waiters;
};

/* In the exchange's arena. */
struct limited {
    bool settled;        /* the store's limits are through */
    uint64_t due_us;     /* until then the store may be waited for; 0: it was not asked */
    uint64_t retry_us;   /* refused: for how long at least */
    bool by_decline;     /* refused by a limit that counts declines */
    bool judged;         /* whether the answer is a decline is known */
    char *heard;         /* the beginning of an answer that is not held; in the arena; NULL: not wanted yet */
    size_t heard_bytes;
    int count;
    struct limited_one each[];
};

enum limits {
    LIMITS_GO,
    LIMITS_WAIT, /* for the store; the exchange is stepped */
    LIMITS_ENDED /* refused: the exchange is over */
};

/*
 * The route is known: local limits, requests at once, and callers that the store
 * refused a moment ago. Never WAIT. Not `known`: a caller that is to be refused
 * anyway; its address alone counts.
 */
enum limits limits_enter(struct exchange *x, bool known);
/* Whether limits of the store are still to be settled before a link. */
bool limits_are_due(const struct exchange *x);
/* Settles them for a request without a record. */
enum limits limits_step(struct exchange *x);

/* For a begin: its limits, whose bytes are the generation's. Returns how many. */
int limits_of_begin(struct exchange *x, struct limit_ref refs[LIMITS_MAX]);
/* Begin was answered: NEW or LIMITED with what the limits said, or there was a record, and nothing is charged. */
void limits_begun(struct exchange *x, const struct idem_result *result);
/* Words for the log and the caller: which limit it was. */
const char *limits_why(const struct exchange *x, char *text, size_t size);
/* Of a request that a limit refused: when it may come again; rounded up, with jitter. */
uint64_t limits_retry_after_s(const struct exchange *x);

/* What has come of an answer that is not held, in gate->parts; judged when it is whole, or its beginning is. */
void limits_hear(struct exchange *x);
/* The processor's answer is known as far as it ever will be; `body` as far as it is held. */
void limits_answered(struct exchange *x, struct bytes body);
/* Whether limits_answered wants the body. */
bool limits_want_body(const struct exchange *x);
/* It is over: slots, waits and pins are given back. Idempotent. */
void limits_leave(struct exchange *x);

/* RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11), where limits applied; `retry_s` where one refused. */
void limits_write_fields(struct http_writer *writer, const struct exchange *x, uint64_t retry_s);
/* Names of the limits that refused; returns how many. */
int limits_violated(const struct exchange *x, const char *names[LIMITS_MAX]);

/* ---- between the files of a request's limits ---- */

static inline bool limited_is_rate(const struct limited_one *one)
{
    return one->grade->concurrent == 0;
}
/* Its bucket is in the store, where there is one. */
static inline bool limited_is_stored(const struct limited_one *one)
{
    return limited_is_rate(one) && !one->limit->conf->local;
}
static inline bool limited_counts_declines(const struct limited_one *one)
{
    return one->limit->conf->charge_on == CONF_CHARGE_ON_DECLINE;
}
static inline void limited_count(const struct limited_one *one, const stats_id series[LIMIT_WHERE_COUNT],
                                 enum limit_where where)
{
    stats_add(one->exchange->gate->options.stats, series[where], 1);
}
/* This limit has no room: counted. A shadow only says so. */
void limited_deny(struct limited_one *one, enum limit_where where);
/* Charges the buckets of this process, all of them or none; told and counted. */
void limited_apply_here(struct limited_one *const ones[], const struct limit_rate rates[], int ones_count,
                        enum limit_where where);
/* It no longer waits for the store; harmless when it does not. */
void limited_stop_waiting(struct limited_one *one);
/* Whether other processes count in the same buckets, or this one's requests with a key do. */
bool limits_are_shared(const struct exchange *x);
/* Denies what the store refused this caller a moment ago, where nothing could be replayed. */
void limits_look_into_cache(struct exchange *x);
bool limits_any_refused(const struct exchange *x);
/* What the caller will read of a refusal. */
void limits_note_refusal(struct exchange *x);
/* Ends the exchange: some limit refused it. */
enum limits limits_refuse(struct exchange *x);

/* A new connection from `peer`, before its TLS. False: over a limit of its address. */
bool limits_accept(struct listener *listener, const struct addr *peer);

#endif
