/*
 * The one struct app: everything of a running process, in the order in which
 * it is built and against which it is taken down. Nothing here is global.
 */
#ifndef WEIR_APP_APP_INTERNAL_H
#define WEIR_APP_APP_INTERNAL_H

#include "weir/app/app.h"
#include "weir/app/descriptors.h"
#include "weir/app/drain.h"
#include "weir/app/httpd.h"
#include "weir/app/notify.h"
#include "weir/base/log.h"
#include "weir/base/stats.h"
#include "weir/conf/conf.h"
#include "weir/gate/gate.h"
#include "weir/gate/generation.h"
#include "weir/io/loop.h"
#include "weir/io/timer.h"
#include "weir/io/tls.h"
#include "weir/io/worker.h"
#include "weir/upstream/upstream.h"

#include "records_internal.h"

struct json;

#define APP_WHY_BYTES 512
#define APP_TEXT_BYTES 512

/* What became of a reload; owned by the reload, valid in the callback. */
struct reload_result {
    bool ok;
    bool refused;                         /* it was not tried: `text` says why */
    uint32_t generation;                  /* the one in use now */
    char text[APP_TEXT_BYTES];            /* "generation 8 active, 3 routes changed, 2 listeners kept" */
    const struct conf_findings *findings; /* NULL when it was not tried */
};
typedef void (*reload_cb)(void *owner, const struct reload_result *result);

/* One reload at a time: read on the worker, taken into use on the loop. */
struct reload {
    struct app *app; /* borrowed: the owner */
    struct work work;
    bool busy;
    bool again;                /* HUP came meanwhile: once more after this one */
    reload_cb done;            /* NULL: nobody waits (HUP) */
    void *owner;               /* of done */
    /* What the worker made. */
    struct conf_findings *findings;
    struct conf *conf;         /* NULL: refused */
    struct generation_parts tls; /* valid when conf is not NULL */
    /* For /metrics and status. */
    bool last_ok;
    uint64_t last_us;          /* wall; the last attempt */
    uint64_t last_ok_us;       /* wall; the last success */
    char last_text[APP_TEXT_BYTES];
};

struct app {
    const char *path;          /* of the configuration; borrowed from argv */
    struct log *log;
    struct log_sink sinks[LOG_STREAM_COUNT];  /* where the logs go; `to` NULL: nowhere yet */
    char *sink_paths[LOG_STREAM_COUNT];       /* owned; what `to` points at */
    struct stats *stats;
    struct loop *loop;
    struct worker *worker;
    struct tls_tickets *tickets;
    struct timer tickets_timer;
    struct upstream *upstream;
    struct gate *gate;
    struct records records;    /* the store */
    struct descriptors_plan descriptors;
    struct gate_inherited inherited[GATE_INHERITED_MAX];
    int inherited_count;
    uint32_t generation_count; /* numbers given so far */
    uint64_t started_us;       /* wall */
    struct httpd *monitor;     /* NULL: none */
    struct httpd *admin;       /* NULL: none */
    struct notify notify;
    struct reload reload;
    struct drain drain;
    struct process_metrics *process;
};

/* The configuration in use. NULL before the first. */
const struct conf *app_conf(const struct app *app);
/* Answers /readyz: NULL when ready, else why not. */
const char *app_not_ready(const struct app *app);

/* reload.c */
void reload_init(struct reload *reload, struct app *app);
/*
 * Reads the file again and takes it into use. done (may be NULL) is called
 * once, perhaps before this returns (when refused). `actor` is logged.
 */
void reload_begin(struct reload *reload, reload_cb done, void *owner, const char *actor);
/* From the loop or before it: takes a loaded configuration into use. `why` (size bytes) says what failed. */
WEIR_MUSTCHECK bool app_use(struct app *app, struct conf *conf, struct generation_parts *tls, char *why, size_t size);

/* signals.c */
WEIR_MUSTCHECK bool signals_open(struct app *app);
/* monitor.c and admin.c: false: `why` says what failed. Nothing is opened where the configuration has none. */
WEIR_MUSTCHECK bool monitor_open(struct app *app, const struct conf *conf, char *why, size_t size);
WEIR_MUSTCHECK bool admin_open(struct app *app, const struct conf *conf, char *why, size_t size);

/* process.c: the metrics of the process itself, and what is printed of the generation in use. */
WEIR_MUSTCHECK bool process_metrics_open(struct app *app);
/* Before the loop closes. */
void process_metrics_stop(struct app *app);
void process_metrics_close(struct app *app);
/* Appends the series whose labels change with the generation (a series of stats would stay for ever). */
WEIR_MUSTCHECK enum err process_metrics_print_generation(const struct app *app, struct buf *out);

/* report.c: the answers of the admin API as JSON, and the state as events. */
void report_status(const struct app *app, struct json *json);
void report_reload(const struct reload_result *result, struct json *json);
void report_dump(const struct app *app);

/* show.c: the same as short tables for a terminal. False: it did not fit. */
WEIR_MUSTCHECK bool show_status(const struct app *app, struct buf *out);
WEIR_MUSTCHECK bool show_reload(const struct reload_result *result, struct buf *out);

#endif
