/*
 * How a call went, told once to the breakers of its endpoint and its route and
 * to the balancing, as soon as it is known. The endpoint's breaker has it in
 * flight from the moment that one is chosen, the route's from its own consent,
 * both to the head of the answer: a long body is no sickness, so one that follows is waited for beside them (parked), and
 * counts when it is whole or broken. Changes of a call's state are not made here.
 */
#include "upstream_internal.h"

static void end_at_endpoint(struct call *call, enum breaker_outcome outcome)
{
    if (call->flies_at_endpoint) {
        call->flies_at_endpoint = false;
        circuit_end(&call->endpoint->circuit, &call->at_endpoint, outcome);
    }
}

static void end_at_route(struct call *call, enum breaker_outcome outcome)
{
    if (call->flies_at_route) {
        call->flies_at_route = false;
        circuit_end(call->circuit, &call->at_route, outcome);
    }
}

void verdict_admitted(struct call *call)
{
    call->flies_at_route = true;
    circuit_begin(call->circuit, &call->at_route, call->caller);
}

void verdict_begin(struct call *call, struct endpoint *endpoint)
{
    call->flies_at_endpoint = true;
    circuit_begin(&endpoint->circuit, &call->at_endpoint, call->caller);
}

void verdict_park(struct call *call)
{
    if (call->flies_at_endpoint) {
        end_at_endpoint(call, BREAKER_NEUTRAL); /* slow, if it was, all the same */
        end_at_route(call, BREAKER_NEUTRAL);
        call->parked = true;
    }
}

static void note_parked(struct call *call, enum breaker_outcome endpoint, enum breaker_outcome route)
{
    call->parked = false;
    if (endpoint != BREAKER_NEUTRAL) {
        circuit_note(&call->endpoint->circuit, call->caller, endpoint);
    }
    if (call->circuit != NULL && route != BREAKER_NEUTRAL) {
        circuit_note(call->circuit, call->caller, route);
    }
}

static bool is_bad(enum breaker_outcome outcome)
{
    return outcome != BREAKER_OK && outcome != BREAKER_NEUTRAL;
}

/* Fast failures must attract nothing, so they count as slow answers; who asks for less gets less. */
static void note_load(struct call *call, enum breaker_outcome endpoint, enum breaker_outcome route)
{
    uint64_t now_us = processor_now_us(call->processor);
    bool failed = is_bad(endpoint) || is_bad(route) || call->status == 429;
    if (failed || endpoint == BREAKER_OK) {
        uint64_t until_us = call->first_byte_us != 0 ? call->first_byte_us : now_us;
        balance_note(&call->endpoint->load, until_us - call->leased_us, failed, now_us);
    }
}

void verdict_settle(struct call *call, enum breaker_outcome endpoint, enum breaker_outcome route)
{
    if (!call->flies_at_endpoint && !call->parked) {
        return;
    }
    if (call->leased_us != 0) {
        note_load(call, endpoint, route);
    }
    if (call->parked) {
        note_parked(call, endpoint, route);
    } else {
        end_at_endpoint(call, endpoint);
        end_at_route(call, route);
    }
}

/*
 * A link that had been kept for a while and ends as soon as something is sent on
 * it, before an answer, was being closed for its idleness: that says nothing of
 * the processor, however many it meets at once. A hot one that ends is no such
 * thing; and links as old are not taken again (policy/idle.h), so that whoever
 * resets each request does it on new links, and counts.
 */
static bool met_its_idle_timeout(const struct call *call)
{
    return call->reused && call->first_byte_us == 0 &&
           (!call->handed_over || (call->kept_us >= IDLE_SURE_US &&
                                   processor_now_us(call->processor) - call->leased_us < IDLE_RACE_US));
}

void verdict_broken(struct call *call)
{
    verdict_settle(call, met_its_idle_timeout(call) ? BREAKER_NEUTRAL : BREAKER_FAILED, BREAKER_NEUTRAL);
}

void verdict_timed_out(struct call *call)
{
    bool explained = call->endpoint->circuit.breaker.state != BREAKER_CLOSED;
    /* Not as TIMED_OUT: few in a row, from an endpoint that just fell silent, would close the route to the others. */
    verdict_settle(call, BREAKER_TIMED_OUT, explained ? BREAKER_NEUTRAL : BREAKER_FAILED);
}

void verdict_unreached(struct call *call, enum err err)
{
    bool ours = link_trouble_is_ours(err);
    if (!ours) {
        balance_note(&call->endpoint->load, 0, true, processor_now_us(call->processor));
    }
    end_at_endpoint(call, ours ? BREAKER_NEUTRAL : BREAKER_UNREACHED);
}

void verdict_none(struct call *call)
{
    verdict_settle(call, BREAKER_NEUTRAL, BREAKER_NEUTRAL);
    end_at_route(call, BREAKER_NEUTRAL); /* where no endpoint has it */
}
