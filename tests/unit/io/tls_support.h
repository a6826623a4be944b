/*
 * Certificates for the TLS tests, made afresh in a folder of their own, and
 * short ways to open servers and clients over them.
 */
#ifndef WEIR_TLS_SUPPORT_H
#define WEIR_TLS_SUPPORT_H

#include <dirent.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include "io_support.h"

#include "weir/io/tls.h"

enum key_kind { KEY_EC, KEY_RSA, KEY_RSA_SHORT };

/* One certificate with its key and its files. */
struct issued {
    X509 *x509;
    EVP_PKEY *key;
    char cert_path[128];
    char key_path[128];
};

static char certs_folder[64];
static long certs_serial;

static inline void certs_begin(void)
{
    (void)snprintf(certs_folder, sizeof(certs_folder), "%s/weir-tls-XXXXXX", P_tmpdir);
    assert_non_null(mkdtemp(certs_folder));
}

static inline void certs_end(void)
{
    DIR *folder = opendir(certs_folder);
    const struct dirent *entry;
    char path[512];

    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", certs_folder, entry->d_name);
            unlink(path);
        }
    }
    closedir(folder);
    rmdir(certs_folder);
}

static inline EVP_PKEY *key_make(enum key_kind kind)
{
    if (kind == KEY_EC) {
        return EVP_EC_gen("P-256");
    }
    return EVP_RSA_gen(kind == KEY_RSA ? 2048 : 1024);
}

static inline void extension_add(X509 *x509, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void issued_write(struct issued *issued, const char *file)
{
    FILE *out;

    snprintf(issued->cert_path, sizeof(issued->cert_path), "%s/%s.crt", certs_folder, file);
    snprintf(issued->key_path, sizeof(issued->key_path), "%s/%s.key", certs_folder, file);
    out = fopen(issued->cert_path, "w");
    assert_int_equal(PEM_write_X509(out, issued->x509), 1);
    fclose(out);
    out = fopen(issued->key_path, "w");
    assert_int_equal(PEM_write_PrivateKey(out, issued->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
}

/* `names` as in "DNS:a.example,IP:127.0.0.1"; NULL: no subjectAltName. `issuer` NULL: a CA that signs itself. */
static inline void issue(struct issued *issued, const struct issued *issuer, const char *file, const char *cn,
                         const char *names, enum key_kind kind, long valid_s)
{
    X509 *x509 = X509_new();
    X509_NAME *subject = X509_NAME_new();

    issued->x509 = x509;
    issued->key = key_make(kind);
    assert_non_null(issued->key);
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), ++certs_serial);
    X509_gmtime_adj(X509_getm_notBefore(x509), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x509), valid_s);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Weir", -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_subject_name(x509, subject);
    X509_set_issuer_name(x509, issuer == NULL ? subject : X509_get_subject_name(issuer->x509));
    X509_NAME_free(subject);
    X509_set_pubkey(x509, issued->key);
    extension_add(x509, NID_basic_constraints, issuer == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (issuer == NULL) {
        extension_add(x509, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    if (names != NULL) {
        extension_add(x509, NID_subject_alt_name, names);
    }
    assert_true(X509_sign(x509, issuer == NULL ? issued->key : issuer->key, EVP_sha256()) > 0);
    issued_write(issued, file);
}

static inline void issued_free(struct issued *issued)
{
    X509_free(issued->x509);
    EVP_PKEY_free(issued->key);
}

/* A revocation list of `issuer` with one certificate on it, or with none. */
static inline void crl_write(const struct issued *issuer, const struct issued *revoked, const char *path)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -3600), *next = X509_gmtime_adj(NULL, 86400);
    FILE *out;

    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x509));
    X509_CRL_set1_lastUpdate(crl, now);
    X509_CRL_set1_nextUpdate(crl, next);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->x509));
        X509_REVOKED_set_revocationDate(entry, now);
        X509_CRL_add0_revoked(crl, entry);
    }
    assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
    out = fopen(path, "w");
    assert_int_equal(PEM_write_X509_CRL(out, crl), 1);
    fclose(out);
    X509_CRL_free(crl);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
}

/* What most tests use: a CA, and certificates of it. */
static struct issued ca, other_ca, pay_ec, pay_rsa, shop, wild, expired, client_good, client_revoked, client_strange;
static char crl_path[128];

static inline int certs_setup(void **state)
{
    const long year_s = 365L * 86400;

    (void)state;
    certs_begin();
    issue(&ca, NULL, "ca", "Test CA", NULL, KEY_EC, year_s);
    issue(&other_ca, NULL, "other-ca", "Other CA", NULL, KEY_EC, year_s);
    issue(&pay_ec, &ca, "pay-ec", "pay", "DNS:Pay.example,IP:127.0.0.1", KEY_EC, year_s);
    issue(&pay_rsa, &ca, "pay-rsa", "pay", "DNS:pay.example", KEY_RSA, year_s);
    issue(&shop, &ca, "shop", "shop.example", NULL, KEY_EC, year_s);
    issue(&wild, &ca, "wild", "wild", "DNS:*.wild.example", KEY_EC, year_s);
    issue(&expired, &ca, "expired", "expired", "DNS:pay.example", KEY_EC, -3600);
    issue(&client_good, &ca, "client-good", "Merchant, Inc.", NULL, KEY_EC, year_s);
    issue(&client_revoked, &ca, "client-revoked", "Gone", NULL, KEY_EC, year_s);
    issue(&client_strange, &other_ca, "client-strange", "Stranger", NULL, KEY_EC, year_s);
    snprintf(crl_path, sizeof(crl_path), "%s/crl.pem", certs_folder);
    crl_write(&ca, &client_revoked, crl_path);
    return 0;
}

static inline int certs_teardown(void **state)
{
    struct issued *all[] = {&ca,   &other_ca, &pay_ec,      &pay_rsa,        &shop,
                            &wild, &expired,  &client_good, &client_revoked, &client_strange};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        issued_free(all[i]);
    }
    certs_end();
    return 0;
}

static inline struct tls_certificate files_of(const struct issued *issued)
{
    return (struct tls_certificate){issued->cert_path, issued->key_path};
}

/* A server over one certificate, or the pair of pay.example when `first` is NULL. */
static inline struct tls_server *server_of(const struct issued *first, struct tls_server_options options)
{
    struct tls_certificate certificates[2];
    struct tls_server *server;
    char why[512] = "";

    certificates[0] = files_of(first == NULL ? &pay_ec : first);
    certificates[1] = files_of(&pay_rsa);
    if (options.certificates == NULL) {
        options.certificates = certificates;
        options.certificate_count = first == NULL ? 2 : 1;
    }
    server = tls_server_open(&options, why, sizeof(why));
    if (server == NULL) {
        fail_msg("tls_server_open: %s", why);
    }
    return server;
}

static inline struct tls_client *client_of(const char *name, struct tls_client_options options)
{
    struct tls_client *client;
    char why[512] = "";

    options.server_name = name;
    options.verify = true;
    if (options.ca_path == NULL) {
        options.ca_path = ca.cert_path;
    }
    client = tls_client_open(&options, why, sizeof(why));
    if (client == NULL) {
        fail_msg("tls_client_open: %s", why);
    }
    return client;
}

/* A pair whose server end speaks TLS from its first byte. */
struct tls_pair {
    struct pair pair;
    struct tls_server *server;
    struct tls_client *client;
};

static inline void tls_on_accept(void *owner, struct stream *stream)
{
    struct tls_pair *tls = owner;

    tls->pair.accept_count++;
    tls->pair.server.stream = stream;
    stream_attach(stream, &end_ops, &tls->pair.server);
    stream_tls_accept(stream, tls->server, BYTES_NONE);
}

static inline void tls_listen(struct tls_pair *tls, struct tls_server *server, struct tls_client *client)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    char why[256];
    enum err err;

    memset(tls, 0, sizeof(*tls));
    tls->server = server;
    tls->client = client;
    tls->pair.loop = loop_open(0);
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &at.ip));
    tls->pair.acceptor = acceptor_open(tls->pair.loop, &at, 128, tls_on_accept, tls, &err, why, sizeof(why));
    assert_non_null(tls->pair.acceptor);
    tls->pair.at = at.ip;
    addr_set_port(&tls->pair.at, acceptor_port(tls->pair.acceptor));
}

/* Connects; both ends have come to a result when it returns. */
static inline void tls_meet(struct tls_pair *tls)
{
    pair_connect(&tls->pair, tls->client);
    UNTIL(tls->pair.loop, tls->pair.client.opens == 1 && tls->pair.server.opens == 1);
}

static inline void tls_open(struct tls_pair *tls, struct tls_server *server, struct tls_client *client)
{
    tls_listen(tls, server, client);
    tls_meet(tls);
    if (tls->pair.client.open_err != ERR_OK || tls->pair.server.open_err != ERR_OK) {
        fail_msg("handshake: client %s (%s), server %s (%s)", err_name(tls->pair.client.open_err),
                 tls->pair.client.open_why, err_name(tls->pair.server.open_err), tls->pair.server.open_why);
    }
}

/* Both ends go; the loop, the server and the client stay for another connection. */
static inline void tls_part(struct tls_pair *tls)
{
    struct pair *pair = &tls->pair;

    if (pair->client.stream != NULL) {
        stream_close(pair->client.stream, false);
    }
    if (pair->server.stream != NULL) {
        stream_close(pair->server.stream, false);
    }
    UNTIL(pair->loop, pair->client.stream == NULL && pair->server.stream == NULL);
    end_free(&pair->client);
    end_free(&pair->server);
    memset(&pair->client, 0, sizeof(pair->client));
    memset(&pair->server, 0, sizeof(pair->server));
}

static inline void tls_close(struct tls_pair *tls)
{
    pair_close(&tls->pair);
    tls_server_release(tls->server);
    tls_client_release(tls->client);
}

static inline struct stream_tls info_of(const struct end *end)
{
    struct stream_tls info;

    assert_true(stream_tls_info(end->stream, &info));
    return info;
}

#endif
