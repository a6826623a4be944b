/*
 * Active checks over real sockets: a processor in the same loop answers, or
 * does not. The endpoint is this test's own: it writes results down and counts
 * them as policy/health.h does.
 */
#include "io/tls_support.h"

#include "base/unit.h"

#include "check.h"

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define FAR_MAX 64
#define RESULTS_MAX 64

/* The processor's end. */
static struct {
    struct acceptor *acceptor;
    struct tls_server *tls;  /* NULL: plain */
    struct stream *streams[FAR_MAX];
    int accepted, open, open_most;
    char request[512];       /* of the connection that spoke last */
    size_t request_bytes;
    const char *answer;      /* to whatever is read; NULL: silence */
    bool shut_after;
} far;

static struct loop *loop;
static struct upstream upstream;
static struct processor processor;
static struct endpoint endpoint;

/* What the endpoint was told. */
static struct {
    int count, passed, failed;
    char words[256]; /* of the last one */
    bool stop;       /* end the checks as soon as one is told */
} results;
static int sweeps;

/* ---- in the place of endpoint.c, processor.c and upstream.c ---- */

void endpoint_on_check(struct endpoint *of, bool passed, const char *words)
{
    assert_ptr_equal(of, &endpoint);
    assert_true(passed == (words[0] == '\0'));
    results.count++;
    results.passed += passed ? 1 : 0;
    results.failed += passed ? 0 : 1;
    (void)bytes_to_text(bytes_from_text(words), results.words, sizeof results.words);
    (void)health_note(&endpoint.health, &processor.settings.check.health, passed, loop_now_us(loop));
    if (results.stop) {
        check_stop(of);
    }
}

void processor_maybe_bury(struct processor *of)
{
    assert_ptr_equal(of, &processor);
    sweeps++;
}

uint64_t upstream_random(struct upstream *of)
{
    return random_next(&of->random);
}

/* ---- the far end ---- */

static void far_on_open(void *owner, enum err err)
{
    (void)owner;
    (void)err;
}

static void far_on_read(void *owner, struct bytes data)
{
    struct stream **slot = owner;
    size_t room = sizeof far.request - far.request_bytes;
    size_t taken = data.len < room ? data.len : room;

    memcpy(far.request + far.request_bytes, data.at, taken);
    far.request_bytes += taken;
    if (far.answer != NULL) {
        struct bytes answer = bytes_from_text(far.answer);
        assert_int_equal(stream_write(*slot, &answer, 1).err, ERR_OK);
    }
    if (far.shut_after) {
        stream_shut(*slot);
    }
}

static void far_gone(struct stream **slot)
{
    if (*slot != NULL) {
        stream_close(*slot, false);
        *slot = NULL;
        far.open--;
    }
}

static void far_on_end(void *owner, enum err err)
{
    (void)err;
    far_gone(owner);
}

static void far_on_drain(void *owner)
{
    (void)owner;
}

static const struct stream_ops far_ops = {
    .on_open = far_on_open, .on_read = far_on_read, .on_end = far_on_end, .on_drain = far_on_drain};

static void far_on_accepted(void *owner, struct stream *stream)
{
    (void)owner;
    assert_true(far.accepted < FAR_MAX);
    struct stream **slot = &far.streams[far.accepted++];
    *slot = stream;
    far.open++;
    far.open_most = far.open > far.open_most ? far.open : far.open_most;
    far.request_bytes = 0;
    stream_attach(stream, &far_ops, slot);
    if (far.tls != NULL) {
        stream_tls_accept(stream, far.tls, BYTES_NONE);
    }
}

/* ---- setting up ---- */

static char path[] = "/healthz?deep=1";
static char host[] = "acme.example:8443";

static struct check_settings checks_of(enum conf_health type)
{
    return (struct check_settings){
        .type = type, .path = type == CONF_HEALTH_HTTP ? path : NULL, .host = host, .status_min = 200, .status_max = 399,
        .timeout_ms = 10000, .health = {.every_us = 20000, .down_after = 3, .up_after = 2}};
}

static int open_world(void **state)
{
    struct addr_listen at;
    enum err err = ERR_OK;
    char why[200];

    (void)state;
    memset(&far, 0, sizeof far);
    memset(&results, 0, sizeof results);
    sweeps = 0;
    far.answer = OK_ANSWER;
    loop = loop_open(0);
    assert_true(addr_listen_parse(BYTES("127.0.0.1:0"), &at));
    far.acceptor = acceptor_open(loop, &at, 64, far_on_accepted, NULL, &err, why, sizeof why);
    assert_non_null(far.acceptor);
    upstream = (struct upstream){.options = {.loop = loop}, .random = 88172645463325252u};
    processor = (struct processor){.upstream = &upstream, .settings = {.check = checks_of(CONF_HEALTH_HTTP)}};
    endpoint = (struct endpoint){.processor = &processor, .addr = at.ip};
    addr_set_port(&endpoint.addr, acceptor_port(far.acceptor));
    return 0;
}

static void far_close(void)
{
    if (far.acceptor != NULL) {
        acceptor_close(far.acceptor);
        far.acceptor = NULL;
    }
    for (int i = 0; i < far.accepted; i++) {
        far_gone(&far.streams[i]);
    }
}

static int close_world(void **state)
{
    (void)state;
    check_stop(&endpoint);
    UNTIL(loop, check_is_over(&endpoint));
    far_close();
    assert_true(loop_close(loop)); /* every stream, timer and block was given back */
    tls_server_release(far.tls);
    tls_client_release(processor.settings.tls);
    return 0;
}

/* For so long, whatever happens. */
static void turn_for(uint64_t time_us)
{
    for (uint64_t until_us = clock_now_us() + time_us; clock_now_us() < until_us;) {
        turn(loop);
    }
}

static void expect_failure(const char *words)
{
    check_start(&endpoint);
    UNTIL(loop, results.count > 0);
    assert_int_equal(results.passed, 0);
    assert_string_equal(results.words, words);
}

static void expect_pass(void)
{
    check_start(&endpoint);
    UNTIL(loop, results.count > 0);
    assert_string_equal(results.words, "");
}

/* ---- HTTP ---- */

static void test_a_check_asks_for_its_path_and_closes(void **state)
{
    (void)state;
    expect_pass();
    assert_bytes(bytes_of(far.request, far.request_bytes),
                 "GET /healthz?deep=1 HTTP/1.1\r\nHost: acme.example:8443\r\nUser-Agent: weir-check\r\n"
                 "Accept: */*\r\nConnection: close\r\n\r\n");
    UNTIL(loop, far.open == 0 || results.count > 1);
}

static void test_statuses_pass_from_the_least_to_the_most(void **state)
{
    static const struct {
        const char *answer, *words;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
        {"HTTP/1.1 399 Odd\r\nContent-Length: 0\r\n\r\n", ""},
        {"HTTP/1.1 204 No Content\r\n\r\n", ""},
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "status 400"},
        {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503"},
    };

    (void)state;
    far.answer = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        int before = results.count;
        far.answer = rows[i].answer;
        check_start(&endpoint);
        UNTIL(loop, results.count >= before + 2); /* the one under way may have asked before */
        assert_string_equal(results.words, rows[i].words);
    }
    processor.settings.check.status_min = 503;
    processor.settings.check.status_max = 503;
    int before = results.passed;
    UNTIL(loop, results.passed > before);
}

static void test_an_interim_answer_is_none(void **state)
{
    (void)state;
    far.answer = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    expect_failure("status 500");
}

static void test_a_body_is_not_waited_for(void **state)
{
    (void)state;
    far.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nand so on";
    expect_pass();
}

static void test_what_is_no_answer_fails(void **state)
{
    (void)state;
    far.answer = "SSH-2.0-OpenSSH_9.2\r\n";
    check_start(&endpoint);
    UNTIL(loop, results.count > 0);
    assert_int_equal(results.failed, results.count);
}

static void test_a_head_without_end_fails_at_its_bound(void **state)
{
    static char head[RESPONSE_HEAD_BYTES_MAX + 1000];
    size_t len = (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n");

    (void)state;
    while (len + 100 < sizeof head) {
        len += (size_t)snprintf(head + len, sizeof head - len, "X-Filler: %080d\r\n", 0);
    }
    far.answer = head;
    check_start(&endpoint);
    UNTIL(loop, results.count > 0);
    assert_int_equal(results.failed, results.count);
}

static void test_an_end_without_an_answer_fails(void **state)
{
    (void)state;
    far.answer = NULL;
    far.shut_after = true;
    expect_failure("closed without an answer");
}

static void test_an_end_within_an_answer_fails(void **state)
{
    (void)state;
    far.answer = "HTTP/1.1 200 OK\r\nContent-";
    far.shut_after = true;
    expect_failure("closed within an answer");
}

static void test_silence_fails_when_its_time_is_over(void **state)
{
    (void)state;
    far.answer = NULL;
    processor.settings.check.timeout_ms = 50;
    expect_failure("no answer in time");
}

static void on_trickle(struct timer *timer)
{
    const struct bytes byte = BYTES("x");

    if (far.open > 0 && results.count == 0) {
        assert_true(stream_write(far.streams[far.accepted - 1], &byte, 1).sent);
    }
    timer_set_after(timer, 10000);
}

/* The deadline is that of the check, not of a byte. */
static void test_an_answer_that_trickles_fails_when_its_time_is_over(void **state)
{
    struct timer trickle;
    static const char begun[] = "HTTP/1.1 200 OK\r\nX-Slow: ";

    (void)state;
    far.answer = begun;
    processor.settings.check.timeout_ms = 100;
    timer_init(&trickle, loop, on_trickle);
    timer_set_after(&trickle, 1000);
    check_start(&endpoint);
    UNTIL(loop, results.count > 0);
    timer_stop(&trickle);
    assert_string_equal(results.words, "no answer in time");
}

static void test_nobody_there_fails(void **state)
{
    (void)state;
    far_close();
    expect_failure("connection refused");
}

/* ---- TCP and TLS ---- */

static void test_a_tcp_check_passes_with_the_connection_and_sends_nothing(void **state)
{
    (void)state;
    processor.settings.check = checks_of(CONF_HEALTH_TCP);
    expect_pass();
    UNTIL(loop, results.count >= 3 && far.accepted >= 3);
    assert_int_equal(far.request_bytes, 0);
}

static void test_a_tls_check_passes_with_the_handshake(void **state)
{
    (void)state;
    far.tls = server_of(&pay_ec, (struct tls_server_options){.minimum = TLS_MINIMUM_1_2});
    processor.settings.tls = client_of("pay.example", (struct tls_client_options){0});
    processor.settings.check = checks_of(CONF_HEALTH_TLS);
    expect_pass();
    assert_int_equal(far.request_bytes, 0);
}

static void test_an_http_check_goes_over_tls_where_calls_do(void **state)
{
    (void)state;
    far.tls = server_of(&pay_ec, (struct tls_server_options){.minimum = TLS_MINIMUM_1_2});
    processor.settings.tls = client_of("pay.example", (struct tls_client_options){0});
    expect_pass();
    assert_true(far.request_bytes > 0);
}

static void test_a_certificate_that_calls_refuse_fails_in_its_words(void **state)
{
    (void)state;
    far.tls = server_of(&pay_ec, (struct tls_server_options){.minimum = TLS_MINIMUM_1_2});
    processor.settings.tls = client_of("other.example", (struct tls_client_options){0});
    processor.settings.check = checks_of(CONF_HEALTH_TLS);
    check_start(&endpoint);
    UNTIL(loop, results.count > 0);
    assert_int_equal(results.passed, 0);
    assert_non_null(strstr(results.words, "certificate"));
}

static void test_a_handshake_that_is_never_answered_fails_when_its_time_is_over(void **state)
{
    (void)state;
    far.answer = NULL;
    processor.settings.tls = client_of("pay.example", (struct tls_client_options){0});
    processor.settings.check = checks_of(CONF_HEALTH_TLS);
    processor.settings.check.timeout_ms = 50;
    expect_failure("no connection in time");
}

static void test_a_tcp_check_makes_no_handshake_where_calls_would(void **state)
{
    (void)state;
    processor.settings.tls = client_of("pay.example", (struct tls_client_options){0});
    processor.settings.check = checks_of(CONF_HEALTH_TCP);
    expect_pass();
    assert_int_equal(far.request_bytes, 0);
}

/* ---- one after the other ---- */

static void test_checks_follow_one_another_one_at_a_time(void **state)
{
    (void)state;
    check_start(&endpoint);
    UNTIL(loop, results.passed >= 10);
    assert_int_equal(results.failed, 0);
    assert_int_equal(endpoint.health.state, HEALTH_UP);
    assert_in_range(far.open_most, 1, 2); /* the processor may see the old one end after the new one */
}

static void test_the_first_check_is_soon_and_the_next_one_is_not(void **state)
{
    (void)state;
    processor.settings.check.health.every_us = 3600 * CLOCK_US_PER_S;
    check_start(&endpoint);
    UNTIL(loop, results.passed == 1);
    turn_for(200000);
    assert_int_equal(results.count, 1);
}

static void test_in_a_hurry_the_next_one_is_soon(void **state)
{
    (void)state;
    processor.settings.check.health.every_us = 3600 * CLOCK_US_PER_S;
    check_start(&endpoint);
    UNTIL(loop, results.passed == 1);
    UNTIL(loop, (check_hurry(&endpoint), results.passed >= 2)); /* whoever asks often postpones nothing */
}

static void test_a_hurry_during_a_check_is_not_lost(void **state)
{
    struct bytes answer = BYTES(OK_ANSWER);

    (void)state;
    far.answer = NULL;
    processor.settings.check.health.every_us = 3600 * CLOCK_US_PER_S;
    check_start(&endpoint);
    UNTIL(loop, far.request_bytes > 0);
    check_hurry(&endpoint);
    far.answer = OK_ANSWER;
    assert_int_equal(stream_write(far.streams[0], &answer, 1).err, ERR_OK);
    UNTIL(loop, results.passed == 2);
}

static void test_one_that_failed_is_asked_again_soon(void **state)
{
    (void)state;
    far.answer = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    processor.settings.check.health.every_us = 3600 * CLOCK_US_PER_S;
    check_start(&endpoint);
    UNTIL(loop, results.failed == 3);
    assert_int_equal(endpoint.health.state, HEALTH_DOWN);
}

static void test_a_reload_that_wants_them_more_often_has_it_at_once(void **state)
{
    (void)state;
    processor.settings.check.health.every_us = 3600 * CLOCK_US_PER_S;
    check_start(&endpoint);
    UNTIL(loop, results.passed == 1);
    processor.settings.check.health.every_us = 20000;
    check_start(&endpoint);
    UNTIL(loop, results.passed >= 4);
}

static void test_a_reload_that_wants_none_ends_them(void **state)
{
    (void)state;
    check_start(&endpoint);
    UNTIL(loop, results.passed >= 1);
    processor.settings.check.type = CONF_HEALTH_NONE;
    check_start(&endpoint);
    UNTIL(loop, check_is_over(&endpoint));
    assert_true(sweeps > 0);
    int before = results.count;
    turn_for(100000);
    assert_int_equal(results.count, before);
    processor.settings.check = checks_of(CONF_HEALTH_TCP);
    check_start(&endpoint);
    UNTIL(loop, results.count > before);
}

static void test_a_reload_to_another_kind_while_one_connects_does_no_harm(void **state)
{
    (void)state;
    check_start(&endpoint);
    UNTIL(loop, far.accepted == 1);
    processor.settings.check = checks_of(CONF_HEALTH_TCP);
    check_start(&endpoint);
    UNTIL(loop, results.passed >= 2);
    assert_int_equal(results.failed, 0);
}

/* ---- the end ---- */

static void test_without_checks_nothing_is_begun(void **state)
{
    (void)state;
    processor.settings.check = (struct check_settings){.type = CONF_HEALTH_NONE};
    check_start(&endpoint);
    check_hurry(&endpoint);
    assert_true(check_is_over(&endpoint));
    check_stop(&endpoint);
}

static void test_stopped_while_it_waits_it_is_over(void **state)
{
    (void)state;
    check_start(&endpoint);
    check_stop(&endpoint);
    check_stop(&endpoint);
    check_hurry(&endpoint);
    UNTIL(loop, check_is_over(&endpoint));
    assert_int_equal(results.count, 0);
    assert_int_equal(sweeps, 1);
}

static void test_stopped_while_it_connects_it_tells_nothing(void **state)
{
    (void)state;
    far.answer = NULL;
    processor.settings.tls = client_of("pay.example", (struct tls_client_options){0});
    processor.settings.check = checks_of(CONF_HEALTH_TLS);
    check_start(&endpoint);
    UNTIL(loop, far.accepted == 1);
    check_stop(&endpoint);
    UNTIL(loop, check_is_over(&endpoint));
    assert_int_equal(results.count, 0);
    UNTIL(loop, far.open == 0);
}

static void test_stopped_while_it_asks_it_tells_nothing(void **state)
{
    (void)state;
    far.answer = NULL;
    check_start(&endpoint);
    UNTIL(loop, far.request_bytes > 0);
    check_stop(&endpoint);
    assert_false(check_is_over(&endpoint));
    UNTIL(loop, check_is_over(&endpoint));
    assert_int_equal(results.count, 0);
    UNTIL(loop, far.open == 0);
}

static void test_stopped_by_its_own_result_it_ends(void **state)
{
    (void)state;
    results.stop = true;
    check_start(&endpoint);
    UNTIL(loop, results.count == 1 && check_is_over(&endpoint));
    turn_for(100000);
    assert_int_equal(results.count, 1);
}

static void test_started_again_while_it_ends_it_goes_on(void **state)
{
    (void)state;
    check_start(&endpoint);
    check_stop(&endpoint);
    check_start(&endpoint); /* before the turn is over */
    UNTIL(loop, results.passed >= 1);
    far.answer = NULL;
    far.request_bytes = 0;
    int before = far.accepted;
    UNTIL(loop, far.accepted > before && far.request_bytes > 0);
    check_stop(&endpoint);
    check_start(&endpoint); /* while its stream closes */
    far.answer = OK_ANSWER;
    before = results.passed;
    UNTIL(loop, results.passed > before);
    assert_int_equal(sweeps, 0);
    assert_int_equal(results.failed, 0);
}

/* ---- what weir is short of ---- */

static void test_want_of_descriptors_is_not_the_endpoints_fault(void **state)
{
    struct rlimit before, none;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    check_start(&endpoint);
    turn_for(300000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(results.count, 0);
    assert_int_equal(far.accepted, 0);
    UNTIL(loop, results.passed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_check_asks_for_its_path_and_closes, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_statuses_pass_from_the_least_to_the_most, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_interim_answer_is_none, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_body_is_not_waited_for, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_what_is_no_answer_fails, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_head_without_end_fails_at_its_bound, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_end_without_an_answer_fails, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_end_within_an_answer_fails, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_silence_fails_when_its_time_is_over, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_answer_that_trickles_fails_when_its_time_is_over, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_nobody_there_fails, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_tcp_check_passes_with_the_connection_and_sends_nothing, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_a_tls_check_passes_with_the_handshake, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_http_check_goes_over_tls_where_calls_do, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_certificate_that_calls_refuse_fails_in_its_words, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_handshake_that_is_never_answered_fails_when_its_time_is_over, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_a_tcp_check_makes_no_handshake_where_calls_would, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_checks_follow_one_another_one_at_a_time, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_the_first_check_is_soon_and_the_next_one_is_not, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_in_a_hurry_the_next_one_is_soon, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_hurry_during_a_check_is_not_lost, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_one_that_failed_is_asked_again_soon, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_reload_that_wants_them_more_often_has_it_at_once, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_reload_that_wants_none_ends_them, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_reload_to_another_kind_while_one_connects_does_no_harm, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_without_checks_nothing_is_begun, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_stopped_while_it_waits_it_is_over, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_stopped_while_it_connects_it_tells_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_stopped_while_it_asks_it_tells_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_stopped_by_its_own_result_it_ends, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_started_again_while_it_ends_it_goes_on, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_want_of_descriptors_is_not_the_endpoints_fault, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
