/*
 * Callers that are being refused: for `weir limits`, and the event that says
 * that one has been refused for long. Names no credential. Refuses nobody.
 */
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/gate/gate.h"

/* A caller without a refusal for so long is held no more. */
#define HELD_PAUSE_US (60 * CLOCK_US_PER_S)
/* Refused again and again for so long: that is worth an event, once in HELD_AGAIN_US. */
#define HELD_TELL_US (10 * CLOCK_US_PER_S)
#define HELD_AGAIN_US (600 * CLOCK_US_PER_S)
/* Events a second, over all callers: an attack from everywhere must not be one on the log. */
#define HELD_EVENTS_MAX 10u

static bool may_tell(struct limiter *limiter, uint64_t now_us)
{
    if (now_us - limiter->events_us >= CLOCK_US_PER_S) {
        limiter->events_us = now_us;
        limiter->events_count = 0;
    }
    return limiter->events_count++ < HELD_EVENTS_MAX;
}

static void tell(struct caller *caller, const struct limit_ready *limit, uint64_t now_us)
{
    bool due = now_us - caller->held_since_us >= HELD_TELL_US &&
               (caller->told_us == 0 || now_us - caller->told_us >= HELD_AGAIN_US);
    if (!due || !may_tell(caller->limiter, now_us)) {
        return;
    }
    caller->told_us = now_us;
    log_event(caller->limiter->gate->options.log, LOG_WARN, limit->shadow ? "limit_would_hold" : "limit_holds",
              limit->shadow ? "a caller goes on above a limit of mode shadow" : "a caller goes on above its limit",
              LOG_T("limit", limit->conf->name), LOG_T("caller", caller->who), LOG_N("refused", caller->refused),
              LOG_N("seconds", (now_us - caller->held_since_us) / CLOCK_US_PER_S));
}

void held_note(struct caller *caller, const struct limit_ready *limit)
{
    uint64_t now_us = clock_wall_us();
    if (caller->held_since_us == 0 || now_us < caller->held_last_us || now_us - caller->held_last_us > HELD_PAUSE_US) {
        caller->held_since_us = now_us;
        caller->refused = 0;
        caller->told_us = 0;
    }
    caller->held_last_us = now_us;
    caller->refused++;
    tell(caller, limit, now_us);
}

/* ---- for operators ---- */

static const struct limit_ready *limit_of(const struct gate *gate, uint64_t id)
{
    const struct generation *generation = gate->generation;
    for (int i = 0; generation != NULL && i < generation->conf->limit_count; i++) {
        if (generation->limits[i].id == id) {
            return &generation->limits[i];
        }
    }
    return NULL;
}

static uint64_t sum(const struct gate *gate, const stats_id series[LIMIT_WHERE_COUNT])
{
    uint64_t all = 0;
    for (int where = 0; where < LIMIT_WHERE_COUNT; where++) {
        all += series[where] != STATS_NONE ? stats_get(gate->options.stats, series[where]) : 0;
    }
    return all;
}

bool gate_limit_at(const struct gate *gate, int index, struct gate_limit *limit)
{
    const struct generation *generation = gate->generation;
    if (generation == NULL || index < 0 || index >= generation->conf->limit_count) {
        return false;
    }
    const struct limit_ready *ready = &generation->limits[index];
    uint64_t denied = sum(gate, ready->stat_denied);
    *limit = (struct gate_limit){
        .conf = ready->conf,
        .callers = limiter_callers_of(gate->limiter, ready->id),
        .admitted = sum(gate, ready->stat_admitted),
        .refused = ready->shadow ? 0 : denied,
        .would_refuse = ready->shadow ? denied : 0,
        .skipped = stats_get(gate->options.stats, ready->stat_skipped),
        .passed_open = stats_get(gate->options.stats, ready->stat_admitted[LIMIT_AT_OPEN]),
    };
    return true;
}

static int more_refused_first(const void *a, const void *b)
{
    const struct gate_held *one = a, *other = b;
    return one->refused < other->refused ? 1 : one->refused > other->refused ? -1 : 0;
}

static void describe(const struct caller *caller, const struct limit_ready *limit, struct gate_held *held)
{
    *held = (struct gate_held){
        .shadow = limit->shadow,
        .refused = caller->refused,
        .in_flight = caller->in_flight,
        .since_us = caller->held_since_us,
        .last_us = caller->held_last_us,
    };
    (void)bytes_to_text(bytes_from_text(limit->conf->name), held->limit, sizeof held->limit);
    (void)bytes_to_text(bytes_from_text(caller->who), held->who, sizeof held->who);
}

/* Counts of refusals by size: exact below SIZE_STEPS, above it to a thirty-second. */
#define SIZE_STEPS 32
#define SIZES (60 * SIZE_STEPS)

static int size_of(const struct caller *caller)
{
    uint64_t count = caller->refused;
    int shift = count < 2 * SIZE_STEPS ? 0 : 64 - __builtin_clzll(count) - 6; /* leaves SIZE_STEPS to twice that, less one */
    return shift * SIZE_STEPS + (int)(count >> shift);
}

struct looking {
    const struct gate *gate;
    uint64_t now_us;
    uint32_t sizes[SIZES]; /* how many are held, by size */
    int least;             /* of this size some are wanted, of larger ones all */
    uint32_t wanted;       /* of size `least` */
    struct gate_held *held;
    int held_count;
};

static bool is_held(const struct looking *looking, const struct caller *caller)
{
    return caller->held_last_us != 0 && looking->now_us - caller->held_last_us <= HELD_PAUSE_US;
}

static void count_sizes(struct looking *looking, const struct list *ring)
{
    list_each (caller, after, ring, struct caller, in_ring) {
        looking->sizes[size_of(caller)] += is_held(looking, caller) ? 1 : 0;
    }
}

static void take(struct looking *looking, const struct list *ring)
{
    list_each (caller, after, ring, struct caller, in_ring) {
        int size = size_of(caller);
        const struct limit_ready *limit = NULL;
        if (size < looking->least || !is_held(looking, caller) || (size == looking->least && looking->wanted == 0)) {
            continue;
        }
        looking->wanted -= size == looking->least ? 1 : 0;
        limit = limit_of(looking->gate, caller->limit);
        if (limit != NULL) {
            describe(caller, limit, &looking->held[looking->held_count++]);
        }
    }
}

/* Twice through all of them, however many are held: payments wait for it. */
int gate_held_callers(const struct gate *gate, struct gate_held *held, int max)
{
    struct looking looking = {.gate = gate, .now_us = clock_wall_us(), .held = held};
    uint32_t room = max > 0 ? (uint32_t)max : 0;
    count_sizes(&looking, &gate->limiter->known);
    count_sizes(&looking, &gate->limiter->strangers);
    looking.least = SIZES - 1;
    while (looking.least > 0 && looking.sizes[looking.least] <= room) {
        room -= looking.sizes[looking.least--];
    }
    looking.wanted = room;
    take(&looking, &gate->limiter->known);
    take(&looking, &gate->limiter->strangers);
    qsort(held, (size_t)looking.held_count, sizeof *held, more_refused_first);
    return looking.held_count;
}

void gate_limits_state(const struct gate *gate, struct gate_limits_state *state)
{
    *state = (struct gate_limits_state){
        .store_away = gate->limiter->patience.away,
        .fleet = gate->store != NULL ? store_fleet(gate->store) : 1,
        .shed_level = gate->shedding.shed.level,
        .callers = (uint32_t)table_count(gate->limiter->callers),
        .callers_max = LIMITER_CALLERS_MAX,
    };
}
