/*
 * What the two kinds of store share. store.c owns the calls, their bounds, who
 * is told what and when, the counts and the metrics; a kind (embedded.c,
 * redis/redis.c) gets each call once, by submit, and gives it back once, by
 * store_call_end. All of it runs on the loop.
 *
 *   store_ask ──▶ submit ──▶ (the kind's queue, its thread, its connection)
 *                              │ store_call_tell: the asker knows; the kind still works at it
 *   done, heard ◀──────────────┴ store_call_end: told if it was not, and gone
 *
 * A question about a limit alone goes the same way (store_limit, limit,
 * store_limit_end), but its time is looked after here: when that is over, its
 * asker is told, and the kind that nobody waits (limit_forget).
 *
 * A kind embeds struct store as its first member.
 */
#ifndef WEIR_STORE_INTERNAL_H
#define WEIR_STORE_INTERNAL_H

#include "weir/base/list.h"
#include "weir/base/pool.h"
#include "weir/io/timer.h"
#include "weir/store/store.h"

/* What settles a payment may use all of the bounds; the rest of the operations leave this part of them free. */
#define STORE_RESERVED_PCT 25u

/* Bytes of an op that fit into its call (three limits and the sealed upstream key of a UUID do); more are malloc'ed. */
#define STORE_CALL_SMALL_BYTES 384

struct store_call {
    struct list in_calls;   /* store->calls, or store->answers when it waits for its answer to be told */
    struct list in_kind;    /* the kind's */
    struct store *store;
    struct idem_op op;      /* its bytes stand in small, or in large */
    store_done done;        /* NULL: nobody waits (any more) */
    void *owner;
    bool durable;
    bool settles;           /* COMPLETE, MARK, ABANDON as it was asked; counted in store->unsettled */
    bool told;              /* the asker knows, or does not want to */
    bool leaving;           /* it is being told, or waits for that: no longer the kind's */
    enum store_status status; /* while it waits in store->answers */
    uint64_t asked_us, deadline_us; /* by clock_now_us */
    char *large;            /* malloc'ed; NULL: small was enough */
    size_t large_bytes;     /* counted in store->bytes_held */

    uint64_t number;        /* of this call for its store: rises, never 0 */

    /* The kind's own. */
    uint32_t tries;         /* how often it was given to the store's other side */
    uint32_t rests;         /* how often it was refused and set aside for a while */
    uint8_t stage;
    bool whole;             /* redis: ask by EVAL */
    bool again, last;       /* redis: one more abandon is due; this is it */
    bool heard;             /* redis: of its earlier reply, which later ones repeat */
    bool graced;            /* redis: its time was over once, with something unread */
    uint64_t canary;        /* redis: of the batch it went out with */
    struct timer timer;     /* stopped when the call ends */
    uint64_t sent_on, begun_on; /* redis: connections, of the last try and of a begin that is abandoned */
    void *aside;            /* NULL again before store_call_end */

    _Alignas(struct limit_ref) char small[STORE_CALL_SMALL_BYTES];
};

/* Of a limit's name. */
#define STORE_LIMIT_NAME_BYTES_MAX 63

/* What is asked, by the flags of its ask. */
enum store_limit_kind { STORE_LIMIT_LEASE, STORE_LIMIT_CHECK, STORE_LIMIT_CHARGE, STORE_LIMIT_KIND_COUNT };

struct store_limit_call {
    struct list in_calls;    /* store->limit_calls, or store->limit_answers when it waits for its answer to be told */
    struct list in_kind;     /* the kind's */
    struct store *store;
    enum store_limit_kind kind;
    struct limit_ref ref;    /* its name stands in `name` */
    uint64_t want;           /* LEASE */
    store_limit_done done;   /* NULL: nobody waits (any more) */
    void *owner;
    bool told;               /* the asker knows, or does not want to */
    bool leaving;            /* it waits in store->limit_answers: no longer the kind's */
    bool graced;             /* its time was over once, with something unread */
    enum store_status status; /* while it does */
    uint64_t asked_us;       /* by clock_now_us */
    struct timer timer;      /* its time */

    /* The kind's own. */
    bool whole;              /* redis: ask by EVAL */
    void *aside;             /* NULL again before store_limit_end */

    char name[STORE_LIMIT_NAME_BYTES_MAX];
};

struct store_walk {
    struct store *store;
    enum store_walk_scope scope;
    struct idem_name prefix;
    bool has_prefix;
    size_t hash_len;
    store_walk_each each;
    store_walk_end end;
    void *owner;
    bool active;
};

/* One kind of store. `store` is always one that its open made. */
struct store_kind {
    const char *type; /* as store_state tells it */

    /* store_open. The struct store inside is store_init'ed by it. */
    struct store *(*open)(const struct conf_store *conf, const struct store_options *options, char *why, size_t size);
    bool (*is)(const struct store *store, const struct conf_store *conf);
    void (*renew)(struct store *store, const struct conf_store *conf);

    /* A call to work at. It may be ended by store_call_end_later from inside, never by store_call_end. */
    void (*submit)(struct store *store, struct store_call *call);
    /* Nobody waits for this call any more (told is set): a BEGIN is to be abandoned, the others may go or go on. */
    void (*forget)(struct store *store, struct store_call *call);

    /* A question about a limit. It may be ended by store_limit_end_later from inside, never by store_limit_end. */
    void (*limit)(struct store *store, struct store_limit_call *call);
    /*
     * Nobody waits for it any more (told is set): to be ended as well, from inside or when the kind is through with
     * it; before store_gone in any case. What it would have charged may be charged or not.
     */
    void (*limit_forget)(struct store *store, struct store_limit_call *call);
    /* Whether something lies there that the loop has not read: then it was the loop that was late. NULL: never. */
    bool (*has_input)(const struct store *store);

    /* store->walk is set up. Tells by store_walk_tell, ends by store_walk_over, never from inside. False: no memory. */
    bool (*walk)(struct store *store);
    /* Nothing of the walk is told any more. */
    void (*walk_stop)(struct store *store);

    /* Fills in what store.c cannot know: trouble, durable, not_durable, bytes_used, bytes_max. */
    void (*state)(const struct store *store, struct store_state *state);
    const char *(*trouble)(const struct store *store, bool durable);
    void (*accept_loss)(struct store *store);

    /*
     * Ends every call that it still has (STORE_DOWN), lets go of everything, and calls store_gone when that is done:
     * from inside or later. Called once, when the calls are through or the wait is over.
     */
    void (*close)(struct store *store);
    /* The memory of the kind, struct store included. */
    void (*free)(struct store *store);
};

extern const struct store_kind store_embedded, store_redis;

struct store {
    const struct store_kind *kind;
    struct store_options options;
    struct pool calls_pool;
    struct list calls;       /* the kind has them */
    struct list answers;     /* told at the end of this turn */
    struct deferred answering;
    uint32_t calls_count;    /* in both lists */
    uint32_t unsettled;      /* of these, those that settle */
    size_t bytes_held;       /* of large ones */
    uint64_t last_number;

    struct pool limits_pool;
    struct list limit_calls;   /* the kind has them */
    struct list limit_answers; /* told at the end of this turn */
    uint32_t fleet;            /* weirs that share this store; at least 1; by store_fleet_set */

    bool up, ever_up;
    uint64_t bytes_used, bytes_max; /* as store_bytes_set told them */

    /* Unknown records, bucket by bucket: as the last sweep found them, corrected by what was told and resolved since. */
    uint32_t unknown_counts[IDEM_BUCKETS];
    uint64_t oldest_us[IDEM_BUCKETS]; /* wall clock; 0: none */
    uint64_t unknown_count;

    struct store_walk walk;

    bool closing, closed_kind;
    struct timer close_timer;
    void (*closed)(void *owner);
    void *closed_owner;
    struct deferred burial;

    stats_id stat_requests[IDEM_OP_COUNT][STORE_STATUS_COUNT];
    stats_id stat_duration[IDEM_OP_COUNT];
    stats_id stat_limits[STORE_LIMIT_KIND_COUNT][STORE_STATUS_COUNT];
    stats_id stat_limit_duration[STORE_LIMIT_KIND_COUNT];
    stats_id stat_up, stat_refused, stat_unsettled, stat_bytes_used, stat_bytes_max, stat_fleet;
};

/* For a kind's open, before anything else; and what undoes it when that open fails later. */
void store_init(struct store *store, const struct store_kind *kind, const struct store_options *options);
void store_uninit(struct store *store);

/* Whether an op of this kind is kept until it is acknowledged. */
static inline bool store_op_settles(enum idem_op_kind kind)
{
    return kind == IDEM_COMPLETE || kind == IDEM_MARK || kind == IDEM_ABANDON;
}
const char *store_op_name(enum idem_op_kind kind); /* "begin" */

/*
 * Tells the asker, as the event that this is; the kind goes on with the call.
 * `result` (with STORE_OK) also goes to `heard` and into the count of unknowns.
 * Once the asker was told, later results are still heard and counted.
 */
void store_call_tell(struct store_call *call, enum store_status status, const struct idem_result *result);
/* Tells and lets go of the call. From an event of the loop only: `done` is called inside, and may ask and forget. */
void store_call_end(struct store_call *call, enum store_status status, const struct idem_result *result);
/* Lets go of a call that nobody waits for, of which nothing became known. */
void store_call_drop(struct store_call *call);
/* The same as store_call_end at the end of this turn, for what cannot be done (never STORE_OK). The call is no longer the kind's. */
void store_call_end_later(struct store_call *call, enum store_status status);
/* The op of a call becomes the abandon of its begin, which nobody waits for: in place, so that it cannot fail. */
void store_call_abandon(struct store_call *call);

/*
 * Lets go of a question about a limit; tells the asker, if one still waits.
 * From an event of the loop, or from inside limit_forget. `told` with STORE_OK.
 */
void store_limit_end(struct store_limit_call *call, enum store_status status, uint64_t granted,
                     const struct limit_told *told);
/* The same at the end of this turn, for what cannot be asked (never STORE_OK). The call is no longer the kind's. */
void store_limit_end_later(struct store_limit_call *call, enum store_status status);
/* So many weirs share this store now, this one included; 0 is taken for 1. */
void store_fleet_set(struct store *store, uint32_t count);

/*
 * For operations of the store's own (the sweep's): what `heard` is told and
 * what corrects the count of unknowns.
 */
void store_hear(struct store *store, const struct idem_op *op, const struct idem_result *result);
/* A sweep looked at one bucket: so many unknown records, the oldest since then (wall clock; 0: none). */
void store_unknowns_set(struct store *store, uint16_t bucket, uint32_t count, uint64_t oldest_us);
/* The last thing asked was answered, or was not. */
void store_up_set(struct store *store, bool up);
void store_bytes_set(struct store *store, uint64_t used, uint64_t max);

/* Whether a record belongs to the walk. */
bool store_walk_wants(const struct store_walk *walk, const struct idem_name *name);
/* False: the walk is over, by `each` or by store_walk_stop; nothing more is to be told, and store_walk_over is still due
 * when walk->active says so. */
WEIR_MUSTCHECK bool store_walk_tell(struct store_walk *walk, const struct store_record *record);
void store_walk_over(struct store_walk *walk, bool whole);

/* Nothing of the kind is left but its memory. */
void store_gone(struct store *store);

#endif
