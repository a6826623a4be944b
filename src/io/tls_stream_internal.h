/*
 * The inside of a TLS stream, shared by tls_stream.c (its life, reading,
 * writing), tls_handshake.c (until it is open, and what went wrong) and
 * tls_bio.c (ciphertext in and out).
 */
#ifndef WEIR_IO_TLS_STREAM_INTERNAL_H
#define WEIR_IO_TLS_STREAM_INTERNAL_H

#include "stream_internal.h"
#include "tls_internal.h"

#define RECORD_BYTES 16384                       /* RFC 8446 5.1: plaintext of one record */
#define OUT_BYTES    (4 * (RECORD_BYTES + 1024)) /* of ciphertext gathered before it must leave */
#define PLAIN_BYTES  (64 * 1024)
/* KeyUpdates and tickets without a byte of data between them; nobody has a reason to send more. */
#define IDLE_MESSAGES_MAX 32

enum tls_state {
    TLS_WAITING, /* for TCP */
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_FAILED, /* the handshake or a record; nothing passes any more */
};

struct tls_stream {
    SSL *ssl;                  /* owned */
    struct stream *stream;     /* borrowed: it owns us */
    struct tls_server *server; /* held; NULL on the client side */
    struct tls_client *client; /* held; NULL on the server side */
    struct buf pending;        /* ciphertext that came before and is not yet decrypted */
    char *server_name;         /* owned, as the next two; made when the handshake is done */
    char *peer_subject;
    char *why;     /* made when something failed */
    uint8_t state; /* enum tls_state */
    uint8_t idle_messages_count;
    uint8_t write_err; /* enum err of the write that runs */
    bool write_sent;   /* a byte of the write that runs was taken */
    bool name_matched;
    bool notified; /* close_notify is out */
    bool begun;    /* the first byte from the peer was seen */
    bool not_tls;  /* and it was none of TLS */
};

/* One for each loop. Used within one call and empty between them. */
struct tls_io {
    BIO_METHOD *method;              /* owned */
    const struct tls_stream *reader; /* whose input this is; NULL: none */
    struct bytes in;                 /* ciphertext not yet taken; borrowed */
    size_t out_bytes;
    char out[OUT_BYTES];
    char plain[PLAIN_BYTES];
    char parts[RECORD_BYTES]; /* small parts of a write become one record here */
};

/* tls_stream.c */
/* Moves on to another state: it never goes back, and a failure is the end. The only place that sets it. */
void tls_enter(struct tls_stream *tls, enum tls_state state);
/* The connection is of no use any more; the owner is told. `why`: more words, or NULL. */
void tls_fail(struct stream *stream, enum err err, const char *why);

/* tls_handshake.c */
/* One step of the handshake, as far as the input goes. */
void tls_handshake_step(struct stream *stream);
/* Takes OpenSSL's queue of errors: what they mean, with the words kept for stream_why. */
enum err tls_err_take(struct tls_stream *tls);
void tls_why_set(struct tls_stream *tls, const char *what, const char *detail);

/* tls_bio.c */
/* The buffers of a loop, made by its first TLS stream. NULL on no memory. */
struct tls_io *tls_io_open(void);
/* Sends what was gathered. Notes in the stream how it went. */
void tls_out_flush(struct tls_stream *tls);

#endif
