/*
 * An accepted connection that speaks HTTP/1.1: it reads requests one at a time
 * and in order, hands each to an exchange, and writes the answers that the
 * exchange gives it. It owns the rules of the connection (keep-alive,
 * pipelining, lingering close, idle and write timeouts) and nothing of a
 * request's fate. The exchange sees it as a client_stream.
 *
 *   PROXY --> HANDSHAKE --> IDLE <--> READING --> BUSY --> IDLE ...
 *     any --> LINGER (our side ended, the rest is thrown away) --> CLOSED
 */
#include "exchange.h"

#include "weir/base/clock.h"
#include "weir/http/proxy_header.h"

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

struct client {
    struct client_stream face;
    struct list in_clients;
    struct timer timer;       /* handshake, idle, write or linger timeout, by state */
    struct deferred later;    /* goes on with pipelined bytes, or buries */
    struct buf pending;       /* bytes that wait for the exchange before them */
    struct addr proxied;      /* of the PROXY header */
    uint64_t since_us;        /* when the state was entered */
    uint32_t lingered_bytes;
    uint8_t state;            /* enum client_state; only client_enter() writes it */
    bool tls;
    bool close_after;         /* the answer being sent is the last */
    bool peer_ended;          /* the peer ended its side in order */
    bool paused;
    bool deaf;                /* no room for pipelined bytes: what else comes is thrown away */
    bool crlf_dropped;        /* a lone CRLF behind the last request was passed over */
    bool chunked;             /* the answer being sent is framed in chunks */
    bool bare;                /* the answer being sent has no body, whatever comes */
};

static const struct stream_ops stream_ops;
static const struct client_stream_ops face_ops;

static struct client *client_of(struct client_stream *face)
{
    return container_of(face, struct client, face);
}

static const struct conf_listener *conf_of(const struct client *client)
{
    return client->face.listener->conf;
}

static struct gate *gate_of(const struct client *client)
{
    return client->face.listener->gate;
}

/* The only place that sets the state; refuses a move that is not in the drawing. */
static void client_enter(struct client *client, enum client_state state)
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

/* ---- close ---- */

static void client_close(struct client *client, bool reset)
{
    if (client->state == CLIENT_CLOSED) {
        return;
    }
    client_enter(client, CLIENT_CLOSED);
    timer_stop(&client->timer);
    buf_reset(&client->pending);
    listener_forget_address(client->face.listener, stream_peer(client->face.stream));
    stream_close(client->face.stream, reset);
}

static void on_burial(struct deferred *deferred)
{
    struct client *client = container_of(deferred, struct client, later);
    struct gate *gate = gate_of(client);
    struct listener *listener = client->face.listener;
    list_remove(&client->in_clients);
    gate->clients_count--;
    gate->clients_tls_count -= client->tls ? 1 : 0;
    listener_client_gone(listener);
    pool_put(&gate->client_pool, client);
    gate_check_quiet(gate);
}

static void on_closed(void *owner)
{
    struct client *client = owner;
    loop_undefer(&client->later);
    deferred_init(&client->later, on_burial);
    loop_defer(gate_of(client)->options.loop, &client->later);
}

/* The client is lost: its exchange, if there is one, decides for itself whether it lives on. */
static void client_lose(struct client *client, bool reset, const char *why)
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
static void client_linger(struct client *client)
{
    client_enter(client, CLIENT_LINGER);
    buf_reset(&client->pending);
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

/* ---- idle and pipelined ---- */

static void feed(struct client *client, struct bytes data);

static void feed_pending(struct client *client)
{
    while (client->pending.len > 0 && (client->state == CLIENT_IDLE || client->state == CLIENT_READING)) {
        /* A copy, since what is fed may come back into `pending` behind it. */
        WEIR_SCRATCH char copy[BLOCK_BYTES];
        struct bytes front = bytes_take(buf_front(&client->pending), sizeof copy);
        struct buf rest = client->pending;
        memcpy(copy, front.at, front.len);
        buf_consume(&rest, front.len);
        buf_init(&client->pending, rest.blocks, rest.len_max);
        feed(client, bytes_of(copy, front.len));
        if (client->state > CLIENT_BUSY) {
            buf_reset(&rest);
            return;
        }
        if (buf_move(&client->pending, &rest) != ERR_OK) {
            buf_reset(&rest);
            client_lose(client, true, "too many bytes were sent ahead");
        }
    }
    if (client->paused && client->state < CLIENT_BUSY && client->pending.len == 0) {
        client->paused = false;
        stream_resume(client->face.stream);
    }
    if (client->peer_ended && client->state == CLIENT_IDLE) {
        client_linger(client);
    } else if (client->peer_ended && client->state == CLIENT_READING) {
        client_lose(client, false, "the client ended in the middle of a request");
    }
}

static void on_later(struct deferred *deferred)
{
    feed_pending(container_of(deferred, struct client, later));
}

static void go_idle(struct client *client)
{
    if (client->close_after || gate_of(client)->closing || client->face.listener->closing) {
        client_linger(client);
        return;
    }
    client_enter(client, CLIENT_IDLE);
    client->since_us = loop_now_us(gate_of(client)->options.loop);
    timer_set(&client->timer, client->since_us + conf_of(client)->idle_ms * CLOCK_US_PER_MS);
    if (client->paused && client->pending.len == 0) { /* a streamed body was held back up to its end */
        client->paused = false;
        stream_resume(client->face.stream);
    }
    if (client->pending.len > 0 || client->peer_ended) {
        loop_defer(gate_of(client)->options.loop, &client->later);
    }
}

/* ---- requests in ---- */

/* Bytes behind a whole request: they wait for its answer. */
static void stash(struct client *client, struct bytes data)
{
    if (data.len == 0 || client->state > CLIENT_BUSY || client->deaf) {
        return;
    }
    if (buf_append(&client->pending, data, BLOCKS_MAY) != ERR_OK) {
        /* No room for what was sent ahead: it is not taken, and the connection ends behind the running answer. */
        client->deaf = true;
        client->close_after = true;
        return;
    }
    if (!client->paused && client->pending.len >= CLIENT_PENDING_BYTES_MAX / 2) {
        client->paused = true;
        stream_pause(client->face.stream);
    }
}

static struct exchange *begin_exchange(struct client *client)
{
    struct exchange *x = exchange_begin(gate_of(client), &client->face);
    if (x == NULL) {
        client_close(client, true); /* nothing was read, nothing can be said */
        return NULL;
    }
    client->face.exchange = x;
    client->close_after = false;
    client->crlf_dropped = false;
    client_enter(client, CLIENT_READING);
    return x;
}

/* Without a body the request is whole with its head: it is handed over at once. */
static void feed_head(struct client *client, struct exchange *x)
{
    const struct http_head *head = http_message_head(x->message);
    client->close_after = !head->keep_alive;
    if (head->framing == HTTP_FRAMING_NONE) {
        struct bytes nothing = BYTES_NONE;
        struct bytes body;
        CHECK(http_message_feed(x->message, &nothing, &body) == HTTP_END);
        client_enter(client, CLIENT_BUSY);
        x->request_whole = true;
    }
    exchange_on_head(x);
}

static void feed_event(struct client *client, struct exchange *x, enum http_event event, struct bytes body)
{
    switch (event) {
    case HTTP_HEAD:
        feed_head(client, x);
        break;
    case HTTP_BODY:
        exchange_on_body(x, body);
        break;
    case HTTP_END:
        client_enter(client, CLIENT_BUSY);
        exchange_on_request_end(x);
        break;
    case HTTP_FAULTED:
        exchange_on_fault(x);
        break;
    case HTTP_MORE:
        exchange_step(x);
        break;
    }
}

/* Some clients send a CRLF behind a body (RFC 9112 2.2). Alone it is no beginning of a request that would time out. */
static bool drop_stray_crlf(struct client *client, struct bytes data)
{
    bool drop = !client->crlf_dropped && bytes_equal(data, BYTES("\r\n"));
    client->crlf_dropped |= drop;
    return drop;
}

static void feed(struct client *client, struct bytes data)
{
    while (client->state == CLIENT_IDLE || client->state == CLIENT_READING) {
        if (client->face.exchange == NULL && (data.len == 0 || drop_stray_crlf(client, data))) {
            return;
        }
        struct exchange *x = client->face.exchange != NULL ? client->face.exchange : begin_exchange(client);
        if (x == NULL) {
            return;
        }
        struct bytes body = BYTES_NONE;
        enum http_event event = http_message_feed(x->message, &data, &body);
        feed_event(client, x, event, body);
        if (event == HTTP_MORE || event == HTTP_FAULTED) {
            return;
        }
    }
    stash(client, data);
}

/* ---- the PROXY header and TLS ---- */

static void note_trust(struct client *client)
{
    const struct conf_listener *conf = conf_of(client);
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
        gate_of(client)->clients_tls_count++;
        stream_tls_accept(client->face.stream, tls, early);
        return;
    }
    client_enter(client, CLIENT_IDLE);
    client->since_us = loop_now_us(gate_of(client)->options.loop);
    timer_set(&client->timer, client->since_us + conf_of(client)->idle_ms * CLOCK_US_PER_MS);
    if (early.len > 0) {
        feed(client, early);
    }
}

static void read_proxy_header(struct client *client, struct bytes data)
{
    WEIR_SCRATCH char copy[PROXY_HEADER_BYTES_MAX];
    struct proxy_header header;
    struct bytes all = data;
    if (client->pending.len > 0) {
        struct bytes front = buf_front(&client->pending);
        struct bytes behind = bytes_take(data, sizeof copy - front.len);
        memcpy(copy, front.at, front.len);
        memcpy(copy + front.len, behind.at, behind.len);
        all = bytes_of(copy, front.len + behind.len);
    }
    switch (proxy_header_parse(all, &header)) {
    case PROXY_HEADER_MORE:
        if (all.len >= sizeof copy || buf_append(&client->pending, data, BLOCKS_MAY) != ERR_OK) {
            client_close(client, true);
        }
        return;
    case PROXY_HEADER_BAD:
        log_say(gate_of(client)->options.log, LOG_WARN, "proxy_header_bad", "closing a connection without a PROXY header");
        client_close(client, true);
        return;
    case PROXY_HEADER_DONE:
        break;
    }
    if (!header.local) {
        client->proxied = header.source;
        client->face.peer = &client->proxied;
        note_trust(client);
    }
    size_t before = client->pending.len;
    buf_reset(&client->pending);
    begin_requests(client, bytes_skip(data, header.len - before));
}

static void note_handshake(struct client *client)
{
    struct listener *listener = client->face.listener;
    struct stream_tls tls;
    if (stream_tls_info(client->face.stream, &tls)) {
        int version = strcmp(tls.version, "TLSv1.3") == 0 ? 1 : 0;
        stats_add(gate_of(client)->options.stats, listener->stat_handshakes[version][tls.resumed ? 1 : 0], 1);
    }
}

static void on_open(void *owner, enum err err)
{
    struct client *client = owner;
    struct gate *gate = gate_of(client);
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
    client_enter(client, CLIENT_IDLE);
    client->since_us = loop_now_us(gate_of(client)->options.loop);
    timer_set(&client->timer, client->since_us + conf_of(client)->idle_ms * CLOCK_US_PER_MS);
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
        if (client->pending.len > 0) {
            stash(client, data); /* behind what waits already */
        } else {
            feed(client, data);
        }
        break;
    case CLIENT_BUSY:
        stash(client, data);
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
        if (client->pending.len == 0) {
            client_lose(client, false, "the client ended in the middle of a request");
        }
        break;
    case CLIENT_IDLE:
        if (client->pending.len == 0 && stream_queued_bytes(client->face.stream) == 0) {
            client_close(client, false);
        } else if (client->pending.len == 0) {
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
    } else if (client->state == CLIENT_LINGER && client->peer_ended) {
        client_close(client, false);
    } else if (client->state == CLIENT_LINGER) {
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
    uint64_t write_us = conf_of(client)->write_ms * CLOCK_US_PER_MS;
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
    uint64_t now_us = loop_now_us(gate_of(client)->options.loop);
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
            uint64_t due_us = client->since_us + conf_of(client)->idle_ms * CLOCK_US_PER_MS;
            if (due_us <= now_us) {
                client_linger(client);
            } else {
                timer_set(&client->timer, due_us);
            }
        }
        break;
    case CLIENT_READING:
    case CLIENT_BUSY:
        (void)writes_move(client, now_us); /* the exchange has deadlines of its own */
        break;
    case CLIENT_CLOSED:
    case CLIENT_STATE_COUNT:
        break;
    }
}

/* ---- what the exchange writes ---- */

static void watch_writes(struct client *client)
{
    if (stream_queued_bytes(client->face.stream) > 0) {
        uint64_t due_us = loop_now_us(gate_of(client)->options.loop) + conf_of(client)->write_ms * CLOCK_US_PER_MS;
        if (!timer_armed(&client->timer) || client->timer.due_us > due_us) {
            timer_set(&client->timer, due_us);
        }
    }
}

static enum err write_parts(struct client *client, const struct bytes *parts, int count)
{
    struct stream_wrote wrote = stream_write(client->face.stream, parts, count);
    watch_writes(client);
    return wrote.err;
}

static struct bytes answer_head(struct client *client, const struct answer *answer)
{
    const struct http_head *from = answer->from;
    struct gate *gate = gate_of(client);
    struct http_writer writer;
    uint32_t drop = 1u << HTTP_FIELD_WEIR_ANY | 1u << HTTP_FIELD_TRANSFER_ENCODING;
    if (answer->framing == HTTP_FRAMING_LENGTH || answer->status == 204) {
        drop |= 1u << HTTP_FIELD_CONTENT_LENGTH;
    }
    http_write_init(&writer, gate->scratch, sizeof gate->scratch);
    http_write_status_line(&writer, answer->status);
    if (from == NULL || !http_head_has(from, HTTP_FIELD_DATE)) {
        http_write_field(&writer, BYTES("Date"), bytes_of(http_date(clock_wall_us()), HTTP_DATE_BYTES - 1));
    }
    if (from != NULL) {
        http_write_passed_fields(&writer, from, drop);
    }
    http_write_lines(&writer, answer->lines);
    if (answer->framing == HTTP_FRAMING_LENGTH) {
        http_write_field_u64(&writer, BYTES("Content-Length"), answer->content_length);
    } else if (client->chunked) {
        http_write_lines(&writer, BYTES("Transfer-Encoding: chunked\r\n"));
    }
    if (client->close_after) {
        http_write_lines(&writer, BYTES("Connection: close\r\n"));
    }
    http_write_end(&writer);
    return writer.overflow ? BYTES_NONE : http_write_bytes(&writer);
}

/* Body parts as they go on the wire, in chunks when the answer is chunked, behind `count` parts already there. */
static enum err write_framed(struct client *client, struct bytes head, const struct bytes *parts, int count, bool end)
{
    WEIR_SCRATCH struct bytes out[STREAM_PARTS_MAX];
    char chunk_head[HTTP_CHUNK_HEAD_BYTES];
    size_t len = 0;
    int out_count = 0;
    CHECK(count <= GATE_PARTS_MAX);
    for (int i = 0; i < count; i++) {
        len += parts[i].len;
    }
    if (head.len > 0) {
        out[out_count++] = head;
    }
    if (client->chunked && len > 0) {
        out[out_count++] = bytes_of(chunk_head, http_chunk_head(chunk_head, len));
    }
    for (int i = 0; i < count; i++) {
        out[out_count++] = parts[i];
    }
    if (client->chunked && len > 0) {
        out[out_count++] = HTTP_CHUNK_TAIL;
    }
    if (client->chunked && end) {
        out[out_count++] = HTTP_LAST_CHUNK;
    }
    return out_count > 0 ? write_parts(client, out, out_count) : ERR_OK;
}

static enum err face_answer(struct client_stream *face, const struct answer *answer, const struct bytes *parts,
                            int count, bool end)
{
    struct client *client = client_of(face);
    struct gate *gate = gate_of(client);
    /* A request that was not read to its end kills what follows it: its rest must not be taken for another one. */
    client->close_after = client->close_after || client->state == CLIENT_READING || gate->draining ||
                          face->listener->closing;
    client->chunked = answer->framing == HTTP_FRAMING_CHUNKED;
    struct bytes head = answer_head(client, answer);
    if (head.len == 0) {
        return ERR_FULL;
    }
    return write_framed(client, head, parts, count, end);
}

static enum err face_body(struct client_stream *face, const struct bytes *parts, int count, bool end)
{
    return write_framed(client_of(face), BYTES_NONE, parts, count, end);
}

static void face_go_on(struct client_stream *face)
{
    static const struct bytes line = BYTES("HTTP/1.1 100 Continue\r\n\r\n");
    (void)write_parts(client_of(face), &line, 1); /* a broken connection shows by itself */
}

static size_t face_queued(const struct client_stream *face)
{
    return stream_queued_bytes(face->stream);
}

static void face_pause(struct client_stream *face)
{
    struct client *client = client_of(face);
    if (!client->paused && client->state == CLIENT_READING) {
        client->paused = true;
        stream_pause(face->stream);
    }
}

static void face_resume(struct client_stream *face)
{
    struct client *client = client_of(face);
    if (client->paused && client->state == CLIENT_READING) {
        client->paused = false;
        stream_resume(face->stream);
    }
}

static void face_finished(struct client_stream *face, bool whole)
{
    struct client *client = client_of(face);
    if (client->state == CLIENT_CLOSED) {
        return;
    }
    if (!whole) {
        client_close(client, true);
    } else if (client->state == CLIENT_READING) {
        client_linger(client);
    } else {
        go_idle(client);
    }
}

static const struct client_stream_ops face_ops = {
    .answer = face_answer,
    .body = face_body,
    .go_on = face_go_on,
    .queued = face_queued,
    .pause = face_pause,
    .resume = face_resume,
    .finished = face_finished,
};

/* ---- begin and the end of all ---- */

size_t client_bytes(void)
{
    return sizeof(struct client);
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
        .ops = &face_ops, .listener = listener, .stream = stream, .peer = stream_peer(stream)};
    client->state = CLIENT_PROXY;
    deferred_init(&client->later, on_later);
    timer_init(&client->timer, gate->options.loop, on_timer);
    buf_init(&client->pending, loop_blocks(gate->options.loop), CLIENT_PENDING_BYTES_MAX * 2);
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
        if (client->state == CLIENT_IDLE && client->pending.len == 0) {
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
