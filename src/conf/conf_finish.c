/*
 * After the walk: fields that are made from other fields. A url becomes host,
 * port and Host, a route's path a prefix, its `to` and `failover` an index;
 * "system" and "pass" become NULL, as struct conf promises. Also the way back:
 * from a key's path to its place in the file.
 */
#include <stdio.h>

#include "conf_internal.h"

/* ---- processors ---- */

/* The Host field for this url: brackets kept, the scheme's own port left out. */
static const char *host_header(struct conf_memory *memory, const char *host, const struct conf_url *url)
{
    char text[300] = "";

    conf_append(text, sizeof(text), "%s%s%s", url->bracketed ? "[" : "", host, url->bracketed ? "]" : "");
    if (!url->port_is_default) {
        conf_append(text, sizeof(text), ":%d", url->port);
    }
    return conf_memory_text(memory, bytes_from_text(text));
}

#define SLOW_PERCENT 80 /* of the response timeout */

/* The words of `type` begin with http, and those of the field with none. */
static void finish_health(struct conf_processor *processor, const struct conf_node *node)
{
    static const enum conf_health of_word[] = {CONF_HEALTH_HTTP, CONF_HEALTH_TCP, CONF_HEALTH_TLS};
    bool written = conf_node_member(node, "health") != NULL;

    processor->health.type = written ? of_word[processor->health.type] : CONF_HEALTH_NONE;
}

static void finish_breaker(struct conf_processor *processor, const struct conf_node *node)
{
    if (conf_node_find(node, "breaker.slow_is") == NULL) {
        processor->breaker.slow_ms = (uint32_t)((uint64_t)processor->response_ms * SLOW_PERCENT / 100);
    }
}

static void finish_processor(struct conf_memory *memory, struct conf_processor *processor, const struct conf_node *node)
{
    struct conf_url url;
    struct conf_fault fault;

    finish_health(processor, node);
    finish_breaker(processor, node);
    if (processor->tls_ca != NULL && strcmp(processor->tls_ca, "system") == 0) {
        processor->tls_ca = NULL;
    }
    if (processor->url == NULL || !conf_url_split(bytes_from_text(processor->url), &url, &fault)) {
        return; /* reported: there will be no conf */
    }
    processor->tls = url.tls;
    processor->host = conf_memory_lower(memory, url.host);
    processor->port = url.port;
    processor->host_header =
        strcmp(processor->host_header, "pass") == 0 ? NULL : host_header(memory, processor->host, &url);
    if (processor->tls_server_name == NULL) {
        processor->tls_server_name = processor->host;
    }
}

/* ---- routes ---- */

static int processor_find(const struct conf *conf, struct bytes name)
{
    for (int i = 0; i < conf->processor_count; i++) {
        if (bytes_equal(bytes_from_text(conf->processors[i].name), name)) {
            return i;
        }
    }
    return -1;
}

/* "did you mean 'acme' (defined at line 22)?" */
static void hint_processor(const struct conf_run *run, struct bytes name, char *hint, size_t size)
{
    const struct conf_node *processors = conf_node_member(run->root, "processors");
    const struct conf_node *best = NULL;
    struct conf_near near = {.text = name};

    for (const struct conf_node *node = processors != NULL ? processors->first : NULL; node != NULL;
         node = node->next) {
        best = conf_near_offer(&near, node->key) ? node : best;
    }
    if (best != NULL) {
        conf_append(hint, size, "did you mean '%.*s' (defined at line %d)?", BYTES_ARG(best->key),
                    best->key_place.line);
    }
}

/* The processor that `node` names; -1: nothing is written there, or nothing that is one. `does` is said of the route. */
static int resolve_processor(struct conf_run *run, const struct conf_route *route, const struct conf_node *node,
                             const char *does)
{
    char shown[CONF_SHOWN_BYTES];
    char hint[160] = "";
    int index = node != NULL && !node->bad ? processor_find(run->conf, node->text) : -1;

    if (node == NULL || node->bad || index >= 0) {
        return index;
    }
    hint_processor(run, node->text, hint, sizeof(hint));
    conf_error(run->findings, node->place, (struct conf_help){.hint = hint},
               "route '%s' %s processor '%s', which is not defined", route->name != NULL ? route->name : "", does,
               conf_shown(node->text, shown));
    return -1;
}

static void finish_route(struct conf_run *run, struct conf_route *route, const struct conf_node *node)
{
    struct bytes path = bytes_from_text(route->path);

    if (bytes_ends_with(path, BYTES("/*"))) {
        route->path_is_prefix = true;
        route->path = conf_memory_text(run->memory, bytes_take(path, path.len - 1));
    }
    route->class_written = conf_node_member(node, "class") != NULL;
    route->processor = resolve_processor(run, route, conf_node_member(node, "to"), "sends to");
    route->failover = resolve_processor(run, route, conf_node_member(node, "failover"), "fails over to");
}

/* ---- the store ---- */

static void finish_store(struct conf_store *store)
{
    if (store->tls_ca != NULL && strcmp(store->tls_ca, "system") == 0) {
        store->tls_ca = NULL;
    }
    /* weir makes the embedded store's itself, where it may write; others come from whoever deploys all weirs. */
    if (store->secret_file == NULL) {
        store->secret_file = store->type == CONF_STORE_REDIS ? "/etc/weir/secret" : "/var/lib/weir/secret";
    }
}

void conf_finish(struct conf_run *run)
{
    struct conf *conf = run->conf;
    const struct conf_node *listeners = conf_node_member(run->root, "listeners");
    const struct conf_node *processors = conf_node_member(run->root, "processors");
    const struct conf_node *routes = conf_node_member(run->root, "routes");

    for (int i = 0; i < conf->listener_count; i++) {
        const struct conf_node *address = conf_node_member(conf_node_entry(listeners, i), "address");

        conf->listeners[i].address_text =
            address != NULL ? conf_memory_text(run->memory, address->text) : "";
    }
    for (int i = 0; i < conf->processor_count; i++) {
        finish_processor(run->memory, &conf->processors[i], conf_node_entry(processors, i));
    }
    for (int i = 0; i < conf->route_count; i++) {
        finish_route(run, &conf->routes[i], conf_node_entry(routes, i));
    }
    finish_store(&conf->store);
    conf->log[LOG_ACCESS].level = LOG_INFO; /* access lines have no level of their own */
}

/* ---- places ---- */

/* Cuts "[12]" off the front. -1: it is not an index. */
static int take_index(const char **path)
{
    struct bytes rest = bytes_from_text(*path + 1);
    size_t end = bytes_find(rest, ']');
    uint64_t index;

    if (end == SIZE_MAX || !bytes_to_u64(bytes_take(rest, end), &index) || index > CONF_MEMBERS_MAX) {
        return -1;
    }
    *path += end + 2;
    return (int)index;
}

/* The next part of the path: an entry by number, or a member by name. NULL: not written. */
static const struct conf_node *step(const struct conf_node *node, const char **path)
{
    char name[CONF_NAME_BYTES_MAX + 1];
    size_t len;

    if (**path == '[') {
        return conf_node_entry(node, take_index(path));
    }
    *path += **path == '.' ? 1 : 0;
    len = strcspn(*path, ".[");
    if (len >= sizeof(name)) {
        return NULL;
    }
    (void)bytes_to_text(bytes_of(*path, len), name, sizeof(name));
    *path += len;
    return conf_node_member(node, name);
}

bool conf_position(const struct conf *conf, const char *path, int *line, int *column, int *width)
{
    const struct conf_node *node = conf->root;
    struct conf_place place = {.line = 0, .column = 0, .width = 1};
    bool found = true;

    while (found && *path != '\0') {
        const struct conf_node *next = step(node, &path);

        found = next != NULL;
        node = found ? next : node;
    }
    if (node != conf->root) {
        place = node->kind == CONF_NODE_SCALAR ? node->place : node->key_place;
    }
    if (line != NULL) {
        *line = place.line;
    }
    if (column != NULL) {
        *column = place.column;
    }
    if (width != NULL) {
        *width = place.width;
    }
    return found;
}
