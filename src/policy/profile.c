/*
 * The profiles, as rows, and the three questions that are asked of them: what
 * does a status prove, what status does an error carry, what shape has its
 * body. Sources of the rows: the processors' API references (idempotency keys,
 * error objects, retry headers).
 */
#include "weir/policy/profile.h"

#include <stdio.h>

static const struct profile profiles[] = {
    {.name = "generic", .deduplicates = false, .key_field = {"idempotency-key", 15}},
    {.name = "stripe",
     .deduplicates = true,
     .key_field = {"idempotency-key", 15},
     .stripe_errors = true,
     .stripe_should_retry = true},
};

const struct profile *profile_at(int index)
{
    return index >= 0 && (size_t)index < ARRAY_COUNT(profiles) ? &profiles[index] : NULL;
}

const struct profile *profile_find(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_COUNT(profiles); i++) {
        if (bytes_equal(name, bytes_from_text(profiles[i].name))) {
            return &profiles[i];
        }
    }
    return NULL;
}

bool profile_is_definite(const struct profile *profile, uint16_t status)
{
    (void)profile; /* both profiles read statuses alike */
    bool proves_nothing = status == 408 || status == 500 || (status >= 502 && status <= 504) ||
                          (status >= 520 && status <= 529);
    return !proves_nothing;
}

uint16_t profile_status(const struct profile *profile, enum reason reason)
{
    if (profile->stripe_errors && reason == REASON_KEY_REUSED) {
        return 400; /* Stripe's idempotency_error */
    }
    return reason_status(reason);
}

/* Stripe's error types, by which its SDKs choose the exception. */
static const char *stripe_type(enum reason reason, uint16_t status)
{
    if (reason == REASON_KEY_REUSED || reason == REASON_KEY_IN_PROGRESS) {
        return "idempotency_error";
    }
    if (status == 429) {
        return "rate_limit_error";
    }
    if (status == 401) {
        return "authentication_error";
    }
    return status < 500 && status != 409 ? "invalid_request_error" : "api_error";
}

static void put_stripe_error(struct json *json, enum reason reason, uint16_t status, const char *message)
{
    char code[64];
    (void)snprintf(code, sizeof code, "weir_%s", reason_name(reason));
    json_key(json, "error");
    json_object_open(json);
    json_put_text(json, "type", stripe_type(reason, status));
    json_put_text(json, "code", code);
    json_put_text(json, "message", message);
    json_object_close(json);
}

void profile_error_body(const struct profile *profile, struct json *json, enum reason reason, enum outcome outcome,
                        enum retry retry, const char *request_id, const char *detail)
{
    uint16_t status = profile_status(profile, reason);
    const char *message = reason_sentence_for(reason, outcome);
    char type[96];
    (void)snprintf(type, sizeof type, "urn:weir:reason:%s", reason_name(reason));

    json_object_open(json);
    json_put_text(json, "type", type);
    json_put_text(json, "title", message);
    json_put_u64(json, "status", status);
    if (detail != NULL && detail[0] != '\0') {
        json_put_text(json, "detail", detail);
    }
    json_put_text(json, "reason", reason_name(reason));
    json_put_text(json, "outcome", outcome_name(outcome));
    json_put_text(json, "retry", retry_name(retry));
    json_put_text(json, "request_id", request_id);
    if (profile->stripe_errors) {
        put_stripe_error(json, reason, status, message);
    }
    json_object_close(json);
}

char *profile_explain(const struct profile *profile)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }
    fprintf(out,
            "profiles.%s\n\n"
            "  key          header:%.*s\n"
            "  deduplicates %s\n"
            "  errors       problem+json%s\n"
            "  retry hint   Weir-Retry%s\n"
            "  unproven     408 500 502 503 504 520-529 prove nothing: their outcome is unknown\n",
            profile->name, BYTES_ARG(profile->key_field),
            profile->deduplicates ? "yes: the processor executes one key once" : "no",
            profile->stripe_errors ? " with Stripe's error object" : "",
            profile->stripe_should_retry ? ", Stripe-Should-Retry" : "");
    return fclose(out) == 0 ? text : NULL;
}
