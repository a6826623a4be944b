/*
 * Deadlines. A hashed wheel of 8 ms slots over one libuv timer: setting,
 * moving and stopping a deadline is a few stores, so a request may move its own
 * at every phase. A deadline that moves later is not relinked until its slot
 * comes up. Fires at or after its time, never before; late by at most a slot
 * and the turn.
 */
#ifndef WEIR_IO_TIMER_H
#define WEIR_IO_TIMER_H

#include <stdint.h>

#include "weir/base/list.h"

struct loop;
struct timer;
typedef void (*timer_cb)(struct timer *timer);

/* Embedded by its owner, who uses container_of. Stop it before the memory goes. */
struct timer {
    struct list in_slot;
    struct loop *loop; /* borrowed */
    timer_cb fire;
    uint64_t due_us;  /* by clock_now_us; 0: stopped */
    uint64_t slot_us; /* start of the slot it is linked in */
};

void timer_init(struct timer *timer, struct loop *loop, timer_cb fire);
/* Sets or moves the deadline. One that has passed fires in the next turn. */
void timer_set(struct timer *timer, uint64_t due_us);
void timer_set_after(struct timer *timer, uint64_t delay_us);
/* Idempotent. */
void timer_stop(struct timer *timer);
static inline int timer_armed(const struct timer *timer)
{
    return timer->due_us != 0;
}

#endif
