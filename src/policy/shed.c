/*
 * The controller of the level, the shares that follow from it, and the thinning
 * of a class. No clock and no loop: the gate brings both (gate/shedding.c).
 *
 * The level rises while there is standing delay, in steps that grow from
 * STEP_FIRST to STEP_MAX as the delay goes on: where a class is many times what
 * the process can do, a large step overshoots, and coming back takes long. It
 * falls by single steps, so that each is felt before the next: quickly while a
 * fifth of the time is left over, slowly while a twentieth is, and not at all
 * beyond that. A fall that had to be taken back is not tried again for a minute,
 * nor is a slow one until a minute after the last rise: at constant load the
 * level turns round twice a minute at most.
 */
#include "weir/policy/shed.h"

#include "weir/base/check.h"

#define DELAY_OVER_US UINT64_C(5000)
#define DELAY_UNDER_US UINT64_C(2000)
#define FULL_OVER_PERMILLE 900u
#define FULL_UNDER_PERMILLE 800u
#define BUSY_SPARE_PERMILLE 800u /* below it there is room for what is shed */
#define BUSY_TIGHT_PERMILLE 950u /* from here on there is none */

#define STEP_FIRST 2u
#define STEP_MAX 10u                      /* for each SHED_TURN_US: 100 a second */
#define STEP_GAP_US_MAX UINT64_C(1000000) /* a later turn raises no more than one this late */

#define RELAXED_US UINT64_C(1000000)      /* it has to be so for this long before the level falls */
#define PROBE_US UINT64_C(1000000)        /* between two steps down with little to spare, */
#define SETTLED_US UINT64_C(60000000)     /* since the last step up */

#define SHARE_WHOLE 100u
#define LEVEL_OF_WRITES (3 * SHARE_WHOLE) /* nothing below them is left to shed */
#define WAITED_LONG_US (2 * DELAY_OVER_US)
#define WAITED_STEP_US UINT64_C(100) /* beyond it a request is judged by one level more for each */

const char *shed_class_name(enum shed_class class)
{
    static const char *const names[SHED_CLASS_COUNT] = {
        [SHED_PAYMENT] = "payment", [SHED_WRITE] = "write", [SHED_READ] = "read",
        [SHED_LIST] = "list",       [SHED_TEST] = "test",   [SHED_BACKGROUND] = "background",
    };
    return names[class];
}

/* ---- the level ---- */

/* Whether clients alone hold the level where it is, or raise it there: to the end of the lowest classes. */
static bool clients_count(const struct shed *shed, const struct shed_signals *signals)
{
    return signals->clients_permille >= FULL_OVER_PERMILLE && shed->level <= SHARE_WHOLE;
}

static bool is_over(const struct shed *shed, const struct shed_signals *signals)
{
    return signals->delay_us > DELAY_OVER_US || signals->full_permille >= FULL_OVER_PERMILLE ||
           (clients_count(shed, signals) && shed->level < SHARE_WHOLE);
}

static bool is_relaxed(const struct shed *shed, const struct shed_signals *signals)
{
    return signals->delay_us < DELAY_UNDER_US && signals->full_permille < FULL_UNDER_PERMILLE &&
           signals->busy_permille < BUSY_TIGHT_PERMILLE && !clients_count(shed, signals);
}

/* The first of a row is small whatever came before: a process that stood still for a moment is not overloaded. */
static uint32_t step_up(const struct shed *shed, uint64_t gap_us)
{
    uint32_t step = STEP_FIRST;
    if (shed->raises == 0) {
        return step;
    }
    for (uint32_t i = 0; i < shed->raises && step < STEP_MAX; i++) {
        step *= 2;
    }
    step = step < STEP_MAX ? step : STEP_MAX;
    gap_us = gap_us < STEP_GAP_US_MAX ? gap_us : STEP_GAP_US_MAX;
    return (uint32_t)(step * gap_us / SHED_TURN_US);
}

static void raise_level(struct shed *shed, uint64_t now_us)
{
    uint64_t gap_us = now_us - shed->raised_us;
    if (shed->raised_us != 0 && gap_us < SHED_TURN_US) {
        return;
    }
    uint32_t step = step_up(shed, gap_us);
    if (shed->raises == 0) {
        shed->fell_wrongly = shed->lowered_us != 0 && now_us - shed->lowered_us < SETTLED_US;
    }
    shed->level = shed->level + step < SHED_LEVEL_MAX ? shed->level + step : SHED_LEVEL_MAX;
    shed->raises++;
    shed->raised_us = now_us;
}

/* Since when something holds without a break; 0: it does not. */
static uint64_t since(uint64_t before_us, bool holds, uint64_t now_us)
{
    return !holds ? 0 : before_us != 0 ? before_us : now_us;
}

static bool held_for(uint64_t since_us, uint64_t time_us, uint64_t now_us)
{
    return since_us != 0 && now_us - since_us >= time_us;
}

static bool may_lower(const struct shed *shed, uint64_t now_us)
{
    uint64_t lowered_ago_us = now_us - shed->lowered_us;
    bool settled = now_us - shed->raised_us >= SETTLED_US;
    if (held_for(shed->spare_since_us, RELAXED_US, now_us)) {
        return lowered_ago_us >= SHED_TURN_US && (settled || !shed->fell_wrongly);
    }
    return held_for(shed->relaxed_since_us, RELAXED_US, now_us) && lowered_ago_us >= PROBE_US && settled;
}

static void lower_level(struct shed *shed, uint64_t now_us)
{
    if (shed->level > 0 && may_lower(shed, now_us)) {
        shed->level--;
        shed->lowered_us = now_us;
    }
}

bool shed_turn(struct shed *shed, const struct shed_signals *signals, uint64_t now_us)
{
    bool shed_before = shed->level > 0;
    bool relaxed = is_relaxed(shed, signals);
    shed->relaxed_since_us = since(shed->relaxed_since_us, relaxed, now_us);
    shed->spare_since_us = since(shed->spare_since_us, relaxed && signals->busy_permille < BUSY_SPARE_PERMILLE, now_us);
    if (is_over(shed, signals)) {
        raise_level(shed, now_us);
    } else {
        shed->raises = 0;
        lower_level(shed, now_us);
    }
    return shed_before != (shed->level > 0);
}

/* ---- who loses what ---- */

/* A class begins to lose where the one below it has lost everything. */
static uint32_t share_above(uint32_t level, uint32_t from)
{
    if (level <= from) {
        return 0;
    }
    return level - from < SHARE_WHOLE ? level - from : SHARE_WHOLE;
}

static uint32_t share_at(uint32_t level, enum shed_class class)
{
    switch (class) {
    case SHED_BACKGROUND:
    case SHED_TEST:
        return share_above(level, 0);
    case SHED_LIST:
        return share_above(level, SHARE_WHOLE);
    case SHED_READ:
        return share_above(level, 2 * SHARE_WHOLE);
    case SHED_WRITE:
        return share_above(level, LEVEL_OF_WRITES);
    case SHED_PAYMENT:
    case SHED_CLASS_COUNT:
        break;
    }
    return 0;
}

uint32_t shed_share(const struct shed *shed, enum shed_class class)
{
    return share_at(shed->level, class);
}

/* The level as it is for one that waited: the last in a long turn is many times the target late. */
static uint32_t level_for(const struct shed *shed, uint64_t waited_us)
{
    if (shed->raises == 0 || waited_us <= WAITED_LONG_US || shed->level >= LEVEL_OF_WRITES) {
        return shed->level;
    }
    uint64_t level = shed->level + (waited_us - WAITED_LONG_US) / WAITED_STEP_US;
    return level < LEVEL_OF_WRITES ? (uint32_t)level : LEVEL_OF_WRITES;
}

bool shed_refuses(struct shed *shed, enum shed_class class, uint64_t waited_us)
{
    uint32_t owed = shed->owed[class] + share_at(level_for(shed, waited_us), class);
    bool refuses = owed >= SHARE_WHOLE;
    shed->owed[class] = refuses ? owed - SHARE_WHOLE : owed;
    return refuses;
}

uint64_t shed_hold_us(const struct shed *shed, enum shed_class class, uint64_t waited_us)
{
    return share_at(level_for(shed, waited_us), class) * (SHED_HOLD_US_MAX / SHARE_WHOLE);
}

uint32_t shed_room(enum shed_class class, uint32_t whole)
{
    static const uint8_t percent[SHED_CLASS_COUNT] = {
        [SHED_PAYMENT] = 100, [SHED_WRITE] = 100, [SHED_READ] = 80,
        [SHED_LIST] = 60,     [SHED_TEST] = 40,   [SHED_BACKGROUND] = 40,
    };
    DCHECK(whole > 0);
    return (uint32_t)(((uint64_t)whole * percent[class] + 99) / 100);
}
