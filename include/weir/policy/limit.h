/*
 * Rate limits, pure and exact: how full a bucket is, whether one more request
 * fits, and how long it would have to wait. Whole numbers alone: a rate is a
 * fraction, no value is ever rounded, and src/store/redis/limit.lua says the
 * same bit for bit (a differential test compares the two).
 *
 * A bucket holds a debt that drains at the rate; a request adds its cost and
 * fits while the debt stays within the burst. This is GCRA with the debt in
 * place of the theoretical arrival time (debt = (TAT - now) * drain), so that a
 * clock that steps back delays nobody, and a limit that was changed goes on with
 * what was used of it.
 *
 *   debt'  = max(0, debt - drain * max(0, now - last))
 *   fits  <=> debt' + cost * units <= burst * units
 *   wait   = ceil((debt' + cost * units - burst * units) / drain)      us
 *
 * What both languages do alike, in this order:
 *   1. A bucket whose units are 0, or not below LIMIT_NUMBER_MAX / 2, or whose
 *      debt is not below LIMIT_NUMBER_MAX, is damaged: it owes nothing.
 *   2. Converted, as if the limit had changed when it was charged last: to at
 *      most burst * units (whole >= burst tokens: that), else
 *      whole * units + ceil(part * units / units_then), where
 *      whole = floor(debt / units_then) and part = debt - whole * units_then;
 *      the last product exact, bit by bit as scaled_up() of limit.c has it,
 *      since no double holds it.
 *   3. Drained by drain * (now - last), at most to 0; not where now < last.
 *      (A product too large for a double to hold is above every debt.)
 *   4. Written when charged: (debt, now, units). `now` may be before `last`: a
 *      clock that steps back and forth forgives what drains in its steps, at
 *      most a burst each.
 *   5. Not charged, it is written too when now < last and it owes something,
 *      or a full bucket would stay full until the clock is there again.
 * Quotients of whole numbers below LIMIT_NUMBER_MAX, rounded up or down, are
 * exact in doubles, too (the nearest double is never across a whole number).
 *
 * Reference: docs/limits.md; ITU-T I.371 Annex A (GCRA).
 */
#ifndef WEIR_POLICY_LIMIT_H
#define WEIR_POLICY_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"

/* Limits that one request may be subject to. */
#define LIMITS_MAX 8
/* Every number of a bucket stays below: the largest whole number that Lua's doubles hold, and all below it. */
#define LIMIT_NUMBER_MAX (UINT64_C(1) << 53)
/* A wait that no time ends: more is asked than the burst holds. */
#define LIMIT_NEVER UINT64_MAX

/* tokens per time as a fraction in lowest terms: a token is `units`, of which `drain` leave in a microsecond. */
struct limit_rate {
    uint64_t units; /* at least 1 */
    uint64_t drain; /* at least 1 */
    uint64_t burst; /* tokens; at least 1 */
};

/* `tokens` every `per_us` with `burst`. False: one of them is 0, or the numbers would pass LIMIT_NUMBER_MAX. */
WEIR_MUSTCHECK bool limit_rate_make(uint64_t tokens, uint64_t per_us, uint64_t burst, struct limit_rate *rate);
/* One of `fleet` (at least 1) equal shares: together never above the whole, but each has a burst of at least 1. */
struct limit_rate limit_rate_share(const struct limit_rate *rate, uint32_t fleet);

/* All zero: nothing is owed. */
struct limit_bucket {
    uint64_t debt;    /* in units */
    uint64_t last_us; /* when that was so, by the clock of whoever keeps it */
    uint64_t units;   /* of a token, as the rate was then: another rate's debt is rescaled (up) */
};

enum limit_flag {
    LIMIT_SHADOW = 1, /* it refuses nobody: told, and charged only with what it would have admitted */
    LIMIT_CHECK = 2,  /* looked at, never charged: what it counts is charged later */
    LIMIT_FORCE = 4,  /* fits and is charged whatever its level, up to the burst: what it counts has happened */
};

/* What one request asks of one limit. */
struct limit_ask {
    struct limit_rate rate;
    uint64_t cost;  /* tokens; 0 looks and is never charged */
    unsigned flags; /* enum limit_flag */
};

/* What the limit says. */
struct limit_told {
    bool fits;
    uint64_t remaining; /* tokens after this, charged or not; 0 where it does not fit */
    uint64_t reset_us;  /* until nothing is owed; after this */
    uint64_t wait_us;   /* until it would fit; 0: it does; LIMIT_NEVER */
};

/*
 * All or nothing: when every limit that is not a shadow has room, each bucket
 * that has room is charged and the answer is true; else none is. LIMIT_FORCE
 * ones are charged either way, LIMIT_CHECK ones (stronger than FORCE) never.
 * told[i] is of ask i. Buckets of other rates are converted. count is at most
 * LIMITS_MAX, of pairwise different buckets; now_us is below LIMIT_NUMBER_MAX.
 */
bool limit_apply(struct limit_bucket *const buckets[], const struct limit_ask asks[], int count, uint64_t now_us,
                 struct limit_told told[]);

/*
 * Takes up to `want` tokens in advance, and tells of the bucket after it; 0: it
 * has none (told->wait_us says when it has one). Takes as many as there are.
 */
uint64_t limit_prepay(struct limit_bucket *bucket, const struct limit_rate *rate, uint64_t want, uint64_t now_us,
                      struct limit_told *told);

/* From when on the bucket is as good as none: when its debt is paid. By the clock of last_us. */
uint64_t limit_over_us(const struct limit_bucket *bucket, const struct limit_rate *rate);

/* ---- names ---- */

#define LIMIT_HASH_BYTES 16

/* Which bucket: one limit of one caller. Bytes are borrowed. */
struct limit_ref {
    struct bytes limit;             /* its name in the configuration */
    uint16_t bucket;                /* below IDEM_BUCKETS: of the caller, as its records are in */
    uint8_t hash[LIMIT_HASH_BYTES]; /* keyed hash of who the caller is; cannot be read back */
    struct limit_ask ask;
};

#endif
