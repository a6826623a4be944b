/*
 * One request's way through a link: it finds a link (call_find.c), or waits, or
 * is refused; passes bytes out, reads the answer, and gives the link back or
 * closes it. How it went is told by verdict.c. Events are recorded by its
 * owner's callbacks; on_step always comes last.
 */
#include "upstream_internal.h"


/* The only place that changes a call's state. */
void call_enter(struct call *call, enum call_state state)
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

/* ---- a link, or a place to wait for one ---- */

static enum call_start refuse_start(struct call *call)
{
    verdict_none(call);
    call_enter(call, CALL_ENDED);
    return CALL_START_REFUSED;
}

static bool must_wait(const struct processor *processor)
{
    return processor->endpoint_count == 0 || processor->in_flight >= processor->settings.concurrency;
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
    switch (call_find_first(call, refused)) {
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
    verdict_none(call);
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
    if (is_too_late(call, &refused)) {
        queue_leave(call);
        call_refuse(call, &refused);
        return true;
    }
    if (must_wait(call->processor)) {
        return false;
    }
    switch (call_find_first(call, &refused)) {
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
    call_leased(call);
    call->ops->on_ready(call->owner);
    call->ops->on_step(call->owner);
}

/* Nothing was sent: another endpoint may be tried. */
void call_on_link_failed(struct call *call, enum err err, const char *words)
{
    struct call_refused refused = {.why = call_refusal_of(err), .words = words};
    call->link = NULL;
    verdict_unreached(call, err);
    switch (call_find_next(call, &refused)) {
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
    verdict_broken(call);
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
    endpoint_heed(call->endpoint, head, call->caller);
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
    verdict_settle(call, breaker_outcome_of_endpoint(call->status), breaker_outcome_of_route(call->status));
    call_enter(call, CALL_ENDED);
    call->ops->on_end(call->owner);
}

void call_on_data(struct call *call, struct bytes data)
{
    if (call->message == NULL && !begin_answer(call)) {
        verdict_none(call);
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
        verdict_park(call);
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

/* Links that may be held for answers that only a record wants: one part in so many of a processor's pool. */
#define LINGER_SHARE 4u

bool call_linger(struct call *call)
{
    struct processor *processor = call->processor;
    if (call->state != CALL_READY || processor->lingering >= processor->settings.connections / LINGER_SHARE) {
        return false;
    }
    verdict_timed_out(call); /* whatever still comes */
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
        verdict_timed_out(call);
    } else if (call->broke) {
        verdict_broken(call);
    } else {
        verdict_none(call);
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
        verdict_none(call);
        queue_leave(call);
        break;
    case CALL_CONNECTING:
        verdict_none(call);
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
