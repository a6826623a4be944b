/*
 * A loaded configuration made ready for use: what its routes bring along, which
 * series count them, what is said of certificates, and who keeps it alive.
 */
#include "gate_support.h"

#include "io/tls_support.h"

#define CONF                                                                                                           \
    "version: 1\n"                                                                                                     \
    "listeners: [{name: in, address: '127.0.0.1:0'}]\n"                                                                \
    "processors:\n"                                                                                                    \
    "  acme: {profile: stripe, url: 'http://127.0.0.1:1', timeouts: {response: 7s, total: 9s}}\n"                      \
    "  other: {url: 'http://127.0.0.1:2'}\n"                                                                           \
    "routes:\n"                                                                                                        \
    "  - {name: pay, match: {host: Pay.Example, method: POST, path: /v1/payments}, to: acme,\n"                        \
    "     body: 1KiB, timeouts: {response: 3s, total: 5s}, idempotency: off}\n"                                        \
    "  - {name: \"rest\", match: {path: /v1/*}, to: acme, idempotency: off}\n"                                         \
    "  - {name: elsewhere, match: {host: other.example}, to: other}\n"

static struct loop *loop;
static struct stats *stats;
static struct upstream *upstream;

static int begin(void **state)
{
    (void)state;
    loop = loop_open(0);
    stats = stats_open();
    const struct upstream_options options = {.loop = loop, .stats = stats};
    upstream = upstream_open(&options);
    return 0;
}

static int end(void **state)
{
    (void)state;
    upstream_close(upstream);
    assert_true(loop_close(loop));
    stats_close(stats);
    return 0;
}

static struct conf *load(const char *text, struct conf_findings *findings)
{
    struct conf *conf = conf_load_text("weir.yaml", bytes_from_text(text), findings);

    if (conf == NULL) {
        fail_msg("%s", conf_findings_text(findings));
    }
    return conf;
}

static struct generation *ready(const char *text)
{
    const struct generation_needs needs = {.upstream = upstream, .stats = stats};
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf = load(text, findings);
    struct generation_parts tls;

    assert_true(generation_parts_open(&tls, conf, NULL, GENERATION_ABSENT_IS_ERROR, findings));
    conf_findings_close(findings);
    struct generation *generation = generation_open(conf, &tls, &needs, 7);
    assert_non_null(generation);
    return generation;
}

static struct route_ready *route_of(struct generation *generation, const char *host, const char *method, const char *path)
{
    const struct http_head head = {
        .host = bytes_from_text(host), .method = bytes_from_text(method), .path = bytes_from_text(path)};

    return generation_route(generation, &head);
}

static void test_a_route_brings_all_that_its_exchanges_need(void **state)
{
    struct generation *generation = ready(CONF);
    struct route_ready *pay = route_of(generation, "pay.example", "POST", "/v1/payments");
    struct route_ready *rest = route_of(generation, "pay.example", "GET", "/v1/payments");

    (void)state;
    assert_non_null(pay);
    assert_non_null(rest);
    assert_string_equal(pay->conf->name, "pay");
    assert_string_equal(rest->conf->name, "rest");
    assert_string_equal(pay->profile->name, "stripe");
    assert_string_equal(processor_name(pay->processor), "acme");
    assert_ptr_equal(pay->processor, rest->processor);
    assert_int_equal(pay->body_bytes_max, 1024);
    assert_int_equal(rest->body_bytes_max, 0);
    assert_int_equal(pay->response_ms, 3000);
    assert_int_equal(pay->total_ms, 5000);
    assert_int_equal(rest->response_ms, 7000); /* the processor's */
    assert_int_equal(rest->total_ms, 9000);
    assert_bytes(bytes_of(pay->access, pay->access_len),
                 "\"http.route\":\"pay\",\"weir.route\":\"pay\",\"weir.processor\":\"acme\"");
    generation_release(generation);
}

static void test_the_first_match_wins_and_a_dry_run_says_the_same(void **state)
{
    static const struct {
        const char *host, *method, *path;
        int index;
    } cases[] = {
        {"pay.example", "POST", "/v1/payments", 0}, {"pay.example", "POST", "/v1/payments/1", 1},
        {"nobody.example", "POST", "/v1/payments", 1}, {"other.example", "GET", "/v1/x", 1},
        {"other.example", "GET", "/v2", 2}, {"pay.example", "GET", "/v2", -1}, {"pay.example", "GET", "/v1", -1},
    };
    struct generation *generation = ready(CONF);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct route_ready *route = route_of(generation, cases[i].host, cases[i].method, cases[i].path);
        assert_ptr_equal(route, cases[i].index < 0 ? NULL : &generation->routes[cases[i].index]);
        assert_int_equal(gate_route_of(generation_conf(generation), bytes_from_text(cases[i].host),
                                       bytes_from_text(cases[i].method), bytes_from_text(cases[i].path)),
                         cases[i].index);
    }
    generation_release(generation);
}

/* stripe-node takes an error without its `error` object for success: one stripe processor decides for all unrouted. */
static void test_one_stripe_processor_shapes_what_has_no_route(void **state)
{
    struct generation *generation = ready(CONF);

    (void)state;
    assert_string_equal(generation->fallback->name, "stripe");
    generation_release(generation);
    generation = ready("version: 1\nprocessors: {acme: {url: 'http://127.0.0.1:1'}}\nroutes: [{name: all, to: acme}]\n");
    assert_string_equal(generation->fallback->name, "generic");
    generation_release(generation);
    generation = ready("version: 1\n");
    assert_string_equal(generation->fallback->name, "generic");
    generation_release(generation);
}

static void assert_sample(const char *sample)
{
    world.stats = stats;
    assert_metric(sample);
}

static void test_requests_are_counted_by_status_or_by_reason(void **state)
{
    struct generation *generation = ready(CONF);
    struct route_ready *pay = &generation->routes[0];
    stats_id ok = generation_requests_series(generation, pay, 200, REASON_OK);

    (void)state;
    assert_int_not_equal(ok, STATS_NONE);
    assert_int_equal(generation_requests_series(generation, pay, 200, REASON_OK), ok);
    assert_int_not_equal(generation_requests_series(generation, pay, 402, REASON_OK), ok);
    stats_add(stats, ok, 3);
    stats_add(stats, generation_requests_series(generation, pay, 504, REASON_RESPONSE_TIMEOUT), 1);
    /* One status of several origins: the processor's own, and two reasons of weir. */
    stats_add(stats, generation_requests_series(generation, pay, 502, REASON_OK), 4);
    stats_add(stats, generation_requests_series(generation, pay, 502, REASON_CONNECT_FAILED), 5);
    stats_add(stats, generation_requests_series(generation, pay, 502, REASON_RESPONSE_MALFORMED), 6);
    stats_add(stats, generation_requests_series(generation, &generation->unrouted, 404, REASON_NO_ROUTE), 2);
    assert_sample("weir_requests_total{route=\"pay\",processor=\"acme\",code=\"200\",reason=\"ok\"} 3\n");
    assert_sample("weir_requests_total{route=\"pay\",processor=\"acme\",code=\"504\",reason=\"response_timeout\"} 1\n");
    assert_sample("code=\"502\",reason=\"ok\"} 4\n");
    assert_sample("code=\"502\",reason=\"connect_failed\"} 5\n");
    assert_sample("code=\"502\",reason=\"response_malformed\"} 6\n");
    assert_sample("weir_requests_total{route=\"\",processor=\"\",code=\"404\",reason=\"no_route\"} 2\n");
    generation_release(generation);
}

static void test_a_status_beyond_the_table_is_counted_and_reaches_no_foreign_memory(void **state)
{
    struct generation *generation = ready(CONF);

    (void)state;
    stats_add(stats, generation_requests_series(generation, &generation->routes[0], 65535, REASON_OK), 1);
    assert_sample("code=\"65535\",reason=\"ok\"} 1\n");
    generation_release(generation);
}

/* A reload counts on where the generation before it stopped. */
static void test_the_next_generation_finds_the_same_series(void **state)
{
    struct generation *first = ready(CONF);
    stats_id id = generation_requests_series(first, &first->routes[0], 200, REASON_OK);
    stats_id duration = first->routes[0].stat_duration;

    (void)state;
    generation_release(first);
    struct generation *second = ready(CONF);
    assert_int_equal(generation_requests_series(second, &second->routes[0], 200, REASON_OK), id);
    assert_int_equal(second->routes[0].stat_duration, duration);
    generation_release(second);
}

static int processors_count(void)
{
    int count = 0;

    for (struct processor *p = upstream_next(upstream, NULL); p != NULL; p = upstream_next(upstream, p)) {
        count++;
    }
    return count;
}

static void test_the_last_holder_takes_it_and_its_processors_along(void **state)
{
    struct generation *generation = ready(CONF);

    (void)state;
    assert_int_equal(generation_number(generation), 7);
    assert_int_equal(generation_holders(generation), 1);
    assert_ptr_equal(generation_hold(generation), generation);
    assert_int_equal(generation_holders(generation), 2);
    assert_int_equal(processors_count(), 2);
    generation_release(generation);
    assert_int_equal(processors_count(), 2);
    generation_release(generation);
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    assert_int_equal(processors_count(), 0);
}

/* Routes by name: a later generation goes on with the breakers of those that it has, too; the others go. */
static void test_breakers_of_routes_go_with_the_last_generation_that_has_them(void **state)
{
    static const char without[] = "version: 1\n"
                                  "listeners: [{name: in, address: '127.0.0.1:0'}]\n"
                                  "processors: {acme: {profile: stripe, url: 'http://127.0.0.1:1'}}\n"
                                  "routes: [{name: pay, match: {path: /v1/*}, to: acme, idempotency: off}]\n";
    struct generation *first = ready(CONF);
    struct processor *acme = upstream_next(upstream, NULL);
    struct processor_state shown;
    struct circuit_state circuit;

    (void)state;
    struct generation *second = ready(without);
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    processor_state(acme, &shown);
    assert_int_equal(shown.circuit_count, 2);
    generation_release(first);
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    processor_state(acme, &shown);
    assert_int_equal(shown.circuit_count, 1);
    assert_true(processor_circuit_state(acme, 0, &circuit));
    assert_string_equal(circuit.route, "pay");
    generation_release(second);
}

/* ---- TLS files ---- */

#define TLS_CONF                                                                                                       \
    "version: 1\n"                                                                                                     \
    "listeners:\n"                                                                                                     \
    "  - name: in\n"                                                                                                   \
    "    address: '127.0.0.1:0'\n"                                                                                     \
    "    tls:\n"                                                                                                       \
    "      certificates:\n"                                                                                            \
    "        - cert: %s\n"                                                                                             \
    "          key: %s\n"                                                                                              \
    "processors:\n"                                                                                                    \
    "  acme:\n"                                                                                                        \
    "    url: https://api.acme.example\n"                                                                              \
    "    endpoints: ['127.0.0.1:1']\n"                                                                                 \
    "    tls: {ca: %s}\n"                                                                                              \
    "routes: [{name: all, to: acme}]\n"

/* What an operator is told of a configuration with these files; to be freed. */
static char *told_of(const char *cert, const char *key, const char *authority, enum generation_absent files, bool *usable)
{
    struct conf_findings *findings = conf_findings_open();
    struct generation_parts tls;
    char text[2000];

    (void)snprintf(text, sizeof text, TLS_CONF, cert, key, authority);
    struct conf *conf = load(text, findings);
    *usable = generation_parts_open(&tls, conf, NULL, files, findings);
    if (*usable) {
        assert_true((tls.servers[0] != NULL) == (access(cert, F_OK) == 0));
        generation_parts_close(&tls, conf);
    }
    char *told = conf_findings_text(findings);
    conf_findings_close(findings);
    conf_free(conf);
    return told;
}

static void assert_told(const char *told, const char *part)
{
    if (strstr(told, part) == NULL) {
        fail_msg("not told: %s\nbut: %s", part, told);
    }
}

static void test_files_that_are_not_here_are_warnings_at_their_keys_when_checking(void **state)
{
    bool usable;
    char *told = told_of("/nowhere/a.crt", "/nowhere/a.key", "/nowhere/ca.crt", GENERATION_ABSENT_IS_WARNING, &usable);

    (void)state;
    assert_true(usable);
    assert_told(told, "weir.yaml:7:17: warning: /nowhere/a.crt is not on this machine");
    assert_told(told, "weir.yaml:8:16: warning: /nowhere/a.key is not on this machine");
    assert_told(told, "weir.yaml:13:15: warning: /nowhere/ca.crt is not on this machine");
    assert_null(strstr(told, "error"));
    free(told);
}

static void test_files_that_are_not_here_are_errors_when_starting(void **state)
{
    bool usable;
    char *told = told_of("/nowhere/a.crt", "/nowhere/a.key", "/nowhere/ca.crt", GENERATION_ABSENT_IS_ERROR, &usable);

    (void)state;
    assert_false(usable);
    assert_told(told, "weir.yaml:5:5: error: "); /* both, in one run */
    assert_told(told, "/nowhere/a.crt");
    assert_told(told, "weir.yaml:13:5: error: ");
    assert_told(told, "/nowhere/ca.crt");
    free(told);
}

static void test_a_certificate_that_ends_soon_is_a_warning_and_one_that_ended_an_error(void **state)
{
    struct issued authority, soon, ended, late;
    bool usable;
    char *told;

    (void)state;
    certs_begin();
    issue(&authority, NULL, "ca", "Test CA", NULL, KEY_EC, 86400 * 365);
    issue(&soon, &authority, "soon", "soon", "DNS:pay.example", KEY_EC, 86400 * 5 + 3600);
    issue(&ended, &authority, "ended", "ended", "DNS:pay.example", KEY_EC, -3600);
    issue(&late, &authority, "late", "late", "DNS:pay.example", KEY_EC, 86400 * 90);

    told = told_of(soon.cert_path, soon.key_path, authority.cert_path, GENERATION_ABSENT_IS_ERROR, &usable);
    assert_true(usable);
    assert_told(told, "weir.yaml:7:17: warning: the certificate for 'pay.example' ends in 5 days");
    free(told);
    told = told_of(ended.cert_path, ended.key_path, authority.cert_path, GENERATION_ABSENT_IS_ERROR, &usable);
    assert_false(usable);
    assert_told(told, "weir.yaml:7:17: error: the certificate for 'pay.example' has expired");
    free(told);
    told = told_of(late.cert_path, late.key_path, authority.cert_path, GENERATION_ABSENT_IS_ERROR, &usable);
    assert_true(usable);
    assert_null(strstr(told, "the certificate"));
    free(told);
    issued_free(&authority);
    issued_free(&soon);
    issued_free(&ended);
    issued_free(&late);
    certs_end();
}

static void test_a_key_of_another_certificate_is_an_error(void **state)
{
    struct issued authority, one, two;
    bool usable;

    (void)state;
    certs_begin();
    issue(&authority, NULL, "ca", "Test CA", NULL, KEY_EC, 86400 * 365);
    issue(&one, &authority, "one", "one", "DNS:one.example", KEY_EC, 86400 * 90);
    issue(&two, &authority, "two", "two", "DNS:two.example", KEY_EC, 86400 * 90);
    char *told = told_of(one.cert_path, two.key_path, authority.cert_path, GENERATION_ABSENT_IS_WARNING, &usable);
    assert_false(usable);
    assert_told(told, "error: ");
    free(told);
    issued_free(&authority);
    issued_free(&one);
    issued_free(&two);
    certs_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_route_brings_all_that_its_exchanges_need, begin, end),
        cmocka_unit_test_setup_teardown(test_the_first_match_wins_and_a_dry_run_says_the_same, begin, end),
        cmocka_unit_test_setup_teardown(test_one_stripe_processor_shapes_what_has_no_route, begin, end),
        cmocka_unit_test_setup_teardown(test_requests_are_counted_by_status_or_by_reason, begin, end),
        cmocka_unit_test_setup_teardown(test_a_status_beyond_the_table_is_counted_and_reaches_no_foreign_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_the_next_generation_finds_the_same_series, begin, end),
        cmocka_unit_test_setup_teardown(test_the_last_holder_takes_it_and_its_processors_along, begin, end),
        cmocka_unit_test_setup_teardown(test_breakers_of_routes_go_with_the_last_generation_that_has_them, begin, end),
        cmocka_unit_test(test_files_that_are_not_here_are_warnings_at_their_keys_when_checking),
        cmocka_unit_test(test_files_that_are_not_here_are_errors_when_starting),
        cmocka_unit_test(test_a_certificate_that_ends_soon_is_a_warning_and_one_that_ended_an_error),
        cmocka_unit_test(test_a_key_of_another_certificate_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
