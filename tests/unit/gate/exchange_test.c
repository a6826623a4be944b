/*
 * The story of a request over real sockets: for each way that it can end, what
 * the client read, what the processor received, what the access line says, and
 * that whatever was not sent is said to be so.
 */
#include "gate_support.h"

#define RETRY(word) "\r\nWeir-Retry: " word "\r\n"
#define REASON(name) "\r\nWeir-Reason: " name "\r\n"

static int begin(void **state)
{
    (void)state;
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_close();
    return 0;
}

static void open_default(void)
{
    world_open((struct world_wishes){0});
}


static void open_processor(const char *processor)
{
    world_open((struct world_wishes){.processor = processor});
}

/* A request is refused with this reason and no byte of it reached the processor. */
static void assert_refused(const char *request, int status, const char *reason, const char *ended_by, const char *phase)
{
    char text[100];
    struct end near;
    struct line line;

    near_open(&near);
    (void)snprintf(text, sizeof text, "\r\nWeir-Reason: %s\r\n", reason);
    near_ask(&near, request, text);
    (void)snprintf(text, sizeof text, "HTTP/1.1 %d ", status);
    assert_int_equal(strncmp(near.in, text, strlen(text)), 0);
    assert_true(near_has(&near, "\r\nWeir-Outcome: not_sent\r\n"));
    next_line(&line);
    assert_verdict(&line, reason, "not_sent", ended_by, phase);
    (void)snprintf(text, sizeof text, "%d", status);
    assert_line(&line, "http.response.status_code", text);
    assert_int_equal(far_bytes(), 0);
    near_close(&near, false);
}

/* ---- answered ---- */

static void test_a_payment_is_answered_counted_and_logged(void **state)
{
    static const char *const keys[] = {
        "timestamp", "request_id", "http.request.method", "url.path", "network.protocol.version", "client.address",
        "weir.listener", "http.route", "weir.route", "weir.processor", "server.address", "weir.attempts", "weir.link_reused",
        "http.response.status_code", "weir.reason", "weir.code", "weir.outcome", "weir.ended_by", "weir.phase", "bytes_in",
        "bytes_out", "t_total_us", "t_read_us", "t_queue_us", "t_connect_us", "t_ttfb_us", "t_overhead_us"};
    struct end near;
    struct line line;
    char port[40];

    (void)state;
    open_default();
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ORDER, "\r\n\r\nok");
    assert_true(near_has(&near, "\r\nWeir-Outcome: answered\r\n"));
    assert_false(near_has(&near, "Weir-Reason"));
    next_line(&line);
    assert_int_equal(line.count, ARRAY_COUNT(keys));
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        assert_string_equal(line.keys[i], keys[i]);
    }
    assert_verdict(&line, "ok", "answered", "-", "A");
    (void)snprintf(port, sizeof port, "127.0.0.1:%u", (unsigned)acceptor_port(far.acceptor));
    assert_line(&line, "server.address", port);
    assert_line(&line, "bytes_in", "4");
    assert_line(&line, "bytes_out", "2");
    assert_line(&line, "weir.link_reused", "false");
    assert_metric("weir_requests_total{route=\"order\",processor=\"acme\",code=\"200\",reason=\"ok\"} 1\n");
    assert_metric("weir_outcomes_total{processor=\"acme\",outcome=\"answered\"} 1\n");
    assert_metric("weir_requests_in_flight{route=\"order\"} 0\n");
    assert_metric("weir_processor_duration_seconds_count{processor=\"acme\"} 1\n");

    near_ask(&near, ASK, "\r\n\r\nok");
    UNTIL(world.loop, near_count(&near, "\r\n\r\nok") == 2);
    next_line(&line);
    assert_line(&line, "weir.link_reused", "true");
    assert_int_equal(world_state().exchanges_total, 2);
    near_close(&near, false);
}

static void test_a_status_that_proves_nothing_is_relayed_as_unknown_for_a_payment_only(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    far.answer = "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno";
    near_open(&near);
    near_ask(&near, ORDER, "\r\n\r\nno");
    assert_true(near_has(&near, "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_true(near_has(&near, "\r\nWeir-Outcome: unknown\r\n"));
    next_line(&line);
    assert_verdict(&line, "ok", "unknown", "-", "A");
    logbook_wait_event(&world.book, "\"event\":\"unknown\"");
    near_ask(&near, ASK, "\r\nWeir-Outcome: answered\r\n");
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    near_close(&near, false);
}

static void test_an_early_answer_ends_a_streamed_request_and_its_connection(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.pay = ", stream: request"});
    far.answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
    near_open(&near);
    near_ask(&near, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf", "\r\n\r\nno");
    assert_true(near_has(&near, "\r\nConnection: close\r\n"));
    assert_int_equal(near_end(&near), ERR_EOF);
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    UNTIL(world.loop, far.ends[0].ended || far.ends[0].stream == NULL); /* a link with half a request is not used again */
    near_close(&near, false);
}

/* ---- refused, not sent ---- */

static void test_what_breaks_off_while_it_is_read_is_not_sent(void **state)
{
    (void)state;
    world_open((struct world_wishes){.listener = ", timeouts: {header: 40ms, body: 40ms}, limits: {header: 1KiB}", .pay = ", body: 4B"});
    assert_refused("GET /v1/payments/1 HT", 408, "request_timeout", "timeout", "H");
    assert_refused("POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\npa", 408, "request_timeout", "timeout", "B");
    assert_refused("GET /v1/payments/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request", "client", "H");
    assert_refused("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no_route", "weir", "R");
    assert_refused("POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 413, "body_too_large", "client", "R");
    assert_refused("POST /v1/payments HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n", 413,
                   "body_too_large", "client", "B");
    assert_refused("TRACE /v1/payments/1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed", "client", "H");
    assert_metric("weir_requests_total{route=\"\",processor=\"\",code=\"408\",reason=\"request_timeout\"} 1\n");
    assert_metric("weir_requests_total{route=\"order\",processor=\"acme\",code=\"408\",reason=\"request_timeout\"} 1\n");
    assert_metric("weir_requests_in_flight{route=\"order\"} 0\n");
    assert_int_equal(far.accepted, 0);
}

static void test_without_room_a_request_is_shed_and_the_next_one_is_served_when_there_is(void **state)
{
    struct blocks *blocks;
    struct end near;
    struct line line;

    (void)state;
    open_default();
    far.answer = ANSWER;
    blocks = loop_blocks(world.loop);
    near_open(&near);
    blocks_set_limit(blocks, 1);
    near_ask(&near, ASK, REASON("shed"));
    assert_true(near_has(&near, "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_true(near_has(&near, "\r\nRetry-After: 1\r\n") || near_has(&near, "\r\nRetry-After: 2\r\n") ||
                near_has(&near, "\r\nRetry-After: 3\r\n")); /* spread, so that they do not come back together */
    assert_true(near_has(&near, RETRY("safe")));
    next_line(&line);
    assert_line(&line, "weir.reason", "shed");
    assert_line(&line, "weir.outcome", "not_sent");
    assert_line(&line, "http.response.status_code", "503");
    assert_int_equal(far.accepted, 0);
    near_close(&near, false);
    UNTIL(world.loop, world_state().exchanges == 0);
    assert_int_equal(blocks->used_bytes, 0); /* a refusal keeps nothing */

    blocks_set_limit(blocks, 0);
    near_open(&near);
    near_ask(&near, ASK, "\r\n\r\nok");
    next_line(&line);
    near_close(&near, false);
}

static void test_a_body_that_finds_no_room_is_shed_unsent(void **state)
{
    char body[BLOCK_BYTES * 2 + 1];
    struct end near;
    struct line line;

    (void)state;
    open_default();
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 8192\r\n\r\n");
    UNTIL(world.loop, world_state().exchanges == 1);
    blocks_set_limit(loop_blocks(world.loop), loop_blocks(world.loop)->used_bytes);
    near_ask(&near, body, REASON("shed"));
    next_line(&line);
    assert_line(&line, "weir.reason", "shed");
    assert_line(&line, "weir.phase", "B");
    assert_int_equal(far.accepted, 0);
    near_close(&near, false);
}

/* The memory bound turns new requests away; it cuts none whose money may have moved. */
static void test_a_request_that_was_sent_is_not_refused_room_for_its_answer(void **state)
{
    enum { FIELD = BLOCK_BYTES * 3 };
    char answer[FIELD + 200];
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, ORDER);
    UNTIL(world.loop, far_bytes() > 0);
    blocks_set_limit(loop_blocks(world.loop), 1);
    int len = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Large: ");
    memset(answer + len, 'x', FIELD);
    (void)snprintf(answer + len + FIELD, 20, "\r\n\r\nok");
    far_say(0, answer);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    near_close(&near, false);
}

static void test_a_processor_that_refuses_connections_is_told_as_not_sent(void **state)
{
    (void)state;
    open_default();
    acceptor_close(far.acceptor);
    turn(world.loop);
    assert_refused(ORDER, 502, "connect_failed", "processor", "L");
    far.acceptor = NULL;
}

static void test_a_full_queue_refuses_and_who_waits_in_it_is_served(void **state)
{
    struct end held, waiting, refused;
    struct line line;

    (void)state;
    open_processor(", pool: {connections: 1, queue: 1}");
    near_open(&held);
    near_say(&held, ORDER);
    UNTIL(world.loop, far_bytes() > 0);
    near_open(&waiting);
    near_say(&waiting, ORDER);
    UNTIL(world.loop, world_state().exchanges == 2);
    near_open(&refused);
    near_ask(&refused, ORDER, REASON("queue_full"));
    assert_true(near_has(&refused, RETRY("safe")));
    next_line(&line);
    assert_verdict(&line, "queue_full", "not_sent", "processor", "L");
    far.answer = ANSWER;
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&held, "\r\n\r\nok") && near_has(&waiting, "\r\n\r\nok"));
    for (int i = 0; i < 2; i++) {
        next_line(&line);
        assert_verdict(&line, "ok", "answered", "-", "A");
    }
    assert_int_equal(far.accepted, 1);
    near_close(&held, false);
    near_close(&waiting, false);
    near_close(&refused, false);
}

static void test_a_place_in_the_queue_ends_with_the_deadline(void **state)
{
    struct end held, waiting;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.processor = ", timeouts: {connect: 500ms}, pool: {connections: 1}",
                                     .routes = "{name: hasty, match: {path: /hasty}, to: acme, timeouts: {response: 10ms, total: "
                                               "510ms}}, "});
    near_open(&held);
    near_say(&held, ORDER);
    UNTIL(world.loop, far_bytes() > 0);
    size_t sent_bytes = far_bytes();
    near_open(&waiting);
    near_ask(&waiting, "GET /hasty HTTP/1.1\r\nHost: a\r\n\r\n", REASON("deadline_before_send"));
    next_line(&line);
    assert_verdict(&line, "deadline_before_send", "not_sent", "timeout", "L");
    assert_int_equal(far_bytes(), sent_bytes);
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&held, "\r\n\r\nok"));
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    near_close(&held, false);
    near_close(&waiting, false);
}

/* ---- sent, unknown ---- */

static void test_silence_is_unknown_and_the_link_is_never_used_again(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_processor(", timeouts: {connect: 1s, response: 50ms, total: 10s}");
    near_open(&near);
    near_ask(&near, ORDER, REASON("response_timeout"));
    assert_true(near_has(&near, "HTTP/1.1 504 Gateway Timeout\r\n"));
    assert_true(near_has(&near, "\r\nWeir-Outcome: unknown\r\n"));
    assert_true(near_has(&near, RETRY("no")));
    next_line(&line);
    assert_verdict(&line, "response_timeout", "unknown", "timeout", "W");
    assert_metric("weir_outcomes_total{processor=\"acme\",outcome=\"unknown\"} 1\n");
    logbook_wait_event(&world.book, "\"event\":\"unknown\"");
    logbook_wait_event(&world.book, line_value(&line, "request_id"));
    UNTIL(world.loop, far.ends[0].stream == NULL);
    near_close(&near, false);
}

static void test_a_link_that_breaks_before_the_answer_is_unknown_and_is_not_tried_again(void **state)
{
    static const struct {
        const char *answer, *reason;
        bool shut, reset;
    } cases[] = {
        {NULL, "closed_before_response", true, false},
        {NULL, "closed_before_response", false, true},
        {"SMTP ready\r\n\r\n", "response_malformed", false, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "response_malformed", false, false},
    };
    struct end near;
    struct line line;
    char text[100];

    (void)state;
    open_default();
    for (int i = 0; i < (int)ARRAY_COUNT(cases); i++) {
        far.answer = cases[i].answer;
        far.shut_after = cases[i].shut;
        far.reset_after = cases[i].reset;
        near_open(&near);
        (void)snprintf(text, sizeof text, "\r\nWeir-Reason: %s\r\n", cases[i].reason);
        near_ask(&near, ORDER, text);
        assert_true(near_has(&near, "HTTP/1.1 502 Bad Gateway\r\n"));
        assert_true(near_has(&near, "\r\nWeir-Outcome: unknown\r\n"));
        assert_true(near_has(&near, RETRY("no")));
        next_line(&line);
        assert_verdict(&line, cases[i].reason, "unknown", "processor", "W");
        assert_line(&line, "weir.attempts", "1");
        assert_int_equal(far.accepted, i + 1); /* one link for one request */
        near_close(&near, false);
    }
}

static void test_half_an_answer_is_cut_so_that_nobody_takes_it_for_a_whole_one(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    far.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf!\r\n";
    far.shut_after = true;
    near_open(&near);
    near_say(&near, ORDER);
    assert_int_equal(near_end(&near), ERR_RESET);
    assert_false(near_has(&near, "\r\n0\r\n\r\n"));
    next_line(&line);
    assert_verdict(&line, "response_incomplete", "unknown", "processor", "A");
    assert_line(&line, "http.response.status_code", "200");
    near_close(&near, false);
}

static void test_an_answer_that_never_ends_is_cut_at_the_total(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_processor(", timeouts: {connect: 500ms, response: 500ms, total: 1s}");
    far.answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    near_open(&near);
    near_say(&near, ORDER);
    assert_int_equal(near_end(&near), ERR_RESET);
    next_line(&line);
    assert_verdict(&line, "response_timeout", "unknown", "timeout", "A");
    near_close(&near, false);
}

/* ---- the client leaves ---- */

static void test_a_client_that_leaves_before_the_first_byte_out_cancels(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\npa");
    UNTIL(world.loop, world_state().exchanges == 1);
    near_close(&near, true);
    UNTIL(world.loop, world_state().exchanges == 0);
    next_line(&line);
    assert_verdict(&line, "client_gone", "not_sent", "client", "B");
    assert_line(&line, "http.response.status_code", "499");
    assert_int_equal(far.accepted, 0);
}

static void test_a_client_that_leaves_while_it_waits_for_a_link_is_never_sent(void **state)
{
    struct end held, gone;
    struct line line;

    (void)state;
    open_processor(", pool: {connections: 1}");
    near_open(&held);
    near_say(&held, ORDER);
    UNTIL(world.loop, far_bytes() > 0);
    size_t sent_bytes = far_bytes();
    near_open(&gone);
    near_say(&gone, ORDER);
    UNTIL(world.loop, world_state().exchanges == 2);
    near_close(&gone, true);
    UNTIL(world.loop, world_state().exchanges == 1);
    next_line(&line);
    assert_verdict(&line, "client_gone", "not_sent", "client", "L");
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&held, "\r\n\r\nok"));
    next_line(&line);
    assert_int_equal(far_bytes(), sent_bytes);
    near_close(&held, false);
}

static void test_a_payment_whose_client_left_is_seen_to_its_end(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, ORDER);
    UNTIL(world.loop, far_bytes() > 0);
    near_close(&near, true);
    UNTIL(world.loop, world_state().clients == 0);
    assert_int_equal(world_state().exchanges, 1);
    assert_int_equal(world_state().exchanges_sent, 1);
    far_say(0, ANSWER);
    UNTIL(world.loop, world_state().exchanges == 0);
    assert_int_equal(world_state().exchanges_sent, 0);
    next_line(&line);
    assert_verdict(&line, "client_gone", "answered", "client", "A");
    assert_line(&line, "http.response.status_code", "499");
    assert_line(&line, "bytes_out", "0");
}

static void test_a_streamed_request_that_stops_half_way_is_unknown(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.pay = ", stream: request"});
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    UNTIL(world.loop, far_has(0, "half"));
    near_close(&near, true);
    UNTIL(world.loop, far.ends[0].stream == NULL); /* the processor must not wait for the rest */
    next_line(&line);
    assert_verdict(&line, "client_gone", "unknown", "client", "S");
}

static void test_a_streamed_request_that_dawdles_is_unknown_and_never_safe(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.listener = ", timeouts: {body: 200ms}", .pay = ", stream: request"});
    near_open(&near);
    near_ask(&near, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf", REASON("request_timeout"));
    assert_true(near_has(&near, "\r\nWeir-Outcome: unknown\r\n"));
    assert_true(near_has(&near, RETRY("no")));
    next_line(&line);
    assert_verdict(&line, "request_timeout", "unknown", "timeout", "S");
    near_close(&near, false);
}

/* ---- the machine ---- */

static void move_backwards(void)
{
    struct exchange x = {.phase = PHASE_WAIT};

    exchange_enter(&x, PHASE_SEND); /* a second sending */
}

static void leave_done(void)
{
    struct exchange x = {.phase = PHASE_DONE};

    exchange_enter(&x, PHASE_LINK);
}

static void skip_the_body(void)
{
    struct exchange x = {.phase = PHASE_HEAD};

    exchange_enter(&x, PHASE_SEND);
}

static void test_a_phase_that_the_story_does_not_have_next_stops_the_process(void **state)
{
    struct exchange x = {.phase = PHASE_SEND, .now_us = 5};

    (void)state;
    assert_true(aborts(move_backwards));
    assert_true(aborts(leave_done));
    assert_true(aborts(skip_the_body));
    exchange_enter(&x, PHASE_LINK); /* nothing was taken: another link may try */
    x.now_us = 7;
    exchange_enter(&x, PHASE_SEND);
    assert_int_equal(x.phase_at_us[PHASE_LINK], 5);
    assert_int_equal(x.phase_at_us[PHASE_SEND], 7);
    exchange_enter(&x, PHASE_LINK);
    assert_int_equal(x.phase_at_us[PHASE_LINK], 5); /* the first time counts */
}

static void test_every_phase_has_a_letter_of_its_own(void **state)
{
    char letters[PHASE_COUNT + 1] = "";

    (void)state;
    for (int i = 0; i < PHASE_COUNT; i++) {
        char letter = exchange_phase_letter((enum exchange_phase)i);
        assert_null(strchr(letters, letter));
        letters[i] = letter;
    }
    assert_string_equal(letters, "HRBKLSWACTD"); /* docs/operations.md */
    assert_string_equal(exchange_phase_name(PHASE_SEND), "SEND");
}

static void test_every_fault_has_its_reason(void **state)
{
    (void)state;
    assert_int_equal(reason_of_fault(HTTP_FAULT_MALFORMED), REASON_BAD_REQUEST);
    assert_int_equal(reason_of_fault(HTTP_FAULT_METHOD), REASON_METHOD_NOT_ALLOWED);
    assert_int_equal(reason_of_fault(HTTP_FAULT_NOT_IMPLEMENTED), REASON_NOT_IMPLEMENTED);
    assert_int_equal(reason_of_fault(HTTP_FAULT_VERSION), REASON_VERSION_UNSUPPORTED);
    assert_int_equal(reason_of_fault(HTTP_FAULT_URI_TOO_LONG), REASON_URI_TOO_LONG);
    assert_int_equal(reason_of_fault(HTTP_FAULT_HEAD_TOO_LARGE), REASON_HEADER_TOO_LARGE);
    assert_int_equal(reason_of_fault(HTTP_FAULT_BODY_TOO_LARGE), REASON_BODY_TOO_LARGE);
    assert_int_equal(reason_of_fault(HTTP_FAULT_EXPECTATION), REASON_EXPECTATION_FAILED);
    assert_int_equal(reason_of_fault(HTTP_FAULT_NO_ROOM), REASON_SHED);
    /* A refusal comes before a byte was taken, a failure after: their reasons must say so by themselves. */
    for (unsigned i = CALL_QUEUE_FULL; i <= CALL_BREAKER_OPEN; i++) {
        assert_int_equal(reason_outcome(reason_of_refusal((enum call_refusal)i)), OUTCOME_NOT_SENT);
        assert_int_not_equal(reason_of_refusal((enum call_refusal)i), REASON_INTERNAL_ERROR);
    }
    for (unsigned i = CALL_CLOSED; i <= CALL_MALFORMED; i++) {
        assert_int_equal(reason_outcome(reason_of_failure((enum call_failure)i)), OUTCOME_UNKNOWN);
        assert_int_not_equal(reason_of_failure((enum call_failure)i), REASON_INTERNAL_ERROR);
    }
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_a_payment_is_answered_counted_and_logged),
        WORLD_TEST(test_a_status_that_proves_nothing_is_relayed_as_unknown_for_a_payment_only),
        WORLD_TEST(test_an_early_answer_ends_a_streamed_request_and_its_connection),
        WORLD_TEST(test_what_breaks_off_while_it_is_read_is_not_sent),
        WORLD_TEST(test_without_room_a_request_is_shed_and_the_next_one_is_served_when_there_is),
        WORLD_TEST(test_a_body_that_finds_no_room_is_shed_unsent),
        WORLD_TEST(test_a_request_that_was_sent_is_not_refused_room_for_its_answer),
        WORLD_TEST(test_a_processor_that_refuses_connections_is_told_as_not_sent),
        WORLD_TEST(test_a_full_queue_refuses_and_who_waits_in_it_is_served),
        WORLD_TEST(test_a_place_in_the_queue_ends_with_the_deadline),
        WORLD_TEST(test_silence_is_unknown_and_the_link_is_never_used_again),
        WORLD_TEST(test_a_link_that_breaks_before_the_answer_is_unknown_and_is_not_tried_again),
        WORLD_TEST(test_half_an_answer_is_cut_so_that_nobody_takes_it_for_a_whole_one),
        WORLD_TEST(test_an_answer_that_never_ends_is_cut_at_the_total),
        WORLD_TEST(test_a_client_that_leaves_before_the_first_byte_out_cancels),
        WORLD_TEST(test_a_client_that_leaves_while_it_waits_for_a_link_is_never_sent),
        WORLD_TEST(test_a_payment_whose_client_left_is_seen_to_its_end),
        WORLD_TEST(test_a_streamed_request_that_stops_half_way_is_unknown),
        WORLD_TEST(test_a_streamed_request_that_dawdles_is_unknown_and_never_safe),
        cmocka_unit_test(test_a_phase_that_the_story_does_not_have_next_stops_the_process),
        cmocka_unit_test(test_every_phase_has_a_letter_of_its_own),
        cmocka_unit_test(test_every_fault_has_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
