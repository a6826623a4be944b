/*
 * The driver of an exchange with a key: every event in every stage, and what no
 * sequence of them may ever do: free a key that may have been paid with, send
 * twice without need, or call a payment not sent that may have been.
 */
#include "base/unit.h"

#include "weir/policy/idem.h"

/* How far an exchange may be, with what it remembers. */
enum situation {
    NEW,
    ASKING,
    ASKING_PASS,      /* store_down: pass */
    ASKING_ONCE,      /* store_down: pass, but its processor does not de-duplicate */
    HELD,
    HELD_UNRECORDED,
    SENT,
    SENT_UNRECORDED,
    SENT_AMBIGUOUS,   /* after a takeover */
    SENT_RECEIPT,     /* for an answer that was not kept */
    SETTLING,
    SETTLING_RECEIPT,
    OVER,
    SITUATION_COUNT,
};

static const struct idem_driver drivers[SITUATION_COUNT] = {
    [NEW] = {.stage = IDEM_STAGE_NEW},
    [ASKING] = {.stage = IDEM_STAGE_ASKING},
    [ASKING_PASS] = {.stage = IDEM_STAGE_ASKING, .pass_when_down = true},
    [ASKING_ONCE] = {.stage = IDEM_STAGE_ASKING, .pass_when_down = true, .single_shot = true},
    [HELD] = {.stage = IDEM_STAGE_HELD},
    [HELD_UNRECORDED] = {.stage = IDEM_STAGE_HELD, .pass_when_down = true, .unrecorded = true},
    [SENT] = {.stage = IDEM_STAGE_SENT},
    [SENT_UNRECORDED] = {.stage = IDEM_STAGE_SENT, .pass_when_down = true, .unrecorded = true},
    [SENT_AMBIGUOUS] = {.stage = IDEM_STAGE_SENT, .ambiguous = true},
    [SENT_RECEIPT] = {.stage = IDEM_STAGE_SENT, .ambiguous = true, .receipt = true},
    [SETTLING] = {.stage = IDEM_STAGE_SETTLING},
    [SETTLING_RECEIPT] = {.stage = IDEM_STAGE_SETTLING, .ambiguous = true, .receipt = true},
    [OVER] = {.stage = IDEM_STAGE_OVER, .ambiguous = true},
};

static const char *const situation_names[SITUATION_COUNT] = {
    "NEW",  "ASKING",          "ASKING_PASS",    "ASKING_ONCE",  "HELD",     "HELD_UNRECORDED",
    "SENT", "SENT_UNRECORDED", "SENT_AMBIGUOUS", "SENT_RECEIPT", "SETTLING", "SETTLING_RECEIPT",
    "OVER",
};

/* What may happen. */
enum happening {
    REQUEST,
    WAITED,
    STORE_DOWN,
    RESULT_NEW,
    RESULT_TAKEN_OVER,
    RESULT_REPLAY,
    RESULT_RECEIPT,
    RESULT_RECEIPT_OLD, /* it may not be sent again */
    RESULT_BUSY,
    RESULT_STUCK,
    RESULT_LIMITED,
    RESULT_MISMATCH,
    RESULT_OK,          /* of another operation than BEGIN */
    FIRST_BYTE,
    ANSWER_FINAL,
    ANSWER_NOT_EXECUTED,
    ANSWER_UNPROVEN,
    ANSWER_BUSY,
    NO_ANSWER,
    SETTLED_NOT,        /* not in time */
    SETTLED_OK,
    SETTLED_REASSERTED,
    SETTLED_CONFLICT,
    SETTLED_ALREADY,    /* with its answer */
    SETTLED_ALREADY_BARE,
    LATE_FINAL,
    LATE_NOT_EXECUTED,
    LATE_UNPROVEN,
    LATE_BUSY,
    HAPPENING_COUNT,
};

static const struct idem_result results[HAPPENING_COUNT] = {
    [RESULT_NEW] = {.verdict = IDEM_NEW},
    [RESULT_TAKEN_OVER] = {.verdict = IDEM_TAKEN_OVER},
    [RESULT_REPLAY] = {.verdict = IDEM_REPLAY, .answer = {"stored", 6}},
    [RESULT_RECEIPT] = {.verdict = IDEM_RECEIPT, .left_ms = 1},
    [RESULT_RECEIPT_OLD] = {.verdict = IDEM_RECEIPT},
    [RESULT_BUSY] = {.verdict = IDEM_BUSY},
    [RESULT_STUCK] = {.verdict = IDEM_STUCK},
    [RESULT_LIMITED] = {.verdict = IDEM_LIMITED, .limits = {{.wait_us = 1}}, .limit_count = 1},
    [RESULT_MISMATCH] = {.verdict = IDEM_MISMATCH},
    [RESULT_OK] = {.verdict = IDEM_OK},
    [SETTLED_OK] = {.verdict = IDEM_OK},
    [SETTLED_REASSERTED] = {.verdict = IDEM_REASSERTED},
    [SETTLED_CONFLICT] = {.verdict = IDEM_CONFLICT},
    [SETTLED_ALREADY] = {.verdict = IDEM_ALREADY, .answer = {"stored", 6}},
    [SETTLED_ALREADY_BARE] = {.verdict = IDEM_ALREADY},
};

static const struct idem_event events[HAPPENING_COUNT] = {
    [REQUEST] = {.kind = IDEM_ON_REQUEST},
    [WAITED] = {.kind = IDEM_ON_WAITED},
    [STORE_DOWN] = {.kind = IDEM_ON_STORE_DOWN},
    [RESULT_NEW] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_NEW]},
    [RESULT_TAKEN_OVER] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_TAKEN_OVER]},
    [RESULT_REPLAY] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_REPLAY]},
    [RESULT_RECEIPT] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_RECEIPT]},
    [RESULT_RECEIPT_OLD] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_RECEIPT_OLD]},
    [RESULT_BUSY] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_BUSY]},
    [RESULT_STUCK] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_STUCK]},
    [RESULT_LIMITED] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_LIMITED]},
    [RESULT_MISMATCH] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_MISMATCH]},
    [RESULT_OK] = {.kind = IDEM_ON_RESULT, .result = &results[RESULT_OK]},
    [FIRST_BYTE] = {.kind = IDEM_ON_FIRST_BYTE},
    [ANSWER_FINAL] = {.kind = IDEM_ON_ANSWER, .class = IDEM_CLASS_FINAL},
    [ANSWER_NOT_EXECUTED] = {.kind = IDEM_ON_ANSWER, .class = IDEM_CLASS_NOT_EXECUTED},
    [ANSWER_UNPROVEN] = {.kind = IDEM_ON_ANSWER, .class = IDEM_CLASS_UNPROVEN},
    [ANSWER_BUSY] = {.kind = IDEM_ON_ANSWER, .class = IDEM_CLASS_BUSY},
    [NO_ANSWER] = {.kind = IDEM_ON_NO_ANSWER},
    [SETTLED_NOT] = {.kind = IDEM_ON_SETTLED},
    [SETTLED_OK] = {.kind = IDEM_ON_SETTLED, .result = &results[SETTLED_OK]},
    [SETTLED_REASSERTED] = {.kind = IDEM_ON_SETTLED, .result = &results[SETTLED_REASSERTED]},
    [SETTLED_CONFLICT] = {.kind = IDEM_ON_SETTLED, .result = &results[SETTLED_CONFLICT]},
    [SETTLED_ALREADY] = {.kind = IDEM_ON_SETTLED, .result = &results[SETTLED_ALREADY]},
    [SETTLED_ALREADY_BARE] = {.kind = IDEM_ON_SETTLED, .result = &results[SETTLED_ALREADY_BARE]},
    [LATE_FINAL] = {.kind = IDEM_ON_LATE_ANSWER, .class = IDEM_CLASS_FINAL},
    [LATE_NOT_EXECUTED] = {.kind = IDEM_ON_LATE_ANSWER, .class = IDEM_CLASS_NOT_EXECUTED},
    [LATE_UNPROVEN] = {.kind = IDEM_ON_LATE_ANSWER, .class = IDEM_CLASS_UNPROVEN},
    [LATE_BUSY] = {.kind = IDEM_ON_LATE_ANSWER, .class = IDEM_CLASS_BUSY},
};

/* ---- every cell ---- */

struct cell {
    enum happening happening;
    enum situation situation;
    enum idem_act act;
    enum reason reason;
    enum outcome outcome;
    enum idem_stage stage; /* after it */
    const char *sets;      /* what the driver remembers from now on: "ambiguous", "receipt", "unrecorded" */
};

/* All others are impossible. */
static const struct cell cells[] = {
    /* asking */
    {REQUEST, NEW, IDEM_DO_BEGIN, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {WAITED, NEW, IDEM_DO_BEGIN, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {WAITED, ASKING, IDEM_DO_BEGIN, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {WAITED, ASKING_PASS, IDEM_DO_BEGIN, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {WAITED, ASKING_ONCE, IDEM_DO_BEGIN, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {STORE_DOWN, ASKING, IDEM_DO_REFUSE, REASON_STORE_DOWN, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {STORE_DOWN, ASKING_PASS, IDEM_DO_SEND, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, "unrecorded"},
    {STORE_DOWN, ASKING_ONCE, IDEM_DO_REFUSE, REASON_STORE_DOWN, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},

    {RESULT_NEW, ASKING, IDEM_DO_SEND, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {RESULT_NEW, ASKING_PASS, IDEM_DO_SEND, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {RESULT_NEW, ASKING_ONCE, IDEM_DO_SEND, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {RESULT_TAKEN_OVER, ASKING, IDEM_DO_SEND_SAME, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, "ambiguous"},
    {RESULT_TAKEN_OVER, ASKING_PASS, IDEM_DO_SEND_SAME, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, "ambiguous"},
    {RESULT_TAKEN_OVER, ASKING_ONCE, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_REPLAY, ASKING, IDEM_DO_REPLAY, REASON_OK, OUTCOME_REPLAYED, IDEM_STAGE_OVER, ""},
    {RESULT_REPLAY, ASKING_PASS, IDEM_DO_REPLAY, REASON_OK, OUTCOME_REPLAYED, IDEM_STAGE_OVER, ""},
    {RESULT_REPLAY, ASKING_ONCE, IDEM_DO_REPLAY, REASON_OK, OUTCOME_REPLAYED, IDEM_STAGE_OVER, ""},
    {RESULT_RECEIPT, ASKING, IDEM_DO_SEND_SAME, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, "ambiguous receipt"},
    {RESULT_RECEIPT, ASKING_PASS, IDEM_DO_SEND_SAME, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, "ambiguous receipt"},
    {RESULT_RECEIPT, ASKING_ONCE, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_RECEIPT_OLD, ASKING, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_RECEIPT_OLD, ASKING_PASS, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_RECEIPT_OLD, ASKING_ONCE, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_BUSY, ASKING, IDEM_DO_REFUSE, REASON_KEY_IN_PROGRESS, OUTCOME_UNKNOWN, IDEM_STAGE_NEW, ""},
    {RESULT_BUSY, ASKING_PASS, IDEM_DO_REFUSE, REASON_KEY_IN_PROGRESS, OUTCOME_UNKNOWN, IDEM_STAGE_NEW, ""},
    {RESULT_BUSY, ASKING_ONCE, IDEM_DO_REFUSE, REASON_KEY_IN_PROGRESS, OUTCOME_UNKNOWN, IDEM_STAGE_NEW, ""},
    {RESULT_STUCK, ASKING, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_STUCK, ASKING_PASS, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_STUCK, ASKING_ONCE, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {RESULT_LIMITED, ASKING, IDEM_DO_REFUSE, REASON_RATE_LIMITED, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {RESULT_LIMITED, ASKING_PASS, IDEM_DO_REFUSE, REASON_RATE_LIMITED, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {RESULT_LIMITED, ASKING_ONCE, IDEM_DO_REFUSE, REASON_RATE_LIMITED, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {RESULT_MISMATCH, ASKING, IDEM_DO_REFUSE, REASON_KEY_REUSED, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {RESULT_MISMATCH, ASKING_PASS, IDEM_DO_REFUSE, REASON_KEY_REUSED, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {RESULT_MISMATCH, ASKING_ONCE, IDEM_DO_REFUSE, REASON_KEY_REUSED, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},

    /* the processor */
    {FIRST_BYTE, HELD, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, HELD_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT_AMBIGUOUS, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},

    {ANSWER_FINAL, SENT, IDEM_DO_COMPLETE, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ANSWER_FINAL, SENT_UNRECORDED, IDEM_DO_COMPLETE, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ANSWER_FINAL, SENT_AMBIGUOUS, IDEM_DO_COMPLETE, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ANSWER_FINAL, SENT_RECEIPT, IDEM_DO_COMPLETE, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ANSWER_NOT_EXECUTED, SENT, IDEM_DO_ABANDON, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {ANSWER_NOT_EXECUTED, SENT_UNRECORDED, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {ANSWER_NOT_EXECUTED, SENT_AMBIGUOUS, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {ANSWER_NOT_EXECUTED, SENT_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {ANSWER_UNPROVEN, SENT, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {ANSWER_UNPROVEN, SENT_UNRECORDED, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {ANSWER_UNPROVEN, SENT_AMBIGUOUS, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {ANSWER_UNPROVEN, SENT_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {ANSWER_BUSY, SENT, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {ANSWER_BUSY, SENT_UNRECORDED, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {ANSWER_BUSY, SENT_AMBIGUOUS, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {ANSWER_BUSY, SENT_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},

    /* no answer: the one event that may come at any time */
    {NO_ANSWER, NEW, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, ASKING, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, ASKING_PASS, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, ASKING_ONCE, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, HELD, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, HELD_UNRECORDED, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, SENT, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {NO_ANSWER, SENT_UNRECORDED, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {NO_ANSWER, SENT_AMBIGUOUS, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, SENT_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, SETTLING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {NO_ANSWER, SETTLING_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {NO_ANSWER, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},

    /* settling */
    {SETTLED_NOT, SETTLING, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_NOT, SETTLING_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_NOT, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {SETTLED_OK, SETTLING, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_OK, SETTLING_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_OK, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {SETTLED_REASSERTED, SETTLING, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_REASSERTED, SETTLING_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_REASSERTED, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {SETTLED_CONFLICT, SETTLING, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_CONFLICT, SETTLING_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_CONFLICT, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {SETTLED_ALREADY, SETTLING, IDEM_DO_ANSWER_STORED, REASON_OK, OUTCOME_REPLAYED, IDEM_STAGE_OVER, ""},
    {SETTLED_ALREADY, SETTLING_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_ALREADY, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {SETTLED_ALREADY_BARE, SETTLING, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_ALREADY_BARE, SETTLING_RECEIPT, IDEM_DO_ANSWER, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {SETTLED_ALREADY_BARE, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {LATE_FINAL, OVER, IDEM_DO_COMPLETE, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {LATE_NOT_EXECUTED, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {LATE_UNPROVEN, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {LATE_BUSY, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
};

static const struct cell *cell_of(enum happening happening, enum situation situation)
{
    for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
        if (cells[i].happening == happening && cells[i].situation == situation) {
            return &cells[i];
        }
    }
    return NULL;
}

static void test_every_event_in_every_stage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
        const struct cell *cell = &cells[i];
        const struct idem_driver before = drivers[cell->situation];
        struct idem_driver driver = before;
        struct idem_next next = idem_step(&driver, &events[cell->happening]);

        if (next.act != cell->act || next.reason != cell->reason || next.outcome != cell->outcome || driver.stage != cell->stage) {
            fail_msg("event %d in %s: act %d, %s, %s, stage %d", (int)cell->happening, situation_names[cell->situation],
                     (int)next.act, reason_name(next.reason), outcome_name(next.outcome), (int)driver.stage);
        }
        assert_int_equal(driver.ambiguous, before.ambiguous || strstr(cell->sets, "ambiguous") != NULL);
        assert_int_equal(driver.receipt, before.receipt || strstr(cell->sets, "receipt") != NULL);
        assert_int_equal(driver.unrecorded, before.unrecorded || strstr(cell->sets, "unrecorded") != NULL);
        assert_int_equal(driver.single_shot, before.single_shot);
        assert_int_equal(driver.pass_when_down, before.pass_when_down);
        assert_true(next.act != IDEM_DO_REFUSE || next.outcome == reason_outcome(next.reason));
    }
}

static enum happening impossible_happening;
static enum situation impossible_situation;

static void do_the_impossible(void)
{
    struct idem_driver driver = drivers[impossible_situation];

    (void)idem_step(&driver, &events[impossible_happening]);
}

static void test_what_cannot_happen_is_a_bug(void **state)
{
    int tried = 0;

    (void)state;
    for (unsigned happening = 0; happening < HAPPENING_COUNT; happening++) {
        for (unsigned situation = 0; situation < SITUATION_COUNT; situation++) {
            if (cell_of((enum happening)happening, (enum situation)situation) != NULL) {
                continue;
            }
            impossible_happening = (enum happening)happening;
            impossible_situation = (enum situation)situation;
            if (!aborts(do_the_impossible)) {
                fail_msg("event %u in %s was taken", happening, situation_names[situation]);
            }
            tried++;
        }
    }
    assert_int_equal(tried + (int)ARRAY_COUNT(cells), HAPPENING_COUNT * SITUATION_COUNT);
}

static void event_of_no_table(void)
{
    struct idem_driver driver = drivers[NEW];

    (void)idem_step(&driver, &(struct idem_event){.kind = IDEM_EVENT_COUNT});
}

static void class_of_no_table(void)
{
    struct idem_driver driver = drivers[SENT];

    (void)idem_step(&driver, &(struct idem_event){.kind = IDEM_ON_ANSWER, .class = IDEM_CLASS_COUNT});
}

static void begin_without_result(void)
{
    struct idem_driver driver = drivers[ASKING];

    (void)idem_step(&driver, &(struct idem_event){.kind = IDEM_ON_RESULT});
}

static void stage_of_no_table(void)
{
    struct idem_driver driver = {.stage = IDEM_STAGE_COUNT};

    (void)idem_step(&driver, &events[NO_ANSWER]);
}

static void test_what_is_in_no_table_is_a_bug(void **state)
{
    (void)state;
    assert_true(aborts(event_of_no_table));
    assert_true(aborts(class_of_no_table));
    assert_true(aborts(begin_without_result));
    assert_true(aborts(stage_of_no_table));
}

/* ---- any life ---- */

#define LIVES 20000
#define STEPS 12

/* What was seen of one exchange. */
struct life {
    bool byte_out;    /* ours */
    bool earlier;     /* an owner before us may have sent */
    bool not_final;   /* it ended without a definite answer, and more than a refusal */
    bool completed;
    bool told_not_sent;
    int sends;
};

static void check_step(struct life *life, const struct idem_driver *driver, enum happening happening, struct idem_next next)
{
    bool sends = next.act == IDEM_DO_SEND || next.act == IDEM_DO_SEND_SAME;

    life->sends += sends ? 1 : 0;
    life->earlier |= next.act == IDEM_DO_SEND_SAME;
    life->byte_out |= happening == FIRST_BYTE;
    life->not_final |= life->byte_out && (happening == NO_ANSWER || happening == ANSWER_UNPROVEN || happening == ANSWER_BUSY);
    assert_true(life->sends <= 1);
    assert_false(sends && (life->byte_out || life->completed));
    /* Freed only where no money can have moved. */
    assert_false(next.act == IDEM_DO_ABANDON && (life->earlier || life->not_final || life->completed || driver->ambiguous));
    assert_false(next.act == IDEM_DO_ABANDON && life->byte_out && happening != ANSWER_NOT_EXECUTED);
    /* Called not sent only where nothing was. */
    assert_false(next.outcome == OUTCOME_NOT_SENT && (life->byte_out || life->earlier));
    /* Completed only by the processor's last word, marked only where it lacks. */
    assert_false(next.act == IDEM_DO_COMPLETE && happening != ANSWER_FINAL && happening != LATE_FINAL);
    assert_false(next.act == IDEM_DO_MARK && (driver->receipt || !driver->ambiguous || life->completed));
    assert_false(next.outcome == OUTCOME_ANSWERED && life->earlier && happening == ANSWER_NOT_EXECUTED);
    life->completed |= next.act == IDEM_DO_COMPLETE;
}

/* A late answer comes only to one whose client was told that the outcome is unknown. */
static bool may_come(const struct life *life, const struct idem_driver *driver, enum happening happening)
{
    static const enum situation any_of_stage[IDEM_STAGE_COUNT] = {NEW, ASKING, HELD, SENT, SETTLING, OVER};

    if (happening >= LATE_FINAL && !(life->not_final || life->earlier)) {
        return false;
    }
    return cell_of(happening, any_of_stage[driver->stage]) != NULL;
}

static void test_no_life_of_an_exchange_loses_track_of_the_money(void **state)
{
    uint64_t random = 88172645463325252u;
    int completed = 0;

    (void)state;
    for (int i = 0; i < LIVES; i++) {
        struct idem_driver driver = {.single_shot = random_next(&random) % 4 == 0, .pass_when_down = random_next(&random) % 2 == 0};
        struct life life = {0};

        for (int step = 0; step < STEPS;) {
            enum happening happening = (enum happening)(random_next(&random) % HAPPENING_COUNT);
            if (!may_come(&life, &driver, happening)) {
                continue;
            }
            struct idem_next next = idem_step(&driver, &events[happening]);
            check_step(&life, &driver, happening, next);
            assert_false(driver.single_shot && (life.earlier || driver.unrecorded));
            step++;
        }
        completed += life.completed ? 1 : 0;
    }
    assert_in_range(completed, LIVES / 50, LIVES); /* the walk comes to what it checks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_in_every_stage),
        cmocka_unit_test(test_what_cannot_happen_is_a_bug),
        cmocka_unit_test(test_what_is_in_no_table_is_a_bug),
        cmocka_unit_test(test_no_life_of_an_exchange_loses_track_of_the_money),
    };
    return cmocka_run_group_tests_name("policy/idem_step", tests, NULL, NULL);
}
