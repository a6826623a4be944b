/*
 * A queue of bytes: written at the back, read from the front, made of blocks,
 * with a hard cap. Bodies and unsent output wait here. An empty buf holds no
 * block.
 */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <sys/uio.h>

#include "weir/base/blocks.h"
#include "weir/base/bytes.h"
#include "weir/base/err.h"

struct buf {
    struct blocks *blocks; /* borrowed from the loop */
    struct block *first;   /* owned; NULL when empty */
    struct block *last;    /* NULL when empty */
    size_t len;            /* bytes waiting to be read */
    size_t len_max;        /* appending beyond it is ERR_FULL */
};

void buf_init(struct buf *buf, struct blocks *blocks, size_t len_max);
/* Returns every block. Idempotent. */
void buf_reset(struct buf *buf);

/* All or nothing. ERR_FULL: len_max would be exceeded or the supply refused. */
WEIR_MUSTCHECK enum err buf_append(struct buf *buf, struct bytes bytes, enum blocks_need need);
/* The first run of contiguous unread bytes; empty when the buf is. Valid until the next change. */
struct bytes buf_front(const struct buf *buf);
/* Fills at most `max` vectors from the front, without consuming. Returns how many. */
int buf_vectors(const struct buf *buf, struct iovec *vectors, int max);
/* The same from byte `from` on; at the end there are none. */
int buf_vectors_from(const struct buf *buf, size_t from, struct iovec *vectors, int max);
/* Copies everything to `at`, without consuming. Returns how much: buf->len. */
size_t buf_copy(const struct buf *buf, char *at);
/* Drops `len` bytes (at most buf->len) from the front. */
void buf_consume(struct buf *buf, size_t len);
/* Moves everything of `from` behind `to` without copying; both share one supply. ERR_FULL as in append. */
WEIR_MUSTCHECK enum err buf_move(struct buf *to, struct buf *from);

#endif
