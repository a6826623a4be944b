/*
 * What an operator reads in a terminal: the short tables behind `weir status`
 * and `weir reload`. The verbs print them as they come, so that the words live
 * beside the facts.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "app_internal.h"
#include "limits_internal.h"
#include "processors_internal.h"
#include "show_internal.h"
#include "weir/base/clock.h"

static void show_listeners(const struct app *app, const struct conf *conf, struct buf *out)
{
    for (int i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        show_row(out, i == 0 ? "listeners" : "", "%s %s%s", listener->name, listener->address_text,
            listener->tls.present ? " tls" : "");
    }
    if (app->monitor != NULL) {
        show_row(out, "monitor", "port %" PRIu16, httpd_port(app->monitor));
    }
}

static void show_counts(const struct app *app, struct buf *out)
{
    const struct blocks *blocks = loop_blocks(app->loop);
    struct gate_state state;
    gate_state(app->gate, &state);
    show_row(out, "clients", "%" PRIu32 " (%" PRIu32 " tls) of at most %" PRIu32, state.clients, state.clients_tls,
        app->descriptors.clients_max);
    show_row(out, "exchanges", "%" PRIu32 " in flight (%" PRIu32 " sent), %" PRIu64 " in all", state.exchanges,
        state.exchanges_sent, state.exchanges_total);
    show_row(out, "buffers", "%zu of %zu KiB", blocks->used_bytes / 1024, blocks->limit_bytes / 1024);
    uint64_t dropped = log_dropped_count(app->log, LOG_ACCESS) + log_dropped_count(app->log, LOG_EVENTS);
    if (dropped > 0) {
        show_row(out, "log", "%" PRIu64 " lines dropped, %" PRIu64 " of them audit lines", dropped,
            log_audit_lost_count(app->log));
    }
}

static void show_store(const struct app *app, struct buf *out)
{
    struct store_state state;
    char age[SHOW_AGE_BYTES];
    if (!records_state(&app->records, &state)) {
        show_row(out, "store", "none: no route has idempotency, and no limit is shared");
        return;
    }
    show_row(out, "store", "%s, %s%s%s%s%s", state.type, state.up ? "up" : "DOWN", state.trouble != NULL ? ": " : "",
             state.trouble != NULL ? state.trouble : "",
             state.not_durable != NULL ? "; single_shot refused: " : "",
             state.not_durable != NULL ? state.not_durable : "");
    if (state.bytes_max > 0) {
        show_row(out, "", "%" PRIu64 " KiB of %" PRIu64 " MiB in use", state.bytes_used >> 10, state.bytes_max >> 20);
    }
    uint64_t now_us = clock_wall_us();
    bool any = state.oldest_unknown_us != 0 && state.oldest_unknown_us < now_us;
    show_row(out, "unknown", "%" PRIu64 "%s%s%s", state.unknown_count, any ? ", the oldest for " : "",
             any ? show_age(now_us - state.oldest_unknown_us, age) : "",
             state.unknown_count > 0 ? ": weir idempotency list --unknown" : "");
    if (state.unsettled > 0) {
        show_row(out, "unsettled", "%" PRIu32 " payments ended and the store does not know it yet", state.unsettled);
    }
}

/* Only what is not as it always is. */
static void show_limits_line(const struct app *app, struct buf *out)
{
    struct gate_limits_state state;
    char text[SHOW_LIMIT_BYTES];
    gate_limits_state(app->gate, &state);
    if (show_limits_state(&state, text)[0] != '\0') {
        show_row(out, "limits", "%s", text);
    }
}

static void show_last_reload(const struct app *app, struct buf *out)
{
    char text[LOG_TIME_BYTES];
    if (app->reload.last_text[0] == '\0') {
        show_row(out, "last reload", "none since the start");
        return;
    }
    show_row(out, "last reload", "%s at %s: %s", app->reload.last_ok ? "ok" : "REFUSED",
        show_time(app->reload.last_us, text), app->reload.last_text);
}

bool show_status(const struct app *app, struct buf *out)
{
    const struct conf *conf = app_conf(app);
    const char *not_ready = app_not_ready(app);
    char text[LOG_TIME_BYTES];
    show_row(out, "weir", WEIR_VERSION ", %s%s%s", drain_state_name(app->drain.state), not_ready != NULL ? ", not ready: " : "",
        not_ready != NULL ? not_ready : "");
    show_row(out, "started", "%s", show_time(app->started_us, text));
    show_row(out, "generation", "%" PRIu32 " since %s", generation_number(gate_generation(app->gate)),
        show_time(app->reload.last_ok_us, text));
    show_row(out, "config", "%s sha256 %.12s", conf->path, conf->sha256);
    show_listeners(app, conf, out);
    show_counts(app, out);
    show_store(app, out);
    show_limits_line(app, out);
    show_last_reload(app, out);
    return show_processor_rows(app->upstream, clock_now_us(), out);
}

bool show_reload(const struct reload_result *result, struct buf *out)
{
    if (result->findings != NULL && conf_findings_count(result->findings) > 0) {
        char *text = conf_findings_text(result->findings);
        enum err err = text != NULL ? buf_append(out, bytes_from_text(text), BLOCKS_MAY) : ERR_NO_MEMORY;
        free(text);
        if (err != ERR_OK) {
            return false;
        }
    }
    return buf_append(out, bytes_from_text(result->text), BLOCKS_MAY) == ERR_OK &&
           buf_append(out, BYTES("\n"), BLOCKS_MAY) == ERR_OK;
}
