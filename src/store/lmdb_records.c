/*
 * Records in a transaction of the embedded store: one is read, and put back
 * changed, with its answer and its entries in the tables that sort by time.
 * Which entries a record has follows from the record alone (entries_of), so
 * that a change of any kind is: take the old ones out, put the new ones in.
 */
#include "lmdb_internal.h"

#define TIME_KEY_BYTES (8 + LMDB_NAME_BYTES)
#define OPEN_KEY_BYTES (1 + TIME_KEY_BYTES)
#define PART_KEY_BYTES LMDB_PART_KEY_BYTES
/*
 * Two of them fit a page, and none needs pages of its own: an answer needs no run of free pages, which a store in use
 * has ever fewer of.
 */
#define PART_BYTES 2000u

const char lmdb_answer_in_file[1] = "";

/* ---- keys ---- */

static void time_key(uint64_t ms, const struct idem_name *name, uint8_t key[TIME_KEY_BYTES])
{
    lmdb_u64_write(ms, key);
    lmdb_name_write(name, key + 8);
}

static void open_key(enum idem_state state, uint64_t ms, const struct idem_name *name, uint8_t key[OPEN_KEY_BYTES])
{
    key[0] = (uint8_t)state;
    time_key(ms, name, key + 1);
}

/*
 * Serials rise from answer to answer, so that answers that are kept for the same time are written one behind the other:
 * full pages, few of which change in a transaction, and which expire together.
 */
static void part_key(const struct idem_record *record, uint64_t serial, uint16_t bucket, uint32_t part,
                     uint8_t key[PART_KEY_BYTES])
{
    lmdb_u64_write(record->answer_expires_ms, key);
    lmdb_u64_write(serial, key + 8);
    key[16] = (uint8_t)(bucket >> 8);
    key[17] = (uint8_t)bucket;
    key[18] = (uint8_t)(part >> 8);
    key[19] = (uint8_t)part;
}

/* Of an answer that is new in this transaction. No other transaction that is kept has its number. */
static uint64_t next_serial(struct lmdb *lmdb)
{
    return (uint64_t)mdb_txn_id(lmdb->txn) << 20 | lmdb->answers++;
}

/* ---- the single changes ---- */

/* `append`: it is likely to be the last of its table, whose pages are then filled to the end. */
static int put(struct lmdb *lmdb, enum lmdb_table table, const struct idem_name *name, const void *key, size_t key_len,
               const void *value, size_t len, bool append)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {len, (void *)(uintptr_t)value};
    int error = mdb_put(lmdb->txn, lmdb->tables[table], &k, &v, append ? MDB_APPEND : 0);
    if (error == MDB_KEYEXIST) {
        error = mdb_put(lmdb->txn, lmdb->tables[table], &k, &v, 0); /* it is not the last */
    }
    if (error == 0) {
        lmdb->dirty = true;
        lmdb_bucket_add(lmdb, name->bucket, (int64_t)(key_len + len + LMDB_ENTRY_EXTRA_BYTES));
    }
    return error;
}

/* `len`: of the value that was there. */
static int del(struct lmdb *lmdb, enum lmdb_table table, const struct idem_name *name, const void *key, size_t key_len,
               size_t len)
{
    MDB_val k = {key_len, (void *)(uintptr_t)key};
    int error = mdb_del(lmdb->txn, lmdb->tables[table], &k, NULL);
    if (error == 0) {
        lmdb->dirty = true;
        lmdb_bucket_add(lmdb, name->bucket, -(int64_t)(key_len + len + LMDB_ENTRY_EXTRA_BYTES));
    }
    return error == MDB_NOTFOUND ? 0 : error;
}

/* ---- the tables that sort by time ---- */

/* One entry that a record has, or not (len 0). */
struct entry_key {
    size_t len;
    uint8_t at[OPEN_KEY_BYTES];
};

enum { ENTRY_OPEN, ENTRY_TOLD, ENTRY_EXPIRY, ENTRY_COUNT };
static const enum lmdb_table entry_tables[ENTRY_COUNT] = {LMDB_OPEN, LMDB_TOLD, LMDB_EXPIRY};

static void entries_of(const struct idem_name *name, const struct idem_record *record,
                       struct entry_key keys[ENTRY_COUNT])
{
    memset(keys, 0, ENTRY_COUNT * sizeof keys[0]);
    uint64_t due_ms = record == NULL ? 0 : idem_record_due_ms(record);
    if (due_ms != 0) {
        open_key(record->state, due_ms, name, keys[ENTRY_OPEN].at);
        keys[ENTRY_OPEN].len = OPEN_KEY_BYTES;
    }
    if (record != NULL && record->told) {
        time_key(record->begun_ms, name, keys[ENTRY_TOLD].at);
        keys[ENTRY_TOLD].len = TIME_KEY_BYTES;
    }
    /* In flight, the lease's end comes first. */
    if (record != NULL && record->state != IDEM_IN_FLIGHT) {
        time_key(record->expires_ms, name, keys[ENTRY_EXPIRY].at);
        keys[ENTRY_EXPIRY].len = TIME_KEY_BYTES;
    }
}

static int change_entries(struct lmdb *lmdb, const struct idem_name *name, const struct idem_record *old,
                          const struct idem_record *new)
{
    struct entry_key was[ENTRY_COUNT], is[ENTRY_COUNT];
    entries_of(name, old, was);
    entries_of(name, new, is);
    for (int i = 0; i < ENTRY_COUNT; i++) {
        int error = 0;
        if (was[i].len == is[i].len && memcmp(was[i].at, is[i].at, is[i].len) == 0) {
            continue;
        }
        if (was[i].len > 0) {
            error = del(lmdb, entry_tables[i], name, was[i].at, was[i].len, 0);
        }
        if (error == 0 && is[i].len > 0) {
            error = put(lmdb, entry_tables[i], name, is[i].at, is[i].len, "", 0, false);
        }
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* ---- answers ---- */

static int put_answer(struct lmdb *lmdb, const struct idem_name *name, const struct idem_record *record,
                      uint64_t serial)
{
    uint8_t key[PART_KEY_BYTES];
    struct bytes rest = record->answer;
    for (uint32_t part = 0; rest.len > 0; part++) {
        struct bytes piece = bytes_take(rest, PART_BYTES);
        CHECK(part <= UINT16_MAX);
        part_key(record, serial, name->bucket, part, key);
        int error = put(lmdb, LMDB_ANSWERS, name, key, sizeof key, piece.at, piece.len, true);
        if (error != 0) {
            return error;
        }
        rest = bytes_skip(rest, piece.len);
    }
    return 0;
}

/* Parts that the sweep deleted before are no error. */
static int del_answer(struct lmdb *lmdb, const struct lmdb_entry *entry)
{
    const struct idem_record *record = &entry->record;
    uint8_t key[PART_KEY_BYTES];
    for (size_t at = 0; at < record->answer.len; at += PART_BYTES) {
        size_t len = record->answer.len - at < PART_BYTES ? record->answer.len - at : PART_BYTES;
        part_key(record, entry->answer_serial, entry->name.bucket, (uint32_t)(at / PART_BYTES), key);
        int error = del(lmdb, LMDB_ANSWERS, &entry->name, key, sizeof key, len);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

int lmdb_answer_read(struct lmdb *lmdb, const struct lmdb_entry *entry, char *out)
{
    const struct idem_record *record = &entry->record;
    uint8_t key[PART_KEY_BYTES];
    for (size_t at = 0; at < record->answer.len; at += PART_BYTES) {
        size_t len = record->answer.len - at < PART_BYTES ? record->answer.len - at : PART_BYTES;
        part_key(record, entry->answer_serial, entry->name.bucket, (uint32_t)(at / PART_BYTES), key);
        MDB_val k = {sizeof key, key}, v;
        int error = mdb_get(lmdb->txn, lmdb->tables[LMDB_ANSWERS], &k, &v);
        if (error != 0) {
            return error;
        }
        if (v.mv_size != len) {
            return MDB_NOTFOUND;
        }
        memcpy(out + at, v.mv_data, len);
    }
    return 0;
}

/* ---- one record ---- */

int lmdb_load(struct lmdb *lmdb, const struct idem_name *name, struct lmdb_entry *entry)
{
    uint8_t key[LMDB_NAME_BYTES];
    lmdb_name_write(name, key);
    MDB_val k = {sizeof key, key}, v;
    entry->name = *name;
    entry->found = false;
    entry->len = 0;
    entry->answer_serial = 0;
    memset(&entry->record, 0, sizeof entry->record);
    int error = mdb_get(lmdb->txn, lmdb->tables[LMDB_RECORDS], &k, &v);
    if (error != 0) {
        return error == MDB_NOTFOUND ? 0 : error;
    }
    entry->found = true;
    entry->len = v.mv_size;
    if (v.mv_size > sizeof entry->bytes) {
        return LMDB_ERR_BROKEN;
    }
    /* A later change of the tables may move what LMDB points to. */
    memcpy(entry->bytes, v.mv_data, v.mv_size);
    if (!lmdb_record_read(name, bytes_of(entry->bytes, entry->len), &entry->record, &entry->answer_serial)) {
        return LMDB_ERR_BROKEN;
    }
    if (entry->record.answer.len > 0) {
        entry->record.answer.at = lmdb_answer_in_file;
    }
    return 0;
}

static int change_record(struct lmdb *lmdb, const struct lmdb_entry *entry, const struct idem_record *record,
                         uint64_t serial)
{
    uint8_t key[LMDB_NAME_BYTES], bytes[LMDB_RECORD_BYTES_MAX];
    lmdb_name_write(&entry->name, key);
    if (record == NULL) {
        return del(lmdb, LMDB_RECORDS, &entry->name, key, sizeof key, entry->len);
    }
    size_t len = lmdb_record_write(&entry->name, record, serial, bytes);
    int error = put(lmdb, LMDB_RECORDS, &entry->name, key, sizeof key, bytes, len, false);
    if (error == 0 && entry->found) {
        /* What it replaced. */
        lmdb_bucket_add(lmdb, entry->name.bucket, -(int64_t)(sizeof key + entry->len + LMDB_ENTRY_EXTRA_BYTES));
    }
    return error;
}

int lmdb_save(struct lmdb *lmdb, const struct lmdb_entry *entry, const struct idem_record *record)
{
    const struct idem_record *old = entry->found ? &entry->record : NULL;
    bool same_answer = record != NULL && record->answer.at == lmdb_answer_in_file;
    bool new_answer = record != NULL && !same_answer && record->answer.len > 0;
    uint64_t serial = same_answer ? entry->answer_serial : new_answer ? next_serial(lmdb) : 0;
    int error = change_record(lmdb, entry, record, serial);
    if (error == 0) {
        error = change_entries(lmdb, &entry->name, old, record);
    }
    if (error == 0 && old != NULL && !same_answer) {
        error = del_answer(lmdb, entry);
    }
    if (error == 0 && new_answer) {
        error = put_answer(lmdb, &entry->name, record, serial);
    }
    return error;
}

uint64_t lmdb_record_bytes(const struct idem_record *record)
{
    static const struct idem_name name;
    uint8_t bytes[LMDB_RECORD_BYTES_MAX];
    struct entry_key keys[ENTRY_COUNT];
    uint64_t parts = (record->answer.len + PART_BYTES - 1) / PART_BYTES;
    uint64_t total = LMDB_NAME_BYTES + lmdb_record_write(&name, record, record->answer.len == 0 ? 0 : UINT64_MAX >> 12, bytes) + LMDB_ENTRY_EXTRA_BYTES +
                     record->answer.len + parts * (PART_KEY_BYTES + LMDB_ENTRY_EXTRA_BYTES);
    entries_of(&name, record, keys);
    for (int i = 0; i < ENTRY_COUNT; i++) {
        total += keys[i].len == 0 ? 0 : keys[i].len + LMDB_ENTRY_EXTRA_BYTES;
    }
    return total;
}
