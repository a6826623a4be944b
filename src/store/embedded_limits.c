/*
 * The buckets of the embedded store, in memory. The store's thread charges them
 * for the payments that it begins, inside of its transaction, and takes the
 * charges back with it; the loop asks them for everything else, and waits for
 * no disk. Both at once: each takes the lock for as long as it looks at a few
 * buckets, and reads the clock under it, so that time never goes back for one.
 *
 *   slots   who the buckets are of, and what they owe; never more than EMBEDDED_BUCKETS_MAX
 *   heads   chains of slots by hash
 *   heap    all slots by when their debt is paid: the first is the next to be used again
 *   undo    what the buckets of the transaction under way would be without it
 *
 * A slot is used again when its debt is paid: a bucket that owes nothing is as
 * good as none. Where all are taken and owe, the one that is nearest to being
 * paid is given up, and counted. Nothing is allocated but at open, and memory is
 * touched as far as it is needed.
 */
#include "embedded_internal.h"

#include <pthread.h>
#include <stdlib.h>

#include "weir/base/clock.h"

/* Chains are short. A power of two. */
#define HEADS (2 * EMBEDDED_BUCKETS_MAX)
/* Each operation of a transaction charges so many at most. */
#define UNDO_MAX (EMBEDDED_BATCH_MAX * LIMITS_MAX)
/* No slot. */
#define NONE UINT32_MAX

struct slot {
    struct limit_bucket bucket;
    uint64_t touched_by; /* the number of the transaction that touched it last; 0: none */
    uint32_t undo_at;    /* in that transaction's undo */
    uint32_t next;       /* in its chain; NONE: the last */
    uint32_t heap_at;
    uint16_t bucket_number;
    uint8_t limit_len;
    uint8_t hash[LIMIT_HASH_BYTES];
    char limit[STORE_LIMIT_NAME_BYTES_MAX];
};

struct heap_node {
    uint64_t over_us; /* when the debt is paid */
    uint32_t slot;
};

struct undo {
    uint32_t slot; /* NONE: it was given to another caller since */
    struct limit_bucket bucket;
    uint64_t over_us;
};

struct embedded_limits {
    pthread_mutex_t lock; /* guards all that follows */
    struct slot *slots;
    struct heap_node *heap;
    uint32_t *heads; /* the first slot of a chain and 1; 0: none */
    uint32_t count;  /* slots in use, from the first; all are in the heap */
    uint64_t transaction; /* the number of the one under way, or of the next */
    struct undo *undo;
    uint32_t undo_count;
    _Atomic uint64_t evicted; /* read without the lock */
};

/* ---- open and close ---- */

struct embedded_limits *embedded_limits_open(void)
{
    struct embedded_limits *limits = calloc(1, sizeof *limits);
    if (limits == NULL) {
        return NULL;
    }
    (void)pthread_mutex_init(&limits->lock, NULL); /* with default attributes it does not fail on Linux */
    limits->transaction = 1;
    limits->slots = calloc(EMBEDDED_BUCKETS_MAX, sizeof *limits->slots);
    limits->heap = calloc(EMBEDDED_BUCKETS_MAX, sizeof *limits->heap);
    limits->heads = calloc(HEADS, sizeof *limits->heads);
    limits->undo = calloc(UNDO_MAX, sizeof *limits->undo);
    if (limits->slots == NULL || limits->heap == NULL || limits->heads == NULL || limits->undo == NULL) {
        embedded_limits_close(limits);
        return NULL;
    }
    return limits;
}

void embedded_limits_close(struct embedded_limits *limits)
{
    if (limits == NULL) {
        return;
    }
    (void)pthread_mutex_destroy(&limits->lock);
    free(limits->slots);
    free(limits->heap);
    free(limits->heads);
    free(limits->undo);
    free(limits);
}

static void lock(struct embedded_limits *limits)
{
    (void)pthread_mutex_lock(&limits->lock); /* a plain mutex of ours: it cannot fail */
}

static void unlock(struct embedded_limits *limits)
{
    (void)pthread_mutex_unlock(&limits->lock);
}

/* ---- the heap: whose debt is paid first ---- */

static void heap_put(struct embedded_limits *limits, uint32_t at, struct heap_node node)
{
    limits->heap[at] = node;
    limits->slots[node.slot].heap_at = at;
}

static void heap_up(struct embedded_limits *limits, uint32_t at, struct heap_node node)
{
    while (at > 0 && limits->heap[(at - 1) / 2].over_us > node.over_us) {
        heap_put(limits, at, limits->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(limits, at, node);
}

static void heap_down(struct embedded_limits *limits, uint32_t at, struct heap_node node)
{
    for (uint32_t child = 2 * at + 1; child < limits->count; child = 2 * at + 1) {
        if (child + 1 < limits->count && limits->heap[child + 1].over_us < limits->heap[child].over_us) {
            child++;
        }
        if (limits->heap[child].over_us >= node.over_us) {
            break;
        }
        heap_put(limits, at, limits->heap[child]);
        at = child;
    }
    heap_put(limits, at, node);
}

static void set_over(struct embedded_limits *limits, uint32_t number, uint64_t over_us)
{
    uint32_t at = limits->slots[number].heap_at;
    uint64_t before_us = limits->heap[at].over_us;
    const struct heap_node node = {over_us, number};
    if (over_us > before_us) {
        heap_down(limits, at, node);
    } else if (over_us < before_us) {
        heap_up(limits, at, node);
    }
}

/* ---- finding a caller's slot ---- */

/* Of who the caller is only a keyed hash is here, which nobody can choose; the limit's name tells the limits of one caller apart. */
static uint32_t *head_of(struct embedded_limits *limits, const uint8_t hash[LIMIT_HASH_BYTES], struct bytes limit)
{
    uint64_t mixed;
    memcpy(&mixed, hash, sizeof mixed);
    for (size_t i = 0; i < limit.len; i++) {
        mixed = (mixed ^ (uint8_t)limit.at[i]) * UINT64_C(0x9e3779b97f4a7c15);
    }
    return &limits->heads[(mixed >> 32) & (HEADS - 1)];
}

static bool is_of(const struct slot *slot, const struct limit_ref *ref)
{
    return memcmp(slot->hash, ref->hash, sizeof slot->hash) == 0 && slot->bucket_number == ref->bucket &&
           bytes_equal(bytes_of(slot->limit, slot->limit_len), ref->limit);
}

static uint32_t find(struct embedded_limits *limits, const struct limit_ref *ref)
{
    uint32_t number = *head_of(limits, ref->hash, ref->limit) - 1; /* of 0: NONE */
    while (number != NONE && !is_of(&limits->slots[number], ref)) {
        number = limits->slots[number].next;
    }
    return number;
}

/* ---- making one ---- */

static void unchain(struct embedded_limits *limits, uint32_t number)
{
    struct slot *slot = &limits->slots[number];
    uint32_t *head = head_of(limits, slot->hash, bytes_of(slot->limit, slot->limit_len));
    if (*head == number + 1) {
        *head = slot->next + 1;
        return;
    }
    struct slot *before = &limits->slots[*head - 1];
    while (before->next != number) {
        before = &limits->slots[before->next];
    }
    before->next = slot->next;
}

/* NULL: the transaction under way, if there is one, did not touch it. */
static struct undo *undo_of(struct embedded_limits *limits, const struct slot *slot)
{
    return slot->touched_by == limits->transaction ? &limits->undo[slot->undo_at] : NULL;
}

/* The slot whose debt is paid first changes hands, and owes nothing. */
static uint32_t take_first(struct embedded_limits *limits)
{
    uint32_t number = limits->heap[0].slot;
    struct undo *undo = undo_of(limits, &limits->slots[number]);
    limits->heap[0].over_us = 0;
    unchain(limits, number);
    if (undo != NULL) {
        undo->slot = NONE;
    }
    return number;
}

static uint32_t take_slot(struct embedded_limits *limits, uint64_t now_us)
{
    bool first_is_paid = limits->count > 0 && limits->heap[0].over_us <= now_us;
    if (first_is_paid || limits->count == EMBEDDED_BUCKETS_MAX) {
        limits->evicted += first_is_paid ? 0 : 1;
        return take_first(limits);
    }
    uint32_t number = limits->count++;
    heap_up(limits, number, (struct heap_node){0, number});
    return number;
}

static uint32_t make(struct embedded_limits *limits, const struct limit_ref *ref, uint64_t now_us)
{
    uint32_t number = take_slot(limits, now_us);
    uint32_t *head = head_of(limits, ref->hash, ref->limit);
    struct slot *slot = &limits->slots[number];
    CHECK(ref->limit.len <= sizeof slot->limit);
    slot->bucket = (struct limit_bucket){0};
    slot->touched_by = 0;
    slot->next = *head - 1;
    slot->bucket_number = ref->bucket;
    slot->limit_len = (uint8_t)ref->limit.len;
    memcpy(slot->hash, ref->hash, sizeof slot->hash);
    memcpy(slot->limit, ref->limit.at, ref->limit.len);
    *head = number + 1;
    return number;
}

/* ---- buckets, looked at and changed ---- */

static struct limit_bucket look(struct embedded_limits *limits, const struct limit_ref *ref)
{
    uint32_t number = find(limits, ref);
    return number == NONE ? (struct limit_bucket){0} : limits->slots[number].bucket;
}

static bool is_same(const struct limit_bucket *one, const struct limit_bucket *other)
{
    return one->debt == other->debt && one->last_us == other->last_us && one->units == other->units;
}

static void set_bucket(struct embedded_limits *limits, uint32_t number, const struct limit_bucket *bucket,
                       const struct limit_rate *rate)
{
    limits->slots[number].bucket = *bucket;
    set_over(limits, number, limit_over_us(bucket, rate));
}

/* ---- the thread: in a transaction ---- */

/* What the bucket is without the transaction, before that touches it for the first time. */
static void note(struct embedded_limits *limits, uint32_t number)
{
    struct slot *slot = &limits->slots[number];
    if (undo_of(limits, slot) == NULL) {
        CHECK(limits->undo_count < UNDO_MAX);
        slot->touched_by = limits->transaction;
        slot->undo_at = limits->undo_count++;
        limits->undo[slot->undo_at] = (struct undo){number, slot->bucket, limits->heap[slot->heap_at].over_us};
    }
}

static void save(struct embedded_limits *limits, const struct limit_ref *ref, const struct limit_bucket *bucket,
                 uint64_t now_us)
{
    uint32_t number = find(limits, ref);
    if (number == NONE) {
        number = make(limits, ref, now_us);
    }
    note(limits, number);
    set_bucket(limits, number, bucket, &ref->ask.rate);
}

bool embedded_limits_admit(struct embedded_limits *limits, const struct limit_ref *refs, int count,
                           struct limit_told told[])
{
    WEIR_SCRATCH struct limit_bucket befores[LIMITS_MAX], afters[LIMITS_MAX];
    WEIR_SCRATCH struct limit_bucket *buckets[LIMITS_MAX];
    WEIR_SCRATCH struct limit_ask asks[LIMITS_MAX];
    CHECK(count <= LIMITS_MAX);
    lock(limits);
    uint64_t now_us = clock_now_us();
    for (int i = 0; i < count; i++) {
        befores[i] = afters[i] = look(limits, &refs[i]);
        buckets[i] = &afters[i];
        asks[i] = refs[i].ask;
    }
    bool admitted = limit_apply(buckets, asks, count, now_us, told);
    for (int i = 0; i < count; i++) {
        if (!is_same(&befores[i], &afters[i])) {
            save(limits, &refs[i], &afters[i], now_us);
        }
    }
    unlock(limits);
    return admitted;
}

/* One at a time: the loop does not wait for all of them. */
static bool take_one_back(struct embedded_limits *limits)
{
    lock(limits);
    bool is_there = limits->undo_count > 0;
    const struct undo *undo = is_there ? &limits->undo[--limits->undo_count] : NULL;
    if (is_there && undo->slot != NONE) {
        limits->slots[undo->slot].bucket = undo->bucket;
        limits->slots[undo->slot].touched_by = 0;
        set_over(limits, undo->slot, undo->over_us);
    }
    unlock(limits);
    return is_there;
}

void embedded_limits_end(struct embedded_limits *limits, bool committed)
{
    while (!committed && take_one_back(limits)) {
    }
    lock(limits);
    limits->undo_count = 0;
    limits->transaction++;
    unlock(limits);
}

/* ---- the loop: a limit alone ---- */

static uint64_t charge(struct limit_bucket *bucket, const struct limit_ask *ask, uint64_t want, uint64_t now_us,
                       struct limit_told *told)
{
    struct limit_bucket *buckets[] = {bucket};
    if ((ask->flags & (LIMIT_CHECK | LIMIT_FORCE)) == 0) {
        return limit_prepay(bucket, &ask->rate, want, now_us, told);
    }
    (void)limit_apply(buckets, ask, 1, now_us, told); /* told says it, a shadow's too */
    return (ask->flags & LIMIT_CHECK) != 0 && told->fits ? 1 : 0;
}

/*
 * What is charged while a transaction runs that has touched the bucket stays charged when that is taken back. By force:
 * with one rate there is room, since no more is owed without the transaction than with it.
 */
static void charge_undo(struct undo *undo, const struct limit_ask *ask, uint64_t granted, uint64_t now_us)
{
    struct limit_bucket *buckets[] = {&undo->bucket};
    struct limit_ask again = *ask;
    struct limit_told told;
    again.cost = (ask->flags & LIMIT_FORCE) != 0 ? ask->cost : granted;
    again.flags = LIMIT_FORCE;
    (void)limit_apply(buckets, &again, 1, now_us, &told); /* it fits */
    undo->over_us = limit_over_us(&undo->bucket, &ask->rate);
}

uint64_t embedded_limits_ask(struct embedded_limits *limits, const struct limit_ref *ref, uint64_t want,
                             struct limit_told *told)
{
    if (pthread_mutex_trylock(&limits->lock) != 0) {
        return EMBEDDED_LIMITS_BUSY;
    }
    uint64_t now_us = clock_now_us();
    uint32_t number = find(limits, ref);
    struct limit_bucket before = number == NONE ? (struct limit_bucket){0} : limits->slots[number].bucket;
    struct limit_bucket after = before;
    uint64_t granted = charge(&after, &ref->ask, want, now_us, told);
    struct undo *undo = number == NONE ? NULL : undo_of(limits, &limits->slots[number]);
    if (undo != NULL && (ref->ask.flags & LIMIT_CHECK) == 0) {
        charge_undo(undo, &ref->ask, granted, now_us); /* there may be a difference there where there is none here */
    }
    if (!is_same(&before, &after)) {
        number = number == NONE ? make(limits, ref, now_us) : number;
        set_bucket(limits, number, &after, &ref->ask.rate);
    }
    unlock(limits);
    return granted;
}

uint64_t embedded_limits_evicted(const struct embedded_limits *limits)
{
    return atomic_load(&limits->evicted);
}
