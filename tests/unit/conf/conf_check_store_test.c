/* Tenants that somebody can know, and stores with the keys of their type. */
#include "conf/conf_support.h"

#include <sys/stat.h>
#include <unistd.h>

/* Line 2. */
#define STORE(store) "version: 1\n" "store: " store "\n" LISTENER PROCESSOR ROUTE
#define REDIS(more) STORE("{type: redis, servers: ['rediss://cache.example:6380']" more "}")
#define TENANTS(tenants) "version: 1\n" "tenants: " tenants "\n" LISTENER PROCESSOR ROUTE

/* ---- what is not written ---- */

static void test_a_store_that_is_not_written_is_embedded(void **state)
{
    struct conf *conf = load("version: 1\n");

    (void)state;
    assert_false(conf->store.written);
    assert_false(conf->store_needed);
    assert_int_equal(conf->store.type, CONF_STORE_EMBEDDED);
    assert_string_equal(conf->store.path, "/var/lib/weir/store");
    assert_true(conf->store.size_bytes == 4ull << 30);
    assert_false(conf->store.single_machine);
    assert_string_equal(conf->store.secret_file, "/var/lib/weir/secret");
    assert_int_equal(conf->store.begin_timeout_ms, 1000);
    assert_int_equal(conf->tenants.by, CONF_TENANTS_BY_HEADER);
    assert_string_equal(conf->tenants.header, "Authorization");
    assert_false(conf->tenants.refuse_unknown);
    assert_null(conf->tenants.known_file);
    conf_free(conf);
}

static void test_an_embedded_store_is_as_it_is_written(void **state)
{
    struct conf *conf = load(STORE("{type: embedded, path: /p, size: 1GiB, single_machine: true, secret_file: /s, "
                                   "begin_timeout: 50ms}"));

    (void)state;
    assert_true(conf->store.written);
    assert_string_equal(conf->store.path, "/p");
    assert_true(conf->store.size_bytes == 1ull << 30);
    assert_true(conf->store.single_machine);
    assert_string_equal(conf->store.secret_file, "/s");
    assert_int_equal(conf->store.begin_timeout_ms, 50);
    conf_free(conf);
}

static void test_a_redis_is_as_it_is_written(void **state)
{
    struct conf *conf = load(STORE("{type: redis, servers: ['rediss://Cache.example', 'redis://127.0.0.1:7000', "
                                   "'redis://[::1]:6380/'], username: weir, password_file: /p, tls: {verify: off, ca: /ca, "
                                   "cert: /c, key: /k, server_name: cache}}"));
    const struct conf_store *store = &conf->store;

    (void)state;
    assert_int_equal(store->type, CONF_STORE_REDIS);
    assert_int_equal(store->server_count, 3);
    assert_string_equal(store->servers[0].text, "rediss://Cache.example");
    assert_string_equal(store->servers[0].host, "cache.example");
    assert_true(store->servers[0].tls);
    assert_int_equal(store->servers[0].port, 6379);
    assert_string_equal(store->servers[1].host, "127.0.0.1");
    assert_false(store->servers[1].tls);
    assert_int_equal(store->servers[1].port, 7000);
    assert_string_equal(store->servers[2].host, "::1");
    assert_int_equal(store->servers[2].port, 6380);
    assert_string_equal(store->username, "weir");
    assert_string_equal(store->password_file, "/p");
    assert_false(store->tls_verify);
    assert_string_equal(store->tls_ca, "/ca");
    assert_string_equal(store->tls_cert, "/c");
    assert_string_equal(store->tls_key, "/k");
    assert_string_equal(store->tls_server_name, "cache");
    assert_string_equal(store->secret_file, "/etc/weir/secret");
    conf_free(conf);
    conf = load(REDIS(""));
    assert_true(conf->store.tls_verify);
    assert_null(conf->store.tls_ca);
    assert_null(conf->store.tls_server_name);
    assert_null(conf->store.username);
    conf_free(conf);
    assert_shown(REDIS(""), "weir.yaml: ok\n");
    /* The scheme's port is that of Redis, not of http, also where it is written. */
    conf = load(STORE("{type: redis, servers: ['rediss://a:443', 'redis://127.0.0.1:80']}"));
    assert_int_equal(conf->store.servers[0].port, 443);
    assert_int_equal(conf->store.servers[1].port, 80);
    conf_free(conf);
}

/* ---- servers ---- */

static void test_a_server_has_one_reading(void **state)
{
    static const struct {
        const char *server, *what;
    } rows[] = {
        {"cache.example:6379", "is not a redis or rediss url"},
        {"https://cache.example", "is not a redis or rediss url"},
        {"redis://", "has no valid host and port"},
        {"redis://:6379", "has no valid host and port"},
        {"redis://cache.example:0", "has no valid host and port"},
        {"redis://cache.example:70000", "has no valid host and port"},
        {"redis://cache.example/0", "has a path"},
        {"redis://cache.example?db=1", "has a query"},
        {"redis://weir@cache.example", "has a user name"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), STORE("{type: redis, servers: ['%s']}"), rows[i].server);
        assert_says(text, rows[i].what);
    }
    assert_shown(STORE("{type: redis, servers: ['redis://weir:p@cache.example']}"),
                 "weir.yaml:2:32: error: 'redis://weir:p@cache.example' for store.servers[0] has a user name\n"
                 "    2 | store: {type: redis, servers: ['redis://weir:p@cache.example']}\n"
                 "      |                                ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ use username and password_file\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(STORE("{type: redis, servers: ['rediss://cache.example/0']}"),
                "expected rediss://HOST or rediss://HOST:PORT\n");
    assert_says(STORE("{type: redis, servers: []}"), "store.servers must be a list of 1 to 8 entries");
    assert_says(STORE("{type: redis, servers: [a, a, a, a, a, a, a, a, a]}"),
                "store.servers must be a list of 1 to 8 entries");
}

static void test_a_redis_has_servers(void **state)
{
    (void)state;
    assert_shown(STORE("{type: redis}"),
                 "weir.yaml:2:15: error: store is redis and has no servers\n"
                 "    2 | store: {type: redis}\n"
                 "      |               ^~~~~ add 'servers: [\"rediss://HOST:PORT\"]'\n"
                 "weir.yaml: 1 error: not loaded\n");
}

/* ---- the keys of each type ---- */

static void test_keys_of_the_other_type_are_refused(void **state)
{
    (void)state;
    assert_shown(REDIS(", path: /p, size: 1GiB, single_machine: true"),
                 "weir.yaml:2:64: error: store.path is of the embedded store, and this one is redis\n"
                 "    2 | store: {type: redis, servers: ['rediss://cache.example:6380'], path: /p, size: 1GiB, "
                 "single_machine: true}\n"
                 "      |                                                                ^~~~ leave it out, or write "
                 "'type: embedded'\n"
                 "weir.yaml:2:74: error: store.size is of the embedded store, and this one is redis\n"
                 "    2 | store: {type: redis, servers: ['rediss://cache.example:6380'], path: /p, size: 1GiB, "
                 "single_machine: true}\n"
                 "      |                                                                          ^~~~ leave it out, or "
                 "write 'type: embedded'\n"
                 "weir.yaml:2:86: error: store.single_machine is of the embedded store, and this one is redis\n"
                 "    2 | store: {type: redis, servers: ['rediss://cache.example:6380'], path: /p, size: 1GiB, "
                 "single_machine: true}\n"
                 "      |                                                                                      "
                 "^~~~~~~~~~~~~~ leave it out, or write 'type: embedded'\n"
                 "weir.yaml: 3 errors: not loaded\n");
    assert_shown(STORE("{servers: ['rediss://a']}"),
                 "weir.yaml:2:9: error: store.servers is of the redis store, and this one is embedded, the default\n"
                 "    2 | store: {servers: ['rediss://a']}\n"
                 "      |         ^~~~~~~ leave it out, or write 'type: redis'\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(STORE("{type: embedded, username: u}"),
                "error: store.username is of the redis store, and this one is embedded\n");
    assert_says(STORE("{password_file: /p}"), "error: store.password_file is of the redis store");
    assert_says(STORE("{tls: {}}"), "error: store.tls is of the redis store");
    assert_does_not_say(STORE("{type: radis, path: /p, tls: {}}"), "is of the");
}

/* ---- secrets and TLS ---- */

static void test_a_secret_among_the_records_is_warned_of(void **state)
{
    (void)state;
    assert_shown(STORE("{secret_file: /var/lib/weir/store/secret}"),
                 "weir.yaml:2:22: warning: store.secret_file is in the directory of the records that it seals\n"
                 "    2 | store: {secret_file: /var/lib/weir/store/secret}\n"
                 "      |                      ^~~~~~~~~~~~~~~~~~~~~~~~~~ a copy of the store would open with it: keep it "
                 "elsewhere\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_says(STORE("{path: /var/lib/weir}"), "weir.yaml:2:15: warning: store.secret_file is in the directory");
    assert_says(STORE("{path: /var/lib/weir/}"), "warning: store.secret_file is in the directory");
    assert_says(STORE("{path: /a, secret_file: /a/b/c}"), "warning: store.secret_file is in the directory");
    assert_shown(STORE("{path: /a, secret_file: /ab/c}"), "weir.yaml: ok\n");
    assert_shown(STORE("{}"), "weir.yaml: ok\n");
}

static void test_a_promise_that_no_route_needs_is_warned_of(void **state)
{
    (void)state;
    assert_shown(STORE("{single_machine: true}"),
                 "weir.yaml:2:25: warning: store.single_machine is promised and no route needs it\n"
                 "    2 | store: {single_machine: true}\n"
                 "      |                         ^~~~ only single_shot and failover do\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown("version: 1\n" LISTENER "processors: {acme: {profile: stripe, url: https://a.example}}\n"
                 "routes: [{name: all, to: acme}]\nstore: {single_machine: true}\n",
                 "weir.yaml:5:25: warning: store.single_machine is promised and no route needs it\n"
                 "    5 | store: {single_machine: true}\n"
                 "      |                         ^~~~ only single_shot and failover do\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown("version: 1\n" LISTENER PROCESSOR "routes: [{name: all, to: acme, idempotency: {}}]\n"
                 "store: {single_machine: true}\n", "weir.yaml: ok\n");
    assert_shown("version: 1\n" LISTENER "processors: {acme: {profile: stripe, url: https://a.example}, "
                 "other: {profile: stripe, url: https://b.example}}\n"
                 "routes: [{name: all, match: {method: POST}, to: acme, failover: other, idempotency: {mode: failover}}]\n"
                 "store: {single_machine: true}\n", "weir.yaml: ok\n");
}

static void test_a_redis_that_others_can_read_along_is_warned_of(void **state)
{
    (void)state;
    assert_shown(STORE("{type: redis, servers: ['redis://cache.example']}"),
                 "weir.yaml:2:32: warning: store speaks to another machine without TLS\n"
                 "    2 | store: {type: redis, servers: ['redis://cache.example']}\n"
                 "      |                                ^~~~~~~~~~~~~~~~~~~~~~~ write rediss\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown(STORE("{type: redis, servers: ['redis://127.0.0.1', 'redis://localhost:1']}"), "weir.yaml: ok\n");
    assert_shown(REDIS(", tls: {verify: off}"),
                 "weir.yaml:2:78: warning: store trusts whoever answers: its certificate is not verified\n"
                 "    2 | store: {type: redis, servers: ['rediss://cache.example:6380'], tls: {verify: off}}\n"
                 "      |                                                                              ^~~ write full, and "
                 "ca: where to find its authority\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_says(STORE("{type: redis, servers: ['redis://127.0.0.1'], tls: {ca: /ca}}"),
                "weir.yaml:2:54: warning: store.tls has no effect\n");
}

static void test_halves_of_a_whole_are_refused(void **state)
{
    (void)state;
    assert_says(REDIS(", tls: {cert: /c}"), "error: store.tls has a cert without a key\n");
    assert_says(REDIS(", tls: {key: /k}"), "error: store.tls has a key without a cert\n");
    assert_shown(REDIS(", username: weir"),
                 "weir.yaml:2:74: error: store has a username without a password_file\n"
                 "    2 | store: {type: redis, servers: ['rediss://cache.example:6380'], username: weir}\n"
                 "      |                                                                          ^~~~ add password_file\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(REDIS(", username: weir, password_file: /nonexistent"), "weir.yaml: ok\n");
    assert_says(REDIS(", username: 'a b', password_file: /p"), "'a b' for store.username is not visible ASCII");
}

static void test_a_password_that_everyone_can_read_is_warned_of(void **state)
{
    char path[] = P_tmpdir "/conf_store_test.XXXXXX";
    char text[512];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0644), 0);
    (void)snprintf(text, sizeof(text), REDIS(", password_file: %s"), path);
    assert_says(text, "warning: everyone on this machine can read the password (mode 0644)\n");
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_shown(text, "weir.yaml: ok\n");
    (void)close(fd);
    (void)unlink(path);
}

/* ---- tenants ---- */

static void test_who_tenants_are_has_one_reading(void **state)
{
    struct conf *conf = load(TENANTS("{by: client_ip, unknown: accept, known_file: /t}"));

    (void)state;
    assert_int_equal(conf->tenants.by, CONF_TENANTS_BY_CLIENT_IP);
    assert_null(conf->tenants.header);
    assert_string_equal(conf->tenants.known_file, "/t");
    conf_free(conf);
    conf = load(TENANTS("{by: header:X-Merchant, unknown: refuse, known_file: /t}"));
    assert_int_equal(conf->tenants.by, CONF_TENANTS_BY_HEADER);
    assert_string_equal(conf->tenants.header, "X-Merchant");
    assert_true(conf->tenants.refuse_unknown);
    conf_free(conf);
    assert_says(TENANTS("{by: mtls}"), "'mtls' for tenants.by names no tenant\n");
    assert_says(TENANTS("{by: 'header:'}"), "'header:' for tenants.by names no tenant\n");
    assert_says(TENANTS("{by: 'header:A B'}"), "expected header:NAME, mtls_subject or client_ip\n");
    assert_says(TENANTS("{unknown: deny}"), "= allowed here: accept, refuse\n");
}

static void test_who_refuses_the_unknown_knows_somebody(void **state)
{
    (void)state;
    assert_shown(TENANTS("{unknown: refuse}"),
                 "weir.yaml:2:20: error: tenants that are unknown are refused, and nothing says who is known\n"
                 "    2 | tenants: {unknown: refuse}\n"
                 "      |                    ^~~~~~ add known_file, or let by be mtls_subject\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_shown(TENANTS("{unknown: refuse, known_file: /t}"), "weir.yaml: ok\n");
    assert_does_not_say(TENANTS("{unknown: refuse, known_file: t}"), "nothing says");
}

static void test_tenants_by_certificate_need_a_listener_that_asks(void **state)
{
    static const char asks[] = "version: 1\ntenants: {by: mtls_subject, unknown: refuse}\nlisteners:\n"
                               "  - name: in\n    address: '127.0.0.1:1'\n    tls: {certificates: [{cert: /c, key: /k}], "
                               "client_certs: %s, client_ca: /ca}\n" PROCESSOR ROUTE;
    char text[512];

    (void)state;
    assert_shown(TENANTS("{by: mtls_subject}"),
                 "weir.yaml:2:15: error: tenants are their client certificates, and no listener asks for one\n"
                 "    2 | tenants: {by: mtls_subject}\n"
                 "      |               ^~~~~~~~~~~~ set tls.client_certs of a listener\n"
                 "weir.yaml: 1 error: not loaded\n");
    (void)snprintf(text, sizeof(text), asks, "optional");
    assert_shown(text, "weir.yaml: ok\n");
    (void)snprintf(text, sizeof(text), asks, "required");
    assert_shown(text, "weir.yaml: ok\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_store_that_is_not_written_is_embedded),
        cmocka_unit_test(test_an_embedded_store_is_as_it_is_written),
        cmocka_unit_test(test_a_redis_is_as_it_is_written),
        cmocka_unit_test(test_a_server_has_one_reading),
        cmocka_unit_test(test_a_redis_has_servers),
        cmocka_unit_test(test_keys_of_the_other_type_are_refused),
        cmocka_unit_test(test_a_secret_among_the_records_is_warned_of),
        cmocka_unit_test(test_a_promise_that_no_route_needs_is_warned_of),
        cmocka_unit_test(test_a_redis_that_others_can_read_along_is_warned_of),
        cmocka_unit_test(test_halves_of_a_whole_are_refused),
        cmocka_unit_test(test_a_password_that_everyone_can_read_is_warned_of),
        cmocka_unit_test(test_who_tenants_are_has_one_reading),
        cmocka_unit_test(test_who_refuses_the_unknown_knows_somebody),
        cmocka_unit_test(test_tenants_by_certificate_need_a_listener_that_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
