#include "io/io_support.h"

#include "fake_upstream.h"

#include <pwd.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin_internal.h"
#include "app_internal.h"
#include "inquiry_internal.h"

/* The calls about processors behind a server of their own, so that nothing of a whole process is linked. */
struct scene {
    struct app app;
    struct httpd *httpd;
    char folder[64], socket_path[96];
};

static void on_request(void *owner, struct httpd_request *request)
{
    if (bytes_equal(request->path, BYTES("/api/v1/processors"))) {
        admin_processors(owner, request);
    } else if (admin_breaker_is_meant(request)) {
        admin_breaker(owner, request);
    } else {
        httpd_reply_text(request, 404, "text/plain", BYTES("nothing here"));
    }
}

static void open_scene(struct scene *scene)
{
    const char *base = getenv("TMPDIR");
    struct addr_listen at = {.kind = ADDR_LISTEN_UNIX};
    char why[256];
    enum err err;
    memset(scene, 0, sizeof(*scene));
    fake_upstream_reset();
    snprintf(scene->folder, sizeof(scene->folder), "%.40s/weir-breaker-XXXXXX", base != NULL ? base : P_tmpdir);
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->socket_path, sizeof(scene->socket_path), "%s/admin.sock", scene->folder);
    bytes_to_text(bytes_from_text(scene->socket_path), at.path, sizeof(at.path));
    scene->app.loop = loop_open(0);
    scene->app.worker = worker_open(scene->app.loop, 1);
    list_init(&scene->app.records.inquiries);
    const struct httpd_options options = {.loop = scene->app.loop, .handler = on_request, .owner = &scene->app};
    scene->httpd = httpd_open(&options, &at, &err, why, sizeof(why));
    assert_non_null(scene->httpd);
}

static void close_scene(struct scene *scene)
{
    httpd_close(scene->httpd);
    inquiries_stop(&scene->app.records);
    worker_close(scene->app.worker);
    assert_true(loop_close(scene->app.loop));
    assert_true(list_empty(&scene->app.records.inquiries));
    unlink(scene->socket_path);
    assert_int_equal(rmdir(scene->folder), 0);
}

static char answer[256 * 1024];
static size_t answer_len;

static bool ended(int fd)
{
    ssize_t got = recv(fd, answer + answer_len, sizeof(answer) - 1 - answer_len, MSG_DONTWAIT);
    answer_len += got > 0 ? (size_t)got : 0;
    answer[answer_len] = '\0';
    return got == 0;
}

static int begin(struct scene *scene, const char *method, const char *target)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char request[2048];
    bytes_to_text(bytes_from_text(scene->socket_path), to.sun_path, sizeof(to.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    int len = snprintf(request, sizeof(request),
                       "%s %s HTTP/1.1\r\nHost: weir\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target);
    assert_int_equal(send(fd, request, (size_t)len, 0), len);
    answer_len = 0;
    return fd;
}

/* The whole answer, valid until the next. */
static const char *call(struct scene *scene, const char *method, const char *target)
{
    int fd = begin(scene, method, target);
    UNTIL(scene->app.loop, ended(fd));
    close(fd);
    return answer;
}

static void expect(struct scene *scene, const char *method, const char *target, int status, const char *part)
{
    const char *text = call(scene, method, target);
    char line[32];
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (strncmp(text, line, strlen(line)) != 0 || strstr(text, part) == NULL) {
        fail_msg("not %d with '%s':\n%.2000s", status, part, text);
    }
}

#define ACME "/api/v1/processors/acme/breaker"

static struct processor *acme(void)
{
    struct processor *processor = fake_processor("acme");
    fake_endpoint(processor, "10.0.0.1:443");
    fake_open(&fake_endpoint(processor, "10.0.0.2:443")->breaker);
    return processor;
}

static void test_all_are_told(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    expect(&scene, "GET", "/api/v1/processors", 200, "{\"processors\":[]}");
    expect(&scene, "GET", "/api/v1/processors?as=text", 200, "processors   none are configured\n");
    acme();
    fake_processor("bank");
    expect(&scene, "GET", "/api/v1/processors", 200, "{\"processors\":[{\"name\":\"acme\",\"verdict\":\"breaker of 10.0.0.2:443 open");
    expect(&scene, "GET", "/api/v1/processors", 200, ",{\"name\":\"bank\",");
    expect(&scene, "GET", "/api/v1/processors?as=text", 200, "\nacme: breaker of 10.0.0.2:443 open");
    close_scene(&scene);
}

static void test_the_breakers_of_one_are_shown_and_nothing_is_ordered(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    expect(&scene, "GET", ACME, 200, "{\"ok\":true,\"processor\":{\"name\":\"acme\",");
    expect(&scene, "GET", ACME "?as=text", 200, "\nacme         auto: nobody holds its breakers open or closed\n");
    expect(&scene, "GET", ACME "?state=open&for=30m&why=x", 200, "\"forced\":\"auto\"");
    assert_int_equal(processor->forced_count, 0);
    close_scene(&scene);
}

/* "uid 0 (root), pid 4711": whoever runs this. */
static const char *myself(void)
{
    static char text[ADMIN_ACTOR_BYTES];
    const struct passwd *entry = getpwuid(getuid());
    const struct peer_identity peer = {.uid = getuid(), .pid = getpid()};
    admin_describe_actor(&peer, entry != NULL ? entry->pw_name : NULL, text);
    return text;
}

static void test_a_word_reaches_upstream_with_who_and_why(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    fake_processor("bank");
    expect(&scene, "POST", ACME "?state=open&for=30m&why=they%20said%20so%3A%20100%25&as=text", 200,
           "done         until then no call goes there: its routes refuse with breaker_open, or fail over\n");
    assert_int_equal(processor->forced_count, 1);
    assert_int_equal(processor->forced, BREAKER_FORCED_OPEN);
    assert_int_equal(processor->for_us, UINT64_C(1800000000));
    assert_string_equal(processor->why, "they said so: 100%");
    assert_string_equal(processor->actor, myself());
    expect(&scene, "POST", ACME "?state=closed&for=1s&why=x&as=text", 200, "health checks still count\n");
    assert_int_equal(processor->forced, BREAKER_FORCED_CLOSED);
    assert_int_equal(processor->for_us, 1000000);
    expect(&scene, "POST", ACME "?state=auto&why=over", 200, "{\"ok\":true,\"processor\":{\"name\":\"acme\",");
    assert_int_equal(processor->forced, BREAKER_AUTO);
    assert_int_equal(processor->for_us, 0);
    assert_int_equal(processor->forced_count, 3);
    assert_int_equal(fake_upstream.processors[1].forced_count, 0);
    close_scene(&scene);
}

static void test_what_is_wrong_is_said_and_nothing_is_done(void **state)
{
    static const struct {
        const char *query, *words;
    } BAD[] = {
        {"", "open, closed or auto is missing"},
        {"?state=opne&for=30m&why=x", "'opne' is not open, closed or auto: did you mean 'open'?"},
        {"?state=open&why=x", "--for is missing"},
        {"?state=open&for=25h&why=x", "'25h' is more than 24h"},
        {"?state=open&for=10ms&why=x", "'10ms' is less than 1s"},
        {"?state=open&for=soon&why=x", "'soon' is not a duration"},
        {"?state=auto&for=30m&why=x", "auto ends an operator's word, and needs no --for"},
        {"?state=open&for=30m", "why is missing, or longer than 200 bytes"},
        {"?state=auto", "why is missing"},
        {"?state=open&for=30m&why=", "why is missing"},
        {"?state=open&for=30m&why=%0a", "why is missing"},
        {"?state=open&state=auto&for=30m&why=x", "state and for are one word each"},
        {"?state=open&for=30m&for=30m&why=x", "state and for are one word each"},
        {"?state=an-endless-word-that-is-no-state-at-all&for=30m&why=x", "state and for are one word each"},
    };
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        char target[256];
        snprintf(target, sizeof(target), ACME "%s", BAD[i].query);
        expect(&scene, "POST", target, 400, BAD[i].words);
    }
    expect(&scene, "POST", ACME "?state=open&as=text", 400, "weir: --for is missing");
    assert_int_equal(processor->forced_count, 0);
    close_scene(&scene);
}

static void test_a_reason_of_200_bytes_fits_and_one_more_does_not(void **state)
{
    struct scene scene;
    char target[512] = ACME "?state=auto&why=";
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    memset(target + strlen(target), 'a', BREAKER_ORDER_WHY_BYTES_MAX);
    expect(&scene, "POST", target, 200, "\"ok\":true");
    assert_int_equal(strlen(processor->why), BREAKER_ORDER_WHY_BYTES_MAX);
    target[strlen(target)] = 'a'; /* the rest is zeros */
    expect(&scene, "POST", target, 400, "longer than 200 bytes");
    assert_int_equal(processor->forced_count, 1);
    close_scene(&scene);
}

static void test_an_unknown_processor_is_answered_with_those_there_are(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    expect(&scene, "GET", ACME, 404, "there is no processor 'acme'; none is configured\"");
    acme();
    fake_processor("bank");
    expect(&scene, "GET", "/api/v1/processors/acem/breaker?as=text", 404,
           "weir: there is no processor 'acem': did you mean 'acme'?; there are: acme, bank\n");
    expect(&scene, "POST", "/api/v1/processors/zzz/breaker?state=auto&why=x", 404,
           "{\"ok\":false,\"text\":\"there is no processor 'zzz'; there are: acme, bank\"}");
    expect(&scene, "GET", "/api/v1/processors/breaker", 404, "nothing here");
    expect(&scene, "GET", "/api/v1/processors/acme/brake", 404, "nothing here");
    for (int i = 0; i < FAKE_PROCESSORS_MAX - 3; i++) {
        fake_processor("one-of-many");
    }
    fake_processor("z"); /* it would fit, and those before it did not */
    expect(&scene, "GET", "/api/v1/processors/x/breaker", 404, "one-of-many and 16 more");
    close_scene(&scene);
}

/* The longest name is 63 bytes; a longer one that begins so is another. */
static void test_a_longer_name_is_not_taken_for_a_shorter(void **state)
{
    struct scene scene;
    char name[64], target[256];
    (void)state;
    open_scene(&scene);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    fake_processor(name);
    snprintf(target, sizeof(target), "/api/v1/processors/%s/breaker", name);
    expect(&scene, "GET", target, 200, "\"ok\":true");
    for (int more = 1; more <= 40; more++) {
        char longer[128] = "";
        memset(longer, 'n', strlen(name) + (size_t)more);
        snprintf(target, sizeof(target), "/api/v1/processors/%s/breaker", longer);
        expect(&scene, "GET", target, 404, "there is no processor 'nnn");
    }
    close_scene(&scene);
}

static void test_other_methods_are_refused(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    expect(&scene, "DELETE", ACME, 405, "GET, POST");
    expect(&scene, "PUT", ACME "?state=auto&why=x", 405, "GET, POST");
    assert_int_equal(processor->forced_count, 0);
    close_scene(&scene);
}

/* A reload takes the processor away while the actor's name is looked up. */
static void test_a_processor_that_went_meanwhile_is_said_to_be_gone(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    acme();
    int fd = begin(&scene, "POST", ACME "?state=open&for=30m&why=x");
    UNTIL(scene.app.loop, !list_empty(&scene.app.records.inquiries));
    fake_upstream.count = 0;
    UNTIL(scene.app.loop, ended(fd));
    close(fd);
    assert_non_null(strstr(answer, "there is no processor 'acme'; none is configured"));
    close_scene(&scene);
}

/* Whoever left before the name was found did not mean it any more, or cannot be told that it was done. */
static void test_who_left_orders_nothing(void **state)
{
    struct scene scene;
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    int fd = begin(&scene, "POST", ACME "?state=open&for=30m&why=x");
    UNTIL(scene.app.loop, !list_empty(&scene.app.records.inquiries));
    close(fd);
    UNTIL(scene.app.loop, list_empty(&scene.app.records.inquiries));
    assert_int_equal(processor->forced_count, 0);
    close_scene(&scene);
}

/* Work that keeps the worker until it is let go. */
struct blocker {
    struct work work;
    sem_t begun, go;
    bool done;
};

static void on_block(struct work *work)
{
    struct blocker *blocker = container_of(work, struct blocker, work);
    sem_post(&blocker->begun);
    while (sem_wait(&blocker->go) != 0) {
    }
}

static void on_unblocked(struct work *work)
{
    container_of(work, struct blocker, work)->done = true;
}

static void block(struct scene *scene, struct blocker *blocker)
{
    *blocker = (struct blocker){.work = {.run = on_block, .done = on_unblocked}};
    assert_int_equal(sem_init(&blocker->begun, 0, 0), 0);
    assert_int_equal(sem_init(&blocker->go, 0, 0), 0);
    assert_int_equal(worker_submit(scene->app.worker, &blocker->work), ERR_OK);
}

static void unblock(struct scene *scene, struct blocker *blocker)
{
    sem_post(&blocker->go);
    UNTIL(scene->app.loop, blocker->done);
    sem_destroy(&blocker->begun);
    sem_destroy(&blocker->go);
}

static void test_weir_stops_while_a_name_is_looked_up(void **state)
{
    struct scene scene;
    struct blocker blocker;
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    block(&scene, &blocker);
    assert_int_equal(sem_wait(&blocker.begun), 0);
    int fd = begin(&scene, "POST", ACME "?state=open&for=30m&why=x");
    UNTIL(scene.app.loop, !list_empty(&scene.app.records.inquiries));
    inquiries_stop(&scene.app.records);
    UNTIL(scene.app.loop, ended(fd));
    assert_non_null(strstr(answer, "weir is stopping"));
    assert_false(list_empty(&scene.app.records.inquiries)); /* the worker has it still */
    unblock(&scene, &blocker);
    close_scene(&scene);
    close(fd);
    assert_int_equal(processor->forced_count, 0);
}

static void test_a_busy_worker_costs_the_name_alone(void **state)
{
    struct scene scene;
    struct blocker running, waiting;
    char uid[32];
    (void)state;
    open_scene(&scene);
    struct processor *processor = acme();
    block(&scene, &running);
    assert_int_equal(sem_wait(&running.begun), 0);
    block(&scene, &waiting); /* all the room that there is */
    expect(&scene, "POST", ACME "?state=open&for=30m&why=x", 200, "\"ok\":true");
    snprintf(uid, sizeof(uid), "uid %u, pid ", (unsigned)getuid());
    assert_non_null(strstr(processor->actor, uid));
    assert_int_equal(processor->forced_count, 1);
    unblock(&scene, &running);
    unblock(&scene, &waiting);
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_told),
        cmocka_unit_test(test_the_breakers_of_one_are_shown_and_nothing_is_ordered),
        cmocka_unit_test(test_a_word_reaches_upstream_with_who_and_why),
        cmocka_unit_test(test_what_is_wrong_is_said_and_nothing_is_done),
        cmocka_unit_test(test_a_reason_of_200_bytes_fits_and_one_more_does_not),
        cmocka_unit_test(test_an_unknown_processor_is_answered_with_those_there_are),
        cmocka_unit_test(test_a_longer_name_is_not_taken_for_a_shorter),
        cmocka_unit_test(test_other_methods_are_refused),
        cmocka_unit_test(test_a_processor_that_went_meanwhile_is_said_to_be_gone),
        cmocka_unit_test(test_who_left_orders_nothing),
        cmocka_unit_test(test_weir_stops_while_a_name_is_looked_up),
        cmocka_unit_test(test_a_busy_worker_costs_the_name_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
