/*
 * What is said first on a new connection, in one write: who we are, the
 * scripts, and the questions of watch.c. The last reply makes the connection
 * ready; any that it cannot live with has ended it before.
 */
#include "redis_internal.h"

static void on_auth(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)ask;
    if (reply != NULL && reply->kind == REPLY_ERROR) {
        connection_lose(redis, true, "the server refuses the password: %.*s", BYTES_ARG(bytes_take(reply->text, 160)));
    }
}

/*
 * A name is for those who look at the server's list of clients; it may be
 * forbidden. But a server that takes nobody in says so before it hears
 * anything, and that stands where this reply would.
 */
static void on_named(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)ask;
    if (reply != NULL && reply->kind == REPLY_ERROR &&
        (bytes_starts_with(reply->text, BYTES("DENIED ")) || bytes_starts_with(reply->text, BYTES("ERR max number")))) {
        connection_lose(redis, true, "the server says: %.*s", BYTES_ARG(bytes_take(reply->text, 160)));
    }
}

/* Not permitted: then scripts travel whole. */
static void on_script(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct script *script = &redis->scripts[ask->number];
    script->sha[0] = '\0';
    if (reply != NULL && reply_is_text(reply) && reply->text.len == sizeof script->sha - 1) {
        (void)bytes_to_text(reply->text, script->sha, sizeof script->sha);
    }
}

static void on_pong(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)ask;
    if (reply == NULL) {
        return;
    }
    if (reply->kind == REPLY_ERROR && refusal_of(reply) == REFUSAL_ELSEWHERE) {
        connection_lose(redis, true, "the server says: %.*s", BYTES_ARG(bytes_take(reply->text, 160)));
        return;
    }
    connection_on_greeted(redis);
}

/* On a connection that is in use, and stays so: under the old password until the server knows the new one. */
static void on_auth_again(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct credentials *credentials = &redis->credentials;
    (void)ask;
    if (reply == NULL) {
        return;
    }
    if (reply->kind == REPLY_ERROR) {
        credentials->password_len = 0; /* so that the next look says it again */
        if (!credentials->told_refused) {
            log_event(redis->store.options.log, LOG_WARN, "store_password", "the server refuses the new password",
                      LOG_B("said", bytes_take(reply->text, 160)));
        }
    }
    credentials->told_refused = reply->kind == REPLY_ERROR;
}

static void say_password(struct redis_store *redis, ask_cb cb)
{
    struct out *out = &redis->connection.out;
    if (redis->credentials.password_len == 0) {
        return;
    }
    out_command(out, redis->username != NULL ? 3 : 2);
    out_text(out, "AUTH");
    if (redis->username != NULL) {
        out_text(out, redis->username);
    }
    out_bytes(out, bytes_of(redis->credentials.password, redis->credentials.password_len));
    (void)connection_ask(redis, cb, NULL, 0); /* false: the connection was lost, which is handled */
}

void greeting_say(struct redis_store *redis)
{
    struct out *out = &redis->connection.out;
    say_password(redis, on_auth);
    out_command(out, 3);
    out_text(out, "CLIENT");
    out_text(out, "SETNAME");
    out_text(out, "weir");
    (void)connection_ask(redis, on_named, NULL, 0);
    for (uint64_t i = 0; i < SCRIPT_COUNT; i++) {
        out_command(out, 3);
        out_text(out, "SCRIPT");
        out_text(out, "LOAD");
        out_text(out, redis->scripts[i].text);
        (void)connection_ask(redis, on_script, NULL, i);
    }
    watch_ask(redis, true);
    out_command(out, 1);
    out_text(out, "PING");
    (void)connection_ask(redis, on_pong, NULL, 0);
}

void greeting_say_password(struct redis_store *redis)
{
    say_password(redis, on_auth_again);
}
