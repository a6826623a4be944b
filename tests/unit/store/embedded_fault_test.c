/*
 * The embedded store on a disk that fails: full, read-only, broken at the pages,
 * at the sync, at the page that makes a commit count (embedded_faults.h).
 */
#include "embedded_faults.h"

static struct scene scene;

static int setup(void **state)
{
    (void)state;
    set_fault(FAULT_NONE, 0);
    scene_init(&scene, LMDB_SIZE_MIN);
    scene_open(&scene);
    scene_ready(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    set_fault(FAULT_NONE, 0);
    scene_end(&scene);
    return 0;
}

/* A completion of key 1 and a begin of key 2 meet the fault, and then the disk is well again. */
static void meet(enum fault at, int error, enum store_status begin_status, bool down)
{
    struct idem_op complete = op_of(IDEM_COMPLETE, 1, 'a');
    struct asked completed;

    set_fault(at, error);
    (void)ask_start(&scene, &complete, &completed);
    assert_status(ask(&scene, IDEM_BEGIN, 2, 'a'), begin_status);
    assert_false(completed.done);
    assert_true(state_of(&scene).unsettled >= 1);
    assert_int_equal(state_of(&scene).up, !down);
    assert_non_null(state_of(&scene).trouble);
    assert_int_equal(store_trouble(scene.store, true) != NULL, down);
    int before = atomic_load(&refusals);
    UNTIL(scene.loop, atomic_load(&refusals) > before + 1); /* it is tried again, in vain */
    assert_false(completed.done);

    set_fault(FAULT_NONE, 0);
    UNTIL(scene.loop, completed.done);
    assert_verdict(completed, IDEM_OK);
    UNTIL(scene.loop, state_of(&scene).trouble == NULL && state_of(&scene).calls == 0);
    assert_true(state_of(&scene).up);
    assert_null(store_trouble(scene.store, true));
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_REPLAY);
    assert_verdict(ask(&scene, IDEM_READ, 2, 'a'), IDEM_NONE); /* nobody was told that it is theirs */
    scene_close(&scene);
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_REPLAY);
    assert_int_equal(scene.heard_count, 0);
}

static void test_a_full_disk_begins_nothing_and_completes_later(void **state)
{
    (void)state;
    meet(FAULT_PAGES, ENOSPC, STORE_FULL, false);
}

static void test_a_full_disk_still_reads(void **state)
{
    (void)state;
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_OK);
    set_fault(FAULT_PAGES, ENOSPC);
    assert_status(ask(&scene, IDEM_BEGIN, 2, 'a'), STORE_FULL);
    assert_string_equal(state_of(&scene).trouble, strerror(ENOSPC));
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_REPLAY);
    assert_verdict(ask(&scene, IDEM_READ, 1, 'b'), IDEM_OK);
    assert_string_equal(state_of(&scene).trouble, strerror(ENOSPC)); /* a read proves nothing of it */
    set_fault(FAULT_NONE, 0);
    UNTIL(scene.loop, state_of(&scene).trouble == NULL); /* by itself: the tick tries */
}

static void stand_still(struct asked *asked)
{
    struct idem_op op = op_of(IDEM_BEGIN, 3, 'a');
    stand_still_with(&scene, &op, asked);
}

/* On a full disk a large batch is not tried operation by operation for ever. */
static void test_a_full_disk_fails_a_batch_in_few_tries(void **state)
{
    static struct asked asked[600];
    static int count;
    struct asked first;

    (void)state;
    count = 0;
    stand_still(&first);
    for (uint32_t i = 0; i < 600; i++) {
        struct idem_op op = op_of(IDEM_BEGIN, 100 + i, 'a');
        (void)ask_start(&scene, &op, &asked[i]);
        asked[i].count = &count;
    }
    int before = atomic_load(&refusals);
    go_on(FAULT_PAGES, ENOSPC);
    UNTIL(scene.loop, count == 600);
    for (int i = 0; i < 600; i++) {
        assert_status(asked[i], STORE_FULL);
    }
    assert_in_range(atomic_load(&refusals) - before, 16, 64);
    set_fault(FAULT_NONE, 0);
    assert_verdict(ask(&scene, IDEM_BEGIN, 699, 'b'), IDEM_NEW);
    sem_destroy(&stand);
}

static void test_a_read_only_disk_is_down(void **state)
{
    (void)state;
    meet(FAULT_PAGES, EROFS, STORE_DOWN, true);
}

static void test_a_sync_that_fails_is_down_and_tried_again(void **state)
{
    (void)state;
    meet(FAULT_SYNC, EIO, STORE_DOWN, true);
}

/* LMDB gives its environment up then; whether the commit counts is seen when it is opened again. */
static void test_a_commit_that_may_count_or_not_is_down_and_made_sure(void **state)
{
    (void)state;
    meet(FAULT_META, EIO, STORE_DOWN, true);
}

/* The files say that it counts: then it was done, and what became known by it is heard. */
static void test_a_commit_that_counts_after_all_was_done(void **state)
{
    (void)state;
    atomic_store(&meta_writes, 0);
    set_fault(FAULT_META_DONE, EIO);
    assert_verdict(ask(&scene, IDEM_MARK, 1, 'a'), IDEM_OK);
    assert_int_equal(atomic_load(&meta_writes), 2);
    assert_int_equal(scene.heard_count, 1);
    assert_true(scene.heard[0].told_now);
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'a'), IDEM_NEW);
    assert_true(state_of(&scene).up);
    scene_close(&scene);
    scene_open(&scene);
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'b'), IDEM_TAKEN_OVER);
    assert_int_equal(scene.heard_count, 2); /* the mark's, and key 2's at the open */
}

/* Given up by LMDB, and not to be opened again for a while. */
static void test_files_that_cannot_be_opened_again_are_tried_again(void **state)
{
    char aside[160];
    struct asked marked;
    struct idem_op op = op_of(IDEM_MARK, 1, 'a');

    (void)state;
    (void)snprintf(aside, sizeof aside, "%s/aside", scene.folder);
    assert_int_equal(rename(scene.path, aside), 0);
    set_fault(FAULT_META, EIO);
    (void)ask_start(&scene, &op, &marked);
    assert_status(ask(&scene, IDEM_BEGIN, 2, 'a'), STORE_DOWN);
    set_fault(FAULT_NONE, 0);
    assert_status(ask(&scene, IDEM_READ, 1, 'a'), STORE_DOWN);
    assert_string_equal(store_trouble(scene.store, false), strerror(ENOENT));
    assert_int_equal(rename(aside, scene.path), 0);
    UNTIL(scene.loop, marked.done && state_of(&scene).trouble == NULL);
    assert_verdict(marked, IDEM_OK);
    assert_int_equal(scene.heard_count, 1);
    UNTIL(scene.loop, state_of(&scene).calls == 0);
    assert_verdict(ask(&scene, IDEM_BEGIN, 2, 'b'), IDEM_NEW); /* freed after it was not known whether it was begun */
}

static void test_nothing_is_told_before_the_disk_has_it(void **state)
{
    struct asked asked;

    (void)state;
    stand_still(&asked);
    for (int i = 0; i < 20; i++) {
        turn(scene.loop);
        assert_false(asked.done);
    }
    go_on(FAULT_NONE, 0);
    UNTIL(scene.loop, asked.done);
    assert_verdict(asked, IDEM_NEW);
    sem_destroy(&stand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_disk_begins_nothing_and_completes_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk_still_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk_fails_a_batch_in_few_tries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_read_only_disk_is_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_sync_that_fails_is_down_and_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_commit_that_may_count_or_not_is_down_and_made_sure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_commit_that_counts_after_all_was_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_cannot_be_opened_again_are_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_told_before_the_disk_has_it, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
