/* What becomes of calls when the server, or the way to it, is not as it should be. */
#include "redis_support.h"

struct both {
    struct bench bench;
    struct fake fake;
};

static const char *say_ok(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return FAKE_OK;
}

static const char *say_new(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return FAKE_NEW;
}

static const char *say_nothing(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return NULL;
}

static const char *say_replay(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return FAKE_REPLAY;
}

static void open_both(struct both *both, fake_script script)
{
    bench_init(&both->bench);
    fake_open(&both->fake, both->bench.loop);
    both->fake.script = script;
    bench_server(&both->bench, both->fake.port, false);
    bench_start(&both->bench);
    UNTIL(both->bench.loop, bench_is_up(&both->bench) && both->fake.fleets == 1); /* nothing more is said by itself */
}

static void close_both(struct both *both)
{
    bench_stop(&both->bench, 0);
    fake_close(&both->fake);
    bench_close_rest(&both->bench);
}

/* ---- trips and turns ---- */

static void test_a_begin_is_one_round_trip_and_so_is_a_replay(void **state)
{
    struct both both;
    struct asker asker;
    int reads;

    (void)state;
    open_both(&both, say_new);
    reads = fake_last(&both.fake)->reads;
    assert_int_equal(verdict(&both.bench, &asker, IDEM_BEGIN, 1, 1), IDEM_NEW);
    assert_int_equal(fake_last(&both.fake)->reads, reads + 1);
    assert_int_equal(both.fake.scripts, 1);
    both.fake.script = say_replay;
    reads = fake_last(&both.fake)->reads;
    assert_int_equal(verdict(&both.bench, &asker, IDEM_BEGIN, 1, 2), IDEM_REPLAY);
    assert_string_equal(asker.answer, "stored");
    assert_int_equal(fake_last(&both.fake)->reads, reads + 1);
    assert_int_equal(both.fake.scripts, 2);
    close_both(&both);
}

static void test_all_that_a_turn_asks_leaves_in_one_write(void **state)
{
    struct both both;
    struct asker askers[40];
    int reads;

    (void)state;
    open_both(&both, say_new);
    reads = fake_last(&both.fake)->reads;
    for (uint8_t i = 0; i < 40; i++) {
        ask(&both.bench, &askers[i], IDEM_BEGIN, i, 1);
    }
    UNTIL(both.bench.loop, askers[39].told == 1);
    assert_int_equal(fake_last(&both.fake)->reads, reads + 1);
    assert_int_equal(both.fake.scripts, 40);
    close_both(&both);
}

static const char *say_by_owner(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    assert_true(count > 6);
    return words[6].at[0] == 1 ? FAKE_NEW : FAKE_REPLAY;
}

static void test_replies_belong_by_position(void **state)
{
    struct both both;
    struct asker one, two, three;

    (void)state;
    open_both(&both, say_by_owner);
    ask(&both.bench, &one, IDEM_BEGIN, 1, 1);
    ask(&both.bench, &two, IDEM_BEGIN, 2, 2);
    ask(&both.bench, &three, IDEM_BEGIN, 3, 1);
    store_forget(two.call); /* its reply is nobody's, not the next one's */
    UNTIL(both.bench.loop, three.told == 1);
    assert_int_equal(one.result.verdict, IDEM_NEW);
    assert_int_equal(three.result.verdict, IDEM_NEW);
    assert_int_equal(two.told, 0);
    close_both(&both);
}

/* No more than the window is on its way at a time, and all are answered. */
static void test_the_window_of_calls_on_their_way(void **state)
{
    struct both both;
    const int count = 3000;
    struct asker *askers = calloc((size_t)count, sizeof *askers);
    int told = 0;

    (void)state;
    open_both(&both, say_nothing);
    redis_of(both.bench.store)->begin_timeout_ms = 60000; /* silence is no trouble here */
    for (int i = 0; i < count; i++) {
        struct idem_op op = op_of(IDEM_BEGIN, (uint8_t)i, 1);
        ask_op(&both.bench, &askers[i], &op, false, 30000);
    }
    UNTIL(both.bench.loop, both.fake.scripts == REDIS_ASKED_CALLS_MAX);
    assert_int_equal(redis_of(both.bench.store)->connection.asked_calls, REDIS_ASKED_CALLS_MAX);
    both.fake.script = say_new;
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, askers[count - 1].told == 1);
    for (int i = 0; i < count; i++) {
        told += askers[i].told == 1 && askers[i].status == STORE_OK;
    }
    assert_int_equal(told, count);
    close_both(&both);
    free(askers);
}

/* ---- scripts that are not there ---- */

static const char *say_no_script(struct fake *fake, const struct bytes *words, int count)
{
    (void)count;
    (void)fake;
    return word_is(words[0], "EVALSHA") ? "-NOSCRIPT No matching script. Please use EVAL.\r\n" : FAKE_NEW;
}

static void test_a_script_that_is_not_there_is_sent_whole(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_no_script);
    assert_int_equal(verdict(&both.bench, &asker, IDEM_BEGIN, 1, 1), IDEM_NEW);
    assert_int_equal(both.fake.scripts, 2);
    assert_int_equal(both.fake.wholes, 1);
    close_both(&both);
}

static const char *always_no_script(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return "-NOSCRIPT No matching script. Please use EVAL.\r\n";
}

static void test_a_server_that_never_has_the_script_is_not_asked_for_ever(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, always_no_script);
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    assert_true(both.fake.wholes >= 1 && both.fake.scripts <= 4);
    close_both(&both);
}

/* ---- refusals ---- */

static const char *refusal_said; /* by say_refusal, as often as refusals_left */
static int refusals_left;

static const char *say_refusal(struct fake *fake, const struct bytes *words, int count)
{
    if (refusals_left > 0) {
        refusals_left--;
        return refusal_said;
    }
    return fake->ops[(fake->scripts - 1) % 256] == IDEM_BEGIN ? say_new(fake, words, count)
                                                              : say_ok(fake, words, count);
}

static void refuse(const char *said, int times)
{
    refusal_said = said;
    refusals_left = times;
}

/* Not done, and known not to be: nothing is left to abandon. */
static void assert_begin_refused(const char *said, enum store_status status, const char *words)
{
    struct both both;
    struct asker asker;

    open_both(&both, say_refusal);
    refuse(said, 1);
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, status);
    assert_non_null(strstr(bench_trouble(&both.bench), words));
    assert_true(bench_is_up(&both.bench));
    assert_int_equal(redis_of(both.bench.store)->store.calls_count, 0);
    assert_int_equal(verdict(&both.bench, &asker, IDEM_BEGIN, 1, 1), IDEM_NEW);
    assert_string_equal(bench_not_durable(&both.bench), "");
    assert_string_equal(bench_trouble(&both.bench), "");
    assert_int_equal(both.fake.scripts, 2);
    close_both(&both);
}

static void test_begins_that_the_server_refuses(void **state)
{
    (void)state;
    assert_begin_refused("-OOM command not allowed when used memory > 'maxmemory'.\r\n", STORE_FULL, "OOM");
    assert_begin_refused("-MISCONF Redis is configured to save RDB snapshots, but\r\n", STORE_DOWN, "MISCONF");
    assert_begin_refused("-NOREPLICAS Not enough good replicas to write.\r\n", STORE_DOWN, "NOREPLICAS");
}

/* A script may end in the middle: what it did is not known, so the begin is abandoned. */
static void test_a_begin_that_failed_in_the_middle_is_abandoned(void **state)
{
    static const char *const said[] = {
        "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        "-ERR user_script:12: oops\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(said); i++) {
        struct both both;
        struct asker asker;
        open_both(&both, say_refusal);
        refuse(said[i], 1);
        ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
        UNTIL(both.bench.loop, asker.told == 1);
        assert_int_equal(asker.status, STORE_DOWN);
        assert_non_null(strstr(bench_trouble(&both.bench), bytes_starts_with(bytes_from_text(said[i]), BYTES("-NOPERM"))
                                                               ? "NOPERM"
                                                               : "the server says"));
        UNTIL(both.bench.loop, both.fake.scripts == 2);
        assert_int_equal(both.fake.ops[1], IDEM_ABANDON);
        UNTIL(both.bench.loop, redis_of(both.bench.store)->store.unsettled == 0);
        close_both(&both);
    }
}

static void test_what_settles_is_asked_until_the_server_takes_it(void **state)
{
    static const char *const said[] = {
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-MISCONF Errors writing to the AOF file\r\n",
        "-NOREPLICAS Not enough good replicas to write.\r\n",
        "-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
        "-ERR something new\r\n",
    };
    static const enum idem_op_kind kinds[] = {IDEM_COMPLETE, IDEM_MARK, IDEM_ABANDON};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(said); i++) {
        struct both both;
        struct asker asker;
        struct store_state told;
        open_both(&both, say_refusal);
        refuse(said[i], 1);
        ask(&both.bench, &asker, kinds[i % 3], 1, 1);
        UNTIL(both.bench.loop, both.fake.scripts == 1);
        UNTIL(both.bench.loop, bench_trouble(&both.bench)[0] != '\0');
        store_state(both.bench.store, &told);
        assert_int_equal(told.unsettled, 1);
        assert_int_equal(asker.told, 0);
        UNTIL(both.bench.loop, asker.told == 1);
        assert_int_equal(asker.status, STORE_OK);
        assert_int_equal(both.fake.scripts, 2);
        assert_string_equal(bench_trouble(&both.bench), "");
        assert_int_equal(bench_metric(&both.bench, "weir_store_unsettled"), 0);
        close_both(&both);
    }
}

/* This server, now, is of no use: the connection ends, and what was not done is asked again. */
static void test_refusals_that_end_the_connection(void **state)
{
    static const char *const said[] = {
        "-READONLY You can't write against a read only replica.\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
        "-MOVED 3999 127.0.0.1:6381\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(said); i++) {
        struct both both;
        struct asker asker, settling;
        open_both(&both, say_refusal);
        refuse(said[i], 2);
        ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
        ask(&both.bench, &settling, IDEM_COMPLETE, 2, 1);
        UNTIL(both.bench.loop, !bench_is_up(&both.bench));
        assert_non_null(strstr(bench_trouble(&both.bench), "the server says"));
        UNTIL(both.bench.loop, asker.told == 1 && settling.told == 1);
        assert_int_equal(asker.status, STORE_OK);
        assert_int_equal(asker.result.verdict, IDEM_NEW);
        assert_int_equal(settling.status, STORE_OK);
        assert_true(both.fake.client_count >= 2);
        close_both(&both);
    }
}

static void test_a_server_that_became_a_replica_is_left_for_another(void **state)
{
    struct both both;
    struct fake other;
    struct asker asker;

    (void)state;
    bench_init(&both.bench);
    fake_open(&both.fake, both.bench.loop);
    fake_open(&other, both.bench.loop);
    both.fake.script = say_refusal;
    other.script = say_new;
    refuse("-READONLY You can't write against a read only replica.\r\n", 100);
    bench_server(&both.bench, both.fake.port, false);
    bench_server(&both.bench, other.port, false);
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_int_equal(both.fake.client_count, 1);
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_OK);
    assert_int_equal(other.scripts, 1);
    bench_stop(&both.bench, 0);
    fake_close(&both.fake);
    fake_close(&other);
    bench_close_rest(&both.bench);
}

/* ---- connections that break ---- */

static const char *drop_said; /* said before the connection ends; NULL: it goes on in silence */
static int drops_left;

static const char *say_and_drop(struct fake *fake, const struct bytes *words, int count)
{
    if (drops_left > 0) {
        drops_left--;
        if (drop_said != NULL) {
            fake_say(fake_last(fake), drop_said);
        }
        stream_close(fake_last(fake)->stream, false);
        fake_last(fake)->stream = NULL;
        return NULL;
    }
    return fake->ops[(fake->scripts - 1) % 256] == IDEM_BEGIN ? say_new(fake, words, count)
                                                              : say_ok(fake, words, count);
}

static const char *say_nothing_to_begins(struct fake *fake, const struct bytes *words, int count)
{
    (void)words;
    (void)count;
    return fake->ops[(fake->scripts - 1) % 256] == IDEM_BEGIN ? NULL : FAKE_OK;
}

static char asked_seen[4][ASKED_BYTES];
static int asked_count;

static const char *note_asked(struct fake *fake, const struct bytes *words, int count)
{
    assert_true(count > 7 && words[7].len == ASKED_BYTES);
    if (asked_count < 4) {
        memcpy(asked_seen[asked_count++], words[7].at, ASKED_BYTES);
    }
    return say_and_drop(fake, words, count);
}

static void test_a_begin_without_reply_is_asked_once_more_under_the_same_owner(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, note_asked);
    drop_said = NULL;
    drops_left = 1;
    asked_count = 0;
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_OK);
    assert_int_equal(both.fake.scripts, 2);
    assert_int_equal(asked_count, 2);
    assert_memory_equal(asked_seen[0], asked_seen[1], ASKED_BYTES); /* one question */
    assert_int_equal(verdict(&both.bench, &asker, IDEM_BEGIN, 1, 1), IDEM_NEW);
    assert_memory_not_equal(asked_seen[0], asked_seen[2], ASKED_BYTES); /* another */
    close_both(&both);
}

static void test_a_begin_that_was_lost_twice_is_abandoned(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_and_drop);
    drop_said = NULL;
    drops_left = 2;
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    UNTIL(both.bench.loop, both.fake.scripts == 3);
    assert_int_equal(both.fake.ops[2], IDEM_ABANDON);
    assert_int_equal(redis_of(both.bench.store)->store.unsettled, 1);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->store.unsettled == 0);
    assert_int_equal(both.fake.scripts, 4); /* once more, for a begin that was still on its way */
    assert_int_equal(both.fake.ops[3], IDEM_ABANDON);
    close_both(&both);
}

static const char *drop_first_begin(struct fake *fake, const struct bytes *words, int count)
{
    (void)words;
    (void)count;
    if (fake->scripts == 1) {
        stream_close(fake_last(fake)->stream, false);
        fake_last(fake)->stream = NULL;
    }
    return fake->ops[(fake->scripts - 1) % 256] == IDEM_BEGIN ? NULL : FAKE_OK;
}

/* The second try and the abandon share a connection; the first try's may still have something to deliver. */
static void test_an_abandon_outlives_the_first_of_two_tries(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, drop_first_begin);
    redis_of(both.bench.store)->begin_timeout_ms = 60000;
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, both.fake.scripts == 2);
    store_forget(asker.call);
    UNTIL(both.bench.loop, both.fake.scripts == 3);
    fake_pay(fake_last(&both.fake), FAKE_NEW);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->store.unsettled == 0);
    assert_int_equal(both.fake.scripts, 4);
    assert_int_equal(both.fake.ops[3], IDEM_ABANDON);
    assert_int_equal(both.fake.client_count, 2);
    close_both(&both);
}

/* Half a reply, and bytes that are none. */
static void test_broken_replies_end_the_connection(void **state)
{
    static const char *const said[] = {
        "*14\r\n$3\r\nNEW\r\n:0\r\n$1\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "*13\r\n",
        "$100\r\nabc",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(said); i++) {
        struct both both;
        struct asker asker;
        open_both(&both, say_and_drop);
        drop_said = said[i];
        drops_left = 1;
        ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
        UNTIL(both.bench.loop, asker.told == 1);
        assert_int_equal(asker.status, STORE_OK);
        assert_int_equal(both.fake.client_count, 2);
        close_both(&both);
    }
}

static void test_an_answer_of_another_kind_is_not_believed(void **state)
{
    static const char *const said[] = {
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "*0\r\n",
        "*2\r\n+NEW\r\n:0\r\n",
        FAKE_RESULT("WHAT", "4", "0", "I"),
        FAKE_RESULT("NEW", "3", "0", "?"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(said); i++) {
        struct both both;
        struct asker asker;
        open_both(&both, say_refusal);
        refuse(said[i], 1);
        ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
        UNTIL(both.bench.loop, !bench_is_up(&both.bench));
        assert_non_null(strstr(bench_trouble(&both.bench), "something else"));
        UNTIL(both.bench.loop, asker.told == 1);
        assert_int_equal(asker.status, STORE_OK);
        close_both(&both);
    }
}

static const char *say_without_end(struct fake *fake, const struct bytes *words, int count)
{
    static char piece[65536];
    (void)words;
    (void)count;
    memset(piece, 'a', sizeof piece - 1);
    if (fake->scripts > 1) {
        return FAKE_NEW;
    }
    fake_say(fake_last(fake), "$100000000\r\n");
    for (size_t said = 0; said < REPLY_BYTES_MAX + (1u << 20); said += sizeof piece) {
        fake_say(fake_last(fake), piece);
    }
    return NULL;
}

static void test_a_reply_without_end_ends_the_connection(void **state)
{
    struct both both;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);

    (void)state;
    open_both(&both, say_without_end);
    ask_op(&both.bench, &asker, &op, false, 10000);
    UNTIL(both.bench.loop, !bench_is_up(&both.bench));
    assert_non_null(strstr(bench_trouble(&both.bench), "larger"));
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_OK);
    close_both(&both);
}

static void test_what_nobody_asked_for_ends_the_connection(void **state)
{
    struct both both;

    (void)state;
    open_both(&both, say_new);
    fake_say(fake_last(&both.fake), "+surprise\r\n");
    UNTIL(both.bench.loop, !bench_is_up(&both.bench));
    assert_non_null(strstr(bench_trouble(&both.bench), "nobody asked"));
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    close_both(&both);
}

/* ---- silence ---- */

/* Nothing comes for half of the time: another connection is tried within the other half. */
static void test_a_silent_connection_is_left_in_time_for_a_second_try(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_new);
    both.fake.mute = true;
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, !bench_is_up(&both.bench));
    assert_int_equal(asker.told, 0);
    assert_non_null(strstr(bench_trouble(&both.bench), "no reply"));
    both.fake.mute = false;
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_OK);
    assert_int_equal(both.fake.scripts, 1);
    close_both(&both);
}

static void test_a_server_that_says_nothing_at_all(void **state)
{
    struct both both;
    struct asker asker, settling;

    (void)state;
    open_both(&both, say_refusal);
    refuse(NULL, 0);
    both.fake.mute = true;
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    ask(&both.bench, &settling, IDEM_COMPLETE, 2, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    assert_int_equal(settling.told, 0);
    both.fake.mute = false;
    UNTIL(both.bench.loop, settling.told == 1);
    assert_int_equal(settling.status, STORE_OK);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->store.unsettled == 0);
    assert_int_equal(both.fake.ops[both.fake.scripts - 1], IDEM_ABANDON);
    close_both(&both);
}

/* Its time is over before the connection is given up: the reply that comes late is nobody's, and the abandon follows.
 */
static void test_a_begin_whose_reply_comes_late(void **state)
{
    struct both both;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);

    (void)state;
    open_both(&both, say_nothing_to_begins);
    ask_op(&both.bench, &asker, &op, false, 20);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    assert_true(bench_is_up(&both.bench));
    UNTIL(both.bench.loop, both.fake.scripts == 2);
    assert_int_equal(both.fake.ops[1], IDEM_ABANDON);
    fake_pay(fake_last(&both.fake), FAKE_NEW);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->store.calls_count == 0);
    assert_int_equal(asker.told, 1);
    assert_int_equal(both.fake.client_count, 1);
    close_both(&both);
}

static void test_a_begin_that_nobody_waits_for_is_abandoned(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_refusal);
    refuse(NULL, 0);
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    store_forget(asker.call); /* not sent yet: nothing to undo */
    assert_int_equal(redis_of(both.bench.store)->store.calls_count, 0);
    both.fake.script = say_nothing;
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, both.fake.scripts == 1);
    store_forget(asker.call);
    UNTIL(both.bench.loop, both.fake.scripts == 2);
    assert_int_equal(both.fake.ops[1], IDEM_ABANDON);
    assert_int_equal(asker.told, 0);
    close_both(&both);
}

static const char *say_refused(struct fake *fake, const struct bytes *words, int count)
{
    enum idem_op_kind op = fake->ops[(fake->scripts - 1) % 256];
    (void)words;
    (void)count;
    return op == IDEM_BEGIN     ? NULL
           : op == IDEM_ABANDON ? FAKE_RESULT("REFUSED", "7", "0", "I")
                                : FAKE_RESULT("OK", "2", "1", "U");
}

/* The lost begin had taken an unknown over: it is unknown again at once, not when the lease of nobody is over. */
static void test_a_takeover_that_nobody_waits_for_is_marked(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_refused);
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, both.fake.scripts == 1);
    store_forget(asker.call);
    UNTIL(both.bench.loop, both.fake.scripts == 2);
    fake_pay(fake_last(&both.fake), FAKE_RESULT("TAKEN_OVER", "10", "0", "I")); /* the begin's */
    UNTIL(both.bench.loop, both.fake.scripts == 3);
    assert_int_equal(both.fake.ops[2], IDEM_MARK);
    close_both(&both);
}

static void test_a_read_a_renew_and_a_resolve_are_asked_again(void **state)
{
    struct both both;
    struct asker reading, renewing, resolving;

    (void)state;
    open_both(&both, say_and_drop);
    drop_said = NULL;
    drops_left = 1;
    ask(&both.bench, &reading, IDEM_READ, 1, 1);
    ask(&both.bench, &renewing, IDEM_RENEW, 2, 1);
    ask(&both.bench, &resolving, IDEM_RESOLVE, 3, 1);
    UNTIL(both.bench.loop, reading.told == 1 && renewing.told == 1 && resolving.told == 1);
    assert_int_equal(resolving.status, STORE_OK);
    assert_int_equal(reading.status, STORE_OK);
    assert_int_equal(renewing.status, STORE_OK);
    close_both(&both);
}

/* It would have to outlive a server that fails over: no record is bound anew there, and none is asked to be. */
static void test_a_rebind_is_not_asked_of_redis(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_ok);
    for (int durable = 0; durable <= 1; durable++) {
        struct idem_op op = op_of(IDEM_REBIND, 1, 1);
        ask_op(&both.bench, &asker, &op, durable == 1, 1000);
        UNTIL(both.bench.loop, asker.told == 1);
        assert_int_equal(asker.status, STORE_UNTRUSTED);
    }
    assert_int_equal(both.fake.scripts, 0);
    ask(&both.bench, &asker, IDEM_REBIND, 1, 1); /* nor where nobody waits for it any more */
    store_forget(asker.call);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->store.calls_count == 0);
    assert_int_equal(asker.told, 0);
    assert_int_equal(bench_metric(&both.bench, "op=\"rebind\",result=\"untrusted\""), 3);
    assert_int_equal(bench_metric(&both.bench, "op=\"rebind\",result=\"ok\""), 0);
    close_both(&both);
}

/* ---- what settles ---- */

static const char *say_already(struct fake *fake, const struct bytes *words, int count)
{
    (void)words;
    (void)count;
    if (fake->scripts == 1) {
        stream_close(fake_last(fake)->stream, false);
        fake_last(fake)->stream = NULL;
        return NULL;
    }
    return "*14\r\n$7\r\nALREADY\r\n:2\r\n$1\r\nD\r\n$4\r\nacme\r\n$2\r\nr1\r\n$0\r\n\r\n:201\r\n$17\r\nthe sealed "
           "answer\r\n:9\r\n"
           ":0\r\n:5\r\n:0\r\n:0\r\n:0\r\n";
}

/* The first was done and its reply lost: the second finds our own answer, and hears what the first had resolved. */
static void test_a_completion_that_finds_its_own_answer_was_the_first(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_already);
    ask(&both.bench, &asker, IDEM_COMPLETE, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_OK);
    assert_int_equal(asker.result.verdict, IDEM_OK);
    assert_int_equal(both.bench.heard_resolved, 1);
    close_both(&both);
}

static const char *say_others(struct fake *fake, const struct bytes *words, int count)
{
    (void)words;
    (void)count;
    if (fake->scripts == 1) {
        stream_close(fake_last(fake)->stream, false);
        fake_last(fake)->stream = NULL;
        return NULL;
    }
    return "*14\r\n$7\r\nALREADY\r\n:0\r\n$1\r\nD\r\n$4\r\nacme\r\n$2\r\nr1\r\n$0\r\n\r\n:201\r\n$7\r\nanother\r\n:"
           "9\r\n"
           ":0\r\n:5\r\n:0\r\n:0\r\n:0\r\n";
}

static void test_a_completion_that_finds_anothers_answer_says_so(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_others);
    ask(&both.bench, &asker, IDEM_COMPLETE, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.result.verdict, IDEM_ALREADY);
    assert_string_equal(asker.answer, "another");
    close_both(&both);
}

static void test_what_settles_goes_on_when_nobody_waits(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, say_and_drop);
    drop_said = NULL;
    drops_left = 3;
    ask(&both.bench, &asker, IDEM_COMPLETE, 1, 1);
    store_forget(asker.call);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->store.unsettled == 0);
    assert_int_equal(both.fake.scripts, 4);
    assert_int_equal(asker.told, 0);
    close_both(&both);
}

/* The owner knew its record for so long; the time in which the store tried counts too. */
static uint64_t age_seen;

static const char *note_age(struct fake *fake, const struct bytes *words, int count)
{
    assert_true(count > 15);
    assert_true(bytes_to_u64(words[15], &age_seen));
    return say_and_drop(fake, words, count);
}

static void test_a_completion_grows_older_while_it_is_tried(void **state)
{
    struct both both;
    struct asker asker;
    struct idem_op op = op_of(IDEM_COMPLETE, 1, 1);

    (void)state;
    open_both(&both, note_age);
    drop_said = NULL;
    drops_left = 5; /* pauses of tens of milliseconds lie between */
    op.age_ms = 1000;
    ask_op(&both.bench, &asker, &op, false, 1000);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_true(age_seen > 1000 && age_seen < 1000 + PATIENCE_US / CLOCK_US_PER_MS);
    close_both(&both);
}

/* ---- away and back ---- */

static void test_pauses_grow_and_end_at_five_seconds(void **state)
{
    struct bench bench;
    struct connection *connection;
    uint64_t base_us = 50 * CLOCK_US_PER_MS;
    int seen = 0;

    (void)state;
    bench_init(&bench);
    bench_server(&bench, free_port(), false);
    bench_start(&bench);
    connection = &redis_of(bench.store)->connection;
    for (int tries = 2; tries <= 5; tries++) { /* the first two: without a pause, and with the shortest */
        UNTIL(bench.loop, connection->tries == tries && connection->state == CONNECTION_RESTING);
        uint64_t pause_us = connection->timer.due_us - loop_now_us(bench.loop);
        assert_true(pause_us <= base_us);
        base_us *= 2;
        seen++;
    }
    assert_int_equal(seen, 4);
    connection->tries = 40;
    UNTIL(bench.loop, connection->tries == 41 && connection->state == CONNECTION_RESTING);
    assert_true(connection->timer.due_us - loop_now_us(bench.loop) <= 5 * CLOCK_US_PER_S);
    assert_true(connection->timer.due_us - loop_now_us(bench.loop) >= 2 * CLOCK_US_PER_S);
    assert_non_null(strstr(bench_trouble(&bench), "refused"));
    bench_close(&bench);
}

static void test_a_payment_does_not_wait_for_a_store_that_is_long_down(void **state)
{
    struct bench bench;
    struct asker asker;

    (void)state;
    bench_init(&bench);
    bench.conf.begin_timeout_ms = 50;
    bench_server(&bench, free_port(), false);
    bench_start(&bench);
    ask(&bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(bench.loop, asker.told == 1); /* after its time */
    assert_int_equal(asker.status, STORE_DOWN);
    ask(&bench, &asker, IDEM_BEGIN, 1, 1);
    assert_true(asker.call->leaving); /* at once */
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    assert_int_equal(bench_metric(&bench, "weir_store_requests_total{op=\"begin\",result=\"down\"}"), 2);
    bench_close(&bench);
}

static void test_a_name_that_does_not_resolve(void **state)
{
    struct bench bench;

    (void)state;
    bench_init(&bench);
    bench_server(&bench, 6379, false);
    bench.servers[0].host = "no-such-name.invalid";
    bench_start(&bench);
    UNTIL(bench.loop, strstr(bench_trouble(&bench), "not connected yet") == NULL);
    assert_non_null(strstr(bench_trouble(&bench), bench.texts[0]));
    bench_close(&bench);
}

/* The calls that still wait are told, and what settles has had its time. */
static void test_closing_with_calls_under_way(void **state)
{
    struct both both;
    struct asker settling, beginning;

    (void)state;
    open_both(&both, say_nothing);
    ask(&both.bench, &settling, IDEM_COMPLETE, 1, 1);
    ask(&both.bench, &beginning, IDEM_BEGIN, 2, 1);
    UNTIL(both.bench.loop, both.fake.scripts == 2);
    store_close(both.bench.store, 300, bench_on_closed, &both.bench);
    assert_null(store_walk(both.bench.store, STORE_WALK_OPEN, NULL, 0, NULL, NULL, NULL));
    UNTIL(both.bench.loop, both.bench.closed == 1);
    assert_int_equal(settling.told, 1);
    assert_int_equal(settling.status, STORE_DOWN);
    assert_int_equal(beginning.told, 1);
    assert_int_equal(beginning.status, STORE_DOWN);
    fake_close(&both.fake);
    bench_close_rest(&both.bench);
}

static void test_closing_waits_for_what_settles(void **state)
{
    struct both both;
    struct asker settling;

    (void)state;
    open_both(&both, say_ok);
    ask(&both.bench, &settling, IDEM_COMPLETE, 1, 1);
    store_close(both.bench.store, 20000, bench_on_closed, &both.bench);
    UNTIL(both.bench.loop, both.bench.closed == 1);
    assert_int_equal(settling.status, STORE_OK);
    fake_close(&both.fake);
    bench_close_rest(&both.bench);
}

/* ---- walks that cannot be whole ---- */

static int walk_ends;
static bool walk_whole;

static bool on_each(void *owner, const struct store_record *record)
{
    (void)owner;
    (void)record;
    return true;
}

static void on_walk_end(void *owner, bool whole)
{
    (void)owner;
    walk_ends++;
    walk_whole = whole;
}

static void test_a_walk_that_loses_its_server_is_not_whole(void **state)
{
    struct both both;

    (void)state;
    walk_ends = 0;
    open_both(&both, say_nothing);
    both.fake.mute = true;
    assert_non_null(store_walk(both.bench.store, STORE_WALK_OPEN, NULL, 0, on_each, on_walk_end, NULL));
    UNTIL(both.bench.loop, redis_of(both.bench.store)->walk.outstanding > 0);
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, walk_ends == 1);
    assert_false(walk_whole);
    UNTIL(both.bench.loop, !bench_is_up(&both.bench));
    assert_non_null(store_walk(both.bench.store, STORE_WALK_ALL, NULL, 0, on_each, on_walk_end, NULL));
    assert_int_equal(walk_ends, 1); /* never inside */
    UNTIL(both.bench.loop, walk_ends == 2);
    assert_false(walk_whole);
    close_both(&both);
}

static void test_a_walk_over_something_else_is_not_whole(void **state)
{
    struct both both;

    (void)state;
    walk_ends = 0;
    open_both(&both, say_nothing); /* the fake says +OK to SCAN and ZRANGE */
    assert_non_null(store_walk(both.bench.store, STORE_WALK_OPEN, NULL, 0, on_each, on_walk_end, NULL));
    UNTIL(both.bench.loop, walk_ends == 1);
    assert_false(walk_whole);
    assert_non_null(store_walk(both.bench.store, STORE_WALK_ALL, NULL, 0, on_each, on_walk_end, NULL));
    UNTIL(both.bench.loop, walk_ends == 2);
    assert_false(walk_whole);
    close_both(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_begin_is_one_round_trip_and_so_is_a_replay),
        cmocka_unit_test(test_all_that_a_turn_asks_leaves_in_one_write),
        cmocka_unit_test(test_replies_belong_by_position),
        cmocka_unit_test(test_the_window_of_calls_on_their_way),
        cmocka_unit_test(test_a_script_that_is_not_there_is_sent_whole),
        cmocka_unit_test(test_a_server_that_never_has_the_script_is_not_asked_for_ever),
        cmocka_unit_test(test_begins_that_the_server_refuses),
        cmocka_unit_test(test_a_begin_that_failed_in_the_middle_is_abandoned),
        cmocka_unit_test(test_what_settles_is_asked_until_the_server_takes_it),
        cmocka_unit_test(test_refusals_that_end_the_connection),
        cmocka_unit_test(test_a_server_that_became_a_replica_is_left_for_another),
        cmocka_unit_test(test_a_begin_without_reply_is_asked_once_more_under_the_same_owner),
        cmocka_unit_test(test_a_begin_that_was_lost_twice_is_abandoned),
        cmocka_unit_test(test_an_abandon_outlives_the_first_of_two_tries),
        cmocka_unit_test(test_broken_replies_end_the_connection),
        cmocka_unit_test(test_an_answer_of_another_kind_is_not_believed),
        cmocka_unit_test(test_a_reply_without_end_ends_the_connection),
        cmocka_unit_test(test_what_nobody_asked_for_ends_the_connection),
        cmocka_unit_test(test_a_silent_connection_is_left_in_time_for_a_second_try),
        cmocka_unit_test(test_a_server_that_says_nothing_at_all),
        cmocka_unit_test(test_a_begin_whose_reply_comes_late),
        cmocka_unit_test(test_a_begin_that_nobody_waits_for_is_abandoned),
        cmocka_unit_test(test_a_takeover_that_nobody_waits_for_is_marked),
        cmocka_unit_test(test_a_rebind_is_not_asked_of_redis),
        cmocka_unit_test(test_a_read_a_renew_and_a_resolve_are_asked_again),
        cmocka_unit_test(test_a_completion_that_finds_its_own_answer_was_the_first),
        cmocka_unit_test(test_a_completion_that_finds_anothers_answer_says_so),
        cmocka_unit_test(test_what_settles_goes_on_when_nobody_waits),
        cmocka_unit_test(test_a_completion_grows_older_while_it_is_tried),
        cmocka_unit_test(test_pauses_grow_and_end_at_five_seconds),
        cmocka_unit_test(test_a_payment_does_not_wait_for_a_store_that_is_long_down),
        cmocka_unit_test(test_a_name_that_does_not_resolve),
        cmocka_unit_test(test_closing_with_calls_under_way),
        cmocka_unit_test(test_closing_waits_for_what_settles),
        cmocka_unit_test(test_a_walk_that_loses_its_server_is_not_whole),
        cmocka_unit_test(test_a_walk_over_something_else_is_not_whole),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
