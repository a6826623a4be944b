/*
 * Processes: what app makes of a loop, a gate, a store and generations, and how
 * all of it comes to rest; and how it does not: killed in the midst of what it
 * does, or stopped there while the world goes on. What a weir that is dead still
 * does (a callback that was running goes on to its end, and its memory is given
 * back when the run is over) has no effect on anybody.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#include "weir/base/keyring.h"

#define STORE_WAIT_MS 2000 /* for what settles payments, when a weir ends */

/* ---- begin ---- */

static void open_store(struct sim_weir *weir, const struct generation *generation)
{
    char why[200] = "";
    struct store_options options = {
        .loop = weir->loop, .stats = weir->stats, .heard = gate_heard, .owner = weir->gate};
    if (generation_keyring(generation) == NULL) {
        return;
    }
    keyring_digest(generation_keyring(generation), options.secret_digest);
    weir->store = store_open(&generation_conf(generation)->store, &options, why, sizeof why);
    if (weir->store == NULL) {
        sim_violated("the store cannot be opened: %s", why);
    }
    gate_use_store(weir->gate, weir->store);
}

bool sim_weir_reload(struct sim_weir *weir)
{
    char why[300] = "";
    struct sim_weir *before_it = sim.weir;
    struct generation *before = gate_generation(weir->gate);
    struct generation *generation = sim_generation_make(weir, weir->plan_number + 1);
    sim.weir = weir;
    if (weir->store == NULL) {
        open_store(weir, generation);
    }
    sim.troubles++;
    bool used = gate_use(weir->gate, generation, why, sizeof why);
    if (used) {
        weir->plan_number++;
    } else {
        generation_release(generation);
        if (gate_generation(weir->gate) != before) {
            sim_violated("a generation that could not be used is in use");
        }
    }
    sim.weir = before_it;
    return used;
}

static void on_reload(struct sim_event *event)
{
    struct sim_weir *weir = container_of(event, struct sim_weir, reload);
    if (weir->draining_at_us != 0 || weir->plan_number + 2 >= SIM_PLANS_MAX) {
        return;
    }
    sim.refuse_binds = sim_chance(20);
    bool used = sim_weir_reload(weir);
    sim.refuse_binds = false;
    sim.counts.reloads++;
    sim.counts.reloads_refused += used ? 0 : 1;
    sim_note("reload", weir->plan_number, used, (uint64_t)weir->number);
    if (sim_chance(70)) {
        sim_after(event, sim_below(1500 * SIM_MS));
    }
}

static void on_close(struct sim_event *event);
static void on_cut(struct sim_event *event);

static void on_kill(struct sim_event *event)
{
    sim_weir_kill(container_of(event, struct sim_weir, kill));
}

static void on_thaw(struct sim_event *event)
{
    struct sim_weir *weir = container_of(event, struct sim_weir, thaw);
    weir->thaws = true; /* behind this turn of the others: it goes on where it stood */
}

static void init_events(struct sim_weir *weir)
{
    weir->reload.fire = on_reload;
    weir->close.fire = on_close;
    weir->cut.fire = on_cut;
    weir->thaw.fire = on_thaw;
    weir->kill.fire = on_kill;
    weir->reload.weir = weir->close.weir = weir->cut.weir = weir;
}

struct sim_weir *sim_weir_start(int seat)
{
    struct sim_weir *weir = calloc(1, sizeof *weir);
    struct sim_weir *before = sim.weir;
    CHECK(weir != NULL && sim.weir_count < SIM_WEIRS_MAX && sim_weir_at(seat) == NULL);
    weir->number = sim.weir_count;
    weir->seat = seat;
    weir->started_us = sim.now_us;
    sim.weirs[sim.weir_count++] = weir;
    init_events(weir);
    sim.weir = weir;
    weir->loop = loop_open(sim.buffers_max);
    weir->stats = stats_open();
    weir->upstream = upstream_open(&(struct upstream_options){.loop = weir->loop, .stats = weir->stats});
    weir->gate = gate_open(&(struct gate_options){
        .loop = weir->loop,
        .stats = weir->stats,
        .upstream = weir->upstream,
        .clients_max = sim.clients_max,
    });
    CHECK(weir->stats != NULL && weir->upstream != NULL && weir->gate != NULL);
    sim_note("weir begins", (uint64_t)weir->number, (uint64_t)seat, 0);
    /* Who comes back after others went on begins with what they have. */
    weir->plan_number = sim.plan_count > 1 ? sim.plan_count - 1 : 0;
    if (!sim_weir_reload(weir)) {
        sim_violated("the first generation cannot be used");
    }
    sim.weir = before;
    return weir;
}

struct sim_weir *sim_weir_at(int seat)
{
    for (int i = 0; i < sim.weir_count; i++) {
        struct sim_weir *weir = sim.weirs[i];
        if (weir->seat == seat && !weir->dead && !weir->over) {
            return weir;
        }
    }
    return NULL;
}

/* ---- killed, or stopped for a while ---- */

void sim_weir_kill(struct sim_weir *weir)
{
    /* The last ones live: somebody has to be there when nothing fails any more. */
    if (weir->dead || weir->over || sim.weir_count > SIM_WEIRS_MAX - sim.seats) {
        return;
    }
    sim_note("kill", (uint64_t)weir->number, 0, 0);
    weir->dead = true;
    weir->killed_at_us = sim.now_us;
    sim.troubles++;
    sim.counts.kills++;
    list_each (stream, after, &sim.streams, struct stream, in_streams) {
        if (stream->weir == weir) {
            sim_stream_orphan(stream);
        }
    }
    sim_acceptors_orphan(weir);
    story_lost(weir->seat);
}

void sim_weir_freeze(struct sim_weir *weir, uint64_t for_us)
{
    struct sim_weir *before = sim.weir;
    sim_note("stop", (uint64_t)weir->number, for_us, 0);
    sim.troubles++;
    weir->frozen = true;
    weir->thaws = false;
    weir->thaws_at_us = sim.now_us + for_us;
    sim_at(&weir->thaw, weir->thaws_at_us);
    sim.counts.freezes++;
    while (!weir->thaws && sim_turn()) {
        oracle_turn();
        story_watch();
    }
    weir->frozen = false;
    sim.weir = before;
    sim_note("go on", (uint64_t)weir->number, weir->dead, 0);
}

static bool may_freeze(void)
{
    for (int i = 0; i < sim.weir_count; i++) {
        if (sim.weirs[i]->frozen) {
            return false; /* one at a time */
        }
    }
    return true;
}

void sim_weir_falter(struct sim_weir *weir)
{
    if (!sim.money || sim.healed || weir->dead || weir->over || weir->draining_at_us != 0) {
        return;
    }
    if (sim_one_in(sim.weather.kill_one_in)) {
        sim_weir_kill(weir);
    } else if (sim_one_in(sim.weather.freeze_one_in) && may_freeze()) {
        /* Leases are 15 s: some stops are shorter than one, some as long, some longer. */
        uint64_t for_us = sim_chance(50) ? sim_below(2 * SIM_S) : sim_chance(50) ? sim_between(13 * SIM_S, 17 * SIM_S) : sim_below(40 * SIM_S);
        sim_weir_freeze(weir, for_us);
    }
}

/* ---- the end ---- */

static void on_quiet(void *owner)
{
    struct sim_weir *weir = owner;
    weir->over = true;
    sim_cancel(&weir->cut);
    if (!weir->dead && weir->store != NULL) {
        store_close(weir->store, STORE_WAIT_MS, NULL, NULL);
        weir->store = NULL;
    }
}

static void on_cut(struct sim_event *event)
{
    struct sim_weir *weir = container_of(event, struct sim_weir, cut);
    struct gate_state state;
    uint64_t lines_before = weir->lines;
    gate_state(weir->gate, &state);
    const struct sim_plan *plan = sim_plan_of(weir);
    weir->cut_at_us = sim.now_us;
    weir->over = true;
    uint32_t cut = gate_cut(weir->gate);
    sim_note("cut", cut, state.exchanges, state.exchanges_sent);
    sim.counts.cuts++;
    if (cut != weir->lines - lines_before) {
        sim_violated("%u exchanges were cut and %" PRIu64 " lines written", cut, weir->lines - lines_before);
    }
    if (!weir->sudden && plan->drain_ms >= plan->longest_ms + 20000) {
        sim_violated("after %u ms of draining %u exchanges and %u clients were left", plan->drain_ms, state.exchanges,
                     state.clients);
    }
    if (weir->store != NULL) {
        store_close(weir->store, sim_chance(50) ? STORE_WAIT_MS : 0, NULL, NULL);
        weir->store = NULL;
    }
}

static void on_close(struct sim_event *event)
{
    struct sim_weir *weir = container_of(event, struct sim_weir, close);
    sim_note("drain", (uint64_t)weir->number, 0, 0);
    gate_drain(weir->gate, on_quiet, weir);
    oracle_drained(weir);
    sim_clients_hurry();
    weir->sudden = sim_chance(25);
    sim_after(&weir->cut, weir->sudden ? sim_below(100 * SIM_MS) : sim_plan_of(weir)->drain_ms * SIM_MS);
}

void sim_weir_drain(struct sim_weir *weir)
{
    struct sim_weir *before = sim.weir;
    sim.troubles++;
    weir->draining_at_us = sim.now_us;
    sim.counts.drains++;
    sim_note("announce", (uint64_t)weir->number, 0, 0);
    sim_cancel(&weir->reload);
    if (sim_chance(10)) {
        weir->sudden = true; /* it ends in the midst of all */
        sim_after(&weir->cut, 0);
        return;
    }
    sim.weir = weir;
    gate_drain_announce(weir->gate);
    sim.weir = before;
    sim_after(&weir->close, sim_plan_of(weir)->announce_ms * SIM_MS);
}

bool sim_weirs_over(void)
{
    for (int i = 0; i < sim.weir_count; i++) {
        if (!sim.weirs[i]->over && !sim.weirs[i]->dead) {
            return false;
        }
    }
    return true;
}

/* ---- taking down ---- */

/* Who was killed gives back its memory, as one that is cut; nobody sees it. */
static void wind_up_dead(struct sim_weir *weir)
{
    (void)gate_cut(weir->gate);
    sim_loop_settle(weir->loop);
    if (weir->store != NULL) {
        store_close(weir->store, 0, NULL, NULL);
        sim_loop_settle(weir->loop);
    }
}

static void check_closed(const struct sim_weir *weir)
{
    list_each (stream, after, &sim.streams, struct stream, in_streams) {
        if (stream->weir == weir && !weir->dead) {
            sim_violated("the %s %" PRIu64 " was left open", stream->is_link ? "link" : "client", stream->id);
        }
    }
}

static void end_one(struct sim_weir *weir)
{
    sim.weir = weir;
    if (weir->dead && !weir->over) {
        wind_up_dead(weir);
    }
    sim_loop_settle(weir->loop);
    gate_close(weir->gate);
    upstream_close(weir->upstream);
    sim_loop_settle(weir->loop);
    check_closed(weir);
    size_t used = loop_blocks(weir->loop)->used_bytes;
    size_t timers = sim_timers_armed(weir->loop);
    if (!loop_close(weir->loop)) {
        sim_violated("at the end %zu bytes are buffered and %zu timers armed%s", used, timers,
                     weir->dead ? " in a weir that was killed" : "");
    }
    weir->loop = NULL;
    stats_close(weir->stats);
    sim.weir = NULL;
}

void sim_weirs_end(void)
{
    for (int i = 0; i < sim.weir_count; i++) {
        end_one(sim.weirs[i]);
    }
    if (!list_empty(&sim.acceptors)) {
        sim_violated("a listening socket was left open");
    }
    sim_cancel_all();
    for (int i = 0; i < sim.weir_count; i++) {
        free(sim.weirs[i]);
    }
}
