#include "io_support.h"

#include "resolve.c" /* what answers say, without waiting for the next one */

struct answer {
    struct resolver *resolver;
    int calls;
    enum err err;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    int count;
    char why[128];
    bool close_in_call;
};

static void told(void *owner, enum err err, const struct addr *addrs, int count, const char *why)
{
    struct answer *answer = owner;

    answer->calls++;
    answer->err = err;
    answer->count = count;
    if (count > 0) {
        memcpy(answer->addrs, addrs, (size_t)count * sizeof(addrs[0]));
    }
    (void)bytes_to_text(bytes_from_text(why), answer->why, sizeof(answer->why));
    if (answer->close_in_call) {
        resolver_close(answer->resolver);
        answer->resolver = NULL;
    }
}

static void test_a_numeric_host_answers_at_the_end_of_the_turn_and_leaves_nothing_to_wait_for(void **state)
{
    struct loop *loop = loop_open(0);
    struct answer answer = {0};
    char text[ADDR_TEXT_BYTES];

    (void)state;
    answer.resolver = resolver_open(loop, "10.1.2.3", 8443, told, &answer);
    assert_non_null(answer.resolver);
    assert_int_equal(answer.calls, 0);
    loop_run(loop); /* no thread, no timer: it returns */
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.err, ERR_OK);
    assert_int_equal(answer.count, 1);
    assert_string_equal(addr_format(&answer.addrs[0], text), "10.1.2.3:8443");
    resolver_close(answer.resolver);
    assert_true(loop_close(loop));
}

static void test_a_numeric_ipv6_host_too(void **state)
{
    struct loop *loop = loop_open(0);
    struct answer answer = {0};
    char text[ADDR_TEXT_BYTES];

    (void)state;
    answer.resolver = resolver_open(loop, "::1", 80, told, &answer);
    loop_run(loop);
    assert_string_equal(addr_format(&answer.addrs[0], text), "[::1]:80");
    resolver_close(answer.resolver);
    assert_true(loop_close(loop));
}

static void test_a_name_is_resolved_with_its_port_sorted_and_without_doubles(void **state)
{
    struct loop *loop = loop_open(0);
    struct answer answer = {0};

    (void)state;
    answer.resolver = resolver_open(loop, "localhost", 8080, told, &answer);
    UNTIL(loop, answer.calls == 1);
    assert_int_equal(answer.err, ERR_OK);
    assert_true(answer.count >= 1);
    for (int i = 0; i < answer.count; i++) {
        assert_int_equal(addr_port(&answer.addrs[i]), 8080);
        for (int j = 0; j < i; j++) {
            assert_false(addr_equal(&answer.addrs[i], &answer.addrs[j]));
        }
    }
    resolver_close(answer.resolver);
    assert_true(loop_close(loop));
}

static void test_a_name_that_does_not_resolve_is_told_once_in_words(void **state)
{
    struct loop *loop = loop_open(0);
    struct answer answer = {0};

    (void)state;
    /* A label of 64 bytes is no name: no server needs to be asked. */
    answer.resolver = resolver_open(loop, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid",
                                    80, told, &answer);
    UNTIL(loop, answer.calls == 1);
    assert_int_equal(answer.err, ERR_DNS);
    assert_int_equal(answer.count, 0);
    assert_string_not_equal(answer.why, "");
    resolver_close(answer.resolver);
    assert_true(loop_close(loop));
}

static void test_a_name_that_fails_later_is_told_once_and_so_is_that_it_is_back(void **state)
{
    struct loop *loop = loop_open(0);
    struct answer answer = {0};
    struct addr addr;

    (void)state;
    assert_true(addr_parse_host(BYTES("10.1.2.3"), 80, &addr));
    answer.resolver = resolver_open(loop, "localhost", 80, told, &answer);
    UNTIL(loop, answer.calls == 1);
    on_good(answer.resolver, &addr, 1);
    assert_int_equal(answer.calls, 2);
    on_good(answer.resolver, &addr, 1);
    assert_int_equal(answer.calls, 2); /* the same is no news */
    for (int spell = 0; spell < 2; spell++) {
        on_bad(answer.resolver, "nobody answers");
        on_bad(answer.resolver, "nobody answers");
        assert_int_equal(answer.calls, 3 + 2 * spell);
        assert_int_equal(answer.err, ERR_DNS);
        assert_string_equal(answer.why, "nobody answers");
        on_good(answer.resolver, &addr, 1);
        on_good(answer.resolver, &addr, 1);
        assert_int_equal(answer.calls, 4 + 2 * spell);
        assert_int_equal(answer.err, ERR_OK);
        assert_int_equal(answer.count, 1);
        assert_true(addr_equal(&answer.addrs[0], &addr));
    }
    resolver_close(answer.resolver);
    assert_true(loop_close(loop));
}

static void test_a_resolver_closed_while_it_looks_up_is_not_heard_of_again(void **state)
{
    struct loop *loop = loop_open(0);
    struct answer answer = {0};

    (void)state;
    answer.resolver = resolver_open(loop, "localhost", 80, told, &answer);
    resolver_close(answer.resolver);
    loop_run(loop);
    assert_int_equal(answer.calls, 0);
    assert_true(loop_close(loop));
}

static void test_a_resolver_may_be_closed_by_its_own_answer(void **state)
{
    struct loop *loop = loop_open(0);
    struct answer by_name = {.close_in_call = true}, numeric = {.close_in_call = true};

    (void)state;
    by_name.resolver = resolver_open(loop, "localhost", 80, told, &by_name);
    numeric.resolver = resolver_open(loop, "127.0.0.1", 80, told, &numeric);
    loop_run(loop);
    assert_int_equal(by_name.calls, 1);
    assert_int_equal(numeric.calls, 1);
    assert_true(loop_close(loop));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_numeric_host_answers_at_the_end_of_the_turn_and_leaves_nothing_to_wait_for),
        cmocka_unit_test(test_a_numeric_ipv6_host_too),
        cmocka_unit_test(test_a_name_is_resolved_with_its_port_sorted_and_without_doubles),
        cmocka_unit_test(test_a_name_that_does_not_resolve_is_told_once_in_words),
        cmocka_unit_test(test_a_name_that_fails_later_is_told_once_and_so_is_that_it_is_back),
        cmocka_unit_test(test_a_resolver_closed_while_it_looks_up_is_not_heard_of_again),
        cmocka_unit_test(test_a_resolver_may_be_closed_by_its_own_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
