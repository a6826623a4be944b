/*
 * Which endpoint takes the next call. Pure: loads and a random number in, an
 * index out. Latency is a peak-sensitive moving average (peak EWMA, as in
 * Finagle): it jumps up at once and decays over BALANCE_DECAY_US; what has not
 * been heard of decays too, so that a once slow endpoint is tried again.
 */
#ifndef WEIR_POLICY_BALANCE_H
#define WEIR_POLICY_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#define BALANCE_DECAY_US UINT64_C(10000000)
#define BALANCE_PENALTY_US UINT64_C(2000000) /* a failure counts as an answer this slow: fast failures attract nothing */

enum balance_way { BALANCE_P2C, BALANCE_LEAST, BALANCE_ROUND_ROBIN };

/* What is known of one endpoint. */
struct balance_load {
    uint32_t in_flight;
    uint64_t latency_us;  /* moving average; 0: never heard of */
    uint64_t heard_us;    /* time of the last sample */
    bool usable;          /* may be chosen now */
};

/* Index of the choice among `count` loads, or -1 when none is usable. `turn` is the caller's counter for round robin. */
int balance_pick(enum balance_way way, const struct balance_load *const *loads, int count, uint64_t random,
                 uint32_t *turn, uint64_t now_us);
/* Notes an answer's time, or a failure. */
void balance_note(struct balance_load *load, uint64_t latency_us, bool failed, uint64_t now_us);

#endif
