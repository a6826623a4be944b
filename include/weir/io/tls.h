/*
 * TLS configurations, server and client side, over OpenSSL. Each is immutable
 * and counted: streams hold the one they began with, so a reload swaps the
 * pointer and lets go. Ticket keys belong to the process and survive reloads.
 *
 * Server: TLS 1.2 or 1.3, ECDHE with AEAD only, no compression, no
 * renegotiation, no early data, stateless tickets. The certificate is chosen
 * by SNI among all names of all certificates (wildcards of one label); without
 * SNI, with an IP address or with an unknown name the first one serves. When
 * one name has an ECDSA and an RSA certificate, the client's abilities decide.
 */
#ifndef WEIR_IO_TLS_H
#define WEIR_IO_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/err.h"

struct tls_server;
struct tls_client;
struct tls_tickets;

enum tls_minimum { TLS_MINIMUM_1_2, TLS_MINIMUM_1_3 };
enum tls_client_certs { TLS_CLIENT_CERTS_OFF, TLS_CLIENT_CERTS_OPTIONAL, TLS_CLIENT_CERTS_REQUIRED };

struct tls_certificate {
    const char *cert_path; /* PEM chain, leaf first */
    const char *key_path;  /* PEM */
};

/* What a certificate says of itself, for checks, metrics and warnings. */
struct tls_certificate_info {
    char name[256];      /* first DNS name, else subject */
    int64_t not_after_s; /* since 1970 */
    int64_t not_before_s;
};

struct tls_server_options {
    const struct tls_certificate *certificates; /* at least one; borrowed for the call */
    int certificate_count;
    enum tls_minimum minimum;
    enum tls_client_certs client_certs;
    const char *client_ca_path;  /* PEM; NULL when client_certs is off */
    const char *client_crl_path; /* PEM, a list of every CA that issues; NULL: none is checked */
    struct tls_tickets *tickets; /* borrowed for the server's life; NULL: no resumption */
};

/* Session ticket keys: the newest seals, older ones open for a while. Rotated by time (12 h), by the caller's timer. */
WEIR_MUSTCHECK struct tls_tickets *tls_tickets_open(void);
void tls_tickets_rotate(struct tls_tickets *tickets);
void tls_tickets_close(struct tls_tickets *tickets);

/* Reads files: at start and reload only. NULL: `why` (size bytes) says which file and what is wrong with it. */
WEIR_MUSTCHECK struct tls_server *tls_server_open(const struct tls_server_options *options, char *why, size_t size);
struct tls_server *tls_server_hold(struct tls_server *tls);
void tls_server_release(struct tls_server *tls); /* NULL is ignored */
int tls_server_certificate_count(const struct tls_server *tls);
void tls_server_certificate(const struct tls_server *tls, int index, struct tls_certificate_info *info);

struct tls_client_options {
    bool verify;           /* full: chain and name; false only by `verify: off` */
    const char *ca_path;   /* PEM; NULL: the system's store */
    const char *cert_path; /* client certificate; NULL: none */
    const char *key_path;
    const char *server_name; /* sent as SNI (unless an IP address) and verified; needed when verify is on */
};

/* As above. Sessions are kept and resumed per tls_client. */
WEIR_MUSTCHECK struct tls_client *tls_client_open(const struct tls_client_options *options, char *why, size_t size);
struct tls_client *tls_client_hold(struct tls_client *tls);
void tls_client_release(struct tls_client *tls);
/* The digest, in hex, of what its files said when it was opened: renewed at the same path they make another identity. */
const char *tls_client_identity(const struct tls_client *tls);

/* Looks at files for `weir check`: the pair matches, is readable, its dates. ERR_FILE with `why`. */
WEIR_MUSTCHECK enum err tls_certificate_inspect(const struct tls_certificate *certificate,
                                                struct tls_certificate_info *info, char *why, size_t size);

/* "OpenSSL 3.0.15 ..." as built and as running. */
const char *tls_library_built(void);
const char *tls_library_running(void);

#endif
