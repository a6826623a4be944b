/*
 * What active checks of one endpoint come to, pure: results in, up or down and
 * the time of the next check out. A check that passes never closes a breaker by
 * itself (policy/breaker.h); one that fails `down_after` times in a row takes
 * the endpoint out, whatever its calls say.
 */
#ifndef WEIR_POLICY_HEALTH_H
#define WEIR_POLICY_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_HURRY_US UINT64_C(500000)  /* between checks while it is not settled, if that is sooner */
#define HEALTH_FIRST_US UINT64_C(1000000) /* the first is made within this time, if that is sooner than every_us */

enum health_state {
    HEALTH_UNKNOWN, /* no check has ended yet: it is used */
    HEALTH_UP,
    HEALTH_DOWN,
    HEALTH_STATE_COUNT
};
const char *health_state_name(enum health_state state); /* "unknown", "up", "down" */

struct health_settings {
    uint64_t every_us;
    uint32_t down_after, up_after;
};

struct health {
    enum health_state state;  /* only health_note writes it */
    uint32_t passed, failed;  /* in a row */
    uint64_t since_us;        /* in this state; 0: since the start */
};

/* A check ended. True: the state changed. From UNKNOWN one that passes is enough; going down takes all of down_after. */
bool health_note(struct health *health, const struct health_settings *settings, bool passed, uint64_t now_us);
/* No check has said otherwise since it is in this state. */
bool health_settled(const struct health *health);
/*
 * From the end of a check to the next one, with +-25 % of jitter: every_us, or
 * HEALTH_HURRY_US if it is not settled or `hurry` says so. `first`: none was
 * made yet; anywhere within the time, so that many weirs are spread.
 */
uint64_t health_wait_us(const struct health *health, const struct health_settings *settings, bool first, bool hurry,
                        uint64_t random);

#endif
