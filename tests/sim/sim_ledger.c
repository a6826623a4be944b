/*
 * What must hold of payments, whatever happened: the truth is what processors
 * executed, and weir's word, its records and its lines must agree with it.
 *
 *   H1  one key of one tenant is executed once, for ever
 *   H2  a success was executed; what was not sent never will be
 *   H3  all final answers to one key are one answer
 *   H4  what weir refused was not sent          (every line: sim_oracle)
 *   H5  nobody gets another's answer
 *   H6  another processor only after all before have said "not executed": what one may have had, no other gets (F1)
 *   H7  where keys are not remembered, the same holds for a second link
 *   H8  when nothing fails any more, who asks and is not turned away by limits gets the answer
 *   H9  a key is not in progress when nobody works at it
 *   H10 H1 also when the store forgot
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#define LEASE_US (15 * SIM_S)
#define GRACE_US (25 * SIM_S) /* its clock's steps, a sweep, and a while */
#define STAY_MS 4000 /* beyond the longest total: a client that takes its answer */
#define COMMIT_US (50 * SIM_MS) /* that an answer waits for the store */

/* What the store did for a request, by weir's request id: its line comes later. */
struct deed {
    char request_id[IDEM_REQUEST_ID_BYTES + 1];
    bool took_over;  /* its begin: the record of one that may have sent */
    bool completed;
};

struct account;

static struct {
    bool forgotten;       /* the store lost records */
    struct account *accounts;
    size_t account_count, account_size;
    struct deed *deeds;
    size_t deed_count, deed_size;
} ledger;

void ledger_begin(void)
{
    ledger.forgotten = false;
    ledger.deed_count = 0;
    ledger.account_count = 0;
}

static struct deed *find_deed(const char *request_id)
{
    for (size_t i = ledger.deed_count; i > 0; i--) {
        if (strcmp(ledger.deeds[i - 1].request_id, request_id) == 0) {
            return &ledger.deeds[i - 1];
        }
    }
    return NULL;
}

static struct deed *deed_of(const struct idem_op *op)
{
    struct deed *deed = find_deed(op->request_id);
    if (deed != NULL) {
        return deed;
    }
    if (ledger.deed_count == ledger.deed_size) {
        ledger.deed_size = ledger.deed_size * 2 + 64;
        ledger.deeds = realloc(ledger.deeds, ledger.deed_size * sizeof *ledger.deeds);
        CHECK(ledger.deeds != NULL);
    }
    deed = &ledger.deeds[ledger.deed_count++];
    *deed = (struct deed){0};
    memcpy(deed->request_id, op->request_id, sizeof deed->request_id);
    return deed;
}

bool ledger_took_over(const char *request_id)
{
    const struct deed *deed = find_deed(request_id);
    return deed != NULL && deed->took_over;
}

/* Its client reads, or has left. A large answer may take its time to a client that reads a little at a time. */
void ledger_lasted(const struct sim_case *about)
{
    const struct sim_plan *plan = &sim.plans[about->line_generation];
    bool stopped = about->weir->thaws_at_us > about->arrived_at_us;
    uint64_t most_us = (plan->longest_ms + STAY_MS) * SIM_MS;
    if (about->arrived && !stopped && !about->large && about->line_generation != 0 && sim.now_us - about->arrived_at_us > most_us) {
        sim_violated("n%" PRIu64 " stayed for %" PRIu64 " us", about->nonce, sim.now_us - about->arrived_at_us);
    }
}

void ledger_committed(const struct sim_case *about, uint64_t commit_us)
{
    const struct deed *deed = find_deed(about->request_id);
    bool final = (about->status >= 200 && about->status <= 299) || about->status == 402;
    bool stored = deed != NULL && deed->completed;
    if (final && !stored && commit_us < COMMIT_US && about->weir->cut_at_us == 0) {
        sim_violated("n%" PRIu64 " gets its answer before it is stored, after %" PRIu64 " us", about->nonce, commit_us);
    }
}

/* ---- executions ---- */

void ledger_executed(struct sim_payment *payment, struct sim_case *about, int processor)
{
    sim_note("executed", payment->number, about->nonce, (uint64_t)processor);
    sim.counts.executions++;
    if (++payment->executions > 1) {
        sim_violated("H1: payment %" PRIu64 " was executed twice, for n%" PRIu64 " and for n%" PRIu64 "%s", payment->number,
                     payment->executed->nonce, about->nonce, ledger.forgotten ? " (H10: the store had forgotten)" : "");
    }
    payment->executed = about;
}

/* ---- sends ---- */

static bool remembers(int processor)
{
    return sim.plans[1].processors[processor].bank;
}

bool ledger_was_refused(const struct sim_case *about)
{
    return about->answer_status == 429 && about->answer_begun && about->takes == 1;
}

static void check_before(const struct sim_case *about, const struct sim_case *before)
{
    if (before == about || before->takes == 0 || ledger_was_refused(before)) {
        return;
    }
    if (before->link_processor != about->link_processor) {
        sim_violated("H6: n%" PRIu64 " goes to p%d, and n%" PRIu64 " with its key went to p%d", about->nonce,
                     about->link_processor, before->nonce, before->link_processor);
    }
    if (!remembers(about->link_processor)) {
        sim_violated("H7: n%" PRIu64 " goes to p%d, which has had n%" PRIu64 " with its key", about->nonce,
                     about->link_processor, before->nonce);
    }
    if (sim.now_us - before->link_at_us > sim_bank_retention_s() * SIM_S) {
        sim_violated("n%" PRIu64 " goes to p%d when that has forgotten n%" PRIu64, about->nonce, about->link_processor,
                     before->nonce);
    }
    if (strcmp(before->upstream_key, about->upstream_key) != 0) {
        sim_violated("H6: n%" PRIu64 " is sent as '%s', and n%" PRIu64 " went as '%s'", about->nonce, about->upstream_key,
                     before->nonce, before->upstream_key);
    }
}

void ledger_sent(struct sim_case *about)
{
    struct sim_payment *payment = about->payment;
    if (about->upstream_key[0] == '\0') {
        sim_violated("n%" PRIu64 " is sent without its key", about->nonce);
    }
    for (size_t i = 0; i < payment->case_count; i++) {
        check_before(about, payment->cases[i]);
    }
}

/* ---- answers ---- */

static void check_final(struct sim_payment *payment, const struct sim_case *about, const struct sim_said *said)
{
    const struct sim_seen *seen = &about->seen;
    bool success = seen->status >= 200 && seen->status <= 299;
    if (success && payment->executions != 1) {
        sim_violated("H2: n%" PRIu64 " was told %u, and payment %" PRIu64 " was executed %u times", about->nonce,
                     seen->status, payment->number, payment->executions);
    }
    if (said->status != seen->status || said->len != seen->len) {
        sim_violated("H3: n%" PRIu64 " got %u and %" PRIu64 " bytes, its processor said %u and %" PRIu64, about->nonce,
                     seen->status, seen->len, said->status, said->len);
    }
    if (payment->final && payment->answer != seen->answer) {
        sim_violated("H3: n%" PRIu64 " got the answer %" PRIu64 ", others with its key got %" PRIu64, about->nonce,
                     seen->answer, payment->answer);
    }
    if (!payment->final) {
        payment->final = true;
        payment->answer = seen->answer;
        sim_payment_final(payment);
    }
}

/* The request holds its key, or did so lately. */
static bool is_at_work(const struct sim_case *other)
{
    bool idle = other->weir == NULL || (other->lines > 0 && other->takes == 0 && other->reason == REASON_KEY_IN_PROGRESS);
    uint64_t last_us = other->lines > 0 ? other->line_at_us : other->weir != NULL && other->weir->dead ? other->weir->killed_at_us : SIM_NEVER;
    return !idle && (last_us == SIM_NEVER || last_us + LEASE_US + GRACE_US > sim.now_us);
}

static void check_progress(const struct sim_payment *payment, const struct sim_case *about)
{
    if (about->weir->thaws_at_us > about->arrived_at_us) {
        return; /* it was stopped with what it knew */
    }
    for (size_t i = 0; i < payment->case_count; i++) {
        if (payment->cases[i] != about && is_at_work(payment->cases[i])) {
            return;
        }
    }
    sim_violated("H9: n%" PRIu64 " is told that its key is in progress, and nobody works at it", about->nonce);
}

void ledger_answered(struct sim_case *about)
{
    struct sim_payment *payment = about->payment;
    const struct sim_seen *seen = &about->seen;
    struct sim_said said;
    sim_note("paid", about->nonce, seen->status, seen->answer);
    sim.counts.replays += seen->outcome == OUTCOME_REPLAYED ? 1 : 0;
    if (seen->own) {
        if (seen->reason == REASON_KEY_IN_PROGRESS) {
            check_progress(payment, about);
        }
        return;
    }
    if (!sim_bank_said(seen->answer, &said)) {
        sim_violated("n%" PRIu64 " got an answer that no processor gave", about->nonce);
    }
    if (said.payment != payment) {
        sim_violated("H5: n%" PRIu64 " of payment %" PRIu64 " got the answer to payment %" PRIu64, about->nonce,
                     payment->number, said.payment->number);
    }
    if (said.about->variant != about->variant) {
        sim_violated("H5: n%" PRIu64 " got the answer to another request with its key", about->nonce);
    }
    if (seen->replayed != (seen->outcome == OUTCOME_REPLAYED || sim_bank_replays(seen->answer, about))) {
        sim_violated("n%" PRIu64 " is %s, and its answer is%s marked as a replay", about->nonce, outcome_name(seen->outcome),
                     seen->replayed ? "" : " not");
    }
    if (said.executed && said.status == seen->status) {
        check_final(payment, about, &said);
    }
    bool before = payment->executions > 0 && payment->executed->link_at_us < about->link_at_us;
    if (said.status == 429 && seen->outcome == OUTCOME_ANSWERED && before) {
        sim_violated("H2: n%" PRIu64 " was told that nothing was executed, and n%" PRIu64 " was", about->nonce,
                     payment->executed->nonce);
    }
}

/* ---- records and lines ---- */

/* What the store knows to have told of one record, and what was written of it. */
struct account {
    char record[IDEM_SHORT_BYTES + 1];
    unsigned tells, resolves;             /* at the table */
    unsigned told_lines, resolved_lines;  /* in the logs */
    unsigned lost_tells, lost_resolves;   /* replies that nobody will read */
};

static struct account *account_of(const char *record)
{
    for (size_t i = ledger.account_count; i > 0; i--) {
        if (strcmp(ledger.accounts[i - 1].record, record) == 0) {
            return &ledger.accounts[i - 1];
        }
    }
    if (ledger.account_count == ledger.account_size) {
        ledger.account_size = ledger.account_size * 2 + 64;
        ledger.accounts = realloc(ledger.accounts, ledger.account_size * sizeof *ledger.accounts);
        CHECK(ledger.accounts != NULL);
    }
    struct account *account = &ledger.accounts[ledger.account_count++];
    *account = (struct account){0};
    (void)bytes_to_text(bytes_from_text(record), account->record, sizeof account->record);
    return account;
}

static struct account *account_of_op(const struct idem_op *op)
{
    char record[IDEM_SHORT_BYTES + 1];
    idem_name_short(&op->name, record);
    return account_of(record);
}

static struct sim_case *case_of_request(const char *request_id)
{
    for (size_t i = sim.case_count; i > 0; i--) {
        if (strcmp(sim.cases[i - 1]->request_id, request_id) == 0) {
            return sim.cases[i - 1];
        }
    }
    return NULL;
}

/* It may have gone out without a record, and another one have its key since; or have sent nothing, and only lets go. */
static bool may_be_unrecorded(const char *request_id)
{
    const struct sim_case *about = case_of_request(request_id);
    return about == NULL || about->takes == 0 || sim.plans[1].routes[about->route].passes;
}

/* An answer that came when its client had been told that nobody knows: it has no line but settles the record. */
static void note_late(const struct idem_op *op)
{
    const struct sim_case *about = case_of_request(op->request_id);
    if (about != NULL && about->lines > 0 && about->reason == REASON_RESPONSE_TIMEOUT) {
        row_count(row_find('T', REASON_OK, "-"));
    }
}

void ledger_applied(const struct idem_op *op, const struct idem_result *result)
{
    if (op->kind == IDEM_COMPLETE) {
        deed_of(op)->completed = true;
    }
    if (op->kind == IDEM_REBIND && result->verdict == IDEM_OK) {
        sick_rebound(op);
    }
    if (op->kind == IDEM_COMPLETE && op->how == IDEM_HOW_LATE && result->verdict == IDEM_OK) {
        note_late(op);
    }
    if (result->verdict == IDEM_CONFLICT && !ledger.forgotten && !may_be_unrecorded(op->request_id)) {
        sim_violated("request %s brings an answer for a record that is bound to another", op->request_id);
    }
    if (result->told_now || result->resolved_now) {
        struct account *account = account_of_op(op);
        account->tells += result->told_now ? 1 : 0;
        account->resolves += result->resolved_now ? 1 : 0;
    }
}

void ledger_begun(const struct idem_op *op, const struct idem_result *result)
{
    if (result->verdict == IDEM_TAKEN_OVER || (result->verdict == IDEM_RECEIPT && result->left_ms > 0)) {
        deed_of(op)->took_over = true;
        sim.counts.takeovers++;
    }
}

void ledger_reply_lost(const struct idem_op *op, const struct idem_result *result)
{
    if (op != NULL && (result->told_now || result->resolved_now)) {
        struct account *account = account_of_op(op);
        account->lost_tells += result->told_now ? 1 : 0;
        account->lost_resolves += result->resolved_now ? 1 : 0;
    }
}

void ledger_dropped(const struct idem_record *record)
{
    if (record->told && !ledger.forgotten) {
        sim_violated("the record of request %s is unknown, and its time is over without a word", record->request_id);
    }
}

void ledger_forgotten(void)
{
    ledger.forgotten = true;
}

bool ledger_has_forgotten(void)
{
    return ledger.forgotten;
}

void ledger_event(const char *event, const struct log_field *fields, int count)
{
    const char *record = NULL;
    for (int i = 0; i < count; i++) {
        record = strcmp(fields[i].key, "record") == 0 ? fields[i].text : record;
    }
    bool told = strcmp(event, "unknown") == 0;
    if (record == NULL || (!told && strcmp(event, "resolved") != 0)) {
        return;
    }
    struct account *account = account_of(record);
    account->told_lines += told ? 1 : 0;
    account->resolved_lines += told ? 0 : 1;
    sim.counts.unknowns += told ? 1 : 0;
    if (account->told_lines > account->tells || account->resolved_lines > account->resolves) {
        sim_violated("record %s: %u unknown lines for %u times, %u resolved lines for %u", record, account->told_lines,
                     account->tells, account->resolved_lines, account->resolves);
    }
}

/* A record that is there at the end. */
void ledger_left(const struct idem_name *name, enum idem_state state)
{
    char record[IDEM_SHORT_BYTES + 1];
    idem_name_short(name, record);
    const struct account *account = account_of(record);
    unsigned open = state == IDEM_UNKNOWN ? 1 : 0;
    bool settled = state == IDEM_UNKNOWN || state == IDEM_DONE;
    if (settled && !ledger.forgotten && account->tells != account->resolves + open) {
        sim_violated("record %s is %s; it was told %u times that nobody knows and %u times that somebody does", record,
                     idem_state_name(state), account->tells, account->resolves);
    }
}

/* ---- the end ---- */

static void check_account(const struct account *account)
{
    if (account->told_lines + account->lost_tells < account->tells ||
        account->resolved_lines + account->lost_resolves < account->resolves) {
        sim_violated("record %s became unknown %u times and was ended %u times; %u and %u lines tell it, %u and %u replies were lost",
                     account->record, account->tells, account->resolves, account->told_lines, account->resolved_lines,
                     account->lost_tells, account->lost_resolves);
    }
    if (!ledger.forgotten && account->tells > account->resolves + 1) {
        sim_violated("record %s became unknown %u times and was ended %u times", account->record, account->tells,
                     account->resolves);
    }
}

/* Every weir had it go to processors that remember, and to the same processor. */
static bool was_sticky(const struct sim_payment *payment)
{
    for (unsigned i = 1; i <= sim.plan_count; i++) {
        if (!sim.plans[i].routes[payment->route].sticky) {
            return false;
        }
    }
    return sim_bank_retention_s() >= 900;
}

/* Somebody else has the key: with another payment of the tenant. */
static bool was_contested(const struct sim_payment *payment)
{
    for (size_t i = 0; i < payment->case_count; i++) {
        if (payment->cases[i]->variant != 0) {
            return true;
        }
    }
    return false;
}

static void check_payment(const struct sim_payment *payment)
{
    for (size_t i = 0; i < payment->case_count; i++) {
        const struct sim_case *about = payment->cases[i];
        if (about->seen.begun && about->seen.outcome == OUTCOME_NOT_SENT && (about->takes > 0 || about->executions > 0)) {
            sim_violated("H2: n%" PRIu64 " was told that it was not sent, and was", about->nonce);
        }
    }
    if (payment->owed && !payment->turned_away && !payment->final && was_sticky(payment) && !was_contested(payment)) {
        sim_violated("H8: payment %" PRIu64 " was asked for again and again while nothing failed, and has no answer",
                     payment->number);
    }
}

void ledger_end(void)
{
    for (size_t i = 0; i < sim.payment_count; i++) {
        check_payment(sim.payments[i]);
    }
    for (size_t i = 0; i < ledger.account_count; i++) {
        check_account(&ledger.accounts[i]);
    }
}
