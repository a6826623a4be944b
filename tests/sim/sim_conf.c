/*
 * Generations of a run: a plan with small limits and short times, so that all
 * of them are met, written as YAML and loaded as any file is. Sizes of bodies
 * and heads stay those of the run, so that a request's fate by size is known
 * when it is made; in a money run so does what processors are. Everything else
 * may change with each generation.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/digest.h"
#include "weir/conf/conf.h"

#define SEAT_PORTS 100 /* between the ports of one seat and the next */

const struct sim_plan *sim_plan_of(const struct sim_weir *weir)
{
    return &sim.plans[weir->plan_number];
}

uint16_t sim_port(const struct sim_plan *plan, int listener, int seat)
{
    return (uint16_t)(plan->listeners[listener].port + seat * SEAT_PORTS);
}

/* ---- files ---- */

static void make_file(char path[64], const char *name)
{
    (void)snprintf(path, 64, "%s/weir-sim-%s-XXXXXX", P_tmpdir, name);
    int fd = mkstemp(path); /* 0600, as a secret must be */
    CHECK(fd >= 0 && close(fd) == 0);
}

/* Tenant n of the first two has two credentials, as while a key is rotated. */
static void write_tenants(FILE *out)
{
    for (int credential = 0; credential < 4; credential++) {
        char text[32];
        char hex[2 * DIGEST_BYTES + 1];
        uint8_t digest[DIGEST_BYTES];
        (void)snprintf(text, sizeof text, "Bearer known-%d-%d", credential / 2, credential % 2);
        digest_sha256(bytes_from_text(text), digest);
        digest_hex(digest, sizeof digest, hex);
        fprintf(out, "sha256:%s shop-%d gold\n", hex, credential / 2);
    }
}

void sim_files_make(void)
{
    static const char b[] = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", c[] = "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC",
                      d[] = "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD";
    make_file(sim.secret_path, "secret");
    make_file(sim.tenants_path, "tenants");
    FILE *out = fopen(sim.secret_path, "w");
    CHECK(out != NULL);
    fprintf(out, "index %sA=\nfingerprint %sA=\nseal.1 %sA=\n", b, c, d);
    CHECK(fclose(out) == 0);
    out = fopen(sim.tenants_path, "w");
    CHECK(out != NULL);
    write_tenants(out);
    CHECK(fclose(out) == 0);
}

void sim_files_remove(void)
{
    (void)unlink(sim.secret_path);
    (void)unlink(sim.tenants_path);
}

/* ---- numbers ---- */

/* Roomy: a client that is not let in asks for nothing. */
static void plan_money_listener(struct sim_plan *plan)
{
    plan->listener_count = 1;
    plan->listeners[0] = (struct sim_listener_plan){
        .name = 'a',
        .port = 8001,
        .per_address = 1000,
        .header_ms = (unsigned)sim_between(300, 1000),
        .body_ms = (unsigned)sim_between(300, 1000),
        .idle_ms = (unsigned)sim_between(300, 3000),
        .write_ms = (unsigned)sim_between(300, 2000),
    };
}

static void plan_listeners(struct sim_plan *plan)
{
    if (sim.money) {
        plan_money_listener(plan);
        return;
    }
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

static void plan_wire_processors(struct sim_plan *plan)
{
    plan->processor_count = (int)sim_between(1, SIM_PROCESSORS_MAX);
    for (int i = 0; i < plan->processor_count; i++) {
        struct sim_processor_plan *processor = &plan->processors[i];
        *processor = (struct sim_processor_plan){
            .bank = sim_chance(50),
            .resolved = sim_chance(25),
            .place_count = (int)sim_between(1, SIM_PLACES_MAX),
            .connect_ms = (unsigned)sim_between(10, 200),
            .response_ms = (unsigned)sim_between(40, 800),
            .late_ms = sim_chance(30) ? 0 : (unsigned)sim_between(1, 2000),
            .idle_ms = (unsigned)sim_between(10, 4000),
            .age_ms = (unsigned)sim_between(100, 6000),
            .connections = sim_chance(60) ? (unsigned)sim_between(1, 3) : (unsigned)sim_between(4, 16),
            .queue = (unsigned)sim_skewed(40),
            .concurrency = sim_chance(60) ? 512 : (unsigned)sim_between(1, 6),
        };
        processor->total_ms = processor->connect_ms + processor->response_ms + (unsigned)sim_below(400);
    }
}

/* What a processor is does not change within a run: how it is reached does. */
static void plan_money_processors(struct sim_plan *plan)
{
    const struct sim_plan *first = &sim.plans[1];
    bool alike = sim.sick && sim_chance(80); /* all are banks, or none is */
    bool banks = sim_chance(60);
    plan->processor_count = plan != first ? first->processor_count : (int)sim_between(sim.sick ? 2 : 1, SIM_PROCESSORS_MAX);
    for (int i = 0; i < plan->processor_count; i++) {
        struct sim_processor_plan *processor = &plan->processors[i];
        *processor = (struct sim_processor_plan){
            .bank = plan != first ? first->processors[i].bank : alike ? banks : sim.weather.store_forgets || sim_chance(60),
            .place_count = (int)sim_between(1, SIM_PLACES_MAX),
            .connect_ms = (unsigned)sim_between(20, 200),
            .response_ms = sim_chance(10) ? 20000 : (unsigned)sim_between(100, 3000), /* longer than a lease, or shorter */
            .late_ms = sim_chance(30) ? 0 : sim_chance(70) ? (unsigned)sim_between(1, 3000) : (unsigned)sim_between(1, 30000),
            .idle_ms = (unsigned)sim_between(100, 4000),
            .age_ms = (unsigned)sim_between(1000, 60000),
            .connections = (unsigned)sim_between(2, 16),
            .queue = (unsigned)sim_between(1, 40),
            .concurrency = sim_chance(80) ? 512 : (unsigned)sim_between(2, 6),
        };
        processor->total_ms = processor->connect_ms + processor->response_ms + (unsigned)sim_below(400);
    }
}

static void plan_processors(struct sim_plan *plan)
{
    if (sim.money) {
        plan_money_processors(plan);
    } else {
        plan_wire_processors(plan);
    }
    sim_care_plan(plan);
}

/* Another processor that speaks the same; -1: there is none. */
static int another_of(const struct sim_plan *plan, int processor)
{
    int first = (int)sim_below((uint64_t)plan->processor_count);
    for (int i = 0; i < plan->processor_count; i++) {
        int other = (first + i) % plan->processor_count;
        if (other != processor && plan->processors[other].bank == plan->processors[processor].bank) {
            return other;
        }
    }
    return -1;
}

static void plan_wire_route(struct sim_plan *plan, struct sim_route_plan *route)
{
    route->processor = (int)sim_below((uint64_t)plan->processor_count);
    route->stream = sim_chance(25);
    route->sticky = plan->processors[route->processor].bank;
    route->keyed = !route->stream && sim_chance(60);
    route->required = sim_chance(10);
    route->wait_ms = (unsigned)sim_below(300);
    bool may_move = !route->keyed && !route->sticky && sim.weather.care; /* a bank's keys move with a record alone */
    route->failover = may_move ? another_of(plan, route->processor) : -1;
}

/* Its store is weir's own: keys may move. */
static void plan_sick_route(struct sim_plan *plan, struct sim_route_plan *route)
{
    route->keyed = true;
    route->processor = (int)sim_below((uint64_t)plan->processor_count);
    bool bank = plan->processors[route->processor].bank;
    route->failover = sim_chance(80) ? another_of(plan, route->processor) : -1;
    route->moves = route->failover >= 0;
    route->sticky = bank && (route->moves || sim_chance(80));
    route->derived = sim_chance(40);
    route->required = sim_chance(10);
    route->wait_ms = sim_chance(20) ? 0 : (unsigned)sim_below(3000);
}

/*
 * Where records may be lost, or passed by, the processor alone makes a payment
 * once: then the way of a key to its processor must stay what it is.
 */
static void plan_money_route(struct sim_plan *plan, int index, struct sim_route_plan *route)
{
    const struct sim_route_plan *first = &sim.plans[1].routes[index];
    bool fresh = plan->number == 1;
    bool settled = !fresh && (sim.weather.store_forgets || first->passes);
    route->failover = -1;
    route->keyed = true;
    route->processor = settled || (!fresh && sim_chance(50)) ? first->processor : (int)sim_below((uint64_t)plan->processor_count);
    route->sticky = settled ? first->sticky
                            : plan->processors[route->processor].bank && (sim.weather.store_forgets || sim_chance(85));
    route->derived = settled ? first->derived : sim_chance(40);
    route->passes = fresh ? route->sticky && sim_bank_retention_s() >= 900 && sim_chance(20) : first->passes;
    route->required = sim_chance(50);
    route->wait_ms = sim_chance(20) ? 0 : (unsigned)sim_below(3000);
}

static void plan_routes(struct sim_plan *plan)
{
    plan->route_count = SIM_ROUTES_MAX;
    for (int i = 0; i < plan->route_count; i++) {
        if (sim.sick) {
            plan_sick_route(plan, &plan->routes[i]);
        } else if (sim.money) {
            plan_money_route(plan, i, &plan->routes[i]);
        } else {
            plan_wire_route(plan, &plan->routes[i]);
        }
    }
}

static void plan_times(struct sim_plan *plan)
{
    plan->longest_ms = longest_of(plan);
    plan->announce_ms = (unsigned)sim_below(300);
    plan->drain_ms = plan->longest_ms + (sim_chance(60) ? 20000 : (unsigned)sim_below(500));
    plan->keep_ms = (unsigned)sim_between(1000, 60000);
    plan->keep_receipt_ms = SIM_KEEP_RECEIPT_MS;
    plan->keep_unknown_ms = SIM_KEEP_UNKNOWN_MS;
    plan->begin_timeout_ms = (unsigned)sim_between(20, 1000);
}

/* ---- YAML ---- */

static const char *const networks = "[\"10.0.0.0/8\"]";

static void write_listeners(struct sim_bytes *text, const struct sim_plan *plan, int seat)
{
    sim_bytes_text(text, "listeners:\n");
    for (int i = 0; i < plan->listener_count; i++) {
        const struct sim_listener_plan *listener = &plan->listeners[i];
        sim_bytes_text(text, "  - name: %c\n    address: \"127.0.0.1:%u\"\n", listener->name,
                       sim_port(plan, i, seat));
        if (listener->proxy) {
            sim_bytes_text(text, "    proxy_protocol: required\n    trusted: %s\n", networks);
        }
        sim_bytes_text(text, "    limits: {per_address: %u, header: %uB, body: %uB", listener->per_address,
                       sim.header_max, sim.body_max);
        if (listener->connections > 0) {
            sim_bytes_text(text, ", connections: %u", listener->connections);
        }
        if (plan->accept_limit >= 0 && i == 0) {
            sim_bytes_text(text, ", accept: [l%d]", plan->accept_limit);
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

static const char *mode_of(const struct sim_route_plan *route)
{
    return route->moves ? "failover" : route->sticky ? "sticky" : "single_shot";
}

static void write_processors(struct sim_bytes *text, const struct sim_plan *plan)
{
    static const char *const ways[] = {"p2c", "least", "round_robin"};
    sim_bytes_text(text, "processors:\n");
    for (int i = 0; i < plan->processor_count; i++) {
        const struct sim_processor_plan *processor = &plan->processors[i];
        sim_bytes_text(text, "  p%d:\n    url: \"http://p%d.test:8000\"\n", i, i);
        sim_bytes_text(text, "    profile: %s\n", processor->bank ? "bank" : "till");
        if (!processor->resolved) {
            write_places(text, i, processor->place_count);
        }
        sim_bytes_text(text, "    timeouts: {connect: %ums, response: %ums, total: %ums, late: %ums}\n",
                       processor->connect_ms, processor->response_ms, processor->total_ms, processor->late_ms);
        sim_bytes_text(text, "    pool: {connections: %u, idle: %ums, age: %ums, queue: %u}\n", processor->connections,
                       processor->idle_ms, processor->age_ms, processor->queue);
        sim_bytes_text(text, "    balance: %s\n    concurrency: %u\n", ways[sim_below(ARRAY_COUNT(ways))],
                       processor->concurrency);
        sim_care_write(text, processor);
    }
}

static void write_idempotency(struct sim_bytes *text, const struct sim_plan *plan, const struct sim_route_plan *route)
{
    if (!route->keyed) {
        sim_bytes_text(text, "    idempotency: off\n");
        return;
    }
    sim_bytes_text(text, "    idempotency: {required: %s, mode: %s, upstream_key: %s, keep: %ums, keep_receipt: %ums,\n"
                         "                  keep_unknown: %ums, wait: %ums, store_down: %s}\n",
                   route->required ? "true" : "false", mode_of(route),
                   route->derived ? "derived" : "passthrough", plan->keep_ms, plan->keep_receipt_ms, plan->keep_unknown_ms,
                   route->wait_ms, route->passes ? "pass" : "refuse");
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
        if (route->failover >= 0) {
            sim_bytes_text(text, "    failover: p%d\n", route->failover);
        }
        if (route->limits != 0) {
            sim_bytes_text(text, "    limits: ");
            sim_quota_write_names(text, route->limits);
            sim_bytes_text(text, "\n");
        }
        if (route->class != SHED_CLASS_COUNT) {
            sim_bytes_text(text, "    class: %s\n", shed_class_name(route->class));
        }
        write_idempotency(text, plan, route);
    }
}

/* What these processors are is known to sim_bank.c, too. */
static void write_money(struct sim_bytes *text, const struct sim_plan *plan)
{
    if (sim.sick) {
        sim_bytes_text(text, "store: {type: embedded, path: /nowhere/store, single_machine: true, secret_file: %s, begin_timeout: %ums}\n",
                       sim.secret_path, plan->begin_timeout_ms);
    } else {
        sim_bytes_text(text, "store: {type: redis, servers: [\"redis://127.0.0.1:6379\"], secret_file: %s, begin_timeout: %ums,\n"
                         "        limit_timeout: %ums}\n",
                       sim.secret_path, plan->begin_timeout_ms, plan->limit_timeout_ms);
    }
    if (sim.money) {
        sim_bytes_text(text, "tenants: {known_file: %s}\n", sim.tenants_path);
    }
    sim_bytes_text(text, "profiles:\n"
                         "  bank: {deduplicates: true, retention: %us, final: [200-299, 400, 402, 404], not_executed: [429],\n"
                         "         busy: [409], kept_fields: [\"Sim-*\"], replay_marker: \"Idempotent-Replayed: true\", test_keys: [sk_test_]}\n"
                         "  till: {deduplicates: false, final: [200-299, 400, 402, 404], not_executed: [429],\n"
                         "         kept_fields: [\"Sim-*\"], test_keys: [sk_test_]}\n",
                   sim_bank_retention_s());
}

static void write_plan(struct sim_bytes *text, const struct sim_plan *plan, int seat)
{
    sim_bytes_text(text, "version: 1\n");
    write_listeners(text, plan, seat);
    write_processors(text, plan);
    write_routes(text, plan);
    sim_quota_write(text, plan);
    write_money(text, plan);
    sim_bytes_text(text, "shutdown: {announce: %ums, drain: %ums}\n", plan->announce_ms, plan->drain_ms);
}

/* ---- a generation ---- */

static struct conf *load(const struct sim_plan *plan, int seat, struct generation_parts *tls)
{
    struct sim_bytes text = {0};
    struct conf_findings *findings = conf_findings_open();
    write_plan(&text, plan, seat);
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

static void make_plan(struct sim_plan *plan, unsigned number)
{
    *plan = (struct sim_plan){.number = number};
    plan_listeners(plan);
    plan_processors(plan);
    plan_routes(plan);
    plan_times(plan);
    sim_quota_plan(plan);
}

struct generation *sim_generation_make(const struct sim_weir *weir, unsigned number)
{
    struct sim_plan *plan = &sim.plans[number];
    struct generation_parts tls = {0};
    /* One that was refused is made anew; one that other weirs use is theirs, too. */
    if (!sim.money || number > sim.plan_count) {
        make_plan(plan, number);
        sim.plan_count = number;
    }
    struct conf *conf = load(plan, weir->seat, &tls);
    const struct generation_needs needs = {.upstream = weir->upstream, .stats = weir->stats};
    struct generation *generation = generation_open(conf, &tls, &needs, number);
    CHECK(generation != NULL);
    return generation;
}
