/*
 * Processors for a terminal, for somebody who was woken: a sentence for each
 * that says whether it is well and what troubles it, then its endpoints, then
 * the circuits of routes that are not closed.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "processors_internal.h"
#include "show_internal.h"
#include "tables_internal.h"
#include "weir/base/clock.h"

/* One in so many calls that fails, or is slow, is worth a word although the breaker is closed; of at least so many. */
#define AILING_PART 10
#define AILING_CALLS_MIN 20
/* Endpoints, and routes, that one sentence tells of; of the others how many they are. */
#define TOLD_MAX 3
/* Room that is kept for how the sentence ends, however much there is to say. */
#define TAIL_BYTES 128

/* ---- one sentence ---- */

struct verdict {
    char *text;
    size_t size;
    uint64_t now_us;
};

/* Another part of the sentence; what does not fit is cut. */
WEIR_PRINTF(2, 3) static void add(struct verdict *verdict, const char *format, ...)
{
    size_t len = strlen(verdict->text);
    va_list arguments;
    if (len > 0) {
        snprintf(verdict->text + len, verdict->size - len, "; ");
        len = strlen(verdict->text);
    }
    va_start(arguments, format);
    vsnprintf(verdict->text + len, verdict->size - len, format, arguments);
    va_end(arguments);
}

static bool is_down(const struct endpoint_state *endpoint)
{
    return endpoint->health == HEALTH_DOWN;
}

/* Whether calls may go there; to one that rests, for want of another. */
static bool is_usable(const struct endpoint_state *endpoint)
{
    return show_breaker_passes(&endpoint->breaker) && !is_down(endpoint);
}

int show_endpoints_taking(const struct processor *processor)
{
    struct endpoint_state endpoint;
    int awake = 0, resting = 0;
    for (int i = 0; processor_endpoint_state(processor, i, &endpoint); i++) {
        awake += is_usable(&endpoint) && !endpoint.resting ? 1 : 0;
        resting += is_usable(&endpoint) && endpoint.resting ? 1 : 0;
    }
    return awake > 0 ? awake : resting;
}

static bool many(uint32_t part, uint32_t all)
{
    return (uint64_t)part * AILING_PART >= all;
}

/*
 * "breaker of 10.0.0.2:443 open for 42s: 61 % of 312 calls failed", or that it
 * is closed and calls do not go as they should. What an operator forces is told
 * once, for all of them.
 */
static void add_breaker(struct verdict *verdict, const char *kind, const char *name, const struct breaker_shown *breaker)
{
    char age[SHOW_BREAKER_BYTES], why[SHOW_BREAKER_BYTES];
    if (breaker->state != BREAKER_CLOSED && breaker->forced == BREAKER_AUTO) {
        show_breaker_why(&breaker->change, why);
        add(verdict, "%s %s %s for %s%s%s", kind, name, breaker->state == BREAKER_OPEN ? "open" : "half open",
            show_breaker_for(breaker, verdict->now_us, age), why[0] != '\0' ? ": " : "", why);
    } else if (show_breaker_passes(breaker) && breaker->calls >= AILING_CALLS_MIN &&
               (many(breaker->failed, breaker->calls) || many(breaker->slow, breaker->calls))) {
        add(verdict, "%s %s lets through, though of %" PRIu32 " calls %" PRIu32 " failed and %" PRIu32 " were slow", kind,
            name, breaker->calls, breaker->failed, breaker->slow);
    }
}

/* False: there is nothing to say of it. */
static bool add_endpoint(struct verdict *verdict, const struct endpoint_state *endpoint)
{
    size_t before = strlen(verdict->text);
    add_breaker(verdict, "breaker of", endpoint->address, &endpoint->breaker);
    if (is_down(endpoint)) {
        add(verdict, "%s fails its checks%s%s", endpoint->address, endpoint->health_words[0] != '\0' ? ": " : "",
            endpoint->health_words);
    }
    if (endpoint->resting) {
        add(verdict, "%s rests after a failed connect or a Retry-After", endpoint->address);
    }
    return strlen(verdict->text) > before;
}

/* Those first that take no calls. */
static void add_endpoints(struct verdict *verdict, const struct processor *processor)
{
    char unused[SHOW_VERDICT_BYTES];
    struct endpoint_state endpoint;
    int told = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; processor_endpoint_state(processor, i, &endpoint); i++) {
            struct verdict aside = {.text = unused, .size = sizeof(unused), .now_us = verdict->now_us};
            unused[0] = '\0';
            if ((is_usable(&endpoint) && !endpoint.resting) == (pass == 1)) {
                told += add_endpoint(told < TOLD_MAX ? verdict : &aside, &endpoint);
            }
        }
    }
    if (told > TOLD_MAX) {
        add(verdict, "%d more of its endpoints are in trouble", told - TOLD_MAX);
    }
}

static void add_circuits(struct verdict *verdict, const struct processor *processor)
{
    struct circuit_state circuit;
    int told = 0, more = 0;
    for (int i = 0; processor_circuit_state(processor, i, &circuit); i++) {
        size_t before = strlen(verdict->text);
        if (told < TOLD_MAX) {
            add_breaker(verdict, "circuit of route", circuit.route, &circuit.breaker);
            told += strlen(verdict->text) > before;
        } else {
            more += !show_breaker_passes(&circuit.breaker) && circuit.breaker.forced == BREAKER_AUTO;
        }
    }
    if (more > 0) {
        add(verdict, "circuits of %d more routes are open", more);
    }
}

static void add_count(struct verdict *verdict, const struct processor_state *state, int taking)
{
    if (state->endpoint_count == 0) {
        add(verdict, "NO endpoint is known");
    } else if (state->endpoint_count == 1) {
        add(verdict, taking == 1 ? "its endpoint takes its calls" : "its ONLY endpoint takes no calls");
    } else if (taking == 0) {
        add(verdict, "NONE of %d endpoints takes its calls", state->endpoint_count);
    } else {
        add(verdict, "%d of %d endpoints take its calls", taking, state->endpoint_count);
    }
}

static void add_load(struct verdict *verdict, const struct processor_state *state)
{
    add(verdict, "%" PRIu32 " in flight", state->in_flight);
    if (state->queued > 0) {
        add(verdict, "%" PRIu32 " WAIT for a link", state->queued);
    }
}

const char *show_verdict(const struct processor *processor, uint64_t now_us, char text[SHOW_VERDICT_BYTES])
{
    struct verdict verdict = {.text = text, .size = SHOW_VERDICT_BYTES - TAIL_BYTES, .now_us = now_us};
    struct processor_state state;
    char forced[SHOW_FORCED_BYTES];
    text[0] = '\0';
    processor_state(processor, &state);
    if (show_forced(&state, now_us, forced)[0] != '\0') {
        add(&verdict, "%s", forced);
    }
    if (state.trouble != NULL) {
        add(&verdict, "its name does not resolve: %s", state.trouble);
    }
    add_endpoints(&verdict, processor);
    add_circuits(&verdict, processor);
    if (text[0] == '\0') {
        add(&verdict, "fine");
    }
    verdict.size = SHOW_VERDICT_BYTES;
    add_count(&verdict, &state, show_endpoints_taking(processor));
    add_load(&verdict, &state);
    return text;
}

/* ---- tables ---- */

static void add_state(struct text_table *table, const struct breaker_shown *breaker, uint64_t now_us)
{
    char age[SHOW_BREAKER_BYTES];
    if (breaker->forced == BREAKER_AUTO) {
        text_table_cell(table, "%s %s", breaker_state_name(breaker->state), show_breaker_for(breaker, now_us, age));
    } else {
        text_table_cell(table, "held %s", breaker_forced_name(breaker->forced));
    }
}

static void add_cells(struct text_table *table, const char *name, const struct endpoint_state *endpoint, uint64_t now_us)
{
    text_table_cell(table, "%s", name);
    text_table_cell(table, "%s", endpoint->address);
    text_table_cell(table, "%" PRIu32, endpoint->weight);
    add_state(table, &endpoint->breaker, now_us);
    if (!endpoint->checked && !is_down(endpoint)) {
        text_table_cell(table, "-");
    } else {
        bool words = endpoint->health != HEALTH_UP && endpoint->health_words[0] != '\0';
        text_table_cell(table, "%s%s%s", health_state_name(endpoint->health), words ? ": " : "",
                        words ? endpoint->health_words : "");
    }
    text_table_cell(table, "%" PRIu32, endpoint->in_flight);
    text_table_cell(table, "%" PRIu32 " + %" PRIu32 " idle", endpoint->links_leased + endpoint->links_connecting,
                    endpoint->links_idle);
    if (endpoint->latency_us > 0) {
        text_table_cell(table, "%" PRIu64 ".%" PRIu64 "ms", endpoint->latency_us / CLOCK_US_PER_MS,
                        endpoint->latency_us % CLOCK_US_PER_MS / 100);
    } else {
        text_table_cell(table, "-");
    }
    text_table_cell(table, "%s", endpoint->resting ? "rests" : endpoint->ramping ? "starts slowly" : "-");
}

static bool show_endpoints(struct upstream *upstream, uint64_t now_us, struct buf *out)
{
    static const char *const TITLES[] = {"PROCESSOR", "ENDPOINT",  "WEIGHT", "BREAKER", "HEALTH",
                                         "IN-FLIGHT", "LINKS", "LATENCY", "NOTE"};
    struct text_table table;
    text_table_open(&table, out, TITLES, ARRAY_COUNT(TITLES));
    for (struct processor *at = upstream_next(upstream, NULL); at != NULL; at = upstream_next(upstream, at)) {
        struct endpoint_state endpoint;
        for (int i = 0; processor_endpoint_state(at, i, &endpoint); i++) {
            add_cells(&table, processor_name(at), &endpoint, now_us);
        }
    }
    return text_table_close(&table);
}

static bool has_open_circuits(struct upstream *upstream)
{
    for (struct processor *at = upstream_next(upstream, NULL); at != NULL; at = upstream_next(upstream, at)) {
        struct circuit_state circuit;
        for (int i = 0; processor_circuit_state(at, i, &circuit); i++) {
            if (circuit.breaker.state != BREAKER_CLOSED) {
                return true;
            }
        }
    }
    return false;
}

/* Those that are not closed; nothing where all are. */
static bool show_circuits(struct upstream *upstream, uint64_t now_us, struct buf *out)
{
    static const char *const TITLES[] = {"PROCESSOR", "ROUTE", "CIRCUIT", "WHY"};
    struct text_table table;
    if (!has_open_circuits(upstream)) {
        return true;
    }
    bool fits = buf_append(out, BYTES("\n"), BLOCKS_MAY) == ERR_OK;
    text_table_open(&table, out, TITLES, ARRAY_COUNT(TITLES));
    for (struct processor *at = upstream_next(upstream, NULL); at != NULL; at = upstream_next(upstream, at)) {
        struct circuit_state circuit;
        for (int i = 0; processor_circuit_state(at, i, &circuit); i++) {
            char text[SHOW_BREAKER_BYTES];
            if (circuit.breaker.state == BREAKER_CLOSED) {
                continue;
            }
            text_table_cell(&table, "%s", processor_name(at));
            text_table_cell(&table, "%s", circuit.route);
            add_state(&table, &circuit.breaker, now_us);
            text_table_cell(&table, "%s", show_breaker_why(&circuit.breaker.change, text));
        }
    }
    return text_table_close(&table) && fits;
}

static bool show_sentence(const struct processor *processor, uint64_t now_us, struct buf *out)
{
    char text[SHOW_VERDICT_BYTES];
    return buf_append(out, bytes_from_text(processor_name(processor)), BLOCKS_MAY) == ERR_OK &&
           buf_append(out, BYTES(": "), BLOCKS_MAY) == ERR_OK &&
           buf_append(out, bytes_from_text(show_verdict(processor, now_us, text)), BLOCKS_MAY) == ERR_OK &&
           buf_append(out, BYTES("\n"), BLOCKS_MAY) == ERR_OK;
}

bool show_processors(struct upstream *upstream, uint64_t now_us, struct buf *out)
{
    bool fits = true;
    if (upstream_next(upstream, NULL) == NULL) {
        return show_row(out, "processors", "none are configured");
    }
    for (struct processor *at = upstream_next(upstream, NULL); at != NULL; at = upstream_next(upstream, at)) {
        fits = fits && show_sentence(at, now_us, out);
    }
    return fits && buf_append(out, BYTES("\n"), BLOCKS_MAY) == ERR_OK && show_endpoints(upstream, now_us, out) &&
           show_circuits(upstream, now_us, out);
}

bool show_processor_rows(struct upstream *upstream, uint64_t now_us, struct buf *out)
{
    const char *title = "processors";
    bool fits = upstream_next(upstream, NULL) != NULL || show_row(out, title, "none are configured");
    for (struct processor *at = upstream_next(upstream, NULL); at != NULL; at = upstream_next(upstream, at)) {
        char text[SHOW_VERDICT_BYTES];
        fits = show_row(out, title, "%s: %s", processor_name(at), show_verdict(at, now_us, text)) && fits;
        title = "";
    }
    return fits;
}
