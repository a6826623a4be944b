/*
 * The counted supply of blocks. It keeps a short chain of free blocks, so that
 * a warm loop neither calls malloc nor free, and refuses when its limit is
 * reached. It never waits and never looks into a block's bytes.
 */
#include "weir/base/blocks.h"

#include <stdlib.h>

#include "poison_internal.h"

#define BLOCK_MAGIC_USED 0xb10c05edu
#define BLOCK_MAGIC_FREE 0xb10cf4eeu

void blocks_init(struct blocks *blocks, size_t limit_bytes, size_t keep_count)
{
    *blocks = (struct blocks){.limit_bytes = limit_bytes, .free_count_max = keep_count};
}

static void free_block(struct block *block)
{
    unpoison(block->data, block->size_bytes);
    block->magic = 0;
    free(block);
}

void blocks_close(struct blocks *blocks)
{
    CHECK(blocks->used_bytes == 0);
    while (blocks->free != NULL) {
        struct block *block = blocks->free;

        blocks->free = block->next;
        free_block(block);
    }
    blocks->free_count = 0;
}

void blocks_set_limit(struct blocks *blocks, size_t limit_bytes)
{
    blocks->limit_bytes = limit_bytes;
}

/* True when `bytes` more would pass the limit; written so that nothing can wrap. */
static bool over_limit(const struct blocks *blocks, size_t bytes)
{
    if (blocks->limit_bytes == 0) {
        return false;
    }
    return blocks->used_bytes > blocks->limit_bytes || bytes > blocks->limit_bytes - blocks->used_bytes;
}

static struct block *reuse_or_allocate(struct blocks *blocks, size_t data_bytes)
{
    struct block *block = blocks->free;

    if (data_bytes == BLOCK_DATA_BYTES && block != NULL) {
        CHECK(block->magic == BLOCK_MAGIC_FREE);
        blocks->free = block->next;
        blocks->free_count--;
        unpoison(block->data, block->size_bytes);
        return block;
    }
    return malloc(sizeof(struct block) + data_bytes);
}

struct block *blocks_take(struct blocks *blocks, size_t bytes, enum blocks_need need)
{
    size_t data_bytes = bytes > BLOCK_DATA_BYTES ? bytes : BLOCK_DATA_BYTES;
    struct block *block;

    if (data_bytes > UINT32_MAX) {
        return NULL;
    }
    if (need == BLOCKS_MAY && over_limit(blocks, sizeof(struct block) + data_bytes)) {
        blocks->refused_count++;
        return NULL;
    }
    block = reuse_or_allocate(blocks, data_bytes);
    if (block == NULL) {
        return NULL;
    }
    block->next = NULL;
    block->size_bytes = (uint32_t)data_bytes;
    block->used_bytes = 0;
    block->read_bytes = 0;
    block->magic = BLOCK_MAGIC_USED;
    blocks->used_bytes += sizeof(struct block) + data_bytes;
    if (blocks->used_bytes > blocks->used_bytes_peak) {
        blocks->used_bytes_peak = blocks->used_bytes;
    }
    return block;
}

void blocks_give(struct blocks *blocks, struct block *block)
{
    size_t bytes = sizeof(struct block) + block->size_bytes;

    CHECK(block->magic == BLOCK_MAGIC_USED);
    CHECK(blocks->used_bytes >= bytes);
    blocks->used_bytes -= bytes;
    if (block->size_bytes != BLOCK_DATA_BYTES || blocks->free_count >= blocks->free_count_max) {
        free_block(block);
        return;
    }
    block->magic = BLOCK_MAGIC_FREE;
    block->next = blocks->free;
    blocks->free = block;
    blocks->free_count++;
    poison(block->data, block->size_bytes);
}
