/* The clocks: one never goes back, the other knows the date. */
#include "base/unit.h"

#include <time.h>

#include "weir/base/clock.h"

static void test_the_monotonic_clock_never_goes_back(void **state)
{
    uint64_t last = clock_now_us();

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_now_us();

        assert_true(now >= last);
        last = now;
    }
}

static void test_the_monotonic_clock_counts_microseconds(void **state)
{
    struct timespec before;
    struct timespec after;
    uint64_t now;

    (void)state;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &before), 0);
    now = clock_now_us();
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &after), 0);
    assert_in_range(now, (uint64_t)before.tv_sec * 1000000 + (uint64_t)before.tv_nsec / 1000,
                    (uint64_t)after.tv_sec * 1000000 + (uint64_t)after.tv_nsec / 1000);
}

static void test_the_wall_clock_knows_the_date(void **state)
{
    time_t before = time(NULL);
    uint64_t now = clock_wall_us();
    time_t after = time(NULL);

    (void)state;
    /* time() may lag by a tick of the kernel. */
    assert_in_range(now / CLOCK_US_PER_S, (uint64_t)before, (uint64_t)after + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_monotonic_clock_never_goes_back),
        cmocka_unit_test(test_the_monotonic_clock_counts_microseconds),
        cmocka_unit_test(test_the_wall_clock_knows_the_date),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
