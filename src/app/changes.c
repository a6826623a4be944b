/*
 * Compares two configurations by name, field by field. Positions and the text
 * of the file do not count; what a merchant or a processor would notice does.
 */
#include "weir/app/changes.h"

#include <stdio.h>
#include <string.h>

#include "weir/base/addr.h"

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool texts_equal(const char *const *a, int a_count, const char *const *b, int b_count)
{
    bool equal = a_count == b_count;
    for (int i = 0; equal && i < a_count; i++) {
        equal = text_equal(a[i], b[i]);
    }
    return equal;
}

static bool codes_equal(const struct conf_codes *a, int a_count, const struct conf_codes *b, int b_count)
{
    bool equal = a_count == b_count;
    for (int i = 0; equal && i < a_count; i++) {
        equal = a[i].low == b[i].low && a[i].high == b[i].high;
    }
    return equal;
}

static bool key_equal(const struct conf_key *a, const struct conf_key *b)
{
    return a->place == b->place && text_equal(a->at, b->at);
}

static bool retentions_equal(const struct conf_profile *a, const struct conf_profile *b)
{
    bool equal = a->retention_count == b->retention_count;
    for (int i = 0; equal && i < a->retention_count; i++) {
        equal = text_equal(a->retentions[i].path, b->retentions[i].path) &&
                a->retentions[i].keep_ms == b->retentions[i].keep_ms;
    }
    return equal;
}

static bool proof_equal(const struct conf_profile *a, const struct conf_profile *b)
{
    return codes_equal(a->final, a->final_count, b->final, b->final_count) &&
           codes_equal(a->not_executed, a->not_executed_count, b->not_executed, b->not_executed_count) &&
           codes_equal(a->busy, a->busy_count, b->busy, b->busy_count) &&
           text_equal(a->not_executed_field, b->not_executed_field) &&
           texts_equal(a->unproven_words, a->unproven_word_count, b->unproven_words, b->unproven_word_count);
}

/* By what they say: an operator's profile may change under its name, and its place in the file is nothing. */
static bool profile_equal(const struct conf_profile *a, const struct conf_profile *b)
{
    return text_equal(a->name, b->name) && a->deduplicates == b->deduplicates && key_equal(&a->key, &b->key) &&
           a->key_bytes_min == b->key_bytes_min && a->key_bytes_max == b->key_bytes_max &&
           text_equal(a->key_chars, b->key_chars) && a->keys_put == b->keys_put && a->keys_delete == b->keys_delete &&
           retentions_equal(a, b) && proof_equal(a, b) &&
           texts_equal(a->print_fields, a->print_field_count, b->print_fields, b->print_field_count) &&
           texts_equal(a->kept_fields, a->kept_field_count, b->kept_fields, b->kept_field_count) &&
           text_equal(a->replay_marker, b->replay_marker) && a->errors == b->errors &&
           codes_equal(a->declined, a->declined_count, b->declined, b->declined_count) &&
           texts_equal(a->declined_words, a->declined_word_count, b->declined_words, b->declined_word_count) &&
           texts_equal(a->test_keys, a->test_key_count, b->test_keys, b->test_key_count) &&
           a->should_retry == b->should_retry && a->key_reused_status == b->key_reused_status &&
           a->key_in_progress_status == b->key_in_progress_status &&
           a->outcome_unknown_status == b->outcome_unknown_status;
}

static bool idempotency_equal(const struct conf_idempotency *a, const struct conf_idempotency *b)
{
    if (!a->on || !b->on) {
        return a->on == b->on;
    }
    return key_equal(&a->key, &b->key) && a->required == b->required && a->mode == b->mode &&
           a->upstream_key == b->upstream_key && a->keep_ms == b->keep_ms &&
           a->keep_receipt_ms == b->keep_receipt_ms && a->keep_unknown_ms == b->keep_unknown_ms &&
           a->wait_ms == b->wait_ms && a->pass_when_down == b->pass_when_down;
}

static bool rate_equal(const struct conf_rate *a, const struct conf_rate *b)
{
    return a->tokens == b->tokens && a->per_us == b->per_us;
}

static bool parts_equal(const struct conf_limit *a, const struct conf_limit *b)
{
    bool equal = a->part_count == b->part_count;
    for (int i = 0; equal && i < a->part_count; i++) {
        equal = a->parts[i].kind == b->parts[i].kind && text_equal(a->parts[i].header, b->parts[i].header);
    }
    return equal;
}

static bool tiers_equal(const struct conf_limit *a, const struct conf_limit *b)
{
    bool equal = a->tier_count == b->tier_count;
    for (int i = 0; equal && i < a->tier_count; i++) {
        const struct conf_limit_tier *one = &a->tiers[i], *other = &b->tiers[i];
        equal = text_equal(one->name, other->name) && rate_equal(&one->rate, &other->rate) &&
                one->burst == other->burst && one->concurrent == other->concurrent;
    }
    return equal;
}

static bool limit_equal(const struct conf_limit *a, const struct conf_limit *b)
{
    return parts_equal(a, b) && rate_equal(&a->rate, &b->rate) && a->burst == b->burst &&
           a->concurrent == b->concurrent && a->mode == b->mode && a->store_down == b->store_down &&
           a->charge_on == b->charge_on && tiers_equal(a, b);
}

/* Lists of indices into limits, of two configurations: by the names. */
static bool limit_names_equal(const struct conf *before, const int *a, int a_count, const struct conf *after,
                              const int *b, int b_count)
{
    bool equal = a_count == b_count;
    for (int i = 0; equal && i < a_count; i++) {
        equal = text_equal(before->limits[a[i]].name, after->limits[b[i]].name);
    }
    return equal;
}

static bool class_equal(const struct conf_route *a, const struct conf_route *b)
{
    return a->class_written == b->class_written && (!a->class_written || a->class == b->class);
}

static bool tenants_equal(const struct conf_tenants *a, const struct conf_tenants *b)
{
    return a->by == b->by && text_equal(a->header, b->header) && a->refuse_unknown == b->refuse_unknown &&
           text_equal(a->known_file, b->known_file);
}

static bool servers_equal(const struct conf_store *a, const struct conf_store *b)
{
    bool equal = a->server_count == b->server_count;
    for (int i = 0; equal && i < a->server_count; i++) {
        equal = a->servers[i].tls == b->servers[i].tls && a->servers[i].port == b->servers[i].port &&
                text_equal(a->servers[i].host, b->servers[i].host);
    }
    return equal;
}

/*
 * What a running store takes over does not count: what its password file holds,
 * and how long it waits. single_machine is a promise to the rules alone.
 */
static bool store_equal(const struct conf_store *a, const struct conf_store *b)
{
    if (a->type != b->type || !text_equal(a->secret_file, b->secret_file)) {
        return false;
    }
    if (a->type == CONF_STORE_EMBEDDED) {
        return text_equal(a->path, b->path) && a->size_bytes == b->size_bytes;
    }
    return servers_equal(a, b) && text_equal(a->username, b->username) &&
           text_equal(a->password_file, b->password_file) && a->tls_verify == b->tls_verify &&
           text_equal(a->tls_ca, b->tls_ca) && text_equal(a->tls_cert, b->tls_cert) &&
           text_equal(a->tls_key, b->tls_key) && text_equal(a->tls_server_name, b->tls_server_name);
}

static bool health_equal(const struct conf_health_checks *a, const struct conf_health_checks *b)
{
    return a->type == b->type && text_equal(a->path, b->path) && a->status_min == b->status_min &&
           a->status_max == b->status_max && a->every_ms == b->every_ms && a->timeout_ms == b->timeout_ms &&
           a->down_after == b->down_after && a->up_after == b->up_after;
}

static bool breaker_equal(const struct conf_breaker *a, const struct conf_breaker *b)
{
    return a->window_ms == b->window_ms && a->min_requests == b->min_requests &&
           a->open_at_permille == b->open_at_permille && a->slow_ms == b->slow_ms &&
           a->slow_at_permille == b->slow_at_permille && a->open_for_ms == b->open_for_ms &&
           a->open_max_ms == b->open_max_ms;
}

/* Without weights all are alike, as with equal ones. */
static uint32_t weight_of(const struct conf_processor *processor, int index)
{
    return processor->weights != NULL ? processor->weights[index] : 1;
}

/* In their order, with their weights. */
static bool endpoints_equal(const struct conf_processor *a, const struct conf_processor *b)
{
    bool equal = a->endpoint_count == b->endpoint_count && (a->endpoints == NULL) == (b->endpoints == NULL);
    for (int i = 0; equal && a->endpoints != NULL && i < a->endpoint_count; i++) {
        equal = addr_equal(&a->endpoints[i], &b->endpoints[i]) && weight_of(a, i) == weight_of(b, i);
    }
    return equal;
}

static bool processor_equal(const struct conf *before, const struct conf_processor *a, const struct conf *after,
                            const struct conf_processor *b)
{
    if (!profile_equal(&before->profiles[a->profile], &after->profiles[b->profile])) {
        return false;
    }
    return endpoints_equal(a, b) && text_equal(a->url, b->url) && text_equal(a->host_header, b->host_header) &&
           a->tls_verify == b->tls_verify && text_equal(a->tls_ca, b->tls_ca) && text_equal(a->tls_cert, b->tls_cert) &&
           text_equal(a->tls_key, b->tls_key) && text_equal(a->tls_server_name, b->tls_server_name) &&
           a->connect_ms == b->connect_ms && a->response_ms == b->response_ms && a->total_ms == b->total_ms &&
           a->late_ms == b->late_ms && a->connections == b->connections && a->link_idle_ms == b->link_idle_ms &&
           a->link_age_ms == b->link_age_ms && a->queue == b->queue && a->balance == b->balance &&
           a->concurrency == b->concurrency && health_equal(&a->health, &b->health) &&
           breaker_equal(&a->breaker, &b->breaker);
}

/* By its name: where a processor stands in the file is nothing. */
static const char *failover_name(const struct conf *conf, const struct conf_route *route)
{
    return route->failover >= 0 ? conf->processors[route->failover].name : NULL;
}

static bool route_equal(const struct conf *before, const struct conf_route *a, const struct conf *after,
                        const struct conf_route *b)
{
    return text_equal(a->host, b->host) && text_equal(a->method, b->method) && text_equal(a->path, b->path) &&
           a->path_is_prefix == b->path_is_prefix &&
           text_equal(before->processors[a->processor].name, after->processors[b->processor].name) &&
           text_equal(failover_name(before, a), failover_name(after, b)) &&
           a->body_bytes == b->body_bytes && a->response_ms == b->response_ms && a->total_ms == b->total_ms &&
           a->stream_request == b->stream_request && idempotency_equal(&a->idempotency, &b->idempotency) &&
           limit_names_equal(before, a->limits, a->limit_count, after, b->limits, b->limit_count) && class_equal(a, b);
}

static int find_route(const struct conf *conf, const char *name)
{
    for (int i = 0; i < conf->route_count; i++) {
        if (text_equal(conf->routes[i].name, name)) {
            return i;
        }
    }
    return -1;
}

static int find_processor(const struct conf *conf, const char *name)
{
    for (int i = 0; i < conf->processor_count; i++) {
        if (text_equal(conf->processors[i].name, name)) {
            return i;
        }
    }
    return -1;
}

static int find_limit(const struct conf *conf, const char *name)
{
    for (int i = 0; i < conf->limit_count; i++) {
        if (text_equal(conf->limits[i].name, name)) {
            return i;
        }
    }
    return -1;
}

/* As the gate sees it: a listener is its address, whatever it is called. NULL: none. */
static const struct conf_listener *find_listener(const struct conf *conf, const struct conf_listener *like)
{
    for (int i = 0; i < conf->listener_count; i++) {
        if (addr_listen_equal(&conf->listeners[i].address, &like->address)) {
            return &conf->listeners[i];
        }
    }
    return NULL;
}

static void compare_routes(struct changes *changes, const struct conf *before, const struct conf *after)
{
    int kept = 0, last = -1;
    for (int i = 0; i < after->route_count; i++) {
        int old = find_route(before, after->routes[i].name);
        if (old < 0) {
            changes->routes_added++;
            continue;
        }
        kept++;
        changes->routes_changed += !route_equal(before, &before->routes[old], after, &after->routes[i]);
        changes->routes_reordered = changes->routes_reordered || old < last;
        last = old;
    }
    changes->routes_removed = before->route_count - kept;
}

static void compare_processors(struct changes *changes, const struct conf *before, const struct conf *after)
{
    int kept = 0;
    for (int i = 0; i < after->processor_count; i++) {
        int old = find_processor(before, after->processors[i].name);
        if (old < 0) {
            changes->processors_added++;
            continue;
        }
        kept++;
        changes->processors_changed += !processor_equal(before, &before->processors[old], after, &after->processors[i]);
    }
    changes->processors_removed = before->processor_count - kept;
}

static void compare_limits(struct changes *changes, const struct conf *before, const struct conf *after)
{
    int kept = 0;
    for (int i = 0; i < after->limit_count; i++) {
        int old = find_limit(before, after->limits[i].name);
        if (old < 0) {
            changes->limits_added++;
            continue;
        }
        kept++;
        changes->limits_changed += !limit_equal(&before->limits[old], &after->limits[i]);
    }
    changes->limits_removed = before->limit_count - kept;
}

static void compare_listeners(struct changes *changes, const struct conf *before, const struct conf *after)
{
    for (int i = 0; i < after->listener_count; i++) {
        const struct conf_listener *old = find_listener(before, &after->listeners[i]);
        if (old == NULL) {
            changes->listeners_opened++;
            continue;
        }
        changes->listeners_kept++;
        changes->listeners_renamed += !text_equal(old->name, after->listeners[i].name);
        changes->listeners_limited +=
            !limit_names_equal(before, old->accept_limits, old->accept_limit_count, after,
                               after->listeners[i].accept_limits, after->listeners[i].accept_limit_count);
    }
    for (int i = 0; i < before->listener_count; i++) {
        changes->listeners_closed += find_listener(after, &before->listeners[i]) == NULL;
    }
}

void changes_between(struct changes *changes, const struct conf *before, const struct conf *after)
{
    static const struct conf NOTHING;
    *changes = (struct changes){0};
    const struct conf *old = before != NULL ? before : &NOTHING;
    compare_routes(changes, old, after);
    compare_processors(changes, old, after);
    compare_limits(changes, old, after);
    compare_listeners(changes, old, after);
    if (before != NULL) {
        changes->monitor_differs = before->monitor_present != after->monitor_present ||
                                   (after->monitor_present && !addr_listen_equal(&before->monitor, &after->monitor));
        changes->admin_differs = !text_equal(before->admin_socket, after->admin_socket);
        changes->tenants_differ = !tenants_equal(&before->tenants, &after->tenants);
        /* A store that nobody had open is opened as it is now. */
        changes->store_differs = before->store_needed && after->store_needed && !store_equal(&before->store, &after->store);
    }
}

/* Adds ", 3 routes changed" unless there are none. */
static void add_count(char *text, size_t size, int count, const char *noun, const char *verb)
{
    size_t len = strlen(text);
    if (count > 0) {
        snprintf(text + len, size - len, "%s%d %s%s %s", len > 0 ? ", " : "", count, noun, count == 1 ? "" : "s", verb);
    }
}

static void add_words(char *text, size_t size, const char *words)
{
    size_t len = strlen(text);
    snprintf(text + len, size - len, "%s%s", len > 0 ? ", " : "", words);
}

const char *changes_text(const struct changes *changes, char *text, size_t size)
{
    text[0] = '\0';
    add_count(text, size, changes->routes_changed, "route", "changed");
    add_count(text, size, changes->routes_added, "route", "added");
    add_count(text, size, changes->routes_removed, "route", "removed");
    if (changes->routes_reordered) {
        add_words(text, size, "routes in another order");
    }
    add_count(text, size, changes->processors_changed, "processor", "changed");
    add_count(text, size, changes->processors_added, "processor", "added");
    add_count(text, size, changes->processors_removed, "processor", "removed");
    add_count(text, size, changes->limits_changed, "limit", "changed");
    add_count(text, size, changes->limits_added, "limit", "added");
    add_count(text, size, changes->limits_removed, "limit", "removed");
    add_count(text, size, changes->listeners_opened, "listener", "opened");
    add_count(text, size, changes->listeners_closed, "listener", "closed");
    add_count(text, size, changes->listeners_kept, "listener", "kept");
    add_count(text, size, changes->listeners_renamed, "listener", "renamed");
    add_count(text, size, changes->listeners_limited, "listener", "under other limits");
    if (changes->tenants_differ) {
        add_words(text, size, "tenants changed");
    }
    if (changes->monitor_differs) {
        add_words(text, size, "monitor.address changes at the next start");
    }
    if (changes->admin_differs) {
        add_words(text, size, "admin.socket changes at the next start");
    }
    if (changes->store_differs) {
        add_words(text, size, "store changes at the next start");
    }
    return text;
}
