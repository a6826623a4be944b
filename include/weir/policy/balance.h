/*
 * Which endpoint takes the next call. Pure: loads and a random number in, an
 * index out. Latency is a peak-sensitive moving average (peak EWMA, as in
 * Finagle): it jumps up at once and decays over BALANCE_DECAY_US. One that has
 * calls in flight and answers none is as slow as its silence is long; one slow
 * payment among others that are answered says nothing. What is not called and
 * was worse than another draws level with it within BALANCE_SILENCE_US, so that
 * it is tried again; what is not heard of never looks better than it was.
 */
#ifndef WEIR_POLICY_BALANCE_H
#define WEIR_POLICY_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#define BALANCE_DECAY_US UINT64_C(10000000)
#define BALANCE_PENALTY_US UINT64_C(2000000) /* a failure counts as an answer this slow: fast failures attract nothing */
#define BALANCE_SILENCE_US UINT64_C(2000000) /* without a sample or a call in flight: then nothing is held against it */
#define BALANCE_SILENT_MAX_DOUBLINGS 8u      /* silent with calls in flight: tried again after BALANCE_SILENCE_US, doubled for each beyond the first */
#define BALANCE_RAMP_US UINT64_C(10000000)   /* slow start: how long what is new or back takes to its full share */
#define BALANCE_RAMP_FROM_PERMILLE 50u       /* of its weight, at first; then with the square of the time */
#define BALANCE_WEIGHT_MAX 100u
#define BALANCE_LATENCY_MAX_US UINT64_C(3600000000) /* more is not told apart */

enum balance_way {
    BALANCE_P2C,        /* two at random by weight; the better one, the likelier the better it is */
    BALANCE_LEAST,      /* fewest in flight for their weight */
    BALANCE_ROUND_ROBIN /* by turns; by weight, evenly mixed */
};

/* What is known of one endpoint. */
struct balance_load {
    uint32_t in_flight;
    uint32_t weight;      /* 1 to BALANCE_WEIGHT_MAX: twice as much, twice the calls. 0 counts as 1 */
    uint64_t latency_us;  /* moving average; 0: never heard of */
    uint64_t heard_us;    /* time of the last sample */
    uint64_t oldest_us;   /* began of the oldest call in flight; 0: none */
    uint64_t ramp_us;     /* since when it takes up its share (added, breaker closed, healthy again); 0: it has all of it */
    bool usable;          /* may be chosen now */
    bool failing;         /* the average is what a failure cost, and good answers forgive it soon; balance_note's own */
};

/*
 * Index of the choice among `count` loads, or -1 when none is usable. `turn` is
 * the caller's counter for round robin and least. Of loads that cost the same
 * each gets calls in proportion to its weight, however few there are.
 */
int balance_pick(enum balance_way way, const struct balance_load *const *loads, int count, uint64_t random,
                 uint32_t *turn, uint64_t now_us);
/* Notes an answer's time, or a failure. */
void balance_note(struct balance_load *load, uint64_t latency_us, bool failed, uint64_t now_us);
/* It takes up its share slowly now: for status pages. */
bool balance_ramps(const struct balance_load *load, uint64_t now_us);

#endif
