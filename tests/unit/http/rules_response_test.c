/* Every row of the response catalogue, and every leniency of llhttp that a processor could use. */
#include "rows.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define LEN0 "Content-Length: 0\r\n\r\n"

static void test_what_real_processors_send_is_accepted(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD("a length", OK "Content-Length: 5\r\n\r\nhello"),
        GOOD("a length of 0", OK LEN0),
        GOOD("chunked", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        GOOD("no reason phrase", "HTTP/1.1 200 \r\n" LEN0),
        GOOD("no reason phrase and no space", "HTTP/1.1 200\r\n" LEN0),
        GOOD("a reason phrase in Latin-1", "HTTP/1.1 200 d\xe9j\xe0\r\n" LEN0),
        GOOD("status 599", "HTTP/1.1 599 x\r\n" LEN0),
        GOOD("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        GOOD("204", "HTTP/1.1 204 No Content\r\n\r\n"),
        GOOD("304", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
        GOOD("304 with the length of what it did not send", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"),
        GOOD("204 with a length of 0", "HTTP/1.1 204 x\r\n" LEN0),
        GOOD("100 first", "HTTP/1.1 100 Continue\r\n\r\n" OK LEN0),
        GOOD("103 with a length that counts for nothing", "HTTP/1.1 103 x\r\nContent-Length: 9\r\n\r\n" OK LEN0),
        GOOD("ten interim answers",
             "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\n"
             "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\n"
             "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\n" OK LEN0),
        GOOD("UTF-8 in a value", OK "X-Name: \xc3\xa4\r\n" LEN0),
        GOOD("an underscore in a name of no meaning here", OK "X_Trace: 1\r\n" LEN0),
        GOOD("two Content-Type", OK "Content-Type: a\r\nContent-Type: b\r\n" LEN0),
        GOOD("Connection: Transfer-Encoding", OK "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        GOOD("Upgrade offered", OK "Connection: Upgrade\r\nUpgrade: h2\r\n" LEN0),
    };
    RESPONSE_ROWS(rows);
}

static void test_two_framings_or_none_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("CL and TE", OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BAD("two lengths", OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        BAD("an invalid length", OK "Content-Length: 1a\r\n\r\nx"),
        BAD("a leading zero", OK "Content-Length: 01\r\n\r\nx"),
        BAD("an empty length", OK "Content-Length:\r\n\r\n"),
        BAD("an invalid length with 204", "HTTP/1.1 204 x\r\nContent-Length: a\r\n\r\n"),
        BAD("gzip", OK "Transfer-Encoding: gzip\r\n\r\n"),
        BAD("gzip, chunked", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        BAD("an unknown coding", OK "Transfer-Encoding: x\r\n\r\n"),
        BAD("two codings", OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BAD("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BAD("no length", OK "Content-Type: a\r\n\r\n"),
        BAD("no length and close", OK "Connection: close\r\n\r\nhello"),
        BAD("Transfer_Encoding", OK "Transfer_Encoding: chunked\r\n" LEN0),
        BAD("Content_Length", OK "Content_Length: 4\r\n" LEN0),
        BAD("Content-Length nominated", OK "Connection: Content-Length\r\n" LEN0),
    };
    RESPONSE_ROWS(rows);
}

static void test_bytes_with_two_meanings_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("LF behind the status line", "HTTP/1.1 200 OK\n" LEN0),
        BAD("LF as the empty line", OK "Content-Length: 0\r\n\n"),
        BAD("CR in the reason", "HTTP/1.1 200 O\rK\r\n" LEN0),
        BAD("NUL in the reason", "HTTP/1.1 200 O\0K\r\n" LEN0),
        BAD("a folded line", OK "X: a\r\n b\r\n" LEN0),
        BAD("a folded coding", OK "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        BAD("CR in a value", OK "X: a\rb\r\n" LEN0),
        BAD("NUL in a value", OK "X: a\0b\r\n" LEN0),
        BAD("CR in Location", OK "Location: /a\rSet-Cookie: b\r\n" LEN0),
        BAD("a space before a colon", OK "X : a\r\n" LEN0),
        BAD("an empty name", OK ": a\r\n" LEN0),
        BAD("an empty line first", "\r\n" OK LEN0),
        BAD("garbage", "\x16\x03\x01\x02"),
        BAD("a body behind 103", "HTTP/1.1 103 x\r\nContent-Length: 2\r\n\r\nhi" OK LEN0),
    };
    RESPONSE_ROWS(rows);
}

static void test_status_lines_outside_1_x_and_100_to_599_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("99", "HTTP/1.1 99 x\r\n" LEN0),
        BAD("099", "HTTP/1.1 099 x\r\n" LEN0),
        BAD("600", "HTTP/1.1 600 x\r\n" LEN0),
        BAD("999", "HTTP/1.1 999 x\r\n" LEN0),
        BAD("four digits", "HTTP/1.1 2000 x\r\n" LEN0),
        BAD("letters", "HTTP/1.1 OK x\r\n" LEN0),
        BAD("two spaces", "HTTP/1.1  200 x\r\n" LEN0),
        BAD("HTTP/2.0", "HTTP/2.0 200 x\r\n" LEN0),
        BAD("HTTP/1.2", "HTTP/1.2 200 x\r\n" LEN0),
        BAD("HTTP/0.9", "HTTP/0.9 200 x\r\n" LEN0),
        BAD("ICY", "ICY 200 OK\r\n" LEN0),
        BAD("lower case", "http/1.1 200 OK\r\n" LEN0),
        BAD("101", "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        BAD("101 without Upgrade", "HTTP/1.1 101 x\r\n\r\n" OK LEN0),
        BAD("eleven interim answers",
            "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\n"
            "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\n"
            "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 102 x\r\n\r\n" OK LEN0),
    };
    RESPONSE_ROWS(rows);
}

static void test_an_answer_to_head_has_no_body_whatever_it_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD_MANY("a length", OK "Content-Length: 5\r\n\r\n" OK "\r\n", 2),
        GOOD("chunked", OK "Transfer-Encoding: chunked\r\n\r\n"),
        GOOD("no length", OK "\r\n"),
        BAD("two framings", OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    };
    HEAD_RESPONSE_ROWS(rows);
}

struct answer {
    struct blocks blocks;
    struct arena arena;
    struct http_message *message;
    const struct http_head *head;
    struct bytes rest;
};

static void answer_read(struct answer *answer, struct bytes input, bool method_head)
{
    blocks_init(&answer->blocks, 0, 1);
    arena_init(&answer->arena, &answer->blocks);
    struct http_limits limits = READING_LIMITS;
    answer->message = http_message_new(&answer->arena, HTTP_RESPONSE_MESSAGE, &limits, method_head);
    struct bytes body;
    answer->rest = input;
    assert_int_equal(http_message_feed(answer->message, &answer->rest, &body), HTTP_HEAD);
    answer->head = http_message_head(answer->message);
}

static void answer_close(struct answer *answer)
{
    arena_reset(&answer->arena);
    blocks_close(&answer->blocks);
}

static bool keeps_alive(struct bytes input)
{
    struct answer answer;
    answer_read(&answer, input, false);
    bool keeps = answer.head->keep_alive;
    answer_close(&answer);
    return keeps;
}

static void test_a_link_is_kept_as_both_versions_say(void **state)
{
    (void)state;
    assert_true(keeps_alive(BYTES(OK LEN0)));
    assert_false(keeps_alive(BYTES(OK "Connection: close\r\n" LEN0)));
    assert_false(keeps_alive(BYTES(OK "Connection: close\t\r\n" LEN0)));
    assert_false(keeps_alive(BYTES(OK "Connection: keep-alive, Close\r\n" LEN0)));
    assert_false(keeps_alive(BYTES("HTTP/1.0 200 OK\r\n" LEN0)));
    assert_true(keeps_alive(BYTES("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" LEN0)));
}

static void test_the_length_of_an_unsent_body_goes_on_only_where_it_may(void **state)
{
    (void)state;
    static const struct {
        struct bytes input;
        bool method_head;
        bool goes_on;
    } cases[] = {
        {BYTES(OK "Content-Length: 5\r\n\r\n"), true, true},
        {BYTES("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"), false, true},
        {BYTES("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n"), false, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct answer answer;
        answer_read(&answer, cases[i].input, cases[i].method_head);
        assert_int_equal(answer.head->framing, HTTP_FRAMING_NONE);
        assert_int_equal(!http_head_find(answer.head, HTTP_FIELD_CONTENT_LENGTH)->hop_by_hop, cases[i].goes_on);
        answer_close(&answer);
    }
}

static void test_bytes_behind_an_answer_are_left_to_the_link(void **state)
{
    (void)state;
    struct answer answer;
    answer_read(&answer, BYTES("HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nhi"), false);
    struct bytes body;
    assert_int_equal(http_message_feed(answer.message, &answer.rest, &body), HTTP_END);
    assert_true(bytes_equal(answer.rest, BYTES("hi")));
    answer_close(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_real_processors_send_is_accepted),
        cmocka_unit_test(test_two_framings_or_none_are_refused),
        cmocka_unit_test(test_bytes_with_two_meanings_are_refused),
        cmocka_unit_test(test_status_lines_outside_1_x_and_100_to_599_are_refused),
        cmocka_unit_test(test_an_answer_to_head_has_no_body_whatever_it_says),
        cmocka_unit_test(test_a_link_is_kept_as_both_versions_say),
        cmocka_unit_test(test_the_length_of_an_unsent_body_goes_on_only_where_it_may),
        cmocka_unit_test(test_bytes_behind_an_answer_are_left_to_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
