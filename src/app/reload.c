/*
 * Reload: the file and everything that it names (certificates, keys) are read
 * and checked on the worker, never on the loop; then one swap on the loop takes
 * the new generation into use. A file with an error, a listener that cannot be
 * opened or a log that cannot be written changes nothing. One reload runs at a
 * time: a HUP meanwhile is remembered once, a caller is told to come again.
 */
#include <inttypes.h>
#include <stdio.h>

#include "app_internal.h"
#include "weir/app/changes.h"
#include "weir/base/clock.h"

#define FINDINGS_LOGGED_MAX 20

/* On the worker: only files, no loop, nothing of the process but the ticket keys' address. */
static void on_run(struct work *work)
{
    struct reload *reload = container_of(work, struct reload, work);
    if (reload->findings == NULL) {
        return;
    }
    reload->conf = conf_load(reload->app->path, reload->findings);
    if (reload->conf != NULL &&
        !generation_parts_open(&reload->tls, reload->conf, reload->app->tickets, GENERATION_ABSENT_IS_ERROR,
                             reload->findings)) {
        conf_free(reload->conf);
        reload->conf = NULL;
    }
}

static void log_findings(const struct reload *reload)
{
    int count = reload->findings != NULL ? conf_findings_count(reload->findings) : 0;
    for (int i = 0; i < count && i < FINDINGS_LOGGED_MAX; i++) {
        const struct conf_finding *finding = conf_findings_at(reload->findings, i);
        log_event(reload->app->log, finding->is_error ? LOG_ERROR : LOG_WARN, "config_finding", finding->message,
                  LOG_T("file", reload->app->path), LOG_N("line", finding->line), LOG_N("column", finding->column));
    }
}

static uint32_t number_in_use(const struct app *app)
{
    return generation_number(gate_generation(app->gate));
}

static void describe_bad_file(const struct reload *reload, struct reload_result *result)
{
    if (reload->findings == NULL) {
        snprintf(result->text, sizeof(result->text), "out of memory: generation %" PRIu32 " stays active",
                 result->generation);
        return;
    }
    int errors = conf_findings_errors(reload->findings);
    snprintf(result->text, sizeof(result->text), "%s: %d error%s: generation %" PRIu32 " stays active",
             reload->app->path, errors, errors == 1 ? "" : "s", result->generation);
}

/* What the descriptors allow was settled when the gate opened; more links than then eat into the reserve. */
static void add_descriptor_note(const struct app *app, const struct conf *conf, struct reload_result *result)
{
    struct descriptors_plan plan;
    char why[APP_WHY_BYTES];
    size_t len = bytes_from_text(result->text).len;
    if (descriptors_share(&plan, app->descriptors.open_max, conf, why, sizeof(why)) &&
        plan.links > app->descriptors.links) {
        snprintf(result->text + len, sizeof(result->text) - len,
                 ", %" PRIu64 " more links are taken from the clients' descriptors at the next start",
                 plan.links - app->descriptors.links);
    }
}

static void take_into_use(struct reload *reload, struct reload_result *result)
{
    struct app *app = reload->app;
    struct changes changes;
    char words[APP_TEXT_BYTES / 2];
    char why[APP_WHY_BYTES / 2];
    /* Compared before the swap: the old configuration may be gone after it. */
    changes_between(&changes, app_conf(app), reload->conf);
    struct conf *conf = reload->conf;
    reload->conf = NULL;
    if (!app_use(app, conf, &reload->tls, why, sizeof(why))) {
        snprintf(result->text, sizeof(result->text), "%s: generation %" PRIu32 " stays active", why,
                 result->generation);
        return;
    }
    result->ok = true;
    result->generation = number_in_use(app);
    changes_text(&changes, words, sizeof(words));
    snprintf(result->text, sizeof(result->text), "generation %" PRIu32 " active, %s", result->generation,
             words[0] != '\0' ? words : "nothing changed");
    add_descriptor_note(app, app_conf(app), result);
}

static void discard(struct reload *reload)
{
    if (reload->conf != NULL) {
        generation_parts_close(&reload->tls, reload->conf);
        conf_free(reload->conf);
        reload->conf = NULL;
    }
}

static void note_result(struct reload *reload, const struct reload_result *result)
{
    reload->last_ok = result->ok;
    reload->last_us = clock_wall_us();
    if (result->ok) {
        reload->last_ok_us = reload->last_us;
    }
    bytes_to_text(bytes_from_text(result->text), reload->last_text, sizeof(reload->last_text));
    log_findings(reload);
    log_event(reload->app->log, result->ok ? LOG_INFO : LOG_ERROR, result->ok ? "config_reloaded" : "config_refused",
              result->text, LOG_N("generation", result->generation));
    notify_ready(&reload->app->notify, result->text);
}

static void on_done(struct work *work)
{
    struct reload *reload = container_of(work, struct reload, work);
    struct reload_result result = {.findings = reload->findings, .generation = 0};
    if (drain_begun(&reload->app->drain)) {
        discard(reload);
        snprintf(result.text, sizeof(result.text), "weir is stopping: not reloaded");
    } else {
        result.generation = number_in_use(reload->app);
        if (reload->conf == NULL) {
            describe_bad_file(reload, &result);
        } else {
            take_into_use(reload, &result);
        }
        note_result(reload, &result);
    }
    reload->busy = false;
    if (reload->done != NULL) {
        reload->done(reload->owner, &result);
    }
    conf_findings_close(reload->findings);
    reload->findings = NULL;
    if (reload->again) {
        reload->again = false;
        reload_begin(reload, NULL, NULL, "signal HUP");
    }
}

void reload_init(struct reload *reload, struct app *app)
{
    *reload = (struct reload){.app = app, .work = {.run = on_run, .done = on_done}, .last_ok = true};
    reload->last_us = reload->last_ok_us = clock_wall_us();
}

static void refuse(struct reload *reload, reload_cb done, void *owner, const char *text)
{
    struct reload_result result = {.refused = true};
    bytes_to_text(bytes_from_text(text), result.text, sizeof(result.text));
    const struct generation *generation = gate_generation(reload->app->gate);
    result.generation = generation != NULL ? generation_number(generation) : 0;
    log_event(reload->app->log, LOG_WARN, "reload_refused", text, LOG_N("generation", result.generation));
    if (done != NULL) {
        done(owner, &result);
    }
}

void reload_begin(struct reload *reload, reload_cb done, void *owner, const char *actor)
{
    if (drain_begun(&reload->app->drain)) {
        refuse(reload, done, owner, "weir is stopping: not reloaded");
        return;
    }
    if (reload->busy) {
        if (done == NULL) {
            reload->again = true;
        } else {
            refuse(reload, done, owner, "another reload is under way: try again when it is done");
        }
        return;
    }
    reload->done = done;
    reload->owner = owner;
    reload->findings = conf_findings_open();
    reload->busy = true;
    log_event(reload->app->log, LOG_INFO, "reload_started", "the configuration is read again",
              LOG_T("file", reload->app->path), LOG_T("actor", actor));
    notify_reloading(&reload->app->notify);
    if (worker_submit(reload->app->worker, &reload->work) != ERR_OK) {
        reload->busy = false;
        conf_findings_close(reload->findings);
        reload->findings = NULL;
        notify_ready(&reload->app->notify, "not reloaded: too much work is waiting");
        refuse(reload, done, owner, "too much work is waiting: not reloaded");
    }
}
