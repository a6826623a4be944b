/* What the rest of weir takes for granted about runs of bytes. */
#include "base/unit.h"

static void test_a_missing_text_is_an_empty_run(void **state)
{
    (void)state;
    assert_int_equal(bytes_from_text(NULL).len, 0);
    assert_true(bytes_equal(bytes_from_text(NULL), BYTES("")));
    assert_bytes(bytes_from_text("abc"), "abc");
}

static void test_case_is_folded_for_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(bytes_equal_nocase(BYTES("Content-Length"), BYTES("cONTENT-lENGTH")));
    assert_false(bytes_equal_nocase(BYTES("Host"), BYTES("Hosts")));
    assert_false(bytes_equal_nocase(BYTES("["), BYTES("{")));
    assert_false(bytes_equal_nocase(BYTES("@"), BYTES("`")));
    assert_false(bytes_equal_nocase(BYTES("\xc4"), BYTES("\xe4")));
    assert_true(bytes_equal_nocase(BYTES_NONE, BYTES("")));
}

static void test_prefixes_and_suffixes_are_found_only_whole(void **state)
{
    (void)state;
    assert_true(bytes_starts_with(BYTES("unix:/run/x"), BYTES("unix:")));
    assert_false(bytes_starts_with(BYTES("uni"), BYTES("unix:")));
    assert_true(bytes_starts_with(BYTES_NONE, BYTES("")));
    assert_true(bytes_ends_with(BYTES("/v1/*"), BYTES("/*")));
    assert_false(bytes_ends_with(BYTES("*"), BYTES("/*")));
    assert_true(bytes_ends_with(BYTES("a"), BYTES_NONE));
}

static void test_searching_says_where_or_size_max(void **state)
{
    (void)state;
    assert_int_equal(bytes_find(BYTES("a:b:c"), ':'), 1);
    assert_true(bytes_find(BYTES("abc"), ':') == SIZE_MAX);
    assert_true(bytes_find(BYTES_NONE, ':') == SIZE_MAX);
    assert_int_equal(bytes_find(bytes_of("a\0b", 3), '\0'), 1);
    assert_int_equal(bytes_find_text(BYTES("abcabd"), BYTES("abd")), 3);
    assert_true(bytes_find_text(BYTES("ab"), BYTES("abc")) == SIZE_MAX);
    assert_int_equal(bytes_find_text(BYTES("ab"), BYTES("")), 0);
    assert_int_equal(bytes_find_text(BYTES_NONE, BYTES("")), 0);
    assert_true(bytes_find_text(BYTES_NONE, BYTES("a")) == SIZE_MAX);
}

static void test_cutting_past_the_end_gives_what_is_there(void **state)
{
    (void)state;
    assert_bytes(bytes_skip(BYTES("abc"), 1), "bc");
    assert_int_equal(bytes_skip(BYTES("abc"), 3).len, 0);
    assert_int_equal(bytes_skip(BYTES("abc"), SIZE_MAX).len, 0);
    assert_int_equal(bytes_skip(BYTES_NONE, 5).len, 0);
    assert_bytes(bytes_take(BYTES("abc"), 2), "ab");
    assert_bytes(bytes_take(BYTES("abc"), SIZE_MAX), "abc");
}

static void test_trimming_takes_blanks_but_no_line_ends(void **state)
{
    (void)state;
    assert_bytes(bytes_trim(BYTES(" \t a b\t ")), "a b");
    assert_bytes(bytes_trim(BYTES("\ra\n")), "\ra\n");
    assert_int_equal(bytes_trim(BYTES(" \t")).len, 0);
}

/* The elements of `text`, each in < >. */
static const char *elements(const char *text, char *out)
{
    struct bytes list = bytes_from_text(text);
    struct bytes element;
    size_t len = 0;

    while (bytes_next_element(&list, &element)) {
        out[len++] = '<';
        memcpy(out + len, element.len == 0 ? "" : element.at, element.len);
        len += element.len;
        out[len++] = '>';
    }
    out[len] = '\0';
    assert_false(bytes_next_element(&list, &element));
    return out;
}

static void test_a_list_gives_its_elements_and_shows_stray_commas(void **state)
{
    char out[64];

    (void)state;
    assert_string_equal(elements("gzip", out), "<gzip>");
    assert_string_equal(elements(" gzip ,\tchunked ", out), "<gzip><chunked>");
    assert_string_equal(elements("", out), "");
    assert_string_equal(elements(" \t", out), "");
    assert_string_equal(elements("a,", out), "<a><>");
    assert_string_equal(elements("a, ", out), "<a><>");
    assert_string_equal(elements(",a", out), "<><a>");
    assert_string_equal(elements("a,,b", out), "<a><><b>");
    assert_string_equal(elements(",", out), "<>");
    assert_string_equal(elements("a b", out), "<a b>");
}

static void test_only_plain_decimal_digits_make_a_number(void **state)
{
    static const char *const refused[] = {
        "", "-1", "+1", " 1", "1 ", "0x1", "1_0", "18446744073709551616", "99999999999999999999999"};
    uint64_t value = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        assert_false(bytes_to_u64(bytes_from_text(refused[i]), &value));
        assert_int_equal(value, 7);
    }
    assert_true(bytes_to_u64(BYTES("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(bytes_to_u64(BYTES("007"), &value));
    assert_int_equal(value, 7);
}

static void test_only_hex_digits_make_a_hex_number(void **state)
{
    static const char *const refused[] = {"", "g", "0x1", " 1", "-1", "10000000000000000", "/", ":", "@"};
    uint64_t value = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        assert_false(bytes_hex_to_u64(bytes_from_text(refused[i]), &value));
        assert_int_equal(value, 7);
    }
    assert_true(bytes_hex_to_u64(BYTES("FFffFFffFFffFFff"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(bytes_hex_to_u64(BYTES("0000000000000000001a"), &value));
    assert_int_equal(value, 26);
}

static void test_text_copies_are_cut_to_their_room_and_ended(void **state)
{
    char text[4] = "xxx";

    (void)state;
    assert_int_equal(bytes_to_text(BYTES("abcdef"), text, sizeof(text)), 3);
    assert_string_equal(text, "abc");
    assert_int_equal(bytes_to_text(BYTES_NONE, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    text[0] = 'z';
    assert_int_equal(bytes_to_text(BYTES("a"), text, 0), 0);
    assert_int_equal(text[0], 'z');
}

static void test_numbers_print_and_read_back(void **state)
{
    uint64_t seed = 42;
    char text[BYTES_U64_DIGITS];
    uint64_t back;

    (void)state;
    assert_bytes(bytes_of(text, bytes_from_u64(0, text)), "0");
    assert_bytes(bytes_of(text, bytes_from_u64(UINT64_MAX, text)), "18446744073709551615");
    for (int i = 0; i < 10000; i++) {
        uint64_t value = random_next(&seed) >> (random_next(&seed) % 64);

        assert_true(bytes_to_u64(bytes_of(text, bytes_from_u64(value, text)), &back));
        assert_true(back == value);
    }
}

static void test_a_run_of_any_length_is_copied_and_nothing_behind_it(void **state)
{
    char from[80];
    char to[82];

    (void)state;
    for (size_t i = 0; i < sizeof(from); i++) {
        from[i] = (char)('0' + i);
    }
    for (size_t len = 0; len <= sizeof(from); len++) {
        memset(to, '~', sizeof(to));
        assert_ptr_equal(bytes_put(to + 1, bytes_of(from, len)), to + 1 + len);
        assert_memory_equal(to + 1, from, len);
        assert_int_equal(to[0], '~');
        assert_int_equal(to[1 + len], '~');
    }
    assert_ptr_equal(bytes_put(to, BYTES_NONE), to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_missing_text_is_an_empty_run),
        cmocka_unit_test(test_case_is_folded_for_ascii_letters_only),
        cmocka_unit_test(test_prefixes_and_suffixes_are_found_only_whole),
        cmocka_unit_test(test_searching_says_where_or_size_max),
        cmocka_unit_test(test_cutting_past_the_end_gives_what_is_there),
        cmocka_unit_test(test_trimming_takes_blanks_but_no_line_ends),
        cmocka_unit_test(test_a_list_gives_its_elements_and_shows_stray_commas),
        cmocka_unit_test(test_only_plain_decimal_digits_make_a_number),
        cmocka_unit_test(test_only_hex_digits_make_a_hex_number),
        cmocka_unit_test(test_text_copies_are_cut_to_their_room_and_ended),
        cmocka_unit_test(test_numbers_print_and_read_back),
        cmocka_unit_test(test_a_run_of_any_length_is_copied_and_nothing_behind_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
