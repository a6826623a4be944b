/*
 * Heads, the straight way, the bent way. The order of the bends: framing
 * (chunked, no-length), then what happens to the text (half, garbage, twice,
 * extra bytes), then how it leaves (trickle).
 */
#include "delivery.h"

#include <stdlib.h>

#include "weir/base/clock.h"
#include "weir/http/write.h"

#define HEAD_BYTES 1024
/* A bent answer is assembled in memory. */
#define BENT_FILLER_BYTES_MAX (UINT64_C(16) << 20)

#define FILLER_16 "0123456789abcdef"
#define FILLER_64 FILLER_16 FILLER_16 FILLER_16 FILLER_16
#define FILLER_1K                                                                                                      \
    FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64      \
        FILLER_64 FILLER_64 FILLER_64 FILLER_64 FILLER_64
#define FILLER_16K                                                                                                     \
    FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K      \
        FILLER_1K FILLER_1K FILLER_1K FILLER_1K FILLER_1K

static const char filler[] = FILLER_16K;
#define FILLER_BYTES (sizeof(filler) - 1)

static const struct bytes grown_key = BYTES(",\"filler\":\"");
static const struct bytes interim = BYTES("HTTP/1.1 103 Early Hints\r\nLink: </receipt>; rel=preload\r\n\r\n");
static const struct bytes garbage = BYTES("\x16\x03\x01 this is not HTTP \x00\x01\xff\r\n\r\n");
static const struct bytes extra = BYTES("extra bytes behind the answer");

/* A grown JSON body loses its brace, which the tail brings back. */
static struct bytes body_of(const struct answer *answer)
{
    return answer->tail.len > 0 ? bytes_take(answer->body, answer->body.len - 1) : answer->body;
}

static uint64_t body_bytes(const struct answer *answer)
{
    size_t grown = answer->tail.len > 0 ? grown_key.len : 0;

    return body_of(answer).len + grown + answer->filler_bytes + answer->tail.len;
}

enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_NONE };

static struct bytes write_head(char text[HEAD_BYTES], const struct answer *answer, enum framing framing, bool close)
{
    struct http_writer writer;

    http_write_init(&writer, text, HEAD_BYTES);
    http_write_status_line(&writer, answer->status);
    http_write_field(&writer, BYTES("Date"), bytes_from_text(http_date(clock_wall_us())));
    if (answer->status != 204 && answer->status != 304) {
        http_write_field(&writer, BYTES("Content-Type"), bytes_from_text(answer->type));
        if (framing == FRAMING_LENGTH) {
            http_write_field_u64(&writer, BYTES("Content-Length"), body_bytes(answer));
        } else if (framing == FRAMING_CHUNKED) {
            http_write_lines(&writer, BYTES("Transfer-Encoding: chunked\r\n"));
        }
    }
    if (answer->replayed) {
        http_write_lines(&writer, BYTES("Idempotent-Replayed: true\r\n"));
    }
    http_write_lines(&writer, answer->lines);
    if (close) {
        http_write_lines(&writer, BYTES("Connection: close\r\n"));
    }
    http_write_end(&writer);
    CHECK(!writer.overflow);
    return http_write_bytes(&writer);
}

static bool has_body(const struct answer *answer, bool head_only)
{
    return !head_only && answer->status != 204 && answer->status != 304;
}

/* Up to STREAM_PARTS_MAX parts of filler; the text goes round at its own length. */
static int gather_filler(struct delivery *delivery, struct bytes *parts, int count)
{
    while (delivery->filler_bytes > 0 && count < STREAM_PARTS_MAX / 4) {
        size_t offset = (size_t)(delivery->filler_offset % FILLER_BYTES);
        struct bytes piece = bytes_skip(bytes_of(filler, FILLER_BYTES), offset);
        piece = bytes_take(piece, (size_t)(delivery->filler_bytes < piece.len ? delivery->filler_bytes : piece.len));
        parts[count++] = piece;
        delivery->filler_bytes -= piece.len;
        delivery->filler_offset += piece.len;
    }
    if (delivery->filler_bytes == 0 && delivery->tail.len > 0) {
        parts[count++] = delivery->tail;
        delivery->tail = BYTES_NONE;
    }
    return count;
}

static enum delivery_result write_parts(struct delivery *delivery, const struct bytes *parts, int count)
{
    struct stream_wrote wrote = stream_write(delivery->stream, parts, count);

    if (wrote.err != ERR_OK) {
        return DELIVERY_BROKEN;
    }
    return delivery->filler_bytes == 0 && delivery->tail.len == 0 ? DELIVERY_DONE : DELIVERY_DRAIN;
}

static enum delivery_result go_on_straight(struct delivery *delivery)
{
    enum delivery_result result = DELIVERY_DRAIN;
    struct bytes parts[STREAM_PARTS_MAX];

    /* Above the high mark the stream promises to call when it has drained; below it nobody would. */
    while (result == DELIVERY_DRAIN && stream_queued_bytes(delivery->stream) <= STREAM_QUEUE_HIGH_BYTES) {
        result = write_parts(delivery, parts, gather_filler(delivery, parts, 0));
    }
    return result;
}

static enum delivery_result start_straight(struct delivery *delivery, const struct answer *answer,
                                           const struct faults *faults, bool head_only)
{
    struct bytes parts[STREAM_PARTS_MAX];
    char head[HEAD_BYTES];
    enum delivery_result result;
    int count = 0;

    if (faults_has(faults, FAULT_INTERIM)) {
        parts[count++] = interim;
    }
    parts[count++] = write_head(head, answer, FRAMING_LENGTH, delivery->close);
    if (has_body(answer, head_only)) {
        delivery->filler_bytes = answer->filler_bytes;
        delivery->tail = answer->tail;
        if (answer->body.len > 0) {
            parts[count++] = body_of(answer);
        }
        if (answer->tail.len > 0) {
            parts[count++] = grown_key;
        }
        count = gather_filler(delivery, parts, count);
    }
    result = write_parts(delivery, parts, count);
    return result == DELIVERY_DRAIN ? go_on_straight(delivery) : result;
}

/* A text of a size that was computed before. */
struct wire {
    char *at;
    size_t size;
    size_t len;
};

static void wire_add(struct wire *wire, struct bytes bytes)
{
    CHECK(bytes.len <= wire->size - wire->len);
    if (bytes.len > 0) {
        memcpy(wire->at + wire->len, bytes.at, bytes.len);
    }
    wire->len += bytes.len;
}

/* One body in chunks: a third of it, then the rest, so that a reader must join. */
static void wire_chunk(struct wire *wire)
{
    struct bytes body = bytes_of(wire->at, wire->len);
    size_t first = (body.len + 2) / 3;
    char *text = malloc(body.len + 3 * HTTP_CHUNK_HEAD_BYTES + 16);
    struct wire chunked = {text, body.len + 3 * HTTP_CHUNK_HEAD_BYTES + 16, 0};
    struct bytes pieces[] = {bytes_take(body, first), bytes_skip(body, first)};
    char head[HTTP_CHUNK_HEAD_BYTES];

    if (text == NULL) {
        return; /* no length and no chunks: still a fault of the kind that was asked for */
    }
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        if (pieces[i].len > 0) {
            wire_add(&chunked, bytes_of(head, http_chunk_head(head, pieces[i].len)));
            wire_add(&chunked, pieces[i]);
            wire_add(&chunked, HTTP_CHUNK_TAIL);
        }
    }
    wire_add(&chunked, HTTP_LAST_CHUNK);
    free(wire->at);
    *wire = chunked;
}

static bool wire_body(struct wire *wire, const struct answer *answer)
{
    uint64_t filler_left = answer->filler_bytes;

    *wire = (struct wire){.size = (size_t)body_bytes(answer)};
    wire->at = malloc(wire->size + 1);
    if (wire->at == NULL) {
        return false;
    }
    wire_add(wire, body_of(answer));
    if (answer->tail.len > 0) {
        wire_add(wire, grown_key);
    }
    while (filler_left > 0) {
        struct bytes piece = bytes_take(bytes_of(filler, FILLER_BYTES), (size_t)filler_left);
        wire_add(wire, piece);
        filler_left -= piece.len;
    }
    wire_add(wire, answer->tail);
    return true;
}

/* What leaves: the interim answer, the answer whole or in half or twice, what lies behind it. */
static bool wire_bend(struct wire *wire, struct bytes head, struct bytes body, const struct faults *faults)
{
    int times = faults_has(faults, FAULT_TWO_ANSWERS) ? 2 : 1;

    *wire = (struct wire){.size = interim.len + 2 * (head.len + body.len) + extra.len + garbage.len};
    wire->at = malloc(wire->size);
    if (wire->at == NULL) {
        return false;
    }
    if (faults_has(faults, FAULT_INTERIM)) {
        wire_add(wire, interim);
    }
    if (faults_has(faults, FAULT_GARBAGE)) {
        wire_add(wire, garbage);
        return true;
    }
    for (int i = 0; i < times; i++) {
        wire_add(wire, head);
        wire_add(wire, faults_has(faults, FAULT_HALF_ANSWER) ? bytes_take(body, body.len / 2) : body);
    }
    if (faults_has(faults, FAULT_EXTRA_BYTES)) {
        wire_add(wire, extra);
    }
    return true;
}

static bool assemble(struct wire *wire, const struct answer *answer, const struct faults *faults, bool close,
                     bool head_only)
{
    enum framing framing = faults_has(faults, FAULT_NO_LENGTH) ? FRAMING_NONE
                           : faults_has(faults, FAULT_CHUNKED) ? FRAMING_CHUNKED
                                                               : FRAMING_LENGTH;
    char head_text[HEAD_BYTES];
    struct bytes head = write_head(head_text, answer, framing, close);
    struct wire body = {0};
    bool bent;

    if (has_body(answer, head_only)) {
        if (!wire_body(&body, answer)) {
            return false;
        }
        if (framing == FRAMING_CHUNKED) {
            wire_chunk(&body);
        }
    }
    bent = wire_bend(wire, head, bytes_of(body.at, body.len), faults);
    free(body.at);
    return bent;
}

static bool answer_is_bent(const struct faults *faults)
{
    static const uint32_t bends = 1u << FAULT_CHUNKED | 1u << FAULT_NO_LENGTH | 1u << FAULT_HALF_ANSWER |
                                  1u << FAULT_GARBAGE | 1u << FAULT_TWO_ANSWERS | 1u << FAULT_EXTRA_BYTES |
                                  1u << FAULT_TRICKLE;

    return (faults->set & bends) != 0;
}

static enum delivery_result go_on_bent(struct delivery *delivery)
{
    size_t len = delivery->trickle_ms > 0 ? 1 : delivery->wire_len - delivery->wire_sent;
    struct bytes part = bytes_of(delivery->wire + delivery->wire_sent, len);
    struct stream_wrote wrote = stream_write(delivery->stream, &part, 1);

    if (wrote.err != ERR_OK) {
        return DELIVERY_BROKEN;
    }
    delivery->wire_sent += len;
    return delivery->wire_sent == delivery->wire_len ? DELIVERY_DONE : DELIVERY_TRICKLE;
}

enum delivery_result delivery_start(struct delivery *delivery, struct stream *stream, const struct answer *answer,
                                    const struct faults *faults, bool close, bool head_only)
{
    struct wire wire;
    bool ends = close || faults_has(faults, FAULT_CLOSE) || faults_has(faults, FAULT_NO_LENGTH);

    *delivery = (struct delivery){.stream = stream, .close = ends};
    if (!answer_is_bent(faults) || answer->filler_bytes > BENT_FILLER_BYTES_MAX) {
        return start_straight(delivery, answer, faults, head_only);
    }
    if (!assemble(&wire, answer, faults, ends, head_only)) {
        return DELIVERY_BROKEN;
    }
    delivery->close = ends || faults_has(faults, FAULT_HALF_ANSWER) || faults_has(faults, FAULT_GARBAGE);
    delivery->wire = wire.at;
    delivery->wire_len = wire.len;
    delivery->trickle_ms = faults->value[FAULT_TRICKLE];
    return go_on_bent(delivery);
}

enum delivery_result delivery_go_on(struct delivery *delivery)
{
    return delivery->wire != NULL ? go_on_bent(delivery) : go_on_straight(delivery);
}

void delivery_end(struct delivery *delivery)
{
    free(delivery->wire);
    *delivery = (struct delivery){0};
}
