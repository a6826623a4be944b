/*
 * Processors: their addresses, whether they can be reached just now, and the
 * far end of every link, which reads requests, keeps a ledger of what it
 * executed, and answers as sim_answer.c decides. It trusts nothing: a request
 * that it cannot read, or whose body is not its own, is a violation.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

struct sim_server {
    struct stream *stream;
    struct arena arena;
    struct http_message *message; /* being read; NULL: none */
    struct sim_case *now;         /* whose request is being read, or was read last */
    int processor;
    char key[64];                 /* of a payment, as the processor sees it */
    uint64_t body_seen;
    struct sim_answer answer;
    struct sim_sender sender;
    struct sim_event stray;
};

/* ---- places ---- */

static struct sim_place {
    enum sim_mood mood;
    uint64_t until_us;
} places[SIM_PROCESSORS_MAX][SIM_PLACES_MAX];

void sim_places_begin(void)
{
    memset(places, 0, sizeof places);
}

void sim_place_address(int processor, int place, struct addr *addr)
{
    char text[32] = "10.9.0.0";
    text[5] = (char)('0' + processor);
    text[7] = (char)('1' + place);
    CHECK(addr_parse_host(bytes_from_text(text), 8000, addr));
}

int sim_processor_of(const struct addr *addr)
{
    return ((const uint8_t *)&addr->u.v4.sin_addr)[2];
}

int sim_place_of(const struct addr *addr)
{
    return ((const uint8_t *)&addr->u.v4.sin_addr)[3] - 1;
}

static enum sim_mood some_mood(void)
{
    if (sim_chance(sim.weather.refuse)) {
        return sim_chance(60) ? MOOD_REFUSES : sim_chance(50) ? MOOD_UNREACHABLE : MOOD_FAILS_AT_ONCE;
    }
    return sim_chance(sim.weather.silent) ? MOOD_SILENT : MOOD_OK;
}

/* A place stays as it is for a while, but for single connects that go otherwise. */
enum sim_mood sim_place_mood(const struct addr *addr)
{
    const uint8_t *bytes = (const uint8_t *)&addr->u.v4.sin_addr;
    CHECK(bytes[2] < SIM_PROCESSORS_MAX && bytes[3] >= 1 && bytes[3] <= SIM_PLACES_MAX);
    struct sim_place *place = &places[bytes[2]][bytes[3] - 1];
    enum sim_ill ill = sim_ill_of(addr);
    if (ill == ILL_REFUSES || ill == ILL_RESTARTS) {
        return MOOD_REFUSES;
    }
    if (ill == ILL_DROPS) {
        return MOOD_SILENT;
    }
    if (sim_chance(sim.weather.flap)) {
        return some_mood();
    }
    if (place->until_us <= sim.now_us) {
        place->mood = some_mood();
        place->until_us = sim.now_us + sim_between(10 * SIM_MS, 2 * SIM_S);
    }
    return place->mood;
}

/* ---- answering ---- */

static void on_stray(struct sim_event *event)
{
    static const char *const strays[] = {
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "\r\n",
        "500 internal error\r\n",
    };
    struct sim_server *server = container_of(event, struct sim_server, stray);
    struct stream *stream = server->stream;
    if (stream->peer_gone || server->message != NULL || server->sender.running) {
        return; /* busy again */
    }
    sim.counts.strays++;
    if (sim_chance(50)) {
        sim_note("stray fin", stream->id, 0, 0);
        if (sim_chance(50)) {
            sim_leave(stream);
        } else {
            sim_reset(stream);
        }
        return;
    }
    sim_note("stray", stream->id, 0, 0);
    sim_send(stream, bytes_from_text(strays[sim_below(ARRAY_COUNT(strays))]));
    sim_mark(stream, stream->in_delivered + 1, MARK_SPOILT, NULL);
    stream->stray_end = stream->in_sent;
    /* A request that is on its way already cannot be told from its answer. */
    if (stream->last_case != NULL && !stream->last_case->answer_whole) {
        stream->last_case->poisoned = true;
    }
}

static void on_answered(struct sim_sender *sender)
{
    struct sim_server *server = container_of(sender, struct sim_server, sender);
    struct stream *stream = server->stream;
    switch (server->answer.ending) {
    case ENDING_STAY:
        if (server->answer.stray_us > 0) {
            sim_after(&server->stray, server->answer.stray_us);
        }
        break;
    case ENDING_FIN:
        sim_fin(stream);
        break;
    case ENDING_LEAVE:
        sim_leave(stream);
        break;
    case ENDING_RESET:
        sim_reset(stream);
        break;
    }
}

/* ---- checks ---- */

static void answer_check(struct sim_server *server)
{
    enum sim_ill ill = sim_ill_of(&server->stream->addr_peer);
    bool fails = ill == ILL_CHECKED || ill == ILL_GATEWAY || ill == ILL_FAILS;
    sim.counts.checks++;
    sim_bytes_text(&server->sender.bytes, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                   fails ? "503 Sick" : "204 Well");
    server->answer = (struct sim_answer){.delay_us = sim_below(3 * SIM_MS), .ending = ENDING_FIN};
    sim_sender_start(&server->sender, server->answer.delay_us);
}

static void begin_answer(struct sim_server *server)
{
    if (server->answer.silent) {
        return;
    }
    sim_note("answer", server->stream->id, server->now->nonce, sim_bytes_len(&server->sender.bytes));
    server->sender.gap_us = server->answer.gap_us;
    server->sender.piece = server->answer.piece;
    sim_sender_start(&server->sender, server->answer.delay_us);
}

/* ---- reading ---- */

static void on_head(struct sim_server *server)
{
    const struct http_head *head = http_message_head(server->message);
    struct stream *stream = server->stream;
    if (stream->is_check) {
        return;
    }
    struct sim_case *about = sim_case_of(sim_nonce_of(head));
    if (about == NULL) {
        sim_violated("a processor got a request that nobody sent: %.*s", BYTES_ARG(head->target));
    }
    if (!bytes_equal(head->method, bytes_from_text(about->method))) {
        sim_violated("n%" PRIu64 ": a processor got another method", about->nonce);
    }
    if (head->framing == HTTP_FRAMING_LENGTH && head->content_length != about->body_len) {
        sim_violated("n%" PRIu64 ": a processor was told another length", about->nonce);
    }
    if (server->sender.running && stream->stray_end <= stream->in_delivered) {
        sim_violated("n%" PRIu64 ": a link carries it while another's answer is under way", about->nonce);
    }
    sim_note("request", stream->id, about->nonce, head->content_length);
    sim_cancel(&server->stray);
    server->now = about;
    server->body_seen = 0;
    if (server->sender.running) {
        sim_sender_stop(&server->sender); /* strays that are not on their way yet stay unsaid */
        sim_marks_cut(stream);
    }
    if (about->payment != NULL) {
        const struct http_field *key = http_head_find_name(head, BYTES("idempotency-key"));
        (void)bytes_to_text(key != NULL ? key->value : BYTES_NONE, server->key, sizeof server->key);
        server->answer = (struct sim_answer){0}; /* it is looked at when it is whole */
        return;
    }
    sim_answer_make(&server->answer, about, &server->sender.bytes, stream);
    if (server->answer.early) {
        begin_answer(server);
    }
}

static void on_body(struct sim_server *server, struct bytes body)
{
    if (!sim_pattern_is(body, 'b', server->now->body, server->body_seen)) {
        sim_violated("n%" PRIu64 ": a processor got another's body", server->now->nonce);
    }
    server->body_seen += body.len;
}

static void on_end(struct sim_server *server)
{
    struct sim_case *about = server->now;
    if (server->stream->is_check) {
        server->message = NULL;
        answer_check(server);
        return;
    }
    if (server->body_seen != about->body_len || about->kind != KIND_VALID) {
        sim_violated("n%" PRIu64 ": a processor took a part of it for the whole", about->nonce);
    }
    server->message = NULL;
    about->seen_whole = true;
    if (about->payment != NULL) {
        sim_bank_take(&server->answer, about, server->key, server->processor, &server->sender.bytes, server->stream);
    } else if (server->answer.executes && !(about->executions > 0 && oracle_is_executed_once(about)) &&
               ++about->executions > 1 && !about->safe) {
        sim_violated("n%" PRIu64 " was executed twice", about->nonce);
    }
    if (!server->answer.early) {
        begin_answer(server);
    }
}

static void renew_message(struct sim_server *server)
{
    const struct http_limits limits = {.head_bytes_max = 256 * 1024, .target_bytes_max = 16 * 1024, .body_bytes_max = UINT64_MAX};
    arena_reset(&server->arena);
    server->message = http_message_new(&server->arena, HTTP_REQUEST_MESSAGE, &limits, false);
    CHECK(server->message != NULL);
}

static void on_data(void *peer, struct bytes data)
{
    struct sim_server *server = peer;
    while (data.len > 0) {
        struct bytes body;
        if (server->message == NULL) {
            renew_message(server);
        }
        enum http_event event = HTTP_BODY;
        while (server->message != NULL && event != HTTP_MORE) {
            event = http_message_feed(server->message, &data, &body);
            switch (event) {
            case HTTP_HEAD:
                on_head(server);
                break;
            case HTTP_BODY:
                on_body(server, body);
                break;
            case HTTP_END:
                on_end(server);
                break;
            case HTTP_FAULTED:
                sim_violated("a processor got bytes that are no request: %s", http_message_fault_text(server->message));
            case HTTP_MORE:
                break;
            }
        }
    }
}

static void on_peer_end(void *peer, bool reset)
{
    struct sim_server *server = peer;
    sim_cancel(&server->stray);
    if (reset || sim_chance(70)) {
        sim_sender_stop(&server->sender);
        sim_leave(server->stream);
    }
}

static const struct sim_peer_ops server_ops = {.on_data = on_data, .on_end = on_peer_end};

void sim_server_begin(struct stream *stream)
{
    struct sim_server *server = calloc(1, sizeof *server);
    CHECK(server != NULL);
    server->stream = stream;
    server->processor = sim_processor_of(&stream->addr_peer);
    server->stray.fire = on_stray;
    arena_init(&server->arena, &sim.blocks);
    sim_sender_init(&server->sender, stream, on_answered);
    stream->server = server;
    stream->peer = server;
    stream->peer_ops = &server_ops;
}

void sim_server_free(struct sim_server *server)
{
    sim_bytes_free(&server->sender.bytes);
    arena_reset(&server->arena);
    free(server);
}
