/*
 * How the descriptors that the process may open are shared out between links
 * and clients. Strict: what does not fit refuses the start.
 */
#ifndef WEIR_APP_DESCRIPTORS_H
#define WEIR_APP_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/check.h"
#include "weir/conf/conf.h"

/* Kept for listeners, logs, the monitor, the admin socket, resolving and files read by a reload. */
#define DESCRIPTORS_RESERVE_COUNT 64
/* Fewer clients than this is no service. */
#define DESCRIPTORS_CLIENTS_MIN 16

/* Who gets how many. */
struct descriptors_plan {
    uint64_t open_max;     /* the process may open */
    uint64_t links;        /* of them for processors */
    uint32_t clients_max;  /* what is left after these and the reserve */
};

/*
 * Shares `open_max` out for `conf`. A processor whose addresses come from
 * its name counts as many links as its concurrency allows calls, or one
 * address's pool if that is more. False: it does not fit, and `why` (size
 * bytes) says what, by how much, and what helps.
 */
WEIR_MUSTCHECK bool descriptors_share(struct descriptors_plan *plan, uint64_t open_max, const struct conf *conf,
                                      char *why, size_t size);

/* Raises the limit to what is allowed and returns it; 0: it cannot be read. */
uint64_t descriptors_raise(void);

#endif
