/*
 * Idempotency records as an operator reads them: a line each, one in full, or
 * JSON. Keys, credentials and answers are not in them, since the store tells
 * none.
 */
#include <inttypes.h>
#include <stdio.h>

#include "show_internal.h"
#include "tables_internal.h"
#include "weir/base/clock.h"
#include "weir/base/digest.h"

const char *show_age(uint64_t age_us, char text[SHOW_AGE_BYTES])
{
    static const struct {
        uint64_t seconds;
        char letter;
    } UNITS[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    uint64_t left_s = age_us / CLOCK_US_PER_S;
    size_t at = 0;
    while (at + 2 < ARRAY_COUNT(UNITS) && left_s < UNITS[at].seconds) {
        at++;
    }
    if (left_s < UNITS[at].seconds) {
        snprintf(text, SHOW_AGE_BYTES, "%" PRIu64 "s", left_s);
        return text;
    }
    snprintf(text, SHOW_AGE_BYTES, "%" PRIu64 "%c %" PRIu64 "%c", left_s / UNITS[at].seconds, UNITS[at].letter,
             left_s % UNITS[at].seconds / UNITS[at + 1].seconds, UNITS[at + 1].letter);
    return text;
}

static uint64_t ago_us(uint64_t wall_us)
{
    uint64_t now_us = clock_wall_us();
    return now_us > wall_us ? now_us - wall_us : 0;
}

const char *show_record_name(const struct idem_name *name, char text[SHOW_NAME_BYTES])
{
    snprintf(text, SHOW_NAME_BYTES, "%03xx", name->bucket);
    digest_hex(name->hash, IDEM_HASH_BYTES, text + 4);
    return text;
}

static void show_line(struct text_table *table, const struct lookup_row *row, bool whole_names)
{
    char name[SHOW_NAME_BYTES], text[LOG_TIME_BYTES], age[SHOW_AGE_BYTES];
    if (whole_names) {
        show_record_name(&row->name, name);
    } else {
        idem_name_short(&row->name, name);
    }
    text_table_cell(table, "%s", name);
    text_table_cell(table, "%s", idem_state_name(row->state));
    text_table_cell(table, "%s", row->unknown_us != 0 ? show_age(ago_us(row->unknown_us), age) : "-");
    text_table_cell(table, "%s", row->processor);
    text_table_cell(table, "%s", show_time(row->begun_us, text));
    text_table_cell(table, "%" PRIu32, row->takeovers);
    text_table_cell(table, "%s", row->request_id);
}

bool show_records(const struct lookup_row *rows, size_t count, bool whole_names, struct buf *out)
{
    static const char *const TITLES[] = {"RECORD", "STATE",     "UNKNOWN FOR", "PROCESSOR",
                                         "BEGUN",  "TAKEOVERS", "REQUEST"};
    struct text_table table;
    text_table_open(&table, out, TITLES, ARRAY_COUNT(TITLES));
    for (size_t i = 0; i < count; i++) {
        show_line(&table, &rows[i], whole_names);
    }
    return text_table_close(&table);
}

static void show_state(const struct lookup_row *row, struct buf *out)
{
    char text[LOG_TIME_BYTES], age[SHOW_AGE_BYTES];
    if (row->unknown_us != 0) {
        show_row(out, "state", "%s since %s (%s)", idem_state_name(row->state), show_time(row->unknown_us, text),
                 show_age(ago_us(row->unknown_us), age));
    } else if (row->done_us != 0) {
        show_row(out, "state", "%s since %s", idem_state_name(row->state), show_time(row->done_us, text));
    } else {
        show_row(out, "state", "%s", idem_state_name(row->state));
    }
}

static void show_next(const struct lookup_row *row, struct buf *out)
{
    char name[IDEM_SHORT_BYTES + 1];
    if (row->state == IDEM_UNKNOWN) {
        idem_name_short(&row->name, name);
        show_row(out, "next",
                 "look at the processor, then: weir idempotency resolve %s --executed|--not-executed "
                 "--why TEXT",
                 name);
    }
}

static void show_answer(const struct lookup_row *row, struct buf *out)
{
    if (row->state != IDEM_DONE) {
        return;
    }
    if (row->status == 0) {
        show_row(out, "answer", "none: an operator said that it was executed");
    } else {
        show_row(out, "answer", "status %" PRIu16 ", %s", row->status,
                 row->answer_kept ? "kept for replays" : "no longer kept, or too large to be");
    }
}

bool show_record(const struct lookup_row *row, struct buf *out)
{
    char name[SHOW_NAME_BYTES], text[LOG_TIME_BYTES];
    show_row(out, "record", "%s", show_record_name(&row->name, name));
    show_state(row, out);
    show_next(row, out);
    show_row(out, "processor", "%s", row->processor);
    show_row(out, "request", "%s", row->request_id[0] != '\0' ? row->request_id : "-");
    show_row(out, "begun", "%s", show_time(row->begun_us, text));
    show_row(out, "takeovers", "%" PRIu32 "%s", row->takeovers,
             row->ambiguous && row->state == IDEM_IN_FLIGHT ? "; an attempt before this one may have been executed" : "");
    show_answer(row, out);
    return show_row(out, "expires", "%s", row->expires_us != 0 ? show_time(row->expires_us, text) : "-");
}

void report_record(const struct lookup_row *row, struct json *json)
{
    char name[SHOW_NAME_BYTES], short_name[IDEM_SHORT_BYTES + 1];
    idem_name_short(&row->name, short_name);
    json_object_open(json);
    json_put_text(json, "record", short_name);
    json_put_text(json, "name", show_record_name(&row->name, name));
    json_put_text(json, "state", idem_state_name(row->state));
    json_put_text(json, "processor", row->processor);
    json_put_text(json, "request_id", row->request_id[0] != '\0' ? row->request_id : NULL);
    report_time(json, "begun", row->begun_us);
    report_time(json, "unknown_since", row->unknown_us);
    report_time(json, "done", row->done_us);
    report_time(json, "expires", row->expires_us);
    json_put_u64(json, "status", row->status);
    json_put_bool(json, "answer_kept", row->answer_kept);
    json_put_u64(json, "takeovers", row->takeovers);
    json_put_bool(json, "ambiguous", row->ambiguous);
    json_object_close(json);
}
