#include "io_support.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_internal.h"

static int raw_connect(const struct pair *pair)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &pair->at.u.any, addr_len(&pair->at)), 0);
    return fd;
}

static struct acceptor *try_open(struct pair *pair, const struct addr_listen *at, enum err *err, char *why, size_t size)
{
    return acceptor_open(pair->loop, at, 16, pair_on_accept, pair, err, why, size);
}

static void test_an_address_in_use_is_told_in_words(void **state)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    char why[256] = "", text[ADDR_TEXT_BYTES], expected[256];
    struct pair pair;
    enum err err;

    (void)state;
    pair_listen(&pair);
    at.ip = pair.at;
    assert_null(try_open(&pair, &at, &err, why, sizeof(why)));
    assert_int_equal(err, ERR_ADDRESS_IN_USE);
    snprintf(expected, sizeof(expected), "%s: Address already in use", addr_format(&pair.at, text));
    assert_string_equal(why, expected);
    pair_close(&pair);
}

static void test_a_paused_acceptor_leaves_connections_in_the_kernel(void **state)
{
    struct pair pair;
    int fd;

    (void)state;
    pair_listen(&pair);
    pair.hold_accepted = true;
    acceptor_pause(pair.acceptor);
    fd = raw_connect(&pair);
    for (int i = 0; i < 5; i++) {
        uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    }
    assert_int_equal(pair.accept_count, 0);
    acceptor_resume(pair.acceptor);
    UNTIL(pair.loop, pair.accept_count == 1);
    stream_close(pair.accepted, false);
    close(fd);
    pair_close(&pair);
}

static void test_out_of_descriptors_sheds_one_and_rests(void **state)
{
    struct rlimit before, tight;
    struct pair pair;
    int first, second, wakeups = 0;
    char byte;

    (void)state;
    pair_listen(&pair);
    first = raw_connect(&pair);
    second = raw_connect(&pair);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)second + 1; /* every number below is taken */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    uv_run(loop_uv(pair.loop), UV_RUN_ONCE);
    /* The first connection waited and was ended for want of a descriptor; the second waits on. */
    assert_int_equal(recv(first, &byte, 1, 0), 0);
    assert_int_equal(recv(second, &byte, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < 100; i++) {
        uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
        wakeups += pair.accept_count;
    }
    assert_int_equal(wakeups, 0);
    assert_int_equal(recv(second, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    UNTIL(pair.loop, pair.accept_count == 1); /* once the rest is over */
    close(first);
    close(second);
    pair_close(&pair);
}

static void test_a_listening_descriptor_is_adopted(void **state)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_FD};
    char why[256] = "";
    struct pair pair;
    struct acceptor *heir;
    enum err err;
    int fd;

    (void)state;
    pair_listen(&pair);
    at.fd = dup(acceptor_fd(pair.acceptor));
    acceptor_close(pair.acceptor);
    heir = try_open(&pair, &at, &err, why, sizeof(why));
    assert_non_null(heir);
    pair.acceptor = heir;
    assert_int_equal(acceptor_port(heir), addr_port(&pair.at));
    fd = raw_connect(&pair);
    UNTIL(pair.loop, pair.accept_count == 1);
    close(fd);
    pair_close(&pair);
}

static void test_a_descriptor_that_does_not_listen_is_refused_and_left_open(void **state)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_FD};
    char why[256] = "", expected[64];
    struct pair pair;
    enum err err;

    (void)state;
    pair_listen(&pair);
    at.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_null(try_open(&pair, &at, &err, why, sizeof(why)));
    assert_int_equal(err, ERR_IO);
    snprintf(expected, sizeof(expected), "fd:%d: not a listening socket", at.fd);
    assert_string_equal(why, expected);
    assert_int_equal(close(at.fd), 0);
    at.fd = 1 << 20;
    assert_null(try_open(&pair, &at, &err, why, sizeof(why)));
    pair_close(&pair);
}

static void unix_at(struct addr_listen *at, char *folder)
{
    memset(at, 0, sizeof(*at));
    at->kind = ADDR_LISTEN_UNIX;
    assert_non_null(mkdtemp(folder));
    snprintf(at->path, sizeof(at->path), "%s/socket", folder);
}

static void test_a_unix_socket_accepts_and_its_peer_has_no_address(void **state)
{
    char folder[] = P_tmpdir "/weir-io-XXXXXX", why[256] = "";
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct addr_listen at;
    struct acceptor *door;
    struct pair pair;
    enum err err;
    char got[8] = "";
    int fd;

    (void)state;
    pair_listen(&pair);
    unix_at(&at, folder);
    door = try_open(&pair, &at, &err, why, sizeof(why));
    assert_non_null(door);
    assert_int_equal(acceptor_port(door), 0);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(to.sun_path, at.path, sizeof(to.sun_path));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    UNTIL(pair.loop, pair.accept_count == 1);
    assert_int_equal(stream_peer(pair.server.stream)->u.any.sa_family, AF_UNSPEC);
    assert_int_equal(write(fd, "ping", 4), 4);
    UNTIL(pair.loop, end_has(&pair.server, "ping"));
    assert_true(end_say(&pair.server, "pong").sent);
    assert_int_equal(read(fd, got, sizeof(got)), 4);
    close(fd);
    UNTIL(pair.loop, pair.server.ends == 1);
    acceptor_close(door);
    unlink(at.path);
    rmdir(folder);
    pair_close(&pair);
}

static void test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    char folder[] = P_tmpdir "/weir-io-XXXXXX", why[256] = "";
    struct addr_listen at;
    struct acceptor *door;
    struct pair pair;
    enum err err;

    (void)state;
    pair_listen(&pair);
    unix_at(&at, folder);
    door = try_open(&pair, &at, &err, why, sizeof(why));
    assert_non_null(door);
    assert_null(try_open(&pair, &at, &err, why, sizeof(why)));
    assert_int_equal(err, ERR_ADDRESS_IN_USE);
    acceptor_close(door);
    assert_int_equal(access(at.path, F_OK), 0);
    door = try_open(&pair, &at, &err, why, sizeof(why));
    assert_non_null(door);
    acceptor_close(door);
    unlink(at.path);
    rmdir(folder);
    pair_close(&pair);
}

static void test_an_ipv6_wildcard_serves_ipv4_too(void **state)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    char why[256] = "", text[ADDR_TEXT_BYTES];
    struct acceptor *door;
    struct pair pair;
    enum err err;
    int fd;

    (void)state;
    pair_listen(&pair);
    assert_true(addr_parse(BYTES("[::]:0"), &at.ip));
    door = try_open(&pair, &at, &err, why, sizeof(why));
    if (door == NULL) {
        pair_close(&pair);
        skip(); /* a machine without IPv6 */
    }
    addr_set_port(&pair.at, acceptor_port(door));
    fd = raw_connect(&pair);
    UNTIL(pair.loop, pair.accept_count == 1);
    assert_string_equal(addr_format_host(stream_peer(pair.server.stream), text), "127.0.0.1");
    close(fd);
    acceptor_close(door);
    pair_close(&pair);
}

static struct pair *closes_itself;

static void on_accept_close(void *owner, struct stream *stream)
{
    pair_on_accept(owner, stream);
    acceptor_close(closes_itself->acceptor);
    closes_itself->acceptor = NULL;
}

static void test_an_acceptor_may_be_closed_by_its_own_callback(void **state)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    char why[256] = "";
    struct pair pair;
    enum err err;
    int first, second;

    (void)state;
    pair_listen(&pair);
    acceptor_close(pair.acceptor);
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &at.ip));
    pair.acceptor = acceptor_open(pair.loop, &at, 16, on_accept_close, &pair, &err, why, sizeof(why));
    assert_non_null(pair.acceptor);
    closes_itself = &pair;
    addr_set_port(&pair.at, acceptor_port(pair.acceptor));
    first = raw_connect(&pair);
    second = raw_connect(&pair);
    UNTIL(pair.loop, pair.accept_count == 1);
    uv_run(loop_uv(pair.loop), UV_RUN_NOWAIT);
    assert_int_equal(pair.accept_count, 1);
    close(first);
    close(second);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_address_in_use_is_told_in_words),
        cmocka_unit_test(test_a_paused_acceptor_leaves_connections_in_the_kernel),
        cmocka_unit_test(test_out_of_descriptors_sheds_one_and_rests),
        cmocka_unit_test(test_a_listening_descriptor_is_adopted),
        cmocka_unit_test(test_a_descriptor_that_does_not_listen_is_refused_and_left_open),
        cmocka_unit_test(test_a_unix_socket_accepts_and_its_peer_has_no_address),
        cmocka_unit_test(test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        cmocka_unit_test(test_an_ipv6_wildcard_serves_ipv4_too),
        cmocka_unit_test(test_an_acceptor_may_be_closed_by_its_own_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
