/*
 * The exact bucket: what it admits is what no window forbids, a wait that was
 * told is the shortest, and no rate is off in the long run. What it says is
 * compared with slow references in 128 bits, and with doubles, as Lua has them.
 */
#include "base/unit.h"

#include <inttypes.h>

#include "weir/policy/limit.h"

#define CASES     100000
#define SECOND_US UINT64_C(1000000)
#define DAY_US    (UINT64_C(86400) * SECOND_US)
/* Some microsecond of 2026. */
#define START_US UINT64_C(1790000000123456)

__extension__ typedef __int128 wide;

static uint64_t seed;

static int setup(void **state)
{
    (void)state;
    seed = 88172645463325252u;
    return 0;
}

static uint64_t below(uint64_t bound)
{
    return random_next(&seed) % bound;
}

/* As likely small as large: of 1 to `bits` bits. */
static uint64_t of_any_size(unsigned bits)
{
    uint64_t value = random_next(&seed) >> (64 - 1 - below(bits));
    return value > 0 ? value : 1;
}

static struct limit_rate rate_of(uint64_t tokens, uint64_t per_us, uint64_t burst)
{
    struct limit_rate rate;

    assert_true(limit_rate_make(tokens, per_us, burst, &rate));
    return rate;
}

static wide ceil_wide(wide a, wide b)
{
    return a <= 0 ? 0 : (a + b - 1) / b;
}

/* ---- rates ---- */

/* A rate before it is made: what the references reckon with. */
struct plain {
    uint64_t tokens, per_us, burst;
    struct limit_rate rate;
};

/* What operators write, and what nobody would: anything that can be counted. */
static struct plain any_rate(void)
{
    static const uint64_t usual_us[] = {1,      1000,       SECOND_US, 3 * SECOND_US, 60 * SECOND_US, 3600 * SECOND_US,
                                        DAY_US, 30 * DAY_US};
    struct plain plain = {
        .tokens = of_any_size(20), .per_us = usual_us[below(ARRAY_COUNT(usual_us))], .burst = of_any_size(10)};

    if (below(3) == 0) {
        plain.per_us = of_any_size(52);
        plain.tokens = of_any_size(53);
    }
    if (below(8) == 0) {
        plain.burst = UINT64_MAX; /* as much as can be */
    }
    if (!limit_rate_make(plain.tokens, plain.per_us, plain.burst, &plain.rate)) {
        struct limit_rate least = rate_of(plain.tokens, plain.per_us, 1);
        plain.burst = (LIMIT_NUMBER_MAX / 2 - 1) / least.units;
        plain.rate = rate_of(plain.tokens, plain.per_us, plain.burst);
    }
    return plain;
}

static void test_a_rate_is_a_fraction_in_lowest_terms(void **state)
{
    struct limit_rate rate = rate_of(100000, DAY_US, 500);

    (void)state;
    assert_int_equal(rate.units, 864000);
    assert_int_equal(rate.drain, 1);
    assert_int_equal(rate.burst, 500);
    rate = rate_of(300001, SECOND_US, 1000);
    assert_int_equal(rate.units, SECOND_US);
    assert_int_equal(rate.drain, 300001);
    rate = rate_of(UINT64_MAX, UINT64_MAX, 1);
    assert_int_equal(rate.units, 1);
    assert_int_equal(rate.drain, 1);
}

static void test_a_rate_that_cannot_be_counted_is_refused(void **state)
{
    const uint64_t most = LIMIT_NUMBER_MAX / 2 - 1;
    struct limit_rate rate;

    (void)state;
    assert_false(limit_rate_make(0, 1, 1, &rate));
    assert_false(limit_rate_make(1, 0, 1, &rate));
    assert_false(limit_rate_make(1, 1, 0, &rate));
    assert_true(limit_rate_make(1, most, 1, &rate));
    assert_false(limit_rate_make(1, most + 1, 1, &rate));
    assert_true(limit_rate_make(1, 1, most, &rate));
    assert_false(limit_rate_make(1, 1, most + 1, &rate));
    assert_true(limit_rate_make(1, 3, most / 3, &rate));
    assert_false(limit_rate_make(1, 3, most / 3 + 1, &rate));
    assert_true(limit_rate_make(LIMIT_NUMBER_MAX - 1, 1, 1, &rate));
    assert_false(limit_rate_make(LIMIT_NUMBER_MAX, 1, 1, &rate));
    assert_false(limit_rate_make(UINT64_MAX, 1, 1, &rate));
    assert_false(limit_rate_make(1, UINT64_MAX, 1, &rate));
    assert_false(limit_rate_make(1, 1, UINT64_MAX, &rate));
    assert_false(limit_rate_make(1, UINT64_C(1) << 32, UINT64_C(1) << 32, &rate));
}

/* Whether `fleet` shares are together no faster than the whole. */
static bool shares_fit(const struct limit_rate *share, const struct limit_rate *whole, uint32_t fleet)
{
    return (wide)fleet * share->drain * whole->units <= (wide)whole->drain * share->units;
}

static void test_shares_are_never_more_than_the_whole(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct plain plain = any_rate();
        uint32_t fleet = (uint32_t)of_any_size(below(2) == 0 ? 5 : 20);
        struct limit_rate share = limit_rate_share(&plain.rate, fleet);
        wide units = (wide)plain.rate.units * fleet;

        assert_true(share.units >= 1 && share.drain >= 1 && share.drain <= plain.rate.drain);
        assert_true((wide)share.units * share.burst * 2 < (wide)LIMIT_NUMBER_MAX);
        assert_true(share.burst * fleet <= plain.burst || share.burst == 1);
        assert_true(share.burst * fleet + fleet > plain.burst);
        if (units * share.burst * 2 < (wide)LIMIT_NUMBER_MAX) { /* and no less either */
            assert_true((wide)fleet * share.drain * plain.rate.units == (wide)plain.rate.drain * share.units);
        }
        /* Slower than a token in a century, a share is a token in a century. */
        assert_true(shares_fit(&share, &plain.rate, fleet) || share.units > UINT64_C(100) * 365 * DAY_US);
    }
}

static void test_a_share_may_be_slower_than_can_be_counted(void **state)
{
    struct limit_rate whole = rate_of(1, LIMIT_NUMBER_MAX / 2 - 1, 1);
    struct limit_rate share = limit_rate_share(&whole, UINT32_MAX);

    (void)state;
    assert_int_equal(share.units, LIMIT_NUMBER_MAX / 2 - 1);
    assert_int_equal(share.drain, 1);
    assert_int_equal(share.burst, 1);
    /* What is rounded is rounded to the slow side. */
    whole = rate_of(1000003, LIMIT_NUMBER_MAX / 2 - 1, 1);
    share = limit_rate_share(&whole, 1000);
    assert_true(shares_fit(&share, &whole, 1000));
    assert_true((wide)share.units * share.burst * 2 < (wide)LIMIT_NUMBER_MAX);
    assert_true((wide)1001 * share.drain * whole.units >= (wide)whole.drain * share.units); /* by less than 0.1 % */
    share = limit_rate_share(&whole, 1);
    assert_memory_equal(&share, &whole, sizeof whole);
}

static void share_of_nobody(void)
{
    struct limit_rate whole = {.units = 1, .drain = 1, .burst = 1};

    (void)limit_rate_share(&whole, 0);
}

/* ---- one limit ---- */

static bool ask(struct limit_bucket *bucket, const struct limit_rate *rate, uint64_t cost, uint64_t now_us,
                struct limit_told *told)
{
    const struct limit_ask one = {.rate = *rate, .cost = cost};

    return limit_apply(&bucket, &one, 1, now_us, told);
}

static bool would_admit(const struct limit_bucket *bucket, const struct limit_rate *rate, uint64_t cost,
                        uint64_t now_us)
{
    struct limit_bucket copy = *bucket;
    struct limit_told told;

    return ask(&copy, rate, cost, now_us, &told);
}

/* A bucket of this rate at any level, charged some time ago, or, by a clock that stepped back, in a while. */
static struct limit_bucket any_bucket(const struct limit_rate *rate, uint64_t now_us)
{
    uint64_t capacity = rate->units * rate->burst;
    struct limit_bucket bucket = {.debt = below(capacity + 1), .units = rate->units};

    switch (below(4)) {
    case 0:
        bucket.debt = capacity;
        break;
    case 1:
        bucket.debt = capacity - below(capacity < rate->units * 2 ? capacity : rate->units * 2);
        break;
    default:
        break;
    }
    uint64_t age_us = below(3) == 0 ? 0 : below(bucket.debt / rate->drain + 2);
    bucket.last_us = below(8) == 0 ? now_us + of_any_size(40) : now_us - (age_us < now_us ? age_us : now_us);
    return bucket;
}

static void check_told(const struct limit_told *told, const struct limit_rate *rate, bool fits)
{
    assert_int_equal(told->fits, fits);
    assert_int_equal(told->wait_us == 0, fits);
    assert_true(told->remaining <= (fits ? rate->burst : 0));
    assert_true(told->reset_us <= rate->units * rate->burst / rate->drain + 1);
}

static void test_waiting_as_told_admits_and_a_microsecond_less_does_not(void **state)
{
    int refused = 0;

    (void)state;
    for (int i = 0; i < CASES || refused < CASES / 4; i++) {
        struct plain plain = any_rate();
        struct limit_bucket bucket = any_bucket(&plain.rate, START_US);
        uint64_t cost = below(2) == 0 ? 1 : 1 + below(plain.burst);
        struct limit_told told;

        if (below(4) == 0) { /* the limit was another */
            struct plain other = any_rate();
            bucket = any_bucket(&other.rate, START_US);
        }
        bool admitted = ask(&bucket, &plain.rate, cost, START_US, &told);
        check_told(&told, &plain.rate, admitted);
        if (admitted) {
            continue;
        }
        refused++;
        assert_true(would_admit(&bucket, &plain.rate, cost, START_US + told.wait_us));
        assert_false(would_admit(&bucket, &plain.rate, cost, START_US + told.wait_us - 1));
    }
}

static void test_reset_is_when_nothing_is_owed(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct plain plain = any_rate();
        struct limit_bucket bucket = any_bucket(&plain.rate, START_US);
        struct limit_told told;

        if (!ask(&bucket, &plain.rate, 1, START_US, &told)) {
            continue;
        }
        assert_int_equal(limit_over_us(&bucket, &plain.rate), START_US + told.reset_us);
        assert_true(would_admit(&bucket, &plain.rate, plain.burst, START_US + told.reset_us));
        assert_false(would_admit(&bucket, &plain.rate, plain.burst, START_US + told.reset_us - 1));
        assert_true(told.remaining == 0 || would_admit(&bucket, &plain.rate, told.remaining, START_US));
        assert_false(would_admit(&bucket, &plain.rate, told.remaining + 1, START_US));
    }
}

static void test_what_the_burst_cannot_hold_never_fits(void **state)
{
    static const uint64_t costs[] = {11, 12, LIMIT_NUMBER_MAX, UINT64_MAX};
    struct limit_rate rate = rate_of(10, SECOND_US, 10);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(costs); i++) {
        struct limit_bucket bucket = {0};
        struct limit_told told;

        assert_false(ask(&bucket, &rate, costs[i], START_US, &told));
        assert_false(told.fits);
        assert_true(told.wait_us == LIMIT_NEVER);
        assert_int_equal(told.remaining, 0);
        assert_int_equal(bucket.debt, 0);
    }
    struct limit_bucket bucket = {0};
    struct limit_told told;
    assert_true(ask(&bucket, &rate, 10, START_US, &told));
    assert_int_equal(told.remaining, 0);
    assert_int_equal(told.reset_us, SECOND_US);
    assert_true(ask(&bucket, &rate, 0, START_US, &told)); /* looks, for what is left: nothing */
    assert_int_equal(told.remaining, 0);
}

static void test_a_refusal_costs_nothing(void **state)
{
    struct limit_rate rate = rate_of(10, SECOND_US, 10);
    struct limit_bucket bucket = {0};
    struct limit_told told;

    (void)state;
    assert_true(ask(&bucket, &rate, 8, START_US, &told));
    const struct limit_bucket before = bucket;
    for (int i = 0; i < 1000; i++) {
        assert_false(ask(&bucket, &rate, 3, START_US + 1, &told));
        assert_int_equal(told.wait_us, SECOND_US / 10 - 1);
        assert_memory_equal(&bucket, &before, sizeof before);
    }
    assert_true(ask(&bucket, &rate, 2, START_US + 1, &told));
}

/* ---- in the long run ---- */

/*
 * Takes whatever there is, and waits as told: at every moment exactly burst +
 * rate * time has been admitted. (The part of a token that drains in what is
 * left of a microsecond needs room: a burst of 1 has none where drain is not 1.)
 */
static void run_greedily(uint64_t tokens, uint64_t per_us, uint64_t burst, uint64_t for_us)
{
    struct limit_rate rate = rate_of(tokens, per_us, burst);
    struct limit_bucket bucket = {0};
    struct limit_told told;
    uint64_t since_us = 0;
    uint64_t admitted = 0;

    while (since_us <= for_us) {
        if (ask(&bucket, &rate, 1, START_US + since_us, &told)) {
            admitted++;
            continue;
        }
        if ((wide)admitted != (wide)burst + (wide)tokens * since_us / per_us) {
            fail_msg("%" PRIu64 " admitted after %" PRIu64 " us at %" PRIu64 " per %" PRIu64 " us", admitted, since_us,
                     tokens, per_us);
        }
        since_us += told.wait_us;
    }
}

static void test_no_rate_is_off_in_the_long_run(void **state)
{
    (void)state;
    run_greedily(1, DAY_US, 1, 1000 * DAY_US);
    run_greedily(1, DAY_US, 50, 1000 * DAY_US);
    run_greedily(100003, DAY_US, 17, DAY_US);
    run_greedily(7, 3 * SECOND_US, 2, 300000 * SECOND_US);
    run_greedily(999983, 3600 * SECOND_US, 100, 600 * SECOND_US);
    run_greedily(1000, SECOND_US, 200, 100 * SECOND_US);
    run_greedily(300001, SECOND_US, 2, SECOND_US);
    run_greedily(300001, SECOND_US, 949, SECOND_US);
    run_greedily(999999, SECOND_US, 3, SECOND_US / 2);
    run_greedily(5, 2, 10, 100000); /* more than one in a microsecond */
    run_greedily(1, LIMIT_NUMBER_MAX / 2 - 1, 1, LIMIT_NUMBER_MAX / 2);
}

static void test_polled_each_microsecond_it_admits_the_bound(void **state)
{
    struct limit_rate rate = rate_of(300001, SECOND_US, 50);
    struct limit_bucket bucket = {0};
    struct limit_told told;
    uint64_t admitted = 0;

    (void)state;
    for (uint64_t since_us = 0; since_us <= SECOND_US; since_us++) {
        while (ask(&bucket, &rate, 1, START_US + since_us, &told)) {
            admitted++;
        }
        assert_int_equal(admitted, 50 + since_us * 300001 / SECOND_US);
    }
}

static void test_seven_in_three_seconds_over_ninety(void **state)
{
    struct limit_rate rate = rate_of(7, 3 * SECOND_US, 5);
    struct limit_bucket bucket = {0};
    struct limit_told told;
    int admitted = 0;

    (void)state;
    for (uint64_t since_us = 0; since_us <= 90 * SECOND_US; since_us += 1000) {
        admitted += ask(&bucket, &rate, 1, START_US + since_us, &told);
    }
    assert_int_equal(admitted, 5 + 7 * 30);
}

/* ---- the definition ---- */

#define HISTORY 60

/* What was admitted of one run. */
struct history {
    uint64_t at_us[HISTORY];
    uint64_t cost[HISTORY];
    int count;
};

/* Whether in every window that ends now, and holds this one, the cost is at most burst + rate * width. */
static bool every_window_has_room(const struct history *history, const struct plain *plain, uint64_t cost,
                                  uint64_t now_us)
{
    wide sum = cost;

    if (sum > plain->burst) {
        return false;
    }
    for (int i = history->count - 1; i >= 0; i--) {
        sum += history->cost[i];
        if ((sum - plain->burst) * plain->per_us > (wide)plain->tokens * (now_us - history->at_us[i])) {
            return false;
        }
    }
    return true;
}

static uint64_t next_arrival(const struct plain *plain, uint64_t now_us)
{
    uint64_t token_us = plain->per_us / plain->tokens + 1;

    switch (below(4)) {
    case 0:
        return now_us;
    case 1:
        return now_us + token_us * plain->burst * below(3);
    default:
        return now_us + below(token_us * 3);
    }
}

static void test_it_admits_exactly_what_no_window_forbids(void **state)
{
    (void)state;
    for (int i = 0; i < CASES / 20; i++) {
        struct plain plain = {.tokens = of_any_size(20), .per_us = of_any_size(37), .burst = 1 + below(12)};
        struct limit_bucket bucket = {0};
        struct history history = {.count = 0};
        uint64_t now_us = START_US;
        struct limit_told told;

        plain.rate = rate_of(plain.tokens, plain.per_us, plain.burst);
        for (int request = 0; request < HISTORY; request++) {
            uint64_t cost = below(3) == 0 ? 1 + below(plain.burst + 1) : 1;
            bool admitted = ask(&bucket, &plain.rate, cost, now_us, &told);

            assert_int_equal(admitted, every_window_has_room(&history, &plain, cost, now_us));
            if (admitted) {
                history.at_us[history.count] = now_us;
                history.cost[history.count++] = cost;
            }
            now_us = next_arrival(&plain, now_us);
        }
    }
}

/* ---- clocks that step ---- */

static void test_a_clock_that_steps_back_delays_nobody(void **state)
{
    static const unsigned flags[] = {0, LIMIT_SHADOW, LIMIT_CHECK};

    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct plain plain = any_rate();
        struct limit_bucket bucket = {
            .debt = plain.rate.units * plain.burst, .last_us = START_US, .units = plain.rate.units};
        struct limit_ask full = {.rate = plain.rate, .cost = 1 + below(plain.burst), .flags = flags[below(3)]};
        struct limit_bucket *pointer = &bucket;
        uint64_t now_us = START_US - of_any_size(50);
        struct limit_told before, told;

        (void)limit_apply(&pointer, &full, 1, START_US, &before);
        if (below(4) == 0) {
            full.cost = 1;
            assert_int_equal(limit_prepay(&bucket, &plain.rate, 1, now_us, &told), 0);
            before.wait_us = (plain.rate.units - 1) / plain.rate.drain + 1;
        } else {
            (void)limit_apply(&pointer, &full, 1, now_us, &told);
        }
        assert_false(told.fits);
        assert_true(told.wait_us == before.wait_us);
        assert_true(would_admit(&bucket, &plain.rate, full.cost, now_us + told.wait_us));
        assert_false(would_admit(&bucket, &plain.rate, full.cost, now_us + told.wait_us - 1));
    }
}

/* Forgives what drains in its steps, and nothing else. */
static void test_a_clock_that_steps_forth_forgives_its_steps(void **state)
{
    (void)state;
    for (int i = 0; i < CASES / 50; i++) {
        struct plain plain = {.tokens = of_any_size(12), .per_us = of_any_size(30), .burst = 1 + below(12)};
        struct limit_bucket bucket = {0};
        uint64_t clock_us = START_US;
        uint64_t forth_us = 0;
        wide admitted = 0;
        struct limit_told told;

        plain.rate = rate_of(plain.tokens, plain.per_us, plain.burst);
        for (uint64_t since_us = 0, step = 0; step < 200; step++) {
            uint64_t cost = 1 + below(2);
            bool fits = ask(&bucket, &plain.rate, cost, clock_us, &told);

            admitted += fits ? (wide)cost : 0;
            assert_true((admitted - plain.burst) * plain.per_us <= (wide)plain.tokens * (since_us + forth_us));
            assert_true(fits || told.wait_us == LIMIT_NEVER ||
                        would_admit(&bucket, &plain.rate, cost, clock_us + told.wait_us));
            uint64_t passes_us = next_arrival(&plain, 0);
            uint64_t leap_us = below(5) == 0 ? next_arrival(&plain, 0) : 0;
            since_us += passes_us;
            clock_us += passes_us;
            if (below(2) == 0) {
                forth_us += leap_us;
                clock_us += leap_us;
            } else {
                clock_us -= leap_us < clock_us ? leap_us : 0;
            }
        }
    }
}

static void test_a_year_forth_forgives_one_burst(void **state)
{
    struct limit_rate rate = rate_of(1, SECOND_US, 10);
    struct limit_bucket bucket = {0};
    struct limit_told told;

    (void)state;
    assert_true(ask(&bucket, &rate, 10, START_US, &told));
    assert_true(ask(&bucket, &rate, 10, START_US + 365 * DAY_US, &told));
    assert_false(ask(&bucket, &rate, 1, START_US + 365 * DAY_US, &told));
    assert_false(ask(&bucket, &rate, 1, START_US, &told)); /* back: a token a second, as before */
    assert_int_equal(told.wait_us, SECOND_US);
    assert_true(ask(&bucket, &rate, 1, START_US + SECOND_US, &told));
    assert_false(ask(&bucket, &rate, 1, START_US + SECOND_US, &told));
}

/* ---- limits that change ---- */

/* What a bucket owes in units of `rate` before it drains: a clock far back writes just that. */
static uint64_t converted(const struct limit_bucket *bucket, const struct limit_rate *rate)
{
    struct limit_bucket copy = *bucket;
    struct limit_told told;

    copy.last_us = 2;
    (void)ask(&copy, rate, 0, 1, &told);
    assert_true(copy.debt == 0 || copy.last_us == 1 || copy.units == 0);
    return copy.last_us == 1 ? copy.debt : 0;
}

static void test_a_debt_is_converted_exactly(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct plain then = any_rate();
        struct plain now = any_rate();
        struct limit_bucket bucket = any_bucket(&then.rate, START_US);
        wide expected = ceil_wide((wide)bucket.debt * now.rate.units, then.rate.units);
        wide capacity = (wide)now.rate.units * now.burst;

        expected = expected < capacity ? expected : capacity;
        assert_true((wide)converted(&bucket, &now.rate) == expected);
    }
}

static void test_a_limit_changed_at_one_moment_forgives_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < CASES / 20; i++) {
        struct limit_bucket bucket = {0};
        uint64_t admitted = 0;
        struct limit_told told;

        for (int step = 0; step < 100; step++) {
            struct limit_rate rate = rate_of(of_any_size(20), of_any_size(40), 20);
            admitted += ask(&bucket, &rate, 1, START_US, &told);
        }
        assert_in_range(admitted, 1, 20);
    }
}

static void test_a_limit_that_is_raised_admits_at_once(void **state)
{
    struct limit_rate low = rate_of(10, SECOND_US, 10);
    struct limit_rate burst = rate_of(10, SECOND_US, 20);
    struct limit_rate fast = rate_of(30, SECOND_US, 10);
    struct limit_bucket bucket = {0};
    struct limit_told told;

    (void)state;
    assert_true(ask(&bucket, &low, 10, START_US, &told));
    assert_false(ask(&bucket, &low, 1, START_US, &told));
    assert_int_equal(told.wait_us, SECOND_US / 10);
    assert_false(ask(&bucket, &fast, 1, START_US, &told));
    assert_int_equal(told.wait_us, SECOND_US / 30 + 1);
    assert_true(ask(&bucket, &burst, 10, START_US, &told)); /* what was used of it stays used */
    assert_false(ask(&bucket, &burst, 1, START_US, &told));
}

static void test_a_limit_that_is_lowered_recovers_within_its_burst(void **state)
{
    struct limit_rate high = rate_of(10, SECOND_US, 1000);
    struct limit_rate low = rate_of(10, SECOND_US, 10);
    struct limit_rate slow = rate_of(7, 3 * SECOND_US, 10);
    struct limit_bucket bucket = {0};
    struct limit_told told;

    (void)state;
    assert_true(ask(&bucket, &high, 1000, START_US, &told));
    /* Nothing is written while it is refused, yet it drains from the moment of the charge. */
    assert_false(ask(&bucket, &low, 1, START_US, &told));
    assert_int_equal(told.wait_us, SECOND_US / 10);
    assert_false(ask(&bucket, &slow, 1, START_US, &told));
    assert_int_equal(told.wait_us, 3 * SECOND_US / 7 + 1);
    assert_false(would_admit(&bucket, &low, 1, START_US + SECOND_US / 10 - 1));
    assert_true(would_admit(&bucket, &low, 1, START_US + SECOND_US / 10));
    assert_true(would_admit(&bucket, &low, 10, START_US + SECOND_US));
    assert_true(would_admit(&bucket, &slow, 10, START_US + 10 * 3 * SECOND_US / 7 + 1));
    assert_int_equal(limit_over_us(&bucket, &low), START_US + SECOND_US);
    assert_int_equal(limit_over_us(&bucket, &high), START_US + 100 * SECOND_US);
}

static void test_a_damaged_bucket_owes_nothing(void **state)
{
    static const struct limit_bucket damaged[] = {
        {.debt = 5, .last_us = START_US, .units = 0},
        {.debt = 5, .last_us = START_US, .units = LIMIT_NUMBER_MAX / 2},
        {.debt = 5, .last_us = START_US, .units = UINT64_MAX},
        {.debt = LIMIT_NUMBER_MAX, .last_us = START_US, .units = 1},
        {.debt = UINT64_MAX, .last_us = UINT64_MAX, .units = SECOND_US},
    };
    struct limit_rate rate = rate_of(1, SECOND_US, 10);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(damaged); i++) {
        assert_true(would_admit(&damaged[i], &rate, 10, START_US));
        assert_false(would_admit(&damaged[i], &rate, 11, START_US));
        assert_int_equal(limit_over_us(&damaged[i], &rate), damaged[i].last_us);
    }
    struct limit_bucket largest = {
        .debt = LIMIT_NUMBER_MAX - 1, .last_us = START_US, .units = LIMIT_NUMBER_MAX / 2 - 1};
    assert_false(would_admit(&largest, &rate, 8, START_US)); /* a little over two tokens */
    assert_true(would_admit(&largest, &rate, 7, START_US));
}

/* ---- several limits ---- */

#define FLAGS_COUNT 8u

/* A limit as the reference has it: the debt in units of 1 / per_us tokens, however large that is. */
struct model {
    struct plain plain;
    wide debt;
    uint64_t last_us;
    uint64_t cost;
    unsigned flags;
    bool written;
    struct limit_told told;
};

static wide model_capacity(const struct model *model)
{
    return (wide)model->plain.burst * model->plain.per_us;
}

static bool model_fits(struct model *model, uint64_t now_us)
{
    wide drained = now_us > model->last_us ? (wide)(now_us - model->last_us) * model->plain.tokens : 0;

    model->written = false;
    model->debt = model->debt > drained ? model->debt - drained : 0;
    wide over = model->debt + (wide)model->cost * model->plain.per_us - model_capacity(model);
    bool fits = over <= 0 || (model->flags & LIMIT_FORCE) != 0;
    uint64_t wait_us = model->cost > model->plain.burst ? LIMIT_NEVER : (uint64_t)ceil_wide(over, model->plain.tokens);
    model->told = (struct limit_told){.fits = fits, .wait_us = fits ? 0 : wait_us};
    return fits;
}

static void model_settle(struct model *model, bool admitted, uint64_t now_us)
{
    bool check = (model->flags & LIMIT_CHECK) != 0;
    bool force = (model->flags & LIMIT_FORCE) != 0;

    if (!check && model->cost > 0 && (force || (admitted && model->told.fits))) {
        model->debt += (wide)model->cost * model->plain.per_us;
        model->debt = model->debt < model_capacity(model) ? model->debt : model_capacity(model);
        model->written = true;
    }
    model->written = model->written || (model->debt > 0 && model->last_us > now_us);
    model->told.remaining =
        model->told.fits ? (uint64_t)((model_capacity(model) - model->debt) / model->plain.per_us) : 0;
    model->told.reset_us = (uint64_t)ceil_wide(model->debt, model->plain.tokens);
}

static bool model_apply(struct model *models, int count, uint64_t now_us)
{
    bool admitted = true;

    for (int i = 0; i < count; i++) {
        bool fits = model_fits(&models[i], now_us);
        admitted &= fits || (models[i].flags & LIMIT_SHADOW) != 0;
    }
    for (int i = 0; i < count; i++) {
        model_settle(&models[i], admitted, now_us);
    }
    return admitted;
}

/* Applies the limits and their models, and compares all that can be seen. */
static bool apply_both(struct limit_bucket *buckets, struct model *models, int count, uint64_t now_us)
{
    struct limit_bucket before[LIMITS_MAX];
    struct limit_bucket *pointers[LIMITS_MAX];
    struct limit_ask asks[LIMITS_MAX];
    struct limit_told told[LIMITS_MAX];

    for (int i = 0; i < count; i++) {
        before[i] = buckets[i];
        pointers[i] = &buckets[i];
        asks[i] = (struct limit_ask){.rate = models[i].plain.rate, .cost = models[i].cost, .flags = models[i].flags};
    }
    bool admitted = limit_apply(pointers, asks, count, now_us, told);
    assert_int_equal(admitted, model_apply(models, count, now_us));
    for (int i = 0; i < count; i++) {
        uint64_t divisor = models[i].plain.per_us / models[i].plain.rate.units;
        struct limit_bucket written = {(uint64_t)(models[i].debt / divisor), now_us, models[i].plain.rate.units};

        assert_true(models[i].debt % divisor == 0);
        assert_memory_equal(&buckets[i], models[i].written ? &written : &before[i], sizeof written);
        assert_int_equal(told[i].fits, models[i].told.fits);
        assert_true(told[i].wait_us == models[i].told.wait_us);
        assert_int_equal(told[i].remaining, models[i].told.remaining);
        assert_int_equal(told[i].reset_us, models[i].told.reset_us);
    }
    return admitted;
}

static void any_limit(struct model *model, struct limit_bucket *bucket, uint64_t now_us)
{
    *model = (struct model){.plain = any_rate(), .flags = (unsigned)below(FLAGS_COUNT), .cost = 1};
    *bucket = any_bucket(&model->plain.rate, now_us);
    model->debt = (wide)bucket->debt * (model->plain.per_us / model->plain.rate.units);
    model->last_us = bucket->last_us;
    switch (below(8)) {
    case 0:
        model->cost = random_next(&seed);
        break;
    case 1:
        model->cost = 0;
        break;
    case 2:
    case 3:
        model->cost = 1 + below(model->plain.burst);
        break;
    default:
        break;
    }
}

static void test_several_limits_are_charged_all_or_none(void **state)
{
    struct limit_bucket buckets[LIMITS_MAX];
    struct model models[LIMITS_MAX];
    int admitted = 0;

    (void)state;
    for (int i = 0; i < CASES; i++) {
        int count = (int)below(LIMITS_MAX + 1);

        for (int limit = 0; limit < count; limit++) {
            any_limit(&models[limit], &buckets[limit], START_US);
        }
        admitted += apply_both(buckets, models, count, START_US);
    }
    assert_in_range(admitted, CASES / 10, CASES * 9 / 10);
}

/* Three limits of any flags, each with and without room: what the words of the header say, one by one. */
static void test_every_combination_of_flags(void **state)
{
    const struct limit_rate rate = rate_of(10, SECOND_US, 10);

    (void)state;
    for (unsigned bits = 0; bits < 16 * 16 * 16; bits++) {
        struct limit_bucket buckets[3];
        struct limit_bucket *pointers[3];
        struct limit_ask asks[3];
        struct limit_told told[3];
        bool refused = false;

        for (int i = 0; i < 3; i++) {
            unsigned word = bits >> (4 * i) & 15u;
            bool room = word >= 8;
            uint64_t used = (room ? 4u : 10u) * rate.units;

            asks[i] = (struct limit_ask){.rate = rate, .cost = 2, .flags = word & 7u};
            buckets[i] = (struct limit_bucket){.debt = used, .last_us = START_US, .units = rate.units};
            pointers[i] = &buckets[i];
            refused |= !room && (asks[i].flags & (LIMIT_SHADOW | LIMIT_FORCE)) == 0;
        }
        assert_int_equal(limit_apply(pointers, asks, 3, START_US, told), !refused);
        for (int i = 0; i < 3; i++) {
            bool room = (bits >> (4 * i) & 15u) >= 8;
            bool forced = (asks[i].flags & LIMIT_FORCE) != 0;
            bool charged = (asks[i].flags & LIMIT_CHECK) == 0 && (forced || (room && !refused));
            uint64_t used = room ? (charged ? 6 : 4) : 10;

            assert_int_equal(buckets[i].debt, used * rate.units);
            assert_int_equal(told[i].fits, room || forced);
            assert_int_equal(told[i].remaining, 10 - used);
            assert_int_equal(told[i].reset_us, used * SECOND_US / 10);
            assert_int_equal(told[i].wait_us, room || forced ? 0 : 2 * SECOND_US / 10);
        }
    }
}

static void test_what_has_happened_is_charged_up_to_the_burst(void **state)
{
    const struct limit_rate rate = rate_of(1, SECOND_US, 5);
    struct limit_ask forced = {.rate = rate, .cost = 3, .flags = LIMIT_FORCE};
    struct limit_bucket bucket = {0};
    struct limit_bucket *pointer = &bucket;
    struct limit_told told;

    (void)state;
    assert_true(limit_apply(&pointer, &forced, 1, START_US, &told));
    assert_int_equal(told.remaining, 2);
    assert_true(limit_apply(&pointer, &forced, 1, START_US, &told));
    assert_int_equal(bucket.debt, 5 * rate.units);
    assert_int_equal(told.remaining, 0);
    assert_int_equal(told.reset_us, 5 * SECOND_US);
    forced.cost = UINT64_MAX;
    assert_true(limit_apply(&pointer, &forced, 1, START_US + SECOND_US, &told));
    assert_int_equal(bucket.debt, 5 * rate.units);
    assert_int_equal(bucket.last_us, START_US + SECOND_US);
}

static void too_many_limits(void)
{
    struct limit_bucket *pointers[LIMITS_MAX + 1] = {0};
    struct limit_ask asks[LIMITS_MAX + 1] = {0};
    struct limit_told told[LIMITS_MAX + 1];

    (void)limit_apply(pointers, asks, LIMITS_MAX + 1, START_US, told);
}

static void fewer_than_no_limits(void)
{
    struct limit_told told;

    (void)limit_apply(NULL, NULL, -1, START_US, &told);
}

static void test_what_no_caller_may_do_is_a_bug(void **state)
{
    (void)state;
    assert_true(aborts(share_of_nobody));
    assert_true(aborts(too_many_limits));
    assert_true(aborts(fewer_than_no_limits));
}

/* ---- tokens in advance ---- */

static void test_tokens_in_advance_are_as_many_as_there_are(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct plain plain = any_rate();
        struct limit_bucket bucket = any_bucket(&plain.rate, START_US);
        struct limit_bucket one_by_one = bucket;
        uint64_t want = of_any_size(6);
        uint64_t had = 0;
        struct limit_told told, told_one;

        while (had < want && ask(&one_by_one, &plain.rate, 1, START_US, &told_one)) {
            had++;
        }
        assert_int_equal(limit_prepay(&bucket, &plain.rate, want, START_US, &told), had);
        assert_memory_equal(&bucket, &one_by_one, sizeof bucket);
        check_told(&told, &plain.rate, had > 0);
        if (had > 0) {
            (void)ask(&one_by_one, &plain.rate, 0, START_US, &told_one);
            assert_int_equal(told.remaining, told_one.remaining);
            assert_int_equal(told.reset_us, told_one.reset_us);
        } else {
            assert_int_equal(told.wait_us, told_one.wait_us);
            struct limit_bucket copy = bucket;
            assert_int_equal(limit_prepay(&copy, &plain.rate, want, START_US + told.wait_us - 1, &told_one), 0);
            assert_true(limit_prepay(&copy, &plain.rate, want, START_US + told.wait_us, &told_one) > 0);
        }
    }
}

static void test_all_tokens_may_be_taken_at_once(void **state)
{
    struct limit_rate rate = rate_of(1, 1, LIMIT_NUMBER_MAX / 2 - 1);
    struct limit_bucket bucket = {0};
    struct limit_told told;

    (void)state;
    assert_int_equal(limit_prepay(&bucket, &rate, 0, START_US, &told), 0);
    assert_true(told.fits && told.remaining == rate.burst && bucket.units == 0);
    assert_int_equal(limit_prepay(&bucket, &rate, UINT64_MAX, START_US, &told), rate.burst);
    assert_int_equal(told.remaining, 0);
    assert_int_equal(limit_prepay(&bucket, &rate, UINT64_MAX, START_US, &told), 0);
    assert_int_equal(told.wait_us, 1);
}

/* ---- in doubles ---- */

/* Whole parts without the mathematics library; all numbers are below 2^53 and not negative. */
static double floor_of(double x)
{
    return (double)(uint64_t)x;
}

static double ceil_of(double x)
{
    return floor_of(x) < x ? floor_of(x) + 1 : floor_of(x);
}

static double scaled_in_doubles(double part, double to, double from)
{
    double quotient = 0, rest = 0;

    for (double bit = (double)(LIMIT_NUMBER_MAX / 4); bit >= 1; bit /= 2) {
        quotient *= 2;
        rest *= 2;
        if (rest >= from) {
            rest -= from;
            quotient += 1;
        }
        if (to >= bit) {
            to -= bit;
            rest += part;
            if (rest >= from) {
                rest -= from;
                quotient += 1;
            }
        }
    }
    return rest > 0 ? quotient + 1 : quotient;
}

/* limit_apply of one limit without flags, as a language that has doubles alone would write it. */
static bool apply_in_doubles(double bucket[3], const struct limit_rate *rate, double cost, double now, double told[3])
{
    double units = (double)rate->units, drain = (double)rate->drain, burst = (double)rate->burst;
    double capacity = burst * units;
    double debt = bucket[0];

    if (bucket[2] != units) {
        double whole = floor_of(debt / bucket[2]);
        double part = debt - whole * bucket[2];
        debt = whole >= burst ? capacity : whole * units + scaled_in_doubles(part, units, bucket[2]);
    }
    debt = debt > capacity ? capacity : debt;
    if (now > bucket[1]) {
        debt -= drain * (now - bucket[1]);
        debt = debt < 0 ? 0 : debt;
    }
    bool fits = debt + cost * units <= capacity;
    told[2] = fits ? 0 : ceil_of((debt + cost * units - capacity) / drain);
    debt += fits ? cost * units : 0;
    told[0] = fits ? floor_of((capacity - debt) / units) : 0;
    told[1] = ceil_of(debt / drain);
    if (fits || (now < bucket[1] && debt > 0)) {
        bucket[0] = debt;
        bucket[1] = now;
        bucket[2] = units;
    }
    return fits;
}

static void test_doubles_say_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct plain plain = any_rate();
        struct plain then = below(2) == 0 ? plain : any_rate();
        struct limit_bucket bucket = any_bucket(&then.rate, START_US);
        double in_doubles[3] = {(double)bucket.debt, (double)bucket.last_us, (double)bucket.units};

        for (uint64_t step = 0, now_us = START_US; step < 4; step++, now_us += of_any_size(40)) {
            uint64_t cost = 1 + below(plain.burst);
            struct limit_told told;
            double told_in_doubles[3];
            bool fits = ask(&bucket, &plain.rate, cost, now_us, &told);

            assert_int_equal(fits,
                             apply_in_doubles(in_doubles, &plain.rate, (double)cost, (double)now_us, told_in_doubles));
            assert_true((double)told.remaining == told_in_doubles[0]);
            assert_true((double)told.reset_us == told_in_doubles[1]);
            assert_true((double)told.wait_us == told_in_doubles[2]);
            assert_true((double)bucket.debt == in_doubles[0]);
            assert_true((double)bucket.last_us == in_doubles[1]);
            assert_true((double)bucket.units == in_doubles[2]);
        }
    }
}

/* Just below, at and just above a whole number: the nearest double never crosses it. */
static void test_quotients_of_doubles_are_exact_up_and_down(void **state)
{
    (void)state;
    for (int i = 0; i < CASES * 10; i++) {
        uint64_t by = of_any_size(53);
        uint64_t whole = below(LIMIT_NUMBER_MAX / by) + 1;
        uint64_t amount = whole * by - 1 + below(3);

        if (amount >= LIMIT_NUMBER_MAX) {
            continue;
        }
        double quotient = (double)amount / (double)by;
        assert_true((uint64_t)floor_of(quotient) == amount / by);
        assert_true((uint64_t)ceil_of(quotient) == amount / by + (amount % by != 0));
    }
}

/* ---- anything at all ---- */

static uint64_t any_number(void)
{
    static const uint64_t edges[] = {
        0, 1, LIMIT_NUMBER_MAX / 2 - 1, LIMIT_NUMBER_MAX / 2, LIMIT_NUMBER_MAX - 1, LIMIT_NUMBER_MAX, UINT64_MAX};

    return below(2) == 0 ? edges[below(ARRAY_COUNT(edges))] : random_next(&seed) >> below(64);
}

static void test_no_bucket_and_no_clock_is_out_of_range(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct limit_bucket buckets[LIMITS_MAX];
        struct limit_bucket *pointers[LIMITS_MAX];
        struct limit_ask asks[LIMITS_MAX];
        struct limit_told told[LIMITS_MAX];
        uint64_t now_us = any_number();

        for (int limit = 0; limit < LIMITS_MAX; limit++) {
            buckets[limit] = (struct limit_bucket){any_number(), any_number(), any_number()};
            pointers[limit] = &buckets[limit];
            asks[limit] = (struct limit_ask){any_rate().rate, any_number(), (unsigned)below(FLAGS_COUNT)};
            (void)limit_over_us(&buckets[limit], &asks[limit].rate);
        }
        (void)limit_apply(pointers, asks, LIMITS_MAX, now_us, told);
        for (int limit = 0; limit < LIMITS_MAX; limit++) {
            check_told(&told[limit], &asks[limit].rate, told[limit].fits);
            assert_true(limit_prepay(&buckets[limit], &asks[limit].rate, any_number(), now_us, told) <=
                        asks[limit].rate.burst);
        }
    }
    struct limit_bucket late = {.debt = 1, .last_us = UINT64_MAX, .units = 1};
    struct limit_rate slow = rate_of(1, 1, 1);
    assert_true(limit_over_us(&late, &slow) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_rate_is_a_fraction_in_lowest_terms),
        cmocka_unit_test(test_a_rate_that_cannot_be_counted_is_refused),
        cmocka_unit_test(test_shares_are_never_more_than_the_whole),
        cmocka_unit_test(test_a_share_may_be_slower_than_can_be_counted),
        cmocka_unit_test(test_waiting_as_told_admits_and_a_microsecond_less_does_not),
        cmocka_unit_test(test_reset_is_when_nothing_is_owed),
        cmocka_unit_test(test_what_the_burst_cannot_hold_never_fits),
        cmocka_unit_test(test_a_refusal_costs_nothing),
        cmocka_unit_test(test_no_rate_is_off_in_the_long_run),
        cmocka_unit_test(test_polled_each_microsecond_it_admits_the_bound),
        cmocka_unit_test(test_seven_in_three_seconds_over_ninety),
        cmocka_unit_test(test_it_admits_exactly_what_no_window_forbids),
        cmocka_unit_test(test_a_clock_that_steps_back_delays_nobody),
        cmocka_unit_test(test_a_clock_that_steps_forth_forgives_its_steps),
        cmocka_unit_test(test_a_year_forth_forgives_one_burst),
        cmocka_unit_test(test_a_debt_is_converted_exactly),
        cmocka_unit_test(test_a_limit_changed_at_one_moment_forgives_nothing),
        cmocka_unit_test(test_a_limit_that_is_raised_admits_at_once),
        cmocka_unit_test(test_a_limit_that_is_lowered_recovers_within_its_burst),
        cmocka_unit_test(test_a_damaged_bucket_owes_nothing),
        cmocka_unit_test(test_several_limits_are_charged_all_or_none),
        cmocka_unit_test(test_every_combination_of_flags),
        cmocka_unit_test(test_what_has_happened_is_charged_up_to_the_burst),
        cmocka_unit_test(test_what_no_caller_may_do_is_a_bug),
        cmocka_unit_test(test_tokens_in_advance_are_as_many_as_there_are),
        cmocka_unit_test(test_all_tokens_may_be_taken_at_once),
        cmocka_unit_test(test_doubles_say_the_same),
        cmocka_unit_test(test_quotients_of_doubles_are_exact_up_and_down),
        cmocka_unit_test(test_no_bucket_and_no_clock_is_out_of_range),
    };
    return cmocka_run_group_tests_name("policy/limit", tests, setup, NULL);
}
