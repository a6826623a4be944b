/*
 * Shedding: what raises the level and what lowers it, how fast at most, what
 * each class loses by it, and that a process under constant load finds its
 * level and stays there. The last is tried on a plant: a loop that is given
 * work by class, and a controller that takes some of it away.
 */
#include "base/unit.h"

#include <stdio.h>

#include "weir/base/check.h"
#include "weir/policy/shed.h"

#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)
#define MINUTE (60 * SECOND)
#define START (1000 * SECOND)

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

static double between(double low, double high)
{
    return low + (high - low) * (double)below(1000001) / 1000000;
}

static const struct shed_signals late = {.delay_us = 20 * MS, .busy_permille = 1000};
static const struct shed_signals full = {.busy_permille = 100, .full_permille = 900};
static const struct shed_signals tight = {.delay_us = 3 * MS, .busy_permille = 1000};
static const struct shed_signals little = {.busy_permille = 900}; /* is left over */
static const struct shed_signals calm = {.busy_permille = 500};

/* Turns every 100 ms for so long; returns the level. */
static uint32_t turns(struct shed *shed, const struct shed_signals *signals, uint64_t *now_us, uint64_t for_us)
{
    for (uint64_t until_us = *now_us + for_us; *now_us < until_us;) {
        *now_us += SHED_TURN_US;
        (void)shed_turn(shed, signals, *now_us);
    }
    return shed->level;
}

/* A controller that has shed everything it may. */
static void raise_all(struct shed *shed, uint64_t *now_us)
{
    *shed = (struct shed){0};
    assert_int_equal(turns(shed, &late, now_us, 10 * SECOND), SHED_LEVEL_MAX);
}

/* ---- the level ---- */

static void test_the_level_rises_with_delay_or_fullness_and_with_nothing_else(void **state)
{
    const struct shed_signals rows[] = {
        {.delay_us = 5000, .busy_permille = 1000, .full_permille = 899},
        {.delay_us = 0, .busy_permille = 1000},
        {0},
    };
    const struct shed_signals over[] = {
        {.delay_us = 5001, .busy_permille = 1000},
        {.delay_us = 0, .full_permille = 900},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct shed shed = {0};
        uint64_t now_us = START;
        assert_int_equal(turns(&shed, &rows[i], &now_us, MINUTE), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(over); i++) {
        struct shed shed = {0};
        assert_true(shed_turn(&shed, &over[i], START)); /* one interval is enough */
        assert_true(shed.level > 0);
    }
}

static void test_leaving_zero_and_coming_back_are_told_once_each(void **state)
{
    struct shed shed = {0};
    uint64_t now_us = START;
    int told = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        told += shed_turn(&shed, &late, now_us += SHED_TURN_US);
    }
    assert_int_equal(told, 1);
    for (int i = 0; i < 1200; i++) {
        told += shed_turn(&shed, &calm, now_us += SHED_TURN_US);
    }
    assert_int_equal(shed.level, 0);
    assert_int_equal(told, 2);
}

static void test_it_begins_with_a_small_step_and_hurries_while_the_delay_goes_on(void **state)
{
    struct shed shed = {0};
    uint64_t now_us = START;
    uint32_t first, second;

    (void)state;
    first = turns(&shed, &late, &now_us, SHED_TURN_US);
    second = turns(&shed, &late, &now_us, SHED_TURN_US) - first;
    assert_in_range(first, 1, 5);
    assert_true(second > first);
    assert_true(turns(&shed, &late, &now_us, 5 * SECOND) == SHED_LEVEL_MAX);
    assert_true(turns(&shed, &full, &now_us, MINUTE) == SHED_LEVEL_MAX); /* and no further */
}

/* The small first step is for a row of bad intervals: a good one between begins it anew. */
static void test_a_good_interval_begins_the_row_anew(void **state)
{
    struct shed shed = {0};
    uint64_t now_us = START;
    uint32_t before;

    (void)state;
    (void)turns(&shed, &late, &now_us, SECOND);
    (void)turns(&shed, &tight, &now_us, SHED_TURN_US);
    before = shed.level;
    assert_in_range(turns(&shed, &late, &now_us, SHED_TURN_US) - before, 1, 5);
}

static void test_a_second_of_calm_lowers_it_by_ten_a_second(void **state)
{
    struct shed shed;
    uint64_t now_us = START;

    (void)state;
    raise_all(&shed, &now_us);
    assert_int_equal(turns(&shed, &calm, &now_us, SECOND), SHED_LEVEL_MAX);
    assert_int_equal(turns(&shed, &calm, &now_us, SECOND), SHED_LEVEL_MAX - 10);
    assert_int_equal(turns(&shed, &calm, &now_us, 10 * SECOND), SHED_LEVEL_MAX - 110);
    (void)turns(&shed, &tight, &now_us, SHED_TURN_US); /* is not calm: the second begins again */
    assert_int_equal(turns(&shed, &calm, &now_us, SECOND), SHED_LEVEL_MAX - 110);
}

static void test_without_calm_it_stays(void **state)
{
    const struct shed_signals rows[] = {
        {.delay_us = 2000, .busy_permille = 500},
        {.delay_us = 0, .busy_permille = 950},
        {.delay_us = 0, .busy_permille = 500, .full_permille = 800},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct shed shed;
        uint64_t now_us = START;
        raise_all(&shed, &now_us);
        assert_int_equal(turns(&shed, &rows[i], &now_us, 10 * MINUTE), SHED_LEVEL_MAX);
    }
}

/* Between four and nineteen parts in twenty there is room, but for how much nobody knows: it is tried out, slowly. */
static void test_with_little_to_spare_it_falls_by_one_a_second_a_minute_after_the_last_rise(void **state)
{
    struct shed shed;
    uint64_t now_us = START;

    (void)state;
    raise_all(&shed, &now_us);
    assert_int_equal(turns(&shed, &little, &now_us, MINUTE - SHED_TURN_US), SHED_LEVEL_MAX);
    assert_in_range(turns(&shed, &little, &now_us, 10 * SECOND), SHED_LEVEL_MAX - 11, SHED_LEVEL_MAX - 10);
    (void)turns(&shed, &late, &now_us, SHED_TURN_US); /* that was wrong: not again for a minute */
    uint32_t level = shed.level;
    assert_int_equal(turns(&shed, &little, &now_us, MINUTE - SHED_TURN_US), level);
}

/* However its turns come: late ones, hurried ones, and all at once after a stop. */
static void test_no_timing_of_its_turns_makes_it_steeper(void **state)
{
    (void)state;
    for (int run = 0; run < 2000; run++) {
        struct shed shed = {0};
        uint64_t now_us = START, first_us, step_max_us = 1 + below(below(2) == 0 ? 2 * SECOND : 150 * MS);
        bool up = below(2) == 0;
        if (!up) {
            raise_all(&shed, &now_us);
        }
        uint32_t before = shed.level;
        first_us = now_us;
        for (int i = 0; i < 60; i++) {
            now_us += below(step_max_us);
            (void)shed_turn(&shed, up ? &late : &calm, now_us);
            uint64_t ms = (now_us - first_us) / MS;
            uint32_t moved = up ? shed.level - before : before - shed.level;
            assert_true(moved <= (up ? ms / 10 + 2 : ms / 100 + 1)); /* the first step may come at once */
        }
    }
}

static void test_a_process_that_stood_still_for_a_moment_is_not_overloaded(void **state)
{
    struct shed shed = {0};
    const struct shed_signals stood = {.delay_us = 5 * SECOND, .busy_permille = 1000};
    uint64_t now_us = START;

    (void)state;
    (void)turns(&shed, &calm, &now_us, SECOND);
    (void)shed_turn(&shed, &stood, now_us += 5 * SECOND);
    assert_in_range(shed.level, 1, 5);
    assert_int_equal(turns(&shed, &calm, &now_us, 2 * SECOND), 0);
}

/* Two stops in a row are two intervals, however long they were. */
static void test_late_turns_count_for_a_second_at_most(void **state)
{
    struct shed shed = {0};

    (void)state;
    (void)shed_turn(&shed, &late, START);
    (void)shed_turn(&shed, &late, START + 10 * SECOND);
    assert_true(shed.level <= 100);
}

static void test_rows_that_follow_one_another_are_no_steeper(void **state)
{
    struct shed shed = {0};
    uint64_t now_us = START;

    (void)state;
    for (int i = 0; i < 1000; i++) { /* a second */
        (void)shed_turn(&shed, i % 2 == 0 ? &late : &tight, now_us += MS);
    }
    assert_in_range(shed.level, 1, 100);
}

/* ---- who loses what ---- */

static void test_a_class_begins_to_lose_where_the_one_below_has_lost_everything(void **state)
{
    static const struct row {
        uint32_t level;
        uint32_t shares[SHED_CLASS_COUNT]; /* payment, write, read, list, test, background */
    } rows[] = {
        {0, {0, 0, 0, 0, 0, 0}},        {1, {0, 0, 0, 0, 1, 1}},          {60, {0, 0, 0, 0, 60, 60}},
        {100, {0, 0, 0, 0, 100, 100}},  {101, {0, 0, 0, 1, 100, 100}},    {200, {0, 0, 0, 100, 100, 100}},
        {250, {0, 0, 50, 100, 100, 100}}, {399, {0, 99, 100, 100, 100, 100}}, {400, {0, 100, 100, 100, 100, 100}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct shed shed = {.level = rows[i].level};
        for (int class = 0; class < SHED_CLASS_COUNT; class++) {
            assert_int_equal(shed_share(&shed, (enum shed_class)class), rows[i].shares[class]);
        }
    }
}

static void test_a_class_is_thinned_evenly_and_exactly(void **state)
{
    (void)state;
    for (uint32_t level = 0; level <= SHED_LEVEL_MAX; level++) {
        struct shed shed = {.level = level};
        for (int class = 0; class < SHED_CLASS_COUNT; class++) {
            uint32_t share = shed_share(&shed, (enum shed_class)class), refused = 0;
            for (uint32_t asked = 1; asked <= 1000; asked++) {
                refused += shed_refuses(&shed, (enum shed_class)class, 0) ? 1 : 0;
                assert_int_equal(refused, asked * share / 100); /* at every moment, not only in the end */
            }
        }
    }
}

/* Ten times as many of one class take nothing from another. */
static void test_classes_are_thinned_apart(void **state)
{
    struct shed shed = {.level = 150};
    uint32_t lists = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        lists += i % 10 == 0 && shed_refuses(&shed, SHED_LIST, 0) ? 1 : 0;
        assert_true(shed_refuses(&shed, SHED_TEST, 0));
        assert_false(shed_refuses(&shed, SHED_PAYMENT, 0));
    }
    assert_int_equal(lists, 50);
}

/* In a hundred; the share at the level that such a wait stands for. */
static uint32_t share_after(uint64_t waited_us, enum shed_class class)
{
    struct shed shed = {0};
    uint32_t refused = 0;

    (void)shed_turn(&shed, &late, START);
    for (int i = 0; i < 100; i++) {
        refused += shed_refuses(&shed, class, waited_us) ? 1 : 0;
    }
    return refused;
}

static void test_who_waited_long_in_a_standing_delay_is_shed_by_a_higher_level(void **state)
{
    static const struct row {
        uint64_t waited_us;
        enum shed_class class;
        uint32_t share;
    } rows[] = {
        {10000, SHED_TEST, 2},      {10100, SHED_TEST, 3},     {15000, SHED_TEST, 52},   {20000, SHED_TEST, 100},
        {19000, SHED_LIST, 0},      {25000, SHED_LIST, 52},    {25000, SHED_READ, 0},    {35000, SHED_READ, 52},
        {40000, SHED_READ, 100},    {60 * SECOND, SHED_READ, 100}, {60 * SECOND, SHED_WRITE, 0},
        {60 * SECOND, SHED_PAYMENT, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(share_after(rows[i].waited_us, rows[i].class), rows[i].share);
    }
}

/* A burst: the interval before it was a good one. */
static void test_a_long_wait_alone_sheds_nobody(void **state)
{
    struct shed shed = {0};
    uint64_t now_us = START;

    (void)state;
    (void)turns(&shed, &late, &now_us, SHED_TURN_US);
    (void)turns(&shed, &calm, &now_us, SHED_TURN_US);
    assert_int_equal(shed.level, 2);
    for (int i = 0; i < 40; i++) {
        assert_false(shed_refuses(&shed, SHED_TEST, SECOND));
    }
}

/* Where writes are shed by level, waiting makes it neither more nor less. */
static void test_a_long_wait_does_not_lower_the_level(void **state)
{
    struct shed shed;
    uint64_t now_us = START;
    uint32_t refused = 0;

    (void)state;
    raise_all(&shed, &now_us);
    shed.level = 350;
    for (int i = 0; i < 100; i++) {
        refused += shed_refuses(&shed, SHED_WRITE, SECOND) ? 1 : 0;
    }
    assert_int_equal(refused, 50);
}

static void test_refusals_are_held_back_the_longer_the_larger_the_share(void **state)
{
    (void)state;
    for (uint32_t level = 0; level <= SHED_LEVEL_MAX; level++) {
        const struct shed shed = {.level = level};
        for (int class = 0; class < SHED_CLASS_COUNT; class++) {
            uint64_t share = shed_share(&shed, (enum shed_class)class);
            assert_int_equal(shed_hold_us(&shed, (enum shed_class)class, 0), share * SHED_HOLD_US_MAX / 100);
        }
    }
    struct shed shed = {0};
    (void)shed_turn(&shed, &late, START);
    assert_int_equal(shed_hold_us(&shed, SHED_READ, SECOND), SHED_HOLD_US_MAX); /* as they are judged */
}

static void test_the_room_of_a_class_is_rounded_up_and_never_nothing(void **state)
{
    static const struct row {
        uint32_t whole, write, read, list, test;
    } rows[] = {{1, 1, 1, 1, 1},         {2, 2, 2, 2, 1},          {5, 5, 4, 3, 2},
                {10, 10, 8, 6, 4},       {11, 11, 9, 7, 5},        {512, 512, 410, 308, 205},
                {UINT32_MAX, UINT32_MAX, 3435973836u, 2576980377u, 1717986918u}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(shed_room(SHED_PAYMENT, rows[i].whole), rows[i].whole);
        assert_int_equal(shed_room(SHED_WRITE, rows[i].whole), rows[i].write);
        assert_int_equal(shed_room(SHED_READ, rows[i].whole), rows[i].read);
        assert_int_equal(shed_room(SHED_LIST, rows[i].whole), rows[i].list);
        assert_int_equal(shed_room(SHED_TEST, rows[i].whole), rows[i].test);
        assert_int_equal(shed_room(SHED_BACKGROUND, rows[i].whole), rows[i].test);
    }
}

static void test_classes_have_the_names_of_the_configuration(void **state)
{
    (void)state;
    assert_string_equal(shed_class_name(SHED_PAYMENT), "payment");
    assert_string_equal(shed_class_name(SHED_WRITE), "write");
    assert_string_equal(shed_class_name(SHED_READ), "read");
    assert_string_equal(shed_class_name(SHED_LIST), "list");
    assert_string_equal(shed_class_name(SHED_TEST), "test");
    assert_string_equal(shed_class_name(SHED_BACKGROUND), "background");
}

/* ---- the plant ---- */

/* A loop that is given work. Loads are in what it can do: 3.0 is three times as much. */
struct plant {
    double load[SHED_CLASS_COUNT];
    double refusal;  /* what turning a request away costs, of serving it */
    double noise;    /* of the load, from interval to interval */
    double queue_s;  /* no more work than this can wait: clients have so many connections */
    double queued_s; /* work that waits */
};

struct course {
    struct shed shed;
    uint64_t now_us;
    uint32_t turn_count, late_count; /* of a run; intervals with delay beyond the target */
    double busy;                     /* sum over the turns */
    int sign_changes, direction;
};

static double work_of(const struct plant *plant, const struct shed *shed)
{
    double work = 0;

    for (int class = 0; class < SHED_CLASS_COUNT; class++) {
        double share = shed_share(shed, (enum shed_class)class) / 100.0;
        work += plant->load[class] * (1 - share + share * plant->refusal);
    }
    return work;
}

static void course_turn(struct course *course, struct plant *plant)
{
    uint64_t step_us = SHED_TURN_US + below(10 * MS) + (below(50) == 0 ? below(300 * MS) : 0);
    double step_s = (double)step_us / 1e6, idle_s = 0;
    uint32_t before = course->shed.level;

    plant->queued_s += step_s * (work_of(plant, &course->shed) * between(1 - plant->noise, 1 + plant->noise) - 1);
    if (plant->queued_s < 0) {
        idle_s = -plant->queued_s;
        plant->queued_s = 0;
    } else if (plant->queued_s > plant->queue_s) {
        plant->queued_s = plant->queue_s;
    }
    double busy = idle_s < step_s ? 1 - idle_s / step_s : 0;
    const struct shed_signals signals = {
        .delay_us = busy > 0.9 ? (uint64_t)(plant->queued_s * 1e6) : 0,
        .busy_permille = (uint32_t)(busy * 1000),
    };
    course->now_us += step_us;
    (void)shed_turn(&course->shed, &signals, course->now_us);
    course->turn_count++;
    course->late_count += signals.delay_us > 5 * MS ? 1 : 0;
    course->busy += busy;
    int direction = course->shed.level > before ? 1 : course->shed.level < before ? -1 : course->direction;
    course->sign_changes += course->direction != 0 && direction != course->direction ? 1 : 0;
    course->direction = direction;
}

/* A minute, or several; counts of this time alone. */
static void course_run(struct course *course, struct plant *plant, uint64_t for_us)
{
    course->turn_count = course->late_count = 0;
    course->busy = 0;
    course->sign_changes = 0;
    for (uint64_t until_us = course->now_us + for_us; course->now_us < until_us;) {
        course_turn(course, plant);
    }
}

/* Of any mixture; payments, with the refusal of everything else, leave it something to do. */
static void plant_make(struct plant *plant, double load)
{
    double parts[SHED_CLASS_COUNT], all = 0;

    *plant = (struct plant){.refusal = between(0.02, 0.3), .noise = between(0, 0.2), .queue_s = between(0.02, 2)};
    for (int class = 0; class < SHED_CLASS_COUNT; class++) {
        parts[class] = below(4) == 0 ? 0 : between(0, 1);
        all += parts[class];
    }
    for (int class = 0; class < SHED_CLASS_COUNT; class++) {
        plant->load[class] = all > 0 ? load * parts[class] / all : 0;
    }
}

static bool can_be_helped(const struct plant *plant)
{
    const struct shed most = {.level = SHED_LEVEL_MAX};

    return work_of(plant, &most) < 0.8;
}

static void must(bool holds, const char *what, const struct course *course, double load, int run)
{
    if (!holds) {
        fail_msg("%s: load %.2f, run %d: level %u, %d sign changes, %u of %u late, busy %.2f", what, load, run,
                 course->shed.level, course->sign_changes, course->late_count, course->turn_count,
                 course->busy / course->turn_count);
    }
}

static void test_under_constant_load_it_finds_its_level_and_does_not_flap(void **state)
{
    static const double loads[] = {0.5, 0.9, 0.97, 1.0, 1.03, 1.1, 1.5, 3, 10};

    (void)state;
    for (int run = 0; run < 900; run++) {
        double load = loads[(size_t)run % ARRAY_COUNT(loads)];
        struct course course = {.now_us = START};
        struct plant plant;
        plant_make(&plant, load);
        for (int minute = 0; minute < 10; minute++) {
            course_run(&course, &plant, MINUTE);
            must(course.sign_changes <= 2, "it flaps", &course, load, run);
            if (minute >= 1 && can_be_helped(&plant)) {
                must(course.late_count <= course.turn_count / 20, "who is kept waits", &course, load, run);
            }
        }
        /* It does not turn away what it could have done. */
        bool all_kept = course.shed.level == 0;
        must(all_kept || course.busy / course.turn_count > 0.75, "it sheds too much", &course, load, run);
    }
}

static void test_when_the_load_goes_the_level_goes(void **state)
{
    (void)state;
    for (int run = 0; run < 100; run++) {
        struct course course = {.now_us = START};
        struct plant plant, after;
        plant_make(&plant, 3);
        course_run(&course, &plant, MINUTE);
        after = plant;
        for (int class = 0; class < SHED_CLASS_COUNT; class++) {
            after.load[class] *= 0.75 / 3;
        }
        after.noise = 0;
        course_run(&course, &after, MINUTE);
        must(course.shed.level == 0, "it does not come back", &course, 0.75, run);
    }
}

/* A load that it can just carry is shed for some minutes after an overload, not for ever. */
static void test_what_can_just_be_carried_comes_back(void **state)
{
    (void)state;
    for (int run = 0; run < 100; run++) {
        struct course course = {.now_us = START};
        struct plant plant, after;
        plant_make(&plant, 3);
        course_run(&course, &plant, MINUTE);
        after = plant;
        for (int class = 0; class < SHED_CLASS_COUNT; class++) {
            after.load[class] *= 0.9 / 3;
        }
        after.noise = 0;
        course_run(&course, &after, 10 * MINUTE);
        must(course.shed.level == 0, "it does not come back", &course, 0.9, run);
    }
}

/* Whoever opens connections and asks for nothing must not turn anybody's requests away but those of tests. */
static void test_clients_alone_cost_test_and_background_and_no_more(void **state)
{
    const struct shed_signals many = {.busy_permille = 50, .clients_permille = 1000};
    const struct shed_signals fewer = {.busy_permille = 50, .clients_permille = 899};
    struct shed shed = {0};
    uint64_t now_us = 1000 * SHED_TURN_US;

    (void)state;
    for (int i = 0; i < 600; i++) {
        (void)shed_turn(&shed, &many, now_us += SHED_TURN_US);
        assert_in_range(shed.level, 0, 110);
    }
    assert_in_range(shed.level, 100, 110);
    shed.level = 400; /* something else had raised it: that is over */
    for (int i = 0; i < 1200; i++) {
        (void)shed_turn(&shed, &many, now_us += SHED_TURN_US);
    }
    assert_in_range(shed.level, 90, 110);
    for (int i = 0; i < 3000; i++) {
        (void)shed_turn(&shed, &fewer, now_us += SHED_TURN_US);
    }
    assert_int_equal(shed.level, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_alone_cost_test_and_background_and_no_more),
        cmocka_unit_test(test_the_level_rises_with_delay_or_fullness_and_with_nothing_else),
        cmocka_unit_test(test_leaving_zero_and_coming_back_are_told_once_each),
        cmocka_unit_test(test_it_begins_with_a_small_step_and_hurries_while_the_delay_goes_on),
        cmocka_unit_test(test_a_good_interval_begins_the_row_anew),
        cmocka_unit_test(test_a_second_of_calm_lowers_it_by_ten_a_second),
        cmocka_unit_test(test_without_calm_it_stays),
        cmocka_unit_test(test_with_little_to_spare_it_falls_by_one_a_second_a_minute_after_the_last_rise),
        cmocka_unit_test(test_no_timing_of_its_turns_makes_it_steeper),
        cmocka_unit_test(test_a_process_that_stood_still_for_a_moment_is_not_overloaded),
        cmocka_unit_test(test_late_turns_count_for_a_second_at_most),
        cmocka_unit_test(test_rows_that_follow_one_another_are_no_steeper),
        cmocka_unit_test(test_a_class_begins_to_lose_where_the_one_below_has_lost_everything),
        cmocka_unit_test(test_a_class_is_thinned_evenly_and_exactly),
        cmocka_unit_test(test_classes_are_thinned_apart),
        cmocka_unit_test(test_who_waited_long_in_a_standing_delay_is_shed_by_a_higher_level),
        cmocka_unit_test(test_a_long_wait_alone_sheds_nobody),
        cmocka_unit_test(test_a_long_wait_does_not_lower_the_level),
        cmocka_unit_test(test_refusals_are_held_back_the_longer_the_larger_the_share),
        cmocka_unit_test(test_the_room_of_a_class_is_rounded_up_and_never_nothing),
        cmocka_unit_test(test_classes_have_the_names_of_the_configuration),
        cmocka_unit_test_setup(test_under_constant_load_it_finds_its_level_and_does_not_flap, setup),
        cmocka_unit_test_setup(test_when_the_load_goes_the_level_goes, setup),
        cmocka_unit_test_setup(test_what_can_just_be_carried_comes_back, setup),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
