#include "io/io_support.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/app/httpd.h"

/* A server whose handler answers at once, later, or not until told. */
struct scene {
    struct loop *loop;
    struct httpd *httpd;
    struct addr at;
    struct end client;
    bool hold;
    size_t answer_bytes; /* of filler instead of the path; 0: the path */
    struct httpd_request *held;
    int requests;
    char last_path[64];
    char last_query[64];
};

static void answer(struct scene *scene, struct httpd_request *request)
{
    if (scene->answer_bytes == 0) {
        httpd_reply_text(request, 200, "text/plain", request->path);
        return;
    }
    char filler[1000];
    memset(filler, 'x', sizeof(filler));
    for (size_t len = 0; len < scene->answer_bytes; len += sizeof(filler)) {
        assert_int_equal(buf_append(httpd_body(request), bytes_of(filler, sizeof(filler)), BLOCKS_MAY), ERR_OK);
    }
    httpd_reply(request, 200, "text/plain");
}

static void on_request(void *owner, struct httpd_request *request)
{
    struct scene *scene = owner;
    scene->requests++;
    (void)bytes_to_text(request->path, scene->last_path, sizeof(scene->last_path));
    (void)bytes_to_text(request->query, scene->last_query, sizeof(scene->last_query));
    if (bytes_equal(request->method, BYTES("POST"))) {
        httpd_refuse_method(request, "GET, HEAD");
    } else if (scene->hold) {
        scene->held = request;
    } else {
        answer(scene, request);
    }
}

static void open_server(struct scene *scene, uint64_t head_us)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    char why[256];
    enum err err;
    memset(scene, 0, sizeof(*scene));
    scene->loop = loop_open(0);
    assert_non_null(scene->loop);
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &at.ip));
    const struct httpd_options options = {
        .loop = scene->loop, .handler = on_request, .owner = scene, .head_us = head_us};
    scene->httpd = httpd_open(&options, &at, &err, why, sizeof(why));
    assert_non_null(scene->httpd);
    scene->at = at.ip;
    addr_set_port(&scene->at, httpd_port(scene->httpd));
}

static void connect_client(struct scene *scene, struct end *client)
{
    enum err err;
    client->stream = stream_connect(scene->loop, &scene->at, NULL, &end_ops, client, &err);
    assert_non_null(client->stream);
    UNTIL(scene->loop, client->opens == 1);
    assert_int_equal(client->open_err, ERR_OK);
}

static void say(struct scene *scene, const char *text)
{
    assert_int_equal(end_say(&scene->client, text).err, ERR_OK);
}

/* How often `text` occurs in what the client has read. */
static int count_of(const struct end *end, const char *text)
{
    struct bytes rest = bytes_of(end->in, end->in_bytes);
    int count = 0;
    for (size_t at; (at = bytes_find_text(rest, bytes_from_text(text))) != SIZE_MAX; count++) {
        rest = bytes_skip(rest, at + strlen(text));
    }
    return count;
}

static void close_all(struct scene *scene)
{
    if (scene->client.stream != NULL) {
        stream_close(scene->client.stream, false);
    }
    httpd_close(scene->httpd);
    assert_true(loop_close(scene->loop));
    end_free(&scene->client);
}

static void test_two_requests_share_a_connection(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    connect_client(&scene, &scene.client);
    say(&scene, "GET /livez?a=b HTTP/1.1\r\nHost: x\r\n\r\n");
    UNTIL(scene.loop, count_of(&scene.client, "\r\n\r\n/livez") == 1);
    assert_string_equal(scene.last_query, "a=b");
    say(&scene, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    UNTIL(scene.loop, count_of(&scene.client, "\r\n\r\n/readyz") == 1);
    assert_int_equal(count_of(&scene.client, "HTTP/1.1 200 OK\r\n"), 2);
    assert_int_equal(count_of(&scene.client, "Connection: close"), 0);
    assert_int_equal(scene.client.ends, 0);
    close_all(&scene);
}

static void test_a_head_request_gets_the_length_but_no_body(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    connect_client(&scene, &scene.client);
    say(&scene, "HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    UNTIL(scene.loop, scene.client.ends == 1);
    assert_int_equal(count_of(&scene.client, "Content-Length: 6\r\n"), 1);
    assert_true(bytes_ends_with(bytes_of(scene.client.in, scene.client.in_bytes), BYTES("\r\n\r\n")));
    close_all(&scene);
}

static void test_a_refused_method_is_told_what_is_allowed(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    connect_client(&scene, &scene.client);
    say(&scene, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    UNTIL(scene.loop, count_of(&scene.client, "Allow: GET, HEAD\r\n") == 1);
    assert_int_equal(count_of(&scene.client, "HTTP/1.1 405 "), 1);
    close_all(&scene);
}

static void test_what_is_not_http_ends_with_400(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    connect_client(&scene, &scene.client);
    say(&scene, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
    UNTIL(scene.loop, scene.client.ends == 1);
    assert_int_equal(count_of(&scene.client, "HTTP/1.1 400 "), 1);
    assert_int_equal(scene.requests, 0);
    close_all(&scene);
}

static void test_a_head_that_never_ends_is_timed_out_with_408(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 50 * CLOCK_US_PER_MS);
    connect_client(&scene, &scene.client);
    say(&scene, "GET / HTTP/1.1\r\nHost:");
    UNTIL(scene.loop, scene.client.ends == 1);
    assert_int_equal(count_of(&scene.client, "HTTP/1.1 408 "), 1);
    close_all(&scene);
}

static void test_a_connection_that_says_nothing_is_closed(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 50 * CLOCK_US_PER_MS);
    connect_client(&scene, &scene.client);
    UNTIL(scene.loop, scene.client.ends == 1);
    assert_int_equal(scene.client.in_bytes, 0);
    close_all(&scene);
}

static void test_a_half_closed_caller_still_gets_a_late_answer(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    scene.hold = true;
    connect_client(&scene, &scene.client);
    say(&scene, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
    stream_shut(scene.client.stream);
    UNTIL(scene.loop, scene.held != NULL);
    turn(scene.loop);
    assert_int_equal(scene.client.in_bytes, 0);
    answer(&scene, scene.held);
    UNTIL(scene.loop, scene.client.ends == 1);
    assert_int_equal(count_of(&scene.client, "\r\n\r\n/late"), 1);
    close_all(&scene);
}

static void test_an_answer_that_is_owed_may_outlive_the_server(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    scene.hold = true;
    connect_client(&scene, &scene.client);
    say(&scene, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
    UNTIL(scene.loop, scene.held != NULL);
    httpd_close(scene.httpd);
    UNTIL(scene.loop, scene.client.ends == 1);
    httpd_reply_text(scene.held, 200, "text/plain", BYTES("too late"));
    stream_close(scene.client.stream, false);
    assert_true(loop_close(scene.loop));
    assert_int_equal(scene.client.in_bytes, 0);
    end_free(&scene.client);
}

static void test_a_request_behind_another_is_not_half_served(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    connect_client(&scene, &scene.client);
    say(&scene, "GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n\r\n");
    UNTIL(scene.loop, scene.client.ends == 1);
    assert_int_equal(count_of(&scene.client, "HTTP/1.1 200 OK"), 1);
    assert_int_equal(count_of(&scene.client, "Connection: close\r\n"), 1);
    assert_string_equal(scene.last_path, "/one");
    close_all(&scene);
}

static void test_a_large_answer_arrives_whole_and_the_connection_goes_on(void **state)
{
    struct scene scene;
    (void)state;
    open_server(&scene, 0);
    scene.answer_bytes = 3000000;
    connect_client(&scene, &scene.client);
    say(&scene, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    UNTIL(scene.loop, scene.client.in_bytes > scene.answer_bytes);
    assert_int_equal(count_of(&scene.client, "Content-Length: 3000000\r\n"), 1);
    scene.answer_bytes = 0;
    say(&scene, "GET /small HTTP/1.1\r\nHost: x\r\n\r\n");
    UNTIL(scene.loop, count_of(&scene.client, "\r\n\r\n/small") == 1);
    close_all(&scene);
}

static void test_the_seventeenth_connection_is_closed_at_once(void **state)
{
    struct scene scene;
    struct end others[HTTPD_CONNECTIONS_MAX];
    (void)state;
    open_server(&scene, 0);
    memset(others, 0, sizeof(others));
    for (int i = 0; i < HTTPD_CONNECTIONS_MAX; i++) {
        connect_client(&scene, &others[i]);
        UNTIL(scene.loop, httpd_connection_count(scene.httpd) == i + 1);
    }
    connect_client(&scene, &scene.client);
    UNTIL(scene.loop, scene.client.ends == 1);
    assert_int_equal(httpd_connection_count(scene.httpd), HTTPD_CONNECTIONS_MAX);
    for (int i = 0; i < HTTPD_CONNECTIONS_MAX; i++) {
        assert_int_equal(others[i].ends, 0);
        stream_close(others[i].stream, false);
    }
    close_all(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_requests_share_a_connection),
        cmocka_unit_test(test_a_head_request_gets_the_length_but_no_body),
        cmocka_unit_test(test_a_refused_method_is_told_what_is_allowed),
        cmocka_unit_test(test_what_is_not_http_ends_with_400),
        cmocka_unit_test(test_a_head_that_never_ends_is_timed_out_with_408),
        cmocka_unit_test(test_a_connection_that_says_nothing_is_closed),
        cmocka_unit_test(test_a_half_closed_caller_still_gets_a_late_answer),
        cmocka_unit_test(test_an_answer_that_is_owed_may_outlive_the_server),
        cmocka_unit_test(test_a_request_behind_another_is_not_half_served),
        cmocka_unit_test(test_a_large_answer_arrives_whole_and_the_connection_goes_on),
        cmocka_unit_test(test_the_seventeenth_connection_is_closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
