/*
 * A parsed and accepted head of a message: one reading, no raw bytes. Slices
 * point into the arena of the exchange. A head only exists after the byte
 * check, llhttp in strict mode and the policy over the fields all said yes
 * (http/message.h).
 */
#ifndef WEIR_HTTP_HEAD_H
#define WEIR_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"

#define HTTP_FIELDS_MAX 100

/*     name                 singleton: a second line is refused */
#define HTTP_FIELD_TABLE(ROW)                          \
    ROW(OTHER,              "",                    0)  \
    ROW(ACCEPT_ENCODING,    "accept-encoding",     0)  \
    ROW(AUTHORIZATION,      "authorization",       1)  \
    ROW(CONNECTION,         "connection",          0)  \
    ROW(CONTENT_LENGTH,     "content-length",      1)  \
    ROW(CONTENT_TYPE,       "content-type",        1)  \
    ROW(DATE,               "date",                1)  \
    ROW(EXPECT,             "expect",              1)  \
    ROW(FORWARDED,          "forwarded",           0)  \
    ROW(HOST,               "host",                1)  \
    ROW(HTTP2_SETTINGS,     "http2-settings",      0)  \
    ROW(IDEMPOTENCY_KEY,    "idempotency-key",     1)  \
    ROW(IDEMPOTENT_REPLAYED,"idempotent-replayed", 0)  \
    ROW(IF_ANY,             "if-*",                0)  \
    ROW(KEEP_ALIVE,         "keep-alive",          0)  \
    ROW(PROXY_CONNECTION,   "proxy-connection",    0)  \
    ROW(RANGE,              "range",               0)  \
    ROW(RETRY_AFTER,        "retry-after",         0)  \
    ROW(TE,                 "te",                  0)  \
    ROW(TRAILER,            "trailer",             0)  \
    ROW(TRANSFER_ENCODING,  "transfer-encoding",   1)  \
    ROW(UPGRADE,            "upgrade",             0)  \
    ROW(USER_AGENT,         "user-agent",          0)  \
    ROW(VIA,                "via",                 0)  \
    ROW(WEIR_ANY,           "weir-*",              0)  \
    ROW(X_FORWARDED_ANY,    "x-forwarded-*",       0)  \
    ROW(X_REAL_IP,          "x-real-ip",           0)  \
    ROW(X_REQUEST_ID,       "x-request-id",        1)

enum http_field_id {
#define HTTP_FIELD_ENUM(name, text, singleton) HTTP_FIELD_##name,
    HTTP_FIELD_TABLE(HTTP_FIELD_ENUM)
#undef HTTP_FIELD_ENUM
    HTTP_FIELD_COUNT
};

/* The id of a field name, any case. "if-*", "weir-*" and "x-forwarded-*" stand for every name with that start. */
enum http_field_id http_field_identify(struct bytes name);

struct http_field {
    struct bytes name;  /* as the sender spelt it */
    struct bytes value; /* without surrounding white space */
    enum http_field_id id;
    bool hop_by_hop;    /* nominated by Connection, or hop-by-hop by its id: not passed on */
};

enum http_framing {
    HTTP_FRAMING_NONE,    /* no body follows, whatever the head says (HEAD, 1xx, 204, 304; a request without length) */
    HTTP_FRAMING_LENGTH,  /* content_length bytes, possibly 0 */
    HTTP_FRAMING_CHUNKED,
};

struct http_head {
    /* request */
    struct bytes method;
    struct bytes target;     /* origin form as sent, or "*" */
    struct bytes path;       /* of target, without the query */
    struct bytes query;      /* without '?'; at NULL: none */
    struct bytes authority;  /* Host, as sent */
    struct bytes host;       /* Host without its port */
    bool expects_continue;   /* Expect: 100-continue, 1.1 */
    /* response */
    uint16_t status;
    /* both */
    struct http_field *fields;
    int field_count;
    uint8_t minor;             /* HTTP/1.minor */
    bool keep_alive;           /* the sender will hold the connection open */
    enum http_framing framing;
    uint64_t content_length;   /* for HTTP_FRAMING_LENGTH */
    uint32_t seen;             /* bit 1 << id for each id that occurs */
};

/* The first field of this id, or NULL. */
const struct http_field *http_head_find(const struct http_head *head, enum http_field_id id);
/* The first field of this name, any case, or NULL. */
const struct http_field *http_head_find_name(const struct http_head *head, struct bytes name);
static inline bool http_head_has(const struct http_head *head, enum http_field_id id)
{
    return (head->seen >> id & 1u) != 0;
}

/* GET, HEAD, OPTIONS, TRACE (RFC 9110 9.2.1). */
bool http_method_is_safe(struct bytes method);

#endif
