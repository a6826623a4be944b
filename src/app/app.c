/*
 * `run`: builds a process in order, turns its loop, and takes it down in the
 * reverse order, so that nothing outlives what it borrows and nothing is left
 * at the end. It decides nothing of a request.
 */
#include "admin_internal.h"
#include "app_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/app/dumps.h"
#include "weir/base/clock.h"

#define WORKER_QUEUE_MAX 8
#define TICKETS_EVERY_US (12 * 3600 * CLOCK_US_PER_S)
#define LOG_CLOSE_WAIT_MS 2000
#define SETTLE_TURNS 8

const struct conf *app_conf(const struct app *app)
{
    const struct generation *generation = app->gate != NULL ? gate_generation(app->gate) : NULL;
    return generation != NULL ? generation_conf(generation) : NULL;
}

const char *app_not_ready(const struct app *app)
{
    if (app_conf(app) == NULL) {
        return "not configured yet";
    }
    if (drain_begun(&app->drain)) {
        return "draining";
    }
    return records_awaited(&app->records) ? "waiting for the store" : NULL;
}

/* Certificates are read again by a reload; ticket keys turn by time. */
static void on_tickets(struct timer *timer)
{
    struct app *app = container_of(timer, struct app, tickets_timer);
    tls_tickets_rotate(app->tickets);
    timer_set_after(timer, TICKETS_EVERY_US);
}

static bool sinks_equal(const struct log_sink a[LOG_STREAM_COUNT], const struct log_sink b[LOG_STREAM_COUNT])
{
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        if (a[i].to == NULL || strcmp(a[i].to, b[i].to) != 0 || a[i].format != b[i].format ||
            a[i].level != b[i].level) {
            return false;
        }
    }
    return true;
}

/*
 * Points the logs where `sinks` say. The paths are copied, since a log keeps
 * them for longer than a generation lives; unchanged ones are left alone, so
 * that an ordinary reload opens no file on the loop.
 */
static bool use_sinks(struct app *app, const struct log_sink sinks[LOG_STREAM_COUNT], char *why, size_t size)
{
    struct log_sink copies[LOG_STREAM_COUNT];
    char *paths[LOG_STREAM_COUNT];
    if (sinks_equal(app->sinks, sinks)) {
        return true;
    }
    bool copied = true;
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        paths[i] = strdup(sinks[i].to);
        copies[i] = sinks[i];
        copies[i].to = paths[i];
        copied = copied && paths[i] != NULL;
    }
    if (!copied) {
        snprintf(why, size, "%s", err_sentence(ERR_NO_MEMORY));
    }
    bool used = copied && log_configure(app->log, copies, why, size) == ERR_OK;
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        free(used ? app->sink_paths[i] : paths[i]);
        if (used) {
            app->sink_paths[i] = paths[i];
            app->sinks[i] = copies[i];
        }
    }
    return used;
}

/* The logs go back to where they were when the rest of a generation could not be had. */
static void restore_logs(struct app *app)
{
    char why[APP_WHY_BYTES];
    const struct conf *old = app_conf(app);
    if (old != NULL && !use_sinks(app, old->log, why, sizeof(why))) {
        log_event(app->log, LOG_ERROR, "logs_not_restored", "the logs of the refused configuration stay in use",
                  LOG_T("why", why));
    }
}

/* Takes conf and tls over, whatever comes of it. */
bool app_use(struct app *app, struct conf *conf, struct generation_parts *tls, char *why, size_t size)
{
    const struct generation_needs needs = {
        .upstream = app->upstream, .stats = app->stats, .log = app->log, .tickets = app->tickets};
    struct descriptors_plan plan;
    if (!descriptors_share(&plan, app->descriptors.open_max, conf, why, size) ||
        !use_sinks(app, conf->log, why, size)) {
        generation_parts_close(tls, conf);
        conf_free(conf);
        return false;
    }
    uint64_t buffers_bytes = conf->buffers_bytes;
    struct generation *generation = generation_open(conf, tls, &needs, app->generation_count + 1);
    if (generation == NULL) {
        snprintf(why, size, "%s", err_sentence(ERR_NO_MEMORY));
        restore_logs(app);
        return false;
    }
    if (!records_prepare(&app->records, generation, why, size) || !gate_use(app->gate, generation, why, size)) {
        restore_logs(app);
        generation_release(generation);
        return false;
    }
    records_commit(&app->records, generation);
    app->generation_count++;
    blocks_set_limit(loop_blocks(app->loop), buffers_bytes);
    return true;
}

/* Memory, threads and the loop: nothing here depends on the configuration but the bound on buffers. */
static bool open_base(struct app *app, const struct conf *conf)
{
    app->stats = stats_open();
    app->loop = app->stats != NULL ? loop_open(conf->buffers_bytes) : NULL;
    if (app->loop == NULL) {
        return false;
    }
    timer_init(&app->tickets_timer, app->loop, on_tickets);
    notify_open(&app->notify, app->loop, app->log);
    drain_init(&app->drain, app);
    records_init(&app->records, app);
    app->worker = worker_open(app->loop, WORKER_QUEUE_MAX);
    return app->worker != NULL;
}

static bool open_gate(struct app *app)
{
    app->upstream = upstream_open(&(struct upstream_options){.loop = app->loop, .log = app->log, .stats = app->stats});
    if (app->upstream == NULL) {
        return false;
    }
    app->inherited_count = notify_inherit(app->inherited, app->log);
    app->gate = gate_open(&(struct gate_options){
        .loop = app->loop,
        .log = app->log,
        .stats = app->stats,
        .upstream = app->upstream,
        .inherited = app->inherited,
        .inherited_count = app->inherited_count,
        .clients_max = app->descriptors.clients_max,
    });
    return app->gate != NULL;
}

/* A passed socket that no listener took would leave its callers waiting in silence. */
static void warn_of_unused_sockets(const struct app *app)
{
    for (int i = 0; i < app->inherited_count; i++) {
        if (app->inherited[i].fd >= 0) {
            log_event(app->log, LOG_WARN, "inherited_socket_unused", "no listener has the name of a passed socket",
                      LOG_T("name", app->inherited[i].name), LOG_N("fd", app->inherited[i].fd));
        }
    }
}

static void announce_start(struct app *app)
{
    const struct conf *conf = app_conf(app);
    struct gate_state state;
    gate_state(app->gate, &state);
    log_event(app->log, LOG_INFO, "started", "weir " WEIR_VERSION " is serving", LOG_T("config", conf->path),
              LOG_T("sha256", conf->sha256), LOG_N("generation", app->generation_count),
              LOG_N("listeners", state.listener_count), LOG_N("pid", getpid()),
              LOG_N("descriptors", app->descriptors.open_max), LOG_N("clients_max", app->descriptors.clients_max));
    for (int i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        log_event(app->log, LOG_INFO, "listening", "a listener accepts", LOG_T("listener", listener->name),
                  LOG_T("address", listener->address_text), LOG_N("port", gate_port(app->gate, i)),
                  LOG_T("tls", listener->tls.present ? "on" : "off"));
    }
    notify_ready(&app->notify, "generation 1 active");
}

static int complain(FILE *err, enum app_exit status, const char *why)
{
    fprintf(err, "weir: %s\n", why);
    return (int)status;
}

/* Everything from the loop up. conf and tls are taken over. */
static int build_and_serve(struct app *app, struct conf *conf, struct generation_parts *tls, FILE *err)
{
    char why[APP_WHY_BYTES];
    if (!open_base(app, conf) || !open_gate(app) || !process_metrics_open(app)) {
        generation_parts_close(tls, conf);
        conf_free(conf);
        return complain(err, APP_EXIT_FINDINGS, "not started: out of memory or threads");
    }
    reload_init(&app->reload, app);
    if (!app_use(app, conf, tls, why, sizeof(why)) || !monitor_open(app, app_conf(app), why, sizeof(why)) ||
        !admin_open(app, app_conf(app), why, sizeof(why))) {
        log_event(app->log, LOG_ERROR, "not_started", "weir cannot serve", LOG_T("why", why));
        return complain(err, APP_EXIT_FINDINGS, why);
    }
    if (!signals_open(app)) {
        return complain(err, APP_EXIT_FINDINGS, "not started: signals cannot be watched");
    }
    timer_set_after(&app->tickets_timer, TICKETS_EVERY_US);
    warn_of_unused_sockets(app);
    announce_start(app);
    loop_run(app->loop);
    return APP_EXIT_OK;
}

/* Turns of the loop that are left to go before it is stopped. */
struct settling {
    struct deferred deferred;
    struct loop *loop; /* borrowed */
    int turns;
};

static void on_settle(struct deferred *deferred)
{
    struct settling *settling = container_of(deferred, struct settling, deferred);
    if (--settling->turns > 0) {
        loop_defer(settling->loop, deferred);
    } else {
        loop_stop(settling->loop);
    }
}

/* What was closed is let go of by later turns, one layer after the other; a gate may only be closed after them. */
static void settle(struct app *app)
{
    struct settling settling = {.loop = app->loop, .turns = SETTLE_TURNS};
    deferred_init(&settling.deferred, on_settle);
    loop_defer(app->loop, &settling.deferred);
    loop_run(app->loop);
}

static void close_gate(struct app *app)
{
    if (app->drain.state != DRAIN_DONE) {
        (void)gate_cut(app->gate); /* a start that failed half-way: nobody has connected yet */
    }
    settle(app);
    /*
     * What ended just now is still being stored, and the gate writes down what
     * the store says. Questions about limits are answered meanwhile, the last
     * with STORE_DOWN: from here on nobody calls the gate.
     */
    records_close(&app->records);
    gate_close(app->gate);
    app->gate = NULL;
}

/* In the reverse of the order above; each part may be missing. */
static void take_down(struct app *app)
{
    httpd_close(app->admin);
    httpd_close(app->monitor);
    if (app->loop != NULL) {
        inquiries_stop(&app->records);
        timer_stop(&app->tickets_timer);
        process_metrics_stop(app);
        drain_close(&app->drain);
        notify_close(&app->notify);
    }
    if (app->worker != NULL) {
        worker_close(app->worker);
    }
    if (app->gate != NULL) {
        close_gate(app);
    }
    if (app->upstream != NULL) {
        upstream_close(app->upstream);
    }
    if (app->loop != NULL && !loop_close(app->loop)) {
        log_say(app->log, LOG_ERROR, "loop_left_open", "something was left open at the end");
    }
    for (int i = 0; i < app->inherited_count; i++) {
        if (app->inherited[i].fd >= 0) {
            close(app->inherited[i].fd);
        }
    }
    process_metrics_close(app);
    if (app->stats != NULL) {
        stats_close(app->stats);
    }
    if (app->tickets != NULL) {
        tls_tickets_close(app->tickets);
    }
    log_close(app->log, LOG_CLOSE_WAIT_MS);
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        free(app->sink_paths[i]);
    }
    dumps_allow_leak_check();
}

/* Reads the file and what it names; findings, warnings too, go to `err`. NULL: bad. */
static struct conf *load(struct app *app, struct generation_parts *tls, FILE *err)
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf = findings != NULL ? conf_load(app->path, findings) : NULL;
    if (conf != NULL && !generation_parts_open(tls, conf, app->tickets, GENERATION_ABSENT_IS_ERROR, findings)) {
        conf_free(conf);
        conf = NULL;
    }
    if (findings != NULL && conf_findings_count(findings) > 0) {
        char *text = conf_findings_text(findings);
        fprintf(err, "%s", text != NULL ? text : "weir: out of memory\n");
        free(text);
    }
    conf_findings_close(findings);
    return conf;
}

static int run(struct app *app, FILE *err)
{
    char why[APP_WHY_BYTES];
    struct generation_parts tls = {0};
    app->tickets = tls_tickets_open();
    app->log = app->tickets != NULL ? log_open() : NULL;
    if (app->log == NULL) {
        return complain(err, APP_EXIT_FINDINGS, "not started: out of memory or threads");
    }
    struct conf *conf = load(app, &tls, err);
    if (conf == NULL) {
        return APP_EXIT_CONFIG;
    }
    uint64_t open_max = descriptors_raise();
    if (!descriptors_share(&app->descriptors, open_max, conf, why, sizeof(why)) || !dumps_forbid(why, sizeof(why))) {
        generation_parts_close(&tls, conf);
        conf_free(conf);
        return complain(err, APP_EXIT_FINDINGS, why);
    }
    return build_and_serve(app, conf, &tls, err);
}

int app_run(const char *path, FILE *err)
{
    struct app *app = calloc(1, sizeof(*app));
    if (app == NULL) {
        return complain(err, APP_EXIT_FINDINGS, "not started: out of memory");
    }
    app->path = path;
    app->started_us = clock_wall_us();
    int status = run(app, err);
    /* What was closed by a failed start still has to be let go of by the loop, as after a drain. */
    take_down(app);
    free(app);
    return status;
}
