/*
 * Transactions of the embedded store: one at a time, on one thread. With each
 * that writes go the clock and the bytes of the buckets that it touched. A
 * commit has synced the disk when it returns.
 */
#include "lmdb_internal.h"

#include <errno.h>

int lmdb_begin(struct lmdb *lmdb, bool writes)
{
    CHECK(lmdb->txn == NULL);
    if (lmdb->env == NULL) {
        return MDB_PANIC;
    }
    int error = mdb_txn_begin(lmdb->env, NULL, writes ? 0 : MDB_RDONLY, &lmdb->txn);
    if (error != 0) {
        lmdb->txn = NULL;
        return error;
    }
    lmdb->dirty = false;
    lmdb->uncertain = false;
    lmdb->answers = 0;
    return 0;
}

static int put_meta(struct lmdb *lmdb, const void *key, size_t key_len, uint64_t number)
{
    uint8_t bytes[8];
    lmdb_u64_write(number, bytes);
    MDB_val k = {key_len, (void *)(uintptr_t)key}, v = {sizeof bytes, bytes};
    return mdb_put(lmdb->txn, lmdb->tables[LMDB_META], &k, &v, 0);
}

static int put_counts(struct lmdb *lmdb)
{
    int error = put_meta(lmdb, "clock", 5, lmdb_now_ms(lmdb));
    for (uint32_t i = 0; i < lmdb->touched_count && error == 0; i++) {
        uint16_t bucket = lmdb->touched[i];
        uint8_t key[2] = {(uint8_t)(bucket >> 8), (uint8_t)bucket};
        error = put_meta(lmdb, key, sizeof key, lmdb_bucket_bytes(lmdb, bucket));
    }
    return error;
}

/* The changes become what is committed, or nothing. */
static void end_counts(struct lmdb *lmdb, bool committed)
{
    for (uint32_t i = 0; i < lmdb->touched_count; i++) {
        uint16_t bucket = lmdb->touched[i];
        if (committed) {
            lmdb->bucket_bytes[bucket] = lmdb_bucket_bytes(lmdb, bucket);
        }
        lmdb->bucket_changes[bucket] = 0;
    }
    lmdb->touched_count = 0;
}

void lmdb_abort(struct lmdb *lmdb)
{
    mdb_txn_abort(lmdb->txn);
    lmdb->txn = NULL;
    end_counts(lmdb, false);
}

/* Commits what is there, with the counts. */
static int commit_now(struct lmdb *lmdb)
{
    int error = lmdb->dirty ? put_counts(lmdb) : 0;
    if (error != 0) {
        lmdb_abort(lmdb);
        return error;
    }
    error = mdb_txn_commit(lmdb->txn); /* frees it, also when it fails */
    lmdb->txn = NULL;
    end_counts(lmdb, error == 0);
    if (error == 0 && lmdb->dirty) {
        lmdb->commits++;
    }
    return error;
}

/*
 * LMDB writes pages that nothing refers to yet, syncs, and then writes and syncs the meta page that makes them count; an
 * error of that last write leaves open whether they do. The files opened anew say it, by the number of the last
 * transaction; and when that is ours, another one behind it, synced in its turn, is the proof that it stays.
 */
static int make_sure(struct lmdb *lmdb, uint64_t id, int error)
{
    MDB_envinfo info;
    lmdb->uncertain = true;
    if (lmdb_reopen(lmdb) != 0 || mdb_env_info(lmdb->env, &info) != 0) {
        return error;
    }
    if (info.me_last_txnid < id) {
        lmdb->uncertain = false;
        return error;
    }
    if (lmdb_begin(lmdb, true) != 0) {
        return error;
    }
    lmdb->dirty = true;
    lmdb->uncertain = true;
    if (commit_now(lmdb) != 0) {
        return error;
    }
    lmdb->uncertain = false;
    return 0;
}

int lmdb_commit(struct lmdb *lmdb)
{
    uint64_t id = mdb_txn_id(lmdb->txn);
    int error = commit_now(lmdb);
    if (error == 0 || !lmdb->dirty || lmdb_is_full(error) || error == MDB_BAD_TXN || error == ENOMEM) {
        return error;
    }
    return make_sure(lmdb, id, error);
}

bool lmdb_is_full(int error)
{
    return error == MDB_MAP_FULL || error == MDB_TXN_FULL || error == ENOSPC || error == EDQUOT;
}

uint64_t lmdb_count(struct lmdb *lmdb, enum lmdb_table table)
{
    MDB_stat stat;
    return mdb_stat(lmdb->txn, lmdb->tables[table], &stat) == 0 ? stat.ms_entries : 0;
}

/* A transaction that failed tells nothing any more: then it is full. */
static uint64_t pages_of(struct lmdb *lmdb, MDB_dbi table)
{
    MDB_stat stat;
    if (mdb_stat(lmdb->txn, table, &stat) != 0) {
        return lmdb->size_bytes / lmdb->page_bytes;
    }
    return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

uint64_t lmdb_used_bytes(struct lmdb *lmdb)
{
    uint64_t pages = 2; /* LMDB's two meta pages */
    for (MDB_dbi i = 0; i < 2; i++) {
        pages += pages_of(lmdb, i); /* LMDB's own: the list of free pages (0) and that of tables (1) */
    }
    for (int i = 0; i < LMDB_TABLE_COUNT; i++) {
        pages += pages_of(lmdb, lmdb->tables[i]);
    }
    return pages * lmdb->page_bytes;
}

uint64_t lmdb_bucket_bytes(const struct lmdb *lmdb, uint16_t bucket)
{
    int64_t bytes = (int64_t)lmdb->bucket_bytes[bucket] + lmdb->bucket_changes[bucket];
    return bytes > 0 ? (uint64_t)bytes : 0;
}

void lmdb_bucket_add(struct lmdb *lmdb, uint16_t bucket, int64_t bytes)
{
    bool listed = lmdb->bucket_changes[bucket] != 0;
    for (uint32_t i = 0; i < lmdb->touched_count && !listed; i++) {
        listed = lmdb->touched[i] == bucket; /* its changes came to nothing */
    }
    if (!listed) {
        lmdb->touched[lmdb->touched_count++] = bucket;
    }
    lmdb->bucket_changes[bucket] += bytes;
}
