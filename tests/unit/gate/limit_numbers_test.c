/*
 * What the configuration takes for a limit, policy can count: conf may not ask
 * policy, so it judges a burst by itself, and here both are asked.
 */
#include "base/unit.h"

#include <stdio.h>

#include "weir/conf/conf.h"
#include "weir/policy/limit.h"

/* Of limits.a; NULL: refused. The caller frees. */
static struct conf *load(const char *rate, uint64_t burst)
{
    struct conf_findings *findings = conf_findings_open();
    char text[512], written[64] = "";
    struct conf *conf;

    if (burst > 0) {
        (void)snprintf(written, sizeof written, ", burst: %llu", (unsigned long long)burst);
    }
    (void)snprintf(text, sizeof text, "version: 1\nlimits: {a: {by: tenant, rate: %s%s}}\n", rate, written);
    conf = conf_load_text("weir.yaml", bytes_from_text(text), findings);
    conf_findings_close(findings);
    return conf;
}

static bool is_countable(const struct conf *conf)
{
    const struct conf_limit *limit = &conf->limits[0];
    struct limit_rate rate;
    return limit_rate_make(limit->rate.tokens, limit->rate.per_us, limit->burst, &rate);
}

/* The largest burst that policy can count at this rate, found by trying. */
static uint64_t largest_burst(const char *text)
{
    struct conf *conf = load(text, 0);
    struct limit_rate rate;
    uint64_t low = 1, high = LIMIT_NUMBER_MAX;

    assert_non_null(conf);
    while (low + 1 < high) {
        uint64_t middle = low + (high - low) / 2;
        if (limit_rate_make(conf->limits[0].rate.tokens, conf->limits[0].rate.per_us, middle, &rate)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    conf_free(conf);
    return low;
}

static const char *const rates[] = {"1/365d",        "7/365d",         "1/day",        "86399/day", "1/h", "3599/h",
                                    "999983/31535999s", "7/604801s", "999999937/365d", "365/365d"};

static void test_the_largest_burst_is_the_same_for_both(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rates); i++) {
        uint64_t largest = largest_burst(rates[i]);
        struct conf *conf = largest <= 1000000000 ? load(rates[i], largest) : load(rates[i], 1000000000);

        assert_non_null(conf);
        assert_true(is_countable(conf));
        conf_free(conf);
        if (largest < 1000000000) { /* what may be written */
            assert_null(load(rates[i], largest + 1));
        }
    }
}

static void test_a_burst_that_is_not_written_can_be_counted(void **state)
{
    static const char *const extremes[] = {"1000000000/ms", "1000000000/365d", "1/365d", "1/ms", "999999937/999ms",
                                           "999999937/31535999s", "300001/s"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(extremes); i++) {
        struct conf *conf = load(extremes[i], 0);

        assert_non_null(conf);
        assert_true(is_countable(conf));
        conf_free(conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_largest_burst_is_the_same_for_both),
        cmocka_unit_test(test_a_burst_that_is_not_written_can_be_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
