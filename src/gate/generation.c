/*
 * Makes a loaded configuration ready for use: routes with all that their
 * exchanges need at hand, profiles, processors held. Immutable from then on,
 * but for series of metrics that are looked up on first use. What it names in
 * files is read by parts.c.
 */
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>

/* 1 ms to 30 s, as both ends of a payment see it. */
static const uint64_t long_bounds_us[] = {1000,    2500,    5000,    10000,   25000,   50000,   100000,
                                          250000,  500000,  750000,  1000000, 1500000, 2000000, 3000000,
                                          5000000, 8000000, 10000000, 15000000, 20000000, 30000000, 0};
static const uint64_t overhead_bounds_us[] = {25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 100000, 0};

static const struct stats_family family_requests = {
    .name = "weir_requests_total",
    .help = "Requests by route, processor, status and reason; reason is ok when the processor answered.",
    .kind = STATS_COUNTER,
    .labels = {"route", "processor", "code", "reason"},
};
static const struct stats_family family_duration = {
    .name = "weir_request_duration_seconds",
    .help = "From the first byte of a request to the end of its answer, as the client sees it.",
    .kind = STATS_HISTOGRAM,
    .labels = {"route"},
    .seconds = true,
    .bounds = long_bounds_us,
};
static const struct stats_family family_overhead = {
    .name = "weir_overhead_seconds",
    .help = "The part of a request's duration before its first byte went to the processor.",
    .kind = STATS_HISTOGRAM,
    .labels = {"route"},
    .seconds = true,
    .bounds = overhead_bounds_us,
};
static const struct stats_family family_processor_duration = {
    .name = "weir_processor_duration_seconds",
    .help = "From the first byte sent to a processor to the last byte of its answer.",
    .kind = STATS_HISTOGRAM,
    .labels = {"processor"},
    .seconds = true,
    .bounds = long_bounds_us,
};
static const struct stats_family family_in_flight = {
    .name = "weir_requests_in_flight",
    .help = "Requests that have a route and no end yet.",
    .kind = STATS_GAUGE,
    .labels = {"route"},
};
static const struct stats_family family_verdicts = {
    .name = "weir_idempotency_begins_total",
    .help = "What the store said to keyed requests.",
    .kind = STATS_COUNTER,
    .labels = {"route", "verdict"},
};
static const struct stats_family family_outcomes = {
    .name = "weir_outcomes_total",
    .help = "Ended requests by what is known of the money.",
    .kind = STATS_COUNTER,
    .labels = {"processor", "outcome"},
};

static const struct stats_family family_failovers = {
    .name = "weir_failovers_total",
    .help = "Requests of which nothing was sent to their route's processor and that went to another.",
    .kind = STATS_COUNTER,
    .labels = {"route", "from", "to"},
};

/* ---- routes ---- */

static struct bytes part(const char *text)
{
    return text != NULL ? bytes_from_text(text) : BYTES_NONE;
}

static struct route_match match_of(const struct conf_route *route)
{
    return (struct route_match){
        .host = part(route->host),
        .method = part(route->method),
        .path = part(route->path),
        .path_is_prefix = route->path_is_prefix,
    };
}

static const char *verdict_label(enum idem_verdict verdict)
{
    static const char *const labels[] = {
        [IDEM_NEW] = "new",       [IDEM_TAKEN_OVER] = "taken_over", [IDEM_REPLAY] = "replay",     [IDEM_RECEIPT] = "receipt",
        [IDEM_BUSY] = "busy",     [IDEM_STUCK] = "stuck",           [IDEM_LIMITED] = "limited",   [IDEM_MISMATCH] = "mismatch",
    };
    return labels[verdict];
}

static void find_series(struct generation *generation, struct route_ready *route, const char *name, const char *processor)
{
    struct stats *stats = generation->needs.stats;
    route->stat_duration = stats_series(stats, &family_duration, name);
    route->stat_overhead = stats_series(stats, &family_overhead, name);
    route->stat_in_flight = stats_series(stats, &family_in_flight, name);
    route->stat_processor_duration = stats_series(stats, &family_processor_duration, processor);
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        route->stat_outcomes[i] = stats_series(stats, &family_outcomes, processor, outcome_name((enum outcome)i));
    }
    for (int i = IDEM_NEW; route->conf != NULL && route->conf->idempotency.on && i <= IDEM_MISMATCH; i++) {
        route->stat_verdicts[i] = stats_series(stats, &family_verdicts, name, verdict_label((enum idem_verdict)i));
    }
}

static const struct profile *profile_of(const struct generation *generation, const struct conf_processor *processor)
{
    CHECK(processor->profile >= 0 && processor->profile < generation->conf->profile_count);
    return &generation->profiles[processor->profile];
}

/* The same for every exchange of a route, so it is written once. Names are bounded by the configuration. */
static void write_access_part(struct route_ready *route)
{
    struct json json;
    json_init(&json, route->access, sizeof route->access);
    json_put_text(&json, "http.route", route->conf->name);
    json_put_text(&json, "weir.route", route->conf->name);
    json_put_text(&json, "weir.processor", route->processor_conf->name);
    route->access_len = json.len;
}

/* `to`: index of a processor. */
static bool ready_route_to(struct generation *generation, struct route_ready *route, const struct conf_route *from, int to)
{
    const struct conf_processor *processor = &generation->conf->processors[to];
    *route = (struct route_ready){
        .conf = from,
        .processor_conf = processor,
        .processor = generation->processors[to],
        .circuit = processor_circuit(generation->processors[to], from->name),
        .profile = profile_of(generation, processor),
        .body_bytes_max = from->body_bytes,
        .response_ms = from->response_ms != 0 ? from->response_ms : processor->response_ms,
        .total_ms = from->total_ms != 0 ? from->total_ms : processor->total_ms,
    };
    write_access_part(route);
    find_series(generation, route, from->name, processor->name);
    return route->circuit != NULL;
}

/* A route to two processors is two ready ones, the second behind the first. */
static bool ready_routes(struct generation *generation)
{
    const struct conf *conf = generation->conf;
    int failover_count = 0;
    bool ready = true;
    for (int i = 0; i < conf->route_count && ready; i++) {
        const struct conf_route *from = &conf->routes[i];
        struct route_ready *route = &generation->routes[i];
        generation->matches[i] = match_of(from);
        ready = ready_route_to(generation, route, from, from->processor);
        if (ready && from->failover >= 0) {
            route->failover = &generation->failovers[failover_count++];
            ready = ready_route_to(generation, route->failover, from, from->failover);
            route->stat_failovers = stats_series(generation->needs.stats, &family_failovers, from->name,
                                                 route->processor_conf->name, route->failover->processor_conf->name);
        }
    }
    return ready;
}

struct route_ready *generation_route(struct generation *generation, const struct http_head *head)
{
    int index = route_find(generation->matches, generation->conf->route_count, head->host, head->method, head->path);
    return index < 0 ? NULL : &generation->routes[index];
}

int gate_route_of(const struct conf *conf, struct bytes host, struct bytes method, struct bytes path)
{
    for (int i = 0; i < conf->route_count; i++) {
        struct route_match match = match_of(&conf->routes[i]);
        if (route_find(&match, 1, host, method, path) == 0) {
            return i;
        }
    }
    return -1;
}

stats_id generation_requests_series(struct generation *generation, struct route_ready *route, uint16_t status,
                                    enum reason reason)
{
    uint16_t slot = status < HTTP_STATUS_COUNT ? status : 0;
    stats_id *id = reason == REASON_OK         ? &route->stat_answers[slot]
                   : reason == REASON_REPLAYED ? &route->stat_replays[slot]
                                               : &route->stat_reasons[reason];
    if (*id == STATS_NONE) {
        char code[8];
        (void)snprintf(code, sizeof code, "%u", (unsigned)status);
        *id = stats_series(generation->needs.stats, &family_requests, route->conf != NULL ? route->conf->name : "",
                           route->processor_conf != NULL ? route->processor_conf->name : "", code, reason_name(reason));
    }
    return *id;
}

/* ---- open and release ---- */

static bool hold_processors(struct generation *generation)
{
    const struct conf *conf = generation->conf;
    for (int i = 0; i < conf->processor_count; i++) {
        generation->processors[i] =
            processor_hold(generation->needs.upstream, &conf->processors[i], generation->parts.clients[i]);
        if (generation->processors[i] == NULL) {
            return false;
        }
    }
    return true;
}

void generation_use(struct generation *generation)
{
    for (int i = 0; i < generation->conf->processor_count; i++) {
        processor_use(generation->processors[i], &generation->conf->processors[i]);
    }
}

static const struct profile *profile_named(const struct generation *generation, const char *name)
{
    for (int i = 0; i < generation->conf->profile_count; i++) {
        if (strcmp(generation->conf->profiles[i].name, name) == 0) {
            return &generation->profiles[i];
        }
    }
    return NULL;
}

/* Before a route is known any SDK may be asking: Stripe's takes a body without `error` for success. */
static const struct profile *fallback_of(const struct generation *generation)
{
    const struct conf *conf = generation->conf;
    for (int i = 0; i < conf->processor_count; i++) {
        const struct profile *profile = profile_of(generation, &conf->processors[i]);
        if (profile->errors == PROFILE_ERRORS_STRIPE) {
            return profile;
        }
    }
    return conf->processor_count > 0 ? profile_of(generation, &conf->processors[0])
                                     : profile_named(generation, "generic"); /* it is built in */
}

static bool ready_profiles(struct generation *generation)
{
    const struct conf *conf = generation->conf;
    CHECK(conf->profile_count > 0);
    generation->profiles = calloc((size_t)conf->profile_count, sizeof *generation->profiles);
    for (int i = 0; generation->profiles != NULL && i < conf->profile_count; i++) {
        profile_from_conf(&generation->profiles[i], &conf->profiles[i]);
    }
    return generation->profiles != NULL;
}

static void generation_free(struct generation *generation)
{
    for (int i = 0; generation->routes != NULL && generation->failovers != NULL && i < generation->conf->route_count; i++) {
        circuit_release(generation->routes[i].circuit);
        circuit_release(generation->failovers[i].circuit);
    }
    for (int i = 0; generation->processors != NULL && i < generation->conf->processor_count; i++) {
        if (generation->processors[i] != NULL) {
            processor_release(generation->processors[i]);
        }
    }
    generation_parts_close(&generation->parts, generation->conf);
    free(generation->matches);
    free(generation->routes);
    free(generation->failovers);
    free(generation->processors);
    free(generation->profiles);
    limits_unready(generation);
    conf_free(generation->conf);
    free(generation);
}

struct generation *generation_open(struct conf *conf, struct generation_parts *parts, const struct generation_needs *needs,
                                   uint32_t number)
{
    struct generation *generation = calloc(1, sizeof *generation);
    if (generation == NULL) {
        generation_parts_close(parts, conf);
        conf_free(conf);
        return NULL;
    }
    generation->conf = conf;
    generation->parts = *parts;
    *parts = (struct generation_parts){0};
    generation->needs = *needs;
    generation->number = number;
    generation->holders = 1;
    generation->matches = calloc((size_t)conf->route_count + 1, sizeof *generation->matches);
    generation->routes = calloc((size_t)conf->route_count + 1, sizeof *generation->routes);
    generation->failovers = calloc((size_t)conf->route_count + 1, sizeof *generation->failovers);
    generation->processors = calloc((size_t)conf->processor_count + 1, sizeof(struct processor *));
    if (generation->matches == NULL || generation->routes == NULL || generation->failovers == NULL ||
        generation->processors == NULL || !ready_profiles(generation) || !limits_ready(generation) ||
        !hold_processors(generation) || !ready_routes(generation)) {
        generation_free(generation);
        return NULL;
    }
    generation->fallback = fallback_of(generation);
    find_series(generation, &generation->unrouted, "", "");
    return generation;
}

struct generation *generation_hold(struct generation *generation)
{
    generation->holders++;
    return generation;
}

void generation_release(struct generation *generation)
{
    CHECK(generation->holders > 0);
    if (--generation->holders == 0) {
        generation_free(generation);
    }
}

const struct conf *generation_conf(const struct generation *generation)
{
    return generation->conf;
}

struct keyring *generation_keyring(const struct generation *generation)
{
    return generation->parts.keyring;
}

uint32_t generation_number(const struct generation *generation)
{
    return generation->number;
}

uint32_t generation_holders(const struct generation *generation)
{
    return generation->holders;
}

struct tls_server *generation_tls_server(const struct generation *generation, int index)
{
    return generation->parts.servers[index];
}
