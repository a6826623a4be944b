#include "tls_support.h"

#include "tls_internal.h"

static const struct tls_server_options plain_options;
static const struct tls_client_options trusting;

static struct tls_client *client_with(const struct issued *own)
{
    struct tls_client_options options = {.cert_path = own->cert_path, .key_path = own->key_path};

    return client_of("pay.example", options);
}

static struct tls_server_options asking(enum tls_client_certs how, const char *crl)
{
    return (struct tls_server_options){.client_certs = how, .client_ca_path = ca.cert_path, .client_crl_path = crl};
}

/* Connects with `client` and tells what the server made of it. */
static enum err verdict(struct tls_server_options options, struct tls_client *client, char *subject, size_t size)
{
    struct tls_pair tls;
    enum err err;

    tls_listen(&tls, server_of(NULL, options), client);
    tls_meet(&tls);
    err = tls.pair.server.open_err;
    if (err == ERR_OK) {
        const char *text = info_of(&tls.pair.server).peer_subject;
        (void)bytes_to_text(bytes_from_text(text == NULL ? "" : text), subject, size);
    } else {
        /* With TLS 1.3 the client hears of it only after it thought to be connected. */
        UNTIL(tls.pair.loop, tls.pair.client.open_err != ERR_OK || tls.pair.client.ends == 1);
        if (tls.pair.client.ends == 1) {
            assert_int_equal(tls.pair.client.end_err, ERR_TLS_CLIENT_CERT);
        }
        (void)bytes_to_text(bytes_from_text(tls.pair.server.open_why), subject, size);
    }
    tls_close(&tls);
    return err;
}

static void test_a_required_client_certificate_is_checked(void **state)
{
    struct tls_server_options options = asking(TLS_CLIENT_CERTS_REQUIRED, NULL);
    char text[256];

    (void)state;
    assert_int_equal(verdict(options, client_with(&client_good), text, sizeof(text)), ERR_OK);
    assert_string_equal(text, "CN=Merchant\\, Inc.,O=Weir");
    assert_int_equal(verdict(options, client_of("pay.example", trusting), text, sizeof(text)), ERR_TLS_CLIENT_CERT);
    assert_string_equal(text, "peer did not return a certificate");
    assert_int_equal(verdict(options, client_with(&client_strange), text, sizeof(text)), ERR_TLS_CLIENT_CERT);
    assert_string_equal(text, "certificate verify failed: unable to get local issuer certificate");
}

static void test_an_optional_client_certificate_may_be_absent_but_not_bad(void **state)
{
    struct tls_server_options options = asking(TLS_CLIENT_CERTS_OPTIONAL, NULL);
    char text[256];

    (void)state;
    assert_int_equal(verdict(options, client_of("pay.example", trusting), text, sizeof(text)), ERR_OK);
    assert_string_equal(text, "");
    assert_int_equal(verdict(options, client_with(&client_good), text, sizeof(text)), ERR_OK);
    assert_int_equal(verdict(options, client_with(&client_strange), text, sizeof(text)), ERR_TLS_CLIENT_CERT);
}

static void test_a_revoked_client_certificate_is_refused(void **state)
{
    struct tls_server_options checked = asking(TLS_CLIENT_CERTS_REQUIRED, crl_path);
    struct tls_server_options unchecked = asking(TLS_CLIENT_CERTS_REQUIRED, NULL);
    char text[256];

    (void)state;
    assert_int_equal(verdict(unchecked, client_with(&client_revoked), text, sizeof(text)), ERR_OK);
    assert_int_equal(verdict(checked, client_with(&client_good), text, sizeof(text)), ERR_OK);
    assert_int_equal(verdict(checked, client_with(&client_revoked), text, sizeof(text)), ERR_TLS_CLIENT_CERT);
    assert_string_equal(text, "certificate verify failed: certificate revoked");
}

static void test_a_client_certificate_that_nobody_asked_for_is_not_seen(void **state)
{
    char text[256];

    (void)state;
    assert_int_equal(verdict(plain_options, client_with(&client_good), text, sizeof(text)), ERR_OK);
    assert_string_equal(text, "");
}

/* ------------------------------------------------------------------ tickets */

/* Says a word each way, so that the client has seen the ticket, and parts. */
static bool meet_and_part(struct tls_pair *tls)
{
    bool resumed;

    tls_meet(tls);
    assert_int_equal(tls->pair.server.open_err, ERR_OK);
    assert_int_equal(tls->pair.client.open_err, ERR_OK);
    assert_true(end_say(&tls->pair.server, "x").sent);
    UNTIL(tls->pair.loop, end_has(&tls->pair.client, "x"));
    resumed = info_of(&tls->pair.server).resumed;
    assert_int_equal(info_of(&tls->pair.client).resumed, resumed);
    tls_part(tls);
    return resumed;
}

static void test_sessions_resume_by_ticket_and_across_a_reload(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options options = {.tickets = tickets};
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, options), client_of("pay.example", trusting));
    assert_false(meet_and_part(&tls));
    assert_true(meet_and_part(&tls));
    tls_server_release(tls.server);
    tls.server = server_of(NULL, options);
    assert_true(meet_and_part(&tls));
    assert_true(meet_and_part(&tls));
    tls_close(&tls);
    tls_tickets_close(tickets);
}

static void test_without_tickets_nothing_resumes(void **state)
{
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, plain_options), client_of("pay.example", trusting));
    assert_false(meet_and_part(&tls));
    assert_false(meet_and_part(&tls));
    tls_close(&tls);
}

static void test_a_ticket_opens_for_two_rotations_and_is_renewed_meanwhile(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options options = {.tickets = tickets};
    struct tls_pair tls;

    (void)state;
    tls_listen(&tls, server_of(NULL, options), client_of("pay.example", trusting));
    assert_false(meet_and_part(&tls));
    tls_tickets_rotate(tickets);
    tls_tickets_rotate(tickets);
    assert_true(meet_and_part(&tls)); /* sealed by the oldest of three; comes back sealed by the newest */
    tls_tickets_rotate(tickets);
    tls_tickets_rotate(tickets);
    assert_true(meet_and_part(&tls));
    tls_tickets_rotate(tickets);
    tls_tickets_rotate(tickets);
    tls_tickets_rotate(tickets);
    assert_false(meet_and_part(&tls)); /* the key is gone; a full handshake, not a failure */
    tls_close(&tls);
    tls_tickets_close(tickets);
}

static void test_a_ticket_does_not_open_where_other_client_certificates_are_asked_for(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options open_door = {.tickets = tickets};
    struct tls_server_options guarded = asking(TLS_CLIENT_CERTS_REQUIRED, NULL);
    struct tls_server_options revoking = asking(TLS_CLIENT_CERTS_REQUIRED, crl_path);
    struct tls_pair tls;

    (void)state;
    guarded.tickets = revoking.tickets = tickets;
    tls_listen(&tls, server_of(NULL, open_door), client_of("pay.example", trusting));
    assert_false(meet_and_part(&tls));
    tls_server_release(tls.server);
    tls.server = server_of(NULL, guarded);
    tls_meet(&tls);
    assert_int_equal(tls.pair.server.open_err, ERR_TLS_CLIENT_CERT);
    tls_part(&tls);
    tls_client_release(tls.client);
    tls.client = client_with(&client_revoked);
    assert_false(meet_and_part(&tls));
    assert_true(meet_and_part(&tls));
    /* A revocation is loaded: the ticket must not outlive it. */
    tls_server_release(tls.server);
    tls.server = server_of(NULL, revoking);
    tls_meet(&tls);
    assert_int_equal(tls.pair.server.open_err, ERR_TLS_CLIENT_CERT);
    tls_close(&tls);
    tls_tickets_close(tickets);
}

static void test_the_client_s_subject_survives_resumption(void **state)
{
    struct tls_tickets *tickets = tls_tickets_open();
    struct tls_server_options guarded = asking(TLS_CLIENT_CERTS_REQUIRED, NULL);
    struct tls_pair tls;

    (void)state;
    guarded.tickets = tickets;
    tls_listen(&tls, server_of(NULL, guarded), client_with(&client_good));
    assert_false(meet_and_part(&tls));
    tls_meet(&tls);
    assert_true(info_of(&tls.pair.server).resumed);
    assert_string_equal(info_of(&tls.pair.server).peer_subject, "CN=Merchant\\, Inc.,O=Weir");
    tls_close(&tls);
    tls_tickets_close(tickets);
}

/* ------------------------------------------------------------------ files */

static void write_file(char *path, size_t size, const char *file, const char *text)
{
    FILE *out;

    snprintf(path, size, "%s/%s", certs_folder, file);
    out = fopen(path, "w");
    fputs(text, out);
    fclose(out);
}

static void refused(struct tls_server_options options, const char *expected)
{
    char why[512] = "";

    assert_null(tls_server_open(&options, why, sizeof(why)));
    if (strstr(why, expected) == NULL) {
        fail_msg("'%s' does not say '%s'", why, expected);
    }
    assert_int_equal(ERR_peek_error(), 0); /* nothing left for the next one to stumble over */
}

static void test_every_bad_file_is_named_with_what_is_wrong(void **state)
{
    char garbage[128], encrypted[128], expected[256];
    struct tls_certificate pair = files_of(&pay_ec);
    struct tls_server_options options = {.certificates = &pair, .certificate_count = 1};
    struct issued short_key;
    FILE *out;

    (void)state;
    write_file(garbage, sizeof(garbage), "garbage.pem", "not a certificate\n");
    pair.cert_path = "/nowhere/pay.crt";
    refused(options, "/nowhere/pay.crt: No such file or directory");
    pair.cert_path = certs_folder;
    refused(options, "Is a directory");
    pair.cert_path = garbage;
    snprintf(expected, sizeof(expected), "%s: no certificate in PEM form", garbage);
    refused(options, expected);
    pair = files_of(&pay_ec);
    pair.key_path = garbage;
    snprintf(expected, sizeof(expected), "%s: no private key in PEM form", garbage);
    refused(options, expected);
    pair.key_path = shop.key_path;
    snprintf(expected, sizeof(expected), "%s: is not the key of the certificate", shop.key_path);
    refused(options, expected);

    snprintf(encrypted, sizeof(encrypted), "%s/encrypted.key", certs_folder);
    out = fopen(encrypted, "w");
    PEM_write_PrivateKey(out, pay_ec.key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
    fclose(out);
    pair.key_path = encrypted;
    refused(options, "without a passphrase"); /* and does not ask the terminal for it */

    issue(&short_key, &ca, "short", "short", "DNS:short.example", KEY_RSA_SHORT, 86400);
    pair = files_of(&short_key);
    refused(options, "key too small");
    issued_free(&short_key);

    pair = files_of(&pay_ec);
    options.client_certs = TLS_CLIENT_CERTS_REQUIRED;
    refused(options, "no CA is named");
    options.client_ca_path = garbage;
    snprintf(expected, sizeof(expected), "%s: no CA certificate in PEM form", garbage);
    refused(options, expected);
    options.client_ca_path = ca.cert_path;
    options.client_crl_path = garbage;
    snprintf(expected, sizeof(expected), "%s: no revocation list in PEM form", garbage);
    refused(options, expected);
}

static void test_a_bad_certificate_is_found_even_where_its_names_are_served_by_others(void **state)
{
    struct tls_certificate pairs[] = {files_of(&pay_ec), {pay_ec.cert_path, shop.key_path}};
    struct tls_server_options options = {.certificates = pairs, .certificate_count = 2};

    (void)state;
    refused(options, "is not the key of the certificate");
}

static void test_inspection_tells_name_and_dates(void **state)
{
    struct tls_certificate files = files_of(&pay_ec);
    struct tls_certificate_info info;
    int64_t now_s = (int64_t)(clock_wall_us() / CLOCK_US_PER_S);
    char why[256] = "";

    (void)state;
    assert_int_equal(tls_certificate_inspect(&files, &info, why, sizeof(why)), ERR_OK);
    assert_string_equal(info.name, "pay.example");
    assert_true(info.not_before_s < now_s && info.not_before_s > now_s - 2 * 86400);
    assert_true(info.not_after_s > now_s + 360L * 86400 && info.not_after_s <= now_s + 365L * 86400);
    files = files_of(&client_good);
    assert_int_equal(tls_certificate_inspect(&files, &info, why, sizeof(why)), ERR_OK);
    assert_string_equal(info.name, "merchant, inc.");
    files.key_path = "/nowhere";
    assert_int_equal(tls_certificate_inspect(&files, &info, why, sizeof(why)), ERR_FILE);
    assert_string_equal(why, "/nowhere: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_required_client_certificate_is_checked),
        cmocka_unit_test(test_an_optional_client_certificate_may_be_absent_but_not_bad),
        cmocka_unit_test(test_a_revoked_client_certificate_is_refused),
        cmocka_unit_test(test_a_client_certificate_that_nobody_asked_for_is_not_seen),
        cmocka_unit_test(test_sessions_resume_by_ticket_and_across_a_reload),
        cmocka_unit_test(test_without_tickets_nothing_resumes),
        cmocka_unit_test(test_a_ticket_opens_for_two_rotations_and_is_renewed_meanwhile),
        cmocka_unit_test(test_a_ticket_does_not_open_where_other_client_certificates_are_asked_for),
        cmocka_unit_test(test_the_client_s_subject_survives_resumption),
        cmocka_unit_test(test_every_bad_file_is_named_with_what_is_wrong),
        cmocka_unit_test(test_a_bad_certificate_is_found_even_where_its_names_are_served_by_others),
        cmocka_unit_test(test_inspection_tells_name_and_dates),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
