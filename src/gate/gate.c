/*
 * The gate as a whole: which generation is in use, which listeners are open,
 * and how all of it comes to rest. What a request lives through is exchange.c.
 */
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>

/* Addresses that have a connection at one time; beyond it new addresses are refused. */
#define PER_ADDRESS_MAX 1000000

static void on_quiet(struct deferred *deferred);

struct gate *gate_open(const struct gate_options *options)
{
    struct gate *gate = calloc(1, sizeof *gate);
    if (gate == NULL) {
        return NULL;
    }
    gate->per_address = table_open(PER_ADDRESS_MAX);
    gate->claims = table_open(0); /* one per exchange, which are bounded */
    if (gate->per_address == NULL || gate->claims == NULL) {
        table_close(gate->per_address);
        free(gate);
        return NULL;
    }
    gate->options = *options;
    gate->limiter = limiter_open(gate);
    if (gate->limiter == NULL) {
        table_close(gate->per_address);
        table_close(gate->claims);
        free(gate);
        return NULL;
    }
    shedding_open(gate);
    unknown_find_series(gate);
    list_init(&gate->listeners);
    list_init(&gate->clients);
    list_init(&gate->exchanges);
    deferred_init(&gate->quiet_later, on_quiet);
    pool_init(&gate->client_pool, "clients", client_bytes(), 0);          /* bounded by clients_max */
    pool_init(&gate->client_more_pool, "client_mores", client_more_bytes(), 0); /* at most one a client */
    pool_init(&gate->exchange_pool, "exchanges", sizeof(struct exchange), 0); /* one per client, and orphans */
    return gate;
}

void gate_use_store(struct gate *gate, struct store *store)
{
    gate->store = store;
}

struct generation *gate_generation(const struct gate *gate)
{
    return gate->generation;
}

/* ---- taking a generation into use ---- */

/* The open listener at this address, whatever its name was; NULL: a new one is needed. */
static struct listener *find_listener(struct gate *gate, const struct conf_listener *conf)
{
    list_each (listener, after, &gate->listeners, struct listener, in_listeners) {
        if (!listener->closing && addr_listen_equal(&listener->conf->address, &conf->address)) {
            return listener;
        }
    }
    return NULL;
}

static bool open_new_listeners(struct gate *gate, struct generation *generation, struct listener **fresh, char *why,
                               size_t size)
{
    const struct conf *conf = generation->conf;
    for (int i = 0; i < conf->listener_count; i++) {
        if (find_listener(gate, &conf->listeners[i]) != NULL) {
            continue;
        }
        fresh[i] = listener_open(gate, generation, i, why, size);
        if (fresh[i] == NULL) {
            return false;
        }
    }
    return true;
}

static int index_of(const struct conf *conf, const struct listener *listener)
{
    for (int i = 0; i < conf->listener_count; i++) {
        if (addr_listen_equal(&conf->listeners[i].address, &listener->conf->address)) {
            return i;
        }
    }
    return -1;
}

static void renew_listeners(struct gate *gate, struct generation *generation)
{
    list_each (listener, after, &gate->listeners, struct listener, in_listeners) {
        int index = index_of(generation->conf, listener);
        if (index >= 0 && !listener->closing) {
            listener_renew(listener, generation, index);
        } else {
            listener_close(listener);
        }
    }
}

bool gate_use(struct gate *gate, struct generation *generation, char *why, size_t size)
{
    int count = generation->conf->listener_count;
    struct listener **fresh = calloc((size_t)count + 1, sizeof(struct listener *));
    if (fresh == NULL) {
        (void)snprintf(why, size, "out of memory");
        return false;
    }
    bool opened = open_new_listeners(gate, generation, fresh, why, size);
    if (opened) {
        generation_use(generation); /* no earlier: a refused generation must not redirect a payment */
        renew_listeners(gate, generation);
        struct generation *old = gate->generation;
        gate->generation = generation;
        if (old != NULL) {
            generation_release(old);
        }
    }
    for (int i = 0; !opened && i < count; i++) {
        if (fresh[i] != NULL) {
            listener_close(fresh[i]);
        }
    }
    free(fresh);
    return opened;
}

/* ---- seen from outside ---- */

void gate_state(const struct gate *gate, struct gate_state *state)
{
    *state = (struct gate_state){
        .clients = gate->clients_count,
        .clients_tls = gate->clients_tls_count,
        .exchanges = gate->exchanges_count,
        .exchanges_sent = gate->exchanges_sent_count,
        .exchanges_total = gate->exchanges_total,
    };
    list_each (listener, after, &gate->listeners, struct listener, in_listeners) {
        state->listener_count += listener->closing ? 0 : 1;
    }
}

uint16_t gate_port(const struct gate *gate, int index)
{
    const struct conf *conf = gate->generation->conf;
    if (index < 0 || index >= conf->listener_count) {
        return 0;
    }
    list_each (listener, after, &gate->listeners, struct listener, in_listeners) {
        if (!listener->closing && listener->conf == &conf->listeners[index]) {
            return acceptor_port(listener->acceptor);
        }
    }
    return 0;
}

/* ---- coming to rest ---- */

void gate_drain_announce(struct gate *gate)
{
    gate->draining = true;
}

void gate_check_quiet(struct gate *gate)
{
    if (gate->quiet != NULL && gate->clients_count == 0 && gate->exchanges_count == gate->late_count) {
        loop_defer(gate->options.loop, &gate->quiet_later);
    }
}

static void on_quiet(struct deferred *deferred)
{
    struct gate *gate = container_of(deferred, struct gate, quiet_later);
    if (gate->late_count > 0) { /* what only listens on holds up nothing; its release asks again */
        list_each (x, after, &gate->exchanges, struct exchange, in_exchanges) {
            exchange_on_cut(x);
        }
        return;
    }
    void (*quiet)(void *owner) = gate->quiet;
    gate->quiet = NULL;
    if (quiet != NULL) {
        quiet(gate->quiet_owner);
    }
}

void gate_drain(struct gate *gate, void (*quiet)(void *owner), void *owner)
{
    gate->draining = true;
    gate->closing = true;
    gate->quiet = quiet;
    gate->quiet_owner = owner;
    list_each (listener, after, &gate->listeners, struct listener, in_listeners) {
        listener_close(listener);
    }
    client_close_idle(gate, NULL);
    gate_check_quiet(gate);
}

uint32_t gate_cut(struct gate *gate)
{
    uint32_t cut = 0;
    gate->draining = true;
    gate->closing = true;
    list_each (listener, after, &gate->listeners, struct listener, in_listeners) {
        listener_close(listener);
    }
    list_each (x, after, &gate->exchanges, struct exchange, in_exchanges) {
        cut += x->phase != PHASE_DONE && x->phase != PHASE_LATE ? 1 : 0;
        exchange_on_cut(x);
    }
    client_close_all(gate);
    return cut;
}

void gate_close(struct gate *gate)
{
    if (gate == NULL) {
        return;
    }
    CHECK(gate->clients_count == 0 && gate->exchanges_count == 0 && list_empty(&gate->listeners));
    if (gate->generation != NULL) {
        generation_release(gate->generation);
    }
    shedding_close(gate);
    limiter_close(gate->limiter);
    table_close(gate->per_address);
    table_close(gate->claims);
    pool_close(&gate->client_pool);
    pool_close(&gate->client_more_pool);
    pool_close(&gate->exchange_pool);
    free(gate);
}
