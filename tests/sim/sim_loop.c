/*
 * Loops, their timers and their resolvers (io/loop.h, io/timer.h, io/resolve.h)
 * over the world's clock. A turn keeps libuv's order, which the gate relies on:
 * timers, events, what was deferred, what was closed. Time moves between turns,
 * and a little within one. All weirs turn together, but those that are dead or
 * stand still; one that is stopped in the middle of its turn stays there, and
 * the world turns on inside.
 */
#include "sim.h"

#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/io/resolve.h"
#include "weir/io/timer.h"
#include "weir/io/tls.h"

#define TIMER_LATE_US_MAX 8000 /* a slot of the real wheel */
#define EVENTS_PER_TURN_MAX 6
#define SETTLE_TURNS 24

struct loop {
    struct sim_weir *weir;
    struct list deferred;
    struct list closing;   /* of struct stream */
    struct list timers;    /* armed, in no order */
    size_t timer_count;
    struct blocks blocks;
    bool stopped;
};

/* ---- the loop ---- */

struct loop *loop_open(size_t buffers_bytes)
{
    struct loop *loop = calloc(1, sizeof *loop);
    CHECK(loop != NULL && sim.weir != NULL);
    loop->weir = sim.weir;
    list_init(&loop->deferred);
    list_init(&loop->closing);
    list_init(&loop->timers);
    blocks_init(&loop->blocks, buffers_bytes, 16);
    return loop;
}

struct blocks *loop_blocks(struct loop *loop)
{
    return &loop->blocks;
}

uint64_t loop_now_us(struct loop *loop)
{
    (void)loop;
    return sim.now_us;
}

uint64_t loop_waited_us(struct loop *loop)
{
    return loop->weir->overloaded ? sim_below(100 * SIM_MS) : 0;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

/* A turn takes no time here, and nobody waits for another: how a loop fares is the seed's to say. */
void loop_load_take(struct loop *loop, struct loop_load *load)
{
    struct sim_weir *weir = loop->weir;
    *load = (struct loop_load){0};
    if (sim.weather.overload > 0 && sim.now_us >= weir->overload_us) {
        weir->overloaded = sim_chance(sim.weather.overload);
        weir->overload_us = sim.now_us + sim_between(100 * SIM_MS, 6 * SIM_S);
    }
    if (sim.weather.overload > 0 && weir->overloaded) {
        load->delay_us = sim_between(5 * SIM_MS, 50 * SIM_MS);
        load->busy_permille = (uint32_t)sim_between(950, 1000);
    }
}

void deferred_init(struct deferred *deferred, void (*run)(struct deferred *deferred))
{
    list_init(&deferred->in_deferred);
    deferred->run = run;
}

void loop_defer(struct loop *loop, struct deferred *deferred)
{
    if (!list_linked(&deferred->in_deferred)) {
        list_push_back(&loop->deferred, &deferred->in_deferred);
    }
}

void loop_undefer(struct deferred *deferred)
{
    list_remove(&deferred->in_deferred);
}

void sim_loop_closing(struct loop *loop, struct list *in_closing)
{
    list_push_back(&loop->closing, in_closing);
}

size_t sim_timers_armed(const struct loop *loop)
{
    return loop->timer_count;
}

struct sim_weir *sim_loop_weir(const struct loop *loop)
{
    return loop->weir;
}

/* Nothing is deferred and nothing closing: the next turn waits. */
static bool is_settled(const struct loop *loop)
{
    return list_empty(&loop->deferred) && list_empty(&loop->closing);
}

/* ---- timers ---- */

static void timer_unlink(struct timer *timer)
{
    list_remove(&timer->in_slot);
    timer->due_us = 0;
    timer->loop->timer_count--;
}

void timer_init(struct timer *timer, struct loop *loop, timer_cb fire)
{
    *timer = (struct timer){.loop = loop, .fire = fire};
    list_init(&timer->in_slot);
}

void timer_set(struct timer *timer, uint64_t due_us)
{
    if (timer->due_us != 0) {
        timer_unlink(timer);
    }
    timer->due_us = due_us == 0 ? 1 : due_us;
    timer->slot_us = (timer->due_us > sim.now_us ? timer->due_us : sim.now_us) + sim_below(TIMER_LATE_US_MAX);
    list_push_back(&timer->loop->timers, &timer->in_slot);
    timer->loop->timer_count++;
}

void timer_set_after(struct timer *timer, uint64_t delay_us)
{
    timer_set(timer, sim.now_us + delay_us);
}

void timer_stop(struct timer *timer)
{
    if (timer->due_us != 0) {
        timer_unlink(timer);
    }
}

/* ---- a turn ---- */

static void run_timers(struct loop *loop)
{
    struct list due;
    list_init(&due);
    list_each (timer, after, &loop->timers, struct timer, in_slot) {
        if (timer->slot_us <= sim.now_us) {
            list_remove(&timer->in_slot);
            if (sim_chance(50)) {
                list_push_back(&due, &timer->in_slot);
            } else {
                list_push_front(&due, &timer->in_slot);
            }
        }
    }
    struct timer *timer;
    while ((timer = list_first(&due, struct timer, in_slot)) != NULL) {
        timer_unlink(timer);
        sim.step++;
        sim_note("timer", loop->timer_count, 0, 0);
        timer->fire(timer);
    }
}

/* What happens to a weir that is dead happens no more; to one that stands still, when it goes on. */
static bool is_seen(struct sim_event *event)
{
    const struct sim_weir *weir = event->weir;
    if (weir == NULL || !(weir->dead || weir->frozen)) {
        return true;
    }
    if (!weir->dead) {
        sim_at(event, weir->thaws_at_us + sim_below(50));
    }
    return false;
}

static void run_events(void)
{
    uint64_t left = sim_between(1, EVENTS_PER_TURN_MAX);
    struct sim_event *event;
    while (left-- > 0 && (event = sim_next()) != NULL && event->due_us <= sim.now_us) {
        sim_cancel(event);
        if (is_seen(event)) {
            struct sim_weir *before = sim.weir;
            sim.step++;
            sim.weir = event->weir;
            event->fire(event);
            sim.weir = before;
        }
    }
}

static void run_deferred(struct loop *loop)
{
    struct list now;
    struct deferred *deferred;
    list_init(&now);
    list_move_all(&now, &loop->deferred);
    while ((deferred = list_first(&now, struct deferred, in_deferred)) != NULL) {
        list_remove(&deferred->in_deferred);
        sim.step++;
        deferred->run(deferred);
    }
}

static void run_closing(struct loop *loop)
{
    struct list now;
    struct stream *stream;
    list_init(&now);
    list_move_all(&now, &loop->closing);
    while ((stream = list_first(&now, struct stream, in_closing)) != NULL) {
        list_remove(&stream->in_closing);
        buf_reset(&stream->queue);
        stream->gone = true;
        sim_stream_past(stream);
        if (stream->ops != NULL && stream->ops->on_closed != NULL) {
            stream->ops->on_closed(stream->owner);
        }
    }
}

/* When a loop next has something to do; SIM_NEVER: never. */
static uint64_t next_of(const struct loop *loop)
{
    uint64_t next = SIM_NEVER;
    if (!is_settled(loop)) {
        return sim.now_us;
    }
    list_each (timer, after, &loop->timers, struct timer, in_slot) {
        next = timer->slot_us < next ? timer->slot_us : next;
    }
    return next;
}

static bool is_turning(const struct sim_weir *weir)
{
    return weir->loop != NULL && !weir->dead && !weir->frozen;
}

static uint64_t next_us(void)
{
    uint64_t next = sim_next() != NULL ? sim_next()->due_us : SIM_NEVER;
    for (int i = 0; i < sim.weir_count && next > sim.now_us; i++) {
        if (is_turning(sim.weirs[i])) {
            uint64_t its = next_of(sim.weirs[i]->loop);
            next = its < next ? its : next;
        }
    }
    return next;
}

static void finish_turn(struct loop *loop)
{
    run_deferred(loop);
    run_closing(loop);
}

/* One half of a turn, for each weir. */
static void each_weir(void (*part)(struct loop *loop))
{
    struct sim_weir *before = sim.weir;
    int first = sim.weir_count > 1 ? (int)sim_below((uint64_t)sim.weir_count) : 0;
    for (int i = 0; i < sim.weir_count; i++) {
        struct sim_weir *weir = sim.weirs[(first + i) % sim.weir_count];
        if (is_turning(weir)) {
            sim.weir = weir;
            part(weir->loop);
        }
    }
    sim.weir = before;
}

bool sim_turn(void)
{
    uint64_t next = next_us();
    if (next == SIM_NEVER) {
        return false;
    }
    sim.now_us = next > sim.now_us ? next : sim.now_us + sim_below(10);
    each_weir(run_timers);
    run_events();
    each_weir(finish_turn);
    return true;
}

/* Timers whose time has come, and be it now. */
static bool hasten_timers(struct loop *loop)
{
    bool any = false;
    list_each (timer, after, &loop->timers, struct timer, in_slot) {
        if (timer->due_us <= sim.now_us) {
            timer->slot_us = sim.now_us;
            any = true;
        }
    }
    if (any) {
        run_timers(loop);
    }
    return any;
}

void sim_loop_settle(struct loop *loop)
{
    for (int turn = 0; turn < SETTLE_TURNS && (hasten_timers(loop) || !is_settled(loop)); turn++) {
        finish_turn(loop);
    }
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped && sim_turn()) {
    }
}

bool loop_close(struct loop *loop)
{
    if (!is_settled(loop) || loop->timer_count > 0 || loop->blocks.used_bytes > 0) {
        return false;
    }
    blocks_close(&loop->blocks);
    free(loop);
    return true;
}

/* ---- names ---- */

/* "p1.test" has between one and all of the places of processor 1, when it has any just now. */
struct resolver {
    struct loop *loop;
    resolver_cb cb;
    void *owner;
    uint16_t port;
    int processor;
    struct sim_event answer;
    struct addr addrs[SIM_PLACES_MAX];
    int count;
    bool failed;
};

static bool same_addrs(const struct resolver *resolver, const struct addr *addrs, int count)
{
    bool same = count == resolver->count;
    for (int i = 0; same && i < count; i++) {
        same = addr_equal(&addrs[i], &resolver->addrs[i]);
    }
    return same;
}

static int look_up(const struct resolver *resolver, struct addr *addrs)
{
    int count = 0;
    bool fails = sim_chance(sim.weather.refuse);
    for (int i = 0; i < SIM_PLACES_MAX && !fails; i++) {
        if (sim_chance(60)) {
            sim_place_address(resolver->processor, i, &addrs[count]);
            addr_set_port(&addrs[count++], resolver->port);
        }
    }
    return count;
}

static void on_answer(struct sim_event *event)
{
    struct resolver *resolver = container_of(event, struct resolver, answer);
    struct addr addrs[SIM_PLACES_MAX];
    int count = look_up(resolver, addrs);
    bool known = resolver->count > 0 || count > 0;
    sim_note("resolved", (uint64_t)resolver->processor, (uint64_t)count, 0);
    sim_after(&resolver->answer, known ? sim_between(8 * SIM_S, 12 * SIM_S) : SIM_S);
    if (count > 0 && (resolver->failed || !same_addrs(resolver, addrs, count))) {
        resolver->failed = false;
        memcpy(resolver->addrs, addrs, sizeof addrs);
        resolver->count = count;
        resolver->cb(resolver->owner, ERR_OK, resolver->addrs, count, "");
    } else if (count == 0 && !resolver->failed) {
        resolver->failed = true;
        resolver->cb(resolver->owner, ERR_DNS, NULL, 0, "no such name");
    }
}

struct resolver *resolver_open(struct loop *loop, const char *host, uint16_t port, resolver_cb cb, void *owner)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    CHECK(resolver != NULL && host[0] == 'p');
    *resolver = (struct resolver){.loop = loop, .cb = cb, .owner = owner, .port = port, .processor = host[1] - '0'};
    resolver->answer.fire = on_answer;
    resolver->answer.weir = sim_loop_weir(loop);
    sim_after(&resolver->answer, sim_chance(50) ? sim_below(SIM_MS) : sim_below(300 * SIM_MS));
    return resolver;
}

void resolver_close(struct resolver *resolver)
{
    sim_cancel(&resolver->answer);
    free(resolver);
}

/* ---- io/tls.h: no generation of ours asks for it ---- */

struct tls_server *tls_server_open(const struct tls_server_options *options, char *why, size_t size)
{
    (void)options;
    (void)bytes_to_text(BYTES("not simulated"), why, size);
    return NULL;
}

void tls_server_release(struct tls_server *tls)
{
    CHECK(tls == NULL);
}

int tls_server_certificate_count(const struct tls_server *tls)
{
    (void)tls;
    return 0;
}

void tls_server_certificate(const struct tls_server *tls, int index, struct tls_certificate_info *info)
{
    (void)tls;
    (void)index;
    *info = (struct tls_certificate_info){0};
}

struct tls_client *tls_client_open(const struct tls_client_options *options, char *why, size_t size)
{
    (void)options;
    (void)bytes_to_text(BYTES("not simulated"), why, size);
    return NULL;
}

struct tls_client *tls_client_hold(struct tls_client *tls)
{
    CHECK(tls == NULL);
    return tls;
}

const char *tls_client_identity(const struct tls_client *tls)
{
    CHECK(tls == NULL);
    return "";
}

void tls_client_release(struct tls_client *tls)
{
    CHECK(tls == NULL);
}
