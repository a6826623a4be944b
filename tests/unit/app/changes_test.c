#include "base/unit.h"

#include "weir/app/changes.h"

/* Processors have one of these: the first unless a test says otherwise. */
static struct conf_profile profiles[] = {{.name = "generic"}, {.name = "stripe", .deduplicates = true}};

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
                              .profiles = profiles,
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
        .profiles = profiles, .processors = processors, .processor_count = 2, .routes = before_routes, .route_count = 3};
    const struct conf after = {.profiles = profiles, .processors = processors, .processor_count = 2, .routes = after_routes, .route_count = 3};
    (void)state;
    assert_string_equal(text_between(&before, &after), "2 routes changed, 1 route added, 1 route removed");
}

static void test_a_processor_that_only_moved_in_the_file_changes_no_route(void **state)
{
    struct conf_processor before_processors[] = {{.name = "acme"}, {.name = "beta"}};
    struct conf_processor after_processors[] = {{.name = "beta"}, {.name = "acme"}};
    struct conf_route before_route = {.name = "all", .processor = 0, .failover = -1};
    struct conf_route after_route = {.name = "all", .processor = 1, .failover = -1};
    const struct conf before = {
        .profiles = profiles, .processors = before_processors, .processor_count = 2, .routes = &before_route, .route_count = 1};
    const struct conf after = {
        .profiles = profiles, .processors = after_processors, .processor_count = 2, .routes = &after_route, .route_count = 1};
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
    const struct conf before = {.profiles = profiles, .processors = before_processors, .processor_count = 2};
    const struct conf after = {.profiles = profiles, .processors = after_processors, .processor_count = 2};
    (void)state;
    assert_string_equal(text_between(&before, &after), "2 processors changed");
}

static const char *text_of_processors(struct conf_processor before_processor, struct conf_profile *before_profiles,
                                      struct conf_processor after_processor, struct conf_profile *after_profiles)
{
    before_processor.name = after_processor.name = "acme";
    const struct conf before = {.profiles = before_profiles, .processors = &before_processor, .processor_count = 1};
    const struct conf after = {.profiles = after_profiles, .processors = &after_processor, .processor_count = 1};
    return text_between(&before, &after);
}

static void test_a_profile_counts_by_what_it_says(void **state)
{
    struct conf_codes codes[] = {{200, 299}, {402, 402}};
    const char *fields[] = {"Stripe-Account"}, *words[] = {"IN_PROGRESS"};
    struct conf_retention retentions[] = {{.keep_ms = 1000}};
    struct conf_profile one = {.name = "mine", .final = codes, .final_count = 1};
    struct conf_profile moved[] = {{.name = "generic"}, one};
    const struct conf_profile others[] = {
        {.name = "other", .final = codes, .final_count = 1},
        {.name = "mine", .final = codes, .final_count = 2},
        {.name = "mine", .final = codes + 1, .final_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .not_executed = codes, .not_executed_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .busy = codes, .busy_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .deduplicates = true},
        {.name = "mine", .final = codes, .final_count = 1, .key = {.at = "K"}},
        {.name = "mine", .final = codes, .final_count = 1, .key = {.place = CONF_KEY_JSON}},
        {.name = "mine", .final = codes, .final_count = 1, .key_bytes_min = 1},
        {.name = "mine", .final = codes, .final_count = 1, .key_bytes_max = 1},
        {.name = "mine", .final = codes, .final_count = 1, .key_chars = "a"},
        {.name = "mine", .final = codes, .final_count = 1, .keys_put = true},
        {.name = "mine", .final = codes, .final_count = 1, .keys_delete = true},
        {.name = "mine", .final = codes, .final_count = 1, .retentions = retentions, .retention_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .not_executed_field = "A: b"},
        {.name = "mine", .final = codes, .final_count = 1, .unproven_words = words, .unproven_word_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .print_fields = fields, .print_field_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .kept_fields = fields, .kept_field_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .replay_marker = "A: b"},
        {.name = "mine", .final = codes, .final_count = 1, .errors = CONF_ERRORS_ADYEN},
        {.name = "mine", .final = codes, .final_count = 1, .declined = codes, .declined_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .declined_words = words, .declined_word_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .test_keys = words, .test_key_count = 1},
        {.name = "mine", .final = codes, .final_count = 1, .should_retry = true},
        {.name = "mine", .final = codes, .final_count = 1, .key_reused_status = 400},
        {.name = "mine", .final = codes, .final_count = 1, .key_in_progress_status = 400},
        {.name = "mine", .final = codes, .final_count = 1, .outcome_unknown_status = 400},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        struct conf_profile other = others[i];
        if (strcmp(text_of_processors((struct conf_processor){0}, &one, (struct conf_processor){0}, &other),
                   "1 processor changed") != 0) {
            fail_msg("row %zu makes no difference", i);
        }
    }
    assert_string_equal(text_of_processors((struct conf_processor){.profile = 0}, &one,
                                           (struct conf_processor){.profile = 1}, moved), "");
}

static void test_listening_on_for_late_answers_makes_a_processor_another(void **state)
{
    (void)state;
    assert_string_equal(text_of_processors((struct conf_processor){.late_ms = 1}, profiles,
                                           (struct conf_processor){.late_ms = 2}, profiles), "1 processor changed");
    assert_string_equal(text_of_processors((struct conf_processor){.profile = 0}, profiles,
                                           (struct conf_processor){.profile = 1}, profiles), "1 processor changed");
}

static void test_what_is_done_about_a_sick_processor_makes_it_another(void **state)
{
    const struct conf_processor one = {.health = {.type = CONF_HEALTH_HTTP, .path = "/up"}};
    struct conf_processor other;
    (void)state;
#define DIFFERS(member, value)                                                                                         \
    do {                                                                                                               \
        other = one;                                                                                                   \
        other.member = value;                                                                                          \
        assert_string_equal(text_of_processors(one, profiles, other, profiles), "1 processor changed");                \
    } while (0)
    DIFFERS(health.type, CONF_HEALTH_TCP);
    DIFFERS(health.path, "/ready");
    DIFFERS(health.status_min, 1);
    DIFFERS(health.status_max, 1);
    DIFFERS(health.every_ms, 1);
    DIFFERS(health.timeout_ms, 1);
    DIFFERS(health.down_after, 1);
    DIFFERS(health.up_after, 1);
    DIFFERS(breaker.window_ms, 1);
    DIFFERS(breaker.min_requests, 1);
    DIFFERS(breaker.open_at_permille, 1);
    DIFFERS(breaker.slow_ms, 1);
    DIFFERS(breaker.slow_at_permille, 1);
    DIFFERS(breaker.open_for_ms, 1);
    DIFFERS(breaker.open_max_ms, 1);
#undef DIFFERS
    assert_string_equal(text_of_processors(one, profiles, one, profiles), "");
}

static void test_weights_count_as_what_they_come_to(void **state)
{
    struct addr endpoints[2];
    uint32_t alike[] = {1, 1}, differing[] = {1, 3};
    assert_true(addr_parse(BYTES("10.0.0.1:443"), &endpoints[0]) && addr_parse(BYTES("10.0.0.2:443"), &endpoints[1]));
    const struct conf_processor none = {.endpoints = endpoints, .endpoint_count = 2};
    struct conf_processor one = none, other = none;
    (void)state;
    one.weights = alike;
    other.weights = differing;
    assert_string_equal(text_of_processors(none, profiles, one, profiles), "");
    assert_string_equal(text_of_processors(none, profiles, other, profiles), "1 processor changed");
    assert_string_equal(text_of_processors(other, profiles, one, profiles), "1 processor changed");
    assert_string_equal(text_of_processors(other, profiles, other, profiles), "");
}

static void test_who_takes_over_makes_a_route_another(void **state)
{
    struct conf_processor processors[] = {{.name = "acme"}, {.name = "beta"}, {.name = "gamma"}};
    struct conf_processor moved[] = {{.name = "acme"}, {.name = "gamma"}, {.name = "beta"}};
    struct conf_route none = {.name = "all", .failover = -1}, beta = {.name = "all", .failover = 1};
    struct conf_route gamma = {.name = "all", .failover = 2};
    const struct conf to_nobody = {.profiles = profiles, .processors = processors, .processor_count = 3, .routes = &none, .route_count = 1};
    const struct conf to_beta = {.profiles = profiles, .processors = processors, .processor_count = 3, .routes = &beta, .route_count = 1};
    const struct conf to_gamma = {.profiles = profiles, .processors = processors, .processor_count = 3, .routes = &gamma, .route_count = 1};
    const struct conf to_beta_moved = {.profiles = profiles, .processors = moved, .processor_count = 3, .routes = &gamma, .route_count = 1};
    (void)state;
    assert_string_equal(text_between(&to_nobody, &to_nobody), "");
    assert_string_equal(text_between(&to_nobody, &to_beta), "1 route changed");
    assert_string_equal(text_between(&to_beta, &to_gamma), "1 route changed");
    assert_string_equal(text_between(&to_beta, &to_nobody), "1 route changed");
    assert_string_equal(text_between(&to_beta, &to_beta_moved), "");
}

static const char *text_of_idempotency(struct conf_idempotency before_one, struct conf_idempotency after_one)
{
    struct conf_processor processor = {.name = "acme"};
    struct conf_route before_route = {.name = "all", .idempotency = before_one};
    struct conf_route after_route = {.name = "all", .idempotency = after_one};
    const struct conf before = {.profiles = profiles, .processors = &processor, .routes = &before_route, .route_count = 1};
    const struct conf after = {.profiles = profiles, .processors = &processor, .routes = &after_route, .route_count = 1};
    return text_between(&before, &after);
}

static void test_idempotency_makes_a_route_another(void **state)
{
    const struct conf_idempotency one = {.on = true, .key = {.at = "K"}};
    const struct conf_idempotency others[] = {
        {.on = false, .key = {.at = "K"}},
        {.on = true, .key = {.at = "L"}},
        {.on = true, .key = {.place = CONF_KEY_JSON, .at = "K"}},
        {.on = true, .key = {.at = "K"}, .required = true},
        {.on = true, .key = {.at = "K"}, .mode = CONF_MODE_SINGLE_SHOT},
        {.on = true, .key = {.at = "K"}, .upstream_key = CONF_UPSTREAM_KEY_DERIVED},
        {.on = true, .key = {.at = "K"}, .keep_ms = 1},
        {.on = true, .key = {.at = "K"}, .keep_receipt_ms = 1},
        {.on = true, .key = {.at = "K"}, .keep_unknown_ms = 1},
        {.on = true, .key = {.at = "K"}, .wait_ms = 1},
        {.on = true, .key = {.at = "K"}, .pass_when_down = true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        if (strcmp(text_of_idempotency(one, others[i]), "1 route changed") != 0) {
            fail_msg("row %zu makes no difference", i);
        }
    }
    assert_string_equal(text_of_idempotency(one, one), "");
    /* What a route would do that does nothing is nothing to tell. */
    assert_string_equal(text_of_idempotency((struct conf_idempotency){.wait_ms = 1}, (struct conf_idempotency){0}), "");
}

static const char *text_of_limits(struct conf_limit *before_limits, int before_count, struct conf_limit *after_limits,
                                  int after_count)
{
    const struct conf before = {.limits = before_limits, .limit_count = before_count};
    const struct conf after = {.limits = after_limits, .limit_count = after_count};
    return text_between(&before, &after);
}

static void test_limits_are_compared_by_name(void **state)
{
    struct conf_limit before[] = {{.name = "writes", .burst = 1}, {.name = "old"}, {.name = "same"}, {.name = "all"}};
    struct conf_limit after[] = {{.name = "same"}, {.name = "writes", .burst = 2}, {.name = "new"},
                                 {.name = "all", .concurrent = 5}, {.name = "newer"}};
    (void)state;
    assert_string_equal(text_of_limits(before, 4, after, 5), "2 limits changed, 2 limits added, 1 limit removed");
    assert_string_equal(text_of_limits(before, 0, after, 1), "1 limit added");
    assert_string_equal(text_of_limits(before, 4, before, 4), "");
}

static void test_a_limit_counts_by_what_it_says(void **state)
{
    struct conf_limit_part tenant = {.kind = CONF_PART_TENANT}, address = {.kind = CONF_PART_CLIENT_IP};
    struct conf_limit_part one_header = {.kind = CONF_PART_HEADER, .header = "A"};
    struct conf_limit_part other_header = {.kind = CONF_PART_HEADER, .header = "B"};
    struct conf_limit_tier gold = {.name = "gold", .burst = 1}, more = {.name = "gold", .burst = 2};
    struct conf_limit_tier faster = {.name = "gold", .burst = 1, .rate = {1, 1}};
    struct conf_limit_tier wider = {.name = "gold", .burst = 1, .concurrent = 1}, silver = {.name = "silver", .burst = 1};
    struct conf_limit one = {.name = "a", .parts = &tenant, .part_count = 1, .tiers = &gold, .tier_count = 1};
    struct conf_limit by_header = one, other;
    (void)state;
#define DIFFERS(from, member, value)                                                                                   \
    do {                                                                                                               \
        other = from;                                                                                                  \
        other.member = value;                                                                                          \
        assert_string_equal(text_of_limits(&from, 1, &other, 1), "1 limit changed");                                   \
    } while (0)
    DIFFERS(one, parts, &address);
    DIFFERS(one, part_count, 0);
    DIFFERS(one, rate.tokens, 1);
    DIFFERS(one, rate.per_us, 1);
    DIFFERS(one, burst, 1);
    DIFFERS(one, concurrent, 1);
    DIFFERS(one, mode, CONF_LIMIT_SHADOW);
    DIFFERS(one, store_down, CONF_LIMIT_CLOSED);
    DIFFERS(one, charge_on, CONF_CHARGE_ON_DECLINE);
    DIFFERS(one, tier_count, 0);
    DIFFERS(one, tiers, &more);
    DIFFERS(one, tiers, &faster);
    DIFFERS(one, tiers, &wider);
    DIFFERS(one, tiers, &silver);
    by_header.parts = &one_header;
    DIFFERS(by_header, parts, &other_header);
#undef DIFFERS
}

static const char *text_of_routes(struct conf_route before_route, struct conf_limit *before_limits,
                                  struct conf_route after_route, struct conf_limit *after_limits)
{
    struct conf_processor processor = {.name = "acme"};
    before_route.name = after_route.name = "all";
    const struct conf before = {.profiles = profiles, .processors = &processor, .routes = &before_route,
                                .route_count = 1, .limits = before_limits, .limit_count = 2};
    const struct conf after = {.profiles = profiles, .processors = &processor, .routes = &after_route,
                               .route_count = 1, .limits = after_limits, .limit_count = 2};
    return text_between(&before, &after);
}

static void test_limits_and_class_make_a_route_another(void **state)
{
    struct conf_limit limits[] = {{.name = "a"}, {.name = "b"}}, moved[] = {{.name = "b"}, {.name = "a"}};
    int first[] = {0, 1}, second[] = {1, 0};
    const struct conf_route both = {.limits = first, .limit_count = 2}, one = {.limits = first, .limit_count = 1};
    const struct conf_route swapped = {.limits = second, .limit_count = 2};
    const struct conf_route list = {.class_written = true, .class = CONF_CLASS_LIST};
    const struct conf_route test = {.class_written = true, .class = CONF_CLASS_TEST};
    (void)state;
    assert_string_equal(text_of_routes(both, limits, one, limits), "1 route changed");
    assert_string_equal(text_of_routes(both, limits, swapped, limits), "1 route changed");
    /* Where a limit stands in the file is nothing. */
    assert_string_equal(text_of_routes(both, limits, swapped, moved), "");
    assert_string_equal(text_of_routes(list, limits, test, limits), "1 route changed");
    assert_string_equal(text_of_routes(list, limits, (struct conf_route){.class = CONF_CLASS_LIST}, limits), "1 route changed");
    assert_string_equal(text_of_routes((struct conf_route){.class = CONF_CLASS_LIST}, limits, (struct conf_route){0}, limits), "");
}

static void test_other_tenants_are_said(void **state)
{
    const struct conf_tenants others[] = {
        {.by = CONF_TENANTS_BY_CLIENT_IP}, {.header = "X-API-Key"}, {.refuse_unknown = true}, {.known_file = "/t"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        const struct conf before = {0}, after = {.tenants = others[i]};
        assert_string_equal(text_between(&before, &after), "tenants changed");
    }
}

static const char *text_of_stores(struct conf_store before_store, struct conf_store after_store)
{
    const struct conf before = {.store_needed = true, .store = before_store};
    const struct conf after = {.store_needed = true, .store = after_store};
    return text_between(&before, &after);
}

static void test_another_store_waits_for_a_restart(void **state)
{
    static const char says[] = "store changes at the next start";
    struct conf_server one = {.host = "a", .port = 1}, two[] = {{.host = "b", .port = 1}, {.host = "a", .port = 2},
                                                                {.host = "a", .port = 1, .tls = true}};
    const struct conf_store embedded = {.path = "/a", .secret_file = "/s"};
    const struct conf_store redis = {.type = CONF_STORE_REDIS, .servers = &one, .server_count = 1, .secret_file = "/s"};
    const struct conf_store embedded_others[] = {
        redis, {.path = "/b", .secret_file = "/s"}, {.path = "/a", .secret_file = "/t"},
        {.path = "/a", .secret_file = "/s", .size_bytes = 1}};
    struct conf_store other;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(embedded_others); i++) {
        assert_string_equal(text_of_stores(embedded, embedded_others[i]), says);
    }
    for (size_t i = 0; i < ARRAY_COUNT(two); i++) {
        other = redis;
        other.servers = &two[i];
        assert_string_equal(text_of_stores(redis, other), says);
    }
#define DIFFERS(member, value)                                                                                         \
    do {                                                                                                               \
        other = redis;                                                                                                 \
        other.member = value;                                                                                          \
        assert_string_equal(text_of_stores(redis, other), says);                                                       \
    } while (0)
    DIFFERS(server_count, 0);
    DIFFERS(username, "weir");
    DIFFERS(password_file, "/p");
    DIFFERS(tls_verify, true);
    DIFFERS(tls_ca, "/ca");
    DIFFERS(tls_cert, "/c");
    DIFFERS(tls_key, "/k");
    DIFFERS(tls_server_name, "n");
#undef DIFFERS
}

static void test_what_a_running_store_takes_over_needs_no_restart(void **state)
{
    const struct conf_store store = {.path = "/a", .begin_timeout_ms = 1};
    const struct conf_store other = {.path = "/a", .begin_timeout_ms = 2, .single_machine = true, .written = true};
    const struct conf closed = {.store = {.path = "/b"}};
    const struct conf open = {.store_needed = true, .store = store};
    (void)state;
    assert_string_equal(text_of_stores(store, other), "");
    /* The first one that is needed is opened as it is now. */
    assert_string_equal(text_between(&closed, &open), "");
    assert_string_equal(text_between(&open, &closed), "");
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

static void test_a_listener_whose_connections_count_elsewhere_is_said(void **state)
{
    int index[] = {0};
    struct conf_limit limits[] = {{.name = "a"}};
    struct conf_listener bare = {.name = "in", .address = at("127.0.0.1:1")}, limited = bare;
    const struct conf before = {.limits = limits, .limit_count = 1, .listeners = &bare, .listener_count = 1};
    const struct conf after = {.limits = limits, .limit_count = 1, .listeners = &limited, .listener_count = 1};
    (void)state;
    limited.accept_limits = index;
    limited.accept_limit_count = 1;
    assert_string_equal(text_between(&before, &after), "1 listener kept, 1 listener under other limits");
    assert_string_equal(text_between(&after, &after), "1 listener kept");
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
        cmocka_unit_test(test_a_profile_counts_by_what_it_says),
        cmocka_unit_test(test_listening_on_for_late_answers_makes_a_processor_another),
        cmocka_unit_test(test_what_is_done_about_a_sick_processor_makes_it_another),
        cmocka_unit_test(test_weights_count_as_what_they_come_to),
        cmocka_unit_test(test_who_takes_over_makes_a_route_another),
        cmocka_unit_test(test_idempotency_makes_a_route_another),
        cmocka_unit_test(test_limits_are_compared_by_name),
        cmocka_unit_test(test_a_limit_counts_by_what_it_says),
        cmocka_unit_test(test_limits_and_class_make_a_route_another),
        cmocka_unit_test(test_other_tenants_are_said),
        cmocka_unit_test(test_another_store_waits_for_a_restart),
        cmocka_unit_test(test_what_a_running_store_takes_over_needs_no_restart),
        cmocka_unit_test(test_what_a_restart_needs_is_said),
        cmocka_unit_test(test_a_listener_that_moves_is_closed_and_opened),
        cmocka_unit_test(test_a_listener_under_another_name_is_kept_and_renamed),
        cmocka_unit_test(test_a_listener_whose_connections_count_elsewhere_is_said),
        cmocka_unit_test(test_a_small_text_is_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
