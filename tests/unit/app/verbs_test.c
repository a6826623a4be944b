#include "base/unit.h"

#include <stdio.h>

#include "processors_internal.h"
#include "verbs_internal.h"

/* What one command line printed. */
struct printed {
    int status;
    char *out, *err;
};

static struct printed run(const char *const *words)
{
    struct printed printed = {0};
    char *argv[16] = {NULL};
    size_t out_len, err_len;
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        argv[argc] = strdup(words[argc]); /* getopt reorders what it is given */
    }
    FILE *out = open_memstream(&printed.out, &out_len);
    FILE *err = open_memstream(&printed.err, &err_len);
    char *kept[16];
    memcpy(kept, argv, sizeof(kept));
    printed.status = verbs_run(argc, argv, out, err);
    fclose(out);
    fclose(err);
    for (int i = 0; i < argc; i++) {
        free(kept[i]);
    }
    return printed;
}

#define RUN(...) run((const char *const[]){"weir", __VA_ARGS__, NULL})

static void done(struct printed *printed)
{
    free(printed->out);
    free(printed->err);
}

static void test_an_unknown_verb_is_a_usage_error_with_a_suggestion(void **state)
{
    (void)state;
    struct printed printed = RUN("relaod");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_string_equal(printed.err, "weir: unknown verb 'relaod': did you mean 'reload'?\n");
    assert_string_equal(printed.out, "");
    done(&printed);
}

static void test_run_and_check_and_route_want_a_file(void **state)
{
    static const char *const VERBS[] = {"run", "check", "route"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(VERBS); i++) {
        struct printed printed = RUN(VERBS[i], "a", "b");
        assert_int_equal(printed.status, APP_EXIT_USAGE);
        assert_non_null(strstr(printed.err, "-c FILE is missing"));
        done(&printed);
    }
}

static void test_an_option_of_another_verb_is_refused(void **state)
{
    (void)state;
    struct printed printed = RUN("status", "--strict");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "not an option here: --strict"));
    assert_non_null(strstr(printed.err, "usage: weir status"));
    done(&printed);
}

static void test_an_option_without_its_value_is_refused(void **state)
{
    (void)state;
    struct printed printed = RUN("run", "-c");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "a value is missing behind -c"));
    done(&printed);
}

static void test_words_are_counted(void **state)
{
    (void)state;
    struct printed printed = RUN("explain");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "a word is missing"));
    done(&printed);
    printed = RUN("explain", "a", "b");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "one word too many: b"));
    done(&printed);
    printed = RUN("limits", "a", "b");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "one word too many: b"));
    done(&printed);
}

static void test_a_limit_with_an_endless_name_is_refused(void **state)
{
    char name[4096];
    (void)state;
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct printed printed = RUN("limits", name);
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_string_equal(printed.err, "weir limits: too long for a name\n");
    done(&printed);
}

static void test_limits_are_asked_of_a_running_weir(void **state)
{
    (void)state;
    struct printed printed = RUN("limits", "writes", "--socket", "/nowhere/admin.sock");
    assert_int_equal(printed.status, APP_EXIT_FINDINGS);
    assert_non_null(strstr(printed.err, "/nowhere/admin.sock: nobody listens here"));
    done(&printed);
}

static void test_a_word_on_breakers_is_checked_before_anybody_is_asked(void **state)
{
    static const struct {
        const char *words[10];
        const char *complaint;
    } BAD[] = {
        {{"weir", "breaker", "acme", "open", "--why", "x"}, "weir breaker: --for is missing: say for how long, 1s to 24h"},
        {{"weir", "breaker", "acme", "closed", "--for", "2d", "--why", "x"}, "'2d' is more than 24h"},
        {{"weir", "breaker", "acme", "open", "--for", "10ms", "--why", "x"}, "'10ms' is less than 1s"},
        {{"weir", "breaker", "acme", "open", "--for", "banana", "--why", "x"}, "'banana' is not a duration"},
        {{"weir", "breaker", "acme", "open", "--for", "30m"}, "--why TEXT is missing: this is written down with its reason"},
        {{"weir", "breaker", "acme", "open", "--for", "30m", "--why", ""}, "--why TEXT is missing"},
        {{"weir", "breaker", "acme", "auto"}, "--why TEXT is missing"},
        {{"weir", "breaker", "acme", "auto", "--for", "30m", "--why", "x"}, "auto ends an operator's word, and needs no --for"},
        {{"weir", "breaker", "acme", "shut", "--for", "30m", "--why", "x"}, "'shut' is not open, closed or auto"},
        {{"weir", "breaker", "acme", "--for", "30m"}, "open, closed or auto is missing"},
        {{"weir", "breaker", "acme", "--why", "x"}, "open, closed or auto is missing"},
        {{"weir", "breaker", "../status"}, "that is no processor's name"},
        {{"weir", "breaker", "a b", "auto", "--why", "x"}, "that is no processor's name"},
        {{"weir", "breaker", ""}, "that is no processor's name"},
        {{"weir", "breaker"}, "a word is missing"},
        {{"weir", "breaker", "acme", "open", "now"}, "one word too many: now"},
        {{"weir", "breaker", "acme", "--strict"}, "not an option here: --strict"},
        {{"weir", "processors", "--for", "30m"}, "not an option here"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        struct printed printed = run(BAD[i].words);
        if (printed.status != APP_EXIT_USAGE || strstr(printed.err, BAD[i].complaint) == NULL ||
            strstr(printed.err, "usage: weir ") == NULL) {
            fail_msg("%d, and not '%s':\n%s", printed.status, BAD[i].complaint, printed.err);
        }
        assert_string_equal(printed.out, "");
        done(&printed);
    }
}

static void test_a_reason_and_a_name_that_are_too_long_are_refused(void **state)
{
    char why[BREAKER_ORDER_WHY_BYTES_MAX + 2], name[4096];
    (void)state;
    memset(why, 'w', sizeof(why) - 1);
    why[sizeof(why) - 1] = '\0';
    struct printed printed = RUN("breaker", "acme", "auto", "--why", why);
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "weir breaker: --why is longer than 200 bytes\n"));
    done(&printed);
    printed = RUN("breaker", "acme", "auto", "--why", why + 1, "--socket", "/nowhere/admin.sock");
    assert_int_equal(printed.status, APP_EXIT_FINDINGS);
    done(&printed);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    printed = RUN("breaker", name);
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "weir breaker: too long\n"));
    done(&printed);
}

static void test_breakers_are_asked_of_a_running_weir(void **state)
{
    (void)state;
    struct printed printed = RUN("breaker", "acme", "--socket", "/nowhere/admin.sock");
    assert_int_equal(printed.status, APP_EXIT_FINDINGS);
    assert_non_null(strstr(printed.err, "/nowhere/admin.sock: nobody listens here"));
    done(&printed);
    printed = RUN("breaker", "acme", "open", "--for", "30m", "--why", "x", "--json", "--socket", "/nowhere/admin.sock");
    assert_int_equal(printed.status, APP_EXIT_FINDINGS);
    assert_non_null(strstr(printed.err, "/nowhere/admin.sock: nobody listens here"));
    done(&printed);
}

static void test_a_format_that_is_not_one_is_refused(void **state)
{
    (void)state;
    struct printed printed = RUN("check", "-c", "x", "--format", "xml");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "--format is json or text, not xml"));
    done(&printed);
}

static void test_help_lists_every_verb_and_succeeds(void **state)
{
    static const char *const VERBS[] = {"run", "check", "explain", "route", "secret",
                                        "status", "reload", "processors", "breaker", "limits", "idempotency", "version"};
    (void)state;
    struct printed printed = RUN("--help");
    assert_int_equal(printed.status, APP_EXIT_OK);
    for (size_t i = 0; i < ARRAY_COUNT(VERBS); i++) {
        char line[64];
        snprintf(line, sizeof(line), "\n  weir %s ", VERBS[i]);
        assert_non_null(strstr(printed.out, line));
    }
    done(&printed);
}

static void test_a_new_secret_has_three_different_keys_of_32_bytes(void **state)
{
    char names[3][32], keys[3][64];
    (void)state;
    struct printed printed = RUN("secret", "new");
    assert_int_equal(printed.status, APP_EXIT_OK);
    assert_int_equal(sscanf(printed.out, "%31s %63s\n%31s %63s\n%31s %63s\n", names[0], keys[0], names[1], keys[1],
                            names[2], keys[2]),
                     6);
    assert_string_equal(names[0], "index");
    assert_string_equal(names[1], "fingerprint");
    assert_string_equal(names[2], "seal.1");
    for (int i = 0; i < 3; i++) {
        /* 32 bytes are 43 digits and one pad; the last digit carries four bits, so two of its bits are zero. */
        assert_int_equal(strlen(keys[i]), 44);
        assert_int_equal(keys[i][43], '=');
        assert_int_equal(strspn(keys[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"), 43);
        assert_non_null(strchr("AEIMQUYcgkosw048", keys[i][42]));
    }
    assert_string_not_equal(keys[0], keys[1]);
    assert_string_not_equal(keys[1], keys[2]);
    done(&printed);
}

static void test_only_new_secrets_are_known(void **state)
{
    (void)state;
    struct printed printed = RUN("secret", "old");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    done(&printed);
}

static void test_version_names_the_libraries(void **state)
{
    (void)state;
    struct printed printed = RUN("version");
    assert_int_equal(printed.status, APP_EXIT_OK);
    assert_int_equal(strncmp(printed.out, "weir " WEIR_VERSION "\n", strlen("weir " WEIR_VERSION "\n")), 0);
    assert_non_null(strstr(printed.out, "openssl_running  OpenSSL 3."));
    assert_non_null(strstr(printed.out, "libuv            1."));
    assert_non_null(strstr(printed.out, "jansson          2."));
    assert_non_null(strstr(printed.out, "hiredis          0."));
    assert_non_null(strstr(printed.out, "lmdb             0.9."));
    done(&printed);
    printed = RUN("version", "--json");
    assert_int_equal(strncmp(printed.out, "{\"version\":\"" WEIR_VERSION "\"", strlen("{\"version\":\"" WEIR_VERSION "\"")), 0);
    done(&printed);
}

static void test_a_reason_is_explained_by_name_and_by_code(void **state)
{
    (void)state;
    struct printed by_name = RUN("explain", "response_timeout");
    struct printed by_code = RUN("explain", "RT");
    assert_int_equal(by_name.status, APP_EXIT_OK);
    assert_string_equal(by_name.out, by_code.out);
    assert_non_null(strstr(by_name.out, "504"));
    done(&by_name);
    done(&by_code);
}

static void test_an_unknown_word_gets_the_nearest_reason_profile_or_key(void **state)
{
    static const char *const ROWS[][2] = {
        {"response_timout", "did you mean 'response_timeout'?"},
        {"profiles.strip", "did you mean 'profiles.stripe'?"},
        {"shutdown.drian", "did you mean 'shutdown.drain'?"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ROWS); i++) {
        struct printed printed = RUN("explain", ROWS[i][0]);
        assert_int_equal(printed.status, APP_EXIT_FINDINGS);
        assert_string_equal(printed.out, "");
        if (strstr(printed.err, ROWS[i][1]) == NULL) {
            fail_msg("no \"%s\" in: %s", ROWS[i][1], printed.err);
        }
        done(&printed);
    }
}

static void test_a_weir_that_does_not_run_is_said_so(void **state)
{
    (void)state;
    struct printed printed = RUN("status", "--socket", "/nonexistent/admin.sock");
    assert_int_equal(printed.status, APP_EXIT_FINDINGS);
    assert_string_equal(printed.err, "weir: /nonexistent/admin.sock: nobody listens here: is weir running, with this "
                                     "admin.socket?\n");
    done(&printed);
}

static void test_what_idempotency_lacks_is_said_and_nothing_is_asked(void **state)
{
    static const struct {
        const char *words[6];
        const char *said;
    } ROWS[] = {
        {{"lst"}, "list, show, find, resolve or accept-loss"},
        {{"show"}, "show: RECORD is missing"},
        {{"list", "1a3x9f2c44d0e1b7"}, "list: a word too many"},
        {{"find"}, "--request-id ID is missing"},
        {{"list", "--why", "x"}, "an option that is not for this"},
        {{"show", "1a3x9f2c44d0e1b7", "--executed"}, "an option that is not for this"},
        {{"resolve", "1a3x9f2c44d0e1b7", "--why", "x"}, "--executed or --not-executed is missing"},
        {{"resolve", "1a3x9f2c44d0e1b7", "--executed"}, "--why TEXT is missing"},
        {{"resolve", "1a3x9f2c44d0e1b7", "--executed", "--not-executed", "--why", "x"}, "exclude each other"},
        {{"accept-loss"}, "--why TEXT is missing"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ROWS); i++) {
        const char *words[12] = {"weir", "idempotency", "--socket", "/nonexistent/admin.sock"};
        memcpy(words + 4, ROWS[i].words, sizeof(ROWS[i].words));
        struct printed printed = run(words);
        assert_int_equal(printed.status, APP_EXIT_USAGE);
        assert_string_equal(printed.out, "");
        if (strstr(printed.err, ROWS[i].said) == NULL || strstr(printed.err, "usage: weir idempotency") == NULL) {
            fail_msg("no \"%s\" in: %s", ROWS[i].said, printed.err);
        }
        done(&printed);
    }
}

static void test_a_reason_that_is_too_long_for_a_call_is_refused(void **state)
{
    char why[3000];
    (void)state;
    memset(why, ' ', sizeof(why) - 1);
    why[sizeof(why) - 1] = '\0';
    struct printed printed = RUN("idempotency", "accept-loss", "--why", why, "--socket", "/nonexistent/admin.sock");
    assert_int_equal(printed.status, APP_EXIT_USAGE);
    assert_non_null(strstr(printed.err, "too long"));
    done(&printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unknown_verb_is_a_usage_error_with_a_suggestion),
        cmocka_unit_test(test_run_and_check_and_route_want_a_file),
        cmocka_unit_test(test_an_option_of_another_verb_is_refused),
        cmocka_unit_test(test_an_option_without_its_value_is_refused),
        cmocka_unit_test(test_words_are_counted),
        cmocka_unit_test(test_a_limit_with_an_endless_name_is_refused),
        cmocka_unit_test(test_limits_are_asked_of_a_running_weir),
        cmocka_unit_test(test_a_word_on_breakers_is_checked_before_anybody_is_asked),
        cmocka_unit_test(test_a_reason_and_a_name_that_are_too_long_are_refused),
        cmocka_unit_test(test_breakers_are_asked_of_a_running_weir),
        cmocka_unit_test(test_a_format_that_is_not_one_is_refused),
        cmocka_unit_test(test_help_lists_every_verb_and_succeeds),
        cmocka_unit_test(test_a_new_secret_has_three_different_keys_of_32_bytes),
        cmocka_unit_test(test_only_new_secrets_are_known),
        cmocka_unit_test(test_version_names_the_libraries),
        cmocka_unit_test(test_a_reason_is_explained_by_name_and_by_code),
        cmocka_unit_test(test_an_unknown_word_gets_the_nearest_reason_profile_or_key),
        cmocka_unit_test(test_a_weir_that_does_not_run_is_said_so),
        cmocka_unit_test(test_what_idempotency_lacks_is_said_and_nothing_is_asked),
        cmocka_unit_test(test_a_reason_that_is_too_long_for_a_call_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
