/*
 * Shedding, pure: which requests are turned away so that payments are not, when
 * the process has more to do than it can. A controller looks at the loop every
 * SHED_TURN_US and moves a level slowly; each class of request loses its share
 * by that level, the least important first; payments never do.
 *
 * Overloaded means standing delay, not a burst: for nearly all of an interval,
 * who came had to wait (after CoDel: Nichols and Jacobson, ACM Queue 10(5),
 * 2012; RFC 8289). Rising fast and falling slowly keeps it from flapping.
 * docs/limits.md says it to operators.
 */
#ifndef WEIR_POLICY_SHED_H
#define WEIR_POLICY_SHED_H

#include <stdbool.h>
#include <stdint.h>

/* In the order in which they are kept: the last is shed first. Names are those of routes.NAME.class. */
enum shed_class {
    SHED_PAYMENT, /* never by level; its replays and questions for an outcome are such, too */
    SHED_WRITE,
    SHED_READ,
    SHED_LIST,
    SHED_TEST,
    SHED_BACKGROUND,
    SHED_CLASS_COUNT
};
const char *shed_class_name(enum shed_class class); /* "payment" */

/* Of a request whose route says nothing: by its method, and whether it may have a record. */
static inline enum shed_class shed_class_of(bool safe_method, bool may_have_record)
{
    return safe_method ? SHED_READ : may_have_record ? SHED_PAYMENT : SHED_WRITE;
}

#define SHED_TURN_US UINT64_C(100000)
#define SHED_LEVEL_MAX 400u

/* What a turn of the controller looks at: the time since the last one. */
struct shed_signals {
    uint64_t delay_us;      /* that nearly all who came had to wait for others (loop_load.delay_us) */
    uint32_t busy_permille; /* of the time the loop was at work */
    uint32_t full_permille; /* of the bytes that may be buffered */
    uint32_t clients_permille; /* of the clients that there may be: idle ones, too, and shedding ends none of them, so
                                * that these alone cost test and background and no more */
};

/* One per loop; zeroed at first. Only shed_turn and shed_refuses write it. */
struct shed {
    uint32_t level;                  /* 0 to SHED_LEVEL_MAX */
    uint32_t raises;                 /* in a row: the first are small */
    uint64_t raised_us, lowered_us;  /* when it last was; 0: never */
    bool fell_wrongly;               /* the last rise took a fall back */
    uint64_t relaxed_since_us;       /* no delay, and a little time left over; 0: it is not so */
    uint64_t spare_since_us;         /* ditto, and plenty of it */
    uint32_t owed[SHED_CLASS_COUNT]; /* thinning: what a class has to lose yet, in percent of a request */
};

/*
 * Moves the level, by 100 a second at most upwards and by 10 downwards, however
 * seldom or often it is asked. True: it left 0, or came back to it.
 */
bool shed_turn(struct shed *shed, const struct shed_signals *signals, uint64_t now_us);
/* Of a hundred requests of this class so many are shed now. */
uint32_t shed_share(const struct shed *shed, enum shed_class class);
/*
 * Whether this request is one of them: evenly thinned, without chance. While
 * there is standing delay, one that waited for long (`waited_us`, in its turn of
 * the loop) is judged as by a higher level, up to all but payments and writes:
 * the turn gets shorter at once, whatever the level has to rise yet.
 */
bool shed_refuses(struct shed *shed, enum shed_class class, uint64_t waited_us);
/*
 * How long the answer to one that is shed is held back: the longer, the larger
 * the share that its class loses as it was judged. Turning away costs nearly
 * half of what serving costs, and who is answered at once asks again at once;
 * who waits does not.
 */
#define SHED_HOLD_US_MAX UINT64_C(500000)
uint64_t shed_hold_us(const struct shed *shed, enum shed_class class, uint64_t waited_us);
/*
 * How much of a processor's concurrency the class may fill, of `whole` (at
 * least 1): the rest is kept for those above it.
 */
uint32_t shed_room(enum shed_class class, uint32_t whole);

#endif
