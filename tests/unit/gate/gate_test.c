/*
 * The gate as a whole: which generation a request lives on, and how everything
 * comes to rest: announced, drained, or cut.
 */
#include "gate_support.h"

static int quiet_count;

static int begin(void **state)
{
    (void)state;
    quiet_count = 0;
    world_open((struct world_wishes){0});
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_close();
    return 0;
}

static void on_quiet(void *owner)
{
    assert_ptr_equal(owner, &world);
    quiet_count++;
}

static void use(const struct world_wishes *wishes, uint32_t number)
{
    char why[400] = "";

    if (!gate_use(world.gate, world_generation(wishes, "127.0.0.1:0", number), why, sizeof why)) {
        fail_msg("%s", why);
    }
}

/* A payment that the processor has and does not answer yet. */
static void send_one(struct end *near)
{
    size_t before = far_bytes();

    near_open(near);
    near_say(near, ORDER);
    UNTIL(world.loop, far_bytes() > before);
}

/* ---- generations ---- */

static void test_a_request_ends_on_the_generation_that_it_began_with(void **state)
{
    const struct world_wishes smaller = {.pay = ", body: 2B"};
    struct generation *first = generation_hold(gate_generation(world.gate));
    uint16_t port = gate_port(world.gate, 0);
    struct end old, new;
    struct line line;

    (void)state;
    send_one(&old);
    use(&smaller, 2);
    assert_int_equal(generation_number(gate_generation(world.gate)), 2);
    assert_int_equal(gate_port(world.gate, 0), port); /* the same socket */
    assert_int_equal(generation_holders(first), 2);   /* the exchange, and this test */

    near_open(&new);
    near_ask(&new, ORDER, "\r\nWeir-Reason: body_too_large\r\n");
    next_line(&line);
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&old, "\r\n\r\nok"));
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    UNTIL(world.loop, generation_holders(first) == 1);
    generation_release(first);

    near_say(&old, ORDER); /* its next request is one of the new generation */
    UNTIL(world.loop, near_has(&old, "\r\nWeir-Reason: body_too_large\r\n"));
    next_line(&line);
    near_close(&old, false);
    near_close(&new, false);
}

/* The links stay where they were: what is refused must not have sent a payment elsewhere. */
static void test_a_generation_that_is_refused_changes_nothing(void **state)
{
    const struct world_wishes wishes = {.processor = ", pool: {connections: 1}", .pay = ", body: 2B"};
    char taken[40];
    char why[400] = "";
    struct end near;
    struct line line;

    (void)state;
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", (unsigned)acceptor_port(far.acceptor));
    struct generation *refused = world_generation(&wishes, taken, 2);
    assert_false(gate_use(world.gate, refused, why, sizeof why));
    assert_int_equal(generation_holders(refused), 1); /* still the caller's */
    generation_release(refused);
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ORDER, "\r\n\r\nok");
    next_line(&line);
    near_close(&near, false);
}

static void test_a_listener_that_is_gone_serves_its_running_request_and_closes(void **state)
{
    const struct world_wishes wishes = {0};
    char why[400] = "";
    struct end idle, running, late;
    struct line line;

    (void)state;
    near_open(&idle);
    send_one(&running);
    UNTIL(world.loop, world_state().clients == 2);
    assert_true(gate_use(world.gate, world_generation(&wishes, "127.0.0.2:0", 2), why, sizeof why));
    assert_int_equal(world_state().listener_count, 1);
    assert_int_equal(near_end(&idle), ERR_EOF);
    near_connect(&late);
    UNTIL(world.loop, near_refused(&late));
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&running, "\r\n\r\nok"));
    assert_true(near_has(&running, "\r\nConnection: close\r\n"));
    assert_int_equal(near_end(&running), ERR_EOF);
    next_line(&line);
    near_close(&idle, false);
    near_close(&running, false);
    near_close(&late, false);
}

/* ---- coming to rest ---- */

static void test_an_announced_drain_still_accepts_and_says_close(void **state)
{
    struct end near, another;
    struct line line;

    (void)state;
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ASK, "\r\n\r\nok");
    assert_false(near_has(&near, "Connection: close"));
    next_line(&line);
    gate_drain_announce(world.gate);
    near_open(&another);
    near_ask(&another, ASK, "\r\nConnection: close\r\n");
    assert_int_equal(near_end(&another), ERR_EOF);
    next_line(&line);
    near_ask(&near, ASK, "\r\nConnection: close\r\n");
    assert_int_equal(near_end(&near), ERR_EOF);
    next_line(&line);
    near_close(&near, false);
    near_close(&another, false);
}

static void test_a_drain_ends_idle_clients_waits_for_the_rest_and_tells_once(void **state)
{
    struct end idle, running, late;
    struct line line;

    (void)state;
    near_open(&idle);
    send_one(&running);
    UNTIL(world.loop, world_state().clients == 2);
    gate_drain(world.gate, on_quiet, &world);
    assert_int_equal(world_state().listener_count, 0);
    assert_int_equal(near_end(&idle), ERR_EOF);
    near_connect(&late);
    UNTIL(world.loop, near_refused(&late));
    near_close(&idle, false);
    UNTIL(world.loop, world_state().clients == 1);
    assert_int_equal(quiet_count, 0); /* a payment is on its way */

    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&running, "\r\n\r\nok"));
    assert_true(near_has(&running, "\r\nConnection: close\r\n"));
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    near_close(&running, false);
    UNTIL(world.loop, quiet_count > 0);
    assert_int_equal(world_state().exchanges, 0);
    turn(world.loop);
    assert_int_equal(quiet_count, 1);
    near_close(&late, false);
}

/* A client that left is no reason to stop: the exchange without it counts. */
static void test_a_drain_waits_for_a_payment_whose_client_left(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    send_one(&near);
    gate_drain(world.gate, on_quiet, &world);
    near_close(&near, true);
    UNTIL(world.loop, world_state().clients == 0);
    turn(world.loop);
    assert_int_equal(quiet_count, 0);
    far_say(0, ANSWER);
    UNTIL(world.loop, quiet_count == 1);
    next_line(&line);
    assert_verdict(&line, "client_gone", "answered", "client", "A");
}

static void test_a_drain_of_nothing_is_told_as_an_event_of_its_own(void **state)
{
    (void)state;
    gate_drain(world.gate, on_quiet, &world);
    assert_int_equal(quiet_count, 0); /* not from within the call */
    UNTIL(world.loop, quiet_count == 1);
    gate_check_quiet(world.gate); /* whatever else ends later */
    turn(world.loop);
    assert_int_equal(quiet_count, 1);
}

static void test_a_cut_says_of_each_request_what_is_known_and_counts_them(void **state)
{
    struct end reading, waiting, relaying;
    struct line line;

    (void)state;
    send_one(&relaying);
    far_say(0, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    UNTIL(world.loop, near_has(&relaying, "\r\n\r\nhalf"));
    send_one(&waiting);
    near_open(&reading);
    near_say(&reading, "POST /v1/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\npa");
    UNTIL(world.loop, world_state().exchanges == 3);
    assert_int_equal(world_state().exchanges_sent, 2);

    assert_int_equal(gate_cut(world.gate), 3);
    assert_int_equal(gate_cut(world.gate), 0); /* each is cut once */
    next_line(&line);
    assert_verdict(&line, "response_incomplete", "unknown", "weir", "A");
    next_line(&line);
    assert_verdict(&line, "response_timeout", "unknown", "weir", "W");
    next_line(&line);
    assert_verdict(&line, "draining", "not_sent", "weir", "B");
    assert_int_equal(near_end(&relaying), ERR_RESET); /* half an answer must not look whole */
    (void)near_end(&waiting);
    assert_true(near_has(&waiting, "HTTP/1.1 504 "));
    assert_true(near_has(&waiting, "\r\nWeir-Outcome: unknown\r\n"));
    (void)near_end(&reading);
    assert_true(near_has(&reading, "HTTP/1.1 503 "));
    assert_true(near_has(&reading, "\r\nWeir-Outcome: not_sent\r\n"));
    near_close(&relaying, false);
    near_close(&waiting, false);
    near_close(&reading, false);
}

static void test_a_cut_ends_a_drain(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    send_one(&near);
    gate_drain(world.gate, on_quiet, &world);
    assert_int_equal(gate_cut(world.gate), 1);
    next_line(&line);
    UNTIL(world.loop, quiet_count == 1);
    near_close(&near, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_ends_on_the_generation_that_it_began_with, begin, end),
        cmocka_unit_test_setup_teardown(test_a_generation_that_is_refused_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_a_listener_that_is_gone_serves_its_running_request_and_closes, begin, end),
        cmocka_unit_test_setup_teardown(test_an_announced_drain_still_accepts_and_says_close, begin, end),
        cmocka_unit_test_setup_teardown(test_a_drain_ends_idle_clients_waits_for_the_rest_and_tells_once, begin, end),
        cmocka_unit_test_setup_teardown(test_a_drain_waits_for_a_payment_whose_client_left, begin, end),
        cmocka_unit_test_setup_teardown(test_a_drain_of_nothing_is_told_as_an_event_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(test_a_cut_says_of_each_request_what_is_known_and_counts_them, begin, end),
        cmocka_unit_test_setup_teardown(test_a_cut_ends_a_drain, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
