/*
 * The callers that this process remembers, and what it asks the store about
 * them. Bounded: when the table is full the one that was longest without use
 * goes, with what is known of it; one that chose its name freely goes only when
 * it owes nothing, so that inventing names fills neither this table nor the
 * store. Whether a request may pass is decided in limits.c.
 */
#include "limits.h"

#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

/* What a question is assumed to take until one was answered. */
#define TRIP_GUESS_US UINT64_C(1000)
/* Places of the ring that are looked at for one that may go. */
#define EVICT_LOOKS 64

static const struct stats_family family_callers = {
    .name = "weir_ratelimit_callers",
    .help = "Callers of limits that this process remembers.",
    .kind = STATS_GAUGE,
};
static const struct stats_family family_evicted = {
    .name = "weir_ratelimit_callers_evicted_total",
    .help = "Callers that were forgotten because the table was full: what a local limit knew of them begins anew.",
    .kind = STATS_COUNTER,
};
static const struct stats_family family_away = {
    .name = "weir_ratelimit_store_away",
    .help = "1 while limits are judged without the store, since it does not answer.",
    .kind = STATS_GAUGE,
};

static void on_probing(struct timer *timer);

/* ---- open and close ---- */

struct limiter *limiter_open(struct gate *gate)
{
    struct stats *stats = gate->options.stats;
    struct limiter *limiter = calloc(1, sizeof *limiter);
    struct table *callers = table_open(LIMITER_CALLERS_MAX + LIMITER_SHARED_MAX);
    struct table *counts = table_open(0); /* limits are bounded by the configuration */
    if (limiter == NULL || callers == NULL || counts == NULL) {
        free(limiter);
        table_close(callers);
        table_close(counts);
        return NULL;
    }
    limiter->gate = gate;
    limiter->callers = callers;
    limiter->counts = counts;
    pool_init(&limiter->callers_pool, "callers", sizeof(struct caller), LIMITER_CALLERS_MAX + LIMITER_SHARED_MAX);
    list_init(&limiter->known);
    list_init(&limiter->strangers);
    limiter->trip_us = TRIP_GUESS_US;
    timer_init(&limiter->probing, gate->options.loop, on_probing);
    digest_random(&limiter->random, sizeof limiter->random);
    limiter->random |= 1;
    limiter->stat_callers = stats_series(stats, &family_callers);
    limiter->stat_evicted = stats_series(stats, &family_evicted);
    limiter->stat_away = stats_series(stats, &family_away);
    return limiter;
}

static void forget_all(struct limiter *limiter, struct list *ring)
{
    struct caller *caller;
    while ((caller = list_first(ring, struct caller, in_ring)) != NULL) {
        CHECK(caller->pins == 0 && caller->in_flight == 0);
        if (caller->call != NULL) {
            store_limit_forget(caller->call);
        }
        list_remove(&caller->in_ring);
        pool_put(&limiter->callers_pool, caller);
    }
}

void limiter_close(struct limiter *limiter)
{
    timer_stop(&limiter->probing);
    if (limiter->probe != NULL) {
        store_limit_forget(limiter->probe);
    }
    forget_all(limiter, &limiter->known);
    forget_all(limiter, &limiter->strangers);
    pool_close(&limiter->callers_pool);
    table_close(limiter->callers);
    table_close(limiter->counts);
    free(limiter);
}

/* Marsaglia, Xorshift RNGs, Journal of Statistical Software 8(14), 2003: for jitter alone. */
uint64_t limiter_random(struct limiter *limiter)
{
    uint64_t x = limiter->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    limiter->random = x;
    return x;
}

/* ---- callers ---- */

struct caller_key {
    uint64_t limit;
    uint8_t hash[LIMIT_HASH_BYTES];
};

static struct caller_key key_of(uint64_t limit, const uint8_t hash[LIMIT_HASH_BYTES])
{
    struct caller_key key = {.limit = limit};
    memcpy(key.hash, hash, sizeof key.hash);
    return key;
}

/* As the store said last; what was never asked there counts here. */
static bool caller_owes(const struct caller *caller, uint64_t now_us)
{
    if (caller->lease.reset_at_us != 0 || caller->local.debt == 0) {
        return caller->lease.reset_at_us > now_us;
    }
    return limit_over_us(&caller->local, &caller->rate) > now_us;
}

/* A stranger that owes is kept: another name would begin with a bucket of its own. */
static bool may_go(const struct caller *caller, uint64_t now_us)
{
    bool owes = caller->stranger && caller_owes(caller, now_us);
    return caller->pins == 0 && caller->in_flight == 0 && caller->call == NULL && !owes;
}

/* ---- how many of each limit ---- */

static void count_one(struct limiter *limiter, uint64_t limit, bool more)
{
    struct bytes key = bytes_of(&limit, sizeof limit);
    uintptr_t count = (uintptr_t)table_find(limiter->counts, key);
    if (!more && count == 1) {
        (void)table_remove(limiter->counts, key);
    } else if (more || count > 1) {
        bool counted = table_put(limiter->counts, key, (void *)(more ? count + 1 : count - 1));
        (void)counted; /* no memory: operators read one too few */
    }
}

uint32_t limiter_callers_of(const struct limiter *limiter, uint64_t limit)
{
    return (uint32_t)(uintptr_t)table_find(limiter->counts, bytes_of(&limit, sizeof limit));
}

/* ---- coming and going ---- */

static void drop(struct caller *caller)
{
    struct limiter *limiter = caller->limiter;
    struct caller_key key = key_of(caller->limit, caller->hash);
    (void)table_remove(limiter->callers, bytes_of(&key, sizeof key));
    list_remove(&caller->in_ring);
    limiter->strangers_count -= caller->stranger ? 1 : 0;
    count_one(limiter, caller->limit, false);
    pool_put(&limiter->callers_pool, caller);
}

/* Lets one of this ring go. CLOCK: who was used since it was looked at last has another turn, unless all were. */
static bool evict(struct limiter *limiter, struct list *ring)
{
    uint64_t now_us = loop_now_us(limiter->gate->options.loop);
    struct caller *leaver = NULL;
    for (int i = 0; i < EVICT_LOOKS && !list_empty(ring); i++) {
        struct caller *caller = list_first(ring, struct caller, in_ring);
        bool fits = may_go(caller, now_us);
        if (fits && (leaver == NULL || !caller->recent)) {
            leaver = caller;
        }
        if (fits && !caller->recent) {
            break;
        }
        caller->recent = false;
        list_remove(&caller->in_ring);
        list_push_back(ring, &caller->in_ring);
    }
    if (leaver == NULL) {
        return false;
    }
    drop(leaver);
    stats_add(limiter->gate->options.stats, limiter->stat_evicted, 1);
    return true;
}

/* Each kind makes room among its own: however many names are invented, who is known keeps half. */
static bool has_room(struct limiter *limiter, bool stranger)
{
    bool full = table_count(limiter->callers) >= LIMITER_CALLERS_MAX;
    bool strangers_full = stranger && limiter->strangers_count >= LIMITER_STRANGERS_MAX;
    return !(full || strangers_full) || evict(limiter, stranger ? &limiter->strangers : &limiter->known);
}

static struct caller *make(struct limiter *limiter, const struct caller_key *key, bool stranger)
{
    struct caller *caller = pool_get(&limiter->callers_pool);
    if (caller == NULL) {
        return NULL;
    }
    if (!table_put(limiter->callers, bytes_of(key, sizeof *key), caller)) {
        pool_put(&limiter->callers_pool, caller);
        return NULL;
    }
    caller->limiter = limiter;
    caller->limit = key->limit;
    memcpy(caller->hash, key->hash, sizeof caller->hash);
    caller->stranger = stranger;
    limiter->strangers_count += stranger ? 1 : 0;
    count_one(limiter, key->limit, true);
    list_init(&caller->waiters);
    list_init(&caller->in_ring);
    list_push_back(stranger ? &limiter->strangers : &limiter->known, &caller->in_ring);
    return caller;
}

/* All that have no entry of their own count together, here and in the store. */
static void be_one_of_many(struct caller_name *name)
{
    memset(name->hash, 0xff, sizeof name->hash);
    name->bucket = 0;
    name->stranger = false; /* there is one such entry for each limit */
}

struct caller *limiter_pin(struct limiter *limiter, const struct limit_ready *limit, struct caller_name *name)
{
    struct caller_key key = key_of(limit->id, name->hash);
    struct caller *caller = table_find(limiter->callers, bytes_of(&key, sizeof key));
    if (caller == NULL && !has_room(limiter, name->stranger)) {
        be_one_of_many(name);
        key = key_of(limit->id, name->hash);
        caller = table_find(limiter->callers, bytes_of(&key, sizeof key));
    }
    if (caller == NULL) {
        caller = make(limiter, &key, name->stranger);
        stats_set(limiter->gate->options.stats, limiter->stat_callers, table_count(limiter->callers));
    }
    if (caller != NULL) {
        caller->pins++;
        caller->recent = true;
    }
    return caller;
}

void limiter_use_rate(struct caller *caller, const struct limit_rate *rate)
{
    if (memcmp(&caller->rate, rate, sizeof *rate) != 0) {
        caller->rate = *rate;
        caller->lease.denied_until_us = 0; /* what was refused at another rate is asked again */
        caller->lease.refused_until_us = 0;
    }
}

void limiter_unpin(struct caller *caller)
{
    CHECK(caller->pins > 0);
    caller->pins--;
}

/* ---- asking the store ---- */

bool limiter_may_wait(const struct limiter *limiter)
{
    return limiter->gate->store != NULL && lease_may_wait(&limiter->patience);
}

static void on_probed(void *owner, enum store_status status, uint64_t granted, const struct limit_told *told);

/* A probe that is under way sees to the next one itself. */
static void rest_or_probe(struct limiter *limiter)
{
    timer_stop(&limiter->probing);
    if (limiter->patience.away && limiter->probe == NULL && !limiter->gate->closing) {
        timer_set(&limiter->probing, limiter->patience.probe_us);
    }
}

static void note_heard(struct limiter *limiter, bool answered)
{
    struct gate *gate = limiter->gate;
    if (!lease_heard(&limiter->patience, answered, loop_now_us(gate->options.loop))) {
        return;
    }
    rest_or_probe(limiter);
    stats_set(gate->options.stats, limiter->stat_away, limiter->patience.away ? 1 : 0);
    if (limiter->patience.away) {
        log_event(gate->options.log, LOG_WARN, "limits_without_store",
                  "the store does not answer: limits go by this weir's share of them", LOG_N("fleet", store_fleet(gate->store)));
    } else {
        log_event(gate->options.log, LOG_INFO, "limits_with_store", "the store answers: limits are shared again",
                  LOG_N("fleet", store_fleet(gate->store)));
    }
}

/* While the store is left alone, one question now and then that nobody waits for and that charges nothing. */
static void on_probing(struct timer *timer)
{
    struct limiter *limiter = container_of(timer, struct limiter, probing);
    struct gate *gate = limiter->gate;
    uint64_t now_us = loop_now_us(gate->options.loop);
    if (!gate->closing && lease_may_probe(&limiter->patience, limiter_random(limiter), now_us)) {
        limiter->probe = store_limit(gate->store, &limiter->asked, 0,
                                     generation_conf(gate->generation)->store.limit_timeout_ms, on_probed, limiter);
    }
    rest_or_probe(limiter);
}

static void on_probed(void *owner, enum store_status status, uint64_t granted, const struct limit_told *told)
{
    struct limiter *limiter = owner;
    (void)granted;
    (void)told;
    limiter->probe = NULL;
    note_heard(limiter, status == STORE_OK);
    rest_or_probe(limiter);
}

/* The same question again, as a look: what a probe asks. */
static void note_asked(struct limiter *limiter, const struct limit_ref *ref)
{
    limiter->asked = *ref;
    limiter->asked.ask.flags = LIMIT_CHECK;
    limiter->asked.limit = bytes_of(limiter->asked_name, bytes_to_text(ref->limit, limiter->asked_name, sizeof limiter->asked_name));
}

static void wake_waiters(struct caller *caller, bool failed)
{
    struct list now;
    struct limited_one *one;
    list_init(&now);
    list_move_all(&now, &caller->waiters);
    caller->pins++; /* whoever is stepped may end, and with it the last that holds it */
    while ((one = list_first(&now, struct limited_one, in_waiters)) != NULL) {
        limited_stop_waiting(one);
        one->failed = failed;
        one->answered = one->answered || !failed;
        exchange_step(one->exchange);
    }
    caller->pins--;
}

/* What fits is all that is known: everybody may pass until it is asked again. */
#define CHECKED_TOKENS UINT64_C(1000000)

static void on_told(void *owner, enum store_status status, uint64_t granted, const struct limit_told *told)
{
    struct caller *caller = owner;
    struct limiter *limiter = caller->limiter;
    struct gate *gate = limiter->gate;
    uint64_t now_us = loop_now_us(gate->options.loop);
    caller->call = NULL;
    note_heard(limiter, status == STORE_OK);
    if (status != STORE_OK) {
        lease_lost(&caller->lease);
        wake_waiters(caller, true);
        return;
    }
    limiter->trip_us = (7 * limiter->trip_us + (now_us - caller->asked_us)) / 8;
    caller->refused_us = granted == 0 ? now_us : caller->refused_us;
    if (caller->outdated) {
        lease_lost(&caller->lease);
        wake_waiters(caller, false); /* who waits asks again */
        return;
    }
    if (caller->checks && granted > 0) {
        granted = CHECKED_TOKENS;
    }
    lease_told(&caller->lease, &caller->rate, store_fleet(gate->store), caller->asked_us, granted, told,
               limiter_random(limiter), now_us);
    wake_waiters(caller, false);
}

bool limiter_ask(struct caller *caller, const struct limit_ref *ref)
{
    struct limiter *limiter = caller->limiter;
    struct gate *gate = limiter->gate;
    if (caller->call != NULL) {
        return true;
    }
    if (gate->store == NULL) {
        return false;
    }
    uint64_t want = lease_want(&caller->lease, &ref->ask.rate, store_fleet(gate->store), caller->waiter_count + 1);
    caller->call = store_limit(gate->store, ref, want, generation_conf(gate->generation)->store.limit_timeout_ms, on_told, caller);
    if (caller->call == NULL) {
        return false;
    }
    note_asked(limiter, ref);
    caller->checks = (ref->ask.flags & LIMIT_CHECK) != 0;
    caller->outdated = false;
    caller->asked_us = loop_now_us(gate->options.loop);
    lease_asked(&caller->lease);
    return true;
}

void limiter_ask_ahead(struct caller *caller, const struct limit_ref *ref)
{
    struct limiter *limiter = caller->limiter;
    uint64_t now_us = loop_now_us(limiter->gate->options.loop);
    if (limiter_may_wait(limiter) && lease_runs_low(&caller->lease, now_us, limiter->trip_us)) {
        (void)limiter_ask(caller, ref); /* else the next one that needs a token asks */
    }
}

void limiter_charge(struct caller *caller, const struct limit_ref *ref)
{
    struct gate *gate = caller->limiter->gate;
    CHECK((ref->ask.flags & LIMIT_FORCE) != 0);
    if (gate->store != NULL) {
        struct store_limit_call *call =
            store_limit(gate->store, ref, 0, generation_conf(gate->generation)->store.limit_timeout_ms, NULL, NULL);
        (void)call; /* nobody waits for it; one that finds no room is one decline that does not count */
    }
    /* What was known of the room is old now, and what is on its way as well: the next request asks. */
    caller->outdated = true;
    memset(caller->lease.tokens, 0, sizeof caller->lease.tokens);
}
