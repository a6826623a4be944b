/*
 * The thread of the embedded store. All that waited when it came round goes
 * into one transaction, in the order in which it was asked, and is answered when
 * that is on disk. A transaction that fails for want of room is tried again in
 * halves, down to single operations, so that what fails is what has no room;
 * where the disk fails, all have failed and may be tried again.
 */
#include "embedded_internal.h"

#include <errno.h>

/* Transactions of one batch that find the disk full, before the rest is not tried any more. */
#define FULL_DISK_MAX 16
/* Ticks between two looks for readers of the file (mdb_copy) that died. */
#define READER_CHECK_TICKS 60

static struct embedded_piece *piece_of(struct work *work)
{
    return container_of(work, struct embedded_piece, work);
}

static struct embedded_job *job_of(struct work *work)
{
    return container_of(piece_of(work), struct embedded_job, piece);
}

static bool is_job(struct work *work)
{
    return piece_of(work)->kind == PIECE_JOB;
}

/* ---- what is told to the loop beside results ---- */

struct numbers {
    uint64_t bytes_used, unknown_count, oldest_unknown_ms;
};

/* In the transaction, before its end. */
static void numbers_read(struct embedded *embedded, struct numbers *numbers)
{
    struct lmdb *lmdb = &embedded->lmdb;
    numbers->bytes_used = lmdb_used_bytes(lmdb);
    numbers->unknown_count = lmdb_count(lmdb, LMDB_TOLD);
    numbers->oldest_unknown_ms = numbers->unknown_count == 0 ? 0 : lmdb_oldest_told_ms(lmdb);
}

static void numbers_tell(struct embedded *embedded, const struct numbers *numbers)
{
    atomic_store(&embedded->bytes_used, numbers->bytes_used);
    atomic_store(&embedded->unknown_count, numbers->unknown_count);
    atomic_store(&embedded->oldest_unknown_ms, numbers->oldest_unknown_ms);
}

/* Ends the transaction as its work went; what was charged in it goes the same way. */
static int end_txn(struct embedded *embedded, int error)
{
    struct numbers numbers = {0};
    if (error != 0) {
        lmdb_abort(&embedded->lmdb);
    } else {
        numbers_read(embedded, &numbers);
        error = lmdb_commit(&embedded->lmdb);
    }
    embedded_limits_end(embedded->limits, error == 0);
    if (error == 0) {
        numbers_tell(embedded, &numbers);
        atomic_store(&embedded->commits, embedded->lmdb.commits);
    }
    return error;
}

/* ---- transactions ---- */

/* A run of pieces that share a transaction, and the tick that may be with them. */
struct run {
    struct work *first;
    int count;
    struct embedded_tick *tick; /* NULL: none */
};

static void fail(struct embedded_job *job, int error, bool uncertain)
{
    embedded_job_reset(job);
    job->status = lmdb_is_full(error) ? STORE_FULL : STORE_DOWN;
    job->error = error;
    job->uncertain = uncertain;
}

static void fail_all(const struct run *run, int error, bool uncertain)
{
    struct work *work = run->first;
    for (int i = 0; i < run->count; i++, work = work->next) {
        if (is_job(work)) {
            fail(job_of(work), error, uncertain);
        }
    }
    if (run->tick != NULL) {
        run->tick->error = error;
    }
}

static int apply_all(struct embedded *embedded, const struct run *run)
{
    struct work *work = run->first;
    for (int i = 0; i < run->count; i++, work = work->next) {
        int error = is_job(work) ? embedded_apply(embedded, job_of(work)) : 0;
        if (error != 0) {
            return error;
        }
    }
    if (run->tick == NULL) {
        return 0;
    }
    run->tick->error = 0;
    return embedded_sweep(embedded, run->tick);
}

static int begin(struct embedded *embedded)
{
    int error = lmdb_begin(&embedded->lmdb, true);
    if (error == MDB_PANIC) {
        error = lmdb_reopen(&embedded->lmdb);
        error = error == 0 ? lmdb_begin(&embedded->lmdb, true) : error;
    }
    return error;
}

/* Tries the run in one transaction; when that fails, so has each of it. */
static int try_run(struct embedded *embedded, const struct run *run)
{
    int error = begin(embedded);
    if (error == 0) {
        error = end_txn(embedded, apply_all(embedded, run));
    }
    if (error != 0) {
        fail_all(run, error, embedded->lmdb.uncertain);
    }
    return error;
}

/* The outcome without its answer, where both have no room. */
static void try_without_answer(struct embedded *embedded, const struct run *run)
{
    struct embedded_job *job = is_job(run->first) ? job_of(run->first) : NULL;
    if (job != NULL && job->call->op.kind == IDEM_COMPLETE && job->call->op.answer.len > 0) {
        job->no_answer = true;
        (void)try_run(embedded, run); /* what came of it is in the job */
        job->no_answer = false;
    }
}

/* What is one of two halves; run->first goes on to the other. */
static struct run half_of(struct run *run)
{
    struct run half = {run->first, run->count / 2, NULL};
    for (int i = 0; i < half.count; i++) {
        run->first = run->first->next;
    }
    run->count -= half.count;
    return half;
}

static void run_halves(struct embedded *embedded, struct run run, int *full_disk_count)
{
    int error = *full_disk_count >= FULL_DISK_MAX ? ENOSPC : 0;
    if (error != 0) {
        fail_all(&run, error, false);
        return;
    }
    error = try_run(embedded, &run);
    if (!lmdb_is_full(error)) {
        return;
    }
    *full_disk_count += error == MDB_MAP_FULL || error == MDB_TXN_FULL ? 0 : 1;
    if (run.tick != NULL) {
        const struct run alone = {run.first, 0, run.tick};
        run.tick = NULL;
        (void)try_run(embedded, &alone); /* first: it makes room */
        run_halves(embedded, run, full_disk_count);
    } else if (run.count > 1) {
        struct run half = half_of(&run);
        run_halves(embedded, half, full_disk_count);
        run_halves(embedded, run, full_disk_count);
    } else if (run.count == 1) {
        try_without_answer(embedded, &run);
    }
}

/* ---- a batch ---- */

static void resize_when_asked(struct embedded *embedded)
{
    uint64_t wanted = atomic_load(&embedded->size_wanted);
    if (wanted != atomic_load(&embedded->bytes_max)) {
        (void)lmdb_resize(&embedded->lmdb, wanted); /* only a broken environment refuses: it gets the size when opened */
        atomic_store(&embedded->bytes_max, wanted);
    }
}

static void check_readers(struct embedded *embedded)
{
    int dead;
    if (++embedded->ticks % READER_CHECK_TICKS == 0 && embedded->lmdb.env != NULL) {
        (void)mdb_reader_check(embedded->lmdb.env, &dead); /* pages that the dead hold back are freed; else next time */
    }
}

void embedded_run_batch(void *owner, struct work *first)
{
    struct embedded *embedded = owner;
    struct embedded_slice *slice = NULL;
    struct run run = {first, 0, NULL};
    int full_disk_count = 0;
    bool jobs = false, ends = false;
    for (struct work *work = first; work != NULL; work = work->next) {
        struct embedded_piece *piece = piece_of(work);
        run.count++;
        jobs = jobs || piece->kind == PIECE_JOB;
        ends = ends || piece->kind == PIECE_END;
        if (piece->kind == PIECE_TICK) {
            run.tick = container_of(piece, struct embedded_tick, piece);
        } else if (piece->kind == PIECE_SLICE) {
            slice = container_of(piece, struct embedded_slice, piece);
        }
    }
    resize_when_asked(embedded);
    if (run.tick != NULL) {
        check_readers(embedded);
    }
    if (jobs || run.tick != NULL) {
        run_halves(embedded, run, &full_disk_count);
    }
    if (slice != NULL) {
        embedded_slice_run(embedded, slice);
    }
    if (ends) {
        lmdb_close(&embedded->lmdb);
    }
}
