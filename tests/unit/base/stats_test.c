/* Metrics: counted exactly, found by name after a reload, and printed as Prometheus reads them. */
#include "base/unit.h"

#include <stdio.h>

#include "weir/base/stats.h"

static const uint64_t bounds[] = {1000, 2500, 1000000, 0};
static const struct stats_family requests = {
    .name = "weir_requests_total", .help = "Requests.", .kind = STATS_COUNTER, .labels = {"route", "outcome"}};
static const struct stats_family inflight = {
    .name = "weir_inflight", .help = "Requests under way.", .kind = STATS_GAUGE};
static const struct stats_family latency = {.name = "weir_latency_seconds",
                                            .help = "How long.\nWith a \\ in it.",
                                            .kind = STATS_HISTOGRAM,
                                            .labels = {"route"},
                                            .seconds = true,
                                            .bounds = bounds};
static const struct stats_family busy = {
    .name = "weir_busy_seconds_total", .help = "Busy.", .kind = STATS_COUNTER, .seconds = true};

/* The whole print as text, to be freed. */
static char *print(struct stats *stats)
{
    struct blocks blocks;
    struct buf buf;
    char *text;
    size_t len = 0;

    blocks_init(&blocks, 0, 0);
    buf_init(&buf, &blocks, (size_t)64 << 20);
    assert_int_equal(stats_print(stats, &buf), ERR_OK);
    text = malloc(buf.len + 1);
    assert_non_null(text);
    while (buf.len > 0) {
        struct bytes front = buf_front(&buf);

        memcpy(text + len, front.at, front.len);
        len += front.len;
        buf_consume(&buf, front.len);
    }
    text[len] = '\0';
    blocks_close(&blocks);
    return text;
}

static void assert_printed(struct stats *stats, const char *expected)
{
    char *text = print(stats);

    if (strstr(text, expected) == NULL) {
        print_error("%s", text);
        fail_msg("is without\n%s", expected);
    }
    free(text);
}

static void test_a_series_is_found_again_by_name_and_values(void **state)
{
    const struct stats_family again = requests; /* as a reload of the module would have it */
    struct stats *stats = stats_open();
    stats_id id;

    (void)state;
    assert_non_null(stats);
    id = stats_series(stats, &requests, "pay", "answered");
    assert_int_not_equal(id, STATS_NONE);
    stats_add(stats, id, 2);
    assert_int_equal(stats_series(stats, &again, "pay", "answered"), id);
    assert_int_not_equal(stats_series(stats, &requests, "pay", "unknown"), id);
    /* Values that would run into each other if they were only joined. */
    assert_int_not_equal(stats_series(stats, &requests, "a", "\",outcome=\"b"),
                         stats_series(stats, &requests, "a\",outcome=\"", "b"));
    assert_int_equal(stats_get(stats, id), 2);
    stats_close(stats);
}

static void test_families_print_once_with_their_prose(void **state)
{
    struct stats *stats = stats_open();

    (void)state;
    stats_add(stats, stats_series(stats, &requests, "pay", "answered"), 3);
    stats_set(stats, stats_series(stats, &inflight), 5);
    (void)stats_series(stats, &requests, "pay", "unknown");
    assert_printed(stats, "# HELP weir_requests_total Requests.\n"
                          "# TYPE weir_requests_total counter\n"
                          "weir_requests_total{route=\"pay\",outcome=\"answered\"} 3\n"
                          "weir_requests_total{route=\"pay\",outcome=\"unknown\"} 0\n"
                          "# HELP weir_inflight Requests under way.\n"
                          "# TYPE weir_inflight gauge\n"
                          "weir_inflight 5\n");
    stats_close(stats);
}

static void test_label_values_are_escaped_and_always_utf8(void **state)
{
    struct stats *stats = stats_open();

    (void)state;
    (void)stats_series(stats, &requests, "a\"b\\c\nd", "\xffgr\xc3\xbc\xc3");
    (void)stats_series(stats, &requests, NULL, "");
    assert_printed(stats, "weir_requests_total{route=\"a\\\"b\\\\c\\nd\",outcome=\"?gr\xc3\xbc?\"} 0\n"
                          "weir_requests_total{route=\"\",outcome=\"\"} 0\n");
    stats_close(stats);
}

static void test_histograms_are_cumulative_and_exact_in_seconds(void **state)
{
    struct stats *stats = stats_open();
    stats_id id = stats_series(stats, &latency, "pay");

    (void)state;
    stats_observe(stats, id, 1);
    stats_observe(stats, id, 1000); /* a bound belongs to its bucket */
    stats_observe(stats, id, 1001);
    stats_observe(stats, id, 99000000);
    assert_int_equal(stats_get(stats, id), 4);
    assert_printed(stats, "# HELP weir_latency_seconds How long.\\nWith a \\\\ in it.\n"
                          "# TYPE weir_latency_seconds histogram\n"
                          "weir_latency_seconds_bucket{route=\"pay\",le=\"0.001\"} 2\n"
                          "weir_latency_seconds_bucket{route=\"pay\",le=\"0.0025\"} 3\n"
                          "weir_latency_seconds_bucket{route=\"pay\",le=\"1\"} 3\n"
                          "weir_latency_seconds_bucket{route=\"pay\",le=\"+Inf\"} 4\n"
                          "weir_latency_seconds_sum{route=\"pay\"} 99.002002\n"
                          "weir_latency_seconds_count{route=\"pay\"} 4\n");
    stats_close(stats);
}

static void test_seconds_are_placed_not_divided(void **state)
{
    static const struct {
        uint64_t us;
        const char *line;
    } cases[] = {{0, "\nweir_busy_seconds_total 0\n"},
                 {1, "\nweir_busy_seconds_total 0.000001\n"},
                 {100000, "\nweir_busy_seconds_total 0.1\n"},
                 {1000000, "\nweir_busy_seconds_total 1\n"},
                 {UINT64_MAX, "\nweir_busy_seconds_total 18446744073709.551615\n"}};
    struct stats *stats = stats_open();
    stats_id id = stats_series(stats, &busy);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        stats_set(stats, id, cases[i].us);
        assert_printed(stats, cases[i].line);
    }
    stats_close(stats);
}

static void test_a_gauge_may_go_below_zero(void **state)
{
    struct stats *stats = stats_open();
    stats_id id = stats_series(stats, &inflight);

    (void)state;
    stats_add(stats, id, UINT64_MAX);
    assert_printed(stats, "weir_inflight -1\n");
    stats_add(stats, id, 1);
    assert_printed(stats, "weir_inflight 0\n");
    stats_close(stats);
}

static void set_gauge(void *owner, struct stats *stats)
{
    stats_set(stats, stats_series(stats, &inflight), *(const uint64_t *)owner);
}

static void test_collectors_run_before_each_print(void **state)
{
    struct stats *stats = stats_open();
    uint64_t value = 1;

    (void)state;
    stats_on_collect(stats, set_gauge, &value);
    assert_printed(stats, "weir_inflight 1\n");
    value = 2;
    assert_printed(stats, "weir_inflight 2\n");
    stats_close(stats);
}

static void test_series_beyond_the_limit_are_counted_and_harmless(void **state)
{
    struct stats *stats = stats_open();
    char value[16];
    stats_id id;
    char *text;

    (void)state;
    for (int i = 1; i < STATS_SERIES_MAX; i++) { /* one series is the book's own */
        (void)snprintf(value, sizeof(value), "r%d", i);
        assert_int_not_equal(stats_series(stats, &requests, value, "x"), STATS_NONE);
    }
    id = stats_series(stats, &requests, "one too many", "x");
    assert_int_equal(id, STATS_NONE);
    assert_int_equal(stats_series(stats, &latency, "one too many"), STATS_NONE);
    stats_add(stats, id, 7);
    stats_observe(stats, id, 7);
    assert_int_not_equal(stats_series(stats, &requests, "r1", "x"), STATS_NONE);
    assert_printed(stats, "weir_stats_series_refused_total 2\n");
    text = print(stats);
    assert_null(strstr(text, "one too many"));
    assert_null(strstr(text, "weir_latency_seconds")); /* a family without series has no head either */
    free(text);
    stats_close(stats);
}

static void test_a_print_that_does_not_fit_says_so(void **state)
{
    struct stats *stats = stats_open();
    struct blocks blocks;
    struct buf buf;

    (void)state;
    blocks_init(&blocks, 0, 0);
    buf_init(&buf, &blocks, 10);
    assert_int_equal(stats_print(stats, &buf), ERR_FULL);
    buf_reset(&buf);
    blocks_close(&blocks);
    stats_close(stats);
}

static void ask_as_gauge(void)
{
    const struct stats_family gauge = {.name = "weir_requests_total", .help = "Requests.", .kind = STATS_GAUGE};
    struct stats *stats = stats_open();

    (void)stats_series(stats, &requests, "pay", "answered");
    (void)stats_series(stats, &gauge);
}

static void test_one_name_with_two_kinds_aborts(void **state)
{
    (void)state;
    assert_true(aborts(ask_as_gauge));
}

static void test_promtool_accepts_the_print(void **state)
{
    struct stats *stats;
    char *text;
    FILE *promtool;

    (void)state;
    if (access("/usr/bin/promtool", X_OK) != 0) {
        skip();
    }
    stats = stats_open();
    stats_add(stats, stats_series(stats, &requests, "a\"b\\c\nd", "\xff"), 3);
    stats_set(stats, stats_series(stats, &inflight), 5);
    stats_observe(stats, stats_series(stats, &latency, "pay"), 1234);
    stats_observe(stats, stats_series(stats, &latency, "other"), 1234);
    stats_add(stats, stats_series(stats, &busy), 1500000);
    text = print(stats);
    promtool = popen("/usr/bin/promtool check metrics", "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(text, 1, strlen(text), promtool), strlen(text));
    assert_int_equal(pclose(promtool), 0);
    free(text);
    stats_close(stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_series_is_found_again_by_name_and_values),
        cmocka_unit_test(test_families_print_once_with_their_prose),
        cmocka_unit_test(test_label_values_are_escaped_and_always_utf8),
        cmocka_unit_test(test_histograms_are_cumulative_and_exact_in_seconds),
        cmocka_unit_test(test_seconds_are_placed_not_divided),
        cmocka_unit_test(test_a_gauge_may_go_below_zero),
        cmocka_unit_test(test_collectors_run_before_each_print),
        cmocka_unit_test(test_series_beyond_the_limit_are_counted_and_harmless),
        cmocka_unit_test(test_a_print_that_does_not_fit_says_so),
        cmocka_unit_test(test_one_name_with_two_kinds_aborts),
        cmocka_unit_test(test_promtool_accepts_the_print),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
