/* Where a body ends, and which chunk framing is refused. */
#include "rows.h"

#define CHUNKED "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define ANSWER "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A1024 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64

static void test_chunks_with_one_reading_are_accepted(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD("two chunks", CHUNKED "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        GOOD("hex of either case", CHUNKED "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"),
        GOOD("eight digits", CHUNKED "00000001\r\nx\r\n00000000\r\n\r\n"),
        GOOD("chunk bytes that look like framing", CHUNKED "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        GOOD("an extension", CHUNKED "1;a=b\r\nx\r\n0;c\r\n\r\n"),
        GOOD("two extensions", CHUNKED "1;a=b;c\r\nx\r\n0\r\n\r\n"),
        GOOD("256 bytes of extensions", CHUNKED "1;aaaaaaaaaaaaaaa" A64 A64 A64 "aaaaaaaaaaaaaaaa" ";aaaaaaaaaaaaaaa" "aaaaaaaaaaaaaaaa" "\r\nx\r\n0\r\n\r\n"),
        GOOD("a trailer", CHUNKED "0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"),
        GOOD_MANY("another request right behind a trailer",
                  CHUNKED "0\r\nX-Sum: 1\r\n\r\n" CHUNKED "1\r\nx\r\n0\r\n\r\n", 2),
    };
    REQUEST_ROWS(rows);
}

static void test_chunk_sizes_with_two_readings_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("empty", CHUNKED "\r\nx\r\n0\r\n\r\n"),
        BAD("empty for the last", CHUNKED "\r\n\r\n"),
        BAD("an extension without a size", CHUNKED ";a\r\n\r\n"),
        BAD("a sign", CHUNKED "+1\r\nx\r\n0\r\n\r\n"),
        BAD("a minus", CHUNKED "-1\r\nx\r\n0\r\n\r\n"),
        BAD("0x", CHUNKED "0x1\r\nx\r\n0\r\n\r\n"),
        BAD("an underscore", CHUNKED "1_0\r\nx\r\n0\r\n\r\n"),
        BAD("a space first", CHUNKED " 1\r\nx\r\n0\r\n\r\n"),
        BAD("a space behind", CHUNKED "1 \r\nx\r\n0\r\n\r\n"),
        BAD("a HTAB behind", CHUNKED "1\t\r\nx\r\n0\r\n\r\n"),
        BAD("nine digits", CHUNKED "000000001\r\nx\r\n0\r\n\r\n"),
        BAD("nine zeros", CHUNKED "000000000\r\n\r\n"),
        BAD("2^64-1", CHUNKED "ffffffffffffffff\r\nx"),
        BAD("2^64+1", CHUNKED "10000000000000001\r\nx"),
        BAD("no hex", CHUNKED "g\r\nx\r\n0\r\n\r\n"),
        BAD("NUL", CHUNKED "1\0\r\nx\r\n0\r\n\r\n"),
        BAD_AS("more than the body may be", CHUNKED "10001\r\n", HTTP_FAULT_BODY_TOO_LARGE),
        BAD_AS("more than the body may be, in two", CHUNKED "1\r\nx\r\n10000\r\n", HTTP_FAULT_BODY_TOO_LARGE),
        BAD_AS("2^32-1", CHUNKED "ffffffff\r\n", HTTP_FAULT_BODY_TOO_LARGE),
    };
    REQUEST_ROWS(rows);
}

static void test_chunk_line_ends_other_than_crlf_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("LF behind the size", CHUNKED "1\nx\r\n0\r\n\r\n"),
        BAD("CR behind the size", CHUNKED "1\rx\r\n0\r\n\r\n"),
        BAD("CR X behind the size", CHUNKED "2\rX\r\n0\r\n\r\n"),
        BAD("CR CR LF behind the size", CHUNKED "1\r\r\nx\r\n0\r\n\r\n"),
        BAD("LF behind the chunk", CHUNKED "1\r\nx\n0\r\n\r\n"),
        BAD("CR behind the chunk", CHUNKED "1\r\nx\r0\r\n\r\n"),
        BAD("two other bytes behind the chunk", CHUNKED "1\r\nxYZ0\r\n\r\n"),
        BAD("a chunk longer than its size", CHUNKED "1\r\nxy\r\n0\r\n\r\n"),
        BAD("a chunk shorter than its size", CHUNKED "3\r\nx\r\n0\r\n\r\n"),
        BAD("LF behind the last size", CHUNKED "0\n\r\n"),
        BAD("LF as the last empty line", CHUNKED "0\r\n\n"),
        BAD("CR as the last empty line", CHUNKED "0\r\n\rX"),
        BAD("LF behind a trailer field", CHUNKED "0\r\nX: a\n\r\n"),
        BAD("LF behind the trailer", CHUNKED "0\r\nX: a\r\n\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_chunk_extensions_that_could_hide_something_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("LF inside", CHUNKED "1;a\nb\r\nx\r\n0\r\n\r\n"),
        BAD("CR inside", CHUNKED "1;a\rb\r\nx\r\n0\r\n\r\n"),
        BAD("NUL inside", CHUNKED "1;a\0b\r\nx\r\n0\r\n\r\n"),
        BAD("a quoted string", CHUNKED "1;a=\"b\"\r\nx\r\n0\r\n\r\n"),
        BAD("a quoted line end", CHUNKED "1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n"),
        BAD("a space", CHUNKED "1; a\r\nx\r\n0\r\n\r\n"),
        BAD("a name that is empty", CHUNKED "1;\r\nx\r\n0\r\n\r\n"),
        BAD("a value that is empty", CHUNKED "1;a=\r\nx\r\n0\r\n\r\n"),
        BAD("two equals signs", CHUNKED "1;a=b=c\r\nx\r\n0\r\n\r\n"),
        BAD("a byte above 0x7f", CHUNKED "1;\xe9\r\nx\r\n0\r\n\r\n"),
        BAD("257 bytes in one", CHUNKED "1;" A64 A64 A64 A64 "\r\nx\r\n0\r\n\r\n"),
        BAD("257 bytes in two", CHUNKED "1;aaa" A64 A64 "\r\nx\r\n1;" A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n0\r\n\r\n"),
        BAD("16 KiB", CHUNKED "1;" A1024 A1024 A1024 A1024 A1024 A1024 A1024 A1024 "\r\nx"),
    };
    REQUEST_ROWS(rows);
}

static void test_trailers_pass_the_checks_of_a_head(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("Content-Length", CHUNKED "0\r\nContent-Length: 1\r\n\r\n"),
        BAD("Transfer-Encoding", CHUNKED "0\r\ntransfer-encoding: chunked\r\n\r\n"),
        BAD("Host", CHUNKED "0\r\nX: 1\r\nHost: b\r\n\r\n"),
        BAD("Authorization", CHUNKED "0\r\nAuthorization: Bearer a\r\n\r\n"),
        BAD("Proxy-Authorization", CHUNKED "0\r\nProxy-Authorization: a\r\n\r\n"),
        BAD("Cookie", CHUNKED "0\r\nCookie: a\r\n\r\n"),
        BAD("Idempotency-Key", CHUNKED "0\r\nIdempotency-Key: a\r\n\r\n"),
        BAD("X-Forwarded-For", CHUNKED "0\r\nX-Forwarded-For: a\r\n\r\n"),
        BAD("no colon", CHUNKED "0\r\nX\r\n\r\n"),
        BAD("an empty name", CHUNKED "0\r\n: a\r\n\r\n"),
        BAD("a space before the colon", CHUNKED "0\r\nX : a\r\n\r\n"),
        BAD("a folded line", CHUNKED "0\r\nX: a\r\n b\r\n\r\n"),
        BAD("an underscore", CHUNKED "0\r\nContent_Length: 1\r\n\r\n"),
        BAD("NUL", CHUNKED "0\r\nX: \0\r\n\r\n"),
        BAD("more than 4 KiB", CHUNKED "0\r\nX: " A1024 A1024 A1024 A1024 "\r\n\r\n"),
        BAD("a request where the trailer should be", CHUNKED "0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_answers_are_as_strict(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD("a digest in the trailer", ANSWER "1\r\nx\r\n0\r\nContent-Digest: a\r\nETag: b\r\n\r\n"),
        BAD("a length in the trailer", ANSWER "0\r\nContent-Length: 1\r\n\r\n"),
        BAD("Content_Length in the trailer", ANSWER "0\r\nContent_Length: 1\r\n\r\n"),
        BAD("nine digits", ANSWER "000000001\r\nx\r\n0\r\n\r\n"),
        BAD("LF as the last empty line", ANSWER "0\r\n\n"),
        BAD("a quoted extension", ANSWER "1;a=\"b\"\r\nx\r\n0\r\n\r\n"),
    };
    RESPONSE_ROWS(rows);
}

static void test_a_trailer_of_a_hundred_and_one_fields_is_refused(void **state)
{
    (void)state;
    char text[1024] = CHUNKED "0\r\n";
    size_t len = strlen(text);
    for (int i = 0; i < HTTP_FIELDS_MAX + 1; i++, len += 4)
        memcpy(text + len, "X:\r\n", 4);
    memcpy(text + len, "\r\n", 2);
    struct row row = {"101 fields", bytes_of(text, len + 2), HTTP_FAULT_HEAD_TOO_LARGE, 0};
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
    row = (struct row){"100 fields", bytes_of(text, len - 4 + 2), HTTP_FAULT_NONE, 1};
    memcpy(text + len - 4, "\r\n", 2);
    assert_true(row_holds(&row, HTTP_REQUEST_MESSAGE, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_with_one_reading_are_accepted),
        cmocka_unit_test(test_chunk_sizes_with_two_readings_are_refused),
        cmocka_unit_test(test_chunk_line_ends_other_than_crlf_are_refused),
        cmocka_unit_test(test_chunk_extensions_that_could_hide_something_are_refused),
        cmocka_unit_test(test_trailers_pass_the_checks_of_a_head),
        cmocka_unit_test(test_answers_are_as_strict),
        cmocka_unit_test(test_a_trailer_of_a_hundred_and_one_fields_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
