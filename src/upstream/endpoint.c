/*
 * The addresses of a processor: who is one, what is known of each, and which
 * takes the next call. What is known comes from connects (rest), answers (their
 * Retry-After and Keep-Alive), the endpoint's breaker, and its checks. Of all
 * that can take a call, one that rests or is to be avoided is taken only for
 * want of another; one that failed its checks or whose breaker is open, never.
 */
#include "check.h"

#include <stdlib.h>

#include "weir/base/clock.h"

static const struct stats_family family_up = {
    .name = "weir_processor_up",
    .help = "1 while a call would go to this endpoint: no check took it out, its breaker is not open, and it does not rest "
            "after a failed connect or a Retry-After while there is another.",
    .kind = STATS_GAUGE,
    .labels = {"processor", "endpoint"},
};
static const struct stats_family family_checks = {
    .name = "weir_processor_checks_total",
    .help = "Active checks of an endpoint by result.",
    .kind = STATS_COUNTER,
    .labels = {"processor", "endpoint", "result"},
};

static struct stats *stats_of(const struct endpoint *endpoint)
{
    return processor_stats(endpoint->processor);
}

static uint64_t now_of(const struct endpoint *endpoint)
{
    return processor_now_us(endpoint->processor);
}

/* ---- life ---- */

static void endpoint_configure(struct endpoint *endpoint)
{
    const struct processor *processor = endpoint->processor;
    circuit_configure(&endpoint->circuit);
    if (processor->settings.check.type == CONF_HEALTH_NONE) {
        endpoint->health = (struct health){.passed = 0}; /* nobody would take it back */
        endpoint->health_words[0] = '\0';
    } else {
        endpoint->stat_checks_passed =
            stats_series(stats_of(endpoint), &family_checks, processor->name, endpoint->text, "passed");
        endpoint->stat_checks_failed =
            stats_series(stats_of(endpoint), &family_checks, processor->name, endpoint->text, "failed");
    }
    check_start(endpoint);
}

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
    endpoint->stat_up = stats_series(stats_of(endpoint), &family_up, processor->name, endpoint->text);
    if (!circuit_init(&endpoint->circuit, processor, endpoint, NULL)) {
        free(endpoint);
        return NULL;
    }
    endpoint_configure(endpoint);
    return endpoint;
}

void endpoints_configure(struct processor *processor)
{
    for (int i = 0; i < processor->endpoint_count; i++) {
        endpoint_configure(processor->endpoints[i]);
    }
    list_each (circuit, after, &processor->circuits, struct circuit, in_circuits) {
        circuit_configure(circuit);
    }
    queue_doubt(processor);
}

static void endpoint_retire(struct endpoint *endpoint)
{
    struct processor *processor = endpoint->processor;
    endpoint->retired = true;
    endpoint->retired_us = now_of(endpoint);
    stats_set(stats_of(endpoint), endpoint->stat_up, 0);
    circuit_retire(&endpoint->circuit);
    check_stop(endpoint);
    list_push_back(&processor->retired, &endpoint->in_endpoints);
    link_close_idle(endpoint);
    processor_maybe_bury(processor);
    if (processor->holders > 0) {
        log_event(processor_log(processor), LOG_INFO, "endpoint_removed",
                  "it is no longer an address of the processor: what it carries ends there", LOG_T("processor", processor->name),
                  LOG_T("endpoint", endpoint->text), LOG_N("in_flight", endpoint->load.in_flight));
    }
}

/* Nothing points to it any more. */
static bool is_unused(const struct endpoint *endpoint)
{
    uint32_t links = 0;
    for (int i = 0; i < LINK_STATE_COUNT; i++) {
        links += endpoint->links[i];
    }
    return links == 0 && endpoint->load.in_flight == 0 && check_is_over(endpoint);
}

static bool is_forgotten(const struct endpoint *endpoint)
{
    return is_unused(endpoint) && now_of(endpoint) - endpoint->retired_us >= REMEMBERED_US;
}

/*
 * An address that went and comes back while its links still work counts them on:
 * its limit is one. And one that a name server drops for a minute has not become
 * well by that: its breaker is what it was.
 */
static struct endpoint *revive_endpoint(struct processor *processor, const struct addr *addr)
{
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        if (addr_equal(&endpoint->addr, addr) && !is_forgotten(endpoint)) {
            list_remove(&endpoint->in_endpoints);
            endpoint->retired = false;
            endpoint->health = (struct health){.passed = 0};
            circuit_find_series(&endpoint->circuit);
            circuit_obey(&endpoint->circuit);
            endpoint_configure(endpoint);
            return endpoint;
        }
    }
    return NULL;
}

static struct endpoint *keep_endpoint(struct processor *processor, const struct addr *addr)
{
    for (int i = 0; i < processor->endpoint_count; i++) {
        struct endpoint *endpoint = processor->endpoints[i];
        if (endpoint != NULL && addr_equal(&endpoint->addr, addr)) {
            processor->endpoints[i] = NULL;
            return endpoint;
        }
    }
    return NULL;
}

/* `joins`: others are there already, and it takes up its share slowly. */
static struct endpoint *add_endpoint(struct processor *processor, const struct addr *addr, bool joins)
{
    struct endpoint *endpoint = revive_endpoint(processor, addr);
    if (endpoint == NULL) {
        endpoint = endpoint_new(processor, addr);
    }
    if (endpoint != NULL && joins) {
        endpoint->load.ramp_us = now_of(endpoint);
        log_event(processor_log(processor), LOG_INFO, "endpoint_added", "a new address takes up its share slowly",
                  LOG_T("processor", processor->name), LOG_T("endpoint", endpoint->text));
    }
    return endpoint;
}

void endpoints_set(struct processor *processor, const struct addr *addrs, const uint32_t *weights, int count)
{
    struct endpoint *next[ENDPOINTS_MAX];
    int next_count = 0;
    bool joins = processor->endpoint_count > 0;
    for (int i = 0; i < count && next_count < ENDPOINTS_MAX; i++) {
        struct endpoint *endpoint = keep_endpoint(processor, &addrs[i]);
        if (endpoint == NULL) {
            endpoint = add_endpoint(processor, &addrs[i], joins);
        }
        if (endpoint != NULL) {
            endpoint->load.weight = weights != NULL ? weights[i] : 1;
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
    circuits_stay_awake(processor); /* one that came back may be open: nothing but time leads out of that */
    queue_wake(processor);
}

void endpoints_sweep(struct processor *processor)
{
    int remembered = 0;
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        remembered += is_unused(endpoint) ? 1 : 0;
    }
    list_each (endpoint, after, &processor->retired, struct endpoint, in_endpoints) {
        bool forget = processor->holders == 0 || remembered > REMEMBERED_MAX || is_forgotten(endpoint);
        if (is_unused(endpoint) && forget) {
            CHECK(endpoint->circuit.breaker.in_flight == 0);
            list_remove(&endpoint->in_endpoints);
            free(endpoint);
            remembered--;
        }
    }
}

/* ---- what is known of it ---- */

void endpoint_unreached(struct endpoint *endpoint)
{
    endpoint->resting_until_us = now_of(endpoint) + ENDPOINT_REST_US;
    check_hurry(endpoint);
}

void endpoint_reached(struct endpoint *endpoint)
{
    endpoint->resting_until_us = 0;
}

bool endpoint_rests(const struct endpoint *endpoint, uint64_t now_us)
{
    return endpoint->resting_until_us > now_us || endpoint->quiet_until_us > now_us;
}

/* `timeout=N` of a Keep-Alive field, among its other parameters. */
static bool read_timeout(struct bytes value, uint32_t *timeout_s)
{
    struct bytes element;
    uint64_t seconds;
    while (bytes_next_element(&value, &element)) {
        size_t equals = bytes_find(element, '=');
        if (equals != SIZE_MAX && bytes_equal_nocase(bytes_trim(bytes_take(element, equals)), BYTES("timeout")) &&
            bytes_to_u64(bytes_trim(bytes_skip(element, equals + 1)), &seconds)) {
            *timeout_s = seconds < UINT32_MAX / 2 ? (uint32_t)seconds : UINT32_MAX / 2;
            return true;
        }
    }
    return false;
}

static void heed_keep_alive(struct endpoint *endpoint, const struct http_head *head)
{
    uint32_t timeout_s;
    for (int i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == HTTP_FIELD_KEEP_ALIVE && read_timeout(head->fields[i].value, &timeout_s)) {
            idle_limit_told(&endpoint->idle_limit, timeout_s, now_of(endpoint));
        }
    }
}

/* Seconds alone: a date would need the wall clock of both. */
static void heed_retry_after(struct endpoint *endpoint, const struct http_head *head)
{
    uint64_t seconds;
    if (!bytes_to_u64(http_head_find(head, HTTP_FIELD_RETRY_AFTER)->value, &seconds)) {
        return;
    }
    uint64_t most_s = RETRY_AFTER_US_MAX / CLOCK_US_PER_S;
    endpoint->quiet_until_us = now_of(endpoint) + (seconds < most_s ? seconds : most_s) * CLOCK_US_PER_S;
}

/* True: the last answers are refusals of as many callers, and came together. */
static bool refuses_several(struct endpoint *endpoint, uint32_t caller)
{
    uint64_t now_us = now_of(endpoint);
    memmove(&endpoint->refusals[1], &endpoint->refusals[0], sizeof endpoint->refusals - sizeof endpoint->refusals[0]);
    endpoint->refusals[0].caller = caller;
    endpoint->refusals[0].at_us = now_us;
    endpoint->refusal_count += endpoint->refusal_count < REFUSALS_TO_REST ? 1 : 0;
    bool several = endpoint->refusal_count == REFUSALS_TO_REST &&
                   now_us - endpoint->refusals[REFUSALS_TO_REST - 1].at_us <= REFUSALS_US;
    for (int i = 0; i < REFUSALS_TO_REST; i++) {
        for (int j = 0; j < i; j++) {
            several = several && endpoint->refusals[i].caller != endpoint->refusals[j].caller;
        }
    }
    return several;
}

static bool asks_for_quiet(struct endpoint *endpoint, const struct http_head *head, uint32_t caller)
{
    if (head->status == 429) {
        return refuses_several(endpoint, caller);
    }
    endpoint->refusal_count = 0;
    return head->status == 503;
}

void endpoint_heed(struct endpoint *endpoint, const struct http_head *head, uint32_t caller)
{
    if (http_head_has(head, HTTP_FIELD_KEEP_ALIVE)) {
        heed_keep_alive(endpoint, head);
    }
    if (asks_for_quiet(endpoint, head, caller) && http_head_has(head, HTTP_FIELD_RETRY_AFTER)) {
        heed_retry_after(endpoint, head);
    }
}

void endpoint_on_circuit(struct endpoint *endpoint)
{
    const struct breaker_change *change = &endpoint->circuit.breaker.change;
    if (change->to == BREAKER_CLOSED && change->from != BREAKER_CLOSED) {
        endpoint->load.ramp_us = now_of(endpoint);
    }
    if (!endpoint->retired) {
        check_hurry(endpoint);
    }
}

/* ---- checks ---- */

static void tell_health(const struct endpoint *endpoint)
{
    bool up = endpoint->health.state == HEALTH_UP;
    log_event(processor_log(endpoint->processor), up ? LOG_INFO : LOG_WARN, up ? "endpoint_up" : "endpoint_down",
              up ? "its checks pass" : "its checks fail: no call goes there", LOG_T("processor", endpoint->processor->name),
              LOG_T("endpoint", endpoint->text), LOG_T("why", up ? NULL : endpoint->health_words),
              LOG_N("passed", endpoint->health.passed), LOG_N("failed", endpoint->health.failed));
}

static void on_health(struct endpoint *endpoint, enum health_state before)
{
    if (before == HEALTH_UNKNOWN && endpoint->health.state == HEALTH_UP) {
        return; /* it was used before, and nobody was told otherwise */
    }
    tell_health(endpoint);
    if (endpoint->health.state == HEALTH_UP) {
        endpoint->load.ramp_us = now_of(endpoint);
        queue_wake(endpoint->processor);
    } else {
        queue_doubt(endpoint->processor);
    }
}

void endpoint_on_check(struct endpoint *endpoint, bool passed, const char *words)
{
    enum health_state before = endpoint->health.state;
    stats_add(stats_of(endpoint), passed ? endpoint->stat_checks_passed : endpoint->stat_checks_failed, 1);
    if (!passed) {
        (void)bytes_to_text(bytes_from_text(words), endpoint->health_words, sizeof endpoint->health_words);
    }
    if (health_note(&endpoint->health, &endpoint->processor->settings.check.health, passed, now_of(endpoint))) {
        on_health(endpoint, before);
    }
    /* A process that is stopped still accepts connections: that one came about is no probe's success. */
    if (!passed || endpoint->circuit.breaker.settings.checked) {
        circuit_checked(&endpoint->circuit, passed);
    }
}

/* ---- choosing ---- */

bool endpoint_is_closed_to_all(const struct endpoint *endpoint)
{
    return endpoint->health.state == HEALTH_DOWN || circuit_is_open(&endpoint->circuit);
}

bool endpoint_takes(const struct endpoint *endpoint, uint64_t now_us)
{
    const struct processor *processor = endpoint->processor;
    bool another = false;
    for (int i = 0; i < processor->endpoint_count; i++) {
        const struct endpoint *other = processor->endpoints[i];
        another = another || (!endpoint_is_closed_to_all(other) && !endpoint_rests(other, now_us));
    }
    return !endpoint_is_closed_to_all(endpoint) && !(another && endpoint_rests(endpoint, now_us));
}

static bool has_place(const struct endpoint *endpoint)
{
    uint32_t open = endpoint->links[LINK_CONNECTING] + endpoint->links[LINK_LEASED];
    return open < endpoint->processor->settings.connections;
}

/* The higher, the better; of the best, the balancing chooses. */
enum grade {
    GRADE_NONE,    /* it may not, or cannot, take this call */
    GRADE_RESTING, /* for want of another */
    GRADE_AVOIDED, /* the call was tried there before */
    GRADE_GOOD,
};

static enum grade grade_of(const struct endpoint *endpoint, const struct call *call, uint64_t now_us)
{
    if (endpoint_is_closed_to_all(endpoint) || !has_place(endpoint)) {
        return GRADE_NONE;
    }
    if (endpoint_rests(endpoint, now_us)) {
        return endpoint == call->endpoint ? GRADE_NONE : GRADE_RESTING; /* this very call just failed to connect there */
    }
    return call->avoid != NULL && strcmp(call->avoid, endpoint->text) == 0 ? GRADE_AVOIDED : GRADE_GOOD;
}

enum picked endpoints_closed(const struct processor *processor)
{
    int down = 0;
    for (int i = 0; i < processor->endpoint_count; i++) {
        const struct endpoint *endpoint = processor->endpoints[i];
        bool is_down = endpoint->health.state == HEALTH_DOWN;
        if (!is_down && endpoint->circuit.breaker.state == BREAKER_CLOSED) {
            return PICKED;
        }
        down += is_down ? 1 : 0;
    }
    if (processor->endpoint_count == 0) {
        return PICKED;
    }
    return down == processor->endpoint_count ? PICKED_DOWN : PICKED_OPEN;
}

uint64_t endpoints_wait_us(const struct processor *processor, uint64_t now_us)
{
    uint64_t least_us = UINT64_MAX;
    for (int i = 0; i < processor->endpoint_count; i++) {
        const struct endpoint *endpoint = processor->endpoints[i];
        uint64_t wait_us = breaker_wait_us(&endpoint->circuit.breaker, now_us);
        if (endpoint->health.state != HEALTH_DOWN && wait_us < least_us) {
            least_us = wait_us;
        }
    }
    return least_us == UINT64_MAX ? 0 : least_us;
}

/* Index of the choice among those of the best grade, or -1. */
static int choose(struct processor *processor, const uint8_t grades[ENDPOINTS_MAX], uint8_t best, uint64_t now_us)
{
    const struct balance_load *loads[ENDPOINTS_MAX];
    for (int i = 0; i < processor->endpoint_count; i++) {
        struct endpoint *endpoint = processor->endpoints[i];
        endpoint->load.usable = grades[i] == best;
        endpoint->load.oldest_us = breaker_oldest_us(&endpoint->circuit.breaker);
        loads[i] = &endpoint->load;
    }
    return balance_pick(processor->settings.balance, loads, processor->endpoint_count,
                        upstream_random(processor->upstream), &processor->turn, now_us);
}

static uint8_t best_of(const uint8_t grades[ENDPOINTS_MAX], int count)
{
    uint8_t best = GRADE_NONE;
    for (int i = 0; i < count; i++) {
        best = grades[i] > best ? grades[i] : best;
    }
    return best;
}

/* Each breaker is asked last, about a call that would go: one that lets few through counts who asks. */
enum picked endpoint_pick(struct call *call, uint64_t now_us, struct endpoint **endpoint)
{
    struct processor *processor = call->processor;
    WEIR_SCRATCH uint8_t grades[ENDPOINTS_MAX];
    uint8_t best;
    for (int i = 0; i < processor->endpoint_count; i++) {
        grades[i] = (uint8_t)grade_of(processor->endpoints[i], call, now_us);
    }
    while ((best = best_of(grades, processor->endpoint_count)) != GRADE_NONE) {
        int index = choose(processor, grades, best, now_us);
        if (breaker_admits(&processor->endpoints[index]->circuit.breaker, call->rank, now_us)) {
            *endpoint = processor->endpoints[index];
            return PICKED;
        }
        grades[index] = GRADE_NONE;
    }
    enum picked closed = endpoints_closed(processor);
    return closed == PICKED ? PICKED_NO_PLACE : closed;
}
