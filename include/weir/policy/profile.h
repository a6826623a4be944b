/*
 * How one processor's API behaves: where its idempotency key stands, whether it
 * de-duplicates, which statuses prove something, and what shape of error its
 * SDK understands. Data, not code.
 */
#ifndef WEIR_POLICY_PROFILE_H
#define WEIR_POLICY_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"
#include "weir/base/json.h"
#include "weir/policy/reason.h"

struct profile {
    const char *name;
    bool deduplicates;        /* the processor executes one key once */
    struct bytes key_field;   /* header of the key, lower case */
    bool stripe_errors;       /* error bodies also carry Stripe's `error` object */
    bool stripe_should_retry; /* answers of weir carry Stripe-Should-Retry */
};

/* Static. NULL: no such profile. */
const struct profile *profile_find(struct bytes name);
const struct profile *profile_at(int index); /* NULL behind the last */

/*
 * Whether a complete answer of this status proves what happened (classes E+
 * and E- of the idempotency protocol): 408, 500, 502, 503, 504 and 52x prove
 * nothing.
 */
bool profile_is_definite(const struct profile *profile, uint16_t status);

/* The status of weir's own answer for `reason` under this profile. */
uint16_t profile_status(const struct profile *profile, enum reason reason);

/*
 * The body of weir's own answer: RFC 9457 problem+json and what the SDK needs
 * (stripe-node takes a body without `error` for success).
 */
void profile_error_body(const struct profile *profile, struct json *json, enum reason reason, enum outcome outcome,
                        enum retry retry, const char *request_id, const char *detail);

/* `weir explain profiles.NAME`. malloc'ed. */
char *profile_explain(const struct profile *profile);

#endif
