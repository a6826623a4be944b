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
 *   needed   which kind of runs must reach it, when there are many
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>

#define ROW(phase, NAME, sent, reply, fate, needed, ...) \
    {phase, REASON_##NAME, SENT_##sent, {__VA_ARGS__}, REPLY_##reply, FATE_##fate, NEEDED_##needed},

static const struct table_row table[] = {
    /* The head is being read: nothing but the connection exists. */
    /*  phase reason                   sent  reply       link     needed by */
    ROW('H', BAD_REQUEST,              NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('H', METHOD_NOT_ALLOWED,       NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('H', NOT_IMPLEMENTED,          NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('H', VERSION_UNSUPPORTED,      NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('H', URI_TOO_LONG,             NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('H', HEADER_TOO_LARGE,         NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('H', EXPECTATION_FAILED,       NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('H', REQUEST_TIMEOUT,          NO,   OWN,        NO_LINK, WIRE,  "timeout")
    ROW('H', SHED,                     NO,   OWN,        NO_LINK, WIRE,  "client", "weir")
    ROW('H', CLIENT_GONE,              NO,   NONE,       NO_LINK, WIRE,  "client")
    ROW('H', DRAINING,                 NO,   OWN,        NO_LINK, WIRE,  "weir")
    /* The head is accepted and looked at; nobody waits here. */
    ROW('R', NO_ROUTE,                 NO,   OWN,        NO_LINK, WIRE,  "weir")
    ROW('R', BODY_TOO_LARGE,           NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('R', SHED,                     NO,   OWN,        NO_LINK, WIRE,  "weir")
    ROW('R', RATE_LIMITED,             NO,   OWN,        NO_LINK, NO,    "client")
    ROW('R', CONCURRENCY_LIMITED,      NO,   OWN,        NO_LINK, NO,    "client")
    /* The body is being read. */
    ROW('B', BAD_REQUEST,              NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('B', BODY_TOO_LARGE,           NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('B', REQUEST_TIMEOUT,          NO,   OWN,        NO_LINK, WIRE,  "timeout")
    ROW('B', SHED,                     NO,   OWN,        NO_LINK, WIRE,  "client", "weir")
    ROW('B', RATE_LIMITED,             NO,   OWN,        NO_LINK, NO,    "client")
    ROW('B', CONCURRENCY_LIMITED,      NO,   OWN,        NO_LINK, NO,    "client")
    ROW('B', CLIENT_GONE,              NO,   NONE,       NO_LINK, WIRE,  "client")
    ROW('B', DRAINING,                 NO,   OWN,        NO_LINK, WIRE,  "weir")
    /* A keyed one: its record is asked for, or the first with this key is waited for. Others: their limits are asked for. */
    ROW('K', RATE_LIMITED,             NO,   OWN,        NO_LINK, NO,    "client")
    ROW('K', BAD_REQUEST,              NO,   OWN,        NO_LINK, NO,    "client")
    ROW('K', BODY_TOO_LARGE,           NO,   OWN,        NO_LINK, NO,    "client")
    ROW('K', KEY_MISSING,              NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('K', KEY_MALFORMED,            NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('K', KEY_REUSED,               NO,   OWN,        NO_LINK, MONEY, "client")
    ROW('K', STORE_DOWN,               NO,   OWN,        NO_LINK, BOTH,  "weir")
    ROW('K', SHED,                     NO,   OWN,        NO_LINK, NO,    "weir", "client")
    ROW('K', DEADLINE_BEFORE_SEND,     NO,   OWN,        NO_LINK, BOTH,  "timeout")
    ROW('K', CLIENT_GONE,              NO,   NONE,       NO_LINK, BOTH,  "client")
    ROW('K', DRAINING,                 NO,   OWN,        NO_LINK, BOTH,  "weir")
    ROW('K', KEY_IN_PROGRESS,          OTHER, OWN,       NO_LINK, MONEY, "client")
    ROW('K', OUTCOME_UNKNOWN,          OTHER, OWN,       NO_LINK, MONEY, "client")
    ROW('K', REPLAYED,                 STORED, STORED,   NO_LINK, MONEY, "-")
    /* A link is waited for; a streamed body may still be arriving. */
    ROW('L', QUEUE_FULL,               NO,   OWN,        NO_LINK, WIRE,  "processor")
    ROW('L', BREAKER_OPEN,             NO,   OWN,        NO_LINK, BOTH,  "weir")
    ROW('L', PROCESSOR_DOWN,           NO,   OWN,        NO_LINK, WIRE,  "processor")
    ROW('L', STORE_DOWN,               NO,   OWN,        NO_LINK, NO,    "weir")
    ROW('L', KEY_IN_PROGRESS,          OTHER, OWN,       NO_LINK, NO,    "weir")
    ROW('L', DNS_FAILED,               NO,   OWN,        NO_LINK, WIRE,  "processor")
    ROW('L', CONNECT_FAILED,           NO,   OWN,        NO_LINK, BOTH,  "processor")
    ROW('L', CONNECT_TIMEOUT,          NO,   OWN,        NO_LINK, WIRE,  "processor")
    ROW('L', DEADLINE_BEFORE_SEND,     NO,   OWN,        NO_LINK, BOTH,  "timeout")
    ROW('L', SHED,                     NO,   OWN,        NO_LINK, NO,    "client", "weir")
    ROW('L', BAD_REQUEST,              NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('L', BODY_TOO_LARGE,           NO,   OWN,        NO_LINK, WIRE,  "client")
    ROW('L', CLIENT_GONE,              NO,   NONE,       NO_LINK, BOTH,  "client")
    ROW('L', DRAINING,                 NO,   OWN,        NO_LINK, WIRE,  "weir")
    ROW('L', RESPONSE_TIMEOUT,         OVER, OWN,        NO_LINK, NO,    "weir")
    ROW('S', DEADLINE_BEFORE_SEND,     NO,   OWN,        NO_LINK, MONEY, "weir", "timeout")
    /* ======== the first byte is out: money may move from here ======== */
    /* A part of the request is out. Only a streamed body can still break on the client's side. */
    ROW('S', WRITE_FAILED,             YES,  OWN,        CLOSED,  BOTH,  "processor")
    ROW('S', RESPONSE_TIMEOUT,         YES,  OWN,        CLOSED,  WIRE,  "timeout", "weir")
    ROW('S', REQUEST_TIMEOUT,          YES,  OWN,        CLOSED,  WIRE,  "timeout")
    ROW('S', BAD_REQUEST,              YES,  OWN,        CLOSED,  WIRE,  "client")
    ROW('S', BODY_TOO_LARGE,           YES,  OWN,        CLOSED,  WIRE,  "client")
    ROW('S', CLIENT_GONE,              YES,  NONE,       CLOSED,  WIRE,  "client")
    /* The request is out, or the link ended while it went; no answer yet. */
    ROW('W', RESPONSE_TIMEOUT,         YES,  OWN,        CLOSED,  BOTH,  "timeout", "weir")
    ROW('W', CLOSED_BEFORE_RESPONSE,   YES,  OWN,        CLOSED,  BOTH,  "processor")
    ROW('W', RESPONSE_INCOMPLETE,      YES,  OWN,        CLOSED,  WIRE,  "processor")
    ROW('W', RESPONSE_MALFORMED,       YES,  OWN,        CLOSED,  WIRE,  "processor")
    /* The answer has begun. */
    ROW('A', OK,                       YES,  PROCESSORS, KEPT,    WIRE,  "-")
    ROW('A', CLIENT_GONE,              YES,  NONE,       KEPT,    WIRE,  "client")
    ROW('A', RESPONSE_INCOMPLETE,      YES,  OWN,        CLOSED,  BOTH,  "processor", "weir")
    ROW('A', RESPONSE_MALFORMED,       YES,  OWN,        CLOSED,  WIRE,  "processor")
    ROW('A', RESPONSE_TIMEOUT,         YES,  OWN,        CLOSED,  BOTH,  "timeout", "weir")
    /* A keyed answer is there, and is being stored. What comes later (LATE, T) is for the record: the line is written. */
    ROW('C', OK,                       YES,  PROCESSORS, KEPT,    BOTH,  "-")
    ROW('C', CLIENT_GONE,              YES,  NONE,       KEPT,    BOTH,  "client")
    ROW('C', REPLAYED,                 STORED, STORED,   KEPT,    MONEY, "-")
    /* Not a line: an answer that came after response_timeout was told, and settled the record. */
    ROW('T', OK,                       YES,  NONE,       CLOSED,  MONEY, "-")
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
        bool hole = reached[i] == 0 && (row->needed == NEEDED_BOTH || row->needed == (sim.money ? NEEDED_MONEY : NEEDED_WIRE));
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
