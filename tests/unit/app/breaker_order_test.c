#include "base/unit.h"

#include "processors_internal.h"

/* What is wrong with it; NULL: nothing. */
static const char *wrong(const char *state, const char *duration, struct breaker_order *order)
{
    static char words[BREAKER_ORDER_WORDS_BYTES];
    return breaker_order_read(state, duration, order, words) ? NULL : words;
}

static void assert_wrong(const char *state, const char *duration, const char *part)
{
    struct breaker_order order;
    const char *words = wrong(state, duration, &order);
    if (words == NULL || strstr(words, part) == NULL) {
        fail_msg("%s for %s: '%s' and not '%s'", state, duration, words, part);
    }
}

static void assert_order(const char *state, const char *duration, enum breaker_forced forced, uint64_t for_us)
{
    struct breaker_order order;
    const char *words = wrong(state, duration, &order);
    if (words != NULL) {
        fail_msg("%s for %s: %s", state, duration, words);
    }
    assert_int_equal(order.forced, forced);
    assert_int_equal(order.for_us, for_us);
}

static void test_open_and_closed_end_by_themselves(void **state)
{
    (void)state;
    assert_order("open", "30m", BREAKER_FORCED_OPEN, UINT64_C(1800000000));
    assert_order("closed", "90s", BREAKER_FORCED_CLOSED, 90000000);
    assert_order("closed", "1500ms", BREAKER_FORCED_CLOSED, 1500000);
    assert_wrong("open", NULL, "--for is missing: say for how long, 1s to 24h");
    assert_wrong("closed", NULL, "--for is missing");
}

static void test_from_a_second_to_a_day(void **state)
{
    (void)state;
    assert_order("open", "1s", BREAKER_FORCED_OPEN, 1000000);
    assert_order("open", "24h", BREAKER_FORCED_OPEN, UINT64_C(86400000000));
    assert_order("open", "1d", BREAKER_FORCED_OPEN, UINT64_C(86400000000));
    assert_order("open", "86400000ms", BREAKER_FORCED_OPEN, UINT64_C(86400000000));
    assert_wrong("open", "999ms", "'999ms' is less than 1s: ");
    assert_wrong("open", "0s", "is less than 1s");
    assert_wrong("open", "86400001ms", "is more than 24h");
    assert_wrong("open", "25h", "'25h' is more than 24h: ");
    /* Numbers whose product would wrap around into the range. */
    assert_wrong("open", "213503983d", "is more than 24h");
    assert_wrong("open", "18446744073709551617s", "is more than 24h");
    assert_wrong("open", "99999999999999999999999999999999999999h", "is more than 24h");
}

static void test_auto_takes_no_time(void **state)
{
    (void)state;
    assert_order("auto", NULL, BREAKER_AUTO, 0);
    assert_wrong("auto", "30m", "auto ends an operator's word, and needs no --for");
}

static void test_what_is_no_duration_is_said(void **state)
{
    static const char *const BAD[] = {"", "30", "m", "30 m", "-30m", "30min", "1h30m", "banana", "0x10s", "3.5h", "30M"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        assert_wrong("open", BAD[i], "' is not a duration: 90s, 30m or 2h");
    }
}

static void test_another_word_gets_a_suggestion(void **state)
{
    (void)state;
    assert_wrong(NULL, "30m", "open, closed or auto is missing");
    assert_wrong("opne", "30m", "'opne' is not open, closed or auto: did you mean 'open'?");
    assert_wrong("close", "30m", "did you mean 'closed'?");
    assert_wrong("banana", "30m", "'banana' is not open, closed or auto");
    assert_wrong("half_open", "30m", "'half_open' is not open, closed or auto");
    assert_wrong("", "30m", "'' is not open, closed or auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_and_closed_end_by_themselves),
        cmocka_unit_test(test_from_a_second_to_a_day),
        cmocka_unit_test(test_auto_takes_no_time),
        cmocka_unit_test(test_what_is_no_duration_is_said),
        cmocka_unit_test(test_another_word_gets_a_suggestion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
