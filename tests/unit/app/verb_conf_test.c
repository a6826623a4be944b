#include "base/unit.h"

#include <stdio.h>
#include <sys/mman.h>

#include "verbs_internal.h"

static const char FILE_TEXT[] = "version: 1\n"
                                "listeners:\n"
                                "  - {name: public, address: \"127.0.0.1:8080\", limits: {body: 64KiB}}\n"
                                "processors:\n"
                                "  acme: {profile: stripe, url: \"https://api.acme.example\"}\n"
                                "  slow: {url: \"http://127.0.0.1:9000\", timeouts: {response: 1500ms, total: 40s}}\n"
                                "routes:\n"
                                "  - {name: pay, match: {host: pay.example.com, method: POST, path: /v1/pay}, to: acme,"
                                " body: 1MiB}\n"
                                "  - {name: v6, match: {host: \"[::1]\", path: /v1/*}, to: acme}\n"
                                "  - {name: rest, match: {path: /v1/*}, to: slow}\n"
                                "shutdown: {announce: 0s, drain: 50s}\n";

struct scene {
    int fd;
    char path[64];
    char *out, *err;
    size_t out_len, err_len;
    int status;
};

/* A file without a place in any folder. */
static void write_file(struct scene *scene, const char *text)
{
    scene->fd = memfd_create("weir.yaml", MFD_CLOEXEC);
    assert_true(scene->fd >= 0);
    assert_int_equal(write(scene->fd, text, strlen(text)), strlen(text));
    snprintf(scene->path, sizeof(scene->path), "/proc/self/fd/%d", scene->fd);
}

static void run(struct scene *scene, int (*verb)(const struct verb_args *), struct verb_args args)
{
    args.config = scene->path;
    args.out = open_memstream(&scene->out, &scene->out_len);
    args.err = open_memstream(&scene->err, &scene->err_len);
    scene->status = verb(&args);
    fclose(args.out);
    fclose(args.err);
}

static void route(struct scene *scene, const char *method, const char *url)
{
    char *words[] = {strdup(method), strdup(url)};
    run(scene, verb_route, (struct verb_args){.words = words, .word_count = 2});
    free(words[0]);
    free(words[1]);
}

static void clear(struct scene *scene)
{
    free(scene->out);
    free(scene->err);
    scene->out = scene->err = NULL;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no \"%s\" in: %s", part, text);
    }
}

static void test_a_dry_run_prints_the_route_and_its_limits(void **state)
{
    struct scene scene = {0};
    (void)state;
    write_file(&scene, FILE_TEXT);
    route(&scene, "POST", "https://PAY.example.com:8443/v1/pay?a=b#c");
    assert_int_equal(scene.status, APP_EXIT_OK);
    assert_has(scene.out, "route      pay (routes[0])\n");
    assert_has(scene.out, "processor  acme, https://api.acme.example\n");
    assert_has(scene.out, "profile    stripe\n");
    assert_has(scene.out, "at most 1MiB, held whole");
    assert_has(scene.out, "connect 1s, response 30s, total 35s\n");
    clear(&scene);
    route(&scene, "GET", "/v1/x");
    assert_int_equal(scene.status, APP_EXIT_OK);
    assert_has(scene.out, "route      rest (routes[2])\n");
    assert_has(scene.out, "profile    generic\n");
    assert_has(scene.out, "at most 64KiB (listener public)");
    assert_has(scene.out, "response 1500ms, total 40s\n");
    clear(&scene);
    close(scene.fd);
}

static const char LIMITED_TEXT[] = "version: 1\n"
                                   "listeners: [{name: public, address: \"127.0.0.1:8080\"}]\n"
                                   "processors:\n"
                                   "  acme: {profile: stripe, url: \"https://api.acme.example\"}\n"
                                   "  mine: {url: \"http://127.0.0.1:9000\"}\n"
                                   "routes:\n"
                                   "  - {name: pay, match: {path: /v1/*}, to: acme, limits: [writes, flood]}\n"
                                   "  - {name: report, match: {path: /report}, to: acme, class: background}\n"
                                   "  - {name: rest, match: {path: /*}, to: mine, idempotency: off}\n"
                                   "limits:\n"
                                   "  writes: {by: [tenant, route], rate: 100/s, burst: 200}\n"
                                   "  flood: {by: client_ip, concurrent: 50, mode: shadow}\n"
                                   "tenants: {by: \"header:Authorization\"}\n"
                                   "store: {type: embedded, path: /nonexistent, secret_file: /nonexistent/s,"
                                   " single_machine: true}\n";

static void assert_class(struct scene *scene, const char *method, const char *url, const char *line)
{
    route(scene, method, url);
    assert_int_equal(scene->status, APP_EXIT_OK);
    assert_has(scene->out, line);
    clear(scene);
}

static void test_a_dry_run_prints_who_is_limited_and_what_is_shed_when(void **state)
{
    struct scene scene = {0};
    (void)state;
    write_file(&scene, LIMITED_TEXT);
    assert_class(&scene, "POST", "/v1/x", "limits     writes: 100/s burst 200 by tenant+route, enforce\n"
                                          "           flood: 50 at once by client_ip, shadow\n");
    assert_class(&scene, "GET", "/report", "limits     none\n");
    assert_class(&scene, "POST", "/v1/x", "class      payment, by its method; test where the credential is one of test traffic\n");
    assert_class(&scene, "DELETE", "/v1/x", "class      write, by its method; test where");
    assert_class(&scene, "GET", "/v1/x", "class      read, by its method; test where");
    assert_class(&scene, "POST", "/report", "class      background\n");
    assert_class(&scene, "POST", "/other", "class      write, by its method\n");
    close(scene.fd);
}

static void test_a_dry_run_prints_who_takes_over(void **state)
{
    static const char TEXT[] = "version: 1\n"
                               "processors:\n"
                               "  acme: {profile: stripe, url: \"https://api.acme.example\"}\n"
                               "  acme-eu: {profile: stripe, url: \"https://api.eu.acme.example\"}\n"
                               "routes:\n"
                               "  - {name: read, match: {method: GET}, to: acme, failover: acme-eu}\n"
                               "  - {name: rest, to: acme}\n";
    struct scene scene = {0};
    (void)state;
    write_file(&scene, TEXT);
    route(&scene, "GET", "/v1/x");
    assert_int_equal(scene.status, APP_EXIT_OK);
    assert_has(scene.out, "processor  acme, https://api.acme.example\n"
                          "failover   acme-eu, https://api.eu.acme.example, while nothing was sent\n");
    clear(&scene);
    route(&scene, "POST", "/v1/x");
    assert_has(scene.out, "processor  acme, https://api.acme.example\nfailover   none\n");
    clear(&scene);
    close(scene.fd);
}

static void test_brackets_of_an_address_are_no_port(void **state)
{
    struct scene scene = {0};
    (void)state;
    write_file(&scene, FILE_TEXT);
    route(&scene, "GET", "http://[::1]:80/v1/x");
    assert_has(scene.out, "route      v6 ");
    clear(&scene);
    close(scene.fd);
}

static void test_no_route_is_said_and_fails(void **state)
{
    struct scene scene = {0};
    (void)state;
    write_file(&scene, FILE_TEXT);
    route(&scene, "POST", "/other");
    assert_int_equal(scene.status, APP_EXIT_FINDINGS);
    assert_string_equal(scene.out, "no_route\n");
    assert_has(scene.err, "no route matches POST /other; weir answers 404");
    assert_has(scene.err, "without a host no route that names one can match");
    clear(&scene);
    route(&scene, "GET", "ftp://x/y");
    assert_int_equal(scene.status, APP_EXIT_USAGE);
    clear(&scene);
    close(scene.fd);
}

static void test_check_fails_on_errors_and_strictly_on_warnings(void **state)
{
    struct scene scene = {0};
    (void)state;
    write_file(&scene, FILE_TEXT);
    run(&scene, verb_check, (struct verb_args){0});
    assert_int_equal(scene.status, APP_EXIT_OK);
    assert_has(scene.out, ": ok");
    clear(&scene);
    close(scene.fd);
    write_file(&scene, "version: 1\nlistenrs: []\n");
    run(&scene, verb_check, (struct verb_args){0});
    assert_int_equal(scene.status, APP_EXIT_FINDINGS);
    assert_has(scene.out, ":2:1: error: ");
    assert_has(scene.out, "did you mean 'listeners'?");
    clear(&scene);
    run(&scene, verb_check, (struct verb_args){.json = true});
    assert_int_equal(scene.status, APP_EXIT_FINDINGS);
    assert_has(scene.out, "\"ok\":false");
    clear(&scene);
    close(scene.fd);
}

static void test_check_reads_the_certificates_it_names(void **state)
{
    struct scene scene = {0};
    (void)state;
    write_file(&scene, "version: 1\n"
                       "listeners:\n"
                       "  - name: public\n"
                       "    address: \"127.0.0.1:8443\"\n"
                       "    tls: {certificates: [{cert: /nonexistent/a.crt, key: /nonexistent/a.key}]}\n"
                       "processors: {acme: {url: \"http://127.0.0.1:9000\"}}\n"
                       "routes: [{name: all, match: {path: /*}, to: acme}]\n");
    run(&scene, verb_check, (struct verb_args){0});
    assert_int_equal(scene.status, APP_EXIT_OK); /* the keys may be where it runs, not where it is checked */
    assert_has(scene.out, ":5:");
    assert_has(scene.out, "/nonexistent/a.crt");
    clear(&scene);
    run(&scene, verb_check, (struct verb_args){.strict = true});
    assert_int_equal(scene.status, APP_EXIT_FINDINGS);
    clear(&scene);
    close(scene.fd);
    write_file(&scene, "version: 1\n"
                       "listeners:\n"
                       "  - name: public\n"
                       "    address: \"127.0.0.1:8443\"\n"
                       "    tls: {certificates: [{cert: /dev/null, key: /dev/null}]}\n"
                       "processors: {acme: {url: \"http://127.0.0.1:9000\"}}\n"
                       "routes: [{name: all, match: {path: /*}, to: acme}]\n");
    run(&scene, verb_check, (struct verb_args){0});
    assert_int_equal(scene.status, APP_EXIT_FINDINGS);
    assert_has(scene.out, "/dev/null");
    clear(&scene);
    close(scene.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dry_run_prints_the_route_and_its_limits),
        cmocka_unit_test(test_a_dry_run_prints_who_is_limited_and_what_is_shed_when),
        cmocka_unit_test(test_a_dry_run_prints_who_takes_over),
        cmocka_unit_test(test_brackets_of_an_address_are_no_port),
        cmocka_unit_test(test_no_route_is_said_and_fails),
        cmocka_unit_test(test_check_fails_on_errors_and_strictly_on_warnings),
        cmocka_unit_test(test_check_reads_the_certificates_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
