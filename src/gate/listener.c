/*
 * One listening address: accepts, refuses what is over a limit before anything
 * is spent on it, and keeps the newest generation's settings for its clients.
 * Survives reloads by its address.
 */
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>

#define LISTEN_BACKLOG 4096

static const struct stats_family family_accepted = {
    .name = "weir_connections_accepted_total",
    .help = "Connections that a listener accepted.",
    .kind = STATS_COUNTER,
    .labels = {"listener"},
};
static const struct stats_family family_refused = {
    .name = "weir_connections_refused_total",
    .help = "Connections closed at once because their address has too many (limits.per_address).",
    .kind = STATS_COUNTER,
    .labels = {"listener"},
};
static const struct stats_family family_clients = {
    .name = "weir_clients",
    .help = "Open client connections.",
    .kind = STATS_GAUGE,
    .labels = {"listener"},
};
static const struct stats_family family_handshakes = {
    .name = "weir_tls_handshakes_total",
    .help = "TLS handshakes with clients by result.",
    .kind = STATS_COUNTER,
    .labels = {"listener", "result", "version", "resumed"},
};

static void on_burial(struct deferred *deferred);

/* ---- connections per address ---- */

/* False: one more would be over the limit, or the table is full of others. */
static bool count_address(struct listener *listener, const struct addr *peer)
{
    char text[ADDR_CUSTOMER_BYTES];
    struct bytes key = addr_customer(peer, text);
    if (key.len == 0) {
        return true;
    }
    uintptr_t count = (uintptr_t)table_find(listener->gate->per_address, key);
    if (count >= listener->conf->per_address) {
        return false;
    }
    return table_put(listener->gate->per_address, key, (void *)(count + 1));
}

void listener_forget_address(struct listener *listener, const struct addr *peer)
{
    char text[ADDR_CUSTOMER_BYTES];
    struct bytes key = addr_customer(peer, text);
    uintptr_t count = key.len == 0 ? 0 : (uintptr_t)table_find(listener->gate->per_address, key);
    if (count == 1) {
        (void)table_remove(listener->gate->per_address, key);
    } else if (count > 1) {
        CHECK(table_put(listener->gate->per_address, key, (void *)(count - 1))); /* replaces: needs no room */
    }
}

/* ---- accepting ---- */

static uint32_t connections_max(const struct listener *listener)
{
    uint32_t all = listener->gate->options.clients_max;
    uint32_t own = listener->conf->connections;
    return own != 0 && own < all ? own : all;
}

static bool is_full(const struct listener *listener)
{
    return listener->clients_count >= connections_max(listener) ||
           listener->gate->clients_count >= listener->gate->options.clients_max;
}

/* Stops accepting when there is no room for one more client, and goes on when there is. */
static void pace(struct listener *listener)
{
    bool full = is_full(listener);
    if (listener->acceptor == NULL || full == listener->paused) {
        return;
    }
    listener->paused = full;
    if (!full) {
        acceptor_resume(listener->acceptor);
        return;
    }
    acceptor_pause(listener->acceptor);
    log_event(listener->gate->options.log, LOG_WARN, "listener_full", "no more connections are accepted for now",
              LOG_T("listener", listener->conf->name), LOG_N("connections", listener->clients_count));
}

/* A client came to `listener` or left it. At the maximum of the gate that concerns all of them. */
static void pace_after(struct listener *listener)
{
    struct gate *gate = listener->gate;
    pace(listener);
    if (gate->clients_count + 1 < gate->options.clients_max) {
        return;
    }
    list_each (other, after, &gate->listeners, struct listener, in_listeners) {
        pace(other);
    }
}

static void on_accepted(void *owner, struct stream *stream)
{
    struct listener *listener = owner;
    struct stats *stats = listener->gate->options.stats;
    stats_add(stats, listener->stat_accepted, 1);
    if (!count_address(listener, stream_peer(stream))) {
        stats_add(stats, listener->stat_refused_address, 1);
        stream_close(stream, true);
        return;
    }
    if (!listener->conf->proxy_protocol && !limits_accept(listener, stream_peer(stream))) {
        listener_forget_address(listener, stream_peer(stream));
        stream_close(stream, true);
        return;
    }
    listener->clients_count++;
    stats_set(stats, listener->stat_clients, listener->clients_count);
    client_begin(listener, stream);
    pace_after(listener);
}

void listener_client_gone(struct listener *listener)
{
    CHECK(listener->clients_count > 0);
    listener->clients_count--;
    stats_set(listener->gate->options.stats, listener->stat_clients, listener->clients_count);
    pace_after(listener);
    if (listener->closing && listener->clients_count == 0) {
        loop_defer(listener->gate->options.loop, &listener->burial);
    }
}

/* ---- open, renew, close ---- */

static void find_series(struct listener *listener)
{
    static const char *const versions[] = {"1.2", "1.3"};
    struct stats *stats = listener->gate->options.stats;
    const char *name = listener->conf->name;
    listener->stat_accepted = stats_series(stats, &family_accepted, name);
    listener->stat_refused_address = stats_series(stats, &family_refused, name);
    listener->stat_clients = stats_series(stats, &family_clients, name);
    listener->stat_handshakes_failed = stats_series(stats, &family_handshakes, name, "failed", "", "");
    for (int v = 0; v < 2; v++) {
        listener->stat_handshakes[v][0] = stats_series(stats, &family_handshakes, name, "ok", versions[v], "false");
        listener->stat_handshakes[v][1] = stats_series(stats, &family_handshakes, name, "ok", versions[v], "true");
    }
}

static struct gate_inherited *find_inherited(const struct gate *gate, const char *name)
{
    for (int i = 0; i < gate->options.inherited_count; i++) {
        struct gate_inherited *inherited = &gate->options.inherited[i];
        if (inherited->fd >= 0 && strcmp(inherited->name, name) == 0) {
            return inherited;
        }
    }
    return NULL;
}

/* A socket that was passed under the listener's name beats its address. */
static bool open_acceptor(struct listener *listener, char *why, size_t size)
{
    struct gate *gate = listener->gate;
    struct gate_inherited *inherited = find_inherited(gate, listener->conf->name);
    struct addr_listen at = listener->conf->address;
    enum err err = ERR_OK;
    char words[200];
    if (inherited != NULL) {
        at = (struct addr_listen){.kind = ADDR_LISTEN_FD, .fd = inherited->fd};
    }
    listener->acceptor =
        acceptor_open(gate->options.loop, &at, LISTEN_BACKLOG, on_accepted, listener, &err, words, sizeof words);
    if (listener->acceptor == NULL) {
        (void)snprintf(why, size, "listener '%s' cannot listen on %s: %s", listener->conf->name, listener->conf->address_text,
                       words);
        return false;
    }
    if (inherited != NULL) {
        inherited->fd = -1; /* it is the acceptor's now */
    }
    return true;
}

static void listener_free(struct listener *listener)
{
    if (listener->generation != NULL) {
        generation_release(listener->generation);
    }
    free(listener);
}

void listener_renew(struct listener *listener, struct generation *generation, int index)
{
    struct generation *old = listener->generation;
    bool renamed = old == NULL || strcmp(listener->conf->name, generation->conf->listeners[index].name) != 0;
    listener->generation = generation_hold(generation);
    listener->conf = &generation->conf->listeners[index];
    listener->tls = generation->parts.servers[index];
    if (renamed) {
        find_series(listener);
    }
    if (old != NULL) {
        generation_release(old);
    }
    pace(listener);
}

struct listener *listener_open(struct gate *gate, struct generation *generation, int index, char *why, size_t size)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        (void)snprintf(why, size, "out of memory");
        return NULL;
    }
    listener->gate = gate;
    list_init(&listener->in_listeners);
    deferred_init(&listener->burial, on_burial);
    listener_renew(listener, generation, index);
    if (!open_acceptor(listener, why, size)) {
        listener_free(listener);
        return NULL;
    }
    list_push_back(&gate->listeners, &listener->in_listeners);
    pace(listener);
    return listener;
}

void listener_close(struct listener *listener)
{
    if (listener->closing) {
        return;
    }
    listener->closing = true;
    acceptor_close(listener->acceptor);
    listener->acceptor = NULL;
    client_close_idle(listener->gate, listener);
    if (listener->clients_count == 0) {
        loop_defer(listener->gate->options.loop, &listener->burial);
    }
}

static void on_burial(struct deferred *deferred)
{
    struct listener *listener = container_of(deferred, struct listener, burial);
    struct gate *gate = listener->gate;
    CHECK(listener->clients_count == 0);
    list_remove(&listener->in_listeners);
    listener_free(listener);
    gate_check_quiet(gate);
}
