#include "tls_support.h"

#include <pthread.h>

#include "tls_internal.h"

#include <openssl/ssl.h>

static const struct tls_server_options plain_options;
static const struct tls_client_options trusting;

/* What a client that expects `name` makes of a server with one certificate. */
static enum err verdict(const struct issued *served, struct tls_client *client, char *why, size_t size)
{
    struct tls_pair tls;
    enum err err;

    tls_listen(&tls, server_of(served, plain_options), client);
    tls_meet(&tls);
    err = tls.pair.client.open_err;
    (void)bytes_to_text(bytes_from_text(tls.pair.client.open_why), why, size);
    if (err != ERR_OK) {
        assert_false(end_say(&tls.pair.client, "in spite").sent);
        assert_int_equal(tls.pair.client.ends, 0);
    }
    tls_close(&tls);
    return err;
}

static void test_the_right_name_of_the_right_ca_is_accepted(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(verdict(&pay_ec, client_of("pay.example", trusting), why, sizeof(why)), ERR_OK);
    assert_int_equal(verdict(&wild, client_of("x.wild.example", trusting), why, sizeof(why)), ERR_OK);
    assert_int_equal(verdict(&pay_ec, client_of("127.0.0.1", trusting), why, sizeof(why)), ERR_OK);
}

static void test_a_wrong_name_is_refused_in_words(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(verdict(&wild, client_of("pay.example", trusting), why, sizeof(why)), ERR_TLS_CERTIFICATE);
    assert_string_equal(why, "certificate verify failed: hostname mismatch");
    assert_int_equal(verdict(&wild, client_of("a.b.wild.example", trusting), why, sizeof(why)), ERR_TLS_CERTIFICATE);
    assert_int_equal(verdict(&pay_ec, client_of("127.0.0.2", trusting), why, sizeof(why)), ERR_TLS_CERTIFICATE);
    assert_string_equal(why, "certificate verify failed: IP address mismatch");
}

static void test_a_wrong_ca_is_refused_in_words(void **state)
{
    struct tls_client_options options = {.ca_path = other_ca.cert_path};
    char why[256];

    (void)state;
    assert_int_equal(verdict(&pay_ec, client_of("pay.example", options), why, sizeof(why)), ERR_TLS_CERTIFICATE);
    assert_string_equal(why, "certificate verify failed: unable to get local issuer certificate");
}

static void test_an_expired_certificate_is_refused_in_words(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(verdict(&expired, client_of("pay.example", trusting), why, sizeof(why)), ERR_TLS_CERTIFICATE);
    assert_string_equal(why, "certificate verify failed: certificate has expired");
}

static struct tls_client *system_client(bool verify)
{
    struct tls_client_options options = {.verify = verify, .server_name = "pay.example"};
    struct tls_client *client;
    char why[256] = "";

    client = tls_client_open(&options, why, sizeof(why));
    assert_non_null(client);
    return client;
}

static void test_the_system_s_store_does_not_know_our_ca(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(verdict(&pay_ec, system_client(true), why, sizeof(why)), ERR_TLS_CERTIFICATE);
}

static void test_the_system_s_store_is_shared_and_let_go(void **state)
{
    struct tls_client *first = system_client(true), *second = system_client(true), *third;
    char why[256];

    (void)state;
    tls_client_release(first);
    third = system_client(true);
    assert_int_equal(verdict(&pay_ec, second, why, sizeof(why)), ERR_TLS_CERTIFICATE);
    tls_client_release(third); /* the leak checker sees the rest */
}

static void test_the_operator_may_point_the_system_s_store_elsewhere(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(setenv("SSL_CERT_FILE", ca.cert_path, 1), 0);
    assert_int_equal(verdict(&pay_ec, system_client(true), why, sizeof(why)), ERR_OK);
    unsetenv("SSL_CERT_FILE");
}

static void test_verification_off_accepts_anything(void **state)
{
    char why[256];

    (void)state;
    assert_int_equal(verdict(&expired, system_client(false), why, sizeof(why)), ERR_OK);
}

static void test_verification_without_a_name_is_no_verification_and_refused(void **state)
{
    struct tls_client_options options = {.verify = true, .ca_path = ca.cert_path};
    char why[256] = "";

    (void)state;
    assert_null(tls_client_open(&options, why, sizeof(why)));
    assert_string_equal(why, "verification needs a server name");
}

static void test_bad_files_are_named(void **state)
{
    struct tls_client_options options = {.verify = true, .ca_path = "/nowhere.crt", .server_name = "a"};
    char why[256] = "";

    (void)state;
    assert_null(tls_client_open(&options, why, sizeof(why)));
    assert_string_equal(why, "/nowhere.crt: No such file or directory");
    options.ca_path = ca.cert_path;
    options.cert_path = pay_ec.cert_path;
    options.key_path = shop.key_path;
    assert_null(tls_client_open(&options, why, sizeof(why)));
    assert_non_null(strstr(why, "is not the key of the certificate"));
}

static void test_sni_is_sent_for_names_and_not_for_addresses(void **state)
{
    struct tls_pair tls;

    (void)state;
    tls_open(&tls, server_of(NULL, plain_options), client_of("127.0.0.1", trusting));
    assert_null(info_of(&tls.pair.server).server_name);
    tls_part(&tls);
    tls_client_release(tls.client);
    tls.client = client_of("PAY.example", trusting);
    tls_meet(&tls);
    assert_string_equal(info_of(&tls.pair.server).server_name, "pay.example");
    tls_close(&tls);
}

struct crowd {
    struct tls_pair tls;
    struct end servers[4];
    int count;
};

static void crowd_on_accept(void *owner, struct stream *stream)
{
    struct crowd *crowd = owner;
    struct end *end = &crowd->servers[crowd->count++];

    end->stream = stream;
    stream_attach(stream, &end_ops, end);
    stream_tls_accept(stream, crowd->tls.server, BYTES_NONE);
}

static void test_connections_at_once_offer_each_ticket_once(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options options = {.tickets = tickets};
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    struct end clients[4];
    struct crowd crowd;
    char why[256];
    enum err err;
    int resumed = 0;

    (void)state;
    memset(clients, 0, sizeof(clients));
    memset(&crowd, 0, sizeof(crowd));
    tls_listen(&crowd.tls, server_of(NULL, options), client_of("pay.example", trusting));
    acceptor_close(crowd.tls.pair.acceptor);
    at.ip = crowd.tls.pair.at;
    crowd.tls.pair.acceptor =
        acceptor_open(crowd.tls.pair.loop, &at, 8, crowd_on_accept, &crowd, &err, why, sizeof(why));
    assert_non_null(crowd.tls.pair.acceptor);
    for (int i = 0; i < 4; i++) {
        clients[i].stream =
            stream_connect(crowd.tls.pair.loop, &crowd.tls.pair.at, crowd.tls.client, &end_ops, &clients[i], &err);
        assert_non_null(clients[i].stream);
        if (i == 0) { /* the others start together, when one ticket is here */
            UNTIL(crowd.tls.pair.loop, crowd.tls.client->session_count == 1);
        }
    }
    UNTIL(crowd.tls.pair.loop, clients[1].opens + clients[2].opens + clients[3].opens == 3);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(clients[i].open_err, ERR_OK);
        resumed += info_of(&clients[i]).resumed;
    }
    assert_int_equal(resumed, 1);
    for (int i = 0; i < 4; i++) {
        stream_close(clients[i].stream, false);
        stream_close(crowd.servers[i].stream, false);
    }
    tls_close(&crowd.tls);
    tls_tickets_close(tickets);
}

static void test_tls_1_2_sessions_are_resumed_again_and_again(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options options = {.tickets = tickets};
    struct tls_pair tls;
    bool resumed[3];

    (void)state;
    tls_listen(&tls, server_of(NULL, options), client_of("pay.example", trusting));
    SSL_CTX_set_max_proto_version(tls.client->context, TLS1_2_VERSION);
    for (int i = 0; i < 3; i++) {
        tls_meet(&tls);
        resumed[i] = info_of(&tls.pair.client).resumed;
        assert_string_equal(info_of(&tls.pair.client).version, "TLSv1.2");
        tls_part(&tls);
    }
    assert_false(resumed[0]);
    assert_true(resumed[1]);
    assert_true(resumed[2]);
    assert_in_range(tls.client->session_count, 1, TLS_SESSIONS_MAX);
    tls_close(&tls);
    tls_tickets_close(tickets);
}

static void test_a_connection_that_is_reset_leaves_its_session_good(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options options = {.tickets = tickets};
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, options), client_of("pay.example", trusting));
    for (int i = 0; i < 2; i++) {
        tls_meet(&tls);
        assert_int_equal(info_of(&tls.pair.client).resumed, i == 1);
        UNTIL(tls.pair.loop, tls.client->session_count == 1);
        stream_close(tls.pair.client.stream, true);
        tls_part(&tls);
    }
    tls_close(&tls);
    tls_tickets_close(tickets);
}

static void test_at_most_eight_sessions_are_kept(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options options = {.tickets = tickets};
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, options), client_of("pay.example", trusting));
    for (int i = 0; i < 12; i++) {
        tls_meet(&tls);
        assert_true(end_say(&tls.pair.server, "x").sent);
        UNTIL(tls.pair.loop, end_has(&tls.pair.client, "x"));
        assert_true(SSL_SESSION_up_ref(tls.client->sessions[tls.client->session_count - 1]));
        assert_true(tls_client_keep(tls.client, tls.client->sessions[tls.client->session_count - 1]));
        tls_part(&tls);
    }
    assert_int_equal(tls.client->session_count, TLS_SESSIONS_MAX);
    tls_close(&tls);
    tls_tickets_close(tickets);
}

static void file_copy(const char *from, const char *to)
{
    char data[8192];
    FILE *in = fopen(from, "re"), *out = fopen(to, "we");
    size_t len = fread(data, 1, sizeof(data), in);

    assert_int_equal(fwrite(data, 1, len, out), len);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

static void test_the_identity_follows_what_files_say_not_their_paths(void **state)
{
    char path[512], before[128];
    struct tls_client *client;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/renewed.pem", certs_folder);
    file_copy(ca.cert_path, path);
    client = client_of("pay.example", (struct tls_client_options){.ca_path = path});
    (void)snprintf(before, sizeof(before), "%s", tls_client_identity(client));
    tls_client_release(client);
    client = client_of("pay.example", (struct tls_client_options){.ca_path = ca.cert_path});
    assert_string_equal(tls_client_identity(client), before);
    tls_client_release(client);
    file_copy(pay_ec.cert_path, path);
    client = client_of("pay.example", (struct tls_client_options){.ca_path = path});
    assert_string_not_equal(tls_client_identity(client), before);
    tls_client_release(client);
}

static char why_not[] = "a client could not be opened";

static void *open_and_close_many(void *unused)
{
    char why[256];

    (void)unused;
    for (int i = 0; i < 400; i++) {
        const struct tls_client_options options = {.verify = true, .server_name = "pay.example"};
        struct tls_client *client = tls_client_open(&options, why, sizeof(why));
        if (client == NULL) {
            return why_not;
        }
        tls_client_release(client);
    }
    return NULL;
}

/* As a reload does: the worker opens the new generation's clients while the loop lets the old one's go. */
static void test_the_system_s_store_may_be_taken_and_left_by_two_threads(void **state)
{
    pthread_t worker;
    void *failure;

    (void)state;
    assert_int_equal(setenv("SSL_CERT_FILE", "/dev/null", 1), 0); /* nothing to parse: only the sharing is of interest */
    assert_int_equal(pthread_create(&worker, NULL, open_and_close_many, NULL), 0);
    assert_null(open_and_close_many(NULL));
    assert_int_equal(pthread_join(worker, &failure), 0);
    assert_null(failure);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_right_name_of_the_right_ca_is_accepted),
        cmocka_unit_test(test_a_wrong_name_is_refused_in_words),
        cmocka_unit_test(test_a_wrong_ca_is_refused_in_words),
        cmocka_unit_test(test_an_expired_certificate_is_refused_in_words),
        cmocka_unit_test(test_the_system_s_store_does_not_know_our_ca),
        cmocka_unit_test(test_the_system_s_store_is_shared_and_let_go),
        cmocka_unit_test(test_the_operator_may_point_the_system_s_store_elsewhere),
        cmocka_unit_test(test_verification_off_accepts_anything),
        cmocka_unit_test(test_verification_without_a_name_is_no_verification_and_refused),
        cmocka_unit_test(test_bad_files_are_named),
        cmocka_unit_test(test_sni_is_sent_for_names_and_not_for_addresses),
        cmocka_unit_test(test_connections_at_once_offer_each_ticket_once),
        cmocka_unit_test(test_tls_1_2_sessions_are_resumed_again_and_again),
        cmocka_unit_test(test_a_connection_that_is_reset_leaves_its_session_good),
        cmocka_unit_test(test_at_most_eight_sessions_are_kept),
        cmocka_unit_test(test_the_system_s_store_may_be_taken_and_left_by_two_threads),
        cmocka_unit_test(test_the_identity_follows_what_files_say_not_their_paths),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
