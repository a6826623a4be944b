#include "fake_store.h"

#include "lookup_internal.h"

static int done_count;

static void on_done(struct lookup *lookup)
{
    (void)lookup;
    done_count++;
}

static void open_lookup(struct lookup *lookup)
{
    struct loop *loop = loop_open(0);
    assert_non_null(loop);
    (void)fake_open(loop);
    lookup_init(lookup);
    done_count = 0;
}

static void close_lookup(struct lookup *lookup)
{
    lookup_close(lookup);
    assert_true(loop_close(fake.loop));
}

static void look_up(struct lookup *lookup, const struct lookup_wanted *wanted)
{
    assert_true(lookup_begin(lookup, fake.loop, (struct store *)&fake, wanted, on_done));
    assert_int_equal(done_count, 0);
    UNTIL(fake.loop, done_count == 1);
}

static void test_a_list_keeps_the_oldest_and_counts_the_rest(void **state)
{
    struct lookup lookup;
    (void)state;
    open_lookup(&lookup);
    for (int i = 0; i < 1000; i++) {
        /* 0, 7, 14 ... 993, 1 ...: every age once, in no order */
        int age = i * 7 % 1000;
        fake_add(1, 1, IDEM_UNKNOWN, "x")->unknown_us = (uint64_t)(5000 - age);
    }
    fake_add(1, 2, IDEM_IN_FLIGHT, "x");
    look_up(&lookup, &(struct lookup_wanted){.open_only = true, .unknown_only = true, .row_max = 10});
    assert_int_equal(lookup.match_count, 1000);
    assert_int_equal(lookup.seen_count, 1001);
    assert_int_equal(lookup.row_count, 10);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(lookup.rows[i].unknown_us, 4001 + i);
    }
    assert_false(lookup.failed);
    assert_int_equal(fake.walks_begun, 1);
    close_lookup(&lookup);
}

static void test_a_record_is_copied_whole(void **state)
{
    struct lookup lookup;
    (void)state;
    open_lookup(&lookup);
    struct store_record *record = fake_add(1, 2, IDEM_DONE, "0123456789abcdef0123456789abcdef");
    record->status = 402;
    record->takeovers = 3;
    record->ambiguous = record->answer_kept = true;
    record->done_us = 5;
    record->expires_us = 6;
    look_up(&lookup, &(struct lookup_wanted){.row_max = 1});
    const struct lookup_row *row = &lookup.rows[0];
    assert_memory_equal(&row->name, &record->name, sizeof(row->name));
    assert_string_equal(row->processor, "acme");
    assert_string_equal(row->request_id, "0123456789abcdef0123456789abcdef");
    assert_int_equal(row->state, IDEM_DONE);
    assert_int_equal(row->status, 402);
    assert_int_equal(row->takeovers, 3);
    assert_true(row->ambiguous && row->answer_kept);
    assert_int_equal(row->begun_us, record->begun_us);
    assert_int_equal(row->done_us, 5);
    assert_int_equal(row->expires_us, 6);
    close_lookup(&lookup);
}

static void test_open_records_are_looked_through_first_and_the_others_only_then(void **state)
{
    struct lookup lookup;
    struct idem_name prefix = {.bucket = 0x1a3, .hash = {7}};
    (void)state;
    open_lookup(&lookup);
    fake_add(1, 0, IDEM_UNKNOWN, "first");
    fake_add(7, 0, IDEM_DONE, "second");
    look_up(&lookup, &(struct lookup_wanted){.by_name = true, .prefix = prefix, .hash_len = 6, .row_max = 2});
    assert_int_equal(fake.walks_begun, 2);
    assert_int_equal(lookup.match_count, 1);
    assert_string_equal(lookup.rows[0].request_id, "second");
    lookup_close(&lookup);

    lookup_init(&lookup);
    done_count = 0;
    look_up(&lookup, &(struct lookup_wanted){.request_id = "first", .row_max = 1});
    assert_int_equal(fake.walks_begun, 3);
    assert_int_equal(lookup.rows[0].name.hash[0], 1);
    close_lookup(&lookup);
}

static void test_a_list_of_open_records_looks_at_no_others(void **state)
{
    struct lookup lookup;
    (void)state;
    open_lookup(&lookup);
    fake_add(7, 0, IDEM_DONE, "x");
    look_up(&lookup, &(struct lookup_wanted){.open_only = true, .row_max = 2});
    assert_int_equal(fake.walks_begun, 1);
    assert_int_equal(lookup.match_count, 0);
    assert_false(lookup.failed);
    close_lookup(&lookup);
}

static void test_a_store_that_breaks_off_is_told(void **state)
{
    struct lookup lookup;
    (void)state;
    open_lookup(&lookup);
    fake_add(7, 0, IDEM_UNKNOWN, "x");
    fake.break_walks = true;
    look_up(&lookup, &(struct lookup_wanted){.row_max = 2});
    assert_true(lookup.failed);
    assert_int_equal(fake.walks_begun, 1);
    close_lookup(&lookup);
}

static void test_a_second_lookup_is_refused(void **state)
{
    struct lookup lookup;
    (void)state;
    open_lookup(&lookup);
    fake.refuse_walks = true;
    assert_false(
        lookup_begin(&lookup, fake.loop, (struct store *)&fake, &(struct lookup_wanted){.row_max = 2}, on_done));
    close_lookup(&lookup);
}

static void test_one_that_loses_its_turn_between_two_walks_has_failed(void **state)
{
    struct lookup lookup;
    (void)state;
    open_lookup(&lookup);
    assert_true(lookup_begin(&lookup, fake.loop, (struct store *)&fake,
                             &(struct lookup_wanted){.request_id = "x", .row_max = 2}, on_done));
    fake.refuse_walks = true;
    UNTIL(fake.loop, done_count == 1);
    assert_true(lookup.failed);
    close_lookup(&lookup);
}

static void test_one_that_is_closed_says_nothing_more(void **state)
{
    struct lookup lookup;
    (void)state;
    open_lookup(&lookup);
    fake.hold_walks = true;
    assert_true(
        lookup_begin(&lookup, fake.loop, (struct store *)&fake, &(struct lookup_wanted){.row_max = 2}, on_done));
    lookup_close(&lookup);
    assert_int_equal(fake.walks_stopped, 1);
    lookup_close(&lookup);
    assert_int_equal(fake.walks_stopped, 1);
    turn(fake.loop);
    assert_int_equal(done_count, 0);
    assert_true(loop_close(fake.loop));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_keeps_the_oldest_and_counts_the_rest),
        cmocka_unit_test(test_a_record_is_copied_whole),
        cmocka_unit_test(test_open_records_are_looked_through_first_and_the_others_only_then),
        cmocka_unit_test(test_a_list_of_open_records_looks_at_no_others),
        cmocka_unit_test(test_a_store_that_breaks_off_is_told),
        cmocka_unit_test(test_a_second_lookup_is_refused),
        cmocka_unit_test(test_one_that_loses_its_turn_between_two_walks_has_failed),
        cmocka_unit_test(test_one_that_is_closed_says_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
