/*
 * The client side's configuration: whom to trust, what name to expect, our own
 * certificate, and up to eight sessions to resume. The system's trust store is
 * parsed once and shared among the clients that use it, for it is large.
 */
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "tls_internal.h"

#include "weir/base/addr.h"
#include "weir/base/check.h"

/* ------------------------------------------------------------------ the system's store */

/*
 * A cache, not state: without it every client would parse the file again. The
 * worker takes from it when it reads a configuration while the loop leaves it
 * when an older one ends. The lock is never held over a file.
 */
static struct {
    pthread_mutex_t lock;
    X509_STORE *store; /* one reference of the cache, until the last client goes */
    int users;
    struct timespec changed; /* of the file that was read */
} system_store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void system_store_lock(void)
{
    CHECK(pthread_mutex_lock(&system_store.lock) == 0);
}

static void system_store_unlock(void)
{
    CHECK(pthread_mutex_unlock(&system_store.lock) == 0);
}

/*
 * The bundle that Debian, Alpine and Fedora's compatibility links keep beside
 * the hashed directory. Read as one file, the store never touches the disk
 * during a handshake, which the directory lookup would.
 */
static bool bundle_path(char *path, size_t size, struct stat *status)
{
    if (getenv(X509_get_default_cert_file_env()) != NULL || getenv(X509_get_default_cert_dir_env()) != NULL) {
        return false; /* the operator chose; OpenSSL knows how to follow */
    }
    (void)snprintf(path, size, "%s/ca-certificates.crt", X509_get_default_cert_dir());
    return stat(path, status) == 0;
}

static X509_STORE *system_store_load(struct timespec *changed)
{
    X509_STORE *store = X509_STORE_new();
    struct stat status = {0};
    char path[512];
    int loaded;

    if (store == NULL) {
        return NULL;
    }
    if (bundle_path(path, sizeof(path), &status)) {
        loaded = X509_STORE_load_file(store, path);
    } else {
        loaded = X509_STORE_set_default_paths(store);
    }
    *changed = status.st_mtim;
    if (loaded != 1) {
        X509_STORE_free(store);
        return NULL;
    }
    return store;
}

static struct timespec bundle_changed(void)
{
    struct stat status = {0};
    char path[512];

    (void)bundle_path(path, sizeof(path), &status); /* without one the time is zero, always the same */
    return status.st_mtim;
}

/* The cached store with a reference for the caller, or NULL: there is none, or not as the file is now. */
static X509_STORE *system_store_cached(struct timespec changed)
{
    X509_STORE *store = NULL;

    system_store_lock();
    if (system_store.store != NULL && system_store.changed.tv_sec == changed.tv_sec &&
        system_store.changed.tv_nsec == changed.tv_nsec && X509_STORE_up_ref(system_store.store) == 1) {
        store = system_store.store;
        system_store.users++;
    }
    system_store_unlock();
    return store;
}

/* A reference for the caller, or NULL. */
static X509_STORE *system_store_take(void)
{
    X509_STORE *store = system_store_cached(bundle_changed()), *older;
    struct timespec changed;

    if (store != NULL) {
        return store;
    }
    store = system_store_load(&changed);
    if (store == NULL || X509_STORE_up_ref(store) != 1) {
        X509_STORE_free(store);
        return NULL;
    }
    system_store_lock();
    older = system_store.store;
    system_store.store = store;
    system_store.changed = changed;
    system_store.users++;
    system_store_unlock();
    X509_STORE_free(older); /* those who use the older one hold it themselves */
    return store;
}

static void system_store_leave(void)
{
    X509_STORE *last = NULL;

    system_store_lock();
    if (--system_store.users == 0) {
        last = system_store.store;
        system_store.store = NULL;
    }
    system_store_unlock();
    X509_STORE_free(last);
}

/* ------------------------------------------------------------------ sessions */

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *client = tls_stream_client(ssl);

    return client != NULL && tls_client_keep(client, session) ? 1 : 0;
}

static void session_drop(struct tls_client *client, int index)
{
    client->session_count--;
    memmove(&client->sessions[index], &client->sessions[index + 1],
            (size_t)(client->session_count - index) * sizeof(client->sessions[0]));
}

bool tls_client_keep(struct tls_client *client, SSL_SESSION *session)
{
    if (client->session_count == TLS_SESSIONS_MAX) {
        SSL_SESSION_free(client->sessions[0]);
        session_drop(client, 0);
    }
    client->sessions[client->session_count++] = session;
    return true;
}

static bool session_is_good(const SSL_SESSION *session)
{
    return SSL_SESSION_is_resumable(session) == 1 &&
           SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) > (long)time(NULL);
}

SSL_SESSION *tls_client_session(struct tls_client *client)
{
    while (client->session_count > 0) {
        int newest = client->session_count - 1;
        SSL_SESSION *session = client->sessions[newest];

        if (!session_is_good(session)) {
            SSL_SESSION_free(session);
            session_drop(client, newest);
            continue;
        }
        if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
            session_drop(client, newest); /* RFC 8446 appendix C.4: a ticket is used once */
            return session;
        }
        return SSL_SESSION_up_ref(session) == 1 ? session : NULL;
    }
    return NULL;
}

/* ------------------------------------------------------------------ opening */

static bool trust_use(struct tls_client *client, const struct tls_client_options *options, char *why, size_t size)
{
    X509_STORE *store;

    if (options->ca_path != NULL) {
        if (!tls_file_readable(options->ca_path, why, size)) {
            return false;
        }
        if (SSL_CTX_load_verify_file(client->context, options->ca_path) != 1) {
            return tls_file_failed(options->ca_path, "no CA certificate in PEM form", why, size);
        }
        return true;
    }
    store = system_store_take();
    if (store == NULL) {
        return tls_file_failed("the system's trust store", "cannot be read", why, size);
    }
    client->uses_system_store = true;
    SSL_CTX_set_cert_store(client->context, store); /* takes our reference over */
    return true;
}

static bool verification_use(struct tls_client *client, const struct tls_client_options *options, char *why,
                             size_t size)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(client->context);
    struct addr addr;
    int set;

    if (!options->verify) {
        SSL_CTX_set_verify(client->context, SSL_VERIFY_NONE, NULL);
        return true;
    }
    if (options->server_name == NULL || options->server_name[0] == '\0') {
        (void)snprintf(why, size, "verification needs a server name");
        return false;
    }
    if (!trust_use(client, options, why, size)) {
        return false;
    }
    if (addr_parse_host(bytes_from_text(options->server_name), 0, &addr)) {
        set = X509_VERIFY_PARAM_set1_ip_asc(param, options->server_name);
    } else {
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        set = X509_VERIFY_PARAM_set1_host(param, options->server_name, 0);
    }
    if (set != 1) {
        return tls_file_failed(options->server_name, "cannot be a server's name", why, size);
    }
    SSL_CTX_set_verify(client->context, SSL_VERIFY_PEER, NULL);
    return true;
}

static bool name_use(struct tls_client *client, const char *name, char *why, size_t size)
{
    struct addr addr;

    if (name == NULL || name[0] == '\0' || addr_parse_host(bytes_from_text(name), 0, &addr)) {
        return true; /* RFC 6066 section 3: no addresses in SNI */
    }
    client->name = strdup(name);
    if (client->name == NULL) {
        (void)snprintf(why, size, "out of memory");
        return false;
    }
    return true;
}

static bool client_set_up(struct tls_client *client, const struct tls_client_options *options, char *why, size_t size)
{
    static const unsigned char protocols[] = "\x08http/1.1";
    struct tls_certificate own = {options->cert_path, options->key_path};

    client->context = tls_context_make(TLS_client_method(), TLS1_2_VERSION, why, size);
    if (client->context == NULL || !verification_use(client, options, why, size) ||
        !name_use(client, options->server_name, why, size)) {
        return false;
    }
    if (own.cert_path != NULL && !tls_context_use(client->context, &own, why, size)) {
        return false;
    }
    /* Zero is success here, alone in this library. */
    if (SSL_CTX_set_alpn_protos(client->context, protocols, sizeof(protocols) - 1) != 0) {
        return tls_file_failed("OpenSSL", "cannot be set up", why, size);
    }
    (void)SSL_CTX_set_session_cache_mode(client->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->context, on_new_session);
    return true;
}

/* Adds the digest of a file to what `digest` is of. A file that is gone meanwhile counts as empty. */
static void digest_file(uint8_t digest[DIGEST_BYTES], const char *path)
{
    char chunk[4096];
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    size_t len = 0;

    do {
        len = file == NULL ? 0 : fread(chunk, 1, sizeof(chunk), file);
        digest_hmac_sha256(bytes_of((const char *)digest, DIGEST_BYTES), bytes_of(chunk, len), digest);
    } while (len > 0);
    if (file != NULL) {
        (void)fclose(file); /* nothing was written */
    }
    OPENSSL_cleanse(chunk, sizeof(chunk));
}

static void identity_make(struct tls_client *client, const struct tls_client_options *options)
{
    uint8_t digest[DIGEST_BYTES] = {0};

    if (client->uses_system_store) {
        struct timespec changed = bundle_changed();
        digest_hmac_sha256(bytes_of((const char *)&changed, sizeof(changed)), BYTES_NONE, digest);
    }
    digest_file(digest, options->ca_path);
    digest_file(digest, options->cert_path);
    digest_file(digest, options->key_path);
    digest_hex(digest, sizeof(digest), client->identity);
}

const char *tls_client_identity(const struct tls_client *client)
{
    return client->identity;
}

struct tls_client *tls_client_open(const struct tls_client_options *options, char *why, size_t size)
{
    struct tls_client *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        (void)snprintf(why, size, "out of memory");
        return NULL;
    }
    client->holds = 1;
    if (!client_set_up(client, options, why, size)) {
        tls_client_release(client);
        return NULL;
    }
    identity_make(client, options);
    return client;
}

struct tls_client *tls_client_hold(struct tls_client *tls)
{
    tls->holds++;
    return tls;
}

void tls_client_release(struct tls_client *tls)
{
    if (tls == NULL || --tls->holds > 0) {
        return;
    }
    for (int i = 0; i < tls->session_count; i++) {
        SSL_SESSION_free(tls->sessions[i]);
    }
    SSL_CTX_free(tls->context);
    if (tls->uses_system_store) {
        system_store_leave();
    }
    free(tls->name);
    free(tls);
}
