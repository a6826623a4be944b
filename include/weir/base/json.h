/*
 * Writes JSON (RFC 8259) into a fixed buffer, without allocating. Text that is
 * not UTF-8 is escaped byte by byte as \u00XX, so the output is always valid.
 * What does not fit sets `overflow` and is left out, a value together with its
 * key, so that what was written stays well formed; the caller decides. Reading
 * JSON is jansson's work.
 */
#ifndef WEIR_BASE_JSON_H
#define WEIR_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/bytes.h"

struct json {
    char *at;      /* borrowed from the caller */
    size_t size;   /* of the buffer, in bytes */
    size_t len;    /* written so far; no NUL is added */
    bool comma;    /* the next value needs one before it */
    bool overflow; /* something did not fit */

    /* json.c's own: a key that waits for its value */
    bool keyed;
    bool key_lost;    /* the key itself did not fit: its value is left out too */
    bool key_comma;   /* `comma` before the key */
    size_t key_at;    /* `len` before the key */
};

/* Begins anew in the caller's buffer of `size` bytes. */
void json_init(struct json *json, char *at, size_t size);
/* What was written so far, borrowed from that buffer. */
struct bytes json_bytes(const struct json *json);

/* True: `text` may stand between quotes as it is. False: not all of it, or it is not ASCII and needs a closer look. */
bool json_is_plain(struct bytes text);

/* Inside an object give the key first; inside an array none. */
void json_object_open(struct json *json);
void json_object_close(struct json *json);
void json_array_open(struct json *json);
void json_array_close(struct json *json);
/* The key is a literal of ours and is not escaped. */
void json_key_bytes(struct json *json, struct bytes key);
void json_add_string(struct json *json, struct bytes value);
void json_add_u64(struct json *json, uint64_t value);
void json_add_i64(struct json *json, int64_t value);
void json_add_bool(struct json *json, bool value);
void json_add_null(struct json *json);
/* Text that is JSON already. */
void json_add_raw(struct json *json, struct bytes value);

/* Inline, so that the length of a literal is known when it is compiled. */
static inline void json_key(struct json *json, const char *key)
{
    json_key_bytes(json, bytes_of(key, strlen(key)));
}

/* key and value in one. */
static inline void json_put_string(struct json *json, const char *key, struct bytes value)
{
    json_key(json, key);
    json_add_string(json, value);
}

/* NULL gives null. */
static inline void json_put_text(struct json *json, const char *key, const char *value)
{
    json_key(json, key);
    if (value == NULL) {
        json_add_null(json);
    } else {
        json_add_string(json, bytes_of(value, strlen(value)));
    }
}

/* A number under a key, and a text of ours: printable ASCII without quotes and backslashes, which is not looked at again. */
void json_put_number(struct json *json, struct bytes key, uint64_t value);
void json_put_quoted(struct json *json, struct bytes key, struct bytes value);

static inline void json_put_u64(struct json *json, const char *key, uint64_t value)
{
    json_put_number(json, bytes_of(key, strlen(key)), value);
}

static inline void json_put_plain(struct json *json, const char *key, struct bytes value)
{
    json_put_quoted(json, bytes_of(key, strlen(key)), value);
}

static inline void json_put_bool(struct json *json, const char *key, bool value)
{
    json_key(json, key);
    json_add_bool(json, value);
}

#endif
