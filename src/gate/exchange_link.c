/*
 * The phase LINK: who could take this request now. A call is opened on the
 * processor that was chosen; when that refuses, nothing was sent, and another
 * one may be tried (failover.c). Sends nothing.
 */
#include "claim.h"
#include "shedding.h"

/* The end of a credential that is looked at: its start says whose API it is. */
#define CALLER_BYTES_MAX 48

static bool ends(struct exchange *x, enum reason reason, enum ended_by by, const char *why)
{
    exchange_end(x, reason, by, why);
    return false;
}

/* ---- what it says of itself ---- */

/*
 * Tells callers apart for the breakers, and no more: by the tenant that is
 * verified, however many credentials it has, else by credential, else by
 * address. FNV-1a (Fowler, Noll, Vo); whoever finds collisions shares a fate
 * with whom he chose.
 */
static uint32_t caller_of(const struct exchange *x)
{
    char address[ADDR_CUSTOMER_BYTES];
    const struct scope scope = scope_of(x);
    struct bytes who = scope.kind != SCOPE_NOBODY ? scope.text : addr_customer(&x->peer, address);
    uint32_t hash = 2166136261u;
    for (size_t i = who.len > CALLER_BYTES_MAX ? who.len - CALLER_BYTES_MAX : 0; i < who.len; i++) {
        hash = (hash ^ (uint8_t)who.at[i]) * 16777619u;
    }
    return hash ^ hash >> 16;
}

/* What it may be the first probe for, of a processor that was sick. */
static enum breaker_rank rank_of(const struct exchange *x)
{
    if (x->safe_method || shedding_class(x) == SHED_TEST) {
        return BREAKER_BY_READ;
    }
    bool executed_once = x->claim != NULL ? x->claim->resend_ms > 0 : x->keyed && x->route->profile->deduplicates;
    return executed_once ? BREAKER_BY_KEYED : BREAKER_BY_BARE;
}

/* ---- the call ---- */

static void open_call(struct exchange *x)
{
    const struct call_order order = {
        .processor = x->processor,
        .circuit = x->circuit,
        .arena = &x->arena,
        .safe = x->safe_method,
        .head_request = bytes_equal(x->head->method, BYTES("HEAD")),
        .fresh = x->again == AGAIN_FRESH || x->link_tries > 0,
        .rank = rank_of(x),
        .caller = caller_of(x),
        .due_us = x->total_due_us,
        .avoid = x->avoid.at,
        .ops = &exchange_call_ops,
        .owner = x,
    };
    struct call_refused refused = {.words = ""};
    switch (call_open(&x->call, &order, &refused)) {
    case CALL_START_READY:
        x->link_ready = true;
        break;
    case CALL_START_WAIT:
        timer_set(&x->timer, x->total_due_us);
        break;
    case CALL_START_REFUSED:
        exchange_call_refused(x, &refused);
        break;
    }
}

static void ask(struct exchange *x)
{
    if (shedding_refuses_link(x)) {
        exchange_note_refused(x, REASON_SHED, ENDED_BY_WEIR, "the rest of the processor's concurrency is kept for payments", 0);
    } else {
        open_call(x);
    }
}

/* True: there is another one to ask. */
static bool goes_elsewhere(struct exchange *x)
{
    switch (failover_begin(x)) {
    case FAILOVER_NONE:
        return ends(x, x->refused_reason, x->refused_by, x->why);
    case FAILOVER_GO:
        return true;
    case FAILOVER_WAIT:
    case FAILOVER_ENDED:
        break;
    }
    return false;
}

/* Its time is over: that of a pause before it is sent again, or all of it. True: go on. */
static bool time_is_over(struct exchange *x)
{
    x->timed_out = false;
    if (x->again == AGAIN_RESTS && x->now_us < x->total_due_us) {
        again_rested(x);
        return true;
    }
    return ends(x, REASON_DEADLINE_BEFORE_SEND, ENDED_BY_TIMEOUT, "no link to the processor in time");
}

bool link_step(struct exchange *x)
{
    CHECK(!x->handed_over);
    if (x->fault != HTTP_FAULT_NONE) { /* a streamed body broke while the link was being made */
        return ends(x, reason_of_fault(x->fault), ended_by_fault(x->fault), x->fault_text);
    }
    if (x->timed_out && !time_is_over(x)) {
        return false;
    }
    if (x->again == AGAIN_RESTS || (x->move == MOVE_BINDING && failover_step(x) != FAILOVER_GO)) {
        return false;
    }
    for (;;) {
        if (x->call.state == CALL_IDLE && !x->refused) {
            ask(x);
        }
        if (!x->refused) {
            return x->link_ready;
        }
        if (!goes_elsewhere(x)) {
            return false;
        }
    }
}
