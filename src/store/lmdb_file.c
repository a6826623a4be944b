/*
 * The files of the embedded store: a directory that one process has at a time,
 * an LMDB environment in it, and the few facts in `meta` that decide whether
 * these files are ours. Also the store's clock, which begins with what is
 * stored there.
 *
 * The lock table of LMDB stays in use although there is one process, so that
 * mdb_copy and mdb_stat may look while weir runs.
 */
#include "lmdb_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define FORMAT 1u
#define MS_PER_S UINT64_C(1000)

static const char *const table_names[LMDB_TABLE_COUNT] = {
    [LMDB_RECORDS] = "records", [LMDB_ANSWERS] = "answers", [LMDB_OPEN] = "open",
    [LMDB_TOLD] = "told",       [LMDB_EXPIRY] = "expiry",   [LMDB_META] = "meta",
};

const char *lmdb_error_text(int error)
{
    switch (error) {
    case LMDB_ERR_BROKEN:
        return "a record is damaged";
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return "the store is full";
    case MDB_PANIC:
        return "the disk failed while the store was written";
    default:
        return mdb_strerror(error);
    }
}

/* ---- the clock ---- */

/* Monotonic and running while the machine sleeps: processors forget keys meanwhile, so records must age. */
static uint64_t machine_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (uint64_t)now.tv_sec * MS_PER_S + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t lmdb_now_ms(const struct lmdb *lmdb)
{
    return lmdb->clock_base_ms + (machine_ms() - lmdb->clock_from_ms);
}

static void clock_start(struct lmdb *lmdb, uint64_t stored_ms)
{
    uint64_t wall_ms = clock_wall_us() / CLOCK_US_PER_MS;
    lmdb->clock_base_ms = wall_ms > stored_ms ? wall_ms : stored_ms;
    lmdb->clock_from_ms = machine_ms();
}

/* ---- the directory ---- */

static bool sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool well = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd); /* only read */
    }
    return well;
}

/* What a new directory or file is called must be on disk as well as what is in it. */
static bool sync_parent(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return false;
    }
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/') {
        copy[--len] = '\0';
    }
    char *slash = strrchr(copy, '/');
    const char *parent = ".";
    if (slash != NULL) {
        slash[slash == copy ? 1 : 0] = '\0';
        parent = copy;
    }
    bool well = sync_directory(parent);
    free(copy);
    return well;
}

static bool make_directory(const char *path, char *why, size_t size)
{
    if (mkdir(path, 0700) == 0) {
        if (sync_parent(path)) {
            return true;
        }
    } else if (errno == EEXIST) {
        return true;
    }
    (void)snprintf(why, size, "cannot make %s: %s", path, strerror(errno));
    return false;
}

/* Who has the lock, as it wrote down itself. */
static void tell_holder(int fd, const char *path, char *why, size_t size)
{
    char pid[24] = "";
    ssize_t len = pread(fd, pid, sizeof pid - 1, 0);
    uint64_t number = 0;
    if (len > 0 && bytes_to_u64(bytes_trim(bytes_of(pid, strcspn(pid, "\n"))), &number)) {
        (void)snprintf(why, size, "another weir (process %" PRIu64 ") has the store %s open", number, path);
    } else {
        (void)snprintf(why, size, "another weir has the store %s open", path);
    }
}

static bool take_lock(struct lmdb *lmdb, char *why, size_t size)
{
    char name[4096], pid[24];
    if ((size_t)snprintf(name, sizeof name, "%s/weir.lock", lmdb->path) >= sizeof name) {
        (void)snprintf(why, size, "the path of the store is too long");
        return false;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)snprintf(why, size, "cannot open %s: %s", name, strerror(errno));
        return false;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            tell_holder(fd, lmdb->path, why, size);
        } else {
            (void)snprintf(why, size, "cannot lock %s: %s", name, strerror(errno));
        }
        (void)close(fd); /* nothing was written */
        return false;
    }
    int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* For the message above alone: a full disk is no reason not to open. */
    bool written = ftruncate(fd, 0) == 0 && pwrite(fd, pid, (size_t)len, 0) == len;
    (void)written;
    lmdb->lock_fd = fd;
    return true;
}

/* ---- meta ---- */

static int meta_get(struct lmdb *lmdb, const char *key, void *to, size_t len)
{
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v;
    int error = mdb_get(lmdb->txn, lmdb->tables[LMDB_META], &k, &v);
    if (error == 0) {
        error = v.mv_size == len ? 0 : LMDB_ERR_BROKEN;
    }
    if (error == 0) {
        memcpy(to, v.mv_data, len);
    }
    return error;
}

static int meta_put(struct lmdb *lmdb, const char *key, const void *from, size_t len)
{
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v = {len, (void *)(uintptr_t)from};
    return mdb_put(lmdb->txn, lmdb->tables[LMDB_META], &k, &v, 0);
}

static int open_tables(struct lmdb *lmdb, unsigned flags)
{
    for (int i = 0; i < LMDB_TABLE_COUNT; i++) {
        int error = mdb_dbi_open(lmdb->txn, table_names[i], flags, &lmdb->tables[i]);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int make_meta(struct lmdb *lmdb, const uint8_t secret_digest[STORE_SECRET_DIGEST_BYTES])
{
    uint8_t format[8], now[8];
    int error;
    lmdb_u64_write(FORMAT, format);
    lmdb_u64_write(clock_wall_us() / CLOCK_US_PER_MS, now);
    digest_random(lmdb->instance, sizeof lmdb->instance);
    if ((error = open_tables(lmdb, MDB_CREATE)) != 0 || (error = meta_put(lmdb, "format", format, sizeof format)) != 0 ||
        (error = meta_put(lmdb, "secret", secret_digest, STORE_SECRET_DIGEST_BYTES)) != 0 ||
        (error = meta_put(lmdb, "instance", lmdb->instance, sizeof lmdb->instance)) != 0 ||
        (error = meta_put(lmdb, "clock", now, sizeof now)) != 0) {
        return error;
    }
    lmdb->dirty = true;
    return 0;
}

/* The bytes of each bucket, as the last commit left them. */
static int read_buckets(struct lmdb *lmdb)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int error = mdb_cursor_open(lmdb->txn, lmdb->tables[LMDB_META], &cursor);
    if (error != 0) {
        return error;
    }
    memset(lmdb->bucket_bytes, 0, sizeof lmdb->bucket_bytes);
    while ((error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        const uint8_t *at = key.mv_data;
        if (key.mv_size != 2) { /* "format" and others are longer */
            continue;
        }
        unsigned bucket = (unsigned)at[0] << 8 | at[1];
        if (bucket >= IDEM_BUCKETS || value.mv_size != 8) {
            error = LMDB_ERR_BROKEN;
            break;
        }
        lmdb->bucket_bytes[bucket] = lmdb_u64_read(value.mv_data);
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

static bool is_format_known(struct lmdb *lmdb, char *why, size_t size)
{
    uint8_t format[8];
    int error = meta_get(lmdb, "format", format, sizeof format);
    if (error != 0) {
        (void)snprintf(why, size, "%s is not a store of weir", lmdb->path);
        return false;
    }
    if (lmdb_u64_read(format) != FORMAT) {
        (void)snprintf(why, size, "the store %s has format %" PRIu64 ", this weir knows format %u", lmdb->path,
                       lmdb_u64_read(format), FORMAT);
        return false;
    }
    return true;
}

static bool read_meta(struct lmdb *lmdb, const uint8_t secret_digest[STORE_SECRET_DIGEST_BYTES], char *why, size_t size)
{
    uint8_t digest[STORE_SECRET_DIGEST_BYTES], clock[8];
    int error = open_tables(lmdb, 0);
    if (error == MDB_NOTFOUND || error == MDB_INCOMPATIBLE) {
        (void)snprintf(why, size, "%s is not a store of weir", lmdb->path);
        return false;
    }
    if (error == 0 && !is_format_known(lmdb, why, size)) {
        return false;
    }
    if (error != 0 || (error = meta_get(lmdb, "secret", digest, sizeof digest)) != 0 ||
        (error = meta_get(lmdb, "instance", lmdb->instance, sizeof lmdb->instance)) != 0 ||
        (error = meta_get(lmdb, "clock", clock, sizeof clock)) != 0 || (error = read_buckets(lmdb)) != 0) {
        (void)snprintf(why, size, "cannot read the store %s: %s", lmdb->path, lmdb_error_text(error));
        return false;
    }
    lmdb->untrusted = memcmp(digest, secret_digest, sizeof digest) != 0;
    clock_start(lmdb, lmdb_u64_read(clock));
    return true;
}

/* ---- the environment ---- */

static int open_env(struct lmdb *lmdb)
{
    MDB_stat stat;
    int error = mdb_env_create(&lmdb->env);
    if (error != 0) {
        lmdb->env = NULL;
        return error;
    }
    /* No LMDB flag that trades durability away: a commit is on disk when it returns. Keys are hashes, so what stands
     * beside a page that was read is not what will be asked for next. */
    if ((error = mdb_env_set_mapsize(lmdb->env, lmdb->size_bytes)) != 0 ||
        (error = mdb_env_set_maxdbs(lmdb->env, LMDB_TABLE_COUNT)) != 0 ||
        (error = mdb_env_open(lmdb->env, lmdb->path, MDB_NOTLS | MDB_NORDAHEAD, 0600)) != 0 ||
        (error = mdb_env_stat(lmdb->env, &stat)) != 0) {
        mdb_env_close(lmdb->env);
        lmdb->env = NULL;
        return error;
    }
    lmdb->page_bytes = stat.ms_psize;
    return 0;
}

static void close_env(struct lmdb *lmdb)
{
    if (lmdb->txn != NULL) {
        lmdb_abort(lmdb);
    }
    if (lmdb->env != NULL) {
        mdb_env_close(lmdb->env);
        lmdb->env = NULL;
    }
}

/* Files without anything in them are new. */
static bool is_new(struct lmdb *lmdb)
{
    MDB_stat stat;
    return mdb_env_stat(lmdb->env, &stat) == 0 && stat.ms_entries == 0;
}

static bool open_files(struct lmdb *lmdb, const uint8_t secret_digest[STORE_SECRET_DIGEST_BYTES], char *why,
                       size_t size)
{
    int error = open_env(lmdb);
    if (error == 0) {
        error = lmdb_begin(lmdb, true);
    }
    if (error == 0 && is_new(lmdb)) {
        error = make_meta(lmdb, secret_digest);
    }
    if (error != 0) {
        (void)snprintf(why, size, "cannot open the store %s: %s", lmdb->path, lmdb_error_text(error));
        return false;
    }
    if (!read_meta(lmdb, secret_digest, why, size)) {
        return false;
    }
    error = lmdb_commit(lmdb);
    if (error == 0 && !sync_directory(lmdb->path)) {
        error = errno;
    }
    if (error != 0) {
        (void)snprintf(why, size, "cannot write the store %s: %s", lmdb->path, lmdb_error_text(error));
    }
    return error == 0;
}

static uint64_t whole_pages(uint64_t bytes)
{
    return bytes - bytes % (uint64_t)sysconf(_SC_PAGESIZE);
}

bool lmdb_open(struct lmdb *lmdb, const char *path, uint64_t size_bytes,
               const uint8_t secret_digest[STORE_SECRET_DIGEST_BYTES], char *why, size_t size)
{
    memset(lmdb, 0, sizeof *lmdb);
    lmdb->lock_fd = -1;
    if (size_bytes < LMDB_SIZE_MIN) {
        (void)snprintf(why, size, "the size of the store is below 16MiB");
        return false;
    }
    lmdb->size_bytes = whole_pages(size_bytes);
    lmdb->path = strdup(path);
    if (lmdb->path == NULL) {
        (void)snprintf(why, size, "no memory");
        return false;
    }
    if (!make_directory(path, why, size) || !take_lock(lmdb, why, size) ||
        !open_files(lmdb, secret_digest, why, size)) {
        lmdb_close(lmdb);
        return false;
    }
    return true;
}

int lmdb_reopen(struct lmdb *lmdb)
{
    close_env(lmdb);
    int error = open_env(lmdb);
    if (error == 0) {
        error = lmdb_begin(lmdb, false);
    }
    if (error == 0 && (error = open_tables(lmdb, 0)) == 0) {
        error = read_buckets(lmdb); /* whether the last commit was done is seen only now */
    }
    if (error == 0) {
        error = lmdb_commit(lmdb); /* keeps the handles of the tables */
    }
    if (error != 0) {
        close_env(lmdb);
    }
    return error;
}

int lmdb_resize(struct lmdb *lmdb, uint64_t size_bytes)
{
    CHECK(lmdb->txn == NULL);
    lmdb->size_bytes = whole_pages(size_bytes);
    return lmdb->env == NULL ? 0 : mdb_env_set_mapsize(lmdb->env, lmdb->size_bytes);
}

void lmdb_close(struct lmdb *lmdb)
{
    close_env(lmdb);
    if (lmdb->lock_fd >= 0) {
        (void)close(lmdb->lock_fd); /* and unlocks */
        lmdb->lock_fd = -1;
    }
    free(lmdb->path);
    lmdb->path = NULL;
}
