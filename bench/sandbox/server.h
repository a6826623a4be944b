/*
 * The sandbox as a server: its listening socket, its connections, its TLS, and
 * the end of all of them. One per process; the connections borrow what they
 * share from it.
 */
#ifndef SANDBOX_SERVER_H
#define SANDBOX_SERVER_H

#include "routes.h"
#include "weir/base/list.h"
#include "weir/base/pool.h"
#include "weir/io/loop.h"
#include "weir/io/stream.h"
#include "weir/io/tls.h"

struct server {
    struct loop *loop;          /* borrowed from main */
    struct sandbox *sandbox;    /* borrowed from main */
    struct tls_server *tls;     /* borrowed from main; NULL: plain */
    struct acceptor *acceptor;  /* owned; NULL once stopped */
    struct pool pool;           /* of connections */
    struct list connections;    /* owned */
    uint64_t accepted_count;
};

/* False: `why` (size bytes) says what failed, and nothing is held. */
WEIR_MUSTCHECK bool server_open(struct server *server, const struct addr_listen *at, char *why, size_t size);
/* Closes everything; the loop stops when the last connection has gone. Idempotent. */
void server_stop(struct server *server);
/* After the loop has ended. */
void server_close(struct server *server);

/* For connection.c. */
void *server_take_connection(struct server *server);
void server_forget(struct server *server, struct list *in_connections, void *connection);

#endif
