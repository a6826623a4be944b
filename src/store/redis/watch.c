/*
 * Whether this server is what money needs, asked with each greeting and every
 * few seconds: its INFO, the digest of the secret that weirs share, and the
 * canary, a rising number that goes last in a batch of writes. What is of no use
 * at all ends the connection; what a route that must not lose a write cannot
 * stand is a trouble, told by an event, a metric and store_trouble.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define WATCH_US        (3 * CLOCK_US_PER_S)
#define CANARY_EVERY_US CLOCK_US_PER_S
#define CANARY_KEEP_MS  (UINT64_C(30) * 24 * 3600 * 1000)
#define VERSION_MIN     7
#define LOST_KEY        "w:lost"

static const struct stats_family family_trouble = {
    .name = "weir_store_trouble",
    .help = "1 where the store is not what a payment needs that must be sent at most once.",
    .kind = STATS_GAUGE,
    .labels = {"kind"},
};

static const struct {
    const char *kind, *words;
} troubles[TROUBLE_COUNT] = {
    [TROUBLE_SECRET] = {"secret", "this store belongs to weirs with another secret file"},
    [TROUBLE_INFO] = {"info", "the server does not say what it is: is INFO not permitted?"},
    [TROUBLE_KEYS] = {"keys", "the digest of the secret cannot be left there: are GET and SET not permitted?"},
    [TROUBLE_CANARY] = {"canary", "whether acknowledged writes are still there cannot be seen: is GET not permitted?"},
    [TROUBLE_POLICY] = {"eviction", "its maxmemory-policy is not noeviction: it may forget payments"},
    [TROUBLE_PERSISTENCE] = {"persistence", "its append only file is off: a restart forgets payments"},
    [TROUBLE_LOSS] = {"loss", "acknowledged writes are gone; an operator has to accept that"},
};

static void on_timer(struct timer *timer);

static bool has_trouble(const struct redis_store *redis, enum redis_trouble trouble)
{
    return (redis->watch.troubles >> trouble & 1) != 0;
}

/* The only place that changes the troubles. */
static void set_trouble(struct redis_store *redis, enum redis_trouble trouble, bool on)
{
    struct watch *watch = &redis->watch;
    if (has_trouble(redis, trouble) == on) {
        return;
    }
    watch->troubles ^= UINT32_C(1) << trouble;
    stats_set(redis->store.options.stats, watch->stat_trouble[trouble], on ? 1 : 0);
    log_event(redis->store.options.log, on ? LOG_WARN : LOG_INFO, on ? "store_trouble" : "store_trouble_over",
              troubles[trouble].words, LOG_T("kind", troubles[trouble].kind));
}

static void on_lost_said(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)redis; /* refused or not: this weir knows, and the others see their own canaries */
    (void)ask;
    (void)reply;
}

/* The mark of a loss that no operator has accepted: a weir that wrote nothing at that time, or starts later, sees it too. */
static void say_lost(struct redis_store *redis)
{
    struct out *out = &redis->connection.out;
    out_command(out, 3);
    out_text(out, "SET");
    out_text(out, LOST_KEY);
    out_text(out, redis->watch.canary_key);
    (void)connection_ask(redis, on_lost_said, NULL, 0);
}

/* Audited: until it is accepted, nothing that must not be sent twice is sent at all; here, and by all who share the store. */
static void lose_writes(struct redis_store *redis, const char *message, uint64_t acknowledged, uint64_t found)
{
    const struct log_field fields[] = {LOG_N("acknowledged", acknowledged), LOG_N("found", found)};
    if (has_trouble(redis, TROUBLE_LOSS)) {
        return; /* told, and not accepted yet */
    }
    log_audit_fields(redis->store.options.log, "store_lost_writes", message, fields, (int)ARRAY_COUNT(fields));
    set_trouble(redis, TROUBLE_LOSS, true);
    say_lost(redis);
}

void watch_open(struct redis_store *redis)
{
    struct watch *watch = &redis->watch;
    char instance[2 * sizeof redis->instance + 1];
    timer_init(&watch->timer, loop_of(redis), on_timer);
    digest_hex(redis->instance, sizeof redis->instance, instance);
    (void)snprintf(watch->canary_key, sizeof watch->canary_key, "w:canary:%s", instance);
    digest_hex(redis->store.options.secret_digest, STORE_SECRET_DIGEST_BYTES, watch->secret_hex);
    for (int i = 0; i < TROUBLE_COUNT; i++) {
        watch->stat_trouble[i] = stats_series(redis->store.options.stats, &family_trouble, troubles[i].kind);
        stats_set(redis->store.options.stats, watch->stat_trouble[i], 0);
    }
}

void watch_start(struct redis_store *redis)
{
    timer_set_after(&redis->watch.timer, WATCH_US);
}

void watch_close(struct redis_store *redis)
{
    timer_stop(&redis->watch.timer);
}

/* ---- INFO ---- */

/* The value of a line "name:value"; none: there is no such line. */
static struct bytes info_find(struct bytes info, const char *name)
{
    struct bytes wanted = bytes_from_text(name);
    while (info.len > 0) {
        size_t end = bytes_find(info, '\n');
        struct bytes line = bytes_take(info, end);
        if (bytes_starts_with(line, wanted) && line.len > wanted.len && line.at[wanted.len] == ':') {
            line = bytes_skip(line, wanted.len + 1);
            return line.len > 0 && line.at[line.len - 1] == '\r' ? bytes_take(line, line.len - 1) : line;
        }
        info = end == SIZE_MAX ? BYTES_NONE : bytes_skip(info, end + 1);
    }
    return BYTES_NONE;
}

static bool info_is(struct bytes info, const char *name, const char *value)
{
    return bytes_equal(info_find(info, name), bytes_from_text(value));
}

static uint64_t info_number(struct bytes info, const char *name)
{
    uint64_t value;
    return bytes_to_u64(info_find(info, name), &value) ? value : 0;
}

/* NULL: it is of use. */
static const char *useless_because(struct bytes info)
{
    struct bytes version = info_find(info, "redis_version");
    uint64_t major;
    if (version.len > 0 &&
        (!bytes_to_u64(bytes_take(version, bytes_find(version, '.')), &major) || major < VERSION_MIN)) {
        return "it is older than Redis 7.0";
    }
    if (info_is(info, "loading", "1")) {
        return "it is still loading its data";
    }
    if (info_find(info, "role").len > 0 && !info_is(info, "role", "master")) {
        return "it is a replica";
    }
    return info_is(info, "cluster_enabled", "1") ? "it is part of a cluster, which weir does not speak" : NULL;
}

/* Another history of writes, after a failover or a restart: the canary tells whether ours are in it. */
static void look_at_epoch(struct redis_store *redis, struct bytes info)
{
    struct watch *watch = &redis->watch;
    struct bytes replid = info_find(info, "master_replid");
    if (watch->replid[0] != '\0' && !bytes_equal(replid, bytes_from_text(watch->replid))) {
        log_event(redis->store.options.log, LOG_WARN, "store_epoch", "the server began another history of writes",
                  LOG_T("before", watch->replid), LOG_B("after", replid));
    }
    (void)bytes_to_text(replid, watch->replid, sizeof watch->replid);
}

static void look_at_evictions(struct redis_store *redis, struct bytes info)
{
    struct watch *watch = &redis->watch;
    struct bytes run_id = info_find(info, "run_id");
    uint64_t evicted = info_number(info, "evicted_keys");
    bool same_run = watch->run_id[0] != '\0' && bytes_equal(run_id, bytes_from_text(watch->run_id));
    if (same_run && evicted > watch->evicted) {
        lose_writes(redis, "the store evicted keys", watch->evicted, evicted);
    }
    watch->evicted = evicted;
    (void)bytes_to_text(run_id, watch->run_id, sizeof watch->run_id);
}

static void on_info(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    const char *useless;
    (void)ask;
    if (reply == NULL) {
        return;
    }
    if (!reply_is_text(reply)) {
        set_trouble(redis, TROUBLE_INFO, true);
        return;
    }
    useless = useless_because(reply->text);
    if (useless != NULL) {
        connection_lose(redis, true, "%s: %s", redis->servers[redis->connection.server].text, useless);
        return;
    }
    set_trouble(redis, TROUBLE_INFO, info_find(reply->text, "redis_version").len == 0);
    set_trouble(redis, TROUBLE_POLICY, !info_is(reply->text, "maxmemory_policy", "noeviction"));
    set_trouble(redis, TROUBLE_PERSISTENCE, !info_is(reply->text, "aof_enabled", "1"));
    look_at_epoch(redis, reply->text);
    look_at_evictions(redis, reply->text);
    store_bytes_set(&redis->store, info_number(reply->text, "used_memory"), info_number(reply->text, "maxmemory"));
}

/* ---- the secret's digest ---- */

static void on_secret_set(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)redis; /* set, or there before, or refused: the reply to GET tells */
    (void)ask;
    (void)reply;
}

static void on_secret(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)ask;
    if (reply == NULL) {
        return;
    }
    set_trouble(redis, TROUBLE_KEYS, !reply_is_text(reply));
    if (!reply_is_text(reply)) {
        return;
    }
    set_trouble(redis, TROUBLE_SECRET, !bytes_equal(reply->text, bytes_from_text(redis->watch.secret_hex)));
}

/* ---- the canary ---- */

/* What stood there before is told, too: a store that was emptied under a running connection shows it so. */
static void on_canary_said(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct watch *watch = &redis->watch;
    uint64_t before = 0;
    if (reply == NULL) {
        return;
    }
    if (reply->kind == REPLY_ERROR) { /* a full server takes completions and no canary: what it refused it cannot have lost */
        watch->canary_acked = watch->canary_stored;
        return;
    }
    if (reply->kind == REPLY_NIL || (reply_is_text(reply) && bytes_to_u64(reply->text, &before))) {
        if (before < watch->canary_stored) {
            lose_writes(redis, "acknowledged writes are gone from the store", watch->canary_stored, before);
        }
    }
    watch->canary_stored = ask->number;
    if (ask->number > watch->canary_acked) {
        watch->canary_acked = ask->number;
    }
}

static void say_canary(struct redis_store *redis)
{
    struct watch *watch = &redis->watch;
    struct out *out = &redis->connection.out;
    watch->canary_us = loop_now_us(loop_of(redis));
    out_command(out, 6);
    out_text(out, "SET");
    out_text(out, watch->canary_key);
    out_u64(out, ++watch->canary_said);
    out_text(out, "GET");
    out_text(out, "PX");
    out_u64(out, CANARY_KEEP_MS);
    (void)connection_ask(redis, on_canary_said, NULL, watch->canary_said);
}

void watch_canary(struct redis_store *redis, bool durable)
{
    if (durable || loop_now_us(loop_of(redis)) - redis->watch.canary_us >= CANARY_EVERY_US) {
        say_canary(redis);
    }
}

void watch_expect(struct redis_store *redis, uint64_t canary)
{
    if (canary > redis->watch.canary_acked && canary <= redis->watch.canary_said) {
        redis->watch.canary_acked = canary;
    }
}

/* After a reconnect: what was acknowledged must be there. */
static void on_canary_read(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct watch *watch = &redis->watch;
    uint64_t found = 0;
    (void)ask;
    if (reply == NULL) {
        return;
    }
    set_trouble(redis, TROUBLE_CANARY, reply->kind == REPLY_ERROR);
    if (reply->kind == REPLY_ERROR) {
        return;
    }
    if (reply_is_text(reply) && !bytes_to_u64(reply->text, &found)) {
        found = 0;
    }
    if (found < watch->canary_acked) {
        lose_writes(redis, "acknowledged writes are gone from the store", watch->canary_acked, found);
        watch->canary_acked = found; /* told once */
    }
    watch->canary_stored = found;
}

static void ask_canary(struct redis_store *redis)
{
    struct out *out = &redis->connection.out;
    out_command(out, 2);
    out_text(out, "GET");
    out_text(out, redis->watch.canary_key);
    (void)connection_ask(redis, on_canary_read, NULL, 0);
}

/* ---- a loss that somebody saw ---- */

/* Never cleared by its absence: a store that lost it lost more. */
static void on_lost(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)ask;
    if (reply != NULL && reply_is_text(reply) && !has_trouble(redis, TROUBLE_LOSS)) {
        log_audit_fields(redis->store.options.log, "store_lost_writes", "another weir saw that acknowledged writes are gone",
                         NULL, 0);
        set_trouble(redis, TROUBLE_LOSS, true);
    }
}

static void ask_lost(struct redis_store *redis)
{
    struct out *out = &redis->connection.out;
    out_command(out, 2);
    out_text(out, "GET");
    out_text(out, LOST_KEY);
    (void)connection_ask(redis, on_lost, NULL, 0);
}

static void forget_lost(struct redis_store *redis)
{
    struct out *out = &redis->connection.out;
    out_command(out, 2);
    out_text(out, "DEL");
    out_text(out, LOST_KEY);
    (void)connection_ask(redis, on_lost_said, NULL, 0);
}

/* ---- asking ---- */

static void ask_secret(struct redis_store *redis)
{
    struct out *out = &redis->connection.out;
    out_command(out, 4);
    out_text(out, "SET");
    out_text(out, "w:secret");
    out_text(out, redis->watch.secret_hex);
    out_text(out, "NX");
    (void)connection_ask(redis, on_secret_set, NULL, 0);
    out_command(out, 2);
    out_text(out, "GET");
    out_text(out, "w:secret");
    (void)connection_ask(redis, on_secret, NULL, 0);
}

void watch_ask(struct redis_store *redis, bool greeting)
{
    out_command(&redis->connection.out, 1);
    out_text(&redis->connection.out, "INFO");
    (void)connection_ask(redis, on_info, NULL, 0);
    ask_secret(redis);
    ask_lost(redis);
    if (greeting) {
        ask_canary(redis);
    } else if (redis->watch.canary_said > 0) {
        say_canary(redis); /* so that it does not expire while there is a weir to miss it */
    }
}

static void on_timer(struct timer *timer)
{
    struct redis_store *redis = container_of(timer, struct redis_store, watch.timer);
    timer_set_after(timer, WATCH_US);
    if (connection_is_ready(&redis->connection) && connection_has_room(redis, 6)) {
        watch_ask(redis, false);
        credentials_look(redis);
    }
}

/* ---- what it comes to ---- */

void watch_note_refusal(struct redis_store *redis, const struct reply *error)
{
    struct watch *watch = &redis->watch;
    bool said = watch->refusal[0] != '\0';
    (void)snprintf(watch->refusal, sizeof watch->refusal, "the server says: %.*s",
                   BYTES_ARG(bytes_take(error->text, 200)));
    if (!said) {
        log_event(redis->store.options.log, LOG_WARN, "store_refused", watch->refusal,
                  LOG_T("server", redis->servers[redis->connection.server].text));
    }
}

void watch_accept_loss(struct redis_store *redis)
{
    if (has_trouble(redis, TROUBLE_LOSS)) {
        log_audit_fields(redis->store.options.log, "store_loss_accepted", "an operator accepts that writes were lost",
                         NULL, 0);
        set_trouble(redis, TROUBLE_LOSS, false);
        if (connection_is_ready(&redis->connection)) {
            forget_lost(redis);
        }
    }
}

const char *watch_trouble(const struct redis_store *redis, bool durable)
{
    for (int i = 0; i < TROUBLE_COUNT; i++) {
        if ((durable || i == TROUBLE_SECRET) && has_trouble(redis, (enum redis_trouble)i)) {
            return troubles[i].words;
        }
    }
    return NULL;
}
