/* Limits as they are loaded: what they do not say, who names them, and whether they need the store. */
#include "conf/conf_support.h"

/* The limits are at line 4, the route that has `names` is at line 5. */
#define WITH(limits, names)                                                                                            \
    "version: 1\n" LISTENER PROCESSOR "limits: " limits "\nroutes: [{name: all, to: acme, idempotency: off, limits: " names "}]\n"
#define LIMIT(limit) WITH("{a: " limit "}", "[a]")
#define REDIS "store: {type: redis, servers: ['rediss://cache.example:6380']}\n"
#define KNOWN "tenants: {known_file: /etc/weir/tenants}\n"

/* ---- what is not written ---- */

static void test_a_limit_that_says_little_enforces_for_each_request(void **state)
{
    struct conf *conf = load(LIMIT("{by: tenant, rate: 100/s}"));
    const struct conf_limit *limit = &conf->limits[0];

    (void)state;
    assert_int_equal(conf->limit_count, 1);
    assert_string_equal(limit->name, "a");
    assert_true(limit->burst == 100);
    assert_int_equal(limit->concurrent, 0);
    assert_int_equal(limit->mode, CONF_LIMIT_ENFORCE);
    assert_int_equal(limit->store_down, CONF_LIMIT_LOCAL);
    assert_int_equal(limit->charge_on, CONF_CHARGE_ON_REQUEST);
    assert_int_equal(limit->tier_count, 0);
    assert_false(limit->local);
    conf_free(conf);
    conf = load("version: 1\n");
    assert_int_equal(conf->limit_count, 0);
    assert_int_equal(conf->store.limit_timeout_ms, 20);
    conf_free(conf);
}

static void test_a_limit_is_as_it_is_written(void **state)
{
    struct conf *conf = load(LIMIT("{by: [tenant, route], rate: 30/60s, burst: 7, mode: shadow, store_down: closed, "
                                   "charge_on: decline}"));

    (void)state;
    assert_true(conf->limits[0].rate.tokens == 30 && conf->limits[0].rate.per_us == 60000000);
    assert_true(conf->limits[0].burst == 7);
    assert_int_equal(conf->limits[0].mode, CONF_LIMIT_SHADOW);
    assert_int_equal(conf->limits[0].store_down, CONF_LIMIT_CLOSED);
    assert_int_equal(conf->limits[0].charge_on, CONF_CHARGE_ON_DECLINE);
    conf_free(conf);
    conf = load(LIMIT("{by: tenant, concurrent: 50, mode: off}"));
    assert_true(conf->limits[0].rate.tokens == 0 && conf->limits[0].burst == 0);
    assert_int_equal(conf->limits[0].concurrent, 50);
    assert_int_equal(conf->limits[0].mode, CONF_LIMIT_OFF);
    conf_free(conf);
    conf = load(LIMIT("{by: tenant, rate: 1/s, store_down: open}"));
    assert_int_equal(conf->limits[0].store_down, CONF_LIMIT_OPEN);
    conf_free(conf);
}

static void test_a_burst_that_is_not_written_is_what_a_second_gives(void **state)
{
    static const struct {
        const char *rate;
        uint64_t burst;
    } rows[] = {{"100/s", 100}, {"7/3s", 2}, {"3/3s", 1}, {"2/3s", 1}, {"1/day", 1},
                {"90/min", 1},  {"120/min", 2}, {"1/ms", 1000}, {"1000000000/ms", UINT64_C(1000000000000)}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        struct conf *conf;

        (void)snprintf(text, sizeof(text), LIMIT("{by: tenant, rate: %s}"), rows[i].rate);
        conf = load(text);
        assert_true(conf->limits[0].burst == rows[i].burst);
        conf_free(conf);
    }
}

static void test_numbers_have_their_limits(void **state)
{
    (void)state;
    assert_says(LIMIT("{by: tenant, rate: 1/s, burst: 0}"),
                "weir.yaml:4:44: error: '0' for limits.a.burst is out of range\n"
                "    4 | limits: {a: {by: tenant, rate: 1/s, burst: 0}}\n"
                "      |                                            ^ expected 1 to 1000000000\n");
    assert_says(LIMIT("{by: tenant, rate: 1/s, burst: -1}"), "error: '-1' for limits.a.burst is not a number\n");
    assert_says(LIMIT("{by: tenant, rate: 1/s, burst: 1000000001}"), "for limits.a.burst is out of range\n");
    assert_says(LIMIT("{by: tenant, concurrent: 0}"), "error: '0' for limits.a.concurrent is out of range\n");
    assert_says(LIMIT("{by: tenant, concurrent: 1000001}"), "for limits.a.concurrent is out of range\n");
    assert_says(LIMIT("{by: tenant, rate: 1/s, mode: on}"), "= allowed here: enforce, shadow, off\n");
    assert_says(LIMIT("{by: tenant, rate: 1/s, store_down: pass}"), "= allowed here: local, open, closed\n");
    assert_says(LIMIT("{by: tenant, rate: 1/s, charge_on: error}"), "= allowed here: request, decline\n");
    assert_says(LIMIT("{rate: 1/s}"), "weir.yaml:4:10: error: missing key 'by' in limits.a\n");
    assert_says(LIMIT("{by: tenant, rate: 1/s, rates: 1/s}"), "did you mean 'rate'?\n"
                                                              "      = allowed here: by, rate, burst, concurrent, mode, "
                                                              "store_down, charge_on, tiers\n");
}

/* ---- tiers ---- */

static void test_a_tier_has_what_it_does_not_say_from_its_limit(void **state)
{
    struct conf *conf = load(WITH("{a: {by: tenant, rate: 100/s, burst: 200, tiers: {gold: {rate: 1000/s}, silver: {burst: 300}, "
                                  "bulk: {rate: 1/min}, both: {rate: 5/s, burst: 9}}}, b: {by: tenant, concurrent: 5, tiers: "
                                  "{gold: {concurrent: 50}, silver: {}}}}",
                                  "[a, b]") KNOWN);
    const struct conf_limit_tier *tiers = conf->limits[0].tiers;

    (void)state;
    assert_int_equal(conf->limits[0].tier_count, 4);
    assert_string_equal(tiers[0].name, "gold");
    assert_true(tiers[0].rate.tokens == 1000 && tiers[0].rate.per_us == 1000000 && tiers[0].burst == 1000);
    assert_string_equal(tiers[1].name, "silver");
    assert_true(tiers[1].rate.tokens == 100 && tiers[1].rate.per_us == 1000000 && tiers[1].burst == 300);
    assert_true(tiers[2].rate.per_us == 60000000 && tiers[2].burst == 1);
    assert_true(tiers[3].rate.tokens == 5 && tiers[3].burst == 9);
    assert_int_equal(tiers[0].concurrent, 0);
    assert_int_equal(conf->limits[1].tiers[0].concurrent, 50);
    assert_int_equal(conf->limits[1].tiers[1].concurrent, 5);
    assert_true(conf->limits[1].tiers[0].rate.tokens == 0 && conf->limits[1].tiers[0].burst == 0);
    conf_free(conf);
}

static void test_a_limit_has_at_most_16_tiers(void **state)
{
    char text[2048] = "";
    size_t len = 0;

    (void)state;
    for (int tiers = 16; tiers <= 17; tiers++) {
        len = (size_t)snprintf(text, sizeof(text), "version: 1\n" LISTENER PROCESSOR
                               "routes: [{name: all, to: acme, idempotency: off, limits: [a]}]\n" KNOWN
                               "limits:\n  a:\n    by: tenant\n    rate: 1/s\n    tiers:\n");
        for (int i = 0; i < tiers; i++) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "      t%d: {rate: 2/s}\n", i);
        }
        if (tiers == 16) {
            assert_shown(text, "weir.yaml: ok\n");
        } else {
            assert_says(text, "error: limits.a.tiers must be at most 16 entries\n");
        }
    }
}

static void test_there_are_at_most_256_limits(void **state)
{
    size_t size = 64 * 1024, len;
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    for (int limits = 256; limits <= 257; limits++) {
        len = (size_t)snprintf(text, size, "version: 1\n" LISTENER PROCESSOR ROUTE "limits:\n");
        for (int i = 0; i < limits; i++) {
            len += (size_t)snprintf(text + len, size - len, "  l%d: {by: tenant, rate: 2/s, mode: off}\n", i);
        }
        if (limits == 256) {
            assert_says(text, "weir.yaml: ok, 256 warnings\n"); /* nothing uses them */
        } else {
            assert_says(text, "error: limits must be at most 256 entries\n");
        }
    }
    free(text);
}

/* ---- who names them ---- */

static void test_routes_and_listeners_name_limits(void **state)
{
    struct conf *conf = load("version: 1\n"
                             "listeners: [{name: in, address: '127.0.0.1:8080', limits: {accept: [c, d]}}, "
                             "{name: out, address: '127.0.0.1:8081'}]\n" PROCESSOR
                             "routes: [{name: one, to: acme, match: {path: /a}, idempotency: off, limits: [b, a], class: list}, "
                             "{name: two, to: acme, idempotency: off}]\n"
                             "limits:\n  a: {by: tenant, rate: 1/s}\n  b: {by: tenant, rate: 1/s}\n"
                             "  c: {by: client_ip, rate: 1/s}\n  d: {by: client_ip, rate: 2/s}\n");

    (void)state;
    assert_int_equal(conf->routes[0].limit_count, 2);
    assert_int_equal(conf->routes[0].limits[0], 1);
    assert_int_equal(conf->routes[0].limits[1], 0);
    assert_true(conf->routes[0].class_written);
    assert_int_equal(conf->routes[0].class, CONF_CLASS_LIST);
    assert_int_equal(conf->routes[1].limit_count, 0);
    assert_false(conf->routes[1].class_written);
    assert_int_equal(conf->listeners[0].accept_limit_count, 2);
    assert_int_equal(conf->listeners[0].accept_limits[0], 2);
    assert_int_equal(conf->listeners[0].accept_limits[1], 3);
    assert_int_equal(conf->listeners[1].accept_limit_count, 0);
    conf_free(conf);
    assert_says("version: 1\n" LISTENER PROCESSOR "routes: [{name: a, to: acme, class: payments}]\n",
                "did you mean 'payment'?\n      = allowed here: payment, write, read, list, test, background\n");
}

static void test_every_class_is_read(void **state)
{
    static const char *const words[] = {"payment", "write", "read", "list", "test", "background"};

    (void)state;
    for (int i = 0; i < 6; i++) {
        char text[512];
        struct conf *conf;

        (void)snprintf(text, sizeof(text), "version: 1\n" PROCESSOR "routes: [{name: a, to: acme, class: %s}]\n", words[i]);
        conf = load(text);
        assert_true(conf->routes[0].class_written);
        assert_int_equal(conf->routes[0].class, i);
        conf_free(conf);
    }
}

static void test_a_name_that_is_none_gets_a_suggestion(void **state)
{
    (void)state;
    assert_shown(WITH("{writes: {by: tenant, rate: 1/s}, reads: {by: tenant, rate: 1/s}}", "[wirtes, reads]"),
                 "weir.yaml:5:59: error: route 'all' has limit 'wirtes', which is not defined\n"
                 "    5 | routes: [{name: all, to: acme, idempotency: off, limits: [wirtes, reads]}]\n"
                 "      |                                                           ^~~~~~ did you mean 'writes' (defined "
                 "at line 4)?\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown("version: 1\n" PROCESSOR ROUTE "listeners: [{name: in, address: '127.0.0.1:8080', limits: {accept: [x]}}]\n",
                 "weir.yaml:4:69: error: listener 'in' has limit 'x', which is not defined\n"
                 "    4 | listeners: [{name: in, address: '127.0.0.1:8080', limits: {accept: [x]}}]\n"
                 "      |                                                                     ^\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH("{a: {by: tenant, rate: 1/s}}", "['a b']"), "'a b' for routes.all.limits[0] is not a name\n");
    assert_says(WITH("{a: {by: tenant, rate: 1/s}}", "a"), "error: routes.all.limits must be a list\n");
    /* What is wrong with the limits themselves is enough to say. */
    assert_does_not_say(WITH("[a]", "[a]"), "which is not defined");
}

static void test_a_limit_counts_once(void **state)
{
    (void)state;
    assert_shown(WITH("{a: {by: tenant, rate: 1/s}, b: {by: tenant, rate: 2/s}}", "[a, b, a]"),
                 "weir.yaml:5:65: error: route 'all' has limit 'a' twice\n"
                 "    5 | routes: [{name: all, to: acme, idempotency: off, limits: [a, b, a]}]\n"
                 "      |                                                                 ^\n"
                 "weir.yaml: 1 error: not loaded\n");
}

#define NINE                                                                                                           \
    "{a: {by: client_ip, rate: 1/s}, b: {by: client_ip, rate: 1/s}, c: {by: client_ip, rate: 1/s}, "                   \
    "d: {by: client_ip, rate: 1/s}, e: {by: client_ip, rate: 1/s}, f: {by: client_ip, rate: 1/s}, "                    \
    "g: {by: client_ip, rate: 1/s}, h: {by: client_ip, rate: 1/s}, i: {by: client_ip, rate: 1/s}}"

static void test_at_most_8_limits_count_at_once(void **state)
{
    struct conf *conf = load(WITH(NINE, "[a, b, c, d, e, f, g, h]"));

    (void)state;
    assert_int_equal(conf->routes[0].limit_count, 8);
    conf_free(conf);
    assert_says(WITH(NINE, "[a, b, c, d, e, f, g, h, i]"),
                "weir.yaml:5:50: error: routes.all.limits must be a list of 0 to 8 entries\n");
    assert_says("version: 1\n" PROCESSOR ROUTE "limits: " NINE "\nlisteners: [{name: in, address: '127.0.0.1:8080', limits: "
                "{accept: [a, b, c, d, e, f, g, h, i]}}]\n",
                "error: listeners.in.limits.accept must be a list of 0 to 8 entries\n");
    assert_says(WITH("{}", "[]"), "weir.yaml: ok\n");
}

/* ---- where they are counted ---- */

static bool is_local(const char *text)
{
    struct conf *conf = load(text);
    bool local = conf->limits[0].local;

    conf_free(conf);
    return local;
}

static void test_a_limit_by_address_is_local(void **state)
{
    (void)state;
    assert_true(is_local(LIMIT("{by: client_ip, rate: 1/s}")));
    assert_true(is_local(LIMIT("{by: [tenant, client_ip], rate: 1/s}")));
    assert_false(is_local(LIMIT("{by: [tenant, route], rate: 1/s}")));
    assert_false(is_local(LIMIT("{by: header:X-Shop, rate: 1/s}")));
    assert_false(is_local(LIMIT("{by: route, rate: 1/s}")));
    /* Then the tenant is the address. */
    assert_true(is_local(LIMIT("{by: tenant, rate: 1/s}") "tenants: {by: client_ip}\n"));
    assert_true(is_local(LIMIT("{by: [route, tenant], rate: 1/s}") "tenants: {by: client_ip}\n"));
    assert_false(is_local(LIMIT("{by: route, rate: 1/s}") "tenants: {by: client_ip}\n"));
}

static bool needs_store(const char *text)
{
    struct conf *conf = load(text);
    bool needed = conf->store_needed;

    conf_free(conf);
    return needed;
}

static void test_a_shared_limit_needs_the_store_where_that_is_a_redis(void **state)
{
    (void)state;
    assert_true(needs_store(LIMIT("{by: tenant, rate: 1/s}") REDIS));
    assert_true(needs_store(LIMIT("{by: tenant, rate: 1/s, mode: shadow}") REDIS));
    assert_true(needs_store(LIMIT("{by: tenant, rate: 1/s, charge_on: decline}") REDIS));
    assert_true(needs_store(WITH("{a: {by: client_ip, rate: 1/s}, b: {by: route, rate: 1/s}}", "[a, b]") REDIS));
    assert_false(needs_store(LIMIT("{by: tenant, rate: 1/s}")));
    assert_false(needs_store(LIMIT("{by: tenant, rate: 1/s}") "store: {type: embedded}\n"));
    assert_false(needs_store(LIMIT("{by: tenant, rate: 1/s, mode: off}") REDIS));
    assert_false(needs_store(LIMIT("{by: tenant, concurrent: 5}") REDIS));
    assert_false(needs_store(LIMIT("{by: client_ip, rate: 1/s}") REDIS));
    assert_false(needs_store(LIMIT("{by: tenant, rate: 1/s}") REDIS "tenants: {by: client_ip}\n"));
    assert_false(needs_store(WITH("{a: {by: tenant, rate: 1/s}}", "[]") REDIS)); /* nobody asks it */
    /* One route is enough, for a limit or for a record. */
    assert_true(needs_store("version: 1\n" PROCESSOR REDIS "limits: {a: {by: tenant, rate: 1/s}}\nroutes:\n"
                            "  - {name: one, to: acme, match: {path: /a}, idempotency: off, limits: [a]}\n"
                            "  - {name: two, to: acme, idempotency: off}\n"));
    assert_true(needs_store("version: 1\n" REDIS "processors: {acme: {profile: stripe, url: https://a.example}}\n"
                            "limits: {a: {by: client_ip, rate: 1/s}}\nroutes: [{name: one, to: acme, limits: [a]}]\n"));
}

static void test_how_long_limits_alone_wait_is_of_the_redis(void **state)
{
    struct conf *conf = load("version: 1\nstore: {type: redis, servers: ['rediss://a'], limit_timeout: 7ms}\n");

    (void)state;
    assert_int_equal(conf->store.limit_timeout_ms, 7);
    conf_free(conf);
    assert_says("version: 1\nstore: {limit_timeout: 20ms}\n",
                "weir.yaml:2:9: error: store.limit_timeout is of the redis store, and this one is embedded, the default\n");
    assert_says("version: 1\nstore: {type: redis, servers: ['rediss://a'], limit_timeout: 0ms}\n", "expected 1ms to 10s\n");
    assert_says("version: 1\nstore: {type: redis, servers: ['rediss://a'], limit_timeout: 11s}\n", "expected 1ms to 10s\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_limit_that_says_little_enforces_for_each_request),
        cmocka_unit_test(test_a_limit_is_as_it_is_written),
        cmocka_unit_test(test_a_burst_that_is_not_written_is_what_a_second_gives),
        cmocka_unit_test(test_numbers_have_their_limits),
        cmocka_unit_test(test_a_tier_has_what_it_does_not_say_from_its_limit),
        cmocka_unit_test(test_a_limit_has_at_most_16_tiers),
        cmocka_unit_test(test_there_are_at_most_256_limits),
        cmocka_unit_test(test_routes_and_listeners_name_limits),
        cmocka_unit_test(test_every_class_is_read),
        cmocka_unit_test(test_a_name_that_is_none_gets_a_suggestion),
        cmocka_unit_test(test_a_limit_counts_once),
        cmocka_unit_test(test_at_most_8_limits_count_at_once),
        cmocka_unit_test(test_a_limit_by_address_is_local),
        cmocka_unit_test(test_a_shared_limit_needs_the_store_where_that_is_a_redis),
        cmocka_unit_test(test_how_long_limits_alone_wait_is_of_the_redis),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
