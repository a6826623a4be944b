/* Checks: how many in a row change the state, and when the next one is due. */
#include "base/unit.h"

#include "weir/policy/health.h"

#define SECOND UINT64_C(1000000)

static const struct health_settings settings = {.every_us = 10 * SECOND, .down_after = 3, .up_after = 2};

static void note_times(struct health *health, bool passed, int count)
{
    for (int i = 0; i < count; i++) {
        (void)health_note(health, &settings, passed, 1);
    }
}

static void test_the_first_that_passes_is_enough_to_be_up(void **state)
{
    struct health health = {0};

    (void)state;
    assert_true(health_note(&health, &settings, true, 7));
    assert_int_equal(health.state, HEALTH_UP);
    assert_int_equal(health.since_us, 7);
    assert_false(health_note(&health, &settings, true, 8));
    assert_int_equal(health.since_us, 7);
}

static void test_unknown_is_not_down_before_as_many_failed_as_take_one_down(void **state)
{
    struct health health = {0};

    (void)state;
    assert_false(health_note(&health, &settings, false, 1));
    assert_false(health_note(&health, &settings, false, 2));
    assert_int_equal(health.state, HEALTH_UNKNOWN);
    assert_true(health_note(&health, &settings, false, 3));
    assert_int_equal(health.state, HEALTH_DOWN);
    assert_int_equal(health.since_us, 3);
}

static void test_only_failures_in_a_row_take_it_down(void **state)
{
    struct health health = {0};

    (void)state;
    note_times(&health, true, 1);
    for (int i = 0; i < 5; i++) {
        note_times(&health, false, 2);
        note_times(&health, true, 1);
    }
    assert_int_equal(health.state, HEALTH_UP);
    note_times(&health, false, 3);
    assert_int_equal(health.state, HEALTH_DOWN);
}

static void test_only_passes_in_a_row_bring_it_back(void **state)
{
    struct health health = {0};

    (void)state;
    note_times(&health, false, 3);
    note_times(&health, true, 1);
    note_times(&health, false, 1);
    note_times(&health, true, 1);
    assert_int_equal(health.state, HEALTH_DOWN);
    assert_true(health_note(&health, &settings, true, 9));
    assert_int_equal(health.state, HEALTH_UP);
}

static void test_counts_do_not_come_round(void **state)
{
    struct health health = {.state = HEALTH_DOWN, .failed = UINT32_MAX};

    (void)state;
    assert_false(health_note(&health, &settings, false, 1));
    assert_int_equal(health.failed, UINT32_MAX);
    health = (struct health){.state = HEALTH_UP, .passed = UINT32_MAX};
    assert_false(health_note(&health, &settings, true, 1));
    assert_int_equal(health.passed, UINT32_MAX);
}

static void test_it_is_settled_while_no_check_says_otherwise(void **state)
{
    struct health health = {0};

    (void)state;
    assert_false(health_settled(&health));
    note_times(&health, true, 1);
    assert_true(health_settled(&health));
    note_times(&health, false, 1);
    assert_false(health_settled(&health));
    note_times(&health, false, 2);
    assert_true(health_settled(&health));
    note_times(&health, true, 1);
    assert_false(health_settled(&health));
}

/* The least and the most that any random number gives. */
static void wait_bounds(const struct health *health, const struct health_settings *with, bool first, bool hurry,
                        uint64_t *least, uint64_t *most)
{
    uint64_t random = 88172645463325252u;

    *least = UINT64_MAX;
    *most = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t wait = health_wait_us(health, with, first, hurry, random_next(&random));
        *least = wait < *least ? wait : *least;
        *most = wait > *most ? wait : *most;
    }
}

static void test_checks_are_spread_by_a_quarter(void **state)
{
    struct health up = {.state = HEALTH_UP, .passed = 1};
    uint64_t least, most;

    (void)state;
    wait_bounds(&up, &settings, false, false, &least, &most);
    assert_in_range(least, 7500000, 7600000);
    assert_in_range(most, 12400000, 12500000);
}

static void test_what_is_not_settled_or_in_a_hurry_is_checked_sooner(void **state)
{
    struct health up = {.state = HEALTH_UP, .passed = 1};
    struct health doubtful = {.state = HEALTH_UP, .failed = 1};
    uint64_t least, most;

    (void)state;
    wait_bounds(&up, &settings, false, true, &least, &most);
    assert_in_range(least, HEALTH_HURRY_US * 3 / 4, HEALTH_HURRY_US);
    assert_in_range(most, HEALTH_HURRY_US, HEALTH_HURRY_US * 5 / 4);
    wait_bounds(&doubtful, &settings, false, false, &least, &most);
    assert_in_range(most, HEALTH_HURRY_US, HEALTH_HURRY_US * 5 / 4);
}

static void test_nothing_is_checked_less_often_for_being_in_a_hurry(void **state)
{
    const struct health_settings often = {.every_us = 100000, .down_after = 1, .up_after = 1};
    struct health unknown = {0};
    uint64_t least, most;

    (void)state;
    wait_bounds(&unknown, &often, false, true, &least, &most);
    assert_in_range(most, 100000, 125000);
}

static void test_the_first_check_is_soon_and_anywhere_in_that_time(void **state)
{
    const struct health_settings often = {.every_us = 100000, .down_after = 1, .up_after = 1};
    struct health unknown = {0};
    uint64_t least, most;

    (void)state;
    wait_bounds(&unknown, &settings, true, false, &least, &most);
    assert_in_range(least, 0, 1000);
    assert_in_range(most, HEALTH_FIRST_US - 1000, HEALTH_FIRST_US);
    wait_bounds(&unknown, &often, true, false, &least, &most);
    assert_in_range(most, 99000, 100000);
}

static void test_states_have_names(void **state)
{
    (void)state;
    assert_string_equal(health_state_name(HEALTH_UNKNOWN), "unknown");
    assert_string_equal(health_state_name(HEALTH_UP), "up");
    assert_string_equal(health_state_name(HEALTH_DOWN), "down");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_that_passes_is_enough_to_be_up),
        cmocka_unit_test(test_unknown_is_not_down_before_as_many_failed_as_take_one_down),
        cmocka_unit_test(test_only_failures_in_a_row_take_it_down),
        cmocka_unit_test(test_only_passes_in_a_row_bring_it_back),
        cmocka_unit_test(test_counts_do_not_come_round),
        cmocka_unit_test(test_it_is_settled_while_no_check_says_otherwise),
        cmocka_unit_test(test_checks_are_spread_by_a_quarter),
        cmocka_unit_test(test_what_is_not_settled_or_in_a_hurry_is_checked_sooner),
        cmocka_unit_test(test_nothing_is_checked_less_often_for_being_in_a_hurry),
        cmocka_unit_test(test_the_first_check_is_soon_and_anywhere_in_that_time),
        cmocka_unit_test(test_states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
