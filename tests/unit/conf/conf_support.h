/*
 * For the tests of conf: load a text and look at what comes out. Every test
 * file is a program of its own, so these are static.
 */
#ifndef WEIR_TESTS_UNIT_CONF_SUPPORT_H
#define WEIR_TESTS_UNIT_CONF_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "weir/conf/conf.h"

/* The findings of a text, as they are shown; the caller frees. */
__attribute__((unused)) static char *findings_of_bytes(const char *text, size_t len)
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf = conf_load_text("weir.yaml", bytes_of(text, len), findings);
    char *shown = conf_findings_text(findings);

    assert_true((conf != NULL) == (conf_findings_errors(findings) == 0));
    conf_free(conf);
    conf_findings_close(findings);
    return shown;
}

__attribute__((unused)) static char *findings_of(const char *text)
{
    return findings_of_bytes(text, strlen(text));
}

/* The whole of what an operator reads, to the last character. */
__attribute__((unused)) static void assert_shown(const char *text, const char *expected)
{
    char *shown = findings_of(text);

    assert_string_equal(shown, expected);
    free(shown);
}

/* One line of it is enough. */
__attribute__((unused)) static void assert_says(const char *text, const char *part)
{
    char *shown = findings_of(text);

    if (strstr(shown, part) == NULL) {
        print_error("expected: %s\n%s\n", part, shown);
        fail();
    }
    free(shown);
}

__attribute__((unused)) static void assert_does_not_say(const char *text, const char *part)
{
    char *shown = findings_of(text);

    if (strstr(shown, part) != NULL) {
        print_error("not expected: %s\n%s\n", part, shown);
        fail();
    }
    free(shown);
}

/* A text that loads; the caller frees the conf. Warnings are not looked at. */
__attribute__((unused)) static struct conf *load(const char *text)
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf = conf_load_text("weir.yaml", bytes_from_text(text), findings);

    if (conf == NULL) {
        char *shown = conf_findings_text(findings);

        print_error("%s", shown);
        free(shown);
    }
    conf_findings_close(findings);
    assert_non_null(conf);
    return conf;
}

/* Smallest sections that are complete, for files that are about something else. */
#define LISTENER "listeners: [{name: in, address: '127.0.0.1:8080'}]\n"
#define PROCESSOR "processors: {acme: {url: https://api.acme.example}}\n"
#define ROUTE "routes: [{name: all, to: acme, idempotency: off}]\n"

#endif
