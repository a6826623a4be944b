#include "io/io_support.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/app/ask.h"
#include "weir/app/httpd.h"
#include "weir/io/peer.h"

/* A server on a unix socket in this process, and a verb that asks it in a child. */
struct scene {
    struct loop *loop;
    struct httpd *httpd;
    char folder[64], path[96];
    size_t answer_bytes;
    uint32_t uid;
    int32_t pid;
    bool identified;
};

static void on_request(void *owner, struct httpd_request *request)
{
    struct scene *scene = owner;
    struct peer_identity peer = {0};
    char filler[1000];
    scene->identified = peer_identify(request->stream, &peer);
    scene->uid = peer.uid;
    scene->pid = peer.pid;
    memset(filler, 'x', sizeof(filler));
    for (size_t len = 0; len < scene->answer_bytes; len += sizeof(filler)) {
        assert_int_equal(buf_append(httpd_body(request), bytes_of(filler, sizeof(filler)), BLOCKS_MAY), ERR_OK);
    }
    httpd_reply(request, bytes_equal(request->path, BYTES("/ok")) ? 200 : 422, "text/plain");
}

static void open_scene(struct scene *scene)
{
    struct httpd_options options = {.handler = on_request, .owner = scene};
    struct addr_listen at = {.kind = ADDR_LISTEN_UNIX};
    const char *base = getenv("TMPDIR");
    char why[256];
    enum err err;
    memset(scene, 0, sizeof(*scene));
    snprintf(scene->folder, sizeof(scene->folder), "%.40s/weir-ask-XXXXXX", base != NULL ? base : P_tmpdir);
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->path, sizeof(scene->path), "%s/admin.sock", scene->folder);
    (void)bytes_to_text(bytes_from_text(scene->path), at.path, sizeof(at.path));
    scene->loop = loop_open(0);
    options.loop = scene->loop;
    scene->httpd = httpd_open(&options, &at, &err, why, sizeof(why));
    assert_non_null(scene->httpd);
}

static void close_scene(struct scene *scene)
{
    httpd_close(scene->httpd);
    assert_true(loop_close(scene->loop));
    unlink(scene->path);
    assert_int_equal(rmdir(scene->folder), 0);
}

/* Asks in a child; its exit status is 0 when the answer has this status and length. */
static void expect_answer(struct scene *scene, const char *target, uint16_t status, size_t len)
{
    int result = -1;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct answer_text answer;
        char why[256];
        bool right = ask(scene->path, "POST", target, ASK_TIMEOUT_S, &answer, why, sizeof(why)) == ERR_OK &&
                     answer.status == status && answer.body_len == len && strlen(answer.body) == len;
        _exit(right ? 0 : 1);
    }
    UNTIL(scene->loop, waitpid(child, &result, WNOHANG) == child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
    assert_true(scene->identified);
    assert_int_equal(scene->uid, getuid());
    assert_int_equal(scene->pid, child);
}

static void test_an_answer_comes_with_its_status_and_the_kernel_names_the_caller(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    expect_answer(&scene, "/ok", 200, 0);
    scene.answer_bytes = 1000;
    expect_answer(&scene, "/refused?as=text", 422, 1000);
    close_scene(&scene);
}

static void test_a_large_answer_is_read_whole(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    scene.answer_bytes = 2000000;
    expect_answer(&scene, "/ok", 200, 2000000);
    close_scene(&scene);
}

static void test_a_socket_that_nobody_serves_is_told_apart(void **state)
{
    struct scene scene;
    struct answer_text answer;
    char why[256];
    (void)state;
    open_scene(&scene);
    httpd_close(scene.httpd);
    assert_int_equal(ask(scene.path, "GET", "/ok", ASK_TIMEOUT_S, &answer, why, sizeof(why)), ERR_REFUSED);
    assert_non_null(strstr(why, "nobody listens here"));
    assert_true(loop_close(scene.loop));
    unlink(scene.path);
    rmdir(scene.folder);
}

static void test_an_answer_that_is_cut_short_is_no_answer(void **state)
{
    static const char CUT[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    struct scene scene;
    struct answer_text answer;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char why[256];
    (void)state;
    open_scene(&scene);
    httpd_close(scene.httpd);
    assert_true(loop_close(scene.loop));
    unlink(scene.path);
    (void)bytes_to_text(bytes_from_text(scene.path), at.sun_path, sizeof(at.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 1), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int peer = accept(fd, NULL, NULL);
        char request[1024];
        bool served = read(peer, request, sizeof(request)) > 0 && write(peer, CUT, strlen(CUT)) > 0;
        _exit(served ? 0 : 1);
    }
    assert_int_equal(ask(scene.path, "GET", "/ok", ASK_TIMEOUT_S, &answer, why, sizeof(why)), ERR_EOF);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(fd);
    unlink(scene.path);
    rmdir(scene.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_comes_with_its_status_and_the_kernel_names_the_caller),
        cmocka_unit_test(test_a_large_answer_is_read_whole),
        cmocka_unit_test(test_a_socket_that_nobody_serves_is_told_apart),
        cmocka_unit_test(test_an_answer_that_is_cut_short_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
