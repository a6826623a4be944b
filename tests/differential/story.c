/*
 * Random stories, and their right telling. Times are chosen where things turn:
 * the ms before, at and after a lease, a window, an answer or a record ends. It
 * knows no store.
 */
#include "differential.h"

#include <string.h>

#define START_MS UINT64_C(1700000000000)

static uint64_t random_state;

uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

bool one_in(uint64_t count)
{
    return random_below(count) == 0;
}

void fill(void *at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)at)[i] = (uint8_t)random_below(256);
    }
}

void fill_word(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        text[i] = "abcdefghijklmnopqrstuvwxyz0123456789-_"[random_below(38)];
    }
    text[len] = '\0';
}

bool story_is_over(const struct idem_record *record, uint64_t now_ms)
{
    return record->expires_ms <= now_ms;
}

/* ---- who asks for what ---- */

struct durations {
    uint64_t lease_ms, resend_ms, keep_unknown_ms, keep_receipt_ms, keep_ms, margin_ms;
};

static uint64_t pick_ms(uint64_t from_ms, uint64_t to_ms)
{
    return from_ms + random_below(to_ms - from_ms + 1);
}

/* As a configuration may have them: keep <= keep_receipt <= keep_unknown, and a lease that is shorter. */
static void make_durations(struct durations *durations)
{
    durations->lease_ms = pick_ms(1000, 20000);
    durations->resend_ms = one_in(3) ? 0 : pick_ms(1000, 200000);
    durations->keep_ms = pick_ms(1000, 100000);
    durations->keep_receipt_ms = durations->keep_ms + pick_ms(0, 100000);
    durations->keep_unknown_ms = durations->keep_receipt_ms + pick_ms(30000, 300000);
    durations->margin_ms = pick_ms(0, 60000);
}

/* The sealed key is cut into pieces of 64 by the scripts. */
static void make_variant(struct variant *variant)
{
    static const size_t lens[] = {0, 1, 63, 64, 65, 127, 128, 129, STORY_UPSTREAM_KEY_BYTES_MAX};

    fill(variant->print, sizeof variant->print);
    fill(variant->bind, sizeof variant->bind);
    fill_word(variant->processor, one_in(8) ? IDEM_PROCESSOR_BYTES_MAX : pick_ms(1, 12));
    variant->upstream_key_bytes = one_in(2) ? lens[random_below(ARRAY_COUNT(lens))] : pick_ms(35, 105);
    fill(variant->upstream_key, variant->upstream_key_bytes);
}

static void make_variants(struct variant variants[STORY_VARIANTS])
{
    make_variant(&variants[0]);
    variants[1] = variants[0];
    fill(variants[1].print, sizeof variants[1].print);
    make_variant(&variants[2]);
    memcpy(variants[2].print, variants[0].print, sizeof variants[2].print);
}

static enum idem_op_kind pick_kind(const struct story *story)
{
    static const enum idem_op_kind kinds[] = {
        IDEM_BEGIN, IDEM_BEGIN, IDEM_BEGIN, IDEM_COMPLETE, IDEM_MARK, IDEM_ABANDON, IDEM_RENEW, IDEM_RESOLVE,
        IDEM_LAPSE, IDEM_LAPSE, IDEM_READ,
    };
    return story->moves && one_in(4) ? IDEM_REBIND : kinds[random_below(ARRAY_COUNT(kinds))];
}

/* Mostly the key's own request; where records move, the other processor is asked as well. */
static const struct variant *pick_variant(const struct story *story, const struct step *step, enum idem_op_kind kind)
{
    bool other = story->moves && (kind == IDEM_REBIND ? !one_in(4) : one_in(3));
    return &story->variants[step->key][other ? 2 : one_in(12) ? 1 + random_below(2) : 0];
}

static struct bytes pick_answer(const struct story *story)
{
    size_t len = one_in(4) ? 0 : one_in(6) ? pick_ms(1000, STORY_ANSWER_BYTES_MAX) : pick_ms(1, 200);
    return bytes_of(story->answers + random_below(STORY_ANSWER_BYTES_MAX - len + 1), len);
}

static void make_op(struct story *story, struct step *step, const struct durations *durations)
{
    enum idem_op_kind kind = pick_kind(story);
    const struct variant *variant = pick_variant(story, step, kind);
    struct idem_op *op = &step->op;

    *op = (struct idem_op){
        .kind = kind,
        .name = story->names[step->key],
        .processor = bytes_from_text(variant->processor),
        .upstream_key = bytes_of(variant->upstream_key, variant->upstream_key_bytes),
        .resend_ms = one_in(10) ? 0 : durations->resend_ms,
        .keep_unknown_ms = durations->keep_unknown_ms,
        .lease_ms = durations->lease_ms,
        .age_ms = one_in(2) ? 0 : random_below(2 * durations->lease_ms),
        .status = (uint16_t)pick_ms(200, 599),
        .answer = pick_answer(story),
        .keep_ms = durations->keep_ms,
        .keep_receipt_ms = durations->keep_receipt_ms,
        .executed = one_in(2),
        .margin_ms = durations->margin_ms,
    };
    memset(op->owner, (int)(1 + random_below(STORY_OWNERS)), sizeof op->owner);
    memcpy(op->print, variant->print, sizeof op->print);
    memcpy(op->bind, variant->bind, sizeof op->bind);
    fill_word(op->request_id, one_in(3) ? IDEM_REQUEST_ID_BYTES : random_below(IDEM_REQUEST_ID_BYTES));
    bool settles = op->kind == IDEM_COMPLETE || op->kind == IDEM_MARK;
    step->waited_ms = settles && one_in(3) ? random_below(durations->lease_ms) : 0;
}

/* ---- when ---- */

/* A moment at which something of the record turns; 0: it has no such one. */
static uint64_t turn_of(const struct idem_record *record, const struct durations *durations)
{
    switch (random_below(12)) {
    case 0:
    case 1:
    case 2:
        return record->begun_ms + record->resend_ms;
    case 3:
    case 4:
    case 5:
        return record->answer_expires_ms;
    case 6:
        return record->expires_ms;
    case 7:
        return record->expires_ms - durations->margin_ms;
    default:
        return record->lease_ms;
    }
}

/* An owner whose lease runs beyond its record's time: what then becomes of it is no rule of idem_apply's. */
static uint64_t not_under_owners(const struct story *story, uint64_t now_ms, uint64_t then_ms)
{
    for (int i = 0; i < STORY_KEYS; i++) {
        const struct idem_record *record = &story->records[i];
        if (record->state == IDEM_IN_FLIGHT && record->expires_ms <= then_ms && record->lease_ms > then_ms) {
            return now_ms;
        }
    }
    return then_ms;
}

static uint64_t pick_time(const struct story *story, const struct idem_record *record, const struct durations *durations,
                          uint64_t now_ms)
{
    uint64_t then_ms = now_ms + (one_in(6) ? random_below(durations->lease_ms * 2) : random_below(50));

    if (record->state != IDEM_ABSENT && one_in(3)) {
        uint64_t turn_ms = turn_of(record, durations) + random_below(3);
        then_ms = turn_ms > now_ms ? turn_ms - 1 : then_ms; /* one before, at, one after */
    }
    return not_under_owners(story, now_ms, then_ms);
}

/* ---- the right telling ---- */

/* Time takes records away. What was open stays in an index, until somebody looks. */
static void let_time_pass(struct story *story)
{
    for (int i = 0; i < STORY_KEYS; i++) {
        struct idem_record *record = &story->records[i];
        if (record->state != IDEM_ABSENT && story_is_over(record, story->now_ms)) {
            story->indexed[i] = idem_record_due_ms(record) != 0;
            *record = (struct idem_record){0};
        }
    }
}

static void tell_step(struct story *story, struct step *step)
{
    struct idem_record *record = &story->records[step->key];
    struct idem_op op = step->op;

    op.age_ms += step->waited_ms;
    step->indexed = story->indexed[step->key];
    bool limited = op.kind == IDEM_BEGIN && op.limit_count > 0 && record->state == IDEM_ABSENT;
    if (limited && !story_limits_admit(story, step)) {
        return;
    }
    struct idem_result limits_told = step->result;
    enum idem_change change = idem_apply(record, &op, story->now_ms, &step->result);
    if (change == IDEM_DELETE) {
        *record = (struct idem_record){0};
    }
    if (limited) {
        step->result.limit_count = limits_told.limit_count;
        memcpy(step->result.limits, limits_told.limits, sizeof limits_told.limits);
    }
    if (change != IDEM_KEEP || op.kind == IDEM_LAPSE) {
        story->indexed[step->key] = false;
    }
}

void story_make(struct story *story, uint64_t seed, uint64_t number, bool moves)
{
    struct durations durations;

    memset(story, 0, sizeof *story);
    random_state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (number + 1) * UINT64_C(0xbf58476d1ce4e5b9);
    random_state ^= moves ? UINT64_C(0xd6e8feb86659fd93) : 0;
    for (int i = 0; i < 8; i++) {
        (void)random_below(2);
    }
    story->number = number;
    story->moves = moves;
    story->now_ms = START_MS + random_below(1000);
    make_durations(&durations);
    fill(story->answers, sizeof story->answers);
    story_limits_make(story);
    for (int i = 0; i < STORY_KEYS; i++) {
        story->names[i].bucket = (uint16_t)random_below(IDEM_BUCKETS);
        fill(story->names[i].hash, sizeof story->names[i].hash);
        make_variants(story->variants[i]);
    }
    for (story->step_count = 0; story->step_count < STORY_STEPS; story->step_count++) {
        struct step *step = &story->steps[story->step_count];
        step->key = (int)random_below(STORY_KEYS);
        story->now_ms = pick_time(story, &story->records[step->key], &durations, story->now_ms);
        step->now_ms = story->now_ms;
        let_time_pass(story);
        story_limits_pass(story);
        step->now_us = story->now_us;
        make_op(story, step, &durations);
        story_limits_choose(story, step);
        if (step->alone) {
            story_limits_tell_alone(story, step);
        } else {
            tell_step(story, step);
        }
    }
}
