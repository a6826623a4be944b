/* Idempotency keys as clients spell them: one key for all of its spellings, and none for what has two readings. */
#include "base/unit.h"

#include "weir/policy/profile.h"

static struct profile taking(uint16_t min, uint16_t max, const char *chars)
{
    return (struct profile){.name = "made", .key_bytes_min = min, .key_bytes_max = max, .key_chars = chars};
}

struct row {
    const char *value, *key; /* key NULL: a fault */
    enum key_fault fault;
};

static void check_rows(const struct profile *profile, bool from_json, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[PROFILE_KEY_BYTES_MAX + 1];
        size_t len = 99;
        enum key_fault fault = profile_read_key(profile, bytes_from_text(rows[i].value), from_json, text, &len);
        if (fault != rows[i].fault) {
            fail_msg("<%s>: %s", rows[i].value, key_fault_text(fault));
        }
        assert_int_equal(len, strlen(text));
        assert_string_equal(text, rows[i].key != NULL ? rows[i].key : "");
    }
}

static void test_bare_and_quoted_are_one_key(void **state)
{
    static const struct row rows[] = {
        {"abc", "abc", KEY_OK},
        {"\"abc\"", "abc", KEY_OK},
        {"  abc\t", "abc", KEY_OK},
        {" \"abc\" ", "abc", KEY_OK},
        {"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324", KEY_OK},
        {"\"a\\\"b\\\\c\"", "a\"b\\c", KEY_OK},
        {"a\\b", "a\\b", KEY_OK}, /* bare: a backslash is itself */
        {"\"a\\\\b\"", "a\\b", KEY_OK},
        {"\"a b\"", "a b", KEY_OK},
        {"a,b=c:d/e~!", "a,b=c:d/e~!", KEY_OK},
        {"'abc'", "'abc'", KEY_OK},
    };
    struct profile profile = taking(1, 255, NULL);

    (void)state;
    check_rows(&profile, false, rows, ARRAY_COUNT(rows));
}

static void test_parameters_behind_a_string_mean_nothing(void **state)
{
    static const struct row rows[] = {
        {"\"abc\";v=1", "abc", KEY_OK},
        {"\"abc\"; v; w=\"x;\\\"y\"; *z=?1", "abc", KEY_OK},
        {"\"abc\";", NULL, KEY_PARAMETERS},
        {"\"abc\";V=1", NULL, KEY_PARAMETERS},
        {"\"abc\";1=2", NULL, KEY_PARAMETERS},
        {"\"abc\";v=1,w", NULL, KEY_PARAMETERS},
        {"\"abc\";v=", NULL, KEY_PARAMETERS},
        {"\"abc\";v=\"x", NULL, KEY_PARAMETERS},
        {"\"abc\";v=\"x\\", NULL, KEY_PARAMETERS},
        {"\"abc\";v \"def\"", NULL, KEY_PARAMETERS},
        {"\"abc\";v=1, \"def\"", NULL, KEY_PARAMETERS},
        {"abc;v=1", NULL, KEY_PARAMETERS}, /* bare: a character of the key, or a parameter? */
        {"abc;", NULL, KEY_PARAMETERS},
    };
    struct profile profile = taking(1, 255, NULL);

    (void)state;
    check_rows(&profile, false, rows, ARRAY_COUNT(rows));
}

static void test_what_has_two_readings_is_no_key(void **state)
{
    static const struct row rows[] = {
        {"", NULL, KEY_EMPTY},
        {" \t ", NULL, KEY_EMPTY},
        {"\"\"", NULL, KEY_EMPTY},
        {"\"\";v=1", NULL, KEY_EMPTY},
        {"\"", NULL, KEY_QUOTES},
        {"\"abc", NULL, KEY_QUOTES},
        {"abc\"", NULL, KEY_QUOTES},
        {"a\"b", NULL, KEY_QUOTES},
        {"\"abc\\\"", NULL, KEY_QUOTES},
        {"\"abc\\", NULL, KEY_QUOTES},
        {"\"a\\bc\"", NULL, KEY_QUOTES},
        {"\"abc\" \"def\"", NULL, KEY_QUOTES},
        {"\"abc\", \"def\"", NULL, KEY_QUOTES}, /* two lines of a head that something in front joined */
        {"\"abc\"def", NULL, KEY_QUOTES},
        {"abc def", NULL, KEY_CHARACTER},
        {"abc, def", NULL, KEY_CHARACTER},
        {"abc\x7f", NULL, KEY_CHARACTER},
        {"abc\x01", NULL, KEY_CHARACTER},
        {"schl\xc3\xbcssel", NULL, KEY_CHARACTER},
        {"\"schl\xc3\xbcssel\"", NULL, KEY_CHARACTER},
        {"\"a\tb\"", NULL, KEY_CHARACTER},
        {"\" abc\"", NULL, KEY_CHARACTER}, /* its spaces would be lost on the way to the processor */
        {"\"abc \"", NULL, KEY_CHARACTER},
        {"\" \"", NULL, KEY_CHARACTER},
    };
    struct profile profile = taking(1, 255, NULL);

    (void)state;
    check_rows(&profile, false, rows, ARRAY_COUNT(rows));
}

static void test_a_nul_is_no_character_of_a_key(void **state)
{
    struct profile profile = taking(1, 255, NULL);
    char text[PROFILE_KEY_BYTES_MAX + 1];
    size_t len;

    (void)state;
    assert_int_equal(profile_read_key(&profile, bytes_of("a\0b", 3), false, text, &len), KEY_CHARACTER);
    assert_int_equal(profile_read_key(&profile, bytes_of("a\0b", 3), true, text, &len), KEY_CHARACTER);
}

static void test_a_json_member_is_the_key_as_it_is(void **state)
{
    static const struct row rows[] = {
        {"abc", "abc", KEY_OK},
        {"abc;v=1", "abc;v=1", KEY_OK},
        {"\"abc\"", "\"abc\"", KEY_OK}, /* JSON's own quotes are gone already */
        {"a b", "a b", KEY_OK},
        {" abc", NULL, KEY_CHARACTER},
        {"a\nb", NULL, KEY_CHARACTER},
        {"", NULL, KEY_EMPTY},
    };
    struct profile profile = taking(1, 255, NULL);

    (void)state;
    check_rows(&profile, true, rows, ARRAY_COUNT(rows));
}

static void test_lengths_are_those_of_the_key_and_not_of_its_spelling(void **state)
{
    static const struct row rows[] = {
        {"abc", NULL, KEY_SHORT},
        {"abcd", "abcd", KEY_OK},
        {"abcdef", "abcdef", KEY_OK},
        {"abcdefg", NULL, KEY_LONG},
        {"\"abcdef\"", "abcdef", KEY_OK},
        {"\"abcdefg\"", NULL, KEY_LONG},
        {"\"\\\"\\\"\\\"\"", NULL, KEY_SHORT},
        {"\"\\\"\\\"\\\"\\\"\\\"\\\"\"", "\"\"\"\"\"\"", KEY_OK},
    };
    struct profile profile = taking(4, 6, NULL);

    (void)state;
    check_rows(&profile, false, rows, ARRAY_COUNT(rows));
}

static void test_the_longest_key_fits_and_one_more_does_not(void **state)
{
    struct profile profile = taking(1, 255, NULL);
    struct profile unset = taking(0, 0, NULL);
    char value[300];
    char text[PROFILE_KEY_BYTES_MAX + 1];
    size_t len;

    (void)state;
    memset(value, 'k', sizeof value);
    for (int json = 0; json < 2; json++) {
        assert_int_equal(profile_read_key(&profile, bytes_of(value, 255), json, text, &len), KEY_OK);
        assert_int_equal(len, 255);
        assert_int_equal(strlen(text), 255);
        assert_int_equal(profile_read_key(&profile, bytes_of(value, 256), json, text, &len), KEY_LONG);
        assert_int_equal(profile_read_key(&unset, bytes_of(value, 255), json, text, &len), KEY_OK);
        assert_int_equal(profile_read_key(&unset, bytes_of(value, 256), json, text, &len), KEY_LONG);
    }
    value[0] = value[256] = value[257] = '"';
    assert_int_equal(profile_read_key(&profile, bytes_of(value, 257), false, text, &len), KEY_OK);
    assert_int_equal(len, 255);
    value[256] = 'k';
    assert_int_equal(profile_read_key(&profile, bytes_of(value, 258), false, text, &len), KEY_LONG);
}

static void test_a_profile_may_narrow_the_characters(void **state)
{
    static const struct row rows[] = {
        {"Az09_-", "Az09_-", KEY_OK},
        {"Mm5", "Mm5", KEY_OK},
        {"a.b", NULL, KEY_CHARACTER},
        {"\"a b\"", NULL, KEY_CHARACTER},
        {"a:b", NULL, KEY_CHARACTER},
    };
    static const struct row ends[] = {
        {"a-b", "a-b", KEY_OK},
        {"c", NULL, KEY_CHARACTER},
    };
    struct profile profile = taking(1, 255, "A-Za-z0-9_-");
    struct profile leading = taking(1, 255, "-ab");

    (void)state;
    check_rows(&profile, false, rows, ARRAY_COUNT(rows));
    check_rows(&leading, false, ends, ARRAY_COUNT(ends));
}

static void test_every_fault_has_its_sentence(void **state)
{
    (void)state;
    assert_string_equal(key_fault_text(KEY_OK), "");
    for (int fault = KEY_OK + 1; fault < KEY_FAULT_COUNT; fault++) {
        assert_true(strlen(key_fault_text((enum key_fault)fault)) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare_and_quoted_are_one_key),
        cmocka_unit_test(test_parameters_behind_a_string_mean_nothing),
        cmocka_unit_test(test_what_has_two_readings_is_no_key),
        cmocka_unit_test(test_a_nul_is_no_character_of_a_key),
        cmocka_unit_test(test_a_json_member_is_the_key_as_it_is),
        cmocka_unit_test(test_lengths_are_those_of_the_key_and_not_of_its_spelling),
        cmocka_unit_test(test_the_longest_key_fits_and_one_more_does_not),
        cmocka_unit_test(test_a_profile_may_narrow_the_characters),
        cmocka_unit_test(test_every_fault_has_its_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
