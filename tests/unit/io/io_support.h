/*
 * What the tests of this layer share: a loop that is turned until something
 * holds, and an end of a connection that writes down what happened to it.
 */
#ifndef WEIR_IO_SUPPORT_H
#define WEIR_IO_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "weir/base/addr.h"
#include "weir/base/clock.h"
#include "weir/io/loop.h"
#include "weir/io/stream.h"
#include "weir/io/timer.h"

#define PATIENCE_US (20 * CLOCK_US_PER_S)

static inline void on_watch(struct timer *timer)
{
    (void)timer;
}

/* One turn that waits for an event, but not forever. */
static inline void turn(struct loop *loop)
{
    struct timer watch;

    timer_init(&watch, loop, on_watch);
    /* From now, not from the last event: a watch that is late already would fire before the wait and leave it endless. */
    timer_set(&watch, clock_now_us() + CLOCK_US_PER_S / 10);
    uv_run(loop_uv(loop), UV_RUN_ONCE);
    timer_stop(&watch);
}

/* Turns the loop until the condition holds; the test fails when it never does. */
#define UNTIL(loop, condition)                                                                                         \
    for (uint64_t until_us_ = clock_now_us() + PATIENCE_US; !(condition);) {                                           \
        if (clock_now_us() > until_us_) {                                                                              \
            fail_msg("never happened: %s", #condition);                                                                \
        }                                                                                                              \
        turn(loop);                                                                                                    \
    }

struct end {
    struct stream *stream;
    char *in; /* what was read */
    size_t in_bytes, in_room;
    int opens, reads, ends, drains, closes;
    enum err open_err, end_err;
    char open_why[256];
    bool pause_on_read, close_on_read, close_on_open, reset_on_read;
};

static inline void end_on_open(void *owner, enum err err)
{
    struct end *end = owner;

    end->opens++;
    end->open_err = err;
    if (end->stream != NULL) {
        (void)bytes_to_text(bytes_from_text(stream_why(end->stream)), end->open_why, sizeof(end->open_why));
    }
    if (end->close_on_open) {
        stream_close(end->stream, false);
    }
}

static inline void end_on_read(void *owner, struct bytes data)
{
    struct end *end = owner;

    assert_true(data.len > 0);
    assert_int_equal(end->ends, 0);
    assert_int_equal(end->closes, 0);
    if (end->in_bytes + data.len > end->in_room) {
        end->in_room = (end->in_bytes + data.len) * 2;
        end->in = realloc(end->in, end->in_room);
        assert_non_null(end->in);
    }
    memcpy(end->in + end->in_bytes, data.at, data.len);
    end->in_bytes += data.len;
    end->reads++;
    if (end->pause_on_read) {
        stream_pause(end->stream);
    }
    if (end->close_on_read || end->reset_on_read) {
        stream_close(end->stream, end->reset_on_read);
    }
}

static inline void end_on_end(void *owner, enum err err)
{
    struct end *end = owner;

    end->ends++;
    end->end_err = err;
}

static inline void end_on_drain(void *owner)
{
    ((struct end *)owner)->drains++;
}

static inline void end_on_closed(void *owner)
{
    struct end *end = owner;

    end->closes++;
    end->stream = NULL;
}

static const struct stream_ops end_ops = {end_on_open, end_on_read, end_on_end, end_on_drain, end_on_closed};

static inline bool end_has(const struct end *end, const char *text)
{
    return end->in_bytes == strlen(text) && memcmp(end->in, text, end->in_bytes) == 0;
}

static inline struct stream_wrote end_say(struct end *end, const char *text)
{
    struct bytes part = bytes_from_text(text);

    return stream_write(end->stream, &part, 1);
}

static inline void end_free(struct end *end)
{
    free(end->in);
    end->in = NULL;
}

/* Two ends of one connection: `client` connected, `server` was accepted. */
struct pair {
    struct loop *loop;
    struct acceptor *acceptor;
    struct addr at;
    struct end client, server;
    struct stream *accepted; /* not attached yet when hold_accepted */
    bool hold_accepted;
    int accept_count;
};

static inline void pair_on_accept(void *owner, struct stream *stream)
{
    struct pair *pair = owner;

    pair->accept_count++;
    pair->accepted = stream;
    if (!pair->hold_accepted) {
        pair->server.stream = stream;
        stream_attach(stream, &end_ops, &pair->server);
    }
}

static inline void pair_listen(struct pair *pair)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    char why[256];
    enum err err;

    memset(pair, 0, sizeof(*pair));
    pair->loop = loop_open(0);
    assert_non_null(pair->loop);
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &at.ip));
    pair->acceptor = acceptor_open(pair->loop, &at, 128, pair_on_accept, pair, &err, why, sizeof(why));
    assert_non_null(pair->acceptor);
    assert_int_equal(err, ERR_OK);
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &pair->at));
    addr_set_port(&pair->at, acceptor_port(pair->acceptor));
}

static inline void pair_connect(struct pair *pair, struct tls_client *tls)
{
    enum err err;

    pair->client.stream = stream_connect(pair->loop, &pair->at, tls, &end_ops, &pair->client, &err);
    assert_non_null(pair->client.stream);
    assert_int_equal(err, ERR_OK);
}

static inline void pair_open(struct pair *pair)
{
    pair_listen(pair);
    pair_connect(pair, NULL);
    UNTIL(pair->loop, pair->client.opens == 1 && pair->accept_count == 1);
    assert_int_equal(pair->client.open_err, ERR_OK);
}

static inline void pair_close(struct pair *pair)
{
    if (pair->client.stream != NULL) {
        stream_close(pair->client.stream, false);
    }
    if (pair->server.stream != NULL) {
        stream_close(pair->server.stream, false);
    }
    if (pair->acceptor != NULL) {
        acceptor_close(pair->acceptor);
    }
    assert_true(loop_close(pair->loop));
    end_free(&pair->client);
    end_free(&pair->server);
}

#endif
