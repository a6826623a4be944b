/*
 * A kind of store for the real frame (src/store/store.c): between a weir and the
 * table that all share (sim_house.c) a network on which everything goes wrong
 * that can. Each weir has one connection at a time; what it asks in one turn
 * leaves at its end; letters arrive in order. When a connection breaks, what was
 * under way in it is lost, or arrives later all the same, and no reply comes
 * back.
 */
#include "sim_house.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_internal.h"

#include "weir/base/clock.h"

#define REST_US (2 * SIM_S)            /* so long a begin on a connection that was lost is waited for */
#define SETTLE_US (600 * SIM_MS)       /* a reply that has not come by then will not: the connection is broken */
#define SWEEP_MAX 32                   /* records that one sweep looks at */
#define MARGIN_MS 3000                 /* of LAPSE: an unknown is ended before the table drops it */

static struct {
    struct list letters; /* under way, of all weirs */
    int stores_open;
} post;

/* ---- a weir's side ---- */

struct handle {
    struct store store;        /* first: the frame casts */
    struct sim_weir *weir;
    struct list waiting;       /* calls that are not under way */
    struct list asked;         /* calls that are */
    struct list limits_waiting, limits_asked; /* the same of questions about limits */
    struct deferred leaving;   /* what was asked in this turn leaves at its end */
    struct sim_event connect, sweep, broken, walk;
    bool connected;
    uint64_t connection;       /* rises with each */
    uint64_t last_arrival_us, last_reply_us;
    bool closed;
};

/* One thing that was asked, and what came of it, on its way. */
struct letter {
    struct list in_letters;
    struct sim_event event;
    struct handle *handle;     /* NULL: it is gone */
    uint64_t connection;
    uint64_t number;           /* of the call; 0: of the sweep */
    uint64_t question;         /* the same when the call is tried again; 0: it never is */
    struct idem_op op;         /* its bytes are malloc'ed, and its limits */
    bool alone;                /* not the op, a limit: */
    struct store_limit_call *limit_call; /* NULL: nobody waits any more */
    struct limit_ref limit;    /* its name is malloc'ed */
    uint64_t want, granted, left_us;
    struct limit_told told;
    bool late;                 /* its connection broke, and it arrives all the same */
    bool replying;
    enum store_status status;
    struct idem_result result; /* its bytes are malloc'ed */
};

static struct handle *handle_of(struct store *store)
{
    return container_of(store, struct handle, store);
}

static void own_limits(struct idem_op *op)
{
    struct limit_ref *limits = calloc((size_t)op->limit_count + 1, sizeof *limits);
    CHECK(limits != NULL);
    for (int i = 0; i < op->limit_count; i++) {
        limits[i] = op->limits[i];
        limits[i].limit = house_own(limits[i].limit);
    }
    op->limits = limits;
}

static void free_limits(const struct idem_op *op)
{
    for (int i = 0; i < op->limit_count; i++) {
        house_free(op->limits[i].limit);
    }
    free((struct limit_ref *)(uintptr_t)op->limits);
}

/* Whose loss the ledger has to know; NULL: nobody's. */
static const struct idem_op *told_op(const struct letter *letter)
{
    return letter->status == STORE_OK && !letter->alone ? &letter->op : NULL;
}

static void free_letter(struct letter *letter)
{
    list_remove(&letter->in_letters);
    sim_cancel(&letter->event);
    house_free(letter->op.processor);
    house_free(letter->op.upstream_key);
    house_free(letter->op.answer);
    free_limits(&letter->op);
    house_free(letter->limit.limit);
    if (letter->limit_call != NULL) {
        letter->limit_call->aside = NULL;
    }
    if (letter->replying && letter->status == STORE_OK && !letter->alone) {
        house_free(letter->result.upstream_key);
        house_free(letter->result.answer);
    }
    free(letter);
}

/* ---- connections ---- */

static void reconnect(struct handle *handle, uint64_t delay_us)
{
    if (!handle->connected && handle->connect.place == 0 && !handle->closed) {
        sim_after(&handle->connect, delay_us);
    }
}

static void hear_fleet(struct handle *handle)
{
    uint32_t fleet = house_fleet(handle->weir);
    if (fleet != store_fleet(&handle->store)) {
        bounds_fleet(handle->weir, fleet);
        store_fleet_set(&handle->store, fleet);
    }
}

static void on_connect(struct sim_event *event)
{
    struct handle *handle = container_of(event, struct handle, connect);
    if (house_is_away()) {
        reconnect(handle, sim_between(20 * SIM_MS, 300 * SIM_MS));
        return;
    }
    handle->connected = true;
    handle->connection++;
    handle->last_arrival_us = handle->last_reply_us = 0;
    store_up_set(&handle->store, true);
    hear_fleet(handle);
    sim_note("store connected", (uint64_t)handle->weir->number, handle->connection, 0);
    loop_defer(handle->weir->loop, &handle->leaving);
}

static void on_call_lost(struct handle *handle, struct store_call *call);
static void end_limits(struct list *calls);

/* Of what was under way, a first part arrived, or arrives late; the rest is lost. */
static void break_connection(struct handle *handle)
{
    bool arrives = true;
    uint64_t late_us = sim.now_us + (sim_chance(50) ? sim_below(50 * SIM_MS) : sim_below(3 * SIM_S));
    if (!handle->connected) {
        return;
    }
    sim_note("store breaks", (uint64_t)handle->weir->number, handle->connection, 0);
    sim.troubles++;
    handle->connected = false;
    sim_cancel(&handle->broken);
    list_each (letter, after, &post.letters, struct letter, in_letters) {
        if (letter->handle != handle || letter->connection != handle->connection || letter->late) {
            continue;
        }
        arrives = arrives && !letter->replying && sim_chance(sim.weather.store_late);
        if (!arrives) {
            ledger_reply_lost(letter->replying ? told_op(letter) : NULL, &letter->result);
            free_letter(letter);
            continue;
        }
        letter->late = true;
        late_us += sim_below(SIM_MS);
        sim_at(&letter->event, late_us > letter->event.due_us ? late_us : letter->event.due_us);
        sim.counts.late_begins += letter->op.kind == IDEM_BEGIN && !letter->alone ? 1 : 0;
    }
    struct store_call *call;
    while ((call = list_last(&handle->asked, struct store_call, in_kind)) != NULL) {
        on_call_lost(handle, call);
    }
    end_limits(&handle->limits_asked);
    end_limits(&handle->limits_waiting);
    store_up_set(&handle->store, false);
    reconnect(handle, sim_chance(60) ? sim_below(5 * SIM_MS) : sim_below(300 * SIM_MS));
}

static void on_broken(struct sim_event *event)
{
    break_connection(container_of(event, struct handle, broken));
}

/* ---- letters ---- */

static void on_letter(struct sim_event *event);

static uint64_t letter_delay(void)
{
    bool slow = sim_below(1000) < sim.weather.store_slow;
    return slow ? sim_below(sim_chance(70) ? 60 * SIM_MS : 1500 * SIM_MS) : sim_latency();
}

static struct letter *send_letter(struct handle *handle, uint64_t number, const struct idem_op *op)
{
    struct letter *letter = calloc(1, sizeof *letter);
    CHECK(letter != NULL);
    letter->handle = handle;
    letter->connection = handle->connection;
    letter->number = number;
    letter->question = number == 0 ? 0 : (uint64_t)(handle->weir->number + 1) << 32 | number;
    letter->op = *op;
    letter->op.processor = house_own(op->processor);
    letter->op.upstream_key = house_own(op->upstream_key);
    letter->op.answer = house_own(op->answer);
    own_limits(&letter->op);
    letter->event.fire = on_letter;
    list_init(&letter->in_letters);
    list_push_back(&post.letters, &letter->in_letters);
    uint64_t arrival_us = sim.now_us + letter_delay();
    handle->last_arrival_us = arrival_us > handle->last_arrival_us ? arrival_us : handle->last_arrival_us + 1;
    sim_at(&letter->event, handle->last_arrival_us);
    sim_note("letter", (uint64_t)handle->weir->number, (uint64_t)op->kind, number);
    if (sim_below(1000) < sim.weather.store_breaks && handle->broken.place == 0) {
        sim_after(&handle->broken, sim_chance(50) ? sim_below(2 * SIM_MS) : sim_below(20 * SIM_MS));
    }
    return letter;
}

/* A question about a limit. */
static void send_alone(struct handle *handle, struct store_limit_call *call)
{
    const struct idem_op none = {.kind = IDEM_READ};
    struct letter *letter = send_letter(handle, 0, &none);
    letter->alone = true;
    letter->limit_call = call;
    letter->limit = call->ref;
    letter->limit.limit = house_own(call->ref.limit);
    letter->want = call->want;
    letter->left_us = sim.now_us;
    call->aside = letter;
}

static struct store_call *call_of(struct handle *handle, uint64_t number)
{
    list_each (call, after, &handle->asked, struct store_call, in_kind) {
        if (call->number == number) {
            return call;
        }
    }
    return NULL;
}

static void on_result(struct handle *handle, struct store_call *call, struct idem_result *result);

static void take_alone(struct letter *letter)
{
    struct store_limit_call *call = letter->limit_call;
    if (call != NULL) { /* else it is too late */
        letter->limit_call = NULL;
        call->aside = NULL;
        if (letter->status == STORE_OK) {
            bounds_granted(letter->handle->weir, &letter->limit, letter->left_us, letter->granted);
        }
        store_limit_end(call, letter->status, letter->granted, letter->status == STORE_OK ? &letter->told : NULL);
    }
}

static void take_reply(struct handle *handle, struct letter *letter)
{
    struct store_call *call = letter->number != 0 ? call_of(handle, letter->number) : NULL;
    store_up_set(&handle->store, true);
    if (letter->alone) {
        take_alone(letter);
    } else if (letter->number == 0) {
        store_hear(&handle->store, &letter->op, &letter->result);
    } else if (call == NULL || call->op.kind != letter->op.kind) {
        ledger_reply_lost(told_op(letter), &letter->result); /* too late */
    } else if (letter->status != STORE_OK) {
        store_call_end(call, letter->status, NULL);
    } else {
        on_result(handle, call, &letter->result);
    }
}

/* It is at the table, or back. */
static void on_letter(struct sim_event *event)
{
    struct letter *letter = container_of(event, struct letter, event);
    struct handle *handle = letter->handle;
    if (letter->replying) {
        if (handle != NULL && handle->connected && handle->connection == letter->connection) {
            list_remove(&letter->in_letters); /* before: what it tells may break the connection */
            take_reply(handle, letter);
        } else {
            ledger_reply_lost(told_op(letter), &letter->result);
        }
        free_letter(letter);
        return;
    }
    if (house_is_away()) {
        free_letter(letter);
        return;
    }
    letter->replying = true;
    letter->status = house_is_full() && letter->op.kind == IDEM_BEGIN ? STORE_FULL : STORE_OK;
    if (letter->alone) {
        letter->status = house_is_full() ? STORE_DOWN : STORE_OK;
        letter->granted = house_is_full() ? 0 : house_ask_limit(&letter->limit, letter->want, &letter->told);
    } else if (letter->status == STORE_OK) {
        house_apply(&letter->op, letter->question, &letter->result);
    }
    if (handle == NULL || letter->late || handle->weir->dead) {
        ledger_reply_lost(told_op(letter), &letter->result);
        free_letter(letter);
        return;
    }
    uint64_t arrival_us = sim.now_us + sim_latency();
    handle->last_reply_us = arrival_us > handle->last_reply_us ? arrival_us : handle->last_reply_us + 1;
    letter->event.weir = handle->weir;
    sim_at(&letter->event, handle->last_reply_us);
}

/* ---- calls ---- */

enum stage { STAGE_WAITING, STAGE_ASKED, STAGE_RESTING };

static struct handle *handle_of_call(const struct store_call *call)
{
    return handle_of(call->store);
}

static void wait_for_turn(struct handle *handle, struct store_call *call)
{
    call->stage = STAGE_WAITING;
    list_remove(&call->in_kind);
    list_push_back(&handle->waiting, &call->in_kind);
    if (!handle->weir->dead) {
        loop_defer(handle->weir->loop, &handle->leaving);
    }
}

static void send_limits(struct handle *handle)
{
    struct store_limit_call *call;
    while (!handle->weir->dead && handle->connected &&
           (call = list_first(&handle->limits_waiting, struct store_limit_call, in_kind)) != NULL) {
        list_remove(&call->in_kind);
        list_push_back(&handle->limits_asked, &call->in_kind);
        send_alone(handle, call);
    }
}

static void on_leaving(struct deferred *deferred)
{
    struct handle *handle = container_of(deferred, struct handle, leaving);
    struct store_call *call;
    sim_weir_falter(handle->weir);
    while (!handle->weir->dead && handle->connected && (call = list_first(&handle->waiting, struct store_call, in_kind)) != NULL) {
        list_remove(&call->in_kind);
        list_push_back(&handle->asked, &call->in_kind);
        call->stage = STAGE_ASKED;
        call->tries++;
        call->sent_on = handle->connection;
        if (call->settles) {
            timer_set_after(&call->timer, SETTLE_US);
        }
        (void)send_letter(handle, call->number, &call->op);
    }
    send_limits(handle);
    sim_weir_falter(handle->weir);
}

/* Its begin may be done, or may yet be: what frees it goes behind it on the same connection, or on the next one. */
static void abandon_begin(struct handle *handle, struct store_call *call)
{
    call->begun_on = call->sent_on;
    call->again = call->tries > 1;
    store_call_abandon(call);
    timer_stop(&call->timer);
    wait_for_turn(handle, call);
}

static void give_up(struct handle *handle, struct store_call *call)
{
    if (call->op.kind == IDEM_BEGIN && call->tries > 0) {
        store_call_tell(call, STORE_DOWN, NULL);
        abandon_begin(handle, call);
    } else {
        store_call_end(call, STORE_DOWN, NULL);
    }
}

static void on_call_timer(struct timer *timer)
{
    struct store_call *call = container_of(timer, struct store_call, timer);
    struct handle *handle = handle_of_call(call);
    if (call->stage == STAGE_RESTING) {
        wait_for_turn(handle, call);
    } else if (call->settles) {
        break_connection(handle);
    } else {
        give_up(handle, call);
    }
}

static void submit(struct store *store, struct store_call *call)
{
    struct handle *handle = handle_of(store);
    timer_init(&call->timer, handle->weir->loop, on_call_timer);
    sim_weir_falter(handle->weir);
    if (!call->settles) {
        timer_set(&call->timer, call->deadline_us);
    }
    wait_for_turn(handle, call);
}

static void forget(struct store *store, struct store_call *call)
{
    if (call->op.kind == IDEM_BEGIN && call->tries > 0) {
        abandon_begin(handle_of(store), call);
    } else if (!call->settles) {
        store_call_drop(call);
    }
}

/* The connection is gone; what was asked may have been done. */
static void on_call_lost(struct handle *handle, struct store_call *call)
{
    list_remove(&call->in_kind);
    list_push_front(&handle->waiting, &call->in_kind);
    call->stage = STAGE_WAITING;
    if (call->settles) {
        timer_stop(&call->timer);
    } else if (call->tries >= 2 || call->op.kind == IDEM_RESOLVE) {
        give_up(handle, call);
    }
}

/* As in the real ones: a takeover was given to a begin that nobody waited for, so anyone may have it at once. */
static bool must_mark(const struct store_call *call, const struct idem_result *result)
{
    return call->op.kind == IDEM_ABANDON && call->begun_on != 0 && result->verdict == IDEM_REFUSED;
}

/* The record is another's by now, and bound to where that one went. We have sent nothing: it is no conflict. */
static bool is_stale_mark(const struct store_call *call, const struct idem_result *result)
{
    return call->op.kind == IDEM_MARK && call->begun_on != 0 && result->verdict == IDEM_CONFLICT;
}

/* The begin that this abandons may still be on its way, on another connection. */
static bool must_abandon_again(const struct store_call *call)
{
    return call->op.kind == IDEM_ABANDON && call->begun_on != 0 && !call->last &&
           (call->again || call->begun_on != call->sent_on);
}

/* Asked twice, since the first reply was lost: it found what it had written itself, as the seal's salt proves. */
static bool is_own_answer(const struct store_call *call, const struct idem_result *result)
{
    return call->op.kind == IDEM_COMPLETE && call->tries > 1 && result->verdict == IDEM_ALREADY &&
           result->status == call->op.status && bytes_equal(result->answer, call->op.answer);
}

static void on_result(struct handle *handle, struct store_call *call, struct idem_result *result)
{
    if (call->settles) {
        timer_stop(&call->timer);
    }
    if (call->heard) { /* it is told with every reply to this question */
        result->told_now = result->resolved_now = false;
    }
    if (is_stale_mark(call, result)) {
        result->verdict = IDEM_LOST;
    }
    if (must_mark(call, result)) {
        store_hear(call->store, &call->op, result);
        call->heard = call->heard || result->told_now || result->resolved_now;
        call->op.kind = IDEM_MARK;
        wait_for_turn(handle, call);
        return;
    }
    if (must_abandon_again(call)) {
        store_hear(call->store, &call->op, result);
        call->heard = call->heard || result->told_now || result->resolved_now;
        call->last = true;
        call->stage = STAGE_RESTING;
        timer_set_after(&call->timer, REST_US);
        return;
    }
    if (is_own_answer(call, result)) {
        result->verdict = IDEM_OK;
    }
    if (call->op.kind == IDEM_BEGIN && call->done != NULL) {
        ledger_begun(&call->op, result);
    }
    store_call_end(call, STORE_OK, result);
}

/* ---- questions about limits: asked once ---- */

static void limit(struct store *store, struct store_limit_call *call)
{
    struct handle *handle = handle_of(store);
    sim_weir_falter(handle->weir);
    bounds_asked(handle->weir, &call->ref);
    if (!handle->connected) {
        store_limit_end_later(call, STORE_DOWN);
        return;
    }
    list_push_back(&handle->limits_waiting, &call->in_kind);
    if (!handle->weir->dead) {
        loop_defer(handle->weir->loop, &handle->leaving);
    }
}

/* Nobody waits for it: its letter goes on alone. */
static void end_limit(struct store_limit_call *call)
{
    struct letter *letter = call->aside;
    if (letter != NULL) {
        letter->limit_call = NULL;
        call->aside = NULL;
    }
    store_limit_end(call, STORE_DOWN, 0, NULL);
}

static void limit_forget(struct store *store, struct store_limit_call *call)
{
    (void)store;
    end_limit(call);
}

static void end_limits(struct list *calls)
{
    struct store_limit_call *call;
    while ((call = list_first(calls, struct store_limit_call, in_kind)) != NULL) {
        end_limit(call);
    }
}

/* ---- the sweep ---- */

/* Owners that went silent, and unknowns whose time is over. */
static void on_sweep(struct sim_event *event)
{
    struct handle *handle = container_of(event, struct handle, sweep);
    int left = SWEEP_MAX;
    uint64_t now_ms = house_now_ms();
    sim_after(event, sim_between(300 * SIM_MS, 1500 * SIM_MS));
    if (!handle->connected) {
        return;
    }
    hear_fleet(handle);
    for (struct house_row *row = house_next(NULL); row != NULL && left > 0; row = house_next(row)) {
        uint64_t due_ms = idem_record_due_ms(&row->record);
        if (due_ms != 0 && due_ms <= now_ms) {
            struct idem_op op = {.kind = IDEM_LAPSE, .name = row->name, .margin_ms = MARGIN_MS};
            (void)send_letter(handle, 0, &op);
            left--;
        }
    }
}

/* ---- walks ---- */

static struct store_record record_of(const struct house_row *row)
{
    const struct idem_record *record = &row->record;
    bool silent = record->state == IDEM_IN_FLIGHT && record->lease_ms <= house_now_ms();
    return (struct store_record){
        .name = row->name,
        .state = silent ? IDEM_UNKNOWN : record->state,
        .processor = record->processor,
        .request_id = record->request_id,
        .status = record->status,
        .takeovers = record->takeovers,
        .ambiguous = record->ambiguous,
        .answer_kept = record->answer.len > 0 && record->answer_expires_ms > house_now_ms(),
        .begun_us = record->begun_ms * 1000,
        .unknown_us = record->state == IDEM_UNKNOWN || silent ? record->lease_ms * 1000 : 0,
        .done_us = record->done_ms * 1000,
        .expires_us = record->expires_ms * 1000,
    };
}

static void on_walk(struct sim_event *event)
{
    struct store_walk *walk = &container_of(event, struct handle, walk)->store.walk;
    bool more = true;
    for (struct house_row *row = house_next(NULL); row != NULL && more; row = house_next(row)) {
        struct store_record record = record_of(row);
        bool wanted = store_walk_wants(walk, &row->name) && !house_row_is_over(row) &&
                      (walk->scope == STORE_WALK_ALL || idem_record_due_ms(&row->record) != 0);
        more = !wanted || store_walk_tell(walk, &record);
    }
    store_walk_over(walk, true);
}

static bool walk(struct store *store)
{
    sim_after(&handle_of(store)->walk, sim_latency());
    return true;
}

static void walk_stop(struct store *store)
{
    sim_cancel(&handle_of(store)->walk);
}

/* ---- the kind ---- */

static struct store *open(const struct conf_store *conf, const struct store_options *options, char *why, size_t size)
{
    struct handle *handle = calloc(1, sizeof *handle);
    (void)why;
    (void)size;
    CHECK(handle != NULL);
    handle->weir = sim_loop_weir(options->loop);
    store_init(&handle->store, conf->type == CONF_STORE_REDIS ? &store_redis : &store_embedded, options);
    list_init(&handle->waiting);
    list_init(&handle->asked);
    list_init(&handle->limits_waiting);
    list_init(&handle->limits_asked);
    deferred_init(&handle->leaving, on_leaving);
    handle->connect.fire = on_connect;
    handle->sweep.fire = on_sweep;
    handle->broken.fire = on_broken;
    handle->walk.fire = on_walk;
    handle->connect.weir = handle->sweep.weir = handle->broken.weir = handle->walk.weir = handle->weir;
    reconnect(handle, sim_latency());
    sim_after(&handle->sweep, sim_below(1500 * SIM_MS));
    post.stores_open++;
    return &handle->store;
}

static bool is_same(const struct store *store, const struct conf_store *conf)
{
    (void)store;
    (void)conf;
    return true;
}

static void renew(struct store *store, const struct conf_store *conf)
{
    (void)store;
    (void)conf;
}

static const char *trouble(const struct store *store, bool durable)
{
    if (!store->up) {
        return "there is no connection";
    }
    return durable && house_is_untrusted() ? "it may lose what it acknowledged" : NULL;
}

static void state(const struct store *store, struct store_state *told)
{
    told->trouble = trouble(store, false);
    told->not_durable = trouble(store, true);
    told->durable = told->not_durable == NULL;
}

static void accept_loss(struct store *store)
{
    (void)store;
    house_accept_loss();
}

static void end_calls(struct list *calls)
{
    struct store_call *call;
    while ((call = list_first(calls, struct store_call, in_kind)) != NULL) {
        store_call_end(call, STORE_DOWN, NULL);
    }
}

static void close_kind(struct store *store)
{
    struct handle *handle = handle_of(store);
    handle->closed = true;
    handle->connected = false;
    sim_cancel(&handle->connect);
    sim_cancel(&handle->sweep);
    sim_cancel(&handle->broken);
    sim_cancel(&handle->walk);
    loop_undefer(&handle->leaving);
    list_each (letter, after, &post.letters, struct letter, in_letters) {
        if (letter->handle == handle) {
            letter->handle = NULL;
            if (letter->replying) {
                ledger_reply_lost(told_op(letter), &letter->result);
                free_letter(letter);
            }
        }
    }
    end_calls(&handle->asked);
    end_calls(&handle->waiting);
    store_gone(store);
}

static void free_kind(struct store *store)
{
    post.stores_open--;
    free(handle_of(store));
}

#define KIND                                                                                                           \
    {                                                                                                                  \
        .type = "simulated", .open = open, .is = is_same, .renew = renew, .submit = submit, .forget = forget,          \
        .limit = limit, .limit_forget = limit_forget,                                                                  \
        .walk = walk, .walk_stop = walk_stop, .state = state, .trouble = trouble, .accept_loss = accept_loss,          \
        .close = close_kind, .free = free_kind,                                                                        \
    }
const struct store_kind store_embedded = KIND, store_redis = KIND;

/* ---- a run ---- */

void sim_store_begin(void)
{
    memset(&post, 0, sizeof post);
    list_init(&post.letters);
    sim_house_begin();
}

bool sim_stores_closed(void)
{
    int left = 0;
    for (int i = 0; i < sim.weir_count; i++) {
        left += sim.weirs[i]->dead && sim.weirs[i]->store != NULL ? 1 : 0; /* those go with their weirs */
    }
    return post.stores_open <= left;
}

void sim_store_rest(void)
{
    list_each (letter, after, &post.letters, struct letter, in_letters) {
        if (letter->replying) {
            ledger_reply_lost(told_op(letter), &letter->result);
        }
        free_letter(letter);
    }
    sim_house_rest();
}

void sim_store_end(void)
{
    list_each (letter, after, &post.letters, struct letter, in_letters) {
        free_letter(letter);
    }
    sim_house_end();
    if (post.stores_open != 0) {
        sim_violated("%d stores were never closed", post.stores_open);
    }
}
