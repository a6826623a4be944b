#include "io/io_support.h"

#include "fake_gate.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "admin_internal.h"
#include "app_internal.h"
#include "limits_internal.h"

/* The one call behind a server of its own, so that nothing of a whole process is linked. */
struct scene {
    struct app app;
    struct httpd *httpd;
    char folder[64], socket_path[96];
};

static void on_request(void *owner, struct httpd_request *request)
{
    admin_limits(owner, request);
}

static void open_scene(struct scene *scene)
{
    const char *base = getenv("TMPDIR");
    struct addr_listen at = {.kind = ADDR_LISTEN_UNIX};
    char why[256];
    enum err err;
    memset(scene, 0, sizeof(*scene));
    fake_gate_reset();
    snprintf(scene->folder, sizeof(scene->folder), "%.40s/weir-limits-XXXXXX", base != NULL ? base : P_tmpdir);
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->socket_path, sizeof(scene->socket_path), "%s/admin.sock", scene->folder);
    bytes_to_text(bytes_from_text(scene->socket_path), at.path, sizeof(at.path));
    scene->app.loop = loop_open(0);
    const struct httpd_options options = {.loop = scene->app.loop, .handler = on_request, .owner = &scene->app};
    scene->httpd = httpd_open(&options, &at, &err, why, sizeof(why));
    assert_non_null(scene->httpd);
}

static void close_scene(struct scene *scene)
{
    httpd_close(scene->httpd);
    assert_true(loop_close(scene->app.loop));
    unlink(scene->socket_path);
    assert_int_equal(rmdir(scene->folder), 0);
}

static char answer[1024 * 1024];
static size_t answer_len;

static bool ended(int fd)
{
    ssize_t got = recv(fd, answer + answer_len, sizeof(answer) - 1 - answer_len, MSG_DONTWAIT);
    answer_len += got > 0 ? (size_t)got : 0;
    answer[answer_len] = '\0';
    return got == 0;
}

/* The whole answer, valid until the next. */
static const char *call(struct scene *scene, const char *target)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char request[1024];
    bytes_to_text(bytes_from_text(scene->socket_path), to.sun_path, sizeof(to.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n", target);
    assert_int_equal(send(fd, request, (size_t)len, 0), len);
    answer_len = 0;
    UNTIL(scene->app.loop, ended(fd));
    close(fd);
    return answer;
}

static void expect(struct scene *scene, const char *target, int status, const char *part)
{
    const char *text = call(scene, target);
    char line[32];
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (strncmp(text, line, strlen(line)) != 0 || strstr(text, part) == NULL) {
        fail_msg("not %d with '%s':\n%.2000s", status, part, text);
    }
}

static void expect_without(struct scene *scene, const char *target, const char *part)
{
    const char *text = call(scene, target);
    if (strstr(text, part) != NULL) {
        fail_msg("'%s' in:\n%.2000s", part, text);
    }
}

static void test_all_limits_are_told_in_the_order_of_the_file(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_limit("writes")->refused = 12;
    fake_limit("reads")->admitted = 5;
    fake_hold("writes", "shop-7");
    expect(&scene, "/api/v1/limits", 200, "{\"name\":\"writes\",\"by\":[\"tenant\"]");
    expect(&scene, "/api/v1/limits", 200, ",{\"name\":\"reads\"");
    expect(&scene, "/api/v1/limits", 200, "\"who\":\"shop-7\"");
    expect(&scene, "/api/v1/limits", 200, "Content-Type: application/json");
    expect(&scene, "/api/v1/limits?as=text", 200, "\nreads   tenant  100/s burst 200  enforce  0        5 ");
    expect(&scene, "/api/v1/limits?as=text", 200, "\nwrites  shop-7  no ");
    close_scene(&scene);
}

static void test_one_limit_comes_with_those_it_holds_alone(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_limit("writes");
    fake_limit("reads");
    fake_hold("reads", "shop-8");
    fake_hold("writes", "shop-7");
    expect(&scene, "/api/v1/limits?name=reads", 200, "\"limits\":[{\"name\":\"reads\"");
    expect(&scene, "/api/v1/limits?name=reads", 200, "\"held\":[{\"limit\":\"reads\",\"who\":\"shop-8\"");
    expect_without(&scene, "/api/v1/limits?name=reads", "writes");
    expect(&scene, "/api/v1/limits?name=reads&as=text", 200, "\nreads  shop-8  no ");
    expect_without(&scene, "/api/v1/limits?name=reads&as=text", "shop-7");
    struct conf_limit_tier gold = {.name = "gold", .concurrent = 9};
    fake_gate.confs[1].tiers = &gold;
    fake_gate.confs[1].tier_count = 1;
    expect(&scene, "/api/v1/limits?name=reads&as=text", 200, "\nTIER  ALLOWS\ngold  9 at once\n");
    expect_without(&scene, "/api/v1/limits?as=text", "TIER");
    close_scene(&scene);
}

static void test_an_unknown_limit_gets_a_suggestion(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    expect(&scene, "/api/v1/limits?name=writes&as=text", 404,
           "weir: there is no limit 'writes': none are configured\n");
    fake_limit("writes");
    fake_limit("reads");
    expect(&scene, "/api/v1/limits?name=wirtes", 404,
           "{\"ok\":false,\"text\":\"there is no limit 'wirtes': did you mean 'writes'?\"}");
    expect(&scene, "/api/v1/limits?name=wirtes&as=text", 404, "did you mean 'writes'?\n");
    expect(&scene, "/api/v1/limits?name=else&as=text", 404, "weir: there is no limit 'else'\n");
    expect(&scene, "/api/v1/limits?name=", 404, "there is no limit ''");
    close_scene(&scene);
}

static void test_what_can_be_no_name_is_refused(void **state)
{
    struct scene scene;
    char target[256] = "/api/v1/limits?name=";
    (void)state;
    open_scene(&scene);
    fake_limit("writes");
    expect(&scene, "/api/v1/limits?name=a&name=b", 400, "name is the name of one limit");
    expect(&scene, "/api/v1/limits?name=%0a", 400, "name is the name of one limit");
    memset(target + strlen(target), 'a', 120);
    expect(&scene, target, 400, "name is the name of one limit");
    close_scene(&scene);
}

static void test_an_empty_configuration_says_so(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    expect(&scene, "/api/v1/limits?as=text", 200, "limits       none are configured\n");
    expect(&scene, "/api/v1/limits", 200, "\"limits\":[],\"held\":[],\"held_whole\":true");
    close_scene(&scene);
}

static void test_the_store_is_said_to_be_there_when_it_is(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_gate.state.fleet = 3;
    expect(&scene, "/api/v1/limits?as=text", 200, "fleet        3, no store, ");
    expect(&scene, "/api/v1/limits", 200, "\"store\":false,\"fleet\":3,");
    scene.app.records.store = (struct store *)&scene; /* nobody looks into it */
    expect(&scene, "/api/v1/limits?as=text", 200, "fleet        3, the store is asked, ");
    fake_gate.state.store_away = true;
    expect(&scene, "/api/v1/limits?as=text", 200, "fleet        3, the store is LEFT ALONE ");
    close_scene(&scene);
}

static void test_callers_beyond_what_is_looked_at_are_said_to_be_there(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    fake_limit("writes");
    for (int i = 0; i < LIMITS_HELD_MAX - 1; i++) {
        fake_hold("writes", "x");
    }
    expect(&scene, "/api/v1/limits", 200, "\"held_whole\":true");
    fake_hold("writes", "x");
    expect(&scene, "/api/v1/limits", 200, "\"held_whole\":false");
    fake_hold("writes", "the last");
    expect(&scene, "/api/v1/limits?as=text", 200, "only the 1000 most refused were looked at");
    expect_without(&scene, "/api/v1/limits?as=text", "the last");
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_limits_are_told_in_the_order_of_the_file),
        cmocka_unit_test(test_one_limit_comes_with_those_it_holds_alone),
        cmocka_unit_test(test_an_unknown_limit_gets_a_suggestion),
        cmocka_unit_test(test_what_can_be_no_name_is_refused),
        cmocka_unit_test(test_an_empty_configuration_says_so),
        cmocka_unit_test(test_the_store_is_said_to_be_there_when_it_is),
        cmocka_unit_test(test_callers_beyond_what_is_looked_at_are_said_to_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
