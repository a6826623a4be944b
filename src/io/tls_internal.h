/*
 * What the TLS files share. Only they, of all of weir, include OpenSSL's
 * headers for connections.
 */
#ifndef WEIR_TLS_INTERNAL_H
#define WEIR_TLS_INTERNAL_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "weir/base/bytes.h"
#include "weir/base/digest.h"
#include "weir/base/table.h"
#include "weir/io/tls.h"

/* ------------------------------------------------------------------ tls_common.c */

/* Everything that both sides have in common: versions, ciphers, groups, options, modes. NULL: `why` says it. */
WEIR_MUSTCHECK SSL_CTX *tls_context_make(const SSL_METHOD *method, int minimum_version, char *why, size_t size);
/* Loads chain and key into the context. False: `why` names the file. */
WEIR_MUSTCHECK bool tls_context_use(SSL_CTX *context, const struct tls_certificate *certificate, char *why,
                                    size_t size);
/* The leaf of a PEM file, owned by the caller. NULL: `why` names the file. */
WEIR_MUSTCHECK X509 *tls_leaf_load(const char *path, char *why, size_t size);
/* True when the file can be opened and is not empty; else `why` says what is wrong. */
WEIR_MUSTCHECK bool tls_file_readable(const char *path, char *why, size_t size);
/* "PATH: what: OpenSSL's reason", and drains OpenSSL's queue of errors. Returns false. */
bool tls_file_failed(const char *path, const char *what, char *why, size_t size);

/*
 * Calls `each` with every DNS name of a certificate in lower case; with its
 * common name only when it has no subjectAltName at all. False when each said so.
 */
typedef bool (*tls_name_cb)(void *owner, const char *name);
bool tls_names_each(X509 *leaf, tls_name_cb each, void *owner);
void tls_certificate_describe(X509 *leaf, struct tls_certificate_info *info);

/* ------------------------------------------------------------------ tls_tickets.c */

/* OpenSSL's callback; finds the tickets through the server, the context's application data. */
int tls_tickets_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                       int sealing);

/* ------------------------------------------------------------------ tls_server.c */

#define TLS_CERTS_PER_NAME_MAX 3 /* ECDSA, RSA, EdDSA */

/* Certificates that serve one name, one of each key type. */
struct tls_identity {
    SSL_CTX *context;                  /* owned */
    int certs[TLS_CERTS_PER_NAME_MAX]; /* indexes of tls_server's certs, the best match first */
    int cert_count;
};

struct tls_server {
    int holds;
    struct tls_tickets *tickets;     /* borrowed; NULL: no resumption */
    struct table *names;             /* name or "*.suffix" to struct tls_identity */
    struct tls_identity *identities; /* owned; the first is the default */
    int identity_count;
    struct tls_certificate_info *infos; /* owned */
    int cert_count;
};

/* ------------------------------------------------------------------ tls_client.c */

#define TLS_SESSIONS_MAX 8

struct tls_client {
    int holds;
    SSL_CTX *context;
    char *name;                              /* SNI; NULL: none (an IP address, or not given) */
    SSL_SESSION *sessions[TLS_SESSIONS_MAX]; /* owned; the oldest first */
    int session_count;
    bool uses_system_store;
    char identity[2 * DIGEST_BYTES + 1];
};

/* A session to offer, owned by the caller, or NULL. */
SSL_SESSION *tls_client_session(struct tls_client *client);

/* ------------------------------------------------------------------ tls_stream.c */

/* Tells whether the name was found among the certificates. For the server's SNI callback. */
void tls_stream_note_name(SSL *ssl, bool matched);
/* Keeps a session that the server sent. Returns true when it was taken over. */
bool tls_client_keep(struct tls_client *client, SSL_SESSION *session);
/* The client that this connection belongs to. */
struct tls_client *tls_stream_client(SSL *ssl);

#endif
