/* Addresses as operators write them: one spelling in, one spelling out. */
#include "base/unit.h"

#include "weir/base/addr.h"

static void assert_round_trip(const char *in, const char *out)
{
    char text[ADDR_TEXT_BYTES];
    struct addr addr;

    if (!addr_parse(bytes_from_text(in), &addr)) {
        fail_msg("%s is refused", in);
    }
    assert_string_equal(addr_format(&addr, text), out);
}

static void test_addresses_with_ports_read_and_print(void **state)
{
    (void)state;
    assert_round_trip("127.0.0.1:8443", "127.0.0.1:8443");
    assert_round_trip("0.0.0.0:0", "0.0.0.0:0");
    assert_round_trip("255.255.255.255:65535", "255.255.255.255:65535");
    assert_round_trip("[::1]:8443", "[::1]:8443");
    assert_round_trip("[::]:1", "[::]:1");
    assert_round_trip("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443");
    assert_round_trip("[::ffff:10.0.0.1]:443", "10.0.0.1:443");
    assert_round_trip("[fe80::1%2]:443", "[fe80::1%2]:443");
    assert_round_trip("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535",
                      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

static void test_what_is_not_exactly_an_address_is_refused(void **state)
{
    static const char *const refused[] = {
        "",
        "127.0.0.1",
        "127.0.0.1:",
        ":8443",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:80 ",
        " 127.0.0.1:80",
        "127.0.0.1:080",
        "127.0.0.1:+80",
        "localhost:80",
        "127.1:80",
        "127.0.0.01:80",
        "127.0.0.256:80",
        "1.2.3.4.5:80",
        "0x7f.0.0.1:80",
        "2130706433:80",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1]80",
        "[::1:80",
        "::1]:80",
        "[127.0.0.1]:80",
        "[]:80",
        "[fe80::1%eth0]:1",
        "[fe80::1%]:1",
        "[::1%4294967296]:1",
        "[:::]:80",
        "[1::2::3]:80",
        "127.0.0.1:80:80",
        "[::1]:80:80",
        "127.0.0.1%1:80",
    };
    struct addr addr;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        if (addr_parse(bytes_from_text(refused[i]), &addr)) {
            fail_msg("%s is accepted", refused[i]);
        }
        assert_int_equal(addr.u.any.sa_family, AF_UNSPEC);
    }
    assert_false(addr_parse(bytes_of("127.0.0.1\0:80", 13), &addr));
}

static void test_a_host_alone_takes_the_port_beside_it(void **state)
{
    char text[ADDR_TEXT_BYTES];
    struct addr addr;

    (void)state;
    assert_true(addr_parse_host(BYTES("10.0.0.1"), 443, &addr));
    assert_int_equal(addr_port(&addr), 443);
    assert_string_equal(addr_format_host(&addr, text), "10.0.0.1");
    assert_true(addr_parse_host(BYTES("::1"), 65535, &addr));
    assert_string_equal(addr_format(&addr, text), "[::1]:65535");
    assert_string_equal(addr_format_host(&addr, text), "::1");
    addr_set_port(&addr, 1);
    assert_int_equal(addr_port(&addr), 1);
    assert_int_equal(addr_len(&addr), sizeof(struct sockaddr_in6));
    assert_false(addr_parse_host(BYTES("10.0.0.1:1"), 443, &addr));
    assert_false(addr_parse_host(BYTES("[::1]"), 443, &addr));
}

static void test_no_address_prints_as_unix(void **state)
{
    char text[ADDR_TEXT_BYTES];
    struct addr addr = {0};

    (void)state;
    assert_string_equal(addr_format(&addr, text), "unix");
    assert_string_equal(addr_format_host(&addr, text), "unix");
    assert_int_equal(addr_port(&addr), 0);
    addr_set_port(&addr, 7);
    assert_int_equal(addr_port(&addr), 0);
}

static bool same(const char *a, const char *b)
{
    struct addr left;
    struct addr right;

    assert_true(addr_parse(bytes_from_text(a), &left));
    assert_true(addr_parse(bytes_from_text(b), &right));
    assert_int_equal(addr_equal(&left, &right), addr_equal(&right, &left));
    return addr_equal(&left, &right);
}

static void test_equal_means_the_same_place(void **state)
{
    struct addr none = {0};
    struct addr some;

    (void)state;
    assert_true(same("10.0.0.1:80", "10.0.0.1:80"));
    assert_true(same("10.0.0.1:80", "[::ffff:10.0.0.1]:80"));
    assert_false(same("10.0.0.1:80", "10.0.0.1:81"));
    assert_false(same("10.0.0.1:80", "10.0.0.2:80"));
    assert_false(same("[fe80::1%1]:80", "[fe80::1%2]:80"));
    assert_true(addr_equal(&none, &none));
    assert_true(addr_parse(BYTES("0.0.0.0:0"), &some));
    assert_false(addr_equal(&none, &some));
    assert_false(addr_equal(&some, &none));
}

static bool contains(const char *net_text, const char *host)
{
    struct addr_net net;
    struct addr addr = {0};

    if (!addr_net_parse(bytes_from_text(net_text), &net)) {
        fail_msg("%s is refused", net_text);
    }
    if (strcmp(host, "unix") != 0) {
        assert_true(addr_parse_host(bytes_from_text(host), 1, &addr));
    }
    return addr_net_contains(&net, &addr);
}

static void test_networks_contain_what_their_prefix_says(void **state)
{
    (void)state;
    assert_true(contains("10.0.0.0/8", "10.255.255.255"));
    assert_false(contains("10.0.0.0/8", "11.0.0.0"));
    assert_true(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(contains("192.168.4.0/22", "192.168.7.255"));
    assert_false(contains("192.168.4.0/22", "192.168.8.0"));
    assert_true(contains("10.0.0.1", "10.0.0.1"));
    assert_false(contains("10.0.0.1/32", "10.0.0.0"));
    assert_true(contains("0.0.0.0/0", "203.0.113.9"));
    assert_false(contains("0.0.0.0/0", "2001:db8::1"));
    assert_true(contains("::/0", "2001:db8::1"));
    assert_true(contains("::/0", "10.0.0.1"));
    assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(contains("::1/128", "::1"));
    assert_false(contains("::1", "::2"));
    assert_true(contains("unix", "unix"));
    assert_false(contains("unix", "127.0.0.1"));
    assert_false(contains("::/0", "unix"));
}

static void test_networks_with_host_bits_or_odd_spellings_are_refused(void **state)
{
    static const char *const refused[] = {
        "",   "10.0.0.1/8",   "10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/08", "10.0.0.0/-1", "2001:db8::1/64", "::1/129",
        "/8", "10.0.0.0/8/8", "10.0.0.0 /8", "fe80::%1/64", "Unix",        "unix/8",      "10.0.0.0:1/8",   "[::1]/128",
    };
    struct addr_net net;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        if (addr_net_parse(bytes_from_text(refused[i]), &net)) {
            fail_msg("%s is accepted", refused[i]);
        }
    }
}

static void test_listeners_are_addresses_paths_or_descriptors(void **state)
{
    struct addr_listen listen;
    char path[256] = "unix:/";

    (void)state;
    assert_true(addr_listen_parse(BYTES("0.0.0.0:8443"), &listen));
    assert_int_equal(listen.kind, ADDR_LISTEN_IP);
    assert_int_equal(addr_port(&listen.ip), 8443);
    assert_true(addr_listen_parse(BYTES("unix:/run/weir.sock"), &listen));
    assert_int_equal(listen.kind, ADDR_LISTEN_UNIX);
    assert_string_equal(listen.path, "/run/weir.sock");
    assert_true(addr_listen_parse(BYTES("fd:3"), &listen));
    assert_int_equal(listen.kind, ADDR_LISTEN_FD);
    assert_int_equal(listen.fd, 3);
    assert_false(addr_listen_parse(BYTES("unix:"), &listen));
    assert_false(addr_listen_parse(BYTES("unix:/"), &listen));
    assert_false(addr_listen_parse(BYTES("unix:relative"), &listen));
    assert_false(addr_listen_parse(bytes_of("unix:/a\0b", 9), &listen));
    assert_false(addr_listen_parse(BYTES("fd:"), &listen));
    assert_false(addr_listen_parse(BYTES("fd:-1"), &listen));
    assert_false(addr_listen_parse(BYTES("fd:2147483648"), &listen));
    assert_false(addr_listen_parse(BYTES("8443"), &listen));
    memset(path + 6, 'p', 106); /* the longest that a sun_path holds with its NUL */
    assert_true(addr_listen_parse(bytes_of(path, 5 + 107), &listen));
    path[5 + 107] = 'p';
    assert_false(addr_listen_parse(bytes_of(path, 5 + 108), &listen));
}

static bool same_listen(const char *a, const char *b)
{
    struct addr_listen left;
    struct addr_listen right;

    assert_true(addr_listen_parse(bytes_from_text(a), &left));
    assert_true(addr_listen_parse(bytes_from_text(b), &right));
    return addr_listen_equal(&left, &right);
}

static void test_equal_listeners_are_the_ones_that_a_reload_keeps(void **state)
{
    (void)state;
    assert_true(same_listen("0.0.0.0:1", "0.0.0.0:1"));
    assert_false(same_listen("0.0.0.0:1", "0.0.0.0:2"));
    assert_true(same_listen("unix:/a", "unix:/a"));
    assert_false(same_listen("unix:/a", "unix:/ab"));
    assert_true(same_listen("fd:3", "fd:3"));
    assert_false(same_listen("fd:3", "fd:4"));
    assert_false(same_listen("fd:3", "unix:/a"));
}

static void test_one_customer_is_an_address_or_a_64(void **state)
{
    static const struct {
        const char *one, *other;
        bool same;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"::ffff:192.0.2.1", "192.0.2.1", true}, /* as a listener on [::] sees it */
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"::1", "127.0.0.1", false},
        {"c000:201::", "192.0.2.1", false}, /* begins with the same four bytes */
    };
    struct addr nowhere = {0};
    char text[ADDR_CUSTOMER_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct addr one, other;
        char a[ADDR_CUSTOMER_BYTES], b[ADDR_CUSTOMER_BYTES];
        assert_true(addr_parse_host(bytes_from_text(rows[i].one), 1, &one));
        assert_true(addr_parse_host(bytes_from_text(rows[i].other), 2, &other));
        assert_int_equal(bytes_equal(addr_customer(&one, a), addr_customer(&other, b)), rows[i].same);
    }
    assert_int_equal(addr_customer(&nowhere, text).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_customer_is_an_address_or_a_64),
        cmocka_unit_test(test_addresses_with_ports_read_and_print),
        cmocka_unit_test(test_what_is_not_exactly_an_address_is_refused),
        cmocka_unit_test(test_a_host_alone_takes_the_port_beside_it),
        cmocka_unit_test(test_no_address_prints_as_unix),
        cmocka_unit_test(test_equal_means_the_same_place),
        cmocka_unit_test(test_networks_contain_what_their_prefix_says),
        cmocka_unit_test(test_networks_with_host_bits_or_odd_spellings_are_refused),
        cmocka_unit_test(test_listeners_are_addresses_paths_or_descriptors),
        cmocka_unit_test(test_equal_listeners_are_the_ones_that_a_reload_keeps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
