/*
 * What the process says of itself: JSON for the admin API and events for USR2.
 * Reads everything, changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app_internal.h"
#include "limits_internal.h"
#include "processors_internal.h"
#include "show_internal.h"
#include "weir/base/json.h"

static void put_time(struct json *json, const char *key, uint64_t wall_us)
{
    char text[LOG_TIME_BYTES];
    log_time_format(wall_us, text);
    json_put_text(json, key, text);
}

static void put_listeners(const struct app *app, const struct conf *conf, struct json *json)
{
    json_key(json, "listeners");
    json_array_open(json);
    for (int i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        json_object_open(json);
        json_put_text(json, "name", listener->name);
        json_put_text(json, "address", listener->address_text);
        json_put_u64(json, "port", gate_port(app->gate, i));
        json_put_bool(json, "tls", listener->tls.present);
        json_object_close(json);
    }
    json_array_close(json);
}

static void put_clients(const struct app *app, struct json *json)
{
    struct gate_state state;
    gate_state(app->gate, &state);
    json_put_u64(json, "clients", state.clients);
    json_put_u64(json, "clients_tls", state.clients_tls);
    json_put_u64(json, "clients_max", app->descriptors.clients_max);
    json_put_u64(json, "exchanges", state.exchanges);
    json_put_u64(json, "exchanges_sent", state.exchanges_sent);
    json_put_u64(json, "exchanges_total", state.exchanges_total);
}

static void put_limits(const struct app *app, struct json *json)
{
    struct gate_limits_state state;
    gate_limits_state(app->gate, &state);
    json_key(json, "limits");
    json_object_open(json);
    report_limits_state(&state, json);
    json_object_close(json);
}

static void put_last_reload(const struct app *app, struct json *json)
{
    const struct reload *reload = &app->reload;
    json_key(json, "reload");
    json_object_open(json);
    json_put_bool(json, "ok", reload->last_ok);
    put_time(json, "at", reload->last_us);
    put_time(json, "last_ok_at", reload->last_ok_us);
    json_put_text(json, "text", reload->last_text);
    json_object_close(json);
}

static void put_buffers(const struct app *app, struct json *json)
{
    const struct blocks *blocks = loop_blocks(app->loop);
    json_key(json, "buffers");
    json_object_open(json);
    json_put_u64(json, "used_bytes", blocks->used_bytes);
    json_put_u64(json, "peak_bytes", blocks->used_bytes_peak);
    json_put_u64(json, "limit_bytes", blocks->limit_bytes);
    json_put_u64(json, "refused", blocks->refused_count);
    json_object_close(json);
}

static void put_store(const struct app *app, struct json *json)
{
    struct store_state state;
    json_key(json, "store");
    if (!records_state(&app->records, &state)) {
        json_add_null(json);
        return;
    }
    json_object_open(json);
    json_put_text(json, "type", state.type);
    json_put_bool(json, "up", state.up);
    json_put_text(json, "trouble", state.trouble);
    json_put_bool(json, "durable", state.durable);
    json_put_text(json, "not_durable", state.not_durable);
    json_put_u64(json, "unknown", state.unknown_count);
    report_time(json, "oldest_unknown", state.oldest_unknown_us);
    json_put_u64(json, "used_bytes", state.bytes_used);
    json_put_u64(json, "max_bytes", state.bytes_max);
    json_put_u64(json, "calls", state.calls);
    json_put_u64(json, "unsettled", state.unsettled);
    json_object_close(json);
}

void report_status(const struct app *app, struct json *json)
{
    const struct conf *conf = app_conf(app);
    const char *not_ready = app_not_ready(app);
    json_object_open(json);
    json_put_text(json, "version", WEIR_VERSION);
    json_put_u64(json, "pid", (uint64_t)getpid());
    put_time(json, "started", app->started_us);
    json_put_text(json, "state", drain_state_name(app->drain.state));
    json_put_bool(json, "ready", not_ready == NULL);
    json_put_u64(json, "generation", generation_number(gate_generation(app->gate)));
    put_time(json, "since", app->reload.last_ok_us);
    json_put_text(json, "config", conf->path);
    json_put_text(json, "sha256", conf->sha256);
    put_listeners(app, conf, json);
    put_clients(app, json);
    report_processors(app->upstream, json);
    put_store(app, json);
    put_limits(app, json);
    put_last_reload(app, json);
    put_buffers(app, json);
    json_key(json, "log");
    json_object_open(json);
    json_put_u64(json, "access_dropped", log_dropped_count(app->log, LOG_ACCESS));
    json_put_u64(json, "events_dropped", log_dropped_count(app->log, LOG_EVENTS));
    json_put_u64(json, "audit_lost", log_audit_lost_count(app->log));
    json_object_close(json);
    json_object_close(json);
}

static void put_finding(const struct conf_finding *finding, struct json *json)
{
    json_object_open(json);
    json_put_text(json, "severity", finding->is_error ? "error" : "warning");
    json_put_u64(json, "line", (uint64_t)finding->line);
    json_put_u64(json, "column", (uint64_t)finding->column);
    json_put_text(json, "message", finding->message);
    if (finding->hint != NULL) {
        json_put_text(json, "hint", finding->hint);
    }
    if (finding->allowed != NULL) {
        json_put_text(json, "allowed", finding->allowed);
    }
    json_object_close(json);
}

void report_reload(const struct reload_result *result, struct json *json)
{
    int count = result->findings != NULL ? conf_findings_count(result->findings) : 0;
    json_object_open(json);
    json_put_bool(json, "ok", result->ok);
    json_put_u64(json, "generation", result->generation);
    json_put_text(json, "text", result->text);
    json_key(json, "findings");
    json_array_open(json);
    for (int i = 0; i < count; i++) {
        put_finding(conf_findings_at(result->findings, i), json);
    }
    json_array_close(json);
    /* The same as an operator reads it, with the source lines. */
    if (count > 0) {
        char *text = conf_findings_text(result->findings);
        json_put_text(json, "diagnostics", text != NULL ? text : "");
        free(text);
    }
    json_object_close(json);
}

static void dump_store(const struct app *app)
{
    struct store_state state;
    if (records_state(&app->records, &state)) {
        log_event(app->log, LOG_INFO, "state_store", state.type, LOG_N("up", state.up), LOG_T("trouble", state.trouble),
                  LOG_T("not_durable", state.not_durable), LOG_N("unknown", state.unknown_count),
                  LOG_N("used_bytes", state.bytes_used), LOG_N("max_bytes", state.bytes_max), LOG_N("calls", state.calls),
                  LOG_N("unsettled", state.unsettled));
    }
}

static void dump_limits(const struct app *app)
{
    struct gate_limits_state state;
    gate_limits_state(app->gate, &state);
    log_event(app->log, LOG_INFO, "state_limits", "limits and shedding", LOG_N("store_away", state.store_away),
              LOG_N("fleet", state.fleet), LOG_N("shed_level", state.shed_level), LOG_N("callers", state.callers),
              LOG_N("callers_max", state.callers_max));
}

void report_dump(const struct app *app)
{
    struct gate_state state;
    const struct blocks *blocks = loop_blocks(app->loop);
    const struct generation *generation = gate_generation(app->gate);
    gate_state(app->gate, &state);
    log_event(app->log, LOG_INFO, "state", drain_state_name(app->drain.state),
              LOG_N("generation", generation_number(generation)), LOG_N("holders", generation_holders(generation)),
              LOG_N("listeners", state.listener_count), LOG_N("clients", state.clients),
              LOG_N("clients_tls", state.clients_tls), LOG_N("exchanges", state.exchanges),
              LOG_N("exchanges_sent", state.exchanges_sent), LOG_N("exchanges_total", state.exchanges_total),
              LOG_N("buffers_bytes", blocks->used_bytes), LOG_N("buffers_refused", blocks->refused_count));
    report_processors_dump(app->upstream, app->log);
    dump_store(app);
    dump_limits(app);
}
