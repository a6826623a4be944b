/*
 * What is seen of processors, endpoints, circuits and their breakers: for
 * status pages, and as gauges. Looks, and changes nothing.
 */
#include "upstream_internal.h"

#include "weir/base/clock.h"

static void add_links(const struct endpoint *endpoint, uint32_t links[LINK_STATE_COUNT])
{
    for (int state = 0; state < LINK_STATE_COUNT; state++) {
        links[state] += endpoint->links[state];
    }
}

static void count_links(const struct processor *processor, uint32_t links[LINK_STATE_COUNT])
{
    memset(links, 0, sizeof(uint32_t) * LINK_STATE_COUNT);
    for (int i = 0; i < processor->endpoint_count; i++) {
        add_links(processor->endpoints[i], links);
    }
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        add_links(endpoint, links);
    }
}

/* ---- gauges ---- */

void processor_collect(struct processor *processor, struct stats *stats)
{
    uint32_t links[LINK_STATE_COUNT];
    uint64_t now_us = processor_now_us(processor);
    count_links(processor, links);
    for (int state = LINK_CONNECTING; state <= LINK_LEASED; state++) {
        stats_set(stats, processor->stat_links[state], links[state]);
    }
    stats_set(stats, processor->stat_queued, processor->queue_count);
    for (int i = 0; i < processor->endpoint_count; i++) {
        const struct endpoint *endpoint = processor->endpoints[i];
        stats_set(stats, endpoint->stat_up, endpoint_takes(endpoint, now_us) ? 1 : 0);
    }
}

/* ---- status pages ---- */

static struct breaker_shown show_breaker(const struct breaker *breaker)
{
    return (struct breaker_shown){
        .state = breaker->state,
        .forced = breaker->forced,
        .forced_until_us = breaker->forced != BREAKER_AUTO ? breaker->forced_until_us : 0,
        .since_us = breaker->since_us,
        .until_us = breaker->state == BREAKER_OPEN ? breaker->until_us : 0,
        .change = breaker->change,
        .calls = breaker->ok + breaker->failed,
        .failed = breaker->failed,
        .slow = breaker->slow,
    };
}

static void count_endpoints(const struct processor *processor, struct processor_state *state)
{
    uint64_t now_us = processor_now_us(processor);
    for (int i = 0; i < processor->endpoint_count; i++) {
        const struct endpoint *endpoint = processor->endpoints[i];
        state->endpoints_resting += endpoint_rests(endpoint, now_us) ? 1 : 0;
        state->endpoints_down += endpoint->health.state == HEALTH_DOWN ? 1 : 0;
        state->endpoints_open += circuit_is_open(&endpoint->circuit) ? 1 : 0;
    }
    list_each (circuit, after, &processor->circuits, const struct circuit, in_circuits) {
        state->circuits_open += circuit_is_open(circuit) ? 1 : 0;
    }
}

void processor_state(const struct processor *processor, struct processor_state *state)
{
    uint32_t links[LINK_STATE_COUNT];
    bool forced = processor->forced != BREAKER_AUTO && processor->forced_until_us > processor_now_us(processor);
    count_links(processor, links);
    *state = (struct processor_state){
        .name = processor->name,
        .endpoint_count = processor->endpoint_count,
        .circuit_count = processor->circuit_count,
        .in_flight = processor->in_flight,
        .queued = processor->queue_count,
        .lingering = processor->lingering,
        .links_connecting = links[LINK_CONNECTING],
        .links_idle = links[LINK_IDLE],
        .links_leased = links[LINK_LEASED],
        .forced = forced ? processor->forced : BREAKER_AUTO,
        .forced_until_us = forced ? processor->forced_until_us : 0,
        .forced_by = forced ? processor->forced_by : NULL,
        .forced_why = forced ? processor->forced_why : NULL,
        .trouble = processor->name_why[0] != '\0' ? processor->name_why : NULL,
    };
    count_endpoints(processor, state);
}

bool processor_endpoint_state(const struct processor *processor, int index, struct endpoint_state *state)
{
    if (index < 0 || index >= processor->endpoint_count) {
        return false;
    }
    const struct endpoint *endpoint = processor->endpoints[index];
    const struct processor_settings *settings = &processor->settings;
    uint64_t now_us = processor_now_us(processor);
    struct idle_limit idle_limit = endpoint->idle_limit; /* asking moves it */
    *state = (struct endpoint_state){
        .address = endpoint->text,
        .weight = endpoint->load.weight,
        .in_flight = endpoint->load.in_flight,
        .links_connecting = endpoint->links[LINK_CONNECTING],
        .links_idle = endpoint->links[LINK_IDLE],
        .links_leased = endpoint->links[LINK_LEASED],
        .latency_us = endpoint->load.latency_us,
        .idle_limit_us = idle_limit_us(&idle_limit, settings->link_idle_ms * CLOCK_US_PER_MS, now_us),
        .resting = endpoint_rests(endpoint, now_us),
        .ramping = balance_ramps(&endpoint->load, now_us),
        .checked = settings->check.type != CONF_HEALTH_NONE,
        .health = endpoint->health.state,
        .health_words = endpoint->health_words,
        .breaker = show_breaker(&endpoint->circuit.breaker),
    };
    return true;
}

bool processor_circuit_state(const struct processor *processor, int index, struct circuit_state *state)
{
    list_each (circuit, after, &processor->circuits, const struct circuit, in_circuits) {
        if (index-- == 0) {
            *state = (struct circuit_state){.route = circuit->route, .breaker = show_breaker(&circuit->breaker)};
            return true;
        }
    }
    return false;
}
