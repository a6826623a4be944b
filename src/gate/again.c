/*
 * Once more to the same processor, after an attempt that was sent and broke
 * without an answer. Two cases, and no third: a payment whose processor
 * de-duplicates its key gets the same key again, for the truth; a safe method
 * on a link that had been kept, and that the processor closed meanwhile, gets a
 * new one. Once, within the processor's budget and the request's time. An
 * answer of the processor, whatever its status, is passed on: who asked may ask
 * again, and two layers that both do so multiply.
 */
#include "claim.h"

#include "weir/base/clock.h"
#include "weir/policy/retry.h"

/* The key is remembered there for long enough that this attempt cannot be taken for another payment. */
static bool is_executed_once(const struct claim *claim)
{
    const struct exchange *x = claim->exchange;
    return claim->resend_ms > 0 && x->now_us < claim->bound_us + claim->resend_ms * CLOCK_US_PER_MS;
}

bool again_keeps_body(const struct exchange *x)
{
    return x->claim != NULL && x->claim->resend_ms > 0 && x->again == AGAIN_NO;
}

void again_drop_call(struct exchange *x)
{
    x->attempts += x->call.attempts;
    call_close(&x->call, false);
    x->call.attempts = 0;
    x->link_ready = false;
    x->refused = false;
    x->failed = false;
    x->answer_head = NULL;
    x->answer_judged = false;
    x->answer_whole = false;
    x->status = 0;
    x->head_sent = false;
    x->body_sent = 0;
    x->handed_over = false;
    x->gate->part_count = 0;
}

static bool broke_without_answer(const struct exchange *x)
{
    bool closed = x->failed && (x->failure == CALL_CLOSED || x->failure == CALL_INCOMPLETE);
    return !x->answer_begun && x->client != NULL && (closed || !x->call.request_done);
}

/* A safe method: that a kept link breaks under the first request on it is the processor's idle timeout, and no sign of sickness. */
static bool lost_old_link(const struct exchange *x)
{
    return x->safe_method && x->claim == NULL && x->failed && x->failure == CALL_CLOSED && x->call.reused &&
           x->request_whole && x->bytes_in == 0;
}

/* Sent for an answer, not just sent: what usually takes longer than is left ends as unknown as it is. */
static bool is_in_time(const struct exchange *x)
{
    return x->now_us + RETRY_WAIT_FIRST_US + processor_service_us(x->processor) < x->total_due_us;
}

static bool may_ask_again(struct exchange *x, uint64_t *wait_us)
{
    struct claim *claim = x->claim;
    return claim != NULL && !claim->streaming && is_executed_once(claim) && is_in_time(x) &&
           idem_step(&claim->driver, &(struct idem_event){.kind = IDEM_ON_AGAIN}).act == IDEM_DO_SEND_SAME &&
           processor_take_retry(x->processor, true, 1, wait_us); /* last: it is paid for */
}

bool again_begin(struct exchange *x)
{
    uint64_t wait_us = 0;
    if (x->again != AGAIN_NO || !broke_without_answer(x)) {
        return false;
    }
    bool old_link = lost_old_link(x);
    if (!old_link && !may_ask_again(x, &wait_us)) {
        return false;
    }
    const char *address = call_endpoint_text(&x->call);
    x->avoid = old_link ? BYTES_NONE : arena_copy(&x->arena, bytes_of(address, strlen(address) + 1));
    if (x->claim != NULL) {
        buf_reset(&x->claim->answer);
    }
    again_drop_call(x);
    x->again = wait_us > 0 ? AGAIN_RESTS : AGAIN_FRESH;
    x->timed_out = false;
    if (wait_us > 0) {
        timer_set_after(&x->timer, wait_us);
    }
    exchange_enter(x, PHASE_LINK);
    return true;
}

void again_rested(struct exchange *x)
{
    CHECK(x->again == AGAIN_RESTS);
    x->again = AGAIN_FRESH;
}
