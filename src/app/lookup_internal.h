/*
 * Looks records up for an operator: walks the store, in slices, and keeps
 * copies of what was asked for, the oldest first and no more than there is room
 * for. Open records are looked through before all others, since they are few
 * and mostly what is meant. It knows nothing of who asked or how it is shown.
 */
#ifndef WEIR_APP_LOOKUP_INTERNAL_H
#define WEIR_APP_LOOKUP_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/check.h"
#include "weir/io/loop.h"
#include "weir/store/store.h"

/* One record, copied out of the walk. Times are wall clock; 0: not. */
struct lookup_row {
    struct idem_name name;
    enum idem_state state;
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    char request_id[IDEM_REQUEST_ID_BYTES + 1];
    uint16_t status;
    uint32_t takeovers;
    bool ambiguous, answer_kept;
    uint64_t begun_us, unknown_us, done_us, expires_us;
};

/* What to look for. */
struct lookup_wanted {
    bool open_only;       /* never walk beyond the open records */
    bool unknown_only;
    bool by_name;         /* `prefix` and `hash_len` as in store_walk */
    struct idem_name prefix;
    size_t hash_len;
    const char *request_id; /* borrowed until the end; NULL: any. The first that has it ends the walk */
    size_t row_max;       /* rows that are kept */
};

struct lookup;
/* The rows are there, or `failed`. A loop event; the lookup may be closed in it. */
typedef void (*lookup_cb)(struct lookup *lookup);

/* Embedded by its owner. */
struct lookup {
    struct loop *loop;          /* borrowed */
    struct store *store;        /* borrowed */
    struct lookup_wanted wanted;
    lookup_cb done;
    struct store_walk *walk;    /* NULL: none is under way */
    enum store_walk_scope scope;
    struct deferred next;       /* the next walk, or the end */
    bool over;                  /* `next` is the end */
    bool failed;                /* the store did not tell all */
    struct lookup_row *rows;    /* owned; when done, the oldest first */
    size_t row_count;
    uint64_t match_count;       /* of these, row_count are kept */
    uint64_t seen_count;        /* records that the store told */
};

/* Zeroed, it may be closed. */
void lookup_init(struct lookup *lookup);
/* False: no memory, or another lookup is under way (the store walks one at a time). */
WEIR_MUSTCHECK bool lookup_begin(struct lookup *lookup, struct loop *loop, struct store *store,
                                 const struct lookup_wanted *wanted, lookup_cb done);
/* Stops it and lets the rows go; `done` will not be called. Idempotent. */
void lookup_close(struct lookup *lookup);

#endif
