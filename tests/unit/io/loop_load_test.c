/*
 * How a loop fared (loop_load_take), to the microsecond: the clock and libuv's
 * count of idle time are this file's own. That libuv's real ones say the same
 * is looked at in loop_test.c.
 */
#include "io_support.h"

#include <signal.h>

#define MS UINT64_C(1000)

static uint64_t now_us, idle_ns;

uint64_t clock_now_us(void)
{
    return now_us;
}

uint64_t clock_wall_us(void)
{
    return now_us;
}

uint64_t uv_metrics_idle_time(uv_loop_t *uv)
{
    (void)uv;
    return idle_ns;
}

static void pass(uint64_t wait_us, uint64_t work_us)
{
    now_us += wait_us + work_us;
    idle_ns += wait_us * 1000;
}

struct part {
    struct deferred deferred;
    struct loop *loop;
    uint64_t wait_us, work_us;
    struct loop_load *take; /* in the middle of its work; NULL: it is not taken */
};

static void on_part(struct deferred *deferred)
{
    struct part *part = container_of(deferred, struct part, deferred);

    pass(part->wait_us, part->work_us);
    if (part->take != NULL) {
        loop_load_take(part->loop, part->take);
    }
}

/* One turn that waits and works so long. Its end is the next turn's poll. */
static void turn_of(struct loop *loop, uint64_t wait_us, uint64_t work_us, struct loop_load *take)
{
    struct part part = {.loop = loop, .wait_us = wait_us, .work_us = work_us, .take = take};

    deferred_init(&part.deferred, on_part);
    loop_defer(loop, &part.deferred);
    (void)uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

static struct loop *begin(void)
{
    struct loop_load load;

    now_us = 1000 * CLOCK_US_PER_S;
    idle_ns = 0;
    struct loop *loop = loop_open(0);
    assert_non_null(loop);
    turn_of(loop, 0, 0, NULL); /* the first poll */
    turn_of(loop, 0, 0, NULL);
    loop_load_take(loop, &load);
    return loop;
}

static struct loop_load end(struct loop *loop)
{
    struct loop_load load;

    turn_of(loop, 0, 0, NULL);
    loop_load_take(loop, &load);
    assert_true(loop_close(loop));
    return load;
}

static void test_it_is_zero_where_the_loop_has_not_turned(void **state)
{
    struct loop_load load = {1, 1, 1, 1};
    struct loop *loop = begin();

    (void)state;
    pass(0, 10 * MS);
    loop_load_take(loop, &load);
    assert_int_equal(load.delay_us, 0);
    assert_int_equal(load.work_us_max, 0);
    assert_int_equal(load.late_us_max, 0);
    assert_int_equal(load.busy_permille, 0);
    (void)end(loop);
}

static void test_turns_that_follow_each_other_are_a_standing_delay(void **state)
{
    struct loop *loop = begin();

    (void)state;
    for (int i = 0; i < 10; i++) {
        turn_of(loop, 0, 8192, NULL);
    }
    struct loop_load load = end(loop);
    assert_int_equal(load.delay_us, 8192);
    assert_int_equal(load.work_us_max, 8192);
    assert_int_equal(load.busy_permille, 1000);
}

/* Four steps to a power of two, rounded down: never more than it was, nor a fifth less. */
static void test_the_delay_is_at_most_a_fifth_too_small(void **state)
{
    (void)state;
    for (uint64_t work_us = 64; work_us < CLOCK_US_PER_S; work_us = work_us * 9 / 8 + 1) {
        struct loop *loop = begin();
        for (int i = 0; i < 10; i++) {
            turn_of(loop, 0, work_us, NULL);
        }
        struct loop_load load = end(loop);
        assert_true(load.delay_us <= work_us);
        assert_true(load.delay_us * 5 >= work_us * 4);
    }
}

static void test_turns_too_short_and_too_long_to_tell_are_counted_too(void **state)
{
    struct loop *loop = begin();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        turn_of(loop, 0, 63, NULL);
    }
    struct loop_load load = end(loop);
    assert_int_equal(load.delay_us, 0);
    assert_int_equal(load.busy_permille, 1000);

    loop = begin();
    turn_of(loop, 0, 3600 * CLOCK_US_PER_S, NULL);
    load = end(loop);
    assert_true(load.delay_us > CLOCK_US_PER_S);
    assert_int_equal(load.work_us_max, 3600 * CLOCK_US_PER_S);
}

/* Whoever came in the tenth of the time that was waited for events waited for nobody. */
static void test_with_a_tenth_of_the_time_left_over_there_is_none(void **state)
{
    static const struct row {
        uint64_t wait_us;
        bool stands;
    } rows[] = {{1000, false}, {900, true}, {0, true}, {4000, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct loop *loop = begin();
        for (int n = 0; n < 10; n++) {
            turn_of(loop, rows[i].wait_us, 8200, NULL);
        }
        struct loop_load load = end(loop);
        assert_int_equal(load.delay_us, rows[i].stands ? 8192 : 0);
        assert_int_equal(load.busy_permille, 8200 * 1000 / (8200 + rows[i].wait_us));
        assert_int_equal(load.work_us_max, 8200);
    }
}

/* A poll that finds nothing because something was deferred, or a lone event after a batch: the queue is the same. */
static void test_a_few_short_turns_do_not_hide_long_ones(void **state)
{
    struct loop *loop = begin();

    (void)state;
    for (int i = 0; i < 10; i++) {
        turn_of(loop, 0, 10240, NULL);
        turn_of(loop, 0, 0, NULL);
        turn_of(loop, 10, 20, NULL);
    }
    assert_int_equal(end(loop).delay_us, 10240);
}

static void test_one_long_turn_among_short_ones_is_no_standing_delay(void **state)
{
    struct loop *loop = begin();

    (void)state;
    turn_of(loop, 0, 50 * MS, NULL);
    for (int i = 0; i < 100; i++) {
        turn_of(loop, 0, MS, NULL);
    }
    struct loop_load load = end(loop);
    assert_int_equal(load.delay_us, 896); /* the shelf of 1 ms */
    assert_int_equal(load.work_us_max, 50 * MS);
}

static void test_a_take_begins_the_next_interval(void **state)
{
    struct loop_load load;
    struct loop *loop = begin();

    (void)state;
    for (int i = 0; i < 10; i++) {
        turn_of(loop, 0, 8192, NULL);
    }
    turn_of(loop, 0, 0, NULL);
    loop_load_take(loop, &load);
    assert_int_equal(load.delay_us, 8192);
    for (int i = 0; i < 10; i++) {
        turn_of(loop, 1024, 1024, NULL);
    }
    load = end(loop);
    assert_int_equal(load.delay_us, 0);
    assert_int_equal(load.work_us_max, 1024);
    assert_int_equal(load.busy_permille, 500);
}

/* Who takes does it within a turn: what that has done until then is of this interval, the rest of the next. */
static void test_a_turn_that_is_taken_in_its_middle_is_counted_once(void **state)
{
    struct loop_load first = {0}, second;
    struct loop *loop = begin();

    (void)state;
    turn_of(loop, 30 * MS, 10 * MS, NULL);
    turn_of(loop, 10 * MS, 50 * MS, &first);
    pass(0, 20 * MS); /* more of that turn: timers, before the next poll */
    turn_of(loop, 20 * MS, 0, NULL);
    second = end(loop);
    assert_int_equal(first.busy_permille, 600);
    assert_int_equal(first.work_us_max, 50 * MS);
    assert_int_equal(second.busy_permille, 500);
    assert_int_equal(second.work_us_max, 70 * MS);
}

struct waiter {
    struct loop *loop;
    int count;
    uint64_t waited_us[2];
};

/* Asks twice and works for 7 ms. */
static void on_waiter(void *owner, int signum)
{
    struct waiter *waiter = owner;

    (void)signum;
    waiter->waited_us[waiter->count] = loop_waited_us(waiter->loop);
    pass(0, 7 * MS);
    assert_int_equal(loop_waited_us(waiter->loop), waiter->waited_us[waiter->count]); /* it is of the event */
    waiter->count++;
}

static void test_an_event_waits_for_those_before_it_in_its_turn(void **state)
{
    struct loop *loop = begin();
    struct waiter waiter = {.loop = loop};

    (void)state;
    assert_true(loop_on_signal(loop, SIGUSR1, on_waiter, &waiter));
    assert_true(loop_on_signal(loop, SIGUSR2, on_waiter, &waiter));
    for (int turn = 0; turn < 2; turn++) {
        waiter.count = 0;
        assert_int_equal(raise(SIGUSR1), 0);
        assert_int_equal(raise(SIGUSR2), 0);
        turn_of(loop, 50 * MS, 0, NULL);
        assert_int_equal(waiter.count, 2);
        assert_int_equal(waiter.waited_us[0], 0); /* what it waited in the poll before was for nobody */
        assert_int_equal(waiter.waited_us[1], 7 * MS);
    }
    (void)end(loop);
}

struct alarm {
    struct timer timer;
    bool fired;
};

static void on_alarm(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);

    alarm->fired = true;
}

static void test_it_tells_how_late_a_timer_was(void **state)
{
    struct loop *loop = begin();
    struct alarm alarm = {.fired = false};

    (void)state;
    timer_init(&alarm.timer, loop, on_alarm);
    timer_set(&alarm.timer, now_us + 2 * MS);
    pass(100 * MS, 0);
    for (int i = 0; i < 100 && !alarm.fired; i++) { /* libuv waits by its own time */
        turn(loop);
    }
    assert_true(alarm.fired);
    struct loop_load load = end(loop);
    assert_int_equal(load.late_us_max, 98 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_zero_where_the_loop_has_not_turned),
        cmocka_unit_test(test_turns_that_follow_each_other_are_a_standing_delay),
        cmocka_unit_test(test_the_delay_is_at_most_a_fifth_too_small),
        cmocka_unit_test(test_turns_too_short_and_too_long_to_tell_are_counted_too),
        cmocka_unit_test(test_with_a_tenth_of_the_time_left_over_there_is_none),
        cmocka_unit_test(test_a_few_short_turns_do_not_hide_long_ones),
        cmocka_unit_test(test_one_long_turn_among_short_ones_is_no_standing_delay),
        cmocka_unit_test(test_a_take_begins_the_next_interval),
        cmocka_unit_test(test_a_turn_that_is_taken_in_its_middle_is_counted_once),
        cmocka_unit_test(test_an_event_waits_for_those_before_it_in_its_turn),
        cmocka_unit_test(test_it_tells_how_late_a_timer_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
