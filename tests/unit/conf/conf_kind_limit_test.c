/* Rates and callers: each has one reading, and a rate is kept as the fraction that was written. */
#include "conf/conf_support.h"

#define LIMITED "routes: [{name: all, to: acme, idempotency: off, limits: [a]}]\n"
/* Line 4; the value begins in column 32. */
#define RATE(rate) "version: 1\n" LISTENER PROCESSOR "limits: {a: {by: tenant, rate: " rate "}}\n" LIMITED
/* Line 4; the value begins in column 18. */
#define BY(by) "version: 1\n" LISTENER PROCESSOR "limits: {a: {by: " by ", rate: 1/s}}\n" LIMITED

/* ---- rates ---- */

static void test_a_rate_is_the_fraction_that_is_written(void **state)
{
    static const struct {
        const char *rate;
        uint64_t tokens, per_us;
    } rows[] = {
        {"100/s", 100, 1000000},
        {"300001/s", 300001, 1000000},
        {"30/60s", 30, 60000000},
        {"60/60s", 60, 60000000},
        {"7/3s", 7, 3000000},
        {"5/m", 5, 60000000},
        {"5/min", 5, 60000000},
        {"5/10min", 5, 600000000},
        {"1/h", 1, UINT64_C(3600000000)},
        {"1/2hour", 1, UINT64_C(7200000000)},
        {"1/day", 1, UINT64_C(86400000000)},
        {"1/365d", 1, UINT64_C(365) * 86400000000},
        {"1/ms", 1, 1000},
        {"1000000000/1ms", 1000000000, 1000},
        {"'100/s'", 100, 1000000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        struct conf *conf;

        (void)snprintf(text, sizeof(text), RATE("%s"), rows[i].rate);
        conf = load(text);
        assert_true(conf->limits[0].rate.tokens == rows[i].tokens);
        assert_true(conf->limits[0].rate.per_us == rows[i].per_us);
        conf_free(conf);
    }
}

static void test_what_is_no_rate_is_refused(void **state)
{
    static const char *const none[] = {"100",     "/s",    "100/",   "s",       "1.5/s",   "-1/s",
                                       "100/sec", "100/S", "100/ s", "100/s/s", "100 / s", "100/60",
                                       "100rps",  "1e3/s", "+1/s",   "100/1.5s", "0x10/s",  "18446744073709551616/s"};
    static const char *const out_of_range[] = {"0/s",   "1/0s",  "1000000001/s",           "1/366d",
                                               "0/0ms", "1/0ms", "18446744073709551615/s", "1/31536001s"};

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        char text[512], expected[128];

        (void)snprintf(text, sizeof(text), RATE("'%s'"), none[i]);
        (void)snprintf(expected, sizeof(expected), "error: '%s' for limits.a.rate is not a rate\n", none[i]);
        assert_says(text, expected);
    }
    for (size_t i = 0; i < sizeof(out_of_range) / sizeof(out_of_range[0]); i++) {
        char text[512], expected[128];

        (void)snprintf(text, sizeof(text), RATE("%s"), out_of_range[i]);
        (void)snprintf(expected, sizeof(expected), "error: '%s' for limits.a.rate is out of range\n", out_of_range[i]);
        assert_says(text, expected);
    }
    /* More microseconds than there are numbers for. */
    assert_says(RATE("1/18446744073709551615d"), "error: '1/18446744073709551615d' for limits.a.rate is not a rate\n");
}

static void test_a_rate_is_refused_with_place_and_grammar(void **state)
{
    (void)state;
    assert_shown(RATE("100"), "weir.yaml:4:32: error: '100' for limits.a.rate is not a rate\n"
                              "    4 | limits: {a: {by: tenant, rate: 100}}\n"
                              "      |                                ^~~ expected one such as 100/s, 30/60s, 5/min or 1/day\n"
                              "weir.yaml: 1 error: not loaded\n");
    assert_shown(RATE("0/s"), "weir.yaml:4:32: error: '0/s' for limits.a.rate is out of range\n"
                              "    4 | limits: {a: {by: tenant, rate: 0/s}}\n"
                              "      |                                ^~~ expected 1 to 1000000000 in 1ms to 365d\n"
                              "weir.yaml: 1 error: not loaded\n");
    assert_says(RATE("[1/s]"), "error: limits.a.rate must be a single value\n");
}

/* ---- callers ---- */

static void assert_parts(const char *by, int count, const struct conf_limit_part *expected)
{
    char text[512];
    struct conf *conf;

    (void)snprintf(text, sizeof(text), BY("%s"), by);
    conf = load(text);
    assert_int_equal(conf->limits[0].part_count, count);
    for (int i = 0; i < count; i++) {
        const struct conf_limit_part *part = &conf->limits[0].parts[i];

        assert_int_equal(part->kind, expected[i].kind);
        assert_true((part->header == NULL) == (expected[i].header == NULL));
        if (part->header != NULL) {
            assert_string_equal(part->header, expected[i].header);
        }
    }
    conf_free(conf);
}

static void test_callers_are_told_apart_by_one_thing_or_several(void **state)
{
    (void)state;
    assert_parts("tenant", 1, (struct conf_limit_part[]){{CONF_PART_TENANT, NULL}});
    assert_parts("client_ip", 1, (struct conf_limit_part[]){{CONF_PART_CLIENT_IP, NULL}});
    assert_parts("route", 1, (struct conf_limit_part[]){{CONF_PART_ROUTE, NULL}});
    assert_parts("header:X-Shop", 1, (struct conf_limit_part[]){{CONF_PART_HEADER, "X-Shop"}});
    assert_parts("[tenant]", 1, (struct conf_limit_part[]){{CONF_PART_TENANT, NULL}});
    assert_parts("[tenant, route, header:X-A, header:X-B]", 4,
                 (struct conf_limit_part[]){
                     {CONF_PART_TENANT, NULL}, {CONF_PART_ROUTE, NULL}, {CONF_PART_HEADER, "X-A"}, {CONF_PART_HEADER, "X-B"}});
}

static void test_what_tells_no_callers_apart_is_refused(void **state)
{
    static const char *const none[] = {"merchant", "Tenant", "'header:'", "'header:A B'", "header:X-*", "'tenant,route'"};

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), BY("%s"), none[i]);
        assert_says(text, " for limits.a.by tells no callers apart\n");
        (void)snprintf(text, sizeof(text), BY("[tenant, %s]"), none[i]);
        assert_says(text, " for limits.a.by[1] tells no callers apart\n");
    }
    assert_shown(BY("ip"), "weir.yaml:4:18: error: 'ip' for limits.a.by tells no callers apart\n"
                           "    4 | limits: {a: {by: ip, rate: 1/s}}\n"
                           "      |                  ^~ expected tenant, client_ip, mtls_subject, header:NAME or route\n"
                           "weir.yaml: 1 error: not loaded\n");
    assert_says(BY("[]"), "error: limits.a.by must be a list of 1 to 4 entries\n");
    assert_says(BY("[tenant, route, header:A, header:B, header:C]"), "error: limits.a.by must be a list of 1 to 4 entries\n");
    assert_says(BY("[tenant, [route]]"), "error: limits.a.by[1] must be a single value\n");
    assert_says(BY("{a: b}"), "error: limits.a.by must be a list\n");
    assert_says("version: 1\n" LISTENER PROCESSOR "limits:\n  a:\n    by:\n    rate: 1/s\n" LIMITED,
                "error: limits.a.by must be a list\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_rate_is_the_fraction_that_is_written),
        cmocka_unit_test(test_what_is_no_rate_is_refused),
        cmocka_unit_test(test_a_rate_is_refused_with_place_and_grammar),
        cmocka_unit_test(test_callers_are_told_apart_by_one_thing_or_several),
        cmocka_unit_test(test_what_tells_no_callers_apart_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
