/* Limits in the words of the configuration, as tables and as JSON. It reads a view, and nothing else. */
#include "limits_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "show_internal.h"
#include "tables_internal.h"
#include "weir/base/json.h"
#include "weir/policy/shed.h"

/* ---- words of the configuration ---- */

/* Appends; what does not fit is cut. */
WEIR_PRINTF(2, 3) static void add(char text[SHOW_LIMIT_BYTES], const char *format, ...)
{
    size_t len = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + len, SHOW_LIMIT_BYTES - len, format, arguments);
    va_end(arguments);
}

static const char *part_name(enum conf_limit_part_kind kind)
{
    static const char *const NAMES[] = {
        [CONF_PART_TENANT] = "tenant",  [CONF_PART_CLIENT_IP] = "client_ip", [CONF_PART_MTLS_SUBJECT] = "mtls_subject",
        [CONF_PART_HEADER] = "header:", [CONF_PART_ROUTE] = "route",
    };
    return NAMES[kind];
}

const char *show_limit_mode(enum conf_limit_mode mode)
{
    static const char *const NAMES[] = {
        [CONF_LIMIT_ENFORCE] = "enforce", [CONF_LIMIT_SHADOW] = "shadow", [CONF_LIMIT_OFF] = "off"};
    return NAMES[mode];
}

static const char *store_down_name(enum conf_limit_store_down store_down)
{
    static const char *const NAMES[] = {
        [CONF_LIMIT_LOCAL] = "local", [CONF_LIMIT_OPEN] = "open", [CONF_LIMIT_CLOSED] = "closed"};
    return NAMES[store_down];
}

static void add_part(char text[SHOW_LIMIT_BYTES], const struct conf_limit_part *part)
{
    add(text, "%s%s", part_name(part->kind), part->kind == CONF_PART_HEADER ? part->header : "");
}

const char *show_limit_callers(const struct conf_limit *limit, char text[SHOW_LIMIT_BYTES])
{
    text[0] = '\0';
    for (int i = 0; i < limit->part_count; i++) {
        add(text, "%s", i > 0 ? "+" : "");
        add_part(text, &limit->parts[i]);
    }
    return text;
}

/* As it may be written: 100/s, 30/5min, 1/day. */
static void add_rate(char text[SHOW_LIMIT_BYTES], const struct conf_rate *rate)
{
    static const struct {
        const char *name;
        uint64_t us;
    } UNITS[] = {{"day", UINT64_C(86400000000)}, {"h", UINT64_C(3600000000)}, {"min", UINT64_C(60000000)},
                 {"s", UINT64_C(1000000)},       {"ms", UINT64_C(1000)},      {"us", UINT64_C(1)}};
    size_t at = 0;
    while (rate->per_us % UNITS[at].us != 0) {
        at++;
    }
    uint64_t count = rate->per_us / UNITS[at].us;
    add(text, "%" PRIu64 "/", rate->tokens);
    if (count != 1) {
        add(text, "%" PRIu64, count);
    }
    add(text, "%s", UNITS[at].name);
}

const char *show_limit_room(const struct conf_limit *limit, const struct conf_limit_tier *tier,
                            char text[SHOW_LIMIT_BYTES])
{
    const struct conf_rate *rate = tier != NULL ? &tier->rate : &limit->rate;
    uint32_t concurrent = tier != NULL ? tier->concurrent : limit->concurrent;
    text[0] = '\0';
    if (rate->tokens == 0) {
        add(text, "%" PRIu32 " at once", concurrent);
        return text;
    }
    add_rate(text, rate);
    add(text, " burst %" PRIu64 "%s", tier != NULL ? tier->burst : limit->burst,
        limit->charge_on == CONF_CHARGE_ON_DECLINE ? " declines" : "");
    return text;
}

/* ---- the state of them all ---- */

/* "level 120 of 400 (list 20 %, test 100 %, background 100 %)": who is turned away now. */
static void add_level(char text[SHOW_LIMIT_BYTES], uint32_t level)
{
    const struct shed shed = {.level = level};
    const char *between = " (";
    add(text, "shedding level %" PRIu32 " of %u", level, SHED_LEVEL_MAX);
    for (int i = 0; i < SHED_CLASS_COUNT; i++) {
        uint32_t share = shed_share(&shed, (enum shed_class)i);
        if (share > 0) {
            add(text, "%s%s %" PRIu32 " %%", between, shed_class_name((enum shed_class)i), share);
            between = ", ";
        }
    }
    add(text, "%s", between[0] == ',' ? ")" : "");
}

static const char AWAY[] = "the store is LEFT ALONE since it does not answer in time";

const char *show_limits_state(const struct gate_limits_state *state, char text[SHOW_LIMIT_BYTES])
{
    text[0] = '\0';
    if (state->shed_level > 0) {
        add_level(text, state->shed_level);
    }
    if (state->fleet > 1) {
        add(text, "%sfleet of %" PRIu32, text[0] != '\0' ? ", " : "", state->fleet);
    }
    if (state->store_away) {
        add(text, "%s%s", text[0] != '\0' ? ", " : "", AWAY);
    }
    return text;
}

void report_limits_state(const struct gate_limits_state *state, struct json *json)
{
    json_put_u64(json, "fleet", state->fleet);
    json_put_bool(json, "store_away", state->store_away);
    json_put_u64(json, "shed_level", state->shed_level);
    json_put_u64(json, "shed_level_max", SHED_LEVEL_MAX);
    json_put_u64(json, "callers", state->callers);
    json_put_u64(json, "callers_max", state->callers_max);
}

/* ---- tables ---- */

static const char *store_words(const struct limits_view *view)
{
    if (!view->has_store) {
        return "no store";
    }
    return view->state.store_away ? AWAY : "the store is asked";
}

static bool show_head(const struct limits_view *view, struct buf *out)
{
    const struct gate_limits_state *state = &view->state;
    char level[SHOW_LIMIT_BYTES] = "";
    add_level(level, state->shed_level);
    return show_row(out, "fleet", "%" PRIu32 ", %s, %s, %" PRIu32 " of %" PRIu32 " callers known", state->fleet,
                    store_words(view), level, state->callers, state->callers_max);
}

/* The last column is there when it says something: the store was away, and a limit stood open. */
static bool show_table(const struct limits_view *view, struct buf *out)
{
    static const char *const TITLES[] = {"LIMIT",    "BY",      "ALLOWS",       "MODE",    "CALLERS",
                                         "ADMITTED", "REFUSED", "WOULD-REFUSE", "SKIPPED", "PASSED-OPEN"};
    char text[SHOW_LIMIT_BYTES];
    struct text_table table;
    uint64_t passed_open = 0;
    for (size_t i = 0; i < view->limit_count; i++) {
        passed_open += view->limits[i].passed_open;
    }
    text_table_open(&table, out, TITLES, (int)ARRAY_COUNT(TITLES) - (passed_open == 0));
    for (size_t i = 0; i < view->limit_count; i++) {
        const struct gate_limit *limit = &view->limits[i];
        text_table_cell(&table, "%s", limit->conf->name);
        text_table_cell(&table, "%s", show_limit_callers(limit->conf, text));
        text_table_cell(&table, "%s", show_limit_room(limit->conf, NULL, text));
        text_table_cell(&table, "%s", show_limit_mode(limit->conf->mode));
        text_table_cell(&table, "%" PRIu32, limit->callers);
        text_table_cell(&table, "%" PRIu64, limit->admitted);
        text_table_cell(&table, "%" PRIu64, limit->refused);
        text_table_cell(&table, "%" PRIu64, limit->would_refuse);
        text_table_cell(&table, "%" PRIu64, limit->skipped);
        if (passed_open != 0) {
            text_table_cell(&table, "%" PRIu64, limit->passed_open);
        }
    }
    return text_table_close(&table);
}

static bool show_tiers(const struct conf_limit *limit, struct buf *out)
{
    static const char *const TITLES[] = {"TIER", "ALLOWS"};
    char text[SHOW_LIMIT_BYTES];
    struct text_table table;
    text_table_open(&table, out, TITLES, ARRAY_COUNT(TITLES));
    for (int i = 0; i < limit->tier_count; i++) {
        text_table_cell(&table, "%s", limit->tiers[i].name);
        text_table_cell(&table, "%s", show_limit_room(limit, &limit->tiers[i], text));
    }
    return text_table_close(&table);
}

static bool show_held(const struct limits_view *view, struct buf *out)
{
    static const char *const TITLES[] = {"LIMIT", "HOLDS", "SHADOW", "REFUSED", "IN-FLIGHT", "SINCE"};
    char since[LOG_TIME_BYTES];
    struct text_table table;
    text_table_open(&table, out, TITLES, ARRAY_COUNT(TITLES));
    for (size_t i = 0; i < view->held_count; i++) {
        const struct gate_held *held = &view->held[i];
        text_table_cell(&table, "%s", held->limit);
        text_table_cell(&table, "%s", held->who);
        text_table_cell(&table, "%s", held->shadow ? "yes" : "no");
        text_table_cell(&table, "%" PRIu64, held->refused);
        text_table_cell(&table, "%" PRIu32, held->in_flight);
        text_table_cell(&table, "%s", show_time(held->since_us, since));
    }
    return text_table_close(&table);
}

static bool show_gap(struct buf *out)
{
    return buf_append(out, BYTES("\n"), BLOCKS_MAY) == ERR_OK;
}

bool show_limits(const struct limits_view *view, struct buf *out)
{
    bool fits = show_head(view, out);
    if (view->limit_count == 0) {
        return fits && show_row(out, "limits", "none are configured");
    }
    fits = fits && show_gap(out) && show_table(view, out) && show_gap(out);
    if (view->alone && view->limits[0].conf->tier_count > 0) {
        fits = fits && show_tiers(view->limits[0].conf, out) && show_gap(out);
    }
    if (view->held_count == 0) {
        return fits && show_row(out, "held", "nobody in the last minute");
    }
    fits = fits && show_held(view, out);
    if (!view->held_whole) {
        fits = fits && show_gap(out) &&
               show_row(out, "and more", "only the %d most refused were looked at", LIMITS_HELD_MAX);
    }
    return fits;
}

/* ---- JSON ---- */

static void put_room(const struct conf_rate *rate, uint64_t burst, uint32_t concurrent, struct json *json)
{
    char text[SHOW_LIMIT_BYTES] = "";
    if (rate->tokens > 0) {
        add_rate(text, rate);
        json_put_text(json, "rate", text);
        json_put_u64(json, "burst", burst);
    } else {
        json_put_u64(json, "concurrent", concurrent);
    }
}

static void put_limit(const struct gate_limit *limit, struct json *json)
{
    const struct conf_limit *conf = limit->conf;
    json_object_open(json);
    json_put_text(json, "name", conf->name);
    json_key(json, "by");
    json_array_open(json);
    for (int i = 0; i < conf->part_count; i++) {
        char text[SHOW_LIMIT_BYTES] = "";
        add_part(text, &conf->parts[i]);
        json_add_string(json, bytes_from_text(text));
    }
    json_array_close(json);
    put_room(&conf->rate, conf->burst, conf->concurrent, json);
    json_put_text(json, "mode", show_limit_mode(conf->mode));
    json_put_text(json, "store_down", store_down_name(conf->store_down));
    json_put_text(json, "charge_on", conf->charge_on == CONF_CHARGE_ON_DECLINE ? "decline" : "request");
    json_key(json, "tiers");
    json_array_open(json);
    for (int i = 0; i < conf->tier_count; i++) {
        json_object_open(json);
        json_put_text(json, "name", conf->tiers[i].name);
        put_room(&conf->tiers[i].rate, conf->tiers[i].burst, conf->tiers[i].concurrent, json);
        json_object_close(json);
    }
    json_array_close(json);
    json_put_u64(json, "callers", limit->callers);
    json_put_u64(json, "admitted", limit->admitted);
    json_put_u64(json, "refused", limit->refused);
    json_put_u64(json, "would_refuse", limit->would_refuse);
    json_put_u64(json, "skipped", limit->skipped);
    json_put_u64(json, "passed_open", limit->passed_open);
    json_object_close(json);
}

static void put_held(const struct gate_held *held, struct json *json)
{
    json_object_open(json);
    json_put_text(json, "limit", held->limit);
    json_put_text(json, "who", held->who);
    json_put_bool(json, "shadow", held->shadow);
    json_put_u64(json, "refused", held->refused);
    json_put_u64(json, "in_flight", held->in_flight);
    report_time(json, "since", held->since_us);
    report_time(json, "last", held->last_us);
    json_object_close(json);
}

void report_limits(const struct limits_view *view, struct json *json)
{
    json_object_open(json);
    json_put_bool(json, "ok", true);
    json_put_bool(json, "store", view->has_store);
    report_limits_state(&view->state, json);
    json_key(json, "limits");
    json_array_open(json);
    for (size_t i = 0; i < view->limit_count; i++) {
        put_limit(&view->limits[i], json);
    }
    json_array_close(json);
    json_key(json, "held");
    json_array_open(json);
    for (size_t i = 0; i < view->held_count; i++) {
        put_held(&view->held[i], json);
    }
    json_array_close(json);
    json_put_bool(json, "held_whole", view->held_whole);
    json_object_close(json);
}
