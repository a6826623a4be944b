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

static bool processor_equal(const struct conf_processor *a, const struct conf_processor *b)
{
    if (a->endpoint_count != b->endpoint_count || (a->endpoints == NULL) != (b->endpoints == NULL)) {
        return false;
    }
    for (int i = 0; a->endpoints != NULL && i < a->endpoint_count; i++) {
        if (!addr_equal(&a->endpoints[i], &b->endpoints[i])) {
            return false;
        }
    }
    return a->profile == b->profile && text_equal(a->url, b->url) && text_equal(a->host_header, b->host_header) &&
           a->tls_verify == b->tls_verify && text_equal(a->tls_ca, b->tls_ca) && text_equal(a->tls_cert, b->tls_cert) &&
           text_equal(a->tls_key, b->tls_key) && text_equal(a->tls_server_name, b->tls_server_name) &&
           a->connect_ms == b->connect_ms && a->response_ms == b->response_ms && a->total_ms == b->total_ms &&
           a->connections == b->connections && a->link_idle_ms == b->link_idle_ms &&
           a->link_age_ms == b->link_age_ms && a->queue == b->queue && a->balance == b->balance &&
           a->concurrency == b->concurrency;
}

static bool route_equal(const struct conf *before, const struct conf_route *a, const struct conf *after,
                        const struct conf_route *b)
{
    return text_equal(a->host, b->host) && text_equal(a->method, b->method) && text_equal(a->path, b->path) &&
           a->path_is_prefix == b->path_is_prefix &&
           text_equal(before->processors[a->processor].name, after->processors[b->processor].name) &&
           a->body_bytes == b->body_bytes && a->response_ms == b->response_ms && a->total_ms == b->total_ms &&
           a->stream_request == b->stream_request;
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
        changes->processors_changed += !processor_equal(&before->processors[old], &after->processors[i]);
    }
    changes->processors_removed = before->processor_count - kept;
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
    compare_listeners(changes, old, after);
    if (before != NULL) {
        changes->monitor_differs = before->monitor_present != after->monitor_present ||
                                   (after->monitor_present && !addr_listen_equal(&before->monitor, &after->monitor));
        changes->admin_differs = !text_equal(before->admin_socket, after->admin_socket);
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
    add_count(text, size, changes->listeners_opened, "listener", "opened");
    add_count(text, size, changes->listeners_closed, "listener", "closed");
    add_count(text, size, changes->listeners_kept, "listener", "kept");
    add_count(text, size, changes->listeners_renamed, "listener", "renamed");
    if (changes->monitor_differs) {
        add_words(text, size, "monitor.address changes at the next start");
    }
    if (changes->admin_differs) {
        add_words(text, size, "admin.socket changes at the next start");
    }
    return text;
}
