/*
 * Bump memory with one lifetime: everything of an exchange that is not a queue
 * lives here and dies with it. An empty arena holds no block. Nothing is freed
 * alone.
 */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include "weir/base/blocks.h"
#include "weir/base/bytes.h"

struct arena {
    struct blocks *blocks; /* borrowed from the loop */
    struct block *newest;  /* owned; NULL when empty */
    enum blocks_need need; /* for the blocks to come; raised to BLOCKS_MUST once the exchange is sent */
};

void arena_init(struct arena *arena, struct blocks *blocks);
/* Returns every block; the arena can be used again, at BLOCKS_MAY. */
void arena_reset(struct arena *arena);

/* Aligned for any type, not zeroed. NULL: the supply refused. */
WEIR_MUSTCHECK void *arena_take(struct arena *arena, size_t bytes);
/* The same, zeroed. */
WEIR_MUSTCHECK void *arena_take_zeroed(struct arena *arena, size_t bytes);
/* Copies `bytes` in, followed by a NUL that len does not count. at is NULL when the supply refused. */
WEIR_MUSTCHECK struct bytes arena_copy(struct arena *arena, struct bytes bytes);

#endif
