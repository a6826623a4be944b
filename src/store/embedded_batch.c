/*
 * The thread of the embedded store. All that waited when it came round goes
 * into one transaction, in the order in which it was asked, and is answered when
 * that is on disk. Where the transaction fails for want of room, each operation
 * gets one of its own, so that its failure is its own; where the disk fails, all
 * have failed and may be tried again.
 */
#include "embedded_internal.h"

#include <errno.h>

/* Operations that find the disk full one after the other, until the rest of the batch is not tried any more. */
#define FULL_IN_A_ROW_MAX 16
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

/* Ends the transaction as its work went. */
static int end_txn(struct embedded *embedded, int error, bool *committing)
{
    struct numbers numbers;
    *committing = false;
    if (error != 0) {
        lmdb_abort(&embedded->lmdb);
        return error;
    }
    numbers_read(embedded, &numbers);
    *committing = embedded->lmdb.dirty;
    error = lmdb_commit(&embedded->lmdb);
    if (error == 0) {
        numbers_tell(embedded, &numbers);
        atomic_store(&embedded->commits, embedded->lmdb.commits);
    }
    return error;
}

/* ---- a transaction each ---- */

static void fail(struct embedded_job *job, int error, bool committing)
{
    embedded_job_reset(job);
    job->status = lmdb_is_full(error) ? STORE_FULL : STORE_DOWN;
    job->error = error;
    job->uncertain = committing && lmdb_is_uncertain(error);
}

static int run_job(struct embedded *embedded, struct embedded_job *job)
{
    bool committing = false;
    int error = lmdb_begin(&embedded->lmdb, true);
    if (error == 0) {
        error = end_txn(embedded, embedded_apply(embedded, job), &committing);
    }
    if (error != 0) {
        fail(job, error, committing);
    }
    return error;
}

/* The outcome without its answer, where both have no room. */
static int run_job_small(struct embedded *embedded, struct embedded_job *job)
{
    int error = run_job(embedded, job);
    if (lmdb_is_full(error) && job->call->op.kind == IDEM_COMPLETE && job->call->op.answer.len > 0) {
        job->no_answer = true;
        error = run_job(embedded, job);
        job->no_answer = false;
    }
    return error;
}

static void run_tick(struct embedded *embedded, struct embedded_tick *tick)
{
    bool committing;
    tick->error = lmdb_begin(&embedded->lmdb, true);
    if (tick->error == 0) {
        tick->error = end_txn(embedded, embedded_sweep(embedded, tick), &committing);
    }
}

static void run_each(struct embedded *embedded, struct work *first, struct embedded_tick *tick)
{
    int full_in_a_row = 0;
    if (tick != NULL) {
        run_tick(embedded, tick); /* first: it makes room */
    }
    for (struct work *work = first; work != NULL; work = work->next) {
        if (!is_job(work)) {
            continue;
        }
        if (full_in_a_row >= FULL_IN_A_ROW_MAX) {
            fail(job_of(work), ENOSPC, false);
        } else {
            full_in_a_row = run_job_small(embedded, job_of(work)) == ENOSPC ? full_in_a_row + 1 : 0;
        }
    }
}

/* ---- one transaction for all ---- */

static int apply_all(struct embedded *embedded, struct work *first, struct embedded_tick *tick)
{
    int error = 0;
    for (struct work *work = first; work != NULL && error == 0; work = work->next) {
        if (is_job(work)) {
            error = embedded_apply(embedded, job_of(work));
        }
    }
    return error == 0 && tick != NULL ? embedded_sweep(embedded, tick) : error;
}

static void fail_all(struct work *first, struct embedded_tick *tick, int error, bool committing)
{
    for (struct work *work = first; work != NULL; work = work->next) {
        if (is_job(work)) {
            fail(job_of(work), error, committing);
        }
    }
    if (tick != NULL) {
        tick->error = error;
    }
}

static void run_together(struct embedded *embedded, struct work *first, struct embedded_tick *tick)
{
    bool committing = false;
    int error = lmdb_begin(&embedded->lmdb, true);
    if (error == MDB_PANIC) {
        error = lmdb_reopen(&embedded->lmdb);
        error = error == 0 ? lmdb_begin(&embedded->lmdb, true) : error;
    }
    if (error == 0) {
        if (tick != NULL) {
            tick->error = 0;
        }
        error = end_txn(embedded, apply_all(embedded, first, tick), &committing);
        if (lmdb_is_full(error)) {
            run_each(embedded, first, tick);
            return;
        }
    }
    if (error != 0) {
        fail_all(first, tick, error, committing);
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
    struct embedded_tick *tick = NULL;
    struct embedded_slice *slice = NULL;
    bool jobs = false, ends = false;
    for (struct work *work = first; work != NULL; work = work->next) {
        struct embedded_piece *piece = piece_of(work);
        jobs = jobs || piece->kind == PIECE_JOB;
        ends = ends || piece->kind == PIECE_END;
        if (piece->kind == PIECE_TICK) {
            tick = container_of(piece, struct embedded_tick, piece);
        } else if (piece->kind == PIECE_SLICE) {
            slice = container_of(piece, struct embedded_slice, piece);
        }
    }
    resize_when_asked(embedded);
    if (tick != NULL) {
        check_readers(embedded);
    }
    if (jobs || tick != NULL) {
        run_together(embedded, first, tick);
    }
    if (slice != NULL) {
        embedded_slice_run(embedded, slice);
    }
    if (ends) {
        lmdb_close(&embedded->lmdb);
    }
}
