/*
 * Event lines: one voice for everything that weir says about itself, as JSON or
 * as text. Every text that comes from outside is masked first and escaped then,
 * in that order: an escape's digits must not hide a card's.
 */
#include "log_internal.h"

#include <time.h>

#include "weir/base/clock.h"
#include "weir/base/json.h"
#include "weir/base/mask.h"

#define VALUE_BYTES_MAX  1024 /* of a field or message; the rest is cut */
#define MASK_AHEAD_BYTES 64   /* looked at beyond the cut, so that a number that it divides is still known as one */
#define MILLIS_BYTES     23   /* of a time stamp, up to the milliseconds */

static const char cut_mark[] = ",\"cut\":true";

static void put_two(char *at, unsigned value)
{
    at[0] = (char)('0' + value / 10);
    at[1] = (char)('0' + value % 10);
}

/* "2026-11-22T10:00:00." of one second. */
static void format_second(uint64_t second, char text[20])
{
    time_t when = (time_t)second;
    struct tm utc = {0};
    unsigned year;

    CHECK(gmtime_r(&when, &utc) != NULL);
    year = (unsigned)utc.tm_year + 1900;
    memcpy(text, "0000-00-00T00:00:00.", 20);
    put_two(text, year / 100 % 100);
    put_two(text + 2, year % 100);
    put_two(text + 5, (unsigned)utc.tm_mon + 1);
    put_two(text + 8, (unsigned)utc.tm_mday);
    put_two(text + 11, (unsigned)utc.tm_hour);
    put_two(text + 14, (unsigned)utc.tm_min);
    put_two(text + 17, (unsigned)utc.tm_sec);
}

void log_time_format(uint64_t wall_us, char text[LOG_TIME_BYTES])
{
    static _Thread_local struct {
        uint64_t second;
        char text[20];
    } cache = {.second = UINT64_MAX};
    uint64_t second = wall_us / CLOCK_US_PER_S;
    unsigned us = (unsigned)(wall_us % CLOCK_US_PER_S);

    if (second != cache.second) {
        format_second(second, cache.text);
        cache.second = second;
    }
    memcpy(text, cache.text, sizeof(cache.text));
    put_two(text + 20, us / 10000);
    put_two(text + 22, us / 100 % 100);
    put_two(text + 24, us % 100);
    text[26] = 'Z';
    text[27] = '\0';
}

/* A masked copy of `value`, cut to its maximum. */
static struct bytes masked(struct bytes value, char scratch[VALUE_BYTES_MAX + MASK_AHEAD_BYTES])
{
    struct bytes copy = bytes_take(value, VALUE_BYTES_MAX + MASK_AHEAD_BYTES);

    if (copy.len == 0) {
        return BYTES_NONE;
    }
    memcpy(scratch, copy.at, copy.len);
    mask_cards(scratch, copy.len);
    if (value.len <= VALUE_BYTES_MAX) {
        return bytes_of(scratch, value.len);
    }
    copy.len = VALUE_BYTES_MAX;
    while (copy.len > 0 && ((unsigned char)scratch[copy.len] & 0xc0) == 0x80) {
        copy.len--; /* not inside a UTF-8 character */
    }
    memcpy(scratch + copy.len, "...", 3);
    return bytes_of(scratch, copy.len + 3);
}

static struct bytes field_value(const struct log_field *field)
{
    return field->kind == LOG_FIELD_TEXT ? bytes_from_text(field->text) : field->bytes;
}

static void put_json_field(struct json *json, const struct log_field *field)
{
    char scratch[VALUE_BYTES_MAX + MASK_AHEAD_BYTES];

    json_key(json, field->key);
    if (field->kind == LOG_FIELD_U64) {
        json_add_u64(json, field->number);
    } else if (field->kind == LOG_FIELD_TEXT && field->text == NULL) {
        json_add_null(json);
    } else {
        json_add_string(json, masked(field_value(field), scratch));
    }
}

/* What makes an event; see log_event_fields. */
struct event {
    const char *level;
    const char *name;
    const char *message;
    const struct log_field *fields;
    int count;
    bool audit;
};

static struct bytes write_json(const struct event *event, char *line, size_t size)
{
    char scratch[VALUE_BYTES_MAX + MASK_AHEAD_BYTES];
    char time[LOG_TIME_BYTES];
    struct json json;

    log_time_format(clock_wall_us(), time);
    json_init(&json, line, size - sizeof(cut_mark)); /* room for the mark and the closing brace */
    json_object_open(&json);
    json_put_string(&json, "ts", bytes_of(time, sizeof(time) - 1));
    json_put_text(&json, "level", event->level);
    json_put_text(&json, "event", event->name);
    if (event->audit) {
        json_put_bool(&json, "audit", true);
    }
    json_put_string(&json, "message", masked(bytes_from_text(event->message), scratch));
    for (int i = 0; i < event->count; i++) {
        put_json_field(&json, &event->fields[i]);
    }
    json.size = size;
    if (json.overflow) {
        memcpy(json.at + json.len, cut_mark, sizeof(cut_mark) - 1);
        json.len += sizeof(cut_mark) - 1;
    }
    json_object_close(&json);
    return json_bytes(&json);
}

/* A text line under way. json's writer does the bounds and the escapes; commas are kept away from it. */
static void put_raw(struct json *line, struct bytes text)
{
    line->comma = false;
    json_add_raw(line, text);
}

static bool needs_quotes(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.at[i];

        if (byte <= ' ' || byte == '"' || byte == '=' || byte == '\\' || byte >= 0x7f) {
            return true;
        }
    }
    return value.len == 0;
}

/* Escaped, and without the quotes: a message is the one part of a line that may contain blanks bare. */
static void put_message(struct json *line, struct bytes text)
{
    size_t start = line->len;

    line->comma = false;
    json_add_string(line, text);
    if (line->len > start) {
        line->len -= 2;
        memmove(line->at + start, line->at + start + 1, line->len - start);
    }
}

static void put_text_field(struct json *line, const struct log_field *field)
{
    char scratch[VALUE_BYTES_MAX + MASK_AHEAD_BYTES];
    size_t start = line->len;
    struct bytes value;

    line->overflow = false;
    put_raw(line, BYTES(" "));
    put_raw(line, bytes_from_text(field->key));
    put_raw(line, BYTES("="));
    line->comma = false;
    if (field->kind == LOG_FIELD_U64) {
        json_add_u64(line, field->number);
    } else if (field->kind == LOG_FIELD_TEXT && field->text == NULL) {
        json_add_null(line);
    } else {
        value = masked(field_value(field), scratch);
        if (needs_quotes(value)) {
            json_add_string(line, value);
        } else {
            json_add_raw(line, value);
        }
    }
    if (line->overflow) {
        line->len = start; /* a field is there whole or not at all */
    }
}

static struct bytes write_text(const struct event *event, char *text, size_t size)
{
    char scratch[VALUE_BYTES_MAX + MASK_AHEAD_BYTES];
    char time[LOG_TIME_BYTES];
    struct json line;

    log_time_format(clock_wall_us(), time);
    json_init(&line, text, size);
    put_raw(&line, bytes_of(time, MILLIS_BYTES));
    put_raw(&line, BYTES("Z "));
    put_raw(&line, bytes_from_text(event->level));
    put_raw(&line, event->audit ? BYTES(" audit ") : BYTES(" "));
    put_raw(&line, bytes_from_text(event->name));
    put_raw(&line, BYTES(" "));
    put_message(&line, masked(bytes_from_text(event->message), scratch));
    for (int i = 0; i < event->count; i++) {
        put_text_field(&line, &event->fields[i]);
    }
    return json_bytes(&line);
}

static void write_event(struct log *log, const struct event *event)
{
    char line[LOG_LINE_BYTES];
    struct bytes text =
        log->format == LOG_JSON ? write_json(event, line, sizeof(line)) : write_text(event, line, sizeof(line));

    (void)log__put(log, LOG_EVENTS, text, event->audit); /* a refusal is counted there */
}

void log_event_fields(struct log *log, enum log_level level, const char *event, const char *message,
                      const struct log_field *fields, int count)
{
    static const char *const names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};
    const struct event line = {names[level], event, message, fields, count, false};

    if (log_enabled(log, level)) {
        write_event(log, &line);
    }
}

void log_say(struct log *log, enum log_level level, const char *event, const char *message)
{
    log_event_fields(log, level, event, message, NULL, 0);
}

void log_audit_fields(struct log *log, const char *event, const char *message, const struct log_field *fields,
                      int count)
{
    const struct event line = {"info", event, message, fields, count, true};

    if (log != NULL) {
        write_event(log, &line);
    }
}
