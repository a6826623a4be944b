/* The ring between the loop and a writer: bounded, in order, and exact in what it lost. */
#include "base/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "log_internal.h"

static struct log_ring ring;

static int open_ring(void **state)
{
    (void)state;
    memset(&ring, 0, sizeof(ring));
    return log__ring_open(&ring, LOG_RESERVE_BYTES) ? 0 : -1;
}

static int close_ring(void **state)
{
    (void)state;
    log__ring_close(&ring);
    return 0;
}

static void test_ordinary_lines_leave_the_reserve_alone(void **state)
{
    char line[1023];
    int count = 0;

    (void)state;
    memset(line, 'x', sizeof(line));
    while (log__ring_put(&ring, bytes_of(line, sizeof(line)), false)) {
        count++;
    }
    assert_int_equal(count, (LOG_RING_BYTES - LOG_RESERVE_BYTES) / 1024);
    assert_int_equal(atomic_load(&ring.dropped), 1);
    count = 0;
    while (log__ring_put(&ring, bytes_of(line, sizeof(line)), true)) {
        count++;
    }
    assert_int_equal(count, LOG_RESERVE_BYTES / 1024);
    assert_int_equal(atomic_load(&ring.dropped), 2);
    assert_int_equal(atomic_load(&ring.audit_lost), 1);
    assert_int_equal(log__ring_len(&ring), LOG_RING_BYTES);
    log__ring_take(&ring, LOG_RING_BYTES, false);
    assert_int_equal(atomic_load(&ring.audit_lost), 1);
    assert_true(log__ring_put(&ring, bytes_of(line, sizeof(line)), false));
}

static void test_lost_bytes_count_the_lines_that_end_in_them(void **state)
{
    (void)state;
    assert_true(log__ring_put(&ring, BYTES("one"), false));
    assert_true(log__ring_put(&ring, BYTES("audit"), true));
    assert_true(log__ring_put(&ring, BYTES("two"), false));
    log__ring_take(&ring, 2, false); /* "on" reached the sink */
    log__ring_take(&ring, 2, true);  /* "e" and the newline did not */
    assert_int_equal(atomic_load(&ring.dropped), 1);
    assert_int_equal(atomic_load(&ring.audit_lost), 0);
    log__ring_take(&ring, 5, true); /* all of the audit line but its newline */
    assert_int_equal(atomic_load(&ring.audit_lost), 0);
    log__ring_take(&ring, 1, true);
    assert_int_equal(atomic_load(&ring.dropped), 2);
    assert_int_equal(atomic_load(&ring.audit_lost), 1);
    log__ring_take(&ring, 4, true);
    assert_int_equal(atomic_load(&ring.dropped), 3);
    assert_int_equal(atomic_load(&ring.audit_lost), 1);
    assert_int_equal(log__ring_len(&ring), 0);
}

static void test_more_audit_lines_than_marks_are_refused_not_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < LOG_AUDIT_MARKS; i++) {
        assert_true(log__ring_put(&ring, BYTES("a"), true));
    }
    assert_false(log__ring_put(&ring, BYTES("a"), true));
    assert_int_equal(atomic_load(&ring.audit_lost), 1);
    assert_true(log__ring_put(&ring, BYTES("an ordinary one still fits"), false));
}

enum { LINES = 300000 };

static void *put_lines(void *argument)
{
    uint64_t seed = 5;
    char line[256];

    (void)argument;
    for (int i = 0; i < LINES; i++) {
        int len = snprintf(line, sizeof(line), "%d ", i);
        size_t more = random_next(&seed) % 200;

        memset(line + len, 'y', more);
        while (!log__ring_put(&ring, bytes_of(line, (size_t)len + more), false)) {
            sched_yield();
        }
    }
    return NULL;
}

static void test_two_threads_pass_every_line_whole(void **state)
{
    static char text[1 << 16];
    uint64_t seed = 9;
    size_t held = 0;
    int next = 0;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, put_lines, NULL), 0);
    while (next < LINES) {
        size_t got = log__ring_peek(&ring, text + held, 1 + random_next(&seed) % (sizeof(text) - held));
        char *at = text;
        char *end;

        log__ring_take(&ring, got, false);
        held += got;
        while ((end = memchr(at, '\n', held - (size_t)(at - text))) != NULL) {
            char *rest;

            assert_int_equal(strtol(at, &rest, 10), next++);
            assert_int_equal(*rest, ' ');
            assert_int_equal(strspn(rest + 1, "y"), (size_t)(end - rest - 1));
            at = end + 1;
        }
        held -= (size_t)(at - text);
        memmove(text, at, held);
        if (got == 0) {
            sched_yield();
        }
    }
    assert_int_equal(held, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ordinary_lines_leave_the_reserve_alone, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(test_lost_bytes_count_the_lines_that_end_in_them, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(test_more_audit_lines_than_marks_are_refused_not_forgotten, open_ring,
                                        close_ring),
        cmocka_unit_test_setup_teardown(test_two_threads_pass_every_line_whole, open_ring, close_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
