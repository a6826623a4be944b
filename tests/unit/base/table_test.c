/* The hash table against a plain array that does the same slowly. */
#include "base/unit.h"

#include <stdio.h>

#include "weir/base/table.h"

static void test_what_was_put_is_found_until_it_is_removed(void **state)
{
    struct table *table = table_open(0);
    int a;
    int b;

    (void)state;
    assert_non_null(table);
    assert_null(table_find(table, BYTES("k")));
    assert_null(table_remove(table, BYTES("k")));
    assert_true(table_put(table, BYTES("k"), &a));
    assert_ptr_equal(table_find(table, BYTES("k")), &a);
    assert_true(table_put(table, BYTES("k"), &b));
    assert_int_equal(table_count(table), 1);
    assert_ptr_equal(table_find(table, BYTES("k")), &b);
    assert_null(table_find(table, BYTES("K")));
    assert_ptr_equal(table_remove(table, BYTES("k")), &b);
    assert_null(table_find(table, BYTES("k")));
    assert_int_equal(table_count(table), 0);
    table_close(table);
    table_close(NULL);
}

static void test_keys_are_copied_and_may_hold_anything(void **state)
{
    struct table *table = table_open(0);
    char key[4] = "abc";
    int values[3];

    (void)state;
    assert_true(table_put(table, bytes_of(key, 3), &values[0]));
    key[0] = 'x';
    assert_ptr_equal(table_find(table, BYTES("abc")), &values[0]);
    assert_true(table_put(table, bytes_of("\0a", 2), &values[1]));
    assert_true(table_put(table, BYTES_NONE, &values[2]));
    assert_ptr_equal(table_find(table, bytes_of("\0a", 2)), &values[1]);
    assert_null(table_find(table, bytes_of("\0", 1)));
    assert_ptr_equal(table_find(table, BYTES("")), &values[2]);
    assert_ptr_equal(table_remove(table, BYTES_NONE), &values[2]);
    table_close(table);
}

static void test_the_maximum_refuses_new_keys_but_not_known_ones(void **state)
{
    struct table *table = table_open(2);
    int value;

    (void)state;
    assert_true(table_put(table, BYTES("a"), &value));
    assert_true(table_put(table, BYTES("b"), &value));
    assert_false(table_put(table, BYTES("c"), &value));
    assert_null(table_find(table, BYTES("c")));
    assert_true(table_put(table, BYTES("a"), &value));
    assert_non_null(table_remove(table, BYTES("a")));
    assert_true(table_put(table, BYTES("c"), &value));
    assert_int_equal(table_count(table), 2);
    table_close(table);
}

static void test_random_work_agrees_with_a_plain_array(void **state)
{
    enum { KEYS = 700 };
    static char names[KEYS][16];
    static void *model[KEYS];
    struct table *table = table_open(0);
    uint64_t seed = 11;
    size_t count = 0;

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "key %d", i);
        model[i] = NULL;
    }
    for (int step = 0; step < 300000; step++) {
        /* Waves of growth and of removal, so that probe runs form and are cut everywhere. */
        size_t which = random_next(&seed) % KEYS;
        struct bytes key = bytes_from_text(names[which]);
        bool growing = step / 20000 % 2 == 0;
        bool put = random_next(&seed) % 10 < (growing ? 7 : 3);

        if (put) {
            void *value = &names[random_next(&seed) % KEYS];

            assert_true(table_put(table, key, value));
            count += model[which] == NULL;
            model[which] = value;
        } else {
            assert_ptr_equal(table_remove(table, key), model[which]);
            count -= model[which] != NULL;
            model[which] = NULL;
        }
        assert_int_equal(table_count(table), count);
        which = random_next(&seed) % KEYS;
        assert_ptr_equal(table_find(table, bytes_from_text(names[which])), model[which]);
    }
    for (int i = 0; i < KEYS; i++) {
        assert_ptr_equal(table_find(table, bytes_from_text(names[i])), model[i]);
    }
    table_close(table);
}

static void test_iteration_visits_each_entry_once(void **state)
{
    enum { COUNT = 1000 };
    static int visits[COUNT];
    struct table *table = table_open(0);
    char name[16];
    struct bytes key;
    void *value;
    size_t cursor = 0;
    int total = 0;

    (void)state;
    assert_false(table_next(table, &cursor, &key, &value));
    for (int i = 0; i < COUNT; i++) {
        visits[i] = 0;
        (void)snprintf(name, sizeof(name), "%d", i);
        assert_true(table_put(table, bytes_from_text(name), &visits[i]));
    }
    cursor = 0;
    while (table_next(table, &cursor, &key, &value)) {
        uint64_t number;

        assert_true(bytes_to_u64(key, &number));
        assert_ptr_equal(value, &visits[number]);
        (*(int *)value)++;
        total++;
    }
    assert_int_equal(total, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(visits[i], 1);
    }
    table_close(table);
}

static void put_null(void)
{
    struct table *table = table_open(0);

    (void)!table_put(table, BYTES("a"), NULL);
}

static void test_a_null_value_aborts(void **state)
{
    (void)state;
    assert_true(aborts(put_null));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_is_found_until_it_is_removed),
        cmocka_unit_test(test_keys_are_copied_and_may_hold_anything),
        cmocka_unit_test(test_the_maximum_refuses_new_keys_but_not_known_ones),
        cmocka_unit_test(test_random_work_agrees_with_a_plain_array),
        cmocka_unit_test(test_iteration_visits_each_entry_once),
        cmocka_unit_test(test_a_null_value_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
