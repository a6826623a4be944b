/*
 * Reads one HTTP/1 message, request or response, fed with whatever the socket
 * gives. In order: collect the head (bounded) into the arena, check its bytes
 * (http/scan.h), llhttp in strict mode, policy over the fields. Body bytes come
 * out as slices of what was fed. What has two readings is refused: the first
 * fault is kept with its reason and the message never goes on.
 *
 * Reference: RFC 9112; docs/decisions on what is stricter. llhttp is known to
 * src/http/parser.c alone.
 */
#ifndef WEIR_HTTP_MESSAGE_H
#define WEIR_HTTP_MESSAGE_H

#include "weir/base/arena.h"
#include "weir/http/head.h"

enum http_kind { HTTP_REQUEST_MESSAGE, HTTP_RESPONSE_MESSAGE };

/* What a fault is answered with; the gate maps it to a reason. Responses use HTTP_FAULT_MALFORMED and the limits. */
enum http_fault {
    HTTP_FAULT_NONE,
    HTTP_FAULT_MALFORMED,      /* 400 */
    HTTP_FAULT_METHOD,         /* 405: known, never allowed (TRACE, CONNECT) */
    HTTP_FAULT_NOT_IMPLEMENTED,/* 501: unknown method or transfer coding */
    HTTP_FAULT_VERSION,        /* 505 */
    HTTP_FAULT_URI_TOO_LONG,   /* 414 */
    HTTP_FAULT_HEAD_TOO_LARGE, /* 431: bytes or fields */
    HTTP_FAULT_BODY_TOO_LARGE, /* 413 */
    HTTP_FAULT_EXPECTATION,    /* 417 */
    HTTP_FAULT_NO_ROOM,        /* 503 shed: the block supply refused */
};

struct http_limits {
    uint32_t head_bytes_max;   /* the whole head, start line included */
    uint32_t target_bytes_max; /* 8 KiB by default (HTTP_TARGET_BYTES_MAX) */
    uint64_t body_bytes_max;   /* decoded; UINT64_MAX: none. May be lowered after the head, before more is fed */
};
#define HTTP_TARGET_BYTES_MAX 8192
#define HTTP_CHUNK_EXTENSION_BYTES_MAX 256
#define HTTP_TRAILER_BYTES_MAX 4096
#define HTTP_INTERIM_MAX 10 /* 1xx answers before the final one */

enum http_event {
    HTTP_MORE,     /* everything was used; feed again */
    HTTP_HEAD,     /* message->head is complete and accepted; feed the rest */
    HTTP_BODY,     /* *body is a run of body bytes, borrowed from `data`; feed the rest */
    HTTP_END,      /* the message is complete; `data` was used up to its end, what follows is another message's */
    HTTP_FAULTED,  /* message->fault and fault_text; nothing more can be fed */
};

struct http_message; /* sized by http_message_bytes; taken from the arena of the exchange or call */

/*
 * A message in `arena`. For responses `request_method_head` says that a HEAD
 * was asked for (no body follows). NULL: no room.
 */
WEIR_MUSTCHECK struct http_message *http_message_new(struct arena *arena, enum http_kind kind,
                                                     const struct http_limits *limits, bool request_method_head);

/*
 * Takes bytes off the front of *data (advances it) and says what came of them.
 * Call again until HTTP_MORE, HTTP_END or HTTP_FAULTED. Interim responses (1xx)
 * are swallowed inside; more than HTTP_INTERIM_MAX and 101 are faults.
 */
enum http_event http_message_feed(struct http_message *message, struct bytes *data, struct bytes *body);

/*
 * The peer ended the connection here: HTTP_END when the message was complete (no message is framed by its end), HTTP_MORE
 * when nothing had begun, else HTTP_FAULTED.
 */
enum http_event http_message_finish(struct http_message *message);

const struct http_head *http_message_head(const struct http_message *message); /* valid after HTTP_HEAD */
/* Ditto. A longer content_length faults at once: check. */
void http_message_set_body_max(struct http_message *message, uint64_t body_bytes_max);
enum http_fault http_message_fault(const struct http_message *message);
const char *http_message_fault_text(const struct http_message *message); /* "two Content-Length fields"; static */
bool http_message_begun(const struct http_message *message);             /* a byte other than a leading CRLF was fed */
uint64_t http_message_body_bytes(const struct http_message *message);    /* decoded so far */
uint64_t http_message_wire_bytes(const struct http_message *message);    /* used so far, head included */

#endif
