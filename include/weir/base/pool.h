/*
 * Objects of one size, reused. The pool is sized from the configuration: it
 * keeps what was once needed and never hands out more than `count_max`.
 * Putting an object twice, or one of another pool, is caught by CHECK.
 */
#ifndef WEIR_BASE_POOL_H
#define WEIR_BASE_POOL_H

#include <stddef.h>

#include "weir/base/check.h"

struct pool {
    const char *name;    /* static; for messages and metrics */
    size_t object_bytes; /* what the caller asked for */
    size_t count_max;    /* 0: no maximum */
    size_t count_used;   /* handed out now */
    size_t count_free;   /* kept for reuse */
    void *free;          /* chain of kept objects */
    void *slabs;         /* chain of slabs; freed by pool_close */
};

/* object_bytes as sizeof gives it. */
void pool_init(struct pool *pool, const char *name, size_t object_bytes, size_t count_max);
/* Every object must have been put. */
void pool_close(struct pool *pool);

/* Zeroed and aligned to 8 bytes. NULL: count_max reached, or no memory. */
WEIR_MUSTCHECK void *pool_get(struct pool *pool);
/* The object must not be touched afterwards; AddressSanitizer watches that. */
void pool_put(struct pool *pool, void *object);

#endif
