/*
 * Active checks of one endpoint: a connection of their own each time (TCP, TLS,
 * or one HTTP GET on top), its result told to the endpoint. One check at a time,
 * with its own deadline; never a call, never counted as one, never on a link of
 * the pool.
 */
#ifndef WEIR_UPSTREAM_CHECK_H
#define WEIR_UPSTREAM_CHECK_H

#include "upstream_internal.h"

/* Embedded in its endpoint. Only check.c writes it. */
struct check;

/* Begins, as the settings of the endpoint's processor say; nothing where they say no checks. Called again: as they say now. */
void check_start(struct endpoint *endpoint);
/* No result comes any more. Idempotent; the endpoint may go once check_is_over() says so. */
void check_stop(struct endpoint *endpoint);
bool check_is_over(const struct endpoint *endpoint);
/* Something happened to the endpoint: the next check within HEALTH_HURRY_US, and as often until it is settled. */
void check_hurry(struct endpoint *endpoint);

/* endpoint.c: a check ended. `words` (static or borrowed for the call): why it failed, "status 503"; "" when it passed. */
void endpoint_on_check(struct endpoint *endpoint, bool passed, const char *words);

#endif
