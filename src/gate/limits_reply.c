/*
 * What the caller of a limited request reads: RateLimit and RateLimit-Policy,
 * the limits that refused it, and when it may come again. The shape of the
 * answer is reply.c's.
 */
#include "limits.h"

#include <stdio.h>

#include "weir/base/clock.h"
#include "weir/http/write.h"

const char *limits_why(const struct exchange *x, char *text, size_t size)
{
    const char *names[LIMITS_MAX];
    int names_count = limits_violated(x, names);
    (void)snprintf(text, size, names_count > 0 ? "limit '%s'" : "a limit", names_count > 0 ? names[0] : "");
    return text;
}

int limits_violated(const struct exchange *x, const char *names[LIMITS_MAX])
{
    int names_count = 0;
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        if (x->limited->each[i].refused) {
            names[names_count++] = x->limited->each[i].limit->conf->name;
        }
    }
    return names_count;
}

/* Up to an eighth more, so that those who were refused together do not come back together. */
uint64_t limits_retry_after_s(const struct exchange *x)
{
    uint64_t us = x->limited != NULL ? x->limited->retry_us : 0;
    us += us >= 8 ? limiter_random(x->gate->limiter) % (us / 8 + 1) : 0;
    return us <= CLOCK_US_PER_S ? 1 : (us + CLOCK_US_PER_S - 1) / CLOCK_US_PER_S;
}

/* ---- fields ---- */

static uint64_t seconds_up(uint64_t us)
{
    return (us + CLOCK_US_PER_S - 1) / CLOCK_US_PER_S;
}

/* Its item of RateLimit: r what is left, t when more comes. Returns the length; 0: there is nothing to tell. */
static size_t write_item(const struct limited_one *one, uint64_t retry_s, char *text, size_t size)
{
    const char *name = one->limit->conf->name;
    int len = 0;
    if (!limited_is_rate(one)) {
        uint32_t used = one->caller->in_flight, all = one->grade->concurrent;
        len = snprintf(text, size, "\"%s\";r=%u", name, (unsigned)(used < all ? all - used : 0));
    } else if (one->has_told) {
        uint64_t t = one->refused ? retry_s : seconds_up(one->told.reset_us);
        len = snprintf(text, size, "\"%s\";r=%llu;t=%llu", name, (unsigned long long)one->told.remaining, (unsigned long long)t);
    }
    return len > 0 ? (size_t)len : 0;
}

void limits_write_fields(struct http_writer *writer, const struct exchange *x, uint64_t retry_s)
{
    WEIR_SCRATCH char policies[LIMITS_MAX * (sizeof x->limited->each[0].grade->policy + 2)];
    WEIR_SCRATCH char items[LIMITS_MAX * 128];
    char *policy = policies, *item = items;
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        const struct limited_one *one = &x->limited->each[i];
        char text[128];
        size_t len = one->caller == NULL || one->limit->shadow ? 0 : write_item(one, retry_s, text, sizeof text);
        if (len == 0 || len >= sizeof text) {
            continue;
        }
        if (policy != policies) {
            policy = bytes_put(policy, BYTES(", "));
            item = bytes_put(item, BYTES(", "));
        }
        policy = bytes_put(policy, bytes_of(one->grade->policy, one->grade->policy_len));
        item = bytes_put(item, bytes_of(text, len));
    }
    if (policy != policies) {
        http_write_field(writer, BYTES("RateLimit-Policy"), bytes_of(policies, (size_t)(policy - policies)));
        http_write_field(writer, BYTES("RateLimit"), bytes_of(items, (size_t)(item - items)));
    }
}
