/*
 * The admin API: JSON over HTTP/1.1 on a unix socket of mode 0660, so that the
 * file's group decides who may ask. The kernel tells who asked (their uid is
 * the actor of the events); what changes something is a POST and nothing else.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "admin_internal.h"
#include "app_internal.h"

#define SOCKET_UMASK 0117 /* leaves 0660 */

static void write_status(const void *what, struct json *json)
{
    report_status(what, json);
}

static void write_reload(const void *what, struct json *json)
{
    report_reload(what, json);
}

static void serve_status(struct app *app, struct httpd_request *request)
{
    if (admin_wants_text(request)) {
        admin_reply_shown(request, 200, show_status(app, httpd_body(request)));
    } else {
        admin_reply_json(request, 200, write_status, app);
    }
}

static void on_reloaded(void *owner, const struct reload_result *result)
{
    struct httpd_request *request = owner;
    uint16_t status = result->ok ? 200 : result->refused ? 409 : 422;
    if (admin_wants_text(request)) {
        admin_reply_shown(request, status, show_reload(result, httpd_body(request)));
    } else {
        admin_reply_json(request, status, write_reload, result);
    }
}

static void serve_reload(struct app *app, struct httpd_request *request)
{
    char actor[ADMIN_ACTOR_BYTES];
    struct peer_identity peer;
    admin_describe_actor(admin_caller(request, &peer) ? &peer : NULL, NULL, actor);
    log_audit_fields(app->log, "admin_reload", "a reload was asked for over the admin socket",
                     (const struct log_field[]){LOG_T("actor", actor)}, 1);
    reload_begin(&app->reload, on_reloaded, request, actor);
}

static void on_request(void *owner, struct httpd_request *request)
{
    static const struct {
        struct bytes path;
        const char *method;
        void (*serve)(struct app *app, struct httpd_request *request);
    } CALLS[] = {
        {BYTES("/api/v1/status"), "GET", serve_status},
        {BYTES("/api/v1/processors"), "GET", admin_processors},
        {BYTES("/api/v1/limits"), "GET", admin_limits},
        {BYTES("/api/v1/reload"), "POST", serve_reload},
        {BYTES("/api/v1/idempotency"), "GET", admin_records_list},
        {BYTES("/api/v1/idempotency/show"), "GET", admin_records_show},
        {BYTES("/api/v1/idempotency/find"), "GET", admin_records_find},
        {BYTES("/api/v1/idempotency/resolve"), "POST", admin_records_resolve},
        {BYTES("/api/v1/idempotency/accept-loss"), "POST", admin_records_accept_loss},
    };
    for (size_t i = 0; i < ARRAY_COUNT(CALLS); i++) {
        if (!bytes_equal(request->path, CALLS[i].path)) {
            continue;
        }
        if (!bytes_equal(request->method, bytes_from_text(CALLS[i].method))) {
            httpd_refuse_method(request, CALLS[i].method);
            return;
        }
        CALLS[i].serve(owner, request);
        return;
    }
    if (admin_breaker_is_meant(request)) {
        admin_breaker(owner, request);
        return;
    }
    httpd_reply_text(request, 404, ADMIN_JSON_TYPE, BYTES("{\"ok\":false,\"text\":\"no such call\"}\n"));
}

bool admin_open(struct app *app, const struct conf *conf, char *why, size_t size)
{
    const struct httpd_options options = {.loop = app->loop, .handler = on_request, .owner = app};
    struct addr_listen at = {.kind = ADDR_LISTEN_UNIX};
    char words[APP_WHY_BYTES / 2];
    enum err err;
    if (conf->admin_socket == NULL) {
        return true;
    }
    if (strlen(conf->admin_socket) >= sizeof(at.path)) {
        snprintf(why, size, "admin.socket: the path is longer than %zu bytes", sizeof(at.path) - 1);
        return false;
    }
    bytes_to_text(bytes_from_text(conf->admin_socket), at.path, sizeof(at.path));
    /* The mode is right from the first moment on; a chmod would come after it. */
    mode_t before = umask(SOCKET_UMASK);
    app->admin = httpd_open(&options, &at, &err, words, sizeof(words));
    umask(before);
    if (app->admin == NULL) {
        snprintf(why, size, "admin.socket: %s", words);
        return false;
    }
    return true;
}
