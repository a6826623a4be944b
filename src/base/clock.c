/*
 * The real clocks. The simulator links another object file in this one's place.
 */
#include "weir/base/clock.h"

#include <time.h>

#include "weir/base/check.h"

static uint64_t read_us(clockid_t id)
{
    struct timespec now;

    /* Fails only for a clock that the system does not have. */
    CHECK(clock_gettime(id, &now) == 0);
    return (uint64_t)now.tv_sec * CLOCK_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_now_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}
