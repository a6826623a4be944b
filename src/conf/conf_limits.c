/*
 * limits.NAME after the walk: what a limit does not say, which limits routes
 * and listeners name, and whether any of them needs the store. The rules are in
 * conf_check_limits.c, the arithmetic of a limit is policy's.
 */
#include "conf_internal.h"

#define SECOND_US UINT64_C(1000000)

/* ---- what is not written ---- */

/* What a rate gives in a second, at least 1. Tokens are below 2^30 and a second below 2^20 microseconds: it fits. */
static uint64_t of_a_second(const struct conf_rate *rate)
{
    uint64_t tokens = rate->tokens > 0 ? rate->tokens * SECOND_US / rate->per_us : 0;

    return tokens > 0 ? tokens : 1;
}

static void finish_tier(struct conf_limit_tier *tier, const struct conf_limit *limit)
{
    bool has_rate = tier->rate.tokens > 0;

    if (tier->burst == 0) {
        tier->burst = has_rate ? of_a_second(&tier->rate) : limit->burst;
    }
    if (!has_rate) {
        tier->rate = limit->rate;
    }
    if (tier->concurrent == 0) {
        tier->concurrent = limit->concurrent;
    }
}

/* A caller that is an address, alone or with others: such are too many to share, and this process sees its own. */
static bool is_local(const struct conf *conf, const struct conf_limit *limit)
{
    for (int i = 0; i < limit->part_count; i++) {
        enum conf_limit_part_kind kind = limit->parts[i].kind;

        if (kind == CONF_PART_CLIENT_IP ||
            (kind == CONF_PART_TENANT && conf->tenants.by == CONF_TENANTS_BY_CLIENT_IP)) {
            return true;
        }
    }
    return false;
}

static void finish_limit(const struct conf *conf, struct conf_limit *limit)
{
    if (limit->burst == 0 && limit->rate.tokens > 0) {
        limit->burst = of_a_second(&limit->rate);
    }
    for (int i = 0; i < limit->tier_count; i++) {
        finish_tier(&limit->tiers[i], limit);
    }
    limit->local = is_local(conf, limit);
}

/* ---- names ---- */

static int limit_find(const struct conf *conf, struct bytes name)
{
    for (int i = 0; i < conf->limit_count; i++) {
        if (bytes_equal(bytes_from_text(conf->limits[i].name), name)) {
            return i;
        }
    }
    return -1;
}

/* "did you mean 'writes' (defined at line 22)?" */
static void hint_limit(const struct conf_node *limits, struct bytes name, char *hint, size_t size)
{
    const struct conf_node *best = NULL;
    struct conf_near near = {.text = name};

    for (const struct conf_node *node = limits != NULL ? limits->first : NULL; node != NULL; node = node->next) {
        best = conf_near_offer(&near, node->key) ? node : best;
    }
    if (best != NULL) {
        conf_append(hint, size, "did you mean '%.*s' (defined at line %d)?", BYTES_ARG(best->key),
                    best->key_place.line);
    }
}

static void report_unknown(struct conf_run *run, const struct conf_node *entry, const char *where)
{
    const struct conf_node *limits = conf_node_member(run->root, "limits");
    char shown[CONF_SHOWN_BYTES];
    char hint[160] = "";

    if (limits != NULL && limits->bad) {
        return; /* who knows what would have been in it */
    }
    hint_limit(limits, entry->text, hint, sizeof(hint));
    conf_error(run->findings, entry->place, (struct conf_help){.hint = hint}, "%s has limit '%s', which is not defined",
               where, conf_shown(entry->text, shown));
}

static bool holds(const int *indices, int count, int index)
{
    for (int i = 0; i < count; i++) {
        if (indices[i] == index) {
            return true;
        }
    }
    return false;
}

/* A list of names becomes a list of indices; what is not one of limits, or twice in it, is reported and left out. */
static void resolve(struct conf_run *run, struct conf_node *list, const char *where, int **indices, int *count)
{
    if (list == NULL || list->bad || list->kind != CONF_NODE_LIST || list->count == 0) {
        return;
    }
    *indices = conf_memory_take(run->memory, (size_t)list->count * sizeof(**indices));
    for (const struct conf_node *entry = list->first; entry != NULL; entry = entry->next) {
        int index = limit_find(run->conf, entry->text);
        char shown[CONF_SHOWN_BYTES];

        if (index < 0) {
            report_unknown(run, entry, where);
            list->bad = true;
        } else if (holds(*indices, *count, index)) {
            conf_error(run->findings, entry->place, CONF_NO_HELP, "%s has limit '%s' twice", where,
                       conf_shown(entry->text, shown));
        } else {
            (*indices)[(*count)++] = index;
        }
    }
}

static void resolve_route(struct conf_run *run, struct conf_route *route, const struct conf_node *node)
{
    char where[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "route '%s'", route->name != NULL ? route->name : "");
    resolve(run, conf_node_member(node, "limits"), where, &route->limits, &route->limit_count);
}

static void resolve_listener(struct conf_run *run, struct conf_listener *listener, const struct conf_node *node)
{
    char where[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "listener '%s'", listener->name != NULL ? listener->name : "");
    resolve(run, conf_node_find(node, "limits.accept"), where, &listener->accept_limits, &listener->accept_limit_count);
}

/* ---- the whole ---- */

/* An embedded store serves one process, which counts by itself. */
static bool needs_store(const struct conf *conf, const struct conf_route *route)
{
    for (int i = 0; i < route->limit_count && conf->store.type == CONF_STORE_REDIS; i++) {
        const struct conf_limit *limit = &conf->limits[route->limits[i]];

        if (!limit->local && limit->rate.tokens > 0 && limit->mode != CONF_LIMIT_OFF) {
            return true;
        }
    }
    return false;
}

void conf_limits_finish(struct conf_run *run)
{
    struct conf *conf = run->conf;
    const struct conf_node *listeners = conf_node_member(run->root, "listeners");
    const struct conf_node *routes = conf_node_member(run->root, "routes");

    for (int i = 0; i < conf->limit_count; i++) {
        finish_limit(conf, &conf->limits[i]);
    }
    for (int i = 0; i < conf->listener_count; i++) {
        resolve_listener(run, &conf->listeners[i], conf_node_entry(listeners, i));
    }
    for (int i = 0; i < conf->route_count; i++) {
        resolve_route(run, &conf->routes[i], conf_node_entry(routes, i));
        conf->store_needed = conf->store_needed || needs_store(conf, &conf->routes[i]);
    }
}
