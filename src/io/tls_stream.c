/*
 * The TLS half of a stream. OpenSSL reads and writes through a BIO of ours that
 * owns no bytes: it takes ciphertext from where the loop has just read it to,
 * and gathers records in one buffer of the loop that leaves in one write. So a
 * typical request costs one SSL_read and one SSL_write, and an idle connection
 * holds what OpenSSL holds and little more.
 *
 * The socket is stream.c's. Ciphertext is copied only when the owner pauses in
 * the middle of it.
 */
#include <stdio.h>
#include <stdlib.h>

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

/* The only place that sets the state: it never goes back, and a failure is the end. */
static void tls_enter(struct tls_stream *tls, enum tls_state state)
{
    CHECK(state > tls->state || (state == TLS_FAILED && tls->state == TLS_FAILED));
    tls->state = (uint8_t)state;
}

/* ------------------------------------------------------------------ the BIO */

static int on_bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static long on_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int on_bio_read(BIO *bio, char *into, int room)
{
    struct tls_stream *tls = BIO_get_data(bio);
    struct tls_io *io = stream_loop(tls->stream)->tls;
    struct bytes from;

    BIO_clear_retry_flags(bio);
    if (tls->idle_messages_count > IDLE_MESSAGES_MAX) {
        return -1; /* a flood: what was read ahead is worked off, and no more */
    }
    if (tls->pending.len > 0) {
        from = bytes_take(buf_front(&tls->pending), (size_t)room);
        memcpy(into, from.at, from.len);
        buf_consume(&tls->pending, from.len);
        return (int)from.len;
    }
    if (io->reader != tls || io->in.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    from = bytes_take(io->in, (size_t)room);
    memcpy(into, from.at, from.len);
    io->in = bytes_skip(io->in, from.len);
    return (int)from.len;
}

/* Sends what was gathered. Notes in the stream how it went. */
static void out_flush(struct tls_stream *tls)
{
    struct tls_io *io = stream_loop(tls->stream)->tls;
    struct stream_wrote done;
    uv_buf_t buf;

    if (io->out_bytes == 0) {
        return;
    }
    buf = uv_buf_init(io->out, (unsigned)io->out_bytes);
    io->out_bytes = 0;
    if (tls->stream->broken != ERR_OK) {
        tls->write_err = tls->stream->broken;
        return;
    }
    done = stream_send(tls->stream, &buf, 1);
    tls->write_sent = tls->write_sent || done.sent;
    if (done.err != ERR_OK) {
        tls->write_err = (uint8_t)done.err;
    }
}

static int on_bio_write(BIO *bio, const char *from, int len)
{
    struct tls_stream *tls = BIO_get_data(bio);
    struct tls_io *io = stream_loop(tls->stream)->tls;
    size_t left = (size_t)len;

    BIO_clear_retry_flags(bio);
    while (left > 0) {
        size_t taken = sizeof(io->out) - io->out_bytes < left ? sizeof(io->out) - io->out_bytes : left;
        memcpy(io->out + io->out_bytes, from, taken);
        io->out_bytes += taken;
        from += taken;
        left -= taken;
        if (left > 0) {
            out_flush(tls);
        }
    }
    return len;
}

static struct tls_io *tls_io_open(void)
{
    struct tls_io *io = calloc(1, sizeof(*io));

    if (io == NULL) {
        return NULL;
    }
    io->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 0x7f, "weir stream");
    if (io->method == NULL || BIO_meth_set_create(io->method, on_bio_create) != 1 ||
        BIO_meth_set_ctrl(io->method, on_bio_ctrl) != 1 || BIO_meth_set_read(io->method, on_bio_read) != 1 ||
        BIO_meth_set_write(io->method, on_bio_write) != 1) {
        tls_io_close(io);
        return NULL;
    }
    return io;
}

void tls_io_close(struct tls_io *io)
{
    if (io != NULL) {
        BIO_meth_free(io->method);
        OPENSSL_cleanse(io->plain, sizeof(io->plain));
        OPENSSL_cleanse(io->parts, sizeof(io->parts));
        free(io);
    }
}

/* ------------------------------------------------------------------ making and freeing */

static bool ssl_make(struct tls_stream *tls, SSL_CTX *context)
{
    struct tls_io *io = stream_loop(tls->stream)->tls;
    BIO *bio;

    tls->ssl = SSL_new(context);
    bio = tls->ssl == NULL ? NULL : BIO_new(io->method);
    if (bio == NULL) {
        return false;
    }
    BIO_set_data(bio, tls);
    SSL_set_bio(tls->ssl, bio, bio); /* takes it over */
    return true;
}

static struct tls_stream *tls_stream_make(struct stream *stream, SSL_CTX *context)
{
    struct loop *loop = stream_loop(stream);
    struct tls_stream *tls;

    if (loop->tls == NULL && (loop->tls = tls_io_open()) == NULL) {
        return NULL;
    }
    tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return NULL;
    }
    tls->stream = stream;
    buf_init(&tls->pending, &loop->blocks, SIZE_MAX);
    if (!ssl_make(tls, context)) {
        ERR_clear_error();
        SSL_free(tls->ssl);
        free(tls);
        return NULL;
    }
    return tls;
}

struct tls_stream *tls_stream_connect(struct stream *stream, struct tls_client *client)
{
    struct tls_stream *tls = tls_stream_make(stream, client->context);
    SSL_SESSION *session;

    if (tls == NULL) {
        return NULL;
    }
    tls->client = tls_client_hold(client);
    SSL_set_connect_state(tls->ssl);
    if (client->name != NULL && SSL_set_tlsext_host_name(tls->ssl, client->name) != 1) {
        ERR_clear_error();
        tls_stream_free(tls);
        return NULL;
    }
    session = tls_client_session(client);
    if (session != NULL) {
        (void)SSL_set_session(tls->ssl, session); /* without it the handshake is a full one */
        SSL_SESSION_free(session);
    }
    return tls;
}

void stream_tls_accept(struct stream *stream, struct tls_server *tls, struct bytes early)
{
    CHECK(stream->tls == NULL && stream->ops != NULL);
    stream->tls = tls_stream_make(stream, tls->identities[0].context);
    if (stream->tls == NULL || (early.len > 0 && buf_append(&stream->tls->pending, early, BLOCKS_MUST) != ERR_OK)) {
        stream->broken = ERR_NO_MEMORY;
        stream_due(stream, STREAM_DUE_REFUSED);
        return;
    }
    stream->tls->server = tls_server_hold(tls);
    tls_enter(stream->tls, TLS_HANDSHAKE);
    SSL_set_accept_state(stream->tls->ssl);
    if (early.len > 0) {
        stream_set(stream, STREAM_HELD);
        stream_due(stream, STREAM_DUE_TLS);
    }
}

void tls_stream_free(struct tls_stream *tls)
{
    if (tls == NULL) {
        return;
    }
    if (tls->state == TLS_OPEN) {
        /* Otherwise OpenSSL takes a close without ceremony for a reason never to resume the session. */
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(tls->ssl);
    buf_reset(&tls->pending);
    tls_server_release(tls->server);
    tls_client_release(tls->client);
    free(tls->server_name);
    free(tls->peer_subject);
    free(tls->why);
    free(tls);
}

/* ------------------------------------------------------------------ words for what went wrong */

const char *tls_stream_why(const struct tls_stream *tls)
{
    return tls->why == NULL ? "" : tls->why;
}

static void why_set(struct tls_stream *tls, const char *what, const char *detail)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "%s%s%s", what, detail[0] == '\0' ? "" : ": ", detail);
    free(tls->why);
    tls->why = strdup(text); /* without memory there are no words */
}

/* The peer's alerts that speak of a client certificate. */
static bool alert_is_about_certificate(int reason)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return true;
    default:
        return false;
    }
}

static enum err err_of_reason(const struct tls_stream *tls, int reason)
{
    if (tls->not_tls || reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST) {
        return ERR_TLS_NOT_TLS;
    }
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        return tls->client != NULL ? ERR_TLS_CERTIFICATE : ERR_TLS_CLIENT_CERT;
    }
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
        (tls->client != NULL && alert_is_about_certificate(reason))) {
        return ERR_TLS_CLIENT_CERT;
    }
    return ERR_TLS;
}

/* What OpenSSL's queue of errors says; drains it. */
static enum err err_take(struct tls_stream *tls)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    const char *words = code == 0 ? NULL : ERR_reason_error_string(code);
    const char *detail = "";

    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        detail = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
    }
    why_set(tls, words == NULL ? "TLS failed" : words, detail);
    ERR_clear_error();
    return err_of_reason(tls, reason);
}

/*
 * The connection is of no use any more. The alert, if any, is out or queued
 * before the owner hears of it.
 */
static void fail(struct stream *stream, enum err err, const char *why)
{
    struct tls_stream *tls = stream->tls;
    bool was_open = tls->state == TLS_OPEN;

    out_flush(tls);
    if (why != NULL) {
        why_set(tls, why, "");
    }
    tls_enter(tls, TLS_FAILED);
    buf_reset(&tls->pending);
    if (stream->broken == ERR_OK) {
        stream->broken = (uint8_t)err;
    }
    if (was_open) {
        stream_ended(stream, err);
    } else {
        stream_read_finish(stream);
        stream_opened(stream, err);
    }
}

/* ------------------------------------------------------------------ handshake */

void tls_stream_note_name(SSL *ssl, bool matched)
{
    struct tls_stream *tls = BIO_get_data(SSL_get_rbio(ssl));

    tls->name_matched = matched;
}

struct tls_client *tls_stream_client(SSL *ssl)
{
    BIO *bio = SSL_get_rbio(ssl);
    struct tls_stream *tls = bio == NULL ? NULL : BIO_get_data(bio);

    return tls == NULL ? NULL : tls->client;
}

static void on_message(int writing, int version, int type, const void *at, size_t len, SSL *ssl, void *arg)
{
    struct tls_stream *tls = arg;

    (void)version;
    (void)at;
    (void)len;
    (void)ssl;
    if (!writing && type == SSL3_RT_HANDSHAKE && tls->idle_messages_count <= IDLE_MESSAGES_MAX) {
        tls->idle_messages_count++;
    }
}

static char *subject_text(X509 *certificate)
{
    BIO *text = BIO_new(BIO_s_mem());
    char *at, *copy = NULL;
    long len;

    if (text != NULL && X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_get_mem_data(text, &at);
        copy = len < 0 ? NULL : strndup(at, (size_t)len);
    }
    (void)BIO_free(text);
    return copy;
}

/* False: no memory. */
static bool facts_keep(struct tls_stream *tls)
{
    const char *name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    X509 *certificate = tls->server == NULL ? NULL : SSL_get0_peer_certificate(tls->ssl);

    if (name != NULL) {
        tls->server_name = strdup(name);
        if (tls->server_name == NULL) {
            return false;
        }
        for (char *at = tls->server_name; *at != '\0'; at++) {
            *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
        }
    }
    if (certificate != NULL) {
        tls->peer_subject = subject_text(certificate);
        return tls->peer_subject != NULL;
    }
    return true;
}

/* Takes one reference of `key` and leaves those of others with an empty key. */
static void key_forget(EVP_PKEY *key)
{
    if (EVP_PKEY_set_type(key, EVP_PKEY_get_base_id(key)) != 1) {
        ERR_clear_error(); /* the key is gone all the same */
    }
    EVP_PKEY_free(key);
}

/*
 * OpenSSL keeps both ephemeral keys and the client's list of ciphers as long
 * as the connection, though no connection of ours looks at them again: without
 * renegotiation the handshake was the only one. Letting go of them saves 0.7 of
 * 14 KiB of an idle client, and the forward secrecy no longer waits for the
 * connection's end.
 */
static void handshake_forget(SSL *ssl)
{
    STACK_OF(SSL_CIPHER) *offered = SSL_get_client_ciphers(ssl);
    EVP_PKEY *key;

    if (SSL_get_tmp_key(ssl, &key) == 1) {
        key_forget(key);
    }
    if (SSL_get_peer_tmp_key(ssl, &key) == 1) {
        key_forget(key);
    }
    if (offered != NULL) {
        sk_SSL_CIPHER_zero(offered);
        (void)sk_SSL_CIPHER_reserve(offered, 0); /* gives back what the zero left allocated */
    }
}

static void handshake_done(struct stream *stream)
{
    struct tls_stream *tls = stream->tls;

    if (!facts_keep(tls)) {
        fail(stream, ERR_NO_MEMORY, "out of memory");
        return;
    }
    tls_enter(tls, TLS_OPEN);
    handshake_forget(tls->ssl);
    SSL_set_msg_callback(tls->ssl, on_message);
    SSL_set_msg_callback_arg(tls->ssl, tls);
    stream_opened(stream, ERR_OK);
}

static void handshake_step(struct stream *stream)
{
    struct tls_stream *tls = stream->tls;
    int result = SSL_do_handshake(tls->ssl);
    int status = result == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);

    if (status == SSL_ERROR_WANT_READ) {
        out_flush(tls);
    } else if (status != SSL_ERROR_NONE) {
        fail(stream, err_take(tls), NULL);
        return;
    } else {
        out_flush(tls);
        if (stream->broken == ERR_OK) {
            handshake_done(stream);
            return;
        }
    }
    if (stream->broken != ERR_OK) {
        fail(stream, (enum err)stream->broken, NULL); /* stream_why has the socket's words */
    }
}

/* ------------------------------------------------------------------ reading */

/* Decrypts into the plain buffer. *status is why it stopped: NONE (full), WANT_READ, or an end. */
static size_t decrypt(struct tls_stream *tls, struct tls_io *io, int *status)
{
    size_t filled = 0;

    while (filled < sizeof(io->plain)) {
        size_t got;
        int result = SSL_read_ex(tls->ssl, io->plain + filled, sizeof(io->plain) - filled, &got);
        if (result != 1) {
            *status = SSL_get_error(tls->ssl, result);
            return filled;
        }
        filled += got;
        tls->idle_messages_count = 0;
        if (io->in.len == 0 && tls->pending.len == 0 && SSL_has_pending(tls->ssl) == 0) {
            *status = SSL_ERROR_WANT_READ; /* as one more call would say */
            return filled;
        }
    }
    *status = SSL_ERROR_NONE;
    return filled;
}

/* True: there may be more to read. */
static bool read_step(struct stream *stream)
{
    struct tls_stream *tls = stream->tls;
    struct tls_io *io = stream_loop(stream)->tls;
    enum err err = ERR_OK;
    int status;
    size_t len = decrypt(tls, io, &status);

    /* The owner's turn may use OpenSSL's queue of errors and our buffers for other streams. */
    out_flush(tls);
    if (tls->idle_messages_count > IDLE_MESSAGES_MAX) {
        err = ERR_TLS;
        why_set(tls, "too many handshake messages without data", "");
        ERR_clear_error();
    } else if (status != SSL_ERROR_NONE && status != SSL_ERROR_WANT_READ && status != SSL_ERROR_ZERO_RETURN) {
        err = err_take(tls);
    }
    if (len > 0) {
        stream->ops->on_read(stream->tcp.data, bytes_of(io->plain, len));
    }
    if (err != ERR_OK) {
        fail(stream, err, NULL);
    } else if (status == SSL_ERROR_ZERO_RETURN) {
        stream_ended(stream, ERR_EOF);
    }
    return status == SSL_ERROR_NONE;
}

/* Goes on until the input is used up, or the owner pauses or closes. */
static void work(struct stream *stream)
{
    struct tls_stream *tls = stream->tls;

    if (ERR_peek_error() != 0) {
        ERR_clear_error(); /* somebody's leftovers, which SSL_get_error would take for ours */
    }
    if (tls->state == TLS_HANDSHAKE) {
        handshake_step(stream);
    }
    while (tls->state == TLS_OPEN && !stream_is(stream, STREAM_PAUSED | STREAM_ENDED | STREAM_CLOSING)) {
        if (!read_step(stream)) {
            break;
        }
    }
}

static void note_first_byte(struct tls_stream *tls, struct bytes data)
{
    if (!tls->begun && data.len > 0) {
        unsigned char first = (unsigned char)data.at[0];
        tls->begun = true;
        /* Record types are 20 to 23; a high bit may be the hello of SSL 2, which is too old, but TLS's kin. */
        tls->not_tls = !(first >= 20 && first <= 23) && (first & 0x80) == 0;
    }
}

void tls_stream_feed(struct stream *stream, struct bytes data)
{
    struct tls_stream *tls = stream->tls;
    struct tls_io *io = stream_loop(stream)->tls;
    struct bytes left;

    note_first_byte(tls, data);
    io->reader = tls;
    io->in = data;
    work(stream);
    left = io->in;
    io->reader = NULL;
    io->in = BYTES_NONE;
    if (left.len == 0 || tls->state == TLS_FAILED || stream_is(stream, STREAM_ENDED | STREAM_CLOSING)) {
        return;
    }
    if (buf_append(&tls->pending, left, BLOCKS_MUST) != ERR_OK) {
        fail(stream, ERR_NO_MEMORY, "out of memory");
    }
}

void tls_stream_start(struct stream *stream)
{
    tls_enter(stream->tls, TLS_HANDSHAKE);
    work(stream);
}

bool tls_stream_has_input(const struct stream *stream)
{
    const struct tls_stream *tls = stream->tls;

    return tls->state != TLS_FAILED && (tls->pending.len > 0 || SSL_has_pending(tls->ssl) != 0);
}

void tls_stream_continue(struct stream *stream)
{
    if (stream_is(stream, STREAM_CLOSING)) {
        return;
    }
    stream_clear(stream, STREAM_HELD);
    note_first_byte(stream->tls, buf_front(&stream->tls->pending));
    work(stream);
    stream_read_start(stream);
}

void tls_stream_eof(struct stream *stream, enum err err)
{
    switch ((enum tls_state)stream->tls->state) {
    case TLS_WAITING:
    case TLS_HANDSHAKE:
        fail(stream, err, err == ERR_EOF ? "the peer ended the connection during the TLS handshake" : NULL);
        break;
    case TLS_OPEN:
        /* Without close_notify too: what a message's length promised is checked where lengths are known. */
        stream_ended(stream, err);
        break;
    case TLS_FAILED:
        break;
    }
}

/* ------------------------------------------------------------------ writing */

/* False: OpenSSL failed, which is the end of the connection. */
static bool encrypt(struct tls_stream *tls, const char *at, size_t len)
{
    size_t done;

    if (SSL_write_ex(tls->ssl, at, len, &done) == 1) {
        return true;
    }
    tls->write_err = (uint8_t)err_take(tls);
    tls->stream->broken = tls->write_err;
    stream_due(tls->stream, STREAM_DUE_BROKEN);
    return false;
}

/* Small parts share records; a run that fills one by itself is encrypted where it lies. */
static bool encrypt_parts(struct tls_stream *tls, const struct bytes *parts, int count)
{
    struct tls_io *io = stream_loop(tls->stream)->tls;
    size_t gathered = 0;

    for (int i = 0; i < count; i++) {
        struct bytes part = parts[i];
        while (part.len > 0) {
            size_t room = sizeof(io->parts) - gathered;
            if (gathered == 0 && (part.len >= room || i == count - 1)) {
                size_t whole = i == count - 1 ? part.len : part.len - part.len % RECORD_BYTES;
                if (!encrypt(tls, part.at, whole)) {
                    return false;
                }
                part = bytes_skip(part, whole);
                continue;
            }
            room = part.len < room ? part.len : room;
            memcpy(io->parts + gathered, part.at, room);
            gathered += room;
            part = bytes_skip(part, room);
            if (gathered == sizeof(io->parts)) {
                gathered = 0;
                if (!encrypt(tls, io->parts, sizeof(io->parts))) {
                    return false;
                }
            }
        }
    }
    return gathered == 0 || encrypt(tls, io->parts, gathered);
}

struct stream_wrote tls_stream_write(struct stream *stream, const struct bytes *parts, int count)
{
    struct tls_stream *tls = stream->tls;

    if (tls->state != TLS_OPEN) {
        return (struct stream_wrote){.err = ERR_CANCELED, .sent = false};
    }
    tls->write_err = ERR_OK;
    tls->write_sent = false;
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
    (void)encrypt_parts(tls, parts, count); /* a failure is in write_err */
    out_flush(tls);
    return (struct stream_wrote){.err = (enum err)tls->write_err, .sent = tls->write_sent};
}

void tls_stream_notify(struct stream *stream)
{
    struct tls_stream *tls = stream->tls;

    if (tls->state != TLS_OPEN || tls->notified) {
        return;
    }
    tls->notified = true;
    (void)SSL_shutdown(tls->ssl); /* 0: sent, and the peer's is not here; nothing can fail that matters now */
    ERR_clear_error();
    out_flush(tls);
}

/* ------------------------------------------------------------------ what is known of it */

bool stream_tls_info(const struct stream *stream, struct stream_tls *info)
{
    const struct tls_stream *tls = stream->tls;

    if (tls == NULL || tls->state != TLS_OPEN) {
        return false;
    }
    info->version = SSL_get_version(tls->ssl);
    info->cipher = SSL_get_cipher_name(tls->ssl);
    info->server_name = tls->server_name;
    info->server_name_matched = tls->name_matched;
    info->resumed = SSL_session_reused(tls->ssl) == 1;
    info->peer_subject = tls->peer_subject;
    return true;
}
