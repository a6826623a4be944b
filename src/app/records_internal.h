/*
 * The process's store of idempotency records: opened for the first generation
 * that needs one, kept for all that follow, closed when the gate has come to
 * rest. A reload may renew its credentials and timeouts; it never exchanges it
 * for another, and never changes the keys by which records are named.
 */
#ifndef WEIR_APP_RECORDS_INTERNAL_H
#define WEIR_APP_RECORDS_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/list.h"
#include "weir/base/stats.h"
#include "weir/gate/generation.h"
#include "weir/store/store.h"

struct app;

/* How long /readyz waits for the store's first answer after a start, and no longer. */
#define RECORDS_AWAIT_US UINT64_C(5000000)
/* What settles payments is tried for so long at the end. */
#define RECORDS_CLOSE_MS 2000u

/* What /metrics says of it beside the store's own metrics; the series are made with it. */
enum records_metric { RECORDS_UNRESOLVED, RECORDS_OLDEST, RECORDS_DURABLE, RECORDS_METRIC_COUNT };

struct records {
    struct app *app;              /* borrowed: the owner */
    struct store *store;          /* owned; NULL: no generation has needed one yet */
    bool fresh;                   /* opened, and no generation that needs it was taken into use yet */
    uint8_t digest[STORE_SECRET_DIGEST_BYTES]; /* of the secret file that it was opened with */
    uint64_t awaited_until_us;    /* /readyz waits for its first answer until then; 0: not */
    uint64_t receipt_ms;          /* how long a record is kept whose outcome an operator decided: the longest of any route */
    struct list inquiries;        /* what operators asked and have no answer to yet (admin_records.c) */
    stats_id metrics[RECORDS_METRIC_COUNT];
};

void records_init(struct records *records, struct app *app);
/*
 * Before a generation is taken into use: opens the store that it needs, or
 * checks that it may go on with the one that there is. False: `why` (size
 * bytes) says what stands against it.
 */
WEIR_MUSTCHECK bool records_prepare(struct records *records, const struct generation *generation, char *why,
                                    size_t size);
/*
 * After it: the gate gets a new store, an old one the new credentials. A
 * generation that could not be taken into use leaves the store open for the
 * next one: it is not read by anybody, and closing takes time.
 */
void records_commit(struct records *records, const struct generation *generation);

/* Whether the first answer is still to come, and worth waiting for. */
bool records_awaited(const struct records *records);
/* False: there is none. */
bool records_state(const struct records *records, struct store_state *state);
/* Closes the store and turns the loop until that is done. The gate must have come to rest. */
void records_close(struct records *records);

#endif
