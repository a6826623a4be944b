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
#include <stdlib.h>

#include "tls_stream_internal.h"

/* The only place that sets the state: it never goes back, and a failure is the end. */
void tls_enter(struct tls_stream *tls, enum tls_state state)
{
    CHECK(state > tls->state || (state == TLS_FAILED && tls->state == TLS_FAILED));
    tls->state = (uint8_t)state;
}

/*
 * The connection is of no use any more. The alert, if any, is out or queued
 * before the owner hears of it.
 */
void tls_fail(struct stream *stream, enum err err, const char *why)
{
    struct tls_stream *tls = stream->tls;
    bool was_open = tls->state == TLS_OPEN;

    tls_out_flush(tls);
    if (why != NULL) {
        tls_why_set(tls, why, "");
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

/* ---- making and freeing ---- */

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

/* ---- reading ---- */

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
    tls_out_flush(tls);
    if (tls->idle_messages_count > IDLE_MESSAGES_MAX) {
        err = ERR_TLS;
        tls_why_set(tls, "too many handshake messages without data", "");
        ERR_clear_error();
    } else if (status != SSL_ERROR_NONE && status != SSL_ERROR_WANT_READ && status != SSL_ERROR_ZERO_RETURN) {
        err = tls_err_take(tls);
    }
    if (len > 0) {
        stream->ops->on_read(stream->tcp.data, bytes_of(io->plain, len));
    }
    if (err != ERR_OK) {
        tls_fail(stream, err, NULL);
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
        tls_handshake_step(stream);
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
        tls_fail(stream, ERR_NO_MEMORY, "out of memory");
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
        tls_fail(stream, err, err == ERR_EOF ? "the peer ended the connection during the TLS handshake" : NULL);
        break;
    case TLS_OPEN:
        /* Without close_notify too: what a message's length promised is checked where lengths are known. */
        stream_ended(stream, err);
        break;
    case TLS_FAILED:
        break;
    }
}

/* ---- writing ---- */

/* False: OpenSSL failed, which is the end of the connection. */
static bool encrypt(struct tls_stream *tls, const char *at, size_t len)
{
    size_t done;

    if (SSL_write_ex(tls->ssl, at, len, &done) == 1) {
        return true;
    }
    tls->write_err = (uint8_t)tls_err_take(tls);
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
    tls_out_flush(tls);
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
    tls_out_flush(tls);
}
