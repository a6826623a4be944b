/*
 * Generations of a run: a plan with small limits and short times, so that all
 * of them are met, written as YAML and loaded as any file is. Sizes of bodies
 * and heads stay those of the run, so that a request's fate by size is known
 * when it is made; everything else may change with each generation.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>

#include "weir/conf/conf.h"

const struct sim_plan *sim_plan(void)
{
    return &sim.plans[sim.plan_number];
}

/* ---- numbers ---- */

static void plan_listeners(struct sim_plan *plan)
{
    plan->listener_count = sim_chance(70) ? 1 : 2;
    for (int i = 0; i < plan->listener_count; i++) {
        struct sim_listener_plan *listener = &plan->listeners[i];
        *listener = (struct sim_listener_plan){
            .name = (char)('a' + i),
            .port = (uint16_t)(8001 + i + (sim_chance(15) ? 10 : 0)),
            .proxy = sim.proxy[i],
            .per_address = sim_chance(80) ? 1000 : (unsigned)sim_between(1, 4),
            .connections = sim_chance(70) ? 0 : (unsigned)sim_between(1, 8),
            .header_ms = (unsigned)sim_between(30, 400),
            .body_ms = (unsigned)sim_between(30, 600),
            .idle_ms = (unsigned)sim_between(30, 3000),
            .write_ms = (unsigned)sim_between(50, 1000),
        };
    }
}

static unsigned longest_of(const struct sim_plan *plan)
{
    unsigned longest = 0;
    for (int i = 0; i < plan->processor_count; i++) {
        longest = plan->processors[i].total_ms > longest ? plan->processors[i].total_ms : longest;
    }
    return longest;
}

static void plan_processors(struct sim_plan *plan)
{
    plan->processor_count = (int)sim_between(1, SIM_PROCESSORS_MAX);
    for (int i = 0; i < plan->processor_count; i++) {
        struct sim_processor_plan *processor = &plan->processors[i];
        *processor = (struct sim_processor_plan){
            .stripe = sim_chance(50),
            .resolved = sim_chance(25),
            .place_count = (int)sim_between(1, SIM_PLACES_MAX),
            .connect_ms = (unsigned)sim_between(10, 200),
            .response_ms = (unsigned)sim_between(40, 800),
            .idle_ms = (unsigned)sim_between(10, 4000),
            .age_ms = (unsigned)sim_between(100, 6000),
            .connections = sim_chance(60) ? (unsigned)sim_between(1, 3) : (unsigned)sim_between(4, 16),
            .queue = (unsigned)sim_skewed(40),
            .concurrency = sim_chance(60) ? 512 : (unsigned)sim_between(1, 6),
        };
        processor->total_ms = processor->connect_ms + processor->response_ms + (unsigned)sim_below(400);
    }
}

static void plan_routes(struct sim_plan *plan)
{
    plan->route_count = SIM_ROUTES_MAX;
    for (int i = 0; i < plan->route_count; i++) {
        plan->routes[i] = (struct sim_route_plan){
            .processor = (int)sim_below((uint64_t)plan->processor_count),
            .stream = sim_chance(25),
        };
    }
}

static void plan_times(struct sim_plan *plan)
{
    plan->longest_ms = longest_of(plan);
    plan->announce_ms = (unsigned)sim_below(300);
    plan->drain_ms = plan->longest_ms + (sim_chance(60) ? 20000 : (unsigned)sim_below(500));
}

/* ---- YAML ---- */

static const char *const networks = "[\"10.0.0.0/8\"]";

static void write_listeners(struct sim_bytes *text, const struct sim_plan *plan)
{
    sim_bytes_text(text, "listeners:\n");
    for (int i = 0; i < plan->listener_count; i++) {
        const struct sim_listener_plan *listener = &plan->listeners[i];
        sim_bytes_text(text, "  - name: %c\n    address: \"127.0.0.1:%u\"\n", listener->name, listener->port);
        if (listener->proxy) {
            sim_bytes_text(text, "    proxy_protocol: required\n    trusted: %s\n", networks);
        }
        sim_bytes_text(text, "    limits: {per_address: %u, header: %uB, body: %uB", listener->per_address,
                       sim.header_max, sim.body_max);
        if (listener->connections > 0) {
            sim_bytes_text(text, ", connections: %u", listener->connections);
        }
        sim_bytes_text(text, "}\n    timeouts: {header: %ums, body: %ums, idle: %ums, write: %ums}\n",
                       listener->header_ms, listener->body_ms, listener->idle_ms, listener->write_ms);
    }
}

static void write_places(struct sim_bytes *text, int processor, int count)
{
    char address[ADDR_TEXT_BYTES];
    struct addr addr;
    sim_bytes_text(text, "    endpoints: [");
    for (int i = 0; i < count; i++) {
        sim_place_address(processor, i, &addr);
        sim_bytes_text(text, "%s\"%s\"", i > 0 ? ", " : "", addr_format(&addr, address));
    }
    sim_bytes_text(text, "]\n");
}

static void write_processors(struct sim_bytes *text, const struct sim_plan *plan)
{
    static const char *const ways[] = {"p2c", "least", "round_robin"};
    sim_bytes_text(text, "processors:\n");
    for (int i = 0; i < plan->processor_count; i++) {
        const struct sim_processor_plan *processor = &plan->processors[i];
        sim_bytes_text(text, "  p%d:\n    url: \"http://p%d.test:8000\"\n", i, i);
        sim_bytes_text(text, "    profile: %s\n", processor->stripe ? "stripe" : "generic");
        if (!processor->resolved) {
            write_places(text, i, processor->place_count);
        }
        sim_bytes_text(text, "    timeouts: {connect: %ums, response: %ums, total: %ums}\n", processor->connect_ms,
                       processor->response_ms, processor->total_ms);
        sim_bytes_text(text, "    pool: {connections: %u, idle: %ums, age: %ums, queue: %u}\n", processor->connections,
                       processor->idle_ms, processor->age_ms, processor->queue);
        sim_bytes_text(text, "    balance: %s\n    concurrency: %u\n", ways[sim_below(ARRAY_COUNT(ways))],
                       processor->concurrency);
    }
}

/* Names carry the generation's number: a line of the log says which one it ran on. */
static void write_routes(struct sim_bytes *text, const struct sim_plan *plan)
{
    sim_bytes_text(text, "routes:\n");
    for (int i = 0; i < plan->route_count; i++) {
        const struct sim_route_plan *route = &plan->routes[i];
        sim_bytes_text(text, "  - name: r%d-g%u\n    match: {path: \"/r%d/*\"}\n    to: p%d\n", i, plan->number, i,
                       route->processor);
        if (route->stream) {
            sim_bytes_text(text, "    stream: request\n");
        }
    }
}

static void write_plan(struct sim_bytes *text, const struct sim_plan *plan)
{
    sim_bytes_text(text, "version: 1\n");
    write_listeners(text, plan);
    write_processors(text, plan);
    write_routes(text, plan);
    sim_bytes_text(text, "shutdown: {announce: %ums, drain: %ums}\n", plan->announce_ms, plan->drain_ms);
}

/* ---- a generation ---- */

static struct conf *load(const struct sim_plan *plan, struct generation_parts *tls)
{
    struct sim_bytes text = {0};
    struct conf_findings *findings = conf_findings_open();
    write_plan(&text, plan);
    sim_note("generation", plan->number, sim_bytes_len(&text), 0);
    struct conf *conf = conf_load_text("sim.yaml", sim_bytes_all(&text), findings);
    if (conf == NULL || !generation_parts_open(tls, conf, NULL, GENERATION_ABSENT_IS_ERROR, findings)) {
        char *words = conf_findings_text(findings);
        sim_violated("the configuration does not load: %s", words);
    }
    conf_findings_close(findings);
    sim_bytes_free(&text);
    return conf;
}

struct generation *sim_generation_make(unsigned number)
{
    struct sim_plan *plan = &sim.plans[number];
    struct generation_parts tls;
    *plan = (struct sim_plan){.number = number};
    plan_listeners(plan);
    plan_processors(plan);
    plan_routes(plan);
    plan_times(plan);
    struct conf *conf = load(plan, &tls);
    const struct generation_needs needs = {.upstream = sim.upstream, .stats = sim.stats};
    struct generation *generation = generation_open(conf, &tls, &needs, number);
    CHECK(generation != NULL);
    return generation;
}
