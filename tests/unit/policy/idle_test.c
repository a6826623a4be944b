/* The learnt idle limit: what closings, Keep-Alive and time do to it. */
#include "base/unit.h"

#include "weir/policy/idle.h"

#define SECOND UINT64_C(1000000)
#define MINUTE (60 * SECOND)
#define START SECOND /* the clock is never 0 */
#define MAX (55 * SECOND)

static void test_it_begins_below_what_servers_have_by_default(void **state)
{
    struct idle_limit limit = {0}, lower = {0};

    (void)state;
    assert_int_equal(idle_limit_us(&limit, MAX, START), IDLE_START_US);
    assert_int_equal(idle_limit_us(&lower, SECOND, START), SECOND);
}

static void test_a_closing_lowers_it_below_the_age_of_that_link(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    idle_limit_closed(&limit, 2 * SECOND, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), 3 * SECOND / 2);
    idle_limit_closed(&limit, 50 * SECOND, START); /* an older one says nothing */
    assert_int_equal(idle_limit_us(&limit, MAX, START), 3 * SECOND / 2);
}

static void test_it_never_falls_below_its_least(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    idle_limit_closed(&limit, 0, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), IDLE_MIN_US);
    idle_limit_told(&limit, 0, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), IDLE_MIN_US);
}

static void test_it_grows_by_a_tenth_a_minute_up_to_its_bound(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    assert_int_equal(idle_limit_us(&limit, MAX, START), 4 * SECOND);
    assert_int_equal(idle_limit_us(&limit, MAX, START + MINUTE - 1), 4 * SECOND);
    assert_int_equal(idle_limit_us(&limit, MAX, START + MINUTE), 4400000);
    assert_int_equal(idle_limit_us(&limit, MAX, START + 2 * MINUTE), 4840000);
    assert_int_equal(idle_limit_us(&limit, MAX, START + 24 * 60 * MINUTE), MAX);
    assert_int_equal(idle_limit_us(&limit, MAX, UINT64_MAX), MAX);
}

static void test_at_its_bound_it_saves_no_time_up(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    assert_int_equal(idle_limit_us(&limit, 4 * SECOND, START), 4 * SECOND);
    assert_int_equal(idle_limit_us(&limit, 4 * SECOND, START + 100 * MINUTE), 4 * SECOND);
    assert_int_equal(idle_limit_us(&limit, MAX, START + 100 * MINUTE), 4 * SECOND);
}

static void test_what_keep_alive_says_is_taken_with_a_margin(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    idle_limit_told(&limit, 20, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), 19 * SECOND);
    assert_int_equal(idle_limit_us(&limit, MAX, START + 100 * MINUTE), 19 * SECOND); /* time adds nothing to it */
    idle_limit_told(&limit, 2, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), SECOND);
    idle_limit_told(&limit, 1, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), SECOND / 2);
    idle_limit_told(&limit, UINT32_MAX, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), MAX);
}

static void test_what_keep_alive_says_raises_nothing_that_a_closing_taught(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    idle_limit_told(&limit, 20, START);
    idle_limit_closed(&limit, 4 * SECOND, START);
    idle_limit_told(&limit, 20, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START), 3 * SECOND);
}

static void test_after_a_restart_it_is_soon_what_it_was(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    assert_int_equal(idle_limit_us(&limit, MAX, START), IDLE_START_US);
    for (uint64_t i = 0; i < 8; i++) { /* all its links, within a moment, of all ages */
        idle_limit_closed(&limit, (8 - i) * SECOND / 10, START + i * 1000);
    }
    assert_int_equal(idle_limit_us(&limit, MAX, START + 7000), 75000);
    assert_in_range(idle_limit_us(&limit, MAX, START + 20 * SECOND), 400000, 600000);
    assert_int_equal(idle_limit_us(&limit, MAX, START + MINUTE), IDLE_START_US);
    assert_int_equal(idle_limit_us(&limit, MAX, START + MINUTE + 30 * SECOND), IDLE_START_US); /* then slowly */
}

static void test_a_second_closing_like_the_first_leaves_no_doubt(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    idle_limit_closed(&limit, SECOND, START);
    assert_int_equal(idle_limit_us(&limit, MAX, START + 2 * SECOND), 907500); /* it may have been a restart */
    idle_limit_closed(&limit, SECOND, START + 3 * SECOND);
    assert_int_equal(idle_limit_us(&limit, MAX, START + 3 * SECOND), 750000);
    assert_int_equal(idle_limit_us(&limit, MAX, START + MINUTE), 750000);
    assert_int_equal(idle_limit_us(&limit, MAX, START + 3 * SECOND + MINUTE), 825000);
}

/*
 * A processor that closes after a second, calls as far apart as its own limit
 * is: links older than the limit are not taken, and the processor closes them.
 * Taken at an age of a second is the danger; it must be rare.
 */
static void test_an_idle_time_that_equals_the_gap_between_calls_is_met_once_a_few_minutes(void **state)
{
    struct idle_limit limit = {0};
    int met = 0;

    (void)state;
    for (uint64_t at = START; at < START + 600 * SECOND; at += SECOND) {
        met += idle_limit_us(&limit, MAX, at) >= SECOND ? 1 : 0;
        idle_limit_closed(&limit, SECOND, at); /* that link, taken or not */
    }
    assert_in_range(met, 1, 2);
}

/* What must not be lost is never the one that teaches. */
static void test_what_was_not_seen_open_is_not_sure(void **state)
{
    struct idle_limit limit = {0};

    (void)state;
    assert_int_equal(idle_limit_sure_us(&limit, MAX, 1), IDLE_SURE_US);
    idle_limit_seen(&limit, 400000);
    assert_int_equal(idle_limit_sure_us(&limit, MAX, 1), 300000);
    idle_limit_seen(&limit, 200000); /* a younger one says nothing new */
    assert_int_equal(idle_limit_sure_us(&limit, MAX, 1), 300000);
    assert_int_equal(idle_limit_sure_us(&limit, 250000, 1), 250000);
    idle_limit_seen(&limit, 3600000000);
    assert_int_equal(idle_limit_sure_us(&limit, MAX, 1), IDLE_START_US); /* nor is it longer than for others */
    idle_limit_closed(&limit, 200000, 2);
    assert_int_equal(idle_limit_sure_us(&limit, MAX, 2), 150000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_not_seen_open_is_not_sure),
        cmocka_unit_test(test_it_begins_below_what_servers_have_by_default),
        cmocka_unit_test(test_a_closing_lowers_it_below_the_age_of_that_link),
        cmocka_unit_test(test_it_never_falls_below_its_least),
        cmocka_unit_test(test_it_grows_by_a_tenth_a_minute_up_to_its_bound),
        cmocka_unit_test(test_at_its_bound_it_saves_no_time_up),
        cmocka_unit_test(test_what_keep_alive_says_is_taken_with_a_margin),
        cmocka_unit_test(test_what_keep_alive_says_raises_nothing_that_a_closing_taught),
        cmocka_unit_test(test_after_a_restart_it_is_soon_what_it_was),
        cmocka_unit_test(test_a_second_closing_like_the_first_leaves_no_doubt),
        cmocka_unit_test(test_an_idle_time_that_equals_the_gap_between_calls_is_met_once_a_few_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
