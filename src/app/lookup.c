/*
 * One lookup: at most two walks of the store, the second a turn after the
 * first. The rows are a heap whose root is the youngest, so that what is kept
 * of a long list is its oldest part, whatever order the store tells it in.
 */
#include "lookup_internal.h"

#include <stdlib.h>
#include <string.h>

/* What an operator sorts by: since when nobody knows, else since when it is there. */
static uint64_t since_us(const struct lookup_row *row)
{
    return row->unknown_us != 0 ? row->unknown_us : row->begun_us;
}

static void swap(struct lookup_row *a, struct lookup_row *b)
{
    struct lookup_row kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_up(struct lookup_row *rows, size_t at)
{
    for (size_t parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (since_us(&rows[parent]) >= since_us(&rows[at])) {
            return;
        }
        swap(&rows[parent], &rows[at]);
    }
}

static void sift_down(struct lookup_row *rows, size_t count)
{
    for (size_t at = 0, child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && since_us(&rows[child + 1]) > since_us(&rows[child])) {
            child++;
        }
        if (since_us(&rows[at]) >= since_us(&rows[child])) {
            return;
        }
        swap(&rows[at], &rows[child]);
    }
}

static struct lookup_row copy_of(const struct store_record *record)
{
    struct lookup_row row = {
        .name = record->name,
        .state = record->state,
        .status = record->status,
        .takeovers = record->takeovers,
        .ambiguous = record->ambiguous,
        .answer_kept = record->answer_kept,
        .begun_us = record->begun_us,
        .unknown_us = record->unknown_us,
        .done_us = record->done_us,
        .expires_us = record->expires_us,
    };
    bytes_to_text(bytes_from_text(record->processor), row.processor, sizeof(row.processor));
    bytes_to_text(bytes_from_text(record->request_id), row.request_id, sizeof(row.request_id));
    return row;
}

static void keep(struct lookup *lookup, const struct store_record *record)
{
    struct lookup_row row = copy_of(record);
    if (lookup->row_count < lookup->wanted.row_max) {
        lookup->rows[lookup->row_count] = row;
        sift_up(lookup->rows, lookup->row_count++);
    } else if (since_us(&row) < since_us(&lookup->rows[0])) {
        lookup->rows[0] = row;
        sift_down(lookup->rows, lookup->row_count);
    }
}

static bool matches(const struct lookup_wanted *wanted, const struct store_record *record)
{
    if (wanted->unknown_only && record->state != IDEM_UNKNOWN) {
        return false;
    }
    return wanted->request_id == NULL ||
           (record->request_id != NULL && strcmp(record->request_id, wanted->request_id) == 0);
}

static bool on_record(void *owner, const struct store_record *record)
{
    struct lookup *lookup = owner;
    lookup->seen_count++;
    if (!matches(&lookup->wanted, record)) {
        return true;
    }
    lookup->match_count++;
    keep(lookup, record);
    return lookup->wanted.request_id == NULL;
}

static int by_age(const void *a, const void *b)
{
    uint64_t left_us = since_us(a), right_us = since_us(b);
    return left_us < right_us ? -1 : left_us > right_us;
}

static void on_walked(void *owner, bool whole)
{
    struct lookup *lookup = owner;
    lookup->walk = NULL;
    lookup->failed = lookup->failed || !whole;
    lookup->over =
        lookup->failed || lookup->wanted.open_only || lookup->match_count > 0 || lookup->scope == STORE_WALK_ALL;
    loop_defer(lookup->loop, &lookup->next);
}

static bool walk(struct lookup *lookup, enum store_walk_scope scope)
{
    const struct lookup_wanted *wanted = &lookup->wanted;
    lookup->scope = scope;
    lookup->seen_count = 0; /* all records are the open ones too */
    lookup->walk = store_walk(lookup->store, scope, wanted->by_name ? &wanted->prefix : NULL,
                              wanted->by_name ? wanted->hash_len : 0, on_record, on_walked, lookup);
    return lookup->walk != NULL;
}

static void on_next(struct deferred *deferred)
{
    struct lookup *lookup = container_of(deferred, struct lookup, next);
    if (!lookup->over && walk(lookup, STORE_WALK_ALL)) {
        return;
    }
    /* Another lookup may have come between the two walks. */
    lookup->failed = lookup->failed || !lookup->over;
    if (lookup->row_count > 0) {
        qsort(lookup->rows, lookup->row_count, sizeof(lookup->rows[0]), by_age);
    }
    lookup->done(lookup);
}

void lookup_init(struct lookup *lookup)
{
    *lookup = (struct lookup){0};
    deferred_init(&lookup->next, on_next);
}

bool lookup_begin(struct lookup *lookup, struct loop *loop, struct store *store, const struct lookup_wanted *wanted,
                  lookup_cb done)
{
    CHECK(lookup->rows == NULL && wanted->row_max > 0);
    lookup->loop = loop;
    lookup->store = store;
    lookup->wanted = *wanted;
    lookup->done = done;
    lookup->rows = calloc(wanted->row_max, sizeof(lookup->rows[0]));
    return lookup->rows != NULL && walk(lookup, STORE_WALK_OPEN);
}

void lookup_close(struct lookup *lookup)
{
    if (lookup->walk != NULL) {
        store_walk_stop(lookup->walk);
        lookup->walk = NULL;
    }
    if (lookup->loop != NULL) {
        loop_undefer(&lookup->next);
    }
    free(lookup->rows);
    lookup->rows = NULL;
    lookup->row_count = 0;
}
