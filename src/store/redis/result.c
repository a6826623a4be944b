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
    AT_COUNT,
    AT_LEAST = AT_REQUEST_ID + 1 /* what follows is told as far as there is something to tell */
};

static bool is_shaped(const struct reply *reply)
{
    static const bool is_number[AT_COUNT] = {
        [AT_FLAGS] = true, [AT_STATUS] = true, [AT_AGE] = true,     [AT_LEFT] = true,
        [AT_DONE] = true,  [AT_SINCE] = true,  [AT_UNKNOWN] = true, [AT_TAKEOVERS] = true,
    };
    if (reply->kind != REPLY_ARRAY || reply->integer < AT_LEAST || reply->integer > AT_COUNT) {
        return false;
    }
    for (int i = 0; i < reply->integer; i++) {
        const struct reply *element = reply + 1 + i; /* none of those before has elements */
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

/* What every reply tells. */
static bool read_first(const struct reply *e, struct idem_result *result)
{
    (void)bytes_to_text(e[AT_PROCESSOR].text, result->processor, sizeof result->processor);
    (void)bytes_to_text(e[AT_REQUEST_ID].text, result->request_id, sizeof result->request_id);
    result->told_now = (e[AT_FLAGS].integer & 1) != 0;
    result->resolved_now = (e[AT_FLAGS].integer & 2) != 0;
    return read_verdict(e[AT_VERDICT].text, &result->verdict) && state_read(e[AT_STATE].text, &result->state) &&
           e[AT_PROCESSOR].text.len <= IDEM_PROCESSOR_BYTES_MAX && e[AT_REQUEST_ID].text.len <= IDEM_REQUEST_ID_BYTES;
}

/* What may be left out at the end. */
static bool read_more(const struct reply *element, int place, struct idem_result *result)
{
    uint64_t number = (uint64_t)element->integer;
    switch (place) {
    case AT_UPSTREAM_KEY:
        result->upstream_key = element->text;
        return true;
    case AT_STATUS:
        result->status = (uint16_t)number;
        return number <= UINT16_MAX;
    case AT_ANSWER:
        result->answer = element->text;
        return true;
    case AT_AGE:
        result->age_ms = number;
        return true;
    case AT_LEFT:
        result->left_ms = number;
        return true;
    case AT_DONE:
        result->done_ms = number;
        return true;
    case AT_SINCE:
        result->since_ms = number;
        return true;
    case AT_UNKNOWN:
        result->unknown_ms = number;
        return true;
    default:
        result->takeovers = (uint32_t)number;
        return number <= UINT32_MAX;
    }
}

bool result_read(const struct reply *reply, struct idem_result *result)
{
    *result = (struct idem_result){0};
    if (!is_shaped(reply) || !read_first(reply + 1, result)) {
        return false;
    }
    for (int i = AT_LEAST; i < reply->integer; i++) {
        if (!read_more(reply + 1 + i, i, result)) {
            return false;
        }
    }
    return true;
}
