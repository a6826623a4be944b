/*
 * The idempotency key that stands in a JSON body (RFC 6901 pointer to a string
 * member). A body in which any object names a member twice has two readings and
 * is refused: one side would take the first, the other the last. jansson is
 * known to src/http/json_key.c alone.
 */
#ifndef WEIR_HTTP_JSON_KEY_H
#define WEIR_HTTP_JSON_KEY_H

#include <stddef.h>

#include "weir/base/buf.h"
#include "weir/base/bytes.h"

enum json_key_result {
    JSON_KEY_FOUND,
    JSON_KEY_ABSENT,     /* no such member, or null */
    JSON_KEY_NOT_TEXT,   /* it is there and no string */
    JSON_KEY_TOO_LONG,   /* does not fit into `text` */
    JSON_KEY_BAD,        /* not JSON, nested too deeply, or a member named twice */
    JSON_KEY_NO_MEMORY,
};

/* UTF-8 text of the member, without NUL, in `text` (size bytes), *len of it. */
enum json_key_result json_key_find(const struct buf *body, struct bytes pointer, char *text, size_t size, size_t *len);

#endif
