/*
 * A request's way through its limits. Those of this process come with the
 * route, before its body is read; those that the fleet shares come with its
 * record's begin or, without a record, by prepaid tokens. All or nothing at each
 * of these places: a request that one limit refuses is charged to none there.
 * What is charged and kept is policy's and the store's; here it is carried out.
 */
#include "limits.h"

#include <stdio.h>

#include "claim.h"

#include "weir/base/clock.h"
#include "weir/http/write.h"

static uint64_t now_of(const struct exchange *x)
{
    return loop_now_us(x->gate->options.loop);
}

static bool is_rate(const struct limited_one *one)
{
    return one->grade->concurrent == 0;
}

static bool is_local(const struct limited_one *one)
{
    return is_rate(one) && one->limit->conf->local;
}

/* Its bucket is in the store, where there is one. */
static bool is_stored(const struct limited_one *one)
{
    return is_rate(one) && !one->limit->conf->local;
}

static bool counts_declines(const struct limited_one *one)
{
    return one->limit->conf->charge_on == CONF_CHARGE_ON_DECLINE;
}

static void count(const struct limited_one *one, const stats_id series[LIMIT_WHERE_COUNT], enum limit_where where)
{
    stats_add(one->exchange->gate->options.stats, series[where], 1);
}

/* ---- what applies ---- */

static unsigned flags_of(const struct limit_ready *limit)
{
    return (limit->shadow ? LIMIT_SHADOW : 0u) | (limit->conf->charge_on == CONF_CHARGE_ON_DECLINE ? LIMIT_CHECK : 0u);
}

/* False: no memory. */
static bool add(struct exchange *x, const struct limit_ready *limit, struct caller_facts *facts)
{
    struct caller_name name;
    if (!caller_name(x, limit, facts, &name)) {
        stats_add(x->gate->options.stats, limit->stat_skipped, 1);
        return true;
    }
    struct caller *caller = limiter_pin(x->gate->limiter, limit, &name);
    if (caller == NULL) {
        return false;
    }
    if (caller->who[0] == '\0') {
        caller_who(x, limit, facts, &name, caller->who);
    }
    struct limited_one *one = &x->limited->each[x->limited->count++];
    one->exchange = x;
    one->limit = limit;
    one->grade = &limit->grades[caller_grade(x, limit, facts)];
    one->caller = caller;
    one->ref = (struct limit_ref){
        .limit = bytes_from_text(limit->conf->name),
        .bucket = name.bucket,
        .ask = {.rate = one->grade->rate, .cost = 1, .flags = flags_of(limit)},
    };
    memcpy(one->ref.hash, name.hash, sizeof one->ref.hash);
    list_init(&one->in_waiters);
    return true;
}

static bool gather(struct exchange *x)
{
    const struct conf_route *route = x->route->conf;
    struct caller_facts facts = {0};
    size_t bytes = sizeof *x->limited + (size_t)route->limit_count * sizeof x->limited->each[0];
    x->limited = arena_take_zeroed(&x->arena, bytes);
    if (x->limited == NULL) {
        return false;
    }
    for (int i = 0; i < route->limit_count; i++) {
        const struct limit_ready *limit = &x->generation->limits[route->limits[i]];
        if (limit->conf->mode != CONF_LIMIT_OFF && !add(x, limit, &facts)) {
            return false;
        }
    }
    return true;
}

/* ---- refusing ---- */

/* This limit has no room. A shadow only says so. */
static void deny(struct limited_one *one, enum limit_where where)
{
    count(one, one->limit->stat_denied, where);
    held_note(one->caller, one->limit);
    one->refused = !one->limit->shadow;
}

static bool any_refused(const struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        if (x->limited->each[i].refused) {
            return true;
        }
    }
    return false;
}

/* What its caller will read: how long, and of what kind. */
static void note_refusal(struct exchange *x)
{
    struct limited *limited = x->limited;
    for (int i = 0; i < limited->count; i++) {
        const struct limited_one *one = &limited->each[i];
        if (one->refused) {
            limited->retry_us = one->told.wait_us > limited->retry_us ? one->told.wait_us : limited->retry_us;
            limited->by_decline = limited->by_decline || counts_declines(one);
        }
    }
}

static enum limits refuse(struct exchange *x)
{
    char why[96];
    bool crowd = true;
    note_refusal(x);
    for (int i = 0; i < x->limited->count; i++) {
        crowd = crowd && !(x->limited->each[i].refused && is_rate(&x->limited->each[i]));
    }
    exchange_end(x, crowd ? REASON_CONCURRENCY_LIMITED : REASON_RATE_LIMITED, ENDED_BY_CLIENT,
                 limits_why(x, why, sizeof why));
    return LIMITS_ENDED;
}

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

/* ---- in this process ---- */

static bool is_crowded(const struct limited_one *one)
{
    return !is_rate(one) && one->caller->in_flight >= one->grade->concurrent;
}

static void look_for_slots(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        if (is_crowded(&x->limited->each[i])) {
            deny(&x->limited->each[i], LIMIT_AT_LOCAL);
        }
    }
}

/* A shadow counts only those that it would have let in. */
static void take_slots(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (!is_rate(one) && !is_crowded(one)) {
            one->slot = true;
            one->caller->in_flight++;
            count(one, one->limit->stat_admitted, LIMIT_AT_LOCAL);
        }
    }
}

/* Charges the buckets of this process that `ones` names, all of them or none; told and counted. */
static void apply_here(struct limited_one *const ones[], const struct limit_rate rates[], int ones_count, enum limit_where where)
{
    struct limit_bucket *buckets[LIMITS_MAX];
    struct limit_ask asks[LIMITS_MAX];
    struct limit_told told[LIMITS_MAX];
    if (ones_count == 0) {
        return;
    }
    for (int i = 0; i < ones_count; i++) {
        buckets[i] = &ones[i]->caller->local;
        asks[i] = ones[i]->ref.ask;
        asks[i].rate = rates[i];
    }
    bool admitted = limit_apply(buckets, asks, ones_count, now_of(ones[0]->exchange), told);
    for (int i = 0; i < ones_count; i++) {
        ones[i]->told = told[i];
        ones[i]->has_told = true;
        if (!told[i].fits) {
            deny(ones[i], where);
        } else if (admitted) {
            count(ones[i], ones[i]->limit->stat_admitted, where);
        }
    }
}

static void charge_local(struct exchange *x)
{
    struct limited_one *ones[LIMITS_MAX];
    struct limit_rate rates[LIMITS_MAX];
    int ones_count = 0;
    for (int i = 0; i < x->limited->count; i++) {
        if (is_local(&x->limited->each[i])) {
            ones[ones_count] = &x->limited->each[i];
            rates[ones_count++] = x->limited->each[i].grade->rate;
        }
    }
    apply_here(ones, rates, ones_count, LIMIT_AT_LOCAL);
}

static void note_demand(struct limited_one *one)
{
    if (!one->noted) {
        one->noted = true;
        lease_note(&one->caller->lease, now_of(one->exchange));
    }
}

/* As the store said last. */
static void tell_of_lease(struct limited_one *one)
{
    const struct lease *lease = &one->caller->lease;
    uint64_t now_us = now_of(one->exchange);
    uint64_t until_us = lease->refused_until_us > lease->denied_until_us ? lease->refused_until_us : lease->denied_until_us;
    bool denied = lease_look(lease, now_us) == LEASE_DENIED;
    one->has_told = true;
    one->told = (struct limit_told){
        .fits = !denied,
        .remaining = denied ? 0 : lease_remaining(lease, now_us),
        .reset_us = lease->reset_at_us > now_us ? lease->reset_at_us - now_us : 0,
        .wait_us = denied && until_us > now_us ? until_us - now_us : 0,
    };
}

static bool is_denied(struct limited_one *one)
{
    return lease_look(&one->caller->lease, now_of(one->exchange)) == LEASE_DENIED;
}

/* Without a key nothing could be replayed: what the store refused a moment ago need not be asked again. */
static void look_into_cache(struct exchange *x)
{
    bool keyed = !x->streams_request && claim_concerns(x);
    for (int i = 0; !keyed && i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (is_stored(one) && !one->limit->shadow && is_denied(one)) {
            note_demand(one);
            tell_of_lease(one);
            deny(one, LIMIT_AT_CACHE);
        }
    }
}

static bool has_stored(const struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        if (is_stored(&x->limited->each[i])) {
            return true;
        }
    }
    return false;
}

enum limits limits_enter(struct exchange *x)
{
    if (x->route->conf->limit_count == 0) {
        return LIMITS_GO;
    }
    if (!gather(x)) {
        exchange_end(x, REASON_SHED, ENDED_BY_WEIR, "no memory for its limits");
        return LIMITS_ENDED;
    }
    look_for_slots(x);
    look_into_cache(x);
    if (!any_refused(x)) {
        charge_local(x);
    }
    if (any_refused(x)) {
        return refuse(x);
    }
    take_slots(x);
    x->limited->settled = !has_stored(x);
    return LIMITS_GO;
}

/* ---- shared, without a record ---- */

bool limits_are_due(const struct exchange *x)
{
    return x->limited != NULL && !x->limited->settled;
}

static void stop_waiting(struct limited_one *one)
{
    if (list_linked(&one->in_waiters)) {
        list_remove(&one->in_waiters);
        one->caller->waiter_count--;
    }
}

/* Each question has its own deadline; this is for a request that others outrun again and again. */
static uint64_t patience_us(const struct exchange *x)
{
    return 10 * generation_conf(x->generation)->store.limit_timeout_ms * CLOCK_US_PER_MS;
}

/* Waits for the store's answer about this one, or knows that there will be none. */
static void wait_for_store(struct limited_one *one)
{
    struct exchange *x = one->exchange;
    struct limited *limited = x->limited;
    if (limited->due_us == 0) {
        limited->due_us = x->now_us + patience_us(x);
    }
    if (x->now_us >= limited->due_us || one->caller->waiter_count >= LIMITER_WAITERS_MAX) {
        one->outrun = true;
    } else if (!limiter_may_wait(x->gate->limiter) || !limiter_ask(one->caller, &one->ref)) {
        one->failed = true;
    } else {
        one->waited = true;
        one->caller->waiter_count++;
        list_push_back(&one->caller->waiters, &one->in_waiters);
    }
}

/* Asks for what is not in hand. True: an answer is waited for. */
static bool ask_store(struct exchange *x)
{
    bool waiting = false;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        bool lacks = is_stored(one) && !one->failed && !one->outrun &&
                     lease_look(&one->caller->lease, x->now_us) == LEASE_ASK;
        if (lacks && !list_linked(&one->in_waiters)) {
            wait_for_store(one);
        }
        waiting = waiting || list_linked(&one->in_waiters);
    }
    return waiting;
}

static bool denied_already(struct exchange *x)
{
    bool denied = false;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (is_stored(one)) {
            note_demand(one);
            denied = denied || (!one->limit->shadow && !one->failed && (one->outrun || is_denied(one)));
        }
    }
    return denied;
}

/* Whether other processes count in the same buckets. */
static bool is_shared(const struct exchange *x)
{
    return x->gate->store != NULL || generation_conf(x->generation)->store_needed;
}

/* The store did not answer for these: as the limit says. False: the request is refused for want of the store. */
static bool judge_without_store(struct exchange *x)
{
    struct limited_one *ones[LIMITS_MAX];
    struct limit_rate rates[LIMITS_MAX];
    int ones_count = 0;
    uint32_t fleet = x->gate->store != NULL ? store_fleet(x->gate->store) : 1;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        enum conf_limit_store_down way = is_shared(x) ? one->limit->conf->store_down : CONF_LIMIT_LOCAL;
        if (!is_stored(one) || !one->failed) {
            continue;
        }
        limiter_ask_ahead(one->caller, &one->ref); /* whether the store is back */
        if (way == CONF_LIMIT_CLOSED && !one->limit->shadow) {
            count(one, one->limit->stat_denied, LIMIT_AT_CLOSED);
            return false;
        }
        if (way != CONF_LIMIT_LOCAL || (counts_declines(one) && is_shared(x))) {
            count(one, one->limit->stat_admitted, LIMIT_AT_OPEN);
            continue;
        }
        ones[ones_count] = one;
        rates[ones_count++] = limit_rate_share(&one->grade->rate, fleet);
    }
    apply_here(ones, rates, ones_count, LIMIT_AT_LOCAL);
    return true;
}

static void deny_by_lease(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (is_stored(one) && !one->failed && (one->outrun || is_denied(one))) {
            tell_of_lease(one);
            one->told.fits = false;
            deny(one, one->waited ? LIMIT_AT_STORE : LIMIT_AT_CACHE);
        }
    }
}

static void use_tokens(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (is_stored(one) && !one->failed && lease_look(&one->caller->lease, x->now_us) == LEASE_HAS) {
            lease_use(&one->caller->lease, x->now_us);
            tell_of_lease(one);
            one->told.fits = true;
            count(one, one->limit->stat_admitted, one->waited ? LIMIT_AT_STORE : LIMIT_AT_LEASE);
            limiter_ask_ahead(one->caller, &one->ref);
        }
    }
}

/* Nobody is asked any more: go, or not. */
static enum limits settle(struct exchange *x)
{
    x->limited->settled = true;
    deny_by_lease(x);
    if (any_refused(x)) {
        return refuse(x);
    }
    if (!judge_without_store(x)) {
        exchange_end(x, REASON_STORE_DOWN, ENDED_BY_WEIR, "a limit is to be closed while the store does not answer");
        return LIMITS_ENDED;
    }
    if (any_refused(x)) {
        return refuse(x);
    }
    use_tokens(x);
    return LIMITS_GO;
}

/* The store answers, but others were always first with what it gave. */
static void give_up_waiting(struct exchange *x)
{
    x->timed_out = false;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        one->outrun = one->outrun || list_linked(&one->in_waiters);
        stop_waiting(one);
    }
}

enum limits limits_step(struct exchange *x)
{
    if (!limits_are_due(x)) {
        return LIMITS_GO;
    }
    if (x->timed_out) {
        give_up_waiting(x);
    }
    if (!denied_already(x) && ask_store(x)) {
        uint64_t due_us = x->limited->due_us;
        timer_set(&x->timer, due_us < x->total_due_us ? due_us : x->total_due_us);
        return LIMITS_WAIT;
    }
    timer_stop(&x->timer);
    for (int i = 0; i < x->limited->count; i++) {
        stop_waiting(&x->limited->each[i]);
    }
    return settle(x);
}

/* ---- shared, with a record ---- */

int limits_of_begin(struct exchange *x, struct limit_ref refs[LIMITS_MAX])
{
    int refs_count = 0;
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        if (is_stored(&x->limited->each[i])) {
            refs[refs_count++] = x->limited->each[i].ref;
        }
    }
    return refs_count;
}

/* What begin said of one. */
static void hear(struct limited_one *one, const struct limit_told *told, bool admitted)
{
    one->told = *told;
    one->has_told = true;
    if (!told->fits) {
        deny(one, LIMIT_AT_STORE);
    } else if (admitted) {
        count(one, one->limit->stat_admitted, LIMIT_AT_STORE);
    }
}

void limits_begun(struct exchange *x, const struct idem_result *result)
{
    int at = 0;
    if (x->limited == NULL) {
        return;
    }
    x->limited->settled = true; /* a record that was there is served, whatever the limits: it was charged when it was made */
    for (int i = 0; i < x->limited->count && at < result->limit_count; i++) {
        if (is_stored(&x->limited->each[i])) {
            hear(&x->limited->each[i], &result->limits[at++], result->verdict == IDEM_NEW);
        }
    }
    if (result->verdict == IDEM_LIMITED) {
        note_refusal(x);
    }
}

/* ---- what came of it ---- */

bool limits_want_body(const struct exchange *x)
{
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        if (counts_declines(&x->limited->each[i]) && x->limited->each[i].caller != NULL) {
            return x->route->profile->declined_words[0].len > 0;
        }
    }
    return false;
}

static void charge_decline(struct limited_one *one)
{
    struct limit_ref ref = one->ref;
    ref.ask.flags = LIMIT_FORCE;
    if (is_stored(one) && is_shared(one->exchange)) {
        limiter_charge(one->caller, &ref);
        return;
    }
    struct limit_bucket *bucket = &one->caller->local;
    struct limit_told told;
    (void)limit_apply(&bucket, &ref.ask, 1, now_of(one->exchange), &told);
}

void limits_answered(struct exchange *x, struct bytes body)
{
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (counts_declines(one) && one->caller != NULL && profile_declined(x->route->profile, x->answer_head->status, body)) {
            charge_decline(one);
        }
    }
}

void limits_leave(struct exchange *x)
{
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (one->caller == NULL) {
            continue;
        }
        stop_waiting(one);
        if (one->slot) {
            CHECK(one->caller->in_flight > 0);
            one->slot = false;
            one->caller->in_flight--;
        }
        limiter_unpin(one->caller);
        one->caller = NULL;
    }
}

/* ---- what the caller reads ---- */

static uint64_t seconds_up(uint64_t us)
{
    return (us + CLOCK_US_PER_S - 1) / CLOCK_US_PER_S;
}

/* Its item of RateLimit: r what is left, t when more comes. Returns the length; 0: there is nothing to tell. */
static size_t write_item(const struct limited_one *one, uint64_t retry_s, char *text, size_t size)
{
    const char *name = one->limit->conf->name;
    int len = 0;
    if (!is_rate(one)) {
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

/* ---- before a request ---- */

bool limits_accept(struct listener *listener, const struct addr *peer)
{
    struct gate *gate = listener->gate;
    char key[9];
    struct bytes address = caller_address(peer, key);
    bool accepted = true;
    for (int i = 0; address.len > 0 && i < listener->conf->accept_limit_count; i++) {
        const struct limit_ready *limit = &listener->generation->limits[listener->conf->accept_limits[i]];
        struct caller_name name = {0};
        struct limit_told told;
        memcpy(name.hash, address.at, address.len);
        struct caller *caller = limit->conf->mode == CONF_LIMIT_OFF ? NULL : limiter_pin(gate->limiter, limit, &name);
        if (caller == NULL) {
            continue;
        }
        char text[ADDR_TEXT_BYTES];
        struct limit_bucket *bucket = &caller->local;
        const struct limit_ask ask = {.rate = limit->grades[0].rate, .cost = 1, .flags = limit->shadow ? LIMIT_SHADOW : 0};
        if (caller->who[0] == '\0') {
            (void)snprintf(caller->who, sizeof caller->who, "%s", addr_format_host(peer, text));
        }
        (void)limit_apply(&bucket, &ask, 1, loop_now_us(gate->options.loop), &told);
        stats_add(gate->options.stats, (told.fits ? limit->stat_admitted : limit->stat_denied)[LIMIT_AT_LOCAL], 1);
        if (!told.fits) {
            held_note(caller, limit);
            accepted = accepted && limit->shadow;
        }
        limiter_unpin(caller);
    }
    return accepted;
}
