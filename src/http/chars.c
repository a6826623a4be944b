/*
 * The table of byte classes. It holds data and nothing else; who asks decides
 * what a refused byte means.
 */
#include "chars_internal.h"

#define SPACE (CHARS_TEXT)
#define ALPHA (CHARS_TOKEN | CHARS_NAME | CHARS_TEXT | CHARS_TARGET | CHARS_PATH | CHARS_HOST)
#define DIGIT (ALPHA | CHARS_DIGIT)
/* In a token, a path and a query. */
#define MARK (CHARS_TOKEN | CHARS_NAME | CHARS_TEXT | CHARS_TARGET | CHARS_PATH)
/* In a path and a query, not in a token. */
#define DELIM (CHARS_TEXT | CHARS_TARGET | CHARS_PATH)
/* In a query; a path asks for more. */
#define QUERY (CHARS_TEXT | CHARS_TARGET)

const uint8_t http__chars[256] = {
    ['\t'] = SPACE,
    [' '] = SPACE,
    ['!'] = MARK,
    ['"'] = CHARS_TEXT,
    ['#'] = CHARS_TOKEN | CHARS_NAME | CHARS_TEXT,
    ['$'] = MARK,
    ['%'] = CHARS_TOKEN | CHARS_NAME | QUERY,
    ['&'] = MARK,
    ['\''] = MARK,
    ['('] = DELIM,
    [')'] = DELIM,
    ['*'] = MARK,
    ['+'] = MARK,
    [','] = DELIM,
    ['-'] = MARK | CHARS_HOST,
    ['.'] = CHARS_TOKEN | CHARS_NAME | QUERY | CHARS_HOST,
    ['/'] = QUERY,
    ['0' ... '9'] = DIGIT,
    [':'] = DELIM,
    [';'] = DELIM,
    ['<'] = CHARS_TEXT,
    ['='] = DELIM,
    ['>'] = CHARS_TEXT,
    ['?'] = QUERY,
    ['@'] = DELIM,
    ['A' ... 'Z'] = ALPHA,
    ['['] = QUERY,
    ['\\'] = CHARS_TEXT,
    [']'] = QUERY,
    ['^'] = CHARS_TOKEN | CHARS_NAME | CHARS_TEXT,
    ['_'] = CHARS_TOKEN | CHARS_TEXT | CHARS_TARGET | CHARS_PATH | CHARS_HOST,
    ['`'] = CHARS_TOKEN | CHARS_NAME | CHARS_TEXT,
    ['a' ... 'z'] = ALPHA,
    ['{'] = CHARS_TEXT,
    ['|'] = CHARS_TOKEN | CHARS_NAME | CHARS_TEXT,
    ['}'] = CHARS_TEXT,
    ['~'] = MARK,
    [0x80 ... 0xff] = CHARS_OBSOLETE,
};
