/*
 * The life of an accepted connection: its PROXY header, its TLS handshake, its
 * timeouts and its close. What is spoken on it is client_http1.c's, and the
 * fate of a request is the exchange's.
 *
 *   PROXY --> HANDSHAKE --> IDLE <--> READING --> BUSY --> IDLE ...
 *     any --> LINGER (our side ended, the rest is thrown away) --> CLOSED
 */
#include "client_internal.h"
#include "limits.h"

#include "weir/base/clock.h"
#include "weir/http/proxy_header.h"

static const struct stream_ops stream_ops;

/* The only place that sets the state; refuses a move that is not in the drawing. */
void client_enter(struct client *client, enum client_state state)
{
#define TO(NAME) (1u << CLIENT_##NAME)
    static const uint8_t legal[CLIENT_STATE_COUNT] = {
        [CLIENT_PROXY] = TO(HANDSHAKE) | TO(IDLE) | TO(CLOSED),
        [CLIENT_HANDSHAKE] = TO(IDLE) | TO(CLOSED),
        [CLIENT_IDLE] = TO(READING) | TO(LINGER) | TO(CLOSED),
        [CLIENT_READING] = TO(BUSY) | TO(LINGER) | TO(CLOSED),
        [CLIENT_BUSY] = TO(IDLE) | TO(LINGER) | TO(CLOSED),
        [CLIENT_LINGER] = TO(CLOSED),
    };
#undef TO
    CHECK((legal[client->state] >> state & 1u) != 0);
    client->state = (uint8_t)state;
}

struct client_more *client_need_more(struct client *client)
{
    struct gate *gate = client_gate(client);
    if (client->more == NULL) {
        client->more = pool_get(&gate->client_more_pool);
        if (client->more != NULL) {
            buf_init(&client->more->pending, loop_blocks(gate->options.loop), CLIENT_PENDING_BYTES_MAX * 2);
        }
    }
    return client->more;
}

void client_drop_pending(struct client *client)
{
    if (client->more != NULL) {
        buf_reset(&client->more->pending);
    }
}

void client_enter_idle(struct client *client)
{
    client_enter(client, CLIENT_IDLE);
    client->since_us = loop_now_us(client_gate(client)->options.loop);
    timer_set(&client->timer, client->since_us + client_conf(client)->idle_ms * CLOCK_US_PER_MS);
}

/* ---- close ---- */

void client_close(struct client *client, bool reset)
{
    if (client->state == CLIENT_CLOSED) {
        return;
    }
    client_enter(client, CLIENT_CLOSED);
    timer_stop(&client->timer);
    client_drop_pending(client);
    listener_forget_address(client->face.listener, stream_peer(client->face.stream));
    stream_close(client->face.stream, reset);
}

/* Comes in the loop's closing phase, when nothing of this turn runs any more: the client may go at once. */
static void on_closed(void *owner)
{
    struct client *client = owner;
    struct gate *gate = client_gate(client);
    struct listener *listener = client->face.listener;
    loop_undefer(&client->later);
    list_remove(&client->in_clients);
    gate->clients_count--;
    gate->clients_tls_count -= client->tls ? 1 : 0;
    listener_client_gone(listener);
    if (client->more != NULL) {
        pool_put(&gate->client_more_pool, client->more);
    }
    pool_put(&gate->client_pool, client);
    gate_check_quiet(gate);
}

void client_lose(struct client *client, bool reset, const char *why)
{
    struct exchange *x = client->face.exchange;
    client->face.exchange = NULL;
    client_close(client, reset);
    if (x != NULL) {
        exchange_on_client_gone(x, why);
    }
}

/* Ends our side and reads on for a moment, so that the peer gets the answer before the reset that unread bytes cause
 * (RFC 9112 9.6). */
void client_linger(struct client *client)
{
    client_enter(client, CLIENT_LINGER);
    client_drop_pending(client);
    if (client->paused) {
        client->paused = false;
        stream_resume(client->face.stream);
    }
    stream_shut(client->face.stream);
    timer_set_after(&client->timer, CLIENT_LINGER_US);
    if (client->peer_ended && stream_queued_bytes(client->face.stream) == 0) {
        client_close(client, false);
    }
}

/* ---- the PROXY header and TLS ---- */

static void note_trust(struct client *client)
{
    const struct conf_listener *conf = client_conf(client);
    client->face.peer_trusted = false;
    for (int i = 0; i < conf->trusted_count; i++) {
        client->face.peer_trusted |= addr_net_contains(&conf->trusted[i], client->face.peer);
    }
}

static void begin_requests(struct client *client, struct bytes early)
{
    struct tls_server *tls = client->face.listener->tls;
    if (tls != NULL) {
        client_enter(client, CLIENT_HANDSHAKE);
        client->tls = true;
        client_gate(client)->clients_tls_count++;
        stream_tls_accept(client->face.stream, tls, early);
        return;
    }
    client_enter_idle(client);
    if (early.len > 0) {
        client_feed(client, early);
    }
}

static void read_proxy_header(struct client *client, struct bytes data)
{
    WEIR_SCRATCH char copy[PROXY_HEADER_BYTES_MAX];
    struct proxy_header header;
    struct bytes all = data;
    struct client_more *more = client_need_more(client);
    if (more == NULL) {
        client_close(client, true);
        return;
    }
    if (more->pending.len > 0) {
        struct bytes front = buf_front(&more->pending);
        struct bytes behind = bytes_take(data, sizeof copy - front.len);
        memcpy(copy, front.at, front.len);
        memcpy(copy + front.len, behind.at, behind.len);
        all = bytes_of(copy, front.len + behind.len);
    }
    switch (proxy_header_parse(all, &header)) {
    case PROXY_HEADER_MORE:
        if (all.len >= sizeof copy || buf_append(&more->pending, data, BLOCKS_MAY) != ERR_OK) {
            client_close(client, true);
        }
        return;
    case PROXY_HEADER_BAD:
        log_say(client_gate(client)->options.log, LOG_WARN, "proxy_header_bad", "closing a connection without a PROXY header");
        client_close(client, true);
        return;
    case PROXY_HEADER_DONE:
        break;
    }
    if (!header.local) {
        more->proxied = header.source;
        client->face.peer = &more->proxied;
        note_trust(client);
    }
    if (!limits_accept(client->face.listener, client->face.peer)) {
        client_close(client, true);
        return;
    }
    size_t before = more->pending.len;
    buf_reset(&more->pending);
    begin_requests(client, bytes_skip(data, header.len - before));
}

static void note_handshake(struct client *client)
{
    struct listener *listener = client->face.listener;
    struct stream_tls tls;
    if (stream_tls_info(client->face.stream, &tls)) {
        int version = strcmp(tls.version, "TLSv1.3") == 0 ? 1 : 0;
        stats_add(client_gate(client)->options.stats, listener->stat_handshakes[version][tls.resumed ? 1 : 0], 1);
    }
}

static void on_open(void *owner, enum err err)
{
    struct client *client = owner;
    struct gate *gate = client_gate(client);
    if (err != ERR_OK) {
        char peer[ADDR_TEXT_BYTES];
        stats_add(gate->options.stats, client->face.listener->stat_handshakes_failed, 1);
        log_event(gate->options.log, LOG_DEBUG, "handshake_failed", "closing a connection without TLS",
                  LOG_T("listener", client->face.listener->conf->name), LOG_T("why", stream_why(client->face.stream)),
                  LOG_T("client", addr_format_host(client->face.peer, peer)));
        client_close(client, false);
        return;
    }
    note_handshake(client);
    client_enter_idle(client);
}

/* ---- events of the stream ---- */

static void on_read(void *owner, struct bytes data)
{
    struct client *client = owner;
    switch ((enum client_state)client->state) {
    case CLIENT_PROXY:
        read_proxy_header(client, data);
        break;
    case CLIENT_IDLE:
    case CLIENT_READING:
        if (client_pending_bytes(client) > 0) {
            client_stash(client, data); /* behind what waits already */
        } else {
            client_feed(client, data);
        }
        break;
    case CLIENT_BUSY:
        client_stash(client, data);
        break;
    case CLIENT_LINGER:
        client->lingered_bytes += (uint32_t)data.len;
        if (client->lingered_bytes > CLIENT_LINGER_BYTES_MAX) {
            client_close(client, false);
        }
        break;
    case CLIENT_HANDSHAKE:
    case CLIENT_CLOSED:
    case CLIENT_STATE_COUNT:
        break;
    }
}

/* An end after a whole request is not leaving: the answer still goes out. A reset is. */
static void on_end(void *owner, enum err err)
{
    struct client *client = owner;
    client->peer_ended = true;
    if (err != ERR_EOF) {
        client_lose(client, false, "the client reset the connection");
        return;
    }
    switch ((enum client_state)client->state) {
    case CLIENT_BUSY:
        break;
    case CLIENT_READING:
        if (client_pending_bytes(client) == 0) {
            client_lose(client, false, "the client ended in the middle of a request");
        }
        break;
    case CLIENT_IDLE:
        if (client_pending_bytes(client) == 0 && stream_queued_bytes(client->face.stream) == 0) {
            client_close(client, false);
        } else if (client_pending_bytes(client) == 0) {
            client_linger(client);
        }
        break;
    case CLIENT_LINGER:
        if (stream_queued_bytes(client->face.stream) == 0) {
            client_close(client, false);
        }
        break;
    case CLIENT_PROXY:
    case CLIENT_HANDSHAKE:
        client_close(client, false);
        break;
    case CLIENT_CLOSED:
    case CLIENT_STATE_COUNT:
        break;
    }
}

static void on_drain(void *owner)
{
    struct client *client = owner;
    if (client->face.exchange != NULL) {
        exchange_on_client_writable(client->face.exchange);
    } else if (client->state != CLIENT_LINGER || stream_queued_bytes(client->face.stream) > 0) {
        return; /* the queue fell below its mark; the end of the answer is still in it */
    } else if (client->peer_ended) {
        client_close(client, false);
    } else {
        timer_set_after(&client->timer, CLIENT_LINGER_US);
    }
}

static const struct stream_ops stream_ops = {
    .on_open = on_open,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

/* True when the peer takes what we write, or nothing waits; else the client is closed or watched on. */
static bool writes_move(struct client *client, uint64_t now_us)
{
    uint64_t write_us = client_conf(client)->write_ms * CLOCK_US_PER_MS;
    if (stream_queued_bytes(client->face.stream) == 0) {
        return true;
    }
    uint64_t due_us = stream_progress_us(client->face.stream) + write_us;
    if (due_us <= now_us) {
        client_lose(client, true, "the client did not read in time");
    } else {
        timer_set(&client->timer, due_us);
    }
    return false;
}

static void on_timer(struct timer *timer)
{
    struct client *client = container_of(timer, struct client, timer);
    uint64_t now_us = loop_now_us(client_gate(client)->options.loop);
    switch ((enum client_state)client->state) {
    case CLIENT_PROXY:
    case CLIENT_HANDSHAKE:
        client_close(client, false);
        break;
    case CLIENT_LINGER:
        if (writes_move(client, now_us)) {
            client_close(client, false);
        }
        break;
    case CLIENT_IDLE:
        if (writes_move(client, now_us)) {
            uint64_t due_us = client->since_us + client_conf(client)->idle_ms * CLOCK_US_PER_MS;
            if (due_us <= now_us) {
                client_linger(client);
            } else {
                timer_set(&client->timer, due_us);
            }
        }
        break;
    case CLIENT_READING:
    case CLIENT_BUSY:
        /* A queue that broke after the peer had ended its side is not told of: the exchange's next write shows it. */
        if (writes_move(client, now_us) && client->face.exchange != NULL) {
            exchange_on_client_writable(client->face.exchange);
        }
        break;
    case CLIENT_CLOSED:
    case CLIENT_STATE_COUNT:
        break;
    }
}

void client_watch_writes(struct client *client)
{
    if (stream_queued_bytes(client->face.stream) > 0) {
        uint64_t due_us = loop_now_us(client_gate(client)->options.loop) + client_conf(client)->write_ms * CLOCK_US_PER_MS;
        if (!timer_armed(&client->timer) || client->timer.due_us > due_us) {
            timer_set(&client->timer, due_us);
        }
    }
}

/* ---- begin and the end of all ---- */

size_t client_bytes(void)
{
    return sizeof(struct client);
}

size_t client_more_bytes(void)
{
    return sizeof(struct client_more);
}

void client_begin(struct listener *listener, struct stream *stream)
{
    struct gate *gate = listener->gate;
    struct client *client = pool_get(&gate->client_pool);
    if (client == NULL) {
        listener_forget_address(listener, stream_peer(stream));
        listener_client_gone(listener);
        stream_close(stream, true);
        return;
    }
    client->face = (struct client_stream){
        .ops = &client_http1_ops, .listener = listener, .stream = stream, .peer = stream_peer(stream)};
    client->state = CLIENT_PROXY;
    deferred_init(&client->later, client_on_later);
    timer_init(&client->timer, gate->options.loop, on_timer);
    list_init(&client->in_clients);
    list_push_back(&gate->clients, &client->in_clients);
    gate->clients_count++;
    note_trust(client);
    stream_attach(stream, &stream_ops, client);
    timer_set_after(&client->timer, listener->conf->handshake_ms * CLOCK_US_PER_MS);
    if (!listener->conf->proxy_protocol) {
        begin_requests(client, BYTES_NONE);
    } else if (!client->face.peer_trusted) {
        client_close(client, true); /* only trusted peers may speak for others */
    }
}

void client_close_idle(struct gate *gate, const struct listener *listener)
{
    list_each (client, after, &gate->clients, struct client, in_clients) {
        if (listener != NULL && client->face.listener != listener) {
            continue;
        }
        if (client->state == CLIENT_IDLE && client_pending_bytes(client) == 0) {
            client_linger(client);
        } else if (client->state < CLIENT_IDLE) {
            client_close(client, false);
        }
    }
}

void client_close_all(struct gate *gate)
{
    list_each (client, after, &gate->clients, struct client, in_clients) {
        client_close(client, client->state == CLIENT_READING || client->state == CLIENT_BUSY);
    }
}
