/*
 * The built-in profiles as rows, one page per processor: what its answers
 * prove, how its keys are spelt, for how long it de-duplicates, and what its
 * SDK reads in an error. They come the way of the operator's own: YAML through
 * the key table, then src/gate/profiles.c. Sources: docs/profiles.md.
 */
#include "base/unit.h"

#include <stdio.h>

#include "gate_internal.h"

#define HOUR UINT64_C(3600000)
#define DAY (24 * HOUR)

static struct conf *conf;
static struct profile profile;

/* ---- loading ---- */

static struct conf *load(const char *text)
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *loaded = conf_load_text("weir.yaml", bytes_from_text(text), findings);
    if (loaded == NULL) {
        char *shown = conf_findings_text(findings);
        print_error("%s\n", shown);
        free(shown);
    }
    conf_findings_close(findings);
    assert_non_null(loaded);
    return loaded;
}

static const struct conf_profile *find(const char *name)
{
    for (int i = 0; i < conf->profile_count; i++) {
        if (strcmp(conf->profiles[i].name, name) == 0) {
            return &conf->profiles[i];
        }
    }
    fail_msg("there is no profile %s", name);
    return NULL;
}

static void take(const char *name)
{
    profile_from_conf(&profile, find(name));
    assert_string_equal(profile.name, name);
}

static int open_conf(void **state)
{
    (void)state;
    conf = load("version: 1\n");
    return 0;
}

static int close_conf(void **state)
{
    (void)state;
    conf_free(conf);
    conf = NULL;
    return 0;
}

/* ---- rows ---- */

#define FINAL IDEM_CLASS_FINAL
#define FREE IDEM_CLASS_NOT_EXECUTED
#define UNPROVEN IDEM_CLASS_UNPROVEN
#define BUSY IDEM_CLASS_BUSY

struct row {
    uint16_t status;
    const char *field, *value; /* NULL: none */
    const char *body;          /* NULL: not looked at */
    enum idem_class class;
};

static struct bytes field_of(const void *answer, struct bytes name)
{
    const struct row *from = answer;
    return from->field != NULL && bytes_equal_nocase(bytes_from_text(from->field), name) ? bytes_from_text(from->value)
                                                                                         : BYTES_NONE;
}

static enum idem_class classify(const struct row *row)
{
    enum idem_class class = profile_classify(&profile, row->status, field_of, row);
    return row->body != NULL ? profile_classify_body(&profile, row->status, class, bytes_from_text(row->body), false)
                             : class;
}

static void check_answers(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (classify(&rows[i]) != rows[i].class) {
            fail_msg("%s: %u %s %s is %d", profile.name, rows[i].status, rows[i].field != NULL ? rows[i].field : "",
                     rows[i].body != NULL ? rows[i].body : "", (int)classify(&rows[i]));
        }
    }
}

/* What proves nothing at any processor: 5xx but the few that a profile names, 408, and what is no answer. */
static void check_unproven(void)
{
    static const uint16_t statuses[] = {100, 408, 500, 502, 503, 504, 520, 522, 524, 529, 599};
    for (size_t i = 0; i < ARRAY_COUNT(statuses); i++) {
        struct row row = {statuses[i], NULL, NULL, NULL, UNPROVEN};
        check_answers(&row, 1);
    }
}

struct spelling {
    const char *value;
    enum key_fault fault;
};

static void check_keys(const struct spelling *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[PROFILE_KEY_BYTES_MAX + 1];
        size_t len;
        enum key_fault fault =
            profile_read_key(&profile, bytes_from_text(rows[i].value), profile.key_place == KEY_IN_JSON, text, &len);
        if (fault != rows[i].fault) {
            fail_msg("%s: the key <%s>: %s", profile.name, rows[i].value, key_fault_text(fault));
        }
    }
}

static void check_longest(size_t max)
{
    char value[PROFILE_KEY_BYTES_MAX + 2];
    char text[PROFILE_KEY_BYTES_MAX + 1];
    size_t len;
    bool json = profile.key_place == KEY_IN_JSON;
    memset(value, 'k', sizeof value);
    assert_int_equal(profile_read_key(&profile, bytes_of(value, max), json, text, &len), KEY_OK);
    assert_int_equal(profile_read_key(&profile, bytes_of(value, max + 1), json, text, &len), KEY_LONG);
}

struct span {
    const char *path;
    uint64_t ms; /* 0: never sent again */
};

/* The margin is a 24th part: 23 of 24 hours. */
static void check_retention(const struct span *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t ms = profile_resend_ms(&profile, bytes_from_text(rows[i].path), 35000);
        if (ms != rows[i].ms / 24 * 23) {
            fail_msg("%s: %s may be sent again for %llu ms", profile.name, rows[i].path, (unsigned long long)ms);
        }
    }
}

static void assert_error_holds(enum reason reason, const char *part)
{
    char text[4096];
    struct json json;
    json_init(&json, text, sizeof text);
    profile_error_body(&profile, &json, reason, reason_outcome(reason), RETRY_NO, "0123", NULL, NULL);
    assert_false(json.overflow);
    if (bytes_find_text(json_bytes(&json), bytes_from_text(part)) == SIZE_MAX) {
        fail_msg("%s: no %s in %.*s", profile.name, part, BYTES_ARG(json_bytes(&json)));
    }
}

static void assert_keeps(const char *name, bool keeps)
{
    if (profile_keeps_field(&profile, bytes_from_text(name)) != keeps) {
        fail_msg("%s: %s is %skept", profile.name, name, keeps ? "not " : "");
    }
}

/* What a processor says of a payment that was declined, and what it says that is none. */
struct said {
    uint16_t status;
    const char *body;
    bool declined;
};

static void check_declines(const struct said *said, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (profile_declined(&profile, said[i].status, bytes_from_text(said[i].body)) != said[i].declined) {
            fail_msg("%s: %d %s", profile.name, said[i].status, said[i].body);
        }
    }
}

static void assert_test_traffic(const char *credential, bool is_test)
{
    if (profile_is_test(&profile, bytes_from_text(credential)) != is_test) {
        fail_msg("%s: %s is %stest traffic", profile.name, credential, is_test ? "not " : "");
    }
}

/* ---- the processors ---- */

static void test_generic(void **state)
{
    static const struct row answers[] = {
        {200, NULL, NULL, NULL, FINAL}, {201, NULL, NULL, NULL, FINAL}, {302, NULL, NULL, NULL, FINAL},
        {400, NULL, NULL, NULL, FINAL}, {402, NULL, NULL, NULL, FINAL}, {404, NULL, NULL, NULL, FINAL},
        {409, NULL, NULL, NULL, FINAL}, {422, NULL, NULL, NULL, FINAL}, {501, NULL, NULL, NULL, FINAL},
        {505, NULL, NULL, NULL, FINAL}, {401, NULL, NULL, NULL, FREE},  {403, NULL, NULL, NULL, FREE},
        {429, NULL, NULL, NULL, FREE},
    };
    static const struct spelling keys[] = {
        {"abc", KEY_OK}, {"\"abc\"", KEY_OK}, {"", KEY_EMPTY}, {"a b", KEY_CHARACTER}, {"abc;v=1", KEY_PARAMETERS},
    };
    static const struct span kept[] = {{"/", 0}, {"/v1/payments", 0}};
    static const struct said declines[] = {
        {402, "", true}, {200, "{\"status\":\"declined\"}", false}, {400, "{}", false}, {429, "{}", false},
    };

    (void)state;
    take("generic");
    assert_false(profile.deduplicates);
    assert_bytes(profile.key, "Idempotency-Key");
    assert_true(profile_keys_method(&profile, BYTES("POST")) && profile_keys_method(&profile, BYTES("PATCH")));
    assert_false(profile_keys_method(&profile, BYTES("PUT")) || profile_keys_method(&profile, BYTES("DELETE")));
    check_answers(answers, ARRAY_COUNT(answers));
    check_unproven();
    check_keys(keys, ARRAY_COUNT(keys));
    check_longest(255);
    check_retention(kept, ARRAY_COUNT(kept));
    check_declines(declines, ARRAY_COUNT(declines));
    assert_test_traffic("Bearer sk_test_4eC39Hq", false);
    assert_false(profile.should_retry);
    assert_int_equal(profile.errors, PROFILE_ERRORS_PROBLEM);
    assert_int_equal(profile_status(&profile, REASON_KEY_REUSED), 422);
}

static void test_stripe(void **state)
{
    static const struct row answers[] = {
        {200, NULL, NULL, NULL, FINAL},    {400, NULL, NULL, NULL, FINAL},    {402, NULL, NULL, NULL, FINAL},
        {404, NULL, NULL, NULL, FINAL},    {401, NULL, NULL, NULL, FREE},     {403, NULL, NULL, NULL, FREE},
        {429, NULL, NULL, NULL, FREE},     {409, NULL, NULL, NULL, BUSY},     {424, NULL, NULL, NULL, UNPROVEN},
        {302, NULL, NULL, NULL, UNPROVEN}, {501, NULL, NULL, NULL, UNPROVEN},
        {500, "Idempotent-Replayed", "true", NULL, UNPROVEN}, /* kept and replayed, and still no proof */
    };
    static const struct spelling keys[] = {
        {"KG5LxwFBepaKHyUD", KEY_OK},
        {"stripe-node-retry-8e03978e-40d5-43dd-bc93-6894a57f9324", KEY_OK},
        {"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", KEY_OK},
        {"", KEY_EMPTY},
    };
    static const struct span kept[] = {
        {"/v1/payment_intents", DAY}, {"/v1/charges", DAY}, {"/v2/core/accounts", 30 * DAY}, {"/v20/x", DAY},
    };
    static const struct said declines[] = {
        {402, "{\"error\": {\"code\": \"card_declined\", \"type\": \"card_error\"}}", true},
        {400, "{\"error\": {\"type\": \"invalid_request_error\"}}", false},
        {200, "{\"status\": \"succeeded\"}", false},
        {429, "{\"error\": {\"code\": \"rate_limit\"}}", false},
    };

    (void)state;
    take("stripe");
    assert_true(profile.deduplicates);
    assert_bytes(profile.key, "Idempotency-Key");
    check_answers(answers, ARRAY_COUNT(answers));
    check_unproven();
    check_keys(keys, ARRAY_COUNT(keys));
    check_longest(255);
    check_retention(kept, ARRAY_COUNT(kept));
    check_declines(declines, ARRAY_COUNT(declines));
    assert_test_traffic("Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc", true);
    assert_test_traffic("Bearer rk_test_4eC39HqLyjWDarjtT1zdp7dc", true);
    assert_test_traffic("Bearer pk_test_TYooMQauvdEDq54NiTphI7jx", true);
    assert_test_traffic("Basic c2tfdGVzdF80ZUMzOUhxTHlqV0Rhcmp0VDF6ZHA3ZGM6", true); /* curl -u sk_test_...: */
    assert_test_traffic("Bearer sk_live_4eC39HqLyjWDarjtT1zdp7dc", false);
    assert_test_traffic("Bearer sk_sbox_4eC39HqLyjWDarjtT1zdp7dc", false);
    assert_bytes(profile.print_fields[0], "Stripe-Account");
    assert_keeps("Stripe-Version", true);
    assert_keeps("Request-Id", true);
    assert_keeps("Idempotency-Key", true);
    assert_keeps("Stripe-Should-Retry", false);
    assert_keeps("Set-Cookie", false);
    assert_true(profile.should_retry);
    assert_int_equal(profile_status(&profile, REASON_KEY_REUSED), 400);
    assert_int_equal(profile_status(&profile, REASON_KEY_IN_PROGRESS), 409);
    assert_error_holds(REASON_KEY_REUSED, "\"error\":{\"type\":\"idempotency_error\"");
    assert_error_holds(REASON_RESPONSE_TIMEOUT, "\"error\":{\"type\":\"api_error\"");
}

static void test_adyen(void **state)
{
    static const struct row answers[] = {
        {200, NULL, NULL, NULL, FINAL}, /* a refused card, too */
        {201, NULL, NULL, NULL, FINAL},
        {400, NULL, NULL, NULL, FINAL},
        {404, NULL, NULL, NULL, FINAL},
        {422, NULL, NULL, NULL, FINAL},
        {422, "Transient-Error", "false", NULL, FINAL},
        {401, NULL, NULL, NULL, FREE},
        {403, NULL, NULL, NULL, FREE},
        {429, NULL, NULL, NULL, FREE},
        {500, "Transient-Error", "true", NULL, FREE},
        {503, "transient-error", "true", NULL, FREE},
        {422, "transient-error", "true", NULL, BUSY}, /* 704: the first with this key is under way */
        {409, "transient-error", "true", NULL, BUSY},
        {409, NULL, NULL, NULL, BUSY},
        {200, "Transient-Error", "true", NULL, FINAL},
        {500, "Transient-Error", "false", NULL, UNPROVEN}, /* "could have been received by the issuing party" */
    };
    static const struct spelling keys[] = {
        {"8e03978e-40d5-43dd-bc93-6894a57f9324", KEY_OK},
        {"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", KEY_OK},
    };
    static const struct span kept[] = {{"/v71/payments", 7 * DAY}, {"/v71/payments/x/captures", 7 * DAY}};
    static const struct said declines[] = {
        {200, "{\"pspReference\":\"8\",\"refusalReason\":\"Expired Card\",\"resultCode\":\"Refused\"}", true},
        {200, "{\n  \"resultCode\": \"Refused\"\n}", true},
        {200, "{\"resultCode\":\"Authorised\"}", false},
        {200, "{\"resultCode\":\"Cancelled\",\"refusalReason\":\"Cancelled\"}", false}, /* by the shopper */
        {200, "{\"resultCode\":\"Error\",\"refusalReason\":\"Acquirer Error\"}", false},
        {422, "{\"errorCode\":\"14_018\",\"message\":\"Required field\"}", false},
    };

    (void)state;
    take("adyen");
    assert_true(profile.deduplicates);
    check_answers(answers, ARRAY_COUNT(answers));
    check_unproven();
    check_keys(keys, ARRAY_COUNT(keys));
    check_longest(64);
    check_retention(kept, ARRAY_COUNT(kept));
    check_declines(declines, ARRAY_COUNT(declines));
    assert_test_traffic("AQEyhmfxK4zJbBZDw0m_n3Q5qf3VaY9UCJ1", false);
    assert_bytes(profile.print_fields[0], "X-API-Key");
    assert_keeps("Idempotency-Key", true);
    assert_keeps("pspreference", true);
    assert_keeps("X-API-Key", false);
    assert_error_holds(REASON_RESPONSE_TIMEOUT, "\"status\":504");
    assert_error_holds(REASON_RESPONSE_TIMEOUT, "\"errorCode\":\"weir_response_timeout\",\"message\":");
    assert_error_holds(REASON_KEY_REUSED, "\"errorType\":\"validation\"");
}

static void test_checkout(void **state)
{
    static const struct row answers[] = {
        {200, NULL, NULL, NULL, FINAL}, {201, NULL, NULL, NULL, FINAL}, {202, NULL, NULL, NULL, FINAL},
        /* Definite, and forgotten: the payment is attempted anew under the same key. */
        {400, NULL, NULL, NULL, FREE},  {401, NULL, NULL, NULL, FREE},  {403, NULL, NULL, NULL, FREE},
        {404, NULL, NULL, NULL, FREE},  {422, NULL, NULL, NULL, FREE},
        /* One of two with the same key at once; not only a limit. */
        {429, NULL, NULL, NULL, BUSY},  {409, NULL, NULL, NULL, BUSY},  {402, NULL, NULL, NULL, UNPROVEN},
    };
    static const struct span kept[] = {
        {"/payments", DAY}, {"/payments/pay_1/captures", DAY}, {"/payment-contexts", DAY}, {"/transfers", DAY},
        {"/tokens", 0},     {"/payment-links", 0},             {"/", 0},
    };
    static const struct spelling keys[] = {{"74f18c1ee79747949cc5f0bd4d771e93", KEY_OK}, {"\"a\"", KEY_OK}};
    static const struct said declines[] = {
        {201, "{\"approved\":false,\"status\":\"Declined\",\"response_code\":\"20005\"}", true},
        {201, "{\"status\": \"Declined\"}", true},
        {201, "{\"approved\":true,\"status\":\"Authorized\",\"response_summary\":\"Approved\"}", false},
        {202, "{\"status\":\"Pending\"}", false},
        {402, "{}", false},
        {422, "{\"error_type\":\"request_invalid\"}", false},
    };

    (void)state;
    take("checkout");
    assert_true(profile.deduplicates);
    assert_bytes(profile.key, "Cko-Idempotency-Key");
    check_answers(answers, ARRAY_COUNT(answers));
    check_unproven();
    check_keys(keys, ARRAY_COUNT(keys));
    check_longest(255);
    check_retention(kept, ARRAY_COUNT(kept));
    check_declines(declines, ARRAY_COUNT(declines));
    assert_test_traffic("Bearer sk_sbox_m4xqk2vgsxuaw6yqcdmqznfyc4w", true);
    assert_test_traffic("Bearer pk_sbox_m4xqk2vgsxuaw6yqcdmqznfyc4w", true);
    assert_test_traffic("sk_test_0b9b5db6-fabc-49d0-b68f-92645dc4f508", true); /* older accounts, without Bearer */
    assert_test_traffic("Bearer sk_m4xqk2vgsxuaw6yqcdmqznfyc4w", false);
    assert_keeps("Cko-Request-Id", true);
    assert_keeps("Cko-Version", true);
    assert_error_holds(REASON_RESPONSE_TIMEOUT, "\"request_id\":\"0123\",\"error_type\":\"processing_error\"");
    assert_error_holds(REASON_KEY_REUSED, "\"error_codes\":[\"weir_key_reused\"]");
    assert_int_equal(profile_status(&profile, REASON_KEY_IN_PROGRESS), 429); /* what Checkout itself answers */
    assert_error_holds(REASON_KEY_IN_PROGRESS, "\"error_type\":\"too_many_requests\",\"error_codes\":[\"weir_key_in_progress\"]");
}

static void test_paypal(void **state)
{
    static const struct row answers[] = {
        {200, NULL, NULL, NULL, FINAL},
        {201, NULL, NULL, "{\"id\":\"5O1\",\"status\":\"COMPLETED\"}", FINAL},
        {400, NULL, NULL, "{\"name\":\"INVALID_REQUEST\"}", FINAL},
        {422, NULL, NULL, "{\"details\":[{\"issue\":\"INSTRUMENT_DECLINED\"}]}", FINAL},
        {400, NULL, NULL, "{\"name\":\"DUPLICATE_REQUEST_ID\"}", UNPROVEN},
        {422, NULL, NULL, "{\"details\":[{\"issue\":\"PAYPAL_REQUEST_ID_PREVIOUSLY_USED\"}]}", UNPROVEN},
        {422, NULL, NULL, "{\"details\":[{\"issue\":\"PREVIOUS_REQUEST_IN_PROGRESS\"}]}", UNPROVEN},
        {409, NULL, NULL, "{\"details\":[{\"issue\":\"PREVIOUS_REQUEST_IN_PROGRESS\"}]}", BUSY},
        {201, NULL, NULL, "{\"note\":\"DUPLICATE_REQUEST_ID\"}", FINAL},
        {401, NULL, NULL, NULL, FREE},
        {403, NULL, NULL, NULL, FREE},
        {429, NULL, NULL, NULL, FREE},
        {402, NULL, NULL, NULL, UNPROVEN},
    };
    static const struct span kept[] = {
        {"/v2/checkout/orders", 6 * HOUR},
        {"/v2/checkout/orders/5O1/capture", 6 * HOUR},
        {"/v2/payments/authorizations/0VF/capture", 45 * DAY},
        {"/v2/payments/captures/2GG/refund", 45 * DAY},
        {"/v3/vault/payment-tokens", 3 * HOUR},
        {"/v1/payments/payouts", 30 * DAY},
        {"/v1/billing/subscriptions", 72 * HOUR},
        {"/v1/catalogs/products", 72 * HOUR},
        {"/v1/payment-experience/web-profiles", 3 * HOUR},
        {"/v1/oauth2/token", 0},
        {"/v2/invoicing/invoices", 0},
        {"/v2/paymentsx", 0},
    };
    static const struct spelling keys[] = {{"123e4567-e89b-12d3-a456-426655440010", KEY_OK}, {"", KEY_EMPTY}};
    static const struct said declines[] = {
        {422, "{\"name\":\"UNPROCESSABLE_ENTITY\",\"details\":[{\"issue\":\"INSTRUMENT_DECLINED\"}]}", true},
        {422, "{\"details\": [{\"issue\": \"TRANSACTION_REFUSED\"}]}", true},
        {400, "{\"name\":\"CREDIT_CARD_REFUSED\"}", true},
        {201, "{\"status\":\"COMPLETED\",\"captures\":[{\"status\": \"DECLINED\"}]}", true},
        {201, "{\"status\":\"COMPLETED\"}", false},
        {422, "{\"details\":[{\"issue\":\"ORDER_NOT_APPROVED\"}]}", false},
        {422, "{\"details\":[{\"issue\":\"DUPLICATE_INVOICE_ID\"}]}", false},
    };

    (void)state;
    take("paypal");
    assert_true(profile.deduplicates);
    assert_bytes(profile.key, "PayPal-Request-Id");
    check_answers(answers, ARRAY_COUNT(answers));
    check_unproven();
    check_keys(keys, ARRAY_COUNT(keys));
    check_longest(108);
    check_retention(kept, ARRAY_COUNT(kept));
    check_declines(declines, ARRAY_COUNT(declines));
    assert_test_traffic("Bearer A21AAFEpH4PsADK7qSS7pSRsgzfENtu", false);
    assert_bytes(profile.print_fields[0], "PayPal-Auth-Assertion");
    assert_keeps("PayPal-Debug-Id", true);
    assert_error_holds(REASON_RESPONSE_TIMEOUT, "\"name\":\"INTERNAL_SERVER_ERROR\",\"message\":");
    assert_error_holds(REASON_RESPONSE_TIMEOUT, "\"debug_id\":\"0123\",\"details\":[{\"issue\":\"WEIR_RESPONSE_TIMEOUT\"");
}

static void test_square(void **state)
{
    static const struct row answers[] = {
        {200, NULL, NULL, NULL, FINAL}, {400, NULL, NULL, NULL, FINAL}, {402, NULL, NULL, NULL, FINAL},
        {404, NULL, NULL, NULL, FINAL}, {422, NULL, NULL, NULL, FINAL}, {401, NULL, NULL, NULL, FREE},
        {403, NULL, NULL, NULL, FREE},  {429, NULL, NULL, NULL, FREE},  {409, NULL, NULL, NULL, BUSY},
        {501, NULL, NULL, NULL, UNPROVEN},
    };
    static const struct span kept[] = {{"/v2/payments", DAY}, {"/v2/refunds", DAY}, {"/v2/orders", DAY}};
    static const struct spelling keys[] = {
        {"7b0f3ec5-086a-4871-8f13-3c81b3875218", KEY_OK},
        {"a;b", KEY_OK}, /* JSON's quotes say where it ends */
        {"a b", KEY_OK},
        {"", KEY_EMPTY},
        {"a\nb", KEY_CHARACTER},
    };
    static const struct said declines[] = {
        {402, "{\"errors\": []}", true},
        {400, "{\"errors\": [{\"category\": \"PAYMENT_METHOD_ERROR\", \"code\": \"INSUFFICIENT_FUNDS\"}]}", true},
        {400, "{\"errors\": [{\"category\": \"INVALID_REQUEST_ERROR\", \"code\": \"MISSING_REQUIRED_PARAMETER\"}]}", false},
        {200, "{\"payment\": {\"status\": \"COMPLETED\"}}", false},
    };

    (void)state;
    take("square");
    assert_true(profile.deduplicates);
    assert_int_equal(profile.key_place, KEY_IN_JSON);
    assert_bytes(profile.key, "/idempotency_key");
    assert_true(profile_keys_method(&profile, BYTES("PUT")));
    assert_false(profile_keys_method(&profile, BYTES("DELETE")));
    check_answers(answers, ARRAY_COUNT(answers));
    check_unproven();
    check_keys(keys, ARRAY_COUNT(keys));
    check_longest(255);
    check_retention(kept, ARRAY_COUNT(kept));
    check_declines(declines, ARRAY_COUNT(declines));
    assert_test_traffic("Bearer EAAAl2bK8VhAXlXMgHrT", false);
    assert_keeps("Square-Version", true);
    assert_error_holds(REASON_KEY_REUSED,
                       "\"errors\":[{\"category\":\"INVALID_REQUEST_ERROR\",\"code\":\"IDEMPOTENCY_KEY_REUSED\"");
    assert_error_holds(REASON_RESPONSE_TIMEOUT, "\"code\":\"GATEWAY_TIMEOUT\"");
}

/* ---- all of them, and the operator's own ---- */

static void test_every_built_in_profile_has_its_page_here(void **state)
{
    static const char *const names[] = {"adyen", "checkout", "generic", "paypal", "square", "stripe"};

    (void)state;
    assert_int_equal(conf->profile_count, ARRAY_COUNT(names));
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        assert_true(find(names[i])->built_in);
    }
}

static void test_own_profiles_come_through_with_every_field(void **state)
{
    static const char text[] = "version: 1\n"
                               "profiles:\n"
                               "  mine:\n"
                               "    deduplicates: true\n"
                               "    key: json:/meta/key\n"
                               "    key_length: 8-40\n"
                               "    key_chars: A-Za-z0-9_-\n"
                               "    methods: [POST, PATCH, PUT, DELETE]\n"
                               "    retention: [{path: /v1, keep: 2d}, {keep: 1h}]\n"
                               "    final: [200-299, 402]\n"
                               "    not_executed: [429]\n"
                               "    busy: [409, 423]\n"
                               "    not_executed_field: \"X-Nothing-Done:  yes\"\n"
                               "    unproven_words: [DUPLICATE]\n"
                               "    print_fields: [X-Account]\n"
                               "    kept_fields: [\"X-Mine-*\"]\n"
                               "    replay_marker: \"X-Replay: 1\"\n"
                               "    declined: [402, 460-469]\n"
                               "    declined_words: [NO_FUNDS, CARD_BLOCKED]\n"
                               "    test_keys: [try_, test_]\n"
                               "    errors: square\n"
                               "    stripe_should_retry: true\n"
                               "    statuses: {key_reused: 418, key_in_progress: 425, outcome_unknown: 503}\n"
                               "  twin: {like: paypal, retention: [{keep: 72h}]}\n";
    static const struct said declines[] = {
        {402, "", true}, {465, "", true}, {200, "NO_FUNDS", true}, {400, "CARD_BLOCKED", true}, {400, "CARD_OPEN", false},
    };

    (void)state;
    conf_free(conf);
    conf = load(text);
    take("mine");
    assert_true(profile.deduplicates && profile.keys_put && profile.keys_delete && profile.should_retry);
    assert_int_equal(profile.key_place, KEY_IN_JSON);
    assert_bytes(profile.key, "/meta/key");
    assert_int_equal(profile.key_bytes_min, 8);
    assert_int_equal(profile.key_bytes_max, 40);
    assert_string_equal(profile.key_chars, "A-Za-z0-9_-");
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v1/x"), 0), 46 * HOUR);
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v2/x"), 0), HOUR - HOUR / 24);
    const struct row answers[] = {
        {402, NULL, NULL, NULL, FINAL},
        {400, NULL, NULL, NULL, UNPROVEN},
        {429, NULL, NULL, NULL, FREE},
        {409, NULL, NULL, NULL, BUSY},
        {423, NULL, NULL, NULL, BUSY},
        {500, "x-nothing-done", "YES", NULL, FREE},
        {402, NULL, NULL, "a DUPLICATE", UNPROVEN},
    };
    check_answers(answers, ARRAY_COUNT(answers));
    assert_bytes(profile.print_fields[0], "X-Account");
    assert_bytes(profile.print_fields[1], "");
    assert_keeps("X-Mine-Id", true);
    assert_bytes(profile.replay_marker, "X-Replay: 1");
    check_declines(declines, ARRAY_COUNT(declines));
    assert_test_traffic("Bearer try_1", true);
    assert_test_traffic("test_1", true);
    assert_test_traffic("Bearer live_1", false);
    assert_bytes(profile.declined_words[2], "");
    assert_bytes(profile.test_keys[2], "");
    assert_int_equal(profile_status(&profile, REASON_KEY_REUSED), 418);
    assert_int_equal(profile_status(&profile, REASON_KEY_IN_PROGRESS), 425);
    assert_int_equal(profile_status(&profile, REASON_OUTCOME_UNKNOWN), 503);
    assert_error_holds(REASON_KEY_REUSED, "\"errors\":[{");
    take("twin");
    assert_bytes(profile.key, "PayPal-Request-Id");
    assert_true(profile_declined(&profile, 422, BYTES("INSTRUMENT_DECLINED")));
    assert_false(profile_declined(&profile, 402, BYTES("")));
    assert_int_equal(profile_resend_ms(&profile, BYTES("/v2/checkout/orders"), 0), 69 * HOUR);
}

/* What an operator's profile says nothing of: busy until the opposite is written, and never sent again. */
static void test_a_sparse_profile_is_a_careful_one(void **state)
{
    const struct row answers[] = {
        {200, NULL, NULL, NULL, FINAL}, {402, NULL, NULL, NULL, FINAL}, {401, NULL, NULL, NULL, FREE},
        {403, NULL, NULL, NULL, FREE},  {429, NULL, NULL, NULL, FREE},  {409, NULL, NULL, NULL, BUSY},
    };

    (void)state;
    conf_free(conf);
    conf = load("version: 1\nprofiles: {sparse: {}}\n");
    take("sparse");
    assert_true(profile_declined(&profile, 402, BYTES("")));
    assert_false(profile_declined(&profile, 200, BYTES("declined")));
    assert_test_traffic("Bearer sk_test_1", false);
    check_answers(answers, ARRAY_COUNT(answers));
    check_unproven();
    assert_bytes(profile.key, "Idempotency-Key");
    assert_int_equal(profile_resend_ms(&profile, BYTES("/"), 0), 0);
    check_longest(255);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_generic, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_stripe, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_adyen, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_checkout, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_paypal, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_square, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_every_built_in_profile_has_its_page_here, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_own_profiles_come_through_with_every_field, open_conf, close_conf),
        cmocka_unit_test_setup_teardown(test_a_sparse_profile_is_a_careful_one, open_conf, close_conf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
