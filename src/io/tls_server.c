/*
 * The server side's configuration: certificates grouped into identities, one
 * SSL_CTX each, and the table of names that SNI is looked up in. An identity
 * holds one certificate of each key type, so that OpenSSL can answer by the
 * client's abilities. All is made at start or reload and never changes.
 */
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls_internal.h"

#include "weir/base/digest.h"

#define TRUST_FILE_BYTES_MAX (16 * 1024 * 1024)

/* One certificate while the server is being made. */
struct cert {
    const struct tls_certificate *files; /* borrowed */
    X509 *leaf;                          /* owned */
    int key_type;                        /* EVP_PKEY_RSA, ... */
};

struct making {
    const struct tls_server_options *options;
    struct tls_server *server;
    struct cert *certs;
    uint8_t resume_scope[DIGEST_BYTES]; /* sessions are resumed only under the same rules for client certificates */
    char *why;
    size_t size;
    bool failed;
};

/* ------------------------------------------------------------------ handshake callbacks */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg)
{
    static const unsigned char only[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, only, sizeof(only) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* The name as the table has it: lower case, without a final dot. False: it cannot be in the table. */
static bool name_normal(const char *name, char normal[256])
{
    size_t len = strlen(name);

    if (len > 0 && name[len - 1] == '.') {
        len--;
    }
    if (len == 0 || len >= 256) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        normal[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    }
    normal[len] = '\0';
    return normal[0] != '*';
}

static struct tls_identity *identity_find(const struct tls_server *server, const char *asked)
{
    struct tls_identity *identity;
    char name[256];
    char *rest;

    if (!name_normal(asked, name)) {
        return NULL;
    }
    identity = table_find(server->names, bytes_from_text(name));
    rest = strchr(name, '.');
    if (identity != NULL || rest == NULL || rest == name) {
        return identity;
    }
    *--rest = '*'; /* the end of the first label becomes the wildcard */
    return table_find(server->names, bytes_from_text(rest));
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    struct tls_server *server = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct tls_identity *identity = name == NULL ? NULL : identity_find(server, name);

    (void)alert;
    tls_stream_note_name(ssl, identity != NULL);
    if (identity == NULL) {
        return SSL_TLSEXT_ERR_NOACK; /* the default serves: an unknown name is not the transport's business */
    }
    if (identity->context != SSL_get_SSL_CTX(ssl) && SSL_set_SSL_CTX(ssl, identity->context) == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* ------------------------------------------------------------------ contexts */

static bool trust_use(struct making *making, SSL_CTX *context)
{
    const struct tls_server_options *options = making->options;
    STACK_OF(X509_NAME) * names;
    int mode = SSL_VERIFY_PEER;

    if (options->client_certs == TLS_CLIENT_CERTS_OFF) {
        return true;
    }
    if (SSL_CTX_load_verify_file(context, options->client_ca_path) != 1) {
        return tls_file_failed(options->client_ca_path, "no CA certificate in PEM form", making->why, making->size);
    }
    names = SSL_load_client_CA_file(options->client_ca_path);
    if (names == NULL) {
        return tls_file_failed(options->client_ca_path, "no CA certificate in PEM form", making->why, making->size);
    }
    SSL_CTX_set_client_CA_list(context, names); /* takes it over */
    if (options->client_crl_path != NULL) {
        X509_STORE *store = SSL_CTX_get_cert_store(context);
        X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
        if (lookup == NULL || X509_load_crl_file(lookup, options->client_crl_path, X509_FILETYPE_PEM) < 1 ||
            X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1) {
            return tls_file_failed(options->client_crl_path, "no revocation list in PEM form", making->why,
                                   making->size);
        }
    }
    if (options->client_certs == TLS_CLIENT_CERTS_REQUIRED) {
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    SSL_CTX_set_verify(context, mode, NULL);
    return true;
}

static bool resumption_use(struct making *making, SSL_CTX *context)
{
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (making->server->tickets == NULL) {
        (void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(context, 0) == 1;
    }
    return SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_session_id_context(context, making->resume_scope, DIGEST_BYTES) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, tls_tickets_on_key) == 1;
}

static SSL_CTX *context_make(struct making *making, const int *certs, int count)
{
    int minimum = making->options->minimum == TLS_MINIMUM_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX *context = tls_context_make(TLS_server_method(), minimum, making->why, making->size);
    bool usable = context != NULL;

    for (int i = 0; usable && i < count; i++) {
        usable = tls_context_use(context, making->certs[certs[i]].files, making->why, making->size);
    }
    usable = usable && trust_use(making, context);
    if (usable && !resumption_use(making, context)) {
        usable = tls_file_failed("OpenSSL", "cannot be set up", making->why, making->size);
    }
    if (!usable) {
        SSL_CTX_free(context);
        return NULL;
    }
    (void)SSL_CTX_set_app_data(context, making->server);
    (void)SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    (void)SSL_CTX_set_tlsext_servername_arg(context, making->server);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    return context;
}

/* ------------------------------------------------------------------ which certificates serve a name */

static bool on_compare_name(void *owner, const char *name)
{
    return strcmp(owner, name) != 0; /* going on until it is found */
}

static bool cert_has(const struct cert *cert, const char *name)
{
    char copy[256];

    (void)bytes_to_text(bytes_from_text(name), copy, sizeof(copy));
    return !tls_names_each(cert->leaf, on_compare_name, copy);
}

static bool type_taken(const struct making *making, const int *certs, int count, int key_type)
{
    for (int i = 0; i < count; i++) {
        if (making->certs[certs[i]].key_type == key_type) {
            return true;
        }
    }
    return false;
}

/* Adds the first certificate of each key type not yet taken that has `name`. Returns the new count. */
static int certs_with(const struct making *making, const char *name, int *certs, int count)
{
    for (int i = 0; i < making->server->cert_count && count < TLS_CERTS_PER_NAME_MAX; i++) {
        if (!type_taken(making, certs, count, making->certs[i].key_type) && cert_has(&making->certs[i], name)) {
            certs[count++] = i;
        }
    }
    return count;
}

static int certs_for(const struct making *making, const char *name, int *certs)
{
    int count = certs_with(making, name, certs, 0);
    const char *rest = strchr(name, '.');
    char wildcard[256];

    if (rest == NULL || name[0] == '*') {
        return count;
    }
    (void)snprintf(wildcard, sizeof(wildcard), "*%s", rest);
    return certs_with(making, wildcard, certs, count);
}

/* The identity of exactly these certificates; made when there is none yet. NULL: `why` says what is wrong. */
static struct tls_identity *identity_of(struct making *making, const int *certs, int count)
{
    struct tls_server *server = making->server;
    struct tls_identity *identity;

    for (int i = 0; i < server->identity_count; i++) {
        identity = &server->identities[i];
        if (identity->cert_count == count && memcmp(identity->certs, certs, (size_t)count * sizeof(certs[0])) == 0) {
            return identity;
        }
    }
    identity = &server->identities[server->identity_count];
    identity->context = context_make(making, certs, count);
    if (identity->context == NULL) {
        return NULL;
    }
    memcpy(identity->certs, certs, (size_t)count * sizeof(certs[0]));
    identity->cert_count = count;
    server->identity_count++;
    return identity;
}

static bool on_name(void *owner, const char *name)
{
    struct making *making = owner;
    struct tls_server *server = making->server;
    int certs[TLS_CERTS_PER_NAME_MAX];
    struct tls_identity *identity;

    if (table_find(server->names, bytes_from_text(name)) != NULL) {
        return true;
    }
    identity = identity_of(making, certs, certs_for(making, name, certs));
    if (identity == NULL) {
        making->failed = true;
        return false;
    }
    if (!table_put(server->names, bytes_from_text(name), identity)) {
        making->failed = true;
        (void)snprintf(making->why, making->size, "out of memory");
        return false;
    }
    return true;
}

static bool on_count_name(void *owner, const char *name)
{
    (void)name;
    (*(int *)owner)++;
    return true;
}

/*
 * The first certificate serves whoever names nothing; if others share its
 * first name, they go with it for clients that cannot use it.
 */
static bool default_make(struct making *making)
{
    struct tls_certificate_info *info = &making->server->infos[0];
    int certs[TLS_CERTS_PER_NAME_MAX];
    int count = certs_for(making, info->name, certs);

    if (count == 0 || certs[0] != 0) {
        certs[0] = 0;
        count = 1;
    }
    return identity_of(making, certs, count) != NULL;
}

static bool identities_make(struct making *making)
{
    struct tls_server *server = making->server;
    int names = 0;

    for (int i = 0; i < server->cert_count; i++) {
        (void)tls_names_each(making->certs[i].leaf, on_count_name, &names);
    }
    /* As many as there are names at most, and the default; they must not move, the table points at them. */
    server->identities = calloc((size_t)names + 1, sizeof(server->identities[0]));
    server->names = table_open(0);
    if (server->identities == NULL || server->names == NULL) {
        (void)snprintf(making->why, making->size, "out of memory");
        return false;
    }
    if (!default_make(making)) {
        return false;
    }
    for (int i = 0; i < server->cert_count && !making->failed; i++) {
        (void)tls_names_each(making->certs[i].leaf, on_name, making); /* `failed` tells */
    }
    return !making->failed;
}

/* ------------------------------------------------------------------ opening */

static bool certs_load(struct making *making)
{
    struct tls_server *server = making->server;

    for (int i = 0; i < making->options->certificate_count; i++) {
        struct cert *cert = &making->certs[i];
        cert->files = &making->options->certificates[i];
        /* Also one whose names are all served by others must be a good one. */
        if (tls_certificate_inspect(cert->files, &server->infos[i], making->why, making->size) != ERR_OK) {
            return false;
        }
        cert->leaf = tls_leaf_load(cert->files->cert_path, making->why, making->size);
        if (cert->leaf == NULL) {
            return false;
        }
        cert->key_type = EVP_PKEY_get_base_id(X509_get0_pubkey(cert->leaf));
        server->cert_count = i + 1;
    }
    return true;
}

/* Digest of a file of certificates or revocations; a missing path counts as an empty file. */
static bool trust_digest(struct making *making, const char *path, uint8_t digest[DIGEST_BYTES])
{
    char *text = NULL;
    size_t len = 0;
    FILE *file;
    bool whole;

    if (path == NULL) {
        digest_sha256(BYTES_NONE, digest);
        return true;
    }
    if (!tls_file_readable(path, making->why, making->size)) {
        return false;
    }
    file = fopen(path, "re");
    text = malloc(TRUST_FILE_BYTES_MAX);
    if (file != NULL && text != NULL) {
        len = fread(text, 1, TRUST_FILE_BYTES_MAX, file);
    }
    whole = file != NULL && text != NULL && len < TRUST_FILE_BYTES_MAX && ferror(file) == 0;
    if (whole) {
        digest_sha256(bytes_of(text, len), digest);
    } else {
        (void)snprintf(making->why, making->size, "%s: cannot be read, or is larger than %d MiB", path,
                       TRUST_FILE_BYTES_MAX / (1024 * 1024));
    }
    if (file != NULL) {
        (void)fclose(file); /* nothing was written */
    }
    free(text);
    return whole;
}

/*
 * Tickets are sealed by keys of the whole process. Without this, one that was
 * got where no client certificate is asked would open the door where one is,
 * and one got before a revocation would outlive it.
 */
static bool resume_scope_make(struct making *making)
{
    const struct tls_server_options *options = making->options;
    bool asked = options->client_certs != TLS_CLIENT_CERTS_OFF;
    uint8_t parts[2 * DIGEST_BYTES + 1];

    if (asked && options->client_ca_path == NULL) {
        (void)snprintf(making->why, making->size, "client certificates are asked for, but no CA is named");
        return false;
    }
    parts[0] = (uint8_t)options->client_certs;
    if (!trust_digest(making, asked ? options->client_ca_path : NULL, parts + 1) ||
        !trust_digest(making, asked ? options->client_crl_path : NULL, parts + 1 + DIGEST_BYTES)) {
        return false;
    }
    digest_sha256(bytes_of(parts, sizeof(parts)), making->resume_scope);
    return true;
}

struct tls_server *tls_server_open(const struct tls_server_options *options, char *why, size_t size)
{
    struct making making = {.options = options, .why = why, .size = size};
    size_t count = (size_t)options->certificate_count;
    bool made = false;

    CHECK(options->certificate_count > 0);
    making.server = calloc(1, sizeof(*making.server));
    making.certs = calloc(count, sizeof(making.certs[0]));
    if (making.server != NULL) {
        making.server->holds = 1;
        making.server->tickets = options->tickets;
        making.server->infos = calloc(count, sizeof(making.server->infos[0]));
    }
    if (making.server == NULL || making.certs == NULL || making.server->infos == NULL) {
        (void)snprintf(why, size, "out of memory");
    } else {
        made = certs_load(&making) && resume_scope_make(&making) && identities_make(&making);
    }
    for (size_t i = 0; making.certs != NULL && i < count; i++) {
        X509_free(making.certs[i].leaf);
    }
    free(making.certs);
    if (!made) {
        tls_server_release(making.server);
        return NULL;
    }
    return making.server;
}

struct tls_server *tls_server_hold(struct tls_server *tls)
{
    tls->holds++;
    return tls;
}

void tls_server_release(struct tls_server *tls)
{
    if (tls == NULL || --tls->holds > 0) {
        return;
    }
    for (int i = 0; i < tls->identity_count; i++) {
        SSL_CTX_free(tls->identities[i].context);
    }
    if (tls->names != NULL) {
        table_close(tls->names);
    }
    free(tls->identities);
    free(tls->infos);
    free(tls);
}

int tls_server_certificate_count(const struct tls_server *tls)
{
    return tls->cert_count;
}

void tls_server_certificate(const struct tls_server *tls, int index, struct tls_certificate_info *info)
{
    CHECK(index >= 0 && index < tls->cert_count);
    *info = tls->infos[index];
}
