/*
 * The two streams and their sinks: what the loop's thread calls. It opens files
 * and hands their descriptors to the writers; it never writes to one. Event
 * lines are made in log_event.c.
 */
#include "log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0640

struct log *log_open(void)
{
    static const char *const names[LOG_STREAM_COUNT] = {"weir-log-access", "weir-log-events"};
    static const size_t reserves[LOG_STREAM_COUNT] = {[LOG_EVENTS] = LOG_RESERVE_BYTES};
    struct log *log = calloc(1, sizeof(*log));

    if (log == NULL) {
        return NULL;
    }
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        /* The ring's parts want cache lines of their own. */
        log->writers[i] = aligned_alloc(LOG_CACHE_LINE, sizeof(struct log_writer));
        if (log->writers[i] == NULL) {
            log_close(log, 0);
            return NULL;
        }
        memset(log->writers[i], 0, sizeof(struct log_writer));
        if (!log__writer_open(log->writers[i], names[i], reserves[i])) {
            free(log->writers[i]);
            log->writers[i] = NULL;
            log_close(log, 0);
            return NULL;
        }
    }
    log->level = LOG_INFO;
    return log;
}

static bool is_standard(const char *to)
{
    return strcmp(to, "stdout") == 0 || strcmp(to, "stderr") == 0;
}

/* A descriptor of our own for the sink, or -1 with `why`. */
static int open_sink(const char *to, char *why, size_t size)
{
    char reason[128];
    int fd;

    if (is_standard(to)) {
        fd = fcntl(strcmp(to, "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    } else {
        /* Not blocking, so that a FIFO without a reader is an error and not the end of the loop. */
        fd = open(to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, FILE_MODE);
    }
    if (fd < 0) {
        (void)snprintf(why, size, "cannot open %s for the log: %s", to, strerror_r(errno, reason, sizeof(reason)));
    }
    return fd;
}

/* Opens each path that is not NULL; all or none. */
static enum err open_sinks(const char *const paths[LOG_STREAM_COUNT], int fds[LOG_STREAM_COUNT], char *why, size_t size)
{
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        fds[i] = -1;
    }
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        if (paths[i] == NULL) {
            continue;
        }
        fds[i] = open_sink(paths[i], why, size);
        if (fds[i] < 0) {
            while (i-- > 0) {
                if (fds[i] >= 0) {
                    close(fds[i]);
                }
            }
            return ERR_FILE;
        }
    }
    return ERR_OK;
}

static void hand_over(struct log *log, const int fds[LOG_STREAM_COUNT])
{
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        if (fds[i] >= 0) {
            log__writer_set_fd(log->writers[i], fds[i]);
        }
    }
}

enum err log_configure(struct log *log, const struct log_sink sinks[LOG_STREAM_COUNT], char *why, size_t size)
{
    const char *const paths[LOG_STREAM_COUNT] = {sinks[LOG_ACCESS].to, sinks[LOG_EVENTS].to};
    int fds[LOG_STREAM_COUNT];
    enum err err = open_sinks(paths, fds, why, size);

    if (err != ERR_OK) {
        return err;
    }
    hand_over(log, fds);
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        log->paths[i] = paths[i];
    }
    log->format = sinks[LOG_EVENTS].format;
    log->level = sinks[LOG_EVENTS].level;
    return ERR_OK;
}

enum err log_reopen(struct log *log, char *why, size_t size)
{
    const char *paths[LOG_STREAM_COUNT];
    int fds[LOG_STREAM_COUNT];
    enum err err;

    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        bool is_path = log->paths[i] != NULL && !is_standard(log->paths[i]);

        paths[i] = is_path ? log->paths[i] : NULL;
    }
    err = open_sinks(paths, fds, why, size);
    if (err == ERR_OK) {
        hand_over(log, fds);
    }
    return err;
}

static struct timespec after_ms(uint32_t wait_ms)
{
    struct timespec at;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &at) == 0);
    at.tv_sec += wait_ms / 1000;
    at.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

void log_close(struct log *log, uint32_t wait_ms)
{
    struct timespec deadline;

    if (log == NULL) {
        return;
    }
    deadline = after_ms(wait_ms);
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        if (log->writers[i] != NULL) {
            log__writer_close_begin(log->writers[i]);
        }
    }
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        /* A writer that is stuck in the kernel keeps its memory: the process is about to end anyway. */
        if (log->writers[i] != NULL && log__writer_close_wait(log->writers[i], &deadline)) {
            free(log->writers[i]);
        }
    }
    free(log);
}

/* The rings have one end to put into: a second thread would tear lines. */
static bool is_producer(struct log *log)
{
    if (!log->produced) {
        log->produced = true;
        log->producer = pthread_self();
    }
    return pthread_equal(log->producer, pthread_self()) != 0;
}

bool log__put(struct log *log, enum log_stream stream, struct bytes line, bool audit)
{
    struct log_writer *writer = log->writers[stream];

    DCHECK(is_producer(log));
    if (log->paths[stream] == NULL) {
        return true; /* goes nowhere, which is what was asked for */
    }
    if (!log__ring_put(&writer->ring, line, audit)) {
        return false;
    }
    log__writer_wake(writer);
    return true;
}

bool log_line(struct log *log, enum log_stream stream, struct bytes line)
{
    return log__put(log, stream, line, false);
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return log != NULL && log->paths[LOG_EVENTS] != NULL && level >= log->level;
}

uint64_t log_dropped_count(const struct log *log, enum log_stream stream)
{
    return atomic_load_explicit(&log->writers[stream]->ring.dropped, memory_order_relaxed);
}

uint64_t log_audit_lost_count(const struct log *log)
{
    return atomic_load_explicit(&log->writers[LOG_EVENTS]->ring.audit_lost, memory_order_relaxed);
}
