/*
 * Names to addresses on libuv's threads. A resolver asks, tells its owner when
 * the set of addresses changed, and asks again every ten seconds or so; while
 * no attempt has succeeded it asks every second. Of attempts that fail one after
 * the other it reports the first, and then the one that succeeds; it never
 * forgets a good answer for a bad one.
 *
 * A lookup cannot be stopped once a thread has it, so it is an object of its
 * own: a resolver that closes lets go of it, and the answer finds nobody.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "io_internal.h"

#include "weir/base/addr.h"
#include "weir/base/clock.h"
#include "weir/base/digest.h"
#include "weir/io/resolve.h"

#define REFRESH_US     (10 * CLOCK_US_PER_S)
#define FIRST_RETRY_US CLOCK_US_PER_S
#define JITTER_PCT     20

struct lookup {
    uv_getaddrinfo_t req;
    struct resolver *resolver; /* borrowed; NULL: it was closed meanwhile */
};

struct resolver {
    struct loop *loop; /* borrowed */
    resolver_cb cb;
    void *owner;           /* borrowed */
    struct lookup *lookup; /* the one that runs, or NULL */
    struct timer again;
    struct deferred answer;               /* for what is known at once */
    struct addr addrs[RESOLVE_ADDRS_MAX]; /* the last good answer, sorted */
    int count;
    int at_once_status; /* of libuv: why the first lookup could not even start */
    bool failed;        /* the last attempt did, and the owner knows */
    uint16_t port;
    char host[];
};

static int compare_addrs(const void *left, const void *right)
{
    const struct addr *a = left, *b = right;

    if (a->u.any.sa_family != b->u.any.sa_family) {
        return a->u.any.sa_family < b->u.any.sa_family ? -1 : 1;
    }
    if (a->u.any.sa_family == AF_INET) {
        return memcmp(&a->u.v4.sin_addr, &b->u.v4.sin_addr, sizeof(a->u.v4.sin_addr));
    }
    return memcmp(&a->u.v6.sin6_addr, &b->u.v6.sin6_addr, sizeof(a->u.v6.sin6_addr));
}

static bool known(const struct addr *addrs, int count, const struct addr *addr)
{
    for (int i = 0; i < count; i++) {
        if (addr_equal(&addrs[i], addr)) {
            return true;
        }
    }
    return false;
}

/* The addresses of an answer, sorted and without doubles; at most RESOLVE_ADDRS_MAX. Returns how many. */
static int collect(const struct addrinfo *info, uint16_t port, struct addr *addrs)
{
    int count = 0;

    for (; info != NULL && count < RESOLVE_ADDRS_MAX; info = info->ai_next) {
        struct addr addr;
        if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) || info->ai_addrlen > sizeof(addr)) {
            continue;
        }
        memset(&addr, 0, sizeof(addr));
        memcpy(&addr, info->ai_addr, info->ai_addrlen);
        addr_set_port(&addr, port);
        if (!known(addrs, count, &addr)) {
            addrs[count++] = addr;
        }
    }
    qsort(addrs, (size_t)count, sizeof(addrs[0]), compare_addrs);
    return count;
}

static bool same_set(const struct resolver *resolver, const struct addr *addrs, int count)
{
    if (count != resolver->count) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!addr_equal(&resolver->addrs[i], &addrs[i])) {
            return false;
        }
    }
    return true;
}

/* Many resolvers start together; their questions should not stay together. */
static uint64_t jittered(uint64_t delay_us)
{
    uint64_t spread_us = delay_us * 2 * JITTER_PCT / 100;
    uint64_t random;

    digest_random(&random, sizeof(random));
    return delay_us - spread_us / 2 + random % (spread_us + 1);
}

/* Both tell the owner last: it may close the resolver. */
static void on_good(struct resolver *resolver, const struct addr *addrs, int count)
{
    timer_set_after(&resolver->again, jittered(REFRESH_US));
    if (same_set(resolver, addrs, count) && !resolver->failed) {
        return;
    }
    resolver->failed = false;
    memcpy(resolver->addrs, addrs, (size_t)count * sizeof(addrs[0]));
    resolver->count = count;
    resolver->cb(resolver->owner, ERR_OK, resolver->addrs, count, "");
}

static void on_bad(struct resolver *resolver, const char *why)
{
    timer_set_after(&resolver->again, jittered(resolver->count > 0 ? REFRESH_US : FIRST_RETRY_US));
    if (resolver->failed) {
        return;
    }
    resolver->failed = true;
    resolver->cb(resolver->owner, ERR_DNS, NULL, 0, why);
}

static void on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *info)
{
    struct lookup *lookup = container_of(req, struct lookup, req);
    struct resolver *resolver = lookup->resolver;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    int count;

    loop_event(req->loop->data);
    free(lookup);
    if (resolver == NULL) {
        uv_freeaddrinfo(info);
        return;
    }
    resolver->lookup = NULL;
    count = status == 0 ? collect(info, resolver->port, addrs) : 0;
    uv_freeaddrinfo(info);
    if (count > 0) {
        on_good(resolver, addrs, count);
    } else {
        on_bad(resolver, status == 0 ? "the name has no addresses" : uv_strerror(status));
    }
}

/* A status of libuv. */
static int lookup_start(struct resolver *resolver)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct lookup *lookup = malloc(sizeof(*lookup));
    int status;

    if (lookup == NULL) {
        return UV_ENOMEM;
    }
    lookup->resolver = resolver;
    status = uv_getaddrinfo(&resolver->loop->uv, &lookup->req, on_looked_up, resolver->host, NULL, &hints);
    if (status != 0) {
        free(lookup);
        return status;
    }
    resolver->lookup = lookup;
    return 0;
}

static void on_again(struct timer *timer)
{
    struct resolver *resolver = container_of(timer, struct resolver, again);
    int status = lookup_start(resolver);

    if (status != 0) {
        on_bad(resolver, uv_strerror(status));
    }
}

static void on_answer(struct deferred *deferred)
{
    struct resolver *resolver = container_of(deferred, struct resolver, answer);

    if (resolver->count > 0) {
        resolver->cb(resolver->owner, ERR_OK, resolver->addrs, resolver->count, "");
    } else {
        on_bad(resolver, uv_strerror(resolver->at_once_status));
    }
}

struct resolver *resolver_open(struct loop *loop, const char *host, uint16_t port, resolver_cb cb, void *owner)
{
    size_t host_bytes = strlen(host) + 1;
    struct resolver *resolver = calloc(1, sizeof(*resolver) + host_bytes);

    if (resolver == NULL) {
        return NULL;
    }
    memcpy(resolver->host, host, host_bytes);
    resolver->loop = loop;
    resolver->cb = cb;
    resolver->owner = owner;
    resolver->port = port;
    timer_init(&resolver->again, loop, on_again);
    deferred_init(&resolver->answer, on_answer);
    if (addr_parse_host(bytes_from_text(host), port, &resolver->addrs[0])) {
        resolver->count = 1;
        loop_defer(loop, &resolver->answer);
    } else {
        resolver->at_once_status = lookup_start(resolver);
        if (resolver->at_once_status != 0) {
            loop_defer(loop, &resolver->answer);
        }
    }
    return resolver;
}

void resolver_close(struct resolver *resolver)
{
    timer_stop(&resolver->again);
    loop_undefer(&resolver->answer);
    if (resolver->lookup != NULL) {
        resolver->lookup->resolver = NULL;
        (void)uv_cancel((uv_req_t *)&resolver->lookup->req); /* fails when a thread has it; then the answer is lost */
    }
    free(resolver);
}
