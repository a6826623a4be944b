/* The intrusive list: order kept, removal from anywhere, nothing dangling. */
#include "base/unit.h"

#include "weir/base/list.h"

struct item {
    int number;
    struct list in_list;
};

static struct item items[5];

static void fill(struct list *head)
{
    list_init(head);
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        list_init(&items[i].in_list);
        list_push_back(head, &items[i].in_list);
    }
}

/* The numbers in order, as a decimal number with a leading 1. */
static int order(struct list *head)
{
    int digits = 1;

    list_each(item, after, head, struct item, in_list)
    {
        digits = digits * 10 + item->number;
    }
    return digits;
}

static void test_items_keep_their_order(void **state)
{
    struct list head;

    (void)state;
    fill(&head);
    assert_int_equal(order(&head), 101234);
    list_remove(&items[2].in_list);
    list_push_front(&head, &items[2].in_list);
    assert_int_equal(order(&head), 120134);
    assert_int_equal(list_first(&head, struct item, in_list)->number, 2);
    assert_int_equal(list_last(&head, struct item, in_list)->number, 4);
}

static void test_a_removed_item_knows_that_it_is_in_no_list(void **state)
{
    struct list head;

    (void)state;
    fill(&head);
    assert_true(list_linked(&items[1].in_list));
    list_remove(&items[1].in_list);
    assert_false(list_linked(&items[1].in_list));
    list_remove(&items[1].in_list);
    assert_int_equal(order(&head), 10234);
}

static void test_an_empty_list_has_no_ends(void **state)
{
    struct list head;

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_first(&head, struct item, in_list));
    assert_null(list_last(&head, struct item, in_list));
    assert_int_equal(order(&head), 1);
}

static void test_an_item_may_remove_itself_during_the_walk(void **state)
{
    struct list head;

    (void)state;
    fill(&head);
    list_each(item, after, &head, struct item, in_list)
    {
        if (item->number % 2 == 0) {
            list_remove(&item->in_list);
        }
    }
    assert_int_equal(order(&head), 113);
    list_each(item, after, &head, struct item, in_list)
    {
        list_remove(&item->in_list);
    }
    assert_true(list_empty(&head));
}

static void test_moving_all_leaves_the_source_empty(void **state)
{
    struct list from;
    struct list to;
    struct item last = {.number = 7};

    (void)state;
    fill(&from);
    list_init(&to);
    list_move_all(&to, &from);
    assert_true(list_empty(&from));
    assert_int_equal(order(&to), 101234);
    list_move_all(&to, &from);
    assert_int_equal(order(&to), 101234);
    list_init(&last.in_list);
    list_push_back(&from, &last.in_list);
    list_move_all(&to, &from);
    assert_int_equal(order(&to), 1012347);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_keep_their_order),
        cmocka_unit_test(test_a_removed_item_knows_that_it_is_in_no_list),
        cmocka_unit_test(test_an_empty_list_has_no_ends),
        cmocka_unit_test(test_an_item_may_remove_itself_during_the_walk),
        cmocka_unit_test(test_moving_all_leaves_the_source_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
