/*
 * What a processor does with one request: mostly answers it, and otherwise one
 * of the ways in which payments go wrong. Writes the bytes, and marks in them
 * where the answer begins, where it is whole, and from where on the link is no
 * longer fit for another request.
 */
#include "sim.h"

#include <inttypes.h>

enum manner {
    MANNER_PLAIN,
    MANNER_EARLY,          /* answers before it has read the request */
    MANNER_LATE,           /* after weir's timeout */
    MANNER_SILENT,
    MANNER_CLOSE,          /* says Connection: close, and does */
    MANNER_QUIET_CLOSE,    /* closes behind an answer without saying so */
    MANNER_INTERIM,        /* 1xx first */
    MANNER_HALF,           /* breaks off in the middle */
    MANNER_NONE,           /* ends the connection without an answer */
    MANNER_GARBAGE,
    MANNER_TWO,            /* one answer too many */
    MANNER_EXTRA,          /* bytes behind the answer */
    MANNER_STRAY,          /* says or does something later, when nobody asked */
    MANNER_TRICKLE,
    MANNER_COUNT
};

static const uint16_t statuses[] = {200, 200, 200, 201, 200, 204, 304, 400, 402, 404, 409, 429, 408, 500, 502, 503, 504, 521};

static uint64_t body_len(void)
{
    if (sim_chance(80)) {
        return sim_below(600);
    }
    return sim_chance(75) ? sim_below(20000) : sim_chance(50) ? sim_below(70000) : sim_between(100000, 400000);
}

static bool has_body(const struct sim_case *about, uint16_t status)
{
    return status != 204 && status != 304 && !(about->method[0] == 'H');
}

void sim_answer_note(struct sim_case *about, const struct stream *stream, uint16_t status, bool known)
{
    if (about->link == stream) { /* else it comes on a link that weir has given up */
        about->answer_status = status;
        about->answer_known = known;
    }
}

/* Where marks go: offsets in `out` are offsets behind what was sent before. */
struct writing {
    struct sim_bytes *out;
    struct stream *stream;
    struct sim_case *about;
};

static uint64_t here(const struct writing *writing)
{
    return writing->stream->in_sent + sim_bytes_len(writing->out);
}

static void mark(const struct writing *writing, uint64_t at, enum sim_mark_kind kind)
{
    sim_mark(writing->stream, at, kind, kind == MARK_SPOILT ? NULL : writing->about);
}

static void write_chunked(const struct writing *writing, uint64_t len)
{
    uint64_t done = 0;
    while (done < len) {
        uint64_t some = sim_between(1, len - done);
        sim_bytes_text(writing->out, "%" PRIx64 "\r\n", some);
        sim_pattern(writing->out, 'a', writing->about->nonce, done, some);
        sim_bytes_text(writing->out, "\r\n");
        done += some;
    }
    sim_bytes_text(writing->out, "0\r\n%s\r\n", sim_chance(5) ? "X-Trailer: 1\r\n" : "");
}

/* A whole answer that is right in itself. */
static void write_answer(const struct writing *writing, uint16_t status, bool close)
{
    uint64_t len = body_len();
    bool chunked = sim_chance(30);
    struct sim_case *about = writing->about;
    sim_bytes_text(writing->out, "HTTP/1.1 %u Status\r\nSim-Nonce: %" PRIu64 "\r\nWeir-Outcome: forged\r\n", status,
                   about->nonce);
    if (close) {
        sim_bytes_text(writing->out, "Connection: close\r\n");
    }
    if (!has_body(about, status)) {
        sim_bytes_text(writing->out, "%s\r\n", about->method[0] == 'H' && sim_chance(50) ? "Content-Length: 77\r\n" : "");
    } else if (chunked) {
        sim_bytes_text(writing->out, "Transfer-Encoding: chunked\r\n\r\n");
        write_chunked(writing, len);
    } else {
        sim_bytes_text(writing->out, "Content-Length: %" PRIu64 "\r\n\r\n", len);
        sim_pattern(writing->out, 'a', about->nonce, 0, len);
    }
    sim_answer_note(about, writing->stream, status, false);
}

static void write_garbage(const struct writing *writing)
{
    static const char *const heads[] = {
        "HTP/1.1 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "\x15\x03\x01\x00\x02\x02\x46",
    };
    if (sim_chance(15)) {
        for (int i = 0; i < 12; i++) {
            sim_bytes_text(writing->out, "HTTP/1.1 102 Processing\r\n\r\n");
        }
        return;
    }
    if (sim_chance(25) && has_body(writing->about, 200)) { /* right up to its body */
        sim_bytes_text(writing->out, "HTTP/1.1 200 OK\r\nSim-Nonce: %" PRIu64 "\r\nTransfer-Encoding: chunked\r\n\r\n%s",
                       writing->about->nonce, sim_chance(50) ? "zz\r\n" : "0\r\nContent-Length: 3\r\n\r\n");
        return;
    }
    sim_bytes_text(writing->out, "%s", heads[sim_below(ARRAY_COUNT(heads))]);
}

static enum manner some_manner(void)
{
    if (!sim_chance(sim.weather.odd_answer)) {
        return sim_chance(sim.weather.slow_answer) ? MANNER_TRICKLE : MANNER_PLAIN;
    }
    return (enum manner)sim_below(MANNER_COUNT);
}

static enum sim_ending some_end(void)
{
    static const enum sim_ending ends[] = {ENDING_FIN, ENDING_LEAVE, ENDING_RESET};
    return ends[sim_below(ARRAY_COUNT(ends))];
}

/* Of two runs that are compared, both have the same declines. */
static uint16_t some_status(const struct sim_case *about, const struct stream *stream)
{
    switch (sim_ill_of(&stream->addr_peer)) {
    case ILL_FAILS:
        return 500;
    case ILL_GATEWAY:
        return (uint16_t)sim_between(502, 504);
    case ILL_BUSY:
        return 429;
    default:
        break;
    }
    if (sim.pair) {
        return about->nonce % 3 == 0 ? 402 : 200;
    }
    if (sim_chance(sim.weather.declines)) {
        return 402;
    }
    return sim_chance(70) ? 200 : statuses[sim_below(ARRAY_COUNT(statuses))];
}

static void write_strays(const struct writing *writing, bool another)
{
    mark(writing, here(writing) + 1, MARK_SPOILT);
    if (another) {
        uint16_t status = writing->about->answer_status;
        write_answer(writing, 200, false);
        sim_answer_note(writing->about, writing->stream, status, false);
    } else {
        sim_bytes_text(writing->out, "%s", sim_chance(50) ? "\r\n" : "HTTP/1.1 100 Continue\r\n\r\n");
    }
    writing->stream->stray_end = here(writing);
}

/* Breaks off: somewhere in the head or the body, but never before its first byte and never at its last. */
static void halve(const struct writing *writing)
{
    size_t len = sim_bytes_len(writing->out);
    sim_bytes_cut(writing->out, (size_t)sim_between(1, len - 1));
    sim_answer_note(writing->about, writing->stream, 0, false);
}

static void write_whole(const struct writing *writing, enum manner manner)
{
    mark(writing, here(writing) + 1, MARK_ANSWER_BEGUN);
    for (uint64_t left = manner == MANNER_INTERIM ? sim_between(1, 4) : 0; left > 0; left--) {
        sim_bytes_text(writing->out, "HTTP/1.1 10%c Interim\r\nSim-Interim: 1\r\n\r\n", sim_chance(50) ? '0' : '3');
    }
    write_answer(writing, some_status(writing->about, writing->stream), manner == MANNER_CLOSE);
    mark(writing, here(writing), MARK_ANSWER_WHOLE);
    if (manner == MANNER_CLOSE) {
        mark(writing, here(writing), MARK_SPOILT);
    }
}

static void choose_times(struct sim_answer *answer, enum manner manner)
{
    if (sim.pair) {
        return; /* at once */
    }
    answer->delay_us = sim_chance(70) ? sim_below(3 * SIM_MS) : sim_below(60 * SIM_MS);
    if (manner == MANNER_LATE) {
        answer->delay_us = sim_between(30 * SIM_MS, 1500 * SIM_MS);
    }
    if (manner == MANNER_TRICKLE) {
        answer->piece = (size_t)sim_between(1, 4000);
        answer->gap_us = sim_below(40 * SIM_MS);
    } else if (sim_chance(20)) {
        answer->piece = 1 + (size_t)sim_below(30000);
        answer->gap_us = sim_below(3 * SIM_MS);
    }
    if (manner == MANNER_STRAY) {
        answer->stray_us = sim_between(1, 1200 * SIM_MS);
    }
}

void sim_answer_make(struct sim_answer *answer, struct sim_case *about, struct sim_bytes *out, struct stream *stream)
{
    enum manner manner = sim_ill_of(&stream->addr_peer) == ILL_CUTS ? MANNER_NONE : some_manner();
    const struct writing writing = {out, stream, about};
    *answer = (struct sim_answer){.executes = true, .early = manner == MANNER_EARLY, .silent = manner == MANNER_SILENT};
    choose_times(answer, manner);
    if (manner == MANNER_SILENT && sim_chance(50)) {
        sim_read_rate(stream, 0, 0); /* nor does it read on */
    }
    switch (manner) {
    case MANNER_NONE:
        answer->executes = sim_chance(50);
        answer->ending = some_end();
        answer->early = sim_chance(30);
        break;
    case MANNER_GARBAGE:
        mark(&writing, here(&writing) + 1, MARK_ANSWER_BEGUN);
        write_garbage(&writing);
        mark(&writing, here(&writing), MARK_SPOILT);
        answer->early = sim_chance(10);
        break;
    case MANNER_HALF:
        mark(&writing, here(&writing) + 1, MARK_ANSWER_BEGUN);
        write_answer(&writing, some_status(about, stream), false);
        halve(&writing);
        answer->ending = sim_chance(85) ? some_end() : ENDING_STAY;
        answer->early = sim_chance(10);
        break;
    default:
        write_whole(&writing, manner);
        break;
    }
    if (manner == MANNER_TWO || manner == MANNER_EXTRA) {
        write_strays(&writing, manner == MANNER_TWO);
    }
    if (manner == MANNER_CLOSE || manner == MANNER_QUIET_CLOSE) {
        answer->ending = some_end();
    }
}
