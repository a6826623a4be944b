/*
 * The end of a run: each request is looked at from all sides. What the client
 * read, what the log says, what the links took and what the processors did must
 * be one story, and nothing may be left over.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#include "weir/policy/profile.h"

/* Access lines of requests whose path was never known. */
static struct sim_case *unnamed;
static size_t unnamed_count, unnamed_size;

void sim_verdict_begin(void)
{
    unnamed_count = 0;
}

void sim_verdict_keep(const struct sim_case *line)
{
    if (unnamed_count == unnamed_size) {
        unnamed_size = unnamed_size * 2 + 16;
        unnamed = realloc(unnamed, unnamed_size * sizeof *unnamed);
        CHECK(unnamed != NULL);
    }
    unnamed[unnamed_count++] = *line;
}

/* The line of an answer whose request has none of its own. */
static void find_line(struct sim_case *about)
{
    for (size_t i = 0; i < unnamed_count; i++) {
        struct sim_case *line = &unnamed[i];
        if (line->lines == 1 && strcmp(line->request_id, about->seen.request_id) == 0) {
            line->lines = 2; /* taken */
            about->lines = 1;
            about->phase = line->phase;
            about->reason = line->reason;
            about->outcome = line->outcome;
            about->status = line->status;
            (void)bytes_to_text(bytes_from_text(line->ended_by), about->ended_by, sizeof about->ended_by);
            (void)bytes_to_text(bytes_from_text(line->request_id), about->request_id, sizeof about->request_id);
            return;
        }
    }
    sim_violated("n%" PRIu64 " has an answer and no access line", about->nonce);
}

/* ---- what was said of the money ---- */

/* Of the processor's status: the log has 499 where the client was gone before it came. */
static bool is_definite(const struct sim_case *about)
{
    unsigned status = about->reason == REASON_CLIENT_GONE ? about->answer_status : about->status;
    bool final = (status >= 200 && status <= 299) || status == 400 || status == 402 || status == 404;
    return about->safe || final || status == 429;
}

static void check_outcome(const struct sim_case *about)
{
    bool relayed = about->reason == REASON_OK || (about->reason == REASON_CLIENT_GONE && (about->phase == 'A' || about->phase == 'C'));
    bool same_status = about->answer_status == about->status || about->reason == REASON_CLIENT_GONE;
    bool doubtful = about->took_over || (about->takes > 1 && !about->safe); /* there was an attempt before */
    if (about->outcome == OUTCOME_ANSWERED && doubtful && about->answer_status == 429) {
        sim_violated("n%" PRIu64 " is logged answered: an attempt before may have been executed, and this one was told that "
                     "nothing was", about->nonce);
    }
    if (about->outcome == OUTCOME_ANSWERED && !about->poisoned) {
        if (!relayed || !is_definite(about)) {
            sim_violated("n%" PRIu64 " is logged answered: %s, status %u", about->nonce, reason_name(about->reason),
                         about->status);
        }
        if (!about->answer_whole || !same_status) {
            sim_violated("n%" PRIu64 " is logged answered with %u, its processor gave %u and weir had %s of it",
                         about->nonce, about->status, about->answer_status, about->answer_whole ? "all" : "a part");
        }
    }
    bool answered = about->reason == REASON_OK || (relayed && about->answer_whole && about->arrived);
    /* "Not executed" proves nothing where there was an attempt before, or may have been one without a record. */
    bool unrecorded = sim.plans[about->line_generation].routes[about->route].passes;
    bool settles = is_definite(about) && !((doubtful || unrecorded) && about->answer_status == 429);
    if (answered && about->outcome == OUTCOME_UNKNOWN && settles && !about->poisoned) {
        sim_violated("n%" PRIu64 " has a definite answer and is logged unknown", about->nonce);
    }
}

/* An answer that must not be relayed, or one that must be. */
static void check_kind(const struct sim_case *about)
{
    enum reason wanted = sim_kind_reason(about->kind);
    bool streamed = about->takes > 0;
    bool refused_for_form = about->reason == REASON_BAD_REQUEST || about->reason == REASON_METHOD_NOT_ALLOWED ||
                            about->reason == REASON_NOT_IMPLEMENTED || about->reason == REASON_VERSION_UNSUPPORTED ||
                            about->reason == REASON_URI_TOO_LONG || about->reason == REASON_HEADER_TOO_LARGE ||
                            about->reason == REASON_EXPECTATION_FAILED || about->reason == REASON_BODY_TOO_LARGE ||
                            about->reason == REASON_NO_ROUTE;
    if (wanted == REASON_OK && refused_for_form) {
        sim_violated("n%" PRIu64 " is fine and was refused: %s", about->nonce, reason_name(about->reason));
    }
    if (about->kind != KIND_CUT && wanted != REASON_OK && refused_for_form && about->reason != wanted) {
        sim_violated("n%" PRIu64 " was refused as %s, and is %s", about->nonce, reason_name(about->reason),
                     reason_name(wanted));
    }
    if (wanted != REASON_OK && about->reason == REASON_OK && !streamed) {
        sim_violated("n%" PRIu64 " must be refused (%s) and was answered", about->nonce, reason_name(wanted));
    }
}

/* ---- what the client read ---- */

/* Whether a retry with the key finds a memory of this attempt. */
static bool finds_truth(const struct sim_case *about)
{
    const struct sim_plan *plan = &sim.plans[about->line_generation];
    const struct sim_route_plan *route = &plan->routes[about->route];
    bool recorded = about->keyed && route->keyed && about->method[0] == 'P' && about->method[1] != 'U';
    if (!recorded || about->phase == 'B' || about->phase == 'R') {
        return plan->processors[route->processor].bank;
    }
    return about->reason == REASON_KEY_IN_PROGRESS || (route->sticky && about->reason != REASON_OUTCOME_UNKNOWN);
}

static enum retry retry_expected(const struct sim_case *about)
{
    bool routed = about->line_generation != 0;
    const struct reason_asker asker = {
        .safe_method = routed && about->safe,
        .keyed = routed && about->keyed,
        .finds_truth = routed && finds_truth(about),
        .sent = about->takes > 0 || about->took_over,
    };
    return reason_retry(about->reason, &asker);
}

static void check_own(const struct sim_case *about)
{
    const struct sim_seen *seen = &about->seen;
    if (seen->retry != retry_expected(about)) {
        sim_violated("n%" PRIu64 " was told %s with Weir-Retry: %s", about->nonce, reason_name(seen->reason),
                     retry_name(seen->retry));
    }
    if (seen->reason != about->reason || seen->status != about->status || seen->outcome != about->outcome) {
        sim_violated("n%" PRIu64 " was told %s %u %s, the log says %s %u %s", about->nonce, reason_name(seen->reason),
                     seen->status, outcome_name(seen->outcome), reason_name(about->reason), about->status,
                     outcome_name(about->outcome));
    }
    if (seen->status != reason_status(seen->reason)) {
        sim_violated("n%" PRIu64 " was told %s with status %u", about->nonce, reason_name(seen->reason), seen->status);
    }
    if (about->keyed && seen->retry == RETRY_SAFE && about->phase != 'H') {
        sim_violated("n%" PRIu64 " has a key and was told that a retry is safe", about->nonce);
    }
    if (seen->outcome != OUTCOME_NOT_SENT && !about->safe && seen->retry == RETRY_SAFE) {
        sim_violated("n%" PRIu64 " may have been executed and was told that a retry is safe", about->nonce);
    }
    if (seen->outcome != OUTCOME_NOT_SENT && !about->safe && seen->retry == RETRY_SAME_KEY && !about->keyed) {
        sim_violated("n%" PRIu64 " has no key and was told to use it again", about->nonce);
    }
}

static void check_relayed(const struct sim_case *about)
{
    const struct sim_seen *seen = &about->seen;
    if (seen->status != about->status) {
        sim_violated("n%" PRIu64 " got status %u, the log says %u", about->nonce, seen->status, about->status);
    }
    if (seen->whole && about->reason != REASON_OK && about->reason != REASON_REPLAYED) {
        sim_violated("n%" PRIu64 " took a cut answer for a whole one: %s", about->nonce, reason_name(about->reason));
    }
    if (about->reason == REASON_OK && seen->outcome != about->outcome) {
        sim_violated("n%" PRIu64 " was told %s, the log says %s", about->nonce, outcome_name(seen->outcome),
                     outcome_name(about->outcome));
    }
}

static void check_seen(const struct sim_case *about)
{
    if (strcmp(about->seen.request_id, about->request_id) != 0) {
        sim_violated("n%" PRIu64 " got the answer to request %s, its own is %s", about->nonce, about->seen.request_id,
                     about->request_id);
    }
    if (about->seen.own) {
        check_own(about);
    } else {
        check_relayed(about);
    }
}

/* A client that stays and reads has its answer, whole, unless weir had to cut it. */
static void check_served(const struct sim_case *about)
{
    const struct table_row *row = row_find(about->phase, about->reason, about->ended_by);
    bool promised = row->reply == REPLY_PROCESSORS || row->reply == REPLY_STORED || (row->reply == REPLY_OWN && !about->answer_begun);
    bool stopped = about->weir != NULL && about->weir->thaws_at_us > about->sent_at_us; /* its time to write may be over then */
    bool hindered = about->weir == NULL || about->weir->cut_at_us != 0 || about->weir->dead || stopped ||
                    about->client->broken != ERR_OK || about->poisoned || about->sent_at_us == 0;
    if (about->lone && about->reason == REASON_CLIENT_GONE && !hindered && !about->client->reset_in) {
        sim_violated("n%" PRIu64 " is logged as left by its client, which waited%s", about->nonce,
                     about->half_closed ? " behind a half-closed connection" : "");
    }
    if (about->lone && promised && !hindered && !about->seen.whole) {
        sim_violated("n%" PRIu64 " waited for its answer (%s) and did not get all of it", about->nonce,
                     reason_name(about->reason));
    }
}

static void check_case(struct sim_case *about)
{
    if (about->seen.begun && about->lines == 0 && !about->weir->dead) {
        find_line(about);
    }
    /* Else it may have a line without a path, and no answer that would tell which. */
    bool told = about->client != NULL && about->client->broken == ERR_OK && !about->client->reset_in &&
                about->weir != NULL && about->weir->cut_at_us == 0 && !about->weir->dead;
    if (about->lone && about->begun_generation != 0 && about->lines == 0 && told) {
        sim_violated("n%" PRIu64 " reached weir and has no access line", about->nonce);
    }
    if (about->lines == 0) {
        return;
    }
    check_outcome(about);
    check_kind(about);
    if (about->seen.begun) {
        check_seen(about);
    }
    check_served(about);
}

static void check_rest(const struct sim_weir *weir)
{
    struct gate_state state;
    gate_state(weir->gate, &state);
    if (state.exchanges_total != weir->lines) {
        sim_violated("%" PRIu64 " exchanges and %" PRIu64 " access lines", state.exchanges_total, weir->lines);
    }
    if (state.exchanges != 0 || state.exchanges_sent != 0 || state.clients != 0 || state.listener_count != 0) {
        sim_violated("at rest there are %u exchanges, %u of them sent, %u clients and %d listeners", state.exchanges,
                     state.exchanges_sent, state.clients, state.listener_count);
    }
    bounds_rest(weir);
    sick_rest(weir);
}

void sim_verdict_end(void)
{
    for (size_t i = 0; i < sim.case_count; i++) {
        check_case(sim.cases[i]);
    }
    for (int i = 0; i < sim.weir_count; i++) {
        if (!sim.weirs[i]->dead) {
            check_rest(sim.weirs[i]);
        }
    }
}
