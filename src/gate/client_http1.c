/*
 * HTTP/1.1 on a client's connection: requests are read one at a time and in
 * order, each handed to an exchange, and the answers that the exchange gives
 * are written with this protocol's framing. The exchange sees it as a
 * client_stream; another protocol would be another file beside this one.
 */
#include "client_internal.h"

#include "weir/base/clock.h"

/* ---- requests in ---- */

/* Bytes behind a whole request: they wait for its answer. */
void client_stash(struct client *client, struct bytes data)
{
    if (data.len == 0 || client->state > CLIENT_BUSY || client->deaf) {
        return;
    }
    if (client_need_more(client) == NULL || buf_append(&client->more->pending, data, BLOCKS_MAY) != ERR_OK) {
        /* No room for what was sent ahead: it is not taken, and the connection ends behind the running answer. */
        client->deaf = true;
        client->close_after = true;
        return;
    }
    if (!client->paused && client_pending_bytes(client) >= CLIENT_PENDING_BYTES_MAX / 2) {
        client->paused = true;
        stream_pause(client->face.stream);
    }
}

static struct exchange *begin_exchange(struct client *client)
{
    struct exchange *x = exchange_begin(client_gate(client), &client->face);
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
    client->last_word = client->close_after && head->framing == HTTP_FRAMING_NONE;
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

void client_feed(struct client *client, struct bytes data)
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
    client_stash(client, data);
}

/* ---- idle and pipelined ---- */

static void feed_pending(struct client *client)
{
    while (client_pending_bytes(client) > 0 && (client->state == CLIENT_IDLE || client->state == CLIENT_READING)) {
        /* A copy, since what is fed may come back into `pending` behind it. */
        WEIR_SCRATCH char copy[BLOCK_BYTES];
        struct buf *pending = &client->more->pending;
        struct bytes front = bytes_take(buf_front(pending), sizeof copy);
        struct buf rest = *pending;
        memcpy(copy, front.at, front.len);
        buf_consume(&rest, front.len);
        buf_init(pending, rest.blocks, rest.len_max);
        client_feed(client, bytes_of(copy, front.len));
        if (client->state > CLIENT_BUSY) {
            buf_reset(&rest);
            return;
        }
        if (buf_move(pending, &rest) != ERR_OK) {
            buf_reset(&rest);
            client_lose(client, true, "too many bytes were sent ahead");
        }
    }
    if (client->paused && client->state < CLIENT_BUSY && client_pending_bytes(client) == 0) {
        client->paused = false;
        stream_resume(client->face.stream);
    }
    if (client->peer_ended && client->state == CLIENT_IDLE) {
        client_linger(client);
    } else if (client->peer_ended && client->state == CLIENT_READING) {
        client_lose(client, false, "the client ended in the middle of a request");
    }
}

void client_on_later(struct deferred *deferred)
{
    feed_pending(container_of(deferred, struct client, later));
}

/*
 * The answer is out and nothing of the client's is unread or on its way: closing at once sends the same FIN that
 * lingering would, and saves reading the client's. TLS has a last word of its own.
 */
static bool may_close_at_once(const struct client *client)
{
    return client->last_word && client->close_after && !client->tls && client_pending_bytes(client) == 0 &&
           stream_queued_bytes(client->face.stream) == 0 && stream_is_silent(client->face.stream);
}

static void go_idle(struct client *client)
{
    if (may_close_at_once(client)) {
        client_close(client, false);
        return;
    }
    if (client->close_after || client_gate(client)->closing || client->face.listener->closing) {
        client_linger(client);
        return;
    }
    client_enter_idle(client);
    if (client->paused && client_pending_bytes(client) == 0) { /* a streamed body was held back up to its end */
        client->paused = false;
        stream_resume(client->face.stream);
    }
    if (client_pending_bytes(client) > 0 || client->peer_ended) {
        loop_defer(client_gate(client)->options.loop, &client->later);
    }
}

/* ---- what the exchange writes ---- */

static enum err write_parts(struct client *client, const struct bytes *parts, int count)
{
    struct stream_wrote wrote = stream_write(client->face.stream, parts, count);
    client_watch_writes(client);
    return wrote.err;
}

static struct bytes answer_head(struct client *client, const struct answer *answer)
{
    const struct http_head *from = answer->from;
    struct gate *gate = client_gate(client);
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
        http_write_passed_fields(&writer, from, drop, NULL, 0);
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
    struct gate *gate = client_gate(client);
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

const struct client_stream_ops client_http1_ops = {
    .answer = face_answer,
    .body = face_body,
    .go_on = face_go_on,
    .queued = face_queued,
    .pause = face_pause,
    .resume = face_resume,
    .finished = face_finished,
};
