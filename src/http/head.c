/*
 * Looking things up in an accepted head. Names are identified once, by length
 * and first letter, so that everything behind compares small integers. It
 * decides nothing about a message.
 */
#include "weir/http/head.h"

/*
 * Eight bytes of a name against eight of `lower`, which holds letters in lower case, digits and dashes: of these the
 * letters alone have bit 6, and only where they stand is case folded. With a literal all but a load, an OR and a
 * comparison is done when this is compiled.
 */
static inline bool is_eight(const char *name, const char *lower)
{
    uint64_t ours, theirs;
    memcpy(&ours, lower, sizeof(ours));
    memcpy(&theirs, name, sizeof(theirs));
    return (theirs | (ours & UINT64_C(0x4040404040404040)) >> 1) == ours;
}

static inline bool is_four(const char *name, const char *lower)
{
    uint32_t ours, theirs;
    memcpy(&ours, lower, sizeof(ours));
    memcpy(&theirs, name, sizeof(theirs));
    return (theirs | (ours & 0x40404040u) >> 1) == ours;
}

static inline bool is_one(const char *name, const char *lower)
{
    return (*name | (*lower & 0x40) >> 1) == *lower;
}

/* The `len` bytes at `name` are `lower` in any case. The last word overlaps the one before it. */
static inline __attribute__((always_inline)) bool is(const char *name, const char *lower, size_t len)
{
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            if (!is_eight(name + i, lower + i))
                return false;
        }
        return is_eight(name + len - 8, lower + len - 8);
    }
    if (len >= 4)
        return is_four(name, lower) && is_four(name + len - 4, lower + len - 4);
    return is_one(name, lower) && is_one(name + len / 2, lower + len / 2) && is_one(name + len - 1, lower + len - 1);
}

/* `name` is as long as the literal: the switches below see to it. */
#define PICK(name, literal, id) (is((name).at, literal, sizeof(literal) - 1) ? (id) : HTTP_FIELD_OTHER)

static enum http_field_id identify_short(struct bytes name, char first)
{
    switch (name.len) {
    case 2:
        return PICK(name, "te", HTTP_FIELD_TE);
    case 3:
        return PICK(name, "via", HTTP_FIELD_VIA);
    case 4:
        return first == 'h' ? PICK(name, "host", HTTP_FIELD_HOST) : PICK(name, "date", HTTP_FIELD_DATE);
    case 5:
        return PICK(name, "range", HTTP_FIELD_RANGE);
    case 6:
        return PICK(name, "expect", HTTP_FIELD_EXPECT);
    case 7:
        return first == 't' ? PICK(name, "trailer", HTTP_FIELD_TRAILER) : PICK(name, "upgrade", HTTP_FIELD_UPGRADE);
    case 9:
        if (first == 'x')
            return PICK(name, "x-real-ip", HTTP_FIELD_X_REAL_IP);
        return PICK(name, "forwarded", HTTP_FIELD_FORWARDED);
    default:
        return HTTP_FIELD_OTHER;
    }
}

static enum http_field_id identify_long(struct bytes name, char first)
{
    switch (name.len) {
    case 10:
        if (first == 'c')
            return PICK(name, "connection", HTTP_FIELD_CONNECTION);
        return first == 'k' ? PICK(name, "keep-alive", HTTP_FIELD_KEEP_ALIVE)
                            : PICK(name, "user-agent", HTTP_FIELD_USER_AGENT);
    case 11:
        return PICK(name, "retry-after", HTTP_FIELD_RETRY_AFTER);
    case 12:
        return first == 'c' ? PICK(name, "content-type", HTTP_FIELD_CONTENT_TYPE)
                            : PICK(name, "x-request-id", HTTP_FIELD_X_REQUEST_ID);
    case 13:
        return PICK(name, "authorization", HTTP_FIELD_AUTHORIZATION);
    case 14:
        return first == 'c' ? PICK(name, "content-length", HTTP_FIELD_CONTENT_LENGTH)
                            : PICK(name, "http2-settings", HTTP_FIELD_HTTP2_SETTINGS);
    case 15:
        return first == 'a' ? PICK(name, "accept-encoding", HTTP_FIELD_ACCEPT_ENCODING)
                            : PICK(name, "idempotency-key", HTTP_FIELD_IDEMPOTENCY_KEY);
    case 16:
        return PICK(name, "proxy-connection", HTTP_FIELD_PROXY_CONNECTION);
    case 17:
        return PICK(name, "transfer-encoding", HTTP_FIELD_TRANSFER_ENCODING);
    case 19:
        return PICK(name, "idempotent-replayed", HTTP_FIELD_IDEMPOTENT_REPLAYED);
    default:
        return HTTP_FIELD_OTHER;
    }
}

enum http_field_id http_field_identify(struct bytes name)
{
    if (name.len < 2)
        return HTTP_FIELD_OTHER;
    char first = (char)(name.at[0] | 0x20);
    if (first == 'i' && name.len > 3 && is(name.at, "if-", 3))
        return HTTP_FIELD_IF_ANY;
    if (first == 'w' && name.len > 5 && is(name.at, "weir-", 5))
        return HTTP_FIELD_WEIR_ANY;
    if (first == 'x' && name.len > 12 && is(name.at, "x-forwarded-", 12))
        return HTTP_FIELD_X_FORWARDED_ANY;
    return name.len < 10 ? identify_short(name, first) : identify_long(name, first);
}

const struct http_field *http_head_find(const struct http_head *head, enum http_field_id id)
{
    if (!http_head_has(head, id))
        return NULL;
    for (int i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id)
            return &head->fields[i];
    }
    return NULL;
}

const struct http_field *http_head_find_name(const struct http_head *head, struct bytes name)
{
    for (int i = 0; i < head->field_count; i++) {
        if (bytes_equal_nocase(head->fields[i].name, name))
            return &head->fields[i];
    }
    return NULL;
}

bool http_method_is_safe(struct bytes method)
{
    return bytes_equal(method, BYTES("GET")) || bytes_equal(method, BYTES("HEAD")) ||
           bytes_equal(method, BYTES("OPTIONS")) || bytes_equal(method, BYTES("TRACE"));
}
