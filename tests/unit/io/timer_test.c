#include "io_support.h"

#define ALARMS 4

struct alarm {
    struct timer timer;
    uint64_t fired_us;
    uint64_t asked_us;
    int fires;
    int order;               /* which fire of all it was */
    struct timer *stop;      /* stopped when this one fires */
    uint64_t again_after_us; /* armed anew when it fires, once */
};

static int fire_count;

static void on_alarm(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);

    assert_false(timer_armed(timer));
    alarm->fired_us = clock_now_us();
    assert_true(alarm->fired_us >= alarm->asked_us);
    alarm->fires++;
    alarm->order = ++fire_count;
    if (alarm->stop != NULL) {
        timer_stop(alarm->stop);
    }
    if (alarm->again_after_us > 0) {
        alarm->asked_us = clock_now_us() + alarm->again_after_us;
        timer_set(timer, alarm->asked_us);
        alarm->again_after_us = 0;
    }
}

static struct loop *setup(struct alarm alarms[ALARMS])
{
    struct loop *loop = loop_open(0);

    fire_count = 0;
    memset(alarms, 0, ALARMS * sizeof(alarms[0]));
    for (int i = 0; i < ALARMS; i++) {
        timer_init(&alarms[i].timer, loop, on_alarm);
    }
    return loop;
}

static void ask(struct alarm *alarm, uint64_t due_us)
{
    alarm->asked_us = due_us;
    timer_set(&alarm->timer, due_us);
}

static void test_deadlines_fire_in_the_order_of_their_slots_and_never_early(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);
    uint64_t now_us = clock_now_us();

    (void)state;
    ask(&alarms[0], now_us + 60000);
    ask(&alarms[1], now_us + 20000);
    ask(&alarms[2], now_us + 40000);
    loop_run(loop); /* on_alarm looks at the clock */
    assert_int_equal(alarms[1].order, 1);
    assert_int_equal(alarms[2].order, 2);
    assert_int_equal(alarms[0].order, 3);
    assert_true(loop_close(loop));
}

static void test_a_deadline_of_the_past_fires_at_once(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);

    (void)state;
    ask(&alarms[1], clock_now_us() + 3600 * CLOCK_US_PER_S);
    ask(&alarms[0], 1);
    UNTIL(loop, alarms[0].fires == 1);
    assert_int_equal(alarms[1].fires, 0);
    timer_stop(&alarms[1].timer);
    assert_true(loop_close(loop));
}

static void test_a_deadline_that_moved_later_fires_then_and_once(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);
    uint64_t now_us = clock_now_us();

    (void)state;
    ask(&alarms[0], now_us + 10000);
    ask(&alarms[0], now_us + 50000);
    ask(&alarms[0], now_us + 90000);
    loop_run(loop);
    assert_int_equal(alarms[0].fires, 1);
    assert_true(loop_close(loop));
}

static void test_a_deadline_that_moved_earlier_fires_before_others(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);
    uint64_t now_us = clock_now_us();

    (void)state;
    ask(&alarms[0], now_us + 3600 * CLOCK_US_PER_S);
    ask(&alarms[1], now_us + 60000);
    ask(&alarms[0], now_us + 20000);
    loop_run(loop);
    assert_int_equal(alarms[0].order, 1);
    assert_int_equal(alarms[1].order, 2);
    assert_true(loop_close(loop));
}

static void test_a_stopped_deadline_never_fires_and_keeps_no_loop_alive(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);

    (void)state;
    ask(&alarms[0], clock_now_us() + 3600 * CLOCK_US_PER_S);
    assert_true(timer_armed(&alarms[0].timer));
    timer_stop(&alarms[0].timer);
    timer_stop(&alarms[0].timer);
    assert_false(timer_armed(&alarms[0].timer));
    loop_run(loop); /* would last an hour */
    assert_int_equal(alarms[0].fires, 0);
    assert_true(loop_close(loop));
}

static void test_a_fire_may_stop_a_deadline_that_is_due_in_the_same_turn(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);

    (void)state;
    ask(&alarms[0], 1);
    ask(&alarms[1], 1);
    alarms[0].stop = &alarms[1].timer;
    loop_run(loop);
    assert_int_equal(alarms[0].fires, 1);
    assert_int_equal(alarms[1].fires, 0);
    assert_true(loop_close(loop));
}

static void test_a_fire_may_set_its_own_deadline_again(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);

    (void)state;
    alarms[0].again_after_us = 20000;
    ask(&alarms[0], clock_now_us() + 10000);
    loop_run(loop);
    assert_int_equal(alarms[0].fires, 2);
    assert_true(loop_close(loop));
}

/* Two deadlines a whole turn of the wheel apart share a slot. */
static void test_a_deadline_of_a_later_round_waits_for_its_round(void **state)
{
    struct alarm alarms[ALARMS];
    struct loop *loop = setup(alarms);
    uint64_t due_us = clock_now_us() + 20000;

    (void)state;
    ask(&alarms[0], due_us);
    ask(&alarms[1], due_us + 4096 * UINT64_C(8000));
    UNTIL(loop, alarms[0].fires == 1);
    assert_int_equal(alarms[1].fires, 0);
    assert_true(timer_armed(&alarms[1].timer));
    timer_stop(&alarms[1].timer);
    assert_true(loop_close(loop));
}

static void test_many_deadlines_all_fire(void **state)
{
    static struct alarm many[2000];
    struct loop *loop = loop_open(0);
    uint64_t now_us = clock_now_us();

    (void)state;
    fire_count = 0;
    memset(many, 0, sizeof(many));
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        timer_init(&many[i].timer, loop, on_alarm);
        ask(&many[i], now_us + (i * 7919) % 100000);
        if (i % 3 == 0) {
            ask(&many[i], now_us + (i * 104729) % 120000);
        }
    }
    loop_run(loop);
    assert_int_equal(fire_count, ARRAY_COUNT(many));
    assert_true(loop_close(loop));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines_fire_in_the_order_of_their_slots_and_never_early),
        cmocka_unit_test(test_a_deadline_of_the_past_fires_at_once),
        cmocka_unit_test(test_a_deadline_that_moved_later_fires_then_and_once),
        cmocka_unit_test(test_a_deadline_that_moved_earlier_fires_before_others),
        cmocka_unit_test(test_a_stopped_deadline_never_fires_and_keeps_no_loop_alive),
        cmocka_unit_test(test_a_fire_may_stop_a_deadline_that_is_due_in_the_same_turn),
        cmocka_unit_test(test_a_fire_may_set_its_own_deadline_again),
        cmocka_unit_test(test_a_deadline_of_a_later_round_waits_for_its_round),
        cmocka_unit_test(test_many_deadlines_all_fire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
