/* The store of a process over reloads: opened once, renewed, never exchanged, closed with patience. */
#include "fake_store.h"

#include <stdio.h>
#include <unistd.h>

#include "app_internal.h"
#include "weir/base/keyring.h"

#define CONF                                                                                                           \
    "version: 1\n"                                                                                                     \
    "listeners: [{name: in, address: '127.0.0.1:0'}]\n"                                                                \
    "processors: {acme: {profile: stripe, url: 'http://127.0.0.1:1'}}\n"                                               \
    "routes:\n"                                                                                                        \
    "  - {name: a, match: {path: /a}, to: acme, idempotency: {keep_receipt: %s}}\n"                                    \
    "  - {name: b, match: {path: /b}, to: acme, idempotency: {keep_receipt: 100h}}\n"                                  \
    "store: {path: %s/store, secret_file: %s/secret}\n"
#define CONF_WITHOUT                                                                                                   \
    "version: 1\n"                                                                                                     \
    "listeners: [{name: in, address: '127.0.0.1:0'}]\n"                                                                \
    "processors: {acme: {profile: stripe, url: 'http://127.0.0.1:1'}}\n"                                               \
    "routes: [{name: a, match: {path: /a}, to: acme, idempotency: off}]\n"

struct scene {
    struct app app;
    char folder[64], secret_path[96];
    char why[512];
};

static void write_secret(struct scene *scene)
{
    unlink(scene->secret_path);
    assert_true(keyring_make(scene->secret_path, scene->why, sizeof(scene->why)));
}

static void open_scene(struct scene *scene)
{
    const char *base = getenv("TMPDIR");
    struct app *app = &scene->app;
    memset(scene, 0, sizeof(*scene));
    snprintf(scene->folder, sizeof(scene->folder), "%.40s/weir-records-XXXXXX", base != NULL ? base : P_tmpdir);
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->secret_path, sizeof(scene->secret_path), "%s/secret", scene->folder);
    write_secret(scene);
    app->loop = loop_open(0);
    app->stats = stats_open();
    app->upstream = upstream_open(&(struct upstream_options){.loop = app->loop, .stats = app->stats});
    app->gate = gate_open(
        &(struct gate_options){.loop = app->loop, .stats = app->stats, .upstream = app->upstream, .clients_max = 16});
    assert_non_null(app->gate);
    records_init(&app->records, app);
    (void)fake_open(app->loop);
    fake.state.ever_up = false;
}

static void close_scene(struct scene *scene)
{
    struct app *app = &scene->app;
    (void)gate_cut(app->gate);
    for (int i = 0; i < 8; i++) {
        turn(app->loop);
    }
    records_close(&app->records);
    gate_close(app->gate);
    upstream_close(app->upstream);
    assert_true(loop_close(app->loop));
    stats_close(app->stats);
    unlink(scene->secret_path);
    assert_int_equal(rmdir(scene->folder), 0);
}

static struct generation *generation_of(struct scene *scene, const char *text)
{
    const struct generation_needs needs = {.upstream = scene->app.upstream, .stats = scene->app.stats};
    struct conf_findings *findings = conf_findings_open();
    struct generation_parts parts;
    struct conf *conf = conf_load_text("weir.yaml", bytes_from_text(text), findings);
    if (conf == NULL || !generation_parts_open(&parts, conf, NULL, GENERATION_ABSENT_IS_ERROR, findings)) {
        fail_msg("%s", conf_findings_text(findings));
    }
    conf_findings_close(findings);
    return generation_open(conf, &parts, &needs, 1);
}

static struct generation *with_keys(struct scene *scene, const char *keep_receipt)
{
    char text[1024];
    snprintf(text, sizeof(text), CONF, keep_receipt, scene->folder, scene->folder);
    return generation_of(scene, text);
}

/* As app_use: into use when nothing stands against it. Lets the generation go. */
static bool use(struct scene *scene, struct generation *generation)
{
    struct records *records = &scene->app.records;
    bool prepared = records_prepare(records, generation, scene->why, sizeof(scene->why));
    if (prepared) {
        records_commit(records, generation);
        scene->app.generation_count++;
    }
    generation_release(generation);
    return prepared;
}

static void test_it_is_opened_for_the_first_generation_that_needs_it_and_kept(void **state)
{
    struct scene scene;
    struct store_state told;
    (void)state;
    open_scene(&scene);
    assert_true(use(&scene, generation_of(&scene, CONF_WITHOUT)));
    assert_int_equal(fake.opens, 0);
    assert_false(records_state(&scene.app.records, &told));
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_int_equal(fake.opens, 1);
    assert_int_equal(fake.renews, 0);
    assert_true(records_state(&scene.app.records, &told));
    assert_ptr_equal(fake.opened_with.owner, scene.app.gate);
    assert_true(fake.opened_with.heard == gate_heard);
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_int_equal(fake.renews, 1);
    assert_true(use(&scene, generation_of(&scene, CONF_WITHOUT)));
    assert_int_equal(fake.renews, 1);
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_int_equal(fake.opens, 1);
    assert_int_equal(fake.renews, 2);
    assert_int_equal(fake.closes, 0);
    close_scene(&scene);
    assert_int_equal(fake.closes, 1);
    assert_int_equal(fake.close_wait_ms, RECORDS_CLOSE_MS);
}

static void test_the_longest_receipt_of_the_newest_generation_is_an_operators(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    assert_true(use(&scene, with_keys(&scene, "200h")));
    assert_int_equal(scene.app.records.receipt_ms, UINT64_C(200) * 3600 * 1000);
    assert_true(use(&scene, with_keys(&scene, "30h")));
    assert_int_equal(scene.app.records.receipt_ms, UINT64_C(100) * 3600 * 1000);
    close_scene(&scene);
}

static void test_what_cannot_be_opened_is_said_and_nothing_is_left(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake.refuse_opens = true;
    assert_false(use(&scene, with_keys(&scene, "90h")));
    assert_string_equal(scene.why, "store: another process has it open");
    fake.refuse_opens = false;
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_int_equal(fake.opens, 1);
    close_scene(&scene);
}

static void test_another_secret_is_refused(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    assert_true(use(&scene, with_keys(&scene, "90h")));
    write_secret(&scene);
    assert_false(use(&scene, with_keys(&scene, "90h")));
    assert_non_null(strstr(scene.why, "store.secret_file: 'index' or 'fingerprint' is another key"));
    assert_int_equal(fake.renews, 0);
    close_scene(&scene);
}

static void test_another_store_is_not_taken_into_use(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    assert_true(use(&scene, with_keys(&scene, "90h")));
    fake.is_other = true;
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_int_equal(fake.opens, 1);
    assert_int_equal(fake.renews, 0);
    close_scene(&scene);
}

static void test_one_that_was_opened_for_a_refused_generation_serves_the_next(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct generation *refused = with_keys(&scene, "90h");
    assert_true(records_prepare(&scene.app.records, refused, scene.why, sizeof(scene.why)));
    generation_release(refused); /* a listener could not be opened */
    fake.is_other = true;
    assert_false(use(&scene, with_keys(&scene, "90h")));
    assert_non_null(strstr(scene.why, "restart weir"));
    fake.is_other = false;
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_int_equal(fake.opens, 1);
    assert_int_equal(fake.renews, 0);
    close_scene(&scene);
}

static void test_a_start_waits_for_the_first_answer_and_a_reload_does_not(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct records *records = &scene.app.records;
    assert_false(records_awaited(records));
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_true(records_awaited(records));
    fake.state.ever_up = true;
    assert_false(records_awaited(records));
    fake.state.up = false;
    assert_false(records_awaited(records));
    /* Or its time is over. */
    fake.state.ever_up = false;
    assert_true(records_awaited(records));
    records->awaited_until_us = clock_now_us();
    assert_false(records_awaited(records));
    close_scene(&scene);

    open_scene(&scene);
    assert_true(use(&scene, generation_of(&scene, CONF_WITHOUT)));
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_false(records_awaited(records));
    close_scene(&scene);
}

/* The value of a metric without labels as it is printed; -1: it is not there. */
static double metric(struct scene *scene, const char *name)
{
    struct blocks blocks;
    struct buf out;
    char text[65536], line[128];
    size_t len = 0;
    blocks_init(&blocks, 1 << 20, 0);
    buf_init(&out, &blocks, 1 << 20);
    assert_int_equal(stats_print(scene->app.stats, &out), ERR_OK);
    while (out.len > 0) {
        struct bytes front = buf_front(&out);
        assert_true(len + front.len < sizeof(text));
        memcpy(text + len, front.at, front.len);
        len += front.len;
        buf_consume(&out, front.len);
    }
    text[len] = '\0';
    buf_reset(&out);
    blocks_close(&blocks);
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *found = strstr(text, line);
    return found != NULL ? strtod(found + strlen(line), NULL) : -1;
}

static void test_its_metrics_come_with_it_and_follow_its_state(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    assert_true(metric(&scene, "weir_idempotency_unresolved") < 0);
    assert_true(use(&scene, with_keys(&scene, "90h")));
    assert_true(metric(&scene, "weir_idempotency_unresolved") == 0);
    assert_true(metric(&scene, "weir_idempotency_oldest_unknown_seconds") == 0);
    assert_true(metric(&scene, "weir_store_durable") == 1);
    fake.state.unknown_count = 3;
    fake.state.oldest_unknown_us = clock_wall_us() - 1000 * CLOCK_US_PER_S;
    fake.state.durable = false;
    assert_true(metric(&scene, "weir_idempotency_unresolved") == 3);
    double age_s = metric(&scene, "weir_idempotency_oldest_unknown_seconds");
    assert_true(age_s >= 1000 && age_s < 2000);
    assert_true(metric(&scene, "weir_store_durable") == 0);
    /* A clock ahead of ours. */
    fake.state.oldest_unknown_us = clock_wall_us() + 1000 * CLOCK_US_PER_S;
    assert_true(metric(&scene, "weir_idempotency_oldest_unknown_seconds") == 0);
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_opened_for_the_first_generation_that_needs_it_and_kept),
        cmocka_unit_test(test_the_longest_receipt_of_the_newest_generation_is_an_operators),
        cmocka_unit_test(test_what_cannot_be_opened_is_said_and_nothing_is_left),
        cmocka_unit_test(test_another_secret_is_refused),
        cmocka_unit_test(test_another_store_is_not_taken_into_use),
        cmocka_unit_test(test_one_that_was_opened_for_a_refused_generation_serves_the_next),
        cmocka_unit_test(test_a_start_waits_for_the_first_answer_and_a_reload_does_not),
        cmocka_unit_test(test_its_metrics_come_with_it_and_follow_its_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
