/*
 * What processors do with payments. A bank executes one key of one account once
 * and remembers it for its retention; a till executes whatever it is given. Both
 * do it at once or later, whether or not anybody still waits, and answer in
 * every way that leaves weir in doubt. Both keep the truth: what was executed is
 * in the ledger, whatever was said of it.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#define HELD_MAX (1024 * 1024 - 50000) /* of an answer; a larger one is recorded without its body, and streams */

enum doing {
    DOING_PLAIN,
    DOING_DECLINE,          /* 402: its last word, and no money moved */
    DOING_REFUSE,           /* 429: nothing was done, nothing is remembered */
    DOING_FAIL_BEFORE,      /* 5xx, nothing was done */
    DOING_FAIL_AFTER,       /* 5xx, and it was executed */
    DOING_END_BEFORE,       /* the connection ends, nothing was done */
    DOING_END_AFTER,
    DOING_HALF_AFTER,       /* a part of the answer */
    DOING_SILENT_BEFORE,
    DOING_SILENT_AFTER,
    DOING_LATER,            /* executes later, perhaps after all have given up, and answers then */
    DOING_SLOW,             /* executes now, and answers later */
    DOING_COUNT
};

/* One answer, and what was done for it. */
struct sim_order {
    uint64_t number;        /* of the answer: in its body */
    struct sim_payment *payment;
    struct sim_case *about;
    int processor;
    int account;
    char key[64];
    uint64_t body;          /* that it was asked with */
    uint64_t first_us;
    bool remembered;        /* found by its key */
    bool pending;           /* it will be executed */
    bool executed;          /* or declined: its answer stands */
    uint16_t status;
    unsigned retry_after_s; /* 0: it says nothing */
    uint64_t len;
    struct sim_event execution;
};

static struct {
    struct sim_order **orders; /* by number - 1 */
    size_t count, size;
    unsigned retention_s;
} bank;

void sim_bank_begin(void)
{
    bank.count = 0;
    /* Where the processor alone makes a payment once, its memory must outlast whoever asks. */
    bool outlasts = sim.weather.store_forgets || (!sim.weather.lasts && sim_chance(50));
    bank.retention_s = outlasts ? 900 : (unsigned)sim_between(90, 200);
}

void sim_bank_end(void)
{
    for (size_t i = 0; i < bank.count; i++) {
        free(bank.orders[i]);
    }
    free(bank.orders);
    memset(&bank, 0, sizeof bank);
}

unsigned sim_bank_retention_s(void)
{
    return bank.retention_s;
}

static struct sim_order *new_order(struct sim_case *about, int processor, const char *key)
{
    struct sim_order *order = calloc(1, sizeof *order);
    if (bank.count == bank.size) {
        bank.size = bank.size * 2 + 256;
        bank.orders = realloc(bank.orders, bank.size * sizeof(struct sim_order *));
    }
    CHECK(order != NULL && bank.orders != NULL);
    bank.orders[bank.count++] = order;
    order->number = bank.count;
    order->payment = about->payment;
    order->about = about;
    order->processor = processor;
    order->account = about->payment->tenant;
    order->body = about->body;
    order->first_us = sim.now_us;
    (void)bytes_to_text(bytes_from_text(key), order->key, sizeof order->key);
    return order;
}

bool sim_bank_said(uint64_t number, struct sim_said *said)
{
    if (number == 0 || number > bank.count) {
        return false;
    }
    const struct sim_order *order = bank.orders[number - 1];
    *said = (struct sim_said){order->payment, order->about, order->status, order->len, order->executed};
    return true;
}

bool sim_bank_replays(uint64_t number, const struct sim_case *about)
{
    return (bank.orders[number - 1]->about != about || about->answer_known) && about->takes > 0;
}

static struct sim_order *find_order(int processor, int account, const char *key)
{
    for (size_t i = bank.count; i > 0; i--) {
        struct sim_order *order = bank.orders[i - 1];
        if (order->remembered && order->processor == processor && order->account == account &&
            strcmp(order->key, key) == 0) {
            bool forgotten = sim.now_us - order->first_us > bank.retention_s * SIM_S;
            order->remembered = !forgotten;
            return forgotten ? NULL : order;
        }
    }
    return NULL;
}

/* ---- executing ---- */

static void execute(struct sim_order *order)
{
    order->pending = false;
    order->executed = true;
    if (order->status != 402) {
        order->about->executions++;
        ledger_executed(order->payment, order->about, order->processor);
    }
}

static void on_execution(struct sim_event *event)
{
    execute(container_of(event, struct sim_order, execution));
}

/* ---- what is said ---- */

static void write_answer(struct sim_order *order, struct sim_case *about, struct sim_bytes *out, bool again)
{
    static const char *const marker = "Idempotent-Replayed: true\r\n";
    sim_bytes_text(out, "HTTP/1.1 %u Status\r\nSim-Nonce: %" PRIu64 "\r\nSim-Answer: %" PRIu64 "\r\nSim-Tenant: %d\r\n%s",
                   order->status, about->nonce, order->number, order->account, again ? marker : "");
    if (order->retry_after_s > 0) {
        sim_bytes_text(out, "Retry-After: %u\r\n", order->retry_after_s);
    }
    if (sim_chance(20)) {
        sim_bytes_text(out, "Transfer-Encoding: chunked\r\n\r\n");
        if (order->len > 0) {
            sim_bytes_text(out, "%" PRIx64 "\r\n", order->len);
            sim_pattern(out, 'a', order->number, 0, order->len);
            sim_bytes_text(out, "\r\n");
        }
        sim_bytes_text(out, "0\r\n\r\n");
    } else {
        sim_bytes_text(out, "Content-Length: %" PRIu64 "\r\n\r\n", order->len);
        sim_pattern(out, 'a', order->number, 0, order->len);
    }
    about->large = order->len >= HELD_MAX;
}

static void say(struct sim_order *order, struct sim_case *about, struct sim_bytes *out, struct stream *stream, bool again)
{
    sim_mark(stream, stream->in_sent + sim_bytes_len(out) + 1, MARK_ANSWER_BEGUN, about);
    write_answer(order, about, out, again);
    sim_answer_note(about, stream, order->status, again);
    sim_mark(stream, stream->in_sent + sim_bytes_len(out), MARK_ANSWER_WHOLE, about);
}

static void say_half(struct sim_order *order, struct sim_case *about, struct sim_bytes *out, struct stream *stream)
{
    sim_mark(stream, stream->in_sent + sim_bytes_len(out) + 1, MARK_ANSWER_BEGUN, about);
    write_answer(order, about, out, false);
    sim_bytes_cut(out, (size_t)sim_between(1, sim_bytes_len(out) - 1));
    sim_answer_note(about, stream, 0, false);
}

static enum sim_ending some_end(void)
{
    return sim_chance(40) ? ENDING_FIN : sim_chance(50) ? ENDING_LEAVE : ENDING_RESET;
}

static void end_without(struct sim_answer *answer)
{
    answer->ending = some_end();
    answer->delay_us = sim_below(30 * SIM_MS);
}

/* ---- a new payment ---- */

/* What it does is what ails it. False: nothing that shows here. */
static bool ails(const struct addr *addr, enum doing *doing, uint16_t *failure)
{
    static const uint16_t gateways[] = {502, 503, 504};
    switch (sim_ill_of(addr)) {
    case ILL_FAILS:
        *failure = 500;
        break;
    case ILL_GATEWAY:
        *failure = gateways[sim_below(ARRAY_COUNT(gateways))];
        break;
    case ILL_CUTS:
        *doing = sim_chance(50) ? DOING_END_BEFORE : DOING_END_AFTER;
        return true;
    case ILL_BUSY:
        *doing = DOING_REFUSE;
        return true;
    case ILL_SLOW:
        *doing = DOING_SLOW;
        return true;
    default:
        return false;
    }
    *doing = sim_chance(80) ? DOING_FAIL_BEFORE : DOING_FAIL_AFTER;
    return true;
}

static enum doing some_doing(void)
{
    if (sim_chance(sim.weather.bad_bank)) {
        return (enum doing)sim_below(DOING_COUNT);
    }
    return sim_chance(sim.weather.declines) ? DOING_DECLINE : DOING_PLAIN;
}

static uint16_t failure(void)
{
    static const uint16_t statuses[] = {500, 502, 503, 504, 408, 522};
    return statuses[sim_below(ARRAY_COUNT(statuses))];
}

/* An answer of its own, beside the one that stands under the key. */
static void say_aside(const struct sim_order *order, uint16_t status, struct sim_case *about, struct sim_bytes *out,
                      struct stream *stream)
{
    struct sim_order *aside = new_order(about, order->processor, "");
    aside->status = status;
    aside->len = sim_below(100);
    say(aside, about, out, stream, false);
}

static void execute_at(struct sim_order *order, uint64_t delay_us)
{
    order->remembered = true;
    order->pending = true;
    order->execution.fire = on_execution;
    sim_after(&order->execution, delay_us);
}

static void do_new(struct sim_order *order, struct sim_answer *answer, struct sim_bytes *out, struct stream *stream)
{
    struct sim_case *about = order->about;
    enum doing doing = some_doing();
    uint16_t status = failure();
    bool ill = ails(&stream->addr_peer, &doing, &status);
    uint64_t long_us = sim_chance(60) ? sim_below(4 * SIM_S) : sim_below(40 * SIM_S);
    sim_note("doing", about->nonce, (uint64_t)doing, long_us);
    order->status = doing == DOING_DECLINE ? 402 : sim_chance(80) ? 200 : 201;
    order->len = sim_one_in(2000) ? HELD_MAX + sim_below(100000) : sim_chance(95) ? sim_below(300) : sim_below(5000);
    bool executes = doing != DOING_REFUSE && doing != DOING_FAIL_BEFORE && doing != DOING_END_BEFORE &&
                    doing != DOING_SILENT_BEFORE;
    if (doing == DOING_LATER) {
        execute_at(order, long_us);
    } else if (executes) {
        order->remembered = true;
        execute(order);
    }
    switch (doing) {
    case DOING_REFUSE:
        order->status = 429;
        order->retry_after_s = ill ? (unsigned)sim_between(1, 3) : 0;
        say(order, about, out, stream, false);
        break;
    case DOING_FAIL_BEFORE:
    case DOING_FAIL_AFTER:
        say_aside(order, status, about, out, stream);
        break;
    case DOING_END_BEFORE:
    case DOING_END_AFTER:
        end_without(answer);
        break;
    case DOING_HALF_AFTER:
        say_half(order, about, out, stream);
        answer->ending = sim_chance(85) ? some_end() : ENDING_STAY;
        break;
    case DOING_SILENT_BEFORE:
    case DOING_SILENT_AFTER:
        answer->silent = true;
        break;
    case DOING_LATER:
    case DOING_SLOW:
        answer->delay_us = long_us + 1;
        say(order, about, out, stream, false);
        break;
    default:
        say(order, about, out, stream, false);
        break;
    }
}

/* ---- one that is known ---- */

static void do_known(struct sim_order *order, struct sim_case *about, struct sim_answer *answer, struct sim_bytes *out,
                     struct stream *stream)
{
    if (order->body != about->body) {
        say_aside(order, 422, about, out, stream); /* another payment under this key: of no use to anybody */
    } else if (order->pending) {
        say_aside(order, 409, about, out, stream);
    } else if (sim_ill_of(&stream->addr_peer) == ILL_CUTS) {
        end_without(answer);
    } else if (sim_chance(sim.weather.bad_bank / 2)) {
        switch (sim_below(4)) {
        case 0:
            say_aside(order, failure(), about, out, stream);
            break;
        case 1:
            say_half(order, about, out, stream);
            answer->ending = some_end();
            break;
        case 2:
            answer->silent = true;
            break;
        default:
            end_without(answer);
            break;
        }
    } else {
        say(order, about, out, stream, true);
    }
}

void sim_bank_take(struct sim_answer *answer, struct sim_case *about, const char *key, int processor,
                   struct sim_bytes *out, struct stream *stream)
{
    bool remembers = sim.plans[1].processors[processor].bank && key[0] != '\0';
    struct sim_order *order = remembers ? find_order(processor, about->payment->tenant, key) : NULL;
    *answer = (struct sim_answer){.executes = true, .delay_us = sim_chance(80) ? sim_below(3 * SIM_MS) : sim_below(60 * SIM_MS)};
    if (order != NULL) {
        do_known(order, about, answer, out, stream);
    } else {
        do_new(new_order(about, processor, key), answer, out, stream);
    }
}
