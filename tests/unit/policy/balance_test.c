/* Balancing: shares by weight, avoidance of the slow, the failing and the stopped, and return of what fell silent. */
#include "base/unit.h"

#include "weir/policy/balance.h"

#define ENDPOINTS 4
#define SECOND UINT64_C(1000000)

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

static void test_an_endpoint_that_fell_silent_is_tried_again_within_two_seconds(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, i == 0, SECOND);
    }
    count_picks(BALANCE_P2C, picks, 2 * SECOND);
    assert_int_equal(picks[0], 0);
    count_picks(BALANCE_P2C, picks, 3 * SECOND);
    assert_in_range(picks[0], 850, 1150); /* level with the others, no magnet */
    count_picks(BALANCE_P2C, picks, 1000 * SECOND);
    assert_in_range(picks[0], 850, 1150);
}

static void test_silence_makes_nobody_better_than_it_was(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, false, SECOND);
        loads[i].heard_us = i == 0 ? SECOND : 100 * SECOND;
    }
    count_picks(BALANCE_P2C, picks, 100 * SECOND);
    assert_in_range(picks[0], 850, 1150);
}

static void test_one_trial_at_a_time_until_it_answered(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, i == 0, SECOND);
    }
    loads[0].in_flight = 1;
    loads[0].oldest_us = 3 * SECOND;
    count_picks(BALANCE_P2C, picks, 3 * SECOND);
    assert_int_equal(picks[0], 0);
    loads[0].in_flight = 0;
    loads[0].oldest_us = 0;
    balance_note(&loads[0], 20000, false, 3 * SECOND + 20000);
    assert_int_equal(loads[0].latency_us, 20000); /* one good answer after the silence, and it is back */
}

static void test_a_call_in_flight_counts_for_as_long_as_it_has_lasted(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, false, SECOND);
        loads[i].in_flight = 1;
        loads[i].oldest_us = i == 0 ? SECOND + 1 : 2 * SECOND;
    }
    count_picks(BALANCE_P2C, picks, 2 * SECOND);
    assert_int_equal(picks[0], 0);
}

/* An issuer that takes 20 s for one payment does not cost its endpoint all others. */
static void test_one_slow_call_among_answers_says_nothing(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        loads[i].in_flight = 1;
        loads[i].oldest_us = i == 0 ? SECOND : 20 * SECOND;
        balance_note(&loads[i], 20000, false, 20 * SECOND);
    }
    count_picks(BALANCE_P2C, picks, 20 * SECOND);
    assert_in_range(picks[0], 850, 1150);
}

/* And alone it is tried again after a while, since nobody else's answer can tell. */
static void test_a_silent_endpoint_is_tried_again_seldom(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, false, SECOND);
    }
    loads[0].in_flight = 1;
    loads[0].oldest_us = 2 * SECOND;
    count_picks(BALANCE_P2C, picks, 4 * SECOND - 1);
    assert_int_equal(picks[0], 0);
    count_picks(BALANCE_P2C, picks, 4 * SECOND);
    assert_true(picks[0] > 0);
    for (int i = 0; i < ENDPOINTS; i++) {
        loads[i].in_flight = 2;
    }
    count_picks(BALANCE_P2C, picks, 6 * SECOND - 1);
    assert_int_equal(picks[0], 0);
    count_picks(BALANCE_P2C, picks, 6 * SECOND);
    assert_true(picks[0] > 0);
}

static void test_an_endpoint_never_heard_of_is_as_good_as_the_others(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 1; i < ENDPOINTS; i++) {
        balance_note(&loads[i], 20000, false, SECOND);
    }
    count_picks(BALANCE_P2C, picks, SECOND);
    assert_in_range(picks[0], 850, 1150);
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

/* Shares of two, one heavier, while none or as many as the weights say are in flight. */
static void test_weights_are_shares_at_rest_and_under_load(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    loads[2].usable = loads[3].usable = false;
    loads[1].weight = 3; /* the other's 0 is 1 */
    for (uint32_t in_flight = 0; in_flight <= 20; in_flight += 20) {
        loads[0].in_flight = in_flight;
        loads[1].in_flight = 3 * in_flight;
        for (int way = BALANCE_P2C; way <= BALANCE_ROUND_ROBIN; way++) {
            count_picks((enum balance_way)way, picks, SECOND);
            assert_in_range(picks[0], 920, 1080); /* of 4000 */
        }
    }
}

static void test_weights_count_among_many(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    loads[3].weight = 5;
    for (int way = BALANCE_P2C; way <= BALANCE_ROUND_ROBIN; way++) {
        count_picks((enum balance_way)way, picks, SECOND);
        assert_in_range(picks[0], 400, 600); /* one in eight */
        assert_in_range(picks[3], 2400, 2600);
    }
}

static void test_round_robin_takes_strict_turns_among_equals(void **state)
{
    uint32_t turn = UINT32_MAX - 2;

    (void)state;
    loads[1].usable = false;
    int before = balance_pick(BALANCE_ROUND_ROBIN, pointers, ENDPOINTS, 0, &turn, SECOND);
    for (int i = 0; i < 2; i++) {
        int index = balance_pick(BALANCE_ROUND_ROBIN, pointers, ENDPOINTS, 0, &turn, SECOND);
        assert_int_not_equal(index, before);
        before = index;
    }
}

static void test_what_is_new_takes_up_its_share_slowly(void **state)
{
    int picks[ENDPOINTS];

    (void)state;
    loads[2].usable = loads[3].usable = false;
    loads[0].ramp_us = 100 * SECOND;
    for (int way = BALANCE_P2C; way <= BALANCE_ROUND_ROBIN; way++) {
        count_picks((enum balance_way)way, picks, 100 * SECOND);
        assert_in_range(picks[0], 140, 250); /* 1 of 21 */
        count_picks((enum balance_way)way, picks, 105 * SECOND);
        assert_in_range(picks[0], 700, 900); /* 1 of 5 */
        count_picks((enum balance_way)way, picks, 110 * SECOND);
        assert_in_range(picks[0], 1900, 2100);
        count_picks((enum balance_way)way, picks, 99 * SECOND); /* a clock read a little earlier */
        assert_in_range(picks[0], 140, 250);
    }
    assert_true(balance_ramps(&loads[0], 105 * SECOND));
    assert_false(balance_ramps(&loads[0], 110 * SECOND));
    assert_false(balance_ramps(&loads[1], SECOND));
}

static void test_no_number_is_too_large(void **state)
{
    static const uint64_t extremes[] = {0, 1, UINT32_MAX, UINT64_MAX};
    struct balance_load load = {0};
    int picks[ENDPOINTS];

    (void)state;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            for (int k = 0; k < 4; k++) {
                balance_note(&load, extremes[i], j % 2 == 0, extremes[k]);
                assert_in_range(load.latency_us, 1, BALANCE_LATENCY_MAX_US);
                loads[k] = (struct balance_load){
                    .in_flight = UINT32_MAX, .weight = UINT32_MAX, .latency_us = extremes[i], .heard_us = extremes[k],
                    .oldest_us = extremes[j], .ramp_us = extremes[(i + j) % 4], .usable = true};
            }
            for (int way = BALANCE_P2C; way <= BALANCE_ROUND_ROBIN; way++) {
                for (int k = 0; k < 4; k++) {
                    count_picks((enum balance_way)way, picks, extremes[k]);
                }
            }
        }
    }
}

static void test_every_random_number_gives_a_usable_one(void **state)
{
    static const uint64_t randoms[] = {0, 1, UINT32_MAX, UINT64_C(0xffffffff00000000), UINT64_MAX};
    uint32_t turn = UINT32_MAX - 100;

    (void)state;
    loads[0].usable = false;
    loads[2].weight = 7;
    loads[3].ramp_us = SECOND;
    for (int i = 0; i < 1000; i++) {
        for (int way = BALANCE_P2C; way <= BALANCE_ROUND_ROBIN; way++) {
            int index = balance_pick((enum balance_way)way, pointers, ENDPOINTS, randoms[i % 5], &turn, SECOND);
            assert_in_range(index, 1, 3);
        }
    }
}

/* ---- a plant in virtual time: calls come evenly, endpoints answer after a while, fail or say nothing ---- */

#define CALLS_MAX 4096
#define NEVER UINT64_MAX

struct plant_call {
    uint64_t began_us, ends_us;
    int endpoint; /* -1: none */
    bool fails;
};

static struct plant {
    uint64_t now_us;
    uint64_t latency_us[ENDPOINTS]; /* NEVER: it is stopped */
    bool fails[ENDPOINTS];
    struct plant_call calls[CALLS_MAX];
    int picks[ENDPOINTS];
} plant;

static void plant_begin(int endpoints, uint64_t latency_us)
{
    memset(&plant, 0, sizeof plant);
    plant.now_us = SECOND;
    for (int i = 0; i < ENDPOINTS; i++) {
        plant.latency_us[i] = latency_us;
        loads[i].usable = i < endpoints;
    }
    for (int i = 0; i < CALLS_MAX; i++) {
        plant.calls[i].endpoint = -1;
    }
}

static void plant_finish(void)
{
    for (int i = 0; i < ENDPOINTS; i++) {
        loads[i].oldest_us = 0;
    }
    for (int i = 0; i < CALLS_MAX; i++) {
        struct plant_call *call = &plant.calls[i];
        if (call->endpoint < 0) {
            continue;
        }
        struct balance_load *load = &loads[call->endpoint];
        if (call->ends_us <= plant.now_us) {
            load->in_flight--;
            balance_note(load, call->ends_us - call->began_us, call->fails, call->ends_us);
            call->endpoint = -1;
        } else if (load->oldest_us == 0 || call->began_us < load->oldest_us) {
            load->oldest_us = call->began_us;
        }
    }
}

static void plant_call(enum balance_way way, uint32_t *turn)
{
    int index = balance_pick(way, pointers, ENDPOINTS, next_random(), turn, plant.now_us);
    uint64_t latency_us = plant.latency_us[index];
    uint64_t takes_us = latency_us == NEVER ? NEVER : latency_us * (90 + next_random() % 21) / 100;
    int i = 0;

    while (plant.calls[i].endpoint >= 0) {
        assert_true(++i < CALLS_MAX);
    }
    plant.calls[i] = (struct plant_call){.began_us = plant.now_us, .endpoint = index, .fails = plant.fails[index],
                                         .ends_us = takes_us == NEVER ? NEVER : plant.now_us + takes_us};
    loads[index].in_flight++;
    plant.picks[index]++;
}

/* What each got is in plant.picks. */
static void plant_run(enum balance_way way, uint64_t for_us, uint64_t per_second)
{
    uint32_t turn = 0;
    uint64_t end_us = plant.now_us + for_us;

    memset(plant.picks, 0, sizeof plant.picks);
    while (plant.now_us < end_us) {
        plant.now_us += SECOND / per_second;
        plant_finish();
        plant_call(way, &turn);
    }
}

static void test_weights_of_one_to_three_share_as_one_to_three(void **state)
{
    static const uint64_t rates[] = {20, 50, 1000, 5000}; /* 0.4, 1, 20 and 100 in flight */

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(setup(NULL), 0);
        plant_begin(2, 20000);
        loads[0].weight = 1;
        loads[1].weight = 3;
        plant_run(BALANCE_P2C, 20000 * SECOND / rates[i], rates[i]);
        assert_in_range(plant.picks[0], 23 * 200, 27 * 200); /* of 20000 */
    }
}

static void test_a_stopped_endpoint_gets_a_handful(void **state)
{
    (void)state;
    plant_begin(3, 1000);
    plant_run(BALANCE_P2C, SECOND, 2000);
    plant.latency_us[1] = NEVER;
    plant_run(BALANCE_P2C, 30 * SECOND, 2000);
    assert_in_range(plant.picks[1], 1, 6);
}

static void test_of_a_slow_processor_a_stopped_endpoint_gets_what_it_would_have_held(void **state)
{
    (void)state;
    plant_begin(3, 50000);
    plant_run(BALANCE_P2C, SECOND, 2000);
    plant.latency_us[1] = NEVER;
    plant_run(BALANCE_P2C, 30 * SECOND, 2000);
    assert_in_range(plant.picks[1], 1, 80); /* 2000 a second for 50 ms among three are 33, and as long until it shows */
}

static void test_fast_failures_attract_nothing(void **state)
{
    (void)state;
    plant_begin(3, 20000);
    plant_run(BALANCE_P2C, SECOND, 2000);
    plant.latency_us[0] = 200;
    plant.fails[0] = true;
    plant_run(BALANCE_P2C, 20 * SECOND, 2000);
    assert_in_range(plant.picks[0], 8, 30); /* it is tried once in two seconds */
}

static void test_a_recovered_endpoint_comes_back(void **state)
{
    (void)state;
    plant_begin(3, 20000);
    plant.fails[0] = true;
    plant_run(BALANCE_P2C, 10 * SECOND, 1000);
    assert_in_range(plant.picks[0], 1, 50);
    plant.fails[0] = false;
    plant_run(BALANCE_P2C, 10 * SECOND, 1000);
    assert_in_range(plant.picks[0], 500, 3000);
    plant_run(BALANCE_P2C, 10 * SECOND, 1000);
    assert_in_range(plant.picks[0], 3000, 3700);
}

static void test_after_a_slow_start_the_share_is_whole_in_ten_seconds(void **state)
{
    (void)state;
    plant_begin(3, 20000);
    loads[2].usable = false;
    plant_run(BALANCE_P2C, SECOND, 2000);
    loads[2].usable = true;
    loads[2].ramp_us = plant.now_us;
    plant_run(BALANCE_P2C, SECOND, 2000);
    assert_in_range(plant.picks[2], 2000 * 15 / 1000, 2000 * 5 / 100); /* a twentieth of a third is 1 of 41 */
    plant_run(BALANCE_P2C, 4 * SECOND, 2000);
    int middle = plant.picks[2];
    plant_run(BALANCE_P2C, 4 * SECOND, 2000);
    assert_true(plant.picks[2] > middle);
    plant_run(BALANCE_P2C, 4 * SECOND, 2000);
    assert_in_range(plant.picks[2], 2400, 2950); /* of 8000; it is at its third since three seconds */
}

/* A new endpoint has little to do and answers in no time: it is not taken for the better one meanwhile. */
static void test_a_slow_start_holds_for_one_that_is_fast(void **state)
{
    (void)state;
    plant_begin(2, 20000);
    loads[1].usable = false;
    plant_run(BALANCE_P2C, SECOND, 500);
    plant.latency_us[1] = 2000;
    loads[1].usable = true;
    loads[1].ramp_us = plant.now_us;
    plant_run(BALANCE_P2C, SECOND, 500);
    assert_in_range(plant.picks[1], 500 * 3 / 100, 500 * 7 / 100);
    plant.latency_us[0] = NEVER; /* unless the other one stops */
    plant_run(BALANCE_P2C, SECOND, 500);
    assert_in_range(plant.picks[1], 440, 500);
}

static void test_a_slow_endpoint_gets_less(void **state)
{
    (void)state;
    plant_begin(2, 20000);
    plant.latency_us[0] = 200000;
    plant_run(BALANCE_P2C, 10 * SECOND, 1000);
    assert_in_range(plant.picks[0], 1, 2000); /* ten times as slow: far less than half of 10000 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_equal_endpoints_share_evenly, setup),
        cmocka_unit_test_setup(test_an_unusable_endpoint_is_never_chosen, setup),
        cmocka_unit_test_setup(test_without_a_usable_endpoint_there_is_no_choice, setup),
        cmocka_unit_test_setup(test_a_failing_endpoint_loses_every_comparison, setup),
        cmocka_unit_test_setup(test_an_endpoint_that_fell_silent_is_tried_again_within_two_seconds, setup),
        cmocka_unit_test_setup(test_silence_makes_nobody_better_than_it_was, setup),
        cmocka_unit_test_setup(test_one_trial_at_a_time_until_it_answered, setup),
        cmocka_unit_test_setup(test_a_call_in_flight_counts_for_as_long_as_it_has_lasted, setup),
        cmocka_unit_test_setup(test_one_slow_call_among_answers_says_nothing, setup),
        cmocka_unit_test_setup(test_a_silent_endpoint_is_tried_again_seldom, setup),
        cmocka_unit_test_setup(test_an_endpoint_never_heard_of_is_as_good_as_the_others, setup),
        cmocka_unit_test_setup(test_a_peak_shows_at_once_and_fades, setup),
        cmocka_unit_test_setup(test_least_prefers_the_fewest_in_flight, setup),
        cmocka_unit_test_setup(test_weights_are_shares_at_rest_and_under_load, setup),
        cmocka_unit_test_setup(test_weights_count_among_many, setup),
        cmocka_unit_test_setup(test_round_robin_takes_strict_turns_among_equals, setup),
        cmocka_unit_test_setup(test_what_is_new_takes_up_its_share_slowly, setup),
        cmocka_unit_test_setup(test_no_number_is_too_large, setup),
        cmocka_unit_test_setup(test_every_random_number_gives_a_usable_one, setup),
        cmocka_unit_test_setup(test_weights_of_one_to_three_share_as_one_to_three, setup),
        cmocka_unit_test_setup(test_a_stopped_endpoint_gets_a_handful, setup),
        cmocka_unit_test_setup(test_of_a_slow_processor_a_stopped_endpoint_gets_what_it_would_have_held, setup),
        cmocka_unit_test_setup(test_fast_failures_attract_nothing, setup),
        cmocka_unit_test_setup(test_a_recovered_endpoint_comes_back, setup),
        cmocka_unit_test_setup(test_after_a_slow_start_the_share_is_whole_in_ten_seconds, setup),
        cmocka_unit_test_setup(test_a_slow_start_holds_for_one_that_is_fast, setup),
        cmocka_unit_test_setup(test_a_slow_endpoint_gets_less, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
