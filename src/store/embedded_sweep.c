/*
 * What time does to records, in transactions of the embedded store: a lease
 * that ended makes its record unknown, an unknown that was never resolved ends
 * as expired, and what is done is deleted when it has been kept for long enough.
 * Bounded per transaction; a tick that found more says so and comes again.
 */
#include "embedded_internal.h"

static struct embedded_event *next_event(struct embedded_tick *tick)
{
    CHECK(tick->event_count < (int)ARRAY_COUNT(tick->events));
    return &tick->events[tick->event_count];
}

/* Lets time pass for one open record. Its result is kept where somebody is to hear of it. */
static int lapse(struct embedded *embedded, struct embedded_tick *tick, struct lmdb_entry *entry, uint64_t now_ms)
{
    const struct idem_op op = {.kind = IDEM_LAPSE, .name = entry->name, .margin_ms = 1};
    struct embedded_event *event = next_event(tick);
    struct idem_record record = entry->record;
    if (tick->orphans && record.lease_ms > now_ms) {
        record.lease_ms = now_ms; /* its owner went with the process */
    }
    enum idem_change change = idem_apply(&record, &op, now_ms, &event->result);
    if (change == IDEM_KEEP) {
        return 0;
    }
    event->name = entry->name;
    if (event->result.told_now || event->result.resolved_now) {
        tick->event_count++;
    }
    return lmdb_save(&embedded->lmdb, entry, change == IDEM_DELETE ? NULL : &record);
}

/* Owners that went silent. */
static int sweep_open(struct embedded *embedded, struct embedded_tick *tick, uint64_t now_ms)
{
    struct lmdb *lmdb = &embedded->lmdb;
    struct lmdb_due dues[EMBEDDED_SWEEP_MAX];
    struct lmdb_entry entry;
    int error, count = lmdb_list_open(lmdb, IDEM_IN_FLIGHT, tick->orphans ? UINT64_MAX : now_ms, dues,
                                      EMBEDDED_SWEEP_MAX, &error);
    for (int i = 0; i < count && error == 0; i++) {
        error = lmdb_load(lmdb, &dues[i].name, &entry);
        if (error == 0 && entry.found && entry.record.state == IDEM_IN_FLIGHT) {
            error = lapse(embedded, tick, &entry, now_ms);
        } else if (error == 0 || error == LMDB_ERR_BROKEN) {
            tick->damaged_count++;
            error = lmdb_drop_open(lmdb, IDEM_IN_FLIGHT, &dues[i]);
        }
    }
    tick->more = tick->more || count == EMBEDDED_SWEEP_MAX;
    return error;
}

/* Unknowns that nobody resolved, and what has been kept for long enough. */
static int sweep_expiring(struct embedded *embedded, struct embedded_tick *tick, uint64_t now_ms)
{
    struct lmdb *lmdb = &embedded->lmdb;
    struct lmdb_due dues[EMBEDDED_SWEEP_MAX];
    struct lmdb_entry entry;
    int error, count = lmdb_list_expiring(lmdb, now_ms, dues, EMBEDDED_SWEEP_MAX, &error);
    for (int i = 0; i < count && error == 0; i++) {
        error = lmdb_load(lmdb, &dues[i].name, &entry);
        if (error == 0 && entry.found && entry.record.expires_ms == dues[i].ms) {
            error = entry.record.state == IDEM_UNKNOWN ? lapse(embedded, tick, &entry, now_ms)
                                                       : lmdb_save(lmdb, &entry, NULL);
        } else if (error == 0 || error == LMDB_ERR_BROKEN) {
            tick->damaged_count++;
            error = lmdb_drop_expiring(lmdb, &dues[i], error == LMDB_ERR_BROKEN);
        }
    }
    tick->more = tick->more || count == EMBEDDED_SWEEP_MAX;
    return error;
}

static int sweep_answers(struct embedded *embedded, struct embedded_tick *tick, uint64_t now_ms)
{
    int error, count = lmdb_drop_answers(&embedded->lmdb, now_ms, EMBEDDED_SWEEP_MAX, &error);
    tick->more = tick->more || count == EMBEDDED_SWEEP_MAX;
    return error;
}

int embedded_sweep(struct embedded *embedded, struct embedded_tick *tick)
{
    uint64_t now_ms = lmdb_now_ms(&embedded->lmdb);
    int error;
    tick->more = false;
    tick->event_count = 0;
    tick->damaged_count = 0;
    if ((error = sweep_open(embedded, tick, now_ms)) != 0 || (!tick->orphans &&
        ((error = sweep_expiring(embedded, tick, now_ms)) != 0 || (error = sweep_answers(embedded, tick, now_ms)) != 0))) {
        return error;
    }
    if (tick->probe) {
        embedded->lmdb.dirty = true; /* the clock is written */
    }
    return 0;
}
