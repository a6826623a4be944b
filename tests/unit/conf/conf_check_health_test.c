/* Health checks, breakers and weights: what they are when little is said, and what cannot be meant. */
#include "conf/conf_support.h"

/* The keys are at line 3. */
#define WITH(keys) "version: 1\n" LISTENER "processors: {acme: {url: https://a.example, " keys "}}\n" ROUTE
#define PLAIN(keys) "version: 1\n" LISTENER "processors: {acme: {url: 'http://127.0.0.1:9', " keys "}}\n" ROUTE
#define ENDPOINTS(count, keys) WITH("endpoints: [" count "], " keys)

static struct conf_health_checks health_of(const char *text)
{
    struct conf *conf = load(text);
    struct conf_health_checks health = conf->processors[0].health;

    health.path = NULL; /* goes with the conf */
    conf_free(conf);
    return health;
}

static struct conf_breaker breaker_of(const char *text)
{
    struct conf *conf = load(text);
    struct conf_breaker breaker = conf->processors[0].breaker;

    conf_free(conf);
    return breaker;
}

/* ---- health ---- */

static void test_without_the_section_nobody_is_checked(void **state)
{
    (void)state;
    assert_int_equal(health_of(WITH("balance: p2c")).type, CONF_HEALTH_NONE);
}

static void test_a_section_that_says_nothing_asks_for_the_root(void **state)
{
    struct conf *conf = load(WITH("health: {}"));
    const struct conf_health_checks *health = &conf->processors[0].health;

    (void)state;
    assert_int_equal(health->type, CONF_HEALTH_HTTP);
    assert_string_equal(health->path, "/");
    assert_int_equal(health->status_min, 200);
    assert_int_equal(health->status_max, 399);
    assert_int_equal(health->every_ms, 10000);
    assert_int_equal(health->timeout_ms, 1000);
    assert_int_equal(health->down_after, 3);
    assert_int_equal(health->up_after, 2);
    conf_free(conf);
    assert_shown(WITH("health: {}"),
                 "weir.yaml:3:45: warning: processors.acme.health asks for '/', the default\n"
                 "    3 | processors: {acme: {url: https://a.example, health: {}}}\n"
                 "      |                                             ^~~~~~ few APIs answer that with 200-399: write its "
                 "path for checks\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown(WITH("health: {path: /}"), "weir.yaml: ok\n");
    assert_shown(WITH("health: {status: 200-499}"), "weir.yaml: ok\n");
}

static void test_checks_are_as_they_are_written(void **state)
{
    struct conf *conf = load(WITH("health: {type: http, path: '/up?deep=1', status: 204, every: 5s, timeout: 2s, "
                                  "down_after: 4, up_after: 5}"));
    const struct conf_health_checks *health = &conf->processors[0].health;

    (void)state;
    assert_int_equal(health->type, CONF_HEALTH_HTTP);
    assert_string_equal(health->path, "/up?deep=1");
    assert_int_equal(health->status_min, 204);
    assert_int_equal(health->status_max, 204);
    assert_int_equal(health->every_ms, 5000);
    assert_int_equal(health->timeout_ms, 2000);
    assert_int_equal(health->down_after, 4);
    assert_int_equal(health->up_after, 5);
    conf_free(conf);
    assert_int_equal(health_of(WITH("health: {type: tcp}")).type, CONF_HEALTH_TCP);
    assert_int_equal(health_of(WITH("health: {type: tls}")).type, CONF_HEALTH_TLS);
    assert_int_equal(health_of(PLAIN("health: {type: tcp}")).type, CONF_HEALTH_TCP);
}

static void test_a_type_that_is_none_gets_the_list(void **state)
{
    (void)state;
    assert_shown(WITH("health: {type: https, path: /up}"),
                 "weir.yaml:3:60: error: 'https' for processors.acme.health.type is not one of its values\n"
                 "    3 | processors: {acme: {url: https://a.example, health: {type: https, path: /up}}}\n"
                 "      |                                                            ^~~~~ did you mean 'http'?\n"
                 "      = allowed here: http, tcp, tls\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH("health: {type: off}"), "= allowed here: http, tcp, tls\n");
    assert_says(WITH("health: off"), "processors.acme.health must be a section of keys");
    assert_says(WITH("health: {interval: 10s}"),
                "= allowed here: type, path, status, every, timeout, down_after, up_after\n");
}

static void test_a_path_and_a_status_are_of_http(void **state)
{
    (void)state;
    assert_shown(WITH("health: {type: tcp, path: /up, status: 200}"),
                 "weir.yaml:3:65: error: processors.acme.health.path is of http checks, and these are tcp\n"
                 "    3 | processors: {acme: {url: https://a.example, health: {type: tcp, path: /up, status: 200}}}\n"
                 "      |                                                                 ^~~~ leave it out, or write "
                 "'type: http'\n"
                 "weir.yaml:3:76: error: processors.acme.health.status is of http checks, and these are tcp\n"
                 "    3 | processors: {acme: {url: https://a.example, health: {type: tcp, path: /up, status: 200}}}\n"
                 "      |                                                                            ^~~~~~ leave it "
                 "out, or write 'type: http'\n"
                 "weir.yaml: 2 errors: not loaded\n");
    assert_says(WITH("health: {path: /up, type: tls}"), "health.path is of http checks, and these are tls\n");
    /* What was refused is not concluded from. */
    assert_says(WITH("health: {path: /up, type: tpc}"), "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH("health: {type: tpc}"), "weir.yaml: 1 error: not loaded\n");
}

static void test_tls_is_asked_of_who_speaks_it(void **state)
{
    (void)state;
    assert_shown(PLAIN("health: {type: tls}"),
                 "weir.yaml:3:63: error: processors.acme.health asks for a TLS handshake, and the url is http\n"
                 "    3 | processors: {acme: {url: 'http://127.0.0.1:9', health: {type: tls}}}\n"
                 "      |                                                               ^~~ write tcp or http, or an "
                 "https url\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(WITH("health: {type: tls}"), "weir.yaml: ok\n");
    assert_does_not_say("version: 1\nprocessors: {acme: {url: nonsense, health: {type: tls}}}\n", "handshake");
}

static void test_a_check_ends_before_the_next(void **state)
{
    (void)state;
    assert_shown(WITH("health: {path: /up, timeout: 10s}"),
                 "weir.yaml:3:74: error: health.timeout (10s) is not shorter than health.every (10s, the default) in "
                 "processors.acme\n"
                 "    3 | processors: {acme: {url: https://a.example, health: {path: /up, timeout: 10s}}}\n"
                 "      |                                                                          ^~~ a check ends "
                 "before the next one begins\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH("health: {path: /up, every: 1s}"),
                "weir.yaml:3:72: error: health.timeout (1s, the default) is not shorter than health.every (1s) in "
                "processors.acme\n");
    assert_shown(WITH("health: {path: /up, every: 1001ms}"), "weir.yaml: ok\n");
    assert_does_not_say(WITH("health: {path: /up, timeout: 10}"), "is not shorter");
    assert_does_not_say(WITH("health: {path: /up, every: 1ms}"), "is not shorter");
}

/* ---- the breaker ---- */

static void test_a_breaker_is_there_without_its_section(void **state)
{
    struct conf_breaker breaker = breaker_of(WITH("balance: p2c"));

    (void)state;
    assert_int_equal(breaker.window_ms, 10000);
    assert_int_equal(breaker.min_requests, 20);
    assert_int_equal(breaker.open_at_permille, 500);
    assert_int_equal(breaker.slow_ms, 24000);
    assert_int_equal(breaker.slow_at_permille, 800);
    assert_int_equal(breaker.open_for_ms, 2000);
    assert_int_equal(breaker.open_max_ms, 60000);
}

static void test_slow_follows_from_the_response_timeout(void **state)
{
    (void)state;
    assert_int_equal(breaker_of(WITH("timeouts: {response: 10s}")).slow_ms, 8000);
    assert_int_equal(breaker_of(WITH("breaker: {window: 5s}, timeouts: {response: 10s}")).slow_ms, 8000);
    assert_int_equal(breaker_of(WITH("timeouts: {response: 11ms}")).slow_ms, 8);
    assert_int_equal(breaker_of(WITH("breaker: {slow_is: 10s}, timeouts: {response: 10s}")).slow_ms, 10000);
}

static void test_a_breaker_is_as_it_is_written(void **state)
{
    struct conf_breaker breaker = breaker_of(WITH("breaker: {window: 30s, min_requests: 5, open_at: 1%, slow_is: 3s, "
                                                  "slow_at: 100%, open_for: 1s, open_max: 1s}"));

    (void)state;
    assert_int_equal(breaker.window_ms, 30000);
    assert_int_equal(breaker.min_requests, 5);
    assert_int_equal(breaker.open_at_permille, 10);
    assert_int_equal(breaker.slow_ms, 3000);
    assert_int_equal(breaker.slow_at_permille, 1000);
    assert_int_equal(breaker.open_for_ms, 1000);
    assert_int_equal(breaker.open_max_ms, 1000);
}

static void test_the_longest_time_open_is_not_shorter_than_the_first(void **state)
{
    (void)state;
    assert_shown(WITH("breaker: {open_for: 2m}"),
                 "weir.yaml:3:65: error: breaker.open_max (1m, the default) is shorter than breaker.open_for (2m) in "
                 "processors.acme\n"
                 "    3 | processors: {acme: {url: https://a.example, breaker: {open_for: 2m}}}\n"
                 "      |                                                                 ^~\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH("breaker: {open_max: 1s}"),
                "weir.yaml:3:65: error: breaker.open_max (1s) is shorter than breaker.open_for (2s, the default) in "
                "processors.acme\n");
    assert_does_not_say(WITH("breaker: {open_for: 2m, open_max: 2}"), "is shorter");
}

static void test_no_call_is_slower_than_it_may_take(void **state)
{
    (void)state;
    assert_shown(WITH("breaker: {slow_is: 31s}"),
                 "weir.yaml:3:64: error: breaker.slow_is (31s) is longer than timeouts.response (30s, the default) in "
                 "processors.acme\n"
                 "    3 | processors: {acme: {url: https://a.example, breaker: {slow_is: 31s}}}\n"
                 "      |                                                                ^~~ no call is ever that slow: "
                 "it times out before\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(WITH("breaker: {slow_is: 30s}"), "weir.yaml: ok\n");
    assert_does_not_say(WITH("breaker: {slow_is: 31s}, timeouts: {response: 30}"), "is longer than");
}

#define SLOW "version: 1\n" LISTENER "processors:\n" \
    "  acme: {profile: stripe, url: https://a.example, breaker: {slow_is: 31s}, timeouts: {total: 60s}}\n" \
    "  other: {profile: stripe, url: https://b.example, timeouts: {total: 60s}}\nshutdown: {drain: 60s}\nroutes:\n"

static void test_a_route_may_have_the_time_to_be_slow(void **state)
{
    (void)state;
    assert_shown(SLOW "  - {name: pay, to: acme, timeouts: {response: 40s}}\n", "weir.yaml: ok\n");
    assert_shown(SLOW "  - {name: pay, to: other, failover: acme, match: {method: POST}, timeouts: {response: 40s}, "
                      "idempotency: {mode: failover}}\n"
                 "store: {single_machine: true}\n", "weir.yaml: ok\n");
    assert_says(SLOW "  - {name: pay, to: other, timeouts: {response: 40s}}\n",
                "breaker.slow_is (31s) is longer than timeouts.response (30s, the default) in processors.acme\n");
    assert_says(SLOW "  - {name: pay, to: acme, timeouts: {response: 30500ms}}\n",
                "breaker.slow_is (31s) is longer than routes.pay.timeouts.response (30500ms) in processors.acme\n");
    /* A shorter one is that route's own affair. */
    assert_says(SLOW "  - {name: pay, to: acme, timeouts: {response: 5s}}\n",
                "breaker.slow_is (31s) is longer than timeouts.response (30s, the default) in processors.acme\n");
    assert_does_not_say(SLOW "  - {name: pay, to: acme, timeouts: {response: 40}}\n", "is longer than");
    assert_does_not_say(SLOW "  - {name: pay, to: [acme]}\n", "is longer than");
    assert_does_not_say(SLOW "  - {name: pay, to: other, failover: [acme]}\n", "is longer than");
}

/* ---- weights ---- */

static void test_weights_are_read_in_the_order_of_endpoints(void **state)
{
    struct conf *conf = load(ENDPOINTS("'10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1'", "weights: [3, 1, 100]"));

    (void)state;
    assert_int_equal(conf->processors[0].endpoint_count, 3);
    assert_int_equal(conf->processors[0].weight_count, 3);
    assert_int_equal(conf->processors[0].weights[0], 3);
    assert_int_equal(conf->processors[0].weights[1], 1);
    assert_int_equal(conf->processors[0].weights[2], 100);
    conf_free(conf);
    conf = load(ENDPOINTS("'10.0.0.1:1'", "balance: least"));
    assert_null(conf->processors[0].weights);
    assert_int_equal(conf->processors[0].weight_count, 0);
    conf_free(conf);
}

static void test_each_endpoint_has_one_weight(void **state)
{
    (void)state;
    assert_shown(ENDPOINTS("'10.0.0.1:1', '10.0.0.2:1'", "weights: [3]"),
                 "weir.yaml:3:86: error: processors.acme has 2 endpoints and 1 weight\n"
                 "    3 | processors: {acme: {url: https://a.example, endpoints: ['10.0.0.1:1', '10.0.0.2:1'], weights: "
                 "[3]}}\n"
                 "      |                                                                                      ^~~~~~~ one "
                 "for each, in their order\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(ENDPOINTS("'10.0.0.1:1'", "weights: [3, 1]"), "processors.acme has 1 endpoint and 2 weights\n");
    assert_shown(WITH("weights: [1]"),
                 "weir.yaml:3:45: error: processors.acme has weights and no endpoints\n"
                 "    3 | processors: {acme: {url: https://a.example, weights: [1]}}\n"
                 "      |                                             ^~~~~~~ add 'endpoints', or leave it out\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_does_not_say(ENDPOINTS("'10.0.0.1:1', '10.0.0.2'", "weights: [3]"), "has 2 endpoints");
}

static void test_a_weight_is_from_1_to_100(void **state)
{
    static const struct {
        const char *weight, *what;
    } rows[] = {{"0", "'0' for processors.acme.weights[1] is out of range\n"},
                {"101", "'101' for processors.acme.weights[1] is out of range\n"},
                {"half", "'half' for processors.acme.weights[1] is not a number\n"},
                {"1.5", "'1.5' for processors.acme.weights[1] is not a whole number\n"},
                {"[1]", "processors.acme.weights[1] must be a single value\n"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), ENDPOINTS("'10.0.0.1:1'", "weights: [1, %s]"), rows[i].weight);
        assert_says(text, rows[i].what);
        assert_says(text, "weir.yaml: 1 error: not loaded\n");
    }
    assert_says(ENDPOINTS("'10.0.0.1:1'", "weights: [0]"), " expected 1 to 100\n");
    assert_says(ENDPOINTS("'10.0.0.1:1'", "weights: 3"), "processors.acme.weights must be a list\n");
    assert_says(ENDPOINTS("'10.0.0.1:1'", "weights: []"), "processors.acme.weights must be a list of 1 to 64 entries\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_the_section_nobody_is_checked),
        cmocka_unit_test(test_a_section_that_says_nothing_asks_for_the_root),
        cmocka_unit_test(test_checks_are_as_they_are_written),
        cmocka_unit_test(test_a_type_that_is_none_gets_the_list),
        cmocka_unit_test(test_a_path_and_a_status_are_of_http),
        cmocka_unit_test(test_tls_is_asked_of_who_speaks_it),
        cmocka_unit_test(test_a_check_ends_before_the_next),
        cmocka_unit_test(test_a_breaker_is_there_without_its_section),
        cmocka_unit_test(test_slow_follows_from_the_response_timeout),
        cmocka_unit_test(test_a_breaker_is_as_it_is_written),
        cmocka_unit_test(test_the_longest_time_open_is_not_shorter_than_the_first),
        cmocka_unit_test(test_no_call_is_slower_than_it_may_take),
        cmocka_unit_test(test_a_route_may_have_the_time_to_be_slow),
        cmocka_unit_test(test_weights_are_read_in_the_order_of_endpoints),
        cmocka_unit_test(test_each_endpoint_has_one_weight),
        cmocka_unit_test(test_a_weight_is_from_1_to_100),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
