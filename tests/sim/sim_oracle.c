/*
 * What must hold, whatever happens. Three moments are looked at: a write to a
 * link (may it carry this request?), an access line (is this end legal, and is
 * it true?), and the end of a turn (are the limits kept?). sim_verdict.c looks
 * at each request from all sides once the run is over.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "exchange.h"

#include "weir/base/json.h"

/* Bounds that no key of a configuration names: a read, a head and the marks of stream.h together. */
#define HELD_MAX ((size_t)1024 * 1024) /* of a keyed answer; it goes to its client in one piece */
#define QUEUE_CLIENT_MAX ((size_t)STREAM_QUEUE_HIGH_BYTES + 160 * 1024)
#define QUEUE_LINK_MAX ((size_t)STREAM_QUEUE_HIGH_BYTES + 400 * 1024)
#define ENDED_MAX 512

/* Cases whose line was written in this turn: their links' fates are looked at when it ends. */
static struct sim_case *ended[ENDED_MAX];
static int ended_count;

void oracle_begin(void)
{
    ended_count = 0;
}

/* ---- what the generations so far allow ---- */

enum limit { LIMIT_CONNECTIONS, LIMIT_QUEUE, LIMIT_CONCURRENCY };

/* A reload that lowers a limit leaves what is above it: the largest so far counts. */
static unsigned limit_of(const struct sim_weir *weir, int processor, enum limit limit)
{
    unsigned most = 0;
    for (unsigned i = 1; i <= weir->plan_number; i++) {
        const struct sim_processor_plan *plan = &sim.plans[i].processors[processor];
        unsigned value = limit == LIMIT_CONNECTIONS ? plan->connections
                         : limit == LIMIT_QUEUE     ? plan->queue
                                                    : plan->concurrency;
        most = value > most ? value : most;
    }
    return most;
}

static bool may_stream(const struct sim_case *about)
{
    for (unsigned i = about->begun_generation; about->weir != NULL && i <= about->weir->plan_number; i++) {
        if (sim.plans[i].routes[about->route].stream) {
            return true;
        }
    }
    return false;
}

/* ---- a write to a link ---- */

/* Of the first line or, where payments have the same one each time, of X-Request-Id. */
static uint64_t nonce_in_head(struct bytes head)
{
    uint64_t nonce = sim_nonce_in(bytes_take(head, bytes_find(head, '\r')));
    size_t at = nonce == 0 ? bytes_find_text(head, BYTES("X-Request-Id: /n")) : SIZE_MAX;
    return at == SIZE_MAX ? nonce : sim_nonce_in(bytes_skip(head, at));
}

static uint64_t nonce_of_head(const struct bytes *parts, int count)
{
    static const char *const methods[] = {"POST /", "PUT /", "PATCH /", "GET /", "HEAD /", "DELETE /", "OPTIONS /",
                                          "TRACE /", "CONNECT /"};
    for (size_t i = 0; count > 0 && i < ARRAY_COUNT(methods); i++) {
        if (bytes_starts_with(parts[0], bytes_from_text(methods[i]))) {
            return nonce_in_head(parts[0]);
        }
    }
    return 0;
}

static void check_reuse(const struct stream *link, const struct sim_case *about, uint64_t given_before)
{
    const struct sim_case *last = link->last_case;
    if (!last->answer_whole && !last->poisoned) {
        sim_violated("n%" PRIu64 " goes out on link %" PRIu64 " before n%" PRIu64 " was answered", about->nonce, link->id,
                     last->nonce);
    }
    if (link->taken_at_answer != given_before && !last->poisoned) {
        sim_violated("n%" PRIu64 " goes out on link %" PRIu64 ", where n%" PRIu64 " was answered early", about->nonce,
                     link->id, last->nonce);
    }
    bool well = last->reason == REASON_OK || last->reason == REASON_CLIENT_GONE || last->reason == REASON_REPLAYED;
    if (last->lines != 1 || !well) {
        sim_violated("n%" PRIu64 " goes out on link %" PRIu64 ", where n%" PRIu64 " did not end well", about->nonce,
                     link->id, last->nonce);
    }
    sim.counts.reused++;
}

static void check_link(const struct stream *link, const struct sim_case *about, uint64_t given_before)
{
    if (link->spoilt) {
        sim_violated("n%" PRIu64 " goes out on the spoilt link %" PRIu64, about->nonce, link->id);
    }
    bool stopped_meanwhile = link->weir->thaws_at_us >= link->idle_since_us; /* after it had looked, perhaps */
    bool committed = link->last_case != NULL && link->last_case->phase == 'C'; /* it was held for the store's reply */
    uint64_t young_us = LINK_YOUNG_US + (committed ? 60 * SIM_MS : SIM_MS);
    if (!about->safe && !stopped_meanwhile && sim.now_us - link->idle_since_us > young_us) {
        sim_violated("n%" PRIu64 ", a %s, goes out on link %" PRIu64 ", idle for %" PRIu64 " us", about->nonce,
                     about->method, link->id, sim.now_us - link->idle_since_us);
    }
    if (link->heads > 0) {
        check_reuse(link, about, given_before);
    }
}

/* Only what is whole and right may be sent, but for streamed bodies. */
static void check_sendable(const struct sim_case *about)
{
    bool body_may_break = about->kind == KIND_CUT || about->kind == KIND_LARGE_CHUNKS || about->kind == KIND_BAD_CHUNK;
    bool fine = about->kind == KIND_VALID || (body_may_break && may_stream(about));
    if (!fine) {
        sim_violated("n%" PRIu64 " went to a processor, though it must be refused: %s", about->nonce,
                     reason_name(sim_kind_reason(about->kind)));
    }
    if (!about->arrived && !may_stream(about)) {
        sim_violated("n%" PRIu64 " went to a processor before it was whole", about->nonce);
    }
}

/* ---- once more ---- */

bool oracle_is_executed_once(const struct sim_case *about)
{
    bool recorded = about->keyed && about->method[0] == 'P' && about->method[1] != 'U';
    for (unsigned i = about->begun_generation; recorded && i > 0 && i <= about->weir->plan_number; i++) {
        const struct sim_route_plan *route = &sim.plans[i].routes[about->route];
        if (route->keyed && route->sticky && sim.plans[i].processors[about->link_processor].bank) {
            return true;
        }
    }
    return false;
}

bool oracle_may_come_again(const struct sim_case *about)
{
    const struct stream *link = about->link;
    if (about->takes != 1 || about->lines > 0 || about->answer_whole || !(link->ended || link->broken != ERR_OK)) {
        return false;
    }
    bool old_link = about->safe && about->link_kept && !about->answer_begun && about->body_len == 0;
    return old_link || oracle_is_executed_once(about);
}

/* Behind a timeout or an answer, never. Elsewhere, never. */
static void check_again(const struct sim_case *about, const struct stream *link, const char *key)
{
    if (!oracle_may_come_again(about)) {
        sim_violated("n%" PRIu64 " was sent twice", about->nonce);
    }
    if (sim_processor_of(&link->addr_peer) != about->link_processor) {
        sim_violated("F2: n%" PRIu64 " went to p%d, and goes to p%d", about->nonce, about->link_processor,
                     sim_processor_of(&link->addr_peer));
    }
    if (strcmp(key, about->upstream_key) != 0) {
        sim_violated("n%" PRIu64 " is sent once more as '%s', and went as '%s'", about->nonce, key, about->upstream_key);
    }
    if (!about->link->closing || link->heads > 0) {
        sim_violated("n%" PRIu64 " is sent once more, and %s", about->nonce,
                     link->heads > 0 ? "on a link that was kept" : "its first link stays open");
    }
    sick_sent_again(about);
}

static struct bytes field_of(struct bytes head, struct bytes name)
{
    size_t at = bytes_find_text(head, name);
    struct bytes rest = at == SIZE_MAX ? BYTES_NONE : bytes_skip(head, at + name.len);
    return bytes_take(rest, bytes_find(rest, '\r'));
}

static void note_sent(struct sim_case *about, struct stream *link, struct bytes head)
{
    char key[sizeof about->upstream_key] = "";
    (void)bytes_to_text(field_of(head, BYTES("Idempotency-Key: ")), key, sizeof key);
    if (about->takes > 0 || about->lines > 0) {
        check_again(about, link, key);
        about->answer_begun = about->answer_known = false;
        about->answer_status = 0;
    }
    about->takes++;
    about->link = link;
    about->link_at_us = sim.now_us;
    about->link_kept = link->heads > 0;
    about->link_processor = sim_processor_of(&link->addr_peer);
    memcpy(about->upstream_key, key, sizeof key);
    if (about->link_kept) {
        sick_reuses(link);
    }
    sick_sent(about);
    if (about->payment != NULL) {
        ledger_sent(about);
    }
}

void oracle_write(struct stream *link, const struct bytes *parts, int count, bool sent, uint64_t given_before)
{
    uint64_t nonce = nonce_of_head(parts, count);
    struct sim_case *about = sim_case_of(nonce);
    if (!sent || link->is_check) {
        return;
    }
    if (about == NULL) {
        if (link->last_case == NULL) {
            sim_violated("link %" PRIu64 " carries a body without a head", link->id);
        }
        return;
    }
    check_link(link, about, given_before);
    check_sendable(about);
    note_sent(about, link, parts[0]);
    /* Strays that are on their way cannot be told from the answer; those that lie in the kernel can. */
    bool strays = link->stray_end > link->in_delivered;
    if (strays && link->in_arrives_us <= sim.now_us) {
        sim_violated("n%" PRIu64 " goes out on link %" PRIu64 ", where bytes lay unread", nonce, link->id);
    }
    about->poisoned = about->poisoned || strays;
    link->last_case = about;
    link->heads++;
    sim_note("sent", link->id, nonce, link->heads);
}

/* The newest generation that has a processor says where it is; one that was refused says nothing. */
static void check_place(const struct stream *link, int processor)
{
    int place = ((const uint8_t *)&link->addr_peer.u.v4.sin_addr)[3] - 1;
    for (unsigned i = link->weir->plan_number; i > 0; i--) {
        const struct sim_processor_plan *plan = &sim.plans[i].processors[processor];
        if (processor < sim.plans[i].processor_count) {
            if (!plan->resolved && place >= plan->place_count) {
                sim_violated("a link to place %d of p%d, which is not in generation %u", place, processor, i);
            }
            return;
        }
    }
}

void oracle_connect(struct stream *link)
{
    unsigned open = 0;
    int processor = sim_processor_of(&link->addr_peer);
    check_place(link, processor);
    if (link->is_check) {
        return;
    }
    list_each (other, after, &sim.streams, struct stream, in_streams) {
        open += other->is_link && !other->is_check && other->weir == link->weir && !other->closing && addr_equal(&other->addr_peer, &link->addr_peer) ? 1 : 0;
    }
    if (open > limit_of(link->weir, processor, LIMIT_CONNECTIONS)) {
        sim_violated("%u links to an endpoint of p%d, more than its pool has", open, processor);
    }
    sick_connects(link);
}

/* ---- what arrived ---- */

void oracle_mark(struct stream *stream, const struct sim_mark *mark)
{
    struct sim_case *about = mark->about;
    switch (mark->kind) {
    case MARK_REQUEST_BEGUN:
        about->weir = stream->weir;
        about->weir->begun++;
        stream->keyed = stream->keyed || about->keyed;
        about->begun_generation = stream->weir->plan_number;
        about->lone = about->lone && !stream->shut_asked; /* else it is thrown away, and rightly */
        break;
    case MARK_REQUEST_WHOLE:
        about->arrived = true;
        about->arrived_at_us = sim.now_us;
        break;
    case MARK_ANSWER_BEGUN:
        about->answer_begun = about->answer_begun || about->link == stream;
        break;
    case MARK_ANSWER_WHOLE:
        about->answer_whole = about->answer_whole || about->link == stream;
        stream->taken_at_answer = stream->out_taken;
        stream->idle_since_us = sim.now_us;
        break;
    case MARK_SPOILT:
        /* A stray 1xx under a request that is in flight cannot be told from one of its own. */
        stream->spoilt = stream->spoilt || !(stream->last_case->poisoned && stream->last_case->lines == 0);
        break;
    }
}

void oracle_accepted(struct stream *stream)
{
    unsigned same = 0;
    unsigned most = 0;
    for (unsigned i = 1; i <= stream->weir->plan_number; i++) {
        for (int j = 0; j < sim.plans[i].listener_count; j++) {
            most = sim.plans[i].listeners[j].per_address > most ? sim.plans[i].listeners[j].per_address : most;
        }
    }
    list_each (other, after, &sim.streams, struct stream, in_streams) {
        bool open = !other->is_link && other->weir == stream->weir && other->ops != NULL && !other->closing;
        bool same_host = other->addr_peer.u.v4.sin_addr.s_addr == stream->addr_peer.u.v4.sin_addr.s_addr;
        same += open && same_host ? 1 : 0;
    }
    if (same > most) {
        sim_violated("%u connections of one address, more than per_address", same);
    }
    bounds_accepted(stream, stream->ops != NULL && !stream->closing);
}

void oracle_ignored(const struct sim_case *about, const struct stream *stream)
{
    bool long_ago = about->sent_at_us != 0 && about->sent_at_us + 300 * SIM_MS < sim.now_us;
    if (long_ago && !about->arrived && stream->ops != NULL && stream->paused) {
        sim_violated("n%" PRIu64 " was never read: its connection stayed paused", about->nonce);
    }
}

/* ---- an access line ---- */

/* The value behind "key": without quotes; BYTES_NONE: there is none. */
static struct bytes value_of(struct bytes line, const char *key)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof pattern, "\"%s\":", key);
    size_t at = bytes_find_text(line, bytes_from_text(pattern));
    if (at == SIZE_MAX) {
        return BYTES_NONE;
    }
    struct bytes rest = bytes_skip(line, at + strlen(pattern));
    bool quoted = rest.len > 0 && rest.at[0] == '"';
    rest = bytes_skip(rest, quoted ? 1 : 0);
    size_t len = 0;
    while (len < rest.len && rest.at[len] != (quoted ? '"' : ',') && rest.at[len] != '}') {
        len++;
    }
    return bytes_take(rest, len);
}

static enum outcome outcome_in(struct bytes line)
{
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        if (bytes_equal(value_of(line, "weir.outcome"), bytes_from_text(outcome_name((enum outcome)i)))) {
            return (enum outcome)i;
        }
    }
    sim_violated("an access line without an outcome");
}

static void read_line(struct sim_case *about, struct bytes line)
{
    struct bytes phase = value_of(line, "weir.phase");
    uint64_t status = 0;
    about->lines++;
    about->line_at_us = sim.now_us;
    about->phase = phase.len == 1 ? phase.at[0] : '?';
    about->reason = reason_find(value_of(line, "weir.reason"));
    about->outcome = outcome_in(line);
    (void)bytes_to_text(value_of(line, "weir.ended_by"), about->ended_by, sizeof about->ended_by);
    (void)bytes_to_text(value_of(line, "request_id"), about->request_id, sizeof about->request_id);
    about->status = bytes_to_u64(value_of(line, "http.response.status_code"), &status) ? (unsigned)status : 0;
}

/* Requests end on the generation that they began with: the route's name says which, and its processor is that plan's. */
static void check_generation(struct sim_case *about, struct bytes line)
{
    struct bytes route = value_of(line, "weir.route");
    struct bytes processor = value_of(line, "weir.processor");
    unsigned index = 0;
    unsigned number = 0;
    char text[32];
    if (route.len == 0) {
        return;
    }
    (void)bytes_to_text(route, text, sizeof text);
    bool read = sscanf(text, "r%u-g%u", &index, &number) == 2;
    if (!read || number < 1 || number > sim.weir->plan_number || index != (unsigned)about->route) {
        sim_violated("n%" PRIu64 " ran on the route %s", about->nonce, text);
    }
    if (number < about->begun_generation || (!about->pipelined && number != about->begun_generation)) {
        sim_violated("n%" PRIu64 " began on generation %u and ran on %u", about->nonce, about->begun_generation, number);
    }
    about->line_generation = number;
    const struct sim_route_plan *plan = &sim.plans[number].routes[index];
    struct bytes from = value_of(line, "weir.failover_from");
    int expected = plan->processor;
    if (from.len > 0) {
        bool rightly = plan->failover >= 0 && from.len == 2 && from.at[1] - '0' == plan->processor;
        if (!rightly || about->took_over) {
            sim_violated("F3: n%" PRIu64 " went elsewhere from route %s, which says nothing of it%s", about->nonce, text,
                         about->took_over ? ", and had taken over" : "");
        }
        if (about->safe || (about->keyed && !plan->moves)) {
            sim_violated("F3: n%" PRIu64 ", a %s%s, went elsewhere: what it asks for is known to one processor alone",
                         about->nonce, about->method, about->keyed ? " with a key and no record" : "");
        }
        expected = plan->failover;
        sim.counts.failovers++;
    }
    bool elsewhere = about->link != NULL && about->link_processor != expected;
    if (about->took_over && about->link != NULL) {
        expected = about->link_processor; /* the record's */
        elsewhere = false;
    }
    bool named = processor.len == 2 && (processor.at[1] - '0' == expected || (about->took_over && about->link == NULL));
    if (!named || elsewhere) {
        sim_violated("n%" PRIu64 " went to another processor than its route's", about->nonce);
    }
}

/* Its first attempt is over, and the second has not been sent: it was about to be. */
static bool is_between(const struct sim_case *about, const struct table_row *row)
{
    struct sim_case before = *about;
    before.lines = 0;
    return (about->phase == 'L' || about->phase == 'S') && row->sent != SENT_YES && oracle_may_come_again(&before);
}

static void check_sent(const struct sim_case *about, const struct table_row *row)
{
    bool sent = about->takes > 0;
    bool between = sent && is_between(about, row);
    bool before = about->took_over || between; /* an attempt was made, and this end says nothing of it */
    bool may_be_sent = row->sent == SENT_YES || row->sent == SENT_STORED || between;
    if ((sent && !may_be_sent) || (!sent && row->sent == SENT_YES) || (row->sent == SENT_OVER && !before)) {
        sim_violated("n%" PRIu64 " ended as %s in phase %c, and %s byte of it was sent%s", about->nonce,
                     reason_name(about->reason), about->phase, sent ? "a" : "no",
                     about->took_over ? ", and it took over" : "");
    }
    bool unsent = row->sent == SENT_NO && !before;
    bool unknown = row->sent == SENT_OTHER || row->sent == SENT_OVER || (row->sent == SENT_NO && before);
    bool fits = unsent    ? about->outcome == OUTCOME_NOT_SENT
                : unknown ? about->outcome == OUTCOME_UNKNOWN
                : row->sent == SENT_STORED ? about->outcome == OUTCOME_REPLAYED
                                           : about->outcome == OUTCOME_ANSWERED || about->outcome == OUTCOME_UNKNOWN;
    if (!fits) {
        sim_violated("n%" PRIu64 " is logged %s %s in phase %c, and %s byte of it was sent%s", about->nonce,
                     reason_name(about->reason), outcome_name(about->outcome), about->phase, sent ? "a" : "no",
                     about->took_over ? ", and it took over" : "");
    }
}

static void check_line(struct sim_case *about, struct bytes line)
{
    const struct table_row *row = row_find(about->phase, about->reason, about->ended_by);
    if (row == NULL) {
        sim_violated("n%" PRIu64 " ended in phase %c as %s by %s: no such row", about->nonce, about->phase,
                     reason_name(about->reason), about->ended_by);
    }
    row_count(row);
    check_generation(about, line);
    check_sent(about, row);
    if (ended_count < ENDED_MAX) {
        ended[ended_count++] = about;
    }
}

/* A processor that is held back for the sake of a client which has read everything. */
static void check_held_back(const struct sim_case *about)
{
    bool timed_out = about->phase == 'A' && about->reason == REASON_RESPONSE_TIMEOUT && about->ended_by[0] == 't';
    const struct stream *client = about->client;
    if (timed_out && about->link->paused && !client->closing && client->queue.len == 0 && client->broken == ERR_OK) {
        sim_violated("n%" PRIu64 " timed out: its processor was held back, and its client waited", about->nonce);
    }
}

/* Whose line it is: it is still there. */
static const struct exchange *exchange_of(struct bytes line)
{
    struct bytes id = value_of(line, "request_id");
    list_each (x, after, &sim.weir->gate->exchanges, struct exchange, in_exchanges) {
        if (bytes_equal(id, bytes_from_text(x->request_id))) {
            return x;
        }
    }
    sim_violated("an access line of nobody");
}

/* Lines without a path are kept by request id, until an answer shows whose they are. */
void oracle_line(struct bytes line)
{
    uint64_t nonce = sim_nonce_in(value_of(line, "url.path"));
    struct sim_case *about = sim_case_of(nonce != 0 ? nonce : sim_nonce_in(value_of(line, "x_request_id")));
    sim.weir->lines++;
    sim.counts.exchanges++;
    if (about == NULL) {
        struct sim_case unnamed = {0};
        read_line(&unnamed, line);
        const struct table_row *row = row_find(unnamed.phase, unnamed.reason, unnamed.ended_by);
        if (row == NULL || row->sent != SENT_NO || unnamed.outcome != OUTCOME_NOT_SENT) {
            sim_violated("a request without a path ended as %s in phase %c by %s", reason_name(unnamed.reason),
                         unnamed.phase, unnamed.ended_by);
        }
        row_count(row);
        sim_verdict_keep(&unnamed);
        return;
    }
    read_line(about, line);
    about->took_over = ledger_took_over(about->request_id);
    if (about->lines > 1) {
        sim_violated("n%" PRIu64 " has two access lines", about->nonce);
    }
    check_line(about, line);
    bounds_line(about, exchange_of(line));
    sick_line(about, exchange_of(line));
    check_held_back(about);
    if (about->payment != NULL) {
        ledger_lasted(about);
    }
    uint64_t commit_us = 0;
    if (about->phase == 'C' && about->reason == REASON_OK && about->payment != NULL &&
        bytes_to_u64(value_of(line, "t_commit_us"), &commit_us)) {
        ledger_committed(about, commit_us);
    }
}

/* ---- the end of a turn ---- */

/* Behind a timeout, the link of a keyed request may listen on for the record's sake: for `late`, and for nothing else. */
static bool may_listen_on(const struct sim_case *about)
{
    const struct sim_plan *plan = &sim.plans[about->line_generation];
    unsigned late_ms = plan->processors[about->link_processor].late_ms;
    const struct sim_weir *weir = about->link->weir;
    uint64_t from_us = weir->thaws_at_us > about->line_at_us ? weir->thaws_at_us : about->line_at_us;
    return about->keyed && plan->routes[about->route].keyed && about->reason == REASON_RESPONSE_TIMEOUT &&
           about->ended_by[0] == 't' && sim.now_us <= from_us + late_ms * SIM_MS + 50 * SIM_MS;
}

static void check_fates(void)
{
    for (int i = 0; i < ended_count; i++) {
        const struct sim_case *about = ended[i];
        const struct table_row *row = row_find(about->phase, about->reason, about->ended_by);
        if (row->fate == FATE_CLOSED && about->link != NULL && !about->link->closing && !about->link->weir->frozen &&
            !may_listen_on(about)) {
            sim_violated("n%" PRIu64 " ended as %s, and its link stays open", about->nonce, reason_name(about->reason));
        }
    }
    ended_count = 0;
}

static void check_streams(void)
{
    list_each (stream, after, &sim.streams, struct stream, in_streams) {
        if (stream->gone) {
            continue;
        }
        if (stream->queue.len > (stream->is_link ? QUEUE_LINK_MAX : QUEUE_CLIENT_MAX + (stream->keyed ? HELD_MAX : 0))) {
            sim_violated("%zu bytes wait for a slow reader", stream->queue.len);
        }
        bool busy = stream->last_case != NULL && stream->last_case->link == stream &&
                    (stream->last_case->lines == 0 || may_listen_on(stream->last_case));
        bool late = stream->last_case != NULL && stream->last_case->link == stream &&
                    stream->last_case->reason == REASON_RESPONSE_TIMEOUT && stream->last_case->lines > 0;
        if (late && !stream->closing && !busy && !stream->weir->frozen) {
            sim_violated("link %" PRIu64 " listens on for n%" PRIu64 " after its time", stream->id,
                         stream->last_case->nonce);
        }
        if (stream->is_link && !stream->is_check && stream->spoilt && !stream->closing && !busy && !stream->connecting && !stream->weir->frozen) {
            sim_violated("the spoilt link %" PRIu64 " is kept", stream->id);
        }
    }
}

void oracle_drained(const struct sim_weir *weir)
{
    list_each (stream, after, &sim.streams, struct stream, in_streams) {
        bool busy = stream->is_link || stream->weir != weir || stream->ops == NULL || stream->closing || stream->shut_asked;
        for (size_t i = 0; i < sim.case_count && !busy; i++) {
            const struct sim_case *about = sim.cases[i];
            busy = about->client == stream && about->begun_generation != 0 && about->lines == 0;
        }
        if (!busy) {
            sim_violated("the drain leaves the idle client %" PRIu64 " open", stream->id);
        }
    }
}

static void check_processors(const struct sim_weir *weir)
{
    struct processor *processor = NULL;
    while ((processor = upstream_next(weir->upstream, processor)) != NULL) {
        struct processor_state state;
        processor_state(processor, &state);
        int index = state.name[1] - '0';
        if (state.queued > limit_of(weir, index, LIMIT_QUEUE) || state.in_flight > limit_of(weir, index, LIMIT_CONCURRENCY)) {
            sim_violated("%s has %u in its queue and %u in flight", state.name, state.queued, state.in_flight);
        }
    }
}

static void check_weir(const struct sim_weir *weir)
{
    struct gate_state state;
    check_processors(weir);
    gate_state(weir->gate, &state);
    if (state.clients > sim.clients_max) {
        sim_violated("%u clients, more than there may be", state.clients);
    }
    /* What waits behind a running exchange, and what serves sent ones, may exceed the bound; each has a bound of its own. */
    size_t more = state.clients * (160 * 1024 + HELD_MAX) + state.exchanges_sent * (size_t)(1024 * 1024);
    if (loop_blocks(weir->loop)->used_bytes > sim.buffers_max + more) {
        sim_violated("%zu bytes are buffered", loop_blocks(weir->loop)->used_bytes);
    }
}

void oracle_turn(void)
{
    check_fates();
    check_streams();
    for (int i = 0; i < sim.weir_count; i++) {
        if (!sim.weirs[i]->dead && !sim.weirs[i]->frozen && sim.weirs[i]->loop != NULL) {
            check_weir(sim.weirs[i]);
            bounds_turn(sim.weirs[i]);
            sick_turn(sim.weirs[i]);
        }
    }
}
