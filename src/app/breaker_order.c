/*
 * What an operator may say of breakers: open or closed for a time that ends by
 * itself, or auto. Words in, an order or a complaint out.
 */
#include <inttypes.h>
#include <stdio.h>

#include "processors_internal.h"
#include "suggest_internal.h"
#include "weir/base/clock.h"

#define FOR_MIN_US CLOCK_US_PER_S
#define FOR_MAX_US (24 * 3600 * CLOCK_US_PER_S)
#define NUMBER_MAX 100000000u /* of any unit more than 24h, and of days less than overflows */

static const enum breaker_forced FORCED[] = {BREAKER_FORCED_OPEN, BREAKER_FORCED_CLOSED, BREAKER_AUTO};

static bool read_forced(const char *state, enum breaker_forced *forced, char words[BREAKER_ORDER_WORDS_BYTES])
{
    struct suggest suggest;
    suggest_begin(&suggest, state);
    for (size_t i = 0; i < ARRAY_COUNT(FORCED); i++) {
        if (strcmp(state, breaker_forced_name(FORCED[i])) == 0) {
            *forced = FORCED[i];
            return true;
        }
        suggest_offer(&suggest, breaker_forced_name(FORCED[i]));
    }
    if (suggest.nearest != NULL) {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES, "'%.40s' is not open, closed or auto: did you mean '%s'?", state,
                 suggest.nearest);
    } else {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES, "'%.40s' is not open, closed or auto", state);
    }
    return false;
}

/* Of the configuration's units those that are of use here. 0: it is none of them. */
static uint64_t unit_us(struct bytes unit)
{
    static const struct {
        struct bytes name;
        uint64_t us;
    } UNITS[] = {
        {BYTES("ms"), CLOCK_US_PER_MS},        {BYTES("s"), CLOCK_US_PER_S},          {BYTES("m"), 60 * CLOCK_US_PER_S},
        {BYTES("h"), 3600 * CLOCK_US_PER_S}, {BYTES("d"), 24 * 3600 * CLOCK_US_PER_S},
    };
    for (size_t i = 0; i < ARRAY_COUNT(UNITS); i++) {
        if (bytes_equal(unit, UNITS[i].name)) {
            return UNITS[i].us;
        }
    }
    return 0;
}

/* A number and a unit. A number that is too large to be counted is told as the largest: both are too long. */
static bool read_duration(const char *text, uint64_t *us)
{
    struct bytes left = bytes_from_text(text);
    size_t digits = 0;
    uint64_t number = 0;
    while (digits < left.len && left.at[digits] >= '0' && left.at[digits] <= '9') {
        number = number < NUMBER_MAX ? number * 10 + (uint64_t)(left.at[digits] - '0') : number;
        digits++;
    }
    uint64_t unit = unit_us(bytes_skip(left, digits));
    *us = (number < NUMBER_MAX ? number : NUMBER_MAX) * unit;
    return digits > 0 && unit > 0;
}

static bool read_for(const char *duration, uint64_t *for_us, char words[BREAKER_ORDER_WORDS_BYTES])
{
    if (duration == NULL) {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES,
                 "--for is missing: say for how long, 1s to 24h (--for 30m); then breakers decide by themselves again");
        return false;
    }
    if (!read_duration(duration, for_us)) {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES, "'%.40s' is not a duration: 90s, 30m or 2h, from 1s to 24h", duration);
        return false;
    }
    if (*for_us < FOR_MIN_US || *for_us > FOR_MAX_US) {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES, "'%.40s' is %s: what is open or closed by an operator's word ends by itself",
                 duration, *for_us < FOR_MIN_US ? "less than 1s" : "more than 24h");
        return false;
    }
    return true;
}

bool breaker_order_read(const char *state, const char *duration, struct breaker_order *order,
                        char words[BREAKER_ORDER_WORDS_BYTES])
{
    *order = (struct breaker_order){.forced = BREAKER_AUTO};
    if (state == NULL) {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES, "open, closed or auto is missing");
        return false;
    }
    if (!read_forced(state, &order->forced, words)) {
        return false;
    }
    if (order->forced != BREAKER_AUTO) {
        return read_for(duration, &order->for_us, words);
    }
    if (duration != NULL) {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES, "auto ends an operator's word, and needs no --for");
        return false;
    }
    return true;
}
