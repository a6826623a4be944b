/*
 * routes.NAME.idempotency: what a route does that says nothing, which depends
 * on its processor's profile and on who the tenants are, and the rules that
 * keep a payment from being made twice by configuration.
 */
#include <stdio.h>

#include "conf_internal.h"

/* The profile of a route's processor; NULL: one of the two is not defined, which was reported. */
static const struct conf_profile *profile_of(const struct conf *conf, const struct conf_route *route)
{
    int profile = route->processor >= 0 ? conf->processors[route->processor].profile : -1;

    return profile >= 0 ? &conf->profiles[profile] : NULL;
}

/* A route that never sees such a request needs no store. */
static bool carries_keys(const struct conf_route *route, const struct conf_profile *profile)
{
    const char *method = route->method;

    return method == NULL || strcmp(method, "POST") == 0 || strcmp(method, "PATCH") == 0 ||
           (strcmp(method, "PUT") == 0 && profile->keys_put) || (strcmp(method, "DELETE") == 0 && profile->keys_delete);
}

/* Then the processor keeps tenants' keys apart by itself. */
static bool tenant_is_credential(const struct conf *conf)
{
    const struct conf_tenants *tenants = &conf->tenants;

    return tenants->by == CONF_TENANTS_BY_HEADER && tenants->header != NULL &&
           (bytes_equal_nocase(bytes_from_text(tenants->header), BYTES("Authorization")) ||
            bytes_equal_nocase(bytes_from_text(tenants->header), BYTES("X-API-Key")));
}

/* ---- what is not written ---- */

static void finish_route(struct conf *conf, struct conf_route *route, const struct conf_node *node)
{
    struct conf_idempotency *idempotency = &route->idempotency;
    const struct conf_node *written = conf_node_member(node, "idempotency");
    const struct conf_profile *profile = profile_of(conf, route);

    if (profile == NULL) {
        return;
    }
    if (written == NULL) {
        idempotency->on = profile->deduplicates && !route->stream_request;
    }
    idempotency->on = idempotency->on && carries_keys(route, profile);
    if (idempotency->key.at == NULL) {
        idempotency->key = profile->key;
    }
    if (conf_node_member(written, "mode") == NULL) {
        idempotency->mode = profile->deduplicates ? CONF_MODE_STICKY : CONF_MODE_SINGLE_SHOT;
    }
    if (conf_node_member(written, "upstream_key") == NULL) {
        bool passes = idempotency->key.place == CONF_KEY_JSON || tenant_is_credential(conf);

        idempotency->upstream_key = passes ? CONF_UPSTREAM_KEY_PASSTHROUGH : CONF_UPSTREAM_KEY_DERIVED;
    }
    conf->store_needed = conf->store_needed || idempotency->on;
}

void conf_idempotency_finish(struct conf_run *run)
{
    const struct conf_node *routes = conf_node_member(run->root, "routes");

    for (int i = 0; i < run->conf->route_count; i++) {
        finish_route(run->conf, &run->conf->routes[i], conf_node_entry(routes, i));
    }
}

/* ---- the rules ---- */

/* What the rules look at. */
struct rules {
    struct conf_run *run;
    const struct conf_route *route;
    const struct conf_profile *profile;
    const struct conf_node *node;    /* of the route */
    const struct conf_node *section; /* its idempotency; NULL: not written */
    const char *name;
};

static struct conf_help hint(const char *text)
{
    return (struct conf_help){.hint = text};
}

/* Of this key of the section, or of the section, or of the route. */
static struct conf_place place_of(const struct rules *rules, const char *key)
{
    return rules->section != NULL ? conf_place_in(rules->section, key) : conf_place_in(rules->node, "name");
}

static const char *mode_name(enum conf_mode mode)
{
    static const char *const names[] = {"sticky", "single_shot", "failover"};

    return names[mode];
}

/* Of a mode in which the record alone keeps a payment from being made twice. */
static void check_mode_store(const struct rules *rules)
{
    const struct conf_store *store = &rules->run->conf->store;
    struct conf_findings *findings = rules->run->findings;
    enum conf_mode mode = rules->route->idempotency.mode;
    bool fails_over = mode == CONF_MODE_FAILOVER;

    if (conf_bad_in(rules->run->root, "store.type") || conf_bad_in(rules->run->root, "store") ||
        conf_bad_in(rules->run->root, "store.single_machine")) {
        return;
    }
    if (fails_over && store->type == CONF_STORE_REDIS) {
        conf_error(findings, place_of(rules, "mode"),
                   hint(rules->profile->deduplicates ? "that comes later: write sticky, or let the store be embedded"
                                                     : "that comes later: write single_shot, or let the store be embedded"),
                   "route '%s' is failover on a Redis store", rules->name);
    }
    if (store->type == CONF_STORE_EMBEDDED && !store->single_machine) {
        conf_error(findings, place_of(rules, "mode"),
                   hint(fails_over ? "write 'single_machine: true' in store if no second weir serves these tenants"
                                   : "write 'single_machine: true' in store if no second weir serves these tenants, or "
                                     "'type: redis'"),
                   "route '%s' is %s on an embedded store that may not be the only one", rules->name, mode_name(mode));
    }
}

static void check_mode(const struct rules *rules)
{
    const struct conf_idempotency *idempotency = &rules->route->idempotency;
    enum conf_mode mode = idempotency->mode;

    if (conf_bad_in(rules->section, "mode")) {
        return;
    }
    if (mode == CONF_MODE_STICKY && !rules->profile->deduplicates) {
        conf_error(rules->run->findings, place_of(rules, "mode"), hint("a payment could be made twice: write single_shot"),
                   "route '%s' is sticky, and profile '%s' of processor '%s' does not de-duplicate", rules->name,
                   rules->profile->name, rules->run->conf->processors[rules->route->processor].name);
    }
    if (mode == CONF_MODE_STICKY) {
        return;
    }
    check_mode_store(rules);
    if (idempotency->pass_when_down) {
        conf_error(rules->run->findings, place_of(rules, "store_down"),
                   hint("nothing would keep a payment from being made twice: write refuse"),
                   "route '%s' is %s and passes requests while the store is down", rules->name, mode_name(mode));
    }
}

/* A key stays with its processor unless its record says where it went. */
static void check_failover(const struct rules *rules)
{
    const struct conf_node *failover = conf_node_member(rules->node, "failover");
    enum conf_mode mode = rules->route->idempotency.mode;

    if (conf_bad_in(rules->section, "mode") || (failover != NULL && failover->bad)) {
        return;
    }
    if (mode == CONF_MODE_FAILOVER && failover == NULL) {
        conf_error(rules->run->findings, place_of(rules, "mode"), hint("add 'failover: PROCESSOR' to the route"),
                   "route '%s' is of mode failover, and names no processor to fail over to", rules->name);
    }
    if (mode != CONF_MODE_FAILOVER && failover != NULL) {
        conf_error(rules->run->findings, failover->place,
                   hint("write 'mode: failover' in its idempotency, or leave it out"),
                   "route '%s' fails over, and the mode of its idempotency is %s%s", rules->name, mode_name(mode),
                   conf_node_member(rules->section, "mode") == NULL ? ", the default" : "");
    }
}

/* RFC 9110, 9.2.1; http has the same, and is no business of conf. */
static bool is_safe(const char *method)
{
    return method != NULL && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
                              strcmp(method, "OPTIONS") == 0 || strcmp(method, "TRACE") == 0);
}

/* Its caller repeats a key because the processor executes it once: at one processor. Of two, only a record says which. */
static void check_unrecorded_failover(const struct rules *rules)
{
    const struct conf_route *route = rules->route;
    char text[192] = "";

    if (route->failover < 0 || route->failover == route->processor || !rules->profile->deduplicates ||
        is_safe(route->method) || conf_bad_in(rules->node, "stream") || conf_bad_in(rules->node, "match")) {
        return;
    }
    if (!carries_keys(route, rules->profile)) {
        conf_append(text, sizeof(text), "profile '%s' has no keys for %s: leave it out, or match GET or HEAD",
                    rules->profile->name, route->method);
    } else {
        conf_append(text, sizeof(text),
                    "one key could reach both: write 'mode: failover' in its idempotency%s, or match GET or HEAD",
                    route->stream_request ? " and not 'stream: request'" : "");
    }
    conf_error(rules->run->findings, conf_place_in(rules->node, "failover"), hint(text),
               "route '%s' fails over, and no record would say which processor a key went to", rules->name);
}

static void check_upstream_key(const struct rules *rules)
{
    const struct conf_idempotency *idempotency = &rules->route->idempotency;
    struct conf_findings *findings = rules->run->findings;
    bool in_body = idempotency->key.place == CONF_KEY_JSON;
    bool derived = idempotency->upstream_key == CONF_UPSTREAM_KEY_DERIVED;

    if (conf_bad_in(rules->section, "upstream_key") || conf_bad_in(rules->section, "key")) {
        return;
    }
    if (in_body && derived) {
        conf_error(findings, place_of(rules, "upstream_key"), hint("a body goes as it came: leave upstream_key out"),
                   "route '%s' derives a key that stands in the body", rules->name);
        return;
    }
    if (derived || tenant_is_credential(rules->run->conf)) {
        return;
    }
    if (in_body) {
        conf_error(findings, place_of(rules, "key"),
                   hint("two of them may choose the same key: let tenants.by be header:Authorization"),
                   "route '%s' has its key in the body, and its tenants are not the credential that the processor sees",
                   rules->name);
    } else {
        conf_error(findings, place_of(rules, "upstream_key"), hint("two of them may choose the same key: write derived"),
                   "route '%s' passes keys through, and its tenants are not the credential that the processor sees",
                   rules->name);
    }
}

static void print_keep(char *text, size_t size, const struct rules *rules, const char *key, uint64_t ms)
{
    char number[CONF_NUMBER_BYTES];

    conf_append(text, size, "%s (%s%s)", key, conf_number_text(CONF_DURATION, ms, number),
                conf_node_member(rules->section, key) == NULL ? ", the default" : "");
}

/* At the later key where it was written, else at the earlier one. */
static void check_keep(const struct rules *rules, const char *later, uint64_t later_ms, const char *earlier,
                       uint64_t earlier_ms)
{
    const char *at = conf_node_member(rules->section, later) != NULL ? later : earlier;
    char later_text[80] = "", earlier_text[80] = "";

    if (later_ms >= earlier_ms || conf_bad_in(rules->section, later) || conf_bad_in(rules->section, earlier)) {
        return;
    }
    print_keep(later_text, sizeof(later_text), rules, later, later_ms);
    print_keep(earlier_text, sizeof(earlier_text), rules, earlier, earlier_ms);
    conf_error(rules->run->findings, place_of(rules, at), CONF_NO_HELP, "%s is shorter than %s in routes.%s.idempotency",
               later_text, earlier_text, rules->name);
}

/* Else the record could be gone while its request is still under way, and its key free for another one. */
static void check_outlives(const struct rules *rules)
{
    const struct conf_route *route = rules->route;
    uint32_t total_ms = route->total_ms != 0 ? route->total_ms : rules->run->conf->processors[route->processor].total_ms;
    uint64_t keep_ms = route->idempotency.keep_unknown_ms;
    char text[80] = "";

    if (keep_ms > total_ms || conf_bad_in(rules->section, "keep_unknown")) {
        return;
    }
    print_keep(text, sizeof(text), rules, "keep_unknown", keep_ms);
    conf_error(rules->run->findings, place_of(rules, "keep_unknown"),
               hint("the record must outlive its request: more than timeouts.total"),
               "%s is not longer than a request may take in routes.%s.idempotency", text, rules->name);
}

static void check_stream(const struct rules *rules)
{
    if (rules->route->stream_request && !conf_bad_in(rules->node, "stream")) {
        conf_error(rules->run->findings, conf_place_in(rules->node, "stream"),
                   hint("a record needs the whole request: leave one of them out"),
                   "route '%s' streams requests and has idempotency", rules->name);
    }
}

static void check_on(const struct rules *rules)
{
    const struct conf_idempotency *idempotency = &rules->route->idempotency;

    check_mode(rules);
    check_failover(rules);
    check_upstream_key(rules);
    check_keep(rules, "keep_receipt", idempotency->keep_receipt_ms, "keep", idempotency->keep_ms);
    check_keep(rules, "keep_unknown", idempotency->keep_unknown_ms, "keep_receipt", idempotency->keep_receipt_ms);
    check_outlives(rules);
    check_stream(rules);
}

/* ---- what a payment engineer would ask about ---- */

static void warn_off(const struct rules *rules)
{
    const struct conf_route *route = rules->route;
    struct conf_findings *findings = rules->run->findings;
    const char *method = route->method != NULL ? route->method : "POST";

    if (!carries_keys(route, rules->profile)) {
        if (rules->section != NULL && rules->section->kind == CONF_NODE_MAP) {
            conf_warning(findings, rules->section->key_place, CONF_NO_HELP,
                         "routes.%s.idempotency has no effect: %s carries no key", rules->name, method);
        }
        return;
    }
    if (!rules->profile->deduplicates && rules->section == NULL) {
        conf_warning(findings, conf_place_in(rules->node, "name"),
                     hint("a payment that is sent twice may be made twice: add 'idempotency', or write it off"),
                     "route '%s' takes %s without idempotency", rules->name, method);
    } else if (rules->profile->deduplicates && rules->section == NULL) {
        conf_warning(findings, conf_place_in(rules->node, "stream"),
                     hint("what is streamed has no record"), "route '%s' takes %s without idempotency", rules->name, method);
    } else if (rules->profile->deduplicates) {
        conf_warning(findings, rules->section->place, hint("weir then knows nothing of a payment that is sent twice"),
                     "route '%s' has no idempotency, which profile '%s' would give it", rules->name,
                     rules->profile->name);
    }
}

void conf_idempotency_check(struct conf_run *run)
{
    const struct conf_node *routes = conf_node_member(run->root, "routes");
    const struct conf_node *node = routes != NULL ? routes->first : NULL;

    for (int i = 0; i < run->conf->route_count; i++, node = node->next) {
        const struct conf_route *route = &run->conf->routes[i];
        struct rules rules = {.run = run,
                              .route = route,
                              .profile = profile_of(run->conf, route),
                              .node = node,
                              .section = conf_node_member(node, "idempotency"),
                              .name = route->name != NULL ? route->name : "?"};

        if (rules.profile == NULL || conf_bad_in(node, "idempotency") || conf_bad_in(node, "match.method")) {
            continue;
        }
        if (route->idempotency.on) {
            check_on(&rules);
        } else {
            check_unrecorded_failover(&rules);
            warn_off(&rules);
        }
    }
}
