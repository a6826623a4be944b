/* The JSON writer: whatever goes in, what comes out parses. */
#include "base/unit.h"

#include "weir/base/json.h"

static void test_objects_and_arrays_get_their_commas(void **state)
{
    char text[256];
    struct json json;

    (void)state;
    json_init(&json, text, sizeof(text));
    json_object_open(&json);
    json_put_text(&json, "a", "x");
    json_put_text(&json, "none", NULL);
    json_put_u64(&json, "n", UINT64_MAX);
    json_put_bool(&json, "yes", true);
    json_key(&json, "list");
    json_array_open(&json);
    json_add_i64(&json, INT64_MIN);
    json_add_i64(&json, 7);
    json_array_open(&json);
    json_array_close(&json);
    json_object_open(&json);
    json_object_close(&json);
    json_add_null(&json);
    json_array_close(&json);
    json_key(&json, "raw");
    json_add_raw(&json, BYTES("[1]"));
    json_object_close(&json);
    assert_false(json.overflow);
    assert_bytes(json_bytes(&json), "{\"a\":\"x\",\"none\":null,\"n\":18446744073709551615,\"yes\":true,"
                                    "\"list\":[-9223372036854775808,7,[],{},null],\"raw\":[1]}");
}

static struct bytes quoted(struct bytes value, char *text, size_t size)
{
    struct json json;

    json_init(&json, text, size);
    json_add_string(&json, value);
    return json_bytes(&json);
}

static void test_controls_quotes_and_backslashes_are_escaped(void **state)
{
    char text[256];

    (void)state;
    assert_bytes(quoted(BYTES("a\"b\\c\n\r\t\x01\x1f\x7f/"), text, sizeof(text)),
                 "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\x7f/\"");
    assert_bytes(quoted(bytes_of("\0", 1), text, sizeof(text)), "\"\\u0000\"");
    assert_bytes(quoted(BYTES_NONE, text, sizeof(text)), "\"\"");
}

static void test_every_place_in_a_word_is_looked_at(void **state)
{
    char text[256];

    (void)state;
    for (size_t at = 0; at < 24; at++) {
        char value[24];
        char expected[32];
        struct bytes out;

        memset(value, 'x', sizeof(value));
        value[at] = '"';
        out = quoted(bytes_of(value, sizeof(value)), text, sizeof(text));
        assert_int_equal(out.len, sizeof(value) + 3);
        memset(expected, 'x', sizeof(expected));
        expected[0] = '"';
        memcpy(expected + 1 + at, "\\\"", 2);
        expected[sizeof(value) + 2] = '"';
        assert_memory_equal(out.at, expected, out.len);
    }
}

static void test_utf8_passes_and_other_bytes_are_escaped_one_by_one(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"gr\xc3\xbc\xc3\x9f\x65", "\"gr\xc3\xbc\xc3\x9f\x65\""},
        {"\xe2\x82\xac", "\"\xe2\x82\xac\""},
        {"\xf0\x9f\x92\xb3", "\"\xf0\x9f\x92\xb3\""},
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
        {"\xff", "\"\\u00ff\""},                                  /* never a lead byte */
        {"\xc3", "\"\\u00c3\""},                                  /* cut */
        {"\xe2\x82", "\"\\u00e2\\u0082\""},                       /* cut */
        {"\xc0\xaf", "\"\\u00c0\\u00af\""},                       /* overlong */
        {"\xe0\x80\xaf", "\"\\u00e0\\u0080\\u00af\""},            /* overlong */
        {"\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\""},            /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\\u00f4\\u0090\\u0080\\u0080\""}, /* beyond U+10FFFF */
        {"\x80x", "\"\\u0080x\""},                                /* a tail without a lead */
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_bytes(quoted(bytes_from_text(cases[i].in), text, sizeof(text)), cases[i].out);
    }
}

static void test_what_does_not_fit_is_left_out_with_its_key(void **state)
{
    char text[20];
    struct json json;

    (void)state;
    json_init(&json, text, sizeof(text));
    json_object_open(&json);
    json_put_u64(&json, "a", 1);
    json_put_text(&json, "long", "0123456789");
    assert_true(json.overflow);
    json_put_text(&json, "a key that is far too long", "x");
    json_put_u64(&json, "b", 2);
    json_object_close(&json);
    assert_bytes(json_bytes(&json), "{\"a\":1,\"b\":2}");
}

static void test_no_size_makes_it_write_past_the_end_or_leave_half_a_value(void **state)
{
    (void)state;
    for (size_t size = 2; size < 100; size++) {
        char *text = malloc(size); /* the sanitizer watches its end */
        struct json json;
        struct bytes out;

        assert_non_null(text);
        json_init(&json, text, size - 1);
        json_object_open(&json);
        json_put_text(&json, "a", "x\x01y");
        json_put_text(&json, "u", "\xf0\x9f\x92\xb3\xe2\x82\xac");
        json_put_text(&json, "w", "eight bytes and more");
        json_put_u64(&json, "b", 12345);
        json_put_bool(&json, "c", false);
        json.size = size;
        json_object_close(&json);
        out = json_bytes(&json);
        assert_int_equal(out.at[0], '{');
        assert_int_equal(out.at[out.len - 1], '}');
        assert_int_not_equal(out.at[1], ',');
        assert_int_not_equal(out.at[out.len - 2], ',');
        assert_int_not_equal(out.at[out.len - 2], ':');
        free(text);
    }
}

/* Each length, because the words that the text is looked at in overlap at its end. */
static void test_plain_text_is_known_and_one_odd_byte_anywhere_is_seen(void **state)
{
    static const char odd[] = {'"', '\\', '\t', '\x1f', '\0', '\x80', '\xff'};
    char text[40];

    (void)state;
    for (size_t len = 0; len <= sizeof(text); len++) {
        memset(text, 'a', sizeof(text));
        assert_true(json_is_plain(bytes_of(text, len)));
        for (size_t at = 0; at < len; at++) {
            for (size_t i = 0; i < sizeof(odd); i++) {
                text[at] = odd[i];
                assert_false(json_is_plain(bytes_of(text, len)));
            }
            text[at] = '~';
            assert_true(json_is_plain(bytes_of(text, len)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_and_arrays_get_their_commas),
        cmocka_unit_test(test_controls_quotes_and_backslashes_are_escaped),
        cmocka_unit_test(test_every_place_in_a_word_is_looked_at),
        cmocka_unit_test(test_utf8_passes_and_other_bytes_are_escaped_one_by_one),
        cmocka_unit_test(test_plain_text_is_known_and_one_odd_byte_anywhere_is_seen),
        cmocka_unit_test(test_what_does_not_fit_is_left_out_with_its_key),
        cmocka_unit_test(test_no_size_makes_it_write_past_the_end_or_leave_half_a_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
