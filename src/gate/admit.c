/*
 * The way of a keyed request to its record: the store is asked, and what it
 * says is carried out: go on, replay, wait, refuse. A duplicate in this process
 * waits for the first with its key instead of asking. Nothing is sent from
 * here, and nothing decided that idem_step can decide.
 */
#include "claim.h"
#include "limits.h"
#include "shedding.h"

#include <stdio.h>

#include "weir/base/clock.h"
#include "weir/base/keyring.h"

/* ---- others with this key in this process ---- */

static struct bytes list_key(const struct claim *claim)
{
    return bytes_of(&claim->name, sizeof claim->name);
}

/* The claim that stands for this key here; NULL: none does. */
static struct claim *first_with_key(const struct claim *claim)
{
    return table_find(claim->exchange->gate->claims, list_key(claim));
}

static void stop_waiting(struct claim *claim)
{
    if (claim->awaited != NULL) {
        list_remove(&claim->in_waiters);
        claim->awaited->waiter_count--;
        claim->awaited = NULL;
        claim->exchange->gate->waiters_count--;
    }
}

void admit_unlist(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    if (!claim->listed) {
        return;
    }
    claim->listed = false;
    (void)table_remove(x->gate->claims, list_key(claim));
    while (!list_empty(&claim->waiters)) {
        struct claim *waiter = list_first(&claim->waiters, struct claim, in_waiters);
        stop_waiting(waiter);
        waiter->elsewhere = claim->elsewhere;
        exchange_step(waiter->exchange);
    }
}

static enum admit refuse(struct claim *claim, enum reason reason, const char *why)
{
    exchange_end(claim->exchange, reason,
                 reason == REASON_STORE_DOWN || reason == REASON_SHED ? ENDED_BY_WEIR : ENDED_BY_CLIENT, why);
    return ADMIT_ENDED;
}

static enum admit follow(struct claim *claim, struct idem_next next);

/* Waits for the first with this key, or says that it is at work. */
static enum admit wait_for(struct claim *claim, struct claim *first)
{
    struct exchange *x = claim->exchange;
    if (memcmp(first->print, claim->print, sizeof claim->print) != 0) {
        return refuse(claim, REASON_KEY_REUSED, "");
    }
    if (claim->wait_due_us == 0) {
        claim->wait_due_us = x->now_us + claim->conf->wait_ms * CLOCK_US_PER_MS;
    }
    if (x->now_us >= claim->wait_due_us || first->waiter_count >= CLAIM_WAITERS_MAX ||
        x->gate->waiters_count >= GATE_WAITERS_MAX) {
        return refuse(claim, REASON_KEY_IN_PROGRESS, "");
    }
    claim->awaited = first;
    list_push_back(&first->waiters, &claim->in_waiters);
    first->waiter_count++;
    x->gate->waiters_count++;
    timer_set(&x->timer, claim->wait_due_us < x->total_due_us ? claim->wait_due_us : x->total_due_us);
    return ADMIT_WAIT;
}

/* ---- who is shed, unless its key is known ---- */

static enum admit shed(struct exchange *x)
{
    shedding_count(x);
    exchange_end(x, REASON_SHED, ENDED_BY_WEIR, "more comes in than can be served: requests of its class wait, but for replays");
    return ADMIT_ENDED;
}

/* Looks for a record before it asks for one. Another with this key here knows that there is one. */
static enum admit look_first(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    const struct idem_op op = {.kind = IDEM_READ, .name = claim->name};
    if (first_with_key(claim) != NULL) {
        x->known_only = false;
        return follow(claim, idem_step(&claim->driver, &(struct idem_event){.kind = IDEM_ON_REQUEST}));
    }
    if (x->gate->store != NULL) {
        claim->call = store_ask(x->gate->store, &op, false, generation_conf(x->generation)->store.begin_timeout_ms,
                                admit_on_reply, claim);
    }
    timer_set(&x->timer, x->total_due_us);
    return claim->call != NULL ? ADMIT_WAIT : shed(x);
}

static enum admit looked(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    if (claim->status != STORE_OK || claim->result.verdict == IDEM_NONE) {
        return shed(x);
    }
    if (x->client == NULL) {
        exchange_end(x, REASON_CLIENT_GONE, ENDED_BY_CLIENT, x->why);
        return ADMIT_ENDED;
    }
    x->known_only = false;
    claim->replied = false;
    return follow(claim, idem_step(&claim->driver, &(struct idem_event){.kind = IDEM_ON_REQUEST}));
}

/* ---- the store ---- */

static void note_verdict(const struct claim *claim, enum idem_verdict verdict)
{
    const struct exchange *x = claim->exchange;
    stats_add(x->gate->options.stats, x->route->stat_verdicts[verdict], 1);
}

static bool keep_result(struct claim *claim, const struct idem_result *result)
{
    struct arena *arena = &claim->exchange->arena;
    arena->need = BLOCKS_MUST; /* what is known of a payment is worth more than the memory bound, and itself bounded */
    claim->result = *result;
    claim->result.upstream_key = result->upstream_key.len > 0 ? arena_copy(arena, result->upstream_key) : BYTES_NONE;
    claim->result.answer = result->answer.len > 0 ? arena_copy(arena, result->answer) : BYTES_NONE;
    return (result->upstream_key.len == 0 || claim->result.upstream_key.at != NULL) &&
           (result->answer.len == 0 || claim->result.answer.at != NULL);
}

void admit_on_reply(void *owner, enum store_status status, const struct idem_result *result)
{
    struct claim *claim = owner;
    claim->call = NULL;
    claim->replied = true;
    claim->status = status;
    if (status == STORE_OK && !keep_result(claim, result)) {
        claim->status = STORE_UNTRUSTED; /* no memory to hear it: nothing may be done on it */
    }
    exchange_step(claim->exchange);
}

/* A record that is ours, or may be: how old it is, and that it was asked for. */
static void note_begun(struct claim *claim)
{
    uint64_t now_us = loop_now_us(claim->exchange->gate->options.loop);
    uint64_t age_us = claim->result.age_ms * CLOCK_US_PER_MS;
    note_verdict(claim, claim->result.verdict);
    claim->bound_us = age_us < now_us ? now_us - age_us : 1; /* a record may be older than this machine's boot */
}

/* What needs to trust its store was allowed for the one that is configured; after a reload another one may still be open. */
static bool may_rely_on_store(const struct claim *claim)
{
    const struct exchange *x = claim->exchange;
    return !claim->needs_trust || store_is(x->gate->store, &generation_conf(x->generation)->store);
}

static enum admit begin(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    struct claim *first = first_with_key(claim);
    if (first != NULL && first != claim) {
        return wait_for(claim, first);
    }
    if (first == NULL) {
        claim->listed = table_put(x->gate->claims, list_key(claim), claim);
        if (!claim->listed) {
            return refuse(claim, REASON_SHED, "no memory for one more key");
        }
    }
    struct idem_op op;
    struct limit_ref limits[LIMITS_MAX];
    claim_op(claim, IDEM_BEGIN, &op);
    op.limits = limits;
    op.limit_count = limits_of_begin(x, limits);
    claim->replied = false;
    claim->bound_us = x->now_us;
    claim->lease_due_us = x->now_us + CLAIM_LEASE_MS * CLOCK_US_PER_MS;
    timer_set(&x->timer, x->total_due_us);
    if (x->gate->store != NULL && may_rely_on_store(claim)) {
        claim->call = store_ask(x->gate->store, &op, claim->needs_trust, x->gate->generation->conf->store.begin_timeout_ms,
                                admit_on_reply, claim);
    }
    if (claim->call != NULL) {
        return ADMIT_WAIT;
    }
    claim->replied = true;
    claim->status = x->gate->store == NULL ? STORE_DOWN : may_rely_on_store(claim) ? STORE_FULL : STORE_UNTRUSTED;
    return ADMIT_GO; /* to what is recorded */
}

static const char *store_words(const struct claim *claim)
{
    const struct gate *gate = claim->exchange->gate;
    const char *trouble = gate->store != NULL ? store_trouble(gate->store, claim->needs_trust) : "the store is not open";
    if (trouble != NULL) {
        return trouble;
    }
    if (claim->status == STORE_UNTRUSTED) {
        return "the configured store is opened at the next start, not by a reload";
    }
    return claim->status == STORE_FULL ? "the store has no room" : "the store did not answer in time";
}

/* ---- what the store said ---- */

/* As one that has sent already: to the processor of the record, under its key, or not at all. */
static enum admit send_same(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    const struct idem_result *result = &claim->result;
    const struct keyring *ring = x->generation->parts.keyring;
    exchange_take_over(x);
    if (!exchange_choose_processor(x, result->processor)) {
        return refuse(claim, REASON_OUTCOME_UNKNOWN, "the processor that was asked first is no longer configured, or with another profile");
    }
    uint8_t *plain = arena_take(&x->arena, result->upstream_key.len + 1);
    size_t len = 0;
    if (plain == NULL || !keyring_unseal(ring, claim_about_key(claim), result->upstream_key, plain, &len)) {
        return refuse(claim, REASON_OUTCOME_UNKNOWN, "the key that was sent first cannot be read: its seal is not in the secret file");
    }
    claim->upstream_key = bytes_of(plain, len);
    claim->sealed_key = result->upstream_key;
    claim_bind(claim, ring, result->processor);
    return ADMIT_GO;
}

static enum admit replay(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    struct stored stored;
    if (!stored_open(claim, claim->result.answer, &stored)) {
        return refuse(claim, REASON_OUTCOME_UNKNOWN, "the stored answer cannot be opened: its seal is not in the secret file");
    }
    if (!stored_reply(x, &stored)) {
        return refuse(claim, REASON_SHED, "no memory for the stored answer");
    }
    exchange_end(x, REASON_REPLAYED, ENDED_NORMAL, "");
    return ADMIT_ENDED;
}

/* Words for a refusal that the reason's sentence does not tell; "" else. */
static const char *refusal_words(const struct claim *claim, enum reason reason, char text[128])
{
    const struct idem_result *result = &claim->result;
    if (reason == REASON_STORE_DOWN) {
        return store_words(claim);
    }
    if (reason == REASON_RATE_LIMITED) {
        return limits_why(claim->exchange, text, 128);
    }
    if (result->verdict != IDEM_RECEIPT || reason != REASON_OUTCOME_UNKNOWN) {
        return "";
    }
    if (result->status == 0) {
        return "an operator found that it was executed; the processor's answer is not known";
    }
    (void)snprintf(text, 128, "it was answered with status %u; the answer itself is no longer kept", result->status);
    return text;
}

/* Another weir is at work on it. Whoever waits for this one would only hear the same. */
static enum admit busy(struct claim *claim)
{
    claim->elsewhere = true;
    return refuse(claim, REASON_KEY_IN_PROGRESS, "");
}

/* A lease that is held is renewed until the answer; where none is, nothing can end. */
static void keep_lease(struct claim *claim, bool held)
{
    if (held) {
        timer_set_after(&claim->renewal, CLAIM_LEASE_MS * CLOCK_US_PER_MS / 3);
    } else {
        claim->lease_due_us = UINT64_MAX;
    }
}

static enum admit follow(struct claim *claim, struct idem_next next)
{
    struct exchange *x = claim->exchange;
    char text[128];
    switch (next.act) {
    case IDEM_DO_BEGIN:
        return begin(claim);
    case IDEM_DO_SEND:
        keep_lease(claim, !claim->driver.unrecorded);
        return ADMIT_GO;
    case IDEM_DO_SEND_SAME:
        keep_lease(claim, !claim->driver.receipt);
        return send_same(claim);
    case IDEM_DO_REPLAY:
        return replay(claim);
    case IDEM_DO_REFUSE:
        if (next.reason == REASON_KEY_IN_PROGRESS) {
            return busy(claim);
        }
        return refuse(claim, next.reason, refusal_words(claim, next.reason, text));
    default:
        break;
    }
    exchange_end(x, REASON_INTERNAL_ERROR, ENDED_BY_WEIR, "no way on for a key");
    return ADMIT_ENDED;
}

/* Both the naming of records and derived keys hang on the secret: with another one, passing is no more safe than asking. */
static bool may_not_pass(const struct claim *claim)
{
    const struct store *store = claim->exchange->gate->store;
    struct store_state state = {0};
    if (!claim->driver.pass_when_down || store == NULL) {
        return false;
    }
    store_state(store, &state);
    bool unproven = claim->conf->upstream_key == CONF_UPSTREAM_KEY_DERIVED && !state.ever_up;
    return claim->status == STORE_UNTRUSTED || unproven;
}

static enum admit take_reply(struct claim *claim)
{
    struct idem_event event = {.kind = IDEM_ON_STORE_DOWN};
    if (claim->status == STORE_OK && claim->result.verdict <= IDEM_MISMATCH) {
        note_begun(claim);
        limits_begun(claim->exchange, &claim->result);
        event = (struct idem_event){.kind = IDEM_ON_RESULT, .result = &claim->result};
    } else if (may_not_pass(claim)) {
        return refuse(claim, REASON_STORE_DOWN, store_words(claim));
    }
    return follow(claim, idem_step(&claim->driver, &event));
}

bool admit_asks(const struct exchange *x)
{
    return x->claim != NULL && !x->asks_outcome && x->claim->call != NULL;
}

/* ---- steps ---- */

static enum admit no_key(struct exchange *x)
{
    if (x->known_only) {
        return shed(x);
    }
    if (!x->route->conf->idempotency.required) {
        return ADMIT_GO;
    }
    exchange_end(x, REASON_KEY_MISSING, ENDED_BY_CLIENT, "");
    return ADMIT_ENDED;
}

static enum admit first_step(struct exchange *x)
{
    char key[PROFILE_KEY_BYTES_MAX + 1];
    size_t len = 0;
    switch (claim_find_key(x, key, &len)) {
    case KEY_NOT_THERE:
        return no_key(x);
    case KEY_UNFIT:
        exchange_end(x, REASON_KEY_MALFORMED, ENDED_BY_CLIENT, x->why);
        return ADMIT_ENDED;
    case KEY_THERE:
        break;
    }
    x->keyed = true;
    if (x->generation->parts.keyring == NULL) {
        exchange_end(x, REASON_STORE_DOWN, ENDED_BY_WEIR, "there is no secret file");
        return ADMIT_ENDED;
    }
    struct claim *claim = claim_make(x, bytes_of(key, len));
    if (claim == NULL) {
        exchange_end(x, REASON_SHED, ENDED_BY_WEIR, "no memory for the key's record");
        return ADMIT_ENDED;
    }
    x->claim = claim;
    return x->known_only ? look_first(claim) : follow(claim, idem_step(&claim->driver, &(struct idem_event){.kind = IDEM_ON_REQUEST}));
}

static enum admit time_is_over(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    bool waited = claim->awaited != NULL;
    stop_waiting(claim);
    x->timed_out = false;
    if (waited) {
        return refuse(claim, REASON_KEY_IN_PROGRESS, "");
    }
    exchange_end(x, REASON_DEADLINE_BEFORE_SEND, ENDED_BY_TIMEOUT, "the store did not answer within the request's time");
    return ADMIT_ENDED;
}

enum admit admit_step(struct exchange *x)
{
    enum admit admit = x->claim == NULL ? first_step(x) : ADMIT_GO;
    struct claim *claim = x->claim;
    if (claim == NULL || admit != ADMIT_GO) {
        return admit;
    }
    if (x->timed_out && !claim->replied) {
        return time_is_over(claim);
    }
    if (claim->awaited != NULL || claim->call != NULL) {
        return ADMIT_WAIT;
    }
    admit = x->known_only ? looked(claim) : ADMIT_GO;
    if (admit != ADMIT_GO) {
        return admit;
    }
    if (claim->elsewhere) {
        return refuse(claim, REASON_KEY_IN_PROGRESS, "");
    }
    if (!claim->replied) { /* it waited, and the first is through */
        admit = follow(claim, idem_step(&claim->driver, &(struct idem_event){.kind = IDEM_ON_WAITED}));
        if (admit != ADMIT_GO) {
            return admit;
        }
    }
    return take_reply(claim);
}

/* ---- while it is held ---- */

static void on_renewed(void *owner, enum store_status status, const struct idem_result *result)
{
    struct claim *claim = owner;
    claim->renewing = NULL;
    if (status == STORE_OK) { /* LOST, or NONE: nothing more may be sent on it */
        claim->lease_due_us =
            result->verdict == IDEM_OK ? claim->renewed_us + CLAIM_LEASE_MS * CLOCK_US_PER_MS : 0;
    }
}

void admit_on_renewal(struct timer *timer)
{
    struct claim *claim = container_of(timer, struct claim, renewal);
    struct gate *gate = claim->exchange->gate;
    timer_set_after(&claim->renewal, CLAIM_LEASE_MS * CLOCK_US_PER_MS / 3);
    if (claim->renewing != NULL || gate->store == NULL) {
        return;
    }
    struct idem_op op;
    claim_op(claim, IDEM_RENEW, &op);
    claim->renewed_us = loop_now_us(gate->options.loop);
    claim->renewing = store_ask(gate->store, &op, claim->needs_trust, CLAIM_LEASE_MS / 3, on_renewed, claim);
}

bool admit_may_send(const struct claim *claim)
{
    return clock_now_us() < claim->lease_due_us;
}

void admit_forget(struct claim *claim)
{
    timer_stop(&claim->renewal);
    stop_waiting(claim);
    admit_unlist(claim);
    if (claim->renewing != NULL) {
        store_forget(claim->renewing);
        claim->renewing = NULL;
    }
    if (claim->call != NULL) {
        store_forget(claim->call);
        claim->call = NULL;
    }
}
