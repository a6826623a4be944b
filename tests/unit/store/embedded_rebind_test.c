/*
 * A record of the embedded store that is bound to another processor: what it is
 * from then on, that it is told when the disk has it and not before, that it
 * finds room where nothing is begun any more, and that kill -9 takes back none
 * that was acknowledged: bytes are on their way to that processor by then.
 */
#include "embedded_faults.h"

static const char other_key[] = "sealed-upstream-key-of-the-other-processor-which-is-longer-than-the-first-one-by-some-bytes.";

static struct scene scene;

static int setup(void **state)
{
    (void)state;
    set_fault(FAULT_NONE, 0);
    scene_init(&scene, LMDB_SIZE_MIN);
    scene_open(&scene);
    scene_ready(&scene);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    set_fault(FAULT_NONE, 0);
    scene_end(&scene);
    return 0;
}

static struct idem_op rebind_of(uint32_t n, char owner)
{
    struct idem_op op = op_of(IDEM_REBIND, n, owner);

    op.processor = BYTES("other");
    op.upstream_key = bytes_from_text(other_key);
    memset(op.bind, 'c', sizeof op.bind);
    return op;
}

static struct asked rebind(uint32_t n, char owner)
{
    struct idem_op op = rebind_of(n, owner);
    return ask_op(&scene, &op);
}

/* Whoever comes with the key after the next open takes it over, where it is bound to. */
static void assert_bound_at_the_next_open(uint32_t n, const char *processor)
{
    scene_close(&scene);
    scene_open(&scene);
    struct asked over = ask(&scene, IDEM_BEGIN, n, 'z');
    assert_verdict(over, IDEM_TAKEN_OVER);
    assert_string_equal(over.result.processor, processor);
    assert_int_equal(strcmp(over.upstream_key, other_key) == 0, strcmp(processor, "other") == 0);
}

/* ---- what it is ---- */

static void test_a_takeover_goes_where_the_record_was_bound_to(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    struct asked bound = rebind(1, 'a');
    assert_verdict(bound, IDEM_OK);
    assert_string_equal(bound.result.processor, "other");
    assert_string_equal(ask(&scene, IDEM_READ, 1, 'a').result.processor, "other");
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_CONFLICT); /* an answer of the one that it left */
    assert_bound_at_the_next_open(1, "other");
}

static void test_a_rebind_is_its_owners_and_of_what_nobody_may_have_executed(void **state)
{
    (void)state;
    assert_verdict(rebind(2, 'a'), IDEM_NONE);
    assert_verdict(ask(&scene, IDEM_READ, 2, 'a'), IDEM_NONE);
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'a'), IDEM_NEW);
    assert_verdict(rebind(2, 'b'), IDEM_LOST);
    assert_verdict(ask(&scene, IDEM_MARK, 2, 'a'), IDEM_OK);
    assert_verdict(rebind(2, 'a'), IDEM_LOST);
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'b'), IDEM_TAKEN_OVER);
    assert_verdict(rebind(2, 'b'), IDEM_REFUSED);
    assert_string_equal(ask(&scene, IDEM_READ, 2, 'b').result.processor, "acme");
    assert_verdict(ask(&scene, IDEM_COMPLETE, 2, 'b'), IDEM_OK);
    assert_verdict(rebind(2, 'b'), IDEM_LOST);
}

/* It is longer, and leaves nothing of what it was. */
static void test_a_record_that_was_rebound_is_counted_as_it_is(void **state)
{
    const struct lmdb *lmdb = &scene_embedded(&scene)->lmdb;

    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 3, 'a'), IDEM_NEW);
    uint64_t before = lmdb_bucket_bytes(lmdb, 3);
    assert_verdict(rebind(3, 'a'), IDEM_OK);
    assert_true(lmdb_bucket_bytes(lmdb, 3) > before);
    assert_in_range(lmdb_bucket_bytes(lmdb, 3), before, before + sizeof other_key);
    assert_verdict(ask(&scene, IDEM_ABANDON, 3, 'a'), IDEM_OK);
    assert_int_equal(lmdb_bucket_bytes(lmdb, 3), 0);
    assert_int_equal(scene.heard_count, 0);
}

/* ---- when it is told ---- */

static void test_a_rebind_is_told_when_the_disk_has_it(void **state)
{
    struct idem_op op = rebind_of(1, 'a');
    struct asked asked;

    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    stand_still_with(&scene, &op, &asked);
    for (int i = 0; i < 20; i++) {
        turn(scene.loop);
        assert_false(asked.done);
    }
    go_on(FAULT_NONE, 0);
    UNTIL(scene.loop, asked.done);
    assert_verdict(asked, IDEM_OK);
    sem_destroy(&stand);
}

static void test_rebinds_share_a_sync_with_all_that_wait(void **state)
{
    static struct asked asked[128];
    static int count;
    struct idem_op first = op_of(IDEM_BEGIN, 999, 'a');
    struct asked standing_begin;
    struct idem_op begins = op_of(IDEM_BEGIN, 0, 'a');

    (void)state;
    count = 0;
    assert_int_equal(ask_each(&scene, &begins, 0, 64, 1).verdicts[IDEM_NEW], 64);
    stand_still_with(&scene, &first, &standing_begin);
    uint64_t before = commits(&scene);
    for (uint32_t i = 0; i < 64; i++) {
        struct idem_op moved = rebind_of(i, 'a'), begun = op_of(IDEM_BEGIN, 100 + i, 'a');
        (void)ask_start(&scene, &moved, &asked[2 * i]);
        (void)ask_start(&scene, &begun, &asked[2 * i + 1]);
        asked[2 * i].count = asked[2 * i + 1].count = &count;
    }
    go_on(FAULT_NONE, 0);
    UNTIL(scene.loop, count == 128);
    for (int i = 0; i < 128; i++) {
        assert_verdict(asked[i], i % 2 == 0 ? IDEM_OK : IDEM_NEW);
    }
    assert_int_equal(commits(&scene) - before, 2); /* that of who stood there, and one for all these */
    sem_destroy(&stand);
}

/* Whoever asked is told that it may be done, and frees the key behind it: nothing of it is left. */
static void test_a_rebind_without_reply_in_time_is_down_and_its_abandon_comes_after_it(void **state)
{
    struct idem_op first = op_of(IDEM_BEGIN, 999, 'a'), op = rebind_of(1, 'a'), abandon = op_of(IDEM_ABANDON, 1, 'a');
    struct asked standing_begin, asked = {0}, abandoned;

    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    stand_still_with(&scene, &first, &standing_begin);
    assert_non_null(store_ask(scene.store, &op, true, 20, on_asked, &asked));
    UNTIL(scene.loop, asked.done);
    assert_status(asked, STORE_DOWN);
    (void)ask_start(&scene, &abandon, &abandoned);
    go_on(FAULT_NONE, 0);
    UNTIL(scene.loop, abandoned.done);
    assert_verdict(abandoned, IDEM_OK);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_NEW);
    assert_string_equal(ask(&scene, IDEM_READ, 1, 'b').result.processor, "acme");
    sem_destroy(&stand);
}

/* ---- a disk that fails ---- */

static void meet(enum fault at, int error, enum store_status status)
{
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    set_fault(at, error);
    assert_status(rebind(1, 'a'), status);
    set_fault(FAULT_NONE, 0);
    UNTIL(scene.loop, state_of(&scene).trouble == NULL);
    assert_string_equal(ask(&scene, IDEM_READ, 1, 'a').result.processor, "acme");
    assert_verdict(rebind(1, 'a'), IDEM_OK); /* and it may be asked for again */
    assert_bound_at_the_next_open(1, "other");
}

static void test_a_rebind_that_was_not_synced_is_down_and_not_done(void **state)
{
    (void)state;
    meet(FAULT_SYNC, EIO, STORE_DOWN);
}

static void test_a_rebind_without_room_on_the_disk_is_full_and_not_done(void **state)
{
    (void)state;
    meet(FAULT_PAGES, ENOSPC, STORE_FULL);
}

/* LMDB says that the commit failed; the files, opened again, say that it counts. */
static void test_a_rebind_whose_commit_counts_after_all_was_done(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    atomic_store(&meta_writes, 0);
    set_fault(FAULT_META_DONE, EIO);
    assert_verdict(rebind(1, 'a'), IDEM_OK);
    assert_int_equal(atomic_load(&meta_writes), 2);
    assert_bound_at_the_next_open(1, "other");
}

/* Nobody knows whether it counts: who asked frees the key, wherever it is bound to. */
static void test_a_rebind_that_may_be_done_is_down_and_is_abandoned(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    set_fault(FAULT_META, EIO);
    assert_status(rebind(1, 'a'), STORE_DOWN);
    set_fault(FAULT_NONE, 0);
    UNTIL(scene.loop, state_of(&scene).trouble == NULL);
    assert_verdict(ask(&scene, IDEM_ABANDON, 1, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_NEW);
}

/* ---- room ---- */

#define BEGUN_MAX 20000u

static const char longest_key[LMDB_UPSTREAM_KEY_BYTES_MAX];

/* Begins keys from `first` on until one is refused; the number that was begun. */
static uint32_t begin_until_full(uint32_t first, uint32_t step)
{
    struct idem_op like = op_of(IDEM_BEGIN, 0, 'a');
    uint32_t begun = 0;

    like.upstream_key = bytes_of(longest_key, sizeof longest_key - 100);
    for (;;) {
        struct ends ends = ask_each(&scene, &like, first + begun * step, ASK_WINDOW, step);
        begun += ends.verdicts[IDEM_NEW];
        if (ends.statuses[STORE_FULL] > 0) {
            return begun;
        }
        assert_in_range(begun, 1, BEGUN_MAX);
    }
}

/* What a commit set free takes a few begins more: how many depends on how they were grouped. */
static void fill_what_is_left(void)
{
    static uint32_t n = 10 * BEGUN_MAX;
    uint32_t more = 0;

    while (ask(&scene, IDEM_BEGIN, n++, 'a').status == STORE_OK) {
        assert_in_range(++more, 1, 2000);
    }
    assert_status(ask(&scene, IDEM_BEGIN, n++, 'a'), STORE_FULL);
}

static struct idem_op longest_rebind(void)
{
    struct idem_op like = rebind_of(0, 'a');

    like.upstream_key = bytes_of(longest_key, sizeof longest_key);
    return like;
}

/* Longer ones at that: the tenth that is kept for what settles has room for what saves a payment, too. */
static void test_a_full_store_still_rebinds(void **state)
{
    uint32_t begun = begin_until_full(0, 1);
    struct idem_op like = longest_rebind();

    (void)state;
    fill_what_is_left();
    assert_int_equal(ask_each(&scene, &like, 0, 2000, 1).verdicts[IDEM_OK], 2000);
    fill_what_is_left();
    assert_in_range(begun, 2000, BEGUN_MAX);
}

static uint64_t left_out(void)
{
    return counter(&scene, "weir_store_answers_left_out_total");
}

/* Completes from `n` on, until an answer of this length finds no room. The next one that is in flight. */
static uint32_t complete_until_left_out(uint32_t n, size_t answer_len)
{
    static char answer[20000];
    struct idem_op op;
    uint64_t before = left_out();

    while (left_out() == before) {
        op = op_of(IDEM_COMPLETE, n++, 'a');
        op.answer = bytes_of(answer, answer_len);
        assert_verdict(ask_op(&scene, &op), IDEM_OK);
        assert_in_range(n, 0, 3000);
    }
    return n;
}

/* What deleting needs is nobody's: then the record stays where it is, and what settles goes on. */
static void test_the_last_room_is_not_for_rebinds(void **state)
{
    struct idem_op begins = op_of(IDEM_BEGIN, 0, 'a');
    struct idem_op like = longest_rebind();

    (void)state;
    assert_int_equal(ask_each(&scene, &begins, 0, 3000, 1).verdicts[IDEM_NEW], 3000);
    uint32_t n = complete_until_left_out(complete_until_left_out(complete_until_left_out(0, 20000), 2000), 1);
    assert_int_equal(ask_each(&scene, &like, n, 10, 1).statuses[STORE_FULL], 10);
    assert_string_equal(ask(&scene, IDEM_READ, n, 'a').result.processor, "acme");
    assert_verdict(ask(&scene, IDEM_ABANDON, n, 'a'), IDEM_OK);
    assert_verdict(ask(&scene, IDEM_MARK, n + 1, 'a'), IDEM_OK);
}

static void test_a_tenant_with_its_quarter_still_rebinds(void **state)
{
    uint32_t begun = begin_until_full(77, IDEM_BUCKETS);
    struct idem_op like = longest_rebind();

    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 78, 'a'), IDEM_NEW); /* another tenant */
    assert_int_equal(ask_each(&scene, &like, 77, begun, IDEM_BUCKETS).verdicts[IDEM_OK], begun);
}

/* ---- kill -9 ---- */

#define ROUNDS 10
#define KEYS_PER_ROUND 300
#define WINDOW 32

enum said { SAID_NOTHING, SAID_BEGUN, SAID_REBOUND };

struct word {
    uint32_t n;
    uint32_t said;
};

static uint8_t said[ROUNDS * KEYS_PER_ROUND];
static uint64_t seed = 2685821657736338717u;

/* One key of the process that is killed. */
struct stroke {
    int words;
    uint32_t n, end; /* this one, and every WINDOW-th from here to the end */
    bool moves;
};

static void stroke_begin(struct stroke *stroke);

static void on_stroke(void *owner, enum store_status status, const struct idem_result *result)
{
    struct stroke *stroke = owner;
    struct word word = {stroke->n, stroke->moves ? SAID_REBOUND : SAID_BEGUN};

    if (status != STORE_OK || result->verdict != (stroke->moves ? IDEM_OK : IDEM_NEW) ||
        write(stroke->words, &word, sizeof word) != sizeof word) {
        _exit(2);
    }
    if (stroke->moves) {
        stroke->n += WINDOW;
        stroke_begin(stroke);
        return;
    }
    struct idem_op op = rebind_of(stroke->n, 'a');
    stroke->moves = true;
    if (store_ask(scene.store, &op, true, ASK_MS, on_stroke, stroke) == NULL) {
        _exit(3);
    }
}

static void stroke_begin(struct stroke *stroke)
{
    struct idem_op op = op_of(IDEM_BEGIN, stroke->n, 'a');

    stroke->moves = false;
    if (stroke->n < stroke->end && store_ask(scene.store, &op, true, ASK_MS, on_stroke, stroke) == NULL) {
        _exit(4);
    }
}

/* Never returns: it is killed, at the latest when it has nothing to do any more. */
static void be_killed(uint32_t first, int words)
{
    static struct stroke strokes[WINDOW];

    scene.options.heard = NULL;
    scene.store = store_open(&scene.conf, &scene.options, scene.why, sizeof scene.why);
    if (scene.store == NULL) {
        _exit(1);
    }
    for (uint32_t i = 0; i < WINDOW; i++) {
        strokes[i] = (struct stroke){words, first + i, first + KEYS_PER_ROUND, false};
        stroke_begin(&strokes[i]);
    }
    for (;;) {
        turn(scene.loop);
    }
}

/* Kills it after some words, or before the first; what it had said by then. */
static uint32_t round_of(uint32_t first)
{
    uint32_t words_max = (uint32_t)(random_next(&seed) % (2 * KEYS_PER_ROUND));
    uint32_t count = 0;
    struct word word;
    int words[2], status;

    assert_int_equal(pipe(words), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(words[0]);
        be_killed(first, words[1]);
    }
    close(words[1]);
    for (bool killed = false; read(words[0], &word, sizeof word) == sizeof word; count++) {
        assert_in_range(word.n, first, first + KEYS_PER_ROUND - 1);
        said[word.n] = (uint8_t)word.said;
        if (!killed && count >= words_max) {
            killed = true;
            assert_int_equal(kill(child, SIGKILL), 0);
        }
        if (!killed && count + 1 == 2 * KEYS_PER_ROUND) { /* it has nothing to do any more */
            killed = true;
            assert_int_equal(kill(child, SIGKILL), 0);
        }
    }
    close(words[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) {
        fail_msg("it ended by itself, with %d", WEXITSTATUS(status));
    }
    return count;
}

static void check_key(uint32_t n, const struct asked *over)
{
    if (said[n] == SAID_NOTHING) {
        return;
    }
    /* A rebind that was not told may be done. */
    assert_verdict(*over, IDEM_TAKEN_OVER);
    bool moved = strcmp(over->result.processor, "other") == 0;
    assert_true(moved || (said[n] == SAID_BEGUN && strcmp(over->result.processor, "acme") == 0));
    assert_int_equal(strcmp(over->upstream_key, other_key) == 0, moved);
}

static void test_what_was_bound_outlives_kill(void **state)
{
    static struct asked asked[KEYS_PER_ROUND];
    static int count;
    uint32_t words = 0;

    (void)state;
    scene_init(&scene, 64u << 20);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t first = round * KEYS_PER_ROUND;
        words += round_of(first);
        scene_open(&scene);
        count = 0;
        for (uint32_t i = 0; i < KEYS_PER_ROUND; i++) {
            struct idem_op op = op_of(said[first + i] == SAID_NOTHING ? IDEM_READ : IDEM_BEGIN, first + i, 'z');
            (void)ask_start(&scene, &op, &asked[i]);
            asked[i].count = &count;
        }
        UNTIL(scene.loop, count == KEYS_PER_ROUND);
        for (uint32_t i = 0; i < KEYS_PER_ROUND; i++) {
            check_key(first + i, &asked[i]);
        }
        scene_close(&scene);
    }
    assert_in_range(words, KEYS_PER_ROUND, 2 * ROUNDS * KEYS_PER_ROUND);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_takeover_goes_where_the_record_was_bound_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rebind_is_its_owners_and_of_what_nobody_may_have_executed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_record_that_was_rebound_is_counted_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rebind_is_told_when_the_disk_has_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebinds_share_a_sync_with_all_that_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rebind_without_reply_in_time_is_down_and_its_abandon_comes_after_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_rebind_that_was_not_synced_is_down_and_not_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rebind_without_room_on_the_disk_is_full_and_not_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rebind_whose_commit_counts_after_all_was_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rebind_that_may_be_done_is_down_and_is_abandoned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_store_still_rebinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_room_is_not_for_rebinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_tenant_with_its_quarter_still_rebinds, setup, teardown),
        cmocka_unit_test(test_what_was_bound_outlives_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
