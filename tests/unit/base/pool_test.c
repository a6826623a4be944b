/* Object pools: reuse, bounds, and the abuse that they must catch. */
#include "base/unit.h"

#include <stdint.h>

#include "weir/base/list.h"
#include "weir/base/pool.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

struct thing {
    uint64_t a;
    char text[51];
};

static void test_objects_come_zeroed_even_when_reused(void **state)
{
    struct pool pool;
    struct thing *thing;

    (void)state;
    pool_init(&pool, "thing", sizeof(*thing), 0);
    for (int i = 0; i < 3; i++) {
        const struct thing zero = {0};

        thing = pool_get(&pool);
        assert_non_null(thing);
        assert_memory_equal(thing, &zero, sizeof(zero));
        memset(thing, 0xff, sizeof(*thing));
        pool_put(&pool, thing);
    }
    pool_close(&pool);
}

static void test_no_more_than_the_maximum_is_handed_out(void **state)
{
    struct pool pool;
    struct thing *things[3];

    (void)state;
    pool_init(&pool, "thing", sizeof(struct thing), 3);
    for (int i = 0; i < 3; i++) {
        things[i] = pool_get(&pool);
        assert_non_null(things[i]);
    }
    assert_null(pool_get(&pool));
    assert_int_equal(pool.count_used, 3);
    pool_put(&pool, things[1]);
    assert_int_equal(pool.count_used, 2);
    things[1] = pool_get(&pool);
    assert_non_null(things[1]);
    for (int i = 0; i < 3; i++) {
        pool_put(&pool, things[i]);
    }
    pool_close(&pool);
}

static void test_many_objects_never_overlap(void **state)
{
    enum { COUNT = 2000 };
    static struct thing *things[COUNT];
    struct pool pool;

    (void)state;
    pool_init(&pool, "thing", sizeof(struct thing), 0);
    for (size_t i = 0; i < COUNT; i++) {
        things[i] = pool_get(&pool);
        assert_non_null(things[i]);
        memset(things[i], (int)(i % 251), sizeof(struct thing));
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < sizeof(struct thing); at++) {
            assert_int_equal(((unsigned char *)things[i])[at], i % 251);
        }
        pool_put(&pool, things[i]);
    }
    assert_int_equal(pool.count_used, 0);
    assert_true(pool.count_free >= COUNT);
    pool_close(&pool);
}

static void test_objects_larger_than_a_slab_and_smaller_than_a_pointer_work(void **state)
{
    struct pool pool;
    char *object;

    (void)state;
    pool_init(&pool, "large", 100000, 0);
    object = pool_get(&pool);
    assert_non_null(object);
    memset(object, 1, 100000);
    pool_put(&pool, object);
    pool_close(&pool);
    pool_init(&pool, "small", 1, 0);
    object = pool_get(&pool);
    assert_non_null(object);
    *object = 1;
    pool_put(&pool, object);
    pool_close(&pool);
}

static void put_twice(void)
{
    struct pool pool;
    void *object;

    pool_init(&pool, "thing", sizeof(struct thing), 0);
    object = pool_get(&pool);
    (void)!pool_get(&pool); /* so that the count alone does not betray it */
    pool_put(&pool, object);
    pool_put(&pool, object);
}

static void put_into_another(void)
{
    struct pool pools[2];

    pool_init(&pools[0], "one", sizeof(struct thing), 0);
    pool_init(&pools[1], "other", sizeof(struct thing), 0);
    (void)!pool_get(&pools[1]);
    pool_put(&pools[1], pool_get(&pools[0]));
}

static void close_while_used(void)
{
    struct pool pool;
    void *object;

    pool_init(&pool, "thing", sizeof(struct thing), 0);
    object = pool_get(&pool);
    if (object != NULL) {
        pool_close(&pool);
    }
}

static void test_a_put_that_is_wrong_aborts(void **state)
{
    (void)state;
    assert_true(aborts(put_twice));
    assert_true(aborts(put_into_another));
    assert_true(aborts(close_while_used));
}

static void test_a_put_object_cannot_be_touched_under_the_sanitizer(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    struct pool pool;
    struct thing *thing;

    pool_init(&pool, "thing", sizeof(*thing), 0);
    thing = pool_get(&pool);
    assert_null(__asan_region_is_poisoned(thing, sizeof(*thing)));
    assert_non_null(__asan_region_is_poisoned(thing, sizeof(*thing) + 1));
    pool_put(&pool, thing);
    assert_ptr_equal(__asan_region_is_poisoned(thing, sizeof(*thing)), thing);
    pool_close(&pool);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_come_zeroed_even_when_reused),
        cmocka_unit_test(test_no_more_than_the_maximum_is_handed_out),
        cmocka_unit_test(test_many_objects_never_overlap),
        cmocka_unit_test(test_objects_larger_than_a_slab_and_smaller_than_a_pointer_work),
        cmocka_unit_test(test_a_put_that_is_wrong_aborts),
        cmocka_unit_test(test_a_put_object_cannot_be_touched_under_the_sanitizer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
