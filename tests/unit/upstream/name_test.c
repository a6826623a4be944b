/*
 * What becomes of a processor when its name resolves, does not any more, and
 * does again. The resolver is this test's own: it answers when it is told to.
 */
#include "upstream_support.h"

#include "weir/io/resolve.h"

static struct resolver {
    resolver_cb cb;
    void *owner;
    uint16_t port;
    int open;
} names;

struct resolver *resolver_open(struct loop *of, const char *host, uint16_t port, resolver_cb cb, void *owner)
{
    assert_ptr_equal(of, loop);
    assert_string_equal(host, "acme.example");
    names = (struct resolver){.cb = cb, .owner = owner, .port = port, .open = names.open + 1};
    return &names;
}

void resolver_close(struct resolver *resolver)
{
    assert_ptr_equal(resolver, &names);
    names.open--;
}

static int open_named(void **state)
{
    (void)state;
    (void)open_ends(1);
    struct conf_processor conf = conf_of_ends(1);
    conf.port = far_port(&fars[0]);
    conf.endpoint_count = 0;
    use(&conf);
    assert_int_equal(names.open, 1);
    return 0;
}

static int close_named(void **state)
{
    (void)close_world(state);
    assert_int_equal(names.open, 0);
    return 0;
}

static void resolves(void)
{
    struct addr addr;
    assert_true(addr_parse_host(BYTES("127.0.0.1"), names.port, &addr));
    names.cb(names.owner, ERR_OK, &addr, 1, "");
}

static void assert_counted(int ok, int failed)
{
    char line[160];
    (void)snprintf(line, sizeof line, "weir_processor_resolves_total{processor=\"acme\",result=\"ok\"} %d", ok);
    assert_true(printed(line));
    (void)snprintf(line, sizeof line, "weir_processor_resolves_total{processor=\"acme\",result=\"failed\"} %d", failed);
    assert_true(printed(line));
}

static void test_a_name_that_fails_later_is_seen_and_its_addresses_stay(void **state)
{
    struct caller caller;

    (void)state;
    assert_counted(0, 0);
    resolves();
    assert_counted(1, 0);
    assert_null(now().trouble);
    names.cb(names.owner, ERR_DNS, NULL, 0, "nobody answers");
    assert_counted(1, 1);
    assert_string_equal(now().trouble, "nobody answers");
    assert_int_equal(now().endpoint_count, 1);
    pass(&caller, false);
    assert_true(caller.end);
    resolves();
    assert_counted(2, 1);
    assert_null(now().trouble);
    assert_int_equal(far->accepted, 1); /* what it had, links as well, is as it was */
    pass(&caller, false);
    assert_int_equal(far->requests, 2);
}

static void test_a_name_that_never_resolved_refuses_who_waits(void **state)
{
    struct caller caller;

    (void)state;
    assert_int_equal(begin(&caller, false), CALL_START_WAIT);
    names.cb(names.owner, ERR_DNS, NULL, 0, "no such name");
    assert_true(caller.refused);
    assert_int_equal(caller.refusal.why, CALL_DNS_FAILED);
    finish(&caller);
    assert_int_equal(begin(&caller, false), CALL_START_REFUSED);
    finish(&caller);
    resolves();
    pass(&caller, false);
    assert_true(caller.end);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, open_named, close_named)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_name_that_fails_later_is_seen_and_its_addresses_stay),
        WITH(test_a_name_that_never_resolved_refuses_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
