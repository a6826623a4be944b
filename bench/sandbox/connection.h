/*
 * One accepted connection: it reads requests one after the other, lets routes
 * answer them in order, and carries out the faults that concern the socket.
 * Owned by its server, which learns of its end by server_forget.
 */
#ifndef SANDBOX_CONNECTION_H
#define SANDBOX_CONNECTION_H

#include "weir/base/list.h"
#include "weir/io/loop.h"
#include "weir/io/stream.h"

struct server;

struct connection;

/* Of one object, for the server's pool. */
size_t connection_size_bytes(void);
/* Takes the stream over; on no memory it is closed and NULL returned. `number` counts from 1. */
struct connection *connection_open(struct server *server, struct stream *stream, uint64_t number);
/* Asks for the end, without an answer to what is being read. Idempotent. */
void connection_close(struct connection *connection);

/* The link of a connection in its server's list. */
struct list *connection_link(struct connection *connection);
struct connection *connection_of_link(struct list *in_connections);

#endif
