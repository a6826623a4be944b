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

struct stats;
typedef uint32_t stats_id; /* first slot of a series; STATS_NONE counts into a slot that nobody prints */
#define STATS_NONE 0u

#define STATS_LABELS_MAX 5

/* One metric. Static data of the module that counts. */
struct stats_family {
    const char *name;                     /* "weir_requests_total" */
    const char *help;                     /* one sentence */
    enum stats_kind kind;
    const char *labels[STATS_LABELS_MAX]; /* names, NULL-terminated when fewer */
    bool seconds;                         /* values are microseconds and print as seconds */
    const uint64_t *bounds;               /* histogram: ascending upper bounds in us, ending with 0 */
};

struct stats *stats_open(void);
void stats_close(struct stats *stats);

/*
 * The series of these label values (as many as the family names), made on
 * first use. A series beyond STATS_SERIES_MAX is STATS_NONE and counted in
 * weir_stats_series_refused_total. Label values are copied.
 */
#define STATS_SERIES_MAX 65536
stats_id stats_series(struct stats *stats, const struct stats_family *family, ...);

void stats_add(struct stats *stats, stats_id id, uint64_t n);
void stats_set(struct stats *stats, stats_id id, uint64_t value);
uint64_t stats_get(const struct stats *stats, stats_id id);
/* A histogram's observation, in the unit of its bounds. */
void stats_observe(struct stats *stats, stats_id id, uint64_t value);

/* A callback run before each print, to set gauges; `owner` borrowed. At most 16. */
typedef void (*stats_collect_cb)(void *owner, struct stats *stats);
void stats_on_collect(struct stats *stats, stats_collect_cb collect, void *owner);

/* Everything, in the text format. Series of counters that are zero print as 0. ERR_FULL when the buf is. */
WEIR_MUSTCHECK enum err stats_print(struct stats *stats, struct buf *out);

#endif
