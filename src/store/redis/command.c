/*
 * Commands as the bytes that Redis reads: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", all
 * of a turn in one run. Written here rather than by hiredis's formatter, which
 * makes one allocation and a dozen sprintf of each command.
 */
#include "redis_internal.h"

#include <stdlib.h>
#include <string.h>

#define OUT_FIRST_BYTES 4096
#define OUT_KEPT_BYTES  (64u << 10)

void out_reset(struct out *out)
{
    out->len = 0;
    out->failed = false;
    if (out->room > OUT_KEPT_BYTES) {
        out_close(out);
    }
}

void out_close(struct out *out)
{
    free(out->at);
    *out = (struct out){0};
}

/* Room for so many more bytes. */
static bool reserve(struct out *out, size_t len)
{
    size_t room = out->room == 0 ? OUT_FIRST_BYTES : out->room;
    char *at;
    if (out->failed || len <= out->room - out->len) {
        return !out->failed;
    }
    while (room - out->len < len) {
        room *= 2;
    }
    at = realloc(out->at, room);
    out->failed = at == NULL;
    if (at != NULL) {
        out->at = at;
        out->room = room;
    }
    return at != NULL;
}

/* "$12\r\n". Nearly every length has one digit or two. */
static char *put_count(char *at, char mark, uint64_t count)
{
    *at++ = mark;
    if (count < 10) {
        *at++ = (char)('0' + count);
    } else if (count < 100) {
        *at++ = (char)('0' + count / 10);
        *at++ = (char)('0' + count % 10);
    } else {
        at += bytes_from_u64(count, at);
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

#define COUNT_BYTES (BYTES_U64_DIGITS + 3)

void out_command(struct out *out, int argument_count)
{
    if (reserve(out, COUNT_BYTES)) {
        out->len = (size_t)(put_count(out->at + out->len, '*', (uint64_t)argument_count) - out->at);
    }
}

void out_bytes(struct out *out, struct bytes bytes)
{
    if (reserve(out, COUNT_BYTES + bytes.len + 2)) {
        char *at = bytes_put(put_count(out->at + out->len, '$', bytes.len), bytes);
        *at++ = '\r';
        *at++ = '\n';
        out->len = (size_t)(at - out->at);
    }
}

void out_u64(struct out *out, uint64_t value)
{
    char text[BYTES_U64_DIGITS];
    size_t len = bytes_from_u64(value, text);
    if (reserve(out, COUNT_BYTES + len + 2)) {
        char *at = put_count(out->at + out->len, '$', len);
        memcpy(at, text, len);
        memcpy(at + len, "\r\n", 2);
        out->len = (size_t)(at + len + 2 - out->at);
    }
}
