/*
 * One operation in a transaction of the embedded store: the record is read,
 * idem_apply decides, the record is put back, and whatever the result points to
 * is copied out before the pages that hold it change. Here alone is room
 * refused, the store's and that of limits: to what is yet to be sent, never to
 * what settles.
 */
#include "embedded_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "weir/base/clock.h"

void embedded_job_reset(struct embedded_job *job)
{
    free(job->bytes);
    job->bytes = NULL;
    job->lapse_count = 0;
    job->error = 0;
    job->uncertain = false;
    job->answer_left_out = false;
    job->status = STORE_OK;
}

/* ---- room ---- */

static bool is_beyond(struct embedded *embedded, uint64_t more_bytes, unsigned pct)
{
    struct lmdb *lmdb = &embedded->lmdb;
    return lmdb_used_bytes(lmdb) + more_bytes > lmdb->size_bytes / 100 * pct;
}

/* Whether there is no room to begin this one. */
static bool is_full_for(struct embedded *embedded, const struct idem_name *name, const struct idem_record *record)
{
    struct lmdb *lmdb = &embedded->lmdb;
    uint64_t bytes = lmdb_record_bytes(record);
    return is_beyond(embedded, bytes, LMDB_BEGIN_PCT) ||
           (lmdb_bucket_bytes(lmdb, name->bucket) + bytes) / LMDB_FILL_PCT > lmdb->size_bytes / 100 / 100 * LMDB_BUCKET_PCT;
}

/*
 * Whether a record may not become longer. It is there already, and what hangs on it is a payment that could else not be
 * made: so it may use the rest, but for what deleting needs.
 */
static bool is_full_to_rebind(struct embedded *embedded, const struct idem_record *record)
{
    return is_beyond(embedded, lmdb_record_bytes(record), LMDB_ANSWER_PCT);
}

/* ---- the result's bytes ---- */

/* The run that stands at the place `at` of job->bytes now. */
static void move_run(struct bytes *run, char **at)
{
    if (run->len > 0) {
        memcpy(*at, run->at, run->len);
        run->at = *at;
        *at += run->len;
    }
}

/* Copies what the result points to. MDB_NOTFOUND: the answer is not whole; ENOMEM. */
static int keep_bytes(struct embedded *embedded, struct embedded_job *job, const struct lmdb_entry *entry)
{
    struct idem_result *result = &job->result;
    size_t len = result->upstream_key.len + result->answer.len;
    if (len == 0) {
        return 0;
    }
    job->bytes = malloc(len);
    if (job->bytes == NULL) {
        return ENOMEM;
    }
    char *at = job->bytes;
    move_run(&result->upstream_key, &at);
    if (result->answer.at != lmdb_answer_in_file) {
        move_run(&result->answer, &at);
        return 0;
    }
    result->answer.at = at;
    int error = lmdb_answer_read(&embedded->lmdb, entry, at);
    if (error != 0) {
        free(job->bytes);
        job->bytes = NULL;
    }
    return error;
}

/* ---- the operation ---- */

/* An unknown whose time is over ends as such before its key is begun anew. */
static void lapse_first(struct embedded_job *job, const struct lmdb_entry *entry, uint64_t now_ms)
{
    const struct idem_op op = {.kind = IDEM_LAPSE, .name = entry->name, .margin_ms = 1};
    struct idem_record record = entry->record;
    while (job->lapse_count < EMBEDDED_LAPSES_MAX && (record.state == IDEM_IN_FLIGHT || record.state == IDEM_UNKNOWN)) {
        (void)idem_apply(&record, &op, now_ms, &job->lapses[job->lapse_count++]);
    }
}

/* A lease that runs outlives its record's time. */
static bool is_over(const struct idem_record *record, uint64_t now_ms)
{
    return record->expires_ms <= now_ms && !(record->state == IDEM_IN_FLIGHT && record->lease_ms > now_ms);
}

static void refuse(struct embedded_job *job, enum store_status status, int error)
{
    embedded_job_reset(job);
    job->status = status;
    job->error = error;
}

/* What is there, decided upon: *record is what it becomes. */
static enum idem_change decide(const struct embedded_job *job, const struct lmdb_entry *entry, const struct idem_op *op,
                               uint64_t now_ms, struct idem_record *record, struct idem_result *result)
{
    if (entry->found && !is_over(&entry->record, now_ms)) {
        *record = entry->record;
    } else {
        *record = (struct idem_record){0};
    }
    if (job->error == MDB_NOTFOUND) {
        record->answer = BYTES_NONE;
    }
    return idem_apply(record, op, now_ms, result);
}

static int save(struct embedded *embedded, struct embedded_job *job, const struct lmdb_entry *entry,
                const struct idem_record *record, enum idem_change change, uint64_t now_ms)
{
    if (change == IDEM_KEEP) {
        return 0;
    }
    if (entry->found && is_over(&entry->record, now_ms)) {
        lapse_first(job, entry, now_ms);
    }
    return lmdb_save(&embedded->lmdb, entry, change == IDEM_DELETE ? NULL : record);
}

/* Whether the limits of a new record have room for it: then they are charged. The result tells of them either way. */
static bool is_admitted(struct embedded *embedded, const struct idem_op *op, struct idem_result *result)
{
    if (op->limit_count == 0) {
        return true;
    }
    bool admitted = embedded_limits_admit(embedded->limits, op->limits, op->limit_count, result->limits);
    result->limit_count = op->limit_count;
    if (!admitted) {
        result->verdict = IDEM_LIMITED;
        result->state = IDEM_ABSENT;
        result->processor[0] = '\0'; /* there is no record to tell of */
        result->request_id[0] = '\0';
    }
    return admitted;
}

int embedded_apply(struct embedded *embedded, struct embedded_job *job)
{
    struct idem_op op = job->call->op;
    struct lmdb_entry entry;
    struct idem_record record;
    embedded_job_reset(job);
    int error = lmdb_load(&embedded->lmdb, &op.name, &entry);
    if (error == LMDB_ERR_BROKEN) {
        refuse(job, STORE_UNTRUSTED, error);
        return 0;
    }
    if (error != 0) {
        return error;
    }
    if (op.answer.len > 0 && (job->no_answer || is_beyond(embedded, op.answer.len, LMDB_ANSWER_PCT))) {
        op.answer = BYTES_NONE; /* the outcome is worth more than the bytes */
        job->answer_left_out = true;
    }
    uint64_t now_ms = lmdb_now_ms(&embedded->lmdb);
    op.age_ms += (clock_now_us() - job->call->asked_us) / CLOCK_US_PER_MS; /* the time in which it was tried */
    enum idem_change change = decide(job, &entry, &op, now_ms, &record, &job->result);
    bool makes = change == IDEM_WRITE && job->result.verdict == IDEM_NEW;
    bool rebinds = change == IDEM_WRITE && op.kind == IDEM_REBIND;
    if ((makes && is_full_for(embedded, &op.name, &record)) || (rebinds && is_full_to_rebind(embedded, &record))) {
        refuse(job, STORE_FULL, 0);
        return 0;
    }
    error = keep_bytes(embedded, job, &entry);
    if (error == MDB_NOTFOUND) {
        job->error = error; /* the answer is lost: what is left is a receipt */
        change = decide(job, &entry, &op, now_ms, &record, &job->result);
        error = keep_bytes(embedded, job, &entry);
        job->error = 0;
    }
    if (error == ENOMEM) {
        refuse(job, STORE_DOWN, error);
        return 0;
    }
    if (error != 0 || (makes && !is_admitted(embedded, &op, &job->result))) {
        return error;
    }
    return save(embedded, job, &entry, &record, change, now_ms);
}
