/*
 * Prepaid tokens: one lease by itself, and a fleet of weirs with one bucket in
 * virtual time, whose admissions stay within the bound in every window, at the
 * figures that docs/limits.md promises; and the same fleet without each of the
 * two rules that keep it from starving itself.
 */
#include "base/unit.h"

#include <inttypes.h>

#include "weir/policy/lease.h"

#define SECOND_US UINT64_C(1000000)
#define START_US  UINT64_C(1790000000123456)
/* A fleet larger than any test has. */
#define FLEET_MAX    32
#define ADMITTED_MAX 400000

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

static struct limit_rate rate_of(uint64_t tokens, uint64_t per_us, uint64_t burst)
{
    struct limit_rate rate;

    assert_true(limit_rate_make(tokens, per_us, burst, &rate));
    return rate;
}

/* ---- a fleet in virtual time ---- */

/* What is left out of the rules, to see what they are for. */
enum rule {
    ALL_RULES,
    NO_SHARE, /* a weir may hold a quarter of the burst, however many there are */
    NO_REST,  /* one that was refused asks again as soon as there is a token */
};

struct setting {
    uint32_t fleet;
    uint64_t rate, burst; /* tokens a second */
    uint64_t demand;      /* requests a second, of the whole fleet */
    bool skewed;          /* nine of ten come to the first weir */
    uint64_t roams_us;    /* all come to one weir, and after so long to the next */
    bool even_gaps;       /* all requests are equally far apart; else by chance */
    uint64_t way_us;      /* to the store, and back; each up to twice as long */
    uint64_t lost_pct;    /* of the questions: before or after they are charged */
    uint64_t seconds;
    enum rule left_out;
};

/* How long a question is waited for where some are lost. */
#define PATIENCE_US UINT64_C(20000)

enum question {
    NONE,
    ON_ITS_WAY,  /* to the store */
    ON_ITS_BACK, /* charged, or refused */
    LOST,
};

struct weir {
    struct lease lease;
    uint64_t ahead_us; /* its clock, of the fleet's time */
    enum question question;
    uint64_t sent_us, next_us; /* in the fleet's time; the second: when something happens to the question */
    uint64_t granted;
    struct limit_told told;
    uint32_t waiting;
};

struct fleet {
    struct setting setting;
    struct limit_rate rate;
    struct weir weirs[FLEET_MAX];
    struct limit_bucket bucket;
    struct limit_bucket exact; /* what one bucket for all would have said */
    uint64_t now_us;
    uint64_t next_ns; /* the next request */
    uint64_t requests, admitted, refused, lost, exact_admitted, trips, waits;
    uint64_t held_max;
    uint64_t admitted_us[ADMITTED_MAX];
};

static struct fleet fleet; /* large */

static uint64_t clock_of(const struct weir *weir)
{
    return fleet.now_us + weir->ahead_us;
}

static uint64_t share_of(const struct setting *setting)
{
    uint64_t share = setting->burst / (2 * setting->fleet);
    return share > 0 ? share : 1;
}

/* lease_want, but for the share. */
static uint64_t wanted_without_share(const struct weir *weir, uint32_t waiting)
{
    uint64_t most = fleet.setting.rate * 1250;
    uint64_t want = (weir->lease.demand < most ? weir->lease.demand : most) * LEASE_TARGET_US / (1000 * SECOND_US);

    want = want < fleet.setting.burst / 4 ? want : fleet.setting.burst / 4;
    want = want > waiting ? want : waiting;
    return want > 0 ? want : 1;
}

static uint64_t want_of(const struct weir *weir)
{
    if (fleet.setting.left_out == NO_SHARE) {
        return wanted_without_share(weir, weir->waiting);
    }
    return lease_want(&weir->lease, &fleet.rate, fleet.setting.fleet, weir->waiting);
}

static void send_question(struct weir *weir)
{
    bool is_lost = below(100) < fleet.setting.lost_pct;

    fleet.trips++;
    lease_asked(&weir->lease);
    weir->sent_us = fleet.now_us;
    weir->question = is_lost && below(2) == 0 ? LOST : ON_ITS_WAY;
    weir->next_us =
        fleet.now_us + (weir->question == LOST ? PATIENCE_US : fleet.setting.way_us + below(fleet.setting.way_us + 1));
    weir->granted = want_of(weir);
}

static void at_store(struct weir *weir)
{
    weir->granted = limit_prepay(&fleet.bucket, &fleet.rate, weir->granted, START_US + fleet.now_us, &weir->told);
    weir->question = ON_ITS_BACK;
    weir->next_us = fleet.now_us + fleet.setting.way_us + below(fleet.setting.way_us + 1);
    if (below(100) < fleet.setting.lost_pct) {
        weir->question = LOST;
        weir->next_us = weir->sent_us + PATIENCE_US > fleet.now_us ? weir->sent_us + PATIENCE_US : fleet.now_us;
    }
}

static void admit(struct weir *weir)
{
    lease_use(&weir->lease, clock_of(weir));
    assert_true(fleet.admitted < ADMITTED_MAX);
    fleet.admitted_us[fleet.admitted++] = fleet.now_us;
    if (lease_runs_low(&weir->lease, clock_of(weir), fleet.setting.way_us * 3)) {
        send_question(weir);
    }
}

/* As the limiter does with those who wait. */
static void serve_waiting(struct weir *weir)
{
    while (weir->waiting > 0 && lease_look(&weir->lease, clock_of(weir)) == LEASE_HAS) {
        weir->waiting--;
        admit(weir);
    }
    if (weir->waiting > 0 && lease_look(&weir->lease, clock_of(weir)) == LEASE_DENIED) {
        fleet.refused += weir->waiting;
        weir->waiting = 0;
    }
    if (weir->waiting > 0 && !weir->lease.asking) {
        send_question(weir);
    }
}

static void on_reply(struct weir *weir)
{
    const struct setting *setting = &fleet.setting;
    uint64_t now_us = clock_of(weir);

    weir->question = NONE;
    lease_told(&weir->lease, &fleet.rate, setting->fleet, weir->sent_us + weir->ahead_us, weir->granted, &weir->told,
               random_next(&seed), now_us);
    if (setting->left_out == NO_REST && weir->granted == 0) {
        weir->lease.denied_until_us = now_us + weir->told.wait_us;
    }
    if (setting->left_out == NO_SHARE) {
        weir->lease.low_max = wanted_without_share(weir, 0) > 1 ? setting->burst / 8 : 0;
    }
    serve_waiting(weir);
    uint64_t held = weir->lease.tokens[0] + weir->lease.tokens[1];
    fleet.held_max = held > fleet.held_max ? held : fleet.held_max;
}

static void on_lost(struct weir *weir)
{
    weir->question = NONE;
    lease_lost(&weir->lease);
    fleet.lost += weir->waiting;
    weir->waiting = 0;
}

static void on_question(struct weir *weir)
{
    switch (weir->question) {
    case ON_ITS_WAY:
        at_store(weir);
        break;
    case ON_ITS_BACK:
        on_reply(weir);
        break;
    default:
        on_lost(weir);
        break;
    }
}

static void on_request(struct weir *weir)
{
    struct limit_bucket *exact = &fleet.exact;
    const struct limit_ask one = {.rate = fleet.rate, .cost = 1};
    struct limit_told told;

    fleet.requests++;
    fleet.exact_admitted += limit_apply(&exact, &one, 1, START_US + fleet.now_us, &told);
    lease_note(&weir->lease, clock_of(weir));
    switch (lease_look(&weir->lease, clock_of(weir))) {
    case LEASE_HAS:
        admit(weir);
        break;
    case LEASE_DENIED:
        fleet.refused++;
        break;
    case LEASE_ASK:
        weir->waiting++;
        fleet.waits++;
        if (!weir->lease.asking) {
            send_question(weir);
        }
        break;
    }
}

/*
 * The time to the next of events that come by chance, where the mean is 1 << 32.
 * By comparisons alone (von Neumann, "Various techniques used in connection with
 * random digits", 1951): the length of a falling run of random numbers is odd
 * with the probability e^-first.
 */
static uint64_t gap_by_chance(void)
{
    for (uint64_t whole = 0;; whole++) {
        uint64_t first = random_next(&seed) >> 32;
        uint64_t last = first;
        bool odd = true;

        for (uint64_t next = random_next(&seed) >> 32; next < last; next = random_next(&seed) >> 32) {
            last = next;
            odd = !odd;
        }
        if (odd) {
            return (whole << 32) + first;
        }
    }
}

static void next_request(void)
{
    uint64_t mean_ns = 1000 * SECOND_US / fleet.setting.demand;
    uint64_t gap = fleet.setting.even_gaps ? UINT64_C(1) << 32 : gap_by_chance();

    fleet.next_ns += (gap >> 16) * mean_ns >> 16;
}

static struct weir *weir_of_next_request(void)
{
    uint32_t count = fleet.setting.fleet;

    if (fleet.setting.roams_us != 0) {
        return &fleet.weirs[fleet.next_ns / 1000 / fleet.setting.roams_us % count];
    }
    if (!fleet.setting.skewed || count == 1) {
        return &fleet.weirs[below(count)];
    }
    return below(10) != 0 ? &fleet.weirs[0] : &fleet.weirs[1 + below(count - 1)];
}

/* Whose question is next, before the next request; NULL: the request is. */
static struct weir *weir_of_next_question(uint64_t before_us)
{
    struct weir *first = NULL;

    for (uint32_t i = 0; i < fleet.setting.fleet; i++) {
        struct weir *weir = &fleet.weirs[i];
        if (weir->question != NONE && weir->next_us <= before_us) {
            first = weir;
            before_us = weir->next_us;
        }
    }
    return first;
}

static void run(const struct setting *setting)
{
    memset(&fleet, 0, sizeof fleet);
    fleet.setting = *setting;
    fleet.rate = rate_of(setting->rate, SECOND_US, setting->burst);
    for (uint32_t i = 0; i < setting->fleet; i++) {
        fleet.weirs[i].ahead_us = below(1000 * SECOND_US);
    }
    next_request();
    while (fleet.next_ns < setting->seconds * SECOND_US * 1000) {
        struct weir *asking = weir_of_next_question(fleet.next_ns / 1000);
        fleet.now_us = asking != NULL ? asking->next_us : fleet.next_ns / 1000;
        if (asking != NULL) {
            on_question(asking);
            continue;
        }
        on_request(weir_of_next_request());
        next_request();
    }
}

/*
 * Whether no window of any width had more than burst + rate * (width +
 * LEASE_US): exactly, of all windows that begin and end with an admission.
 */
static bool no_window_has_too_many(void)
{
    int64_t units = (int64_t)fleet.rate.units;
    int64_t drain = (int64_t)fleet.rate.drain;
    int64_t bound = units * (int64_t)fleet.rate.burst + drain * (int64_t)LEASE_US;
    int64_t least = INT64_MAX;

    for (uint64_t i = 0; i < fleet.admitted; i++) {
        int64_t before = (int64_t)i * units - (int64_t)fleet.admitted_us[i] * drain;
        least = before < least ? before : least;
        if (before + units - least > bound) {
            return false;
        }
    }
    return true;
}

/* What holds in every run: the bound, and in the long run never more than one bucket for all may admit. */
static void run_within_the_bound(const struct setting *setting)
{
    run(setting);
    assert_true(fleet.requests > 0 && fleet.admitted > 0);
    assert_true(no_window_has_too_many());
    assert_true(fleet.admitted <= setting->burst + setting->rate * setting->seconds);
    if (setting->left_out != NO_SHARE && setting->lost_pct == 0) {
        assert_in_range(fleet.held_max, 0, share_of(setting));
    }
}

static struct setting usual(uint32_t count, uint64_t demand, bool skewed)
{
    return (struct setting){
        .fleet = count, .rate = 1000, .burst = 200, .demand = demand, .skewed = skewed, .way_us = 200, .seconds = 10};
}

static const uint32_t fleets[] = {1, 2, 8, 32};

static void test_no_window_of_any_fleet_has_too_many(void **state)
{
    static const uint64_t demands[] = {900, 1000, 3000, 20000};
    static const uint64_t ways_us[] = {1, 200, 5000, 60000}; /* two of the last and the answer is late half the time */

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(fleets) * ARRAY_COUNT(demands) * ARRAY_COUNT(ways_us) * 4; i++) {
        struct setting setting = usual(fleets[i % 4], demands[i / 4 % 4], i / 64 % 2 == 1);

        setting.way_us = ways_us[i / 16 % 4];
        setting.lost_pct = i / 128 % 2 == 1 ? 10 : 0;
        setting.seconds = 3;
        run_within_the_bound(&setting);
    }
}

static void test_no_refusal_is_false_at_ninety_per_cent(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(fleets) * 2; i++) {
        struct setting setting = usual(fleets[i / 2], 900, i % 2 == 1);

        setting.seconds = 60;
        run_within_the_bound(&setting);
        assert_int_equal(fleet.refused, 0);
        assert_true(fleet.requests - fleet.admitted <= fleet.setting.fleet); /* they wait still */
    }
    static const struct setting others[] = {
        {.fleet = 8, .rate = 10000, .burst = 2000, .demand = 9000, .way_us = 200, .seconds = 20},
        {.fleet = 8, .rate = 100, .burst = 200, .demand = 90, .way_us = 200, .seconds = 600},
        {.fleet = 8, .rate = 1000, .burst = 200, .demand = 900, .roams_us = 100000, .way_us = 200, .seconds = 60},
    };
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        run_within_the_bound(&others[i]);
        assert_int_equal(fleet.refused, 0);
    }
}

static void test_under_three_times_the_limit_nearly_all_of_it_is_used(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(fleets) * 2; i++) {
        struct setting setting = usual(fleets[i / 2], 3000, i % 2 == 1);

        run_within_the_bound(&setting);
        assert_true(fleet.admitted * 1000 >= fleet.exact_admitted * 990);
    }
}

/* Trips for a thousand admitted: measured, and a tenth more. */
static void test_trips_to_the_store_are_few(void **state)
{
    static const struct {
        struct setting setting;
        uint64_t trips_max;
    } rows[] = {
        {{.fleet = 1, .rate = 1000, .burst = 200, .demand = 900}, 28},
        {{.fleet = 2, .rate = 1000, .burst = 200, .demand = 900}, 53},
        {{.fleet = 2, .rate = 1000, .burst = 200, .demand = 900, .skewed = true}, 54},
        {{.fleet = 8, .rate = 1000, .burst = 200, .demand = 900}, 215},
        {{.fleet = 8, .rate = 1000, .burst = 200, .demand = 900, .skewed = true}, 200},
        {{.fleet = 8, .rate = 10000, .burst = 2000, .demand = 9000}, 21},
        {{.fleet = 8, .rate = 100, .burst = 200, .demand = 90}, 1000},
        {{.fleet = 2, .rate = 1000, .burst = 200, .demand = 3000}, 370},
        {{.fleet = 8, .rate = 1000, .burst = 200, .demand = 3000}, 840},
        {{.fleet = 8, .rate = 1000, .burst = 200, .demand = 3000, .skewed = true}, 430},
        /* However many are refused: what the fleet asks in vain is bounded by the time, not by the demand. */
        {{.fleet = 8, .rate = 1000, .burst = 200, .demand = 30000}, 1000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct setting setting = rows[i].setting;

        setting.way_us = 200;
        setting.seconds = 10;
        run_within_the_bound(&setting);
        if (fleet.trips * 1000 > fleet.admitted * rows[i].trips_max) {
            fail_msg("row %zu: %" PRIu64 " trips for %" PRIu64 " admitted", i, fleet.trips, fleet.admitted);
        }
    }
}

/* All come to one weir, then to the next: what each holds is lost to the others for a while. */
static void test_without_its_share_a_weir_starves_the_others(void **state)
{
    struct setting setting = {
        .fleet = 8, .rate = 1000, .burst = 200, .demand = 900, .roams_us = 100000, .way_us = 200, .seconds = 60};

    (void)state;
    run_within_the_bound(&setting);
    assert_int_equal(fleet.refused, 0);
    setting.left_out = NO_SHARE;
    run_within_the_bound(&setting); /* the bound needs no share */
    assert_true(fleet.exact_admitted == fleet.requests);
    assert_true(fleet.refused * 100 > fleet.requests); /* one in a hundred, falsely */
}

static void test_without_a_rest_the_refused_ask_in_vain(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(fleets) * 2; i++) {
        struct setting setting = usual(fleets[i / 2], 3000, i % 2 == 1);

        run_within_the_bound(&setting);
        uint64_t trips = fleet.trips;
        setting.left_out = NO_REST;
        run_within_the_bound(&setting);
        assert_true(fleet.trips > trips * 2);
        assert_true(fleet.trips > fleet.admitted);
    }
}

/* A share smaller than what comes in one trip: those who wait are no share. */
static void test_a_small_share_holds_no_busy_weir_back(void **state)
{
    struct setting setting = {
        .fleet = 16, .rate = 5000, .burst = 50, .demand = 4500, .skewed = true, .way_us = 200, .seconds = 10};

    (void)state;
    run_within_the_bound(&setting);
    assert_int_equal(fleet.refused, 0);
    assert_true(fleet.requests - fleet.admitted < 20); /* they wait still */
    assert_true(fleet.trips < fleet.admitted);
}

/* The bound is met to the token: what was prepaid LEASE_US ago is used with all that the bucket has by now. */
static void test_the_bound_is_met_to_the_token(void **state)
{
    struct limit_rate rate = rate_of(100, SECOND_US, 200);
    struct limit_bucket bucket = {0};
    struct limit_told told;
    struct lease leases[8] = {0};
    uint64_t now_us = START_US;
    uint64_t admitted = 0;

    (void)state;
    for (int i = 0; i < 8; i++) {
        uint64_t granted = limit_prepay(&bucket, &rate, 12, now_us, &told);
        lease_told(&leases[i], &rate, 8, now_us, granted, &told, 0, now_us);
    }
    now_us += LEASE_US - 1;
    for (int i = 0; i < 8; i++) {
        for (; lease_look(&leases[i], now_us) == LEASE_HAS; admitted++) {
            lease_use(&leases[i], now_us);
        }
    }
    admitted += limit_prepay(&bucket, &rate, UINT64_MAX, now_us, &told);
    assert_int_equal(admitted, 200 + 100 * LEASE_US / SECOND_US - 1); /* for the microsecond that is missing */
}

/* ---- one lease ---- */

/* A thousand a second: of a burst of 200, four weirs may hold 25 each. */
static const struct limit_rate rate = {.units = 1000, .drain = 1, .burst = 200};
#define FLEET 4u
static const struct limit_told some = {.fits = true, .remaining = 70, .reset_us = 130000};

static void grant(struct lease *lease, uint64_t tokens, uint64_t sent_us, uint64_t now_us)
{
    lease_asked(lease);
    lease_told(lease, &rate, FLEET, sent_us, tokens, &some, 0, now_us);
}

static void refuse(struct lease *lease, uint64_t wait_us, uint64_t random, uint64_t now_us)
{
    const struct limit_told told = {.wait_us = wait_us, .reset_us = 200000};

    lease_asked(lease);
    lease_told(lease, &rate, FLEET, now_us - 10, 0, &told, random, now_us);
}

static void test_what_is_not_known_is_asked(void **state)
{
    struct lease lease = {0};

    (void)state;
    assert_int_equal(lease_look(&lease, 0), LEASE_ASK);
    assert_int_equal(lease_look(&lease, START_US), LEASE_ASK);
    assert_int_equal(lease_remaining(&lease, START_US), 0);
    assert_false(lease_runs_low(&lease, START_US, 500));
    lease_asked(&lease);
    assert_true(lease.asking);
    assert_int_equal(lease_look(&lease, START_US), LEASE_ASK);
    lease_lost(&lease);
    assert_false(lease.asking);
    assert_int_equal(lease_look(&lease, START_US), LEASE_ASK);
}

static void test_tokens_are_used_up(void **state)
{
    struct lease lease = {0};

    (void)state;
    grant(&lease, 3, START_US, START_US + 400);
    assert_false(lease.asking);
    for (uint64_t left = 3; left > 0; left--) {
        assert_int_equal(lease_look(&lease, START_US + 500), LEASE_HAS);
        assert_int_equal(lease_remaining(&lease, START_US + 500), left + 70);
        lease_use(&lease, START_US + 500);
    }
    assert_int_equal(lease_look(&lease, START_US + 500), LEASE_ASK);
    assert_int_equal(lease_remaining(&lease, START_US + 500), 70);
    assert_int_equal(lease.reset_at_us, START_US + 400 + 130000);
}

static void test_tokens_expire_after_the_moment_of_asking(void **state)
{
    struct lease lease = {0};

    (void)state;
    grant(&lease, 3, START_US, START_US + 150000);
    assert_int_equal(lease_look(&lease, START_US + LEASE_US - 1), LEASE_HAS);
    assert_int_equal(lease_look(&lease, START_US + LEASE_US), LEASE_ASK);
    assert_int_equal(lease_remaining(&lease, START_US + LEASE_US), 70);
    lease_use(&lease, START_US + LEASE_US - 1);
    lease_note(&lease, START_US + LEASE_US);
    assert_int_equal(lease.tokens[0], 0);
}

static void test_an_answer_that_is_too_late_is_of_no_use(void **state)
{
    struct lease lease = {0};

    (void)state;
    grant(&lease, 3, START_US, START_US + LEASE_US);
    assert_int_equal(lease_look(&lease, START_US + LEASE_US), LEASE_ASK);
    assert_int_equal(lease.tokens[0] + lease.tokens[1], 0);
    grant(&lease, 3, START_US, START_US + LEASE_US - 1);
    assert_int_equal(lease_look(&lease, START_US + LEASE_US - 1), LEASE_HAS);
}

static void test_the_older_run_is_used_first(void **state)
{
    struct lease lease = {0};

    (void)state;
    grant(&lease, 2, START_US, START_US);
    grant(&lease, 3, START_US + 1000, START_US + 1000);
    lease_use(&lease, START_US + 2000);
    assert_int_equal(lease.tokens[0], 1);
    assert_int_equal(lease.tokens[1], 3);
    assert_int_equal(lease_remaining(&lease, START_US + LEASE_US - 1), 4 + 70);
    assert_int_equal(lease_remaining(&lease, START_US + LEASE_US), 3 + 70); /* the older expired */
    assert_int_equal(lease_look(&lease, START_US + LEASE_US), LEASE_HAS);
    lease_use(&lease, START_US + LEASE_US);
    assert_int_equal(lease.tokens[0], 2);
    assert_int_equal(lease.expires_us[0], START_US + 1000 + LEASE_US);
    assert_int_equal(lease_look(&lease, START_US + LEASE_US + 1000), LEASE_ASK);
}

static void test_a_third_run_shortens_the_second(void **state)
{
    struct lease lease = {0};

    (void)state;
    for (uint64_t i = 0; i < 3; i++) {
        grant(&lease, 2, START_US + i * 1000, START_US + i * 1000);
    }
    assert_int_equal(lease_remaining(&lease, START_US + LEASE_US - 1), 6 + 70);
    assert_int_equal(lease_remaining(&lease, START_US + LEASE_US), 2 + 70);
    assert_int_equal(lease_remaining(&lease, START_US + 2000 + LEASE_US - 1), 2 + 70);
    assert_int_equal(lease_remaining(&lease, START_US + 2000 + LEASE_US), 70);
}

static void test_the_refused_rest_for_the_turn_of_the_fleet(void **state)
{
    static const struct {
        struct limit_rate rate;
        uint32_t fleet;
        uint64_t turn_us;
    } rows[] = {
        {{.units = 1000, .drain = 1, .burst = 1}, 40, 40000},
        {{.units = 1000, .drain = 1, .burst = 1}, 20, 20000},
        {{.units = 1000, .drain = 1, .burst = 1}, 1, 20000}, /* the least */
        {{.units = 7, .drain = 300001, .burst = 1}, 1, 20000},
        {{.units = 1000, .drain = 1, .burst = 1}, 250, 250000},
        {{.units = 1000, .drain = 1, .burst = 1}, 251, 250000}, /* the most */
        {{.units = 100001, .drain = 2, .burst = 1}, 3, 150001},
        {{.units = 249999, .drain = 1, .burst = 1}, UINT32_MAX, 250000},
        {{.units = 250000, .drain = 1, .burst = 1}, 1, 250000},
        {{.units = LIMIT_NUMBER_MAX / 2 - 1, .drain = 1, .burst = 1}, UINT32_MAX, 250000},
        {{.units = LIMIT_NUMBER_MAX / 2 - 1, .drain = LIMIT_NUMBER_MAX / 8, .burst = 1}, UINT32_MAX, 250000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t turn_us = rows[i].turn_us;
        uint64_t least = UINT64_MAX, most = 0;

        for (uint64_t random = 0; random < 3000; random++) {
            const struct limit_told told = {.wait_us = 1};
            struct lease lease = {0};

            lease_told(&lease, &rows[i].rate, rows[i].fleet, START_US, 0, &told,
                       random == 0 ? turn_us : random_next(&seed), START_US);
            uint64_t rest_us = lease.denied_until_us - START_US;
            least = rest_us < least ? rest_us : least;
            most = rest_us > most ? rest_us : most;
        }
        assert_in_range(least, turn_us / 2, turn_us / 2 + turn_us / 100);
        assert_int_equal(most, turn_us / 2 + turn_us);
    }
}

static void test_a_refusal_is_cached_to_the_microsecond(void **state)
{
    struct lease lease = {0};

    (void)state;
    refuse(&lease, 777000, 5, START_US);
    assert_int_equal(lease_look(&lease, START_US), LEASE_DENIED);
    assert_int_equal(lease_look(&lease, START_US + 777000 - 1), LEASE_DENIED);
    assert_int_equal(lease_look(&lease, START_US + 777000), LEASE_ASK);
    assert_int_equal(lease.refused_until_us, START_US + 777000);
    assert_int_equal(lease_remaining(&lease, START_US), 0);
    refuse(&lease, 1, 5, START_US); /* the rest is longer, Retry-After is not */
    assert_int_equal(lease.refused_until_us, START_US + 1);
    assert_int_equal(lease_look(&lease, START_US + 10004), LEASE_DENIED);
    assert_int_equal(lease_look(&lease, START_US + 10005), LEASE_ASK);
    refuse(&lease, LIMIT_NEVER, 5, START_US);
    assert_int_equal(lease.refused_until_us, UINT64_MAX);
}

/* Begin brings news of the bucket along: what is told goes by it, what is in hand stays. */
static void test_what_another_question_heard_is_known(void **state)
{
    const struct limit_told told = {.remaining = 7, .reset_us = 500};
    struct lease lease = {0};

    (void)state;
    grant(&lease, 2, START_US, START_US);
    lease_hear(&lease, &told, START_US);
    assert_int_equal(lease_remaining(&lease, START_US), 9);
    assert_int_equal(lease.reset_at_us, START_US + 500);
    assert_int_equal(lease_look(&lease, START_US), LEASE_HAS);
    lease_hear(&lease, &(struct limit_told){.reset_us = UINT64_MAX}, START_US);
    assert_int_equal(lease.reset_at_us, UINT64_MAX);
}

/* What the store said an hour ago may have been another limit, or another store. */
static void test_a_refusal_is_not_remembered_for_long(void **state)
{
    struct lease lease = {0};

    (void)state;
    refuse(&lease, 3600 * UINT64_C(1000000), 5, START_US);
    assert_int_equal(lease.refused_until_us, START_US + 3600 * UINT64_C(1000000)); /* but told whole */
    assert_int_equal(lease_look(&lease, START_US + LEASE_DENIED_MAX_US - 1), LEASE_DENIED);
    assert_int_equal(lease_look(&lease, START_US + LEASE_DENIED_MAX_US), LEASE_ASK);
}

static void test_a_token_in_hand_wins_over_a_refusal(void **state)
{
    struct lease lease = {0};

    (void)state;
    grant(&lease, 1, START_US, START_US);
    refuse(&lease, 1000000, 0, START_US);
    assert_int_equal(lease_look(&lease, START_US), LEASE_HAS);
    assert_false(lease_runs_low(&lease, START_US, 500));
    lease_use(&lease, START_US);
    assert_int_equal(lease_look(&lease, START_US), LEASE_DENIED);
    grant(&lease, 1, START_US, START_US + LEASE_US); /* late, but the store has tokens */
    assert_int_equal(lease_look(&lease, START_US + LEASE_US), LEASE_ASK);
    assert_int_equal(lease.refused_until_us, 0);
}

/* ---- demand ---- */

static void note_every(struct lease *lease, uint64_t gap_us, uint64_t at_once, uint64_t *now_us)
{
    for (uint64_t noted = 0; noted < 100 * at_once * (gap_us < 10000 ? 10000 / gap_us : 1); noted++) {
        *now_us += noted % at_once == 0 ? gap_us * at_once : 0;
        lease_note(lease, *now_us);
    }
}

static void test_demand_is_what_comes(void **state)
{
    static const uint64_t gaps_us[] = {1, 10, 1000, 1111, 50000, 1000000, 60000000};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(gaps_us); i++) {
        struct lease lease = {0};
        uint64_t now_us = START_US;
        uint64_t expected = 1000 * SECOND_US / gaps_us[i];

        note_every(&lease, gaps_us[i], 1, &now_us);
        assert_in_range(lease.demand, expected - expected / 100 - 1, expected + expected / 100 + 1);
        note_every(&lease, gaps_us[i] * 7, 1, &now_us); /* follows */
        assert_in_range(lease.demand, expected / 7 - expected / 100 - 1, expected / 7 + expected / 100 + 1);
    }
}

/* As a loop sees them: many at one time. */
static void test_demand_counts_all_that_come_at_one_time(void **state)
{
    struct lease lease = {0};
    uint64_t now_us = START_US;

    (void)state;
    note_every(&lease, 100, 20, &now_us); /* 20 every 2 ms */
    assert_in_range(lease.demand, 9900000, 10300000);
}

static void test_demand_is_forgotten_in_silence(void **state)
{
    struct lease lease = {0};
    uint64_t now_us = START_US;

    (void)state;
    note_every(&lease, 100, 1, &now_us);
    assert_true(lease.demand > 9000000);
    lease_note(&lease, now_us - SECOND_US); /* a clock that steps back is no silence */
    assert_true(lease.demand > 9000000);
    lease_note(&lease, now_us + 3600 * SECOND_US);
    assert_true(lease.demand < 1000);
}

static void test_demand_takes_any_clock(void **state)
{
    static const uint64_t clocks_us[] = {0, UINT64_MAX, 1, START_US, 0, UINT64_MAX, UINT64_MAX};
    struct lease lease = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(clocks_us); i++) {
        lease_note(&lease, clocks_us[i]);
        assert_int_equal(lease.demanded_us, clocks_us[i]);
        assert_true(lease.demand < 50000);
    }
    lease.demand = UINT64_C(1000000000000) - 1; /* the most that is counted */
    lease_note(&lease, UINT64_MAX);
    assert_int_equal(lease.demand, UINT64_C(1000000000000));
    lease_note(&lease, UINT64_MAX);
    assert_int_equal(lease.demand, UINT64_C(1000000000000));
}

static struct lease demanding(uint64_t tokens_per_second)
{
    return (struct lease){.demand = tokens_per_second * 1000, .demanded_us = START_US};
}

static void test_so_many_are_asked_for(void **state)
{
    static const struct {
        uint64_t demand;
        uint32_t fleet, waiting;
        uint64_t want;
    } rows[] = {
        {0, 1, 1, 1},
        {0, 1, 0, 1},
        {19, 1, 1, 1}, /* fewer than four in LEASE_US */
        {39, 1, 1, 1},
        {40, 1, 1, 2},
        {500, 1, 1, 25},
        {1250, 1, 1, 62},
        {1000000000, 1, 1, 62}, /* no faster than the limit and a quarter */
        {1000000000, 2, 1, 50}, /* burst / (2 * fleet) */
        {1000000000, 100, 1, 1},
        {1000000000, 101, 1, 1},
        {1000000000, UINT32_MAX, 1, 1},
        {1000000000, UINT32_C(1) << 31, 1, 1},
        {500, 1, 26, 26}, /* who waits holds nothing */
        {500, 100, 26, 26},
        {0, 1, UINT32_MAX, UINT32_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct lease lease = demanding(rows[i].demand);
        assert_int_equal(lease_want(&lease, &rate, rows[i].fleet, rows[i].waiting), rows[i].want);
    }
}

static void test_what_is_in_hand_is_part_of_the_share(void **state)
{
    struct lease lease = demanding(100000);

    (void)state;
    assert_int_equal(lease_want(&lease, &rate, FLEET, 0), 25);
    grant(&lease, 10, START_US, START_US);
    assert_int_equal(lease_want(&lease, &rate, FLEET, 0), 15);
    grant(&lease, 14, START_US + 1, START_US + 1);
    assert_int_equal(lease_want(&lease, &rate, FLEET, 0), 1);
    grant(&lease, 1000, START_US + 2, START_US + 2);
    assert_int_equal(lease_want(&lease, &rate, FLEET, 0), 1);
    lease_note(&lease, START_US + LEASE_US + 1); /* all but the last run expired */
    lease.demand = 100000000;
    assert_int_equal(lease_want(&lease, &rate, FLEET, 0), 1);
    lease_note(&lease, START_US + LEASE_US + 2);
    lease.demand = 100000000;
    assert_int_equal(lease_want(&lease, &rate, FLEET, 0), 25);
}

static void test_rates_are_compared_as_demand(void **state)
{
    static const struct {
        struct limit_rate rate;
        uint64_t want; /* at any demand */
    } rows[] = {
        {{.units = 1000, .drain = 3, .burst = 1000000}, 187}, /* 3000 a second: 187.5 */
        {{.units = 3, .drain = 1, .burst = 1000000}, 20833},  /* in microseconds */
        {{.units = 1, .drain = 7, .burst = 100000000}, 437500},
        {{.units = 7, .drain = 7000, .burst = 100000000}, 50000000},                  /* the most that is counted */
        {{.units = 1, .drain = UINT64_C(18446744074), .burst = 100000000}, 50000000}, /* a little over 2^64 a second */
        {{.units = 7, .drain = LIMIT_NUMBER_MAX - 1, .burst = 100000000}, 50000000},
        {{.units = UINT64_C(86400000000), .drain = 7, .burst = 52000}, 1},
        {{.units = LIMIT_NUMBER_MAX / 2 - 1, .drain = LIMIT_NUMBER_MAX / 2 - 2, .burst = 1}, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct lease lease = demanding(1000000000);
        assert_int_equal(lease_want(&lease, &rows[i].rate, 1, 0), rows[i].want);
    }
}

static void test_the_next_run_is_asked_for_before_this_one_is_used_up(void **state)
{
    struct lease lease = demanding(1000);

    (void)state;
    grant(&lease, 25, START_US, START_US);
    assert_int_equal(lease.low_max, 12);
    for (uint64_t left = 25; left > 4; left--) {
        assert_false(lease_runs_low(&lease, START_US, 1000)); /* in four trips four are used */
        lease_use(&lease, START_US);
    }
    assert_true(lease_runs_low(&lease, START_US, 1000));
    assert_false(lease_runs_low(&lease, START_US, 999));
    lease_asked(&lease);
    assert_false(lease_runs_low(&lease, START_US, 1000));
    lease_lost(&lease);
    assert_true(lease_runs_low(&lease, START_US, 1000));
    assert_true(lease_runs_low(&lease, START_US + LEASE_US, 1000)); /* there are none */
    lease_use(&lease, START_US);
    lease_use(&lease, START_US);
    assert_false(lease_runs_low(&lease, START_US, 0));
    lease_use(&lease, START_US);
    assert_true(lease_runs_low(&lease, START_US, 0)); /* one is always low */
}

static void test_half_a_share_in_hand_is_never_low(void **state)
{
    struct lease lease = demanding(1000000);

    (void)state;
    grant(&lease, 13, START_US, START_US);
    assert_false(lease_runs_low(&lease, START_US, UINT64_MAX));
    lease_use(&lease, START_US);
    assert_true(lease_runs_low(&lease, START_US, UINT64_MAX));
    assert_true(lease_runs_low(&lease, START_US, UINT64_C(1) << 62));
    assert_in_range(lease_want(&lease, &rate, FLEET, 0), 1, 13);
}

static void test_single_tokens_are_not_asked_for_ahead(void **state)
{
    struct lease slow = demanding(39);
    struct lease small = demanding(1000);

    (void)state;
    grant(&slow, 1, START_US, START_US);
    assert_false(lease_runs_low(&slow, START_US, LEASE_US));
    lease_told(&small, &rate, 100, START_US, 1, &some, 0, START_US); /* its share is one */
    assert_false(lease_runs_low(&small, START_US, LEASE_US));
    lease_told(&small, &rate, 50, START_US, 1, &some, 0, START_US); /* two */
    lease_use(&small, START_US);
    assert_true(lease_runs_low(&small, START_US, LEASE_US));
}

static void use_of_nothing(void)
{
    struct lease lease = {.tokens = {1, 1}, .expires_us = {5, 6}};

    lease_use(&lease, 6);
}

static void want_of_no_fleet(void)
{
    struct lease lease = {0};

    (void)lease_want(&lease, &rate, 0, 1);
}

static void answer_of_no_fleet(void)
{
    struct lease lease = {0};

    lease_told(&lease, &rate, 0, 0, 1, &some, 0, 0);
}

static void test_what_no_caller_may_do_is_a_bug(void **state)
{
    (void)state;
    assert_true(aborts(use_of_nothing));
    assert_true(aborts(want_of_no_fleet));
    assert_true(aborts(answer_of_no_fleet));
}

/* ---- patience ---- */

static void test_a_run_of_failures_is_enough(void **state)
{
    struct lease_patience patience = {0};

    (void)state;
    for (unsigned i = 1; i < LEASE_PATIENCE_RUN; i++) {
        assert_false(lease_heard(&patience, false, START_US));
    }
    assert_false(lease_heard(&patience, true, START_US)); /* an answer between ends the run */
    for (unsigned i = 1; i < LEASE_PATIENCE_RUN; i++) {
        assert_false(lease_heard(&patience, false, START_US));
        assert_true(lease_may_wait(&patience));
    }
    assert_true(lease_heard(&patience, false, START_US + 10 * SECOND_US)); /* however long it took */
    assert_false(lease_may_wait(&patience));
}

/* `failures` of `asked`, alternating as far as they do: whether it is away after the last and not before. */
static bool is_away_after(struct lease_patience *patience, uint32_t asked, uint32_t answered, uint64_t now_us)
{
    bool changed = false;

    for (uint32_t i = 0; i < asked; i++) {
        assert_false(changed);
        changed = lease_heard(patience, i % 2 == 0 && i / 2 < answered, now_us);
    }
    assert_int_equal(changed, patience->away);
    return changed;
}

static void test_half_of_a_second_is_enough(void **state)
{
    struct lease_patience patience = {0};

    (void)state;
    assert_false(is_away_after(&patience, LEASE_PATIENCE_MIN - 1, LEASE_PATIENCE_MIN, START_US));
    assert_true(lease_heard(&patience, false, START_US + SECOND_US - 1)); /* the twentieth, half of them failed */

    patience = (struct lease_patience){0};
    assert_false(is_away_after(&patience, LEASE_PATIENCE_MIN - 1, LEASE_PATIENCE_MIN, START_US));
    assert_false(lease_heard(&patience, false, START_US + SECOND_US)); /* in the next second it is the first */
    assert_false(lease_heard(&patience, true, START_US));              /* a clock that steps back begins anew */
    assert_int_equal(patience.asked, 1);

    patience = (struct lease_patience){0}; /* nine of twenty each second */
    for (uint64_t second = 0; second < 3; second++) {
        uint64_t now_us = START_US + second * SECOND_US;
        assert_false(lease_heard(&patience, true, now_us));
        assert_false(is_away_after(&patience, LEASE_PATIENCE_MIN - 1, LEASE_PATIENCE_MIN, now_us));
    }

    patience = (struct lease_patience){0};
    for (int i = 0; i < 999; i++) { /* a third of them */
        assert_false(lease_heard(&patience, i % 3 != 0, START_US));
    }
}

static void make_away(struct lease_patience *patience, uint64_t now_us)
{
    *patience = (struct lease_patience){0};
    for (unsigned i = 0; i < LEASE_PATIENCE_RUN; i++) {
        (void)lease_heard(patience, false, now_us);
    }
    assert_true(patience->away);
}

static void test_a_store_that_is_away_is_asked_now_and_then(void **state)
{
    struct lease_patience patience;
    uint64_t now_us = START_US;
    uint64_t least = UINT64_MAX, most = 0;

    (void)state;
    make_away(&patience, START_US);
    assert_false(lease_may_probe(&patience, 0, START_US + LEASE_PROBE_US - 1));
    assert_true(lease_may_probe(&patience, 0, now_us += LEASE_PROBE_US));
    for (int i = 0; i < 3000; i++) {
        assert_false(lease_may_probe(&patience, random_next(&seed), now_us)); /* once */
        assert_false(lease_heard(&patience, false, now_us));
        assert_true(patience.away);
        uint64_t gap_us = patience.probe_us - now_us;
        least = gap_us < least ? gap_us : least;
        most = gap_us > most ? gap_us : most;
        assert_false(lease_may_probe(&patience, random_next(&seed), patience.probe_us - 1));
        now_us = patience.probe_us;
        assert_true(lease_may_probe(&patience, i == 0 ? LEASE_PROBE_US * 2 / 5 : random_next(&seed), now_us));
    }
    assert_int_equal(least, LEASE_PROBE_US * 4 / 5);
    assert_int_equal(most, LEASE_PROBE_US * 6 / 5);
}

static void test_an_answer_brings_it_back(void **state)
{
    struct lease_patience patience;

    (void)state;
    make_away(&patience, START_US);
    assert_true(lease_may_probe(&patience, 0, START_US + LEASE_PROBE_US));
    assert_true(lease_heard(&patience, true, START_US + LEASE_PROBE_US + 1));
    assert_true(lease_may_wait(&patience));
    assert_false(lease_may_probe(&patience, 0, START_US + 100 * SECOND_US));
    for (unsigned i = 1; i < LEASE_PATIENCE_RUN; i++) { /* what was before counts no more */
        assert_false(lease_heard(&patience, false, START_US + LEASE_PROBE_US + 2));
    }
    assert_true(lease_heard(&patience, false, START_US + LEASE_PROBE_US + 2));
}

static void test_the_half_that_failed_before_counts_no_more(void **state)
{
    struct lease_patience patience = {0};

    (void)state;
    assert_true(is_away_after(&patience, LEASE_PATIENCE_MIN, LEASE_PATIENCE_MIN, START_US));
    assert_true(lease_heard(&patience, true, START_US + LEASE_PROBE_US));
    assert_false(lease_heard(&patience, false, START_US + LEASE_PROBE_US));
    assert_true(lease_may_wait(&patience));
}

static void test_a_store_that_was_never_asked_is_not_away(void **state)
{
    struct lease_patience patience = {0};

    (void)state;
    assert_true(lease_may_wait(&patience));
    assert_false(lease_may_probe(&patience, 0, 0));
    assert_false(lease_may_probe(&patience, 0, UINT64_MAX));
    make_away(&patience, UINT64_MAX);
    assert_true(lease_may_probe(&patience, UINT64_MAX, UINT64_MAX));
    assert_true(patience.probe_us == UINT64_MAX);
}

/* ---- anything at all ---- */

static uint64_t any_number(void)
{
    return below(4) == 0 ? UINT64_MAX - below(3) : random_next(&seed) >> below(64);
}

static struct lease any_lease(void)
{
    struct lease lease = {
        .tokens = {any_number(), any_number()},
        .expires_us = {any_number(), any_number()},
        .denied_until_us = any_number(),
        .demand = below(UINT64_C(1000000000000) + 1),
        .demanded_us = any_number(),
        .remaining = any_number(),
        .low_max = any_number(),
    };
    return lease;
}

static void test_no_number_is_out_of_range(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        struct lease lease = any_lease();
        struct limit_rate any = {.units = below(LIMIT_NUMBER_MAX / 2 - 1) >> below(52),
                                 .drain = random_next(&seed) >> (11 + below(53))};
        struct limit_told told = {below(2) == 0, any_number(), any_number(), any_number()};
        uint32_t count = (uint32_t)any_number() | 1;

        any.units += any.units == 0;
        any.drain += any.drain == 0;
        any.burst = 1 + below((LIMIT_NUMBER_MAX / 2 - 1) / any.units);
        uint64_t now_us = any_number();
        (void)lease_remaining(&lease, now_us);
        (void)lease_runs_low(&lease, now_us, any_number());
        lease_note(&lease, now_us);
        uint32_t waiting = (uint32_t)any_number();
        uint64_t want = lease_want(&lease, &any, count, waiting);
        assert_true(want >= 1 && want >= waiting && want <= (waiting > any.burst ? waiting : any.burst));
        if (lease_look(&lease, now_us) == LEASE_HAS) {
            lease_use(&lease, now_us);
        }
        lease_told(&lease, &any, count, any_number(), below(2) * any_number(), &told, random_next(&seed), now_us);
        assert_true(lease.low_max <= any.burst);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_window_of_any_fleet_has_too_many),
        cmocka_unit_test(test_no_refusal_is_false_at_ninety_per_cent),
        cmocka_unit_test(test_under_three_times_the_limit_nearly_all_of_it_is_used),
        cmocka_unit_test(test_trips_to_the_store_are_few),
        cmocka_unit_test(test_without_its_share_a_weir_starves_the_others),
        cmocka_unit_test(test_without_a_rest_the_refused_ask_in_vain),
        cmocka_unit_test(test_a_small_share_holds_no_busy_weir_back),
        cmocka_unit_test(test_the_bound_is_met_to_the_token),
        cmocka_unit_test(test_what_is_not_known_is_asked),
        cmocka_unit_test(test_tokens_are_used_up),
        cmocka_unit_test(test_tokens_expire_after_the_moment_of_asking),
        cmocka_unit_test(test_an_answer_that_is_too_late_is_of_no_use),
        cmocka_unit_test(test_the_older_run_is_used_first),
        cmocka_unit_test(test_a_third_run_shortens_the_second),
        cmocka_unit_test(test_the_refused_rest_for_the_turn_of_the_fleet),
        cmocka_unit_test(test_a_refusal_is_cached_to_the_microsecond),
        cmocka_unit_test(test_a_refusal_is_not_remembered_for_long),
        cmocka_unit_test(test_what_another_question_heard_is_known),
        cmocka_unit_test(test_a_token_in_hand_wins_over_a_refusal),
        cmocka_unit_test(test_demand_is_what_comes),
        cmocka_unit_test(test_demand_counts_all_that_come_at_one_time),
        cmocka_unit_test(test_demand_is_forgotten_in_silence),
        cmocka_unit_test(test_demand_takes_any_clock),
        cmocka_unit_test(test_so_many_are_asked_for),
        cmocka_unit_test(test_what_is_in_hand_is_part_of_the_share),
        cmocka_unit_test(test_rates_are_compared_as_demand),
        cmocka_unit_test(test_the_next_run_is_asked_for_before_this_one_is_used_up),
        cmocka_unit_test(test_half_a_share_in_hand_is_never_low),
        cmocka_unit_test(test_single_tokens_are_not_asked_for_ahead),
        cmocka_unit_test(test_what_no_caller_may_do_is_a_bug),
        cmocka_unit_test(test_a_run_of_failures_is_enough),
        cmocka_unit_test(test_half_of_a_second_is_enough),
        cmocka_unit_test(test_a_store_that_is_away_is_asked_now_and_then),
        cmocka_unit_test(test_an_answer_brings_it_back),
        cmocka_unit_test(test_the_half_that_failed_before_counts_no_more),
        cmocka_unit_test(test_a_store_that_was_never_asked_is_not_away),
        cmocka_unit_test(test_no_number_is_out_of_range),
    };
    return cmocka_run_group_tests_name("policy/lease", tests, setup, NULL);
}
