#include "fake_store.h"

#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin_internal.h"
#include "app_internal.h"

/* The admin API over a store of this test, its events in a file. */
struct scene {
    struct app app;
    struct conf conf;
    char folder[64], socket_path[96], log_path[96];
};

/* What one call was answered. */
struct answer {
    int fd;
    char text[512 * 1024];
    size_t len;
    bool ended;
};

static void open_scene(struct scene *scene)
{
    const char *base = getenv("TMPDIR");
    char why[256];
    memset(scene, 0, sizeof(*scene));
    snprintf(scene->folder, sizeof(scene->folder), "%.40s/weir-admin-XXXXXX", base != NULL ? base : P_tmpdir);
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->socket_path, sizeof(scene->socket_path), "%s/admin.sock", scene->folder);
    snprintf(scene->log_path, sizeof(scene->log_path), "%s/events", scene->folder);
    struct app *app = &scene->app;
    app->log = log_open();
    const struct log_sink sinks[LOG_STREAM_COUNT] = {
        [LOG_ACCESS] = {.to = scene->log_path, .format = LOG_JSON, .level = LOG_INFO},
        [LOG_EVENTS] = {.to = scene->log_path, .format = LOG_JSON, .level = LOG_INFO},
    };
    assert_int_equal(log_configure(app->log, sinks, why, sizeof(why)), ERR_OK);
    app->loop = loop_open(0);
    app->worker = worker_open(app->loop, 2);
    records_init(&app->records, app);
    app->records.store = fake_open(app->loop);
    app->records.receipt_ms = 86400000;
    scene->conf.admin_socket = scene->socket_path;
    assert_true(admin_open(app, &scene->conf, why, sizeof(why)));
}

static void close_scene(struct scene *scene)
{
    struct app *app = &scene->app;
    httpd_close(app->admin);
    inquiries_stop(&app->records);
    worker_close(app->worker);
    assert_true(loop_close(app->loop));
    assert_true(list_empty(&app->records.inquiries));
    log_close(app->log, 1000);
    unlink(scene->socket_path);
    unlink(scene->log_path);
    assert_int_equal(rmdir(scene->folder), 0);
}

static struct answer *call(struct scene *scene, const char *method, const char *target)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char request[1024];
    struct answer *answer = calloc(1, sizeof(*answer));
    bytes_to_text(bytes_from_text(scene->socket_path), to.sun_path, sizeof(to.sun_path));
    answer->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(answer->fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    int len =
        snprintf(request, sizeof(request),
                 "%s %s HTTP/1.1\r\nHost: weir\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target);
    assert_int_equal(send(answer->fd, request, (size_t)len, 0), len);
    return answer;
}

static bool ended(struct answer *answer)
{
    ssize_t got;
    while (!answer->ended && (got = recv(answer->fd, answer->text + answer->len, sizeof(answer->text) - 1 - answer->len,
                                         MSG_DONTWAIT)) >= 0) {
        answer->len += (size_t)got;
        answer->text[answer->len] = '\0';
        answer->ended = got == 0;
    }
    return answer->ended;
}

static void done(struct answer *answer)
{
    close(answer->fd);
    free(answer);
}

/* Whether the whole answer has this status and holds this text. */
static void expect(struct scene *scene, struct answer *answer, int status, const char *text)
{
    char line[32];
    UNTIL(scene->app.loop, ended(answer));
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (strncmp(answer->text, line, strlen(line)) != 0 || strstr(answer->text, text) == NULL) {
        fail_msg("not %d with '%s':\n%.2000s", status, text, answer->text);
    }
}

static void expect_call(struct scene *scene, const char *method, const char *target, int status, const char *text)
{
    struct answer *answer = call(scene, method, target);
    expect(scene, answer, status, text);
    done(answer);
}

/* The events log as it is on disk; it is written by another thread. */
static bool logged(struct scene *scene, const char *text)
{
    static char all[65536];
    FILE *file = fopen(scene->log_path, "re");
    size_t len = file != NULL ? fread(all, 1, sizeof(all) - 1, file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    all[len] = '\0';
    return strstr(all, text) != NULL;
}

static void test_a_list_tells_the_unknown_or_all_that_are_open(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one")->unknown_us = clock_wall_us() - 3600 * CLOCK_US_PER_S;
    fake_add(2, 0, IDEM_IN_FLIGHT, "two");
    fake_add(3, 0, IDEM_DONE, "three");
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown", 200, "\"matched\":1,\"whole\":true");
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown&as=text", 200, "1a3x010000000000  unknown  1h 0m");
    expect_call(&scene, "GET", "/api/v1/idempotency?state=open", 200, "\"request_id\":\"two\"");
    expect_call(&scene, "GET", "/api/v1/idempotency?state=open", 200, "\"matched\":2");
    expect_call(&scene, "GET", "/api/v1/idempotency", 400, "state is unknown or open");
    expect_call(&scene, "GET", "/api/v1/idempotency?state=done", 400, "state is unknown or open");
    close_scene(&scene);
}

static void test_an_empty_list_says_so(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown&as=text", 200, "no record is unknown");
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown", 200, "\"records\":[]");
    close_scene(&scene);
}

static void test_a_list_is_bounded_and_says_how_many_more_there_are(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    for (int i = 0; i < 1001; i++) {
        fake_add((uint8_t)(i >> 4), (uint8_t)i, IDEM_UNKNOWN, "x")->unknown_us = (uint64_t)(1 + i);
    }
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown&as=text", 200,
                "1001 are unknown; these are the 1000 oldest");
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown", 200, "\"matched\":1001,\"whole\":false");
    fake.count = 1000;
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown", 200, "\"matched\":1000,\"whole\":true");
    close_scene(&scene);
}

static void test_a_record_is_shown_by_its_short_name(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one")->unknown_us = clock_wall_us();
    struct store_record *record = fake_add(2, 0, IDEM_DONE, "two");
    record->status = 402;
    record->answer_kept = true;
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x010000000000&as=text", 200,
                "weir idempotency resolve 1a3x010000000000 --executed|--not-executed");
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x020000000000&as=text", 200, "status 402, kept");
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x020000000000", 200, "\"state\":\"done\"");
    record->status = 0;
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x020000000000&as=text", 200, "an operator said");
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x030000000000&as=text", 404,
                "there is no record 1a3x03");
    close_scene(&scene);
}

static void test_what_is_no_record_is_refused(void **state)
{
    static const char *const BAD[] = {
        "?record=", "", "?record=1a3x01", "?record=zzz-010000000000", "?record=a&record=b", "?record=order-1001"};
    struct scene scene;
    char target[128];
    (void)state;
    open_scene(&scene);
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        snprintf(target, sizeof(target), "/api/v1/idempotency/show%s", BAD[i]);
        expect_call(&scene, "GET", target, 400, "is not a record");
    }
    expect_call(&scene, "POST", "/api/v1/idempotency/resolve?executed=true&why=x", 400, "is not a record");
    assert_int_equal(fake.walks_begun, 0);
    close_scene(&scene);
}

static void test_a_name_that_is_short_for_two_lists_both_and_resolves_neither(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0xaa, IDEM_UNKNOWN, "one");
    fake_add(1, 0xbb, IDEM_UNKNOWN, "two");
    struct answer *answer =
        call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=x&as=text");
    expect(&scene, answer, 409, "is short for 2 records");
    assert_non_null(strstr(answer->text, "1a3x01000000000000000000000000000000000000aa"));
    assert_non_null(strstr(answer->text, "1a3x01000000000000000000000000000000000000bb"));
    done(answer);
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x010000000000", 409, "\"request_id\":\"two\"");
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x01000000000000000000000000000000000000bb", 200,
                "two");
    assert_int_equal(fake.asks, 0);
    close_scene(&scene);
}

static void test_a_record_is_found_by_its_request(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "aaaa");
    fake_add(2, 0, IDEM_DONE, "bbbb");
    expect_call(&scene, "GET", "/api/v1/idempotency/find?request_id=aaaa", 200, "1a3x01");
    assert_int_equal(fake.walks_begun, 1);
    expect_call(&scene, "GET", "/api/v1/idempotency/find?request_id=bbbb", 200, "1a3x02");
    assert_int_equal(fake.walks_begun, 3);
    expect_call(&scene, "GET", "/api/v1/idempotency/find?request_id=cccc&as=text", 404,
                "none of 2 records was made by request cccc");
    expect_call(&scene, "GET", "/api/v1/idempotency/find", 400, "request_id is missing");
    expect_call(&scene, "GET", "/api/v1/idempotency/find?request_id=", 400, "request_id is missing");
    expect_call(&scene, "GET", "/api/v1/idempotency/find?request_id=0123456789abcdef0123456789abcdef0", 400, "longer");
    close_scene(&scene);
}

static void test_a_resolve_is_stored_and_audited_with_who_and_why(void **state)
{
    struct scene scene;
    char actor[128];
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one");
    fake.status = STORE_OK;
    fake.result = (struct idem_result){.verdict = IDEM_OK};
    expect_call(
        &scene, "POST",
        "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=found%20in%20the%20dashboard&as=text",
        200, "resolved as executed");
    assert_int_equal(fake.asks, 1);
    assert_int_equal(fake.call.op.kind, IDEM_RESOLVE);
    assert_true(fake.call.op.executed);
    assert_int_equal(fake.call.op.keep_receipt_ms, 86400000);
    assert_memory_equal(&fake.call.op.name, &fake.records[0].name, sizeof(fake.call.op.name));
    UNTIL(scene.app.loop, logged(&scene, "\"event\":\"idempotency_resolved_by_operator\""));
    const struct passwd *me = getpwuid(getuid());
    snprintf(actor, sizeof(actor), "\"actor\":\"uid %u%s%s%s, pid %d\",\"record\":\"1a3x010000000000\"", getuid(),
             me != NULL ? " (" : "", me != NULL ? me->pw_name : "", me != NULL ? ")" : "", getpid());
    assert_true(logged(&scene, actor));
    assert_true(logged(&scene,
                       "\"request_id\":\"one\",\"processor\":\"acme\",\"executed\":\"yes\",\"why\":\"found in the "
                       "dashboard\",\"result\":\"done\""));
    expect_call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=false&why=x", 200,
                "\"executed\":false");
    assert_false(fake.call.op.executed);
    close_scene(&scene);
}

static void test_a_resolve_wants_an_outcome_and_a_reason(void **state)
{
    struct scene scene;
    char target[600];
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one");
    expect_call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&why=x", 400,
                "executed is true or false");
    expect_call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=maybe&why=x", 400,
                "executed is");
    expect_call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true", 400,
                "why is missing");
    expect_call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=", 400,
                "why is missing");
    snprintf(target, sizeof(target), "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=%0256d", 0);
    expect_call(&scene, "POST", target, 400, "longer than 255");
    expect_call(&scene, "GET", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=x", 405, "");
    assert_int_equal(fake.asks, 0);
    close_scene(&scene);
}

static void test_what_cannot_be_resolved_says_why(void **state)
{
    static const char ACT[] = "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=x";
    struct scene scene;
    (void)state;
    open_scene(&scene);
    expect_call(&scene, "POST", ACT, 404, "there is no record");
    struct store_record *record = fake_add(1, 0, IDEM_IN_FLIGHT, "one");
    expect_call(&scene, "POST", ACT, 409, "is in flight");
    record->state = IDEM_DONE;
    record->status = 200;
    expect_call(&scene, "POST", ACT, 409, "the processor answered it with 200");
    record->status = 0;
    expect_call(&scene, "POST", ACT, 409, "an operator said before");
    assert_int_equal(fake.asks, 0);
    /* What became of it between the look and the act. */
    record->state = IDEM_UNKNOWN;
    fake.result = (struct idem_result){.verdict = IDEM_REFUSED};
    expect_call(&scene, "POST", ACT, 409, "is in flight");
    fake.result = (struct idem_result){.verdict = IDEM_ALREADY, .status = 201};
    expect_call(&scene, "POST", ACT, 409, "the processor answered it with 201");
    fake.result = (struct idem_result){.verdict = IDEM_NONE};
    expect_call(&scene, "POST", ACT, 404, "it ended meanwhile");
    fake.status = STORE_FULL;
    expect_call(&scene, "POST", ACT, 503, "nothing was changed");
    fake.refuse_asks = true;
    expect_call(&scene, "POST", ACT, 503, "no room");
    assert_false(logged(&scene, "resolved_by_operator"));
    close_scene(&scene);
}

static void test_a_resolve_that_may_have_been_done_is_audited_too(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one");
    fake.status = STORE_DOWN;
    expect_call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=false&why=x", 503,
                "whether this was stored is not known");
    UNTIL(scene.app.loop, logged(&scene, "\"executed\":\"no\",\"why\":\"x\",\"result\":\"not known\""));
    close_scene(&scene);
}

static void test_a_store_that_fails_on_the_way_is_said_so(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one");
    fake.break_walks = true;
    fake.state.trouble = "connection refused";
    expect_call(&scene, "GET", "/api/v1/idempotency/show?record=1a3x010000000000", 503, "connection refused");
    fake.break_walks = false;
    fake.refuse_walks = true;
    expect_call(&scene, "GET", "/api/v1/idempotency?state=unknown", 503, "another look through the store is under way");
    close_scene(&scene);
}

static void test_an_asker_that_leaves_stops_its_walk(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake.hold_walks = true;
    struct answer *answer = call(&scene, "GET", "/api/v1/idempotency/find?request_id=aaaa");
    UNTIL(scene.app.loop, fake.walks_begun == 1);
    assert_int_equal(fake.walks_stopped, 0);
    done(answer);
    UNTIL(scene.app.loop, fake.walks_stopped == 1);
    UNTIL(scene.app.loop, list_empty(&scene.app.records.inquiries));
    close_scene(&scene);
}

static void test_one_that_only_closed_its_sending_side_is_still_answered(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct answer *answer = call(&scene, "GET", "/api/v1/idempotency/find?request_id=aaaa");
    assert_int_equal(shutdown(answer->fd, SHUT_WR), 0);
    expect(&scene, answer, 404, "none of 0 records");
    assert_int_equal(fake.walks_stopped, 0);
    done(answer);
    close_scene(&scene);
}

static void test_the_end_of_the_process_answers_who_waits_and_audits_what_was_asked(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one");
    fake.hold_asks = true;
    struct answer *acting =
        call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=x");
    UNTIL(scene.app.loop, fake.asks == 1);
    fake.hold_walks = true;
    struct answer *looking = call(&scene, "GET", "/api/v1/idempotency/find?request_id=aaaa");
    UNTIL(scene.app.loop, fake.walk.active && fake.walks_begun == 2);
    inquiries_stop(&scene.app.records);
    expect(&scene, acting, 503, "weir is stopping");
    expect(&scene, looking, 503, "weir is stopping");
    assert_int_equal(fake.walks_stopped, 1);
    /* The store answers while it is closed. */
    fake.call.active = false;
    fake.result = (struct idem_result){.verdict = IDEM_OK};
    fake.call.done(fake.call.owner, STORE_OK, &fake.result);
    UNTIL(scene.app.loop, logged(&scene, "\"result\":\"done\""));
    UNTIL(scene.app.loop, list_empty(&scene.app.records.inquiries));
    done(acting);
    done(looking);
    close_scene(&scene);
}

static void test_the_end_waits_for_a_name_that_is_being_looked_up(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_add(1, 0, IDEM_UNKNOWN, "one");
    struct answer *answer =
        call(&scene, "POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=x");
    UNTIL(scene.app.loop, !list_empty(&scene.app.records.inquiries));
    close_scene(&scene); /* asserts that nothing is left */
    done(answer);
}

static void test_a_loss_is_accepted_with_a_reason(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake.state.durable = false;
    fake.state.not_durable = "an acknowledged write is gone";
    expect_call(&scene, "POST", "/api/v1/idempotency/accept-loss", 400, "why is missing");
    expect_call(&scene, "GET", "/api/v1/idempotency/accept-loss?why=x", 405, "");
    assert_int_equal(fake.losses_accepted, 0);
    expect_call(&scene, "POST", "/api/v1/idempotency/accept-loss?why=restored&as=text", 200,
                "single_shot routes may use the store");
    assert_int_equal(fake.losses_accepted, 1);
    UNTIL(scene.app.loop, logged(&scene, "\"event\":\"store_loss_accepted_by_operator\""));
    assert_true(logged(
        &scene, "\"why\":\"restored\",\"accepted\":\"an acknowledged write is gone\",\"not_durable\":null"));
    close_scene(&scene);
}

static void test_without_a_store_everything_says_so(void **state)
{
    static const char *const CALLS[][2] = {
        {"GET", "/api/v1/idempotency?state=unknown"},
        {"GET", "/api/v1/idempotency/show?record=1a3x010000000000"},
        {"GET", "/api/v1/idempotency/find?request_id=a"},
        {"POST", "/api/v1/idempotency/resolve?record=1a3x010000000000&executed=true&why=x"},
        {"POST", "/api/v1/idempotency/accept-loss?why=x"},
    };
    struct scene scene;
    (void)state;
    open_scene(&scene);
    scene.app.records.store = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(CALLS); i++) {
        expect_call(&scene, CALLS[i][0], CALLS[i][1], 409, "no route has idempotency");
    }
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_tells_the_unknown_or_all_that_are_open),
        cmocka_unit_test(test_an_empty_list_says_so),
        cmocka_unit_test(test_a_list_is_bounded_and_says_how_many_more_there_are),
        cmocka_unit_test(test_a_record_is_shown_by_its_short_name),
        cmocka_unit_test(test_what_is_no_record_is_refused),
        cmocka_unit_test(test_a_name_that_is_short_for_two_lists_both_and_resolves_neither),
        cmocka_unit_test(test_a_record_is_found_by_its_request),
        cmocka_unit_test(test_a_resolve_is_stored_and_audited_with_who_and_why),
        cmocka_unit_test(test_a_resolve_wants_an_outcome_and_a_reason),
        cmocka_unit_test(test_what_cannot_be_resolved_says_why),
        cmocka_unit_test(test_a_resolve_that_may_have_been_done_is_audited_too),
        cmocka_unit_test(test_a_store_that_fails_on_the_way_is_said_so),
        cmocka_unit_test(test_an_asker_that_leaves_stops_its_walk),
        cmocka_unit_test(test_one_that_only_closed_its_sending_side_is_still_answered),
        cmocka_unit_test(test_the_end_of_the_process_answers_who_waits_and_audits_what_was_asked),
        cmocka_unit_test(test_the_end_waits_for_a_name_that_is_being_looked_up),
        cmocka_unit_test(test_a_loss_is_accepted_with_a_reason),
        cmocka_unit_test(test_without_a_store_everything_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
