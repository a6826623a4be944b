/* The embedded store through its face: operations, group commit, room, walks, and what an earlier process left. */
#include "embedded_support.h"

static struct scene scene; /* too large for the stack of a test */

static int setup(void **state)
{
    (void)state;
    scene_init(&scene, 64u << 20);
    scene_open(&scene);
    scene_ready(&scene);
    return 0;
}

static int setup_small(void **state)
{
    (void)state;
    scene_init(&scene, LMDB_SIZE_MIN);
    scene_open(&scene);
    scene_ready(&scene);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scene_end(&scene);
    return 0;
}

/* ---- operations ---- */

static void test_a_key_is_begun_completed_and_replayed(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW); /* idempotent under one owner */
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_BUSY);
    assert_verdict(ask(&scene, IDEM_RENEW, 1, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_OK);

    struct asked replay = ask(&scene, IDEM_BEGIN, 1, 'c');
    assert_verdict(replay, IDEM_REPLAY);
    assert_int_equal(replay.result.status, 201);
    assert_int_equal(replay.answer_len, strlen("sealed answer"));
    assert_memory_equal(replay.answer, "sealed answer", replay.answer_len);
    assert_string_equal(replay.result.processor, "acme");
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_ALREADY);

    struct idem_op other = op_of(IDEM_BEGIN, 1, 'd');
    memset(other.print, 'x', sizeof other.print);
    assert_verdict(ask_op(&scene, &other), IDEM_MISMATCH);
    assert_int_equal(scene.heard_count, 0);
}

static void test_an_abandoned_key_is_free(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_ABANDON, 2, 'b'), IDEM_LOST);
    assert_verdict(ask(&scene, IDEM_ABANDON, 2, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_READ, 2, 'a'), IDEM_NONE);
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'c'), IDEM_NEW);
}

static void test_an_unknown_is_heard_once_and_taken_over(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 3, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_MARK, 3, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_MARK, 3, 'a'), IDEM_OK);
    assert_int_equal(scene.heard_count, 1);
    assert_true(scene.heard[0].told_now);
    assert_int_equal(state_of(&scene).unknown_count, 1);
    assert_true(state_of(&scene).oldest_unknown_us > clock_wall_us() - 60 * CLOCK_US_PER_S);

    struct asked over = ask(&scene, IDEM_BEGIN, 3, 'b');
    assert_verdict(over, IDEM_TAKEN_OVER);
    assert_string_equal(over.upstream_key,
                        "sealed-upstream-key-of-some-seventy-bytes-as-they-are-in-reality-here.");
    assert_int_equal(state_of(&scene).unknown_count, 1); /* told, and not resolved yet */
    assert_verdict(ask(&scene, IDEM_COMPLETE, 3, 'b'), IDEM_OK);
    assert_int_equal(scene.heard_count, 2);
    assert_true(scene.heard[1].resolved_now);
    assert_int_equal(scene.heard[1].how, IDEM_HOW_LATE);
    assert_int_equal(state_of(&scene).unknown_count, 0);
    assert_true(state_of(&scene).oldest_unknown_us == 0);
}

static void test_an_operator_resolves(void **state)
{
    struct idem_op op = op_of(IDEM_RESOLVE, 4, 'o');

    (void)state;
    assert_verdict(ask(&scene, IDEM_RESOLVE, 4, 'o'), IDEM_NONE);
    assert_verdict(ask(&scene, IDEM_BEGIN, 4, 'a'), IDEM_NEW);
    assert_verdict(ask_op(&scene, &op), IDEM_REFUSED);
    assert_verdict(ask(&scene, IDEM_MARK, 4, 'a'), IDEM_OK);
    op.executed = true;
    assert_verdict(ask_op(&scene, &op), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_BEGIN, 4, 'b'), IDEM_RECEIPT);
    assert_int_equal(scene.heard_count, 2);
}

/* An answer of any length comes back as it was: in a page, in parts, and on the edges of parts. */
static void test_answers_of_every_length_come_back(void **state)
{
    static const size_t lengths[] = {1, 1999, 2000, 2001, 4000, 4001, 8160, 100000, 1 << 20};
    static char bytes[1 << 20];
    uint64_t seed = 977;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)random_next(&seed);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        struct idem_op op = op_of(IDEM_COMPLETE, 100 + i, 'a');
        op.answer = bytes_of(bytes + i, 0);
        op.answer.len = lengths[i] == sizeof bytes ? lengths[i] - i : lengths[i];
        assert_verdict(ask(&scene, IDEM_BEGIN, 100 + i, 'a'), IDEM_NEW);
        assert_verdict(ask_op(&scene, &op), IDEM_OK);
        struct asked replay = ask(&scene, IDEM_BEGIN, 100 + i, 'b');
        assert_verdict(replay, IDEM_REPLAY);
        assert_int_equal(replay.answer_len, op.answer.len);
        assert_memory_equal(replay.answer, op.answer.at, op.answer.len < 4096 ? op.answer.len : 4096);
    }
}

static void test_all_stands_after_a_close_and_an_open(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 5, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_COMPLETE, 5, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_BEGIN, 6, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_MARK, 6, 'a'), IDEM_OK);
    uint64_t bytes = lmdb_bucket_bytes(&scene_embedded(&scene)->lmdb, 5);
    assert_true(bytes > 200);
    scene_close(&scene);
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 5, 'b'), IDEM_REPLAY);
    assert_verdict(ask(&scene, IDEM_BEGIN, 6, 'b'), IDEM_TAKEN_OVER);
    assert_int_equal(scene.heard_count, 1); /* the mark's, once */
    assert_int_equal(state_of(&scene).unknown_count, 1);
    assert_true(lmdb_bucket_bytes(&scene_embedded(&scene)->lmdb, 5) == bytes);
}

/* ---- what an earlier process left ---- */

static void test_what_was_in_flight_is_unknown_at_the_next_open(void **state)
{
    static struct asked asked[600];

    (void)state;
    for (uint32_t i = 0; i < 600; i++) {
        struct idem_op op = op_of(IDEM_BEGIN, i, 'a');
        (void)ask_start(&scene, &op, &asked[i]);
    }
    UNTIL(scene.loop, asked[599].done);
    scene_close(&scene);
    scene_open(&scene);
    /* Asked before the file was looked through: it waits for that. */
    struct asked begin = ask(&scene, IDEM_BEGIN, 599, 'b');
    assert_verdict(begin, IDEM_TAKEN_OVER);
    assert_int_equal(scene.heard_count, 600);
    for (int i = 0; i < 600; i++) {
        assert_true(scene.heard[i].told_now);
        assert_int_equal(scene.heard[i].kind, IDEM_LAPSE);
        assert_string_equal(scene.heard[i].processor, "acme");
        assert_int_equal(strlen(scene.heard[i].request_id), 32);
    }
    assert_int_equal(state_of(&scene).unknown_count, 600);
    scene_close(&scene);
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_READ, 0, 'a'), IDEM_OK);
    assert_int_equal(scene.heard_count, 600); /* told already, the one that was taken over too */
}

/* ---- group commit ---- */

static void test_those_that_wait_share_a_sync(void **state)
{
    static struct asked asked[64];
    static int count;
    struct blocker blocker;

    (void)state;
    count = 0;
    scene_init(&scene, 16u << 20);
    blocker_start(&blocker, scene.path);
    scene_open(&scene);
    scene_ready(&scene);
    uint64_t before = commits(&scene);
    blocker_hold(&blocker);
    for (uint32_t i = 0; i < 64; i++) {
        struct idem_op op = op_of(IDEM_BEGIN, i, 'a');
        (void)ask_start(&scene, &op, &asked[i]);
        asked[i].count = &count;
    }
    blocker_release(&blocker);
    UNTIL(scene.loop, count == 64);
    for (int i = 0; i < 64; i++) {
        assert_verdict(asked[i], IDEM_NEW);
    }
    /* Whatever the thread had taken when the lock was held, and all the rest; the second's tick writes nothing. */
    assert_in_range(commits(&scene) - before, 1, 2);
    blocker_end(&blocker);
    scene_end(&scene);
}

static void test_what_changes_nothing_is_not_synced(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 7, 'a'), IDEM_NEW);
    uint64_t before = commits(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 7, 'b'), IDEM_BUSY);
    assert_verdict(ask(&scene, IDEM_READ, 7, 'b'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_ABANDON, 7, 'b'), IDEM_LOST);
    assert_int_equal(commits(&scene), before);
    assert_verdict(ask(&scene, IDEM_RENEW, 7, 'a'), IDEM_OK);
    assert_int_equal(commits(&scene), before + 1);
}

/* ---- when the thread stands still ---- */

static struct blocker still;

static int setup_blocked(void **state)
{
    (void)state;
    scene_init(&scene, 64u << 20);
    blocker_start(&still, scene.path);
    scene_open(&scene);
    scene_ready(&scene);
    return 0;
}

static int teardown_blocked(void **state)
{
    (void)state;
    scene_end(&scene);
    blocker_end(&still);
    return 0;
}

static void test_a_begin_without_reply_in_time_is_down_and_leaves_nothing(void **state)
{
    struct idem_op op = op_of(IDEM_BEGIN, 8, 'a');
    struct asked asked = {0};

    (void)state;
    blocker_hold(&still);
    assert_non_null(store_ask(scene.store, &op, true, 20, on_asked, &asked));
    UNTIL(scene.loop, asked.done);
    assert_status(asked, STORE_DOWN);
    assert_false(state_of(&scene).up);
    blocker_release(&still);
    UNTIL(scene.loop, state_of(&scene).calls == 0);
    assert_true(state_of(&scene).up);
    assert_verdict(ask(&scene, IDEM_BEGIN, 8, 'b'), IDEM_NEW);
    assert_int_equal(scene.heard_count, 0);
}

static void test_a_begin_that_is_forgotten_is_abandoned(void **state)
{
    struct idem_op op = op_of(IDEM_BEGIN, 9, 'a');
    struct asked asked;

    (void)state;
    blocker_hold(&still);
    store_forget(ask_start(&scene, &op, &asked));
    blocker_release(&still);
    UNTIL(scene.loop, state_of(&scene).calls == 0);
    assert_false(asked.done);
    assert_verdict(ask(&scene, IDEM_READ, 9, 'b'), IDEM_NONE);
}

static void test_a_forgotten_completion_goes_on(void **state)
{
    struct idem_op op = op_of(IDEM_COMPLETE, 10, 'a');
    struct asked asked;

    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 10, 'a'), IDEM_NEW);
    blocker_hold(&still);
    store_forget(ask_start(&scene, &op, &asked));
    assert_int_equal(state_of(&scene).unsettled, 1);
    blocker_release(&still);
    UNTIL(scene.loop, state_of(&scene).unsettled == 0);
    assert_verdict(ask(&scene, IDEM_BEGIN, 10, 'b'), IDEM_REPLAY);
}

/* All that may wait does, and what settles has a part of the queue for itself. */
static void test_the_queue_has_an_end(void **state)
{
    uint32_t begun = 0, completed = 0;
    struct idem_op op;

    (void)state;
    blocker_hold(&still);
    do {
        op = op_of(IDEM_BEGIN, begun, 'a');
    } while (store_ask(scene.store, &op, true, ASK_MS, NULL, NULL) != NULL && ++begun < 2 * STORE_CALLS_MAX);
    assert_int_equal(begun, STORE_CALLS_MAX * (100 - STORE_RESERVED_PCT) / 100);
    do {
        op = op_of(IDEM_COMPLETE, completed, 'a');
    } while (store_ask(scene.store, &op, true, 0, NULL, NULL) != NULL && ++completed < 2 * STORE_CALLS_MAX);
    assert_int_equal(begun + completed, STORE_CALLS_MAX);
    assert_int_equal(counter(&scene, "weir_store_refused_total"), 2);
    blocker_release(&still);
    UNTIL(scene.loop, state_of(&scene).calls == 0);
    assert_verdict(ask(&scene, IDEM_BEGIN, completed - 1, 'b'), IDEM_REPLAY);
    assert_verdict(ask(&scene, IDEM_BEGIN, begun - 1, 'b'), IDEM_BUSY);
}

static void test_close_waits_for_what_is_queued(void **state)
{
    static struct asked asked[200];
    static int count;

    (void)state;
    count = 0;
    blocker_hold(&still);
    for (uint32_t i = 0; i < 200; i++) {
        struct idem_op op = op_of(i % 2 == 0 ? IDEM_BEGIN : IDEM_COMPLETE, i / 2, 'a');
        (void)ask_start(&scene, &op, &asked[i]);
        asked[i].count = &count;
    }
    store_close(scene.store, 0, on_closed, &scene); /* waits for nothing but what the thread has */
    turn(scene.loop);
    blocker_release(&still);
    UNTIL(scene.loop, scene.store == NULL);
    assert_int_equal(count, 200);
    for (int i = 0; i < 200; i++) {
        assert_status(asked[i], STORE_OK);
    }
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 99, 'b'), IDEM_REPLAY);
}

/* ---- time ---- */

static void test_a_silent_owner_becomes_unknown_and_an_unknown_ends(void **state)
{
    struct idem_op op = op_of(IDEM_BEGIN, 11, 'a');

    (void)state;
    op.lease_ms = 30;
    op.keep_unknown_ms = 1500;
    assert_verdict(ask_op(&scene, &op), IDEM_NEW);
    UNTIL(scene.loop, scene.heard_count == 1);
    assert_true(scene.heard[0].told_now);
    assert_int_equal(scene.heard[0].kind, IDEM_LAPSE);
    assert_int_equal(state_of(&scene).unknown_count, 1);
    UNTIL(scene.loop, scene.heard_count == 2);
    assert_true(scene.heard[1].resolved_now);
    assert_int_equal(scene.heard[1].verdict, IDEM_EXPIRED);
    assert_int_equal(scene.heard[1].how, IDEM_HOW_EXPIRED);
    assert_int_equal(state_of(&scene).unknown_count, 0);
    assert_verdict(ask(&scene, IDEM_READ, 11, 'a'), IDEM_NONE);
}

/* Before the sweep came to it, the key of an expired unknown is begun: its end is heard first. */
static void test_a_key_whose_unknown_has_just_expired_is_new(void **state)
{
    struct idem_op op = op_of(IDEM_BEGIN, 12, 'a');
    struct asked asked;

    (void)state;
    timer_stop(&scene_embedded(&scene)->tick_timer); /* no sweep */
    op.lease_ms = 1;
    op.keep_unknown_ms = 2;
    assert_verdict(ask_op(&scene, &op), IDEM_NEW);
    uint64_t until_us = clock_now_us() + 5000;
    UNTIL(scene.loop, clock_now_us() > until_us);
    asked = ask(&scene, IDEM_BEGIN, 12, 'b');
    assert_verdict(asked, IDEM_NEW);
    assert_int_equal(asked.result.takeovers, 0);
    assert_int_equal(scene.heard_count, 2);
    assert_true(scene.heard[0].told_now);
    assert_int_equal(scene.heard[0].kind, IDEM_LAPSE);
    assert_true(scene.heard[1].resolved_now);
    assert_int_equal(state_of(&scene).unknown_count, 0);
}

static uint64_t entries(enum lmdb_table table)
{
    struct lmdb *lmdb = &scene_embedded(&scene)->lmdb;

    /* Between the thread's transactions: nothing is under way. */
    assert_int_equal(lmdb_begin(lmdb, false), 0);
    uint64_t count = lmdb_count(lmdb, table);
    lmdb_abort(lmdb);
    return count;
}

static void test_answers_end_before_receipts_and_all_is_deleted(void **state)
{
    static const char answer[10000];
    uint64_t used = state_of(&scene).bytes_used;
    struct idem_op begin = op_of(IDEM_BEGIN, 0, 'a'), complete = op_of(IDEM_COMPLETE, 0, 'a');

    (void)state;
    complete.keep_ms = 1;
    complete.keep_receipt_ms = 3000;
    complete.answer = bytes_of(answer, sizeof answer);
    assert_int_equal(ask_each(&scene, &begin, 0, 300, 1).verdicts[IDEM_NEW], 300);
    assert_int_equal(ask_each(&scene, &complete, 0, 300, 1).verdicts[IDEM_OK], 300);
    assert_true(state_of(&scene).bytes_used > used + (2u << 20));
    UNTIL(scene.loop, atomic_load(&scene_embedded(&scene)->bytes_used) < used + (1u << 20));
    struct asked receipt = ask(&scene, IDEM_BEGIN, 299, 'b');
    assert_verdict(receipt, IDEM_RECEIPT);
    assert_int_equal(receipt.result.status, 201);
    /* An answer goes with its record, should that end first. */
    complete.keep_ms = HOUR_MS;
    complete.keep_receipt_ms = 1;
    assert_int_equal(ask_each(&scene, &begin, 1000, 100, 1).verdicts[IDEM_NEW], 100);
    assert_int_equal(ask_each(&scene, &complete, 1000, 100, 1).verdicts[IDEM_OK], 100);
    /* Until all receipts are gone, and with them every trace. */
    UNTIL(scene.loop, scene_embedded(&scene)->tick.asked == false && entries(LMDB_RECORDS) == 0);
    assert_int_equal(entries(LMDB_ANSWERS), 0);
    assert_int_equal(entries(LMDB_EXPIRY), 0);
    assert_int_equal(entries(LMDB_OPEN), 0);
    for (uint16_t bucket = 0; bucket < IDEM_BUCKETS; bucket++) {
        assert_int_equal(lmdb_bucket_bytes(&scene_embedded(&scene)->lmdb, bucket), 0);
    }
    assert_int_equal(scene.heard_count, 0);
}

/* ---- room ---- */

/* Begins keys from `first` on until one is refused; the number that was begun. Their records are as large as can be. */
static uint32_t begin_until_full(uint32_t first, uint32_t step)
{
    static const char upstream_key[LMDB_UPSTREAM_KEY_BYTES_MAX];
    struct idem_op like = op_of(IDEM_BEGIN, 0, 'a');
    uint32_t begun = 0;

    like.upstream_key = bytes_of(upstream_key, sizeof upstream_key);
    for (;;) {
        struct ends ends = ask_each(&scene, &like, first + begun * step, ASK_WINDOW, step);
        assert_int_equal(ends.statuses[STORE_OK] + ends.statuses[STORE_FULL], ASK_WINDOW);
        assert_int_equal(ends.statuses[STORE_OK], ends.verdicts[IDEM_NEW]);
        begun += ends.statuses[STORE_OK];
        if (ends.statuses[STORE_FULL] > 0) {
            return begun;
        }
        assert_in_range(begun, 1, 100000);
    }
}

static void assert_all(enum idem_op_kind kind, uint32_t count, enum idem_verdict verdict)
{
    struct idem_op like = op_of(kind, 0, 'a');
    struct ends ends = ask_each(&scene, &like, 0, count, 1);

    assert_int_equal(ends.verdicts[verdict], count);
}

static void test_a_full_store_begins_nothing_and_settles_all(void **state)
{
    uint32_t begun = begin_until_full(0, 1);

    (void)state;
    assert_in_range(begun, 4000, 12000);
    assert_in_range(state_of(&scene).bytes_used * 100 / LMDB_SIZE_MIN, 88, 90);
    assert_null(store_trouble(scene.store, true));
    assert_verdict(ask(&scene, IDEM_BEGIN, 0, 'b'), IDEM_BUSY); /* what is there is still told */
    assert_all(IDEM_MARK, 4000, IDEM_OK);
    assert_all(IDEM_COMPLETE, begun, IDEM_OK);
    assert_verdict(ask(&scene, IDEM_BEGIN, begun - 1, 'b'), IDEM_REPLAY);
    assert_status(ask(&scene, IDEM_BEGIN, begun + 1000, 'b'), STORE_FULL);
    assert_int_equal(scene.heard_count, 8000);
}

static void test_what_is_abandoned_makes_room(void **state)
{
    uint32_t begun = begin_until_full(0, 1);

    (void)state;
    assert_string_equal(state_of(&scene).trouble == NULL ? "the store is full: no new payment can be begun"
                                                         : state_of(&scene).trouble,
                        "the store is full: no new payment can be begun");
    assert_all(IDEM_ABANDON, begun, IDEM_OK);
    assert_null(state_of(&scene).trouble);
    assert_in_range(begin_until_full(100000, 1), begun * 9 / 10, begun * 11 / 10);
}

/* Answers that find no room are left out; every outcome is stored, and nothing waits for ever. */
static void test_answers_without_room_are_left_out_and_outcomes_stay(void **state)
{
    static const char answer[20000];
    struct idem_op like = op_of(IDEM_COMPLETE, 0, 'a');

    (void)state;
    like.answer = bytes_of(answer, sizeof answer);
    assert_all(IDEM_BEGIN, 2000, IDEM_NEW);
    struct ends ends = ask_each(&scene, &like, 0, 2000, 1);
    assert_int_equal(ends.verdicts[IDEM_OK], 2000);
    assert_in_range(counter(&scene, "weir_store_answers_left_out_total"), 1200, 1600);

    like = op_of(IDEM_BEGIN, 0, 'b');
    ends = ask_each(&scene, &like, 0, 2000, 1);
    assert_int_equal(ends.verdicts[IDEM_REPLAY] + ends.verdicts[IDEM_RECEIPT], 2000);
    assert_int_equal(ends.verdicts[IDEM_RECEIPT], counter(&scene, "weir_store_answers_left_out_total"));
    assert_int_equal(ask(&scene, IDEM_BEGIN, 1999, 'b').result.status, 201);
    assert_status(ask(&scene, IDEM_BEGIN, 5000, 'a'), STORE_FULL);
    assert_string_equal(state_of(&scene).trouble, "the store is full: no new payment can be begun");
}

static void test_no_bucket_gets_more_than_a_quarter(void **state)
{
    uint32_t begun = begin_until_full(77, IDEM_BUCKETS);
    struct lmdb *lmdb = &scene_embedded(&scene)->lmdb;

    (void)state;
    assert_in_range(lmdb_bucket_bytes(lmdb, 77) * 100 / LMDB_SIZE_MIN, 17, 19);
    assert_in_range(state_of(&scene).bytes_used * 100 / LMDB_SIZE_MIN, 18, 32);
    assert_null(state_of(&scene).trouble);
    assert_verdict(ask(&scene, IDEM_BEGIN, 78, 'a'), IDEM_NEW); /* another tenant */
    assert_verdict(ask(&scene, IDEM_RENEW, 77, 'a'), IDEM_OK);
    scene_close(&scene);
    scene_open(&scene);
    assert_status(ask(&scene, IDEM_BEGIN, begun * IDEM_BUCKETS + 77, 'a'), STORE_FULL); /* it remembers */
    assert_verdict(ask(&scene, IDEM_COMPLETE, 77, 'a'), IDEM_OK);
}

/* A batch that is larger than the file: each operation has its own fate, and what was acknowledged is there. */
static void test_a_batch_that_does_not_fit_fails_in_parts(void **state)
{
    static struct asked asked[2000];
    static const char answer[30000];
    struct idem_op op, like = op_of(IDEM_BEGIN, 0, 'a');
    static int count;
    struct blocker blocker;

    (void)state;
    count = 0;
    scene_init(&scene, LMDB_SIZE_MIN);
    blocker_start(&blocker, scene.path);
    scene_open(&scene);
    scene_ready(&scene);
    assert_int_equal(ask_each(&scene, &like, 0, 2000, 1).verdicts[IDEM_NEW], 2000);
    blocker_hold(&blocker);
    for (uint32_t i = 0; i < 2000; i++) {
        op = op_of(IDEM_COMPLETE, i, 'a');
        op.answer = bytes_of(answer, sizeof answer);
        (void)ask_start(&scene, &op, &asked[i]);
        asked[i].count = &count;
    }
    blocker_release(&blocker);
    UNTIL(scene.loop, count == 2000);
    for (int i = 0; i < 2000; i++) {
        assert_verdict(asked[i], IDEM_OK);
    }
    like = op_of(IDEM_BEGIN, 0, 'b');
    struct ends ends = ask_each(&scene, &like, 0, 2000, 1);
    assert_int_equal(ends.verdicts[IDEM_REPLAY] + ends.verdicts[IDEM_RECEIPT], 2000);
    assert_in_range(ends.verdicts[IDEM_REPLAY], 300, 560);
    assert_int_equal(ends.verdicts[IDEM_RECEIPT], counter(&scene, "weir_store_answers_left_out_total"));
    scene_end(&scene);
    blocker_end(&blocker);
}

/* Pages of the file that were never used. */
static int64_t fresh_pages(void)
{
    struct lmdb *lmdb = &scene_embedded(&scene)->lmdb;
    MDB_envinfo info;

    assert_int_equal(mdb_env_info(lmdb->env, &info), 0);
    return (int64_t)(lmdb->size_bytes / lmdb->page_bytes) - (int64_t)info.me_last_pgno - 1;
}

/*
 * Somebody looks at the file for long (mdb_copy), so that no page is used again: the map is full although little of it is
 * in use. What has no room for its answer is stored without; when they are gone, all goes on.
 */
static void test_a_long_look_at_the_file_costs_room_and_no_outcome(void **state)
{
    static const char answer[64 * 4000];
    struct idem_op renew = op_of(IDEM_RENEW, 0, 'a'), begin = op_of(IDEM_BEGIN, 0, 'a');
    struct idem_op complete = op_of(IDEM_COMPLETE, 7, 'a');
    struct blocker blocker;

    (void)state;
    scene_init(&scene, LMDB_SIZE_MIN);
    blocker_start(&blocker, scene.path);
    scene_open(&scene);
    scene_ready(&scene);
    assert_int_equal(ask_each(&scene, &begin, 0, 2000, 1).verdicts[IDEM_NEW], 2000);
    blocker_look(&blocker);
    while (fresh_pages() > 700) {
        assert_int_equal(ask_each(&scene, &renew, 0, 256, 1).verdicts[IDEM_OK], 256);
    }
    while (fresh_pages() > 55) {
        assert_verdict(ask(&scene, IDEM_RENEW, 7, 'a'), IDEM_OK);
    }
    assert_true(state_of(&scene).bytes_used < LMDB_SIZE_MIN / 2);
    complete.answer = bytes_of(answer, sizeof answer);
    assert_verdict(ask_op(&scene, &complete), IDEM_OK);
    assert_int_equal(counter(&scene, "weir_store_answers_left_out_total"), 1);
    for (uint32_t n = 5000; ask(&scene, IDEM_BEGIN, n, 'a').status == STORE_OK; n++) {
        assert_in_range(n, 5000, 5100);
    }
    assert_string_equal(state_of(&scene).trouble, "the store is full");
    assert_null(store_trouble(scene.store, true));
    assert_true(state_of(&scene).up);
    assert_verdict(ask(&scene, IDEM_BEGIN, 7, 'b'), IDEM_RECEIPT); /* what is there is still told */
    blocker_release(&blocker);
    UNTIL(scene.loop, state_of(&scene).trouble == NULL && state_of(&scene).unsettled == 0);
    assert_verdict(ask(&scene, IDEM_BEGIN, 6000, 'a'), IDEM_NEW);
    scene_end(&scene);
    blocker_end(&blocker);
}

static void test_another_size_is_taken_over(void **state)
{
    uint32_t begun = begin_until_full(0, 1);

    (void)state;
    scene.conf.size_bytes = 2 * LMDB_SIZE_MIN;
    assert_true(store_is(scene.store, &scene.conf));
    store_renew(scene.store, &scene.conf);
    assert_verdict(ask(&scene, IDEM_BEGIN, begun + 1000, 'a'), IDEM_NEW);
    assert_int_equal(state_of(&scene).bytes_max, 2 * LMDB_SIZE_MIN);
    assert_null(state_of(&scene).trouble);
    scene.conf.path = "elsewhere";
    assert_false(store_is(scene.store, &scene.conf));
    scene.conf.path = scene.path;
}

/* ---- walks ---- */

struct walked {
    uint32_t count, unknown, done, in_flight;
    uint32_t stop_at; /* 0: never */
    bool over, whole;
    struct store_walk *walk, *stop;
    uint8_t seen[4096];
};

static bool on_each(void *owner, const struct store_record *record)
{
    struct walked *walked = owner;
    uint32_t n = (uint32_t)record->name.hash[0] << 24 | (uint32_t)record->name.hash[1] << 16 |
                 (uint32_t)record->name.hash[2] << 8 | record->name.hash[3];

    assert_string_equal(record->processor, "acme");
    assert_int_equal(strlen(record->request_id), 32);
    assert_in_range(n, 0, sizeof walked->seen - 1);
    walked->seen[n]++;
    walked->count++;
    walked->unknown += record->state == IDEM_UNKNOWN;
    walked->done += record->state == IDEM_DONE;
    walked->in_flight += record->state == IDEM_IN_FLIGHT;
    assert_true(record->begun_us > 0 && record->expires_us > record->begun_us);
    assert_int_equal(record->unknown_us != 0, record->state == IDEM_UNKNOWN);
    assert_int_equal(record->done_us != 0, record->state == IDEM_DONE);
    assert_int_equal(record->answer_kept, record->state == IDEM_DONE);
    if (walked->stop != NULL && walked->count == walked->stop_at) {
        store_walk_stop(walked->stop);
        return true;
    }
    return walked->stop_at == 0 || walked->count < walked->stop_at;
}

static void on_walk_end(void *owner, bool whole)
{
    struct walked *walked = owner;

    assert_false(walked->over);
    walked->over = true;
    walked->whole = whole;
}

static struct walked walked;

static void walk(enum store_walk_scope scope, const struct idem_name *prefix, size_t hash_len)
{
    uint32_t stop_at = walked.stop_at;

    memset(&walked, 0, sizeof walked);
    walked.stop_at = stop_at;
    walked.walk = store_walk(scene.store, scope, prefix, hash_len, on_each, on_walk_end, &walked);
    assert_non_null(walked.walk);
    assert_null(store_walk(scene.store, scope, NULL, 0, on_each, on_walk_end, &walked)); /* one at a time */
    UNTIL(scene.loop, walked.over);
}

/* 1000 records: a third each is in flight, unknown, done. */
static void fill(void)
{
    static struct asked asked[2000];
    static int count, asks;

    count = asks = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        struct idem_op op = op_of(IDEM_BEGIN, i, 'a');
        (void)ask_start(&scene, &op, &asked[asks]);
        asked[asks++].count = &count;
        if (i % 3 > 0) {
            op = op_of(i % 3 == 1 ? IDEM_MARK : IDEM_COMPLETE, i, 'a');
            (void)ask_start(&scene, &op, &asked[asks]);
            asked[asks++].count = &count;
        }
    }
    UNTIL(scene.loop, count == asks);
}

static void test_a_walk_tells_each_record_once(void **state)
{
    (void)state;
    fill();
    walked.stop_at = 0;
    walk(STORE_WALK_ALL, NULL, 0);
    assert_true(walked.whole);
    assert_int_equal(walked.count, 1000);
    assert_int_equal(walked.in_flight, 334);
    assert_int_equal(walked.unknown, 333);
    assert_int_equal(walked.done, 333);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(walked.seen[i], 1);
    }
    walk(STORE_WALK_OPEN, NULL, 0);
    assert_true(walked.whole);
    assert_int_equal(walked.count, 667);
    assert_int_equal(walked.done, 0);
}

static void test_a_walk_knows_prefixes(void **state)
{
    struct idem_name name = name_of(500);

    (void)state;
    fill();
    walked.stop_at = 0;
    walk(STORE_WALK_ALL, &name, 6);
    assert_int_equal(walked.count, 1);
    assert_int_equal(walked.seen[500], 1);
    assert_int_equal(walked.done, 1);
    walk(STORE_WALK_ALL, &name, 3); /* the first three bytes of all are alike, the bucket is its own */
    assert_int_equal(walked.count, 1);
    walk(STORE_WALK_OPEN, &name, 6);
    assert_int_equal(walked.count, 0);
    name = name_of(499);
    walk(STORE_WALK_OPEN, &name, 20);
    assert_int_equal(walked.count, 1);
    name.hash[5]++;
    walk(STORE_WALK_ALL, &name, 6);
    assert_true(walked.whole);
    assert_int_equal(walked.count, 0);
}

static void test_a_walk_ends_when_it_is_told_to(void **state)
{
    (void)state;
    fill();
    walked.stop_at = 300;
    walk(STORE_WALK_ALL, NULL, 0);
    assert_int_equal(walked.count, 300);
    assert_true(walked.whole);

    /* Stopped by who is told: no end is called, and another walk may begin at once. */
    memset(&walked, 0, sizeof walked);
    walked.stop_at = 10;
    walked.stop = store_walk(scene.store, STORE_WALK_ALL, NULL, 0, on_each, on_walk_end, &walked);
    UNTIL(scene.loop, walked.count == 10);
    walked.stop_at = 0;
    walk(STORE_WALK_ALL, NULL, 0);
    assert_int_equal(walked.count, 1000);

    /* Stopped while the thread is at it, and begun anew: what comes is the new one's. */
    memset(&walked, 0, sizeof walked);
    store_walk_stop(store_walk(scene.store, STORE_WALK_ALL, NULL, 0, on_each, on_walk_end, &walked));
    walk(STORE_WALK_OPEN, NULL, 0);
    assert_int_equal(walked.count, 667);
    assert_int_equal(walked.done, 0);
}

static void test_payments_go_on_beside_a_walk(void **state)
{
    (void)state;
    fill();
    memset(&walked, 0, sizeof walked);
    assert_non_null(store_walk(scene.store, STORE_WALK_ALL, NULL, 0, on_each, on_walk_end, &walked));
    for (uint32_t i = 2000; !walked.over; i++) {
        assert_verdict(ask(&scene, IDEM_BEGIN, i, 'a'), IDEM_NEW);
        assert_in_range(i, 2000, 4000);
    }
    assert_true(walked.whole);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(walked.seen[i], 1);
    }
}

static void test_a_close_ends_a_walk(void **state)
{
    (void)state;
    fill();
    memset(&walked, 0, sizeof walked);
    blocker_hold(&still);
    for (uint32_t i = 0; i < 2; i++) { /* the thread stands at the first, the slice is behind the other */
        struct idem_op op = op_of(IDEM_BEGIN, 3000 + i, 'a');
        assert_non_null(store_ask(scene.store, &op, true, ASK_MS, NULL, NULL));
    }
    assert_non_null(store_walk(scene.store, STORE_WALK_ALL, NULL, 0, on_each, on_walk_end, &walked));
    store_close(scene.store, 0, on_closed, &scene);
    UNTIL(scene.loop, walked.over);
    assert_false(walked.whole);
    blocker_release(&still);
    UNTIL(scene.loop, scene.store == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_key_is_begun_completed_and_replayed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_abandoned_key_is_free, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_unknown_is_heard_once_and_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_operator_resolves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_of_every_length_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_stands_after_a_close_and_an_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_in_flight_is_unknown_at_the_next_open, setup, teardown),
        cmocka_unit_test(test_those_that_wait_share_a_sync),
        cmocka_unit_test_setup_teardown(test_what_changes_nothing_is_not_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_begin_without_reply_in_time_is_down_and_leaves_nothing, setup_blocked,
                                        teardown_blocked),
        cmocka_unit_test_setup_teardown(test_a_begin_that_is_forgotten_is_abandoned, setup_blocked, teardown_blocked),
        cmocka_unit_test_setup_teardown(test_a_forgotten_completion_goes_on, setup_blocked, teardown_blocked),
        cmocka_unit_test_setup_teardown(test_the_queue_has_an_end, setup_blocked, teardown_blocked),
        cmocka_unit_test_setup_teardown(test_close_waits_for_what_is_queued, setup_blocked, teardown_blocked),
        cmocka_unit_test_setup_teardown(test_a_silent_owner_becomes_unknown_and_an_unknown_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_whose_unknown_has_just_expired_is_new, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_end_before_receipts_and_all_is_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_store_begins_nothing_and_settles_all, setup_small, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_abandoned_makes_room, setup_small, teardown),
        cmocka_unit_test_setup_teardown(test_answers_without_room_are_left_out_and_outcomes_stay, setup_small, teardown),
        cmocka_unit_test_setup_teardown(test_no_bucket_gets_more_than_a_quarter, setup_small, teardown),
        cmocka_unit_test(test_a_batch_that_does_not_fit_fails_in_parts),
        cmocka_unit_test(test_a_long_look_at_the_file_costs_room_and_no_outcome),
        cmocka_unit_test_setup_teardown(test_another_size_is_taken_over, setup_small, teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_tells_each_record_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_knows_prefixes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_ends_when_it_is_told_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_payments_go_on_beside_a_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_close_ends_a_walk, setup_blocked, teardown_blocked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
