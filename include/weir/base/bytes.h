/*
 * A borrowed run of bytes. It owns nothing and is never NUL-terminated by
 * promise; whoever stores one says from whom it is borrowed and for how long.
 */
#ifndef WEIR_BASE_BYTES_H
#define WEIR_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weir/base/check.h"

struct bytes {
    const char *at; /* first byte; may be NULL only when len is 0 */
    size_t len;     /* in bytes */
};

/* A string literal as bytes, without its NUL. */
#define BYTES(literal) ((struct bytes){.at = "" literal, .len = sizeof(literal) - 1})
#define BYTES_NONE ((struct bytes){.at = NULL, .len = 0})
/* For printf's "%.*s". */
#define BYTES_ARG(bytes) ((int)(bytes).len), ((bytes).at)

static inline struct bytes bytes_of(const void *at, size_t len)
{
    return (struct bytes){.at = at, .len = len};
}

/* Borrows a NUL-terminated string; NULL gives BYTES_NONE. */
static inline struct bytes bytes_from_text(const char *text)
{
    return text == NULL ? BYTES_NONE : bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool bytes__same_folded(const char *a, const char *b, size_t len);
/* ASCII case folded; bytes above 0x7f compare as they are. Names are looked for in lists: most differ in length. */
static inline bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    return a.len == b.len && bytes__same_folded(a.at, b.at, a.len);
}
bool bytes_starts_with(struct bytes bytes, struct bytes prefix);
bool bytes_ends_with(struct bytes bytes, struct bytes suffix);

/* Offset of the first `byte`, or SIZE_MAX. */
static inline size_t bytes_find(struct bytes bytes, char byte)
{
    const char *found = bytes.len == 0 ? NULL : (const char *)memchr(bytes.at, byte, bytes.len);
    return found == NULL ? SIZE_MAX : (size_t)(found - bytes.at);
}

/* Offset of the first occurrence of `needle`, or SIZE_MAX; an empty needle is found at 0. */
size_t bytes_find_text(struct bytes bytes, struct bytes needle);

/* From `offset` on; empty when offset is past the end. */
static inline struct bytes bytes_skip(struct bytes bytes, size_t offset)
{
    if (offset > bytes.len)
        offset = bytes.len;
    /* NULL plus 0 is undefined in C, so an empty run keeps its pointer as it is. */
    return offset == 0 ? bytes : bytes_of(bytes.at + offset, bytes.len - offset);
}

/* The first `len` bytes, or all of them. */
static inline struct bytes bytes_take(struct bytes bytes, size_t len)
{
    return len < bytes.len ? bytes_of(bytes.at, len) : bytes;
}

/* Without leading and trailing SP and HTAB (RFC 9110 5.6.3 OWS). */
struct bytes bytes_trim(struct bytes bytes);

/*
 * Cuts the next element off a comma-separated list (RFC 9110 5.6.1), trimmed.
 * False when the list is used up; a list of nothing or of blanks has no
 * element. A stray comma gives an empty element, so that a strict caller can
 * refuse it. Quoted strings are not known here.
 */
bool bytes_next_element(struct bytes *list, struct bytes *element);

/* Plain decimal digits, no sign, no space; false on anything else, on no digits and on overflow. */
WEIR_MUSTCHECK bool bytes_to_u64(struct bytes bytes, uint64_t *value);
/* Hex digits of either case; false as above. */
WEIR_MUSTCHECK bool bytes_hex_to_u64(struct bytes bytes, uint64_t *value);

/* Copies at most size - 1 bytes and ends with NUL. Returns the number copied, without the NUL. */
size_t bytes_to_text(struct bytes bytes, char *text, size_t size);

/*
 * Copies `bytes` to `at`, where the caller knows that there is room, and returns what is behind them. Heads and log
 * lines are made of runs of a few bytes, for which calling memcpy costs more than the copy: up to 32 go in two parts
 * that overlap.
 */
static inline char *bytes_put(char *at, struct bytes bytes)
{
    size_t len = bytes.len;
    if (len > 32) {
        memcpy(at, bytes.at, len);
    } else if (len >= 16) {
        memcpy(at, bytes.at, 16);
        memcpy(at + len - 16, bytes.at + len - 16, 16);
    } else if (len >= 8) {
        memcpy(at, bytes.at, 8);
        memcpy(at + len - 8, bytes.at + len - 8, 8);
    } else if (len >= 4) {
        memcpy(at, bytes.at, 4);
        memcpy(at + len - 4, bytes.at + len - 4, 4);
    } else if (len > 0) {
        at[0] = bytes.at[0];
        at[len / 2] = bytes.at[len / 2];
        at[len - 1] = bytes.at[len - 1];
    }
    return at + len;
}

/* The longest decimal form of a uint64_t. */
#define BYTES_U64_DIGITS 20
/* Decimal digits, without a NUL. Returns how many. */
size_t bytes_from_u64(uint64_t value, char text[BYTES_U64_DIGITS]);

#endif
