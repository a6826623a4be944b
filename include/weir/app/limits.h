/*
 * What the process may use: descriptors, and no core dump (a core of a payment
 * proxy is a file of card numbers). Strict: what cannot be had refuses the start.
 */
#ifndef WEIR_APP_LIMITS_H
#define WEIR_APP_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/check.h"
#include "weir/conf/conf.h"

/* Kept for listeners, logs, the monitor, the admin socket, resolving and files read by a reload. */
#define LIMITS_RESERVE_COUNT 64
/* Fewer clients than this is no service. */
#define LIMITS_CLIENTS_MIN 16

/* How the descriptors are shared out. */
struct limits_plan {
    uint64_t descriptors;  /* the process may open */
    uint64_t links;        /* of them for processors */
    uint32_t clients_max;  /* what is left after these and the reserve */
};

/*
 * Shares `descriptors` out for `conf`. A processor whose addresses come from
 * its name counts as many links as its concurrency allows calls, or one
 * address's pool if that is more. False: it does not fit, and `why` (size
 * bytes) says what, by how much, and what helps.
 */
WEIR_MUSTCHECK bool limits_share(struct limits_plan *plan, uint64_t descriptors, const struct conf *conf, char *why,
                                 size_t size);

/* Raises the descriptor limit to what is allowed and returns it; 0: it cannot be read. */
uint64_t limits_raise_descriptors(void);
/* No core dumps, and no other process of this user may read our memory. False: `why` says what was refused. */
WEIR_MUSTCHECK bool limits_forbid_dumps(char *why, size_t size);
/* Before the process ends, in builds whose leak check has to trace it; else nothing. */
void limits_allow_leak_check(void);

#endif
