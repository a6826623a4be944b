/*
 * A request's limits: which apply, those that this process decides alone, how a
 * refusal ends it, and what it gives back at its end. Local limits are asked
 * with the route, before the body is read; those that the fleet shares come
 * later (limits_shared.c). All or nothing at each of the two: a request that
 * one limit refuses is charged to none there.
 */
#include "limits.h"

#include <stdio.h>

static uint64_t now_of(const struct exchange *x)
{
    return loop_now_us(x->gate->options.loop);
}

static bool is_local(const struct limited_one *one)
{
    return limited_is_rate(one) && one->limit->conf->local;
}

/* ---- what applies ---- */

static unsigned flags_of(const struct limit_ready *limit)
{
    return (limit->shadow ? LIMIT_SHADOW : 0u) | (limit->conf->charge_on == CONF_CHARGE_ON_DECLINE ? LIMIT_CHECK : 0u);
}

static void add(struct exchange *x, const struct limit_ready *limit, bool known, struct caller_facts *facts)
{
    struct caller_name name;
    if (!caller_name(x, limit, facts, &name)) {
        stats_add(x->gate->options.stats, limit->stat_skipped, 1);
        return;
    }
    if (!known && (name.stranger || !limit->conf->local)) {
        return; /* who is to be refused leaves nothing under a name of its own */
    }
    struct caller *caller = limiter_pin(x->gate->limiter, limit, &name);
    if (caller == NULL) {
        stats_add(x->gate->options.stats, limit->stat_skipped, 1); /* no memory to count it: that refuses nobody */
        return;
    }
    if (caller->who[0] == '\0') {
        caller_who(x, limit, facts, &name, caller->who);
    }
    struct limited_one *one = &x->limited->each[x->limited->count++];
    one->exchange = x;
    one->limit = limit;
    one->grade = &limit->grades[caller_grade(x, limit, facts)];
    limiter_use_rate(caller, &one->grade->rate);
    one->caller = caller;
    one->ref = (struct limit_ref){
        .limit = bytes_from_text(limit->conf->name),
        .bucket = name.bucket,
        .ask = {.rate = one->grade->rate, .cost = 1, .flags = flags_of(limit)},
    };
    memcpy(one->ref.hash, name.hash, sizeof one->ref.hash);
    list_init(&one->in_waiters);
}

/* False: no memory. */
static bool gather(struct exchange *x, bool known)
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
        if (limit->conf->mode != CONF_LIMIT_OFF) {
            add(x, limit, known, &facts);
        }
    }
    return true;
}

/* ---- refusing ---- */

/* This limit has no room. A shadow only says so. */
void limited_deny(struct limited_one *one, enum limit_where where)
{
    limited_count(one, one->limit->stat_denied, where);
    held_note(one->caller, one->limit);
    one->refused = !one->limit->shadow;
}

bool limits_any_refused(const struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        if (x->limited->each[i].refused) {
            return true;
        }
    }
    return false;
}

/* What its caller will read: how long, and of what kind. */
void limits_note_refusal(struct exchange *x)
{
    struct limited *limited = x->limited;
    for (int i = 0; i < limited->count; i++) {
        const struct limited_one *one = &limited->each[i];
        if (one->refused) {
            limited->retry_us = one->told.wait_us > limited->retry_us ? one->told.wait_us : limited->retry_us;
            limited->by_decline = limited->by_decline || limited_counts_declines(one);
        }
    }
}

enum limits limits_refuse(struct exchange *x)
{
    char why[96];
    bool crowd = true;
    limits_note_refusal(x);
    for (int i = 0; i < x->limited->count; i++) {
        crowd = crowd && !(x->limited->each[i].refused && limited_is_rate(&x->limited->each[i]));
    }
    exchange_refuse(x, crowd ? REASON_CONCURRENCY_LIMITED : REASON_RATE_LIMITED, ENDED_BY_CLIENT,
                    limits_why(x, why, sizeof why), 0);
    return LIMITS_ENDED;
}

/* ---- in this process ---- */

static bool is_crowded(const struct limited_one *one)
{
    return !limited_is_rate(one) && one->caller->in_flight >= one->grade->concurrent;
}

static void look_for_slots(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        if (is_crowded(&x->limited->each[i])) {
            limited_deny(&x->limited->each[i], LIMIT_AT_LOCAL);
        }
    }
}

/* A shadow counts only those that it would have let in. */
static void take_slots(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (!limited_is_rate(one) && !is_crowded(one)) {
            one->slot = true;
            one->caller->in_flight++;
            limited_count(one, one->limit->stat_admitted, LIMIT_AT_LOCAL);
        }
    }
}

/* Charges the buckets of this process that `ones` names, all of them or none; told and counted. */
void limited_apply_here(struct limited_one *const ones[], const struct limit_rate rates[], int ones_count, enum limit_where where)
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
            limited_deny(ones[i], where);
        } else if (admitted) {
            limited_count(ones[i], ones[i]->limit->stat_admitted, where);
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
    limited_apply_here(ones, rates, ones_count, LIMIT_AT_LOCAL);
}

static bool has_stored(const struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        if (limited_is_stored(&x->limited->each[i])) {
            return true;
        }
    }
    return false;
}

enum limits limits_enter(struct exchange *x, bool known)
{
    if (x->route->conf->limit_count == 0) {
        return LIMITS_GO;
    }
    if (!gather(x, known)) {
        exchange_end(x, REASON_SHED, ENDED_BY_WEIR, "no memory for its limits");
        return LIMITS_ENDED;
    }
    look_for_slots(x);
    limits_look_into_cache(x);
    if (!limits_any_refused(x)) {
        charge_local(x);
    }
    if (limits_any_refused(x)) {
        return limits_refuse(x);
    }
    take_slots(x);
    x->limited->settled = !has_stored(x);
    return LIMITS_GO;
}

/* ---- what came of it ---- */

/* A question about a payment that was declined is no decline. */
static bool may_decline(const struct exchange *x)
{
    for (int i = 0; !x->safe_method && x->limited != NULL && i < x->limited->count; i++) {
        if (limited_counts_declines(&x->limited->each[i]) && x->limited->each[i].caller != NULL) {
            return true;
        }
    }
    return false;
}

bool limits_want_body(const struct exchange *x)
{
    return x->route->profile->declined_words[0].len > 0 && may_decline(x);
}

static void charge_decline(struct limited_one *one)
{
    struct limit_ref ref = one->ref;
    ref.ask.flags = LIMIT_FORCE;
    if (limited_is_stored(one) && limits_are_shared(one->exchange)) {
        limiter_charge(one->caller, &ref);
        return;
    }
    struct limit_bucket *bucket = &one->caller->local;
    struct limit_told told;
    (void)limit_apply(&bucket, &ref.ask, 1, now_of(one->exchange), &told);
}

void limits_answered(struct exchange *x, struct bytes body)
{
    if (!may_decline(x) || !profile_declined(x->route->profile, x->answer_head->status, body)) {
        return;
    }
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        bool would_not_be = one->limit->shadow && one->has_told && !one->told.fits; /* enforced, it had never been sent */
        if (limited_counts_declines(one) && one->caller != NULL && !would_not_be) {
            charge_decline(one);
        }
    }
}

/* True: the beginning is there, or no more comes. */
static bool hear_parts(struct exchange *x)
{
    struct limited *limited = x->limited;
    if (limited->heard == NULL) {
        limited->heard = arena_take(&x->arena, LIMITS_HEARD_BYTES);
    }
    for (int i = 0; limited->heard != NULL && i < x->gate->part_count; i++) {
        struct bytes part = bytes_take(x->gate->parts[i], LIMITS_HEARD_BYTES - limited->heard_bytes);
        (void)bytes_put(limited->heard + limited->heard_bytes, part);
        limited->heard_bytes += part.len;
    }
    return limited->heard == NULL || limited->heard_bytes == LIMITS_HEARD_BYTES || x->answer_whole;
}

void limits_hear(struct exchange *x)
{
    struct limited *limited = x->limited;
    if (limited == NULL || limited->judged || (limits_want_body(x) && !hear_parts(x))) {
        return;
    }
    limited->judged = true;
    limits_answered(x, bytes_of(limited->heard, limited->heard_bytes));
}

void limits_leave(struct exchange *x)
{
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (one->caller == NULL) {
            continue;
        }
        limited_stop_waiting(one);
        if (one->slot) {
            CHECK(one->caller->in_flight > 0);
            one->slot = false;
            one->caller->in_flight--;
        }
        limiter_unpin(one->caller);
        one->caller = NULL;
    }
}

/* ---- before a request ---- */

bool limits_accept(struct listener *listener, const struct addr *peer)
{
    struct gate *gate = listener->gate;
    char key[ADDR_CUSTOMER_BYTES];
    struct bytes address = addr_customer(peer, key);
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
