/*
 * What weir says to the service manager and what it got from it: sd_notify's
 * datagrams (NOTIFY_SOCKET), its watchdog, and the sockets it passes
 * (LISTEN_FDS). Without a service manager everything here does nothing.
 */
#ifndef WEIR_APP_NOTIFY_H
#define WEIR_APP_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "weir/base/log.h"
#include "weir/gate/gate.h"
#include "weir/io/timer.h"

struct notify {
    struct loop *loop;      /* borrowed */
    struct log *log;        /* borrowed */
    int fd;                 /* datagram socket; -1: nobody listens */
    struct sockaddr_un to;
    socklen_t to_len;
    uint64_t watchdog_us;   /* what the manager expects; 0: no watchdog */
    struct timer watchdog;
    bool failed;            /* one failure was logged; more are not */
};

/* Reads the environment. A NOTIFY_SOCKET that cannot be used is logged and ignored. */
void notify_open(struct notify *notify, struct loop *loop, struct log *log);
/* Listening and configured: READY=1, and the watchdog's beats begin. `status` as in notify_status. */
void notify_ready(struct notify *notify, const char *status);
/* A reload begins; notify_ready ends it. */
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify, const char *status);
/* One line that `systemctl status` shows. */
void notify_status(struct notify *notify, const char *status);
void notify_close(struct notify *notify);

/*
 * Takes over what LISTEN_FDS passed: at most GATE_INHERITED_MAX sockets with
 * their names (LISTEN_FDNAMES; "unknown" where there is none). More are closed.
 * Returns how many; 0 when the sockets are for another process. The variables
 * are removed.
 */
int notify_inherit(struct gate_inherited *inherited, struct log *log);

#endif
