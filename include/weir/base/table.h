/*
 * A hash table from bytes to a pointer, seeded so that callers cannot choose
 * collisions (xxh3 with a random seed). Keys are copied. For tables that grow
 * with the world `count_max` bounds it.
 */
#ifndef WEIR_BASE_TABLE_H
#define WEIR_BASE_TABLE_H

#include "weir/base/bytes.h"

struct table;

/* count_max 0: no maximum. NULL on no memory. */
WEIR_MUSTCHECK struct table *table_open(size_t count_max);
void table_close(struct table *table);
size_t table_count(const struct table *table);

/* The value, or NULL. */
void *table_find(const struct table *table, struct bytes key);
/* Sets or replaces; value is not NULL. False: count_max reached or no memory. */
WEIR_MUSTCHECK bool table_put(struct table *table, struct bytes key, void *value);
/* The value that was there, or NULL. */
void *table_remove(struct table *table, struct bytes key);
/* Iteration: start with *cursor = 0; false at the end. The table must not change meanwhile. */
bool table_next(const struct table *table, size_t *cursor, struct bytes *key, void **value);

#endif
