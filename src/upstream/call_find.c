/*
 * A link for a call: the breaker of its route is asked, then an endpoint is
 * chosen whose own lets it through, then a kept link is leased or a new one
 * begun. Up to CALL_ATTEMPTS_MAX of them, as long as nothing was sent; none of
 * these is a retry, and what it takes from an endpoint that is dead is bounded
 * by that one's rest.
 */
#include "upstream_internal.h"

static uint64_t now_of(const struct call *call)
{
    return processor_now_us(call->processor);
}

static void count_in(struct call *call, struct endpoint *endpoint)
{
    if (!call->counted) {
        call->processor->in_flight++;
        call->counted = true;
        call->placed_us = now_of(call);
    }
    if (call->endpoint != endpoint) {
        if (call->endpoint != NULL) {
            call->endpoint->load.in_flight--;
        }
        endpoint->load.in_flight++;
        call->endpoint = endpoint;
    }
    verdict_begin(call, endpoint);
}

void call_leased(struct call *call)
{
    call->leased_us = now_of(call);
    call->reused = call->link->calls_count > 0;
    if (call->reused) {
        stats_add(processor_stats(call->processor), call->processor->stat_reused, 1);
    }
    call_enter(call, CALL_READY);
}

enum call_refusal call_refusal_of(enum err err)
{
    switch (err) {
    case ERR_TIMED_OUT:
        return CALL_CONNECT_TIMEOUT;
    case ERR_TLS:
    case ERR_TLS_CERTIFICATE:
    case ERR_TLS_CLIENT_CERT:
    case ERR_TLS_NOT_TLS:
        return CALL_TLS_FAILED;
    default:
        return CALL_CONNECT_FAILED;
    }
}

static struct call_refused refused_by_route(const struct call *call, uint64_t now_us)
{
    return (struct call_refused){.why = CALL_BREAKER_OPEN,
                                 .words = "too many calls of this route failed there lately",
                                 .wait_us = breaker_wait_us(&call->circuit->breaker, now_us)};
}

static struct call_refused refused_by_endpoints(const struct call *call, enum picked picked, uint64_t now_us)
{
    if (picked == PICKED_DOWN) {
        return (struct call_refused){.why = CALL_DOWN, .words = "every endpoint of this processor failed its health checks"};
    }
    return (struct call_refused){.why = CALL_BREAKER_OPEN,
                                 .words = "too many calls failed at every endpoint of this processor lately",
                                 .wait_us = endpoints_wait_us(call->processor, now_us)};
}

/* The route's breaker is asked once about each call, and has it from then on: one that waits for a place is its probe. */
static bool route_admits(struct call *call, uint64_t now_us)
{
    if (call->circuit == NULL) {
        return true;
    }
    if (call->admitted) {
        return !circuit_is_open(call->circuit);
    }
    call->admitted = breaker_admits(&call->circuit->breaker, call->rank, now_us);
    if (call->admitted) {
        verdict_admitted(call);
    }
    return call->admitted;
}

/* On the chosen endpoint. False: nothing was begun, and *err says why. */
static bool take_link(struct call *call, struct endpoint *endpoint, uint64_t now_us, enum found *found, enum err *err)
{
    call->attempts++;
    count_in(call, endpoint);
    if (link_lease_idle(endpoint, call, now_us)) {
        call_leased(call);
        *found = FOUND_LINK;
        return true;
    }
    link_evict_idle(endpoint);
    *err = link_connect(endpoint, call);
    if (*err != ERR_OK) {
        verdict_unreached(call, *err);
        return false;
    }
    call_enter(call, CALL_CONNECTING);
    *found = FOUND_CONNECTING;
    return true;
}

enum found call_find_next(struct call *call, struct call_refused *refused)
{
    uint64_t now_us = now_of(call);
    while (call->attempts < CALL_ATTEMPTS_MAX) {
        struct endpoint *endpoint = NULL;
        enum picked picked = endpoint_pick(call, now_us, &endpoint);
        if (picked != PICKED) {
            if (call->attempts == 0 && picked != PICKED_NO_PLACE) {
                *refused = refused_by_endpoints(call, picked, now_us);
            }
            return call->attempts == 0 && picked == PICKED_NO_PLACE ? FOUND_NO_PLACE : FOUND_FAILURE;
        }
        enum found found;
        enum err err;
        if (take_link(call, endpoint, now_us, &found, &err)) {
            return found;
        }
        *refused = (struct call_refused){.why = call_refusal_of(err), .words = err_sentence(err)};
    }
    return FOUND_FAILURE;
}

enum found call_find_first(struct call *call, struct call_refused *refused)
{
    uint64_t now_us = now_of(call);
    if (!route_admits(call, now_us)) {
        *refused = refused_by_route(call, now_us);
        return FOUND_FAILURE;
    }
    return call_find_next(call, refused);
}

bool call_waits_in_vain(const struct call *call, struct call_refused *refused)
{
    uint64_t now_us = now_of(call);
    if (call->circuit != NULL && circuit_is_open(call->circuit)) {
        *refused = refused_by_route(call, now_us);
        return true;
    }
    enum picked closed = endpoints_closed(call->processor);
    if (closed != PICKED) {
        *refused = refused_by_endpoints(call, closed, now_us);
        return true;
    }
    return false;
}
