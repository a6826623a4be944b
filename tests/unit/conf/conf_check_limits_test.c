/* Limits that say one thing, can be counted, and are asked where what they count is known. */
#include "conf/conf_support.h"

/* The limits are at line 4, the route that has `names` is at line 5. */
#define WITH(limits, names)                                                                                            \
    "version: 1\n" LISTENER PROCESSOR "limits: " limits "\nroutes: [{name: all, to: acme, idempotency: off, limits: " names "}]\n"
/* The limit's name is in column 10, its keys begin in column 14. */
#define LIMIT(limit) WITH("{a: " limit "}", "[a]")
/* The listener is at line 4, the first name of a limit in column 69. */
#define ACCEPT(names, limits)                                                                                          \
    "version: 1\n" PROCESSOR ROUTE "listeners: [{name: in, address: '127.0.0.1:8080', limits: {accept: " names             \
    "}}]\nlimits: " limits "\n"
#define KNOWN "tenants: {known_file: /etc/weir/tenants}\n"

static void test_limits_that_are_whole_pass_without_a_word(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: tenant, rate: 100/s, burst: 200, mode: enforce, store_down: local}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: client_ip, rate: 500/s, burst: 1000, mode: shadow}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: tenant, concurrent: 50}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: [tenant, 'header:X-Shop'], rate: 30/60s, charge_on: decline}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: tenant, rate: 1/s, tiers: {gold: {rate: 2/s}}}") KNOWN, "weir.yaml: ok\n");
    assert_shown(ACCEPT("[a]", "{a: {by: client_ip, rate: 50/s, burst: 200}}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: tenant, rate: 1/s}") "tenants: {by: client_ip}\n", "weir.yaml: ok\n");
}

/* ---- a rate, or requests at once ---- */

static void test_a_limit_limits_something(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: tenant, mode: off}"),
                 "weir.yaml:4:10: error: limits.a has neither a rate nor concurrent\n"
                 "    4 | limits: {a: {by: tenant, mode: off}}\n"
                 "      |          ^ add 'rate: 100/s', or 'concurrent: 50'\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(LIMIT("{by: tenant, burst: 5}"), "error: limits.a has neither a rate nor concurrent\n");
    /* One that is wrong is there all the same. */
    assert_does_not_say(LIMIT("{by: tenant, rate: 5}"), "neither");
}

static void test_a_limit_does_not_limit_two_things(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: tenant, rate: 1/s, concurrent: 5}"),
                 "weir.yaml:4:37: error: limits.a has a rate and concurrent\n"
                 "    4 | limits: {a: {by: tenant, rate: 1/s, concurrent: 5}}\n"
                 "      |                                     ^~~~~~~~~~ make it two limits: a route may have both\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(LIMIT("{by: tenant, concurrent: 5, burst: 9}"),
                 "weir.yaml:4:41: error: limits.a has a burst and no rate\n"
                 "    4 | limits: {a: {by: tenant, concurrent: 5, burst: 9}}\n"
                 "      |                                         ^~~~~ only a rate has one\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_declines_are_counted_by_rate(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: tenant, concurrent: 5, charge_on: decline}"),
                 "weir.yaml:4:52: error: limits.a counts declines and has no rate\n"
                 "    4 | limits: {a: {by: tenant, concurrent: 5, charge_on: decline}}\n"
                 "      |                                                    ^~~~~~~ write a rate, such as 30/60s\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(LIMIT("{by: tenant, concurrent: 5, charge_on: request}"), "weir.yaml: ok\n");
}

/* ---- what can be counted ---- */

static void test_what_would_be_rounded_is_refused(void **state)
{
    (void)state;
    /* A token of 1/365d is 31536e9 units, and 2^52 of these hold 142 tokens. */
    assert_shown(LIMIT("{by: tenant, rate: 1/365d, burst: 142}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: tenant, rate: 1/365d, burst: 143}"),
                 "weir.yaml:4:47: error: limits.a.burst is more than can be counted exactly\n"
                 "    4 | limits: {a: {by: tenant, rate: 1/365d, burst: 143}}\n"
                 "      |                                               ^~~ at most 142 at this rate\n"
                 "weir.yaml: 1 error: not loaded\n");
    /* Lowest terms count: this is one a day. */
    assert_shown(LIMIT("{by: tenant, rate: 365/365d, burst: 52124}"), "weir.yaml: ok\n");
    assert_says(LIMIT("{by: tenant, rate: 365/365d, burst: 52125}"), "at most 52124 at this rate\n");
    assert_shown(LIMIT("{by: tenant, rate: 1000000000/s, burst: 1000000000}"), "weir.yaml: ok\n");
    /* A burst that follows from its rate always can be. */
    assert_shown(LIMIT("{by: tenant, rate: 999999937/ms}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: tenant, rate: 999999937/31535999s}"), "weir.yaml: ok\n");
    assert_shown(LIMIT("{by: tenant, rate: 100/s, tiers: {gold: {rate: 7/365d, burst: 200}}}") KNOWN,
                 "weir.yaml:4:75: error: limits.a.tiers.gold.burst is more than can be counted exactly\n"
                 "    4 | limits: {a: {by: tenant, rate: 100/s, tiers: {gold: {rate: 7/365d, burst: 200}}}}\n"
                 "      |                                                                           ^~~ at most 142 at "
                 "this rate\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(LIMIT("{by: tenant, rate: 1/365d, tiers: {gold: {burst: 143}}}") KNOWN,
                "error: limits.a.tiers.gold.burst is more than can be counted exactly\n");
    /* A tier that has its burst from the limit is not told of again, and one whose own is no number was told of. */
    assert_does_not_say(LIMIT("{by: tenant, rate: 1/365d, burst: 143, tiers: {gold: {burst: x}}}") KNOWN,
                        "gold.burst is more");
    assert_does_not_say(LIMIT("{by: tenant, rate: 1/365d, burst: 143, tiers: {gold: {rate: 1/s}}}") KNOWN, "gold.burst");
}

/* ---- callers ---- */

static void test_a_part_counts_once(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: [tenant, route, tenant], rate: 1/s}"),
                 "weir.yaml:4:34: error: limits.a is by 'tenant' twice\n"
                 "    4 | limits: {a: {by: [tenant, route, tenant], rate: 1/s}}\n"
                 "      |                                  ^~~~~~\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(LIMIT("{by: ['header:X-Shop', 'header:x-shop'], rate: 1/s}"), "error: limits.a is by 'header:x-shop' twice\n");
    assert_shown(LIMIT("{by: ['header:X-Shop', 'header:X-Till'], rate: 1/s}"), "weir.yaml: ok\n");
}

static void test_a_limit_by_certificate_needs_a_listener_that_asks(void **state)
{
    static const char asks[] = "version: 1\nlimits: {a: {by: mtls_subject, rate: 1/s}}\nlisteners:\n"
                               "  - name: in\n    address: '127.0.0.1:1'\n    tls: {certificates: [{cert: /c, key: /k}], "
                               "client_certs: optional, client_ca: /ca}\n" PROCESSOR
                               "routes: [{name: all, to: acme, idempotency: off, limits: [a]}]\n";

    (void)state;
    assert_shown(LIMIT("{by: mtls_subject, rate: 1/s}"),
                 "weir.yaml:4:18: error: limits.a is by client certificate, and no listener asks for one\n"
                 "    4 | limits: {a: {by: mtls_subject, rate: 1/s}}\n"
                 "      |                  ^~~~~~~~~~~~ set tls.client_certs of a listener\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(LIMIT("{by: [route, mtls_subject], rate: 1/s}"), "weir.yaml:4:26: error: limits.a is by client certificate");
    assert_shown(asks, "weir.yaml: ok\n");
}

/* ---- tiers ---- */

static void test_tiers_need_a_file_that_names_them(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: tenant, rate: 1/s, tiers: {gold: {rate: 2/s}}}"),
                 "weir.yaml:4:37: error: limits.a has tiers, and nothing says who is of them\n"
                 "    4 | limits: {a: {by: tenant, rate: 1/s, tiers: {gold: {rate: 2/s}}}}\n"
                 "      |                                     ^~~~~ add tenants.known_file\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(LIMIT("{by: tenant, rate: 1/s, tiers: {}}"), "weir.yaml: ok\n");
    assert_does_not_say(LIMIT("{by: tenant, rate: 1/s, tiers: {gold: {rate: 2/s}}}") "tenants: {known_file: t}\n",
                        "nothing says");
}

static void test_a_tier_limits_what_its_limit_does(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: tenant, rate: 1/s, tiers: {gold: {concurrent: 9}}}") KNOWN,
                 "weir.yaml:4:52: error: limits.a.tiers.gold.concurrent: limits.a limits a rate\n"
                 "    4 | limits: {a: {by: tenant, rate: 1/s, tiers: {gold: {concurrent: 9}}}}\n"
                 "      |                                                    ^~~~~~~~~~ write rate or burst\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(LIMIT("{by: tenant, concurrent: 5, tiers: {gold: {rate: 1/s}}}") KNOWN,
                 "weir.yaml:4:56: error: limits.a.tiers.gold.rate: limits.a limits requests at once\n"
                 "    4 | limits: {a: {by: tenant, concurrent: 5, tiers: {gold: {rate: 1/s}}}}\n"
                 "      |                                                        ^~~~ write concurrent\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(LIMIT("{by: tenant, concurrent: 5, tiers: {gold: {burst: 1}}}") KNOWN,
                "error: limits.a.tiers.gold.burst: limits.a limits requests at once\n");
    assert_says("version: 1\n" LISTENER PROCESSOR "limits:\n  a:\n    by: tenant\n    rate: 1/s\n    tiers:\n      gold:\n" KNOWN
                "routes: [{name: all, to: acme, idempotency: off, limits: [a]}]\n", "warning: limits.a.tiers.gold says nothing\n");
    assert_shown(LIMIT("{by: tenant, rate: 1/s, tiers: {gold: {}}}") KNOWN,
                 "weir.yaml:4:45: warning: limits.a.tiers.gold says nothing\n"
                 "    4 | limits: {a: {by: tenant, rate: 1/s, tiers: {gold: {}}}}\n"
                 "      |                                             ^~~~\n"
                 "weir.yaml: ok, 1 warning\n");
}

/* ---- what has no effect ---- */

static void test_what_the_store_cannot_change_is_warned_of(void **state)
{
    (void)state;
    assert_shown(LIMIT("{by: client_ip, rate: 1/s, store_down: closed}"),
                 "weir.yaml:4:52: warning: limits.a.store_down has no effect\n"
                 "    4 | limits: {a: {by: client_ip, rate: 1/s, store_down: closed}}\n"
                 "      |                                                    ^~~~~~ a limit by address is counted in this "
                 "process\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown(LIMIT("{by: tenant, concurrent: 5, store_down: open}"),
                 "weir.yaml:4:53: warning: limits.a.store_down has no effect\n"
                 "    4 | limits: {a: {by: tenant, concurrent: 5, store_down: open}}\n"
                 "      |                                                     ^~~~ requests at once are counted in this "
                 "process\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown(LIMIT("{by: tenant, rate: 1/s, store_down: closed}"), "weir.yaml: ok\n");
}

static void test_a_limit_that_nothing_uses_is_warned_of(void **state)
{
    (void)state;
    assert_shown(WITH("{a: {by: tenant, rate: 1/s}, spare: {by: tenant, rate: 1/s}}", "[a]"),
                 "weir.yaml:4:38: warning: limits.spare limits nothing\n"
                 "    4 | limits: {a: {by: tenant, rate: 1/s}, spare: {by: tenant, rate: 1/s}}\n"
                 "      |                                      ^~~~~ name it in 'limits' of a route\n"
                 "weir.yaml: ok, 1 warning\n");
    /* A list that could not be read may name it. */
    assert_does_not_say(WITH("{a: {by: tenant, rate: 1/s}, spare: {by: tenant, rate: 1/s}}", "[a, [spare]]"), "limits nothing");
    assert_does_not_say(ACCEPT("spare", "{spare: {by: client_ip, rate: 1/s}}"), "limits nothing");
}

/* ---- new connections ---- */

static void test_a_new_connection_has_shown_its_address_alone(void **state)
{
    (void)state;
    assert_shown(ACCEPT("[a]", "{a: {by: tenant, rate: 1/s}}"),
                 "weir.yaml:4:69: error: listener 'in' charges new connections to limit 'a', which is not by client_ip alone\n"
                 "    4 | listeners: [{name: in, address: '127.0.0.1:8080', limits: {accept: [a]}}]\n"
                 "      |                                                                     ^ a new connection has shown "
                 "its address, and no more\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(ACCEPT("[a]", "{a: {by: [client_ip, route], rate: 1/s}}"), "limit 'a', which is not by client_ip alone\n");
    assert_says(ACCEPT("[b, a]", "{a: {by: client_ip, concurrent: 5}, b: {by: client_ip, rate: 1/s}}"),
                "weir.yaml:4:72: error: listener 'in' charges new connections to limit 'a', which has no rate\n");
    assert_says(ACCEPT("[a]", "{a: {by: client_ip, rate: 1/s, charge_on: decline}}"), "limit 'a', which counts declines\n");
    assert_says(ACCEPT("[a]", "{a: {by: client_ip, rate: 1/s, tiers: {gold: {rate: 2/s}}}}") KNOWN,
                "limit 'a', which has tiers\n");
    assert_says(ACCEPT("[a]", "{a: {by: tenant, rate: 1/s}}") "tenants: {by: client_ip}\n",
                "limit 'a', which is not by client_ip alone\n");
    /* What was reported of the limit is enough. */
    assert_does_not_say(ACCEPT("[a]", "{a: {by: ip, rate: 1/s}}"), "charges new connections");
    assert_does_not_say(ACCEPT("[a]", "{a: {by: client_ip, rate: 1}}"), "charges new connections");
    /* A shadow tells of them, too. */
    assert_shown(ACCEPT("[a]", "{a: {by: client_ip, rate: 1/s, mode: shadow}}"), "weir.yaml: ok\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_that_are_whole_pass_without_a_word),
        cmocka_unit_test(test_a_limit_limits_something),
        cmocka_unit_test(test_a_limit_does_not_limit_two_things),
        cmocka_unit_test(test_declines_are_counted_by_rate),
        cmocka_unit_test(test_what_would_be_rounded_is_refused),
        cmocka_unit_test(test_a_part_counts_once),
        cmocka_unit_test(test_a_limit_by_certificate_needs_a_listener_that_asks),
        cmocka_unit_test(test_tiers_need_a_file_that_names_them),
        cmocka_unit_test(test_a_tier_limits_what_its_limit_does),
        cmocka_unit_test(test_what_the_store_cannot_change_is_warned_of),
        cmocka_unit_test(test_a_limit_that_nothing_uses_is_warned_of),
        cmocka_unit_test(test_a_new_connection_has_shown_its_address_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
