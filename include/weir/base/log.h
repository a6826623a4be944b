/*
 * Two streams of lines, access and events, that leave through a bounded ring
 * and a writer thread each. Writing a line never blocks: a full ring drops it
 * and counts. A full disk keeps lines waiting in the ring, a closed pipe loses
 * them. All lines come from one thread, the loop's. Audit lines (an unknown outcome, its resolution, an operator's
 * act) may use room that other lines may not, and a lost one is counted apart.
 *
 * The rings belong to one struct log per process, owned by app; everything else
 * borrows it. Event lines have one voice:
 *   {"ts":"2026-11-22T10:00:00.000000Z","level":"warn","event":"processor_connect_failed","message":"...", ...fields}
 * or, with format text, `2026-11-22T10:00:00.000Z warn processor_connect_failed message key=value`.
 * Messages are lower-case sentences without a full stop.
 */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"
#include "weir/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_COUNT };
enum log_format { LOG_JSON, LOG_TEXT };
enum log_stream { LOG_ACCESS, LOG_EVENTS, LOG_STREAM_COUNT };

struct log;

struct log_sink {
    const char *to;         /* "stdout", "stderr" or a path; borrowed until the next log_configure */
    enum log_format format; /* of events; access lines arrive formatted */
    enum log_level level;   /* events below it are not written */
};

/* NULL on no memory. Starts the writer threads; both streams go nowhere until log_configure. */
struct log *log_open(void);
/*
 * Points the streams at their sinks; opens files for append, 0640. On ERR_FILE
 * nothing has changed and `why` (size bytes) says what and where.
 */
WEIR_MUSTCHECK enum err log_configure(struct log *log, const struct log_sink sinks[LOG_STREAM_COUNT], char *why,
                                      size_t size);
/* Closes and opens the files again (USR1, after logrotate). On error the old files stay in use. */
WEIR_MUSTCHECK enum err log_reopen(struct log *log, char *why, size_t size);
/*
 * Writes out what the rings hold, for at most `wait_ms`, and ends the threads;
 * one that is stuck in the kernel gets a second more and is then left behind.
 * NULL is ignored.
 */
void log_close(struct log *log, uint32_t wait_ms);

/* One whole line without its newline, at most LOG_LINE_BYTES. False: dropped and counted. */
#define LOG_LINE_BYTES 8192
bool log_line(struct log *log, enum log_stream stream, struct bytes line);

/* Whether an event of this level would be written: to skip what it costs to make one. */
bool log_enabled(const struct log *log, enum log_level level);

/* One field of an event line. Text is escaped; card numbers are masked. */
struct log_field {
    const char *key;  /* literal */
    enum { LOG_FIELD_TEXT, LOG_FIELD_U64, LOG_FIELD_BYTES } kind;
    const char *text; /* NULL prints null */
    uint64_t number;
    struct bytes bytes;
};
#define LOG_T(key, value) ((struct log_field){key, LOG_FIELD_TEXT, value, 0, BYTES_NONE})
#define LOG_N(key, value) ((struct log_field){key, LOG_FIELD_U64, NULL, (uint64_t)(value), BYTES_NONE})
#define LOG_B(key, value) ((struct log_field){key, LOG_FIELD_BYTES, NULL, 0, value})

/*
 * `event` is a literal snake_case name; `message` a literal or short text. log
 * may be NULL (nothing is written). Texts are cut at 1 KiB; fields that do not
 * fit into the line are left out, and "cut":true says so.
 */
void log_event_fields(struct log *log, enum log_level level, const char *event, const char *message,
                      const struct log_field *fields, int count);
#define log_event(log, level, event, message, ...)                                                     \
    log_event_fields(log, level, event, message, (const struct log_field[]){__VA_ARGS__},              \
                     (int)(sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)))
/* The same without fields. */
void log_say(struct log *log, enum log_level level, const char *event, const char *message);
/*
 * An event that may use the reserved room; its loss is weir_audit_lost_total.
 * Written at every level, as "info" with "audit":true.
 */
void log_audit_fields(struct log *log, const char *event, const char *message, const struct log_field *fields,
                      int count);

/* Lines dropped so far because a ring was full or a sink refused them. */
uint64_t log_dropped_count(const struct log *log, enum log_stream stream);
uint64_t log_audit_lost_count(const struct log *log);

/* RFC 3339 in UTC with microseconds, 27 bytes and a NUL. Cheap: the date is cached per second. */
#define LOG_TIME_BYTES 28
void log_time_format(uint64_t wall_us, char text[LOG_TIME_BYTES]);

#endif
