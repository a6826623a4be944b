/*
 * What the tests of the embedded store's limits share: a clock that they set,
 * and limits of callers by number. For one file of a program, whose clocks
 * these are.
 */
#ifndef WEIR_STORE_EMBEDDED_LIMIT_SUPPORT_H
#define WEIR_STORE_EMBEDDED_LIMIT_SUPPORT_H

#include "embedded_support.h"

#include <stdatomic.h>

/* ---- the clock ---- */

static _Atomic uint64_t clock_stands_us; /* 0: it runs */
static _Atomic uint64_t clock_step_us;

static uint64_t read_us(clockid_t id)
{
    struct timespec now;

    assert_int_equal(clock_gettime(id, &now), 0);
    return (uint64_t)now.tv_sec * CLOCK_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_now_us(void)
{
    uint64_t stands_us = atomic_load(&clock_stands_us);
    return stands_us != 0 ? stands_us : read_us(CLOCK_MONOTONIC) + atomic_load(&clock_step_us);
}

uint64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}

/* ---- limits ---- */

#define HOUR_US (HOUR_MS * CLOCK_US_PER_MS)

static inline struct limit_rate rate_of(uint64_t tokens, uint64_t per_us, uint64_t burst)
{
    struct limit_rate rate;

    assert_true(limit_rate_make(tokens, per_us, burst, &rate));
    return rate;
}

/* The n-th caller to this limit. */
static inline struct limit_ref ref_of(const char *limit, uint32_t n, struct limit_rate rate, uint64_t cost,
                                      unsigned flags)
{
    struct idem_name name = name_of(n);
    struct limit_ref ref = {.limit = bytes_from_text(limit), .bucket = name.bucket};

    memcpy(ref.hash, name.hash, sizeof ref.hash);
    ref.ask = (struct limit_ask){.rate = rate, .cost = cost, .flags = flags};
    return ref;
}

#endif
