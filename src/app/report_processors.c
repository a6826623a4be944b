/* Processors as JSON for the admin API, and as events for USR2. It reads, and changes nothing. */
#include "processors_internal.h"
#include "show_internal.h"
#include "weir/base/clock.h"
#include "weir/base/json.h"
#include "weir/base/log.h"

/* The two clocks at one moment. */
struct moment {
    uint64_t now_us, wall_us;
};

/* `then_us` by clock_now_us, before or after the moment; 0: null. */
static void put_time(struct json *json, const char *key, uint64_t then_us, const struct moment *moment)
{
    report_time(json, key, then_us != 0 ? moment->wall_us - moment->now_us + then_us : 0);
}

static void put_words(struct json *json, const char *key, const char *text)
{
    json_put_text(json, key, text != NULL && text[0] != '\0' ? text : NULL);
}

/* The last change with the numbers that decided it. */
static void put_change(const struct breaker_change *change, struct json *json)
{
    json_key(json, "change");
    if (change->cause == BREAKER_CAUSE_NONE) {
        json_add_null(json);
        return;
    }
    json_object_open(json);
    json_put_text(json, "from", breaker_state_name(change->from));
    json_put_text(json, "to", breaker_state_name(change->to));
    json_put_u64(json, "calls", change->calls);
    json_put_u64(json, "failed", change->failed);
    json_put_u64(json, "slow", change->slow);
    json_put_u64(json, "in_flight", change->in_flight);
    json_put_u64(json, "overdue", change->overdue);
    json_put_u64(json, "in_a_row", change->in_a_row);
    json_put_u64(json, "failed_in_a_row", change->failed_in_a_row);
    json_put_u64(json, "lasted_us", change->lasted_us);
    json_put_u64(json, "open_us", change->open_us);
    json_object_close(json);
}

static void put_breaker(const struct breaker_shown *breaker, const struct moment *moment, struct json *json)
{
    char text[SHOW_BREAKER_BYTES];
    json_key(json, "breaker");
    json_object_open(json);
    json_put_text(json, "state", breaker_state_name(breaker->state));
    json_put_text(json, "forced", breaker_forced_name(breaker->forced));
    put_time(json, "forced_until", breaker->forced_until_us, moment);
    json_put_text(json, "cause", breaker_cause_name(breaker->change.cause));
    put_words(json, "why", show_breaker_why(&breaker->change, text));
    put_time(json, "since", breaker->since_us, moment);
    put_time(json, "until", breaker->until_us, moment);
    json_put_u64(json, "calls", breaker->calls);
    json_put_u64(json, "failed", breaker->failed);
    json_put_u64(json, "slow", breaker->slow);
    put_change(&breaker->change, json);
    json_object_close(json);
}

static void put_endpoint(const struct endpoint_state *endpoint, const struct moment *moment, struct json *json)
{
    json_object_open(json);
    json_put_text(json, "address", endpoint->address);
    json_put_u64(json, "weight", endpoint->weight);
    json_put_u64(json, "in_flight", endpoint->in_flight);
    json_put_u64(json, "links_connecting", endpoint->links_connecting);
    json_put_u64(json, "links_idle", endpoint->links_idle);
    json_put_u64(json, "links_leased", endpoint->links_leased);
    json_put_u64(json, "latency_us", endpoint->latency_us);
    json_put_u64(json, "idle_limit_us", endpoint->idle_limit_us);
    json_put_bool(json, "resting", endpoint->resting);
    json_put_bool(json, "ramping", endpoint->ramping);
    json_put_bool(json, "checked", endpoint->checked);
    json_put_text(json, "health", endpoint->checked ? health_state_name(endpoint->health) : NULL);
    put_words(json, "health_words", endpoint->health_words);
    put_breaker(&endpoint->breaker, moment, json);
    json_object_close(json);
}

static void put_endpoints(const struct processor *processor, const struct moment *moment, struct json *json)
{
    struct endpoint_state endpoint;
    json_key(json, "endpoints");
    json_array_open(json);
    for (int i = 0; processor_endpoint_state(processor, i, &endpoint); i++) {
        put_endpoint(&endpoint, moment, json);
    }
    json_array_close(json);
}

static void put_circuits(const struct processor *processor, const struct moment *moment, struct json *json)
{
    struct circuit_state circuit;
    json_key(json, "circuits");
    json_array_open(json);
    for (int i = 0; processor_circuit_state(processor, i, &circuit); i++) {
        json_object_open(json);
        json_put_text(json, "route", circuit.route);
        put_breaker(&circuit.breaker, moment, json);
        json_object_close(json);
    }
    json_array_close(json);
}

static void put_counts(const struct processor_state *state, int taking, struct json *json)
{
    json_put_u64(json, "endpoint_count", (uint64_t)state->endpoint_count);
    json_put_u64(json, "endpoints_taking", (uint64_t)taking);
    json_put_u64(json, "endpoints_resting", (uint64_t)state->endpoints_resting);
    json_put_u64(json, "endpoints_down", (uint64_t)state->endpoints_down);
    json_put_u64(json, "endpoints_open", (uint64_t)state->endpoints_open);
    json_put_u64(json, "circuits_open", (uint64_t)state->circuits_open);
    json_put_u64(json, "in_flight", state->in_flight);
    json_put_u64(json, "queued", state->queued);
    json_put_u64(json, "lingering", state->lingering);
    json_put_u64(json, "links_connecting", state->links_connecting);
    json_put_u64(json, "links_idle", state->links_idle);
    json_put_u64(json, "links_leased", state->links_leased);
    json_put_text(json, "trouble", state->trouble);
}

void report_processor(const struct processor *processor, uint64_t now_us, uint64_t wall_us, struct json *json)
{
    const struct moment moment = {.now_us = now_us, .wall_us = wall_us};
    struct processor_state state;
    char verdict[SHOW_VERDICT_BYTES];
    processor_state(processor, &state);
    json_object_open(json);
    json_put_text(json, "name", state.name);
    json_put_text(json, "verdict", show_verdict(processor, now_us, verdict));
    put_counts(&state, show_endpoints_taking(processor), json);
    json_put_text(json, "forced", breaker_forced_name(state.forced));
    put_time(json, "forced_until", state.forced_until_us, &moment);
    bool forced = state.forced != BREAKER_AUTO;
    put_words(json, "forced_by", forced ? state.forced_by : NULL);
    put_words(json, "forced_why", forced ? state.forced_why : NULL);
    put_endpoints(processor, &moment, json);
    put_circuits(processor, &moment, json);
    json_object_close(json);
}

void report_processors(struct upstream *upstream, struct json *json)
{
    uint64_t now_us = clock_now_us(), wall_us = clock_wall_us();
    json_key(json, "processors");
    json_array_open(json);
    for (struct processor *at = upstream_next(upstream, NULL); at != NULL; at = upstream_next(upstream, at)) {
        report_processor(at, now_us, wall_us, json);
    }
    json_array_close(json);
}

/* ---- for USR2 ---- */

static void dump_processor(const struct processor *processor, struct log *log)
{
    struct processor_state state;
    processor_state(processor, &state);
    log_event(log, LOG_INFO, "state_processor", state.name, LOG_N("endpoints", state.endpoint_count),
              LOG_N("taking", show_endpoints_taking(processor)), LOG_N("resting", state.endpoints_resting),
              LOG_N("down", state.endpoints_down), LOG_N("open", state.endpoints_open),
              LOG_N("circuits_open", state.circuits_open), LOG_T("forced", breaker_forced_name(state.forced)),
              LOG_N("in_flight", state.in_flight), LOG_N("queued", state.queued), LOG_N("lingering", state.lingering),
              LOG_N("links_connecting", state.links_connecting), LOG_N("links_idle", state.links_idle),
              LOG_N("links_leased", state.links_leased), LOG_T("trouble", state.trouble));
}

static void dump_endpoint(const char *processor, const struct endpoint_state *endpoint, struct log *log)
{
    const struct breaker_shown *breaker = &endpoint->breaker;
    char why[SHOW_BREAKER_BYTES];
    log_event(log, LOG_INFO, "state_endpoint", endpoint->address, LOG_T("processor", processor),
              LOG_T("breaker", breaker_state_name(breaker->state)), LOG_T("forced", breaker_forced_name(breaker->forced)),
              LOG_T("why", show_breaker_why(&breaker->change, why)), LOG_N("calls", breaker->calls),
              LOG_N("failed", breaker->failed), LOG_N("slow", breaker->slow),
              LOG_T("health", endpoint->checked ? health_state_name(endpoint->health) : NULL),
              LOG_T("health_words", endpoint->health_words), LOG_N("in_flight", endpoint->in_flight),
              LOG_N("latency_us", endpoint->latency_us), LOG_N("idle_limit_us", endpoint->idle_limit_us),
              LOG_N("resting", endpoint->resting), LOG_N("ramping", endpoint->ramping));
}

static void dump_circuit(const char *processor, const struct circuit_state *circuit, struct log *log)
{
    const struct breaker_shown *breaker = &circuit->breaker;
    char why[SHOW_BREAKER_BYTES];
    log_event(log, LOG_INFO, "state_circuit", circuit->route, LOG_T("processor", processor),
              LOG_T("breaker", breaker_state_name(breaker->state)), LOG_T("forced", breaker_forced_name(breaker->forced)),
              LOG_T("why", show_breaker_why(&breaker->change, why)), LOG_N("calls", breaker->calls),
              LOG_N("failed", breaker->failed), LOG_N("slow", breaker->slow));
}

void report_processors_dump(struct upstream *upstream, struct log *log)
{
    for (struct processor *at = upstream_next(upstream, NULL); at != NULL; at = upstream_next(upstream, at)) {
        struct endpoint_state endpoint;
        struct circuit_state circuit;
        dump_processor(at, log);
        for (int i = 0; processor_endpoint_state(at, i, &endpoint); i++) {
            dump_endpoint(processor_name(at), &endpoint, log);
        }
        for (int i = 0; processor_circuit_state(at, i, &circuit); i++) {
            dump_circuit(processor_name(at), &circuit, log);
        }
    }
}
