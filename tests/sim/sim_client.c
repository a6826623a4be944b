/*
 * Clients: each makes connections, one after the other, sends requests on them
 * one by one or in bursts, reads the answers as fast as it likes, and leaves in
 * every way there is. Each answer must belong to the request whose turn it is.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PROXIED_HOST 101 /* of 192.0.2.1, which is no client's own */

enum leaving { LEAVING_NOT, LEAVING_FIN, LEAVING_CLOSE, LEAVING_RESET };

struct sim_client {
    int number;
    struct addr from;
    int host;                        /* the last byte of its address, as weir sees it */
    uint64_t connections_left;
    uint64_t requests_left;          /* on this connection */
    struct stream *stream;           /* NULL: between connections */
    bool ended;                      /* weir ended its side or reset */
    struct sim_event next;           /* a connection, a request, or a rest */
    struct sim_event leave, go_on;
    enum leaving leaving;            /* when `leave` fires, or behind what is sent */
    bool leaves_behind;              /* ... as soon as all is sent */
    struct sim_sender sender;
    size_t held_back;                /* of a body, until weir says 100 or time passes */
    struct sim_bytes rest;
    struct sim_case *asked[SIM_BURST_MAX];
    int asked_count, answered_count;
    struct arena arena;
    struct http_message *message;    /* the answer being read */
    uint64_t body_seen;
    bool slow;
    bool deaf;                       /* had an answer to a HEAD that weir could not know to be one */
    bool stranger;                   /* its PROXY header is wrong */
};

/* ---- between connections ---- */

static void forget_stream(struct sim_client *client)
{
    for (int i = client->answered_count; i < client->asked_count; i++) {
        client->asked[i]->gone = true;
    }
    client->asked_count = client->answered_count = 0;
    sim_sender_stop(&client->sender);
    sim_bytes_cut(&client->rest, 0);
    sim_cancel(&client->leave);
    sim_cancel(&client->go_on);
    client->message = NULL;
    client->stream->peer = NULL; /* what it still hears is nobody's */
    client->stream = NULL;
    sim_after(&client->next, sim_chance(70) ? sim_below(20 * SIM_MS) : sim_below(500 * SIM_MS));
}

/* The client goes for good, whatever it still waits for. */
static void part(struct sim_client *client, enum leaving how)
{
    struct stream *stream = client->stream;
    if (how == LEAVING_RESET) {
        sim_reset(stream);
    } else {
        sim_leave(stream);
    }
    forget_stream(client);
}

static void on_leave(struct sim_event *event)
{
    struct sim_client *client = container_of(event, struct sim_client, leave);
    sim_note("leaving", client->stream->id, client->leaving, client->leaves_behind);
    if (client->leaving == LEAVING_FIN) {
        sim_fin(client->stream); /* and goes on reading */
        client->requests_left = 0;
        return;
    }
    part(client, client->leaving);
}

/* ---- answers ---- */

static struct sim_case *awaited(const struct sim_client *client)
{
    return client->answered_count < client->asked_count ? client->asked[client->answered_count] : NULL;
}

static void copy_field(const struct http_head *head, const char *name, char *text, size_t size)
{
    const struct http_field *field = http_head_find_name(head, bytes_from_text(name));
    (void)bytes_to_text(field != NULL ? field->value : BYTES_NONE, text, size);
}

enum outcome sim_outcome_of(const char *text)
{
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        if (strcmp(text, outcome_name((enum outcome)i)) == 0) {
            return (enum outcome)i;
        }
    }
    sim_violated("an answer says Weir-Outcome: '%s'", text);
}

enum retry sim_retry_of(const char *text)
{
    for (int i = 0; i < RETRY_COUNT; i++) {
        if (strcmp(text, retry_name((enum retry)i)) == 0) {
            return (enum retry)i;
        }
    }
    sim_violated("an answer says Weir-Retry: '%s'", text);
}

static uint64_t number_in(const struct http_head *head, const char *name)
{
    char text[32];
    uint64_t number = 0;
    copy_field(head, name, text, sizeof text);
    return bytes_to_u64(bytes_from_text(text), &number) ? number : 0;
}

void sim_seen_head(struct sim_case *about, const struct http_head *head)
{
    char text[64];
    struct sim_seen *seen = &about->seen;
    seen->begun = true;
    seen->status = head->status;
    seen->close = !head->keep_alive;
    copy_field(head, "weir-request-id", seen->request_id, sizeof seen->request_id);
    copy_field(head, "weir-outcome", text, sizeof text);
    seen->outcome = sim_outcome_of(text);
    copy_field(head, "idempotent-replayed", text, sizeof text);
    seen->replayed = strcmp(text, "true") == 0;
    copy_field(head, "weir-reason", text, sizeof text);
    seen->own = text[0] != '\0' && strcmp(text, "replayed") != 0;
    seen->reason = seen->own ? reason_find(bytes_from_text(text)) : text[0] != '\0' ? REASON_REPLAYED : REASON_OK;
    seen->nonce = number_in(head, "sim-nonce");
    seen->answer = number_in(head, "sim-answer");
    seen->retry_after_s = number_in(head, "retry-after");
    copy_field(head, "ratelimit", seen->limits, sizeof seen->limits);
    if (seen->own) {
        copy_field(head, "weir-retry", text, sizeof text);
        seen->retry = sim_retry_of(text);
    }
    promise_read(about);
}

static void on_head(struct sim_client *client, const struct http_head *head)
{
    struct sim_case *about = awaited(client);
    struct sim_seen *seen = &about->seen;
    sim_seen_head(about, head);
    client->body_seen = 0;
    sim_note("answer head", about->nonce, head->status, seen->reason);
    if (!seen->own && seen->nonce != about->nonce && !about->poisoned) {
        sim_violated("n%" PRIu64 " got the answer of n%" PRIu64, about->nonce, seen->nonce);
    }
}

static void on_body(struct sim_client *client, struct bytes body)
{
    struct sim_case *about = awaited(client);
    if (!about->seen.own && !about->poisoned && !sim_pattern_is(body, 'a', about->nonce, client->body_seen)) {
        sim_violated("n%" PRIu64 " got another's body", about->nonce);
    }
    client->body_seen += body.len;
}

static void rest_of_connection(struct sim_client *client);

static void on_whole(struct sim_client *client)
{
    struct sim_case *about = awaited(client);
    about->seen.whole = true;
    sim_note("answer whole", about->nonce, client->body_seen, 0);
    client->message = NULL;
    client->answered_count++;
    client->deaf = about->method[0] == 'H' && about->seen.own && about->seen.close;
    if (about->seen.close) {
        client->requests_left = 0;
    }
    if (client->answered_count == client->asked_count || about->seen.close) {
        rest_of_connection(client);
    }
}

static void renew_message(struct sim_client *client)
{
    const struct http_limits limits = {.head_bytes_max = 256 * 1024, .target_bytes_max = 1024, .body_bytes_max = UINT64_MAX};
    struct sim_case *about = awaited(client);
    if (about == NULL) {
        sim_violated("client %d got bytes that it did not ask for", client->number);
    }
    arena_reset(&client->arena);
    client->message = http_message_new(&client->arena, HTTP_RESPONSE_MESSAGE, &limits, about->method[0] == 'H');
    CHECK(client->message != NULL);
}

static void release_body(struct sim_client *client)
{
    if (client->held_back > 0) {
        client->held_back = 0;
        sim_cancel(&client->go_on);
        sim_bytes_add(&client->sender.bytes, sim_bytes_all(&client->rest));
        sim_bytes_cut(&client->rest, 0);
        sim_sender_start(&client->sender, sim_below(2 * SIM_MS));
    }
}

static enum http_event read_some(struct sim_client *client, struct bytes *data)
{
    struct bytes body;
    enum http_event event = http_message_feed(client->message, data, &body);
    switch (event) {
    case HTTP_HEAD:
        on_head(client, http_message_head(client->message));
        break;
    case HTTP_BODY:
        on_body(client, body);
        break;
    case HTTP_END:
        on_whole(client);
        break;
    case HTTP_FAULTED:
        sim_violated("client %d got bytes that are no answer: %s", client->number,
                     http_message_fault_text(client->message));
    case HTTP_MORE:
        break;
    }
    return event;
}

static void on_data(void *peer, struct bytes data)
{
    struct sim_client *client = peer;
    enum http_event event = HTTP_END;
    while (client != NULL && !client->deaf && (data.len > 0 || event != HTTP_END)) {
        if (client->message == NULL) {
            renew_message(client);
        }
        event = read_some(client, &data);
        if (event == HTTP_MORE) {
            break;
        }
    }
    if (client != NULL) {
        release_body(client); /* 100 Continue, or an answer before it */
    }
}

/* ---- requests ---- */

static void mark_requests(struct sim_client *client, const size_t begins[], const size_t ends[])
{
    uint64_t base = client->stream->in_sent;
    for (int i = 0; i < client->asked_count; i++) {
        sim_mark(client->stream, base + begins[i] + 1, MARK_REQUEST_BEGUN, client->asked[i]);
        if (client->asked[i]->kind != KIND_CUT) {
            sim_mark(client->stream, base + ends[i], MARK_REQUEST_WHOLE, client->asked[i]);
        }
    }
}

/* How this burst ends when it does not end well. */
static void choose_leaving(struct sim_client *client)
{
    static const enum leaving ways[] = {LEAVING_FIN, LEAVING_FIN, LEAVING_CLOSE, LEAVING_RESET};
    client->leaving = LEAVING_NOT;
    client->leaves_behind = false;
    if (!sim_chance(sim.weather.leave)) {
        return;
    }
    client->leaving = ways[sim_below(ARRAY_COUNT(ways))];
    if (sim_chance(50)) {
        client->leaves_behind = true;
    } else {
        sim_after(&client->leave, sim_chance(60) ? sim_below(10 * SIM_MS) : sim_below(600 * SIM_MS));
    }
}

static void note_behaviour(struct sim_client *client)
{
    struct sim_case *last = client->asked[client->asked_count - 1];
    bool leaves = client->leaving == LEAVING_CLOSE || client->leaving == LEAVING_RESET ||
                  (client->leaving == LEAVING_FIN && !client->leaves_behind);
    last->lone = client->asked_count == 1 && !leaves && !client->slow && !client->stranger && last->kind == KIND_VALID;
    sim_note("behaves", last->nonce, client->leaving, client->stream->id);
    last->half_closed = client->leaving == LEAVING_FIN && client->leaves_behind;
}

static void on_next(struct sim_event *event);

static void ask(struct sim_client *client)
{
    size_t begins[SIM_BURST_MAX], ends[SIM_BURST_MAX];
    bool many = sim_chance(sim.weather.burst) && client->requests_left > 1;
    uint64_t count = many ? sim_between(2, SIM_BURST_MAX) : 1;
    struct sim_bytes *bytes = &client->sender.bytes;
    client->asked_count = client->answered_count = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct sim_case *about = sim_case_new();
        begins[i] = sim_bytes_len(bytes);
        about->host = client->host;
        sim_request_make(about, bytes, i + 1 == count);
        ends[i] = sim_bytes_len(bytes);
        about->client = client->stream;
        about->pipelined = count > 1;
        about->expects = about->expects && count == 1;
        client->asked[client->asked_count++] = about;
        sim.asked++;
    }
    client->requests_left -= client->requests_left < count ? client->requests_left : count;
    sim.counts.bursts += count > 1 ? 1 : 0;
    mark_requests(client, begins, ends);
    choose_leaving(client);
    note_behaviour(client);
    struct sim_case *first = client->asked[0];
    if (first->expects && first->kind == KIND_VALID) {
        sim_bytes_add(&client->rest, bytes_skip(sim_bytes_all(bytes), first->head_len));
        sim_bytes_cut(bytes, first->head_len);
        client->held_back = sim_bytes_len(&client->rest);
        sim_after(&client->go_on, sim_between(5 * SIM_MS, 200 * SIM_MS));
    }
    bool slow = sim_chance(10);
    client->sender.piece = slow ? 1 + (size_t)sim_below(200) : sim_chance(30) ? 1 + (size_t)sim_below(5000) : 0;
    client->sender.gap_us = slow ? sim_below(60 * SIM_MS) : sim_below(SIM_MS);
    sim_sender_start(&client->sender, 0);
}

static void on_sent(struct sim_sender *sender)
{
    struct sim_client *client = container_of(sender, struct sim_client, sender);
    struct sim_case *last = client->asked_count > 0 ? client->asked[client->asked_count - 1] : NULL;
    if (client->held_back > 0) {
        return;
    }
    if (last != NULL && last->kind == KIND_CUT && client->leaving == LEAVING_NOT && sim_chance(70)) {
        client->leaving = sim_chance(50) ? LEAVING_CLOSE : LEAVING_RESET;
        client->leaves_behind = true;
    }
    for (int i = 0; i < client->asked_count; i++) {
        client->asked[i]->sent_at_us = client->asked[i]->kind == KIND_CUT ? 0 : sim.now_us;
    }
    if (client->leaves_behind) {
        sim_after(&client->leave, sim_chance(50) ? 0 : sim_below(SIM_MS));
    }
}

static void on_go_on(struct sim_event *event)
{
    release_body(container_of(event, struct sim_client, go_on));
}

/* All that was asked is answered: another request, or the end. */
static void rest_of_connection(struct sim_client *client)
{
    if (client->requests_left > 0 && client->leaving == LEAVING_NOT && !client->sender.running) {
        sim_after(&client->next, sim_chance(60) ? sim_below(3 * SIM_MS) : sim_below(1500 * SIM_MS));
    } else if (sim_chance(50) && client->leave.place == 0) {
        sim_after(&client->leave, sim_below(50 * SIM_MS));
        client->leaving = sim_chance(70) ? LEAVING_CLOSE : LEAVING_RESET;
    } /* else weir's idle timeout, or its close, ends it */
}

/* ---- a connection ---- */

static void on_end(void *peer, bool reset)
{
    struct sim_client *client = peer;
    if (client == NULL) {
        return;
    }
    for (int i = client->answered_count; i < client->asked_count; i++) {
        struct sim_case *about = client->asked[i];
        about->reset = reset;
        if (about->lone && !about->seen.begun) {
            oracle_ignored(about, client->stream);
        }
    }
    sim_leave(client->stream);
    forget_stream(client);
}

static const struct sim_peer_ops client_ops = {.on_data = on_data, .on_end = on_end};

static void choose_reading(struct sim_client *client)
{
    client->slow = sim_chance(sim.weather.slow_reader);
    if (!client->slow) {
        return;
    }
    if (sim_chance(20)) {
        sim_read_rate(client->stream, 0, 0); /* reads nothing; leaves at last */
        client->leaving = sim_chance(50) ? LEAVING_CLOSE : LEAVING_RESET;
        sim_after(&client->leave, sim_between(100 * SIM_MS, 3 * SIM_S));
    } else {
        sim_read_rate(client->stream, 1 + (size_t)sim_below(20000), sim_below(60 * SIM_MS));
    }
}

static void connect_now(struct sim_client *client)
{
    const struct sim_plan *plan = sim_plan_of(sim.weirs[0]);
    const struct sim_listener_plan *listener = &plan->listeners[sim_below((uint64_t)plan->listener_count)];
    client->connections_left--;
    client->stream = sim_dial(listener->port, &client->from, &client_ops, client);
    if (client->stream == NULL) {
        sim_after(&client->next, sim_below(300 * SIM_MS));
        return;
    }
    client->requests_left = sim_chance(30) ? 1 : sim_between(1, 12);
    client->held_back = 0;
    client->deaf = false;
    client->leaving = LEAVING_NOT;
    sim_sender_init(&client->sender, client->stream, on_sent);
    client->stranger = listener->proxy && sim_chance(3);
    client->host = listener->proxy ? PROXIED_HOST : ((const uint8_t *)&client->from.u.v4.sin_addr)[3];
    if (listener->proxy) {
        sim_send(client->stream, !client->stranger ? BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n") : BYTES("PROXY what\r\n"));
    }
    choose_reading(client);
    sim_after(&client->next, sim_chance(60) ? 0 : sim_below(200 * SIM_MS));
}

static void on_next(struct sim_event *event)
{
    struct sim_client *client = container_of(event, struct sim_client, next);
    if (sim.over) {
        return;
    }
    if (client->stream == NULL) {
        if (client->connections_left > 0 && sim.asked < sim.exchanges_per_run) {
            connect_now(client);
        }
    } else if (!client->sender.running && client->asked_count == client->answered_count) {
        ask(client);
    }
}

void sim_clients_begin(void)
{
    char text[16];
    sim.client_count = (int)sim_between(1, SIM_CLIENTS_MAX);
    for (int i = 0; i < sim.client_count; i++) {
        struct sim_client *client = calloc(1, sizeof *client);
        CHECK(client != NULL);
        sim.clients[i] = client;
        client->number = i;
        client->connections_left = sim_between(1, 12);
        client->next.fire = on_next;
        client->leave.fire = on_leave;
        client->go_on.fire = on_go_on;
        arena_init(&client->arena, &sim.blocks);
        (void)snprintf(text, sizeof text, "10.1.0.%d", 1 + i % 5);
        CHECK(addr_parse_host(bytes_from_text(text), (uint16_t)(20000 + i), &client->from));
        sim_after(&client->next, sim_below(500 * SIM_MS));
    }
}

bool sim_clients_done(void)
{
    for (int i = 0; i < sim.client_count; i++) {
        const struct sim_client *client = sim.clients[i];
        if (client->stream != NULL || (client->connections_left > 0 && sim.asked < sim.exchanges_per_run)) {
            return false;
        }
    }
    return true;
}

void sim_clients_hurry(void)
{
    for (int i = 0; i < sim.client_count; i++) {
        struct stream *stream = sim.clients[i]->stream;
        if (stream != NULL && stream->peer_takes > 0) {
            stream->grain = 0;
            sim_read_rate(stream, SIZE_MAX, 0);
        }
    }
}

void sim_clients_end(void)
{
    for (int i = 0; i < sim.client_count; i++) {
        struct sim_client *client = sim.clients[i];
        arena_reset(&client->arena);
        sim_bytes_free(&client->sender.bytes);
        sim_bytes_free(&client->rest);
        free(client);
    }
}
