/*
 * Calls and links over real sockets: a processor in the same loop answers, or
 * does not. Asserted is which link a call gets, what is told when none is to be
 * had, and that an odd link never carries a second call.
 */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "../../../src/io/stream_internal.h"
#include "upstream_support.h"

/* ---- tests ---- */

static void test_a_link_is_used_again_after_two_whole_messages(void **state)
{
    struct caller first, second;

    (void)state;
    pass(&first, false);
    assert_int_equal(now().links_idle, 1);
    assert_int_equal(begin(&second, false), CALL_START_READY);
    assert_true(second.call.reused);
    send_request(&second);
    UNTIL(loop, second.end);
    finish(&second);
    assert_int_equal(far->accepted, 1);
    assert_int_equal(now().in_flight, 0);
}

static void test_an_answer_before_the_request_is_whole_costs_the_link(void **state)
{
    struct bytes part = BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    struct caller caller;

    (void)state;
    (void)begin(&caller, false);
    UNTIL(loop, caller.ready);
    assert_true(call_send(&caller.call, &part, 1).sent);
    UNTIL(loop, caller.end);
    finish(&caller);
    assert_int_equal(now().links_idle, 0);
}

/* The rest of the request leaves before the answer ends, and still: it began before the processor had read it all. */
static void test_an_answer_that_begins_while_the_request_is_queued_costs_the_link(void **state)
{
    static char filler[8 * 1024 * 1024];
    struct bytes parts[] = {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n"),
                            bytes_of(filler, sizeof filler)};
    struct bytes begun = BYTES("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"), rest = BYTES("k");
    struct caller caller;

    (void)state;
    far->answer = NULL;
    (void)begin(&caller, false);
    UNTIL(loop, caller.ready && far->accepted == 1);
    stream_pause(far->streams[0]);
    assert_int_equal(call_send(&caller.call, parts, 2).err, ERR_OK);
    call_request_done(&caller.call);
    assert_true(call_queued_bytes(&caller.call) > 0);
    assert_int_equal(stream_write(far->streams[0], &begun, 1).err, ERR_OK);
    UNTIL(loop, caller.head);
    stream_resume(far->streams[0]);
    UNTIL(loop, call_queued_bytes(&caller.call) == 0);
    assert_int_equal(stream_write(far->streams[0], &rest, 1).err, ERR_OK);
    UNTIL(loop, caller.end);
    finish(&caller);
    assert_int_equal(now().links_idle, 0);
}

static void test_bytes_behind_an_answer_cost_the_link(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    pass(&caller, true);
    assert_int_equal(caller.body_bytes, 2);
    assert_int_equal(now().links_idle, 0);
}

static void test_bytes_on_an_idle_link_close_it(void **state)
{
    struct bytes stray = BYTES("x");
    struct caller caller;

    (void)state;
    pass(&caller, true);
    assert_int_equal(now().links_idle, 1);
    assert_int_equal(stream_write(far->streams[0], &stray, 1).err, ERR_OK);
    UNTIL(loop, now().links_idle == 0);
}

/* Until the near kernel has acknowledged what the far end wrote; the loop, which would read it, does not turn. */
static void wait_for_arrival(struct stream *from)
{
    uv_os_fd_t fd;
    int unacknowledged = 1;

    assert_int_equal(uv_fileno((uv_handle_t *)&from->tcp, &fd), 0);
    while (unacknowledged > 0) {
        assert_int_equal(ioctl(fd, SIOCOUTQ, &unacknowledged), 0);
    }
}

static void test_an_answer_that_lies_on_an_idle_link_is_not_the_next_calls(void **state)
{
    struct bytes stray = BYTES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
    struct caller caller;

    (void)state;
    pass(&caller, false);
    assert_int_equal(stream_write(far->streams[0], &stray, 1).err, ERR_OK);
    wait_for_arrival(far->streams[0]);
    assert_int_equal(begin(&caller, false), CALL_START_WAIT);
    UNTIL(loop, caller.ready);
    send_request(&caller);
    UNTIL(loop, caller.end);
    assert_int_equal(caller.body_bytes, 2);
    finish(&caller);
    assert_int_equal(far->accepted, 2);
    UNTIL(loop, now().links_idle == 1); /* the other was closed for what came */
}

static void test_a_silent_link_behind_one_that_is_not_is_leased(void **state)
{
    struct bytes stray = BYTES("x");
    struct caller first, second;

    (void)state;
    (void)begin(&first, false);
    UNTIL(loop, first.ready);
    (void)begin(&second, false);
    UNTIL(loop, second.ready);
    send_request(&first);
    UNTIL(loop, first.end);
    finish(&first);
    send_request(&second);
    UNTIL(loop, second.end);
    finish(&second); /* idle since later: the first in line */
    assert_int_equal(stream_write(far->streams[1], &stray, 1).err, ERR_OK);
    wait_for_arrival(far->streams[1]);
    assert_int_equal(begin(&first, false), CALL_START_READY);
    send_request(&first);
    UNTIL(loop, first.end);
    finish(&first);
    assert_int_equal(far->accepted, 2);
}

static void test_connection_close_is_obeyed(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    pass(&caller, true);
    assert_int_equal(now().links_idle, 0);
}

static void test_a_link_that_the_processor_ends_while_idle_is_gone(void **state)
{
    struct caller caller;

    (void)state;
    pass(&caller, true);
    far_close_streams(far);
    UNTIL(loop, now().links_idle == 0);
}

static void test_an_end_before_the_answer_is_told_apart_from_one_within(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = NULL;
    far->shut_after = true;
    pass(&caller, false);
    assert_true(caller.failed);
    assert_int_equal(caller.failure, CALL_CLOSED);
    far->answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    pass(&caller, false);
    assert_int_equal(caller.failure, CALL_INCOMPLETE);
    far->answer = "SMTP ready\r\n\r\n";
    pass(&caller, false);
    assert_int_equal(caller.failure, CALL_MALFORMED);
}

static void test_beyond_the_connections_calls_queue_in_order_and_beyond_the_queue_they_are_refused(void **state)
{
    struct caller held[2], waiting, refused;

    (void)state;
    far->answer = NULL;
    for (int i = 0; i < 2; i++) {
        (void)begin(&held[i], false);
        UNTIL(loop, held[i].ready);
    }
    assert_int_equal(begin(&waiting, false), CALL_START_WAIT);
    assert_int_equal(now().queued, 1);
    assert_int_equal(begin(&refused, false), CALL_START_REFUSED);
    assert_int_equal(refused.refusal.why, CALL_QUEUE_FULL);
    finish(&refused);

    far->answer = ANSWER;
    send_request(&held[0]);
    UNTIL(loop, held[0].end);
    finish(&held[0]);
    UNTIL(loop, waiting.ready);
    assert_true(waiting.call.reused);
    finish(&waiting);
    finish(&held[1]);
    assert_int_equal(now().in_flight, 0);
}

static void test_a_call_that_leaves_the_queue_is_forgotten(void **state)
{
    struct caller held[2], waiting;

    (void)state;
    for (int i = 0; i < 2; i++) {
        (void)begin(&held[i], false);
        UNTIL(loop, held[i].ready);
    }
    (void)begin(&waiting, false);
    finish(&waiting);
    assert_int_equal(now().queued, 0);
    finish(&held[0]);
    finish(&held[1]);
    turn(loop);
    assert_false(waiting.ready);
}

static void test_a_refused_connection_refuses_the_call_and_rests_the_endpoint(void **state)
{
    struct caller caller;

    (void)state;
    acceptor_close(far->acceptor);
    far->acceptor = NULL;
    turn(loop);
    (void)begin(&caller, false);
    UNTIL(loop, caller.refused);
    assert_int_equal(caller.refusal.why, CALL_CONNECT_FAILED);
    assert_int_equal(now().endpoints_resting, 1);
    finish(&caller);
}

static void test_a_link_whose_caller_left_while_it_connected_serves_the_next(void **state)
{
    struct caller gone, next;

    (void)state;
    assert_int_equal(begin(&gone, false), CALL_START_WAIT);
    finish(&gone);
    UNTIL(loop, now().links_idle == 1);
    assert_int_equal(begin(&next, false), CALL_START_READY);
    finish(&next);
    assert_int_equal(far->accepted, 1);
}

static void test_another_identity_closes_idle_links(void **state)
{
    struct conf_processor conf = conf_of_ends(1);
    struct caller caller;

    (void)state;
    pass(&caller, true);
    conf.tls_server_name = "other.example";
    assert_ptr_equal(processor_hold(upstream, &conf, NULL), processor);
    assert_int_equal(now().links_idle, 1);
    processor_use(processor, &conf);
    assert_int_equal(now().links_idle, 0);
    processor_release(processor);
}

static void test_settings_that_are_held_but_never_used_change_nothing(void **state)
{
    struct conf_processor conf = conf_of_ends(1);
    struct caller caller;

    (void)state;
    addr_set_port(&conf.endpoints[0], 1); /* nobody listens there */
    pass(&caller, true);
    conf.tls_server_name = "other.example";
    assert_ptr_equal(processor_hold(upstream, &conf, NULL), processor);
    processor_release(processor);
    assert_int_equal(now().links_idle, 1);
    pass(&caller, false);
    assert_true(caller.end);
    assert_int_equal(far->accepted, 1);
}

static void test_another_name_does_not_keep_the_addresses_of_the_old_one(void **state)
{
    struct conf_processor conf = conf_of_ends(1);
    struct caller caller;

    (void)state;
    conf.endpoint_count = 0;
    conf.host = "127.0.0.1"; /* known at the end of this turn */
    conf.port = 1;
    assert_ptr_equal(processor_hold(upstream, &conf, NULL), processor);
    processor_use(processor, &conf);
    assert_int_equal(now().endpoint_count, 0);
    assert_int_equal(begin(&caller, false), CALL_START_WAIT);
    UNTIL(loop, caller.refused || caller.ready);
    assert_true(caller.refused);
    finish(&caller);
    processor_release(processor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_link_is_used_again_after_two_whole_messages, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_answer_before_the_request_is_whole_costs_the_link, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_answer_that_begins_while_the_request_is_queued_costs_the_link, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_bytes_behind_an_answer_cost_the_link, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_bytes_on_an_idle_link_close_it, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_answer_that_lies_on_an_idle_link_is_not_the_next_calls, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_a_silent_link_behind_one_that_is_not_is_leased, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_connection_close_is_obeyed, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_link_that_the_processor_ends_while_idle_is_gone, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_end_before_the_answer_is_told_apart_from_one_within, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_beyond_the_connections_calls_queue_in_order_and_beyond_the_queue_they_are_refused,
                                        open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_call_that_leaves_the_queue_is_forgotten, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_refused_connection_refuses_the_call_and_rests_the_endpoint, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_a_link_whose_caller_left_while_it_connected_serves_the_next, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_another_identity_closes_idle_links, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_settings_that_are_held_but_never_used_change_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_another_name_does_not_keep_the_addresses_of_the_old_one, open_world,
                                        close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
