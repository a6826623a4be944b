/*
 * Runs of the simulator: each is one seed, which chooses the configuration, the
 * weather, the clients, the reloads and the end. Prints counts, and for a
 * failure the command that replays it.
 *
 *   weir-sim [--seed N] [--runs N] [--exchanges N]   which seeds, and when it is enough
 *            [--each N]       requests of one run
 *            [--trace]        tells everything that happens, on stderr
 *            [--matrix]       prints the table with its counts
 *            [--complete]     fails when a needed row of it was never reached
 *            [--hash]         prints the hash of each run's trace
 */
#include "sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/conf/conf.h"

#define TURNS_MAX UINT64_C(3000000)
#define SETTLE_TURNS 24
#define ARRIVAL_US (5 * SIM_S)
#define RUN_US_MAX (600 * SIM_S)

static struct {
    uint64_t runs_passed, runs_failed;
    bool counted;
} tally;

/* ---- the story of a run ---- */

static struct {
    struct sim_event reload, drain, close, cut;
    bool quiet;
    bool sudden; /* a second TERM comes before the drain is over */
} plot;

static void choose_weather(void)
{
    static const uint64_t latencies[] = {20, 300, 3000};
    bool calm = sim_chance(15);
    sim.weather = (struct sim_weather){
        .refuse = calm || sim_chance(50) ? 0 : (unsigned)sim_between(1, 60),
        .silent = calm || sim_chance(60) ? 0 : (unsigned)sim_between(1, 40),
        .flap = calm ? 0 : (unsigned)sim_below(30),
        .odd_answer = calm ? 0 : (unsigned)sim_below(60),
        .slow_answer = (unsigned)sim_below(20),
        .odd_request = calm ? 0 : (unsigned)sim_below(40),
        .leave = calm ? 0 : (unsigned)sim_below(30),
        .slow_reader = calm ? 0 : (unsigned)sim_below(25),
        .burst = (unsigned)sim_below(40),
        .write_breaks = calm || sim_chance(60) ? 0 : (unsigned)sim_between(15, 400),
        .latency_us = latencies[sim_below(ARRAY_COUNT(latencies))],
    };
}

static void choose_sizes(void)
{
    sim.header_max = (unsigned)sim_between(1024, 4096);
    sim.body_max = sim_chance(70) ? (unsigned)sim_between(1, 20000) : (unsigned)sim_between(20000, 200000);
    sim.clients_max = sim_chance(70) ? 1000 : (uint32_t)sim_between(2, 10);
    sim.buffers_max = sim_chance(60) ? 64 * 1024 * 1024 : (size_t)sim_between(32 * 1024, 512 * 1024);
    for (int i = 0; i < SIM_LISTENERS_MAX; i++) {
        sim.proxy[i] = sim_chance(12);
    }
}

static bool use_next_generation(void)
{
    char why[300] = "";
    struct generation *before = gate_generation(sim.gate);
    struct generation *generation = sim_generation_make(sim.plan_number + 1);
    bool used = gate_use(sim.gate, generation, why, sizeof why);
    if (used) {
        sim.plan_number++;
    } else {
        generation_release(generation);
        if (gate_generation(sim.gate) != before) {
            sim_violated("a generation that could not be used is in use");
        }
    }
    return used;
}

static void on_reload(struct sim_event *event)
{
    if (sim.draining_at_us != 0 || sim.plan_number + 2 >= SIM_PLANS_MAX) {
        return;
    }
    sim.refuse_binds = sim_chance(20);
    bool used = use_next_generation();
    sim.refuse_binds = false;
    sim.counts.reloads++;
    sim.counts.reloads_refused += used ? 0 : 1;
    sim_note("reload", sim.plan_number, used, 0);
    if (sim_chance(70)) {
        sim_after(event, sim_below(1500 * SIM_MS));
    }
}

static void on_quiet(void *owner)
{
    (void)owner;
    plot.quiet = true;
    sim.over = true;
    loop_stop(sim.loop);
}

static void on_cut(struct sim_event *event)
{
    (void)event;
    struct gate_state state;
    uint64_t lines_before = sim.lines;
    gate_state(sim.gate, &state);
    const struct sim_plan *plan = sim_plan();
    sim.cut_at_us = sim.now_us;
    sim.over = true;
    uint32_t cut = gate_cut(sim.gate);
    sim_note("cut", cut, state.exchanges, state.exchanges_sent);
    sim.counts.cuts++;
    if (cut != sim.lines - lines_before) {
        sim_violated("%u exchanges were cut and %" PRIu64 " lines written", cut, sim.lines - lines_before);
    }
    if (!plot.sudden && plan->drain_ms >= plan->longest_ms + 20000) {
        sim_violated("after %u ms of draining %u exchanges and %u clients were left", plan->drain_ms, state.exchanges,
                     state.clients);
    }
    loop_stop(sim.loop);
}

static void on_close(struct sim_event *event)
{
    (void)event;
    sim_note("drain", 0, 0, 0);
    gate_drain(sim.gate, on_quiet, NULL);
    oracle_drained();
    sim_clients_hurry();
    plot.sudden = sim_chance(25);
    sim_after(&plot.cut, plot.sudden ? sim_below(100 * SIM_MS) : sim_plan()->drain_ms * SIM_MS);
}

static void on_drain(struct sim_event *event)
{
    /* Some runs end in the middle of their traffic. */
    if (!sim_clients_done() && sim.now_us < 1000 * SIM_S + RUN_US_MAX / 4 && sim_chance(90)) {
        sim_after(event, 50 * SIM_MS);
        return;
    }
    sim.draining_at_us = sim.now_us;
    sim.counts.drains++;
    sim_note("announce", 0, 0, 0);
    if (sim_chance(10)) {
        plot.sudden = true; /* weir ends in the midst of all */
        on_cut(&plot.cut);
        return;
    }
    gate_drain_announce(sim.gate);
    sim_after(&plot.close, sim_plan()->announce_ms * SIM_MS);
}

static void run_turns(void)
{
    uint64_t turns = 0;
    while (!plot.quiet && sim.cut_at_us == 0) {
        if (!sim_turn(sim.loop)) {
            sim_violated("nothing happens any more, and the gate is not quiet");
        }
        oracle_turn();
        sim.step++;
        if (++turns > TURNS_MAX || sim.now_us > 1000 * SIM_S + RUN_US_MAX) {
            sim_violated("no rest after %" PRIu64 " turns", turns);
        }
    }
}

/* ---- making and unmaking the gate ---- */

static void set_up(void)
{
    sim.loop = loop_open(sim.buffers_max);
    sim.stats = stats_open();
    CHECK(sim.loop != NULL && sim.stats != NULL);
    sim.upstream = upstream_open(&(struct upstream_options){.loop = sim.loop, .stats = sim.stats});
    CHECK(sim.upstream != NULL);
    sim.gate = gate_open(&(struct gate_options){
        .loop = sim.loop,
        .stats = sim.stats,
        .upstream = sim.upstream,
        .clients_max = sim.clients_max,
    });
    CHECK(sim.gate != NULL);
    if (!use_next_generation()) {
        sim_violated("the first generation cannot be used");
    }
}

/* What was closed goes over a few turns; time must not have to pass for it. */
static void settle(void)
{
    for (int turn = 0; turn < SETTLE_TURNS && !sim_loop_settled(sim.loop); turn++) {
        (void)sim_turn(sim.loop);
    }
}

static bool is_arriving(void)
{
    list_each (stream, after, &sim.streams, struct stream, in_streams) {
        if (!stream->is_link && stream->peer != NULL && stream->peer_takes > 0 && stream->to_peer.place != 0) {
            return true;
        }
    }
    return false;
}

/* What was on its way to the clients when the gate came to rest. */
static void let_arrive(void)
{
    uint64_t until_us = sim.now_us + ARRIVAL_US;
    while (is_arriving() && sim.now_us < until_us && sim_turn(sim.loop)) {
    }
}

static void take_down(void)
{
    sim_cancel(&plot.cut);
    sim_cancel(&plot.reload);
    settle();
    let_arrive();
    verdict_end();
    if (!list_empty(&sim.acceptors)) {
        sim_violated("a listening socket was left open");
    }
    gate_close(sim.gate);
    upstream_close(sim.upstream);
    settle();
    list_each (stream, after, &sim.streams, struct stream, in_streams) {
        if (!stream->gone) {
            sim_violated("the %s %" PRIu64 " was left open", stream->is_link ? "link" : "client", stream->id);
        }
    }
    size_t used = loop_blocks(sim.loop)->used_bytes;
    size_t timers = sim_timers_armed(sim.loop);
    if (!loop_close(sim.loop)) {
        sim_violated("at the end %zu bytes are buffered and %zu timers armed", used, timers);
    }
    stats_close(sim.stats);
    sim_cancel_all();
    sim_clients_end();
    sim_streams_free();
}

static uint64_t run_one(uint64_t seed)
{
    sim_world_begin(seed);
    memset(&plot, 0, sizeof plot);
    plot.reload.fire = on_reload;
    plot.drain.fire = on_drain;
    plot.close.fire = on_close;
    plot.cut.fire = on_cut;
    choose_weather();
    choose_sizes();
    sim_places_begin();
    oracle_begin();
    verdict_begin();
    set_up();
    sim_clients_begin();
    if (sim_chance(60)) {
        sim_after(&plot.reload, sim_below(2 * SIM_S));
    }
    sim_after(&plot.drain, sim_chance(50) ? sim_below(3 * SIM_S) : 0);
    run_turns();
    take_down();
    uint64_t hash = sim.hash;
    sim_world_end();
    return hash;
}

/* ---- telling ---- */

static void say_counts(void)
{
    if (tally.counted) {
        return;
    }
    tally.counted = true;
    const struct sim_counts *counts = &sim.counts;
    printf("simulated exchanges: %" PRIu64 " in %" PRIu64 " runs (%" PRIu64 " connections, %" PRIu64 " bursts, %" PRIu64
           " on reused links, %" PRIu64 " reloads, %" PRIu64 " refused, %" PRIu64 " drains, %" PRIu64 " cut)\n",
           counts->exchanges, tally.runs_passed + tally.runs_failed, counts->accepted, counts->bursts, counts->reused,
           counts->reloads, counts->reloads_refused, counts->drains, counts->cuts);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", tally.runs_passed, tally.runs_failed);
    fflush(stdout);
}

/* Called however the program ends: a violation, a CHECK that failed, a sanitizer's finding. */
static void on_end(void)
{
    static bool told;
    if (!told && tally.runs_failed == 0 && sim.program != NULL && !tally.counted) {
        told = true;
        tally.runs_failed++;
        fprintf(stderr, "seed %" PRIu64 " failed at step %" PRIu64 "; replay it: %s --seed %" PRIu64
                        " --runs 1 --each %" PRIu64 " --trace\n",
                sim.seed, sim.step, sim.program, sim.seed, sim.exchanges_per_run);
        say_counts();
    }
}

static void on_abort(int signum)
{
    (void)signum;
    on_end();
    _exit(1);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_the_end(void)
{
    (void)signal(SIGABRT, on_abort);
    (void)atexit(on_end);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(on_end);
    }
}

static uint64_t number_of(const char *text)
{
    uint64_t number = 0;
    if (!bytes_to_u64(bytes_from_text(text), &number)) {
        fprintf(stderr, "'%s' is not a number\n", text);
        tally.counted = true;
        exit(64);
    }
    return number;
}

struct wishes {
    uint64_t seed, runs, exchanges;
    bool matrix, complete, hash;
};

static void read_wishes(struct wishes *wishes, int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"runs", required_argument, NULL, 'r'},
        {"exchanges", required_argument, NULL, 'x'}, {"each", required_argument, NULL, 'e'},
        {"trace", no_argument, NULL, 't'},       {"matrix", no_argument, NULL, 'm'},
        {"complete", no_argument, NULL, 'c'},    {"hash", no_argument, NULL, 'h'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            wishes->seed = number_of(optarg);
            break;
        case 'r':
            wishes->runs = number_of(optarg);
            break;
        case 'x':
            wishes->exchanges = number_of(optarg);
            break;
        case 'e':
            sim.exchanges_per_run = number_of(optarg);
            break;
        case 't':
            sim.trace = true;
            break;
        case 'm':
            wishes->matrix = true;
            break;
        case 'c':
            wishes->complete = true;
            break;
        case 'h':
            wishes->hash = true;
            break;
        default:
            fprintf(stderr, "usage: weir-sim [--seed N] [--runs N] [--exchanges N] [--each N] [--trace] [--matrix] "
                            "[--complete] [--hash]\n");
            tally.counted = true;
            exit(64);
        }
    }
}

int main(int argc, char **argv)
{
    struct wishes wishes = {.seed = 1, .runs = UINT64_MAX, .exchanges = UINT64_MAX};
    sim.exchanges_per_run = 120;
    watch_for_the_end();
    read_wishes(&wishes, argc, argv);
    if (wishes.runs == UINT64_MAX && wishes.exchanges == UINT64_MAX) {
        wishes.runs = 100;
    }
    sim.program = argv[0];
    for (uint64_t i = 0; i < wishes.runs && sim.counts.exchanges < wishes.exchanges; i++) {
        uint64_t hash = run_one(wishes.seed + i);
        tally.runs_passed++;
        if (wishes.hash) {
            printf("seed %" PRIu64 " hash %016" PRIx64 "\n", wishes.seed + i, hash);
        }
    }
    bool complete = rows_report(wishes.matrix);
    say_counts();
    return wishes.complete && !complete ? 1 : 0;
}
