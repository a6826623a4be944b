/*
 * The store's transition: one operation on the record of one key, at one time.
 *
 *                           rebind
 *                          |      ^
 *                          v      |
 *   absent ----begin----> in flight ----complete----> done
 *     ^                    |   ^                        ^
 *     |<-----abandon-------|   |                        |
 *     |                   mark |                        |
 *     |              lapse |   | begin, while the       |
 *     |                    v   | processor de-dups      |
 *     |<---resolve----- unknown -----complete, resolve--|
 *
 * A record that the store lost comes back by complete (done) and mark
 * (unknown): its owner knows better. Whoever holds a record is one random token;
 * what a record is bound to changes by rebind alone, whose owner has sent nothing
 * and of which no earlier attempt may have been executed. The embedded store
 * runs this inside its write transaction; the scripts of the Redis store say the
 * same. It owns nothing, reads no clock and never fails.
 */
#include "weir/policy/idem.h"

/* Clocks of machines differ: what seems to be ahead of us is as young as can be. */
static uint64_t since_ms(uint64_t then_ms, uint64_t now_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static uint64_t until_ms(uint64_t then_ms, uint64_t now_ms)
{
    return then_ms > now_ms ? then_ms - now_ms : 0;
}

uint64_t idem_record_due_ms(const struct idem_record *record)
{
    return record->state == IDEM_IN_FLIGHT || record->state == IDEM_UNKNOWN ? record->lease_ms : 0;
}

/* ---- what a record says ---- */

static bool is_own(const struct idem_record *record, const struct idem_op *op)
{
    return memcmp(record->owner, op->owner, IDEM_OWNER_BYTES) == 0;
}

static bool is_same_request(const struct idem_record *record, const struct idem_op *op)
{
    return memcmp(record->print, op->print, IDEM_PRINT_BYTES) == 0;
}

static bool is_bound_alike(const struct idem_record *record, const struct idem_op *op)
{
    return memcmp(record->bind, op->bind, IDEM_BIND_BYTES) == 0;
}

static bool lease_runs(const struct idem_record *record, uint64_t now_ms)
{
    return record->state == IDEM_IN_FLIGHT && record->lease_ms > now_ms;
}

static bool answer_is_kept(const struct idem_record *record, uint64_t now_ms)
{
    return record->answer.len > 0 && record->answer_expires_ms > now_ms;
}

/* ---- changes that several operations make ---- */

static void enter(struct idem_record *record, enum idem_state state)
{
    record->state = state;
}

static void bind_to(struct idem_record *record, const struct idem_op *op, uint64_t begun_ms)
{
    CHECK(op->processor.len <= IDEM_PROCESSOR_BYTES_MAX);
    memcpy(record->bind, op->bind, IDEM_BIND_BYTES);
    bytes_to_text(op->processor, record->processor, sizeof record->processor);
    record->upstream_key = op->upstream_key;
    record->resend_ms = op->resend_ms;
    record->begun_ms = begun_ms;
}

static void make(struct idem_record *record, const struct idem_op *op, uint64_t begun_ms)
{
    memset(record, 0, sizeof *record);
    memcpy(record->owner, op->owner, IDEM_OWNER_BYTES);
    memcpy(record->print, op->print, IDEM_PRINT_BYTES);
    bytes_to_text(bytes_of(op->request_id, strnlen(op->request_id, IDEM_REQUEST_ID_BYTES)), record->request_id,
                  sizeof record->request_id);
    bind_to(record, op, begun_ms);
}

/* Anybody who may send again may take it over now. */
static void become_unknown(struct idem_record *record, struct idem_result *result)
{
    enter(record, IDEM_UNKNOWN);
    record->ambiguous = true;
    result->told_now = !record->told;
    record->told = true;
}

static void become_done(struct idem_record *record, uint16_t status, uint64_t now_ms, uint64_t keep_receipt_ms,
                        struct idem_result *result)
{
    enter(record, IDEM_DONE);
    record->lease_ms = 0;
    record->status = status;
    record->done_ms = now_ms;
    record->expires_ms = now_ms + keep_receipt_ms;
    result->resolved_now = record->told;
    record->told = false;
}

static enum idem_change become_absent(struct idem_record *record, struct idem_result *result)
{
    enter(record, IDEM_ABSENT);
    result->resolved_now = record->told;
    return IDEM_DELETE;
}

static void keep_answer(struct idem_record *record, const struct idem_op *op, uint64_t now_ms)
{
    record->answer = op->answer;
    record->answer_expires_ms = op->answer.len > 0 ? now_ms + op->keep_ms : 0;
}

static enum idem_change already(const struct idem_record *record, uint64_t now_ms, struct idem_result *result)
{
    result->verdict = IDEM_ALREADY;
    result->status = record->status;
    result->done_ms = record->done_ms;
    if (answer_is_kept(record, now_ms)) {
        result->answer = record->answer;
    }
    return IDEM_KEEP;
}

static enum idem_change verdict(struct idem_result *result, enum idem_verdict said, enum idem_change change)
{
    result->verdict = said;
    return change;
}

/* ---- begin ---- */

static enum idem_change begin_new(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                                  struct idem_result *result)
{
    make(record, op, now_ms);
    enter(record, IDEM_IN_FLIGHT);
    record->lease_ms = now_ms + op->lease_ms;
    record->expires_ms = now_ms + op->keep_unknown_ms;
    return verdict(result, IDEM_NEW, IDEM_WRITE);
}

static enum idem_change begin_done(const struct idem_record *record, uint64_t now_ms, struct idem_result *result)
{
    result->status = record->status;
    result->done_ms = record->done_ms;
    if (answer_is_kept(record, now_ms)) {
        result->answer = record->answer;
        return verdict(result, IDEM_REPLAY, IDEM_KEEP);
    }
    result->upstream_key = record->upstream_key;
    result->left_ms = until_ms(record->begun_ms + record->resend_ms, now_ms);
    return verdict(result, IDEM_RECEIPT, IDEM_KEEP);
}

static enum idem_change take_over(struct idem_record *record, const struct idem_op *op, uint64_t now_ms)
{
    enter(record, IDEM_IN_FLIGHT);
    memcpy(record->owner, op->owner, IDEM_OWNER_BYTES);
    record->ambiguous = true;
    record->takeovers++;
    record->lease_ms = now_ms + op->lease_ms;
    record->expires_ms = now_ms + op->keep_unknown_ms;
    return IDEM_WRITE;
}

static enum idem_change stuck(struct idem_record *record, struct idem_result *result)
{
    result->verdict = IDEM_STUCK;
    if (record->state == IDEM_UNKNOWN) {
        return IDEM_KEEP;
    }
    become_unknown(record, result);
    return IDEM_WRITE;
}

static enum idem_change begin(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                              struct idem_result *result)
{
    if (!is_same_request(record, op)) {
        return verdict(result, IDEM_MISMATCH, IDEM_KEEP);
    }
    if (record->state == IDEM_DONE) {
        return begin_done(record, now_ms, result);
    }
    bool granted = record->state == IDEM_IN_FLIGHT && is_own(record, op);
    if (granted && !record->ambiguous) {
        return verdict(result, IDEM_NEW, IDEM_KEEP);
    }
    if (!granted && lease_runs(record, now_ms)) {
        result->left_ms = until_ms(record->lease_ms, now_ms);
        return verdict(result, IDEM_BUSY, IDEM_KEEP);
    }
    /* From here on an earlier attempt may have been executed: sent again, if at all, to its processor under its key. */
    if (since_ms(record->begun_ms, now_ms) >= record->resend_ms) {
        return stuck(record, result);
    }
    result->upstream_key = record->upstream_key;
    result->verdict = IDEM_TAKEN_OVER;
    return granted ? IDEM_KEEP : take_over(record, op, now_ms);
}

/* ---- the owner's others ---- */

static enum idem_change renew(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                              struct idem_result *result)
{
    if (record->state != IDEM_IN_FLIGHT || !is_own(record, op)) {
        return verdict(result, IDEM_LOST, IDEM_KEEP);
    }
    record->lease_ms = now_ms + op->lease_ms;
    return verdict(result, IDEM_OK, IDEM_WRITE);
}

/*
 * The processor that it leaves had no byte of it, as its owner says; what an earlier owner may have sent, the record says.
 * A token is one attempt's, so that the print need not be asked. It moves once: what comes again, or late, finds it
 * bound so and changes nothing, or a record would grow younger than what its processor knows of it.
 */
static enum idem_change rebind(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                               struct idem_result *result)
{
    if (record->state != IDEM_IN_FLIGHT || !is_own(record, op)) {
        return verdict(result, IDEM_LOST, IDEM_KEEP);
    }
    if (record->ambiguous) {
        return verdict(result, IDEM_REFUSED, IDEM_KEEP);
    }
    if (is_bound_alike(record, op)) {
        return verdict(result, IDEM_OK, IDEM_KEEP);
    }
    bind_to(record, op, now_ms);
    record->lease_ms = now_ms + op->lease_ms;
    record->expires_ms = now_ms + op->keep_unknown_ms;
    return verdict(result, IDEM_OK, IDEM_WRITE);
}

/* The first definite answer wins, whoever brings it: to drop the truth because a lease was over would be wrong. */
static enum idem_change complete(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                                 struct idem_result *result)
{
    /* Before all else: another request's answer must not be told, and two processors that both answered is an alarm. */
    if (!is_same_request(record, op) || !is_bound_alike(record, op)) {
        return verdict(result, IDEM_CONFLICT, IDEM_KEEP);
    }
    if (record->state == IDEM_DONE) {
        return already(record, now_ms, result);
    }
    become_done(record, op->status, now_ms, op->keep_receipt_ms, result);
    keep_answer(record, op, now_ms);
    return verdict(result, IDEM_OK, IDEM_WRITE);
}

/* The store lost our record and granted the key as new: its owner must not free what we may have paid. */
static enum idem_change mark_others(struct idem_record *record, struct idem_result *result)
{
    bool was_ambiguous = record->ambiguous;
    record->ambiguous = true;
    return verdict(result, IDEM_LOST, was_ambiguous ? IDEM_KEEP : IDEM_WRITE);
}

static enum idem_change mark(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                             struct idem_result *result)
{
    if (record->state != IDEM_DONE && is_own(record, op)) {
        if (record->state == IDEM_UNKNOWN) {
            return verdict(result, IDEM_OK, IDEM_KEEP);
        }
        become_unknown(record, result);
        record->lease_ms = now_ms;
        record->expires_ms = now_ms + op->keep_unknown_ms;
        return verdict(result, IDEM_OK, IDEM_WRITE);
    }
    if (!is_same_request(record, op) || !is_bound_alike(record, op)) {
        return verdict(result, IDEM_CONFLICT, IDEM_KEEP);
    }
    return record->state == IDEM_DONE ? already(record, now_ms, result) : mark_others(record, result);
}

static enum idem_change abandon(struct idem_record *record, const struct idem_op *op, struct idem_result *result)
{
    if (record->state != IDEM_IN_FLIGHT || !is_own(record, op)) {
        return verdict(result, IDEM_LOST, IDEM_KEEP);
    }
    if (record->ambiguous) {
        return verdict(result, IDEM_REFUSED, IDEM_KEEP);
    }
    return verdict(result, IDEM_OK, become_absent(record, result));
}

/* ---- operators and the sweep ---- */

/* The key that is freed keeps its upstream key on purpose: was the operator wrong, a processor that de-duplicates saves us. */
static enum idem_change resolve(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                                struct idem_result *result)
{
    if (record->state == IDEM_DONE) {
        return already(record, now_ms, result);
    }
    if (lease_runs(record, now_ms)) {
        return verdict(result, IDEM_REFUSED, IDEM_KEEP);
    }
    if (!op->executed) {
        return verdict(result, IDEM_OK, become_absent(record, result));
    }
    become_done(record, 0, now_ms, op->keep_receipt_ms, result);
    return verdict(result, IDEM_OK, IDEM_WRITE);
}

static enum idem_change lapse(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                              struct idem_result *result)
{
    if (record->state == IDEM_IN_FLIGHT && !lease_runs(record, now_ms)) {
        become_unknown(record, result);
        return verdict(result, IDEM_OK, IDEM_WRITE);
    }
    if (record->state == IDEM_UNKNOWN && until_ms(record->expires_ms, now_ms) < op->margin_ms) {
        return verdict(result, IDEM_EXPIRED, become_absent(record, result));
    }
    return verdict(result, IDEM_OK, IDEM_KEEP);
}

static enum idem_change look(const struct idem_record *record, uint64_t now_ms, struct idem_result *result)
{
    result->since_ms = record->begun_ms;
    result->status = record->status;
    result->done_ms = record->done_ms;
    result->left_ms = until_ms(record->begun_ms + record->resend_ms, now_ms);
    if (record->state == IDEM_UNKNOWN || (record->state == IDEM_IN_FLIGHT && !lease_runs(record, now_ms))) {
        result->unknown_ms = record->lease_ms;
    }
    return verdict(result, IDEM_OK, IDEM_KEEP);
}

/* ---- all of them ---- */

/* There is no record, or there is none any more: who knows what it was puts it back. */
static enum idem_change apply_to_none(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                                      struct idem_result *result)
{
    switch (op->kind) {
    case IDEM_BEGIN:
        return begin_new(record, op, now_ms, result);
    case IDEM_COMPLETE:
        make(record, op, now_ms - (op->age_ms < now_ms ? op->age_ms : now_ms));
        become_done(record, op->status, now_ms, op->keep_receipt_ms, result);
        keep_answer(record, op, now_ms);
        return verdict(result, IDEM_REASSERTED, IDEM_WRITE);
    case IDEM_MARK:
        make(record, op, now_ms - (op->age_ms < now_ms ? op->age_ms : now_ms));
        become_unknown(record, result);
        record->lease_ms = now_ms;
        record->expires_ms = now_ms + op->keep_unknown_ms;
        return verdict(result, IDEM_REASSERTED, IDEM_WRITE);
    case IDEM_ABANDON:
        return verdict(result, IDEM_OK, IDEM_KEEP);
    case IDEM_LAPSE:
        return verdict(result, IDEM_EXPIRED, IDEM_KEEP);
    case IDEM_RENEW:
    case IDEM_RESOLVE:
    case IDEM_READ:
    case IDEM_REBIND: /* nothing was sent: there is nothing to put back, and nothing to send under */
        return verdict(result, IDEM_NONE, IDEM_KEEP);
    case IDEM_OP_COUNT:
        break;
    }
    check_failed(__FILE__, __LINE__, "an operation of the table");
}

static enum idem_change apply_to_record(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                                        struct idem_result *result)
{
    switch (op->kind) {
    case IDEM_BEGIN:
        return begin(record, op, now_ms, result);
    case IDEM_RENEW:
        return renew(record, op, now_ms, result);
    case IDEM_COMPLETE:
        return complete(record, op, now_ms, result);
    case IDEM_MARK:
        return mark(record, op, now_ms, result);
    case IDEM_ABANDON:
        return abandon(record, op, result);
    case IDEM_RESOLVE:
        return resolve(record, op, now_ms, result);
    case IDEM_LAPSE:
        return lapse(record, op, now_ms, result);
    case IDEM_READ:
        return look(record, now_ms, result);
    case IDEM_REBIND:
        return rebind(record, op, now_ms, result);
    case IDEM_OP_COUNT:
        break;
    }
    check_failed(__FILE__, __LINE__, "an operation of the table");
}

/* Of the record as it is now, or was until now; never of another request's. */
static void tell(const struct idem_record *record, const struct idem_op *op, uint64_t now_ms, struct idem_result *result)
{
    bool silent = op->kind == IDEM_READ && record->state == IDEM_IN_FLIGHT && !lease_runs(record, now_ms);

    result->state = silent ? IDEM_UNKNOWN : record->state;
    memcpy(result->processor, record->processor, sizeof result->processor);
    memcpy(result->request_id, record->request_id, sizeof result->request_id);
    result->age_ms = since_ms(record->begun_ms, now_ms);
    result->takeovers = record->takeovers;
}

enum idem_change idem_apply(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                            struct idem_result *result)
{
    bool was_there = record->state != IDEM_ABSENT;

    *result = (struct idem_result){0};
    enum idem_change change = was_there ? apply_to_record(record, op, now_ms, result)
                                        : apply_to_none(record, op, now_ms, result);
    if (result->verdict != IDEM_MISMATCH && (was_there || change == IDEM_WRITE)) {
        tell(record, op, now_ms, result);
    }
    return change;
}
