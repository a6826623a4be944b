/*
 * An accepted connection, as its two files share it: client.c owns its life
 * (PROXY header, TLS, timeouts, close), client_http1.c what is spoken on it.
 */
#ifndef WEIR_GATE_CLIENT_INTERNAL_H
#define WEIR_GATE_CLIENT_INTERNAL_H

#include "exchange.h"

enum client_state {
    CLIENT_PROXY,     /* waits for the PROXY header */
    CLIENT_HANDSHAKE, /* TLS is being set up */
    CLIENT_IDLE,      /* between requests */
    CLIENT_READING,   /* a request is arriving: its exchange runs */
    CLIENT_BUSY,      /* the request is whole, the answer is not */
    CLIENT_LINGER,    /* our side is ended; reads until the peer ends its side */
    CLIENT_CLOSED,    /* the stream is closing [transient] */
    CLIENT_STATE_COUNT
};

/* What few clients need and no idle one: it hangs on a pointer. */
struct client_more {
    struct buf pending;       /* bytes that wait for the exchange before them */
    struct addr proxied;      /* of the PROXY header */
};

struct client {
    struct client_stream face;
    struct list in_clients;
    struct timer timer;       /* handshake, idle, write or linger timeout, by state */
    struct deferred later;    /* goes on with pipelined bytes */
    struct client_more *more; /* owned; NULL until it is needed */
    uint64_t since_us;        /* when the state was entered */
    uint32_t lingered_bytes;
    uint8_t state;            /* enum client_state; only client_enter() writes it */
    bool tls;
    bool close_after;         /* the answer being sent is the last */
    bool last_word;           /* the request had no body and asked for a close: nothing more comes from a client in order */
    bool peer_ended;          /* the peer ended its side in order */
    bool paused;
    bool deaf;                /* no room for pipelined bytes: what else comes is thrown away */
    bool crlf_dropped;        /* a lone CRLF behind the last request was passed over */
    bool chunked;             /* the answer being sent is framed in chunks */
};

static inline struct client *client_of(struct client_stream *face)
{
    return container_of(face, struct client, face);
}

static inline const struct conf_listener *client_conf(const struct client *client)
{
    return client->face.listener->conf;
}

static inline struct gate *client_gate(const struct client *client)
{
    return client->face.listener->gate;
}

/* Bytes that wait. */
static inline size_t client_pending_bytes(const struct client *client)
{
    return client->more != NULL ? client->more->pending.len : 0;
}

/* client.c */
/* Made on first use. NULL: no memory. */
WEIR_MUSTCHECK struct client_more *client_need_more(struct client *client);
/* What waits is thrown away. */
void client_drop_pending(struct client *client);
/* Moves on to another state; refuses a move that the drawing does not have. The only place that sets the state. */
void client_enter(struct client *client, enum client_state state);
/* Between requests from now on. */
void client_enter_idle(struct client *client);
/* Idempotent. An exchange that runs is not told. */
void client_close(struct client *client, bool reset);
/* The client is lost: its exchange, if there is one, decides for itself whether it lives on. */
void client_lose(struct client *client, bool reset, const char *why);
/* Ends our side and reads on for a moment (docs/decisions/0026). */
void client_linger(struct client *client);
/* Something may wait in the stream's queue now: the write timeout runs. */
void client_watch_writes(struct client *client);

/* client_http1.c */
extern const struct client_stream_ops client_http1_ops;
/* Bytes of requests, in order. */
void client_feed(struct client *client, struct bytes data);
/* Bytes that have to wait for the answer before them. */
void client_stash(struct client *client, struct bytes data);
/* Goes on with what waited: at the end of a turn. */
void client_on_later(struct deferred *deferred);

#endif
