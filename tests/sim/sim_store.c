/*
 * A kind of store for the real frame (src/store/store.c): records in one table
 * that all weirs of a run share, changed by idem_apply and nothing else, and
 * between a weir and that table a network on which everything goes wrong that
 * can. Each weir has one connection at a time; what it asks in one turn leaves
 * at its end; letters arrive in order. When a connection breaks, what was under
 * way in it is lost, or arrives later all the same, and no reply comes back.
 *
 * The table itself is away at times, full, not to be trusted with payments that
 * are sent once only, has a clock that steps, and forgets: all of it, or the
 * last of its writes (of records; what limits owe is forgotten only with all).
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_internal.h"

#include "weir/base/clock.h"

#define REST_US (2 * SIM_S)            /* so long a begin on a connection that was lost is waited for */
#define SETTLE_US (600 * SIM_MS)       /* a reply that has not come by then will not: the connection is broken */
#define SWEEP_MAX 32                   /* records that one sweep looks at */
#define MARGIN_MS 3000                 /* of LAPSE: an unknown is ended before the table drops it */
#define CHAINS 64
#define PAST_US (3 * SIM_S)            /* writes younger than this may be lost */
#define FLEET_US (3 * SIM_S)           /* a weir that said nothing for so long is not counted */

/* ---- the table ---- */

struct row {
    struct list in_chain;
    struct idem_name name;
    struct idem_record record; /* its bytes are malloc'ed */
    uint64_t told_by, resolved_by; /* the questions that did: one whose reply was lost hears of it when it asks again */
};

/* What a row was before a write. */
struct past {
    struct list in_past;
    uint64_t at_us;
    bool was_there;
    struct row row;
};

/* What one caller's limit owes. */
struct owed {
    struct list in_owed;
    uint16_t number;
    char limit[STORE_LIMIT_NAME_BYTES_MAX + 1];
    uint8_t hash[LIMIT_HASH_BYTES];
    struct limit_bucket bucket;
};

static struct {
    struct list chains[CHAINS];
    struct list owed;          /* buckets of limits */
    uint64_t heard_us[SIM_WEIRS_MAX]; /* when each weir said that it is there; 0: never */
    struct list past;          /* newest last */
    struct list letters;       /* under way, of all weirs */
    uint64_t out_until_us;     /* it answers nobody */
    bool full, untrusted;
    int64_t clock_ms;          /* how far its clock is off */
    struct sim_event weather;
    int stores_open;
} house;

static uint64_t house_now_ms(void)
{
    return sim.now_us / 1000 + UINT64_C(1700000000000) + (uint64_t)house.clock_ms;
}

static uint64_t house_now_us(void)
{
    return sim.now_us + UINT64_C(1700000000000000) + (uint64_t)house.clock_ms * 1000;
}

static struct bytes own_bytes(struct bytes bytes)
{
    char *copy = malloc(bytes.len + 1);
    CHECK(copy != NULL);
    if (bytes.len > 0) {
        memcpy(copy, bytes.at, bytes.len);
    }
    return bytes_of(copy, bytes.len);
}

static void free_bytes(struct bytes bytes)
{
    free((char *)(uintptr_t)bytes.at);
}

static void own_record(struct idem_record *record)
{
    record->upstream_key = own_bytes(record->upstream_key);
    record->answer = own_bytes(record->answer);
}

static void free_record(struct idem_record *record)
{
    free_bytes(record->upstream_key);
    free_bytes(record->answer);
}

static struct list *chain_of(const struct idem_name *name)
{
    return &house.chains[name->hash[0] % CHAINS];
}

static struct row *find_row(const struct idem_name *name)
{
    list_each (row, after, chain_of(name), struct row, in_chain) {
        if (row->name.bucket == name->bucket && memcmp(row->name.hash, name->hash, IDEM_HASH_BYTES) == 0) {
            return row;
        }
    }
    return NULL;
}

static void free_row(struct row *row)
{
    list_remove(&row->in_chain);
    free_record(&row->record);
    free(row);
}

static struct row *put_row(const struct idem_name *name, const struct idem_record *record)
{
    struct row *old = find_row(name);
    struct row *row = calloc(1, sizeof *row);
    CHECK(row != NULL);
    row->name = *name;
    row->record = *record;
    own_record(&row->record); /* before the old one goes: it may point there */
    if (old != NULL) {
        row->told_by = old->told_by;
        row->resolved_by = old->resolved_by;
        free_row(old);
    }
    list_init(&row->in_chain);
    list_push_back(chain_of(name), &row->in_chain);
    return row;
}

/* ---- forgetting ---- */

static void free_past(struct past *past)
{
    list_remove(&past->in_past);
    if (past->was_there) {
        free_record(&past->row.record);
    }
    free(past);
}

static void remember_past(const struct idem_name *name)
{
    struct row *row = find_row(name);
    struct past *past;
    if (!sim.weather.store_forgets) {
        return;
    }
    while ((past = list_first(&house.past, struct past, in_past)) != NULL && past->at_us + PAST_US < sim.now_us) {
        free_past(past);
    }
    past = calloc(1, sizeof *past);
    CHECK(past != NULL);
    past->at_us = sim.now_us;
    past->was_there = row != NULL;
    past->row.name = *name;
    if (row != NULL) {
        past->row.record = row->record;
        own_record(&past->row.record);
    }
    list_init(&past->in_past);
    list_push_back(&house.past, &past->in_past);
}

/* A replica that was behind became the master. */
static void lose_suffix(void)
{
    uint64_t since_us = sim.now_us - sim_below(PAST_US);
    struct past *past;
    while ((past = list_last(&house.past, struct past, in_past)) != NULL && past->at_us >= since_us) {
        struct row *row = find_row(&past->row.name);
        if (past->was_there) {
            (void)put_row(&past->row.name, &past->row.record);
        } else if (row != NULL) {
            free_row(row);
        }
        free_past(past);
    }
}

static void lose_all(void)
{
    for (int i = 0; i < CHAINS; i++) {
        list_each (row, after, &house.chains[i], struct row, in_chain) {
            free_row(row);
        }
    }
    list_each (past, after, &house.past, struct past, in_past) {
        free_past(past);
    }
    list_each (owed, after, &house.owed, struct owed, in_owed) {
        list_remove(&owed->in_owed);
        free(owed);
    }
}

/* ---- limits ---- */

static struct limit_bucket *bucket_of(const struct limit_ref *ref)
{
    list_each (owed, after, &house.owed, struct owed, in_owed) {
        if (owed->number == ref->bucket && memcmp(owed->hash, ref->hash, sizeof owed->hash) == 0 &&
            bytes_equal(bytes_from_text(owed->limit), ref->limit)) {
            return &owed->bucket;
        }
    }
    struct owed *owed = calloc(1, sizeof *owed);
    CHECK(owed != NULL && bytes_to_text(ref->limit, owed->limit, sizeof owed->limit));
    owed->number = ref->bucket;
    memcpy(owed->hash, ref->hash, sizeof owed->hash);
    list_init(&owed->in_owed);
    list_push_back(&house.owed, &owed->in_owed);
    return &owed->bucket;
}

/* Whether a new record's limits let it in. */
static bool admit(const struct idem_op *op, struct idem_result *result)
{
    struct limit_bucket *buckets[LIMITS_MAX] = {NULL};
    struct limit_ask asks[LIMITS_MAX] = {{.cost = 0}};
    *result = (struct idem_result){.limit_count = op->limit_count};
    for (int i = 0; i < op->limit_count; i++) {
        buckets[i] = bucket_of(&op->limits[i]);
        asks[i] = op->limits[i].ask;
    }
    bool admitted = limit_apply(buckets, asks, op->limit_count, house_now_us(), result->limits);
    result->verdict = admitted ? IDEM_NEW : IDEM_LIMITED;
    return admitted;
}

static uint64_t ask_alone(const struct limit_ref *ref, uint64_t want, struct limit_told *told)
{
    struct limit_bucket *bucket = bucket_of(ref);
    if ((ref->ask.flags & (LIMIT_CHECK | LIMIT_FORCE)) == 0) {
        return limit_prepay(bucket, &ref->ask.rate, want, house_now_us(), told);
    }
    (void)limit_apply(&bucket, &ref->ask, 1, house_now_us(), told); /* told says it */
    return (ref->ask.flags & LIMIT_CHECK) != 0 && told->fits ? 1 : 0;
}

/* ---- one operation ---- */

static bool is_over(const struct row *row, uint64_t now_ms)
{
    return row->record.expires_ms <= now_ms;
}

/* Each telling is heard once, also when its first reply was lost. */
static void tell_again(struct row *row, uint64_t question, struct idem_result *result)
{
    row->told_by = result->told_now ? question : row->told_by;
    row->resolved_by = result->resolved_now ? question : row->resolved_by;
    result->told_now = result->told_now || (question != 0 && row->told_by == question);
    result->resolved_now = result->resolved_now || (question != 0 && row->resolved_by == question);
}

/* As the real ones do it: what is past its time is not there. */
static void apply(const struct idem_op *op, uint64_t question, struct idem_result *result)
{
    uint64_t now_ms = house_now_ms();
    struct row *row = find_row(&op->name);
    struct idem_record record = {0};
    if (row != NULL && is_over(row, now_ms)) {
        ledger_dropped(&row->record);
        free_row(row);
        row = NULL;
    }
    if (row != NULL) {
        record = row->record;
    }
    struct idem_result limited = {0};
    if (row == NULL && op->kind == IDEM_BEGIN && op->limit_count > 0 && !admit(op, &limited)) {
        *result = limited;
        sim_note("limited", (uint64_t)op->limit_count, 0, 0);
        return;
    }
    enum idem_change change = idem_apply(&record, op, now_ms, result);
    result->limit_count = limited.limit_count;
    memcpy(result->limits, limited.limits, sizeof limited.limits);
    /* The result may point into the row. */
    result->upstream_key = own_bytes(result->upstream_key);
    result->answer = own_bytes(result->answer);
    sim_note("apply", (uint64_t)op->kind, (uint64_t)result->verdict, (uint64_t)result->state << 2 | (uint64_t)change);
    if (change != IDEM_KEEP) {
        remember_past(&op->name);
    }
    ledger_applied(op, result);
    if (change == IDEM_WRITE) {
        row = put_row(&op->name, &record);
    } else if (change == IDEM_DELETE && row != NULL) {
        free_row(row);
        row = NULL;
    }
    if (row != NULL) {
        tell_again(row, question, result);
    }
}

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
    uint64_t want, granted;
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
        limits[i].limit = own_bytes(limits[i].limit);
    }
    op->limits = limits;
}

static void free_limits(const struct idem_op *op)
{
    for (int i = 0; i < op->limit_count; i++) {
        free_bytes(op->limits[i].limit);
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
    free_bytes(letter->op.processor);
    free_bytes(letter->op.upstream_key);
    free_bytes(letter->op.answer);
    free_limits(&letter->op);
    free_bytes(letter->limit.limit);
    if (letter->limit_call != NULL) {
        letter->limit_call->aside = NULL;
    }
    if (letter->replying && letter->status == STORE_OK && !letter->alone) {
        free_bytes(letter->result.upstream_key);
        free_bytes(letter->result.answer);
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

/* One of so many weirs that said so lately. What it hears is at once, and what a dead one said is true a while longer. */
static void say_there(struct handle *handle)
{
    uint32_t count = 0;
    house.heard_us[handle->weir->number] = sim.now_us + 1;
    for (int i = 0; i < SIM_WEIRS_MAX; i++) {
        count += house.heard_us[i] != 0 && house.heard_us[i] + FLEET_US > sim.now_us;
    }
    store_fleet_set(&handle->store, count);
}

static void on_connect(struct sim_event *event)
{
    struct handle *handle = container_of(event, struct handle, connect);
    if (house.out_until_us > sim.now_us) {
        reconnect(handle, sim_between(20 * SIM_MS, 300 * SIM_MS));
        return;
    }
    handle->connected = true;
    handle->connection++;
    handle->last_arrival_us = handle->last_reply_us = 0;
    store_up_set(&handle->store, true);
    say_there(handle);
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
    handle->connected = false;
    sim_cancel(&handle->broken);
    list_each (letter, after, &house.letters, struct letter, in_letters) {
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
    letter->op.processor = own_bytes(op->processor);
    letter->op.upstream_key = own_bytes(op->upstream_key);
    letter->op.answer = own_bytes(op->answer);
    own_limits(&letter->op);
    letter->event.fire = on_letter;
    list_init(&letter->in_letters);
    list_push_back(&house.letters, &letter->in_letters);
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
    letter->limit.limit = own_bytes(call->ref.limit);
    letter->want = call->want;
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
    if (house.out_until_us > sim.now_us) {
        free_letter(letter);
        return;
    }
    letter->replying = true;
    letter->status = house.full && letter->op.kind == IDEM_BEGIN ? STORE_FULL : STORE_OK;
    if (letter->alone) {
        letter->status = house.full ? STORE_DOWN : STORE_OK;
        letter->granted = house.full ? 0 : ask_alone(&letter->limit, letter->want, &letter->told);
    } else if (letter->status == STORE_OK) {
        apply(&letter->op, letter->question, &letter->result);
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
    if (handle->connected) {
        say_there(handle);
    }
    for (int i = 0; i < CHAINS && handle->connected; i++) {
        list_each (row, after, &house.chains[i], struct row, in_chain) {
            uint64_t due_ms = idem_record_due_ms(&row->record);
            if (due_ms != 0 && due_ms <= now_ms && left-- > 0) {
                struct idem_op op = {.kind = IDEM_LAPSE, .name = row->name, .margin_ms = MARGIN_MS};
                (void)send_letter(handle, 0, &op);
            }
        }
    }
}

/* ---- walks ---- */

static struct store_record record_of(const struct row *row)
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
    for (int i = 0; i < CHAINS && more; i++) {
        list_each (row, after, &house.chains[i], struct row, in_chain) {
            struct store_record record = record_of(row);
            bool wanted = store_walk_wants(walk, &row->name) && !is_over(row, house_now_ms()) &&
                          (walk->scope == STORE_WALK_ALL || idem_record_due_ms(&row->record) != 0);
            if (more && wanted) {
                more = store_walk_tell(walk, &record);
            }
        }
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
    (void)conf;
    (void)why;
    (void)size;
    CHECK(handle != NULL);
    handle->weir = sim_loop_weir(options->loop);
    store_init(&handle->store, &store_redis, options);
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
    house.stores_open++;
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
    return durable && house.untrusted ? "it may lose what it acknowledged" : NULL;
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
    house.untrusted = false;
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
    list_each (letter, after, &house.letters, struct letter, in_letters) {
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
    house.stores_open--;
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

/* ---- its weather ---- */

static void on_weather(struct sim_event *event)
{
    (void)event;
    if (sim.healed) {
        return;
    }
    sim_after(&house.weather, sim_between(50 * SIM_MS, 4 * SIM_S));
    house.full = sim_below(100) < sim.weather.store_out;
    house.untrusted = sim_below(100) < sim.weather.store_out;
    if (sim_below(100) < sim.weather.store_out) {
        house.out_until_us = sim.now_us + (sim_chance(70) ? sim_below(500 * SIM_MS) : sim_below(20 * SIM_S));
        sim.counts.outages++;
        sim_note("store away", house.out_until_us - sim.now_us, 0, 0);
    }
    if (sim.weather.clock_steps && sim_chance(10)) {
        house.clock_ms = (int64_t)sim_between(0, 20000) - 10000;
        sim_note("store clock", (uint64_t)(house.clock_ms + 10000), 0, 0);
    }
    if (sim.weather.store_forgets && sim_chance(8)) {
        bool all = sim_chance(40);
        sim_note("store forgets", all, 0, 0);
        sim.counts.losses++;
        ledger_forgotten();
        if (all) {
            lose_all();
        } else {
            lose_suffix();
        }
    }
}

void sim_store_begin(void)
{
    memset(&house, 0, sizeof house);
    for (int i = 0; i < CHAINS; i++) {
        list_init(&house.chains[i]);
    }
    list_init(&house.past);
    list_init(&house.owed);
    list_init(&house.letters);
    house.weather.fire = on_weather;
    sim_after(&house.weather, sim_below(2 * SIM_S));
}

void sim_store_heal(void)
{
    house.full = house.untrusted = false;
    house.out_until_us = 0;
}

bool sim_stores_closed(void)
{
    int left = 0;
    for (int i = 0; i < sim.weir_count; i++) {
        left += sim.weirs[i]->dead && sim.weirs[i]->store != NULL ? 1 : 0; /* those go with their weirs */
    }
    return house.stores_open <= left;
}

void sim_store_rest(void)
{
    list_each (letter, after, &house.letters, struct letter, in_letters) {
        if (letter->replying) {
            ledger_reply_lost(told_op(letter), &letter->result);
        }
        free_letter(letter);
    }
    for (int i = 0; i < CHAINS; i++) {
        list_each (row, after, &house.chains[i], struct row, in_chain) {
            ledger_left(&row->name, row->record.state);
        }
    }
}

void sim_store_end(void)
{
    list_each (letter, after, &house.letters, struct letter, in_letters) {
        free_letter(letter);
    }
    lose_all();
    if (house.stores_open != 0) {
        sim_violated("%d stores were never closed", house.stores_open);
    }
}
