/*
 * The callers that a gate remembers: bounded in number, strangers more so, who
 * goes when one must, whom operators see as held, and which address counts as
 * one. What is asked of the store is limits' way through e2e and the simulator.
 */
#include "gate_support.h"
#include "limits.h"

static struct loop *loop;
static struct stats *stats;
static struct logbook book;
static struct gate *gate;
static struct limiter *limiter;
static struct conf_limit conf;
static struct limit_ready limit;

static int begin(void **state)
{
    (void)state;
    loop = loop_open(0);
    stats = stats_open();
    assert_non_null(loop);
    assert_non_null(stats);
    logbook_open(&book);
    const struct gate_options options = {.loop = loop, .log = book.log, .stats = stats};
    gate = gate_open(&options);
    assert_non_null(gate);
    limiter = gate->limiter;
    conf = (struct conf_limit){.name = "writes"};
    limit = (struct limit_ready){.conf = &conf, .id = 7};
    return 0;
}

static int end(void **state)
{
    (void)state;
    gate_close(gate);
    stats_close(stats);
    assert_true(loop_close(loop));
    logbook_close(&book);
    return 0;
}

static struct caller_name name_of(uint32_t number, bool stranger)
{
    struct caller_name name = {.stranger = stranger, .bucket = 5};
    memcpy(name.hash, &number, sizeof number);
    return name;
}

static struct caller *pin(uint32_t number, bool stranger)
{
    struct caller_name name = name_of(number, stranger);
    struct caller *caller = limiter_pin(limiter, &limit, &name);
    assert_non_null(caller);
    return caller;
}

static void test_a_caller_is_one_however_often_it_comes(void **state)
{
    (void)state;
    struct caller *first = pin(1, false);
    struct limit_ready other = {.conf = &conf, .id = 8};
    struct caller_name name = name_of(1, false);
    assert_ptr_equal(pin(1, false), first);
    struct caller *second = pin(2, false);
    assert_ptr_not_equal(second, first);
    struct caller *elsewhere = limiter_pin(limiter, &other, &name);
    assert_ptr_not_equal(elsewhere, first); /* to another limit it is another */
    assert_int_equal(first->pins, 2);
    limiter_unpin(first);
    limiter_unpin(first);
    limiter_unpin(second);
    limiter_unpin(elsewhere);
    struct gate_limits_state seen;
    gate_limits_state(gate, &seen);
    assert_int_equal(seen.callers, 3);
    assert_int_equal(seen.callers_max, LIMITER_CALLERS_MAX);
}

static void test_the_table_is_bounded_and_keeps_who_is_in_use(void **state)
{
    (void)state;
    struct caller *held = pin(0, false);
    held->local.debt = 42;
    for (uint32_t i = 1; i < LIMITER_CALLERS_MAX; i++) {
        limiter_unpin(pin(i, false));
    }
    assert_int_equal(table_count(limiter->callers), LIMITER_CALLERS_MAX);
    assert_int_equal(stats_get(stats, limiter->stat_evicted), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        limiter_unpin(pin(LIMITER_CALLERS_MAX + i, false));
        assert_int_equal(table_count(limiter->callers), LIMITER_CALLERS_MAX);
    }
    assert_int_equal(stats_get(stats, limiter->stat_callers), LIMITER_CALLERS_MAX);
    assert_int_equal(stats_get(stats, limiter->stat_evicted), 1000);
    assert_ptr_equal(pin(0, false), held);
    assert_int_equal(held->local.debt, 42);
    limiter_unpin(held);
    limiter_unpin(held);
}

/* Whoever invents names fills neither the table nor, since its bucket is in use, the store. */
static void test_strangers_share_what_is_left(void **state)
{
    (void)state;
    uint64_t later_us = loop_now_us(loop) + 3600 * CLOCK_US_PER_S;
    for (uint32_t i = 0; i < LIMITER_STRANGERS_MAX; i++) {
        struct caller *caller = pin(i, true);
        caller->lease.reset_at_us = later_us; /* it owes */
        limiter_unpin(caller);
    }
    struct caller_name one = name_of(1u << 30, true), other = name_of((1u << 30) + 1, true);
    struct caller *shared = limiter_pin(limiter, &limit, &one);
    assert_ptr_equal(limiter_pin(limiter, &limit, &other), shared);
    assert_memory_equal(one.hash, other.hash, sizeof one.hash); /* in the store, too */
    assert_int_equal(one.bucket, other.bucket);
    assert_int_equal(limiter->strangers_count, LIMITER_STRANGERS_MAX);
    limiter_unpin(shared);
    limiter_unpin(shared);
    limiter_unpin(pin(1u << 29, false)); /* one that is known has its own */
    list_each (caller, after, &limiter->strangers, struct caller, in_ring) {
        caller->lease.reset_at_us = 0; /* all is paid */
        caller->recent = false;
    }
    one = name_of((1u << 30) + 2, true);
    struct caller *own = limiter_pin(limiter, &limit, &one);
    assert_ptr_not_equal(own, shared);
    assert_int_equal(limiter->strangers_count, LIMITER_STRANGERS_MAX);
    limiter_unpin(own);
}

/* Half of the table is theirs, and not one place more: whoever is known finds one, and never shares. */
static void test_strangers_that_owe_cost_the_known_nothing(void **state)
{
    (void)state;
    uint64_t later_us = loop_now_us(loop) + 3600 * CLOCK_US_PER_S;
    for (uint32_t i = 0; i < LIMITER_STRANGERS_MAX; i++) {
        struct caller *caller = pin(i, true);
        caller->lease.reset_at_us = later_us;
        limiter_unpin(caller);
    }
    for (uint32_t i = 0; i < LIMITER_CALLERS_MAX - LIMITER_STRANGERS_MAX; i++) {
        limiter_unpin(pin((1u << 20) + i, false));
    }
    assert_int_equal(table_count(limiter->callers), LIMITER_CALLERS_MAX);
    assert_int_equal(limiter_callers_of(limiter, limit.id), LIMITER_CALLERS_MAX);
    for (uint32_t i = 0; i < 600; i++) {
        struct caller_name name = name_of((1u << 24) + i, false), before = name;
        struct caller *caller = limiter_pin(limiter, &limit, &name);
        assert_non_null(caller);
        assert_memory_equal(name.hash, before.hash, sizeof name.hash);
        limiter_unpin(caller);
    }
    assert_int_equal(limiter->strangers_count, LIMITER_STRANGERS_MAX);
    assert_int_equal(limiter_callers_of(limiter, limit.id), LIMITER_CALLERS_MAX);
    assert_int_equal(limiter_callers_of(limiter, 12345), 0);
}

/* Where not even those in use can go, one entry is kept for all who come. */
static void test_a_table_in_use_has_one_place_left_for_all(void **state)
{
    (void)state;
    struct caller **pinned = calloc(LIMITER_CALLERS_MAX, sizeof *pinned);
    for (uint32_t i = 0; i < LIMITER_CALLERS_MAX; i++) {
        pinned[i] = pin(i, false);
    }
    struct caller_name one = name_of(1u << 24, false), other = name_of((1u << 24) + 1, true);
    struct caller *shared = limiter_pin(limiter, &limit, &one);
    assert_non_null(shared);
    assert_ptr_equal(limiter_pin(limiter, &limit, &other), shared);
    limiter_unpin(shared);
    limiter_unpin(shared);
    for (uint32_t i = 0; i < LIMITER_CALLERS_MAX; i++) {
        limiter_unpin(pinned[i]);
    }
    free(pinned);
}

/* What it owes in this process alone keeps a stranger, too. */
static void test_a_stranger_that_owes_here_is_kept(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < LIMITER_STRANGERS_MAX; i++) {
        struct caller *caller = pin(i, true);
        caller->rate = (struct limit_rate){.units = 3600000000u, .drain = 1, .burst = 5}; /* 1 an hour */
        caller->local = (struct limit_bucket){.debt = 3600000000u, .units = 3600000000u, .last_us = loop_now_us(loop)};
        limiter_unpin(caller);
    }
    struct caller_name name = name_of(1u << 30, true), before = name;
    limiter_unpin(limiter_pin(limiter, &limit, &name));
    assert_memory_not_equal(name.hash, before.hash, sizeof name.hash);
}

/* ---- held ---- */

static void test_callers_that_are_refused_are_seen_the_most_first(void **state)
{
    (void)state;
    struct gate_held held[4];
    struct generation generation = {.limits = &limit};
    struct conf whole = {.limit_count = 1};
    generation.conf = &whole;
    gate->generation = &generation;
    for (uint32_t i = 1; i <= 6; i++) {
        struct caller *caller = pin(i, false);
        (void)snprintf(caller->who, sizeof caller->who, "caller-%u", i);
        for (uint32_t n = 0; n < i * 10; n++) {
            held_note(caller, &limit);
        }
        limiter_unpin(caller);
    }
    limiter_unpin(pin(99, false)); /* never refused */
    assert_int_equal(gate_held_callers(gate, held, 4), 4);
    assert_string_equal(held[0].who, "caller-6");
    assert_int_equal(held[0].refused, 60);
    assert_string_equal(held[3].who, "caller-3");
    assert_string_equal(held[3].limit, "writes");
    assert_int_equal(gate_held_callers(gate, held, 0), 0);
    struct caller *six = pin(6, false);
    six->held_last_us = clock_wall_us() - 61 * CLOCK_US_PER_S;
    assert_int_equal(gate_held_callers(gate, held, 4), 4);
    assert_string_equal(held[0].who, "caller-5"); /* a minute of peace ends it */
    limiter_unpin(six);
    gate->generation = NULL;
}

static void test_who_goes_on_for_long_is_an_event_once(void **state)
{
    (void)state;
    struct caller *caller = pin(1, false);
    (void)snprintf(caller->who, sizeof caller->who, "acme");
    held_note(caller, &limit);
    assert_int_equal(caller->told_us, 0);
    caller->held_since_us -= 11 * CLOCK_US_PER_S;
    held_note(caller, &limit);
    uint64_t told_us = caller->told_us;
    assert_true(told_us != 0);
    held_note(caller, &limit);
    assert_int_equal(caller->told_us, told_us);
    logbook_wait_event(&book, "\"event\":\"limit_holds\"");
    logbook_wait_event(&book, "\"caller\":\"acme\"");
    limiter_unpin(caller);
    for (uint32_t i = 2; i < 40; i++) { /* an attack from everywhere is not one on the log */
        caller = pin(i, false);
        held_note(caller, &limit);
        caller->held_since_us -= 11 * CLOCK_US_PER_S;
        held_note(caller, &limit);
        limiter_unpin(caller);
    }
    int told = 0;
    list_each (each, after, &limiter->known, struct caller, in_ring) {
        told += each->told_us != 0 ? 1 : 0;
    }
    assert_in_range(told, 10, 20); /* ten in any second; this may have taken two */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_caller_is_one_however_often_it_comes, begin, end),
        cmocka_unit_test_setup_teardown(test_the_table_is_bounded_and_keeps_who_is_in_use, begin, end),
        cmocka_unit_test_setup_teardown(test_strangers_share_what_is_left, begin, end),
        cmocka_unit_test_setup_teardown(test_strangers_that_owe_cost_the_known_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_a_table_in_use_has_one_place_left_for_all, begin, end),
        cmocka_unit_test_setup_teardown(test_a_stranger_that_owes_here_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(test_callers_that_are_refused_are_seen_the_most_first, begin, end),
        cmocka_unit_test_setup_teardown(test_who_goes_on_for_long_is_an_event_once, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
