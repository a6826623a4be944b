#include "stream_internal.h"
#include "tls_support.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

static const struct tls_server_options plain_options;
static const struct tls_client_options trusting;

static void open_pay(struct tls_pair *tls)
{
    tls_open(tls, server_of(NULL, plain_options), client_of("pay.example", trusting));
}

static void test_a_handshake_settles_tls_1_3_and_bytes_pass_both_ways(void **state)
{
    struct tls_pair tls;
    struct stream_tls info;

    (void)state;
    open_pay(&tls);
    info = info_of(&tls.pair.server);
    assert_string_equal(info.version, "TLSv1.3");
    assert_string_equal(info.server_name, "pay.example");
    assert_true(info.server_name_matched);
    assert_false(info.resumed);
    assert_null(info.peer_subject);
    assert_true(end_say(&tls.pair.client, "hello").sent);
    UNTIL(tls.pair.loop, end_has(&tls.pair.server, "hello"));
    assert_true(end_say(&tls.pair.server, "world").sent);
    UNTIL(tls.pair.loop, end_has(&tls.pair.client, "world"));
    tls_close(&tls);
}

static void test_nothing_is_known_of_tls_before_it_is_open(void **state)
{
    struct tls_pair tls;
    struct stream_tls info;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), client_of("pay.example", trusting));
    pair_connect(&tls.pair, tls.client);
    assert_false(stream_tls_info(tls.pair.client.stream, &info));
    tls_close(&tls);
}

static char *noise(size_t len)
{
    char *at = malloc(len);

    for (size_t i = 0; i < len; i++) {
        at[i] = (char)(i * 131 + i / 251);
    }
    return at;
}

static void test_many_parts_of_all_sizes_arrive_as_they_were(void **state)
{
    static const size_t sizes[] = {1, 100, 16383, 16384, 16385, 3, 40000, 0, 70000, 1, 5000, 12000};
    struct bytes parts[ARRAY_COUNT(sizes)];
    size_t total = 0;
    struct tls_pair tls;
    char *data;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        total += sizes[i];
    }
    data = noise(total);
    total = 0;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        parts[i] = bytes_of(data + total, sizes[i]);
        total += sizes[i];
    }
    open_pay(&tls);
    assert_int_equal(stream_write(tls.pair.client.stream, parts, ARRAY_COUNT(sizes)).err, ERR_OK);
    UNTIL(tls.pair.loop, tls.pair.server.in_bytes == total);
    assert_memory_equal(tls.pair.server.in, data, total);
    free(data);
    tls_close(&tls);
}

static void test_a_small_head_and_body_leave_as_one_record(void **state)
{
    struct bytes parts[] = {BYTES("GET / HTTP/1.1\r\n"), BYTES("Host: pay.example\r\n"), BYTES("\r\n")};
    struct tls_pair tls;

    (void)state;
    open_pay(&tls);
    assert_int_equal(stream_write(tls.pair.client.stream, parts, 3).err, ERR_OK);
    UNTIL(tls.pair.loop, tls.pair.server.in_bytes > 0);
    assert_int_equal(tls.pair.server.reads, 1);
    assert_true(end_has(&tls.pair.server, "GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n"));
    tls_close(&tls);
}

static void test_a_slow_reader_makes_a_queue_of_ciphertext_that_drains(void **state)
{
    const size_t len = 100000;
    char *data = noise(len);
    struct bytes part = bytes_of(data, len);
    struct tls_pair tls;
    size_t total = 0;

    (void)state;
    open_pay(&tls);
    stream_pause(tls.pair.server.stream);
    while (stream_queued_bytes(tls.pair.client.stream) < 4 * STREAM_QUEUE_HIGH_BYTES) {
        assert_int_equal(stream_write(tls.pair.client.stream, &part, 1).err, ERR_OK);
        total += len;
        uv_run(loop_uv(tls.pair.loop), UV_RUN_NOWAIT);
    }
    stream_resume(tls.pair.server.stream);
    UNTIL(tls.pair.loop, tls.pair.server.in_bytes == total);
    UNTIL(tls.pair.loop, tls.pair.client.drains == 1);
    for (size_t i = 0; i < total; i += len) {
        assert_memory_equal(tls.pair.server.in + i, data, len);
    }
    free(data);
    tls_close(&tls);
}

static void test_pausing_in_the_middle_of_what_was_read_loses_and_repeats_nothing(void **state)
{
    const size_t len = 400000;
    char *data = noise(len);
    struct bytes part = bytes_of(data, len);
    struct tls_pair tls;
    int rounds = 0;

    (void)state;
    open_pay(&tls);
    tls.pair.server.pause_on_read = true;
    assert_int_equal(stream_write(tls.pair.client.stream, &part, 1).err, ERR_OK);
    while (tls.pair.server.in_bytes < len) {
        int reads = tls.pair.server.reads;
        UNTIL(tls.pair.loop, tls.pair.server.reads > reads);
        for (int i = 0; i < 3; i++) {
            uv_run(loop_uv(tls.pair.loop), UV_RUN_NOWAIT);
        }
        assert_int_equal(tls.pair.server.reads, reads + 1); /* none while paused */
        stream_resume(tls.pair.server.stream);
        rounds++;
    }
    assert_true(rounds > 3);
    assert_int_equal(tls.pair.server.in_bytes, len);
    assert_memory_equal(tls.pair.server.in, data, len);
    free(data);
    tls_close(&tls);
}

static void test_bytes_that_tls_holds_are_not_silence(void **state)
{
    struct tls_pair tls;
    struct stream *server;
    char data[512];
    ssize_t len;
    uv_os_fd_t fd;

    (void)state;
    open_pay(&tls);
    server = tls.pair.server.stream;
    assert_true(stream_is_silent(server));
    stream_pause(server);
    assert_true(end_say(&tls.pair.client, "x").sent);
    assert_int_equal(uv_fileno((uv_handle_t *)&server->tcp, &fd), 0);
    do {
        len = recv(fd, data, sizeof(data), 0);
    } while (len < 0 && errno == EAGAIN);
    assert_true(len > 0);
    assert_true(stream_is_silent(server)); /* the kernel has nothing more */
    tls_stream_feed(server, bytes_of(data, (size_t)len));
    assert_false(stream_is_silent(server));
    stream_resume(server);
    UNTIL(tls.pair.loop, end_has(&tls.pair.server, "x"));
    assert_true(stream_is_silent(server));
    tls_close(&tls);
}

static void test_shut_is_heard_as_an_orderly_end_and_the_answer_still_comes(void **state)
{
    struct tls_pair tls;

    (void)state;
    open_pay(&tls);
    assert_true(end_say(&tls.pair.client, "last words").sent);
    stream_shut(tls.pair.client.stream);
    UNTIL(tls.pair.loop, tls.pair.server.ends == 1);
    assert_int_equal(tls.pair.server.end_err, ERR_EOF);
    assert_true(end_has(&tls.pair.server, "last words"));
    assert_int_equal(end_say(&tls.pair.server, "answer").err, ERR_OK);
    UNTIL(tls.pair.loop, end_has(&tls.pair.client, "answer"));
    assert_int_equal(tls.pair.client.drains, 1);
    assert_false(end_say(&tls.pair.client, "more").sent);
    tls_close(&tls);
}

static void test_a_reset_ends_a_tls_stream_as_broken(void **state)
{
    struct tls_pair tls;

    (void)state;
    open_pay(&tls);
    stream_close(tls.pair.client.stream, true);
    UNTIL(tls.pair.loop, tls.pair.server.ends == 1);
    assert_int_equal(tls.pair.server.end_err, ERR_RESET);
    assert_false(end_say(&tls.pair.server, "void").sent);
    tls_close(&tls);
}

static void test_close_inside_a_read_or_an_open_is_safe(void **state)
{
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), client_of("pay.example", trusting));
    tls.pair.server.close_on_read = true;
    tls_meet(&tls);
    assert_true(end_say(&tls.pair.client, "go away").sent);
    UNTIL(tls.pair.loop, tls.pair.server.closes == 1 && tls.pair.client.ends == 1);
    tls_part(&tls);
    tls.pair.server.close_on_open = true;
    pair_connect(&tls.pair, tls.client);
    UNTIL(tls.pair.loop, tls.pair.server.closes == 1 && tls.pair.client.ends == 1);
    assert_int_equal(tls.pair.server.ends + tls.pair.server.reads, 0);
    tls_close(&tls);
}

/* ------------------------------------------------------------------ peers that are not ours */

/* A blocking socket to the listener, for peers that misbehave. */
static int raw_connect(const struct tls_pair *tls)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &tls->pair.at.u.any, addr_len(&tls->pair.at)), 0);
    return fd;
}

/* An OpenSSL client in memory, whose bytes the test carries. */
struct peer {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out; /* the SSL's own */
    int fd;
    struct tls_pair *tls;
    int reason; /* why its handshake failed; 0: it did not */
};

static void peer_open(struct peer *peer, struct tls_pair *tls)
{
    memset(peer, 0, sizeof(*peer));
    peer->tls = tls;
    peer->context = SSL_CTX_new(TLS_client_method());
    peer->ssl = SSL_new(peer->context);
    peer->in = BIO_new(BIO_s_mem());
    peer->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(peer->in, -1);
    SSL_set_bio(peer->ssl, peer->in, peer->out);
    SSL_set_connect_state(peer->ssl);
    peer->fd = raw_connect(tls);
}

static void peer_close(struct peer *peer)
{
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    if (peer->fd >= 0) {
        close(peer->fd);
    }
}

/* Sends what OpenSSL has to say, lets the loop turn, takes what came. */
static void peer_exchange(struct peer *peer)
{
    char *at, chunk[16384];
    long len = BIO_get_mem_data(peer->out, &at);
    ssize_t got;

    if (len > 0) {
        (void)!send(peer->fd, at, (size_t)len, MSG_NOSIGNAL);
        (void)BIO_reset(peer->out);
    }
    uv_run(loop_uv(peer->tls->pair.loop), UV_RUN_NOWAIT);
    while ((got = recv(peer->fd, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0) {
        BIO_write(peer->in, chunk, (int)got);
    }
}

static void peer_handshake(struct peer *peer)
{
    bool done = false;

    for (int i = 0; i < 1000 && !(done && peer->tls->pair.server.opens > 0); i++) {
        int result = done ? 1 : SSL_do_handshake(peer->ssl);
        int status = SSL_get_error(peer->ssl, result);
        done = status != SSL_ERROR_WANT_READ;
        if (status == SSL_ERROR_SSL) {
            peer->reason = ERR_GET_REASON(ERR_peek_error());
            ERR_clear_error();
        }
        peer_exchange(peer);
    }
    assert_true(done);
    assert_int_equal(peer->tls->pair.server.opens, 1);
}

static void test_tls_1_2_is_spoken_unless_1_3_is_the_minimum(void **state)
{
    struct tls_server_options strict = {.minimum = TLS_MINIMUM_1_3};
    struct tls_pair tls;
    struct peer peer;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    SSL_set_max_proto_version(peer.ssl, TLS1_2_VERSION);
    peer_handshake(&peer);
    assert_int_equal(tls.pair.server.open_err, ERR_OK);
    assert_string_equal(info_of(&tls.pair.server).version, "TLSv1.2");
    assert_null(info_of(&tls.pair.server).server_name);
    peer_close(&peer);
    tls_close(&tls);

    tls_listen(&tls, server_of(NULL, strict), NULL);
    peer_open(&peer, &tls);
    SSL_set_max_proto_version(peer.ssl, TLS1_2_VERSION);
    peer_handshake(&peer);
    assert_int_equal(tls.pair.server.open_err, ERR_TLS);
    assert_string_equal(tls.pair.server.open_why, "unsupported protocol");
    peer_close(&peer);
    tls_close(&tls);
}

static void test_no_cipher_without_forward_secrecy_and_aead(void **state)
{
    static const char *const weak[] = {"AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA",
                                       "DHE-RSA-AES128-GCM-SHA256"};
    struct tls_pair tls;
    struct peer peer;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    for (size_t i = 0; i < ARRAY_COUNT(weak); i++) {
        peer_open(&peer, &tls);
        SSL_set_max_proto_version(peer.ssl, TLS1_2_VERSION);
        assert_int_equal(SSL_set_cipher_list(peer.ssl, weak[i]), 1);
        peer_handshake(&peer);
        assert_int_equal(tls.pair.server.open_err, ERR_TLS);
        peer_close(&peer);
        tls_part(&tls);
    }
    tls_close(&tls);
}

static void test_every_group_works_on_after_the_handshake_s_keys_are_forgotten(void **state)
{
    static const char *const groups[] = {"X25519", "P-256", "P-384"};
    struct tls_pair tls;
    struct peer peer;
    size_t done;
    char got[8];

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    for (size_t i = 0; i < 2 * ARRAY_COUNT(groups); i++) {
        peer_open(&peer, &tls);
        assert_int_equal(SSL_set1_groups_list(peer.ssl, groups[i / 2]), 1);
        SSL_set_max_proto_version(peer.ssl, i % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
        peer_handshake(&peer);
        assert_int_equal(tls.pair.server.open_err, ERR_OK);
        if (i % 2 == 0) { /* asks the server for new keys of its own, too */
            assert_int_equal(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        }
        assert_int_equal(SSL_write_ex(peer.ssl, "hello", 5, &done), 1);
        peer_exchange(&peer);
        UNTIL(tls.pair.loop, end_has(&tls.pair.server, "hello"));
        assert_true(end_say(&tls.pair.server, "world").sent);
        peer_exchange(&peer);
        assert_int_equal(SSL_read_ex(peer.ssl, got, sizeof(got), &done), 1);
        assert_int_equal(done, 5);
        assert_memory_equal(got, "world", 5);
        peer_close(&peer);
        tls_part(&tls);
    }
    tls_close(&tls);
}

/* The type of key that the server shows to a client of these abilities; 0: there was no handshake. */
static int served_key_type(struct tls_pair *tls, const char *name, const char *sigalgs)
{
    struct peer peer;
    X509 *leaf;
    int type;

    peer_open(&peer, tls);
    if (name != NULL) {
        SSL_set_tlsext_host_name(peer.ssl, name);
    }
    if (sigalgs != NULL) {
        assert_int_equal(SSL_set1_sigalgs_list(peer.ssl, sigalgs), 1);
    }
    peer_handshake(&peer);
    leaf = SSL_get0_peer_certificate(peer.ssl);
    type = leaf == NULL ? 0 : EVP_PKEY_get_base_id(X509_get0_pubkey(leaf));
    peer_close(&peer);
    tls_part(tls);
    return type;
}

static void test_ecdsa_and_rsa_of_one_name_are_chosen_by_the_client(void **state)
{
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    assert_int_equal(served_key_type(&tls, "pay.example", NULL), EVP_PKEY_EC);
    assert_int_equal(served_key_type(&tls, "pay.example", "RSA-PSS+SHA256"), EVP_PKEY_RSA);
    assert_int_equal(served_key_type(&tls, "pay.example", "ECDSA+SHA256"), EVP_PKEY_EC);
    assert_int_equal(served_key_type(&tls, NULL, "RSA-PSS+SHA256"), EVP_PKEY_RSA);
    tls_close(&tls);
}

static void served_is(struct tls_pair *tls, const char *name, const struct issued *expected, bool matched)
{
    struct peer peer;

    peer_open(&peer, tls);
    if (name != NULL) {
        SSL_set_tlsext_host_name(peer.ssl, name);
    }
    peer_handshake(&peer);
    assert_int_equal(tls->pair.server.open_err, ERR_OK);
    assert_int_equal(X509_cmp(SSL_get0_peer_certificate(peer.ssl), expected->x509), 0);
    assert_int_equal(info_of(&tls->pair.server).server_name_matched, matched);
    peer_close(&peer);
    tls_part(tls);
}

static void test_the_certificate_is_chosen_by_name(void **state)
{
    struct tls_certificate certificates[] = {files_of(&pay_ec), files_of(&shop), files_of(&wild)};
    struct tls_server_options options = {.certificates = certificates, .certificate_count = 3};
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, options), NULL);
    assert_int_equal(tls_server_certificate_count(tls.server), 3);
    served_is(&tls, "pay.example", &pay_ec, true);
    served_is(&tls, "PAY.example.", &pay_ec, true);
    served_is(&tls, "shop.example", &shop, true); /* by its common name: it has no subjectAltName */
    served_is(&tls, "shop1.wild.example", &wild, true);
    served_is(&tls, "a.b.wild.example", &pay_ec, false); /* a wildcard is one label */
    served_is(&tls, "wild.example", &pay_ec, false);
    served_is(&tls, "*.wild.example", &pay_ec, false);
    served_is(&tls, "pay", &pay_ec, false); /* a common name beside a subjectAltName is no name */
    served_is(&tls, "unknown.example", &pay_ec, false);
    served_is(&tls, "127.0.0.1", &pay_ec, false);
    served_is(&tls, NULL, &pay_ec, false);
    tls_close(&tls);
}

static void test_alpn_selects_http_1_1_and_refuses_those_who_offer_only_others(void **state)
{
    const unsigned char *chosen;
    unsigned chosen_len;
    struct tls_pair tls;
    struct peer peer;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    SSL_set_alpn_protos(peer.ssl, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    peer_handshake(&peer);
    SSL_get0_alpn_selected(peer.ssl, &chosen, &chosen_len);
    assert_int_equal(chosen_len, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    peer_close(&peer);
    tls_part(&tls);

    peer_open(&peer, &tls);
    SSL_set_alpn_protos(peer.ssl, (const unsigned char *)"\x02h2", 3);
    peer_handshake(&peer);
    assert_int_equal(tls.pair.server.open_err, ERR_TLS);
    assert_int_equal(peer.reason, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    peer_close(&peer);
    tls_close(&tls);
}

static void test_http_on_the_tls_port_is_told_apart(void **state)
{
    static const char *const openings[] = {"GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
                                           "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"};
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    for (size_t i = 0; i < ARRAY_COUNT(openings); i++) {
        int fd = raw_connect(&tls);
        assert_true(write(fd, openings[i], strlen(openings[i])) > 0);
        UNTIL(tls.pair.loop, tls.pair.server.opens == 1);
        assert_int_equal(tls.pair.server.open_err, ERR_TLS_NOT_TLS);
        assert_false(end_say(&tls.pair.server, "what?").sent);
        close(fd);
        tls_part(&tls);
    }
    tls_close(&tls);
}

static void test_a_server_that_speaks_no_tls_is_told_apart(void **state)
{
    struct pair pair;
    struct tls_client *client;

    (void)state;
    client = client_of("pay.example", trusting);
    pair_listen(&pair);
    pair_connect(&pair, client);
    UNTIL(pair.loop, pair.accept_count == 1);
    assert_true(end_say(&pair.server, "HTTP/1.1 400 Bad Request\r\n\r\n").sent);
    UNTIL(pair.loop, pair.client.opens == 1);
    assert_int_equal(pair.client.open_err, ERR_TLS_NOT_TLS);
    pair_close(&pair);
    tls_client_release(client);
}

static void test_an_end_during_the_handshake_is_told_in_words(void **state)
{
    struct tls_pair tls;
    int fd;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    fd = raw_connect(&tls);
    assert_int_equal(write(fd, "\x16\x03\x01", 3), 3);
    close(fd);
    UNTIL(tls.pair.loop, tls.pair.server.opens == 1);
    assert_int_equal(tls.pair.server.open_err, ERR_EOF);
    assert_string_equal(tls.pair.server.open_why, "the peer ended the connection during the TLS handshake");
    assert_int_equal(tls.pair.server.ends, 0);
    tls_close(&tls);
}

static void test_a_fin_without_close_notify_is_an_end_too(void **state)
{
    struct tls_pair tls;
    struct peer peer;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    peer_handshake(&peer);
    shutdown(peer.fd, SHUT_WR);
    UNTIL(tls.pair.loop, tls.pair.server.ends == 1);
    assert_int_equal(tls.pair.server.end_err, ERR_EOF);
    assert_true(end_say(&tls.pair.server, "still here").sent);
    peer_close(&peer);
    tls_close(&tls);
}

static void test_close_notify_is_sent_and_understood_without_a_fin(void **state)
{
    struct tls_pair tls;
    struct peer peer;
    size_t done;
    int result = 1;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    peer_handshake(&peer);
    assert_int_equal(SSL_shutdown(peer.ssl), 0); /* ours is out, theirs is not here */
    peer_exchange(&peer);
    UNTIL(tls.pair.loop, tls.pair.server.ends == 1);
    assert_int_equal(tls.pair.server.end_err, ERR_EOF);
    stream_shut(tls.pair.server.stream);
    peer_exchange(&peer);
    result = SSL_read_ex(peer.ssl, (char[8]){0}, 8, &done);
    assert_int_equal(SSL_get_error(peer.ssl, result), SSL_ERROR_ZERO_RETURN);
    peer_close(&peer);
    tls_close(&tls);
}

static void test_a_broken_record_ends_the_stream(void **state)
{
    struct tls_pair tls;
    struct peer peer;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    peer_handshake(&peer);
    assert_int_equal(write(peer.fd,
                           "\x17\x03\x03\x00\x20"
                           "0123456789abcdef0123456789abcdef",
                           37),
                     37);
    UNTIL(tls.pair.loop, tls.pair.server.ends == 1);
    assert_int_equal(tls.pair.server.end_err, ERR_TLS);
    assert_string_not_equal(stream_why(tls.pair.server.stream), "");
    assert_false(end_say(&tls.pair.server, "anyone?").sent);
    peer_close(&peer);
    tls_close(&tls);
}

static void key_updates(struct peer *peer, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(SSL_key_update(peer->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(peer->ssl), 1);
    }
}

static void test_a_flood_of_key_updates_is_cut_off(void **state)
{
    struct tls_pair tls;
    struct peer peer;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    peer_handshake(&peer);
    key_updates(&peer, 2000);
    for (int i = 0; i < 1000 && tls.pair.server.ends == 0; i++) {
        peer_exchange(&peer);
    }
    assert_int_equal(tls.pair.server.ends, 1);
    assert_int_equal(tls.pair.server.end_err, ERR_TLS);
    assert_string_equal(stream_why(tls.pair.server.stream), "too many handshake messages without data");
    peer_close(&peer);
    tls_close(&tls);
}

static void test_key_updates_between_data_are_welcome(void **state)
{
    struct tls_pair tls;
    struct peer peer;
    size_t done;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    peer_handshake(&peer);
    for (int i = 0; i < 10; i++) {
        key_updates(&peer, 10);
        assert_int_equal(SSL_write_ex(peer.ssl, "x", 1, &done), 1);
        peer_exchange(&peer);
    }
    UNTIL(tls.pair.loop, end_has(&tls.pair.server, "xxxxxxxxxx"));
    assert_int_equal(tls.pair.server.ends, 0);
    peer_close(&peer);
    tls_close(&tls);
}

static void test_a_record_that_trickles_in_is_no_flood(void **state)
{
    struct tls_pair tls;
    struct peer peer;
    size_t done;
    char *at;
    long len;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    peer_handshake(&peer);
    assert_int_equal(SSL_write_ex(peer.ssl, "a request that comes byte by byte over a very bad line", 54, &done), 1);
    len = BIO_get_mem_data(peer.out, &at);
    for (long i = 0; i < len; i++) {
        assert_int_equal(write(peer.fd, at + i, 1), 1);
        uv_run(loop_uv(tls.pair.loop), UV_RUN_NOWAIT);
    }
    UNTIL(tls.pair.loop, tls.pair.server.in_bytes == 54);
    assert_int_equal(tls.pair.server.ends, 0);
    peer_close(&peer);
    tls_close(&tls);
}

static void test_renegotiation_is_refused(void **state)
{
    struct tls_pair tls;
    struct peer peer;
    size_t done;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    peer_open(&peer, &tls);
    SSL_set_max_proto_version(peer.ssl, TLS1_2_VERSION);
    peer_handshake(&peer);
    assert_int_equal(SSL_renegotiate(peer.ssl), 1);
    assert_int_equal(SSL_do_handshake(peer.ssl), -1);
    for (int i = 0; i < 20; i++) {
        peer_exchange(&peer);
    }
    assert_int_equal(SSL_read_ex(peer.ssl, (char[8]){0}, 8, &done), 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    peer_close(&peer);
    tls_close(&tls);
}

/* ------------------------------------------------------------------ after a PROXY header */

static struct tls_server *early_server;

static void early_on_read(void *owner, struct bytes data)
{
    struct end *end = owner;

    if (end->reads++ == 0) {
        /* The first line is a header of its own; what follows belongs to the handshake. */
        size_t line = bytes_find(data, '\n') + 1;
        stream_tls_accept(end->stream, early_server, bytes_skip(data, line));
        return;
    }
    end_on_read(owner, data);
}

static void early_on_accept(void *owner, struct stream *stream)
{
    static const struct stream_ops ops = {end_on_open, early_on_read, end_on_end, end_on_drain, end_on_closed};
    struct tls_pair *tls = owner;

    tls->pair.server.stream = stream;
    stream_attach(stream, &ops, &tls->pair.server);
}

static void test_bytes_read_before_tls_belong_to_the_handshake(void **state)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    struct tls_pair tls;
    struct peer peer;
    char why[256];
    enum err err;
    size_t done;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), NULL);
    acceptor_close(tls.pair.acceptor);
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &at.ip));
    tls.pair.acceptor = acceptor_open(tls.pair.loop, &at, 8, early_on_accept, &tls, &err, why, sizeof(why));
    addr_set_port(&tls.pair.at, acceptor_port(tls.pair.acceptor));
    early_server = tls.server;
    peer_open(&peer, &tls);
    assert_int_equal(write(peer.fd, "PROXY\r\n", 7), 7);
    peer_handshake(&peer);
    assert_int_equal(tls.pair.server.open_err, ERR_OK);
    assert_int_equal(SSL_write_ex(peer.ssl, "hi", 2, &done), 1);
    peer_exchange(&peer);
    UNTIL(tls.pair.loop, end_has(&tls.pair.server, "hi"));
    peer_close(&peer);
    tls_close(&tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handshake_settles_tls_1_3_and_bytes_pass_both_ways),
        cmocka_unit_test(test_nothing_is_known_of_tls_before_it_is_open),
        cmocka_unit_test(test_many_parts_of_all_sizes_arrive_as_they_were),
        cmocka_unit_test(test_a_small_head_and_body_leave_as_one_record),
        cmocka_unit_test(test_a_slow_reader_makes_a_queue_of_ciphertext_that_drains),
        cmocka_unit_test(test_pausing_in_the_middle_of_what_was_read_loses_and_repeats_nothing),
        cmocka_unit_test(test_bytes_that_tls_holds_are_not_silence),
        cmocka_unit_test(test_shut_is_heard_as_an_orderly_end_and_the_answer_still_comes),
        cmocka_unit_test(test_a_reset_ends_a_tls_stream_as_broken),
        cmocka_unit_test(test_close_inside_a_read_or_an_open_is_safe),
        cmocka_unit_test(test_tls_1_2_is_spoken_unless_1_3_is_the_minimum),
        cmocka_unit_test(test_no_cipher_without_forward_secrecy_and_aead),
        cmocka_unit_test(test_every_group_works_on_after_the_handshake_s_keys_are_forgotten),
        cmocka_unit_test(test_ecdsa_and_rsa_of_one_name_are_chosen_by_the_client),
        cmocka_unit_test(test_the_certificate_is_chosen_by_name),
        cmocka_unit_test(test_alpn_selects_http_1_1_and_refuses_those_who_offer_only_others),
        cmocka_unit_test(test_http_on_the_tls_port_is_told_apart),
        cmocka_unit_test(test_a_server_that_speaks_no_tls_is_told_apart),
        cmocka_unit_test(test_an_end_during_the_handshake_is_told_in_words),
        cmocka_unit_test(test_a_fin_without_close_notify_is_an_end_too),
        cmocka_unit_test(test_close_notify_is_sent_and_understood_without_a_fin),
        cmocka_unit_test(test_a_broken_record_ends_the_stream),
        cmocka_unit_test(test_a_flood_of_key_updates_is_cut_off),
        cmocka_unit_test(test_key_updates_between_data_are_welcome),
        cmocka_unit_test(test_a_record_that_trickles_in_is_no_flood),
        cmocka_unit_test(test_renegotiation_is_refused),
        cmocka_unit_test(test_bytes_read_before_tls_belong_to_the_handshake),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
