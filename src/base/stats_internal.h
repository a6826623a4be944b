/*
 * The inside of a book of metrics, shared by the file that keeps it and the
 * one that prints it.
 */
#ifndef WEIR_BASE_STATS_INTERNAL_H
#define WEIR_BASE_STATS_INTERNAL_H

#include "weir/base/stats.h"
#include "weir/base/table.h"

#define STATS__COLLECTORS_MAX 16

/* A histogram's slots, from its id on. */
enum { STATS__COUNT, STATS__SUM, STATS__BUCKETS };

struct stats__series {
    stats_id id;
    char *labels; /* owned; NAME{label="value",...}, braces even without labels */
};

struct stats__family {
    struct stats__family *next; /* in the order of first use */
    struct stats_family meta;   /* a copy; its texts and bounds are static */
    size_t label_count;
    size_t bound_count;
    struct stats__series *series; /* owned, in the order of first use */
    size_t count;
    size_t size;
};

struct stats__collector {
    stats_collect_cb collect;
    void *owner; /* borrowed */
};

struct stats_book {
    struct stats stats;
    const uint64_t **bounds; /* by slot: a histogram's bounds at its first slot, NULL elsewhere */
    stats_id slots_used;
    stats_id refused;            /* weir_stats_series_refused_total */
    struct table *families;      /* by name */
    struct table *series;        /* by stats__series.labels; the value is the id */
    struct stats__family *first; /* owned chain */
    struct stats__family *last;
    struct stats__collector collectors[STATS__COLLECTORS_MAX];
    size_t collector_count;
};

static inline struct stats_book *stats__book(struct stats *stats)
{
    return container_of(stats, struct stats_book, stats);
}

#endif
