/*
 * One request's way through a link: it finds a link (or waits, or is refused),
 * passes bytes out, reads the answer, and gives the link back or closes it.
 * Events are recorded by its owner's callbacks; on_step always comes last.
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
    return loop_now_us(call->processor->upstream->options.loop);
}

/* ---- finding a link ---- */

static void count_in(struct call *call, struct endpoint *endpoint)
{
    if (!call->counted) {
        call->processor->in_flight++;
        call->counted = true;
    }
    if (call->endpoint != endpoint) {
        if (call->endpoint != NULL) {
            call->endpoint->load.in_flight--;
        }
        endpoint->load.in_flight++;
        call->endpoint = endpoint;
    }
}

static void count_out(struct call *call)
{
    if (call->endpoint != NULL) {
        call->endpoint->load.in_flight--;
    }
    if (call->counted) {
        call->processor->in_flight--;
        call->counted = false;
        processor_wake(call->processor);
    }
}

static void lease_noted(struct call *call)
{
    call->leased_us = now_of(call);
    call->reused = call->link->calls_count > 0;
    if (call->reused) {
        stats_add(call->processor->upstream->options.stats, call->processor->stat_reused, 1);
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

enum found { FOUND_LINK, FOUND_CONNECTING, FOUND_NO_PLACE, FOUND_FAILURE };

/* Tries endpoints until one gives a link or starts connecting. On a failure *err is the last one's. */
static enum found find_link(struct call *call, enum err *err)
{
    struct processor *processor = call->processor;
    while (call->attempts < CALL_ATTEMPTS_MAX) {
        uint64_t now_us = now_of(call);
        struct endpoint *endpoint = processor_pick(processor, call, now_us);
        if (endpoint == NULL) {
            return call->attempts == 0 ? FOUND_NO_PLACE : FOUND_FAILURE;
        }
        call->attempts++;
        count_in(call, endpoint);
        if (link_lease_idle(endpoint, call, now_us)) {
            lease_noted(call);
            return FOUND_LINK;
        }
        link_evict_idle(endpoint);
        *err = link_connect(endpoint, call);
        if (*err == ERR_OK) {
            call_enter(call, CALL_CONNECTING);
            return FOUND_CONNECTING;
        }
    }
    return FOUND_FAILURE;
}

static bool queue_behind(struct call *call)
{
    struct processor *processor = call->processor;
    if (processor->queue_count >= processor->settings.queue) {
        return false;
    }
    processor->queue_count++;
    list_push_back(&processor->queue, &call->in_queue);
    call_enter(call, CALL_QUEUED);
    return true;
}

static enum call_start refuse_start(struct call *call, enum call_refusal refusal, const char *text,
                                    enum call_refusal *why, const char **words)
{
    *why = refusal;
    *words = text;
    call_enter(call, CALL_ENDED);
    return CALL_START_REFUSED;
}

enum call_start call_open(struct call *call, struct processor *processor, struct arena *arena, bool safe,
                          bool head_request, const struct call_ops *ops, void *owner, enum call_refusal *why,
                          const char **words)
{
    CHECK(call->state == CALL_IDLE);
    *call = (struct call){
        .ops = ops,
        .owner = owner,
        .processor = processor,
        .arena = arena,
        .safe = safe,
        .head_request = head_request,
        .opened_us = loop_now_us(processor->upstream->options.loop),
    };
    list_init(&call->in_queue);
    if (processor->name_state == NAME_FAILED) {
        return refuse_start(call, CALL_DNS_FAILED, processor->name_why, why, words);
    }
    bool must_wait = processor->endpoint_count == 0 || processor->queue_count > 0 ||
                     processor->in_flight >= processor->settings.concurrency;
    enum err err = ERR_OK;
    switch (must_wait ? FOUND_NO_PLACE : find_link(call, &err)) {
    case FOUND_LINK:
        return CALL_START_READY;
    case FOUND_CONNECTING:
        return CALL_START_WAIT;
    case FOUND_FAILURE:
        return refuse_start(call, refusal_of(err), err_sentence(err), why, words);
    case FOUND_NO_PLACE:
        break;
    }
    if (!queue_behind(call)) {
        return refuse_start(call, CALL_QUEUE_FULL, "too many requests wait for this processor", why, words);
    }
    return CALL_START_WAIT;
}

void call_refuse(struct call *call, enum call_refusal why, const char *words)
{
    call_enter(call, CALL_ENDED);
    call->ops->on_refused(call->owner, why, words);
    call->ops->on_step(call->owner);
}

static void leave_queue(struct call *call)
{
    list_remove(&call->in_queue);
    call->processor->queue_count--;
}

bool call_unqueue(struct call *call)
{
    struct processor *processor = call->processor;
    if (processor->endpoint_count == 0 || processor->in_flight >= processor->settings.concurrency) {
        return false;
    }
    enum err err = ERR_OK;
    switch (find_link(call, &err)) {
    case FOUND_NO_PLACE:
        return false;
    case FOUND_LINK:
        leave_queue(call);
        call->ops->on_ready(call->owner);
        call->ops->on_step(call->owner);
        return true;
    case FOUND_CONNECTING:
        leave_queue(call);
        return true;
    case FOUND_FAILURE:
        leave_queue(call);
        call_refuse(call, refusal_of(err), err_sentence(err));
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
    call->link = NULL;
    balance_note(&call->endpoint->load, 0, true, now_of(call));
    enum err next = err;
    switch (find_link(call, &next)) {
    case FOUND_LINK:
        call->ops->on_ready(call->owner);
        call->ops->on_step(call->owner);
        return;
    case FOUND_CONNECTING:
        return;
    case FOUND_NO_PLACE:
    case FOUND_FAILURE:
        call_refuse(call, refusal_of(err), words);
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
    return stream_write(call->link->stream, parts, count);
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

/* The answer is whole. What follows it on the link belongs to nobody. */
static void answer_whole(struct call *call, struct bytes rest)
{
    struct link *link = call->link;
    call->answer_done = true;
    if (rest.len > 0) {
        stats_add(call->processor->upstream->options.stats, call->processor->stat_desync, 1);
    }
    if (rest.len > 0 || !http_message_head(call->message)->keep_alive) {
        link->spoilt = true;
    }
    call_enter(call, CALL_ENDED);
    call->ops->on_end(call->owner);
}

void call_on_data(struct call *call, struct bytes data)
{
    if (call->message == NULL && !begin_answer(call)) {
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
            call->ops->on_head(call->owner, http_message_head(call->message));
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

static void note_answer(struct call *call, bool failed)
{
    uint64_t now_us = now_of(call);
    uint64_t until_us = call->first_byte_us != 0 ? call->first_byte_us : now_us;
    if (!call->lingers && call->leased_us != 0 && (call->answer_done || failed)) {
        balance_note(&call->endpoint->load, until_us - call->leased_us, failed, now_us);
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
    note_answer(call, true); /* it was too slow, whatever still comes */
    call->lingers = true;
    call->link->spoilt = true;
    processor->lingering++;
    count_out(call);
    return true;
}

void call_close(struct call *call, bool failed)
{
    struct link *link = call->link;
    switch (call->state) {
    case CALL_IDLE:
        return;
    case CALL_QUEUED:
        leave_queue(call);
        break;
    case CALL_CONNECTING:
        link_forget_call(link);
        break;
    case CALL_READY:
        note_answer(call, failed);
        link_close(link, true);
        break;
    case CALL_ENDED:
        note_answer(call, failed);
        if (link != NULL && call->answer_done && call->request_done) {
            link_return(link);
        } else if (link != NULL) {
            link_close(link, !call->answer_done);
        }
        break;
    }
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
