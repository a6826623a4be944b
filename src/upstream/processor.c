/*
 * One payment provider: its life, its name, an operator's word and its budget
 * of retries. It outlives generations; a reload changes settings and addresses
 * under the links and calls that exist, which go on as they began. Sends
 * nothing and chooses nothing itself.
 */
#include "upstream_internal.h"

#include <stdlib.h>

static const struct stats_family family_links = {
    .name = "weir_processor_connections",
    .help = "Connections to a processor by state.",
    .kind = STATS_GAUGE,
    .labels = {"processor", "state"},
};
static const struct stats_family family_connects = {
    .name = "weir_processor_connects_total",
    .help = "Connections to a processor that were tried, by result.",
    .kind = STATS_COUNTER,
    .labels = {"processor", "result"},
};
static const struct stats_family family_handshakes = {
    .name = "weir_processor_tls_handshakes_total",
    .help = "TLS handshakes with a processor by result; one that the connect timeout ended is not among them.",
    .kind = STATS_COUNTER,
    .labels = {"processor", "result", "resumed"},
};
static const struct stats_family family_reused = {
    .name = "weir_processor_reused_total",
    .help = "Calls that went out on a connection that had carried one before.",
    .kind = STATS_COUNTER,
    .labels = {"processor"},
};
static const struct stats_family family_desync = {
    .name = "weir_processor_desync_suspected_total",
    .help = "Connections closed because a processor sent bytes that nobody had asked for.",
    .kind = STATS_COUNTER,
    .labels = {"processor"},
};
static const struct stats_family family_queued = {
    .name = "weir_processor_queue_length",
    .help = "Exchanges that wait for a connection to a processor.",
    .kind = STATS_GAUGE,
    .labels = {"processor"},
};
static const struct stats_family family_retries = {
    .name = "weir_processor_retries_total",
    .help = "Requests that weir sent once more by itself; sent: whether a byte of the attempt before had gone out.",
    .kind = STATS_COUNTER,
    .labels = {"processor", "sent"},
};
static const struct stats_family family_retries_refused = {
    .name = "weir_processor_retries_refused_total",
    .help = "Requests that weir would have sent once more by itself, had the processor's budget of retries not been used up.",
    .kind = STATS_COUNTER,
    .labels = {"processor"},
};

static const struct stats_family family_resolves = {
    .name = "weir_processor_resolves_total",
    .help = "What the name of a processor came to, where that is news: ok, other addresses or the first after a failure; "
            "failed, it does not resolve any more.",
    .kind = STATS_COUNTER,
    .labels = {"processor", "result"},
};

static void on_burial(struct deferred *deferred);

const char *processor_name(const struct processor *processor)
{
    return processor->name;
}

struct stats *processor_stats(const struct processor *processor)
{
    return processor->upstream->options.stats;
}

struct log *processor_log(const struct processor *processor)
{
    return processor->upstream->options.log;
}

uint64_t processor_now_us(const struct processor *processor)
{
    return loop_now_us(processor->upstream->options.loop);
}

/* ---- making and finding ---- */

static void find_series(struct processor *processor)
{
    static const char *const states[] = {"connecting", "idle", "leased"};
    struct stats *stats = processor_stats(processor);
    const char *name = processor->name;
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        processor->stat_links[i] = stats_series(stats, &family_links, name, states[i]);
    }
    processor->stat_connects_ok = stats_series(stats, &family_connects, name, "ok");
    processor->stat_connects_failed = stats_series(stats, &family_connects, name, "failed");
    processor->stat_handshakes[0] = stats_series(stats, &family_handshakes, name, "ok", "false");
    processor->stat_handshakes[1] = stats_series(stats, &family_handshakes, name, "ok", "true");
    processor->stat_handshakes_failed = stats_series(stats, &family_handshakes, name, "failed", "false");
    processor->stat_reused = stats_series(stats, &family_reused, name);
    processor->stat_desync = stats_series(stats, &family_desync, name);
    processor->stat_queued = stats_series(stats, &family_queued, name);
    processor->stat_retries[0] = stats_series(stats, &family_retries, name, "false");
    processor->stat_retries[1] = stats_series(stats, &family_retries, name, "true");
    processor->stat_retries_refused = stats_series(stats, &family_retries_refused, name);
    processor->stat_resolves_ok = stats_series(stats, &family_resolves, name, "ok");
    processor->stat_resolves_failed = stats_series(stats, &family_resolves, name, "failed");
    circuits_find_series(processor);
}

static struct processor *processor_new(struct upstream *upstream, const char *name)
{
    struct processor *processor = calloc(1, sizeof *processor);
    if (processor == NULL) {
        return NULL;
    }
    processor->name = strdup(name);
    if (processor->name == NULL) {
        free(processor);
        return NULL;
    }
    processor->upstream = upstream;
    list_init(&processor->in_processors);
    list_init(&processor->retired);
    list_init(&processor->circuits);
    list_init(&processor->queue);
    timer_init(&processor->circuit_timer, upstream->options.loop, circuits_on_timer);
    deferred_init(&processor->dispatch, queue_on_dispatch);
    deferred_init(&processor->burial, on_burial);
    find_series(processor);
    list_push_back(&upstream->processors, &processor->in_processors);
    return processor;
}

static struct processor *find_by_name(struct upstream *upstream, const char *name)
{
    list_each (processor, after, &upstream->processors, struct processor, in_processors) {
        if (strcmp(processor->name, name) == 0) {
            return processor;
        }
    }
    return NULL;
}

/* ---- names ---- */

static void on_resolved(void *owner, enum err err, const struct addr *addrs, int count, const char *why)
{
    struct processor *processor = owner;
    struct log *log = processor_log(processor);
    stats_add(processor_stats(processor), err == ERR_OK ? processor->stat_resolves_ok : processor->stat_resolves_failed, 1);
    if (err == ERR_OK) {
        processor->name_state = NAME_KNOWN;
        processor->name_why[0] = '\0';
        endpoints_set(processor, addrs, NULL, count);
        log_event(log, LOG_INFO, "processor_addresses", "the name resolves", LOG_T("processor", processor->name),
                  LOG_T("host", processor->settings.host), LOG_N("addresses", count));
        return;
    }
    (void)bytes_to_text(bytes_from_text(why), processor->name_why, sizeof processor->name_why);
    log_event(log, LOG_WARN, "processor_dns_failed", "the name does not resolve; keeping the last good addresses",
              LOG_T("processor", processor->name), LOG_T("host", processor->settings.host), LOG_T("why", why),
              LOG_N("addresses", processor->endpoint_count));
    if (processor->endpoint_count == 0) {
        processor->name_state = NAME_FAILED;
        queue_refuse_all(processor, CALL_DNS_FAILED, processor->name_why);
    }
}

static void forget_name(struct processor *processor)
{
    if (processor->resolver != NULL) {
        resolver_close(processor->resolver);
        processor->resolver = NULL;
    }
}

static void addresses_follow_name(struct processor *processor)
{
    struct processor_settings *settings = &processor->settings;
    processor->name_state = NAME_PENDING;
    processor->resolver = resolver_open(processor->upstream->options.loop, settings->host, settings->port, on_resolved,
                                        processor);
    if (processor->resolver == NULL) {
        on_resolved(processor, ERR_NO_MEMORY, NULL, 0, err_sentence(ERR_NO_MEMORY));
    }
}

/* ---- generations ---- */

static void close_idle_links(struct processor *processor)
{
    for (int i = 0; i < processor->endpoint_count; i++) {
        link_close_idle(processor->endpoints[i]);
    }
}

static void settings_apply(struct processor *processor, const struct conf_processor *conf)
{
    struct processor_settings next = processor->next;
    struct processor_settings old = processor->settings;
    processor->next = (struct processor_settings){0};
    /* Without a resolver it was released, and is held again while its last links end. */
    bool same_name = processor->resolver != NULL && !next.fixed && strcmp(old.host, next.host) == 0 && old.port == next.port;
    bool same_identity = old.identity != NULL && strcmp(old.identity, next.identity) == 0;
    processor->settings = next;
    if (!same_identity) {
        processor->epoch++;
        close_idle_links(processor);
    }
    if (!same_name) {
        forget_name(processor);
    }
    settings_free(&old);
    if (next.fixed) {
        processor->name_state = NAME_KNOWN;
        endpoints_set(processor, conf->endpoints, conf->weights, conf->endpoint_count);
    } else if (!same_name) {
        endpoints_set(processor, NULL, NULL, 0); /* another name's addresses are another party's: calls wait */
        addresses_follow_name(processor);
    }
    endpoints_configure(processor);
    queue_wake(processor);
}

struct processor *processor_hold(struct upstream *upstream, const struct conf_processor *conf, struct tls_client *tls)
{
    struct processor *processor = find_by_name(upstream, conf->name);
    if (processor == NULL) {
        processor = processor_new(upstream, conf->name);
    }
    if (processor == NULL) {
        return NULL;
    }
    processor->holders++;
    settings_free(&processor->next); /* of a generation that never came into use */
    if (!settings_read(&processor->next, conf, tls)) {
        processor_release(processor);
        return NULL;
    }
    return processor;
}

void processor_use(struct processor *processor, const struct conf_processor *conf)
{
    if (processor->next.host != NULL) {
        settings_apply(processor, conf);
    }
}

void processor_release(struct processor *processor)
{
    CHECK(processor->holders > 0);
    processor->holders--;
    processor_maybe_bury(processor);
}

/* ---- retries ---- */

bool processor_take_retry(struct processor *processor, bool sent, uint32_t again, uint64_t *wait_us)
{
    struct stats *stats = processor_stats(processor);
    if (!retry_take(&processor->retries, sent ? RETRY_COST_SENT : RETRY_COST_UNSENT, processor_now_us(processor))) {
        stats_add(stats, processor->stat_retries_refused, 1);
        *wait_us = 0;
        return false;
    }
    stats_add(stats, processor->stat_retries[sent ? 1 : 0], 1);
    *wait_us = retry_wait_us(again, upstream_random(processor->upstream));
    return true;
}

/* ---- the end ---- */

void processor_maybe_bury(struct processor *processor)
{
    if (processor->holders == 0 || !list_empty(&processor->retired)) {
        loop_defer(processor->upstream->options.loop, &processor->burial);
    }
}

static void on_burial(struct deferred *deferred)
{
    struct processor *processor = container_of(deferred, struct processor, burial);
    if (processor->holders > 0) {
        endpoints_sweep(processor);
        circuits_sweep(processor);
        return;
    }
    forget_name(processor);
    endpoints_set(processor, NULL, NULL, 0);
    endpoints_sweep(processor);
    if (!list_empty(&processor->retired)) {
        return; /* the last link, or check, asks again */
    }
    CHECK(processor->queue_count == 0);
    loop_undefer(&processor->dispatch);
    loop_undefer(&processor->burial);
    timer_stop(&processor->circuit_timer);
    circuits_free(processor);
    for (size_t i = 0; i < ARRAY_COUNT(processor->stat_links); i++) {
        stats_set(processor_stats(processor), processor->stat_links[i], 0);
    }
    struct upstream *upstream = processor->upstream;
    list_remove(&processor->in_processors);
    settings_free(&processor->settings);
    settings_free(&processor->next);
    free(processor->name);
    free(processor);
    upstream_maybe_free(upstream);
}

uint32_t processor_in_flight(const struct processor *processor)
{
    return processor->in_flight;
}
