/*
 * What becomes of a request whose processor cannot take it, or breaks under it,
 * over real sockets: nothing was sent, and another processor has it; it was
 * sent, and no other one ever does; a read on an old link is asked once more.
 * Requests with a key need a store: tests/e2e/test_failover.py.
 */
#include "gate_support.h"

#define SICK_REFUSES "}, sick: {url: 'http://sick.example', endpoints: ['127.0.0.1:1']"
#define TO_SICK "{name: moved, match: {path: /moved}, to: sick, failover: acme}, {name: alone, match: {path: /alone}, to: sick}, "
#define MOVED "POST /moved HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 4\r\n\r\npay!"
#define ALONE "POST /alone HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 4\r\n\r\npay!"

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

static void test_what_could_not_be_sent_goes_to_the_other_processor_whole(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.processor = SICK_REFUSES, .routes = TO_SICK});
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, MOVED, "\r\n\r\nok");
    assert_true(near_has(&near, "\r\nWeir-Outcome: answered\r\n"));
    assert_true(far_has(0, "POST /moved HTTP/1.1\r\n"));
    assert_true(far_has(0, "Host: api.acme.example\r\n"));
    assert_true(far_has(0, "\r\n\r\npay!"));
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    assert_line(&line, "weir.route", "moved");
    assert_line(&line, "weir.processor", "acme");
    assert_line(&line, "weir.failover_from", "sick");
    assert_metric("weir_failovers_total{route=\"moved\",from=\"sick\",to=\"acme\"} 1\n");
    assert_metric("weir_requests_total{route=\"moved\",processor=\"acme\",code=\"200\",reason=\"ok\"} 1\n");
    assert_metric("weir_requests_in_flight{route=\"moved\"} 0\n");
    near_close(&near, false);
}

static void test_without_another_processor_it_is_told_as_not_sent(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.processor = SICK_REFUSES, .routes = TO_SICK});
    near_open(&near);
    near_ask(&near, ALONE, "\r\nWeir-Reason: connect_failed\r\n");
    assert_true(near_has(&near, "\r\nWeir-Outcome: not_sent\r\n"));
    next_line(&line);
    assert_line(&line, "weir.processor", "sick");
    assert_null(line_value(&line, "weir.failover_from"));
    assert_int_equal(far_bytes(), 0);
    near_close(&near, false);
}

/* Both refuse: the second one's word is the answer, and nobody is asked twice. */
static void test_it_moves_once(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.processor = SICK_REFUSES, .routes = TO_SICK});
    acceptor_close(far.acceptor);
    turn(world.loop);
    near_open(&near);
    near_ask(&near, MOVED, "\r\nWeir-Reason: connect_failed\r\n");
    next_line(&line);
    assert_verdict(&line, "connect_failed", "not_sent", "processor", "L");
    assert_line(&line, "weir.processor", "acme");
    assert_metric("weir_failovers_total{route=\"moved\",from=\"sick\",to=\"acme\"} 1\n");
    far.acceptor = NULL;
    near_close(&near, false);
}

/* A byte was taken and the link broke: whatever the route has besides, that processor alone may know of it. */
static void test_what_was_sent_never_moves(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.processor = SICK_REFUSES,
                                     .routes = "{name: back, match: {path: /back}, to: acme, failover: sick}, "});
    far.reset_after = true;
    near_open(&near);
    near_ask(&near, "POST /back HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\npay!", "\r\nWeir-Reason: closed_before_response\r\n");
    assert_true(near_has(&near, "\r\nWeir-Outcome: unknown\r\n"));
    next_line(&line);
    assert_line(&line, "weir.processor", "acme");
    assert_int_equal(far.accepted, 1);
    assert_metric("weir_failovers_total{route=\"back\",from=\"acme\",to=\"sick\"} 0\n");
    near_close(&near, false);
}

/* The processor reads the second request of a link and closes it: its idle timeout met the request. */
static void answer_first_then_close(void)
{
    far.answer = NULL;
    far.shut_after = true;
}

static void test_a_read_on_an_old_link_that_broke_is_asked_once_more(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){0});
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ASK, "\r\n\r\nok");
    next_line(&line);
    answer_first_then_close();
    near_say(&near, ASK);
    UNTIL(world.loop, far.accepted == 2);
    far.answer = ANSWER; /* the second link's request is not read yet */
    far.shut_after = false;
    UNTIL(world.loop, near_count(&near, "\r\n\r\nok") == 2);
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    assert_line(&line, "weir.sent_again", "true");
    assert_line(&line, "weir.attempts", "2");
    near_close(&near, false);
}

static void test_a_payment_on_an_old_link_that_broke_is_not(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){0});
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ORDER, "\r\n\r\nok");
    next_line(&line);
    answer_first_then_close();
    near_ask(&near, ORDER, "\r\nWeir-Reason: closed_before_response\r\n");
    assert_true(near_has(&near, "\r\nWeir-Outcome: unknown\r\n"));
    next_line(&line);
    assert_null(line_value(&line, "weir.sent_again"));
    assert_int_equal(far.accepted, 1);
    near_close(&near, false);
}

/* Not even a read on a link that was made for it: that is the processor's failure, and told. */
static void test_a_read_on_a_new_link_is_not_asked_again(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){0});
    far.shut_after = true;
    near_open(&near);
    near_ask(&near, ASK, "\r\nWeir-Reason: closed_before_response\r\n");
    next_line(&line);
    assert_line(&line, "weir.attempts", "1");
    assert_int_equal(far.accepted, 1);
    near_close(&near, false);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_what_could_not_be_sent_goes_to_the_other_processor_whole),
        WORLD_TEST(test_without_another_processor_it_is_told_as_not_sent),
        WORLD_TEST(test_it_moves_once),
        WORLD_TEST(test_what_was_sent_never_moves),
        WORLD_TEST(test_a_read_on_an_old_link_that_broke_is_asked_once_more),
        WORLD_TEST(test_a_payment_on_an_old_link_that_broke_is_not),
        WORLD_TEST(test_a_read_on_a_new_link_is_not_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
