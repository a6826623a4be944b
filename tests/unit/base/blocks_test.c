/* The counted supply: one number bounds what a loop holds. */
#include "base/unit.h"

#include "weir/base/blocks.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

static void test_the_limit_refuses_and_counts_but_not_what_must_be(void **state)
{
    struct blocks blocks;
    struct block *taken[3];

    (void)state;
    blocks_init(&blocks, 2 * BLOCK_BYTES, 0);
    taken[0] = blocks_take(&blocks, 1, BLOCKS_MAY);
    taken[1] = blocks_take(&blocks, BLOCK_DATA_BYTES, BLOCKS_MAY);
    assert_non_null(taken[0]);
    assert_non_null(taken[1]);
    assert_int_equal(blocks.used_bytes, 2 * BLOCK_BYTES);
    assert_null(blocks_take(&blocks, 1, BLOCKS_MAY));
    assert_int_equal(blocks.refused_count, 1);
    taken[2] = blocks_take(&blocks, 1, BLOCKS_MUST);
    assert_non_null(taken[2]);
    assert_null(blocks_take(&blocks, 1, BLOCKS_MAY)); /* already beyond: nothing wraps */
    assert_int_equal(blocks.refused_count, 2);
    for (int i = 0; i < 3; i++) {
        blocks_give(&blocks, taken[i]);
    }
    assert_int_equal(blocks.used_bytes, 0);
    assert_int_equal(blocks.used_bytes_peak, 3 * BLOCK_BYTES);
    blocks_close(&blocks);
}

static void test_a_new_limit_holds_at_once(void **state)
{
    struct blocks blocks;
    struct block *block;

    (void)state;
    blocks_init(&blocks, 0, 1);
    block = blocks_take(&blocks, 1, BLOCKS_MAY);
    blocks_set_limit(&blocks, 1);
    assert_null(blocks_take(&blocks, 1, BLOCKS_MAY));
    blocks_set_limit(&blocks, 2 * BLOCK_BYTES);
    blocks_give(&blocks, block);
    block = blocks_take(&blocks, 1, BLOCKS_MAY);
    assert_non_null(block);
    blocks_give(&blocks, block);
    blocks_close(&blocks);
}

static void test_outsize_blocks_count_whole_and_are_never_kept(void **state)
{
    struct blocks blocks;
    struct block *block;

    (void)state;
    blocks_init(&blocks, 0, 4);
    block = blocks_take(&blocks, 100000, BLOCKS_MAY);
    assert_non_null(block);
    assert_int_equal(block->size_bytes, 100000);
    assert_int_equal(blocks.used_bytes, 100000 + sizeof(struct block));
    memset(block->data, 1, 100000);
    blocks_give(&blocks, block);
    assert_int_equal(blocks.free_count, 0);
    assert_int_equal(blocks.used_bytes, 0);
    assert_null(blocks_take(&blocks, SIZE_MAX, BLOCKS_MUST));
    blocks_set_limit(&blocks, 100000);
    assert_null(blocks_take(&blocks, 100000, BLOCKS_MAY)); /* its header counts too */
    blocks_close(&blocks);
}

static void test_only_so_many_free_blocks_are_kept(void **state)
{
    struct blocks blocks;
    struct block *taken[5];

    (void)state;
    blocks_init(&blocks, 0, 2);
    for (int i = 0; i < 5; i++) {
        taken[i] = blocks_take(&blocks, 1, BLOCKS_MAY);
    }
    for (int i = 0; i < 5; i++) {
        blocks_give(&blocks, taken[i]);
    }
    assert_int_equal(blocks.free_count, 2);
    taken[0] = blocks_take(&blocks, 1, BLOCKS_MAY);
    assert_int_equal(blocks.free_count, 1);
    assert_int_equal(taken[0]->used_bytes, 0);
    assert_int_equal(taken[0]->read_bytes, 0);
    assert_null(taken[0]->next);
    blocks_give(&blocks, taken[0]);
    blocks_close(&blocks);
    assert_int_equal(blocks.free_count, 0);
}

static void give_twice(void)
{
    struct blocks blocks;
    struct block *block;

    blocks_init(&blocks, 0, 4);
    block = blocks_take(&blocks, 1, BLOCKS_MAY);
    blocks_give(&blocks, block);
    blocks_give(&blocks, block);
}

static void close_with_one_out(void)
{
    struct blocks blocks;

    blocks_init(&blocks, 0, 4);
    if (blocks_take(&blocks, 1, BLOCKS_MAY) != NULL) {
        blocks_close(&blocks);
    }
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    assert_true(aborts(give_twice));
    assert_true(aborts(close_with_one_out));
}

static void test_a_given_block_cannot_be_touched_under_the_sanitizer(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    struct blocks blocks;
    struct block *block;

    blocks_init(&blocks, 0, 4);
    block = blocks_take(&blocks, 1, BLOCKS_MAY);
    assert_null(__asan_region_is_poisoned(block->data, block->size_bytes));
    blocks_give(&blocks, block);
    assert_ptr_equal(__asan_region_is_poisoned(block->data, BLOCK_DATA_BYTES), block->data);
    blocks_close(&blocks);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_limit_refuses_and_counts_but_not_what_must_be),
        cmocka_unit_test(test_a_new_limit_holds_at_once),
        cmocka_unit_test(test_outsize_blocks_count_whole_and_are_never_kept),
        cmocka_unit_test(test_only_so_many_free_blocks_are_kept),
        cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_a_given_block_cannot_be_touched_under_the_sanitizer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
