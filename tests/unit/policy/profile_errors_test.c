/*
 * Bodies of weir's own answers: RFC 9457's members in every shape, and beside
 * them the members by which each processor's SDK tells an error. What the SDKs
 * make of them is tests/e2e/test_sdk_*.py.
 */
#include "base/unit.h"

#include <stdio.h>

#include "weir/policy/profile.h"

#define ID "0123456789abcdef0123456789abcdef"

static char text[4096];

static struct bytes body_in(enum profile_errors shape, enum reason reason, uint16_t status)
{
    struct profile profile = {.name = "made", .errors = shape};
    struct json json;
    if (status != 0) {
        profile.statuses[0] = (struct profile_status_row){reason, status};
    }
    json_init(&json, text, sizeof text);
    profile_error_body(&profile, &json, reason, reason_outcome(reason), RETRY_NO, ID, "some \"words\"", NULL);
    assert_false(json.overflow);
    return json_bytes(&json);
}

static struct bytes body_of(enum profile_errors shape, enum reason reason)
{
    return body_in(shape, reason, 0);
}

static void assert_holds(struct bytes body, const char *part)
{
    if (bytes_find_text(body, bytes_from_text(part)) == SIZE_MAX) {
        fail_msg("no %s in %.*s", part, BYTES_ARG(body));
    }
}

static void assert_lacks(struct bytes body, const char *part)
{
    if (bytes_find_text(body, bytes_from_text(part)) != SIZE_MAX) {
        fail_msg("%s in %.*s", part, BYTES_ARG(body));
    }
}

static void test_every_shape_is_a_problem_document_for_every_reason(void **state)
{
    (void)state;
    for (int shape = PROFILE_ERRORS_PROBLEM; shape <= PROFILE_ERRORS_SQUARE; shape++) {
        for (int reason = REASON_OK + 1; reason < REASON_COUNT; reason++) {
            char part[128];
            struct bytes body = body_of((enum profile_errors)shape, (enum reason)reason);
            (void)snprintf(part, sizeof part, "{\"type\":\"urn:weir:reason:%s\",\"title\":\"", reason_name((enum reason)reason));
            assert_holds(body, part);
            (void)snprintf(part, sizeof part, "\"status\":%u,\"detail\":\"some \\\"words\\\"\",\"reason\":\"%s\",\"outcome\":\"%s\"",
                           reason_status((enum reason)reason), reason_name((enum reason)reason),
                           outcome_name(reason_outcome((enum reason)reason)));
            assert_holds(body, part);
            assert_holds(body, "\"retry\":\"no\",\"request_id\":\"" ID "\"");
            assert_true(body.at[body.len - 1] == '}');
            assert_true(body.len < 1900); /* replies have 2 KiB */
        }
    }
}

static void test_no_detail_is_no_member(void **state)
{
    struct profile profile = {.name = "made"};
    struct json json;

    (void)state;
    for (int i = 0; i < 2; i++) {
        json_init(&json, text, sizeof text);
        profile_error_body(&profile, &json, REASON_SHED, OUTCOME_NOT_SENT, RETRY_SAFE, ID, i == 0 ? NULL : "", NULL);
        assert_lacks(json_bytes(&json), "detail");
    }
}

static void test_the_plain_shape_has_no_member_of_any_sdk(void **state)
{
    static const char *const members[] = {"\"error\":", "errorCode", "error_type", "debug_id", "\"errors\":"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        assert_lacks(body_of(PROFILE_ERRORS_PROBLEM, REASON_RESPONSE_TIMEOUT), members[i]);
    }
}

static void test_stripe(void **state)
{
    (void)state;
    assert_holds(body_of(PROFILE_ERRORS_STRIPE, REASON_RESPONSE_TIMEOUT),
                 "\"error\":{\"type\":\"api_error\",\"code\":\"weir_response_timeout\",\"message\":\"");
    assert_holds(body_of(PROFILE_ERRORS_STRIPE, REASON_RATE_LIMITED), "\"error\":{\"type\":\"rate_limit_error\"");
    assert_holds(body_of(PROFILE_ERRORS_STRIPE, REASON_BAD_REQUEST), "\"error\":{\"type\":\"invalid_request_error\"");
    assert_holds(body_of(PROFILE_ERRORS_STRIPE, REASON_UNKNOWN_TENANT), "\"error\":{\"type\":\"authentication_error\"");
    assert_holds(body_of(PROFILE_ERRORS_STRIPE, REASON_OUTCOME_UNKNOWN), "\"error\":{\"type\":\"api_error\"");
    assert_holds(body_of(PROFILE_ERRORS_STRIPE, REASON_KEY_IN_PROGRESS),
                 "\"error\":{\"type\":\"idempotency_error\",\"code\":\"idempotency_key_in_use\"");
    /* Stripe's own status for a reused key, and weir's. */
    assert_holds(body_in(PROFILE_ERRORS_STRIPE, REASON_KEY_REUSED, 400), "\"error\":{\"type\":\"idempotency_error\"");
    assert_holds(body_in(PROFILE_ERRORS_STRIPE, REASON_KEY_REUSED, 422), "\"error\":{\"type\":\"idempotency_error\"");
    assert_holds(body_in(PROFILE_ERRORS_STRIPE, REASON_KEY_REUSED, 400), "\"status\":400");
}

static void test_adyen(void **state)
{
    (void)state;
    assert_holds(body_of(PROFILE_ERRORS_ADYEN, REASON_RESPONSE_TIMEOUT),
                 "\"errorCode\":\"weir_response_timeout\",\"message\":\"The processor did not");
    assert_holds(body_of(PROFILE_ERRORS_ADYEN, REASON_RESPONSE_TIMEOUT), "\"errorType\":\"internal\"");
    assert_holds(body_of(PROFILE_ERRORS_ADYEN, REASON_KEY_REUSED), "\"errorType\":\"validation\"");
    assert_holds(body_of(PROFILE_ERRORS_ADYEN, REASON_KEY_IN_PROGRESS), "\"errorCode\":\"704\"");
    assert_holds(body_of(PROFILE_ERRORS_ADYEN, REASON_OUTCOME_UNKNOWN), "\"errorCode\":\"weir_outcome_unknown\"");
    assert_holds(body_of(PROFILE_ERRORS_ADYEN, REASON_UNKNOWN_TENANT), "\"errorType\":\"security\"");
    assert_lacks(body_of(PROFILE_ERRORS_ADYEN, REASON_RESPONSE_TIMEOUT), "pspReference"); /* there is none */
}

static void test_checkout(void **state)
{
    (void)state;
    assert_holds(body_of(PROFILE_ERRORS_CHECKOUT, REASON_RESPONSE_TIMEOUT),
                 "\"error_type\":\"processing_error\",\"error_codes\":[\"weir_response_timeout\"]");
    assert_holds(body_of(PROFILE_ERRORS_CHECKOUT, REASON_KEY_REUSED), "\"error_type\":\"request_invalid\"");
    assert_holds(body_of(PROFILE_ERRORS_CHECKOUT, REASON_RATE_LIMITED), "\"error_type\":\"too_many_requests\"");
    assert_holds(body_of(PROFILE_ERRORS_CHECKOUT, REASON_UNKNOWN_TENANT), "\"error_type\":\"request_unauthorized\"");
    assert_holds(body_of(PROFILE_ERRORS_CHECKOUT, REASON_KEY_IN_PROGRESS), "\"error_type\":\"request_conflict\"");
}

static void test_paypal(void **state)
{
    struct bytes body = body_of(PROFILE_ERRORS_PAYPAL, REASON_RESPONSE_TIMEOUT);

    (void)state;
    assert_holds(body, "\"name\":\"INTERNAL_SERVER_ERROR\",\"message\":\"The processor did not");
    assert_holds(body, "\"debug_id\":\"" ID "\",\"details\":[{\"issue\":\"WEIR_RESPONSE_TIMEOUT\",\"description\":\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_KEY_REUSED), "\"name\":\"UNPROCESSABLE_ENTITY\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_KEY_IN_PROGRESS), "\"name\":\"RESOURCE_CONFLICT\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_KEY_IN_PROGRESS), "\"issue\":\"PREVIOUS_REQUEST_IN_PROGRESS\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_OUTCOME_UNKNOWN), "\"issue\":\"WEIR_OUTCOME_UNKNOWN\"");
    /* PayPal's DUPLICATE_REQUEST_ID is taken for "it is done already" by merchants' programs: here nothing was. */
    assert_lacks(body_of(PROFILE_ERRORS_PAYPAL, REASON_KEY_REUSED), "DUPLICATE");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_RATE_LIMITED), "\"name\":\"RATE_LIMIT_REACHED\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_SHED), "\"name\":\"SERVICE_UNAVAILABLE\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_NO_ROUTE), "\"name\":\"RESOURCE_NOT_FOUND\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_BAD_REQUEST), "\"name\":\"INVALID_REQUEST\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_UNKNOWN_TENANT), "\"name\":\"AUTHENTICATION_FAILURE\"");
    assert_holds(body_of(PROFILE_ERRORS_PAYPAL, REASON_CLIENT_CERTIFICATE_REFUSED), "\"name\":\"NOT_AUTHORIZED\"");
}

static void assert_square(enum reason reason, const char *category, const char *code)
{
    char part[160];
    (void)snprintf(part, sizeof part, "\"errors\":[{\"category\":\"%s\",\"code\":\"%s\",\"detail\":\"", category, code);
    assert_holds(body_of(PROFILE_ERRORS_SQUARE, reason), part);
}

static void test_square(void **state)
{
    (void)state;
    assert_square(REASON_RESPONSE_TIMEOUT, "API_ERROR", "GATEWAY_TIMEOUT");
    assert_square(REASON_KEY_REUSED, "INVALID_REQUEST_ERROR", "IDEMPOTENCY_KEY_REUSED");
    assert_square(REASON_KEY_IN_PROGRESS, "API_ERROR", "CONFLICT");
    assert_square(REASON_OUTCOME_UNKNOWN, "API_ERROR", "CONFLICT");
    assert_square(REASON_RATE_LIMITED, "RATE_LIMIT_ERROR", "RATE_LIMITED");
    assert_square(REASON_SHED, "API_ERROR", "SERVICE_UNAVAILABLE");
    assert_square(REASON_WRITE_FAILED, "API_ERROR", "INTERNAL_SERVER_ERROR");
    assert_square(REASON_NO_ROUTE, "INVALID_REQUEST_ERROR", "NOT_FOUND");
    assert_square(REASON_BODY_TOO_LARGE, "INVALID_REQUEST_ERROR", "REQUEST_ENTITY_TOO_LARGE");
    assert_square(REASON_BAD_REQUEST, "INVALID_REQUEST_ERROR", "BAD_REQUEST");
    assert_square(REASON_UNKNOWN_TENANT, "AUTHENTICATION_ERROR", "UNAUTHORIZED");
    assert_square(REASON_CLIENT_CERTIFICATE_REFUSED, "AUTHENTICATION_ERROR", "FORBIDDEN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_shape_is_a_problem_document_for_every_reason),
        cmocka_unit_test(test_no_detail_is_no_member),
        cmocka_unit_test(test_the_plain_shape_has_no_member_of_any_sdk),
        cmocka_unit_test(test_stripe),
        cmocka_unit_test(test_adyen),
        cmocka_unit_test(test_checkout),
        cmocka_unit_test(test_paypal),
        cmocka_unit_test(test_square),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
