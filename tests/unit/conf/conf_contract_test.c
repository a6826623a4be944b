/* The example of the contract (its section 5), line by line: it is read whole, and its numbers are the defaults. */
#include "conf/conf_support.h"

static const char contract[] =
    "version: 1\n"
    "listeners:\n"
    "  - name: public\n"
    "    address: \"0.0.0.0:8443\"\n"
    "    tls:\n"
    "      certificates: [{cert: /etc/weir/tls/pay.crt, key: /etc/weir/tls/pay.key}]\n"
    "      minimum: TLS1.2\n"
    "      client_certs: off\n"
    "    proxy_protocol: off\n"
    "    trusted: []\n"
    "    limits:   {per_address: 1000, header: 16KiB, body: 256KiB}\n"
    "    timeouts: {handshake: 5s, header: 5s, body: 15s, idle: 75s, write: 15s}\n"
    "processors:\n"
    "  acme:\n"
    "    profile: stripe\n"
    "    url: https://api.acme.example\n"
    "    endpoints: [\"10.0.0.1:443\", \"10.0.0.2:443\"]\n"
    "    tls:      {verify: full, ca: system}\n"
    "    timeouts: {connect: 1s, response: 30s, total: 35s, late: 60s}\n"
    "    pool:     {connections: 256, idle: 55s, age: 5m, queue: 256}\n"
    "    balance:  p2c\n"
    "    concurrency: 512\n"
    "    health:   {type: http, path: /healthz, status: 200-399, every: 10s, timeout: 1s, down_after: 3, "
    "up_after: 2}\n"
    "    breaker:  {window: 10s, min_requests: 20, open_at: 50%, slow_is: 24s, slow_at: 80%, "
    "open_for: 2s, open_max: 60s}\n"
    "routes:\n"
    "  - name: create-payment\n"
    "    match: {host: pay.example.com, method: POST, path: /v1/payments}\n"
    "    to: acme\n"
    "    idempotency:\n"
    "      key: header:Idempotency-Key\n"
    "      required: true\n"
    "      mode: sticky\n"
    "      upstream_key: passthrough\n"
    "      keep: 24h\n"
    "      keep_receipt: 72h\n"
    "      keep_unknown: 30d\n"
    "      wait: 2s\n"
    "      store_down: refuse\n"
    "    limits: [writes, per-address]\n"
    "    body: 256KiB\n"
    "    stream: off\n"
    "    class: payment\n"
    "  - name: everything-else\n"
    "    match: {path: /*}\n"
    "    to: acme\n"
    "tenants:\n"
    "  by: header:Authorization\n"
    "  unknown: accept\n"
    "  known_file: /etc/weir/tenants\n"
    "limits:\n"
    "  writes:      {by: tenant, rate: 100/s, burst: 200, mode: enforce, store_down: local}\n"
    "  per-address: {by: client_ip, rate: 500/s, burst: 1000, mode: shadow}\n"
    "  in-flight:   {by: tenant, concurrent: 50}\n"
    "store:\n"
    "  type: embedded\n"
    "  path: /var/lib/weir/store\n"
    "  size: 4GiB\n"
    "  single_machine: false\n"
    "  secret_file: /var/lib/weir/secret\n"
    "monitor: {address: \"127.0.0.1:9901\"}\n"
    "admin:   {socket: /run/weir/admin.sock}\n"
    "logging:  {access: {to: stdout, format: json}, events: {to: stderr, level: info}}\n"
    "shutdown: {announce: 5s, drain: 45s}\n";

static void test_it_is_read_whole(void **state)
{
    (void)state;
    /* It defines one more limit than it uses, as an example may. */
    assert_shown(contract, "weir.yaml:53:3: warning: limits.in-flight limits nothing\n"
                           "   53 |   in-flight:   {by: tenant, concurrent: 50}\n"
                           "      |   ^~~~~~~~~ name it in 'limits' of a route\n"
                           "weir.yaml: ok, 1 warning\n");
}

static void test_health_and_breaker_are_as_they_are_written(void **state)
{
    struct conf *conf = load(contract);
    const struct conf_health_checks *health = &conf->processors[0].health;
    const struct conf_breaker *breaker = &conf->processors[0].breaker;

    (void)state;
    assert_int_equal(health->type, CONF_HEALTH_HTTP);
    assert_string_equal(health->path, "/healthz");
    assert_int_equal(health->status_min, 200);
    assert_int_equal(health->status_max, 399);
    assert_int_equal(health->every_ms, 10000);
    assert_int_equal(health->timeout_ms, 1000);
    assert_int_equal(health->down_after, 3);
    assert_int_equal(health->up_after, 2);
    assert_int_equal(breaker->window_ms, 10000);
    assert_int_equal(breaker->min_requests, 20);
    assert_int_equal(breaker->open_at_permille, 500);
    assert_int_equal(breaker->slow_ms, 24000);
    assert_int_equal(breaker->slow_at_permille, 800);
    assert_int_equal(breaker->open_for_ms, 2000);
    assert_int_equal(breaker->open_max_ms, 60000);
    conf_free(conf);
}

static void assert_same_processor(const struct conf_processor *a, const struct conf_processor *b)
{
    assert_int_equal(a->connect_ms, b->connect_ms);
    assert_int_equal(a->response_ms, b->response_ms);
    assert_int_equal(a->total_ms, b->total_ms);
    assert_int_equal(a->late_ms, b->late_ms);
    assert_int_equal(a->connections, b->connections);
    assert_int_equal(a->link_idle_ms, b->link_idle_ms);
    assert_int_equal(a->link_age_ms, b->link_age_ms);
    assert_int_equal(a->queue, b->queue);
    assert_int_equal(a->balance, b->balance);
    assert_int_equal(a->concurrency, b->concurrency);
    assert_int_equal(a->health.status_min, b->health.status_min);
    assert_int_equal(a->health.status_max, b->health.status_max);
    assert_int_equal(a->health.every_ms, b->health.every_ms);
    assert_int_equal(a->health.timeout_ms, b->health.timeout_ms);
    assert_int_equal(a->health.down_after, b->health.down_after);
    assert_int_equal(a->health.up_after, b->health.up_after);
    assert_memory_equal(&a->breaker, &b->breaker, sizeof(a->breaker));
}

static void test_its_numbers_of_a_processor_are_the_defaults(void **state)
{
    struct conf *conf = load(contract);
    struct conf *short_one = load("version: 1\nprocessors: {acme: {profile: stripe, url: https://api.acme.example}}\n");

    (void)state;
    assert_same_processor(&conf->processors[0], &short_one->processors[0]);
    assert_int_equal(short_one->processors[0].health.type, CONF_HEALTH_NONE);
    assert_null(conf->processors[0].weights);
    assert_int_equal(conf->routes[0].failover, -1);
    conf_free(short_one);
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_read_whole),
        cmocka_unit_test(test_health_and_breaker_are_as_they_are_written),
        cmocka_unit_test(test_its_numbers_of_a_processor_are_the_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
