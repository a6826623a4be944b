/*
 * A connection as weir sees it: io/stream.h, promise by promise. Callbacks come
 * from events and from the end of a turn, never from inside a call. What the
 * kernel takes of a write, and when it says so, is the seed's choice, with a
 * liking for the edges: nothing, all, and exactly the high mark.
 */
#include "sim.h"

#include <stdlib.h>

#include "weir/base/clock.h"

static void on_due(struct deferred *deferred);

static struct stream_wrote wrote(enum err err, bool sent)
{
    return (struct stream_wrote){.err = err, .sent = sent};
}

/* ---- birth ---- */

static void on_opened(struct sim_event *event);
static void on_writable(struct sim_event *event);

struct stream *sim_stream_make(struct loop *loop, bool is_link)
{
    static const size_t rooms[] = {200, 2000, 16 * 1024, 128 * 1024, 1024 * 1024};
    struct stream *stream = calloc(1, sizeof *stream);
    CHECK(stream != NULL);
    stream->id = ++sim.stream_count;
    stream->loop = loop;
    stream->weir = sim_loop_weir(loop);
    stream->is_link = is_link;
    stream->room = rooms[sim_below(ARRAY_COUNT(rooms))];
    stream->opened.fire = on_opened;
    stream->writable.fire = on_writable;
    stream->opened.weir = stream->writable.weir = stream->weir;
    list_init(&stream->in_closing);
    list_init(&stream->in_backlog);
    list_init(&stream->in_streams);
    list_push_back(&sim.streams, &stream->in_streams);
    buf_init(&stream->queue, loop_blocks(loop), SIZE_MAX);
    deferred_init(&stream->due, on_due);
    sim_wire_init(stream);
    return stream;
}

struct stream *stream_connect(struct loop *loop, const struct addr *to, struct tls_client *tls,
                              const struct stream_ops *ops, void *owner, enum err *err)
{
    CHECK(tls == NULL);
    enum sim_mood mood = sim_place_mood(to);
    *err = ERR_OK;
    if (mood == MOOD_FAILS_AT_ONCE || sim_loop_weir(loop)->dead) {
        *err = sim_chance(50) ? ERR_DESCRIPTORS : ERR_UNREACHABLE;
        sim_note("connect fails", 0, 0, 0);
        return NULL;
    }
    struct stream *stream = sim_stream_make(loop, true);
    stream->addr_peer = *to;
    stream->ops = ops;
    stream->owner = owner;
    stream->connecting = true;
    stream->open_err = mood == MOOD_REFUSES ? ERR_REFUSED : mood == MOOD_UNREACHABLE ? ERR_UNREACHABLE : ERR_OK;
    stream->is_check = sick_is_check(stream);
    sim_note("connect", stream->id, (uint64_t)mood, addr_port(to));
    oracle_connect(stream);
    if (mood != MOOD_SILENT) {
        uint64_t slow_us = sim_chance(sim.weather.silent) ? sim_below(250 * SIM_MS) : 0;
        sim_after(&stream->opened, sim_latency() + slow_us);
    }
    return stream;
}

static void on_opened(struct sim_event *event)
{
    struct stream *stream = container_of(event, struct stream, opened);
    if (stream->closing) {
        return;
    }
    stream->connecting = false;
    stream->idle_since_us = sim.now_us;
    sim_note("connected", stream->id, stream->open_err, 0);
    if (stream->open_err != ERR_OK) {
        stream->ended = true;
        stream->broken = stream->open_err;
        stream->ops->on_open(stream->owner, stream->open_err);
        return;
    }
    sim_server_begin(stream);
    stream->ops->on_open(stream->owner, ERR_OK);
    sim_poke_in(stream);
}

void stream_attach(struct stream *stream, const struct stream_ops *ops, void *owner)
{
    CHECK(stream->ops == NULL && !stream->gone);
    stream->ops = ops;
    stream->owner = owner;
    sim_poke_in(stream);
}

void stream_tls_accept(struct stream *stream, struct tls_server *tls, struct bytes early)
{
    (void)stream;
    (void)tls;
    (void)early;
    sim_violated("TLS on a plain listener");
}

bool stream_tls_info(const struct stream *stream, struct stream_tls *info)
{
    (void)stream;
    (void)info;
    return false;
}

/* ---- writing ---- */

static size_t parts_len(const struct bytes *parts, int count)
{
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        len += parts[i].len;
    }
    return len;
}

/* How much of a write the kernel takes at once. */
static size_t taken_of(const struct stream *stream, size_t len)
{
    size_t held = sim_bytes_len(&stream->out);
    size_t room = held < stream->room ? stream->room - held : 0;
    if (stream->queue.len > 0) {
        return 0;
    }
    if (len > STREAM_QUEUE_HIGH_BYTES + 1 && sim_chance(30)) {
        return len - STREAM_QUEUE_HIGH_BYTES + sim_between(0, 2) - 1;
    }
    if (sim_chance(5)) {
        room = sim_below(room + 1);
    }
    return len < room ? len : room;
}

/* The first `taken` bytes go to the kernel, the next ones, up to `len`, into the queue. */
static void hand_over(struct stream *stream, const struct bytes *parts, int count, size_t taken, size_t len)
{
    stream->out_taken += taken;
    stream->out_given += len;
    for (int i = 0; i < count && len > 0; i++) {
        struct bytes part = bytes_take(parts[i], len);
        struct bytes now = bytes_take(part, taken);
        sim_bytes_add(&stream->out, now);
        taken -= now.len;
        len -= part.len;
        if (now.len < part.len) {
            CHECK(buf_append(&stream->queue, bytes_skip(part, now.len), BLOCKS_MUST) == ERR_OK);
        }
    }
}

/* An error that the seed asks for. True: *result is it. */
static bool break_write(struct stream *stream, const struct bytes *parts, int count, size_t len,
                        struct stream_wrote *result)
{
    if (!sim_one_in(sim.weather.write_breaks)) {
        return false;
    }
    bool nothing = sim_chance(50) || stream->queue.len > 0 || len < 2;
    if (nothing) {
        stream->broken = ERR_RESET;
        stream->reset_in = true;
        stream->peer_gone = true;
        *result = wrote(ERR_RESET, false);
    } else {
        size_t part = (size_t)sim_between(1, len - 1);
        hand_over(stream, parts, count, part, part);
        stream->broken = ERR_NO_MEMORY;
        *result = wrote(ERR_NO_MEMORY, true);
    }
    sim_note("write breaks", stream->id, (uint64_t)result->err, result->sent);
    sim_poke_in(stream);
    sim_poke_out(stream);
    return true;
}

static struct stream_wrote write_now(struct stream *stream, const struct bytes *parts, int count)
{
    struct stream_wrote result;
    size_t len = parts_len(parts, count);
    if (stream->broken != ERR_OK) {
        return wrote(stream->broken, false);
    }
    if (stream->closing || stream->shut_asked || stream->connecting) {
        return wrote(ERR_CANCELED, false);
    }
    if (len == 0) {
        return wrote(ERR_OK, false);
    }
    if (stream->reset_in && stream->queue.len == 0) {
        stream->broken = ERR_RESET;
        sim_poke_in(stream);
        return wrote(ERR_RESET, false);
    }
    if (break_write(stream, parts, count, len, &result)) {
        return result;
    }
    if (stream->queue.len == 0) {
        stream->progress_us = sim.now_us;
    }
    hand_over(stream, parts, count, taken_of(stream, len), len);
    stream->was_high = stream->was_high || stream->queue.len > STREAM_QUEUE_HIGH_BYTES;
    if (stream->queue.len > 0 && stream->writable.place == 0) {
        sim_after(&stream->writable, sim_latency());
    }
    sim_poke_out(stream);
    return wrote(ERR_OK, true);
}

struct stream_wrote stream_write(struct stream *stream, const struct bytes *parts, int count)
{
    CHECK(!stream->gone && count >= 0 && count <= STREAM_PARTS_MAX);
    sim_weir_falter(stream->weir);
    if (stream->weir->dead) {
        return wrote(ERR_OK, true); /* as if; nobody sees it */
    }
    uint64_t before = stream->out_given;
    struct stream_wrote result = write_now(stream, parts, count);
    sim_note("write", stream->id, parts_len(parts, count), stream->queue.len << 8 | (uint64_t)result.err);
    if (stream->is_link) {
        oracle_write(stream, parts, count, result.sent, before);
    }
    sim_weir_falter(stream->weir);
    return result;
}

static void drained(struct stream *stream)
{
    stream->was_high = false;
    stream->due_drain = false;
    if (!stream->closing) {
        stream->ops->on_drain(stream->owner);
    }
}

void sim_stream_break_queue(struct stream *stream)
{
    if (stream->broken == ERR_OK) {
        stream->broken = ERR_RESET;
    }
    buf_reset(&stream->queue);
    stream->due_broken = true;
    loop_defer(stream->loop, &stream->due);
}

static void on_queue_empty(struct stream *stream)
{
    bool owed = stream->was_high;
    if (stream->shut_asked && !stream->fin_out) {
        stream->fin_out = true;
        owed = true;
        sim_poke_out(stream);
    }
    if (owed) {
        drained(stream);
    }
}

/* The kernel may have room again. */
static void on_writable(struct sim_event *event)
{
    struct stream *stream = container_of(event, struct stream, writable);
    size_t held = sim_bytes_len(&stream->out);
    if (stream->closing || stream->queue.len == 0) {
        return;
    }
    if (stream->reset_in) {
        sim_stream_break_queue(stream);
        return;
    }
    if (held >= stream->room) {
        return; /* the peer's next read calls again */
    }
    size_t left = sim_chance(60) ? stream->room - held : (size_t)sim_between(1, stream->room - held);
    while (left > 0 && stream->queue.len > 0) {
        struct bytes front = bytes_take(buf_front(&stream->queue), left);
        sim_bytes_add(&stream->out, front);
        stream->out_taken += front.len;
        left -= front.len;
        buf_consume(&stream->queue, front.len);
    }
    stream->progress_us = sim.now_us;
    sim_note("writable", stream->id, stream->queue.len, 0);
    sim_poke_out(stream);
    if (stream->queue.len > 0) {
        sim_after(event, sim_latency());
    }
    if (stream->queue.len == 0) {
        on_queue_empty(stream);
    } else if (stream->was_high && stream->queue.len < STREAM_QUEUE_LOW_BYTES) {
        drained(stream);
    }
}

static void on_due(struct deferred *deferred)
{
    struct stream *stream = container_of(deferred, struct stream, due);
    if (stream->due_drain) {
        drained(stream);
    }
    if (stream->due_broken && !stream->closing && !stream->ended) {
        stream->due_broken = false;
        stream->ended = true;
        sim_note("broken", stream->id, stream->broken, 0);
        stream->ops->on_end(stream->owner, stream->broken);
    }
}

size_t stream_queued_bytes(const struct stream *stream)
{
    CHECK(!stream->gone);
    return stream->queue.len;
}

uint64_t stream_progress_us(const struct stream *stream)
{
    CHECK(!stream->gone);
    return stream->queue.len == 0 ? sim.now_us : stream->progress_us;
}

/* What was sent lately may be on its way still; the oracle knows which. */
bool stream_is_silent(const struct stream *stream)
{
    CHECK(!stream->gone);
    bool arrived = sim_bytes_len(&stream->in) > 0 && stream->in_arrives_us <= sim.now_us;
    return stream->broken == ERR_OK && !stream->ended && !stream->closing && !stream->connecting && !arrived &&
           !(stream->fin_in && sim_chance(50)) && !stream->reset_in;
}

/* ---- ends ---- */

void stream_shut(struct stream *stream)
{
    CHECK(!stream->gone);
    if (stream->weir->dead) {
        stream->due_drain = true; /* its owner waits for that */
        loop_defer(stream->loop, &stream->due);
        return;
    }
    if (stream->shut_asked || stream->closing || stream->connecting) {
        return;
    }
    sim_note("shut", stream->id, stream->queue.len, 0);
    stream->shut_asked = true;
    if (stream->broken == ERR_OK && stream->queue.len == 0) {
        stream->fin_out = true;
        stream->due_drain = true;
        loop_defer(stream->loop, &stream->due);
        sim_poke_out(stream);
    }
}

void stream_pause(struct stream *stream)
{
    CHECK(!stream->gone);
    stream->paused = true;
    sim_note("pause", stream->id, 0, 0);
}

void stream_resume(struct stream *stream)
{
    CHECK(!stream->gone);
    if (stream->paused && !stream->closing) {
        stream->paused = false;
        sim_note("resume", stream->id, 0, 0);
        sim_poke_in(stream);
    }
}

void stream_close(struct stream *stream, bool reset)
{
    CHECK(!stream->gone);
    if (stream->weir->dead && !stream->buried) {
        stream->buried = true;
        loop_undefer(&stream->due);
        if (!list_linked(&stream->in_closing)) {
            sim_loop_closing(stream->loop, &stream->in_closing);
        }
    }
    if (stream->closing) {
        return;
    }
    sim_note("close", stream->id, reset, stream->queue.len);
    stream->closing = true;
    loop_undefer(&stream->due);
    sim_cancel(&stream->opened);
    sim_loop_closing(stream->loop, &stream->in_closing);
    /* As TCP has it: a close over bytes that were not read is a reset. */
    if (reset || (sim_bytes_len(&stream->in) > 0 && sim_chance(50))) {
        stream->reset_out = true;
        sim_bytes_cut(&stream->out, (size_t)sim_below(sim_bytes_len(&stream->out) + 1));
    }
    stream->fin_out = true;
    sim_poke_out(stream);
}

/* Its kernel sends what it has and ends the connection; what weir had not handed over is lost with it. */
void sim_stream_orphan(struct stream *stream)
{
    if (stream->closing) {
        return;
    }
    sim_note("orphan", stream->id, stream->queue.len, 0);
    stream->closing = true;
    sim_cancel(&stream->opened);
    sim_cancel(&stream->writable);
    if (sim_bytes_len(&stream->in) > 0) {
        stream->reset_out = true;
        sim_bytes_cut(&stream->out, (size_t)sim_below(sim_bytes_len(&stream->out) + 1));
    }
    stream->fin_out = true;
    sim_poke_out(stream);
}

/* ---- what is known of it ---- */

const struct addr *stream_peer(const struct stream *stream)
{
    return &stream->addr_peer;
}

const char *stream_why(const struct stream *stream)
{
    (void)stream;
    return "";
}
