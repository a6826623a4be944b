/* The byte check alone: where a head ends, and what each byte may be in each place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "weir/http/scan.h"

static void test_the_end_of_a_head_is_found_wherever_it_is_split(void **state)
{
    (void)state;
    struct bytes data = BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody");
    size_t end = data.len - 4;
    assert_int_equal(scan_head_end(data, 0), end);
    for (size_t len = 0; len < end; len++)
        assert_int_equal(scan_head_end(bytes_take(data, len), 0), 0);
    for (size_t from = 0; from < end; from++)
        assert_int_equal(scan_head_end(data, from), end);
}

static void test_a_head_ends_at_whatever_anyone_may_take_for_an_empty_line(void **state)
{
    (void)state;
    assert_int_equal(scan_head_end(BYTES("a\n\nb\r\n\r\n"), 0), 3);
    assert_int_equal(scan_head_end(BYTES("a\n\r\nb\r\n\r\n"), 0), 4);
    assert_int_equal(scan_head_end(BYTES("a\r\n\nb\r\n\r\n"), 0), 4);
    assert_int_equal(scan_head_end(BYTES("a\r\n\rb\n"), 0), 0);
}

static bool accepts(bool request, const char *before, char byte, const char *behind)
{
    char text[64];
    struct bytes first = bytes_from_text(before), last = bytes_from_text(behind);
    memcpy(text, first.at, first.len);
    text[first.len] = byte;
    memcpy(text + first.len + 1, last.at, last.len);
    return scan_fields(bytes_of(text, first.len + 1 + last.len), request).fault == HTTP_FAULT_NONE;
}

static bool is_token(int byte)
{
    if ((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'))
        return true;
    return byte > 0 && byte < 0x80 && strchr("!#$%&'*+-.^_`|~", byte) != NULL;
}

static void test_every_byte_in_a_name_is_a_token_byte(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool colon = byte == ':'; /* ends the name, and the rest is a value */
        assert_int_equal(accepts(true, "a", (char)byte, "b: c\r\n\r\n"), colon || (is_token(byte) && byte != '_'));
        assert_int_equal(accepts(false, "a", (char)byte, "b: c\r\n\r\n"), colon || is_token(byte));
        assert_int_equal(accepts(true, "", (char)byte, "b: c\r\n\r\n"), is_token(byte) && byte != '_');
    }
}

static void test_every_byte_in_a_value_is_visible_or_white_space(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool text = byte == '\t' || (byte >= ' ' && byte < 0x7f);
        assert_int_equal(accepts(true, "a: b", (char)byte, "c\r\n\r\n"), text);
        assert_int_equal(accepts(false, "a: b", (char)byte, "c\r\n\r\n"), text || byte >= 0x80);
        assert_int_equal(accepts(true, "a: b\r\n", (char)byte, "c: d\r\n\r\n"), is_token(byte) && byte != '_');
    }
}

static bool accepts_target(int byte)
{
    char line[] = "GET /a?b HTTP/1.1\r\n";
    line[7] = (char)byte;
    return scan_request_line(bytes_of(line, sizeof(line) - 1), 100).fault == HTTP_FAULT_NONE;
}

static void test_every_byte_in_a_target_is_one_that_need_not_be_encoded(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool plain = byte > ' ' && byte < 0x7f && strchr("\"#<>\\^`{|}", byte) == NULL;
        assert_int_equal(accepts_target(byte), plain);
    }
}

static void test_only_a_single_space_parts_the_words_of_a_first_line(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char line[] = "GET / HTTP/1.1\r\n";
        struct bytes bytes = bytes_of(line, sizeof(line) - 1);
        line[3] = (char)byte;
        assert_int_equal(scan_request_line(bytes, 9).fault == HTTP_FAULT_NONE, byte == ' ');
        line[3] = ' ';
        line[5] = (char)byte;
        assert_int_equal(scan_request_line(bytes, 99).fault == HTTP_FAULT_NONE, byte == ' ');
        char status[] = "HTTP/1.1 200 OK\r\n";
        status[8] = (char)byte;
        assert_int_equal(scan_status_line(bytes_of(status, sizeof(status) - 1)).fault == HTTP_FAULT_NONE, byte == ' ');
        status[8] = ' ';
        status[12] = (char)byte;
        assert_int_equal(scan_status_line(bytes_of(status, sizeof(status) - 1)).fault == HTTP_FAULT_NONE, byte == ' ');
    }
}

static void test_fields_are_counted_up_to_their_limit(void **state)
{
    (void)state;
    assert_int_equal(scan_fields(BYTES("\r\n"), true).field_count, 0);
    assert_int_equal(scan_fields(BYTES("a:\r\nb:\r\n\r\n"), true).field_count, 2);
    assert_int_equal(scan_request_head(BYTES("GET / HTTP/1.1\r\na:\r\n\r\n"), 10).field_count, 1);
    assert_int_equal(scan_response_head(BYTES("HTTP/1.1 200 OK\r\na:\r\n\r\n")).field_count, 1);
}

static void test_a_target_is_held_against_the_limit_given(void **state)
{
    (void)state;
    assert_int_equal(scan_request_line(BYTES("GET /23 HTTP/1.1\r\n"), 3).fault, HTTP_FAULT_NONE);
    assert_int_equal(scan_request_line(BYTES("GET /234 HTTP/1.1\r\n"), 3).fault, HTTP_FAULT_URI_TOO_LONG);
}

static void test_a_refusal_says_why(void **state)
{
    (void)state;
    assert_string_equal(scan_fields(BYTES("a: b\n\r\n"), true).text, "a line ends in LF without CR");
    assert_string_equal(scan_fields(BYTES("a: b\rc\r\n\r\n"), true).text, "CR without LF");
    assert_string_equal(scan_fields(BYTES("a: \0\r\n\r\n"), true).text, "a NUL byte");
    assert_string_equal(scan_fields(BYTES("a: \x80\r\n\r\n"), true).text, "a byte above 0x7f");
    assert_string_equal(scan_fields(BYTES("a_b: c\r\n\r\n"), true).text, "an underscore in a field name");
    assert_string_equal(scan_fields(BYTES(" a: c\r\n\r\n"), true).text, "a line begins with white space");
    assert_null(scan_fields(BYTES("a: b\r\n\r\n"), true).text);
    assert_string_equal(scan_request_line(BYTES("GET / HTTP/1.1\n"), 9).text, "a line ends in LF without CR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_end_of_a_head_is_found_wherever_it_is_split),
        cmocka_unit_test(test_a_head_ends_at_whatever_anyone_may_take_for_an_empty_line),
        cmocka_unit_test(test_every_byte_in_a_name_is_a_token_byte),
        cmocka_unit_test(test_every_byte_in_a_value_is_visible_or_white_space),
        cmocka_unit_test(test_every_byte_in_a_target_is_one_that_need_not_be_encoded),
        cmocka_unit_test(test_only_a_single_space_parts_the_words_of_a_first_line),
        cmocka_unit_test(test_fields_are_counted_up_to_their_limit),
        cmocka_unit_test(test_a_target_is_held_against_the_limit_given),
        cmocka_unit_test(test_a_refusal_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
