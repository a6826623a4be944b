/*
 * The learnt idle limit: lowered by closings, bounded by what Keep-Alive says,
 * raised by time. It knows no link and closes none.
 */
#include "weir/policy/idle.h"

#include <stdbool.h>

#define SECOND_US UINT64_C(1000000)
/* Closings nearer to each other than this are one: a restart closes many at once. */
#define ONE_CLOSING_US SECOND_US

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void begin(struct idle_limit *limit, uint64_t now_us)
{
    if (limit->limit_us == 0) {
        limit->limit_us = IDLE_START_US;
        limit->learnt_us = now_us;
    }
}

static void set(struct idle_limit *limit, uint64_t limit_us, uint64_t now_us)
{
    limit->limit_us = limit_us > IDLE_MIN_US ? limit_us : IDLE_MIN_US;
    limit->learnt_us = now_us;
}

/* By a tenth for each whole step since, up to `most_us`; about a hundred at most, since it is never below IDLE_MIN_US. */
static void grow(struct idle_limit *limit, uint64_t step_us, uint64_t most_us, uint64_t now_us)
{
    while (limit->limit_us < most_us && now_us > limit->learnt_us && now_us - limit->learnt_us >= step_us) {
        limit->limit_us = least(limit->limit_us + limit->limit_us / 10, most_us);
        limit->learnt_us += step_us;
    }
    if (limit->limit_us >= most_us) {
        limit->learnt_us = now_us; /* at its bound it saves no time up */
    }
}

uint64_t idle_limit_us(struct idle_limit *limit, uint64_t max_us, uint64_t now_us)
{
    begin(limit, now_us);
    uint64_t most_us = limit->told_us != 0 ? least(limit->told_us, max_us) : max_us;
    if (limit->before_us != 0) {
        grow(limit, IDLE_DOUBT_US, least(limit->before_us, most_us), now_us);
        if (limit->limit_us >= limit->before_us) {
            limit->before_us = 0;
        }
    } else {
        grow(limit, IDLE_GROWS_US, most_us, now_us);
    }
    return least(limit->limit_us, most_us);
}

uint64_t idle_limit_sure_us(struct idle_limit *limit, uint64_t max_us, uint64_t now_us)
{
    uint64_t seen_us = limit->seen_us - limit->seen_us / 4;
    return least(idle_limit_us(limit, max_us, now_us), seen_us > IDLE_SURE_US ? seen_us : IDLE_SURE_US);
}

void idle_limit_seen(struct idle_limit *limit, uint64_t idle_us)
{
    limit->seen_us = idle_us > limit->seen_us ? idle_us : limit->seen_us;
}

/* Another closing than the one that taught it, and at about the same age. */
static bool confirms(const struct idle_limit *limit, uint64_t idle_us, uint64_t now_us)
{
    bool like = idle_us >= limit->closed_age_us / 2 && idle_us / 2 <= limit->closed_age_us;
    return limit->closed_us != 0 && like && now_us > limit->closed_us && now_us - limit->closed_us >= ONE_CLOSING_US;
}

void idle_limit_closed(struct idle_limit *limit, uint64_t idle_us, uint64_t now_us)
{
    begin(limit, now_us);
    limit->seen_us = least(limit->seen_us, idle_us);
    uint64_t safe_us = idle_us - idle_us / 4;
    bool lowers = safe_us < limit->limit_us;
    bool sure = confirms(limit, idle_us, now_us);
    if (sure) {
        limit->before_us = 0;
    } else if (lowers && limit->before_us == 0) {
        limit->before_us = limit->limit_us;
    }
    if (lowers || sure) {
        limit->closed_age_us = idle_us;
        limit->closed_us = now_us;
    }
    if (lowers) {
        set(limit, safe_us, now_us);
    }
}

void idle_limit_told(struct idle_limit *limit, uint32_t timeout_s, uint64_t now_us)
{
    begin(limit, now_us);
    uint64_t told_us = timeout_s > 2 ? (timeout_s - 1) * SECOND_US : timeout_s * SECOND_US / 2;
    limit->told_us = told_us > IDLE_MIN_US ? told_us : IDLE_MIN_US;
    if (limit->limit_us > limit->told_us || limit->closed_us == 0) {
        set(limit, limit->told_us, now_us);
    }
}
