/*
 * Finds one text in a JSON body. jansson judges the whole body (grammar, UTF-8,
 * members named twice); what it builds for that lives only in here. It takes
 * about a hundred bytes and half a microsecond for a value, on the loop, so the
 * body's values and its depth are counted first and bounded: what is beyond is
 * no payment.
 */
#include "weir/http/json_key.h"

#include <jansson.h>

#include "weir/base/check.h"

/* Numbers are read as reals: of integers, jansson refuses those above 64 bits, and their value is nothing to us. */
#define FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL)

/* ---- how large it is ---- */

struct shape {
    unsigned depth, depth_max;
    unsigned values;
    bool in_text, escaped;
};

/* Of well-formed JSON it counts exactly; what it makes of anything else does not matter, since that is refused. */
static void shape_note(struct shape *shape, char byte)
{
    if (shape->in_text) {
        shape->in_text = shape->escaped || byte != '"';
        shape->escaped = !shape->escaped && byte == '\\';
        return;
    }
    switch (byte) {
    case '"':
        shape->in_text = true;
        break;
    case '{':
    case '[':
        shape->values++;
        shape->depth++;
        shape->depth_max = shape->depth > shape->depth_max ? shape->depth : shape->depth_max;
        break;
    case '}':
    case ']':
        shape->depth -= shape->depth > 0;
        break;
    case ',':
        shape->values++;
        break;
    default:
        break;
    }
}

static struct bytes unread_of(const struct block *block)
{
    return bytes_of(block->data + block->read_bytes, block->used_bytes - block->read_bytes);
}

static bool fits(const struct buf *body)
{
    struct shape shape = {0};

    for (const struct block *block = body->first; block != NULL; block = block->next) {
        struct bytes bytes = unread_of(block);

        for (size_t i = 0; i < bytes.len; i++) {
            shape_note(&shape, bytes.at[i]);
        }
    }
    return shape.depth_max <= JSON_KEY_DEPTH_MAX && shape.values <= JSON_KEY_VALUES_MAX;
}

/* ---- reading ---- */

struct source {
    const struct block *block; /* NULL: the end */
    size_t offset;             /* in its unread bytes */
};

/* jansson's json_load_callback_t. */
static size_t read_more(void *to, size_t size, void *owner)
{
    struct source *source = owner;
    size_t len = 0;

    while (len < size && source->block != NULL) {
        struct bytes rest = bytes_take(bytes_skip(unread_of(source->block), source->offset), size - len);

        if (rest.len == 0) {
            source->block = source->block->next;
            source->offset = 0;
            continue;
        }
        memcpy((char *)to + len, rest.at, rest.len);
        len += rest.len;
        source->offset += rest.len;
    }
    return len;
}

/* ---- RFC 6901 ---- */

/* Whether the token, with ~1 for / and ~0 for ~, is `name`. */
static bool token_is(struct bytes token, struct bytes name)
{
    while (token.len > 0) {
        char byte = token.at[0];
        size_t len = 1;

        if (byte == '~') {
            if (token.len < 2 || (token.at[1] != '0' && token.at[1] != '1')) {
                return false;
            }
            byte = token.at[1] == '0' ? '~' : '/';
            len = 2;
        }
        if (name.len == 0 || name.at[0] != byte) {
            return false;
        }
        token = bytes_skip(token, len);
        name = bytes_skip(name, 1);
    }
    return name.len == 0;
}

static json_t *member_of(json_t *object, struct bytes token)
{
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        if (token_is(token, bytes_of(json_object_iter_key(at), json_object_iter_key_len(at)))) {
            return json_object_iter_value(at);
        }
    }
    return NULL;
}

static json_t *element_of(const json_t *array, struct bytes token)
{
    uint64_t index;

    if ((token.len > 1 && token.at[0] == '0') || !bytes_to_u64(token, &index) || index >= json_array_size(array)) {
        return NULL;
    }
    return json_array_get(array, (size_t)index);
}

/* Borrowed from `value`; NULL: nothing stands there. */
static json_t *follow(json_t *value, struct bytes pointer)
{
    while (value != NULL && pointer.len > 0) {
        struct bytes token;

        CHECK(pointer.at[0] == '/');
        pointer = bytes_skip(pointer, 1);
        token = bytes_take(pointer, bytes_find(pointer, '/'));
        pointer = bytes_skip(pointer, token.len);
        value = json_is_object(value)  ? member_of(value, token)
                : json_is_array(value) ? element_of(value, token)
                                       : NULL;
    }
    return value;
}

static enum json_key_result read_text(const json_t *value, char *text, size_t size, size_t *len)
{
    struct bytes found;

    if (value == NULL || json_is_null(value)) {
        return JSON_KEY_ABSENT;
    }
    if (!json_is_string(value)) {
        return JSON_KEY_NOT_TEXT;
    }
    found = bytes_of(json_string_value(value), json_string_length(value));
    if (bytes_find(found, '\0') != SIZE_MAX) {
        return JSON_KEY_NOT_TEXT;
    }
    if (found.len > size) {
        return JSON_KEY_TOO_LONG;
    }
    bytes_put(text, found);
    *len = found.len;
    return JSON_KEY_FOUND;
}

enum json_key_result json_key_find(const struct buf *body, struct bytes pointer, char *text, size_t size, size_t *len)
{
    struct source source = {.block = body->first};
    enum json_key_result result;
    json_error_t error;
    json_t *whole;

    if (!fits(body)) {
        return JSON_KEY_BAD;
    }
    whole = json_load_callback(read_more, &source, FLAGS, &error);
    if (whole == NULL) {
        return json_error_code(&error) == json_error_out_of_memory ? JSON_KEY_NO_MEMORY : JSON_KEY_BAD;
    }
    result = read_text(follow(whole, pointer), text, size, len);
    json_decref(whole);
    return result;
}
