/* Only what has one reading becomes a tree; everything else is said with its place. */
#include "conf/conf_support.h"

static void test_tabs_outside_of_comments_are_refused_with_their_places(void **state)
{
    (void)state;
    assert_shown("version: 1 #\tone\n#\ttwo\nlisteners:\n\t- name: a\nshutdown:\t{}\n",
                 "weir.yaml:4:1: error: a tab outside of a comment\n"
                 "    4 | \t- name: a\n"
                 "      | ^ write spaces\n"
                 "weir.yaml:5:10: error: a tab outside of a comment\n"
                 "    5 | shutdown:\t{}\n"
                 "      |          ^ write spaces\n"
                 "weir.yaml: 2 errors: not loaded\n");
    /* libfyaml 0.7 frees a key twice here */
    assert_says("? e:\t|", "weir.yaml:1:5: error: a tab outside of a comment\n");
}

static void test_an_unclosed_quote_is_shown_where_it_opens(void **state)
{
    (void)state;
    assert_says("version: 1\nmonitor: {address: \"127.0.0.1\n", "weir.yaml:2:20: error: double-quoted scalar without closing quote\n");
}

static void test_a_duplicate_key_points_at_the_first(void **state)
{
    (void)state;
    assert_shown("version: 1\nshutdown: {drain: 50s}\nversion: 1\n" LISTENER ROUTE PROCESSOR,
                 "weir.yaml:3:1: error: duplicate key 'version'\n"
                 "    3 | version: 1\n"
                 "      | ^~~~~~~ the first is at line 1\n"
                 "weir.yaml: 1 error: not loaded\n");
}

static void test_anchors_aliases_tags_and_merge_keys_are_each_refused(void **state)
{
    (void)state;
    assert_shown("version: !!int 1\n"
                 "shutdown: &x {drain: 50s}\n"
                 "monitor: *x\n"
                 "logging:\n"
                 "  <<: {}\n" LISTENER ROUTE PROCESSOR,
                 "weir.yaml:1:10: error: tags are not allowed: the key decides what a value is\n"
                 "    1 | version: !!int 1\n"
                 "      |          ^~~~~\n"
                 "weir.yaml:2:11: error: anchors are not allowed\n"
                 "    2 | shutdown: &x {drain: 50s}\n"
                 "      |           ^~\n"
                 "weir.yaml:3:10: error: aliases are not allowed\n"
                 "    3 | monitor: *x\n"
                 "      |          ^~\n"
                 "weir.yaml:5:3: error: merge keys are not allowed\n"
                 "    5 |   <<: {}\n"
                 "      |   ^~\n"
                 "weir.yaml: 4 errors: not loaded\n");
}

static void test_a_second_document_is_refused(void **state)
{
    (void)state;
    assert_says("version: 1\n---\nversion: 1\n", "weir.yaml:2:1: error: a second document: the file must hold one\n");
    assert_does_not_say("---\nversion: 1\n...\n", "error");
}

static void test_directives_are_refused(void **state)
{
    (void)state;
    assert_says("%YAML 1.1\n---\nversion: 1\n", "directives are not allowed");
    assert_says("%TAG ! tag:example.com,2000:\n---\nversion: 1\n", "directives are not allowed");
}

static void test_a_key_that_is_not_plain_text_is_refused_and_the_rest_is_read(void **state)
{
    (void)state;
    assert_says("? [a]\n: b\nversion: 2\n", "weir.yaml:1:3: error: a key must be plain text");
    assert_says("? [a]\n: b\nversion: 2\n", "weir.yaml:3:10: error: '2' for version is out of range");
}

static void test_deep_nesting_ends_with_a_finding(void **state)
{
    char text[20001];

    (void)state;
    memset(text, '[', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_says(text, "weir.yaml:1:17: error: nested too deeply\n");
}

static void test_too_many_entries_end_with_a_finding(void **state)
{
    char text[8192] = "a: [";

    (void)state;
    for (size_t len = strlen(text); len < 5000; len += 2) {
        memcpy(text + len, "1,", 3);
    }
    assert_says(text, "error: too many entries\n");
}

static void test_bytes_that_are_not_utf8_are_refused_before_the_parser(void **state)
{
    static const char *const broken[] = {
        "a: \xff\n",             /* no lead byte */
        "a: \xe2\x82\n",         /* cut short */
        "a: \xc0\xaf\n",         /* overlong */
        "a: \xe0\x80\xaf\n",     /* overlong */
        "a: \xf0\x80\x80\xaf\n", /* overlong */
        "a: \xed\xa0\x80\n",     /* surrogate */
        "a: \xf4\x90\x80\x80\n", /* beyond U+10FFFF */
        "a: \x80\n",             /* continuation alone */
        "a: \xf0\x9f\x98",       /* cut short at the end */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        assert_says(broken[i], "weir.yaml:1:4: error: byte 0x");
        assert_says(broken[i], "weir.yaml: 1 error: not loaded\n");
    }
    assert_does_not_say("version: 1 # \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\n", "error");
    assert_does_not_say("version: 1 # \xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xef\xbf\xbd \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\n",
                        "error");
}

static void test_control_characters_are_refused(void **state)
{
    char *shown = findings_of_bytes("version: 1\n# \0\n", 15);

    (void)state;
    assert_string_equal(shown, "weir.yaml:2:3: error: control character 0x00\n"
                               "    2 | # ?\n"
                               "      |   ^\n"
                               "weir.yaml: 1 error: not loaded\n");
    free(shown);
    assert_says("version: 1 # \x1b[31m\n", "weir.yaml:1:14: error: control character 0x1b\n    1 | version: 1 # ?[31m\n");
}

static void test_a_byte_order_mark_and_other_line_ends_change_nothing(void **state)
{
    (void)state;
    assert_shown("\xef\xbb\xbfversion: 1\r\nverison: 1\r\n" LISTENER ROUTE PROCESSOR,
                 "weir.yaml:2:1: error: unknown key 'verison' at the top level\n"
                 "    2 | verison: 1\n"
                 "      | ^~~~~~~ did you mean 'version'?\n"
                 "      = allowed here: version, listeners, processors, routes, tenants, limits, store, memory, monitor, admin, logging, "
                 "shutdown, profiles\n"
                 "weir.yaml: 1 error: not loaded\n");
    assert_says("version: 1\rverison: 1\r", "weir.yaml:2:1: error: unknown key 'verison' at the top level\n"
                                             "    2 | verison: 1\n");
}

static void test_a_file_over_one_mebibyte_is_refused(void **state)
{
    size_t size = 1024 * 1024;
    char *text = malloc(size + 2);
    char *shown;

    (void)state;
    assert_non_null(text);
    memset(text, '#', size + 1);
    memcpy(text, "version: 1\n", 11);
    shown = findings_of_bytes(text, size);
    assert_non_null(strstr(shown, "weir.yaml: ok"));
    free(shown);
    shown = findings_of_bytes(text, size + 1);
    assert_string_equal(shown, "weir.yaml: error: larger than 1MiB\nweir.yaml: 1 error: not loaded\n");
    free(shown);
    free(text);
}

static void test_columns_count_characters_not_bytes(void **state)
{
    (void)state;
    assert_says("version: 1\nmonitor: {\"\xc3\xa4\xc3\xb6\": 1, adress: 1}\n", "weir.yaml:2:20: error: unknown key 'adress'");
}

static void test_json_and_flow_style_are_yaml_too(void **state)
{
    struct conf *conf = load("{\"version\": 1, \"shutdown\": {\"drain\": \"50s\"}}");

    (void)state;
    assert_int_equal(conf->drain_ms, 50000);
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tabs_outside_of_comments_are_refused_with_their_places),
        cmocka_unit_test(test_an_unclosed_quote_is_shown_where_it_opens),
        cmocka_unit_test(test_a_duplicate_key_points_at_the_first),
        cmocka_unit_test(test_anchors_aliases_tags_and_merge_keys_are_each_refused),
        cmocka_unit_test(test_a_second_document_is_refused),
        cmocka_unit_test(test_directives_are_refused),
        cmocka_unit_test(test_a_key_that_is_not_plain_text_is_refused_and_the_rest_is_read),
        cmocka_unit_test(test_deep_nesting_ends_with_a_finding),
        cmocka_unit_test(test_too_many_entries_end_with_a_finding),
        cmocka_unit_test(test_bytes_that_are_not_utf8_are_refused_before_the_parser),
        cmocka_unit_test(test_control_characters_are_refused),
        cmocka_unit_test(test_a_byte_order_mark_and_other_line_ends_change_nothing),
        cmocka_unit_test(test_a_file_over_one_mebibyte_is_refused),
        cmocka_unit_test(test_columns_count_characters_not_bytes),
        cmocka_unit_test(test_json_and_flow_style_are_yaml_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
