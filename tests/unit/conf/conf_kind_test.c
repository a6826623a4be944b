/* Values: each unit, each limit, each word, and how a wrong one is refused. */
#include "conf/conf_support.h"

/* A file with one value in it; %s is the value. */
#define IN_LISTENER(keys) "version: 1\nlisteners: [{name: in, address: '127.0.0.1:1', " keys "}]\n"
#define IN_PROCESSOR(keys) "version: 1\nprocessors: {acme: {url: https://a.example, " keys "}}\n"
#define IN_ROUTE(keys) "version: 1\n" PROCESSOR "routes: [{name: r, to: acme, stream: request, " keys "}]\n"

static char *with_value(const char *form, const char *value)
{
    size_t size = strlen(form) + strlen(value) + 1;
    char *text = malloc(size);
    const char *place = strstr(form, "%s");

    assert_non_null(text);
    assert_non_null(place);
    (void)snprintf(text, size, "%.*s%s%s", (int)(place - form), form, value, place + 2);
    return text;
}

static void assert_value_says(const char *form, const char *value, const char *part)
{
    char *text = with_value(form, value);

    assert_says(text, part);
    free(text);
}

static void assert_value_does_not_say(const char *form, const char *value, const char *part)
{
    char *text = with_value(form, value);

    assert_does_not_say(text, part);
    free(text);
}

static void test_every_number_has_its_limits(void **state)
{
    static const struct {
        const char *form;
        const char *below, *least, *most, *above; /* NULL: there is none below */
        const char *range;
    } rows[] = {
        {IN_LISTENER("limits: {connections: %s}"), "0", "1", "1000000", "1000001", "1 to 1000000"},
        {IN_LISTENER("limits: {per_address: %s}"), "0", "1", "1000000", "1000001", "1 to 1000000"},
        {IN_LISTENER("limits: {header: %s}"), "1023B", "1KiB", "256KiB", "257KiB", "1KiB to 256KiB"},
        {IN_LISTENER("limits: {body: %s}"), "0B", "1B", "1GiB", "1025MiB", "1B to 1GiB"},
        {IN_LISTENER("timeouts: {handshake: %s}"), "9ms", "10ms", "10m", "601s", "10ms to 10m"},
        {IN_LISTENER("timeouts: {header: %s}"), "9ms", "10ms", "10m", "601s", "10ms to 10m"},
        {IN_LISTENER("timeouts: {body: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_LISTENER("timeouts: {idle: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_LISTENER("timeouts: {write: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_PROCESSOR("timeouts: {connect: %s}"), "9ms", "10ms", "5m", "301s", "10ms to 5m"},
        {IN_PROCESSOR("timeouts: {response: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_PROCESSOR("timeouts: {total: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_PROCESSOR("pool: {connections: %s}"), "0", "1", "65535", "65536", "1 to 65535"},
        {IN_PROCESSOR("pool: {idle: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_PROCESSOR("pool: {age: %s}"), "99ms", "100ms", "1d", "25h", "100ms to 1d"},
        {IN_PROCESSOR("pool: {queue: %s}"), NULL, "0", "65535", "65536", "0 to 65535"},
        {IN_PROCESSOR("concurrency: %s"), "0", "1", "1000000", "1000001", "1 to 1000000"},
        {IN_PROCESSOR("health: {every: %s}"), "99ms", "100ms", "1h", "3601s", "100ms to 1h"},
        {IN_PROCESSOR("health: {timeout: %s}"), "9ms", "10ms", "5m", "301s", "10ms to 5m"},
        {IN_PROCESSOR("health: {down_after: %s}"), "0", "1", "100", "101", "1 to 100"},
        {IN_PROCESSOR("health: {up_after: %s}"), "0", "1", "100", "101", "1 to 100"},
        {IN_PROCESSOR("breaker: {window: %s}"), "999ms", "1s", "10m", "601s", "1s to 10m"},
        {IN_PROCESSOR("breaker: {min_requests: %s}"), "0", "1", "100000", "100001", "1 to 100000"},
        {IN_PROCESSOR("breaker: {open_at: %s}"), "0%", "1%", "100%", "101%", "1% to 100%"},
        {IN_PROCESSOR("breaker: {slow_is: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_PROCESSOR("breaker: {slow_at: %s}"), "0%", "1%", "100%", "101%", "1% to 100%"},
        {IN_PROCESSOR("breaker: {open_for: %s}"), "99ms", "100ms", "10m", "601s", "100ms to 10m"},
        {IN_PROCESSOR("breaker: {open_max: %s}"), "99ms", "100ms", "1h", "3601s", "100ms to 1h"},
        {IN_ROUTE("body: %s"), "0B", "1B", "1TiB", "1025GiB", "1B to 1TiB"},
        {IN_ROUTE("timeouts: {response: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {IN_ROUTE("timeouts: {total: %s}"), "9ms", "10ms", "1h", "3601s", "10ms to 1h"},
        {"version: 1\nmemory: {buffers: %s}\n", "1023KiB", "1MiB", "1TiB", "1025GiB", "1MiB to 1TiB"},
        {"version: 1\nshutdown: {announce: %s}\n", NULL, "0s", "10m", "601s", "0s to 10m"},
        {"version: 1\nshutdown: {drain: %s}\n", NULL, "0s", "2h", "7201s", "0s to 2h"},
        {"version: %s\n", "0", "1", "1", "2", "1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char expected[64];

        if (rows[i].below != NULL) {
            assert_value_says(rows[i].form, rows[i].below, "is out of range");
        }
        assert_value_does_not_say(rows[i].form, rows[i].least, "is out of range");
        assert_value_does_not_say(rows[i].form, rows[i].most, "is out of range");
        assert_value_says(rows[i].form, rows[i].above, "is out of range");
        (void)snprintf(expected, sizeof(expected), " expected %s\n", rows[i].range);
        assert_value_says(rows[i].form, rows[i].above, expected);
    }
}

static void test_a_value_out_of_range_is_shown_with_value_and_range(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER ROUTE "processors:\n  acme:\n    url: https://a.example\n    timeouts: {connect: 2h}\n",
                 "weir.yaml:7:25: error: '2h' for processors.acme.timeouts.connect is out of range\n"
                 "    7 |     timeouts: {connect: 2h}\n"
                 "      |                         ^~ expected 10ms to 5m\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_every_unit_of_time_is_read(void **state)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } rows[] = {{"1500ms", 1500}, {"7s", 7000}, {"2m", 120000}, {"1h", 3600000}};
    struct conf *conf;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = with_value("version: 1\nshutdown: {drain: %s}\n", rows[i].text);

        conf = load(text);
        assert_int_equal(conf->drain_ms, rows[i].ms);
        conf_free(conf);
        free(text);
    }
    conf = load(IN_PROCESSOR("pool: {age: 1d}"));
    assert_int_equal(conf->processors[0].link_age_ms, 86400000);
    conf_free(conf);
}

static void test_every_unit_of_size_is_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {{"2000000B", 2000000}, {"2000KiB", 2048000}, {"3MiB", 3145728}, {"2GiB", 2147483648u}, {"1TiB", 1099511627776u}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = with_value("version: 1\nmemory: {buffers: %s}\n", rows[i].text);
        struct conf *conf = load(text);

        assert_true(conf->buffers_bytes == rows[i].bytes);
        conf_free(conf);
        free(text);
    }
}

static void test_a_bare_number_is_refused_where_a_unit_belongs(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER PROCESSOR ROUTE "shutdown: {drain: 60}\nmemory: {buffers: 1000000}\n",
                 "weir.yaml:5:19: error: '60' for shutdown.drain has no unit\n"
                 "    5 | shutdown: {drain: 60}\n"
                 "      |                   ^~ units are ms, s, m, h, d\n"
                 "weir.yaml:6:19: error: '1000000' for memory.buffers has no unit\n"
                 "    6 | memory: {buffers: 1000000}\n"
                 "      |                   ^~~~~~~ units are B, KiB, MiB, GiB, TiB\n"
                 "weir.yaml: 2 errors: not loaded\n");
}

static void test_numbers_that_are_none_are_refused(void **state)
{
    static const struct {
        const char *form, *value, *expected;
    } rows[] = {
        {"version: 1\nshutdown: {drain: %s}\n", "5sec", "'5sec' for shutdown.drain has an unknown unit"},
        {"version: 1\nshutdown: {drain: %s}\n", "5S", "'5S' for shutdown.drain has an unknown unit"},
        {"version: 1\nshutdown: {drain: %s}\n", "5 s", "'5 s' for shutdown.drain has an unknown unit"},
        {"version: 1\nshutdown: {drain: %s}\n", "-5s", "'-5s' for shutdown.drain is not a number with a unit"},
        {"version: 1\nshutdown: {drain: %s}\n", "soon", "'soon' for shutdown.drain is not a number with a unit"},
        {"version: 1\nshutdown: {drain: %s}\n", "1.5s", "'1.5s' for shutdown.drain is not a whole number"},
        {"version: 1\nshutdown: {drain: %s}\n", "99999999999999999999s", "s' for shutdown.drain is out of range"},
        {"version: 1\nshutdown: {drain: %s}\n", "18446744073709551615d", "d' for shutdown.drain is out of range"},
        {"version: 1\nmemory: {buffers: %s}\n", "64KB", "'64KB' for memory.buffers has an unknown unit"},
        {"version: 1\nmemory: {buffers: %s}\n", "64k", "'64k' for memory.buffers has an unknown unit"},
        {IN_PROCESSOR("breaker: {open_at: %s}"), "50", "'50' for processors.acme.breaker.open_at is not a percentage"},
        {IN_PROCESSOR("breaker: {open_at: %s}"), "50 %", "'50 %' for processors.acme.breaker.open_at is not a percentage"},
        {IN_PROCESSOR("breaker: {open_at: %s}"), "0.5", "'0.5' for processors.acme.breaker.open_at is not a whole number"},
        {IN_PROCESSOR("breaker: {open_at: %s}"), "half", "'half' for processors.acme.breaker.open_at is not a number"},
        {IN_PROCESSOR("breaker: {open_at: %s}"), "99999999999999999999%", "%' for processors.acme.breaker.open_at is out of range"},
        {IN_PROCESSOR("concurrency: %s"), "5x", "'5x' for processors.acme.concurrency is not a number"},
        {IN_PROCESSOR("concurrency: %s"), "many", "'many' for processors.acme.concurrency is not a number"},
        {IN_PROCESSOR("concurrency: %s"), "1e3", "'1e3' for processors.acme.concurrency is not a number"},
        {IN_PROCESSOR("concurrency: %s"), "[5]", "processors.acme.concurrency must be a single value"},
        {IN_PROCESSOR("concurrency: %s"), "", "processors.acme.concurrency must be a single value"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_value_says(rows[i].form, rows[i].value, rows[i].expected);
    }
}

static void test_a_share_is_read_in_permille_and_shown_in_percent(void **state)
{
    struct conf *conf = load(IN_PROCESSOR("breaker: {open_at: 1%, slow_at: 75%}"));

    (void)state;
    assert_int_equal(conf->processors[0].breaker.open_at_permille, 10);
    assert_int_equal(conf->processors[0].breaker.slow_at_permille, 750);
    conf_free(conf);
    assert_shown("version: 1\n" LISTENER ROUTE "processors: {acme: {url: https://a.example, breaker: {open_at: 50}}}\n",
                 "weir.yaml:4:64: error: '50' for processors.acme.breaker.open_at is not a percentage\n"
                 "    4 | processors: {acme: {url: https://a.example, breaker: {open_at: 50}}}\n"
                 "      |                                                                ^~ expected 1% to 100%\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_statuses_that_pass_are_one_or_a_range(void **state)
{
    static const char *const wrong[] = {"99", "199", "600", "399-200", "200-600", "2xx", "200-", "'200,204'", "-200"};
    static const struct {
        const char *text;
        int low, high;
    } rows[] = {{"200", 200, 200}, {"'204'", 204, 204}, {"200-599", 200, 599}, {"401-401", 401, 401}};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_value_says(IN_PROCESSOR("health: {status: %s}"), wrong[i], "for processors.acme.health.status is not a status\n");
        assert_value_says(IN_PROCESSOR("health: {status: %s}"), wrong[i],
                          " expected one such as 204, or a range such as 200-399\n");
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = with_value(IN_PROCESSOR("health: {status: %s}"), rows[i].text);
        struct conf *conf = load(text);

        assert_int_equal(conf->processors[0].health.status_min, rows[i].low);
        assert_int_equal(conf->processors[0].health.status_max, rows[i].high);
        conf_free(conf);
        free(text);
    }
}

static void test_a_path_of_checks_goes_as_it_is_written(void **state)
{
    static const struct {
        const char *path, *what;
    } rows[] = {
        {"healthz", "is not a path"},           {"'*'", "is not a path"},
        {"https://a.example/up", "is not a path"}, {"\"/up it\"", "holds a character that no path or query has"},
        {"'/up#it'", "holds a character that no path or query has"},
        {"\"/up\\r\\nHost: b\"", "holds a character that no path or query has"},
        {"'/\xc3\xbc'", "holds a character that no path or query has"},
    };
    char longest[1100] = "/";
    struct conf *conf = load(IN_PROCESSOR("health: {path: '/v1/up?a=b&c=%20*'}"));

    (void)state;
    assert_string_equal(conf->processors[0].health.path, "/v1/up?a=b&c=%20*");
    conf_free(conf);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_value_says(IN_PROCESSOR("health: {path: %s}"), rows[i].path, rows[i].what);
    }
    memset(longest + 1, 'a', 1023);
    assert_value_does_not_say(IN_PROCESSOR("health: {path: %s}"), longest, "is too long");
    longest[1024] = 'a';
    assert_value_says(IN_PROCESSOR("health: {path: %s}"), longest, "is too long");
}

static void test_a_word_that_is_none_gets_a_suggestion_and_the_list(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER ROUTE "processors:\n  acme: {url: https://a.example, balance: roundrobin}\n",
                 "weir.yaml:5:43: error: 'roundrobin' for processors.acme.balance is not one of its values\n"
                 "    5 |   acme: {url: https://a.example, balance: roundrobin}\n"
                 "      |                                           ^~~~~~~~~~ did you mean 'round_robin'?\n"
                 "      = allowed here: p2c, least, round_robin\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(IN_PROCESSOR("profile: strip"), "processor 'acme' has the profile 'strip', which is not defined");
    assert_says(IN_PROCESSOR("profile: strip"), "did you mean 'stripe'?\n");
    assert_says(IN_PROCESSOR("tls: {verify: true}"), "= allowed here: off, full\n");
    assert_says("version: 1\nlogging: {access: {format: text}}\n", "= allowed here: json\n");
}

static void test_every_word_is_read(void **state)
{
    struct conf *conf;

    (void)state;
    conf = load(IN_PROCESSOR("profile: generic, balance: p2c, tls: {verify: off}, host: url"));
    assert_string_equal(conf->profiles[conf->processors[0].profile].name, "generic");
    assert_int_equal(conf->processors[0].balance, CONF_BALANCE_P2C);
    assert_false(conf->processors[0].tls_verify);
    assert_string_equal(conf->processors[0].host_header, "a.example");
    conf_free(conf);
    conf = load(IN_PROCESSOR("profile: stripe, balance: least, tls: {verify: full, ca: /ca.pem}, host: pass"));
    assert_string_equal(conf->profiles[conf->processors[0].profile].name, "stripe");
    assert_int_equal(conf->processors[0].balance, CONF_BALANCE_LEAST);
    assert_true(conf->processors[0].tls_verify);
    assert_string_equal(conf->processors[0].tls_ca, "/ca.pem");
    assert_null(conf->processors[0].host_header);
    conf_free(conf);
    conf = load(IN_PROCESSOR("balance: round_robin"));
    assert_int_equal(conf->processors[0].balance, CONF_BALANCE_ROUND_ROBIN);
    conf_free(conf);
    conf = load("version: 1\nlogging: {access: {to: /a.log}, events: {to: stdout, format: text, level: debug}}\n");
    assert_string_equal(conf->log[LOG_ACCESS].to, "/a.log");
    assert_string_equal(conf->log[LOG_EVENTS].to, "stdout");
    assert_int_equal(conf->log[LOG_EVENTS].format, LOG_TEXT);
    assert_int_equal(conf->log[LOG_EVENTS].level, LOG_DEBUG);
    conf_free(conf);
    conf = load("version: 1\nlogging: {events: {level: error}}\n");
    assert_int_equal(conf->log[LOG_EVENTS].level, LOG_ERROR);
    conf_free(conf);
    conf = load("version: 1\nlogging: {events: {level: warn, format: json}}\n");
    assert_int_equal(conf->log[LOG_EVENTS].level, LOG_WARN);
    assert_int_equal(conf->log[LOG_EVENTS].format, LOG_JSON);
    conf_free(conf);
}

static void test_listener_words_are_read(void **state)
{
    static const char form[] = IN_LISTENER("proxy_protocol: required, trusted: [unix], tls: {certificates: [{cert: /c, key: /k}], %s}");
    char *text = with_value(form, "minimum: TLS1.3, client_certs: optional, client_ca: /ca, client_crl: /crl");
    struct conf *conf = load(text);

    (void)state;
    assert_true(conf->listeners[0].proxy_protocol);
    assert_true(conf->listeners[0].trusted[0].is_unix);
    assert_true(conf->listeners[0].tls.present);
    assert_string_equal(conf->listeners[0].tls.certificates[0].cert, "/c");
    assert_string_equal(conf->listeners[0].tls.certificates[0].key, "/k");
    assert_int_equal(conf->listeners[0].tls.minimum, CONF_TLS_1_3);
    assert_int_equal(conf->listeners[0].tls.client_certs, CONF_CLIENT_CERTS_OPTIONAL);
    assert_string_equal(conf->listeners[0].tls.client_ca, "/ca");
    assert_string_equal(conf->listeners[0].tls.client_crl, "/crl");
    conf_free(conf);
    free(text);
    text = with_value(form, "minimum: TLS1.2, client_certs: required, client_ca: /ca");
    conf = load(text);
    assert_int_equal(conf->listeners[0].tls.minimum, CONF_TLS_1_2);
    assert_int_equal(conf->listeners[0].tls.client_certs, CONF_CLIENT_CERTS_REQUIRED);
    conf_free(conf);
    free(text);
}

static void test_urls_are_split(void **state)
{
    static const struct {
        const char *url, *host, *header;
        int port;
        bool tls;
    } rows[] = {
        {"https://API.Acme.example", "api.acme.example", "api.acme.example", 443, true},
        {"https://api.acme.example/", "api.acme.example", "api.acme.example", 443, true},
        {"https://api.acme.example:443", "api.acme.example", "api.acme.example", 443, true},
        {"https://api.acme.example:8443", "api.acme.example", "api.acme.example:8443", 8443, true},
        {"http://localhost", "localhost", "localhost", 80, false},
        {"http://localhost:443", "localhost", "localhost:443", 443, false},
        {"http://127.0.0.1:9001", "127.0.0.1", "127.0.0.1:9001", 9001, false},
        {"http://[::1]:9001", "::1", "[::1]:9001", 9001, false},
        {"https://[::1]", "::1", "[::1]", 443, true},
        {"http://my_sandbox-1:1", "my_sandbox-1", "my_sandbox-1:1", 1, false},
        {"https://3.pay.4z", "3.pay.4z", "3.pay.4z", 443, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256];
        struct conf *conf;

        (void)snprintf(text, sizeof(text), "version: 1\nprocessors: {a: {url: \"%s\"}}\n", rows[i].url);
        conf = load(text);
        assert_string_equal(conf->processors[0].url, rows[i].url);
        assert_string_equal(conf->processors[0].host, rows[i].host);
        assert_string_equal(conf->processors[0].tls_server_name, rows[i].host);
        assert_string_equal(conf->processors[0].host_header, rows[i].header);
        assert_int_equal(conf->processors[0].port, rows[i].port);
        assert_int_equal(conf->processors[0].tls, rows[i].tls);
        conf_free(conf);
    }
}

static void test_urls_that_are_more_or_less_than_scheme_host_and_port_are_refused(void **state)
{
    static const struct {
        const char *url, *expected;
    } rows[] = {
        {"api.acme.example", "is not an http or https url"},
        {"HTTPS://api.acme.example", "is not an http or https url"},
        {"ftp://api.acme.example", "is not an http or https url"},
        {"https://", "has no valid host and port"},
        {"https://:443", "has no valid host and port"},
        {"https://a..b", "has no valid host and port"},
        {"https://-a", "has no valid host and port"},
        {"https://a b", "has no valid host and port"},
        {"https://10.0.0.300", "has no valid host and port"},
        {"https://a.99999999999999999999999", "has no valid host and port"},
        {"https://::1", "has no valid host and port"},
        {"https://[::1", "has no valid host and port"},
        {"https://[a]", "has no valid host and port"},
        {"https://[::1]x", "has no valid host and port"},
        {"https://a:0", "has no valid host and port"},
        {"https://a:65536", "has no valid host and port"},
        {"https://a:", "has no valid host and port"},
        {"https://a:x", "has no valid host and port"},
        {"https://a/v1", "has a path"},
        {"https://a//", "has a path"},
        {"https://a/?x", "has a path"},
        {"https://a?x", "has a query"},
        {"https://a#x", "has a query"},
        {"https://user@a", "has a user name"},
        {"https://user:secret@a:1", "has a user name"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256], expected[256];

        (void)snprintf(text, sizeof(text), "version: 1\nprocessors: {a: {url: \"%s\"}}\n", rows[i].url);
        (void)snprintf(expected, sizeof(expected), "weir.yaml:2:23: error: '%s' for processors.a.url %s\n", rows[i].url,
                       rows[i].expected);
        assert_says(text, expected);
        assert_says(text, " expected https://HOST or https://HOST:PORT\n");
    }
}

static void test_endpoints_are_numeric_addresses_with_ports(void **state)
{
    char shown[ADDR_TEXT_BYTES];
    struct conf *conf = load(IN_PROCESSOR("endpoints: ['10.0.0.1:443', '[::1]:8443']"));

    (void)state;
    assert_int_equal(conf->processors[0].endpoint_count, 2);
    assert_string_equal(addr_format(&conf->processors[0].endpoints[0], shown), "10.0.0.1:443");
    assert_string_equal(addr_format(&conf->processors[0].endpoints[1], shown), "[::1]:8443");
    conf_free(conf);
    assert_says(IN_PROCESSOR("endpoints: ['api:443']"),
                "error: 'api:443' for processors.acme.endpoints[0] is not a numeric address with a port\n");
    assert_says(IN_PROCESSOR("endpoints: ['10.0.0.1']"), "is not a numeric address with a port");
    assert_says(IN_PROCESSOR("endpoints: ['10.0.0.1:0']"), "is not a numeric address with a port");
    assert_says(IN_PROCESSOR("endpoints: []"), "processors.acme.endpoints must be a list of 1 to 64 entries");
    assert_says(IN_PROCESSOR("endpoints: '10.0.0.1:443'"), "processors.acme.endpoints must be a list\n");
    assert_says(IN_PROCESSOR("endpoints: [[]]"), "processors.acme.endpoints[0] must be a single value\n");
}

static void test_trusted_networks_are_read_and_checked(void **state)
{
    struct conf *conf = load(IN_LISTENER("trusted: [10.0.0.0/8, '::1', unix]"));

    (void)state;
    assert_int_equal(conf->listeners[0].trusted_count, 3);
    assert_int_equal(conf->listeners[0].trusted[0].prefix, 104);
    assert_true(conf->listeners[0].trusted[2].is_unix);
    conf_free(conf);
    assert_says(IN_LISTENER("trusted: [10.0.0.1/8]"), "'10.0.0.1/8' for listeners.in.trusted[0] is not a network");
    assert_says(IN_LISTENER("trusted: [proxy.example]"), "is not a network");
}

static void test_listener_addresses_are_read_and_checked(void **state)
{
    struct conf *conf = load("version: 1\nlisteners: [{name: a, address: 'unix:/run/a'}, {name: b, address: 'fd:3'}, "
                             "{name: c, address: '[::1]:0'}]\n");

    (void)state;
    assert_int_equal(conf->listeners[0].address.kind, ADDR_LISTEN_UNIX);
    assert_string_equal(conf->listeners[0].address.path, "/run/a");
    assert_string_equal(conf->listeners[0].address_text, "unix:/run/a");
    assert_int_equal(conf->listeners[1].address.kind, ADDR_LISTEN_FD);
    assert_int_equal(conf->listeners[1].address.fd, 3);
    assert_int_equal(conf->listeners[2].address.kind, ADDR_LISTEN_IP);
    conf_free(conf);
    assert_says("version: 1\nmonitor: {address: localhost:9901}\n",
                "'localhost:9901' for monitor.address is not an address to listen on");
    assert_says("version: 1\nmonitor: {address: 9901}\n", " expected ADDRESS:PORT, unix:/path or fd:N\n");
}

static void test_paths_are_absolute_or_one_of_the_words(void **state)
{
    (void)state;
    assert_says("version: 1\nlogging: {access: {to: stdot}}\n",
                "weir.yaml:2:24: error: 'stdot' for logging.access.to is neither a path that begins with '/' nor one of its words\n"
                "    2 | logging: {access: {to: stdot}}\n"
                "      |                        ^~~~~ did you mean 'stdout'?\n"
                "      = allowed here: stdout, stderr\n");
    assert_says("version: 1\nadmin: {socket: weir.sock}\n", "'weir.sock' for admin.socket is not an absolute path");
    assert_says("version: 1\nadmin: {socket: \"/a\\nb\"}\n", "'/a?b' for admin.socket holds a control character");
    assert_says("version: 1\nadmin: {socket: /"
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "}\n",
                " for admin.socket is too long\n");
}

static void test_names_are_letters_digits_dashes_and_underscores(void **state)
{
    static const char *const bad[] = {"''", "-a", "_a", "a.b", "a b", "\xc3\xa4",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct conf *conf = load("version: 1\nlisteners: [{name: 9-a_B, address: '127.0.0.1:1'}]\n");

    (void)state;
    assert_string_equal(conf->listeners[0].name, "9-a_B");
    conf_free(conf);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_value_says("version: 1\nlisteners: [{name: %s, address: '127.0.0.1:1'}]\n", bad[i], " is not a name\n");
        assert_value_says("version: 1\nprocessors: {%s: {url: https://a}}\n", bad[i], " in processors is not a name\n");
    }
}

static void test_what_a_route_matches_is_read(void **state)
{
    struct conf *conf = load("version: 1\n" PROCESSOR "routes:\n"
                             "- {name: a, to: acme, match: {host: PAY.example.com, method: POST, path: /v1/payments}}\n"
                             "- {name: b, to: acme, match: {host: '[::1]', path: /v1/*}}\n"
                             "- {name: c, to: acme, match: {path: /*}}\n"
                             "- {name: d, to: acme, match: {}}\n");

    (void)state;
    assert_string_equal(conf->routes[0].host, "pay.example.com");
    assert_string_equal(conf->routes[0].method, "POST");
    assert_string_equal(conf->routes[0].path, "/v1/payments");
    assert_false(conf->routes[0].path_is_prefix);
    assert_string_equal(conf->routes[1].host, "[::1]");
    assert_null(conf->routes[1].method);
    assert_string_equal(conf->routes[1].path, "/v1/");
    assert_true(conf->routes[1].path_is_prefix);
    assert_string_equal(conf->routes[2].path, "/");
    assert_true(conf->routes[2].path_is_prefix);
    assert_null(conf->routes[3].path);
    assert_null(conf->routes[3].host);
    conf_free(conf);
}

static void test_matches_that_no_request_has_are_refused(void **state)
{
    static const struct {
        const char *match, *expected;
    } rows[] = {
        {"host: pay.example.com:443", "'pay.example.com:443' for routes.r.match.host has a port"},
        {"host: '*.example.com'", "'*.example.com' for routes.r.match.host is a pattern"},
        {"host: 'pay example'", "'pay example' for routes.r.match.host is not a host"},
        {"host: https://pay.example.com", "for routes.r.match.host "},
        {"host: 10.0.0.300", "is not a host"},
        {"host: '[::1'", "'[::1' for routes.r.match.host is not a host"},
        {"host: '::1]'", "'::1]' for routes.r.match.host is not a host"},
        {"method: post", "'post' for routes.r.match.method is not upper case"},
        {"method: POSz", "'POSz' for routes.r.match.method is not upper case"},
        {"method: 'P OST'", "'P OST' for routes.r.match.method is not a method"},
        {"path: v1", "'v1' for routes.r.match.path is not a path"},
        {"path: '*'", "'*' for routes.r.match.path is not a path"},
        {"path: /v1*", "'/v1*' for routes.r.match.path has a '*' that does not end it after '/'"},
        {"path: /*/a", "has a '*' that does not end it after '/'"},
        {"path: '/v1?x'", "holds a character that no path has"},
        {"path: '/v 1'", "holds a character that no path has"},
        {"path: '/v\xc3\xa4'", "holds a character that no path has"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_value_says(IN_ROUTE("match: {%s}"), rows[i].match, rows[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number_has_its_limits),
        cmocka_unit_test(test_a_value_out_of_range_is_shown_with_value_and_range),
        cmocka_unit_test(test_every_unit_of_time_is_read),
        cmocka_unit_test(test_every_unit_of_size_is_read),
        cmocka_unit_test(test_a_bare_number_is_refused_where_a_unit_belongs),
        cmocka_unit_test(test_numbers_that_are_none_are_refused),
        cmocka_unit_test(test_a_share_is_read_in_permille_and_shown_in_percent),
        cmocka_unit_test(test_statuses_that_pass_are_one_or_a_range),
        cmocka_unit_test(test_a_path_of_checks_goes_as_it_is_written),
        cmocka_unit_test(test_a_word_that_is_none_gets_a_suggestion_and_the_list),
        cmocka_unit_test(test_every_word_is_read),
        cmocka_unit_test(test_listener_words_are_read),
        cmocka_unit_test(test_urls_are_split),
        cmocka_unit_test(test_urls_that_are_more_or_less_than_scheme_host_and_port_are_refused),
        cmocka_unit_test(test_endpoints_are_numeric_addresses_with_ports),
        cmocka_unit_test(test_trusted_networks_are_read_and_checked),
        cmocka_unit_test(test_listener_addresses_are_read_and_checked),
        cmocka_unit_test(test_paths_are_absolute_or_one_of_the_words),
        cmocka_unit_test(test_names_are_letters_digits_dashes_and_underscores),
        cmocka_unit_test(test_what_a_route_matches_is_read),
        cmocka_unit_test(test_matches_that_no_request_has_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
