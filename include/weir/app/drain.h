/*
 * Stopping: /readyz turns at once, listeners go on for shutdown.announce, then
 * close; requests finish for up to shutdown.drain, then are cut.
 */
#ifndef WEIR_APP_DRAIN_H
#define WEIR_APP_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/gate/gate.h"
#include "weir/io/loop.h"
#include "weir/io/timer.h"

struct app;

enum drain_state {
    DRAIN_NONE,      /* serving */
    DRAIN_ANNOUNCED, /* not ready, still accepting */
    DRAIN_WAITING,   /* listeners closed; what is under way finishes */
    DRAIN_DONE,      /* nothing is left; the loop ends */
};

struct drain {
    struct app *app; /* borrowed: the owner */
    enum drain_state state;
    struct timer timer;
    struct deferred finish;
    uint64_t finished_before; /* exchanges that had finished when it began */
    uint32_t cut_count;
};

void drain_init(struct drain *drain, struct app *app);
/* TERM: begins, or, when it has begun, ends everything now. */
void drain_step(struct drain *drain, const char *cause);
bool drain_begun(const struct drain *drain);
/* "serving", "announced", "draining", "stopped" */
const char *drain_state_name(enum drain_state state);
void drain_close(struct drain *drain);

/* Exchanges that had begun and are over. */
uint64_t drain_finished_count(const struct gate_state *state);

#endif
