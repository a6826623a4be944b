/*
 * What becomes of a claimed record once its request was sent, or will not be:
 * the answer is held, judged, stored before the client gets it, or the record
 * is left unknown, or its key is free again. The client waits 50 ms for the
 * store and no longer; the store goes on trying without us.
 */
#include "claim.h"
#include "limits.h"

#include <stdlib.h>

#include "weir/base/clock.h"

/* ---- holding ---- */

bool commit_hold(struct claim *claim)
{
    struct gate *gate = claim->exchange->gate;
    bool held = true;
    for (int i = 0; i < gate->part_count; i++) {
        held = buf_append(&claim->answer, gate->parts[i], BLOCKS_MUST) == ERR_OK && held;
    }
    gate->part_count = 0;
    return held && claim->answer.len <= CLAIM_ANSWER_BYTES_MAX;
}

/* ---- asking ---- */

/* What settles a record is kept by the store until it is acknowledged. False: it could not even be asked. */
static bool settle(struct claim *claim, const struct idem_op *op, store_done done)
{
    struct store *store = claim->exchange->gate->store;
    struct store_call *call =
        store != NULL ? store_ask(store, op, claim->needs_trust, 0, done, claim) : NULL;
    if (done != NULL) {
        claim->call = call;
    }
    return call != NULL;
}

static enum idem_how how_it_ends(const struct claim *claim)
{
    return claim->driver.ambiguous && !claim->late ? IDEM_HOW_REPLAY : IDEM_HOW_LATE;
}

static bool ask_complete(struct claim *claim, store_done done)
{
    struct exchange *x = claim->exchange;
    struct idem_op op;
    claim_op(claim, IDEM_COMPLETE, &op);
    op.status = x->answer_head->status;
    op.keep_ms = claim->conf->keep_ms;
    op.keep_receipt_ms = claim->conf->keep_receipt_ms;
    op.how = how_it_ends(claim);
    bool fits = x->answer_whole && claim->answer.len <= CLAIM_ANSWER_BYTES_MAX;
    op.answer = fits ? stored_seal(claim) : BYTES_NONE;
    claim->replied = false;
    bool asked = settle(claim, &op, done);
    free((char *)(uintptr_t)op.answer.at);
    return asked;
}

static bool ask(struct claim *claim, enum idem_op_kind kind)
{
    struct idem_op op;
    claim_op(claim, kind, &op);
    return settle(claim, &op, NULL);
}

/* A record that cannot be marked lapses with its lease and is told then. Where there is none, nobody else will tell. */
static void mark(struct claim *claim)
{
    claim->exchange->untold = !ask(claim, IDEM_MARK) && claim->driver.unrecorded;
}

/* ---- an answer ---- */

static enum commit settled(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    bool known = claim->replied && claim->status == STORE_OK;
    struct idem_event event = {.kind = IDEM_ON_SETTLED, .result = known ? &claim->result : NULL};
    if (claim->call != NULL) {
        store_forget(claim->call); /* which goes on without us */
        claim->call = NULL;
    }
    x->timed_out = false;
    struct idem_next next = idem_step(&claim->driver, &event);
    x->outcome = next.outcome;
    return next.act == IDEM_DO_ANSWER_STORED ? COMMIT_STORED : COMMIT_ANSWER;
}

/* What the whole answer proves: a refusal's body may say that it is about the key, not about the payment. */
static void look_into_body(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    const struct profile *profile = x->route->profile;
    bool encoded = http_head_find_name(x->answer_head, BYTES("content-encoding")) != NULL;
    char *copy = NULL;
    bool decides = profile->unproven_words[0].len > 0 && x->answer_head->status >= 300;
    struct bytes body = decides || limits_want_body(x) ? claim_flat(&claim->answer, &copy) : BYTES_NONE;
    if (decides) {
        x->answer_class = profile_classify_body(profile, x->answer_head->status, x->answer_class, body,
                                                encoded || body.len < claim->answer.len || !x->answer_whole);
    }
    limits_answered(x, body);
    free(copy);
}

static enum commit judge(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    look_into_body(claim);
    struct idem_event event = {.kind = IDEM_ON_ANSWER, .class = x->answer_class};
    struct idem_next next = idem_step(&claim->driver, &event);
    x->outcome = next.outcome;
    timer_stop(&claim->renewal);
    switch (next.act) {
    case IDEM_DO_COMPLETE:
        if (!ask_complete(claim, admit_on_reply)) {
            return settled(claim);
        }
        timer_set(&x->timer, x->now_us + CLAIM_COMMIT_US);
        return COMMIT_WAIT;
    case IDEM_DO_MARK:
        mark(claim);
        break;
    case IDEM_DO_ABANDON:
        (void)ask(claim, IDEM_ABANDON); /* else the lease ends by itself */
        break;
    default:
        break;
    }
    return COMMIT_ANSWER;
}

enum commit commit_step(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    (void)commit_hold(claim); /* what still comes while the client waits for the store is bounded by the pause */
    if (!claim->committing) {
        claim->committing = true;
        x->timed_out = false;
        if (!x->answer_whole) {
            call_pause(&x->call);
        }
        return judge(claim);
    }
    if (claim->call != NULL && !x->timed_out) {
        return COMMIT_WAIT;
    }
    return settled(claim);
}

void commit_answer(struct claim *claim, bool end)
{
    WEIR_SCRATCH struct iovec vectors[GATE_PARTS_MAX];
    struct exchange *x = claim->exchange;
    struct gate *gate = x->gate;
    do {
        int count = buf_vectors(&claim->answer, vectors, (int)ARRAY_COUNT(vectors));
        size_t len = 0;
        for (int i = 0; i < count; i++) {
            gate->parts[i] = bytes_of(vectors[i].iov_base, vectors[i].iov_len);
            len += vectors[i].iov_len;
        }
        gate->part_count = count;
        relay_flush(x, end && len == claim->answer.len);
        gate->part_count = 0;
        buf_consume(&claim->answer, len);
    } while (claim->answer.len > 0);
}

/* ---- no answer ---- */

void commit_end(struct claim *claim)
{
    bool held = claim->driver.stage == IDEM_STAGE_HELD;
    timer_stop(&claim->renewal);
    switch (idem_step(&claim->driver, &(struct idem_event){.kind = IDEM_ON_NO_ANSWER}).act) {
    case IDEM_DO_MARK:
        mark(claim);
        break;
    case IDEM_DO_ABANDON:
        if (held) { /* a begin that is still under way is the store's to abandon: admit_forget */
            (void)ask(claim, IDEM_ABANDON);
        }
        break;
    default:
        break;
    }
}

void commit_late(struct claim *claim)
{
    struct idem_event event = {.kind = IDEM_ON_LATE_ANSWER};
    claim->late = true;
    look_into_body(claim);
    event.class = claim->exchange->answer_class;
    if (idem_step(&claim->driver, &event).act == IDEM_DO_COMPLETE) {
        (void)ask_complete(claim, NULL); /* else it stays unknown, as it was told */
    }
}
