/*
 * One request and its answer: the whole story, in life order.
 *
 *  client                      exchange                                  far shores
 *  ------                      --------                                  ----------
 *  first byte ---------------> HEAD    parse, byte check, policy
 *                              ROUTE   host, route, sizes                policy/route
 *  body -------------------->  BODY    held whole and checked
 *                              LINK    choose an endpoint, get a link -> upstream/call
 *  =================== first byte out: money may move from here ==================
 *                              SEND    head and body ----------------->  upstream/link
 *                              WAIT    for the answer's head
 *  answer <------------------  RELAY   as it comes, with back-pressure
 *                              DONE    access line, link back, arena reset
 *
 *  exchange_step() is the only control flow. Callbacks record a fact in the
 *  exchange and call it; each case calls one leaf, which returns what comes
 *  next. Any cause of an end goes through exchange_end(), and what it may undo
 *  or promise is decided by exchange_sent(), never by the phase.
 *
 *  A client that leaves before the first byte out cancels the exchange; after
 *  it, the exchange lives on without its client until the answer is known.
 */
#include "exchange.h"

#include <stdio.h>

#include "weir/base/clock.h"

enum step { STEP_NEXT, STEP_WAIT };

static const struct call_ops call_ops;
static void on_timer(struct timer *timer);
static void on_release(struct deferred *deferred);

/* ---- phases ---- */

static const struct {
    const char *name;
    char letter;
} phases[] = {
#define PHASE(NAME, letter, prose) {#NAME, letter},
#include "phase.def"
#undef PHASE
};

const char *exchange_phase_name(enum exchange_phase phase)
{
    return phases[phase].name;
}

char exchange_phase_letter(enum exchange_phase phase)
{
    return phases[phase].letter;
}

/* The only place that sets the phase: refuses a move that is not in the table, and stamps the time. */
static void exchange_enter(struct exchange *x, enum exchange_phase phase)
{
#define TO(NAME) (1u << PHASE_##NAME)
    static const uint16_t legal[PHASE_COUNT] = {
        [PHASE_HEAD] = TO(ROUTE) | TO(DONE),
        [PHASE_ROUTE] = TO(BODY) | TO(LINK) | TO(DONE),
        [PHASE_BODY] = TO(LINK) | TO(DONE),
        [PHASE_LINK] = TO(SEND) | TO(DONE),
        [PHASE_SEND] = TO(LINK) | TO(WAIT) | TO(RELAY) | TO(DONE),
        [PHASE_WAIT] = TO(RELAY) | TO(DONE),
        [PHASE_RELAY] = TO(DONE),
    };
#undef TO
    CHECK((legal[x->phase] >> phase & 1u) != 0);
    x->phase = phase;
    if (x->phase_at_us[phase] == 0) {
        x->phase_at_us[phase] = x->now_us;
    }
}

static void set_deadline(struct exchange *x, uint64_t due_us)
{
    timer_set(&x->timer, x->total_due_us != 0 && x->total_due_us < due_us ? x->total_due_us : due_us);
}

/* ---- begin ---- */

struct exchange *exchange_begin(struct gate *gate, struct client_stream *client)
{
    struct exchange *x = pool_get(&gate->exchange_pool);
    if (x == NULL) {
        return NULL;
    }
    const struct http_limits limits = {
        .head_bytes_max = client->listener->conf->header_bytes,
        .target_bytes_max = HTTP_TARGET_BYTES_MAX,
        .body_bytes_max = client->listener->conf->body_bytes,
    };
    struct blocks *blocks = loop_blocks(gate->options.loop);
    arena_init(&x->arena, blocks);
    x->message = http_message_new(&x->arena, HTTP_REQUEST_MESSAGE, &limits, false);
    if (x->message == NULL) {
        arena_reset(&x->arena);
        pool_put(&gate->exchange_pool, x);
        return NULL;
    }
    buf_init(&x->body, blocks, SIZE_MAX); /* bounded by the message's body_bytes_max */
    x->gate = gate;
    x->generation = generation_hold(gate->generation);
    x->client = client;
    x->listener = client->listener->conf;
    x->peer = *client->peer;
    x->peer_trusted = client->peer_trusted;
    x->phase = PHASE_HEAD;
    x->now_us = loop_now_us(gate->options.loop);
    x->phase_at_us[PHASE_HEAD] = x->now_us;
    deferred_init(&x->release, on_release);
    timer_init(&x->timer, gate->options.loop, on_timer);
    digest_request_id(x->request_id);
    list_init(&x->in_exchanges);
    list_push_back(&gate->exchanges, &x->in_exchanges);
    gate->exchanges_count++;
    gate->exchanges_total++;
    return x;
}

/* ---- HEAD and ROUTE ---- */

static enum reason reason_of_fault(enum http_fault fault)
{
    switch (fault) {
    case HTTP_FAULT_NONE:
    case HTTP_FAULT_MALFORMED:
        return REASON_BAD_REQUEST;
    case HTTP_FAULT_METHOD:
        return REASON_METHOD_NOT_ALLOWED;
    case HTTP_FAULT_NOT_IMPLEMENTED:
        return REASON_NOT_IMPLEMENTED;
    case HTTP_FAULT_VERSION:
        return REASON_VERSION_UNSUPPORTED;
    case HTTP_FAULT_URI_TOO_LONG:
        return REASON_URI_TOO_LONG;
    case HTTP_FAULT_HEAD_TOO_LARGE:
        return REASON_HEADER_TOO_LARGE;
    case HTTP_FAULT_BODY_TOO_LARGE:
        return REASON_BODY_TOO_LARGE;
    case HTTP_FAULT_EXPECTATION:
        return REASON_EXPECTATION_FAILED;
    case HTTP_FAULT_NO_ROOM:
        return REASON_SHED;
    }
    return REASON_INTERNAL_ERROR;
}

static enum step end_here(struct exchange *x, enum reason reason, enum ended_by by, const char *why)
{
    exchange_end(x, reason, by, why);
    return STEP_WAIT;
}

/* A request that broke off, whichever phase reads it: it has not been answered, and what was read is thrown away. */
static bool request_broke(struct exchange *x)
{
    if (x->fault != HTTP_FAULT_NONE) {
        exchange_end(x, reason_of_fault(x->fault), ENDED_BY_CLIENT, x->fault_text);
        return true;
    }
    if (x->timed_out) {
        exchange_end(x, REASON_REQUEST_TIMEOUT, ENDED_BY_TIMEOUT,
                     x->head == NULL ? "the head was not complete in time" : "the body was not complete in time");
        return true;
    }
    return false;
}

static enum step step_head(struct exchange *x)
{
    if (request_broke(x)) {
        return STEP_WAIT;
    }
    if (x->head == NULL) {
        if (!timer_armed(&x->timer)) {
            set_deadline(x, x->phase_at_us[PHASE_HEAD] + x->listener->header_ms * CLOCK_US_PER_MS);
        }
        return STEP_WAIT;
    }
    exchange_enter(x, PHASE_ROUTE);
    return STEP_NEXT;
}

/* A client that named one host in its handshake and another in its request (RFC 9110 7.4), where the name mattered. */
static bool misdirected(struct exchange *x)
{
    struct stream_tls tls;
    if (!stream_tls_info(x->client->stream, &tls)) {
        return false;
    }
    x->tls_version = tls.version;
    return tls.server_name != NULL && tls.server_name_matched &&
           !bytes_equal_nocase(bytes_from_text(tls.server_name), x->head->host);
}

static void take_route(struct exchange *x, struct route_ready *route)
{
    const struct http_head *head = x->head;
    x->route = route;
    x->safe_method = http_method_is_safe(head->method);
    x->keyed = http_head_find_name(head, route->profile->key_field) != NULL;
    x->streams_request = route->conf->stream_request;
    x->total_due_us = x->phase_at_us[PHASE_HEAD] + route->total_ms * CLOCK_US_PER_MS;
    if (route->body_bytes_max != 0) {
        http_message_set_body_max(x->message, route->body_bytes_max);
    }
    stats_add(x->gate->options.stats, route->stat_in_flight, 1);
}

static enum step step_route(struct exchange *x)
{
    const struct http_head *head = x->head;
    if (misdirected(x)) {
        return end_here(x, REASON_MISDIRECTED, ENDED_BY_CLIENT, "Host is not the name of the TLS handshake");
    }
    struct route_ready *route = generation_route(x->generation, head);
    if (route == NULL) {
        return end_here(x, REASON_NO_ROUTE, ENDED_BY_WEIR, "");
    }
    take_route(x, route);
    uint64_t body_max = route->body_bytes_max != 0 ? route->body_bytes_max : x->listener->body_bytes;
    if (head->framing == HTTP_FRAMING_LENGTH && head->content_length > body_max) {
        return end_here(x, REASON_BODY_TOO_LARGE, ENDED_BY_CLIENT, "Content-Length is above the limit");
    }
    if (head->expects_continue && head->framing != HTTP_FRAMING_NONE && !x->request_whole) {
        x->client->ops->go_on(x->client);
    }
    exchange_enter(x, x->streams_request ? PHASE_LINK : PHASE_BODY);
    return STEP_NEXT;
}

/* ---- BODY ---- */

static enum step step_body(struct exchange *x)
{
    if (request_broke(x)) {
        return STEP_WAIT;
    }
    if (!x->request_whole) {
        set_deadline(x, x->phase_at_us[PHASE_ROUTE] + x->listener->body_ms * CLOCK_US_PER_MS);
        return STEP_WAIT;
    }
    exchange_enter(x, PHASE_LINK);
    return STEP_NEXT;
}

/* ---- LINK ---- */

static enum reason reason_of_refusal(enum call_refusal refusal)
{
    switch (refusal) {
    case CALL_QUEUE_FULL:
        return REASON_QUEUE_FULL;
    case CALL_DNS_FAILED:
        return REASON_DNS_FAILED;
    case CALL_CONNECT_FAILED:
        return REASON_CONNECT_FAILED;
    case CALL_CONNECT_TIMEOUT:
        return REASON_CONNECT_TIMEOUT;
    case CALL_TLS_FAILED:
        return REASON_PROCESSOR_TLS_FAILED;
    case CALL_DOWN:
        return REASON_PROCESSOR_DOWN;
    }
    return REASON_INTERNAL_ERROR;
}

static enum step open_call(struct exchange *x)
{
    const char *words = "";
    enum call_refusal refusal = CALL_DOWN;
    bool head_request = bytes_equal(x->head->method, BYTES("HEAD"));
    switch (call_open(&x->call, x->route->processor, &x->arena, x->safe_method, head_request, &call_ops, x, &refusal,
                      &words)) {
    case CALL_START_READY:
        x->link_ready = true;
        return STEP_NEXT;
    case CALL_START_WAIT:
        timer_set(&x->timer, x->total_due_us);
        return STEP_WAIT;
    case CALL_START_REFUSED:
        return end_here(x, reason_of_refusal(refusal), ENDED_BY_PROCESSOR, words);
    }
    return STEP_WAIT;
}

static enum step step_link(struct exchange *x)
{
    CHECK(!exchange_sent(x));
    if (x->fault != HTTP_FAULT_NONE) { /* a streamed body broke while the link was being made */
        return end_here(x, reason_of_fault(x->fault), ENDED_BY_CLIENT, x->fault_text);
    }
    if (x->refused) {
        return end_here(x, reason_of_refusal(x->refusal), ENDED_BY_PROCESSOR, x->why);
    }
    if (x->timed_out) {
        return end_here(x, REASON_DEADLINE_BEFORE_SEND, ENDED_BY_TIMEOUT, "no link to the processor in time");
    }
    if (x->call.state == CALL_IDLE) {
        return open_call(x);
    }
    if (!x->link_ready) {
        return STEP_WAIT;
    }
    x->now_us = clock_now_us(); /* what went before is weir's own part of the time */
    exchange_enter(x, PHASE_SEND);
    return STEP_NEXT;
}

/* ---- SEND ---- */

/* The dangerous moment. From here the answer is worth more than the memory bound. */
static void mark_sent(struct exchange *x)
{
    if (!x->sent) {
        x->sent = true;
        x->arena.need = BLOCKS_MUST;
        x->gate->exchanges_sent_count++;
    }
}

/* No byte was taken, so another link may try; a few times at most. */
static enum step try_another_link(struct exchange *x, enum err err)
{
    call_close(&x->call, true);
    x->link_ready = false;
    x->head_sent = false;
    exchange_enter(x, PHASE_LINK);
    if (++x->link_tries > 2) {
        return end_here(x, REASON_CONNECT_FAILED, ENDED_BY_PROCESSOR, err_sentence(err));
    }
    return STEP_NEXT;
}

static struct stream_wrote send_parts(struct exchange *x, const struct bytes *parts, int count)
{
    struct stream_wrote wrote = call_send(&x->call, parts, count);
    if (wrote.sent) {
        mark_sent(x);
    }
    return wrote;
}

static bool sends_chunks(const struct exchange *x)
{
    return x->streams_request && x->head->framing == HTTP_FRAMING_CHUNKED;
}

/* The next run of the body as parts behind `count` others; returns the new count. `len` is what of the body they hold. */
static int body_parts(struct exchange *x, struct bytes *parts, int count, char chunk_head[HTTP_CHUNK_HEAD_BYTES],
                      size_t *len)
{
    WEIR_SCRATCH struct iovec vectors[STREAM_PARTS_MAX - 4];
    int vector_count = buf_vectors(&x->body, vectors, (int)ARRAY_COUNT(vectors));
    int chunk_at = count;
    *len = 0;
    if (sends_chunks(x) && vector_count > 0) {
        count++;
    }
    for (int i = 0; i < vector_count; i++) {
        parts[count++] = bytes_of(vectors[i].iov_base, vectors[i].iov_len);
        *len += vectors[i].iov_len;
    }
    if (sends_chunks(x) && vector_count > 0) {
        parts[chunk_at] = bytes_of(chunk_head, http_chunk_head(chunk_head, *len));
        parts[count++] = HTTP_CHUNK_TAIL;
    }
    return count;
}

/* Writes the head, if it is still to go, and one run of the body. */
static struct stream_wrote send_some(struct exchange *x)
{
    WEIR_SCRATCH struct bytes parts[STREAM_PARTS_MAX];
    char chunk_head[HTTP_CHUNK_HEAD_BYTES];
    int count = 0;
    size_t body_len = 0;
    if (!x->head_sent) {
        parts[count] = forward_head(x);
        if (parts[count++].len == 0) {
            return (struct stream_wrote){.err = ERR_FULL, .sent = false};
        }
    }
    count = body_parts(x, parts, count, chunk_head, &body_len);
    bool last = x->request_whole && body_len == x->body.len;
    if (last && sends_chunks(x)) {
        parts[count++] = HTTP_LAST_CHUNK;
    }
    struct stream_wrote wrote = send_parts(x, parts, count);
    if (wrote.err == ERR_OK) {
        x->head_sent = true;
        buf_consume(&x->body, body_len);
        if (last) {
            call_request_done(&x->call);
        }
    }
    return wrote;
}

static enum step request_out(struct exchange *x)
{
    set_deadline(x, x->now_us + x->route->response_ms * CLOCK_US_PER_MS);
    exchange_enter(x, PHASE_WAIT);
    return STEP_NEXT;
}

/* Everything that came was sent, and a streamed body is not at its end. */
static bool client_owes_body(const struct exchange *x)
{
    return x->head_sent && x->body.len == 0 && !x->request_whole;
}

static enum step wait_in_send(struct exchange *x)
{
    timer_set(&x->timer, x->total_due_us);
    return STEP_WAIT;
}

static enum step send_timed_out(struct exchange *x)
{
    if (client_owes_body(x)) {
        return end_here(x, REASON_REQUEST_TIMEOUT, ENDED_BY_TIMEOUT, "the body was not complete in time");
    }
    return end_here(x, exchange_sent(x) ? REASON_RESPONSE_TIMEOUT : REASON_DEADLINE_BEFORE_SEND, ENDED_BY_TIMEOUT,
                    "the request was not taken in time");
}

static enum step send_broke(struct exchange *x, enum err err)
{
    if (exchange_sent(x)) {
        return end_here(x, REASON_WRITE_FAILED, ENDED_BY_PROCESSOR, err_sentence(err));
    }
    if (err == ERR_FULL) {
        return end_here(x, REASON_HEADER_TOO_LARGE, ENDED_BY_CLIENT, "the head does not fit with what weir adds");
    }
    return try_another_link(x, err);
}

static enum step step_send(struct exchange *x)
{
    if (x->answer_head != NULL || x->failed) { /* an early answer, or the end of the link */
        exchange_enter(x, x->failed && x->answer_head == NULL ? PHASE_WAIT : PHASE_RELAY);
        return STEP_NEXT;
    }
    if (x->fault != HTTP_FAULT_NONE) {
        return end_here(x, reason_of_fault(x->fault), ENDED_BY_CLIENT, x->fault_text);
    }
    if (x->timed_out) {
        return send_timed_out(x);
    }
    while (!x->call.request_done) {
        if (call_queued_bytes(&x->call) >= STREAM_QUEUE_HIGH_BYTES) {
            return wait_in_send(x); /* on_writable steps again */
        }
        if (client_owes_body(x)) {
            if (x->client != NULL) {
                x->client->ops->resume(x->client);
            }
            return wait_in_send(x);
        }
        struct stream_wrote wrote = send_some(x);
        if (wrote.err != ERR_OK) {
            return send_broke(x, wrote.err);
        }
    }
    return request_out(x);
}

/* ---- WAIT ---- */

static enum reason reason_of_failure(enum call_failure failure)
{
    switch (failure) {
    case CALL_CLOSED:
        return REASON_CLOSED_BEFORE_RESPONSE;
    case CALL_INCOMPLETE:
        return REASON_RESPONSE_INCOMPLETE;
    case CALL_MALFORMED:
        return REASON_RESPONSE_MALFORMED;
    }
    return REASON_INTERNAL_ERROR;
}

static enum step step_wait(struct exchange *x)
{
    if (x->answer_head != NULL) {
        exchange_enter(x, PHASE_RELAY);
        return STEP_NEXT;
    }
    if (x->failed) {
        return end_here(x, reason_of_failure(x->failure), ENDED_BY_PROCESSOR, x->why);
    }
    if (x->timed_out) {
        return end_here(x, REASON_RESPONSE_TIMEOUT, ENDED_BY_TIMEOUT, "no answer in time");
    }
    return STEP_WAIT;
}

/* ---- RELAY ---- */

static void judge_answer(struct exchange *x)
{
    x->status = x->answer_head->status;
    bool definite = x->safe_method || profile_is_definite(x->route->profile, x->status);
    x->outcome = definite ? OUTCOME_ANSWERED : OUTCOME_UNKNOWN;
}

static enum step step_relay(struct exchange *x)
{
    if (x->status == 0) {
        judge_answer(x);
    }
    relay_flush(x, x->answer_whole);
    if (x->answer_whole) {
        return x->client != NULL ? end_here(x, REASON_OK, ENDED_NORMAL, "")
                                 : end_here(x, REASON_CLIENT_GONE, ENDED_BY_CLIENT, x->why);
    }
    if (x->failed) {
        return end_here(x, reason_of_failure(x->failure), ENDED_BY_PROCESSOR, x->why);
    }
    if (x->timed_out) {
        if (!x->answer_paused) {
            return end_here(x, REASON_RESPONSE_TIMEOUT, ENDED_BY_TIMEOUT, "the answer was not complete in time");
        }
        /* The client is slow, not the processor; the client has a write timeout of its own. */
        x->timed_out = false;
        timer_set_after(&x->timer, CLOCK_US_PER_S);
    }
    return STEP_WAIT;
}

/* ---- the step ---- */

void exchange_step(struct exchange *x)
{
    if (x->stepping || x->phase == PHASE_DONE) {
        return; /* the running step sees what was recorded */
    }
    x->stepping = true;
    x->now_us = loop_now_us(x->gate->options.loop);
    enum step step = STEP_NEXT;
    while (step == STEP_NEXT) {
        switch (x->phase) {
        case PHASE_HEAD:
            step = step_head(x);
            break;
        case PHASE_ROUTE:
            step = step_route(x);
            break;
        case PHASE_BODY:
            step = step_body(x);
            break;
        case PHASE_LINK:
            step = step_link(x);
            break;
        case PHASE_SEND:
            step = step_send(x);
            break;
        case PHASE_WAIT:
            step = step_wait(x);
            break;
        case PHASE_RELAY:
            step = step_relay(x);
            break;
        case PHASE_DONE:
        case PHASE_COUNT:
            step = STEP_WAIT;
            break;
        }
    }
    x->stepping = false;
}

/* ---- the end ---- */

static bool reason_keeps_outcome(enum reason reason)
{
    return reason == REASON_OK || reason == REASON_CLIENT_GONE || reason == REASON_INTERNAL_ERROR;
}

/* What is known of the money. Not sent: this request moved none. Sent without a definite answer: unknown. */
static enum outcome settle_outcome(const struct exchange *x, enum reason reason)
{
    if (!exchange_sent(x)) {
        return OUTCOME_NOT_SENT;
    }
    if (reason == REASON_OK || (reason_keeps_outcome(reason) && x->answer_whole)) {
        return x->outcome;
    }
    return OUTCOME_UNKNOWN;
}

static void note_counts(struct exchange *x)
{
    struct stats *stats = x->gate->options.stats;
    struct route_ready *route = x->route != NULL ? x->route : &x->generation->unrouted;
    stats_add(stats, generation_requests_series(x->generation, route, x->status, x->reason), 1);
    stats_add(stats, route->stat_outcomes[x->outcome], 1);
    uint64_t total_us = x->now_us - x->phase_at_us[PHASE_HEAD];
    stats_observe(stats, route->stat_duration, total_us);
    if (x->route != NULL) {
        stats_add(stats, route->stat_in_flight, (uint64_t)-1);
    }
    if (exchange_sent(x)) {
        uint64_t processor_us = x->now_us - x->phase_at_us[PHASE_SEND];
        stats_observe(stats, route->stat_processor_duration, processor_us);
        stats_observe(stats, route->stat_overhead, total_us - processor_us);
    }
}

void exchange_end(struct exchange *x, enum reason reason, enum ended_by by, const char *why)
{
    if (x->phase == PHASE_DONE) {
        return;
    }
    bool whole = reason == REASON_OK;
    x->reason = reason;
    x->ended_by = by;
    x->outcome = settle_outcome(x, reason);
    if (why != x->why) {
        (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
    }
    if (!x->answer_begun && reason != REASON_OK) {
        x->status = x->route != NULL ? profile_status(x->route->profile, reason) : reason_status(reason);
        if (x->client != NULL && reason != REASON_CLIENT_GONE) {
            reply_send(x);
            whole = true;
        }
    }
    timer_stop(&x->timer);
    x->ended_in = x->phase;
    x->now_us = clock_now_us();
    exchange_enter(x, PHASE_DONE);
    note_counts(x);
    access_write(x);
    call_close(&x->call, by == ENDED_BY_PROCESSOR || (by == ENDED_BY_TIMEOUT && exchange_sent(x)));
    if (x->client != NULL) {
        struct client_stream *client = x->client;
        x->client = NULL;
        client->exchange = NULL;
        client->ops->finished(client, whole);
    }
    loop_defer(x->gate->options.loop, &x->release);
}

static void on_release(struct deferred *deferred)
{
    struct exchange *x = container_of(deferred, struct exchange, release);
    struct gate *gate = x->gate;
    CHECK(x->phase == PHASE_DONE && !x->stepping);
    list_remove(&x->in_exchanges);
    gate->exchanges_count--;
    if (exchange_sent(x)) {
        gate->exchanges_sent_count--;
    }
    buf_reset(&x->body);
    arena_reset(&x->arena);
    generation_release(x->generation);
    pool_put(&gate->exchange_pool, x);
    gate_check_quiet(gate);
}

/* ---- events of the client ---- */

void exchange_on_head(struct exchange *x)
{
    x->head = http_message_head(x->message);
    exchange_step(x);
}

void exchange_on_body(struct exchange *x, struct bytes body)
{
    x->bytes_in += body.len;
    if (x->phase == PHASE_DONE) {
        return;
    }
    if (buf_append(&x->body, body, exchange_sent(x) ? BLOCKS_MUST : BLOCKS_MAY) != ERR_OK) {
        x->fault = HTTP_FAULT_NO_ROOM;
        x->fault_text = "no room for the body";
        exchange_step(x);
        return;
    }
    if (x->streams_request) {
        if (x->body.len >= STREAM_QUEUE_HIGH_BYTES && x->client != NULL) {
            x->client->ops->pause(x->client);
        }
        exchange_step(x);
    }
}

void exchange_on_request_end(struct exchange *x)
{
    x->request_whole = true;
    exchange_step(x);
}

void exchange_on_fault(struct exchange *x)
{
    x->fault = http_message_fault(x->message);
    x->fault_text = http_message_fault_text(x->message);
    exchange_step(x);
}

void exchange_on_client_gone(struct exchange *x, const char *why)
{
    x->client = NULL;
    x->now_us = clock_now_us();
    if (!exchange_sent(x) || !x->request_whole) {
        /* Nothing was sent, or a streamed body is cut: there is no whole request to wait for an answer to. */
        exchange_end(x, REASON_CLIENT_GONE, ENDED_BY_CLIENT, why);
        return;
    }
    (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
    x->answer_paused = false;
    call_resume(&x->call);
}

void exchange_on_client_writable(struct exchange *x)
{
    if (x->answer_paused) {
        x->answer_paused = false;
        call_resume(&x->call);
    }
    exchange_step(x);
}

void exchange_on_cut(struct exchange *x)
{
    x->now_us = clock_now_us();
    if (exchange_sent(x)) {
        exchange_end(x, x->answer_begun ? REASON_RESPONSE_INCOMPLETE : REASON_RESPONSE_TIMEOUT, ENDED_BY_WEIR,
                     "weir had to end before the answer was complete");
    } else {
        exchange_end(x, REASON_DRAINING, ENDED_BY_WEIR, "weir is stopping");
    }
}

/* ---- events of the call and the clock ---- */

static void on_ready(void *owner)
{
    struct exchange *x = owner;
    x->link_ready = true;
}

static void on_refused(void *owner, enum call_refusal why, const char *words)
{
    struct exchange *x = owner;
    x->refused = true;
    x->refusal = why;
    (void)bytes_to_text(bytes_from_text(words), x->why, sizeof x->why);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct exchange *x = owner;
    x->answer_head = head;
}

static void on_body(void *owner, struct bytes body)
{
    struct exchange *x = owner;
    struct gate *gate = x->gate;
    if (gate->part_count == STREAM_PARTS_MAX) {
        exchange_step(x); /* writes what has come so far */
        gate->part_count = 0;
    }
    gate->parts[gate->part_count++] = body;
}

static void on_end(void *owner)
{
    struct exchange *x = owner;
    x->answer_whole = true;
}

static void on_failed(void *owner, enum call_failure why, const char *words)
{
    struct exchange *x = owner;
    x->failed = true;
    x->failure = why;
    (void)bytes_to_text(bytes_from_text(words), x->why, sizeof x->why);
}

static void on_writable(void *owner)
{
    (void)owner; /* the step looks at the queue itself */
}

static void on_step(void *owner)
{
    struct exchange *x = owner;
    exchange_step(x);
    x->gate->part_count = 0;
}

static const struct call_ops call_ops = {
    .on_ready = on_ready,
    .on_refused = on_refused,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_failed = on_failed,
    .on_writable = on_writable,
    .on_step = on_step,
};

static void on_timer(struct timer *timer)
{
    struct exchange *x = container_of(timer, struct exchange, timer);
    x->timed_out = true;
    exchange_step(x);
}
