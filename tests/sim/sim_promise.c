/*
 * What callers are told of limits, and whether it is true. Whoever a limit of
 * the store refused is told how long to wait; if nothing fails meanwhile and
 * nobody else is charged as the same caller, there is room then (L3).
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>

#include "limits.h"

#define FLEET_MAX SIM_WEIRS_MAX /* weirs, one of whose shares may be what counts */

/* ---- what is read ---- */

struct item {
    int limit;
    unsigned long long remaining, reset_s;
    bool has_reset;
};

/* Reads one item of RateLimit, and steps behind it. False: there is none. */
static bool next_item(const char **at, struct item *item)
{
    int len = 0;
    item->has_reset = false;
    if (**at == '\0') {
        return false;
    }
    if (sscanf(*at, "\"l%d\";r=%llu%n", &item->limit, &item->remaining, &len) != 2 || len == 0) {
        sim_violated("L3: an answer says RateLimit: %s", *at);
    }
    *at += len;
    if (sscanf(*at, ";t=%llu%n", &item->reset_s, &len) == 1) {
        item->has_reset = true;
        *at += len;
    }
    *at += strspn(*at, ", ");
    return true;
}

/* A token of the slowest share, an eighth more, and a second for the rounding. */
static uint64_t longest_s(const struct sim_grade *grade)
{
    return 2 + (uint64_t)grade->per_ms * FLEET_MAX * 9 / 8 / 1000 / grade->tokens;
}

static void check_item(const struct sim_case *about, const struct item *item)
{
    if (item->limit < 0 || item->limit >= sim.plans[1].limit_count) {
        sim_violated("L3: n%" PRIu64 " is told of l%d, which is not there", about->nonce, item->limit);
    }
    const struct sim_grade *grade = sim_quota_grade(about, item->limit);
    unsigned most = grade->tokens > 0 ? grade->burst : grade->concurrent;
    if (item->remaining > most || item->has_reset != (grade->tokens > 0)) {
        sim_violated("L3: n%" PRIu64 " is told of l%d, whose bucket holds %u: %s", about->nonce, item->limit, most,
                     about->seen.limits);
    }
}

void promise_read(struct sim_case *about)
{
    const struct sim_seen *seen = &about->seen;
    bool rate = seen->reason == REASON_RATE_LIMITED, refused = rate || seen->reason == REASON_CONCURRENCY_LIMITED;
    const char *at = seen->limits;
    struct item item;
    bool named = false;
    uint64_t longest = 2;
    while (next_item(&at, &item)) {
        const struct sim_grade *grade = sim_quota_grade(about, item.limit);
        check_item(about, &item);
        named = named || (rate ? item.remaining == 0 && item.reset_s == seen->retry_after_s : grade->tokens == 0);
        longest = grade->tokens > 0 && longest_s(grade) > longest ? longest_s(grade) : longest;
    }
    if (refused && (!seen->own || !named || seen->retry_after_s < 1 || seen->retry_after_s > longest)) {
        sim_violated("L3: n%" PRIu64 " is refused as %s; it reads Retry-After: %" PRIu64 " and RateLimit: %s", about->nonce,
                     reason_name(seen->reason), seen->retry_after_s, seen->limits);
    }
    about->promise.due_us = sim.now_us + seen->retry_after_s * SIM_S;
}

/* ---- whether it is true ---- */

static bool is_limited(const struct sim_case *about)
{
    return about->reason == REASON_RATE_LIMITED || about->reason == REASON_CONCURRENCY_LIMITED;
}

/* Who waits for how long, as a limit of the store or of this process said it. */
static void note(struct sim_case *about, const struct exchange *x)
{
    struct sim_promise *promise = &about->promise;
    promise->kept = about->reason == REASON_RATE_LIMITED && !sim.weather.rates_vary;
    promise->troubles = sim.troubles;
    for (int i = 0; i < x->limited->count; i++) {
        const struct limited_one *one = &x->limited->each[i];
        int limit = sim_quota_find(one->ref.limit);
        if (one->refused) {
            promise->kept = promise->kept && !one->failed && !one->outrun;
            promise->who[limit] = sim_quota_who(about, limit, about->line_generation);
        }
    }
}

/* Connections are charged to it, too. */
static bool counts_connections(int limit)
{
    bool counts = false;
    for (unsigned i = 1; i <= sim.plan_count; i++) {
        counts = counts || sim.plans[i].accept_limit == limit;
    }
    return counts;
}

/* Nobody else asked this process as this caller, or still does: who is refused makes it rest before it asks again. */
static bool nobody_knocked_here(uint64_t who, const struct sim_case *refused, const struct sim_case *again)
{
    int limit = (int)(who >> 56) - 1;
    for (size_t i = 0; i < sim.case_count; i++) {
        const struct sim_case *other = sim.cases[i];
        bool began = other != refused && other != again && other->weir == again->weir;
        bool meanwhile = other->lines == 0 || other->line_at_us >= refused->line_at_us;
        unsigned generation = other->lines == 0 ? refused->line_generation : other->line_generation;
        if (began && meanwhile && (generation == 0 || sim_quota_who(other, limit, generation) == who)) {
            return false;
        }
    }
    return true;
}

static bool was_alone_here(uint64_t who, const struct sim_case *refused, const struct sim_case *again)
{
    return !counts_connections((int)(who >> 56) - 1) && refused->weir == again->weir && nobody_knocked_here(who, refused, again);
}

static bool was_alone(uint64_t who, const struct sim_case *refused, const struct sim_case *again)
{
    int limit = (int)(who >> 56) - 1;
    return sim_quota_is_local(limit) ? was_alone_here(who, refused, again)
                                       : bounds_charged_us(who) < refused->line_at_us && nobody_knocked_here(who, refused, again);
}

static void test(const struct sim_case *about, const struct exchange *x)
{
    const struct sim_case *refused = about->promised;
    if (!refused->promise.kept || refused->promise.troubles != sim.troubles || about->reason == REASON_CLIENT_GONE) {
        return;
    }
    sim.counts.promises += about->reason != REASON_RATE_LIMITED ? 1 : 0;
    for (int i = 0; is_limited(about) && i < x->limited->count; i++) {
        const struct limited_one *one = &x->limited->each[i];
        uint64_t who = refused->promise.who[sim_quota_find(one->ref.limit)];
        bool same = who != 0 && who == sim_quota_who(about, sim_quota_find(one->ref.limit), about->line_generation);
        bool judged = one->refused && !one->failed && !one->outrun && one->grade->concurrent == 0;
        if (same && judged && was_alone(who, refused, about)) {
            sim_violated("L3: n%" PRIu64 " comes as n%" PRIu64 " was told to, alone, and is refused by l%d again", about->nonce,
                         refused->nonce, sim_quota_find(one->ref.limit));
        }
    }
}

void promise_line(struct sim_case *about, const struct exchange *x)
{
    if (about->promised != NULL) {
        test(about, x);
    }
    if (is_limited(about)) {
        note(about, x);
    }
}
