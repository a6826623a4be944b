#include "base/unit.h"

#include "weir/app/changes.h"

static struct addr_listen at(const char *text)
{
    struct addr_listen listen;
    assert_true(addr_listen_parse(bytes_from_text(text), &listen));
    return listen;
}

static const char *text_between(const struct conf *before, const struct conf *after)
{
    static char text[256];
    struct changes changes;
    changes_between(&changes, before, after);
    return changes_text(&changes, text, sizeof(text));
}

static void test_the_same_file_again_keeps_its_listeners_and_changes_nothing(void **state)
{
    struct conf_listener listeners[] = {{.name = "a", .address = at("127.0.0.1:1")},
                                        {.name = "b", .address = at("unix:/b")}};
    struct conf_processor processor = {.name = "acme", .url = "https://acme"};
    struct conf_route route = {.name = "all"};
    const struct conf conf = {.listeners = listeners,
                              .listener_count = 2,
                              .processors = &processor,
                              .processor_count = 1,
                              .routes = &route,
                              .route_count = 1};
    (void)state;
    assert_string_equal(text_between(&conf, &conf), "2 listeners kept");
}

static void test_routes_are_compared_by_name(void **state)
{
    struct conf_processor processors[] = {{.name = "acme"}, {.name = "beta"}};
    struct conf_route before_routes[] = {{.name = "pay", .path = "/pay"}, {.name = "old"}, {.name = "all"}};
    struct conf_route after_routes[] = {
        {.name = "pay", .path = "/pay/", .path_is_prefix = true}, {.name = "new"}, {.name = "all", .processor = 1}};
    const struct conf before = {
        .processors = processors, .processor_count = 2, .routes = before_routes, .route_count = 3};
    const struct conf after = {.processors = processors, .processor_count = 2, .routes = after_routes, .route_count = 3};
    (void)state;
    assert_string_equal(text_between(&before, &after), "2 routes changed, 1 route added, 1 route removed");
}

static void test_a_processor_that_only_moved_in_the_file_changes_no_route(void **state)
{
    struct conf_processor before_processors[] = {{.name = "acme"}, {.name = "beta"}};
    struct conf_processor after_processors[] = {{.name = "beta"}, {.name = "acme"}};
    struct conf_route before_route = {.name = "all", .processor = 0};
    struct conf_route after_route = {.name = "all", .processor = 1};
    const struct conf before = {
        .processors = before_processors, .processor_count = 2, .routes = &before_route, .route_count = 1};
    const struct conf after = {
        .processors = after_processors, .processor_count = 2, .routes = &after_route, .route_count = 1};
    (void)state;
    assert_string_equal(text_between(&before, &after), "");
}

static void test_another_order_of_routes_is_said(void **state)
{
    struct conf_processor processor = {.name = "acme"};
    struct conf_route before_routes[] = {{.name = "a"}, {.name = "b"}};
    struct conf_route after_routes[] = {{.name = "b"}, {.name = "a"}};
    const struct conf before = {.processors = &processor, .routes = before_routes, .route_count = 2};
    const struct conf after = {.processors = &processor, .routes = after_routes, .route_count = 2};
    (void)state;
    assert_string_equal(text_between(&before, &after), "routes in another order");
}

static void test_endpoints_and_timeouts_make_a_processor_another(void **state)
{
    struct addr one[1], two[1];
    assert_true(addr_parse(BYTES("10.0.0.1:443"), &one[0]));
    assert_true(addr_parse(BYTES("10.0.0.2:443"), &two[0]));
    struct conf_processor before_processors[] = {{.name = "acme", .endpoints = one, .endpoint_count = 1},
                                                 {.name = "beta", .total_ms = 1000}};
    struct conf_processor after_processors[] = {{.name = "acme", .endpoints = two, .endpoint_count = 1},
                                                {.name = "beta", .total_ms = 2000}};
    const struct conf before = {.processors = before_processors, .processor_count = 2};
    const struct conf after = {.processors = after_processors, .processor_count = 2};
    (void)state;
    assert_string_equal(text_between(&before, &after), "2 processors changed");
}

static void test_what_a_restart_needs_is_said(void **state)
{
    const struct conf before = {.monitor_present = true, .monitor = at("127.0.0.1:1"), .admin_socket = "/a"};
    const struct conf after = {.monitor_present = true, .monitor = at("127.0.0.1:2"), .admin_socket = NULL};
    (void)state;
    assert_string_equal(text_between(&before, &after),
                        "monitor.address changes at the next start, admin.socket changes at the next start");
}

static void test_a_listener_that_moves_is_closed_and_opened(void **state)
{
    struct conf_listener before_listener = {.name = "a", .address = at("127.0.0.1:1")};
    struct conf_listener after_listener = {.name = "a", .address = at("127.0.0.1:2")};
    const struct conf before = {.listeners = &before_listener, .listener_count = 1};
    const struct conf after = {.listeners = &after_listener, .listener_count = 1};
    (void)state;
    assert_string_equal(text_between(&before, &after), "1 listener opened, 1 listener closed");
    assert_string_equal(text_between(NULL, &after), "1 listener opened");
}

static void test_a_listener_under_another_name_is_kept_and_renamed(void **state)
{
    struct conf_listener before_listeners[] = {{.name = "a", .address = at("127.0.0.1:1")},
                                               {.name = "b", .address = at("127.0.0.1:2")}};
    struct conf_listener after_listeners[] = {{.name = "c", .address = at("127.0.0.1:1")},
                                              {.name = "b", .address = at("127.0.0.1:2")}};
    const struct conf before = {.listeners = before_listeners, .listener_count = 2};
    const struct conf after = {.listeners = after_listeners, .listener_count = 2};
    (void)state;
    assert_string_equal(text_between(&before, &after), "2 listeners kept, 1 listener renamed");
}

static void test_a_small_text_is_cut_not_overrun(void **state)
{
    const struct changes changes = {.routes_changed = 3, .listeners_kept = 2};
    char text[12];
    (void)state;
    assert_string_equal(changes_text(&changes, text, sizeof(text)), "3 routes ch");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_file_again_keeps_its_listeners_and_changes_nothing),
        cmocka_unit_test(test_routes_are_compared_by_name),
        cmocka_unit_test(test_a_processor_that_only_moved_in_the_file_changes_no_route),
        cmocka_unit_test(test_another_order_of_routes_is_said),
        cmocka_unit_test(test_endpoints_and_timeouts_make_a_processor_another),
        cmocka_unit_test(test_what_a_restart_needs_is_said),
        cmocka_unit_test(test_a_listener_that_moves_is_closed_and_opened),
        cmocka_unit_test(test_a_listener_under_another_name_is_kept_and_renamed),
        cmocka_unit_test(test_a_small_text_is_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
