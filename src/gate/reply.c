/*
 * weir's own answers, and weir's own fields on every answer: who, which
 * outcome, why, and what the caller may do. The words come from the table of
 * reasons, the shape from the profile.
 */
#include "claim.h"
#include "limits.h"

#include <stdio.h>

#include "weir/base/clock.h"

#define REPLY_BODY_BYTES 2048
/* A caller's X-Request-Id goes back to it up to this length: weir's own fields must always have room beside it. */
#define GIVEN_ID_BYTES_MAX 128

static const struct profile *profile_of(const struct exchange *x)
{
    return x->route != NULL ? x->route->profile : x->generation->fallback;
}

/* Whether a retry with the key reaches a memory that knows this attempt, and cannot pay twice. */
static bool finds_truth(const struct exchange *x)
{
    if (x->claim == NULL) {
        return x->route != NULL && x->route->profile->deduplicates; /* the processor's own memory */
    }
    return x->reason == REASON_KEY_IN_PROGRESS || (x->claim->resend_ms > 0 && x->reason != REASON_OUTCOME_UNKNOWN);
}

static enum retry retry_of(const struct exchange *x)
{
    struct reason_asker asker = {
        .safe_method = x->head != NULL && x->safe_method,
        .keyed = x->keyed,
        .finds_truth = finds_truth(x),
        .sent = exchange_sent(x),
    };
    return reason_retry(x->reason, &asker);
}

static void write_request_ids(struct http_writer *writer, const struct exchange *x)
{
    struct bytes own = bytes_of(x->request_id, REQUEST_ID_BYTES);
    http_write_field(writer, BYTES("Weir-Request-Id"), own);
    if (x->answer_head != NULL && http_head_has(x->answer_head, HTTP_FIELD_X_REQUEST_ID)) {
        return; /* the processor's passes through */
    }
    const struct http_field *given = x->head != NULL ? http_head_find(x->head, HTTP_FIELD_X_REQUEST_ID) : NULL;
    bool fits = given != NULL && given->value.len <= GIVEN_ID_BYTES_MAX;
    http_write_field(writer, BYTES("X-Request-Id"), fits ? given->value : own);
}

struct bytes reply_lines(const struct exchange *x, char *text, size_t size)
{
    struct http_writer writer;
    http_write_init(&writer, text, size);
    write_request_ids(&writer, x);
    http_write_field(&writer, BYTES("Weir-Outcome"), bytes_from_text(outcome_name(x->outcome)));
    limits_write_fields(&writer, x, 0);
    CHECK(!writer.overflow);
    return http_write_bytes(&writer);
}

static bool has_retry_after(enum retry retry, uint16_t status)
{
    return status == 429 || status == 503 || retry == RETRY_SAME_KEY;
}

/* At most a minute: an operator's word may hold for a day, and be taken back at any time. */
#define REFUSED_S_MAX UINT64_C(60)

static uint64_t refused_retry_after_s(const struct exchange *x)
{
    uint64_t wait_s = (x->refused_us + CLOCK_US_PER_S - 1) / CLOCK_US_PER_S;
    wait_s = wait_s < REFUSED_S_MAX ? wait_s : REFUSED_S_MAX;
    wait_s = wait_s > RETRY_AFTER_S ? wait_s : RETRY_AFTER_S;
    return wait_s + limiter_random(x->gate->limiter) % (wait_s / 8 + 2);
}

/* Never early, and not the same for all of those who were turned away together. */
static uint64_t retry_after_s(const struct exchange *x)
{
    switch (x->reason) {
    case REASON_RATE_LIMITED:
    case REASON_CONCURRENCY_LIMITED:
        return limits_retry_after_s(x);
    case REASON_SHED:
        return RETRY_AFTER_S + limiter_random(x->gate->limiter) % 3;
    case REASON_BREAKER_OPEN:
    case REASON_PROCESSOR_DOWN:
        return refused_retry_after_s(x);
    default:
        return RETRY_AFTER_S;
    }
}

static struct bytes own_lines(const struct exchange *x, enum retry retry, char *text, size_t size)
{
    struct http_writer writer;
    uint64_t retry_s = retry_after_s(x);
    http_write_init(&writer, text, size);
    http_write_field(&writer, BYTES("Content-Type"), BYTES("application/problem+json"));
    http_write_field(&writer, BYTES("Cache-Control"), BYTES("no-store"));
    write_request_ids(&writer, x);
    http_write_field(&writer, BYTES("Weir-Outcome"), bytes_from_text(outcome_name(x->outcome)));
    http_write_field(&writer, BYTES("Weir-Reason"), bytes_from_text(reason_name(x->reason)));
    http_write_field(&writer, BYTES("Weir-Retry"), bytes_from_text(retry_name(retry)));
    if (has_retry_after(retry, x->status)) {
        http_write_field_u64(&writer, BYTES("Retry-After"), retry_s);
    }
    limits_write_fields(&writer, x, retry_s);
    if (profile_of(x)->should_retry) {
        http_write_field(&writer, BYTES("Stripe-Should-Retry"), retry == RETRY_NO ? BYTES("false") : BYTES("true"));
        http_write_field(&writer, BYTES("Request-Id"), bytes_of(x->request_id, REQUEST_ID_BYTES)); /* err.requestId */
    }
    if (x->reason == REASON_METHOD_NOT_ALLOWED) {
        http_write_field(&writer, BYTES("Allow"), BYTES("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    CHECK(!writer.overflow);
    return http_write_bytes(&writer);
}

/* The types of draft-ietf-httpapi-ratelimit-headers-11, section 6, for what they are about. */
static struct profile_problem problem_of(const struct exchange *x)
{
    struct profile_problem problem = {0};
    switch (x->reason) {
    case REASON_RATE_LIMITED:
    case REASON_CONCURRENCY_LIMITED:
        problem.violated_count = limits_violated(x, problem.violated);
        problem.type = x->limited != NULL && x->limited->by_decline ? PROFILE_PROBLEM_ABNORMAL_USAGE : PROFILE_PROBLEM_QUOTA;
        break;
    case REASON_SHED:
        problem.type = PROFILE_PROBLEM_REDUCED_CAPACITY;
        break;
    default:
        break;
    }
    return problem;
}

void reply_send(struct exchange *x)
{
    WEIR_SCRATCH char lines[REPLY_LINES_BYTES];
    char body[REPLY_BODY_BYTES];
    struct json json;
    enum retry retry = retry_of(x);
    json_init(&json, body, sizeof body);
    /* What ails the store is for the log: a merchant can do nothing with another server's words. */
    const char *detail = x->reason == REASON_STORE_DOWN ? "" : x->why;
    struct profile_problem problem = problem_of(x);
    profile_error_body(profile_of(x), &json, x->reason, x->outcome, retry, x->request_id, detail, &problem);
    struct bytes text = json_bytes(&json);
    bool head_request = x->head != NULL && bytes_equal(x->head->method, BYTES("HEAD"));
    struct answer answer = {
        .status = x->status,
        .lines = own_lines(x, retry, lines, sizeof lines),
        .framing = HTTP_FRAMING_LENGTH,
        .content_length = text.len,
    };
    x->answer_begun = true;
    x->bytes_out = head_request ? 0 : text.len;
    /* A client that cannot be written to is gone; it notices by itself. */
    (void)x->client->ops->answer(x->client, &answer, &text, head_request ? 0 : 1, true);
}
