/*
 * weir's own answers, as the client's stream is handed them: fields in order,
 * the body in the shape of the profile, and no advice that could pay twice.
 */
#include "gate_support.h"
#include "limits.h"

/* What went to the client. */
static struct {
    int answers;
    uint16_t status;
    bool end;
    size_t content_length;
    char lines[REPLY_LINES_BYTES];
    char body[4096];
    size_t body_bytes;
} told;

static enum err on_answer(struct client_stream *client, const struct answer *answer, const struct bytes *parts, int count,
                          bool end)
{
    (void)client;
    told.answers++;
    told.status = answer->status;
    told.end = end;
    told.content_length = answer->content_length;
    assert_null(answer->from);
    assert_int_equal(answer->framing, HTTP_FRAMING_LENGTH);
    (void)bytes_to_text(answer->lines, told.lines, sizeof told.lines);
    told.body_bytes = count == 0 ? 0 : parts[0].len;
    (void)bytes_to_text(count == 0 ? BYTES_NONE : parts[0], told.body, sizeof told.body);
    return ERR_OK;
}

static const struct client_stream_ops ops = {.answer = on_answer};
static struct client_stream client = {.ops = &ops};
static struct blocks blocks;
static struct arena arena;
static struct generation generation;
static struct limiter limiter;
static struct gate gate;
static struct route_ready route;
static struct exchange x;

#define PROFILES_MAX 16
static struct conf *conf;
static struct profile profiles[PROFILES_MAX]; /* the built-in ones */

static const struct profile *profile_named(const char *name)
{
    for (int i = 0; i < conf->profile_count; i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            return &profiles[i];
        }
    }
    fail_msg("no profile %s", name);
    return NULL;
}

static void load_profiles(void)
{
    struct conf_findings *findings = conf_findings_open();
    conf = conf_load_text("weir.yaml", BYTES("version: 1\n"), findings);
    assert_non_null(conf);
    conf_findings_close(findings);
    assert_true(conf->profile_count <= PROFILES_MAX);
    for (int i = 0; i < conf->profile_count; i++) {
        profiles[i] = (struct profile){0};
        profile_from_conf(&profiles[i], &conf->profiles[i]);
    }
}

static int begin(void **state)
{
    (void)state;
    memset(&told, 0, sizeof told);
    load_profiles();
    blocks_init(&blocks, 0, 0);
    arena_init(&arena, &blocks);
    generation = (struct generation){.fallback = profile_named("generic")};
    route = (struct route_ready){.profile = profile_named("generic")};
    limiter.random = 1;
    gate.limiter = &limiter;
    x = (struct exchange){.gate = &gate, .client = &client, .generation = &generation, .request_id = "0123456789abcdef0123456789abcdef"};
    assert_int_equal(strlen(x.request_id), REQUEST_ID_BYTES);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_reset(&arena);
    blocks_close(&blocks);
    conf_free(conf);
    return 0;
}

/* Reads a request as the gate would. */
static void read_head(const char *text)
{
    const struct http_limits limits = {65536, HTTP_TARGET_BYTES_MAX, UINT64_MAX};
    struct bytes data = bytes_from_text(text);
    struct bytes body;

    x.message = http_message_new(&arena, HTTP_REQUEST_MESSAGE, &limits, false);
    assert_int_equal(http_message_feed(x.message, &data, &body), HTTP_HEAD);
    x.head = http_message_head(x.message);
    x.safe_method = http_method_is_safe(x.head->method);
}

static void reply(enum reason reason)
{
    x.reason = reason;
    x.status = x.route != NULL ? profile_status(x.route->profile, reason) : reason_status(reason);
    x.outcome = reason_outcome(reason);
    reply_send(&x);
    assert_true(told.end);
}

/* The value of one of weir's lines; "" when there is none. */
static const char *told_line(const char *name)
{
    static char value[200];
    char start[64];

    value[0] = '\0';
    (void)snprintf(start, sizeof start, "\r\n%s: ", name);
    const char *at = strstr(told.lines, start);
    if (at != NULL) {
        at += strlen(start);
        (void)bytes_to_text(bytes_of(at, strcspn(at, "\r")), value, sizeof value);
    }
    return value;
}

static uint64_t told_number(const char *name)
{
    uint64_t number = 0;
    assert_true(bytes_to_u64(bytes_from_text(told_line(name)), &number));
    return number;
}

static void test_a_generic_answer_to_the_last_byte(void **state)
{
    (void)state;
    read_head(ORDER);
    x.route = &route;
    (void)snprintf(x.why, sizeof x.why, "no link to the processor in time");
    reply(REASON_DEADLINE_BEFORE_SEND);
    assert_int_equal(told.status, 504);
    assert_string_equal(told.lines, "Content-Type: application/problem+json\r\n"
                                    "Cache-Control: no-store\r\n"
                                    "Weir-Request-Id: 0123456789abcdef0123456789abcdef\r\n"
                                    "X-Request-Id: 0123456789abcdef0123456789abcdef\r\n"
                                    "Weir-Outcome: not_sent\r\n"
                                    "Weir-Reason: deadline_before_send\r\n"
                                    "Weir-Retry: safe\r\n");
    char expected[600];
    (void)snprintf(expected, sizeof expected,
                   "{\"type\":\"urn:weir:reason:deadline_before_send\",\"title\":\"%s\",\"status\":504,"
                   "\"detail\":\"no link to the processor in time\",\"reason\":\"deadline_before_send\","
                   "\"outcome\":\"not_sent\",\"retry\":\"safe\",\"request_id\":\"0123456789abcdef0123456789abcdef\"}",
                   reason_sentence(REASON_DEADLINE_BEFORE_SEND));
    assert_string_equal(told.body, expected);
    assert_int_equal(told.content_length, strlen(expected));
    assert_int_equal(x.bytes_out, strlen(expected));
    assert_true(x.answer_begun);
}

static void test_the_stripe_profile_adds_what_its_sdk_reads(void **state)
{
    (void)state;
    read_head("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n");
    route.profile = profile_named("stripe");
    x.route = &route;
    x.keyed = true;
    x.sent = true;
    reply(REASON_RESPONSE_TIMEOUT);
    assert_string_equal(told_line("Weir-Retry"), "same_key");
    assert_string_equal(told_line("Stripe-Should-Retry"), "true");
    assert_string_equal(told_line("Request-Id"), x.request_id);
    assert_string_equal(told_line("Retry-After"), "1");
    assert_non_null(strstr(told.body, "\"error\":{\"type\":\"api_error\",\"code\":\"weir_response_timeout\",\"message\":\""));

    reply(REASON_BODY_TOO_LARGE);
    assert_string_equal(told_line("Stripe-Should-Retry"), "false");
    assert_non_null(strstr(told.body, "\"type\":\"invalid_request_error\""));
}

static void test_before_a_route_is_known_the_generations_profile_shapes_the_answer(void **state)
{
    (void)state;
    reply(REASON_BAD_REQUEST);
    assert_null(strstr(told.body, "\"error\":"));
    assert_string_equal(told_line("Request-Id"), "");
    generation.fallback = profile_named("stripe");
    reply(REASON_BAD_REQUEST);
    assert_non_null(strstr(told.body, "\"error\":"));
    assert_string_equal(told_line("Request-Id"), x.request_id);
}

/* Every reason, under every profile, for every kind of request: what may be said, and that there is room to say it. */
static void assert_advice(enum reason reason, const struct profile *profile)
{
    const char *retry = told_line("Weir-Retry");
    bool safe = strcmp(retry, "safe") == 0;
    bool no = strcmp(retry, "no") == 0;

    assert_true(safe || no || strcmp(retry, "same_key") == 0);
    if (x.keyed || (x.sent && !x.safe_method)) {
        assert_false(safe);
    }
    if (x.sent && !x.safe_method && !(x.keyed && profile->deduplicates)) {
        assert_true(no); /* nothing that could find the truth: a second try could pay twice */
    }
    retry = told_line("Retry-After");
    assert_true((strcmp(retry, "") != 0) == (told.status == 429 || told.status == 503 || (!no && !safe)));
    assert_string_equal(told_line("Weir-Reason"), reason_name(reason));
    assert_string_equal(told_line("Weir-Outcome"), outcome_name(x.outcome));
    assert_string_equal(told_line("Stripe-Should-Retry"), !profile->should_retry ? "" : no ? "false" : "true");
    assert_int_equal(told.status, profile_status(profile, reason));
    assert_true(told.body_bytes > 0 && told.body[told.body_bytes - 1] == '}');
    assert_int_equal(told.content_length, told.body_bytes);
}

static void test_no_reason_advises_what_could_pay_twice(void **state)
{
    (void)state;
    x.route = &route;
    memset(x.why, '"', sizeof x.why - 1); /* as long as words get, and each byte escaped */
    for (int p = 0; p < conf->profile_count; p++) {
        route.profile = &profiles[p];
        for (unsigned kind = 0; kind < 8; kind++) {
            arena_reset(&arena);
            read_head((kind & 1) != 0 ? ASK : ORDER);
            x.keyed = (kind & 2) != 0;
            x.sent = (kind & 4) != 0;
            for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
                if (reason_status((enum reason)reason) != 0) {
                    reply((enum reason)reason);
                    assert_advice((enum reason)reason, route.profile);
                }
            }
        }
    }
    assert_true(told.answers > 100);
}

/* As many limits as there may be, with names as long as they may be: all of it is told. */
static void test_limits_are_told_however_many(void **state)
{
    (void)state;
    struct limited *limited = calloc(1, sizeof *limited + LIMITS_MAX * sizeof limited->each[0]);
    static struct limit_grade grades[LIMITS_MAX];
    static struct conf_limit confs[LIMITS_MAX];
    static struct limit_ready limits[LIMITS_MAX];
    static char names[LIMITS_MAX][64];
    static struct caller caller;
    read_head(ORDER);
    x.route = &route;
    x.limited = limited;
    limited->count = LIMITS_MAX;
    limited->retry_us = 8400000;
    for (int i = 0; i < LIMITS_MAX; i++) {
        memset(names[i], 'a' + i, sizeof names[i] - 1);
        confs[i].name = names[i];
        limits[i].conf = &confs[i];
        grades[i].policy_len = (size_t)snprintf(grades[i].policy, sizeof grades[i].policy, "\"%s\";q=9007199254740991;w=9007199254740991", names[i]);
        grades[i].name_len = strlen(names[i]) + 2;
        limited->each[i] = (struct limited_one){
            .exchange = &x, .limit = &limits[i], .grade = &grades[i], .caller = &caller, .has_told = true, .refused = true,
            .told = {.remaining = UINT64_MAX, .reset_us = UINT64_MAX - 1000000, .wait_us = 8400000}};
    }
    reply(REASON_RATE_LIMITED);
    uint64_t retry_s = told_number("Retry-After");
    assert_in_range(retry_s, 9, 10); /* 8.4 s, and up to an eighth more */
    const char *policy = strstr(told.lines, "RateLimit-Policy: \"aaa");
    assert_non_null(policy);
    for (int i = 0; i < LIMITS_MAX; i++) {
        char item[256];
        assert_non_null(strstr(policy, grades[i].policy));
        (void)snprintf(item, sizeof item, "\"%s\";r=18446744073709551615;t=%llu", names[i],
                       (unsigned long long)retry_s);
        assert_non_null(strstr(told.lines, item));
        assert_non_null(strstr(strstr(told.body, "\"violated-policies\":["), names[i]));
    }
    assert_non_null(strstr(told.body, "\"type\":\"" PROFILE_PROBLEM_QUOTA "\""));
    limited->by_decline = true;
    reply(REASON_RATE_LIMITED);
    assert_non_null(strstr(told.body, "\"type\":\"" PROFILE_PROBLEM_ABNORMAL_USAGE "\""));
    for (int i = 0; i < LIMITS_MAX; i++) {
        limited->each[i].refused = false;
        limits[i].shadow = i > 0;
    }
    limited->retry_us = 0;
    reply(REASON_SHED); /* another cause: the limits that applied are told, those of mode shadow never */
    assert_in_range(told_number("Retry-After"), 1, 3);
    assert_null(strstr(told.body, "violated-policies"));
    assert_non_null(strstr(told.body, "\"type\":\"" PROFILE_PROBLEM_REDUCED_CAPACITY "\""));
    assert_null(strstr(told.lines, "bbb"));
    free(limited);
    x.limited = NULL;
}

static void test_head_gets_the_length_of_a_body_and_no_body(void **state)
{
    (void)state;
    read_head("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    reply(REASON_NO_ROUTE);
    assert_int_equal(told.body_bytes, 0);
    assert_true(told.content_length > 0);
    assert_int_equal(x.bytes_out, 0);
}

static void test_a_method_that_is_not_allowed_is_told_which_are(void **state)
{
    (void)state;
    reply(REASON_METHOD_NOT_ALLOWED);
    assert_string_equal(told_line("Allow"), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    reply(REASON_BAD_REQUEST);
    assert_string_equal(told_line("Allow"), "");
}

static void test_the_callers_request_id_comes_back_beside_ours(void **state)
{
    (void)state;
    read_head("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-1\r\n\r\n");
    reply(REASON_NO_ROUTE);
    assert_string_equal(told_line("X-Request-Id"), "mine-1");
    assert_string_equal(told_line("Weir-Request-Id"), x.request_id);
}

static void test_a_processors_answer_gets_our_lines_and_keeps_its_own_request_id(void **state)
{
    const struct http_head without = {.status = 200};
    const struct http_head with = {.status = 200, .seen = 1u << HTTP_FIELD_X_REQUEST_ID};
    char text[512];

    (void)state;
    read_head("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-1\r\n\r\n");
    x.outcome = OUTCOME_ANSWERED;
    x.answer_head = &without;
    assert_bytes(reply_lines(&x, text, sizeof text), "Weir-Request-Id: 0123456789abcdef0123456789abcdef\r\n"
                                                     "X-Request-Id: mine-1\r\nWeir-Outcome: answered\r\n");
    x.answer_head = &with;
    assert_bytes(reply_lines(&x, text, sizeof text),
                 "Weir-Request-Id: 0123456789abcdef0123456789abcdef\r\nWeir-Outcome: answered\r\n");
}

/* The caller chooses its length: it must never cost weir's own fields. */
static void test_a_long_request_id_of_the_caller_leaves_room_for_ours(void **state)
{
    char request[4096];
    char id[2001];

    (void)state;
    for (size_t len = 128; len <= 2000; len += 468) {
        memset(id, 'i', len);
        id[len] = '\0';
        (void)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: %s\r\n\r\n", id);
        arena_reset(&arena);
        read_head(request);
        reply(REASON_NO_ROUTE);
        assert_string_equal(told_line("X-Request-Id"), len == 128 ? id : x.request_id);
        assert_string_equal(told_line("Weir-Request-Id"), x.request_id);
        assert_string_equal(told_line("Weir-Outcome"), "not_sent");
        assert_string_equal(told_line("Weir-Reason"), "no_route");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_generic_answer_to_the_last_byte, begin, end),
        cmocka_unit_test_setup_teardown(test_the_stripe_profile_adds_what_its_sdk_reads, begin, end),
        cmocka_unit_test_setup_teardown(test_before_a_route_is_known_the_generations_profile_shapes_the_answer, begin, end),
        cmocka_unit_test_setup_teardown(test_no_reason_advises_what_could_pay_twice, begin, end),
        cmocka_unit_test_setup_teardown(test_limits_are_told_however_many, begin, end),
        cmocka_unit_test_setup_teardown(test_head_gets_the_length_of_a_body_and_no_body, begin, end),
        cmocka_unit_test_setup_teardown(test_a_method_that_is_not_allowed_is_told_which_are, begin, end),
        cmocka_unit_test_setup_teardown(test_the_callers_request_id_comes_back_beside_ours, begin, end),
        cmocka_unit_test_setup_teardown(test_a_long_request_id_of_the_caller_leaves_room_for_ours, begin, end),
        cmocka_unit_test_setup_teardown(test_a_processors_answer_gets_our_lines_and_keeps_its_own_request_id, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
