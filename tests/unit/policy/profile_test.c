/* Profiles: what a status proves, and error bodies that an SDK takes for errors. */
#include "base/unit.h"

#include "weir/policy/profile.h"

static const struct profile *stripe(void)
{
    return profile_find(BYTES("stripe"));
}

static const struct profile *generic(void)
{
    return profile_find(BYTES("generic"));
}

static struct bytes body_of(const struct profile *profile, enum reason reason, char *text, size_t size)
{
    struct json json;
    json_init(&json, text, size);
    profile_error_body(profile, &json, reason, reason_outcome(reason), RETRY_NO, "0123", "some \"words\"");
    assert_false(json.overflow);
    return json_bytes(&json);
}

static bool holds(struct bytes text, const char *part)
{
    return bytes_find_text(text, bytes_from_text(part)) != SIZE_MAX;
}

static void test_server_errors_prove_nothing_and_declines_do(void **state)
{
    static const uint16_t unproven[] = {408, 500, 502, 503, 504, 520, 529};
    static const uint16_t proven[] = {200, 201, 302, 400, 401, 402, 404, 409, 422, 429, 501, 505};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(unproven); i++) {
        assert_false(profile_is_definite(generic(), unproven[i]));
    }
    for (size_t i = 0; i < ARRAY_COUNT(proven); i++) {
        assert_true(profile_is_definite(stripe(), proven[i]));
    }
}

static void test_the_stripe_body_has_an_error_object_and_the_generic_one_has_none(void **state)
{
    char text[2048];

    (void)state;
    struct bytes body = body_of(stripe(), REASON_RESPONSE_TIMEOUT, text, sizeof text);
    assert_true(holds(body, "\"error\":{\"type\":\"api_error\""));
    assert_true(holds(body, "\"outcome\":\"unknown\""));
    body = body_of(generic(), REASON_RESPONSE_TIMEOUT, text, sizeof text);
    assert_false(holds(body, "\"error\":"));
    assert_true(holds(body, "\"status\":504"));
    assert_true(holds(body, "some \\\"words\\\""));
}

static void test_stripe_error_types_follow_the_status(void **state)
{
    char text[2048];

    (void)state;
    assert_true(holds(body_of(stripe(), REASON_RATE_LIMITED, text, sizeof text), "rate_limit_error"));
    assert_true(holds(body_of(stripe(), REASON_BAD_REQUEST, text, sizeof text), "invalid_request_error"));
    assert_true(holds(body_of(stripe(), REASON_KEY_REUSED, text, sizeof text), "idempotency_error"));
    assert_int_equal(profile_status(stripe(), REASON_KEY_REUSED), 400);
    assert_int_equal(profile_status(generic(), REASON_KEY_REUSED), 422);
}

static void test_an_unknown_name_is_no_profile(void **state)
{
    (void)state;
    assert_null(profile_find(BYTES("strip")));
    assert_non_null(profile_at(0));
    assert_null(profile_at(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_errors_prove_nothing_and_declines_do),
        cmocka_unit_test(test_the_stripe_body_has_an_error_object_and_the_generic_one_has_none),
        cmocka_unit_test(test_stripe_error_types_follow_the_status),
        cmocka_unit_test(test_an_unknown_name_is_no_profile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
