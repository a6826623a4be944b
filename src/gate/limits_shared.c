/*
 * The limits that the fleet shares, whose buckets are in the store. A request
 * with a key brings them along with its record's begin; one without uses tokens
 * that were prepaid (policy/lease.h) and waits for the store only where none are
 * in hand. While the store is away each limit goes as its store_down says.
 * Asking is limiter.c's.
 */
#include "limits.h"

#include "claim.h"

#include "weir/base/clock.h"

static uint64_t now_of(const struct exchange *x)
{
    return loop_now_us(x->gate->options.loop);
}

bool limits_are_shared(const struct exchange *x)
{
    return x->gate->store != NULL || generation_conf(x->generation)->store_needed;
}

static uint32_t fleet_of(const struct exchange *x)
{
    return x->gate->store != NULL ? store_fleet(x->gate->store) : 1;
}

/* ---- what is known here ---- */

/* Where declines are counted, what is in hand stands for one look at the bucket, not for tokens. */
static uint64_t left_of(const struct limited_one *one, uint64_t now_us)
{
    const struct lease *lease = &one->caller->lease;
    return limited_counts_declines(one) ? lease->remaining : lease_remaining(lease, now_us);
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
        .remaining = denied ? 0 : left_of(one, now_us),
        .reset_us = lease->reset_at_us > now_us ? lease->reset_at_us - now_us : 0,
        .wait_us = denied && until_us > now_us ? until_us - now_us : 0,
    };
}

static bool is_denied(struct limited_one *one)
{
    return lease_look(&one->caller->lease, now_of(one->exchange)) == LEASE_DENIED;
}

static void note_demand(struct limited_one *one)
{
    if (!one->noted) {
        one->noted = true;
        lease_note(&one->caller->lease, now_of(one->exchange));
    }
}

/* Without a key nothing could be replayed: what the store refused a moment ago need not be asked again. */
void limits_look_into_cache(struct exchange *x)
{
    bool keyed = !x->streams_request && claim_concerns(x);
    for (int i = 0; !keyed && i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (limited_is_stored(one) && !one->limit->shadow && is_denied(one)) {
            note_demand(one);
            tell_of_lease(one);
            limited_deny(one, LIMIT_AT_CACHE);
        }
    }
}

/*
 * What the store admitted counts in this weir's share as well. Else a store that answers now and then would be one limit,
 * and the share that stands in for it a second one beside it.
 */
static void charge_share(struct limited_one *one)
{
    struct limit_bucket *bucket = &one->caller->local;
    struct limit_ask ask = one->ref.ask;
    struct limit_told told;
    if (limited_counts_declines(one)) {
        return; /* without the store it refuses nobody */
    }
    ask.rate = limit_rate_share(&ask.rate, fleet_of(one->exchange));
    ask.flags = LIMIT_FORCE;
    (void)limit_apply(&bucket, &ask, 1, now_of(one->exchange), &told);
}

/* ---- without a record ---- */

void limited_stop_waiting(struct limited_one *one)
{
    if (list_linked(&one->in_waiters)) {
        list_remove(&one->in_waiters);
        one->caller->waiter_count--;
    }
}

bool limits_are_due(const struct exchange *x)
{
    return x->limited != NULL && !x->limited->settled;
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

static bool lacks_token(const struct limited_one *one)
{
    return limited_is_stored(one) && !one->failed && !one->outrun &&
           lease_look(&one->caller->lease, one->exchange->now_us) == LEASE_ASK;
}

/* Of those without a token in hand the one that the store refused last; NULL: there is none, or one waits already. */
static struct limited_one *next_to_ask(struct exchange *x)
{
    struct limited_one *next = NULL;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (lacks_token(one) && (next == NULL || one->caller->refused_us > next->caller->refused_us)) {
            next = one;
        }
    }
    return next;
}

static bool is_waiting(const struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        if (list_linked(&x->limited->each[i].in_waiters)) {
            return true;
        }
    }
    return false;
}

/*
 * Asks for what is not in hand, one limit after the other and the likeliest to refuse first: a token that another limit's
 * refusal leaves unused was charged for nothing. True: an answer is waited for.
 */
static bool ask_store(struct exchange *x)
{
    struct limited_one *one;
    while (!is_waiting(x) && (one = next_to_ask(x)) != NULL) {
        wait_for_store(one);
    }
    return is_waiting(x);
}

static bool denied_already(struct exchange *x)
{
    bool denied = false;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (limited_is_stored(one)) {
            note_demand(one);
            denied = denied || (!one->limit->shadow && !one->failed && (one->outrun || is_denied(one)));
        }
    }
    return denied;
}

/* The store did not answer for these: as the limit says. False: the request is refused for want of the store. */
static bool judge_without_store(struct exchange *x)
{
    struct limited_one *ones[LIMITS_MAX];
    struct limit_rate rates[LIMITS_MAX];
    int ones_count = 0;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        enum conf_limit_store_down way = limits_are_shared(x) ? one->limit->conf->store_down : CONF_LIMIT_LOCAL;
        if (!limited_is_stored(one) || !one->failed) {
            continue;
        }
        if (way == CONF_LIMIT_CLOSED && !one->limit->shadow) {
            limited_count(one, one->limit->stat_denied, LIMIT_AT_CLOSED);
            return false;
        }
        if (way != CONF_LIMIT_LOCAL || (limited_counts_declines(one) && limits_are_shared(x))) {
            limited_count(one, one->limit->stat_admitted, LIMIT_AT_OPEN);
            continue;
        }
        ones[ones_count] = one;
        rates[ones_count++] = limit_rate_share(&one->grade->rate, fleet_of(x));
    }
    limited_apply_here(ones, rates, ones_count, LIMIT_AT_LOCAL);
    return true;
}

static void deny_by_lease(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (limited_is_stored(one) && !one->failed && (one->outrun || is_denied(one))) {
            tell_of_lease(one);
            one->told.fits = false;
            one->told.remaining = 0;
            limited_deny(one, one->waited ? LIMIT_AT_STORE : LIMIT_AT_CACHE);
        }
    }
}

static void use_tokens(struct exchange *x)
{
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (limited_is_stored(one) && !one->failed && lease_look(&one->caller->lease, x->now_us) == LEASE_HAS) {
            lease_use(&one->caller->lease, x->now_us);
            charge_share(one);
            tell_of_lease(one);
            one->told.fits = true;
            limited_count(one, one->limit->stat_admitted, one->waited ? LIMIT_AT_STORE : LIMIT_AT_LEASE);
            limiter_ask_ahead(one->caller, &one->ref);
        }
    }
}

/* Nobody is asked any more: go, or not. */
static enum limits settle(struct exchange *x)
{
    x->limited->settled = true;
    deny_by_lease(x);
    if (limits_any_refused(x)) {
        return limits_refuse(x);
    }
    if (!judge_without_store(x)) {
        exchange_end(x, REASON_STORE_DOWN, ENDED_BY_WEIR, "a limit is to be closed while the store does not answer");
        return LIMITS_ENDED;
    }
    if (limits_any_refused(x)) {
        return limits_refuse(x);
    }
    use_tokens(x);
    return LIMITS_GO;
}

/* The store answers, but others were always first with what it gave; or this process stood still and heard no answer. */
static void give_up_waiting(struct exchange *x)
{
    x->timed_out = false;
    for (int i = 0; i < x->limited->count; i++) {
        struct limited_one *one = &x->limited->each[i];
        if (list_linked(&one->in_waiters)) {
            one->outrun = one->answered;
            one->failed = !one->answered;
            limited_stop_waiting(one);
        }
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
        limited_stop_waiting(&x->limited->each[i]);
    }
    return settle(x);
}

/* ---- shared, with a record ---- */

int limits_of_begin(struct exchange *x, struct limit_ref refs[LIMITS_MAX])
{
    int refs_count = 0;
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        if (limited_is_stored(&x->limited->each[i])) {
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
    lease_hear(&one->caller->lease, told, now_of(one->exchange));
    if (!told->fits) {
        limited_deny(one, LIMIT_AT_STORE);
    } else if (admitted) {
        charge_share(one);
        limited_count(one, one->limit->stat_admitted, LIMIT_AT_STORE);
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
        if (limited_is_stored(&x->limited->each[i])) {
            hear(&x->limited->each[i], &result->limits[at++], result->verdict == IDEM_NEW);
        }
    }
    if (result->verdict == IDEM_LIMITED) {
        limits_note_refusal(x);
    }
}
