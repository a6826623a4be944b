/* Request targets: passed on byte for byte, or refused. */
#include "rows.h"

#define TARGET(what, target) BAD(what, "GET " target " HTTP/1.1\r\nHost: a.example\r\n\r\n")
#define GOOD_TARGET(what, target) GOOD(what, "GET " target " HTTP/1.1\r\nHost: a.example\r\n\r\n")

static void test_targets_with_one_reading_are_accepted(void **state)
{
    (void)state;
    static const struct row rows[] = {
        GOOD_TARGET("the root", "/"),
        GOOD_TARGET("a slash at the end", "/a/"),
        GOOD_TARGET("dots in a name", "/a.b/..c/d../..."),
        GOOD_TARGET("escapes", "/a%20b/%C3%A4%7e"),
        GOOD_TARGET("every mark a path may have", "/-._~!$&'()*+,;=:@"),
        GOOD_TARGET("an empty query", "/?"),
        GOOD_TARGET("a bare percent sign in a query, as browsers send it", "/?q=100%&r=%zz"),
        GOOD_TARGET("a query with slashes and marks", "/?a=/../b//c&d[]=?:@%0a"),
        GOOD_TARGET("an absolute form of this Host", "http://a.example/x?y"),
        GOOD_TARGET("an absolute form in capitals", "HTTPS://A.EXAMPLE/x"),
        GOOD_TARGET("an absolute form without a path", "http://a.example"),
        GOOD("OPTIONS of an absolute form without a path", "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
        GOOD("an absolute form with a port", "GET http://a:81/x HTTP/1.1\r\nHost: a:81\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void test_targets_with_two_readings_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        TARGET("a dot segment", "/a/./b"),
        TARGET("two dots", "/a/../b"),
        TARGET("two dots at the end", "/a/.."),
        TARGET("a dot at the end", "/a/."),
        TARGET("an encoded dot", "/a/%2e/b"),
        TARGET("encoded dots", "/a/%2E%2e/b"),
        TARGET("half encoded dots", "/a/.%2e"),
        TARGET("dots with a parameter", "/a/..;x/b"),
        TARGET("two slashes", "/a//b"),
        TARGET("two slashes first", "//a"),
        TARGET("an encoded slash", "/a%2fb"),
        TARGET("an encoded slash in capitals", "/a%2Fb"),
        TARGET("an encoded backslash", "/a%5cb"),
        TARGET("an encoded NUL", "/a%00"),
        TARGET("an encoded line end", "/a%0d%0ab"),
        TARGET("an encoded DEL", "/a%7f"),
        TARGET("an encoded NUL in the query", "/a?b=%00"),
        TARGET("half an escape", "/a%2"),
        TARGET("an escape of no hex", "/a%zz"),
        TARGET("a fragment", "/a#b"),
        TARGET("a double quote", "/a\"b"),
        TARGET("a less-than sign", "/a<b"),
        TARGET("a greater-than sign", "/a>b"),
        TARGET("a backslash", "/a\\b"),
        TARGET("a caret", "/a^b"),
        TARGET("a backtick", "/a`b"),
        TARGET("braces", "/a{b}"),
        TARGET("a bar", "/a|b"),
        TARGET("a bar in the query", "/a?b|c"),
        TARGET("brackets in the path", "/a[b]"),
        TARGET("HTAB", "/a\tb"),
        TARGET("FF", "/a\fb"),
        TARGET("NUL", "/a\0b"),
        TARGET("DEL", "/a\x7f"),
        TARGET("a byte above 0x7f", "/a\x80"),
        TARGET("a space", "/a b"),
        TARGET("two spaces before", " /a"),
        TARGET("two spaces behind", "/a "),
        TARGET("nothing", ""),
        TARGET("*", "*"),
        TARGET("** with OPTIONS' spelling", "**"),
        TARGET("no slash", "a"),
        TARGET("an authority form", "a.example:443"),
        TARGET("an absolute form of another host", "http://b.example/"),
        TARGET("an absolute form with userinfo", "http://u@a.example/"),
        TARGET("an absolute form with another port", "http://a.example:81/"),
        TARGET("an absolute form of another scheme", "ftp://a.example/"),
        TARGET("an absolute form without a host", "http:///x"),
        TARGET("an absolute form with a query and no path", "http://a.example?x"),
        TARGET("an absolute form with a dot segment", "http://a.example/../x"),
        BAD("OPTIONS of **", "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"),
        BAD("OPTIONS of */x", "OPTIONS */x HTTP/1.1\r\nHost: a\r\n\r\n"),
    };
    REQUEST_ROWS(rows);
}

static void expect_parts(struct bytes input, const char *target, const char *path, const char *query)
{
    struct blocks blocks;
    struct arena arena;
    blocks_init(&blocks, 0, 1);
    arena_init(&arena, &blocks);
    struct http_limits limits = READING_LIMITS;
    struct http_message *message = http_message_new(&arena, HTTP_REQUEST_MESSAGE, &limits, false);
    struct bytes body;
    assert_int_equal(http_message_feed(message, &input, &body), HTTP_HEAD);
    const struct http_head *head = http_message_head(message);
    assert_true(bytes_equal(head->target, bytes_from_text(target)));
    assert_true(bytes_equal(head->path, bytes_from_text(path)));
    if (query == NULL)
        assert_null(head->query.at);
    else
        assert_true(head->query.at != NULL && bytes_equal(head->query, bytes_from_text(query)));
    arena_reset(&arena);
    blocks_close(&blocks);
}

#define HOST " HTTP/1.1\r\nHost: a\r\n\r\n"

static void test_a_target_is_split_into_path_and_query(void **state)
{
    (void)state;
    expect_parts(BYTES("GET /a/b" HOST), "/a/b", "/a/b", NULL);
    expect_parts(BYTES("GET /a?" HOST), "/a?", "/a", "");
    expect_parts(BYTES("GET /a?b=?c" HOST), "/a?b=?c", "/a", "b=?c");
    expect_parts(BYTES("OPTIONS *" HOST), "*", "*", NULL);
}

static void test_an_absolute_form_becomes_its_origin_form(void **state)
{
    (void)state;
    expect_parts(BYTES("GET http://a/b?c" HOST), "/b?c", "/b", "c");
    expect_parts(BYTES("GET https://A" HOST), "/", "/", NULL);
    expect_parts(BYTES("OPTIONS http://a" HOST), "*", "*", NULL);
}

static void test_host_is_split_from_its_port(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        const char *host;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example"},
        {"GET / HTTP/1.1\r\nHost: a.example:8443 \r\n\r\n", "a.example"},
        {"GET / HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n", "[::1]"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct reading reading = {.kind = HTTP_REQUEST_MESSAGE, .limits = READING_LIMITS};
        reading_run(&reading, bytes_from_text(cases[i].input));
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "|%s|0] minor", cases[i].host);
        assert_non_null(strstr(reading.text, wanted));
        reading_close(&reading);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets_with_one_reading_are_accepted),
        cmocka_unit_test(test_targets_with_two_readings_are_refused),
        cmocka_unit_test(test_a_target_is_split_into_path_and_query),
        cmocka_unit_test(test_an_absolute_form_becomes_its_origin_form),
        cmocka_unit_test(test_host_is_split_from_its_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
