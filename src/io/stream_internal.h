/*
 * The inside of a stream, shared by stream.c (the socket) and tls_stream.c
 * (the TLS half). The parts that only a busy stream needs hang on pointers: an
 * idle plain stream is this struct and nothing else.
 */
#ifndef WEIR_STREAM_INTERNAL_H
#define WEIR_STREAM_INTERNAL_H

#include "io_internal.h"

#include "weir/base/buf.h"
#include "weir/io/stream.h"

struct tls_stream;

enum stream_flags {
    STREAM_READING = 1 << 0, /* libuv reads */
    STREAM_PAUSED = 1 << 1,  /* by the owner */
    STREAM_HELD = 1 << 2,    /* resumed, but TLS still has older bytes to work on first */
    STREAM_CONNECTING = 1 << 3,
    STREAM_ENDED = 1 << 4,      /* nothing more will be read */
    STREAM_SHUT_ASKED = 1 << 5, /* no more writes are taken */
    STREAM_SHUT_DONE = 1 << 6,  /* FIN is out */
    STREAM_CLOSING = 1 << 7,
    STREAM_WAS_HIGH = 1 << 8, /* the queue was above the high mark; on_drain is owed */
    /* Due at the end of the turn: */
    STREAM_DUE_TLS = 1 << 9, /* TLS has input or a result to work on */
    STREAM_DUE_DRAIN = 1 << 10,
    STREAM_DUE_BROKEN = 1 << 11,
    STREAM_DUE_REFUSED = 1 << 12, /* TLS could not even be set up: on_open with `broken` */
};

/* What a stream needs while something waits for the kernel. */
struct stream_out {
    union {
        uv_write_t write;
        uv_connect_t connect;
    } req;
    struct buf queue;      /* unsent bytes, the ones in flight included */
    size_t inflight_bytes; /* of the queue's front, given to uv_write; 0: none is running */
    uint64_t progress_us;
};

struct stream {
    uv_tcp_t tcp; /* also for unix sockets: to libuv a descriptor is a descriptor; tcp.data is the owner (borrowed) */
    const struct stream_ops *ops; /* borrowed; NULL until attached */
    struct stream_out *out;       /* owned; NULL when nothing waits */
    struct tls_stream *tls;       /* owned; NULL: plain */
    struct deferred deferred;
    struct addr peer;
    int16_t uv_error; /* the last status of libuv, for stream_why */
    uint8_t broken;   /* enum err; what ended writing, ERR_OK while it works */
    uint16_t flags;   /* enum stream_flags */
};

static inline struct loop *stream_loop(const struct stream *stream)
{
    return stream->tcp.loop->data;
}

static inline bool stream_is(const struct stream *stream, unsigned flags)
{
    return (stream->flags & flags) != 0;
}

static inline void stream_set(struct stream *stream, unsigned flags)
{
    stream->flags = (uint16_t)(stream->flags | flags);
}

static inline void stream_clear(struct stream *stream, unsigned flags)
{
    stream->flags = (uint16_t)(stream->flags & ~flags);
}

/* A stream around an accepted descriptor, which it owns from now on (also on NULL: out of memory). */
WEIR_MUSTCHECK struct stream *stream_adopt(struct loop *loop, int fd, const struct addr *peer);

/* Hands bytes to the kernel, and to the queue what it does not take; ciphertext for TLS. */
struct stream_wrote stream_send(struct stream *stream, const uv_buf_t *parts, unsigned count);
/* Starts reading, unless paused, ended or closing. */
void stream_read_start(struct stream *stream);
/* Nothing more will be read; on_end is the caller's business. */
void stream_read_finish(struct stream *stream);
/* The owner's callbacks, guarded: none after stream_close, on_end once. */
void stream_opened(struct stream *stream, enum err err);
void stream_ended(struct stream *stream, enum err err);
/* Asks for on_deferred at the end of the turn, for one of the DUE flags. */
void stream_due(struct stream *stream, unsigned flag);

/* tls_stream.c, called by stream.c: */
WEIR_MUSTCHECK struct tls_stream *tls_stream_connect(struct stream *stream, struct tls_client *client);
/* Frees; the stream is being closed. */
void tls_stream_free(struct tls_stream *tls);
/* TCP is connected: sends the first flight. */
void tls_stream_start(struct stream *stream);
/* Ciphertext arrived. */
void tls_stream_feed(struct stream *stream, struct bytes data);
/* Goes on with what was left when the stream was paused. */
void tls_stream_continue(struct stream *stream);
bool tls_stream_has_input(const struct stream *stream);
/* The socket ended. */
void tls_stream_eof(struct stream *stream, enum err err);
struct stream_wrote tls_stream_write(struct stream *stream, const struct bytes *parts, int count);
/* Sends close_notify, once. */
void tls_stream_notify(struct stream *stream);
const char *tls_stream_why(const struct tls_stream *tls);

#endif
