/*
 * Who pays: devices that ask for one payment each, often several for the same
 * one at the same time and through both weirs, and ask again with the same key
 * after errors, resets and time-outs until they have an answer that is final or
 * give up. Some use a key for another payment, some tenants choose the same key
 * as others. Most of them lose their patience at times.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_NUMBERS UINT64_C(1000000) /* apart from those of nonces */
#define DEVICES_MAX 3
#define LIFE_US (100 * SIM_S)          /* of a device that has no answer */
#define SLEEP_US (110 * SIM_S)         /* between two requests of a sleeper, at most */
#define SLEEPS 3
#define AFTER_US (60 * SIM_S)          /* others may still ask when somebody has the answer */
#define HEALED_US (150 * SIM_S)        /* of a device that does not give up, once nothing fails any more */

struct sim_payer {
    struct sim_payment *payment;
    struct addr from;
    int host;                        /* the last byte of that */
    int variant;
    bool stubborn;                   /* asks until it has a final answer, and after "do not" */
    bool sleeper;                    /* comes back when its processor may have forgotten */
    bool patient;                    /* comes back when limits have told it to */
    bool done;
    unsigned asks;
    struct sim_event next, patience;
    struct stream *stream;           /* NULL: between two requests */
    struct sim_sender sender;
    struct arena arena;
    struct http_message *message;
    struct sim_case *about;          /* what it asks just now */
    const struct sim_case *refused;  /* what limits refused before, and said when to come again; NULL: they did not */
};

/* ---- what is asked ---- */

void sim_write_credential(int tenant, struct sim_bytes *out)
{
    if (tenant < SIM_KNOWN_TENANTS) {
        sim_bytes_text(out, "Authorization: Bearer known-%d-%d\r\n", tenant, sim_chance(30) ? 1 : 0);
    } else {
        sim_bytes_text(out, "Authorization: Bearer sk_%s%d\r\n", tenant == SIM_TEST_TENANT ? "test_" : "", tenant);
    }
}

static void write_request(const struct sim_case *about, struct sim_bytes *out)
{
    const struct sim_payment *payment = about->payment;
    const char *quote = sim_chance(20) ? "\"" : "";
    sim_bytes_text(out, "%s /r%d/m%" PRIu64 " HTTP/1.1\r\nHost: pay.example.com\r\nX-Request-Id: /n%" PRIu64 "\r\n",
                   payment->method, payment->route, payment->key, about->nonce);
    sim_write_credential(payment->tenant, out);
    if (payment->merchant != 0) {
        sim_bytes_text(out, "X-Merchant: m%d\r\n", payment->merchant);
    }
    sim_bytes_text(out, "Idempotency-Key: %skey-%" PRIu64 "%s\r\nContent-Type: application/json\r\n", quote, payment->key, quote);
    if (sim_chance(20)) {
        uint64_t first = sim_below(about->body_len + 1);
        sim_bytes_text(out, "Transfer-Encoding: chunked\r\n\r\n");
        for (uint64_t done = 0; done < about->body_len; first = about->body_len - done) {
            if (first > 0) {
                sim_bytes_text(out, "%" PRIx64 "\r\n", first);
                sim_pattern(out, 'b', about->body, done, first);
                sim_bytes_text(out, "\r\n");
            }
            done += first;
        }
        sim_bytes_text(out, "0\r\n\r\n");
        return;
    }
    sim_bytes_text(out, "Content-Length: %" PRIu64 "\r\n\r\n", about->body_len);
    sim_pattern(out, 'b', about->body, 0, about->body_len);
}

static struct sim_case *new_case(struct sim_payer *payer)
{
    struct sim_payment *payment = payer->payment;
    struct sim_case *about = sim_case_new();
    about->kind = KIND_VALID;
    about->method = payment->method;
    about->keyed = true;
    about->route = payment->route;
    about->payment = payment;
    about->tenant = payment->tenant + 1;
    about->merchant = payment->merchant;
    about->host = payer->host;
    about->variant = payer->variant;
    about->body = payment->bodies[payer->variant];
    about->body_len = payment->body_lens[payer->variant];
    if (payment->case_count == payment->case_size) {
        payment->case_size = payment->case_size * 2 + 8;
        payment->cases = realloc(payment->cases, payment->case_size * sizeof(struct sim_case *));
        CHECK(payment->cases != NULL);
    }
    payment->cases[payment->case_count++] = about;
    return about;
}

/* ---- between two requests ---- */

static bool may_ask(const struct sim_payer *payer)
{
    return sim.now_us < payer->payment->ask_until_us;
}

static void finish(struct sim_payer *payer)
{
    payer->done = true;
    sim_cancel(&payer->next);
}

static void ask_again(struct sim_payer *payer)
{
    uint64_t wait_us = sim_chance(60) ? sim_below(400 * SIM_MS) : sim_chance(80) ? sim_below(4 * SIM_S) : sim_below(25 * SIM_S);
    if (!may_ask(payer) || (!payer->stubborn && (payer->asks >= 6 || sim_chance(10)))) {
        finish(payer);
        return;
    }
    if (payer->sleeper) {
        wait_us = sim_between(10 * SIM_S, SLEEP_US);
    } else if (payer->refused != NULL) {
        wait_us = payer->refused->promise.due_us - sim.now_us;
    }
    sim_after(&payer->next, wait_us);
}

static void let_go(struct sim_payer *payer)
{
    sim_sender_stop(&payer->sender);
    sim_cancel(&payer->patience);
    payer->message = NULL;
    payer->stream->peer = NULL;
    payer->stream = NULL;
    payer->about = NULL;
}

/* It goes, whatever it still waits for. */
static void on_patience(struct sim_event *event)
{
    struct sim_payer *payer = container_of(event, struct sim_payer, patience);
    sim_note("no patience", payer->about->nonce, 0, 0);
    payer->about->gone = true;
    payer->refused = NULL;
    if (sim_chance(60)) {
        sim_reset(payer->stream);
    } else {
        sim_leave(payer->stream);
    }
    let_go(payer);
    ask_again(payer);
}

/* ---- answers ---- */

static void on_head(struct sim_payer *payer, const struct http_head *head)
{
    struct sim_case *about = payer->about;
    const struct http_field *tenant = http_head_find_name(head, BYTES("sim-tenant"));
    uint64_t number = 0;
    sim_seen_head(about, head);
    bool own_tenant = tenant != NULL && bytes_to_u64(tenant->value, &number) && number == (uint64_t)payer->payment->tenant;
    if (!about->seen.own && !own_tenant) {
        sim_violated("n%" PRIu64 " got the answer of another tenant", about->nonce);
    }
    sim_note("paid head", about->nonce, head->status, about->seen.reason);
}

static void on_body(struct sim_payer *payer, struct bytes body)
{
    struct sim_seen *seen = &payer->about->seen;
    if (!seen->own && !sim_pattern_is(body, 'a', seen->answer, seen->len)) {
        sim_violated("n%" PRIu64 " got a body that is not that of its answer", payer->about->nonce);
    }
    seen->len += body.len;
}

/* What a client does that keeps the contract; and now and then one that does not. */
static bool is_content(const struct sim_payer *payer, const struct sim_case *about)
{
    const struct sim_seen *seen = &about->seen;
    if (!seen->own) {
        bool final = (seen->status >= 200 && seen->status <= 299) || seen->status == 400 || seen->status == 402;
        return final && !(sim_chance(10) && !sim.healed); /* or it asks once more, to be sure */
    }
    if (seen->reason == REASON_KEY_REUSED) {
        return !sim_chance(20) || sim.healed;
    }
    return seen->retry == RETRY_NO && (!payer->stubborn || (sim.healed && sim_chance(50)));
}

/* By limits or for want of time, and perhaps again and again. */
static bool is_turned_away(const struct sim_seen *seen)
{
    return seen->reason == REASON_RATE_LIMITED || seen->reason == REASON_CONCURRENCY_LIMITED || seen->reason == REASON_SHED;
}

static void on_whole(struct sim_payer *payer)
{
    struct sim_case *about = payer->about;
    bool refused = about->seen.reason == REASON_RATE_LIMITED;
    about->seen.whole = true;
    ledger_answered(about);
    payer->refused = payer->patient && refused && about->promise.due_us > sim.now_us ? about : NULL;
    payer->payment->turned_away = payer->payment->turned_away || (sim.healed && is_turned_away(&about->seen));
    sim_leave(payer->stream);
    bool content = is_content(payer, about);
    let_go(payer);
    if (content) {
        finish(payer);
    } else {
        ask_again(payer);
    }
}

static void renew_message(struct sim_payer *payer)
{
    const struct http_limits limits = {.head_bytes_max = 64 * 1024, .target_bytes_max = 1024, .body_bytes_max = UINT64_MAX};
    arena_reset(&payer->arena);
    payer->message = http_message_new(&payer->arena, HTTP_RESPONSE_MESSAGE, &limits, false);
    CHECK(payer->message != NULL);
}

static void on_data(void *peer, struct bytes data)
{
    struct sim_payer *payer = peer;
    while (payer != NULL && payer->stream != NULL) {
        struct bytes body;
        if (payer->message == NULL) {
            renew_message(payer);
        }
        switch (http_message_feed(payer->message, &data, &body)) {
        case HTTP_HEAD:
            on_head(payer, http_message_head(payer->message));
            break;
        case HTTP_BODY:
            on_body(payer, body);
            break;
        case HTTP_END:
            on_whole(payer);
            return;
        case HTTP_FAULTED:
            sim_violated("n%" PRIu64 " got bytes that are no answer: %s", payer->about->nonce,
                         http_message_fault_text(payer->message));
        case HTTP_MORE:
            return;
        }
    }
}

static void on_end(void *peer, bool reset)
{
    struct sim_payer *payer = peer;
    if (payer == NULL) {
        return;
    }
    payer->about->reset = reset;
    payer->refused = NULL;
    payer->payment->turned_away = payer->payment->turned_away || (sim.healed && sim.weather.limits);
    sim_leave(payer->stream);
    let_go(payer);
    ask_again(payer);
}

static const struct sim_peer_ops payer_ops = {.on_data = on_data, .on_end = on_end};

/* ---- asking ---- */

static void on_sent(struct sim_sender *sender)
{
    struct sim_payer *payer = container_of(sender, struct sim_payer, sender);
    payer->about->sent_at_us = sim.now_us;
}

static uint64_t patience_us(void)
{
    if (!sim_chance(sim.weather.unread)) {
        return sim_between(20 * SIM_S, 60 * SIM_S);
    }
    return sim_chance(40) ? sim_below(5 * SIM_MS) : sim_chance(60) ? sim_below(300 * SIM_MS) : sim_below(8 * SIM_S);
}

static void on_next(struct sim_event *event)
{
    struct sim_payer *payer = container_of(event, struct sim_payer, next);
    if (sim.over || !may_ask(payer)) {
        finish(payer);
        return;
    }
    int seat = (int)sim_below((uint64_t)sim.seats);
    payer->stream = sim_dial(sim_port(&sim.plans[1], 0, seat), &payer->from, &payer_ops, payer);
    if (payer->stream == NULL) { /* nobody listens there just now */
        sim_after(&payer->next, sim_below(500 * SIM_MS));
        return;
    }
    payer->asks++;
    payer->about = new_case(payer);
    payer->about->promised = payer->refused;
    payer->about->client = payer->stream;
    sim_note("pays", payer->about->nonce, payer->payment->number, (uint64_t)payer->variant);
    sim_sender_init(&payer->sender, payer->stream, on_sent);
    write_request(payer->about, &payer->sender.bytes);
    uint64_t base = payer->stream->in_sent;
    sim_mark(payer->stream, base + 1, MARK_REQUEST_BEGUN, payer->about);
    sim_mark(payer->stream, base + sim_bytes_len(&payer->sender.bytes), MARK_REQUEST_WHOLE, payer->about);
    payer->sender.piece = sim_chance(10) ? 1 + (size_t)sim_below(400) : 0;
    payer->sender.gap_us = sim_below(5 * SIM_MS);
    sim_sender_start(&payer->sender, 0);
    sim_after(&payer->patience, patience_us());
}

/* ---- who there is ---- */

static void add_device(struct sim_payment *payment, int variant, bool stubborn)
{
    struct sim_payer *payer = calloc(1, sizeof *payer);
    char text[16];
    if (sim.payer_count == sim.payer_size) {
        sim.payer_size = sim.payer_size * 2 + 64;
        sim.payers = realloc(sim.payers, sim.payer_size * sizeof(struct sim_payer *));
    }
    CHECK(payer != NULL && sim.payers != NULL);
    sim.payers[sim.payer_count++] = payer;
    payer->payment = payment;
    payer->variant = variant;
    payer->stubborn = stubborn;
    payer->next.fire = on_next;
    payer->patience.fire = on_patience;
    arena_init(&payer->arena, &sim.blocks);
    payer->patient = sim_chance(40);
    payer->host = 1 + (int)(sim.payer_count % 5);
    (void)snprintf(text, sizeof text, "10.1.0.%d", payer->host);
    CHECK(addr_parse_host(bytes_from_text(text), (uint16_t)(20000 + sim.payer_count), &payer->from));
    uint64_t apart_us = sim_chance(50) ? sim_below(20 * SIM_MS) : sim_below(5 * SIM_S);
    sim_at(&payer->next, payment->begun_us + apart_us);
}

static struct sim_payment *add_payment(int tenant, uint64_t key)
{
    struct sim_payment *payment = calloc(1, sizeof *payment);
    if (sim.payment_count == sim.payment_size) {
        sim.payment_size = sim.payment_size * 2 + 64;
        sim.payments = realloc(sim.payments, sim.payment_size * sizeof(struct sim_payment *));
    }
    CHECK(payment != NULL && sim.payments != NULL);
    sim.payments[sim.payment_count++] = payment;
    payment->number = sim.payment_count;
    payment->tenant = tenant;
    payment->merchant = (int)sim_below(SIM_MERCHANTS_MAX + 1);
    payment->key = key;
    payment->method = sim_chance(80) ? "POST" : "PATCH";
    payment->route = (int)sim_below(SIM_ROUTES_MAX);
    for (int i = 0; i < SIM_VARIANTS_MAX; i++) {
        payment->bodies[i] = BODY_NUMBERS + payment->number * SIM_VARIANTS_MAX + (uint64_t)i;
        payment->body_lens[i] = sim_between(16, sim_chance(95) ? 200 : 3000); /* its number is in it, whole */
        payment->body_lens[i] = payment->body_lens[i] < sim.body_max ? payment->body_lens[i] : sim.body_max;
    }
    payment->begun_us = sim.now_us + sim_below(30 * SIM_S);
    payment->ask_until_us = payment->begun_us + LIFE_US;
    sim.counts.payments++;
    return payment;
}

static void add_devices(struct sim_payment *payment)
{
    if (sim_chance(sim.weather.sleepers)) {
        add_device(payment, 0, true); /* alone: nobody settles it meanwhile */
        sim.payers[sim.payer_count - 1]->sleeper = true;
        payment->ask_until_us = payment->begun_us + SLEEPS * SLEEP_US;
        return;
    }
    add_device(payment, 0, sim_chance(70));
    if (sim_chance(40)) {
        add_device(payment, 0, false); /* a duplicate, at nearly the same time */
    }
    if (sim_chance(10)) {
        add_device(payment, 0, true);
    }
    if (sim_chance(10)) {
        add_device(payment, 1, false); /* the key is used for something else */
    }
}

void sim_payers_begin(void)
{
    while (sim.payment_count < sim.exchanges_per_run) {
        uint64_t key = sim.payment_count + 1;
        int tenant = (int)sim_below(SIM_TENANTS_MAX);
        add_devices(add_payment(tenant, key));
        if (sim_chance(15)) { /* another tenant chose the same key */
            add_devices(add_payment((tenant + 1) % SIM_TENANTS_MAX, key));
        }
    }
}

/* Nobody wants anything any more, or will. */
bool sim_payers_done(void)
{
    for (size_t i = 0; i < sim.payer_count; i++) {
        if (!sim.payers[i]->done) {
            return false;
        }
    }
    return sim.healed;
}

void sim_payers_healed(void)
{
    for (size_t i = 0; i < sim.payer_count; i++) {
        const struct sim_payer *payer = sim.payers[i];
        /* A sleeper asks too seldom to be owed an answer. */
        payer->payment->owed = payer->payment->owed || (payer->stubborn && !payer->sleeper && !payer->done);
    }
    for (size_t i = 0; i < sim.payment_count; i++) {
        struct sim_payment *payment = sim.payments[i];
        if (!payment->final && payment->ask_until_us < sim.now_us + HEALED_US) {
            payment->ask_until_us = sim.now_us + HEALED_US;
        }
    }
}

void sim_payment_final(struct sim_payment *payment)
{
    uint64_t until_us = sim.now_us + AFTER_US;
    payment->ask_until_us = payment->ask_until_us < until_us ? payment->ask_until_us : until_us;
}

void sim_payers_end(void)
{
    for (size_t i = 0; i < sim.payer_count; i++) {
        arena_reset(&sim.payers[i]->arena);
        sim_bytes_free(&sim.payers[i]->sender.bytes);
        free(sim.payers[i]);
    }
    for (size_t i = 0; i < sim.payment_count; i++) {
        free(sim.payments[i]->cases);
        free(sim.payments[i]);
    }
    free(sim.payers);
    free(sim.payments);
}
