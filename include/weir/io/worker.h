/*
 * One thread beside the loop for work that may block (files, fsync), with a
 * bounded queue. Done work comes back as a loop event, in order.
 */
#ifndef WEIR_IO_WORKER_H
#define WEIR_IO_WORKER_H

#include <stddef.h>

#include "weir/base/err.h"

struct loop;
struct worker;

/* Embedded by its owner; must stay alive until done() was called. */
struct work {
    void (*run)(struct work *work);  /* on the thread */
    void (*done)(struct work *work); /* on the loop */
    struct work *next;               /* the worker's */
};

WEIR_MUSTCHECK struct worker *worker_open(struct loop *loop, size_t queue_max);
/*
 * A worker that takes what waits as one: whenever its thread comes round, run_batch gets all of it, up to `batch_max`
 * pieces linked by next, in the order in which they were submitted, and their run() is not called. While it runs, the
 * next batch gathers. `done` of each follows when the batch is through.
 */
typedef void (*worker_run_batch)(void *owner, struct work *first);
WEIR_MUSTCHECK struct worker *worker_open_batching(struct loop *loop, size_t queue_max, size_t batch_max,
                                                   worker_run_batch run_batch, void *owner);
/* ERR_FULL: queue_max pieces wait already. */
WEIR_MUSTCHECK enum err worker_submit(struct worker *worker, struct work *work);
/* Waits for queued work, then ends the thread. done() is called for all of it by the loop before it closes. */
void worker_close(struct worker *worker);

#endif
