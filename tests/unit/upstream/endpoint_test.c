/*
 * The addresses of a processor: which takes a call, who is passed over and for
 * how long, and what becomes of those that come and go. Over real sockets.
 */
#include "upstream_support.h"

#include "check.h"
#include "upstream_internal.h"

static int open_two(void **state)
{
    (void)state;
    (void)open_ends(2);
    const struct conf_processor conf = conf_of_ends(2);
    use(&conf);
    return 0;
}

static int requests(void)
{
    return fars[0].requests + fars[1].requests + fars[2].requests;
}

/* So many calls, one after the other, all answered. */
static void pass_many(int count)
{
    struct caller caller;
    int before = requests();

    for (int i = 0; i < count; i++) {
        pass(&caller, false);
        assert_true(caller.end);
    }
    assert_int_equal(requests() - before, count);
}

static const char *address(int index)
{
    return processor->endpoints[index]->text;
}

static void test_an_address_that_was_tried_is_avoided_while_there_is_another(void **state)
{
    struct call_order order = order_of(false);
    struct caller caller;

    (void)state;
    for (int i = 0; i < 4; i++) {
        order.avoid = address(0);
        pass_order(&caller, order);
    }
    assert_int_equal(fars[0].requests, 0);
    assert_int_equal(fars[1].requests, 4);
    const struct conf_processor alone = conf_of_ends(1);
    use(&alone);
    order.avoid = address(0);
    pass_order(&caller, order);
    assert_int_equal(fars[0].requests, 1);
}

static void test_who_asks_for_quiet_rests_while_there_is_another(void **state)
{
    struct caller caller;

    (void)state;
    fars[0].answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n";
    pass_many(2); /* round robin: one each */
    uint64_t now_us = clock_now_us();
    assert_true(endpoint_at(0).resting);
    assert_false(endpoint_at(1).resting);
    assert_true(processor->endpoints[0]->quiet_until_us > now_us + 1 * CLOCK_US_PER_S);
    assert_true(processor->endpoints[0]->quiet_until_us <= now_us + 3 * CLOCK_US_PER_S);
    pass_many(4);
    assert_int_equal(fars[0].requests, 1);
    assert_int_equal(now().endpoints_resting, 1);
    const struct conf_processor alone = conf_of_ends(1);
    use(&alone);
    pass(&caller, false); /* for want of another */
    assert_int_equal(fars[0].requests, 2);
}

static void test_no_more_quiet_than_half_a_minute_and_no_dates(void **state)
{
    (void)state;
    fars[0].answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n";
    fars[1].answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: Sun, 06 Nov 2094 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n";
    pass_many(2);
    assert_true(processor->endpoints[0]->quiet_until_us > clock_now_us() + RETRY_AFTER_US_MAX - 10 * CLOCK_US_PER_S);
    assert_true(processor->endpoints[0]->quiet_until_us <= clock_now_us() + RETRY_AFTER_US_MAX);
    assert_int_equal(processor->endpoints[1]->quiet_until_us, 0);
}

static bool printed_up(int index, int up)
{
    char line[256];
    (void)snprintf(line, sizeof line, "weir_processor_up{processor=\"acme\",endpoint=\"%s\"} %d", address(index), up);
    return printed(line);
}

static void test_one_callers_quota_is_not_the_endpoints_but_that_of_several_is(void **state)
{
    static const uint32_t rows[][REFUSALS_TO_REST] = {{1, 1, 1}, {1, 2, 1}, {3, 3, 4}};
    struct call_order order = order_of(false);
    struct caller caller;

    (void)state;
    order.avoid = address(1);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        fars[0].answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n";
        for (int j = 0; j < REFUSALS_TO_REST; j++) {
            order.caller = rows[i][j];
            pass_order(&caller, order);
            assert_false(endpoint_at(0).resting);
        }
        fars[0].answer = ANSWER; /* to another caller: that ends what was counted */
        order.caller = 9;
        pass_order(&caller, order);
    }
    fars[0].answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n";
    for (order.caller = 0; order.caller < REFUSALS_TO_REST - 1; order.caller++) {
        pass_order(&caller, order);
    }
    processor->endpoints[0]->refusals[1].at_us -= REFUSALS_US; /* too long ago to have come together */
    order.caller++;
    pass_order(&caller, order);
    assert_false(endpoint_at(0).resting);
    order.caller++;
    pass_order(&caller, order);
    assert_true(endpoint_at(0).resting);
    assert_int_equal(fars[1].requests, 0);
}

static void test_who_rests_is_up_when_there_is_no_other(void **state)
{
    (void)state;
    fars[0].answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n";
    pass_many(2);
    assert_true(printed_up(0, 0)); /* the other takes its calls */
    assert_true(printed_up(1, 1));
    const struct conf_processor alone = conf_of_ends(1);
    use(&alone);
    assert_true(endpoint_at(0).resting);
    assert_true(printed_up(0, 1));
}

static void test_a_retry_after_on_an_answer_that_is_none_of_these_is_not_heeded(void **state)
{
    (void)state;
    fars[0].answer = "HTTP/1.1 200 OK\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n";
    pass_many(2);
    assert_false(endpoint_at(0).resting);
}

static void test_who_refuses_connections_costs_no_call_while_there_is_another(void **state)
{
    (void)state;
    far_vanish(&fars[0]);
    pass_many(8);
    assert_int_equal(fars[1].requests, 8);
    assert_true(endpoint_at(0).resting);
    assert_true(printed("weir_processor_connects_total{processor=\"acme\",result=\"failed\"} 1"));
    char line[256];
    (void)snprintf(line, sizeof line, "weir_processor_up{processor=\"acme\",endpoint=\"%s\"} 0", address(0));
    assert_true(printed(line));
}

static void test_an_endpoint_whose_breaker_is_open_is_passed_over(void **state)
{
    struct conf_processor conf = conf_of_ends(2);
    struct caller caller;

    (void)state;
    conf.breaker.min_requests = 1;
    use(&conf);
    fars[0].answer = ANSWER_503;
    pass_many(2);
    assert_int_equal(breaker_at(0).state, BREAKER_OPEN);
    pass_many(4);
    assert_int_equal(fars[0].requests, 1);
    fars[1].answer = ANSWER_503;
    for (int i = 0; i < 10 && breaker_at(1).state == BREAKER_CLOSED; i++) {
        pass(&caller, false);
    }
    assert_int_equal(begin(&caller, false), CALL_START_REFUSED);
    assert_int_equal(caller.refusal.why, CALL_BREAKER_OPEN);
    finish(&caller);
}

static void test_an_address_that_is_added_takes_up_its_share_slowly_and_none_does_at_the_start(void **state)
{
    (void)state;
    assert_false(endpoint_at(0).ramping || endpoint_at(1).ramping);
    far_listen(&fars[2]);
    const struct conf_processor conf = conf_of_ends(3);
    use(&conf);
    assert_false(endpoint_at(0).ramping || endpoint_at(1).ramping);
    assert_true(endpoint_at(2).ramping);
}

static void test_an_endpoint_that_recovers_takes_up_its_share_slowly(void **state)
{
    (void)state;
    processor_force(processor, BREAKER_FORCED_OPEN, 60 * CLOCK_US_PER_S, "ada", "a drill");
    processor_force(processor, BREAKER_FORCED_CLOSED, 60 * CLOCK_US_PER_S, "ada", "over");
    assert_int_equal(breaker_at(0).state, BREAKER_CLOSED);
    assert_true(endpoint_at(0).ramping);
}

static void test_an_address_that_is_removed_ends_what_it_carries(void **state)
{
    struct caller caller;
    char line[256];

    (void)state;
    struct call_order order = order_of(false);
    order.avoid = address(0);
    fars[1].answer = NULL;
    (void)begin_order(&caller, order);
    UNTIL(loop, caller.ready);
    send_request(&caller);
    struct endpoint *removed = caller.call.endpoint;
    (void)snprintf(line, sizeof line, "weir_breaker_state{processor=\"acme\",endpoint=\"%s\",route=\"\",state=\"closed\"} 0",
                   removed->text);
    const struct conf_processor conf = conf_of_ends(1);
    use(&conf);
    assert_int_equal(now().endpoint_count, 1);
    assert_true(removed->retired);
    assert_true(printed(line));
    struct bytes answer = BYTES(ANSWER);
    UNTIL(loop, fars[1].requests == 1);
    assert_int_equal(stream_write(fars[1].streams[0], &answer, 1).err, ERR_OK);
    UNTIL(loop, caller.end);
    finish(&caller);
    UNTIL(loop, removed->links[LINK_LEASED] + removed->links[LINK_IDLE] + removed->links[LINK_CLOSED] == 0);
    pass_many(2);
    assert_int_equal(fars[1].requests, 1);
}

static void test_an_address_that_comes_back_goes_on_where_it_was(void **state)
{
    struct conf_processor one = conf_of_ends(1), two = conf_of_ends(2);
    struct call_order order = order_of(false);
    struct caller caller;

    (void)state;
    order.avoid = address(0);
    fars[1].answer = NULL;
    (void)begin_order(&caller, order);
    UNTIL(loop, caller.ready);
    struct endpoint *endpoint = caller.call.endpoint;
    use(&one);
    use(&two);
    assert_ptr_equal(processor->endpoints[1], endpoint);
    assert_int_equal(endpoint_at(1).links_leased, 1);
    assert_true(endpoint_at(1).ramping);
    finish(&caller);
}

/* None of its links, nor its checks, is there any more. */
static bool last_retired_has_ended(void)
{
    struct endpoint *endpoint = list_last(&processor->retired, struct endpoint, in_endpoints);
    return endpoint->links[LINK_LEASED] + endpoint->links[LINK_IDLE] + endpoint->links[LINK_CLOSED] == 0 &&
           check_is_over(endpoint);
}

static void test_an_address_that_left_sick_comes_back_sick_for_some_minutes(void **state)
{
    struct conf_processor one = conf_of_ends(1), two = conf_of_ends(2);

    (void)state;
    two.breaker.min_requests = one.breaker.min_requests = 1;
    two.breaker.open_for_ms = one.breaker.open_for_ms = 60000;
    use(&two);
    fars[1].answer = ANSWER_503;
    pass_many(2);
    struct breaker_shown before = breaker_at(1);
    uint64_t latency_us = endpoint_at(1).latency_us;
    assert_int_equal(before.state, BREAKER_OPEN);
    use(&one);
    UNTIL(loop, last_retired_has_ended());
    let_pass(2 * CLOCK_US_PER_MS);
    use(&two);
    assert_int_equal(breaker_at(1).state, BREAKER_OPEN);
    assert_true(breaker_at(1).until_us == before.until_us);
    assert_true(endpoint_at(1).latency_us > 0 && endpoint_at(1).latency_us <= latency_us);
    use(&one);
    UNTIL(loop, last_retired_has_ended());
    list_last(&processor->retired, struct endpoint, in_endpoints)->retired_us -= REMEMBERED_US;
    use(&two);
    assert_int_equal(breaker_at(1).state, BREAKER_CLOSED);
}

static void test_no_more_addresses_are_remembered_than_there_may_be(void **state)
{
    struct addr addrs[ENDPOINTS_MAX];
    char text[32];

    (void)state;
    for (int set = 0; set < 4; set++) {
        for (int i = 0; i < ENDPOINTS_MAX; i++) {
            (void)snprintf(text, sizeof text, "127.1.%d.%d:80", set, i + 1);
            assert_true(addr_parse(bytes_from_text(text), &addrs[i]));
        }
        endpoints_set(processor, addrs, NULL, ENDPOINTS_MAX);
        let_pass(2 * CLOCK_US_PER_MS);
        int remembered = 0;
        list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
            remembered++;
        }
        assert_int_equal(remembered, set == 0 ? 2 : REMEMBERED_MAX); /* after the first, the two of this test */
    }
    assert_int_equal(strncmp(list_first(&processor->retired, struct endpoint, in_endpoints)->text, "127.1.2.", 8), 0);
}

static void test_weights_are_those_of_the_configuration(void **state)
{
    struct conf_processor conf = conf_of_ends(2);
    uint32_t weights[] = {3, 1};

    (void)state;
    conf.weights = weights;
    use(&conf);
    assert_int_equal(endpoint_at(0).weight, 3);
    pass_many(12);
    assert_true(fars[0].requests > 2 * fars[1].requests);
    conf.weights = NULL;
    use(&conf);
    assert_int_equal(endpoint_at(0).weight, 1);
}

/* ---- checks ---- */

static struct conf_processor checked(int ends)
{
    struct conf_processor conf = conf_of_ends(ends);
    conf.health = (struct conf_health_checks){
        .type = CONF_HEALTH_HTTP, .path = "/healthz", .status_min = 200, .status_max = 399, .every_ms = 10, .timeout_ms = 1000,
        .down_after = 2, .up_after = 2};
    return conf;
}

static void test_who_fails_its_checks_takes_no_call_and_comes_back_slowly(void **state)
{
    struct caller caller;
    char line[256];

    (void)state;
    fars[0].answer = ANSWER_503;
    const struct conf_processor conf = checked(1);
    use(&conf);
    UNTIL(loop, endpoint_at(0).health == HEALTH_DOWN);
    assert_string_equal(endpoint_at(0).health_words, "status 503");
    assert_true(processor->endpoints[0]->circuit.breaker.settings.checked);
    assert_false(processor_circuit(processor, "pay")->breaker.settings.checked); /* no check says anything of a route */
    assert_int_equal(now().endpoints_down, 1);
    (void)snprintf(line, sizeof line, "weir_processor_up{processor=\"acme\",endpoint=\"%s\"} 0", address(0));
    assert_true(printed(line));
    assert_int_equal(begin(&caller, true), CALL_START_REFUSED);
    assert_int_equal(caller.refusal.why, CALL_DOWN);
    finish(&caller);
    fars[0].answer = ANSWER;
    UNTIL(loop, endpoint_at(0).health == HEALTH_UP);
    assert_true(endpoint_at(0).ramping);
    const struct conf_processor unchecked = conf_of_ends(1);
    use(&unchecked);
    assert_int_equal(endpoint_at(0).health, HEALTH_UNKNOWN);
    assert_false(endpoint_at(0).checked);
}

static void test_nobody_waits_for_who_fails_its_checks(void **state)
{
    struct conf_processor conf = checked(1);
    struct caller held, waiting;

    (void)state;
    conf.connections = 1;
    conf.health.type = CONF_HEALTH_NONE;
    use(&conf);
    (void)begin(&held, false);
    UNTIL(loop, held.ready);
    (void)begin(&waiting, false);
    fars[0].answer = ANSWER_503;
    conf.health.type = CONF_HEALTH_HTTP;
    use(&conf);
    UNTIL(loop, waiting.refused);
    assert_int_equal(waiting.refusal.why, CALL_DOWN);
    finish(&waiting);
    finish(&held);
}

/* Whoever is stopped still accepts connections. */
static void test_a_connection_alone_is_no_probe_and_payments_do_not_leave_it_to_that(void **state)
{
    struct conf_processor conf = checked(1);
    const enum conf_health types[] = {CONF_HEALTH_TCP, CONF_HEALTH_HTTP};

    (void)state;
    fars[0].answer = NULL; /* what is asked of itself says nothing in time */
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        conf.health.type = types[i];
        use(&conf);
        struct endpoint *endpoint = processor->endpoints[0];
        assert_int_equal(endpoint->circuit.breaker.settings.checked, types[i] == CONF_HEALTH_HTTP);
        processor_force(processor, BREAKER_FORCED_OPEN, CLOCK_US_PER_S, "ada", "to be probed");
        processor_force(processor, BREAKER_AUTO, 0, "ada", "over");
        assert_int_equal(breaker_at(0).state, BREAKER_HALF_OPEN);
        assert_int_equal(endpoint->circuit.breaker.stage, 0);
        endpoint_on_check(endpoint, true, "");
        assert_int_equal(endpoint->circuit.breaker.stage, types[i] == CONF_HEALTH_HTTP ? 1 : 0);
        if (types[i] == CONF_HEALTH_TCP) {
            endpoint_on_check(endpoint, false, "refused");
            assert_int_equal(breaker_at(0).change.cause, BREAKER_CAUSE_PROBE);
            endpoint_on_check(endpoint, false, "refused");
            assert_int_equal(endpoint_at(0).health, HEALTH_DOWN);
            endpoint_on_check(endpoint, true, "");
            endpoint_on_check(endpoint, true, "");
            assert_int_equal(endpoint_at(0).health, HEALTH_UP);
        }
    }
}

/* A name that was given up with its processor is asked for again by who holds that one before its last link ended. */
static void test_who_is_held_again_while_it_ends_resolves_its_name_again(void **state)
{
    struct conf_processor conf = conf_of_ends(1);
    struct caller caller;

    (void)state;
    conf.host = "127.0.0.1";
    conf.port = far_port(&fars[0]);
    conf.endpoint_count = 0;
    use(&conf);
    fars[0].answer = NULL;
    UNTIL(loop, now().endpoint_count == 1);
    (void)begin(&caller, false);
    UNTIL(loop, caller.ready);
    processor_release(processor);
    UNTIL(loop, now().endpoint_count == 0);
    struct processor *ending = processor;
    processor = NULL;
    use(&conf);
    assert_ptr_equal(processor, ending);
    UNTIL(loop, now().endpoint_count == 1);
    finish(&caller);
}

#define WITH(open, test) cmocka_unit_test_setup_teardown(test, open, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_two, test_an_address_that_was_tried_is_avoided_while_there_is_another),
        WITH(open_two, test_who_asks_for_quiet_rests_while_there_is_another),
        WITH(open_two, test_no_more_quiet_than_half_a_minute_and_no_dates),
        WITH(open_two, test_one_callers_quota_is_not_the_endpoints_but_that_of_several_is),
        WITH(open_two, test_who_rests_is_up_when_there_is_no_other),
        WITH(open_two, test_a_retry_after_on_an_answer_that_is_none_of_these_is_not_heeded),
        WITH(open_two, test_who_refuses_connections_costs_no_call_while_there_is_another),
        WITH(open_two, test_an_endpoint_whose_breaker_is_open_is_passed_over),
        WITH(open_two, test_an_address_that_is_added_takes_up_its_share_slowly_and_none_does_at_the_start),
        WITH(open_two, test_an_endpoint_that_recovers_takes_up_its_share_slowly),
        WITH(open_two, test_an_address_that_is_removed_ends_what_it_carries),
        WITH(open_two, test_an_address_that_comes_back_goes_on_where_it_was),
        WITH(open_two, test_an_address_that_left_sick_comes_back_sick_for_some_minutes),
        WITH(open_two, test_no_more_addresses_are_remembered_than_there_may_be),
        WITH(open_two, test_weights_are_those_of_the_configuration),
        WITH(open_two, test_who_fails_its_checks_takes_no_call_and_comes_back_slowly),
        WITH(open_two, test_nobody_waits_for_who_fails_its_checks),
        WITH(open_two, test_a_connection_alone_is_no_probe_and_payments_do_not_leave_it_to_that),
        WITH(open_two, test_who_is_held_again_while_it_ends_resolves_its_name_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
