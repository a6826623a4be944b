/*
 * For how long an idle link is kept, and who may have it: what an endpoint's
 * closings and its Keep-Alive teach. Over real sockets.
 */
#include "upstream_support.h"

#include "upstream_internal.h"

#define KEEP_ALIVE(value) "HTTP/1.1 200 OK\r\nKeep-Alive: " value "\r\nContent-Length: 2\r\n\r\nok"

static uint64_t limit(void)
{
    return endpoint_at(0).idle_limit_us;
}

static void test_keep_alive_teaches_in_any_case_and_order(void **state)
{
    static const struct row {
        const char *answer;
        uint64_t limit_us;
    } rows[] = {
        {KEEP_ALIVE("timeout=3"), 2000000},
        {KEEP_ALIVE("max=100, TIMEOUT=4"), 3000000},
        {KEEP_ALIVE("Timeout = 3 ,max=5"), 2000000},
    };
    struct caller caller;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        far->answer = rows[i].answer;
        pass(&caller, true);
        assert_int_equal(limit(), rows[i].limit_us);
    }
    far->answer = KEEP_ALIVE("max=7, timeout=soon");
    pass(&caller, true);
    assert_int_equal(limit(), 2000000);
    assert_int_equal(far->accepted, 1);
}

static void test_pool_idle_is_the_most(void **state)
{
    struct conf_processor conf = conf_of_ends(1);
    struct caller caller;

    (void)state;
    conf.link_idle_ms = 700;
    use(&conf);
    far->answer = KEEP_ALIVE("timeout=60");
    pass(&caller, true);
    assert_int_equal(limit(), 700000);
}

static void test_a_link_older_than_the_limit_is_closed_in_time(void **state)
{
    struct caller caller;

    (void)state;
    far->answer = KEEP_ALIVE("timeout=1"); /* half a second is safe */
    pass(&caller, true);
    assert_int_equal(limit(), 500000);
    assert_int_equal(now().links_idle, 1);
    uint64_t since_us = clock_now_us();
    UNTIL(loop, now().links_idle == 0);
    assert_true(clock_now_us() - since_us >= 400000);
    UNTIL(loop, far->streams[0] == NULL);
}

static void test_a_link_that_is_too_old_for_the_limit_is_not_taken(void **state)
{
    struct caller caller;

    (void)state;
    pass(&caller, true);
    let_pass(30000);
    idle_limit_closed(&processor->endpoints[0]->idle_limit, 20000, clock_now_us()); /* as another link would have taught */
    assert_int_equal(begin(&caller, true), CALL_START_WAIT);
    finish(&caller);
}

static void test_a_link_that_is_closed_while_idle_teaches_how_long_they_live(void **state)
{
    struct caller caller;

    (void)state;
    pass(&caller, true);
    assert_int_equal(limit(), IDLE_START_US);
    let_pass(60000);
    far_close_streams(far);
    UNTIL(loop, now().links_idle == 0);
    assert_true(limit() < IDLE_START_US);
    assert_true(limit() >= 45000);
}

/* Two links, of which the one that was used last ends: that is no idleness, or the other would have ended before. */
static void test_a_young_link_that_ends_teaches_nothing_while_an_older_one_lives(void **state)
{
    struct caller first, second;

    (void)state;
    (void)begin(&first, true);
    UNTIL(loop, first.ready);
    (void)begin(&second, true);
    UNTIL(loop, second.ready);
    send_request(&first);
    UNTIL(loop, first.end);
    finish(&first);
    let_pass(30000);
    send_request(&second);
    UNTIL(loop, second.end);
    finish(&second);
    assert_int_equal(now().links_idle, 2);
    stream_close(far->streams[1], false); /* the links were accepted in their order */
    far->streams[1] = NULL;
    UNTIL(loop, now().links_idle == 1);
    assert_int_equal(limit(), IDLE_START_US);
}

static void test_a_request_that_a_closing_link_lost_teaches_too(void **state)
{
    struct caller caller;

    (void)state;
    pass(&caller, true);
    let_pass(2 * IDLE_SURE_US);
    assert_int_equal(begin(&caller, true), CALL_START_READY);
    far->reset = true;
    send_request(&caller);
    UNTIL(loop, caller.failed);
    finish(&caller);
    assert_true(limit() < IDLE_START_US);
}

static void test_what_must_be_fresh_takes_no_link_that_was_kept(void **state)
{
    struct call_order order = order_of(true);
    struct caller caller;

    (void)state;
    pass(&caller, true);
    order.fresh = true;
    assert_int_equal(begin_order(&caller, order), CALL_START_WAIT);
    UNTIL(loop, caller.ready);
    assert_false(caller.call.reused);
    assert_int_equal(far->accepted, 2);
    finish(&caller);
}

/* ---- retries ---- */

static void test_retries_are_paid_from_a_budget(void **state)
{
    uint64_t wait_us = 0;
    int taken = 0;

    (void)state;
    assert_true(processor_take_retry(processor, false, 1, &wait_us));
    assert_true(wait_us <= RETRY_WAIT_FIRST_US);
    while (processor_take_retry(processor, true, 1, &wait_us)) {
        taken++;
        assert_true(taken <= (int)(RETRY_BALANCE_MAX / RETRY_COST_SENT));
    }
    assert_true(taken >= (int)(RETRY_BALANCE_START / RETRY_COST_SENT) - 1);
    assert_true(printed("weir_processor_retries_total{processor=\"acme\",sent=\"false\"} 1"));
    assert_true(printed("weir_processor_retries_refused_total{processor=\"acme\"} 1"));
}

static void test_first_attempts_pay_in_and_others_do_not(void **state)
{
    struct call_order again = order_of(true);
    struct caller caller;

    (void)state;
    pass(&caller, true);
    uint32_t before = processor->retries.balance;
    uint64_t before_us = processor->retries.filled_us;
    again.fresh = true;
    pass_order(&caller, again);
    again.fresh = false;
    again.avoid = "10.0.0.1:443";
    pass_order(&caller, again);
    assert_int_equal(processor->retries.balance, before);
    assert_int_equal(processor->retries.filled_us, before_us);
    pass(&caller, true);
    assert_true(processor->retries.balance >= before + RETRY_DEPOSIT);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_keep_alive_teaches_in_any_case_and_order),
        WITH(test_pool_idle_is_the_most),
        WITH(test_a_link_older_than_the_limit_is_closed_in_time),
        WITH(test_a_link_that_is_too_old_for_the_limit_is_not_taken),
        WITH(test_a_link_that_is_closed_while_idle_teaches_how_long_they_live),
        WITH(test_a_young_link_that_ends_teaches_nothing_while_an_older_one_lives),
        WITH(test_a_request_that_a_closing_link_lost_teaches_too),
        WITH(test_what_must_be_fresh_takes_no_link_that_was_kept),
        WITH(test_retries_are_paid_from_a_budget),
        WITH(test_first_attempts_pay_in_and_others_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
