/*
 * base/log.h without files and threads: access lines go to the oracle, events
 * into the trace. Nothing is ever dropped.
 */
#include "sim.h"

#include <stdio.h>
#include <time.h>

#include "weir/base/clock.h"
#include "weir/base/log.h"

bool log_line(struct log *log, enum log_stream stream, struct bytes line)
{
    (void)log;
    CHECK(line.len <= LOG_LINE_BYTES && sim.weir != NULL);
    if (stream == LOG_ACCESS && !sim.weir->dead) {
        sim_note_text("access", line);
        oracle_line(line);
    }
    return true;
}

bool log_enabled(const struct log *log, enum log_level level)
{
    (void)log;
    (void)level;
    return true;
}

void log_event_fields(struct log *log, enum log_level level, const char *event, const char *message,
                      const struct log_field *fields, int count)
{
    (void)log;
    (void)level;
    CHECK(event != NULL && message != NULL && count >= 0);
    sim_note_text("event", bytes_from_text(event));
    if (sim.weir != NULL && !sim.weir->dead) {
        ledger_event(event, fields, count);
        sick_event(event);
    }
}

void log_say(struct log *log, enum log_level level, const char *event, const char *message)
{
    log_event_fields(log, level, event, message, NULL, 0);
}

void log_audit_fields(struct log *log, const char *event, const char *message, const struct log_field *fields, int count)
{
    log_event_fields(log, LOG_INFO, event, message, fields, count);
}

void log_time_format(uint64_t wall_us, char text[LOG_TIME_BYTES])
{
    time_t seconds = (time_t)(wall_us / CLOCK_US_PER_S);
    struct tm date;
    CHECK(gmtime_r(&seconds, &date) != NULL && strftime(text, LOG_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &date) == 19);
    (void)snprintf(text + 19, LOG_TIME_BYTES - 19, ".%06uZ", (unsigned)(wall_us % CLOCK_US_PER_S) % 1000000u);
}
