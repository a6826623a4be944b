/* Whether the server is what money needs: what it says of itself, the secret, the canary, who may speak to it. */
#include "redis_support.h"

struct both {
    struct bench bench;
    struct fake fake;
};

static const char *say_new(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return FAKE_NEW;
}

static void begin_both(struct both *both)
{
    bench_init(&both->bench);
    fake_open(&both->fake, both->bench.loop);
    both->fake.script = say_new;
    bench_server(&both->bench, both->fake.port, false);
}

static void open_both(struct both *both)
{
    begin_both(both);
    bench_start(&both->bench);
    UNTIL(both->bench.loop, bench_is_up(&both->bench));
}

static void close_both(struct both *both)
{
    bench_stop(&both->bench, 0);
    fake_close(&both->fake);
    bench_close_rest(&both->bench);
}

/* As UNTIL, with the watch looking in every turn instead of every few seconds. */
#define UNTIL_WATCHED(both, condition)                                                                                 \
    UNTIL((both)->bench.loop, (timer_set_after(&redis_of((both)->bench.store)->watch.timer, 0), (condition)))

static enum store_status status_of(struct bench *bench, bool durable)
{
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);
    ask_op(bench, &asker, &op, durable, 5000);
    UNTIL(bench->loop, asker.told == 1);
    return asker.status;
}

/* ---- INFO ---- */

static void test_a_good_server_is_durable(void **state)
{
    struct both both;
    struct store_state told;

    (void)state;
    open_both(&both);
    store_state(both.bench.store, &told);
    assert_string_equal(told.type, "redis");
    assert_true(told.up && told.ever_up && told.durable);
    assert_null(told.trouble);
    assert_null(told.not_durable);
    assert_int_equal(told.bytes_used, 1000);
    assert_int_equal(told.bytes_max, 2000);
    assert_null(store_trouble(both.bench.store, true));
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    assert_int_equal(bench_metric(&both.bench, "weir_store_up"), 1);
    assert_int_equal(bench_metric(&both.bench, "weir_store_trouble{"), 0);
    close_both(&both);
    assert_int_equal(both.fake.auths, 0);
}

/* What single_shot cannot stand; sticky goes on. */
static void test_what_makes_a_server_not_durable(void **state)
{
    static const struct {
        const char *info, *kind, *words;
    } rows[] = {
        {"redis_version:7.0.15\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:allkeys-lru\r\n", "eviction",
         "noeviction"},
        {"redis_version:7.0.15\r\nrole:master\r\naof_enabled:1\r\n", "eviction", "noeviction"},
        {"redis_version:7.0.15\r\nrole:master\r\naof_enabled:0\r\nmaxmemory_policy:noeviction\r\n", "persistence",
         "append only"},
        {"redis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n", "persistence", "append only"},
        {"role:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction", "info", "does not say"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct both both;
        char metric[64];
        begin_both(&both);
        both.fake.info = rows[i].info;
        bench_start(&both.bench);
        UNTIL(both.bench.loop, bench_is_up(&both.bench));
        assert_non_null(strstr(bench_not_durable(&both.bench), rows[i].words));
        assert_non_null(store_trouble(both.bench.store, true));
        assert_null(store_trouble(both.bench.store, false));
        (void)snprintf(metric, sizeof metric, "weir_store_trouble{kind=\"%s\"}", rows[i].kind);
        assert_int_equal(bench_metric(&both.bench, metric), 1);
        assert_int_equal(bench_metric(&both.bench, "weir_store_trouble{"), 1);
        assert_int_equal(status_of(&both.bench, true), STORE_UNTRUSTED);
        assert_int_equal(both.fake.scripts, 0);
        assert_int_equal(status_of(&both.bench, false), STORE_OK);
        both.fake.info = NULL; /* it is put right, and the watch notices */
        UNTIL_WATCHED(&both, bench_not_durable(&both.bench)[0] == '\0');
        assert_int_equal(bench_metric(&both.bench, "weir_store_trouble{"), 0);
        close_both(&both);
    }
}

static void test_a_server_that_may_not_say_what_it_is(void **state)
{
    struct both both;

    (void)state;
    begin_both(&both);
    both.fake.info_raw = "-NOPERM this user has no permissions to run the 'info' command\r\n";
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_non_null(strstr(bench_not_durable(&both.bench), "not permitted"));
    assert_int_equal(status_of(&both.bench, false), STORE_OK);
    close_both(&both);
}

/* A call that waited for the connection learns of its troubles too. */
static void test_a_durable_call_that_waited_is_refused(void **state)
{
    struct both both;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);

    (void)state;
    begin_both(&both);
    both.fake.info = "redis_version:7.0.15\r\nrole:master\r\naof_enabled:0\r\nmaxmemory_policy:noeviction\r\n";
    bench_start(&both.bench);
    ask_op(&both.bench, &asker, &op, true, 5000);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_UNTRUSTED);
    assert_int_equal(both.fake.scripts, 0);
    close_both(&both);
}

static void test_servers_that_are_of_no_use(void **state)
{
    static const struct {
        const char *info, *words;
    } rows[] = {
        {"redis_version:6.2.14\r\nrole:master\r\n", "older than Redis 7.0"},
        {"redis_version:x\r\nrole:master\r\n", "older than Redis 7.0"},
        {"redis_version:7.2.4\r\nrole:slave\r\n", "a replica"},
        {"redis_version:7.2.4\r\nrole:master\r\nloading:1\r\n", "loading"},
        {"redis_version:7.2.4\r\nrole:master\r\ncluster_enabled:1\r\n", "cluster"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct both both;
        begin_both(&both);
        both.fake.info = rows[i].info;
        bench_start(&both.bench);
        UNTIL(both.bench.loop, strstr(bench_trouble(&both.bench), rows[i].words) != NULL);
        assert_false(bench_is_up(&both.bench));
        both.fake.info = NULL;
        UNTIL(both.bench.loop, bench_is_up(&both.bench));
        close_both(&both);
    }
}

/* It became one while weir was connected, and said so only when it was asked what it is. */
static void test_a_server_that_changes_while_it_is_used(void **state)
{
    struct both both;

    (void)state;
    open_both(&both);
    both.fake.info = "redis_version:7.2.4\r\nrole:slave\r\n";
    UNTIL_WATCHED(&both, !bench_is_up(&both.bench));
    assert_non_null(strstr(bench_trouble(&both.bench), "a replica"));
    close_both(&both);
}

#define INFO_OF(run, replid, evicted)                                                                                  \
    "redis_version:7.0.15\r\nrun_id:" run "\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"        \
    "evicted_keys:" evicted "\r\nmaster_replid:" replid "\r\n"

static void test_evictions_are_losses(void **state)
{
    struct both both;

    (void)state;
    begin_both(&both);
    both.fake.info = INFO_OF("r1", "m1", "7"); /* of a time before */
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_string_equal(bench_not_durable(&both.bench), "");
    both.fake.info = INFO_OF("r1", "m1", "8");
    UNTIL_WATCHED(&both, strstr(bench_not_durable(&both.bench), "acknowledged writes are gone") != NULL);
    store_accept_loss(both.bench.store);
    assert_string_equal(bench_not_durable(&both.bench), "");
    both.fake.info = INFO_OF("r2", "m2", "9"); /* another run counts anew */
    int infos = both.fake.infos;
    UNTIL_WATCHED(&both, both.fake.infos > infos + 1);
    assert_string_equal(bench_not_durable(&both.bench), "");
    close_both(&both);
}

/* ---- greeting ---- */

static void test_servers_that_do_not_greet(void **state)
{
    static const struct {
        const char *greet, *hello, *words;
    } rows[] = {
        {"-LOADING Redis is loading the dataset in memory\r\n", NULL, "LOADING"},
        {"-NOAUTH Authentication required.\r\n", NULL, "NOAUTH"},
        {"-BUSY Redis is busy running a script.\r\n", NULL, "BUSY"},
        {"-CLUSTERDOWN The cluster is down\r\n", NULL, "CLUSTERDOWN"},
        {NULL, "-ERR max number of clients reached\r\n", "max number of clients"},
        {NULL, "-DENIED Redis is running in protected mode\r\n", "DENIED"},
        {NULL, "SSH-2.0-OpenSSH_9.2\r\n", "not the Redis protocol"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct both both;
        begin_both(&both);
        both.fake.greet = rows[i].greet;
        both.fake.hello = rows[i].hello;
        bench_start(&both.bench);
        UNTIL(both.bench.loop, strstr(bench_trouble(&both.bench), rows[i].words) != NULL);
        assert_false(bench_is_up(&both.bench));
        both.fake.greet = both.fake.hello = NULL;
        fake_drop(&both.fake);
        UNTIL(both.bench.loop, bench_is_up(&both.bench));
        assert_int_equal(status_of(&both.bench, false), STORE_OK);
        close_both(&both);
    }
}

static void test_a_server_that_says_nothing_to_the_greeting(void **state)
{
    struct both both;

    (void)state;
    begin_both(&both);
    both.fake.mute = true;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, strstr(bench_trouble(&both.bench), "no reply") != NULL);
    both.fake.mute = false;
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    close_both(&both);
}

/* SCRIPT LOAD is forbidden: scripts travel whole. */
static void test_a_server_that_takes_no_scripts_beforehand(void **state)
{
    struct both both;

    (void)state;
    begin_both(&both);
    both.fake.no_load = true;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_int_equal(status_of(&both.bench, false), STORE_OK);
    assert_int_equal(both.fake.wholes, 1);
    close_both(&both);
}

/* ---- passwords ---- */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_the_password_is_said_and_said_again_when_it_changes(void **state)
{
    struct both both;
    char path[] = P_tmpdir "/weir-password-XXXXXX";

    (void)state;
    close(mkstemp(path));
    write_file(path, "first\r\n");
    begin_both(&both);
    both.fake.password = "first";
    both.bench.conf.password_file = path;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_string_equal(both.fake.auth_seen, "first");
    both.fake.password = "second";
    write_file(path, "second\n");
    UNTIL_WATCHED(&both, both.fake.auths == 2); /* nobody told it to look */
    assert_string_equal(both.fake.auth_seen, "second");
    assert_int_equal(both.fake.client_count, 1);
    assert_int_equal(status_of(&both.bench, false), STORE_OK);
    close_both(&both);
    unlink(path);
}

/* The file is ahead of the server: the connection goes on, and the new word is said until it is known. */
static void test_a_new_password_that_the_server_does_not_know_yet(void **state)
{
    struct both both;
    char path[] = P_tmpdir "/weir-password-XXXXXX";

    (void)state;
    close(mkstemp(path));
    write_file(path, "first");
    begin_both(&both);
    both.fake.password = "first";
    both.bench.conf.password_file = path;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    write_file(path, "second");
    UNTIL_WATCHED(&both, both.fake.auths == 3);
    fake_last(&both.fake)->authenticated = true; /* a failed AUTH takes nothing away */
    assert_int_equal(both.fake.client_count, 1);
    assert_int_equal(status_of(&both.bench, false), STORE_OK);
    both.fake.password = "second";
    UNTIL_WATCHED(&both, both.fake.auths == 4);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->connection.asks_pool.count_used == 0);
    int infos = both.fake.infos;
    UNTIL_WATCHED(&both, both.fake.infos > infos + 1);
    assert_int_equal(both.fake.auths, 4);
    close_both(&both);
    unlink(path);
}

static void test_a_user_and_a_password(void **state)
{
    struct both both;
    char path[] = P_tmpdir "/weir-password-XXXXXX";

    (void)state;
    close(mkstemp(path));
    write_file(path, "pass word");
    begin_both(&both);
    both.fake.password = "pass word";
    both.bench.conf.username = "weir";
    both.bench.conf.password_file = path;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_string_equal(both.fake.auth_seen, "weir pass word");
    close_both(&both);
    unlink(path);
}

static void test_a_password_that_is_wrong_or_cannot_be_read(void **state)
{
    struct both both;
    char path[] = P_tmpdir "/weir-password-XXXXXX", text[PASSWORD_BYTES_MAX + 2];

    (void)state;
    close(mkstemp(path));
    unlink(path);
    begin_both(&both);
    both.fake.password = "right";
    both.bench.conf.password_file = path;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, strstr(bench_trouble(&both.bench), "No such file") != NULL);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    write_file(path, text);
    UNTIL(both.bench.loop, strstr(bench_trouble(&both.bench), "longer than a password") != NULL);
    assert_int_equal(both.fake.client_count, 0);
    write_file(path, "wrong");
    UNTIL(both.bench.loop, strstr(bench_trouble(&both.bench), "refuses the password: WRONGPASS") != NULL);
    write_file(path, "right");
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    close_both(&both);
    unlink(path);
}

static void test_another_password_file_by_a_reload(void **state)
{
    struct both both;
    struct conf_store conf;
    char path[] = P_tmpdir "/weir-password-XXXXXX";

    (void)state;
    close(mkstemp(path));
    write_file(path, "word");
    open_both(&both);
    conf = both.bench.conf;
    conf.password_file = path;
    conf.begin_timeout_ms = 700;
    assert_true(store_is(both.bench.store, &conf));
    store_renew(both.bench.store, &conf);
    UNTIL(both.bench.loop, both.fake.auths == 1);
    assert_string_equal(both.fake.auth_seen, "word");
    assert_int_equal(redis_of(both.bench.store)->begin_timeout_ms, 700);
    close_both(&both);
    unlink(path);
}

static void test_what_makes_another_store(void **state)
{
    struct both both;
    struct conf_store conf;
    struct conf_server servers[2];

    (void)state;
    open_both(&both);
    conf = both.bench.conf;
    assert_true(store_is(both.bench.store, &conf));
    conf.username = "somebody";
    assert_false(store_is(both.bench.store, &conf));
    conf = both.bench.conf;
    conf.tls_ca = "/another";
    assert_false(store_is(both.bench.store, &conf));
    conf = both.bench.conf;
    conf.type = CONF_STORE_EMBEDDED;
    assert_false(store_is(both.bench.store, &conf));
    conf = both.bench.conf;
    memcpy(servers, both.bench.servers, sizeof servers);
    conf.servers = servers;
    servers[0].text = "redis://elsewhere:6379";
    assert_false(store_is(both.bench.store, &conf));
    servers[0] = both.bench.servers[0];
    servers[1] = servers[0];
    conf.server_count = 2;
    assert_false(store_is(both.bench.store, &conf));
    close_both(&both);
}

/* ---- the secret ---- */

static void test_the_digest_of_the_secret_is_left_for_others(void **state)
{
    struct both both;
    char expected[2 * STORE_SECRET_DIGEST_BYTES + 1];

    (void)state;
    open_both(&both);
    for (int i = 0; i < STORE_SECRET_DIGEST_BYTES; i++) {
        (void)snprintf(expected + 2 * i, 3, "%02x", both.bench.options.secret_digest[i]);
    }
    assert_string_equal(both.fake.secret, expected);
    close_both(&both);
}

static void test_a_store_of_another_secret_is_not_trusted(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    begin_both(&both);
    (void)snprintf(both.fake.secret, sizeof both.fake.secret, "ffff");
    bench_start(&both.bench);
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1); /* while it connects */
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_UNTRUSTED);
    assert_int_equal(status_of(&both.bench, false), STORE_UNTRUSTED);
    assert_int_equal(both.fake.scripts, 0);
    assert_non_null(strstr(bench_trouble(&both.bench), "another secret"));
    assert_non_null(strstr(store_trouble(both.bench.store, false), "another secret"));
    ask(&both.bench, &asker, IDEM_COMPLETE, 1, 1); /* the truth is stored all the same */
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_OK);
    both.fake.secret[0] = '\0'; /* somebody cleared it up */
    UNTIL_WATCHED(&both, store_trouble(both.bench.store, false) == NULL);
    close_both(&both);
}

/* ---- the canary ---- */

static void test_a_canary_follows_each_batch_that_must_be_durable(void **state)
{
    struct both both;
    struct asker askers[8];
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);

    (void)state;
    open_both(&both);
    redis_of(both.bench.store)->watch.canary_us =
        loop_now_us(both.bench.loop) + 3600 * CLOCK_US_PER_S; /* not by time */
    redis_of(both.bench.store)->watch.canary_said = 0;
    for (int i = 0; i < 4; i++) {
        ask_op(&both.bench, &askers[i], &op, true, 1000);
    }
    UNTIL(both.bench.loop, askers[3].told == 1);
    assert_int_equal(both.fake.canaries, 1); /* one for the batch */
    assert_string_equal(both.fake.canary, "1");
    assert_int_equal(both.fake.canary_after_scripts, 4); /* behind all of them */
    ask_op(&both.bench, &askers[0], &op, true, 1000);
    UNTIL(both.bench.loop, askers[0].told == 1);
    assert_string_equal(both.fake.canary, "2");
    UNTIL(both.bench.loop, redis_of(both.bench.store)->watch.canary_acked == 2);
    close_both(&both);
}

static void test_without_durable_calls_a_canary_a_second_is_enough(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both);
    for (int i = 0; i < 20; i++) {
        ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
        UNTIL(both.bench.loop, asker.told == 1);
        redis_of(both.bench.store)->watch.canary_us = loop_now_us(both.bench.loop); /* said just now */
    }
    assert_true(both.fake.canaries <= 1);
    ask(&both.bench, &asker, IDEM_READ, 1, 1); /* writes nothing */
    redis_of(both.bench.store)->watch.canary_us = 0;
    UNTIL(both.bench.loop, asker.told == 1);
    assert_true(both.fake.canaries <= 1);
    ask(&both.bench, &asker, IDEM_BEGIN, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_true(both.fake.canaries >= 1);
    close_both(&both);
}

static void read_file(const char *path, char text[TEXT_BYTES])
{
    int fd = open(path, O_RDONLY);
    ssize_t len = fd < 0 ? 0 : read(fd, text, TEXT_BYTES - 1);
    text[len > 0 ? len : 0] = '\0';
    close(fd);
}

static bool file_has(const char *path, const char *words)
{
    char text[TEXT_BYTES];
    read_file(path, text);
    return strstr(text, words) != NULL;
}

static void test_acknowledged_writes_that_are_gone_are_told(void **state)
{
    struct both both;
    char path[] = P_tmpdir "/weir-events-XXXXXX", why[256];
    struct log_sink sinks[LOG_STREAM_COUNT] = {
        [LOG_ACCESS] = {.to = "/dev/null"},
        [LOG_EVENTS] = {.to = path, .format = LOG_JSON, .level = LOG_INFO},
    };
    struct log *log = log_open();

    (void)state;
    close(mkstemp(path));
    assert_int_equal(log_configure(log, sinks, why, sizeof why), ERR_OK);
    begin_both(&both);
    both.bench.options.log = log;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->watch.canary_acked > 0);
    fake_drop(&both.fake); /* all is there: no trouble */
    UNTIL(both.bench.loop, both.fake.client_count == 2 && bench_is_up(&both.bench));
    assert_string_equal(bench_not_durable(&both.bench), "");
    both.fake.canary[0] = '\0';
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, both.fake.client_count == 3 && bench_is_up(&both.bench));
    assert_non_null(strstr(bench_not_durable(&both.bench), "acknowledged writes are gone"));
    assert_int_equal(bench_metric(&both.bench, "weir_store_trouble{kind=\"loss\"}"), 1);
    assert_int_equal(status_of(&both.bench, true), STORE_UNTRUSTED);
    assert_int_equal(status_of(&both.bench, false), STORE_OK);
    UNTIL(both.bench.loop, file_has(path, "\"store_lost_writes\""));
    assert_true(file_has(path, "\"audit\":true"));
    fake_drop(&both.fake); /* it does not pass by itself */
    UNTIL(both.bench.loop, both.fake.client_count == 4 && bench_is_up(&both.bench));
    assert_int_equal(status_of(&both.bench, true), STORE_UNTRUSTED);
    store_accept_loss(both.bench.store);
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    UNTIL(both.bench.loop, file_has(path, "\"store_loss_accepted\""));
    close_both(&both);
    log_close(log, 1000);
    unlink(path);
}

/* No connection was lost, so nobody would look: the next canary shows that the one before is gone. */
static void test_a_store_that_was_emptied_shows_it(void **state)
{
    struct both both;

    (void)state;
    open_both(&both);
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->watch.canary_acked > 0);
    both.fake.canary[0] = '\0';
    assert_int_equal(status_of(&both.bench, true), STORE_OK); /* its own canary is the first to miss the other */
    UNTIL(both.bench.loop, bench_not_durable(&both.bench)[0] != '\0');
    assert_non_null(strstr(bench_not_durable(&both.bench), "acknowledged writes are gone"));
    assert_int_equal(status_of(&both.bench, true), STORE_UNTRUSTED);
    UNTIL(both.bench.loop, both.fake.lost[0] != '\0'); /* for the others */
    store_accept_loss(both.bench.store);
    UNTIL(both.bench.loop, both.fake.lost[0] == '\0');
    close_both(&both);
}

/* A full server completes payments and takes no canary: that is no loss, neither now nor when there is room again. */
static void test_a_full_server_lost_nothing(void **state)
{
    struct both both;
    struct asker asker;

    (void)state;
    open_both(&both);
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->watch.canary_stored > 0);
    both.fake.full = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(status_of(&both.bench, true), STORE_OK);
    }
    both.fake.full = false;
    uint64_t stored = redis_of(both.bench.store)->watch.canary_stored;
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->watch.canary_stored > stored);
    assert_string_equal(bench_not_durable(&both.bench), "");
    both.fake.full = true;
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    ask(&both.bench, &asker, IDEM_READ, 1, 1);
    UNTIL(both.bench.loop, asker.told == 1); /* behind the refused canary */
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, both.fake.client_count == 2 && bench_is_up(&both.bench));
    assert_string_equal(bench_not_durable(&both.bench), "");
    close_both(&both);
}

/* Another weir's writes are gone, or ours of a former life: what we wrote ourselves proves nothing. */
static void test_a_loss_that_another_weir_saw_counts_here(void **state)
{
    struct both both;

    (void)state;
    begin_both(&both);
    (void)snprintf(both.fake.lost, sizeof both.fake.lost, "w:canary:another");
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    UNTIL(both.bench.loop, bench_not_durable(&both.bench)[0] != '\0');
    assert_int_equal(status_of(&both.bench, true), STORE_UNTRUSTED);
    assert_int_equal(status_of(&both.bench, false), STORE_OK);
    both.fake.lost[0] = '\0'; /* its absence proves nothing */
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, both.fake.client_count == 2 && bench_is_up(&both.bench));
    assert_int_equal(status_of(&both.bench, true), STORE_UNTRUSTED);
    store_accept_loss(both.bench.store);
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    close_both(&both);
}

/* Its reply came and its canary's did not: what was acknowledged counts all the same. */
static void test_what_was_acknowledged_without_its_canary(void **state)
{
    struct both both;

    (void)state;
    open_both(&both);
    both.fake.no_canary = true;
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    fake_drop(&both.fake);
    both.fake.no_canary = false;
    UNTIL(both.bench.loop, both.fake.client_count == 2 && bench_is_up(&both.bench));
    assert_non_null(strstr(bench_not_durable(&both.bench), "acknowledged writes are gone"));
    close_both(&both);
}

/* A durable begin was asked on a connection that was lost, and the store that is found then is not to be trusted. */
static const char *say_nothing(struct fake *fake, const struct bytes *words, int count)
{
    (void)fake;
    (void)words;
    (void)count;
    return NULL;
}

static void test_a_durable_begin_is_not_repeated_on_a_store_that_lost_writes(void **state)
{
    struct both both;
    struct asker asker;
    struct idem_op op = op_of(IDEM_BEGIN, 1, 1);

    (void)state;
    open_both(&both);
    assert_int_equal(status_of(&both.bench, true), STORE_OK);
    UNTIL(both.bench.loop, redis_of(both.bench.store)->watch.canary_acked > 0);
    both.fake.script = say_nothing;
    ask_op(&both.bench, &asker, &op, true, 5000);
    UNTIL(both.bench.loop, both.fake.scripts == 2);
    both.fake.script = NULL;
    both.fake.canary[0] = '\0';
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, asker.told == 1);
    assert_int_equal(asker.status, STORE_DOWN);
    UNTIL(both.bench.loop, both.fake.scripts == 3);
    assert_int_equal(both.fake.ops[2], IDEM_ABANDON);
    close_both(&both);
}

static void test_a_server_whose_keys_cannot_be_read(void **state)
{
    struct both both;

    (void)state;
    begin_both(&both);
    both.fake.no_get = true;
    bench_start(&both.bench);
    UNTIL(both.bench.loop, bench_is_up(&both.bench));
    assert_non_null(strstr(bench_not_durable(&both.bench), "not permitted"));
    assert_int_equal(bench_metric(&both.bench, "weir_store_trouble{kind=\"keys\"}"), 1);
    assert_int_equal(bench_metric(&both.bench, "weir_store_trouble{kind=\"canary\"}"), 1);
    assert_int_equal(status_of(&both.bench, false), STORE_OK);
    close_both(&both);
}

/* An older number is a loss as well: another server took over from before the last write. */
static void test_an_older_canary_is_a_loss(void **state)
{
    struct both both;

    (void)state;
    open_both(&both);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(status_of(&both.bench, true), STORE_OK);
    }
    UNTIL(both.bench.loop, redis_of(both.bench.store)->watch.canary_acked >= 3);
    (void)snprintf(both.fake.canary, sizeof both.fake.canary, "2");
    fake_drop(&both.fake);
    UNTIL(both.bench.loop, both.fake.client_count == 2 && bench_is_up(&both.bench));
    assert_non_null(strstr(bench_not_durable(&both.bench), "acknowledged writes are gone"));
    close_both(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_server_is_durable),
        cmocka_unit_test(test_what_makes_a_server_not_durable),
        cmocka_unit_test(test_a_server_that_may_not_say_what_it_is),
        cmocka_unit_test(test_a_durable_call_that_waited_is_refused),
        cmocka_unit_test(test_servers_that_are_of_no_use),
        cmocka_unit_test(test_a_server_that_changes_while_it_is_used),
        cmocka_unit_test(test_evictions_are_losses),
        cmocka_unit_test(test_servers_that_do_not_greet),
        cmocka_unit_test(test_a_server_that_says_nothing_to_the_greeting),
        cmocka_unit_test(test_a_server_that_takes_no_scripts_beforehand),
        cmocka_unit_test(test_the_password_is_said_and_said_again_when_it_changes),
        cmocka_unit_test(test_a_new_password_that_the_server_does_not_know_yet),
        cmocka_unit_test(test_a_user_and_a_password),
        cmocka_unit_test(test_a_password_that_is_wrong_or_cannot_be_read),
        cmocka_unit_test(test_another_password_file_by_a_reload),
        cmocka_unit_test(test_what_makes_another_store),
        cmocka_unit_test(test_the_digest_of_the_secret_is_left_for_others),
        cmocka_unit_test(test_a_store_of_another_secret_is_not_trusted),
        cmocka_unit_test(test_a_canary_follows_each_batch_that_must_be_durable),
        cmocka_unit_test(test_without_durable_calls_a_canary_a_second_is_enough),
        cmocka_unit_test(test_acknowledged_writes_that_are_gone_are_told),
        cmocka_unit_test(test_an_older_canary_is_a_loss),
        cmocka_unit_test(test_a_store_that_was_emptied_shows_it),
        cmocka_unit_test(test_a_full_server_lost_nothing),
        cmocka_unit_test(test_a_loss_that_another_weir_saw_counts_here),
        cmocka_unit_test(test_what_was_acknowledged_without_its_canary),
        cmocka_unit_test(test_a_durable_begin_is_not_repeated_on_a_store_that_lost_writes),
        cmocka_unit_test(test_a_server_whose_keys_cannot_be_read),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
