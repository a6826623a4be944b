/*
 * A connection as its peer, an actor, sees it, the network between the two, and
 * listening sockets. Bytes arrive late and in pieces of the seed's choice, but
 * in order; an orderly end comes behind them, a reset may overtake them.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

struct acceptor {
    struct sim_weir *weir;
    struct loop *loop;
    struct list in_acceptors;
    struct list backlog;     /* of struct stream */
    acceptor_cb accepted;
    void *owner;
    uint16_t port;
    bool paused;
    struct sim_event event;
};

uint64_t sim_latency(void)
{
    return 1 + sim_below(sim.weather.latency_us);
}

/* ---- to weir ---- */

void sim_poke_in(struct stream *stream)
{
    if (stream->to_weir.place == 0) {
        sim_after(&stream->to_weir, sim_latency());
    }
}

static size_t piece_of(const struct stream *stream, size_t len)
{
    size_t most = len < 65536 ? len : 65536;
    if (stream->grain == 0 || (stream->grain == 1 && sim_chance(40))) {
        return most;
    }
    if (stream->grain == 2 && len + stream->queue.len < 4096) {
        return (size_t)sim_between(1, most < 24 ? most : 24);
    }
    return (size_t)sim_between(1, most);
}

static void fire_marks(struct stream *stream)
{
    size_t kept = 0;
    for (size_t i = 0; i < stream->mark_count; i++) {
        struct sim_mark mark = stream->marks[i];
        if (mark.at <= stream->in_delivered) {
            oracle_mark(stream, &mark);
        } else {
            stream->marks[kept++] = mark;
        }
    }
    stream->mark_count = kept;
}

static void deliver_in(struct stream *stream)
{
    size_t len = piece_of(stream, sim_bytes_len(&stream->in));
    char *copy = malloc(len); /* of its own, so that a sanitizer sees who keeps or overruns it */
    CHECK(copy != NULL);
    memcpy(copy, sim_bytes_all(&stream->in).at, len);
    sim_bytes_drop(&stream->in, len);
    stream->in_delivered += len;
    sim_note("read", stream->id, len, stream->in_delivered);
    fire_marks(stream);
    stream->ops->on_read(stream->owner, bytes_of(copy, len));
    free(copy);
}

static void end_in(struct stream *stream, enum err err)
{
    stream->ended = true;
    stream->spoilt = true;
    err = err == ERR_EOF && stream->broken != ERR_OK ? stream->broken : err;
    sim_note("end", stream->id, err, 0);
    stream->ops->on_end(stream->owner, err);
}

/* What comes for a connection that weir closed is answered with a reset, which may destroy what is on its way back. */
static void refuse_in(struct stream *stream)
{
    if (sim_bytes_len(&stream->in) > 0 && !stream->reset_out) {
        stream->reset_out = true;
        if (sim_chance(50)) {
            sim_bytes_cut(&stream->out, 0);
        }
        sim_poke_out(stream);
    }
    sim_bytes_drop(&stream->in, sim_bytes_len(&stream->in));
}

static void on_to_weir(struct sim_event *event)
{
    struct stream *stream = container_of(event, struct stream, to_weir);
    if (stream->closing) {
        refuse_in(stream);
        return;
    }
    if (stream->ops == NULL || stream->connecting || stream->ended) {
        return;
    }
    if (stream->paused && !(stream->reset_in && sim_chance(50))) {
        return; /* seen when it is resumed */
    }
    if (sim_bytes_len(&stream->in) > 0 && !stream->paused) {
        deliver_in(stream);
    } else if (stream->reset_in) {
        stream->broken = stream->broken != ERR_OK ? stream->broken : ERR_RESET;
        buf_reset(&stream->queue);
        end_in(stream, ERR_RESET);
    } else if (stream->fin_in) {
        end_in(stream, ERR_EOF);
    } else {
        return;
    }
    if (!stream->gone && (sim_bytes_len(&stream->in) > 0 || stream->fin_in || stream->reset_in)) {
        sim_poke_in(stream);
    }
}

static void on_reset_arrives(struct sim_event *event)
{
    struct stream *stream = container_of(event, struct stream, reset_arrives);
    if (stream->gone || stream->reset_in) {
        return;
    }
    sim_note("reset arrives", stream->id, 0, 0);
    stream->reset_in = true;
    sim_bytes_cut(&stream->out, 0);
    if (sim_chance(50)) {
        sim_bytes_cut(&stream->in, 0); /* it overtook what was on its way */
    }
    sim_poke_in(stream);
    if (stream->queue.len > 0 && stream->writable.place == 0) {
        sim_after(&stream->writable, sim_latency());
    }
}

void sim_send(struct stream *stream, struct bytes bytes)
{
    if (stream->peer_gone || stream->fin_in) {
        return;
    }
    if (sim_bytes_len(&stream->in) == 0) {
        stream->in_arrives_us = sim.now_us + sim_below(sim.weather.latency_us);
    }
    sim_bytes_add(&stream->in, bytes);
    stream->in_sent += bytes.len;
    sim_poke_in(stream);
}

void sim_mark(struct stream *stream, uint64_t at, enum sim_mark_kind kind, struct sim_case *about)
{
    if (stream->mark_count == stream->mark_size) {
        stream->mark_size = stream->mark_size * 2 + 8;
        stream->marks = realloc(stream->marks, stream->mark_size * sizeof *stream->marks);
        CHECK(stream->marks != NULL);
    }
    stream->marks[stream->mark_count++] = (struct sim_mark){at, kind, about};
}

void sim_marks_cut(struct stream *stream)
{
    while (stream->mark_count > 0 && stream->marks[stream->mark_count - 1].at > stream->in_sent) {
        stream->mark_count--;
    }
    stream->stray_end = stream->stray_end < stream->in_sent ? stream->stray_end : stream->in_sent;
}

void sim_fin(struct stream *stream)
{
    if (!stream->fin_in && !stream->peer_gone) {
        sim_note("peer fin", stream->id, 0, 0);
        stream->fin_in = true;
        sim_poke_in(stream);
    }
}

void sim_leave(struct stream *stream)
{
    sim_fin(stream);
    sim_note("peer leaves", stream->id, 0, 0);
    stream->peer_gone = true;
    sim_poke_out(stream);
}

void sim_reset(struct stream *stream)
{
    sim_note("peer resets", stream->id, 0, 0);
    stream->peer_gone = true;
    if (stream->reset_arrives.place == 0) {
        sim_after(&stream->reset_arrives, sim_latency());
    }
}

/* ---- to the peer ---- */

void sim_poke_out(struct stream *stream)
{
    if (stream->to_peer.place == 0) {
        uint64_t gap_us = sim_bytes_len(&stream->out) > 0 ? stream->peer_gap_us : 0;
        sim_after(&stream->to_peer, sim_latency() + gap_us);
    }
}

static void deliver_out(struct stream *stream)
{
    size_t len = piece_of(stream, sim_bytes_len(&stream->out));
    len = len < stream->peer_takes ? len : stream->peer_takes;
    char *copy = malloc(len);
    CHECK(copy != NULL);
    memcpy(copy, sim_bytes_all(&stream->out).at, len);
    sim_bytes_drop(&stream->out, len);
    sim_note("deliver", stream->id, len, 0);
    if (stream->queue.len > 0 && stream->writable.place == 0 && !stream->closing) {
        sim_after(&stream->writable, sim_latency());
    }
    stream->peer_ops->on_data(stream->peer, bytes_of(copy, len));
    free(copy);
}

static void tell_end(struct stream *stream, bool reset)
{
    if (!stream->end_told && stream->peer_ops != NULL) {
        stream->end_told = true;
        stream->peer_ops->on_end(stream->peer, reset);
    }
}

/* The peer closed: what still comes is answered with a reset. */
static void refuse_out(struct stream *stream)
{
    if (sim_bytes_len(&stream->out) > 0) {
        sim_note("refused", stream->id, sim_bytes_len(&stream->out), 0);
        sim_bytes_cut(&stream->out, 0);
        if (stream->reset_arrives.place == 0 && !stream->reset_in) {
            sim_after(&stream->reset_arrives, sim_latency());
        }
    }
}

static void on_to_peer(struct sim_event *event)
{
    struct stream *stream = container_of(event, struct stream, to_peer);
    if (stream->peer_ops == NULL) {
        return;
    }
    if (sim_stopped_until_us(stream) > sim.now_us) {
        sim_at(event, sim_stopped_until_us(stream) + sim_latency());
        return;
    }
    if (stream->peer_gone) {
        refuse_out(stream);
        if (stream->reset_out) {
            tell_end(stream, true);
        }
        return;
    }
    if (stream->peer_takes == 0 && !stream->reset_out) {
        return;
    }
    if (sim_bytes_len(&stream->out) > 0 && stream->peer_takes > 0) {
        deliver_out(stream);
    } else if (stream->reset_out) {
        stream->peer_gone = true;
        sim_note("peer sees reset", stream->id, 0, 0);
        tell_end(stream, true);
    } else if (stream->fin_out) {
        sim_note("peer sees fin", stream->id, 0, 0);
        tell_end(stream, false);
    }
    if (sim_bytes_len(&stream->out) > 0 || ((stream->fin_out || stream->reset_out) && !stream->end_told)) {
        sim_poke_out(stream);
    }
}

void sim_read_rate(struct stream *stream, size_t takes, uint64_t gap_us)
{
    stream->peer_takes = takes;
    stream->peer_gap_us = gap_us;
    if (takes > 0) {
        sim_poke_out(stream);
    }
}

/* ---- life ---- */

void sim_wire_init(struct stream *stream)
{
    stream->to_weir.fire = on_to_weir;
    stream->to_weir.weir = stream->weir;
    stream->to_peer.fire = on_to_peer;
    stream->reset_arrives.fire = on_reset_arrives;
    stream->peer_takes = SIZE_MAX;
    stream->grain = (int)sim_below(3);
}

void sim_stream_past(struct stream *stream)
{
    list_remove(&stream->in_streams);
    list_push_back(&sim.streams_past, &stream->in_streams);
}

void sim_streams_free(void)
{
    list_each (stream, after, &sim.streams_past, struct stream, in_streams) {
        list_remove(&stream->in_streams);
        sim_bytes_free(&stream->in);
        sim_bytes_free(&stream->out);
        if (stream->server != NULL) {
            sim_server_free(stream->server);
        }
        free(stream->marks);
        free(stream);
    }
}

/* ---- listening ---- */

static struct acceptor *acceptor_at(uint16_t port)
{
    list_each (acceptor, after, &sim.acceptors, struct acceptor, in_acceptors) {
        if (acceptor->port == port) {
            return acceptor;
        }
    }
    return NULL;
}

static void poke_accept(struct acceptor *acceptor)
{
    if (!acceptor->paused && !list_empty(&acceptor->backlog) && acceptor->event.place == 0) {
        sim_after(&acceptor->event, sim_latency());
    }
}

static void on_accept(struct sim_event *event)
{
    struct acceptor *acceptor = container_of(event, struct acceptor, event);
    struct stream *stream;
    for (uint64_t left = sim_between(1, 4); left > 0 && !acceptor->paused; left--) {
        stream = list_first(&acceptor->backlog, struct stream, in_backlog);
        if (stream == NULL) {
            break;
        }
        list_remove(&stream->in_backlog);
        if (stream->reset_in && sim_chance(50)) {
            stream->closing = stream->gone = true; /* gone before it was accepted */
            sim_stream_past(stream);
            continue;
        }
        sim_note("accept", stream->id, acceptor->port, 0);
        sim.counts.accepted++;
        acceptor->accepted(acceptor->owner, stream);
        oracle_accepted(stream);
        sim_poke_in(stream);
    }
    poke_accept(acceptor);
}

struct acceptor *acceptor_open(struct loop *loop, const struct addr_listen *at, int backlog, acceptor_cb accepted,
                               void *owner, enum err *err, char *why, size_t size)
{
    (void)backlog;
    uint16_t port = addr_port(&at->ip);
    if (acceptor_at(port) != NULL || sim.refuse_binds) {
        *err = ERR_ADDRESS_IN_USE;
        (void)bytes_to_text(BYTES("the address is in use"), why, size);
        return NULL;
    }
    struct acceptor *acceptor = calloc(1, sizeof *acceptor);
    CHECK(acceptor != NULL);
    acceptor->weir = sim_loop_weir(loop);
    acceptor->loop = loop;
    acceptor->accepted = accepted;
    acceptor->owner = owner;
    acceptor->port = port;
    acceptor->event.fire = on_accept;
    acceptor->event.weir = acceptor->weir;
    list_init(&acceptor->backlog);
    list_init(&acceptor->in_acceptors);
    list_push_back(&sim.acceptors, &acceptor->in_acceptors);
    *err = ERR_OK;
    return acceptor;
}

void acceptor_pause(struct acceptor *acceptor)
{
    acceptor->paused = true;
}

void acceptor_resume(struct acceptor *acceptor)
{
    acceptor->paused = false;
    poke_accept(acceptor);
}

uint16_t acceptor_port(const struct acceptor *acceptor)
{
    return acceptor->port;
}

/* Who was not accepted yet is reset. */
static void refuse_backlog(struct acceptor *acceptor)
{
    sim_cancel(&acceptor->event);
    list_each (stream, after, &acceptor->backlog, struct stream, in_backlog) {
        list_remove(&stream->in_backlog);
        stream->closing = stream->gone = true;
        stream->reset_out = true;
        sim_stream_past(stream);
        sim_poke_out(stream);
    }
    list_remove(&acceptor->in_acceptors);
}

void acceptor_close(struct acceptor *acceptor)
{
    refuse_backlog(acceptor);
    free(acceptor);
}

void sim_acceptors_orphan(const struct sim_weir *weir)
{
    list_each (acceptor, after, &sim.acceptors, struct acceptor, in_acceptors) {
        if (acceptor->weir == weir) {
            refuse_backlog(acceptor); /* its memory goes with its owner's */
        }
    }
}

struct stream *sim_dial(uint16_t port, const struct addr *from, const struct sim_peer_ops *ops, void *peer)
{
    struct acceptor *acceptor = acceptor_at(port);
    if (acceptor == NULL) {
        return NULL;
    }
    struct stream *stream = sim_stream_make(acceptor->loop, false);
    stream->addr_peer = *from;
    stream->port = port;
    stream->peer_ops = ops;
    stream->peer = peer;
    list_push_back(&acceptor->backlog, &stream->in_backlog);
    sim_note("dial", stream->id, port, 0);
    poke_accept(acceptor);
    return stream;
}

/* ---- prepared bytes, piece by piece ---- */

static void on_send(struct sim_event *event)
{
    struct sim_sender *sender = container_of(event, struct sim_sender, event);
    size_t len = sim_bytes_len(&sender->bytes);
    if (sim_stopped_until_us(sender->stream) > sim.now_us) {
        sim_at(event, sim_stopped_until_us(sender->stream) + sim_latency());
        return;
    }
    if (sender->piece > 0 && len > sender->piece) {
        len = (size_t)sim_between(1, sender->piece);
    }
    sim_send(sender->stream, bytes_take(sim_bytes_all(&sender->bytes), len));
    sim_bytes_drop(&sender->bytes, len);
    if (sim_bytes_len(&sender->bytes) > 0) {
        sim_after(event, sender->gap_us / 2 + sim_below(sender->gap_us + 1));
        return;
    }
    sender->running = false;
    sender->done(sender);
}

void sim_sender_init(struct sim_sender *sender, struct stream *stream, void (*done)(struct sim_sender *sender))
{
    sender->stream = stream;
    sender->event.fire = on_send;
    sender->done = done;
    sim_bytes_cut(&sender->bytes, 0);
}

void sim_sender_start(struct sim_sender *sender, uint64_t delay_us)
{
    sender->running = true;
    sim_after(&sender->event, delay_us);
}

void sim_sender_stop(struct sim_sender *sender)
{
    sender->running = false;
    sim_cancel(&sender->event);
    sim_bytes_cut(&sender->bytes, 0);
}
