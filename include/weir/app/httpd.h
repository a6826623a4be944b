/*
 * A tiny HTTP/1.1 server for the process's own pages: the monitor and the
 * admin socket share it. It reads one request at a time, hands it to the
 * handler, and writes the whole answer with its length. A handful of
 * connections, small requests, answers of a few MiB: nothing of the gate
 * passes here, and a busy gate cannot starve it, since its memory is its own.
 */
#ifndef WEIR_APP_HTTPD_H
#define WEIR_APP_HTTPD_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/buf.h"
#include "weir/base/bytes.h"
#include "weir/base/err.h"

struct loop;
struct stream;
struct httpd;

#define HTTPD_CONNECTIONS_MAX 16
#define HTTPD_HEAD_BYTES_MAX 8192
#define HTTPD_BODY_BYTES_MAX 4096            /* of a request; nobody reads it yet */
#define HTTPD_ANSWER_BYTES_MAX (16u << 20)
#define HTTPD_HEAD_US UINT64_C(5000000)      /* from the first byte (or the connection) to the end of the request */
#define HTTPD_IDLE_US UINT64_C(75000000)     /* between requests */
#define HTTPD_WRITE_US UINT64_C(15000000)    /* without progress */

/* One request, whole. Slices are valid until the answer. */
struct httpd_request {
    struct bytes method;
    struct bytes path;   /* without the query */
    struct bytes query;  /* without '?'; at NULL: none */
    struct stream *stream; /* borrowed; to ask who is there */
};

/*
 * Answers by httpd_reply, once: inside the call, or later (then the connection
 * waits; when it is gone meanwhile, the answer is dropped).
 */
typedef void (*httpd_handler)(void *owner, struct httpd_request *request);

struct httpd_options {
    struct loop *loop;      /* borrowed, for the server's life */
    httpd_handler handler;
    void *owner;            /* of the handler; borrowed */
    uint64_t head_us;       /* 0: HTTPD_HEAD_US */
};

/* Listens. NULL: *err and `why` (size bytes) say what failed. */
WEIR_MUSTCHECK struct httpd *httpd_open(const struct httpd_options *options, const struct addr_listen *at, enum err *err,
                                        char *why, size_t size);
/* The port it listens on, or 0. */
uint16_t httpd_port(const struct httpd *httpd);
/* Connections now. */
int httpd_connection_count(const struct httpd *httpd);
/* Closes the socket and all connections; the memory goes when the loop has turned and no answer is owed. */
void httpd_close(struct httpd *httpd);

/* Appends to the answer's body; ERR_FULL beyond HTTPD_ANSWER_BYTES_MAX, and the answer becomes a 500. */
struct buf *httpd_body(struct httpd_request *request);
/* Sends the answer with what is in httpd_body. `type` as in Content-Type. */
void httpd_reply(struct httpd_request *request, uint16_t status, const char *type);
/* The same with `text` as the body. */
void httpd_reply_text(struct httpd_request *request, uint16_t status, const char *type, struct bytes text);
/*
 * Whether nobody is there any more who would read the answer, as far as it can
 * be seen (peer_is_gone): a handler that works for long may ask and stop. The
 * answer is owed all the same.
 */
bool httpd_caller_is_gone(const struct httpd_request *request);
/* 405 that names the allowed methods ("GET, HEAD"). */
void httpd_refuse_method(struct httpd_request *request, const char *allowed);

#endif
