/*
 * What must hold while processors are sick. Breakers are looked at from the
 * outside: which calls are under way is counted among the exchanges.
 *
 *   F1  what one processor may have had under a key, no other gets    (H6, sim_ledger.c)
 *   F2  what was sent goes to no other processor                      (sim_oracle.c)
 *   F3  failover goes where the route says, once                      (sim_oracle.c)
 *   F4  a record moves while nothing was sent, and before the first byte
 *   F5  all processors together execute a key once                    (H1, sim_ledger.c)
 *   F6  an open breaker lets nobody through; half open, one at first, and payments last
 *   F7  each call is in flight at its breakers once, and no longer than it waits;
 *       what is sent once more stays within its budget
 *   F8  what was refused here was not sent, but for an attempt before (each line: sim_oracle.c)
 *   F9  who waits for a place waits no longer than its time
 *   F10 a request whose key has a record is never shed
 */
#include "sim.h"

#include <inttypes.h>

#include "claim.h"
#include "sim_house.h"
#include "upstream_internal.h"

#include "exchange.h"

#define TURNS_APART 16          /* between two looks at all calls */
#define LATE_US (60 * SIM_MS)   /* timers, and turns that take their time */

/* ---- who is who ---- */

static struct endpoint *endpoint_in(struct processor *processor, const struct addr *addr)
{
    for (int i = 0; i < processor->endpoint_count; i++) {
        if (addr_equal(&processor->endpoints[i]->addr, addr)) {
            return processor->endpoints[i];
        }
    }
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        if (addr_equal(&endpoint->addr, addr)) {
            return endpoint;
        }
    }
    return NULL;
}

static struct endpoint *endpoint_of(const struct stream *link)
{
    struct processor *processor = NULL;
    while ((processor = upstream_next(link->weir->upstream, processor)) != NULL) {
        struct endpoint *endpoint = endpoint_in(processor, &link->addr_peer);
        if (endpoint != NULL) {
            return endpoint;
        }
    }
    return NULL; /* its processor is just being made */
}

bool sick_is_check(const struct stream *link)
{
    const struct endpoint *endpoint = endpoint_of(link);
    return endpoint != NULL && endpoint->check != NULL && (const void *)endpoint->check == link->owner;
}

/* ---- calls under way, as the exchanges have them ---- */

static uint32_t flights_at_endpoint(const struct sim_weir *weir, const struct endpoint *endpoint)
{
    uint32_t count = 0;
    list_each (x, after, &weir->gate->exchanges, struct exchange, in_exchanges) {
        const struct call *call = &x->call;
        bool own = call->flies_at_endpoint && call->endpoint == endpoint;
        count += own && call->at_endpoint.era == endpoint->circuit.breaker.era && !call->at_endpoint.overdue;
    }
    return count;
}

static uint32_t flights_at_route(const struct sim_weir *weir, const struct circuit *circuit)
{
    uint32_t count = 0;
    list_each (x, after, &weir->gate->exchanges, struct exchange, in_exchanges) {
        const struct call *call = &x->call;
        bool own = call->flies_at_route && call->circuit == circuit;
        count += own && call->at_route.era == circuit->breaker.era && !call->at_route.overdue;
    }
    return count;
}

/* ---- F6: let through ---- */

static struct sim_case *case_of(const struct exchange *x)
{
    return sim_case_of(sim_nonce_of(x->head));
}

/* For how long a payment leaves the first probe to others: the longest, where a check has the time to be one. */
static uint64_t wait_us_of(const struct exchange *x, const struct sim_case *about, const struct breaker *breaker)
{
    unsigned number = generation_number(x->generation);
    if (about->safe || sim_quota_class(about, number) >= SHED_TEST) {
        return 0;
    }
    bool once = x->claim != NULL ? x->claim->resend_ms > 0 : x->keyed && x->route->profile->deduplicates;
    uint64_t checks_us = breaker->settings.checked ? BREAKER_WAIT_BARE_US + breaker->settings.check_us : 0;
    uint64_t rank_us = once ? BREAKER_WAIT_KEYED_US : BREAKER_WAIT_BARE_US;
    return rank_us > checks_us ? rank_us : checks_us;
}

static void check_admitted(const struct exchange *x, const struct circuit *circuit, uint32_t flights)
{
    const struct breaker *breaker = &circuit->breaker;
    const struct sim_case *about = case_of(x);
    const char *whose = circuit->endpoint != NULL ? circuit->endpoint->text : circuit->route;
    if (breaker->state == BREAKER_OPEN) {
        sim_violated("F6: n%" PRIu64 " goes to %s, whose breaker is open", about->nonce, whose);
    }
    if (breaker->state != BREAKER_HALF_OPEN || breaker->stage > 0) {
        return;
    }
    if (flights > 1) {
        sim_violated("F6: n%" PRIu64 " is the probe number %u of %s at one time", about->nonce, flights, whose);
    }
    uint64_t wait_us = wait_us_of(x, about, breaker);
    if (sim.now_us < breaker->since_us + wait_us) {
        sim_violated("F6: n%" PRIu64 ", a payment, is a first probe of %s after %" PRIu64 " us", about->nonce, whose,
                     sim.now_us - breaker->since_us);
    }
}

/* In a wire run a processor may go and come back, and nobody has said anything of that one. */
static void check_word(const struct sim_weir *weir, const struct exchange *x)
{
    const char *name = processor_name(x->call.processor);
    const struct sim_word *word = &weir->words[name[1] - '0'];
    if (sim.money && word->said == BREAKER_FORCED_OPEN && sim.now_us < word->until_us) {
        sim_violated("F6: n%" PRIu64 " goes to %s, whose breakers an operator has opened", case_of(x)->nonce, name);
    }
}

static void check_call(const struct sim_weir *weir, const struct exchange *x)
{
    const struct call *call = &x->call;
    check_word(weir, x);
    check_admitted(x, &call->endpoint->circuit, flights_at_endpoint(weir, call->endpoint));
    if (call->circuit != NULL && call->attempts == 1) { /* it is asked once */
        check_admitted(x, call->circuit, flights_at_route(weir, call->circuit));
    }
}

void sick_connects(const struct stream *link)
{
    const struct endpoint *endpoint = endpoint_of(link);
    list_each (x, after, &link->weir->gate->exchanges, struct exchange, in_exchanges) {
        if (x->call.flies_at_endpoint && x->call.endpoint == endpoint && x->call.link == NULL) {
            check_call(link->weir, x);
            return;
        }
    }
    sim_violated("F6: link %" PRIu64 " is made for nobody", link->id);
}

static const struct exchange *exchange_at(const struct stream *link)
{
    list_each (x, after, &link->weir->gate->exchanges, struct exchange, in_exchanges) {
        if (x->call.link != NULL && x->call.link->stream == link) {
            return x;
        }
    }
    sim_violated("link %" PRIu64 " carries what nobody sends", link->id);
}

void sick_reuses(const struct stream *link)
{
    check_call(link->weir, exchange_at(link));
}

/* ---- F4, F7: sent ---- */

/* Before the first byte the table says where it goes, unless it may go without a record. */
void sick_sent(struct sim_case *about)
{
    const struct exchange *x = exchange_at(about->link);
    if (about->payment == NULL || x->claim == NULL || x->claim->driver.unrecorded) {
        return;
    }
    const struct house_row *row = house_find(&x->claim->name);
    about->payment->name = x->claim->name;
    about->payment->named = true;
    if (ledger_has_forgotten()) {
        return;
    }
    if (row == NULL || row->record.processor[1] - '0' != about->link_processor) {
        sim_violated("F4: n%" PRIu64 " goes to p%d, and its record says %s", about->nonce, about->link_processor,
                     row == NULL ? "nothing" : row->record.processor);
    }
}

void sick_sent_again(const struct sim_case *about)
{
    struct sim_weir *weir = about->weir;
    int processor = about->link_processor;
    sim.counts.again++;
    if (about->safe && !oracle_is_executed_once(about)) {
        return; /* that has no price */
    }
    uint64_t most = 10000 + 100 * weir->begun + (sim.now_us - weir->started_us) / SIM_MS;
    if (++weir->again[processor] * 1000 > most) {
        sim_violated("F7: %" PRIu64 " requests were sent to p%d once more, of %" PRIu64, weir->again[processor], processor,
                     weir->begun);
    }
}

static bool is_same_name(const struct idem_name *one, const struct idem_name *other)
{
    return one->bucket == other->bucket && memcmp(one->hash, other->hash, IDEM_HASH_BYTES) == 0;
}

void sick_rebound(const struct idem_op *op)
{
    for (size_t i = 0; i < sim.payment_count; i++) {
        const struct sim_payment *payment = sim.payments[i];
        for (size_t j = 0; payment->named && is_same_name(&payment->name, &op->name) && j < payment->case_count; j++) {
            const struct sim_case *before = payment->cases[j];
            bool elsewhere = op->processor.len == 2 && op->processor.at[1] - '0' != before->link_processor;
            if (before->takes > 0 && elsewhere && !ledger_was_refused(before)) {
                sim_violated("F4: the record of payment %" PRIu64 " goes to %.*s, and n%" PRIu64 " went to p%d",
                             payment->number, BYTES_ARG(op->processor), before->nonce, before->link_processor);
            }
        }
    }
}

/* ---- F10: lines ---- */

void sick_line(const struct sim_case *about, const struct exchange *x)
{
    bool shed = about->reason == REASON_SHED && about->ended_by[0] == 'w';
    if (!shed || about->payment == NULL || about->line_generation == 0) {
        return;
    }
    if (about->phase == 'R' || about->phase == 'B') {
        sim_violated("F10: n%" PRIu64 " has a key and is shed, and nobody looked for its record", about->nonce);
    }
    bool looked = about->phase == 'K' && x->claim != NULL && x->claim->replied && x->claim->status == STORE_OK;
    if (looked && x->known_only && x->claim->result.verdict != IDEM_NONE) {
        sim_violated("F10: n%" PRIu64 " is shed, and its key has a record", about->nonce);
    }
}

void sick_event(const char *event)
{
    sim.counts.opened += strcmp(event, "breaker_open") == 0 ? 1 : 0;
}

/* ---- F7, F9: turns ---- */

/* What the exchanges have under way at one processor. */
struct under_way {
    uint32_t at_endpoints, at_routes, counted, lingering, queued;
};

static void check_exchange(const struct sim_weir *weir, const struct exchange *x)
{
    const struct call *call = &x->call;
    if (call->lingers && (call->flies_at_endpoint || call->flies_at_route)) {
        sim_violated("F7: a call that nobody waits for is in flight at its breakers");
    }
    uint64_t due_us = x->total_due_us > weir->thaws_at_us ? x->total_due_us : weir->thaws_at_us;
    if (call->state == CALL_QUEUED && sim.now_us > due_us + LATE_US) {
        sim_violated("F9: a call waits for its place %" PRIu64 " us after its time", sim.now_us - due_us);
    }
}

static struct under_way look_around(const struct sim_weir *weir, const struct processor *processor)
{
    struct under_way all = {0};
    list_each (x, after, &weir->gate->exchanges, struct exchange, in_exchanges) {
        const struct call *call = &x->call;
        if (call->state == CALL_IDLE || call->processor != processor) {
            continue;
        }
        check_exchange(weir, x);
        all.at_endpoints += call->flies_at_endpoint;
        all.at_routes += call->flies_at_route;
        all.counted += call->counted;
        all.lingering += call->lingers;
        all.queued += call->state == CALL_QUEUED;
    }
    return all;
}

static void check_processor(const struct sim_weir *weir, struct processor *processor)
{
    struct under_way all = look_around(weir, processor);
    uint32_t at_endpoints = 0, at_routes = 0;
    for (int i = 0; i < processor->endpoint_count; i++) {
        at_endpoints += processor->endpoints[i]->circuit.breaker.in_flight;
    }
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        at_endpoints += endpoint->circuit.breaker.in_flight;
    }
    list_each (circuit, after, &processor->circuits, struct circuit, in_circuits) {
        at_routes += circuit->breaker.in_flight;
    }
    if (at_endpoints != all.at_endpoints || at_routes != all.at_routes) {
        sim_violated("F7: %s has %u and %u calls in flight at its breakers, and exchanges have %u and %u", processor->name,
                     at_endpoints, at_routes, all.at_endpoints, all.at_routes);
    }
    if (processor->in_flight != all.counted || processor->lingering != all.lingering || processor->queue_count != all.queued) {
        sim_violated("F7: %s counts %u calls, %u that listen on and %u that wait; there are %u, %u and %u", processor->name,
                     processor->in_flight, processor->lingering, processor->queue_count, all.counted, all.lingering,
                     all.queued);
    }
}

static void look(const struct sim_weir *weir)
{
    struct processor *processor = NULL;
    while ((processor = upstream_next(weir->upstream, processor)) != NULL) {
        check_processor(weir, processor);
    }
}

void sick_turn(const struct sim_weir *weir)
{
    if (sim.step % TURNS_APART == 0) {
        look(weir);
    }
}

void sick_rest(const struct sim_weir *weir)
{
    look(weir);
}
