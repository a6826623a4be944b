/*
 * The bucket of a rate limit in whole numbers, below LIMIT_NUMBER_MAX at every
 * step, so that Lua's doubles hold each of them, too: src/store/redis/limit.lua
 * says line by line the same. It owns nothing, reads no clock and never fails.
 */
#include "weir/policy/limit.h"

#include "weir/base/check.h"

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t divided_up(uint64_t amount, uint64_t by)
{
    return amount / by + (amount % by != 0);
}

/* A full bucket and one request that asks for all of it must stay below LIMIT_NUMBER_MAX. */
static bool is_countable(uint64_t units, uint64_t burst)
{
    return burst <= (LIMIT_NUMBER_MAX / 2 - 1) / units;
}

/* ---- rates ---- */

bool limit_rate_make(uint64_t tokens, uint64_t per_us, uint64_t burst, struct limit_rate *rate)
{
    if (tokens == 0 || per_us == 0 || burst == 0) {
        return false;
    }
    uint64_t divisor = common_divisor(tokens, per_us);
    uint64_t units = per_us / divisor;
    uint64_t drain = tokens / divisor;
    if (drain >= LIMIT_NUMBER_MAX || !is_countable(units, burst)) {
        return false;
    }
    *rate = (struct limit_rate){.units = units, .drain = drain, .burst = burst};
    return true;
}

/* units * times, slower rather than faster where that is too large a number; a token in a century stays the least. */
static struct limit_rate rate_slowed(uint64_t units, uint64_t times, uint64_t drain, uint64_t burst)
{
    while (!is_countable(units, burst * times)) {
        if (drain == 1) {
            return (struct limit_rate){.units = (LIMIT_NUMBER_MAX / 2 - 1) / burst, .drain = 1, .burst = burst};
        }
        units = divided_up(units, 2);
        drain /= 2;
    }
    return (struct limit_rate){.units = units * times, .drain = drain, .burst = burst};
}

struct limit_rate limit_rate_share(const struct limit_rate *rate, uint32_t fleet)
{
    CHECK(fleet > 0);
    uint64_t divisor = common_divisor(rate->drain, fleet);
    uint64_t burst = rate->burst / fleet;
    return rate_slowed(rate->units, fleet / divisor, rate->drain / divisor, burst > 0 ? burst : 1);
}

/* ---- what is owed ---- */

static uint64_t capacity_of(const struct limit_rate *rate)
{
    return rate->units * rate->burst;
}

/* part * to / from, rounded up; part < from. Bit by bit: the product itself would be too large a number. */
static uint64_t scaled_up(uint64_t part, uint64_t to, uint64_t from)
{
    uint64_t quotient = 0;
    uint64_t rest = 0;

    for (uint64_t bit = LIMIT_NUMBER_MAX / 4; bit > 0; bit /= 2) {
        quotient *= 2;
        rest *= 2;
        if (rest >= from) {
            rest -= from;
            quotient++;
        }
        if (to >= bit) {
            to -= bit;
            rest += part;
            if (rest >= from) {
                rest -= from;
                quotient++;
            }
        }
    }
    return quotient + (rest > 0);
}

/* What was owed at last_us, in this rate's units and within its burst. What no rate could have written owes nothing. */
static uint64_t debt_converted(const struct limit_bucket *bucket, const struct limit_rate *rate)
{
    if (bucket->units == 0 || !is_countable(bucket->units, 1) || bucket->debt >= LIMIT_NUMBER_MAX) {
        return 0;
    }
    uint64_t whole = bucket->debt / bucket->units;
    if (whole >= rate->burst) {
        return capacity_of(rate);
    }
    uint64_t part = bucket->debt % bucket->units;
    return whole * rate->units + (bucket->units == rate->units ? part : scaled_up(part, rate->units, bucket->units));
}

static uint64_t debt_at(const struct limit_bucket *bucket, const struct limit_rate *rate, uint64_t now_us)
{
    uint64_t debt = debt_converted(bucket, rate);
    uint64_t elapsed_us = now_us > bucket->last_us ? now_us - bucket->last_us : 0;
    return elapsed_us > debt / rate->drain ? 0 : debt - elapsed_us * rate->drain;
}

/* The clock stepped back behind what is owed: it would not drain until the clock is there again. */
static bool is_ahead(const struct limit_bucket *bucket, uint64_t debt, uint64_t now_us)
{
    return debt > 0 && bucket->last_us > now_us;
}

static void write_bucket(struct limit_bucket *bucket, const struct limit_rate *rate, uint64_t debt, uint64_t now_us)
{
    *bucket = (struct limit_bucket){.debt = debt, .last_us = now_us, .units = rate->units};
}

/* Until `cost` more tokens fit. */
static uint64_t wait_of(const struct limit_rate *rate, uint64_t debt, uint64_t cost)
{
    if (cost > rate->burst) {
        return LIMIT_NEVER;
    }
    uint64_t asked = debt + cost * rate->units;
    return asked > capacity_of(rate) ? divided_up(asked - capacity_of(rate), rate->drain) : 0;
}

static void tell(struct limit_told *told, const struct limit_rate *rate, uint64_t debt, uint64_t wait_us)
{
    *told = (struct limit_told){
        .fits = wait_us == 0,
        .remaining = wait_us == 0 ? (capacity_of(rate) - debt) / rate->units : 0,
        .reset_us = divided_up(debt, rate->drain),
        .wait_us = wait_us,
    };
}

/* ---- one request, several limits ---- */

/* Whether this limit is charged, when the others say `admitted`. */
static bool is_charged(const struct limit_ask *ask, bool fits, bool admitted)
{
    if ((ask->flags & LIMIT_CHECK) != 0 || ask->cost == 0) {
        return false;
    }
    return (ask->flags & LIMIT_FORCE) != 0 || (admitted && fits);
}

static uint64_t debt_charged(const struct limit_ask *ask, uint64_t debt)
{
    uint64_t capacity = capacity_of(&ask->rate);
    if (ask->cost > ask->rate.burst) {
        return capacity;
    }
    uint64_t charged = debt + ask->cost * ask->rate.units;
    return charged < capacity ? charged : capacity; /* only a forced charge would pass it */
}

bool limit_apply(struct limit_bucket *const buckets[], const struct limit_ask asks[], int count, uint64_t now_us,
                 struct limit_told told[])
{
    uint64_t debts[LIMITS_MAX];
    uint64_t waits[LIMITS_MAX];
    bool admitted = true;

    CHECK(count >= 0 && count <= LIMITS_MAX);
    for (int i = 0; i < count; i++) {
        debts[i] = debt_at(buckets[i], &asks[i].rate, now_us);
        waits[i] = (asks[i].flags & LIMIT_FORCE) != 0 ? 0 : wait_of(&asks[i].rate, debts[i], asks[i].cost);
        admitted = admitted && (waits[i] == 0 || (asks[i].flags & LIMIT_SHADOW) != 0);
    }
    for (int i = 0; i < count; i++) {
        bool charged = is_charged(&asks[i], waits[i] == 0, admitted);
        uint64_t debt = charged ? debt_charged(&asks[i], debts[i]) : debts[i];
        if (charged || is_ahead(buckets[i], debt, now_us)) {
            write_bucket(buckets[i], &asks[i].rate, debt, now_us);
        }
        tell(&told[i], &asks[i].rate, debt, waits[i]);
    }
    return admitted;
}

/* ---- tokens in advance ---- */

uint64_t limit_prepay(struct limit_bucket *bucket, const struct limit_rate *rate, uint64_t want, uint64_t now_us,
                      struct limit_told *told)
{
    uint64_t debt = debt_at(bucket, rate, now_us);
    uint64_t wait_us = wait_of(rate, debt, 1);
    uint64_t room = (capacity_of(rate) - debt) / rate->units;
    uint64_t granted = want < room ? want : room;

    debt += granted * rate->units;
    if (granted > 0 || is_ahead(bucket, debt, now_us)) {
        write_bucket(bucket, rate, debt, now_us);
    }
    tell(told, rate, debt, wait_us);
    return granted;
}

uint64_t limit_over_us(const struct limit_bucket *bucket, const struct limit_rate *rate)
{
    uint64_t rest_us = divided_up(debt_converted(bucket, rate), rate->drain);
    return bucket->last_us > UINT64_MAX - rest_us ? UINT64_MAX : bucket->last_us + rest_us;
}
