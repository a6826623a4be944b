/*
 * Opens, renews and closes the store, and sets its gauges when somebody looks.
 * What is in the store is asked for elsewhere: by the gate for payments, by
 * admin_records.c for operators.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app_internal.h"
#include "weir/base/clock.h"
#include "weir/base/keyring.h"

static const struct stats_family FAMILIES[RECORDS_METRIC_COUNT] = {
    [RECORDS_UNRESOLVED] = {"weir_idempotency_unresolved",
                            "Records whose outcome is unknown and was not found out yet.",
                            STATS_GAUGE,
                            {NULL},
                            false,
                            NULL},
    [RECORDS_OLDEST] = {"weir_idempotency_oldest_unknown_seconds",
                        "How long the oldest unknown outcome has been one; 0 when there is none.",
                        STATS_GAUGE,
                        {NULL},
                        true,
                        NULL},
    [RECORDS_DURABLE] =
        {"weir_store_durable", "1 while single_shot routes may rely on the store.", STATS_GAUGE, {NULL}, false, NULL},
};

void records_init(struct records *records, struct app *app)
{
    *records = (struct records){.app = app};
    list_init(&records->inquiries);
}

static void on_collect(void *owner, struct stats *stats)
{
    const struct records *records = owner;
    struct store_state state;
    if (!records_state(records, &state)) {
        return; /* it is being closed */
    }
    uint64_t now_us = clock_wall_us();
    bool any = state.oldest_unknown_us != 0 && state.oldest_unknown_us < now_us;
    stats_set(stats, records->metrics[RECORDS_UNRESOLVED], state.unknown_count);
    stats_set(stats, records->metrics[RECORDS_OLDEST], any ? now_us - state.oldest_unknown_us : 0);
    stats_set(stats, records->metrics[RECORDS_DURABLE], state.durable);
}

static bool open_store(struct records *records, const struct generation *generation, char *why, size_t size)
{
    struct app *app = records->app;
    char words[APP_WHY_BYTES / 2];
    struct store_options options = {
        .loop = app->loop, .log = app->log, .stats = app->stats, .heard = gate_heard, .owner = app->gate};
    keyring_digest(generation_keyring(generation), options.secret_digest);
    records->store = store_open(&generation_conf(generation)->store, &options, words, sizeof(words));
    if (records->store == NULL) {
        snprintf(why, size, "store: %s", words);
        return false;
    }
    memcpy(records->digest, options.secret_digest, sizeof(records->digest));
    records->fresh = true;
    return true;
}

bool records_prepare(struct records *records, const struct generation *generation, char *why, size_t size)
{
    uint8_t digest[STORE_SECRET_DIGEST_BYTES];
    if (generation_keyring(generation) == NULL) {
        return true; /* no route of it needs the store */
    }
    if (records->store == NULL) {
        return open_store(records, generation, why, size);
    }
    if (records->fresh && !store_is(records->store, &generation_conf(generation)->store)) {
        snprintf(why, size,
                 "store: another one was opened for a configuration that was then refused; restart weir to "
                 "use this one");
        return false;
    }
    keyring_digest(generation_keyring(generation), digest);
    if (memcmp(digest, records->digest, sizeof(digest)) != 0) {
        snprintf(why, size,
                 "store.secret_file: 'index' or 'fingerprint' is another key than the one in use; only seals "
                 "may change (docs/operations.md, Secret rotation)");
        return false;
    }
    return true;
}

static uint64_t longest_receipt_ms(const struct conf *conf)
{
    uint64_t longest_ms = 0;
    for (int i = 0; i < conf->route_count; i++) {
        const struct conf_idempotency *idempotency = &conf->routes[i].idempotency;
        if (idempotency->on && idempotency->keep_receipt_ms > longest_ms) {
            longest_ms = idempotency->keep_receipt_ms;
        }
    }
    return longest_ms;
}

void records_commit(struct records *records, const struct generation *generation)
{
    struct app *app = records->app;
    if (records->store == NULL || generation_keyring(generation) == NULL) {
        return;
    }
    const struct conf *conf = generation_conf(generation);
    records->receipt_ms = longest_receipt_ms(conf);
    if (!records->fresh) {
        /* Another store is for the next start; changes.c tells so. */
        if (store_is(records->store, &conf->store)) {
            store_renew(records->store, &conf->store);
        }
        return;
    }
    records->fresh = false;
    /* Only a start waits: a reload that brings the first store finds a weir that is ready and stays so. */
    records->awaited_until_us = app->generation_count == 0 ? clock_now_us() + RECORDS_AWAIT_US : 0;
    gate_use_store(app->gate, records->store);
    for (size_t i = 0; i < RECORDS_METRIC_COUNT; i++) {
        records->metrics[i] = stats_series(app->stats, &FAMILIES[i]);
    }
    stats_on_collect(app->stats, on_collect, records);
}

bool records_state(const struct records *records, struct store_state *state)
{
    if (records->store == NULL) {
        return false;
    }
    store_state(records->store, state);
    return true;
}

bool records_awaited(const struct records *records)
{
    struct store_state state;
    return records->awaited_until_us != 0 && clock_now_us() < records->awaited_until_us &&
           records_state(records, &state) && !state.ever_up;
}

static void on_closed(void *owner)
{
    struct records *records = owner;
    loop_stop(records->app->loop);
}

void records_close(struct records *records)
{
    struct store_state state;
    if (!records_state(records, &state)) {
        return;
    }
    if (state.unsettled > 0) {
        log_event(records->app->log, LOG_INFO, "store_settling", "the store is still told how payments ended",
                  LOG_N("unsettled", state.unsettled));
    }
    struct store *store = records->store;
    records->store = NULL;
    store_close(store, RECORDS_CLOSE_MS, on_closed, records);
    loop_run(records->app->loop);
}
