/*
 * Shedding at the gate: what class a request is of, who is turned away at a
 * level and who never is, the shares of a processor's concurrency, and a timer
 * that rests. How the level moves is policy/shed_test.c's.
 */
#include "gate_support.h"

#define ALL_BUT_PAYMENTS SHED_LEVEL_MAX

static char folder[64], secret[96];

/* Of two clients, one is half: who is turned away is told at once. */
#define AT_ONCE 2
#define HELD_BACK 1000

/* Keyed routes want a store, which is never opened here: its file of secrets is made. */
static void open_classes(uint32_t clients_max)
{
    static const char routes[] =
        "{name: reports, match: {path: /reports}, to: acme, class: list}, "
        "{name: batch, match: {path: /batch}, to: acme, class: background}, "
        "{name: payouts, match: {path: /payouts}, to: acme, class: write}, "
        "{name: status, match: {path: /status}, to: acme, class: payment}, "
        "{name: keyless, match: {path: /keyless}, to: acme, idempotency: off}, "
        "{name: sandbox, match: {path: /sandbox}, to: acme, class: test}, ";
    char store[300];

    (void)snprintf(folder, sizeof folder, "%s", P_tmpdir "/weir-shed-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(secret, sizeof secret, "%s/secret", folder);
    /* The listeners end here; what stands behind them in that line becomes a comment. */
    (void)snprintf(store, sizeof store, "}]\nstore: {type: embedded, path: %s/store, secret_file: %s}\n# ", folder, secret);
    world_open((struct world_wishes){
        .listener = store, .processor = ", profile: stripe", .routes = routes, .clients_max = clients_max});
    far.answer = ANSWER;
}

static void close_classes(void)
{
    world_close();
    assert_int_equal(unlink(secret), 0);
    assert_int_equal(rmdir(folder), 0);
}

static uint64_t shed_count(enum shed_class class)
{
    return stats_get(world.stats, world.gate->shedding.stat_shed[class]);
}

static uint64_t shed_count_all(void)
{
    uint64_t count = 0;

    for (int class = 0; class < SHED_CLASS_COUNT; class++) {
        count += shed_count((enum shed_class)class);
    }
    return count;
}

static void set_level(uint32_t level)
{
    world.gate->shedding.shed = (struct shed){.level = level};
}

/* Asks on a connection of its own, sees the answer, and tells whether it was refused as one of that class. */
static bool is_shed(const char *request, enum shed_class class)
{
    uint64_t all_before = shed_count_all(), before = shed_count(class);
    struct end near;
    struct line line;

    near_open(&near);
    near_ask(&near, request, "HTTP/1.1 ");
    next_line(&line);
    near_close(&near, false);
    bool shed = strcmp(line_value(&line, "weir.reason"), "shed") == 0;
    assert_int_equal(shed_count_all() - all_before, shed ? 1 : 0);
    assert_int_equal(shed_count(class) - before, shed ? 1 : 0);
    if (shed) {
        /* R at once, B where its body went by first, K where its key was looked for */
        const char *phase = line_value(&line, "weir.phase");
        assert_verdict(&line, "shed", "not_sent", "weir", strchr("BK", phase[0]) != NULL ? phase : "R");
    }
    return shed;
}

/* ---- classes ---- */

#define LIVE "Authorization: Bearer sk_live_1\r\n"
#define TEST "Authorization: Bearer sk_test_1\r\n"
#define KEY "Idempotency-Key: 0123456789abcdef\r\n"
#define REQUEST(method, path, fields) method " " path " HTTP/1.1\r\nHost: pay.example\r\n" fields "Content-Length: 0\r\n\r\n"

static void test_the_class_of_a_request(void **state)
{
    static const struct row {
        const char *request;
        enum shed_class class;
    } rows[] = {
        /* by the request */
        {REQUEST("POST", "/v1/payments", LIVE KEY), SHED_PAYMENT},
        {REQUEST("POST", "/v1/payments", LIVE), SHED_PAYMENT}, /* the next one with a key may be its replay */
        {REQUEST("PATCH", "/v1/payments", LIVE), SHED_PAYMENT},
        {REQUEST("DELETE", "/v1/payments/1", LIVE), SHED_WRITE}, /* carries no key in this profile */
        {REQUEST("DELETE", "/v1/payments/1", LIVE KEY), SHED_WRITE},
        {REQUEST("POST", "/keyless", LIVE KEY), SHED_WRITE},
        {REQUEST("GET", "/v1/payments/1", LIVE), SHED_READ},
        {REQUEST("HEAD", "/v1/payments/1", LIVE KEY), SHED_READ},
        {REQUEST("GET", "/v1/payments/1", ""), SHED_READ},
        /* by the route, whatever the request looks like */
        {REQUEST("GET", "/reports", LIVE), SHED_LIST},
        {REQUEST("POST", "/reports", LIVE KEY), SHED_LIST},
        {REQUEST("POST", "/batch", LIVE KEY), SHED_BACKGROUND},
        {REQUEST("POST", "/payouts", LIVE KEY), SHED_WRITE},
        {REQUEST("GET", "/status", LIVE), SHED_PAYMENT},
        {REQUEST("GET", "/sandbox", LIVE), SHED_TEST},
        /* test traffic lowers all that is above it */
        {REQUEST("POST", "/v1/payments", TEST KEY), SHED_TEST},
        {REQUEST("POST", "/payouts", TEST), SHED_TEST},
        {REQUEST("GET", "/v1/payments/1", TEST), SHED_TEST},
        {REQUEST("GET", "/reports", TEST), SHED_TEST},
        {REQUEST("GET", "/status", TEST), SHED_TEST},
        {REQUEST("GET", "/v1/payments/1", "X-Api-Key: sk_test_1\r\n"), SHED_TEST},
        {REQUEST("GET", "/batch", TEST), SHED_BACKGROUND},
        {REQUEST("GET", "/sandbox", TEST), SHED_TEST},
        /* nothing that a caller says raises it */
        {REQUEST("GET", "/v1/payments/1", LIVE "Priority: u=0\r\nWeir-Class: payment\r\n"), SHED_READ},
        {REQUEST("GET", "/sandbox", LIVE KEY), SHED_TEST},
    };

    (void)state;
    open_classes(AT_ONCE);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        set_level(ALL_BUT_PAYMENTS);
        if (is_shed(rows[i].request, rows[i].class) != (rows[i].class != SHED_PAYMENT)) {
            fail_msg("row %zu", i);
        }
    }
    close_classes();
}

/* A live credential in the one header is not lowered by what stands in the other. */
static void test_the_credential_is_the_one_that_counts(void **state)
{
    (void)state;
    open_classes(AT_ONCE);
    set_level(100);
    assert_false(is_shed(REQUEST("GET", "/v1/payments/1", LIVE "X-Api-Key: sk_test_1\r\n"), SHED_TEST));
    assert_true(is_shed(REQUEST("GET", "/v1/payments/1", TEST "X-Api-Key: sk_live_1\r\n"), SHED_TEST));
    close_classes();
}

static void test_a_profile_without_test_keys_knows_no_test_traffic(void **state)
{
    (void)state;
    world_open((struct world_wishes){0});
    set_level(100);
    far.answer = ANSWER;
    assert_false(is_shed(REQUEST("GET", "/v1/payments/1", TEST), SHED_TEST));
    world_close();
}

/* ---- refusals ---- */

static void test_level_by_level_a_class_more_is_turned_away(void **state)
{
    static const struct row {
        uint32_t level;
        bool background, list, read, write;
    } rows[] = {
        {0, false, false, false, false}, {100, true, false, false, false}, {200, true, true, false, false},
        {300, true, true, true, false},  {400, true, true, true, true},
    };

    (void)state;
    open_classes(AT_ONCE);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        set_level(rows[i].level);
        assert_int_equal(is_shed(REQUEST("GET", "/batch", LIVE), SHED_BACKGROUND), rows[i].background);
        assert_int_equal(is_shed(REQUEST("GET", "/reports", LIVE), SHED_LIST), rows[i].list);
        assert_int_equal(is_shed(REQUEST("GET", "/v1/payments/1", LIVE), SHED_READ), rows[i].read);
        assert_int_equal(is_shed(REQUEST("POST", "/payouts", LIVE), SHED_WRITE), rows[i].write);
        assert_false(is_shed(REQUEST("POST", "/v1/payments", LIVE), SHED_PAYMENT));
    }
    close_classes();
}

static void test_a_question_for_an_outcome_is_never_shed(void **state)
{
    const struct exchange question = {.asks_outcome = true}; /* it has no route */
    struct end near;
    struct line line;

    (void)state;
    assert_int_equal(shedding_class(&question), SHED_PAYMENT);
    open_classes(AT_ONCE);
    set_level(ALL_BUT_PAYMENTS);
    near_open(&near);
    near_ask(&near, REQUEST("GET", "/.well-known/weir/outcome", TEST KEY), "HTTP/1.1 ");
    next_line(&line);
    assert_string_not_equal(line_value(&line, "weir.reason"), "shed");
    near_close(&near, false);
    assert_int_equal(shed_count_all(), 0);
    close_classes();
}

/* ---- held back ---- */

static struct exchange *the_exchange(void)
{
    return list_first(&world.gate->exchanges, struct exchange, in_exchanges);
}

static bool is_held(void)
{
    return the_exchange() != NULL && the_exchange()->held;
}

/* Whoever is turned away does not ask again meanwhile; its body is read and thrown away, so that its connection is still good. */
static void test_an_answer_that_turns_away_is_held_back(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_classes(HELD_BACK);
    set_level(ALL_BUT_PAYMENTS);
    uint64_t asked_us = clock_now_us();
    near_open(&near);
    near_say(&near, "POST /payouts HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 8\r\n\r\npay!");
    UNTIL(world.loop, is_held());
    near_say(&near, "pay!");
    UNTIL(world.loop, the_exchange()->request_whole);
    assert_int_equal(the_exchange()->body.len, 0);
    assert_int_equal(near.in_bytes, 0);
    UNTIL(world.loop, near_has(&near, "\r\nWeir-Reason: shed\r\n"));
    assert_true(clock_now_us() - asked_us >= 490 * 1000); /* the level may have fallen a little */
    next_line(&line);
    assert_verdict(&line, "shed", "not_sent", "weir", "B");
    near_ask(&near, REQUEST("POST", "/keyless", "Weir-Class: payment\r\n"), "HTTP/1.1 503"); /* the connection goes on */
    UNTIL(world.loop, near_count(&near, "\r\nWeir-Reason: shed\r\n") == 2);
    next_line(&line);
    near_close(&near, false);
    close_classes();
}

static void test_who_leaves_while_it_is_held_back_is_gone(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_classes(HELD_BACK);
    set_level(ALL_BUT_PAYMENTS);
    near_open(&near);
    near_say(&near, REQUEST("GET", "/reports", LIVE));
    UNTIL(world.loop, is_held());
    near_close(&near, true);
    next_line(&line);
    assert_verdict(&line, "client_gone", "not_sent", "client", "B");
    close_classes();
}

static void test_a_body_that_breaks_while_it_is_held_back_ends_it(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    open_classes(HELD_BACK);
    set_level(ALL_BUT_PAYMENTS);
    near_open(&near);
    near_say(&near, "POST /payouts HTTP/1.1\r\nHost: pay.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    UNTIL(world.loop, is_held());
    near_ask(&near, "not a chunk\r\n", "\r\nWeir-Reason: bad_request\r\n");
    next_line(&line);
    assert_verdict(&line, "bad_request", "not_sent", "client", "B");
    near_close(&near, false);
    close_classes();
}

/* Connections that wait are connections, too: with half of all in use nobody is held back. */
static void test_where_connections_run_short_nobody_is_held_back(void **state)
{
    struct end nears[5];
    struct line line;

    (void)state;
    world_open((struct world_wishes){.clients_max = 10});
    for (int i = 0; i < 5; i++) {
        near_open(&nears[i]);
    }
    UNTIL(world.loop, world_state().clients == 5);
    set_level(ALL_BUT_PAYMENTS);
    near_ask(&nears[0], ASK, "\r\nWeir-Reason: shed\r\n");
    next_line(&line);
    assert_verdict(&line, "shed", "not_sent", "weir", "R");
    for (int i = 0; i < 5; i++) {
        near_close(&nears[i], false);
    }
    world_close();
}

/* What is held back holds its head. */
static void test_where_buffers_run_short_nobody_is_held_back(void **state)
{
    struct block *taken[13];
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.buffers_bytes = 24 * BLOCK_BYTES});
    set_level(ALL_BUT_PAYMENTS);
    for (int i = 0; i < 13; i++) {
        taken[i] = blocks_take(loop_blocks(world.loop), 1, BLOCKS_MAY);
        assert_non_null(taken[i]);
    }
    near_open(&near);
    near_ask(&near, ASK, "\r\nWeir-Reason: shed\r\n");
    next_line(&line);
    assert_verdict(&line, "shed", "not_sent", "weir", "R");
    near_close(&near, false);
    for (int i = 0; i < 13; i++) {
        blocks_give(loop_blocks(world.loop), taken[i]);
    }
    world_close();
}

/* ---- a processor's concurrency ---- */

#define ROUTE_BATCH "{name: batch, match: {path: /batch}, to: acme, class: background}, "

/* Payments that the processor has and does not answer. */
static void fill(struct end *nears, int count)
{
    for (int i = 0; i < count; i++) {
        size_t before = far_bytes();
        near_open(&nears[i]);
        near_say(&nears[i], ORDER);
        UNTIL(world.loop, far_bytes() > before);
    }
}

static void answer_all(struct end *nears, int count)
{
    struct line line;

    for (int i = 0; i < count; i++) {
        far_say(i, ANSWER);
        UNTIL(world.loop, near_has(&nears[i], "\r\n\r\nok"));
        next_line(&line);
        near_close(&nears[i], false);
    }
}

static void assert_refused_at_the_link(const char *request, enum shed_class class)
{
    uint64_t before = shed_count(class);
    struct end near;
    struct line line;

    near_open(&near);
    near_ask(&near, request, "\r\nWeir-Reason: shed\r\n");
    next_line(&line);
    assert_verdict(&line, "shed", "not_sent", "weir", "L");
    assert_int_equal(shed_count(class), before + 1);
    near_close(&near, false);
}

static void test_a_class_has_its_share_of_a_processor_and_payments_the_rest(void **state)
{
    struct end nears[5];

    (void)state;
    world_open((struct world_wishes){.processor = ", concurrency: 5", .routes = ROUTE_BATCH});
    fill(nears, 2);
    assert_refused_at_the_link(REQUEST("GET", "/batch", ""), SHED_BACKGROUND); /* 40 % */
    fill(nears + 2, 1);
    size_t before = far_bytes();
    struct end read;
    near_open(&read);
    near_say(&read, ASK); /* 80 %: the fourth place */
    UNTIL(world.loop, far_bytes() > before);
    assert_refused_at_the_link(ASK, SHED_READ);
    fill(nears + 4, 1);
    far_say(3, ANSWER);
    UNTIL(world.loop, near_has(&read, "\r\n\r\nok"));
    struct line line;
    next_line(&line);
    near_close(&read, false);
    answer_all(nears, 3);
    far_say(4, ANSWER);
    UNTIL(world.loop, near_has(&nears[4], "\r\n\r\nok"));
    next_line(&line);
    near_close(&nears[4], false);
    world_close();
}

/* A request that took a record over may have been sent before: it finds out what became of that. */
static void test_what_may_have_been_sent_is_not_turned_away_at_the_link(void **state)
{
    struct exchange x = {.safe_method = true};
    struct end nears[4];

    (void)state;
    world_open((struct world_wishes){.processor = ", concurrency: 5"});
    fill(nears, 4);
    x.gate = world.gate;
    x.route = &world.gate->generation->routes[0];
    x.processor = x.route->processor;
    x.processor_conf = x.route->processor_conf;
    assert_true(shedding_refuses_link(&x));
    x.sent = true;
    assert_false(shedding_refuses_link(&x));
    answer_all(nears, 4);
    world_close();
}

/* A pool has a queue of its own: what finds no link in a small one waits there, whatever its class. */
static void test_a_small_pool_turns_nobody_away(void **state)
{
    struct end nears[4], waiting;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.processor = ", pool: {connections: 4}"});
    fill(nears, 4);
    near_open(&waiting);
    near_say(&waiting, ASK);
    UNTIL(world.loop, world_state().exchanges == 5);
    far.answer = ANSWER; /* to what comes next on a link */
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&nears[0], "\r\n\r\nok") && near_has(&waiting, "\r\n\r\nok"));
    next_line(&line);
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    near_close(&nears[0], false);
    near_close(&waiting, false);
    for (int i = 1; i < 4; i++) {
        far_say(i, ANSWER);
        UNTIL(world.loop, near_has(&nears[i], "\r\n\r\nok"));
        next_line(&line);
        near_close(&nears[i], false);
    }
    world_close();
}

/* Of so few there is nothing to keep: it waits for its turn. */
static void test_where_the_share_is_all_of_it_a_request_waits_as_others_do(void **state)
{
    struct end near, waiting;
    struct line line;

    (void)state;
    world_open((struct world_wishes){.processor = ", concurrency: 1"});
    fill(&near, 1);
    near_open(&waiting);
    near_say(&waiting, ASK);
    UNTIL(world.loop, processor_in_flight(world.gate->generation->processors[0]) == 1 && world_state().exchanges == 2);
    far.answer = ANSWER;
    far_say(0, ANSWER);
    UNTIL(world.loop, near_has(&waiting, "\r\n\r\nok"));
    next_line(&line);
    next_line(&line);
    assert_verdict(&line, "ok", "answered", "-", "A");
    near_close(&near, false);
    near_close(&waiting, false);
    world_close();
}

/* ---- the controller's timer ---- */

static bool is_awake(void)
{
    return timer_armed(&world.gate->shedding.timer);
}

static uint64_t turn_count(void)
{
    return stats_get(world.stats, world.gate->shedding.stat_delay);
}

static void test_it_rests_until_somebody_asks_and_again_when_nobody_does(void **state)
{
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){0});
    far.answer = ANSWER;
    assert_false(is_awake());
    near_open(&near);
    UNTIL(world.loop, world_state().clients == 1);
    assert_false(is_awake()); /* a client that wants nothing */
    for (int i = 1; i <= 3; i++) {
        near_say(&near, ASK);
        UNTIL(world.loop, near_count(&near, "\r\n\r\nok") == i);
        next_line(&line);
        assert_true(is_awake());
        UNTIL(world.loop, !is_awake());
    }
    assert_true(turn_count() >= 3); /* one observation for each turn */
    near_close(&near, false);
    world_close();
}

/* Each request finds it awake: they must not put its next turn off. */
static void test_requests_that_never_stop_do_not_keep_it_from_looking(void **state)
{
    uint64_t until_us = clock_now_us() + PATIENCE_US;
    bool seen = false;
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){0});
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ASK, "\r\n\r\nok");
    next_line(&line);
    for (int i = 2; !seen; i++) {
        uint64_t due_us = world.gate->shedding.timer.due_us, turns = turn_count();
        assert_true(clock_now_us() < until_us);
        near_say(&near, ASK);
        UNTIL(world.loop, near_count(&near, "\r\n\r\nok") == i);
        next_line(&line);
        seen = due_us != 0 && turn_count() == turns; /* it was awake all the time */
        assert_true(!seen || world.gate->shedding.timer.due_us == due_us);
    }
    near_close(&near, false);
    world_close();
}

static void test_it_does_not_rest_while_something_is_shed(void **state)
{
    struct shedding *shedding;
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){0});
    shedding = &world.gate->shedding;
    set_level(3);
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ASK, "\r\n\r\nok");
    next_line(&line);
    near_close(&near, false);
    UNTIL(world.loop, stats_get(world.stats, shedding->stat_level) == 3);
    assert_true(is_awake());
    UNTIL(world.loop, shedding->shed.level == 0); /* nobody asks any more */
    UNTIL(world.loop, !is_awake());
    assert_int_equal(stats_get(world.stats, shedding->stat_level), 0);
    logbook_wait_event(&world.book, "\"event\":\"shedding_over\"");
    world_close();
}

/* Nine of ten clients that there may be: what else comes is turned away for them, and an operator hears of it. */
static void test_a_gate_that_is_nearly_full_sheds(void **state)
{
    struct end nears[9];
    struct line line;

    (void)state;
    world_open((struct world_wishes){.clients_max = 10});
    far.answer = ANSWER;
    for (int i = 0; i < 9; i++) {
        near_open(&nears[i]);
    }
    UNTIL(world.loop, world_state().clients == 9);
    near_ask(&nears[0], ASK, "\r\n\r\nok");
    next_line(&line);
    UNTIL(world.loop, world.gate->shedding.shed.level > 0);
    logbook_wait_event(&world.book, "\"event\":\"shedding\"");
    logbook_wait_event(&world.book, "\"clients_permille\":900");
    UNTIL(world.loop, world.gate->shedding.shed.level > 20);
    assert_true(stats_get(world.stats, world.gate->shedding.stat_level) > 0);
    for (int i = 0; i < 9; i++) {
        near_close(&nears[i], false);
    }
    world_close(); /* the timer is armed, and goes with the gate */
}

static void test_buffers_that_are_nearly_full_shed_too(void **state)
{
    struct blocks *blocks;
    struct block *taken[24];
    struct end near;
    struct line line;
    int count = 0;

    (void)state;
    world_open((struct world_wishes){.buffers_bytes = 24 * BLOCK_BYTES});
    blocks = loop_blocks(world.loop);
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ASK, "\r\n\r\nok");
    next_line(&line);
    UNTIL(world.loop, is_awake());
    while (blocks->used_bytes < 22 * BLOCK_BYTES) {
        taken[count] = blocks_take(blocks, 1, BLOCKS_MAY);
        assert_non_null(taken[count]);
        count++;
    }
    UNTIL(world.loop, world.gate->shedding.shed.level > 0);
    while (count > 0) {
        blocks_give(blocks, taken[--count]);
    }
    near_close(&near, false);
    world_close();
}

/* ---- delay ---- */

struct heavy {
    struct deferred deferred;
    uint64_t until_us;
};

/* A turn of 20 ms, and at once another. */
static void on_heavy(struct deferred *deferred)
{
    struct heavy *heavy = container_of(deferred, struct heavy, deferred);

    for (uint64_t until_us = clock_now_us() + 20000; clock_now_us() < until_us;) {
    }
    if (clock_now_us() < heavy->until_us && world.gate->shedding.shed.level == 0) {
        loop_defer(world.loop, deferred);
    }
}

static void test_a_loop_that_never_rests_sheds(void **state)
{
    struct heavy heavy = {.until_us = clock_now_us() + PATIENCE_US};
    struct end near;
    struct line line;

    (void)state;
    world_open((struct world_wishes){0});
    far.answer = ANSWER;
    near_open(&near);
    near_ask(&near, ASK, "\r\n\r\nok");
    next_line(&line);
    deferred_init(&heavy.deferred, on_heavy);
    loop_defer(world.loop, &heavy.deferred);
    UNTIL(world.loop, world.gate->shedding.shed.level > 0);
    logbook_wait_event(&world.book, "\"event\":\"shedding\"");
    loop_undefer(&heavy.deferred);
    near_close(&near, false);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_class_of_a_request),
        cmocka_unit_test(test_the_credential_is_the_one_that_counts),
        cmocka_unit_test(test_a_profile_without_test_keys_knows_no_test_traffic),
        cmocka_unit_test(test_level_by_level_a_class_more_is_turned_away),
        cmocka_unit_test(test_a_question_for_an_outcome_is_never_shed),
        cmocka_unit_test(test_an_answer_that_turns_away_is_held_back),
        cmocka_unit_test(test_who_leaves_while_it_is_held_back_is_gone),
        cmocka_unit_test(test_a_body_that_breaks_while_it_is_held_back_ends_it),
        cmocka_unit_test(test_where_connections_run_short_nobody_is_held_back),
        cmocka_unit_test(test_where_buffers_run_short_nobody_is_held_back),
        cmocka_unit_test(test_a_class_has_its_share_of_a_processor_and_payments_the_rest),
        cmocka_unit_test(test_what_may_have_been_sent_is_not_turned_away_at_the_link),
        cmocka_unit_test(test_a_small_pool_turns_nobody_away),
        cmocka_unit_test(test_where_the_share_is_all_of_it_a_request_waits_as_others_do),
        cmocka_unit_test(test_it_rests_until_somebody_asks_and_again_when_nobody_does),
        cmocka_unit_test(test_requests_that_never_stop_do_not_keep_it_from_looking),
        cmocka_unit_test(test_it_does_not_rest_while_something_is_shed),
        cmocka_unit_test(test_a_gate_that_is_nearly_full_sheds),
        cmocka_unit_test(test_buffers_that_are_nearly_full_shed_too),
        cmocka_unit_test(test_a_loop_that_never_rests_sheds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
