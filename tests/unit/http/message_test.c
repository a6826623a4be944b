/* Feeding a message: limits, leads, what is used up and what is left, and the end of the connection. */
#include "rows.h"

#define POST "POST /x HTTP/1.1\r\nHost: a\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

struct fixture {
    struct blocks blocks;
    struct arena arena;
    struct http_message *message;
    struct bytes body;
};

static struct fixture *open_as(enum http_kind kind, struct http_limits limits)
{
    static struct fixture fixture;
    blocks_init(&fixture.blocks, 0, 1);
    arena_init(&fixture.arena, &fixture.blocks);
    fixture.message = http_message_new(&fixture.arena, kind, &limits, false);
    assert_non_null(fixture.message);
    return &fixture;
}

static struct fixture *open_request(void)
{
    return open_as(HTTP_REQUEST_MESSAGE, READING_LIMITS);
}

static void close_fixture(struct fixture *fixture)
{
    arena_reset(&fixture->arena);
    blocks_close(&fixture->blocks);
}

static enum http_event feed(struct fixture *fixture, struct bytes *data)
{
    return http_message_feed(fixture->message, data, &fixture->body);
}

static enum http_event feed_text(struct fixture *fixture, const char *text)
{
    struct bytes data = bytes_from_text(text);
    return feed(fixture, &data);
}

static void test_a_whole_request_comes_out_as_head_body_and_end(void **state)
{
    (void)state;
    struct fixture *fixture = open_request();
    struct bytes data = BYTES(POST "Content-Length: 5\r\n\r\nhelloGET");
    assert_int_equal(feed(fixture, &data), HTTP_HEAD);
    assert_true(bytes_equal(data, BYTES("helloGET")));
    const char *sent = data.at;
    assert_int_equal(feed(fixture, &data), HTTP_BODY);
    assert_true(bytes_equal(fixture->body, BYTES("hello")));
    assert_ptr_equal(fixture->body.at, sent); /* borrowed, not copied */
    assert_int_equal(feed(fixture, &data), HTTP_END);
    assert_true(bytes_equal(data, BYTES("GET")));
    assert_int_equal(feed(fixture, &data), HTTP_END); /* and stays so */
    assert_int_equal(data.len, 3);
    assert_int_equal(http_message_body_bytes(fixture->message), 5);
    assert_int_equal(http_message_wire_bytes(fixture->message), sizeof(POST "Content-Length: 5\r\n\r\nhello") - 1);
    close_fixture(fixture);
}

static void test_the_head_lives_on_when_the_read_buffer_is_gone(void **state)
{
    (void)state;
    struct fixture *fixture = open_request();
    char *input = strdup(POST "X-Name: value\r\n\r\n");
    struct bytes data = bytes_from_text(input);
    assert_int_equal(feed(fixture, &data), HTTP_HEAD);
    free(input);
    const struct http_field *field = http_head_find_name(http_message_head(fixture->message), BYTES("x-name"));
    assert_true(bytes_equal(field->value, BYTES("value")));
    close_fixture(fixture);
}

static void test_more_than_one_empty_line_before_a_request_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD("one", "\r\n" POST "\r\n"),
        BAD("two", "\r\n\r\n" POST "\r\n"),
        BAD("LF alone", "\n" POST "\r\n"),
        BAD("CR alone", "\r" POST "\r\n"),
        BAD("a space", " " POST "\r\n"),
        BAD("TLS", "\x16\x03\x01\x02\x00\x01"),
        BAD("NUL", "\0"),
        BAD("0x80", "\x80\x2e\x01"),
    };
    REQUEST_ROWS(rows);
}

static void test_only_a_byte_of_a_request_begins_it(void **state)
{
    (void)state;
    struct fixture *fixture = open_request();
    assert_int_equal(feed_text(fixture, "\r"), HTTP_MORE);
    assert_int_equal(feed_text(fixture, "\n"), HTTP_MORE);
    assert_false(http_message_begun(fixture->message));
    assert_int_equal(http_message_finish(fixture->message), HTTP_MORE);
    assert_int_equal(feed_text(fixture, "P"), HTTP_MORE);
    assert_true(http_message_begun(fixture->message));
    assert_int_equal(http_message_finish(fixture->message), HTTP_FAULTED);
    close_fixture(fixture);
}

static void test_a_request_line_is_refused_before_its_head_is_whole(void **state)
{
    (void)state;
    struct fixture *fixture = open_request();
    assert_int_equal(feed_text(fixture, "GET / HTTP/2.0\r\nHost: a"), HTTP_FAULTED);
    assert_int_equal(http_message_fault(fixture->message), HTTP_FAULT_VERSION);
    close_fixture(fixture);
}

static void test_a_lone_cr_is_refused_before_the_head_is_whole(void **state)
{
    (void)state;
    static const char *const starts[] = {
        "GET /\rx", "GET / HTTP/1.1\rX", POST "X: a\rb", POST "\rX", POST "X\rY", POST "X: a\r\r",
    };
    for (size_t i = 0; i < ARRAY_COUNT(starts); i++) {
        struct fixture *fixture = open_request();
        assert_int_equal(feed_text(fixture, starts[i]), HTTP_FAULTED);
        assert_string_equal(http_message_fault_text(fixture->message), "CR without LF");
        close_fixture(fixture);
    }
}

static void test_a_lone_cr_does_not_hide_an_earlier_fault(void **state)
{
    (void)state;
    char text[1024];
    size_t len = (size_t)snprintf(text, sizeof(text), POST);
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "X:\r\n");
    len += (size_t)snprintf(text + len, sizeof(text) - len, "X: a\rb\r\n\r\n");
    struct row row = {"101 fields, then a CR", bytes_of(text, len), HTTP_FAULT_HEAD_TOO_LARGE, 0};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
    static const struct row rows[] = {
        BAD("an underscore first", POST "X_Y: a\r\nZ: a\rb\r\n\r\n"),
        BAD_AS("another version first", "GET / HTTP/2.0\r\nZ: a\rb\r\n\r\n", HTTP_FAULT_VERSION),
    };
    REQUEST_ROWS(rows);
}

static void test_a_fault_is_final(void **state)
{
    (void)state;
    struct fixture *fixture = open_request();
    assert_int_equal(feed_text(fixture, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_FAULTED);
    assert_int_equal(feed_text(fixture, POST "\r\n"), HTTP_FAULTED);
    assert_int_equal(http_message_finish(fixture->message), HTTP_FAULTED);
    assert_int_equal(http_message_fault(fixture->message), HTTP_FAULT_METHOD);
    assert_string_equal(http_message_fault_text(fixture->message), "a method that is never allowed");
    close_fixture(fixture);
}

/* `fill` bytes of a field's value, in a head of `POST` and that field. */
static struct bytes head_of(char *text, size_t fill)
{
    size_t len = (size_t)snprintf(text, 64, POST "X: ");
    memset(text + len, 'a', fill);
    memcpy(text + len + fill, "\r\n\r\n", 4);
    return bytes_of(text, len + fill + 4);
}

static void test_a_head_may_be_as_large_as_its_limit_and_no_larger(void **state)
{
    (void)state;
    static char text[20000];
    size_t around = head_of(text, 0).len;
    struct row row = {"at the limit", head_of(text, 16384 - around), HTTP_FAULT_NONE, 1};
    assert_int_equal(row.input.len, 16384);
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
    row = (struct row){"above the limit", head_of(text, 16384 - around + 1), HTTP_FAULT_HEAD_TOO_LARGE, 0};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
}

static void test_an_answers_head_is_limited_as_well(void **state)
{
    (void)state;
    static char text[20000];
    memset(text, 'a', sizeof(text));
    memcpy(text, OK "X: ", sizeof(OK "X: ") - 1);
    struct row row = {"endless", bytes_of(text, sizeof(text)), HTTP_FAULT_HEAD_TOO_LARGE, 0};
    assert_true(row_holds(&row, HTTP_RESPONSE_MESSAGE, false));
    memset(text, 'H', sizeof(text));
    row = (struct row){"endless first line", bytes_of(text, sizeof(text)), HTTP_FAULT_HEAD_TOO_LARGE, 0};
    assert_true(row_holds(&row, HTTP_RESPONSE_MESSAGE, false));
}

static void test_a_long_target_is_told_from_a_large_head(void **state)
{
    (void)state;
    static char text[20000];
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    struct row row = {"no end in sight", bytes_of(text, sizeof(text)), HTTP_FAULT_URI_TOO_LONG, 0};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
    memcpy(text, "aaaaa", 5);
    row = (struct row){"not even a space", bytes_of(text, sizeof(text)), HTTP_FAULT_MALFORMED, 0};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
    static const char behind[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
    memcpy(text, "GET /", 5);
    memcpy(text + 4 + 8193, behind, sizeof(behind) - 1);
    row = (struct row){"8193 bytes", bytes_of(text, 4 + 8193 + sizeof(behind) - 1), HTTP_FAULT_URI_TOO_LONG, 0};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
    memcpy(text + 4 + 8192, behind, sizeof(behind) - 1);
    row = (struct row){"8192 bytes", bytes_of(text, 4 + 8192 + sizeof(behind) - 1), HTTP_FAULT_NONE, 1};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
}

static void test_a_hundred_fields_are_accepted_and_one_more_is_not(void **state)
{
    (void)state;
    char text[1024];
    size_t len = (size_t)snprintf(text, sizeof(text), POST);
    for (int i = 1; i < HTTP_FIELDS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "X:\r\n");
    snprintf(text + len, sizeof(text) - len, "\r\n");
    struct row row = {"100", bytes_of(text, len + 2), HTTP_FAULT_NONE, 1};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
    snprintf(text + len, sizeof(text) - len, "X:\r\n\r\n");
    row = (struct row){"101", bytes_of(text, len + 6), HTTP_FAULT_HEAD_TOO_LARGE, 0};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
}

static void test_a_length_above_the_routes_limit_is_refused_before_it_is_read(void **state)
{
    (void)state;
    struct fixture *fixture = open_request();
    assert_int_equal(feed_text(fixture, POST "Content-Length: 11\r\n\r\n"), HTTP_HEAD);
    assert_int_equal(http_message_head(fixture->message)->content_length, 11);
    http_message_set_body_max(fixture->message, 10);
    assert_int_equal(http_message_fault(fixture->message), HTTP_FAULT_BODY_TOO_LARGE);
    assert_int_equal(feed_text(fixture, "hello"), HTTP_FAULTED);
    close_fixture(fixture);
}

static void test_a_length_above_the_listeners_limit_is_refused_unless_the_route_allows_it(void **state)
{
    (void)state;
    struct http_limits limits = READING_LIMITS;
    limits.body_bytes_max = 10;
    for (int raised = 0; raised < 2; raised++) {
        struct fixture *fixture = open_as(HTTP_REQUEST_MESSAGE, limits);
        assert_int_equal(feed_text(fixture, POST "Content-Length: 11\r\n\r\n"), HTTP_HEAD);
        if (raised)
            http_message_set_body_max(fixture->message, 11);
        assert_int_equal(feed_text(fixture, "hello world"), raised ? HTTP_BODY : HTTP_FAULTED);
        close_fixture(fixture);
    }
}

static void test_chunks_above_the_routes_limit_are_refused_at_the_size_line(void **state)
{
    (void)state;
    struct fixture *fixture = open_request();
    assert_int_equal(feed_text(fixture, POST "Transfer-Encoding: chunked\r\n\r\n"), HTTP_HEAD);
    http_message_set_body_max(fixture->message, 10);
    assert_int_equal(feed_text(fixture, "a\r\n0123456789"), HTTP_BODY);
    assert_int_equal(feed_text(fixture, "\r\n1"), HTTP_MORE);
    assert_int_equal(feed_text(fixture, "\r\n"), HTTP_FAULTED);
    assert_int_equal(http_message_fault(fixture->message), HTTP_FAULT_BODY_TOO_LARGE);
    close_fixture(fixture);
}

static void test_a_body_that_ends_too_early_is_a_fault(void **state)
{
    (void)state;
    static const char *const cut[] = {
        OK,
        OK "Content-Length: 2\r\n\r\n",
        OK "Content-Length: 2\r\n\r\nx",
        OK "Transfer-Encoding: chunked\r\n\r\n",
        OK "Transfer-Encoding: chunked\r\n\r\n2\r\nx",
        OK "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cut); i++) {
        struct fixture *fixture = open_as(HTTP_RESPONSE_MESSAGE, READING_LIMITS);
        struct bytes data = bytes_from_text(cut[i]);
        while (feed(fixture, &data) != HTTP_MORE)
            assert_int_equal(http_message_fault(fixture->message), HTTP_FAULT_NONE);
        assert_int_equal(http_message_finish(fixture->message), HTTP_FAULTED);
        assert_int_equal(http_message_fault(fixture->message), HTTP_FAULT_MALFORMED);
        close_fixture(fixture);
    }
}

static void test_the_end_of_the_connection_is_no_fault_before_a_message_or_behind_it(void **state)
{
    (void)state;
    struct fixture *fixture = open_as(HTTP_RESPONSE_MESSAGE, READING_LIMITS);
    assert_int_equal(http_message_finish(fixture->message), HTTP_MORE);
    assert_int_equal(feed_text(fixture, OK "Content-Length: 1\r\n\r\n"), HTTP_HEAD);
    assert_int_equal(feed_text(fixture, "x"), HTTP_BODY);
    assert_int_equal(http_message_finish(fixture->message), HTTP_END);
    close_fixture(fixture);
}

static void test_a_full_supply_is_told_from_a_malformed_head(void **state)
{
    (void)state;
    static char text[9000];
    struct fixture *fixture = open_request();
    blocks_set_limit(&fixture->blocks, BLOCK_BYTES);
    struct bytes data = head_of(text, 8000);
    assert_int_equal(feed(fixture, &data), HTTP_FAULTED);
    assert_int_equal(http_message_fault(fixture->message), HTTP_FAULT_NO_ROOM);
    close_fixture(fixture);
}

static void test_a_message_is_refused_when_there_is_no_room_for_it(void **state)
{
    (void)state;
    struct blocks blocks;
    struct arena arena;
    blocks_init(&blocks, 1, 0);
    arena_init(&arena, &blocks);
    struct http_limits limits = READING_LIMITS;
    assert_null(http_message_new(&arena, HTTP_REQUEST_MESSAGE, &limits, false));
    arena_reset(&arena);
    blocks_close(&blocks);
}

static void test_a_head_fed_byte_by_byte_costs_at_most_three_times_its_limit(void **state)
{
    (void)state;
    static char text[20000];
    struct fixture *fixture = open_request();
    struct bytes input = head_of(text, 16384 - head_of(text, 0).len);
    enum http_event event = HTTP_MORE;
    for (size_t i = 0; i < input.len; i++) {
        struct bytes data = bytes_of(input.at + i, 1);
        event = feed(fixture, &data);
    }
    assert_int_equal(event, HTTP_HEAD);
    assert_true(fixture->blocks.used_bytes_peak <= 3 * 16384);
    close_fixture(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_request_comes_out_as_head_body_and_end),
        cmocka_unit_test(test_the_head_lives_on_when_the_read_buffer_is_gone),
        cmocka_unit_test(test_more_than_one_empty_line_before_a_request_is_refused),
        cmocka_unit_test(test_only_a_byte_of_a_request_begins_it),
        cmocka_unit_test(test_a_request_line_is_refused_before_its_head_is_whole),
        cmocka_unit_test(test_a_lone_cr_is_refused_before_the_head_is_whole),
        cmocka_unit_test(test_a_lone_cr_does_not_hide_an_earlier_fault),
        cmocka_unit_test(test_a_fault_is_final),
        cmocka_unit_test(test_a_head_may_be_as_large_as_its_limit_and_no_larger),
        cmocka_unit_test(test_an_answers_head_is_limited_as_well),
        cmocka_unit_test(test_a_long_target_is_told_from_a_large_head),
        cmocka_unit_test(test_a_hundred_fields_are_accepted_and_one_more_is_not),
        cmocka_unit_test(test_a_length_above_the_routes_limit_is_refused_before_it_is_read),
        cmocka_unit_test(test_a_length_above_the_listeners_limit_is_refused_unless_the_route_allows_it),
        cmocka_unit_test(test_chunks_above_the_routes_limit_are_refused_at_the_size_line),
        cmocka_unit_test(test_a_body_that_ends_too_early_is_a_fault),
        cmocka_unit_test(test_the_end_of_the_connection_is_no_fault_before_a_message_or_behind_it),
        cmocka_unit_test(test_a_full_supply_is_told_from_a_malformed_head),
        cmocka_unit_test(test_a_message_is_refused_when_there_is_no_room_for_it),
        cmocka_unit_test(test_a_head_fed_byte_by_byte_costs_at_most_three_times_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
