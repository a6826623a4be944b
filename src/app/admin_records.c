/*
 * What operators ask about idempotency records: lists, one in full, the one
 * that a request made. Each call is an inquiry that walks the store and answers
 * when that is through; one whose asker left stops. What changes a record is in
 * admin_acts.c.
 */
#include <inttypes.h>
#include <stdio.h>

#include "inquiry_internal.h"
#include "show_internal.h"
#include "weir/app/query.h"

/* Lines of a list; what is beyond is counted and said so. */
#define LIST_ROWS_MAX 1000
/* Candidates that are told of a name that is short for several. */
#define SHOW_ROWS_MAX 16

struct inquiry *inquiry_begin(struct app *app, struct httpd_request *request)
{
    if (app->records.store == NULL) {
        admin_reply_sentence(request, 409, "no route has idempotency: there is no store and there are no records");
        return NULL;
    }
    return inquiry_open(app, request);
}

/* ---- looking up ---- */

/* What a lookup that is over may still lack. */
static void refuse_failed(struct inquiry *inquiry)
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    struct store_state state;
    bool known = records_state(&inquiry->app->records, &state) && state.trouble != NULL;
    snprintf(sentence, sizeof(sentence), "the store did not tell all of its records%s%s", known ? ": " : "",
             known ? state.trouble : ", or another look through it is under way: try again");
    inquiry_refuse(inquiry, 503, sentence);
}

static void on_looked_up(struct lookup *lookup)
{
    struct inquiry *inquiry = container_of(lookup, struct inquiry, lookup);
    timer_stop(&inquiry->watch);
    if (lookup->failed && lookup->match_count == 0) {
        refuse_failed(inquiry);
    } else {
        inquiry->found(inquiry);
    }
}

void inquiry_look_up(struct inquiry *inquiry, void (*found)(struct inquiry *inquiry))
{
    struct app *app = inquiry->app;
    inquiry->found = found;
    if (app->records.store == NULL ||
        !lookup_begin(&inquiry->lookup, app->loop, app->records.store, &inquiry->wanted, on_looked_up)) {
        inquiry_refuse(inquiry, 503, "another look through the store is under way: try again when it is through");
        return;
    }
    timer_set_after(&inquiry->watch, INQUIRY_WATCH_US);
}

/* ---- answers ---- */

static void write_list(const void *what, struct json *json)
{
    const struct inquiry *inquiry = what;
    const struct lookup *lookup = &inquiry->lookup;
    json_object_open(json);
    json_put_bool(json, "ok", true);
    json_put_u64(json, "matched", lookup->match_count);
    json_put_bool(json, "whole", !lookup->failed && lookup->row_count == lookup->match_count);
    json_key(json, "records");
    json_array_open(json);
    for (size_t i = 0; i < lookup->row_count; i++) {
        report_record(&lookup->rows[i], json);
    }
    json_array_close(json);
    json_object_close(json);
}

static bool show_list(const struct lookup *lookup, bool unknown_only, struct buf *out)
{
    const char *what = unknown_only ? "unknown" : "open";
    if (lookup->match_count == 0) {
        return show_row(out, "none", "no record is %s", what);
    }
    bool fits = show_records(lookup->rows, lookup->row_count, false, out);
    if (lookup->match_count > lookup->row_count) {
        fits = show_row(out, "\nand more", "%" PRIu64 " are %s; these are the %zu oldest of them", lookup->match_count,
                        what, lookup->row_count);
    }
    if (lookup->failed) {
        fits = show_row(out, "\nnot whole", "the store failed on the way: there may be others");
    }
    return fits;
}

static void answer_list(struct inquiry *inquiry)
{
    struct httpd_request *request = inquiry_take_request(inquiry);
    if (admin_wants_text(request)) {
        admin_reply_shown(request, 200, show_list(&inquiry->lookup, inquiry->wanted.unknown_only, httpd_body(request)));
    } else {
        admin_reply_json(request, 200, write_list, inquiry);
    }
    inquiry_end(inquiry);
}

static void write_one(const void *what, struct json *json)
{
    const struct inquiry *inquiry = what;
    json_object_open(json);
    json_put_bool(json, "ok", true);
    json_key(json, "record");
    report_record(&inquiry->lookup.rows[0], json);
    json_object_close(json);
}

static void answer_one(struct inquiry *inquiry)
{
    struct httpd_request *request = inquiry_take_request(inquiry);
    if (admin_wants_text(request)) {
        admin_reply_shown(request, 200, show_record(&inquiry->lookup.rows[0], httpd_body(request)));
    } else {
        admin_reply_json(request, 200, write_one, inquiry);
    }
    inquiry_end(inquiry);
}

static void describe_candidates(const struct inquiry *inquiry, char sentence[INQUIRY_SENTENCE_BYTES])
{
    snprintf(sentence, INQUIRY_SENTENCE_BYTES, "%s is short for %" PRIu64 " records: give more of the name",
             inquiry->record, inquiry->lookup.match_count);
}

static void write_candidates(const void *what, struct json *json)
{
    const struct inquiry *inquiry = what;
    char sentence[INQUIRY_SENTENCE_BYTES];
    describe_candidates(inquiry, sentence);
    json_object_open(json);
    json_put_bool(json, "ok", false);
    json_put_text(json, "text", sentence);
    json_key(json, "records");
    json_array_open(json);
    for (size_t i = 0; i < inquiry->lookup.row_count; i++) {
        report_record(&inquiry->lookup.rows[i], json);
    }
    json_array_close(json);
    json_object_close(json);
}

static void answer_candidates(struct inquiry *inquiry)
{
    struct httpd_request *request = inquiry_take_request(inquiry);
    char sentence[INQUIRY_SENTENCE_BYTES];
    if (admin_wants_text(request)) {
        struct buf *out = httpd_body(request);
        describe_candidates(inquiry, sentence);
        show_row(out, "weir:", "%s", sentence);
        admin_reply_shown(request, 409, show_records(inquiry->lookup.rows, inquiry->lookup.row_count, true, out));
    } else {
        admin_reply_json(request, 409, write_candidates, inquiry);
    }
    inquiry_end(inquiry);
}

bool inquiry_found_one(struct inquiry *inquiry)
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    if (inquiry->lookup.match_count == 0) {
        snprintf(sentence, sizeof(sentence), "there is no record %s: it was freed, or its time is over",
                 inquiry->record);
        inquiry_refuse(inquiry, 404, sentence);
        return false;
    }
    if (inquiry->lookup.match_count > 1) {
        answer_candidates(inquiry);
        return false;
    }
    return true;
}

/* ---- list, show, find ---- */

void admin_records_list(struct app *app, struct httpd_request *request)
{
    bool unknown = query_says(request->query, "state", "unknown");
    if (!unknown && !query_says(request->query, "state", "open")) {
        admin_reply_sentence(request, 400, "state is unknown or open");
        return;
    }
    struct inquiry *inquiry = inquiry_begin(app, request);
    if (inquiry != NULL) {
        inquiry->wanted = (struct lookup_wanted){.open_only = true, .unknown_only = unknown, .row_max = LIST_ROWS_MAX};
        inquiry_look_up(inquiry, answer_list);
    }
}

bool inquiry_read_record(struct inquiry *inquiry)
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    struct lookup_wanted *wanted = &inquiry->wanted;
    *wanted = (struct lookup_wanted){.by_name = true, .row_max = SHOW_ROWS_MAX};
    if (query_read(inquiry->request->query, "record", inquiry->record, sizeof(inquiry->record)) == QUERY_FOUND &&
        idem_name_parse(bytes_from_text(inquiry->record), &wanted->prefix, &wanted->hash_len)) {
        return true;
    }
    snprintf(sentence, sizeof(sentence),
             "'%s' is not a record: one looks like 1a3x9f2c44d0e1b7, as `weir idempotency list` "
             "prints it",
             inquiry->record);
    inquiry_refuse(inquiry, 400, sentence);
    return false;
}

static void on_shown(struct inquiry *inquiry)
{
    if (inquiry_found_one(inquiry)) {
        answer_one(inquiry);
    }
}

void admin_records_show(struct app *app, struct httpd_request *request)
{
    struct inquiry *inquiry = inquiry_begin(app, request);
    if (inquiry != NULL && inquiry_read_record(inquiry)) {
        inquiry_look_up(inquiry, on_shown);
    }
}

static void on_found(struct inquiry *inquiry)
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    if (inquiry->lookup.match_count > 0) {
        answer_one(inquiry);
        return;
    }
    snprintf(sentence, sizeof(sentence),
             "none of %" PRIu64
             " records was made by request %s; a record knows the request that made it, the access line "
             "of a retry names the record (weir.record)",
             inquiry->lookup.seen_count, inquiry->request_id);
    inquiry_refuse(inquiry, 404, sentence);
}

void admin_records_find(struct app *app, struct httpd_request *request)
{
    struct inquiry *inquiry = inquiry_begin(app, request);
    if (inquiry == NULL) {
        return;
    }
    if (query_read(request->query, "request_id", inquiry->request_id, sizeof(inquiry->request_id)) != QUERY_FOUND ||
        inquiry->request_id[0] == '\0') {
        inquiry_refuse(inquiry, 400,
                       "request_id is missing, or longer than one: it is what Weir-Request-Id said, 32 hex digits");
        return;
    }
    inquiry->wanted = (struct lookup_wanted){.request_id = inquiry->request_id, .row_max = 1};
    inquiry_look_up(inquiry, on_found);
}
