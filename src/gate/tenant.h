/*
 * Tenants: the file of known credentials, and the scope of a request's key.
 */
#ifndef WEIR_GATE_TENANT_H
#define WEIR_GATE_TENANT_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/bytes.h"

struct exchange;
struct tenants;

#define TENANT_NAME_BYTES 64
#define TENANTS_MAX 1000000u
#define TENANTS_FILE_BYTES_MAX (256u << 20)

struct tenant {
    struct tenant *next; /* of the file */
    char name[TENANT_NAME_BYTES];
    char tier[TENANT_NAME_BYTES];
};

/*
 * Reads lines 'sha256:HEX NAME TIER'; several may name one tenant; '#' begins a
 * comment. NULL: `why` (size bytes) says what is wrong, with file and line.
 */
WEIR_MUSTCHECK struct tenants *tenants_open(const char *path, char *why, size_t size);
WEIR_MUSTCHECK struct tenants *tenants_read(struct bytes text, const char *path, char *why, size_t size);
/* NULL is ignored. */
void tenants_close(struct tenants *tenants);
/* Whose credential it is; NULL: nobody's, or tenants is NULL. */
const struct tenant *tenants_find(const struct tenants *tenants, struct bytes credential);

/* In what a key counts. The letters go into the names of records: they never change. */
enum scope_kind {
    SCOPE_TENANT = 't',        /* a tenant of the file, by name */
    SCOPE_SUBJECT = 's',       /* a verified client certificate, by subject */
    SCOPE_AUTHORIZATION = 'a', /* the whole Authorization */
    SCOPE_API_KEY = 'k',       /* the whole X-API-Key, where there is no Authorization */
    SCOPE_NOBODY = 'n',        /* no credential at all: all such callers share one scope */
};

struct scope {
    enum scope_kind kind;
    struct bytes text;           /* borrowed from the head, the file or the connection; only ever hashed */
    const struct tenant *tenant; /* NULL: not one of the file */
    bool known;                  /* good enough for tenants.unknown: refuse */
};

/* Of a request whose head is accepted. Never fails. */
struct scope scope_of(const struct exchange *x);

#endif
