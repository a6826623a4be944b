/*
 * The embedded store: calls come from the loop, wait in the queue of a thread,
 * and are done there batch by batch, each batch in one transaction of LMDB with
 * one sync to disk; only then are their results on the way back. Questions about
 * limits alone are answered on the loop, which waits for no disk.
 *
 *   embedded.c         the loop's side: jobs, retries, the second's tick, close
 *   embedded_batch.c   the thread's side: what waits becomes one transaction, or, when that fails, one each
 *   embedded_apply.c   one operation in a transaction
 *   embedded_limits.c  the buckets of limits, in memory: charged by transactions and by the loop
 *   embedded_sweep.c   what time does: leases end, records and answers expire
 *   embedded_walk.c    looking at many, a slice at a time
 *
 * What the two sides share: a piece belongs to the thread from worker_submit to
 * its done(), to the loop before and after; struct lmdb is the thread's between
 * open and close; the buckets have a lock; the numbers are atomics.
 */
#ifndef WEIR_STORE_EMBEDDED_INTERNAL_H
#define WEIR_STORE_EMBEDDED_INTERNAL_H

#include <stdatomic.h>

#include "lmdb_internal.h"
#include "store_internal.h"
#include "weir/io/worker.h"

/* Pieces that one transaction may hold. */
#define EMBEDDED_BATCH_MAX 1024u
/* Records and answers that one tick may lapse or delete, of each kind; more follow in the next batch. */
#define EMBEDDED_SWEEP_MAX 256
/* Records of one slice of a walk, and index entries that it may look at. */
#define EMBEDDED_SLICE_MAX 256
#define EMBEDDED_SLICE_LOOKS 4096
#define EMBEDDED_TICK_US CLOCK_US_PER_S
#define EMBEDDED_RETRY_US (250 * CLOCK_US_PER_MS)

struct embedded;

enum embedded_piece_kind { PIECE_JOB, PIECE_TICK, PIECE_SLICE, PIECE_END };

/* One piece of work of the thread. */
struct embedded_piece {
    struct work work;
    enum embedded_piece_kind kind;
    struct embedded *embedded; /* borrowed */
};

/* At most: an owner that went silent, and then its unknown that had no time left. */
#define EMBEDDED_LAPSES_MAX 2

/* One call on its way through the thread. */
struct embedded_job {
    struct embedded_piece piece;
    struct store_call *call; /* borrowed; the thread reads its op alone */
    struct timer deadline;   /* the loop's: for who waits */

    bool no_answer;          /* the thread's: its answer is not to be stored */

    /* The thread's answer. */
    enum store_status status;
    int error;               /* why not STORE_OK; 0: for want of room, or of trust */
    bool uncertain;          /* it may have been done all the same */
    bool answer_left_out;    /* for want of room: its outcome alone is stored */
    struct idem_result result;
    struct idem_result lapses[EMBEDDED_LAPSES_MAX]; /* what the record's time being over came to, before the op */
    int lapse_count;
    char *bytes;             /* of the result; malloc'ed, NULL: it has none */
};

/* What the sweep found, to be heard. */
struct embedded_event {
    struct idem_name name;
    struct idem_result result;
};

struct embedded_tick {
    struct embedded_piece piece;
    bool orphans; /* asked: all that is in flight is an earlier process's */
    bool probe;   /* asked: write something, so that it is known whether that works */
    bool asked;   /* it is with the thread */
    bool more;    /* there was more to do than it may */
    int error;
    int damaged_count; /* records that could not be read */
    int event_count;
    struct embedded_event events[2 * EMBEDDED_SWEEP_MAX];
};

struct embedded_slice {
    struct embedded_piece piece;
    bool asked;          /* it is with the thread */
    bool stale;          /* the walk that it belongs to is over */
    enum store_walk_scope scope;
    bool has_prefix;
    struct idem_name prefix;
    size_t hash_len;
    struct lmdb_place place;
    bool over;
    bool damaged;        /* a record was left out that could not be read */
    int error;
    int count;
    struct {
        struct idem_name name;
        struct idem_record record; /* without bytes */
        uint64_t now_ms;
    } rows[EMBEDDED_SLICE_MAX];
};

struct embedded {
    struct store store; /* first */
    char *path;
    uint64_t size_bytes;
    struct worker *worker;
    struct pool jobs_pool;
    struct list held;    /* jobs' calls that wait for what an earlier process left in flight */
    struct list waiting; /* calls that settle and are to be tried again */
    struct list asking;  /* questions about limits, until the end of this turn */
    struct deferred answering; /* of these */
    struct embedded_limits *limits;
    struct timer retry_timer, tick_timer;
    struct embedded_tick tick;
    struct embedded_slice slice;
    struct embedded_piece end;
    uint32_t jobs_out;   /* with the thread */
    bool closing;        /* when the thread has nothing any more, it ends */
    bool ready;          /* nothing of an earlier process is in flight any more */
    bool untrusted;
    bool full_told;      /* that it is full was logged */
    int trouble;         /* the error that stands; 0: none */
    int told_error;      /* the last that was logged, and when */
    uint64_t told_us;
    bool recovery_due;   /* it was logged, and that it is over was not */
    uint64_t trouble_commits; /* commits_counted when it came */
    uint64_t commits_counted, evicted_counted;
    stats_id stat_commits, stat_left_out, stat_damaged, stat_evicted;

    struct lmdb lmdb;    /* the thread's */
    uint64_t ticks;      /* the thread's */

    /* As of the last commit; written by the thread. */
    _Atomic uint64_t size_wanted; /* the loop's: another size of the file */
    _Atomic uint64_t bytes_used, bytes_max, unknown_count, oldest_unknown_ms, commits;
};

/* embedded_batch.c: on the thread. */
void embedded_run_batch(void *owner, struct work *first);

/*
 * embedded_apply.c: on the thread, in a transaction. What became of it is in
 * the job. An error is the transaction's: nothing of it may be committed.
 */
int embedded_apply(struct embedded *embedded, struct embedded_job *job);
/* Forgets what an attempt left in the job, for another. */
void embedded_job_reset(struct embedded_job *job);

/* embedded_sweep.c: on the thread, in a transaction; as above. */
int embedded_sweep(struct embedded *embedded, struct embedded_tick *tick);

/*
 * embedded_limits.c: buckets of limits, in memory; the thread and the loop may
 * both be at them. NULL: no memory.
 */
#define EMBEDDED_BUCKETS_MAX 65536u
struct embedded_limits;
WEIR_MUSTCHECK struct embedded_limits *embedded_limits_open(void);
void embedded_limits_close(struct embedded_limits *limits);
/* On the thread, in a transaction: limit_apply. What is charged is taken back unless the transaction is committed. */
bool embedded_limits_admit(struct embedded_limits *limits, const struct limit_ref *refs, int count,
                           struct limit_told told[]);
void embedded_limits_end(struct embedded_limits *limits, bool committed);
/* On the loop: what store_limit asks. Returns what was granted; BUSY: the thread is at the table, and the loop waits for nobody. */
#define EMBEDDED_LIMITS_BUSY UINT64_MAX
uint64_t embedded_limits_ask(struct embedded_limits *limits, const struct limit_ref *ref, uint64_t want,
                             struct limit_told *told);
/* Buckets that were given up though they owed something, since the table was full. From any thread. */
uint64_t embedded_limits_evicted(const struct embedded_limits *limits);

/* embedded_walk.c: fills in a slice, on the thread, between transactions; and the loop's side of it. */
void embedded_slice_run(struct embedded *embedded, struct embedded_slice *slice);
bool embedded_walk(struct store *store);
void embedded_walk_stop(struct store *store);
void embedded_slice_done(struct embedded *embedded);
/* Hands a piece to the thread. */
void embedded_submit(struct embedded *embedded, struct embedded_piece *piece);

#endif
