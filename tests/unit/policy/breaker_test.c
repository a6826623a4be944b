/*
 * The breaker in virtual time: each transition with its cause, each number of
 * the stages, what one caller may and may not do, and what an operator says.
 * Random sequences are judged beside a plain reading of the rules that looks
 * through the whole history each time. Two small plants print how long opening takes.
 */
#include "base/unit.h"

#include <stdio.h>

#include "weir/base/check.h"
#include "weir/policy/breaker.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)
#define DAY (86400 * SECOND)
#define START (1000 * SECOND)
#define MIDDLE UINT64_C(500000) /* a random that makes the time open what is due: d / 4 */
#define FLIGHTS_MAX 400

static const struct breaker_settings usual = {
    .window_us = 10 * SECOND,
    .min_requests = 20,
    .open_at_permille = 500,
    .slow_at_permille = 800,
    .slow_us = 2 * SECOND,
    .open_for_us = 2 * SECOND,
    .open_max_us = 60 * SECOND,
    .places = 100,
};

static struct breaker breaker;
static struct breaker_flight flights[FLIGHTS_MAX];
static uint64_t now_us, seed;

static int setup(void **state)
{
    (void)state;
    now_us = START;
    seed = 88172645463325252u;
    breaker_init(&breaker, &usual, now_us);
    return 0;
}

static uint32_t below(uint32_t bound)
{
    return (uint32_t)((random_next(&seed) >> 11) % bound);
}

/* One whole call that takes so long. */
static bool call_for(uint32_t caller, enum breaker_outcome outcome, uint64_t took_us)
{
    struct breaker_flight flight;

    breaker_begin(&breaker, &flight, caller, now_us);
    now_us += took_us;
    return breaker_end(&breaker, &flight, outcome, MIDDLE, now_us);
}

static bool call(uint32_t caller, enum breaker_outcome outcome)
{
    return call_for(caller, outcome, MS);
}

/* So many calls of as many callers; none of them changes anything. */
static void calls(int count, enum breaker_outcome outcome)
{
    for (int i = 0; i < count; i++) {
        assert_false(call((uint32_t)i, outcome));
    }
}

static void begin(int from, int count, uint32_t caller)
{
    for (int i = from; i < from + count; i++) {
        breaker_begin(&breaker, &flights[i], caller, now_us);
    }
}

static void begin_of_many(int from, int count)
{
    for (int i = from; i < from + count; i++) {
        breaker_begin(&breaker, &flights[i], (uint32_t)i, now_us);
    }
}

static bool end(int index, enum breaker_outcome outcome)
{
    return breaker_end(&breaker, &flights[index], outcome, MIDDLE, now_us);
}

static bool turn(void)
{
    return breaker_turn(&breaker, MIDDLE, now_us);
}

static bool turn_after(uint64_t after_us)
{
    now_us += after_us;
    return turn();
}

static void assert_change(enum breaker_state from, enum breaker_state to, enum breaker_cause cause)
{
    assert_int_equal(breaker.change.from, from);
    assert_int_equal(breaker.change.to, to);
    assert_int_equal(breaker.change.cause, cause);
    assert_int_equal(breaker.state, to);
}

/* Closed to open by five connects that fail. */
static void open_it(void)
{
    calls(BREAKER_UNREACHED_MAX - 1, BREAKER_UNREACHED);
    assert_true(call(0, BREAKER_UNREACHED));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_UNREACHED);
}

static void wait_until_half_open(void)
{
    now_us = breaker.until_us;
    assert_true(turn());
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_TIME);
}

static void half_open_it(void)
{
    open_it();
    wait_until_half_open();
}

static const uint32_t needed[BREAKER_STAGES] = {1, 3, 5, 10, 20};

/* From HALF_OPEN into a stage, by calls. */
static void climb_to(uint8_t stage)
{
    while (breaker.state == BREAKER_HALF_OPEN && breaker.stage < stage) {
        uint8_t at = breaker.stage;
        for (uint32_t i = 0; i < needed[at]; i++) {
            assert_false(call(i, BREAKER_OK));
        }
        if (at > 0) {
            assert_false(turn_after(BREAKER_STAGE_US));
        }
        assert_int_equal(breaker.stage, at + 1);
    }
    assert_int_equal(breaker.stage, stage);
}

/* From HALF_OPEN to CLOSED. */
static void recover(void)
{
    climb_to(BREAKER_STAGES - 1);
    calls(20, BREAKER_OK);
    assert_true(turn_after(BREAKER_STAGE_US));
    assert_change(BREAKER_HALF_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_RECOVERED);
}

/* Of `asked` calls that end at once: how many go. */
static uint32_t admitted_of(uint32_t asked)
{
    uint32_t admitted = 0;

    for (uint32_t i = 0; i < asked; i++) {
        admitted += breaker_admits(&breaker, BREAKER_BY_BARE, now_us);
    }
    return admitted;
}

/* ---- words ---- */

static void test_states_words_and_causes_have_names(void **state)
{
    (void)state;
    assert_string_equal(breaker_state_name(BREAKER_CLOSED), "closed");
    assert_string_equal(breaker_state_name(BREAKER_OPEN), "open");
    assert_string_equal(breaker_state_name(BREAKER_HALF_OPEN), "half_open");
    assert_string_equal(breaker_forced_name(BREAKER_AUTO), "auto");
    assert_string_equal(breaker_forced_name(BREAKER_FORCED_OPEN), "open");
    assert_string_equal(breaker_forced_name(BREAKER_FORCED_CLOSED), "closed");
    for (int a = 0; a < BREAKER_CAUSE_COUNT; a++) {
        assert_non_null(breaker_cause_name((enum breaker_cause)a));
        for (int b = 0; b < a; b++) {
            assert_string_not_equal(breaker_cause_name((enum breaker_cause)a),
                                    breaker_cause_name((enum breaker_cause)b));
        }
    }
    assert_string_equal(breaker_cause_name(BREAKER_CAUSE_UNREACHED), "unreached");
    assert_string_equal(breaker_cause_name(BREAKER_CAUSE_EXPIRED), "expired");
}

static void test_a_status_is_judged_once_for_the_endpoint_and_once_for_the_route(void **state)
{
    (void)state;
    for (uint16_t status = 200; status < 600; status++) {
        enum breaker_outcome endpoint = BREAKER_OK;
        enum breaker_outcome route = BREAKER_OK;
        if (status == 408 || status == 421 || status == 425 || status == 429) {
            endpoint = route = BREAKER_NEUTRAL;
        } else if (status == 502 || status == 503 || status == 504) {
            endpoint = BREAKER_FAILED;
            route = BREAKER_NEUTRAL;
        } else if (status == 500) {
            route = BREAKER_FAILED;
        }
        assert_int_equal(breaker_outcome_of_endpoint(status), endpoint);
        assert_int_equal(breaker_outcome_of_route(status), route);
    }
}

/* ---- failures ---- */

static void test_so_many_calls_with_so_many_failures_open_it(void **state)
{
    (void)state;
    calls(10, BREAKER_OK);
    calls(9, BREAKER_FAILED);
    assert_true(call(9, BREAKER_FAILED));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
    assert_int_equal(breaker.change.calls, 20);
    assert_int_equal(breaker.change.failed, 10);
    assert_int_equal(breaker.change.slow, 0);
    assert_int_equal(breaker.change.lasted_us, 20 * MS);
    assert_int_equal(breaker.change.open_us, 2 * SECOND);
    assert_int_equal(breaker.since_us, now_us);
    assert_int_equal(breaker.until_us, now_us + 2 * SECOND);
    assert_false(breaker_admits(&breaker, BREAKER_BY_READ, now_us));
}

static void test_a_smaller_share_or_fewer_calls_do_not(void **state)
{
    (void)state;
    calls(19, BREAKER_FAILED); /* too few */
    assert_false(call(1, BREAKER_NEUTRAL));
    setup(NULL);
    for (int i = 0; i < 2000; i++) { /* one short of a half */
        assert_false(call((uint32_t)i, i % 2 == 1 && i > 1 ? BREAKER_FAILED : BREAKER_OK));
    }
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void test_an_ok_that_makes_them_enough_opens_it_as_well(void **state)
{
    (void)state;
    calls(19, BREAKER_FAILED);
    assert_true(call(30, BREAKER_OK));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
}

static void test_what_is_older_than_the_window_does_not_count(void **state)
{
    (void)state;
    calls(19, BREAKER_FAILED);
    now_us = START + 10 * SECOND - 1; /* the last moment of the first bucket's time */
    assert_false(call_for(1, BREAKER_NEUTRAL, 0));
    assert_int_equal(breaker.failed, 19);
    assert_false(turn_after(1));
    assert_int_equal(breaker.failed, 0);
    calls(1, BREAKER_OK);
    calls(18, BREAKER_FAILED);

    setup(NULL); /* calls that go well leave it, too, and the share rises by that */
    calls(30, BREAKER_OK);
    now_us += 5 * SECOND;
    calls(19, BREAKER_FAILED);
    now_us += 2 * SECOND;
    calls(1, BREAKER_OK);
    calls(1, BREAKER_FAILED);
    assert_true(turn_after(3 * SECOND));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
    assert_int_equal(breaker.change.calls, 21);
}

static void test_failures_in_a_row_open_it_whatever_the_window_holds(void **state)
{
    (void)state;
    calls(1000, BREAKER_OK);
    calls(19, BREAKER_FAILED);
    calls(1, BREAKER_OK); /* ends the row */
    calls(10, BREAKER_FAILED);
    calls(10, BREAKER_NEUTRAL); /* does not */
    calls(9, BREAKER_FAILED);
    assert_true(call(1, BREAKER_FAILED));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
    assert_int_equal(breaker.change.failed_in_a_row, 20);
}

static void test_a_row_of_one_caller_and_a_few_others_does_not(void **state)
{
    struct breaker_settings settings = usual;

    (void)state;
    calls(1000, BREAKER_OK);
    for (int i = 0; i < 100; i++) {
        assert_false(call(7, BREAKER_FAILED));
    }
    calls(BREAKER_OTHERS_MIN - 1, BREAKER_FAILED);
    assert_true(call(30, BREAKER_FAILED));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);

    settings.min_requests = 30; /* then the row is as long */
    breaker_init(&breaker, &settings, now_us);
    calls(1000, BREAKER_OK);
    calls(29, BREAKER_FAILED);
    assert_true(call(30, BREAKER_FAILED));

    settings.min_requests = 1; /* but never shorter */
    breaker_init(&breaker, &settings, now_us);
    calls(1000, BREAKER_OK);
    calls(19, BREAKER_FAILED);
    assert_true(call(30, BREAKER_FAILED));
}

static void test_a_row_of_the_only_caller_opens_it(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_false(call(7, BREAKER_OK));
    }
    for (int i = 0; i < 19; i++) {
        assert_false(call(7, BREAKER_FAILED));
    }
    assert_true(call(7, BREAKER_FAILED));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
}

static void test_connects_and_timeouts_in_a_row_open_it(void **state)
{
    (void)state;
    calls(1000, BREAKER_OK);
    for (int i = 0; i < 10; i++) {
        calls(4, i % 2 == 0 ? BREAKER_UNREACHED : BREAKER_TIMED_OUT);
        assert_false(call(5, i % 3 == 0 ? BREAKER_FAILED : BREAKER_OK)); /* ends the row */
        calls(5, BREAKER_OK);
    }
    calls(2, BREAKER_UNREACHED);
    calls(10, BREAKER_NEUTRAL); /* do not */
    calls(2, BREAKER_TIMED_OUT);
    assert_true(call(9, BREAKER_UNREACHED));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_UNREACHED);
    assert_int_equal(breaker.change.in_a_row, 5);
}

static void test_a_decline_is_health_and_back_pressure_says_nothing(void **state)
{
    (void)state;
    calls(1000, breaker_outcome_of_endpoint(402));
    calls(1000, breaker_outcome_of_route(402));
    assert_int_equal(breaker.failed, 0);
    setup(NULL);
    calls(10000, breaker_outcome_of_endpoint(429));
    assert_int_equal(breaker.ok + breaker.failed + breaker.slow, 0);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

/* ---- one caller ---- */

static void test_a_poison_caller_opens_it_for_nobody(void **state)
{
    const struct {
        uint32_t callers;      /* the first of them is poison */
        uint32_t poison_permille;
    } rows[] = {{40, 500}, {40, 900}, {40, 990}, {3, 333}, {3, 900}, {2, 500}, {2, 950}};

    (void)state;
    for (size_t row = 0; row < ARRAY_COUNT(rows); row++) {
        setup(NULL);
        calls(1, BREAKER_OK); /* of 0 */
        assert_false(call(1, BREAKER_OK));
        for (int i = 0; i < 20000; i++) {
            bool poison = below(1000) < rows[row].poison_permille;
            uint32_t caller = poison ? 0 : 1 + below(rows[row].callers - 1);
            assert_false(call(caller, poison ? BREAKER_FAILED : BREAKER_OK));
        }
    }
}

static void test_the_only_caller_opens_it_for_himself(void **state)
{
    (void)state;
    for (int i = 0; i < 19; i++) {
        assert_false(call(5, BREAKER_FAILED));
    }
    assert_true(call(5 + BREAKER_CALLERS, BREAKER_FAILED)); /* a slot is a caller */
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
}

static void test_one_call_of_another_that_went_well_speaks_against_him(void **state)
{
    (void)state;
    calls(1, BREAKER_OK);
    for (int i = 0; i < 200; i++) {
        assert_false(call(5, BREAKER_FAILED));
    }
    now_us = START + 10 * SECOND - 1;
    assert_false(turn());
    assert_true(turn_after(1)); /* nobody else called for a whole window */
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
}

static void test_the_share_must_be_reached_whoever_is_left_out(void **state)
{
    (void)state;
    /* The most failures are of caller 1, 30 of 60; without caller 2, 20 of 20, it is 30 of 80. */
    for (int i = 0; i < 60; i++) {
        assert_false(call(1, i % 2 == 0 ? BREAKER_OK : BREAKER_FAILED));
        if (i % 3 == 0) {
            assert_false(call(3, BREAKER_OK));
            assert_false(call(2, BREAKER_FAILED));
        }
    }
    assert_int_equal(breaker.ok, 50);
    assert_int_equal(breaker.failed, 50);
    calls(20, BREAKER_NEUTRAL);
    for (int i = 0; i < 19; i++) { /* as soon as caller 3 fails for himself, it is the processor */
        assert_false(call(3, BREAKER_FAILED));
    }
    assert_true(call(3, BREAKER_FAILED));
}

static void test_unreached_is_nobodys_doing(void **state)
{
    (void)state;
    calls(1, BREAKER_OK);
    for (int i = 0; i < 9; i++) {
        assert_false(call(5, BREAKER_UNREACHED));
        assert_false(call(6, BREAKER_OK));
    }
    assert_true(call(5, BREAKER_UNREACHED));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_FAILURES);
}

static void test_timeouts_of_one_caller_open_nothing_while_others_are_well(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) { /* in bursts: in a row they are more than five */
        calls(5, BREAKER_OK);
        for (int k = 0; k < 8; k++) {
            assert_false(call(50, BREAKER_TIMED_OUT));
        }
    }
    for (int k = 0; k < 100; k++) {
        assert_false(call(50, BREAKER_TIMED_OUT));
    }
    assert_true(call(51, BREAKER_TIMED_OUT)); /* another's is enough to doubt the processor */
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_UNREACHED);

    setup(NULL);
    for (int k = 0; k < 4; k++) {
        assert_false(call(50, BREAKER_TIMED_OUT));
    }
    assert_true(call(50, BREAKER_TIMED_OUT)); /* nobody else calls */
}

static void test_a_new_row_forgets_who_had_part_in_the_last(void **state)
{
    (void)state;
    calls(3, BREAKER_TIMED_OUT);
    calls(5, BREAKER_OK);
    for (int k = 0; k < 9; k++) {
        assert_false(call(50, BREAKER_TIMED_OUT));
    }
    assert_int_equal(breaker.state, BREAKER_CLOSED);
}

/* ---- slow ---- */

static void test_slow_calls_open_it(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) { /* as long as it may take */
        assert_false(call_for((uint32_t)i, BREAKER_OK, 2 * SECOND));
    }
    setup(NULL);
    begin_of_many(0, 20);
    now_us += 2 * SECOND + 1; /* and longer; no turn sees it */
    for (int i = 0; i < 19; i++) {
        assert_false(end(i, i < 4 ? BREAKER_NEUTRAL : BREAKER_OK)); /* one that left, too */
    }
    assert_true(end(19, BREAKER_OK));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SLOW);
    assert_int_equal(breaker.change.calls, 20);
    assert_int_equal(breaker.change.slow, 20);
    assert_int_equal(breaker.change.failed, 0);
}

static void test_the_share_of_slow_calls_is_exact(void **state)
{
    struct breaker_settings settings = usual;

    (void)state;
    settings.window_us = 100 * SECOND;
    breaker_init(&breaker, &settings, now_us);
    calls(5, BREAKER_OK);
    for (int i = 0; i < 20; i++) { /* as many of each caller, so that it matters not who is left out */
        begin(i, 1, (uint32_t)i % 5);
    }
    now_us += 3 * SECOND;
    for (int i = 0; i < 19; i++) { /* 19 of 24: 791 */
        assert_false(end(i, BREAKER_OK));
    }
    assert_true(end(19, BREAKER_OK)); /* 20 of 25: 800 */
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SLOW);
}

static void test_overdue_calls_count_now(void **state)
{
    (void)state;
    begin_of_many(0, 80);
    now_us += SECOND;
    calls(16, BREAKER_OK);
    begin_of_many(80, 1);
    now_us = START + 2 * SECOND;
    assert_false(turn()); /* just not overdue */
    assert_int_equal(breaker.overdue, 0);
    assert_true(turn_after(1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SLOW);
    assert_int_equal(breaker.change.overdue, 80);
    assert_int_equal(breaker.change.in_flight, 81);
    assert_int_equal(breaker.change.calls, 16);
}

static void test_overdue_calls_are_slow_when_they_end_and_not_counted_twice(void **state)
{
    (void)state;
    begin_of_many(0, 11);
    now_us += SECOND;
    assert_false(end(10, BREAKER_OK));
    begin_of_many(10, 1);
    assert_false(turn_after(SECOND + 1));
    assert_int_equal(breaker.overdue, 10);
    for (int i = 0; i < 10; i++) {
        assert_false(end(i, i % 2 == 0 ? BREAKER_OK : BREAKER_FAILED));
    }
    assert_int_equal(breaker.overdue, 0);
    assert_int_equal(breaker.slow, 10);
    assert_int_equal(breaker.ok, 6);
    assert_int_equal(breaker.failed, 5);
    assert_int_equal(breaker.in_flight, 1);
    assert_false(end(10, BREAKER_OK));
    assert_int_equal(breaker.slow, 10);
}

static void test_slow_calls_of_one_caller_open_nothing_for_others(void **state)
{
    (void)state;
    begin(0, 90, 7);
    begin_of_many(90, 2); /* young, and well */
    now_us += 3 * SECOND;
    assert_false(end(90, BREAKER_NEUTRAL));
    assert_false(end(91, BREAKER_NEUTRAL));
    setup(NULL);
    begin(0, 90, 7);
    now_us += SECOND;
    calls(5, BREAKER_OK);
    begin(90, 1, 9);
    assert_false(turn_after(SECOND));
    assert_int_equal(breaker.overdue, 90);
    for (int i = 0; i < 45; i++) {
        assert_false(end(i, BREAKER_OK));
    }
    assert_false(turn());
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_true(turn_after(10 * SECOND)); /* caller 9 is not answered either, nor was anybody for a while */
}

/* ---- silence ---- */

static void test_silence_to_all_in_flight_opens_it(void **state)
{
    (void)state;
    calls(1000, BREAKER_OK);
    now_us += SECOND;
    begin_of_many(0, 5);
    now_us += 2 * SECOND;
    assert_false(turn());
    assert_true(turn_after(1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
    assert_int_equal(breaker.change.overdue, 5);
    assert_int_equal(breaker.change.in_flight, 5);
}

static void test_silence_after_a_lull_takes_more_than_few_calls(void **state)
{
    (void)state;
    calls(20, BREAKER_OK);
    now_us += SECOND - 1;
    begin_of_many(0, 2);
    assert_true(turn_after(2 * SECOND + 1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
    setup(NULL);
    calls(20, BREAKER_OK);
    now_us += SECOND;
    begin_of_many(0, 2);
    assert_false(turn_after(20 * SECOND));
    assert_int_equal(breaker.overdue, 2);
    setup(NULL); /* where calls are rare there is nothing but lulls */
    calls(19, BREAKER_OK);
    begin_of_many(0, 2);
    assert_false(turn_after(20 * SECOND));
    setup(NULL); /* that it was busy before it opened says nothing about now */
    calls(20, BREAKER_OK);
    half_open_it();
    climb_to(BREAKER_STAGES - 1);
    calls(19, BREAKER_OK);
    now_us += BREAKER_STAGE_US;
    assert_true(call(1, BREAKER_OK));
    assert_change(BREAKER_HALF_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_RECOVERED);
    begin_of_many(0, 2);
    assert_false(turn_after(20 * SECOND));
    setup(NULL); /* of an only caller one is enough */
    for (int i = 0; i < 21; i++) {
        assert_false(call(7, BREAKER_OK));
    }
    begin(0, 1, 7);
    assert_true(turn_after(2 * SECOND + 1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
}

static void test_silence_to_fewer_does_not_unless_there_are_no_more_places(void **state)
{
    struct breaker_settings settings = usual;

    (void)state;
    calls(19, BREAKER_OK);
    begin_of_many(0, 4);
    assert_false(turn_after(5 * SECOND));
    settings.places = 2;
    breaker_init(&breaker, &settings, now_us);
    calls(19, BREAKER_OK);
    begin_of_many(0, 1);
    assert_false(turn_after(5 * SECOND));
    begin_of_many(1, 1);
    assert_false(turn()); /* not overdue yet */
    assert_true(turn_after(5 * SECOND));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
    settings.places = 0;
    breaker_init(&breaker, &settings, now_us);
    assert_false(turn_after(5 * SECOND)); /* nothing in flight is no silence */
}

/* Balancing leaves a silent endpoint alone, so that few are in flight there when it is busy and stops. */
static void test_silence_after_many_answers_opens_it_whoever_is_in_flight(void **state)
{
    (void)state;
    calls(20, BREAKER_OK);
    begin_of_many(0, 2);
    now_us += 2 * SECOND;
    assert_false(turn());
    assert_true(turn_after(1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
    setup(NULL); /* it was busy once, and is not when it falls silent */
    calls(20, BREAKER_OK);
    now_us += 11 * SECOND;
    calls(1, BREAKER_OK);
    begin_of_many(0, 2);
    assert_false(turn_after(5 * SECOND));
}

static void test_an_answer_breaks_the_silence_and_nothing_else_does(void **state)
{
    (void)state;
    calls(100, BREAKER_OK);
    begin_of_many(0, 7);
    now_us += SECOND;
    assert_false(end(5, BREAKER_OK));
    assert_false(turn_after(2 * SECOND));
    assert_int_equal(breaker.overdue, 6);
    assert_false(end(6, BREAKER_FAILED)); /* nor was that one in time, but it is an answer */
    begin_of_many(5, 2); /* that these are young is no sign of life */
    assert_false(turn_after(2 * SECOND));
    assert_true(turn_after(1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
    setup(NULL); /* callers that leave and calls that are given up are no answers */
    calls(100, BREAKER_OK);
    begin_of_many(0, 9);
    now_us += SECOND;
    assert_false(end(5, BREAKER_NEUTRAL));
    assert_false(end(6, BREAKER_TIMED_OUT));
    assert_false(end(7, BREAKER_UNREACHED));
    assert_false(end(8, BREAKER_NEUTRAL));
    assert_true(turn_after(SECOND + 1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
}

static void test_silence_to_one_caller_is_his_while_others_are_well(void **state)
{
    (void)state;
    calls(100, BREAKER_OK);
    begin(0, 8, 7);
    assert_false(turn_after(3 * SECOND));
    assert_int_equal(breaker.overdue, 8);
    begin(8, 1, 9);
    assert_false(turn_after(SECOND));
    assert_true(turn_after(SECOND + 1)); /* silent to two */
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
    setup(NULL);
    begin(0, 8, 7);
    assert_true(turn_after(3 * SECOND)); /* nobody else calls */
    setup(NULL);
    calls(100, BREAKER_OK);
    begin(0, 8, 7);
    assert_true(turn_after(11 * SECOND)); /* nor did for a window */
}

/* ---- open ---- */

static void test_the_time_open_is_jittered_within_bounds(void **state)
{
    uint64_t least_us = UINT64_MAX;
    uint64_t most_us = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t random = random_next(&seed);
        breaker_init(&breaker, &usual, now_us);
        calls(4, BREAKER_UNREACHED);
        begin(0, 1, 0);
        assert_true(breaker_end(&breaker, &flights[0], BREAKER_UNREACHED, random, now_us));
        uint64_t open_us = breaker.change.open_us;
        assert_int_equal(breaker.until_us, now_us + open_us);
        least_us = open_us < least_us ? open_us : least_us;
        most_us = open_us > most_us ? open_us : most_us;
    }
    assert_in_range(least_us, 1500 * MS, 1505 * MS);
    assert_in_range(most_us, 2495 * MS, 2500 * MS);
}

static void test_it_opens_for_longer_each_time_up_to_a_bound(void **state)
{
    const uint64_t seconds[] = {2, 4, 8, 16, 32, 60, 60, 60, 60};
    struct breaker_settings settings = usual;

    (void)state;
    open_it();
    for (size_t i = 0; i < ARRAY_COUNT(seconds); i++) {
        uint64_t due_us = seconds[i] * SECOND;
        assert_int_equal(breaker.change.open_us, due_us - due_us / 4 + MIDDLE % (due_us / 2));
        assert_true(breaker.change.open_us <= settings.open_max_us * 5 / 4);
        wait_until_half_open();
        assert_true(call(1, BREAKER_UNREACHED));
        assert_change(BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE);
    }
    settings.open_max_us = 3600 * SECOND; /* then it doubles six times */
    breaker_init(&breaker, &settings, now_us);
    open_it();
    for (int i = 0; i < 10; i++) {
        wait_until_half_open();
        assert_true(call(1, BREAKER_UNREACHED));
    }
    assert_int_equal(breaker.opened_count, BREAKER_OPENED_MAX);
    assert_int_equal(breaker.change.open_us, 96 * SECOND + MIDDLE);
    settings.open_for_us = settings.open_max_us = 1; /* nothing to divide by */
    breaker_init(&breaker, &settings, now_us);
    open_it();
    assert_int_equal(breaker.change.open_us, 1);
}

static void test_that_it_opened_is_forgotten_with_evidence_alone(void **state)
{
    (void)state;
    half_open_it();
    recover();
    assert_int_equal(breaker.opened_count, 1);
    for (int i = 0; i < 1000; i++) { /* no calls: no evidence */
        assert_false(turn_after(SECOND));
    }
    calls(19, BREAKER_OK); /* too few, */
    assert_false(turn_after(BREAKER_DECAY_US));
    assert_int_equal(breaker.opened_count, 1);
    for (int i = 0; i < 20; i++) { /* a quarter fails, which is half of what opens it: not well enough, */
        assert_false(call((uint32_t)i, i % 4 == 0 ? BREAKER_FAILED : BREAKER_OK));
    }
    assert_false(turn_after(BREAKER_DECAY_US));
    assert_int_equal(breaker.opened_count, 1);
    calls(1, BREAKER_FAILED);
    calls(19, BREAKER_OK); /* enough, but not for long enough, */
    assert_false(turn_after(BREAKER_DECAY_US - 20 * MS - 1));
    assert_int_equal(breaker.opened_count, 1);
    assert_false(turn_after(1)); /* now */
    assert_int_equal(breaker.opened_count, 0);
}

static void test_each_time_that_it_opened_takes_its_own_evidence(void **state)
{
    (void)state;
    half_open_it();
    assert_true(call(1, BREAKER_UNREACHED));
    wait_until_half_open();
    assert_true(call(1, BREAKER_UNREACHED));
    wait_until_half_open();
    recover();
    assert_int_equal(breaker.opened_count, 3);
    calls(100, BREAKER_OK);
    now_us += DAY;
    calls(1, BREAKER_OK); /* an end looks, too; a day of silence is no more than the calls before it */
    assert_int_equal(breaker.opened_count, 2);
    calls(25, BREAKER_OK);
    assert_false(turn_after(BREAKER_DECAY_US));
    assert_int_equal(breaker.opened_count, 1);
    open_it();
    assert_int_equal(breaker.opened_count, 2);
}

static void test_open_ends_with_its_time(void **state)
{
    (void)state;
    open_it();
    now_us = breaker.until_us - 1;
    assert_false(turn());
    assert_int_equal(breaker_wait_us(&breaker, now_us), 1);
    assert_false(breaker_admits(&breaker, BREAKER_BY_READ, now_us));
    now_us++;
    assert_int_equal(breaker_wait_us(&breaker, now_us), 1);
    assert_true(turn());
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_TIME);
    assert_int_equal(breaker.change.lasted_us, 2 * SECOND);
    assert_int_equal(breaker.change.open_us, 0);
    assert_false(turn());
}

static void test_two_checks_in_a_row_end_open_sooner(void **state)
{
    (void)state;
    open_it();
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_false(breaker_checked(&breaker, false, MIDDLE, now_us));
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_true(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_CHECKS);
}

static void test_a_check_that_passed_the_last_time_is_none_of_two(void **state)
{
    (void)state;
    open_it();
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    wait_until_half_open();
    recover();
    calls(20, BREAKER_OK);
    assert_false(turn_after(BREAKER_DECAY_US));
    assert_int_equal(breaker.opened_count, 0);
    open_it();
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_true(breaker_checked(&breaker, true, MIDDLE, now_us));
}

static void test_checks_that_did_not_see_it_fail_do_not_hurry_the_second_time(void **state)
{
    (void)state;
    open_it();
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_true(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_true(call(1, BREAKER_UNREACHED));
    for (int i = 0; i < 300; i++) { /* the count of those that passed does not wrap */
        assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    }
    assert_false(breaker_checked(&breaker, false, MIDDLE, now_us));
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_true(breaker_checked(&breaker, true, MIDDLE, now_us)); /* these did */
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_CHECKS);
    assert_true(call(1, BREAKER_UNREACHED));
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us)); /* what failed before it opened again is over */
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
}

/* ---- stages ---- */

static void test_stages_let_more_and_more_through(void **state)
{
    const uint32_t share[BREAKER_STAGES] = {0, 50, 200, 500, 1000};
    const uint32_t cap[BREAKER_STAGES] = {1, 2, 4, 8, 300};

    (void)state;
    half_open_it();
    for (uint8_t stage = 0; stage < BREAKER_STAGES; stage++) {
        assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
        assert_int_equal(breaker.stage, stage);
        if (stage > 0) { /* the exact share, of calls that take no time */
            assert_int_equal(admitted_of(1000), share[stage]);
            assert_int_equal(admitted_of(2000), 2 * share[stage]);
        }
        uint32_t in_flight = 0; /* of calls that take long: so many and no more */
        for (int i = 0; i < 10000 && in_flight < 300; i++) {
            if (breaker_admits(&breaker, BREAKER_BY_READ, now_us)) {
                begin_of_many((int)in_flight++, 1);
            }
        }
        assert_int_equal(in_flight, cap[stage]);
        for (uint32_t i = 0; i < in_flight; i++) {
            assert_false(end((int)i, BREAKER_NEUTRAL)); /* they say nothing, and give their places back */
        }
        assert_int_equal(breaker.stage, stage);
        for (uint32_t i = 0; i + 1 < needed[stage]; i++) {
            assert_false(call_for(i, BREAKER_OK, 0));
        }
        assert_false(turn());
        assert_int_equal(breaker.stage, stage);
        if (stage == 0) {
            assert_false(call_for(9, BREAKER_OK, 0)); /* the first stage need not last */
            continue;
        }
        assert_false(call_for(9, BREAKER_OK, 0));
        assert_false(call_for(9, BREAKER_OK, 0));
        assert_false(turn_after(BREAKER_STAGE_US - 1));
        assert_int_equal(breaker.stage, stage);
        assert_int_equal(turn_after(1), stage + 1 == BREAKER_STAGES);
    }
    assert_change(BREAKER_HALF_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_RECOVERED);
    assert_int_equal(breaker.change.calls, 21);
    assert_int_equal(breaker.ok, 0);
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
}

static void test_a_stage_that_lasted_needs_all_its_successes(void **state)
{
    (void)state;
    half_open_it();
    climb_to(1);
    for (uint8_t stage = 1; stage < BREAKER_STAGES; stage++) {
        for (uint32_t i = 0; i + 1 < needed[stage]; i++) {
            assert_false(call(i, BREAKER_OK));
            assert_int_equal(breaker.stage, stage);
            now_us += i == 0 ? BREAKER_STAGE_US : 0;
        }
        assert_int_equal(call(9, BREAKER_OK), stage + 1 == BREAKER_STAGES); /* the end itself, no turn */
    }
    assert_change(BREAKER_HALF_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_RECOVERED);
}

static void test_what_is_owed_without_room_is_one_call_at_most(void **state)
{
    (void)state;
    half_open_it();
    climb_to(2);
    begin_of_many(0, 4);
    assert_int_equal(admitted_of(1000), 0);
    assert_false(end(0, BREAKER_NEUTRAL));
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    assert_int_equal(admitted_of(3), 0);
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    for (int i = 1; i < 4; i++) {
        assert_false(end(i, BREAKER_NEUTRAL));
    }
}

static void test_where_calls_are_rare_one_at_a_time_goes_once_a_stage_has_lasted(void **state)
{
    (void)state;
    half_open_it();
    climb_to(1);
    assert_false(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    now_us += BREAKER_STAGE_US - 1;
    assert_false(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    now_us += 1;
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    begin_of_many(0, 1);
    for (int i = 0; i < 10; i++) {
        assert_false(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    }
    assert_false(end(0, BREAKER_OK));
    now_us += BREAKER_STAGE_US - 1;
    assert_false(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    now_us += 1;
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
}

/* Checks led to this stage while the endpoint was still taken for down: its first second has its share all the same. */
static void test_a_stage_lasts_from_its_first_call(void **state)
{
    uint32_t gone = 0;

    (void)state;
    half_open_it();
    climb_to(1);
    now_us += 3 * BREAKER_STAGE_US;
    for (int i = 0; i < 900; i++) {
        now_us += BREAKER_STAGE_US / 1000 - 1;
        if (breaker_admits(&breaker, BREAKER_BY_BARE, now_us)) {
            assert_false(call((uint32_t)i, BREAKER_OK));
            gone++;
        }
        assert_int_equal(breaker.stage, 1);
    }
    assert_in_range(gone, 40, 47); /* a twentieth */
}

static void test_the_first_probe_goes_by_rank(void **state)
{
    struct breaker_settings settings = usual;

    (void)state;
    half_open_it();
    assert_true(breaker_admits(&breaker, BREAKER_BY_READ, now_us));
    now_us = breaker.since_us + BREAKER_WAIT_KEYED_US - 1;
    assert_false(breaker_admits(&breaker, BREAKER_BY_KEYED, now_us));
    now_us++;
    assert_true(breaker_admits(&breaker, BREAKER_BY_KEYED, now_us));
    assert_false(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    now_us = breaker.since_us + BREAKER_WAIT_BARE_US - 1;
    assert_false(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    now_us++;
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    begin_of_many(0, 1);
    assert_false(breaker_admits(&breaker, BREAKER_BY_READ, now_us)); /* one at a time */
    assert_false(end(0, BREAKER_NEUTRAL));

    settings.checked = true;
    settings.check_us = 1000;
    breaker_configure(&breaker, &settings, now_us);
    now_us = breaker.since_us + BREAKER_WAIT_BARE_US + settings.check_us - 1;
    assert_false(breaker_admits(&breaker, BREAKER_BY_KEYED, now_us));
    assert_false(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    now_us++; /* no check says anything, of whatever weir is short */
    assert_true(breaker_admits(&breaker, BREAKER_BY_KEYED, now_us));
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    assert_true(breaker_admits(&breaker, BREAKER_BY_READ, now_us));
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_int_equal(breaker.stage, 1);
    now_us += BREAKER_STAGE_US;
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
}

static void test_a_probe_that_fails_in_the_first_two_stages_opens_it(void **state)
{
    const enum breaker_outcome outcomes[] = {BREAKER_FAILED, BREAKER_TIMED_OUT, BREAKER_UNREACHED};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(outcomes); i++) {
        for (uint8_t stage = 0; stage < 2; stage++) {
            setup(NULL);
            half_open_it();
            climb_to(stage);
            if (stage == 1) {
                calls(2, BREAKER_OK);
            }
            assert_true(call(1, outcomes[i]));
            assert_change(BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE);
            assert_int_equal(breaker.opened_count, 2);
            assert_int_equal(breaker.change.open_us, 3500 * MS);
            assert_int_equal(breaker.change.calls, stage == 0 ? 1 : 3);
            assert_int_equal(breaker.change.failed, 1);
        }
    }
}

static void test_in_later_stages_a_quarter_of_at_least_four_calls_opens_it(void **state)
{
    (void)state;
    for (uint8_t stage = 2; stage < BREAKER_STAGES; stage++) {
        setup(NULL);
        half_open_it();
        climb_to(stage);
        calls(3, BREAKER_FAILED); /* too few to say */
        assert_true(call(3, BREAKER_FAILED));
        assert_change(BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE);
        assert_int_equal(breaker.change.calls, 4);

        setup(NULL);
        half_open_it();
        climb_to(stage);
        calls(4, BREAKER_OK);
        assert_false(call(10, BREAKER_FAILED)); /* whoever is left out: none of 4, */
        assert_false(call(11, BREAKER_FAILED)); /* 1 of 5, */
        assert_true(call(12, BREAKER_FAILED));  /* 2 of 6 */

        setup(NULL);
        half_open_it();
        climb_to(stage);
        calls(4, BREAKER_OK);
        assert_false(call(1, BREAKER_UNREACHED)); /* 1 of 5, nobody's */
        calls(2, BREAKER_OK);
        assert_true(call(1, BREAKER_UNREACHED)); /* 2 of 8 */
    }
}

static void test_in_later_stages_one_caller_opens_it_for_nobody(void **state)
{
    (void)state;
    half_open_it();
    climb_to(2);
    calls(5, BREAKER_OK);
    for (int i = 0; i < 100; i++) {
        assert_false(call_for(20, BREAKER_FAILED, 0));
    }
    assert_false(turn_after(BREAKER_STAGE_US));
    assert_int_equal(breaker.stage, 3);
    for (int i = 0; i < 3; i++) { /* the only one that calls in the stage */
        assert_false(call(20, BREAKER_FAILED));
    }
    assert_true(call(20, BREAKER_FAILED));
}

static void test_the_caller_that_failed_the_last_probe_is_excused_among_others(void **state)
{
    (void)state;
    half_open_it();
    assert_true(call(7, BREAKER_FAILED)); /* the first time it counts */
    wait_until_half_open();
    for (int i = 0; i < BREAKER_EXCUSED_MAX; i++) {
        assert_false(call(7, BREAKER_FAILED));
    }
    assert_int_equal(breaker.stage, 0);
    assert_true(call(7, BREAKER_FAILED)); /* there is an end to it */
    wait_until_half_open();
    assert_false(call(7, BREAKER_FAILED));
    assert_true(call(8, BREAKER_FAILED)); /* another's */
    wait_until_half_open();
    assert_true(call(7, BREAKER_FAILED)); /* which is the last one now */
    wait_until_half_open();
    assert_true(call(7, BREAKER_TIMED_OUT)); /* silence is nobody's to excuse */
    wait_until_half_open();
    assert_true(call(7, BREAKER_FAILED));
    wait_until_half_open();
    climb_to(2);
    assert_false(call(7, BREAKER_FAILED)); /* in later stages a share is judged without him, not he excused */
    assert_int_equal(breaker.failed, 1);
    recover();
    calls(4, BREAKER_OK);
    half_open_it();
    assert_true(call(7, BREAKER_FAILED)); /* it was closed since: all is new */

    setup(NULL); /* of one who calls alone nothing is excused */
    for (int i = 0; i < 19; i++) {
        assert_false(call(7, BREAKER_FAILED));
    }
    assert_true(call(7, BREAKER_FAILED));
    for (int i = 0; i < 3; i++) {
        wait_until_half_open();
        assert_true(call(7, BREAKER_FAILED));
    }
}

/* half_open_it opens with connects, which are nobody's: who called is told by calls that went well before. */
static int setup_among_others(void **state)
{
    setup(state);
    calls(4, BREAKER_OK);
    return 0;
}

static void test_a_probe_that_is_slow_or_never_ends_has_failed(void **state)
{
    (void)state;
    half_open_it();
    assert_true(call_for(1, BREAKER_OK, 2 * SECOND + 1)); /* no turn saw it */
    assert_change(BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE);
    wait_until_half_open();
    assert_true(call_for(1, BREAKER_NEUTRAL, 2 * SECOND + 1));
    wait_until_half_open();
    begin(0, 1, 1);
    assert_false(turn_after(2 * SECOND));
    assert_true(turn_after(1));
    assert_change(BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE);
    assert_int_equal(breaker.change.calls, 1);
    assert_int_equal(breaker.change.overdue, 1);
    wait_until_half_open();
    assert_true(breaker_admits(&breaker, BREAKER_BY_READ, now_us)); /* it holds no place of the next probe */
    begin(1, 1, 1);
    assert_false(end(0, BREAKER_TIMED_OUT)); /* nor does its end say anything */
    assert_false(end(1, BREAKER_OK));
    assert_int_equal(breaker.stage, 1);
}

static void test_overdue_probes_hold_no_place_and_count_once(void **state)
{
    (void)state;
    half_open_it();
    climb_to(2);
    begin_of_many(0, 3);
    assert_false(turn_after(2 * SECOND + 1));
    assert_int_equal(breaker.failed, 3);
    begin_of_many(3, 3); /* three more probes */
    assert_int_equal(admitted_of(5), 1);
    begin_of_many(6, 1);
    assert_int_equal(admitted_of(100), 0);
    for (int i = 0; i < 3; i++) {
        assert_false(end(i, BREAKER_TIMED_OUT)); /* would be the fourth */
    }
    assert_int_equal(breaker.failed, 3);
    assert_int_equal(breaker.overdue, 0);
    assert_true(turn_after(2 * SECOND + 1));
    assert_change(BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE);
    while (turn()) {
    }
    assert_int_equal(breaker.overdue, 4); /* the rest is told by the turns after the change */
    for (int i = 3; i < 7; i++) {
        assert_false(end(i, BREAKER_NEUTRAL));
    }
}

static void test_what_began_before_it_opened_counts_for_nothing_after(void **state)
{
    (void)state;
    begin_of_many(0, 60);
    open_it();
    assert_false(end(0, BREAKER_OK));
    assert_int_equal(breaker.state, BREAKER_OPEN);
    wait_until_half_open();
    assert_int_equal(breaker.overdue, 0);
    assert_false(end(1, BREAKER_OK)); /* no success of the stage, */
    assert_int_equal(breaker.stage, 0);
    assert_false(end(2, BREAKER_FAILED)); /* nor a failure, */
    assert_false(end(3, BREAKER_TIMED_OUT));
    assert_true(breaker_admits(&breaker, BREAKER_BY_READ, now_us)); /* nor a probe in its place */
    assert_false(turn_after(10 * SECOND));
    recover();
    for (int i = 4; i < 30; i++) { /* lost with the processor that was: they open nothing now */
        assert_false(end(i, BREAKER_TIMED_OUT));
        assert_false(turn_after(MS));
    }
    assert_int_equal(breaker.ok + breaker.failed + breaker.slow + breaker.overdue + breaker.in_a_row, 0);
    assert_int_equal(breaker.in_flight, 30);
    assert_int_equal(breaker_oldest_us(&breaker), START);
    begin_of_many(100, 5); /* what is silent now is told beside them */
    assert_true(turn_after(2 * SECOND + 1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
}

static void test_places_that_old_calls_hold_are_not_asked_of_silence(void **state)
{
    struct breaker_settings settings = usual;

    (void)state;
    settings.places = 6;
    breaker_init(&breaker, &settings, now_us);
    begin_of_many(0, 4);
    half_open_it();
    recover();
    begin_of_many(10, 2);
    assert_true(turn_after(2 * SECOND + 1));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_SILENT);
    assert_int_equal(breaker.change.overdue, 2);
    assert_int_equal(breaker.change.in_flight, 6);
}

static void test_probes_of_an_earlier_try_count_for_nothing_in_the_next(void **state)
{
    (void)state;
    half_open_it();
    climb_to(1);
    begin_of_many(0, 2);
    assert_true(end(0, BREAKER_UNREACHED));
    assert_false(breaker_checked(&breaker, false, MIDDLE, now_us));
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_true(breaker_checked(&breaker, true, MIDDLE, now_us)); /* all in one moment */
    assert_false(end(1, BREAKER_FAILED));
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_CHECKS);
    begin_of_many(2, 1);
    assert_false(breaker_admits(&breaker, BREAKER_BY_READ, now_us));
    assert_false(end(2, BREAKER_OK));
    assert_int_equal(breaker.stage, 1);
}

static void test_checks_help_through_the_first_stage_and_close_nothing(void **state)
{
    (void)state;
    half_open_it();
    assert_true(breaker_checked(&breaker, false, MIDDLE, now_us));
    assert_change(BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_CAUSE_PROBE);
    assert_int_equal(breaker.opened_count, 2);
    wait_until_half_open();
    for (int i = 0; i < 10000; i++) { /* for hours */
        assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
        assert_false(turn_after(2 * SECOND));
    }
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
    assert_int_equal(breaker.stage, 1);
    assert_false(breaker_checked(&breaker, false, MIDDLE, now_us)); /* health takes care of those */
    assert_int_equal(breaker.stage, 1);
}

static void test_a_check_supplies_what_is_missing_where_calls_stay_away(void **state)
{
    (void)state;
    half_open_it();
    climb_to(1);
    assert_false(call(1, BREAKER_OK));
    now_us += BREAKER_IDLE_US - 1;
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_int_equal(breaker.ok, 1);
    now_us += 1;
    assert_false(breaker_checked(&breaker, false, MIDDLE, now_us));
    assert_int_equal(breaker.ok, 1);
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_int_equal(breaker.ok, 2);
    begin_of_many(0, 1); /* one is there again */
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_int_equal(breaker.ok, 2);
    assert_false(end(0, BREAKER_NEUTRAL));
    now_us += BREAKER_IDLE_US;
    assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
    assert_int_equal(breaker.stage, 2);
}

/* ---- an operator's word ---- */

static void test_forced_open_lets_nothing_through_until_it_expires(void **state)
{
    uint64_t until_us = now_us + 600 * SECOND;

    (void)state;
    now_us += SECOND;
    assert_true(breaker_force(&breaker, BREAKER_FORCED_OPEN, until_us, now_us));
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_OPERATOR);
    assert_int_equal(breaker.change.open_us, 599 * SECOND);
    assert_int_equal(breaker.change.lasted_us, SECOND);
    assert_int_equal(breaker.opened_count, 0); /* it says nothing about health */
    for (int i = 0; i < 100; i++) {
        assert_false(breaker_admits(&breaker, BREAKER_BY_READ, now_us));
        assert_false(breaker_checked(&breaker, true, MIDDLE, now_us));
        assert_false(call((uint32_t)i, BREAKER_OK));
        assert_false(turn_after(SECOND));
    }
    assert_int_equal(breaker_wait_us(&breaker, now_us), until_us - now_us);
    until_us += 60 * SECOND;
    assert_false(breaker_force(&breaker, BREAKER_FORCED_OPEN, until_us, now_us)); /* for longer: no change */
    assert_int_equal(breaker_wait_us(&breaker, now_us), until_us - now_us);
    now_us = until_us - 1;
    assert_false(turn());
    assert_true(turn_after(1));
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_EXPIRED);
    assert_int_equal(breaker.forced, BREAKER_AUTO);
    assert_int_equal(breaker.forced_until_us, 0);
    assert_int_equal(breaker.stage, 0);
    assert_false(turn());
    recover();
}

static void test_forced_closed_lets_everything_through_until_it_expires(void **state)
{
    uint64_t until_us = now_us + 600 * SECOND;

    (void)state;
    open_it();
    assert_true(breaker_force(&breaker, BREAKER_FORCED_CLOSED, until_us, now_us));
    assert_change(BREAKER_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_OPERATOR);
    begin_of_many(0, 100);
    now_us += 30 * SECOND;
    assert_false(turn());
    calls(100, BREAKER_FAILED);
    calls(100, BREAKER_UNREACHED);
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
    assert_int_equal(breaker.failed, 200); /* bookkeeping goes on */
    assert_int_equal(breaker.overdue, 100);
    assert_int_equal(breaker_wait_us(&breaker, now_us), 1);
    now_us = until_us - 1;
    calls(0, BREAKER_OK);
    assert_false(turn());
    assert_true(turn_after(1));
    assert_change(BREAKER_CLOSED, BREAKER_CLOSED, BREAKER_CAUSE_EXPIRED);
    assert_int_equal(breaker.forced, BREAKER_AUTO);
    assert_false(turn()); /* the window is clear, and what is still in flight began under his word */
    assert_int_equal(breaker.ok + breaker.failed + breaker.in_a_row + breaker.overdue, 0);
    assert_false(end(3, BREAKER_TIMED_OUT));
    open_it();
}

static void test_auto_takes_the_word_back_at_once(void **state)
{
    uint64_t until_us = now_us + 600 * SECOND;

    (void)state;
    assert_false(breaker_force(&breaker, BREAKER_AUTO, 0, now_us)); /* nothing was said */
    assert_true(breaker_force(&breaker, BREAKER_FORCED_CLOSED, until_us, now_us)); /* the word changed */
    assert_change(BREAKER_CLOSED, BREAKER_CLOSED, BREAKER_CAUSE_OPERATOR);
    assert_false(breaker_force(&breaker, BREAKER_FORCED_CLOSED, until_us, now_us));
    calls(100, BREAKER_FAILED);
    assert_true(breaker_force(&breaker, BREAKER_AUTO, 0, now_us));
    assert_change(BREAKER_CLOSED, BREAKER_CLOSED, BREAKER_CAUSE_OPERATOR);
    assert_int_equal(breaker.failed, 0);
    assert_false(turn());
    assert_true(breaker_force(&breaker, BREAKER_FORCED_CLOSED, until_us, now_us));
    assert_true(breaker_force(&breaker, BREAKER_FORCED_OPEN, until_us, now_us)); /* from one word to the other */
    assert_change(BREAKER_CLOSED, BREAKER_OPEN, BREAKER_CAUSE_OPERATOR);
    assert_true(breaker_force(&breaker, BREAKER_AUTO, 0, now_us));
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_OPERATOR);
    assert_true(breaker_force(&breaker, BREAKER_FORCED_OPEN, until_us, now_us));
    assert_true(breaker_force(&breaker, BREAKER_FORCED_CLOSED, until_us, now_us));
    assert_change(BREAKER_OPEN, BREAKER_CLOSED, BREAKER_CAUSE_OPERATOR);
    assert_true(breaker_admits(&breaker, BREAKER_BY_BARE, now_us));
}

/* ---- the rest of the contract ---- */

static void test_it_rests_when_nothing_is_to_come(void **state)
{
    (void)state;
    assert_true(breaker_rests(&breaker));
    assert_int_equal(breaker_oldest_us(&breaker), 0);
    begin_of_many(0, 1);
    now_us += 7;
    begin_of_many(1, 1);
    assert_false(breaker_rests(&breaker));
    assert_int_equal(breaker_oldest_us(&breaker), START);
    assert_false(end(0, BREAKER_OK));
    assert_int_equal(breaker_oldest_us(&breaker), START + 7);
    assert_false(turn_after(5 * SECOND));
    assert_int_equal(breaker.overdue, 1);
    assert_int_equal(breaker_oldest_us(&breaker), START + 7);
    assert_false(end(1, BREAKER_OK));
    assert_true(breaker_rests(&breaker));
    assert_int_equal(breaker_wait_us(&breaker, now_us), 1);
    open_it();
    assert_false(breaker_rests(&breaker));
    wait_until_half_open();
    assert_false(breaker_rests(&breaker));
    assert_int_equal(breaker_wait_us(&breaker, now_us), SECOND);
    recover();
    assert_true(breaker_rests(&breaker));
    assert_true(breaker_force(&breaker, BREAKER_FORCED_CLOSED, now_us + SECOND, now_us));
    assert_false(breaker_rests(&breaker));
}

static void test_a_new_configuration_keeps_what_it_can(void **state)
{
    struct breaker_settings settings = usual;

    (void)state;
    calls(10, BREAKER_OK);
    calls(9, BREAKER_FAILED);
    settings.open_for_us = 7 * SECOND;
    breaker_configure(&breaker, &settings, now_us);
    assert_int_equal(breaker.ok, 10);
    assert_true(call(9, BREAKER_FAILED));
    assert_int_equal(breaker.change.open_us, 5250 * MS + MIDDLE);
    settings.window_us = 30 * SECOND;
    breaker_configure(&breaker, &settings, now_us);
    assert_int_equal(breaker.ok + breaker.failed, 0);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    wait_until_half_open();
    recover();
    calls(19, BREAKER_FAILED);
    now_us += 25 * SECOND;
    assert_true(call(9, BREAKER_FAILED));
    settings.window_us = 3; /* buckets of no time at all are of one microsecond */
    breaker_init(&breaker, &settings, now_us);
    calls(19, BREAKER_FAILED);
    assert_int_equal(breaker.bucket_length_us, 1);
}

static void test_a_full_count_of_one_caller_leaves_the_others_as_they_are(void **state)
{
    (void)state;
    calls(40, BREAKER_OK);
    for (int i = 0; i < 70000; i++) {
        assert_false(call_for(50, BREAKER_FAILED, 1));
    }
    assert_int_equal(breaker.callers_failed[50], UINT16_MAX);
    assert_int_equal(breaker.failed, UINT16_MAX);
    assert_int_equal(breaker.row_failed[50], UINT16_MAX);
    assert_int_equal(breaker.failed_in_a_row, UINT16_MAX);
    assert_int_equal(breaker.callers_ok[50], 0);
    for (int i = 0; i < 70000; i++) {
        assert_false(call_for(50, BREAKER_OK, 1));
    }
    assert_int_equal(breaker.callers_ok[50], UINT16_MAX);
    assert_int_equal(breaker.ok, UINT16_MAX + 40);
    assert_false(turn_after(20 * SECOND));
    assert_int_equal(breaker.ok + breaker.failed, 0);
    assert_int_equal(breaker.callers_ok[50] + breaker.callers_failed[50], 0);
}

static void test_a_full_count_of_slow_calls_leaves_the_others_as_they_are(void **state)
{
    struct breaker_settings settings = usual;

    (void)state;
    settings.slow_us = 1;
    settings.window_us = 100 * SECOND;
    breaker_init(&breaker, &settings, now_us);
    for (int i = 0; i < 40; i++) {
        assert_false(call_for((uint32_t)i, BREAKER_OK, 0));
    }
    for (int i = 0; i < 140000; i++) {
        assert_false(call_for(50, i % 2 == 0 ? BREAKER_OK : BREAKER_FAILED, 2));
    }
    assert_int_equal(breaker.callers_slow[50], UINT16_MAX);
    assert_int_equal(breaker.slow, UINT16_MAX);
}

static void test_the_clock_may_jump_by_days(void **state)
{
    (void)state;
    calls(19, BREAKER_FAILED);
    now_us += 3 * DAY;
    calls(1, BREAKER_OK);
    calls(1, BREAKER_FAILED);
    assert_int_equal(breaker.failed, 1);
    begin_of_many(0, 3);
    assert_false(turn_after(3 * DAY));
    assert_int_equal(breaker.overdue, 3);
    for (int i = 0; i < 3; i++) {
        assert_false(end(i, BREAKER_OK));
    }
    open_it();
    now_us += 3 * DAY;
    assert_true(turn());
    assert_change(BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CAUSE_TIME);
    assert_false(turn_after(3 * DAY));
    climb_to(3);
    now_us += 3 * DAY;
    climb_to(4);
    now_us -= DAY; /* and one that steps back harms nothing */
    assert_false(call(1, BREAKER_OK));
    begin_of_many(0, 1);
    now_us -= DAY;
    assert_false(end(0, BREAKER_OK));
    assert_false(turn());
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
}

/* ---- beside a plain reading of the rules ---- */

#define HISTORY_MAX 400
#define CALLERS 4

/* A call as it was. */
struct past {
    uint64_t began_us, ended_us; /* ended 0: in flight */
    uint32_t caller;
    enum breaker_outcome outcome;
    bool seen_overdue;           /* by a turn */
};

static struct past history[HISTORY_MAX];
static int history_count;
static int ends[HISTORY_MAX]; /* indices, in the order that they ended */
static int ends_count;
static uint32_t answered_calls; /* in the window when the last answer came */
static bool judged;             /* by the last event: an end or a turn */

/* A window is made of whole buckets, the newest of them begun. */
static bool in_window(uint64_t at_us)
{
    uint64_t length_us = breaker.settings.window_us / BREAKER_BUCKETS;
    return (at_us - START) / length_us + BREAKER_BUCKETS > (now_us - START) / length_us;
}

static bool past_is_slow(const struct past *past)
{
    return past->outcome == BREAKER_TIMED_OUT || past->seen_overdue ||
           past->ended_us - past->began_us > breaker.settings.slow_us;
}

/* Counts over the window, without this caller (CALLERS: of all). Calls that were not reached are nobody's. */
struct counts {
    uint32_t calls, ok, failed, slow, overdue;
};

static struct counts counted_without(uint32_t caller)
{
    struct counts counts = {0};

    for (int i = 0; i < history_count; i++) {
        const struct past *past = &history[i];
        if (past->ended_us == 0) {
            counts.overdue += past->seen_overdue && past->caller != caller;
            continue;
        }
        bool slow = past_is_slow(past);
        if (!in_window(past->ended_us) || (past->outcome == BREAKER_NEUTRAL && !slow) ||
            (past->caller == caller && past->outcome != BREAKER_UNREACHED)) {
            continue;
        }
        bool failed = past->outcome >= BREAKER_FAILED;
        counts.calls++;
        counts.failed += failed;
        counts.ok += !failed;
        counts.slow += slow;
    }
    return counts;
}

static bool shares_hold(bool slow)
{
    uint64_t at = slow ? breaker.settings.slow_at_permille : breaker.settings.open_at_permille;

    for (uint32_t left_out = 0; left_out <= CALLERS; left_out++) {
        struct counts counts = counted_without(left_out);
        uint64_t of = counts.calls + (slow ? counts.overdue : 0);
        uint64_t bad = slow ? counts.slow + counts.overdue : counts.failed;
        if (left_out == CALLERS && (of < breaker.settings.min_requests || bad == 0)) {
            return false;
        }
        if (of > 0 && bad * 1000 < at * of) {
            return false;
        }
    }
    return true;
}

static bool row_of_no_answers(void)
{
    int row = 0;
    bool unreached = false;
    bool mixed = false;
    uint32_t caller = CALLERS;

    for (int i = ends_count - 1; i >= 0; i--) {
        const struct past *past = &history[ends[i]];
        if (past->outcome == BREAKER_OK || past->outcome == BREAKER_FAILED) {
            break;
        }
        if (past->outcome == BREAKER_NEUTRAL) {
            continue;
        }
        row++;
        unreached = unreached || past->outcome == BREAKER_UNREACHED;
        mixed = mixed || (caller != CALLERS && caller != past->caller);
        caller = past->caller;
    }
    return row >= BREAKER_UNREACHED_MAX && (unreached || mixed || counted_without(caller).ok == 0);
}

static bool row_of_failures(void)
{
    uint32_t row = 0;
    uint32_t of[CALLERS] = {0};
    uint32_t most = 0;

    for (int i = ends_count - 1; i >= 0 && history[ends[i]].outcome != BREAKER_OK; i--) {
        const struct past *past = &history[ends[i]];
        if (past->outcome != BREAKER_NEUTRAL) {
            row++;
            of[past->caller] += past->outcome != BREAKER_UNREACHED;
        }
    }
    for (uint32_t caller = 1; caller < CALLERS; caller++) {
        most = of[caller] > of[most] ? caller : most;
    }
    return row >= 20 && row >= breaker.settings.min_requests && (row - of[most] >= 5 || counted_without(most).ok == 0);
}

static bool silence(void)
{
    uint32_t overdue = 0;
    uint32_t callers = 0;
    uint32_t caller = CALLERS;
    uint64_t oldest_us = UINT64_MAX;
    bool fell_silent = false;
    uint32_t least = breaker.settings.places < 5 ? breaker.settings.places : 5;

    for (int i = 0; i < history_count; i++) {
        const struct past *past = &history[i];
        if (past->ended_us != 0 || !past->seen_overdue) {
            continue;
        }
        overdue++;
        callers += caller != past->caller;
        caller = past->caller;
        oldest_us = past->began_us < oldest_us ? past->began_us : oldest_us;
    }
    for (int i = 0; i < ends_count; i++) {
        const struct past *past = &history[ends[i]];
        if (past->outcome != BREAKER_OK && past->outcome != BREAKER_FAILED) {
            continue;
        }
        if (now_us - past->ended_us <= breaker.settings.slow_us) {
            return false;
        }
        fell_silent = answered_calls >= breaker.settings.min_requests &&
                      oldest_us < past->ended_us + breaker.settings.window_us / BREAKER_BUCKETS;
    }
    return overdue > 0 && (overdue >= least || fell_silent) && (callers > 1 || counted_without(caller).ok == 0);
}

static enum breaker_cause plain_verdict(void)
{
    return row_of_no_answers()                      ? BREAKER_CAUSE_UNREACHED
           : shares_hold(false) || row_of_failures() ? BREAKER_CAUSE_FAILURES
           : shares_hold(true)                       ? BREAKER_CAUSE_SLOW
           : silence()                               ? BREAKER_CAUSE_SILENT
                                                     : BREAKER_CAUSE_NONE;
}

static enum breaker_outcome any_outcome(uint32_t bad_percent)
{
    if (bad_percent > 100) {
        return BREAKER_UNREACHED;
    }
    if (below(100) >= bad_percent) {
        return below(10) == 0 ? BREAKER_NEUTRAL : BREAKER_OK;
    }
    uint32_t kind = below(10);
    return kind < 6 ? BREAKER_FAILED : kind < 8 ? BREAKER_TIMED_OUT : kind < 9 ? BREAKER_UNREACHED : BREAKER_NEUTRAL;
}

static void settings_at_random(struct breaker_settings *settings)
{
    const uint32_t shares[] = {1, 250, 500, 800, 1000};

    *settings = usual;
    settings->min_requests = 1 + below(25);
    settings->open_at_permille = shares[below(ARRAY_COUNT(shares))];
    settings->slow_at_permille = shares[below(ARRAY_COUNT(shares))];
    settings->slow_us = 100 * MS * (1 + below(30));
    settings->places = 1 + below(8);
    settings->window_us = SECOND * (1 + below(10));
}

/* One event; returns whether the breaker says that it opened. */
static bool event_at_random(uint32_t bad_percent, uint32_t skew)
{
    uint32_t kind = below(10);

    judged = false;
    now_us += below(3) == 0 ? below(400) * MS : 0;
    if (kind < 5) {
        uint32_t caller = below(100) < skew ? 0 : below(CALLERS);
        history[history_count] = (struct past){.began_us = now_us, .caller = caller};
        breaker_begin(&breaker, &flights[history_count++], caller, now_us);
        return false;
    }
    if (kind < 9) {
        int at = (int)below((uint32_t)history_count);
        if (history[at].ended_us != 0) {
            return false;
        }
        judged = true;
        history[at].ended_us = now_us;
        /* Where the first caller is the trouble, it is his alone. */
        history[at].outcome = any_outcome(skew == 50 && history[at].caller != 0 ? 0 : bad_percent);
        ends[ends_count++] = at;
        if (history[at].outcome == BREAKER_OK || history[at].outcome == BREAKER_FAILED) {
            answered_calls = counted_without(CALLERS).calls;
        }
        return breaker_end(&breaker, &flights[at], history[at].outcome, MIDDLE, now_us);
    }
    judged = true;
    for (int i = 0; i < history_count; i++) {
        struct past *past = &history[i];
        past->seen_overdue = past->seen_overdue ||
                             (past->ended_us == 0 && now_us - past->began_us > breaker.settings.slow_us);
    }
    return breaker_turn(&breaker, MIDDLE, now_us);
}

static void assert_counts_are_those_of_history(void)
{
    struct counts counts = counted_without(CALLERS);

    if (in_window(breaker.bucket_us) && (now_us - breaker.bucket_us) < breaker.bucket_length_us) {
        assert_int_equal(breaker.ok, counts.ok);
        assert_int_equal(breaker.failed, counts.failed);
        assert_int_equal(breaker.slow, counts.slow);
    }
    assert_int_equal(breaker.overdue, counts.overdue);
}

static void test_it_opens_when_a_plain_reading_of_the_rules_does(void **state)
{
    const uint32_t percents[] = {10, 40, 60, 100};
    const uint32_t skews[] = {0, 0, 50, 80, 100};
    uint32_t opened[BREAKER_CAUSE_COUNT] = {0};

    (void)state;
    for (int sequence = 0; sequence < 100000; sequence++) {
        struct breaker_settings settings;
        uint32_t bad_percent = percents[below(ARRAY_COUNT(percents))];
        uint32_t skew = skews[below(ARRAY_COUNT(skews))];
        now_us = START;
        history_count = ends_count = 0;
        answered_calls = 0;
        settings_at_random(&settings);
        breaker_init(&breaker, &settings, now_us);
        now_us += 1 + below(1000000);
        history[history_count] = (struct past){.began_us = now_us};
        breaker_begin(&breaker, &flights[history_count++], 0, now_us);
        int events = (int)(10 + below(sequence % 50 == 0 ? 300 : 60));
        for (int i = 0; i < events; i++) {
            bool said = event_at_random(bad_percent, skew);
            enum breaker_cause cause = judged ? plain_verdict() : BREAKER_CAUSE_NONE;
            assert_int_equal(said ? breaker.change.cause : BREAKER_CAUSE_NONE, cause);
            assert_counts_are_those_of_history();
            if (said) {
                opened[cause]++;
                break;
            }
        }
    }
    for (int cause = BREAKER_CAUSE_UNREACHED; cause <= BREAKER_CAUSE_SILENT; cause++) {
        print_message("opened by %s in %u of 100000 sequences\n", breaker_cause_name((enum breaker_cause)cause),
                      opened[cause]);
        assert_true(opened[cause] > 100); /* else the sequences show nothing */
    }
}

/* ---- what holds whatever happens ---- */

static void assert_sums(void)
{
    uint32_t ok = 0;
    uint32_t failed = 0;
    uint32_t slow = 0;
    uint32_t callers[BREAKER_CALLERS] = {0};

    for (int i = 0; i < BREAKER_BUCKETS; i++) {
        const struct breaker_bucket *bucket = &breaker.buckets[i];
        ok += bucket->ok;
        failed += bucket->failed;
        slow += bucket->slow;
        for (int k = 0; k < BREAKER_CALLERS; k++) {
            callers[k] += (uint32_t)bucket->callers_ok[k] + bucket->callers_failed[k] + bucket->callers_slow[k];
        }
    }
    assert_int_equal(breaker.ok, ok);
    assert_int_equal(breaker.failed, failed);
    assert_int_equal(breaker.slow, slow);
    for (int k = 0; k < BREAKER_CALLERS; k++) {
        assert_int_equal(breaker.callers_ok[k] + breaker.callers_failed[k] + breaker.callers_slow[k], callers[k]);
    }
}

static void assert_lists(uint32_t in_flight)
{
    struct list *lists[] = {&breaker.flights_past, &breaker.flights_overdue, &breaker.flights};
    uint32_t counts[3] = {0};
    uint64_t began_us = 0;

    for (int i = 0; i < 3; i++) {
        for (struct list *at = lists[i]->next; at != lists[i]; at = at->next) {
            const struct breaker_flight *flight = container_of(at, struct breaker_flight, in_flights);
            assert_true(flight->began_us >= began_us);
            began_us = flight->began_us;
            assert_int_equal(flight->era == breaker.era, i > 0);
            assert_true(i == 0 || flight->overdue == (i == 1));
            counts[i]++;
        }
    }
    assert_int_equal(counts[0] + counts[1] + counts[2], in_flight);
    assert_int_equal(breaker.in_flight, in_flight);
    assert_int_equal(breaker.overdue, counts[1]);
    assert_int_equal(breaker.era_in_flight, counts[1] + counts[2]);
}

static bool is_legal(enum breaker_state from, enum breaker_state to)
{
    return to != BREAKER_HALF_OPEN || from == BREAKER_OPEN;
}

#define LIVE_MAX 30

static bool live[LIVE_MAX];

static bool anything_at_random(uint32_t bad_percent)
{
    int at = (int)below(LIVE_MAX);

    switch (below(400)) {
    case 0:
        return breaker_force(&breaker, (enum breaker_forced)below(3), now_us + below(5000) * MS, now_us);
    case 1: {
        struct breaker_settings settings;
        settings_at_random(&settings);
        settings.checked = below(2) == 0;
        breaker_configure(&breaker, &settings, now_us);
        return false;
    }
    default:
        break;
    }
    switch (below(12)) {
    case 0:
        return breaker_checked(&breaker, below(4) > 0, random_next(&seed), now_us);
    case 1:
    case 2:
        return breaker_turn(&breaker, random_next(&seed), now_us);
    default:
        if (live[at]) {
            live[at] = false;
            return breaker_end(&breaker, &flights[at], any_outcome(bad_percent), random_next(&seed), now_us);
        }
        if (breaker_admits(&breaker, (enum breaker_rank)below(3), now_us) || below(100) == 0) {
            live[at] = true;
            breaker_begin(&breaker, &flights[at], below(CALLERS), now_us);
        }
        return false;
    }
}

static void test_what_holds_whatever_happens(void **state)
{
    uint32_t seen[BREAKER_STATE_COUNT] = {0};
    uint32_t stages[BREAKER_STAGES] = {0};
    uint32_t causes[BREAKER_CAUSE_COUNT] = {0};

    (void)state;
    memset(live, 0, sizeof(live));
    for (int i = 0; i < 400000; i++) {
        enum breaker_state before = breaker.state;
        enum breaker_forced word = breaker.forced;
        uint32_t in_flight = 0;
        now_us += below(4) == 0 ? below(1000) == 0 ? below(100) * SECOND : below(300) * MS : 0;
        bool said = anything_at_random(i / 500 % 7 == 6 ? 101 : (uint32_t)i / 1000 % 3 * 25);
        assert_true(said || breaker.state == before);
        if (said) {
            assert_int_equal(breaker.change.from, before);
            assert_int_equal(breaker.change.to, breaker.state);
            assert_true(is_legal(before, breaker.state) || word != breaker.forced);
            assert_true(word == BREAKER_AUTO || word != breaker.forced); /* nothing changes by itself under a word */
            assert_true(breaker.change.to != BREAKER_OPEN || breaker.forced != BREAKER_AUTO ||
                        breaker.change.open_us <= breaker.settings.open_max_us * 5 / 4);
            causes[breaker.change.cause]++;
        }
        assert_true(breaker.forced != BREAKER_FORCED_OPEN || breaker.state == BREAKER_OPEN);
        assert_true(breaker.forced != BREAKER_FORCED_CLOSED || breaker.state == BREAKER_CLOSED);
        for (int k = 0; k < LIVE_MAX; k++) {
            in_flight += live[k];
        }
        assert_lists(in_flight);
        if (i % 16 == 0) {
            assert_sums();
        }
        seen[breaker.state]++;
        stages[breaker.state == BREAKER_HALF_OPEN ? breaker.stage : 0]++;
    }
    for (int k = 0; k < BREAKER_STATE_COUNT; k++) {
        assert_true(seen[k] > 1000);
    }
    for (int k = 0; k < BREAKER_STAGES; k++) {
        assert_true(stages[k] > 100);
    }
    for (int k = 1; k < BREAKER_CAUSE_COUNT; k++) {
        assert_true(causes[k] > 10);
    }
    for (int k = 0; k < LIVE_MAX; k++) {
        if (live[k]) {
            bool said = breaker_end(&breaker, &flights[k], BREAKER_OK, 0, now_us);
            assert_true(said || !breaker_rests(&breaker) || breaker.in_flight == 0);
        }
    }
    assert_int_equal(breaker.in_flight, 0);
}

static void test_the_first_stage_has_one_probe_in_flight_at_most(void **state)
{
    (void)state;
    half_open_it();
    memset(live, 0, sizeof(live));
    for (int i = 0; i < 100000; i++) {
        int at = (int)below(LIVE_MAX);
        int probes = 0;
        now_us += below(50) * MS;
        if (live[at]) {
            live[at] = false;
            assert_false(end(at, BREAKER_NEUTRAL));
        } else if (breaker_admits(&breaker, (enum breaker_rank)below(3), now_us)) {
            live[at] = true;
            begin(at, 1, below(CALLERS));
        }
        for (int k = 0; k < LIVE_MAX; k++) {
            probes += live[k];
        }
        assert_true(probes <= 1);
        if (live[at] && now_us - flights[at].began_us > SECOND) {
            live[at] = false;
            assert_false(end(at, BREAKER_NEUTRAL));
        }
        for (int k = 0; k < LIVE_MAX; k++) { /* none becomes overdue: that would be another matter */
            if (live[k] && now_us - flights[k].began_us > SECOND) {
                live[k] = false;
                assert_false(end(k, BREAKER_NEUTRAL));
            }
        }
    }
    assert_int_equal(breaker.stage, 0);
}

/* ---- plants ---- */

/* 500 calls a second of 40 callers, each answered after 20 ms: from when all fail until it opens. */
static uint64_t time_to_open_us(uint64_t well_us)
{
    const uint64_t gap_us = 2 * MS;
    const uint64_t latency_us = 20 * MS;
    uint64_t sick_us = START + well_us;

    for (int i = 0;; i++) { /* calls that end and begin at once: ten are in flight */
        now_us = START + (uint64_t)i * gap_us;
        int at = i % 10;
        if (i >= 10) {
            uint64_t began_us = now_us - latency_us;
            if (end(at, began_us >= sick_us ? BREAKER_FAILED : BREAKER_OK)) {
                return now_us - sick_us;
            }
        }
        begin(at, 1, (uint32_t)i % 40);
        assert_true(now_us < sick_us + 10 * SECOND);
    }
}

static void test_failing_at_500_a_second_it_opens_within_60_ms_of_the_first_failure(void **state)
{
    (void)state;
    uint64_t cold_us = time_to_open_us(0);
    setup(NULL);
    uint64_t warm_us = time_to_open_us(20 * SECOND);
    print_message("all of 500 calls a second fail after 20 ms each: open after %llu ms, %llu ms after 20 s of health\n",
                  (unsigned long long)(cold_us / MS), (unsigned long long)(warm_us / MS));
    assert_true(cold_us <= 20 * MS + 60 * MS);
    assert_true(warm_us <= 20 * MS + 60 * MS);
}

static void test_a_processor_that_stops_opens_it_within_a_turn_of_slow(void **state)
{
    uint64_t began_us[FLIGHTS_MAX];
    int first = 0;
    int last = 0;
    uint64_t stopped_us = START + 15 * SECOND;
    bool opened = false;

    (void)state;
    for (uint64_t tick = 0; !opened; tick++) { /* 2000 a second, 10 ms each, 100 places */
        now_us = START + tick * 500;
        while (first < last && now_us < stopped_us && now_us - began_us[first % FLIGHTS_MAX] >= 10 * MS) {
            assert_false(end(first++ % FLIGHTS_MAX, BREAKER_OK));
        }
        if (last - first < 100) {
            began_us[last % FLIGHTS_MAX] = now_us;
            begin(last % FLIGHTS_MAX, 1, (uint32_t)last % 40);
            last++;
        }
        opened = tick % (BREAKER_TURN_US / 500) == 0 && turn();
        assert_true(now_us < stopped_us + 10 * SECOND);
    }
    print_message("2000 calls a second stop being answered, slow is 2000 ms: open by %s after %llu ms\n",
                  breaker_cause_name(breaker.change.cause), (unsigned long long)((now_us - stopped_us) / MS));
    assert_int_equal(breaker.change.cause, BREAKER_CAUSE_SILENT);
    assert_true(now_us - stopped_us <= usual.slow_us + BREAKER_TURN_US);
}

/* The load in the first second after HALF_OPEN began, offered 2000 a second that take 5 ms. */
static void test_the_first_second_of_recovery_carries_a_twentieth(void **state)
{
    uint32_t offered = 0;
    uint32_t sent = 0;
    uint64_t began_us[FLIGHTS_MAX];
    uint32_t first = 0;

    (void)state;
    half_open_it();
    for (uint64_t since_us = breaker.since_us; now_us < since_us + SECOND; now_us += 500) {
        while (first < sent && now_us - began_us[first % FLIGHTS_MAX] >= 5 * MS) {
            assert_false(end((int)(first++ % FLIGHTS_MAX), BREAKER_OK));
        }
        offered++;
        if (breaker_admits(&breaker, BREAKER_BY_READ, now_us)) {
            began_us[sent % FLIGHTS_MAX] = now_us;
            begin((int)(sent++ % FLIGHTS_MAX), 1, offered % 40);
        }
    }
    print_message("in the first second of recovery %u of %u calls are sent\n", sent, offered);
    assert_true(sent > 10);
    assert_true(sent * 20 <= offered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_states_words_and_causes_have_names, setup),
        cmocka_unit_test_setup(test_a_status_is_judged_once_for_the_endpoint_and_once_for_the_route, setup),
        cmocka_unit_test_setup(test_so_many_calls_with_so_many_failures_open_it, setup),
        cmocka_unit_test_setup(test_a_smaller_share_or_fewer_calls_do_not, setup),
        cmocka_unit_test_setup(test_an_ok_that_makes_them_enough_opens_it_as_well, setup),
        cmocka_unit_test_setup(test_what_is_older_than_the_window_does_not_count, setup),
        cmocka_unit_test_setup(test_failures_in_a_row_open_it_whatever_the_window_holds, setup),
        cmocka_unit_test_setup(test_a_row_of_one_caller_and_a_few_others_does_not, setup),
        cmocka_unit_test_setup(test_a_row_of_the_only_caller_opens_it, setup),
        cmocka_unit_test_setup(test_connects_and_timeouts_in_a_row_open_it, setup),
        cmocka_unit_test_setup(test_a_decline_is_health_and_back_pressure_says_nothing, setup),
        cmocka_unit_test_setup(test_a_poison_caller_opens_it_for_nobody, setup),
        cmocka_unit_test_setup(test_the_only_caller_opens_it_for_himself, setup),
        cmocka_unit_test_setup(test_one_call_of_another_that_went_well_speaks_against_him, setup),
        cmocka_unit_test_setup(test_the_share_must_be_reached_whoever_is_left_out, setup),
        cmocka_unit_test_setup(test_unreached_is_nobodys_doing, setup),
        cmocka_unit_test_setup(test_timeouts_of_one_caller_open_nothing_while_others_are_well, setup),
        cmocka_unit_test_setup(test_a_new_row_forgets_who_had_part_in_the_last, setup),
        cmocka_unit_test_setup(test_slow_calls_open_it, setup),
        cmocka_unit_test_setup(test_the_share_of_slow_calls_is_exact, setup),
        cmocka_unit_test_setup(test_overdue_calls_count_now, setup),
        cmocka_unit_test_setup(test_overdue_calls_are_slow_when_they_end_and_not_counted_twice, setup),
        cmocka_unit_test_setup(test_slow_calls_of_one_caller_open_nothing_for_others, setup),
        cmocka_unit_test_setup(test_silence_to_all_in_flight_opens_it, setup),
        cmocka_unit_test_setup(test_silence_after_a_lull_takes_more_than_few_calls, setup),
        cmocka_unit_test_setup(test_silence_to_fewer_does_not_unless_there_are_no_more_places, setup),
        cmocka_unit_test_setup(test_silence_after_many_answers_opens_it_whoever_is_in_flight, setup),
        cmocka_unit_test_setup(test_an_answer_breaks_the_silence_and_nothing_else_does, setup),
        cmocka_unit_test_setup(test_silence_to_one_caller_is_his_while_others_are_well, setup),
        cmocka_unit_test_setup(test_the_time_open_is_jittered_within_bounds, setup),
        cmocka_unit_test_setup(test_it_opens_for_longer_each_time_up_to_a_bound, setup),
        cmocka_unit_test_setup(test_that_it_opened_is_forgotten_with_evidence_alone, setup),
        cmocka_unit_test_setup(test_each_time_that_it_opened_takes_its_own_evidence, setup),
        cmocka_unit_test_setup(test_open_ends_with_its_time, setup),
        cmocka_unit_test_setup(test_two_checks_in_a_row_end_open_sooner, setup),
        cmocka_unit_test_setup(test_a_check_that_passed_the_last_time_is_none_of_two, setup),
        cmocka_unit_test_setup(test_checks_that_did_not_see_it_fail_do_not_hurry_the_second_time, setup),
        cmocka_unit_test_setup(test_stages_let_more_and_more_through, setup),
        cmocka_unit_test_setup(test_a_stage_that_lasted_needs_all_its_successes, setup),
        cmocka_unit_test_setup(test_what_is_owed_without_room_is_one_call_at_most, setup),
        cmocka_unit_test_setup(test_where_calls_are_rare_one_at_a_time_goes_once_a_stage_has_lasted, setup),
        cmocka_unit_test_setup(test_a_stage_lasts_from_its_first_call, setup),
        cmocka_unit_test_setup(test_the_first_probe_goes_by_rank, setup),
        cmocka_unit_test_setup(test_a_probe_that_fails_in_the_first_two_stages_opens_it, setup),
        cmocka_unit_test_setup(test_in_later_stages_a_quarter_of_at_least_four_calls_opens_it, setup),
        cmocka_unit_test_setup(test_in_later_stages_one_caller_opens_it_for_nobody, setup),
        cmocka_unit_test_setup(test_the_caller_that_failed_the_last_probe_is_excused_among_others, setup_among_others),
        cmocka_unit_test_setup(test_a_probe_that_is_slow_or_never_ends_has_failed, setup),
        cmocka_unit_test_setup(test_overdue_probes_hold_no_place_and_count_once, setup),
        cmocka_unit_test_setup(test_what_began_before_it_opened_counts_for_nothing_after, setup),
        cmocka_unit_test_setup(test_places_that_old_calls_hold_are_not_asked_of_silence, setup),
        cmocka_unit_test_setup(test_probes_of_an_earlier_try_count_for_nothing_in_the_next, setup),
        cmocka_unit_test_setup(test_checks_help_through_the_first_stage_and_close_nothing, setup),
        cmocka_unit_test_setup(test_a_check_supplies_what_is_missing_where_calls_stay_away, setup),
        cmocka_unit_test_setup(test_forced_open_lets_nothing_through_until_it_expires, setup),
        cmocka_unit_test_setup(test_forced_closed_lets_everything_through_until_it_expires, setup),
        cmocka_unit_test_setup(test_auto_takes_the_word_back_at_once, setup),
        cmocka_unit_test_setup(test_it_rests_when_nothing_is_to_come, setup),
        cmocka_unit_test_setup(test_a_new_configuration_keeps_what_it_can, setup),
        cmocka_unit_test_setup(test_a_full_count_of_one_caller_leaves_the_others_as_they_are, setup),
        cmocka_unit_test_setup(test_a_full_count_of_slow_calls_leaves_the_others_as_they_are, setup),
        cmocka_unit_test_setup(test_the_clock_may_jump_by_days, setup),
        cmocka_unit_test_setup(test_it_opens_when_a_plain_reading_of_the_rules_does, setup),
        cmocka_unit_test_setup(test_what_holds_whatever_happens, setup),
        cmocka_unit_test_setup(test_the_first_stage_has_one_probe_in_flight_at_most, setup),
        cmocka_unit_test_setup(test_failing_at_500_a_second_it_opens_within_60_ms_of_the_first_failure, setup),
        cmocka_unit_test_setup(test_a_processor_that_stops_opens_it_within_a_turn_of_slow, setup),
        cmocka_unit_test_setup(test_the_first_second_of_recovery_carries_a_twentieth, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
