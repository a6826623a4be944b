/*
 * One connection to an endpoint, from its connect to its close. It carries
 * bytes for one call at a time and knows nothing of their meaning; what it
 * knows is when it may be used again. While idle it is watched: an end, or
 * bytes that nobody asked for, close it.
 */
#include "upstream_internal.h"

#include "weir/base/clock.h"

/* Of whom nobody knows: the call that asked for the link is gone. */
#define CALLER_NONE 0
/* A kept link that ends within this time of its lease, before an answer, was being closed for its idleness. */
#define LINK_LOST_US UINT64_C(1000000)

/* Idle links that one lease looks at: when a processor ends all of its links at once, a new one is the better way. */
#define LINK_TRIES_MAX 8

static const struct stream_ops link_ops;

/* The only place that changes a link's state; keeps its endpoint's counts. */
static void link_enter(struct link *link, enum link_state state)
{
    static const uint8_t legal[LINK_STATE_COUNT] = {
        [LINK_CONNECTING] = 1 << LINK_IDLE | 1 << LINK_LEASED | 1 << LINK_CLOSED,
        [LINK_IDLE] = 1 << LINK_LEASED | 1 << LINK_CLOSED,
        [LINK_LEASED] = 1 << LINK_IDLE | 1 << LINK_CLOSED,
        [LINK_CLOSED] = 0,
    };
    CHECK((legal[link->state] >> state & 1) != 0);
    link->endpoint->links[link->state]--;
    link->endpoint->links[state]++;
    link->state = state;
}

static struct processor *processor_of(const struct link *link)
{
    return link->endpoint->processor;
}

static struct upstream *upstream_of(const struct link *link)
{
    return processor_of(link)->upstream;
}

/* ---- close ---- */

static void on_burial(struct deferred *deferred)
{
    struct link *link = container_of(deferred, struct link, burial);
    struct upstream *upstream = upstream_of(link);
    struct processor *processor = processor_of(link);
    link->endpoint->links[LINK_CLOSED]--;
    pool_put(&upstream->links, link);
    processor_maybe_bury(processor);
}

static void on_closed(void *owner)
{
    struct link *link = owner;
    loop_defer(upstream_of(link)->options.loop, &link->burial);
}

void link_close(struct link *link, bool reset)
{
    if (link->state == LINK_CLOSED) {
        return;
    }
    list_remove(&link->in_idle);
    timer_stop(&link->timer);
    link_enter(link, LINK_CLOSED);
    link->call = NULL;
    stream_close(link->stream, reset);
    queue_wake(processor_of(link));
}

void link_close_idle(struct endpoint *endpoint)
{
    list_each (link, after, &endpoint->idle, struct link, in_idle) {
        link_close(link, false);
    }
    list_each (link, after, &endpoint->unclaimed, struct link, in_idle) {
        link_close(link, false);
    }
}

void link_evict_idle(struct endpoint *endpoint)
{
    uint32_t open = endpoint->links[LINK_CONNECTING] + endpoint->links[LINK_IDLE] + endpoint->links[LINK_LEASED];
    struct link *oldest = list_last(&endpoint->idle, struct link, in_idle);
    if (open >= endpoint->processor->settings.connections && oldest != NULL) {
        link_close(oldest, false);
    }
}

/* ---- connect ---- */

bool link_trouble_is_ours(enum err err)
{
    return err == ERR_NO_MEMORY || err == ERR_DESCRIPTORS || err == ERR_FULL;
}

static void connect_failed(struct link *link, enum err err, const char *words)
{
    struct endpoint *endpoint = link->endpoint;
    struct call *call = link->call;
    endpoint_unreached(endpoint);
    stats_add(processor_stats(endpoint->processor), endpoint->processor->stat_connects_failed, 1);
    link_close(link, err == ERR_TIMED_OUT);
    if (call != NULL) {
        call_on_link_failed(call, err, words);
    } else {
        circuit_note(&endpoint->circuit, CALLER_NONE, BREAKER_UNREACHED);
    }
}

static void on_timer(struct timer *timer)
{
    struct link *link = container_of(timer, struct link, timer);
    if (link->state == LINK_CONNECTING) {
        connect_failed(link, ERR_TIMED_OUT, "the connection was not made in time");
    } else if (link->state == LINK_IDLE) {
        link_close(link, false);
    }
}

enum err link_connect(struct endpoint *endpoint, struct call *call)
{
    struct processor *processor = endpoint->processor;
    struct upstream *upstream = processor->upstream;
    struct link *link = pool_get(&upstream->links);
    if (link == NULL) {
        return ERR_NO_MEMORY;
    }
    link->endpoint = endpoint;
    link->epoch = processor->epoch;
    link->opened_us = loop_now_us(upstream->options.loop);
    list_init(&link->in_idle);
    timer_init(&link->timer, upstream->options.loop, on_timer);
    deferred_init(&link->burial, on_burial);
    enum err err = ERR_OK;
    link->stream =
        stream_connect(upstream->options.loop, &endpoint->addr, processor->settings.tls, &link_ops, link, &err);
    if (link->stream == NULL) {
        pool_put(&upstream->links, link);
        if (!link_trouble_is_ours(err)) {
            endpoint_unreached(endpoint);
        }
        stats_add(upstream->options.stats, processor->stat_connects_failed, 1);
        return err;
    }
    link->state = LINK_CONNECTING;
    endpoint->links[LINK_CONNECTING]++;
    link->call = call;
    call->link = link;
    timer_set_after(&link->timer, processor->settings.connect_ms * CLOCK_US_PER_MS);
    return ERR_OK;
}

/* For how long a link may have been idle: as learnt, `pool.idle` at most. */
static uint64_t idle_max_us(struct endpoint *endpoint, uint64_t now_us)
{
    return idle_limit_us(&endpoint->idle_limit, endpoint->processor->settings.link_idle_ms * CLOCK_US_PER_MS, now_us);
}

static void go_idle(struct link *link, uint64_t now_us)
{
    const struct processor_settings *settings = &processor_of(link)->settings;
    uint64_t idle_end_us = now_us + idle_max_us(link->endpoint, now_us);
    uint64_t age_end_us = link->opened_us + settings->link_age_ms * CLOCK_US_PER_MS;
    if (link->endpoint->retired || link->epoch != processor_of(link)->epoch || age_end_us <= now_us) {
        link_close(link, false);
        return;
    }
    link->call = NULL;
    /* The processor counts from its answer, which waited for those that this turn handled before it. */
    link->idle_since_us = now_us - loop_waited_us(upstream_of(link)->options.loop);
    link_enter(link, LINK_IDLE);
    list_push_front(&link->endpoint->idle, &link->in_idle);
    timer_set(&link->timer, idle_end_us < age_end_us ? idle_end_us : age_end_us);
    queue_wake(processor_of(link));
}

/* Among the errors of a connect, these are of the handshake. */
static bool is_of_handshake(enum err err)
{
    return err == ERR_TLS || err == ERR_TLS_CERTIFICATE || err == ERR_TLS_CLIENT_CERT || err == ERR_TLS_NOT_TLS ||
           err == ERR_EOF;
}

static void count_handshake(struct link *link, enum err err)
{
    const struct processor *processor = processor_of(link);
    struct stats *stats = upstream_of(link)->options.stats;
    struct stream_tls tls;
    if (err == ERR_OK && stream_tls_info(link->stream, &tls)) {
        stats_add(stats, processor->stat_handshakes[tls.resumed ? 1 : 0], 1);
    } else if (is_of_handshake(err)) {
        stats_add(stats, processor->stat_handshakes_failed, 1);
    }
}

static void on_open(void *owner, enum err err)
{
    struct link *link = owner;
    struct processor *processor = processor_of(link);
    struct call *call = link->call;
    uint64_t now_us = processor_now_us(processor);
    count_handshake(link, err);
    if (err != ERR_OK) {
        const char *words = stream_why(link->stream);
        connect_failed(link, err, words[0] != '\0' ? words : err_sentence(err));
        return;
    }
    endpoint_reached(link->endpoint);
    link->connect_us = now_us - link->opened_us;
    stats_add(processor_stats(processor), processor->stat_connects_ok, 1);
    if (call == NULL) {
        list_remove(&link->in_idle);
        go_idle(link, now_us);
        return;
    }
    timer_stop(&link->timer);
    link_enter(link, LINK_LEASED);
    call_on_link_open(call);
}

/* ---- lease and return ---- */

/*
 * A link on which something arrived that the loop has not read yet is passed
 * over: as the first bytes behind a request those would be its answer. The loop
 * reads them in this turn or the next, and closes the link for what they are.
 */
static struct link *find_idle(struct endpoint *endpoint, bool safe, uint64_t now_us)
{
    if (list_empty(&endpoint->idle)) {
        return NULL;
    }
    const struct link *oldest = list_last(&endpoint->idle, struct link, in_idle);
    uint64_t max_us = endpoint->processor->settings.link_idle_ms * CLOCK_US_PER_MS;
    idle_limit_seen(&endpoint->idle_limit, now_us - oldest->idle_since_us);
    uint64_t most_us = safe ? idle_limit_us(&endpoint->idle_limit, max_us, now_us)
                            : idle_limit_sure_us(&endpoint->idle_limit, max_us < LINK_YOUNG_US ? max_us : LINK_YOUNG_US, now_us);
    int tries = 0;
    list_each (link, after, &endpoint->idle, struct link, in_idle) {
        if (++tries > LINK_TRIES_MAX || now_us - link->idle_since_us > most_us) {
            return NULL;
        }
        if (stream_is_silent(link->stream)) {
            return link;
        }
    }
    return NULL;
}

bool link_lease_idle(struct endpoint *endpoint, struct call *call, uint64_t now_us)
{
    struct link *link = call->fresh ? NULL : find_idle(endpoint, call->safe, now_us);
    if (link == NULL) {
        return false;
    }
    list_remove(&link->in_idle);
    call->kept_us = now_us - link->idle_since_us;
    link_enter(link, LINK_LEASED); /* its timer runs on: moved when it is idle again, ignored until then */
    link->call = call;
    call->link = link;
    return true;
}

void link_forget_call(struct link *link)
{
    CHECK(link->state == LINK_CONNECTING);
    link->call = NULL;
    if (link->endpoint->retired) {
        link_close(link, false); /* nobody comes next */
        return;
    }
    list_push_back(&link->endpoint->unclaimed, &link->in_idle);
}

void link_return(struct link *link)
{
    CHECK(link->state == LINK_LEASED);
    link->calls_count++;
    if (link->spoilt) {
        link_close(link, false);
        return;
    }
    stream_resume(link->stream);
    go_idle(link, loop_now_us(upstream_of(link)->options.loop));
}

/* ---- what arrives ---- */

static void on_read(void *owner, struct bytes data)
{
    struct link *link = owner;
    if (link->state == LINK_LEASED && link->call != NULL && link->call->state == CALL_READY) {
        call_on_data(link->call, data);
        return;
    }
    /* Nobody asked for these bytes: the next answer on this link could be another caller's. */
    stats_add(upstream_of(link)->options.stats, processor_of(link)->stat_desync, 1);
    link->spoilt = true;
    if (link->state == LINK_IDLE) {
        log_event(upstream_of(link)->options.log, LOG_WARN, "processor_desync",
                  "closing a connection that sent bytes nobody asked for", LOG_T("processor", processor_of(link)->name),
                  LOG_T("endpoint", link->endpoint->text), LOG_N("bytes", data.len));
        link_close(link, true);
    }
}

/* What is idle for longer than the limit that was just learnt is closed before the processor does. */
static void close_too_old(struct endpoint *endpoint, uint64_t now_us)
{
    uint64_t most_us = idle_max_us(endpoint, now_us);
    struct link *oldest;
    while ((oldest = list_last(&endpoint->idle, struct link, in_idle)) != NULL &&
           now_us - oldest->idle_since_us > most_us) {
        link_close(oldest, false);
    }
}

/*
 * The processor ended it while it was idle. Where one that has been idle for
 * longer is still open, that was for another reason than its idleness.
 */
static void ended_idle(struct link *link)
{
    struct endpoint *endpoint = link->endpoint;
    uint64_t now_us = processor_now_us(endpoint->processor);
    bool oldest = list_last(&endpoint->idle, struct link, in_idle) == link;
    link_close(link, false);
    if (oldest) {
        idle_limit_closed(&endpoint->idle_limit, now_us - link->idle_since_us, now_us);
        close_too_old(endpoint, now_us);
    }
}

/* A request may have been on its way to it just then: that is what the limit is there to prevent. */
static void ended_leased(struct link *link, enum err err)
{
    struct endpoint *endpoint = link->endpoint;
    struct call *call = link->call;
    uint64_t now_us = processor_now_us(endpoint->processor);
    bool lost = call->reused && call->first_byte_us == 0 && now_us - call->leased_us < LINK_LOST_US;
    if (lost && call->kept_us >= IDLE_SURE_US) { /* a hot one was reset for what was asked, and teaches nothing of idleness */
        idle_limit_closed(&endpoint->idle_limit, call->kept_us, now_us);
    }
    call_on_link_end(call, err);
}

static void on_end(void *owner, enum err err)
{
    struct link *link = owner;
    link->spoilt = true;
    if (link->state == LINK_IDLE) {
        ended_idle(link);
    } else if (link->state == LINK_LEASED && link->call != NULL) {
        ended_leased(link, err);
    }
}

static void on_drain(void *owner)
{
    struct link *link = owner;
    struct call *call = link->call;
    if (link->state == LINK_LEASED && call != NULL && call->state == CALL_READY) {
        call->ops->on_step(call->owner);
    }
}

static const struct stream_ops link_ops = {
    .on_open = on_open,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
};
