/* Limits in the Redis store: with a begin, alone, and the fleet; over servers of our own and a real one. */
#include "redis_support.h"

struct both {
    struct bench bench;
    struct fake fake;
};

static const char *say_by_script(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)count;
    switch (fake_which(words)) {
    case SCRIPT_LEASE:
        return FAKE_GRANTED;
    case SCRIPT_ADMIT:
        return FAKE_ADMITTED;
    case IDEM_BEGIN:
        return FAKE_NEW;
    default:
        return FAKE_OK;
    }
}

static const char *say_nothing(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return NULL;
}

static const char *said; /* by say */

static const char *say(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return said;
}

static void open_both(struct both *both, fake_script script)
{
    bench_init(&both->bench);
    fake_open(&both->fake, both->bench.loop);
    both->fake.script = script;
    bench_server(&both->bench, both->fake.port, false);
    bench_start(&both->bench);
    UNTIL(both->bench.loop, bench_is_up(&both->bench) && both->fake.fleets == 1);
    sweep_close(redis_of(both->bench.store)); /* but for the fleet, nothing more is said by itself */
}

static void close_both(struct both *both)
{
    bench_stop(&both->bench, 0);
    fake_close(&both->fake);
    bench_close_rest(&both->bench);
}

/* ---- with a begin ---- */

static void test_a_begin_with_limits_is_one_round_trip(void **state)
{
    struct both both;
    struct asker asker;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0);
    struct idem_op op = op_with_limits(1, 1, &ref, 1);
    int reads;

    (void)state;
    open_both(&both, say_by_script);
    fleet_close(redis_of(both.bench.store));
    reads = fake_last(&both.fake)->reads;
    assert_int_equal(verdict_of(&both.bench, &asker, &op), IDEM_NEW);
    assert_int_equal(fake_last(&both.fake)->reads, reads + 1);
    assert_int_equal(both.fake.scripts, 1);
    assert_int_equal(asker.result.limit_count, 1);
    assert_true(asker.result.limits[0].fits);
    assert_int_equal(asker.result.limits[0].remaining, 4);
    assert_int_equal(asker.result.limits[0].reset_us, 6000);
    both.fake.script = say;
    said = FAKE_LIMITED;
    assert_int_equal(verdict_of(&both.bench, &asker, &op), IDEM_LIMITED);
    assert_int_equal(asker.result.state, IDEM_ABSENT);
    assert_int_equal(asker.result.limit_count, 1);
    assert_false(asker.result.limits[0].fits);
    assert_int_equal(asker.result.limits[0].wait_us, 5000);
    assert_string_equal(asker.result.request_id, "");
    close_both(&both);
}

/* Whose first reply was lost finds its own record: no limit was looked at again. */
static void test_a_begin_that_is_repeated_tells_no_limits(void **state)
{
    struct both both;
    struct asker asker;
    struct limit_ref ref = limit_of("writes", 1, 100, 10, 0);
    struct idem_op op = op_with_limits(1, 1, &ref, 1);

    (void)state;
    open_both(&both, say);
    said = "*12\r\n$3\r\nNEW\r\n:0\r\n$1\r\nI\r\n$4\r\nacme\r\n$2\r\nr1\r\n$0\r\n\r\n:0\r\n$0\r\n\r\n:9\r\n:0\r\n:0\r\n:7\r\n";
    assert_int_equal(verdict_of(&both.bench, &asker, &op), IDEM_NEW);
    assert_int_equal(asker.result.limit_count, 0);
    assert_int_equal(asker.result.age_ms, 9);
    said = FAKE_REPLAY;
    assert_int_equal(verdict_of(&both.bench, &asker, &op), IDEM_REPLAY);
    assert_int_equal(asker.result.limit_count, 0);
    close_both(&both);
}

#define LIMIT_HEAD "$3\r\nNEW\r\n:0\r\n$1\r\nI\r\n$4\r\nacme\r\n$2\r\nr1\r\n"
#define LIMITED_HEAD "$7\r\nLIMITED\r\n:0\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n"
#define BUSY_HEAD "$4\r\nBUSY\r\n:0\r\n$1\r\nI\r\n$4\r\nacme\r\n$2\r\nr1\r\n"
#define FITS ":1\r\n:4\r\n:6000\r\n:0\r\n"
#define FITS_NOT ":0\r\n:0\r\n:6000\r\n:50\r\n"

/* The op has two limits, the second a shadow. */
static void test_what_a_begin_may_be_told_of_limits(void **state)
{
    static const struct {
        const char *said;
        bool believed;
    } rows[] = {
        {"*13\r\n" LIMIT_HEAD FITS FITS, true},
        {"*13\r\n" LIMIT_HEAD FITS FITS_NOT, true},      /* a shadow refuses nobody */
        {"*13\r\n" LIMITED_HEAD FITS_NOT FITS, true},
        {"*13\r\n" LIMITED_HEAD ":0\r\n:0\r\n:6000\r\n:-1\r\n" FITS, true}, /* never */
        {"*5\r\n" LIMIT_HEAD, true},
        {"*13\r\n" LIMIT_HEAD FITS_NOT FITS, false},     /* refused, and begun */
        {"*13\r\n" LIMITED_HEAD FITS FITS_NOT, false},   /* nothing that refuses */
        {"*13\r\n" BUSY_HEAD FITS FITS, false},          /* of a record that was there */
        {"*5\r\n" LIMITED_HEAD, false},                  /* by which? */
        {"*9\r\n" LIMIT_HEAD FITS, false},               /* of one of two */
        {"*17\r\n" LIMIT_HEAD FITS FITS FITS, false},
        {"*12\r\n" LIMIT_HEAD FITS ":1\r\n:4\r\n:6000\r\n", false},
        {"*14\r\n" LIMIT_HEAD FITS FITS ":1\r\n", false},
        {"*13\r\n" LIMIT_HEAD FITS ":1\r\n:4\r\n:6000\r\n$1\r\n0\r\n", false},
        {"*13\r\n" LIMIT_HEAD FITS ":1\r\n:4\r\n$4\r\n6000\r\n:0\r\n", false},
        {"*13\r\n" LIMIT_HEAD FITS ":1\r\n:4\r\n:6000\r\n:9\r\n", false},  /* it fits, and has to wait */
        {"*13\r\n" LIMIT_HEAD FITS ":0\r\n:0\r\n:6000\r\n:0\r\n", false},  /* the other way round */
        {"*13\r\n" LIMIT_HEAD FITS ":2\r\n:0\r\n:6000\r\n:1\r\n", false},
        {"*13\r\n" LIMIT_HEAD FITS ":1\r\n:-4\r\n:6000\r\n:0\r\n", false},
        {"*13\r\n" LIMIT_HEAD FITS ":1\r\n:4\r\n:-6000\r\n:0\r\n", false},
        {"*13\r\n" LIMIT_HEAD FITS ":0\r\n:4\r\n:6000\r\n:-2\r\n", false},
        {"*9\r\n" LIMIT_HEAD FITS "*4\r\n" FITS, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct both both;
        struct asker asker;
        struct limit_ref refs[] = {limit_of("writes", 1, 100, 10, 0), limit_of("all", 1, 100, 10, LIMIT_SHADOW)};
        struct idem_op op = op_with_limits(1, 1, refs, 2);
        open_both(&both, say);
        said = rows[i].said;
        ask_op(&both.bench, &asker, &op, false, 10000);
        UNTIL(both.bench.loop, asker.told == 1 || !bench_is_up(&both.bench));
        if (asker.told != rows[i].believed || (rows[i].believed && asker.status != STORE_OK)) {
            fail_msg("row %zu: told %d, status %d", i, asker.told, (int)asker.status);
        }
        if (!rows[i].believed) {
            assert_non_null(strstr(bench_trouble(&both.bench), "something else"));
        }
        close_both(&both);
    }
}

/* Nine limits: more than any op may have. */
static void test_more_limits_than_there_may_be_are_not_believed(void **state)
{
    struct replies replies;
    struct idem_result result;
    const struct reply *reply;
    const char *why;

    (void)state;
    assert_true(replies_open(&replies));
    assert_true(replies_feed(&replies, BYTES("*37\r\n" LIMIT_HEAD FITS FITS FITS FITS FITS FITS FITS FITS)));
    reply = replies_next(&replies, &why);
    assert_non_null(reply);
    assert_true(result_read(reply, &result));
    assert_int_equal(result.limit_count, LIMITS_MAX);
    assert_true(replies_feed(&replies, BYTES("*41\r\n" LIMIT_HEAD FITS FITS FITS FITS FITS FITS FITS FITS FITS)));
    reply = replies_next(&replies, &why);
    assert_non_null(reply);
    assert_false(result_read(reply, &result));
    replies_close(&replies);
}

/* ---- a limit alone ---- */

static void test_limits_and_begins_of_a_turn_leave_in_one_write(void **state)
{
    struct both both;
    struct limit_asker askers[20];
    struct asker asker;
    struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);
    int reads;

    (void)state;
    open_both(&both, say_by_script);
    fleet_close(redis_of(both.bench.store));
    reads = fake_last(&both.fake)->reads;
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    for (int i = 0; i < 20; i++) {
        ask_limit(&both.bench, &askers[i], &ref, 3, 10000);
    }
    UNTIL(both.bench.loop, askers[19].told == 1 && asker.told == 1);
    assert_int_equal(fake_last(&both.fake)->reads, reads + 1);
    assert_int_equal(both.fake.scripts, 21);
    close_both(&both);
}

static void test_without_a_connection_the_asker_is_told_at_once(void **state)
{
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);

    (void)state;
    bench_init(&bench);
    bench.conf.begin_timeout_ms = 60000;
    bench_server(&bench, free_port(), false);
    bench_start(&bench);
    ask_limit(&bench, &asker, &ref, 3, 60000);
    turn(bench.loop);
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    ask_limit(&bench, &asker, &ref, 3, 60000);
    store_limit_forget(asker.call);
    turn(bench.loop);
    turn(bench.loop);
    assert_int_equal(asker.told, 0);
    assert_int_equal(bench.store->limits_pool.count_used, 0);
    bench_close(&bench);
}

/* One that is being made is none. */
static void test_a_limit_does_not_wait_for_a_greeting(void **state)
{
    struct both both;
    struct limit_asker asker;
    struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);

    (void)state;
    bench_init(&both.bench);
    fake_open(&both.fake, both.bench.loop);
    both.fake.mute = true;
    bench_server(&both.bench, both.fake.port, false);
    bench_start(&both.bench);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->connection.state == CONNECTION_GREETING);
    ask_limit(&both.bench, &asker, &ref, 3, 60000);
    turn(both.bench.loop);
    assert_int_equal(redis_of(both.bench.store)->connection.state, CONNECTION_GREETING);
    assert_int_equal(asker.told, 1);
    assert_int_equal(asker.status, STORE_DOWN);
    close_both(&both);
}

/* It may have been done: it is not asked again. */
static void test_what_was_asked_of_a_connection_that_is_lost_is_not_asked_again(void **state)
{
    struct both both;
    struct limit_asker asked, later;
    struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);

    (void)state;
    open_both(&both, say_nothing);
    ask_limit(&both.bench, &asked, &ref, 3, 60000);
    UNTIL(both.bench.loop, both.fake.scripts == 1);
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, asked.told == 1);
    assert_int_equal(asked.status, STORE_DOWN);
    both.fake.script = say_by_script;
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_int_equal(granted_of(&both.bench, &later, &ref, 3), 3);
    assert_int_equal(both.fake.scripts, 2);
    assert_int_equal(redis_of(both.bench.store)->connection.asked_limits, 0);
    close_both(&both);
}

static void fill_with_limits(struct bench *bench, struct limit_asker *askers, int count, uint32_t timeout_ms)
{
    struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);
    for (int i = 0; i < count; i++) {
        ask_limit(bench, &askers[i], &ref, 1, timeout_ms);
    }
}

/* Nor does what was never asked, for want of a place, wait for the next. */
static void test_what_waits_when_the_connection_is_lost_is_told(void **state)
{
    struct both both;
    const int count = REDIS_ASKED_LIMITS_MAX + 3;
    struct limit_asker *askers = calloc((size_t)count, sizeof *askers);

    (void)state;
    open_both(&both, say_nothing);
    redis_of(both.bench.store)->begin_timeout_ms = 60000; /* silence is no trouble here */
    fill_with_limits(&both.bench, askers, count, 60000);
    UNTIL(both.bench.loop, both.fake.scripts == REDIS_ASKED_LIMITS_MAX);
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, !bench_is_up(&both.bench));
    for (int i = 0; i < count; i++) {
        assert_int_equal(askers[i].told, 1);
        assert_int_equal(askers[i].status, STORE_DOWN);
    }
    close_both(&both);
    free(askers);
}

static const char *say_no_script(struct fake *fake, const struct bytes *words, int count)
{
    return word_is(words[0], "EVALSHA") ? "-NOSCRIPT No matching script. Please use EVAL.\r\n"
                                        : say_by_script(fake, words, count);
}

static void test_scripts_of_limits_that_are_not_there_travel_whole(void **state)
{
    struct both both;
    struct limit_asker limit_asker;
    struct asker asker;
    struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);
    struct idem_op op = op_with_limits(1, 1, &ref, 1);

    (void)state;
    open_both(&both, say_no_script);
    assert_int_equal(granted_of(&both.bench, &limit_asker, &ref, 3), 3);
    assert_int_equal(both.fake.scripts, 2);
    assert_int_equal(both.fake.wholes, 1);
    assert_int_equal(verdict_of(&both.bench, &asker, &op), IDEM_NEW);
    assert_int_equal(asker.result.limit_count, 1);
    assert_int_equal(both.fake.scripts, 4);
    assert_int_equal(both.fake.wholes, 2);
    both.fake.script = say; /* nor will it ever have it */
    said = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    ask_limit(&both.bench, &limit_asker, &ref, 3, 10000);
    UNTIL(both.bench.loop, limit_asker.told == 1);
    assert_int_equal(limit_asker.status, STORE_DOWN);
    assert_int_equal(both.fake.scripts, 6);
    close_both(&both);
}

static void test_answers_that_are_none(void **state)
{
    static const struct {
        const char *said;
        bool loses; /* the connection as well */
        const char *words;
    } rows[] = {
        {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", false, "OOM"},
        {"-MISCONF Redis is configured to save RDB snapshots, but\r\n", false, "MISCONF"},
        {"-NOREPLICAS Not enough good replicas to write.\r\n", false, "NOREPLICAS"},
        {"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n", false, "NOPERM"},
        {"-ERR user_script:12: oops\r\n", false, "oops"},
        {"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", false, "WRONGTYPE"},
        {"-READONLY You can't write against a read only replica.\r\n", true, "READONLY"},
        {"-LOADING Redis is loading the dataset in memory\r\n", true, "LOADING"},
        {"-BUSY Redis is busy running a script.\r\n", true, "BUSY"},
        {"-NOAUTH Authentication required.\r\n", true, "NOAUTH"},
        {"+OK\r\n", true, "something else"},
        {":3\r\n", true, "something else"},
        {"$-1\r\n", true, "something else"},
        {"*4\r\n:3\r\n:1\r\n:4\r\n:6000\r\n", true, "something else"},
        {"*6\r\n:3\r\n:1\r\n:4\r\n:6000\r\n:0\r\n:0\r\n", true, "something else"},
        {"*5\r\n:-3\r\n:1\r\n:4\r\n:6000\r\n:0\r\n", true, "something else"},
        {"*5\r\n$1\r\n3\r\n:1\r\n:4\r\n:6000\r\n:0\r\n", true, "something else"},
        {"*5\r\n:3\r\n:1\r\n:4\r\n:6000\r\n:-2\r\n", true, "something else"},
        {FAKE_NEW, true, "something else"},
        {"?what\r\n", true, "not the Redis protocol"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct both both;
        struct limit_asker asker, next;
        struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);
        uint64_t number;
        open_both(&both, say);
        number = redis_of(both.bench.store)->connection.number;
        said = rows[i].said;
        ask_limit(&both.bench, &asker, &ref, 3, 10000);
        UNTIL(both.bench.loop, asker.told == 1);
        assert_int_equal(asker.status, STORE_DOWN);
        if (strstr(bench_trouble(&both.bench), rows[i].words) == NULL ||
            (number != redis_of(both.bench.store)->connection.number) != rows[i].loses) {
            fail_msg("row %zu: %s", i, bench_trouble(&both.bench));
        }
        both.fake.script = say_by_script;
        UNTIL(both.bench.loop, bench_is_up(&both.bench));
        assert_int_equal(granted_of(&both.bench, &next, &ref, 3), 3);
        assert_string_equal(bench_trouble(&both.bench), "");
        close_both(&both);
    }
}

/* ---- each has its part ---- */

static void test_limits_that_wait_leave_room_for_payments(void **state)
{
    struct both both;
    const int count = 2 * REDIS_ASKED_LIMITS_MAX;
    struct limit_asker *askers = calloc((size_t)count, sizeof *askers);
    struct connection *connection;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);
    int told = 0;

    (void)state;
    open_both(&both, say_nothing);
    connection = &redis_of(both.bench.store)->connection;
    redis_of(both.bench.store)->begin_timeout_ms = 60000; /* silence is no trouble here */
    fleet_close(redis_of(both.bench.store)); /* nobody else asks */
    fill_with_limits(&both.bench, askers, count, 60000);
    UNTIL(both.bench.loop, both.fake.scripts == REDIS_ASKED_LIMITS_MAX);
    turn(both.bench.loop);
    assert_int_equal(both.fake.scripts, REDIS_ASKED_LIMITS_MAX);
    assert_int_equal(connection->asked_limits, REDIS_ASKED_LIMITS_MAX);
    for (int i = 0; i < REDIS_ASKED_LIMITS_MAX; i++) { /* nobody waits, and still they have their places */
        store_limit_forget(askers[i].call);
    }
    turn(both.bench.loop);
    assert_int_equal(both.fake.scripts, REDIS_ASKED_LIMITS_MAX);
    ask_op(&both.bench, &asker, &op, false, 60000);
    UNTIL(both.bench.loop, both.fake.scripts == REDIS_ASKED_LIMITS_MAX + 1);
    assert_int_equal(connection->asked_calls, 1);
    /* What is owed is paid, and what is held behind it (to the canary of the begin): the rest follows. */
    both.fake.script = say_by_script;
    fake_last(&both.fake)->owes = false;
    for (int i = 0; i < REDIS_ASKED_LIMITS_MAX; i++) {
        fake_say(fake_last(&both.fake), FAKE_GRANTED);
    }
    fake_pay(fake_last(&both.fake), FAKE_NEW);
    UNTIL(both.bench.loop, asker.told == 1 && askers[count - 1].told == 1);
    for (int i = 0; i < count; i++) {
        told += askers[i].told == 1 && askers[i].status == STORE_OK;
    }
    assert_int_equal(told, count - REDIS_ASKED_LIMITS_MAX);
    assert_int_equal(connection->asked_limits, 0);
    close_both(&both);
    free(askers);
}

static void test_payments_that_wait_leave_room_for_limits(void **state)
{
    struct both both;
    const int count = REDIS_ASKED_CALLS_MAX + 100;
    struct asker *askers = calloc((size_t)count, sizeof *askers);
    struct limit_asker asker;
    struct limit_ref ref = limit_of("reads", 1, 100, 10, 0);

    (void)state;
    open_both(&both, say_nothing);
    redis_of(both.bench.store)->begin_timeout_ms = 60000;
    for (int i = 0; i < count; i++) {
        struct idem_op op = op_of(IDEM_BEGIN, (uint8_t)i, 1);
        ask_op(&both.bench, &askers[i], &op, false, 60000);
    }
    UNTIL(both.bench.loop, both.fake.scripts == REDIS_ASKED_CALLS_MAX);
    ask_limit(&both.bench, &asker, &ref, 3, 60000);
    UNTIL(both.bench.loop, both.fake.scripts == REDIS_ASKED_CALLS_MAX + 1);
    assert_int_equal(redis_of(both.bench.store)->connection.asked_limits, 1);
    close_both(&both);
    assert_int_equal(asker.told, 1);
    assert_int_equal(asker.status, STORE_DOWN);
    free(askers);
}

/* Of one piece limits take a part alone: a begin that was asked after them all goes out with the first of them. */
static void test_a_piece_is_shared(void **state)
{
    struct both both;
    const int count = REDIS_ASKED_LIMITS_MAX;
    struct limit_asker *askers = calloc((size_t)count, sizeof *askers);
    struct redis_store *redis;
    struct asker asker;
    char name[STORE_LIMIT_NAME_BYTES_MAX + 1];
    struct limit_ref ref;
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);

    (void)state;
    open_both(&both, say_nothing);
    redis = redis_of(both.bench.store);
    redis->begin_timeout_ms = 60000; /* silence is no trouble here */
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ref = limit_of(name, 1, 999999, 1000000, 0);
    for (int i = 0; i < count; i++) {
        ask_limit(&both.bench, &askers[i], &ref, 1, 60000);
    }
    ask_op(&both.bench, &asker, &op, false, 60000);
    for (int i = 0; i < SCRIPT_COUNT; i++) { /* as after SCRIPT FLUSH, when all of them travel whole */
        redis->scripts[i].sha[0] = '\0';
    }
    limits_fill(redis);
    assert_true(redis->connection.out.len >= REDIS_PIECE_LIMITS_BYTES);
    assert_true(redis->connection.out.len < REDIS_PIECE_LIMITS_BYTES + 8192);
    assert_false(list_empty(&redis->limits.waiting));
    redis_fill(redis);
    assert_int_equal(redis->connection.asked_calls, 1);
    UNTIL(both.bench.loop, both.fake.scripts == count + 1); /* and all of them follow */
    assert_int_equal(both.fake.ops[0], SCRIPT_LEASE);
    close_both(&both);
    free(askers);
}

/* ---- the fleet ---- */

static void test_the_fleet_is_what_the_store_says(void **state)
{
    struct both both;

    (void)state;
    open_both(&both, say_by_script);
    assert_int_equal(store_fleet(both.bench.store), 1);
    both.fake.fleet = ":4\r\n";
    UNTIL(both.bench.loop, store_fleet(both.bench.store) == 4);
    static const char *const others[] = {
        "-ERR oops\r\n", ":0\r\n", ":-3\r\n", ":9999999999\r\n", "$1\r\n2\r\n", "*1\r\n:2\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        int fleets = both.fake.fleets;
        both.fake.fleet = others[i];
        timer_set_after(&redis_of(both.bench.store)->fleet.timer, 0); /* now, not in a second */
        UNTIL(both.bench.loop, both.fake.fleets > fleets);
        turn(both.bench.loop);
        assert_int_equal(store_fleet(both.bench.store), 4);
    }
    assert_true(bench_is_up(&both.bench));
    assert_int_equal(both.fake.wholes, 0); /* those of the fleet are not counted */
    close_both(&both);
}

static void test_the_fleet_stays_while_there_is_no_connection(void **state)
{
    struct both both;
    int fleets;

    (void)state;
    open_both(&both, say_by_script);
    both.fake.fleet = ":4\r\n";
    UNTIL(both.bench.loop, store_fleet(both.bench.store) == 4);
    both.fake.hello = "-ERR max number of clients reached\r\n";
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, !bench_is_up(&both.bench));
    fleets = both.fake.fleets;
    timer_set_after(&redis_of(both.bench.store)->fleet.timer, 0);
    turn(both.bench.loop);
    turn(both.bench.loop);
    assert_int_equal(both.fake.fleets, fleets);
    assert_int_equal(store_fleet(both.bench.store), 4);
    both.fake.hello = NULL;
    both.fake.fleet = ":5\r\n";
    UNTIL(both.bench.loop, store_fleet(both.bench.store) == 5); /* as soon as there is one */
    close_both(&both);
}

static void test_a_smaller_fleet_is_believed_later(void **state)
{
    struct both both;
    int fleets;

    (void)state;
    open_both(&both, say_by_script);
    both.fake.fleet = ":4\r\n";
    UNTIL(both.bench.loop, store_fleet(both.bench.store) == 4);
    fleets = both.fake.fleets;
    both.fake.fleet = ":1\r\n"; /* its data were lost, and the others have not come back yet */
    UNTIL(both.bench.loop, both.fake.fleets > fleets + 1);
    assert_int_equal(store_fleet(both.bench.store), 4);
    both.fake.fleet = ":5\r\n";
    UNTIL(both.bench.loop, store_fleet(both.bench.store) == 5); /* more at once */
    both.fake.fleet = ":2\r\n";
    UNTIL(both.bench.loop, store_fleet(both.bench.store) == 2); /* and fewer when it stays so */
    close_both(&both);
}

/* ---- a real server ---- */

static struct server plain;

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

/* Commands and replies as the server's own counts have them. */
static long server_calls(const struct server *server, const char *command)
{
    char reply[16 * TEXT_BYTES], name[64];
    int fd = server_connect(server);
    size_t len = 0;
    const char *line;
    (void)snprintf(name, sizeof name, "cmdstat_%s:calls=", command);
    assert_true(dprintf(fd, "INFO commandstats\r\nPING\r\n") > 0);
    do {
        ssize_t got = read(fd, reply + len, sizeof reply - 1 - len);
        assert_true(got > 0);
        len += (size_t)got;
        reply[len] = '\0';
    } while (strstr(reply, "+PONG") == NULL);
    close(fd);
    line = strstr(reply, name);
    return line == NULL ? 0 : strtol(line + strlen(name), NULL, 10);
}

/* Ten to begin with, and a thousandth of one a second: in the time of a test none comes back. */
static struct limit_ref slow_limit(const char *name, uint8_t caller, uint64_t burst, unsigned flags)
{
    struct limit_ref ref = limit_of(name, caller, 1, burst, flags);
    assert_true(limit_rate_make(1, 1000 * CLOCK_US_PER_S, burst, &ref.ask.rate));
    return ref;
}

static void test_a_limit_admits_its_burst_and_leaves_other_keys_free(void **state)
{
    struct bench bench;
    struct asker asker;
    struct limit_ref ref = slow_limit("writes", 1, 10, 0);
    struct idem_op op;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    for (uint8_t i = 0; i < 10; i++) {
        op = op_with_limits(i, 1, &ref, 1);
        assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
        assert_int_equal(asker.result.limit_count, 1);
        assert_int_equal(asker.result.limits[0].remaining, 9 - i);
        assert_int_equal(asker.result.limits[0].wait_us, 0);
    }
    op = op_with_limits(99, 1, &ref, 1);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_LIMITED);
    assert_true(asker.result.limits[0].wait_us > 900 * CLOCK_US_PER_S);
    assert_true(asker.result.limits[0].wait_us <= 1000 * CLOCK_US_PER_S);
    assert_true(asker.result.limits[0].reset_us > 9900 * CLOCK_US_PER_S);
    assert_string_equal(server_do(&plain, "KEYS w:{99}:*", reply), "*0\r\n"); /* refused: the key is free */
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 99, 2), IDEM_NEW);
    bench_close(&bench);
}

/* A replay, a duplicate and a begin whose first reply was lost cost nothing. */
static void test_what_has_a_record_is_not_charged(void **state)
{
    struct bench bench;
    struct asker asker;
    struct limit_asker limit_asker;
    struct limit_ref ref = slow_limit("writes", 1, 10, 0), check = slow_limit("writes", 1, 10, LIMIT_CHECK);
    struct idem_op op = op_with_limits(5, 1, &ref, 1), other = op_with_limits(5, 2, &ref, 1);

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW); /* the same owner */
    assert_int_equal(asker.result.limit_count, 0);
    assert_int_equal(verdict_of(&bench, &asker, &other), IDEM_BUSY);
    assert_int_equal(asker.result.limit_count, 0);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 5, 1), IDEM_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(verdict_of(&bench, &asker, &other), IDEM_REPLAY);
        assert_int_equal(asker.result.limit_count, 0);
    }
    assert_string_equal(asker.answer, "the sealed answer");
    (void)granted_of(&bench, &limit_asker, &check, 0);
    assert_int_equal(limit_asker.limit.remaining, 9);
    bench_close(&bench);
}

static void test_all_limits_or_none(void **state)
{
    struct bench bench;
    struct asker asker;
    struct limit_ref refs[] = {slow_limit("a", 1, 10, 0), slow_limit("b", 1, 2, 0), slow_limit("c", 1, 1, LIMIT_SHADOW),
                               slow_limit("d", 1, 1, LIMIT_CHECK), slow_limit("e", 1, 3, LIMIT_FORCE)};
    struct idem_op op;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    for (uint8_t i = 0; i < 2; i++) {
        op = op_with_limits(i, 1, refs, 5);
        assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    }
    assert_false(asker.result.limits[2].fits); /* the shadow would have refused the second */
    assert_int_equal(asker.result.limits[0].remaining, 8);
    op = op_with_limits(3, 1, refs, 5);
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_LIMITED);
    assert_true(asker.result.limits[0].fits);
    assert_int_equal(asker.result.limits[0].remaining, 8); /* not charged */
    assert_false(asker.result.limits[1].fits);
    assert_true(asker.result.limits[3].fits);
    assert_int_equal(asker.result.limits[4].remaining, 0); /* charged all the same */
    assert_string_equal(server_do(&plain, "KEYS w:{3}:*", reply), "*0\r\n");
    assert_string_equal(server_do(&plain, "EXISTS w:{1}:l:d:01010000000000000000000000000000", reply), ":0\r\n");
    bench_close(&bench);
}

/* One script for an admission, a refusal, a replay, a lease; and what the store does by itself. */
static void test_round_trips_as_the_server_counts_them(void **state)
{
    struct bench bench;
    struct asker asker;
    struct limit_asker limit_asker;
    struct limit_ref refs[] = {slow_limit("a", 1, 3, 0), slow_limit("b", 1, 9, 0)};
    struct idem_op op;
    struct redis_store *redis;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    redis = redis_of(bench.store);
    sweep_close(redis);
    UNTIL(bench.loop, server_calls(&plain, "zcard") > 0); /* it told that it is there */
    fleet_close(redis);
    UNTIL(bench.loop, list_empty(&redis->connection.asks));
    assert_string_equal(server_do(&plain, "CONFIG RESETSTAT", reply), "+OK\r\n");
    for (uint8_t i = 0; i < 5; i++) { /* two of them refused */
        op = op_with_limits(i, 1, refs, 2);
        assert_int_equal(verdict_of(&bench, &asker, &op), i < 3 ? IDEM_NEW : IDEM_LIMITED);
    }
    assert_int_equal(server_calls(&plain, "evalsha"), 5);
    (void)granted_of(&bench, &limit_asker, &refs[1], 2);
    assert_int_equal(limit_asker.granted, 2);
    assert_int_equal(server_calls(&plain, "evalsha"), 6);
    assert_int_equal(server_calls(&plain, "eval"), 0);
    bench_close(&bench);
}

static void test_scripts_that_the_server_forgot(void **state)
{
    struct bench bench;
    struct asker asker;
    struct limit_asker limit_asker;
    struct limit_ref ref = slow_limit("a", 1, 30, 0);
    struct idem_op op = op_with_limits(1, 1, &ref, 1);
    char reply[TEXT_BYTES];
    long fleets;

    (void)state;
    open_on(&bench, &plain);
    assert_string_equal(server_do(&plain, "SCRIPT FLUSH", reply), "+OK\r\n");
    assert_int_equal(granted_of(&bench, &limit_asker, &ref, 3), 3);
    assert_string_equal(server_do(&plain, "SCRIPT FLUSH", reply), "+OK\r\n");
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    assert_int_equal(asker.result.limits[0].remaining, 26); /* each was done once */
    fleets = server_calls(&plain, "zcard");
    UNTIL(bench.loop, server_calls(&plain, "zcard") >= fleets + 2); /* it goes on telling that it is there */
    bench_close(&bench);
}

static void test_tokens_in_advance_checks_and_charges(void **state)
{
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = slow_limit("reads", 1, 10, 0), check = slow_limit("reads", 1, 10, LIMIT_CHECK),
                     force = slow_limit("reads", 1, 10, LIMIT_FORCE);

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(granted_of(&bench, &asker, &check, 0), 1);
    assert_int_equal(granted_of(&bench, &asker, &ref, 4), 4);
    assert_int_equal(asker.limit.remaining, 6);
    force.ask.cost = 5;
    assert_int_equal(granted_of(&bench, &asker, &force, 0), 0);
    assert_int_equal(asker.limit.remaining, 1);
    assert_int_equal(granted_of(&bench, &asker, &check, 0), 1);
    assert_int_equal(granted_of(&bench, &asker, &ref, 4), 1); /* as many as there are */
    assert_int_equal(granted_of(&bench, &asker, &ref, 4), 0);
    assert_false(asker.limit.fits);
    assert_true(asker.limit.wait_us > 900 * CLOCK_US_PER_S);
    assert_int_equal(granted_of(&bench, &asker, &check, 0), 0);
    force.ask.cost = 50;
    assert_int_equal(granted_of(&bench, &asker, &force, 0), 0); /* not above the burst */
    assert_true(asker.limit.reset_us <= 10000 * CLOCK_US_PER_S);
    bench_close(&bench);
}

/* Waiting as long as was told is enough, by the server's clock. */
static void test_a_token_comes_when_it_was_told_to(void **state)
{
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = limit_of("reads", 1, 20, 2, 0);
    uint64_t told_us;

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(granted_of(&bench, &asker, &ref, 9), 2);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(granted_of(&bench, &asker, &ref, 0), 0); /* none is wanted: when would there be one? */
        told_us = clock_now_us();
        assert_true(asker.limit.wait_us <= 50000);
        UNTIL(bench.loop, clock_now_us() >= told_us + asker.limit.wait_us);
        assert_true(granted_of(&bench, &asker, &ref, 9) >= 1);
    }
    bench_close(&bench);
}

/* A bucket is as good as none when its debt is paid, and does not stay longer than a few ms. */
static void test_how_long_a_bucket_lives_and_what_it_costs(void **state)
{
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = limit_of("per-second", 1, 100, 200, 0), slow = slow_limit("slow", 2, 10, 0);
    char reply[TEXT_BYTES];
    long ms, bytes;

    (void)state;
    open_on(&bench, &plain);
    assert_int_equal(granted_of(&bench, &asker, &ref, 5), 5);
    ms = strtol(server_do(&plain, "PTTL w:{1}:l:per-second:01010000000000000000000000000000", reply) + 1, NULL, 10);
    assert_true(ms <= 51);
    assert_int_equal(granted_of(&bench, &asker, &slow, 5), 5);
    ms = strtol(server_do(&plain, "PTTL w:{2}:l:slow:02010000000000000000000000000000", reply) + 1, NULL, 10);
    assert_true(ms > 4990 * 1000 && ms <= 5000 * 1000 + 1);
    bytes = strtol(server_do(&plain, "MEMORY USAGE w:{2}:l:slow:02010000000000000000000000000000", reply) + 1, NULL, 10);
    print_message("bytes of a bucket: %ld\n", bytes);
    assert_true(bytes > 0 && bytes <= 200);
    UNTIL(bench.loop, strcmp(server_do(&plain, "KEYS w:{1}:l:*", reply), "*0\r\n") == 0);
    bench_close(&bench);
}

static void put_bucket_text(const char *text)
{
    char command[256], reply[TEXT_BYTES];
    (void)snprintf(command, sizeof command, "SET w:{1}:l:a:01010000000000000000000000000000 %s", text);
    assert_string_equal(server_do(&plain, command, reply), "+OK\r\n");
}

/* What no weir has written owes nothing, and is put right by the next charge. */
static void test_a_bucket_that_is_damaged(void **state)
{
    static const char *const texts[] = {
        "rubbish", "9000000000:%llu", "9000000000:%llu:1000000000:4", "-9000000000:%llu:1000000000", "9e9:%llu:1000000000",
        "9000000000::1000000000", "5:%llu:0", "9007199254740991:%llu:4503599627370496", "9007199254740992:%llu:1000000000",
    };
    char text[80];
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = slow_limit("a", 1, 10, 0);
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        const char *hole = strstr(texts[i], "%llu"); /* now: nothing has drained since */
        (void)snprintf(text, sizeof text, "%.*s", (int)(hole == NULL ? strlen(texts[i]) : (size_t)(hole - texts[i])), texts[i]);
        if (hole != NULL) {
            size_t len = strlen(text);
            (void)snprintf(text + len, sizeof text - len, "%llu%s", (unsigned long long)clock_wall_us(), hole + 4);
        }
        put_bucket_text(text);
        assert_int_equal(granted_of(&bench, &asker, &ref, 3), 3);
        assert_int_equal(asker.limit.remaining, 7);
        assert_int_equal(granted_of(&bench, &asker, &ref, 3), 3);
        assert_int_equal(asker.limit.remaining, 4);
    }
    /* Of another kind: the script fails, and weir goes on without it. */
    assert_string_equal(server_do(&plain, "DEL w:{1}:l:a:01010000000000000000000000000000", reply), ":1\r\n");
    assert_string_equal(server_do(&plain, "HSET w:{1}:l:a:01010000000000000000000000000000 a 1", reply), ":1\r\n");
    ask_limit(&bench, &asker, &ref, 3, 10000);
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    assert_true(bench_is_up(&bench));
    bench_close(&bench);
}

/* A full bucket of a clock that was ahead drains from now on. */
static void test_a_clock_that_stepped_back_blocks_nobody(void **state)
{
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = limit_of("a", 1, 1000, 10, 0);
    char text[80];

    (void)state;
    open_on(&bench, &plain);
    (void)snprintf(text, sizeof text, "10000:%llu:1000",
                   (unsigned long long)(clock_wall_us() + 3600 * CLOCK_US_PER_S)); /* full, and an hour ahead */
    put_bucket_text(text);
    assert_int_equal(granted_of(&bench, &asker, &ref, 1), 0);
    assert_true(asker.limit.wait_us > 0 && asker.limit.wait_us <= 1000);
    UNTIL(bench.loop, granted_of(&bench, &asker, &ref, 1) == 1);
    bench_close(&bench);
}

static void test_a_full_server_and_limits(void **state)
{
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = slow_limit("a", 1, 10, 0);
    char reply[TEXT_BYTES];
    long fleets;

    (void)state;
    open_on(&bench, &plain);
    assert_string_equal(server_do(&plain, "CONFIG SET maxmemory 1", reply), "+OK\r\n");
    ask_limit(&bench, &asker, &ref, 3, 10000);
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    assert_non_null(strstr(bench_trouble(&bench), "OOM"));
    fleets = server_calls(&plain, "zcard");
    UNTIL(bench.loop, server_calls(&plain, "zcard") > fleets); /* the fleet is counted all the same */
    assert_string_equal(server_do(&plain, "CONFIG SET maxmemory 0", reply), "+OK\r\n");
    assert_int_equal(granted_of(&bench, &asker, &ref, 3), 3);
    bench_close(&bench);
}

static void test_a_server_that_becomes_a_replica(void **state)
{
    struct server server;
    struct bench bench;
    struct limit_asker asker;
    struct limit_ref ref = slow_limit("a", 1, 10, 0);
    char command[64], reply[TEXT_BYTES];

    (void)state;
    server_start(&server, "--appendonly", "no", NULL);
    open_on(&bench, &server);
    assert_int_equal(granted_of(&bench, &asker, &ref, 3), 3);
    (void)snprintf(command, sizeof command, "REPLICAOF 127.0.0.1 %u", plain.port);
    assert_string_equal(server_do(&server, command, reply), "+OK\r\n");
    ask_limit(&bench, &asker, &ref, 3, 10000);
    UNTIL(bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    UNTIL(bench.loop, !bench_is_up(&bench));
    bench_close(&bench);
    server_stop(&server);
}

/* Two weirs on one loop, as two processes would be. */
static void test_the_fleet_is_counted(void **state)
{
    struct bench bench;
    struct store *first;
    char reply[TEXT_BYTES];

    (void)state;
    open_on(&bench, &plain);
    first = bench.store;
    UNTIL(bench.loop, server_calls(&plain, "zcard") > 0);
    assert_int_equal(store_fleet(first), 1);
    bench_start(&bench);
    UNTIL(bench.loop, store_fleet(bench.store) == 2); /* as soon as it is there */
    UNTIL(bench.loop, store_fleet(first) == 2);
    bench_stop(&bench, 0);
    assert_string_equal(server_do(&plain, "ZCARD w:fleet", reply), ":2\r\n");
    UNTIL(bench.loop, store_fleet(first) == 1);
    assert_string_equal(server_do(&plain, "ZADD w:fleet 9999999999999 another-clock", reply), ":1\r\n");
    UNTIL(bench.loop, strcmp(server_do(&plain, "ZCARD w:fleet", reply), ":1\r\n") == 0);
    bench.closed = 0;
    bench.store = first;
    bench_stop(&bench, 0);
    UNTIL(bench.loop, strcmp(server_do(&plain, "EXISTS w:fleet", reply), ":0\r\n") == 0); /* nothing is left */
    bench_close_rest(&bench);
}

/* The command of docs/operations.md, with a password behind it. */
static void read_command(char command[1024])
{
    char text[64 << 10];
    int fd = open("docs/operations.md", O_RDONLY);
    ssize_t len = read(fd, text, sizeof text - 1);
    const char *begin;
    assert_true(fd >= 0 && len > 0);
    close(fd);
    text[len] = '\0';
    begin = strstr(text, "ACL SETUSER weir ");
    assert_non_null(begin);
    (void)snprintf(command, 1024, "%.*s >secret", (int)strcspn(begin, "\n"), begin);
}

static void test_the_rights_that_the_manual_names_are_enough(void **state)
{
    struct server server;
    struct bench bench;
    struct asker asker;
    struct limit_asker limit_asker;
    struct limit_ref ref = slow_limit("a", 1, 10, 0);
    struct idem_op op = op_with_limits(44, 1, &ref, 1);
    char path[128], command[1024], reply[TEXT_BYTES];
    int fd;

    (void)state;
    server_start(&server, "--appendonly", "yes", NULL);
    read_command(command);
    assert_string_equal(server_do(&server, command, reply), "+OK\r\n");
    (void)snprintf(path, sizeof path, "%s/password", server.folder);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, "secret\n", 7), 7);
    close(fd);
    bench_init(&bench);
    bench_server(&bench, server.port, false);
    bench.conf.username = "weir";
    bench.conf.password_file = path;
    bench_start(&bench);
    UNTIL(bench.loop, bench_is_up(&bench));
    assert_string_equal(bench_not_durable(&bench), "");
    assert_int_equal(verdict_of(&bench, &asker, &op), IDEM_NEW);
    assert_int_equal(granted_of(&bench, &limit_asker, &ref, 3), 3);
    assert_int_equal(limit_asker.limit.remaining, 6);
    assert_int_equal(verdict(&bench, &asker, IDEM_MARK, 44, 1), IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_COMPLETE, 44, 1), IDEM_OK);
    assert_int_equal(verdict(&bench, &asker, IDEM_BEGIN, 44, 2), IDEM_REPLAY);
    UNTIL(bench.loop, server_calls(&server, "zcard") > 0);
    assert_string_equal(bench_trouble(&bench), "");
    assert_string_equal(server_do(&server, "ACL LOG", reply), "*0\r\n"); /* nothing was refused */
    bench_close(&bench);
    server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_begin_with_limits_is_one_round_trip),
        cmocka_unit_test(test_a_begin_that_is_repeated_tells_no_limits),
        cmocka_unit_test(test_what_a_begin_may_be_told_of_limits),
        cmocka_unit_test(test_more_limits_than_there_may_be_are_not_believed),
        cmocka_unit_test(test_limits_and_begins_of_a_turn_leave_in_one_write),
        cmocka_unit_test(test_without_a_connection_the_asker_is_told_at_once),
        cmocka_unit_test(test_a_limit_does_not_wait_for_a_greeting),
        cmocka_unit_test(test_what_was_asked_of_a_connection_that_is_lost_is_not_asked_again),
        cmocka_unit_test(test_what_waits_when_the_connection_is_lost_is_told),
        cmocka_unit_test(test_scripts_of_limits_that_are_not_there_travel_whole),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_limits_that_wait_leave_room_for_payments),
        cmocka_unit_test(test_payments_that_wait_leave_room_for_limits),
        cmocka_unit_test(test_a_piece_is_shared),
        cmocka_unit_test(test_the_fleet_is_what_the_store_says),
        cmocka_unit_test(test_the_fleet_stays_while_there_is_no_connection),
        cmocka_unit_test(test_a_smaller_fleet_is_believed_later),
        cmocka_unit_test(test_a_limit_admits_its_burst_and_leaves_other_keys_free),
        cmocka_unit_test(test_what_has_a_record_is_not_charged),
        cmocka_unit_test(test_all_limits_or_none),
        cmocka_unit_test(test_round_trips_as_the_server_counts_them),
        cmocka_unit_test(test_scripts_that_the_server_forgot),
        cmocka_unit_test(test_tokens_in_advance_checks_and_charges),
        cmocka_unit_test(test_a_token_comes_when_it_was_told_to),
        cmocka_unit_test(test_how_long_a_bucket_lives_and_what_it_costs),
        cmocka_unit_test(test_a_bucket_that_is_damaged),
        cmocka_unit_test(test_a_clock_that_stepped_back_blocks_nobody),
        cmocka_unit_test(test_a_full_server_and_limits),
        cmocka_unit_test(test_a_server_that_becomes_a_replica),
        cmocka_unit_test(test_the_fleet_is_counted),
        cmocka_unit_test(test_the_rights_that_the_manual_names_are_enough),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, plain_start, plain_stop);
}
