/*
 * The rules of what is done about processors that are sick: a check asks what
 * can be answered, and ends before the next one; a breaker's numbers can be
 * reached; weights belong to endpoints.
 */
#include <stdio.h>

#include "conf_internal.h"

static struct conf_help hint(const char *text)
{
    return (struct conf_help){.hint = text};
}

/* What the rules look at. */
struct rules {
    struct conf_run *run;
    const struct conf_processor *processor;
    const struct conf_node *node; /* of the processor */
    const char *where;            /* "processors.acme" */
};

/* One time of the processor, as it is shown. */
static struct conf_timeout time_of(const struct rules *rules, const char *label, uint32_t ms)
{
    return (struct conf_timeout){label, ms, conf_node_find(rules->node, label), ", the default"};
}

/* At the first of the two that is written. */
static void report_times(const struct rules *rules, const struct conf_timeout *first, const char *what,
                         const struct conf_timeout *second, const char *why)
{
    const struct conf_node *node = first->node != NULL ? first->node : second->node;
    char first_text[80] = "", second_text[CONF_WHERE_BYTES] = "";

    if (node == NULL || (first->node != NULL && first->node->bad) || (second->node != NULL && second->node->bad)) {
        return;
    }
    conf_append_timeout(first_text, sizeof(first_text), first);
    conf_append_timeout(second_text, sizeof(second_text), second);
    conf_error(rules->run->findings, node->place, hint(why), "%s is %s %s in %s", first_text, what, second_text,
               rules->where);
}

/* ---- health ---- */

static void refuse_http_keys(const struct rules *rules, const struct conf_node *section, const char *type)
{
    static const char *const keys[] = {"path", "status"};

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        const struct conf_node *written = conf_node_member(section, keys[i]);

        if (written != NULL) {
            conf_error(rules->run->findings, written->key_place, hint("leave it out, or write 'type: http'"),
                       "%s.health.%s is of http checks, and these are %s", rules->where, keys[i], type);
        }
    }
}

static void check_type(const struct rules *rules, const struct conf_node *section)
{
    const struct conf_processor *processor = rules->processor;

    if (conf_bad_in(section, "type")) {
        return;
    }
    if (processor->health.type == CONF_HEALTH_TLS && processor->host != NULL && !processor->tls) {
        conf_error(rules->run->findings, conf_place_in(section, "type"), hint("write tcp or http, or an https url"),
                   "%s.health asks for a TLS handshake, and the url is http", rules->where);
    }
    if (processor->health.type != CONF_HEALTH_HTTP) {
        refuse_http_keys(rules, section, processor->health.type == CONF_HEALTH_TCP ? "tcp" : "tls");
    } else if (conf_node_member(section, "path") == NULL && conf_node_member(section, "status") == NULL) {
        /* An API that answers 401 or 404 there would be down for ever. */
        conf_warning(rules->run->findings, section->key_place, hint("few APIs answer that with 200-399: write its path for checks"),
                     "%s.health asks for '/', the default", rules->where);
    }
}

static void check_health(const struct rules *rules)
{
    const struct conf_node *section = conf_node_member(rules->node, "health");
    const struct conf_health_checks *health = &rules->processor->health;
    struct conf_timeout every = time_of(rules, "health.every", health->every_ms);
    struct conf_timeout timeout = time_of(rules, "health.timeout", health->timeout_ms);

    if (section == NULL || section->bad) {
        return;
    }
    check_type(rules, section);
    if (timeout.ms >= every.ms) {
        report_times(rules, &timeout, "not shorter than", &every, "a check ends before the next one begins");
    }
}

/* ---- the breaker ---- */

static bool uses(const struct conf *conf, const struct conf_route *route, const struct conf_processor *processor)
{
    return (route->processor >= 0 && &conf->processors[route->processor] == processor) ||
           (route->failover >= 0 && &conf->processors[route->failover] == processor);
}

/* The longest response timeout of any call there. False: one of them is not known. */
static bool find_longest(const struct rules *rules, struct conf_timeout *longest, char label[CONF_WHERE_BYTES])
{
    const struct conf *conf = rules->run->conf;
    const struct conf_node *routes = conf_node_member(rules->run->root, "routes");
    const struct conf_node *node = routes != NULL ? routes->first : NULL;

    *longest = time_of(rules, "timeouts.response", rules->processor->response_ms);
    if (longest->node != NULL && longest->node->bad) {
        return false;
    }
    for (int i = 0; i < conf->route_count; i++, node = node->next) {
        const struct conf_route *route = &conf->routes[i];

        if (conf_bad_in(node, "to") || conf_bad_in(node, "failover") || conf_bad_in(node, "timeouts.response")) {
            return false;
        }
        if (uses(conf, route, rules->processor) && route->response_ms > longest->ms) {
            label[0] = '\0';
            conf_append(label, CONF_WHERE_BYTES, "routes.%s.timeouts.response", route->name != NULL ? route->name : "?");
            *longest = (struct conf_timeout){label, route->response_ms, conf_node_find(node, "timeouts.response"), ""};
        }
    }
    return true;
}

static void check_breaker(const struct rules *rules)
{
    const struct conf_breaker *breaker = &rules->processor->breaker;
    struct conf_timeout open_for = time_of(rules, "breaker.open_for", breaker->open_for_ms);
    struct conf_timeout open_max = time_of(rules, "breaker.open_max", breaker->open_max_ms);
    struct conf_timeout slow = time_of(rules, "breaker.slow_is", breaker->slow_ms);
    struct conf_timeout longest;
    char label[CONF_WHERE_BYTES];

    if (open_max.ms < open_for.ms) {
        report_times(rules, &open_max, "shorter than", &open_for, NULL);
    }
    if (slow.node != NULL && find_longest(rules, &longest, label) && slow.ms > longest.ms) {
        report_times(rules, &slow, "longer than", &longest, "no call is ever that slow: it times out before");
    }
}

/* ---- weights ---- */

static void check_weights(const struct rules *rules)
{
    const struct conf_node *weights = conf_node_member(rules->node, "weights");
    const struct conf_node *endpoints = conf_node_member(rules->node, "endpoints");

    if (weights == NULL || weights->bad || (endpoints != NULL && endpoints->bad)) {
        return;
    }
    if (endpoints == NULL) {
        conf_error(rules->run->findings, weights->key_place, hint("add 'endpoints', or leave it out"),
                   "%s has weights and no endpoints", rules->where);
    } else if (weights->count != endpoints->count) {
        conf_error(rules->run->findings, weights->key_place, hint("one for each, in their order"),
                   "%s has %d endpoint%s and %d weight%s", rules->where, endpoints->count,
                   endpoints->count == 1 ? "" : "s", weights->count, weights->count == 1 ? "" : "s");
    }
}

void conf_check_health(struct conf_run *run, const struct conf_processor *processor, const struct conf_node *node,
                       const char *where)
{
    const struct rules rules = {.run = run, .processor = processor, .node = node, .where = where};

    check_weights(&rules);
    check_health(&rules);
    check_breaker(&rules);
}
