/*
 * The limits of a generation, ready to be asked: what each tier gets, the words
 * that its callers read, and the counters of its decisions. Everything here is
 * made when a generation is, and looked at by every request.
 */
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

static const struct stats_family family_decisions = {
    .name = "weir_ratelimit_decisions_total",
    .help = "Requests by limit: admitted, denied (mode shadow: would have been), or skipped for want of what the limit goes "
            "by; and where that was decided.",
    .kind = STATS_COUNTER,
    .labels = {"limit", "decision", "where", "mode"},
};

static const char *const where_names[LIMIT_WHERE_COUNT] = {
    [LIMIT_AT_STORE] = "store", [LIMIT_AT_LEASE] = "lease", [LIMIT_AT_LOCAL] = "local",
    [LIMIT_AT_CACHE] = "cache", [LIMIT_AT_OPEN] = "open",   [LIMIT_AT_CLOSED] = "closed",
};

static void find_series(struct stats *stats, struct limit_ready *limit)
{
    const char *name = limit->conf->name;
    const char *mode = limit->shadow ? "shadow" : "enforce";
    for (int where = 0; where < LIMIT_WHERE_COUNT; where++) {
        if (where != LIMIT_AT_CACHE && where != LIMIT_AT_CLOSED) {
            limit->stat_admitted[where] = stats_series(stats, &family_decisions, name, "admitted", where_names[where], mode);
        }
        if (where != LIMIT_AT_OPEN) {
            limit->stat_denied[where] = stats_series(stats, &family_decisions, name, "denied", where_names[where], mode);
        }
    }
    limit->stat_skipped = stats_series(stats, &family_decisions, name, "skipped", "local", mode);
}

/* RateLimit-Policy: q what a full bucket holds, w in how many seconds it fills. */
static void write_policy(const char *name, struct limit_grade *grade, const struct conf_rate *rate)
{
    int len;
    if (grade->concurrent > 0) {
        len = snprintf(grade->policy, sizeof grade->policy, "\"%s\";q=%u;qu=\"concurrent-requests\"", name,
                       (unsigned)grade->concurrent);
    } else {
        unsigned __int128 whole_us = (unsigned __int128)grade->rate.burst * rate->per_us;
        uint64_t fill_us = (uint64_t)((whole_us + rate->tokens - 1) / rate->tokens);
        len = snprintf(grade->policy, sizeof grade->policy, "\"%s\";q=%llu;w=%llu", name,
                       (unsigned long long)grade->rate.burst,
                       (unsigned long long)((fill_us + CLOCK_US_PER_S - 1) / CLOCK_US_PER_S));
    }
    CHECK(len > 0 && (size_t)len < sizeof grade->policy); /* names are bounded by the configuration */
    grade->policy_len = (size_t)len;
    grade->name_len = strlen(name) + 2;
}

static void ready_grade(const char *name, struct limit_grade *grade, const struct conf_rate *rate, uint64_t burst,
                        uint32_t concurrent)
{
    *grade = (struct limit_grade){.concurrent = concurrent};
    if (concurrent == 0) {
        CHECK(limit_rate_make(rate->tokens, rate->per_us, burst, &grade->rate)); /* the configuration was checked for it */
    }
    write_policy(name, grade, rate);
}

static uint64_t id_of(const char *name)
{
    uint8_t digest[DIGEST_BYTES];
    uint64_t id;
    digest_sha256(bytes_from_text(name), digest);
    memcpy(&id, digest, sizeof id);
    return id;
}

static bool ready_limit(struct stats *stats, struct limit_ready *limit, const struct conf_limit *conf)
{
    limit->conf = conf;
    limit->id = id_of(conf->name);
    limit->shadow = conf->mode == CONF_LIMIT_SHADOW;
    limit->grades = calloc((size_t)conf->tier_count + 1, sizeof *limit->grades);
    if (limit->grades == NULL) {
        return false;
    }
    ready_grade(conf->name, &limit->grades[0], &conf->rate, conf->burst, conf->concurrent);
    for (int i = 0; i < conf->tier_count; i++) {
        const struct conf_limit_tier *tier = &conf->tiers[i];
        ready_grade(conf->name, &limit->grades[i + 1], &tier->rate, tier->burst, tier->concurrent);
    }
    find_series(stats, limit);
    return true;
}

bool limits_ready(struct generation *generation)
{
    const struct conf *conf = generation->conf;
    generation->limits = calloc((size_t)conf->limit_count + 1, sizeof *generation->limits);
    for (int i = 0; generation->limits != NULL && i < conf->limit_count; i++) {
        if (!ready_limit(generation->needs.stats, &generation->limits[i], &conf->limits[i])) {
            return false;
        }
    }
    return generation->limits != NULL;
}

void limits_unready(struct generation *generation)
{
    for (int i = 0; generation->limits != NULL && i < generation->conf->limit_count; i++) {
        free(generation->limits[i].grades);
    }
    free(generation->limits);
}
