/*
 * The one table: in which phase a request may end, for which reason, and what
 * then holds. A line of the access log that is not in it is a violation; a row
 * that a long run never reaches is a hole in the simulation.
 *
 *   sent     whether a processor may have seen a byte. NO: the outcome is
 *            not_sent, in the log and in the answer, and no link took a byte;
 *            but unknown, where it had taken over the record of one that may
 *            have sent. YES: unknown, but for a whole answer (ok, or client_gone
 *            after one): then the status decides. OVER: no link took a byte of
 *            it, and it had taken over. OTHER: no link took a byte of it, and of
 *            another with its key perhaps: unknown. STORED: replayed.
 *   by       who ended it, as the access line says; who ends it in that phase
 *            for that reason is part of the contract with the reader of logs
 *   reply    whose answer the client has, if it is still there
 *   link     what becomes of the link that carried it
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>

#define ROW(phase, NAME, sent, reply, fate, needed, ...) \
    {phase, REASON_##NAME, SENT_##sent, {__VA_ARGS__}, REPLY_##reply, FATE_##fate, needed},

static const struct table_row table[] = {
    /* The head is being read: nothing but the connection exists. */
    /*  phase reason                   sent  reply       link     needed by */
    ROW('H', BAD_REQUEST,              NO,   OWN,        NO_LINK, true,  "client")
    ROW('H', METHOD_NOT_ALLOWED,       NO,   OWN,        NO_LINK, true,  "client")
    ROW('H', NOT_IMPLEMENTED,          NO,   OWN,        NO_LINK, true,  "client")
    ROW('H', VERSION_UNSUPPORTED,      NO,   OWN,        NO_LINK, true,  "client")
    ROW('H', URI_TOO_LONG,             NO,   OWN,        NO_LINK, true,  "client")
    ROW('H', HEADER_TOO_LARGE,         NO,   OWN,        NO_LINK, true,  "client")
    ROW('H', EXPECTATION_FAILED,       NO,   OWN,        NO_LINK, true,  "client")
    ROW('H', REQUEST_TIMEOUT,          NO,   OWN,        NO_LINK, true,  "timeout")
    ROW('H', SHED,                     NO,   OWN,        NO_LINK, true,  "client", "weir")
    ROW('H', CLIENT_GONE,              NO,   NONE,       NO_LINK, true,  "client")
    ROW('H', DRAINING,                 NO,   OWN,        NO_LINK, true,  "weir")
    /* The head is accepted and looked at; nobody waits here. */
    ROW('R', NO_ROUTE,                 NO,   OWN,        NO_LINK, true,  "weir")
    ROW('R', BODY_TOO_LARGE,           NO,   OWN,        NO_LINK, true,  "client")
    /* The body is being read. */
    ROW('B', BAD_REQUEST,              NO,   OWN,        NO_LINK, true,  "client")
    ROW('B', BODY_TOO_LARGE,           NO,   OWN,        NO_LINK, true,  "client")
    ROW('B', REQUEST_TIMEOUT,          NO,   OWN,        NO_LINK, true,  "timeout")
    ROW('B', SHED,                     NO,   OWN,        NO_LINK, true,  "client", "weir")
    ROW('B', CLIENT_GONE,              NO,   NONE,       NO_LINK, true,  "client")
    ROW('B', DRAINING,                 NO,   OWN,        NO_LINK, true,  "weir")
    /* A keyed one: its record is asked for, or the first with this key is waited for. */
    ROW('K', KEY_MISSING,              NO,   OWN,        NO_LINK, true,  "client")
    ROW('K', KEY_MALFORMED,            NO,   OWN,        NO_LINK, true,  "client")
    ROW('K', KEY_REUSED,               NO,   OWN,        NO_LINK, true,  "client")
    ROW('K', STORE_DOWN,               NO,   OWN,        NO_LINK, true,  "weir")
    ROW('K', SHED,                     NO,   OWN,        NO_LINK, false, "weir")
    ROW('K', DEADLINE_BEFORE_SEND,     NO,   OWN,        NO_LINK, true,  "timeout")
    ROW('K', CLIENT_GONE,              NO,   NONE,       NO_LINK, true,  "client")
    ROW('K', DRAINING,                 NO,   OWN,        NO_LINK, true,  "weir")
    ROW('K', KEY_IN_PROGRESS,          OTHER, OWN,       NO_LINK, true,  "client")
    ROW('K', OUTCOME_UNKNOWN,          OTHER, OWN,       NO_LINK, true,  "client")
    ROW('K', REPLAYED,                 STORED, STORED,   NO_LINK, true,  "-")
    /* A link is waited for; a streamed body may still be arriving. */
    ROW('L', QUEUE_FULL,               NO,   OWN,        NO_LINK, true,  "processor")
    ROW('L', DNS_FAILED,               NO,   OWN,        NO_LINK, true,  "processor")
    ROW('L', CONNECT_FAILED,           NO,   OWN,        NO_LINK, true,  "processor")
    ROW('L', CONNECT_TIMEOUT,          NO,   OWN,        NO_LINK, true,  "processor")
    ROW('L', DEADLINE_BEFORE_SEND,     NO,   OWN,        NO_LINK, true,  "timeout")
    ROW('L', SHED,                     NO,   OWN,        NO_LINK, false, "client", "weir")
    ROW('L', BAD_REQUEST,              NO,   OWN,        NO_LINK, true,  "client")
    ROW('L', BODY_TOO_LARGE,           NO,   OWN,        NO_LINK, true,  "client")
    ROW('L', CLIENT_GONE,              NO,   NONE,       NO_LINK, true,  "client")
    ROW('L', DRAINING,                 NO,   OWN,        NO_LINK, true,  "weir")
    ROW('L', RESPONSE_TIMEOUT,         OVER, OWN,        NO_LINK, false, "weir")
    ROW('S', DEADLINE_BEFORE_SEND,     NO,   OWN,        NO_LINK, true,  "weir", "timeout")
    /* ======== the first byte is out: money may move from here ======== */
    /* A part of the request is out. Only a streamed body can still break on the client's side. */
    ROW('S', WRITE_FAILED,             YES,  OWN,        CLOSED,  true,  "processor")
    ROW('S', RESPONSE_TIMEOUT,         YES,  OWN,        CLOSED,  true,  "timeout", "weir")
    ROW('S', REQUEST_TIMEOUT,          YES,  OWN,        CLOSED,  true,  "timeout")
    ROW('S', BAD_REQUEST,              YES,  OWN,        CLOSED,  true,  "client")
    ROW('S', BODY_TOO_LARGE,           YES,  OWN,        CLOSED,  true,  "client")
    ROW('S', CLIENT_GONE,              YES,  NONE,       CLOSED,  true,  "client")
    /* The request is out, or the link ended while it went; no answer yet. */
    ROW('W', RESPONSE_TIMEOUT,         YES,  OWN,        CLOSED,  true,  "timeout", "weir")
    ROW('W', CLOSED_BEFORE_RESPONSE,   YES,  OWN,        CLOSED,  true,  "processor")
    ROW('W', RESPONSE_INCOMPLETE,      YES,  OWN,        CLOSED,  true,  "processor")
    ROW('W', RESPONSE_MALFORMED,       YES,  OWN,        CLOSED,  true,  "processor")
    /* The answer has begun. */
    ROW('A', OK,                       YES,  PROCESSORS, KEPT,    true,  "-")
    ROW('A', CLIENT_GONE,              YES,  NONE,       KEPT,    true,  "client")
    ROW('A', RESPONSE_INCOMPLETE,      YES,  OWN,        CLOSED,  true,  "processor", "weir")
    ROW('A', RESPONSE_MALFORMED,       YES,  OWN,        CLOSED,  true,  "processor")
    ROW('A', RESPONSE_TIMEOUT,         YES,  OWN,        CLOSED,  true,  "timeout", "weir")
    /* A keyed answer is there, and is being stored. What comes later (LATE, T) is for the record: the line is written. */
    ROW('C', OK,                       YES,  PROCESSORS, KEPT,    true,  "-")
    ROW('C', CLIENT_GONE,              YES,  NONE,       KEPT,    true,  "client")
    ROW('C', REPLAYED,                 STORED, STORED,   KEPT,    false, "-")
    /* Not a line: an answer that came after response_timeout was told, and settled the record. */
    ROW('T', OK,                       YES,  NONE,       CLOSED,  false, "-")
};

static uint64_t reached[ARRAY_COUNT(table)];

const struct table_row *row_find(char phase, enum reason reason, const char *ended_by)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        const struct table_row *row = &table[i];
        if (row->phase != phase || row->reason != reason) {
            continue;
        }
        for (size_t by = 0; by < ARRAY_COUNT(row->ended_by) && row->ended_by[by] != NULL; by++) {
            if (strcmp(row->ended_by[by], ended_by) == 0) {
                return row;
            }
        }
    }
    return NULL;
}

void row_count(const struct table_row *row)
{
    reached[row - table]++;
}

bool rows_report(bool verbose)
{
    size_t rows = 0;
    size_t holes = 0;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        const struct table_row *row = &table[i];
        bool hole = reached[i] == 0 && row->needed;
        rows += reached[i] > 0 ? 1 : 0;
        holes += hole ? 1 : 0;
        if (verbose) {
            printf("  %c %-24s %10" PRIu64 "%s\n", row->phase, reason_name(row->reason), reached[i],
                   hole ? "  never reached" : "");
        }
    }
    printf("phase x reason: %zu of %zu rows reached, %zu needed ones missing\n", rows, ARRAY_COUNT(table), holes);
    return holes == 0;
}
