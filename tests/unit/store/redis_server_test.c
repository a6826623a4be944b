/* The Redis store against a real redis-server. */
#include "redis_support.h"

#include "io/tls_support.h"

static struct server plain; /* of the tests that do not need one of their own */

static int plain_start(void **state)
{
    (void)state;
    server_start(&plain, "--appendonly", "yes", "--appendfsync", "always", NULL);
    return 0;
}

static int plain_stop(void **state)
{
    (void)state;
    server_stop(&plain);
    return 0;
}

static void open_on(struct bench *bench, const struct server *server)
{
    char reply[TEXT_BYTES];
    bench_init(bench);
    (void)server_do(server, "FLUSHALL", reply);
    bench_server(bench, server->port, false);
    bench_start(bench);
    UNTIL(bench->loop, bench_is_up(bench));
}

static void test_a_payment_lives_from_begin_to_replay(void **state)
{
    struct bench bench;
    struct asker asker;

    (void)state;
    open_on(&bench, &plain);
    assert_string_equal(bench_trouble(&bench), "");
    assert_string_equal(bench_not_durable(&bench), "");
    assert_int_equal(verdict(&bench, &asker, IDEM_READ, 5, 1), IDEM_NONE);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 5, 1), IDEM_NEW);
    assert_int_equal(asker.result.state, IDEM_IN_FLIGHT);
    assert_string_equal(asker.result.processor, "acme");
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 5, 1), IDEM_NEW); /* the same owner asks twice */
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 5, 2), IDEM_BUSY);
    assert_true(asker.result.left_ms > 50000 && asker.result.left_ms <= 60000);
    assert_int_equal(verdict(&bench, &asker, IDEM_RENEW, 5, 2), IDEM_LOST);
    assert_int_equal(verdict(&bench, &asker, IDEM_RENEW, 5, 1), IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 5, 1), IDEM_OK);
    assert_int_equal(asker.result.state, IDEM_DONE);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 5, 3), IDEM_REPLAY);
    assert_int_equal(asker.result.status, 201);
    assert_string_equal(asker.answer, "the sealed answer");
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 5, 4), IDEM_ALREADY);
    assert_string_equal(asker.answer, "the sealed answer");
    assert_int_equal(verdict(&bench, &asker, IDEM_READ, 5, 0), IDEM_OK);
    assert_int_equal(asker.result.state, IDEM_DONE);
    assert_true(asker.result.since_ms > 0 && asker.result.done_ms >= asker.result.since_ms);
    assert_int_equal(bench.heard_told, 0);
    bench_close(&bench);
}

static void test_another_request_under_the_key_learns_nothing(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 6, 2);

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 6, 1), IDEM_NEW);
    op.print[0] = 9;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_MISMATCH);
    assert_string_equal(asker.result.processor, "");
    assert_string_equal(asker.result.request_id, "");
    assert_int_equal(asker.result.age_ms, 0);
    bench_close(&bench);
}

static void test_binary_fields_come_back_as_they_were(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 7, 1);
    char sealed[300];

    (void)state;
    for (size_t i = 0; i < sizeof sealed; i++) {
        sealed[i] = (char)(i * 7 + 1) == 0 ? 1 : (char)(i * 7 + 1);
    }
    sealed[100] = '\r';
    sealed[101] = '\n';
    open_on(&bench, &plain);
    op.upstream_key = bytes_of(sealed, sizeof sealed);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 7, 1), IDEM_OK);
    assert_true(asker.result.told_now);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 7, 2), IDEM_TAKEN_OVER);
    assert_int_equal(asker.result.upstream_key.len, sizeof sealed);
    assert_memory_equal(asker.upstream_key, sealed, sizeof sealed);
    assert_int_equal(asker.result.takeovers, 1);
    bench_close(&bench);
}

static void test_an_unknown_is_told_once_and_resolved_once(void **state)
{
    struct bench bench;
    struct asker asker;
    struct store_state told;

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 8, 1), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 8, 1), IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 8, 1), IDEM_OK);
    assert_int_equal(bench.heard_told, 1);
    assert_string_equal(bench.heard_request_id, "0123456789abcdef0123456789abcdef");
    store_state(bench.store, &told);
    assert_int_equal(told.unknown_count, 1);
    assert_true(told.oldest_unknown_us > 0);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 8, 1), IDEM_OK);
    assert_int_equal(bench.heard_resolved, 1);
    store_state(bench.store, &told);
    assert_int_equal(told.unknown_count, 0);
    assert_int_equal(told.oldest_unknown_us, 0);
    bench_close(&bench);
}

/* As after a reply that was lost: the very same question is asked again. */
static enum idem_verdict verdict_again(struct bench *bench, struct asker *asker, const struct idem_op *op)
{
    bench->store->last_number--;
    return verdict_of(bench, asker, op);
}

static void test_what_was_told_and_not_heard_is_told_again(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op;

    (void)state;
    open_on(&bench, &plain);
    sweep_close(redis_of(bench.store)); /* nobody else asks */
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 1, 1), IDEM_NEW);
    op = op_of(IDEM_MARK, 1, 1);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    assert_int_equal(verdict_again(&bench, &asker, &op), IDEM_OK);
    assert_true(asker.result.told_now);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK); /* another question */
    assert_false(asker.result.told_now);
    op = op_of(IDEM_COMPLETE, 1, 1);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    assert_int_equal(verdict_again(&bench, &asker, &op), IDEM_ALREADY);
    assert_true(asker.result.resolved_now);

    op = op_of(IDEM_BEGIN, 2, 1);
    op.lease_ms = 1;
    op.resend_ms = 0;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    op.owner[0] = 2;
    UNTIL(bench.loop, verdict_of(&bench, &asker, &op) == IDEM_STUCK);
    assert_true(asker.result.told_now);
    assert_int_equal(verdict_again(&bench, &asker, &op), IDEM_STUCK);
    assert_true(asker.result.told_now);

    op = op_of(IDEM_RESOLVE, 2, 0); /* not executed: the record goes */
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    assert_int_equal(verdict_again(&bench, &asker, &op), IDEM_OK);
    assert_true(asker.result.resolved_now);
    assert_string_equal(asker.result.request_id, "0123456789abcdef0123456789abcdef");
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NONE);
    assert_false(asker.result.resolved_now);
    assert_string_equal(asker.result.request_id, "");
    assert_int_equal(verdict(&bench, &asker, IDEM_READ, 2, 0), IDEM_NONE);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 2, 3), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 2, 3), IDEM_OK);
    op.executed = true;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    assert_int_equal(verdict_again(&bench, &asker, &op), IDEM_OK);
    assert_true(asker.result.resolved_now);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_ALREADY);

    op = op_of(IDEM_MARK, 3, 1); /* lost by the store, brought back, and over at once */
    op.keep_unknown_ms = 100000;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_REASSERTED);
    op = op_of(IDEM_LAPSE, 3, 0);
    op.margin_ms = 200000;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_EXPIRED);
    assert_true(asker.result.resolved_now);
    assert_int_equal(verdict_again(&bench, &asker, &op), IDEM_EXPIRED);
    assert_true(asker.result.resolved_now);
    assert_string_equal(asker.result.request_id, "0123456789abcdef0123456789abcdef");
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_EXPIRED);
    assert_false(asker.result.resolved_now);
    bench_close(&bench);
}

static void test_an_operator_resolves_either_way(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_RESOLVE, 9, 0);

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NONE);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 9, 1), IDEM_NEW);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_REFUSED);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 9, 1), IDEM_OK);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK); /* not executed: free */
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 9, 2), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 9, 2), IDEM_OK);
    op.executed = true;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    assert_int_equal(asker.result.state, IDEM_DONE);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 9, 3), IDEM_RECEIPT);
    assert_int_equal(asker.result.status, 0);
    assert_true(asker.result.left_ms > 0);
    assert_int_equal(bench.heard_resolved, 2);
    bench_close(&bench);
}

static void test_what_was_never_sent_leaves_nothing(void **state)
{
    struct bench bench;
    struct asker asker;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 10, 1), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_ABANDON, 10, 2), IDEM_LOST);
    assert_int_equal(verdict(&bench, &asker, IDEM_ABANDON, 10, 1), IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_ABANDON, 10, 1), IDEM_OK);
    assert_string_equal(server_do(&plain, "KEYS w:{10}:*", reply), "*0\r\n");
    bench_close(&bench);
}

static void test_the_answer_goes_before_its_record(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_COMPLETE, 11, 1);
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 11, 1), IDEM_NEW);
    op.keep_ms = 40;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    UNTIL(bench.loop, strcmp(server_do(&plain, "KEYS w:{11}:a:*", reply), "*0\r\n") == 0);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 11, 2), IDEM_RECEIPT);
    assert_int_equal(asker.result.status, 201);
    assert_string_equal(asker.upstream_key, op.upstream_key.at);
    bench_close(&bench);
}

/* A definite answer alone shortens the life of a record. */
static void test_how_long_records_live(void **state)
{
    struct bench bench;
    struct asker asker;
    char reply[TEXT_BYTES];
    const char *ttl = "PTTL w:{12}:i:0c02030000000000000000000000000000000000";
    long ms;

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 12, 1), IDEM_NEW);
    ms = strtol(server_do(&plain, ttl, reply) + 1, NULL, 10);
    assert_true(ms > 3500 * 1000 && ms <= 3600 * 1000);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 12, 1), IDEM_OK);
    ms = strtol(server_do(&plain, ttl, reply) + 1, NULL, 10);
    assert_true(ms > 1100 * 1000 && ms <= 1200 * 1000);
    bench_close(&bench);
}

/* MEMORY USAGE of both keys; a record that no listpack takes costs three times as much. */
static void test_what_a_record_costs(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 13, 1);
    char reply[TEXT_BYTES], sealed_key[70], answer[1500];
    long in_flight, done, kept;

    (void)state;
    memset(sealed_key, 'k', sizeof sealed_key); /* a UUID of 36, sealed */
    memset(answer, 'a', sizeof answer);
    open_on(&bench, &plain);
    op.upstream_key = bytes_of(sealed_key, sizeof sealed_key);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    in_flight = strtol(server_do(&plain, "MEMORY USAGE w:{13}:i:0d02030000000000000000000000000000000000", reply) + 1,
                       NULL, 10);
    op.kind = IDEM_COMPLETE;
    op.answer = bytes_of(answer, sizeof answer);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    done = strtol(server_do(&plain, "MEMORY USAGE w:{13}:i:0d02030000000000000000000000000000000000", reply) + 1, NULL,
                  10);
    kept = strtol(server_do(&plain, "MEMORY USAGE w:{13}:a:0d02030000000000000000000000000000000000", reply) + 1, NULL,
                  10);
    print_message("bytes of a record: %ld in flight, %ld done, %ld its answer of %zu\n", in_flight, done, kept,
                  sizeof answer);
    assert_true(in_flight > 0 && in_flight <= 450);
    assert_true(done > 0 && done <= 400);
    assert_true(kept > (long)sizeof answer && kept <= (long)sizeof answer + 500);
    bench_close(&bench);
}

static void test_scripts_that_the_server_forgot_travel_whole(void **state)
{
    struct bench bench;
    struct asker asker;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    assert_string_equal(server_do(&plain, "SCRIPT FLUSH", reply), "+OK\r\n");
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 14, 1), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 14, 1), IDEM_OK);
    bench_close(&bench);
}

static void test_a_full_server_refuses_begins_and_takes_completions(void **state)
{
    struct bench bench;
    struct asker asker;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 15, 1), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 16, 1), IDEM_NEW);
    assert_string_equal(server_do(&plain, "CONFIG SET maxmemory 1", reply), "+OK\r\n");
    ask(&bench, &asker, IDEM_BEGIN, 17, 1);
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_FULL);
    assert_non_null(strstr(bench_trouble(&bench), "OOM"));
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 15, 1), IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 16, 1), IDEM_OK);
    assert_string_equal(server_do(&plain, "CONFIG SET maxmemory 0", reply), "+OK\r\n");
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 17, 1), IDEM_NEW);
    assert_string_equal(bench_trouble(&bench), "");
    bench_close(&bench);
}

/* weir itself stood still for longer than anything may take: what the server said meanwhile is read first. */
static void test_a_loop_that_was_late_does_not_blame_the_server(void **state)
{
    struct bench bench;
    struct asker asker;
    struct timespec pause = {.tv_sec = 1, .tv_nsec = 300 * 1000 * 1000};
    struct connection *connection;
    uint64_t number;

    (void)state;
    open_on(&bench, &plain);
    connection = &redis_of(bench.store)->connection;
    number = connection->number;
    ask(&bench, &asker, IDEM_BEGIN, 18, 1);
    UNTIL(bench.loop, connection->asked_calls == 1 || asker.told == 1);
    assert_int_equal(nanosleep(&pause, NULL), 0);
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_OK);
    assert_int_equal(connection->number, number);
    bench_close(&bench);
}

/* ---- the sweep ---- */

static void test_the_sweep_finds_owners_that_went_silent(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 20, 1);
    struct store_state told;

    (void)state;
    open_on(&bench, &plain);
    op.lease_ms = 1;
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    UNTIL(bench.loop, bench.heard_told == 1);
    assert_int_equal(bench.heard_op, IDEM_LAPSE);
    assert_string_equal(bench.heard_request_id, op.request_id);
    store_state(bench.store, &told);
    assert_int_equal(told.unknown_count, 1);
    assert_int_equal(verdict(&bench, &asker, IDEM_READ, 20, 0), IDEM_OK);
    assert_int_equal(asker.result.state, IDEM_UNKNOWN);
    bench_close(&bench);
}

/* Two weirs on one store: each unknown is told once in all. */
static void test_two_sweeps_tell_each_unknown_once(void **state)
{
    struct bench one, two;
    struct asker asker;
    struct idem_op op;
    uint64_t until_us;

    (void)state;
    open_on(&one, &plain);
    bench_init(&two);
    bench_server(&two, plain.port, false);
    bench_start(&two);
    UNTIL(two.loop, bench_is_up(&two));
    for (uint8_t i = 0; i < 40; i++) {
        op = op_of(IDEM_BEGIN, (uint8_t)(100 + i), 1);
        op.lease_ms = 1;
        assert_int_equal(verdict_of(&one, &asker, &op), IDEM_NEW);
    }
    until_us = clock_now_us() + PATIENCE_US;
    while (one.heard_told + two.heard_told < 40) {
        assert_true(clock_now_us() < until_us);
        uv_run(loop_uv(one.loop), UV_RUN_NOWAIT);
        uv_run(loop_uv(two.loop), UV_RUN_NOWAIT);
    }
    assert_int_equal(one.heard_told + two.heard_told, 40);
    bench_close(&one);
    bench_close(&two);
}

/* The record is gone and its entry is not: that is the end of an unknown, told by whoever takes the entry out. */
static void test_the_sweep_tells_of_records_that_ran_out(void **state)
{
    struct bench bench;
    struct asker asker;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 21, 1), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 21, 1), IDEM_OK);
    assert_string_equal(server_do(&plain, "DEL w:{21}:i:1502030000000000000000000000000000000000", reply), ":1\r\n");
    UNTIL(bench.loop, bench.heard_resolved == 1);
    assert_int_equal(bench.heard_op, IDEM_LAPSE);
    assert_string_equal(server_do(&plain, "EXISTS w:{21}:open", reply), ":0\r\n");
    bench_close(&bench);
}

static void test_the_sweep_ends_unknowns_whose_time_is_over(void **state)
{
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_MARK, 22, 1);
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 22, 1), IDEM_NEW);
    op.keep_unknown_ms = 5900; /* less than the margin of the sweep, more than it takes to come round */
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_OK);
    UNTIL(bench.loop, bench.heard_resolved == 1);
    assert_string_equal(server_do(&plain, "KEYS w:{22}:open", reply), "*0\r\n");
    assert_int_equal(verdict(&bench, &asker, IDEM_READ, 22, 0), IDEM_NONE);
    bench_close(&bench);
}

/* ---- walks ---- */

struct seen {
    int count, ends;
    bool whole;
    int stop_after;
    struct store_record last;
    char processor[64], request_id[64];
};

static bool on_each(void *owner, const struct store_record *record)
{
    struct seen *seen = owner;
    seen->count++;
    seen->last = *record;
    (void)snprintf(seen->processor, sizeof seen->processor, "%s", record->processor);
    (void)snprintf(seen->request_id, sizeof seen->request_id, "%s", record->request_id);
    return seen->stop_after == 0 || seen->count < seen->stop_after;
}

static void on_seen_all(void *owner, bool whole)
{
    struct seen *seen = owner;
    seen->ends++;
    seen->whole = whole;
}

static void walk(struct bench *bench, struct seen *seen, enum store_walk_scope scope, const struct idem_name *prefix,
                 size_t len)
{
    seen->count = seen->ends = 0;
    assert_non_null(store_walk(bench->store, scope, prefix, len, on_each, on_seen_all, seen));
    assert_null(store_walk(bench->store, scope, NULL, 0, on_each, on_seen_all, seen)); /* one at a time */
    UNTIL(bench->loop, seen->ends == 1);
}

#define WALKED 1200 /* more than a page of one bucket, and than one step looks at */

static void test_a_walk_tells_every_record(void **state)
{
    struct bench bench;
    struct asker asker, *many = calloc(WALKED, sizeof *many);
    struct seen seen = {0};
    struct idem_op op;
    struct idem_name prefix = {.bucket = 3, .hash = {1, 5}};
    int told = 0;

    (void)state;
    open_on(&bench, &plain);
    for (int i = 0; i < WALKED; i++) {
        op = op_of(IDEM_BEGIN, 1, 1);
        op.name =
            (struct idem_name){.bucket = (uint16_t)(i < 700 ? 3 : i % 1024), .hash = {(uint8_t)(i >> 8), (uint8_t)i}};
        ask_op(&bench, &many[i], &op, false, 20000);
    }
    UNTIL(bench.loop, many[WALKED - 1].told == 1);
    for (int i = 0; i < WALKED; i++) {
        told += many[i].told == 1 && many[i].status == STORE_OK && many[i].result.verdict == IDEM_NEW;
    }
    assert_int_equal(told, WALKED);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 50, 1), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 50, 1), IDEM_OK);

    walk(&bench, &seen, STORE_WALK_OPEN, NULL, 0);
    assert_true(seen.whole);
    assert_int_equal(seen.count, WALKED);
    walk(&bench, &seen, STORE_WALK_ALL, NULL, 0);
    assert_true(seen.whole);
    assert_true(seen.count >= WALKED + 1); /* SCAN may tell one twice */
    walk(&bench, &seen, STORE_WALK_OPEN, &prefix, 2);
    assert_true(seen.whole);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.last.state, IDEM_IN_FLIGHT);
    assert_string_equal(seen.processor, "acme");
    prefix = (struct idem_name){.bucket = 50, .hash = {50}};
    walk(&bench, &seen, STORE_WALK_ALL, &prefix, 1);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.last.state, IDEM_DONE);
    assert_int_equal(seen.last.status, 201);
    assert_true(seen.last.answer_kept && seen.last.done_us > 0 && seen.last.expires_us > seen.last.done_us);
    seen.stop_after = 5;
    walk(&bench, &seen, STORE_WALK_OPEN, NULL, 0);
    assert_int_equal(seen.count, 5);
    assert_true(seen.whole);
    free(many);
    bench_close(&bench);
}

static void test_a_walk_that_is_stopped_says_no_more(void **state)
{
    struct bench bench;
    struct asker asker;
    struct seen seen = {0}, other = {0};
    struct store_walk *walking;

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 30, 1), IDEM_NEW);
    walking = store_walk(bench.store, STORE_WALK_OPEN, NULL, 0, on_each, on_seen_all, &seen);
    assert_non_null(walking);
    turn(bench.loop);
    store_walk_stop(walking);
    walk(&bench, &other, STORE_WALK_OPEN, NULL, 0);
    assert_int_equal(other.count, 1);
    assert_int_equal(seen.count + seen.ends, 0);
    bench_close(&bench);
}

/* ---- restarts, passwords, TLS ---- */

static void test_what_was_acknowledged_survives_kill_9_with_an_append_only_file(void **state)
{
    struct server server;
    struct bench bench;
    struct asker asker;

    (void)state;
    server_start(&server, "--appendonly", "yes", "--appendfsync", "always", NULL);
    open_on(&bench, &server);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 40, 1), IDEM_NEW);
    UNTIL(bench.loop, redis_of(bench.store)->watch.canary_acked > 0);
    server_kill(&server, SIGKILL);
    UNTIL(bench.loop, !bench_is_up(&bench));
    server_run(&server);
    UNTIL(bench.loop, bench_is_up(&bench));
    assert_string_equal(bench_not_durable(&bench), "");
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 40, 2), IDEM_BUSY);
    bench_close(&bench);
    server_stop(&server);
}

static void test_writes_that_a_restart_forgot_are_noticed(void **state)
{
    struct server server;
    struct bench bench;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 42, 1);

    (void)state;
    server_start(&server, "--appendonly", "no", NULL);
    open_on(&bench, &server);
    assert_non_null(strstr(bench_not_durable(&bench), "append only"));
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 41, 1), IDEM_NEW);
    UNTIL(bench.loop, redis_of(bench.store)->watch.canary_acked > 0);
    server_kill(&server, SIGKILL);
    UNTIL(bench.loop, !bench_is_up(&bench));
    server.options[1] = "yes"; /* durable from now on */
    server_run(&server);
    UNTIL(bench.loop, bench_is_up(&bench));
    assert_non_null(strstr(bench_not_durable(&bench), "acknowledged writes are gone"));
    ask_op(&bench, &asker, &op, true, 1000);
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_UNTRUSTED);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW); /* sticky goes on */
    store_accept_loss(bench.store);
    assert_string_equal(bench_not_durable(&bench), "");
    bench_close(&bench);
    server_stop(&server);
}

static void test_a_completion_waits_for_the_server(void **state)
{
    struct server server;
    struct bench bench;
    struct asker asker, late;
    struct store_state told;

    (void)state;
    server_start(&server, "--appendonly", "yes", "--appendfsync", "always", NULL);
    open_on(&bench, &server);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 43, 1), IDEM_NEW);
    server_kill(&server, SIGKILL);
    ask(&bench, &late, IDEM_COMPLETE, 43, 1);
    UNTIL(bench.loop, !bench_is_up(&bench));
    store_state(bench.store, &told);
    assert_int_equal(told.unsettled, 1);
    server_run(&server);
    UNTIL(bench.loop, late.told == 1);
    assert_int_equal(late.status, STORE_OK);
    assert_int_equal(late.result.verdict, IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 43, 2), IDEM_REPLAY);
    bench_close(&bench);
    server_stop(&server);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* The password changes while weir runs: the connection in use goes on under the new one, and the next one has it too.
 */
static void test_a_password_that_is_rotated(void **state)
{
    struct server server;
    struct bench bench;
    struct asker asker;
    char path[128], reply[TEXT_BYTES];

    (void)state;
    server_start(&server, "--appendonly", "yes", NULL);
    assert_string_equal(server_do(&server, "ACL SETUSER weir on >first ~* +@all", reply), "+OK\r\n");
    (void)snprintf(path, sizeof path, "%s/password", server.folder);
    write_file(path, "wrong");
    bench_init(&bench);
    bench_server(&bench, server.port, false);
    bench.conf.username = "weir";
    bench.conf.password_file = path;
    bench_start(&bench);
    UNTIL(bench.loop, strstr(bench_trouble(&bench), "WRONGPASS") != NULL);
    assert_false(bench_is_up(&bench));
    write_file(path, "first");
    UNTIL(bench.loop, bench_is_up(&bench));
    (void)server_do(&server, "ACL SETUSER weir >second", reply);
    write_file(path, "second\n");
    store_renew(bench.store, &bench.conf);
    UNTIL(bench.loop, redis_of(bench.store)->credentials.password_len == 6);
    (void)server_do(&server, "ACL SETUSER weir <first", reply);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 45, 1), IDEM_NEW);
    (void)server_do(&server, "CLIENT KILL TYPE normal", reply);
    UNTIL(bench.loop, verdict(&bench, &asker, IDEM_BEGIN, 45, 1) == IDEM_NEW);
    bench_close(&bench);
    server_stop(&server);
}

static void test_tls_with_a_name_that_is_verified(void **state)
{
    struct server server;
    struct bench bench;
    struct asker asker;
    struct issued root, leaf;
    char tls_port[16];
    uint16_t port = free_port();

    (void)state;
    certs_begin();
    issue(&root, NULL, "root", "Test CA", NULL, KEY_EC, 86400);
    issue(&leaf, &root, "leaf", "redis", "DNS:cache.example", KEY_EC, 86400);
    (void)snprintf(tls_port, sizeof tls_port, "%u", port);
    server_start(&server, "--appendonly", "yes", "--tls-port", tls_port, "--tls-cert-file", leaf.cert_path,
                 "--tls-key-file", leaf.key_path, "--tls-ca-cert-file", root.cert_path, "--tls-auth-clients", "no",
                 NULL);
    bench_init(&bench);
    bench_server(&bench, port, true);
    bench.conf.tls_ca = root.cert_path;
    bench.conf.tls_server_name = "other.example";
    bench_start(&bench);
    UNTIL(bench.loop, strstr(bench_trouble(&bench), "certificate") != NULL);
    bench_stop(&bench, 0);
    bench.closed = 0;
    bench.conf.tls_server_name = "cache.example";
    bench_start(&bench);
    UNTIL(bench.loop, bench_is_up(&bench));
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 46, 1), IDEM_NEW);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 46, 1), IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 46, 2), IDEM_REPLAY);
    bench_close(&bench);
    server_stop(&server);
    issued_free(&leaf);
    issued_free(&root);
    certs_end();
}

/* A replica is passed over, and so is a master that became one. */
static void test_a_replica_is_passed_over(void **state)
{
    struct server replica;
    struct bench bench;
    struct asker asker;
    char command[64], reply[TEXT_BYTES];

    (void)state;
    server_start(&replica, "--appendonly", "no", NULL);
    (void)snprintf(command, sizeof command, "REPLICAOF 127.0.0.1 %u", plain.port);
    assert_string_equal(server_do(&replica, command, reply), "+OK\r\n");
    bench_init(&bench);
    bench_server(&bench, replica.port, false);
    bench_start(&bench);
    UNTIL(bench.loop, strstr(bench_trouble(&bench), "replica") != NULL || bench_is_up(&bench));
    assert_false(bench_is_up(&bench));
    bench_stop(&bench, 0);
    bench.closed = 0;
    bench_server(&bench, plain.port, false);
    bench_start(&bench);
    UNTIL(bench.loop, bench_is_up(&bench));
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 47, 1), IDEM_NEW);
    bench_close(&bench);
    server_stop(&replica);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_payment_lives_from_begin_to_replay),
        cmocka_unit_test(test_another_request_under_the_key_learns_nothing),
        cmocka_unit_test(test_binary_fields_come_back_as_they_were),
        cmocka_unit_test(test_an_unknown_is_told_once_and_resolved_once),
        cmocka_unit_test(test_what_was_told_and_not_heard_is_told_again),
        cmocka_unit_test(test_an_operator_resolves_either_way),
        cmocka_unit_test(test_what_was_never_sent_leaves_nothing),
        cmocka_unit_test(test_the_answer_goes_before_its_record),
        cmocka_unit_test(test_how_long_records_live),
        cmocka_unit_test(test_what_a_record_costs),
        cmocka_unit_test(test_scripts_that_the_server_forgot_travel_whole),
        cmocka_unit_test(test_a_full_server_refuses_begins_and_takes_completions),
        cmocka_unit_test(test_a_loop_that_was_late_does_not_blame_the_server),
        cmocka_unit_test(test_the_sweep_finds_owners_that_went_silent),
        cmocka_unit_test(test_two_sweeps_tell_each_unknown_once),
        cmocka_unit_test(test_the_sweep_tells_of_records_that_ran_out),
        cmocka_unit_test(test_the_sweep_ends_unknowns_whose_time_is_over),
        cmocka_unit_test(test_a_walk_tells_every_record),
        cmocka_unit_test(test_a_walk_that_is_stopped_says_no_more),
        cmocka_unit_test(test_what_was_acknowledged_survives_kill_9_with_an_append_only_file),
        cmocka_unit_test(test_writes_that_a_restart_forgot_are_noticed),
        cmocka_unit_test(test_a_completion_waits_for_the_server),
        cmocka_unit_test(test_a_password_that_is_rotated),
        cmocka_unit_test(test_tls_with_a_name_that_is_verified),
        cmocka_unit_test(test_a_replica_is_passed_over),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, plain_start, plain_stop);
}
