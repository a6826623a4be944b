/*
 * The store of idempotency records: one face, two kinds behind it. Embedded:
 * LMDB on a worker thread of its own, group commit, durable across kill -9 and
 * power loss. Redis: scripts over weir's own stream, all commands of a loop turn
 * in one write. A store belongs to the process, outlives generations, and is
 * known by what its configuration says.
 *
 * Everything is asked by store_ask and answered by a callback as a loop event,
 * never inside the call. What settles a payment (complete, mark, abandon) is
 * kept and tried again until the store acknowledged it, also when nobody waits
 * for it any more; that memory is bounded.
 *
 * The simulator links another object file under this header.
 */
#ifndef WEIR_STORE_STORE_H
#define WEIR_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/log.h"
#include "weir/base/stats.h"
#include "weir/conf/conf.h"
#include "weir/io/loop.h"
#include "weir/policy/idem.h"

struct store;
struct store_call;

/* Operations under way and waiting to be tried again, of all kinds; beyond it store_ask answers STORE_FULL. */
#define STORE_CALLS_MAX 16384u
/* Bytes that they hold (sealed answers, mostly). */
#define STORE_CALL_BYTES_MAX (64u << 20)

enum store_status {
    STORE_OK,        /* `result` says what became of it */
    STORE_DOWN,      /* no reply in time, or no connection: it may have been done, or may yet be */
    STORE_FULL,      /* refused for want of room: not done */
    STORE_UNTRUSTED, /* the store is not what this route needs (store_trouble): not done */
    STORE_STATUS_COUNT
};
const char *store_status_name(enum store_status status);

/* Valid during the callback. */
typedef void (*store_done)(void *owner, enum store_status status, const struct idem_result *result);

/*
 * Hears of every acknowledged operation that made a record unknown, or ended
 * one that was (result->told_now, resolved_now), or found it bound to something else (IDEM_CONFLICT): each exactly once, whoever
 * asked, the store's own sweep included. `op` is what was asked; of its bytes
 * only name, request_id, processor and how may be read.
 */
typedef void (*store_heard)(void *owner, const struct idem_op *op, const struct idem_result *result);

/* The keys of a secret file that the store guards: it keeps a digest of them and refuses when it differs. */
#define STORE_SECRET_DIGEST_BYTES 32

struct store_options {
    struct loop *loop;    /* borrowed, as all here, for the store's life */
    struct log *log;
    struct stats *stats;
    store_heard heard;    /* NULL: nobody listens */
    void *owner;          /* of `heard` */
    uint8_t secret_digest[STORE_SECRET_DIGEST_BYTES]; /* keyring_digest */
};

/*
 * Opens what `conf` says; its texts are copied. Redis: returns at once and
 * connects by itself, for ever. Embedded: opens the files (which blocks for
 * milliseconds: at start and at a reload that changes them). NULL: `why` (size
 * bytes) says what cannot be opened.
 */
WEIR_MUSTCHECK struct store *store_open(const struct conf_store *conf, const struct store_options *options, char *why,
                                        size_t size);
/*
 * Whether `conf` asks for this store; another one waits for the next start of
 * the process. What a running store takes over (password file, timeouts) is
 * taken over by store_renew.
 */
bool store_is(const struct store *store, const struct conf_store *conf);
void store_renew(struct store *store, const struct conf_store *conf);
/*
 * Lets go. What settles payments is still tried for up to `wait_ms`; then
 * whatever is left is answered STORE_DOWN, and `closed` (may be NULL) is called
 * as a loop event, after which nothing of the store is left.
 */
void store_close(struct store *store, uint32_t wait_ms, void (*closed)(void *owner), void *owner);

/* ---- asking ---- */

/*
 * Asks for `op`, whose bytes are copied. `done` is called once, unless
 * store_forget came first; NULL: nobody waits.
 *
 * BEGIN, RENEW, READ, RESOLVE, REBIND: answered within `timeout_ms`. A REBIND
 * is STORE_OK when it is durable, STORE_DOWN when it may be done; Redis is
 * STORE_UNTRUSTED for it. A BEGIN without
 * reply is repeated once within it, under the same owner; when none came, the
 * answer is STORE_DOWN and the store abandons for that owner until that is
 * acknowledged, so that a late begin leaves nothing behind.
 * COMPLETE, MARK, ABANDON: tried until acknowledged; `done` is told then.
 * `durable`: an acknowledged write may not be lost (single_shot): STORE_UNTRUSTED
 * where the store cannot promise that now.
 *
 * NULL: no memory, or the bounds above are reached; nothing was asked, and
 * weir_store_refused_total counts it.
 */
WEIR_MUSTCHECK struct store_call *store_ask(struct store *store, const struct idem_op *op, bool durable,
                                            uint32_t timeout_ms, store_done done, void *owner);
/*
 * The asker no longer waits: `done` will not be called. A BEGIN that is
 * forgotten is abandoned; what settles goes on.
 */
void store_forget(struct store_call *call);

/* ---- limits ---- */

struct store_limit_call;
/* Questions about limits under way; beyond it store_limit answers NULL. */
#define STORE_LIMIT_CALLS_MAX 4096u

/* `granted` tokens are the asker's; `told` (valid during the callback) with STORE_OK, else NULL. Never inside the call. */
typedef void (*store_limit_done)(void *owner, enum store_status status, uint64_t granted, const struct limit_told *told);

/*
 * Asks for one limit alone, without a record; `ref` is copied. By ref->ask.flags:
 *   0            takes up to `want` tokens in advance (limit_prepay)
 *   LIMIT_CHECK  says whether one token would fit (granted 1 or 0); nothing is charged
 *   LIMIT_FORCE  charges ask.cost, saturating; granted 0. `done` may be NULL
 * Answered within `timeout_ms`, or STORE_DOWN; a reply that comes later charged
 * what it granted, and nobody uses it. At once STORE_DOWN where there is no
 * connection. It is asked once: a question that may have been done is not
 * repeated. NULL: no memory, or too many are under way.
 */
WEIR_MUSTCHECK struct store_limit_call *store_limit(struct store *store, const struct limit_ref *ref, uint64_t want,
                                                    uint32_t timeout_ms, store_limit_done done, void *owner);
/* `done` will not be called. */
void store_limit_forget(struct store_limit_call *call);
/* Weirs that share this store now, as far as it was heard: at least 1. Each tells of itself every second. */
uint32_t store_fleet(const struct store *store);

/* ---- looking ---- */

/* One record, as operators see it. */
struct store_record {
    struct idem_name name;
    enum idem_state state;   /* in flight with an ended lease reads IDEM_UNKNOWN */
    const char *processor;
    const char *request_id;
    uint16_t status;
    uint32_t takeovers;
    bool ambiguous, answer_kept;
    uint64_t begun_us, unknown_us, done_us, expires_us; /* wall clock; 0: not */
};

enum store_walk_scope {
    STORE_WALK_OPEN, /* records in the index of open ones */
    STORE_WALK_ALL,  /* every record: slow, in slices, without holding up payments */
};

struct store_walk;
/* False ends the walk. */
typedef bool (*store_walk_each)(void *owner, const struct store_record *record);
/* `whole`: it came to the end, or `each` ended it; else the store failed on the way. The last callback. */
typedef void (*store_walk_end)(void *owner, bool whole);

/*
 * Tells records, in no order, over several turns; records that change meanwhile
 * may be told or not. With `prefix`: only those whose name begins so (bucket,
 * and hash_len bytes of the hash). NULL: no memory, or a walk is under way.
 */
WEIR_MUSTCHECK struct store_walk *store_walk(struct store *store, enum store_walk_scope scope,
                                             const struct idem_name *prefix, size_t hash_len, store_walk_each each,
                                             store_walk_end end, void *owner);
/* `end` will not be called. */
void store_walk_stop(struct store_walk *walk);

/* ---- its state ---- */

struct store_state {
    const char *type;         /* "embedded", "redis" */
    bool up;                  /* the last thing asked was answered */
    bool ever_up;             /* it has been up since it was opened */
    const char *trouble;      /* why it is down, or what is wrong with it; NULL: nothing */
    bool durable;             /* single_shot may rely on it */
    const char *not_durable;  /* why not; NULL: it is */
    uint64_t unknown_count;   /* records whose `unknown` was told and not resolved; of the last sweep, corrected since */
    uint64_t oldest_unknown_us; /* wall clock; 0: there is none */
    uint64_t bytes_used, bytes_max; /* embedded: of `size`. redis: of maxmemory; 0: not known or unlimited */
    uint32_t calls;           /* under way */
    uint32_t unsettled;       /* of these, COMPLETE, MARK and ABANDON without acknowledgement */
};
void store_state(const struct store *store, struct store_state *state);
/* Why a route may not use the store now; NULL: it may. `durable` as in store_ask. */
const char *store_trouble(const struct store *store, bool durable);
/* An operator accepts that acknowledged writes were lost: single_shot routes serve again. */
void store_accept_loss(struct store *store);

#endif
