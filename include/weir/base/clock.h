/*
 * The two clocks. Deadlines, durations and everything that decides read the
 * monotonic one; only log stamps and certificate dates read the wall. The
 * simulator links its own object file under this header.
 */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_US_PER_MS UINT64_C(1000)
#define CLOCK_US_PER_S UINT64_C(1000000)

/* Monotonic microseconds since some fixed moment; about 25 ns a call, never cached. */
uint64_t clock_now_us(void);
/* Microseconds since 1970-01-01 UTC; may step. */
uint64_t clock_wall_us(void);

#endif
