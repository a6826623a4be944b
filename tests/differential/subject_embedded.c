/*
 * The embedded store's telling: embedded_apply inside a write transaction of
 * LMDB, as the store's thread runs it. Most stories are taken back at their end
 * (the transaction is given up); some are committed.
 */
#include "differential.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embedded_internal.h"

#include "weir/base/clock.h"

#define SIZE_BYTES (UINT64_C(256) << 20)
/* One story in so many is committed, on disk. */
#define COMMIT_EVERY 64
/* Stories between two that begin without limits of others: a full table gives limits up. */
#define LIMITS_EVERY 1000
#define SUBJECT "embedded"

static struct embedded embedded;
static uint64_t now_ms;
static uint64_t wrapped_us = 1000 * CLOCK_US_PER_S;

/* ---- the clocks that the store reads ---- */

uint64_t __wrap_lmdb_now_ms(const struct lmdb *lmdb);
uint64_t __wrap_clock_now_us(void);

uint64_t __wrap_lmdb_now_ms(const struct lmdb *lmdb)
{
    (void)lmdb;
    return now_ms;
}

uint64_t __wrap_clock_now_us(void)
{
    return wrapped_us;
}

/* ---- the story ---- */

bool embedded_open(const char *folder)
{
    const uint8_t digest[STORE_SECRET_DIGEST_BYTES] = {1};
    char path[256];
    char why[256];

    (void)snprintf(path, sizeof path, "%s/embedded", folder);
    if (!lmdb_open(&embedded.lmdb, path, SIZE_BYTES, digest, why, sizeof why)) {
        fprintf(stderr, "embedded: %s\n", why);
        return false;
    }
    embedded.limits = embedded_limits_open();
    return embedded.limits != NULL;
}

void embedded_close(void)
{
    embedded_limits_close(embedded.limits);
    lmdb_close(&embedded.lmdb);
}

static int tell_alone(const struct story *story, int index)
{
    const struct step *step = &story->steps[index];
    struct limit_told told;
    uint64_t granted = embedded_limits_ask(embedded.limits, &step->limits[0], step->want, &told);

    return differs_number(SUBJECT, story, index, "granted", step->granted, granted) +
           differs_told(SUBJECT, story, index, &step->told, &told);
}

static int tell_step(const struct story *story, int index)
{
    const struct step *step = &story->steps[index];
    wrapped_us = step->now_us;
    struct store_call call = {.op = step->op, .asked_us = wrapped_us - step->waited_ms * CLOCK_US_PER_MS};
    struct embedded_job job = {.call = &call};

    now_ms = step->now_ms;
    if (step->alone) {
        return tell_alone(story, index);
    }
    int error = embedded_apply(&embedded, &job);
    if (error != 0 || job.status != STORE_OK) {
        fprintf(stderr, SUBJECT ": story %llu, step %d: %s, status %d\n", (unsigned long long)story->number, index,
                lmdb_error_text(error), (int)job.status);
        embedded_job_reset(&job);
        return 1;
    }
    int differences = differs_result(SUBJECT, story, index, &step->result, &job.result);
    embedded_job_reset(&job);
    return differences;
}

static int compare_record(const struct story *story, const struct idem_record *right, const struct lmdb_entry *entry)
{
    const struct idem_record *told = &entry->record;
    const int end = STORY_STEPS;

    return differs_number(SUBJECT, story, end, "state", right->state, told->state) +
           differs_bytes(SUBJECT, story, end, "owner", bytes_of(right->owner, sizeof right->owner), bytes_of(told->owner, sizeof told->owner)) +
           differs_bytes(SUBJECT, story, end, "print", bytes_of(right->print, sizeof right->print), bytes_of(told->print, sizeof told->print)) +
           differs_bytes(SUBJECT, story, end, "bind", bytes_of(right->bind, sizeof right->bind), bytes_of(told->bind, sizeof told->bind)) +
           differs_bytes(SUBJECT, story, end, "processor", bytes_from_text(right->processor), bytes_from_text(told->processor)) +
           differs_bytes(SUBJECT, story, end, "request_id", bytes_from_text(right->request_id), bytes_from_text(told->request_id)) +
           differs_bytes(SUBJECT, story, end, "upstream_key", right->upstream_key, told->upstream_key) +
           differs_number(SUBJECT, story, end, "lease_ms", right->lease_ms, told->lease_ms) +
           differs_number(SUBJECT, story, end, "begun_ms", right->begun_ms, told->begun_ms) +
           differs_number(SUBJECT, story, end, "resend_ms", right->resend_ms, told->resend_ms) +
           differs_number(SUBJECT, story, end, "takeovers", right->takeovers, told->takeovers) +
           differs_number(SUBJECT, story, end, "ambiguous", right->ambiguous, told->ambiguous) +
           differs_number(SUBJECT, story, end, "told", right->told, told->told) +
           differs_number(SUBJECT, story, end, "status", right->status, told->status) +
           differs_number(SUBJECT, story, end, "done_ms", right->done_ms, told->done_ms) +
           differs_number(SUBJECT, story, end, "answer.len", right->answer.len, told->answer.len) +
           differs_number(SUBJECT, story, end, "answer_expires_ms", right->answer_expires_ms, told->answer_expires_ms) +
           differs_number(SUBJECT, story, end, "expires_ms", right->expires_ms, told->expires_ms);
}

/* What is done tells its answer to an operator who would resolve it, and does not change. */
static int compare_answer(const struct story *story, int key, const struct idem_record *right)
{
    struct store_call call = {.op = {.kind = IDEM_RESOLVE, .name = story->names[key]}, .asked_us = wrapped_us};
    struct embedded_job job = {.call = &call};
    struct idem_record copy = *right;
    struct idem_result result;

    if (right->state != IDEM_DONE) {
        return 0;
    }
    (void)idem_apply(&copy, &call.op, now_ms, &result);
    int error = embedded_apply(&embedded, &job);
    int differences = error != 0 ? 1 : differs_bytes(SUBJECT, story, STORY_STEPS, "answer", result.answer, job.result.answer);
    embedded_job_reset(&job);
    return differences;
}

/* What stands in the file at the end; what is over may still stand there. */
static int compare_end(const struct story *story, int key)
{
    const struct idem_record *right = &story->records[key];
    struct lmdb_entry entry;

    if (lmdb_load(&embedded.lmdb, &story->names[key], &entry) != 0) {
        return differs_number(SUBJECT, story, STORY_STEPS, "record can be read", 1, 0);
    }
    bool there = entry.found && !story_is_over(&entry.record, story->now_ms);
    if (right->state == IDEM_ABSENT || !there) {
        return differs_number(SUBJECT, story, STORY_STEPS, "record is there", right->state != IDEM_ABSENT, there);
    }
    return compare_record(story, right, &entry) + compare_answer(story, key, right);
}

/*
 * What a limit owes now, asked as a limit of which one unit leaves in a microsecond: the reset is the debt, to the unit.
 * What owed once and is paid by now may be there or not.
 */
static int compare_bucket(const struct story *story, const struct story_limit *limit)
{
    uint64_t units = limit->bucket.units > 0 ? limit->bucket.units : 1;
    struct limit_bucket bucket = limit->bucket;
    struct limit_bucket *buckets[] = {&bucket};
    struct limit_ref ref = {
        .limit = bytes_from_text(limit->name),
        .bucket = limit->bucket_number,
        .ask = {.rate = {units, 1, (LIMIT_NUMBER_MAX / 2 - 1) / units}, .cost = 1, .flags = LIMIT_CHECK},
    };
    struct limit_told right, told;

    if (limit->over_us <= story->now_us) {
        return 0;
    }
    memcpy(ref.hash, limit->hash, sizeof ref.hash);
    wrapped_us = story->now_us;
    (void)limit_apply(buckets, &ref.ask, 1, story->now_us, &right);
    (void)embedded_limits_ask(embedded.limits, &ref, 0, &told);
    return differs_number(SUBJECT, story, STORY_STEPS, "bucket's debt", right.reset_us, told.reset_us);
}

/* All of them, and then the transaction's charges go the way of the transaction. */
static int compare_limits(const struct story *story, bool committed)
{
    int differences = 0;

    for (int i = 0; i < STORY_LIMITS && story->limited; i++) {
        differences += compare_bucket(story, &story->limits[i]);
    }
    embedded_limits_end(embedded.limits, committed);
    return differences;
}

static bool begin_limits(const struct story *story)
{
    if (story->number % LIMITS_EVERY == 0) {
        embedded_limits_close(embedded.limits);
        embedded.limits = embedded_limits_open();
    }
    return embedded.limits != NULL;
}

int embedded_tell(const struct story *story)
{
    int differences = 0;

    if (story->steps_back) { /* its clock cannot */
        return 0;
    }
    if (!begin_limits(story) || lmdb_begin(&embedded.lmdb, true) != 0) {
        return -1;
    }
    for (int i = 0; i < story->step_count; i++) {
        differences += tell_step(story, i);
    }
    now_ms = story->now_ms;
    for (int i = 0; i < STORY_KEYS; i++) {
        differences += compare_end(story, i);
    }
    differences += compare_limits(story, story->number % COMMIT_EVERY == 0);
    if (story->number % COMMIT_EVERY == 0) {
        return lmdb_commit(&embedded.lmdb) == 0 ? differences : -1;
    }
    lmdb_abort(&embedded.lmdb);
    return differences;
}
