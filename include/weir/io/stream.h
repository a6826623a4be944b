/*
 * One connected socket, plain or TLS, with the same face. The owner gives a
 * table of callbacks and itself; the stream tells what happened and decides
 * nothing. Close is a request: after stream_close no callback comes but
 * on_closed, and the memory goes at the end of a later turn.
 *
 * Reading uses one buffer for the whole loop: an idle stream holds none, and
 * what on_read gets is valid only during the call. Writing goes straight to
 * the kernel; only what it does not take is copied into the stream's queue.
 * TLS works on the loop's buffers too: a BIO of ours reads from the read buffer
 * and gathers records into one output buffer that leaves in one write.
 */
#ifndef WEIR_IO_STREAM_H
#define WEIR_IO_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/bytes.h"
#include "weir/base/err.h"

struct loop;
struct stream;
struct tls_server;
struct tls_client;

/* Above HIGH queued bytes the owner should stop producing; on_drain tells when the queue is below LOW again. */
#define STREAM_QUEUE_HIGH_BYTES (64 * 1024)
#define STREAM_QUEUE_LOW_BYTES  (16 * 1024)

struct stream_ops {
    /*
     * A connect or a TLS handshake came to its end. Once per stream_connect,
     * once per stream_tls_accept. On an error the stream is of no use but to be
     * closed; stream_why says more in words.
     */
    void (*on_open)(void *owner, enum err err);
    /* Plaintext; borrowed for the call. Never empty. Not called while paused. */
    void (*on_read)(void *owner, struct bytes data);
    /*
     * Nothing more will be read. ERR_EOF: the peer ended its side in order
     * (close_notify or FIN, also a FIN without close_notify; writing still
     * works). Anything else: the connection is broken. At most once; may come
     * while paused.
     */
    void (*on_end)(void *owner, enum err err);
    /* The queue fell below the low mark after it was above the high one, or became empty after stream_shut. */
    void (*on_drain)(void *owner);
    /* The last callback; `owner` may release itself (at the end of the turn). May be NULL. */
    void (*on_closed)(void *owner);
};

/*
 * Starts connecting; with `tls` (held meanwhile) also the handshake, before
 * on_open: the name that it sends and verifies is the tls_client's. Errors
 * found at once are returned through *err with NULL; later ones come by
 * on_open: never both. Nothing can be written before on_open.
 */
WEIR_MUSTCHECK struct stream *stream_connect(struct loop *loop, const struct addr *to, struct tls_client *tls,
                                             const struct stream_ops *ops, void *owner, enum err *err);

/* A listening socket. Accepted streams are plain and read nothing until stream_attach. */
struct acceptor;
/* `peer` may refuse by stream_close. */
typedef void (*acceptor_cb)(void *owner, struct stream *stream);
/*
 * Binds and listens; ADDR_LISTEN_FD takes the descriptor over (on failure it
 * stays the caller's). `why` (size bytes) says in words what failed. An IPv6
 * wildcard serves IPv4 too, with mapped peers. A unix socket's stale file is
 * replaced, and stays behind on close.
 */
WEIR_MUSTCHECK struct acceptor *acceptor_open(struct loop *loop, const struct addr_listen *at, int backlog,
                                              acceptor_cb accepted, void *owner, enum err *err, char *why, size_t size);
/* Stops and starts accepting; connections wait in the kernel meanwhile. Out of descriptors is handled inside: it
 * pauses for 100 ms rather than spin. */
void acceptor_pause(struct acceptor *acceptor);
void acceptor_resume(struct acceptor *acceptor);
/* The port it listens on (for port 0), or 0. */
uint16_t acceptor_port(const struct acceptor *acceptor);
/* The descriptor, for passing on. */
int acceptor_fd(const struct acceptor *acceptor);
/* Closes; accepted may not be called again. */
void acceptor_close(struct acceptor *acceptor);

/* Gives an accepted stream its owner and starts reading. */
void stream_attach(struct stream *stream, const struct stream_ops *ops, void *owner);
/*
 * Turns an accepted, attached stream into a TLS server. `early` are bytes that
 * were already read and belong to the handshake (after a PROXY header);
 * borrowed for the call. on_open tells the result.
 */
void stream_tls_accept(struct stream *stream, struct tls_server *tls, struct bytes early);

struct stream_wrote {
    enum err err; /* ERR_OK: all of it was taken. ERR_NO_MEMORY, or what broke the connection */
    bool sent;    /* at least one byte (ciphertext counts) was given to the kernel or queued by this call */
};
#define STREAM_PARTS_MAX 64
/*
 * Writes all parts, in order. What the kernel does not take at once is copied
 * and queued (whatever its size: the owner watches stream_queued_bytes). Not
 * sent and an error: no byte of these parts can reach the peer.
 */
WEIR_MUSTCHECK struct stream_wrote stream_write(struct stream *stream, const struct bytes *parts, int count);
/* Bytes that wait in the queue for the kernel. */
size_t stream_queued_bytes(const struct stream *stream);
/* When the kernel last took a byte of the queue, by clock_now_us; for write timeouts. Now, when nothing waits. */
uint64_t stream_progress_us(const struct stream *stream);
/*
 * True when nothing is there to be read: the kernel is asked (one recv, 0.3 us)
 * for what the loop has not seen yet, TLS for what it holds. Before a link is
 * given to a payment: an answer that lies there already is not that payment's.
 */
bool stream_is_silent(const struct stream *stream);
/* Ends our side once the queue is empty: close_notify and FIN. Reading goes on. on_drain follows when it is out. */
void stream_shut(struct stream *stream);
/* Nothing is read, and the peer is held back by TCP, until resumed. A reset is then seen only later. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* Idempotent. With `reset` the peer gets an RST: the way to cut an answer whose length is already told. */
void stream_close(struct stream *stream, bool reset);

/* The peer; family AF_UNSPEC for a unix socket. */
const struct addr *stream_peer(const struct stream *stream);
/* More words about the last error ("certificate verify failed: certificate has expired"); "" when there are none. */
const char *stream_why(const struct stream *stream);

/* What the handshake settled; all borrowed from the stream. */
struct stream_tls {
    const char *version; /* "TLSv1.3" */
    const char *cipher;
    const char *server_name;  /* the SNI that was asked for, lower case; NULL: none */
    bool server_name_matched; /* a certificate's names cover it */
    bool resumed;
    const char *peer_subject; /* RFC 4514; NULL: no client certificate */
};
/* False: not TLS, or not open yet. */
bool stream_tls_info(const struct stream *stream, struct stream_tls *info);

#endif
