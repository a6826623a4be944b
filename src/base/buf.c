/*
 * The queue of bytes. Blocks hang in a chain from first to last; a block that
 * is read to its end goes back at once. An append takes all the blocks that it
 * needs before it copies the first byte, so a refusal changes nothing.
 */
#include "weir/base/buf.h"

void buf_init(struct buf *buf, struct blocks *blocks, size_t len_max)
{
    *buf = (struct buf){.blocks = blocks, .len_max = len_max};
}

static void give_chain(struct blocks *blocks, struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;

        blocks_give(blocks, block);
        block = next;
    }
}

void buf_reset(struct buf *buf)
{
    give_chain(buf->blocks, buf->first);
    buf->first = NULL;
    buf->last = NULL;
    buf->len = 0;
}

/* Adds plain blocks at the end until `bytes` fit behind what is there. False: refused, and nothing changed. */
static bool make_room(struct buf *buf, size_t bytes, enum blocks_need need)
{
    size_t room = buf->last == NULL ? 0 : buf->last->size_bytes - buf->last->used_bytes;
    struct block *added = NULL;
    struct block **end = &added;

    while (room < bytes) {
        *end = blocks_take(buf->blocks, 1, need);
        if (*end == NULL) {
            give_chain(buf->blocks, added);
            return false;
        }
        room += (*end)->size_bytes;
        end = &(*end)->next;
    }
    if (buf->last == NULL) {
        buf->first = added;
        buf->last = added;
    } else {
        buf->last->next = added;
    }
    return true;
}

enum err buf_append(struct buf *buf, struct bytes bytes, enum blocks_need need)
{
    if (bytes.len == 0) {
        return ERR_OK;
    }
    if (buf->len > buf->len_max || bytes.len > buf->len_max - buf->len || !make_room(buf, bytes.len, need)) {
        return ERR_FULL;
    }
    buf->len += bytes.len;
    for (;;) {
        struct block *block = buf->last;
        size_t part = block->size_bytes - block->used_bytes;

        if (part > bytes.len) {
            part = bytes.len;
        }
        memcpy(block->data + block->used_bytes, bytes.at, part);
        block->used_bytes += (uint32_t)part;
        bytes = bytes_skip(bytes, part);
        if (bytes.len == 0) {
            return ERR_OK;
        }
        buf->last = block->next;
    }
}

static struct bytes block_unread(const struct block *block)
{
    return bytes_of(block->data + block->read_bytes, block->used_bytes - block->read_bytes);
}

struct bytes buf_front(const struct buf *buf)
{
    return buf->first == NULL ? BYTES_NONE : block_unread(buf->first);
}

int buf_vectors_from(const struct buf *buf, size_t from, struct iovec *vectors, int max)
{
    int count = 0;

    for (struct block *block = buf->first; block != NULL && count < max; block = block->next) {
        size_t run = block->used_bytes - block->read_bytes;
        if (from >= run) {
            from -= run;
            continue;
        }
        vectors[count].iov_base = block->data + block->read_bytes + from;
        vectors[count].iov_len = run - from;
        from = 0;
        count++;
    }
    return count;
}

int buf_vectors(const struct buf *buf, struct iovec *vectors, int max)
{
    return buf_vectors_from(buf, 0, vectors, max);
}

size_t buf_copy(const struct buf *buf, char *at)
{
    size_t len = 0;
    for (const struct block *block = buf->first; block != NULL; block = block->next) {
        size_t run = block->used_bytes - block->read_bytes;
        memcpy(at + len, block->data + block->read_bytes, run);
        len += run;
    }
    return len;
}

void buf_consume(struct buf *buf, size_t len)
{
    CHECK(len <= buf->len);
    buf->len -= len;
    while (len > 0) {
        struct block *block = buf->first;
        size_t unread = block->used_bytes - block->read_bytes;

        if (len < unread) {
            block->read_bytes += (uint32_t)len;
            return;
        }
        len -= unread;
        buf->first = block->next;
        blocks_give(buf->blocks, block);
    }
    if (buf->first == NULL) {
        buf->last = NULL;
    }
}

enum err buf_move(struct buf *to, struct buf *from)
{
    CHECK(to != from && to->blocks == from->blocks);
    if (from->len == 0) {
        return ERR_OK;
    }
    if (to->len > to->len_max || from->len > to->len_max - to->len) {
        return ERR_FULL;
    }
    if (to->last == NULL) {
        to->first = from->first;
    } else {
        to->last->next = from->first;
    }
    to->last = from->last;
    to->len += from->len;
    from->first = NULL;
    from->last = NULL;
    from->len = 0;
    return ERR_OK;
}
