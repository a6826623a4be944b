/*
 * Which bytes are well-formed UTF-8 (Unicode 15, table 3-7): no overlong form,
 * no surrogate, nothing above U+10FFFF.
 */
#ifndef WEIR_BASE_UTF8_INTERNAL_H
#define WEIR_BASE_UTF8_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

static inline bool utf8_tail(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* How many of the `len` bytes at `at` (at least one) are its first character; 0: it is malformed or cut. */
static inline size_t utf8_char_bytes(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    unsigned char lead = at[0];
    unsigned char second = len > 1 ? at[1] : 0;

    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4 || !utf8_tail(second)) {
        return 0;
    }
    if (lead < 0xe0) {
        return 2;
    }
    if (len < 3 || !utf8_tail(at[2])) {
        return 0;
    }
    if (lead < 0xf0) {
        return (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ? 0 : 3;
    }
    if (len < 4 || !utf8_tail(at[3]) || (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
        return 0;
    }
    return 4;
}

#endif
