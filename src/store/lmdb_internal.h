/*
 * The file of the embedded store: LMDB's databases, what stands in them, and
 * the transactions in which they change. Knows records, not operations: what
 * becomes of a record is decided above (embedded_apply.c). Everything but open
 * and close is called on the store's thread alone, one transaction at a time;
 * nothing here logs or touches the loop.
 *
 *   records  bucket, hash                      the record (lmdb_record.c)
 *   answers  expiry, serial, bucket, part      its sealed answer, in parts
 *   open     state, since or lease end, name   in flight and unknown ones
 *   told     begun, name                       those whose `unknown` was written and not resolved
 *   expiry   expiry, name                      unknown and done ones
 *   meta     format, secret, instance, the clock, the bytes of each bucket
 *
 * Numbers in keys are big endian, so that they sort.
 */
#ifndef WEIR_STORE_LMDB_INTERNAL_H
#define WEIR_STORE_LMDB_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <lmdb.h>

#include "weir/policy/idem.h"
#include "weir/store/store.h"

/* ---- a record as bytes (lmdb_record.c) ---- */

#define LMDB_NAME_BYTES (2 + IDEM_HASH_BYTES)
/* More than any sealed key of a profile (PROFILE_KEY_BYTES_MAX and what the seal adds). */
#define LMDB_UPSTREAM_KEY_BYTES_MAX 1024
/* No record is longer; two always fit a page (no overflow pages). */
#define LMDB_RECORD_BYTES_MAX 1408

/* The bucket, big endian, and the hash: names sort by bucket. */
void lmdb_name_write(const struct idem_name *name, uint8_t out[LMDB_NAME_BYTES]);
void lmdb_name_read(const uint8_t in[LMDB_NAME_BYTES], struct idem_name *name);
void lmdb_u64_write(uint64_t value, uint8_t out[8]);
uint64_t lmdb_u64_read(const uint8_t in[8]);

/* Returns the length. Of the answer only its length is written: its bytes stand elsewhere, under the serial. */
size_t lmdb_record_write(const struct idem_name *name, const struct idem_record *record, uint64_t answer_serial,
                         uint8_t out[LMDB_RECORD_BYTES_MAX]);
/*
 * False: these are not the bytes of a record of this name. record->upstream_key
 * points into `in`; record->answer has its length and no bytes.
 */
WEIR_MUSTCHECK bool lmdb_record_read(const struct idem_name *name, struct bytes in, struct idem_record *record,
                                     uint64_t *answer_serial);

/* ---- the file (lmdb_file.c) ---- */

#define LMDB_SIZE_MIN (UINT64_C(16) << 20)
/* Beyond this part of `size` no new record is begun, */
#define LMDB_BEGIN_PCT 90u
/* beyond this one none is bound to another processor, and no answer is kept with what is done (the outcome is), so that
 * deleting always has pages to copy to. */
#define LMDB_ANSWER_PCT 97u
/* No bucket gets more than this part. */
#define LMDB_BUCKET_PCT 25u
/* So full are pages, on the whole, of the entries that are counted for buckets (measured). */
#define LMDB_FILL_PCT 75u

/* A record that is not whole; beside LMDB's own codes and errno. */
#define LMDB_ERR_BROKEN (-1)

enum lmdb_table {
    LMDB_RECORDS,
    LMDB_ANSWERS,
    LMDB_OPEN,
    LMDB_TOLD,
    LMDB_EXPIRY,
    LMDB_META,
    LMDB_TABLE_COUNT
};

struct lmdb {
    char *path;
    uint64_t size_bytes;
    int lock_fd;          /* flock'ed while the store is open; -1: not */
    MDB_env *env;         /* NULL: it failed and could not be opened again yet */
    MDB_dbi tables[LMDB_TABLE_COUNT];
    uint32_t page_bytes;
    bool untrusted;       /* the digest of the secret is another */
    uint8_t instance[16]; /* random, made with the files */

    uint64_t clock_base_ms; /* the store's clock when it was opened, */
    uint64_t clock_from_ms; /* and the machine's then */

    MDB_txn *txn;         /* the one under way; NULL: none */
    bool dirty;           /* something was changed in it */
    bool uncertain;       /* the last commit failed, and it is not known whether it was done all the same */
    uint64_t bucket_bytes[IDEM_BUCKETS];     /* as committed */
    int64_t bucket_changes[IDEM_BUCKETS];    /* of the transaction under way */
    uint16_t touched[IDEM_BUCKETS];          /* buckets with such changes */
    uint32_t touched_count;
    uint32_t answers;     /* that were written in the transaction under way */
    uint64_t commits;     /* transactions that were synced to disk */
};

/*
 * Opens or makes the files in the directory `path`, which is made too (0700).
 * False: `why` (size bytes) says what is wrong; nothing is left open. Another
 * secret is no failure: `untrusted` says so.
 */
WEIR_MUSTCHECK bool lmdb_open(struct lmdb *lmdb, const char *path, uint64_t size_bytes,
                              const uint8_t secret_digest[STORE_SECRET_DIGEST_BYTES], char *why, size_t size);
void lmdb_close(struct lmdb *lmdb);
/* After LMDB gave up on its environment (MDB_PANIC): closes it and opens it again. 0, or why not. */
int lmdb_reopen(struct lmdb *lmdb);
/* Another size, between transactions. Smaller than what is in use: that. */
int lmdb_resize(struct lmdb *lmdb, uint64_t size_bytes);

/* The store's clock: the wall's at open, never below what was stored, and from then on as the machine's runs, sleep
 * included. A step of the wall clock changes nothing. */
uint64_t lmdb_now_ms(const struct lmdb *lmdb);

/* Words for an error of this file. Static. */
const char *lmdb_error_text(int error);

/* ---- transactions (lmdb_txn.c): 0, or LMDB's or the system's error ---- */

int lmdb_begin(struct lmdb *lmdb, bool writes);
/*
 * Durable when it returns 0. Nothing changed: nothing is written. On an error
 * nothing of it was done, unless lmdb->uncertain says that it may have been.
 */
int lmdb_commit(struct lmdb *lmdb);
void lmdb_abort(struct lmdb *lmdb);
/* For want of room: LMDB's or the disk's. */
bool lmdb_is_full(int error);

/* Bytes of the pages in use, in the transaction under way. */
uint64_t lmdb_used_bytes(struct lmdb *lmdb);
/* Entries of a table, in the transaction under way. */
uint64_t lmdb_count(struct lmdb *lmdb, enum lmdb_table table);

/* Bytes that the entries of a bucket take, the transaction under way included; and one change of them. */
uint64_t lmdb_bucket_bytes(const struct lmdb *lmdb, uint16_t bucket);
void lmdb_bucket_add(struct lmdb *lmdb, uint16_t bucket, int64_t bytes);
/* What an entry takes beside its key and value: its header and its place in the page. */
#define LMDB_ENTRY_EXTRA_BYTES 10u

/* ---- records in a transaction (lmdb_records.c) ---- */

/* One record as it stands in the file. Its bytes are its own. */
struct lmdb_entry {
    struct idem_name name;
    bool found;
    size_t len;                /* of bytes */
    uint64_t answer_serial;    /* where its answer stands */
    struct idem_record record; /* found: as it was read; else of state IDEM_ABSENT */
    uint8_t bytes[LMDB_RECORD_BYTES_MAX];
};

/* The key of a part of an answer: its expiry, the answer's serial, the bucket, the part's number. */
#define LMDB_PART_KEY_BYTES (8 + 8 + 2 + 2)
/* Where record.answer points while its bytes are still in the file only: apply may hand it on, saving leaves it alone. */
extern const char lmdb_answer_in_file[1];

/* 0 also when it is not there; LMDB_ERR_BROKEN. */
int lmdb_load(struct lmdb *lmdb, const struct idem_name *name, struct lmdb_entry *entry);
/* Puts `record` in the place of what lmdb_load found; NULL: deletes that. All tables and counts follow. */
int lmdb_save(struct lmdb *lmdb, const struct lmdb_entry *entry, const struct idem_record *record);
/* Copies the answer of a record to `out` (its answer.len bytes). MDB_NOTFOUND: it is not whole. */
int lmdb_answer_read(struct lmdb *lmdb, const struct lmdb_entry *entry, char *out);
/* What a new record with such an answer takes. */
uint64_t lmdb_record_bytes(const struct idem_record *record);

/* ---- lists and sweeps in a transaction (lmdb_lists.c) ---- */

/* A name and the time under which a table has it. */
struct lmdb_due {
    uint64_t ms;
    struct idem_name name;
};
/*
 * Open records of this state (in flight by the end of their lease, unknown by when they became so), and records that
 * expire, up to `until_ms`; the oldest first, at most `most`. Returns how many, or -1 with *error.
 */
int lmdb_list_open(struct lmdb *lmdb, enum idem_state state, uint64_t until_ms, struct lmdb_due *dues, int most,
                   int *error);
int lmdb_list_expiring(struct lmdb *lmdb, uint64_t until_ms, struct lmdb_due *dues, int most, int *error);
/* Takes an entry out of that list whose record is gone or damaged; `and_record`: deletes that too, unread. */
int lmdb_drop_open(struct lmdb *lmdb, enum idem_state state, const struct lmdb_due *due);
int lmdb_drop_expiring(struct lmdb *lmdb, const struct lmdb_due *due, bool and_record);
/* Deletes up to `most` parts of answers whose time is over. Returns how many, or -1 with *error. */
int lmdb_drop_answers(struct lmdb *lmdb, uint64_t until_ms, int most, int *error);
/* When the oldest record was begun that was told to be unknown, by the store's clock; 0: there is none. */
uint64_t lmdb_oldest_told_ms(struct lmdb *lmdb);

/* Where a walk over a table is. */
struct lmdb_place {
    size_t len; /* 0: at the start */
    uint8_t key[64];
};
/*
 * The names behind `place` in records or in open, of those that begin like `prefix` (hash_len bytes of its hash; NULL:
 * all), at most `most`, and after looking at `looked` entries. *over: there are no more. Returns how many, or -1 with
 * *error.
 */
int lmdb_list_from(struct lmdb *lmdb, enum lmdb_table table, struct lmdb_place *place, const struct idem_name *prefix,
                   size_t hash_len, struct idem_name *names, int most, int looked, bool *over, int *error);

#endif
