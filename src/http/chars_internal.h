/*
 * What each of the 256 bytes may be part of: one table for every check of this
 * layer, so that a byte cannot be legal in one place and illegal in another.
 */
#ifndef WEIR_HTTP_CHARS_INTERNAL_H
#define WEIR_HTTP_CHARS_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"

enum chars_class {
    CHARS_TOKEN = 1 << 0,   /* RFC 9110 5.6.2 */
    CHARS_NAME = 1 << 1,    /* a token byte that a request's field name may hold: not '_' */
    CHARS_TEXT = 1 << 2,    /* field value: visible ASCII, SP, HTAB */
    CHARS_OBSOLETE = 1 << 3, /* 0x80 and above (obs-text) */
    CHARS_TARGET = 1 << 4,  /* request target: visible ASCII without "#<>\^`{|} and the double quote */
    CHARS_PATH = 1 << 5,    /* path: a target byte without ? [ ] and without / . % which need a look */
    CHARS_DIGIT = 1 << 6,
    CHARS_HOST = 1 << 7,    /* a host name: letters, digits, - . _ */
};

extern const uint8_t http__chars[256];

static inline bool chars_is(char byte, unsigned classes)
{
    return (http__chars[(uint8_t)byte] & classes) != 0;
}

/* Every byte of `text` is of one of the classes, and there is at least one. */
static inline bool chars_all(struct bytes text, unsigned classes)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!chars_is(text.at[i], classes))
            return false;
    }
    return text.len > 0;
}

/* The value of a hex digit of either case, or -1. */
static inline int chars_hex(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return -1;
}

#endif
