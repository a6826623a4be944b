/*
 * Tables of messages and what becomes of each. Every row is read whole, byte
 * by byte and in odd pieces; the three must be the same.
 */
#ifndef TESTS_UNIT_HTTP_ROWS_H
#define TESTS_UNIT_HTTP_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "reading.h"

struct row {
    const char *what;
    struct bytes input;
    enum http_fault fault;
    int messages; /* complete ones, the refused one not counted */
};

#define GOOD(what, text) {what, {text, sizeof(text) - 1}, HTTP_FAULT_NONE, 1}
#define GOOD_MANY(what, text, count) {what, {text, sizeof(text) - 1}, HTTP_FAULT_NONE, count}
#define BAD(what, text) {what, {text, sizeof(text) - 1}, HTTP_FAULT_MALFORMED, 0}
#define BAD_AS(what, text, fault) {what, {text, sizeof(text) - 1}, fault, 0}

static struct reading rows_read(enum http_kind kind, bool method_head, struct bytes input, size_t piece)
{
    struct reading reading = {.kind = kind, .method_head = method_head, .limits = READING_LIMITS, .piece = piece};
    reading_run(&reading, input);
    return reading;
}

static bool row_holds(const struct row *row, enum http_kind kind, bool method_head)
{
    static const size_t pieces[] = {0, 1, 7};
    bool holds = true;
    struct reading first = rows_read(kind, method_head, row->input, 0);
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        struct reading reading = rows_read(kind, method_head, row->input, pieces[i]);
        bool same = strcmp(reading.text, first.text) == 0;
        bool right = reading.fault == row->fault && reading.messages == row->messages;
        if (reading.fault == HTTP_FAULT_NONE)
            right = right && reading.rest == 0;
        if (!same || !right) {
            print_error("%s, in pieces of %zu: fault %d instead of %d, %d messages instead of %d, rest %zu\n%s\n%s",
                        row->what, pieces[i], reading.fault, row->fault, reading.messages, row->messages, reading.rest,
                        reading.text, same ? "" : first.text);
            holds = false;
        }
        reading_close(&reading);
    }
    reading_close(&first);
    return holds;
}

static void rows_check(const struct row *rows, size_t count, enum http_kind kind, bool method_head)
{
    int failed = 0;
    for (size_t i = 0; i < count; i++)
        failed += !row_holds(&rows[i], kind, method_head);
    assert_int_equal(failed, 0);
}

#define REQUEST_ROWS(rows) rows_check(rows, ARRAY_COUNT(rows), HTTP_REQUEST_MESSAGE, false)
#define RESPONSE_ROWS(rows) rows_check(rows, ARRAY_COUNT(rows), HTTP_RESPONSE_MESSAGE, false)
#define HEAD_RESPONSE_ROWS(rows) rows_check(rows, ARRAY_COUNT(rows), HTTP_RESPONSE_MESSAGE, true)

#endif
