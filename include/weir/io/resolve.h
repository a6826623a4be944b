/*
 * Names to addresses, off the loop. A resolver asks again every 10 s (with
 * jitter; every second until the first good answer), keeps the last good answer
 * when it fails or is empty, and tells its owner only when the set changed, once
 * when it begins to fail, and once when it resolves again.
 */
#ifndef WEIR_IO_RESOLVE_H
#define WEIR_IO_RESOLVE_H

#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/err.h"

struct loop;
struct resolver;

#define RESOLVE_ADDRS_MAX 64

/* err ERR_OK: the whole set, new or as it was before it failed, sorted, without doubles. Else nothing changed and `why` says it in words. */
typedef void (*resolver_cb)(void *owner, enum err err, const struct addr *addrs, int count, const char *why);

/* `host` is copied; a numeric address answers at the end of this turn and never again. */
WEIR_MUSTCHECK struct resolver *resolver_open(struct loop *loop, const char *host, uint16_t port, resolver_cb cb,
                                              void *owner);
/* No callback afterwards. */
void resolver_close(struct resolver *resolver);

#endif
