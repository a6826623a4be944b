/*
 * The metrics of the process itself: build, reload state, the usual process_*
 * eight, the loop's time, the logs' losses, the buffers. Values are read when
 * somebody asks. What carries labels that change with a reload (the file's
 * digest, certificates) is printed from the generation in use and leaves no
 * stale series behind.
 */
#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app_internal.h"
#include "version_internal.h"
#include "weir/base/clock.h"

static const struct stats_family BUILD_INFO = {
    "weir_build_info", "What is running.", STATS_GAUGE, {"version", "commit", "openssl", "libuv"}, false, NULL};

/* One row a metric without labels: enum, name, kind, in microseconds that print as seconds, help. */
#define PROCESS_TABLE(ROW)                                                                                     \
    ROW(RELOAD_OK, "weir_config_last_reload_successful", STATS_GAUGE, false, "1 when the last reload succeeded.") \
    ROW(RELOAD_OK_AT, "weir_config_last_reload_success_timestamp_seconds", STATS_GAUGE, true,                  \
        "When a configuration was last taken into use.")                                                       \
    ROW(LOOP_BUSY, "weir_loop_busy_seconds_total", STATS_COUNTER, true, "Time the loop spent working.")        \
    ROW(LOOP_IDLE, "weir_loop_idle_seconds_total", STATS_COUNTER, true, "Time the loop spent waiting.")        \
    ROW(AUDIT_LOST, "weir_audit_lost_total", STATS_COUNTER, false,                                             \
        "Audit lines (unknown outcomes, operators' acts) that were lost.")                                     \
    ROW(BUFFERS, "weir_buffers_bytes", STATS_GAUGE, false, "Bytes buffered for clients and processors.")       \
    ROW(BUFFERS_LIMIT, "weir_buffers_limit_bytes", STATS_GAUGE, false, "Bound on weir_buffers_bytes.")         \
    ROW(BUFFERS_REFUSED, "weir_buffers_refused_total", STATS_COUNTER, false,                                   \
        "Requests for buffer memory refused because the bound was reached.")                                   \
    ROW(CPU, "process_cpu_seconds_total", STATS_COUNTER, true, "User and system time.")                        \
    ROW(OPEN_FDS, "process_open_fds", STATS_GAUGE, false, "Open descriptors.")                                 \
    ROW(MAX_FDS, "process_max_fds", STATS_GAUGE, false, "Descriptors the process may open.")                   \
    ROW(VIRTUAL, "process_virtual_memory_bytes", STATS_GAUGE, false, "Size of the address space.")             \
    ROW(VIRTUAL_MAX, "process_virtual_memory_max_bytes", STATS_GAUGE, false,                                   \
        "Bound on the address space; 0 when there is none.")                                                   \
    ROW(RESIDENT, "process_resident_memory_bytes", STATS_GAUGE, false, "Memory in use.")                       \
    ROW(HEAP, "process_heap_bytes", STATS_GAUGE, false, "Memory handed out by malloc.")                        \
    ROW(STARTED, "process_start_time_seconds", STATS_GAUGE, true, "When the process began.")

enum process_metric {
#define ROW_ENUM(name, text, kind, seconds, help) METRIC_##name,
    PROCESS_TABLE(ROW_ENUM)
#undef ROW_ENUM
    METRIC_COUNT
};

static const struct stats_family FAMILIES[METRIC_COUNT] = {
#define ROW_FAMILY(name, text, kind, seconds, help) {text, help, kind, {NULL}, seconds, NULL},
    PROCESS_TABLE(ROW_FAMILY)
#undef ROW_FAMILY
};

static const struct stats_family LINES_DROPPED = {
    "weir_log_lines_dropped_total", "Log lines dropped because the ring was full or the sink refused them.",
    STATS_COUNTER, {"stream"}, false, NULL};

/* A timer may be late by its wheel's slot and a millisecond; what is beyond that, the loop was busy or not run. */
#define LAG_EVERY_US (100 * CLOCK_US_PER_MS)
static const uint64_t LAG_BOUNDS_US[] = {10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 0};
static const struct stats_family LOOP_LAG = {
    "weir_loop_lag_seconds", "How late a timer of 100 ms fires: what everything else in the loop waits too; up to 0.01 is the timer's grain.",
    STATS_HISTOGRAM, {NULL}, true, LAG_BOUNDS_US};

struct process_metrics {
    struct stats *stats;   /* borrowed */
    struct timer lag_timer;
    uint64_t lag_due_us;   /* the timer forgets it before it fires */
    stats_id lag;
    stats_id ids[METRIC_COUNT];
    stats_id dropped[LOG_STREAM_COUNT];
};

static uint64_t timeval_us(struct timeval time)
{
    return (uint64_t)time.tv_sec * CLOCK_US_PER_S + (uint64_t)time.tv_usec;
}

static uint64_t cpu_us(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? timeval_us(usage.ru_utime) + timeval_us(usage.ru_stime) : 0;
}

static uint64_t limit_of(__rlimit_resource_t resource)
{
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : 0;
}

/* Kernels since 6.2 tell the count as the folder's size; older ones make us count. */
static uint64_t open_fd_count(void)
{
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0) {
        return (uint64_t)status.st_size;
    }
    DIR *folder = opendir("/proc/self/fd");
    uint64_t count = 0;
    while (folder != NULL && readdir(folder) != NULL) {
        count++;
    }
    if (folder != NULL) {
        closedir(folder);
    }
    /* Of what was read, ".", ".." and the folder itself are not ours. */
    return count > 3 ? count - 3 : 0;
}

static void collect_memory(const struct process_metrics *metrics, struct stats *stats)
{
    unsigned long long pages = 0, resident_pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &pages, &resident_pages) != 2) {
            pages = resident_pages = 0;
        }
        fclose(file);
    }
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    stats_set(stats, metrics->ids[METRIC_VIRTUAL], pages * page_bytes);
    stats_set(stats, metrics->ids[METRIC_RESIDENT], resident_pages * page_bytes);
    stats_set(stats, metrics->ids[METRIC_VIRTUAL_MAX], limit_of(RLIMIT_AS));
    struct mallinfo2 heap = mallinfo2();
    stats_set(stats, metrics->ids[METRIC_HEAP], heap.uordblks + heap.hblkhd);
}

static void collect_weir(const struct app *app, const struct process_metrics *metrics, struct stats *stats)
{
    const struct blocks *blocks = loop_blocks(app->loop);
    uint64_t idle_us = loop_idle_us(app->loop);
    uint64_t total_us = loop_total_us(app->loop);
    stats_set(stats, metrics->ids[METRIC_RELOAD_OK], app->reload.last_ok);
    stats_set(stats, metrics->ids[METRIC_RELOAD_OK_AT], app->reload.last_ok_us);
    stats_set(stats, metrics->ids[METRIC_LOOP_IDLE], idle_us);
    stats_set(stats, metrics->ids[METRIC_LOOP_BUSY], total_us > idle_us ? total_us - idle_us : 0);
    stats_set(stats, metrics->ids[METRIC_AUDIT_LOST], log_audit_lost_count(app->log));
    stats_set(stats, metrics->ids[METRIC_BUFFERS], blocks->used_bytes);
    stats_set(stats, metrics->ids[METRIC_BUFFERS_LIMIT], blocks->limit_bytes);
    stats_set(stats, metrics->ids[METRIC_BUFFERS_REFUSED], blocks->refused_count);
    for (int i = 0; i < LOG_STREAM_COUNT; i++) {
        stats_set(stats, metrics->dropped[i], log_dropped_count(app->log, (enum log_stream)i));
    }
}

static void on_collect(void *owner, struct stats *stats)
{
    const struct app *app = owner;
    const struct process_metrics *metrics = app->process;
    collect_weir(app, metrics, stats);
    collect_memory(metrics, stats);
    stats_set(stats, metrics->ids[METRIC_CPU], cpu_us());
    stats_set(stats, metrics->ids[METRIC_OPEN_FDS], open_fd_count());
    stats_set(stats, metrics->ids[METRIC_MAX_FDS], limit_of(RLIMIT_NOFILE));
    stats_set(stats, metrics->ids[METRIC_STARTED], app->started_us);
}

static void on_lag_timer(struct timer *timer)
{
    struct process_metrics *metrics = container_of(timer, struct process_metrics, lag_timer);
    uint64_t now_us = clock_now_us();
    stats_observe(metrics->stats, metrics->lag, now_us > metrics->lag_due_us ? now_us - metrics->lag_due_us : 0);
    metrics->lag_due_us = now_us + LAG_EVERY_US;
    timer_set(timer, metrics->lag_due_us);
}

bool process_metrics_open(struct app *app)
{
    struct process_metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL) {
        return false;
    }
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        metrics->ids[i] = stats_series(app->stats, &FAMILIES[i]);
    }
    metrics->dropped[LOG_ACCESS] = stats_series(app->stats, &LINES_DROPPED, "access");
    metrics->dropped[LOG_EVENTS] = stats_series(app->stats, &LINES_DROPPED, "events");
    stats_set(app->stats,
              stats_series(app->stats, &BUILD_INFO, WEIR_VERSION, version_commit(), tls_library_running(), version_libuv()), 1);
    metrics->stats = app->stats;
    metrics->lag = stats_series(app->stats, &LOOP_LAG);
    timer_init(&metrics->lag_timer, app->loop, on_lag_timer);
    metrics->lag_due_us = clock_now_us() + LAG_EVERY_US;
    timer_set(&metrics->lag_timer, metrics->lag_due_us);
    app->process = metrics;
    stats_on_collect(app->stats, on_collect, app);
    return true;
}

void process_metrics_stop(struct app *app)
{
    if (app->process != NULL) {
        timer_stop(&app->process->lag_timer);
    }
}

void process_metrics_close(struct app *app)
{
    free(app->process);
    app->process = NULL;
}

WEIR_PRINTF(2, 3) static enum err print(struct buf *out, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof(text)) {
        return ERR_FULL;
    }
    return buf_append(out, bytes_of(text, (size_t)len), BLOCKS_MAY);
}

/* A label value: backslash, quote and line break are escaped (text format 0.0.4); a certificate may hold any of them. */
static const char *escape(const char *value, char *text, size_t size)
{
    size_t len = 0;
    for (; *value != '\0' && len + 3 < size; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n') {
            text[len++] = '\\';
        }
        text[len++] = *value;
        if (*value == '\n') {
            text[len - 1] = 'n';
        }
    }
    text[len] = '\0';
    return text;
}

static enum err print_certificates(const struct app *app, struct buf *out)
{
    const struct generation *generation = gate_generation(app->gate);
    const struct conf *conf = generation_conf(generation);
    enum err err = print(out,
                         "# HELP weir_tls_certificate_expiry_timestamp_seconds When a certificate ends.\n"
                         "# TYPE weir_tls_certificate_expiry_timestamp_seconds gauge\n");
    for (int i = 0; i < conf->listener_count; i++) {
        const struct tls_server *tls = generation_tls_server(generation, i);
        int count = tls != NULL ? tls_server_certificate_count(tls) : 0;
        for (int j = 0; j < count && err == ERR_OK; j++) {
            struct tls_certificate_info info;
            char listener[256], name[512];
            tls_server_certificate(tls, j, &info);
            /* The index keeps an ECDSA and an RSA certificate of one name apart. */
            err = print(out,
                        "weir_tls_certificate_expiry_timestamp_seconds{listener=\"%s\",name=\"%s\",certificate=\"%d\"}"
                        " %" PRId64 "\n",
                        escape(conf->listeners[i].name, listener, sizeof(listener)),
                        escape(info.name, name, sizeof(name)), j, info.not_after_s);
        }
    }
    return err;
}

static enum err print_forced(const struct processor *processor, enum breaker_forced said, struct buf *out)
{
    struct processor_state state;
    processor_state(processor, &state);
    return print(out, "weir_breaker_forced{processor=\"%s\",said=\"%s\"} %d\n", state.name, breaker_forced_name(said),
                 state.forced == said);
}

/* Names of processors need no escape. */
static enum err print_operators_words(const struct app *app, struct buf *out)
{
    enum err err = print(out,
                         "# HELP weir_breaker_forced 1 while an operator holds the breakers of a processor open or closed.\n"
                         "# TYPE weir_breaker_forced gauge\n");
    for (struct processor *at = upstream_next(app->upstream, NULL); at != NULL && err == ERR_OK;
         at = upstream_next(app->upstream, at)) {
        err = print_forced(at, BREAKER_FORCED_OPEN, out);
        err = err == ERR_OK ? print_forced(at, BREAKER_FORCED_CLOSED, out) : err;
    }
    return err;
}

enum err process_metrics_print_generation(const struct app *app, struct buf *out)
{
    const struct generation *generation = gate_generation(app->gate);
    if (generation == NULL) {
        return ERR_OK;
    }
    enum err err = print(out,
                         "# HELP weir_config_info The configuration in use.\n"
                         "# TYPE weir_config_info gauge\n"
                         "weir_config_info{generation=\"%" PRIu32 "\",sha256=\"%s\"} 1\n",
                         generation_number(generation), generation_conf(generation)->sha256);
    err = err == ERR_OK ? print_certificates(app, out) : err;
    return err == ERR_OK ? print_operators_words(app, out) : err;
}
