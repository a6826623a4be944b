/*
 * The acts on records that are an operator's: to say how an unknown payment
 * ended, and to accept that the store lost writes. Each is written down with
 * who, what and why as soon as it may have been done.
 *
 *   resolve       actor's name > look up > store > audit, answer
 *   accept-loss   actor's name > store > audit, answer
 */
#include <inttypes.h>
#include <stdio.h>

#include "inquiry_internal.h"
#include "show_internal.h"
#include "weir/app/query.h"

#define RESOLVE_TIMEOUT_MS 10000

/* ---- resolve ---- */

static void audit_resolve(const struct inquiry *inquiry, const char *result)
{
    char actor[ADMIN_ACTOR_BYTES], name[IDEM_SHORT_BYTES + 1];
    admin_describe_actor(&inquiry->peer, inquiry->user, actor);
    idem_name_short(&inquiry->row.name, name);
    const struct log_field fields[] = {
        LOG_T("actor", actor),
        LOG_T("record", name),
        LOG_T("request_id", inquiry->row.request_id),
        LOG_T("processor", inquiry->row.processor),
        LOG_T("executed", inquiry->executed ? "yes" : "no"),
        LOG_T("why", inquiry->why),
        LOG_T("result", result),
    };
    log_audit_fields(inquiry->app->log, "idempotency_resolved_by_operator", "an operator said how a payment ended",
                     fields, ARRAY_COUNT(fields));
}

static void write_resolved(const void *what, struct json *json)
{
    const struct inquiry *inquiry = what;
    char name[IDEM_SHORT_BYTES + 1];
    idem_name_short(&inquiry->row.name, name);
    json_object_open(json);
    json_put_bool(json, "ok", true);
    json_put_text(json, "record", name);
    json_put_bool(json, "executed", inquiry->executed);
    json_object_close(json);
}

static void answer_resolved(struct inquiry *inquiry)
{
    struct httpd_request *request = inquiry_take_request(inquiry);
    char name[IDEM_SHORT_BYTES + 1];
    if (admin_wants_text(request)) {
        idem_name_short(&inquiry->row.name, name);
        bool fits =
            show_row(httpd_body(request), name, "%s",
                     inquiry->executed ? "resolved as executed: its key never becomes a new payment"
                                       : "resolved as not executed: its key is free, and a retry with it is sent");
        admin_reply_shown(request, 200, fits);
    } else {
        admin_reply_json(request, 200, write_resolved, inquiry);
    }
    inquiry_end(inquiry);
}

static void refuse_done(struct inquiry *inquiry, uint16_t status)
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    if (status != 0) {
        snprintf(sentence, sizeof(sentence),
                 "%s is done: the processor answered it with %" PRIu16 ". Nothing was changed", inquiry->record,
                 status);
    } else {
        snprintf(sentence, sizeof(sentence),
                 "%s is done: an operator said before that it was executed. Nothing was changed", inquiry->record);
    }
    inquiry_refuse(inquiry, 409, sentence);
}

static void refuse_in_flight(struct inquiry *inquiry)
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    snprintf(sentence, sizeof(sentence),
             "%s is in flight: its answer may still come. Nothing was changed; it is unknown "
             "at the latest when its lease is over",
             inquiry->record);
    inquiry_refuse(inquiry, 409, sentence);
}

static void on_verdict(struct inquiry *inquiry, const struct idem_result *result)
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    switch (result->verdict) {
    case IDEM_OK:
        audit_resolve(inquiry, "done");
        if (inquiry->request != NULL) {
            answer_resolved(inquiry);
        } else {
            inquiry_end(inquiry); /* weir is stopping */
        }
        break;
    case IDEM_REFUSED:
        refuse_in_flight(inquiry);
        break;
    case IDEM_ALREADY:
        refuse_done(inquiry, result->status);
        break;
    default:
        snprintf(sentence, sizeof(sentence), "there is no record %s any more: it ended meanwhile", inquiry->record);
        inquiry_refuse(inquiry, 404, sentence);
        break;
    }
}

static void on_resolved(void *owner, enum store_status status, const struct idem_result *result)
{
    struct inquiry *inquiry = owner;
    inquiry->asked = false;
    switch (status) {
    case STORE_OK:
        on_verdict(inquiry, result);
        break;
    case STORE_DOWN:
        /* It may be done: that is as good a reason to write down who wanted it. */
        audit_resolve(inquiry, "not known");
        inquiry_refuse(inquiry, 503,
                       "the store did not answer in time: whether this was stored is not known. Look at the record "
                       "again before you repeat it");
        break;
    default:
        inquiry_refuse(inquiry, 503, "the store refused: nothing was changed");
        break;
    }
}

static void resolve_row(struct inquiry *inquiry)
{
    const struct idem_op op = {.kind = IDEM_RESOLVE,
                               .name = inquiry->row.name,
                               .executed = inquiry->executed,
                               .keep_receipt_ms = inquiry->app->records.receipt_ms};
    if (store_ask(inquiry->app->records.store, &op, false, RESOLVE_TIMEOUT_MS, on_resolved, inquiry) == NULL) {
        inquiry_refuse(inquiry, 503, "the store has no room for one more request: nothing was changed");
        return;
    }
    inquiry->asked = true;
}

static void on_record_to_resolve(struct inquiry *inquiry)
{
    if (!inquiry_found_one(inquiry)) {
        return;
    }
    inquiry->row = inquiry->lookup.rows[0];
    switch (inquiry->row.state) {
    case IDEM_DONE:
        refuse_done(inquiry, inquiry->row.status);
        break;
    case IDEM_IN_FLIGHT:
        refuse_in_flight(inquiry);
        break;
    default:
        resolve_row(inquiry);
        break;
    }
}

static void look_up_to_resolve(struct inquiry *inquiry)
{
    inquiry_look_up(inquiry, on_record_to_resolve);
}

void admin_records_resolve(struct app *app, struct httpd_request *request)
{
    struct inquiry *inquiry = inquiry_begin(app, request);
    if (inquiry == NULL || !inquiry_read_record(inquiry)) {
        return;
    }
    inquiry->executed = query_says(request->query, "executed", "true");
    if (!inquiry->executed && !query_says(request->query, "executed", "false")) {
        inquiry_refuse(inquiry, 400, "executed is true or false: what did the processor say?");
        return;
    }
    inquiry_act(inquiry, INQUIRY_WHY_BYTES - 1, look_up_to_resolve);
}

/* ---- accept-loss ---- */

static void write_accepted(const void *what, struct json *json)
{
    const struct store_state *state = what;
    json_object_open(json);
    json_put_bool(json, "ok", true);
    json_put_bool(json, "durable", state->durable);
    json_put_text(json, "not_durable", state->not_durable);
    json_object_close(json);
}

static void accept_loss(struct inquiry *inquiry)
{
    struct app *app = inquiry->app;
    struct store_state before, after;
    char actor[ADMIN_ACTOR_BYTES], what[INQUIRY_SENTENCE_BYTES];
    admin_describe_actor(&inquiry->peer, inquiry->user, actor);
    store_state(app->records.store, &before);
    /* Copied: the words are the store's, and change now. */
    bytes_to_text(bytes_from_text(before.not_durable != NULL ? before.not_durable : "nothing"), what, sizeof(what));
    store_accept_loss(app->records.store);
    store_state(app->records.store, &after);
    const struct log_field fields[] = {LOG_T("actor", actor), LOG_T("why", inquiry->why), LOG_T("accepted", what),
                                       LOG_T("not_durable", after.not_durable)};
    log_audit_fields(app->log, "store_loss_accepted_by_operator",
                     "an operator accepted that the store lost acknowledged writes", fields, ARRAY_COUNT(fields));
    struct httpd_request *request = inquiry_take_request(inquiry);
    if (admin_wants_text(request)) {
        bool fits = show_row(httpd_body(request), "accepted", "%s%s",
                             after.durable ? "single_shot routes may use the store"
                                           : "single_shot routes still may not use the store: ",
                             after.durable || after.not_durable == NULL ? "" : after.not_durable);
        admin_reply_shown(request, 200, fits);
    } else {
        admin_reply_json(request, 200, write_accepted, &after);
    }
    inquiry_end(inquiry);
}

void admin_records_accept_loss(struct app *app, struct httpd_request *request)
{
    struct inquiry *inquiry = inquiry_begin(app, request);
    if (inquiry != NULL) {
        inquiry_act(inquiry, INQUIRY_WHY_BYTES - 1, accept_loss);
    }
}
