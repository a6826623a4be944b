#include "base/unit.h"

#include "weir/app/descriptors.h"

static const struct addr NOWHERE[2];

static void test_clients_get_what_links_and_the_reserve_leave(void **state)
{
    struct addr endpoints[2] = {NOWHERE[0], NOWHERE[1]};
    struct conf_processor processors[] = {
        {.name = "acme", .endpoints = endpoints, .endpoint_count = 2, .connections = 100, .concurrency = 512},
        {.name = "named", .host = "api.example", .connections = 256, .concurrency = 512},
        {.name = "narrow", .host = "api.example", .connections = 256, .concurrency = 10},
        {.name = "numeric", .host = "10.0.0.1", .connections = 30, .concurrency = 512},
    };
    const struct conf conf = {.processors = processors, .processor_count = 4};
    struct descriptors_plan plan;
    char why[512] = "";
    (void)state;
    assert_true(descriptors_share(&plan, 4096, &conf, why, sizeof(why)));
    assert_int_equal(plan.links, 200 + 512 + 256 + 30);
    assert_int_equal(plan.clients_max, 4096 - 998 - DESCRIPTORS_RESERVE_COUNT);
    assert_string_equal(why, "");
}

static void test_links_that_leave_no_clients_refuse_the_start(void **state)
{
    struct conf_processor processor = {.name = "acme", .host = "api.example", .connections = 1000, .concurrency = 10};
    const struct conf conf = {.processors = &processor, .processor_count = 1};
    struct descriptors_plan plan;
    char why[512];
    (void)state;
    assert_false(descriptors_share(&plan, 1024, &conf, why, sizeof(why)));
    assert_non_null(strstr(why, "1024 descriptors are too few"));
    assert_non_null(strstr(why, "links take 1000"));
    assert_true(descriptors_share(&plan, 1000 + DESCRIPTORS_RESERVE_COUNT + DESCRIPTORS_CLIENTS_MIN, &conf, why, sizeof(why)));
    assert_int_equal(plan.clients_max, DESCRIPTORS_CLIENTS_MIN);
}

static void test_listeners_must_fit_together(void **state)
{
    struct conf_listener listeners[] = {{.name = "public", .connections = 600}, {.name = "inner", .connections = 400}};
    const struct conf conf = {.listeners = listeners, .listener_count = 2};
    struct descriptors_plan plan;
    char why[512];
    (void)state;
    assert_true(descriptors_share(&plan, 1000 + DESCRIPTORS_RESERVE_COUNT, &conf, why, sizeof(why)));
    assert_false(descriptors_share(&plan, 999 + DESCRIPTORS_RESERVE_COUNT, &conf, why, sizeof(why)));
    assert_non_null(strstr(why, "listener 'inner'"));
    assert_non_null(strstr(why, "limits.connections 400 does not fit"));
    assert_non_null(strstr(why, "leave 999 clients"));
}

static void test_a_listener_without_a_number_takes_what_is_there(void **state)
{
    struct conf_listener listener = {.name = "public"};
    const struct conf conf = {.listeners = &listener, .listener_count = 1};
    struct descriptors_plan plan;
    char why[512];
    (void)state;
    assert_true(descriptors_share(&plan, DESCRIPTORS_RESERVE_COUNT + DESCRIPTORS_CLIENTS_MIN, &conf, why, sizeof(why)));
}

static void test_the_descriptor_limit_is_raised_to_what_is_allowed(void **state)
{
    struct rlimit limit, low;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    uint64_t got = descriptors_raise();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &low), 0);
    assert_true(got > 64 || limit.rlim_max == 64);
    assert_int_equal(got, low.rlim_cur);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_get_what_links_and_the_reserve_leave),
        cmocka_unit_test(test_links_that_leave_no_clients_refuse_the_start),
        cmocka_unit_test(test_listeners_must_fit_together),
        cmocka_unit_test(test_a_listener_without_a_number_takes_what_is_there),
        cmocka_unit_test(test_the_descriptor_limit_is_raised_to_what_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
