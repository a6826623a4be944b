/*
 * Tells random stories of payment records three times and compares: what
 * idem_apply says is right, the embedded store and the Redis scripts must say
 * the same, and must leave the same records behind.
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

/* Differences that are told; it ends then. */
#define TOLD_MAX 20
#define TOLD_BYTES 20

static const char *const kind_names[IDEM_OP_COUNT] = {"BEGIN", "RENEW", "COMPLETE", "MARK", "ABANDON", "RESOLVE", "LAPSE", "READ"};

/* ---- telling differences ---- */

static void tell_place(const char *subject, const struct story *story, int step)
{
    if (step == STORY_STEPS) {
        fprintf(stderr, "%s: story %llu, at its end: ", subject, (unsigned long long)story->number);
        return;
    }
    fprintf(stderr, "%s: story %llu, step %d (key %d, %s): ", subject, (unsigned long long)story->number, step,
            story->steps[step].key, kind_names[story->steps[step].op.kind]);
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
           differs_number(subject, story, step, "takeovers", right->takeovers, told->takeovers);
}

static void tell_story(const struct story *story)
{
    fprintf(stderr, "story %llu, as it is right:\n", (unsigned long long)story->number);
    for (int i = 0; i < story->step_count; i++) {
        const struct step *step = &story->steps[i];
        fprintf(stderr, "  %2d  +%-7llu key %d owner %d  %-8s -> %-10s %s%s%s\n", i,
                (unsigned long long)(step->now_ms - story->steps[0].now_ms), step->key, step->op.owner[0],
                kind_names[step->op.kind], idem_verdict_name(step->result.verdict), idem_state_name(step->result.state),
                step->result.told_now ? ", told" : "", step->result.resolved_now ? ", resolved" : "");
    }
}

/* ---- the run ---- */

struct run {
    uint64_t sequences, seed, only;
    uint64_t told, operations, differences;
    uint64_t verdicts[IDEM_OP_COUNT][IDEM_VERDICT_COUNT]; /* how often each came: what never comes is not compared */
    bool broken;
};

static void count(struct run *run, const struct story *story)
{
    for (int i = 0; i < story->step_count; i++) {
        run->verdicts[story->steps[i].op.kind][story->steps[i].result.verdict]++;
    }
    run->told++;
    run->operations += (uint64_t)story->step_count;
}

static void tell_all(struct run *run)
{
    static struct story story;
    uint64_t first = run->only != UINT64_MAX ? run->only : 0;
    uint64_t last = run->only != UINT64_MAX ? run->only + 1 : run->sequences;

    for (uint64_t number = first; number < last && run->differences < TOLD_MAX && !run->broken; number++) {
        story_make(&story, run->seed, number);
        int of_embedded = embedded_tell(&story);
        int of_redis = redis_tell(&story);
        run->broken = of_embedded < 0 || of_redis < 0;
        if (of_embedded > 0 || of_redis > 0) {
            run->differences += (uint64_t)(of_embedded + of_redis);
            tell_story(&story);
        }
        count(run, &story);
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
        {IDEM_BEGIN, IDEM_MISMATCH},   {IDEM_RENEW, IDEM_OK},           {IDEM_RENEW, IDEM_LOST},
        {IDEM_RENEW, IDEM_NONE},       {IDEM_COMPLETE, IDEM_OK},        {IDEM_COMPLETE, IDEM_ALREADY},
        {IDEM_COMPLETE, IDEM_CONFLICT}, {IDEM_COMPLETE, IDEM_REASSERTED}, {IDEM_MARK, IDEM_OK},
        {IDEM_MARK, IDEM_LOST},        {IDEM_MARK, IDEM_ALREADY},       {IDEM_MARK, IDEM_CONFLICT},
        {IDEM_MARK, IDEM_REASSERTED},  {IDEM_ABANDON, IDEM_OK},         {IDEM_ABANDON, IDEM_LOST},
        {IDEM_ABANDON, IDEM_REFUSED},  {IDEM_RESOLVE, IDEM_OK},         {IDEM_RESOLVE, IDEM_REFUSED},
        {IDEM_RESOLVE, IDEM_ALREADY},  {IDEM_RESOLVE, IDEM_NONE},       {IDEM_LAPSE, IDEM_OK},
        {IDEM_LAPSE, IDEM_EXPIRED},    {IDEM_READ, IDEM_OK},            {IDEM_READ, IDEM_NONE},
    };
    int missing = 0;

    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        if (run->verdicts[all[i].kind][all[i].verdict] == 0) {
            fprintf(stderr, "no %s ever came to %s\n", kind_names[all[i].kind], idem_verdict_name(all[i].verdict));
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
