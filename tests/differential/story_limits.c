/*
 * The limits of a story: rates that are odd, extreme and changed on the way, a
 * clock that is one microsecond before, at and after the moment at which a token
 * is there, and that steps back; and what limit_apply says of it all.
 */
#include "differential.h"

#include <string.h>

#define START_US UINT64_C(1700000000000000)
/* So far no clock of a story goes. */
#define END_US (LIMIT_NUMBER_MAX / 2)
#define S_US UINT64_C(1000000)

/* ---- what is configured ---- */

static uint64_t pick(uint64_t from, uint64_t to)
{
    return from + random_below(to - from + 1);
}

/* As configurations have them, and as far as numbers go. */
static struct limit_rate pick_rate(void)
{
    struct limit_rate rate;
    uint64_t burst = one_in(4) ? pick(1, 2) : pick(1, 20);
    bool made;

    switch (random_below(8)) {
    case 0:
        made = limit_rate_make(1, 86400 * S_US, burst, &rate);
        break;
    case 1:
        made = limit_rate_make(300001, S_US, burst * 1000, &rate);
        break;
    case 2:
        made = limit_rate_make(7, 3 * S_US, burst, &rate);
        break;
    case 3:
        made = limit_rate_make(pick(1, 1000), pick(1, 60) * S_US, burst, &rate);
        break;
    case 4: /* a token is as many units as can be */
        made = limit_rate_make(pick(1, 1000000), (LIMIT_NUMBER_MAX / 2 - 1) / burst - random_below(1000), burst, &rate);
        break;
    case 5: /* a token is as few as can be, and there are as many as can be */
        rate = (struct limit_rate){1, pick(1, 5), LIMIT_NUMBER_MAX / 2 - 1 - random_below(3)};
        made = true;
        break;
    default:
        made = limit_rate_make(pick(1, 200), S_US, burst, &rate);
        break;
    }
    return made ? rate : (struct limit_rate){S_US, 1, burst};
}

void story_limits_make(struct story *story)
{
    story->now_us = START_US + random_below(S_US);
    story->limited = one_in(2);
    story->steps_back = story->limited && one_in(3) && !story->moves; /* else nobody would be told it */
    for (int i = 0; i < STORY_LIMITS; i++) {
        struct story_limit *limit = &story->limits[i];
        fill_word(limit->name, one_in(8) ? STORE_LIMIT_NAME_BYTES_MAX : pick(1, 12));
        limit->bucket_number = (uint16_t)random_below(IDEM_BUCKETS);
        fill(limit->hash, sizeof limit->hash);
        for (int rate = 0; rate < STORY_RATES; rate++) {
            limit->rates[rate] = pick_rate();
        }
        if (one_in(2)) { /* the same rate with another burst */
            limit->rates[1] = limit->rates[0];
            limit->rates[1].burst = 1 + limit->rates[0].burst / 2;
        }
    }
}

/* ---- when ---- */

/* When the next token of a limit is there, or nothing is owed any more. */
static uint64_t turn_of(const struct story *story)
{
    const struct story_limit *limit = &story->limits[random_below(STORY_LIMITS)];
    const struct limit_rate *rate = &limit->rates[one_in(2) ? 0 : random_below(STORY_RATES)];
    struct limit_bucket bucket = limit->bucket;
    struct limit_bucket *buckets[] = {&bucket};
    struct limit_ask ask = {*rate, 1, LIMIT_CHECK};
    struct limit_told told;

    (void)limit_apply(buckets, &ask, 1, story->now_us, &told);
    return story->now_us + (one_in(3) ? told.reset_us : told.wait_us);
}

/* It never stands still: what a step writes can be told from what was there. */
void story_limits_pass(struct story *story)
{
    uint64_t then_us = story->now_us + 1 + random_below(one_in(2) ? 50 : one_in(2) ? 50000 : 3 * S_US);

    if (story->steps_back && one_in(8)) {
        then_us = story->now_us - 1 - random_below(one_in(2) ? 1000 : 2 * S_US);
    } else if (one_in(2)) {
        uint64_t turn_us = turn_of(story) + random_below(3);
        then_us = turn_us > story->now_us + 1 && turn_us < END_US ? turn_us - 1 : then_us;
    }
    story->now_us = then_us < END_US ? then_us : START_US;
}

/* ---- what is asked ---- */

static unsigned pick_flags(void)
{
    static const unsigned flags[] = {0, 0, 0, 0, 0, 0, LIMIT_SHADOW, LIMIT_CHECK, LIMIT_FORCE};
    return one_in(12) ? (unsigned)random_below(8) : flags[random_below(ARRAY_COUNT(flags))];
}

static uint64_t pick_cost(const struct limit_rate *rate)
{
    switch (random_below(20)) {
    case 0:
        return rate->burst;
    case 1:
        return rate->burst + 1;
    case 2:
        return one_in(4) ? UINT64_MAX : 0;
    case 3:
    case 4:
    case 5:
        return pick(1, 1 + rate->burst / 2);
    default:
        return 1;
    }
}

static void choose(const struct story *story, const struct story_limit *limit, struct limit_ref *ref)
{
    bool is_paid = limit->bucket.units > 0 && limit->over_us <= story->now_us;

    ref->limit = bytes_from_text(limit->name);
    ref->bucket = limit->bucket_number;
    memcpy(ref->hash, limit->hash, sizeof ref->hash);
    ref->ask.rate = limit->rates[one_in(4) ? random_below(STORY_RATES) : 0];
    if (is_paid && !story->steps_back) { /* it may be gone, or there and paid: only to another rate it would matter */
        ref->ask.rate = limit->written;
    }
    ref->ask.cost = pick_cost(&ref->ask.rate);
    ref->ask.flags = pick_flags();
}

void story_limits_choose(struct story *story, struct step *step)
{
    int first = (int)random_below(STORY_LIMITS);

    if (!story->limited || one_in(3)) {
        return;
    }
    for (int i = 0; i < STORY_LIMITS; i++) {
        choose(story, &story->limits[(first + i) % STORY_LIMITS], &step->limits[i]);
    }
    step->alone = step->op.kind != IDEM_BEGIN && one_in(2);
    if (step->alone) {
        struct limit_ask *ask = &step->limits[0].ask;
        step->want = one_in(20) ? UINT64_MAX : random_below(ask->rate.burst < 30 ? ask->rate.burst + 2 : 30);
        ask->cost = (ask->flags & LIMIT_CHECK) != 0 ? 1 : ask->cost; /* as the frame asks it */
    } else if (step->op.kind == IDEM_BEGIN) {
        step->op.limits = step->limits;
        step->op.limit_count = (int)pick(1, STORY_LIMITS);
    }
}

/* ---- what is right ---- */

static struct story_limit *limit_of(struct story *story, const struct limit_ref *ref)
{
    for (int i = 0; i < STORY_LIMITS; i++) {
        if (memcmp(story->limits[i].hash, ref->hash, sizeof ref->hash) == 0) {
            return &story->limits[i];
        }
    }
    return NULL; /* every one is of the story */
}

static void put(struct story *story, struct story_limit *limit, const struct limit_bucket *bucket,
                const struct limit_rate *rate, const struct limit_told *told)
{
    bool written = bucket->debt != limit->bucket.debt || bucket->last_us != limit->bucket.last_us ||
                   bucket->units != limit->bucket.units;

    limit->bucket = *bucket;
    if (written) {
        limit->written = *rate;
        limit->over_ms = story->now_ms + (told->reset_us + 999) / 1000 + 1;
        limit->over_us = story->now_us + told->reset_us;
    }
}

bool story_limits_admit(struct story *story, struct step *step)
{
    struct limit_bucket after[STORY_LIMITS] = {{0}};
    struct limit_bucket *buckets[STORY_LIMITS] = {NULL};
    struct limit_ask asks[STORY_LIMITS] = {{.cost = 0}};
    int count = step->op.limit_count;

    for (int i = 0; i < count; i++) {
        after[i] = limit_of(story, &step->limits[i])->bucket;
        buckets[i] = &after[i];
        asks[i] = step->limits[i].ask;
    }
    bool admitted = limit_apply(buckets, asks, count, story->now_us, step->result.limits);
    step->result.limit_count = count;
    step->result.verdict = admitted ? IDEM_NEW : IDEM_LIMITED;
    for (int i = 0; i < count; i++) {
        put(story, limit_of(story, &step->limits[i]), &after[i], &asks[i].rate, &step->result.limits[i]);
    }
    return admitted;
}

void story_limits_tell_alone(struct story *story, struct step *step)
{
    struct story_limit *limit = limit_of(story, &step->limits[0]);
    struct limit_bucket bucket = limit->bucket;
    struct limit_bucket *buckets[] = {&bucket};
    const struct limit_ask *ask = &step->limits[0].ask;

    if ((ask->flags & (LIMIT_CHECK | LIMIT_FORCE)) == 0) {
        step->granted = limit_prepay(&bucket, &ask->rate, step->want, story->now_us, &step->told);
    } else {
        (void)limit_apply(buckets, ask, 1, story->now_us, &step->told);
        step->granted = (ask->flags & LIMIT_CHECK) != 0 && step->told.fits;
    }
    put(story, limit, &bucket, &ask->rate, &step->told);
}
