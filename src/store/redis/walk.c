/*
 * Records for operators: the open ones by their index, a slice of buckets at a
 * time, or every one by SCAN. Names are listed first, then looked at; the next
 * questions are asked when the last reply to these came, so that payments pass
 * between them.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define PAGE_RECORDS 256 /* of one bucket's index, and about so many of a step of SCAN */
#define LOOKS_MAX    512 /* records that are looked at in one step */
#define ALL_LISTED   UINT32_MAX

struct walk_name {
    struct list in_names;
    struct idem_name name;
};

static void on_step(struct deferred *deferred);

static struct store_walk *walk_of(struct redis_store *redis)
{
    return &redis->store.walk;
}

void walk_open(struct redis_store *redis)
{
    deferred_init(&redis->walk.step, on_step);
    list_init(&redis->walk.found);
    list_init(&redis->walk.looked);
}

static void drop_names(struct list *names)
{
    struct walk_name *name;
    while ((name = list_first(names, struct walk_name, in_names)) != NULL) {
        list_remove(&name->in_names);
        free(name);
    }
}

/* Replies that are still to come are of an earlier walk from now on. */
void walk_close(struct redis_store *redis)
{
    struct redis_walk *walk = &redis->walk;
    loop_undefer(&walk->step);
    walk->number++;
    walk->outstanding = 0;
    drop_names(&walk->found);
    drop_names(&walk->looked);
}

static void end_walk(struct redis_store *redis, bool whole)
{
    walk_close(redis);
    store_walk_over(walk_of(redis), whole);
}

static void step_soon(struct redis_store *redis)
{
    loop_defer(loop_of(redis), &redis->walk.step);
}

static void list_anew(struct redis_walk *walk, uint32_t bucket)
{
    walk->bucket = bucket;
    memset(walk->offsets, 0, sizeof walk->offsets);
}

bool redis_walk(struct store *store)
{
    struct redis_store *redis = redis_of(store);
    struct redis_walk *walk = &redis->walk;
    walk_close(redis);
    walk->broken = false;
    walk->listed = false;
    list_anew(walk, store->walk.has_prefix ? store->walk.prefix.bucket : 0);
    (void)snprintf(walk->cursor, sizeof walk->cursor, "0");
    step_soon(redis);
    return true;
}

void redis_walk_stop(struct store *store)
{
    walk_close(redis_of(store));
}

/* The replies that were owed will not come. */
void walk_on_lost(struct redis_store *redis)
{
    if (walk_of(redis)->active && !redis->closing) {
        redis->walk.broken = true;
        step_soon(redis);
    }
}

/* False: this reply is an earlier walk's, or none. */
static bool is_ours(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct redis_walk *walk = &redis->walk;
    if (reply == NULL || ask->number >> 16 != walk->number || !walk_of(redis)->active) {
        return false;
    }
    walk->outstanding--;
    if (walk->outstanding == 0) {
        step_soon(redis);
    }
    return true;
}

static void ask_own(struct redis_store *redis, ask_cb cb, uint32_t bucket)
{
    redis->walk.outstanding++;
    /* False: the connection was lost, which is handled. */
    (void)connection_ask(redis, cb, NULL, redis->walk.number << 16 | bucket);
}

/* ---- names ---- */

static void note_name(struct redis_store *redis, uint16_t bucket, struct bytes hash)
{
    struct walk_name *name = calloc(1, sizeof *name);
    if (name == NULL) {
        redis->walk.broken = true;
        return;
    }
    list_init(&name->in_names);
    name->name.bucket = bucket;
    if (hash_parse(hash, name->name.hash) && store_walk_wants(walk_of(redis), &name->name)) {
        list_push_back(&redis->walk.found, &name->in_names);
    } else {
        free(name); /* not a record's, or not wanted */
    }
}

static void on_page(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct redis_walk *walk = &redis->walk;
    uint32_t bucket = (uint32_t)(ask->number & UINT16_MAX);
    if (!is_ours(redis, ask, reply)) {
        return;
    }
    if (reply->kind != REPLY_ARRAY) {
        walk->broken = true;
        return;
    }
    for (int64_t i = 0; i < reply->integer; i++) {
        note_name(redis, (uint16_t)bucket, reply_at(reply, i)->text);
    }
    uint32_t *offset = &walk->offsets[bucket - walk->bucket];
    *offset = reply->integer < PAGE_RECORDS ? ALL_LISTED : *offset + PAGE_RECORDS;
}

static void ask_page(struct redis_store *redis, uint32_t bucket, uint32_t offset)
{
    struct out *out = &redis->connection.out;
    char key[REDIS_KEY_BYTES];
    out_command(out, 4);
    out_text(out, "ZRANGE");
    out_bytes(out, key_open((uint16_t)bucket, key));
    out_u64(out, offset);
    out_u64(out, offset + PAGE_RECORDS - 1);
    ask_own(redis, on_page, bucket);
}

/* The next page of each bucket of the slice that has one. */
static void list_slice(struct redis_store *redis, uint32_t end)
{
    struct redis_walk *walk = &redis->walk;
    for (uint32_t bucket = walk->bucket; bucket < end && connection_is_ready(&redis->connection); bucket++) {
        uint32_t offset = walk->offsets[bucket - walk->bucket];
        if (offset != ALL_LISTED) {
            ask_page(redis, bucket, offset);
        }
    }
}

static void list_open(struct redis_store *redis)
{
    struct redis_walk *walk = &redis->walk;
    uint32_t last = walk_of(redis)->has_prefix ? walk_of(redis)->prefix.bucket + 1u : IDEM_BUCKETS;
    while (walk->bucket < last && walk->outstanding == 0) {
        uint32_t end = walk->bucket + WALK_SLICE_BUCKETS < last ? walk->bucket + WALK_SLICE_BUCKETS : last;
        list_slice(redis, end);
        if (walk->outstanding == 0) {
            list_anew(walk, end);
        }
    }
    walk->listed = walk->outstanding == 0;
}

/* "w:{5}:i:0123..." */
static void note_key(struct redis_store *redis, struct bytes key)
{
    size_t end = bytes_find(key, '}');
    uint64_t bucket;
    if (bytes_starts_with(key, BYTES("w:{")) && end != SIZE_MAX &&
        bytes_to_u64(bytes_skip(bytes_take(key, end), 3), &bucket) && bucket < IDEM_BUCKETS &&
        bytes_starts_with(bytes_skip(key, end), BYTES("}:i:"))) {
        note_name(redis, (uint16_t)bucket, bytes_skip(key, end + 4));
    }
}

static void on_scanned(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct redis_walk *walk = &redis->walk;
    const struct reply *cursor, *keys;
    if (!is_ours(redis, ask, reply)) {
        return;
    }
    cursor = reply_at(reply, 0);
    keys = reply_at(reply, 1);
    if (cursor == NULL || keys == NULL || !reply_is_text(cursor) || cursor->text.len >= sizeof walk->cursor ||
        keys->kind != REPLY_ARRAY) {
        walk->broken = true;
        return;
    }
    (void)bytes_to_text(cursor->text, walk->cursor, sizeof walk->cursor);
    walk->listed = strcmp(walk->cursor, "0") == 0;
    for (int64_t i = 0; i < keys->integer; i++) {
        note_key(redis, reply_at(keys, i)->text);
    }
}

/* Of the prefix only whole bytes are told to the server; the names that come are looked at again. */
static void list_all(struct redis_store *redis)
{
    const struct store_walk *walk = walk_of(redis);
    struct out *out = &redis->connection.out;
    char pattern[REDIS_KEY_BYTES], hash[2 * IDEM_HASH_BYTES + 1];
    if (walk->has_prefix) {
        digest_hex(walk->prefix.hash, walk->hash_len, hash);
        (void)snprintf(pattern, sizeof pattern, "w:{%u}:i:%s*", walk->prefix.bucket, hash);
    } else {
        (void)snprintf(pattern, sizeof pattern, "w:{*}:i:*");
    }
    out_command(out, 6);
    out_text(out, "SCAN");
    out_text(out, redis->walk.cursor);
    out_text(out, "MATCH");
    out_text(out, pattern);
    out_text(out, "COUNT");
    out_u64(out, PAGE_RECORDS);
    ask_own(redis, on_scanned, 0);
}

/* ---- records ---- */

enum {
    AT_STATE,
    AT_PROCESSOR,
    AT_REQUEST_ID,
    AT_STATUS,
    AT_TAKEOVERS,
    AT_AMBIGUOUS,
    AT_ANSWER_KEPT,
    AT_BEGUN,
    AT_UNKNOWN,
    AT_DONE,
    AT_EXPIRES,
    AT_COUNT
};

/* False: the record is gone, or this is none. */
static bool record_read(const struct reply *reply, const struct idem_name *name, struct store_record *record,
                        char processor[IDEM_PROCESSOR_BYTES_MAX + 1], char request_id[IDEM_REQUEST_ID_BYTES + 1])
{
    const struct reply *e = reply + 1;
    if (reply->kind != REPLY_ARRAY || reply->integer != AT_COUNT) {
        return false;
    }
    for (int i = 0; i < AT_COUNT; i++) {
        if (e[i].kind != (i <= AT_REQUEST_ID ? REPLY_TEXT : REPLY_INTEGER) || e[i].integer < 0) {
            return false;
        }
    }
    (void)bytes_to_text(e[AT_PROCESSOR].text, processor, IDEM_PROCESSOR_BYTES_MAX + 1);
    (void)bytes_to_text(e[AT_REQUEST_ID].text, request_id, IDEM_REQUEST_ID_BYTES + 1);
    *record = (struct store_record){
        .name = *name,
        .processor = processor,
        .request_id = request_id,
        .status = (uint16_t)e[AT_STATUS].integer,
        .takeovers = (uint32_t)e[AT_TAKEOVERS].integer,
        .ambiguous = e[AT_AMBIGUOUS].integer != 0,
        .answer_kept = e[AT_ANSWER_KEPT].integer != 0,
        .begun_us = (uint64_t)e[AT_BEGUN].integer * CLOCK_US_PER_MS,
        .unknown_us = (uint64_t)e[AT_UNKNOWN].integer * CLOCK_US_PER_MS,
        .done_us = (uint64_t)e[AT_DONE].integer * CLOCK_US_PER_MS,
        .expires_us = (uint64_t)e[AT_EXPIRES].integer * CLOCK_US_PER_MS,
    };
    return state_read(e[AT_STATE].text, &record->state) && record->state != IDEM_ABSENT;
}

static void on_looked(struct redis_store *redis, const struct ask *ask, const struct reply *reply)
{
    struct redis_walk *walk = &redis->walk;
    struct walk_name *looked;
    struct store_record record;
    struct idem_name name;
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1], request_id[IDEM_REQUEST_ID_BYTES + 1];
    if (!is_ours(redis, ask, reply)) {
        return;
    }
    looked = list_first(&walk->looked, struct walk_name, in_names);
    CHECK(looked != NULL);
    name = looked->name;
    list_remove(&looked->in_names);
    free(looked);
    if (reply->kind == REPLY_ERROR) {
        redis->scripts[SCRIPT_LOOK].sha[0] = '\0'; /* next time by EVAL */
        walk->broken = true;
    } else if (record_read(reply, &name, &record, processor, request_id) && !store_walk_tell(walk_of(redis), &record) &&
               walk_of(redis)->active) {
        end_walk(redis, true); /* it has seen enough */
    }
}

static void look_at_found(struct redis_store *redis)
{
    struct redis_walk *walk = &redis->walk;
    struct out *out = &redis->connection.out;
    struct walk_name *name;
    char key[REDIS_KEY_BYTES];
    while (walk->outstanding < LOOKS_MAX && connection_is_ready(&redis->connection) &&
           (name = list_first(&walk->found, struct walk_name, in_names)) != NULL) {
        list_remove(&name->in_names);
        list_push_back(&walk->looked, &name->in_names);
        script_command(out, &redis->scripts[SCRIPT_LOOK], false, 3, 0);
        out_bytes(out, key_record(&name->name, key));
        out_bytes(out, key_answer(&name->name, key));
        out_bytes(out, key_open(name->name.bucket, key));
        ask_own(redis, on_looked, name->name.bucket);
    }
}

/* ---- one step ---- */

static void on_step(struct deferred *deferred)
{
    struct redis_store *redis = container_of(deferred, struct redis_store, walk.step);
    struct redis_walk *walk = &redis->walk;
    if (!walk_of(redis)->active) {
        return;
    }
    if (walk->broken || !connection_is_ready(&redis->connection) || !connection_has_room(redis, LOOKS_MAX)) {
        end_walk(redis, false);
        return;
    }
    if (!list_empty(&walk->found)) {
        look_at_found(redis);
    } else if (!walk->listed && walk_of(redis)->scope == STORE_WALK_OPEN) {
        list_open(redis);
    } else if (!walk->listed) {
        list_all(redis);
    }
    if (walk->outstanding == 0 && !walk->broken) {
        end_walk(redis, true); /* nothing was left to ask */
    }
}
