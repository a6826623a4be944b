/*
 * Another processor for a request of which nothing was sent: its route's
 * failover, once. Without a record it just goes there. A key's record is bound
 * to the other processor first, durably, so that whoever comes with the key
 * later, after a crash, too, asks that one alone. What has been sent never moves.
 */
#include "claim.h"

#include "weir/base/clock.h"

/*
 * A key without a record does not move: its caller will come again with it, to
 * the first processor, and nobody remembers that the other one was asked. Nor
 * does a read, unless its route is for reads alone: the other processor knows
 * nothing of this one's payments, and its 404 would be taken for the truth.
 */
static bool would_be_told_wrong(const struct exchange *x)
{
    const char *method = x->route->conf->method;
    if (x->safe_method) {
        return method == NULL || !http_method_is_safe(bytes_from_text(method));
    }
    return x->claim == NULL && x->keyed;
}

static bool may_move(const struct exchange *x)
{
    return x->move == MOVE_NO && !exchange_sent(x) && x->client != NULL && x->route->failover != NULL &&
           x->processor == x->route->processor && !would_be_told_wrong(x);
}

/* From here on it is a request of the same route to the other processor. */
static enum failover go_there(struct exchange *x)
{
    struct route_ready *from = x->route;
    again_drop_call(x);
    x->route = from->failover;
    x->processor = x->route->processor;
    x->processor_conf = x->route->processor_conf;
    x->circuit = x->route->circuit;
    x->link_tries = 0;
    x->move = MOVE_DONE;
    stats_add(x->gate->options.stats, from->stat_failovers, 1);
    return FAILOVER_GO;
}

static void ask_to_bind(struct claim *claim)
{
    struct exchange *x = claim->exchange;
    struct idem_op op;
    claim_op(claim, IDEM_REBIND, &op);
    op.processor = bytes_from_text(x->route->failover->processor_conf->name);
    claim->replied = false;
    claim->rebound_us = x->now_us;
    timer_stop(&claim->renewal); /* the lease begins anew with it */
    claim->call = store_ask(x->gate->store, &op, claim->needs_trust,
                            generation_conf(x->generation)->store.begin_timeout_ms, admit_on_reply, claim);
    timer_set(&x->timer, x->total_due_us);
}

enum failover failover_begin(struct exchange *x)
{
    struct claim *claim = x->claim;
    if (!may_move(x)) {
        return FAILOVER_NONE;
    }
    if (claim == NULL) {
        return go_there(x);
    }
    if (idem_step(&claim->driver, &(struct idem_event){.kind = IDEM_ON_ELSEWHERE}).act != IDEM_DO_REBIND ||
        !claim_move(claim, x->route->failover)) {
        return FAILOVER_NONE;
    }
    x->move = MOVE_BINDING;
    ask_to_bind(claim);
    return failover_step(x);
}

enum failover failover_step(struct exchange *x)
{
    struct claim *claim = x->claim;
    if (claim->call != NULL) {
        return FAILOVER_WAIT;
    }
    bool known = claim->replied && claim->status == STORE_OK;
    struct idem_event event = {.kind = IDEM_ON_REBOUND, .result = known ? &claim->result : NULL};
    struct idem_next next = idem_step(&claim->driver, &event);
    if (next.act == IDEM_DO_SEND) {
        claim->bound_us = claim->rebound_us;
        claim->lease_due_us = claim->rebound_us + CLAIM_LEASE_MS * CLOCK_US_PER_MS;
        timer_set_after(&claim->renewal, CLAIM_LEASE_MS * CLOCK_US_PER_MS / 3);
        return go_there(x);
    }
    exchange_end(x, next.reason, ENDED_BY_WEIR, "the key's record could not be bound to the other processor");
    return FAILOVER_ENDED;
}
