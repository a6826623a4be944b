/*
 * Walks over the embedded store. The thread copies a slice of names and records
 * out in a read transaction of its own, between those of payments, and the loop
 * tells them; then the next slice is asked for. Nothing stays open in between.
 */
#include "embedded_internal.h"

#include "weir/base/clock.h"

/* ---- on the thread ---- */

static void fill_row(struct embedded *embedded, struct embedded_slice *slice, const struct idem_name *name,
                     uint64_t now_ms)
{
    struct lmdb_entry entry;
    int error = lmdb_load(&embedded->lmdb, name, &entry);
    if (error == 0 && (!entry.found || entry.record.expires_ms <= now_ms)) {
        return; /* gone, or as good as */
    }
    if (error == LMDB_ERR_BROKEN) {
        slice->damaged = true; /* one is no reason to hide the others */
        return;
    }
    if (error != 0) {
        slice->error = error;
        return;
    }
    slice->rows[slice->count].name = *name;
    slice->rows[slice->count].record = entry.record;
    slice->rows[slice->count].record.upstream_key = BYTES_NONE;
    slice->rows[slice->count].now_ms = now_ms;
    slice->count++;
}

static void fill(struct embedded *embedded, struct embedded_slice *slice)
{
    struct idem_name names[EMBEDDED_SLICE_MAX];
    enum lmdb_table table = slice->scope == STORE_WALK_OPEN ? LMDB_OPEN : LMDB_RECORDS;
    uint64_t now_ms = lmdb_now_ms(&embedded->lmdb);
    int count = lmdb_list_from(&embedded->lmdb, table, &slice->place, slice->has_prefix ? &slice->prefix : NULL,
                               slice->hash_len, names, EMBEDDED_SLICE_MAX, EMBEDDED_SLICE_LOOKS, &slice->over,
                               &slice->error);
    for (int i = 0; i < count; i++) {
        fill_row(embedded, slice, &names[i], now_ms);
    }
}

void embedded_slice_run(struct embedded *embedded, struct embedded_slice *slice)
{
    slice->count = 0;
    slice->over = false;
    slice->error = lmdb_begin(&embedded->lmdb, false);
    if (slice->error == 0) {
        fill(embedded, slice);
        lmdb_abort(&embedded->lmdb);
    }
}

/* ---- on the loop ---- */

/* The slice begins with the walk that is under way. */
static void start(struct embedded *embedded)
{
    const struct store_walk *walk = &embedded->store.walk;
    struct embedded_slice *slice = &embedded->slice;
    slice->stale = false;
    slice->damaged = false;
    slice->scope = walk->scope;
    slice->has_prefix = walk->has_prefix;
    slice->prefix = walk->prefix;
    slice->hash_len = walk->hash_len;
    slice->place.len = 0;
    slice->asked = true;
    embedded_submit(embedded, &slice->piece);
}

bool embedded_walk(struct store *store)
{
    struct embedded *embedded = container_of(store, struct embedded, store);
    if (!embedded->slice.asked) { /* else it comes back from another walk, and starts then */
        start(embedded);
    }
    return true;
}

void embedded_walk_stop(struct store *store)
{
    struct embedded *embedded = container_of(store, struct embedded, store);
    embedded->slice.stale = true;
}

static uint64_t us_of(uint64_t ms)
{
    return ms * CLOCK_US_PER_MS;
}

static bool tell(struct store_walk *walk, const struct idem_name *name, const struct idem_record *record,
                 uint64_t now_ms)
{
    bool unknown = record->state == IDEM_UNKNOWN || (record->state == IDEM_IN_FLIGHT && record->lease_ms <= now_ms);
    const struct store_record told = {
        .name = *name,
        .state = unknown ? IDEM_UNKNOWN : record->state,
        .processor = record->processor,
        .request_id = record->request_id,
        .status = record->status,
        .takeovers = record->takeovers,
        .ambiguous = record->ambiguous,
        .answer_kept = record->answer.len > 0 && record->answer_expires_ms > now_ms,
        .begun_us = us_of(record->begun_ms),
        .unknown_us = unknown ? us_of(record->lease_ms) : 0,
        .done_us = us_of(record->done_ms),
        .expires_us = us_of(record->expires_ms),
    };
    return store_walk_tell(walk, &told);
}

/* False: the walk is over, or not the one of this slice any more. */
static bool tell_all(struct embedded_slice *slice, struct store_walk *walk)
{
    for (int i = 0; i < slice->count; i++) {
        if (!tell(walk, &slice->rows[i].name, &slice->rows[i].record, slice->rows[i].now_ms) || slice->stale) {
            return false;
        }
    }
    return true;
}

void embedded_slice_done(struct embedded *embedded)
{
    struct embedded_slice *slice = &embedded->slice;
    struct store_walk *walk = &embedded->store.walk;
    bool more = !slice->stale && walk->active && tell_all(slice, walk);
    slice->asked = false; /* not before: who is told may begin another walk */
    if (slice->stale) {
        if (walk->active) {
            start(embedded);
        }
    } else if (walk->active && more && !slice->over && slice->error == 0) {
        slice->asked = true;
        embedded_submit(embedded, &slice->piece);
    } else {
        store_walk_over(walk, !more || (slice->error == 0 && !slice->damaged));
    }
}
