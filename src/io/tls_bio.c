/*
 * The BIO between OpenSSL and the loop's buffers. It owns no bytes: reads come
 * from where the loop has just read to, and writes gather in one buffer of the
 * loop that leaves in one write. It knows nothing of handshakes.
 */
#include <stdlib.h>

#include "tls_stream_internal.h"

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
void tls_out_flush(struct tls_stream *tls)
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
            tls_out_flush(tls);
        }
    }
    return len;
}

struct tls_io *tls_io_open(void)
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
