/*
 * Stopping, as docs/operations.md tells it. The states follow each other in
 * one direction; a second TERM jumps to the end. What ends the loop is always
 * the same deferred step, so that everything that closed is freed before.
 */
#include "weir/app/drain.h"

#include <inttypes.h>
#include <stdio.h>

#include "app_internal.h"
#include "weir/base/clock.h"

static void wait_for_exchanges(struct drain *drain);

uint64_t drain_finished_count(const struct gate_state *state)
{
    return state->exchanges_total - state->exchanges;
}

const char *drain_state_name(enum drain_state state)
{
    static const char *const NAMES[] = {
        [DRAIN_NONE] = "serving",
        [DRAIN_ANNOUNCED] = "announced",
        [DRAIN_WAITING] = "draining",
        [DRAIN_DONE] = "stopped",
    };
    return NAMES[state];
}

static void enter(struct drain *drain, enum drain_state state)
{
    CHECK(state > drain->state);
    drain->state = state;
}

bool drain_begun(const struct drain *drain)
{
    return drain->state != DRAIN_NONE;
}

/* The last turn: what closed in this one is buried before the loop ends. */
static void on_finish(struct deferred *deferred)
{
    struct drain *drain = container_of(deferred, struct drain, finish);
    loop_stop(drain->app->loop);
}

static void finish(struct drain *drain)
{
    if (drain->state == DRAIN_DONE) {
        return;
    }
    enter(drain, DRAIN_DONE);
    timer_stop(&drain->timer);
    struct gate_state state;
    gate_state(drain->app->gate, &state);
    uint64_t finished = drain_finished_count(&state) - drain->finished_before;
    drain->cut_count = gate_cut(drain->app->gate);
    char text[96];
    snprintf(text, sizeof(text), "drained %" PRIu64 " requests, %" PRIu32 " cut", finished, drain->cut_count);
    log_event(drain->app->log, LOG_INFO, "stopped", text, LOG_N("drained", finished), LOG_N("cut", drain->cut_count));
    notify_status(&drain->app->notify, text);
    loop_defer(drain->app->loop, &drain->finish);
}

static void on_quiet(void *owner)
{
    finish(owner);
}

static void on_timer(struct timer *timer)
{
    struct drain *drain = container_of(timer, struct drain, timer);
    if (drain->state == DRAIN_ANNOUNCED) {
        wait_for_exchanges(drain);
    } else {
        finish(drain);
    }
}

static void announce(struct drain *drain, const char *cause)
{
    const struct conf *conf = app_conf(drain->app);
    struct gate_state state;
    gate_state(drain->app->gate, &state);
    drain->finished_before = drain_finished_count(&state);
    enter(drain, DRAIN_ANNOUNCED);
    log_event(drain->app->log, LOG_INFO, "stopping", "no longer ready, still accepting", LOG_T("cause", cause),
              LOG_N("announce_ms", conf->announce_ms), LOG_N("drain_ms", conf->drain_ms),
              LOG_N("exchanges", state.exchanges));
    notify_stopping(&drain->app->notify, "draining");
    gate_drain_announce(drain->app->gate);
    if (conf->announce_ms == 0) {
        wait_for_exchanges(drain);
        return;
    }
    timer_set_after(&drain->timer, conf->announce_ms * CLOCK_US_PER_MS);
}

static void wait_for_exchanges(struct drain *drain)
{
    const struct conf *conf = app_conf(drain->app);
    struct gate_state state;
    gate_state(drain->app->gate, &state);
    enter(drain, DRAIN_WAITING);
    log_event(drain->app->log, LOG_INFO, "draining", "listeners are closed, requests under way finish",
              LOG_N("exchanges", state.exchanges), LOG_N("sent", state.exchanges_sent));
    timer_set_after(&drain->timer, conf->drain_ms * CLOCK_US_PER_MS);
    gate_drain(drain->app->gate, on_quiet, drain);
}

void drain_init(struct drain *drain, struct app *app)
{
    *drain = (struct drain){.app = app};
    timer_init(&drain->timer, app->loop, on_timer);
    deferred_init(&drain->finish, on_finish);
}

void drain_step(struct drain *drain, const char *cause)
{
    if (drain->state == DRAIN_NONE) {
        announce(drain, cause);
        return;
    }
    log_event(drain->app->log, LOG_WARN, "stopping_now", "told to stop again: ending at once", LOG_T("cause", cause));
    finish(drain);
}

void drain_close(struct drain *drain)
{
    timer_stop(&drain->timer);
    loop_undefer(&drain->finish);
}
