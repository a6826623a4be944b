#include "base/unit.h"

#include <stdio.h>

#include "weir/app/query.h"

static void test_a_value_is_found_by_its_whole_name_and_decoded(void **state)
{
    struct bytes query = BYTES("records=x&why=looked%20it%20up%2C%20%c3%a4+b&record=1a3-9f&as=text");
    char text[64];
    (void)state;
    assert_int_equal(query_read(query, "record", text, sizeof(text)), QUERY_FOUND);
    assert_string_equal(text, "1a3-9f");
    assert_int_equal(query_read(query, "why", text, sizeof(text)), QUERY_FOUND);
    assert_string_equal(text, "looked it up, \xc3\xa4+b");
    assert_int_equal(query_read(query, "cord", text, sizeof(text)), QUERY_ABSENT);
    assert_string_equal(text, "");
    assert_true(query_says(query, "as", "text"));
    assert_false(query_says(query, "as", "json"));
    assert_false(query_says(BYTES_NONE, "as", "text"));
}

static void test_a_name_without_a_value_is_an_empty_one(void **state)
{
    char text[8];
    (void)state;
    assert_int_equal(query_read(BYTES("a&b=&c=1"), "a", text, sizeof(text)), QUERY_FOUND);
    assert_string_equal(text, "");
    assert_int_equal(query_read(BYTES("a&b=&c=1"), "b", text, sizeof(text)), QUERY_FOUND);
    assert_string_equal(text, "");
}

static void test_what_has_two_readings_or_none_is_bad(void **state)
{
    static const struct bytes BAD[] = {
        BYTES("a=1&a=1"), BYTES("a=%4"),    BYTES("a=%zz"), BYTES("a=%"),
        BYTES("a=1%00"),  BYTES("a=x%0ay"), BYTES("a=%7f"), BYTES("a=12345678"),
    };
    char text[8];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        assert_int_equal(query_read(BAD[i], "a", text, sizeof(text)), QUERY_BAD);
        assert_string_equal(text, "");
    }
    assert_int_equal(query_read(BYTES("a=1234567"), "a", text, sizeof(text)), QUERY_FOUND);
}

static void test_what_was_appended_is_read_again(void **state)
{
    static const char *const VALUES[] = {"",          "x", "a b", "a&b=c?d#e", "100% sure", "\xc3\xa4\xf0\x9f\x98\x80",
                                         "'\"\\+~-._"};
    char target[256], text[64];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(VALUES); i++) {
        snprintf(target, sizeof(target), "/api");
        assert_true(query_append(target, sizeof(target), "first", "1"));
        assert_true(query_append(target, sizeof(target), "why", VALUES[i]));
        struct bytes query = bytes_from_text(strchr(target, '?') + 1);
        assert_int_equal(strspn(target, "/?&=%-._~0123456789ABCDEFabcdefghijklmnopqrstuvwxyz"), strlen(target));
        assert_int_equal(query_read(query, "why", text, sizeof(text)), QUERY_FOUND);
        assert_string_equal(text, VALUES[i]);
        assert_true(query_says(query, "first", "1"));
    }
}

static void test_what_does_not_fit_is_not_appended_in_part(void **state)
{
    char target[16] = "/api";
    (void)state;
    assert_false(query_append(target, sizeof(target), "why", "0123456"));
    assert_string_equal(target, "/api");
    assert_false(query_append(target, sizeof(target), "why", "a b c"));
    assert_string_equal(target, "/api");
    assert_true(query_append(target, sizeof(target), "why", "012345"));
    assert_string_equal(target, "/api?why=012345");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_is_found_by_its_whole_name_and_decoded),
        cmocka_unit_test(test_a_name_without_a_value_is_an_empty_one),
        cmocka_unit_test(test_what_has_two_readings_or_none_is_bad),
        cmocka_unit_test(test_what_was_appended_is_read_again),
        cmocka_unit_test(test_what_does_not_fit_is_not_appended_in_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
