/*
 * The gate of a process: listeners, clients and exchanges over one generation
 * at a time. app owns it, hands it generations, and tells it when to drain.
 */
#ifndef WEIR_GATE_GATE_H
#define WEIR_GATE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/log.h"
#include "weir/base/stats.h"
#include "weir/gate/generation.h"
#include "weir/io/loop.h"
#include "weir/store/store.h"

struct gate;

/* A listening socket that was passed to the process (systemd's LISTEN_FDS), found by its name. */
struct gate_inherited {
    char name[64];
    int fd;      /* -1 once a listener took it over */
};
#define GATE_INHERITED_MAX 64

struct gate_options {
    struct loop *loop; /* borrowed, as all here */
    struct log *log;
    struct stats *stats;
    struct upstream *upstream;
    struct gate_inherited *inherited; /* array of the app; NULL: none */
    int inherited_count;
    uint32_t clients_max; /* what the descriptor limit leaves; per listener, limits.connections lowers it */
};

/* Nothing listens yet: gate_use opens. NULL on no memory. */
WEIR_MUSTCHECK struct gate *gate_open(const struct gate_options *options);

/*
 * Takes a generation into use: opens its new listeners first; when one cannot
 * be opened, nothing has changed and `why` (size bytes) names it. Then new
 * requests begin on it and listeners that are no longer in it close. Takes the
 * caller's hold over on success.
 */
WEIR_MUSTCHECK bool gate_use(struct gate *gate, struct generation *generation, char *why, size_t size);
/*
 * The store of idempotency records, from the first generation that needs one
 * on. Borrowed until gate_close. Without it, routes that need one answer
 * store_down.
 */
void gate_use_store(struct gate *gate, struct store *store);
/* For store_options.heard, with the gate as owner: writes `unknown` and `resolved` events and counts them. */
void gate_heard(void *owner, const struct idem_op *op, const struct idem_result *result);

/* The generation in use; NULL before the first. Borrowed. */
struct generation *gate_generation(const struct gate *gate);

/* Counts for status pages and the end of a drain. */
struct gate_state {
    int listener_count;
    uint32_t clients, clients_tls;
    uint32_t exchanges;        /* in flight, orphans included */
    uint32_t exchanges_sent;   /* of these, sent to a processor */
    uint64_t exchanges_total;
};
void gate_state(const struct gate *gate, struct gate_state *state);
/* The actual port of listener `index` in the configuration (for port 0), or 0. */
uint16_t gate_port(const struct gate *gate, int index);

/* Answers carry Connection: close from now on; listeners still accept. */
void gate_drain_announce(struct gate *gate);
/* Closes the listeners and idle clients; `quiet` is called (as a loop event) once no client and no exchange is left. */
void gate_drain(struct gate *gate, void (*quiet)(void *owner), void *owner);
/*
 * Ends everything now: exchanges that were not sent get 503 draining, sent ones
 * are logged unknown. Returns how many exchanges were cut.
 */
uint32_t gate_cut(struct gate *gate);
/* Everything must be quiet or cut, and the loop must have turned. */
void gate_close(struct gate *gate);

/* ---- limits, as operators see them ---- */

/* One limit of the configuration in use, over all callers, since the process began. */
struct gate_limit {
    const struct conf_limit *conf; /* of the generation in use: valid until it is replaced */
    uint32_t callers;              /* that this process knows of now */
    uint64_t admitted, refused;
    uint64_t would_refuse;         /* mode shadow */
    uint64_t skipped;              /* requests without what it tells callers apart by */
    uint64_t passed_open;          /* let through, or judged by the fleet's share, because the store was away */
};
/* False past the end. */
bool gate_limit_at(const struct gate *gate, int index, struct gate_limit *limit);

/* One caller that a limit refused (or, in shadow, would have) within the last minute. */
struct gate_held {
    char limit[64];
    char who[96];        /* a tenant of known_file by name, an address, or a short hash: never a credential */
    bool shadow;
    uint64_t refused;    /* since it was first held */
    uint32_t in_flight;  /* of a limit by `concurrent` */
    uint64_t since_us, last_us; /* wall clock */
};
/* The most refused first; at most `max`. Returns how many. */
int gate_held_callers(const struct gate *gate, struct gate_held *held, int max);
/* Of the limits in the store: whether it is left alone for now, since it does not answer; and the fleet as it is known. */
struct gate_limits_state {
    bool store_away;
    uint32_t fleet;
    uint32_t shed_level;   /* 0 to SHED_LEVEL_MAX */
    uint32_t callers, callers_max; /* in the table */
};
void gate_limits_state(const struct gate *gate, struct gate_limits_state *state);

/* For `weir route`: the index of the route, or -1. */
int gate_route_of(const struct conf *conf, struct bytes host, struct bytes method, struct bytes path);

#endif
