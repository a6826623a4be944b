/* Reads and writes the queries of query.h. Strict: a value has one reading, or it is bad. */
#include "weir/app/query.h"

#include <stdint.h>
#include <stdio.h>

#include "weir/base/check.h"

/* The next NAME=VALUE; false at the end. */
static bool next_pair(struct bytes *query, struct bytes *name, struct bytes *value)
{
    if (query->len == 0) {
        return false;
    }
    size_t end = bytes_find(*query, '&');
    struct bytes pair = end == SIZE_MAX ? *query : bytes_take(*query, end);
    *query = end == SIZE_MAX ? BYTES_NONE : bytes_skip(*query, end + 1);
    size_t equals = bytes_find(pair, '=');
    *name = equals == SIZE_MAX ? pair : bytes_take(pair, equals);
    *value = equals == SIZE_MAX ? BYTES_NONE : bytes_skip(pair, equals + 1);
    return true;
}

static bool decode(struct bytes value, char *text, size_t size)
{
    size_t len = 0;
    while (value.len > 0) {
        uint64_t byte = (unsigned char)value.at[0];
        size_t taken = 1;
        if (byte == '%') {
            taken = 3;
            if (value.len < taken || !bytes_hex_to_u64(bytes_take(bytes_skip(value, 1), 2), &byte)) {
                return false;
            }
        }
        if (byte < 0x20 || byte == 0x7f || len + 1 >= size) {
            return false;
        }
        text[len++] = (char)byte;
        value = bytes_skip(value, taken);
    }
    text[len] = '\0';
    return true;
}

enum query_found query_read(struct bytes query, const char *name, char *text, size_t size)
{
    struct bytes at, value;
    enum query_found found = QUERY_ABSENT;
    CHECK(size > 0);
    text[0] = '\0';
    while (next_pair(&query, &at, &value)) {
        if (!bytes_equal(at, bytes_from_text(name))) {
            continue;
        }
        if (found == QUERY_FOUND || !decode(value, text, size)) {
            text[0] = '\0';
            return QUERY_BAD;
        }
        found = QUERY_FOUND;
    }
    return found;
}

bool query_says(struct bytes query, const char *name, const char *value)
{
    char text[64];
    return query_read(query, name, text, sizeof(text)) == QUERY_FOUND && strcmp(text, value) == 0;
}

/* RFC 3986 2.3: what needs no escape. */
static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

bool query_append(char *text, size_t size, const char *name, const char *value)
{
    size_t before = strlen(text);
    int put = snprintf(text + before, size - before, "%c%s=", strchr(text, '?') == NULL ? '?' : '&', name);
    size_t len = before + (put > 0 ? (size_t)put : 0);
    for (const char *c = value; *c != '\0' && len < size; c++) {
        put = snprintf(text + len, size - len, is_unreserved(*c) ? "%c" : "%%%02X", (unsigned char)*c);
        len += put > 0 ? (size_t)put : 0;
    }
    if (len >= size) {
        text[before] = '\0';
        return false;
    }
    return true;
}
