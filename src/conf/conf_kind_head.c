/*
 * Kinds of values that speak of a request's or an answer's head: names of
 * fields, lines, statuses, where a key stands and what it may consist of, and
 * who a tenant is. Each accepts only what has one reading.
 */
#include <stdio.h>

#include "conf_kind_internal.h"

/* ---- fields ---- */

/* RFC 9110, token. */
static bool is_token(struct bytes text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < text.len; i++) {
        char byte = text.at[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');

        if (!letter && !(byte >= '0' && byte <= '9') && (byte == '\0' || strchr(others, byte) == NULL)) {
            return false;
        }
    }
    return text.len > 0;
}

#define FIELD_BYTES_MAX 128 /* of a name */

bool conf_kind_is_field(struct bytes text)
{
    return is_token(text) && text.len <= FIELD_BYTES_MAX && bytes_find(text, '*') == SIZE_MAX;
}

CONF_KIND_PARSER(conf_kind_parse_field)
{
    (void)key;
    if (!conf_kind_is_field(text)) {
        return conf_kind_fail(fault, "is not a field of a head", "expected a name such as Stripe-Account");
    }
    *(const char **)field = conf_memory_text(memory, text);
    return true;
}

CONF_KIND_PARSER(conf_kind_parse_start)
{
    bool open = text.len > 1 && text.at[text.len - 1] == '*';

    (void)key;
    if (!conf_kind_is_field(open ? bytes_take(text, text.len - 1) : text)) {
        return conf_kind_fail(fault, "is not a field of a head", "expected a name such as Stripe-Version, or Stripe-*");
    }
    *(const char **)field = conf_memory_text(memory, text);
    return true;
}

/* ": " and the value's text; without trailing blanks, which would be lost on the way. */
CONF_KIND_PARSER(conf_kind_parse_line)
{
    size_t colon = bytes_find(text, ':');
    struct bytes value = colon == SIZE_MAX ? BYTES_NONE : bytes_trim(bytes_skip(text, colon + 1));

    for (size_t i = 0; i < value.len; i++) {
        value = value.at[i] < ' ' || value.at[i] > '~' ? BYTES_NONE : value;
    }
    if (text.len > key->max || value.len == 0 || !conf_kind_is_field(bytes_take(text, colon))) {
        return conf_kind_fail(fault, "is not a line of a head", "expected \"NAME: VALUE\"");
    }
    *(const char **)field = conf_memory_text(memory, text);
    return true;
}

/* ---- statuses ---- */

static bool read_range(struct bytes text, uint64_t *low, uint64_t *high)
{
    size_t dash = bytes_find(text, '-');

    return dash != SIZE_MAX && bytes_to_u64(bytes_take(text, dash), low) &&
           bytes_to_u64(bytes_skip(text, dash + 1), high) && *low <= *high;
}

CONF_KIND_PARSER(conf_kind_parse_range)
{
    uint32_t *numbers = field;
    uint64_t low, high;

    (void)memory;
    if (!read_range(text, &low, &high)) {
        return conf_kind_fail(fault, "is not a range", "expected one such as %llu-%llu", (unsigned long long)key->min,
                              (unsigned long long)key->max);
    }
    if (low < key->min || high > key->max) {
        return conf_kind_fail(fault, "is out of range", "expected %llu-%llu at most", (unsigned long long)key->min,
                              (unsigned long long)key->max);
    }
    numbers[0] = (uint32_t)low;
    numbers[1] = (uint32_t)high;
    return true;
}

/* 1xx is no answer. */
static bool read_statuses(struct bytes text, struct conf_codes *codes)
{
    uint64_t low, high;
    bool good = read_range(text, &low, &high);

    if (!good && bytes_to_u64(text, &low)) {
        high = low;
        good = true;
    }
    if (!good || low < 200 || high > 599) {
        return false;
    }
    *codes = (struct conf_codes){.low = (uint16_t)low, .high = (uint16_t)high};
    return true;
}

CONF_KIND_PARSER(conf_kind_parse_code)
{
    (void)key;
    (void)memory;
    return read_statuses(text, field) ||
           conf_kind_fail(fault, "is not a status", "expected one such as 402, or a range such as 200-299");
}

CONF_KIND_PARSER(conf_kind_parse_status)
{
    struct conf_codes codes;
    uint16_t *numbers = field;

    (void)key;
    (void)memory;
    if (!read_statuses(text, &codes)) {
        return conf_kind_fail(fault, "is not a status", "expected one such as 204, or a range such as 200-399");
    }
    numbers[0] = codes.low;
    numbers[1] = codes.high;
    return true;
}

/* ---- keys ---- */

#define POINTER_BYTES_MAX 256

/* RFC 6901: "/a/b", with ~0 for '~' and ~1 for '/'. The whole body ("") is no key. */
static bool is_pointer(struct bytes text)
{
    if (text.len < 2 || text.len > POINTER_BYTES_MAX || text.at[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        bool escape = text.at[i] == '~';

        if ((unsigned char)text.at[i] < ' ' ||
            (escape && (i + 1 == text.len || (text.at[i + 1] != '0' && text.at[i + 1] != '1')))) {
            return false;
        }
    }
    return true;
}

CONF_KIND_PARSER(conf_kind_parse_key)
{
    struct conf_key *into = field;
    bool json = bytes_starts_with(text, BYTES("json:"));
    struct bytes at = bytes_skip(text, json ? 5 : 7);

    (void)key;
    if (!json && !bytes_starts_with(text, BYTES("header:"))) {
        return conf_kind_fail(fault, "says neither header: nor json:",
                              "expected header:Idempotency-Key, or json:/idempotency_key");
    }
    if (json && !is_pointer(at)) {
        return conf_kind_fail(fault, "has no valid JSON pointer", "expected one such as json:/idempotency_key (RFC 6901)");
    }
    if (!json && !conf_kind_is_field(at)) {
        return conf_kind_fail(fault, "has no valid field name", "expected one such as header:Idempotency-Key");
    }
    *into = (struct conf_key){.place = json ? CONF_KEY_JSON : CONF_KEY_HEADER, .at = conf_memory_text(memory, at)};
    return true;
}

/* As policy/profile_key.c reads it: characters and ranges; a '-' at either end is itself. */
CONF_KIND_PARSER(conf_kind_parse_chars)
{
    bool good = text.len > 0 && text.len <= key->max;

    if (bytes_equal(text, bytes_from_text(key->words))) {
        *(const char **)field = NULL;
        return true;
    }
    for (size_t i = 0; good && i < text.len; i++) {
        bool range = i + 2 < text.len && text.at[i + 1] == '-';

        good = text.at[i] > ' ' && text.at[i] <= '~' && (!range || text.at[i] <= text.at[i + 2]);
        i += good && range ? 1 : 0;
    }
    if (!good) {
        return conf_kind_fail(fault, "is not a set of characters", "expected one such as A-Za-z0-9_-");
    }
    *(const char **)field = conf_memory_text(memory, text);
    return true;
}

/* ---- tenants ---- */

CONF_KIND_PARSER(conf_kind_parse_tenant)
{
    struct conf_tenants *into = field;
    struct bytes name = bytes_skip(text, 7);

    (void)key;
    if (bytes_equal(text, BYTES("mtls_subject")) || bytes_equal(text, BYTES("client_ip"))) {
        into->by = text.at[0] == 'm' ? CONF_TENANTS_BY_MTLS_SUBJECT : CONF_TENANTS_BY_CLIENT_IP;
        into->header = NULL;
        return true;
    }
    if (!bytes_starts_with(text, BYTES("header:")) || !conf_kind_is_field(name)) {
        return conf_kind_fail(fault, "names no tenant", "expected header:NAME, mtls_subject or client_ip");
    }
    into->by = CONF_TENANTS_BY_HEADER;
    into->header = conf_memory_text(memory, name);
    return true;
}
