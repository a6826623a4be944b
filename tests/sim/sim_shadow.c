/*
 * A limit and its shadow (--shadow): two runs of one seed, in which one caller
 * asks again and again, at the same times for the same things. In the first run
 * its limit refuses; in the second it is a shadow. The shadow must refuse nobody,
 * and say of each request what the limit did (L5).
 *
 * Times are such that a token never comes in the very moment of a request: what
 * takes a little longer in one run than in the other changes nothing.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#include "limits.h"

#define ASKS 38
#define STEP_MS 25 /* all pauses are whole numbers of it, and prime to a second */

static struct {
    struct sim_event next;
    struct stream *stream;      /* NULL: between two requests */
    struct sim_sender sender;
    struct arena arena;
    struct http_message *message;
    struct sim_case *about;
    uint64_t pause_us;
    unsigned asks;
    bool over[2][ASKS];         /* that the limit refused; that the shadow would have */
    uint64_t counted[2];
} shadow;

/* Apart from the world's random numbers, which two runs draw in different numbers. */
static uint64_t choice(uint64_t n, uint64_t of)
{
    uint64_t z = (sim.seed * 64 + n) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z >> 32) % of;
}

/* ---- answers ---- */

static void on_whole(void)
{
    struct sim_case *about = shadow.about;
    about->seen.whole = true;
    if (sim.shadow && about->seen.own) {
        sim_violated("L5: n%" PRIu64 " is told %s, and all that might refuse it is a shadow", about->nonce,
                     reason_name(about->seen.reason));
    }
    sim_leave(shadow.stream);
    sim_sender_stop(&shadow.sender);
    shadow.stream->peer = NULL;
    shadow.stream = NULL;
}

static void on_data(void *peer, struct bytes data)
{
    const struct http_limits limits = {.head_bytes_max = 64 * 1024, .target_bytes_max = 1024, .body_bytes_max = UINT64_MAX};
    while (peer != NULL && shadow.stream != NULL) {
        struct bytes body;
        if (shadow.message == NULL) {
            arena_reset(&shadow.arena);
            shadow.message = http_message_new(&shadow.arena, HTTP_RESPONSE_MESSAGE, &limits, false);
            CHECK(shadow.message != NULL);
        }
        enum http_event event = http_message_feed(shadow.message, &data, &body);
        CHECK(event != HTTP_FAULTED);
        if (event == HTTP_HEAD) {
            sim_seen_head(shadow.about, http_message_head(shadow.message));
        } else if (event == HTTP_END) {
            on_whole();
        } else if (event == HTTP_MORE) {
            return;
        }
    }
}

static void on_end(void *peer, bool reset)
{
    if (peer != NULL) {
        sim_violated("n%" PRIu64 " got no answer (%d), and nothing fails in this run", shadow.about->nonce, reset);
    }
}

/* The line of a request: what its limit said. */
void shadow_line(const struct sim_case *about, const struct exchange *x)
{
    const struct limited_one *one = x->limited != NULL ? &x->limited->each[0] : NULL;
    bool *over = &shadow.over[sim.shadow ? 1 : 0][about->nonce - 1];
    CHECK(about->nonce <= ASKS && one != NULL && x->limited->count == 1);
    *over = sim.shadow ? one->has_told && !one->told.fits : one->refused;
    shadow.counted[sim.shadow ? 1 : 0] += *over ? 1 : 0;
}

/* ---- asking ---- */

static void write_request(struct sim_case *about, struct sim_bytes *out)
{
    about->keyed = !about->safe && choice(100 + about->nonce, 2) == 0;
    sim_bytes_text(out, "%s /r%d/n%" PRIu64 " HTTP/1.1\r\nHost: pay.example.com\r\nX-Merchant: m1\r\n", about->method,
                   about->route, about->nonce);
    sim_bytes_text(out, "Authorization: Bearer known-0-0\r\n");
    if (about->keyed) {
        sim_bytes_text(out, "Idempotency-Key: key-%" PRIu64 "\r\n", about->nonce);
    }
    sim_bytes_text(out, "Content-Length: %" PRIu64 "\r\n\r\n", about->body_len);
    sim_pattern(out, 'b', about->body, 0, about->body_len);
}

static void on_sent(struct sim_sender *sender)
{
    (void)sender;
    shadow.about->sent_at_us = sim.now_us;
}

static const struct sim_peer_ops shadow_ops = {.on_data = on_data, .on_end = on_end};

static void on_next(struct sim_event *event)
{
    struct addr from;
    if (shadow.stream != NULL) {
        sim_violated("n%" PRIu64 " has no answer yet when it is time for the next", shadow.about->nonce);
    }
    CHECK(addr_parse_host(BYTES("10.1.0.1"), 20001, &from));
    shadow.stream = sim_dial(sim_port(&sim.plans[1], 0, 0), &from, &shadow_ops, &shadow);
    CHECK(shadow.stream != NULL);
    shadow.stream->grain = 0;
    struct sim_case *about = shadow.about = sim_case_new();
    about->kind = KIND_VALID;
    about->safe = choice(about->nonce, 3) == 0;
    about->method = about->safe ? "GET" : "POST";
    about->body_len = about->safe ? 0 : 20;
    about->tenant = about->merchant = about->host = 1;
    about->client = shadow.stream;
    about->lone = true;
    shadow.message = NULL;
    sim_sender_init(&shadow.sender, shadow.stream, on_sent);
    write_request(about, &shadow.sender.bytes);
    uint64_t base = shadow.stream->in_sent;
    sim_mark(shadow.stream, base + 1, MARK_REQUEST_BEGUN, about);
    sim_mark(shadow.stream, base + sim_bytes_len(&shadow.sender.bytes), MARK_REQUEST_WHOLE, about);
    sim_sender_start(&shadow.sender, 0);
    if (++shadow.asks < ASKS) {
        sim_after(event, shadow.pause_us);
    }
}

void shadow_begin(void)
{
    static const uint64_t steps[] = {19, 29, 39};
    arena_init(&shadow.arena, &sim.blocks);
    shadow.asks = 0;
    shadow.next.fire = on_next;
    shadow.pause_us = steps[choice(0, ARRAY_COUNT(steps))] * STEP_MS * SIM_MS;
    sim_after(&shadow.next, SIM_S);
}

bool shadow_done(void)
{
    return shadow.asks == ASKS && shadow.stream == NULL;
}

void shadow_end(void)
{
    struct gate_limit told;
    CHECK(gate_limit_at(sim.weirs[0]->gate, 0, &told));
    uint64_t counted = sim.shadow ? told.would_refuse : told.refused;
    if (counted != shadow.counted[sim.shadow ? 1 : 0]) {
        sim_violated("L5: %" PRIu64 " requests were over the limit, and %" PRIu64 " are counted", shadow.counted[sim.shadow ? 1 : 0],
                     counted);
    }
    arena_reset(&shadow.arena);
    sim_bytes_free(&shadow.sender.bytes);
}

/* ---- both runs ---- */

void shadow_plan(struct sim_plan *plan)
{
    static const enum sim_by ways[] = {BY_TENANT, BY_MERCHANT, BY_ADDRESS, BY_TENANT_ROUTE, BY_MERCHANT_TENANT};
    static const struct sim_grade rates[] = {{.tokens = 1, .per_ms = 1000}, {.tokens = 1, .per_ms = 2000},
                                             {.tokens = 7, .per_ms = 3000}, {.tokens = 1, .per_ms = 4000}};
    struct sim_limit_plan *limit = &plan->limits[0];
    limit->by = ways[choice(1, ARRAY_COUNT(ways))];
    limit->grades[0] = limit->grades[1] = rates[choice(2, ARRAY_COUNT(rates))];
    limit->grades[0].burst = limit->grades[1].burst = 1 + (unsigned)choice(3, 8);
    limit->declines = choice(4, 3) == 0;
    limit->mode = sim.shadow ? CONF_LIMIT_SHADOW : CONF_LIMIT_ENFORCE;
    plan->limit_count = 1;
    plan->limit_timeout_ms = 20;
    for (int i = 0; i < plan->route_count; i++) {
        plan->routes[i].limits = 1;
        plan->routes[i].required = false;
        plan->routes[i].class = SHED_CLASS_COUNT;
    }
}

uint64_t shadow_run(uint64_t seed)
{
    uint64_t hash = 0;
    memset(&shadow, 0, sizeof shadow);
    for (int i = 0; i < 2; i++) {
        sim.shadow = i == 1;
        hash = hash * 31 + story_run(seed);
    }
    for (unsigned i = 0; i < ASKS; i++) {
        if (shadow.over[0][i] != shadow.over[1][i]) {
            sim.busy = true;
            sim_violated("L5: request %u of %u %s the limit, and its shadow says that it %s", i + 1, ASKS,
                         shadow.over[0][i] ? "is over" : "is within", shadow.over[1][i] ? "is over it" : "is not");
        }
    }
    return hash;
}
