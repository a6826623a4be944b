/* What every table and answer is made of: a row of a name and its words, and times. */
#include <stdarg.h>
#include <stdio.h>

#include "show_internal.h"

#define ROW_FORMAT "%-12s "

bool show_row(struct buf *out, const char *name, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    int head = snprintf(text, sizeof(text), ROW_FORMAT, name);
    size_t len = head > 0 ? (size_t)head : 0;
    va_start(arguments, format);
    int put = vsnprintf(text + len, sizeof(text) - len - 1, format, arguments);
    va_end(arguments);
    len += put > 0 ? (size_t)put : 0;
    len = len < sizeof(text) - 2 ? len : sizeof(text) - 2;
    text[len++] = '\n';
    return buf_append(out, bytes_of(text, len), BLOCKS_MAY) == ERR_OK;
}

const char *show_time(uint64_t wall_us, char text[LOG_TIME_BYTES])
{
    log_time_format(wall_us, text);
    /* "2026-11-22T10:00:00Z": nobody reads microseconds of a start. */
    snprintf(text + 19, LOG_TIME_BYTES - 19, "Z");
    return text;
}

void report_time(struct json *json, const char *key, uint64_t wall_us)
{
    char text[LOG_TIME_BYTES];
    if (wall_us != 0) {
        log_time_format(wall_us, text);
    }
    json_put_text(json, key, wall_us != 0 ? text : NULL);
}
