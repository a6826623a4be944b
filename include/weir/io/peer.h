/* Who is at the other end of a unix socket, as the kernel says it. */
#ifndef WEIR_IO_PEER_H
#define WEIR_IO_PEER_H

#include <stdbool.h>
#include <stdint.h>

struct stream;

struct peer_identity {
    uint32_t uid;
    int32_t pid;
};

/* The process that connected (SO_PEERCRED), as it was then. False: not a unix socket. */
bool peer_identify(const struct stream *stream, struct peer_identity *peer);

/*
 * Whether the other end of a unix socket was closed, both sides of it, also
 * while nothing is read here. On TCP only a reset is seen.
 */
bool peer_is_gone(const struct stream *stream);

#endif
