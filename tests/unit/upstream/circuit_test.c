/*
 * What each way that a call ends says to the breakers of its endpoint and of
 * its route, and what the breakers then do to calls. Over real sockets; that a
 * breaker opens when it should is tests/unit/policy/breaker_test.c.
 */
#include "upstream_support.h"

#include "upstream_internal.h"

#define LABELS_OF_ROUTE "processor=\"acme\",endpoint=\"\",route=\"pay\""

static struct circuit *pay;

/* As easily opened as can be: by one call. */
static struct conf_processor touchy(int ends)
{
    struct conf_processor conf = conf_of_ends(ends);
    conf.breaker.min_requests = 1;
    conf.breaker.open_for_ms = 40;
    conf.breaker.open_max_ms = 40;
    conf.connections = 4;
    return conf;
}

static int open_route(void **state)
{
    (void)open_world(state);
    pay = processor_circuit(processor, "pay");
    assert_non_null(pay);
    return 0;
}

static int open_touchy(void **state)
{
    (void)state;
    (void)open_ends(1);
    const struct conf_processor conf = touchy(1);
    use(&conf);
    pay = processor_circuit(processor, "pay");
    assert_non_null(pay);
    return 0;
}

static struct call_order order_to_pay(bool safe)
{
    struct call_order order = order_of(safe);
    order.circuit = pay;
    return order;
}

static void pass_to_pay(struct caller *caller)
{
    pass_order(caller, order_to_pay(false));
}

static void assert_told(struct breaker_shown shown, uint32_t calls, uint32_t failed)
{
    assert_int_equal(shown.calls, calls);
    assert_int_equal(shown.failed, failed);
}

/* Nothing is in flight in any breaker, however calls went. */
static void assert_none_flies(void)
{
    assert_int_equal(pay->breaker.in_flight, 0);
    assert_int_equal(processor->endpoints[0]->circuit.breaker.in_flight, 0);
    assert_int_equal(now().in_flight, 0);
}

/* ---- what is told ---- */

static void test_an_answer_is_health_to_both_and_a_decline_is_an_answer(void **state)
{
    struct caller caller;

    (void)state;
    pass_to_pay(&caller);
    far->answer = "HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\n\r\n";
    pass_to_pay(&caller);
    assert_int_equal(caller.status, 402);
    assert_told(breaker_at(0), 2, 0);
    assert_told(circuit_at(0), 2, 0);
    assert_none_flies();
}

static void test_a_500_is_of_the_route_and_a_503_of_the_endpoint(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = ANSWER_500;
    pass_to_pay(&caller);
    assert_told(breaker_at(0), 1, 0);
    assert_told(circuit_at(0), 1, 1);
    far->answer = ANSWER_503;
    pass_to_pay(&caller);
    assert_told(breaker_at(0), 2, 1);
    assert_told(circuit_at(0), 1, 1);
    assert_true(endpoint_at(0).latency_us >= BALANCE_PENALTY_US); /* fast failures attract nothing */
}

static void test_a_429_says_nothing_to_breakers_and_sends_less(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";
    pass_to_pay(&caller);
    assert_told(breaker_at(0), 0, 0);
    assert_told(circuit_at(0), 0, 0);
    assert_true(endpoint_at(0).latency_us >= BALANCE_PENALTY_US);
}

static void test_a_reset_is_of_the_endpoint_alone(void **state)
{
    struct caller caller;

    (void)state;
    far->reset = true;
    pass_to_pay(&caller);
    assert_true(caller.failed);
    assert_told(breaker_at(0), 1, 1);
    assert_told(circuit_at(0), 0, 0);
    assert_none_flies();
}

static void test_an_answer_that_is_none_is_a_failure(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = "SMTP ready\r\n\r\n";
    pass_to_pay(&caller);
    assert_int_equal(caller.failure, CALL_MALFORMED);
    assert_told(breaker_at(0), 1, 1);
}

static void test_a_body_that_breaks_is_one_failure_whatever_its_status_was(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    (void)begin_order(&caller, order_to_pay(false));
    UNTIL(loop, caller.ready);
    send_request(&caller);
    UNTIL(loop, caller.head);
    assert_true(caller.call.parked);
    assert_int_equal(pay->breaker.in_flight, 0); /* a long body is no slow answer */
    far_close_streams(far);
    UNTIL(loop, caller.failed);
    finish(&caller);
    assert_told(breaker_at(0), 1, 1);
    assert_none_flies();
}

static void test_a_long_body_counts_once_when_it_is_whole(void **state)
{
    struct bytes rest = BYTES("-done");
    struct caller caller;

    (void)state;
    far->answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    (void)begin_order(&caller, order_to_pay(false));
    UNTIL(loop, caller.ready);
    send_request(&caller);
    UNTIL(loop, caller.head);
    assert_told(breaker_at(0), 0, 0);
    assert_int_equal(stream_write(far->streams[0], &rest, 1).err, ERR_OK);
    UNTIL(loop, caller.end);
    finish(&caller);
    assert_told(breaker_at(0), 1, 0);
    assert_told(circuit_at(0), 1, 0);
}

/* Leased, sent, and no answer. */
static void begin_in_silence(struct caller *caller)
{
    far->answer = NULL;
    (void)begin_order(caller, order_to_pay(false));
    UNTIL(loop, caller->ready);
    send_request(caller);
}

static void test_a_timeout_counts_at_both(void **state)
{
    struct caller caller;

    (void)state;
    begin_in_silence(&caller);
    finish_timed_out(&caller);
    assert_told(breaker_at(0), 1, 1);
    assert_told(circuit_at(0), 1, 1);
    assert_int_equal(breaker_at(0).slow, 1);
    assert_int_equal(pay->breaker.in_a_row, 0); /* few in a row are an endpoint's matter */
    assert_int_equal(processor->endpoints[0]->circuit.breaker.in_a_row, 1);
    assert_none_flies();
}

static void test_a_call_that_lingers_has_timed_out_whatever_still_comes(void **state)
{
    struct conf_processor conf = conf_of_ends(1);
    struct bytes late = BYTES(ANSWER);
    struct caller caller;

    (void)state;
    conf.connections = 4; /* a quarter may linger */
    use(&conf);
    begin_in_silence(&caller);
    assert_true(call_linger(&caller.call));
    assert_told(breaker_at(0), 1, 1);
    assert_int_equal(now().lingering, 1);
    assert_int_equal(stream_write(far->streams[0], &late, 1).err, ERR_OK);
    UNTIL(loop, caller.end);
    finish_timed_out(&caller);
    assert_told(breaker_at(0), 1, 1);
    assert_told(circuit_at(0), 1, 1);
    assert_int_equal(now().lingering, 0);
}

static void test_a_caller_that_leaves_says_nothing(void **state)
{
    struct caller caller;

    (void)state;
    begin_in_silence(&caller);
    finish(&caller);
    (void)begin_order(&caller, order_to_pay(false)); /* and while it connects */
    finish(&caller);
    assert_told(breaker_at(0), 0, 0);
    assert_told(circuit_at(0), 0, 0);
    assert_none_flies();
}

static void test_a_kept_link_that_breaks_under_its_request_says_nothing(void **state)
{
    struct caller caller;

    (void)state;
    pass_to_pay(&caller);
    assert_int_equal(begin_order(&caller, order_to_pay(false)), CALL_START_READY);
    assert_true(caller.call.reused);
    far_close_streams(far);
    UNTIL(loop, caller.failed);
    finish(&caller);
    assert_told(breaker_at(0), 1, 0);
    pass_to_pay(&caller);
    let_pass(IDLE_SURE_US + 1000);
    assert_int_equal(begin_order(&caller, order_to_pay(true)), CALL_START_READY);
    far->reset = true;
    send_request(&caller); /* nor does one that was old and breaks as soon as it is used: its idle timeout met the request */
    UNTIL(loop, caller.failed);
    finish(&caller);
    assert_told(breaker_at(0), 2, 0);
    pass_to_pay(&caller); /* a new one that breaks does, */
    assert_true(caller.failed);
    assert_told(breaker_at(0), 3, 1);
    far->reset = false;
    pass_to_pay(&caller);
    assert_int_equal(begin_order(&caller, order_to_pay(false)), CALL_START_READY);
    far->reset = true;
    send_request(&caller); /* and so does a hot one */
    UNTIL(loop, caller.failed);
    finish(&caller);
    assert_told(breaker_at(0), 5, 2);
}

static void test_a_connect_that_fails_counts_at_the_endpoint_though_its_caller_left(void **state)
{
    struct caller caller;

    (void)state;
    far_vanish(far);
    assert_int_equal(begin_order(&caller, order_to_pay(false)), CALL_START_WAIT);
    finish(&caller);
    UNTIL(loop, breaker_at(0).failed == 1);
    (void)begin_order(&caller, order_to_pay(false));
    UNTIL(loop, caller.refused);
    assert_int_equal(caller.refusal.why, CALL_CONNECT_FAILED);
    finish(&caller);
    assert_told(breaker_at(0), 2, 2);
    assert_told(circuit_at(0), 0, 0);
    assert_none_flies();
}

static void test_a_timeout_of_an_endpoint_that_is_known_to_be_sick_is_not_the_routes(void **state)
{
    struct caller silent, sick;

    (void)state;
    begin_in_silence(&silent);
    far->answer = ANSWER_503;
    pass_to_pay(&sick);
    assert_int_equal(breaker_at(0).state, BREAKER_OPEN);
    finish_timed_out(&silent);
    assert_int_equal(circuit_at(0).state, BREAKER_CLOSED);
    assert_int_equal(circuit_at(0).failed, 0);
}

/* Or both would open, and the route would keep its reads from being the endpoint's first probe. */
static void test_silence_is_of_the_endpoint_and_not_of_the_route(void **state)
{
    struct conf_processor conf = touchy(1);
    struct caller silent;

    (void)state;
    conf.breaker.slow_ms = 50;
    use(&conf);
    pass_to_pay(&silent); /* it is busy: touchy asks for one call */
    far->answer = NULL;
    begin_in_silence(&silent);
    UNTIL(loop, breaker_at(0).state == BREAKER_OPEN);
    assert_int_equal(circuit_at(0).state, BREAKER_CLOSED);
    finish_timed_out(&silent);
    assert_int_equal(circuit_at(0).state, BREAKER_CLOSED);
    assert_int_equal(circuit_at(0).slow, 0);
    assert_none_flies();
}

/* ---- what breakers do ---- */

static void test_refused_connections_open_the_endpoint_and_calls_are_refused(void **state)
{
    struct caller caller;

    (void)state;
    far_vanish(far);
    for (int i = 0; i < BREAKER_UNREACHED_MAX; i++) {
        pass_to_pay(&caller);
        assert_int_equal(caller.refusal.why, CALL_CONNECT_FAILED);
    }
    assert_int_equal(breaker_at(0).state, BREAKER_OPEN);
    assert_int_equal(breaker_at(0).change.cause, BREAKER_CAUSE_UNREACHED);
    assert_int_equal(now().endpoints_open, 1);
    assert_int_equal(begin_order(&caller, order_to_pay(false)), CALL_START_REFUSED);
    assert_int_equal(caller.refusal.why, CALL_BREAKER_OPEN);
    assert_true(caller.refusal.wait_us > 0 && caller.refusal.wait_us <= 2500000);
    finish(&caller);
    assert_true(printed("weir_breaker_transitions_total{processor=\"acme\",to=\"open\",cause=\"unreached\"} 1"));
    assert_true(printed("weir_breaker_state{" LABELS_OF_ROUTE ",state=\"open\"} 0"));
    assert_true(printed("weir_breaker_state{" LABELS_OF_ROUTE ",state=\"closed\"} 1"));
    assert_none_flies();
}

static void test_an_open_route_refuses_its_own_calls_alone(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = ANSWER_500;
    pass_to_pay(&caller);
    assert_int_equal(circuit_at(0).state, BREAKER_OPEN);
    assert_int_equal(now().circuits_open, 1);
    assert_true(printed("weir_breaker_state{" LABELS_OF_ROUTE ",state=\"open\"} 1"));
    far->answer = ANSWER;
    assert_int_equal(begin_order(&caller, order_to_pay(false)), CALL_START_REFUSED);
    assert_int_equal(caller.refusal.why, CALL_BREAKER_OPEN);
    finish(&caller);
    pass(&caller, false);
    assert_true(caller.end);
}

static void test_the_first_probe_is_no_payment_and_the_route_comes_back(void **state)
{
    struct caller first, caller;

    (void)state;
    far->answer = ANSWER_500;
    pass_to_pay(&caller);
    far->answer = ANSWER;
    UNTIL(loop, circuit_at(0).state == BREAKER_HALF_OPEN);
    assert_int_equal(begin_order(&caller, order_to_pay(false)), CALL_START_REFUSED);
    assert_int_equal(caller.refusal.why, CALL_BREAKER_OPEN);
    finish(&caller);
    (void)begin_order(&first, order_to_pay(true));
    assert_false(first.refused);
    assert_int_equal(begin_order(&caller, order_to_pay(true)), CALL_START_REFUSED); /* one at a time, while it connects, too */
    finish(&caller);
    UNTIL(loop, first.ready);
    send_request(&first);
    UNTIL(loop, first.end);
    finish(&first);
    assert_int_equal(circuit_at(0).change.cause, BREAKER_CAUSE_TIME);
    assert_int_equal(pay->breaker.stage, 1);
}

/* Its route let it through: whatever becomes of it, no other is the first probe beside it. */
static void test_a_probe_that_waits_for_a_place_is_the_probe(void **state)
{
    struct caller held, waits, caller;

    (void)state;
    struct conf_processor conf = touchy(1);
    conf.connections = 1;
    conf.queue = 4;
    use(&conf);
    far->answer = ANSWER_500;
    pass_to_pay(&caller);
    far->answer = ANSWER;
    (void)begin(&held, true);
    UNTIL(loop, held.ready && circuit_at(0).state == BREAKER_HALF_OPEN);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(begin_order(&waits, order_to_pay(true)), CALL_START_WAIT);
        assert_int_equal(waits.call.state, CALL_QUEUED);
        assert_int_equal(pay->breaker.in_flight, 1);
        assert_false(breaker_admits(&pay->breaker, BREAKER_BY_READ, clock_now_us()));
        if (i == 0) {
            finish(&waits); /* it gives up, and says nothing */
            assert_int_equal(pay->breaker.in_flight, 0);
        }
    }
    finish(&held);
    UNTIL(loop, waits.ready);
    send_request(&waits);
    UNTIL(loop, waits.end);
    finish(&waits);
    assert_int_equal(pay->breaker.stage, 1);
    assert_none_flies();
}

static void test_a_probe_goes_to_another_endpoint_when_it_may_not_be_the_first(void **state)
{
    struct caller caller;

    (void)state;
    far_listen(&fars[1]);
    const struct conf_processor conf = touchy(2);
    use(&conf);
    fars[0].answer = fars[1].answer = ANSWER_503;
    pass(&caller, false);
    fars[0].answer = fars[1].answer = ANSWER;
    int open = breaker_at(0).state == BREAKER_OPEN ? 0 : 1;
    UNTIL(loop, breaker_at(open).state == BREAKER_HALF_OPEN);
    int before = fars[open].requests;
    for (int i = 0; i < 6; i++) {
        pass(&caller, false);
        assert_true(caller.end);
    }
    assert_int_equal(fars[open].requests, before);
}

static void test_an_idle_processor_does_not_wake(void **state)
{
    struct caller caller;

    (void)state;
    pass_to_pay(&caller);
    assert_true(timer_armed(&processor->circuit_timer));
    UNTIL(loop, !timer_armed(&processor->circuit_timer));
}

static void test_more_routes_than_there_may_be_circuits_share_the_last(void **state)
{
    char name[32];
    struct circuit *last = NULL;

    (void)state;
    for (int i = 1; i < CIRCUITS_MAX; i++) {
        (void)snprintf(name, sizeof name, "route-%d", i);
        last = processor_circuit(processor, name);
        assert_non_null(last);
    }
    assert_ptr_equal(processor_circuit(processor, "one-more"), last);
    assert_ptr_equal(processor_circuit(processor, "pay"), pay);
    assert_int_equal(now().circuit_count, CIRCUITS_MAX);
}

static void test_a_circuit_goes_with_its_last_holder_and_its_last_call(void **state)
{
    struct caller caller;

    (void)state;
    struct circuit *again = processor_circuit(processor, "pay");
    assert_ptr_equal(again, pay);
    circuit_release(again);
    let_pass(2 * CLOCK_US_PER_MS);
    assert_int_equal(now().circuit_count, 1); /* the other holds it */
    far->answer = NULL;
    (void)begin_order(&caller, order_to_pay(false));
    UNTIL(loop, caller.ready);
    circuit_release(pay);
    let_pass(2 * CLOCK_US_PER_MS);
    assert_int_equal(now().circuit_count, 1); /* a call is in it */
    assert_true(printed("weir_breaker_state{" LABELS_OF_ROUTE ",state=\"closed\"} 1"));
    finish(&caller);
    UNTIL(loop, now().circuit_count == 0);
    assert_true(printed("weir_breaker_state{" LABELS_OF_ROUTE ",state=\"closed\"} 0"));
}

static void test_a_circuit_that_is_held_again_in_time_goes_on_as_it_was(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = ANSWER_500;
    pass_to_pay(&caller);
    assert_int_equal(circuit_at(0).state, BREAKER_OPEN);
    circuit_release(pay); /* of the older generation, after the newer had it: or before, within a turn */
    pay = processor_circuit(processor, "pay");
    let_pass(2 * CLOCK_US_PER_MS);
    assert_int_equal(now().circuit_count, 1);
    assert_int_not_equal(circuit_at(0).state, BREAKER_CLOSED);
    circuit_release(pay);
    UNTIL(loop, now().circuit_count == 0 && !timer_armed(&processor->circuit_timer)); /* open or not, it wakes nobody */
    pay = processor_circuit(processor, "pay");
    assert_int_equal(circuit_at(0).state, BREAKER_CLOSED);
    assert_true(printed("weir_breaker_state{" LABELS_OF_ROUTE ",state=\"closed\"} 1"));
}

/* ---- an operator ---- */

static void test_an_operators_word_holds_for_all_breakers_also_those_made_later(void **state)
{
    struct caller caller;

    (void)state;
    processor_force(processor, BREAKER_FORCED_OPEN, 60 * CLOCK_US_PER_S, "ada", "the processor said so");
    assert_int_equal(breaker_at(0).forced, BREAKER_FORCED_OPEN);
    assert_int_equal(circuit_at(0).state, BREAKER_OPEN);
    assert_string_equal(now().forced_by, "ada");
    assert_string_equal(now().forced_why, "the processor said so");
    assert_int_equal(now().forced, BREAKER_FORCED_OPEN);
    assert_non_null(processor_circuit(processor, "later"));
    assert_int_equal(circuit_at(1).state, BREAKER_OPEN);
    far_listen(&fars[1]);
    const struct conf_processor conf = conf_of_ends(2);
    use(&conf);
    assert_int_equal(breaker_at(1).state, BREAKER_OPEN);
    assert_int_equal(begin(&caller, true), CALL_START_REFUSED);
    assert_int_equal(caller.refusal.why, CALL_BREAKER_OPEN);
    finish(&caller);
    processor_force(processor, BREAKER_AUTO, 0, "ada", "over");
    assert_int_equal(breaker_at(0).state, BREAKER_HALF_OPEN);
    assert_int_equal(breaker_at(1).forced, BREAKER_AUTO);
    assert_null(now().forced_by);
    pass(&caller, true);
    assert_true(caller.end);
}

static void test_an_operators_word_ends_by_itself(void **state)
{
    (void)state;
    processor_force(processor, BREAKER_FORCED_CLOSED, 30000, "ada", "a drill");
    assert_int_equal(breaker_at(0).forced, BREAKER_FORCED_CLOSED);
    UNTIL(loop, breaker_at(0).forced == BREAKER_AUTO && circuit_at(0).forced == BREAKER_AUTO);
    assert_int_equal(now().forced, BREAKER_AUTO);
    assert_int_equal(breaker_at(0).change.cause, BREAKER_CAUSE_EXPIRED);
    UNTIL(loop, !timer_armed(&processor->circuit_timer));
}

static void test_a_long_reason_is_cut(void **state)
{
    char why[400];

    (void)state;
    memset(why, 'y', sizeof why - 1);
    why[sizeof why - 1] = '\0';
    processor_force(processor, BREAKER_FORCED_OPEN, CLOCK_US_PER_S, "ada", why);
    assert_int_equal(strlen(now().forced_why), 200);
    processor_force(processor, BREAKER_AUTO, 0, "ada", "over");
}

/* ---- what is written down ---- */

static void test_changes_are_told_with_their_numbers(void **state)
{
    char path[64] = P_tmpdir "/weir-circuit-test-XXXXXX", why[256], text[16384];
    struct caller caller;

    int fd = mkstemp(path);
    assert_true(fd >= 0);
    log_of_test = log_open();
    const struct log_sink sinks[LOG_STREAM_COUNT] = {{path, LOG_JSON, LOG_DEBUG}, {path, LOG_JSON, LOG_DEBUG}};
    assert_int_equal(log_configure(log_of_test, sinks, why, sizeof why), ERR_OK);
    (void)open_touchy(state);
    far->answer = ANSWER_500;
    pass_to_pay(&caller);
    UNTIL(loop, circuit_at(0).state == BREAKER_HALF_OPEN);
    processor_force(processor, BREAKER_FORCED_CLOSED, 60 * CLOCK_US_PER_S, "ada", "it is well");
    (void)close_world(state);
    log_close(log_of_test, 5000);
    log_of_test = NULL;
    ssize_t len = read(fd, text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = '\0';
    (void)close(fd);
    (void)unlink(path);
    assert_non_null(strstr(text, "\"level\":\"warn\",\"event\":\"breaker_open\",\"message\":\"100% of 1 calls in 10 s failed\","
                                 "\"processor\":\"acme\",\"route\":\"pay\",\"cause\":\"failures\",\"calls\":1,\"failed\":1"));
    assert_non_null(strstr(text, "\"event\":\"breaker_half_open\""));
    assert_non_null(strstr(text, "\"event\":\"breaker_forced_by_operator\""));
    assert_non_null(strstr(text, "\"actor\":\"ada\",\"processor\":\"acme\",\"breakers\":\"closed\",\"why\":\"it is well\",\"until\":\"20"));
    assert_non_null(strstr(text, "\"event\":\"breaker_closed\",\"message\":\"an operator said so\""));
}

#define WITH(open, test) cmocka_unit_test_setup_teardown(test, open, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_route, test_an_answer_is_health_to_both_and_a_decline_is_an_answer),
        WITH(open_route, test_a_500_is_of_the_route_and_a_503_of_the_endpoint),
        WITH(open_route, test_a_429_says_nothing_to_breakers_and_sends_less),
        WITH(open_route, test_a_reset_is_of_the_endpoint_alone),
        WITH(open_route, test_an_answer_that_is_none_is_a_failure),
        WITH(open_route, test_a_body_that_breaks_is_one_failure_whatever_its_status_was),
        WITH(open_route, test_a_long_body_counts_once_when_it_is_whole),
        WITH(open_route, test_a_timeout_counts_at_both),
        WITH(open_route, test_a_call_that_lingers_has_timed_out_whatever_still_comes),
        WITH(open_route, test_a_caller_that_leaves_says_nothing),
        WITH(open_route, test_a_kept_link_that_breaks_under_its_request_says_nothing),
        WITH(open_route, test_a_connect_that_fails_counts_at_the_endpoint_though_its_caller_left),
        WITH(open_touchy, test_a_timeout_of_an_endpoint_that_is_known_to_be_sick_is_not_the_routes),
        WITH(open_touchy, test_silence_is_of_the_endpoint_and_not_of_the_route),
        WITH(open_route, test_refused_connections_open_the_endpoint_and_calls_are_refused),
        WITH(open_touchy, test_an_open_route_refuses_its_own_calls_alone),
        WITH(open_touchy, test_the_first_probe_is_no_payment_and_the_route_comes_back),
        WITH(open_touchy, test_a_probe_that_waits_for_a_place_is_the_probe),
        WITH(open_touchy, test_a_probe_goes_to_another_endpoint_when_it_may_not_be_the_first),
        WITH(open_route, test_an_idle_processor_does_not_wake),
        WITH(open_route, test_more_routes_than_there_may_be_circuits_share_the_last),
        WITH(open_route, test_a_circuit_goes_with_its_last_holder_and_its_last_call),
        WITH(open_touchy, test_a_circuit_that_is_held_again_in_time_goes_on_as_it_was),
        WITH(open_route, test_an_operators_word_holds_for_all_breakers_also_those_made_later),
        WITH(open_route, test_an_operators_word_ends_by_itself),
        WITH(open_route, test_a_long_reason_is_cut),
        cmocka_unit_test(test_changes_are_told_with_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
