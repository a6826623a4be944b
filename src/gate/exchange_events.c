/*
 * What happens to an exchange from outside: its client, its call, its clock.
 * Every event records a fact and steps; none decides.
 */
#include "claim.h"

#include "weir/base/clock.h"

/* ---- events of the client ---- */

void exchange_on_head(struct exchange *x)
{
    x->head = http_message_head(x->message);
    exchange_step(x);
}

void exchange_on_body(struct exchange *x, struct bytes body)
{
    x->bytes_in += body.len;
    if (x->phase == PHASE_DONE || x->held) {
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
    if (x->phase == PHASE_ADMIT && !exchange_sent(x) && admit_asks(x)) {
        /* It ends with the store's answer: the next one with its key, perhaps the same client's, waits for that. */
        (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
        return;
    }
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
    if (x->phase == PHASE_COMMIT) { /* its answer is there: the client need not wait for the store */
        x->timed_out = true;
        exchange_step(x);
    }
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

void exchange_note_refused(struct exchange *x, enum reason reason, enum ended_by by, const char *why, uint64_t wait_us)
{
    x->refused = true;
    x->refused_reason = reason;
    x->refused_by = by;
    x->refused_us = wait_us;
    (void)bytes_to_text(bytes_from_text(why), x->why, sizeof x->why);
}

void exchange_call_refused(struct exchange *x, const struct call_refused *refused)
{
    exchange_note_refused(x, reason_of_refusal(refused->why), ended_by_refusal(refused->why), refused->words,
                          refused->wait_us);
}

static void on_refused(void *owner, const struct call_refused *refused)
{
    exchange_call_refused(owner, refused);
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
    if (gate->part_count == GATE_PARTS_MAX) {
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

static void on_step(void *owner)
{
    struct exchange *x = owner;
    exchange_step(x);
    x->gate->part_count = 0;
}

const struct call_ops exchange_call_ops = {
    .on_ready = on_ready,
    .on_refused = on_refused,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_failed = on_failed,
    .on_step = on_step,
};

void exchange_on_timer(struct timer *timer)
{
    struct exchange *x = container_of(timer, struct exchange, timer);
    x->timed_out = true;
    exchange_step(x);
}
