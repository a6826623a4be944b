/*
 * How one processor's API behaves, as data: where its idempotency key stands,
 * for how long it de-duplicates, what its answers prove, and what shape of
 * error its SDK understands. Profiles are written in YAML, the built-in ones
 * (src/conf/profiles/) in the same words as the operator's own; the gate turns
 * what conf read into this struct.
 *
 * Sources of the rows: docs/profiles.md.
 */
#ifndef WEIR_POLICY_PROFILE_H
#define WEIR_POLICY_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"
#include "weir/base/json.h"
#include "weir/policy/idem.h"
#include "weir/policy/reason.h"

#define PROFILE_CODES_MAX 16
#define PROFILE_FIELDS_MAX 16
#define PROFILE_RETENTIONS_MAX 16
#define PROFILE_WORDS_MAX 8
#define PROFILE_KEY_BYTES_MAX 255 /* no profile allows more */

/* Where a key stands in a request. */
enum key_place { KEY_IN_HEADER, KEY_IN_JSON };

/* Statuses low to high, both included; low 0 ends a list. */
struct profile_codes {
    uint16_t low, high;
};

/* For how long keys of requests to paths under this prefix (whole segments) are de-duplicated; len 0: all others. */
struct profile_retention {
    struct bytes prefix;
    uint64_t ms;
};

/* The shape of the errors that weir makes, beside RFC 9457's members. */
enum profile_errors {
    PROFILE_ERRORS_PROBLEM,  /* these alone */
    PROFILE_ERRORS_STRIPE,   /* an `error` object: stripe-node takes a body without it for success */
    PROFILE_ERRORS_ADYEN,    /* status, errorCode, message, errorType, pspReference */
    PROFILE_ERRORS_CHECKOUT, /* request_id, error_type, error_codes */
    PROFILE_ERRORS_PAYPAL,   /* name, message, debug_id, details */
    PROFILE_ERRORS_SQUARE,   /* errors: [{category, code, detail}] */
};

/* Another status than the table of reasons says. */
struct profile_status_row {
    enum reason reason;
    uint16_t status; /* 0 ends a list */
};

struct profile {
    const char *name;
    bool deduplicates;               /* the processor executes one key once, for its retention */
    enum key_place key_place;
    struct bytes key;                /* name of the header as it is sent ("Idempotency-Key"), or JSON pointer of a member */
    uint16_t key_bytes_min, key_bytes_max;
    const char *key_chars;           /* what a key may consist of: characters and ranges, "A-Za-z0-9_-"; NULL: visible ASCII */
    bool keys_put, keys_delete;      /* PUT and DELETE carry keys, as POST and PATCH always do */
    struct profile_retention retentions[PROFILE_RETENTIONS_MAX]; /* the first that fits; ms 0 ends it */
    struct profile_codes final[PROFILE_CODES_MAX];        /* E+: the last word */
    struct profile_codes not_executed[PROFILE_CODES_MAX]; /* E-: nothing was executed and nothing is remembered */
    struct profile_codes busy[PROFILE_CODES_MAX];         /* B: at work on this key */
                                                          /* all others are E?: they prove nothing */
    /*
     * A refusal (no 2xx) with this field and value is E-, whatever its status; len 0: none. But where its status
     * stands in `busy`, it is B; and a status in both `busy` and `final` is B with the field and E+ without.
     */
    struct bytes not_executed_field;
    struct bytes not_executed_value;
    struct bytes unproven_words[PROFILE_WORDS_MAX]; /* a refusal whose body holds one of these proves nothing; len 0 ends it */
    struct bytes print_fields[PROFILE_FIELDS_MAX]; /* headers that belong to the fingerprint ("Stripe-Account") */
    struct bytes kept_fields[PROFILE_FIELDS_MAX];  /* headers kept with a stored answer, beside the common ones; '*' at the end: a prefix */
    struct bytes replay_marker;      /* the processor's own mark on a replayed answer; passed through; len 0: none */
    struct profile_codes declined[PROFILE_CODES_MAX];      /* a declined payment, by status; */
    struct bytes declined_words[PROFILE_WORDS_MAX];        /* or by a word in the body, whatever the status; len 0 ends it */
    struct bytes test_keys[PROFILE_WORDS_MAX];             /* starts of credentials of test traffic; len 0 ends it */
    enum profile_errors errors;
    bool should_retry;               /* weir's own answers carry Stripe-Should-Retry */
    struct profile_status_row statuses[PROFILE_CODES_MAX];
};

/* Whether requests of this method carry a key. */
bool profile_keys_method(const struct profile *profile, struct bytes method);

/*
 * What a status proves, where no field of the answer says more: for
 * FINAL and NOT_EXECUTED the outcome is `answered`. `field` finds a header of the answer (any
 * case; len 0: there is none); NULL: none is looked at.
 */
typedef struct bytes (*profile_field_of)(const void *answer, struct bytes name);
enum idem_class profile_classify(const struct profile *profile, uint16_t status, profile_field_of field,
                                 const void *answer);
/*
 * The class of an answer whose body is known: as above, unless a refusal's body holds one of the profile's
 * unproven_words. `encoded`: a Content-Encoding hides the words, so a refusal proves nothing where there are any.
 */
enum idem_class profile_classify_body(const struct profile *profile, uint16_t status, enum idem_class class,
                                      struct bytes body, bool encoded);

/*
 * For how long after its first attempt a request to `path` may be sent again:
 * the retention less a margin that holds a whole stay (`total_ms`). 0: never.
 */
uint64_t profile_resend_ms(const struct profile *profile, struct bytes path, uint32_t total_ms);

/* Whether an answer says that the payment was declined (card testing shows as declines). `body` as far as it is held. */
bool profile_declined(const struct profile *profile, uint16_t status, struct bytes body);
/*
 * Whether a credential (the value of Authorization, Bearer or Basic, or of X-API-Key) is one of test traffic, by how it
 * begins.
 */
bool profile_is_test(const struct profile *profile, struct bytes credential);

/* Whether a header of an answer is kept with the stored answer. Never Set-Cookie, credentials or hop-by-hop ones. */
bool profile_keeps_field(const struct profile *profile, struct bytes name);

/* Why a key cannot be used; KEY_OK: it can. */
enum key_fault { KEY_OK, KEY_EMPTY, KEY_SHORT, KEY_LONG, KEY_CHARACTER, KEY_QUOTES, KEY_PARAMETERS, KEY_FAULT_COUNT };
const char *key_fault_text(enum key_fault fault); /* "the key is longer than the processor takes" */
/*
 * The key that a header's value or a JSON member spells: bare as it is, or an
 * RFC 9651 String (quoted, \" and \\ unescaped, parameters ignored): "abc" and
 * abc are one key. Written to `text`, with NUL; *len without it. A JSON member
 * is taken as it is: its quotes are JSON's.
 */
enum key_fault profile_read_key(const struct profile *profile, struct bytes value, bool from_json,
                                char text[PROFILE_KEY_BYTES_MAX + 1], size_t *len);

/* The status of weir's own answer for `reason` under this profile. */
uint16_t profile_status(const struct profile *profile, enum reason reason);

/* Problem types that others know, too (draft-ietf-httpapi-ratelimit-headers-11, section 6). */
#define PROFILE_PROBLEM_QUOTA "https://iana.org/assignments/http-problem-types#quota-exceeded"
#define PROFILE_PROBLEM_ABNORMAL_USAGE "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
#define PROFILE_PROBLEM_REDUCED_CAPACITY "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"

/* What a problem has besides. */
struct profile_problem {
    const char *type;                  /* NULL: weir's own, by the reason */
    const char *violated[LIMITS_MAX];  /* names of limits: `violated-policies` */
    int violated_count;
};

/*
 * The body of weir's own answer: RFC 9457 problem+json and what the SDK needs
 * (stripe-node takes a body without `error` for success). `problem` may be NULL.
 */
void profile_error_body(const struct profile *profile, struct json *json, enum reason reason, enum outcome outcome,
                        enum retry retry, const char *request_id, const char *detail,
                        const struct profile_problem *problem);

#endif
