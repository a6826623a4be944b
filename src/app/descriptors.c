/* The share-out is arithmetic over the configuration; the limit is raised once, before the loop turns. */
#include "weir/app/descriptors.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

/* What the kernel allows a process with no limit of its own (fs.nr_open's default). */
#define DESCRIPTORS_UNLIMITED UINT64_C(1048576)

static uint64_t processor_links(const struct conf_processor *processor)
{
    struct addr addr;
    if (processor->endpoints != NULL) {
        return (uint64_t)processor->endpoint_count * processor->connections;
    }
    if (addr_parse_host(bytes_from_text(processor->host), processor->port, &addr)) {
        return processor->connections; /* an address in the url is one endpoint */
    }
    return processor->concurrency > processor->connections ? processor->concurrency : processor->connections;
}

/* The listeners that ask for a number of their own must fit together. */
static bool check_listeners(const struct descriptors_plan *plan, const struct conf *conf, char *why, size_t size)
{
    uint64_t asked = 0;
    for (int i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        asked += listener->connections;
        if (listener->connections > 0 && asked > plan->clients_max) {
            snprintf(why, size,
                     "listener '%s': limits.connections %" PRIu32 " does not fit: %" PRIu64
                     " descriptors less %" PRIu64 " links and a reserve of %d leave %" PRIu32
                     " clients, and the listeners ask for %" PRIu64
                     "; raise the descriptor limit (LimitNOFILE) or lower connections",
                     listener->name, listener->connections, plan->open_max, plan->links, DESCRIPTORS_RESERVE_COUNT,
                     plan->clients_max, asked);
            return false;
        }
    }
    return true;
}

bool descriptors_share(struct descriptors_plan *plan, uint64_t open_max, const struct conf *conf, char *why,
                       size_t size)
{
    *plan = (struct descriptors_plan){.open_max = open_max};
    for (int i = 0; i < conf->processor_count; i++) {
        plan->links += processor_links(&conf->processors[i]);
    }
    uint64_t taken = plan->links + DESCRIPTORS_RESERVE_COUNT;
    if (open_max < taken + DESCRIPTORS_CLIENTS_MIN) {
        snprintf(why, size,
                 "%" PRIu64 " descriptors are too few: processors' links take %" PRIu64
                 ", the reserve %d, and clients at least %d; raise the descriptor limit (LimitNOFILE) or lower "
                 "pool.connections",
                 open_max, plan->links, DESCRIPTORS_RESERVE_COUNT, DESCRIPTORS_CLIENTS_MIN);
        return false;
    }
    uint64_t left = open_max - taken;
    plan->clients_max = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
    return check_listeners(plan, conf, why, size);
}

uint64_t descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (raised.rlim_cur == RLIM_INFINITY) {
        raised.rlim_cur = DESCRIPTORS_UNLIMITED;
    }
    if (raised.rlim_cur > limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        return raised.rlim_cur;
    }
    return limit.rlim_cur == RLIM_INFINITY ? DESCRIPTORS_UNLIMITED : limit.rlim_cur;
}
