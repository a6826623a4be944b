/*
 * The record's transition: every operation in every situation, what each of them
 * writes and tells, and what must hold after any sequence of them.
 */
#include "base/unit.h"

#include "weir/policy/idem.h"

/* The clock of the store, and the durations that all rows are made of. */
#define NOW_MS 1000000u
#define LEASE_MS 15000u
#define RESEND_MS 600000u
#define KEEP_UNKNOWN_MS 5000000u
#define KEEP_RECEIPT_MS 3000000u
#define KEEP_MS 2000000u
#define MARGIN_MS 100000u

static const char sealed_key[] = "sealed key";
static const char answer[] = "sealed answer";

/* What an operation may find. */
enum situation {
    FREE,
    OWN,               /* in flight, the asker's, its lease runs */
    OWN_AMBIGUOUS,     /* the same after a takeover */
    OWN_ONCE,          /* the asker's, and another one's mark came; its processor never de-duplicates */
    OWN_OVER,          /* the asker's, its lease is over */
    OTHERS,            /* another owner's, its lease runs */
    OTHERS_OVER,       /* its lease is over, and it may be sent again */
    OTHERS_OVER_TOLD,  /* the same, and it had been unknown before */
    OTHERS_OVER_OLD,   /* its lease is over, and so is the time in which it may be sent again */
    OTHERS_OVER_ONCE,  /* its lease is over; its processor never de-duplicates */
    UNKNOWN_OWN,
    UNKNOWN_YOUNG,
    UNKNOWN_OLD,
    UNKNOWN_ENDING,    /* it has less to live than the sweep's margin */
    DONE_KEPT,
    DONE_STALE,        /* the answer's time is over; it may be sent again */
    DONE_BARE,         /* no answer was kept; it may be sent again */
    DONE_BARE_OLD,     /* no answer was kept; it may not */
    SITUATION_COUNT,
};

static const char *const situation_names[SITUATION_COUNT] = {
    "FREE",        "OWN",           "OWN_AMBIGUOUS", "OWN_ONCE", "OWN_OVER",       "OTHERS",    "OTHERS_OVER", "OTHERS_OVER_TOLD", "OTHERS_OVER_OLD", "OTHERS_OVER_ONCE",
    "UNKNOWN_OWN", "UNKNOWN_YOUNG", "UNKNOWN_OLD",   "UNKNOWN_ENDING", "DONE_KEPT", "DONE_STALE",  "DONE_BARE",        "DONE_BARE_OLD",
};

static void fill_in_flight(struct idem_record *record, enum situation situation)
{
    record->state = IDEM_IN_FLIGHT;
    bool runs = situation == OWN || situation == OWN_AMBIGUOUS || situation == OWN_ONCE || situation == OTHERS;
    record->lease_ms = runs ? NOW_MS + 1 : NOW_MS;
    record->ambiguous = situation == OWN_AMBIGUOUS || situation == OWN_ONCE || situation == OTHERS_OVER_TOLD;
    record->told = situation == OTHERS_OVER_TOLD;
    record->takeovers = situation == OWN_AMBIGUOUS || situation == OTHERS_OVER_TOLD ? 1 : 0;
    if (situation == OTHERS_OVER_OLD) {
        record->begun_ms = NOW_MS - RESEND_MS;
    }
    if (situation == OTHERS_OVER_ONCE || situation == OWN_ONCE) {
        record->resend_ms = 0;
    }
}

static void fill_unknown(struct idem_record *record, enum situation situation)
{
    record->state = IDEM_UNKNOWN;
    record->lease_ms = NOW_MS - 10;
    record->ambiguous = true;
    record->told = true;
    if (situation == UNKNOWN_OLD) {
        record->begun_ms = NOW_MS - RESEND_MS;
    }
    if (situation == UNKNOWN_ENDING) {
        record->expires_ms = NOW_MS + MARGIN_MS - 1;
    }
}

static void fill_done(struct idem_record *record, enum situation situation)
{
    record->state = IDEM_DONE;
    record->status = 201;
    record->done_ms = NOW_MS - 20;
    record->expires_ms = NOW_MS + KEEP_RECEIPT_MS - 20;
    if (situation == DONE_KEPT || situation == DONE_STALE) {
        record->answer = bytes_from_text(answer);
        record->answer_expires_ms = situation == DONE_KEPT ? NOW_MS + 1 : NOW_MS;
    }
    if (situation == DONE_BARE_OLD) {
        record->begun_ms = NOW_MS - RESEND_MS;
    }
}

static bool is_own(enum situation situation)
{
    return (situation >= OWN && situation <= OWN_OVER) || situation == UNKNOWN_OWN;
}

static void fill_record(struct idem_record *record, enum situation situation)
{
    memset(record, 0, sizeof *record);
    if (situation == FREE) {
        return;
    }
    bool own = is_own(situation);
    memset(record->owner, own ? 'o' : 'x', sizeof record->owner);
    memset(record->print, 'p', sizeof record->print);
    memset(record->bind, 'b', sizeof record->bind);
    (void)bytes_to_text(BYTES("acme"), record->processor, sizeof record->processor);
    (void)bytes_to_text(BYTES("first"), record->request_id, sizeof record->request_id);
    record->upstream_key = bytes_from_text(sealed_key);
    record->begun_ms = NOW_MS - 100;
    record->resend_ms = RESEND_MS;
    record->expires_ms = NOW_MS + KEEP_UNKNOWN_MS - 100;
    if (situation >= DONE_KEPT) {
        fill_done(record, situation);
    } else if (situation >= UNKNOWN_OWN) {
        fill_unknown(record, situation);
    } else {
        fill_in_flight(record, situation);
    }
}

static struct idem_op make_op(enum idem_op_kind kind)
{
    struct idem_op op = {
        .kind = kind,
        .processor = BYTES("acme"),
        .upstream_key = bytes_from_text(sealed_key),
        .resend_ms = RESEND_MS,
        .keep_unknown_ms = KEEP_UNKNOWN_MS,
        .lease_ms = LEASE_MS,
        .age_ms = 300,
        .status = 402,
        .answer = BYTES("another answer"),
        .keep_ms = KEEP_MS,
        .keep_receipt_ms = KEEP_RECEIPT_MS,
        .executed = true,
        .margin_ms = MARGIN_MS,
    };
    memset(op.owner, 'o', sizeof op.owner);
    memset(op.print, 'p', sizeof op.print);
    memset(op.bind, kind == IDEM_REBIND ? 'c' : 'b', sizeof op.bind);
    (void)bytes_to_text(BYTES("second"), op.request_id, sizeof op.request_id);
    return op;
}

/* ---- every cell ---- */

struct cell {
    enum idem_verdict verdict;
    enum idem_change change;
    enum idem_state state;
    const char *events; /* "told", "resolved" or ""; NULL: the cell is missing */
};

static const struct cell cells[IDEM_OP_COUNT][SITUATION_COUNT] = {
    [IDEM_BEGIN] =
        {
            [FREE] = {IDEM_NEW, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OWN] = {IDEM_NEW, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_AMBIGUOUS] = {IDEM_TAKEN_OVER, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_ONCE] = {IDEM_STUCK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OWN_OVER] = {IDEM_NEW, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS] = {IDEM_BUSY, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER] = {IDEM_TAKEN_OVER, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_TOLD] = {IDEM_TAKEN_OVER, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_OLD] = {IDEM_STUCK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OTHERS_OVER_ONCE] = {IDEM_STUCK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [UNKNOWN_OWN] = {IDEM_TAKEN_OVER, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [UNKNOWN_YOUNG] = {IDEM_TAKEN_OVER, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [UNKNOWN_OLD] = {IDEM_STUCK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_ENDING] = {IDEM_TAKEN_OVER, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [DONE_KEPT] = {IDEM_REPLAY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_RECEIPT, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_RECEIPT, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_RECEIPT, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_RENEW] =
        {
            [FREE] = {IDEM_NONE, IDEM_KEEP, IDEM_ABSENT, ""},
            [OWN] = {IDEM_OK, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OWN_AMBIGUOUS] = {IDEM_OK, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OWN_ONCE] = {IDEM_OK, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OWN_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OTHERS] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_TOLD] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_ONCE] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [UNKNOWN_OWN] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_YOUNG] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_ENDING] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [DONE_KEPT] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_COMPLETE] =
        {
            [FREE] = {IDEM_REASSERTED, IDEM_WRITE, IDEM_DONE, ""},
            [OWN] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OWN_AMBIGUOUS] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OWN_ONCE] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OWN_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OTHERS] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OTHERS_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OTHERS_OVER_TOLD] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [OTHERS_OVER_OLD] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OTHERS_OVER_ONCE] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [UNKNOWN_OWN] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [UNKNOWN_YOUNG] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [UNKNOWN_OLD] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [UNKNOWN_ENDING] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [DONE_KEPT] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_MARK] =
        {
            [FREE] = {IDEM_REASSERTED, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OWN] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OWN_AMBIGUOUS] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OWN_ONCE] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OWN_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OTHERS] = {IDEM_LOST, IDEM_WRITE, IDEM_IN_FLIGHT, ""}, /* it is ambiguous now */
            [OTHERS_OVER] = {IDEM_LOST, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_TOLD] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_OLD] = {IDEM_LOST, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_ONCE] = {IDEM_LOST, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [UNKNOWN_OWN] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_YOUNG] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_ENDING] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [DONE_KEPT] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_ABANDON] =
        {
            [FREE] = {IDEM_OK, IDEM_KEEP, IDEM_ABSENT, ""},
            [OWN] = {IDEM_OK, IDEM_DELETE, IDEM_ABSENT, ""},
            [OWN_AMBIGUOUS] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_ONCE] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_OVER] = {IDEM_OK, IDEM_DELETE, IDEM_ABSENT, ""},
            [OTHERS] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_TOLD] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_ONCE] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [UNKNOWN_OWN] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_YOUNG] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_ENDING] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [DONE_KEPT] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_RESOLVE] = /* executed; not executed has a test of its own */
        {
            [FREE] = {IDEM_NONE, IDEM_KEEP, IDEM_ABSENT, ""},
            [OWN] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_AMBIGUOUS] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_ONCE] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OTHERS] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OTHERS_OVER_TOLD] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [OTHERS_OVER_OLD] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [OTHERS_OVER_ONCE] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, ""},
            [UNKNOWN_OWN] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [UNKNOWN_YOUNG] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [UNKNOWN_OLD] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [UNKNOWN_ENDING] = {IDEM_OK, IDEM_WRITE, IDEM_DONE, "resolved"},
            [DONE_KEPT] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_ALREADY, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_LAPSE] =
        {
            [FREE] = {IDEM_EXPIRED, IDEM_KEEP, IDEM_ABSENT, ""},
            [OWN] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_AMBIGUOUS] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_ONCE] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OTHERS] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OTHERS_OVER_TOLD] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, ""},
            [OTHERS_OVER_OLD] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [OTHERS_OVER_ONCE] = {IDEM_OK, IDEM_WRITE, IDEM_UNKNOWN, "told"},
            [UNKNOWN_OWN] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_YOUNG] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_OLD] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_ENDING] = {IDEM_EXPIRED, IDEM_DELETE, IDEM_ABSENT, "resolved"},
            [DONE_KEPT] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_READ] =
        {
            [FREE] = {IDEM_NONE, IDEM_KEEP, IDEM_ABSENT, ""},
            [OWN] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_AMBIGUOUS] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_ONCE] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_OVER] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [OTHERS] = {IDEM_OK, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [OTHERS_OVER_TOLD] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [OTHERS_OVER_OLD] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [OTHERS_OVER_ONCE] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_OWN] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_YOUNG] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_OLD] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_ENDING] = {IDEM_OK, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [DONE_KEPT] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_OK, IDEM_KEEP, IDEM_DONE, ""},
        },
    [IDEM_REBIND] =
        {
            [FREE] = {IDEM_NONE, IDEM_KEEP, IDEM_ABSENT, ""},
            [OWN] = {IDEM_OK, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OWN_AMBIGUOUS] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_ONCE] = {IDEM_REFUSED, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OWN_OVER] = {IDEM_OK, IDEM_WRITE, IDEM_IN_FLIGHT, ""},
            [OTHERS] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_TOLD] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [OTHERS_OVER_ONCE] = {IDEM_LOST, IDEM_KEEP, IDEM_IN_FLIGHT, ""},
            [UNKNOWN_OWN] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_YOUNG] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [UNKNOWN_ENDING] = {IDEM_LOST, IDEM_KEEP, IDEM_UNKNOWN, ""},
            [DONE_KEPT] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_STALE] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
            [DONE_BARE_OLD] = {IDEM_LOST, IDEM_KEEP, IDEM_DONE, ""},
        },
};

static const char *events_of(const struct idem_result *result)
{
    assert_false(result->told_now && result->resolved_now);
    return result->told_now ? "told" : result->resolved_now ? "resolved" : "";
}

static void check_cell(enum idem_op_kind kind, enum situation situation)
{
    const struct cell *cell = &cells[kind][situation];
    struct idem_record record;
    struct idem_record before;
    struct idem_result result;
    struct idem_op op = make_op(kind);

    fill_record(&record, situation);
    before = record;
    enum idem_change change = idem_apply(&record, &op, NOW_MS, &result);
    if (cell->events == NULL || result.verdict != cell->verdict || change != cell->change ||
        result.state != cell->state || strcmp(events_of(&result), cell->events) != 0) {
        fail_msg("op %d on %s: %s, change %d, %s, \"%s\"", (int)kind, situation_names[situation],
                 idem_verdict_name(result.verdict), (int)change, idem_state_name(result.state), events_of(&result));
    }
    if (change == IDEM_KEEP) {
        assert_memory_equal(&record, &before, sizeof record);
    }
    assert_int_equal(record.state == IDEM_ABSENT, change == IDEM_DELETE || (situation == FREE && change == IDEM_KEEP));
    /* Whose record it is or was, wherever there was or is one. */
    assert_string_equal(result.processor, situation == FREE && change == IDEM_KEEP ? "" : "acme");
    assert_string_equal(result.request_id, situation != FREE ? "first" : change == IDEM_WRITE ? "second" : "");
    /* The key in the processor's hands is told to those alone who must use it. */
    bool sends_again = result.verdict == IDEM_TAKEN_OVER || result.verdict == IDEM_RECEIPT;
    assert_bytes(result.upstream_key, sends_again ? sealed_key : "");
}

static void test_every_operation_in_every_situation(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < IDEM_OP_COUNT; kind++) {
        for (unsigned situation = 0; situation < SITUATION_COUNT; situation++) {
            check_cell((enum idem_op_kind)kind, (enum situation)situation);
        }
    }
}

static void test_another_request_under_the_key_learns_nothing(void **state)
{
    static const struct idem_result nothing = {.verdict = IDEM_MISMATCH};

    (void)state;
    for (unsigned situation = FREE + 1; situation < SITUATION_COUNT; situation++) {
        struct idem_record record;
        struct idem_record before;
        struct idem_result result;
        struct idem_op op = make_op(IDEM_BEGIN);

        op.print[IDEM_PRINT_BYTES - 1] ^= 1;
        fill_record(&record, (enum situation)situation);
        before = record;
        assert_int_equal(idem_apply(&record, &op, NOW_MS, &result), IDEM_KEEP);
        assert_memory_equal(&result, &nothing, sizeof result);
        assert_memory_equal(&record, &before, sizeof record);
    }
}

/* The owner of the record is itself; all others who bring another fingerprint or binding raise an alarm. */
static void check_conflict(enum idem_op_kind kind, enum situation situation, bool other_print)
{
    struct idem_record record;
    struct idem_record before;
    struct idem_result result;
    struct idem_op op = make_op(kind);
    bool own = is_own(situation);

    if (other_print) {
        op.print[0] ^= 1;
    } else {
        op.bind[IDEM_BIND_BYTES - 1] ^= 1;
    }
    fill_record(&record, situation);
    before = record;
    enum idem_change change = idem_apply(&record, &op, NOW_MS, &result);
    if (kind == IDEM_MARK && own) {
        assert_int_equal(result.verdict, IDEM_OK);
        return;
    }
    assert_int_equal(result.verdict, IDEM_CONFLICT);
    assert_int_equal(change, IDEM_KEEP);
    assert_memory_equal(&record, &before, sizeof record);
    assert_int_equal(result.answer.len, 0);
    assert_int_equal(result.status, 0);
    assert_string_equal(result.processor, "acme");
}

static void test_an_answer_that_belongs_elsewhere_is_an_alarm(void **state)
{
    (void)state;
    for (unsigned situation = FREE + 1; situation < SITUATION_COUNT; situation++) {
        for (int other_print = 0; other_print <= 1; other_print++) {
            check_conflict(IDEM_COMPLETE, (enum situation)situation, other_print == 1);
            check_conflict(IDEM_MARK, (enum situation)situation, other_print == 1);
        }
    }
}

static void test_an_operator_who_found_nothing_frees_the_key(void **state)
{
    static const struct {
        enum situation situation;
        enum idem_verdict verdict;
        enum idem_change change;
        bool resolved;
    } rows[] = {
        {FREE, IDEM_NONE, IDEM_KEEP, false},
        {OWN, IDEM_REFUSED, IDEM_KEEP, false},
        {OTHERS, IDEM_REFUSED, IDEM_KEEP, false},
        {OTHERS_OVER, IDEM_OK, IDEM_DELETE, false},
        {OTHERS_OVER_TOLD, IDEM_OK, IDEM_DELETE, true},
        {UNKNOWN_YOUNG, IDEM_OK, IDEM_DELETE, true},
        {UNKNOWN_OLD, IDEM_OK, IDEM_DELETE, true},
        {DONE_KEPT, IDEM_ALREADY, IDEM_KEEP, false},
        {DONE_BARE_OLD, IDEM_ALREADY, IDEM_KEEP, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct idem_record record;
        struct idem_result result;
        struct idem_op op = make_op(IDEM_RESOLVE);

        op.executed = false;
        fill_record(&record, rows[i].situation);
        assert_int_equal(idem_apply(&record, &op, NOW_MS, &result), rows[i].change);
        assert_int_equal(result.verdict, rows[i].verdict);
        assert_int_equal(result.resolved_now, rows[i].resolved);
        assert_false(result.told_now);
    }
}

/* ---- what is written and told ---- */

static struct idem_result apply_at(struct idem_record *record, enum situation situation, const struct idem_op *op, uint64_t now_ms)
{
    struct idem_result result;

    fill_record(record, situation);
    (void)idem_apply(record, op, now_ms, &result);
    return result;
}

static struct idem_result apply(struct idem_record *record, enum situation situation, enum idem_op_kind kind)
{
    struct idem_op op = make_op(kind);

    return apply_at(record, situation, &op, NOW_MS);
}

static void test_a_new_record_says_who_holds_it_and_what_it_is_bound_to(void **state)
{
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_record record;
    struct idem_result result;

    (void)state;
    memset(&record, 0xaa, sizeof record); /* nothing of what was there before may stay */
    record.state = IDEM_ABSENT;
    assert_int_equal(idem_apply(&record, &op, NOW_MS, &result), IDEM_WRITE);
    assert_memory_equal(record.owner, op.owner, sizeof op.owner);
    assert_memory_equal(record.print, op.print, sizeof op.print);
    assert_memory_equal(record.bind, op.bind, sizeof op.bind);
    assert_string_equal(record.processor, "acme");
    assert_string_equal(record.request_id, "second");
    assert_bytes(record.upstream_key, sealed_key);
    assert_int_equal(record.begun_ms, NOW_MS);
    assert_int_equal(record.resend_ms, RESEND_MS);
    assert_int_equal(record.lease_ms, NOW_MS + LEASE_MS);
    assert_int_equal(record.expires_ms, NOW_MS + KEEP_UNKNOWN_MS);
    assert_int_equal(record.takeovers, 0);
    assert_false(record.ambiguous || record.told);
    assert_int_equal(record.answer.len + record.answer_expires_ms + record.status + record.done_ms, 0);
    assert_int_equal(result.age_ms + result.left_ms, 0);
}

static void test_names_of_full_length_are_kept_whole(void **state)
{
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_record record;

    (void)state;
    memset(processor, 'p', IDEM_PROCESSOR_BYTES_MAX);
    processor[IDEM_PROCESSOR_BYTES_MAX] = '\0';
    op.processor = bytes_from_text(processor);
    memset(op.request_id, 'r', IDEM_REQUEST_ID_BYTES);
    struct idem_result result = apply_at(&record, FREE, &op, NOW_MS);
    assert_string_equal(record.processor, processor);
    assert_string_equal(result.processor, processor);
    assert_int_equal(strlen(record.request_id), IDEM_REQUEST_ID_BYTES);
    assert_string_equal(result.request_id, record.request_id);
}

static void begin_with_a_long_name(void)
{
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_record record;

    memset(processor, 'p', sizeof processor);
    op.processor = bytes_of(processor, sizeof processor);
    (void)apply_at(&record, FREE, &op, NOW_MS);
}

static void rebind_to_a_long_name(void)
{
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    struct idem_op op = make_op(IDEM_REBIND);
    struct idem_record record;

    memset(processor, 'p', sizeof processor);
    op.processor = bytes_of(processor, sizeof processor);
    (void)apply_at(&record, OWN, &op, NOW_MS);
}

static void op_of_no_table_on_none(void)
{
    struct idem_record record;

    (void)apply(&record, FREE, IDEM_OP_COUNT);
}

static void op_of_no_table(void)
{
    struct idem_record record;

    (void)apply(&record, OWN, IDEM_OP_COUNT);
}

static void test_what_no_caller_may_ask_is_a_bug(void **state)
{
    (void)state;
    assert_true(aborts(begin_with_a_long_name));
    assert_true(aborts(rebind_to_a_long_name));
    assert_true(aborts(op_of_no_table_on_none));
    assert_true(aborts(op_of_no_table));
}

static void test_a_takeover_keeps_what_was_bound_and_tells_it(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_BEGIN);

    (void)state;
    op.processor = BYTES("other");
    op.upstream_key = BYTES("other key");
    op.resend_ms = 0;
    memset(op.bind, 'c', sizeof op.bind);
    for (int told = 0; told <= 1; told++) {
        struct idem_result result = apply_at(&record, told ? UNKNOWN_YOUNG : OTHERS_OVER, &op, NOW_MS);
        assert_int_equal(result.verdict, IDEM_TAKEN_OVER);
        assert_string_equal(result.processor, "acme");
        assert_bytes(result.upstream_key, sealed_key);
        assert_int_equal(result.age_ms, 100);
        assert_int_equal(result.takeovers, 1);
        assert_string_equal(record.processor, "acme");
        assert_bytes(record.upstream_key, sealed_key);
        assert_int_equal(record.bind[0], 'b');
        assert_int_equal(record.resend_ms, RESEND_MS);
        assert_int_equal(record.begun_ms, NOW_MS - 100); /* the processor counts from the first time */
        assert_memory_equal(record.owner, op.owner, sizeof op.owner);
        assert_int_equal(record.lease_ms, NOW_MS + LEASE_MS);
        assert_int_equal(record.expires_ms, NOW_MS + KEEP_UNKNOWN_MS);
        assert_true(record.ambiguous);
        assert_int_equal(record.told, told);
    }
}

/* ---- bound anew ---- */

static struct idem_op make_rebind(void)
{
    struct idem_op op = make_op(IDEM_REBIND);

    op.processor = BYTES("other");
    op.upstream_key = BYTES("other key");
    op.resend_ms = 700;
    return op;
}

static void test_a_rebind_changes_what_the_record_is_bound_to_and_starts_its_time_anew(void **state)
{
    static const enum situation situations[] = {OWN, OWN_OVER};
    struct idem_op op = make_rebind();

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(situations); i++) {
        struct idem_record record;
        struct idem_result result = apply_at(&record, situations[i], &op, NOW_MS);

        assert_int_equal(result.verdict, IDEM_OK);
        assert_string_equal(result.processor, "other");
        assert_int_equal(result.age_ms, 0);
        assert_string_equal(record.processor, "other");
        assert_bytes(record.upstream_key, "other key");
        assert_memory_equal(record.bind, op.bind, sizeof op.bind);
        assert_int_equal(record.resend_ms, 700);
        assert_int_equal(record.begun_ms, NOW_MS);
        assert_int_equal(record.lease_ms, NOW_MS + LEASE_MS);
        assert_int_equal(record.expires_ms, NOW_MS + KEEP_UNKNOWN_MS);
        /* Whose it is, and of what request, stays. */
        assert_memory_equal(record.owner, op.owner, sizeof op.owner);
        assert_memory_equal(record.print, op.print, sizeof op.print);
        assert_string_equal(record.request_id, "first");
        assert_int_equal(record.takeovers, 0);
        assert_false(record.ambiguous || record.told);
    }
}

/* Its token is random, and of one attempt: who has it has the right request. */
static void test_a_rebind_by_its_owner_is_not_asked_for_the_print(void **state)
{
    struct idem_op op = make_rebind();
    struct idem_record record;

    (void)state;
    op.print[0] ^= 1;
    assert_int_equal(apply_at(&record, OWN, &op, NOW_MS).verdict, IDEM_OK);
    assert_int_equal(record.print[0], 'p');
}

/* It may have been sent by then: the processor counts from the first time. */
static void test_a_rebind_that_comes_again_changes_nothing(void **state)
{
    struct idem_op op = make_rebind();
    struct idem_record record;
    struct idem_result result;

    (void)state;
    (void)apply_at(&record, OWN, &op, NOW_MS);
    assert_int_equal(idem_apply(&record, &op, NOW_MS + 5, &result), IDEM_KEEP);
    assert_int_equal(result.verdict, IDEM_OK);
    assert_int_equal(result.age_ms, 5);
    assert_int_equal(record.begun_ms, NOW_MS);
}

static void test_a_takeover_goes_where_the_record_was_rebound_to(void **state)
{
    struct idem_op op = make_rebind();
    struct idem_op begin = make_op(IDEM_BEGIN);
    struct idem_record record;
    struct idem_result result;

    (void)state;
    memset(begin.owner, 'n', sizeof begin.owner);
    (void)apply_at(&record, OWN, &op, NOW_MS);
    (void)idem_apply(&record, &begin, NOW_MS + 1, &result);
    assert_int_equal(result.verdict, IDEM_BUSY); /* the lease is anew */
    op.lease_ms = 1;
    (void)apply_at(&record, OWN, &op, NOW_MS);
    (void)idem_apply(&record, &begin, NOW_MS + 699, &result);
    assert_int_equal(result.verdict, IDEM_TAKEN_OVER);
    assert_string_equal(result.processor, "other");
    assert_bytes(result.upstream_key, "other key");
    assert_int_equal(result.age_ms, 699);
    /* From here on it stays there: for who lost it, and for who has it. */
    (void)idem_apply(&record, &op, NOW_MS + 699, &result);
    assert_int_equal(result.verdict, IDEM_LOST);
    memset(op.owner, 'n', sizeof op.owner);
    (void)idem_apply(&record, &op, NOW_MS + 699, &result);
    assert_int_equal(result.verdict, IDEM_REFUSED);
    assert_string_equal(record.processor, "other");
}

/* Whoever still answers for the processor that it left was asked against all rules. */
static void test_an_answer_of_the_processor_that_it_left_is_an_alarm(void **state)
{
    struct idem_op op = make_rebind();
    struct idem_op complete = make_op(IDEM_COMPLETE);
    struct idem_record record;
    struct idem_result result;

    (void)state;
    (void)apply_at(&record, OWN, &op, NOW_MS);
    assert_int_equal(idem_apply(&record, &complete, NOW_MS, &result), IDEM_KEEP);
    assert_int_equal(result.verdict, IDEM_CONFLICT);
    complete.processor = op.processor;
    memcpy(complete.bind, op.bind, sizeof op.bind);
    assert_int_equal(idem_apply(&record, &complete, NOW_MS, &result), IDEM_WRITE);
    assert_int_equal(result.verdict, IDEM_OK);
}

/* ---- told with times ---- */

static void test_a_begin_that_is_repeated_after_a_takeover_does_not_look_new(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_result again;

    (void)state;
    assert_int_equal(apply_at(&record, UNKNOWN_YOUNG, &op, NOW_MS).verdict, IDEM_TAKEN_OVER);
    assert_int_equal(idem_apply(&record, &op, NOW_MS + 5, &again), IDEM_KEEP);
    assert_int_equal(again.verdict, IDEM_TAKEN_OVER);
    assert_bytes(again.upstream_key, sealed_key);
    assert_int_equal(again.takeovers, 1);
}

static void test_the_time_in_which_it_may_be_sent_again_ends_with_its_last_ms(void **state)
{
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_record record;
    uint64_t end_ms = NOW_MS - 100 + RESEND_MS;

    (void)state;
    assert_int_equal(apply_at(&record, UNKNOWN_YOUNG, &op, end_ms - 1).verdict, IDEM_TAKEN_OVER);
    assert_int_equal(apply_at(&record, UNKNOWN_YOUNG, &op, end_ms).verdict, IDEM_STUCK);
    assert_int_equal(apply_at(&record, DONE_BARE, &op, end_ms - 1).left_ms, 1);
    assert_int_equal(apply_at(&record, DONE_BARE, &op, end_ms).left_ms, 0);
    assert_int_equal(apply_at(&record, DONE_BARE, &op, end_ms + 5000).left_ms, 0);
}

static void test_busy_tells_how_long(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_result result = apply_at(&record, OTHERS, &op, NOW_MS - 50);

    (void)state;
    assert_int_equal(result.verdict, IDEM_BUSY);
    assert_int_equal(result.left_ms, 51);
    assert_int_equal(result.age_ms, 50);
}

static void test_a_clock_that_went_back_makes_nothing_old(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_result result = apply_at(&record, UNKNOWN_YOUNG, &op, 5);

    (void)state;
    assert_int_equal(result.verdict, IDEM_TAKEN_OVER);
    assert_int_equal(result.age_ms, 0);
}

static void test_what_is_done_is_told_with_its_answer_or_without(void **state)
{
    static const struct {
        enum situation situation;
        enum idem_op_kind kind;
        const char *answer;
        uint64_t left_ms;
    } rows[] = {
        {DONE_KEPT, IDEM_BEGIN, answer, 0},      {DONE_STALE, IDEM_BEGIN, "", RESEND_MS - 100},
        {DONE_BARE, IDEM_BEGIN, "", RESEND_MS - 100}, {DONE_BARE_OLD, IDEM_BEGIN, "", 0},
        {DONE_KEPT, IDEM_COMPLETE, answer, 0},   {DONE_STALE, IDEM_COMPLETE, "", 0},
        {DONE_KEPT, IDEM_MARK, answer, 0},       {DONE_BARE, IDEM_MARK, "", 0},
        {DONE_KEPT, IDEM_RESOLVE, answer, 0},    {DONE_KEPT, IDEM_READ, "", RESEND_MS - 100},
        {DONE_BARE_OLD, IDEM_READ, "", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct idem_record record;
        struct idem_result result = apply(&record, rows[i].situation, rows[i].kind);

        assert_int_equal(result.status, 201);
        assert_int_equal(result.done_ms, NOW_MS - 20);
        assert_bytes(result.answer, rows[i].answer);
        assert_int_equal(result.left_ms, rows[i].left_ms);
    }
}

static void test_complete_writes_the_answer_and_how_long_it_is_kept(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_COMPLETE);
    struct idem_result result = apply_at(&record, UNKNOWN_YOUNG, &op, NOW_MS);

    (void)state;
    assert_int_equal(result.verdict, IDEM_OK);
    assert_int_equal(record.status, 402);
    assert_int_equal(record.done_ms, NOW_MS);
    assert_bytes(record.answer, "another answer");
    assert_int_equal(record.answer_expires_ms, NOW_MS + KEEP_MS);
    assert_int_equal(record.expires_ms, NOW_MS + KEEP_RECEIPT_MS);
    assert_int_equal(record.begun_ms, NOW_MS - 100);
    assert_int_equal(record.lease_ms, 0);
    assert_false(record.told);
    op.answer = BYTES_NONE;
    (void)apply_at(&record, OWN, &op, NOW_MS);
    assert_int_equal(record.answer.len, 0);
    assert_int_equal(record.answer_expires_ms, 0);
    assert_int_equal(record.expires_ms, NOW_MS + KEEP_RECEIPT_MS);
}

static void test_a_lost_record_comes_back_as_old_as_its_owner_knows(void **state)
{
    static const enum idem_op_kind kinds[] = {IDEM_COMPLETE, IDEM_MARK};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct idem_record record;
        struct idem_op op = make_op(kinds[i]);
        struct idem_result result = apply_at(&record, FREE, &op, NOW_MS);

        assert_int_equal(result.verdict, IDEM_REASSERTED);
        assert_int_equal(record.begun_ms, NOW_MS - 300);
        assert_int_equal(result.age_ms, 300);
        assert_memory_equal(record.owner, op.owner, sizeof op.owner);
        assert_memory_equal(record.bind, op.bind, sizeof op.bind);
        assert_int_equal(record.resend_ms, RESEND_MS);
        assert_bytes(record.upstream_key, sealed_key);
        if (kinds[i] == IDEM_COMPLETE) {
            assert_bytes(record.answer, "another answer");
            assert_int_equal(record.answer_expires_ms, NOW_MS + KEEP_MS);
            assert_int_equal(record.expires_ms, NOW_MS + KEEP_RECEIPT_MS);
            assert_int_equal(record.status, 402);
        }
        op.age_ms = NOW_MS + 1; /* older than the clock */
        (void)apply_at(&record, FREE, &op, NOW_MS);
        assert_int_equal(record.begun_ms, 0);
    }
}

static void test_a_mark_lets_anybody_take_over_at_once(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_result result;

    (void)state;
    (void)apply(&record, OWN, IDEM_MARK);
    assert_int_equal(record.lease_ms, NOW_MS);
    assert_int_equal(record.expires_ms, NOW_MS + KEEP_UNKNOWN_MS);
    assert_true(record.ambiguous && record.told);
    memset(op.owner, 'n', sizeof op.owner);
    (void)idem_apply(&record, &op, NOW_MS, &result);
    assert_int_equal(result.verdict, IDEM_TAKEN_OVER);
    (void)apply(&record, FREE, IDEM_MARK);
    assert_int_equal(record.lease_ms, NOW_MS);
    assert_int_equal(record.expires_ms, NOW_MS + KEEP_UNKNOWN_MS);
    assert_true(record.ambiguous && record.told);
}

/* The store lost a record and granted the key anew: what its first owner knows still counts. */
static void test_a_mark_of_a_lost_owner_keeps_the_next_one_from_freeing_the_key(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_MARK);
    struct idem_op abandon = make_op(IDEM_ABANDON);
    struct idem_result result;

    (void)state;
    assert_int_equal(apply_at(&record, OTHERS, &op, NOW_MS).verdict, IDEM_LOST);
    assert_true(record.ambiguous);
    assert_false(record.told);
    memset(abandon.owner, 'x', sizeof abandon.owner);
    assert_int_equal(idem_apply(&record, &abandon, NOW_MS, &result), IDEM_KEEP);
    assert_int_equal(result.verdict, IDEM_REFUSED);
}

static void test_a_lease_is_renewed_from_now(void **state)
{
    struct idem_record record;

    (void)state;
    (void)apply(&record, OWN, IDEM_RENEW);
    assert_int_equal(record.lease_ms, NOW_MS + LEASE_MS);
    assert_int_equal(record.expires_ms, NOW_MS + KEEP_UNKNOWN_MS - 100);
}

static void test_a_lapse_leaves_all_but_the_state_as_it_was(void **state)
{
    struct idem_record record;
    struct idem_record before;

    (void)state;
    (void)apply(&record, OTHERS_OVER, IDEM_LAPSE);
    fill_record(&before, OTHERS_OVER);
    assert_true(record.ambiguous && record.told);
    assert_int_equal(record.lease_ms, before.lease_ms);
    assert_int_equal(record.expires_ms, before.expires_ms);
    assert_memory_equal(record.owner, before.owner, sizeof before.owner);
}

static void test_the_sweep_ends_an_unknown_within_its_margin(void **state)
{
    struct idem_op op = make_op(IDEM_LAPSE);
    struct idem_record record;

    (void)state;
    op.margin_ms = KEEP_UNKNOWN_MS - 100; /* its whole life: not less than that is left */
    assert_int_equal(apply_at(&record, UNKNOWN_YOUNG, &op, NOW_MS).verdict, IDEM_OK);
    op.margin_ms++;
    assert_int_equal(apply_at(&record, UNKNOWN_YOUNG, &op, NOW_MS).verdict, IDEM_EXPIRED);
    op.margin_ms = 0; /* a record whose time is over does not come here */
    assert_int_equal(apply_at(&record, UNKNOWN_YOUNG, &op, NOW_MS).verdict, IDEM_OK);
}

static void test_an_operator_who_found_it_leaves_a_receipt(void **state)
{
    struct idem_record record;
    struct idem_op op = make_op(IDEM_BEGIN);
    struct idem_result result;

    (void)state;
    (void)apply(&record, UNKNOWN_YOUNG, IDEM_RESOLVE);
    assert_int_equal(record.status, 0);
    assert_int_equal(record.done_ms, NOW_MS);
    assert_int_equal(record.answer.len, 0);
    assert_int_equal(record.expires_ms, NOW_MS + KEEP_RECEIPT_MS);
    assert_false(record.told);
    (void)idem_apply(&record, &op, NOW_MS, &result);
    assert_int_equal(result.verdict, IDEM_RECEIPT);
    assert_int_equal(result.status, 0);
}

static void test_reading_tells_since_when(void **state)
{
    struct idem_record record;
    struct idem_result result = apply(&record, OTHERS, IDEM_READ);

    (void)state;
    assert_int_equal(result.since_ms, NOW_MS - 100);
    assert_int_equal(result.unknown_ms, 0);
    assert_int_equal(result.left_ms, RESEND_MS - 100);
    assert_int_equal(apply(&record, OTHERS_OVER, IDEM_READ).unknown_ms, NOW_MS);
    assert_int_equal(apply(&record, UNKNOWN_YOUNG, IDEM_READ).unknown_ms, NOW_MS - 10);
    assert_int_equal(apply(&record, OWN_AMBIGUOUS, IDEM_READ).takeovers, 1);
}

static void test_open_records_are_due_when_their_lease_ends(void **state)
{
    struct idem_record record;

    (void)state;
    for (unsigned situation = 0; situation < SITUATION_COUNT; situation++) {
        fill_record(&record, (enum situation)situation);
        bool open = situation != FREE && situation < DONE_KEPT;
        assert_int_equal(idem_record_due_ms(&record), open ? record.lease_ms : 0);
    }
}

/* ---- any sequence ---- */

#define OWNERS 4
#define SEQUENCES 4000
#define STEPS 60

/* What was seen of one record, from its birth on. */
struct history {
    bool open;      /* told and not resolved */
    bool may_be_executed; /* an owner marked it, went silent, or was taken over from */
    bool done;
    uint64_t done_ms;
    uint16_t status;
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    uint8_t bind[IDEM_BIND_BYTES];
};

static struct idem_op random_op(uint64_t *random)
{
    struct idem_op op = make_op((enum idem_op_kind)(random_next(random) % IDEM_OP_COUNT));
    unsigned way = random_next(random) % 8;

    memset(op.owner, (int)(1 + random_next(random) % OWNERS), sizeof op.owner);
    op.resend_ms = random_next(random) % 3 == 0 ? 0 : RESEND_MS;
    op.status = (uint16_t)(200 + random_next(random) % 300);
    op.executed = random_next(random) % 2 == 0;
    if (random_next(random) % 3 == 0) {
        op.answer = BYTES_NONE;
    }
    if (way == 0) {
        op.print[3] = 'q';
    } else if (way == 1) {
        op.processor = BYTES("other");
        memset(op.bind, 'c', sizeof op.bind);
    }
    return op;
}

static void begin_history(struct history *history, const struct idem_record *record)
{
    memset(history, 0, sizeof *history);
    memcpy(history->processor, record->processor, sizeof history->processor);
    memcpy(history->bind, record->bind, sizeof history->bind);
}

static void check_money(struct history *history, const struct idem_record *before, const struct idem_op *op,
                        const struct idem_result *result, enum idem_change change)
{
    bool own = memcmp(before->owner, op->owner, IDEM_OWNER_BYTES) == 0;

    if (op->kind == IDEM_ABANDON && change == IDEM_DELETE) {
        assert_true(own);
        assert_false(history->may_be_executed);
    }
    if (change == IDEM_DELETE) {
        assert_false(history->done);
        assert_true(op->kind == IDEM_ABANDON || op->kind == IDEM_LAPSE || (op->kind == IDEM_RESOLVE && !op->executed));
    }
    if (result->verdict == IDEM_TAKEN_OVER) {
        assert_true(before->resend_ms > 0);
        assert_string_equal(result->processor, history->processor);
    }
    if (result->verdict == IDEM_NEW && before->state != IDEM_ABSENT) {
        assert_true(own && !history->may_be_executed);
    }
    if (op->kind == IDEM_REBIND && change == IDEM_WRITE) { /* the one way to another processor */
        assert_true(own && !history->may_be_executed && !history->done);
        memcpy(history->processor, result->processor, sizeof history->processor);
        memcpy(history->bind, op->bind, sizeof history->bind);
    }
    history->may_be_executed |= result->verdict == IDEM_TAKEN_OVER || result->state == IDEM_UNKNOWN ||
                                (op->kind == IDEM_MARK && result->verdict == IDEM_LOST);
}

static void check_events(struct history *history, const struct idem_result *result)
{
    assert_false(result->told_now && history->open);
    assert_false(result->resolved_now && !history->open);
    history->open = (history->open || result->told_now) && !result->resolved_now;
    assert_true(!history->open || result->state == IDEM_UNKNOWN || result->state == IDEM_IN_FLIGHT);
    assert_true(history->open || result->state != IDEM_UNKNOWN);
}

static void check_record(struct history *history, const struct idem_record *record)
{
    assert_string_equal(record->processor, history->processor);
    assert_memory_equal(record->bind, history->bind, sizeof history->bind);
    assert_true(!history->done || (record->state == IDEM_DONE && record->done_ms == history->done_ms && record->status == history->status));
    history->done = record->state == IDEM_DONE;
    history->done_ms = record->done_ms;
    history->status = record->status;
    assert_true(record->state != IDEM_UNKNOWN || (record->ambiguous && record->told));
    assert_true(record->expires_ms > record->begun_ms);
}

static void run_sequence(uint64_t *random)
{
    struct idem_record record = {0};
    struct history history = {0};
    uint64_t now_ms = NOW_MS;

    for (int step = 0; step < STEPS; step++) {
        struct idem_op op = random_op(random);
        struct idem_record before = record;
        struct idem_result result;

        now_ms += random_next(random) % (random_next(random) % 10 == 0 ? RESEND_MS / 3 : LEASE_MS / 4);
        if (record.state != IDEM_ABSENT && record.expires_ms <= now_ms) {
            before = record = (struct idem_record){0};
        }
        enum idem_change change = idem_apply(&record, &op, now_ms, &result);
        if (before.state == IDEM_ABSENT && change == IDEM_WRITE) {
            begin_history(&history, &record);
        }
        assert_true(change != IDEM_KEEP || memcmp(&before, &record, sizeof record) == 0);
        assert_true(record.state == IDEM_ABSENT || before.state != IDEM_DONE || change == IDEM_KEEP);
        if (before.state == IDEM_ABSENT && record.state == IDEM_ABSENT) {
            continue;
        }
        /* A mismatch says nothing; a READ tells of an ended lease what no operation made of it yet. */
        if (op.kind != IDEM_READ && result.verdict != IDEM_MISMATCH) {
            check_money(&history, &before, &op, &result, change);
            check_events(&history, &result);
        }
        if (record.state != IDEM_ABSENT) {
            check_record(&history, &record);
        }
    }
}

static void test_any_sequence_keeps_what_payments_hang_on(void **state)
{
    uint64_t random = 88172645463325252u;

    (void)state;
    for (int i = 0; i < SEQUENCES; i++) {
        run_sequence(&random);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation_in_every_situation),
        cmocka_unit_test(test_another_request_under_the_key_learns_nothing),
        cmocka_unit_test(test_an_answer_that_belongs_elsewhere_is_an_alarm),
        cmocka_unit_test(test_an_operator_who_found_nothing_frees_the_key),
        cmocka_unit_test(test_a_new_record_says_who_holds_it_and_what_it_is_bound_to),
        cmocka_unit_test(test_names_of_full_length_are_kept_whole),
        cmocka_unit_test(test_what_no_caller_may_ask_is_a_bug),
        cmocka_unit_test(test_a_takeover_keeps_what_was_bound_and_tells_it),
        cmocka_unit_test(test_a_rebind_changes_what_the_record_is_bound_to_and_starts_its_time_anew),
        cmocka_unit_test(test_a_rebind_by_its_owner_is_not_asked_for_the_print),
        cmocka_unit_test(test_a_rebind_that_comes_again_changes_nothing),
        cmocka_unit_test(test_a_takeover_goes_where_the_record_was_rebound_to),
        cmocka_unit_test(test_an_answer_of_the_processor_that_it_left_is_an_alarm),
        cmocka_unit_test(test_a_begin_that_is_repeated_after_a_takeover_does_not_look_new),
        cmocka_unit_test(test_the_time_in_which_it_may_be_sent_again_ends_with_its_last_ms),
        cmocka_unit_test(test_busy_tells_how_long),
        cmocka_unit_test(test_a_clock_that_went_back_makes_nothing_old),
        cmocka_unit_test(test_what_is_done_is_told_with_its_answer_or_without),
        cmocka_unit_test(test_complete_writes_the_answer_and_how_long_it_is_kept),
        cmocka_unit_test(test_a_lost_record_comes_back_as_old_as_its_owner_knows),
        cmocka_unit_test(test_a_mark_lets_anybody_take_over_at_once),
        cmocka_unit_test(test_a_mark_of_a_lost_owner_keeps_the_next_one_from_freeing_the_key),
        cmocka_unit_test(test_a_lease_is_renewed_from_now),
        cmocka_unit_test(test_a_lapse_leaves_all_but_the_state_as_it_was),
        cmocka_unit_test(test_the_sweep_ends_an_unknown_within_its_margin),
        cmocka_unit_test(test_an_operator_who_found_it_leaves_a_receipt),
        cmocka_unit_test(test_reading_tells_since_when),
        cmocka_unit_test(test_open_records_are_due_when_their_lease_ends),
        cmocka_unit_test(test_any_sequence_keeps_what_payments_hang_on),
    };
    return cmocka_run_group_tests_name("policy/idem_apply", tests, NULL, NULL);
}
