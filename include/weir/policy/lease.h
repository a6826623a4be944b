/*
 * Prepaid tokens, pure: what one weir knows of one caller's limit whose bucket
 * is in the store, and when it has to ask. Tokens are charged to the bucket
 * before they are used and expire LEASE_US after they were asked for, so for
 * any number of weirs and any window w
 *
 *     admitted in w  <=  burst + rate * (w + LEASE_US)
 *
 * and over any long run exactly the rate: every admission uses a token of its
 * own, charged within LEASE_US before (docs/limits.md has the proof). Two rules
 * keep the fleet from starving itself: no weir holds more than
 * burst / (2 * fleet) that nobody waits for, and one that was refused asks again
 * no sooner than the fleet's turn comes round (tests/unit/policy/lease_test.c
 * runs the model without each of them).
 *
 * No clock of its own: `now_us` is the asker's, the same for all calls of one
 * lease. Nothing is allocated.
 */
#ifndef WEIR_POLICY_LEASE_H
#define WEIR_POLICY_LEASE_H

#include "weir/policy/limit.h"

/* How long prepaid tokens may be used, from the moment they were asked for. */
#define LEASE_US UINT64_C(200000)
/* So much demand is asked for at once. */
#define LEASE_TARGET_US UINT64_C(50000)
/* The least and the most that a weir waits after a refusal, before jitter. */
#define LEASE_REST_MIN_US UINT64_C(20000)
#define LEASE_REST_MAX_US UINT64_C(250000)

/*
 * A refusal is remembered for no longer, however long the caller was told to
 * wait: a limit that was raised, a store that is away or has lost its data shows
 * within a second, at the cost of one question a second for each refused caller.
 */
#define LEASE_DENIED_MAX_US UINT64_C(1000000)

/* One limit of one caller here. All zero: nothing is known. */
struct lease {
    uint64_t tokens[2];      /* two runs of tokens, the older first */
    uint64_t expires_us[2];
    uint64_t denied_until_us;
    uint64_t demand;         /* thousandths of a token a second, smoothed */
    uint64_t demanded_us;    /* when demand was noted last */
    uint64_t remaining;      /* in the bucket, as the store said last */
    uint64_t reset_at_us;    /* when its debt is paid, as the store said last */
    uint64_t refused_until_us; /* when a token may be had, as the store said last: Retry-After */
    uint64_t low_max;        /* so few in hand are low, at most; 0: not worth asking before they are used up */
    bool asking;             /* the store is being asked: one question at a time */
};

enum lease_word {
    LEASE_HAS,     /* a token is in hand */
    LEASE_DENIED,  /* the store refused, and it is too early to ask again */
    LEASE_ASK,     /* ask the store, or wait for the question that is under way */
};

/* One more request came. Before lease_look. */
void lease_note(struct lease *lease, uint64_t now_us);
enum lease_word lease_look(const struct lease *lease, uint64_t now_us);
/* Uses a token: lease_look said LEASE_HAS. */
void lease_use(struct lease *lease, uint64_t now_us);
/*
 * How many tokens to ask for, right after lease_note: at least 1, and with what
 * is in hand no more than burst / (2 * fleet), but as many as requests wait for
 * them, however many: those tokens are used at once and withheld from nobody.
 */
uint64_t lease_want(const struct lease *lease, const struct limit_rate *rate, uint32_t fleet, uint32_t waiting);
/*
 * Whether the next run should be asked for already, so that nobody waits:
 * `trip_us` is what a question takes. Not while the store is being asked.
 */
bool lease_runs_low(const struct lease *lease, uint64_t now_us, uint64_t trip_us);

/* The store was asked at `sent_us`. Sets asking. */
void lease_asked(struct lease *lease);
/*
 * What the store said. `granted` 0: refused; `random` (any number) spreads when
 * it is asked again.
 */
void lease_told(struct lease *lease, const struct limit_rate *rate, uint32_t fleet, uint64_t sent_us, uint64_t granted,
                const struct limit_told *told, uint64_t random, uint64_t now_us);
/* What the store said of the bucket with another question: nothing was asked for here. */
void lease_hear(struct lease *lease, const struct limit_told *told, uint64_t now_us);
/* No answer came. */
void lease_lost(struct lease *lease);
/* For RateLimit: tokens that this caller may still use, as far as is known here. */
uint64_t lease_remaining(const struct lease *lease, uint64_t now_us);

/* ---- whether the store is worth asking ---- */

/*
 * A store that does not answer costs a few requests their patience, then none:
 * LEASE_PATIENCE_RUN timeouts in a row, or half of at least
 * LEASE_PATIENCE_MIN questions of a second, and it is left alone but for one
 * question every LEASE_PROBE_US or so, which nobody waits for.
 */
#define LEASE_PATIENCE_RUN 5u
#define LEASE_PATIENCE_MIN 20u
#define LEASE_PROBE_US UINT64_C(250000)

struct lease_patience {
    bool away;             /* only the functions below write */
    uint32_t run;          /* failures in a row */
    uint64_t window_us;    /* when the running second began */
    uint32_t asked, failed;/* in it */
    uint64_t probe_us;     /* away: when the next question is due */
};

/* Whether a question may be asked that somebody waits for. */
static inline bool lease_may_wait(const struct lease_patience *patience)
{
    return !patience->away;
}
/* Away: whether a question is due, that nobody waits for. Says yes once each LEASE_PROBE_US, spread by `random`. */
bool lease_may_probe(struct lease_patience *patience, uint64_t random, uint64_t now_us);
/* A question was answered, or was not in time. True: `away` has changed. */
bool lease_heard(struct lease_patience *patience, bool answered, uint64_t now_us);

#endif
