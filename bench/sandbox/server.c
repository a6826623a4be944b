/*
 * Accepting and ending. What happens on a connection is connection.c's.
 */
#include "server.h"

#include "connection.h"

#define CONNECTIONS_MAX 20000
#define BACKLOG         4096

static void on_accepted(void *owner, struct stream *stream)
{
    struct server *server = owner;
    struct connection *connection;

    server->accepted_count++;
    connection = connection_open(server, stream, server->accepted_count);
    if (connection != NULL) {
        list_push_back(&server->connections, connection_link(connection));
    }
}

bool server_open(struct server *server, const struct addr_listen *at, char *why, size_t size)
{
    enum err err;

    list_init(&server->connections);
    pool_init(&server->pool, "connections", connection_size_bytes(), CONNECTIONS_MAX);
    server->acceptor = acceptor_open(server->loop, at, BACKLOG, on_accepted, server, &err, why, size);
    if (server->acceptor == NULL) {
        pool_close(&server->pool);
        return false;
    }
    return true;
}

static void stop_when_empty(struct server *server)
{
    if (server->acceptor == NULL && list_empty(&server->connections)) {
        loop_stop(server->loop);
    }
}

void server_stop(struct server *server)
{
    if (server->acceptor == NULL) {
        return;
    }
    acceptor_close(server->acceptor);
    server->acceptor = NULL;
    for (struct list *link = server->connections.next; link != &server->connections; link = link->next) {
        connection_close(connection_of_link(link));
    }
    stop_when_empty(server);
}

void server_close(struct server *server)
{
    CHECK(server->acceptor == NULL && list_empty(&server->connections));
    pool_close(&server->pool);
}

void *server_take_connection(struct server *server)
{
    return pool_get(&server->pool);
}

void server_forget(struct server *server, struct list *in_connections, void *connection)
{
    list_remove(in_connections);
    pool_put(&server->pool, connection);
    stop_when_empty(server);
}
