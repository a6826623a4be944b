/* What both kinds share: bounds, counts, who is told what. Over the Redis store, and over servers of our own. */
#include "redis_support.h"

struct both {
    struct bench bench;
    struct fake fake;
};

static const char *say_nothing(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return NULL;
}

static void open_nowhere(struct bench *bench)
{
    bench_init(bench);
    bench->conf.begin_timeout_ms = 60000;
    bench_server(bench, free_port(), false);
    bench_start(bench);
}

static void open_both(struct both *both, fake_script script)
{
    bench_init(&both->bench);
    fake_open(&both->fake, both->bench.loop);
    both->fake.script = script;
    bench_server(&both->bench, both->fake.port, false);
    bench_start(&both->bench);
    UNTIL(both->bench.loop, bench_is_up(&both->bench) && both->fake.fleets == 1); /* nothing more is said by itself */
}

static void close_both(struct both *both)
{
    bench_stop(&both->bench, 0);
    fake_close(&both->fake);
    bench_close_rest(&both->bench);
}

static int down_count;

static void on_down(void *owner, enum store_status status, const struct idem_result *result)
{
    (void)owner;
    assert_int_equal(status, STORE_DOWN);
    assert_null(result);
    down_count++;
}

/* How many of these are taken in, until one is refused. */
static int fill(struct bench *bench, const struct idem_op *op)
{
    int taken = 0;
    while (store_ask(bench->store, op, false, 60000, on_down, NULL) != NULL) {
        taken++;
    }
    return taken;
}

static void test_calls_have_their_bound_and_what_settles_its_own_part(void **state)
{
    struct bench bench;
    struct idem_op begin = op_of(IDEM_BEGIN, 1, 1), mark = op_of(IDEM_MARK, 1, 1);
    int begins, settling;
    struct store_state told;

    (void)state;
    open_nowhere(&bench);
    down_count = 0;
    begins = fill(&bench, &begin);
    assert_int_equal(begins, STORE_CALLS_MAX - STORE_CALLS_MAX * STORE_RESERVED_PCT / 100);
    assert_int_equal(bench_metric(&bench, "weir_store_refused_total"), 1);
    settling = fill(&bench, &mark);
    assert_int_equal(begins + settling, STORE_CALLS_MAX);
    assert_int_equal(bench_metric(&bench, "weir_store_refused_total"), 2);
    assert_int_equal(bench_metric(&bench, "weir_store_unsettled"), settling);
    store_state(bench.store, &told);
    assert_int_equal(told.calls, STORE_CALLS_MAX);
    assert_int_equal(told.unsettled, settling);
    bench_stop(&bench, 0);
    assert_int_equal(down_count, STORE_CALLS_MAX);
    bench_close(&bench);
}

static void test_bytes_have_their_bound_and_what_settles_its_own_part(void **state)
{
    struct bench bench;
    struct idem_op complete = op_of(IDEM_COMPLETE, 1, 1), begin = op_of(IDEM_BEGIN, 1, 1);
    const size_t answer_len = 1 << 20;
    char *answer = calloc(1, answer_len);
    size_t len = answer_len + complete.processor.len + complete.upstream_key.len;

    (void)state;
    open_nowhere(&bench);
    down_count = 0;
    complete.answer = bytes_of(answer, answer_len);
    assert_int_equal(fill(&bench, &complete), STORE_CALL_BYTES_MAX / len);
    begin.upstream_key = bytes_of(answer, 1024); /* more than fits into a call, and no room is left for it */
    assert_int_equal(fill(&bench, &begin), 0);
    assert_int_equal(bench_metric(&bench, "weir_store_refused_total"), 2);
    bench_stop(&bench, 0);
    assert_int_equal(down_count, STORE_CALL_BYTES_MAX / len);
    bench_close(&bench);
    free(answer);
}

static void test_begins_leave_bytes_for_what_settles(void **state)
{
    struct bench bench;
    struct idem_op begin = op_of(IDEM_BEGIN, 1, 1), complete = op_of(IDEM_COMPLETE, 1, 1);
    const size_t len = 128 << 10;
    char *bytes = calloc(1, len);
    size_t held;
    int begins;

    (void)state;
    open_nowhere(&bench);
    begin.upstream_key = bytes_of(bytes, len); /* none is so long: the bound alone is looked at */
    begins = fill(&bench, &begin);
    held = (size_t)begins * (len + begin.processor.len);
    assert_true(held <= STORE_CALL_BYTES_MAX / 100 * (100 - STORE_RESERVED_PCT) + len);
    assert_true(held >= STORE_CALL_BYTES_MAX / 100 * (100 - STORE_RESERVED_PCT) - 2 * len);
    complete.answer = bytes_of(bytes, len);
    assert_true(fill(&bench, &complete) > 0);
    bench_close(&bench);
    free(bytes);
}

/* The asker's bytes are its own again when store_ask has returned. */
static char seen_processor[64], seen_answer[600];

static const char *note_words(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    assert_true(count > 17);
    (void)bytes_to_text(words[10], seen_processor, sizeof seen_processor);
    (void)bytes_to_text(words[17], seen_answer, sizeof seen_answer);
    return FAKE_OK;
}

static void test_an_op_is_copied_whole(void **state)
{
    struct both both;
    struct asker asker;
    char processor[] = "acme", key[] = "key", answer[500];
    struct idem_op op = op_of(IDEM_COMPLETE, 1, 1);

    (void)state;
    open_both(&both, note_words);
    for (size_t len = 10; len <= 490; len += 480) { /* within the call, and beyond it */
        memset(answer, 'a', sizeof answer);
        answer[len] = '\0';
        memcpy(processor, "acme", 5);
        op.processor = bytes_of(processor, 4);
        op.upstream_key = bytes_of(key, 3);
        op.answer = bytes_of(answer, len);
        ask_op(&both.bench, &asker, &op, false, 1000);
        memset(processor, 'x', 4);
        memset(answer, 'x', len);
        UNTIL(both.bench.loop, asker.told == 1);
        assert_string_equal(seen_processor, "acme");
        assert_int_equal(strlen(seen_answer), len);
        assert_int_equal(seen_answer[0], 'a');
        assert_int_equal(redis_of(both.bench.store)->store.bytes_held, 0);
    }
    close_both(&both);
}

static void test_who_forgets_is_not_told(void **state)
{
    struct both both;
    struct asker askers[IDEM_OP_COUNT];

    (void)state;
    open_both(&both, NULL);
    for (int i = 0; i < IDEM_OP_COUNT; i++) {
        ask(&both.bench, &askers[i], (enum idem_op_kind)i, (uint8_t)i, 1);
    }
    for (int i = 0; i < IDEM_OP_COUNT; i++) {
        store_forget(askers[i].call);
    }
    UNTIL(both.bench.loop, redis_of(both.bench.store)->store.calls_count == 0);
    for (int i = 0; i < IDEM_OP_COUNT; i++) {
        assert_int_equal(askers[i].told, 0);
    }
    assert_int_equal(both.fake.scripts, 3); /* what settles went on */
    close_both(&both);
}

static void test_who_forgets_while_the_answer_waits_is_not_told(void **state)
{
    struct bench bench;
    struct asker asker;

    (void)state;
    bench_init(&bench);
    bench.conf.begin_timeout_ms = 1;
    bench_server(&bench, free_port(), false);
    bench_start(&bench);
    ask(&bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(bench.loop, asker.told == 1);
    ask(&bench, &asker, IDEM_BEGIN, 1, 1);
    assert_true(asker.call->leaving);
    store_forget(asker.call);
    turn(bench.loop);
    turn(bench.loop);
    assert_int_equal(asker.told, 0);
    bench_close(&bench);
}

/* An asker may ask, and forget others, while it is told. */
static struct asker *victim, *follower;

static void ask_and_forget(void *owner, enum store_status status, const struct idem_result *result)
{
    asker_done(owner, status, result);
    if (victim->call != NULL) {
        store_forget(victim->call);
        victim->call = NULL;
    }
    ask(((struct asker *)owner)->bench, follower, IDEM_READ, 9, 1);
}

static void test_an_asker_may_ask_and_forget_while_it_is_told(void **state)
{
    struct both both;
    struct asker first = {0}, second, third;
    struct idem_op op = op_of(IDEM_READ, 1, 1);

    (void)state;
    victim = &second;
    follower = &third;
    memset(&third, 0, sizeof third);
    open_both(&both, NULL);
    first.bench = &both.bench;
    assert_non_null(store_ask(both.bench.store, &op, false, 1000, ask_and_forget, &first));
    ask(&both.bench, &second, IDEM_READ, 2, 1);
    UNTIL(both.bench.loop, third.told == 1);
    assert_int_equal(first.told, 1);
    assert_int_equal(second.told, 0);
    close_both(&both);
}

static void test_counts_and_durations_by_operation(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both, NULL);
    assert_int_equal(verdict(&both.bench, &asker, IDEM_COMPLETE, 1, 1), IDEM_OK);
    assert_int_equal(verdict(&both.bench, &asker, IDEM_COMPLETE, 1, 1), IDEM_OK);
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"complete\",result=\"ok\"}"), 2);
    assert_int_equal(bench_metric(&both.bench, "weir_store_duration_seconds_count{op=\"complete\"}"), 2);
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"begin\""), 0);
    assert_int_equal(bench_metric(&both.bench, "weir_store_bytes_used"), 1000);
    assert_int_equal(bench_metric(&both.bench, "weir_store_bytes_max"), 2000);
    close_both(&both);
}

/* The sweep says how many there are; what is told and resolved afterwards corrects it, bucket by bucket. */
static void test_the_count_of_unknowns_follows_what_is_heard(void **state)
{
    struct bench bench;
    struct store *store;
    struct store_state told;
    struct idem_op op = op_of(IDEM_MARK, 3, 1);
    struct idem_result now_unknown = {.verdict = IDEM_OK, .told_now = true};
    struct idem_result now_resolved = {.verdict = IDEM_OK, .resolved_now = true};

    (void)state;
    open_nowhere(&bench);
    store = bench.store;
    store_unknowns_set(store, 3, 5, 1000);
    store_unknowns_set(store, 900, 2, 400);
    store_state(store, &told);
    assert_int_equal(told.unknown_count, 7);
    assert_int_equal(told.oldest_unknown_us, 400);
    store_hear(store, &op, &now_unknown);
    store_state(store, &told);
    assert_int_equal(told.unknown_count, 8);
    assert_int_equal(bench.heard_told, 1);
    store_unknowns_set(store, 3, 6, 1000); /* the sweep saw it too: it is not counted twice */
    store_unknowns_set(store, 900, 0, 0);
    store_state(store, &told);
    assert_int_equal(told.unknown_count, 6);
    assert_int_equal(told.oldest_unknown_us, 1000);
    for (int i = 0; i < 8; i++) { /* more than are known of: never below none */
        store_hear(store, &op, &now_resolved);
    }
    store_state(store, &told);
    assert_int_equal(told.unknown_count, 0);
    assert_int_equal(told.oldest_unknown_us, 0);
    assert_int_equal(bench.heard_resolved, 8);
    bench_close(&bench);
}

static void test_a_store_that_closes_takes_in_only_what_settles(void **state)
{
    struct both both;
    struct asker asker, late;
    struct idem_op begin = op_of(IDEM_BEGIN, 1, 1);

    (void)state;
    open_both(&both, NULL);
    ask(&both.bench, &asker, IDEM_COMPLETE, 1, 1);
    store_close(both.bench.store, 10000, bench_on_closed, &both.bench);
    assert_null(store_ask(both.bench.store, &begin, false, 1000, asker_done, &late));
    ask(&both.bench, &late, IDEM_COMPLETE, 2, 1);
    UNTIL(both.bench.loop, both.bench.closed == 1);
    assert_int_equal(asker.status, STORE_OK);
    assert_int_equal(late.status, STORE_OK);
    fake_close(&both.fake);
    bench_close_rest(&both.bench);
}

static void test_a_store_may_be_closed_before_it_ever_connected(void **state)
{
    struct bench bench;

    (void)state;
    open_nowhere(&bench);
    bench_close(&bench); /* in its first turn */
    open_nowhere(&bench);
    turn(bench.loop);
    bench_close(&bench);
}

/* Between connect and the last reply of the greeting. */
static void test_a_store_may_be_closed_while_it_connects(void **state)
{
    struct both both;

    (void)state;
    bench_init(&both.bench);
    fake_open(&both.fake, both.bench.loop);
    both.fake.mute = true;
    both.fake.script = say_nothing;
    bench_server(&both.bench, both.fake.port, false);
    bench_start(&both.bench);
    UNTIL(both.bench.loop, both.fake.client_count == 1);
    close_both(&both);
}

/* ---- limits ---- */

static void test_questions_about_limits_have_their_bound(void **state)
{
    struct both both;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0);
    struct limit_asker *askers = calloc(STORE_LIMIT_CALLS_MAX, sizeof *askers);
    struct asker asker;

    (void)state;
    open_both(&both, say_nothing);
    redis_of(both.bench.store)->begin_timeout_ms = 60000; /* silence is no trouble here */
    for (size_t i = 0; i < STORE_LIMIT_CALLS_MAX; i++) {
        ask_limit(&both.bench, &askers[i], &ref, 1, 60000);
    }
    assert_null(store_limit(both.bench.store, &ref, 1, 60000, limit_asker_done, &askers[0]));
    assert_int_equal(bench_metric(&both.bench, "weir_store_refused_total"), 1);
    ask(&both.bench, &asker, IDEM_COMPLETE, 1, 1); /* records have bounds of their own */
    assert_int_equal(bench_metric(&both.bench, "weir_store_refused_total"), 1);
    bench_stop(&both.bench, 0);
    for (size_t i = 0; i < STORE_LIMIT_CALLS_MAX; i++) {
        assert_int_equal(askers[i].told, 1);
        assert_int_equal(askers[i].status, STORE_DOWN);
    }
    fake_close(&both.fake);
    bench_close_rest(&both.bench);
    free(askers);
}

static char seen_keys[LIMITS_MAX][128], seen_costs[LIMITS_MAX][8];

/* EVALSHA, sha, keys; of a limit alone its key, of a begin 3 keys and then those; arguments behind them. */
static const char *note_limits(struct fake *fake, const struct bytes *words, int count)
{
    bool alone = fake_which(words) == SCRIPT_LEASE;
    int first = alone ? 3 : 6, arguments, limits;
    uint64_t keys;
    (void)fake;
    assert_true(bytes_to_u64(words[2], &keys));
    limits = alone ? 1 : (int)keys - 3;
    arguments = 3 + (int)keys + (alone ? 0 : 10);
    for (int i = 0; i < limits; i++) {
        assert_true(arguments + 5 * i + 4 < count);
        assert_true(bytes_to_text(words[first + i], seen_keys[i], sizeof seen_keys[i]));
        assert_true(bytes_to_text(words[arguments + 5 * i + 3], seen_costs[i], sizeof seen_costs[i]));
    }
    return alone ? FAKE_GRANTED : FAKE_NEW;
}

static void test_a_question_about_a_limit_is_copied(void **state)
{
    struct both both;
    struct limit_asker asker;
    char name[] = "writes";
    struct limit_ref ref = limit_of(name, 7, 100, 10, 0);

    (void)state;
    open_both(&both, note_limits);
    ask_limit(&both.bench, &asker, &ref, 5, 1000);
    memset(name, 'x', 6);
    memset(&ref, 0, sizeof ref);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_string_equal(seen_keys[0], "w:{7}:l:writes:07010000000000000000000000000000");
    assert_int_equal(asker.status, STORE_OK);
    assert_int_equal(asker.granted, 3);
    assert_true(asker.limit.fits);
    assert_int_equal(asker.limit.remaining, 4);
    assert_int_equal(asker.limit.reset_us, 6000);
    assert_int_equal(asker.limit.wait_us, 0);
    close_both(&both);
}

/* Three limits and the sealed key of a UUID need no memory of their own; eight with the longest names do. */
static void test_the_limits_of_a_begin_are_copied(void **state)
{
    struct both both;
    struct asker asker;
    char names[LIMITS_MAX][STORE_LIMIT_NAME_BYTES_MAX + 1], sealed_key[70];
    struct limit_ref limits[LIMITS_MAX];

    (void)state;
    memset(sealed_key, 'k', sizeof sealed_key);
    open_both(&both, note_limits);
    for (int count = 3; count <= LIMITS_MAX; count += LIMITS_MAX - 3) {
        for (int i = 0; i < count; i++) {
            size_t len = count == 3 ? 10 : STORE_LIMIT_NAME_BYTES_MAX;
            memset(names[i], 'a' + i, len);
            names[i][len] = '\0';
            limits[i] = limit_of(names[i], 1, 100, 10, 0);
            limits[i].ask.cost = (uint64_t)i + 1;
        }
        struct idem_op op = op_with_limits(1, 1, limits, count);
        op.upstream_key = bytes_of(sealed_key, sizeof sealed_key);
        ask_op(&both.bench, &asker, &op, false, 1000);
        assert_int_equal(redis_of(both.bench.store)->store.bytes_held > 0, count > 3);
        memset(names, 'x', sizeof names);
        memset(limits, 0, sizeof limits);
        UNTIL(both.bench.loop, asker.told == 1);
        for (int i = 0; i < count; i++) {
            assert_int_equal(seen_keys[i][8], 'a' + i);
            assert_int_equal(seen_costs[i][0], '1' + i);
        }
        assert_int_equal(redis_of(both.bench.store)->store.bytes_held, 0);
    }
    close_both(&both);
}

static void test_a_question_about_a_limit_has_its_time(void **state)
{
    struct both both;
    struct limit_asker late, next;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0);

    (void)state;
    open_both(&both, say_nothing);
    ask_limit(&both.bench, &late, &ref, 1, 20);
    UNTIL(both.bench.loop, late.told == 1);
    assert_int_equal(late.status, STORE_DOWN);
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"lease\",result=\"down\"}"), 1);
    ask_limit(&both.bench, &next, &ref, 1, 10000);
    UNTIL(both.bench.loop, both.fake.scripts == 2);
    fake_pay(fake_last(&both.fake), FAKE_GRANTED); /* too late: nobody's, and not the next one's */
    fake_say(fake_last(&both.fake), FAKE_DENIED);
    UNTIL(both.bench.loop, next.told == 1);
    assert_int_equal(late.told, 1);
    assert_int_equal(next.status, STORE_OK);
    assert_int_equal(next.granted, 0);
    assert_int_equal(next.limit.wait_us, 5000);
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"lease\",result=\"ok\"}"), 1);
    assert_int_equal(bench_metric(&both.bench, "weir_store_duration_seconds_count{op=\"lease\"}"), 1);
    close_both(&both);
}

/* The loop stood still for longer than the question had: the reply that lies there is read before its time is over. */
static void test_a_loop_that_was_late_does_not_blame_the_store(void **state)
{
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0);
    struct timespec pause = {.tv_nsec = 40 * 1000 * 1000};
    struct server server;
    char reply[TEXT_BYTES];

    (void)state;
    server_start(&server, "--appendonly", "yes", NULL);
    bench_init(&bench);
    bench_server(&bench, server.port, false);
    bench_start(&bench);
    UNTIL(bench.loop, bench_is_up(&bench));
    for (int i = 0; i < 3; i++) {
        ask_limit(&bench, &asker, &ref, 1, 20);
        UNTIL(bench.loop, asker.told == 1 || redis_of(bench.store)->connection.asked_limits == 1);
        (void)server_do(&server, "PING", reply); /* a round trip behind it: it is answered */
        (void)nanosleep(&pause, NULL);
        UNTIL(bench.loop, asker.told == 1);
        assert_int_equal(asker.status, STORE_OK);
    }
    bench_close(&bench);
    server_stop(&server);
}

static void test_who_forgets_a_question_about_a_limit_is_not_told(void **state)
{
    struct both both;
    struct limit_asker asked, unasked, charge, next;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0), force = limit_of("declines", 1, 100, 10, LIMIT_FORCE);

    (void)state;
    open_both(&both, say_nothing);
    ask_limit(&both.bench, &asked, &ref, 1, 10000);
    UNTIL(both.bench.loop, both.fake.scripts == 1);
    store_limit_forget(asked.call);
    ask_limit(&both.bench, &unasked, &ref, 1, 10000);
    store_limit_forget(unasked.call); /* it never leaves */
    ask_limit(&both.bench, &charge, &force, 0, 10000);
    store_limit_forget(charge.call); /* what it counts has happened */
    ask_limit(&both.bench, &next, &ref, 1, 10000);
    UNTIL(both.bench.loop, both.fake.scripts == 3);
    fake_pay(fake_last(&both.fake), FAKE_GRANTED);
    fake_say(fake_last(&both.fake), FAKE_GRANTED);
    fake_say(fake_last(&both.fake), FAKE_DENIED);
    UNTIL(both.bench.loop, next.told == 1);
    assert_int_equal(next.granted, 0);
    assert_int_equal(asked.told + unasked.told + charge.told, 0);
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"lease\",result=\"down\"}"), 0); /* nor counted */
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"charge\",result=\"ok\"}"), 1);
    assert_int_equal(both.bench.store->limits_pool.count_used, 0);
    close_both(&both);
}

static void test_a_charge_that_nobody_waits_for(void **state)
{
    struct both both;
    struct limit_ref force = limit_of("declines", 1, 100, 10, LIMIT_FORCE);

    (void)state;
    open_both(&both, note_limits);
    assert_non_null(store_limit(both.bench.store, &force, 0, 10000, NULL, NULL));
    UNTIL(both.bench.loop, both.bench.store->limits_pool.count_used == 0);
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"charge\",result=\"ok\"}"), 1);
    both.fake.script = say_nothing;
    assert_non_null(store_limit(both.bench.store, &force, 0, 20, NULL, NULL)); /* its time ends, too */
    UNTIL(both.bench.loop, both.bench.store->limits_pool.count_used == 0);
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"charge\",result=\"down\"}"), 1);
    close_both(&both);
}

/* A check is of one token, whatever it would cost. */
static void test_a_check_is_counted_as_one(void **state)
{
    struct both both;
    struct limit_asker asker;
    struct limit_ref check = limit_of("declines", 1, 100, 10, LIMIT_CHECK);

    (void)state;
    open_both(&both, note_limits);
    check.ask.cost = 9;
    (void)granted_of(&both.bench, &asker, &check, 0);
    assert_string_equal(seen_costs[0], "1");
    assert_int_equal(bench_metric(&both.bench, "weir_store_requests_total{op=\"check\",result=\"ok\"}"), 1);
    close_both(&both);
}

static struct limit_asker *limit_victim, *limit_follower;

static void ask_and_forget_limits(void *owner, enum store_status status, uint64_t granted,
                                  const struct limit_told *told)
{
    struct limit_ref ref = limit_of("writes", 9, 100, 10, 0);
    limit_asker_done(owner, status, granted, told);
    if (limit_victim->call != NULL) {
        store_limit_forget(limit_victim->call);
        limit_victim->call = NULL;
    }
    ask_limit(((struct limit_asker *)owner)->bench, limit_follower, &ref, 1, 1000);
}

static void test_who_is_told_of_a_limit_may_ask_and_forget(void **state)
{
    struct both both;
    struct limit_asker first, second, third;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0);

    (void)state;
    limit_victim = &second;
    limit_follower = &third;
    for (int down = 0; down < 2; down++) { /* with the replies, and all at once when the connection is lost */
        memset(&first, 0, sizeof first);
        memset(&third, 0, sizeof third);
        open_both(&both, down ? say_nothing : note_limits);
        first.bench = &both.bench;
        assert_non_null(store_limit(both.bench.store, &ref, 1, 1000, ask_and_forget_limits, &first));
        ask_limit(&both.bench, &second, &ref, 1, 1000);
        UNTIL(both.bench.loop, both.fake.scripts > 0);
        if (down) {
            fake_drop(&both.fake);
        }
        UNTIL(both.bench.loop, third.told == 1);
        assert_int_equal(first.told, 1);
        assert_int_equal(first.status, down ? STORE_DOWN : STORE_OK);
        assert_int_equal(second.told, 0);
        assert_int_equal(third.status, down ? STORE_DOWN : STORE_OK);
        close_both(&both);
    }
}

static void test_a_store_that_closes_answers_questions_about_limits(void **state)
{
    struct both both;
    struct limit_asker asked, unasked;
    struct asker settling;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0);

    (void)state;
    open_both(&both, say_nothing);
    ask_limit(&both.bench, &asked, &ref, 1, 60000);
    UNTIL(both.bench.loop, both.fake.scripts == 1);
    ask(&both.bench, &settling, IDEM_COMPLETE, 1, 1);
    ask_limit(&both.bench, &unasked, &ref, 1, 60000);
    store_close(both.bench.store, 100, bench_on_closed, &both.bench);
    assert_int_equal(asked.told + unasked.told, 0);
    assert_null(store_limit(both.bench.store, &ref, 1, 1000, limit_asker_done, &asked));
    UNTIL(both.bench.loop, both.bench.closed == 1);
    assert_int_equal(asked.told, 1);
    assert_int_equal(unasked.told, 1);
    assert_int_equal(asked.status, STORE_DOWN);
    assert_int_equal(unasked.status, STORE_DOWN);
    fake_close(&both.fake);
    bench_close_rest(&both.bench);
}

static void test_one_weir_is_alone_until_it_hears_of_others(void **state)
{
    struct bench bench;

    (void)state;
    open_nowhere(&bench);
    assert_int_equal(store_fleet(bench.store), 1);
    assert_int_equal(bench_metric(&bench, "weir_store_fleet"), 1);
    store_fleet_set(bench.store, 7);
    assert_int_equal(store_fleet(bench.store), 7);
    assert_int_equal(bench_metric(&bench, "weir_store_fleet"), 7);
    store_fleet_set(bench.store, 0);
    assert_int_equal(store_fleet(bench.store), 1);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_have_their_bound_and_what_settles_its_own_part),
        cmocka_unit_test(test_bytes_have_their_bound_and_what_settles_its_own_part),
        cmocka_unit_test(test_begins_leave_bytes_for_what_settles),
        cmocka_unit_test(test_an_op_is_copied_whole),
        cmocka_unit_test(test_who_forgets_is_not_told),
        cmocka_unit_test(test_who_forgets_while_the_answer_waits_is_not_told),
        cmocka_unit_test(test_an_asker_may_ask_and_forget_while_it_is_told),
        cmocka_unit_test(test_counts_and_durations_by_operation),
        cmocka_unit_test(test_the_count_of_unknowns_follows_what_is_heard),
        cmocka_unit_test(test_a_store_that_closes_takes_in_only_what_settles),
        cmocka_unit_test(test_a_store_may_be_closed_before_it_ever_connected),
        cmocka_unit_test(test_a_store_may_be_closed_while_it_connects),
        cmocka_unit_test(test_questions_about_limits_have_their_bound),
        cmocka_unit_test(test_a_question_about_a_limit_is_copied),
        cmocka_unit_test(test_the_limits_of_a_begin_are_copied),
        cmocka_unit_test(test_a_question_about_a_limit_has_its_time),
        cmocka_unit_test(test_a_loop_that_was_late_does_not_blame_the_store),
        cmocka_unit_test(test_who_forgets_a_question_about_a_limit_is_not_told),
        cmocka_unit_test(test_a_charge_that_nobody_waits_for),
        cmocka_unit_test(test_a_check_is_counted_as_one),
        cmocka_unit_test(test_who_is_told_of_a_limit_may_ask_and_forget),
        cmocka_unit_test(test_a_store_that_closes_answers_questions_about_limits),
        cmocka_unit_test(test_one_weir_is_alone_until_it_hears_of_others),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
