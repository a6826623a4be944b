/*
 * Bump allocation in the blocks of a supply. Small requests share the newest
 * block; one that is larger than a block gets its own behind it, so that the
 * newest block's room is not lost. Nothing is given back before the reset.
 */
#include "weir/base/arena.h"

#include "poison_internal.h"

#define ARENA_ALIGN _Alignof(max_align_t)
/* A block's data begins after its header, not at an aligned address. */
#define ARENA_START (-sizeof(struct block) & (ARENA_ALIGN - 1))
/* Far below what a block can count, so that no sum here can wrap. */
#define ARENA_TAKE_BYTES_MAX ((size_t)UINT32_MAX / 2)

void arena_init(struct arena *arena, struct blocks *blocks)
{
    *arena = (struct arena){.blocks = blocks, .newest = NULL, .need = BLOCKS_MAY};
}

void arena_reset(struct arena *arena)
{
    struct block *block = arena->newest;

    while (block != NULL) {
        struct block *next = block->next;

        unpoison(block->data, block->size_bytes);
        blocks_give(arena->blocks, block);
        block = next;
    }
    arena->newest = NULL;
    arena->need = BLOCKS_MAY;
}

/* A block with room for `bytes`, linked in: at the front when others may share it, behind it otherwise. */
static struct block *add_block(struct arena *arena, size_t bytes)
{
    struct block *block = blocks_take(arena->blocks, ARENA_START + bytes, arena->need);

    if (block == NULL) {
        return NULL;
    }
    block->used_bytes = (uint32_t)ARENA_START;
    if (block->size_bytes > BLOCK_DATA_BYTES && arena->newest != NULL) {
        block->next = arena->newest->next;
        arena->newest->next = block;
    } else {
        block->next = arena->newest;
        arena->newest = block;
    }
    poison(block->data, block->size_bytes);
    return block;
}

void *arena_take(struct arena *arena, size_t bytes)
{
    struct block *block = arena->newest;
    size_t rounded;
    void *at;

    if (bytes > ARENA_TAKE_BYTES_MAX) {
        return NULL;
    }
    /* An address of its own even for nothing, so that NULL always means refused. */
    rounded = (bytes + (bytes == 0) + POISON_GAP_BYTES + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    if (block == NULL || rounded > block->size_bytes - block->used_bytes) {
        block = add_block(arena, rounded);
        if (block == NULL) {
            return NULL;
        }
    }
    at = block->data + block->used_bytes;
    block->used_bytes += (uint32_t)rounded;
    unpoison(at, bytes);
    return at;
}

void *arena_take_zeroed(struct arena *arena, size_t bytes)
{
    void *at = arena_take(arena, bytes);

    return at == NULL ? NULL : memset(at, 0, bytes);
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes)
{
    char *at = bytes.len < SIZE_MAX ? arena_take(arena, bytes.len + 1) : NULL;

    if (at == NULL) {
        return BYTES_NONE;
    }
    if (bytes.len > 0) {
        memcpy(at, bytes.at, bytes.len);
    }
    at[bytes.len] = '\0';
    return bytes_of(at, bytes.len);
}
