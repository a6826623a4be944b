/*
 * The calls of the Redis store: what waits to be asked, what is asked, what is
 * asked again, and when an asker is told that there is no reply.
 *
 *   submit ──▶ waiting ──fill──▶ asked ──reply──▶ told and gone
 *                 ▲                │ connection lost, or a refusal that passes
 *                 └────────────────┘ (a begin: twice in all, and until its time is over)
 *
 * A begin that is given up turns into its abandon in place, and what settles a
 * payment stays until it is acknowledged. What the scripts do is not known here.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define BEGIN_TRIES_MAX 2
/* What the server refuses for now is asked again after a second, then less and less often. */
#define REST_MIN_US (1 * CLOCK_US_PER_S)
#define REST_MAX_US (30 * CLOCK_US_PER_S)
/* A begin that went out on a connection that was lost may still arrive behind its abandon: so long is waited for it. */
#define LATE_BEGIN_US (2 * CLOCK_US_PER_S)

/* For what lies there unread when a time is over. */
#define GRACE_US (10 * CLOCK_US_PER_MS)

enum stage { STAGE_WAITING, STAGE_ASKED, STAGE_RESTING };

static void on_call_timer(struct timer *timer);
static void on_call_reply(struct redis_store *redis, const struct ask *ask, const struct reply *reply);
static void give_up(struct redis_store *redis, struct store_call *call);

static struct redis_store *redis_of_call(const struct store_call *call)
{
    return redis_of(call->store);
}

/* ---- waiting and asking ---- */

static void wait_for_turn(struct redis_store *redis, struct store_call *call)
{
    call->stage = STAGE_WAITING;
    list_remove(&call->in_kind);
    list_push_back(&redis->waiting, &call->in_kind);
    if (connection_is_ready(&redis->connection)) {
        connection_flush_soon(redis);
    }
}

/* Down for longer than a payment would wait: it need not wait for nothing. */
static bool is_long_down(const struct redis_store *redis)
{
    const struct connection *connection = &redis->connection;
    return connection->down_since_us != 0 &&
           loop_now_us(loop_of(redis)) - connection->down_since_us > redis->begin_timeout_ms * CLOCK_US_PER_MS;
}

static void submit(struct store *store, struct store_call *call)
{
    struct redis_store *redis = redis_of(store);
    timer_init(&call->timer, loop_of(redis), on_call_timer);
    if (call->op.kind == IDEM_REBIND) { /* a begin may be lost by a server that fails over, and then nothing binds the key */
        store_call_end_later(call, STORE_UNTRUSTED);
        return;
    }
    if (!call->settles) {
        if (is_long_down(redis)) {
            store_call_end_later(call, STORE_DOWN);
            return;
        }
        timer_set(&call->timer, call->deadline_us);
    }
    wait_for_turn(redis, call);
}

/* Of this question, the same whenever it is asked again, and no other's. */
static void asked_of(const struct redis_store *redis, const struct store_call *call, uint8_t asked[ASKED_BYTES])
{
    memcpy(asked, redis->instance, ASKED_BYTES);
    for (int i = 0; i < ASKED_BYTES; i++) {
        asked[i] ^= (uint8_t)(call->number >> 8 * i);
    }
}

static bool ask_call(struct redis_store *redis, struct store_call *call)
{
    uint8_t asked[ASKED_BYTES];
    uint64_t waited_ms = (loop_now_us(loop_of(redis)) - call->asked_us) / CLOCK_US_PER_MS;
    asked_of(redis, call, asked);
    call_command(&redis->connection.out, redis->scripts, &call->op, call->whole, asked, waited_ms);
    call->stage = STAGE_ASKED;
    call->tries++;
    call->sent_on = redis->connection.number;
    call->canary = redis->watch.canary_said + 1; /* the one that follows this batch, if it must be durable */
    return connection_ask(redis, on_call_reply, call, call->number);
}

/* What was asked once, and lost, may have been done: then it is abandoned. */
static void distrust(struct redis_store *redis, struct store_call *call)
{
    if (call->tries == 0) {
        store_call_end_later(call, STORE_UNTRUSTED);
    } else {
        give_up(redis, call);
    }
}

void redis_fill(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    struct store_call *call;
    bool durable = false, wrote = false;
    while (connection_takes_calls(connection) && connection->out.len < REDIS_PIECE_BYTES &&
           (call = list_first(&redis->waiting, struct store_call, in_kind)) != NULL) {
        list_remove(&call->in_kind);
        if (!call->settles && watch_trouble(redis, call->durable) != NULL) {
            distrust(redis, call);
            continue;
        }
        if (!ask_call(redis, call)) { /* the connection is given up: this one waits for the next */
            call->stage = STAGE_WAITING;
            call->tries--;
            list_push_front(&redis->waiting, &call->in_kind);
            return;
        }
        wrote = wrote || call->op.kind != IDEM_READ;
        durable = durable || (call->durable && !call->told);
    }
    if (wrote) {
        watch_canary(redis, durable);
    }
}

/* ---- giving up, and trying again ---- */

/* Nobody waits for this begin any more; perhaps it was done, perhaps it will be. */
static void abandon_begin(struct redis_store *redis, struct store_call *call)
{
    connection_forget(redis, call);
    call->begun_on = call->sent_on;
    call->again = call->tries > 1; /* of two tries one went out on a connection that is no more */
    store_call_abandon(call);
    timer_stop(&call->timer);
    call->rests = 0;
    call->whole = false;
    wait_for_turn(redis, call);
}

/* No reply in time, or none that helps. */
static void give_up(struct redis_store *redis, struct store_call *call)
{
    if (call->op.kind == IDEM_BEGIN && call->tries > 0) {
        store_call_tell(call, STORE_DOWN, NULL);
        abandon_begin(redis, call);
        return;
    }
    connection_forget(redis, call);
    store_call_end(call, STORE_DOWN, NULL);
}

static void rest(struct store_call *call, uint64_t us)
{
    call->stage = STAGE_RESTING;
    list_remove(&call->in_kind);
    timer_set_after(&call->timer, us);
}

static uint64_t rest_us(struct store_call *call)
{
    uint64_t us = REST_MIN_US << (call->rests < 5 ? call->rests : 5);
    call->rests++;
    return us < REST_MAX_US ? us : REST_MAX_US;
}

static void on_call_timer(struct timer *timer)
{
    struct store_call *call = container_of(timer, struct store_call, timer);
    struct redis_store *redis = redis_of_call(call);
    if (call->stage == STAGE_RESTING) {
        wait_for_turn(redis, call);
    } else if (call->stage == STAGE_ASKED && !call->graced && connection_has_input(redis)) {
        call->graced = true; /* the loop was late, not the server: what it said is read first */
        timer_set_after(timer, GRACE_US);
    } else {
        give_up(redis, call);
    }
}

static void forget(struct store *store, struct store_call *call)
{
    struct redis_store *redis = redis_of(store);
    bool asked = call->tries > 0;
    if (call->op.kind == IDEM_BEGIN && asked) {
        abandon_begin(redis, call);
    } else if (!call->settles && !(call->op.kind == IDEM_RESOLVE && asked)) {
        connection_forget(redis, call);
        store_call_drop(call);
    }
}

/* ---- what came ---- */

/* The connection is gone; what was asked may have been done. */
static void on_call_lost(struct redis_store *redis, struct store_call *call)
{
    call->stage = STAGE_WAITING;
    if (call->op.kind == IDEM_BEGIN && call->tries >= BEGIN_TRIES_MAX) {
        give_up(redis, call);
        return;
    }
    list_remove(&call->in_kind);
    list_push_back(&redis->returned, &call->in_kind);
}

/* Another owner's takeover was given to a begin that nobody waited for: anyone may have it at once. */
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

static void on_result(struct redis_store *redis, struct store_call *call, struct idem_result *result)
{
    redis->watch.refusal[0] = '\0';
    if (call->durable) {
        watch_expect(redis, call->canary);
    }
    if (call->heard) { /* what this question told is told with every reply to it */
        result->told_now = result->resolved_now = false;
    }
    if (is_stale_mark(call, result)) {
        result->verdict = IDEM_LOST;
    }
    if (must_mark(call, result)) {
        store_hear(call->store, &call->op, result);
        call->heard = call->heard || result->told_now || result->resolved_now;
        call->op.kind = IDEM_MARK;
        wait_for_turn(redis, call);
        return;
    }
    if (must_abandon_again(call)) {
        store_hear(call->store, &call->op, result);
        call->heard = call->heard || result->told_now || result->resolved_now;
        call->last = true;
        rest(call, LATE_BEGIN_US);
        return;
    }
    if (is_own_answer(call, result)) {
        result->verdict = IDEM_OK;
        result->answer = BYTES_NONE;
    }
    store_call_end(call, STORE_OK, result);
}

/* Of a refusal that was not an accident of the connection. What settles waits for better times. */
static void on_refused(struct redis_store *redis, struct store_call *call, const struct reply *error)
{
    enum refusal refusal = refusal_of(error);
    if (refusal == REFUSAL_NO_SCRIPT && !call->whole) {
        call->whole = true;
        call->tries--;
        list_push_front(&redis->waiting, &call->in_kind);
        call->stage = STAGE_WAITING;
        connection_flush_soon(redis);
        return;
    }
    if (refusal == REFUSAL_ELSEWHERE) {
        call->tries--; /* it was not done */
        on_call_lost(redis, call);
        connection_lose(redis, true, "the server says: %.*s", BYTES_ARG(bytes_take(error->text, 160)));
        return;
    }
    watch_note_refusal(redis, error);
    if (call->settles) {
        rest(call, rest_us(call));
    } else if (refusal == REFUSAL_NO_ROOM && call->tries == 1) {
        store_call_end(call, STORE_FULL, NULL);
    } else if (refusal == REFUSAL_NO_WRITES && call->tries == 1) {
        store_call_end(call, STORE_DOWN, NULL); /* not done: there is nothing to abandon */
    } else {
        give_up(redis, call);
    }
}

/* It is refused by one of the limits that it is subject to, or by none; where its record was there, none was looked at. */
static bool fits_limits(const struct idem_op *op, const struct idem_result *result)
{
    bool refused = false;
    if (result->limit_count == 0) {
        return result->verdict != IDEM_LIMITED;
    }
    if (result->limit_count != op->limit_count) {
        return false;
    }
    for (int i = 0; i < result->limit_count; i++) {
        refused = refused || (!result->limits[i].fits && (op->limits[i].ask.flags & LIMIT_SHADOW) == 0);
    }
    return refused == (result->verdict == IDEM_LIMITED);
}

/* Begin has verdicts of its own, and what is done next hangs on them. */
static bool fits(const struct store_call *call, const struct idem_result *result)
{
    if (call->op.kind != IDEM_BEGIN) {
        return result->limit_count == 0;
    }
    return result->verdict <= IDEM_MISMATCH && fits_limits(&call->op, result);
}

static void on_call_reply(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct store_call *call = ask->call;
    struct idem_result result;
    if (call == NULL) {
        return; /* too late */
    }
    call->aside = NULL;
    if (redis->closing) {
        return; /* end_calls has them all */
    }
    if (reply == NULL) {
        on_call_lost(redis, call);
    } else if (reply->kind == REPLY_ERROR) {
        on_refused(redis, call, reply);
    } else if (result_read(reply, &result) && fits(call, &result)) {
        on_result(redis, call, &result);
    } else {
        on_call_lost(redis, call);
        connection_lose(redis, true, "the server answers a script with something else");
    }
}

/* In the order in which they were asked, before those that never were. */
void redis_on_lost(struct redis_store *redis)
{
    list_move_all(&redis->returned, &redis->waiting);
    list_move_all(&redis->waiting, &redis->returned);
    limits_on_lost(redis);
    walk_on_lost(redis);
}

void redis_on_ready(struct redis_store *redis)
{
    fleet_start(redis);
    connection_flush_soon(redis);
}

/* ---- state ---- */

static const char *trouble(const struct store *store, bool durable)
{
    const struct redis_store *redis = redis_of_const(store);
    return connection_is_ready(&redis->connection) ? watch_trouble(redis, durable) : redis->connection.why;
}

static void state(const struct store *store, struct store_state *state)
{
    const struct redis_store *redis = redis_of_const(store);
    state->not_durable = trouble(store, true);
    state->durable = state->not_durable == NULL;
    state->trouble = trouble(store, false);
    if (state->trouble == NULL && redis->watch.refusal[0] != '\0') {
        state->trouble = redis->watch.refusal;
    }
    if (state->trouble == NULL) {
        state->trouble = state->not_durable;
    }
}

static void accept_loss(struct store *store)
{
    watch_accept_loss(redis_of(store));
}

/* ---- open ---- */

/* A copy; NULL of NULL. *failed: no memory. */
static char *copy_text(const char *text, bool *failed)
{
    char *copy = text == NULL ? NULL : strdup(text);
    *failed = *failed || (text != NULL && copy == NULL);
    return copy;
}

static bool copy_conf(struct redis_store *redis, const struct conf_store *conf)
{
    bool failed = false;
    redis->username = copy_text(conf->username, &failed);
    redis->tls_verify = conf->tls_verify;
    redis->tls_ca = copy_text(conf->tls_ca, &failed);
    redis->tls_cert = copy_text(conf->tls_cert, &failed);
    redis->tls_key = copy_text(conf->tls_key, &failed);
    redis->tls_server_name = copy_text(conf->tls_server_name, &failed);
    redis->begin_timeout_ms = conf->begin_timeout_ms;
    redis->servers = calloc((size_t)conf->server_count, sizeof *redis->servers);
    if (redis->servers == NULL) {
        return false;
    }
    redis->server_count = conf->server_count;
    for (int i = 0; i < conf->server_count; i++) {
        struct redis_server *server = &redis->servers[i];
        server->redis = redis;
        server->text = copy_text(conf->servers[i].text, &failed);
        server->host = copy_text(conf->servers[i].host, &failed);
        server->port = conf->servers[i].port;
        server->tls = conf->servers[i].tls;
    }
    return !failed;
}

static void free_store(struct store *store)
{
    struct redis_store *redis = redis_of(store);
    connection_free(redis);
    credentials_free(redis);
    for (int i = 0; i < redis->server_count; i++) {
        struct redis_server *server = &redis->servers[i];
        if (server->resolver != NULL) {
            resolver_close(server->resolver);
        }
        tls_client_release(server->client);
        free(server->text);
        free(server->host);
    }
    free(redis->servers);
    scripts_close(redis->scripts);
    free(redis->username);
    free(redis->tls_ca);
    free(redis->tls_cert);
    free(redis->tls_key);
    free(redis->tls_server_name);
    free(redis);
}

static struct store *open_store(const struct conf_store *conf, const struct store_options *options, char *why,
                                size_t size)
{
    struct redis_store *redis = calloc(1, sizeof *redis);
    CHECK(conf->server_count > 0);
    (void)snprintf(why, size, "out of memory");
    if (redis == NULL) {
        return NULL;
    }
    store_init(&redis->store, &store_redis, options);
    digest_random(redis->instance, sizeof redis->instance);
    list_init(&redis->waiting);
    list_init(&redis->returned);
    connection_init(redis);
    watch_open(redis);
    sweep_open(redis);
    walk_open(redis);
    limits_open(redis);
    fleet_open(redis);
    if (!copy_conf(redis, conf) || !scripts_open(redis->scripts) || !credentials_open(redis, conf, why, size) ||
        !connection_open(redis)) {
        store_uninit(&redis->store);
        free_store(&redis->store);
        return NULL;
    }
    store_up_set(&redis->store, false);
    watch_start(redis);
    sweep_start(redis);
    connection_start(redis);
    return &redis->store;
}

/* ---- another configuration ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is(const struct store *store, const struct conf_store *conf)
{
    const struct redis_store *redis = redis_of_const(store);
    bool same = redis->server_count == conf->server_count && same_text(redis->username, conf->username) &&
                redis->tls_verify == conf->tls_verify && same_text(redis->tls_ca, conf->tls_ca) &&
                same_text(redis->tls_cert, conf->tls_cert) && same_text(redis->tls_key, conf->tls_key) &&
                same_text(redis->tls_server_name, conf->tls_server_name);
    for (int i = 0; same && i < conf->server_count; i++) {
        same = same_text(redis->servers[i].text, conf->servers[i].text);
    }
    return same;
}

static void renew(struct store *store, const struct conf_store *conf)
{
    struct redis_store *redis = redis_of(store);
    redis->begin_timeout_ms = conf->begin_timeout_ms;
    credentials_renew(redis, conf->password_file);
}

/* ---- close ---- */

static void end_calls(struct redis_store *redis)
{
    struct store_call *call;
    while ((call = list_first(&redis->store.calls, struct store_call, in_calls)) != NULL) {
        store_call_end(call, STORE_DOWN, NULL);
    }
}

static void close_store(struct store *store)
{
    struct redis_store *redis = redis_of(store);
    redis->closing = true;
    watch_close(redis);
    sweep_close(redis);
    walk_close(redis);
    fleet_close(redis);
    connection_end(redis);
    end_calls(redis);
    redis_maybe_gone(redis);
}

void redis_maybe_gone(struct redis_store *redis)
{
    if (redis->closing && !redis->gone && connection_is_gone(redis) && credentials_are_gone(redis)) {
        redis->gone = true;
        store_gone(&redis->store);
    }
}

const struct store_kind store_redis = {
    .type = "redis",
    .open = open_store,
    .is = is,
    .renew = renew,
    .submit = submit,
    .forget = forget,
    .limit = redis_limit,
    .limit_forget = redis_limit_forget,
    .has_input = redis_has_input,
    .walk = redis_walk,
    .walk_stop = redis_walk_stop,
    .state = state,
    .trouble = trouble,
    .accept_loss = accept_loss,
    .close = close_store,
    .free = free_store,
};
