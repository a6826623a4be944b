/*
 * The sweep: every bucket every few seconds, a slice of them at a time. The
 * script counts what nobody holds and names what is to lapse; each of these is
 * asked for like any other operation, so that what comes of it is told once,
 * whichever weir came first. Many weirs may sweep one store.
 */
#include "redis_internal.h"

#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define SWEEP_US         (5 * CLOCK_US_PER_S)
#define SLICE_US         (SWEEP_US / SWEEP_SLICES)
#define PAGE_RECORDS     64
#define LAPSES_MAX       256 /* asked for by one slice; what is more waits for the next sweep */
#define LAPSE_MARGIN_MS  6000 /* a little more than a sweep: an unknown is ended while its record can still be told of */
#define LAPSE_TIMEOUT_MS 30000

static void on_timer(struct timer *timer);

void sweep_open(struct redis_store *redis)
{
    timer_init(&redis->sweep.timer, loop_of(redis), on_timer);
}

void sweep_start(struct redis_store *redis)
{
    /* Weirs that are started together need not sweep together. */
    uint16_t random;
    digest_random(&random, sizeof random);
    redis->sweep.slice = random % SWEEP_SLICES;
    timer_set_after(&redis->sweep.timer, SLICE_US);
}

void sweep_close(struct redis_store *redis)
{
    timer_stop(&redis->sweep.timer);
}

static void ask_lapse(struct redis_store *redis, uint16_t bucket, struct bytes hash)
{
    struct idem_op op = {.kind = IDEM_LAPSE, .how = IDEM_HOW_EXPIRED, .margin_ms = LAPSE_MARGIN_MS};
    struct store_call *call;
    op.name.bucket = bucket;
    if (redis->sweep.lapses >= LAPSES_MAX || !hash_parse(hash, op.name.hash)) {
        return;
    }
    redis->sweep.lapses++;
    call = store_ask(&redis->store, &op, false, LAPSE_TIMEOUT_MS, NULL, NULL);
    (void)call; /* NULL: refused, and counted; the next sweep asks again */
}

/* count, oldest, records in the page, then the names that are to lapse */
static bool is_shaped(const struct reply *reply)
{
    if (reply->kind != REPLY_ARRAY || reply->integer < 3) {
        return false;
    }
    for (int64_t i = 0; i < reply->integer; i++) {
        const struct reply *element = reply_at(reply, i);
        if (element->kind != (i < 3 ? REPLY_INTEGER : REPLY_TEXT) || element->integer < 0) {
            return false;
        }
    }
    return true;
}

static void on_bucket(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    uint16_t bucket = (uint16_t)ask->number;
    uint64_t count, oldest_ms, page;
    if (reply == NULL || !is_shaped(reply)) {
        if (reply != NULL && reply->kind == REPLY_ERROR) {
            redis->scripts[SCRIPT_SWEEP].sha[0] = '\0'; /* next time by EVAL */
        }
        return;
    }
    count = (uint64_t)reply_at(reply, 0)->integer;
    oldest_ms = (uint64_t)reply_at(reply, 1)->integer;
    page = (uint64_t)reply_at(reply, 2)->integer;
    store_unknowns_set(&redis->store, bucket, count < UINT32_MAX ? (uint32_t)count : UINT32_MAX,
                       oldest_ms * CLOCK_US_PER_MS);
    redis->sweep.offsets[bucket] = page < PAGE_RECORDS ? 0 : redis->sweep.offsets[bucket] + PAGE_RECORDS;
    for (int64_t i = 3; i < reply->integer; i++) {
        ask_lapse(redis, bucket, reply_at(reply, i)->text);
    }
}

static void ask_bucket(struct redis_store *redis, uint16_t bucket)
{
    struct out *out = &redis->connection.out;
    char key[REDIS_KEY_BYTES];
    script_command(out, &redis->scripts[SCRIPT_SWEEP], false, 1, 3);
    out_bytes(out, key_open(bucket, key));
    out_u64(out, LAPSE_MARGIN_MS);
    out_u64(out, redis->sweep.offsets[bucket]);
    out_u64(out, PAGE_RECORDS);
    (void)connection_ask(redis, on_bucket, NULL, bucket); /* false: the connection was lost, which is handled */
}

static void on_timer(struct timer *timer)
{
    struct redis_store *redis = container_of(timer, struct redis_store, sweep.timer);
    struct sweep *sweep = &redis->sweep;
    uint32_t first = sweep->slice * SWEEP_SLICE_BUCKETS;
    timer_set_after(timer, SLICE_US);
    if (!connection_is_ready(&redis->connection) || !connection_has_room(redis, SWEEP_SLICE_BUCKETS)) {
        return;
    }
    sweep->lapses = 0;
    for (uint32_t i = 0; i < SWEEP_SLICE_BUCKETS && connection_is_ready(&redis->connection); i++) {
        ask_bucket(redis, (uint16_t)(first + (i + sweep->spin) % SWEEP_SLICE_BUCKETS));
    }
    sweep->slice = (sweep->slice + 1) % SWEEP_SLICES;
    sweep->spin = sweep->slice == 0 ? sweep->spin + 7 : sweep->spin; /* no bucket is always the last to have its turn */
}
