/*
 * One immutable loaded configuration, ready for use: the conf, its TLS
 * contexts, its routes and its processors. Exchanges hold the generation they
 * began with; the gate holds the one in use. When the last holder lets go, it
 * is gone.
 */
#ifndef WEIR_GATE_GENERATION_H
#define WEIR_GATE_GENERATION_H

#include "weir/base/keyring.h"
#include "weir/base/stats.h"
#include "weir/conf/conf.h"
#include "weir/io/tls.h"
#include "weir/policy/profile.h"
#include "weir/policy/route.h"
#include "weir/policy/shed.h"
#include "weir/upstream/upstream.h"

/* What a generation needs from the process. Borrowed. */
struct generation_needs {
    struct upstream *upstream;
    struct stats *stats;
    struct log *log;
    struct tls_tickets *tickets;
};

/*
 * What a conf names and files hold, read off the loop: TLS contexts (index as
 * in conf; NULL where there is no TLS), the keys of the secret file, the known
 * tenants.
 */
struct generation_parts {
    struct tls_server **servers; /* one per listener */
    struct tls_client **clients; /* one per processor */
    struct keyring *keyring;     /* NULL: no route needs the store */
    struct tenants *tenants;     /* NULL: no known_file */
};

/* Whether files that do not exist are errors. A check is often run where the keys are not. */
enum generation_absent { GENERATION_ABSENT_IS_ERROR, GENERATION_ABSENT_IS_WARNING };

/*
 * Reads certificates, keys, CAs, the secret file and the known tenants. An
 * embedded store's secret file that is not there is made, unless files may be absent. Problems become findings with the position
 * of their key; false when there was an error (and nothing is left behind).
 * With GENERATION_ABSENT_IS_WARNING a missing file is a warning and its context
 * stays NULL: good for a check, not for use.
 */
WEIR_MUSTCHECK bool generation_parts_open(struct generation_parts *tls, const struct conf *conf,
                                        struct tls_tickets *tickets, enum generation_absent files,
                                        struct conf_findings *findings);
void generation_parts_close(struct generation_parts *tls, const struct conf *conf);

struct generation;
struct tenants;

/* Takes conf and tls over. Never fails but for memory (NULL: then conf and tls are gone too). */
WEIR_MUSTCHECK struct generation *generation_open(struct conf *conf, struct generation_parts *tls,
                                                  const struct generation_needs *needs, uint32_t number);
/* Its processors go by it from now on. Not before everything that can fail has gone well. */
void generation_use(struct generation *generation);
struct generation *generation_hold(struct generation *generation);
void generation_release(struct generation *generation);

const struct conf *generation_conf(const struct generation *generation);
/* Of the secret file; NULL: no route needs the store. Borrowed. */
struct keyring *generation_keyring(const struct generation *generation);
uint32_t generation_number(const struct generation *generation);
/* Exchanges and others that hold it. */
uint32_t generation_holders(const struct generation *generation);
/* Of listener `index`; NULL: plain. Borrowed. */
struct tls_server *generation_tls_server(const struct generation *generation, int index);

/* What the word of routes.NAME.class says to the controller. */
static inline enum shed_class class_by_word(enum conf_class word)
{
    static const enum shed_class classes[] = {
        [CONF_CLASS_PAYMENT] = SHED_PAYMENT, [CONF_CLASS_WRITE] = SHED_WRITE, [CONF_CLASS_READ] = SHED_READ,
        [CONF_CLASS_LIST] = SHED_LIST,       [CONF_CLASS_TEST] = SHED_TEST,   [CONF_CLASS_BACKGROUND] = SHED_BACKGROUND,
    };
    return classes[word];
}

#endif
