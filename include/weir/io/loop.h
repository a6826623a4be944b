/*
 * The loop of a process: one thread, its block supply, its deferred work. Every
 * turn runs timers, then events, then what was deferred; what was closed during
 * the turn is freed after it, never inside a callback.
 *
 * libuv is known to src/io alone; everything above speaks these headers, and
 * the simulator links other object files under them.
 */
#ifndef WEIR_IO_LOOP_H
#define WEIR_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/blocks.h"
#include "weir/base/list.h"

struct loop;
struct uv_loop_s;

/* `buffers_bytes`: the bound on all buffered bytes. NULL on no memory. */
WEIR_MUSTCHECK struct loop *loop_open(size_t buffers_bytes);
/* Runs until loop_stop, or until nothing is left to wait for. */
void loop_run(struct loop *loop);
/* Ends loop_run after this turn. */
void loop_stop(struct loop *loop);
/*
 * Everything must have been closed before; runs the loop until libuv agrees.
 * False: something was left open (a defect; tests assert it), and the loop leaks.
 */
bool loop_close(struct loop *loop);

/* The supply of this loop; borrowed. */
struct blocks *loop_blocks(struct loop *loop);

/*
 * Work for the end of this turn, in the order it was asked for. Work that is
 * deferred meanwhile runs in the next turn.
 */
struct deferred {
    struct list in_deferred;
    void (*run)(struct deferred *deferred); /* set by deferred_init */
};
void deferred_init(struct deferred *deferred, void (*run)(struct deferred *deferred));
/* Idempotent until it has run. */
void loop_defer(struct loop *loop, struct deferred *deferred);
void loop_undefer(struct deferred *deferred);

/*
 * The time of the event that is being handled, by clock_now_us: read at most
 * once an event, so that asking is free. Right for deadlines and for what an
 * event notes; clock_now_us is for measuring within one.
 */
uint64_t loop_now_us(struct loop *loop);
/* For how long this turn has been handling others already: what this event waited at least. */
uint64_t loop_waited_us(struct loop *loop);

/* Microseconds spent waiting for events since the start (uv_metrics_idle_time), and since the start in all. */
uint64_t loop_idle_us(const struct loop *loop);
uint64_t loop_total_us(const struct loop *loop);

/*
 * How a loop fared since the last call, which begins the next interval; zeros
 * where it has not turned since.
 *
 * A turn's work is all that it does beside waiting: the callbacks of what the
 * poll found, what was deferred, what was closed, and the timers before the
 * next poll (libuv runs callbacks within its poll, so check and prepare do not
 * enclose them: work is the time from poll to poll less the time that libuv
 * counts as idle). What comes while a turn works waits for its end, and then
 * for those before it in the next: about one turn's work.
 *
 * One long turn is no overload: a burst, or a timer's heavy work. So the delay
 * is what nine tenths of the interval were not better than, waiting being 0:
 * with more than a tenth of the time left over it is 0, and a few short turns
 * among long ones do not hide these, as they would a plain minimum. The time is
 * the wall clock's: what other processes take of the core counts, since callers
 * wait for it.
 */
struct loop_load {
    uint64_t delay_us;      /* standing delay; up to a fifth less than it was */
    uint64_t work_us_max;   /* the longest turn */
    uint64_t late_us_max;   /* the most that a timer was late, its grain of 8 ms included: sees what stops the process, too */
    uint32_t busy_permille; /* of the interval, not spent waiting for events */
};
void loop_load_take(struct loop *loop, struct loop_load *load);

/* A signal of the process; `signum` as in signal.h. At most 8. The callback runs as a loop event.
 * After loop_close the signal is ignored. */
typedef void (*loop_signal_cb)(void *owner, int signum);
WEIR_MUSTCHECK bool loop_on_signal(struct loop *loop, int signum, loop_signal_cb cb, void *owner);

/* For src/io alone. */
struct uv_loop_s *loop_uv(struct loop *loop);

#endif
