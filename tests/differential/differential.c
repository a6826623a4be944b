/*
 * Tells random stories of payment records and limits three times and compares:
 * what idem_apply and limit_apply say is right, the embedded store and the Redis
 * scripts must say the same, and must leave the same records and buckets behind.
 * Redis is not told the stories in which a record is bound to another processor.
 *
 *   store-differential [--sequences N] [--seed S] [--only NUMBER]
 *
 * Says 'differential: N sequences, M operations, 0 differences', then 'N passed,
 * M failed'. A difference is told with the story that led to it; --only tells
 * that one again.
 */
#include "differential.h"

#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Behind each of so many stories stands one in which records are bound to other processors. */
#define MOVES_EVERY 4
/* Differences that are told; it ends then. */
#define TOLD_MAX 20
#define TOLD_BYTES 20

static const char *const kind_names[IDEM_OP_COUNT] = {"BEGIN", "RENEW", "COMPLETE", "MARK", "ABANDON", "RESOLVE", "LAPSE", "READ",
                                                      "REBIND"};

/* ---- telling differences ---- */

static void tell_place(const char *subject, const struct story *story, int step)
{
    if (step == STORY_STEPS) {
        fprintf(stderr, "%s: story %llu, at its end: ", subject, (unsigned long long)story->number);
        return;
    }
    const struct step *at = &story->steps[step];
    fprintf(stderr, "%s: story %llu, step %d (key %d, %s): ", subject, (unsigned long long)story->number, step, at->key,
            at->alone ? "a limit alone" : kind_names[at->op.kind]);
}

int differs_number(const char *subject, const struct story *story, int step, const char *field, uint64_t right, uint64_t told)
{
    if (right == told) {
        return 0;
    }
    tell_place(subject, story, step);
    fprintf(stderr, "%s is %llu, not %llu\n", field, (unsigned long long)told, (unsigned long long)right);
    return 1;
}

/* Words as they are, all else in hex; the first bytes of them. */
static void tell_bytes(struct bytes bytes)
{
    bool words = true;

    for (size_t i = 0; i < bytes.len && i < TOLD_BYTES; i++) {
        words = words && bytes.at[i] >= ' ' && bytes.at[i] <= '~';
    }
    for (size_t i = 0; i < bytes.len && i < TOLD_BYTES; i++) {
        (void)(words ? fprintf(stderr, "%c", bytes.at[i]) : fprintf(stderr, "%02x", (unsigned char)bytes.at[i]));
    }
    fprintf(stderr, " (%zu bytes)", bytes.len);
}

int differs_bytes(const char *subject, const struct story *story, int step, const char *field, struct bytes right, struct bytes told)
{
    if (bytes_equal(right, told)) {
        return 0;
    }
    tell_place(subject, story, step);
    fprintf(stderr, "%s is ", field);
    tell_bytes(told);
    fprintf(stderr, ", not ");
    tell_bytes(right);
    fprintf(stderr, "\n");
    return 1;
}

int differs_told(const char *subject, const struct story *story, int step, const struct limit_told *right, const struct limit_told *told)
{
    return differs_number(subject, story, step, "fits", right->fits, told->fits) +
           differs_number(subject, story, step, "remaining", right->remaining, told->remaining) +
           differs_number(subject, story, step, "reset_us", right->reset_us, told->reset_us) +
           differs_number(subject, story, step, "wait_us", right->wait_us, told->wait_us);
}

static int differs_limits(const char *subject, const struct story *story, int step, const struct idem_result *right, const struct idem_result *told)
{
    int differences = differs_number(subject, story, step, "limit_count", (uint64_t)right->limit_count, (uint64_t)told->limit_count);

    for (int i = 0; i < right->limit_count && differences == 0; i++) {
        differences += differs_told(subject, story, step, &right->limits[i], &told->limits[i]);
    }
    return differences;
}

int differs_result(const char *subject, const struct story *story, int step, const struct idem_result *right, const struct idem_result *told)
{
    if (right->verdict != told->verdict) {
        tell_place(subject, story, step);
        fprintf(stderr, "%s, not %s\n", idem_verdict_name(told->verdict), idem_verdict_name(right->verdict));
        return 1;
    }
    return differs_number(subject, story, step, "told_now", right->told_now, told->told_now) +
           differs_number(subject, story, step, "resolved_now", right->resolved_now, told->resolved_now) +
           differs_number(subject, story, step, "state", right->state, told->state) +
           differs_bytes(subject, story, step, "processor", bytes_from_text(right->processor), bytes_from_text(told->processor)) +
           differs_bytes(subject, story, step, "request_id", bytes_from_text(right->request_id), bytes_from_text(told->request_id)) +
           differs_bytes(subject, story, step, "upstream_key", right->upstream_key, told->upstream_key) +
           differs_number(subject, story, step, "status", right->status, told->status) +
           differs_bytes(subject, story, step, "answer", right->answer, told->answer) +
           differs_number(subject, story, step, "age_ms", right->age_ms, told->age_ms) +
           differs_number(subject, story, step, "left_ms", right->left_ms, told->left_ms) +
           differs_number(subject, story, step, "done_ms", right->done_ms, told->done_ms) +
           differs_number(subject, story, step, "since_ms", right->since_ms, told->since_ms) +
           differs_number(subject, story, step, "unknown_ms", right->unknown_ms, told->unknown_ms) +
           differs_number(subject, story, step, "takeovers", right->takeovers, told->takeovers) +
           differs_limits(subject, story, step, right, told);
}

static void tell_ask(const struct limit_ref *ref, const struct step *step)
{
    fprintf(stderr, "        limit %.4s at %llu us: %llu units, drain %llu, burst %llu, cost %llu, flags %u\n", ref->limit.at,
            (unsigned long long)step->now_us, (unsigned long long)ref->ask.rate.units, (unsigned long long)ref->ask.rate.drain,
            (unsigned long long)ref->ask.rate.burst, (unsigned long long)ref->ask.cost, ref->ask.flags);
}

static void tell_alone(const struct story *story, int index)
{
    const struct step *step = &story->steps[index];

    fprintf(stderr, "  %2d  a limit alone, %llu wanted: %llu granted\n", index, (unsigned long long)step->want,
            (unsigned long long)step->granted);
    tell_ask(&step->limits[0], step);
}

static void tell_story(const struct story *story)
{
    fprintf(stderr, "story %llu%s, as it is right:\n", (unsigned long long)story->number, story->moves ? ", with moves" : "");
    for (int i = 0; i < story->step_count; i++) {
        const struct step *step = &story->steps[i];
        if (step->alone) {
            tell_alone(story, i);
            continue;
        }
        fprintf(stderr, "  %2d  +%-7llu key %d owner %d  %-8s -> %-10s %s%s%s\n", i,
                (unsigned long long)(step->now_ms - story->steps[0].now_ms), step->key, step->op.owner[0],
                kind_names[step->op.kind], idem_verdict_name(step->result.verdict), idem_state_name(step->result.state),
                step->result.told_now ? ", told" : "", step->result.resolved_now ? ", resolved" : "");
        for (int limit = 0; limit < step->op.limit_count; limit++) {
            tell_ask(&step->limits[limit], step);
        }
    }
}

/* ---- the run ---- */

/* What must happen to limits. */
enum { HAPPENED_LEASE, HAPPENED_NO_LEASE, HAPPENED_FITS, HAPPENED_NO_FIT, HAPPENED_CHARGE, HAPPENED_NEVER, HAPPENED_SHADOW, HAPPENED_BACK,
       HAPPENED_COUNT };

static const char *const happened_names[HAPPENED_COUNT] = {
    "lease that was granted", "lease that was refused", "check that fitted", "check that did not fit", "forced charge",
    "cost above the burst", "shadow that would have refused", "clock that stepped back",
};

struct run {
    uint64_t sequences, seed, only;
    uint64_t told, operations, differences;
    uint64_t verdicts[IDEM_OP_COUNT][IDEM_VERDICT_COUNT]; /* how often each came: what never comes is not compared */
    uint64_t happened[HAPPENED_COUNT];                    /* the same of limits */
    bool broken;
};

static void count_alone(struct run *run, const struct step *step)
{
    unsigned flags = step->limits[0].ask.flags;

    if ((flags & LIMIT_CHECK) != 0) {
        run->happened[step->granted > 0 ? HAPPENED_FITS : HAPPENED_NO_FIT]++;
    } else if ((flags & LIMIT_FORCE) != 0) {
        run->happened[HAPPENED_CHARGE]++;
    } else {
        run->happened[step->granted > 0 ? HAPPENED_LEASE : HAPPENED_NO_LEASE]++;
    }
}

static void count_limits(struct run *run, const struct step *step)
{
    for (int i = 0; i < step->result.limit_count; i++) {
        bool refused = !step->result.limits[i].fits;
        bool shadow = (step->limits[i].ask.flags & LIMIT_SHADOW) != 0;
        run->happened[HAPPENED_SHADOW] += refused && shadow && step->result.verdict == IDEM_NEW;
        run->happened[HAPPENED_NEVER] += step->result.limits[i].wait_us == LIMIT_NEVER;
    }
}

static void count(struct run *run, const struct story *story)
{
    for (int i = 0; i < story->step_count; i++) {
        const struct step *step = &story->steps[i];
        run->happened[HAPPENED_BACK] += i > 0 && step->now_us < story->steps[i - 1].now_us;
        if (step->alone) {
            count_alone(run, step);
            continue;
        }
        count_limits(run, step);
        run->verdicts[step->op.kind][step->result.verdict]++;
    }
    run->told++;
    run->operations += (uint64_t)story->step_count;
}

static void tell_one(struct run *run, uint64_t number, bool moves)
{
    static struct story story;
    story_make(&story, run->seed, number, moves);
    int of_embedded = embedded_tell(&story);
    int of_redis = redis_tell(&story);

    run->broken = of_embedded < 0 || of_redis < 0;
    if (of_embedded > 0 || of_redis > 0) {
        run->differences += (uint64_t)(of_embedded + of_redis);
        tell_story(&story);
    }
    count(run, &story);
}

static void tell_all(struct run *run)
{
    uint64_t first = run->only != UINT64_MAX ? run->only : 0;
    uint64_t last = run->only != UINT64_MAX ? run->only + 1 : run->sequences;

    for (uint64_t number = first; number < last && run->differences < TOLD_MAX && !run->broken; number++) {
        tell_one(run, number, false);
        if (number % MOVES_EVERY == 0 && !run->broken) {
            tell_one(run, number, true);
        }
    }
}

/* Every verdict that an operation has came up: else the stories are too poor to be worth telling. */
static int missing_verdicts(const struct run *run)
{
    static const struct {
        enum idem_op_kind kind;
        enum idem_verdict verdict;
    } all[] = {
        {IDEM_BEGIN, IDEM_NEW},        {IDEM_BEGIN, IDEM_TAKEN_OVER},   {IDEM_BEGIN, IDEM_REPLAY},
        {IDEM_BEGIN, IDEM_RECEIPT},    {IDEM_BEGIN, IDEM_BUSY},         {IDEM_BEGIN, IDEM_STUCK},
        {IDEM_BEGIN, IDEM_MISMATCH},   {IDEM_BEGIN, IDEM_LIMITED},
        {IDEM_RENEW, IDEM_OK},           {IDEM_RENEW, IDEM_LOST},
        {IDEM_RENEW, IDEM_NONE},       {IDEM_COMPLETE, IDEM_OK},        {IDEM_COMPLETE, IDEM_ALREADY},
        {IDEM_COMPLETE, IDEM_CONFLICT}, {IDEM_COMPLETE, IDEM_REASSERTED}, {IDEM_MARK, IDEM_OK},
        {IDEM_MARK, IDEM_LOST},        {IDEM_MARK, IDEM_ALREADY},       {IDEM_MARK, IDEM_CONFLICT},
        {IDEM_MARK, IDEM_REASSERTED},  {IDEM_ABANDON, IDEM_OK},         {IDEM_ABANDON, IDEM_LOST},
        {IDEM_ABANDON, IDEM_REFUSED},  {IDEM_RESOLVE, IDEM_OK},         {IDEM_RESOLVE, IDEM_REFUSED},
        {IDEM_RESOLVE, IDEM_ALREADY},  {IDEM_RESOLVE, IDEM_NONE},       {IDEM_LAPSE, IDEM_OK},
        {IDEM_LAPSE, IDEM_EXPIRED},    {IDEM_READ, IDEM_OK},            {IDEM_READ, IDEM_NONE},
        {IDEM_REBIND, IDEM_OK},        {IDEM_REBIND, IDEM_LOST},        {IDEM_REBIND, IDEM_REFUSED},
        {IDEM_REBIND, IDEM_NONE},
    };
    int missing = 0;

    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        if (run->verdicts[all[i].kind][all[i].verdict] == 0) {
            fprintf(stderr, "no %s ever came to %s\n", kind_names[all[i].kind], idem_verdict_name(all[i].verdict));
            missing++;
        }
    }
    for (int i = 0; i < HAPPENED_COUNT; i++) {
        if (run->happened[i] == 0) {
            fprintf(stderr, "no %s ever came\n", happened_names[i]);
            missing++;
        }
    }
    return missing;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static uint64_t number_argument(const char *text)
{
    uint64_t value = 0;

    if (!bytes_to_u64(bytes_from_text(text), &value)) {
        fprintf(stderr, "usage: store-differential [--sequences N] [--seed S] [--only NUMBER]\n");
        exit(64);
    }
    return value;
}

static void read_arguments(struct run *run, int count_, char **arguments)
{
    static const struct option options[] = {
        {"sequences", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(count_, arguments, "", options, NULL)) != -1) {
        const char *value = option == '?' ? "" : optarg;
        uint64_t *field = option == 's' ? &run->seed : option == 'o' ? &run->only : &run->sequences;
        *field = number_argument(value);
    }
}

int main(int count_, char **arguments)
{
    struct run run = {.sequences = 2000, .seed = 1, .only = UINT64_MAX};
    char folder[] = P_tmpdir "/weir-differential-XXXXXX";

    read_arguments(&run, count_, arguments);
    if (mkdtemp(folder) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    run.broken = !embedded_open(folder) || !redis_open(folder);
    if (!run.broken) {
        tell_all(&run);
    }
    redis_close();
    embedded_close();
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    int missing = run.only != UINT64_MAX ? 0 : missing_verdicts(&run);
    bool failed = run.broken || run.differences > 0 || missing > 0;
    printf("differential: %llu sequences, %llu operations, %llu differences\n", (unsigned long long)run.told,
           (unsigned long long)run.operations, (unsigned long long)run.differences);
    printf("%d passed, %d failed\n", failed ? 0 : 1, failed ? 1 : 0);
    return failed ? 1 : 0;
}
