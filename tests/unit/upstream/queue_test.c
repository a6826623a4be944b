/*
 * Who waits for a place at a processor: until there is one, or until it is
 * known that there will be none in time. Over real sockets.
 */
#include "upstream_support.h"

#include "upstream_internal.h"

/* One place, and a queue of `queue`. */
static struct conf_processor narrow(uint32_t queue)
{
    struct conf_processor conf = conf_of_ends(1);
    conf.connections = 1;
    conf.queue = queue;
    conf.breaker.min_requests = 1;
    return conf;
}

static int open_narrow(void **state)
{
    (void)state;
    (void)open_ends(1);
    const struct conf_processor conf = narrow(3);
    use(&conf);
    return 0;
}

static void hold_place(struct caller *caller)
{
    (void)begin(caller, false);
    UNTIL(loop, caller->ready);
}

/* So that a service time is known: it held its place for so long. */
static void serve_for(uint64_t us)
{
    struct caller caller;

    hold_place(&caller);
    let_pass(us);
    send_request(&caller);
    UNTIL(loop, caller.end);
    finish(&caller);
    assert_true(processor->service_us >= us);
}

static struct call_order order_due(uint64_t after_us)
{
    struct call_order order = order_of(false);
    order.due_us = clock_now_us() + after_us;
    return order;
}

static void test_who_cannot_be_served_in_time_is_told_on_arrival(void **state)
{
    struct caller held, late, patient;

    (void)state;
    serve_for(200000);
    hold_place(&held);
    assert_int_equal(begin_order(&late, order_due(1000)), CALL_START_REFUSED);
    assert_int_equal(late.refusal.why, CALL_QUEUE_FULL);
    assert_string_equal(late.refusal.words, "those that wait before it need longer than it has");
    assert_true(late.refusal.wait_us >= 200000);
    finish(&late);
    assert_int_equal(begin_order(&patient, order_due(60 * CLOCK_US_PER_S)), CALL_START_WAIT);
    finish(&patient);
    finish(&held);
}

/* It would get its place in time, and no answer: sent and cut is worse than told on arrival. */
static void test_who_would_be_sent_and_not_answered_in_time_is_told_on_arrival(void **state)
{
    struct caller held, late, patient;

    (void)state;
    serve_for(200000);
    hold_place(&held);
    uint64_t service_us = processor->service_us;
    assert_int_equal(begin_order(&late, order_due(service_us * 3 / 2)), CALL_START_REFUSED);
    assert_int_equal(late.refusal.why, CALL_QUEUE_FULL);
    finish(&late);
    assert_int_equal(begin_order(&patient, order_due(service_us * 5 / 2)), CALL_START_WAIT);
    finish(&patient);
    finish(&held);
}

static void test_nobody_is_refused_for_a_service_time_that_is_not_known(void **state)
{
    struct caller held, waiting;

    (void)state;
    hold_place(&held);
    assert_int_equal(begin_order(&waiting, order_due(1000)), CALL_START_WAIT);
    finish(&waiting);
    finish(&held);
}

static void test_service_times_are_a_moving_average(void **state)
{
    (void)state;
    queue_note_service(processor, 800);
    assert_int_equal(processor->service_us, 800);
    queue_note_service(processor, 1600);
    assert_int_equal(processor->service_us, 900);
    processor->service_us = 0;
    queue_note_service(processor, 0);
    assert_int_equal(processor->service_us, 1); /* 0 would be: nothing is known */
}

static void test_who_waited_too_long_is_refused_when_its_turn_comes(void **state)
{
    struct caller held, waiting;

    (void)state;
    hold_place(&held);
    (void)begin_order(&waiting, order_due(20000));
    let_pass(30000);
    finish(&held);
    UNTIL(loop, waiting.refused);
    assert_int_equal(waiting.refusal.why, CALL_QUEUE_FULL);
    finish(&waiting);
    assert_int_equal(now().queued, 0);
}

static void test_beyond_its_length_the_queue_refuses(void **state)
{
    struct caller held, waiting[3], refused;

    (void)state;
    hold_place(&held);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(begin(&waiting[i], false), CALL_START_WAIT);
    }
    assert_int_equal(begin(&refused, false), CALL_START_REFUSED);
    assert_int_equal(refused.refusal.why, CALL_QUEUE_FULL);
    assert_string_equal(refused.refusal.words, "too many requests wait for this processor");
    finish(&refused);
    finish(&held);
    for (int i = 0; i < 3; i++) {
        UNTIL(loop, waiting[i].ready);
        send_request(&waiting[i]);
        UNTIL(loop, waiting[i].end);
        finish(&waiting[i]);
    }
    assert_int_equal(now().in_flight, 0);
}

static void test_who_waits_for_endpoints_that_open_is_refused_at_once(void **state)
{
    struct caller held, waiting[2];

    (void)state;
    hold_place(&held);
    (void)begin(&waiting[0], false);
    (void)begin(&waiting[1], false);
    processor_force(processor, BREAKER_FORCED_OPEN, 60 * CLOCK_US_PER_S, "ada", "it is sick");
    UNTIL(loop, waiting[0].refused && waiting[1].refused);
    assert_int_equal(waiting[0].refusal.why, CALL_BREAKER_OPEN);
    assert_true(waiting[1].refusal.wait_us > 0);
    assert_int_equal(now().queued, 0);
    finish(&waiting[0]);
    finish(&waiting[1]);
    finish(&held);
}

static void test_who_waits_for_a_route_that_opens_is_refused_and_others_wait_on(void **state)
{
    struct caller held, of_route, other;
    struct call_order order = order_of(false);

    (void)state;
    far->answer = ANSWER_500;
    order.circuit = processor_circuit(processor, "pay");
    (void)begin_order(&held, order);
    UNTIL(loop, held.ready);
    (void)begin(&other, false);
    (void)begin_order(&of_route, order); /* behind who may go on waiting */
    send_request(&held);
    UNTIL(loop, of_route.refused);
    assert_int_equal(of_route.refusal.why, CALL_BREAKER_OPEN);
    assert_false(other.ready || other.refused);
    finish(&of_route);
    finish(&held);
    UNTIL(loop, other.ready);
    finish(&other);
}

/* Those that are being probed have room or have none: nobody waits for a probe's turn. */
static void test_nobody_waits_for_an_endpoint_that_is_probed(void **state)
{
    struct caller held, probe;

    (void)state;
    struct conf_processor conf = narrow(3);
    conf.breaker.open_for_ms = 20;
    use(&conf);
    far->answer = ANSWER_503;
    pass(&held, false);
    far->answer = NULL;
    UNTIL(loop, breaker_at(0).state == BREAKER_HALF_OPEN);
    (void)begin(&held, true);
    UNTIL(loop, held.ready);
    assert_int_equal(begin(&probe, true), CALL_START_REFUSED);
    assert_int_equal(probe.refusal.why, CALL_BREAKER_OPEN);
    finish(&probe);
    finish(&held);
}

static void test_who_waits_for_a_name_that_does_not_resolve_is_refused(void **state)
{
    struct conf_processor conf = conf_of_ends(1);
    struct caller first, second;

    (void)state;
    conf.endpoint_count = 0;
    conf.host = "nowhere.invalid";
    conf.queue = 2;
    use(&conf);
    assert_int_equal(begin(&first, false), CALL_START_WAIT);
    assert_int_equal(begin(&second, false), CALL_START_WAIT);
    UNTIL(loop, first.refused && second.refused);
    assert_int_equal(first.refusal.why, CALL_DNS_FAILED);
    finish(&first);
    finish(&second);
    assert_int_equal(now().queued, 0);
    assert_int_equal(begin(&first, false), CALL_START_REFUSED);
    assert_int_equal(first.refusal.why, CALL_DNS_FAILED);
    finish(&first);
}

#define WITH(open, test) cmocka_unit_test_setup_teardown(test, open, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_narrow, test_who_cannot_be_served_in_time_is_told_on_arrival),
        WITH(open_narrow, test_who_would_be_sent_and_not_answered_in_time_is_told_on_arrival),
        WITH(open_narrow, test_nobody_is_refused_for_a_service_time_that_is_not_known),
        WITH(open_narrow, test_service_times_are_a_moving_average),
        WITH(open_narrow, test_who_waited_too_long_is_refused_when_its_turn_comes),
        WITH(open_narrow, test_beyond_its_length_the_queue_refuses),
        WITH(open_narrow, test_who_waits_for_endpoints_that_open_is_refused_at_once),
        WITH(open_narrow, test_who_waits_for_a_route_that_opens_is_refused_and_others_wait_on),
        WITH(open_narrow, test_nobody_waits_for_an_endpoint_that_is_probed),
        WITH(open_narrow, test_who_waits_for_a_name_that_does_not_resolve_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
