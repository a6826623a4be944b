/*
 * Finds the end of a body: Content-Length or chunked, one byte machine. llhttp
 * is not asked (docs/decisions/0002-body-framing.md).
 */
#ifndef WEIR_HTTP_BODY_INTERNAL_H
#define WEIR_HTTP_BODY_INTERNAL_H

#include "gather_internal.h"
#include "rules_internal.h"

#define BODY_STATE_TABLE(ROW)                                             \
    ROW(LENGTH)          /* `left` bytes to come, then the end */         \
    ROW(SIZE)            /* the hex digits of a chunk's size */           \
    ROW(EXTENSION_NAME)  /* behind ';' */                                 \
    ROW(EXTENSION_VALUE) /* behind '=' */                                 \
    ROW(SIZE_LF)         /* behind the CR of the size line */             \
    ROW(CHUNK)           /* `left` bytes of the chunk to come */          \
    ROW(CHUNK_CR)        /* behind the chunk's last byte */               \
    ROW(CHUNK_LF)                                                         \
    ROW(TRAILER)         /* behind the last chunk's line */               \
    ROW(DONE)

enum body_state {
#define BODY_STATE_ENUM(name) BODY_##name,
    BODY_STATE_TABLE(BODY_STATE_ENUM)
#undef BODY_STATE_ENUM
};

struct body {
    enum body_state state;
    enum http_kind kind;
    struct arena *arena;      /* borrowed from the message; trailers wait there */
    uint64_t left;            /* bytes of the body or of the chunk that are still to come */
    uint64_t decoded;         /* body bytes handed out so far */
    uint32_t size_digits;     /* of this chunk's size */
    uint32_t extension_bytes; /* of all chunks, with their ';' */
    uint32_t token_bytes;     /* of the extension's name or value that is being read */
    struct gather trailer;
};

void body__init(struct body *body, struct arena *arena, enum http_kind kind, enum http_framing framing,
                uint64_t length);
/*
 * As http_message_feed: HTTP_MORE, HTTP_BODY, HTTP_END or HTTP_FAULTED with `verdict`. `decoded_max` bounds the
 * decoded bytes of a chunked body; a length was compared with it before.
 */
enum http_event body__feed(struct body *body, struct bytes *data, struct bytes *run, uint64_t decoded_max,
                           struct verdict *verdict);

#endif
