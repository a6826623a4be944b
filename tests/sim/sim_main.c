/*
 * Runs of the simulator: each is one seed, which chooses the configuration, the
 * weather, the clients, the reloads and the end. Prints counts, and for a
 * failure the command that replays it.
 *
 *   weir-sim [--seed N] [--runs N] [--exchanges N]   which seeds, and when it is enough
 *            [--payments N]   the same in money runs
 *            [--money]        money runs
 *            [--sick]         money runs in which processors fall ill, and keys may move
 *            [--shadow]       pairs of runs: a limit and its shadow
 *            [--each N]       requests of one run, or payments
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

static struct {
    uint64_t runs_passed, runs_failed;
    bool counted;
} tally;

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
    if (sim.money) {
        printf("simulated payments: %" PRIu64 " (%" PRIu64 " executed, %" PRIu64 " replayed, %" PRIu64 " taken-over, %" PRIu64
               " unknown, %" PRIu64 " kills, %" PRIu64 " stops, %" PRIu64 " late-begins, %" PRIu64 " outages, %" PRIu64
               " losses)\n",
               counts->payments, counts->executions, counts->replays, counts->takeovers, counts->unknowns, counts->kills,
               counts->freezes, counts->late_begins, counts->outages, counts->losses);
    }
    printf("simulated limits: %" PRIu64 " refused (%" PRIu64 " would-be, %" PRIu64 " leased, %" PRIu64 " judged-here, %" PRIu64
           " told-truly, %" PRIu64 " shed)\n",
           counts->limited, counts->would_limit, counts->leased, counts->judged_here, counts->promises, counts->shed);
    printf("simulated sickness: %" PRIu64 " fell ill (%" PRIu64 " failed-over, %" PRIu64 " sent-again, %" PRIu64
           " breakers-opened, %" PRIu64 " words, %" PRIu64 " checks)\n",
           counts->ills, counts->failovers, counts->again, counts->opened, counts->words, counts->checks);
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
        fprintf(stderr, "seed %" PRIu64 " failed at step %" PRIu64 "; replay it: %s%s --seed %" PRIu64
                        " --runs 1 --each %" PRIu64 " --trace\n",
                sim.seed, sim.step, sim.program, sim.pair ? " --shadow" : sim.sick ? " --sick" : sim.money ? " --money" : "", sim.seed, sim.exchanges_per_run);
        say_counts();
    }
}

static void on_abort(int signum)
{
    (void)signum;
    on_end();
    sim_files_remove();
    _exit(1);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_the_end(void)
{
    (void)signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback == NULL) {
        (void)signal(SIGSEGV, on_abort);
    }
    (void)atexit(sim_files_remove);
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
    uint64_t payments;
    bool matrix, complete, hash;
};

static void read_wishes(struct wishes *wishes, int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"runs", required_argument, NULL, 'r'},
        {"exchanges", required_argument, NULL, 'x'}, {"each", required_argument, NULL, 'e'},
        {"payments", required_argument, NULL, 'p'}, {"money", no_argument, NULL, 'y'},
        {"shadow", no_argument, NULL, 'w'},      {"sick", no_argument, NULL, 'i'},
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
        case 'p':
            wishes->payments = number_of(optarg);
            sim.money = true;
            break;
        case 'y':
            sim.money = true;
            break;
        case 'w':
            sim.money = sim.pair = true;
            break;
        case 'i':
            sim.money = sim.sick = true;
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
            fprintf(stderr, "usage: weir-sim [--money | --sick | --shadow] [--seed N] [--runs N] [--exchanges N | --payments N] [--each N] "
                            "[--trace] [--matrix] [--complete] [--hash]\n");
            tally.counted = true;
            exit(64);
        }
    }
}

int main(int argc, char **argv)
{
    struct wishes wishes = {.seed = 1, .runs = UINT64_MAX, .exchanges = UINT64_MAX, .payments = UINT64_MAX};
    watch_for_the_end();
    read_wishes(&wishes, argc, argv);
    if (wishes.runs == UINT64_MAX && wishes.exchanges == UINT64_MAX && wishes.payments == UINT64_MAX) {
        wishes.runs = 100;
    }
    if (sim.exchanges_per_run == 0) {
        sim.exchanges_per_run = sim.money ? 60 : 120;
    }
    sim.program = argv[0];
    sim_files_make();
    for (uint64_t i = 0; i < wishes.runs && sim.counts.exchanges < wishes.exchanges && sim.counts.payments < wishes.payments;
         i++) {
        uint64_t hash = sim.pair ? shadow_run(wishes.seed + i) : story_run(wishes.seed + i);
        tally.runs_passed++;
        if (wishes.hash) {
            printf("seed %" PRIu64 " hash %016" PRIx64 "\n", wishes.seed + i, hash);
        }
    }
    bool complete = rows_report(wishes.matrix);
    say_counts();
    return wishes.complete && !complete ? 1 : 0;
}
