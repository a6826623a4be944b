/*
 * The access line: valid JSON with the documented fields and no other, whatever
 * the caller sent; never a query, a key, a credential or a card number; always
 * within its length.
 */
#include "gate_support.h"

#define SECRETS                                                                                                        \
    "Authorization: Bearer sk_live_secret\r\nIdempotency-Key: order-secret\r\nCookie: sid=secret\r\nX-Other: secret\r\n"

static struct logbook book;
static struct blocks blocks;
static struct arena arena;
static struct gate gate;
static struct conf_listener listener = {.name = "public"};
static struct route_ready route;
static struct exchange x;
static struct line line;

static int begin(void **state)
{
    static const char access[] = "\"http.route\":\"pay\",\"weir.route\":\"pay\",\"weir.processor\":\"acme\"";

    (void)state;
    logbook_open(&book);
    blocks_init(&blocks, 0, 0);
    arena_init(&arena, &blocks);
    gate.options.log = book.log;
    memcpy(route.access, access, sizeof access);
    route.access_len = sizeof access - 1;
    x = (struct exchange){
        .gate = &gate,
        .listener = &listener,
        .request_id = "0123456789abcdef0123456789abcdef",
        .phase_at_us = {[PHASE_HEAD] = 1000},
        .now_us = 51000,
        .ended_in = PHASE_HEAD,
    };
    assert_true(addr_parse(BYTES("192.0.2.7:4711"), &x.peer));
    return 0;
}

static int end(void **state)
{
    (void)state;
    logbook_close(&book);
    arena_reset(&arena);
    blocks_close(&blocks);
    return 0;
}

static void read_head(const char *text)
{
    const struct http_limits limits = {65536, 32768, UINT64_MAX};
    struct bytes data = bytes_from_text(text);
    struct bytes body;

    x.message = http_message_new(&arena, HTTP_REQUEST_MESSAGE, &limits, false);
    assert_int_equal(http_message_feed(x.message, &data, &body), HTTP_HEAD);
    x.head = http_message_head(x.message);
}

/* A head that no parser let through: what the line must stand, should one ever. */
static void take_head(const char *path, const char *agent, size_t agent_len)
{
    static struct http_field field;
    static struct http_head head;

    field = (struct http_field){BYTES("User-Agent"), bytes_of(agent, agent_len), HTTP_FIELD_USER_AGENT, false};
    head = (struct http_head){.method = BYTES("GET"), .path = bytes_from_text(path), .fields = &field, .field_count = 1,
                              .seen = 1u << HTTP_FIELD_USER_AGENT};
    x.head = &head;
}

static void write_line(void)
{
    access_write(&x);
    logbook_next(&book, &line);
}

static void assert_keys(const char *const *keys, int count)
{
    for (int i = 0; i < count && i < line.count; i++) {
        assert_string_equal(line.keys[i], keys[i]);
    }
    assert_int_equal(line.count, count);
}

static void test_a_whole_exchange_has_every_field_in_order(void **state)
{
    static const char *const keys[] = {
        "timestamp", "request_id", "x_request_id", "http.request.method", "url.path", "user_agent.original",
        "network.protocol.version", "client.address", "tls.protocol.version", "weir.listener", "http.route", "weir.route",
        "weir.processor", "server.address", "weir.attempts", "weir.link_reused", "http.response.status_code", "weir.reason",
        "weir.code", "weir.outcome", "weir.ended_by", "weir.phase", "weir.why", "bytes_in", "bytes_out", "t_total_us",
        "t_read_us", "t_queue_us", "t_connect_us", "t_ttfb_us", "t_overhead_us"};

    (void)state;
    read_head("POST /v1/payments?secret=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nUser-Agent: till/1.0\r\n" SECRETS
              "Content-Length: 0\r\n\r\n");
    x.route = &route;
    x.tls_version = "TLSv1.3";
    x.call = (struct call){.state = CALL_ENDED, .attempts = 1, .first_byte_us = 43000};
    x.attempts = 1;
    x.phase_at_us[PHASE_LINK] = 2000;
    x.phase_at_us[PHASE_SEND] = 3000;
    x.ended_in = PHASE_RELAY;
    x.reason = REASON_RESPONSE_INCOMPLETE;
    x.outcome = OUTCOME_UNKNOWN;
    x.ended_by = ENDED_BY_PROCESSOR;
    x.status = 200;
    x.bytes_in = 7;
    x.bytes_out = 9;
    (void)snprintf(x.why, sizeof x.why, "the peer said \"no\"");
    write_line();
    assert_keys(keys, (int)ARRAY_COUNT(keys));
    assert_line(&line, "request_id", x.request_id);
    assert_line(&line, "x_request_id", "mine");
    assert_line(&line, "http.request.method", "POST");
    assert_line(&line, "url.path", "/v1/payments");
    assert_line(&line, "user_agent.original", "till/1.0");
    assert_line(&line, "client.address", "192.0.2.7");
    assert_line(&line, "tls.protocol.version", "TLSv1.3");
    assert_line(&line, "weir.listener", "public");
    assert_line(&line, "weir.processor", "acme");
    assert_line(&line, "weir.attempts", "2");
    assert_line(&line, "weir.link_reused", "false");
    assert_line(&line, "http.response.status_code", "200");
    assert_line(&line, "weir.code", "RI");
    assert_verdict(&line, "response_incomplete", "unknown", "processor", "A");
    assert_line(&line, "weir.why", "the peer said \"no\"");
    assert_line(&line, "bytes_in", "7");
    assert_line(&line, "bytes_out", "9");
}

/* total = read + queue + the processor's part; what is not the processor's is weir's. */
static void test_the_times_add_up(void **state)
{
    (void)state;
    read_head(ASK);
    x.route = &route;
    x.call = (struct call){.state = CALL_ENDED, .attempts = 1, .first_byte_us = 43000};
    x.phase_at_us[PHASE_LINK] = 2000;
    x.phase_at_us[PHASE_SEND] = 3000;
    write_line();
    assert_line(&line, "t_total_us", "50000");
    assert_line(&line, "t_read_us", "1000");
    assert_line(&line, "t_queue_us", "1000");
    assert_line(&line, "t_connect_us", "0");
    assert_line(&line, "t_ttfb_us", "40000");
    assert_line(&line, "t_overhead_us", "2000");
}

static void test_an_exchange_without_a_head_has_what_is_known(void **state)
{
    static const char *const keys[] = {"timestamp",  "request_id",  "client.address", "weir.listener", "http.response.status_code",
                                       "weir.reason", "weir.code",  "weir.outcome",   "weir.ended_by", "weir.phase",
                                       "weir.why",    "bytes_in",   "bytes_out",      "t_total_us"};

    (void)state;
    x.reason = REASON_BAD_REQUEST;
    x.status = 400;
    x.ended_by = ENDED_BY_CLIENT;
    (void)snprintf(x.why, sizeof x.why, "a control byte");
    write_line();
    assert_keys(keys, (int)ARRAY_COUNT(keys));
    assert_verdict(&line, "bad_request", "not_sent", "client", "H");
}

static void test_the_time_is_utc_with_microseconds(void **state)
{
    int len = 0;
    int year, month, day, hour, minute, second, us;

    (void)state;
    write_line();
    const char *time = line_value(&line, "timestamp");
    assert_int_equal(sscanf(time, "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ%n", &year, &month, &day, &hour, &minute, &second, &us, &len), 7);
    assert_int_equal(len, strlen(time));
    assert_int_equal(len, LOG_TIME_BYTES - 1);
}

static void test_nothing_secret_is_in_the_line(void **state)
{
    (void)state;
    read_head("GET /v1/payments?secret=1&card=4242424242424242 HTTP/1.1\r\nHost: a\r\n" SECRETS "\r\n");
    x.route = &route;
    access_write(&x);
    char *text = logbook_next_text(&book);
    assert_null(strstr(text, "secret"));
    assert_null(strstr(text, "4242424242424242"));
    assert_null(strchr(text, '?'));
    free(text);
}

static void test_card_numbers_are_masked_wherever_a_caller_may_put_them(void **state)
{
    (void)state;
    read_head("GET /cards/4242424242424242/x HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-4242424242424242\r\n"
              "User-Agent: pan 4242 4242 4242 4242\r\n\r\n");
    (void)snprintf(x.why, sizeof x.why, "refused: 4242-4242-4242-4242");
    access_write(&x);
    char *text = logbook_next_text(&book);
    line_read(&line, text);
    assert_null(strstr(text, "4242424242"));
    assert_null(strstr(text, "4242 4242 4242"));
    assert_null(strstr(text, "4242-4242-4242"));
    assert_int_equal(strncmp(line_value(&line, "url.path"), "/cards/", 7), 0);
    assert_int_equal(strlen(line_value(&line, "url.path")), strlen("/cards/4242424242424242/x"));
    free(text);
}

static void test_a_long_path_is_cut_and_the_line_goes_on(void **state)
{
    static char request[9000];

    (void)state;
    int len = snprintf(request, sizeof request, "GET /");
    memset(request + len, 'a', 8000);
    (void)snprintf(request + len + 8000, 200, " HTTP/1.1\r\nHost: a\r\n\r\n");
    read_head(request);
    write_line();
    assert_int_equal(strlen(line_value(&line, "url.path")), 512);
    assert_non_null(line_value(&line, "t_total_us"));
}

static void test_bytes_that_are_no_text_are_escaped(void **state)
{
    const char hostile[] = "\"},{\\\n\x01\x7f\xff\xc3\x28\xed\xa0\x80 \xe2\x82\xac";

    (void)state;
    take_head("/\"\\\r\n{}", hostile, sizeof hostile - 1);
    access_write(&x);
    char *text = logbook_next_text(&book);
    line_read(&line, text);
    assert_line(&line, "url.path", "/\"\\\r\n{}");
    assert_int_equal(strncmp(line_value(&line, "user_agent.original"), "\"},{\\\n\x01", 7), 0);
    assert_non_null(strstr(text, "\xe2\x82\xac")); /* what is UTF-8 stays */
    assert_null(strchr(text, '\xff'));
    free(text);
}

static void test_however_much_must_be_escaped_the_line_keeps_its_length_and_its_end(void **state)
{
    static char worst[4096];
    static struct http_field fields[2];
    static struct http_head head;

    (void)state;
    memset(worst, 1, sizeof worst - 1);
    memset(x.why, 1, sizeof x.why - 1);
    fields[0] = (struct http_field){BYTES("X-Request-Id"), bytes_from_text(worst), HTTP_FIELD_X_REQUEST_ID, false};
    fields[1] = (struct http_field){BYTES("User-Agent"), bytes_from_text(worst), HTTP_FIELD_USER_AGENT, false};
    head = (struct http_head){.method = BYTES("GET"), .path = bytes_from_text(worst), .fields = fields, .field_count = 2,
                              .seen = 1u << HTTP_FIELD_USER_AGENT | 1u << HTTP_FIELD_X_REQUEST_ID};
    x.head = &head;
    x.route = &route;
    access_write(&x);
    char *text = logbook_next_text(&book);
    assert_true(strlen(text) < LOG_LINE_BYTES);
    line_read(&line, text);
    assert_line(&line, "http.request.method", "GET");
    assert_line(&line, "weir.outcome", "not_sent");
    assert_non_null(line_value(&line, "t_total_us"));
    assert_int_equal(strlen(line_value(&line, "x_request_id")), 512);
    assert_null(line_value(&line, "url.path")); /* no room that is not weir's own: left out whole */
    assert_null(line_value(&line, "user_agent.original"));
    assert_int_equal(strlen(line_value(&line, "weir.why")), sizeof x.why - 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_whole_exchange_has_every_field_in_order, begin, end),
        cmocka_unit_test_setup_teardown(test_the_times_add_up, begin, end),
        cmocka_unit_test_setup_teardown(test_an_exchange_without_a_head_has_what_is_known, begin, end),
        cmocka_unit_test_setup_teardown(test_the_time_is_utc_with_microseconds, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_secret_is_in_the_line, begin, end),
        cmocka_unit_test_setup_teardown(test_card_numbers_are_masked_wherever_a_caller_may_put_them, begin, end),
        cmocka_unit_test_setup_teardown(test_a_long_path_is_cut_and_the_line_goes_on, begin, end),
        cmocka_unit_test_setup_teardown(test_bytes_that_are_no_text_are_escaped, begin, end),
        cmocka_unit_test_setup_teardown(test_however_much_must_be_escaped_the_line_keeps_its_length_and_its_end, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
