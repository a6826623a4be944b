/* Every row of the request catalogue, and every leniency of llhttp that a request could use. */
#include "rows.h"

#define H "Host: a.example\r\n"
#define POST "POST /x HTTP/1.1\r\n" H
#define GET "GET /x HTTP/1.1\r\n" H

static void test_what_real_clients_send_is_accepted(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD("a plain GET", GET "\r\n"),
        GOOD("a POST with a length", POST "Content-Length: 5\r\n\r\nhello"),
        GOOD("a POST without a body", POST "\r\n"),
        GOOD("a POST of length 0", POST "Content-Length: 0\r\n\r\n"),
        GOOD("GET with Content-Length: 0", GET "Content-Length: 0\r\n\r\n"),
        GOOD("HEAD with Content-Length: 0", "HEAD /x HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"),
        GOOD("DELETE with Content-Length: 0", "DELETE /x HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"),
        GOOD("PUT", "PUT /x HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx"),
        GOOD("PATCH", "PATCH /x HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx"),
        GOOD("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" H "\r\n"),
        GOOD("OPTIONS of a path", "OPTIONS /x HTTP/1.1\r\n" H "\r\n"),
        GOOD("chunked", POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        GOOD("Chunked in capitals, with space around", POST "Transfer-Encoding: \tCHUNKED \r\n\r\n0\r\n\r\n"),
        GOOD("one empty CRLF first", "\r\n" GET "\r\n"),
        GOOD("no space behind a colon", "GET / HTTP/1.1\r\nHost:a\r\n\r\n"),
        GOOD("an empty value", GET "X-Empty:\r\n\r\n"),
        GOOD("HTAB inside a value", GET "X-Tab: a\tb\r\n\r\n"),
        GOOD("brackets in a query", "GET /x?expand[]=a&b[c]=d HTTP/1.1\r\n" H "\r\n"),
        GOOD("Expect: 100-continue", POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx"),
        GOOD("Upgrade that is not honoured", GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        GOOD("h2c that is not honoured",
             GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"),
        GOOD("a POST with Upgrade and its body",
             POST "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"),
        GOOD("empty elements of Connection", GET "Connection: close,, \r\n\r\n"),
        GOOD_MANY("two pipelined", POST "Content-Length: 2\r\n\r\nhi" GET "\r\n", 2),
        GOOD_MANY("a chunked one and another behind it",
                  POST "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" GET "\r\n", 2),
        GOOD_MANY("an empty CRLF between two", POST "Content-Length: 2\r\n\r\nhi\r\n" GET "\r\n", 2),
    };
    REQUEST_ROWS(rows);
}

static void test_two_framings_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("CL.TE", POST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
        BAD("TE.CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n"),
        BAD("TE and Content-Length: 0", POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
        BAD("two equal Content-Length", POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        BAD("two different Content-Length", POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        BAD("a list in Content-Length", POST "Content-Length: 1, 1\r\n\r\nx"),
        BAD("a sign", POST "Content-Length: +1\r\n\r\nx"),
        BAD("a minus", POST "Content-Length: -1\r\n\r\nx"),
        BAD("hex", POST "Content-Length: 0x1\r\n\r\nx"),
        BAD("a space inside", POST "Content-Length: 1 0\r\n\r\nx"),
        BAD("an empty one", POST "Content-Length:\r\n\r\n"),
        BAD("an exponent", POST "Content-Length: 1e0\r\n\r\nx"),
        BAD("a fraction", POST "Content-Length: 1.0\r\n\r\nx"),
        BAD("a tab behind", POST "Content-Length: 1\t\r\n\r\nx"),
        BAD("leading zeros", POST "Content-Length: 01\r\n\r\nx"),
        BAD("two zeros", POST "Content-Length: 00\r\n\r\n"),
        BAD("19 digits", POST "Content-Length: 1000000000000000000\r\n\r\n"),
        BAD("2^64-1", POST "Content-Length: 18446744073709551615\r\n\r\n"),
        BAD("2^64", POST "Content-Length: 18446744073709551616\r\n\r\n"),
        BAD("quoted", POST "Content-Length: \"1\"\r\n\r\nx"),
        BAD("an underscore for the dash", POST "Content_Length: 1\r\n\r\nx"),
        BAD("Transfer_Encoding", POST "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_a_transfer_encoding_other_than_chunked_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("identity", POST "Transfer-Encoding: identity\r\n\r\n"),
        BAD("identity, chunked", POST "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
        BAD("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        BAD("chunked, gzip", POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        BAD("chunked, chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        BAD(",chunked", POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
        BAD("chunked,", POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
        BAD("two lines", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BAD("two lines, one of identity", POST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BAD("empty", POST "Transfer-Encoding:\r\n\r\n"),
        BAD("empty and a length", POST "Transfer-Encoding:\r\nContent-Length: 1\r\n\r\nx"),
        BAD("quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        BAD("a parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
        BAD("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        BAD("chunkedx", POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n"),
        BAD("a tab behind", POST "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n"),
        BAD("padded with VT", POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n"),
        BAD("padded with 0x85", POST "Transfer-Encoding: \x85" "chunked\r\n\r\n0\r\n\r\n"),
        BAD("padded with 0xa0", POST "Transfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n"),
        BAD_AS("on HTTP/1.0", "POST /x HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HTTP_FAULT_VERSION),
        BAD("folded", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        BAD("space before the colon", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        BAD_AS("gzip", POST "Transfer-Encoding: gzip\r\n\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
        BAD_AS("deflate", POST "Transfer-Encoding: Deflate\r\n\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
        BAD_AS("compress", POST "Transfer-Encoding: compress\r\n\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
    };
    REQUEST_ROWS(rows);
}

static void test_a_body_on_a_method_without_one_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("GET", GET "Content-Length: 1\r\n\r\nx"),
        BAD("HEAD", "HEAD /x HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx"),
        BAD("DELETE", "DELETE /x HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx"),
        BAD("OPTIONS", "OPTIONS /x HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx"),
        BAD("chunked GET", GET "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BAD("chunked DELETE", "DELETE /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_methods_and_versions_outside_the_list_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD_AS("TRACE", "TRACE /x HTTP/1.1\r\n" H "\r\n", HTTP_FAULT_METHOD),
        BAD_AS("CONNECT", "CONNECT a.example:443 HTTP/1.1\r\n" H "\r\n", HTTP_FAULT_METHOD),
        BAD_AS("lower case", "get /x HTTP/1.1\r\n" H "\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
        BAD_AS("PROPFIND", "PROPFIND /x HTTP/1.1\r\n" H "\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
        BAD_AS("GETT", "GETT /x HTTP/1.1\r\n" H "\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
        BAD_AS("a long one", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /x HTTP/1.1\r\n" H "\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
        BAD_AS("SOURCE", "SOURCE /x HTTP/1.1\r\n" H "\r\n", HTTP_FAULT_NOT_IMPLEMENTED),
        BAD_AS("HTTP/2.0 in text", "GET /x HTTP/2.0\r\n" H "\r\n", HTTP_FAULT_VERSION),
        BAD_AS("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_FAULT_VERSION),
        BAD_AS("HTTP/1.0", "GET /x HTTP/1.0\r\n" H "\r\n", HTTP_FAULT_VERSION),
        BAD_AS("HTTP/1.2", "GET /x HTTP/1.2\r\n" H "\r\n", HTTP_FAULT_VERSION),
        BAD_AS("HTTP/0.9 spelt out", "GET /x HTTP/0.9\r\n" H "\r\n", HTTP_FAULT_VERSION),
        BAD("HTTP/0.9", "GET /x\r\n\r\n"),
        BAD("HTTP/0.9 with fields", "GET /x\r\n" H "\r\n"),
        BAD("ICE/1.0", "SOURCE /x ICE/1.0\r\n" H "\r\n"),
        BAD("RTSP/1.0", "DESCRIBE /x RTSP/1.0\r\n" H "\r\n"),
        BAD("http/1.1", "GET /x http/1.1\r\n" H "\r\n"),
        BAD("HTTP/1.10", "GET /x HTTP/1.10\r\n" H "\r\n"),
        BAD("HTTP/11", "GET /x HTTP/11\r\n" H "\r\n"),
        BAD("a space behind the version", "GET /x HTTP/1.1 \r\n" H "\r\n"),
        BAD("a CR behind the version", "GET /x HTTP/1.1\r\r\n" H "\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_host_is_one_valid_name(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD("a port", "GET / HTTP/1.1\r\nHost: a.example:8443\r\n\r\n"),
        GOOD("IPv4", "GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"),
        GOOD("IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        GOOD("IPv6 without a port", "GET / HTTP/1.1\r\nHost: [fe80::1:2]\r\n\r\n"),
        GOOD("a name with an underscore", "GET / HTTP/1.1\r\nHost: my_weir\r\n\r\n"),
        BAD("none", "GET / HTTP/1.1\r\n\r\n"),
        BAD("two", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        BAD("two equal", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
        BAD("empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        BAD("a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        BAD("userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        BAD("a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        BAD("a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        BAD("an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
        BAD("a port of letters", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
        BAD("a port above 65535", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
        BAD("two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
        BAD("an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
        BAD("no address in brackets", "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n"),
        BAD("text behind brackets", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"),
        BAD("text and a number behind brackets", "GET / HTTP/1.1\r\nHost: [::1]x80\r\n\r\n"),
        BAD("two dots", "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n"),
        BAD("a leading dot", "GET / HTTP/1.1\r\nHost: .a\r\n\r\n"),
        BAD("a percent sign", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n"),
        BAD("folded", "GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n"),
        BAD("a byte above 0x7f", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"),
        BAD("256 bytes",
            "GET / HTTP/1.1\r\nHost: "
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_lone_cr_lf_nul_and_controls_in_the_head_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("LF behind the request line", "GET /x HTTP/1.1\n" H "\r\n"),
        BAD("LF behind a field", "GET /x HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        BAD("LF as the empty line", GET "\n"),
        BAD("LF everywhere", "GET /x HTTP/1.1\nHost: a\n\n"),
        BAD("CR in a value", GET "X: a\rb\r\n\r\n"),
        BAD("CR as a line end", GET "X:\rZ: b\r\n\r\n"),
        BAD("CR CR LF", GET "X: a\r\r\n\r\n"),
        BAD("CR LF CR X", GET "\rX\r\n\r\n"),
        BAD("CR in the target", "GET /\rx HTTP/1.1\r\n" H "\r\n"),
        BAD("NUL in a value", GET "X: a\0b\r\n\r\n"),
        BAD("NUL in a name", GET "X\0Y: a\r\n\r\n"),
        BAD("BEL in a value", GET "X: a\ab\r\n\r\n"),
        BAD("DEL in a value", GET "X: a\x7f" "b\r\n\r\n"),
        BAD("VT in a value", GET "X: a\vb\r\n\r\n"),
        BAD("a byte above 0x7f in a value", GET "X: \xc3\xa4\r\n\r\n"),
        BAD("a byte above 0x7f in a key", POST "Idempotency-Key: \xff\r\nContent-Length: 0\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_field_lines_that_are_no_name_and_value_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("a folded line", GET "X: a\r\n b\r\n\r\n"),
        BAD("a folded line by HTAB", GET "X: a\r\n\tb\r\n\r\n"),
        BAD("a folded Content-Length", POST "X: a\r\n Content-Length: 1\r\n\r\nx"),
        BAD("space before the first field", "GET /x HTTP/1.1\r\n Host: a\r\n\r\n"),
        BAD("a line of a space", GET " \r\n\r\n"),
        BAD("space before the colon", GET "X : a\r\n\r\n"),
        BAD("HTAB before the colon", GET "X\t: a\r\n\r\n"),
        BAD("space in a name", GET "X Y: a\r\n\r\n"),
        BAD("an empty name", GET ": a\r\n\r\n"),
        BAD("only a colon", GET ":\r\n\r\n"),
        BAD("no colon", GET "X\r\n\r\n"),
        BAD("a parenthesis in a name", GET "X(: a\r\n\r\n"),
        BAD("a quote in a name", GET "X\": a\r\n\r\n"),
        BAD("a slash in a name", GET "X/Y: a\r\n\r\n"),
        BAD("a byte above 0x7f in a name", GET "X\xe9: a\r\n\r\n"),
        BAD("an underscore in a name", GET "X_Y: a\r\n\r\n"),
        BAD("X_Forwarded_For", GET "X_Forwarded_For: 1.2.3.4\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_a_second_line_of_a_singleton_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("Content-Type", POST "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n"),
        BAD("Authorization", GET "Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n"),
        BAD("Idempotency-Key", POST "Idempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n"),
        BAD("Expect", POST "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"),
        BAD("Date", GET "Date: a\r\nDate: b\r\n\r\n"),
        BAD("X-Request-Id", GET "X-Request-Id: a\r\nX-Request-Id: b\r\n\r\n"),
        GOOD("a name that may occur twice", GET "Accept: a\r\nAccept: b\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_connection_may_not_nominate_what_must_go_on(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD("Host", GET "Connection: host\r\n\r\n"),
        BAD("Content-Length", POST "Content-Length: 1\r\nConnection: Content-Length\r\n\r\nx"),
        BAD("Transfer-Encoding", POST "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        BAD("Authorization", GET "Authorization: Bearer a\r\nConnection: close, authorization\r\n\r\n"),
        BAD("Idempotency-Key", GET "Connection: Idempotency-Key\r\n\r\n"),
        BAD("another key", GET "Connection: Cko-Idempotency-Key\r\n\r\n"),
        BAD("X-Forwarded-For", GET "Connection: x-forwarded-for\r\n\r\n"),
        BAD("Forwarded", GET "Connection: Forwarded\r\n\r\n"),
        BAD("X-Real-IP", GET "Connection: X-Real-IP\r\n\r\n"),
        BAD("one of weir's own", GET "Connection: Weir-Outcome\r\n\r\n"),
        BAD("Content-Type", GET "Connection: Content-Type\r\n\r\n"),
        BAD("Cookie", GET "Connection: Cookie\r\n\r\n"),
        BAD("a signature", GET "Connection: X-Hmac-Signature\r\n\r\n"),
        BAD("in a second line", GET "Connection: close\r\nConnection: Host\r\n\r\n"),
        BAD("not a token", GET "Connection: a b\r\n\r\n"),
        BAD("17 options", GET "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n\r\n"),
        GOOD("an extension", GET "Connection: X-Hop\r\nX-Hop: 1\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_expectations_other_than_100_continue_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        BAD_AS("another", POST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", HTTP_FAULT_EXPECTATION),
        BAD_AS("a list", POST "Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\nx", HTTP_FAULT_EXPECTATION),
        BAD_AS("a parameter", POST "Expect: 100-continue;q=1\r\nContent-Length: 1\r\n\r\nx", HTTP_FAULT_EXPECTATION),
        BAD_AS("an empty one", POST "Expect:\r\nContent-Length: 1\r\n\r\nx", HTTP_FAULT_EXPECTATION),
    };
    REQUEST_ROWS(rows);
}

/* The head of one request, for asking what goes on; the arena lives until the next call. */
static const struct http_head *read_head(struct bytes input)
{
    static struct blocks blocks;
    static struct arena arena;
    if (arena.blocks == NULL) {
        blocks_init(&blocks, 0, 1);
        arena_init(&arena, &blocks);
    }
    arena_reset(&arena);
    if (input.len == 0) {
        blocks_close(&blocks);
        arena = (struct arena){0};
        return NULL;
    }
    struct http_limits limits = READING_LIMITS;
    struct http_message *message = http_message_new(&arena, HTTP_REQUEST_MESSAGE, &limits, false);
    struct bytes body;
    assert_int_equal(http_message_feed(message, &input, &body), HTTP_HEAD);
    return http_message_head(message);
}

static bool goes_on(const struct http_head *head, const char *name)
{
    const struct http_field *field = http_head_find_name(head, bytes_from_text(name));
    assert_non_null(field);
    return !field->hop_by_hop;
}

static void test_hop_by_hop_and_nominated_fields_do_not_go_on(void **state)
{
    (void)state;
    const struct http_head *head = read_head(BYTES(
        GET "Connection: X-Hop, Upgrade\r\nX-Hop: 1\r\nx-hop: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n"
            "TE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nAccept: a\r\n\r\n"));
    static const char *const dropped[] = {"connection", "x-hop", "keep-alive", "proxy-connection",
                                          "te", "trailer", "upgrade", "http2-settings"};
    for (size_t i = 0; i < ARRAY_COUNT(dropped); i++)
        assert_false(goes_on(head, dropped[i]));
    assert_true(head->fields[3].hop_by_hop); /* the second X-Hop as well */
    assert_true(goes_on(head, "accept"));
    assert_true(goes_on(head, "host"));
    head = read_head(BYTES(POST "Transfer-Encoding: chunked\r\n\r\n"));
    assert_false(goes_on(head, "transfer-encoding"));
    read_head(BYTES_NONE);
}

static void test_conditions_and_ranges_do_not_go_on_with_a_post(void **state)
{
    (void)state;
    const struct http_head *head = read_head(BYTES(POST "Range: bytes=0-1\r\nIf-Match: x\r\nIf-None-Match: y\r\n\r\n"));
    assert_false(goes_on(head, "range"));
    assert_false(goes_on(head, "if-match"));
    assert_false(goes_on(head, "if-none-match"));
    head = read_head(BYTES(GET "Range: bytes=0-1\r\nIf-None-Match: y\r\n\r\n"));
    assert_true(goes_on(head, "range"));
    assert_true(goes_on(head, "if-none-match"));
    head = read_head(BYTES("PUT /x HTTP/1.1\r\n" H "If-Match: x\r\nRange: bytes=0-1\r\n\r\n"));
    assert_true(goes_on(head, "if-match"));
    assert_false(goes_on(head, "range"));
    read_head(BYTES_NONE);
}

static void test_a_length_of_zero_on_a_get_is_dropped(void **state)
{
    (void)state;
    const struct http_head *head = read_head(BYTES(GET "Content-Length: 0\r\n\r\n"));
    assert_int_equal(head->framing, HTTP_FRAMING_NONE);
    assert_false(goes_on(head, "content-length"));
    head = read_head(BYTES(POST "Content-Length: 0\r\n\r\n"));
    assert_int_equal(head->framing, HTTP_FRAMING_LENGTH);
    read_head(BYTES_NONE);
}

static void test_the_client_keeps_the_connection_unless_it_says_close(void **state)
{
    (void)state;
    assert_true(read_head(BYTES(GET "\r\n"))->keep_alive);
    assert_true(read_head(BYTES(GET "Connection: keep-alive\r\n\r\n"))->keep_alive);
    assert_false(read_head(BYTES(GET "Connection: close\r\n\r\n"))->keep_alive);
    assert_false(read_head(BYTES(GET "Connection: Close\t\r\n\r\n"))->keep_alive);
    assert_false(read_head(BYTES(GET "Connection: keep-alive, close\r\n\r\n"))->keep_alive);
    assert_false(read_head(BYTES(GET "Connection: keep-alive\r\nConnection: close\r\n\r\n"))->keep_alive);
    read_head(BYTES_NONE);
}

static void test_an_expectation_counts_only_before_a_body_and_never_goes_on(void **state)
{
    (void)state;
    const struct http_head *head = read_head(BYTES(POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"));
    assert_true(head->expects_continue);
    assert_false(goes_on(head, "expect"));
    assert_true(read_head(BYTES(POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"))->expects_continue);
    assert_false(read_head(BYTES(POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"))->expects_continue);
    assert_false(read_head(BYTES(GET "Expect: 100-continue\r\n\r\n"))->expects_continue);
    read_head(BYTES_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_real_clients_send_is_accepted),
        cmocka_unit_test(test_two_framings_are_refused),
        cmocka_unit_test(test_a_transfer_encoding_other_than_chunked_is_refused),
        cmocka_unit_test(test_a_body_on_a_method_without_one_is_refused),
        cmocka_unit_test(test_methods_and_versions_outside_the_list_are_refused),
        cmocka_unit_test(test_host_is_one_valid_name),
        cmocka_unit_test(test_lone_cr_lf_nul_and_controls_in_the_head_are_refused),
        cmocka_unit_test(test_field_lines_that_are_no_name_and_value_are_refused),
        cmocka_unit_test(test_a_second_line_of_a_singleton_is_refused),
        cmocka_unit_test(test_connection_may_not_nominate_what_must_go_on),
        cmocka_unit_test(test_expectations_other_than_100_continue_are_refused),
        cmocka_unit_test(test_hop_by_hop_and_nominated_fields_do_not_go_on),
        cmocka_unit_test(test_conditions_and_ranges_do_not_go_on_with_a_post),
        cmocka_unit_test(test_a_length_of_zero_on_a_get_is_dropped),
        cmocka_unit_test(test_the_client_keeps_the_connection_unless_it_says_close),
        cmocka_unit_test(test_an_expectation_counts_only_before_a_body_and_never_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
