/*
 * `weir processors` and `weir breaker`: tells what upstream knows of its
 * processors, and takes an operator's word on the breakers of one, which
 * upstream writes down with who said it and why.
 *
 *   breaker       order > actor's name > processor > force, answer
 */
#include <stdio.h>

#include "admin_internal.h"
#include "inquiry_internal.h"
#include "processors_internal.h"
#include "show_internal.h"
#include "suggest_internal.h"
#include "weir/app/query.h"
#include "weir/base/clock.h"

#define PATH_BEFORE BYTES("/api/v1/processors/")
#define PATH_BEHIND BYTES("/breaker")
#define NAMES_BYTES 320 /* of those that there are, in a refusal */

/* ---- all of them ---- */

static void write_processors(const void *what, struct json *json)
{
    const struct app *app = what;
    json_object_open(json);
    report_processors(app->upstream, json);
    json_object_close(json);
}

void admin_processors(struct app *app, struct httpd_request *request)
{
    if (admin_wants_text(request)) {
        admin_reply_shown(request, 200, show_processors(app->upstream, clock_now_us(), httpd_body(request)));
    } else {
        admin_reply_json(request, 200, write_processors, app);
    }
}

/* ---- which one ---- */

bool admin_breaker_is_meant(const struct httpd_request *request)
{
    return bytes_starts_with(request->path, PATH_BEFORE) &&
           bytes_ends_with(bytes_skip(request->path, PATH_BEFORE.len), PATH_BEHIND);
}

/* Names need no escapes: letters, digits, '-' and '_'. */
static void read_name(const struct httpd_request *request, char name[INQUIRY_NAME_BYTES])
{
    struct bytes left = bytes_skip(request->path, PATH_BEFORE.len);
    bytes_to_text(bytes_take(left, left.len - PATH_BEHIND.len), name, INQUIRY_NAME_BYTES);
}

static struct processor *find_processor(const struct app *app, const char *name)
{
    for (struct processor *at = upstream_next(app->upstream, NULL); at != NULL; at = upstream_next(app->upstream, at)) {
        if (strcmp(processor_name(at), name) == 0) {
            return at;
        }
    }
    return NULL;
}

/* "there are acme, acme-eu and 12 more". */
static void list_names(const struct app *app, char text[NAMES_BYTES])
{
    size_t len = 0;
    int more = 0;
    text[0] = '\0';
    for (struct processor *at = upstream_next(app->upstream, NULL); at != NULL; at = upstream_next(app->upstream, at)) {
        const char *name = processor_name(at);
        if (more > 0 || len + strlen(name) + sizeof(", and 1000000 more") > NAMES_BYTES) {
            more++;
        } else {
            len += (size_t)snprintf(text + len, NAMES_BYTES - len, "%s%s", len > 0 ? ", " : "", name);
        }
    }
    if (more > 0) {
        snprintf(text + len, NAMES_BYTES - len, " and %d more", more);
    }
}

static void describe_unknown(const struct app *app, const char *name, char sentence[INQUIRY_SENTENCE_BYTES])
{
    char names[NAMES_BYTES];
    struct suggest suggest;
    suggest_begin(&suggest, name);
    for (struct processor *at = upstream_next(app->upstream, NULL); at != NULL; at = upstream_next(app->upstream, at)) {
        suggest_offer(&suggest, processor_name(at));
    }
    list_names(app, names);
    snprintf(sentence, INQUIRY_SENTENCE_BYTES, "there is no processor '%s'%s%s%s; %s%s", name,
             suggest.nearest != NULL ? ": did you mean '" : "", suggest.nearest != NULL ? suggest.nearest : "",
             suggest.nearest != NULL ? "'?" : "", names[0] != '\0' ? "there are: " : "none is configured", names);
}

/* ---- its breakers ---- */

/* What is answered: the processor as it is now. */
struct shown {
    const struct processor *processor;
    const struct breaker_order *order; /* NULL: nobody ordered anything */
};

static void write_shown(const void *what, struct json *json)
{
    const struct shown *shown = what;
    json_object_open(json);
    json_put_bool(json, "ok", true);
    json_key(json, "processor");
    report_processor(shown->processor, clock_now_us(), clock_wall_us(), json);
    json_object_close(json);
}

static const char *consequence(enum breaker_forced forced)
{
    switch (forced) {
    case BREAKER_FORCED_OPEN:
        return "until then no call goes there: its routes refuse with breaker_open, or fail over";
    case BREAKER_FORCED_CLOSED:
        return "until then its breakers let everything through, however its calls go; health checks still count";
    case BREAKER_AUTO:
        break;
    }
    return "its breakers decide by themselves";
}

static bool show_shown(const struct shown *shown, struct buf *out)
{
    bool fits = shown->order == NULL || show_row(out, "done", "%s", consequence(shown->order->forced));
    return show_breakers(shown->processor, clock_now_us(), out) && fits;
}

static void answer(struct httpd_request *request, const struct shown *shown)
{
    if (admin_wants_text(request)) {
        admin_reply_shown(request, 200, show_shown(shown, httpd_body(request)));
    } else {
        admin_reply_json(request, 200, write_shown, shown);
    }
}

static void show_one(struct app *app, struct httpd_request *request)
{
    char name[INQUIRY_NAME_BYTES], sentence[INQUIRY_SENTENCE_BYTES];
    read_name(request, name);
    const struct processor *processor = find_processor(app, name);
    if (processor == NULL) {
        describe_unknown(app, name, sentence);
        admin_reply_sentence(request, 404, sentence);
        return;
    }
    answer(request, &(struct shown){.processor = processor});
}

/* ---- an operator's word ---- */

/* Looked up now: a reload may have taken the processor away while the actor's name was. */
static void force(struct inquiry *inquiry)
{
    char actor[ADMIN_ACTOR_BYTES], sentence[INQUIRY_SENTENCE_BYTES];
    struct processor *processor = find_processor(inquiry->app, inquiry->processor);
    if (processor == NULL) {
        describe_unknown(inquiry->app, inquiry->processor, sentence);
        inquiry_refuse(inquiry, 404, sentence);
        return;
    }
    admin_describe_actor(&inquiry->peer, inquiry->user, actor);
    processor_force(processor, inquiry->order.forced, inquiry->order.for_us, actor, inquiry->why);
    answer(inquiry_take_request(inquiry), &(struct shown){.processor = processor, .order = &inquiry->order});
    inquiry_end(inquiry);
}

/* False: that was answered. */
static bool read_order(struct inquiry *inquiry)
{
    char state[32], duration[32], words[BREAKER_ORDER_WORDS_BYTES];
    struct bytes query = inquiry->request->query;
    enum query_found has_state = query_read(query, "state", state, sizeof(state));
    enum query_found has_for = query_read(query, "for", duration, sizeof(duration));
    if (has_state == QUERY_BAD || has_for == QUERY_BAD) {
        inquiry_refuse(inquiry, 400, "state and for are one word each");
        return false;
    }
    if (!breaker_order_read(has_state == QUERY_FOUND ? state : NULL, has_for == QUERY_FOUND ? duration : NULL,
                            &inquiry->order, words)) {
        inquiry_refuse(inquiry, 400, words);
        return false;
    }
    return true;
}

static void force_one(struct app *app, struct httpd_request *request)
{
    struct inquiry *inquiry = inquiry_open(app, request);
    if (inquiry == NULL) {
        return;
    }
    read_name(request, inquiry->processor);
    if (read_order(inquiry)) {
        inquiry_act(inquiry, BREAKER_ORDER_WHY_BYTES_MAX, force);
    }
}

void admin_breaker(struct app *app, struct httpd_request *request)
{
    if (bytes_equal(request->method, BYTES("GET"))) {
        show_one(app, request);
    } else if (bytes_equal(request->method, BYTES("POST"))) {
        force_one(app, request);
    } else {
        httpd_refuse_method(request, "GET, POST");
    }
}
