/*
 * Limits in the embedded store: charged with the record that they are asked
 * for, or by a question of their own, and never by what is refused, replayed or
 * taken back. The table that holds them has its own test (embedded_buckets).
 */
#include "embedded_faults.h"
#include "embedded_limit_support.h"

#define BURST 10u

static struct scene scene;

static int setup(void **state)
{
    (void)state;
    set_fault(FAULT_NONE, 0);
    atomic_store(&clock_step_us, 0);
    scene_init(&scene, LMDB_SIZE_MIN);
    scene_open(&scene);
    scene_ready(&scene);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    set_fault(FAULT_NONE, 0);
    scene_end(&scene);
    return 0;
}

/* ---- questions about a limit alone ---- */

struct question {
    bool done;
    enum store_status status;
    uint64_t granted;
    struct limit_told told;
    int *count;                         /* NULL: nobody counts */
    struct store_limit_call *forgets;   /* NULL, or what its answer makes nobody wait for */
    struct limit_ref *repeats;          /* NULL, or what its answer makes asked again */
};

static void on_question(void *owner, enum store_status status, uint64_t granted, const struct limit_told *told)
{
    struct question *question = owner;
    struct limit_ref *ref = question->repeats;

    assert_false(question->done);
    question->status = status;
    question->granted = granted;
    assert_int_equal(told != NULL, status == STORE_OK);
    if (told != NULL) {
        question->told = *told;
    }
    if (question->count != NULL) {
        ++*question->count;
    }
    if (question->forgets != NULL) {
        store_limit_forget(question->forgets);
    }
    if (ref != NULL) {
        question->repeats = NULL;
        assert_non_null(store_limit(scene.store, ref, 1, ASK_MS, on_question, question));
        return;
    }
    question->done = true;
}

static struct store_limit_call *question_start(const struct limit_ref *ref, uint64_t want, struct question *question)
{
    memset(question, 0, sizeof *question);
    struct store_limit_call *call = store_limit(scene.store, ref, want, ASK_MS, on_question, question);
    assert_non_null(call);
    assert_false(question->done); /* never inside */
    return call;
}

static struct question question(const struct limit_ref *ref, uint64_t want)
{
    struct question asked;

    (void)question_start(ref, want, &asked);
    UNTIL(scene.loop, asked.done);
    assert_int_equal(asked.status, STORE_OK);
    return asked;
}

/* Ten an hour: while a test runs it gives nothing back. */
static struct limit_ref writes_of(uint32_t caller)
{
    return ref_of("writes", caller, rate_of(BURST, HOUR_US, BURST), 1, 0);
}

static struct limit_ref flagged(struct limit_ref ref, unsigned flags)
{
    ref.ask.flags = flags;
    return ref;
}

/* What its caller may use now. */
static uint64_t left_of(const struct limit_ref *ref)
{
    struct limit_ref look = flagged(*ref, LIMIT_CHECK);
    return question(&look, 0).told.remaining;
}

static uint64_t left(uint32_t caller)
{
    struct limit_ref ref = writes_of(caller);
    return left_of(&ref);
}

static uint64_t prepay(uint32_t caller, uint64_t want)
{
    struct limit_ref ref = writes_of(caller);
    return question(&ref, want).granted;
}

/* ---- begins ---- */

/* On the n-th key, of caller 1, with these limits. */
static struct idem_op begin_of(uint32_t n, char owner, const struct limit_ref *refs, int count)
{
    struct idem_op op = op_of(IDEM_BEGIN, n, owner);
    op.limits = refs;
    op.limit_count = count;
    return op;
}

static struct asked begin(uint32_t n, char owner)
{
    struct limit_ref ref = writes_of(1);
    struct idem_op op = begin_of(n, owner, &ref, 1);
    return ask_op(&scene, &op);
}

static struct asked begin_with(uint32_t n, const struct limit_ref *refs, int count)
{
    struct idem_op op = begin_of(n, 'a', refs, count);
    return ask_op(&scene, &op);
}

static void test_a_begin_is_charged_to_all_its_limits_or_to_none(void **state)
{
    struct limit_ref refs[] = {writes_of(1), ref_of("tight", 1, rate_of(1, HOUR_US, 2), 1, 0)};
    uint64_t before = commits(&scene);

    (void)state;
    for (uint32_t n = 0; n < 2; n++) {
        struct asked asked = begin_with(n, refs, 2);
        assert_verdict(asked, IDEM_NEW);
        assert_int_equal(asked.result.limit_count, 2);
        assert_true(asked.result.limits[0].fits);
        assert_int_equal(asked.result.limits[0].remaining, BURST - 1 - n);
        assert_int_equal(asked.result.limits[1].remaining, 1 - n);
    }
    assert_int_equal(commits(&scene), before + 2);
    struct asked asked = begin_with(2, refs, 2);
    assert_verdict(asked, IDEM_LIMITED);
    assert_int_equal(asked.result.state, IDEM_ABSENT);
    assert_int_equal(asked.result.limit_count, 2);
    assert_true(asked.result.limits[0].fits);
    assert_int_equal(asked.result.limits[0].remaining, BURST - 2);
    assert_false(asked.result.limits[1].fits);
    assert_in_range(asked.result.limits[1].wait_us, HOUR_US - PATIENCE_US, HOUR_US);
    assert_int_equal(left(1), BURST - 2);
    assert_int_equal(commits(&scene), before + 2); /* nothing was written */
    assert_verdict(ask(&scene, IDEM_READ, 2, 'a'), IDEM_NONE);
    assert_verdict(begin_with(2, refs, 1), IDEM_NEW); /* the key stayed free */
}

/* Waiting as long as was told is enough, to the microsecond; the clock stands. */
static void test_the_wait_that_is_told_is_exact(void **state)
{
    struct limit_ref ref = ref_of("odd", 1, rate_of(7, 3 * CLOCK_US_PER_S, 3), 1, 0);
    struct limit_ref look = flagged(ref, LIMIT_CHECK);

    (void)state;
    for (uint32_t n = 0; n < 3; n++) {
        assert_verdict(begin_with(n, &ref, 1), IDEM_NEW);
    }
    /* The clock stands while the table is asked directly: the store's own timers would stand with it. */
    struct embedded_limits *limits = scene_embedded(&scene)->limits;
    struct limit_told told;
    atomic_store(&clock_stands_us, clock_now_us());
    (void)embedded_limits_ask(limits, &look, 0, &told);
    uint64_t wait_us = told.wait_us;
    assert_in_range(wait_us, 1, 3 * CLOCK_US_PER_S / 7 + 1);
    atomic_fetch_add(&clock_stands_us, wait_us - 1);
    assert_int_equal(embedded_limits_ask(limits, &look, 0, &told), 0);
    atomic_fetch_add(&clock_stands_us, 1);
    assert_int_equal(embedded_limits_ask(limits, &look, 0, &told), 1);
    atomic_store(&clock_step_us, atomic_load(&clock_step_us) + wait_us);
    atomic_store(&clock_stands_us, 0);
    assert_verdict(begin_with(3, &ref, 1), IDEM_NEW);
}

static void test_what_finds_a_record_charges_nothing(void **state)
{
    static const enum idem_verdict verdicts[] = {IDEM_BUSY, IDEM_TAKEN_OVER, IDEM_NEW, IDEM_REPLAY, IDEM_MISMATCH};
    struct limit_ref ref = writes_of(1);

    (void)state;
    for (int i = 0; i < (int)ARRAY_COUNT(verdicts); i++) {
        uint32_t n = 10 + (uint32_t)i;
        struct idem_op again = begin_of(n, verdicts[i] == IDEM_NEW ? 'a' : 'b', &ref, 1);
        assert_verdict(ask(&scene, IDEM_BEGIN, n, 'a'), IDEM_NEW);
        if (verdicts[i] == IDEM_TAKEN_OVER) {
            assert_verdict(ask(&scene, IDEM_MARK, n, 'a'), IDEM_OK);
        } else if (verdicts[i] == IDEM_REPLAY) {
            assert_verdict(ask(&scene, IDEM_COMPLETE, n, 'a'), IDEM_OK);
        } else if (verdicts[i] == IDEM_MISMATCH) {
            again.print[0] ^= 1;
        }
        struct asked asked = ask_op(&scene, &again);
        assert_verdict(asked, verdicts[i]);
        assert_int_equal(asked.result.limit_count, 0);
        assert_int_equal(left(1), BURST);
    }
}

/* Also where there is no room any more: who comes back is not a new request. */
static void test_what_finds_a_record_is_not_refused(void **state)
{
    (void)state;
    assert_verdict(begin(1, 'a'), IDEM_NEW);
    assert_verdict(ask(&scene, IDEM_COMPLETE, 1, 'a'), IDEM_OK);
    assert_verdict(begin(2, 'a'), IDEM_NEW);
    assert_int_equal(prepay(1, 100), BURST - 2);
    assert_verdict(begin(3, 'a'), IDEM_LIMITED);
    assert_verdict(begin(1, 'b'), IDEM_REPLAY);
    assert_verdict(begin(2, 'a'), IDEM_NEW);
    assert_verdict(begin(2, 'b'), IDEM_BUSY);
}

static void test_shadows_refuse_nobody_and_checks_charge_nobody(void **state)
{
    struct limit_rate one = rate_of(1, HOUR_US, 1);
    struct limit_ref refs[] = {ref_of("shadow", 1, one, 1, LIMIT_SHADOW), ref_of("check", 1, one, 1, LIMIT_CHECK),
                               writes_of(1)};

    (void)state;
    assert_verdict(begin_with(1, refs, 3), IDEM_NEW);
    struct asked asked = begin_with(2, refs, 3);
    assert_verdict(asked, IDEM_NEW);
    assert_false(asked.result.limits[0].fits);
    assert_true(asked.result.limits[1].fits);
    assert_int_equal(left(1), BURST - 2);
    struct limit_ref charge = flagged(refs[1], LIMIT_FORCE);
    assert_int_equal(question(&charge, 0).granted, 0);
    asked = begin_with(3, refs, 3);
    assert_verdict(asked, IDEM_LIMITED);
    assert_false(asked.result.limits[1].fits);
    assert_int_equal(left(1), BURST - 2);
}

static void test_a_forced_charge_stands_where_another_limit_refuses(void **state)
{
    struct limit_ref refs[] = {flagged(writes_of(1), LIMIT_FORCE), ref_of("tight", 1, rate_of(1, HOUR_US, 1), 1, 0)};

    (void)state;
    assert_verdict(begin_with(1, refs, 2), IDEM_NEW);
    uint64_t before = commits(&scene);
    assert_verdict(begin_with(2, refs, 2), IDEM_LIMITED);
    assert_int_equal(commits(&scene), before);
    assert_int_equal(left(1), BURST - 2);
}

/* ---- in a transaction of the test's own ---- */

static struct embedded direct;

static enum idem_verdict apply_direct(const struct idem_op *op, int *lapses)
{
    struct store_call call = {.op = *op, .asked_us = clock_now_us()};
    struct embedded_job job = {.call = &call};

    assert_int_equal(lmdb_begin(&direct.lmdb, true), 0);
    assert_int_equal(embedded_apply(&direct, &job), 0);
    assert_int_equal(job.status, STORE_OK);
    assert_int_equal(lmdb_commit(&direct.lmdb), 0);
    embedded_limits_end(direct.limits, true);
    *lapses = job.lapse_count;
    embedded_job_reset(&job);
    return job.result.verdict;
}

static bool stands_direct(const struct idem_op *op)
{
    struct lmdb_entry entry;

    assert_int_equal(lmdb_begin(&direct.lmdb, false), 0);
    assert_int_equal(lmdb_load(&direct.lmdb, &op->name, &entry), 0);
    lmdb_abort(&direct.lmdb);
    return entry.found;
}

/* A record whose time is over ends when its key is begun anew: not when that is refused. */
static void test_a_refusal_lapses_nothing(void **state)
{
    const uint8_t digest[STORE_SECRET_DIGEST_BYTES] = {1};
    struct idem_op op = op_of(IDEM_BEGIN, 1, 'a');
    struct limit_ref ref = writes_of(1);
    char folder[96], path[128], why[256];
    int lapses;

    (void)state;
    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/store", folder);
    assert_true(lmdb_open(&direct.lmdb, path, LMDB_SIZE_MIN, digest, why, sizeof why));
    direct.limits = embedded_limits_open();
    op.lease_ms = 1;
    op.keep_unknown_ms = 1;
    assert_int_equal(apply_direct(&op, &lapses), IDEM_NEW);
    for (uint64_t over_ms = lmdb_now_ms(&direct.lmdb) + 2; lmdb_now_ms(&direct.lmdb) < over_ms;) {
    }
    op.limits = &ref;
    op.limit_count = 1;
    ref.ask.cost = BURST + 1;
    assert_int_equal(apply_direct(&op, &lapses), IDEM_LIMITED);
    assert_int_equal(lapses, 0);
    assert_true(stands_direct(&op));
    ref.ask.cost = BURST;
    assert_int_equal(apply_direct(&op, &lapses), IDEM_NEW); /* the refusal had charged nothing */
    assert_int_equal(lapses, 2);
    embedded_limits_close(direct.limits);
    lmdb_close(&direct.lmdb);
    folder_remove(folder);
}

/* ---- one bucket for both ---- */

static void test_questions_and_begins_use_one_bucket(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 3; n++) {
        assert_verdict(begin(n, 'a'), IDEM_NEW);
    }
    struct limit_ref ref = writes_of(1);
    struct question asked = question(&ref, 5);
    assert_int_equal(asked.granted, 5);
    assert_int_equal(asked.told.remaining, 2);
    assert_verdict(begin(3, 'a'), IDEM_NEW);
    asked = question(&ref, 100);
    assert_int_equal(asked.granted, 1);
    assert_verdict(begin(4, 'a'), IDEM_LIMITED);
    asked = question(&ref, 1);
    assert_int_equal(asked.granted, 0);
    assert_false(asked.told.fits);
    assert_in_range(asked.told.wait_us, HOUR_US / BURST - PATIENCE_US, HOUR_US / BURST);
    assert_int_equal(left(2), BURST); /* another caller's */
}

static void test_a_look_says_whether_a_token_would_fit(void **state)
{
    struct limit_ref look = flagged(writes_of(1), LIMIT_CHECK);

    (void)state;
    assert_int_equal(question(&look, 0).granted, 1);
    assert_int_equal(question(&look, 0).granted, 1);
    assert_int_equal(prepay(1, BURST), BURST);
    assert_int_equal(question(&look, 0).granted, 0);
}

static void test_a_charge_is_taken_whatever_there_is_and_needs_no_asker(void **state)
{
    struct limit_ref charge = flagged(writes_of(1), LIMIT_FORCE);

    (void)state;
    charge.ask.cost = BURST - 1;
    assert_non_null(store_limit(scene.store, &charge, 0, ASK_MS, NULL, NULL));
    assert_int_equal(left(1), 1);
    assert_non_null(store_limit(scene.store, &charge, 0, ASK_MS, NULL, NULL));
    assert_int_equal(left(1), 0);
    struct limit_ref look = flagged(charge, LIMIT_CHECK);
    assert_in_range(question(&look, 0).told.wait_us, 0, HOUR_US / BURST); /* full, and no more than that */
}

static void test_a_limit_may_change_while_it_runs(void **state)
{
    struct limit_ref ref = writes_of(1);

    (void)state;
    assert_int_equal(question(&ref, 6).granted, 6);
    ref.ask.rate = rate_of(3, HOUR_US, 20); /* other units: what was used stays used */
    assert_int_equal(left_of(&ref), 14);
    assert_int_equal(question(&ref, 4).granted, 4);
    ref.ask.rate = rate_of(100, CLOCK_US_PER_S, 5); /* less than was used, and quick: paid in a twentieth of a second */
    struct limit_ref look = flagged(ref, LIMIT_CHECK);
    assert_in_range(question(&look, 0).told.wait_us, 0, CLOCK_US_PER_S / 100);
    atomic_fetch_add(&clock_step_us, CLOCK_US_PER_S / 20);
    assert_int_equal(question(&ref, 100).granted, 5);
}

/* ---- disks ---- */

static void test_questions_about_limits_cost_no_sync(void **state)
{
    uint64_t before = commits(&scene);
    int syncs_before = atomic_load(&syncs);

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(prepay(i, 1), 1);
    }
    assert_int_equal(commits(&scene), before);
    assert_int_equal(atomic_load(&syncs), syncs_before);
}

static void test_questions_about_limits_wait_for_no_disk(void **state)
{
    struct limit_ref ref = writes_of(1);
    struct idem_op op = begin_of(1, 'a', &ref, 1);
    struct asked asked;

    (void)state;
    stand_still_with(&scene, &op, &asked);
    assert_int_equal(prepay(1, 4), 4);
    assert_int_equal(left(1), BURST - 5); /* with what stands in the transaction */
    assert_false(asked.done);
    go_on(FAULT_NONE, 0);
    UNTIL(scene.loop, asked.done);
    assert_verdict(asked, IDEM_NEW);
    assert_int_equal(asked.result.limits[0].remaining, BURST - 1);
    assert_int_equal(left(1), BURST - 5);
    sem_destroy(&stand);
}

/* What an earlier process left in flight is still being dealt with: keys wait for that, limits do not. */
static void test_questions_about_limits_do_not_wait_for_orphans(void **state)
{
    struct asked asked;
    struct limit_ref ref = writes_of(1);
    struct idem_op op = begin_of(2, 'a', &ref, 1);

    (void)state;
    assert_verdict(ask(&scene, IDEM_BEGIN, 1, 'a'), IDEM_NEW);
    scene_close(&scene);
    stand_next();
    scene_open(&scene);
    UNTIL(scene.loop, atomic_load(&standing) == 1);
    (void)ask_start(&scene, &op, &asked);
    assert_int_equal(prepay(1, 3), 3);
    assert_false(scene_embedded(&scene)->ready);
    assert_false(asked.done);
    go_on(FAULT_NONE, 0);
    UNTIL(scene.loop, asked.done);
    assert_verdict(asked, IDEM_NEW);
    assert_int_equal(left(1), BURST - 4);
    sem_destroy(&stand);
}

static void test_a_disk_that_fails_leaves_limits_alone(void **state)
{
    (void)state;
    set_fault(FAULT_PAGES, EIO);
    assert_status(begin(1, 'a'), STORE_DOWN);
    assert_non_null(store_trouble(scene.store, false));
    assert_int_equal(prepay(1, BURST), BURST);
    assert_int_equal(prepay(1, 1), 0);
}

/* ---- what is taken back ---- */

/* Two begins of one batch, charged to one bucket, meet the fault. */
static void begin_two(enum fault at, int error, int times, struct asked asked[2])
{
    static struct limit_ref refs[2];
    struct asked first;
    struct idem_op op = op_of(IDEM_BEGIN, 50, 'a');

    refs[0] = writes_of(1);
    refs[1] = ref_of("second", 1, rate_of(1, HOUR_US, 3), 2, 0);
    stand_still_with(&scene, &op, &first);
    for (uint32_t n = 0; n < 2; n++) {
        struct idem_op two = begin_of(51 + n, 'a', refs, n == 0 ? 2 : 1);
        (void)ask_start(&scene, &two, &asked[n]);
    }
    set_fault(at, error);
    atomic_store(&faults_left, times);
    sem_post(&stand);
    UNTIL(scene.loop, asked[0].done && asked[1].done);
    set_fault(FAULT_NONE, 0);
    UNTIL(scene.loop, state_of(&scene).calls == 0);
    sem_destroy(&stand);
}

static void test_a_transaction_that_fails_takes_its_charges_back(void **state)
{
    static const struct {
        enum fault at;
        int error;
        enum store_status status;
    } fates[] = {{FAULT_PAGES, EIO, STORE_DOWN}, {FAULT_PAGES, ENOSPC, STORE_FULL}, {FAULT_META, EIO, STORE_DOWN}};
    struct limit_ref second = ref_of("second", 1, rate_of(1, HOUR_US, 3), 1, 0);
    struct asked asked[2];

    (void)state;
    assert_int_equal(prepay(1, 2), 2);
    for (int i = 0; i < (int)ARRAY_COUNT(fates); i++) {
        begin_two(fates[i].at, fates[i].error, 0, asked);
        assert_status(asked[0], fates[i].status);
        assert_status(asked[1], fates[i].status);
        assert_int_equal(left(1), BURST - 2);
        assert_int_equal(left_of(&second), 3);
        UNTIL(scene.loop, state_of(&scene).trouble == NULL);
        assert_verdict(ask(&scene, IDEM_READ, 51, 'a'), IDEM_NONE);
        assert_verdict(ask(&scene, IDEM_ABANDON, 50, 'a'), IDEM_OK);
    }
}

/* The whole batch has no room, its halves have. */
static void test_a_batch_that_is_tried_again_charges_once(void **state)
{
    struct limit_ref second = ref_of("second", 1, rate_of(1, HOUR_US, 3), 1, 0);
    struct asked asked[2];
    int before = atomic_load(&refusals);

    (void)state;
    begin_two(FAULT_PAGES, ENOSPC, 1, asked);
    assert_int_equal(atomic_load(&refusals), before + 1);
    assert_verdict(asked[0], IDEM_NEW);
    assert_verdict(asked[1], IDEM_NEW);
    assert_int_equal(asked[0].result.limits[0].remaining, BURST - 1);
    assert_int_equal(asked[1].result.limits[0].remaining, BURST - 2);
    assert_int_equal(left(1), BURST - 2);
    assert_int_equal(left_of(&second), 1);
}

/* LMDB says that it failed, and the files say that it counts. */
static void test_a_commit_that_counts_after_all_keeps_its_charges(void **state)
{
    (void)state;
    atomic_store(&meta_writes, 0);
    set_fault(FAULT_META_DONE, EIO);
    assert_verdict(begin(1, 'a'), IDEM_NEW);
    assert_int_equal(atomic_load(&meta_writes), 2);
    assert_int_equal(left(1), BURST - 1);
}

static void test_what_questions_took_meanwhile_stays_taken(void **state)
{
    struct limit_ref ref = writes_of(1), charge = flagged(writes_of(1), LIMIT_FORCE);
    struct idem_op op = begin_of(1, 'a', &ref, 1);
    struct asked asked;

    (void)state;
    ref.ask.cost = 5;
    stand_still_with(&scene, &op, &asked);
    assert_int_equal(prepay(1, 2), 2);
    (void)question(&charge, 0);
    assert_int_equal(prepay(1, 100), 2);
    go_on(FAULT_SYNC, EIO);
    UNTIL(scene.loop, asked.done);
    assert_status(asked, STORE_DOWN);
    assert_int_equal(left(1), 5);
}

/* ---- the end of questions ---- */

static void test_a_question_that_is_forgotten_is_not_answered(void **state)
{
    struct limit_ref ref = writes_of(1);
    struct question asked[3];

    (void)state;
    store_limit_forget(question_start(&ref, 1, &asked[0]));
    (void)question_start(&ref, 1, &asked[1]);
    asked[1].forgets = question_start(&ref, 1, &asked[2]);
    UNTIL(scene.loop, asked[1].done);
    assert_int_equal(left(1), BURST - 1);
    assert_false(asked[0].done);
    assert_false(asked[2].done);
}

static void test_an_answer_may_ask_again(void **state)
{
    struct limit_ref ref = writes_of(1);
    struct question asked;

    (void)state;
    (void)question_start(&ref, 1, &asked);
    asked.repeats = &ref;
    UNTIL(scene.loop, asked.done);
    assert_int_equal(asked.granted, 1);
    assert_int_equal(left(1), BURST - 2);
}

static void test_questions_under_way_have_a_bound(void **state)
{
    static struct question asked[STORE_LIMIT_CALLS_MAX];
    static struct limit_ref ref;
    static int count;

    (void)state;
    count = 0;
    ref = ref_of("wide", 1, rate_of(1, HOUR_US, 100000), 1, 0);
    for (uint32_t i = 0; i < STORE_LIMIT_CALLS_MAX; i++) {
        (void)question_start(&ref, 1, &asked[i]);
        asked[i].count = &count;
    }
    uint64_t refused = counter(&scene, "weir_store_refused_total");
    assert_null(store_limit(scene.store, &ref, 1, ASK_MS, on_question, &asked[0]));
    assert_int_equal(counter(&scene, "weir_store_refused_total"), refused + 1);
    UNTIL(scene.loop, count == (int)STORE_LIMIT_CALLS_MAX);
    assert_int_equal(left_of(&ref), 100000 - STORE_LIMIT_CALLS_MAX);
}

/* Every one of them is answered, with what became of it. */
static void test_a_close_ends_questions(void **state)
{
    struct limit_ref ref = writes_of(1);
    struct question asked[20];
    static int count;

    (void)state;
    count = 0;
    for (int i = 0; i < 20; i++) {
        (void)question_start(&ref, 1, &asked[i]);
        asked[i].count = &count;
    }
    store_close(scene.store, 0, on_closed, &scene);
    assert_null(store_limit(scene.store, &ref, 1, ASK_MS, on_question, &asked[0]));
    UNTIL(scene.loop, scene.store == NULL);
    assert_int_equal(count, 20);
    for (int i = 0; i < 20; i++) {
        assert_true(asked[i].status == STORE_DOWN || (asked[i].status == STORE_OK && asked[i].granted == (i < 10)));
    }
}

static void test_a_new_process_forgives(void **state)
{
    (void)state;
    assert_int_equal(prepay(1, BURST), BURST);
    scene_close(&scene);
    scene_open(&scene);
    assert_int_equal(left(1), BURST);
}

/* ---- its state ---- */

static void test_callers_that_are_given_up_are_counted(void **state)
{
    struct limit_told told;

    (void)state;
    for (uint32_t i = 0; i < EMBEDDED_BUCKETS_MAX; i++) {
        struct limit_ref ref = writes_of(i);
        uint64_t granted;
        do { /* the thread may be at the table: it ends a batch now and then */
            granted = embedded_limits_ask(scene_embedded(&scene)->limits, &ref, 1, &told);
        } while (granted == EMBEDDED_LIMITS_BUSY);
        assert_int_equal(granted, 1);
    }
    assert_verdict(ask(&scene, IDEM_READ, 1, 'a'), IDEM_NONE);
    assert_int_equal(counter(&scene, "weir_store_limits_evicted_total"), 0);
    assert_int_equal(prepay(EMBEDDED_BUCKETS_MAX, 1), 1);
    UNTIL(scene.loop, counter(&scene, "weir_store_limits_evicted_total") == 1);
}

static void test_an_embedded_store_is_shared_with_nobody(void **state)
{
    (void)state;
    assert_int_equal(store_fleet(scene.store), 1);
}

/* ---- what it costs: told, not judged ---- */

static uint64_t cpu_us(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * CLOCK_US_PER_S +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

#define COSTS_COUNT 2048u
#define COSTS_ROUNDS 5

/* The key of the next begin. */
static uint32_t next_key;

static uint64_t begins_us(int count)
{
    struct limit_ref refs[2] = {ref_of("wide", 1, rate_of(1000, CLOCK_US_PER_S, 100000), 1, 0),
                                ref_of("wider", 1, rate_of(1000, CLOCK_US_PER_S, 100000), 1, 0)};
    struct idem_op like = begin_of(0, 'a', refs, count);
    uint64_t before_us = cpu_us();
    struct ends ends = ask_each(&scene, &like, next_key, COSTS_COUNT, 1);

    next_key += COSTS_COUNT;
    assert_int_equal(ends.verdicts[IDEM_NEW], COSTS_COUNT);
    return cpu_us() - before_us;
}

static uint64_t questions_us(int together)
{
    static struct question asked[512];
    static int count;
    struct limit_ref ref = ref_of("wide", 1, rate_of(1000, CLOCK_US_PER_S, 100000), 1, 0);
    uint64_t before_us = cpu_us();

    for (uint32_t i = 0; i < COSTS_COUNT; i += (uint32_t)together) {
        count = 0;
        for (int k = 0; k < together; k++) {
            (void)question_start(&ref, 1, &asked[k]);
            asked[k].count = &count;
        }
        UNTIL(scene.loop, count == together);
    }
    return cpu_us() - before_us;
}

/* The least of some rounds; the first one warms up. */
static void test_what_limits_cost(void **state)
{
    static const char *const words[] = {"a begin without limits", "with one", "with two", "a limit alone, 512 in a turn",
                                        "one in a turn"};
    uint64_t least_us[ARRAY_COUNT(words)];

    (void)state;
    next_key = 1000;
    for (int round = 0; round < COSTS_ROUNDS; round++) {
        for (int i = 0; i < (int)ARRAY_COUNT(words); i++) {
            uint64_t us = i < 3 ? begins_us(i) : questions_us(i == 3 ? 512 : 1);
            least_us[i] = round <= 1 || us < least_us[i] ? us : least_us[i];
        }
    }
    for (int i = 0; i < (int)ARRAY_COUNT(words); i++) {
        print_message("%s: %.2f us\n", words[i], (double)least_us[i] / COSTS_COUNT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_begin_is_charged_to_all_its_limits_or_to_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_wait_that_is_told_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_finds_a_record_charges_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_finds_a_record_is_not_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shadows_refuse_nobody_and_checks_charge_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_forced_charge_stands_where_another_limit_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_questions_and_begins_use_one_bucket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_look_says_whether_a_token_would_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_charge_is_taken_whatever_there_is_and_needs_no_asker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_limit_may_change_while_it_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_questions_about_limits_cost_no_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_questions_about_limits_wait_for_no_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_questions_about_limits_do_not_wait_for_orphans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_disk_that_fails_leaves_limits_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_transaction_that_fails_takes_its_charges_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_that_is_tried_again_charges_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_commit_that_counts_after_all_keeps_its_charges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_questions_took_meanwhile_stays_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_question_that_is_forgotten_is_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_may_ask_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_questions_under_way_have_a_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_close_ends_questions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_process_forgives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_callers_that_are_given_up_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_embedded_store_is_shared_with_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_limits_cost, setup, teardown),
        cmocka_unit_test(test_a_refusal_lapses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
