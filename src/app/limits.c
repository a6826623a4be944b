/*
 * Descriptors and dumps. The share-out is arithmetic over the configuration;
 * the rest are three system calls that are made once, before the loop turns.
 */
#include "weir/app/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
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
static bool check_listeners(const struct limits_plan *plan, const struct conf *conf, char *why, size_t size)
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
                     listener->name, listener->connections, plan->descriptors, plan->links, LIMITS_RESERVE_COUNT,
                     plan->clients_max, asked);
            return false;
        }
    }
    return true;
}

bool limits_share(struct limits_plan *plan, uint64_t descriptors, const struct conf *conf, char *why, size_t size)
{
    *plan = (struct limits_plan){.descriptors = descriptors};
    for (int i = 0; i < conf->processor_count; i++) {
        plan->links += processor_links(&conf->processors[i]);
    }
    uint64_t taken = plan->links + LIMITS_RESERVE_COUNT;
    if (descriptors < taken + LIMITS_CLIENTS_MIN) {
        snprintf(why, size,
                 "%" PRIu64 " descriptors are too few: processors' links take %" PRIu64
                 ", the reserve %d, and clients at least %d; raise the descriptor limit (LimitNOFILE) or lower "
                 "pool.connections",
                 descriptors, plan->links, LIMITS_RESERVE_COUNT, LIMITS_CLIENTS_MIN);
        return false;
    }
    uint64_t left = descriptors - taken;
    plan->clients_max = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
    return check_listeners(plan, conf, why, size);
}

uint64_t limits_raise_descriptors(void)
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

bool limits_forbid_dumps(char *why, size_t size)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        snprintf(why, size, "core dumps cannot be switched off (RLIMIT_CORE): %s", strerror(errno));
        return false;
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        snprintf(why, size, "core dumps cannot be switched off (PR_SET_DUMPABLE): %s", strerror(errno));
        return false;
    }
    return true;
}

void limits_allow_leak_check(void)
{
#ifdef __SANITIZE_ADDRESS__
    /* The leak check at exit traces the process and finds nothing in one that may not be traced. */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
#endif
}
