/* The budget of retries: a tenth of the first attempts, and one a second; and the wait before one. */
#include "base/unit.h"

#include "weir/policy/retry.h"

#define SECOND UINT64_C(1000000)
#define START SECOND /* the clock is never 0 */

static int take_all(struct retry_budget *budget, uint32_t cost, uint64_t now_us)
{
    int taken = 0;
    while (retry_take(budget, cost, now_us)) {
        taken++;
    }
    return taken;
}

static void test_a_tenth_of_the_first_attempts_may_be_made_again(void **state)
{
    struct retry_budget budget = {0};

    (void)state;
    (void)take_all(&budget, RETRY_COST_SENT, START);
    for (int i = 0; i < 500; i++) {
        retry_first(&budget, START);
    }
    assert_int_equal(take_all(&budget, RETRY_COST_SENT, START), 50);
}

static void test_what_reached_nobody_costs_a_tenth(void **state)
{
    struct retry_budget budget = {0};

    (void)state;
    (void)take_all(&budget, RETRY_COST_SENT, START);
    for (int i = 0; i < 500; i++) {
        retry_first(&budget, START);
    }
    assert_int_equal(take_all(&budget, RETRY_COST_UNSENT, START), 500);
}

static void test_one_a_second_is_left_however_few_there_are(void **state)
{
    struct retry_budget budget = {0};

    (void)state;
    (void)take_all(&budget, RETRY_COST_SENT, START);
    assert_false(retry_take(&budget, RETRY_COST_SENT, START + SECOND - 1));
    assert_true(retry_take(&budget, RETRY_COST_SENT, START + SECOND));
    assert_false(retry_take(&budget, RETRY_COST_SENT, START + SECOND));
}

static void test_no_part_of_a_second_is_lost_by_asking_often(void **state)
{
    struct retry_budget budget = {0};
    int taken = 0;

    (void)state;
    (void)take_all(&budget, RETRY_COST_SENT, START);
    for (uint64_t at = 0; at <= 20 * SECOND; at += 333) {
        taken += retry_take(&budget, RETRY_COST_SENT, START + at) ? 1 : 0;
    }
    assert_in_range(taken, 19, 20);
}

static void test_a_start_has_a_few_and_a_long_quiet_time_a_hundred(void **state)
{
    struct retry_budget budget = {0};

    (void)state;
    assert_int_equal(take_all(&budget, RETRY_COST_SENT, START), 10);
    assert_int_equal(take_all(&budget, RETRY_COST_SENT, START + 1000000 * SECOND), 100);
    assert_int_equal(take_all(&budget, RETRY_COST_SENT, UINT64_MAX), 100);
}

static void test_first_attempts_fill_it_to_its_bound_and_no_more(void **state)
{
    struct retry_budget budget = {0};

    (void)state;
    for (int i = 0; i < 100000; i++) {
        retry_first(&budget, START);
    }
    assert_int_equal(budget.balance, RETRY_BALANCE_MAX);
    assert_int_equal(take_all(&budget, RETRY_COST_SENT, START), 100);
}

static void test_a_clock_that_stands_pays_nothing(void **state)
{
    struct retry_budget budget = {0};

    (void)state;
    (void)take_all(&budget, RETRY_COST_SENT, 100 * SECOND);
    assert_false(retry_take(&budget, RETRY_COST_UNSENT, SECOND));
    assert_false(retry_take(&budget, RETRY_COST_UNSENT, 100 * SECOND));
}

static void assert_wait_most(uint32_t again, uint64_t expected_us)
{
    uint64_t random = 88172645463325252u;
    uint64_t most = 0, sum = 0;

    for (int i = 0; i < 20000; i++) {
        uint64_t wait = retry_wait_us(again, random_next(&random));
        most = wait > most ? wait : most;
        sum += wait;
    }
    assert_in_range(most, expected_us - expected_us / 100, expected_us);
    assert_in_range(sum / 20000, expected_us * 48 / 100, expected_us * 52 / 100); /* full jitter: anything from 0 */
}

static void test_the_wait_doubles_up_to_its_bound(void **state)
{
    (void)state;
    assert_wait_most(1, RETRY_WAIT_FIRST_US);
    assert_wait_most(2, 2 * RETRY_WAIT_FIRST_US);
    assert_wait_most(3, 4 * RETRY_WAIT_FIRST_US);
    assert_wait_most(5, RETRY_WAIT_MAX_US);
    assert_wait_most(UINT32_MAX, RETRY_WAIT_MAX_US);
    assert_wait_most(0, RETRY_WAIT_FIRST_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tenth_of_the_first_attempts_may_be_made_again),
        cmocka_unit_test(test_what_reached_nobody_costs_a_tenth),
        cmocka_unit_test(test_one_a_second_is_left_however_few_there_are),
        cmocka_unit_test(test_no_part_of_a_second_is_lost_by_asking_often),
        cmocka_unit_test(test_a_start_has_a_few_and_a_long_quiet_time_a_hundred),
        cmocka_unit_test(test_first_attempts_fill_it_to_its_bound_and_no_more),
        cmocka_unit_test(test_a_clock_that_stands_pays_nothing),
        cmocka_unit_test(test_the_wait_doubles_up_to_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
