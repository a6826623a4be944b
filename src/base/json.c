/*
 * The JSON writer. Each value is written whole or not at all: when it does not
 * fit, the length goes back to where the value, or the key before it, began,
 * so that what stands in the buffer stays well formed.
 */
#include "weir/base/json.h"

#include "utf8_internal.h"

void json_init(struct json *json, char *at, size_t size)
{
    *json = (struct json){.at = at, .size = size};
}

struct bytes json_bytes(const struct json *json)
{
    return bytes_of(json->at, json->len);
}

/* Where to go back to when the value that begins here does not fit. */
struct mark {
    size_t len;
    bool comma;
};

/* memcpy for keys and names: most are so short that calling it costs more than the copy. */
static inline void copy_short(char *to, const char *from, size_t len)
{
    uint64_t first;
    uint64_t last;

    if (len < sizeof(first) || len > 2 * sizeof(first)) {
        memcpy(to, from, len);
        return;
    }
    memcpy(&first, from, sizeof(first)); /* the two overlap */
    memcpy(&last, from + len - sizeof(last), sizeof(last));
    memcpy(to, &first, sizeof(first));
    memcpy(to + len - sizeof(last), &last, sizeof(last));
}

static inline struct mark value_start(const struct json *json)
{
    return json->keyed ? (struct mark){json->key_at, json->key_comma} : (struct mark){json->len, json->comma};
}

/* The end of every value: `fits` tells whether all of it was put. */
static inline void value_end(struct json *json, struct mark start, bool fits)
{
    json->keyed = false;
    json->key_lost = false;
    json->comma = true;
    if (!fits) {
        json->len = start.len;
        json->comma = start.comma;
        json->overflow = true;
    }
}

static inline bool put(struct json *json, const char *at, size_t len)
{
    if (len > json->size - json->len) {
        return false;
    }
    if (len > 0) {
        memcpy(json->at + json->len, at, len);
    }
    json->len += len;
    return true;
}

static inline bool put_byte(struct json *json, char byte)
{
    if (json->len == json->size) {
        return false;
    }
    json->at[json->len++] = byte;
    return true;
}

static inline bool put_comma(struct json *json)
{
    return !json->key_lost && (!json->comma || put_byte(json, ','));
}

static void put_value(struct json *json, const char *at, size_t len)
{
    struct mark start = value_start(json);

    value_end(json, start, put_comma(json) && put(json, at, len));
}

static void open_with(struct json *json, char bracket)
{
    struct mark start = value_start(json);
    bool fits = put_comma(json) && put_byte(json, bracket);

    value_end(json, start, fits);
    if (fits) {
        json->comma = false;
    }
}

static void close_with(struct json *json, char bracket)
{
    if (!put_byte(json, bracket)) {
        json->overflow = true;
    }
    json->comma = true;
}

void json_object_open(struct json *json)
{
    open_with(json, '{');
}

void json_object_close(struct json *json)
{
    close_with(json, '}');
}

void json_array_open(struct json *json)
{
    open_with(json, '[');
}

void json_array_close(struct json *json)
{
    close_with(json, ']');
}

void json_key_bytes(struct json *json, struct bytes key)
{
    size_t need = key.len + 3 + json->comma;
    char *at = json->at + json->len;

    DCHECK(!json->keyed);
    json->keyed = true;
    json->key_at = json->len;
    json->key_comma = json->comma;
    if (need > json->size - json->len) {
        json->key_lost = true; /* the value that follows is left out with it */
        json->overflow = true;
        return;
    }
    if (json->comma) {
        *at++ = ',';
    }
    *at++ = '"';
    copy_short(at, key.at, key.len);
    memcpy(at + key.len, "\":", 2);
    json->len += need;
    json->comma = false;
}

/* Where a value of `len` bytes goes, its key written before it; NULL: it does not fit, and neither is there. */
static inline char *key_and_room(struct json *json, struct bytes key, size_t len)
{
    char *at = json->at + json->len;

    DCHECK(!json->keyed);
    if (json->comma + key.len + 3 + len > json->size - json->len) {
        json->overflow = true;
        return NULL;
    }
    if (json->comma) {
        *at++ = ',';
    }
    *at++ = '"';
    copy_short(at, key.at, key.len);
    memcpy(at + key.len, "\":", 2);
    json->comma = true;
    return at + key.len + 2;
}

void json_put_number(struct json *json, struct bytes key, uint64_t value)
{
    char digits[BYTES_U64_DIGITS];
    size_t len = bytes_from_u64(value, digits);
    char *at = key_and_room(json, key, len);

    if (at != NULL) {
        copy_short(at, digits, len);
        json->len = (size_t)(at - json->at) + len;
    }
}

void json_put_quoted(struct json *json, struct bytes key, struct bytes value)
{
    char *at = key_and_room(json, key, value.len + 2);

    if (at == NULL) {
        return;
    }
    *at++ = '"';
    if (value.len > 0) {
        copy_short(at, value.at, value.len);
    }
    at[value.len] = '"';
    json->len = (size_t)(at - json->at) + value.len + 1;
}

/* Non-zero when any of eight bytes is a control, a quote, a backslash or not ASCII. */
static uint64_t needs_care(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t quote = eight ^ ones * '"';
    uint64_t backslash = eight ^ ones * '\\';

    return ((eight - ones * 0x20) | (quote - ones) | (backslash - ones) | eight) & tops;
}

bool json_is_plain(struct bytes text)
{
    uint64_t eight;
    size_t len = 0;

    if (text.len < sizeof(eight)) {
        eight = UINT64_C(0x2020202020202020);
        (void)bytes_put((char *)&eight, text);
        return needs_care(eight) == 0;
    }
    for (; len + sizeof(eight) < text.len; len += sizeof(eight)) {
        memcpy(&eight, text.at + len, sizeof(eight));
        if (needs_care(eight) != 0) {
            return false;
        }
    }
    memcpy(&eight, text.at + text.len - sizeof(eight), sizeof(eight)); /* the end, once more with what precedes it */
    return needs_care(eight) == 0;
}

static bool put_escape(struct json *json, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    size_t len = 2;

    switch (byte) {
    case '"':
    case '\\':
        text[1] = (char)byte;
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        len = sizeof(text);
        break;
    }
    return put(json, text, len);
}

/*
 * Copies the run at the front that may stand as it is, as far as there is room,
 * and returns its length. Most texts are such a run from end to end.
 */
static size_t put_plain(struct json *json, struct bytes value)
{
    size_t room = json->size - json->len;
    size_t max = value.len < room ? value.len : room;
    char *to = json->at + json->len;
    size_t len = 0;
    uint64_t eight;

    for (; max - len >= sizeof(eight); len += sizeof(eight)) {
        memcpy(&eight, value.at + len, sizeof(eight));
        if (needs_care(eight) != 0) {
            break;
        }
        memcpy(to + len, &eight, sizeof(eight));
    }
    if (max >= sizeof(eight) && max - len < sizeof(eight)) {
        memcpy(&eight, value.at + max - sizeof(eight), sizeof(eight)); /* the end, once more with what precedes it */
        if (needs_care(eight) == 0) {
            memcpy(to + max - sizeof(eight), &eight, sizeof(eight));
            len = max;
        }
    }
    while (len < max) {
        unsigned char byte = (unsigned char)value.at[len];
        size_t bytes = byte < 0x80 ? 1 : utf8_char_bytes(value.at + len, value.len - len);

        if (byte < 0x20 || byte == '"' || byte == '\\' || bytes == 0 || bytes > max - len) {
            break;
        }
        for (size_t end = len + bytes; len < end; len++) {
            to[len] = value.at[len];
        }
    }
    json->len += len;
    return len;
}

/* True when the character at the front has to be escaped; else only room was missing. */
static bool needs_escape(struct bytes value)
{
    unsigned char byte = (unsigned char)value.at[0];

    return byte < 0x20 || byte == '"' || byte == '\\' || utf8_char_bytes(value.at, value.len) == 0;
}

static bool put_escaped(struct json *json, struct bytes value)
{
    for (;;) {
        value = bytes_skip(value, put_plain(json, value));
        if (value.len == 0) {
            return true;
        }
        if (!needs_escape(value) || !put_escape(json, (unsigned char)value.at[0])) {
            return false;
        }
        value = bytes_skip(value, 1);
    }
}

void json_add_string(struct json *json, struct bytes value)
{
    struct mark start = value_start(json);

    value_end(json, start, put_comma(json) && put_byte(json, '"') && put_escaped(json, value) && put_byte(json, '"'));
}

void json_add_u64(struct json *json, uint64_t value)
{
    char text[BYTES_U64_DIGITS];

    put_value(json, text, bytes_from_u64(value, text));
}

void json_add_i64(struct json *json, int64_t value)
{
    char text[1 + BYTES_U64_DIGITS] = {'-'};

    if (value >= 0) {
        json_add_u64(json, (uint64_t)value);
        return;
    }
    /* Negated as unsigned: INT64_MIN has no positive twin. */
    put_value(json, text, 1 + bytes_from_u64(-(uint64_t)value, text + 1));
}

void json_add_bool(struct json *json, bool value)
{
    json_add_raw(json, value ? BYTES("true") : BYTES("false"));
}

void json_add_null(struct json *json)
{
    json_add_raw(json, BYTES("null"));
}

void json_add_raw(struct json *json, struct bytes value)
{
    put_value(json, value.at, value.len);
}
