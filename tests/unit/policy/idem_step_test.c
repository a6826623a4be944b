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
    HELD_MOVABLE,     /* mode failover */
    HELD_REBINDING,   /* the store was asked to bind it elsewhere */
    HELD_UNRECORDED,
    SENT,
    SENT_ONCE,        /* its processor does not de-duplicate */
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
    [HELD_MOVABLE] = {.stage = IDEM_STAGE_HELD, .may_move = true},
    [HELD_REBINDING] = {.stage = IDEM_STAGE_HELD, .rebinding = true},
    [HELD_UNRECORDED] = {.stage = IDEM_STAGE_HELD, .pass_when_down = true, .unrecorded = true, .may_move = true},
    [SENT] = {.stage = IDEM_STAGE_SENT, .may_move = true},
    [SENT_ONCE] = {.stage = IDEM_STAGE_SENT, .may_move = true, .single_shot = true},
    [SENT_UNRECORDED] = {.stage = IDEM_STAGE_SENT, .pass_when_down = true, .unrecorded = true},
    [SENT_AMBIGUOUS] = {.stage = IDEM_STAGE_SENT, .ambiguous = true},
    [SENT_RECEIPT] = {.stage = IDEM_STAGE_SENT, .ambiguous = true, .receipt = true},
    [SETTLING] = {.stage = IDEM_STAGE_SETTLING},
    [SETTLING_RECEIPT] = {.stage = IDEM_STAGE_SETTLING, .ambiguous = true, .receipt = true},
    [OVER] = {.stage = IDEM_STAGE_OVER, .ambiguous = true},
};

static const char *const situation_names[SITUATION_COUNT] = {
    "NEW",  "ASKING",    "ASKING_PASS",     "ASKING_ONCE",    "HELD",         "HELD_MOVABLE", "HELD_REBINDING", "HELD_UNRECORDED",
    "SENT", "SENT_ONCE", "SENT_UNRECORDED", "SENT_AMBIGUOUS", "SENT_RECEIPT", "SETTLING",     "SETTLING_RECEIPT", "OVER",
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
    ELSEWHERE,
    REBOUND_NOT,        /* not in time */
    REBOUND_OK,
    REBOUND_LOST,
    REBOUND_REFUSED,
    REBOUND_NONE,
    REBOUND_OTHER,      /* a verdict of another operation */
    AGAIN,
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
    [REBOUND_OK] = {.verdict = IDEM_OK},
    [REBOUND_LOST] = {.verdict = IDEM_LOST},
    [REBOUND_REFUSED] = {.verdict = IDEM_REFUSED},
    [REBOUND_NONE] = {.verdict = IDEM_NONE},
    [REBOUND_OTHER] = {.verdict = IDEM_ALREADY},
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
    [ELSEWHERE] = {.kind = IDEM_ON_ELSEWHERE},
    [REBOUND_NOT] = {.kind = IDEM_ON_REBOUND},
    [REBOUND_OK] = {.kind = IDEM_ON_REBOUND, .result = &results[REBOUND_OK]},
    [REBOUND_LOST] = {.kind = IDEM_ON_REBOUND, .result = &results[REBOUND_LOST]},
    [REBOUND_REFUSED] = {.kind = IDEM_ON_REBOUND, .result = &results[REBOUND_REFUSED]},
    [REBOUND_NONE] = {.kind = IDEM_ON_REBOUND, .result = &results[REBOUND_NONE]},
    [REBOUND_OTHER] = {.kind = IDEM_ON_REBOUND, .result = &results[REBOUND_OTHER]},
    [AGAIN] = {.kind = IDEM_ON_AGAIN},
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
    const char *sets;      /* what the driver remembers from now on: "ambiguous", "receipt", "unrecorded", "rebinding"; and what no
                           longer: "moved" (may_move), "acknowledged" (rebinding) */
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
    {FIRST_BYTE, HELD_MOVABLE, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, HELD_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT_ONCE, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT_AMBIGUOUS, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {FIRST_BYTE, SENT_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},

    {ANSWER_FINAL, SENT, IDEM_DO_COMPLETE, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ANSWER_FINAL, SENT_ONCE, IDEM_DO_COMPLETE, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ANSWER_NOT_EXECUTED, SENT_ONCE, IDEM_DO_ABANDON, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_OVER, ""},
    {ANSWER_UNPROVEN, SENT_ONCE, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {ANSWER_BUSY, SENT_ONCE, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
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
    {NO_ANSWER, HELD_MOVABLE, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, HELD_REBINDING, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, HELD_UNRECORDED, IDEM_DO_ABANDON, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, SENT, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {NO_ANSWER, SENT_ONCE, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {NO_ANSWER, SENT_UNRECORDED, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "ambiguous"},
    {NO_ANSWER, SENT_AMBIGUOUS, IDEM_DO_MARK, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, SENT_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {NO_ANSWER, SETTLING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {NO_ANSWER, SETTLING_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {NO_ANSWER, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},

    /* elsewhere: while nothing was sent, and where the route says so */
    {ELSEWHERE, NEW, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_NEW, ""},
    {ELSEWHERE, ASKING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {ELSEWHERE, ASKING_PASS, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {ELSEWHERE, ASKING_ONCE, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {ELSEWHERE, HELD, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {ELSEWHERE, HELD_MOVABLE, IDEM_DO_REBIND, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, "rebinding moved"},
    {ELSEWHERE, HELD_REBINDING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {ELSEWHERE, HELD_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {ELSEWHERE, SENT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {ELSEWHERE, SENT_ONCE, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {ELSEWHERE, SENT_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {ELSEWHERE, SENT_AMBIGUOUS, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {ELSEWHERE, SENT_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {ELSEWHERE, SETTLING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ELSEWHERE, SETTLING_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {ELSEWHERE, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},
    {REBOUND_NOT, HELD_REBINDING, IDEM_DO_REFUSE, REASON_STORE_DOWN, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {REBOUND_OK, HELD_REBINDING, IDEM_DO_SEND, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, "acknowledged"},
    {REBOUND_LOST, HELD_REBINDING, IDEM_DO_REFUSE, REASON_KEY_IN_PROGRESS, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "acknowledged"},
    {REBOUND_REFUSED, HELD_REBINDING, IDEM_DO_REFUSE, REASON_OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, "acknowledged"},
    {REBOUND_NONE, HELD_REBINDING, IDEM_DO_REFUSE, REASON_STORE_DOWN, OUTCOME_NOT_SENT, IDEM_STAGE_OVER, "acknowledged"},

    /* once more: to the same processor, where it de-duplicates and there is a record */
    {AGAIN, NEW, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_NEW, ""},
    {AGAIN, ASKING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {AGAIN, ASKING_PASS, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {AGAIN, ASKING_ONCE, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_ASKING, ""},
    {AGAIN, HELD, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {AGAIN, HELD_MOVABLE, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {AGAIN, HELD_REBINDING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {AGAIN, HELD_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_NOT_SENT, IDEM_STAGE_HELD, ""},
    {AGAIN, SENT, IDEM_DO_SEND_SAME, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, "ambiguous"},
    {AGAIN, SENT_ONCE, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {AGAIN, SENT_UNRECORDED, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {AGAIN, SENT_AMBIGUOUS, IDEM_DO_SEND_SAME, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {AGAIN, SENT_RECEIPT, IDEM_DO_SEND_SAME, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_SENT, ""},
    {AGAIN, SETTLING, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {AGAIN, SETTLING_RECEIPT, IDEM_DO_NOTHING, REASON_OK, OUTCOME_ANSWERED, IDEM_STAGE_SETTLING, ""},
    {AGAIN, OVER, IDEM_DO_NOTHING, REASON_OK, OUTCOME_UNKNOWN, IDEM_STAGE_OVER, ""},

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
        assert_int_equal(driver.may_move, before.may_move && strstr(cell->sets, "moved") == NULL);
        assert_int_equal(driver.rebinding, strstr(cell->sets, "rebinding") != NULL ||
                                               (before.rebinding && strstr(cell->sets, "acknowledged") == NULL));
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

/* No way leads there; should one be built, the record still stays where it is. */
static void test_a_record_that_may_be_paid_with_never_moves(void **state)
{
    struct idem_driver driver = {.stage = IDEM_STAGE_HELD, .ambiguous = true, .may_move = true};

    (void)state;
    assert_int_equal(idem_step(&driver, &events[ELSEWHERE]).act, IDEM_DO_NOTHING);
    assert_false(driver.rebinding);
}

/* A later refusal, a refused connection, silence: none of them says anything of the attempt before. */
static void test_what_was_sent_once_more_is_never_freed(void **state)
{
    static const enum happening ends[] = {ANSWER_NOT_EXECUTED, ANSWER_UNPROVEN, ANSWER_BUSY, NO_ANSWER};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        for (int byte_out = 0; byte_out <= 1; byte_out++) {
            struct idem_driver driver = drivers[SENT];
            assert_int_equal(idem_step(&driver, &events[AGAIN]).act, IDEM_DO_SEND_SAME);
            if (byte_out == 1) {
                assert_int_equal(idem_step(&driver, &events[FIRST_BYTE]).act, IDEM_DO_NOTHING);
            }
            struct idem_next next = idem_step(&driver, &events[ends[i]]);
            assert_int_equal(next.act, IDEM_DO_MARK);
            assert_int_equal(next.outcome, OUTCOME_UNKNOWN);
        }
    }
}

/* Bound elsewhere, it is as it was: sent, answered, freed by a refusal; but it moves no more. */
static void test_what_was_rebound_goes_on_as_any_other_and_moves_once(void **state)
{
    struct idem_driver driver = drivers[HELD_MOVABLE];

    (void)state;
    assert_int_equal(idem_step(&driver, &events[ELSEWHERE]).act, IDEM_DO_REBIND);
    assert_int_equal(idem_step(&driver, &events[REBOUND_OK]).act, IDEM_DO_SEND);
    assert_int_equal(idem_step(&driver, &events[ELSEWHERE]).act, IDEM_DO_NOTHING);
    (void)idem_step(&driver, &events[FIRST_BYTE]);
    assert_int_equal(idem_step(&driver, &events[ELSEWHERE]).act, IDEM_DO_NOTHING);
    assert_int_equal(idem_step(&driver, &events[ANSWER_NOT_EXECUTED]).act, IDEM_DO_ABANDON);
}

/* The store did not say in time which of the two it is bound to: neither may have it. */
static void test_a_rebind_without_a_reply_frees_the_key_and_sends_nothing(void **state)
{
    struct idem_driver driver = drivers[HELD_REBINDING];

    (void)state;
    assert_int_equal(idem_step(&driver, &events[REBOUND_NOT]).reason, REASON_STORE_DOWN);
    assert_int_equal(idem_step(&driver, &events[ELSEWHERE]).act, IDEM_DO_NOTHING);
    assert_int_equal(idem_step(&driver, &events[NO_ANSWER]).act, IDEM_DO_ABANDON);
}

/* ---- any life ---- */

#define LIVES 100000
#define STEPS 20

/* What was seen of one exchange. */
struct life {
    bool byte_out;    /* ours */
    bool earlier;     /* an owner before us may have sent */
    bool not_final;   /* it ended without a definite answer, and more than a refusal */
    bool completed;
    bool moving;      /* the store was asked to bind it elsewhere and did not say that it is */
    bool again;       /* sent once more by us */
    int sends;        /* that neither a rebind nor a second attempt led to */
    int moves;
};

static void check_step(struct life *life, const struct idem_driver *driver, enum happening happening, struct idem_next next)
{
    bool sends = next.act == IDEM_DO_SEND || next.act == IDEM_DO_SEND_SAME;

    life->sends += sends && happening != REBOUND_OK && happening != AGAIN ? 1 : 0;
    life->again |= sends && happening == AGAIN;
    life->earlier |= next.act == IDEM_DO_SEND_SAME;
    life->byte_out |= happening == FIRST_BYTE;
    life->not_final |= life->byte_out && (happening == NO_ANSWER || happening == ANSWER_UNPROVEN || happening == ANSWER_BUSY);
    assert_true(life->sends <= 1);
    assert_false(next.act == IDEM_DO_SEND && (life->byte_out || life->earlier));
    assert_false(sends && (life->completed || (life->byte_out && !life->again)));
    /* To another processor only from where nothing is, and no byte before the store has said so. */
    assert_false(next.act == IDEM_DO_REBIND && (life->byte_out || life->earlier || driver->unrecorded || life->moves > 0));
    assert_false(life->moving && (happening == FIRST_BYTE || (sends && happening != REBOUND_OK)));
    life->moves += next.act == IDEM_DO_REBIND ? 1 : 0;
    life->moving = (life->moving && happening != REBOUND_OK) || next.act == IDEM_DO_REBIND;
    /* Freed only where no money can have moved. */
    assert_false(next.act == IDEM_DO_ABANDON && (life->earlier || life->again || life->not_final || life->completed || driver->ambiguous));
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
    enum situation situation = any_of_stage[driver->stage];
    if (driver->stage == IDEM_STAGE_HELD && driver->rebinding) {
        situation = HELD_REBINDING;
    }
    return cell_of(happening, situation) != NULL;
}

static void test_no_life_of_an_exchange_loses_track_of_the_money(void **state)
{
    uint64_t random = 88172645463325252u;
    int completed = 0, again = 0, moved = 0;

    (void)state;
    for (int i = 0; i < LIVES; i++) {
        struct idem_driver driver = {.single_shot = random_next(&random) % 4 == 0, .pass_when_down = random_next(&random) % 2 == 0,
                                     .may_move = random_next(&random) % 2 == 0};
        const bool moves = driver.may_move;
        struct life life = {0};

        for (int step = 0; step < STEPS;) {
            enum happening happening = (enum happening)(random_next(&random) % HAPPENING_COUNT);
            if (!may_come(&life, &driver, happening)) {
                continue;
            }
            struct idem_next next = idem_step(&driver, &events[happening]);
            assert_true(moves || next.act != IDEM_DO_REBIND);
            check_step(&life, &driver, happening, next);
            assert_false(driver.single_shot && (life.earlier || driver.unrecorded));
            step++;
        }
        completed += life.completed ? 1 : 0;
        again += life.again ? 1 : 0;
        moved += life.moves > 0 && life.byte_out ? 1 : 0;
    }
    assert_in_range(completed, LIVES / 50, LIVES); /* the walk comes to what it checks */
    assert_in_range(again, LIVES / 50, LIVES);
    assert_in_range(moved, LIVES / 2000, LIVES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_in_every_stage),
        cmocka_unit_test(test_what_cannot_happen_is_a_bug),
        cmocka_unit_test(test_what_is_in_no_table_is_a_bug),
        cmocka_unit_test(test_a_record_that_may_be_paid_with_never_moves),
        cmocka_unit_test(test_what_was_sent_once_more_is_never_freed),
        cmocka_unit_test(test_what_was_rebound_goes_on_as_any_other_and_moves_once),
        cmocka_unit_test(test_a_rebind_without_a_reply_frees_the_key_and_sends_nothing),
        cmocka_unit_test(test_no_life_of_an_exchange_loses_track_of_the_money),
    };
    return cmocka_run_group_tests_name("policy/idem_step", tests, NULL, NULL);
}
