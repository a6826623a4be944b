/*
 * Owns listening sockets: making or adopting one, and accepting in bounded
 * batches. It accepts with accept4 itself, over a uv_poll_t, because that
 * gives the peer's address for nothing and leaves the answer to "out of
 * descriptors" to us: one connection is shed through a descriptor held in
 * reserve, so that its peer sees an end, and then nothing is accepted for
 * 100 ms.
 *
 * "[::]:443" also serves IPv4 (IPV6_V6ONLY is off, as libuv has it); such peers
 * have IPv4-mapped addresses. A unix socket's file stays behind on close, since
 * a successor may already own the name; the next one to bind replaces it.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream_internal.h"

#include "weir/base/clock.h"

#define ACCEPTS_PER_TURN_MAX 32
#define PAUSE_US             (100 * CLOCK_US_PER_MS)

struct acceptor {
    uv_poll_t poll;
    struct loop *loop; /* borrowed */
    acceptor_cb accepted;
    void *owner;        /* borrowed */
    struct timer pause; /* armed while descriptors are short */
    int fd;             /* owned; -1 when closed */
    int spare_fd;       /* given up for a moment to shed a connection; -1 when it could not be had back */
    bool paused;        /* by the owner */
};

static int spare_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ------------------------------------------------------------------ making the socket */

static bool socket_option(int fd, int level, int name)
{
    int on = 1;

    return setsockopt(fd, level, name, &on, sizeof(on)) == 0;
}

/* Each of the makers returns a descriptor, or -1 with errno. */
static int bind_or_close(int fd, const struct sockaddr *at, socklen_t len)
{
    if (bind(fd, at, len) != 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int ip_socket(const struct addr *at)
{
    int fd = socket(at->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int off = 0;

    if (fd < 0) {
        return -1;
    }
    if (!socket_option(fd, SOL_SOCKET, SO_REUSEADDR) ||
        (at->u.any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return bind_or_close(fd, &at->u.any, addr_len(at));
}

/* True: a socket file that nobody listens on. */
static bool unix_file_is_stale(const struct sockaddr_un *at)
{
    struct stat status;
    bool stale = false;
    int fd;

    if (lstat(at->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        stale = connect(fd, (const struct sockaddr *)at, sizeof(*at)) != 0 && errno == ECONNREFUSED;
        (void)close(fd);
    }
    return stale;
}

static int unix_socket(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    (void)bytes_to_text(bytes_from_text(path), at.sun_path, sizeof(at.sun_path));
    if (unix_file_is_stale(&at)) {
        (void)unlink(at.sun_path); /* bind says so if it could not */
    }
    return bind_or_close(fd, (const struct sockaddr *)&at, sizeof(at));
}

/* Not closed on failure: it was not ours yet. */
static int adopted_socket(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0) {
        return -1;
    }
    if (listening == 0) {
        errno = EINVAL;
        return -1;
    }
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return -1;
    }
    return fd;
}

static int listening_socket(const struct addr_listen *at, int backlog)
{
    int fd;

    if (at->kind == ADDR_LISTEN_FD) {
        return adopted_socket(at->fd);
    }
    fd = at->kind == ADDR_LISTEN_IP ? ip_socket(&at->ip) : unix_socket(at->path);
    if (fd >= 0 && listen(fd, backlog) != 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void why_say(const struct addr_listen *at, int error, char *why, size_t size)
{
    char text[ADDR_TEXT_BYTES];

    switch (at->kind) {
    case ADDR_LISTEN_IP:
        (void)snprintf(why, size, "%s: %s", addr_format(&at->ip, text), strerror(error));
        break;
    case ADDR_LISTEN_UNIX:
        (void)snprintf(why, size, "unix:%s: %s", at->path, strerror(error));
        break;
    case ADDR_LISTEN_FD:
        (void)snprintf(why, size, "fd:%d: %s", at->fd, error == EINVAL ? "not a listening socket" : strerror(error));
        break;
    }
}

/* ------------------------------------------------------------------ accepting */

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_update(struct acceptor *acceptor)
{
    if (acceptor->fd < 0) {
        return;
    }
    if (acceptor->paused || timer_armed(&acceptor->pause)) {
        (void)uv_poll_stop(&acceptor->poll); /* never fails */
    } else {
        (void)uv_poll_start(&acceptor->poll, UV_READABLE, on_poll); /* never fails on an open handle */
    }
}

static void on_pause_over(struct timer *timer)
{
    struct acceptor *acceptor = container_of(timer, struct acceptor, pause);

    if (acceptor->spare_fd < 0) {
        acceptor->spare_fd = spare_open();
    }
    poll_update(acceptor);
}

/* Ends one waiting connection, so that its peer need not wait for us, and rests. */
static void on_shortage(struct acceptor *acceptor)
{
    if (acceptor->spare_fd >= 0) {
        int fd;
        (void)close(acceptor->spare_fd);
        fd = accept4(acceptor->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            (void)close(fd);
        }
        acceptor->spare_fd = spare_open();
    }
    timer_set_after(&acceptor->pause, PAUSE_US);
    poll_update(acceptor);
}

/* False: nothing more to accept in this turn. */
static bool accept_one(struct acceptor *acceptor)
{
    struct addr peer;
    socklen_t len = sizeof(peer);
    struct stream *stream;
    int fd = accept4(acceptor->fd, &peer.u.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            on_shortage(acceptor);
            return false;
        case EAGAIN:
            return false;
        default:
            return true; /* of that connection alone: it was gone before we took it */
        }
    }
    if (peer.u.any.sa_family != AF_INET && peer.u.any.sa_family != AF_INET6) {
        peer.u.any.sa_family = AF_UNSPEC;
    }
    stream = stream_adopt(acceptor->loop, fd, &peer);
    if (stream == NULL) {
        timer_set_after(&acceptor->pause, PAUSE_US); /* no memory; more connections would not help */
        poll_update(acceptor);
        return false;
    }
    acceptor->accepted(acceptor->owner, stream);
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct acceptor *acceptor = container_of(poll, struct acceptor, poll);

    (void)status; /* accept4 tells better */
    (void)events;
    loop_event(poll->loop->data);
    for (int i = 0; i < ACCEPTS_PER_TURN_MAX; i++) {
        if (!accept_one(acceptor) || acceptor->fd < 0 || acceptor->paused) {
            return;
        }
    }
}

/* ------------------------------------------------------------------ the public face */

struct acceptor *acceptor_open(struct loop *loop, const struct addr_listen *at, int backlog, acceptor_cb accepted,
                               void *owner, enum err *err, char *why, size_t size)
{
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
    int error = ENOMEM;

    if (acceptor == NULL) {
        goto failed;
    }
    acceptor->fd = listening_socket(at, backlog);
    if (acceptor->fd < 0) {
        error = errno;
        goto failed;
    }
    if (uv_poll_init(&loop->uv, &acceptor->poll, acceptor->fd) != 0) {
        (void)close(acceptor->fd);
        goto failed;
    }
    /* Accepted sockets inherit it on Linux: a system call less for each. Unix sockets have none. */
    (void)socket_option(acceptor->fd, IPPROTO_TCP, TCP_NODELAY);
    acceptor->loop = loop;
    acceptor->accepted = accepted;
    acceptor->owner = owner;
    acceptor->spare_fd = spare_open();
    timer_init(&acceptor->pause, loop, on_pause_over);
    poll_update(acceptor);
    *err = ERR_OK;
    return acceptor;

failed:
    *err = err_from_uv(uv_translate_sys_error(error));
    why_say(at, error, why, size);
    free(acceptor);
    return NULL;
}

void acceptor_pause(struct acceptor *acceptor)
{
    acceptor->paused = true;
    poll_update(acceptor);
}

void acceptor_resume(struct acceptor *acceptor)
{
    acceptor->paused = false;
    poll_update(acceptor);
}

uint16_t acceptor_port(const struct acceptor *acceptor)
{
    struct addr local;
    socklen_t len = sizeof(local);

    if (getsockname(acceptor->fd, &local.u.any, &len) != 0 ||
        (local.u.any.sa_family != AF_INET && local.u.any.sa_family != AF_INET6)) {
        return 0;
    }
    return addr_port(&local);
}

int acceptor_fd(const struct acceptor *acceptor)
{
    return acceptor->fd;
}

static void on_uv_closed(uv_handle_t *handle)
{
    free(container_of((uv_poll_t *)handle, struct acceptor, poll));
}

void acceptor_close(struct acceptor *acceptor)
{
    timer_stop(&acceptor->pause);
    uv_close((uv_handle_t *)&acceptor->poll, on_uv_closed); /* stops polling at once, so the descriptor may go */
    (void)close(acceptor->fd);
    acceptor->fd = -1;
    if (acceptor->spare_fd >= 0) {
        (void)close(acceptor->spare_fd);
    }
}
