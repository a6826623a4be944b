/*
 * The rules of routes: each can match, each has time for what it asks, each
 * body fits.
 */
#include <stdio.h>

#include "conf_internal.h"

/* Every request that `later` would match, `earlier` takes. */
static bool covers_text(const char *earlier, const char *later)
{
    return earlier == NULL || (later != NULL && strcmp(earlier, later) == 0);
}

static bool covers_path(const struct conf_route *earlier, const struct conf_route *later)
{
    if (earlier->path == NULL) {
        return true;
    }
    if (later->path == NULL) {
        return false; /* OPTIONS * has no path that begins with '/' */
    }
    if (earlier->path_is_prefix) {
        return bytes_starts_with(bytes_from_text(later->path), bytes_from_text(earlier->path));
    }
    return !later->path_is_prefix && strcmp(earlier->path, later->path) == 0;
}

static bool covers(const struct conf_route *earlier, const struct conf_route *later)
{
    return covers_text(earlier->host, later->host) && covers_text(earlier->method, later->method) &&
           covers_path(earlier, later);
}

/* A match that was refused may mean anything: nothing is concluded from it. */
static bool match_is_bad(const struct conf_node *node)
{
    const struct conf_node *match = conf_node_member(node, "match");

    return node->bad || (match != NULL && match->bad) || conf_bad_in(match, "host") || conf_bad_in(match, "method") ||
           conf_bad_in(match, "path");
}

static void check_hidden(struct conf_run *run, const struct conf_node *routes, const struct conf_route *route,
                         const struct conf_node *node)
{
    const struct conf_route *earlier = run->conf->routes;
    const struct conf_node *earlier_node = routes->first;

    for (; earlier != route && !match_is_bad(node); earlier++, earlier_node = earlier_node->next) {
        char text[128] = "";

        if (match_is_bad(earlier_node) || !covers(earlier, route)) {
            continue;
        }
        conf_append(text, sizeof(text), "'%s' is at line %d", earlier->name != NULL ? earlier->name : "?",
                    conf_place_in(earlier_node, "name").line);
        conf_error(run->findings, conf_place_in(node, "name"), (struct conf_help){.hint = text},
                   "route '%s' can never match: route '%s' takes all its requests",
                   route->name != NULL ? route->name : "?", earlier->name != NULL ? earlier->name : "?");
        return;
    }
}

static void check_timeouts(struct conf_run *run, const struct conf_route *route, const struct conf_node *node,
                           const char *where)
{
    const struct conf_processor *processor = &run->conf->processors[route->processor];
    const struct conf_node *total_node = conf_node_find(node, "timeouts.total");
    const struct conf_node *response_node = conf_node_find(node, "timeouts.response");
    char origin[CONF_WHERE_BYTES] = "";
    struct conf_timeout total = {"timeouts.total", route->total_ms != 0 ? route->total_ms : processor->total_ms,
                                 total_node, origin};
    struct conf_timeout response = {"timeouts.response",
                                    route->response_ms != 0 ? route->response_ms : processor->response_ms,
                                    response_node, origin};
    struct conf_timeout connect = {"timeouts.connect", processor->connect_ms, NULL, origin};

    if (total_node == NULL && response_node == NULL) {
        return; /* what the processor says is judged there */
    }
    conf_append(origin, sizeof(origin), " of processors.%s", processor->name);
    conf_check_total(run, where, &total, &response, &connect);
}

static void check_route(struct conf_run *run, const struct conf_route *route, const struct conf_node *node)
{
    char where[CONF_WHERE_BYTES] = "";
    char body[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "routes.%s", route->name != NULL ? route->name : "?");
    conf_append(body, sizeof(body), "%s.body", where);
    if (!route->stream_request) {
        conf_check_body(run, body, route->body_bytes, conf_node_member(node, "body"));
    }
    if (route->processor >= 0) {
        check_timeouts(run, route, node, where);
    }
}

void conf_check_routes(struct conf_run *run)
{
    const struct conf_node *routes = conf_node_member(run->root, "routes");
    const struct conf_node *node = routes != NULL ? routes->first : NULL;

    conf_check_names(run, routes, "routes");
    for (int i = 0; i < run->conf->route_count; i++, node = node->next) {
        check_hidden(run, routes, &run->conf->routes[i], node);
        check_route(run, &run->conf->routes[i], node);
    }
}
