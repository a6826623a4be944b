/*
 * The ring between one putting and one taking thread. The putter publishes
 * whole lines by moving `head` after the bytes are in place; the taker frees
 * them by moving `tail`. A line that does not fit is refused and counted.
 */
#include "log_internal.h"

#include <stdlib.h>

bool log__ring_open(struct log_ring *ring, size_t reserve_bytes)
{
    ring->bytes = malloc(LOG_RING_BYTES);
    ring->marks = malloc(LOG_AUDIT_MARKS * sizeof(*ring->marks));
    ring->reserve_bytes = reserve_bytes;
    return ring->bytes != NULL && ring->marks != NULL;
}

void log__ring_close(struct log_ring *ring)
{
    free(ring->bytes);
    free(ring->marks);
    ring->bytes = NULL;
    ring->marks = NULL;
}

static void copy_in(struct log_ring *ring, uint64_t position, const char *at, size_t len)
{
    size_t offset = position & (LOG_RING_BYTES - 1);
    size_t part = LOG_RING_BYTES - offset;

    if (part > len) {
        part = len;
    }
    memcpy(ring->bytes + offset, at, part);
    memcpy(ring->bytes, at + part, len - part);
}

static bool has_room(struct log_ring *ring, uint64_t head, size_t bytes, bool audit)
{
    size_t size = audit ? LOG_RING_BYTES : LOG_RING_BYTES - ring->reserve_bytes;

    if (head - ring->tail_seen + bytes > size) {
        /* Only now is the taker's cache line worth fetching. */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
    }
    return head - ring->tail_seen + bytes <= size;
}

/* Notes where an audit line will end. False: too many of them wait. */
static bool mark_audit(struct log_ring *ring, uint64_t end)
{
    uint64_t head = atomic_load_explicit(&ring->marks_head, memory_order_relaxed);

    if (head - atomic_load_explicit(&ring->marks_tail, memory_order_acquire) == LOG_AUDIT_MARKS) {
        return false;
    }
    ring->marks[head % LOG_AUDIT_MARKS] = end;
    atomic_store_explicit(&ring->marks_head, head + 1, memory_order_release);
    return true;
}

bool log__ring_put(struct log_ring *ring, struct bytes line, bool audit)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    if (line.len > LOG_LINE_BYTES || !has_room(ring, head, line.len + 1, audit) ||
        (audit && !mark_audit(ring, head + line.len + 1))) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        if (audit) {
            atomic_fetch_add_explicit(&ring->audit_lost, 1, memory_order_relaxed);
        }
        return false;
    }
    if (line.len > 0) {
        copy_in(ring, head, line.at, line.len);
    }
    copy_in(ring, head + line.len, "\n", 1);
    atomic_store_explicit(&ring->head, head + line.len + 1, memory_order_release);
    return true;
}

size_t log__ring_len(const struct log_ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire) -
           atomic_load_explicit(&ring->tail, memory_order_relaxed);
}

size_t log__ring_peek(const struct log_ring *ring, char *at, size_t size)
{
    size_t offset = atomic_load_explicit(&ring->tail, memory_order_relaxed) & (LOG_RING_BYTES - 1);
    size_t len = log__ring_len(ring);
    size_t part = LOG_RING_BYTES - offset;

    if (len > size) {
        len = size;
    }
    if (part > len) {
        part = len;
    }
    memcpy(at, ring->bytes + offset, part);
    memcpy(at + part, ring->bytes, len - part);
    return len;
}

/* Lines that end in the first `len` bytes. */
static uint64_t count_lines(const struct log_ring *ring, size_t len)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t lines = 0;

    for (size_t i = 0; i < len; i++) {
        lines += ring->bytes[(tail + i) & (LOG_RING_BYTES - 1)] == '\n';
    }
    return lines;
}

static void drop_marks(struct log_ring *ring, uint64_t tail, bool lost)
{
    uint64_t head = atomic_load_explicit(&ring->marks_head, memory_order_acquire);
    uint64_t mark = atomic_load_explicit(&ring->marks_tail, memory_order_relaxed);

    for (; mark != head && ring->marks[mark % LOG_AUDIT_MARKS] <= tail; mark++) {
        if (lost) {
            atomic_fetch_add_explicit(&ring->audit_lost, 1, memory_order_relaxed);
        }
    }
    atomic_store_explicit(&ring->marks_tail, mark, memory_order_release);
}

void log__ring_take(struct log_ring *ring, size_t len, bool lost)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed) + len;

    DCHECK(len <= log__ring_len(ring));
    if (lost) {
        atomic_fetch_add_explicit(&ring->dropped, count_lines(ring, len), memory_order_relaxed);
    }
    drop_marks(ring, tail, lost);
    atomic_store_explicit(&ring->tail, tail, memory_order_release);
}
