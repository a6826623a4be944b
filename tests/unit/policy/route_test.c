/* Routes: first match wins, on the bytes as sent. */
#include "base/unit.h"

#include "weir/policy/route.h"

static const struct route_match rows[] = {
    {.host = BYTES("pay.example.com"), .method = BYTES("POST"), .path = BYTES("/v1/payments")},
    {.path = BYTES("/v1/"), .path_is_prefix = true},
    {.host = BYTES("other.example.com")},
    {.method = BYTES("GET"), .path = BYTES("/"), .path_is_prefix = true},
};

static int find(const char *host, const char *method, const char *path)
{
    return route_find(rows, (int)ARRAY_COUNT(rows), bytes_from_text(host), bytes_from_text(method),
                      bytes_from_text(path));
}

static void test_the_first_match_wins(void **state)
{
    (void)state;
    assert_int_equal(find("pay.example.com", "POST", "/v1/payments"), 0);
    assert_int_equal(find("pay.example.com", "GET", "/v1/payments"), 1);
    assert_int_equal(find("other.example.com", "POST", "/v2"), 2);
    assert_int_equal(find("other.example.com", "POST", "/v1/x"), 1);
}

static void test_an_exact_path_takes_nothing_longer_or_shorter(void **state)
{
    (void)state;
    assert_int_equal(find("pay.example.com", "POST", "/v1/payments/1"), 1);
    assert_int_equal(find("pay.example.com", "POST", "/v1"), -1);
    assert_int_equal(find("pay.example.com", "GET", "/v1"), 3);
}

static void test_hosts_match_in_any_case_and_paths_and_methods_do_not(void **state)
{
    (void)state;
    assert_int_equal(find("PAY.Example.com", "POST", "/v1/payments"), 0);
    assert_int_equal(find("pay.example.com", "POST", "/V1/payments"), -1);
    assert_int_equal(find("pay.example.com", "get", "/x"), -1);
}

static void test_escapes_are_not_decoded_for_matching(void **state)
{
    (void)state;
    assert_int_equal(find("pay.example.com", "POST", "/v1/paymen%74s"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_match_wins),
        cmocka_unit_test(test_an_exact_path_takes_nothing_longer_or_shorter),
        cmocka_unit_test(test_hosts_match_in_any_case_and_paths_and_methods_do_not),
        cmocka_unit_test(test_escapes_are_not_decoded_for_matching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
