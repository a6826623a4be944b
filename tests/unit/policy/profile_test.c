/* Profiles: what an answer proves, for how long a key protects, and which fields are kept with a stored answer. */
#include "base/unit.h"

#include "weir/policy/profile.h"

#define SECOND UINT64_C(1000)
#define HOUR (3600 * SECOND)

/* An answer with one field. */
struct answer {
    const char *name, *value;
};

static struct bytes field_of(const void *answer, struct bytes name)
{
    const struct answer *from = answer;
    return from->name != NULL && bytes_equal_nocase(bytes_from_text(from->name), name) ? bytes_from_text(from->value)
                                                                                       : BYTES_NONE;
}

static enum idem_class class_of(const struct profile *profile, uint16_t status)
{
    return profile_classify(profile, status, NULL, NULL);
}

static enum idem_class class_with(const struct profile *profile, uint16_t status, const char *name, const char *value)
{
    struct answer answer = {name, value};
    return profile_classify(profile, status, field_of, &answer);
}

static struct profile made(void)
{
    return (struct profile){
        .name = "made",
        .deduplicates = true,
        .key = BYTES("Payment-Key"),
        .key_bytes_min = 1,
        .key_bytes_max = 255,
        .final = {{200, 299}, {400, 499}},
        .not_executed = {{401, 401}, {403, 403}, {429, 429}},
        .busy = {{409, 409}},
    };
}

static struct profile with_field(void)
{
    struct profile profile = made();
    profile.busy[1] = (struct profile_codes){422, 422};
    profile.not_executed_field = BYTES("Transient-Error");
    profile.not_executed_value = BYTES("true");
    return profile;
}

/* ---- methods ---- */

static void test_post_and_patch_carry_keys_and_others_where_the_profile_says_so(void **state)
{
    struct profile profile = made();

    (void)state;
    assert_true(profile_keys_method(&profile, BYTES("POST")));
    assert_true(profile_keys_method(&profile, BYTES("PATCH")));
    assert_false(profile_keys_method(&profile, BYTES("PUT")));
    assert_false(profile_keys_method(&profile, BYTES("DELETE")));
    profile.keys_put = true;
    assert_true(profile_keys_method(&profile, BYTES("PUT")));
    assert_false(profile_keys_method(&profile, BYTES("DELETE")));
    profile.keys_delete = true;
    assert_true(profile_keys_method(&profile, BYTES("DELETE")));
    assert_false(profile_keys_method(&profile, BYTES("GET")));
    assert_false(profile_keys_method(&profile, BYTES("post")));
}

/* ---- classes ---- */

static void test_lists_are_inclusive_and_the_narrow_ones_win(void **state)
{
    struct profile profile = made();

    (void)state;
    assert_int_equal(class_of(&profile, 200), IDEM_CLASS_FINAL);
    assert_int_equal(class_of(&profile, 299), IDEM_CLASS_FINAL);
    assert_int_equal(class_of(&profile, 400), IDEM_CLASS_FINAL);
    assert_int_equal(class_of(&profile, 499), IDEM_CLASS_FINAL);
    assert_int_equal(class_of(&profile, 401), IDEM_CLASS_NOT_EXECUTED);
    assert_int_equal(class_of(&profile, 429), IDEM_CLASS_NOT_EXECUTED);
    assert_int_equal(class_of(&profile, 409), IDEM_CLASS_BUSY);
}

static void test_what_no_list_names_proves_nothing(void **state)
{
    static const uint16_t statuses[] = {100, 300, 302, 399, 500, 502, 503, 504, 520, 599};
    struct profile profile = made();
    struct profile empty = {.name = "empty"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(statuses); i++) {
        assert_int_equal(class_of(&profile, statuses[i]), IDEM_CLASS_UNPROVEN);
    }
    assert_int_equal(class_of(&empty, 200), IDEM_CLASS_UNPROVEN);
}

static void test_a_full_list_ends_at_its_bound(void **state)
{
    struct profile profile = {.name = "full"};

    (void)state;
    for (int i = 0; i < PROFILE_CODES_MAX; i++) {
        profile.final[i] = (struct profile_codes){(uint16_t)(400 + i), (uint16_t)(400 + i)};
    }
    assert_int_equal(class_of(&profile, 400 + PROFILE_CODES_MAX - 1), IDEM_CLASS_FINAL);
    assert_int_equal(class_of(&profile, 400 + PROFILE_CODES_MAX), IDEM_CLASS_UNPROVEN);
}

static void test_a_refusal_with_the_field_was_not_executed_whatever_its_status(void **state)
{
    struct profile profile = with_field();

    (void)state;
    assert_int_equal(class_with(&profile, 500, "transient-error", "true"), IDEM_CLASS_NOT_EXECUTED);
    assert_int_equal(class_with(&profile, 503, "Transient-Error", " TRUE "), IDEM_CLASS_NOT_EXECUTED);
    assert_int_equal(class_with(&profile, 400, "Transient-Error", "true"), IDEM_CLASS_NOT_EXECUTED);
    assert_int_equal(class_with(&profile, 500, "Transient-Error", "false"), IDEM_CLASS_UNPROVEN);
    assert_int_equal(class_with(&profile, 500, "Transient-Error", ""), IDEM_CLASS_UNPROVEN);
    assert_int_equal(class_with(&profile, 500, NULL, NULL), IDEM_CLASS_UNPROVEN);
    assert_int_equal(class_of(&profile, 500), IDEM_CLASS_UNPROVEN);
}

static void test_a_success_is_never_taken_for_nothing_done(void **state)
{
    struct profile profile = with_field();

    (void)state;
    profile.not_executed[0] = (struct profile_codes){200, 299};
    assert_int_equal(class_with(&profile, 200, "Transient-Error", "true"), IDEM_CLASS_FINAL);
    profile.final[0] = (struct profile_codes){201, 201};
    assert_int_equal(class_with(&profile, 200, "Transient-Error", "true"), IDEM_CLASS_UNPROVEN);
    profile.final[0].high = 202;
    profile.busy[0] = (struct profile_codes){202, 202}; /* accepted, and at work on it */
    assert_int_equal(class_of(&profile, 202), IDEM_CLASS_BUSY);
    assert_int_equal(class_of(&profile, 201), IDEM_CLASS_FINAL);
}

static void test_where_a_status_is_busy_and_final_the_field_decides(void **state)
{
    struct profile profile = with_field();

    (void)state;
    assert_int_equal(class_with(&profile, 422, "Transient-Error", "true"), IDEM_CLASS_BUSY);
    assert_int_equal(class_with(&profile, 422, NULL, NULL), IDEM_CLASS_FINAL);
    profile.final[1].high = 404;
    assert_int_equal(class_with(&profile, 409, NULL, NULL), IDEM_CLASS_BUSY);
    assert_int_equal(class_with(&profile, 409, "Transient-Error", "true"), IDEM_CLASS_BUSY);
    profile = made(); /* without such a field busy wins */
    assert_int_equal(class_of(&profile, 409), IDEM_CLASS_BUSY);
}

static void test_words_about_the_key_prove_nothing_about_the_payment(void **state)
{
    struct profile profile = made();
    struct bytes duplicate = BYTES("{\"name\":\"DUPLICATE_REQUEST_ID\"}");
    struct bytes declined = BYTES("{\"name\":\"INSTRUMENT_DECLINED\"}");

    (void)state;
    assert_int_equal(profile_classify_body(&profile, 400, IDEM_CLASS_FINAL, duplicate, false), IDEM_CLASS_FINAL);
    profile.unproven_words[0] = BYTES("IN_PROGRESS");
    profile.unproven_words[1] = BYTES("DUPLICATE_REQUEST_ID");
    assert_int_equal(profile_classify_body(&profile, 400, IDEM_CLASS_FINAL, duplicate, false), IDEM_CLASS_UNPROVEN);
    assert_int_equal(profile_classify_body(&profile, 403, IDEM_CLASS_NOT_EXECUTED, duplicate, false),
                     IDEM_CLASS_UNPROVEN);
    assert_int_equal(profile_classify_body(&profile, 422, IDEM_CLASS_FINAL, declined, false), IDEM_CLASS_FINAL);
    assert_int_equal(profile_classify_body(&profile, 422, IDEM_CLASS_FINAL, BYTES_NONE, false), IDEM_CLASS_FINAL);
    assert_int_equal(profile_classify_body(&profile, 409, IDEM_CLASS_BUSY, duplicate, false), IDEM_CLASS_BUSY);
    /* A success may quote anything. */
    assert_int_equal(profile_classify_body(&profile, 201, IDEM_CLASS_FINAL, duplicate, false), IDEM_CLASS_FINAL);
    /* What cannot be read could hold the words. */
    assert_int_equal(profile_classify_body(&profile, 422, IDEM_CLASS_FINAL, BYTES("\x1f\x8b"), true),
                     IDEM_CLASS_UNPROVEN);
    assert_int_equal(profile_classify_body(&profile, 200, IDEM_CLASS_FINAL, BYTES("\x1f\x8b"), true), IDEM_CLASS_FINAL);
}

/* ---- declines ---- */

static void test_a_decline_is_a_status_or_a_word_whatever_the_status(void **state)
{
    struct profile profile = made();
    (void)state;
    assert_false(profile_declined(&profile, 402, BYTES("CARD_DECLINED")));
    profile.declined[0] = (struct profile_codes){402, 402};
    profile.declined[1] = (struct profile_codes){460, 469};
    assert_true(profile_declined(&profile, 402, BYTES_NONE));
    assert_true(profile_declined(&profile, 460, BYTES("{}")));
    assert_true(profile_declined(&profile, 469, BYTES("{}")));
    assert_false(profile_declined(&profile, 401, BYTES("{}")));
    assert_false(profile_declined(&profile, 470, BYTES("{}")));
    assert_false(profile_declined(&profile, 200, BYTES("{\"resultCode\": \"Refused\"}")));
    profile.declined_words[0] = BYTES("\"Refused\"");
    profile.declined_words[1] = BYTES("CARD_DECLINED");
    assert_true(profile_declined(&profile, 200, BYTES("{\"resultCode\":\"Refused\"}")));
    assert_true(profile_declined(&profile, 200, BYTES("{ \"resultCode\" : \"Refused\" }")));
    assert_true(profile_declined(&profile, 400, BYTES("[\"CARD_DECLINED\"]")));
    assert_false(profile_declined(&profile, 200, BYTES("{\"resultCode\":\"Authorised\"}")));
    assert_false(profile_declined(&profile, 200, BYTES("{\"note\":\"Refused once\"}")));
    assert_false(profile_declined(&profile, 200, BYTES_NONE));
}

static void test_full_lists_of_declines_end_at_their_bounds(void **state)
{
    struct profile profile = made();
    (void)state;
    for (uint16_t i = 0; i < PROFILE_CODES_MAX; i++) {
        profile.declined[i] = (struct profile_codes){(uint16_t)(500 + i), (uint16_t)(500 + i)};
    }
    for (int i = 0; i < PROFILE_WORDS_MAX; i++) {
        profile.declined_words[i] = i == PROFILE_WORDS_MAX - 1 ? BYTES("LAST") : BYTES("OTHER");
        profile.test_keys[i] = i == PROFILE_WORDS_MAX - 1 ? BYTES("last_") : BYTES("other_");
    }
    assert_true(profile_declined(&profile, 500 + PROFILE_CODES_MAX - 1, BYTES_NONE));
    assert_false(profile_declined(&profile, 500 + PROFILE_CODES_MAX, BYTES_NONE));
    assert_true(profile_declined(&profile, 200, BYTES("LAST")));
    assert_false(profile_declined(&profile, 200, BYTES("LAS")));
    assert_true(profile_is_test(&profile, BYTES("Bearer last_1")));
    assert_false(profile_is_test(&profile, BYTES("Bearer las_1")));
}

/* ---- test traffic ---- */

static struct profile with_test_keys(void)
{
    struct profile profile = made();
    profile.test_keys[0] = BYTES("sk_test_");
    profile.test_keys[1] = BYTES("rk_test_");
    return profile;
}

static void test_test_traffic_shows_in_how_the_credential_begins(void **state)
{
    static const struct {
        const char *credential;
        bool is_test;
    } rows[] = {
        {"Bearer sk_test_4eC39Hq", true},
        {"bearer  rk_test_4eC39Hq", true},
        {"BEARER sk_test_", true},
        {"\tBearer sk_test_1 ", true},
        {"sk_test_4eC39Hq", true}, /* X-API-Key, or an Authorization without a scheme */
        {" sk_test_4eC39Hq", true},
        {"Bearer sk_live_4eC39Hq", false},
        {"Bearer SK_TEST_4eC39Hq", false},
        {"Bearer sk_test", false},
        {"Bearer xsk_test_1", false},
        {"Bearersk_test_1", false},
        {"Bearer", false},
        {"Bearer ", false},
        {"Digest sk_test_1", false},
        {"", false},
    };
    struct profile profile = with_test_keys(), none = made();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(profile_is_test(&profile, bytes_from_text(rows[i].credential)) == rows[i].is_test);
        assert_false(profile_is_test(&none, bytes_from_text(rows[i].credential)));
    }
    assert_false(profile_is_test(&profile, BYTES_NONE));
}

static void test_the_user_of_basic_credentials_is_read(void **state)
{
    static const struct {
        const char *credential;
        bool is_test;
    } rows[] = {
        {"Basic c2tfdGVzdF80ZUMzOUhxOg==", true},  /* sk_test_4eC39Hq: */
        {"basic  c2tfdGVzdF80ZUMzOUhxOg==", true},
        {"Basic c2tfdGVzdF80ZUMzOUhxOg", true},    /* without its padding */
        {"Basic c2tfdGVzdF8=", true},              /* sk_test_ alone, no colon */
        {"Basic c2tfdGVzdF8", true},
        {"Basic c2tfbGl2ZV80ZUMzOUhxOg==", false}, /* sk_live_4eC39Hq: */
        {"Basic bWU6c2tfdGVzdF80ZUM=", false},     /* me:sk_test_4eC: a password is no user */
        {"Basic OnNrX3Rlc3RfMQ==", false},         /* :sk_test_1 */
        {"Basic sk_test_1", false},                /* no base64 from its third character on */
        {"Basic c2tf*dGVzdF80ZUMzOUhxOg==", false}, /* what is behind a character of no base64 is none */
        {"Basic 82tfdGVzdF8=", false},             /* \xf3k_test_ */
        {"Basic c2tfdGVzdF*", false},              /* sk_test and no more */
        {"Basic ====", false},
        {"Basic", false},
    };
    struct profile profile = with_test_keys();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (profile_is_test(&profile, bytes_from_text(rows[i].credential)) != rows[i].is_test) {
            fail_msg("%s", rows[i].credential);
        }
    }
}

/* "QUFB" is AAA; a word of 128 bytes is the longest that a configuration has. */
static void test_basic_credentials_are_read_as_far_as_a_word_can_ask(void **state)
{
    static char word[128], longer[129], credential[8192] = "Basic ";
    struct profile profile = made();
    (void)state;
    memset(word, 'A', sizeof(word));
    memset(longer, 'A', sizeof(longer));
    for (size_t at = 6; at + 4 < sizeof(credential); at += 4) {
        memcpy(credential + at, "QUFB", 4);
    }
    profile.test_keys[0] = bytes_of(word, sizeof(word));
    assert_true(profile_is_test(&profile, bytes_from_text(credential)));
    profile.test_keys[0] = bytes_of(longer, sizeof(longer));
    assert_false(profile_is_test(&profile, bytes_from_text(credential)));
    /* Exactly as long as the word, and one byte short of it. */
    profile.test_keys[0] = bytes_of(word, 3);
    assert_true(profile_is_test(&profile, BYTES("Basic QUFB")));
    assert_false(profile_is_test(&profile, BYTES("Basic QUE=")));
    /* A user has no colon: YTpi is a:b. */
    profile.test_keys[0] = BYTES("a:b");
    assert_false(profile_is_test(&profile, BYTES("Basic YTpi")));
    assert_true(profile_is_test(&profile, BYTES("Bearer a:b")));
}

/* ---- for how long a request may be sent again ---- */

static void test_sending_again_ends_a_margin_before_the_processor_forgets(void **state)
{
    struct profile profile = made();

    (void)state;
    profile.retentions[0].ms = 24 * HOUR;
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1"), 35000), 23 * HOUR);
    profile.retentions[0].ms = 600 * SECOND; /* a whole stay and a minute are more than the 24th part */
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1"), 35000), 505 * SECOND);
    profile.retentions[0].ms = 95 * SECOND;
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1"), 35000), 0);
    profile.retentions[0].ms = 1;
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1"), UINT32_MAX), 0);
}

static void test_what_does_not_de_duplicate_is_never_sent_again(void **state)
{
    struct profile profile = made();

    (void)state;
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1"), 0), 0); /* no retention is known */
    profile.retentions[0].ms = 24 * HOUR;
    assert_int_not_equal(profile_resend_ms(&profile, BYTES("/v1"), 0), 0);
    profile.deduplicates = false;
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1"), 0), 0);
}

static void test_the_first_retention_whose_path_fits_by_whole_segments_counts(void **state)
{
    struct profile profile = made();

    (void)state;
    profile.retentions[0] = (struct profile_retention){BYTES("/v2/orders"), 48 * HOUR};
    profile.retentions[1] = (struct profile_retention){BYTES("/v2/"), 24 * HOUR};
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v2/orders"), 0), 46 * HOUR);
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v2/orders/7/capture"), 0), 46 * HOUR);
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v2/orders-old"), 0), 23 * HOUR);
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v2/"), 0), 23 * HOUR);
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1/orders"), 0), 0);
}

/* ---- fields ---- */

static void test_what_describes_an_answer_is_kept(void **state)
{
    static const char *const kept[] = {"Content-Type", "content-encoding", "LOCATION",     "ETag",
                                       "Request-Id",   "X-Request-Id",     "Payment-Key",  "Idempotency-Key",
                                       "Stripe-Thing", "stripe-version",   "Exact"};
    static const char *const passed[] = {"Server", "X-Powered-By", "Exactly", "Stripe", "X-Stripe-Thing", ""};
    struct profile profile = made();

    (void)state;
    profile.kept_fields[0] = BYTES("Stripe-*");
    profile.kept_fields[1] = BYTES("Exact");
    for (size_t i = 0; i < ARRAY_COUNT(kept); i++) {
        if (!profile_keeps_field(&profile, bytes_from_text(kept[i]))) {
            fail_msg("%s is not kept", kept[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(passed); i++) {
        if (profile_keeps_field(&profile, bytes_from_text(passed[i]))) {
            fail_msg("%s is kept", passed[i]);
        }
    }
}

static void test_credentials_and_fields_of_one_connection_are_never_kept(void **state)
{
    static const char *const never[] = {
        "Set-Cookie", "set-cookie2", "Authorization", "Proxy-Authenticate", "WWW-Authenticate", "Authentication-Info",
        "X-Access-Token", "Stripe-Secret", "X-Api-Key", "Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade",
        "Trailer", "TE", "Content-Length", "Date", "Weir-Outcome", "weir-request-id", "Idempotent-Replayed",
        "Stripe-Should-Retry",
    };
    struct profile profile = made();

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(never); i++) {
        for (int listed = 0; listed < 2; listed++) { /* not even where the profile lists it */
            profile.kept_fields[0] = listed ? bytes_from_text(never[i]) : BYTES_NONE;
            if (profile_keeps_field(&profile, bytes_from_text(never[i]))) {
                fail_msg("%s is kept", never[i]);
            }
        }
    }
    profile.kept_fields[0] = BYTES("*"); /* no prefix at all */
    assert_false(profile_keeps_field(&profile, BYTES("Server")));
}

/* ---- statuses ---- */

static void test_a_profile_may_give_a_reason_another_status(void **state)
{
    struct profile profile = made();

    (void)state;
    assert_int_equal(profile_status(&profile, REASON_KEY_REUSED), 422);
    profile.statuses[0] = (struct profile_status_row){REASON_KEY_REUSED, 400};
    profile.statuses[1] = (struct profile_status_row){REASON_OUTCOME_UNKNOWN, 500};
    assert_int_equal(profile_status(&profile, REASON_KEY_REUSED), 400);
    assert_int_equal(profile_status(&profile, REASON_OUTCOME_UNKNOWN), 500);
    assert_int_equal(profile_status(&profile, REASON_RESPONSE_TIMEOUT), 504);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post_and_patch_carry_keys_and_others_where_the_profile_says_so),
        cmocka_unit_test(test_lists_are_inclusive_and_the_narrow_ones_win),
        cmocka_unit_test(test_what_no_list_names_proves_nothing),
        cmocka_unit_test(test_a_full_list_ends_at_its_bound),
        cmocka_unit_test(test_a_refusal_with_the_field_was_not_executed_whatever_its_status),
        cmocka_unit_test(test_a_success_is_never_taken_for_nothing_done),
        cmocka_unit_test(test_where_a_status_is_busy_and_final_the_field_decides),
        cmocka_unit_test(test_words_about_the_key_prove_nothing_about_the_payment),
        cmocka_unit_test(test_a_decline_is_a_status_or_a_word_whatever_the_status),
        cmocka_unit_test(test_full_lists_of_declines_end_at_their_bounds),
        cmocka_unit_test(test_test_traffic_shows_in_how_the_credential_begins),
        cmocka_unit_test(test_the_user_of_basic_credentials_is_read),
        cmocka_unit_test(test_basic_credentials_are_read_as_far_as_a_word_can_ask),
        cmocka_unit_test(test_sending_again_ends_a_margin_before_the_processor_forgets),
        cmocka_unit_test(test_what_does_not_de_duplicate_is_never_sent_again),
        cmocka_unit_test(test_the_first_retention_whose_path_fits_by_whole_segments_counts),
        cmocka_unit_test(test_what_describes_an_answer_is_kept),
        cmocka_unit_test(test_credentials_and_fields_of_one_connection_are_never_kept),
        cmocka_unit_test(test_a_profile_may_give_a_reason_another_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
