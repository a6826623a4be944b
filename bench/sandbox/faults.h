/*
 * How the sandbox misbehaves when it is asked to: one fault set for one
 * request, written as `delay=200, reset-after` in a Sandbox-Fault header or
 * armed for the next payments, or the next GET /healthz, by POST /_fault. Pure: this module reads faults
 * and counts armed ones; connection.c and delivery.c carry them out.
 */
#ifndef SANDBOX_FAULTS_H
#define SANDBOX_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"

/*     name           written as        its value */
#define FAULT_TABLE(ROW)                                                                        \
    ROW(DELAY,        "delay",          true)  /* milliseconds between execution and answer */   \
    ROW(RESET_BEFORE, "reset-before",   false) /* RST, nothing was executed */                   \
    ROW(RESET_AFTER,  "reset-after",    false) /* executes, then RST */                          \
    ROW(CLOSE_BEFORE, "close-before",   false) /* FIN, nothing was executed */                   \
    ROW(CLOSE_AFTER,  "close-after",    false) /* executes, then FIN */                          \
    ROW(HALF_ANSWER,  "half-answer",    false) /* the head and half of the body, then FIN */     \
    ROW(STATUS_BEFORE,"status-before",  true)  /* this status, nothing was executed */           \
    ROW(STATUS_AFTER, "status-after",   true)  /* executes, then this status */                  \
    ROW(TRICKLE,      "trickle",        true)  /* one byte of the answer every so many ms */     \
    ROW(GARBAGE,      "garbage",        false) /* executes; bytes that are not HTTP, then FIN */ \
    ROW(HANG,         "hang",           false) /* executes and never answers */                  \
    ROW(EARLY,        "early",          false) /* answers before it reads the body */            \
    ROW(CHUNKED,      "chunked",        false) /* Transfer-Encoding: chunked */                  \
    ROW(NO_LENGTH,    "no-length",      false) /* neither length nor chunks: until FIN */        \
    ROW(TWO_ANSWERS,  "two-answers",    false) /* the answer comes twice */                      \
    ROW(EXTRA_BYTES,  "extra-bytes",    false) /* bytes behind the answer */                     \
    ROW(INTERIM,      "interim",        false) /* 103 first */                                   \
    ROW(BIG,          "big",            true)  /* at least so many bytes of body */              \
    ROW(CLOSE,        "close",          false) /* Connection: close */

enum fault_id {
#define FAULT_ENUM(name, text, valued) FAULT_##name,
    FAULT_TABLE(FAULT_ENUM)
#undef FAULT_ENUM
    FAULT_COUNT
};

/* What shall go wrong with one request; all zero: nothing. */
struct faults {
    uint32_t set;               /* bit 1 << id */
    uint64_t value[FAULT_COUNT]; /* of those that have one */
};

static inline bool faults_has(const struct faults *faults, enum fault_id id)
{
    return (faults->set >> id & 1u) != 0;
}

/* A comma-separated list, possibly empty. False: `text` is not one, and *bad is the element that is wrong. */
WEIR_MUSTCHECK bool faults_parse(struct bytes text, struct faults *faults, struct bytes *bad);

/* Faults for the next payments of any connection, or the next questions after its health. Zeroed is disarmed. */
struct faults_armed {
    struct faults faults;
    uint64_t count; /* requests it still applies to */
};

void faults_arm(struct faults_armed *armed, const struct faults *faults, uint64_t count);
/* The faults of the one that comes now. */
struct faults faults_take(struct faults_armed *armed);

#endif
