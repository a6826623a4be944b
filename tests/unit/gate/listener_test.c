/*
 * What a listener lets in: so many from one address, so many in all, and those
 * over a limit cost nothing but their refusal.
 */
#include "gate_support.h"

static int end(void **state)
{
    (void)state;
    world_close();
    return 0;
}

static int begin(void **state)
{
    (void)state;
    return 0;
}

/* Serves one request on it: this connection is let in. */
static void assert_served(struct end *near)
{
    struct line line;

    near->in_bytes = 0;
    near_ask(near, ASK, "\r\n\r\nok");
    next_line(&line);
}

static void test_one_address_has_so_many_connections_and_no_more(void **state)
{
    struct end near[2], over, next;

    (void)state;
    world_open((struct world_wishes){.listener = ", limits: {per_address: 2}"});
    far.answer = ANSWER;
    for (int i = 0; i < 2; i++) {
        near_open(&near[i]);
        assert_served(&near[i]);
    }
    near_connect(&over);
    UNTIL(world.loop, near_refused(&over));
    assert_int_equal(world_state().clients, 2);
    assert_metric("weir_connections_refused_total{listener=\"in\"} 1\n");
    assert_metric("weir_connections_accepted_total{listener=\"in\"} 3\n");
    assert_metric("weir_clients{listener=\"in\"} 2\n");
    near_close(&over, false);
    assert_served(&near[0]);

    near_close(&near[0], false);
    UNTIL(world.loop, world_state().clients == 1);
    near_open(&next);
    assert_served(&next);
    near_close(&next, false);
    near_close(&near[1], false);
    UNTIL(world.loop, world_state().clients == 0);
    assert_int_equal(table_count(world.gate->per_address), 0); /* nobody is remembered */
}

static void assert_waits_until_another_leaves(void)
{
    struct end near[2], waiting;

    far.answer = ANSWER;
    for (int i = 0; i < 2; i++) {
        near_open(&near[i]);
        assert_served(&near[i]);
    }
    near_open(&waiting); /* by the kernel */
    near_say(&waiting, ASK);
    logbook_wait_event(&world.book, "\"event\":\"listener_full\"");
    for (int i = 0; i < 3; i++) {
        turn(world.loop);
        assert_int_equal(world_state().clients, 2);
    }
    assert_int_equal(waiting.in_bytes, 0);
    near_close(&near[0], false);
    UNTIL(world.loop, near_has(&waiting, "\r\n\r\nok"));
    struct line line;
    next_line(&line);
    near_close(&near[1], false);
    near_close(&waiting, false);
}

static void test_at_the_listeners_maximum_connections_wait_in_the_kernel(void **state)
{
    (void)state;
    world_open((struct world_wishes){.listener = ", limits: {connections: 2}"});
    assert_waits_until_another_leaves();
}

static void test_what_the_descriptors_allow_holds_where_nothing_is_configured(void **state)
{
    (void)state;
    world_open((struct world_wishes){.clients_max = 2});
    assert_waits_until_another_leaves();
}

static void test_a_port_that_is_taken_is_told_with_the_listeners_name(void **state)
{
    struct world_wishes wishes = {0};
    char taken[40];
    char why[400] = "";

    (void)state;
    world_open(wishes);
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", (unsigned)acceptor_port(far.acceptor));
    struct generation *refused = world_generation(&wishes, taken, 2);
    assert_false(gate_use(world.gate, refused, why, sizeof why));
    assert_non_null(strstr(why, "listener 'in' cannot listen on 127.0.0.1:"));
    assert_non_null(strstr(why, "in use"));
    assert_int_equal(generation_number(gate_generation(world.gate)), 1);
    assert_int_equal(world_state().listener_count, 1);
    generation_release(refused);

    struct end near;
    far.answer = ANSWER;
    near_open(&near);
    assert_served(&near);
    near_close(&near, false);
}

static void test_a_listener_that_is_passed_by_name_beats_its_address(void **state)
{
    struct world_wishes wishes = {0};
    struct addr_listen at;
    enum err err = ERR_OK;
    char why[400] = "";

    (void)state;
    world_open(wishes);
    assert_true(addr_listen_parse(BYTES("127.0.0.1:0"), &at));
    struct acceptor *passed = acceptor_open(world.loop, &at, 8, far_on_accepted, NULL, &err, why, sizeof why);
    assert_non_null(passed);
    struct gate_inherited inherited[1] = {{.name = "in", .fd = dup(acceptor_fd(passed))}};
    uint16_t port = acceptor_port(passed);
    acceptor_close(passed);
    world.gate->options.inherited = inherited;
    world.gate->options.inherited_count = 1;
    if (!gate_use(world.gate, world_generation(&wishes, "127.0.0.1:1", 2), why, sizeof why)) {
        fail_msg("%s", why);
    }
    assert_int_equal(gate_port(world.gate, 0), port);
    assert_int_equal(inherited[0].fd, -1); /* taken over: the next listener of that name is another */
    world.gate->options.inherited_count = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_address_has_so_many_connections_and_no_more, begin, end),
        cmocka_unit_test_setup_teardown(test_at_the_listeners_maximum_connections_wait_in_the_kernel, begin, end),
        cmocka_unit_test_setup_teardown(test_what_the_descriptors_allow_holds_where_nothing_is_configured, begin, end),
        cmocka_unit_test_setup_teardown(test_a_port_that_is_taken_is_told_with_the_listeners_name, begin, end),
        cmocka_unit_test_setup_teardown(test_a_listener_that_is_passed_by_name_beats_its_address, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
