/*
 * What one payment and one error look like at each processor: the members that
 * its SDK reads, and no more. Sources: the processors' API references and the
 * types of their SDKs.
 */
#include <stdio.h>

#include "dialect_internal.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"

static const char *or_else(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static void put_time(struct json *json, const char *name, const struct execution *execution)
{
    char text[LOG_TIME_BYTES];

    log_time_format(execution->at_wall_us, text);
    json_put_text(json, name, text);
}

static void write_id(struct http_writer *writer, struct bytes name, const struct execution *execution)
{
    http_write_field(writer, name, bytes_from_text(execution->id));
}

static void write_key(struct http_writer *writer, struct bytes name, struct bytes key)
{
    if (key.len > 0) {
        http_write_field(writer, name, key);
    }
}

/* ---- Stripe: a payment intent ---- */

static void stripe_payment(struct json *json, const struct execution *execution)
{
    char id[LEDGER_NUMBER_BYTES + 8];

    snprintf(id, sizeof(id), "pi_%s", execution->id);
    json_object_open(json);
    json_put_text(json, "id", id);
    json_put_text(json, "object", "payment_intent");
    json_put_u64(json, "amount", execution->amount);
    json_put_u64(json, "amount_received", execution->amount);
    json_put_text(json, "currency", execution->currency);
    json_put_u64(json, "created", execution->at_wall_us / CLOCK_US_PER_S);
    json_put_bool(json, "livemode", false);
    json_put_text(json, "status", "succeeded");
    json_object_close(json);
}

static void stripe_lines(struct http_writer *writer, const struct execution *execution, struct bytes key)
{
    write_id(writer, BYTES("Request-Id"), execution);
    write_key(writer, BYTES("Idempotency-Key"), key);
}

static const char *stripe_kind(uint16_t status)
{
    return status == 429 ? "rate_limit_error" : status == 402 ? "card_error" : status >= 500 ? "api_error" : "invalid_request_error";
}

static void stripe_error(struct json *json, const struct dialect_error *error)
{
    json_object_open(json);
    json_key(json, "error");
    json_object_open(json);
    json_put_text(json, "type", or_else(error->kind, stripe_kind(error->status)));
    if (error->code != NULL) {
        json_put_text(json, "code", error->code);
    }
    json_put_string(json, "message", error->message);
    json_object_close(json);
    json_object_close(json);
}

const struct dialect_shape dialect_shape_stripe = {200, stripe_payment, stripe_lines, stripe_error};

/* ---- Adyen: /payments of the Checkout API ---- */

static void adyen_payment(struct json *json, const struct execution *execution)
{
    json_object_open(json);
    json_put_text(json, "pspReference", execution->id);
    json_put_text(json, "resultCode", "Authorised");
    json_key(json, "amount");
    json_object_open(json);
    json_put_text(json, "currency", execution->currency);
    json_put_u64(json, "value", execution->amount);
    json_object_close(json);
    json_object_close(json);
}

static void adyen_lines(struct http_writer *writer, const struct execution *execution, struct bytes key)
{
    write_id(writer, BYTES("pspReference"), execution);
    write_key(writer, BYTES("Idempotency-Key"), key);
}

static const char *adyen_kind(uint16_t status)
{
    return status == 401 || status == 403 ? "security" : status >= 500 ? "internal" : "validation";
}

static void adyen_error(struct json *json, const struct dialect_error *error)
{
    json_object_open(json);
    json_put_u64(json, "status", error->status);
    json_put_text(json, "errorCode", or_else(error->code, "000"));
    json_put_string(json, "message", error->message);
    json_put_text(json, "errorType", or_else(error->kind, adyen_kind(error->status)));
    json_object_close(json);
}

const struct dialect_shape dialect_shape_adyen = {200, adyen_payment, adyen_lines, adyen_error};

/* ---- Checkout.com ---- */

static void checkout_payment(struct json *json, const struct execution *execution)
{
    char id[LEDGER_NUMBER_BYTES + 8];

    snprintf(id, sizeof(id), "pay_%s", execution->id);
    json_object_open(json);
    json_put_text(json, "id", id);
    json_put_u64(json, "amount", execution->amount);
    json_put_text(json, "currency", execution->currency);
    json_put_bool(json, "approved", true);
    json_put_text(json, "status", "Authorized");
    json_put_text(json, "response_code", "10000");
    json_put_text(json, "response_summary", "Approved");
    put_time(json, "processed_on", execution);
    json_object_close(json);
}

static void checkout_lines(struct http_writer *writer, const struct execution *execution, struct bytes key)
{
    (void)key;
    write_id(writer, BYTES("Cko-Request-Id"), execution);
    http_write_field(writer, BYTES("Cko-Version"), BYTES("1.0.0"));
}

static void checkout_error(struct json *json, const struct dialect_error *error)
{
    json_object_open(json);
    json_put_text(json, "request_id", "0HL80RJLS76I7");
    json_put_text(json, "error_type", or_else(error->kind, error->status >= 500 ? "processing_error" : "request_invalid"));
    json_key(json, "error_codes");
    json_array_open(json);
    json_add_string(json, error->code != NULL ? bytes_from_text(error->code) : error->message);
    json_array_close(json);
    json_object_close(json);
}

const struct dialect_shape dialect_shape_checkout = {201, checkout_payment, checkout_lines, checkout_error};

/* ---- PayPal: an order that is paid when it is made ---- */

static void paypal_amount(struct json *json, const struct execution *execution)
{
    char value[32];

    snprintf(value, sizeof(value), "%llu.%02u", (unsigned long long)(execution->amount / 100),
             (unsigned)(execution->amount % 100));
    json_key(json, "amount");
    json_object_open(json);
    json_put_text(json, "currency_code", execution->currency);
    json_put_text(json, "value", value);
    json_object_close(json);
}

static void paypal_payment(struct json *json, const struct execution *execution)
{
    json_object_open(json);
    json_put_text(json, "id", execution->id);
    json_put_text(json, "intent", "CAPTURE");
    json_put_text(json, "status", "COMPLETED");
    json_key(json, "purchase_units");
    json_array_open(json);
    json_object_open(json);
    json_put_text(json, "reference_id", "default");
    paypal_amount(json, execution);
    json_object_close(json);
    json_array_close(json);
    put_time(json, "create_time", execution);
    json_object_close(json);
}

static void paypal_lines(struct http_writer *writer, const struct execution *execution, struct bytes key)
{
    (void)key;
    write_id(writer, BYTES("Paypal-Debug-Id"), execution);
}

static const char *paypal_kind(uint16_t status)
{
    return status == 422 ? "UNPROCESSABLE_ENTITY" : status >= 500 ? "INTERNAL_SERVER_ERROR" : "INVALID_REQUEST";
}

static void paypal_error(struct json *json, const struct dialect_error *error)
{
    json_object_open(json);
    json_put_text(json, "name", or_else(error->kind, paypal_kind(error->status)));
    json_put_string(json, "message", error->message);
    json_put_text(json, "debug_id", "90957fca61718");
    json_key(json, "details");
    json_array_open(json);
    json_object_open(json);
    json_put_text(json, "issue", or_else(error->code, error->status == 422 ? "INSTRUMENT_DECLINED" : "SANDBOX"));
    json_put_string(json, "description", error->message);
    json_object_close(json);
    json_array_close(json);
    json_object_close(json);
}

const struct dialect_shape dialect_shape_paypal = {201, paypal_payment, paypal_lines, paypal_error};

/* ---- Square ---- */

static void square_payment(struct json *json, const struct execution *execution)
{
    json_object_open(json);
    json_key(json, "payment");
    json_object_open(json);
    json_put_text(json, "id", execution->id);
    put_time(json, "created_at", execution);
    json_key(json, "amount_money");
    json_object_open(json);
    json_put_u64(json, "amount", execution->amount);
    json_put_text(json, "currency", execution->currency);
    json_object_close(json);
    json_put_text(json, "status", "COMPLETED");
    json_put_text(json, "source_type", "CARD");
    json_object_close(json);
    json_object_close(json);
}

static void square_lines(struct http_writer *writer, const struct execution *execution, struct bytes key)
{
    (void)execution;
    (void)key;
    http_write_field(writer, BYTES("Square-Version"), BYTES("2026-05-20"));
}

static const char *square_kind(uint16_t status)
{
    return status == 401 || status == 403 ? "AUTHENTICATION_ERROR"
           : status == 429                ? "RATE_LIMIT_ERROR"
           : status == 402                ? "PAYMENT_METHOD_ERROR"
           : status >= 500                ? "API_ERROR"
                                          : "INVALID_REQUEST_ERROR";
}

static const char *square_code(uint16_t status)
{
    return status == 401   ? "UNAUTHORIZED"
           : status == 402 ? "CARD_DECLINED"
           : status == 403 ? "FORBIDDEN"
           : status == 404 ? "NOT_FOUND"
           : status == 429 ? "RATE_LIMITED"
           : status == 503 ? "SERVICE_UNAVAILABLE"
           : status == 504 ? "GATEWAY_TIMEOUT"
           : status >= 500 ? "INTERNAL_SERVER_ERROR"
                           : "BAD_REQUEST";
}

static void square_error(struct json *json, const struct dialect_error *error)
{
    json_object_open(json);
    json_key(json, "errors");
    json_array_open(json);
    json_object_open(json);
    json_put_text(json, "category", or_else(error->kind, square_kind(error->status)));
    json_put_text(json, "code", or_else(error->code, square_code(error->status)));
    json_put_string(json, "detail", error->message);
    json_object_close(json);
    json_array_close(json);
    json_object_close(json);
}

const struct dialect_shape dialect_shape_square = {200, square_payment, square_lines, square_error};
