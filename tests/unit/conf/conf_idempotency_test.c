/* What a route does that says nothing, and what could make a payment twice by configuration. */
#include "conf/conf_support.h"

#define STRIPE "processors: {acme: {profile: stripe, url: https://a.example}}\n"
#define GENERIC "processors: {acme: {url: https://a.example}}\n"
#define SQUARE "processors: {acme: {profile: square, url: https://a.example}}\n"
#define ONE_MACHINE "store: {single_machine: true}\n"
/* The route is at line 5. */
#define WITH(processor, route) "version: 1\n" LISTENER processor "routes:\n  - {name: pay, to: acme" route "}\n"

static struct conf_idempotency idempotency_of(const char *text)
{
    struct conf *conf = load(text);
    struct conf_idempotency idempotency = conf->routes[0].idempotency;

    assert_true(conf->store_needed == idempotency.on);
    idempotency.key.at = NULL; /* goes with the conf */
    conf_free(conf);
    return idempotency;
}

static void assert_key(const char *text, enum conf_key_place place, const char *at)
{
    struct conf *conf = load(text);

    assert_int_equal(conf->routes[0].idempotency.key.place, place);
    assert_string_equal(conf->routes[0].idempotency.key.at, at);
    conf_free(conf);
}

/* ---- what is not written ---- */

static void test_it_is_on_where_the_processor_deduplicates(void **state)
{
    struct conf_idempotency idempotency = idempotency_of(WITH(STRIPE, ""));

    (void)state;
    assert_true(idempotency.on);
    assert_false(idempotency.required);
    assert_int_equal(idempotency.mode, CONF_MODE_STICKY);
    assert_int_equal(idempotency.upstream_key, CONF_UPSTREAM_KEY_PASSTHROUGH);
    assert_int_equal(idempotency.keep_ms, 24ull * 3600 * 1000);
    assert_int_equal(idempotency.keep_receipt_ms, 72ull * 3600 * 1000);
    assert_int_equal(idempotency.keep_unknown_ms, 30ull * 24 * 3600 * 1000);
    assert_int_equal(idempotency.wait_ms, 2000);
    assert_false(idempotency.pass_when_down);
    assert_shown(WITH(STRIPE, ""), "weir.yaml: ok\n");
    assert_key(WITH(STRIPE, ""), CONF_KEY_HEADER, "Idempotency-Key");
}

static void test_elsewhere_it_is_on_where_the_section_is_written(void **state)
{
    struct conf_idempotency idempotency = idempotency_of(WITH(GENERIC, ", idempotency: {}") ONE_MACHINE);

    (void)state;
    assert_true(idempotency.on);
    assert_int_equal(idempotency.mode, CONF_MODE_SINGLE_SHOT);
    assert_int_equal(idempotency.upstream_key, CONF_UPSTREAM_KEY_PASSTHROUGH);
    assert_true(idempotency_of("version: 1\n" GENERIC ONE_MACHINE "routes:\n  - name: pay\n    to: acme\n    idempotency:\n").on);
    assert_false(idempotency_of(WITH(GENERIC, "")).on);
    assert_false(idempotency_of(WITH(GENERIC, ", idempotency: off")).on);
    assert_false(idempotency_of(WITH(STRIPE, ", idempotency: off")).on);
}

static void test_a_route_that_sees_no_key_needs_no_store(void **state)
{
    static const struct {
        const char *method;
        bool on;
    } rows[] = {{"POST", true}, {"PATCH", true}, {"PUT", false}, {"DELETE", false}, {"GET", false}, {"HEAD", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), WITH(STRIPE, ", match: {method: %s}"), rows[i].method);
        assert_true(idempotency_of(text).on == rows[i].on);
        assert_shown(text, "weir.yaml: ok\n");
        (void)snprintf(text, sizeof(text), WITH("processors: {acme: {profile: mine, url: https://a.example}}\n",
                                                ", match: {method: %s}") "profiles: {mine: {like: stripe, "
                                                "methods: [POST, PATCH, PUT, DELETE]}}\n",
                       rows[i].method);
        assert_true(idempotency_of(text).on == (i < 4));
    }
    assert_shown(WITH(STRIPE, ", match: {method: GET}, idempotency: {required: true}"),
                 "weir.yaml:5:49: warning: routes.pay.idempotency has no effect: GET carries no key\n"
                 "    5 |   - {name: pay, to: acme, match: {method: GET}, idempotency: {required: true}}\n"
                 "      |                                                 ^~~~~~~~~~~\n"
                 "weir.yaml: ok, 1 warning\n");
}

static void test_one_route_is_enough_to_need_the_store(void **state)
{
    struct conf *conf = load("version: 1\n" STRIPE "routes:\n  - {name: a, to: acme, match: {path: /a}, idempotency: off}\n"
                             "  - {name: b, to: acme, match: {path: /b}}\n  - {name: c, to: acme, idempotency: off}\n");

    (void)state;
    assert_true(conf->store_needed);
    conf_free(conf);
}

static void test_the_upstream_key_follows_from_the_tenants(void **state)
{
    static const struct {
        const char *tenants;
        enum conf_upstream_key expected;
    } rows[] = {
        {"", CONF_UPSTREAM_KEY_PASSTHROUGH},
        {"tenants: {}\n", CONF_UPSTREAM_KEY_PASSTHROUGH},
        {"tenants: {by: 'header:authorization'}\n", CONF_UPSTREAM_KEY_PASSTHROUGH},
        {"tenants: {by: header:X-API-Key}\n", CONF_UPSTREAM_KEY_PASSTHROUGH},
        {"tenants: {by: header:X-Merchant}\n", CONF_UPSTREAM_KEY_DERIVED},
        {"tenants: {by: client_ip}\n", CONF_UPSTREAM_KEY_DERIVED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), "%s%s", WITH(STRIPE, ""), rows[i].tenants);
        assert_int_equal(idempotency_of(text).upstream_key, rows[i].expected);
    }
    assert_key(WITH(SQUARE, ""), CONF_KEY_JSON, "/idempotency_key");
    assert_int_equal(idempotency_of(WITH(SQUARE, "")).upstream_key, CONF_UPSTREAM_KEY_PASSTHROUGH);
}

static void test_what_is_written_stands(void **state)
{
    struct conf_idempotency idempotency = idempotency_of(
        WITH(STRIPE, ", idempotency: {key: header:X-Key, required: true, mode: sticky, upstream_key: derived, keep: 1h, "
                     "keep_receipt: 2h, keep_unknown: 3h, wait: 0s, store_down: pass}"));

    (void)state;
    assert_true(idempotency.required);
    assert_int_equal(idempotency.mode, CONF_MODE_STICKY);
    assert_int_equal(idempotency.upstream_key, CONF_UPSTREAM_KEY_DERIVED);
    assert_int_equal(idempotency.keep_ms, 3600 * 1000);
    assert_int_equal(idempotency.keep_receipt_ms, 2 * 3600 * 1000);
    assert_int_equal(idempotency.keep_unknown_ms, 3 * 3600 * 1000);
    assert_int_equal(idempotency.wait_ms, 0);
    assert_true(idempotency.pass_when_down);
    assert_key(WITH(STRIPE, ", idempotency: {key: header:X-Key}"), CONF_KEY_HEADER, "X-Key");
    assert_key(WITH(STRIPE, ", idempotency: {key: json:/a/~0b}"), CONF_KEY_JSON, "/a/~0b");
    /* A de-duplicating processor may be used as if it did not. */
    assert_int_equal(idempotency_of(WITH(STRIPE, ", idempotency: {mode: single_shot}") ONE_MACHINE).mode,
                     CONF_MODE_SINGLE_SHOT);
}

/* ---- the words ---- */

static void test_what_is_not_built_is_no_word(void **state)
{
    (void)state;
    assert_shown(WITH(STRIPE, ", idempotency: {mode: hedged}"),
                 "weir.yaml:5:47: error: 'hedged' for routes.pay.idempotency.mode is not one of its values\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {mode: hedged}}\n"
                 "      |                                               ^~~~~~\n"
                 "      = allowed here: sticky, single_shot, failover\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_does_not_say(WITH(GENERIC, ", idempotency: {mode: hedged}"), "is sticky");
    assert_shown(WITH(STRIPE, ", idempotency: of"),
                 "weir.yaml:5:40: error: 'of' for routes.pay.idempotency is neither a section of keys nor one of its words\n"
                 "    5 |   - {name: pay, to: acme, idempotency: of}\n"
                 "      |                                        ^~ did you mean 'off'?\n"
                 "      = allowed here: off\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH(STRIPE, ", idempotency: [off]"), "routes.pay.idempotency must be a section of keys");
    assert_says(WITH(STRIPE, ", idempotency: {required: yes}"),
                "'yes' for routes.pay.idempotency.required is not one of its values\n"
                "    5 |   - {name: pay, to: acme, idempotency: {required: yes}}\n"
                "      |                                                   ^~~ expected true or false\n");
    assert_says(WITH(STRIPE, ", idempotency: {keep: 24}"), "'24' for routes.pay.idempotency.keep has no unit");
    assert_says(WITH(STRIPE, ", idempotency: {keep: 366d}"), "is out of range");
    assert_says(WITH(STRIPE, ", idempotency: {scope: route}"),
                "= allowed here: key, required, mode, upstream_key, keep, keep_receipt, keep_unknown, wait, store_down\n");
}

static void test_where_a_key_stands_has_one_reading(void **state)
{
    static const struct {
        const char *key, *what;
    } rows[] = {
        {"Idempotency-Key", "says neither header: nor json:"},
        {"'header:'", "has no valid field name"},
        {"'header: Idempotency-Key'", "has no valid field name"},
        {"header:Idempotency(Key", "has no valid field name"},
        {"header:Idempotency-*", "has no valid field name"},
        {"'json:'", "has no valid JSON pointer"},
        {"json:/", "has no valid JSON pointer"},
        {"json:idempotency_key", "has no valid JSON pointer"},
        {"json:/a~2b", "has no valid JSON pointer"},
        {"json:/a~", "has no valid JSON pointer"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), WITH(STRIPE, ", idempotency: {key: %s}"), rows[i].key);
        assert_says(text, rows[i].what);
    }
    assert_shown(WITH(STRIPE, ", idempotency: {key: json:/a~2b}"),
                 "weir.yaml:5:46: error: 'json:/a~2b' for routes.pay.idempotency.key has no valid JSON pointer\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {key: json:/a~2b}}\n"
                 "      |                                              ^~~~~~~~~~ expected one such as "
                 "json:/idempotency_key (RFC 6901)\n"
                 "weir.yaml: 1 error: not loaded\n");
}

/* ---- what could make a payment twice ---- */

static void test_sticky_needs_a_processor_that_deduplicates(void **state)
{
    (void)state;
    assert_shown(WITH(GENERIC, ", idempotency: {mode: sticky}"),
                 "weir.yaml:5:47: error: route 'pay' is sticky, and profile 'generic' of processor 'acme' does not "
                 "de-duplicate\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {mode: sticky}}\n"
                 "      |                                               ^~~~~~ a payment could be made twice: write "
                 "single_shot\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_single_shot_needs_a_store_that_all_weirs_share(void **state)
{
    (void)state;
    assert_shown(WITH(GENERIC, ", idempotency: {}"),
                 "weir.yaml:5:27: error: route 'pay' is single_shot on an embedded store that may not be the only one\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {}}\n"
                 "      |                           ^~~~~~~~~~~ write 'single_machine: true' in store if no second weir "
                 "serves these tenants, or 'type: redis'\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH(STRIPE, ", idempotency: {mode: single_shot}"),
                "weir.yaml:5:47: error: route 'pay' is single_shot on an embedded store");
    assert_shown(WITH(GENERIC, ", idempotency: {}") ONE_MACHINE, "weir.yaml: ok\n");
    assert_shown(WITH(GENERIC, ", idempotency: {}") "store: {type: redis, servers: [rediss://r.example]}\n",
                 "weir.yaml: ok\n");
    /* What was refused already is not concluded from. */
    assert_does_not_say(WITH(GENERIC, ", idempotency: {}") "store: {type: radis}\n", "single_shot");
    assert_does_not_say(WITH(GENERIC, ", idempotency: {}") "store: {single_machine: yes}\n", "single_shot");
}

#define TWO                                                                                                            \
    "processors: {acme: {profile: stripe, url: https://a.example}, other: {profile: stripe, url: https://b.example}}\n"
#define TWO_OF_MINE                                                                                                    \
    "profiles: {mine: {}}\nprocessors: {acme: {profile: mine, url: https://a.example}, other: {profile: mine, url: "      \
    "https://b.example}}\n"
#define MOVES ", failover: other, match: {method: POST}, idempotency: {mode: failover"
#define REDIS "store: {type: redis, servers: [rediss://r.example]}\n"

static void test_a_key_moves_only_in_mode_failover(void **state)
{
    struct conf *conf = load(WITH(TWO, ", failover: other, idempotency: {mode: failover}") ONE_MACHINE);

    (void)state;
    assert_int_equal(conf->routes[0].idempotency.mode, CONF_MODE_FAILOVER);
    assert_int_equal(conf->routes[0].failover, 1);
    conf_free(conf);
    assert_shown(WITH(TWO, MOVES "}") ONE_MACHINE, "weir.yaml: ok\n");
    assert_shown(WITH(TWO, ", failover: other, match: {method: POST}, idempotency: {mode: sticky}"),
                 "weir.yaml:5:37: error: route 'pay' fails over, and the mode of its idempotency is sticky\n"
                 "    5 |   - {name: pay, to: acme, failover: other, match: {method: POST}, idempotency: {mode: sticky}}\n"
                 "      |                                     ^~~~~ write 'mode: failover' in its idempotency, or leave it out\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH(TWO, ", failover: other"),
                "weir.yaml:5:37: error: route 'pay' fails over, and the mode of its idempotency is sticky, the default\n");
    assert_says(WITH(TWO_OF_MINE, ", failover: other, idempotency: {}") ONE_MACHINE,
                "route 'pay' fails over, and the mode of its idempotency is single_shot, the default\n");
    assert_shown(WITH(TWO, MOVES ", required: true, upstream_key: derived}") ONE_MACHINE,
                 "weir.yaml: ok\n");
    /* A processor that does not de-duplicate is failed over to just as well: nothing was sent. */
    assert_shown(WITH(TWO_OF_MINE, MOVES "}") ONE_MACHINE, "weir.yaml: ok\n");
}

#define NO_RECORD "route 'pay' fails over, and no record would say which processor a key went to"

static void test_a_key_without_a_record_does_not_fail_over(void **state)
{
    (void)state;
    assert_shown(WITH(TWO, ", failover: other, match: {method: POST}, idempotency: off"),
                 "weir.yaml:5:37: error: " NO_RECORD "\n"
                 "    5 |   - {name: pay, to: acme, failover: other, match: {method: POST}, idempotency: off}\n"
                 "      |                                     ^~~~~ one key could reach both: write 'mode: failover' in its "
                 "idempotency, or match GET or HEAD\n"
                 "weir.yaml:5:80: warning: route 'pay' has no idempotency, which profile 'stripe' would give it\n"
                 "    5 |   - {name: pay, to: acme, failover: other, match: {method: POST}, idempotency: off}\n"
                 "      |                                                                                ^~~ weir then knows "
                 "nothing of a payment that is sent twice\n"
                 "weir.yaml: 1 error, 1 warning: not loaded\n");
    assert_shown(WITH(TWO, ", failover: other, match: {method: POST}, stream: request"),
                 "weir.yaml:5:37: error: " NO_RECORD "\n"
                 "    5 |   - {name: pay, to: acme, failover: other, match: {method: POST}, stream: request}\n"
                 "      |                                     ^~~~~ one key could reach both: write 'mode: failover' in its "
                 "idempotency and not 'stream: request', or match GET or HEAD\n"
                 "weir.yaml:5:75: warning: route 'pay' takes POST without idempotency\n"
                 "    5 |   - {name: pay, to: acme, failover: other, match: {method: POST}, stream: request}\n"
                 "      |                                                                           ^~~~~~~ what is streamed "
                 "has no record\n"
                 "weir.yaml: 1 error, 1 warning: not loaded\n");
    assert_says(WITH(TWO, ", failover: other, idempotency: off"), "error: " NO_RECORD "\n"); /* every method */
    assert_shown(WITH(TWO, ", failover: other, match: {method: PUT}"),
                 "weir.yaml:5:37: error: " NO_RECORD "\n"
                 "    5 |   - {name: pay, to: acme, failover: other, match: {method: PUT}}\n"
                 "      |                                     ^~~~~ profile 'stripe' has no keys for PUT: leave it out, or "
                 "match GET or HEAD\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_what_has_no_key_to_lose_may_fail_over(void **state)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "TRACE"};

    (void)state;
    for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), WITH(TWO, ", failover: other, match: {method: %s}, idempotency: off"), safe[i]);
        assert_does_not_say(text, "error");
        (void)snprintf(text, sizeof(text), WITH(TWO, ", failover: other, match: {method: %s}, stream: request"), safe[i]);
        assert_does_not_say(text, "error");
    }
    /* Where nobody de-duplicates, a key promises nothing. */
    assert_shown(WITH(TWO_OF_MINE, ", failover: other, match: {method: POST}, idempotency: off"), "weir.yaml: ok\n");
    assert_shown(WITH(TWO_OF_MINE, ", failover: other, match: {method: PUT}"), "weir.yaml: ok\n");
    assert_does_not_say(WITH(TWO_OF_MINE, ", failover: other, match: {method: POST}, stream: request"), "error");
    /* What was refused already is not concluded from. */
    assert_does_not_say(WITH(TWO, ", failover: [other], idempotency: off"), NO_RECORD);
    assert_does_not_say(WITH(TWO, ", failover: nobody, idempotency: off"), NO_RECORD);
    assert_does_not_say(WITH(TWO, ", failover: acme, idempotency: off"), NO_RECORD);
    assert_does_not_say(WITH(TWO, ", failover: other, idempotency: of"), NO_RECORD);
    assert_does_not_say(WITH(TWO, ", failover: other, stream: requests, match: {method: PUT}"), NO_RECORD);
    assert_does_not_say(WITH(TWO, ", failover: other, match: {method: put}"), NO_RECORD);
    assert_does_not_say(WITH(TWO, ", failover: other, match: 7, idempotency: off"), NO_RECORD);
}

static void test_mode_failover_says_where_to(void **state)
{
    (void)state;
    assert_shown(WITH(TWO, ", idempotency: {mode: failover}") ONE_MACHINE,
                 "weir.yaml:5:47: error: route 'pay' is of mode failover, and names no processor to fail over to\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {mode: failover}}\n"
                 "      |                                               ^~~~~~~~ add 'failover: PROCESSOR' to the route\n"
                 "weir.yaml: 1 error: not loaded\n");
    /* What was refused already is not concluded from. */
    assert_does_not_say(WITH(TWO, ", failover: [other], idempotency: {mode: failover}") ONE_MACHINE, "names no processor");
    assert_does_not_say(WITH(TWO, ", failover: nobody, idempotency: {mode: failover}") ONE_MACHINE, "names no processor");
    assert_does_not_say(WITH(TWO, ", failover: other, idempotency: {mode: fail}") ONE_MACHINE, "fails over, and");
}

static void test_mode_failover_needs_the_only_store(void **state)
{
    (void)state;
    assert_shown(WITH(TWO, MOVES "}"),
                 "weir.yaml:5:87: error: route 'pay' is failover on an embedded store that may not be the only one\n"
                 "    5 |   - {name: pay, to: acme" MOVES "}}\n"
                 "      |                                                                                       ^~~~~~~~ "
                 "write 'single_machine: true' in store if no second weir serves these tenants\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(WITH(TWO, MOVES "}") REDIS,
                 "weir.yaml:5:87: error: route 'pay' is failover on a Redis store\n"
                 "    5 |   - {name: pay, to: acme" MOVES "}}\n"
                 "      |                                                                                       ^~~~~~~~ "
                 "that comes later: write sticky, or let the store be embedded\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH(TWO_OF_MINE, MOVES "}") REDIS,
                " that comes later: write single_shot, or let the store be embedded\n");
    assert_does_not_say(WITH(TWO, MOVES "}") "store: {type: radis}\n", "is failover");
    assert_does_not_say(WITH(TWO, MOVES "}") "store: {single_machine: yes}\n", "is failover");
}

static void test_without_the_store_nothing_fails_over(void **state)
{
    (void)state;
    assert_shown(WITH(TWO, MOVES ", store_down: pass}") ONE_MACHINE,
                 "weir.yaml:5:109: error: route 'pay' is failover and passes requests while the store is down\n"
                 "    5 |   - {name: pay, to: acme" MOVES ", store_down: pass}}\n"
                 "      |                                                                                                             ^~~~ "
                 "nothing would keep a payment from being made twice: write refuse\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_what_is_streamed_has_no_record(void **state)
{
    (void)state;
    assert_shown(WITH(STRIPE, ", stream: request, idempotency: {}"),
                 "weir.yaml:5:35: error: route 'pay' streams requests and has idempotency\n"
                 "    5 |   - {name: pay, to: acme, stream: request, idempotency: {}}\n"
                 "      |                                   ^~~~~~~ a record needs the whole request: leave one of them "
                 "out\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_false(idempotency_of(WITH(STRIPE, ", stream: request")).on);
    assert_shown(WITH(STRIPE, ", stream: request"),
                 "weir.yaml:5:35: warning: route 'pay' takes POST without idempotency\n"
                 "    5 |   - {name: pay, to: acme, stream: request}\n"
                 "      |                                   ^~~~~~~ what is streamed has no record\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown(WITH(STRIPE, ", stream: request, match: {method: PUT}"), "weir.yaml: ok\n");
}

static void test_keys_of_tenants_with_one_account_are_not_passed_through(void **state)
{
    (void)state;
    assert_shown(WITH(STRIPE, ", idempotency: {upstream_key: passthrough}") "tenants: {by: client_ip}\n",
                 "weir.yaml:5:55: error: route 'pay' passes keys through, and its tenants are not the credential that the "
                 "processor sees\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {upstream_key: passthrough}}\n"
                 "      |                                                       ^~~~~~~~~~~ two of them may choose the "
                 "same key: write derived\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(WITH(SQUARE, "") "tenants: {by: client_ip}\n",
                 "weir.yaml:5:12: error: route 'pay' has its key in the body, and its tenants are not the credential that "
                 "the processor sees\n"
                 "    5 |   - {name: pay, to: acme}\n"
                 "      |            ^~~ two of them may choose the same key: let tenants.by be header:Authorization\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_does_not_say(WITH(STRIPE, ", idempotency: {upstream_key: passthrough}") "tenants: {by: nobody}\n",
                        "passes keys through");
}

static void test_a_key_in_the_body_is_not_derived(void **state)
{
    (void)state;
    assert_shown(WITH(STRIPE, ", idempotency: {key: json:/k, upstream_key: derived}"),
                 "weir.yaml:5:69: error: route 'pay' derives a key that stands in the body\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {key: json:/k, upstream_key: derived}}\n"
                 "      |                                                                     ^~~~~~~ a body goes as it "
                 "came: leave upstream_key out\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH(SQUARE, ", idempotency: {upstream_key: derived}"), "derives a key that stands in the body");
}

static void test_a_record_outlives_what_it_holds(void **state)
{
    (void)state;
    assert_shown(WITH(STRIPE, ", idempotency: {keep: 24h, keep_receipt: 1h}"),
                 "weir.yaml:5:66: error: keep_receipt (1h) is shorter than keep (1d) in routes.pay.idempotency\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {keep: 24h, keep_receipt: 1h}}\n"
                 "      |                                                                  ^~\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(WITH(STRIPE, ", idempotency: {keep: 73h}"),
                 "weir.yaml:5:47: error: keep_receipt (3d, the default) is shorter than keep (73h) in "
                 "routes.pay.idempotency\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {keep: 73h}}\n"
                 "      |                                               ^~~\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(WITH(STRIPE, ", idempotency: {keep_unknown: 71h}"),
                 "weir.yaml:5:55: error: keep_unknown (71h) is shorter than keep_receipt (3d, the default) in "
                 "routes.pay.idempotency\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {keep_unknown: 71h}}\n"
                 "      |                                                       ^~~\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(WITH(STRIPE, ", idempotency: {keep_receipt: 31d}"),
                "weir.yaml:5:55: error: keep_unknown (30d, the default) is shorter than keep_receipt (31d) in ");
    assert_shown(WITH(STRIPE, ", idempotency: {keep: 72h, keep_unknown: 72h}"), "weir.yaml: ok\n");
    assert_says(WITH(STRIPE, ", idempotency: {keep: 1s, keep_receipt: 2s, keep_unknown: 35s}"),
                "error: keep_unknown (35s) is not longer than a request may take in routes.pay.idempotency");
    assert_does_not_say(WITH(STRIPE, ", idempotency: {keep: 1s, keep_receipt: 2s, keep_unknown: 36s}"), "not longer");
    assert_does_not_say(WITH(STRIPE, ", idempotency: {keep: 12, keep_receipt: 13h}"), "is shorter than");
    assert_does_not_say(WITH(STRIPE, ", idempotency: {keep: 80h, keep_receipt: 90}"), "is shorter than");
}

static void test_only_a_processor_that_deduplicates_is_passed_to_without_the_store(void **state)
{
    (void)state;
    assert_shown(WITH(GENERIC, ", idempotency: {store_down: pass}") ONE_MACHINE,
                 "weir.yaml:5:53: error: route 'pay' is single_shot and passes requests while the store is down\n"
                 "    5 |   - {name: pay, to: acme, idempotency: {store_down: pass}}\n"
                 "      |                                                     ^~~~ nothing would keep a payment from being "
                 "made twice: write refuse\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(WITH(STRIPE, ", idempotency: {store_down: pass}"), "weir.yaml: ok\n");
}

/* ---- what a payment engineer would ask about ---- */

static void test_payments_without_idempotency_are_warned_of(void **state)
{
    (void)state;
    assert_shown(WITH(GENERIC, ""),
                 "weir.yaml:5:12: warning: route 'pay' takes POST without idempotency\n"
                 "    5 |   - {name: pay, to: acme}\n"
                 "      |            ^~~ a payment that is sent twice may be made twice: add 'idempotency', or write it "
                 "off\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_says(WITH(GENERIC, ", match: {method: PATCH}"), "route 'pay' takes PATCH without idempotency\n");
    assert_shown(WITH(GENERIC, ", match: {method: GET}"), "weir.yaml: ok\n");
    assert_shown(WITH(GENERIC, ", idempotency: off"), "weir.yaml: ok\n");
    assert_does_not_say(WITH(GENERIC, ", match: {method: post}"), "without idempotency");
}

static void test_off_where_the_profile_would_give_it_is_warned_of(void **state)
{
    (void)state;
    assert_shown(WITH(STRIPE, ", idempotency: off"),
                 "weir.yaml:5:40: warning: route 'pay' has no idempotency, which profile 'stripe' would give it\n"
                 "    5 |   - {name: pay, to: acme, idempotency: off}\n"
                 "      |                                        ^~~ weir then knows nothing of a payment that is sent "
                 "twice\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown(WITH(STRIPE, ", match: {method: GET}, idempotency: off"), "weir.yaml: ok\n");
}

/* Longer than the processor remembers is fine: the record then says what was. */
static void test_an_answer_may_be_kept_for_longer_than_the_processor_does(void **state)
{
    (void)state;
    assert_shown(WITH(STRIPE, ", idempotency: {keep: 60d, keep_receipt: 90d, keep_unknown: 365d}"), "weir.yaml: ok\n");
}

static void test_nothing_is_concluded_about_a_processor_that_is_none(void **state)
{
    (void)state;
    assert_does_not_say(WITH("processors: {acme: {profile: nonsense, url: https://a.example}}\n", ""), "idempotency");
    assert_does_not_say(WITH("processors: {other: {url: https://a.example}}\n", ""), "idempotency");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_on_where_the_processor_deduplicates),
        cmocka_unit_test(test_elsewhere_it_is_on_where_the_section_is_written),
        cmocka_unit_test(test_a_route_that_sees_no_key_needs_no_store),
        cmocka_unit_test(test_one_route_is_enough_to_need_the_store),
        cmocka_unit_test(test_the_upstream_key_follows_from_the_tenants),
        cmocka_unit_test(test_what_is_written_stands),
        cmocka_unit_test(test_what_is_not_built_is_no_word),
        cmocka_unit_test(test_where_a_key_stands_has_one_reading),
        cmocka_unit_test(test_sticky_needs_a_processor_that_deduplicates),
        cmocka_unit_test(test_single_shot_needs_a_store_that_all_weirs_share),
        cmocka_unit_test(test_a_key_moves_only_in_mode_failover),
        cmocka_unit_test(test_a_key_without_a_record_does_not_fail_over),
        cmocka_unit_test(test_what_has_no_key_to_lose_may_fail_over),
        cmocka_unit_test(test_mode_failover_says_where_to),
        cmocka_unit_test(test_mode_failover_needs_the_only_store),
        cmocka_unit_test(test_without_the_store_nothing_fails_over),
        cmocka_unit_test(test_what_is_streamed_has_no_record),
        cmocka_unit_test(test_keys_of_tenants_with_one_account_are_not_passed_through),
        cmocka_unit_test(test_a_key_in_the_body_is_not_derived),
        cmocka_unit_test(test_a_record_outlives_what_it_holds),
        cmocka_unit_test(test_only_a_processor_that_deduplicates_is_passed_to_without_the_store),
        cmocka_unit_test(test_payments_without_idempotency_are_warned_of),
        cmocka_unit_test(test_off_where_the_profile_would_give_it_is_warned_of),
        cmocka_unit_test(test_an_answer_may_be_kept_for_longer_than_the_processor_does),
        cmocka_unit_test(test_nothing_is_concluded_about_a_processor_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
