#include "io_support.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <poll.h>

#include "stream_internal.h"

static void test_bytes_pass_both_ways(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    assert_int_equal(end_say(&pair.client, "hello").err, ERR_OK);
    UNTIL(pair.loop, end_has(&pair.server, "hello"));
    assert_true(end_say(&pair.server, "world").sent);
    UNTIL(pair.loop, end_has(&pair.client, "world"));
    assert_int_equal(stream_queued_bytes(pair.client.stream), 0);
    pair_close(&pair);
}

static void test_parts_arrive_in_order_and_empty_ones_are_nothing(void **state)
{
    struct bytes parts[] = {BYTES("a"), BYTES_NONE, BYTES("bc"), BYTES("def")};
    struct stream_wrote none;
    struct pair pair;

    (void)state;
    pair_open(&pair);
    none = stream_write(pair.client.stream, &parts[1], 1);
    assert_int_equal(none.err, ERR_OK);
    assert_false(none.sent);
    assert_int_equal(stream_write(pair.client.stream, parts, 4).err, ERR_OK);
    UNTIL(pair.loop, end_has(&pair.server, "abcdef"));
    pair_close(&pair);
}

static void test_both_ends_know_their_peers(void **state)
{
    struct pair pair;
    struct addr near;
    int len = sizeof(near);

    (void)state;
    pair_open(&pair);
    assert_true(addr_equal(stream_peer(pair.client.stream), &pair.at));
    assert_int_equal(uv_tcp_getsockname(&pair.client.stream->tcp, &near.u.any, &len), 0);
    assert_true(addr_equal(stream_peer(pair.server.stream), &near));
    pair_close(&pair);
}

static void test_a_half_closed_stream_can_still_be_written_to(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    assert_true(end_say(&pair.client, "request").sent);
    stream_shut(pair.client.stream);
    UNTIL(pair.loop, pair.server.ends == 1 && pair.client.drains == 1);
    assert_int_equal(pair.server.end_err, ERR_EOF);
    assert_true(end_has(&pair.server, "request"));
    assert_int_equal(end_say(&pair.server, "answer").err, ERR_OK);
    UNTIL(pair.loop, end_has(&pair.client, "answer"));
    assert_int_equal(pair.client.ends, 0);
    pair_close(&pair);
}

static void test_the_end_is_told_once_though_reading_is_asked_for_again(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_shut(pair.client.stream);
    UNTIL(pair.loop, pair.server.ends == 1);
    stream_pause(pair.server.stream);
    stream_resume(pair.server.stream);
    for (int i = 0; i < 5; i++) {
        uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    }
    assert_int_equal(pair.server.ends, 1);
    pair_close(&pair);
}

static void test_after_shut_no_write_is_taken(void **state)
{
    struct stream_wrote refused;
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_shut(pair.client.stream);
    refused = end_say(&pair.client, "late");
    assert_int_equal(refused.err, ERR_CANCELED);
    assert_false(refused.sent);
    pair_close(&pair);
}

static void test_a_reset_is_told_as_one_and_ends_writing(void **state)
{
    struct stream_wrote refused;
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_close(pair.client.stream, true);
    UNTIL(pair.loop, pair.server.ends == 1 && pair.client.closes == 1);
    assert_int_equal(pair.server.end_err, ERR_RESET);
    assert_string_not_equal(stream_why(pair.server.stream), "");
    refused = end_say(&pair.server, "into the void");
    assert_int_equal(refused.err, ERR_RESET);
    assert_false(refused.sent);
    pair_close(&pair);
}

/* Both come in one turn: what was said is heard, and then that its sender left. */
static void test_a_reset_right_behind_bytes_is_no_orderly_end(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    assert_true(end_say(&pair.client, "hello").sent);
    stream_close(pair.client.stream, true);
    UNTIL(pair.loop, pair.server.ends == 1 && pair.client.closes == 1);
    assert_true(end_has(&pair.server, "hello"));
    assert_int_equal(pair.server.end_err, ERR_RESET);
    pair_close(&pair);
}

/* The kernel refuses the write itself: the reader has not yet heard of the reset. */
static void test_an_immediate_error_says_that_nothing_was_sent(void **state)
{
    struct stream_wrote refused;
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_close(pair.client.stream, true); /* the RST is on its way before this returns, on loopback */
    refused = end_say(&pair.server, "nobody is there");
    assert_int_equal(refused.err, ERR_RESET);
    assert_false(refused.sent);
    UNTIL(pair.loop, pair.server.ends == 1);
    assert_int_equal(pair.server.end_err, ERR_RESET); /* and not EOF, though the write took the socket's error */
    pair_close(&pair);
}

static void test_a_slow_reader_makes_a_queue_and_draining_is_told_once(void **state)
{
    static char chunk[64 * 1024];
    struct bytes part = bytes_of(chunk, sizeof(chunk));
    struct pair pair;
    size_t total = 0;

    (void)state;
    pair_open(&pair);
    for (size_t i = 0; i < sizeof(chunk); i++) {
        chunk[i] = (char)(i * 31);
    }
    stream_pause(pair.server.stream);
    while (stream_queued_bytes(pair.client.stream) < 4 * STREAM_QUEUE_HIGH_BYTES) {
        struct stream_wrote taken = stream_write(pair.client.stream, &part, 1);
        assert_int_equal(taken.err, ERR_OK);
        assert_true(taken.sent);
        total += sizeof(chunk);
        uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    }
    assert_int_equal(pair.server.in_bytes, 0);
    assert_int_equal(pair.client.drains, 0);
    stream_resume(pair.server.stream);
    UNTIL(pair.loop, pair.server.in_bytes == total && stream_queued_bytes(pair.client.stream) == 0);
    assert_int_equal(pair.client.drains, 1);
    for (size_t i = 0; i < total; i++) {
        assert_true(pair.server.in[i] == chunk[i % sizeof(chunk)]);
    }
    pair_close(&pair);
}

static void test_progress_is_seen_while_the_queue_drains(void **state)
{
    static char chunk[256 * 1024];
    struct bytes part = bytes_of(chunk, sizeof(chunk));
    uint64_t before_us;
    size_t queued;
    struct pair pair;
    int small = 32 * 1024, fd; /* else the kernel may grow its own queue until it holds all of ours */

    (void)state;
    pair_open(&pair);
    assert_int_equal(uv_fileno((uv_handle_t *)&pair.client.stream->tcp, &fd), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    stream_pause(pair.server.stream);
    while (stream_queued_bytes(pair.client.stream) < 4 * sizeof(chunk)) {
        assert_int_equal(stream_write(pair.client.stream, &part, 1).err, ERR_OK);
    }
    before_us = stream_progress_us(pair.client.stream);
    queued = stream_queued_bytes(pair.client.stream);
    pair.server.pause_on_read = true;
    while (stream_queued_bytes(pair.client.stream) == queued) {
        int reads = pair.server.reads;
        stream_resume(pair.server.stream);
        UNTIL(pair.loop, pair.server.reads > reads || stream_queued_bytes(pair.client.stream) < queued);
    }
    assert_true(stream_queued_bytes(pair.client.stream) > 0);
    assert_true(stream_progress_us(pair.client.stream) > before_us);
    pair_close(&pair);
}

static void test_shut_waits_for_the_queue(void **state)
{
    static char chunk[1024 * 1024];
    struct bytes part = bytes_of(chunk, sizeof(chunk));
    struct pair pair;
    size_t total = 0;

    (void)state;
    pair_open(&pair);
    stream_pause(pair.server.stream);
    while (stream_queued_bytes(pair.client.stream) == 0) {
        assert_int_equal(stream_write(pair.client.stream, &part, 1).err, ERR_OK);
        total += sizeof(chunk);
    }
    stream_shut(pair.client.stream);
    stream_resume(pair.server.stream);
    UNTIL(pair.loop, pair.server.ends == 1);
    assert_int_equal(pair.server.in_bytes, total);
    assert_int_equal(pair.server.end_err, ERR_EOF);
    assert_int_equal(pair.client.drains, 1);
    pair_close(&pair);
}

static void test_a_queue_whose_connection_breaks_ends_the_stream(void **state)
{
    static char chunk[1024 * 1024];
    struct bytes part = bytes_of(chunk, sizeof(chunk));
    struct stream_wrote refused;
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_pause(pair.server.stream);
    stream_pause(pair.client.stream); /* so that only the write can notice */
    while (stream_queued_bytes(pair.client.stream) == 0) {
        assert_int_equal(stream_write(pair.client.stream, &part, 1).err, ERR_OK);
    }
    stream_close(pair.server.stream, true);
    UNTIL(pair.loop, pair.client.ends == 1);
    assert_int_equal(pair.client.end_err, ERR_RESET);
    assert_int_equal(stream_queued_bytes(pair.client.stream), 0);
    refused = end_say(&pair.client, "more");
    assert_int_equal(refused.err, ERR_RESET);
    assert_false(refused.sent);
    pair_close(&pair);
}

static void test_a_paused_stream_reads_nothing_until_resumed(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_pause(pair.server.stream);
    assert_true(end_say(&pair.client, "one").sent);
    assert_true(end_say(&pair.server, "reply").sent);
    UNTIL(pair.loop, end_has(&pair.client, "reply")); /* by now the first has long arrived */
    uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    assert_int_equal(pair.server.reads, 0);
    stream_resume(pair.server.stream);
    UNTIL(pair.loop, end_has(&pair.server, "one"));
    /* And again, now that libuv has been told to stop and start. */
    stream_pause(pair.server.stream);
    stream_resume(pair.server.stream);
    assert_true(end_say(&pair.client, "two").sent);
    UNTIL(pair.loop, end_has(&pair.server, "onetwo"));
    pair_close(&pair);
}

static void test_a_stream_paused_in_its_read_gets_no_second_one(void **state)
{
    static char chunk[512 * 1024];
    struct bytes part = bytes_of(chunk, sizeof(chunk));
    struct pair pair;

    (void)state;
    pair_open(&pair);
    pair.server.pause_on_read = true;
    assert_int_equal(stream_write(pair.client.stream, &part, 1).err, ERR_OK);
    UNTIL(pair.loop, pair.server.reads == 1);
    for (int i = 0; i < 5; i++) {
        uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    }
    assert_int_equal(pair.server.reads, 1);
    pair.server.pause_on_read = false;
    stream_resume(pair.server.stream);
    UNTIL(pair.loop, pair.server.in_bytes == sizeof(chunk));
    pair_close(&pair);
}

static void test_close_inside_a_read_is_the_last_thing_heard(void **state)
{
    static char chunk[512 * 1024];
    struct bytes part = bytes_of(chunk, sizeof(chunk));
    struct pair pair;

    (void)state;
    pair_open(&pair);
    pair.server.close_on_read = true;
    assert_int_equal(stream_write(pair.client.stream, &part, 1).err, ERR_OK);
    UNTIL(pair.loop, pair.server.closes == 1 && pair.client.ends == 1);
    assert_int_equal(pair.server.reads, 1);
    assert_int_equal(pair.server.ends, 0);
    pair_close(&pair);
}

static void test_close_twice_is_one_close_and_cancels_the_queue(void **state)
{
    static char chunk[1024 * 1024];
    struct bytes part = bytes_of(chunk, sizeof(chunk));
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_pause(pair.server.stream);
    while (stream_queued_bytes(pair.client.stream) == 0) {
        assert_int_equal(stream_write(pair.client.stream, &part, 1).err, ERR_OK);
    }
    stream_close(pair.client.stream, false);
    stream_close(pair.client.stream, true);
    UNTIL(pair.loop, pair.client.closes == 1);
    uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    assert_int_equal(pair.client.closes, 1);
    assert_int_equal(pair.client.drains + pair.client.ends, 0);
    assert_int_equal(loop_blocks(pair.loop)->used_bytes, 0);
    pair_close(&pair);
}

static void test_a_refused_connection_is_told_in_words(void **state)
{
    struct pair pair;

    (void)state;
    pair_listen(&pair);
    acceptor_close(pair.acceptor);
    pair.acceptor = NULL;
    pair_connect(&pair, NULL);
    assert_int_equal(end_say(&pair.client, "early").err, ERR_CANCELED);
    UNTIL(pair.loop, pair.client.opens == 1);
    assert_int_equal(pair.client.open_err, ERR_REFUSED);
    assert_string_equal(stream_why(pair.client.stream), "connection refused");
    assert_int_equal(pair.client.ends, 0);
    pair_close(&pair);
}

static void test_a_connect_that_cannot_start_is_told_at_once_and_only_once(void **state)
{
    struct rlimit before, none;
    struct pair pair;
    enum err err = ERR_OK;
    struct stream *stream;

    (void)state;
    pair_listen(&pair);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    stream = stream_connect(pair.loop, &pair.at, NULL, &end_ops, &pair.client, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_null(stream);
    assert_int_equal(err, ERR_DESCRIPTORS);
    uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    assert_int_equal(pair.client.opens + pair.client.closes, 0);
    pair_close(&pair);
}

static void test_close_while_connecting_opens_nothing(void **state)
{
    struct pair pair;

    (void)state;
    pair_listen(&pair);
    pair_connect(&pair, NULL);
    stream_close(pair.client.stream, false);
    UNTIL(pair.loop, pair.client.closes == 1);
    assert_int_equal(pair.client.opens, 0);
    pair_close(&pair);
}

static void test_an_accepted_stream_reads_nothing_before_it_is_attached(void **state)
{
    struct pair pair;

    (void)state;
    pair_listen(&pair);
    pair.hold_accepted = true;
    pair_connect(&pair, NULL);
    UNTIL(pair.loop, pair.client.opens == 1 && pair.accepted != NULL);
    assert_true(end_say(&pair.client, "early").sent);
    uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    pair.server.stream = pair.accepted;
    stream_attach(pair.accepted, &end_ops, &pair.server);
    UNTIL(pair.loop, end_has(&pair.server, "early"));
    pair_close(&pair);
}

static void test_an_accepted_stream_can_be_refused(void **state)
{
    struct pair pair;

    (void)state;
    pair_listen(&pair);
    pair.hold_accepted = true;
    pair_connect(&pair, NULL);
    UNTIL(pair.loop, pair.accepted != NULL);
    stream_close(pair.accepted, true);
    UNTIL(pair.loop, pair.client.ends == 1 || (pair.client.opens == 1 && pair.client.open_err != ERR_OK));
    pair_close(&pair);
}

/* Until the kernel has something to be read; the loop does not turn. */
static void wait_readable(struct stream *stream)
{
    struct pollfd poll_one = {.events = POLLIN};

    assert_int_equal(uv_fileno((uv_handle_t *)&stream->tcp, &poll_one.fd), 0);
    assert_int_equal(poll(&poll_one, 1, (int)(PATIENCE_US / CLOCK_US_PER_MS)), 1);
}

static void test_a_stream_is_silent_until_bytes_or_an_end_lie_in_the_kernel(void **state)
{
    struct pair pair;

    (void)state;
    pair_listen(&pair);
    pair_connect(&pair, NULL);
    assert_false(stream_is_silent(pair.client.stream)); /* it is not even open */
    UNTIL(pair.loop, pair.client.opens == 1 && pair.accept_count == 1);
    assert_true(stream_is_silent(pair.client.stream));
    assert_true(end_say(&pair.server, "x").sent);
    wait_readable(pair.client.stream);
    assert_false(stream_is_silent(pair.client.stream));
    UNTIL(pair.loop, end_has(&pair.client, "x"));
    assert_true(stream_is_silent(pair.client.stream));
    stream_shut(pair.server.stream);
    wait_readable(pair.client.stream);
    assert_int_equal(pair.client.ends, 0);
    assert_false(stream_is_silent(pair.client.stream));
    UNTIL(pair.loop, pair.client.ends == 1);
    assert_false(stream_is_silent(pair.client.stream));
    pair_close(&pair);
}

static void test_a_reset_that_was_not_read_yet_is_not_silence(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair);
    stream_close(pair.server.stream, true);
    pair.server.stream = NULL;
    wait_readable(pair.client.stream);
    assert_int_equal(pair.client.ends, 0);
    assert_false(stream_is_silent(pair.client.stream));
    pair_close(&pair);
}

/* The budget is 0.6 KiB for a plain client, of which the gate needs its part. */
static void test_an_idle_plain_stream_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct stream) <= 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_pass_both_ways),
        cmocka_unit_test(test_parts_arrive_in_order_and_empty_ones_are_nothing),
        cmocka_unit_test(test_both_ends_know_their_peers),
        cmocka_unit_test(test_a_half_closed_stream_can_still_be_written_to),
        cmocka_unit_test(test_the_end_is_told_once_though_reading_is_asked_for_again),
        cmocka_unit_test(test_after_shut_no_write_is_taken),
        cmocka_unit_test(test_a_reset_is_told_as_one_and_ends_writing),
        cmocka_unit_test(test_a_reset_right_behind_bytes_is_no_orderly_end),
        cmocka_unit_test(test_an_immediate_error_says_that_nothing_was_sent),
        cmocka_unit_test(test_a_slow_reader_makes_a_queue_and_draining_is_told_once),
        cmocka_unit_test(test_progress_is_seen_while_the_queue_drains),
        cmocka_unit_test(test_shut_waits_for_the_queue),
        cmocka_unit_test(test_a_queue_whose_connection_breaks_ends_the_stream),
        cmocka_unit_test(test_a_paused_stream_reads_nothing_until_resumed),
        cmocka_unit_test(test_a_stream_paused_in_its_read_gets_no_second_one),
        cmocka_unit_test(test_close_inside_a_read_is_the_last_thing_heard),
        cmocka_unit_test(test_close_twice_is_one_close_and_cancels_the_queue),
        cmocka_unit_test(test_a_refused_connection_is_told_in_words),
        cmocka_unit_test(test_a_connect_that_cannot_start_is_told_at_once_and_only_once),
        cmocka_unit_test(test_close_while_connecting_opens_nothing),
        cmocka_unit_test(test_an_accepted_stream_reads_nothing_before_it_is_attached),
        cmocka_unit_test(test_an_accepted_stream_can_be_refused),
        cmocka_unit_test(test_a_stream_is_silent_until_bytes_or_an_end_lie_in_the_kernel),
        cmocka_unit_test(test_a_reset_that_was_not_read_yet_is_not_silence),
        cmocka_unit_test(test_an_idle_plain_stream_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
