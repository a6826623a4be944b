/*
 * A circuit breaker, pure: from how calls went, whether the next one may go.
 * One for each endpoint (connections, gateway failures, slowness, silence) and
 * one for each route at a processor (its application's 500s). Values and `now`
 * in, a verdict and a change to tell out; no clock, no loop, no memory.
 *
 *   CLOSED --too many fail or are slow, or no answer comes at all--> OPEN
 *   OPEN --its time is over, or two checks passed--> HALF_OPEN, in stages that let more and more through
 *   HALF_OPEN --a probe failed--> OPEN, for longer      HALF_OPEN --the last stage is through--> CLOSED
 *
 * What counts: a decline is health; 429 is back-pressure and says nothing; what
 * weir refused itself never comes here. One caller cannot open it for others:
 * the share of failures must be as large whichever one caller is left out,
 * unless nobody else calls; so must that of slow calls. Calls in flight that are
 * overdue count as slow now, not when they end. The first probe of a processor
 * is a check, a read or test traffic, before it is ever a payment. What began
 * before it opened says nothing about what came after.
 *
 * Sources: Nygard, "Release It!" (the pattern); Amazon Builders' Library,
 * "Timeouts, retries and backoff with jitter". docs/processors.md says it to
 * operators.
 */
#ifndef WEIR_POLICY_BREAKER_H
#define WEIR_POLICY_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/list.h"

#define BREAKER_BUCKETS 10      /* parts of the sliding window */
#define BREAKER_CALLERS 64      /* callers are told apart by their hash modulo this */
#define BREAKER_STAGES 5        /* of HALF_OPEN; the first lets one probe through at a time */
#define BREAKER_TURN_US UINT64_C(100000) /* call breaker_turn as often while it is not at rest */
#define BREAKER_UNREACHED_MAX 5 /* connects and timeouts in a row that open it at once */
#define BREAKER_FAILED_MAX 20   /* failures in a row that open it whatever the window holds, if min_requests is not more, */
#define BREAKER_OTHERS_MIN 5    /* and so many of them are not of the one caller with the most */
/* Overdue calls that open it if no answer comes; fewer where `places` is lower, one where it was busy until it fell silent. */
#define BREAKER_SILENT_MIN 5
/* For so long after HALF_OPEN began a payment waits for something else to be the first probe. */
#define BREAKER_WAIT_KEYED_US UINT64_C(1000000) /* one that the processor executes once whatever happens */
#define BREAKER_WAIT_BARE_US UINT64_C(5000000)  /* any other */
#define BREAKER_STAGE_US UINT64_C(1000000)      /* a stage behind the first lasts at least this long */
#define BREAKER_IDLE_US UINT64_C(30000000)      /* a stage without a call for so long takes a check for one more success */
#define BREAKER_DECAY_US UINT64_C(30000000)     /* of health, for each time that it opened, until that is forgotten */
#define BREAKER_OPENED_MAX 7                    /* its time open doubles no further */
#define BREAKER_EXCUSED_MAX 3                   /* probes of one caller that may fail again before they count */

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_STATE_COUNT };
const char *breaker_state_name(enum breaker_state state); /* "closed", "open", "half_open" */

enum breaker_forced { BREAKER_AUTO, BREAKER_FORCED_OPEN, BREAKER_FORCED_CLOSED };
const char *breaker_forced_name(enum breaker_forced forced); /* "auto", "open", "closed": as `weir breaker` takes them */

/* Why it changed last; the metric's label and the event's word. */
enum breaker_cause {
    BREAKER_CAUSE_NONE,      /* it never did */
    BREAKER_CAUSE_UNREACHED, /* so many connects or timeouts in a row */
    BREAKER_CAUSE_FAILURES,  /* the share of calls that failed, or so many in a row */
    BREAKER_CAUSE_SLOW,      /* the share of calls that are slow, overdue ones included */
    BREAKER_CAUSE_SILENT,    /* calls are overdue, and for as long as a call may take no answer has come */
    BREAKER_CAUSE_PROBE,     /* a probe failed */
    BREAKER_CAUSE_TIME,      /* its time was over: it may be probed */
    BREAKER_CAUSE_CHECKS,    /* checks pass: it may be probed sooner */
    BREAKER_CAUSE_RECOVERED, /* it is closed again */
    BREAKER_CAUSE_OPERATOR,
    BREAKER_CAUSE_EXPIRED,   /* what the operator said is over */
    BREAKER_CAUSE_COUNT
};
const char *breaker_cause_name(enum breaker_cause cause); /* "unreached", "failures", ... */

/* processors.NAME.breaker; shares in permille. */
struct breaker_settings {
    uint64_t window_us;
    uint32_t min_requests;
    uint32_t open_at_permille, slow_at_permille;
    uint64_t slow_us;
    uint64_t open_for_us, open_max_us;
    uint32_t places;   /* calls that can be in flight at once */
    bool checked;      /* there are active checks that need an answer: payments leave the first probe to them, */
    uint64_t check_us; /* unless none says anything: one takes this long at most, and BREAKER_WAIT_BARE_US go by as well */
};

/* What a call may be the first probe for: the order in which they are preferred. */
enum breaker_rank {
    BREAKER_BY_READ,  /* a safe method, or test traffic */
    BREAKER_BY_KEYED, /* a payment that the processor de-duplicates */
    BREAKER_BY_BARE,  /* any other */
};

/* How a call went. */
enum breaker_outcome {
    BREAKER_OK,        /* an answer of the processor, a refusal or a decline, too */
    BREAKER_NEUTRAL,   /* says nothing: 429, 408, a client that left, a reused link that broke before a byte went out */
    BREAKER_FAILED,    /* a status that counts, a reset, an answer that is none: perhaps by this request's own doing */
    BREAKER_TIMED_OUT, /* failed, and slow */
    BREAKER_UNREACHED, /* no connection: nobody's request is to blame, and nothing was sent */
};

/* A call in flight, embedded in whoever makes it. Only the breaker writes it. */
struct breaker_flight {
    struct list in_flights;
    uint64_t began_us;
    uint32_t era;    /* that it began in; it counts in no other */
    uint8_t caller;  /* below BREAKER_CALLERS */
    bool overdue;
};

struct breaker_bucket {
    uint32_t ok, failed, slow; /* slow ones are among the other two */
    /* Of each caller; UNREACHED is nobody's. A caller whose count is full is not counted further, in the sums either. */
    uint16_t callers_ok[BREAKER_CALLERS], callers_failed[BREAKER_CALLERS], callers_slow[BREAKER_CALLERS];
};

/* What a change says. Numbers are those that decided it. */
struct breaker_change {
    enum breaker_state from, to;
    enum breaker_cause cause;
    uint32_t calls, failed, slow; /* in the window; of HALF_OPEN: in the stage */
    uint32_t in_flight, overdue;
    uint32_t in_a_row;            /* UNREACHED and TIMED_OUT */
    uint32_t failed_in_a_row;
    uint64_t lasted_us;           /* that it was in `from` */
    uint64_t open_us;             /* to OPEN: for so long */
};

struct breaker {
    struct breaker_settings settings;
    enum breaker_state state;     /* only the setter in breaker.c writes it */
    enum breaker_forced forced;
    uint64_t forced_until_us;
    uint64_t since_us;            /* in this state */
    uint64_t until_us;            /* OPEN: then HALF_OPEN */
    uint32_t opened_count;        /* without evidence of health since, at most BREAKER_OPENED_MAX: the time open doubles with it */
    uint64_t decay_us;            /* when that was last lowered, or looked at */
    uint32_t decay_calls, decay_failed; /* since */
    /* The window. In HALF_OPEN it is the stage: it begins with it and does not slide. */
    struct breaker_bucket buckets[BREAKER_BUCKETS];
    uint64_t bucket_length_us;
    uint64_t bucket_us;           /* start of the newest bucket */
    uint32_t bucket;              /* index of the newest */
    uint32_t ok, failed, slow;    /* sums over the window, and those of each caller */
    uint32_t callers_ok[BREAKER_CALLERS], callers_failed[BREAKER_CALLERS], callers_slow[BREAKER_CALLERS];
    uint32_t in_a_row;            /* UNREACHED and TIMED_OUT */
    uint8_t row_caller;           /* of the first in that row, */
    bool row_mixed;               /* and whether another had part in it, or nobody's request is to blame */
    uint32_t failed_in_a_row;     /* whatever way; the slots below saturate */
    uint16_t row_failed[BREAKER_CALLERS]; /* of each caller */
    uint64_t answered_us;         /* when an answer last came; 0: none did */
    uint32_t answered_calls;      /* in the window then */
    /* Calls in flight, of struct breaker_flight, the oldest first in each, and each list older than the one before. */
    struct list flights, flights_overdue, flights_past; /* past: of an era before */
    uint32_t in_flight;           /* in all three */
    uint32_t era;                 /* begins with HALF_OPEN, and anew with what an operator had forced closed */
    uint32_t era_in_flight, overdue, callers_overdue[BREAKER_CALLERS]; /* of this era */
    uint8_t checks_passed;        /* in a row, while OPEN */
    bool check_failed;            /* one did since it opened */
    /* HALF_OPEN */
    uint8_t stage;
    uint64_t stage_us;            /* began */
    bool stage_called;            /* it had a call, and began with that */
    uint64_t stage_call_us;       /* when it last had a call */
    uint32_t owed;                /* thinning, in permille of a call */
    bool opened_many;             /* several callers called when it opened */
    uint8_t probe_caller;         /* 1 + whose probe failed last; 0: nobody's */
    uint8_t excused;              /* probes of that caller that failed again */
    struct breaker_change change; /* the last */
};

/* `now_us` as in all that follows: one clock, never 0. */
void breaker_init(struct breaker *breaker, const struct breaker_settings *settings, uint64_t now_us);
/* Of a newer configuration: counts and state stay; a window of another length begins anew. */
void breaker_configure(struct breaker *breaker, const struct breaker_settings *settings, uint64_t now_us);

/*
 * Whether a call of this rank may go now. In HALF_OPEN each asking counts
 * towards the share that is let through: ask once for a call that would go.
 */
bool breaker_admits(struct breaker *breaker, enum breaker_rank rank, uint64_t now_us);
/* It goes. `caller`: any hash of who calls. Every begin has its end; also one that was not asked for. */
void breaker_begin(struct breaker *breaker, struct breaker_flight *flight, uint32_t caller, uint64_t now_us);
/* True, as of all that follow: the state changed, breaker->change says how. `random`: for the jitter of the time open. */
WEIR_MUSTCHECK bool breaker_end(struct breaker *breaker, struct breaker_flight *flight, enum breaker_outcome outcome,
                                uint64_t random, uint64_t now_us);
/*
 * An active check passed or failed. It helps out of OPEN and through the first
 * stage, and closes nothing by itself. Two that pass in a row end OPEN sooner,
 * unless it opened more than once and no check failed since: those do not see what is wrong.
 */
WEIR_MUSTCHECK bool breaker_checked(struct breaker *breaker, bool passed, uint64_t random, uint64_t now_us);
/* Time goes by: calls become overdue, OPEN ends, an operator's word expires. At most one change at a time: call until false. */
WEIR_MUSTCHECK bool breaker_turn(struct breaker *breaker, uint64_t random, uint64_t now_us);
/* An operator's word, until `until_us` (not for AUTO). Out of FORCED_OPEN it is probed like any other that was open. */
WEIR_MUSTCHECK bool breaker_force(struct breaker *breaker, enum breaker_forced forced, uint64_t until_us, uint64_t now_us);

/* Nothing is in flight and nothing is to come by time alone: breaker_turn need not be called. */
bool breaker_rests(const struct breaker *breaker);
/* For how long one that is refused now had better wait; at least 1. */
uint64_t breaker_wait_us(const struct breaker *breaker, uint64_t now_us);
/* Began of the oldest call in flight; 0: none is. */
uint64_t breaker_oldest_us(const struct breaker *breaker);

/*
 * What a status of an answer says, once for the breaker of the endpoint and
 * once for that of the route: 502, 503 and 504 are of the endpoint (a gateway's
 * word), 500 is of the route's application; 429, 408, 421 and 425 say nothing;
 * every other is health.
 */
enum breaker_outcome breaker_outcome_of_endpoint(uint16_t status);
enum breaker_outcome breaker_outcome_of_route(uint16_t status);

#endif
