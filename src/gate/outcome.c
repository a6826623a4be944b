/*
 * GET /.well-known/weir/outcome: a merchant asks what is known of a key, with
 * the credential and the Idempotency-Key of the payment. The answer comes from
 * the record alone; nothing is sent to a processor, and `none` says that weir
 * has no record, never that nothing happened.
 */
#include "claim.h"

#include "weir/base/clock.h"
#include "weir/base/json.h"

#define OUTCOME_BODY_BYTES 1024

/* Any key that some profile could take: what a client may have sent. */
static const struct profile any_key = {
    .name = "any",
    .key_place = KEY_IN_HEADER,
    .key_bytes_min = 1,
    .key_bytes_max = PROFILE_KEY_BYTES_MAX,
};

bool outcome_asked(const struct exchange *x)
{
    return x->safe_method && x->generation->parts.keyring != NULL &&
           bytes_equal(x->head->path, BYTES("/.well-known/weir/outcome")) &&
           !bytes_equal(x->head->method, BYTES("OPTIONS"));
}

static enum admit end(struct exchange *x, enum reason reason, enum ended_by by, const char *why)
{
    exchange_end(x, reason, by, why);
    return ADMIT_ENDED;
}

static enum admit ask(struct exchange *x)
{
    char key[PROFILE_KEY_BYTES_MAX + 1];
    size_t len = 0;
    const struct http_field *field = http_head_find(x->head, HTTP_FIELD_IDEMPOTENCY_KEY);
    if (field == NULL) {
        return end(x, REASON_KEY_MISSING, ENDED_BY_CLIENT, "");
    }
    enum key_fault fault = profile_read_key(&any_key, field->value, false, key, &len);
    if (fault != KEY_OK) {
        return end(x, REASON_KEY_MALFORMED, ENDED_BY_CLIENT, key_fault_text(fault));
    }
    x->keyed = true;
    struct claim *claim = claim_new(x);
    struct store *store = x->gate->store;
    if (claim == NULL) {
        return end(x, REASON_SHED, ENDED_BY_WEIR, "no memory for the question");
    }
    x->claim = claim;
    const struct scope scope = scope_of(x);
    claim_name_record(claim, &scope, bytes_of(key, len));
    struct idem_op op = {.kind = IDEM_READ, .name = claim->name};
    claim->call = store != NULL ? store_ask(store, &op, false, generation_conf(x->generation)->store.begin_timeout_ms,
                                            admit_on_reply, claim)
                                : NULL;
    return claim->call != NULL ? ADMIT_WAIT : end(x, REASON_STORE_DOWN, ENDED_BY_WEIR, "the store is not open");
}

static void put_time(struct json *json, const char *key, uint64_t wall_ms)
{
    char text[LOG_TIME_BYTES];
    if (wall_ms == 0) {
        json_put_text(json, key, NULL);
        return;
    }
    log_time_format(wall_ms * CLOCK_US_PER_MS, text);
    json_put_text(json, key, text);
}

/* With the key again, wherever that finds the truth and cannot pay twice. */
static const char *what_to_do(const struct idem_result *result)
{
    bool helps = result->state != IDEM_UNKNOWN || result->left_ms > 0;
    return retry_name(helps ? RETRY_SAME_KEY : RETRY_NO);
}

static void put_record(struct json *json, const struct idem_result *result)
{
    bool there = result->verdict != IDEM_NONE;
    json_object_open(json);
    json_put_text(json, "state", idem_state_name(there ? result->state : IDEM_ABSENT));
    put_time(json, "since", there ? result->since_ms : 0);
    json_put_text(json, "processor", there ? result->processor : NULL);
    if (there && result->state == IDEM_DONE && result->status != 0) {
        json_put_u64(json, "status", result->status);
    } else {
        json_put_text(json, "status", NULL);
    }
    json_put_text(json, "retry", what_to_do(result));
    json_object_close(json);
}

static enum admit answer(struct exchange *x, const struct claim *claim)
{
    char body[OUTCOME_BODY_BYTES];
    char lines[1024];
    struct json json;
    struct http_writer writer;
    json_init(&json, body, sizeof body);
    put_record(&json, &claim->result);
    struct bytes text = json_bytes(&json);
    x->outcome = OUTCOME_NOT_SENT;
    struct bytes own = reply_lines(x, lines, sizeof lines);
    http_write_init(&writer, lines + own.len, sizeof lines - own.len);
    http_write_lines(&writer, BYTES("Content-Type: application/json\r\nCache-Control: no-store\r\n"));
    struct answer answer = {
        .status = 200,
        .lines = bytes_of(lines, own.len + writer.len),
        .framing = HTTP_FRAMING_LENGTH,
        .content_length = text.len,
    };
    bool head_request = bytes_equal(x->head->method, BYTES("HEAD"));
    x->status = 200;
    x->answer_begun = true;
    x->bytes_out = head_request ? 0 : text.len;
    (void)x->client->ops->answer(x->client, &answer, &text, head_request ? 0 : 1, true);
    return end(x, REASON_OK, ENDED_NORMAL, "");
}

enum admit outcome_step(struct exchange *x)
{
    if (x->claim == NULL) {
        return ask(x);
    }
    if (!x->claim->replied) {
        return ADMIT_WAIT;
    }
    if (x->claim->status != STORE_OK) {
        return end(x, REASON_STORE_DOWN, ENDED_BY_WEIR, "the store did not answer");
    }
    return answer(x, x->claim);
}
