/*
 * Why an answer is what it is: one table (policy/reason.def) that feeds the
 * reply, the access log, the metric label, `weir explain` and docs/reasons.md.
 * Names, statuses and outcomes are a contract with merchants (docs/reasons.md).
 */
#ifndef WEIR_POLICY_REASON_H
#define WEIR_POLICY_REASON_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"

enum outcome {
    OUTCOME_NOT_SENT, /* nothing of this request went to a processor */
    OUTCOME_ANSWERED, /* a definite answer of the processor */
    OUTCOME_UNKNOWN,  /* sent, without a definite answer */
    OUTCOME_REPLAYED, /* the stored answer */
    OUTCOME_COUNT
};

enum retry {
    RETRY_NO,       /* it would fail again, or could pay twice */
    RETRY_SAFE,     /* nothing was sent and no key binds the caller */
    RETRY_SAME_KEY, /* again with the same key: it finds the truth, and cannot pay twice */
    RETRY_COUNT
};

/* What a row of the table says of retrying; reason_retry settles it for one request. */
enum reason_hint {
    HINT_NO,      /* the request must change first */
    HINT_AGAIN,   /* later, as it is */
    HINT_TRUTH,   /* only where a retry with the key can find the truth */
};

enum reason {
#define REASON(NAME, letters, name, status, outcome, hint, sentence, meaning, causes, first) REASON_##NAME,
#include "weir/policy/reason.def"
#undef REASON
    REASON_COUNT
};

/* Two letters for the log, "RT"; "OK" for REASON_OK. */
const char *reason_code(enum reason reason);
/* "response_timeout"; "ok" for REASON_OK. */
const char *reason_name(enum reason reason);
/* What weir answers; a profile may override it. 0 for REASON_OK. */
uint16_t reason_status(enum reason reason);
enum outcome reason_outcome(enum reason reason);
/* One sentence for the caller. */
const char *reason_sentence(enum reason reason);
/*
 * The same for one request: a streamed request can end for a reason that
 * otherwise says that nothing was sent, after a part of it was.
 */
const char *reason_sentence_for(enum reason reason, enum outcome outcome);
/* For the operator: what it means, likely causes, what to do first. */
const char *reason_meaning(enum reason reason);
const char *reason_causes(enum reason reason);
const char *reason_first(enum reason reason);
/* By name or code, any case; REASON_COUNT: there is none. */
enum reason reason_find(struct bytes text);

/* What the hint of a reason is settled with. */
struct reason_asker {
    bool safe_method; /* GET, HEAD, OPTIONS: it moves nothing, however often it is sent */
    bool keyed;       /* the request carries an idempotency key */
    bool finds_truth; /* a retry with that key still reaches a memory that knows the first attempt */
    bool sent;        /* a byte of this request went to a processor */
};

/* What the caller may do. A keyed request never gets RETRY_SAFE. */
enum retry reason_retry(enum reason reason, const struct reason_asker *asker);

const char *outcome_name(enum outcome outcome); /* "not_sent" */
const char *retry_name(enum retry retry);       /* "same_key" */

/* docs/reasons.md, whole. malloc'ed; NULL on no memory. */
char *reason_reference_markdown(void);
/* `weir explain REASON`. malloc'ed. */
char *reason_explain(enum reason reason);

#endif
