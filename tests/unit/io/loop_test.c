#include "io_support.h"

#include <signal.h>
#include <unistd.h>

struct note {
    struct deferred deferred;
    struct loop *loop;
    int *order;
    int *count;
    int number;
    struct deferred *then;   /* deferred by the run */
    struct deferred *cancel; /* taken back by the run */
    bool stop;
};

static void on_note(struct deferred *deferred)
{
    struct note *note = container_of(deferred, struct note, deferred);

    note->order[(*note->count)++] = note->number;
    if (note->then != NULL) {
        loop_defer(note->loop, note->then);
    }
    if (note->cancel != NULL) {
        loop_undefer(note->cancel);
    }
    if (note->stop) {
        loop_stop(note->loop);
    }
}

static void note_init(struct note *note, struct loop *loop, int number, int *order, int *count)
{
    memset(note, 0, sizeof(*note));
    deferred_init(&note->deferred, on_note);
    note->loop = loop;
    note->number = number;
    note->order = order;
    note->count = count;
}

static void test_an_empty_loop_returns_from_run_and_closes(void **state)
{
    struct loop *loop = loop_open(1 << 20);

    (void)state;
    loop_run(loop);
    assert_true(loop_close(loop));
}

static void test_deferred_work_runs_once_in_the_order_it_was_asked_for(void **state)
{
    struct loop *loop = loop_open(0);
    struct note notes[3];
    int order[8], count = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        note_init(&notes[i], loop, i, order, &count);
    }
    loop_defer(loop, &notes[2].deferred);
    loop_defer(loop, &notes[0].deferred);
    loop_defer(loop, &notes[1].deferred);
    loop_defer(loop, &notes[2].deferred); /* is asked for already */
    loop_run(loop);
    assert_int_equal(count, 3);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 0);
    assert_int_equal(order[2], 1);
    assert_true(loop_close(loop));
}

static void test_work_deferred_by_deferred_work_runs_in_the_next_turn(void **state)
{
    struct loop *loop = loop_open(0);
    struct note first, second;
    int order[8], count = 0;

    (void)state;
    note_init(&first, loop, 1, order, &count);
    note_init(&second, loop, 2, order, &count);
    first.then = &second.deferred;
    loop_defer(loop, &first.deferred);
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    assert_int_equal(count, 1);
    /* It must not wait for an event that may never come. */
    loop_run(loop);
    assert_int_equal(count, 2);
    assert_true(loop_close(loop));
}

static void test_deferred_work_can_be_taken_back_even_by_work_of_the_same_turn(void **state)
{
    struct loop *loop = loop_open(0);
    struct note first, second, third;
    int order[8], count = 0;

    (void)state;
    note_init(&first, loop, 1, order, &count);
    note_init(&second, loop, 2, order, &count);
    note_init(&third, loop, 3, order, &count);
    first.cancel = &second.deferred;
    loop_defer(loop, &first.deferred);
    loop_defer(loop, &second.deferred);
    loop_defer(loop, &third.deferred);
    loop_undefer(&third.deferred);
    loop_run(loop);
    assert_int_equal(count, 1);
    assert_true(loop_close(loop));
}

static void test_stop_ends_run_though_work_is_left(void **state)
{
    struct loop *loop = loop_open(0);
    struct note note;
    struct timer timer;
    int order[8], count = 0;

    (void)state;
    timer_init(&timer, loop, on_watch);
    timer_set_after(&timer, 3600 * CLOCK_US_PER_S);
    note_init(&note, loop, 1, order, &count);
    note.stop = true;
    loop_defer(loop, &note.deferred);
    loop_run(loop);
    assert_int_equal(count, 1);
    timer_stop(&timer);
    assert_true(loop_close(loop));
}

static void on_signal_number(void *owner, int signum)
{
    *(int *)owner = signum;
}

static void test_a_signal_comes_as_an_event(void **state)
{
    struct loop *loop = loop_open(0);
    int got = 0;

    (void)state;
    assert_true(loop_on_signal(loop, SIGUSR1, on_signal_number, &got));
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    UNTIL(loop, got == SIGUSR1);
    assert_true(loop_close(loop));
}

static void test_at_most_eight_signals(void **state)
{
    struct loop *loop = loop_open(0);
    int got = 0;

    (void)state;
    for (int i = 0; i < 8; i++) {
        assert_true(loop_on_signal(loop, SIGUSR2, on_signal_number, &got));
    }
    assert_false(loop_on_signal(loop, SIGUSR2, on_signal_number, &got));
    assert_true(loop_close(loop));
}

static void test_idle_time_is_part_of_the_total(void **state)
{
    struct loop *loop = loop_open(0);
    struct timer timer;

    (void)state;
    timer_init(&timer, loop, on_watch);
    timer_set_after(&timer, 30000);
    loop_run(loop);
    assert_true(loop_idle_us(loop) > 0);
    assert_true(loop_total_us(loop) >= 30000);
    assert_true(loop_idle_us(loop) <= loop_total_us(loop));
    assert_true(loop_close(loop));
}

static void work_for(uint64_t time_us)
{
    for (uint64_t until_us = clock_now_us() + time_us; clock_now_us() < until_us;) {
    }
}

static void on_signal_work(void *owner, int signum)
{
    (void)signum;
    work_for(30000);
    (*(int *)owner)++;
}

/* libuv runs callbacks within its poll: between check and prepare there is nothing of them. */
static void test_the_load_has_what_callbacks_of_the_poll_do(void **state)
{
    struct loop *loop = loop_open(0);
    struct loop_load load;
    int got = 0;

    (void)state;
    assert_true(loop_on_signal(loop, SIGUSR1, on_signal_work, &got));
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    UNTIL(loop, got == 1);
    turn(loop); /* its poll ends the turn before */
    loop_load_take(loop, &load);
    assert_true(load.work_us_max >= 30000);
    assert_true(load.busy_permille > 0);
    assert_true(loop_close(loop));
}

static void on_timer_work(struct timer *timer)
{
    (void)timer;
    work_for(30000);
}

static void test_the_load_has_what_timers_do(void **state)
{
    struct loop *loop = loop_open(0);
    struct loop_load load;
    struct timer timer;

    (void)state;
    timer_init(&timer, loop, on_timer_work);
    turn(loop);
    timer_set(&timer, clock_now_us());
    UNTIL(loop, !timer_armed(&timer));
    turn(loop);
    loop_load_take(loop, &load);
    assert_true(load.work_us_max >= 30000);
    assert_true(loop_close(loop));
}

static void test_a_loop_that_mostly_waits_has_no_delay(void **state)
{
    struct loop *loop = loop_open(0);
    struct loop_load load;
    uint64_t began_us = clock_now_us();

    (void)state;
    turn(loop);
    work_for(20000);
    UNTIL(loop, loop_idle_us(loop) > (clock_now_us() - began_us) / 2);
    turn(loop);
    loop_load_take(loop, &load);
    assert_int_equal(load.delay_us, 0);
    assert_true(load.busy_permille < 1000);
    assert_true(loop_close(loop));
}

static void test_an_armed_timer_is_something_left_open(void **state)
{
    struct loop *loop = loop_open(0);
    struct timer timer;

    (void)state;
    timer_init(&timer, loop, on_watch);
    timer_set_after(&timer, 3600 * CLOCK_US_PER_S);
    assert_false(loop_close(loop));
    timer_stop(&timer);
    assert_true(loop_close(loop)); /* a refused close changed nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_loop_returns_from_run_and_closes),
        cmocka_unit_test(test_deferred_work_runs_once_in_the_order_it_was_asked_for),
        cmocka_unit_test(test_work_deferred_by_deferred_work_runs_in_the_next_turn),
        cmocka_unit_test(test_deferred_work_can_be_taken_back_even_by_work_of_the_same_turn),
        cmocka_unit_test(test_stop_ends_run_though_work_is_left),
        cmocka_unit_test(test_a_signal_comes_as_an_event),
        cmocka_unit_test(test_at_most_eight_signals),
        cmocka_unit_test(test_idle_time_is_part_of_the_total),
        cmocka_unit_test(test_the_load_has_what_callbacks_of_the_poll_do),
        cmocka_unit_test(test_the_load_has_what_timers_do),
        cmocka_unit_test(test_a_loop_that_mostly_waits_has_no_delay),
        cmocka_unit_test(test_an_armed_timer_is_something_left_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
