/*
 * Owns the libuv loop of a process: opening, running and closing it, its block
 * supply, the work deferred to the end of a turn, the signals, and how much the
 * turns have to do. It knows no sockets and starts no threads.
 *
 * libuv's turn is: timers, pending, idle, prepare, poll, check, closing. What
 * is deferred runs in check, so before the memory of closed handles goes.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io_internal.h"

#include "weir/base/clock.h"

#define BLOCKS_KEPT     256 /* 1 MiB that a busy loop does not ask malloc for again */
#define CLOSE_TURNS_MAX 64  /* closing one thing may close another; a chain is never this long */

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* its being active is all: the poll returns at once */
}

static void on_check(uv_check_t *check)
{
    struct loop *loop = container_of(check, struct loop, check);
    struct list now;
    struct deferred *deferred;

    if (list_empty(&loop->deferred)) {
        return;
    }
    loop_event(loop);
    list_init(&now);
    list_move_all(&now, &loop->deferred);
    while ((deferred = list_first(&now, struct deferred, in_deferred)) != NULL) {
        list_remove(&deferred->in_deferred);
        deferred->run(deferred);
    }
    if (list_empty(&loop->deferred)) {
        (void)uv_idle_stop(&loop->idle); /* it never fails */
    }
}

/* ---- its load ---- */

static size_t shelf_of(uint64_t work_us)
{
    if (work_us >> LOAD_SHELVES_FROM == 0) {
        return 0;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(work_us);
    size_t shelf = 1 + 4 * (size_t)(power - LOAD_SHELVES_FROM) + (work_us >> (power - 2) & 3);
    return shelf < LOAD_SHELVES ? shelf : LOAD_SHELVES - 1;
}

/* The shortest turn that lies there. */
static uint64_t shelf_from_us(size_t shelf)
{
    return shelf == 0 ? 0 : (4 + (shelf - 1) % 4) << (LOAD_SHELVES_FROM - 2 + (shelf - 1) / 4);
}

/* Counts what the turn did since it was last counted. It may not be over yet. */
static void load_count(struct loop *loop, uint64_t now_us, uint64_t idle_ns)
{
    struct load *load = &loop->load;
    uint64_t spent_us = now_us - load->poll_us;
    uint64_t idle_us = (idle_ns - load->poll_idle_ns) / 1000;
    uint64_t work_us = spent_us > idle_us ? spent_us - idle_us : 0;

    if (work_us > load->taken_work_us) {
        load->work_us += work_us - load->taken_work_us;
        load->shelves_us[shelf_of(work_us)] += work_us - load->taken_work_us;
    }
    load->idle_us += idle_us - load->taken_idle_us;
    load->work_us_max = work_us > load->work_us_max ? work_us : load->work_us_max;
    load->taken_work_us = work_us;
    load->taken_idle_us = idle_us;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = container_of(prepare, struct loop, prepare);
    struct load *load = &loop->load;
    uint64_t now_us = clock_now_us();
    uint64_t idle_ns = uv_metrics_idle_time(&loop->uv);

    if (load->poll_us != 0) {
        load_count(loop, now_us, idle_ns);
        load->turned = true;
    }
    loop->turn_us = 0;
    loop->now_us = 0;
    load->poll_us = now_us;
    load->poll_idle_ns = idle_ns;
    load->taken_work_us = load->taken_idle_us = 0;
}

/* What nine tenths of the interval were not better than: the time of the longest turns together makes these nine. */
static uint64_t standing_delay_us(const struct load *load)
{
    uint64_t all_us = load->work_us + load->idle_us, longer_us = 0;

    for (size_t shelf = LOAD_SHELVES; shelf-- > 1;) {
        longer_us += load->shelves_us[shelf];
        if (longer_us >= all_us - all_us / 10) {
            return shelf_from_us(shelf);
        }
    }
    return 0;
}

void loop_load_take(struct loop *loop, struct loop_load *load)
{
    struct load *turns = &loop->load;
    uint64_t all_us;

    *load = (struct loop_load){0};
    if (!turns->turned) {
        return;
    }
    load_count(loop, clock_now_us(), uv_metrics_idle_time(&loop->uv));
    all_us = turns->work_us + turns->idle_us;
    load->delay_us = all_us > 0 ? standing_delay_us(turns) : 0;
    load->work_us_max = turns->work_us_max;
    load->late_us_max = turns->late_us_max;
    load->busy_permille = all_us > 0 ? (uint32_t)(turns->work_us * 1000 / all_us) : 0;
    turns->turned = false;
    turns->work_us = turns->idle_us = turns->work_us_max = turns->late_us_max = 0;
    memset(turns->shelves_us, 0, sizeof(turns->shelves_us));
}

static bool handles_open(struct loop *loop)
{
    if (uv_check_init(&loop->uv, &loop->check) != 0 || uv_idle_init(&loop->uv, &loop->idle) != 0 ||
        uv_prepare_init(&loop->uv, &loop->prepare) != 0) {
        return false;
    }
    if (!wheel_open(loop) || uv_check_start(&loop->check, on_check) != 0 ||
        uv_prepare_start(&loop->prepare, on_prepare) != 0) {
        return false;
    }
    /* Waiting for the end of a turn is not a reason to have another turn. */
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->prepare);
    return true;
}

struct loop *loop_open(size_t buffers_bytes)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL) {
        return NULL;
    }
    if (uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return NULL;
    }
    loop->uv.data = loop;
    if (uv_loop_configure(&loop->uv, UV_METRICS_IDLE_TIME) != 0 || !handles_open(loop)) {
        (void)uv_loop_close(&loop->uv); /* the process is about to give up; what is left is freed with it */
        free(loop);
        return NULL;
    }
    list_init(&loop->deferred);
    blocks_init(&loop->blocks, buffers_bytes, BLOCKS_KEPT);
    streams_open(loop);
    loop->started_us = clock_now_us();
    /* A write to a connection that the peer closed is an error to look at, not a reason to die. */
    (void)signal(SIGPIPE, SIG_IGN);
    return loop;
}

void loop_run(struct loop *loop)
{
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT); /* tells only whether handles are left, which loop_stop allows */
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

static void on_walk(uv_handle_t *handle, void *arg)
{
    if (!uv_is_closing(handle)) {
        (*(size_t *)arg)++;
    }
}

static size_t handles_count(struct loop *loop)
{
    size_t count = 0;

    uv_walk(&loop->uv, on_walk, &count);
    return count;
}

/* Our own handles; everything else must have been closed by its owner. */
static size_t own_handles_count(const struct loop *loop)
{
    return 4 + (size_t)loop->signal_count;
}

static bool report_open(struct loop *loop)
{
#ifdef WEIR_DEBUG
    fprintf(stderr, "loop_close: %zu handles left, %zu timers armed, %zu bytes in blocks\n",
            handles_count(loop) - own_handles_count(loop), loop->wheel.armed_count, loop->blocks.used_bytes);
    uv_print_all_handles(&loop->uv, stderr);
#else
    (void)loop;
#endif
    return false;
}

/*
 * libuv gives a signal that nobody watches its default action back, which ends
 * the process that is about to end in order; so they are ignored from then on,
 * and held back in the moment between.
 */
static void signals_close(struct loop *loop)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* cannot fail with these arguments */
    for (int i = 0; i < loop->signal_count; i++) {
        struct loop_signal *listener = &loop->signals[i];
        int signum = listener->handle.signum;
        uv_close((uv_handle_t *)&listener->handle, NULL);
        if (signum != 0) {
            (void)signal(signum, SIG_IGN); /* nor can this, for a signal that was watched */
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void own_handles_close(struct loop *loop)
{
    wheel_close(loop);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    signals_close(loop);
}

bool loop_close(struct loop *loop)
{
    int turns = 0;

    while ((handles_count(loop) > own_handles_count(loop) || !list_empty(&loop->deferred)) &&
           turns++ < CLOSE_TURNS_MAX) {
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    if (handles_count(loop) > own_handles_count(loop) || !list_empty(&loop->deferred) || loop->wheel.armed_count > 0) {
        return report_open(loop);
    }
    own_handles_close(loop);
    /* Only closing handles and lookups on their thread are left: both end by themselves. */
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop->uv) != 0 || loop->blocks.used_bytes > 0) {
        return report_open(loop);
    }
    tls_io_close(loop->tls);
    streams_close(loop);
    blocks_close(&loop->blocks);
    free(loop);
    return true;
}

uint64_t loop_now_us(struct loop *loop)
{
    if (loop->now_us == 0) {
        loop->now_us = clock_now_us();
        loop->turn_us = loop->turn_us == 0 ? loop->now_us : loop->turn_us;
    }
    return loop->now_us;
}

uint64_t loop_waited_us(struct loop *loop)
{
    return loop_now_us(loop) - loop->turn_us;
}

struct blocks *loop_blocks(struct loop *loop)
{
    return &loop->blocks;
}

void deferred_init(struct deferred *deferred, void (*run)(struct deferred *deferred))
{
    list_init(&deferred->in_deferred);
    deferred->run = run;
}

void loop_defer(struct loop *loop, struct deferred *deferred)
{
    if (list_linked(&deferred->in_deferred)) {
        return;
    }
    if (list_empty(&loop->deferred)) {
        (void)uv_idle_start(&loop->idle, on_idle); /* fails only without a callback */
    }
    list_push_back(&loop->deferred, &deferred->in_deferred);
}

void loop_undefer(struct deferred *deferred)
{
    list_remove(&deferred->in_deferred);
}

uint64_t loop_idle_us(const struct loop *loop)
{
    /* libuv takes a lock inside the loop and so wants it writable. */
    return uv_metrics_idle_time((uv_loop_t *)(uintptr_t)&loop->uv) / 1000;
}

uint64_t loop_total_us(const struct loop *loop)
{
    return clock_now_us() - loop->started_us;
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct loop_signal *listener = container_of(handle, struct loop_signal, handle);

    loop_event(handle->loop->data);
    listener->cb(listener->owner, signum);
}

bool loop_on_signal(struct loop *loop, int signum, loop_signal_cb cb, void *owner)
{
    struct loop_signal *listener;

    if (loop->signal_count == LOOP_SIGNALS_MAX) {
        return false;
    }
    listener = &loop->signals[loop->signal_count];
    listener->cb = cb;
    listener->owner = owner;
    if (uv_signal_init(&loop->uv, &listener->handle) != 0) {
        return false;
    }
    loop->signal_count++;
    /* To wait for a signal alone is no reason to go on. */
    uv_unref((uv_handle_t *)&listener->handle);
    return uv_signal_start(&listener->handle, on_signal, signum) == 0;
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

enum err err_from_uv(int status)
{
    switch (status) {
    case 0:
        return ERR_OK;
    case UV_EOF:
        return ERR_EOF;
    case UV_ECONNRESET:
    case UV_ECONNABORTED:
    case UV_EPIPE:
        return ERR_RESET;
    case UV_ECONNREFUSED:
        return ERR_REFUSED;
    case UV_ENETUNREACH:
    case UV_EHOSTUNREACH:
    case UV_ENETDOWN:
    case UV_EADDRNOTAVAIL:
        return ERR_UNREACHABLE;
    case UV_ETIMEDOUT:
        return ERR_TIMED_OUT;
    case UV_ECANCELED:
        return ERR_CANCELED;
    case UV_ENOMEM:
    case UV_ENOBUFS:
        return ERR_NO_MEMORY;
    case UV_EMFILE:
    case UV_ENFILE:
        return ERR_DESCRIPTORS;
    case UV_EADDRINUSE:
        return ERR_ADDRESS_IN_USE;
    case UV_EACCES:
    case UV_EPERM:
        return ERR_ACCESS;
    default:
        return ERR_IO;
    }
}
