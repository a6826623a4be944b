/*
 * The service manager's protocol by hand (sd_notify(3), sd_listen_fds(3)): one
 * datagram a message, never waited for. A manager that does not listen is not
 * an error of ours; the first failed message is logged, the rest stay quiet.
 */
#include "weir/app/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/base/clock.h"

#define LISTEN_FD_FIRST 3
#define MESSAGE_BYTES 512

/* A path, or '@' and a name of the abstract namespace. */
static bool set_address(struct notify *notify, const char *name)
{
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(notify->to.sun_path)) {
        return false;
    }
    memset(&notify->to, 0, sizeof(notify->to));
    notify->to.sun_family = AF_UNIX;
    memcpy(notify->to.sun_path, name, len);
    if (name[0] == '@') {
        notify->to.sun_path[0] = '\0';
    }
    /* An abstract name has no NUL at its end: its length says where it ends. */
    notify->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

static void send_message(struct notify *notify, const char *message)
{
    if (notify->fd < 0) {
        return;
    }
    ssize_t sent = sendto(notify->fd, message, strlen(message), MSG_DONTWAIT | MSG_NOSIGNAL,
                          (const struct sockaddr *)&notify->to, notify->to_len);
    if (sent < 0 && !notify->failed) {
        notify->failed = true;
        log_event(notify->log, LOG_WARN, "notify_failed", "the service manager cannot be told",
                  LOG_T("why", strerror(errno)));
    }
}

static uint64_t env_number(const char *name)
{
    uint64_t value;
    const char *text = getenv(name);
    if (text == NULL || !bytes_to_u64(bytes_from_text(text), &value)) {
        return 0;
    }
    return value;
}

static void beat(struct timer *timer)
{
    struct notify *notify = container_of(timer, struct notify, watchdog);
    send_message(notify, "WATCHDOG=1");
    timer_set_after(timer, notify->watchdog_us / 2);
}

/* WATCHDOG_PID, where it is given, says whose watchdog it is. */
static uint64_t env_watchdog_us(void)
{
    if (getenv("WATCHDOG_PID") != NULL && env_number("WATCHDOG_PID") != (uint64_t)getpid()) {
        return 0;
    }
    return env_number("WATCHDOG_USEC");
}

void notify_open(struct notify *notify, struct loop *loop, struct log *log)
{
    *notify = (struct notify){.loop = loop, .log = log, .fd = -1};
    timer_init(&notify->watchdog, loop, beat);
    const char *name = getenv("NOTIFY_SOCKET");
    if (name == NULL || name[0] == '\0') {
        return;
    }
    if (!set_address(notify, name)) {
        log_event(log, LOG_WARN, "notify_failed", "NOTIFY_SOCKET is neither a path nor an abstract name",
                  LOG_T("socket", name));
        return;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0) {
        log_event(log, LOG_WARN, "notify_failed", "no socket to tell the service manager",
                  LOG_T("why", strerror(errno)));
        return;
    }
    notify->watchdog_us = env_watchdog_us();
}

/* A status is one line: a line break in it would begin another assignment. */
static void send_with_status(struct notify *notify, const char *first, const char *status)
{
    char message[MESSAGE_BYTES];
    int len = snprintf(message, sizeof(message), "%sSTATUS=%s", first, status);
    if (len < 0) {
        return;
    }
    for (char *at = message + strlen(first); *at != '\0'; at++) {
        if (*at == '\n') {
            *at = ' ';
        }
    }
    send_message(notify, message);
}

void notify_ready(struct notify *notify, const char *status)
{
    send_with_status(notify, "READY=1\n", status);
    if (notify->fd >= 0 && notify->watchdog_us > 0 && !timer_armed(&notify->watchdog)) {
        beat(&notify->watchdog);
    }
}

void notify_reloading(struct notify *notify)
{
    char message[MESSAGE_BYTES];
    snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
    send_message(notify, message);
}

void notify_stopping(struct notify *notify, const char *status)
{
    send_with_status(notify, "STOPPING=1\n", status);
}

void notify_status(struct notify *notify, const char *status)
{
    send_with_status(notify, "", status);
}

void notify_close(struct notify *notify)
{
    timer_stop(&notify->watchdog);
    if (notify->fd >= 0) {
        close(notify->fd);
        notify->fd = -1;
    }
}

/* Cuts the next name off "a:b:c"; "unknown" when there is none, as the manager itself does. */
static void next_name(struct bytes *names, char *text, size_t size)
{
    size_t colon = bytes_find(*names, ':');
    struct bytes name = bytes_take(*names, colon);
    *names = colon == SIZE_MAX ? BYTES_NONE : bytes_skip(*names, colon + 1);
    bytes_to_text(name.len > 0 ? name : BYTES("unknown"), text, size);
}

int notify_inherit(struct gate_inherited *inherited, struct log *log)
{
    uint64_t passed = env_number("LISTEN_PID") == (uint64_t)getpid() ? env_number("LISTEN_FDS") : 0;
    struct bytes names = bytes_from_text(getenv("LISTEN_FDNAMES"));
    int count = 0;
    for (uint64_t i = 0; i < passed && i < UINT16_MAX; i++) {
        int fd = LISTEN_FD_FIRST + (int)i;
        char name[sizeof(inherited->name)];
        next_name(&names, name, sizeof(name));
        if (count == GATE_INHERITED_MAX) {
            close(fd);
            log_event(log, LOG_WARN, "inherited_socket_closed", "more sockets were passed than weir takes",
                      LOG_T("name", name), LOG_N("fd", fd));
            continue;
        }
        /* What was passed must not leak into a child, and an fd that is not open is no socket. */
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
            continue;
        }
        memcpy(inherited[count].name, name, sizeof(name));
        inherited[count].fd = fd;
        count++;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return count;
}
