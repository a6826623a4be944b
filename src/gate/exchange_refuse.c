/*
 * A request that is refused with its route: a small body that is on its way goes
 * by, so that the connection lives, and an answer that is held back waits its
 * time. Why it is refused is the business of whoever calls.
 */
#include "exchange.h"

#include "weir/base/clock.h"

/* A body that is thrown away so that the connection can go on: beyond it a new connection is cheaper. */
#define REFUSED_BODY_BYTES_MAX 65536u

/* Whether the rest of a request that is refused is on its way and worth waiting for. */
static bool body_is_small(const struct exchange *x)
{
    const struct http_head *head = x->head;
    return !x->request_whole && !head->expects_continue && head->framing == HTTP_FRAMING_LENGTH &&
           head->content_length <= REFUSED_BODY_BYTES_MAX;
}

void exchange_refuse(struct exchange *x, enum reason reason, enum ended_by by, const char *why, uint64_t hold_us)
{
    if (x->phase != PHASE_ROUTE || (hold_us == 0 && !body_is_small(x))) {
        exchange_end(x, reason, by, why);
        return;
    }
    x->held = true;
    x->held_until_us = x->now_us + hold_us;
    x->reason = reason;
    x->ended_by = by;
    (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
    exchange_enter(x, PHASE_BODY);
}

void exchange_hold(struct exchange *x)
{
    if (x->fault != HTTP_FAULT_NONE) {
        exchange_end(x, reason_of_fault(x->fault), ended_by_fault(x->fault), x->fault_text);
        return;
    }
    uint64_t body_due_us = x->phase_at_us[PHASE_ROUTE] + x->listener->body_ms * CLOCK_US_PER_MS;
    bool comes = body_is_small(x) && x->now_us < body_due_us;
    if (x->now_us < x->held_until_us || comes) {
        x->timed_out = false;
        timer_set(&x->timer, x->now_us < x->held_until_us ? x->held_until_us : body_due_us);
        return;
    }
    exchange_end(x, x->reason, x->ended_by, x->why);
}
