/* Balancing: fairness, avoidance of the slow and the failing, and return of what fell silent. */
#include "base/unit.h"

#include "weir/policy/balance.h"

#define ENDPOINTS 4

static struct balance_load loads[ENDPOINTS];
static const struct balance_load *pointers[ENDPOINTS];
static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int setup(void **state)
{
    (void)state;
    memset(loads, 0, sizeof loads);
    for (int i = 0; i < ENDPOINTS; i++) {
        loads[i].usable = true;
        pointers[i] = &loads[i];
    }
    return 0;
}

static void count_picks(enum balance_way way, int picks[ENDPOINTS], uint64_t now_us)
{
    uint32_t turn = 0;
    memset(picks, 0, sizeof(int) * ENDPOINTS);
    for (int i = 0; i < 4000; i++) {
        int index = balance_pick(way, pointers, ENDPOINTS, next_random(), &turn, now_us);
        assert_in_range(index, 0, ENDPOINTS - 1);
        picks[index]++;
    }
}

static void test_equal_endpoints_share_evenly(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int way = BALANCE_P2C; way <= BALANCE_ROUND_ROBIN; way++) {
        count_picks((enum balance_way)way, picks, 0);
        for (int i = 0; i < ENDPOINTS; i++) {
            assert_in_range(picks[i], 850, 1150);
        }
    }
}

static void test_an_unusable_endpoint_is_never_chosen(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    loads[2].usable = false;
    for (int way = BALANCE_P2C; way <= BALANCE_ROUND_ROBIN; way++) {
        count_picks((enum balance_way)way, picks, 0);
        assert_int_equal(picks[2], 0);
    }
}

static void test_without_a_usable_endpoint_there_is_no_choice(void **state)
{
    uint32_t turn = 0;

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        loads[i].usable = false;
    }
    assert_int_equal(balance_pick(BALANCE_P2C, pointers, ENDPOINTS, 1, &turn, 0), -1);
    assert_int_equal(balance_pick(BALANCE_P2C, pointers, 0, 1, &turn, 0), -1);
}

static void test_a_failing_endpoint_loses_every_comparison(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, false, 1000);
    }
    balance_note(&loads[0], 10, true, 1000); /* a fast failure is no fast answer */
    count_picks(BALANCE_P2C, picks, 2000);
    assert_int_equal(picks[0], 0);
}

static void test_an_endpoint_that_fell_silent_is_tried_again(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    balance_note(&loads[0], 10, true, 0);
    for (int i = 1; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, false, 100 * BALANCE_DECAY_US);
    }
    count_picks(BALANCE_P2C, picks, 100 * BALANCE_DECAY_US);
    assert_true(picks[0] > 1000);
}

static void test_a_peak_shows_at_once_and_fades(void **state)
{
    struct balance_load load = {0};

    (void)state;
    balance_note(&load, 1000, false, 1);
    balance_note(&load, 90000, false, 2);
    assert_int_equal(load.latency_us, 90000);
    for (uint64_t at = 1; at <= 10; at++) {
        balance_note(&load, 1000, false, at * BALANCE_DECAY_US / 2);
    }
    assert_in_range(load.latency_us, 1000, 5000);
}

static void test_least_prefers_the_fewest_in_flight(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    loads[0].in_flight = loads[1].in_flight = loads[3].in_flight = 5;
    loads[2].in_flight = 4;
    count_picks(BALANCE_LEAST, picks, 0);
    assert_int_equal(picks[2], 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_equal_endpoints_share_evenly, setup),
        cmocka_unit_test_setup(test_an_unusable_endpoint_is_never_chosen, setup),
        cmocka_unit_test_setup(test_without_a_usable_endpoint_there_is_no_choice, setup),
        cmocka_unit_test_setup(test_a_failing_endpoint_loses_every_comparison, setup),
        cmocka_unit_test_setup(test_an_endpoint_that_fell_silent_is_tried_again, setup),
        cmocka_unit_test_setup(test_a_peak_shows_at_once_and_fades, setup),
        cmocka_unit_test_setup(test_least_prefers_the_fewest_in_flight, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
