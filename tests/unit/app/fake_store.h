/*
 * A store for the tests of this layer: it holds a list of records, tells them
 * as a walk of its own turn, and answers resolves as the test wishes. It stands
 * in for weir_store, whose functions it defines.
 */
#ifndef WEIR_FAKE_STORE_H
#define WEIR_FAKE_STORE_H

#include "io/io_support.h"

#include "weir/store/store.h"

#define FAKE_RECORDS_MAX 5000

struct store_walk {
    struct deferred step;
    enum store_walk_scope scope;
    bool by_name;
    struct idem_name prefix;
    size_t hash_len;
    store_walk_each each;
    store_walk_end end;
    void *owner;
    bool active;
};

struct store_call {
    struct deferred step;
    struct idem_op op;
    store_done done;
    void *owner;
    bool active;
};

static struct fake_store {
    struct loop *loop;
    struct store_record records[FAKE_RECORDS_MAX];
    bool open[FAKE_RECORDS_MAX]; /* in the index of open ones */
    size_t count;
    struct store_walk walk;
    bool refuse_walks; /* another one is under way */
    bool break_walks;  /* they end, not whole */
    bool hold_walks;   /* they do not end */
    int walks_begun, walks_stopped;
    struct store_call call;
    int asks;
    bool refuse_asks, hold_asks;
    enum store_status status; /* of the answer to asks */
    struct idem_result result;
    struct store_state state;
    int losses_accepted;
    int opens, renews, closes;
    struct store_options opened_with;
    bool refuse_opens; /* the files cannot be opened */
    bool is_other;     /* the configuration asks for another store */
    uint32_t close_wait_ms;
    struct deferred closing;
    void (*closed)(void *owner);
    void *closed_owner;
} fake;

static inline void fake_tell(struct deferred *deferred)
{
    struct store_walk *walk = container_of(deferred, struct store_walk, step);
    bool more = true;
    if (fake.hold_walks) {
        return;
    }
    for (size_t i = 0; more && !fake.break_walks && i < fake.count; i++) {
        const struct idem_name *name = &fake.records[i].name;
        bool named = !walk->by_name || (name->bucket == walk->prefix.bucket &&
                                        memcmp(name->hash, walk->prefix.hash, walk->hash_len) == 0);
        if (named && (walk->scope == STORE_WALK_ALL || fake.open[i])) {
            more = walk->each(walk->owner, &fake.records[i]);
        }
    }
    walk->active = false;
    walk->end(walk->owner, !fake.break_walks);
}

struct store_walk *store_walk(struct store *store, enum store_walk_scope scope, const struct idem_name *prefix,
                              size_t hash_len, store_walk_each each, store_walk_end end, void *owner)
{
    struct store_walk *walk = &fake.walk;
    (void)store;
    if (fake.refuse_walks || walk->active) {
        return NULL;
    }
    fake.walks_begun++;
    *walk = (struct store_walk){.scope = scope,
                                .each = each,
                                .end = end,
                                .owner = owner,
                                .active = true,
                                .by_name = prefix != NULL,
                                .hash_len = hash_len};
    if (prefix != NULL) {
        walk->prefix = *prefix;
    }
    deferred_init(&walk->step, fake_tell);
    loop_defer(fake.loop, &walk->step);
    return walk;
}

void store_walk_stop(struct store_walk *walk)
{
    assert_true(walk->active);
    walk->active = false;
    fake.walks_stopped++;
    loop_undefer(&walk->step);
}

static inline void fake_answer(struct deferred *deferred)
{
    struct store_call *call = container_of(deferred, struct store_call, step);
    if (!fake.hold_asks && call->active) {
        call->active = false;
        call->done(call->owner, fake.status, fake.status == STORE_OK ? &fake.result : NULL);
    }
}

struct store_call *store_ask(struct store *store, const struct idem_op *op, bool durable, uint32_t timeout_ms,
                             store_done done, void *owner)
{
    (void)store;
    (void)durable;
    (void)timeout_ms;
    if (fake.refuse_asks) {
        return NULL;
    }
    fake.asks++;
    fake.call = (struct store_call){.op = *op, .done = done, .owner = owner, .active = true};
    deferred_init(&fake.call.step, fake_answer);
    loop_defer(fake.loop, &fake.call.step);
    return &fake.call;
}

void store_state(const struct store *store, struct store_state *state)
{
    (void)store;
    *state = fake.state;
}

void store_accept_loss(struct store *store)
{
    (void)store;
    fake.losses_accepted++;
    fake.state.durable = true;
    fake.state.not_durable = NULL;
}

struct store *store_open(const struct conf_store *conf, const struct store_options *options, char *why, size_t size)
{
    (void)conf;
    if (fake.refuse_opens) {
        snprintf(why, size, "another process has it open");
        return NULL;
    }
    fake.opens++;
    fake.opened_with = *options;
    return (struct store *)&fake;
}

bool store_is(const struct store *store, const struct conf_store *conf)
{
    (void)store;
    (void)conf;
    return !fake.is_other;
}

void store_renew(struct store *store, const struct conf_store *conf)
{
    (void)store;
    (void)conf;
    fake.renews++;
}

static inline void fake_closed(struct deferred *deferred)
{
    (void)deferred;
    fake.closed(fake.closed_owner);
}

void store_close(struct store *store, uint32_t wait_ms, void (*closed)(void *owner), void *owner)
{
    (void)store;
    fake.closes++;
    fake.close_wait_ms = wait_ms;
    fake.closed = closed;
    fake.closed_owner = owner;
    deferred_init(&fake.closing, fake_closed);
    loop_defer(fake.loop, &fake.closing);
}

void store_forget(struct store_call *call)
{
    call->active = false;
}

/* Limits are no matter of these tests: nobody is asked, and this weir is alone. */
struct store_limit_call *store_limit(struct store *store, const struct limit_ref *ref, uint64_t want, uint32_t timeout_ms,
                                     store_limit_done done, void *owner)
{
    (void)store;
    (void)ref;
    (void)want;
    (void)timeout_ms;
    (void)done;
    (void)owner;
    return NULL;
}

void store_limit_forget(struct store_limit_call *call)
{
    (void)call;
}

uint32_t store_fleet(const struct store *store)
{
    (void)store;
    return 1;
}

const char *store_trouble(const struct store *store, bool durable)
{
    (void)store;
    (void)durable;
    return NULL;
}

const char *store_status_name(enum store_status status)
{
    (void)status;
    return "";
}

/* A place for `struct store *`: nobody looks into it. */
static inline struct store *fake_open(struct loop *loop)
{
    memset(&fake, 0, sizeof(fake));
    fake.loop = loop;
    fake.state = (struct store_state){.type = "embedded", .up = true, .ever_up = true, .durable = true};
    return (struct store *)&fake;
}

/* A record whose name is bucket 0x1a3, `first`, `last` and zeroes between. */
static inline struct store_record *fake_add(uint8_t first, uint8_t last, enum idem_state state, const char *request_id)
{
    assert_true(fake.count < FAKE_RECORDS_MAX);
    struct store_record *record = &fake.records[fake.count];
    *record = (struct store_record){.state = state,
                                    .processor = "acme",
                                    .request_id = request_id,
                                    .begun_us = clock_wall_us() - 60 * CLOCK_US_PER_S};
    record->name.bucket = 0x1a3;
    record->name.hash[0] = first;
    record->name.hash[IDEM_HASH_BYTES - 1] = last;
    fake.open[fake.count++] = state != IDEM_DONE;
    return record;
}

#endif
