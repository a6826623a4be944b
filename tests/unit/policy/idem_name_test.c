/* Names: a RECORD survives printing and reading, what is none is refused, and every word of the tables is there once. */
#include "base/unit.h"

#include "weir/policy/idem.h"

static const struct idem_name name = {
    .bucket = 0x1a3,
    .hash = {0x9f, 0x2c, 0x44, 0xd0, 0xe1, 0xb7, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14},
};

static void test_a_record_has_a_short_name(void **state)
{
    char text[IDEM_SHORT_BYTES + 1];

    (void)state;
    idem_name_short(&name, text);
    assert_string_equal(text, "1a3x9f2c44d0e1b7");
}

static void test_a_short_name_is_read_back(void **state)
{
    char text[IDEM_SHORT_BYTES + 1];

    (void)state;
    for (unsigned bucket = 0; bucket < IDEM_BUCKETS; bucket++) {
        struct idem_name one = {.bucket = (uint16_t)bucket, .hash = {(uint8_t)bucket, 255, 0, 128, 1, (uint8_t)(bucket >> 3)}};
        struct idem_name read;
        size_t hash_len = 0;

        idem_name_short(&one, text);
        assert_true(idem_name_parse(bytes_from_text(text), &read, &hash_len));
        assert_int_equal(read.bucket, bucket);
        assert_int_equal(hash_len, 6);
        assert_memory_equal(read.hash, one.hash, IDEM_HASH_BYTES);
    }
}

static void test_a_longer_name_is_read_up_to_the_whole_hash(void **state)
{
    struct idem_name read;
    size_t hash_len = 0;

    (void)state;
    assert_true(idem_name_parse(BYTES("1A3x9F2C44D0E1B70708"), &read, &hash_len));
    assert_int_equal(hash_len, 8);
    assert_memory_equal(read.hash, name.hash, 8);
    assert_true(idem_name_parse(BYTES("1a3x9f2c44d0e1b70708090a0b0c0d0e0f1011121314"), &read, &hash_len));
    assert_int_equal(hash_len, IDEM_HASH_BYTES);
    assert_memory_equal(&read, &name, sizeof name);
}

static void test_what_is_no_record_is_refused(void **state)
{
    static const char *const others[] = {
        "",
        "1a3",
        "1a3x",
        "1a3x9f2c44d0e1b",                                /* half a byte short */
        "1a3x9f2c44d0e1",                                 /* too few to name one */
        "1a3x9f2c44d0e1b70",                              /* half a byte */
        "1a3x9f2c44d0e1b70708090a0b0c0d0e0f101112131415", /* longer than a hash */
        "400x9f2c44d0e1b7",                               /* there are 1024 buckets */
        "fffx9f2c44d0e1b7",
        "1a3_9f2c44d0e1b7",
        "1g3-9f2c44d0e1b7",
        "1a3x9f2c44d0e1bg",
        "1a3x0x2c44d0e1b7",
        "1a3x+f2c44d0e1b7",
        " 1a3x9f2c44d0e1b7",
        "01a3x9f2c44d0e1b",
    };
    struct idem_name read;
    size_t hash_len = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        if (idem_name_parse(bytes_from_text(others[i]), &read, &hash_len)) {
            fail_msg("\"%s\" was read as a record", others[i]);
        }
    }
    assert_false(idem_name_parse(BYTES_NONE, &read, &hash_len));
}

static void name_of_no_bucket(void)
{
    char text[IDEM_SHORT_BYTES + 1];
    struct idem_name one = {.bucket = IDEM_BUCKETS};

    idem_name_short(&one, text);
}

static void state_of_no_table(void)
{
    (void)idem_state_name(IDEM_STATE_COUNT);
}

static void verdict_of_no_table(void)
{
    (void)idem_verdict_name(IDEM_VERDICT_COUNT);
}

static void how_of_no_table(void)
{
    (void)idem_how_name(IDEM_HOW_COUNT);
}

static void test_what_is_in_no_table_is_a_bug(void **state)
{
    (void)state;
    assert_true(aborts(name_of_no_bucket));
    assert_true(aborts(state_of_no_table));
    assert_true(aborts(verdict_of_no_table));
    assert_true(aborts(how_of_no_table));
}

static void test_words_of_the_contract(void **state)
{
    static const char *const states[IDEM_STATE_COUNT] = {"none", "in_progress", "unknown", "done"};
    static const char *const hows[IDEM_HOW_COUNT] = {"replay", "late", "operator", "expired"};
    static const char *const verdicts[IDEM_VERDICT_COUNT] = {
        "NEW", "TAKEN_OVER", "REPLAY",  "RECEIPT",    "BUSY",     "STUCK", "LIMITED", "MISMATCH",
        "OK",  "LOST",       "REFUSED", "ALREADY",    "REASSERTED", "CONFLICT", "NONE", "EXPIRED",
    };

    (void)state;
    for (unsigned i = 0; i < IDEM_STATE_COUNT; i++) {
        assert_string_equal(idem_state_name((enum idem_state)i), states[i]);
    }
    for (unsigned i = 0; i < IDEM_HOW_COUNT; i++) {
        assert_string_equal(idem_how_name((enum idem_how)i), hows[i]);
    }
    for (unsigned i = 0; i < IDEM_VERDICT_COUNT; i++) {
        assert_string_equal(idem_verdict_name((enum idem_verdict)i), verdicts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_has_a_short_name),
        cmocka_unit_test(test_a_short_name_is_read_back),
        cmocka_unit_test(test_a_longer_name_is_read_up_to_the_whole_hash),
        cmocka_unit_test(test_what_is_no_record_is_refused),
        cmocka_unit_test(test_what_is_in_no_table_is_a_bug),
        cmocka_unit_test(test_words_of_the_contract),
    };
    return cmocka_run_group_tests_name("policy/idem_name", tests, NULL, NULL);
}
