/*
 * Looking things up in an accepted head. Names are identified once, by length
 * and first letter, so that everything behind compares small integers. It
 * decides nothing about a message.
 */
#include "weir/http/head.h"

/* `lower` is in lower case; only letters of `name` are folded. */
static bool is(struct bytes name, const char *lower)
{
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.at[i];
        if (byte >= 'A' && byte <= 'Z')
            byte = (char)(byte | 0x20);
        if (byte != lower[i])
            return false;
    }
    return true;
}

static enum http_field_id pick(struct bytes name, const char *lower, enum http_field_id id)
{
    return is(name, lower) ? id : HTTP_FIELD_OTHER;
}

static enum http_field_id identify_short(struct bytes name, char first)
{
    switch (name.len) {
    case 2:
        return pick(name, "te", HTTP_FIELD_TE);
    case 3:
        return pick(name, "via", HTTP_FIELD_VIA);
    case 4:
        return first == 'h' ? pick(name, "host", HTTP_FIELD_HOST) : pick(name, "date", HTTP_FIELD_DATE);
    case 5:
        return pick(name, "range", HTTP_FIELD_RANGE);
    case 6:
        return pick(name, "expect", HTTP_FIELD_EXPECT);
    case 7:
        return first == 't' ? pick(name, "trailer", HTTP_FIELD_TRAILER) : pick(name, "upgrade", HTTP_FIELD_UPGRADE);
    case 9:
        if (first == 'x')
            return pick(name, "x-real-ip", HTTP_FIELD_X_REAL_IP);
        return pick(name, "forwarded", HTTP_FIELD_FORWARDED);
    default:
        return HTTP_FIELD_OTHER;
    }
}

static enum http_field_id identify_long(struct bytes name, char first)
{
    switch (name.len) {
    case 10:
        if (first == 'c')
            return pick(name, "connection", HTTP_FIELD_CONNECTION);
        return first == 'k' ? pick(name, "keep-alive", HTTP_FIELD_KEEP_ALIVE)
                            : pick(name, "user-agent", HTTP_FIELD_USER_AGENT);
    case 11:
        return pick(name, "retry-after", HTTP_FIELD_RETRY_AFTER);
    case 12:
        return first == 'c' ? pick(name, "content-type", HTTP_FIELD_CONTENT_TYPE)
                            : pick(name, "x-request-id", HTTP_FIELD_X_REQUEST_ID);
    case 13:
        return pick(name, "authorization", HTTP_FIELD_AUTHORIZATION);
    case 14:
        return first == 'c' ? pick(name, "content-length", HTTP_FIELD_CONTENT_LENGTH)
                            : pick(name, "http2-settings", HTTP_FIELD_HTTP2_SETTINGS);
    case 15:
        return pick(name, "idempotency-key", HTTP_FIELD_IDEMPOTENCY_KEY);
    case 16:
        return pick(name, "proxy-connection", HTTP_FIELD_PROXY_CONNECTION);
    case 17:
        return pick(name, "transfer-encoding", HTTP_FIELD_TRANSFER_ENCODING);
    case 19:
        return pick(name, "idempotent-replayed", HTTP_FIELD_IDEMPOTENT_REPLAYED);
    default:
        return HTTP_FIELD_OTHER;
    }
}

enum http_field_id http_field_identify(struct bytes name)
{
    if (name.len < 2)
        return HTTP_FIELD_OTHER;
    char first = (char)(name.at[0] | 0x20);
    if (first == 'i' && name.len > 3 && is(bytes_of(name.at, 3), "if-"))
        return HTTP_FIELD_IF_ANY;
    if (first == 'w' && name.len > 5 && is(bytes_of(name.at, 5), "weir-"))
        return HTTP_FIELD_WEIR_ANY;
    if (first == 'x' && name.len > 12 && is(bytes_of(name.at, 12), "x-forwarded-"))
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
