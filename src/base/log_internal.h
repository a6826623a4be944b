/*
 * The inside of the log: the ring between the loop and a writer thread, the
 * writer of one stream, and struct log that holds two of them.
 */
#ifndef WEIR_BASE_LOG_INTERNAL_H
#define WEIR_BASE_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "weir/base/log.h"

#define LOG_RING_BYTES    ((size_t)1 << 18) /* of each stream; a power of two. Small, so that it stays in a cache */
#define LOG_RESERVE_BYTES ((size_t)1 << 16) /* of the events' ring, for audit lines alone */
#define LOG_AUDIT_MARKS   8192              /* audit lines that may wait in a ring; a power of two */
#define LOG_CACHE_LINE    64

/*
 * Lines on their way to a writer. One thread puts, one takes. Positions count
 * all bytes ever put and wrap only in 500 000 years.
 */
struct log_ring {
    char *bytes;              /* owned; LOG_RING_BYTES */
    size_t reserve_bytes;     /* room that only audit lines may use */
    uint64_t *marks;          /* owned; where audit lines end, so that a lost one is known as such */
    _Atomic uint64_t dropped; /* lines that were refused or lost; both sides count */
    _Atomic uint64_t audit_lost;

    _Alignas(LOG_CACHE_LINE) _Atomic uint64_t head; /* put so far; the producer's */
    uint64_t tail_seen;                             /* what the producer last saw of `tail` */
    _Atomic uint64_t marks_head;

    _Alignas(LOG_CACHE_LINE) _Atomic uint64_t tail; /* taken so far; the taker's */
    _Atomic uint64_t marks_tail;
};

WEIR_MUSTCHECK bool log__ring_open(struct log_ring *ring, size_t reserve_bytes);
void log__ring_close(struct log_ring *ring);
/* The line and a newline. False: no room; counted. */
bool log__ring_put(struct log_ring *ring, struct bytes line, bool audit);
/* Bytes waiting, for the taker. */
size_t log__ring_len(const struct log_ring *ring);
/* Copies the first bytes, at most `size`, without taking them. Returns how many. */
size_t log__ring_peek(const struct log_ring *ring, char *at, size_t size);
/* Takes `len` bytes. `lost`: they never reached their sink; the lines that end in them are counted. */
void log__ring_take(struct log_ring *ring, size_t len, bool lost);

/* One stream: its ring, its thread, its descriptor. */
struct log_writer {
    struct log_ring ring;
    const char *name; /* of the thread */
    pthread_t thread;
    bool started;
    int wake_fd;            /* an eventfd; owned */
    _Atomic bool sleeping;  /* the thread waits for wake_fd without end: a put must wake it */
    _Atomic bool closing;   /* write out what is there, then end */
    _Atomic bool giving_up; /* end now */
    _Atomic bool ended;     /* the thread has left everything */
    _Atomic int next_fd;    /* owned; a descriptor to go on with, or -1 */

    _Atomic uint64_t full_count; /* writes that a full disk refused; the lines wait */

    /* The thread's own. */
    int fd;        /* owned; -1 before the first */
    bool is_file;  /* a regular file: writes of any size do not wait for a reader */
    bool mid_line; /* the last write ended inside a line that goes on in the ring */
    bool broken;   /* the rest of that line was lost: end it before the next */
    char out[1 << 16];
};

WEIR_MUSTCHECK bool log__writer_open(struct log_writer *writer, const char *name, size_t reserve_bytes);
/* Takes over `fd`; the one before is closed by the thread when it has left it. */
void log__writer_set_fd(struct log_writer *writer, int fd);
/* After a put: wakes the thread if it sleeps. */
void log__writer_wake(struct log_writer *writer);
/* Begins the end: what the ring holds is still written out. */
void log__writer_close_begin(struct log_writer *writer);
/* Waits until `deadline` of the monotonic clock at most. False: the thread is stuck in a write, and keeps its memory.
 */
WEIR_MUSTCHECK bool log__writer_close_wait(struct log_writer *writer, const struct timespec *deadline);

struct log {
    struct log_writer *writers[LOG_STREAM_COUNT]; /* owned */
    const char *paths[LOG_STREAM_COUNT];          /* borrowed from the configuration; NULL: goes nowhere */
    enum log_format format;                       /* of events */
    enum log_level level;
    pthread_t producer; /* the first thread that put a line, and from then on the only one */
    bool produced;
};

/* log_line with the right to the reserve. */
bool log__put(struct log *log, enum log_stream stream, struct bytes line, bool audit);

#endif
