/* ${env:NAME}: where it is read, and what happens when it cannot be. */
#include "conf/conf_support.h"

#define WITH_SOCKET(value) "version: 1\n" LISTENER PROCESSOR ROUTE "admin: {socket: " value "}\n"

static int set_variables(void **state)
{
    (void)state;
    return setenv("WEIR_TEST_DIR", "/run/weir", 1) != 0 || setenv("WEIR_TEST_EMPTY", "", 1) != 0 ||
           setenv("WEIR_TEST_ODD", "a\nb", 1) != 0 || unsetenv("WEIR_TEST_NONE") != 0;
}

static void assert_socket(const char *text, const char *expected)
{
    struct conf *conf = load(text);

    assert_string_equal(conf->admin_socket, expected);
    conf_free(conf);
}

static void test_a_variable_is_put_in_between_double_quotes(void **state)
{
    (void)state;
    assert_socket(WITH_SOCKET("\"${env:WEIR_TEST_DIR}\""), "/run/weir");
    assert_socket(WITH_SOCKET("\"${env:WEIR_TEST_DIR}/admin${env:WEIR_TEST_EMPTY}.sock\""), "/run/weir/admin.sock");
    assert_socket(WITH_SOCKET("\"${env:WEIR_TEST_DIR}${env:WEIR_TEST_DIR}\""), "/run/weir/run/weir");
}

static void test_what_a_variable_holds_is_not_expanded_again(void **state)
{
    (void)state;
    assert_int_equal(setenv("WEIR_TEST_NESTED", "/${env:WEIR_TEST_DIR}", 1), 0);
    assert_socket(WITH_SOCKET("\"${env:WEIR_TEST_NESTED}\""), "/${env:WEIR_TEST_DIR}");
}

static void test_other_dollars_stay_as_they_are(void **state)
{
    (void)state;
    assert_socket(WITH_SOCKET("\"/a$b${c}\""), "/a$b${c}");
}

static void test_a_missing_variable_is_an_error_with_its_place(void **state)
{
    (void)state;
    assert_shown(WITH_SOCKET("\"${env:WEIR_TEST_NONE}/x\""),
                 "weir.yaml:5:17: error: the environment has no variable 'WEIR_TEST_NONE'\n"
                 "    5 | admin: {socket: \"${env:WEIR_TEST_NONE}/x\"}\n"
                 "      |                 ^~~~~~~~~~~~~~~~~~~~~~~~~\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_outside_double_quotes_it_is_an_error_not_text(void **state)
{
    (void)state;
    assert_shown(WITH_SOCKET("'${env:WEIR_TEST_DIR}'"),
                 "weir.yaml:5:17: error: '${env:' is only read inside double quotes\n"
                 "    5 | admin: {socket: '${env:WEIR_TEST_DIR}'}\n"
                 "      |                 ^~~~~~~~~~~~~~~~~~~~~~ write \"...\" around it\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says("version: 1\nadmin:\n  socket: ${env:WEIR_TEST_DIR}\n", "'${env:' is only read inside double quotes");
}

static void test_a_variable_without_a_proper_name_is_refused(void **state)
{
    static const char *const bad[] = {"${env:}", "${env:A", "${env:A B}", "${env:1A}", "${env:A-B}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[256];

        (void)snprintf(text, sizeof(text), "version: 1\nadmin: {socket: \"%s\"}\n", bad[i]);
        assert_says(text, "weir.yaml:2:17: error: '${env:' without a variable's name and '}'\n");
        assert_says(text, " write ${env:NAME}\n");
    }
}

static void test_a_value_is_judged_after_its_variables_were_put_in(void **state)
{
    (void)state;
    assert_says(WITH_SOCKET("\"${env:WEIR_TEST_EMPTY}\""), "'' for admin.socket is not an absolute path");
    assert_says(WITH_SOCKET("\"/${env:WEIR_TEST_ODD}\""), "'/a?b' for admin.socket holds a control character");
}

static void test_a_value_that_grows_without_end_is_refused(void **state)
{
    char *large = malloc(70000);

    (void)state;
    assert_non_null(large);
    memset(large, 'x', 69999);
    large[69999] = '\0';
    assert_int_equal(setenv("WEIR_TEST_LARGE", large, 1), 0);
    free(large);
    assert_says(WITH_SOCKET("\"/${env:WEIR_TEST_LARGE}\""), "the variables make this value longer than 64KiB");
    assert_int_equal(unsetenv("WEIR_TEST_LARGE"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_variable_is_put_in_between_double_quotes),
        cmocka_unit_test(test_what_a_variable_holds_is_not_expanded_again),
        cmocka_unit_test(test_other_dollars_stay_as_they_are),
        cmocka_unit_test(test_a_missing_variable_is_an_error_with_its_place),
        cmocka_unit_test(test_outside_double_quotes_it_is_an_error_not_text),
        cmocka_unit_test(test_a_variable_without_a_proper_name_is_refused),
        cmocka_unit_test(test_a_value_is_judged_after_its_variables_were_put_in),
        cmocka_unit_test(test_a_value_that_grows_without_end_is_refused),
    };

    return cmocka_run_group_tests(tests, set_variables, NULL);
}
