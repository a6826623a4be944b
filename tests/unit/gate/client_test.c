/*
 * A client's connection: one request at a time and in order, whatever is sent
 * ahead; memory that a slow or greedy peer cannot grow; and how it is closed,
 * so that the peer gets the last answer whole.
 */
#include "gate_support.h"

#include "client_internal.h"

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

static void open_listener(const char *listener)
{
    world_open((struct world_wishes){.listener = listener});
}

static void open_default(void)
{
    open_listener(NULL);
}

/* The gate's side of the only connection. */
static struct client *only_client(void)
{
    assert_int_equal(world_state().clients, 1);
    return container_of(world.gate->clients.next, struct client, in_clients);
}

static char *filler(size_t len)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    memset(text, 'x', len);
    text[len] = '\0';
    return text;
}

/* ---- in order ---- */

static void test_pipelined_requests_are_sent_one_by_one_and_answered_in_order(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, "GET /v1/payments/one HTTP/1.1\r\nHost: a\r\n\r\nPOST /v1/payments HTTP/1.1\r\nHost: a\r\n"
                    "Content-Length: 3\r\n\r\ntwoGET /v1/payments/three HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(world.loop, far_has(0, "/one "));
    turn(world.loop);
    assert_false(far_has(0, "POST")); /* an answer at a time: what is behind it may depend on it */
    far_say(0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nUNO");
    UNTIL(world.loop, far_has(0, "\r\n\r\ntwo"));
    far_say(0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nDUE");
    UNTIL(world.loop, far_has(0, "/three "));
    far_say(0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nTRE");
    UNTIL(world.loop, near_has(&near, "\r\n\r\nTRE"));
    size_t one = bytes_find_text(bytes_of(near.in, near.in_bytes), BYTES("UNO"));
    size_t two = bytes_find_text(bytes_of(near.in, near.in_bytes), BYTES("DUE"));
    assert_true(one < two && two != SIZE_MAX);
    for (int i = 0; i < 3; i++) {
        next_line(&line);
    }
    assert_line(&line, "url.path", "/v1/payments/three");
    near_close(&near, false);
}

static void test_a_crlf_behind_a_body_is_no_request(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_listener(", timeouts: {header: 40ms, idle: 400ms}");
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ORDER "\r\n", "\r\n\r\nok");
    next_line(&line);
    assert_int_equal(near_end(&near), ERR_EOF); /* idle, long after a head that began would have timed out */
    assert_int_equal(world_state().exchanges_total, 1);
    assert_int_equal(near_count(&near, "HTTP/1.1 "), 1);
    near_close(&near, false);
}

static void test_a_chunked_answer_stays_chunked_and_a_counted_one_counted(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, ASK);
    UNTIL(world.loop, far_bytes() > 0);
    far_say(0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    UNTIL(world.loop, near_has(&near, "\r\n\r\n3\r\nabc\r\n")); /* as it comes */
    far_say(0, "2;x=y\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n");
    UNTIL(world.loop, near_has(&near, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
    assert_true(near_has(&near, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_false(near_has(&near, "Content-Length"));
    next_line(&line);
    assert_line(&line, "bytes_out", "5");
    near_close(&near, false);
}

/* ---- limits ---- */

static void test_what_is_sent_ahead_is_held_back_at_the_limit_and_none_of_it_is_lost(void **state)
{
    enum { REQUESTS = 120, PAD = 8000 };
    char *pad = filler(PAD);
    char *request = malloc(PAD + 200);
    struct end near;
    struct line line;

    (void)state;
    open_default();
    assert_non_null(request);
    (void)snprintf(request, PAD + 200, "GET /v1/payments/1 HTTP/1.1\r\nHost: a\r\nX-Pad: %s\r\n\r\n", pad);
    near_open(&near);
    near_say(&near, ASK);
    UNTIL(world.loop, far_bytes() > 0);
    for (int i = 0; i < REQUESTS; i++) {
        near_say(&near, request);
    }
    UNTIL(world.loop, only_client()->paused);
    for (int i = 0; i < 3; i++) {
        turn(world.loop);
        assert_true(loop_blocks(world.loop)->used_bytes <= CLIENT_PENDING_BYTES_MAX * 3);
    }
    far_say(0, ANSWER);
    far.answer = ANSWER;
    UNTIL(world.loop, near_count(&near, "\r\n\r\nok") == REQUESTS + 1);
    for (int i = 0; i <= REQUESTS; i++) {
        next_line(&line);
    }
    assert_false(only_client()->paused);
    near_close(&near, false);
    free(request);
    free(pad);
}

static void test_without_room_for_what_is_sent_ahead_the_running_answer_is_the_last(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, ORDER);
    UNTIL(world.loop, far_bytes() > 0);
    size_t sent_bytes = far_bytes();
    blocks_set_limit(loop_blocks(world.loop), 1);
    near_say(&near, ORDER);
    UNTIL(world.loop, only_client()->deaf);
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    assert_true(near_has(&near, "\r\nConnection: close\r\n"));
    assert_int_equal(near_end(&near), ERR_EOF);
    assert_int_equal(near_count(&near, "HTTP/1.1 "), 1);
    assert_int_equal(far_bytes(), sent_bytes); /* the second was not taken, and not answered: safe to send again */
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    near_close(&near, false);
}

/* True once the client is closed; until then what waits for it must stay small. */
static bool keeps_within(size_t *most)
{
    if (world_state().clients == 0 || only_client()->state == CLIENT_CLOSED) {
        return true;
    }
    size_t queued = stream_queued_bytes(only_client()->face.stream);
    *most = queued > *most ? queued : *most;
    assert_true(queued <= STREAM_QUEUE_HIGH_BYTES * 4);
    return false;
}

static void test_a_client_that_does_not_read_holds_the_processor_back_and_is_given_up(void **state)
{
    enum { BODY = 48 * 1024 * 1024 }; /* more than all kernel buffers on the way */
    char *body = filler(BODY);
    struct end near;
    struct line line;
    char head[100];

    (void)state;
    open_listener(", timeouts: {write: 500ms}");
    near_open(&near);
    near_say(&near, ORDER);
    UNTIL(world.loop, far_bytes() > 0);
    stream_pause(near.stream);
    (void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY);
    far_say(0, head);
    far_say(0, body);
    size_t most = 0;
    UNTIL(world.loop, keeps_within(&most));
    assert_true(most > 0);
    UNTIL(world.loop, world_state().exchanges == 0); /* the answer is still read to its end */
    next_line(&line);
    assert_verdict(&line, "client_gone", "answered", "client", "A");
    assert_line(&line, "weir.why", "the client did not read in time");
    near_close(&near, true);
    free(body);
}

/* ---- closing ---- */

/* A request that is refused before it is whole: its rest is still coming, so the connection lingers. */
#define REFUSED "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"

static void test_a_refusal_is_read_whole_by_a_client_that_is_still_sending(void **state)
{
    char *body = filler(300 * 1024);
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
    near_say(&near, body);
    UNTIL(world.loop, near.ends == 1);
    assert_int_equal(near.end_err, ERR_EOF); /* no reset, which would have taken the answer away */
    assert_true(near_has(&near, "HTTP/1.1 413 "));
    assert_true(near_has(&near, "\r\nConnection: close\r\n"));
    assert_int_equal(near.in[near.in_bytes - 1], '}');
    assert_int_equal(only_client()->state, CLIENT_LINGER);
    stream_shut(near.stream);
    UNTIL(world.loop, world_state().clients == 0);
    next_line(&line);
    assert_int_equal(world_state().exchanges_total, 1); /* the rest was no request */
    near_close(&near, false);
    free(body);
}

static void test_a_client_that_goes_on_sending_is_not_read_forever(void **state)
{
    char *more = filler(48 * 1024 * 1024); /* more than all kernel buffers on the way */
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_ask(&near, REFUSED, "HTTP/1.1 404 ");
    next_line(&line);
    near_say(&near, more);
    UNTIL(world.loop, world_state().clients == 0);
    assert_true(stream_queued_bytes(near.stream) > 0); /* closed for what was read, not once all was */
    near_close(&near, true);
    free(more);
}

/* Nothing more comes from a client that asked for the end and had no body to send: nothing is waited for. */
static void test_a_client_that_asked_for_a_close_is_closed_with_its_answer(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, "GET /v1/payments/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    UNTIL(world.loop, far_bytes() > 0);
    struct client *client = only_client();
    far_say(0, ANSWER);
    UNTIL(world.loop, world_state().exchanges == 0);
    assert_true(world_state().clients == 0 || client->state == CLIENT_CLOSED);
    assert_int_equal(near_end(&near), ERR_EOF);
    assert_true(near_has(&near, "\r\nConnection: close\r\n"));
    assert_true(near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    near_close(&near, false);
}

static void test_a_client_that_keeps_its_side_open_is_closed_after_a_while(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_ask(&near, REFUSED, "HTTP/1.1 404 ");
    next_line(&line);
    assert_int_equal(near_end(&near), ERR_EOF);
    assert_int_equal(world_state().clients, 1);
    UNTIL(world.loop, world_state().clients == 0);
    near_close(&near, false);
}

static void test_a_half_closed_client_gets_its_answer(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, ORDER ASK);
    stream_shut(near.stream);
    UNTIL(world.loop, far_bytes() > 0 && only_client()->peer_ended);
    far.answer = ANSWER;
    far_say(0, ANSWER);
    UNTIL(world.loop, near_count(&near, "\r\n\r\nok") == 2); /* and that of the request behind it */
    assert_int_equal(near_end(&near), ERR_EOF);
    for (int i = 0; i < 2; i++) {
        next_line(&line);
        assert_verdict(&line, "ok", "answered", "-", "A");
    }
    near_close(&near, false);
}

static void test_an_end_in_the_middle_of_a_request_is_leaving(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\npa");
    stream_shut(near.stream);
    (void)near_end(&near);
    assert_int_equal(near.in_bytes, 0);
    next_line(&line);
    assert_verdict(&line, "client_gone", "not_sent", "client", "B");
    assert_int_equal(far.accepted, 0);
    near_close(&near, false);
}

static void test_an_end_in_the_middle_of_a_request_sent_ahead_is_leaving_too(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_default();
    near_open(&near);
    near_say(&near, ORDER "GET /v1/pay");
    stream_shut(near.stream);
    UNTIL(world.loop, far_bytes() > 0 && only_client()->peer_ended);
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&near, "\r\n\r\nok"));
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    UNTIL(world.loop, world_state().exchanges == 0 && world_state().clients == 0);
    next_line(&line);
    assert_verdict(&line, "client_gone", "not_sent", "client", "H");
    near_close(&near, false);
}

static void test_an_idle_connection_is_ended_in_order_and_without_a_line(void **state)
{
    struct end near;

    (void)state;
    open_listener(", timeouts: {idle: 40ms}");
    near_open(&near);
    assert_int_equal(near_end(&near), ERR_EOF);
    assert_int_equal(near.in_bytes, 0);
    assert_int_equal(world_state().exchanges_total, 0);
    near_close(&near, false);
}

/* ---- the PROXY header ---- */

#define PROXY(trusted) ", proxy_protocol: required, trusted: ['" trusted "'], timeouts: {handshake: 1s}"

static void test_a_proxy_header_in_pieces_names_the_client(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_listener(PROXY("127.0.0.1"));
    far.answer = ANSWER;
    near_open(&near);
    near_say(&near, "PROXY TCP4 192.0.");
    UNTIL(world.loop, loop_blocks(world.loop)->used_bytes > 0);
    near_ask(&near, "2.7 192.0.2.1 5000 443\r\n" ASK, "\r\n\r\nok");
    next_line(&line);
    assert_line(&line, "client.address", "192.0.2.7");
    near_close(&near, false);
}

static void test_a_connection_without_its_proxy_header_is_closed(void **state)
{
    struct end near;

    (void)state;
    open_listener(PROXY("127.0.0.1"));
    near_open(&near);
    near_say(&near, ASK);
    (void)near_end(&near);
    assert_int_equal(near.in_bytes, 0);
    logbook_wait_event(&world.book, "\"event\":\"proxy_header_bad\"");
    near_close(&near, false);

    near_open(&near); /* and one that says nothing */
    (void)near_end(&near);
    assert_int_equal(world_state().exchanges_total, 0);
    near_close(&near, false);
}

static void test_a_proxy_header_of_a_stranger_is_not_even_read(void **state)
{
    struct end near;

    (void)state;
    open_listener(PROXY("10.0.0.0/8"));
    far.answer = ANSWER;
    near_connect(&near);
    UNTIL(world.loop, near_refused(&near) || near.opens == 1);
    if (!near_refused(&near)) {
        (void)end_say(&near, "PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n" ASK); /* may break already */
    }
    UNTIL(world.loop, near_refused(&near) || near.in_bytes > 0);
    assert_int_equal(near.in_bytes, 0);
    assert_int_equal(world_state().exchanges_total, 0);
    near_close(&near, false);
}

/* ---- the machine ---- */

static void idle_to_busy(void)
{
    struct client client = {.state = CLIENT_IDLE};

    client_enter(&client, CLIENT_BUSY);
}

static void back_from_linger(void)
{
    struct client client = {.state = CLIENT_LINGER};

    client_enter(&client, CLIENT_IDLE);
}

static void test_a_state_that_the_drawing_does_not_have_next_stops_the_process(void **state)
{
    struct client client = {.state = CLIENT_BUSY};

    (void)state;
    assert_true(aborts(idle_to_busy));
    assert_true(aborts(back_from_linger));
    client_enter(&client, CLIENT_IDLE);
    assert_int_equal(client.state, CLIENT_IDLE);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_pipelined_requests_are_sent_one_by_one_and_answered_in_order),
        WORLD_TEST(test_a_crlf_behind_a_body_is_no_request),
        WORLD_TEST(test_a_chunked_answer_stays_chunked_and_a_counted_one_counted),
        WORLD_TEST(test_what_is_sent_ahead_is_held_back_at_the_limit_and_none_of_it_is_lost),
        WORLD_TEST(test_without_room_for_what_is_sent_ahead_the_running_answer_is_the_last),
        WORLD_TEST(test_a_client_that_does_not_read_holds_the_processor_back_and_is_given_up),
        WORLD_TEST(test_a_refusal_is_read_whole_by_a_client_that_is_still_sending),
        WORLD_TEST(test_a_client_that_goes_on_sending_is_not_read_forever),
        WORLD_TEST(test_a_client_that_asked_for_a_close_is_closed_with_its_answer),
        WORLD_TEST(test_a_client_that_keeps_its_side_open_is_closed_after_a_while),
        WORLD_TEST(test_a_half_closed_client_gets_its_answer),
        WORLD_TEST(test_an_end_in_the_middle_of_a_request_is_leaving),
        WORLD_TEST(test_an_end_in_the_middle_of_a_request_sent_ahead_is_leaving_too),
        WORLD_TEST(test_an_idle_connection_is_ended_in_order_and_without_a_line),
        WORLD_TEST(test_a_proxy_header_in_pieces_names_the_client),
        WORLD_TEST(test_a_connection_without_its_proxy_header_is_closed),
        WORLD_TEST(test_a_proxy_header_of_a_stranger_is_not_even_read),
        cmocka_unit_test(test_a_state_that_the_drawing_does_not_have_next_stops_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
