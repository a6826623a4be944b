/*
 * The breaker: the window, the calls in flight, what opens it, and the stages
 * in which it lets calls through again. One for each endpoint and each route at
 * a processor; src/upstream asks and tells. It owns nothing, reads no clock and
 * never fails.
 *
 * One caller's trouble is told from the processor's by leaving him out: what is
 * true of all calls must be true of the others' alone, whoever he is. So it is
 * for failures and for slow calls, overdue ones included. Five timeouts in a
 * row of one caller, or silence to one caller alone, open nothing either while
 * others have good answers in the window; where nobody else calls, his calls
 * are all that is known, and there is nobody to protect from him.
 *
 * A window full of good answers hides a processor that fails every call for
 * half its length. So twenty failures in a row, of several callers, open it, too.
 *
 * An answer that comes late, or a caller that left after the call was overdue,
 * counts as slow. A call is told to be overdue once, by moving from one list to
 * the next, so a turn costs what became overdue in it.
 *
 * An era begins with HALF_OPEN. What began before counts for nothing any more:
 * calls that were lost with a processor time out long after it came back.
 */
#include "weir/policy/breaker.h"

#include <stddef.h>
#include <string.h>

#include "weir/base/check.h"

#define CHECKS_TO_PROBE 2
#define WAIT_US UINT64_C(1000000) /* for one that is refused in HALF_OPEN */
#define WHOLE_PERMILLE 1000u
#define NOBODY BREAKER_CALLERS

/* From this stage on a single failure does not open it: a share of them does. */
#define STAGE_OF_SHARES 2
#define STAGE_CALLS_MIN 4
#define STAGE_FAILED_PERMILLE 250u

static const struct {
    uint32_t calls;          /* in flight at once */
    uint32_t share_permille; /* of those that ask; the first stage goes by rank */
    uint32_t successes;      /* that lead to the next */
} stages[BREAKER_STAGES] = {{1, 0, 1}, {2, 50, 3}, {4, 200, 5}, {8, 500, 10}, {UINT32_MAX, 1000, 20}};

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[BREAKER_STATE_COUNT] = {
        [BREAKER_CLOSED] = "closed",
        [BREAKER_OPEN] = "open",
        [BREAKER_HALF_OPEN] = "half_open",
    };
    return names[state];
}

const char *breaker_forced_name(enum breaker_forced forced)
{
    switch (forced) {
    case BREAKER_AUTO:
        break;
    case BREAKER_FORCED_OPEN:
        return "open";
    case BREAKER_FORCED_CLOSED:
        return "closed";
    }
    return "auto";
}

const char *breaker_cause_name(enum breaker_cause cause)
{
    static const char *const names[BREAKER_CAUSE_COUNT] = {
        [BREAKER_CAUSE_NONE] = "none",           [BREAKER_CAUSE_UNREACHED] = "unreached",
        [BREAKER_CAUSE_FAILURES] = "failures",   [BREAKER_CAUSE_SLOW] = "slow",
        [BREAKER_CAUSE_SILENT] = "silent",       [BREAKER_CAUSE_PROBE] = "probe",
        [BREAKER_CAUSE_TIME] = "time",           [BREAKER_CAUSE_CHECKS] = "checks",
        [BREAKER_CAUSE_RECOVERED] = "recovered", [BREAKER_CAUSE_OPERATOR] = "operator",
        [BREAKER_CAUSE_EXPIRED] = "expired",
    };
    return names[cause];
}

static uint64_t elapsed_us(uint64_t since_us, uint64_t now_us)
{
    return now_us > since_us ? now_us - since_us : 0;
}

/* ---- the window ---- */

static void row_end(struct breaker *breaker)
{
    if (breaker->failed_in_a_row > 0) {
        breaker->failed_in_a_row = 0;
        memset(breaker->row_failed, 0, sizeof(breaker->row_failed));
    }
}

static void window_clear(struct breaker *breaker, uint64_t now_us)
{
    memset(breaker->buckets, 0, sizeof(breaker->buckets));
    memset(breaker->callers_ok, 0, sizeof(breaker->callers_ok));
    memset(breaker->callers_failed, 0, sizeof(breaker->callers_failed));
    memset(breaker->callers_slow, 0, sizeof(breaker->callers_slow));
    breaker->ok = breaker->failed = breaker->slow = 0;
    breaker->in_a_row = 0;
    breaker->answered_calls = 0;
    row_end(breaker);
    breaker->bucket_us = now_us;
}

/* The oldest bucket becomes the newest, an empty one. */
static void window_turn(struct breaker *breaker)
{
    breaker->bucket = (breaker->bucket + 1) % BREAKER_BUCKETS;
    struct breaker_bucket *bucket = &breaker->buckets[breaker->bucket];
    breaker->ok -= bucket->ok;
    breaker->failed -= bucket->failed;
    breaker->slow -= bucket->slow;
    for (int i = 0; i < BREAKER_CALLERS; i++) {
        breaker->callers_ok[i] -= bucket->callers_ok[i];
        breaker->callers_failed[i] -= bucket->callers_failed[i];
        breaker->callers_slow[i] -= bucket->callers_slow[i];
    }
    memset(bucket, 0, sizeof(*bucket));
}

static void window_slide(struct breaker *breaker, uint64_t now_us)
{
    uint64_t passed_us = elapsed_us(breaker->bucket_us, now_us);
    if (passed_us < breaker->bucket_length_us || breaker->state == BREAKER_HALF_OPEN) {
        return;
    }
    uint64_t buckets = passed_us / breaker->bucket_length_us;
    breaker->bucket_us += buckets * breaker->bucket_length_us;
    for (uint64_t i = 0; i < buckets && i < BREAKER_BUCKETS; i++) {
        window_turn(breaker);
    }
}

/* False: this caller's count is full. */
static bool count_for(struct breaker *breaker, struct breaker_bucket *bucket, uint32_t caller, bool failed, bool *slow)
{
    uint16_t *count = failed ? &bucket->callers_failed[caller] : &bucket->callers_ok[caller];
    if (*count == UINT16_MAX) {
        return false;
    }
    *slow = *slow && bucket->callers_slow[caller] < UINT16_MAX;
    *count = (uint16_t)(*count + 1);
    bucket->callers_slow[caller] = (uint16_t)(bucket->callers_slow[caller] + (*slow ? 1 : 0));
    breaker->callers_failed[caller] += failed ? 1 : 0;
    breaker->callers_ok[caller] += failed ? 0 : 1;
    breaker->callers_slow[caller] += *slow ? 1 : 0;
    return true;
}

/* `caller` may be NOBODY. A call that says nothing but that it was slow is counted among the good ones. */
static void count_call(struct breaker *breaker, uint32_t caller, bool failed, bool slow)
{
    struct breaker_bucket *bucket = &breaker->buckets[breaker->bucket];
    if (caller != NOBODY && !count_for(breaker, bucket, caller, failed, &slow)) {
        return;
    }
    bucket->failed += failed ? 1 : 0;
    bucket->ok += failed ? 0 : 1;
    bucket->slow += slow ? 1 : 0;
    breaker->failed += failed ? 1 : 0;
    breaker->ok += failed ? 0 : 1;
    breaker->slow += slow ? 1 : 0;
}

static void count_outcome(struct breaker *breaker, uint32_t caller, enum breaker_outcome outcome, bool slow)
{
    bool failed = outcome != BREAKER_OK && outcome != BREAKER_NEUTRAL;
    if (outcome == BREAKER_NEUTRAL && !slow) {
        return;
    }
    count_call(breaker, outcome == BREAKER_UNREACHED ? NOBODY : caller, failed, slow);
    if (breaker->state == BREAKER_CLOSED && breaker->opened_count > 0) {
        breaker->decay_calls++;
        breaker->decay_failed += failed ? 1 : 0;
    }
}

static void count_failed_in_a_row(struct breaker *breaker, uint8_t caller, enum breaker_outcome outcome)
{
    if (outcome == BREAKER_OK) {
        row_end(breaker);
    } else if (outcome == BREAKER_UNREACHED) {
        breaker->failed_in_a_row++;
    } else if (outcome != BREAKER_NEUTRAL && breaker->row_failed[caller] < UINT16_MAX) {
        breaker->failed_in_a_row++;
        breaker->row_failed[caller]++;
    }
}

static void count_in_a_row(struct breaker *breaker, uint8_t caller, enum breaker_outcome outcome)
{
    switch (outcome) {
    case BREAKER_NEUTRAL:
        break;
    case BREAKER_OK:
    case BREAKER_FAILED:
        breaker->in_a_row = 0;
        break;
    case BREAKER_TIMED_OUT:
    case BREAKER_UNREACHED:
        if (breaker->in_a_row++ == 0) {
            breaker->row_caller = caller;
            breaker->row_mixed = false;
        }
        breaker->row_mixed = breaker->row_mixed || outcome == BREAKER_UNREACHED || caller != breaker->row_caller;
        break;
    }
}

/* ---- calls in flight ---- */

static void flight_is_overdue(struct breaker *breaker, struct breaker_flight *flight)
{
    list_remove(&flight->in_flights);
    list_push_back(&breaker->flights_overdue, &flight->in_flights);
    flight->overdue = true;
    breaker->overdue++;
    breaker->callers_overdue[flight->caller]++;
}

static void flight_leave(struct breaker *breaker, struct breaker_flight *flight)
{
    DCHECK(breaker->in_flight > 0);
    list_remove(&flight->in_flights);
    breaker->in_flight--;
    if (flight->era != breaker->era) {
        return;
    }
    breaker->era_in_flight--;
    if (flight->overdue) {
        breaker->overdue--;
        breaker->callers_overdue[flight->caller]--;
    }
}

static void era_begin(struct breaker *breaker)
{
    list_move_all(&breaker->flights_past, &breaker->flights_overdue);
    list_move_all(&breaker->flights_past, &breaker->flights);
    breaker->era++;
    breaker->era_in_flight = 0;
    breaker->overdue = 0;
    memset(breaker->callers_overdue, 0, sizeof(breaker->callers_overdue));
}

static const struct breaker_flight *oldest_of(const struct list *flights)
{
    return list_first(flights, struct breaker_flight, in_flights);
}

/* ---- what opens it ---- */

struct tally {
    uint32_t calls, bad;
};

static struct tally tally_failed(const struct breaker *breaker)
{
    return (struct tally){breaker->ok + breaker->failed, breaker->failed};
}

static struct tally tally_failed_of(const struct breaker *breaker, int caller)
{
    uint32_t failed = breaker->callers_failed[caller];
    return (struct tally){breaker->callers_ok[caller] + failed, failed};
}

static struct tally tally_slow(const struct breaker *breaker)
{
    uint32_t overdue = breaker->overdue;
    return (struct tally){breaker->ok + breaker->failed + overdue, breaker->slow + overdue};
}

static struct tally tally_slow_of(const struct breaker *breaker, int caller)
{
    uint32_t overdue = breaker->callers_overdue[caller];
    return (struct tally){breaker->callers_ok[caller] + breaker->callers_failed[caller] + overdue,
                          breaker->callers_slow[caller] + overdue};
}

static bool is_reached(struct tally tally, uint32_t share_permille)
{
    return tally.bad > 0 && (uint64_t)tally.bad * WHOLE_PERMILLE >= (uint64_t)share_permille * tally.calls;
}

/* Of all, and of all but any one caller's. Few calls of others are enough to speak for them; none say nothing. */
static bool is_reached_without_any(const struct breaker *breaker, struct tally all,
                                   struct tally (*tally_of)(const struct breaker *breaker, int caller),
                                   uint32_t share_permille)
{
    if (!is_reached(all, share_permille)) {
        return false;
    }
    for (int caller = 0; caller < BREAKER_CALLERS; caller++) {
        struct tally own = tally_of(breaker, caller);
        struct tally others = {all.calls - own.calls, all.bad - own.bad};
        if (own.bad > 0 && others.calls > 0 && !is_reached(others, share_permille)) {
            return false;
        }
    }
    return true;
}

static bool others_are_well(const struct breaker *breaker, uint8_t caller)
{
    return breaker->ok > breaker->callers_ok[caller];
}

static bool is_unreached(const struct breaker *breaker)
{
    return breaker->in_a_row >= BREAKER_UNREACHED_MAX &&
           (breaker->row_mixed || !others_are_well(breaker, breaker->row_caller));
}

static bool is_failing_in_a_row(const struct breaker *breaker)
{
    if (breaker->failed_in_a_row < BREAKER_FAILED_MAX || breaker->failed_in_a_row < breaker->settings.min_requests) {
        return false;
    }
    uint8_t most = 0;
    for (uint8_t caller = 1; caller < BREAKER_CALLERS; caller++) {
        most = breaker->row_failed[caller] > breaker->row_failed[most] ? caller : most;
    }
    uint32_t of_others = breaker->failed_in_a_row - breaker->row_failed[most];
    return of_others >= BREAKER_OTHERS_MIN || !others_are_well(breaker, most);
}

static bool is_failing(const struct breaker *breaker)
{
    struct tally all = tally_failed(breaker);
    return all.calls >= breaker->settings.min_requests &&
           is_reached_without_any(breaker, all, tally_failed_of, breaker->settings.open_at_permille);
}

static bool is_slow(const struct breaker *breaker)
{
    struct tally all = tally_slow(breaker);
    return all.calls >= breaker->settings.min_requests &&
           is_reached_without_any(breaker, all, tally_slow_of, breaker->settings.slow_at_permille);
}

/*
 * Where calls came often, and one that began then is overdue, it alone will do:
 * balancing leaves a silent endpoint alone, and five would not come together.
 * A slow call after a lull is no such thing.
 */
static bool fell_silent(const struct breaker *breaker, const struct breaker_flight *oldest)
{
    return breaker->answered_calls >= breaker->settings.min_requests &&
           elapsed_us(breaker->answered_us, oldest->began_us) < breaker->bucket_length_us;
}

/* Of this era so many can be overdue at once: places that calls of an era before still hold are not to be had. */
static uint32_t silent_min(const struct breaker *breaker)
{
    uint32_t past = breaker->in_flight - breaker->era_in_flight;
    uint32_t places = breaker->settings.places > past ? breaker->settings.places - past : 1;
    return places < BREAKER_SILENT_MIN ? places : BREAKER_SILENT_MIN;
}

/*
 * Younger calls are in flight as well, and answers came after the oldest began,
 * whenever a busy processor stops: neither says that it lives. An answer does,
 * and nothing else: callers that leave and calls that are given up are what silence is made of.
 */
static bool is_silent(const struct breaker *breaker, uint64_t now_us)
{
    if (breaker->overdue == 0 || elapsed_us(breaker->answered_us, now_us) <= breaker->settings.slow_us) {
        return false;
    }
    const struct breaker_flight *oldest = oldest_of(&breaker->flights_overdue);
    bool one_caller = breaker->callers_overdue[oldest->caller] == breaker->overdue;
    return (breaker->overdue >= silent_min(breaker) || fell_silent(breaker, oldest)) &&
           !(one_caller && others_are_well(breaker, oldest->caller));
}

static enum breaker_cause cause_to_open(const struct breaker *breaker, uint64_t now_us)
{
    if (is_unreached(breaker)) {
        return BREAKER_CAUSE_UNREACHED;
    }
    if (is_failing(breaker) || is_failing_in_a_row(breaker)) {
        return BREAKER_CAUSE_FAILURES;
    }
    if (is_slow(breaker)) {
        return BREAKER_CAUSE_SLOW;
    }
    return is_silent(breaker, now_us) ? BREAKER_CAUSE_SILENT : BREAKER_CAUSE_NONE;
}

/* ---- states ---- */

static void set_state(struct breaker *breaker, enum breaker_state state, enum breaker_cause cause, uint64_t now_us)
{
    breaker->change = (struct breaker_change){
        .from = breaker->state,
        .to = state,
        .cause = cause,
        .calls = breaker->ok + breaker->failed,
        .failed = breaker->failed,
        .slow = breaker->slow,
        .in_flight = breaker->in_flight,
        .overdue = breaker->overdue,
        .in_a_row = breaker->in_a_row,
        .failed_in_a_row = breaker->failed_in_a_row,
        .lasted_us = elapsed_us(breaker->since_us, now_us),
    };
    breaker->state = state;
    breaker->since_us = now_us;
}

static void enter_open(struct breaker *breaker, enum breaker_cause cause, uint64_t open_us, uint64_t now_us)
{
    set_state(breaker, BREAKER_OPEN, cause, now_us);
    breaker->change.open_us = open_us;
    breaker->until_us = now_us + open_us;
    breaker->checks_passed = 0;
    breaker->check_failed = false;
}

static void enter_stage(struct breaker *breaker, uint8_t stage, uint64_t now_us)
{
    window_clear(breaker, now_us);
    breaker->stage = stage;
    breaker->stage_us = now_us;
    breaker->stage_called = false;
    breaker->stage_call_us = now_us;
    breaker->owed = 0;
}

static void enter_half_open(struct breaker *breaker, enum breaker_cause cause, uint64_t now_us)
{
    set_state(breaker, BREAKER_HALF_OPEN, cause, now_us);
    era_begin(breaker);
    enter_stage(breaker, 0, now_us);
    breaker->excused = 0;
}

static void enter_closed(struct breaker *breaker, enum breaker_cause cause, uint64_t now_us)
{
    set_state(breaker, BREAKER_CLOSED, cause, now_us);
    window_clear(breaker, now_us);
    breaker->decay_us = now_us;
    breaker->decay_calls = breaker->decay_failed = 0;
    breaker->probe_caller = 0;
}

/* 3/4 to 5/4 of what is due. */
static uint64_t open_time_us(const struct breaker *breaker, uint64_t random)
{
    uint64_t open_us = breaker->settings.open_for_us << (breaker->opened_count - 1);
    open_us = open_us < breaker->settings.open_max_us ? open_us : breaker->settings.open_max_us;
    return open_us - open_us / 4 + (open_us >= 2 ? random % (open_us / 2) : 0);
}

static bool open_by_itself(struct breaker *breaker, enum breaker_cause cause, uint64_t random, uint64_t now_us)
{
    if (breaker->opened_count < BREAKER_OPENED_MAX) {
        breaker->opened_count++;
    }
    enter_open(breaker, cause, open_time_us(breaker, random), now_us);
    return true;
}

static bool several_call(const struct breaker *breaker)
{
    int count = 0;
    for (int i = 0; i < BREAKER_CALLERS && count < 2; i++) {
        count += breaker->callers_ok[i] + breaker->callers_failed[i] + breaker->callers_overdue[i] > 0;
    }
    return count == 2;
}

static bool judge_closed(struct breaker *breaker, uint64_t random, uint64_t now_us)
{
    enum breaker_cause cause = cause_to_open(breaker, now_us);
    if (cause == BREAKER_CAUSE_NONE) {
        return false;
    }
    breaker->opened_many = several_call(breaker);
    return open_by_itself(breaker, cause, random, now_us);
}

/* Time alone is no evidence: calls must have come, and gone well. */
static void decay(struct breaker *breaker, uint64_t now_us)
{
    if (breaker->opened_count == 0 || elapsed_us(breaker->decay_us, now_us) < BREAKER_DECAY_US) {
        return;
    }
    uint64_t calls = breaker->decay_calls;
    if (calls > 0 && calls >= breaker->settings.min_requests &&
        (uint64_t)breaker->decay_failed * 2 * WHOLE_PERMILLE < breaker->settings.open_at_permille * calls) {
        breaker->opened_count--;
    }
    breaker->decay_us = now_us;
    breaker->decay_calls = breaker->decay_failed = 0;
}

/* ---- stages ---- */

/* True: that was the last. */
static bool stage_advance(struct breaker *breaker, uint64_t now_us)
{
    bool lasted = breaker->stage == 0 || elapsed_us(breaker->stage_us, now_us) >= BREAKER_STAGE_US;
    if (breaker->ok < stages[breaker->stage].successes || !lasted) {
        return false;
    }
    if (breaker->stage + 1 < BREAKER_STAGES) {
        enter_stage(breaker, (uint8_t)(breaker->stage + 1), now_us);
        return false;
    }
    enter_closed(breaker, BREAKER_CAUSE_RECOVERED, now_us);
    return true;
}

/*
 * The caller that failed the last probe fails again, among others: that says
 * nothing new about the processor, and he would keep it open for all of them.
 */
static bool is_excused(struct breaker *breaker, uint8_t caller, enum breaker_outcome outcome)
{
    if (outcome != BREAKER_FAILED || !breaker->opened_many || breaker->probe_caller != caller + 1 ||
        breaker->stage >= STAGE_OF_SHARES || breaker->excused == BREAKER_EXCUSED_MAX) {
        return false;
    }
    breaker->excused++;
    return true;
}

static bool stage_failed(const struct breaker *breaker)
{
    struct tally all = tally_failed(breaker);
    return breaker->stage < STAGE_OF_SHARES ||
           (all.calls >= STAGE_CALLS_MIN &&
            is_reached_without_any(breaker, all, tally_failed_of, STAGE_FAILED_PERMILLE));
}

/* A probe that is slow has failed, whatever it brought. */
static bool judge_probe(struct breaker *breaker, uint8_t caller, enum breaker_outcome outcome, uint64_t random,
                        uint64_t now_us)
{
    breaker->stage_call_us = now_us;
    if (outcome == BREAKER_NEUTRAL || is_excused(breaker, caller, outcome)) {
        return false;
    }
    count_outcome(breaker, caller, outcome, outcome == BREAKER_TIMED_OUT);
    if (outcome == BREAKER_OK) {
        return stage_advance(breaker, now_us);
    }
    if (!stage_failed(breaker)) {
        return false;
    }
    breaker->probe_caller = outcome == BREAKER_FAILED ? (uint8_t)(caller + 1) : 0;
    return open_by_itself(breaker, BREAKER_CAUSE_PROBE, random, now_us);
}

static bool may_be_first(const struct breaker *breaker, enum breaker_rank rank, uint64_t now_us)
{
    uint64_t waited_us = elapsed_us(breaker->since_us, now_us);
    /* A result of a check ends this stage, one way or the other: past that time there was none, and none is to come. */
    bool left_to_checks = breaker->settings.checked && waited_us < BREAKER_WAIT_BARE_US + breaker->settings.check_us;
    switch (rank) {
    case BREAKER_BY_READ:
        return true;
    case BREAKER_BY_KEYED:
        return !left_to_checks && waited_us >= BREAKER_WAIT_KEYED_US;
    case BREAKER_BY_BARE:
        return !left_to_checks && waited_us >= BREAKER_WAIT_BARE_US;
    }
    return false;
}

/*
 * What is owed while there is no room is kept, up to one call. Once a stage has
 * lasted, it lets one call at a time through whatever its share: where calls
 * are rare, a twentieth of them would keep a processor out for minutes.
 */
static bool stage_admits(struct breaker *breaker, enum breaker_rank rank, uint64_t now_us)
{
    uint32_t probes = breaker->era_in_flight - breaker->overdue; /* an overdue one has failed already */
    bool room = probes < stages[breaker->stage].calls;
    if (breaker->stage == 0) {
        return room && may_be_first(breaker, rank, now_us);
    }
    breaker->owed += stages[breaker->stage].share_permille;
    if (breaker->owed >= WHOLE_PERMILLE) {
        breaker->owed = room ? breaker->owed - WHOLE_PERMILLE : WHOLE_PERMILLE;
        return room;
    }
    return probes == 0 && elapsed_us(breaker->stage_us, now_us) >= BREAKER_STAGE_US;
}

/* ---- asked and told ---- */

static uint64_t bucket_length_of(uint64_t window_us)
{
    return window_us >= BREAKER_BUCKETS ? window_us / BREAKER_BUCKETS : 1;
}

void breaker_init(struct breaker *breaker, const struct breaker_settings *settings, uint64_t now_us)
{
    *breaker = (struct breaker){
        .settings = *settings,
        .since_us = now_us,
        .bucket_length_us = bucket_length_of(settings->window_us),
        .bucket_us = now_us,
        .decay_us = now_us,
    };
    list_init(&breaker->flights);
    list_init(&breaker->flights_overdue);
    list_init(&breaker->flights_past);
}

void breaker_configure(struct breaker *breaker, const struct breaker_settings *settings, uint64_t now_us)
{
    bool same_window = settings->window_us == breaker->settings.window_us;
    breaker->settings = *settings;
    if (!same_window) {
        breaker->bucket_length_us = bucket_length_of(settings->window_us);
        window_clear(breaker, now_us);
    }
}

bool breaker_admits(struct breaker *breaker, enum breaker_rank rank, uint64_t now_us)
{
    switch (breaker->state) {
    case BREAKER_CLOSED:
        return true;
    case BREAKER_HALF_OPEN:
        return stage_admits(breaker, rank, now_us);
    case BREAKER_OPEN:
    case BREAKER_STATE_COUNT:
        break;
    }
    return false;
}

void breaker_begin(struct breaker *breaker, struct breaker_flight *flight, uint32_t caller, uint64_t now_us)
{
    *flight = (struct breaker_flight){
        .began_us = now_us,
        .era = breaker->era,
        .caller = (uint8_t)(caller % BREAKER_CALLERS),
    };
    list_init(&flight->in_flights);
    list_push_back(&breaker->flights, &flight->in_flights);
    breaker->in_flight++;
    breaker->era_in_flight++;
    if (!breaker->stage_called) { /* a stage lasts from its first call: until then checks may have kept calls away */
        breaker->stage_us = now_us;
        breaker->stage_called = true;
    }
    breaker->stage_call_us = now_us;
}

bool breaker_end(struct breaker *breaker, struct breaker_flight *flight, enum breaker_outcome outcome, uint64_t random,
                 uint64_t now_us)
{
    bool slow = outcome == BREAKER_TIMED_OUT || elapsed_us(flight->began_us, now_us) > breaker->settings.slow_us ||
                flight->overdue;
    window_slide(breaker, now_us);
    flight_leave(breaker, flight);
    bool answered = outcome == BREAKER_OK || outcome == BREAKER_FAILED;
    breaker->answered_us = answered ? now_us : breaker->answered_us;
    if (flight->era != breaker->era) {
        return false;
    }
    if (breaker->state == BREAKER_HALF_OPEN) {
        outcome = slow ? BREAKER_TIMED_OUT : outcome;
        return !flight->overdue && judge_probe(breaker, flight->caller, outcome, random, now_us);
    }
    count_outcome(breaker, flight->caller, outcome, slow);
    breaker->answered_calls = answered ? breaker->ok + breaker->failed : breaker->answered_calls;
    count_in_a_row(breaker, flight->caller, outcome);
    count_failed_in_a_row(breaker, flight->caller, outcome);
    if (breaker->state != BREAKER_CLOSED || breaker->forced != BREAKER_AUTO) {
        return false;
    }
    decay(breaker, now_us);
    return judge_closed(breaker, random, now_us);
}

static bool checked_open(struct breaker *breaker, bool passed, uint64_t now_us)
{
    breaker->check_failed = breaker->check_failed || !passed;
    if (!passed) {
        breaker->checks_passed = 0;
    } else if (breaker->checks_passed < CHECKS_TO_PROBE) {
        breaker->checks_passed++;
    }
    if (breaker->checks_passed < CHECKS_TO_PROBE || (breaker->opened_count > 1 && !breaker->check_failed)) {
        return false;
    }
    enter_half_open(breaker, BREAKER_CAUSE_CHECKS, now_us);
    return true;
}

/* Behind the first stage a check supplies a success that is missing, never the only one. */
static bool checked_half_open(struct breaker *breaker, bool passed, uint64_t random, uint64_t now_us)
{
    if (breaker->stage == 0) {
        if (!passed) {
            breaker->probe_caller = 0;
            return open_by_itself(breaker, BREAKER_CAUSE_PROBE, random, now_us);
        }
        count_call(breaker, NOBODY, false, false);
        return stage_advance(breaker, now_us);
    }
    if (!passed || breaker->ok == 0 || elapsed_us(breaker->stage_call_us, now_us) < BREAKER_IDLE_US) {
        return false;
    }
    count_call(breaker, NOBODY, false, false);
    return stage_advance(breaker, now_us);
}

bool breaker_checked(struct breaker *breaker, bool passed, uint64_t random, uint64_t now_us)
{
    window_slide(breaker, now_us);
    if (breaker->forced != BREAKER_AUTO) {
        return false;
    }
    switch (breaker->state) {
    case BREAKER_OPEN:
        return checked_open(breaker, passed, now_us);
    case BREAKER_HALF_OPEN:
        return checked_half_open(breaker, passed, random, now_us);
    case BREAKER_CLOSED:
    case BREAKER_STATE_COUNT:
        break;
    }
    return false;
}

/* True: one of them was a probe, and its silence opened the breaker. */
static bool turn_flights(struct breaker *breaker, uint64_t random, uint64_t now_us)
{
    struct breaker_flight *flight;

    while ((flight = list_first(&breaker->flights, struct breaker_flight, in_flights)) != NULL &&
           elapsed_us(flight->began_us, now_us) > breaker->settings.slow_us) {
        flight_is_overdue(breaker, flight);
        if (breaker->state == BREAKER_HALF_OPEN &&
            judge_probe(breaker, flight->caller, BREAKER_TIMED_OUT, random, now_us)) {
            return true;
        }
    }
    return false;
}

/* Nobody's word counts any more: what was open is probed, what was closed begins anew. */
static void release(struct breaker *breaker, enum breaker_cause cause, uint64_t now_us)
{
    bool was_open = breaker->forced == BREAKER_FORCED_OPEN;
    breaker->forced = BREAKER_AUTO;
    breaker->forced_until_us = 0;
    if (was_open) {
        enter_half_open(breaker, cause, now_us);
    } else {
        enter_closed(breaker, cause, now_us);
        era_begin(breaker);
    }
}

bool breaker_turn(struct breaker *breaker, uint64_t random, uint64_t now_us)
{
    window_slide(breaker, now_us);
    if (turn_flights(breaker, random, now_us)) {
        return true;
    }
    if (breaker->forced != BREAKER_AUTO) {
        if (now_us < breaker->forced_until_us) {
            return false;
        }
        release(breaker, BREAKER_CAUSE_EXPIRED, now_us);
        return true;
    }
    switch (breaker->state) {
    case BREAKER_CLOSED:
        decay(breaker, now_us);
        return judge_closed(breaker, random, now_us);
    case BREAKER_OPEN:
        if (now_us < breaker->until_us) {
            return false;
        }
        enter_half_open(breaker, BREAKER_CAUSE_TIME, now_us);
        return true;
    case BREAKER_HALF_OPEN:
        return stage_advance(breaker, now_us);
    case BREAKER_STATE_COUNT:
        break;
    }
    return false;
}

bool breaker_force(struct breaker *breaker, enum breaker_forced forced, uint64_t until_us, uint64_t now_us)
{
    bool said_before = forced == breaker->forced;
    switch (forced) {
    case BREAKER_AUTO:
        if (!said_before) {
            release(breaker, BREAKER_CAUSE_OPERATOR, now_us);
        }
        return !said_before;
    case BREAKER_FORCED_OPEN:
        if (!said_before) {
            enter_open(breaker, BREAKER_CAUSE_OPERATOR, elapsed_us(now_us, until_us), now_us);
        }
        breaker->until_us = until_us;
        break;
    case BREAKER_FORCED_CLOSED:
        if (!said_before) {
            enter_closed(breaker, BREAKER_CAUSE_OPERATOR, now_us);
        }
        break;
    }
    breaker->forced = forced;
    breaker->forced_until_us = until_us;
    return !said_before;
}

bool breaker_rests(const struct breaker *breaker)
{
    return breaker->state == BREAKER_CLOSED && breaker->forced == BREAKER_AUTO && breaker->in_flight == 0;
}

uint64_t breaker_wait_us(const struct breaker *breaker, uint64_t now_us)
{
    uint64_t wait_us = breaker->state == BREAKER_OPEN        ? elapsed_us(now_us, breaker->until_us)
                       : breaker->state == BREAKER_HALF_OPEN ? WAIT_US
                                                             : 0;
    return wait_us > 0 ? wait_us : 1;
}

uint64_t breaker_oldest_us(const struct breaker *breaker)
{
    const struct list *lists[] = {&breaker->flights_past, &breaker->flights_overdue, &breaker->flights};

    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        const struct breaker_flight *oldest = oldest_of(lists[i]);
        if (oldest != NULL) {
            return oldest->began_us;
        }
    }
    return 0;
}

/* ---- statuses ---- */

static bool says_nothing(uint16_t status)
{
    return status == 408 || status == 421 || status == 425 || status == 429;
}

static bool is_of_gateway(uint16_t status)
{
    return status == 502 || status == 503 || status == 504;
}

enum breaker_outcome breaker_outcome_of_endpoint(uint16_t status)
{
    return says_nothing(status) ? BREAKER_NEUTRAL : is_of_gateway(status) ? BREAKER_FAILED : BREAKER_OK;
}

enum breaker_outcome breaker_outcome_of_route(uint16_t status)
{
    if (says_nothing(status) || is_of_gateway(status)) {
        return BREAKER_NEUTRAL;
    }
    return status == 500 ? BREAKER_FAILED : BREAKER_OK;
}
