/*
 * The sending of one answer over one stream, straight or bent by faults. A
 * straight answer is one gathered write, and filler that follows in pieces as
 * the peer takes it. A bent one is assembled whole first, since half of it, or
 * twice of it, is easier said of a text.
 */
#ifndef SANDBOX_DELIVERY_H
#define SANDBOX_DELIVERY_H

#include "routes.h"
#include "weir/io/stream.h"

enum delivery_result {
    DELIVERY_DONE,    /* all of it was handed to the stream */
    DELIVERY_DRAIN,   /* more follows when the stream has drained: delivery_go_on */
    DELIVERY_TRICKLE, /* more follows when trickle_ms have passed: delivery_go_on */
    DELIVERY_BROKEN,  /* the stream failed, or there was no memory */
};

struct delivery {
    struct stream *stream;   /* borrowed from the connection */
    struct bytes tail;       /* of a straight answer, due behind its filler */
    uint64_t filler_bytes;   /* still to come */
    uint64_t filler_offset;
    char *wire;              /* a bent answer, owned; NULL: straight */
    size_t wire_len;
    size_t wire_sent;
    uint64_t trickle_ms;
    bool close;              /* the stream must be ended behind it */
};

/* `close`: say Connection: close and set delivery->close. `head_only`: HEAD was asked for. */
enum delivery_result delivery_start(struct delivery *delivery, struct stream *stream, const struct answer *answer,
                                    const struct faults *faults, bool close, bool head_only);
enum delivery_result delivery_go_on(struct delivery *delivery);
/* Frees what it holds; harmless on a zeroed one and when repeated. */
void delivery_end(struct delivery *delivery);

#endif
