/*
 * The identity of a unix socket's peer. The kernel recorded it at connect time,
 * so it can be neither forged nor changed by passing the descriptor on.
 */
#include "weir/io/peer.h"

#include <poll.h>
#include <sys/socket.h>

#include "stream_internal.h"

bool peer_identify(const struct stream *stream, struct peer_identity *peer)
{
    uv_os_fd_t fd;
    struct ucred credentials;
    socklen_t len = sizeof(credentials);

    /* On TCP the call succeeds too, with nobody in it. */
    if (uv_fileno((const uv_handle_t *)&stream->tcp, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0 || credentials.pid == 0) {
        return false;
    }
    peer->uid = credentials.uid;
    peer->pid = credentials.pid;
    return true;
}

bool peer_is_gone(const struct stream *stream)
{
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&stream->tcp, &fd) != 0) {
        return true;
    }
    /* No event is asked for: POLLHUP and POLLERR come unasked, and a half-closed end has neither. */
    struct pollfd at = {.fd = fd};
    return poll(&at, 1, 0) > 0 && (at.revents & (POLLHUP | POLLERR)) != 0;
}
