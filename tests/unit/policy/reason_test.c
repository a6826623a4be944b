/* The table of reasons: every row is whole, and the retry hint keeps its promises to keyed requests. */
#include "base/unit.h"

#include <stdio.h>

#include "weir/policy/reason.h"

static const struct reason_asker unkeyed = {0};
static const struct reason_asker keyed = {.keyed = true};
static const struct reason_asker keyed_truth = {.keyed = true, .finds_truth = true};
static const struct reason_asker reader = {.safe_method = true};

static void test_every_row_has_a_name_two_letters_and_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        enum reason reason = (enum reason)i;
        assert_int_equal(strlen(reason_code(reason)), 2);
        assert_true(strlen(reason_sentence(reason)) > 10);
        assert_true(strlen(reason_meaning(reason)) > 10);
        assert_true(strlen(reason_first(reason)) > 5);
        assert_true(i == REASON_OK || i == REASON_REPLAYED || (reason_status(reason) >= 400 && reason_status(reason) <= 599));
    }
}

static void test_names_and_letters_are_unique(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        assert_int_equal(reason_find(bytes_from_text(reason_name((enum reason)i))), i);
        assert_int_equal(reason_find(bytes_from_text(reason_code((enum reason)i))), i);
    }
    assert_int_equal(reason_find(BYTES("no_such_reason")), REASON_COUNT);
}

static void test_statuses_of_the_contract(void **state)
{
    static const struct {
        enum reason reason;
        uint16_t status;
        enum outcome outcome;
    } rows[] = {
        {REASON_BAD_REQUEST, 400, OUTCOME_NOT_SENT},       {REASON_METHOD_NOT_ALLOWED, 405, OUTCOME_NOT_SENT},
        {REASON_REQUEST_TIMEOUT, 408, OUTCOME_NOT_SENT},   {REASON_BODY_TOO_LARGE, 413, OUTCOME_NOT_SENT},
        {REASON_URI_TOO_LONG, 414, OUTCOME_NOT_SENT},      {REASON_EXPECTATION_FAILED, 417, OUTCOME_NOT_SENT},
        {REASON_MISDIRECTED, 421, OUTCOME_NOT_SENT},       {REASON_HEADER_TOO_LARGE, 431, OUTCOME_NOT_SENT},
        {REASON_NOT_IMPLEMENTED, 501, OUTCOME_NOT_SENT},   {REASON_VERSION_UNSUPPORTED, 505, OUTCOME_NOT_SENT},
        {REASON_NO_ROUTE, 404, OUTCOME_NOT_SENT},          {REASON_SHED, 503, OUTCOME_NOT_SENT},
        {REASON_PROCESSOR_DOWN, 503, OUTCOME_NOT_SENT},    {REASON_QUEUE_FULL, 503, OUTCOME_NOT_SENT},
        {REASON_DNS_FAILED, 502, OUTCOME_NOT_SENT},        {REASON_CONNECT_FAILED, 502, OUTCOME_NOT_SENT},
        {REASON_CONNECT_TIMEOUT, 504, OUTCOME_NOT_SENT},   {REASON_PROCESSOR_TLS_FAILED, 502, OUTCOME_NOT_SENT},
        {REASON_DEADLINE_BEFORE_SEND, 504, OUTCOME_NOT_SENT}, {REASON_DRAINING, 503, OUTCOME_NOT_SENT},
        {REASON_WRITE_FAILED, 502, OUTCOME_UNKNOWN},       {REASON_RESPONSE_TIMEOUT, 504, OUTCOME_UNKNOWN},
        {REASON_CLOSED_BEFORE_RESPONSE, 502, OUTCOME_UNKNOWN}, {REASON_RESPONSE_INCOMPLETE, 502, OUTCOME_UNKNOWN},
        {REASON_RESPONSE_MALFORMED, 502, OUTCOME_UNKNOWN}, {REASON_KEY_IN_PROGRESS, 409, OUTCOME_UNKNOWN},
        {REASON_OUTCOME_UNKNOWN, 409, OUTCOME_UNKNOWN},    {REASON_KEY_REUSED, 422, OUTCOME_NOT_SENT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(reason_status(rows[i].reason), rows[i].status);
        assert_int_equal(reason_outcome(rows[i].reason), rows[i].outcome);
    }
}

static void test_a_keyed_request_is_never_told_that_any_retry_is_safe(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        assert_int_not_equal(reason_retry((enum reason)i, &keyed), RETRY_SAFE);
        assert_int_not_equal(reason_retry((enum reason)i, &keyed_truth), RETRY_SAFE);
    }
}

static void test_an_unknown_outcome_is_retried_only_where_the_truth_can_be_found(void **state)
{
    (void)state;
    assert_int_equal(reason_retry(REASON_RESPONSE_TIMEOUT, &unkeyed), RETRY_NO);
    assert_int_equal(reason_retry(REASON_RESPONSE_TIMEOUT, &keyed), RETRY_NO);
    assert_int_equal(reason_retry(REASON_RESPONSE_TIMEOUT, &keyed_truth), RETRY_SAME_KEY);
    assert_int_equal(reason_retry(REASON_RESPONSE_TIMEOUT, &reader), RETRY_SAFE);
}

static void test_what_was_sent_is_never_called_safe_whatever_the_reason(void **state)
{
    static const struct reason_asker sent = {.sent = true};
    static const struct reason_asker sent_keyed = {.sent = true, .keyed = true};

    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        assert_int_equal(reason_retry((enum reason)i, &sent), RETRY_NO);
        assert_int_equal(reason_retry((enum reason)i, &sent_keyed), RETRY_NO);
        if (reason_outcome((enum reason)i) == OUTCOME_NOT_SENT) {
            assert_null(strstr(reason_sentence_for((enum reason)i, OUTCOME_UNKNOWN), "nothing was sent"));
        }
    }
}

static void test_what_was_not_sent_may_be_retried(void **state)
{
    (void)state;
    assert_int_equal(reason_retry(REASON_CONNECT_FAILED, &unkeyed), RETRY_SAFE);
    assert_int_equal(reason_retry(REASON_CONNECT_FAILED, &keyed), RETRY_SAME_KEY);
    assert_int_equal(reason_retry(REASON_NO_ROUTE, &unkeyed), RETRY_NO);
    assert_int_equal(reason_retry(REASON_BAD_REQUEST, &keyed_truth), RETRY_NO);
}

static void test_the_committed_page_is_the_generated_one(void **state)
{
    char *page = reason_reference_markdown();
    FILE *file = fopen("docs/reasons.md", "r");
    char *committed = calloc(1, 1 << 18);

    (void)state;
    assert_non_null(page);
    assert_non_null(file);
    assert_non_null(committed);
    size_t len = fread(committed, 1, (1 << 18) - 1, file);
    assert_true(len > 0);
    assert_string_equal(committed, page); /* else: run weir-docgen */
    fclose(file);
    free(committed);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_has_a_name_two_letters_and_words),
        cmocka_unit_test(test_names_and_letters_are_unique),
        cmocka_unit_test(test_statuses_of_the_contract),
        cmocka_unit_test(test_a_keyed_request_is_never_told_that_any_retry_is_safe),
        cmocka_unit_test(test_an_unknown_outcome_is_retried_only_where_the_truth_can_be_found),
        cmocka_unit_test(test_what_was_not_sent_may_be_retried),
        cmocka_unit_test(test_what_was_sent_is_never_called_safe_whatever_the_reason),
        cmocka_unit_test(test_the_committed_page_is_the_generated_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
