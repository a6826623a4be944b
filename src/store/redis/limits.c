/*
 * Questions about limits alone: each is asked once, on the connection that there
 * is. Without one, or when it is lost, or when the server will not answer, the
 * asker is told so at once: it has another way. Their time is the frame's.
 */
#include "redis_internal.h"

static void on_limit_reply(struct redis_store *redis, const struct ask *ask, const struct reply *reply);

void limits_open(struct redis_store *redis)
{
    list_init(&redis->limits.waiting);
}

/* ---- asking ---- */

void redis_limit(struct store *store, struct store_limit_call *call)
{
    struct redis_store *redis = redis_of(store);
    if (!connection_is_ready(&redis->connection)) {
        store_limit_end_later(call, STORE_DOWN);
        return;
    }
    list_push_back(&redis->limits.waiting, &call->in_kind);
    connection_flush_soon(redis);
}

void redis_limit_forget(struct store *store, struct store_limit_call *call)
{
    (void)store;
    connection_forget_limit(call);
    store_limit_end(call, STORE_DOWN, 0, NULL);
}

bool limits_want(const struct redis_store *redis)
{
    return !list_empty(&redis->limits.waiting) && connection_takes_limits(&redis->connection);
}

void limits_fill(struct redis_store *redis)
{
    struct connection *connection = &redis->connection;
    size_t len_max = connection->out.len + REDIS_PIECE_LIMITS_BYTES;
    struct store_limit_call *call;
    while (connection_takes_limits(connection) && connection->out.len < len_max &&
           (call = list_first(&redis->limits.waiting, struct store_limit_call, in_kind)) != NULL) {
        limit_command(&connection->out, redis->scripts, &call->ref, call->whole, call->want);
        if (!connection_ask_limit(redis, on_limit_reply, call)) {
            return; /* the connection is given up, and whoever waited was told */
        }
        list_remove(&call->in_kind);
    }
}

bool redis_has_input(const struct store *store)
{
    return connection_has_input(redis_of_const(store));
}

/* ---- what came ---- */

static void end_down(struct store_limit_call *call)
{
    store_limit_end(call, STORE_DOWN, 0, NULL);
}

static void on_refused(struct redis_store *redis, struct store_limit_call *call, const struct reply *error)
{
    enum refusal refusal = refusal_of(error);
    if (refusal == REFUSAL_NO_SCRIPT && !call->whole) { /* it was not done */
        call->whole = true;
        list_push_front(&redis->limits.waiting, &call->in_kind);
        connection_flush_soon(redis);
        return;
    }
    end_down(call);
    if (refusal == REFUSAL_ELSEWHERE) {
        connection_lose(redis, true, "the server says: %.*s", BYTES_ARG(bytes_take(error->text, 160)));
    } else {
        watch_note_refusal(redis, error);
    }
}

static void on_limit_reply(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct store_limit_call *call = ask->limit;
    struct limit_told told;
    uint64_t granted;
    if (call == NULL) {
        return; /* too late */
    }
    call->aside = NULL;
    if (reply == NULL) {
        end_down(call);
    } else if (reply->kind == REPLY_ERROR) {
        on_refused(redis, call, reply);
    } else if (lease_read(reply, &granted, &told)) {
        redis->watch.refusal[0] = '\0';
        store_limit_end(call, STORE_OK, granted, &told);
    } else {
        end_down(call);
        connection_lose(redis, true, "the server answers a script with something else");
    }
}

void limits_on_lost(struct redis_store *redis)
{
    struct store_limit_call *call;
    while ((call = list_first(&redis->limits.waiting, struct store_limit_call, in_kind)) != NULL) {
        end_down(call);
    }
}
