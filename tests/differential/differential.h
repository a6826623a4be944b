/*
 * The differential test of records and limits: a story is a random sequence of
 * operations on a few keys, and of questions about a few limits, told three
 * times. What idem_apply and limit_apply say is right; the embedded store and
 * the Redis scripts are its subjects, and are asked through the very functions
 * that weir asks them through, below the loop.
 */
#ifndef WEIR_DIFFERENTIAL_H
#define WEIR_DIFFERENTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "store_internal.h"

#include "weir/policy/idem.h"

#define STORY_KEYS 3
#define STORY_STEPS 24
#define STORY_OWNERS 4
#define STORY_ANSWER_BYTES_MAX 6000
#define STORY_UPSTREAM_KEY_BYTES_MAX 288
#define STORY_LIMITS 3
/* What a limit is configured as, at one time or another. */
#define STORY_RATES 3

/* What one key's requests are; the second has another fingerprint, the third another processor. */
#define STORY_VARIANTS 3

struct variant {
    uint8_t print[IDEM_PRINT_BYTES];
    uint8_t bind[IDEM_BIND_BYTES];
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    char upstream_key[STORY_UPSTREAM_KEY_BYTES_MAX];
    size_t upstream_key_bytes;
};

/* One operation, or a question about a limit alone; when it is asked, and what is right. */
struct step {
    int key;
    uint64_t now_ms;
    uint64_t now_us;         /* the clock of limits: another one, which steps back */
    struct limit_ref limits[STORY_LIMITS]; /* op.limits, or what is asked alone */
    bool alone;              /* a limit alone: limits[0], and the next three */
    uint64_t want;
    uint64_t granted;
    struct limit_told told;
    uint64_t waited_ms;      /* since it was asked first: the store adds it to op.age_ms */
    struct idem_op op;
    struct idem_result result;
    bool indexed;            /* the record had vanished while it was open: the index of open records still has it */
};

/* One caller's limit. */
struct story_limit {
    char name[STORE_LIMIT_NAME_BYTES_MAX + 1];
    uint16_t bucket_number;
    uint8_t hash[LIMIT_HASH_BYTES];
    struct limit_rate rates[STORY_RATES];
    struct limit_bucket bucket; /* as it is right */
    struct limit_rate written;  /* what it was when the bucket was written */
    uint64_t over_ms, over_us;  /* when a store may drop it, by the clock of records, and by its own */
};

struct story {
    uint64_t number;
    bool moves;                 /* records are bound to other processors in it */
    bool limited;               /* limits are in it */
    bool steps_back;            /* their clock does */
    struct story_limit limits[STORY_LIMITS];
    struct idem_name names[STORY_KEYS];
    struct variant variants[STORY_KEYS][STORY_VARIANTS];
    char answers[STORY_ANSWER_BYTES_MAX];
    struct step steps[STORY_STEPS];
    int step_count;
    /* How it ends. */
    uint64_t now_ms, now_us;
    struct idem_record records[STORY_KEYS]; /* of state IDEM_ABSENT: there is none, or its time is over */
    bool indexed[STORY_KEYS];
};

/* Makes the story of this number and lets idem_apply tell it. The same number of the same seed is the same story. */
void story_make(struct story *story, uint64_t seed, uint64_t number, bool moves);
/* Whether a record is gone. */
bool story_is_over(const struct idem_record *record, uint64_t now_ms);

/* story.c: the random numbers of the story that is being made. */
uint64_t random_below(uint64_t limit);
bool one_in(uint64_t count);
void fill(void *at, size_t len);
void fill_word(char *text, size_t len);

/* story_limits.c: limits as they may be configured; when the next step is; what it asks, and what is right. */
void story_limits_make(struct story *story);
void story_limits_pass(struct story *story);
void story_limits_choose(struct story *story, struct step *step);
/* A begin that finds no record: whether its limits let it in. */
bool story_limits_admit(struct story *story, struct step *step);
void story_limits_tell_alone(struct story *story, struct step *step);

/* ---- the subjects; they say what differs on stderr and return how many differences they found, or -1: broken ---- */

WEIR_MUSTCHECK bool embedded_open(const char *folder);
int embedded_tell(const struct story *story);
void embedded_close(void);

/* Starts a server of its own in `folder`. */
WEIR_MUSTCHECK bool redis_open(const char *folder);
int redis_tell(const struct story *story);
void redis_close(void);

/* 0, or 1 with the difference told: whose it is, in which step (STORY_STEPS: how the story ends), and the field. */
int differs_number(const char *subject, const struct story *story, int step, const char *field, uint64_t right,
                   uint64_t told);
int differs_bytes(const char *subject, const struct story *story, int step, const char *field, struct bytes right,
                  struct bytes told);
/* Of a whole result. */
int differs_result(const char *subject, const struct story *story, int step, const struct idem_result *right,
                   const struct idem_result *told);
/* Of what a limit said. */
int differs_told(const char *subject, const struct story *story, int step, const struct limit_told *right,
                 const struct limit_told *told);

#endif
