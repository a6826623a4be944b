/*
 * Counters, gauges and histograms in one flat array of 64-bit slots, so that
 * counting is one add and workers can later share the array. A family is a
 * name, its prose and its label names; a series is one set of label values and
 * owns a run of slots. Series are found by their values when a generation is
 * loaded, never on the hot path, and survive a reload by name.
 *
 * Text form: Prometheus text exposition 0.0.4.
 */
#ifndef WEIR_BASE_STATS_H
#define WEIR_BASE_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/buf.h"
#include "weir/base/bytes.h"

enum stats_kind { STATS_COUNTER, STATS_GAUGE, STATS_HISTOGRAM };

/* The slots stand first and never move, so that counting is one add; the rest of a book is stats.c's own. */
struct stats {
    uint64_t *slots; /* owned; STATS_SLOTS_MAX of them, touched only where series are */
};
#define STATS_SLOTS_MAX (1u << 20)

typedef uint32_t stats_id; /* first slot of a series; STATS_NONE counts into a slot that nobody prints */
#define STATS_NONE 0u

#define STATS_LABELS_MAX 5
#define STATS_BOUNDS_MAX 32 /* of one histogram */

/* One metric. Static data of the module that counts. */
struct stats_family {
    const char *name;                     /* "weir_requests_total" */
    const char *help;                     /* one sentence */
    enum stats_kind kind;
    const char *labels[STATS_LABELS_MAX]; /* names, NULL-terminated when fewer */
    bool seconds;                         /* values are microseconds and print as seconds, to the last digit */
    const uint64_t *bounds;               /* histogram: ascending upper bounds in us, ending with 0 */
};

/* NULL on no memory. */
struct stats *stats_open(void);
void stats_close(struct stats *stats);

/*
 * The series of these label values (`const char *`, as many as the family
 * names; NULL is ""), made on first use. A series beyond STATS_SERIES_MAX, or
 * beyond the slots, is STATS_NONE and counted in weir_stats_series_refused_total.
 * Label values are copied; bytes that are not UTF-8 become '?'. The family is
 * known by its name: another struct with the same name, kind and label names
 * is the same family.
 */
#define STATS_SERIES_MAX 65536
stats_id stats_series(struct stats *stats, const struct stats_family *family, ...);

static inline void stats_add(struct stats *stats, stats_id id, uint64_t n)
{
    DCHECK(id < STATS_SLOTS_MAX);
    stats->slots[id] += n;
}

/* A gauge is printed as a signed number, so that adding -1 as often as 1 gives back 0. */
static inline void stats_set(struct stats *stats, stats_id id, uint64_t value)
{
    DCHECK(id < STATS_SLOTS_MAX);
    stats->slots[id] = value;
}

/* The value; of a histogram the number of its observations. */
static inline uint64_t stats_get(const struct stats *stats, stats_id id)
{
    DCHECK(id < STATS_SLOTS_MAX);
    return stats->slots[id];
}

/* A histogram's observation, in the unit of its bounds. */
void stats_observe(struct stats *stats, stats_id id, uint64_t value);

/* A callback run before each print, to set gauges; `owner` borrowed. At most 16. */
typedef void (*stats_collect_cb)(void *owner, struct stats *stats);
void stats_on_collect(struct stats *stats, stats_collect_cb collect, void *owner);

/*
 * Everything, in the text format. Series of counters that are zero print as 0.
 * ERR_FULL when the buf is; then it holds a part, for the caller to reset.
 */
WEIR_MUSTCHECK enum err stats_print(struct stats *stats, struct buf *out);

#endif
