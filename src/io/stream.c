/*
 * The socket half of a stream: connect, read, write, the queue for what the
 * kernel does not take, half-close, close. It decides nothing and knows no
 * protocol; TLS bytes pass through tls_stream.c on their way in and out.
 *
 * Pausing is lazy: libuv goes on polling until bytes arrive, and only then is
 * told to stop. A request that pauses and resumes its client costs no system
 * call unless the client talks meanwhile.
 *
 * The queue leaves by plain writes as long as the kernel takes them. When it
 * does not, one uv_write of the queue's first run waits for room; so progress
 * is seen block by block, and the queue may grow behind it.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_internal.h"

#include "weir/base/clock.h"

#define DRAIN_VECTORS_MAX 64
#define FLAT_BYTES_MAX    4096 /* of parts that are made one before they are written */

static void on_deferred(struct deferred *deferred);
static void out_start(struct stream *stream);

void streams_open(struct loop *loop)
{
    pool_init(&loop->streams, "stream", sizeof(struct stream), 0);
    pool_init(&loop->stream_outs, "stream_out", sizeof(struct stream_out), 0);
}

void streams_close(struct loop *loop)
{
    pool_close(&loop->streams);
    pool_close(&loop->stream_outs);
}

/* A stream without a socket yet. */
static struct stream *stream_make(struct loop *loop)
{
    struct stream *stream = pool_get(&loop->streams);

    if (stream == NULL) {
        return NULL;
    }
    if (uv_tcp_init(&loop->uv, &stream->tcp) != 0) {
        pool_put(&loop->streams, stream);
        return NULL;
    }
    deferred_init(&stream->deferred, on_deferred);
    stream->peer.u.any.sa_family = AF_UNSPEC;
    return stream;
}

static struct stream_out *out_take(struct stream *stream)
{
    struct loop *loop = stream_loop(stream);

    stream->out = pool_get(&loop->stream_outs);
    if (stream->out != NULL) {
        buf_init(&stream->out->queue, &loop->blocks, SIZE_MAX);
        stream->out->progress_us = clock_now_us();
    }
    return stream->out;
}

static void out_give(struct stream *stream)
{
    buf_reset(&stream->out->queue);
    pool_put(&stream_loop(stream)->stream_outs, stream->out);
    stream->out = NULL;
}

/* ------------------------------------------------------------------ the owner's callbacks */

void stream_opened(struct stream *stream, enum err err)
{
    if (!stream_is(stream, STREAM_CLOSING)) {
        stream->ops->on_open(stream->tcp.data, err);
    }
}

void stream_read_finish(struct stream *stream)
{
    stream_set(stream, STREAM_ENDED);
    if (stream_is(stream, STREAM_READING)) {
        stream_clear(stream, STREAM_READING);
        (void)uv_read_stop((uv_stream_t *)&stream->tcp); /* never fails */
    }
}

void stream_ended(struct stream *stream, enum err err)
{
    if (stream_is(stream, STREAM_ENDED | STREAM_CLOSING)) {
        return;
    }
    stream_read_finish(stream);
    stream->ops->on_end(stream->tcp.data, err);
}

static void stream_drained(struct stream *stream)
{
    stream_clear(stream, STREAM_WAS_HIGH | STREAM_DUE_DRAIN);
    if (!stream_is(stream, STREAM_CLOSING)) {
        stream->ops->on_drain(stream->tcp.data);
    }
}

static void socket_ended(struct stream *stream, enum err err)
{
    if (stream->tls != NULL) {
        tls_stream_eof(stream, err); /* which may have to end a handshake first */
    } else {
        stream_ended(stream, err);
    }
}

void stream_due(struct stream *stream, unsigned flag)
{
    stream_set(stream, flag);
    loop_defer(stream_loop(stream), &stream->deferred);
}

static void on_deferred(struct deferred *deferred)
{
    struct stream *stream = container_of(deferred, struct stream, deferred);

    if (stream_is(stream, STREAM_DUE_REFUSED)) {
        stream_clear(stream, STREAM_DUE_REFUSED);
        stream_read_finish(stream);
        stream_opened(stream, (enum err)stream->broken);
    }
    if (stream_is(stream, STREAM_DUE_TLS)) {
        stream_clear(stream, STREAM_DUE_TLS);
        tls_stream_continue(stream);
    }
    if (stream_is(stream, STREAM_DUE_DRAIN)) {
        stream_drained(stream);
    }
    if (stream_is(stream, STREAM_DUE_BROKEN)) {
        stream_clear(stream, STREAM_DUE_BROKEN);
        socket_ended(stream, (enum err)stream->broken);
    }
}

/* ------------------------------------------------------------------ reading */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct stream *stream = container_of((uv_tcp_t *)handle, struct stream, tcp);
    struct loop *loop = stream_loop(stream);

    (void)suggested;
    if (stream_is(stream, STREAM_PAUSED | STREAM_HELD)) {
        *buf = uv_buf_init(NULL, 0); /* comes back as UV_ENOBUFS, with nothing read */
        return;
    }
    *buf = uv_buf_init(loop->read, sizeof(loop->read));
}

/* libuv takes a hang-up behind bytes that it has read for an orderly end; the socket knows better, until it is asked. */
static bool was_reset(const struct stream *stream)
{
    int error = 0;
    socklen_t len = sizeof error;
    uv_os_fd_t fd;

    return uv_fileno((const uv_handle_t *)&stream->tcp, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0;
}

static void on_socket_end(struct stream *stream, int status)
{
    /* A failed write may have taken the socket's error away, so that reading sees an orderly end. */
    enum err err = stream->broken != ERR_OK ? (enum err)stream->broken : err_from_uv(status);

    if (status != UV_EOF) {
        stream->uv_error = (int16_t)status;
        stream->broken = (uint8_t)err;
    }
    socket_ended(stream, err);
}

static void on_readable(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf)
{
    struct stream *stream = container_of((uv_tcp_t *)handle, struct stream, tcp);

    if (nread == 0) {
        return; /* EAGAIN */
    }
    loop_event(handle->loop->data);
    if (nread > 0) {
        struct bytes data = bytes_of(buf->base, (size_t)nread);
        if (stream->tls != NULL) {
            tls_stream_feed(stream, data);
        } else {
            stream->ops->on_read(stream->tcp.data, data);
        }
        return;
    }
    stream_clear(stream, STREAM_READING);
    (void)uv_read_stop(handle); /* never fails */
    if (nread == UV_ENOBUFS && stream_is(stream, STREAM_PAUSED | STREAM_HELD)) {
        return;
    }
    on_socket_end(stream, nread == UV_EOF && was_reset(stream) ? UV_ECONNRESET : (int)nread);
}

void stream_read_start(struct stream *stream)
{
    int status;

    if (stream_is(stream,
                  STREAM_READING | STREAM_PAUSED | STREAM_HELD | STREAM_ENDED | STREAM_CLOSING | STREAM_CONNECTING)) {
        return;
    }
    stream_set(stream, STREAM_READING);
    status = uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_readable);
    if (status != 0) {
        stream_clear(stream, STREAM_READING);
        stream->uv_error = (int16_t)status;
        stream->broken = (uint8_t)err_from_uv(status);
        stream_due(stream, STREAM_DUE_BROKEN);
    }
}

void stream_pause(struct stream *stream)
{
    stream_set(stream, STREAM_PAUSED);
}

void stream_resume(struct stream *stream)
{
    if (!stream_is(stream, STREAM_PAUSED) || stream_is(stream, STREAM_CLOSING)) {
        return;
    }
    stream_clear(stream, STREAM_PAUSED);
    if (stream->tls != NULL && tls_stream_has_input(stream)) {
        stream_set(stream, STREAM_HELD);
        stream_due(stream, STREAM_DUE_TLS);
        return;
    }
    stream_read_start(stream);
}

/* ------------------------------------------------------------------ writing */

static struct stream_wrote wrote(enum err err, bool sent)
{
    return (struct stream_wrote){.err = err, .sent = sent};
}

static enum err stream_break(struct stream *stream, int status)
{
    stream->uv_error = (int16_t)status;
    if (stream->broken == ERR_OK) {
        stream->broken = (uint8_t)err_from_uv(status);
    }
    return (enum err)stream->broken;
}

/* The queue is empty and the owner wants no more: FIN. */
static void shut_now(struct stream *stream)
{
    uv_os_fd_t fd;

    stream_set(stream, STREAM_SHUT_DONE);
    if (uv_fileno((uv_handle_t *)&stream->tcp, &fd) == 0 && shutdown(fd, SHUT_WR) != 0) {
        (void)stream_break(stream, UV_ENOTCONN); /* the peer is gone; reading will say how */
    }
}

/*
 * Gives parts to the kernel: how many bytes it took, or a status of libuv. With nothing queued libuv has no part in a
 * write, and a socket's own call costs less than the write of any file that libuv makes.
 */
static ssize_t socket_send(struct stream *stream, const uv_buf_t *parts, unsigned count)
{
    struct msghdr message;
    uv_os_fd_t fd;
    ssize_t taken;

    if (uv_fileno((uv_handle_t *)&stream->tcp, &fd) != 0) {
        return UV_EBADF;
    }
    do {
        if (count == 1) {
            taken = send(fd, parts[0].base, parts[0].len, MSG_NOSIGNAL);
        } else {
            /* libuv promises that a uv_buf_t is laid out as a struct iovec is. */
            message = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
            taken = sendmsg(fd, &message, MSG_NOSIGNAL);
        }
    } while (taken < 0 && errno == EINTR);
    if (taken < 0) {
        return errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
    }
    return taken;
}

/* Gives the kernel what it takes of the queue. A status of libuv; UV_EAGAIN: something is left. */
static int queue_push(struct stream *stream)
{
    struct stream_out *out = stream->out;

    while (out->queue.len > 0) {
        WEIR_SCRATCH struct iovec vectors[DRAIN_VECTORS_MAX];
        WEIR_SCRATCH uv_buf_t bufs[DRAIN_VECTORS_MAX];
        int count = buf_vectors(&out->queue, vectors, DRAIN_VECTORS_MAX);
        size_t offered_bytes = 0;
        ssize_t taken;

        for (int i = 0; i < count; i++) {
            bufs[i] = uv_buf_init(vectors[i].iov_base, (unsigned)vectors[i].iov_len);
            offered_bytes += vectors[i].iov_len;
        }
        taken = socket_send(stream, bufs, (unsigned)count);
        if (taken < 0) {
            return (int)taken;
        }
        buf_consume(&out->queue, (size_t)taken);
        out->progress_us = clock_now_us();
        if ((size_t)taken < offered_bytes) {
            return UV_EAGAIN;
        }
    }
    return 0;
}

static void on_queue_empty(struct stream *stream)
{
    bool owed = stream_is(stream, STREAM_WAS_HIGH);

    out_give(stream);
    if (stream_is(stream, STREAM_SHUT_ASKED) && !stream_is(stream, STREAM_SHUT_DONE)) {
        shut_now(stream);
        owed = true;
    }
    if (owed) {
        stream_drained(stream);
    }
}

static void on_queue_failed(struct stream *stream, int status)
{
    (void)stream_break(stream, status);
    buf_reset(&stream->out->queue);
    /* What arrived before the connection broke is read first. */
    stream_due(stream, STREAM_DUE_BROKEN);
}

static void on_written(uv_write_t *req, int status)
{
    struct stream *stream = container_of((uv_tcp_t *)req->handle, struct stream, tcp);
    struct stream_out *out = stream->out;

    loop_event(req->handle->loop->data);
    if (stream_is(stream, STREAM_CLOSING)) {
        return; /* on_uv_closed gives it all back */
    }
    if (status == 0) {
        buf_consume(&out->queue, out->inflight_bytes);
        out->progress_us = clock_now_us();
        status = queue_push(stream);
    }
    out->inflight_bytes = 0;
    if (status == 0) {
        on_queue_empty(stream);
        return;
    }
    if (status != UV_EAGAIN) {
        on_queue_failed(stream, status);
        return;
    }
    out_start(stream);
    if (stream_is(stream, STREAM_WAS_HIGH) && stream->broken == ERR_OK && out->queue.len < STREAM_QUEUE_LOW_BYTES) {
        stream_drained(stream);
    }
}

/* Waits for the kernel to take the first run of the queue. */
static void out_start(struct stream *stream)
{
    struct stream_out *out = stream->out;
    struct bytes front = buf_front(&out->queue);
    uv_buf_t run = {.base = (char *)(uintptr_t)front.at, .len = front.len};
    int status = uv_write(&out->req.write, (uv_stream_t *)&stream->tcp, &run, 1, on_written);

    if (status != 0) {
        on_queue_failed(stream, status);
        return;
    }
    out->inflight_bytes = front.len;
}

/* Copies all of `parts` beyond the first `skip` bytes into the queue. */
static enum err queue_append(struct stream *stream, const uv_buf_t *parts, unsigned count, size_t skip)
{
    if (stream->out == NULL && out_take(stream) == NULL) {
        return ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < count; i++) {
        enum err err;
        if (skip >= parts[i].len) {
            skip -= parts[i].len;
            continue;
        }
        err = buf_append(&stream->out->queue, bytes_of(parts[i].base + skip, parts[i].len - skip), BLOCKS_MUST);
        if (err != ERR_OK) {
            return ERR_NO_MEMORY;
        }
        skip = 0;
    }
    if (stream->out->queue.len > STREAM_QUEUE_HIGH_BYTES) {
        stream_set(stream, STREAM_WAS_HIGH);
    }
    return ERR_OK;
}

/* Queues the rest of a write of which the kernel took `taken` bytes. */
static struct stream_wrote queue_rest(struct stream *stream, const uv_buf_t *parts, unsigned count, size_t taken)
{
    size_t before_bytes = stream_queued_bytes(stream);

    if (queue_append(stream, parts, count, taken) != ERR_OK) {
        /* A gap in the bytes must not be followed by more of them. */
        stream->broken = ERR_NO_MEMORY;
        return wrote(ERR_NO_MEMORY, taken > 0 || stream_queued_bytes(stream) > before_bytes);
    }
    if (stream->out->inflight_bytes == 0) {
        out_start(stream);
    }
    return wrote(ERR_OK, true);
}

struct stream_wrote stream_send(struct stream *stream, const uv_buf_t *parts, unsigned count)
{
    size_t len = 0;
    ssize_t taken;

    for (unsigned i = 0; i < count; i++) {
        len += parts[i].len;
    }
    if (len == 0) {
        return wrote(ERR_OK, false);
    }
    if (stream->out != NULL) {
        return queue_rest(stream, parts, count, 0);
    }
    taken = socket_send(stream, parts, count);
    if (taken < 0 && taken != UV_EAGAIN) {
        return wrote(stream_break(stream, (int)taken), false);
    }
    if (taken < 0) {
        taken = 0;
    }
    if ((size_t)taken == len) {
        return wrote(ERR_OK, true);
    }
    return queue_rest(stream, parts, count, (size_t)taken);
}

/* Several small parts as one: the kernel takes longer over a list of them than this copy does. */
static uv_buf_t flatten(char *flat, const struct bytes *parts, int count)
{
    char *at = flat;

    for (int i = 0; i < count; i++) {
        at = bytes_put(at, parts[i]);
    }
    return uv_buf_init(flat, (unsigned)(at - flat));
}

static struct stream_wrote write_plain(struct stream *stream, const struct bytes *parts, int count)
{
    WEIR_SCRATCH uv_buf_t bufs[STREAM_PARTS_MAX];
    WEIR_SCRATCH char flat[FLAT_BYTES_MAX];
    unsigned used = 0;
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            bufs[used++] = (uv_buf_t){.base = (char *)(uintptr_t)parts[i].at, .len = parts[i].len};
            len += parts[i].len;
        }
    }
    if (used > 1 && len <= FLAT_BYTES_MAX) {
        bufs[0] = flatten(flat, parts, count);
        used = 1;
    }
    return stream_send(stream, bufs, used);
}

struct stream_wrote stream_write(struct stream *stream, const struct bytes *parts, int count)
{

    CHECK(count >= 0 && count <= STREAM_PARTS_MAX);
    if (stream->broken != ERR_OK) {
        return wrote((enum err)stream->broken, false);
    }
    if (stream_is(stream, STREAM_CLOSING | STREAM_SHUT_ASKED | STREAM_CONNECTING)) {
        return wrote(ERR_CANCELED, false);
    }
    if (stream->tls != NULL) {
        return tls_stream_write(stream, parts, count);
    }
    return write_plain(stream, parts, count);
}

size_t stream_queued_bytes(const struct stream *stream)
{
    return stream->out == NULL ? 0 : stream->out->queue.len;
}

uint64_t stream_progress_us(const struct stream *stream)
{
    return stream->out == NULL ? clock_now_us() : stream->out->progress_us;
}

bool stream_is_silent(const struct stream *stream)
{
    uv_os_fd_t fd;
    char first;

    if (stream->broken != ERR_OK || stream_is(stream, STREAM_ENDED | STREAM_CLOSING | STREAM_CONNECTING) ||
        (stream->tls != NULL && tls_stream_has_input(stream)) ||
        uv_fileno((const uv_handle_t *)&stream->tcp, &fd) != 0) {
        return false;
    }
    /* An end is 0, a broken connection any other error. */
    return recv(fd, &first, sizeof(first), MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void stream_shut(struct stream *stream)
{
    if (stream_is(stream, STREAM_SHUT_ASKED | STREAM_CLOSING | STREAM_CONNECTING)) {
        return;
    }
    if (stream->tls != NULL && stream->broken == ERR_OK) {
        tls_stream_notify(stream);
    }
    stream_set(stream, STREAM_SHUT_ASKED);
    if (stream->broken != ERR_OK || stream->out != NULL) {
        return;
    }
    shut_now(stream);
    stream_due(stream, STREAM_DUE_DRAIN);
}

/* ------------------------------------------------------------------ connecting */

static void on_connected(uv_connect_t *req, int status)
{
    struct stream *stream = container_of((uv_tcp_t *)req->handle, struct stream, tcp);

    loop_event(req->handle->loop->data);
    if (stream_is(stream, STREAM_CLOSING)) {
        return; /* on_uv_closed gives it all back */
    }
    out_give(stream);
    stream_clear(stream, STREAM_CONNECTING);
    if (status != 0) {
        stream_set(stream, STREAM_ENDED);
        stream_opened(stream, stream_break(stream, status));
        return;
    }
    stream_read_start(stream);
    if (stream->tls != NULL) {
        tls_stream_start(stream);
    } else {
        stream_opened(stream, ERR_OK);
    }
}

/* A status of libuv. */
static int connect_start(struct stream *stream)
{
    int status = uv_tcp_connect(&stream->out->req.connect, &stream->tcp, &stream->peer.u.any, on_connected);

    if (status == 0) {
        status = uv_tcp_nodelay(&stream->tcp, 1);
    }
    return status;
}

struct stream *stream_connect(struct loop *loop, const struct addr *to, struct tls_client *tls,
                              const struct stream_ops *ops, void *owner, enum err *err)
{
    struct stream *stream = stream_make(loop);
    int status;

    *err = ERR_NO_MEMORY;
    if (stream == NULL) {
        return NULL;
    }
    stream->peer = *to;
    stream_set(stream, STREAM_CONNECTING);
    if (out_take(stream) == NULL || (tls != NULL && (stream->tls = tls_stream_connect(stream, tls)) == NULL)) {
        stream_close(stream, false);
        return NULL;
    }
    status = connect_start(stream);
    if (status != 0) {
        *err = err_from_uv(status);
        stream_close(stream, false); /* without ops, nobody hears of it */
        return NULL;
    }
    stream->ops = ops;
    stream->tcp.data = owner;
    *err = ERR_OK;
    return stream;
}

/* ------------------------------------------------------------------ accepted streams */

struct stream *stream_adopt(struct loop *loop, int fd, const struct addr *peer)
{
    struct stream *stream = stream_make(loop);

    if (stream == NULL || uv_tcp_open(&stream->tcp, fd) != 0) {
        (void)close(fd);
        if (stream != NULL) {
            stream_close(stream, false);
        }
        return NULL;
    }
    stream->peer = *peer;
    return stream;
}

void stream_attach(struct stream *stream, const struct stream_ops *ops, void *owner)
{
    stream->ops = ops;
    stream->tcp.data = owner;
    stream_read_start(stream);
}

/* ------------------------------------------------------------------ closing */

static void on_uv_closed(uv_handle_t *handle)
{
    struct stream *stream = container_of((uv_tcp_t *)handle, struct stream, tcp);
    struct loop *loop = stream_loop(stream);
    const struct stream_ops *ops = stream->ops;
    void *owner = stream->tcp.data;

    loop_event(loop);
    if (stream->out != NULL) {
        out_give(stream);
    }
    tls_stream_free(stream->tls);
    pool_put(&loop->streams, stream);
    if (ops != NULL && ops->on_closed != NULL) {
        ops->on_closed(owner);
    }
}

void stream_close(struct stream *stream, bool reset)
{
    if (stream_is(stream, STREAM_CLOSING)) {
        return;
    }
    if (stream->tls != NULL && !reset && stream->broken == ERR_OK && stream->out == NULL) {
        tls_stream_notify(stream); /* a courtesy: what does not fit is not waited for */
    }
    stream_set(stream, STREAM_CLOSING);
    loop_undefer(&stream->deferred);
    if (!reset || uv_tcp_close_reset(&stream->tcp, on_uv_closed) != 0) {
        uv_close((uv_handle_t *)&stream->tcp, on_uv_closed);
    }
}

/* ------------------------------------------------------------------ what is known of it */

const struct addr *stream_peer(const struct stream *stream)
{
    return &stream->peer;
}

const char *stream_why(const struct stream *stream)
{
    if (stream->tls != NULL && tls_stream_why(stream->tls)[0] != '\0') {
        return tls_stream_why(stream->tls);
    }
    return stream->uv_error == 0 ? "" : uv_strerror(stream->uv_error);
}
