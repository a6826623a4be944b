/*
 * What is told of a breaker's changes: a line for people, a count and a gauge
 * for graphs, and a nudge for the queue and the endpoint. A breaker that flaps
 * is paced by the time that it stays open, so this needs no bound of its own.
 */
#include "upstream_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "weir/base/clock.h"

#define SENTENCE_BYTES 160

static const struct stats_family family_state = {
    .name = "weir_breaker_state",
    .help = "1 for the state that the breaker of an endpoint, or of a route at a processor, is in.",
    .kind = STATS_GAUGE,
    .labels = {"processor", "endpoint", "route", "state"},
};
static const struct stats_family family_transitions = {
    .name = "weir_breaker_transitions_total",
    .help = "Changes of breakers of a processor: to which state, and why.",
    .kind = STATS_COUNTER,
    .labels = {"processor", "to", "cause"},
};

/* ---- series ---- */

/* The changes that there are, so that each is counted from 0. */
static const struct {
    enum breaker_state to;
    enum breaker_cause cause;
} transitions[] = {
    {BREAKER_OPEN, BREAKER_CAUSE_UNREACHED},  {BREAKER_OPEN, BREAKER_CAUSE_FAILURES},
    {BREAKER_OPEN, BREAKER_CAUSE_SLOW},       {BREAKER_OPEN, BREAKER_CAUSE_SILENT},
    {BREAKER_OPEN, BREAKER_CAUSE_PROBE},      {BREAKER_OPEN, BREAKER_CAUSE_OPERATOR},
    {BREAKER_HALF_OPEN, BREAKER_CAUSE_TIME},  {BREAKER_HALF_OPEN, BREAKER_CAUSE_CHECKS},
    {BREAKER_HALF_OPEN, BREAKER_CAUSE_EXPIRED}, {BREAKER_HALF_OPEN, BREAKER_CAUSE_OPERATOR},
    {BREAKER_CLOSED, BREAKER_CAUSE_RECOVERED}, {BREAKER_CLOSED, BREAKER_CAUSE_OPERATOR},
    {BREAKER_CLOSED, BREAKER_CAUSE_EXPIRED},
};

static stats_id transition_series(const struct processor *processor, enum breaker_state to, enum breaker_cause cause)
{
    return stats_series(processor_stats(processor), &family_transitions, processor->name, breaker_state_name(to),
                        breaker_cause_name(cause));
}

void circuits_find_series(struct processor *processor)
{
    for (size_t i = 0; i < ARRAY_COUNT(transitions); i++) {
        (void)transition_series(processor, transitions[i].to, transitions[i].cause);
    }
}

static const char *endpoint_text(const struct circuit *circuit)
{
    return circuit->endpoint != NULL ? circuit->endpoint->text : "";
}

static const char *route_text(const struct circuit *circuit)
{
    return circuit->route != NULL ? circuit->route : "";
}

static void show_state(const struct circuit *circuit, bool shown)
{
    for (int i = 0; i < BREAKER_STATE_COUNT; i++) {
        bool is_it = circuit->breaker.state == (enum breaker_state)i;
        stats_set(processor_stats(circuit->processor), circuit->stat_state[i], shown && is_it ? 1 : 0);
    }
}

void circuit_find_series(struct circuit *circuit)
{
    const struct processor *processor = circuit->processor;
    for (int i = 0; i < BREAKER_STATE_COUNT; i++) {
        circuit->stat_state[i] = stats_series(processor_stats(processor), &family_state, processor->name,
                                              endpoint_text(circuit), route_text(circuit),
                                              breaker_state_name((enum breaker_state)i));
    }
    show_state(circuit, true);
}

void circuit_retire(struct circuit *circuit)
{
    show_state(circuit, false);
}

/* ---- words ---- */

static uint32_t percent(uint32_t part, uint32_t whole)
{
    return whole == 0 ? 0 : (uint32_t)((uint64_t)part * 100 / whole);
}

/* So many in a row, or a share of all. */
static void describe_failures(const struct circuit *circuit, const struct breaker_change *change, uint64_t window_s,
                              char sentence[SENTENCE_BYTES])
{
    if ((uint64_t)change->failed * 1000 < (uint64_t)circuit->breaker.settings.open_at_permille * change->calls) {
        snprintf(sentence, SENTENCE_BYTES, "%" PRIu32 " calls in a row failed", change->failed_in_a_row);
        return;
    }
    snprintf(sentence, SENTENCE_BYTES, "%" PRIu32 "%% of %" PRIu32 " calls in %" PRIu64 " s failed",
             percent(change->failed, change->calls), change->calls, window_s);
}

/* Why it opened, in a sentence with its numbers. */
static void describe_opening(const struct circuit *circuit, const struct breaker_change *change, char sentence[SENTENCE_BYTES])
{
    uint64_t window_s = (circuit->breaker.settings.window_us + CLOCK_US_PER_S - 1) / CLOCK_US_PER_S;
    switch (change->cause) {
    case BREAKER_CAUSE_UNREACHED:
        snprintf(sentence, SENTENCE_BYTES, "%" PRIu32 " calls in a row found no connection or no answer in time",
                 change->in_a_row);
        return;
    case BREAKER_CAUSE_FAILURES:
        describe_failures(circuit, change, window_s, sentence);
        return;
    case BREAKER_CAUSE_SLOW:
        snprintf(sentence, SENTENCE_BYTES,
                 "%" PRIu32 " of %" PRIu32 " calls in %" PRIu64 " s were slow, and %" PRIu32 " of %" PRIu32
                 " in flight are overdue",
                 change->slow, change->calls, window_s, change->overdue, change->in_flight);
        return;
    case BREAKER_CAUSE_SILENT:
        snprintf(sentence, SENTENCE_BYTES,
                 "%" PRIu32 " of %" PRIu32 " calls in flight are overdue, and no answer comes", change->overdue,
                 change->in_flight);
        return;
    case BREAKER_CAUSE_PROBE:
        snprintf(sentence, SENTENCE_BYTES, "%" PRIu32 " of %" PRIu32 " probes failed", change->failed, change->calls);
        return;
    default:
        snprintf(sentence, SENTENCE_BYTES, "an operator said so");
        return;
    }
}

static void describe(const struct circuit *circuit, const struct breaker_change *change, char sentence[SENTENCE_BYTES])
{
    if (change->to == BREAKER_OPEN) {
        describe_opening(circuit, change, sentence);
        return;
    }
    switch (change->cause) {
    case BREAKER_CAUSE_TIME:
        snprintf(sentence, SENTENCE_BYTES, "it was open for its time: now it is probed");
        return;
    case BREAKER_CAUSE_CHECKS:
        snprintf(sentence, SENTENCE_BYTES, "its checks pass: now it is probed");
        return;
    case BREAKER_CAUSE_RECOVERED:
        snprintf(sentence, SENTENCE_BYTES, "every stage of probing went well");
        return;
    case BREAKER_CAUSE_EXPIRED:
        snprintf(sentence, SENTENCE_BYTES, "what an operator said is over");
        return;
    default:
        snprintf(sentence, SENTENCE_BYTES, "an operator said so");
        return;
    }
}

static void tell(const struct circuit *circuit)
{
    static const char *const events[] = {
        [BREAKER_CLOSED] = "breaker_closed", [BREAKER_OPEN] = "breaker_open", [BREAKER_HALF_OPEN] = "breaker_half_open"};
    const struct breaker_change *change = &circuit->breaker.change;
    char sentence[SENTENCE_BYTES];
    describe(circuit, change, sentence);
    log_event(processor_log(circuit->processor), change->to == BREAKER_OPEN ? LOG_WARN : LOG_INFO, events[change->to],
              sentence, LOG_T("processor", circuit->processor->name),
              circuit->endpoint != NULL ? LOG_T("endpoint", circuit->endpoint->text) : LOG_T("route", circuit->route),
              LOG_T("cause", breaker_cause_name(change->cause)), LOG_N("calls", change->calls),
              LOG_N("failed", change->failed), LOG_N("slow", change->slow), LOG_N("in_flight", change->in_flight),
              LOG_N("overdue", change->overdue), LOG_N("in_a_row", change->in_a_row),
              LOG_N("failed_in_a_row", change->failed_in_a_row),
              LOG_N("lasted_ms", change->lasted_us / CLOCK_US_PER_MS), LOG_N("open_ms", change->open_us / CLOCK_US_PER_MS));
}

/* ---- changes ---- */

void circuit_changed(struct circuit *circuit)
{
    struct processor *processor = circuit->processor;
    const struct breaker_change *change = &circuit->breaker.change;
    bool shown = circuit->endpoint == NULL || !circuit->endpoint->retired;
    if (shown) {
        show_state(circuit, true);
        stats_add(processor_stats(processor), transition_series(processor, change->to, change->cause), 1);
        tell(circuit);
    }
    if (circuit->endpoint != NULL) {
        endpoint_on_circuit(circuit->endpoint);
    }
    if (change->to == BREAKER_CLOSED) {
        queue_wake(processor);
    } else {
        queue_doubt(processor);
    }
}

void circuits_audit_word(const struct processor *processor, uint64_t for_us)
{
    char until[LOG_TIME_BYTES] = "";
    if (for_us > 0) {
        log_time_format(clock_wall_us() + for_us, until);
    }
    const struct log_field fields[] = {
        LOG_T("actor", processor->forced_by),
        LOG_T("processor", processor->name),
        LOG_T("breakers", breaker_forced_name(processor->forced)),
        LOG_T("why", processor->forced_why),
        LOG_T("until", for_us > 0 ? until : NULL),
    };
    log_audit_fields(processor_log(processor), "breaker_forced_by_operator", "an operator gave a word on a processor's breakers",
                     fields, ARRAY_COUNT(fields));
}
