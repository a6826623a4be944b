/*
 * The wheel of deadlines of a loop: 4096 slots of 8 ms, hashed by time, over
 * one libuv timer that is armed for the next occupied slot and for none when
 * all are empty. A slot also holds deadlines of later rounds; a visit links
 * them again. Callbacks may set and stop any timer, their own included.
 */
#include "io_internal.h"

#include "weir/base/clock.h"

static uint64_t slot_start_us(uint64_t at_us)
{
    return at_us - at_us % WHEEL_SLOT_US;
}

static size_t slot_index(uint64_t at_us)
{
    return (size_t)(at_us / WHEEL_SLOT_US) % WHEEL_SLOTS;
}

static void on_tick(uv_timer_t *handle);

static void wake_at(struct wheel *wheel, uint64_t at_us)
{
    uint64_t now_us = clock_now_us();
    uint64_t wait_ms = at_us > now_us ? (at_us - now_us + 999) / CLOCK_US_PER_MS : 0;

    wheel->wake_us = at_us;
    /* libuv counts from the start of its turn, which may be long ago. */
    uv_update_time(wheel->timer.loop);
    (void)uv_timer_start(&wheel->timer, on_tick, wait_ms, 0); /* fails only on a closing handle */
}

static void timer_link(struct wheel *wheel, struct timer *timer)
{
    uint64_t due_slot_us = slot_start_us(timer->due_us);
    uint64_t wake_us;
    size_t index;

    timer->slot_us = due_slot_us < wheel->base_us ? wheel->base_us : due_slot_us;
    index = slot_index(timer->slot_us);
    list_push_back(&wheel->slots[index], &timer->in_slot);
    wheel->occupied[index / 64] |= UINT64_C(1) << (index % 64);

    wake_us = timer->due_us <= wheel->base_us ? wheel->base_us : timer->slot_us + WHEEL_SLOT_US;
    if (!wheel->ticking && wake_us < wheel->wake_us) {
        wake_at(wheel, wake_us);
    }
}

static void timer_unlink(struct wheel *wheel, struct timer *timer)
{
    size_t index = slot_index(timer->slot_us);

    list_remove(&timer->in_slot);
    if (list_empty(&wheel->slots[index])) {
        wheel->occupied[index / 64] &= ~(UINT64_C(1) << (index % 64));
    }
}

/* How many slots after `index` the next occupied one is, at most SLOTS - 1; SLOTS: all are empty. */
static size_t occupied_distance(const struct wheel *wheel, size_t index)
{
    size_t word = index / 64;
    uint64_t bits = wheel->occupied[word] & (~UINT64_C(0) << (index % 64));

    for (size_t i = 0; i <= WHEEL_WORDS; i++) {
        if (bits != 0) {
            size_t found = word * 64 + (size_t)__builtin_ctzll(bits);
            return (found + WHEEL_SLOTS - index) % WHEEL_SLOTS;
        }
        word = (word + 1) % WHEEL_WORDS;
        bits = wheel->occupied[word];
    }
    return WHEEL_SLOTS;
}

static void wake_for_next(struct wheel *wheel)
{
    size_t distance = occupied_distance(wheel, slot_index(wheel->base_us));

    if (distance == WHEEL_SLOTS) {
        wheel->wake_us = WHEEL_NEVER;
        (void)uv_timer_stop(&wheel->timer); /* never fails */
        return;
    }
    wake_at(wheel, wheel->base_us + (distance + 1) * WHEEL_SLOT_US);
}

/* Moves the contents of every slot that has begun by `now_us` into `begun`, oldest slot first. */
static void slots_take(struct wheel *wheel, uint64_t now_us, struct list *begun)
{
    uint64_t last_us = slot_start_us(now_us);
    uint64_t left;

    if (last_us < wheel->base_us) {
        return;
    }
    left = (last_us - wheel->base_us) / WHEEL_SLOT_US + 1;
    if (left > WHEEL_SLOTS) {
        left = WHEEL_SLOTS;
    }
    for (size_t index = slot_index(wheel->base_us); left > 0;) {
        size_t distance = occupied_distance(wheel, index);
        if (distance >= left) {
            break;
        }
        index = (index + distance) % WHEEL_SLOTS;
        list_move_all(begun, &wheel->slots[index]);
        wheel->occupied[index / 64] &= ~(UINT64_C(1) << (index % 64));
        left -= distance;
    }
    wheel->base_us = last_us;
}

static void on_tick(uv_timer_t *handle)
{
    struct wheel *wheel = container_of(handle, struct wheel, timer);
    uint64_t now_us = clock_now_us();

    loop_event(handle->loop->data);
    struct list begun;
    struct timer *timer;

    list_init(&begun);
    wheel->ticking = true;
    slots_take(wheel, now_us, &begun);
    while ((timer = list_first(&begun, struct timer, in_slot)) != NULL) {
        list_remove(&timer->in_slot);
        if (timer->due_us > now_us) {
            timer_link(wheel, timer);
            continue;
        }
        loop_note_late(handle->loop->data, now_us - timer->due_us);
        timer->due_us = 0;
        wheel->armed_count--;
        timer->fire(timer);
    }
    wheel->ticking = false;
    wake_for_next(wheel);
}

void timer_init(struct timer *timer, struct loop *loop, timer_cb fire)
{
    list_init(&timer->in_slot);
    timer->loop = loop;
    timer->fire = fire;
    timer->due_us = 0;
    timer->slot_us = 0;
}

void timer_set(struct timer *timer, uint64_t due_us)
{
    struct wheel *wheel = &timer->loop->wheel;
    bool was_armed = timer->due_us != 0;

    timer->due_us = due_us == 0 ? 1 : due_us;
    if (was_armed) {
        if (timer->due_us >= timer->slot_us) {
            return; /* its slot comes up first, and then it is linked where it belongs */
        }
        timer_unlink(wheel, timer);
    } else if (wheel->armed_count++ == 0 && !wheel->ticking) {
        wheel->base_us = slot_start_us(clock_now_us());
    }
    timer_link(wheel, timer);
}

void timer_set_after(struct timer *timer, uint64_t delay_us)
{
    timer_set(timer, loop_now_us(timer->loop) + delay_us);
}

void timer_stop(struct timer *timer)
{
    struct wheel *wheel = &timer->loop->wheel;

    if (timer->due_us == 0) {
        return;
    }
    timer->due_us = 0;
    timer_unlink(wheel, timer);
    if (--wheel->armed_count == 0 && !wheel->ticking) {
        wheel->wake_us = WHEEL_NEVER;
        (void)uv_timer_stop(&wheel->timer); /* never fails */
    }
}

bool wheel_open(struct loop *loop)
{
    for (size_t i = 0; i < WHEEL_SLOTS; i++) {
        list_init(&loop->wheel.slots[i]);
    }
    loop->wheel.wake_us = WHEEL_NEVER;
    return uv_timer_init(&loop->uv, &loop->wheel.timer) == 0;
}

void wheel_close(struct loop *loop)
{
    uv_close((uv_handle_t *)&loop->wheel.timer, NULL);
}
