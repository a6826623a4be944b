/*
 * Kinds of values that limits are made of: a rate, and what tells callers
 * apart. A rate stays the fraction that was written, tokens in a time; nothing
 * is divided here, so nothing is rounded.
 */
#include <stdio.h>

#include "conf_kind_internal.h"

/* ---- rates ---- */

#define RATE_TOKENS_MAX  UINT64_C(1000000000)
#define RATE_TIME_US_MAX (UINT64_C(365) * 24 * 60 * 60 * 1000000)

static const struct {
    const char *name;
    uint64_t us;
} times[] = {
    {"ms", UINT64_C(1000)},           {"s", UINT64_C(1000000)},           {"m", UINT64_C(60) * 1000000},
    {"min", UINT64_C(60) * 1000000},  {"h", UINT64_C(3600) * 1000000},    {"hour", UINT64_C(3600) * 1000000},
    {"d", UINT64_C(86400) * 1000000}, {"day", UINT64_C(86400) * 1000000},
};

/* 0: no such unit. */
static uint64_t time_us(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_COUNT(times); i++) {
        if (bytes_equal(bytes_from_text(times[i].name), name)) {
            return times[i].us;
        }
    }
    return 0;
}

/* "60s", or "s" for one of them. False: it is no time, or none that can be counted. */
static bool read_time(struct bytes text, uint64_t *us)
{
    size_t digits = 0;
    uint64_t count = 1, unit;

    while (digits < text.len && text.at[digits] >= '0' && text.at[digits] <= '9') {
        digits++;
    }
    if (digits > 0 && !bytes_to_u64(bytes_take(text, digits), &count)) {
        return false;
    }
    unit = time_us(bytes_skip(text, digits));
    return unit != 0 && !__builtin_mul_overflow(count, unit, us);
}

CONF_KIND_PARSER(conf_kind_parse_rate)
{
    size_t slash = bytes_find(text, '/');
    struct conf_rate rate;

    (void)key;
    (void)memory;
    if (slash == SIZE_MAX || !bytes_to_u64(bytes_take(text, slash), &rate.tokens) ||
        !read_time(bytes_skip(text, slash + 1), &rate.per_us)) {
        return conf_kind_fail(fault, "is not a rate", "expected one such as 100/s, 30/60s, 5/min or 1/day");
    }
    if (rate.tokens == 0 || rate.tokens > RATE_TOKENS_MAX || rate.per_us == 0 || rate.per_us > RATE_TIME_US_MAX) {
        return conf_kind_fail(fault, "is out of range", "expected 1 to %llu in 1ms to 365d",
                              (unsigned long long)RATE_TOKENS_MAX);
    }
    *(struct conf_rate *)field = rate;
    return true;
}

/* ---- callers ---- */

CONF_KIND_PARSER(conf_kind_parse_part)
{
    static const struct {
        const char *word;
        enum conf_limit_part_kind kind;
    } words[] = {
        {"tenant", CONF_PART_TENANT},
        {"client_ip", CONF_PART_CLIENT_IP},
        {"mtls_subject", CONF_PART_MTLS_SUBJECT},
        {"route", CONF_PART_ROUTE},
    };
    struct conf_limit_part *part = field;
    struct bytes header = BYTES("header:");

    (void)key;
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (bytes_equal(text, bytes_from_text(words[i].word))) {
            *part = (struct conf_limit_part){.kind = words[i].kind};
            return true;
        }
    }
    if (!bytes_starts_with(text, header) || !conf_kind_is_field(bytes_skip(text, header.len))) {
        return conf_kind_fail(fault, "tells no callers apart",
                              "expected tenant, client_ip, mtls_subject, header:NAME or route");
    }
    *part = (struct conf_limit_part){.kind = CONF_PART_HEADER,
                                     .header = conf_memory_text(memory, bytes_skip(text, header.len))};
    return true;
}
