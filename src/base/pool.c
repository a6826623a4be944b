/*
 * Objects of one size, cut from slabs. Eight bytes before each object name its
 * pool and whether it is handed out; a put that finds anything else aborts. A
 * slab is freed only when the pool closes, so an object's address stays an
 * object's address and a stale pointer can be recognised.
 */
#include "weir/base/pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "poison_internal.h"

#define POOL_SLAB_BYTES 16384 /* aimed at; a larger object gets a slab of its own */
#define POOL_MARK_USED  UINT64_C(0x5ed0b1ec7a11ce00)
#define POOL_MARK_FREE  UINT64_C(0xf4eeb1ec7dead000)

struct slot {
    uint64_t mark;     /* the pool's address mixed with one of the marks above */
    struct slot *next; /* while free; the object begins here */
};

struct slab {
    struct slab *next;
    uint64_t unused; /* keeps the first object as aligned as malloc's answer */
};

static uint64_t mark_of(const struct pool *pool, uint64_t state)
{
    return (uint64_t)(uintptr_t)pool ^ state;
}

static struct slot *slot_of(void *object)
{
    return container_of(object, struct slot, next);
}

static size_t payload_bytes(const struct pool *pool)
{
    size_t bytes = pool->object_bytes < sizeof(struct slot *) ? sizeof(struct slot *) : pool->object_bytes;

    return (bytes + 7) & ~(size_t)7;
}

static size_t stride_bytes(const struct pool *pool)
{
    return offsetof(struct slot, next) + payload_bytes(pool);
}

void pool_init(struct pool *pool, const char *name, size_t object_bytes, size_t count_max)
{
    CHECK(object_bytes > 0 && object_bytes < SIZE_MAX / 2);
    *pool = (struct pool){.name = name, .object_bytes = object_bytes, .count_max = count_max};
}

void pool_close(struct pool *pool)
{
    struct slab *slab = pool->slabs;

    CHECK(pool->count_used == 0);
    while (slab != NULL) {
        struct slab *next = slab->next;

        free(slab);
        slab = next;
    }
    pool->slabs = NULL;
    pool->free = NULL;
    pool->count_free = 0;
}

static void keep(struct pool *pool, struct slot *slot)
{
    slot->mark = mark_of(pool, POOL_MARK_FREE);
    slot->next = pool->free;
    pool->free = slot;
    pool->count_free++;
    poison(slot, stride_bytes(pool));
}

/* As many objects as the aimed size holds, but no more than may ever be handed out. */
static size_t slab_count(const struct pool *pool)
{
    size_t count = POOL_SLAB_BYTES / stride_bytes(pool);
    size_t left = pool->count_max - pool->count_used; /* count_free is 0 whenever a slab is added */

    if (pool->count_max > 0 && count > left) {
        count = left;
    }
    return count == 0 ? 1 : count;
}

static bool add_slab(struct pool *pool)
{
    size_t stride = stride_bytes(pool);
    size_t count = slab_count(pool);
    struct slab *slab = malloc(sizeof(*slab) + count * stride);

    if (slab == NULL) {
        return false;
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (size_t i = count; i > 0; i--) {
        keep(pool, (struct slot *)(void *)((char *)(slab + 1) + (i - 1) * stride));
    }
    return true;
}

void *pool_get(struct pool *pool)
{
    struct slot *slot;

    if (pool->count_max > 0 && pool->count_used >= pool->count_max) {
        return NULL;
    }
    if (pool->free == NULL && !add_slab(pool)) {
        return NULL;
    }
    slot = pool->free;
    unpoison(slot, stride_bytes(pool));
    CHECK(slot->mark == mark_of(pool, POOL_MARK_FREE));
    pool->free = slot->next;
    pool->count_free--;
    pool->count_used++;
    slot->mark = mark_of(pool, POOL_MARK_USED);
    memset(&slot->next, 0, payload_bytes(pool));
    poison(slot, offsetof(struct slot, next)); /* the mark is the fence between two neighbours */
    poison((char *)&slot->next + pool->object_bytes, payload_bytes(pool) - pool->object_bytes);
    return &slot->next;
}

void pool_put(struct pool *pool, void *object)
{
    struct slot *slot = slot_of(object);

    unpoison(slot, stride_bytes(pool));
    CHECK(slot->mark == mark_of(pool, POOL_MARK_USED)); /* else: put twice, or of another pool */
    CHECK(pool->count_used > 0);
    pool->count_used--;
    keep(pool, slot);
}
