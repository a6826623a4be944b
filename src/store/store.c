/*
 * The face of the store, common to both kinds: takes calls in within their
 * bounds, hands them to the kind, tells askers and listeners what came of them,
 * and keeps the counts. It knows neither LMDB nor Redis and decides nothing
 * about a record.
 */
#include "store_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/clock.h"

/* A question whose time is over while something lies there unread has so much more. */
#define LIMIT_GRACE_US CLOCK_US_PER_MS

static const struct stats_family family_up = {
    .name = "weir_store_up",
    .help = "1 while the store answers.",
    .kind = STATS_GAUGE,
};
static const struct stats_family family_requests = {
    .name = "weir_store_requests_total",
    .help = "Operations that the store was asked for and that came to an end, by result.",
    .kind = STATS_COUNTER,
    .labels = {"op", "result"},
};
static const uint64_t duration_bounds[] = {100,   250,    500,    1000,   2500,    5000,    10000, 25000,
                                           50000, 100000, 250000, 500000, 1000000, 5000000, 0};
static const struct stats_family family_duration = {
    .name = "weir_store_duration_seconds",
    .help = "From asking the store to its acknowledgement, by operation.",
    .kind = STATS_HISTOGRAM,
    .labels = {"op"},
    .seconds = true,
    .bounds = duration_bounds,
};
static const struct stats_family family_refused = {
    .name = "weir_store_refused_total",
    .help = "Operations that were not taken in, since too many were under way or held too many bytes.",
    .kind = STATS_COUNTER,
};
static const struct stats_family family_unsettled = {
    .name = "weir_store_unsettled",
    .help = "Completions, marks and abandons that the store has not acknowledged yet.",
    .kind = STATS_GAUGE,
};
static const struct stats_family family_bytes_used = {
    .name = "weir_store_bytes_used",
    .help = "Bytes that the store's data take; of Redis its used_memory.",
    .kind = STATS_GAUGE,
};
static const struct stats_family family_bytes_max = {
    .name = "weir_store_bytes_max",
    .help = "Bytes that the store's data may take; 0 where that is not known or not limited.",
    .kind = STATS_GAUGE,
};

static const struct stats_family family_fleet = {
    .name = "weir_store_fleet",
    .help = "Weirs that share this store, as far as this one has heard.",
    .kind = STATS_GAUGE,
};

static const char *const status_names[STORE_STATUS_COUNT] = {
    [STORE_OK] = "ok",
    [STORE_DOWN] = "down",
    [STORE_FULL] = "full",
    [STORE_UNTRUSTED] = "untrusted",
};

static const char *const op_names[IDEM_OP_COUNT] = {
    [IDEM_BEGIN] = "begin",     [IDEM_RENEW] = "renew",     [IDEM_COMPLETE] = "complete", [IDEM_MARK] = "mark",
    [IDEM_ABANDON] = "abandon", [IDEM_RESOLVE] = "resolve", [IDEM_LAPSE] = "lapse",       [IDEM_READ] = "read",
    [IDEM_REBIND] = "rebind",
};

static const char *const limit_names[STORE_LIMIT_KIND_COUNT] = {
    [STORE_LIMIT_LEASE] = "lease",
    [STORE_LIMIT_CHECK] = "check",
    [STORE_LIMIT_CHARGE] = "charge",
};

const char *store_status_name(enum store_status status)
{
    CHECK(status < STORE_STATUS_COUNT);
    return status_names[status];
}

const char *store_op_name(enum idem_op_kind kind)
{
    CHECK(kind < IDEM_OP_COUNT);
    return op_names[kind];
}

/* ---- open ---- */

static void on_answering(struct deferred *deferred);
static void on_burial(struct deferred *deferred);
static void on_close_timer(struct timer *timer);

static void find_series(struct store *store)
{
    struct stats *stats = store->options.stats;
    for (int op = 0; op < IDEM_OP_COUNT; op++) {
        for (int status = 0; status < STORE_STATUS_COUNT; status++) {
            store->stat_requests[op][status] =
                stats_series(stats, &family_requests, op_names[op], status_names[status]);
        }
        store->stat_duration[op] = stats_series(stats, &family_duration, op_names[op]);
    }
    for (int kind = 0; kind < STORE_LIMIT_KIND_COUNT; kind++) {
        for (int status = 0; status < STORE_STATUS_COUNT; status++) {
            store->stat_limits[kind][status] =
                stats_series(stats, &family_requests, limit_names[kind], status_names[status]);
        }
        store->stat_limit_duration[kind] = stats_series(stats, &family_duration, limit_names[kind]);
    }
    store->stat_up = stats_series(stats, &family_up);
    store->stat_refused = stats_series(stats, &family_refused);
    store->stat_unsettled = stats_series(stats, &family_unsettled);
    store->stat_bytes_used = stats_series(stats, &family_bytes_used);
    store->stat_bytes_max = stats_series(stats, &family_bytes_max);
    store->stat_fleet = stats_series(stats, &family_fleet);
}

void store_init(struct store *store, const struct store_kind *kind, const struct store_options *options)
{
    store->kind = kind;
    store->options = *options;
    pool_init(&store->calls_pool, "store_calls", sizeof(struct store_call), STORE_CALLS_MAX);
    list_init(&store->calls);
    list_init(&store->answers);
    pool_init(&store->limits_pool, "store_limits", sizeof(struct store_limit_call), STORE_LIMIT_CALLS_MAX);
    list_init(&store->limit_calls);
    list_init(&store->limit_answers);
    deferred_init(&store->answering, on_answering);
    deferred_init(&store->burial, on_burial);
    timer_init(&store->close_timer, options->loop, on_close_timer);
    store->walk.store = store;
    find_series(store);
    store_fleet_set(store, 1);
}

void store_uninit(struct store *store)
{
    timer_stop(&store->close_timer);
    pool_close(&store->calls_pool);
    pool_close(&store->limits_pool);
}

struct store *store_open(const struct conf_store *conf, const struct store_options *options, char *why, size_t size)
{
    const struct store_kind *kind = conf->type == CONF_STORE_REDIS ? &store_redis : &store_embedded;
    return kind->open(conf, options, why, size);
}

bool store_is(const struct store *store, const struct conf_store *conf)
{
    return (conf->type == CONF_STORE_REDIS) == (store->kind == &store_redis) && store->kind->is(store, conf);
}

void store_renew(struct store *store, const struct conf_store *conf)
{
    store->kind->renew(store, conf);
}

/* ---- taking a call in ---- */

/* Copies one run of an op's bytes behind the others. */
static void copy_run(struct bytes *run, char **at)
{
    if (run->len > 0) {
        memcpy(*at, run->at, run->len);
    }
    run->at = *at;
    *at += run->len;
}

/* Of all that an op points to. */
static size_t op_bytes(const struct idem_op *op)
{
    size_t len = (size_t)op->limit_count * sizeof *op->limits + op->processor.len + op->upstream_key.len + op->answer.len;
    for (int i = 0; i < op->limit_count; i++) {
        len += op->limits[i].limit.len;
    }
    return len;
}

static bool limit_ref_is_sound(const struct limit_ref *ref)
{
    return ref->bucket < IDEM_BUCKETS && ref->limit.len <= STORE_LIMIT_NAME_BYTES_MAX;
}

/* They stand first, where the copy is aligned. */
static void copy_limits(struct idem_op *op, char **at)
{
    struct limit_ref *limits = (struct limit_ref *)(void *)*at;
    *at += (size_t)op->limit_count * sizeof *limits;
    for (int i = 0; i < op->limit_count; i++) {
        CHECK(limit_ref_is_sound(&op->limits[i]));
        limits[i] = op->limits[i];
        copy_run(&limits[i].limit, at);
    }
    op->limits = limits;
}

static bool copy_op(struct store_call *call, const struct idem_op *op)
{
    size_t len = op_bytes(op);
    char *at = call->small;
    if (len > sizeof call->small) {
        at = malloc(len);
        if (at == NULL) {
            return false;
        }
        call->large = at;
        call->large_bytes = len;
        call->store->bytes_held += len;
    }
    call->op = *op;
    copy_limits(&call->op, &at);
    copy_run(&call->op.processor, &at);
    copy_run(&call->op.upstream_key, &at);
    copy_run(&call->op.answer, &at);
    return true;
}

/* Whether the bounds leave room for one more op of this size. */
static bool has_room(const struct store *store, const struct idem_op *op)
{
    size_t len = op_bytes(op);
    size_t calls_max = STORE_CALLS_MAX, bytes_max = STORE_CALL_BYTES_MAX;
    if (!store_op_settles(op->kind)) {
        calls_max -= calls_max * STORE_RESERVED_PCT / 100;
        bytes_max -= bytes_max * STORE_RESERVED_PCT / 100;
    }
    return store->calls_count < calls_max && len <= bytes_max && store->bytes_held <= bytes_max - len;
}

static void set_unsettled(struct store *store, uint32_t count)
{
    store->unsettled = count;
    stats_set(store->options.stats, store->stat_unsettled, count);
}

static void release(struct store_call *call)
{
    struct store *store = call->store;
    CHECK(call->aside == NULL);
    timer_stop(&call->timer);
    list_remove(&call->in_calls);
    list_remove(&call->in_kind);
    store->calls_count--;
    if (call->settles) {
        set_unsettled(store, store->unsettled - 1);
    }
    store->bytes_held -= call->large_bytes;
    free(call->large);
    pool_put(&store->calls_pool, call);
    if (store->closing && !store->closed_kind && store->calls_count == 0) {
        timer_set_after(&store->close_timer, 0); /* in an event of its own: the kind is at work on this one */
    }
}

static struct store_call *take_in(struct store *store, const struct idem_op *op)
{
    struct store_call *call;
    if (!has_room(store, op) || (store->closing && (store->closed_kind || !store_op_settles(op->kind)))) {
        return NULL;
    }
    call = pool_get(&store->calls_pool);
    if (call == NULL) {
        return NULL;
    }
    call->store = store;
    if (!copy_op(call, op)) {
        pool_put(&store->calls_pool, call);
        return NULL;
    }
    list_init(&call->in_calls);
    list_init(&call->in_kind);
    timer_init(&call->timer, store->options.loop, NULL);
    list_push_back(&store->calls, &call->in_calls);
    store->calls_count++;
    return call;
}

struct store_call *store_ask(struct store *store, const struct idem_op *op, bool durable, uint32_t timeout_ms,
                             store_done done, void *owner)
{
    struct store_call *call;
    CHECK(op->name.bucket < IDEM_BUCKETS && op->processor.len <= IDEM_PROCESSOR_BYTES_MAX);
    CHECK(op->limit_count >= 0 && op->limit_count <= LIMITS_MAX);
    call = take_in(store, op);
    if (call == NULL) {
        stats_add(store->options.stats, store->stat_refused, 1);
        return NULL;
    }
    call->durable = durable;
    call->done = done;
    call->owner = owner;
    call->number = ++store->last_number;
    call->asked_us = loop_now_us(store->options.loop);
    call->deadline_us = call->asked_us + timeout_ms * CLOCK_US_PER_MS;
    call->settles = store_op_settles(op->kind);
    if (call->settles) {
        set_unsettled(store, store->unsettled + 1);
    }
    /* What settles is never refused: the truth is worth storing where a promise is not worth making. */
    if (!call->settles && store_trouble(store, durable) != NULL && store->up) {
        store_call_end_later(call, STORE_UNTRUSTED);
    } else {
        store->kind->submit(store, call);
    }
    return call;
}

void store_forget(struct store_call *call)
{
    call->done = NULL;
    if (!call->leaving && !call->told) {
        call->told = true;
        call->store->kind->forget(call->store, call);
    }
}

/* ---- telling what became of it ---- */

void store_hear(struct store *store, const struct idem_op *op, const struct idem_result *result)
{
    uint16_t bucket = op->name.bucket;
    if (!result->told_now && !result->resolved_now && result->verdict != IDEM_CONFLICT) {
        return;
    }
    if (result->told_now) {
        store_unknowns_set(store, bucket, store->unknown_counts[bucket] + 1,
                           store->oldest_us[bucket] != 0 ? store->oldest_us[bucket] : clock_wall_us());
    }
    if (result->resolved_now && store->unknown_counts[bucket] > 0) {
        uint32_t count = store->unknown_counts[bucket] - 1;
        store_unknowns_set(store, bucket, count, count == 0 ? 0 : store->oldest_us[bucket]);
    }
    if (store->options.heard != NULL) {
        store->options.heard(store->options.owner, op, result);
    }
}

/* Nobody else may ever tell of it: the record lapses and is told if it is there, but it may never have been. */
static void tell_unmarked(const struct store *store, const struct idem_op *op)
{
    char record[IDEM_SHORT_BYTES + 1];
    const struct log_field fields[] = {
        LOG_T("record", record), LOG_T("request_id", op->request_id), LOG_B("processor", op->processor)};
    idem_name_short(&op->name, record);
    log_audit_fields(store->options.log, "unknown_not_stored",
                     "a payment without a definite answer could not be left with the store", fields,
                     (int)ARRAY_COUNT(fields));
}

void store_call_tell(struct store_call *call, enum store_status status, const struct idem_result *result)
{
    struct store *store = call->store;
    store_done done = call->done;
    if (call->op.kind == IDEM_MARK && status != STORE_OK) {
        tell_unmarked(store, &call->op);
    }
    CHECK((status == STORE_OK) == (result != NULL));
    if (status == STORE_OK) {
        store_hear(store, &call->op, result);
    }
    stats_add(store->options.stats, store->stat_requests[call->op.kind][status], 1);
    if (status == STORE_OK) {
        stats_observe(store->options.stats, store->stat_duration[call->op.kind],
                      loop_now_us(store->options.loop) - call->asked_us);
    }
    call->told = true;
    call->done = NULL;
    if (done != NULL) {
        done(call->owner, status, result);
    }
}

void store_call_end(struct store_call *call, enum store_status status, const struct idem_result *result)
{
    call->leaving = true;
    store_call_tell(call, status, result);
    release(call);
}

void store_call_drop(struct store_call *call)
{
    CHECK(call->told && call->done == NULL);
    release(call);
}

void store_call_end_later(struct store_call *call, enum store_status status)
{
    struct store *store = call->store;
    CHECK(status != STORE_OK && !call->leaving);
    call->leaving = true;
    call->status = status;
    list_remove(&call->in_kind);
    list_remove(&call->in_calls);
    list_push_back(&store->answers, &call->in_calls);
    loop_defer(store->options.loop, &store->answering);
}

static void on_answering(struct deferred *deferred)
{
    struct store *store = container_of(deferred, struct store, answering);
    struct list now, limits_now;
    struct store_call *call;
    struct store_limit_call *limit_call;
    list_init(&now);
    list_init(&limits_now);
    list_move_all(&now, &store->answers);
    list_move_all(&limits_now, &store->limit_answers);
    while ((call = list_first(&now, struct store_call, in_calls)) != NULL) {
        store_call_end(call, call->status, NULL);
    }
    while ((limit_call = list_first(&limits_now, struct store_limit_call, in_calls)) != NULL) {
        store_limit_end(limit_call, limit_call->status, 0, NULL);
    }
}

void store_call_abandon(struct store_call *call)
{
    CHECK(call->op.kind == IDEM_BEGIN && call->told && !call->settles);
    call->op.kind = IDEM_ABANDON;
    call->settles = true;
    set_unsettled(call->store, call->store->unsettled + 1);
}

/* ---- limits ---- */

static void on_limit_timer(struct timer *timer);

static enum store_limit_kind limit_kind(unsigned flags)
{
    if ((flags & LIMIT_CHECK) != 0) {
        return STORE_LIMIT_CHECK;
    }
    return (flags & LIMIT_FORCE) != 0 ? STORE_LIMIT_CHARGE : STORE_LIMIT_LEASE;
}

static void copy_ref(struct store_limit_call *call, const struct limit_ref *ref)
{
    char *at = call->name;
    CHECK(limit_ref_is_sound(ref));
    call->ref = *ref;
    copy_run(&call->ref.limit, &at);
    if (call->kind == STORE_LIMIT_CHECK) {
        call->ref.ask.cost = 1;
    }
}

struct store_limit_call *store_limit(struct store *store, const struct limit_ref *ref, uint64_t want,
                                     uint32_t timeout_ms, store_limit_done done, void *owner)
{
    struct store_limit_call *call = store->closing ? NULL : pool_get(&store->limits_pool);
    if (call == NULL) {
        stats_add(store->options.stats, store->stat_refused, 1);
        return NULL;
    }
    call->store = store;
    call->kind = limit_kind(ref->ask.flags);
    copy_ref(call, ref);
    call->want = want;
    call->done = done;
    call->owner = owner;
    call->asked_us = loop_now_us(store->options.loop);
    list_init(&call->in_calls);
    list_init(&call->in_kind);
    list_push_back(&store->limit_calls, &call->in_calls);
    timer_init(&call->timer, store->options.loop, on_limit_timer);
    timer_set_after(&call->timer, timeout_ms * CLOCK_US_PER_MS);
    store->kind->limit(store, call);
    return call;
}

/* A charge goes on: what it counts has happened. */
void store_limit_forget(struct store_limit_call *call)
{
    call->done = NULL;
    if (!call->leaving && !call->told && call->kind != STORE_LIMIT_CHARGE) {
        call->told = true;
        timer_stop(&call->timer);
        call->store->kind->limit_forget(call->store, call);
    }
}

static void tell_limit(struct store_limit_call *call, enum store_status status, uint64_t granted,
                       const struct limit_told *told)
{
    struct store *store = call->store;
    store_limit_done done = call->done;
    CHECK((status == STORE_OK) == (told != NULL));
    stats_add(store->options.stats, store->stat_limits[call->kind][status], 1);
    if (status == STORE_OK) {
        stats_observe(store->options.stats, store->stat_limit_duration[call->kind],
                      loop_now_us(store->options.loop) - call->asked_us);
    }
    call->told = true;
    call->done = NULL;
    timer_stop(&call->timer);
    if (done != NULL) {
        done(call->owner, status, granted, told);
    }
}

/* Nobody waits longer; a late reply is nobody's. */
static void give_up_limit(struct store_limit_call *call)
{
    tell_limit(call, STORE_DOWN, 0, NULL);
    call->store->kind->limit_forget(call->store, call);
}

static void on_limit_timer(struct timer *timer)
{
    struct store_limit_call *call = container_of(timer, struct store_limit_call, timer);
    const struct store *store = call->store;
    if (call->leaving) {
        return; /* it is told this very turn */
    }
    if (!call->graced && store->kind->has_input != NULL && store->kind->has_input(store)) {
        call->graced = true; /* what the store said is read first */
        timer_set_after(timer, LIMIT_GRACE_US);
        return;
    }
    give_up_limit(call);
}

void store_limit_end(struct store_limit_call *call, enum store_status status, uint64_t granted,
                     const struct limit_told *told)
{
    struct store *store = call->store;
    CHECK(call->aside == NULL);
    call->leaving = true;
    if (!call->told) {
        tell_limit(call, status, granted, told);
    }
    timer_stop(&call->timer);
    list_remove(&call->in_calls);
    list_remove(&call->in_kind);
    pool_put(&store->limits_pool, call);
}

void store_limit_end_later(struct store_limit_call *call, enum store_status status)
{
    struct store *store = call->store;
    CHECK(status != STORE_OK && !call->leaving);
    call->leaving = true;
    call->status = status;
    list_remove(&call->in_kind);
    list_remove(&call->in_calls);
    list_push_back(&store->limit_answers, &call->in_calls);
    loop_defer(store->options.loop, &store->answering);
}

/* The store closes: whoever waits is told, and the kind that nobody does. */
static void give_up_limits(struct store *store)
{
    struct list now;
    struct store_limit_call *call;
    list_init(&now);
    list_move_all(&now, &store->limit_calls);
    while ((call = list_first(&now, struct store_limit_call, in_calls)) != NULL) {
        list_remove(&call->in_calls);
        list_push_back(&store->limit_calls, &call->in_calls);
        if (!call->told) {
            give_up_limit(call);
        }
    }
}

void store_fleet_set(struct store *store, uint32_t count)
{
    store->fleet = count > 0 ? count : 1;
    stats_set(store->options.stats, store->stat_fleet, store->fleet);
}

uint32_t store_fleet(const struct store *store)
{
    return store->fleet;
}

/* ---- counts ---- */

void store_unknowns_set(struct store *store, uint16_t bucket, uint32_t count, uint64_t oldest_us)
{
    store->unknown_count += count;
    store->unknown_count -= store->unknown_counts[bucket];
    store->unknown_counts[bucket] = count;
    store->oldest_us[bucket] = oldest_us;
}

void store_up_set(struct store *store, bool up)
{
    store->up = up;
    store->ever_up = store->ever_up || up;
    stats_set(store->options.stats, store->stat_up, up ? 1 : 0);
}

void store_bytes_set(struct store *store, uint64_t used, uint64_t max)
{
    store->bytes_used = used;
    store->bytes_max = max;
    stats_set(store->options.stats, store->stat_bytes_used, used);
    stats_set(store->options.stats, store->stat_bytes_max, max);
}

static uint64_t oldest_unknown_us(const struct store *store)
{
    uint64_t oldest_us = 0;
    for (int bucket = 0; bucket < (int)IDEM_BUCKETS; bucket++) {
        uint64_t us = store->oldest_us[bucket];
        if (us != 0 && (oldest_us == 0 || us < oldest_us)) {
            oldest_us = us;
        }
    }
    return oldest_us;
}

void store_state(const struct store *store, struct store_state *state)
{
    *state = (struct store_state){
        .type = store->kind->type,
        .up = store->up,
        .ever_up = store->ever_up,
        .unknown_count = store->unknown_count,
        .oldest_unknown_us = oldest_unknown_us(store),
        .bytes_used = store->bytes_used,
        .bytes_max = store->bytes_max,
        .calls = store->calls_count,
        .unsettled = store->unsettled,
    };
    store->kind->state(store, state);
}

const char *store_trouble(const struct store *store, bool durable)
{
    return store->kind->trouble(store, durable);
}

void store_accept_loss(struct store *store)
{
    store->kind->accept_loss(store);
}

/* ---- walks ---- */

struct store_walk *store_walk(struct store *store, enum store_walk_scope scope, const struct idem_name *prefix,
                              size_t hash_len, store_walk_each each, store_walk_end end, void *owner)
{
    struct store_walk *walk = &store->walk;
    if (walk->active || store->closing) {
        return NULL;
    }
    CHECK(hash_len <= IDEM_HASH_BYTES);
    *walk =
        (struct store_walk){.store = store, .scope = scope, .each = each, .end = end, .owner = owner, .active = true};
    if (prefix != NULL) {
        walk->has_prefix = true;
        walk->prefix = *prefix;
        walk->hash_len = hash_len;
    }
    if (!store->kind->walk(store)) {
        walk->active = false;
        return NULL;
    }
    return walk;
}

void store_walk_stop(struct store_walk *walk)
{
    if (walk->active) {
        walk->active = false;
        walk->store->kind->walk_stop(walk->store);
    }
}

bool store_walk_wants(const struct store_walk *walk, const struct idem_name *name)
{
    return !walk->has_prefix ||
           (walk->prefix.bucket == name->bucket && memcmp(walk->prefix.hash, name->hash, walk->hash_len) == 0);
}

bool store_walk_tell(struct store_walk *walk, const struct store_record *record)
{
    bool more;
    if (!walk->active) {
        return false;
    }
    more = walk->each(walk->owner, record);
    return more && walk->active;
}

void store_walk_over(struct store_walk *walk, bool whole)
{
    if (walk->active) {
        walk->active = false;
        walk->end(walk->owner, whole);
    }
}

/* ---- close ---- */

/* Everything is settled, or the wait is over. */
static void on_close_timer(struct timer *timer)
{
    struct store *store = container_of(timer, struct store, close_timer);
    store->closed_kind = true;
    store_walk_over(&store->walk, false);
    give_up_limits(store);
    store->kind->close(store);
}

void store_close(struct store *store, uint32_t wait_ms, void (*closed)(void *owner), void *owner)
{
    CHECK(!store->closing);
    store->closing = true;
    store->closed = closed;
    store->closed_owner = owner;
    timer_set_after(&store->close_timer, store->calls_count == 0 ? 0 : wait_ms * CLOCK_US_PER_MS);
}

void store_gone(struct store *store)
{
    loop_defer(store->options.loop, &store->burial);
}

static void on_burial(struct deferred *deferred)
{
    struct store *store = container_of(deferred, struct store, burial);
    const struct store_kind *kind = store->kind;
    void (*closed)(void *owner) = store->closed;
    void *owner = store->closed_owner;
    if (!list_empty(&store->answers) || !list_empty(&store->limit_answers)) {
        loop_defer(store->options.loop, &store->burial); /* told at the end of this turn */
        return;
    }
    CHECK(list_empty(&store->calls) && store->calls_count == 0 && list_empty(&store->limit_calls));
    store_uninit(store);
    kind->free(store);
    if (closed != NULL) {
        closed(owner);
    }
}
