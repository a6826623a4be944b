/*
 * What happens in one run, from its seed: the weather, who is there, reloads,
 * kills and stops, the end. A wire run ends when its clients are through, or in
 * the middle of their traffic. A money run has a time in which everything may
 * fail, and then one in which nothing does: what is not settled by its end,
 * though it could be, is a violation.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#define TURNS_MAX UINT64_C(3000000)
#define ARRIVAL_US (5 * SIM_S)
#define BEGIN_US (1000 * SIM_S)
#define WIRE_US_MAX (600 * SIM_S)
#define MONEY_US_MAX (1200 * SIM_S)

static struct {
    struct sim_event drain, heal, misfortune;
    struct sim_event back[SIM_SEATS_MAX]; /* of who was killed */
    uint64_t turns;
} story;

/* ---- the weather ---- */

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
        .store_slow = calm ? 0 : (unsigned)sim_below(60),
        .store_breaks = calm || sim_chance(50) ? 0 : (unsigned)sim_below(40),
        .store_late = (unsigned)sim_below(60),
        .store_out = calm || sim_chance(60) ? 0 : (unsigned)sim_below(20),
        .ills = calm || sim_chance(70) ? 0 : (unsigned)sim_between(50, 1000),
        .care = sim_chance(50),
        .limits = sim_chance(40),
        .rates_vary = sim_chance(20),
        .overload = sim_chance(80) ? 0 : (unsigned)sim_between(10, 90),
    };
}

/* A money run has little of what goes wrong on the wire: other runs have it. */
static void choose_money_weather(void)
{
    bool calm = sim_chance(10);
    bool lasts = sim_chance(8);
    sim.weather = (struct sim_weather){
        .refuse = calm || sim_chance(60) ? 0 : (unsigned)sim_between(1, 30),
        .silent = calm || sim_chance(80) ? 0 : (unsigned)sim_between(1, 20),
        .flap = calm ? 0 : (unsigned)sim_below(10),
        .write_breaks = calm || sim_chance(60) ? 0 : (unsigned)sim_between(30, 400),
        .latency_us = sim_chance(50) ? 300 : 3000,
        .kill_one_in = calm || sim_chance(40) ? 0 : (unsigned)sim_between(60, 600),
        .freeze_one_in = calm || sim_chance(40) ? 0 : (unsigned)sim_between(60, 600),
        .restart_late = (unsigned)sim_below(60),
        .store_slow = calm ? 0 : (unsigned)sim_below(80),
        .store_breaks = calm || sim_chance(40) ? 0 : (unsigned)sim_below(60),
        .store_late = (unsigned)sim_below(80),
        .store_out = calm || sim_chance(50) ? 0 : (unsigned)sim_between(1, 15),
        .store_forgets = !lasts && sim_chance(30),
        .lasts = lasts,
        .sleepers = lasts ? 50 : 8,
        .clock_steps = sim_chance(30),
        .ills = calm || sim_chance(70) ? 0 : (unsigned)sim_between(500, 10000),
        .care = sim_chance(30),
        .limits = sim_chance(50),
        .rates_vary = sim_chance(20),
        .overload = calm || sim_chance(88) ? 0 : (unsigned)sim_between(10, 90),
        .bad_bank = calm ? 5 : (unsigned)sim_between(10, 70),
        .declines = sim_chance(70) ? 5 : (unsigned)sim_between(20, 60),
        .unread = calm ? 5 : (unsigned)sim_between(5, 50),
    };
}

/* Processors are what goes wrong; the store is weir's own, and loses nothing. */
static void choose_sick_weather(void)
{
    choose_money_weather();
    struct sim_weather *weather = &sim.weather;
    weather->store_forgets = weather->clock_steps = weather->limits = false;
    weather->bad_bank = sim_chance(60) ? 3 : weather->bad_bank;
    weather->flap = sim_chance(70) ? 0 : weather->flap;
    weather->ills = (unsigned)sim_between(200, 6000);
    weather->care = true;
    weather->storm = sim_chance(8);
}

/* Nothing goes wrong while a limit is compared with its shadow. */
static void choose_pair_weather(void)
{
    sim.weather = (struct sim_weather){.latency_us = 20, .limits = true};
}

static void choose_sizes(void)
{
    bool roomy = sim.money;
    sim.header_max = (unsigned)sim_between(1024, 4096);
    sim.body_max = roomy           ? (unsigned)sim_between(4000, 20000)
                   : sim_chance(70) ? (unsigned)sim_between(1, 20000)
                                    : (unsigned)sim_between(20000, 200000);
    sim.clients_max = sim_chance(70) || roomy ? 1000 : (uint32_t)sim_between(2, 10);
    sim.buffers_max = sim_chance(60) || roomy ? 64 * 1024 * 1024 : (size_t)sim_between(32 * 1024, 512 * 1024);
    for (int i = 0; i < SIM_LISTENERS_MAX; i++) {
        sim.proxy[i] = !roomy && sim_chance(12);
    }
}

/* ---- killed ones, and who comes back ---- */

static void on_back(struct sim_event *event)
{
    int seat = (int)(event - story.back);
    const struct sim_weir *there = sim_weir_at(seat);
    if (there == NULL && sim.weir_count < SIM_WEIRS_MAX && !sim.over) {
        (void)sim_weir_start(seat);
    } else if (there != NULL && there->draining_at_us != 0) {
        sim_after(event, 200 * SIM_MS); /* it still holds the ports */
    }
}

void story_lost(int seat)
{
    bool late = sim_chance(sim.weather.restart_late);
    sim_after(&story.back[seat], late ? sim_between(SIM_S, 60 * SIM_S) : sim_below(800 * SIM_MS));
}

/* From outside of what they do: between two events, while they wait. */
static void on_misfortune(struct sim_event *event)
{
    struct sim_weir *weir = sim_weir_at((int)sim_below((uint64_t)sim.seats));
    if (sim.healed) {
        return;
    }
    sim_after(event, sim_between(100 * SIM_MS, 20 * SIM_S));
    if (weir == NULL || weir->draining_at_us != 0) {
        return;
    }
    if (sim.weather.kill_one_in > 0 && sim_chance(30)) {
        sim_weir_kill(weir);
    } else if (sim_chance(30) && sim.plan_count + 1 < SIM_PLANS_MAX) {
        sim_after(&weir->reload, 0);
    } else if (sim_chance(30) && sim.weir_count <= SIM_WEIRS_MAX - sim.seats) {
        sim_weir_drain(weir); /* an orderly stop; another takes its seat */
        sim_after(&story.back[weir->seat], 0);
    }
}

static void on_heal(struct sim_event *event)
{
    struct sim_weather *weather = &sim.weather;
    (void)event;
    sim_note("heal", 0, 0, 0);
    sim.healed = true;
    weather->refuse = weather->silent = weather->flap = weather->write_breaks = 0;
    weather->store_slow = weather->store_breaks = weather->store_out = 0;
    weather->bad_bank = weather->unread = weather->overload = 0;
    weather->ills = 0;
    sim_ills_heal();
    sim_house_heal();
    sim_payers_healed();
    for (int seat = 0; seat < sim.seats; seat++) {
        sim_after(&story.back[seat], 0);
    }
}

/* ---- the end ---- */

static bool actors_done(void)
{
    if (sim.pair) {
        return shadow_done();
    }
    return sim.money ? sim_payers_done() && sim_callers_done() : sim_clients_done();
}

static void on_drain(struct sim_event *event)
{
    bool in_the_midst = !sim.money && sim_chance(10);
    if (!actors_done() && sim.now_us < BEGIN_US + (sim.money ? MONEY_US_MAX : WIRE_US_MAX / 4) && !in_the_midst) {
        sim_after(event, sim.money ? 500 * SIM_MS : 50 * SIM_MS);
        return;
    }
    sim.over = sim.money;
    for (int i = 0; i < sim.weir_count; i++) {
        struct sim_weir *weir = sim.weirs[i];
        if (!weir->dead && !weir->over && weir->draining_at_us == 0) {
            sim_weir_drain(weir);
        }
    }
}

void story_watch(void)
{
    uint64_t us_max = sim.money ? MONEY_US_MAX + 300 * SIM_S : WIRE_US_MAX;
    sim.step++;
    if (++story.turns > TURNS_MAX || sim.now_us > BEGIN_US + us_max) {
        sim_violated("no rest after %" PRIu64 " turns", story.turns);
    }
}

static bool run_goes_on(void)
{
    return !sim_weirs_over() || (sim.money && !sim.over);
}

static void run_turns(void)
{
    while (run_goes_on()) {
        if (!sim_turn()) {
            sim_violated("nothing happens any more, and the gate is not quiet");
        }
        oracle_turn();
        story_watch();
    }
    sim.over = true;
}

static bool is_arriving_in(struct list *streams)
{
    list_each (stream, after, streams, struct stream, in_streams) {
        if (!stream->is_link && stream->peer != NULL && stream->peer_takes > 0 && stream->to_peer.place != 0) {
            return true;
        }
    }
    return false;
}

/* What was on its way to the clients, and to the store, when the gates came to rest. */
static void let_arrive(void)
{
    uint64_t until_us = sim.now_us + ARRIVAL_US;
    while ((is_arriving_in(&sim.streams) || is_arriving_in(&sim.streams_past) || !sim_stores_closed()) &&
           sim.now_us < until_us && sim_turn()) {
    }
}

/* ---- a run ---- */

static void begin_wire(void)
{
    struct sim_weir *weir = sim_weir_start(0);
    sim_clients_begin();
    if (sim_chance(60)) {
        sim_after(&weir->reload, sim_below(2 * SIM_S));
    }
    sim_after(&story.drain, sim_chance(50) ? sim_below(3 * SIM_S) : 0);
}

static void begin_money(void)
{
    sim.seats = sim.sick ? 1 : sim_chance(60) ? 2 : (int)sim_between(1, SIM_SEATS_MAX);
    for (int seat = 0; seat < sim.seats; seat++) {
        (void)sim_weir_start(seat);
    }
    sim_payers_begin();
    sim_callers_begin();
    sim_after(&story.misfortune, sim_between(100 * SIM_MS, 20 * SIM_S));
    sim_after(&story.heal, sim.weather.lasts ? sim_between(100 * SIM_S, 300 * SIM_S) : sim_between(5 * SIM_S, 60 * SIM_S));
    sim_after(&story.drain, 0);
}

static void begin_pair(void)
{
    (void)sim_weir_start(0);
    shadow_begin();
    sim_after(&story.drain, 0);
}

static void init_events(void)
{
    memset(&story, 0, sizeof story);
    sim.seats = 1;
    story.drain.fire = on_drain;
    story.heal.fire = on_heal;
    story.misfortune.fire = on_misfortune;
    for (int seat = 0; seat < SIM_SEATS_MAX; seat++) {
        story.back[seat].fire = on_back;
    }
}

uint64_t story_run(uint64_t seed)
{
    sim_world_begin(seed);
    init_events();
    if (sim.pair) {
        choose_pair_weather();
    } else if (sim.sick) {
        choose_sick_weather();
    } else if (sim.money) {
        choose_money_weather();
    } else {
        choose_weather();
    }
    choose_sizes();
    sim_places_begin();
    sim_ills_begin();
    sim_bank_begin();
    sim_store_begin();
    oracle_begin();
    ledger_begin();
    bounds_begin();
    sim_verdict_begin();
    if (sim.pair) {
        begin_pair();
    } else if (sim.money) {
        begin_money();
    } else {
        begin_wire();
    }
    run_turns();
    let_arrive();
    sim_verdict_end();
    sim_store_rest();
    ledger_end();
    bounds_end();
    if (sim.pair) {
        shadow_end();
    }
    sim_weirs_end();
    sim_store_end();
    sim_clients_end();
    sim_payers_end();
    sim_callers_end();
    sim_bank_end();
    sim_streams_free();
    uint64_t hash = sim.hash;
    sim_world_end();
    return hash;
}
