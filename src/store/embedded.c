/*
 * The embedded store as the loop sees it: a call becomes a job of the thread,
 * its result is told when it comes back, and what settles a payment is tried
 * again until it is stored. Never opens a record: that is the thread's. A
 * question about a limit alone is answered here, at the end of its turn.
 *
 * At open, all that is in flight belonged to an earlier process: calls are held
 * until that has become unknown, which the first ticks do.
 */
#include "embedded_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/clock.h"

static const struct stats_family family_commits = {
    .name = "weir_store_commits_total",
    .help = "Transactions that the embedded store synced to disk, each with all operations that waited.",
    .kind = STATS_COUNTER,
};
static const struct stats_family family_left_out = {
    .name = "weir_store_answers_left_out_total",
    .help = "Completions stored without their answer for want of room.",
    .kind = STATS_COUNTER,
};
static const struct stats_family family_damaged = {
    .name = "weir_store_damaged_total",
    .help = "Times that a record of the embedded store could not be read.",
    .kind = STATS_COUNTER,
};
static const struct stats_family family_evicted = {
    .name = "weir_store_limits_evicted_total",
    .help = "Callers' limits that the embedded store gave up before their time, since it keeps no more at once.",
    .kind = STATS_COUNTER,
};

/* Being full is told again after it was less than that; a failure that comes and goes, after that time. */
#define FULL_TOLD_PCT (LMDB_BEGIN_PCT - 5)
#define TELL_AGAIN_US (10 * CLOCK_US_PER_S)

static const char untrusted_text[] = "the secret file is not the one that this store was made with";
static const char full_text[] = "the store is full: no new payment can be begun";

static struct embedded *embedded_of(struct store *store)
{
    return container_of(store, struct embedded, store);
}

/* The store stands first in it. */
static const struct embedded *embedded_of_const(const struct store *store)
{
    return (const struct embedded *)(const void *)store;
}

/* ---- what is wrong ---- */

static bool is_fuller_than(const struct embedded *embedded, unsigned pct)
{
    return atomic_load(&embedded->bytes_used) > atomic_load(&embedded->bytes_max) / 100 * pct;
}

static bool is_full(const struct embedded *embedded)
{
    return is_fuller_than(embedded, LMDB_BEGIN_PCT);
}

static void note_full(struct embedded *embedded)
{
    bool full = is_full(embedded);
    if (full && !embedded->full_told) {
        log_event(embedded->store.options.log, LOG_ERROR, "store_full", full_text, LOG_T("path", embedded->path),
                  LOG_N("bytes_used", atomic_load(&embedded->bytes_used)));
    }
    /* At the brink it is told once. */
    embedded->full_told = full || (embedded->full_told && is_fuller_than(embedded, FULL_TOLD_PCT));
}

/* Want of room is no failure: what is there is still read. */
static void note_error(struct embedded *embedded, int error)
{
    uint64_t now_us = loop_now_us(embedded->store.options.loop);
    if (error != embedded->trouble && (error != embedded->told_error || now_us >= embedded->told_us + TELL_AGAIN_US)) {
        embedded->told_error = error;
        embedded->told_us = now_us;
        embedded->recovery_due = true;
        log_event(embedded->store.options.log, LOG_ERROR, "store_failed", lmdb_error_text(error),
                  LOG_T("path", embedded->path));
    }
    embedded->trouble = error;
    embedded->trouble_commits = embedded->commits_counted;
    store_up_set(&embedded->store, lmdb_is_full(error));
}

/* Something was answered; whether the file can be written again, a commit says. */
static void note_answer(struct embedded *embedded)
{
    if (embedded->trouble != 0 && embedded->commits_counted > embedded->trouble_commits) {
        if (embedded->recovery_due) {
            log_event(embedded->store.options.log, LOG_INFO, "store_recovered", "the store can be written again",
                      LOG_T("path", embedded->path));
        }
        embedded->recovery_due = false;
        embedded->trouble = 0;
    }
    store_up_set(&embedded->store, true);
}

static void note_numbers(struct embedded *embedded)
{
    struct stats *stats = embedded->store.options.stats;
    uint64_t commits = atomic_load(&embedded->commits);
    stats_add(stats, embedded->stat_commits, commits - embedded->commits_counted);
    embedded->commits_counted = commits;
    uint64_t evicted = embedded_limits_evicted(embedded->limits);
    stats_add(stats, embedded->stat_evicted, evicted - embedded->evicted_counted);
    embedded->evicted_counted = evicted;
    store_bytes_set(&embedded->store, atomic_load(&embedded->bytes_used), atomic_load(&embedded->bytes_max));
    note_full(embedded);
}

static void note_damaged(struct embedded *embedded, const struct idem_name *name)
{
    char text[IDEM_SHORT_BYTES + 1];
    idem_name_short(name, text);
    stats_add(embedded->store.options.stats, embedded->stat_damaged, 1);
    log_event(embedded->store.options.log, LOG_ERROR, "store_record_damaged",
              "a record cannot be read; its key is refused until it has expired", LOG_T("record", text));
}

/* ---- jobs ---- */

static void on_deadline(struct timer *timer)
{
    struct embedded_job *job = container_of(timer, struct embedded_job, deadline);
    if (!job->call->told) {
        store_up_set(job->call->store, false);
        store_call_tell(job->call, STORE_DOWN, NULL);
    }
}

void embedded_submit(struct embedded *embedded, struct embedded_piece *piece)
{
    /* As many as there may be calls, and the few of the store's own: the queue has room for all. */
    CHECK(worker_submit(embedded->worker, &piece->work) == ERR_OK);
}

/* The thread's last piece, when it has no other and gets no other any more. */
static void maybe_end(struct embedded *embedded)
{
    if (embedded->closing && embedded->jobs_out == 0 && !embedded->tick.asked && !embedded->slice.asked) {
        embedded->closing = false;
        embedded_submit(embedded, &embedded->end);
    }
}

static void job_submit(struct embedded *embedded, struct store_call *call)
{
    struct embedded_job *job = call->aside;
    call->tries++;
    if (embedded->ready) {
        embedded->jobs_out++;
        embedded_submit(embedded, &job->piece);
    } else {
        list_push_back(&embedded->held, &call->in_kind);
    }
}

static void job_free(struct store_call *call)
{
    struct embedded_job *job = call->aside;
    timer_stop(&job->deadline);
    embedded_job_reset(job);
    pool_put(&embedded_of(call->store)->jobs_pool, job);
    call->aside = NULL;
}

static void call_end(struct store_call *call, enum store_status status, const struct idem_result *result)
{
    struct idem_result told;
    char *bytes = NULL;
    if (result != NULL) {
        struct embedded_job *job = call->aside;
        told = *result;
        bytes = job->bytes;
        job->bytes = NULL;
    }
    job_free(call);
    store_call_end(call, status, result == NULL ? NULL : &told);
    free(bytes);
}

static void retry_later(struct embedded *embedded, struct store_call *call)
{
    list_push_back(&embedded->waiting, &call->in_kind);
    if (!timer_armed(&embedded->retry_timer)) {
        timer_set_after(&embedded->retry_timer, EMBEDDED_RETRY_US);
    }
}

/* What a record's time being over came to, before the operation. */
static void hear_lapses(struct embedded *embedded, const struct idem_name *name, const struct idem_result *results,
                        int count)
{
    for (int i = 0; i < count; i++) {
        struct idem_op op = {.kind = IDEM_LAPSE, .name = *name, .how = IDEM_HOW_EXPIRED};
        op.processor = bytes_from_text(results[i].processor);
        memcpy(op.request_id, results[i].request_id, sizeof op.request_id);
        store_hear(&embedded->store, &op, &results[i]);
    }
}

static void job_went_well(struct embedded *embedded, struct embedded_job *job)
{
    struct store_call *call = job->call;
    hear_lapses(embedded, &call->op.name, job->lapses, job->lapse_count);
    if (job->answer_left_out) {
        stats_add(embedded->store.options.stats, embedded->stat_left_out, 1);
    }
    if (call->op.kind == IDEM_BEGIN && call->told && job->result.verdict == IDEM_NEW) {
        /* Nobody waits for the key that was claimed. */
        store_call_abandon(call);
        embedded_job_reset(job);
        job_submit(embedded, call);
    } else {
        call_end(call, STORE_OK, &job->result);
    }
}

static void job_failed(struct embedded *embedded, struct embedded_job *job)
{
    struct store_call *call = job->call;
    enum store_status status = job->status;
    if (job->error == LMDB_ERR_BROKEN) {
        note_damaged(embedded, &call->op.name);
    }
    if (call->op.kind == IDEM_BEGIN && job->uncertain) {
        /* Perhaps the key was claimed: it is freed before anything else is said of it. */
        if (!call->told) {
            store_call_tell(call, STORE_DOWN, NULL);
        }
        store_call_abandon(call);
    }
    if (call->settles && status != STORE_UNTRUSTED && !embedded->store.closed_kind) {
        embedded_job_reset(job);
        retry_later(embedded, call);
    } else {
        call_end(call, status, NULL);
    }
}

static void on_job_done(struct work *work)
{
    struct embedded_job *job = container_of(container_of(work, struct embedded_piece, work), struct embedded_job, piece);
    struct embedded *embedded = job->piece.embedded;
    embedded->jobs_out--;
    note_numbers(embedded);
    if (job->status == STORE_OK) {
        note_answer(embedded);
        job_went_well(embedded, job);
    } else {
        if (job->error != 0 && job->error != LMDB_ERR_BROKEN) {
            note_error(embedded, job->error);
        }
        job_failed(embedded, job);
    }
    maybe_end(embedded);
}

/* ---- the kind's calls ---- */

static void submit(struct store *store, struct store_call *call)
{
    struct embedded *embedded = embedded_of(store);
    struct embedded_job *job;
    if (embedded->untrusted) {
        store_call_end_later(call, STORE_UNTRUSTED); /* names that were made with another secret say nothing here */
        return;
    }
    job = pool_get(&embedded->jobs_pool);
    if (job == NULL) {
        store_call_end_later(call, STORE_FULL);
        return;
    }
    memset(job, 0, sizeof *job);
    job->piece = (struct embedded_piece){{.done = on_job_done}, PIECE_JOB, embedded};
    job->call = call;
    timer_init(&job->deadline, store->options.loop, on_deadline);
    call->aside = job;
    if (!call->settles) {
        timer_set(&job->deadline, call->deadline_us);
    }
    job_submit(embedded, call);
}

/* What the thread has goes on; a begin that claims its key is abandoned when it comes back (job_went_well). */
static void forget(struct store *store, struct store_call *call)
{
    (void)store;
    (void)call;
}

static void on_retry(struct timer *timer)
{
    struct embedded *embedded = container_of(timer, struct embedded, retry_timer);
    struct list now;
    struct store_call *call;
    list_init(&now);
    list_move_all(&now, &embedded->waiting);
    while ((call = list_first(&now, struct store_call, in_kind)) != NULL) {
        list_remove(&call->in_kind);
        job_submit(embedded, call);
    }
}

/* ---- limits ---- */

static void on_answering(struct deferred *deferred)
{
    struct embedded *embedded = container_of(deferred, struct embedded, answering);
    struct list now;
    struct store_limit_call *call;
    struct limit_told told;
    list_init(&now);
    list_move_all(&now, &embedded->asking);
    while ((call = list_first(&now, struct store_limit_call, in_kind)) != NULL) {
        uint64_t granted = embedded_limits_ask(embedded->limits, &call->ref, call->want, &told);
        if (granted == EMBEDDED_LIMITS_BUSY) {
            list_move_all(&now, &embedded->asking); /* in their order, in the next turn */
            list_move_all(&embedded->asking, &now);
            loop_defer(embedded->store.options.loop, &embedded->answering);
            return;
        }
        store_limit_end(call, STORE_OK, granted, &told);
    }
}

/* Whatever the file's state is: the buckets are not in it. */
static void limit(struct store *store, struct store_limit_call *call)
{
    struct embedded *embedded = embedded_of(store);
    list_push_back(&embedded->asking, &call->in_kind);
    loop_defer(store->options.loop, &embedded->answering);
}

static void limit_forget(struct store *store, struct store_limit_call *call)
{
    (void)store;
    store_limit_end(call, STORE_DOWN, 0, NULL);
}

/* ---- the tick ---- */

static void tick_ask(struct embedded *embedded)
{
    struct embedded_tick *tick = &embedded->tick;
    tick->orphans = !embedded->ready;
    tick->probe = embedded->trouble != 0;
    tick->asked = true;
    embedded_submit(embedded, &tick->piece);
}

static void on_tick_timer(struct timer *timer)
{
    tick_ask(container_of(timer, struct embedded, tick_timer));
}

static void release_held(struct embedded *embedded)
{
    struct store_call *call;
    embedded->ready = true;
    while ((call = list_first(&embedded->held, struct store_call, in_kind)) != NULL) {
        list_remove(&call->in_kind);
        job_submit(embedded, call);
    }
}

static void tell_tick(struct embedded *embedded)
{
    struct embedded_tick *tick = &embedded->tick;
    for (int i = 0; i < tick->event_count; i++) {
        hear_lapses(embedded, &tick->events[i].name, &tick->events[i].result, 1);
    }
    if (tick->damaged_count > 0) {
        stats_add(embedded->store.options.stats, embedded->stat_damaged, (uint64_t)tick->damaged_count);
        log_event(embedded->store.options.log, LOG_ERROR, "store_record_damaged",
                  "records whose time was over cannot be read", LOG_N("count", tick->damaged_count));
    }
}

static void on_tick_done(struct work *work)
{
    struct embedded_tick *tick =
        container_of(container_of(work, struct embedded_piece, work), struct embedded_tick, piece);
    struct embedded *embedded = tick->piece.embedded;
    tick->asked = false;
    note_numbers(embedded);
    if (tick->error != 0) {
        note_error(embedded, tick->error);
    } else {
        note_answer(embedded);
        tell_tick(embedded);
        if (!embedded->ready && !tick->more && !embedded->store.closed_kind) {
            release_held(embedded);
        }
    }
    if (embedded->store.closed_kind) {
        maybe_end(embedded);
        return;
    }
    if (tick->error == 0 && tick->more) {
        tick_ask(embedded);
    } else {
        timer_set_after(&embedded->tick_timer, EMBEDDED_TICK_US);
    }
}

static void on_slice_done(struct work *work)
{
    struct embedded_piece *piece = container_of(work, struct embedded_piece, work);
    embedded_slice_done(piece->embedded);
    maybe_end(piece->embedded);
}

/* ---- open and close ---- */

static void free_store(struct store *store)
{
    struct embedded *embedded = embedded_of(store);
    pool_close(&embedded->jobs_pool);
    embedded_limits_close(embedded->limits);
    free(embedded->path);
    free(embedded);
}

static void find_series(struct embedded *embedded)
{
    struct stats *stats = embedded->store.options.stats;
    embedded->stat_commits = stats_series(stats, &family_commits);
    embedded->stat_left_out = stats_series(stats, &family_left_out);
    embedded->stat_damaged = stats_series(stats, &family_damaged);
    embedded->stat_evicted = stats_series(stats, &family_evicted);
}

/* The last piece of the thread: all others are through. */
static void on_end_done(struct work *work)
{
    struct embedded *embedded = container_of(work, struct embedded_piece, work)->embedded;
    worker_close(embedded->worker);
    store_gone(&embedded->store);
}

static void init(struct embedded *embedded, const struct store_options *options)
{
    store_init(&embedded->store, &store_embedded, options);
    pool_init(&embedded->jobs_pool, "store_jobs", sizeof(struct embedded_job), STORE_CALLS_MAX);
    list_init(&embedded->held);
    list_init(&embedded->waiting);
    list_init(&embedded->asking);
    deferred_init(&embedded->answering, on_answering);
    timer_init(&embedded->retry_timer, options->loop, on_retry);
    timer_init(&embedded->tick_timer, options->loop, on_tick_timer);
    embedded->tick.piece = (struct embedded_piece){{.done = on_tick_done}, PIECE_TICK, embedded};
    embedded->slice.piece = (struct embedded_piece){{.done = on_slice_done}, PIECE_SLICE, embedded};
    embedded->end = (struct embedded_piece){{.done = on_end_done}, PIECE_END, embedded};
    find_series(embedded);
}

static bool open_files(struct embedded *embedded, const struct conf_store *conf, const struct store_options *options,
                       char *why, size_t size)
{
    embedded->path = strdup(conf->path);
    embedded->limits = embedded_limits_open();
    if (embedded->path == NULL || embedded->limits == NULL) {
        (void)snprintf(why, size, "no memory");
        return false;
    }
    if (!lmdb_open(&embedded->lmdb, conf->path, conf->size_bytes, options->secret_digest, why, size)) {
        return false;
    }
    embedded->untrusted = embedded->lmdb.untrusted;
    embedded->size_bytes = conf->size_bytes;
    atomic_store(&embedded->size_wanted, conf->size_bytes);
    atomic_store(&embedded->bytes_max, conf->size_bytes);
    embedded->worker = worker_open_batching(options->loop, STORE_CALLS_MAX + 8, EMBEDDED_BATCH_MAX, embedded_run_batch,
                                            embedded);
    if (embedded->worker == NULL) {
        (void)snprintf(why, size, "no memory for the store's thread");
        lmdb_close(&embedded->lmdb);
        return false;
    }
    return true;
}

static struct store *open_store(const struct conf_store *conf, const struct store_options *options, char *why,
                                size_t size)
{
    struct embedded *embedded = calloc(1, sizeof *embedded);
    if (embedded == NULL) {
        (void)snprintf(why, size, "no memory");
        return NULL;
    }
    init(embedded, options);
    if (!open_files(embedded, conf, options, why, size)) {
        store_uninit(&embedded->store);
        free_store(&embedded->store);
        return NULL;
    }
    if (embedded->untrusted) {
        log_event(options->log, LOG_ERROR, "store_untrusted", untrusted_text, LOG_T("path", conf->path));
    }
    tick_ask(embedded);
    return &embedded->store;
}

static bool is(const struct store *store, const struct conf_store *conf)
{
    const struct embedded *embedded = embedded_of_const(store);
    return conf->type == CONF_STORE_EMBEDDED && strcmp(embedded->path, conf->path) == 0;
}

static void renew(struct store *store, const struct conf_store *conf)
{
    struct embedded *embedded = embedded_of(store);
    embedded->size_bytes = conf->size_bytes;
    atomic_store(&embedded->size_wanted, conf->size_bytes); /* the thread sees it with its next batch */
}

/* Calls that the thread does not have: it never will. */
static void end_all(struct list *list)
{
    struct store_call *call;
    while ((call = list_first(list, struct store_call, in_kind)) != NULL) {
        list_remove(&call->in_kind);
        call_end(call, STORE_DOWN, NULL);
    }
}

static void close_store(struct store *store)
{
    struct embedded *embedded = embedded_of(store);
    timer_stop(&embedded->tick_timer);
    timer_stop(&embedded->retry_timer);
    end_all(&embedded->held);
    end_all(&embedded->waiting);
    embedded->closing = true;
    maybe_end(embedded);
}

/* ---- its state ---- */

static const char *trouble(const struct store *store, bool durable)
{
    const struct embedded *embedded = embedded_of_const(store);
    (void)durable; /* what is acknowledged is on disk */
    if (embedded->untrusted) {
        return untrusted_text;
    }
    return embedded->trouble != 0 && !lmdb_is_full(embedded->trouble) ? lmdb_error_text(embedded->trouble) : NULL;
}

static void state(const struct store *store, struct store_state *state)
{
    const struct embedded *embedded = embedded_of_const(store);
    state->trouble = trouble(store, true);
    if (state->trouble == NULL && embedded->trouble != 0) {
        state->trouble = lmdb_error_text(embedded->trouble);
    } else if (state->trouble == NULL && is_full(embedded)) {
        state->trouble = full_text;
    }
    state->durable = true;
    state->unknown_count = atomic_load(&embedded->unknown_count);
    state->oldest_unknown_us = atomic_load(&embedded->oldest_unknown_ms) * CLOCK_US_PER_MS;
}

/* Nothing that was acknowledged is ever lost here. */
static void accept_loss(struct store *store)
{
    (void)store;
}

const struct store_kind store_embedded = {
    .type = "embedded",
    .open = open_store,
    .is = is,
    .renew = renew,
    .submit = submit,
    .forget = forget,
    .limit = limit,
    .limit_forget = limit_forget,
    .walk = embedded_walk,
    .walk_stop = embedded_walk_stop,
    .state = state,
    .trouble = trouble,
    .accept_loss = accept_loss,
    .close = close_store,
    .free = free_store,
};
