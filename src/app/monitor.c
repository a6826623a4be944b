/*
 * The monitor: /livez, /readyz and /metrics over HTTP, and nothing else.
 * Nothing can be changed here, and nothing of a merchant can be seen.
 */
#include <stdio.h>

#include "app_internal.h"

#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The loop turns, or nobody would answer. */
static void serve_livez(const struct app *app, struct httpd_request *request)
{
    (void)app;
    httpd_reply_text(request, 200, TEXT_TYPE, BYTES("alive\n"));
}

static void serve_readyz(const struct app *app, struct httpd_request *request)
{
    const char *not_ready = app_not_ready(app);
    char text[128];
    if (not_ready == NULL) {
        httpd_reply_text(request, 200, TEXT_TYPE, BYTES("ready\n"));
        return;
    }
    snprintf(text, sizeof(text), "not ready: %s\n", not_ready);
    httpd_reply_text(request, 503, TEXT_TYPE, bytes_from_text(text));
}

static void serve_metrics(const struct app *app, struct httpd_request *request)
{
    struct buf *body = httpd_body(request);
    if (stats_print(app->stats, body) != ERR_OK || process_metrics_print_generation(app, body) != ERR_OK) {
        httpd_reply_text(request, 500, TEXT_TYPE, BYTES("the metrics do not fit into an answer\n"));
        return;
    }
    httpd_reply(request, 200, METRICS_TYPE);
}

static void on_request(void *owner, struct httpd_request *request)
{
    static const struct {
        struct bytes path;
        void (*serve)(const struct app *app, struct httpd_request *request);
    } PAGES[] = {
        {BYTES("/livez"), serve_livez},
        {BYTES("/readyz"), serve_readyz},
        {BYTES("/metrics"), serve_metrics},
    };
    for (size_t i = 0; i < ARRAY_COUNT(PAGES); i++) {
        if (!bytes_equal(request->path, PAGES[i].path)) {
            continue;
        }
        if (!bytes_equal(request->method, BYTES("GET")) && !bytes_equal(request->method, BYTES("HEAD"))) {
            httpd_refuse_method(request, "GET, HEAD");
            return;
        }
        PAGES[i].serve(owner, request);
        return;
    }
    httpd_reply_text(request, 404, TEXT_TYPE, BYTES("not found: /livez, /readyz and /metrics are here\n"));
}

bool monitor_open(struct app *app, const struct conf *conf, char *why, size_t size)
{
    const struct httpd_options options = {.loop = app->loop, .handler = on_request, .owner = app};
    char words[APP_WHY_BYTES / 2];
    enum err err;
    if (!conf->monitor_present) {
        return true;
    }
    app->monitor = httpd_open(&options, &conf->monitor, &err, words, sizeof(words));
    if (app->monitor == NULL) {
        snprintf(why, size, "monitor.address: %s", words);
        return false;
    }
    log_event(app->log, LOG_INFO, "listening", "the monitor accepts", LOG_T("listener", "monitor"),
              LOG_N("port", httpd_port(app->monitor)));
    return true;
}
