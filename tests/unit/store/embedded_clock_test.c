/* The clock of the embedded store: the machine's steps are none of its business. */
#include "embedded_support.h"

/* Both clocks of base, the wall's set by the test. */
static int64_t wall_step_us;

uint64_t clock_now_us(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * CLOCK_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_wall_us(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    return (uint64_t)((int64_t)now.tv_sec * (int64_t)CLOCK_US_PER_S + now.tv_nsec / 1000 + wall_step_us);
}

#define HOUR_US ((int64_t)(HOUR_MS * CLOCK_US_PER_MS))

static struct scene scene;

static int setup(void **state)
{
    (void)state;
    wall_step_us = 0;
    scene_init(&scene, LMDB_SIZE_MIN);
    scene_open(&scene);
    scene_ready(&scene);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scene_end(&scene);
    return 0;
}

static uint64_t begun_ms(uint32_t n)
{
    struct asked read = ask(&scene, IDEM_READ, n, 'a');

    assert_verdict(read, IDEM_OK);
    return read.result.since_ms;
}

static void test_a_step_while_it_runs_changes_nothing(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    wall_step_us = 2000 * HOUR_US; /* behind every lease and every time to keep */
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_BUSY);
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'a'), IDEM_NEW);
    wall_step_us = -2000 * HOUR_US;
    assert_verdict(ask(&scene, IDEM_BEGIN, 3, 'a'), IDEM_NEW);
    assert_true(begun_ms(2) - begun_ms(1) < HOUR_MS);
    assert_true(begun_ms(3) - begun_ms(1) < HOUR_MS);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_REPLAY);
}

static void test_it_begins_with_the_wall_clock(void **state)
{
    uint64_t now_ms = clock_wall_us() / CLOCK_US_PER_MS;

    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    assert_true(begun_ms(1) + 60000 > now_ms && begun_ms(1) < now_ms + 60000);
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_OK);
    scene_close(&scene);
    wall_step_us = 30 * HOUR_US; /* so long it was off: the answer's time is over, the receipt's is not */
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_RECEIPT);
    scene_close(&scene);
    wall_step_us = 80 * HOUR_US;
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_NEW);
}

static void test_it_never_goes_back_behind_what_was_stored(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_OK);
    uint64_t first_ms = begun_ms(1);
    scene_close(&scene);
    wall_step_us = -2000 * HOUR_US;
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'a'), IDEM_NEW);
    assert_true(begun_ms(2) >= first_ms);
    assert_true(begun_ms(2) - first_ms < HOUR_MS);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_REPLAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_step_while_it_runs_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_begins_with_the_wall_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_never_goes_back_behind_what_was_stored, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
