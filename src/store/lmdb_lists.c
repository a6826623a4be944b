/*
 * What the sweep and a walk ask the embedded store for: names in the order of a
 * table, a bounded number at a time, copied out, so that the records may be
 * changed while the list is gone through; and the deletes that need no record.
 */
#include "lmdb_internal.h"

#define TIME_KEY_BYTES (8 + LMDB_NAME_BYTES)

/* ---- names by time ---- */

/* Names of a table whose keys are `head` (may be empty), a time up to until_ms, and the name; the oldest first. */
static int list_by_time(struct lmdb *lmdb, enum lmdb_table table, struct bytes head, uint64_t until_ms,
                        struct lmdb_due *dues, int most, int *error)
{
    MDB_cursor *cursor;
    MDB_val key = {head.len, (void *)(uintptr_t)head.at}, value;
    int count = 0;
    *error = mdb_cursor_open(lmdb->txn, lmdb->tables[table], &cursor);
    if (*error != 0) {
        return -1;
    }
    *error = mdb_cursor_get(cursor, &key, &value, head.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
    while (*error == 0 && count < most) {
        const uint8_t *at = key.mv_data;
        if (key.mv_size != head.len + TIME_KEY_BYTES || memcmp(at, head.at, head.len) != 0 ||
            lmdb_u64_read(at + head.len) > until_ms) {
            break;
        }
        dues[count].ms = lmdb_u64_read(at + head.len);
        lmdb_name_read(at + head.len + 8, &dues[count].name);
        count++;
        *error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    *error = *error == MDB_NOTFOUND ? 0 : *error;
    return *error == 0 ? count : -1;
}

int lmdb_list_open(struct lmdb *lmdb, enum idem_state state, uint64_t until_ms, struct lmdb_due *dues, int most,
                   int *error)
{
    uint8_t head = (uint8_t)state;
    return list_by_time(lmdb, LMDB_OPEN, bytes_of(&head, 1), until_ms, dues, most, error);
}

int lmdb_list_expiring(struct lmdb *lmdb, uint64_t until_ms, struct lmdb_due *dues, int most, int *error)
{
    return list_by_time(lmdb, LMDB_EXPIRY, bytes_of("", 0), until_ms, dues, most, error);
}

uint64_t lmdb_oldest_told_ms(struct lmdb *lmdb)
{
    struct lmdb_due due;
    int error;
    return list_by_time(lmdb, LMDB_TOLD, bytes_of("", 0), UINT64_MAX, &due, 1, &error) == 1 ? due.ms : 0;
}

/* ---- deletes ---- */

/* Deletes where the cursor stands, and counts it off its bucket. */
static int drop_current(struct lmdb *lmdb, MDB_cursor *cursor, uint16_t bucket, const MDB_val *key,
                        const MDB_val *value)
{
    int64_t bytes = (int64_t)(key->mv_size + value->mv_size + LMDB_ENTRY_EXTRA_BYTES);
    int error = mdb_cursor_del(cursor, 0);
    if (error == 0) {
        lmdb->dirty = true;
        lmdb_bucket_add(lmdb, bucket, -bytes);
    }
    return error;
}

/* What is not there is gone already. */
static int drop_key(struct lmdb *lmdb, enum lmdb_table table, uint16_t bucket, const void *at, size_t len)
{
    MDB_cursor *cursor;
    MDB_val key = {len, (void *)(uintptr_t)at}, value;
    int error = mdb_cursor_open(lmdb->txn, lmdb->tables[table], &cursor);
    if (error != 0) {
        return error;
    }
    error = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    if (error == 0) {
        error = drop_current(lmdb, cursor, bucket, &key, &value);
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

int lmdb_drop_open(struct lmdb *lmdb, enum idem_state state, const struct lmdb_due *due)
{
    uint8_t key[1 + TIME_KEY_BYTES];
    key[0] = (uint8_t)state;
    lmdb_u64_write(due->ms, key + 1);
    lmdb_name_write(&due->name, key + 9);
    return drop_key(lmdb, LMDB_OPEN, due->name.bucket, key, sizeof key);
}

int lmdb_drop_expiring(struct lmdb *lmdb, const struct lmdb_due *due, bool and_record)
{
    uint8_t key[TIME_KEY_BYTES];
    lmdb_u64_write(due->ms, key);
    lmdb_name_write(&due->name, key + 8);
    int error = drop_key(lmdb, LMDB_EXPIRY, due->name.bucket, key, sizeof key);
    if (error == 0 && and_record) {
        error = drop_key(lmdb, LMDB_RECORDS, due->name.bucket, key + 8, LMDB_NAME_BYTES);
    }
    return error;
}

int lmdb_drop_answers(struct lmdb *lmdb, uint64_t until_ms, int most, int *error)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int count = 0;
    *error = mdb_cursor_open(lmdb->txn, lmdb->tables[LMDB_ANSWERS], &cursor);
    if (*error != 0) {
        return -1;
    }
    while (count < most && (*error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)) == 0) {
        const uint8_t *at = key.mv_data;
        if (key.mv_size != LMDB_PART_KEY_BYTES || lmdb_u64_read(at) > until_ms) {
            break;
        }
        uint16_t bucket = (uint16_t)(at[16] << 8 | at[17]);
        if ((*error = drop_current(lmdb, cursor, bucket % IDEM_BUCKETS, &key, &value)) != 0) {
            break;
        }
        count++;
    }
    mdb_cursor_close(cursor);
    *error = *error == MDB_NOTFOUND ? 0 : *error;
    return *error == 0 ? count : -1;
}

/* ---- walks ---- */

/* The names in the keys of records stand at their start, those of open behind state and time. */
static size_t name_offset(enum lmdb_table table)
{
    return table == LMDB_RECORDS ? 0 : 1 + 8;
}

static bool is_wanted(const struct idem_name *name, const struct idem_name *prefix, size_t hash_len)
{
    return prefix == NULL || (name->bucket == prefix->bucket && memcmp(name->hash, prefix->hash, hash_len) == 0);
}

/* Puts the cursor at the first entry that is not told yet. In records, names of one prefix stand side by side. */
static int walk_start(MDB_cursor *cursor, enum lmdb_table table, const struct lmdb_place *place,
                      const struct idem_name *prefix, size_t hash_len, MDB_val *key, MDB_val *value)
{
    uint8_t first[LMDB_NAME_BYTES];
    if (place->len > 0) {
        *key = (MDB_val){place->len, (void *)(uintptr_t)place->key};
        int error = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
        bool same = error == 0 && key->mv_size == place->len && memcmp(key->mv_data, place->key, place->len) == 0;
        return same ? mdb_cursor_get(cursor, key, value, MDB_NEXT) : error;
    }
    if (table != LMDB_RECORDS || prefix == NULL) {
        return mdb_cursor_get(cursor, key, value, MDB_FIRST);
    }
    lmdb_name_write(prefix, first);
    *key = (MDB_val){2 + hash_len, first};
    return mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
}

int lmdb_list_from(struct lmdb *lmdb, enum lmdb_table table, struct lmdb_place *place, const struct idem_name *prefix,
                   size_t hash_len, struct idem_name *names, int most, int looked, bool *over, int *error)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int count = 0;
    *error = mdb_cursor_open(lmdb->txn, lmdb->tables[table], &cursor);
    if (*error != 0) {
        return -1;
    }
    *error = walk_start(cursor, table, place, prefix, hash_len, &key, &value);
    while (*error == 0 && count < most && looked > 0) {
        if (key.mv_size != name_offset(table) + LMDB_NAME_BYTES) {
            *error = MDB_CORRUPTED;
            break;
        }
        place->len = key.mv_size;
        memcpy(place->key, key.mv_data, key.mv_size);
        lmdb_name_read((const uint8_t *)key.mv_data + name_offset(table), &names[count]);
        if (is_wanted(&names[count], prefix, hash_len)) {
            count++;
        } else if (table == LMDB_RECORDS) {
            *error = MDB_NOTFOUND; /* behind the prefix */
            break;
        }
        looked--;
        *error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    *over = *error == MDB_NOTFOUND;
    *error = *over ? 0 : *error;
    return *error == 0 ? count : -1;
}
