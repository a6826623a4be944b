/* Blocks and arenas: the bound on memory holds, and nothing leaks past a reset. */
#include "base/unit.h"

#include "weir/base/arena.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

static void test_memory_is_aligned_for_any_type_and_apart(void **state)
{
    struct blocks blocks;
    struct arena arena;
    uint64_t seed = 3;
    char *last = NULL;

    (void)state;
    blocks_init(&blocks, 0, 4);
    arena_init(&arena, &blocks);
    for (int i = 0; i < 2000; i++) {
        size_t len = random_next(&seed) % 300;
        char *at = arena_take(&arena, len);

        assert_non_null(at);
        assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
        assert_ptr_not_equal(at, last);
        memset(at, 0xaa, len);
        last = at;
    }
    arena_reset(&arena);
    assert_int_equal(blocks.used_bytes, 0);
    blocks_close(&blocks);
}

static void test_a_zeroed_take_is_zero_in_used_memory(void **state)
{
    struct blocks blocks;
    struct arena arena;
    char *at;

    (void)state;
    blocks_init(&blocks, 0, 4);
    arena_init(&arena, &blocks);
    memset(arena_take(&arena, 4000), 0xff, 4000);
    arena_reset(&arena);
    at = arena_take_zeroed(&arena, 4000);
    for (int i = 0; i < 4000; i++) {
        assert_int_equal(at[i], 0);
    }
    arena_reset(&arena);
    blocks_close(&blocks);
}

static void test_a_large_take_does_not_waste_the_newest_block(void **state)
{
    struct blocks blocks;
    struct arena arena;
    char *large;
    size_t used;

    (void)state;
    blocks_init(&blocks, 0, 4);
    arena_init(&arena, &blocks);
    assert_non_null(arena_take(&arena, 10));
    large = arena_take(&arena, 100000);
    assert_non_null(large);
    memset(large, 1, 100000);
    used = blocks.used_bytes;
    assert_non_null(arena_take(&arena, 1000));
    assert_int_equal(blocks.used_bytes, used);
    arena_reset(&arena);
    assert_int_equal(blocks.used_bytes, 0);
    blocks_close(&blocks);
}

static void test_copies_end_with_a_nul_and_refusals_are_null(void **state)
{
    struct blocks blocks;
    struct arena arena;
    struct bytes copy;

    (void)state;
    blocks_init(&blocks, BLOCK_BYTES, 4);
    arena_init(&arena, &blocks);
    copy = arena_copy(&arena, BYTES("card"));
    assert_bytes(copy, "card");
    assert_int_equal(copy.at[4], '\0');
    copy = arena_copy(&arena, BYTES_NONE);
    assert_int_equal(copy.len, 0);
    assert_non_null(copy.at);
    assert_null(arena_take(&arena, 5000));
    assert_null(arena_take(&arena, SIZE_MAX));
    assert_null(arena_take(&arena, (size_t)UINT32_MAX));
    assert_int_equal(blocks.refused_count, 1);
    arena_reset(&arena);
    blocks_close(&blocks);
}

static void test_a_sent_exchange_is_never_refused_and_the_reset_ends_the_favour(void **state)
{
    struct blocks blocks;
    struct arena arena;

    (void)state;
    blocks_init(&blocks, BLOCK_BYTES, 4);
    arena_init(&arena, &blocks);
    assert_non_null(arena_take(&arena, 4000));
    assert_null(arena_take(&arena, 4000));
    arena.need = BLOCKS_MUST;
    assert_non_null(arena_take(&arena, 4000));
    assert_true(blocks.used_bytes > blocks.limit_bytes);
    arena_reset(&arena);
    assert_int_equal(arena.need, BLOCKS_MAY);
    blocks_close(&blocks);
}

static void test_a_reset_arena_holds_nothing_and_works_again(void **state)
{
    struct blocks blocks;
    struct arena arena;

    (void)state;
    blocks_init(&blocks, 0, 1);
    arena_init(&arena, &blocks);
    arena_reset(&arena);
    assert_null(arena.newest);
    for (int i = 0; i < 10; i++) {
        assert_non_null(arena_take(&arena, 3000));
    }
    arena_reset(&arena);
    assert_null(arena.newest);
    assert_int_equal(blocks.free_count, 1);
    assert_non_null(arena_take(&arena, 1));
    assert_int_equal(blocks.free_count, 0);
    arena_reset(&arena);
    blocks_close(&blocks);
}

static void test_the_sanitizer_sees_overruns_inside_an_arena(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    struct blocks blocks;
    struct arena arena;
    char *at;

    blocks_init(&blocks, 0, 1);
    arena_init(&arena, &blocks);
    at = arena_take(&arena, 10);
    assert_non_null(arena_take(&arena, 10));
    assert_null(__asan_region_is_poisoned(at, 10));
    assert_ptr_equal(__asan_region_is_poisoned(at, 11), at + 10);
    arena_reset(&arena);
    assert_ptr_equal(__asan_region_is_poisoned(at, 10), at);
    blocks_close(&blocks);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_aligned_for_any_type_and_apart),
        cmocka_unit_test(test_a_zeroed_take_is_zero_in_used_memory),
        cmocka_unit_test(test_a_large_take_does_not_waste_the_newest_block),
        cmocka_unit_test(test_copies_end_with_a_nul_and_refusals_are_null),
        cmocka_unit_test(test_a_sent_exchange_is_never_refused_and_the_reset_ends_the_favour),
        cmocka_unit_test(test_a_reset_arena_holds_nothing_and_works_again),
        cmocka_unit_test(test_the_sanitizer_sees_overruns_inside_an_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
