/*
 * The connection to Redis: servers and their addresses in turn, a greeting, and
 * then commands out and replies in. What a turn of the loop asks leaves in one
 * write; replies belong to what was asked by their position, and a reply that
 * comes too late dies with its connection. It does not know what is asked.
 *
 *   RESTING ──▶ READING ──▶ OPENING ──▶ GREETING ──▶ READY
 *      ▲           │           │           │           │
 *      └───────────┴── connection_lose ────┴───────────┘
 */
#include "redis_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define OPEN_US        (2 * CLOCK_US_PER_S) /* to connect, and to greet */
#define BACKOFF_MIN_US (50 * CLOCK_US_PER_MS)
#define BACKOFF_MAX_US (5 * CLOCK_US_PER_S)
#define GOOD_US        (5 * CLOCK_US_PER_S) /* READY for so long: the next trouble is a new one */
#define SILENCE_MIN_MS 100

static const struct stream_ops connection_ops;
static void on_flush(struct deferred *deferred);
static void on_timer(struct timer *timer);
static void on_debt(struct timer *timer);

static struct redis_store *redis_of_connection(struct connection *connection)
{
    return container_of(connection, struct redis_store, connection);
}

static const char *server_text(const struct redis_store *redis)
{
    return redis->servers[redis->connection.server].text;
}

/* The only place that changes the state. */
static void enter(struct connection *connection, enum connection_state state)
{
    static const uint8_t legal[CONNECTION_STATE_COUNT] = {
        [CONNECTION_RESTING] = 1 << CONNECTION_READING | 1 << CONNECTION_OVER,
        [CONNECTION_READING] = 1 << CONNECTION_RESTING | 1 << CONNECTION_OPENING | 1 << CONNECTION_OVER,
        [CONNECTION_OPENING] = 1 << CONNECTION_RESTING | 1 << CONNECTION_GREETING | 1 << CONNECTION_OVER,
        [CONNECTION_GREETING] = 1 << CONNECTION_RESTING | 1 << CONNECTION_READY | 1 << CONNECTION_OVER,
        [CONNECTION_READY] = 1 << CONNECTION_RESTING | 1 << CONNECTION_OVER,
        [CONNECTION_OVER] = 0,
    };
    CHECK((legal[connection->state] >> state & 1) != 0);
    connection->state = state;
}

/* ---- open ---- */

static void on_resolved(void *owner, enum err err, const struct addr *addrs, int count, const char *why)
{
    struct redis_server *server = owner;
    struct connection *connection = &server->redis->connection;
    bool first = server->addr_count == 0;
    if (err != ERR_OK) {
        if (first) {
            (void)snprintf(connection->why, sizeof connection->why, "%s: %s", server->text, why);
        }
        return;
    }
    server->addr_count = count < REDIS_ADDRS_MAX ? count : REDIS_ADDRS_MAX;
    memcpy(server->addrs, addrs, (size_t)server->addr_count * sizeof addrs[0]);
    if (first && connection->state == CONNECTION_RESTING) {
        timer_set_after(&connection->timer, 0);
    }
}

bool connection_open(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    connection->down_since_us = loop_now_us(loop_of(redis));
    (void)snprintf(connection->why, sizeof connection->why, "not connected yet");
    for (int i = 0; i < redis->server_count; i++) {
        struct redis_server *server = &redis->servers[i];
        server->resolver = resolver_open(loop_of(redis), server->host, server->port, on_resolved, server);
        if (server->resolver == NULL) {
            return false;
        }
    }
    return true;
}

void connection_init(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    connection->number = 1;
    list_init(&connection->asks);
    pool_init(&connection->asks_pool, "redis_asks", sizeof(struct ask), REDIS_ASKS_MAX);
    deferred_init(&connection->flush, on_flush);
    timer_init(&connection->timer, loop_of(redis), on_timer);
    timer_init(&connection->debt, loop_of(redis), on_debt);
}

void connection_start(struct redis_store *redis)
{
    timer_set_after(&redis->connection.timer, 0);
}

/* ---- which server, and when ---- */

static int target_count(const struct redis_store *redis)
{
    int count = 0;
    for (int i = 0; i < redis->server_count; i++) {
        count += redis->servers[i].addr_count;
    }
    return count;
}

/* The next address of this server, else the first one of the next. */
static void next_target(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    if (++connection->addr >= redis->servers[connection->server].addr_count) {
        connection->addr = 0;
        connection->server = (connection->server + 1) % redis->server_count;
    }
}

/* NULL: no name is resolved. */
static const struct addr *target(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    for (int i = 0; i <= redis->server_count; i++) {
        const struct redis_server *server = &redis->servers[connection->server];
        if (connection->addr < server->addr_count) {
            return &server->addrs[connection->addr];
        }
        next_target(redis);
    }
    return NULL;
}

/* Every target is tried once without a pause between; then pauses grow, and differ between weirs. */
static uint64_t pause_us(const struct redis_store *redis)
{
    int targets = target_count(redis);
    int rounds = redis->connection.tries / (targets > 0 ? targets : 1);
    uint64_t us = BACKOFF_MIN_US;
    uint16_t random;
    if (rounds == 0) {
        return 0;
    }
    for (int i = 1; i < rounds && us < BACKOFF_MAX_US; i++) {
        us *= 2;
    }
    us = us < BACKOFF_MAX_US ? us : BACKOFF_MAX_US;
    digest_random(&random, sizeof random);
    return us / 2 + us / 2 * random / UINT16_MAX;
}

/* ---- losing it ---- */

static void tell_asks_lost(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    struct ask *ask;
    while ((ask = list_first(&connection->asks, struct ask, in_asks)) != NULL) {
        struct ask copy = *ask;
        list_remove(&ask->in_asks);
        pool_put(&connection->asks_pool, ask);
        copy.cb(redis, &copy, NULL);
    }
    connection->asked_calls = 0;
    connection->asked_limits = 0;
}

static void let_go(struct redis_store *redis, enum connection_state next)
{
    struct connection *connection = &redis->connection;
    if (connection->stream != NULL) {
        stream_close(connection->stream, true);
        connection->stream = NULL;
    }
    connection->number++;
    out_reset(&connection->out);
    timer_stop(&connection->debt);
    timer_stop(&connection->timer);
    enter(connection, next);
    tell_asks_lost(redis);
    redis_on_lost(redis);
}

static void say_down(struct redis_store *redis, bool was_ready)
{
    struct connection *connection = &redis->connection;
    enum log_level level = was_ready || !connection->told_down ? LOG_WARN : LOG_DEBUG;
    connection->told_down = true;
    log_event(redis->store.options.log, level, "store_down", connection->why, LOG_T("server", server_text(redis)),
              LOG_N("unsettled", redis->store.unsettled));
}

void connection_lose(struct redis_store *redis, bool elsewhere, const char *format, ...)
{
    struct connection *connection = &redis->connection;
    bool was_ready = connection->state == CONNECTION_READY;
    uint64_t now_us = loop_now_us(loop_of(redis));
    va_list arguments;
    if (connection->state == CONNECTION_RESTING || connection->state == CONNECTION_OVER) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(connection->why, sizeof connection->why, format, arguments);
    va_end(arguments);
    if (was_ready) {
        connection->down_since_us = now_us;
        store_up_set(&redis->store, false);
        if (now_us - connection->ready_us >= GOOD_US) {
            connection->tries = 0;
        }
    }
    say_down(redis, was_ready);
    let_go(redis, CONNECTION_RESTING);
    if (elsewhere || !was_ready) {
        next_target(redis);
    }
    timer_set_after(&connection->timer, pause_us(redis));
    connection->tries++;
}

/* ---- making it ---- */

static void begin_connect(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    if (target(redis) == NULL) {
        timer_set_after(&connection->timer, BACKOFF_MAX_US); /* or when a name resolves */
        return;
    }
    enter(connection, CONNECTION_READING);
    credentials_want(redis);
}

void connection_on_credentials(struct redis_store *redis, const char *why)
{
    struct connection *connection = &redis->connection;
    const struct addr *to;
    enum err err = ERR_OK;
    if (connection->state != CONNECTION_READING) {
        return;
    }
    to = target(redis);
    if (why != NULL) {
        connection_lose(redis, false, "%s", why);
        return;
    }
    connection->stream = stream_connect(loop_of(redis), to, redis->servers[connection->server].client, &connection_ops,
                                        connection, &err);
    if (connection->stream == NULL) {
        connection_lose(redis, true, "%s: %s", server_text(redis), err_sentence(err));
        return;
    }
    connection->streams_open++;
    enter(connection, CONNECTION_OPENING);
    timer_set_after(&connection->timer, OPEN_US);
}

static void on_open(void *owner, enum err err)
{
    struct connection *connection = owner;
    struct redis_store *redis = redis_of_connection(connection);
    if (err != ERR_OK) {
        const char *why = stream_why(connection->stream);
        connection_lose(redis, true, "%s: %s", server_text(redis), why[0] != '\0' ? why : err_sentence(err));
        return;
    }
    out_reset(&connection->out);
    replies_close(&connection->replies);
    if (!replies_open(&connection->replies)) {
        connection_lose(redis, false, "out of memory");
        return;
    }
    enter(connection, CONNECTION_GREETING);
    connection->heard_us = loop_now_us(loop_of(redis));
    greeting_say(redis);
}

void connection_on_greeted(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    enter(connection, CONNECTION_READY);
    timer_stop(&connection->timer);
    connection->ready_us = loop_now_us(loop_of(redis));
    connection->down_since_us = 0;
    connection->told_down = false;
    connection->why[0] = '\0';
    store_up_set(&redis->store, true);
    log_event(redis->store.options.log, LOG_INFO, "store_up", "connected to redis",
              LOG_T("server", server_text(redis)));
    redis_on_ready(redis);
}

static void on_timer(struct timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, timer);
    struct redis_store *redis = redis_of_connection(connection);
    if (connection->state == CONNECTION_RESTING) {
        begin_connect(redis);
    } else if (connection->state == CONNECTION_OPENING) {
        connection_lose(redis, true, "%s: the connection was not made in time", server_text(redis));
    } else if (connection->state == CONNECTION_GREETING) {
        connection_lose(redis, true, "%s: no reply to the greeting in time", server_text(redis));
    }
}

/* ---- asking ---- */

/* Asks that nobody waits for any more hold their places, too, until their replies came. */
bool connection_takes_calls(const struct connection *connection)
{
    int others = (int)connection->asks_pool.count_used - connection->asked_limits;
    return connection->asked_calls < REDIS_ASKED_CALLS_MAX &&
           others < REDIS_ASKS_MAX - REDIS_ASKED_LIMITS_MAX - REDIS_ASKS_RESERVED;
}

bool connection_takes_limits(const struct connection *connection)
{
    return connection->asked_limits < REDIS_ASKED_LIMITS_MAX;
}

bool connection_has_room(const struct redis_store *redis, int asks)
{
    const struct connection *connection = &redis->connection;
    int own = (int)connection->asks_pool.count_used - connection->asked_calls - connection->asked_limits;
    return own + asks <= REDIS_ASKS_MAX - REDIS_ASKED_CALLS_MAX - REDIS_ASKED_LIMITS_MAX;
}

bool connection_has_input(const struct redis_store *redis)
{
    return redis->connection.stream != NULL && !stream_is_silent(redis->connection.stream);
}

static uint64_t silence_us(const struct redis_store *redis)
{
    uint64_t half_ms = redis->begin_timeout_ms / 2;
    return (half_ms > SILENCE_MIN_MS ? half_ms : SILENCE_MIN_MS) * CLOCK_US_PER_MS;
}

/* NULL: too many; the connection was lost. */
static struct ask *ask_new(struct redis_store *redis, ask_cb cb)
{
    struct connection *connection = &redis->connection;
    struct ask *ask = connection->stream == NULL ? NULL : pool_get(&connection->asks_pool);
    if (ask == NULL) {
        connection_lose(redis, false, "more is asked than may be");
        return NULL;
    }
    list_init(&ask->in_asks);
    list_push_back(&connection->asks, &ask->in_asks);
    ask->cb = cb;
    ask->sent_us = loop_now_us(loop_of(redis));
    if (!timer_armed(&connection->debt)) {
        timer_set_after(&connection->debt, silence_us(redis));
    }
    connection_flush_soon(redis);
    return ask;
}

bool connection_ask(struct redis_store *redis, ask_cb cb, struct store_call *call, uint64_t number)
{
    struct ask *ask = ask_new(redis, cb);
    if (ask == NULL) {
        return false;
    }
    ask->number = number;
    ask->call = call;
    if (call != NULL) {
        call->aside = ask;
        redis->connection.asked_calls++;
    }
    return true;
}

bool connection_ask_limit(struct redis_store *redis, ask_cb cb, struct store_limit_call *call)
{
    struct ask *ask = ask_new(redis, cb);
    if (ask == NULL) {
        return false;
    }
    ask->of_limit = true;
    ask->limit = call;
    call->aside = ask;
    redis->connection.asked_limits++;
    return true;
}

void connection_forget_limit(struct store_limit_call *call)
{
    struct ask *ask = call->aside;
    if (ask != NULL) {
        ask->limit = NULL;
        call->aside = NULL;
    }
}

void connection_forget(struct redis_store *redis, struct store_call *call)
{
    struct ask *ask = call->aside;
    if (ask != NULL) {
        ask->call = NULL;
        call->aside = NULL;
        redis->connection.asked_calls--;
    }
}

void connection_flush_soon(struct redis_store *redis)
{
    if (redis->connection.stream != NULL && redis->connection.state >= CONNECTION_GREETING) {
        loop_defer(loop_of(redis), &redis->connection.flush);
    }
}

static void write_out(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    struct bytes part = bytes_of(connection->out.at, connection->out.len);
    struct stream_wrote wrote;
    if (connection->out.failed) {
        connection_lose(redis, false, "out of memory");
        return;
    }
    if (part.len == 0) {
        return;
    }
    wrote = stream_write(connection->stream, &part, 1);
    out_reset(&connection->out);
    if (wrote.err != ERR_OK) {
        connection_lose(redis, false, "%s: %s", server_text(redis), err_sentence(wrote.err));
    }
}

static bool calls_want(const struct redis_store *redis)
{
    return !list_empty(&redis->waiting) && connection_takes_calls(&redis->connection);
}

/* Whether more calls, or questions about limits, may follow what is already on its way. */
static bool may_fill(const struct redis_store *redis)
{
    const struct connection *connection = &redis->connection;
    return connection->state == CONNECTION_READY && (calls_want(redis) || limits_want(redis)) &&
           stream_queued_bytes(connection->stream) < STREAM_QUEUE_HIGH_BYTES;
}

/* Everything that this turn asked, in one write; what is more than a piece follows when that is out. */
static void on_flush(struct deferred *deferred)
{
    struct connection *connection = container_of(deferred, struct connection, flush);
    struct redis_store *redis = redis_of_connection(connection);
    if (connection->stream == NULL || connection->state < CONNECTION_GREETING) {
        return;
    }
    if (may_fill(redis)) {
        limits_fill(redis); /* first, since theirs is the shortest time, and of a piece they take a part alone */
    }
    if (may_fill(redis)) {
        redis_fill(redis);
    }
    if (connection->stream != NULL) {
        write_out(redis);
    }
    loop_undefer(&connection->flush); /* it was asked for by what has left just now */
    if (may_fill(redis)) {
        connection_flush_soon(redis);
    }
}

/* The oldest reply is overdue, or nothing at all came while one was owed: a path that swallows what it is given. */
static void on_debt(struct timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, debt);
    struct redis_store *redis = redis_of_connection(connection);
    const struct ask *oldest = list_first(&connection->asks, struct ask, in_asks);
    uint64_t now_us = loop_now_us(loop_of(redis)), limit_us = silence_us(redis);
    uint64_t silent_since_us, due_us;
    if (oldest == NULL) {
        return;
    }
    silent_since_us = connection->heard_us > oldest->sent_us ? connection->heard_us : oldest->sent_us;
    due_us = silent_since_us + limit_us;
    due_us = due_us < oldest->sent_us + 2 * limit_us ? due_us : oldest->sent_us + 2 * limit_us;
    if (due_us > now_us) {
        timer_set(timer, due_us);
        return;
    }
    if (connection_has_input(redis)) {
        timer_set_after(timer, SILENCE_MIN_MS * CLOCK_US_PER_MS); /* it was the loop that was late */
        return;
    }
    connection_lose(redis, false, "%s: no reply for %u ms", server_text(redis),
                    (unsigned)((now_us - oldest->sent_us) / CLOCK_US_PER_MS));
}

/* ---- hearing ---- */

static void say_unasked(struct redis_store *redis, const struct reply *reply)
{
    struct bytes said = reply->kind == REPLY_ERROR ? bytes_take(reply->text, 160) : BYTES("what nobody asked for");
    connection_lose(redis, true, "%s says: %.*s", server_text(redis), BYTES_ARG(said));
}

/* By position. */
static void take_reply(struct redis_store *redis, const struct reply *reply)
{
    struct connection *connection = &redis->connection;
    struct ask *ask = list_first(&connection->asks, struct ask, in_asks);
    struct ask copy;
    if (ask == NULL) {
        say_unasked(redis, reply);
        return;
    }
    copy = *ask;
    list_remove(&ask->in_asks);
    pool_put(&connection->asks_pool, ask);
    connection->asked_calls -= copy.call != NULL ? 1 : 0;
    connection->asked_limits -= copy.of_limit ? 1 : 0;
    copy.cb(redis, &copy, reply);
}

static void on_read(void *owner, struct bytes data)
{
    struct connection *connection = owner;
    struct redis_store *redis = redis_of_connection(connection);
    uint64_t number = connection->number;
    const struct reply *reply;
    const char *why = NULL;
    connection->heard_us = loop_now_us(loop_of(redis));
    if (!replies_feed(&connection->replies, data)) {
        connection_lose(redis, true, "%s: a reply is larger than any should be", server_text(redis));
        return;
    }
    while ((reply = replies_next(&connection->replies, &why)) != NULL) {
        take_reply(redis, reply);
        if (connection->number != number) {
            return; /* this connection is no more */
        }
    }
    if (why != NULL) {
        connection_lose(redis, true, "%s: %s", server_text(redis), why);
    } else if (calls_want(redis) || limits_want(redis)) {
        connection_flush_soon(redis);
    }
}

static void on_end(void *owner, enum err err)
{
    struct redis_store *redis = redis_of_connection(owner);
    connection_lose(redis, false, "%s: %s", server_text(redis), err_sentence(err));
}

static void on_drain(void *owner)
{
    connection_flush_soon(redis_of_connection(owner));
}

static void on_closed(void *owner)
{
    struct connection *connection = owner;
    connection->streams_open--;
    redis_maybe_gone(redis_of_connection(connection));
}

static const struct stream_ops connection_ops = {
    .on_open = on_open,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

/* ---- close ---- */

void connection_end(struct redis_store *redis)
{
    let_go(redis, CONNECTION_OVER);
}

bool connection_is_gone(const struct redis_store *redis)
{
    return redis->connection.streams_open == 0;
}

void connection_free(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    timer_stop(&connection->timer);
    loop_undefer(&connection->flush);
    out_close(&connection->out);
    replies_close(&connection->replies);
    pool_close(&connection->asks_pool);
}
