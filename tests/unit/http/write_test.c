/* What is written, to the byte; and that it reads back as what it was written from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "reading.h"

#include "weir/http/write.h"

static void expect_written(const struct http_writer *writer, const char *text)
{
    assert_false(writer->overflow);
    assert_int_equal(writer->len, strlen(text));
    assert_memory_equal(writer->at, text, writer->len);
}

static void test_a_request_head_is_written_in_one_form(void **state)
{
    (void)state;
    char text[256];
    struct http_writer writer;
    http_write_init(&writer, text, sizeof(text));
    http_write_request_line(&writer, BYTES("POST"), BYTES("/v1/x?y"));
    http_write_field(&writer, BYTES("Host"), BYTES("a"));
    http_write_field_u64(&writer, BYTES("Content-Length"), 0);
    http_write_field_u64(&writer, BYTES("X"), UINT64_MAX);
    http_write_field(&writer, BYTES("Empty"), BYTES_NONE);
    http_write_lines(&writer, BYTES("Connection: close\r\n"));
    http_write_end(&writer);
    expect_written(&writer, "POST /v1/x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX: 18446744073709551615\r\n"
                            "Empty: \r\nConnection: close\r\n\r\n");
    assert_ptr_equal(http_write_bytes(&writer).at, text);
}

static void test_a_status_line_has_our_own_phrase(void **state)
{
    (void)state;
    char text[64];
    struct http_writer writer;
    http_write_init(&writer, text, sizeof(text));
    http_write_status_line(&writer, 404);
    expect_written(&writer, "HTTP/1.1 404 Not Found\r\n");
    http_write_init(&writer, text, sizeof(text));
    http_write_status_line(&writer, 599);
    expect_written(&writer, "HTTP/1.1 599 \r\n");
}

static void test_what_does_not_fit_is_left_out_and_told(void **state)
{
    (void)state;
    char text[32];
    for (size_t size = 0; size < 10; size++) {
        struct http_writer writer;
        memset(text, '!', sizeof(text));
        http_write_init(&writer, text, size);
        http_write_field(&writer, BYTES("abc"), BYTES("xyz"));
        assert_true(writer.overflow);
        assert_int_equal(writer.len, 0);
        assert_int_equal(text[size], '!');
        http_write_lines(&writer, BYTES("")); /* nothing more is written behind a gap */
        http_write_end(&writer);
        assert_int_equal(writer.len, 0);
    }
    struct http_writer writer;
    http_write_init(&writer, text, 10);
    http_write_field(&writer, BYTES("abc"), BYTES("xyz"));
    expect_written(&writer, "abc: xyz\r\n");
    text[10] = '!';
    http_write_end(&writer);
    assert_true(writer.overflow);
    assert_int_equal(writer.len, 10);
    assert_int_equal(text[10], '!');
}

static void test_the_date_is_an_imf_fixdate(void **state)
{
    (void)state;
    assert_string_equal(http_date(784111777000000), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_string_equal(http_date(784111777999999), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_string_equal(http_date(784111778000000), "Sun, 06 Nov 1994 08:49:38 GMT");
    assert_string_equal(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_string_equal(http_date(1709164800000000), "Thu, 29 Feb 2024 00:00:00 GMT");
    assert_string_equal(http_date(253402300799000000), "Fri, 31 Dec 9999 23:59:59 GMT");
}

static void test_a_chunk_head_is_the_shortest_hex(void **state)
{
    (void)state;
    static const struct {
        uint64_t len;
        const char *text;
    } cases[] = {
        {0, "0\r\n"}, {1, "1\r\n"}, {15, "f\r\n"}, {16, "10\r\n"}, {26, "1a\r\n"},
        {0x10000, "10000\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[HTTP_CHUNK_HEAD_BYTES];
        size_t len = http_chunk_head(text, cases[i].len);
        assert_int_equal(len, strlen(cases[i].text));
        assert_memory_equal(text, cases[i].text, len);
    }
}

struct copy {
    char text[4096];
    struct http_writer writer;
};

static void write_copy(struct reading *reading, const struct http_head *head, struct bytes body)
{
    struct copy *copy = reading->data;
    http_write_init(&copy->writer, copy->text, sizeof(copy->text));
    http_write_request_line(&copy->writer, head->method, head->target);
    http_write_passed_fields(&copy->writer, head, 1u << HTTP_FIELD_CONTENT_LENGTH, NULL, 0);
    http_write_field_u64(&copy->writer, BYTES("Content-Length"), body.len);
    http_write_end(&copy->writer);
    http_write_lines(&copy->writer, body);
}

static void test_only_what_may_go_on_is_written_again(void **state)
{
    (void)state;
    struct copy copy;
    struct reading reading = {.kind = HTTP_REQUEST_MESSAGE, .limits = READING_LIMITS, .on_message = write_copy, .data = &copy};
    reading_run(&reading, BYTES("\r\nPOST http://A/x?y HTTP/1.1\r\nhost:a\r\nConnection: X-Hop\r\nx-HOP: 1\r\nTE: trailers\r\n"
                                "aCCept: \t*/* \r\nCookie: a\r\nCookie: b\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "2;x=y\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"));
    assert_int_equal(reading.fault, HTTP_FAULT_NONE);
    expect_written(&copy.writer, "POST /x?y HTTP/1.1\r\nhost: a\r\naCCept: */*\r\nCookie: a\r\nCookie: b\r\n"
                                 "Content-Length: 2\r\n\r\nhi");
    reading_close(&reading);
}

static void test_what_was_written_reads_back_and_writes_the_same_again(void **state)
{
    (void)state;
    struct copy first, second;
    struct reading reading = {.kind = HTTP_REQUEST_MESSAGE, .limits = READING_LIMITS, .on_message = write_copy, .data = &first};
    reading_run(&reading, BYTES("POST /a HTTP/1.1\r\nHost:  a:81\r\nX: b c\r\nContent-Length: 3\r\n\r\nabc"));
    reading_close(&reading);
    reading = (struct reading){.kind = HTTP_REQUEST_MESSAGE, .limits = READING_LIMITS, .on_message = write_copy, .data = &second};
    reading_run(&reading, http_write_bytes(&first.writer));
    assert_int_equal(reading.fault, HTTP_FAULT_NONE);
    assert_int_equal(reading.messages, 1);
    assert_true(bytes_equal(http_write_bytes(&first.writer), http_write_bytes(&second.writer)));
    reading_close(&reading);
}

static void test_fields_in_the_mask_are_left_out(void **state)
{
    (void)state;
    struct http_field fields[] = {
        {.name = BYTES("Date"), .value = BYTES("x"), .id = HTTP_FIELD_DATE},
        {.name = BYTES("A"), .value = BYTES("y"), .id = HTTP_FIELD_OTHER},
        {.name = BYTES("TE"), .value = BYTES("z"), .id = HTTP_FIELD_TE, .hop_by_hop = true},
    };
    struct http_head head = {.fields = fields, .field_count = 3};
    char text[64];
    struct http_writer writer;
    http_write_init(&writer, text, sizeof(text));
    http_write_passed_fields(&writer, &head, 1u << HTTP_FIELD_DATE, NULL, 0);
    expect_written(&writer, "A: y\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_head_is_written_in_one_form),
        cmocka_unit_test(test_a_status_line_has_our_own_phrase),
        cmocka_unit_test(test_what_does_not_fit_is_left_out_and_told),
        cmocka_unit_test(test_the_date_is_an_imf_fixdate),
        cmocka_unit_test(test_a_chunk_head_is_the_shortest_hex),
        cmocka_unit_test(test_only_what_may_go_on_is_written_again),
        cmocka_unit_test(test_what_was_written_reads_back_and_writes_the_same_again),
        cmocka_unit_test(test_fields_in_the_mask_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
