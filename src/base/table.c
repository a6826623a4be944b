/*
 * Open addressing with linear probing over a power-of-two array that is at
 * most three quarters full. A removal shifts the entries behind it back, so
 * there are no tombstones and a table that churns for months stays as quick as
 * on its first day. The array never shrinks.
 */
#include "weir/base/table.h"

#include <stdlib.h>
#include <xxhash.h>

#include "weir/base/digest.h"

#define TABLE_SIZE_MIN 16

struct entry {
    uint64_t hash;
    char *key; /* owned copy; NULL: the place is empty */
    size_t key_len;
    void *value;
};

struct table {
    struct entry *entries;
    size_t size; /* places; 0 before the first put, then a power of two */
    size_t count;
    size_t count_max; /* 0: no maximum */
    uint64_t seed;
};

struct table *table_open(size_t count_max)
{
    struct table *table = calloc(1, sizeof(*table));

    if (table != NULL) {
        table->count_max = count_max;
        digest_random(&table->seed, sizeof(table->seed));
    }
    return table;
}

void table_close(struct table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < table->size; i++) {
        free(table->entries[i].key);
    }
    free(table->entries);
    free(table);
}

size_t table_count(const struct table *table)
{
    return table->count;
}

static uint64_t hash_of(const struct table *table, struct bytes key)
{
    return XXH3_64bits_withSeed(key.at, key.len, table->seed);
}

/* The key's place, or the empty one where it would be put. The table has at least one empty place. */
static struct entry *place_of(const struct table *table, struct bytes key, uint64_t hash)
{
    size_t mask = table->size - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct entry *entry = &table->entries[i];

        if (entry->key == NULL || (entry->hash == hash && bytes_equal(bytes_of(entry->key, entry->key_len), key))) {
            return entry;
        }
    }
}

void *table_find(const struct table *table, struct bytes key)
{
    return table->count == 0 ? NULL : place_of(table, key, hash_of(table, key))->value;
}

static bool grow(struct table *table)
{
    size_t size = table->size == 0 ? TABLE_SIZE_MIN : table->size * 2;
    struct entry *entries = calloc(size, sizeof(*entries));

    if (entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->size; i++) {
        size_t at = table->entries[i].hash & (size - 1);

        if (table->entries[i].key == NULL) {
            continue;
        }
        while (entries[at].key != NULL) {
            at = (at + 1) & (size - 1);
        }
        entries[at] = table->entries[i];
    }
    free(table->entries);
    table->entries = entries;
    table->size = size;
    return true;
}

static char *copy_key(struct bytes key)
{
    char *copy = malloc(key.len + (key.len == 0)); /* an empty key needs an address too */

    if (copy != NULL && key.len > 0) {
        memcpy(copy, key.at, key.len);
    }
    return copy;
}

bool table_put(struct table *table, struct bytes key, void *value)
{
    uint64_t hash = hash_of(table, key);
    struct entry *entry = table->size == 0 ? NULL : place_of(table, key, hash);
    char *copy;

    CHECK(value != NULL);
    if (entry != NULL && entry->key != NULL) {
        entry->value = value;
        return true;
    }
    if (table->count_max > 0 && table->count >= table->count_max) {
        return false;
    }
    if ((table->count + 1) * 4 > table->size * 3) {
        if (!grow(table)) {
            return false;
        }
        entry = place_of(table, key, hash);
    }
    copy = copy_key(key);
    if (copy == NULL) {
        return false;
    }
    *entry = (struct entry){.hash = hash, .key = copy, .key_len = key.len, .value = value};
    table->count++;
    return true;
}

/* Moves later entries of the same probe run into the hole, until one is at home or the run ends. */
static void close_gap(struct table *table, size_t hole)
{
    size_t mask = table->size - 1;

    for (size_t i = (hole + 1) & mask; table->entries[i].key != NULL; i = (i + 1) & mask) {
        size_t home = table->entries[i].hash & mask;

        /* It may move when the hole lies between its home and its place. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            table->entries[hole] = table->entries[i];
            hole = i;
        }
    }
    table->entries[hole] = (struct entry){0};
}

void *table_remove(struct table *table, struct bytes key)
{
    struct entry *entry;
    void *value;

    if (table->count == 0) {
        return NULL;
    }
    entry = place_of(table, key, hash_of(table, key));
    if (entry->key == NULL) {
        return NULL;
    }
    value = entry->value;
    free(entry->key);
    close_gap(table, (size_t)(entry - table->entries));
    table->count--;
    return value;
}

bool table_next(const struct table *table, size_t *cursor, struct bytes *key, void **value)
{
    while (*cursor < table->size) {
        const struct entry *entry = &table->entries[(*cursor)++];

        if (entry->key != NULL) {
            *key = bytes_of(entry->key, entry->key_len);
            *value = entry->value;
            return true;
        }
    }
    return false;
}
