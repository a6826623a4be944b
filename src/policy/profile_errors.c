/*
 * Bodies of weir's own answers: RFC 9457's members, weir's own, and beside
 * them those by which a processor's SDK tells an error from a success and
 * chooses the exception. A merchant's error handling is written against its
 * processor, so each shape keeps to the processor's own words where it has one
 * that is true here. Nothing is claimed that only the processor could know
 * (no pspReference, no payment id).
 */
#include "weir/policy/profile.h"

#include <stdio.h>

/* One answer of weir's own, as all shapes see it. */
struct own_error {
    enum reason reason;
    uint16_t status;
    const char *code;    /* "weir_response_timeout" */
    const char *message; /* one sentence */
    const char *request_id;
};

/* What went wrong, coarsely: what the shapes choose their words by. */
enum own_kind {
    OWN_INVALID,     /* the request must change */
    OWN_CREDENTIAL,  /* who asks */
    OWN_RATE,        /* too often */
    OWN_KEY_REUSED,  /* another request under this key */
    OWN_IN_PROGRESS, /* the first with this key is not through, or its outcome is not known */
    OWN_TIMEOUT,     /* no answer in time */
    OWN_UNAVAILABLE, /* later perhaps */
    OWN_FAILED,      /* the way to the processor, or weir itself, broke */
};

static enum own_kind kind_of(const struct own_error *error)
{
    if (error->reason == REASON_KEY_REUSED) {
        return OWN_KEY_REUSED;
    }
    switch (error->status) {
    case 401:
    case 403:
        return OWN_CREDENTIAL;
    case 409:
        return OWN_IN_PROGRESS;
    case 429:
        return OWN_RATE;
    case 503:
        return OWN_UNAVAILABLE;
    case 504:
        return OWN_TIMEOUT;
    default:
        return error->status < 500 ? OWN_INVALID : OWN_FAILED;
    }
}

/* ---- Stripe: {"error": {"type", "code", "message"}} ---- */

/* By the type its SDKs choose the exception. */
static const char *stripe_type(const struct own_error *error)
{
    if (error->reason == REASON_KEY_REUSED || error->reason == REASON_KEY_IN_PROGRESS) {
        return "idempotency_error";
    }
    switch (kind_of(error)) {
    case OWN_RATE:
        return "rate_limit_error";
    case OWN_CREDENTIAL:
        return error->status == 401 ? "authentication_error" : "invalid_request_error";
    case OWN_INVALID:
        return "invalid_request_error";
    default:
        return "api_error";
    }
}

static void put_stripe(struct json *json, const struct own_error *error)
{
    json_key(json, "error");
    json_object_open(json);
    json_put_text(json, "type", stripe_type(error));
    json_put_text(json, "code", error->reason == REASON_KEY_IN_PROGRESS ? "idempotency_key_in_use" : error->code);
    json_put_text(json, "message", error->message);
    json_object_close(json);
}

/* ---- Adyen: {"status", "errorCode", "message", "errorType"}; status stands among the common members ---- */

static const char *adyen_type(enum own_kind kind)
{
    switch (kind) {
    case OWN_CREDENTIAL:
        return "security";
    case OWN_INVALID:
    case OWN_KEY_REUSED:
        return "validation";
    default:
        return "internal";
    }
}

static void put_adyen(struct json *json, const struct own_error *error)
{
    /* 704: "request already processed or in progress" */
    json_put_text(json, "errorCode", error->reason == REASON_KEY_IN_PROGRESS ? "704" : error->code);
    json_put_text(json, "message", error->message);
    json_put_text(json, "errorType", adyen_type(kind_of(error)));
}

/* ---- Checkout.com: {"request_id", "error_type", "error_codes": []}; request_id stands among the common members ---- */

static const char *checkout_type(enum own_kind kind)
{
    switch (kind) {
    case OWN_INVALID:
    case OWN_KEY_REUSED:
        return "request_invalid";
    case OWN_CREDENTIAL:
        return "request_unauthorized";
    case OWN_RATE:
        return "too_many_requests";
    case OWN_IN_PROGRESS:
        return "request_conflict";
    default:
        return "processing_error";
    }
}

static void put_checkout(struct json *json, const struct own_error *error)
{
    json_put_text(json, "error_type", checkout_type(kind_of(error)));
    json_key(json, "error_codes");
    json_array_open(json);
    json_add_string(json, bytes_from_text(error->code));
    json_array_close(json);
}

/* ---- PayPal: {"name", "message", "debug_id", "details": [{"issue", "description"}]} ---- */

static const char *paypal_name(const struct own_error *error)
{
    switch (kind_of(error)) {
    case OWN_INVALID:
        return error->status == 404 ? "RESOURCE_NOT_FOUND" : "INVALID_REQUEST";
    case OWN_KEY_REUSED:
        return "UNPROCESSABLE_ENTITY";
    case OWN_CREDENTIAL:
        return error->status == 401 ? "AUTHENTICATION_FAILURE" : "NOT_AUTHORIZED";
    case OWN_RATE:
        return "RATE_LIMIT_REACHED";
    case OWN_IN_PROGRESS:
        return "RESOURCE_CONFLICT";
    case OWN_UNAVAILABLE:
        return "SERVICE_UNAVAILABLE";
    default:
        return "INTERNAL_SERVER_ERROR";
    }
}

static void put_upper(struct json *json, const char *key, const char *text)
{
    char upper[64];
    size_t len = 0;
    for (; text[len] != '\0' && len + 1 < sizeof upper; len++) {
        upper[len] = (char)(text[len] >= 'a' && text[len] <= 'z' ? text[len] - 'a' + 'A' : text[len]);
    }
    json_put_string(json, key, bytes_of(upper, len));
}

static void put_paypal(struct json *json, const struct own_error *error)
{
    json_put_text(json, "name", paypal_name(error));
    json_put_text(json, "message", error->message);
    json_put_text(json, "debug_id", error->request_id);
    json_key(json, "details");
    json_array_open(json);
    json_object_open(json);
    put_upper(json, "issue", error->reason == REASON_KEY_IN_PROGRESS ? "PREVIOUS_REQUEST_IN_PROGRESS" : error->code);
    json_put_text(json, "description", error->message);
    json_object_close(json);
    json_array_close(json);
}

/* ---- Square: {"errors": [{"category", "code", "detail"}]} ---- */

static const char *square_category(enum own_kind kind)
{
    switch (kind) {
    case OWN_INVALID:
    case OWN_KEY_REUSED:
        return "INVALID_REQUEST_ERROR";
    case OWN_CREDENTIAL:
        return "AUTHENTICATION_ERROR";
    case OWN_RATE:
        return "RATE_LIMIT_ERROR";
    default:
        return "API_ERROR";
    }
}

/* Square's own codes: SDKs hold them as an enum. */
static const char *square_code(const struct own_error *error)
{
    switch (kind_of(error)) {
    case OWN_INVALID:
        return error->status == 404 ? "NOT_FOUND" : error->status == 413 ? "REQUEST_ENTITY_TOO_LARGE" : "BAD_REQUEST";
    case OWN_KEY_REUSED:
        return "IDEMPOTENCY_KEY_REUSED";
    case OWN_CREDENTIAL:
        return error->status == 401 ? "UNAUTHORIZED" : "FORBIDDEN";
    case OWN_RATE:
        return "RATE_LIMITED";
    case OWN_IN_PROGRESS:
        return "CONFLICT";
    case OWN_TIMEOUT:
        return "GATEWAY_TIMEOUT";
    case OWN_UNAVAILABLE:
        return "SERVICE_UNAVAILABLE";
    default:
        return "INTERNAL_SERVER_ERROR";
    }
}

static void put_square(struct json *json, const struct own_error *error)
{
    json_key(json, "errors");
    json_array_open(json);
    json_object_open(json);
    json_put_text(json, "category", square_category(kind_of(error)));
    json_put_text(json, "code", square_code(error));
    json_put_text(json, "detail", error->message);
    json_object_close(json);
    json_array_close(json);
}

/* ---- all ---- */

static void put_shape(enum profile_errors shape, struct json *json, const struct own_error *error)
{
    switch (shape) {
    case PROFILE_ERRORS_PROBLEM:
        return;
    case PROFILE_ERRORS_STRIPE:
        put_stripe(json, error);
        return;
    case PROFILE_ERRORS_ADYEN:
        put_adyen(json, error);
        return;
    case PROFILE_ERRORS_CHECKOUT:
        put_checkout(json, error);
        return;
    case PROFILE_ERRORS_PAYPAL:
        put_paypal(json, error);
        return;
    case PROFILE_ERRORS_SQUARE:
        put_square(json, error);
        return;
    }
    CHECK(false);
}

static void put_violated(struct json *json, const struct profile_problem *problem)
{
    json_key(json, "violated-policies");
    json_array_open(json);
    for (int i = 0; i < problem->violated_count; i++) {
        json_add_string(json, bytes_from_text(problem->violated[i]));
    }
    json_array_close(json);
}

void profile_error_body(const struct profile *profile, struct json *json, enum reason reason, enum outcome outcome,
                        enum retry retry, const char *request_id, const char *detail,
                        const struct profile_problem *problem)
{
    char type[96];
    char code[64];
    struct own_error error = {
        .reason = reason,
        .status = profile_status(profile, reason),
        .code = code,
        .message = reason_sentence_for(reason, outcome),
        .request_id = request_id,
    };
    (void)snprintf(type, sizeof type, "urn:weir:reason:%s", reason_name(reason));
    (void)snprintf(code, sizeof code, "weir_%s", reason_name(reason));

    json_object_open(json);
    json_put_text(json, "type", problem != NULL && problem->type != NULL ? problem->type : type);
    json_put_text(json, "title", error.message);
    json_put_u64(json, "status", error.status);
    if (detail != NULL && detail[0] != '\0') {
        json_put_text(json, "detail", detail);
    }
    json_put_text(json, "reason", reason_name(reason));
    json_put_text(json, "outcome", outcome_name(outcome));
    json_put_text(json, "retry", retry_name(retry));
    json_put_text(json, "request_id", request_id);
    if (problem != NULL && problem->violated_count > 0) {
        put_violated(json, problem);
    }
    put_shape(profile->errors, json, &error);
    json_object_close(json);
}
