/*
 * Limits as operators see them. admin_limits.c reads them from the gate in one
 * go, show_limits.c says them in words or as JSON. Whom a limit holds is told
 * by a name of known_file, an address or a short hash: no credential comes here.
 */
#ifndef WEIR_APP_LIMITS_INTERNAL_H
#define WEIR_APP_LIMITS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/buf.h"
#include "weir/base/check.h"
#include "weir/gate/gate.h"

struct json;

/* Callers that are told of, the most refused first; that there may be more is said. */
#define LIMITS_HELD_MAX 1000

/* What one question is answered with. */
struct limits_view {
    struct gate_limits_state state;
    bool has_store;            /* whom the fleet shares its counts by */
    bool alone;                /* one limit was asked for by its name */
    struct gate_limit *limits; /* owned, as the next */
    size_t limit_count;
    struct gate_held *held;    /* of those limits */
    size_t held_count;
    bool held_whole;           /* nobody was left out */
};

/* show_limits.c. False: it did not fit. */
WEIR_MUSTCHECK bool show_limits(const struct limits_view *view, struct buf *out);
void report_limits(const struct limits_view *view, struct json *json);

#define SHOW_LIMIT_BYTES 256
/* Whom it tells apart: "tenant+header:X-Till". Returns text, as the next. */
const char *show_limit_callers(const struct conf_limit *limit, char text[SHOW_LIMIT_BYTES]);
/* What it gives each of them: "100/s burst 200", "50 at once". `tier` NULL: callers of no tier. */
const char *show_limit_room(const struct conf_limit *limit, const struct conf_limit_tier *tier,
                            char text[SHOW_LIMIT_BYTES]);
const char *show_limit_mode(enum conf_limit_mode mode); /* "enforce" */

/* What `weir status` says: "shedding level 120 of 400, fleet of 3". Empty: nothing is worth saying. Returns text. */
const char *show_limits_state(const struct gate_limits_state *state, char text[SHOW_LIMIT_BYTES]);
/* The same, always and in full, as members of the JSON object that is open. */
void report_limits_state(const struct gate_limits_state *state, struct json *json);

#endif
