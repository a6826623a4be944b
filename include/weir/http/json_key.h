/*
 * The idempotency key that stands in a JSON body (RFC 6901 pointer to a string
 * member). A body in which any object names a member twice has two readings and
 * is refused: one side would take the first, the other the last. jansson is
 * known to src/http/json_key.c alone. The loop waits while a body is read, so
 * its values and their depth are bounded (JSON_KEY_BAD beyond).
 */
#ifndef WEIR_HTTP_JSON_KEY_H
#define WEIR_HTTP_JSON_KEY_H

#include <stddef.h>

#include "weir/base/buf.h"
#include "weir/base/bytes.h"

#define JSON_KEY_VALUES_MAX 8192u /* commas, objects and arrays: at half a microsecond each, 4 ms */
#define JSON_KEY_DEPTH_MAX 128u

enum json_key_result {
    JSON_KEY_FOUND,
    JSON_KEY_ABSENT,     /* no such member, or null */
    JSON_KEY_NOT_TEXT,   /* it is there and no string, or a string with U+0000 in it */
    JSON_KEY_TOO_LONG,   /* does not fit into `text` */
    JSON_KEY_BAD,        /* not JSON, too many or too deep values, or a member named twice */
    JSON_KEY_NO_MEMORY,
};

/* The member's text, UTF-8 without a NUL behind it, in `text` (size bytes), *len of it. `pointer`: RFC 6901, checked. */
enum json_key_result json_key_find(const struct buf *body, struct bytes pointer, char *text, size_t size, size_t *len);

#endif
