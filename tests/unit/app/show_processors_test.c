#include "fake_upstream.h"

#include "processors_internal.h"
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

enum page { PAGE_PROCESSORS, PAGE_ROWS, PAGE_BREAKERS };

static bool print(enum page page, struct buf *out)
{
    switch (page) {
    case PAGE_PROCESSORS:
        return show_processors(NULL, FAKE_NOW_US, out);
    case PAGE_ROWS:
        return show_processor_rows(NULL, FAKE_NOW_US, out);
    case PAGE_BREAKERS:
        break;
    }
    return show_breakers(&fake_upstream.processors[0], FAKE_NOW_US, out);
}

static const char *shown(enum page page)
{
    struct blocks blocks;
    struct buf out;
    blocks_init(&blocks, 0, 0);
    buf_init(&out, &blocks, 1u << 20);
    assert_true(print(page, &out));
    const char *text = text_of(&out);
    buf_reset(&out);
    blocks_close(&blocks);
    return text;
}

static const char *verdict(const struct processor *processor)
{
    static char text[SHOW_VERDICT_BYTES];
    return show_verdict(processor, FAKE_NOW_US, text);
}

static const char *reported(const struct processor *processor)
{
    static char text[64 * 1024];
    struct json json;
    json_init(&json, text, sizeof(text) - 1);
    report_processor(processor, FAKE_NOW_US, UINT64_C(1795341600000000), &json);
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

/* Three endpoints that are well. */
static struct processor *acme(void)
{
    fake_upstream_reset();
    struct processor *processor = fake_processor("acme");
    fake_endpoint(processor, "10.0.0.1:443");
    fake_endpoint(processor, "10.0.0.2:443");
    fake_endpoint(processor, "10.0.0.3:443");
    return processor;
}

static void force(struct processor *processor, enum breaker_forced forced)
{
    processor->state.forced = forced;
    processor->state.forced_until_us = FAKE_NOW_US + UINT64_C(1682000000);
    processor->state.forced_by = "uid 0 (root), pid 7";
    processor->state.forced_why = "they announced it";
    for (int i = 0; i < processor->state.endpoint_count; i++) {
        struct breaker_shown *breaker = &processor->endpoints[i].breaker;
        breaker->forced = forced;
        breaker->forced_until_us = processor->state.forced_until_us;
        breaker->state = forced == BREAKER_FORCED_OPEN ? BREAKER_OPEN : BREAKER_CLOSED;
        breaker->change = (struct breaker_change){.cause = BREAKER_CAUSE_OPERATOR};
    }
}

/* ---- the sentence ---- */

static void test_who_is_well_is_fine(void **state)
{
    struct processor *processor = acme();
    (void)state;
    processor->state.in_flight = 12;
    assert_string_equal(verdict(processor), "fine; 3 of 3 endpoints take its calls; 12 in flight");
    fake_upstream_reset();
    processor = fake_processor("bank");
    fake_endpoint(processor, "10.0.0.1:443");
    processor->endpoints[0].checked = true; /* and no check has ended yet */
    processor->state.queued = 3;
    assert_string_equal(verdict(processor), "fine; its endpoint takes its calls; 0 in flight; 3 WAIT for a link");
}

static void test_an_open_breaker_is_told_with_its_numbers(void **state)
{
    struct processor *processor = acme();
    (void)state;
    fake_open(&processor->endpoints[1].breaker);
    assert_string_equal(verdict(processor), "breaker of 10.0.0.2:443 open for 42s: 60 % of 312 calls failed; 2 of 3 "
                                            "endpoints take its calls; 0 in flight");
    processor->endpoints[1].breaker.state = BREAKER_HALF_OPEN;
    processor->endpoints[1].breaker.change.cause = BREAKER_CAUSE_TIME;
    assert_string_equal(verdict(processor), "breaker of 10.0.0.2:443 half open for 42s: its time was over, probes decide; "
                                            "3 of 3 endpoints take its calls; 0 in flight");
}

static void test_health_and_connects_are_told(void **state)
{
    struct processor *processor = acme();
    struct endpoint_state *endpoints = processor->endpoints;
    (void)state;
    endpoints[0].checked = true;
    endpoints[0].health = HEALTH_DOWN;
    endpoints[0].health_words = "status 503";
    endpoints[2].resting = true;
    assert_string_equal(verdict(processor), "10.0.0.1:443 fails its checks: status 503; 10.0.0.3:443 rests after a failed "
                                            "connect or a Retry-After; 1 of 3 endpoints take its calls; 0 in flight");
    endpoints[0].health_words = "";
    assert_has(verdict(processor), "10.0.0.1:443 fails its checks; ");
    endpoints[0].health = HEALTH_UP;
    assert_string_equal(verdict(processor), "10.0.0.3:443 rests after a failed connect or a Retry-After; 2 of 3 endpoints "
                                            "take its calls; 0 in flight");
}

static void test_nobody_left_is_shouted(void **state)
{
    struct processor *processor = acme();
    (void)state;
    for (int i = 0; i < 3; i++) {
        processor->endpoints[i].resting = true;
    }
    assert_has(verdict(processor), "; 3 of 3 endpoints take its calls; "); /* for want of another */
    for (int i = 0; i < 3; i++) {
        processor->endpoints[i].health = HEALTH_DOWN;
    }
    assert_has(verdict(processor), "; NONE of 3 endpoints takes its calls; ");
    processor->state.endpoint_count = 1;
    assert_has(verdict(processor), "; its ONLY endpoint takes no calls; ");
    processor->state.endpoint_count = 0;
    processor->state.trouble = "no such name";
    assert_string_equal(verdict(processor), "its name does not resolve: no such name; NO endpoint is known; 0 in flight");
}

static void test_an_operators_word_is_told_once_for_all(void **state)
{
    struct processor *processor = acme();
    (void)state;
    force(processor, BREAKER_FORCED_OPEN);
    assert_string_equal(verdict(processor), "held open for 28m 2s more by uid 0 (root), pid 7: they announced it; NONE of "
                                            "3 endpoints takes its calls; 0 in flight");
    force(processor, BREAKER_FORCED_CLOSED);
    assert_string_equal(verdict(processor), "held closed for 28m 2s more by uid 0 (root), pid 7: they announced it; 3 of "
                                            "3 endpoints take its calls; 0 in flight");
    processor->endpoints[0].breaker.calls = 300;
    processor->endpoints[0].breaker.failed = 280;
    assert_has(verdict(processor), "; breaker of 10.0.0.1:443 lets through, though of 300 calls 280 failed and 0 were slow; ");
    processor->state.forced_by = processor->state.forced_why = NULL;
    assert_has(verdict(processor), "held closed for 28m 2s more by unknown: ; ");
}

static void test_ailing_is_not_fine(void **state)
{
    struct processor *processor = acme();
    struct breaker_shown *breaker = &processor->endpoints[0].breaker;
    (void)state;
    breaker->calls = 20;
    breaker->failed = 2;
    assert_has(verdict(processor), "breaker of 10.0.0.1:443 lets through, though of 20 calls 2 failed and 0 were slow; 3 of 3");
    breaker->failed = 1;
    assert_has(verdict(processor), "fine; ");
    breaker->slow = 2;
    assert_has(verdict(processor), "2 were slow");
    breaker->calls = 19;
    breaker->failed = 19;
    assert_has(verdict(processor), "fine; ");
}

static void test_routes_are_told_too(void **state)
{
    struct processor *processor = acme();
    (void)state;
    fake_circuit(processor, "reads");
    fake_open(fake_circuit(processor, "pay"));
    assert_string_equal(verdict(processor), "circuit of route pay open for 42s: 60 % of 312 calls failed; 3 of 3 endpoints "
                                            "take its calls; 0 in flight");
    for (int i = 0; i < 4; i++) {
        fake_open(fake_circuit(processor, "more"));
    }
    fake_circuit(processor, "lists");
    assert_has(verdict(processor), "; circuits of 2 more routes are open; 3 of 3 endpoints");
}

static void test_who_takes_nothing_is_told_first_and_the_many_are_counted(void **state)
{
    struct processor *processor = acme();
    (void)state;
    processor->endpoints[0].breaker.calls = 100;
    processor->endpoints[0].breaker.failed = 40;
    fake_open(&processor->endpoints[1].breaker);
    fake_open(&processor->endpoints[2].breaker);
    fake_open(&fake_endpoint(processor, "10.0.0.4:443")->breaker);
    const char *text = verdict(processor);
    assert_null(strstr(text, "10.0.0.1:443"));
    assert_has(text, "breaker of 10.0.0.2:443 open");
    assert_has(text, "breaker of 10.0.0.4:443 open");
    assert_has(text, "; 1 more of its endpoints are in trouble; 1 of 4 endpoints take its calls; ");
}

/* However much there is to say, how many endpoints are left is said. */
static void test_the_end_of_a_long_sentence_stays(void **state)
{
    struct processor *processor = acme();
    char words[256], why[256], route[64];
    (void)state;
    memset(words, 'w', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    memset(why, 'y', sizeof(why) - 1);
    why[sizeof(why) - 1] = '\0';
    memset(route, 'r', sizeof(route) - 1);
    route[sizeof(route) - 1] = '\0';
    force(processor, BREAKER_FORCED_OPEN);
    processor->state.forced_why = why;
    processor->state.trouble = words;
    for (int i = 0; i < 3; i++) {
        processor->endpoints[i].checked = processor->endpoints[i].resting = true;
        processor->endpoints[i].health = HEALTH_DOWN;
        processor->endpoints[i].health_words = words;
        fake_open(fake_circuit(processor, route));
    }
    processor->state.in_flight = processor->state.queued = UINT32_MAX;
    const char *text = verdict(processor);
    assert_true(strlen(text) < SHOW_VERDICT_BYTES);
    assert_has(text, "; NONE of 3 endpoints takes its calls; 4294967295 in flight; 4294967295 WAIT for a link");
}

/* ---- why ---- */

static const char *why(struct breaker_change change)
{
    static char text[SHOW_BREAKER_BYTES];
    return show_breaker_why(&change, text);
}

static void test_every_cause_has_its_words(void **state)
{
    (void)state;
    for (int cause = BREAKER_CAUSE_NONE + 1; cause < BREAKER_CAUSE_COUNT; cause++) {
        assert_string_not_equal(why((struct breaker_change){.cause = (enum breaker_cause)cause}), "");
    }
    assert_string_equal(why((struct breaker_change){.cause = BREAKER_CAUSE_NONE}), "");
    assert_string_equal(why((struct breaker_change){.cause = BREAKER_CAUSE_UNREACHED, .in_a_row = 5}),
                        "5 calls in a row found no connection or no answer");
    assert_string_equal(why((struct breaker_change){.cause = BREAKER_CAUSE_FAILURES, .calls = 4000000000, .failed = 4000000000}),
                        "100 % of 4000000000 calls failed");
    assert_string_equal(why((struct breaker_change){
                            .cause = BREAKER_CAUSE_FAILURES, .calls = 1000, .failed = 23, .failed_in_a_row = 20}),
                        "2 % of 1000 calls failed, the last 20 all");
    assert_string_equal(
        why((struct breaker_change){.cause = BREAKER_CAUSE_FAILURES, .calls = 39, .failed = 20, .failed_in_a_row = 19}),
        "51 % of 39 calls failed");
    assert_string_equal(
        why((struct breaker_change){.cause = BREAKER_CAUSE_FAILURES, .calls = 20, .failed = 20, .failed_in_a_row = 20}),
        "100 % of 20 calls failed");
    assert_string_equal(
        why((struct breaker_change){.cause = BREAKER_CAUSE_SLOW, .calls = 10, .slow = 5, .in_flight = 40, .overdue = 30}),
        "87 % of 40 calls were slow or are overdue");
    assert_string_equal(why((struct breaker_change){.cause = BREAKER_CAUSE_SILENT, .in_flight = 7, .overdue = 5}),
                        "5 of 7 calls in flight are overdue, and no answer comes");
    assert_string_equal(why((struct breaker_change){.cause = BREAKER_CAUSE_PROBE, .calls = 4, .failed = 1}),
                        "1 of 4 probes failed");
}

/* ---- the pages ---- */

static void two_processors(void)
{
    struct processor *processor = acme();
    struct endpoint_state *endpoints = processor->endpoints;
    endpoints[0] = (struct endpoint_state){.address = "10.0.0.1:443", .weight = 2, .in_flight = 12, .links_leased = 12,
                                           .links_connecting = 1, .links_idle = 4, .latency_us = 31250, .checked = true,
                                           .health = HEALTH_UP, .health_words = "status 503", .breaker = endpoints[0].breaker};
    fake_open(&endpoints[1].breaker);
    endpoints[1].checked = true;
    endpoints[1].health = HEALTH_DOWN;
    endpoints[1].health_words = "status 503";
    endpoints[2].ramping = true;
    processor->state.in_flight = 12;
    fake_circuit(processor, "pay");
    fake_open(fake_circuit(processor, "payouts"));
    processor = fake_processor("bank");
    processor->state.trouble = "no such name";
}

static void test_sentences_stand_before_the_tables(void **state)
{
    (void)state;
    two_processors();
    assert_string_equal(
        shown(PAGE_PROCESSORS),
        "acme: breaker of 10.0.0.2:443 open for 42s: 60 % of 312 calls failed; 10.0.0.2:443 fails its checks: status 503; "
        "circuit of route payouts open for 42s: 60 % of 312 calls failed; 2 of 3 endpoints take its calls; 12 in flight\n"
        "bank: its name does not resolve: no such name; NO endpoint is known; 0 in flight\n"
        "\n"
        "PROCESSOR  ENDPOINT      WEIGHT  BREAKER        HEALTH            IN-FLIGHT  LINKS        LATENCY  NOTE\n"
        "acme       10.0.0.1:443  2       closed 10m 0s  up                12         13 + 4 idle  31.2ms   -\n"
        "acme       10.0.0.2:443  1       open 42s       down: status 503  0          0 + 0 idle   -        -\n"
        "acme       10.0.0.3:443  1       closed 10m 0s  -                 0          0 + 0 idle   -        starts slowly\n"
        "\n"
        "PROCESSOR  ROUTE    CIRCUIT   WHY\n"
        "acme       payouts  open 42s  60 % of 312 calls failed\n");
}

static void test_circuits_that_are_closed_take_no_line(void **state)
{
    struct processor *processor = acme();
    (void)state;
    fake_circuit(processor, "pay");
    assert_null(strstr(shown(PAGE_PROCESSORS), "CIRCUIT"));
}

static void test_the_status_has_a_row_for_each(void **state)
{
    (void)state;
    two_processors();
    fake_open(&fake_upstream.processors[0].endpoints[0].breaker);
    fake_upstream.processors[0].state.circuit_count = 0;
    fake_upstream.processors[0].state.endpoint_count = 1;
    assert_string_equal(shown(PAGE_ROWS), "processors   acme: breaker of 10.0.0.1:443 open for 42s: 60 % of 312 calls failed; "
                                          "its ONLY endpoint takes no calls; 12 in flight\n"
                                          "             bank: its name does not resolve: no such name; NO endpoint is known; 0 in flight\n");
}

static void test_none_configured_is_said(void **state)
{
    (void)state;
    fake_upstream_reset();
    assert_string_equal(shown(PAGE_PROCESSORS), "processors   none are configured\n");
    assert_string_equal(shown(PAGE_ROWS), "processors   none are configured\n");
}

static void test_the_breakers_of_one(void **state)
{
    (void)state;
    two_processors();
    fake_upstream.processors[0].endpoints[0].breaker.calls = 1000;
    fake_upstream.processors[0].endpoints[0].breaker.failed = 3;
    fake_upstream.processors[0].endpoints[0].breaker.slow = 1;
    assert_string_equal(shown(PAGE_BREAKERS),
                        "acme         auto: nobody holds its breakers open or closed\n"
                        "\n"
                        "BREAKER OF     STATE   FOR     PROBED-IN  CALLS  FAILED  SLOW  WHY\n"
                        "10.0.0.1:443   closed  10m 0s  -          1000   3       1     -\n"
                        "10.0.0.2:443   open    42s     3s         0      0       0     60 % of 312 calls failed\n"
                        "10.0.0.3:443   closed  10m 0s  -          0      0       0     -\n"
                        "route pay      closed  10m 0s  -          0      0       0     -\n"
                        "route payouts  open    42s     3s         0      0       0     60 % of 312 calls failed\n");
    force(&fake_upstream.processors[0], BREAKER_FORCED_OPEN);
    assert_has(shown(PAGE_BREAKERS), "acme         held open for 28m 2s more by uid 0 (root), pid 7: they announced it\n");
}

/* Held ones are told as held; how long they have been in their state is no matter. */
static void test_a_held_breaker_is_told_as_held(void **state)
{
    struct processor *processor = acme();
    (void)state;
    force(processor, BREAKER_FORCED_CLOSED);
    processor->endpoints[0].resting = true;
    assert_has(shown(PAGE_PROCESSORS), "  held closed  ");
    assert_has(shown(PAGE_PROCESSORS), "  rests\n");
    struct breaker_shown *circuit = fake_circuit(processor, "pay");
    circuit->state = BREAKER_OPEN;
    circuit->forced = BREAKER_FORCED_OPEN;
    circuit->change.cause = BREAKER_CAUSE_OPERATOR;
    assert_has(shown(PAGE_PROCESSORS), "\nacme       pay    held open  an operator said so\n");
}

/* Whatever the part that does not fit, shorter ones behind it do not hide it. */
static void assert_whole_or_said(void)
{
    struct blocks blocks;
    struct buf out;
    blocks_init(&blocks, 0, 0);
    for (int page = PAGE_PROCESSORS; page <= PAGE_BREAKERS; page++) {
        size_t whole = strlen(shown((enum page)page));
        for (size_t room = 0; room <= whole; room++) {
            buf_init(&out, &blocks, room);
            assert_int_equal(print((enum page)page, &out), room == whole);
            buf_reset(&out);
        }
    }
    blocks_close(&blocks);
}

static void test_what_does_not_fit_is_said_to_not_fit(void **state)
{
    (void)state;
    two_processors();
    assert_whole_or_said();
    fake_upstream_reset();
    force(fake_processor("acme"), BREAKER_FORCED_OPEN); /* its tables are titles alone, and shorter */
    assert_whole_or_said();
}

/* ---- JSON ---- */

static void test_json_has_all_of_it(void **state)
{
    (void)state;
    fake_upstream_reset();
    struct processor *processor = fake_processor("acme");
    struct endpoint_state *endpoint = fake_endpoint(processor, "10.0.0.1:443");
    fake_open(&endpoint->breaker);
    endpoint->breaker.calls = 4;
    endpoint->breaker.failed = 3;
    endpoint->breaker.slow = 2;
    endpoint->latency_us = 31250;
    endpoint->idle_limit_us = 4000000;
    endpoint->checked = true;
    endpoint->health = HEALTH_DOWN;
    endpoint->health_words = "status 503";
    endpoint->in_flight = 1;
    endpoint->links_leased = 1;
    endpoint->links_idle = 5;
    processor->state.endpoints_open = processor->state.endpoints_down = 1;
    processor->state.in_flight = 1;
    processor->state.lingering = 6;
    fake_circuit(processor, "pay");
    assert_string_equal(
        reported(processor),
        "{\"name\":\"acme\",\"verdict\":\"breaker of 10.0.0.1:443 open for 42s: 60 % of 312 calls failed; 10.0.0.1:443 fails "
        "its checks: status 503; its ONLY endpoint takes no calls; 1 in flight\","
        "\"endpoint_count\":1,\"endpoints_taking\":0,\"endpoints_resting\":0,\"endpoints_down\":1,\"endpoints_open\":1,"
        "\"circuits_open\":0,\"in_flight\":1,\"queued\":0,\"lingering\":6,\"links_connecting\":0,\"links_idle\":0,"
        "\"links_leased\":0,\"trouble\":null,\"forced\":\"auto\",\"forced_until\":null,\"forced_by\":null,\"forced_why\":null,"
        "\"endpoints\":[{\"address\":\"10.0.0.1:443\",\"weight\":1,\"in_flight\":1,\"links_connecting\":0,\"links_idle\":5,"
        "\"links_leased\":1,\"latency_us\":31250,\"idle_limit_us\":4000000,\"resting\":false,\"ramping\":false,"
        "\"checked\":true,\"health\":\"down\",\"health_words\":\"status 503\",\"breaker\":{\"state\":\"open\","
        "\"forced\":\"auto\",\"forced_until\":null,\"cause\":\"failures\",\"why\":\"60 % of 312 calls failed\","
        "\"since\":\"2026-11-22T09:59:18.000000Z\",\"until\":\"2026-11-22T10:00:03.000000Z\",\"calls\":4,\"failed\":3,"
        "\"slow\":2,\"change\":{\"from\":\"closed\",\"to\":\"open\",\"calls\":312,\"failed\":190,\"slow\":0,\"in_flight\":0,"
        "\"overdue\":0,\"in_a_row\":0,\"failed_in_a_row\":0,\"lasted_us\":0,\"open_us\":0}}}],"
        "\"circuits\":[{\"route\":\"pay\",\"breaker\":{\"state\":\"closed\",\"forced\":\"auto\",\"forced_until\":null,"
        "\"cause\":\"none\",\"why\":null,\"since\":\"2026-11-22T09:50:00.000000Z\",\"until\":null,\"calls\":0,\"failed\":0,"
        "\"slow\":0,\"change\":null}}]}");
}

static void test_json_tells_an_operators_word_while_it_holds(void **state)
{
    struct processor *processor = acme();
    (void)state;
    force(processor, BREAKER_FORCED_OPEN);
    assert_has(reported(processor),
               "\"forced\":\"open\",\"forced_until\":\"2026-11-22T10:28:02.000000Z\",\"forced_by\":\"uid 0 (root), pid 7\","
               "\"forced_why\":\"they announced it\"");
    assert_has(reported(processor), "\"forced\":\"open\",\"forced_until\":\"2026-11-22T10:28:02.000000Z\",\"cause\":\"operator\"");
    processor->state.forced = BREAKER_AUTO; /* it expired; upstream may still know whose it was */
    assert_has(reported(processor), "\"forced_by\":null,\"forced_why\":null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_well_is_fine),
        cmocka_unit_test(test_an_open_breaker_is_told_with_its_numbers),
        cmocka_unit_test(test_health_and_connects_are_told),
        cmocka_unit_test(test_nobody_left_is_shouted),
        cmocka_unit_test(test_an_operators_word_is_told_once_for_all),
        cmocka_unit_test(test_ailing_is_not_fine),
        cmocka_unit_test(test_routes_are_told_too),
        cmocka_unit_test(test_who_takes_nothing_is_told_first_and_the_many_are_counted),
        cmocka_unit_test(test_the_end_of_a_long_sentence_stays),
        cmocka_unit_test(test_every_cause_has_its_words),
        cmocka_unit_test(test_sentences_stand_before_the_tables),
        cmocka_unit_test(test_circuits_that_are_closed_take_no_line),
        cmocka_unit_test(test_the_status_has_a_row_for_each),
        cmocka_unit_test(test_none_configured_is_said),
        cmocka_unit_test(test_the_breakers_of_one),
        cmocka_unit_test(test_a_held_breaker_is_told_as_held),
        cmocka_unit_test(test_what_does_not_fit_is_said_to_not_fit),
        cmocka_unit_test(test_json_has_all_of_it),
        cmocka_unit_test(test_json_tells_an_operators_word_while_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
