/*
 * Bytes of one section (a head, a trailer) made contiguous over several reads,
 * in the arena and under a cap. Not used when the section came in one piece.
 */
#ifndef WEIR_HTTP_GATHER_INTERNAL_H
#define WEIR_HTTP_GATHER_INTERNAL_H

#include "weir/base/arena.h"

struct gather {
    char *at;    /* in the arena; NULL before the first byte */
    size_t len;  /* gathered, in bytes */
    size_t size; /* of the room at `at`, in bytes */
};

static inline struct bytes gather_bytes(const struct gather *gather)
{
    return bytes_of(gather->at, gather->len);
}

/* Copies `bytes` behind what is there; the caller has cut them to its cap `len_max`. False: the arena refused. */
WEIR_MUSTCHECK bool gather__append(struct gather *gather, struct arena *arena, struct bytes bytes, size_t len_max);

#endif
