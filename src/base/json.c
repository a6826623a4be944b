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

static bool put(struct json *json, const char *at, size_t len)
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

static struct mark value_start(const struct json *json)
{
    return json->keyed ? (struct mark){json->key_at, json->key_comma} : (struct mark){json->len, json->comma};
}

/* The end of every value: `fits` tells whether all of it was put. */
static void value_end(struct json *json, struct mark start, bool fits)
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

static bool put_comma(struct json *json)
{
    return !json->key_lost && (!json->comma || put(json, ",", 1));
}

static void put_value(struct json *json, const char *at, size_t len)
{
    struct mark start = value_start(json);

    value_end(json, start, put_comma(json) && put(json, at, len));
}

static void open_with(struct json *json, const char *bracket)
{
    struct mark start = value_start(json);
    bool fits = put_comma(json) && put(json, bracket, 1);

    value_end(json, start, fits);
    if (fits) {
        json->comma = false;
    }
}

static void close_with(struct json *json, const char *bracket)
{
    if (!put(json, bracket, 1)) {
        json->overflow = true;
    }
    json->comma = true;
}

void json_object_open(struct json *json)
{
    open_with(json, "{");
}

void json_object_close(struct json *json)
{
    close_with(json, "}");
}

void json_array_open(struct json *json)
{
    open_with(json, "[");
}

void json_array_close(struct json *json)
{
    close_with(json, "]");
}

void json_key(struct json *json, const char *key)
{
    size_t at = json->len;
    bool comma = json->comma;

    DCHECK(!json->keyed);
    if (put_comma(json) && put(json, "\"", 1) && put(json, key, strlen(key)) && put(json, "\":", 2)) {
        json->comma = false;
    } else {
        json->len = at;
        json->key_lost = true; /* the value that follows is left out with it */
        json->overflow = true;
    }
    json->keyed = true;
    json->key_at = at;
    json->key_comma = comma;
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

/* The length of the run at the front that may stand as it is. */
static size_t plain_run(struct bytes value)
{
    size_t len = 0;
    uint64_t eight;

    for (; value.len - len >= sizeof(eight); len += sizeof(eight)) {
        memcpy(&eight, value.at + len, sizeof(eight));
        if (needs_care(eight) != 0) {
            break;
        }
    }
    while (len < value.len) {
        unsigned char byte = (unsigned char)value.at[len];
        size_t bytes = utf8_char_bytes(value.at + len, value.len - len);

        if (byte < 0x20 || byte == '"' || byte == '\\' || bytes == 0) {
            break;
        }
        len += bytes;
    }
    return len;
}

static bool put_escaped(struct json *json, struct bytes value)
{
    while (value.len > 0) {
        size_t run = plain_run(value);

        if (!put(json, value.at, run)) {
            return false;
        }
        value = bytes_skip(value, run);
        if (value.len > 0) {
            if (!put_escape(json, (unsigned char)value.at[0])) {
                return false;
            }
            value = bytes_skip(value, 1);
        }
    }
    return true;
}

void json_string(struct json *json, struct bytes value)
{
    struct mark start = value_start(json);

    value_end(json, start, put_comma(json) && put(json, "\"", 1) && put_escaped(json, value) && put(json, "\"", 1));
}

void json_u64(struct json *json, uint64_t value)
{
    char text[BYTES_U64_DIGITS];

    put_value(json, text, bytes_from_u64(value, text));
}

void json_i64(struct json *json, int64_t value)
{
    char text[1 + BYTES_U64_DIGITS] = {'-'};

    if (value >= 0) {
        json_u64(json, (uint64_t)value);
        return;
    }
    /* Negated as unsigned: INT64_MIN has no positive twin. */
    put_value(json, text, 1 + bytes_from_u64(-(uint64_t)value, text + 1));
}

void json_bool(struct json *json, bool value)
{
    json_raw(json, value ? BYTES("true") : BYTES("false"));
}

void json_null(struct json *json)
{
    json_raw(json, BYTES("null"));
}

void json_raw(struct json *json, struct bytes value)
{
    put_value(json, value.at, value.len);
}

void json_put_string(struct json *json, const char *key, struct bytes value)
{
    json_key(json, key);
    json_string(json, value);
}

void json_put_text(struct json *json, const char *key, const char *value)
{
    json_key(json, key);
    if (value == NULL) {
        json_null(json);
    } else {
        json_string(json, bytes_from_text(value));
    }
}

void json_put_u64(struct json *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_u64(json, value);
}

void json_put_bool(struct json *json, const char *key, bool value)
{
    json_key(json, key);
    json_bool(json, value);
}
