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

/* Room for one item of RateLimit: a name in quotes, and two numbers. */
#define ITEM_BYTES_MAX 128

static char *put_number(char *at, struct bytes key, uint64_t value)
{
    at = bytes_put(at, key);
    return at + bytes_from_u64(value, at);
}

/* Its item of RateLimit: r what is left, t when more comes. Returns where it ends: `at`, when there is nothing to tell. */
static char *put_item(char *at, const struct limited_one *one, uint64_t retry_s)
{
    const struct limit_grade *grade = one->grade;
    if (limited_is_rate(one) && !one->has_told) {
        return at;
    }
    at = bytes_put(at, bytes_of(grade->policy, grade->name_len));
    if (!limited_is_rate(one)) {
        uint32_t used = one->caller->in_flight;
        return put_number(at, BYTES(";r="), used < grade->concurrent ? grade->concurrent - used : 0);
    }
    at = put_number(at, BYTES(";r="), one->told.remaining);
    return put_number(at, BYTES(";t="), one->refused ? retry_s : seconds_up(one->told.reset_us));
}

static char *put_comma(char *at, const char *begin)
{
    return at == begin ? at : bytes_put(at, BYTES(", "));
}

void limits_write_fields(struct http_writer *writer, const struct exchange *x, uint64_t retry_s)
{
    WEIR_SCRATCH char policies[LIMITS_MAX * (sizeof x->limited->each[0].grade->policy + 2)];
    WEIR_SCRATCH char items[LIMITS_MAX * (ITEM_BYTES_MAX + 2)];
    char *policy = policies, *item = items;
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        const struct limited_one *one = &x->limited->each[i];
        char *begin = put_comma(item, items);
        char *end = one->caller == NULL || one->limit->shadow ? begin : put_item(begin, one, retry_s);
        if (end != begin) {
            item = end;
            policy = bytes_put(put_comma(policy, policies), bytes_of(one->grade->policy, one->grade->policy_len));
        }
    }
    if (policy != policies) {
        http_write_field(writer, BYTES("RateLimit-Policy"), bytes_of(policies, (size_t)(policy - policies)));
        http_write_field(writer, BYTES("RateLimit"), bytes_of(items, (size_t)(item - items)));
    }
}
