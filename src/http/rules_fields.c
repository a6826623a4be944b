/*
 * Policy that requests and responses share: which field is which, which go on,
 * what Content-Length and Connection may say.
 */
#include "chars_internal.h"
#include "rules_internal.h"

#define BIT(name) (1u << HTTP_FIELD_##name)

/* Never passed on, whether Connection names them or not (RFC 9110 7.6.1). */
#define HOP_BY_HOP                                                                                                     \
    (BIT(CONNECTION) | BIT(HTTP2_SETTINGS) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(TE) | BIT(TRAILER) |        \
     BIT(TRANSFER_ENCODING) | BIT(UPGRADE))

/* Parsers disagree on a tab behind these values, which RFC 9110 allows: some do not see chunked, or refuse. */
#define FRAMING (BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING))

#define CONTENT_LENGTH_DIGITS_MAX 18
/* Real clients name one or two; each costs a look at every field. */
#define CONNECTION_OPTIONS_MAX 16
#define DISGUISED_BYTES_MAX 64

_Static_assert(HTTP_FIELD_COUNT <= 32, "a field id is a bit of http_head.seen");

#define TWICE_TEXT(name, text, singleton) [HTTP_FIELD_##name] = "two " text " fields",
static const char *const twice_text[HTTP_FIELD_COUNT] = {HTTP_FIELD_TABLE(TWICE_TEXT)};

struct verdict rules__identify(struct http_head *head, uint32_t singletons)
{
    uint32_t seen = 0;
    for (int i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];
        field->id = http_field_identify(field->name);
        uint32_t bit = 1u << field->id;
        if ((bit & FRAMING) != 0 && bytes_find(field->value, '\t') != SIZE_MAX)
            return verdict_malformed("a tab in a field that frames the message");
        field->value = bytes_trim(field->value);
        field->hop_by_hop = (bit & HOP_BY_HOP) != 0;
        if ((seen & bit & singletons) != 0)
            return verdict_malformed(twice_text[field->id]);
        seen |= bit;
    }
    head->seen = seen;
    return VERDICT_OK;
}

void rules__drop(struct http_head *head, enum http_field_id id)
{
    for (int i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == id)
            head->fields[i].hop_by_hop = true;
    }
}

bool rules__content_length(struct bytes value, uint64_t *length)
{
    if (value.len == 0 || value.len > CONTENT_LENGTH_DIGITS_MAX || (value.at[0] == '0' && value.len > 1))
        return false;
    return bytes_to_u64(value, length);
}

/* Names without an id of their own that carry who the caller is, what is signed, or how a body reads. */
static bool is_sensitive(struct bytes name)
{
    static const char *const whole[] = {"cookie", "set-cookie", "cache-control", "origin", "location", "vary", "etag"};
    static const char *const part[] = {"auth", "idempotency", "signature", "api-key", "request-id", "token", "content-"};
    for (size_t i = 0; i < ARRAY_COUNT(whole); i++) {
        if (bytes_equal_nocase(name, bytes_from_text(whole[i])))
            return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(part); i++) {
        struct bytes wanted = bytes_from_text(part[i]);
        for (size_t at = 0; at + wanted.len <= name.len; at++) {
            if (bytes_equal_nocase(bytes_of(name.at + at, wanted.len), wanted))
                return true;
        }
    }
    return false;
}

bool rules__is_protected(struct bytes name, enum http_field_id id)
{
    return id != HTTP_FIELD_OTHER || is_sensitive(name);
}

bool rules__is_disguised(struct bytes name)
{
    WEIR_SCRATCH char plain[DISGUISED_BYTES_MAX];
    if (name.len > sizeof(plain) || bytes_find(name, '_') == SIZE_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        plain[i] = name.at[i] == '_' ? '-' : name.at[i];
    return http_field_identify(bytes_of(plain, name.len)) != HTTP_FIELD_OTHER;
}

/* Names that are hop-by-hop anyway may be nominated; one that frames the message may not. */
static bool may_nominate(struct bytes name, enum http_field_id id, bool protect_all)
{
    if (!protect_all)
        return id != HTTP_FIELD_CONTENT_LENGTH;
    if (id == HTTP_FIELD_TRANSFER_ENCODING)
        return false;
    return (1u << id & HOP_BY_HOP) != 0 || !rules__is_protected(name, id);
}

static void mark_nominated(struct http_head *head, struct bytes name)
{
    for (int i = 0; i < head->field_count; i++) {
        if (bytes_equal_nocase(head->fields[i].name, name))
            head->fields[i].hop_by_hop = true;
    }
}

static struct verdict on_option(struct http_head *head, struct bytes option, bool protect_all, bool *close,
                                bool *keep_alive)
{
    if (bytes_equal_nocase(option, BYTES("keep-alive")))
        *keep_alive = true;
    else if (bytes_equal_nocase(option, BYTES("close")))
        *close = true;
    if (!chars_all(option, CHARS_TOKEN))
        return verdict_malformed("an option of Connection is not a token");
    if (!may_nominate(option, http_field_identify(option), protect_all))
        return verdict_malformed("Connection nominates a field that must go on");
    mark_nominated(head, option);
    return VERDICT_OK;
}

struct verdict rules__connection(struct http_head *head, bool protect_all, bool *close, bool *keep_alive)
{
    *close = false;
    *keep_alive = false;
    if (!http_head_has(head, HTTP_FIELD_CONNECTION))
        return VERDICT_OK;
    int options = 0;
    for (int i = 0; i < head->field_count; i++) {
        if (head->fields[i].id != HTTP_FIELD_CONNECTION)
            continue;
        struct bytes list = head->fields[i].value;
        struct bytes option;
        while (bytes_next_element(&list, &option)) {
            if (++options > CONNECTION_OPTIONS_MAX)
                return verdict_malformed("Connection has too many options");
            if (option.len == 0)
                continue; /* RFC 9110 5.6.1.2: empty elements are nothing */
            struct verdict verdict = on_option(head, option, protect_all, close, keep_alive);
            if (verdict_refuses(verdict))
                return verdict;
        }
    }
    return VERDICT_OK;
}
