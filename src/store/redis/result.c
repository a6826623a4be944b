/* What a script answered, as the result of an operation. The places are those of record.lua's tell. */
#include "redis_internal.h"

enum {
    AT_VERDICT,
    AT_FLAGS,
    AT_STATE,
    AT_PROCESSOR,
    AT_REQUEST_ID,
    AT_UPSTREAM_KEY,
    AT_STATUS,
    AT_ANSWER,
    AT_AGE,
    AT_LEFT,
    AT_DONE,
    AT_SINCE,
    AT_UNKNOWN,
    AT_TAKEOVERS,
    AT_COUNT
};

static bool is_shaped(const struct reply *reply)
{
    static const bool is_number[AT_COUNT] = {
        [AT_FLAGS] = true, [AT_STATUS] = true, [AT_AGE] = true,     [AT_LEFT] = true,
        [AT_DONE] = true,  [AT_SINCE] = true,  [AT_UNKNOWN] = true, [AT_TAKEOVERS] = true,
    };
    if (reply->kind != REPLY_ARRAY || reply->integer != AT_COUNT) {
        return false;
    }
    for (int i = 0; i < AT_COUNT; i++) {
        const struct reply *element = reply_at(reply, i);
        if (element->kind != (is_number[i] ? REPLY_INTEGER : REPLY_TEXT) || (is_number[i] && element->integer < 0)) {
            return false;
        }
    }
    return true;
}

static bool read_verdict(struct bytes text, enum idem_verdict *verdict)
{
    for (int i = 0; i < IDEM_VERDICT_COUNT; i++) {
        if (bytes_equal(text, bytes_from_text(idem_verdict_name((enum idem_verdict)i)))) {
            *verdict = (enum idem_verdict)i;
            return true;
        }
    }
    return false;
}

bool state_read(struct bytes text, enum idem_state *state)
{
    if (text.len > 1) {
        return false;
    }
    switch (text.len == 0 ? '\0' : text.at[0]) {
    case '\0':
        *state = IDEM_ABSENT;
        return true;
    case 'I':
        *state = IDEM_IN_FLIGHT;
        return true;
    case 'U':
        *state = IDEM_UNKNOWN;
        return true;
    case 'D':
        *state = IDEM_DONE;
        return true;
    default:
        return false;
    }
}

bool result_read(const struct reply *reply, struct idem_result *result)
{
    *result = (struct idem_result){0};
    if (!is_shaped(reply)) {
        return false;
    }
    const struct reply *e = reply + 1;
    result->told_now = (e[AT_FLAGS].integer & 1) != 0;
    result->resolved_now = (e[AT_FLAGS].integer & 2) != 0;
    result->upstream_key = e[AT_UPSTREAM_KEY].text;
    result->status = (uint16_t)e[AT_STATUS].integer;
    result->answer = e[AT_ANSWER].text;
    result->age_ms = (uint64_t)e[AT_AGE].integer;
    result->left_ms = (uint64_t)e[AT_LEFT].integer;
    result->done_ms = (uint64_t)e[AT_DONE].integer;
    result->since_ms = (uint64_t)e[AT_SINCE].integer;
    result->unknown_ms = (uint64_t)e[AT_UNKNOWN].integer;
    result->takeovers = (uint32_t)e[AT_TAKEOVERS].integer;
    (void)bytes_to_text(e[AT_PROCESSOR].text, result->processor, sizeof result->processor);
    (void)bytes_to_text(e[AT_REQUEST_ID].text, result->request_id, sizeof result->request_id);
    return read_verdict(e[AT_VERDICT].text, &result->verdict) && state_read(e[AT_STATE].text, &result->state) &&
           e[AT_PROCESSOR].text.len <= IDEM_PROCESSOR_BYTES_MAX && e[AT_REQUEST_ID].text.len <= IDEM_REQUEST_ID_BYTES &&
           e[AT_STATUS].integer <= UINT16_MAX && e[AT_TAKEOVERS].integer <= UINT32_MAX;
}
