/*
 * The request as the processor receives it, byte by byte, for whatever a client
 * sent: written anew, in one order, with one length and with forwarding fields
 * that weir vouches for.
 */
#include "gate_support.h"

#define ID "X-Request-Id: mine\r\n"
/* What weir adds for a client on this machine. */
#define OURS                                                                                                           \
    "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"                                                        \
    "Forwarded: for=127.0.0.1;host=\"pay.example\";proto=http\r\n"
#define VIA "Via: 1.1 weir\r\n"
#define TRUST ", trusted: ['127.0.0.1', '10.0.0.0/8']"

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

static void open_plain(void)
{
    world_open((struct world_wishes){0});
    far.answer = ANSWER;
}

static void open_with(const char *listener)
{
    world_open((struct world_wishes){.listener = listener});
    far.answer = ANSWER;
}

/* Sends a request on a connection of its own and waits for the answer. */
static void pass(const char *request)
{
    struct end near;
    struct line line;

    near_open(&near);
    near_say(&near, request);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    assert_line(&line, "weir.outcome", "answered");
    near_close(&near, false);
}

/* The processor received exactly this, on its first link. */
static void assert_received(const char *expected)
{
    assert_int_equal(far.accepted, 1);
    assert_string_equal(far.ends[0].in, expected);
}

static void assert_part(const char *expected)
{
    if (!far_has(0, expected)) {
        fail_msg("not received: %s\nbut: %s", expected, far.ends[0].in);
    }
}

static void test_the_head_is_written_anew_in_one_order(void **state)
{
    (void)state;
    open_plain();
    pass("POST /v1/payments?x=1 HTTP/1.1\r\n"
         "accept:   */*  \r\n"
         "Host: pay.example\r\n"
         "Connection: close, X-Mine\r\n"
         "X-Mine: for weir alone\r\n"
         "Keep-Alive: timeout=5\r\n"
         "Weir-Outcome: answered\r\n"
         "Idempotent-Replayed: true\r\n"
         "X-Real-IP: 203.0.113.9\r\n"
         "Idempotency-Key: k1\r\n"
         "Content-Length: 4\r\n" ID "\r\npay!");
    assert_received("POST /v1/payments?x=1 HTTP/1.1\r\n"
                    "Host: api.acme.example\r\n"
                    "accept: */*\r\n"
                    "Idempotency-Key: k1\r\n" ID OURS VIA "Content-Length: 4\r\n\r\npay!");
}

static void test_strangers_are_not_believed(void **state)
{
    (void)state;
    open_plain();
    pass("GET /v1/payments/1 HTTP/1.1\r\nHost: pay.example\r\nX-Forwarded-For: 203.0.113.9\r\n"
         "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=203.0.113.9\r\n" ID "\r\n");
    assert_received("GET /v1/payments/1 HTTP/1.1\r\nHost: api.acme.example\r\n" ID OURS VIA "\r\n");
}

static void test_trusted_hops_are_kept_in_front_of_our_own(void **state)
{
    (void)state;
    open_with(TRUST);
    pass("GET /v1/payments/1 HTTP/1.1\r\nHost: pay.example\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n"
         "X-Forwarded-For: 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n"
         "Forwarded: for=203.0.113.9\r\n" ID "\r\n");
    assert_received("GET /v1/payments/1 HTTP/1.1\r\nHost: api.acme.example\r\n" ID
                    "X-Forwarded-For: 203.0.113.9, 10.0.0.1, 10.0.0.2, 127.0.0.1\r\n"
                    "X-Forwarded-Proto: https\r\n"
                    "Forwarded: for=203.0.113.9, for=127.0.0.1;host=\"pay.example\";proto=http\r\n" VIA "\r\n");
}

static void test_a_protocol_that_there_is_not_is_not_passed_on(void **state)
{
    (void)state;
    open_with(TRUST);
    pass("GET /v1/payments/1 HTTP/1.1\r\nHost: pay.example\r\nX-Forwarded-Proto: gopher\r\n\r\n");
    assert_part("\r\nX-Forwarded-Proto: http\r\n");
}

static void test_the_address_of_a_proxy_header_is_the_clients(void **state)
{
    (void)state;
    open_with(", proxy_protocol: required" TRUST);
    pass("PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n"
         "GET /v1/payments/1 HTTP/1.1\r\nHost: pay.example\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    assert_part("\r\nX-Forwarded-For: 2001:db8::7\r\n"); /* that client is no trusted one */
    assert_part("\r\nForwarded: for=\"[2001:db8::7]\";host=\"pay.example\";proto=http\r\n");
}

static void test_the_clients_host_is_passed_where_the_processor_wants_it(void **state)
{
    (void)state;
    world_open((struct world_wishes){.processor = ", host: pass"});
    far.answer = ANSWER;
    pass("GET /v1/payments/1 HTTP/1.1\r\nHost: Pay.Example:8443\r\n\r\n");
    assert_part("\r\nHost: Pay.Example:8443\r\n");
    assert_part(";host=\"Pay.Example:8443\";");
    assert_false(far_has(0, "api.acme.example"));
}

static void test_an_id_is_made_where_the_caller_has_none(void **state)
{
    struct line line;
    struct end near;
    char expected[100];

    (void)state;
    open_plain();
    near_open(&near);
    near_say(&near, ASK);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    (void)snprintf(expected, sizeof expected, "\r\nX-Request-Id: %s\r\n", line_value(&line, "request_id"));
    assert_part(expected);
    assert_true(near_has(&near, expected));
    assert_null(line_value(&line, "x_request_id"));
    near_close(&near, false);
}

static void test_a_length_is_told_wherever_a_body_might_be(void **state)
{
    static const struct {
        const char *request, *end;
    } cases[] = {
        {"POST /v1/payments HTTP/1.1\r\nHost: a\r\n\r\n", VIA "Content-Length: 0\r\n\r\n"},
        {"DELETE /v1/payments/1 HTTP/1.1\r\nHost: a\r\n\r\n", VIA "Content-Length: 0\r\n\r\n"},
        {"GET /v1/payments/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", VIA "\r\n"},
        {"GET /v1/payments/1 HTTP/1.1\r\nHost: a\r\n\r\n", VIA "\r\n"},
        {"POST /v1/payments HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: x\r\n\r\n",
         VIA "Content-Length: 5\r\n\r\nabcde"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        open_plain();
        pass(cases[i].request);
        size_t len = strlen(cases[i].end);
        assert_true(far.ends[0].in_bytes > len);
        assert_string_equal(far.ends[0].in + far.ends[0].in_bytes - len, cases[i].end);
        if (i + 1 < ARRAY_COUNT(cases)) {
            world_close();
        }
    }
}

static void test_continue_is_answered_here_and_expect_goes_no_further(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_plain();
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: pay.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n" ID "\r\n");
    UNTIL(world.loop, end_has(&near, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_int_equal(far.accepted, 0);
    near_say(&near, "pay!");
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    assert_received("POST /v1/payments HTTP/1.1\r\nHost: api.acme.example\r\n" ID OURS VIA "Content-Length: 4\r\n\r\npay!");
    next_line(&line);
    near_close(&near, false);
}

/* More runs than one write takes, and more bytes than the kernel takes at once. */
static void test_a_body_of_many_runs_arrives_whole(void **state)
{
    enum { BODY = 900 * 1024 };
    struct end near;
    struct line line;
    char head[200];
    char *body = malloc(BODY + 1);

    (void)state;
    assert_non_null(body);
    for (size_t i = 0; i < BODY; i++) {
        body[i] = (char)('a' + i % 26 * (i / 26 % 2) + i / 997 % 3); /* no period that a lost block would fit */
    }
    body[BODY] = '\0';
    world_open((struct world_wishes){.pay = ", body: 1MiB"});
    near_open(&near);
    (void)snprintf(head, sizeof head, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
    near_say(&near, head);
    near_say(&near, body);
    UNTIL(world.loop, far.accepted == 1 && far.ends[0].in_bytes > BODY && far_has(0, body));
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    assert_line(&line, "bytes_in", "921600");
    near_close(&near, false);
    free(body);
}

static void test_a_streamed_body_is_sent_before_it_is_whole_and_framed_anew(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.pay = ", stream: request"});
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: pay.example\r\nTransfer-Encoding: chunked\r\n" ID "\r\n"
                    "3;name=value\r\nabc\r\n");
    UNTIL(world.loop, far_has(0, "3\r\nabc\r\n"));
    near_say(&near, "0a\r\n0123456789\r\n");
    UNTIL(world.loop, far_has(0, "a\r\n0123456789\r\n"));
    near_say(&near, "0\r\nX-Sum: x\r\n\r\n");
    UNTIL(world.loop, far_has(0, "\r\n0\r\n\r\n"));
    assert_received("POST /v1/payments HTTP/1.1\r\nHost: api.acme.example\r\n" ID OURS VIA
                    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n");
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    assert_line(&line, "bytes_in", "13");
    near_close(&near, false);
}

static void test_a_streamed_body_keeps_its_length(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.pay = ", stream: request"});
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 8\r\n" ID "\r\nhalf");
    UNTIL(world.loop, far_has(0, "\r\n\r\nhalf"));
    near_say(&near, "more");
    UNTIL(world.loop, far_has(0, "halfmore"));
    assert_received("POST /v1/payments HTTP/1.1\r\nHost: api.acme.example\r\n" ID OURS VIA
                    "Content-Length: 8\r\n\r\nhalfmore");
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    near_close(&near, false);
}

/* A chain of trusted hops may have grown beyond what weir writes heads into: told, not cut. */
static void test_a_head_that_does_not_fit_with_what_weir_adds_is_refused_unsent(void **state)
{
    enum { FIELD = 90 * 1024 };
    char *value = malloc(FIELD + 1);
    struct end near;
    struct line line;

    (void)state;
    assert_non_null(value);
    memset(value, 'a', FIELD);
    value[FIELD] = '\0';
    world_open((struct world_wishes){.listener = ", limits: {header: 128KiB}"});
    near_open(&near);
    near_say(&near, "GET /v1/payments/1 HTTP/1.1\r\nHost: pay.example\r\nX-Large: ");
    near_say(&near, value);
    near_say(&near, "\r\n\r\n");
    UNTIL(world.loop, near_has(&near, "\r\nWeir-Reason: header_too_large\r\n"));
    next_line(&line);
    assert_verdict(&line, "header_too_large", "not_sent", "client", "S");
    assert_int_equal(far_bytes(), 0);
    near_close(&near, false);
    free(value);
}

/* ---- whose address it is ---- */

static const char *client_address(const char *peer, bool trusted, const char *lines)
{
    static char text[ADDR_TEXT_BYTES];
    static char request[1000];
    static struct addr_net nets[1];
    static struct blocks blocks;
    static struct arena arena;
    const struct conf_listener listener = {.trusted = nets, .trusted_count = 1};
    const struct http_limits limits = {4096, 1024, 0};
    struct exchange x = {.listener = &listener, .peer_trusted = trusted};
    struct bytes body;

    blocks_init(&blocks, 0, 0);
    arena_init(&arena, &blocks);
    assert_true(addr_net_parse(BYTES("10.0.0.0/8"), &nets[0]));
    assert_true(addr_parse_host(bytes_from_text(peer), 1, &x.peer));
    (void)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    struct bytes data = bytes_from_text(request);
    x.message = http_message_new(&arena, HTTP_REQUEST_MESSAGE, &limits, false);
    assert_int_equal(http_message_feed(x.message, &data, &body), HTTP_HEAD);
    x.head = http_message_head(x.message);
    struct bytes address = forward_client_address(&x, text);
    assert_int_equal(address.len, strlen(text));
    arena_reset(&arena);
    blocks_close(&blocks);
    return text;
}

static void test_the_clients_address_is_the_last_hop_that_is_not_trusted(void **state)
{
    (void)state;
#define XFF "X-Forwarded-For: "
    assert_string_equal(client_address("203.0.113.1", false, XFF "192.0.2.1\r\n"), "203.0.113.1");
    assert_string_equal(client_address("10.0.0.9", true, ""), "10.0.0.9");
    assert_string_equal(client_address("10.0.0.9", true, XFF "192.0.2.1\r\n"), "192.0.2.1");
    assert_string_equal(client_address("10.0.0.9", true, XFF "192.0.2.1, 10.0.0.1\r\n"), "192.0.2.1");
    assert_string_equal(client_address("10.0.0.9", true, XFF "192.0.2.1\r\n" XFF "10.0.0.1\r\n"), "192.0.2.1");
    /* What stands before the first untrusted hop is that hop's word alone. */
    assert_string_equal(client_address("10.0.0.9", true, XFF "198.51.100.1, 192.0.2.1\r\n"), "192.0.2.1");
    assert_string_equal(client_address("10.0.0.9", true, XFF "198.51.100.1\r\n" XFF "192.0.2.1\r\n"), "192.0.2.1");
    assert_string_equal(client_address("10.0.0.9", true, XFF "192.0.2.1, nonsense, 10.0.0.1\r\n"), "10.0.0.1");
    assert_string_equal(client_address("10.0.0.9", true, XFF "2001:db8::1\r\n"), "2001:db8::1");
    assert_string_equal(client_address("10.0.0.9", true, XFF "10.0.0.1, 10.0.0.2\r\n"), "10.0.0.1");
#undef XFF
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_head_is_written_anew_in_one_order, begin, end),
        cmocka_unit_test_setup_teardown(test_strangers_are_not_believed, begin, end),
        cmocka_unit_test_setup_teardown(test_trusted_hops_are_kept_in_front_of_our_own, begin, end),
        cmocka_unit_test_setup_teardown(test_a_protocol_that_there_is_not_is_not_passed_on, begin, end),
        cmocka_unit_test_setup_teardown(test_the_address_of_a_proxy_header_is_the_clients, begin, end),
        cmocka_unit_test_setup_teardown(test_the_clients_host_is_passed_where_the_processor_wants_it, begin, end),
        cmocka_unit_test_setup_teardown(test_an_id_is_made_where_the_caller_has_none, begin, end),
        cmocka_unit_test_setup_teardown(test_a_length_is_told_wherever_a_body_might_be, begin, end),
        cmocka_unit_test_setup_teardown(test_continue_is_answered_here_and_expect_goes_no_further, begin, end),
        cmocka_unit_test_setup_teardown(test_a_body_of_many_runs_arrives_whole, begin, end),
        cmocka_unit_test_setup_teardown(test_a_streamed_body_is_sent_before_it_is_whole_and_framed_anew, begin, end),
        cmocka_unit_test_setup_teardown(test_a_streamed_body_keeps_its_length, begin, end),
        cmocka_unit_test_setup_teardown(test_a_head_that_does_not_fit_with_what_weir_adds_is_refused_unsent, begin, end),
        cmocka_unit_test(test_the_clients_address_is_the_last_hop_that_is_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
