/*
 * A breaker in words: why it changed, for how long, who holds it, and the table
 * behind `weir breaker PROCESSOR`. It reads, and decides nothing.
 */
#include <inttypes.h>
#include <stdio.h>

#include "processors_internal.h"
#include "show_internal.h"
#include "tables_internal.h"
#include "weir/base/clock.h"

static uint64_t between_us(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? to_us - from_us : 0;
}

static unsigned percent(uint32_t part, uint32_t all)
{
    return all > 0 ? (unsigned)((uint64_t)part * 100 / all) : 0;
}

/* So many in a row open it whatever their share is, and then the share alone would be a riddle. */
static void show_failures(const struct breaker_change *change, char text[SHOW_BREAKER_BYTES])
{
    char row[SHOW_BREAKER_BYTES / 2] = "";
    if (change->failed_in_a_row >= BREAKER_FAILED_MAX && change->failed < change->calls) {
        snprintf(row, sizeof(row), ", the last %" PRIu32 " all", change->failed_in_a_row);
    }
    snprintf(text, SHOW_BREAKER_BYTES, "%u %% of %" PRIu32 " calls failed%s", percent(change->failed, change->calls),
             change->calls, row);
}

const char *show_breaker_why(const struct breaker_change *change, char text[SHOW_BREAKER_BYTES])
{
    text[0] = '\0';
    switch (change->cause) {
    case BREAKER_CAUSE_UNREACHED:
        snprintf(text, SHOW_BREAKER_BYTES, "%" PRIu32 " calls in a row found no connection or no answer", change->in_a_row);
        break;
    case BREAKER_CAUSE_FAILURES:
        show_failures(change, text);
        break;
    case BREAKER_CAUSE_SLOW:
        /* Those in flight that are overdue decide with those that ended. */
        snprintf(text, SHOW_BREAKER_BYTES, "%u %% of %" PRIu32 " calls were slow or are overdue",
                 percent(change->slow + change->overdue, change->calls + change->overdue), change->calls + change->overdue);
        break;
    case BREAKER_CAUSE_SILENT:
        snprintf(text, SHOW_BREAKER_BYTES, "%" PRIu32 " of %" PRIu32 " calls in flight are overdue, and no answer comes",
                 change->overdue, change->in_flight);
        break;
    case BREAKER_CAUSE_PROBE:
        snprintf(text, SHOW_BREAKER_BYTES, "%" PRIu32 " of %" PRIu32 " probes failed", change->failed, change->calls);
        break;
    case BREAKER_CAUSE_TIME:
        snprintf(text, SHOW_BREAKER_BYTES, "its time was over, probes decide");
        break;
    case BREAKER_CAUSE_CHECKS:
        snprintf(text, SHOW_BREAKER_BYTES, "its checks pass, probes decide");
        break;
    case BREAKER_CAUSE_RECOVERED:
        snprintf(text, SHOW_BREAKER_BYTES, "its probes came through");
        break;
    case BREAKER_CAUSE_OPERATOR:
        snprintf(text, SHOW_BREAKER_BYTES, "an operator said so");
        break;
    case BREAKER_CAUSE_EXPIRED:
        snprintf(text, SHOW_BREAKER_BYTES, "an operator's word was over");
        break;
    case BREAKER_CAUSE_NONE:
    case BREAKER_CAUSE_COUNT:
        break;
    }
    return text;
}

const char *show_breaker_for(const struct breaker_shown *breaker, uint64_t now_us, char text[SHOW_BREAKER_BYTES])
{
    char age[SHOW_AGE_BYTES];
    snprintf(text, SHOW_BREAKER_BYTES, "%s", show_age(between_us(breaker->since_us, now_us), age));
    return text;
}

bool show_breaker_passes(const struct breaker_shown *breaker)
{
    switch (breaker->forced) {
    case BREAKER_FORCED_OPEN:
        return false;
    case BREAKER_FORCED_CLOSED:
        return true;
    case BREAKER_AUTO:
        break;
    }
    return breaker->state != BREAKER_OPEN;
}

const char *show_forced(const struct processor_state *state, uint64_t now_us, char text[SHOW_FORCED_BYTES])
{
    char age[SHOW_AGE_BYTES];
    text[0] = '\0';
    if (state->forced != BREAKER_AUTO) {
        snprintf(text, SHOW_FORCED_BYTES, "held %s for %s more by %s: %s", breaker_forced_name(state->forced),
                 show_age(between_us(now_us, state->forced_until_us), age),
                 state->forced_by != NULL ? state->forced_by : "unknown",
                 state->forced_why != NULL ? state->forced_why : "");
    }
    return text;
}

/* ---- weir breaker PROCESSOR ---- */

static bool show_head(const struct processor_state *state, uint64_t now_us, struct buf *out)
{
    char text[SHOW_FORCED_BYTES];
    if (show_forced(state, now_us, text)[0] == '\0') {
        return show_row(out, state->name, "auto: nobody holds its breakers open or closed");
    }
    return show_row(out, state->name, "%s", text);
}

static void show_line(struct text_table *table, const char *kind, const char *name, const struct breaker_shown *breaker,
                      uint64_t now_us)
{
    char text[SHOW_BREAKER_BYTES], age[SHOW_AGE_BYTES];
    text_table_cell(table, "%s%s", kind, name);
    text_table_cell(table, "%s", breaker_state_name(breaker->state));
    text_table_cell(table, "%s", show_breaker_for(breaker, now_us, text));
    text_table_cell(table, "%s", breaker->until_us != 0 ? show_age(between_us(now_us, breaker->until_us), age) : "-");
    text_table_cell(table, "%" PRIu32, breaker->calls);
    text_table_cell(table, "%" PRIu32, breaker->failed);
    text_table_cell(table, "%" PRIu32, breaker->slow);
    text_table_cell(table, "%s", show_breaker_why(&breaker->change, text)[0] != '\0' ? text : "-");
}

bool show_breakers(const struct processor *processor, uint64_t now_us, struct buf *out)
{
    static const char *const TITLES[] = {"BREAKER OF", "STATE", "FOR", "PROBED-IN", "CALLS", "FAILED", "SLOW", "WHY"};
    struct processor_state state;
    struct endpoint_state endpoint;
    struct circuit_state circuit;
    struct text_table table;
    processor_state(processor, &state);
    bool fits = show_head(&state, now_us, out) && buf_append(out, BYTES("\n"), BLOCKS_MAY) == ERR_OK;
    text_table_open(&table, out, TITLES, ARRAY_COUNT(TITLES));
    for (int i = 0; processor_endpoint_state(processor, i, &endpoint); i++) {
        show_line(&table, "", endpoint.address, &endpoint.breaker, now_us);
    }
    for (int i = 0; processor_circuit_state(processor, i, &circuit); i++) {
        show_line(&table, "route ", circuit.route, &circuit.breaker, now_us);
    }
    return text_table_close(&table) && fits;
}
