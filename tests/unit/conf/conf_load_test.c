/* Defaults, shapes, unknown and missing keys, and files. */
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_support.h"

static void test_an_almost_empty_file_is_valid_and_has_the_defaults_of_the_whole(void **state)
{
    struct conf *conf = load("version: 1\n");

    (void)state;
    assert_int_equal(conf->listener_count, 0);
    assert_int_equal(conf->processor_count, 0);
    assert_int_equal(conf->route_count, 0);
    assert_false(conf->monitor_present);
    assert_null(conf->admin_socket);
    assert_string_equal(conf->log[LOG_ACCESS].to, "stdout");
    assert_int_equal(conf->log[LOG_ACCESS].format, LOG_JSON);
    assert_string_equal(conf->log[LOG_EVENTS].to, "stderr");
    assert_int_equal(conf->log[LOG_EVENTS].format, LOG_JSON);
    assert_int_equal(conf->log[LOG_EVENTS].level, LOG_INFO);
    assert_int_equal(conf->announce_ms, 5000);
    assert_int_equal(conf->drain_ms, 45000);
    assert_true(conf->buffers_bytes == 268435456);
    assert_string_equal(conf->path, "weir.yaml");
    /* sha256sum of "version: 1\n" */
    assert_string_equal(conf->sha256, "09bfcc6a14b83e2192b8673677725c84883ee9cd0c70e45c9ec09daa8f2b2847");
    conf_free(conf);
}

static void test_a_listener_has_the_defaults(void **state)
{
    struct conf *conf = load("version: 1\n" LISTENER);
    const struct conf_listener *listener = &conf->listeners[0];

    (void)state;
    assert_int_equal(conf->listener_count, 1);
    assert_string_equal(listener->name, "in");
    assert_string_equal(listener->address_text, "127.0.0.1:8080");
    assert_false(listener->tls.present);
    assert_int_equal(listener->tls.certificate_count, 0);
    assert_int_equal(listener->tls.minimum, CONF_TLS_1_2);
    assert_int_equal(listener->tls.client_certs, CONF_CLIENT_CERTS_OFF);
    assert_null(listener->tls.client_ca);
    assert_null(listener->tls.client_crl);
    assert_false(listener->proxy_protocol);
    assert_int_equal(listener->trusted_count, 0);
    assert_int_equal(listener->connections, 0);
    assert_int_equal(listener->per_address, 1000);
    assert_int_equal(listener->header_bytes, 16384);
    assert_int_equal(listener->body_bytes, 262144);
    assert_int_equal(listener->handshake_ms, 5000);
    assert_int_equal(listener->header_ms, 5000);
    assert_int_equal(listener->body_ms, 15000);
    assert_int_equal(listener->idle_ms, 75000);
    assert_int_equal(listener->write_ms, 15000);
    conf_free(conf);
}

static void test_a_processor_has_the_defaults(void **state)
{
    struct conf *conf = load("version: 1\n" PROCESSOR);
    const struct conf_processor *processor = &conf->processors[0];

    (void)state;
    assert_int_equal(conf->processor_count, 1);
    assert_string_equal(processor->name, "acme");
    assert_string_equal(conf->profiles[processor->profile].name, "generic");
    assert_string_equal(processor->host_header, "api.acme.example");
    assert_int_equal(processor->late_ms, 60000);
    assert_null(processor->endpoints);
    assert_int_equal(processor->endpoint_count, 0);
    assert_true(processor->tls_verify);
    assert_null(processor->tls_ca);
    assert_null(processor->tls_cert);
    assert_null(processor->tls_key);
    assert_string_equal(processor->tls_server_name, "api.acme.example");
    assert_int_equal(processor->connect_ms, 1000);
    assert_int_equal(processor->response_ms, 30000);
    assert_int_equal(processor->total_ms, 35000);
    assert_int_equal(processor->connections, 256);
    assert_int_equal(processor->link_idle_ms, 55000);
    assert_int_equal(processor->link_age_ms, 300000);
    assert_int_equal(processor->queue, 256);
    assert_int_equal(processor->balance, CONF_BALANCE_P2C);
    assert_int_equal(processor->concurrency, 512);
    conf_free(conf);
}

static void test_a_route_has_the_defaults(void **state)
{
    struct conf *conf = load("version: 1\n" ROUTE "processors:\n  zeta: {url: https://z}\n  acme: {url: https://a}\n");
    const struct conf_route *route = &conf->routes[0];

    (void)state;
    assert_int_equal(conf->route_count, 1);
    assert_string_equal(route->name, "all");
    assert_null(route->host);
    assert_null(route->method);
    assert_null(route->path);
    assert_false(route->path_is_prefix);
    assert_int_equal(route->processor, 1);
    assert_int_equal(route->failover, -1);
    assert_true(route->body_bytes == 0);
    assert_int_equal(route->response_ms, 0);
    assert_int_equal(route->total_ms, 0);
    assert_false(route->stream_request);
    conf_free(conf);
}

static void test_what_is_written_replaces_the_defaults(void **state)
{
    struct conf *conf = load("version: 1\n"
                             "listeners:\n"
                             "- name: a\n"
                             "  address: 127.0.0.1:1\n"
                             "  limits: {connections: 7, per_address: 8, header: 9KiB, body: 10KiB}\n"
                             "  timeouts: {handshake: 1s, header: 2s, body: 3s, idle: 4s, write: 6s}\n"
                             "processors:\n"
                             "  p:\n"
                             "    url: https://a.example\n"
                             "    tls: {ca: /ca, cert: /cert, key: /key, server_name: B.example}\n"
                             "    timeouts: {connect: 2s, response: 3s, total: 6s}\n"
                             "    pool: {connections: 4, idle: 5s, age: 6s, queue: 7}\n"
                             "    concurrency: 8\n"
                             "routes:\n"
                             "- {name: r, to: p, body: 1MiB, stream: request, timeouts: {response: 1s, total: 4s}}\n"
                             "memory: {buffers: 2MiB}\n"
                             "monitor: {address: 127.0.0.1:9901}\n"
                             "admin: {socket: /run/weir/admin.sock}\n"
                             "shutdown: {announce: 1s, drain: 7s}\n");

    (void)state;
    assert_int_equal(conf->listeners[0].connections, 7);
    assert_int_equal(conf->listeners[0].per_address, 8);
    assert_int_equal(conf->listeners[0].header_bytes, 9216);
    assert_int_equal(conf->listeners[0].body_bytes, 10240);
    assert_int_equal(conf->listeners[0].handshake_ms, 1000);
    assert_int_equal(conf->listeners[0].header_ms, 2000);
    assert_int_equal(conf->listeners[0].body_ms, 3000);
    assert_int_equal(conf->listeners[0].idle_ms, 4000);
    assert_int_equal(conf->listeners[0].write_ms, 6000);
    assert_string_equal(conf->processors[0].tls_ca, "/ca");
    assert_string_equal(conf->processors[0].tls_cert, "/cert");
    assert_string_equal(conf->processors[0].tls_key, "/key");
    assert_string_equal(conf->processors[0].tls_server_name, "b.example");
    assert_int_equal(conf->processors[0].connect_ms, 2000);
    assert_int_equal(conf->processors[0].response_ms, 3000);
    assert_int_equal(conf->processors[0].total_ms, 6000);
    assert_int_equal(conf->processors[0].connections, 4);
    assert_int_equal(conf->processors[0].link_idle_ms, 5000);
    assert_int_equal(conf->processors[0].link_age_ms, 6000);
    assert_int_equal(conf->processors[0].queue, 7);
    assert_int_equal(conf->processors[0].concurrency, 8);
    assert_true(conf->routes[0].body_bytes == 1048576);
    assert_true(conf->routes[0].stream_request);
    assert_int_equal(conf->routes[0].response_ms, 1000);
    assert_int_equal(conf->routes[0].total_ms, 4000);
    assert_true(conf->buffers_bytes == 2097152);
    assert_true(conf->monitor_present);
    assert_int_equal(addr_port(&conf->monitor.ip), 9901);
    assert_string_equal(conf->admin_socket, "/run/weir/admin.sock");
    assert_int_equal(conf->announce_ms, 1000);
    assert_int_equal(conf->drain_ms, 7000);
    conf_free(conf);
}

static void test_an_unknown_key_is_shown_as_the_contract_has_it(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER ROUTE
                 "processors:\n  acme:\n    url: https://a.example\n    time_outs: {connect: 1s}\n",
                 "weir.yaml:7:5: error: unknown key 'time_outs' in processors.acme\n"
                 "    7 |     time_outs: {connect: 1s}\n"
                 "      |     ^~~~~~~~~ did you mean 'timeouts'?\n"
                 "      = allowed here: profile, url, host, endpoints, weights, tls, timeouts, pool, health, breaker, balance, "
                 "concurrency\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_keys_of_capabilities_to_come_are_unknown(void **state)
{
    static const struct {
        const char *text, *key;
    } rows[] = {
        {"processors: {acme: {url: https://a, adaptive: {}}}", "adaptive"},
        {"processors: {acme: {url: https://a, breaker: {per: route}}}", "per"},
        {"routes: [{name: a, to: b, idempotency: {scope: route}}]", "scope"},
        {"store: {mode: sentinel}", "mode"},
        {"limits: {a: {by: tenant, rate: 1/s, cost: 2}}", "cost"},
        {"limits: {a: {by: tenant, rate: 1/s, lease: 200ms}}", "lease"},
        {"include: x", "include"},
        {"workers: 2", "workers"},
        {"admin: {socket: /a, address: 127.0.0.1:1}", "address"},
        {"logging: {redact: {}}", "redact"},
        {"listeners: [{name: a, address: '127.0.0.1:1', tls: {alpn: []}}]", "alpn"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256], expected[64];

        (void)snprintf(text, sizeof(text), "version: 1\n%s\n", rows[i].text);
        (void)snprintf(expected, sizeof(expected), " error: unknown key '%s' ", rows[i].key);
        assert_says(text, expected);
    }
}

static void test_a_key_far_from_all_gets_the_list_alone(void **state)
{
    (void)state;
    assert_says("version: 1\nshutdown: {whatever: 1}\n",
                "weir.yaml:2:12: error: unknown key 'whatever' in shutdown\n"
                "    2 | shutdown: {whatever: 1}\n"
                "      |            ^~~~~~~~\n"
                "      = allowed here: announce, drain\n");
}

static void test_swapped_letters_and_other_case_are_recognised(void **state)
{
    (void)state;
    assert_says("version: 1\nshutdown: {darin: 1s}\n", "did you mean 'drain'?");
    assert_says("version: 1\nShutDown: {}\n", "did you mean 'shutdown'?");
    assert_says("version: 1\nlistener: []\n", "did you mean 'listeners'?");
}

static void test_a_missing_version_is_an_error_of_the_whole_file(void **state)
{
    (void)state;
    assert_shown(LISTENER PROCESSOR ROUTE,
                 "weir.yaml: error: missing key 'version' at the top level: write 'version: 1'\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says("", "weir.yaml: error: missing key 'version' at the top level: write 'version: 1'\n");
    assert_says("# nothing\n", "missing key 'version'");
}

static void test_another_version_is_refused(void **state)
{
    (void)state;
    assert_says("version: 2\n", "weir.yaml:1:10: error: '2' for version is out of range\n"
                                "    1 | version: 2\n"
                                "      |          ^ expected 1\n");
    assert_says("version: one\n", "'one' for version is not a number");
}

static void test_missing_keys_point_at_the_section(void **state)
{
    (void)state;
    assert_shown("version: 1\n"
                 "listeners:\n"
                 "  - name: a\n"
                 "    tls:\n"
                 "  - address: 127.0.0.1:1\n"
                 "    tls: {certificates: [{cert: /c}]}\n"
                 "processors:\n"
                 "  acme: {}\n"
                 "routes:\n"
                 "  - name: r\n"
                 "monitor: {}\n"
                 "admin:\n",
                 "weir.yaml:3:5: error: missing key 'address' in listeners.a\n"
                 "    3 |   - name: a\n"
                 "      |     ^~~~\n"
                 "weir.yaml:4:5: error: missing key 'certificates' in listeners.a.tls\n"
                 "    4 |     tls:\n"
                 "      |     ^~~\n"
                 "weir.yaml:5:5: error: missing key 'name' in listeners[1]\n"
                 "    5 |   - address: 127.0.0.1:1\n"
                 "      |     ^~~~~~~\n"
                 "weir.yaml:6:26: error: missing key 'key' in listeners[1].tls.certificates[0]\n"
                 "    6 |     tls: {certificates: [{cert: /c}]}\n"
                 "      |                          ^\n"
                 "weir.yaml:8:3: error: missing key 'url' in processors.acme\n"
                 "    8 |   acme: {}\n"
                 "      |   ^~~~\n"
                 "weir.yaml:10:5: error: missing key 'to' in routes.r\n"
                 "   10 |   - name: r\n"
                 "      |     ^~~~\n"
                 "weir.yaml:11:1: error: missing key 'address' in monitor\n"
                 "   11 | monitor: {}\n"
                 "      | ^~~~~~~\n"
                 "weir.yaml:12:1: error: missing key 'socket' in admin\n"
                 "   12 | admin:\n"
                 "      | ^~~~~\n"
                 "weir.yaml: 8 errors: not loaded\n");
}

static void test_shapes_that_do_not_fit_are_named(void **state)
{
    (void)state;
    assert_shown("version: [1]\n"
                 "listeners: {name: a}\n"
                 "processors: [acme]\n"
                 "routes: all\n"
                 "shutdown: 5s\n",
                 "weir.yaml:1:1: error: version must be a single value\n"
                 "    1 | version: [1]\n"
                 "      | ^~~~~~~ number, 1\n"
                 "weir.yaml:2:1: error: listeners must be a list\n"
                 "    2 | listeners: {name: a}\n"
                 "      | ^~~~~~~~~ begin each entry with '- '\n"
                 "weir.yaml:3:1: error: processors must be a map from names to sections\n"
                 "    3 | processors: [acme]\n"
                 "      | ^~~~~~~~~~ write NAME: and its keys below\n"
                 "weir.yaml:4:9: error: routes must be a list\n"
                 "    4 | routes: all\n"
                 "      |         ^~~ begin each entry with '- '\n"
                 "weir.yaml:5:11: error: shutdown must be a section of keys\n"
                 "    5 | shutdown: 5s\n"
                 "      |           ^~ write KEY: VALUE\n"
                 "weir.yaml: 5 errors: not loaded\n");
    assert_says("just text\n", "weir.yaml:1:1: error: the file must be a section of keys\n");
    assert_says("- version: 1\n", "error: the file must be a section of keys\n");
    assert_says("version: 1\nlisteners: [5]\n", "weir.yaml:2:13: error: listeners[0] must be a section of keys\n");
}

static void test_empty_sections_and_lists_count_as_left_out(void **state)
{
    struct conf *conf = load("version: 1\nlisteners:\nprocessors:\nroutes:\nmemory:\nlogging:\n  access:\nshutdown:\n");

    (void)state;
    assert_int_equal(conf->listener_count, 0);
    assert_int_equal(conf->drain_ms, 45000);
    conf_free(conf);
}

static void test_lists_have_a_most(void **state)
{
    char text[16384] = "version: 1\nlisteners: [";
    size_t len = strlen(text);

    (void)state;
    for (int i = 0; i < 65; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "{name: l%d, address: '127.0.0.1:%d'},", i, 1000 + i);
    }
    (void)snprintf(text + len, sizeof(text) - len, "]\n");
    assert_says(text, "weir.yaml:2:1: error: listeners must be a list of 0 to 64 entries\n");
}

static void test_all_findings_of_a_file_come_in_one_run_in_file_order(void **state)
{
    (void)state;
    assert_shown("version: 1\n"
                 "routes:\n"
                 "  - {name: a, to: acmee}\n"
                 "processors:\n"
                 "  acme:\n"
                 "    url: https://a.example\n"
                 "    timeouts: {response: 8s, total: 5s}\n"
                 "    tls: {verify: off}\n"
                 "listeners:\n"
                 "  - {name: in, adress: 127.0.0.1:1, address: 127.0.0.1:1}\n",
                 "weir.yaml:3:19: error: route 'a' sends to processor 'acmee', which is not defined\n"
                 "    3 |   - {name: a, to: acmee}\n"
                 "      |                   ^~~~~ did you mean 'acme' (defined at line 5)?\n"
                 "weir.yaml:7:37: error: timeouts.total (5s) is shorter than timeouts.response (8s) in processors.acme\n"
                 "    7 |     timeouts: {response: 8s, total: 5s}\n"
                 "      |                                     ^~\n"
                 "weir.yaml:8:19: warning: processors.acme sends payments to whoever answers: its certificate is not verified\n"
                 "    8 |     tls: {verify: off}\n"
                 "      |                   ^~~ write full, and ca: where to find its authority\n"
                 "weir.yaml:10:16: error: unknown key 'adress' in listeners.in\n"
                 "   10 |   - {name: in, adress: 127.0.0.1:1, address: 127.0.0.1:1}\n"
                 "      |                ^~~~~~ did you mean 'address'?\n"
                 "      = allowed here: name, address, tls, proxy_protocol, trusted, limits, timeouts\n"
                 "weir.yaml: 3 errors, 1 warning: not loaded\n");
}

/* ---- files ---- */

static void test_a_file_is_loaded_and_named(void **state)
{
    char path[] = "conf_load_test.XXXXXX";
    int fd = mkstemp(path);
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf;
    char *shown;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "version: 1\n", 11), 11);
    (void)close(fd);
    conf = conf_load(path, findings);
    (void)unlink(path);
    assert_non_null(conf);
    assert_string_equal(conf->path, path);
    shown = conf_findings_text(findings);
    assert_non_null(strstr(shown, ": ok, 2 warnings\n"));
    assert_int_equal(strncmp(shown, path, strlen(path)), 0);
    free(shown);
    conf_free(conf);
    conf_findings_close(findings);
}

static void test_a_file_that_cannot_be_read_is_a_finding(void **state)
{
    struct conf_findings *findings = conf_findings_open();
    char *shown;

    (void)state;
    assert_null(conf_load("/nonexistent/weir.yaml", findings));
    shown = conf_findings_text(findings);
    assert_string_equal(shown, "/nonexistent/weir.yaml: error: cannot be read: No such file or directory\n"
                               "/nonexistent/weir.yaml: 1 error: not loaded\n");
    free(shown);
    conf_findings_close(findings);
    findings = conf_findings_open();
    assert_null(conf_load("/", findings));
    shown = conf_findings_text(findings);
    assert_non_null(strstr(shown, "cannot be read: Is a directory"));
    free(shown);
    conf_findings_close(findings);
}

static void test_the_example_for_operators_loads_without_a_word(void **state)
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf = conf_load("deploy/weir.yaml", findings);
    char *shown = conf_findings_text(findings);

    (void)state;
    assert_string_equal(shown, "deploy/weir.yaml: ok\n");
    assert_non_null(conf);
    assert_int_equal(conf->listener_count, 1);
    assert_int_equal(conf->route_count, 4);
    assert_int_equal(conf->routes[0].failover, -1);
    assert_int_equal(conf->routes[2].processor, 1);
    assert_int_equal(conf->processors[0].health.type, CONF_HEALTH_HTTP);
    assert_int_equal(conf->limit_count, 5);
    assert_int_equal(conf->routes[0].limit_count, 4);
    assert_int_equal(conf->listeners[0].accept_limit_count, 1);
    free(shown);
    conf_free(conf);
    conf_findings_close(findings);
}

/* The text with `from` replaced by `to`; takes it over. */
static char *replaced(char *text, const char *from, const char *to)
{
    const char *place = strstr(text, from);
    size_t size = strlen(text) + strlen(to) + 1;
    char *other = malloc(size);

    assert_non_null(place);
    assert_non_null(other);
    (void)snprintf(other, size, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    free(text);
    return other;
}

static char *text_of_example(void)
{
    FILE *in = fopen("deploy/weir.yaml", "r");
    char *text = calloc(1, 64 * 1024);

    assert_true(in != NULL && text != NULL);
    assert_true(fread(text, 1, 64 * 1024 - 1, in) > 0);
    (void)fclose(in);
    return text;
}

/* A comment that is taken at its word must not disappoint: payments that fail over, and weights. */
static void test_what_the_example_offers_in_comments_loads_without_a_word(void **state)
{
    char *text = text_of_example();

    (void)state;
    text = replaced(text, "    # endpoints: [", "    endpoints: [");
    text = replaced(text, "    # weights: [", "    weights: [");
    text = replaced(text, "    # failover: acme-eu", "    failover: acme-eu");
    text = replaced(text, "      mode: sticky", "      mode: failover");
    text = replaced(text, "  single_machine: false", "  single_machine: true");
    assert_shown(text, "weir.yaml: ok\n");
    free(text);
}

/* Its head promises that the numbers in it are the defaults. */
static void test_the_numbers_of_the_example_are_the_defaults(void **state)
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *example = conf_load("deploy/weir.yaml", findings);
    struct conf *plain = load("version: 1\n" LISTENER PROCESSOR);
    const struct conf_idempotency *written, *silent;

    (void)state;
    assert_non_null(example);
    assert_int_equal(example->listeners[0].per_address, plain->listeners[0].per_address);
    assert_int_equal(example->listeners[0].header_bytes, plain->listeners[0].header_bytes);
    assert_true(example->listeners[0].body_bytes == plain->listeners[0].body_bytes);
    assert_int_equal(example->listeners[0].handshake_ms, plain->listeners[0].handshake_ms);
    assert_int_equal(example->listeners[0].header_ms, plain->listeners[0].header_ms);
    assert_int_equal(example->listeners[0].body_ms, plain->listeners[0].body_ms);
    assert_int_equal(example->listeners[0].idle_ms, plain->listeners[0].idle_ms);
    assert_int_equal(example->listeners[0].write_ms, plain->listeners[0].write_ms);
    assert_int_equal(example->processors[0].connect_ms, plain->processors[0].connect_ms);
    assert_int_equal(example->processors[0].response_ms, plain->processors[0].response_ms);
    assert_int_equal(example->processors[0].total_ms, plain->processors[0].total_ms);
    assert_int_equal(example->processors[0].late_ms, plain->processors[0].late_ms);
    assert_int_equal(example->processors[0].connections, plain->processors[0].connections);
    assert_int_equal(example->processors[0].link_idle_ms, plain->processors[0].link_idle_ms);
    assert_int_equal(example->processors[0].link_age_ms, plain->processors[0].link_age_ms);
    assert_int_equal(example->processors[0].queue, plain->processors[0].queue);
    assert_int_equal(example->processors[0].concurrency, plain->processors[0].concurrency);
    assert_int_equal(example->processors[0].health.status_min, plain->processors[0].health.status_min);
    assert_int_equal(example->processors[0].health.status_max, plain->processors[0].health.status_max);
    assert_int_equal(example->processors[0].health.every_ms, plain->processors[0].health.every_ms);
    assert_int_equal(example->processors[0].health.timeout_ms, plain->processors[0].health.timeout_ms);
    assert_int_equal(example->processors[0].health.down_after, plain->processors[0].health.down_after);
    assert_int_equal(example->processors[0].health.up_after, plain->processors[0].health.up_after);
    assert_memory_equal(&example->processors[0].breaker, &plain->processors[0].breaker, sizeof(struct conf_breaker));
    assert_true(example->buffers_bytes == plain->buffers_bytes);
    assert_int_equal(example->tenants.by, plain->tenants.by);
    assert_string_equal(example->tenants.header, plain->tenants.header);
    assert_true(example->tenants.refuse_unknown == plain->tenants.refuse_unknown);
    assert_int_equal(example->store.type, plain->store.type);
    assert_string_equal(example->store.path, plain->store.path);
    assert_true(example->store.size_bytes == plain->store.size_bytes);
    assert_true(example->store.single_machine == plain->store.single_machine);
    assert_string_equal(example->store.secret_file, plain->store.secret_file);
    assert_int_equal(example->store.begin_timeout_ms, plain->store.begin_timeout_ms);
    /* The route that writes idempotency out has it as the one that says nothing. */
    written = &example->routes[0].idempotency;
    silent = &example->routes[3].idempotency;
    assert_int_equal(written->mode, silent->mode);
    assert_int_equal(written->upstream_key, silent->upstream_key);
    assert_string_equal(written->key.at, silent->key.at);
    assert_true(written->keep_ms == silent->keep_ms && written->keep_receipt_ms == silent->keep_receipt_ms);
    assert_true(written->keep_unknown_ms == silent->keep_unknown_ms && written->wait_ms == silent->wait_ms);
    assert_true(written->pass_when_down == silent->pass_when_down);
    assert_int_equal(example->announce_ms, plain->announce_ms);
    assert_int_equal(example->drain_ms, plain->drain_ms);
    conf_free(example);
    conf_free(plain);
    conf_findings_close(findings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_almost_empty_file_is_valid_and_has_the_defaults_of_the_whole),
        cmocka_unit_test(test_a_listener_has_the_defaults),
        cmocka_unit_test(test_a_processor_has_the_defaults),
        cmocka_unit_test(test_a_route_has_the_defaults),
        cmocka_unit_test(test_what_is_written_replaces_the_defaults),
        cmocka_unit_test(test_an_unknown_key_is_shown_as_the_contract_has_it),
        cmocka_unit_test(test_keys_of_capabilities_to_come_are_unknown),
        cmocka_unit_test(test_a_key_far_from_all_gets_the_list_alone),
        cmocka_unit_test(test_swapped_letters_and_other_case_are_recognised),
        cmocka_unit_test(test_a_missing_version_is_an_error_of_the_whole_file),
        cmocka_unit_test(test_another_version_is_refused),
        cmocka_unit_test(test_missing_keys_point_at_the_section),
        cmocka_unit_test(test_shapes_that_do_not_fit_are_named),
        cmocka_unit_test(test_empty_sections_and_lists_count_as_left_out),
        cmocka_unit_test(test_lists_have_a_most),
        cmocka_unit_test(test_all_findings_of_a_file_come_in_one_run_in_file_order),
        cmocka_unit_test(test_a_file_is_loaded_and_named),
        cmocka_unit_test(test_a_file_that_cannot_be_read_is_a_finding),
        cmocka_unit_test(test_the_example_for_operators_loads_without_a_word),
        cmocka_unit_test(test_what_the_example_offers_in_comments_loads_without_a_word),
        cmocka_unit_test(test_the_numbers_of_the_example_are_the_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
