/*
 * What befalls processors: one of their addresses, or all of them, stops, is
 * restarted, refuses, fails every request or every check, and gets well again.
 * And operators, who believe that they know better than the breakers.
 */
#include "sim.h"

#include <stdlib.h>

static struct {
    struct patient {
        enum sim_ill ill;
        uint64_t until_us;
    } patients[SIM_PROCESSORS_MAX][SIM_PLACES_MAX];
    struct sim_event next, word;
    struct sim_event restart;       /* of what hangs, with all that it was asked */
    int hung_processor, hung_place; /* -1: all places */
} ward;

enum sim_ill sim_ill_of(const struct addr *addr)
{
    const struct patient *patient = &ward.patients[sim_processor_of(addr)][sim_place_of(addr)];
    return patient->until_us > sim.now_us ? patient->ill : ILL_NOT;
}

uint64_t sim_stopped_until_us(const struct stream *link)
{
    bool stopped = link->is_link && sim_ill_of(&link->addr_peer) == ILL_STOPPED;
    return stopped ? ward.patients[sim_processor_of(&link->addr_peer)][sim_place_of(&link->addr_peer)].until_us : 0;
}

/* All that is open there breaks, with whatever is under way. */
static void break_links(int processor, int place)
{
    list_each (stream, after, &sim.streams, struct stream, in_streams) {
        bool there = stream->is_link && stream->server != NULL && !stream->peer_gone &&
                     sim_processor_of(&stream->addr_peer) == processor && sim_place_of(&stream->addr_peer) == place;
        if (there && sim_chance(50)) {
            sim_reset(stream);
        } else if (there) {
            sim_leave(stream);
        }
    }
}

static void fall_ill(int processor, int place, enum sim_ill ill, uint64_t for_us)
{
    ward.patients[processor][place] = (struct patient){ill, sim.now_us + for_us};
    if (ill == ILL_RESTARTS) {
        break_links(processor, place);
    }
}

static void befall(int processor, int place, enum sim_ill ill, uint64_t for_us)
{
    for (int i = 0; i < SIM_PLACES_MAX; i++) {
        if (place < 0 || i == place) {
            fall_ill(processor, i, ill, for_us);
        }
    }
}

static uint64_t some_while(void)
{
    return sim_chance(50) ? sim_below(SIM_S) : sim_below(sim.money ? 20 * SIM_S : 2 * SIM_S);
}

static void on_restart(struct sim_event *event)
{
    (void)event;
    if (sim.weather.ills > 0) {
        befall(ward.hung_processor, ward.hung_place, ILL_RESTARTS, some_while());
    }
}

/* It hangs for a while first. */
static void hang(int processor, int place)
{
    uint64_t for_us = sim_below(SIM_S);
    ward.hung_processor = processor;
    ward.hung_place = place;
    befall(processor, place, ILL_STOPPED, for_us + SIM_MS);
    sim_after(&ward.restart, for_us);
}

static void on_next(struct sim_event *event)
{
    int processor = (int)sim_below(SIM_PROCESSORS_MAX);
    int place = (int)sim_below(SIM_PLACES_MAX);
    enum sim_ill ill = (enum sim_ill)sim_between(ILL_NOT + 1, ILL_COUNT - 1);
    uint64_t for_us = some_while();
    place = sim_chance(60) ? -1 : place;
    if (sim.weather.storm) {
        ill = ILL_CUTS;
        place = -1;
        for_us = 20 * SIM_S;
    }
    if (sim.weather.ills == 0 || sim.over) {
        return;
    }
    sim_note("ill", (uint64_t)(processor * SIM_PLACES_MAX + place + 1), (uint64_t)ill, for_us);
    sim.counts.ills++;
    sim.troubles++;
    if (ill == ILL_RESTARTS && sim_chance(30)) { /* not it: what stands before it broke all connections */
        for_us = 0;
    }
    if (ill == ILL_RESTARTS && for_us > 0 && ward.restart.place == 0 && sim_chance(60)) {
        hang(processor, place);
    } else {
        befall(processor, place, ill, for_us);
    }
    sim_after(event, sim_between(1, 2 * sim.weather.ills) * SIM_MS);
}

/* ---- operators ---- */

static struct processor *some_processor(const struct sim_weir *weir)
{
    struct processor *processor = NULL;
    for (uint64_t left = sim_between(1, SIM_PROCESSORS_MAX); left > 0; left--) {
        processor = upstream_next(weir->upstream, processor);
    }
    return processor;
}

static void on_word(struct sim_event *event)
{
    static const enum breaker_forced words[] = {BREAKER_AUTO, BREAKER_FORCED_OPEN, BREAKER_FORCED_CLOSED};
    struct sim_weir *weir = sim_weir_at((int)sim_below((uint64_t)sim.seats));
    enum breaker_forced word = words[sim_below(ARRAY_COUNT(words))];
    uint64_t for_us = sim_between(SIM_MS, sim.money ? 20 * SIM_S : 500 * SIM_MS);
    if (sim.healed || sim.over || !sim.weather.care) {
        return;
    }
    sim_after(event, sim_between(10 * SIM_MS, sim.money ? 30 * SIM_S : SIM_S));
    struct processor *processor = weir != NULL && !weir->frozen ? some_processor(weir) : NULL;
    if (processor != NULL) {
        struct sim_weir *before = sim.weir;
        sim.weir = weir;
        sim_note("word", (uint64_t)weir->number, (uint64_t)word, for_us);
        sim.counts.words++;
        processor_force(processor, word, for_us, "operator", "knows better");
        weir->words[processor_name(processor)[1] - '0'] = (struct sim_word){word, sim.now_us + for_us};
        sim.weir = before;
    }
}

void sim_ills_begin(void)
{
    memset(&ward, 0, sizeof ward);
    ward.next.fire = on_next;
    ward.restart.fire = on_restart;
    ward.word.fire = on_word;
    if (sim.weather.ills > 0) {
        sim_after(&ward.next, sim_below(2 * sim.weather.ills * SIM_MS));
    }
    if (sim.weather.care && sim_chance(sim.sick ? 60 : 40)) {
        sim_after(&ward.word, sim_below(sim.money ? 20 * SIM_S : SIM_S));
    }
}

void sim_ills_heal(void)
{
    memset(ward.patients, 0, sizeof ward.patients);
}
