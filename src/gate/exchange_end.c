/*
 * The end of an exchange, whatever its cause: what is known of the money, the
 * answer when none went out yet, counts, the access line, and giving back all
 * it held. What may be promised is asked of exchange_sent(), never of the phase.
 */
#include "claim.h"
#include "limits.h"

#include "weir/base/clock.h"

static bool reason_keeps_outcome(enum reason reason)
{
    return reason == REASON_OK || reason == REASON_CLIENT_GONE || reason == REASON_INTERNAL_ERROR;
}

/* Nothing of this request went out, and still nobody knows: another one with its key may have been executed. */
static bool reason_is_of_another(enum reason reason)
{
    return reason == REASON_KEY_IN_PROGRESS || reason == REASON_OUTCOME_UNKNOWN;
}

/* What is known of the money. Not sent: this request moved none. Sent without a definite answer: unknown. */
static enum outcome settle_outcome(const struct exchange *x, enum reason reason)
{
    if (reason == REASON_REPLAYED) {
        return OUTCOME_REPLAYED;
    }
    if (reason_is_of_another(reason)) {
        return OUTCOME_UNKNOWN;
    }
    if (!exchange_sent(x)) {
        return OUTCOME_NOT_SENT;
    }
    if (reason == REASON_OK || (reason_keeps_outcome(reason) && x->answer_whole)) {
        return x->outcome;
    }
    return OUTCOME_UNKNOWN;
}

static void note_counts(struct exchange *x)
{
    struct stats *stats = x->gate->options.stats;
    struct route_ready *route = x->route != NULL ? x->route : &x->generation->unrouted;
    stats_add(stats, generation_requests_series(x->generation, route, x->status, x->reason), 1);
    stats_add(stats, route->stat_outcomes[x->outcome], 1);
    uint64_t total_us = x->now_us - x->phase_at_us[PHASE_HEAD];
    stats_observe(stats, route->stat_duration, total_us);
    if (x->route != NULL) {
        stats_add(stats, route->stat_in_flight, (uint64_t)-1);
    }
    if (x->phase_at_us[PHASE_SEND] != 0 && exchange_sent(x)) {
        uint64_t processor_us = x->now_us - x->phase_at_us[PHASE_SEND];
        stats_observe(stats, route->stat_processor_duration, processor_us);
        stats_observe(stats, route->stat_overhead, total_us - processor_us);
    }
}

/* Somebody has to find it out. Of a keyed request the record tells, unless it could not be kept. */
static bool must_tell(const struct exchange *x)
{
    return x->outcome == OUTCOME_UNKNOWN && (x->claim == NULL ? exchange_sent(x) : x->untold);
}

/* The client's answer, if none has gone out. True: the client has all of one. */
static bool answer_client(struct exchange *x, enum reason reason)
{
    if (reason == REASON_OK || reason == REASON_REPLAYED) {
        return true;
    }
    if (x->answer_begun) {
        return false;
    }
    x->status = x->route != NULL ? profile_status(x->route->profile, reason) : reason_status(reason);
    if (x->client == NULL || reason == REASON_CLIENT_GONE) {
        return false;
    }
    reply_send(x);
    return true;
}

static void let_client_go(struct exchange *x, bool whole)
{
    struct client_stream *client = x->client;
    if (client != NULL) {
        x->client = NULL;
        client->exchange = NULL;
        client->ops->finished(client, whole);
    }
}

/* Nobody waits any more, but the processor may still answer, and a record wants to know. */
static bool may_listen_on(const struct exchange *x)
{
    bool silent = x->reason == REASON_RESPONSE_TIMEOUT && x->ended_by == ENDED_BY_TIMEOUT;
    return silent && x->claim != NULL && !x->untold && x->handed_over && x->call.request_done &&
           (x->phase == PHASE_WAIT || x->phase == PHASE_RELAY) && !x->claim->streaming && !x->gate->closing &&
           x->processor_conf->late_ms > 0;
}

static void listen_on(struct exchange *x)
{
    buf_reset(&x->body); /* it is not sent again, and may be many for long */
    exchange_enter(x, PHASE_LATE);
    x->gate->late_count++;
    x->timed_out = false;
    timer_set_after(&x->timer, x->processor_conf->late_ms * CLOCK_US_PER_MS);
}

void exchange_end(struct exchange *x, enum reason reason, enum ended_by by, const char *why)
{
    if (x->phase == PHASE_DONE) {
        return;
    }
    if (x->phase == PHASE_LATE) { /* it was answered, counted and logged before */
        exchange_finish(x);
        return;
    }
    x->reason = reason;
    x->ended_by = by;
    if (why != x->why) {
        (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
    }
    if (x->claim != NULL) {
        commit_end(x->claim); /* first: what the client does next must find it */
    }
    x->outcome = settle_outcome(x, reason);
    bool whole = answer_client(x, reason);
    limits_leave(x);
    timer_stop(&x->timer);
    x->ended_in = x->phase;
    x->now_us = clock_now_us();
    note_counts(x);
    access_write(x);
    if (must_tell(x)) {
        unknown_note(x);
    }
    bool listens = may_listen_on(x) && call_linger(&x->call);
    if (listens) {
        listen_on(x);
    }
    let_client_go(x, whole);
    if (x->claim != NULL) {
        admit_forget(x->claim); /* who waited for this one goes on */
    }
    if (!listens) {
        exchange_finish(x);
    }
}

void exchange_finish(struct exchange *x)
{
    bool timed_out = x->reason == REASON_RESPONSE_TIMEOUT && x->ended_by == ENDED_BY_TIMEOUT && x->handed_over;
    timer_stop(&x->timer);
    if (x->phase == PHASE_LATE) {
        x->gate->late_count--;
    }
    exchange_enter(x, PHASE_DONE);
    call_close(&x->call, timed_out);
    loop_defer(x->gate->options.loop, &x->release);
}

void exchange_on_release(struct deferred *deferred)
{
    struct exchange *x = container_of(deferred, struct exchange, release);
    struct gate *gate = x->gate;
    CHECK(x->phase == PHASE_DONE && !x->stepping);
    list_remove(&x->in_exchanges);
    gate->exchanges_count--;
    if (exchange_sent(x)) {
        gate->exchanges_sent_count--;
    }
    buf_reset(&x->body);
    if (x->claim != NULL) {
        buf_reset(&x->claim->answer);
    }
    arena_reset(&x->arena);
    circuit_release(x->circuit_held);
    generation_release(x->generation);
    pool_put(&gate->exchange_pool, x);
    gate_check_quiet(gate);
}
