/*
 * Commands as the bytes that Redis reads: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", all
 * of a turn in one run. Written here rather than by hiredis's formatter, which
 * makes one allocation and a dozen sprintf of each command.
 */
#include "redis_internal.h"

#include <stdlib.h>

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

/* "$12\r\n" */
static void put_count(struct out *out, char mark, uint64_t count)
{
    out->at[out->len++] = mark;
    out->len += bytes_from_u64(count, out->at + out->len);
    out->at[out->len++] = '\r';
    out->at[out->len++] = '\n';
}

#define COUNT_BYTES (BYTES_U64_DIGITS + 3)

void out_command(struct out *out, int argument_count)
{
    if (reserve(out, COUNT_BYTES)) {
        put_count(out, '*', (uint64_t)argument_count);
    }
}

void out_bytes(struct out *out, struct bytes bytes)
{
    if (reserve(out, COUNT_BYTES + bytes.len + 2)) {
        put_count(out, '$', bytes.len);
        out->len = (size_t)(bytes_put(out->at + out->len, bytes) - out->at);
        out->at[out->len++] = '\r';
        out->at[out->len++] = '\n';
    }
}

void out_u64(struct out *out, uint64_t value)
{
    char text[BYTES_U64_DIGITS];
    out_bytes(out, bytes_of(text, bytes_from_u64(value, text)));
}
