/* Names are told apart once, and looked up by any spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "weir/http/head.h"

#define ID_TEXT(name, text, singleton) [HTTP_FIELD_##name] = text,
static const char *const texts[HTTP_FIELD_COUNT] = {HTTP_FIELD_TABLE(ID_TEXT)};

static enum http_field_id identify(const char *name)
{
    return http_field_identify(bytes_from_text(name));
}

static void upper(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'a' && *text <= 'z')
            *text = (char)(*text - 32);
    }
}

static void test_every_name_of_the_table_is_known_in_any_case(void **state)
{
    (void)state;
    for (int id = 1; id < HTTP_FIELD_COUNT; id++) {
        char name[64];
        size_t len = bytes_to_text(bytes_from_text(texts[id]), name, sizeof(name));
        if (name[len - 1] == '*')
            name[len - 1] = 'q';
        assert_int_equal(identify(name), id);
        upper(name);
        assert_int_equal(identify(name), id);
    }
}

static void test_names_that_differ_in_one_byte_are_other_names(void **state)
{
    (void)state;
    for (int id = 1; id < HTTP_FIELD_COUNT; id++) {
        struct bytes text = bytes_from_text(texts[id]);
        bool prefix = text.at[text.len - 1] == '*';
        for (size_t i = 0; i < text.len - prefix; i++) {
            char name[64];
            bytes_to_text(text, name, sizeof(name));
            if (prefix)
                name[text.len - 1] = 'q';
            name[i] = '!';
            assert_int_equal(identify(name), HTTP_FIELD_OTHER);
        }
        assert_int_equal(http_field_identify(bytes_take(text, text.len - 1)), HTTP_FIELD_OTHER);
    }
    assert_int_equal(identify(""), HTTP_FIELD_OTHER);
    assert_int_equal(identify("hostx"), HTTP_FIELD_OTHER);
    assert_int_equal(identify("x-request-idx"), HTTP_FIELD_OTHER);
    assert_int_equal(identify("hos\x54"), HTTP_FIELD_HOST);
    assert_int_equal(identify("x-real\rip"), HTTP_FIELD_OTHER); /* folding must not turn CR into '-' */
}

static void test_fields_are_found_by_id_and_by_name(void **state)
{
    (void)state;
    struct http_field fields[] = {
        {.name = BYTES("X-One"), .value = BYTES("1"), .id = HTTP_FIELD_OTHER},
        {.name = BYTES("Host"), .value = BYTES("a"), .id = HTTP_FIELD_HOST},
        {.name = BYTES("x-one"), .value = BYTES("2"), .id = HTTP_FIELD_OTHER},
    };
    struct http_head head = {.fields = fields, .field_count = 3, .seen = 1u << HTTP_FIELD_HOST | 1u << HTTP_FIELD_OTHER};
    assert_ptr_equal(http_head_find(&head, HTTP_FIELD_HOST), &fields[1]);
    assert_null(http_head_find(&head, HTTP_FIELD_DATE));
    assert_ptr_equal(http_head_find_name(&head, BYTES("X-ONE")), &fields[0]);
    assert_null(http_head_find_name(&head, BYTES("X-On")));
    assert_true(http_head_has(&head, HTTP_FIELD_HOST));
    assert_false(http_head_has(&head, HTTP_FIELD_DATE));
}

static void test_only_reading_methods_are_safe(void **state)
{
    (void)state;
    assert_true(http_method_is_safe(BYTES("GET")));
    assert_true(http_method_is_safe(BYTES("HEAD")));
    assert_true(http_method_is_safe(BYTES("OPTIONS")));
    assert_true(http_method_is_safe(BYTES("TRACE")));
    assert_false(http_method_is_safe(BYTES("POST")));
    assert_false(http_method_is_safe(BYTES("DELETE")));
    assert_false(http_method_is_safe(BYTES("get")));
    assert_false(http_method_is_safe(BYTES_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name_of_the_table_is_known_in_any_case),
        cmocka_unit_test(test_names_that_differ_in_one_byte_are_other_names),
        cmocka_unit_test(test_fields_are_found_by_id_and_by_name),
        cmocka_unit_test(test_only_reading_methods_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
