/*
 * Shedding at the gate: what class a request is of, and whether it is turned
 * away now. The controller is policy/shed.h; here are its signals, its timer,
 * its counts and its events.
 */
#ifndef WEIR_GATE_SHEDDING_H
#define WEIR_GATE_SHEDDING_H

#include "weir/base/stats.h"
#include "weir/io/timer.h"
#include "weir/policy/shed.h"

struct exchange;
struct gate;

/* Of one gate. */
struct shedding {
    struct shed shed;
    struct timer timer; /* SHED_TURN_US after a request, and while the level is not 0 */
    stats_id stat_level, stat_delay, stat_shed[SHED_CLASS_COUNT];
};

void shedding_open(struct gate *gate);
void shedding_close(struct gate *gate);

/*
 * The class of a request whose route is known, or that asks for an outcome: a
 * payment's, too. What the route says, else by the request: safe methods read,
 * others write, and those that may have a record pay. A credential of test
 * traffic makes it a test. A caller cannot raise it.
 */
enum shed_class shedding_class(const struct exchange *x);
/*
 * The request's route is known and nothing of it was done: whether it is turned
 * away, by level; one that has a record is not. Starts the timer where it rests.
 */
bool shedding_refuses(struct exchange *x);
/* It was turned away. */
void shedding_count(struct exchange *x);
/* How long the answer to such a request is held back; 0: it is not, and never where connections or buffers run short. */
uint64_t shedding_hold_us(const struct exchange *x);
/* Before a link: whether the share of the processor's concurrency that its class may fill is in use. Counts it. */
bool shedding_refuses_link(struct exchange *x);

#endif
