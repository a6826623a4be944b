/*
 * Counts of checks in a row, and the time between checks. It makes no checks
 * and knows no endpoint: src/upstream/check.c does.
 */
#include "weir/policy/health.h"

#include "weir/base/check.h"

const char *health_state_name(enum health_state state)
{
    static const char *const names[HEALTH_STATE_COUNT] = {
        [HEALTH_UNKNOWN] = "unknown", [HEALTH_UP] = "up", [HEALTH_DOWN] = "down"};
    CHECK((unsigned)state < HEALTH_STATE_COUNT);
    return names[state];
}

/* The one setter. True: it was another before. */
static bool enter(struct health *health, enum health_state state, uint64_t now_us)
{
    if (health->state == state) {
        return false;
    }
    health->state = state;
    health->since_us = now_us;
    return true;
}

static void count_in_a_row(uint32_t *same, uint32_t *other)
{
    *same += *same < UINT32_MAX ? 1 : 0;
    *other = 0;
}

bool health_note(struct health *health, const struct health_settings *settings, bool passed, uint64_t now_us)
{
    if (passed) {
        count_in_a_row(&health->passed, &health->failed);
        bool enough = health->state != HEALTH_DOWN || health->passed >= settings->up_after;
        return enough && enter(health, HEALTH_UP, now_us);
    }
    count_in_a_row(&health->failed, &health->passed);
    return health->failed >= settings->down_after && enter(health, HEALTH_DOWN, now_us);
}

bool health_settled(const struct health *health)
{
    switch (health->state) {
    case HEALTH_UP:
        return health->failed == 0;
    case HEALTH_DOWN:
        return health->passed == 0;
    case HEALTH_UNKNOWN:
    case HEALTH_STATE_COUNT:
        break;
    }
    return false;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t health_wait_us(const struct health *health, const struct health_settings *settings, bool first, bool hurry,
                        uint64_t random)
{
    if (first) {
        return random % (least(settings->every_us, HEALTH_FIRST_US) + 1);
    }
    bool soon = hurry || !health_settled(health);
    uint64_t wait_us = soon ? least(settings->every_us, HEALTH_HURRY_US) : settings->every_us;
    return wait_us - wait_us / 4 + random % (wait_us / 2 + 1);
}
