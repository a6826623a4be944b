/*
 * All processors of a process, by name. They are made by the first generation
 * that names them and go after the last one let go; in between, only their
 * settings change.
 */
#include "upstream_internal.h"

#include <stdlib.h>

#include "weir/base/digest.h"

static void on_collect(void *owner, struct stats *stats)
{
    struct upstream *upstream = owner;
    list_each (processor, after, &upstream->processors, struct processor, in_processors) {
        processor_collect(processor, stats);
    }
}

struct upstream *upstream_open(const struct upstream_options *options)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL) {
        return NULL;
    }
    upstream->options = *options;
    list_init(&upstream->processors);
    pool_init(&upstream->links, "links", sizeof(struct link), 0); /* bounded per endpoint by pool.connections */
    digest_random(&upstream->random, sizeof upstream->random);
    upstream->random |= 1;
    stats_on_collect(options->stats, on_collect, upstream);
    return upstream;
}

void upstream_maybe_free(struct upstream *upstream)
{
    if (upstream->closing && list_empty(&upstream->processors)) {
        pool_close(&upstream->links);
        free(upstream);
    }
}

void upstream_close(struct upstream *upstream)
{
    if (upstream != NULL) {
        upstream->closing = true;
        upstream_maybe_free(upstream);
    }
}

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators"): cheap, for balancing only. */
uint64_t upstream_random(struct upstream *upstream)
{
    uint64_t x = upstream->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    upstream->random = x;
    return x * UINT64_C(2685821657736338717);
}

struct processor *upstream_next(struct upstream *upstream, struct processor *after)
{
    struct list *node = after == NULL ? upstream->processors.next : after->in_processors.next;
    return node == &upstream->processors ? NULL : container_of(node, struct processor, in_processors);
}
