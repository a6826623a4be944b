/*
 * The table of buckets of the embedded store (embedded_limits.c): against a
 * model that keeps every bucket twice, with and without the transaction under
 * way; full; and with a thread and a loop at it at once.
 */
#include "embedded_limit_support.h"

#include <pthread.h>
#include <sched.h>

static struct embedded_limits *limits;

static int setup(void **state)
{
    (void)state;
    atomic_store(&clock_stands_us, 1000 * CLOCK_US_PER_S);
    limits = embedded_limits_open();
    assert_non_null(limits);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    embedded_limits_close(limits);
    atomic_store(&clock_stands_us, 0);
    return 0;
}

static void wait_us(uint64_t us)
{
    atomic_fetch_add(&clock_stands_us, us);
}

/* What a caller may use now. */
static uint64_t left_of(const struct limit_ref *ref)
{
    struct limit_ref look = *ref;
    struct limit_told told;

    look.ask.cost = 1;
    look.ask.flags = LIMIT_CHECK;
    (void)embedded_limits_ask(limits, &look, 0, &told);
    return told.remaining;
}

static bool admit_one(const struct limit_ref *ref)
{
    struct limit_told told;
    return embedded_limits_admit(limits, ref, 1, &told);
}

static uint64_t prepay(const struct limit_ref *ref, uint64_t want)
{
    struct limit_told told;
    uint64_t granted;
    do {
        granted = embedded_limits_ask(limits, ref, want, &told);
    } while (granted == EMBEDDED_LIMITS_BUSY); /* as the loop does, a turn apart */
    return granted;
}

/* ---- against the model ---- */

#define CALLERS 40
#define NAMES 4

static const char *const names[NAMES] = {"writes", "write", "a", "the-limit-per-merchant-and-route-with-a-name-of-63-bytes-in-all"};

struct model {
    struct limit_bucket with[NAMES][CALLERS], without[NAMES][CALLERS];
    struct limit_rate rates[NAMES];
    uint64_t random;
};

static uint64_t below(struct model *model, uint64_t limit)
{
    return (random_next(&model->random) >> 16) % limit;
}

static void assert_told(const struct limit_told *told, const struct limit_told *right)
{
    assert_int_equal(told->fits, right->fits);
    assert_int_equal(told->remaining, right->remaining);
    assert_int_equal(told->reset_us, right->reset_us);
    assert_int_equal(told->wait_us, right->wait_us);
}

/* The thread's: several limits of one caller. */
static void model_admit(struct model *model)
{
    uint32_t caller = (uint32_t)below(model, CALLERS);
    int first = (int)below(model, NAMES), count = 1 + (int)below(model, (uint64_t)(NAMES - first));
    struct limit_ref refs[NAMES];
    struct limit_ask asks[NAMES];
    struct limit_bucket *buckets[NAMES];
    struct limit_told told[NAMES], right[NAMES];

    for (int i = 0; i < count; i++) {
        unsigned flags = below(model, 4) == 0 ? 1u << below(model, 3) : 0;
        refs[i] = ref_of(names[first + i], caller, model->rates[first + i], 1 + below(model, 3), flags);
        asks[i] = refs[i].ask;
        buckets[i] = &model->with[first + i][caller];
    }
    bool admitted = limit_apply(buckets, asks, count, clock_now_us(), right);
    assert_int_equal(embedded_limits_admit(limits, refs, count, told), admitted);
    for (int i = 0; i < count; i++) {
        assert_told(&told[i], &right[i]);
    }
}

/* The loop's. What it grants is charged to both. */
static void model_ask(struct model *model)
{
    uint32_t caller = (uint32_t)below(model, CALLERS);
    int name = (int)below(model, NAMES);
    unsigned flags = below(model, 2) == 0 ? 0 : (unsigned)(below(model, 2) == 0 ? LIMIT_CHECK : LIMIT_FORCE);
    struct limit_ref ref = ref_of(names[name], caller, model->rates[name], 1 + below(model, 4), flags);
    struct limit_bucket *with = &model->with[name][caller], *without = &model->without[name][caller];
    uint64_t want = below(model, 6), granted = 0, now_us = clock_now_us();
    struct limit_told told, right, spare;

    if (flags == 0) {
        granted = limit_prepay(with, &ref.ask.rate, want, now_us, &right);
        assert_int_equal(limit_prepay(without, &ref.ask.rate, granted, now_us, &spare), granted);
    } else {
        (void)limit_apply(&with, &ref.ask, 1, now_us, &right);
        (void)limit_apply(&without, &ref.ask, 1, now_us, &spare);
        granted = flags == LIMIT_CHECK && right.fits ? 1 : 0;
    }
    assert_int_equal(embedded_limits_ask(limits, &ref, want, &told), granted);
    assert_told(&told, &right);
}

static void model_end(struct model *model, bool committed)
{
    embedded_limits_end(limits, committed);
    if (committed) {
        memcpy(model->without, model->with, sizeof model->with);
    } else {
        memcpy(model->with, model->without, sizeof model->with);
    }
}

static void test_buckets_are_what_they_would_be_without_what_was_taken_back(void **state)
{
    static struct model model;
    struct limit_rate rates[NAMES] = {rate_of(7, 3 * CLOCK_US_PER_S, 5), rate_of(300001, CLOCK_US_PER_S, 20),
                                      rate_of(1, HOUR_US, 4), rate_of(100, CLOCK_US_PER_S, 10)};
    int taken_back = 0;

    (void)state;
    memset(&model, 0, sizeof model);
    memcpy(model.rates, rates, sizeof rates);
    model.random = 20260101;
    for (int i = 0; i < 200000; i++) {
        uint64_t what = below(&model, 100);
        if (what < 50) {
            model_admit(&model);
        } else if (what < 85) {
            model_ask(&model);
        } else if (what < 95) {
            wait_us(below(&model, 10) == 0 ? below(&model, HOUR_US) : below(&model, 50000));
        } else {
            model_end(&model, what < 98);
            taken_back += what >= 98;
        }
    }
    assert_true(taken_back > 1000);
    assert_int_equal(embedded_limits_evicted(limits), 0);
}

/* Limits of one caller, and callers of one limit, are told apart by each part of their names. */
static void test_a_bucket_has_one_owner(void **state)
{
    struct limit_rate rate = rate_of(1, HOUR_US, 10);
    struct limit_ref ref = ref_of("writes", 1, rate, 3, 0), others[4];

    (void)state;
    assert_true(admit_one(&ref));
    assert_int_equal(left_of(&ref), 7);
    for (int i = 0; i < 4; i++) {
        others[i] = ref;
    }
    others[0].bucket ^= 1;
    others[1].hash[LIMIT_HASH_BYTES - 1] ^= 1;
    others[2].limit = BYTES("write");
    others[3].limit = BYTES("writer");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(left_of(&others[i]), 10);
        assert_true(admit_one(&others[i]));
        assert_int_equal(left_of(&others[i]), 7);
    }
    assert_int_equal(left_of(&ref), 7);
}

/* So many that some share a chain. */
static void test_limits_of_one_caller_are_told_apart(void **state)
{
    struct limit_rate rate = rate_of(1, HOUR_US, 10);
    char name[16];

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (uint32_t n = 0; n < 4000; n++) {
            (void)snprintf(name, sizeof name, "l%" PRIu32, n);
            struct limit_ref ref = ref_of(name, 1, rate, 1 + n % 9, 0);
            if (round == 0) {
                assert_int_equal(prepay(&ref, ref.ask.cost), ref.ask.cost);
            } else {
                assert_int_equal(left_of(&ref), 10 - ref.ask.cost);
            }
        }
    }
}

/* ---- limits that change ---- */

/* Lowered and raised within one transaction: what is taken back is not forgotten beyond what the lower burst holds. */
static void test_a_limit_may_change_within_a_transaction(void **state)
{
    struct limit_ref large = ref_of("writes", 1, rate_of(1, HOUR_US, 100), 60, 0);
    struct limit_ref small = ref_of("writes", 1, rate_of(1, 2 * HOUR_US, 10), 1, 0);

    (void)state;
    assert_true(admit_one(&large));
    embedded_limits_end(limits, true);
    assert_false(admit_one(&small));
    large.ask.cost = 1;
    assert_true(admit_one(&large));
    assert_int_equal(left_of(&large), 39);
    assert_int_equal(prepay(&large, 5), 5);
    small.ask.flags = LIMIT_FORCE;
    assert_true(admit_one(&small)); /* ten of ten, now */
    assert_int_equal(left_of(&small), 0);
    assert_int_equal(prepay(&large, 50), 50);
    embedded_limits_end(limits, false);
    assert_int_equal(left_of(&large), 0); /* 60, 5, and as much of 50 as there is */
}

/* ---- full ---- */

/* Callers whose n-th owes PERMUTED(n) + 1 tokens, each a second. */
#define PERMUTED(n_) (((n_)*40503u + 7u) % EMBEDDED_BUCKETS_MAX)

static struct limit_ref debtor(uint32_t n)
{
    return ref_of("writes", n, rate_of(1, CLOCK_US_PER_S, 1000000), PERMUTED(n) + 1, 0);
}

static struct limit_ref newcomer(uint32_t n)
{
    return ref_of("writes", EMBEDDED_BUCKETS_MAX + n, rate_of(1, CLOCK_US_PER_S, 1000000), 500000, 0);
}

static void fill(void)
{
    for (uint32_t i = 0; i < EMBEDDED_BUCKETS_MAX; i++) {
        struct limit_ref ref = debtor(i);
        assert_true(admit_one(&ref));
        if (i % EMBEDDED_BATCH_MAX == 0) {
            embedded_limits_end(limits, true);
        }
    }
    embedded_limits_end(limits, true);
    assert_int_equal(embedded_limits_evicted(limits), 0);
}

/* Those who owe at most so many tokens are forgotten, the others are not. */
static void assert_forgotten(uint64_t tokens, uint64_t paid)
{
    for (uint32_t i = 0; i < EMBEDDED_BUCKETS_MAX; i++) {
        struct limit_ref ref = debtor(i);
        uint64_t owed = ref.ask.cost <= tokens || ref.ask.cost <= paid ? 0 : ref.ask.cost - paid;
        if (left_of(&ref) != 1000000 - owed) {
            fail_msg("%" PRIu32 " owes %" PRIu64 ", not %" PRIu64, i, 1000000 - left_of(&ref), owed);
        }
    }
}

static void test_a_full_table_gives_up_who_is_nearest_to_being_paid(void **state)
{
    (void)state;
    fill();
    for (uint32_t i = 0; i < 1000; i++) {
        struct limit_ref ref = newcomer(i);
        assert_int_equal(prepay(&ref, 500000), 500000);
        assert_int_equal(embedded_limits_evicted(limits), i + 1);
    }
    assert_forgotten(1000, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        struct limit_ref ref = newcomer(i);
        assert_int_equal(left_of(&ref), 500000);
    }
}

static void test_a_full_table_uses_paid_buckets_first(void **state)
{
    (void)state;
    fill();
    wait_us(2000 * CLOCK_US_PER_S);
    for (uint32_t i = 0; i < 2000; i++) {
        struct limit_ref ref = newcomer(i);
        assert_int_equal(prepay(&ref, 500000), 500000);
    }
    assert_int_equal(embedded_limits_evicted(limits), 0);
    struct limit_ref ref = newcomer(2000);
    assert_int_equal(prepay(&ref, 500000), 500000);
    assert_int_equal(embedded_limits_evicted(limits), 1);
    assert_forgotten(2001, 2000);
}

/* A question that charges nothing takes nobody's place. */
static void test_a_look_takes_no_place(void **state)
{
    struct limit_ref ref = newcomer(1);

    (void)state;
    fill();
    assert_int_equal(left_of(&ref), 1000000);
    ref.ask.cost = 1000001;
    assert_false(admit_one(&ref));
    embedded_limits_end(limits, true);
    assert_int_equal(embedded_limits_evicted(limits), 0);
    assert_forgotten(0, 0);
}

/* What is taken back leaves a place that is free, and whoever was given up for it does not come back. */
static void test_a_place_that_was_made_and_taken_back_is_free(void **state)
{
    struct limit_ref first = newcomer(1), second = newcomer(2), third = newcomer(3);

    (void)state;
    fill();
    assert_true(admit_one(&first));
    embedded_limits_end(limits, false);
    assert_int_equal(left_of(&first), 1000000);
    assert_int_equal(embedded_limits_evicted(limits), 1);
    assert_int_equal(prepay(&second, 500000), 500000);
    assert_int_equal(embedded_limits_evicted(limits), 1);
    assert_int_equal(prepay(&third, 500000), 500000);
    assert_int_equal(embedded_limits_evicted(limits), 2);
    assert_forgotten(2, 0);
}

/* The place of a bucket that the transaction charged is given away: its new owner has nothing to do with that. */
static void test_a_place_that_changed_hands_is_not_taken_back(void **state)
{
    struct limit_ref charged = ref_of("other", 1, rate_of(1000, CLOCK_US_PER_S, 10), 1, 0), owner = newcomer(1);

    (void)state;
    fill();
    assert_true(admit_one(&charged)); /* paid in a millisecond: the nearest */
    assert_int_equal(embedded_limits_evicted(limits), 1);
    assert_int_equal(prepay(&owner, 500000), 500000);
    assert_int_equal(embedded_limits_evicted(limits), 2);
    assert_int_equal(left_of(&charged), 10);
    embedded_limits_end(limits, false);
    assert_int_equal(left_of(&owner), 500000);
    assert_int_equal(left_of(&charged), 10);
    assert_forgotten(1, 0);
}

static void test_a_transaction_may_charge_all_limits_of_a_whole_batch(void **state)
{
    static const char *const many[LIMITS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct limit_rate rate = rate_of(1, HOUR_US, 10);
    struct limit_ref refs[LIMITS_MAX];
    struct limit_told told[LIMITS_MAX];

    (void)state;
    for (int round = 0; round < 3; round++) { /* taken back, kept, and taken back to what was kept */
        for (uint32_t n = 0; n < EMBEDDED_BATCH_MAX; n++) {
            for (int i = 0; i < LIMITS_MAX; i++) {
                refs[i] = ref_of(many[i], n, rate, 1, 0);
            }
            assert_true(embedded_limits_admit(limits, refs, LIMITS_MAX, told));
        }
        embedded_limits_end(limits, round == 1);
        for (uint32_t n = 0; n < EMBEDDED_BATCH_MAX; n++) {
            struct limit_ref ref = ref_of(many[n % LIMITS_MAX], n, rate, 1, 0);
            assert_int_equal(left_of(&ref), round == 0 ? 10 : 9);
        }
    }
}

/* ---- the thread and the loop at once ---- */

#define TOGETHER_CALLERS 8
#define TOGETHER_TOKENS 200000u

static atomic_bool started, stop;
static uint64_t kept[TOGETHER_CALLERS];

static void *charge_and_take_back(void *unused)
{
    struct limit_rate rate = rate_of(1, HOUR_US, TOGETHER_TOKENS);
    uint64_t random = 99, charged[TOGETHER_CALLERS] = {0};

    for (uint32_t i = 1; !atomic_load(&stop); i++) {
        uint32_t caller = (uint32_t)(random_next(&random) >> 16) % TOGETHER_CALLERS;
        struct limit_ref ref = ref_of("writes", caller, rate, 1, 0);
        charged[caller] += admit_one(&ref);
        if (i % 16 == 0) {
            bool committed = (random_next(&random) >> 16) % 2 == 0;
            embedded_limits_end(limits, committed);
            atomic_store(&started, true);
            for (int n = 0; n < TOGETHER_CALLERS; n++) {
                kept[n] += committed ? charged[n] : 0;
                charged[n] = 0;
            }
        }
    }
    embedded_limits_end(limits, false);
    return unused;
}

static void test_thread_and_loop_share_out_what_there_is(void **state)
{
    struct limit_rate rate = rate_of(1, HOUR_US, TOGETHER_TOKENS);
    uint64_t granted[TOGETHER_CALLERS] = {0};
    pthread_t thread;

    (void)state;
    memset(kept, 0, sizeof kept);
    atomic_store(&started, false);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, charge_and_take_back, NULL), 0);
    while (!atomic_load(&started)) {
        (void)sched_yield();
    }
    for (uint32_t i = 0; i < 20 * TOGETHER_TOKENS / 10; i++) {
        struct limit_ref ref = ref_of("writes", i % TOGETHER_CALLERS, rate, 1, 0);
        granted[i % TOGETHER_CALLERS] += prepay(&ref, 1 + i % 3);
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (uint32_t n = 0; n < TOGETHER_CALLERS; n++) {
        struct limit_ref ref = ref_of("writes", n, rate, 1, 0);
        assert_int_equal(granted[n] + kept[n] + left_of(&ref), TOGETHER_TOKENS);
        assert_true(granted[n] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_buckets_are_what_they_would_be_without_what_was_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_bucket_has_one_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits_of_one_caller_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_limit_may_change_within_a_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_table_gives_up_who_is_nearest_to_being_paid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_table_uses_paid_buckets_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_look_takes_no_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_place_that_was_made_and_taken_back_is_free, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_place_that_changed_hands_is_not_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_transaction_may_charge_all_limits_of_a_whole_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_thread_and_loop_share_out_what_there_is, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
