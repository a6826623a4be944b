/*
 * The driver of one exchange with a key: what happened in, what to do out. Its
 * cases stand in life order. It sends nothing and stores nothing; it is the one
 * place that decides whether a key is freed, left unknown or settled.
 *
 *   NEW --request--> ASKING --granted--> HELD --first byte--> SENT --answer--> SETTLING --settled--> OVER
 *                      |                  |                    |
 *                      |                  | no answer:         | no answer, or none that proves
 *                      | refused,         | free the key       | anything: mark it unknown
 *                      v replayed         v                    v
 *                     OVER               OVER                 OVER --late answer--> OVER
 *
 * A takeover enters SENT at once: the owner before may have sent, so nothing
 * that happens to us can make it not sent.
 *
 * Two ways to try once more: in HELD the record may be bound to another processor
 * (mode failover), once, and no byte leaves before that is stored; in SENT it may
 * go to the same processor under the same key again, where that de-duplicates.
 * From then on two attempts are out, and only a definite answer settles both.
 */
#include "weir/policy/idem.h"

static struct idem_next next(enum idem_act act, enum outcome outcome)
{
    return (struct idem_next){.act = act, .reason = REASON_OK, .outcome = outcome};
}

static void enter(struct idem_driver *driver, enum idem_stage stage)
{
    driver->stage = stage;
}

static struct idem_next end(struct idem_driver *driver, enum idem_act act, enum outcome outcome)
{
    enter(driver, IDEM_STAGE_OVER);
    return next(act, outcome);
}

static struct idem_next refusal(enum reason reason)
{
    return (struct idem_next){.act = IDEM_DO_REFUSE, .reason = reason, .outcome = reason_outcome(reason)};
}

static struct idem_next refuse(struct idem_driver *driver, enum reason reason)
{
    enter(driver, IDEM_STAGE_OVER);
    return refusal(reason);
}

/* ---- asking for the key ---- */

static struct idem_next on_request(struct idem_driver *driver)
{
    CHECK(driver->stage == IDEM_STAGE_NEW);
    enter(driver, IDEM_STAGE_ASKING);
    return next(IDEM_DO_BEGIN, OUTCOME_NOT_SENT);
}

/* It may wait before it asked, or after it was told that another one is at work. */
static struct idem_next on_waited(struct idem_driver *driver)
{
    CHECK(driver->stage == IDEM_STAGE_NEW || driver->stage == IDEM_STAGE_ASKING);
    enter(driver, IDEM_STAGE_ASKING);
    return next(IDEM_DO_BEGIN, OUTCOME_NOT_SENT);
}

static struct idem_next on_store_down(struct idem_driver *driver)
{
    CHECK(driver->stage == IDEM_STAGE_ASKING);
    if (!driver->pass_when_down || driver->single_shot) {
        return refuse(driver, REASON_STORE_DOWN);
    }
    driver->unrecorded = true;
    enter(driver, IDEM_STAGE_HELD);
    return next(IDEM_DO_SEND, OUTCOME_NOT_SENT);
}

/* Under a record that an earlier attempt was made for: that one may have been executed. */
static struct idem_next send_same(struct idem_driver *driver, bool receipt)
{
    driver->ambiguous = true;
    driver->receipt = receipt;
    enter(driver, IDEM_STAGE_SENT);
    return next(IDEM_DO_SEND_SAME, OUTCOME_UNKNOWN);
}

static struct idem_next on_result(struct idem_driver *driver, const struct idem_result *result)
{
    CHECK(driver->stage == IDEM_STAGE_ASKING && result != NULL);
    switch (result->verdict) {
    case IDEM_NEW:
        enter(driver, IDEM_STAGE_HELD);
        return next(IDEM_DO_SEND, OUTCOME_NOT_SENT);
    case IDEM_TAKEN_OVER:
        /* The record is of a time when its processor was said to de-duplicate; on doubt, nothing is sent twice. */
        return driver->single_shot ? refuse(driver, REASON_OUTCOME_UNKNOWN) : send_same(driver, false);
    case IDEM_REPLAY:
        return end(driver, IDEM_DO_REPLAY, OUTCOME_REPLAYED);
    case IDEM_RECEIPT:
        return result->left_ms > 0 && !driver->single_shot ? send_same(driver, true)
                                                           : refuse(driver, REASON_OUTCOME_UNKNOWN);
    case IDEM_BUSY: /* nothing is ours: it may as well wait, and ask again */
        enter(driver, IDEM_STAGE_NEW);
        return refusal(REASON_KEY_IN_PROGRESS);
    case IDEM_STUCK:
        return refuse(driver, REASON_OUTCOME_UNKNOWN);
    case IDEM_LIMITED: /* nothing was begun: the same key may come again when there is room */
        return refuse(driver, REASON_RATE_LIMITED);
    case IDEM_MISMATCH:
        return refuse(driver, REASON_KEY_REUSED);
    default:
        break;
    }
    check_failed(__FILE__, __LINE__, "a verdict of BEGIN");
}

/* ---- elsewhere, or once more ---- */

/* What is known of the money while nothing is decided. */
static enum outcome outcome_so_far(const struct idem_driver *driver)
{
    if (driver->stage == IDEM_STAGE_SETTLING) {
        return OUTCOME_ANSWERED;
    }
    return driver->stage <= IDEM_STAGE_HELD ? OUTCOME_NOT_SENT : OUTCOME_UNKNOWN;
}

static struct idem_next on_elsewhere(struct idem_driver *driver)
{
    if (driver->stage != IDEM_STAGE_HELD || !driver->may_move || driver->ambiguous || driver->unrecorded) {
        return next(IDEM_DO_NOTHING, outcome_so_far(driver));
    }
    driver->may_move = false; /* a rebind of its own that comes late can then say nothing else than the record does */
    driver->rebinding = true;
    return next(IDEM_DO_REBIND, OUTCOME_NOT_SENT);
}

static struct idem_next on_rebound(struct idem_driver *driver, const struct idem_result *result)
{
    CHECK(driver->stage == IDEM_STAGE_HELD && driver->rebinding);
    if (result == NULL) { /* it is bound to one of the two, and neither has a byte: what comes next frees the key */
        return refusal(REASON_STORE_DOWN);
    }
    driver->rebinding = false;
    switch (result->verdict) {
    case IDEM_OK:
        return next(IDEM_DO_SEND, OUTCOME_NOT_SENT);
    case IDEM_LOST: /* another attempt has the key by now, and may be sending */
        return refuse(driver, REASON_KEY_IN_PROGRESS);
    case IDEM_REFUSED: /* an earlier one may have been executed where it was bound to */
        return refuse(driver, REASON_OUTCOME_UNKNOWN);
    case IDEM_NONE: /* begin was acknowledged and is lost: what is sent now would be sent without a record */
        return refuse(driver, REASON_STORE_DOWN);
    default:
        break;
    }
    check_failed(__FILE__, __LINE__, "a verdict of REBIND");
}

/* Two attempts are out then: a refusal of the second says nothing of the first. */
static struct idem_next on_again(struct idem_driver *driver)
{
    if (driver->stage != IDEM_STAGE_SENT || driver->single_shot || driver->unrecorded) {
        return next(IDEM_DO_NOTHING, outcome_so_far(driver));
    }
    driver->ambiguous = true;
    return next(IDEM_DO_SEND_SAME, OUTCOME_UNKNOWN);
}

/* ---- the processor ---- */

static struct idem_next on_first_byte(struct idem_driver *driver)
{
    CHECK(driver->stage == IDEM_STAGE_HELD || driver->stage == IDEM_STAGE_SENT);
    CHECK(!driver->rebinding);
    enter(driver, IDEM_STAGE_SENT);
    return next(IDEM_DO_NOTHING, OUTCOME_UNKNOWN);
}

/* A record that is done stays done, whatever came of asking for its answer once more. */
static struct idem_next end_unknown(struct idem_driver *driver, enum idem_act act_of_receipt)
{
    driver->ambiguous = true;
    return end(driver, driver->receipt ? act_of_receipt : IDEM_DO_MARK, OUTCOME_UNKNOWN);
}

static struct idem_next on_answer(struct idem_driver *driver, enum idem_class class)
{
    CHECK(driver->stage == IDEM_STAGE_SENT);
    switch (class) {
    case IDEM_CLASS_FINAL:
        enter(driver, IDEM_STAGE_SETTLING);
        return next(IDEM_DO_COMPLETE, OUTCOME_ANSWERED);
    case IDEM_CLASS_NOT_EXECUTED:
        /* After an attempt without an answer, a refusal says nothing of that attempt. Without a record, nobody knows whether
         * there was one. */
        return driver->ambiguous || driver->unrecorded ? end_unknown(driver, IDEM_DO_ANSWER) : end(driver, IDEM_DO_ABANDON, OUTCOME_ANSWERED);
    case IDEM_CLASS_UNPROVEN:
    case IDEM_CLASS_BUSY:
        return end_unknown(driver, IDEM_DO_ANSWER);
    case IDEM_CLASS_COUNT:
        break;
    }
    check_failed(__FILE__, __LINE__, "a class of the table");
}

static struct idem_next on_no_answer(struct idem_driver *driver)
{
    switch (driver->stage) {
    case IDEM_STAGE_NEW:
        return end(driver, IDEM_DO_NOTHING, OUTCOME_NOT_SENT);
    case IDEM_STAGE_ASKING: /* begin may be done, or may yet be */
    case IDEM_STAGE_HELD:
        CHECK(!driver->ambiguous);
        return end(driver, IDEM_DO_ABANDON, OUTCOME_NOT_SENT);
    case IDEM_STAGE_SENT:
        return end_unknown(driver, IDEM_DO_NOTHING);
    case IDEM_STAGE_SETTLING: /* the client left, or its connection broke: the answer is there all the same */
        return next(IDEM_DO_NOTHING, OUTCOME_ANSWERED);
    case IDEM_STAGE_OVER: /* said before; nothing new is known */
        return next(IDEM_DO_NOTHING, OUTCOME_UNKNOWN);
    case IDEM_STAGE_COUNT:
        break;
    }
    check_failed(__FILE__, __LINE__, "a stage of the table");
}

/* ---- settling ---- */

static struct idem_next on_settled(struct idem_driver *driver, const struct idem_result *result)
{
    CHECK(driver->stage == IDEM_STAGE_SETTLING || driver->stage == IDEM_STAGE_OVER);
    if (driver->stage == IDEM_STAGE_OVER) { /* the acknowledgement after the 50 ms, or of a late answer */
        return next(IDEM_DO_NOTHING, OUTCOME_UNKNOWN);
    }
    /* All who ask with this key get one answer. Who sent again for an answer that was not kept has the only one. */
    if (result != NULL && result->verdict == IDEM_ALREADY && result->answer.len > 0 && !driver->receipt) {
        return end(driver, IDEM_DO_ANSWER_STORED, OUTCOME_REPLAYED);
    }
    return end(driver, IDEM_DO_ANSWER, OUTCOME_ANSWERED);
}

static struct idem_next on_late_answer(struct idem_driver *driver, enum idem_class class)
{
    CHECK(driver->stage == IDEM_STAGE_OVER);
    return class == IDEM_CLASS_FINAL ? next(IDEM_DO_COMPLETE, OUTCOME_ANSWERED)
                                     : next(IDEM_DO_NOTHING, OUTCOME_UNKNOWN);
}

struct idem_next idem_step(struct idem_driver *driver, const struct idem_event *event)
{
    switch (event->kind) {
    case IDEM_ON_REQUEST:
        return on_request(driver);
    case IDEM_ON_WAITED:
        return on_waited(driver);
    case IDEM_ON_STORE_DOWN:
        return on_store_down(driver);
    case IDEM_ON_RESULT:
        return on_result(driver, event->result);
    case IDEM_ON_FIRST_BYTE:
        return on_first_byte(driver);
    case IDEM_ON_ELSEWHERE:
        return on_elsewhere(driver);
    case IDEM_ON_REBOUND:
        return on_rebound(driver, event->result);
    case IDEM_ON_AGAIN:
        return on_again(driver);
    case IDEM_ON_ANSWER:
        return on_answer(driver, event->class);
    case IDEM_ON_NO_ANSWER:
        return on_no_answer(driver);
    case IDEM_ON_SETTLED:
        return on_settled(driver, event->result);
    case IDEM_ON_LATE_ANSWER:
        return on_late_answer(driver, event->class);
    case IDEM_EVENT_COUNT:
        break;
    }
    check_failed(__FILE__, __LINE__, "an event of the table");
}
