/*
 * Growing by doubling costs the arena at most twice the cap, because nothing in
 * it is freed alone; one that is asked for less never pays that.
 */
#include "gather_internal.h"

#define GATHER_BYTES_MIN 1024

bool gather__append(struct gather *gather, struct arena *arena, struct bytes bytes, size_t len_max)
{
    size_t len = gather->len + bytes.len;
    CHECK(len <= len_max);
    if (len > gather->size) {
        size_t size = gather->size > 0 ? gather->size : GATHER_BYTES_MIN;
        while (size < len)
            size *= 2;
        if (size > len_max)
            size = len_max;
        char *at = arena_take(arena, size);
        if (at == NULL)
            return false;
        if (gather->len > 0)
            memcpy(at, gather->at, gather->len);
        gather->at = at;
        gather->size = size;
    }
    if (bytes.len > 0)
        memcpy(gather->at + gather->len, bytes.at, bytes.len);
    gather->len = len;
    return true;
}
