/*
 * For how long an idle connection of one endpoint is worth taking, pure: learnt
 * from when the processor closes them, and from what its Keep-Alive says. A
 * connection that is closed by the processor while a request is on its way to
 * it loses that request, and nobody knows whether it was executed; so it is
 * prevented, not mended (RFC 9112 9.3, 9.5).
 */
#ifndef WEIR_POLICY_IDLE_H
#define WEIR_POLICY_IDLE_H

#include <stdint.h>

#define IDLE_START_US UINT64_C(4000000) /* below the 5 s that many servers have by default */
#define IDLE_MIN_US UINT64_C(10000)

#define IDLE_GROWS_US UINT64_C(60000000)  /* by a tenth each time */
#define IDLE_DOUBT_US UINT64_C(1000000)   /* the same, until a second closing confirms the first */

/*
 * A processor that closes one link after so long is believed at once. But one
 * that is restarted closes all of its links, however young: until it has closed
 * another, later and at a similar age, the limit goes back to what it was in a
 * minute instead of an hour.
 */
#define IDLE_RACE_US UINT64_C(250000) /* a kept link that ends so soon behind a request was being closed for its idleness */
#define IDLE_SURE_US UINT64_C(100000) /* nobody closes sooner: what need not be seen first */

struct idle_limit {
    uint64_t limit_us;   /* 0: not begun */
    uint64_t learnt_us;  /* when it was last lowered, raised or told */
    uint64_t told_us;    /* what Keep-Alive said, with its margin; 0: nothing */
    uint64_t closed_age_us, closed_us; /* the closing that taught it: how old the link was, and when; 0: none did */
    uint64_t before_us;  /* what it was before a closing that nothing confirmed yet; 0: there is no doubt */
    uint64_t seen_us;    /* the longest that a link was seen to be idle and still open, since the last closing that was sooner */
};

/* How long a link may have been idle, to be taken now; never above max_us. Grows by a tenth a minute while nothing is lost. */
uint64_t idle_limit_us(struct idle_limit *limit, uint64_t max_us, uint64_t now_us);
/*
 * The same for what must not be lost: no longer than three quarters of what a
 * link has been seen to last. Before the first is closed nothing is learnt, and
 * then all of a crowd that comes in step with the processor's timeout are lost.
 */
uint64_t idle_limit_sure_us(struct idle_limit *limit, uint64_t max_us, uint64_t now_us);
/* A link has been idle for so long, and is open. */
void idle_limit_seen(struct idle_limit *limit, uint64_t idle_us);
/* The processor closed a link that had been idle for so long, with a request just on its way to it or without. */
void idle_limit_closed(struct idle_limit *limit, uint64_t idle_us, uint64_t now_us);
/* `Keep-Alive: timeout=N` of an answer. Bounds it, and raises it where no closing taught less. */
void idle_limit_told(struct idle_limit *limit, uint32_t timeout_s, uint64_t now_us);

#endif
