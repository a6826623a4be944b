/*
 * The tiny server of httpd.h. A connection is READING (a request, or the wait
 * for one), HANDLING (the handler owes an answer), WRITING (a large answer waits
 * for a slow reader), LEAVING (the last answer goes out) or CLOSED. What a caller sends behind a request while that is handled is not
 * kept: the answer then closes the connection.
 *
 * A closed connection is buried in the loop's closing phase; when an answer is
 * still owed to it then, by that answer.
 */
#include "weir/app/httpd.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/arena.h"
#include "weir/base/clock.h"
#include "weir/base/list.h"
#include "weir/http/message.h"
#include "weir/http/write.h"
#include "weir/io/loop.h"
#include "weir/io/peer.h"
#include "weir/io/stream.h"
#include "weir/io/timer.h"

#define BLOCKS_KEPT 8
#define HEAD_OUT_BYTES 512
#define LINGER_US UINT64_C(1000000) /* for the peer to end its side too */

enum connection_state {
    CONNECTION_READING,
    CONNECTION_HANDLING,
    CONNECTION_WRITING,
    CONNECTION_LEAVING,
    CONNECTION_CLOSED,
};

struct httpd {
    struct loop *loop; /* borrowed */
    httpd_handler handler;
    void *owner; /* of the handler; borrowed */
    uint64_t head_us;
    struct acceptor *acceptor; /* owned; NULL once closed */
    struct list connections;   /* owned */
    int connection_count;
    struct blocks blocks; /* the memory of requests and answers */
};

struct connection {
    struct httpd *httpd; /* borrowed */
    struct list in_connections;
    enum connection_state state;
    struct stream *stream; /* owned; NULL once closed */
    struct timer timer;
    struct arena arena;           /* of the request */
    struct http_message *message; /* in the arena; NULL between requests */
    struct httpd_request request;
    struct buf body; /* of the answer */
    const char *allowed;  /* for 405; static; NULL: none */
    bool head_only;       /* the answer to HEAD */
    bool keep;            /* the connection serves another request */
    bool ended;           /* the peer sends nothing more */
    bool owed;            /* the handler has not answered yet */
};

static void enter(struct connection *connection, enum connection_state state)
{
    connection->state = state;
}

/* The server's own memory outlives its last connection by nothing. */
static void free_when_empty(struct httpd *httpd)
{
    if (httpd->acceptor == NULL && httpd->connection_count == 0) {
        blocks_close(&httpd->blocks);
        free(httpd);
    }
}

static void bury(struct connection *connection)
{
    struct httpd *httpd = connection->httpd;
    arena_reset(&connection->arena);
    buf_reset(&connection->body);
    list_remove(&connection->in_connections);
    free(connection);
    httpd->connection_count--;
    free_when_empty(httpd);
}

/* The loop's closing phase: nothing of ours is on the stack. */
static void on_closed(void *owner)
{
    struct connection *connection = owner;
    connection->stream = NULL;
    connection->request.stream = NULL;
    if (!connection->owed) {
        bury(connection);
    }
}

static void close_connection(struct connection *connection)
{
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    enter(connection, CONNECTION_CLOSED);
    timer_stop(&connection->timer);
    stream_close(connection->stream, false);
}

/* Nothing more is served here: our side ends when the queue is out, and the peer's end closes the connection. */
static void leave(struct connection *connection)
{
    enter(connection, CONNECTION_LEAVING);
    timer_set_after(&connection->timer, HTTPD_WRITE_US);
    stream_resume(connection->stream);
    stream_shut(connection->stream);
}

/* What came in is no request of ours: a short answer, and the end. */
static void refuse(struct connection *connection, uint16_t status)
{
    char text[HEAD_OUT_BYTES];
    struct http_writer head;
    http_write_init(&head, text, sizeof(text));
    http_write_status_line(&head, status);
    http_write_field_u64(&head, BYTES("Content-Length"), 0);
    http_write_lines(&head, BYTES("Connection: close\r\n"));
    http_write_end(&head);
    struct bytes part = http_write_bytes(&head);
    struct stream_wrote wrote = stream_write(connection->stream, &part, 1);
    if (wrote.err != ERR_OK) {
        close_connection(connection);
        return;
    }
    leave(connection);
}

static uint16_t fault_status(enum http_fault fault)
{
    switch (fault) {
    case HTTP_FAULT_METHOD:
        return 405;
    case HTTP_FAULT_NOT_IMPLEMENTED:
        return 501;
    case HTTP_FAULT_VERSION:
        return 505;
    case HTTP_FAULT_URI_TOO_LONG:
        return 414;
    case HTTP_FAULT_HEAD_TOO_LARGE:
        return 431;
    case HTTP_FAULT_BODY_TOO_LARGE:
        return 413;
    case HTTP_FAULT_EXPECTATION:
        return 417;
    case HTTP_FAULT_NO_ROOM:
        return 503;
    case HTTP_FAULT_NONE:
    case HTTP_FAULT_MALFORMED:
        break;
    }
    return 400;
}

/* Ready for the next request on this connection. */
static void begin_reading(struct connection *connection)
{
    arena_reset(&connection->arena);
    connection->message = NULL;
    connection->allowed = NULL;
    enter(connection, CONNECTION_READING);
    timer_set_after(&connection->timer, HTTPD_IDLE_US);
}

static void on_drain(void *owner)
{
    struct connection *connection = owner;
    if (connection->state == CONNECTION_WRITING) {
        begin_reading(connection);
        stream_resume(connection->stream);
    } else if (connection->state == CONNECTION_LEAVING) {
        if (connection->ended) {
            close_connection(connection);
        } else {
            timer_set_after(&connection->timer, LINGER_US);
        }
    }
}

static void write_head(struct connection *connection, struct http_writer *head, uint16_t status, const char *type)
{
    http_write_status_line(head, status);
    http_write_field(head, BYTES("Date"), bytes_from_text(http_date(clock_wall_us())));
    http_write_field(head, BYTES("Content-Type"), bytes_from_text(type));
    http_write_field_u64(head, BYTES("Content-Length"), connection->body.len);
    http_write_field(head, BYTES("Cache-Control"), BYTES("no-store"));
    if (connection->allowed != NULL) {
        http_write_field(head, BYTES("Allow"), bytes_from_text(connection->allowed));
    }
    if (!connection->keep) {
        http_write_lines(head, BYTES("Connection: close\r\n"));
    }
    http_write_end(head);
}

/* Everything goes to the stream at once; it queues what the kernel does not take, bounded by the body's own cap. */
static enum err send_answer(struct connection *connection, uint16_t status, const char *type)
{
    char text[HEAD_OUT_BYTES];
    struct http_writer head;
    http_write_init(&head, text, sizeof(text));
    write_head(connection, &head, status, type);
    CHECK(!head.overflow);
    struct bytes first = http_write_bytes(&head);
    struct stream_wrote wrote = stream_write(connection->stream, &first, 1);
    if (connection->head_only) {
        buf_reset(&connection->body);
    }
    while (wrote.err == ERR_OK && connection->body.len > 0) {
        struct bytes part = buf_front(&connection->body);
        wrote = stream_write(connection->stream, &part, 1);
        buf_consume(&connection->body, part.len);
    }
    buf_reset(&connection->body);
    return wrote.err;
}

struct buf *httpd_body(struct httpd_request *request)
{
    return &container_of(request, struct connection, request)->body;
}

void httpd_reply(struct httpd_request *request, uint16_t status, const char *type)
{
    struct connection *connection = container_of(request, struct connection, request);
    CHECK(connection->owed);
    connection->owed = false;
    if (connection->state == CONNECTION_CLOSED) {
        if (connection->stream == NULL) {
            bury(connection);
        }
        return;
    }
    if (connection->ended || connection->httpd->acceptor == NULL) {
        connection->keep = false;
    }
    if (send_answer(connection, status, type) != ERR_OK) {
        close_connection(connection);
    } else if (!connection->keep) {
        leave(connection);
    } else if (stream_queued_bytes(connection->stream) > STREAM_QUEUE_HIGH_BYTES) {
        enter(connection, CONNECTION_WRITING);
        timer_set_after(&connection->timer, HTTPD_WRITE_US);
    } else {
        begin_reading(connection);
        stream_resume(connection->stream);
    }
}

void httpd_reply_text(struct httpd_request *request, uint16_t status, const char *type, struct bytes text)
{
    struct buf *body = httpd_body(request);
    buf_reset(body);
    if (buf_append(body, text, BLOCKS_MAY) != ERR_OK) {
        status = 500;
    }
    httpd_reply(request, status, type);
}

bool httpd_caller_is_gone(const struct httpd_request *request)
{
    return request->stream == NULL || peer_is_gone(request->stream);
}

void httpd_refuse_method(struct httpd_request *request, const char *allowed)
{
    struct connection *connection = container_of(request, struct connection, request);
    connection->allowed = allowed;
    httpd_reply_text(request, 405, "text/plain; charset=utf-8", BYTES("method not allowed\n"));
}

static void handle(struct connection *connection, bool more)
{
    const struct http_head *head = http_message_head(connection->message);
    connection->request.method = head->method;
    connection->request.path = head->path;
    connection->request.query = head->query;
    connection->request.stream = connection->stream;
    connection->head_only = bytes_equal(head->method, BYTES("HEAD"));
    connection->keep = head->keep_alive && !more;
    connection->owed = true;
    enter(connection, CONNECTION_HANDLING);
    timer_stop(&connection->timer);
    stream_pause(connection->stream);
    connection->httpd->handler(connection->httpd->owner, &connection->request);
}

static bool begin_message(struct connection *connection)
{
    const struct http_limits limits = {
        .head_bytes_max = HTTPD_HEAD_BYTES_MAX,
        .target_bytes_max = HTTP_TARGET_BYTES_MAX,
        .body_bytes_max = HTTPD_BODY_BYTES_MAX,
    };
    connection->message = http_message_new(&connection->arena, HTTP_REQUEST_MESSAGE, &limits, false);
    if (connection->message == NULL) {
        refuse(connection, 503);
        return false;
    }
    timer_set_after(&connection->timer, connection->httpd->head_us);
    return true;
}

/* Feeds the request; its body is read and dropped. */
static void advance(struct connection *connection, struct bytes data)
{
    if (connection->message == NULL && !begin_message(connection)) {
        return;
    }
    for (;;) {
        struct bytes body;
        switch (http_message_feed(connection->message, &data, &body)) {
        case HTTP_HEAD:
        case HTTP_BODY:
            continue;
        case HTTP_MORE:
            return;
        case HTTP_END:
            handle(connection, data.len > 0);
            return;
        case HTTP_FAULTED:
            refuse(connection, fault_status(http_message_fault(connection->message)));
            return;
        }
    }
}

static void on_read(void *owner, struct bytes data)
{
    struct connection *connection = owner;
    if (connection->state == CONNECTION_READING) {
        advance(connection, data);
    }
}

/* A caller that only closed its sending side still reads the answer. */
static void on_end(void *owner, enum err err)
{
    struct connection *connection = owner;
    connection->ended = true;
    if (err == ERR_EOF && connection->state == CONNECTION_HANDLING) {
        return;
    }
    if (err == ERR_EOF && stream_queued_bytes(connection->stream) > 0) {
        leave(connection);
        return;
    }
    close_connection(connection);
}

static void on_open(void *owner, enum err err)
{
    (void)owner;
    (void)err; /* plain and accepted: it is never called */
}

static const struct stream_ops CONNECTION_OPS = {
    .on_open = on_open,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

/* Slow writers of heads and slow readers of answers lose their place; a write that progresses gets more time. */
static void on_timer(struct timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, timer);
    if (stream_queued_bytes(connection->stream) > 0) {
        uint64_t due_us = stream_progress_us(connection->stream) + HTTPD_WRITE_US;
        if (due_us > clock_now_us()) {
            timer_set(timer, due_us);
            return;
        }
    }
    if (connection->state == CONNECTION_READING && connection->message != NULL &&
        http_message_begun(connection->message)) {
        refuse(connection, 408);
        return;
    }
    close_connection(connection);
}

static void on_accept(void *owner, struct stream *stream)
{
    struct httpd *httpd = owner;
    struct connection *connection = NULL;
    if (httpd->connection_count < HTTPD_CONNECTIONS_MAX) {
        connection = calloc(1, sizeof(*connection));
    }
    if (connection == NULL) {
        stream_close(stream, false);
        return;
    }
    connection->httpd = httpd;
    connection->stream = stream;
    list_init(&connection->in_connections);
    list_push_back(&httpd->connections, &connection->in_connections);
    httpd->connection_count++;
    timer_init(&connection->timer, httpd->loop, on_timer);
    arena_init(&connection->arena, &httpd->blocks);
    buf_init(&connection->body, &httpd->blocks, HTTPD_ANSWER_BYTES_MAX);
    begin_reading(connection);
    timer_set_after(&connection->timer, httpd->head_us);
    stream_attach(stream, &CONNECTION_OPS, connection);
}

struct httpd *httpd_open(const struct httpd_options *options, const struct addr_listen *at, enum err *err, char *why,
                         size_t size)
{
    struct httpd *httpd = calloc(1, sizeof(*httpd));
    if (httpd == NULL) {
        *err = ERR_NO_MEMORY;
        snprintf(why, size, "%s", err_sentence(*err));
        return NULL;
    }
    httpd->loop = options->loop;
    httpd->handler = options->handler;
    httpd->owner = options->owner;
    httpd->head_us = options->head_us != 0 ? options->head_us : HTTPD_HEAD_US;
    list_init(&httpd->connections);
    blocks_init(&httpd->blocks, 2 * HTTPD_ANSWER_BYTES_MAX, BLOCKS_KEPT);
    httpd->acceptor = acceptor_open(options->loop, at, HTTPD_CONNECTIONS_MAX, on_accept, httpd, err, why, size);
    if (httpd->acceptor == NULL) {
        blocks_close(&httpd->blocks);
        free(httpd);
        return NULL;
    }
    return httpd;
}

uint16_t httpd_port(const struct httpd *httpd)
{
    return acceptor_port(httpd->acceptor);
}

int httpd_connection_count(const struct httpd *httpd)
{
    return httpd->connection_count;
}

void httpd_close(struct httpd *httpd)
{
    if (httpd == NULL) {
        return;
    }
    struct acceptor *acceptor = httpd->acceptor;
    httpd->acceptor = NULL;
    acceptor_close(acceptor);
    list_each (connection, after, &httpd->connections, struct connection, in_connections) {
        close_connection(connection);
    }
    free_when_empty(httpd);
}
