/*
 * One payment provider: its settings, its addresses, its queue. It outlives
 * generations; a reload changes settings and addresses under the links and
 * calls that exist, which go on as they began.
 */
#include "upstream_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"

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
static const struct stats_family family_up = {
    .name = "weir_processor_up",
    .help = "1 unless the last connect to this endpoint failed within the last second.",
    .kind = STATS_GAUGE,
    .labels = {"processor", "endpoint"},
};

static void on_dispatch(struct deferred *deferred);
static void on_burial(struct deferred *deferred);

const char *processor_name(const struct processor *processor)
{
    return processor->name;
}

static struct stats *stats_of(const struct processor *processor)
{
    return processor->upstream->options.stats;
}

/* ---- making and finding ---- */

static void find_series(struct processor *processor)
{
    static const char *const states[] = {"connecting", "idle", "leased"};
    struct stats *stats = stats_of(processor);
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
    list_init(&processor->queue);
    deferred_init(&processor->dispatch, on_dispatch);
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

/* ---- endpoints ---- */

static struct endpoint *endpoint_new(struct processor *processor, const struct addr *addr)
{
    struct endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (endpoint == NULL) {
        return NULL;
    }
    endpoint->processor = processor;
    endpoint->addr = *addr;
    (void)addr_format(addr, endpoint->text);
    list_init(&endpoint->in_endpoints);
    list_init(&endpoint->idle);
    list_init(&endpoint->unclaimed);
    endpoint->stat_up = stats_series(stats_of(processor), &family_up, processor->name, endpoint->text);
    return endpoint;
}

static void endpoint_retire(struct endpoint *endpoint)
{
    endpoint->retired = true;
    stats_set(stats_of(endpoint->processor), endpoint->stat_up, 0);
    list_push_back(&endpoint->processor->retired, &endpoint->in_endpoints);
    link_close_idle(endpoint);
}

/* An address that went and comes back while its links still work counts them on: its limit is one. */
static struct endpoint *revive_endpoint(struct processor *processor, const struct addr *addr)
{
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        if (addr_equal(&endpoint->addr, addr)) {
            list_remove(&endpoint->in_endpoints);
            endpoint->retired = false;
            return endpoint;
        }
    }
    return NULL;
}

static struct endpoint *take_endpoint(struct processor *processor, const struct addr *addr)
{
    for (int i = 0; i < processor->endpoint_count; i++) {
        struct endpoint *endpoint = processor->endpoints[i];
        if (endpoint != NULL && addr_equal(&endpoint->addr, addr)) {
            processor->endpoints[i] = NULL;
            return endpoint;
        }
    }
    struct endpoint *back = revive_endpoint(processor, addr);
    return back != NULL ? back : endpoint_new(processor, addr);
}

/* Keeps the endpoints that are still addresses, adds new ones, and lets the others finish what they carry. */
static void set_addresses(struct processor *processor, const struct addr *addrs, int count)
{
    struct endpoint *next[ENDPOINTS_MAX];
    int next_count = 0;
    for (int i = 0; i < count && next_count < ENDPOINTS_MAX; i++) {
        struct endpoint *endpoint = take_endpoint(processor, &addrs[i]);
        if (endpoint != NULL) {
            next[next_count++] = endpoint;
        }
    }
    for (int i = 0; i < processor->endpoint_count; i++) {
        if (processor->endpoints[i] != NULL) {
            endpoint_retire(processor->endpoints[i]);
        }
    }
    memcpy(processor->endpoints, next, sizeof next[0] * (size_t)next_count);
    processor->endpoint_count = next_count;
    processor_wake(processor);
}

void processor_sweep(struct processor *processor)
{
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        uint32_t links = 0;
        for (int i = 0; i < LINK_STATE_COUNT; i++) {
            links += endpoint->links[i];
        }
        if (links == 0 && endpoint->load.in_flight == 0) {
            list_remove(&endpoint->in_endpoints);
            free(endpoint);
        }
    }
}

/* ---- names ---- */

static void refuse_queued(struct processor *processor, enum call_refusal why, const char *words)
{
    struct list waiting;
    list_init(&waiting);
    list_move_all(&waiting, &processor->queue);
    processor->queue_count = 0;
    list_each (call, after, &waiting, struct call, in_queue) {
        list_remove(&call->in_queue);
        call_refuse(call, why, words);
    }
}

static void on_resolved(void *owner, enum err err, const struct addr *addrs, int count, const char *why)
{
    struct processor *processor = owner;
    struct log *log = processor->upstream->options.log;
    if (err == ERR_OK) {
        processor->name_state = NAME_KNOWN;
        processor->name_why[0] = '\0';
        set_addresses(processor, addrs, count);
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
        refuse_queued(processor, CALL_DNS_FAILED, processor->name_why);
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

/* ---- settings ---- */

/* All that decides whom a link talks to; links made under another identity are not reused. */
static char *identity_of(const struct conf_processor *conf, const struct tls_client *tls)
{
    char *text = NULL;
    if (asprintf(&text, "%d|%d|%s|%s", conf->tls, conf->tls_verify, conf->tls_server_name != NULL ? conf->tls_server_name : "",
                 tls != NULL ? tls_client_identity(tls) : "") < 0) {
        return NULL;
    }
    return text;
}

static enum balance_way balance_of(enum conf_balance balance)
{
    switch (balance) {
    case CONF_BALANCE_P2C:
        return BALANCE_P2C;
    case CONF_BALANCE_LEAST:
        return BALANCE_LEAST;
    case CONF_BALANCE_ROUND_ROBIN:
        return BALANCE_ROUND_ROBIN;
    }
    return BALANCE_P2C;
}

static void settings_free(struct processor_settings *settings)
{
    tls_client_release(settings->tls);
    free(settings->identity);
    free(settings->server_name);
    free(settings->host);
    *settings = (struct processor_settings){0};
}

static bool settings_read(struct processor_settings *settings, const struct conf_processor *conf, struct tls_client *tls)
{
    *settings = (struct processor_settings){
        .tls = tls != NULL ? tls_client_hold(tls) : NULL,
        .identity = identity_of(conf, tls),
        .host = strdup(conf->host),
        .server_name = conf->tls_server_name != NULL ? strdup(conf->tls_server_name) : NULL,
        .port = conf->port,
        .fixed = conf->endpoint_count > 0,
        .connect_ms = conf->connect_ms,
        .link_idle_ms = conf->link_idle_ms,
        .link_age_ms = conf->link_age_ms,
        .connections = conf->connections,
        .queue = conf->queue,
        .concurrency = conf->concurrency,
        .balance = balance_of(conf->balance),
    };
    bool whole = settings->identity != NULL && settings->host != NULL &&
                 (conf->tls_server_name == NULL || settings->server_name != NULL);
    if (!whole) {
        settings_free(settings);
    }
    return whole;
}

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
    bool same_name = old.host != NULL && !old.fixed && !next.fixed && strcmp(old.host, next.host) == 0 && old.port == next.port;
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
        set_addresses(processor, conf->endpoints, conf->endpoint_count);
        return;
    }
    if (!same_name) {
        set_addresses(processor, NULL, 0); /* another name's addresses are another party's: calls wait */
        addresses_follow_name(processor);
    }
    processor_wake(processor);
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
        processor_sweep(processor);
        return;
    }
    forget_name(processor);
    set_addresses(processor, NULL, 0);
    processor_sweep(processor);
    if (!list_empty(&processor->retired)) {
        return; /* the last link asks again */
    }
    CHECK(processor->queue_count == 0);
    loop_undefer(&processor->dispatch);
    loop_undefer(&processor->burial);
    for (size_t i = 0; i < ARRAY_COUNT(processor->stat_links); i++) {
        stats_set(stats_of(processor), processor->stat_links[i], 0);
    }
    struct upstream *upstream = processor->upstream;
    list_remove(&processor->in_processors);
    settings_free(&processor->settings);
    settings_free(&processor->next);
    free(processor->name);
    free(processor);
    upstream_maybe_free(upstream);
}

/* ---- choosing ---- */

static bool endpoint_has_place(const struct endpoint *endpoint)
{
    uint32_t open = endpoint->links[LINK_CONNECTING] + endpoint->links[LINK_LEASED];
    return open < endpoint->processor->settings.connections;
}

struct endpoint *processor_pick(struct processor *processor, const struct call *call, uint64_t now_us)
{
    WEIR_SCRATCH const struct balance_load *loads[ENDPOINTS_MAX];
    bool any_rested = false;
    for (int i = 0; i < processor->endpoint_count; i++) {
        struct endpoint *endpoint = processor->endpoints[i];
        endpoint->load.usable = endpoint_has_place(endpoint) && endpoint->resting_until_us <= now_us;
        any_rested = any_rested || endpoint->load.usable;
        loads[i] = &endpoint->load;
    }
    /* When all that have a place are resting, trying one beats refusing. */
    for (int i = 0; !any_rested && i < processor->endpoint_count; i++) {
        processor->endpoints[i]->load.usable =
            endpoint_has_place(processor->endpoints[i]) && processor->endpoints[i] != call->endpoint;
    }
    int index = balance_pick(processor->settings.balance, loads, processor->endpoint_count,
                             upstream_random(processor->upstream), &processor->turn, now_us);
    return index < 0 ? NULL : processor->endpoints[index];
}

void processor_wake(struct processor *processor)
{
    if (processor->queue_count > 0) {
        loop_defer(processor->upstream->options.loop, &processor->dispatch);
    }
}

static void on_dispatch(struct deferred *deferred)
{
    struct processor *processor = container_of(deferred, struct processor, dispatch);
    while (processor->queue_count > 0) {
        struct call *call = list_first(&processor->queue, struct call, in_queue);
        if (!call_unqueue(call)) {
            return; /* still no place: the next one that comes free wakes us again */
        }
    }
}

/* ---- what is seen ---- */

static void count_links(const struct processor *processor, uint32_t links[LINK_STATE_COUNT])
{
    memset(links, 0, sizeof(uint32_t) * LINK_STATE_COUNT);
    for (int i = 0; i < processor->endpoint_count; i++) {
        for (int state = 0; state < LINK_STATE_COUNT; state++) {
            links[state] += processor->endpoints[i]->links[state];
        }
    }
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        for (int state = 0; state < LINK_STATE_COUNT; state++) {
            links[state] += endpoint->links[state];
        }
    }
}

void processor_collect(struct processor *processor, struct stats *stats)
{
    uint32_t links[LINK_STATE_COUNT];
    uint64_t now_us = clock_now_us();
    count_links(processor, links);
    for (int state = LINK_CONNECTING; state <= LINK_LEASED; state++) {
        stats_set(stats, processor->stat_links[state], links[state]);
    }
    stats_set(stats, processor->stat_queued, processor->queue_count);
    for (int i = 0; i < processor->endpoint_count; i++) {
        const struct endpoint *endpoint = processor->endpoints[i];
        stats_set(stats, endpoint->stat_up, endpoint->resting_until_us <= now_us ? 1 : 0);
    }
}

uint32_t processor_in_flight(const struct processor *processor)
{
    return processor->in_flight;
}

void processor_state(const struct processor *processor, struct processor_state *state)
{
    uint32_t links[LINK_STATE_COUNT];
    uint64_t now_us = clock_now_us();
    count_links(processor, links);
    *state = (struct processor_state){
        .name = processor->name,
        .endpoint_count = processor->endpoint_count,
        .in_flight = processor->in_flight,
        .queued = processor->queue_count,
        .links_connecting = links[LINK_CONNECTING],
        .links_idle = links[LINK_IDLE],
        .links_leased = links[LINK_LEASED],
        .trouble = processor->name_why[0] != '\0' ? processor->name_why : NULL,
    };
    for (int i = 0; i < processor->endpoint_count; i++) {
        state->endpoints_resting += processor->endpoints[i]->resting_until_us > now_us ? 1 : 0;
    }
}
