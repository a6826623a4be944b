/*
 * The rules of routes: each can match, each has time for what it asks, each
 * body fits, and what fails over goes to a processor that can take it. What it
 * means for keys is in conf_idempotency.c.
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

/* False: something about them was reported. */
static bool check_timeouts(struct conf_run *run, const struct conf_route *route, const struct conf_node *node,
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
        return true; /* what the processor says is judged there */
    }
    conf_append(origin, sizeof(origin), " of processors.%s", processor->name);
    return conf_check_total(run, where, &total, &response, &connect, NULL);
}

/* ---- failover ---- */

/* Its total is still that of the first processor; connecting and the answer take as long as the other one may. */
static void check_failover_timeouts(struct conf_run *run, const struct conf_route *route, const struct conf_node *node,
                                    const char *where)
{
    const struct conf_processor *first = &run->conf->processors[route->processor];
    const struct conf_processor *other = &run->conf->processors[route->failover];
    char first_origin[CONF_WHERE_BYTES] = "", other_origin[CONF_WHERE_BYTES] = "";
    struct conf_timeout total = {"timeouts.total", route->total_ms != 0 ? route->total_ms : first->total_ms,
                                 conf_node_find(node, "timeouts.total"), first_origin};
    struct conf_timeout response = {"timeouts.response",
                                    route->response_ms != 0 ? route->response_ms : other->response_ms,
                                    conf_node_find(node, "timeouts.response"), other_origin};
    struct conf_timeout connect = {"timeouts.connect", other->connect_ms, NULL, other_origin};

    conf_append(first_origin, sizeof(first_origin), " of processors.%s", first->name);
    conf_append(other_origin, sizeof(other_origin), " of processors.%s", other->name);
    (void)conf_check_total(run, where, &total, &response, &connect, conf_node_member(node, "failover"));
}

/* The name says what an API is; of generic it says nothing. */
static bool is_generic(const struct conf_profile *profile)
{
    return profile->built_in && strcmp(profile->name, "generic") == 0;
}

/* What another ledger says of a payment that this one has is "not found", and a merchant who believes it pays again. */
static void warn_of_reads(struct conf_run *run, const struct conf_route *route, const struct conf_node *node,
                          const char *name)
{
    const struct conf_node *match = conf_node_member(node, "match");
    struct conf_help help = {.hint = "reads answered by another processor do not know this one's payments"};

    if ((match != NULL && match->bad) || conf_bad_in(match, "method")) {
        return;
    }
    if (route->method == NULL) {
        help.hint = "reads answered by another processor do not know this one's payments: match a method";
        conf_warning(run->findings, conf_place_in(node, "failover"), help,
                     "route '%s' takes every method, and only those that change something fail over", name);
    } else if (strcmp(route->method, "GET") == 0 || strcmp(route->method, "HEAD") == 0) {
        conf_warning(run->findings, conf_place_in(node, "failover"), help,
                     "route '%s' lets %s fail over to processor '%s'", name, route->method,
                     run->conf->processors[route->failover].name);
    }
}

/* False: it cannot go there at all. */
static bool check_failover(struct conf_run *run, const struct conf_route *route, const struct conf_node *node)
{
    const struct conf *conf = run->conf;
    const struct conf_processor *first = &conf->processors[route->processor];
    const struct conf_processor *other = &conf->processors[route->failover];
    struct conf_place place = conf_place_in(node, "failover");
    const char *name = route->name != NULL ? route->name : "?";
    struct conf_help help = {.hint = "write another one, or leave it out"};

    if (first == other) {
        conf_error(run->findings, place, help, "route '%s' fails over to the processor that it sends to", name);
        return false;
    }
    if (first->profile < 0 || other->profile < 0) {
        return false; /* reported */
    }
    if (first->profile != other->profile) {
        help.hint = "one request cannot be for both APIs";
        conf_error(run->findings, place, help,
                   "route '%s' fails over to processor '%s' of profile '%s', and processor '%s' has profile '%s'", name,
                   other->name, conf->profiles[other->profile].name, first->name, conf->profiles[first->profile].name);
        return false;
    }
    if (is_generic(&conf->profiles[first->profile])) {
        help.hint = "if they take the same requests and credentials, give both a profile of your own";
        conf_warning(run->findings, place, help,
                     "route '%s' fails over to processor '%s', and profile 'generic' does not say that it is the same API",
                     name, other->name);
    }
    warn_of_reads(run, route, node, name);
    return true;
}

/* ---- the whole ---- */

static void check_route(struct conf_run *run, const struct conf_route *route, const struct conf_node *node)
{
    char where[CONF_WHERE_BYTES] = "";
    char body[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "routes.%s", route->name != NULL ? route->name : "?");
    conf_append(body, sizeof(body), "%s.body", where);
    if (!route->stream_request) {
        conf_check_body(run, body, route->body_bytes, conf_node_member(node, "body"));
    }
    if (route->processor < 0) {
        return;
    }
    if (check_timeouts(run, route, node, where) && route->failover >= 0 && check_failover(run, route, node)) {
        check_failover_timeouts(run, route, node, where);
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
