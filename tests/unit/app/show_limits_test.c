#include "base/unit.h"

#include "limits_internal.h"
#include "weir/base/json.h"

/* What was printed, as one text. */
static const char *text_of(struct buf *buf)
{
    static char text[256 * 1024];
    size_t len = 0;
    while (buf->len > 0) {
        struct bytes front = buf_front(buf);
        assert_true(len + front.len < sizeof(text));
        memcpy(text + len, front.at, front.len);
        len += front.len;
        buf_consume(buf, front.len);
    }
    text[len] = '\0';
    return text;
}

static const char *shown(const struct limits_view *view)
{
    struct blocks blocks;
    struct buf out;
    blocks_init(&blocks, 0, 0);
    buf_init(&out, &blocks, 1u << 20);
    assert_true(show_limits(view, &out));
    const char *text = text_of(&out);
    buf_reset(&out);
    blocks_close(&blocks);
    return text;
}

static const char *reported(const struct limits_view *view)
{
    static char text[64 * 1024];
    struct json json;
    json_init(&json, text, sizeof(text) - 1);
    report_limits(view, &json);
    assert_false(json.overflow);
    text[json.len] = '\0';
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no \"%s\" in:\n%s", part, text);
    }
}

static struct conf_limit_part parts[] = {
    {.kind = CONF_PART_TENANT},       {.kind = CONF_PART_HEADER, .header = "X-Till"},
    {.kind = CONF_PART_ROUTE},        {.kind = CONF_PART_CLIENT_IP},
    {.kind = CONF_PART_MTLS_SUBJECT},
};
static struct conf_limit_tier tiers[] = {{.name = "gold", .rate = {5, 60000000}, .burst = 50},
                                         {.name = "tin", .rate = {1, 86400000000}, .burst = 1}};
static const struct conf_limit writes = {.name = "writes",
                                         .parts = parts,
                                         .part_count = 1,
                                         .rate = {100, 1000000},
                                         .burst = 200,
                                         .tiers = tiers,
                                         .tier_count = 2};
static const struct conf_limit at_once = {.name = "at-once",
                                          .parts = parts + 3,
                                          .part_count = 1,
                                          .concurrent = 50,
                                          .mode = CONF_LIMIT_SHADOW,
                                          .store_down = CONF_LIMIT_OPEN};

static void test_two_tables_under_a_line_about_all(void **state)
{
    struct gate_limit limits[] = {
        {.conf = &writes, .callers = 3, .admitted = 1000, .refused = 12, .skipped = 4},
        {.conf = &at_once, .callers = 9, .admitted = 30, .would_refuse = 2},
    };
    struct gate_held held[] = {
        {.limit = "writes", .who = "shop-7", .refused = 12, .since_us = 1795341600000000},
        {.limit = "at-once",
         .who = "2001:db8::/64",
         .shadow = true,
         .refused = 2,
         .in_flight = 50,
         .since_us = 1795341661000000},
    };
    const struct limits_view view = {.state = {.fleet = 3, .callers = 12, .callers_max = 65536},
                                     .has_store = true,
                                     .limits = limits,
                                     .limit_count = 2,
                                     .held = held,
                                     .held_count = 2,
                                     .held_whole = true};
    (void)state;
    assert_string_equal(
        shown(&view),
        "fleet        3, the store is asked, shedding level 0 of 400, 12 of 65536 callers known\n"
        "\n"
        "LIMIT    BY         ALLOWS           MODE     CALLERS  ADMITTED  REFUSED  WOULD-REFUSE  SKIPPED\n"
        "writes   tenant     100/s burst 200  enforce  3        1000      12       0             4\n"
        "at-once  client_ip  50 at once       shadow   9        30        0        2             0\n"
        "\n"
        "LIMIT    HOLDS          SHADOW  REFUSED  IN-FLIGHT  SINCE\n"
        "writes   shop-7         no      12       0          2026-11-22T10:00:00Z\n"
        "at-once  2001:db8::/64  yes     2        50         2026-11-22T10:01:01Z\n");
}

static void test_nothing_configured_and_nobody_held_is_said(void **state)
{
    struct gate_limit limits[] = {{.conf = &writes}};
    struct limits_view view = {.state = {.fleet = 1, .callers_max = 10}};
    (void)state;
    assert_string_equal(shown(&view), "fleet        1, no store, shedding level 0 of 400, 0 of 10 callers known\n"
                                      "limits       none are configured\n");
    view.limits = limits;
    view.limit_count = 1;
    assert_has(shown(&view), "\n\nheld         nobody in the last minute\n");
}

static void test_a_store_that_is_left_alone_and_what_stood_open_meanwhile_are_said(void **state)
{
    struct gate_limit limits[] = {{.conf = &writes}, {.conf = &at_once, .passed_open = 17}};
    const struct limits_view view = {.state = {.fleet = 2, .store_away = true, .shed_level = 130},
                                     .has_store = true,
                                     .limits = limits,
                                     .limit_count = 2};
    const char *text = shown(&view);
    (void)state;
    assert_has(text, "the store is LEFT ALONE since it does not answer in time");
    assert_has(text, "shedding level 130 of 400 (list 30 %, test 100 %, background 100 %), ");
    assert_has(text, "  SKIPPED  PASSED-OPEN\n");
    assert_has(text, "  0        17\n");
}

static void test_a_limit_alone_shows_its_tiers(void **state)
{
    struct gate_limit limits[] = {{.conf = &writes}};
    struct limits_view view = {.limits = limits, .limit_count = 1};
    (void)state;
    assert_null(strstr(shown(&view), "TIER"));
    view.alone = true;
    assert_has(shown(&view), "\nTIER  ALLOWS\ngold  5/min burst 50\ntin   1/day burst 1\n");
}

static void test_more_callers_than_were_looked_at_is_said(void **state)
{
    struct gate_limit limits[] = {{.conf = &writes}};
    struct gate_held held[] = {{.limit = "writes", .who = "a"}};
    struct limits_view view = {.limits = limits, .limit_count = 1, .held = held, .held_count = 1};
    (void)state;
    assert_has(shown(&view), "\n\nand more     only the 1000 most refused were looked at\n");
    assert_has(reported(&view), "\"held_whole\":false");
    view.held_whole = true;
    assert_null(strstr(shown(&view), "and more"));
    assert_has(reported(&view), "\"held_whole\":true");
}

/* Whatever the part that does not fit, shorter ones behind it do not hide it. */
static void test_what_does_not_fit_is_said_to_not_fit(void **state)
{
    struct gate_limit limits[] = {{.conf = &writes}};
    struct gate_held held[] = {{.limit = "writes", .who = "a"}};
    const struct limits_view views[] = {
        {.limits = NULL},
        {.limits = limits, .limit_count = 1, .alone = true},
        {.limits = limits, .limit_count = 1, .alone = true, .held = held, .held_count = 1},
    };
    struct blocks blocks;
    struct buf out;
    (void)state;
    blocks_init(&blocks, 0, 0);
    for (size_t i = 0; i < ARRAY_COUNT(views); i++) {
        size_t whole = strlen(shown(&views[i]));
        for (size_t room = 0; room <= whole; room++) {
            buf_init(&out, &blocks, room);
            assert_int_equal(show_limits(&views[i], &out), room == whole);
            buf_reset(&out);
        }
    }
    blocks_close(&blocks);
}

static const char *room(struct conf_limit limit)
{
    static char text[SHOW_LIMIT_BYTES];
    return show_limit_room(&limit, NULL, text);
}

static void test_rates_read_as_they_may_be_written(void **state)
{
    (void)state;
    assert_string_equal(room((struct conf_limit){.rate = {100, 1000000}, .burst = 1}), "100/s burst 1");
    assert_string_equal(room((struct conf_limit){.rate = {30, 300000000}, .burst = 30}), "30/5min burst 30");
    assert_string_equal(room((struct conf_limit){.rate = {1, 3600000000}, .burst = 1}), "1/h burst 1");
    assert_string_equal(room((struct conf_limit){.rate = {7, 2 * 86400000000}, .burst = 1}), "7/2day burst 1");
    assert_string_equal(room((struct conf_limit){.rate = {1, 1500000}, .burst = 1}), "1/1500ms burst 1");
    assert_string_equal(room((struct conf_limit){.rate = {1, 7}, .burst = 1}), "1/7us burst 1");
    assert_string_equal(
        room((struct conf_limit){.rate = {30, 60000000}, .burst = 30, .charge_on = CONF_CHARGE_ON_DECLINE}),
        "30/min burst 30 declines");
    assert_string_equal(room((struct conf_limit){.concurrent = 50}), "50 at once");
}

static void test_parts_are_joined_and_long_ones_are_cut(void **state)
{
    char text[SHOW_LIMIT_BYTES], header[SHOW_LIMIT_BYTES + 20];
    struct conf_limit_part long_part = {.kind = CONF_PART_HEADER, .header = header};
    (void)state;
    assert_string_equal(show_limit_callers(&(struct conf_limit){.parts = parts, .part_count = 5}, text),
                        "tenant+header:X-Till+route+client_ip+mtls_subject");
    memset(header, 'h', sizeof(header) - 1);
    header[sizeof(header) - 1] = '\0';
    assert_int_equal(strlen(show_limit_callers(&(struct conf_limit){.parts = &long_part, .part_count = 1}, text)),
                     SHOW_LIMIT_BYTES - 1);
}

static void test_the_state_is_silent_while_all_is_as_always(void **state)
{
    char text[SHOW_LIMIT_BYTES];
    (void)state;
    assert_string_equal(show_limits_state(&(struct gate_limits_state){.fleet = 1, .callers = 9}, text), "");
    assert_string_equal(show_limits_state(&(struct gate_limits_state){.fleet = 4}, text), "fleet of 4");
    assert_string_equal(show_limits_state(&(struct gate_limits_state){.fleet = 1, .shed_level = 50}, text),
                        "shedding level 50 of 400 (test 50 %, background 50 %)");
    assert_string_equal(
        show_limits_state(&(struct gate_limits_state){.fleet = 2, .shed_level = 400, .store_away = true}, text),
        "shedding level 400 of 400 (write 100 %, read 100 %, list 100 %, test 100 %, background 100 %), fleet of 2, "
        "the store is LEFT ALONE since it does not answer in time");
}

static void test_json_has_all_of_it(void **state)
{
    struct gate_limit limits[] = {{.conf = &writes,
                                   .callers = 3,
                                   .admitted = 1000,
                                   .refused = 12,
                                   .would_refuse = 1,
                                   .skipped = 4,
                                   .passed_open = 5},
                                  {.conf = &at_once}};
    struct gate_held held[] = {
        {.limit = "writes", .who = "a\"b", .refused = 12, .in_flight = 2, .since_us = 1795341600000000}};
    const struct limits_view view = {.state = {.fleet = 3, .shed_level = 7, .callers = 12, .callers_max = 65536},
                                     .has_store = true,
                                     .limits = limits,
                                     .limit_count = 2,
                                     .held = held,
                                     .held_count = 1,
                                     .held_whole = true};
    (void)state;
    assert_string_equal(
        reported(&view),
        "{\"ok\":true,\"store\":true,\"fleet\":3,\"store_away\":false,\"shed_level\":7,\"shed_level_max\":400,"
        "\"callers\":12,\"callers_max\":65536,\"limits\":["
        "{\"name\":\"writes\",\"by\":[\"tenant\"],\"rate\":\"100/s\",\"burst\":200,\"mode\":\"enforce\","
        "\"store_down\":\"local\",\"charge_on\":\"request\",\"tiers\":["
        "{\"name\":\"gold\",\"rate\":\"5/min\",\"burst\":50},{\"name\":\"tin\",\"rate\":\"1/day\",\"burst\":1}],"
        "\"callers\":3,\"admitted\":1000,\"refused\":12,\"would_refuse\":1,\"skipped\":4,\"passed_open\":5},"
        "{\"name\":\"at-once\",\"by\":[\"client_ip\"],\"concurrent\":50,\"mode\":\"shadow\",\"store_down\":\"open\","
        "\"charge_on\":\"request\",\"tiers\":[],\"callers\":0,\"admitted\":0,\"refused\":0,\"would_refuse\":0,"
        "\"skipped\":0,\"passed_open\":0}],"
        "\"held\":[{\"limit\":\"writes\",\"who\":\"a\\\"b\",\"shadow\":false,\"refused\":12,\"in_flight\":2,"
        "\"since\":\"2026-11-22T10:00:00.000000Z\",\"last\":null}],\"held_whole\":true}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_tables_under_a_line_about_all),
        cmocka_unit_test(test_nothing_configured_and_nobody_held_is_said),
        cmocka_unit_test(test_a_store_that_is_left_alone_and_what_stood_open_meanwhile_are_said),
        cmocka_unit_test(test_a_limit_alone_shows_its_tiers),
        cmocka_unit_test(test_more_callers_than_were_looked_at_is_said),
        cmocka_unit_test(test_what_does_not_fit_is_said_to_not_fit),
        cmocka_unit_test(test_rates_read_as_they_may_be_written),
        cmocka_unit_test(test_parts_are_joined_and_long_ones_are_cut),
        cmocka_unit_test(test_the_state_is_silent_while_all_is_as_always),
        cmocka_unit_test(test_json_has_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
