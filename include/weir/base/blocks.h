/*
 * The memory for all buffered bytes of a loop: fixed blocks from one counted
 * supply. Arenas and bufs are made of these blocks, so one number bounds what
 * a process can hold for its clients and processors (`memory.buffers`), and a
 * full supply has one reply: 503 shed.
 *
 * A sent exchange is never refused room (a payment's answer is worth more than
 * the bound): its requests pass BLOCKS_MUST and may exceed the limit. They fail
 * only when malloc does.
 */
#ifndef WEIR_BASE_BLOCKS_H
#define WEIR_BASE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/check.h"

#define BLOCK_BYTES 4096 /* of a whole block, header included */

struct block {
    struct block *next;  /* owned by the arena or buf that the block is in; NULL at the end */
    uint32_t size_bytes; /* of data; BLOCK_DATA_BYTES, or more for an outsize block */
    uint32_t used_bytes; /* written so far */
    uint32_t read_bytes; /* consumed from the front (buf only) */
    uint32_t magic;
    char data[];
};

#define BLOCK_DATA_BYTES (BLOCK_BYTES - sizeof(struct block))

enum blocks_need {
    BLOCKS_MAY,  /* refuse when the limit is reached */
    BLOCKS_MUST, /* this serves a sent exchange: exceed the limit */
};

/* One per loop. Fields are read by metrics; only blocks.c writes them. */
struct blocks {
    struct block *free;        /* kept for reuse */
    size_t free_count;
    size_t free_count_max;     /* above this, returned blocks go back to malloc */
    size_t used_bytes;         /* in arenas and bufs now, outsize blocks included */
    size_t used_bytes_peak;
    size_t limit_bytes;
    uint64_t refused_count;    /* BLOCKS_MAY requests refused */
};

/* `limit_bytes`: 0 means no limit (tools only). `keep_count` free blocks are kept for reuse. */
void blocks_init(struct blocks *blocks, size_t limit_bytes, size_t keep_count);
/* All blocks must have been returned. */
void blocks_close(struct blocks *blocks);
void blocks_set_limit(struct blocks *blocks, size_t limit_bytes);

/* A block with at least `bytes` of data (1 gives a plain one). NULL: limit reached, or no memory. */
WEIR_MUSTCHECK struct block *blocks_take(struct blocks *blocks, size_t bytes, enum blocks_need need);
/* Gives one block back, wiped of nothing: holders of card data call explicit_bzero themselves. */
void blocks_give(struct blocks *blocks, struct block *block);

#endif
