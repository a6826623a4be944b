/*
 * One request and its answer: the whole story, in life order.
 *
 *  client                      exchange                                  far shores
 *  ------                      --------                                  ----------
 *  first byte ---------------> HEAD    parse, byte check, policy
 *                              ROUTE   host, route, sizes, what is shed  policy/route, policy/shed
 *                                      and the limits of this process    policy/limit
 *  body -------------------->  BODY    held whole and checked
 *                              ADMIT   keyed: claim the key's record --> store
 *                                      within its limits; else a token   policy/lease
 *                              LINK    choose an endpoint, get a link -> upstream/call
 *                                      or another processor, if nothing   failover.c
 *                                      was sent and the route has one
 *  =================== first byte out: money may move from here ==================
 *                              SEND    head and body ----------------->  upstream/link
 *                              WAIT    for the answer's head; an attempt that broke may be
 *                                      made once more, to the same one    again.c
 *  answer <------------------  RELAY   as it comes, with back-pressure; a keyed one is held for
 *                              COMMIT  the record, 50 ms at most ------> store
 *                              LATE    answered unknown: listens on, for the record alone
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
#include "claim.h"
#include "limits.h"
#include "shedding.h"

#include "weir/base/clock.h"

enum step { STEP_NEXT, STEP_WAIT };

static void set_deadline(struct exchange *x, uint64_t due_us)
{
    timer_set(&x->timer, x->total_due_us != 0 && x->total_due_us < due_us ? x->total_due_us : due_us);
}

/* ---- HEAD and ROUTE ---- */

static enum step end_here(struct exchange *x, enum reason reason, enum ended_by by, const char *why)
{
    exchange_end(x, reason, by, why);
    return STEP_WAIT;
}

/* A request that broke off, whichever phase reads it: it has not been answered, and what was read is thrown away. */
static bool request_broke(struct exchange *x)
{
    if (x->fault != HTTP_FAULT_NONE) {
        exchange_end(x, reason_of_fault(x->fault), ended_by_fault(x->fault), x->fault_text);
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
    x->processor = route->processor;
    x->processor_conf = route->processor_conf;
    x->circuit = route->circuit;
    x->keyed = route->profile->key_place == KEY_IN_HEADER &&
               http_head_find_name(head, route->profile->key) != NULL;
    x->streams_request = route->conf->stream_request;
    x->total_due_us = x->phase_at_us[PHASE_HEAD] + route->total_ms * CLOCK_US_PER_MS;
    if (route->body_bytes_max != 0) {
        http_message_set_body_max(x->message, route->body_bytes_max);
    }
    stats_add(x->gate->options.stats, route->stat_in_flight, 1);
}

/* A caller that must be known and is not. */
static bool is_stranger(const struct exchange *x)
{
    return generation_conf(x->generation)->tenants.refuse_unknown && !scope_of(x).known;
}

static enum step step_route(struct exchange *x)
{
    const struct http_head *head = x->head;
    x->safe_method = http_method_is_safe(head->method);
    if (misdirected(x)) {
        return end_here(x, REASON_MISDIRECTED, ENDED_BY_CLIENT, "Host is not the name of the TLS handshake");
    }
    bool stranger = is_stranger(x);
    x->asks_outcome = !stranger && outcome_asked(x);
    if (x->asks_outcome) {
        exchange_enter(x, PHASE_BODY);
        return STEP_NEXT;
    }
    struct route_ready *route = generation_route(x->generation, head);
    if (route == NULL) {
        return stranger ? end_here(x, REASON_UNKNOWN_TENANT, ENDED_BY_CLIENT, "") : end_here(x, REASON_NO_ROUTE, ENDED_BY_WEIR, "");
    }
    take_route(x, route);
    if (stranger) { /* whoever tries one credential after the other is slowed by its address */
        return limits_enter(x, false) == LIMITS_ENDED ? STEP_NEXT
                                                      : end_here(x, REASON_UNKNOWN_TENANT, ENDED_BY_CLIENT, "");
    }
    uint64_t body_max = route->body_bytes_max != 0 ? route->body_bytes_max : x->listener->body_bytes;
    if (head->framing == HTTP_FRAMING_LENGTH && head->content_length > body_max) {
        return end_here(x, REASON_BODY_TOO_LARGE, ENDED_BY_CLIENT, "Content-Length is above the limit");
    }
    bool sheds = shedding_refuses(x);
    x->known_only = sheds && !x->streams_request && claim_concerns(x); /* a key: it may be a replay */
    if (sheds && !x->known_only) { /* turning away costs nearly half of serving: who waits for it does not ask again meanwhile */
        shedding_count(x);
        exchange_refuse(x, REASON_SHED, ENDED_BY_WEIR, "more comes in than can be served: requests of its class wait",
                        shedding_hold_us(x));
        return STEP_NEXT;
    }
    if (limits_enter(x, true) == LIMITS_ENDED) {
        return STEP_NEXT;
    }
    if (head->expects_continue && head->framing != HTTP_FRAMING_NONE && !x->request_whole) {
        x->client->ops->go_on(x->client);
    }
    exchange_enter(x, !x->streams_request ? PHASE_BODY : limits_are_due(x) ? PHASE_ADMIT : PHASE_LINK);
    return STEP_NEXT;
}

/* ---- BODY ---- */

static enum step step_body(struct exchange *x)
{
    if (x->held) {
        exchange_hold(x);
        return STEP_WAIT;
    }
    if (request_broke(x)) {
        return STEP_WAIT;
    }
    if (!x->request_whole) {
        set_deadline(x, x->phase_at_us[PHASE_ROUTE] + x->listener->body_ms * CLOCK_US_PER_MS);
        return STEP_WAIT;
    }
    exchange_enter(x, x->asks_outcome || limits_are_due(x) || claim_concerns(x) ? PHASE_ADMIT : PHASE_LINK);
    return STEP_NEXT;
}

/* ---- ADMIT ---- */

/* Its record, which may bring its limits along. True: it has it, or needs none. */
static bool find_record(struct exchange *x)
{
    if (!x->admitted) {
        bool needs_none = !x->asks_outcome && (x->streams_request || !claim_concerns(x));
        x->admitted = needs_none || (x->asks_outcome ? outcome_step(x) : admit_step(x)) == ADMIT_GO;
    }
    return x->admitted;
}

static enum step step_admit(struct exchange *x)
{
    if (x->fault != HTTP_FAULT_NONE) { /* a streamed body broke while its limits were asked for */
        return end_here(x, reason_of_fault(x->fault), ended_by_fault(x->fault), x->fault_text);
    }
    bool found = find_record(x);
    if (found && x->client == NULL && !exchange_sent(x)) {
        return end_here(x, REASON_CLIENT_GONE, ENDED_BY_CLIENT, x->why);
    }
    if (found && limits_step(x) == LIMITS_GO) {
        exchange_enter(x, PHASE_LINK);
        return STEP_NEXT;
    }
    return STEP_WAIT;
}

/* ---- LINK ---- */

static enum step step_link(struct exchange *x)
{
    if (!link_step(x)) {
        return STEP_WAIT;
    }
    x->now_us = clock_now_us(); /* what went before is weir's own part of the time */
    exchange_enter(x, PHASE_SEND);
    return STEP_NEXT;
}

/* ---- SEND ---- */

/* No byte was taken, so another link may try; a few times at most. */
static enum step try_another_link(struct exchange *x, enum err err)
{
    uint64_t wait_us = 0; /* what reached nobody need not wait */
    again_drop_call(x);
    exchange_enter(x, PHASE_LINK);
    if (++x->link_tries > 2 || !processor_take_retry(x->processor, false, x->link_tries, &wait_us)) {
        return end_here(x, REASON_CONNECT_FAILED, ENDED_BY_PROCESSOR, err_sentence(err));
    }
    return STEP_NEXT;
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

/* The last look before the first byte. */
static bool may_still_send(struct exchange *x)
{
    if (x->handed_over) {
        return true;
    }
    if (x->now_us >= x->total_due_us) {
        exchange_end(x, REASON_DEADLINE_BEFORE_SEND, ENDED_BY_TIMEOUT, "the request's time was over before it could be sent");
        return false;
    }
    if (x->claim != NULL && !admit_may_send(x->claim)) {
        exchange_end(x, REASON_DEADLINE_BEFORE_SEND, ENDED_BY_WEIR, "the lease on the key's record may be over");
        return false;
    }
    return true;
}

static enum step wait_in_send(struct exchange *x)
{
    uint64_t body_due_us = x->phase_at_us[PHASE_ROUTE] + x->listener->body_ms * CLOCK_US_PER_MS;
    set_deadline(x, client_owes_body(x) ? body_due_us : x->total_due_us);
    return STEP_WAIT;
}

static enum step send_timed_out(struct exchange *x)
{
    if (client_owes_body(x)) {
        return end_here(x, REASON_REQUEST_TIMEOUT, ENDED_BY_TIMEOUT, "the body was not complete in time");
    }
    return end_here(x, x->handed_over ? REASON_RESPONSE_TIMEOUT : REASON_DEADLINE_BEFORE_SEND, ENDED_BY_TIMEOUT,
                    "the request was not taken in time");
}

static enum step send_broke(struct exchange *x, enum err err)
{
    if (x->handed_over) {
        return again_begin(x) ? STEP_NEXT : end_here(x, REASON_WRITE_FAILED, ENDED_BY_PROCESSOR, err_sentence(err));
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
        return end_here(x, reason_of_fault(x->fault), ended_by_fault(x->fault), x->fault_text);
    }
    if (x->timed_out) {
        return send_timed_out(x);
    }
    if (!may_still_send(x)) {
        return STEP_WAIT;
    }
    while (!x->call.request_done) {
        if (call_queued_bytes(&x->call) > STREAM_QUEUE_HIGH_BYTES) {
            return wait_in_send(x); /* the link steps us again when its queue has room */
        }
        if (client_owes_body(x)) {
            if (x->client != NULL) {
                x->client->ops->resume(x->client);
            }
            return wait_in_send(x);
        }
        struct stream_wrote wrote = forward_some(x);
        if (wrote.err != ERR_OK) {
            return send_broke(x, wrote.err);
        }
    }
    return request_out(x);
}

/* ---- WAIT ---- */

static enum step step_wait(struct exchange *x)
{
    if (x->answer_head != NULL) {
        exchange_enter(x, PHASE_RELAY);
        return STEP_NEXT;
    }
    if (x->failed) {
        return again_begin(x) ? STEP_NEXT : end_here(x, reason_of_failure(x->failure), ENDED_BY_PROCESSOR, x->why);
    }
    if (x->timed_out) {
        return end_here(x, REASON_RESPONSE_TIMEOUT, ENDED_BY_TIMEOUT, "no answer in time");
    }
    return STEP_WAIT;
}

/* ---- RELAY ---- */

static struct bytes answer_field(const void *answer, struct bytes name)
{
    const struct http_field *field = http_head_find_name(answer, name);
    return field != NULL ? field->value : BYTES_NONE;
}

/* The body may say more, once it is held: commit.c. */
static void judge_answer(struct exchange *x)
{
    x->answer_judged = true;
    x->answer_class = profile_classify(x->route->profile, x->answer_head->status, answer_field, x->answer_head);
}

static void take_answer(struct exchange *x)
{
    judge_answer(x);
    x->status = x->answer_head->status;
    bool definite = x->safe_method || x->answer_class == IDEM_CLASS_FINAL || x->answer_class == IDEM_CLASS_NOT_EXECUTED;
    x->outcome = definite ? OUTCOME_ANSWERED : OUTCOME_UNKNOWN;
}

/* A keyed answer goes to its record before it goes to the client. */
static enum step hold_answer(struct exchange *x)
{
    if (!commit_hold(x->claim) || x->answer_whole) {
        exchange_enter(x, PHASE_COMMIT);
        return STEP_NEXT;
    }
    if (x->failed) {
        return again_begin(x) ? STEP_NEXT : end_here(x, reason_of_failure(x->failure), ENDED_BY_PROCESSOR, x->why);
    }
    if (x->timed_out) {
        return end_here(x, REASON_RESPONSE_TIMEOUT, ENDED_BY_TIMEOUT, "the answer was not complete in time");
    }
    return STEP_WAIT;
}

static enum step step_relay(struct exchange *x)
{
    if (!x->answer_judged) {
        take_answer(x);
        timer_set(&x->timer, x->total_due_us); /* the answer began in time; the rest has what is left of the total */
    }
    if (x->claim != NULL && !x->claim->streaming) {
        return hold_answer(x);
    }
    if (x->claim == NULL) {
        limits_hear(x); /* a keyed one is held: commit.c sees all of it */
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

/* ---- COMMIT ---- */

static enum step answered(struct exchange *x)
{
    return x->client != NULL ? end_here(x, REASON_OK, ENDED_NORMAL, "")
                             : end_here(x, REASON_CLIENT_GONE, ENDED_BY_CLIENT, x->why);
}

static enum step step_commit(struct exchange *x)
{
    struct claim *claim = x->claim;
    buf_reset(&x->body); /* it was answered: it is not sent again */
    struct stored stored;
    switch (commit_step(claim)) {
    case COMMIT_WAIT:
        return STEP_WAIT;
    case COMMIT_STORED:
        if (stored_open(claim, claim->result.answer, &stored) && stored_reply(x, &stored)) {
            return end_here(x, REASON_REPLAYED, ENDED_NORMAL, "");
        }
        break; /* its seal is gone: the processor's own replay is as good */
    case COMMIT_ANSWER:
        break;
    }
    commit_answer(claim, x->answer_whole);
    if (x->answer_whole) {
        return answered(x);
    }
    claim->streaming = true;
    timer_set(&x->timer, x->total_due_us);
    exchange_enter(x, PHASE_RELAY);
    if (!x->answer_paused) {
        call_resume(&x->call);
    }
    return STEP_NEXT;
}

/* ---- LATE ---- */

/* The client has its answer, and it was that nothing is known. What still comes is for the record. */
static enum step step_late(struct exchange *x)
{
    if (x->answer_head != NULL && !x->answer_judged) {
        judge_answer(x);
    }
    bool fits = commit_hold(x->claim);
    if (x->answer_whole || (!fits && x->answer_head != NULL)) {
        commit_late(x->claim);
        exchange_finish(x);
    } else if (x->failed || x->timed_out) {
        exchange_finish(x);
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
        case PHASE_ADMIT:
            step = step_admit(x);
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
        case PHASE_COMMIT:
            step = step_commit(x);
            break;
        case PHASE_LATE:
            step = step_late(x);
            break;
        case PHASE_DONE:
        case PHASE_COUNT:
            step = STEP_WAIT;
            break;
        }
    }
    x->stepping = false;
}
