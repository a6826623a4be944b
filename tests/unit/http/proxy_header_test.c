/* PROXY headers of both versions: whole, in pieces, and every way to get one wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "weir/http/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 SIGNATURE "\x21\x11\0\x0c"
#define IPV4 "\x01\x02\x03\x04\x05\x06\x07\x08\x10\x20\x30\x40"

struct good {
    struct bytes header;
    const char *source; /* NULL: local */
};

struct bad {
    const char *what;
    struct bytes header;
};

static const struct good goods[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"), "192.0.2.1:56324"},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 0 65535\r\n"), "192.0.2.1:0"},
    {BYTES("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), "[2001:db8::1]:1"},
    {BYTES("PROXY UNKNOWN\r\n"), NULL},
    {BYTES("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), NULL},
    {BYTES(TCP4 IPV4), "1.2.3.4:4128"},
    {BYTES(SIGNATURE "\x21\x11\0\x10" IPV4 "\x04\0\x01x"), "1.2.3.4:4128"},
    {BYTES(SIGNATURE "\x21\x21\0\x24" "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                     "\x10\x20\x30\x40"), "[2001:db8::1]:4128"},
    {BYTES(SIGNATURE "\x20\0\0\0"), NULL},
    {BYTES(SIGNATURE "\x20\x11\0\x03" "abc"), NULL},
    {BYTES(SIGNATURE "\x21\0\0\0"), NULL},
};

static void test_a_header_is_read_and_what_follows_is_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(goods); i++) {
        char data[256], text[ADDR_TEXT_BYTES];
        struct proxy_header header;
        size_t len = goods[i].header.len;
        memcpy(data, goods[i].header.at, len);
        memcpy(data + len, "GET / HTTP/1.1\r\n", 16);
        assert_int_equal(proxy_header_parse(bytes_of(data, len + 16), &header), PROXY_HEADER_DONE);
        assert_int_equal(header.len, len);
        assert_int_equal(header.local, goods[i].source == NULL);
        if (goods[i].source != NULL)
            assert_string_equal(addr_format(&header.source, text), goods[i].source);
    }
}

static void test_a_header_in_pieces_asks_for_more_until_it_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(goods); i++) {
        struct proxy_header header;
        for (size_t len = 0; len < goods[i].header.len; len++)
            assert_int_equal(proxy_header_parse(bytes_take(goods[i].header, len), &header), PROXY_HEADER_MORE);
        assert_int_equal(proxy_header_parse(goods[i].header, &header), PROXY_HEADER_DONE);
    }
}

static const struct bad bads[] = {
    {"an HTTP request", BYTES("GET / HTTP/1.1\r\n")},
    {"TLS", BYTES("\x16\x03\x01")},
    {"lower case", BYTES("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n")},
    {"another family", BYTES("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n")},
    {"no family", BYTES("PROXY \r\n")},
    {"two spaces", BYTES("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n")},
    {"two spaces inside", BYTES("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n")},
    {"a space at the end", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n")},
    {"too few words", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n")},
    {"too many words", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n")},
    {"a leading zero in a port", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n")},
    {"a port above 65535", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n")},
    {"a port of letters", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 a 2\r\n")},
    {"a negative port", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n")},
    {"an octet above 255", BYTES("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n")},
    {"a leading zero in an octet", BYTES("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n")},
    {"a name", BYTES("PROXY TCP4 localhost 1.2.3.4 1 2\r\n")},
    {"IPv6 as TCP4", BYTES("PROXY TCP4 ::1 ::1 1 2\r\n")},
    {"IPv4 as TCP6", BYTES("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n")},
    {"a bad destination", BYTES("PROXY TCP4 1.2.3.4 x 1 2\r\n")},
    {"a bad destination port", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n")},
    {"LF without CR", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n")},
    {"LF without CR behind UNKNOWN", BYTES("PROXY UNKNOWN \n")},
    {"NUL", BYTES("PROXY TCP4 1.2.3.4 1.2.3.4\0 1 2\r\n")},
    {"108 bytes", BYTES("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")},
    {"107 bytes without an end", BYTES("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")},
    {"a broken signature", BYTES("\r\n\r\n\0\r\nQUIX")},
    {"version 1 in binary", BYTES(SIGNATURE "\x11\x11\0\x0c" IPV4)},
    {"version 3", BYTES(SIGNATURE "\x31\x11\0\x0c" IPV4)},
    {"an unknown command", BYTES(SIGNATURE "\x22\x11\0\x0c" IPV4)},
    {"UDP", BYTES(SIGNATURE "\x21\x12\0\x0c" IPV4)},
    {"an unknown family", BYTES(SIGNATURE "\x21\x41\0\x0c" IPV4)},
    {"too short for its family", BYTES(SIGNATURE "\x21\x11\0\x0b" IPV4)},
    {"IPv4 bytes as IPv6", BYTES(SIGNATURE "\x21\x21\0\x0c" IPV4)},
    {"half a TLV", BYTES(SIGNATURE "\x21\x11\0\x0e" IPV4 "\x04\0")},
    {"a TLV longer than the header", BYTES(SIGNATURE "\x21\x11\0\x10" IPV4 "\x04\0\x02x")},
    {"longer than 1024 bytes", BYTES(SIGNATURE "\x21\x11\x04\x00")},
};

static void test_anything_else_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bads); i++) {
        struct proxy_header header;
        if (proxy_header_parse(bads[i].header, &header) != PROXY_HEADER_BAD)
            fail_msg("%s was not refused", bads[i].what);
    }
}

static void test_a_unix_socket_behind_the_proxy_is_no_address(void **state)
{
    (void)state;
    char data[16 + 216] = {0};
    memcpy(data, SIGNATURE "\x21\x31\0\xd8", 16);
    struct proxy_header header;
    assert_int_equal(proxy_header_parse(bytes_of(data, sizeof(data)), &header), PROXY_HEADER_DONE);
    assert_true(header.local);
    assert_int_equal(header.len, sizeof(data));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_header_is_read_and_what_follows_is_left),
        cmocka_unit_test(test_a_header_in_pieces_asks_for_more_until_it_is_whole),
        cmocka_unit_test(test_anything_else_is_refused),
        cmocka_unit_test(test_a_unix_socket_behind_the_proxy_is_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
