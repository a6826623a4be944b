/*
 * Power of two choices on (calls in flight + 1) x latency, fewest in flight,
 * and round robin. Sources: Mitzenmacher, "The Power of Two Choices in
 * Randomized Load Balancing" (2001); peak EWMA as described for Finagle.
 */
#include "weir/policy/balance.h"

#include <stddef.h>

/* The average halves for every BALANCE_DECAY_US of silence, so that an endpoint that was slow is tried again. */
static uint64_t latency_now(const struct balance_load *load, uint64_t now_us)
{
    uint64_t silence_us = now_us > load->heard_us ? now_us - load->heard_us : 0;
    uint64_t halvings = silence_us / BALANCE_DECAY_US;
    return halvings >= 63 ? 0 : load->latency_us >> halvings;
}

static uint64_t load_cost(const struct balance_load *load, uint64_t now_us)
{
    return ((uint64_t)load->in_flight + 1) * (latency_now(load, now_us) + 1);
}

/* The n-th usable load; n is below the number of usable ones. */
static int nth_usable(const struct balance_load *const *loads, int count, int n)
{
    for (int i = 0; i < count; i++) {
        if (loads[i]->usable && n-- == 0) {
            return i;
        }
    }
    return -1;
}

static int pick_of_two(const struct balance_load *const *loads, int count, int usable, uint64_t random, uint64_t now_us)
{
    int first = (int)((random & 0xffffffffu) % (uint64_t)usable);
    int second = (int)((random >> 32) % (uint64_t)(usable - 1));
    if (second >= first) {
        second++; /* two distinct ones */
    }
    int a = nth_usable(loads, count, first);
    int b = nth_usable(loads, count, second);
    return load_cost(loads[b], now_us) < load_cost(loads[a], now_us) ? b : a;
}

static int pick_least(const struct balance_load *const *loads, int count, uint32_t turn)
{
    int best = -1;
    for (int i = 0; i < count; i++) {
        int at = (int)((turn + (uint32_t)i) % (uint32_t)count); /* equal ones take turns */
        if (loads[at]->usable && (best < 0 || loads[at]->in_flight < loads[best]->in_flight)) {
            best = at;
        }
    }
    return best;
}

int balance_pick(enum balance_way way, const struct balance_load *const *loads, int count, uint64_t random,
                 uint32_t *turn, uint64_t now_us)
{
    int usable = 0;
    for (int i = 0; i < count; i++) {
        usable += loads[i]->usable ? 1 : 0;
    }
    if (usable <= 1) {
        return nth_usable(loads, count, 0);
    }
    switch (way) {
    case BALANCE_P2C:
        return pick_of_two(loads, count, usable, random, now_us);
    case BALANCE_LEAST:
        return pick_least(loads, count, (*turn)++);
    case BALANCE_ROUND_ROBIN:
        return nth_usable(loads, count, (int)((*turn)++ % (uint32_t)usable));
    }
    return -1;
}

void balance_note(struct balance_load *load, uint64_t latency_us, bool failed, uint64_t now_us)
{
    uint64_t sample_us = failed && latency_us < BALANCE_PENALTY_US ? BALANCE_PENALTY_US : latency_us;
    uint64_t since_us = now_us > load->heard_us ? now_us - load->heard_us : 0;
    if (sample_us >= load->latency_us || since_us >= 8 * BALANCE_DECAY_US) {
        load->latency_us = sample_us;
    } else {
        /* (old x decay + sample x since) / (decay + since): the rational form of exponential decay. */
        load->latency_us = (load->latency_us * BALANCE_DECAY_US + sample_us * since_us) / (BALANCE_DECAY_US + since_us);
    }
    load->heard_us = now_us;
}
