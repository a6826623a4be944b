/* A key in a JSON body: found where the pointer says, and no body with two readings is read at all. */
#include "base/unit.h"

#include <stdio.h>

#include "weir/http/json_key.h"

static struct blocks blocks;

static int open_blocks(void **state)
{
    (void)state;
    blocks_init(&blocks, 0, 4);
    return 0;
}

static int close_blocks(void **state)
{
    (void)state;
    assert_int_equal(blocks.used_bytes, 0);
    blocks_close(&blocks);
    return 0;
}

/* The body in blocks of which each holds at most `part` bytes; some are partly read, as a body's first block may be. */
static void fill(struct buf *body, struct bytes text, size_t part)
{
    buf_init(body, &blocks, SIZE_MAX);
    while (text.len > 0) {
        struct buf piece;
        struct bytes bytes = bytes_take(text, part);

        buf_init(&piece, &blocks, SIZE_MAX);
        assert_int_equal(buf_append(&piece, BYTES("junk"), BLOCKS_MAY), ERR_OK);
        assert_int_equal(buf_append(&piece, bytes, BLOCKS_MAY), ERR_OK);
        buf_consume(&piece, 4);
        assert_int_equal(buf_move(body, &piece), ERR_OK);
        text = bytes_skip(text, bytes.len);
    }
}

static enum json_key_result find_in(struct bytes body, size_t part, const char *pointer, char *text, size_t size,
                                    size_t *len)
{
    struct buf buf;
    enum json_key_result result;

    fill(&buf, body, part);
    result = json_key_find(&buf, bytes_from_text(pointer), text, size, len);
    assert_int_equal(buf.len, body.len);
    buf_reset(&buf);
    return result;
}

static void assert_found(const char *body, const char *pointer, const char *key)
{
    static const size_t PARTS[] = {SIZE_MAX, 1, 7};

    for (size_t i = 0; i < ARRAY_COUNT(PARTS); i++) {
        char text[64];
        size_t len = SIZE_MAX;

        assert_int_equal(find_in(bytes_from_text(body), PARTS[i], pointer, text, sizeof(text), &len), JSON_KEY_FOUND);
        assert_bytes(bytes_of(text, len), key);
    }
}

static void assert_result(struct bytes body, const char *pointer, enum json_key_result expected)
{
    char text[64] = "untouched";
    size_t len = 77;

    assert_int_equal(find_in(body, SIZE_MAX, pointer, text, sizeof(text), &len), expected);
    assert_string_equal(text, "untouched");
    assert_int_equal(len, 77);
}

static void test_a_member_is_found_where_the_pointer_says(void **state)
{
    (void)state;
    assert_found("{\"idempotency_key\":\"8e03978e\"}", "/idempotency_key", "8e03978e");
    assert_found(" {\"a\" : 1, \"k\" : \"v\", \"z\": {\"k\":\"other\"} }\n", "/k", "v");
    assert_found("{\"payment\":{\"key\":\"v\"},\"key\":\"outer\"}", "/payment/key", "v");
    assert_found("{\"a\":[{\"k\":\"first\"},{\"k\":\"second\"}]}", "/a/1/k", "second");
    assert_found("[\"only\"]", "/0", "only");
    assert_found("{\"\":{\"\":\"nameless\"}}", "//", "nameless");
    assert_found("{\"a/b\":{\"c~d\":\"v\"}}", "/a~1b/c~0d", "v");
    assert_found("{\"~1\":\"v\"}", "/~01", "v");
    assert_found("\"a text alone\"", "", "a text alone");
    assert_found("{\"0\":\"a member\"}", "/0", "a member");
    assert_found("{\"01\":\"a member\"}", "/01", "a member");
    assert_found("{\"k\":\"\"}", "/k", "");
}

static void test_escapes_of_json_are_undone(void **state)
{
    (void)state;
    assert_found("{\"k\":\"a\\\"b\\\\c\\/d\\u0041\\n\"}", "/k", "a\"b\\c/dA\n");
    assert_found("{\"k\":\"\\u00fc\\ud83d\\ude00\"}", "/k", "\xc3\xbc\xf0\x9f\x98\x80");
    assert_found("{\"\\u006b\":\"v\"}", "/k", "v");
    /* What looks like structure inside of a text is text. */
    assert_found("{\"x\":\"[{[{\\\"[{\",\"k\":\"v\"}", "/k", "v");
}

static void test_other_values_do_not_disturb(void **state)
{
    (void)state;
    /* Integers beyond 64 bits among them. */
    assert_found("{\"a\":null,\"b\":true,\"c\":false,\"d\":[null,\"x\",{}],\"e\":12345678901234567890123,\"f\":-1.5e3,"
                 "\"g\":\"\\u0000\",\"k\":\"v\"}",
                 "/k", "v");
}

static void test_what_is_not_there_is_absent(void **state)
{
    static const char *const POINTERS[] = {"/x", "/k/x", "/K", "/k ", "/a/2", "/a/-", "/a/00", "/a/+1", "/a/", "/a/1/k/x",
                                           "/n", "/n/x", "/o", "/o/", "//", "/a~2", "/k~", "/a/18446744073709551616"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(POINTERS); i++) {
        assert_result(BYTES("{\"k\":\"v\",\"a\":[1,{\"k\":\"w\"}],\"n\":null,\"o\":null}"), POINTERS[i], JSON_KEY_ABSENT);
    }
    assert_result(BYTES("{}"), "/k", JSON_KEY_ABSENT);
    assert_result(BYTES("7"), "/k", JSON_KEY_ABSENT);
    assert_result(BYTES("null"), "", JSON_KEY_ABSENT);
}

static void test_what_is_no_text_is_told_apart(void **state)
{
    (void)state;
    assert_result(BYTES("{\"k\":7}"), "/k", JSON_KEY_NOT_TEXT);
    assert_result(BYTES("{\"k\":{}}"), "/k", JSON_KEY_NOT_TEXT);
    assert_result(BYTES("{\"k\":[\"v\"]}"), "/k", JSON_KEY_NOT_TEXT);
    assert_result(BYTES("{\"k\":true}"), "/k", JSON_KEY_NOT_TEXT);
    assert_result(BYTES("{}"), "", JSON_KEY_NOT_TEXT);
    assert_result(BYTES("{\"k\":\"a\\u0000b\"}"), "/k", JSON_KEY_NOT_TEXT);
}

static void test_a_member_named_twice_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    assert_result(BYTES("{\"k\":\"v\",\"k\":\"w\"}"), "/k", JSON_KEY_BAD);
    assert_result(BYTES("{\"k\":\"v\",\"k\":\"v\"}"), "/k", JSON_KEY_BAD);
    assert_result(BYTES("{\"k\":\"v\",\"\\u006b\":\"w\"}"), "/k", JSON_KEY_BAD);
    assert_result(BYTES("{\"k\":\"v\",\"amount\":1,\"amount\":2}"), "/k", JSON_KEY_BAD);
    assert_result(BYTES("{\"k\":\"v\",\"a\":[{\"b\":1,\"b\":2}]}"), "/k", JSON_KEY_BAD);
    assert_result(BYTES("{\"k\":\"v\",\"k\":null}"), "/k", JSON_KEY_BAD);
    assert_found("{\"k\":\"v\",\"K\":\"w\"}", "/k", "v");
}

static void test_what_is_not_json_is_refused(void **state)
{
    static const char *const BODIES[] = {"", " ", "{", "{\"k\":\"v\"", "{\"k\":\"v\"}}", "{\"k\":\"v\"} x", "{\"k\":\"v\",}",
                                         "{'k':'v'}", "{k:\"v\"}", "k=v", "{\"k\":\"v\"}{\"k\":\"w\"}", "{\"k\":\"\xff\"}",
                                         "{\"k\":\"\\ud800\"}", "{\"k\":\"a\nb\"}", "\xef\xbb\xbf{\"k\":\"v\"}",
                                         "{\"k\":\"v\",\"n\":NaN}", "{\"k\":\"v\",\"n\":01}", "{\"k\":\"v\"/**/}",
                                         "{\"k\":\"v\",\"\\u0000\":1}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(BODIES); i++) {
        assert_result(bytes_from_text(BODIES[i]), "/k", JSON_KEY_BAD);
    }
    assert_result(BYTES("{\"k\":\"v\"}\0"), "/k", JSON_KEY_BAD);
    assert_result(BYTES("{\"k\":\"v\0\"}"), "/k", JSON_KEY_BAD);
}

static void test_a_key_fills_its_room_and_no_more(void **state)
{
    char text[5];
    size_t len = 0;

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(find_in(BYTES("{\"k\":\"abcd\"}"), SIZE_MAX, "/k", text, 4, &len), JSON_KEY_FOUND);
    assert_int_equal(len, 4);
    assert_memory_equal(text, "abcdx", 5);
    assert_int_equal(find_in(BYTES("{\"k\":\"abcde\"}"), SIZE_MAX, "/k", text, 4, &len), JSON_KEY_TOO_LONG);
    assert_memory_equal(text, "abcdx", 5);
}

/* {"k":"v","b":"\\","d": `depth` - 1 arrays in one another } */
static struct bytes nested(char *text, size_t depth)
{
    char *at = bytes_put(text, BYTES("{\"k\":\"v\",\"b\":\"\\\\\",\"d\":"));

    memset(at, '[', depth - 1);
    memset(at + depth - 1, ']', depth - 1);
    at += 2 * (depth - 1);
    *at++ = '}';
    return bytes_of(text, (size_t)(at - text));
}

static void test_depth_is_bounded(void **state)
{
    char text[4096], key[4];
    size_t len;

    (void)state;
    assert_int_equal(find_in(nested(text, JSON_KEY_DEPTH_MAX), SIZE_MAX, "/k", key, 4, &len), JSON_KEY_FOUND);
    assert_int_equal(find_in(nested(text, JSON_KEY_DEPTH_MAX + 1), SIZE_MAX, "/k", key, 4, &len), JSON_KEY_BAD);
}

/* {"k":"v","a":[ `count` ones ]} has count + 2 values by our count: the commas and the two openings. */
static struct bytes many_values(char *text, size_t count)
{
    char *at = bytes_put(text, BYTES("{\"k\":\"v\",\"a\":[1"));

    for (size_t i = 1; i < count; i++) {
        at = bytes_put(at, BYTES(",1"));
    }
    at = bytes_put(at, BYTES("]}"));
    return bytes_of(text, (size_t)(at - text));
}

static void test_the_number_of_values_is_bounded(void **state)
{
    static char text[4 * JSON_KEY_VALUES_MAX];
    char key[4];
    size_t len;

    (void)state;
    assert_int_equal(find_in(many_values(text, JSON_KEY_VALUES_MAX - 2), SIZE_MAX, "/k", key, 4, &len), JSON_KEY_FOUND);
    assert_int_equal(find_in(many_values(text, JSON_KEY_VALUES_MAX - 1), SIZE_MAX, "/k", key, 4, &len), JSON_KEY_BAD);
}

static void test_texts_do_not_count_as_values(void **state)
{
    static char text[3 * JSON_KEY_VALUES_MAX];
    char key[4];
    char *at = bytes_put(text, BYTES("{\"k\":\"v\",\"a\":\"\\\\\\\""));
    size_t len;

    (void)state;
    for (size_t i = 0; i < JSON_KEY_VALUES_MAX; i++) {
        at = bytes_put(at, BYTES(",["));
    }
    at = bytes_put(at, BYTES("\"}"));
    assert_int_equal(find_in(bytes_of(text, (size_t)(at - text)), 4000, "/k", key, 4, &len), JSON_KEY_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_is_found_where_the_pointer_says),
        cmocka_unit_test(test_escapes_of_json_are_undone),
        cmocka_unit_test(test_other_values_do_not_disturb),
        cmocka_unit_test(test_what_is_not_there_is_absent),
        cmocka_unit_test(test_what_is_no_text_is_told_apart),
        cmocka_unit_test(test_a_member_named_twice_is_refused_wherever_it_stands),
        cmocka_unit_test(test_what_is_not_json_is_refused),
        cmocka_unit_test(test_a_key_fills_its_room_and_no_more),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_the_number_of_values_is_bounded),
        cmocka_unit_test(test_texts_do_not_count_as_values),
    };

    return cmocka_run_group_tests(tests, open_blocks, close_blocks);
}
