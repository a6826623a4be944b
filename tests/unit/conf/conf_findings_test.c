/* How findings are ordered, counted and shown, and where keys stand. */
#include "conf/conf_support.h"

static struct conf_findings *findings;

static int open_findings(void **state)
{
    (void)state;
    findings = conf_findings_open();
    return 0;
}

static int close_findings(void **state)
{
    (void)state;
    conf_findings_close(findings);
    return 0;
}

/* Loads a good file of three lines, for findings to point into. */
static void load_source(const char *text)
{
    struct conf *conf = conf_load_text("weir.yaml", bytes_from_text(text), findings);

    assert_non_null(conf);
    conf_free(conf);
}

static void assert_text(const char *expected)
{
    char *shown = conf_findings_text(findings);

    assert_string_equal(shown, expected);
    free(shown);
}

#define GOOD "version: 1\n" LISTENER PROCESSOR ROUTE

static void test_findings_of_a_higher_layer_are_shown_like_our_own(void **state)
{
    (void)state;
    load_source(GOOD);
    conf_findings_add(findings, true, 2, 20, 4, "the certificate is for another key", "see openssl x509", "a, b");
    assert_text("weir.yaml:2:20: error: the certificate is for another key\n"
                "    2 | listeners: [{name: in, address: '127.0.0.1:8080'}]\n"
                "      |                    ^~~~ see openssl x509\n"
                "      = allowed here: a, b\n"
                "weir.yaml: 1 error: not loaded\n");
    assert_int_equal(conf_findings_errors(findings), 1);
    assert_int_equal(conf_findings_warnings(findings), 0);
}

static void test_findings_are_sorted_and_the_whole_file_comes_last(void **state)
{
    (void)state;
    conf_findings_add(findings, false, 0, 0, 0, "whole", NULL, NULL);
    conf_findings_add(findings, true, 2, 9, 1, "second line, right", NULL, NULL);
    conf_findings_add(findings, true, 2, 1, 1, "second line, left", NULL, NULL);
    conf_findings_add(findings, true, 1, 5, 1, "first line, found first", NULL, NULL);
    conf_findings_add(findings, true, 1, 5, 1, "first line, found second", NULL, NULL);
    assert_int_equal(conf_findings_count(findings), 5);
    assert_string_equal(conf_findings_at(findings, 0)->message, "first line, found first");
    assert_string_equal(conf_findings_at(findings, 1)->message, "first line, found second");
    assert_string_equal(conf_findings_at(findings, 2)->message, "second line, left");
    assert_string_equal(conf_findings_at(findings, 3)->message, "second line, right");
    assert_string_equal(conf_findings_at(findings, 4)->message, "whole");
    assert_null(conf_findings_at(findings, 5));
    assert_null(conf_findings_at(findings, -1));
}

static void test_the_last_line_counts(void **state)
{
    (void)state;
    load_source(GOOD);
    assert_text("weir.yaml: ok\n");
    conf_findings_add(findings, false, 0, 0, 1, "w", NULL, NULL);
    assert_text("weir.yaml: warning: w\nweir.yaml: ok, 1 warning\n");
    conf_findings_add(findings, true, 0, 0, 1, "e", "why", NULL);
    conf_findings_add(findings, false, 0, 0, 1, "w", NULL, NULL);
    assert_text("weir.yaml: warning: w\nweir.yaml: error: e: why\nweir.yaml: warning: w\n"
                "weir.yaml: 1 error, 2 warnings: not loaded\n");
}

static void test_more_than_256_findings_are_counted_not_kept(void **state)
{
    char *shown;

    (void)state;
    load_source(GOOD);
    for (int i = 0; i < 300; i++) {
        conf_findings_add(findings, true, 0, 0, 1, "e", NULL, NULL);
    }
    assert_int_equal(conf_findings_count(findings), 256);
    assert_int_equal(conf_findings_errors(findings), 300);
    shown = conf_findings_text(findings);
    assert_non_null(strstr(shown, "weir.yaml: 44 more not shown\nweir.yaml: 300 errors: not loaded\n"));
    free(shown);
}

static void test_a_long_line_is_cut_around_the_caret(void **state)
{
    char text[1024] = "version: 1 # ";
    size_t len = strlen(text);

    (void)state;
    for (; len < 813; len++) {
        text[len] = (char)('0' + (len - 13) % 10);
    }
    load_source(text);
    conf_findings_add(findings, false, 1, 400, 5, "here", NULL, NULL);
    conf_findings_add(findings, false, 1, 10, 5, "there", NULL, NULL);
    assert_int_equal(conf_findings_count(findings), 4);
    {
        char *shown = conf_findings_text(findings);

        assert_non_null(strstr(shown, "weir.yaml:1:10: warning: there\n    1 | version: 1 # 0123456789"));
        assert_non_null(strstr(shown, "    1 | ...67890123456789"));
        assert_non_null(strstr(shown, "\n      |                                                                ^~~~~\n"));
        assert_null(strstr(shown, "01234567890123456789012345678901234567890123456789012345678901234567890123456789"
                                  "01234567890123456789012345678901234567890123456789012345678901234567890123456789"
                                  "0123456789"));
        free(shown);
    }
}

static void test_a_caret_stands_below_its_character_behind_tabs_and_umlauts(void **state)
{
    (void)state;
    load_source("version: 1 #\t\xc3\xa4\xc3\xb6 x\nlisteners: []\nroutes: []\n");
    conf_findings_add(findings, false, 1, 17, 1, "x", NULL, NULL);
    {
        char *shown = conf_findings_text(findings);

        assert_non_null(strstr(shown, "    1 | version: 1 #\t\xc3\xa4\xc3\xb6 x\n      |             \t   ^\n"));
        free(shown);
    }
}

static void test_json_has_the_same_findings(void **state)
{
    char *json;

    (void)state;
    load_source(GOOD);
    conf_findings_add(findings, false, 0, 0, 1, "whole \"file\"", NULL, NULL);
    conf_findings_add(findings, true, 2, 3, 4, "m", "h", "a, b");
    json = conf_findings_json(findings);
    assert_string_equal(json,
                        "{\"file\":\"weir.yaml\",\"ok\":false,\"errors\":1,\"warnings\":1,\"findings\":["
                        "{\"severity\":\"error\",\"line\":2,\"column\":3,\"message\":\"m\",\"hint\":\"h\",\"allowed\":\"a, b\"},"
                        "{\"severity\":\"warning\",\"line\":0,\"column\":0,\"message\":\"whole \\\"file\\\"\",\"hint\":null,"
                        "\"allowed\":null}]}");
    free(json);
}

static void test_json_of_many_findings_is_whole(void **state)
{
    char *json;

    (void)state;
    load_source(GOOD);
    for (int i = 0; i < 256; i++) {
        conf_findings_add(findings, true, 1, i + 1, 1, "a message that is long enough to need more than one buffer", NULL, NULL);
    }
    json = conf_findings_json(findings);
    assert_true(strlen(json) > 4096);
    assert_int_equal(json[strlen(json) - 1], '}');
    assert_non_null(strstr(json, "\"column\":256,"));
    free(json);
}

/* ---- places ---- */

#define assert_place(conf, path, line, column, width)                                                                  \
    do {                                                                                                               \
        int at_line, at_column, at_width;                                                                              \
        assert_true(conf_position(conf, path, &at_line, &at_column, &at_width));                                       \
        assert_int_equal(at_line, line);                                                                               \
        assert_int_equal(at_column, column);                                                                           \
        assert_int_equal(at_width, width);                                                                             \
    } while (0)

static void test_the_place_of_a_key_is_that_of_its_value(void **state)
{
    struct conf *conf = load("version: 1\n"
                             "listeners:\n"
                             "  - name: in\n"
                             "    address: 127.0.0.1:1\n"
                             "    tls:\n"
                             "      certificates: [{cert: /a, key: /b}, {cert: /c, key: \"/d\"}]\n"
                             "processors:\n"
                             "  acme: {url: https://a, tls: {ca: /ca.pem}, endpoints: ['10.0.0.1:1', '10.0.0.2:1']}\n");

    (void)state;
    assert_place(conf, "version", 1, 10, 1);
    assert_place(conf, "listeners[0].name", 3, 11, 2);
    assert_place(conf, "listeners[0].tls.certificates[0].cert", 6, 29, 2);
    assert_place(conf, "listeners[0].tls.certificates[1].key", 6, 59, 4);
    assert_place(conf, "listeners[0].tls", 5, 5, 3);
    assert_place(conf, "processors.acme", 8, 3, 4);
    assert_place(conf, "processors.acme.tls.ca", 8, 36, 7);
    assert_place(conf, "processors.acme.endpoints[1]", 8, 72, 12);
    conf_free(conf);
}

static void test_the_place_of_what_is_not_written_is_the_part_that_is(void **state)
{
    struct conf *conf = load("version: 1\nprocessors:\n  acme: {url: https://a}\n");
    int line = -1, column = -1, width = -1;

    (void)state;
    assert_false(conf_position(conf, "processors.acme.tls.ca", &line, &column, &width));
    assert_int_equal(line, 3);
    assert_int_equal(column, 3);
    assert_int_equal(width, 4);
    assert_false(conf_position(conf, "listeners[0].name", &line, &column, &width));
    assert_int_equal(line, 0);
    assert_int_equal(column, 0);
    assert_int_equal(width, 1);
    assert_false(conf_position(conf, "processors[1]", &line, NULL, NULL));
    assert_false(conf_position(conf, "processors[x", NULL, NULL, NULL));
    assert_false(conf_position(conf, "processors[99999999999]", NULL, NULL, NULL));
    assert_false(conf_position(conf, "version.x", NULL, NULL, NULL));
    conf_free(conf);
}

#define unit(test) cmocka_unit_test_setup_teardown(test, open_findings, close_findings)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_findings_of_a_higher_layer_are_shown_like_our_own),
        unit(test_findings_are_sorted_and_the_whole_file_comes_last),
        unit(test_the_last_line_counts),
        unit(test_more_than_256_findings_are_counted_not_kept),
        unit(test_a_long_line_is_cut_around_the_caret),
        unit(test_a_caret_stands_below_its_character_behind_tabs_and_umlauts),
        unit(test_json_has_the_same_findings),
        unit(test_json_of_many_findings_is_whole),
        unit(test_the_place_of_a_key_is_that_of_its_value),
        unit(test_the_place_of_what_is_not_written_is_the_part_that_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
