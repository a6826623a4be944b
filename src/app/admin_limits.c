/*
 * `weir limits`: reads what the gate knows of its limits and of whom they hold,
 * all of them or the one that was named, and answers at once. It changes
 * nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_internal.h"
#include "app_internal.h"
#include "limits_internal.h"
#include "suggest_internal.h"
#include "weir/app/query.h"

#define NAME_BYTES     96
#define SENTENCE_BYTES 320

/* False: no memory. */
static bool read_limits(const struct gate *gate, struct limits_view *view)
{
    struct gate_limit limit;
    int count = 0;
    while (gate_limit_at(gate, count, &limit)) {
        count++;
    }
    view->limits = calloc((size_t)count + 1, sizeof(struct gate_limit));
    view->held = calloc(LIMITS_HELD_MAX, sizeof(struct gate_held));
    if (view->limits == NULL || view->held == NULL) {
        return false;
    }
    for (int i = 0; i < count && gate_limit_at(gate, i, &view->limits[i]); i++) {
        view->limit_count++;
    }
    view->held_count = (size_t)gate_held_callers(gate, view->held, LIMITS_HELD_MAX);
    view->held_whole = view->held_count < LIMITS_HELD_MAX;
    gate_limits_state(gate, &view->state);
    return true;
}

/* Leaves the limit of this name and whom it holds. False: there is no such limit. */
static bool keep_one(struct limits_view *view, const char *name)
{
    size_t kept = 0, held = 0;
    for (size_t i = 0; i < view->limit_count; i++) {
        if (strcmp(view->limits[i].conf->name, name) == 0) {
            view->limits[kept++] = view->limits[i];
        }
    }
    for (size_t i = 0; i < view->held_count; i++) {
        if (strcmp(view->held[i].limit, name) == 0) {
            view->held[held++] = view->held[i];
        }
    }
    if (kept == 0) {
        return false;
    }
    view->limit_count = kept;
    view->held_count = held;
    view->alone = true;
    return true;
}

static void refuse_name(struct httpd_request *request, const struct limits_view *view, const char *name)
{
    char sentence[SENTENCE_BYTES];
    struct suggest suggest;
    suggest_begin(&suggest, name);
    for (size_t i = 0; i < view->limit_count; i++) {
        suggest_offer(&suggest, view->limits[i].conf->name);
    }
    if (suggest.nearest != NULL) {
        snprintf(sentence, sizeof(sentence), "there is no limit '%s': did you mean '%s'?", name, suggest.nearest);
    } else {
        snprintf(sentence, sizeof(sentence), "there is no limit '%s'%s", name,
                 view->limit_count == 0 ? ": none are configured" : "");
    }
    admin_reply_sentence(request, 404, sentence);
}

static void write_limits(const void *what, struct json *json)
{
    report_limits(what, json);
}

static void answer(struct httpd_request *request, const struct limits_view *view)
{
    if (admin_wants_text(request)) {
        admin_reply_shown(request, 200, show_limits(view, httpd_body(request)));
    } else {
        admin_reply_json(request, 200, write_limits, view);
    }
}

void admin_limits(struct app *app, struct httpd_request *request)
{
    char name[NAME_BYTES];
    struct limits_view view = {.has_store = app->records.store != NULL};
    enum query_found named = query_read(request->query, "name", name, sizeof(name));
    if (named == QUERY_BAD) {
        admin_reply_sentence(request, 400, "name is the name of one limit, as the configuration has it");
    } else if (!read_limits(app->gate, &view)) {
        admin_reply_sentence(request, 503, "out of memory");
    } else if (named == QUERY_FOUND && !keep_one(&view, name)) {
        refuse_name(request, &view, name);
    } else {
        answer(request, &view);
    }
    free(view.limits);
    free(view.held);
}
