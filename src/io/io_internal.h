/*
 * What the files of this layer share and nobody else sees: the loop's insides,
 * its buffers, and the translation of libuv's error codes.
 */
#ifndef WEIR_IO_INTERNAL_H
#define WEIR_IO_INTERNAL_H

#include <uv.h>

#include "weir/base/addr.h"
#include "weir/base/blocks.h"
#include "weir/base/err.h"
#include "weir/base/list.h"
#include "weir/base/pool.h"
#include "weir/io/loop.h"
#include "weir/io/timer.h"

#define LOOP_SIGNALS_MAX 8
#define LOOP_READ_BYTES  (64 * 1024)

#define WHEEL_SLOT_US UINT64_C(8000)
#define WHEEL_SLOTS   4096
#define WHEEL_WORDS   (WHEEL_SLOTS / 64)
#define WHEEL_NEVER   UINT64_MAX

/* The deadlines of a loop; timer.c owns it. */
struct wheel {
    uv_timer_t timer;
    struct list slots[WHEEL_SLOTS];
    uint64_t occupied[WHEEL_WORDS]; /* a bit for each slot that is not empty */
    uint64_t base_us;               /* start of the first slot that may hold something */
    uint64_t wake_us;               /* when the libuv timer fires; WHEEL_NEVER: it is stopped */
    size_t armed_count;
    bool ticking; /* on_tick rearms once, at its end */
};

/*
 * How the turns were since loop_load_take; loop.c owns it. Their time lies in
 * shelves by how long the turn was that it belongs to, four to each power of two.
 */
#define LOAD_SHELVES_FROM 6 /* turns shorter than 2^6 us are on the first shelf */
#define LOAD_SHELVES      (4 * 18 + 1)
struct load {
    uint64_t poll_us;       /* when the last poll was entered; 0: none was yet */
    uint64_t poll_idle_ns;  /* what libuv counted as idle until then */
    uint64_t taken_work_us, taken_idle_us; /* of this turn, in an interval that was taken before its end */
    bool turned;            /* since the last take */
    uint64_t work_us, idle_us;
    uint64_t work_us_max, late_us_max;
    uint64_t shelves_us[LOAD_SHELVES];
};

struct loop_signal {
    uv_signal_t handle;
    loop_signal_cb cb;
    void *owner; /* borrowed */
};

struct tls_io;

struct loop {
    uv_loop_t uv;
    uv_check_t check; /* runs what was deferred */
    uv_prepare_t prepare; /* the end of a turn's work */
    uv_idle_t idle;   /* active while something is deferred, so that the poll does not wait */
    struct list deferred;
    struct blocks blocks;
    struct pool streams;     /* struct stream */
    struct pool stream_outs; /* struct stream_out */
    struct wheel wheel;
    struct loop_signal signals[LOOP_SIGNALS_MAX];
    int signal_count;
    struct load load;
    uint64_t started_us;
    uint64_t now_us;            /* of this event; 0: not read yet */
    uint64_t turn_us;           /* ditto, of the first of this turn that asked */
    struct tls_io *tls;         /* owned; made by the first TLS stream */
    char read[LOOP_READ_BYTES]; /* what the streams of this loop read into */
};

/* An event begins: what loop_now_us said of the last one no longer holds. Called first by every callback of libuv. */
static inline void loop_event(struct loop *loop)
{
    loop->now_us = 0;
}

/* A timer fires this late. */
static inline void loop_note_late(struct loop *loop, uint64_t late_us)
{
    loop->load.late_us_max = late_us > loop->load.late_us_max ? late_us : loop->load.late_us_max;
}

/* timer.c */
WEIR_MUSTCHECK bool wheel_open(struct loop *loop);
void wheel_close(struct loop *loop);

/* stream.c */
void streams_open(struct loop *loop);
void streams_close(struct loop *loop);

/* tls_stream.c; NULL is ignored. */
void tls_io_close(struct tls_io *io);

/* The one of our errors that a libuv status (negative) stands for. */
enum err err_from_uv(int status);

#endif
