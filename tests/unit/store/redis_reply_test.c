/* Replies as they come: whole, in pieces, too large, and not replies at all. */
#include "redis_support.h"

static void feed(struct replies *replies, const char *text)
{
    assert_true(replies_feed(replies, bytes_from_text(text)));
}

static const struct reply *next(struct replies *replies)
{
    const char *why;
    const struct reply *reply = replies_next(replies, &why);
    assert_null(why);
    return reply;
}

static void assert_broken(const char *text, const char *words)
{
    struct replies replies;
    const char *why = NULL;
    assert_true(replies_open(&replies));
    feed(&replies, text);
    while (replies_next(&replies, &why) != NULL) {
    }
    if (why == NULL) {
        fail_msg("taken for a reply: %s", text);
    }
    assert_non_null(strstr(why, words));
    replies_close(&replies);
}

static void test_every_kind_is_read(void **state)
{
    struct replies replies;
    const struct reply *reply;

    (void)state;
    assert_true(replies_open(&replies));
    feed(&replies, "+OK\r\n-ERR no\r\n:42\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n*2\r\n:1\r\n$1\r\nx\r\n*-1\r\n*0\r\n");
    reply = next(&replies);
    assert_int_equal(reply->kind, REPLY_STATUS);
    assert_true(bytes_equal(reply->text, BYTES("OK")));
    reply = next(&replies);
    assert_int_equal(reply->kind, REPLY_ERROR);
    assert_true(bytes_equal(reply->text, BYTES("ERR no")));
    reply = next(&replies);
    assert_int_equal(reply->kind, REPLY_INTEGER);
    assert_int_equal(reply->integer, 42);
    reply = next(&replies);
    assert_int_equal(reply->kind, REPLY_TEXT);
    assert_true(bytes_equal(reply->text, bytes_of("a\r\nbc", 5)));
    reply = next(&replies);
    assert_int_equal(reply->text.len, 0);
    assert_int_equal(next(&replies)->kind, REPLY_NIL);
    reply = next(&replies);
    assert_int_equal(reply->kind, REPLY_ARRAY);
    assert_int_equal(reply_at(reply, 0)->integer, 1);
    assert_true(bytes_equal(reply_at(reply, 1)->text, BYTES("x")));
    assert_null(reply_at(reply, 2));
    assert_int_equal(next(&replies)->kind, REPLY_NIL);
    reply = next(&replies);
    assert_int_equal(reply->integer, 0);
    assert_null(reply_at(reply, 0));
    assert_null(next(&replies));
    replies_close(&replies);
}

static void test_a_reply_that_comes_byte_by_byte(void **state)
{
    const char text[] = "*3\r\n$3\r\nabc\r\n:7\r\n*2\r\n+x\r\n-y\r\n$2\r\nok\r\n";
    struct replies replies;
    const struct reply *reply = NULL;
    int whole = 0;

    (void)state;
    assert_true(replies_open(&replies));
    for (size_t i = 0; i < sizeof text - 1; i++) {
        assert_true(replies_feed(&replies, bytes_of(text + i, 1)));
        while ((reply = next(&replies)) != NULL) {
            whole++;
            if (whole == 1) {
                assert_true(bytes_equal(reply_at(reply, 0)->text, BYTES("abc")));
                assert_int_equal(reply_at(reply, 2)->kind, REPLY_ARRAY);
                assert_true(bytes_equal(reply_at(reply_at(reply, 2), 1)->text, BYTES("y")));
            } else {
                assert_true(bytes_equal(reply->text, BYTES("ok")));
            }
        }
    }
    assert_int_equal(whole, 2);
    replies_close(&replies);
}

static void test_what_is_no_reply_is_refused(void **state)
{
    (void)state;
    assert_broken("HTTP/1.1 400 Bad Request\r\n", "not the Redis protocol");
    assert_broken("+OK\r\n\x16\x03\x01", "not the Redis protocol");
    assert_broken("$x\r\n", "not the Redis protocol");
    assert_broken("*99999999999999\r\n", "not the Redis protocol");
    assert_broken("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "not the Redis protocol");
}

static void test_an_array_has_its_limit(void **state)
{
    struct replies replies;
    const struct reply *reply;
    char text[64];

    (void)state;
    (void)snprintf(text, sizeof text, "*%d\r\n", REPLY_ELEMENTS_MAX + 1);
    assert_broken(text, "larger");
    assert_true(replies_open(&replies)); /* as many as fit, the array itself among them */
    (void)snprintf(text, sizeof text, "*%d\r\n", REPLY_ELEMENTS_MAX - 1);
    feed(&replies, text);
    for (int i = 0; i < REPLY_ELEMENTS_MAX - 1; i++) {
        assert_null(next(&replies));
        feed(&replies, ":1\r\n");
    }
    reply = next(&replies);
    assert_non_null(reply);
    assert_int_equal(reply->integer, REPLY_ELEMENTS_MAX - 1);
    feed(&replies, "+after\r\n");
    assert_int_equal(next(&replies)->kind, REPLY_STATUS);
    replies_close(&replies);
}

/* Each array is within the limit, and all of them together are not. */
static void test_arrays_in_arrays_have_it_too(void **state)
{
    struct replies replies;
    const char *why = NULL;
    int fed = 0;

    (void)state;
    assert_true(replies_open(&replies));
    feed(&replies, "*2\r\n*4000\r\n");
    for (; fed < 4000; fed++) {
        feed(&replies, ":1\r\n");
    }
    assert_null(replies_next(&replies, &why));
    assert_null(why);
    feed(&replies, "*4000\r\n");
    for (; fed < 8000 && why == NULL; fed++) {
        feed(&replies, ":1\r\n");
        assert_null(replies_next(&replies, &why));
    }
    assert_non_null(why);
    assert_true(fed < REPLY_ELEMENTS_MAX);
    replies_close(&replies);
}

static void test_bytes_that_are_announced_are_not_waited_for_without_end(void **state)
{
    struct replies replies;
    char *piece = malloc(1 << 20);
    size_t taken = 0;

    (void)state;
    memset(piece, 'a', 1 << 20);
    assert_true(replies_open(&replies));
    feed(&replies, "$1000000000\r\n");
    assert_null(next(&replies));
    while (replies_feed(&replies, bytes_of(piece, 1 << 20))) {
        assert_null(next(&replies));
        taken += 1 << 20;
        assert_true(taken <= REPLY_BYTES_MAX);
    }
    replies_close(&replies);
    free(piece);
}

/* Many strings, each small, in one reply. */
static void test_the_bytes_of_a_reply_have_their_limit(void **state)
{
    struct replies replies;
    char *piece = malloc((1 << 20) + 64);
    const char *why = NULL;
    int len = snprintf(piece, 64, "$%d\r\n", 1 << 20);

    (void)state;
    memset(piece + len, 'a', 1 << 20);
    memcpy(piece + len + (1 << 20), "\r\n", 2);
    assert_true(replies_open(&replies));
    feed(&replies, "*10\r\n");
    for (int i = 0; i < 9; i++) {
        assert_true(replies_feed(&replies, bytes_of(piece, (size_t)len + (1 << 20) + 2)));
        assert_null(replies_next(&replies, &why));
        assert_true((why != NULL) == (i == 8));
    }
    replies_close(&replies);
    free(piece);
}

static void test_a_large_reply_does_not_keep_its_memory(void **state)
{
    struct replies replies;
    char *piece = malloc((1 << 20) + 64);
    int len = snprintf(piece, 64, "$%d\r\n", 1 << 20);

    (void)state;
    memset(piece + len, 'a', 1 << 20);
    memcpy(piece + len + (1 << 20), "\r\n", 2);
    assert_true(replies_open(&replies));
    assert_true(replies_feed(&replies, bytes_of(piece, (size_t)len + (1 << 20) + 2)));
    assert_int_equal(next(&replies)->text.len, 1 << 20);
    feed(&replies, "+OK\r\n");
    assert_non_null(next(&replies));
    assert_true(replies.text_room <= 1 << 16);
    replies_close(&replies);
    free(piece);
}

static bool reads_as_result(const char *text, struct idem_result *result)
{
    struct replies replies;
    bool read;
    assert_true(replies_open(&replies));
    feed(&replies, text);
    read = result_read(next(&replies), result);
    replies_close(&replies);
    return read;
}

static void test_only_what_scripts_say_is_a_result(void **state)
{
    struct idem_result result;
    char text[512], processor[IDEM_PROCESSOR_BYTES_MAX + 2];

    (void)state;
#define REST "$0\r\n\r\n:0\r\n$0\r\n\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n"
    assert_true(reads_as_result("*14\r\n$3\r\nNEW\r\n:0\r\n$1\r\nI\r\n$1\r\np\r\n$1\r\nr\r\n" REST, &result));
    assert_int_equal(result.verdict, IDEM_NEW);
    assert_int_equal(result.state, IDEM_IN_FLIGHT);
    assert_true(reads_as_result("*14\r\n$2\r\nOK\r\n:3\r\n$1\r\nU\r\n$1\r\np\r\n$1\r\nr\r\n" REST, &result));
    assert_true(result.told_now && result.resolved_now);
    assert_false(reads_as_result("+OK\r\n", &result));
    assert_false(reads_as_result(":1\r\n", &result));
    assert_false(reads_as_result("*0\r\n", &result));
    assert_false(reads_as_result("*14\r\n$4\r\nNOPE\r\n:0\r\n$1\r\nI\r\n$1\r\np\r\n$1\r\nr\r\n" REST, &result));
    assert_false(reads_as_result("*14\r\n$3\r\nNEW\r\n:0\r\n$1\r\nX\r\n$1\r\np\r\n$1\r\nr\r\n" REST, &result));
    assert_false(reads_as_result("*14\r\n$3\r\nNEW\r\n:0\r\n$2\r\nII\r\n$1\r\np\r\n$1\r\nr\r\n" REST, &result));
    assert_false(reads_as_result("*14\r\n$3\r\nNEW\r\n:-1\r\n$1\r\nI\r\n$1\r\np\r\n$1\r\nr\r\n" REST, &result));
    assert_false(reads_as_result("*14\r\n$3\r\nNEW\r\n$1\r\n0\r\n$1\r\nI\r\n$1\r\np\r\n$1\r\nr\r\n" REST, &result));
    assert_false(reads_as_result("*13\r\n$3\r\nNEW\r\n:0\r\n$1\r\nI\r\n$1\r\np\r\n" REST, &result));
    memset(processor, 'p', sizeof processor - 1);
    processor[sizeof processor - 1] = '\0';
    (void)snprintf(text, sizeof text, "*14\r\n$3\r\nNEW\r\n:0\r\n$1\r\nI\r\n$%zu\r\n%s\r\n$1\r\nr\r\n%s",
                   strlen(processor), processor, REST);
    assert_false(reads_as_result(text, &result)); /* longer than a processor's name may be */
}

/* What is 0 or empty at the end is left out. */
static void test_a_result_may_end_early(void **state)
{
    struct idem_result result;

    (void)state;
#define FIRST "$6\r\nREPLAY\r\n:0\r\n$1\r\nD\r\n$1\r\np\r\n$1\r\nr\r\n"
    assert_true(reads_as_result("*5\r\n" FIRST, &result));
    assert_int_equal(result.verdict, IDEM_REPLAY);
    assert_string_equal(result.request_id, "r");
    assert_int_equal(result.upstream_key.len + result.answer.len, 0);
    assert_int_equal(result.status + result.age_ms + result.left_ms + result.done_ms + result.takeovers, 0);
    assert_true(reads_as_result("*9\r\n" FIRST "$0\r\n\r\n:201\r\n$0\r\n\r\n:7\r\n", &result));
    assert_int_equal(result.status, 201);
    assert_int_equal(result.age_ms, 7);
    assert_int_equal(result.left_ms, 0);
    assert_false(reads_as_result("*4\r\n$6\r\nREPLAY\r\n:0\r\n$1\r\nD\r\n$1\r\np\r\n", &result));
    assert_false(reads_as_result("*6\r\n" FIRST ":0\r\n", &result));
    assert_false(reads_as_result("*7\r\n" FIRST "$0\r\n\r\n:65536\r\n", &result));
    assert_false(reads_as_result("*15\r\n" FIRST REST ":0\r\n", &result));
#undef FIRST
}

/* Every verdict that a script can say is known by its name. */
static void test_every_verdict_is_read(void **state)
{
    (void)state;
    for (int i = 0; i < IDEM_VERDICT_COUNT; i++) {
        struct idem_result result;
        char text[256];
        (void)snprintf(text, sizeof text, "*14\r\n+%s\r\n:0\r\n+\r\n+\r\n+\r\n%s",
                       idem_verdict_name((enum idem_verdict)i), "+\r\n:0\r\n+\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n");
        struct replies replies;
        assert_true(replies_open(&replies));
        feed(&replies, text);
        /* A status is no text to a script's reader: texts are bulk. */
        assert_false(result_read(next(&replies), &result));
        replies_close(&replies);
        (void)snprintf(text, sizeof text, "*14\r\n$%zu\r\n%s\r\n:0\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n%s",
                       strlen(idem_verdict_name((enum idem_verdict)i)), idem_verdict_name((enum idem_verdict)i), REST);
        assert_true(reads_as_result(text, &result));
        assert_int_equal(result.verdict, i);
    }
}

static void test_errors_by_their_first_word(void **state)
{
    static const struct {
        const char *text;
        enum refusal refusal;
    } rows[] = {
        {"NOSCRIPT No matching script. Please use EVAL.", REFUSAL_NO_SCRIPT},
        {"OOM command not allowed when used memory > 'maxmemory'.", REFUSAL_NO_ROOM},
        {"MISCONF Redis is configured to save RDB snapshots", REFUSAL_NO_WRITES},
        {"NOREPLICAS Not enough good replicas to write.", REFUSAL_NO_WRITES},
        {"READONLY You can't write against a read only replica.", REFUSAL_ELSEWHERE},
        {"LOADING Redis is loading the dataset in memory", REFUSAL_ELSEWHERE},
        {"MASTERDOWN Link with MASTER is down", REFUSAL_ELSEWHERE},
        {"BUSY Redis is busy running a script.", REFUSAL_ELSEWHERE},
        {"NOAUTH Authentication required.", REFUSAL_ELSEWHERE},
        {"CLUSTERDOWN Hash slot not served", REFUSAL_ELSEWHERE},
        {"MOVED 3999 127.0.0.1:6381", REFUSAL_ELSEWHERE},
        {"NOPERM this user has no permissions to run the 'evalsha' command", REFUSAL_OTHER},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", REFUSAL_OTHER},
        {"ERR user_script:1: oops", REFUSAL_OTHER},
        {"OOMX", REFUSAL_OTHER},
        {"", REFUSAL_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct reply error = {.kind = REPLY_ERROR, .text = bytes_from_text(rows[i].text)};
        assert_int_equal(refusal_of(&error), rows[i].refusal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_is_read),
        cmocka_unit_test(test_a_reply_that_comes_byte_by_byte),
        cmocka_unit_test(test_what_is_no_reply_is_refused),
        cmocka_unit_test(test_an_array_has_its_limit),
        cmocka_unit_test(test_arrays_in_arrays_have_it_too),
        cmocka_unit_test(test_bytes_that_are_announced_are_not_waited_for_without_end),
        cmocka_unit_test(test_the_bytes_of_a_reply_have_their_limit),
        cmocka_unit_test(test_a_large_reply_does_not_keep_its_memory),
        cmocka_unit_test(test_only_what_scripts_say_is_a_result),
        cmocka_unit_test(test_a_result_may_end_early),
        cmocka_unit_test(test_every_verdict_is_read),
        cmocka_unit_test(test_errors_by_their_first_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
