/*
 * One immutable loaded configuration, ready for use: the conf, its TLS
 * contexts, its routes and its processors. Exchanges hold the generation they
 * began with; the gate holds the one in use. When the last holder lets go, it
 * is gone.
 */
#ifndef WEIR_GATE_GENERATION_H
#define WEIR_GATE_GENERATION_H

#include "weir/base/stats.h"
#include "weir/conf/conf.h"
#include "weir/io/tls.h"
#include "weir/policy/profile.h"
#include "weir/policy/route.h"
#include "weir/upstream/upstream.h"

/* What a generation needs from the process. Borrowed. */
struct generation_needs {
    struct upstream *upstream;
    struct stats *stats;
    struct log *log;
    struct tls_tickets *tickets;
};

/* The TLS contexts of a conf, made off the loop (they read files). Index as in conf; NULL where there is no TLS. */
struct generation_tls {
    struct tls_server **servers; /* one per listener */
    struct tls_client **clients; /* one per processor */
};

/* Whether files that do not exist are errors. A check is often run where the keys are not. */
enum generation_files { GENERATION_FILES_NEEDED, GENERATION_FILES_IF_THERE };

/*
 * Reads certificates, keys and CAs. Problems become findings with the position
 * of their key; false when there was an error (and nothing is left behind).
 * With GENERATION_FILES_IF_THERE a missing file is a warning and its context
 * stays NULL: good for a check, not for use.
 */
WEIR_MUSTCHECK bool generation_tls_open(struct generation_tls *tls, const struct conf *conf,
                                        struct tls_tickets *tickets, enum generation_files files,
                                        struct conf_findings *findings);
void generation_tls_close(struct generation_tls *tls, const struct conf *conf);

struct generation;

/* Takes conf and tls over. Never fails but for memory (NULL: then conf and tls are gone too). */
WEIR_MUSTCHECK struct generation *generation_open(struct conf *conf, struct generation_tls *tls,
                                                  const struct generation_needs *needs, uint32_t number);
/* Its processors go by it from now on. Not before everything that can fail has gone well. */
void generation_use(struct generation *generation);
struct generation *generation_hold(struct generation *generation);
void generation_release(struct generation *generation);

const struct conf *generation_conf(const struct generation *generation);
uint32_t generation_number(const struct generation *generation);
/* Exchanges and others that hold it. */
uint32_t generation_holders(const struct generation *generation);
/* Of listener `index`; NULL: plain. Borrowed. */
struct tls_server *generation_tls_server(const struct generation *generation, int index);

#endif
