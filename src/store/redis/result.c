/* What a script answered, as the result of an operation. The places are those of record.lua's tell and limit.lua's. */
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

/* Of one limit. */
enum { LIMIT_AT_FITS, LIMIT_AT_REMAINING, LIMIT_AT_RESET, LIMIT_AT_WAIT, LIMIT_AT_COUNT };

#define WAIT_NEVER (-1)

/* Four elements that are no arrays, the first of which is `e`. */
static bool read_told(const struct reply *e, struct limit_told *told)
{
    for (int i = 0; i < LIMIT_AT_COUNT; i++) {
        if (e[i].kind != REPLY_INTEGER || e[i].integer < (i == LIMIT_AT_WAIT ? WAIT_NEVER : 0)) {
            return false;
        }
    }
    *told = (struct limit_told){
        .fits = e[LIMIT_AT_FITS].integer == 1,
        .remaining = (uint64_t)e[LIMIT_AT_REMAINING].integer,
        .reset_us = (uint64_t)e[LIMIT_AT_RESET].integer,
        .wait_us = e[LIMIT_AT_WAIT].integer == WAIT_NEVER ? LIMIT_NEVER : (uint64_t)e[LIMIT_AT_WAIT].integer,
    };
    return e[LIMIT_AT_FITS].integer <= 1 && told->fits == (told->wait_us == 0);
}

bool lease_read(const struct reply *reply, uint64_t *granted, struct limit_told *told)
{
    const struct reply *first = reply + 1;
    if (reply->kind != REPLY_ARRAY || reply->integer != 1 + LIMIT_AT_COUNT || first->kind != REPLY_INTEGER ||
        first->integer < 0) {
        return false;
    }
    *granted = (uint64_t)first->integer;
    return read_told(first + 1, told);
}

/* A begin that looked at limits tells nothing else behind what every reply tells. */
static bool tells_limits(const struct reply *reply)
{
    const struct reply *behind = reply_at(reply, AT_LEAST);
    return behind != NULL && behind->kind == REPLY_INTEGER;
}

static bool read_limits(const struct reply *reply, struct idem_result *result)
{
    int64_t count = (reply->integer - AT_LEAST) / LIMIT_AT_COUNT;
    if ((reply->integer - AT_LEAST) % LIMIT_AT_COUNT != 0 || count > LIMITS_MAX ||
        (result->verdict != IDEM_NEW && result->verdict != IDEM_LIMITED)) {
        return false;
    }
    result->limit_count = (int)count;
    for (int64_t i = 0; i < count; i++) {
        if (!read_told(reply + 1 + AT_LEAST + i * LIMIT_AT_COUNT, &result->limits[i])) {
            return false;
        }
    }
    return true;
}

static bool is_shaped(const struct reply *reply)
{
    static const bool is_number[AT_COUNT] = {
        [AT_FLAGS] = true, [AT_STATUS] = true, [AT_AGE] = true,     [AT_LEFT] = true,
        [AT_DONE] = true,  [AT_SINCE] = true,  [AT_UNKNOWN] = true, [AT_TAKEOVERS] = true,
    };
    int64_t count = tells_limits(reply) ? AT_LEAST : reply->integer;
    if (reply->kind != REPLY_ARRAY || count < AT_LEAST || count > AT_COUNT) {
        return false;
    }
    for (int i = 0; i < count; i++) {
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
    if (tells_limits(reply)) {
        return read_limits(reply, result);
    }
    for (int i = AT_LEAST; i < reply->integer; i++) {
        if (!read_more(reply + 1 + i, i, result)) {
            return false;
        }
    }
    return true;
}
