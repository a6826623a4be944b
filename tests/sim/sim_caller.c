/*
 * Who asks without a key, beside the payments of money runs: reads and writes
 * that have no record, so that their limits are asked for alone. Some come in
 * crowds, some again and again without a pause, some when they have been told
 * to, and some leave in the midst.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum habit {
    HABIT_STEADY,   /* one after the other, with pauses */
    HABIT_HASTY,    /* without */
    HABIT_PATIENT,  /* comes back when it has been told to */
    HABIT_FLEETING, /* leaves, often before it has an answer */
    HABIT_COUNT
};

struct sim_caller {
    int tenant, merchant, host;
    enum habit habit;
    struct addr from;
    unsigned asks_left;
    struct sim_event next, leave;
    struct stream *stream;          /* NULL: between two requests */
    struct sim_sender sender;
    struct arena arena;
    struct http_message *message;
    uint64_t body_seen;
    struct sim_case *about;         /* what it asks just now */
    const struct sim_case *refused; /* what limits refused before; NULL: they did not */
};

/* ---- between two requests ---- */

static uint64_t pause_us(const struct sim_caller *caller)
{
    if (caller->refused != NULL) {
        return caller->refused->promise.due_us - sim.now_us;
    }
    return caller->habit == HABIT_HASTY ? sim_below(20 * SIM_MS) : sim_chance(70) ? sim_below(800 * SIM_MS) : sim_below(8 * SIM_S);
}

static void part(struct sim_caller *caller)
{
    sim_sender_stop(&caller->sender);
    sim_cancel(&caller->leave);
    caller->message = NULL;
    caller->stream->peer = NULL;
    caller->stream = NULL;
    caller->about = NULL;
    if (caller->asks_left > 0) {
        sim_after(&caller->next, pause_us(caller));
    }
}

/* It goes, whatever it still waits for. */
static void on_leave(struct sim_event *event)
{
    struct sim_caller *caller = container_of(event, struct sim_caller, leave);
    caller->about->gone = true;
    caller->refused = NULL;
    if (sim_chance(50)) {
        sim_reset(caller->stream);
    } else {
        sim_leave(caller->stream);
    }
    part(caller);
}

/* ---- answers ---- */

static void on_head(struct sim_caller *caller, const struct http_head *head)
{
    struct sim_case *about = caller->about;
    sim_seen_head(about, head);
    caller->body_seen = 0;
    sim_note("called head", about->nonce, head->status, about->seen.reason);
    if (!about->seen.own && about->seen.nonce != about->nonce) {
        sim_violated("n%" PRIu64 " got the answer of n%" PRIu64, about->nonce, about->seen.nonce);
    }
}

static void on_body(struct sim_caller *caller, struct bytes body)
{
    struct sim_case *about = caller->about;
    if (!about->seen.own && !sim_pattern_is(body, 'a', about->nonce, caller->body_seen)) {
        sim_violated("n%" PRIu64 " got another's body", about->nonce);
    }
    caller->body_seen += body.len;
}

static void on_whole(struct sim_caller *caller)
{
    struct sim_case *about = caller->about;
    bool heeds = caller->habit == HABIT_PATIENT && about->seen.reason == REASON_RATE_LIMITED;
    about->seen.whole = true;
    caller->refused = heeds && about->promise.due_us > sim.now_us ? about : NULL;
    sim_leave(caller->stream);
    part(caller);
}

static void renew_message(struct sim_caller *caller)
{
    const struct http_limits limits = {.head_bytes_max = 64 * 1024, .target_bytes_max = 1024, .body_bytes_max = UINT64_MAX};
    arena_reset(&caller->arena);
    caller->message = http_message_new(&caller->arena, HTTP_RESPONSE_MESSAGE, &limits, false);
    CHECK(caller->message != NULL);
}

static void on_data(void *peer, struct bytes data)
{
    struct sim_caller *caller = peer;
    while (caller != NULL && caller->stream != NULL) {
        struct bytes body;
        if (caller->message == NULL) {
            renew_message(caller);
        }
        switch (http_message_feed(caller->message, &data, &body)) {
        case HTTP_HEAD:
            on_head(caller, http_message_head(caller->message));
            break;
        case HTTP_BODY:
            on_body(caller, body);
            break;
        case HTTP_END:
            on_whole(caller);
            return;
        case HTTP_FAULTED:
            sim_violated("n%" PRIu64 " got bytes that are no answer: %s", caller->about->nonce,
                         http_message_fault_text(caller->message));
        case HTTP_MORE:
            return;
        }
    }
}

static void on_end(void *peer, bool reset)
{
    struct sim_caller *caller = peer;
    if (caller == NULL) {
        return;
    }
    caller->about->reset = reset;
    caller->refused = NULL;
    sim_leave(caller->stream);
    part(caller);
}

static const struct sim_peer_ops caller_ops = {.on_data = on_data, .on_end = on_end};

/* ---- asking ---- */

static struct sim_case *new_case(const struct sim_caller *caller)
{
    struct sim_case *about = sim_case_new();
    about->kind = KIND_VALID;
    about->method = sim_chance(60) ? "GET" : "POST";
    about->safe = about->method[0] == 'G';
    about->route = (int)sim_below(SIM_ROUTES_MAX);
    about->tenant = caller->tenant;
    about->merchant = caller->merchant;
    about->host = caller->host;
    about->body_len = about->safe ? 0 : sim_below(200);
    about->lone = caller->habit != HABIT_FLEETING;
    return about;
}

static void write_request(const struct sim_case *about, struct sim_bytes *out)
{
    sim_bytes_text(out, "%s /r%d/n%" PRIu64 " HTTP/1.1\r\nHost: pay.example.com\r\n", about->method, about->route, about->nonce);
    if (about->tenant != 0) {
        sim_write_credential(about->tenant - 1, out);
    }
    if (about->merchant != 0) {
        sim_bytes_text(out, "X-Merchant: m%d\r\n", about->merchant);
    }
    sim_bytes_text(out, "Content-Length: %" PRIu64 "\r\n\r\n", about->body_len);
    sim_pattern(out, 'b', about->body, 0, about->body_len);
}

static void on_sent(struct sim_sender *sender)
{
    struct sim_caller *caller = container_of(sender, struct sim_caller, sender);
    caller->about->sent_at_us = sim.now_us;
}

static void on_next(struct sim_event *event)
{
    struct sim_caller *caller = container_of(event, struct sim_caller, next);
    if (sim.over) {
        caller->asks_left = 0;
        return;
    }
    caller->stream = sim_dial(sim_port(&sim.plans[1], 0, (int)sim_below((uint64_t)sim.seats)), &caller->from, &caller_ops, caller);
    if (caller->stream == NULL) { /* nobody listens there just now */
        sim_after(&caller->next, sim_below(500 * SIM_MS));
        return;
    }
    caller->stream->grain = 0; /* it reads what there is */
    caller->asks_left--;
    caller->about = new_case(caller);
    caller->about->promised = caller->refused;
    caller->about->client = caller->stream;
    sim_note("calls", caller->about->nonce, (uint64_t)caller->habit, 0);
    sim_sender_init(&caller->sender, caller->stream, on_sent);
    write_request(caller->about, &caller->sender.bytes);
    uint64_t base = caller->stream->in_sent;
    sim_mark(caller->stream, base + 1, MARK_REQUEST_BEGUN, caller->about);
    sim_mark(caller->stream, base + sim_bytes_len(&caller->sender.bytes), MARK_REQUEST_WHOLE, caller->about);
    sim_sender_start(&caller->sender, 0);
    if (caller->habit == HABIT_FLEETING) {
        sim_after(&caller->leave, sim_chance(50) ? sim_below(15 * SIM_MS) : sim_below(2 * SIM_S));
    }
}

/* ---- who there is ---- */

static struct sim_caller *add_caller(uint64_t begin_us)
{
    struct sim_caller *caller = calloc(1, sizeof *caller);
    char text[16];
    if (sim.caller_count == sim.caller_size) {
        sim.caller_size = sim.caller_size * 2 + 16;
        sim.callers = realloc(sim.callers, sim.caller_size * sizeof(struct sim_caller *));
    }
    CHECK(caller != NULL && sim.callers != NULL);
    sim.callers[sim.caller_count++] = caller;
    caller->habit = (enum habit)sim_below(HABIT_COUNT);
    caller->asks_left = (unsigned)sim_between(1, 12);
    caller->tenant = (int)sim_below(SIM_TENANTS_MAX + 1);
    caller->merchant = (int)sim_below(SIM_MERCHANTS_MAX + 1);
    caller->host = (int)sim_between(1, 7);
    caller->next.fire = on_next;
    caller->leave.fire = on_leave;
    arena_init(&caller->arena, &sim.blocks);
    (void)snprintf(text, sizeof text, "10.1.0.%d", caller->host);
    CHECK(addr_parse_host(bytes_from_text(text), (uint16_t)(30000 + sim.caller_count), &caller->from));
    sim_at(&caller->next, begin_us + sim_below(10 * SIM_MS));
    return caller;
}

void sim_callers_begin(void)
{
    if (!sim.weather.limits && !sim.sick) {
        return;
    }
    for (uint64_t left = sim.sick ? sim_between(4, 16) : sim_between(1, 8); left > 0; left--) {
        uint64_t begin_us = sim.now_us + sim_below(sim_chance(70) ? 20 * SIM_S : 60 * SIM_S);
        struct sim_caller *first = add_caller(begin_us);
        for (uint64_t more = sim_chance(30) ? sim_between(1, 6) : 0; more > 0; more--) { /* a crowd */
            struct sim_caller *other = add_caller(begin_us);
            other->tenant = first->tenant;
            other->merchant = first->merchant;
        }
    }
}

bool sim_callers_done(void)
{
    for (size_t i = 0; i < sim.caller_count; i++) {
        if (sim.callers[i]->asks_left > 0 || sim.callers[i]->stream != NULL) {
            return false;
        }
    }
    return true;
}

void sim_callers_end(void)
{
    for (size_t i = 0; i < sim.caller_count; i++) {
        arena_reset(&sim.callers[i]->arena);
        sim_bytes_free(&sim.callers[i]->sender.bytes);
        free(sim.callers[i]);
    }
    free(sim.callers);
}
