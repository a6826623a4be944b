/*
 * The life of a connection:
 *
 *     OPENING (TLS alone) -> READING -> [WAITING] -> [SENDING] -> READING ...
 *                                 any -> HANGING | ENDING -> CLOSED
 *
 * connection_enter() is the only setter. A request that is answered at once
 * never leaves READING. In WAITING and SENDING the stream is paused and what
 * had already been read lies in `unread`; in HANGING and ENDING it is thrown
 * away.
 */
#include "connection.h"

#include "delivery.h"
#include "server.h"
#include "weir/base/buf.h"
#include "weir/base/clock.h"
#include "weir/http/message.h"
#include "weir/io/timer.h"

#define HEAD_BYTES_MAX   (64 * 1024)
#define BODY_BYTES_MAX   (UINT64_C(1) << 30)
#define UNREAD_BYTES_MAX (1024 * 1024)

enum connection_state {
    CONNECTION_OPENING, /* the TLS handshake */
    CONNECTION_READING, /* a request, or between two */
    CONNECTION_WAITING, /* a fault's delay runs before the answer */
    CONNECTION_SENDING, /* more of the answer follows, at a drain or a timer */
    CONNECTION_HANGING, /* a fault: no answer ever */
    CONNECTION_ENDING,  /* all is said, FIN is on its way */
    CONNECTION_CLOSED,  /* [transient] until on_closed */
};

struct connection {
    struct server *server; /* borrowed */
    struct list in_connections;
    struct stream *stream;
    struct timer timer; /* delay and trickle */
    enum connection_state state;
    uint64_t number;
    uint64_t request_count; /* whose heads have come */
    bool peer_ended;        /* no more requests: what is complete is answered, then it ends */
    struct buf unread;      /* read from the socket, not looked at yet */

    /* of the request that is being read or answered; empty between two */
    struct arena arena;
    struct http_message *message; /* NULL: none has begun */
    struct buf head_raw;          /* until the head is complete */
    struct buf body;              /* its beginning */
    uint64_t body_bytes;          /* all of it */
    uint64_t note;                /* its number in the ledger */
    struct faults faults;
    bool answered_early;
    struct answer answer;
    struct delivery delivery;
};

size_t connection_size_bytes(void)
{
    return sizeof(struct connection);
}

static void feed_unread(struct connection *connection);

static void connection_enter(struct connection *connection, enum connection_state state)
{
    bool was_paused = connection->state == CONNECTION_WAITING || connection->state == CONNECTION_SENDING;
    bool pauses = state == CONNECTION_WAITING || state == CONNECTION_SENDING;

    CHECK(connection->state != CONNECTION_CLOSED);
    connection->state = state;
    if (pauses && !was_paused) {
        stream_pause(connection->stream);
    } else if (was_paused && !pauses && state != CONNECTION_CLOSED) {
        stream_resume(connection->stream);
    }
}

/* Ready for the next request. */
static void forget_request(struct connection *connection)
{
    delivery_end(&connection->delivery);
    answer_release(&connection->answer);
    buf_reset(&connection->head_raw);
    buf_reset(&connection->body);
    arena_reset(&connection->arena);
    connection->message = NULL;
    connection->body_bytes = 0;
    connection->note = 0;
    connection->faults = (struct faults){0};
    connection->answered_early = false;
}

static void close_stream(struct connection *connection, bool reset)
{
    if (connection->state != CONNECTION_CLOSED) {
        timer_stop(&connection->timer);
        connection_enter(connection, CONNECTION_CLOSED);
        stream_close(connection->stream, reset);
    }
}

void connection_close(struct connection *connection)
{
    close_stream(connection, false);
}

/* Says FIN; the stream is closed when it is out, whatever the peer does. */
static void end_in_order(struct connection *connection)
{
    connection_enter(connection, CONNECTION_ENDING);
    stream_shut(connection->stream);
}

static void on_delivered(struct connection *connection, enum delivery_result result)
{
    bool close = connection->delivery.close;

    switch (result) {
    case DELIVERY_BROKEN:
        connection_close(connection);
        return;
    case DELIVERY_DRAIN:
        if (connection->state != CONNECTION_SENDING) {
            connection_enter(connection, CONNECTION_SENDING);
        }
        return;
    case DELIVERY_TRICKLE:
        if (connection->state != CONNECTION_SENDING) {
            connection_enter(connection, CONNECTION_SENDING);
        }
        timer_set_after(&connection->timer, connection->delivery.trickle_ms * CLOCK_US_PER_MS);
        return;
    case DELIVERY_DONE:
        break;
    }
    forget_request(connection);
    if (close) {
        end_in_order(connection);
    } else if (connection->state != CONNECTION_READING) {
        connection_enter(connection, CONNECTION_READING);
    }
}

/* The answer is known and its time has come. */
static void deliver(struct connection *connection)
{
    const struct faults *faults = &connection->faults;
    const struct http_head *head = http_message_head(connection->message);
    bool head_only = bytes_equal(head->method, BYTES("HEAD"));

    if (faults_has(faults, FAULT_RESET_BEFORE) || faults_has(faults, FAULT_RESET_AFTER)) {
        close_stream(connection, true);
    } else if (faults_has(faults, FAULT_CLOSE_BEFORE) || faults_has(faults, FAULT_CLOSE_AFTER)) {
        forget_request(connection);
        end_in_order(connection);
    } else if (faults_has(faults, FAULT_HANG)) {
        forget_request(connection);
        connection_enter(connection, CONNECTION_HANGING);
    } else {
        on_delivered(connection, delivery_start(&connection->delivery, connection->stream, &connection->answer, faults,
                                                !head->keep_alive, head_only));
    }
}

/* Executes, unless a fault comes before that. */
static void decide(struct connection *connection, struct bytes body)
{
    static const uint32_t before = 1u << FAULT_RESET_BEFORE | 1u << FAULT_CLOSE_BEFORE | 1u << FAULT_STATUS_BEFORE;
    const struct faults *faults = &connection->faults;
    struct request request = {
        .head = http_message_head(connection->message),
        .body = body,
        .busy_ms = faults_has(faults, FAULT_DELAY) ? faults->value[FAULT_DELAY] : 0,
    };

    if ((faults->set & before) == 0) {
        routes_answer(connection->server->sandbox, &request, &connection->arena, &connection->answer);
    }
    if (faults_has(faults, FAULT_STATUS_BEFORE) || faults_has(faults, FAULT_STATUS_AFTER)) {
        enum fault_id id = faults_has(faults, FAULT_STATUS_BEFORE) ? FAULT_STATUS_BEFORE : FAULT_STATUS_AFTER;
        answer_release(&connection->answer);
        routes_answer_fault(connection->server->sandbox, &connection->arena, (uint16_t)faults->value[id],
                            id == FAULT_STATUS_AFTER, &connection->answer);
    }
    if (faults_has(faults, FAULT_BIG)) {
        routes_answer_grow(&connection->answer, faults->value[FAULT_BIG]);
    }
}

/* All of a buf as one run of bytes, in the arena unless it is one already. */
static struct bytes buf_text(struct connection *connection, struct buf *buf)
{
    struct bytes front = buf_front(buf);
    size_t len = buf->len;
    char *text;

    if (front.len == len) {
        return front;
    }
    text = arena_take(&connection->arena, len);
    if (text == NULL) {
        return front;
    }
    for (size_t at = 0; at < len; at += front.len) {
        front = buf_front(buf);
        memcpy(text + at, front.at, front.len);
        buf_consume(buf, front.len);
    }
    return bytes_of(text, len);
}

static void on_request(struct connection *connection)
{
    struct bytes body = buf_text(connection, &connection->body);

    ledger_note_body(connection->server->sandbox->ledger, connection->note, body, connection->body_bytes);
    if (connection->answered_early) {
        forget_request(connection);
        return;
    }
    decide(connection, body);
    if (faults_has(&connection->faults, FAULT_DELAY)) {
        connection_enter(connection, CONNECTION_WAITING);
        timer_set_after(&connection->timer, connection->faults.value[FAULT_DELAY] * CLOCK_US_PER_MS);
        return;
    }
    deliver(connection);
}

static void answer_bad_request(struct connection *connection, struct bytes message)
{
    routes_answer_error(connection->server->sandbox, &connection->arena, 400, message, &connection->answer);
    on_delivered(connection, delivery_start(&connection->delivery, connection->stream, &connection->answer,
                                            &(struct faults){0}, true, false));
}

/* The header's faults, else those armed for such a request. False: the header makes no sense and was answered. */
static bool read_faults(struct connection *connection, const struct http_head *head)
{
    const struct http_field *field = http_head_find_name(head, BYTES("Sandbox-Fault"));
    struct bytes bad;

    if (field == NULL) {
        struct faults_armed *armed = routes_armed(connection->server->sandbox, head);
        if (armed != NULL) {
            connection->faults = faults_take(armed);
        }
        return true;
    }
    if (!faults_parse(field->value, &connection->faults, &bad)) {
        answer_bad_request(connection, bad);
        return false;
    }
    return true;
}

/* Refuses before the body was read, and reads on: a processor that does not wait for what it will not take. */
static void answer_early(struct connection *connection)
{
    static const struct bytes message = BYTES("answered before the body was read");
    const struct faults *faults = &connection->faults;
    uint16_t status = faults_has(faults, FAULT_STATUS_BEFORE) ? (uint16_t)faults->value[FAULT_STATUS_BEFORE] : 413;
    struct delivery delivery = {0};

    connection->answered_early = true;
    routes_answer_error(connection->server->sandbox, &connection->arena, status, message, &connection->answer);
    if (delivery_start(&delivery, connection->stream, &connection->answer, &(struct faults){0}, false, false) !=
        DELIVERY_DONE) {
        connection_close(connection);
    }
    delivery_end(&delivery);
}

static void note_head(struct connection *connection, const char *malformed)
{
    struct bytes raw = buf_text(connection, &connection->head_raw);

    connection->note = ledger_note_request(connection->server->sandbox->ledger,
                                           &(struct request_seen){.head = raw,
                                                                  .connection = connection->number,
                                                                  .reused = connection->request_count > 0,
                                                                  .malformed = malformed});
}

static void on_head(struct connection *connection)
{
    const struct http_head *head = http_message_head(connection->message);

    if (!routes_target_is_control(head->target)) {
        note_head(connection, NULL);
        if (!read_faults(connection, head)) {
            return;
        }
    }
    connection->request_count++;
    buf_reset(&connection->head_raw);
    if (faults_has(&connection->faults, FAULT_EARLY)) {
        answer_early(connection);
    } else if (head->expects_continue) {
        struct bytes go_on = BYTES("HTTP/1.1 100 Continue\r\n\r\n");
        if (stream_write(connection->stream, &go_on, 1).err != ERR_OK) {
            connection_close(connection);
        }
    }
}

static void on_body(struct connection *connection, struct bytes data)
{
    size_t room = REQUEST_BODY_BYTES_KEPT - connection->body.len;

    connection->body_bytes += data.len;
    /* The rest is counted only; so is what a full supply cannot keep, which has no limit here. */
    (void)!buf_append(&connection->body, bytes_take(data, room), BLOCKS_MUST);
}

static void on_fault(struct connection *connection)
{
    const char *text = http_message_fault_text(connection->message);

    if (connection->note == 0) {
        note_head(connection, text);
    } else {
        ledger_note_fault(connection->server->sandbox->ledger, connection->note, text);
    }
    answer_bad_request(connection, bytes_from_text(text));
}

static bool begin_request(struct connection *connection)
{
    static const struct http_limits limits = {HEAD_BYTES_MAX, HTTP_TARGET_BYTES_MAX, BODY_BYTES_MAX};

    connection->message = http_message_new(&connection->arena, HTTP_REQUEST_MESSAGE, &limits, false);
    return connection->message != NULL;
}

/* One step of the parser; false when the connection wants no more bytes now. */
static bool feed_step(struct connection *connection, struct bytes *data)
{
    struct bytes before = *data;
    struct bytes body = BYTES_NONE;
    enum http_event event;

    if (connection->message == NULL && !begin_request(connection)) {
        connection_close(connection);
        return false;
    }
    event = http_message_feed(connection->message, data, &body);
    if (connection->note == 0 && connection->body_bytes == 0 && event != HTTP_BODY) {
        (void)!buf_append(&connection->head_raw, bytes_take(before, before.len - data->len), BLOCKS_MUST);
    }
    switch (event) {
    case HTTP_MORE:
        break;
    case HTTP_HEAD:
        on_head(connection);
        break;
    case HTTP_BODY:
        on_body(connection, body);
        break;
    case HTTP_END:
        on_request(connection);
        break;
    case HTTP_FAULTED:
        on_fault(connection);
        break;
    }
    return event != HTTP_MORE && connection->state == CONNECTION_READING;
}

/* Looks at `data` as long as requests are wanted; returns what is left. */
static struct bytes feed(struct connection *connection, struct bytes data)
{
    while (connection->state == CONNECTION_READING && feed_step(connection, &data)) {
        if (data.len == 0 && connection->message == NULL) {
            break;
        }
    }
    return data;
}

static bool wants_no_input(const struct connection *connection)
{
    return connection->state == CONNECTION_HANGING || connection->state == CONNECTION_ENDING ||
           connection->state == CONNECTION_CLOSED;
}

static void feed_unread(struct connection *connection)
{
    while (connection->state == CONNECTION_READING && connection->unread.len > 0) {
        struct bytes front = buf_front(&connection->unread);
        struct bytes rest = feed(connection, front);
        buf_consume(&connection->unread, front.len - rest.len);
    }
    if (wants_no_input(connection)) {
        buf_reset(&connection->unread);
    } else if (connection->peer_ended && connection->state == CONNECTION_READING) {
        end_in_order(connection);
    }
}

static void on_open(void *owner, enum err err)
{
    struct connection *connection = owner;

    if (err != ERR_OK) {
        connection_close(connection);
    } else if (connection->state == CONNECTION_OPENING) {
        connection_enter(connection, CONNECTION_READING);
    }
}

static void on_read(void *owner, struct bytes data)
{
    struct connection *connection = owner;

    if (connection->state == CONNECTION_READING && connection->unread.len == 0) {
        data = feed(connection, data);
    }
    if (data.len > 0 && !wants_no_input(connection) && buf_append(&connection->unread, data, BLOCKS_MUST) != ERR_OK) {
        connection_close(connection);
    }
}

/* The peer says no more: answers what it asked, then ends too. A request that stopped half-way is noted. */
static void on_end(void *owner, enum err err)
{
    struct connection *connection = owner;
    bool cut = connection->message != NULL && http_message_begun(connection->message) &&
               connection->state == CONNECTION_READING;

    if (cut && connection->note == 0) {
        note_head(connection, "the head was cut short");
    } else if (cut) {
        ledger_note_fault(connection->server->sandbox->ledger, connection->note, "the body was cut short");
    }
    connection->peer_ended = true;
    if (err != ERR_EOF || connection->state == CONNECTION_HANGING || connection->state == CONNECTION_OPENING) {
        connection_close(connection);
    } else if (connection->state == CONNECTION_READING) {
        end_in_order(connection);
    }
}

static void on_drain(void *owner)
{
    struct connection *connection = owner;

    if (connection->state == CONNECTION_ENDING) {
        connection_close(connection);
    } else if (connection->state == CONNECTION_SENDING && !timer_armed(&connection->timer)) {
        on_delivered(connection, delivery_go_on(&connection->delivery));
        feed_unread(connection);
    }
}

static void on_timer(struct timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, timer);

    if (connection->state == CONNECTION_WAITING) {
        deliver(connection);
    } else if (connection->state == CONNECTION_SENDING) {
        on_delivered(connection, delivery_go_on(&connection->delivery));
    }
    feed_unread(connection);
}

static void on_closed(void *owner)
{
    struct connection *connection = owner;

    forget_request(connection);
    buf_reset(&connection->unread);
    server_forget(connection->server, &connection->in_connections, connection);
}

static const struct stream_ops ops = {
    .on_open = on_open,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

struct connection *connection_open(struct server *server, struct stream *stream, uint64_t number)
{
    struct blocks *blocks = loop_blocks(server->loop);
    struct connection *connection = server_take_connection(server);

    if (connection == NULL) {
        stream_close(stream, false);
        return NULL;
    }
    connection->server = server;
    connection->stream = stream;
    connection->number = number;
    list_init(&connection->in_connections);
    timer_init(&connection->timer, server->loop, on_timer);
    arena_init(&connection->arena, blocks);
    buf_init(&connection->head_raw, blocks, HEAD_BYTES_MAX + UNREAD_BYTES_MAX);
    buf_init(&connection->body, blocks, REQUEST_BODY_BYTES_KEPT);
    buf_init(&connection->unread, blocks, UNREAD_BYTES_MAX);
    connection->state = server->tls == NULL ? CONNECTION_READING : CONNECTION_OPENING;
    stream_attach(stream, &ops, connection);
    if (server->tls != NULL) {
        stream_tls_accept(stream, server->tls, BYTES_NONE);
    }
    return connection;
}

struct list *connection_link(struct connection *connection)
{
    return &connection->in_connections;
}

struct connection *connection_of_link(struct list *in_connections)
{
    return container_of(in_connections, struct connection, in_connections);
}
