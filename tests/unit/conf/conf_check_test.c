/* The rules between keys, each with the words that an operator reads. */
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_support.h"

/* A listener with TLS, so that nothing else is said about it. */
#define TLS_LISTENER(keys)                                                                                             \
    "version: 1\n" PROCESSOR ROUTE "listeners:\n"                                                                      \
    "  - name: in\n"                                                                                                   \
    "    address: \"0.0.0.0:8443\"\n" keys
#define CERTIFICATES "certificates: [{cert: /c, key: /k}]"
#define WITH_PROCESSOR(keys) "version: 1\n" LISTENER ROUTE "processors:\n  acme:\n    url: https://api.acme.example\n" keys

static void test_a_file_with_nothing_wrong_says_ok(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER PROCESSOR ROUTE, "weir.yaml: ok\n");
}

static void test_no_listeners_and_no_routes_are_warnings(void **state)
{
    (void)state;
    assert_shown("version: 1\n", "weir.yaml: warning: no listeners: nobody can connect\n"
                                 "weir.yaml: warning: no routes: every request is answered 404 no_route\n"
                                 "weir.yaml: ok, 2 warnings\n");
    assert_shown("version: 1\n" PROCESSOR ROUTE, "weir.yaml: warning: no listeners: nobody can connect\n"
                                                 "weir.yaml: ok, 1 warning\n");
    assert_says("version: 1\nlisteners: []\nroutes: []\n", "weir.yaml: ok, 2 warnings\n");
}

/* ---- listeners ---- */

static void test_client_certificates_need_an_authority(void **state)
{
    (void)state;
    assert_shown(TLS_LISTENER("    tls: {" CERTIFICATES ", client_certs: required}\n"),
                 "weir.yaml:7:62: error: listeners.in.tls asks for client certificates and has no client_ca\n"
                 "    7 |     tls: {certificates: [{cert: /c, key: /k}], client_certs: required}\n"
                 "      |                                                              ^~~~~~~~ add client_ca: who may sign them\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says(TLS_LISTENER("    tls: {" CERTIFICATES ", client_certs: optional}\n"), "has no client_ca\n");
    assert_does_not_say(TLS_LISTENER("    tls: {" CERTIFICATES ", client_certs: required, client_ca: /ca}\n"), "client");
}

static void test_client_authorities_without_client_certificates_are_warned_of(void **state)
{
    (void)state;
    assert_says(TLS_LISTENER("    tls: {" CERTIFICATES ", client_ca: /ca}\n"),
                "warning: listeners.in.tls.client_ca has no effect\n");
    assert_says(TLS_LISTENER("    tls: {" CERTIFICATES ", client_crl: /crl}\n"),
                "warning: listeners.in.tls.client_crl has no effect\n");
    assert_says(TLS_LISTENER("    tls: {" CERTIFICATES ", client_crl: /crl}\n"), "^~~~ client_certs is off\n");
}

static void test_plain_http_from_other_machines_is_warned_of(void **state)
{
    (void)state;
    assert_shown(TLS_LISTENER(""),
                 "weir.yaml:6:14: warning: listeners.in takes payments without TLS from other machines\n"
                 "    6 |     address: \"0.0.0.0:8443\"\n"
                 "      |              ^~~~~~~~~~~~~~ add 'tls'\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_does_not_say("version: 1\nlisteners: [{name: a, address: '127.9.9.9:1'}]\n", "without TLS");
    assert_does_not_say("version: 1\nlisteners: [{name: a, address: '[::1]:1'}]\n", "without TLS");
    assert_does_not_say("version: 1\nlisteners: [{name: a, address: 'unix:/run/a'}]\n", "without TLS");
    assert_says("version: 1\nlisteners: [{name: a, address: '[::]:1'}]\n", "without TLS");
}

static void test_proxy_headers_need_somebody_who_may_send_them(void **state)
{
    (void)state;
    assert_says(TLS_LISTENER("    proxy_protocol: required\n"),
                "weir.yaml:7:21: error: listeners.in requires PROXY headers and trusts nobody to send them\n"
                "    7 |     proxy_protocol: required\n"
                "      |                     ^~~~~~~~ name the senders in 'trusted'\n");
    assert_does_not_say(TLS_LISTENER("    proxy_protocol: required\n    trusted: [10.0.0.0/8]\n"), "error");
}

static void test_trusting_everyone_is_warned_of(void **state)
{
    (void)state;
    assert_says(TLS_LISTENER("    trusted: [10.0.0.0/8, 0.0.0.0/0]\n"),
                "weir.yaml:7:27: warning: listeners.in trusts everyone to say who the client is\n"
                "    7 |     trusted: [10.0.0.0/8, 0.0.0.0/0]\n"
                "      |                           ^~~~~~~~~\n");
    assert_says(TLS_LISTENER("    trusted: ['::/0']\n"), "trusts everyone");
    assert_does_not_say(TLS_LISTENER("    trusted: [10.0.0.0/8, unix]\n"), "trusts everyone");
}

static void test_two_listeners_share_neither_name_nor_address(void **state)
{
    (void)state;
    assert_shown("version: 1\n" PROCESSOR ROUTE "listeners:\n"
                 "  - {name: a, address: '127.0.0.1:80'}\n"
                 "  - {name: b, address: '127.0.0.1:81'}\n"
                 "  - {name: a, address: '127.0.0.1:81'}\n",
                 "weir.yaml:7:12: error: two listeners have the name 'a'\n"
                 "    7 |   - {name: a, address: '127.0.0.1:81'}\n"
                 "      |            ^ the first is at line 5\n"
                 "weir.yaml:7:24: error: two listeners have the address '127.0.0.1:81'\n"
                 "    7 |   - {name: a, address: '127.0.0.1:81'}\n"
                 "      |                        ^~~~~~~~~~~~~~ the first is at line 6\n"
                 "weir.yaml: 2 errors: not loaded\n");
    assert_says("version: 1\nlisteners: [{name: a, address: 'unix:/a'}, {name: b, address: 'unix:/a'}]\n",
                "two listeners have the address 'unix:/a'");
    assert_does_not_say("version: 1\nlisteners: [{name: a, address: '127.0.0.1:0'}, {name: b, address: '127.0.0.1:0'}]\n",
                        "error");
}

static void test_monitor_and_admin_do_not_share_a_listeners_address(void **state)
{
    (void)state;
    assert_says("version: 1\n" LISTENER "monitor: {address: '127.0.0.1:8080'}\n",
                "weir.yaml:3:20: error: listener 'in' has this address, too\n");
    assert_says("version: 1\nlisteners: [{name: in, address: 'unix:/run/s'}]\nadmin: {socket: /run/s}\n",
                "weir.yaml:3:17: error: listener 'in' has this path, too\n");
}

static void test_odd_header_limits_are_warned_of(void **state)
{
    (void)state;
    assert_says(TLS_LISTENER("    limits: {header: 2KiB}\n"),
                "weir.yaml:7:22: warning: listeners.in.limits.header (2KiB) is less than many clients send\n");
    assert_says(TLS_LISTENER("    limits: {header: 128KiB}\n"),
                "warning: listeners.in.limits.header (128KiB) is more than any client needs\n");
    assert_does_not_say(TLS_LISTENER("    limits: {header: 4KiB}\n"), "limits.header");
    assert_does_not_say(TLS_LISTENER("    limits: {header: 64KiB}\n"), "limits.header");
}

static void test_a_body_that_no_buffer_holds_is_an_error(void **state)
{
    (void)state;
    assert_says(TLS_LISTENER("    limits: {body: 2MiB}\nmemory: {buffers: 1MiB}\n"),
                "weir.yaml:7:20: error: listeners.in.limits.body (2MiB) is more than memory.buffers (1MiB) can hold\n");
    assert_says("version: 1\n" LISTENER PROCESSOR "routes: [{name: r, to: acme, body: 1GiB}]\n",
                "weir.yaml:4:36: error: routes.r.body (1GiB) is more than memory.buffers (256MiB) can hold\n");
    assert_shown("version: 1\n" LISTENER PROCESSOR "routes: [{name: r, to: acme, body: 1GiB, stream: request, idempotency: off}]\n",
                 "weir.yaml: ok\n");
}

static void test_a_large_body_that_is_held_whole_is_warned_of(void **state)
{
    (void)state;
    assert_says(TLS_LISTENER("    limits: {body: 17MiB}\n"), "warning: listeners.in.limits.body (17MiB) is held whole in memory\n");
    assert_says("version: 1\n" LISTENER PROCESSOR "routes: [{name: r, to: acme, body: 17MiB}]\n",
                "^~~~~ a route with stream: request holds less\n");
    assert_does_not_say(TLS_LISTENER("    limits: {body: 16MiB}\n"), "held whole");
}

static void test_a_key_file_that_everyone_can_read_is_warned_of(void **state)
{
    char path[] = "/var/tmp/conf_check_test.XXXXXX";
    int fd = mkstemp(path);
    char text[512], expected[512];

    (void)state;
    assert_true(fd >= 0);
    (void)close(fd);
    (void)snprintf(text, sizeof(text), TLS_LISTENER("    tls: {certificates: [{cert: /c, key: %s}]}\n"), path);
    assert_int_equal(chmod(path, 0640), 0);
    assert_shown(text, "weir.yaml: ok\n");
    assert_int_equal(chmod(path, 0644), 0);
    (void)snprintf(expected, sizeof(expected),
                   "weir.yaml:7:42: warning: everyone on this machine can read the private key (mode 0644)\n"
                   "    7 |     tls: {certificates: [{cert: /c, key: %s}]}\n"
                   "      |                                          ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ chmod 0640\n"
                   "weir.yaml: ok, 1 warning\n",
                   path);
    assert_shown(text, expected);
    (void)snprintf(text, sizeof(text), WITH_PROCESSOR("    tls: {cert: /c, key: %s}\n"), path);
    assert_says(text, "can read the private key");
    (void)unlink(path);
    assert_shown(text, "weir.yaml: ok\n");
}

/* ---- processors ---- */

static void test_a_total_shorter_than_its_parts_is_an_error(void **state)
{
    (void)state;
    assert_says(WITH_PROCESSOR("    timeouts: {connect: 1s, response: 8s, total: 5s}\n"),
                "weir.yaml:7:50: error: timeouts.total (5s) is shorter than timeouts.response (8s) in processors.acme\n"
                "    7 |     timeouts: {connect: 1s, response: 8s, total: 5s}\n"
                "      |                                                  ^~\n");
    assert_says(WITH_PROCESSOR("    timeouts: {connect: 1s, response: 8s, total: 8500ms}\n"),
                "timeouts.total (8500ms) is shorter than timeouts.response (8s) and timeouts.connect (1s) together in "
                "processors.acme\n");
    assert_shown(WITH_PROCESSOR("    timeouts: {connect: 1s, response: 8s, total: 9s}\n"), "weir.yaml: ok\n");
}

static void test_defaults_count_and_are_named_as_such(void **state)
{
    (void)state;
    assert_says(WITH_PROCESSOR("    timeouts: {response: 40s}\n"),
                "weir.yaml:7:26: error: timeouts.total (35s, the default) is shorter than timeouts.response (40s) in "
                "processors.acme\n");
    assert_says(WITH_PROCESSOR("    timeouts: {connect: 6s}\n"),
                "weir.yaml:7:25: error: timeouts.total (35s, the default) is shorter than timeouts.response (30s, the "
                "default) and timeouts.connect (6s) together in processors.acme\n");
}

static void test_a_timeout_that_was_refused_leads_to_no_second_finding(void **state)
{
    (void)state;
    assert_says(WITH_PROCESSOR("    timeouts: {response: 99, total: 1s}\n"), "weir.yaml: 1 error: not loaded\n");
}

static void test_unverified_processors_are_warned_of(void **state)
{
    (void)state;
    assert_says(WITH_PROCESSOR("    tls: {verify: off}\n"),
                "weir.yaml:7:19: warning: processors.acme sends payments to whoever answers: its certificate is not "
                "verified\n");
}

static void test_plain_processors_on_other_machines_are_warned_of(void **state)
{
    (void)state;
    assert_shown("version: 1\n" LISTENER ROUTE "processors: {acme: {url: http://sandbox.example}}\n",
                 "weir.yaml:4:26: warning: processors.acme sends payments without TLS to another machine\n"
                 "    4 | processors: {acme: {url: http://sandbox.example}}\n"
                 "      |                          ^~~~~~~~~~~~~~~~~~~~~~ write https\n"
                 "weir.yaml: ok, 1 warning\n");
    assert_shown("version: 1\n" LISTENER ROUTE "processors: {acme: {url: http://127.0.0.1:9001}}\n", "weir.yaml: ok\n");
    assert_shown("version: 1\n" LISTENER ROUTE "processors: {acme: {url: 'http://[::1]:9001'}}\n", "weir.yaml: ok\n");
    assert_shown("version: 1\n" LISTENER ROUTE "processors: {acme: {url: http://localhost:9001}}\n", "weir.yaml: ok\n");
    assert_shown("version: 1\n" LISTENER ROUTE "processors: {acme: {url: http://a.example, endpoints: ['127.0.0.1:1']}}\n",
                 "weir.yaml: ok\n");
    assert_says("version: 1\nprocessors: {acme: {url: http://localhost, endpoints: ['127.0.0.1:1', '10.0.0.1:1']}}\n",
                "without TLS to another machine");
}

static void test_tls_keys_of_a_plain_processor_are_warned_of(void **state)
{
    (void)state;
    assert_says("version: 1\nprocessors: {acme: {url: http://localhost, tls: {ca: system}}}\n",
                "weir.yaml:2:44: warning: processors.acme.tls has no effect\n");
}

static void test_a_certificate_to_show_needs_its_key_and_the_reverse(void **state)
{
    (void)state;
    assert_says(WITH_PROCESSOR("    tls: {cert: /c}\n"), "weir.yaml:7:17: error: processors.acme.tls has a cert without a key\n");
    assert_says(WITH_PROCESSOR("    tls: {key: /k}\n"), "weir.yaml:7:16: error: processors.acme.tls has a key without a cert\n");
    assert_shown(WITH_PROCESSOR("    tls: {cert: /c, key: /k}\n"), "weir.yaml: ok\n");
}

static void test_an_endpoint_is_listed_once(void **state)
{
    (void)state;
    assert_says(WITH_PROCESSOR("    endpoints: ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.1:1']\n"),
                "weir.yaml:7:45: error: processors.acme has this endpoint twice\n");
    assert_says(WITH_PROCESSOR("    endpoints: [a, b]\n"), "weir.yaml: 2 errors: not loaded\n");
}

static void test_a_processor_is_defined_once(void **state)
{
    (void)state;
    assert_says("version: 1\nprocessors:\n  a: {url: https://a}\n  b: {url: https://b}\n  a: {url: https://c}\n",
                "weir.yaml:5:3: error: duplicate key 'a'\n"
                "    5 |   a: {url: https://c}\n"
                "      |   ^ the first is at line 3\n");
}

/* ---- shutdown ---- */

static void test_drain_is_at_least_the_longest_total(void **state)
{
    (void)state;
    assert_says("version: 1\n" PROCESSOR "shutdown: {drain: 30s}\n",
                "weir.yaml:3:19: error: shutdown.drain (30s) is shorter than processors.acme.timeouts.total (35s)\n"
                "    3 | shutdown: {drain: 30s}\n"
                "      |                   ^~~ a stop would cut requests that are on their way\n");
    assert_does_not_say("version: 1\n" PROCESSOR "shutdown: {drain: 35s}\n", "drain");
    assert_does_not_say("version: 1\nshutdown: {drain: 0s}\n", "drain");
    /* Nobody waits for an answer that comes late. */
    assert_does_not_say("version: 1\nprocessors: {acme: {url: https://a.example, timeouts: {late: 1h}}}\n"
                        "shutdown: {drain: 35s}\n", "drain");
    assert_says(WITH_PROCESSOR("    timeouts: {total: 1m}\n"),
                "weir.yaml:7:23: error: shutdown.drain (45s, the default) is shorter than processors.acme.timeouts.total (1m)\n");
    assert_says("version: 1\n" PROCESSOR "routes: [{name: r, to: acme, timeouts: {total: 50s}}]\nshutdown: {drain: 40s}\n",
                "error: shutdown.drain (40s) is shorter than routes.r.timeouts.total (50s)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_with_nothing_wrong_says_ok),
        cmocka_unit_test(test_no_listeners_and_no_routes_are_warnings),
        cmocka_unit_test(test_client_certificates_need_an_authority),
        cmocka_unit_test(test_client_authorities_without_client_certificates_are_warned_of),
        cmocka_unit_test(test_plain_http_from_other_machines_is_warned_of),
        cmocka_unit_test(test_proxy_headers_need_somebody_who_may_send_them),
        cmocka_unit_test(test_trusting_everyone_is_warned_of),
        cmocka_unit_test(test_two_listeners_share_neither_name_nor_address),
        cmocka_unit_test(test_monitor_and_admin_do_not_share_a_listeners_address),
        cmocka_unit_test(test_odd_header_limits_are_warned_of),
        cmocka_unit_test(test_a_body_that_no_buffer_holds_is_an_error),
        cmocka_unit_test(test_a_large_body_that_is_held_whole_is_warned_of),
        cmocka_unit_test(test_a_key_file_that_everyone_can_read_is_warned_of),
        cmocka_unit_test(test_a_total_shorter_than_its_parts_is_an_error),
        cmocka_unit_test(test_defaults_count_and_are_named_as_such),
        cmocka_unit_test(test_a_timeout_that_was_refused_leads_to_no_second_finding),
        cmocka_unit_test(test_unverified_processors_are_warned_of),
        cmocka_unit_test(test_plain_processors_on_other_machines_are_warned_of),
        cmocka_unit_test(test_tls_keys_of_a_plain_processor_are_warned_of),
        cmocka_unit_test(test_a_certificate_to_show_needs_its_key_and_the_reverse),
        cmocka_unit_test(test_an_endpoint_is_listed_once),
        cmocka_unit_test(test_a_processor_is_defined_once),
        cmocka_unit_test(test_drain_is_at_least_the_longest_total),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
