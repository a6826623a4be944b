/*
 * Power of two choices on (calls in flight + 1) x latency / weight, fewest in
 * flight, and round robin. It knows nothing of breakers and checks: its caller
 * says which loads are usable, and since when they take up their share.
 * Sources: Mitzenmacher, "The Power of Two Choices in Randomized Load
 * Balancing" (2001); peak EWMA as described for Finagle.
 */
#include "weir/policy/balance.h"

#include <stddef.h>

/* ---- weights ---- */

bool balance_ramps(const struct balance_load *load, uint64_t now_us)
{
    return load->ramp_us != 0 && (now_us < load->ramp_us || now_us - load->ramp_us < BALANCE_RAMP_US);
}

/* In thousandths; so no more than BALANCE_WEIGHT_MAX * 1000. */
static uint64_t weight_now(const struct balance_load *load, uint64_t now_us)
{
    uint64_t weight = load->weight < BALANCE_WEIGHT_MAX ? load->weight : BALANCE_WEIGHT_MAX;
    weight = weight > 0 ? weight : 1;
    if (!balance_ramps(load, now_us)) {
        return weight * 1000;
    }
    uint64_t elapsed = now_us > load->ramp_us ? (now_us - load->ramp_us) * 1000 / BALANCE_RAMP_US : 0;
    uint64_t permille = elapsed * elapsed / 1000;
    return weight * (permille > BALANCE_RAMP_FROM_PERMILLE ? permille : BALANCE_RAMP_FROM_PERMILLE);
}

/* All usable loads, weighed. */
struct field {
    const struct balance_load *const *loads;
    int count, usable;
    uint64_t weight;  /* of all usable ones */
    bool even;        /* they all weigh the same */
    uint64_t now_us;
};

static void field_weigh(struct field *field)
{
    uint64_t before = 0;
    field->even = true;
    for (int i = 0; i < field->count; i++) {
        if (field->loads[i]->usable) {
            uint64_t weight = weight_now(field->loads[i], field->now_us);
            field->even = field->even && (before == 0 || before == weight);
            before = weight;
            field->weight += weight;
            field->usable++;
        }
    }
}

/* The n-th usable load; n is below the number of usable ones. */
static int nth_usable(const struct field *field, int n)
{
    for (int i = 0; i < field->count; i++) {
        if (field->loads[i]->usable && n-- == 0) {
            return i;
        }
    }
    return -1;
}

/* Whose weight `part` falls in, of those of all usable loads but `without` laid end to end. It is below their sum. */
static int at_part(const struct field *field, uint64_t part, int without)
{
    for (int i = 0; i < field->count; i++) {
        if (field->loads[i]->usable && i != without) {
            uint64_t weight = weight_now(field->loads[i], field->now_us);
            if (part < weight) {
                return i;
            }
            part -= weight;
        }
    }
    return -1;
}

/* A number below `end`, which fits into 32 bits, from one of 32 bits. */
static uint64_t below(uint64_t end, uint32_t random)
{
    return end * random >> 32;
}

/* ---- cost ---- */

/*
 * For how long it has answered nothing while it had something to answer. One
 * payment may take long for its issuer's sake: beside others that are answered
 * since it began it says nothing. And silence is not for ever: the endpoint is
 * tried once more after a while, after twice that once more again. One that has
 * stopped gets a handful of calls in a minute for it.
 */
static uint64_t silence_us(const struct balance_load *load, uint64_t now_us)
{
    uint64_t since_us = load->oldest_us > load->heard_us ? load->oldest_us : load->heard_us;
    bool nothing_since = load->oldest_us > load->heard_us;
    if (load->in_flight == 0 || load->oldest_us == 0 || now_us <= since_us || (load->in_flight == 1 && !nothing_since)) {
        return 0;
    }
    uint32_t more = load->in_flight - 1;
    uint32_t doublings = more < BALANCE_SILENT_MAX_DOUBLINGS ? more : BALANCE_SILENT_MAX_DOUBLINGS;
    uint64_t silent_us = now_us - since_us;
    return silent_us < BALANCE_SILENCE_US << doublings ? silent_us : 0;
}

/* What it takes for certain: the average, or what its silence has lasted already. */
static uint64_t latency_known(const struct balance_load *load, uint64_t now_us)
{
    uint64_t silent_us = silence_us(load, now_us);
    uint64_t latency_us = load->latency_us > silent_us ? load->latency_us : silent_us;
    return latency_us < BALANCE_LATENCY_MAX_US ? latency_us : BALANCE_LATENCY_MAX_US;
}

/* What the average is worth after so long without a sample and without a call in flight. */
static uint64_t faded(uint64_t latency_us, uint64_t silent_us)
{
    return silent_us < BALANCE_SILENCE_US ? latency_us - latency_us * silent_us / BALANCE_SILENCE_US : 0;
}

/* As compared with another. Silence draws it level with that one and never below: nothing attracts by being silent. */
static uint64_t latency_beside(const struct balance_load *load, const struct balance_load *other, uint64_t now_us)
{
    uint64_t own_us = latency_known(load, now_us);
    uint64_t other_us = latency_known(other, now_us);
    if (own_us <= other_us) {
        return load->latency_us == 0 ? other_us : own_us; /* never heard of: as good as the other */
    }
    if (load->in_flight > 0) {
        return own_us;
    }
    uint64_t silent_us = now_us > load->heard_us ? now_us - load->heard_us : 0;
    return other_us + faded(own_us - other_us, silent_us);
}

/*
 * Calls in flight for the weight, and one more: the same one for both loads
 * that are compared, so that two that are idle cost the same whatever they
 * weigh, and one call more or less in flight is no difference yet.
 */
static double cost_beside(const struct balance_load *load, const struct balance_load *other, uint64_t lighter,
                          uint64_t now_us)
{
    double calls = (double)load->in_flight / (double)weight_now(load, now_us) + 1.0 / (double)lighter;
    return calls * ((double)latency_beside(load, other, now_us) + 1.0);
}

/* ---- the three ways ---- */

static uint32_t draw(uint64_t *random)
{
    uint32_t drawn = (uint32_t)(*random >> 32);
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth's */
    return drawn;
}

/* Costs that differ by less are not told apart: they are averages of what varies more than that. */
#define NEAR 2.0

/*
 * What takes up its share slowly is soon the better one, having little to do:
 * its weight decides all the same, unless the other one is sick.
 */
static bool may_be_preferred(const struct balance_load *load, const struct balance_load *other, uint64_t now_us)
{
    return !balance_ramps(load, now_us) || other->failing || silence_us(other, now_us) > other->latency_us;
}

/*
 * Two distinct ones by weight, and of these the better one, or by lot where
 * their costs are near each other. The odds are then those of having been drawn
 * first, which gives everyone its exact share.
 */
static int pick_of_two(const struct field *field, uint64_t random)
{
    int a = at_part(field, below(field->weight, draw(&random)), -1);
    uint64_t weight_a = weight_now(field->loads[a], field->now_us);
    int b = at_part(field, below(field->weight - weight_a, draw(&random)), a);
    uint64_t weight_b = weight_now(field->loads[b], field->now_us);
    uint64_t lighter = weight_a < weight_b ? weight_a : weight_b;
    double cost_a = cost_beside(field->loads[a], field->loads[b], lighter, field->now_us);
    double cost_b = cost_beside(field->loads[b], field->loads[a], lighter, field->now_us);

    if (cost_a > cost_b * NEAR && may_be_preferred(field->loads[b], field->loads[a], field->now_us)) {
        return b;
    }
    if (cost_b > cost_a * NEAR && may_be_preferred(field->loads[a], field->loads[b], field->now_us)) {
        return a;
    }
    uint64_t odds_a = field->weight - weight_b;
    uint64_t odds_b = field->weight - weight_a;
    return below(odds_a + odds_b, draw(&random)) < odds_a ? a : b;
}

/* By turns; where weights differ, each its share, evenly mixed: multiples of the golden ratio lie so. */
static int pick_in_turn(const struct field *field, uint32_t turn)
{
    if (field->even) {
        return nth_usable(field, (int)(turn % (uint32_t)field->usable));
    }
    return at_part(field, below(field->weight, turn * UINT32_C(2654435769)), -1);
}

static int pick_least(const struct field *field, uint32_t turn)
{
    int best = pick_in_turn(field, turn); /* equal ones take turns */
    uint64_t best_weight = weight_now(field->loads[best], field->now_us);
    for (int i = 0; i < field->count; i++) {
        const struct balance_load *load = field->loads[i];
        uint64_t weight = weight_now(load, field->now_us);
        if (load->usable && load->in_flight * best_weight < field->loads[best]->in_flight * weight) {
            best = i;
            best_weight = weight;
        }
    }
    return best;
}

int balance_pick(enum balance_way way, const struct balance_load *const *loads, int count, uint64_t random,
                 uint32_t *turn, uint64_t now_us)
{
    struct field field = {.loads = loads, .count = count, .now_us = now_us};
    field_weigh(&field);
    if (field.usable <= 1) {
        return nth_usable(&field, 0);
    }
    switch (way) {
    case BALANCE_P2C:
        return pick_of_two(&field, random);
    case BALANCE_LEAST:
        return pick_least(&field, (*turn)++);
    case BALANCE_ROUND_ROBIN:
        return pick_in_turn(&field, (*turn)++);
    }
    return -1;
}

/* ---- samples ---- */

void balance_note(struct balance_load *load, uint64_t latency_us, bool failed, uint64_t now_us)
{
    uint64_t since_us = now_us > load->heard_us ? now_us - load->heard_us : 0;
    uint64_t silent_us = since_us > latency_us ? since_us - latency_us : 0; /* before this call began */
    uint64_t old_us = faded(load->latency_us, silent_us);
    uint64_t sample_us = failed && latency_us < BALANCE_PENALTY_US ? BALANCE_PENALTY_US : latency_us;

    sample_us = sample_us > 0 ? sample_us : 1;
    sample_us = sample_us < BALANCE_LATENCY_MAX_US ? sample_us : BALANCE_LATENCY_MAX_US;
    if (failed || sample_us >= old_us) {
        load->failing = failed;
    }
    uint64_t decay_us = load->failing ? BALANCE_SILENCE_US : BALANCE_DECAY_US;
    if (sample_us >= old_us || since_us >= 8 * BALANCE_DECAY_US) {
        load->latency_us = sample_us;
    } else {
        /* (old x decay + sample x since) / (decay + since): the rational form of exponential decay. */
        load->latency_us = (old_us * decay_us + sample_us * since_us) / (decay_us + since_us);
    }
    load->heard_us = now_us;
}
