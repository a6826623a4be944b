/*
 * What TLS servers and clients have in common: the one choice of versions,
 * ciphers and options, and reading certificates and keys with words for every
 * way in which a file can be wrong. It holds no state.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "tls_internal.h"

/* Forward secrecy and AEAD only. AES-128 first: as safe as the rest needs, and the cheapest. */
#define CIPHERS_1_2                                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                                       \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                                       \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_1_3    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS         "X25519:P-256:P-384"
#define SECURITY_LEVEL 2

/* A key with a passphrase would make OpenSSL ask the terminal. */
static int on_passphrase(char *text, int size, int writing, void *owner)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)owner;
    return -1;
}

static bool context_set_up(SSL_CTX *context, int minimum_version)
{
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    char groups[] = GROUPS; /* the macro below casts its const away */

    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                           SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Buffers are given back whenever they are empty; a write is done whole or queued whole by us. */
    (void)SSL_CTX_set_mode(context,
                           SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_passwd_cb(context, on_passphrase);
    return SSL_CTX_set_min_proto_version(context, minimum_version) == 1 &&
           SSL_CTX_set_cipher_list(context, CIPHERS_1_2) == 1 && SSL_CTX_set_ciphersuites(context, CIPHERS_1_3) == 1 &&
           SSL_CTX_set1_groups_list(context, groups) == 1;
}

SSL_CTX *tls_context_make(const SSL_METHOD *method, int minimum_version, char *why, size_t size)
{
    SSL_CTX *context = SSL_CTX_new(method);

    if (context == NULL || !context_set_up(context, minimum_version)) {
        (void)tls_file_failed("OpenSSL", "cannot be set up", why, size);
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

/* ------------------------------------------------------------------ files */

bool tls_file_failed(const char *path, const char *what, char *why, size_t size)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

    (void)snprintf(why, size, "%s: %s%s%s", path, what, reason == NULL ? "" : ": ", reason == NULL ? "" : reason);
    ERR_clear_error();
    return false;
}

bool tls_file_readable(const char *path, char *why, size_t size)
{
    struct stat status;
    FILE *file = fopen(path, "re");
    int error = errno;

    if (file != NULL && fstat(fileno(file), &status) == 0 && S_ISDIR(status.st_mode)) {
        (void)fclose(file);
        file = NULL;
        error = EISDIR;
    }
    if (file == NULL) {
        (void)snprintf(why, size, "%s: %s", path, strerror(error));
        return false;
    }
    (void)fclose(file); /* nothing was written */
    return true;
}

X509 *tls_leaf_load(const char *path, char *why, size_t size)
{
    BIO *file;
    X509 *leaf;

    if (!tls_file_readable(path, why, size)) {
        return NULL;
    }
    file = BIO_new_file(path, "r");
    leaf = file == NULL ? NULL : PEM_read_bio_X509_AUX(file, NULL, on_passphrase, NULL);
    if (leaf == NULL) {
        (void)tls_file_failed(path, "no certificate in PEM form", why, size);
    }
    (void)BIO_free(file);
    return leaf;
}

static EVP_PKEY *key_load(const char *path, char *why, size_t size)
{
    BIO *file;
    EVP_PKEY *key;

    if (!tls_file_readable(path, why, size)) {
        return NULL;
    }
    file = BIO_new_file(path, "r");
    key = file == NULL ? NULL : PEM_read_bio_PrivateKey(file, NULL, on_passphrase, NULL);
    if (key == NULL) {
        (void)tls_file_failed(path, "no private key in PEM form without a passphrase", why, size);
    }
    (void)BIO_free(file);
    return key;
}

bool tls_context_use(SSL_CTX *context, const struct tls_certificate *certificate, char *why, size_t size)
{
    EVP_PKEY *key;
    bool used;

    if (!tls_file_readable(certificate->cert_path, why, size)) {
        return false;
    }
    if (SSL_CTX_use_certificate_chain_file(context, certificate->cert_path) != 1) {
        return tls_file_failed(certificate->cert_path, "cannot be used as a certificate chain", why, size);
    }
    key = key_load(certificate->key_path, why, size);
    if (key == NULL) {
        return false;
    }
    used = SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    if (!used) {
        return tls_file_failed(certificate->key_path, "is not the key of the certificate", why, size);
    }
    return true;
}

/* ------------------------------------------------------------------ what a certificate says */

static bool name_tell(const ASN1_STRING *value, tls_name_cb each, void *owner)
{
    const char *text = (const char *)ASN1_STRING_get0_data(value);
    size_t len = (size_t)ASN1_STRING_length(value);
    char name[256];

    if (len == 0 || len >= sizeof(name) || memchr(text, '\0', len) != NULL) {
        return true; /* no host name can be equal to it */
    }
    for (size_t i = 0; i < len; i++) {
        name[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
    }
    name[len] = '\0';
    return each(owner, name);
}

static bool common_name_tell(X509 *leaf, tls_name_cb each, void *owner)
{
    X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    if (at < 0) {
        return true;
    }
    return name_tell(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), each, owner);
}

bool tls_names_each(X509 *leaf, tls_name_cb each, void *owner)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool going = true;

    if (names == NULL) {
        return common_name_tell(leaf, each, owner);
    }
    for (int i = 0; going && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            going = name_tell(name->d.dNSName, each, owner);
        }
    }
    GENERAL_NAMES_free(names);
    return going;
}

static bool on_first_name(void *owner, const char *name)
{
    struct tls_certificate_info *info = owner;

    (void)bytes_to_text(bytes_from_text(name), info->name, sizeof(info->name));
    return false;
}

static int64_t time_of(const ASN1_TIME *at)
{
    struct tm parts;

    return ASN1_TIME_to_tm(at, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

void tls_certificate_describe(X509 *leaf, struct tls_certificate_info *info)
{
    memset(info, 0, sizeof(*info));
    if (tls_names_each(leaf, on_first_name, info)) {
        (void)X509_NAME_oneline(X509_get_subject_name(leaf), info->name, (int)sizeof(info->name));
    }
    info->not_before_s = time_of(X509_get0_notBefore(leaf));
    info->not_after_s = time_of(X509_get0_notAfter(leaf));
}

enum err tls_certificate_inspect(const struct tls_certificate *certificate, struct tls_certificate_info *info,
                                 char *why, size_t size)
{
    X509 *leaf = tls_leaf_load(certificate->cert_path, why, size);
    SSL_CTX *context;
    bool usable;

    if (leaf == NULL) {
        return ERR_FILE;
    }
    tls_certificate_describe(leaf, info);
    X509_free(leaf);
    /* As it will be used: that also finds keys that are too short. */
    context = tls_context_make(TLS_server_method(), TLS1_2_VERSION, why, size);
    if (context == NULL) {
        return ERR_FILE;
    }
    usable = tls_context_use(context, certificate, why, size);
    SSL_CTX_free(context);
    return usable ? ERR_OK : ERR_FILE;
}

const char *tls_library_built(void)
{
    return OPENSSL_VERSION_TEXT;
}

const char *tls_library_running(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}
