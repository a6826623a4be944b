#include "base/unit.h"

#include "tables_internal.h"
#include "suggest_internal.h"
#include "weir/app/drain.h"

static void test_columns_are_as_wide_as_their_widest_cell(void **state)
{
    static const char *const TITLES[] = {"NAME", "N", "LAST"};
    struct blocks blocks;
    struct buf out;
    struct text_table table;
    (void)state;
    blocks_init(&blocks, 0, 0);
    buf_init(&out, &blocks, 4096);
    text_table_open(&table, &out, TITLES, 3);
    text_table_cell(&table, "a-long-name");
    text_table_cell(&table, "%d", 7);
    text_table_cell(&table, "-");
    text_table_cell(&table, "b");
    text_table_cell(&table, "%d", 1000);
    text_table_cell(&table, "%s", "");
    assert_true(text_table_close(&table));
    assert_bytes(buf_front(&out), "NAME         N     LAST\n"
                                  "a-long-name  7     -\n"
                                  "b            1000\n");
    buf_reset(&out);
    blocks_close(&blocks);
}

static void test_a_table_that_does_not_fit_says_so(void **state)
{
    static const char *const TITLES[] = {"NAME"};
    struct blocks blocks;
    struct buf out;
    struct text_table table;
    (void)state;
    blocks_init(&blocks, 0, 0);
    buf_init(&out, &blocks, 100);
    text_table_open(&table, &out, TITLES, 1);
    for (int i = 0; i < 100; i++) {
        text_table_cell(&table, "row %d", i);
    }
    assert_false(text_table_close(&table));
    buf_reset(&out);
    blocks_close(&blocks);
}

static const char *nearest(const char *word)
{
    static const char *const KNOWN[] = {"reload", "route", "run", "status"};
    struct suggest suggest;
    suggest_begin(&suggest, word);
    for (size_t i = 0; i < ARRAY_COUNT(KNOWN); i++) {
        suggest_offer(&suggest, KNOWN[i]);
    }
    return suggest.nearest;
}

static void test_a_slip_of_the_finger_is_recognised_and_nonsense_is_not(void **state)
{
    (void)state;
    assert_string_equal(nearest("relaod"), "reload");
    assert_string_equal(nearest("rotue"), "route");
    assert_string_equal(nearest("rn"), "run");
    assert_string_equal(nearest("statuss"), "status");
    assert_null(nearest("breaker"));
    assert_null(nearest(""));
}

static void test_what_is_drained_is_what_finished(void **state)
{
    const struct gate_state before = {.exchanges = 3, .exchanges_total = 100};
    const struct gate_state after = {.exchanges = 1, .exchanges_total = 110};
    (void)state;
    assert_int_equal(drain_finished_count(&after) - drain_finished_count(&before), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(test_a_table_that_does_not_fit_says_so),
        cmocka_unit_test(test_a_slip_of_the_finger_is_recognised_and_nonsense_is_not),
        cmocka_unit_test(test_what_is_drained_is_what_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
