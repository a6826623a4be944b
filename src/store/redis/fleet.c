/*
 * How many weirs share the store: each says every second that it is there, and
 * is told how many did so lately. Without a connection the last number stays; a
 * smaller one is believed once it has been told for a while.
 */
#include "redis_internal.h"

#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define SAY_US  CLOCK_US_PER_S
#define TRUE_MS 3000 /* who has not said so for longer is not there */
#define FLEET_KEY "w:fleet"
/* So long a smaller number is told before it is believed. */
#define FEWER_US (TRUE_MS * CLOCK_US_PER_MS)

static void on_timer(struct timer *timer);

void fleet_open(struct redis_store *redis)
{
    timer_init(&redis->fleet.timer, loop_of(redis), on_timer);
}

void fleet_close(struct redis_store *redis)
{
    timer_stop(&redis->fleet.timer);
}

/*
 * A store that forgot who is there, or was away for long, tells the first that comes back of itself alone, a second before
 * it hears of the others: with that number each would hold its callers to far more than its share, if the store went again.
 */
static void hear(struct redis_store *redis, uint32_t count)
{
    uint64_t now_us = loop_now_us(loop_of(redis));
    bool fewer = count < store_fleet(&redis->store);
    if (fewer && redis->fleet.fewer_us == 0) {
        redis->fleet.fewer_us = now_us;
    }
    if (!fewer || now_us - redis->fleet.fewer_us >= FEWER_US) {
        redis->fleet.fewer_us = 0;
        store_fleet_set(&redis->store, count);
    }
}

static void on_said(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    (void)ask;
    if (reply != NULL && reply->kind == REPLY_ERROR) {
        redis->scripts[SCRIPT_FLEET].sha[0] = '\0'; /* next time by EVAL */
    } else if (reply != NULL && reply->kind == REPLY_INTEGER && reply->integer > 0 && reply->integer <= UINT32_MAX) {
        hear(redis, (uint32_t)reply->integer);
    }
}

static void say(struct redis_store *redis)
{
    struct out *out = &redis->connection.out;
    char instance[2 * sizeof redis->instance + 1];
    digest_hex(redis->instance, sizeof redis->instance, instance);
    script_command(out, &redis->scripts[SCRIPT_FLEET], false, 1, 2);
    out_text(out, FLEET_KEY);
    out_text(out, instance);
    out_u64(out, TRUE_MS);
    (void)connection_ask(redis, on_said, NULL, 0); /* false: the connection was lost, which is handled */
}

static void on_timer(struct timer *timer)
{
    struct redis_store *redis = container_of(timer, struct redis_store, fleet.timer);
    if (connection_is_ready(&redis->connection)) { /* else again when it is */
        timer_set_after(timer, SAY_US);
        if (connection_has_room(redis, 1)) {
            say(redis);
        }
    }
}

void fleet_start(struct redis_store *redis)
{
    redis->fleet.fewer_us = 0;
    timer_set_after(&redis->fleet.timer, 0);
}
