/*
 * The end of an exchange, whatever its cause: what is known of the money, the
 * answer when none went out yet, counts, the access line, and giving back all
 * it held. What may be promised is asked of exchange_sent(), never of the phase.
 */
#include "exchange.h"

#include "weir/base/clock.h"

static bool reason_keeps_outcome(enum reason reason)
{
    return reason == REASON_OK || reason == REASON_CLIENT_GONE || reason == REASON_INTERNAL_ERROR;
}

/* What is known of the money. Not sent: this request moved none. Sent without a definite answer: unknown. */
static enum outcome settle_outcome(const struct exchange *x, enum reason reason)
{
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
    if (exchange_sent(x)) {
        uint64_t processor_us = x->now_us - x->phase_at_us[PHASE_SEND];
        stats_observe(stats, route->stat_processor_duration, processor_us);
        stats_observe(stats, route->stat_overhead, total_us - processor_us);
    }
}

/* One line for each outcome that is not known, in room that other events may not use: somebody has to find it out. */
static void note_unknown(struct exchange *x)
{
    if (x->outcome != OUTCOME_UNKNOWN) {
        return;
    }
    const struct log_field fields[] = {
        LOG_B("request_id", bytes_of(x->request_id, REQUEST_ID_BYTES)),
        LOG_T("processor", x->route->processor_conf->name),
        LOG_T("endpoint", call_endpoint_text(&x->call)),
        LOG_T("route", x->route->conf->name),
        LOG_T("reason", reason_name(x->reason)),
        LOG_N("status", x->status),
        LOG_T("why", x->why),
    };
    log_audit_fields(x->gate->options.log, "unknown", "sent without a definite answer", fields, (int)ARRAY_COUNT(fields));
}

void exchange_end(struct exchange *x, enum reason reason, enum ended_by by, const char *why)
{
    if (x->phase == PHASE_DONE) {
        return;
    }
    bool whole = reason == REASON_OK;
    x->reason = reason;
    x->ended_by = by;
    x->outcome = settle_outcome(x, reason);
    if (why != x->why) {
        (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
    }
    if (!x->answer_begun && reason != REASON_OK) {
        x->status = x->route != NULL ? profile_status(x->route->profile, reason) : reason_status(reason);
        if (x->client != NULL && reason != REASON_CLIENT_GONE) {
            reply_send(x);
            whole = true;
        }
    }
    timer_stop(&x->timer);
    x->ended_in = x->phase;
    x->now_us = clock_now_us();
    exchange_enter(x, PHASE_DONE);
    note_counts(x);
    access_write(x);
    note_unknown(x);
    call_close(&x->call, by == ENDED_BY_PROCESSOR || (by == ENDED_BY_TIMEOUT && exchange_sent(x)));
    if (x->client != NULL) {
        struct client_stream *client = x->client;
        x->client = NULL;
        client->exchange = NULL;
        client->ops->finished(client, whole);
    }
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
    arena_reset(&x->arena);
    generation_release(x->generation);
    pool_put(&gate->exchange_pool, x);
    gate_check_quiet(gate);
}
