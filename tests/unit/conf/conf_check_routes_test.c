/* Routes: each can match, each goes somewhere, each has the time that it asks for. */
#include "conf/conf_support.h"

#define ROUTES "version: 1\n" LISTENER PROCESSOR "routes:\n"

static void test_a_route_behind_one_that_takes_everything_is_an_error(void **state)
{
    (void)state;
    assert_shown(ROUTES "  - {name: all, match: {path: /*}, to: acme, idempotency: off}\n"
                        "  - {name: pay, match: {method: POST, path: /v1/payments}, to: acme, idempotency: off}\n",
                 "weir.yaml:6:12: error: route 'pay' can never match: route 'all' takes all its requests\n"
                 "    6 |   - {name: pay, match: {method: POST, path: /v1/payments}, to: acme, idempotency: off}\n"
                 "      |            ^~~ 'all' is at line 5\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_a_route_hides_only_what_it_covers(void **state)
{
    static const struct {
        const char *earlier, *later;
        bool hidden;
    } rows[] = {
        {"{}", "{}", true},
        {"{}", "{host: a}", true},
        {"{host: a}", "{}", false},
        {"{host: a}", "{host: A}", true},
        {"{host: a}", "{host: b}", false},
        {"{method: POST}", "{method: POST, path: /a}", true},
        {"{method: POST}", "{method: GET}", false},
        {"{method: POST, path: /a}", "{path: /a}", false},
        {"{path: /a}", "{path: /a}", true},
        {"{path: /a}", "{path: /a/}", false},
        {"{path: /a}", "{path: /a/*}", false},
        {"{path: /a/*}", "{path: /a/*}", true},
        {"{path: /a/*}", "{path: /a/b}", true},
        {"{path: /a/*}", "{path: /a/}", true},
        {"{path: /a/*}", "{path: /a}", false},
        {"{path: /a/*}", "{path: /a/b/*}", true},
        {"{path: /a/b/*}", "{path: /a/*}", false},
        {"{path: /*}", "{}", false}, /* OPTIONS * has no such path */
        {"{}", "{path: /*}", true},
        {"{host: a, path: /*}", "{path: /*}", false},
        {"{path: /*}", "{host: a, path: /*}", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), ROUTES "  - {name: a, match: %s, to: acme, idempotency: off}\n  - {name: b, match: %s, to: acme, idempotency: off}\n",
                       rows[i].earlier, rows[i].later);
        if (rows[i].hidden) {
            assert_says(text, "weir.yaml:6:12: error: route 'b' can never match: route 'a' takes all its requests\n");
        } else {
            assert_shown(text, "weir.yaml: ok\n");
        }
    }
}

static void test_nothing_is_concluded_from_a_match_that_was_refused(void **state)
{
    (void)state;
    assert_says(ROUTES "  - {name: a, match: {path: nonsense}, to: acme, idempotency: off}\n  - {name: b, to: acme, idempotency: off}\n",
                "weir.yaml: 1 error: not loaded\n");
    assert_says(ROUTES "  - {name: a, to: acme, idempotency: off}\n  - {name: b, match: {method: post}, to: acme, idempotency: off}\n",
                "weir.yaml: 1 error: not loaded\n");
}

static void test_a_name_is_used_once(void **state)
{
    (void)state;
    assert_says(ROUTES "  - {name: a, match: {path: /a}, to: acme, idempotency: off}\n  - {name: a, match: {path: /b}, to: acme, idempotency: off}\n",
                "weir.yaml:6:12: error: two routes have the name 'a'\n"
                "    6 |   - {name: a, match: {path: /b}, to: acme, idempotency: off}\n"
                "      |            ^ the first is at line 5\n");
}

static void test_a_dangling_processor_gets_a_suggestion(void **state)
{
    (void)state;
    assert_says(ROUTES "  - name: pay\n    to: acmee\n",
                "weir.yaml:6:9: error: route 'pay' sends to processor 'acmee', which is not defined\n"
                "    6 |     to: acmee\n"
                "      |         ^~~~~ did you mean 'acme' (defined at line 3)?\n");
    assert_says(ROUTES "  - name: pay\n    to: somewhere\n",
                "weir.yaml:6:9: error: route 'pay' sends to processor 'somewhere', which is not defined\n"
                "    6 |     to: somewhere\n"
                "      |         ^~~~~~~~~\n");
    assert_says("version: 1\nroutes: [{name: a, to: b}]\n", "route 'a' sends to processor 'b', which is not defined\n");
}

static void test_a_routes_own_timeouts_fit_together_and_with_the_processors(void **state)
{
    (void)state;
    assert_says(ROUTES "  - {name: a, to: acme, timeouts: {response: 5s, total: 4s}}\n",
                "weir.yaml:5:57: error: timeouts.total (4s) is shorter than timeouts.response (5s) in routes.a\n");
    assert_says(ROUTES "  - {name: a, to: acme, timeouts: {total: 20s}}\n",
                "weir.yaml:5:43: error: timeouts.total (20s) is shorter than timeouts.response (30s of processors.acme) in "
                "routes.a\n");
    assert_says(ROUTES "  - {name: a, to: acme, timeouts: {response: 40s}}\n",
                "weir.yaml:5:46: error: timeouts.total (35s of processors.acme) is shorter than timeouts.response (40s) in "
                "routes.a\n");
    assert_says(ROUTES "  - {name: a, to: acme, timeouts: {response: 34500ms}}\n",
                "timeouts.total (35s of processors.acme) is shorter than timeouts.response (34500ms) and "
                "timeouts.connect (1s of processors.acme) together in routes.a\n");
    assert_shown(ROUTES "  - {name: a, to: acme, timeouts: {response: 5s, total: 6s}, idempotency: off}\n", "weir.yaml: ok\n");
}

/* ---- failover ---- */

/* The route is at line 7. */
#define PROCESSORS(first, second)                                                                                      \
    "version: 1\n" LISTENER "processors:\n  acme: {url: https://a.example" first "}\n  other: {url: https://b.example" second  \
    "}\nroutes:\n"
#define STRIPES(first, second) PROCESSORS(", profile: stripe" first, ", profile: stripe" second)
/* The route is at line 7 of these, too. */
#define OURS(first, second)                                                                                            \
    "version: 1\n" LISTENER "profiles: {ours: {}}\nprocessors: {acme: {url: https://a.example, profile: ours" first "},\n" \
    "  other: {url: https://b.example, profile: ours" second "}}\nroutes:\n"
#define TAKES_OVER "  - {name: a, to: acme, failover: other, match: {method: POST}, idempotency: off"

static void test_a_failover_is_another_processor(void **state)
{
    struct conf *conf = load(STRIPES("", "") "  - {name: a, to: acme, failover: other, match: {method: GET}}\n");

    (void)state;
    assert_int_equal(conf->routes[0].processor, 0);
    assert_int_equal(conf->routes[0].failover, 1);
    conf_free(conf);
    assert_shown(STRIPES("", "") "  - {name: a, to: acme, failover: acme, match: {method: GET}}\n",
                 "weir.yaml:7:35: error: route 'a' fails over to the processor that it sends to\n"
                 "    7 |   - {name: a, to: acme, failover: acme, match: {method: GET}}\n"
                 "      |                                   ^~~~ write another one, or leave it out\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(STRIPES("", "") "  - {name: a, to: acme, failover: othre, match: {method: GET}}\n",
                 "weir.yaml:7:35: error: route 'a' fails over to processor 'othre', which is not defined\n"
                 "    7 |   - {name: a, to: acme, failover: othre, match: {method: GET}}\n"
                 "      |                                   ^~~~~ did you mean 'other' (defined at line 5)?\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(STRIPES("", "") "  - {name: a, to: acme, failover: [other]}\n", "routes.a.failover must be a single value");
}

static void test_a_failover_has_the_same_profile(void **state)
{
    (void)state;
    assert_shown(PROCESSORS(", profile: stripe", ", profile: adyen")
                 "  - {name: a, to: acme, failover: other, match: {method: GET}}\n",
                 "weir.yaml:7:35: error: route 'a' fails over to processor 'other' of profile 'adyen', and processor 'acme' has "
                 "profile 'stripe'\n"
                 "    7 |   - {name: a, to: acme, failover: other, match: {method: GET}}\n"
                 "      |                                   ^~~~~ one request cannot be for both APIs\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_does_not_say(STRIPES("", "") "  - {name: a, to: acme, failover: other, match: {method: GET}}\n", "error");
    assert_does_not_say(PROCESSORS(", profile: stripe", ", profile: nobody")
                        "  - {name: a, to: acme, failover: other, match: {method: GET}}\n", "fails over");
}

static void test_what_generic_processors_have_in_common_is_asked(void **state)
{
    (void)state;
    assert_shown(PROCESSORS("", "") TAKES_OVER "}\n",
                 "weir.yaml:7:35: warning: route 'a' fails over to processor 'other', and profile 'generic' does not say that it "
                 "is the same API\n"
                 "    7 | " TAKES_OVER "}\n"
                 "      |                                   ^~~~~ if they take the same requests and credentials, give both a "
                 "profile of your own\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown(OURS("", "") TAKES_OVER "}\n", "weir.yaml: ok\n");
}

static void test_reads_that_fail_over_are_warned_of(void **state)
{
    (void)state;
    assert_shown(OURS("", "") "  - {name: a, to: acme, failover: other, match: {method: GET}}\n",
                 "weir.yaml:7:35: warning: route 'a' lets GET fail over to processor 'other'\n"
                 "    7 |   - {name: a, to: acme, failover: other, match: {method: GET}}\n"
                 "      |                                   ^~~~~ reads answered by another processor do not know this one's "
                 "payments\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_says(STRIPES("", "") "  - {name: a, to: acme, failover: other, match: {method: HEAD, path: /v1/*}}\n",
                "weir.yaml:7:35: warning: route 'a' lets HEAD fail over to processor 'other'\n");
    assert_shown(OURS("", "") "  - {name: a, to: acme, failover: other, match: {method: OPTIONS}}\n", "weir.yaml: ok\n");
}

static void test_reads_that_stay_behind_are_warned_of(void **state)
{
    (void)state;
    assert_shown(OURS("", "") "  - {name: a, to: acme, failover: other, match: {path: /v1/*}, idempotency: off}\n",
                 "weir.yaml:7:35: warning: route 'a' takes every method, and only those that change something fail over\n"
                 "    7 |   - {name: a, to: acme, failover: other, match: {path: /v1/*}, idempotency: off}\n"
                 "      |                                   ^~~~~ reads answered by another processor do not know this one's "
                 "payments: match a method\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_says(STRIPES("", "") "  - {name: a, to: acme, failover: other, idempotency: {mode: failover}}\n"
                "store: {single_machine: true}\n", "weir.yaml: ok, 1 warning\n");
    /* What was refused already is not concluded from. */
    assert_does_not_say(OURS("", "") "  - {name: a, to: acme, failover: other, match: {method: get}}\n", "warning");
    assert_does_not_say(OURS("", "") "  - {name: a, to: acme, failover: other, match: 7, idempotency: off}\n", "warning");
    assert_does_not_say(OURS("", "") "  - {name: a, to: acme, failover: acme, idempotency: off}\n", "warning");
    assert_does_not_say(OURS("", "") "  - {name: a, to: acme, failover: nobody, idempotency: off}\n", "warning");
}

static void test_a_failover_has_the_time_that_it_may_need(void **state)
{
    (void)state;
    assert_shown(OURS("", ", timeouts: {response: 40s, total: 42s}") TAKES_OVER "}\n",
                 "weir.yaml:7:35: error: timeouts.total (35s of processors.acme) is shorter than timeouts.response (40s of "
                 "processors.other) in routes.a\n"
                 "    7 | " TAKES_OVER "}\n"
                 "      |                                   ^~~~~\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(OURS("", ", timeouts: {connect: 3s}") TAKES_OVER ", timeouts: {total: 32s}}\n",
                "weir.yaml:7:101: error: timeouts.total (32s) is shorter than timeouts.response (30s of processors.other) and "
                "timeouts.connect (3s of processors.other) together in routes.a\n");
    /* The route's own count for both, and are judged once. */
    assert_shown(OURS("", ", timeouts: {response: 40s, total: 42s}") TAKES_OVER ", timeouts: {response: 20s}}\n",
                 "weir.yaml: ok\n");
    assert_says(OURS("", "") TAKES_OVER ", timeouts: {response: 40s}}\n",
                "weir.yaml: 1 error: not loaded\n");
    assert_does_not_say(OURS("", ", timeouts: {response: 40s, total: 42s}") TAKES_OVER ", timeouts: {total: 32}}\n",
                        "is shorter than");
}

static void test_a_thousand_routes_are_compared_in_a_moment(void **state)
{
    size_t size = 128 * 1024;
    char *text = malloc(size);
    size_t len;
    struct conf *conf;

    (void)state;
    assert_non_null(text);
    len = (size_t)snprintf(text, size, "%s", ROUTES);
    for (int i = 0; i < 1024; i++) {
        len += (size_t)snprintf(text + len, size - len, "  - {name: r%d, match: {path: /p/%d}, to: acme, idempotency: off}\n", i, i);
    }
    conf = load(text);
    assert_int_equal(conf->route_count, 1024);
    conf_free(conf);
    (void)snprintf(text + len, size - len, "  - {name: last, to: acme, idempotency: off}\n");
    assert_says(text, "error: routes must be a list of 0 to 1024 entries\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_route_behind_one_that_takes_everything_is_an_error),
        cmocka_unit_test(test_a_route_hides_only_what_it_covers),
        cmocka_unit_test(test_nothing_is_concluded_from_a_match_that_was_refused),
        cmocka_unit_test(test_a_name_is_used_once),
        cmocka_unit_test(test_a_dangling_processor_gets_a_suggestion),
        cmocka_unit_test(test_a_routes_own_timeouts_fit_together_and_with_the_processors),
        cmocka_unit_test(test_a_failover_is_another_processor),
        cmocka_unit_test(test_a_failover_has_the_same_profile),
        cmocka_unit_test(test_what_generic_processors_have_in_common_is_asked),
        cmocka_unit_test(test_reads_that_fail_over_are_warned_of),
        cmocka_unit_test(test_reads_that_stay_behind_are_warned_of),
        cmocka_unit_test(test_a_failover_has_the_time_that_it_may_need),
        cmocka_unit_test(test_a_thousand_routes_are_compared_in_a_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
