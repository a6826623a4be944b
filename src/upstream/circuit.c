/*
 * Breakers and what feeds them: one of each endpoint, one of each route at a
 * processor. How calls went comes in from call.c, checks from endpoint.c, time
 * from one timer of the processor that runs only while a breaker of it does not
 * rest, an operator's word from whoever may give one. What follows from a
 * change is told by circuit_events.c, and acted upon at the end of the turn:
 * nothing here calls back into a call.
 *
 *   endpoint   from the moment it is chosen, so that a connect that fails counts; to the head of the answer
 *   route      from the moment it lets the call through, so that a probe is one probe; what never reached a processor, or broke on
 *              the way, says nothing of a route (NEUTRAL): its application's own failures do
 */
#include "upstream_internal.h"

#include <stdlib.h>

/*
 * Never: what is silent or slow is an endpoint, and its own breaker says so. A
 * route that opened beside it would keep its calls from the endpoints that are
 * well, and its reads from being the first probe. Calls of one route that time
 * out while their endpoint is well are that route's failures (verdict.c).
 */
#define ROUTE_SLOW_US (UINT64_MAX / 4)

static uint64_t random_of(const struct circuit *circuit)
{
    return upstream_random(circuit->processor->upstream);
}

/* ---- life ---- */

static struct breaker_settings settings_of(const struct circuit *circuit)
{
    const struct processor *processor = circuit->processor;
    /* A route's is made by a generation before that comes into use. */
    const struct processor_settings *from = processor->settings.host != NULL ? &processor->settings : &processor->next;
    struct breaker_settings settings = from->breaker;
    settings.places = from->concurrency;
    if (circuit->endpoint != NULL) {
        settings.places = from->connections < from->concurrency ? from->connections : from->concurrency;
    } else {
        settings.checked = false; /* no check says anything of a route: its first probe is a call */
        settings.slow_us = ROUTE_SLOW_US;
    }
    return settings;
}

bool circuit_init(struct circuit *circuit, struct processor *processor, struct endpoint *endpoint, const char *route)
{
    *circuit = (struct circuit){.processor = processor, .endpoint = endpoint};
    list_init(&circuit->in_circuits);
    if (route != NULL) {
        circuit->route = strdup(route);
        if (circuit->route == NULL) {
            return false;
        }
    }
    struct breaker_settings settings = settings_of(circuit);
    breaker_init(&circuit->breaker, &settings, processor_now_us(processor));
    circuit_find_series(circuit);
    circuit_obey(circuit);
    return true;
}

void circuit_configure(struct circuit *circuit)
{
    struct breaker_settings settings = settings_of(circuit);
    breaker_configure(&circuit->breaker, &settings, processor_now_us(circuit->processor));
}

bool circuit_is_open(const struct circuit *circuit)
{
    return circuit->breaker.state == BREAKER_OPEN;
}

/* ---- time ---- */

void circuits_stay_awake(struct processor *processor)
{
    if (!timer_armed(&processor->circuit_timer)) {
        timer_set_after(&processor->circuit_timer, BREAKER_TURN_US);
    }
}

/* True: it wants another turn. */
static bool turn(struct circuit *circuit, uint64_t now_us)
{
    while (breaker_turn(&circuit->breaker, random_of(circuit), now_us)) {
        circuit_changed(circuit);
    }
    return !breaker_rests(&circuit->breaker);
}

/* What an operator said is over; each breaker knows that itself. */
static bool word_holds(struct processor *processor, uint64_t now_us)
{
    if (processor->forced != BREAKER_AUTO && processor->forced_until_us <= now_us) {
        log_event(processor_log(processor), LOG_INFO, "breaker_word_expired", "what an operator said of its breakers is over",
                  LOG_T("processor", processor->name), LOG_T("said", breaker_forced_name(processor->forced)),
                  LOG_T("actor", processor->forced_by), LOG_T("why", processor->forced_why));
        processor->forced = BREAKER_AUTO;
    }
    return processor->forced != BREAKER_AUTO;
}

void circuits_on_timer(struct timer *timer)
{
    struct processor *processor = container_of(timer, struct processor, circuit_timer);
    uint64_t now_us = processor_now_us(processor);
    bool awake = word_holds(processor, now_us);
    for (int i = 0; i < processor->endpoint_count; i++) {
        awake = turn(&processor->endpoints[i]->circuit, now_us) || awake;
    }
    list_each (circuit, after, &processor->circuits, struct circuit, in_circuits) {
        awake = turn(circuit, now_us) || awake;
    }
    if (awake) {
        circuits_stay_awake(processor);
    }
}

/* ---- calls and checks ---- */

static bool is_unused(const struct circuit *circuit)
{
    return circuit->endpoint == NULL && circuit->holders == 0 && circuit->breaker.in_flight == 0;
}

static void maybe_sweep(struct circuit *circuit)
{
    if (is_unused(circuit)) {
        loop_defer(circuit->processor->upstream->options.loop, &circuit->processor->burial);
    }
}

void circuit_begin(struct circuit *circuit, struct breaker_flight *flight, uint32_t caller)
{
    breaker_begin(&circuit->breaker, flight, caller, processor_now_us(circuit->processor));
    circuits_stay_awake(circuit->processor);
}

void circuit_end(struct circuit *circuit, struct breaker_flight *flight, enum breaker_outcome outcome)
{
    if (breaker_end(&circuit->breaker, flight, outcome, random_of(circuit), processor_now_us(circuit->processor))) {
        circuit_changed(circuit);
        circuits_stay_awake(circuit->processor);
    }
    maybe_sweep(circuit);
}

void circuit_note(struct circuit *circuit, uint32_t caller, enum breaker_outcome outcome)
{
    struct breaker_flight flight;
    circuit_begin(circuit, &flight, caller);
    circuit_end(circuit, &flight, outcome);
}

void circuit_checked(struct circuit *circuit, bool passed)
{
    if (breaker_checked(&circuit->breaker, passed, random_of(circuit), processor_now_us(circuit->processor))) {
        circuit_changed(circuit);
        circuits_stay_awake(circuit->processor);
    }
}

/* ---- an operator's word ---- */

void circuit_obey(struct circuit *circuit)
{
    const struct processor *processor = circuit->processor;
    uint64_t now_us = processor_now_us(processor);
    bool holds = processor->forced != BREAKER_AUTO && processor->forced_until_us > now_us;
    if (!holds && circuit->breaker.forced == BREAKER_AUTO) {
        return;
    }
    if (breaker_force(&circuit->breaker, holds ? processor->forced : BREAKER_AUTO, holds ? processor->forced_until_us : 0,
                      now_us)) {
        circuit_changed(circuit);
    }
    circuits_stay_awake(circuit->processor);
}

void processor_force(struct processor *processor, enum breaker_forced forced, uint64_t for_us, const char *actor,
                     const char *why)
{
    bool auto_again = forced == BREAKER_AUTO || for_us == 0;
    processor->forced = auto_again ? BREAKER_AUTO : forced;
    processor->forced_until_us = auto_again ? 0 : processor_now_us(processor) + for_us;
    (void)bytes_to_text(bytes_from_text(actor), processor->forced_by, sizeof processor->forced_by);
    (void)bytes_to_text(bytes_from_text(why), processor->forced_why, sizeof processor->forced_why);
    circuits_audit_word(processor, auto_again ? 0 : for_us);
    for (int i = 0; i < processor->endpoint_count; i++) {
        circuit_obey(&processor->endpoints[i]->circuit);
    }
    list_each (circuit, after, &processor->circuits, struct circuit, in_circuits) {
        circuit_obey(circuit);
    }
}

/* ---- routes ---- */

static struct circuit *find_circuit(struct processor *processor, const char *route)
{
    list_each (circuit, after, &processor->circuits, struct circuit, in_circuits) {
        if (strcmp(circuit->route, route) == 0) {
            return circuit;
        }
    }
    return processor->circuit_count >= CIRCUITS_MAX ? list_last(&processor->circuits, struct circuit, in_circuits) : NULL;
}

static struct circuit *circuit_new(struct processor *processor, const char *route)
{
    struct circuit *circuit = malloc(sizeof *circuit);
    if (circuit == NULL || !circuit_init(circuit, processor, NULL, route)) {
        free(circuit);
        return NULL;
    }
    list_push_back(&processor->circuits, &circuit->in_circuits);
    processor->circuit_count++;
    return circuit;
}

struct circuit *processor_circuit(struct processor *processor, const char *route)
{
    struct circuit *circuit = find_circuit(processor, route);
    if (circuit == NULL) {
        circuit = circuit_new(processor, route);
    }
    if (circuit != NULL) {
        circuit->holders++;
    }
    return circuit;
}

void circuit_release(struct circuit *circuit)
{
    if (circuit != NULL) {
        CHECK(circuit->holders > 0);
        circuit->holders--;
        maybe_sweep(circuit);
    }
}

static void circuit_free(struct circuit *circuit)
{
    CHECK(circuit->breaker.in_flight == 0);
    circuit_retire(circuit);
    list_remove(&circuit->in_circuits);
    circuit->processor->circuit_count--;
    free(circuit->route);
    free(circuit);
}

void circuits_sweep(struct processor *processor)
{
    list_each (circuit, after, &processor->circuits, struct circuit, in_circuits) {
        if (is_unused(circuit)) {
            circuit_free(circuit);
        }
    }
}

void circuits_free(struct processor *processor)
{
    list_each (circuit, after, &processor->circuits, struct circuit, in_circuits) {
        circuit_free(circuit);
    }
}
