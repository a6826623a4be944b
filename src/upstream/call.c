/*
 * One request's way through a link: it finds a link (or waits, or is refused),
 * passes bytes out, reads the answer, and gives the link back or closes it.
 * Events are recorded by its owner's callbacks; on_step always comes last.
 *
 * How it went is told once to the breakers of its endpoint and its route, and
 * to the balancing, as soon as it is known (settle). Both breakers have it in
 * flight from the moment the endpoint is chosen to the head of the answer: a
 * long body is no sickness, so one that follows is waited for beside them
 * (park), and counts when it is whole or broken.
 */
#include "upstream_internal.h"


/* The only place that changes a call's state. */
static void call_enter(struct call *call, enum call_state state)
{
    static const uint8_t legal[] = {
        [CALL_IDLE] = 1 << CALL_QUEUED | 1 << CALL_CONNECTING | 1 << CALL_READY | 1 << CALL_ENDED,
        [CALL_QUEUED] = 1 << CALL_CONNECTING | 1 << CALL_READY | 1 << CALL_ENDED | 1 << CALL_IDLE,
        [CALL_CONNECTING] = 1 << CALL_CONNECTING | 1 << CALL_READY | 1 << CALL_ENDED | 1 << CALL_IDLE | 1 << CALL_QUEUED,
        [CALL_READY] = 1 << CALL_ENDED | 1 << CALL_IDLE,
        [CALL_ENDED] = 1 << CALL_IDLE,
    };
    CHECK((legal[call->state] >> state & 1) != 0);
    call->state = state;
}

static uint64_t now_of(const struct call *call)
{
    return processor_now_us(call->processor);
}

/* ---- what the breakers and the balancing are told ---- */

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

static void begin_at(struct call *call, struct endpoint *endpoint)
{
    call->flies_at_endpoint = true;
    circuit_begin(&endpoint->circuit, &call->at_endpoint, call->caller);
    if (call->circuit != NULL && !call->flies_at_route) {
        call->flies_at_route = true;
        circuit_begin(call->circuit, &call->at_route, call->caller);
    }
}

/* The head of its answer is here, the rest is not. */
static void park(struct call *call)
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
    uint64_t now_us = now_of(call);
    bool failed = is_bad(endpoint) || is_bad(route) || call->status == 429;
    if (failed || endpoint == BREAKER_OK) {
        uint64_t until_us = call->first_byte_us != 0 ? call->first_byte_us : now_us;
        balance_note(&call->endpoint->load, until_us - call->leased_us, failed, now_us);
    }
}

/* What came of it at the endpoint that it was sent to is known. Once; later ones are not heard. */
static void settle(struct call *call, enum breaker_outcome endpoint, enum breaker_outcome route)
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

/* It broke on its way: not by the route's doing, nor by the endpoint's where a kept link broke before it was used. */
static void settle_broken(struct call *call)
{
    settle(call, call->reused && !call->handed_over ? BREAKER_NEUTRAL : BREAKER_FAILED, BREAKER_NEUTRAL);
}

/* No answer in time. Where the endpoint is known to be sick, that explains it. */
static void settle_timed_out(struct call *call)
{
    bool explained = call->endpoint->circuit.breaker.state != BREAKER_CLOSED;
    /* Not as TIMED_OUT: few in a row, from an endpoint that just fell silent, would close the route to the others. */
    settle(call, BREAKER_TIMED_OUT, explained ? BREAKER_NEUTRAL : BREAKER_FAILED);
}

/* ---- finding a link ---- */

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
    begin_at(call, endpoint);
}

static void count_out(struct call *call)
{
    if (call->endpoint != NULL) {
        call->endpoint->load.in_flight--;
    }
    if (call->counted) {
        call->processor->in_flight--;
        call->counted = false;
        if (call->leased_us != 0) {
            queue_note_service(call->processor, now_of(call) - call->placed_us);
        }
        queue_wake(call->processor);
    }
}

static void lease_noted(struct call *call)
{
    call->leased_us = now_of(call);
    call->reused = call->link->calls_count > 0;
    if (call->reused) {
        stats_add(processor_stats(call->processor), call->processor->stat_reused, 1);
    }
    call_enter(call, CALL_READY);
}

static enum call_refusal refusal_of(enum err err)
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

static void connect_failed(struct call *call, enum err err)
{
    if (!link_trouble_is_ours(err)) {
        balance_note(&call->endpoint->load, 0, true, now_of(call));
    }
    end_at_endpoint(call, link_trouble_is_ours(err) ? BREAKER_NEUTRAL : BREAKER_UNREACHED);
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

/* The route's breaker is asked once about each call. */
static bool route_admits(struct call *call, uint64_t now_us)
{
    if (call->circuit == NULL) {
        return true;
    }
    call->admitted = call->admitted ? !circuit_is_open(call->circuit)
                                    : breaker_admits(&call->circuit->breaker, call->rank, now_us);
    return call->admitted;
}

enum found { FOUND_LINK, FOUND_CONNECTING, FOUND_NO_PLACE, FOUND_FAILURE };

/* On the chosen endpoint. False: nothing was begun, and *err says why. */
static bool take_link(struct call *call, struct endpoint *endpoint, uint64_t now_us, enum found *found, enum err *err)
{
    call->attempts++;
    count_in(call, endpoint);
    if (link_lease_idle(endpoint, call, now_us)) {
        lease_noted(call);
        *found = FOUND_LINK;
        return true;
    }
    link_evict_idle(endpoint);
    *err = link_connect(endpoint, call);
    if (*err != ERR_OK) {
        connect_failed(call, *err);
        return false;
    }
    call_enter(call, CALL_CONNECTING);
    *found = FOUND_CONNECTING;
    return true;
}

/* Tries endpoints until one gives a link or starts connecting. On a failure *refused is of the last one that was tried. */
static enum found find_link(struct call *call, struct call_refused *refused)
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
        *refused = (struct call_refused){.why = refusal_of(err), .words = err_sentence(err)};
    }
    return FOUND_FAILURE;
}

/* The first link; the route's breaker first. */
static enum found find_first_link(struct call *call, struct call_refused *refused)
{
    uint64_t now_us = now_of(call);
    if (!route_admits(call, now_us)) {
        *refused = refused_by_route(call, now_us);
        return FOUND_FAILURE;
    }
    return find_link(call, refused);
}

static enum call_start refuse_start(struct call *call)
{
    settle(call, BREAKER_NEUTRAL, BREAKER_NEUTRAL);
    end_at_route(call, BREAKER_NEUTRAL);
    call_enter(call, CALL_ENDED);
    return CALL_START_REFUSED;
}

static bool must_wait(const struct processor *processor)
{
    return processor->endpoint_count == 0 || processor->in_flight >= processor->settings.concurrency;
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

static enum call_start wait_for_place(struct call *call, struct call_refused *refused)
{
    if (call_waits_in_vain(call, refused) || !queue_join(call, refused)) {
        return refuse_start(call);
    }
    call_enter(call, CALL_QUEUED);
    return CALL_START_WAIT;
}

static void take_order(struct call *call, const struct call_order *order)
{
    *call = (struct call){
        .ops = order->ops,
        .owner = order->owner,
        .processor = order->processor,
        .circuit = order->circuit,
        .rank = order->rank,
        .caller = order->caller,
        .due_us = order->due_us,
        .avoid = order->avoid,
        .arena = order->arena,
        .safe = order->safe,
        .head_request = order->head_request,
        .fresh = order->fresh,
        .opened_us = processor_now_us(order->processor),
    };
    list_init(&call->in_queue);
}

enum call_start call_open(struct call *call, const struct call_order *order, struct call_refused *refused)
{
    struct processor *processor = order->processor;
    CHECK(call->state == CALL_IDLE);
    CHECK(order->circuit == NULL || order->circuit->processor == processor);
    take_order(call, order);
    if (!order->fresh && order->avoid == NULL) { /* else it is one that is made again: that is paid for, not paid in */
        retry_first(&processor->retries, call->opened_us);
    }
    if (processor->name_state == NAME_FAILED) {
        *refused = (struct call_refused){.why = CALL_DNS_FAILED, .words = processor->name_why};
        return refuse_start(call);
    }
    if (processor->queue_count > 0 || must_wait(processor)) {
        return wait_for_place(call, refused);
    }
    switch (find_first_link(call, refused)) {
    case FOUND_LINK:
        return CALL_START_READY;
    case FOUND_CONNECTING:
        return CALL_START_WAIT;
    case FOUND_FAILURE:
        return refuse_start(call);
    case FOUND_NO_PLACE:
        break;
    }
    return wait_for_place(call, refused);
}

void call_refuse(struct call *call, const struct call_refused *refused)
{
    end_at_route(call, BREAKER_NEUTRAL);
    call_enter(call, CALL_ENDED);
    call->ops->on_refused(call->owner, refused);
    call->ops->on_step(call->owner);
}

static bool is_too_late(const struct call *call, struct call_refused *refused)
{
    *refused = (struct call_refused){.why = CALL_QUEUE_FULL, .words = "its time was over before its turn came"};
    return call->due_us != 0 && now_of(call) > call->due_us;
}

bool call_unqueue(struct call *call)
{
    struct call_refused refused;
    if (is_too_late(call, &refused) || call_waits_in_vain(call, &refused)) {
        queue_leave(call);
        call_refuse(call, &refused);
        return true;
    }
    if (must_wait(call->processor)) {
        return false;
    }
    switch (find_first_link(call, &refused)) {
    case FOUND_NO_PLACE:
        return false;
    case FOUND_LINK:
        queue_leave(call);
        call->ops->on_ready(call->owner);
        call->ops->on_step(call->owner);
        return true;
    case FOUND_CONNECTING:
        queue_leave(call);
        return true;
    case FOUND_FAILURE:
        queue_leave(call);
        call_refuse(call, &refused);
        return true;
    }
    return false;
}

void call_on_link_open(struct call *call)
{
    lease_noted(call);
    call->ops->on_ready(call->owner);
    call->ops->on_step(call->owner);
}

/* Nothing was sent: another endpoint may be tried. */
void call_on_link_failed(struct call *call, enum err err, const char *words)
{
    struct call_refused refused = {.why = refusal_of(err), .words = words};
    call->link = NULL;
    connect_failed(call, err);
    switch (find_link(call, &refused)) {
    case FOUND_LINK:
        call->ops->on_ready(call->owner);
        call->ops->on_step(call->owner);
        return;
    case FOUND_CONNECTING:
        return;
    case FOUND_NO_PLACE:
    case FOUND_FAILURE:
        call_refuse(call, &refused);
        return;
    }
}

/* ---- the request out ---- */

struct stream_wrote call_send(struct call *call, const struct bytes *parts, int count)
{
    CHECK(call->state == CALL_READY || call->state == CALL_ENDED);
    if (call->link == NULL || call->state == CALL_ENDED) {
        return (struct stream_wrote){.err = ERR_CANCELED, .sent = false};
    }
    struct stream_wrote wrote = stream_write(call->link->stream, parts, count);
    call->handed_over = call->handed_over || wrote.sent;
    call->broke = call->broke || (wrote.err != ERR_OK && !link_trouble_is_ours(wrote.err));
    return wrote;
}

void call_request_done(struct call *call)
{
    call->request_done = true;
}

size_t call_queued_bytes(const struct call *call)
{
    return call->link != NULL && call->state == CALL_READY ? stream_queued_bytes(call->link->stream) : 0;
}

void call_pause(struct call *call)
{
    if (call->link != NULL && call->state == CALL_READY) {
        stream_pause(call->link->stream);
    }
}

void call_resume(struct call *call)
{
    if (call->link != NULL && call->state == CALL_READY) {
        stream_resume(call->link->stream);
    }
}

/* ---- the answer in ---- */

static void call_fail(struct call *call, enum call_failure why, const char *words)
{
    call->link->spoilt = true;
    settle_broken(call);
    call_enter(call, CALL_ENDED);
    call->ops->on_failed(call->owner, why, words);
}

static bool begin_answer(struct call *call)
{
    static const struct http_limits limits = {
        .head_bytes_max = RESPONSE_HEAD_BYTES_MAX,
        .target_bytes_max = 0,
        .body_bytes_max = UINT64_MAX,
    };
    call->first_byte_us = now_of(call);
    /* An answer that overtook its request: the processor may not read the rest of that, or take it for another one. */
    if (!call->request_done || stream_queued_bytes(call->link->stream) > 0) {
        call->link->spoilt = true;
    }
    call->message = http_message_new(call->arena, HTTP_RESPONSE_MESSAGE, &limits, call->head_request);
    return call->message != NULL;
}

static void answer_begun(struct call *call, const struct http_head *head)
{
    call->status = head->status;
    endpoint_heed(call->endpoint, head);
    call->ops->on_head(call->owner, head);
}

/* The answer is whole. What follows it on the link belongs to nobody. */
static void answer_whole(struct call *call, struct bytes rest)
{
    struct link *link = call->link;
    call->answer_done = true;
    if (rest.len > 0) {
        stats_add(processor_stats(call->processor), call->processor->stat_desync, 1);
    }
    if (rest.len > 0 || !http_message_head(call->message)->keep_alive) {
        link->spoilt = true;
    }
    settle(call, breaker_outcome_of_endpoint(call->status), breaker_outcome_of_route(call->status));
    call_enter(call, CALL_ENDED);
    call->ops->on_end(call->owner);
}

void call_on_data(struct call *call, struct bytes data)
{
    if (call->message == NULL && !begin_answer(call)) {
        settle(call, BREAKER_NEUTRAL, BREAKER_NEUTRAL);
        call_fail(call, CALL_MALFORMED, "no memory for the answer");
    }
    while (call->state == CALL_READY) {
        struct bytes body = BYTES_NONE;
        enum http_event event = http_message_feed(call->message, &data, &body);
        if (event == HTTP_MORE) {
            break;
        }
        switch (event) {
        case HTTP_HEAD:
            answer_begun(call, http_message_head(call->message));
            break;
        case HTTP_BODY:
            call->ops->on_body(call->owner, body);
            break;
        case HTTP_END:
            answer_whole(call, data);
            break;
        case HTTP_FAULTED:
            call_fail(call, CALL_MALFORMED, http_message_fault_text(call->message));
            break;
        case HTTP_MORE:
            break;
        }
    }
    if (call->state == CALL_READY && call->status != 0) {
        park(call);
    }
    call->ops->on_step(call->owner);
}

void call_on_link_end(struct call *call, enum err err)
{
    if (call->state != CALL_READY) {
        return;
    }
    if (call->message != NULL && http_message_begun(call->message)) {
        call_fail(call, CALL_INCOMPLETE, err_sentence(err));
    } else {
        call_fail(call, CALL_CLOSED, err_sentence(err));
    }
    call->ops->on_step(call->owner);
}

/* ---- the end ---- */

/* Links that may be held for answers that only a record wants: one part in so many of a processor's pool. */
#define LINGER_SHARE 4u

bool call_linger(struct call *call)
{
    struct processor *processor = call->processor;
    if (call->state != CALL_READY || processor->lingering >= processor->settings.connections / LINGER_SHARE) {
        return false;
    }
    settle_timed_out(call); /* whatever still comes */
    call->lingers = true;
    call->link->spoilt = true;
    processor->lingering++;
    count_out(call);
    return true;
}

/* It holds a link, and its owner gives it up. */
static void settle_given_up(struct call *call)
{
    if (call->timed_out) {
        settle_timed_out(call);
    } else if (call->broke) {
        settle_broken(call);
    } else {
        settle(call, BREAKER_NEUTRAL, BREAKER_NEUTRAL);
    }
}

void call_close(struct call *call, bool timed_out)
{
    struct link *link = call->link;
    call->timed_out = timed_out;
    switch (call->state) {
    case CALL_IDLE:
        return;
    case CALL_QUEUED:
        queue_leave(call);
        break;
    case CALL_CONNECTING:
        settle(call, BREAKER_NEUTRAL, BREAKER_NEUTRAL);
        link_forget_call(link);
        break;
    case CALL_READY:
        settle_given_up(call);
        link_close(link, true);
        break;
    case CALL_ENDED:
        if (link != NULL && call->answer_done && call->request_done) {
            link_return(link);
        } else if (link != NULL) {
            link_close(link, !call->answer_done);
        }
        break;
    }
    CHECK(!call->flies_at_endpoint && !call->flies_at_route);
    if (call->lingers) {
        call->processor->lingering--;
    } else {
        count_out(call);
    }
    call->link = NULL;
    call->endpoint = NULL; /* it may be retired before the next call */
    call_enter(call, CALL_IDLE);
}

const char *call_endpoint_text(const struct call *call)
{
    return call->endpoint != NULL ? call->endpoint->text : "";
}

uint64_t call_connect_us(const struct call *call)
{
    return call->link != NULL && !call->reused ? call->link->connect_us : 0;
}
