/*
 * The rules of limits: that each says one thing, can be counted without
 * rounding, is asked where what it tells callers apart by is known, and counts
 * for somebody.
 */
#include <stdio.h>

#include "conf_internal.h"

/* Above it Lua's doubles, which hold the same numbers in Redis, would round. As policy/limit.h has it. */
#define EXACT_MAX (UINT64_C(1) << 53)

static struct conf_help hint(const char *text)
{
    return (struct conf_help){.hint = text};
}

/* What the rules look at. */
struct rules {
    struct conf_run *run;
    const struct conf_limit *limit;
    const struct conf_node *node;
    char where[CONF_WHERE_BYTES]; /* "limits.writes" */
};

/* ---- callers ---- */

/* One part may stand alone, without a list. */
static const struct conf_node *part_node(const struct conf_node *by, int index)
{
    return by->kind == CONF_NODE_LIST ? conf_node_entry(by, index) : by;
}

static bool same_part(const struct conf_limit_part *a, const struct conf_limit_part *b)
{
    return a->kind == b->kind &&
           (a->kind != CONF_PART_HEADER || bytes_equal_nocase(bytes_from_text(a->header), bytes_from_text(b->header)));
}

static bool is_repeated(const struct conf_limit *limit, int index)
{
    for (int i = 0; i < index; i++) {
        if (same_part(&limit->parts[i], &limit->parts[index])) {
            return true;
        }
    }
    return false;
}

static void check_by(const struct rules *rules)
{
    const struct conf_limit *limit = rules->limit;
    const struct conf_node *by = conf_node_member(rules->node, "by");
    char shown[CONF_SHOWN_BYTES];

    for (int i = 0; i < limit->part_count && by != NULL && !by->bad; i++) {
        const struct conf_node *entry = part_node(by, i);

        if (is_repeated(limit, i)) {
            conf_error(rules->run->findings, entry->place, CONF_NO_HELP, "%s is by '%s' twice", rules->where,
                       conf_shown(entry->text, shown));
        } else if (limit->parts[i].kind == CONF_PART_MTLS_SUBJECT && !conf_asks_for_certificates(rules->run->conf) &&
                   !conf_bad_in(rules->run->root, "listeners")) {
            conf_error(rules->run->findings, entry->place, hint("set tls.client_certs of a listener"),
                       "%s is by client certificate, and no listener asks for one", rules->where);
        }
    }
}

/* ---- numbers ---- */

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* A token is units of a bucket, which holds its burst of them and, while one is asked for, as many again. */
static uint64_t burst_max(const struct conf_rate *rate)
{
    uint64_t units = rate->per_us / common_divisor(rate->tokens, rate->per_us);

    return (EXACT_MAX / 2 - 1) / units;
}

/*
 * `node` is the limit or one of its tiers. A burst that is not written is exact: 1, or what a second gives, and that
 * is at most 10^15 units.
 */
static void check_exact(const struct rules *rules, const struct conf_node *node, const char *where,
                        const struct conf_rate *rate, uint64_t burst)
{
    const struct conf_node *written = conf_node_member(node, "burst");
    char number[CONF_NUMBER_BYTES], text[64] = "";

    if (written == NULL || written->bad || conf_bad_in(node, "rate") || rate->tokens == 0 || burst <= burst_max(rate)) {
        return;
    }
    conf_append(text, sizeof(text), "at most %s at this rate", conf_number_text(CONF_COUNT, burst_max(rate), number));
    conf_error(rules->run->findings, written->place, hint(text), "%s.burst is more than can be counted exactly", where);
}

static void check_numbers(const struct rules *rules)
{
    const struct conf_limit *limit = rules->limit;
    const struct conf_node *rate = conf_node_member(rules->node, "rate");
    const struct conf_node *burst = conf_node_member(rules->node, "burst");
    const struct conf_node *concurrent = conf_node_member(rules->node, "concurrent");
    struct conf_findings *findings = rules->run->findings;

    if (rate == NULL && concurrent == NULL) {
        conf_error(findings, rules->node->key_place, hint("add 'rate: 100/s', or 'concurrent: 50'"),
                   "%s has neither a rate nor concurrent", rules->where);
    } else if (rate != NULL && concurrent != NULL) {
        conf_error(findings, concurrent->key_place, hint("make it two limits: a route may have both"),
                   "%s has a rate and concurrent", rules->where);
    } else if (rate == NULL && burst != NULL) {
        conf_error(findings, burst->key_place, hint("only a rate has one"), "%s has a burst and no rate", rules->where);
    } else if (rate != NULL) {
        check_exact(rules, rules->node, rules->where, &limit->rate, limit->burst);
    }
    if (rate == NULL && concurrent != NULL && limit->charge_on == CONF_CHARGE_ON_DECLINE &&
        !conf_bad_in(rules->node, "charge_on")) {
        conf_error(findings, conf_place_in(rules->node, "charge_on"), hint("write a rate, such as 30/60s"),
                   "%s counts declines and has no rate", rules->where);
    }
}

/* ---- tiers ---- */

static void check_tier(const struct rules *rules, const struct conf_limit_tier *tier, const struct conf_node *node)
{
    static const char *const of_rates[] = {"rate", "burst"};
    static const char *const of_others[] = {"concurrent"};
    bool has_rate = conf_node_member(rules->node, "rate") != NULL;
    const char *const *others = has_rate ? of_others : of_rates;
    size_t count = has_rate ? ARRAY_COUNT(of_others) : ARRAY_COUNT(of_rates);
    char where[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "%s.tiers.%s", rules->where, tier->name);
    for (size_t i = 0; i < count; i++) {
        const struct conf_node *other = conf_node_member(node, others[i]);

        if (other != NULL) {
            conf_error(rules->run->findings, other->key_place,
                       hint(has_rate ? "write rate or burst" : "write concurrent"), "%s.%s: %s limits %s", where,
                       others[i], rules->where, has_rate ? "a rate" : "requests at once");
            return;
        }
    }
    if (conf_node_empty(node) || (node->kind == CONF_NODE_MAP && node->count == 0)) {
        conf_warning(rules->run->findings, node->key_place, CONF_NO_HELP, "%s says nothing", where);
    } else if (has_rate) {
        check_exact(rules, node, where, &tier->rate, tier->burst);
    }
}

static void check_tiers(const struct rules *rules)
{
    const struct conf_node *tiers = conf_node_member(rules->node, "tiers");
    bool one_kind =
        (conf_node_member(rules->node, "rate") != NULL) != (conf_node_member(rules->node, "concurrent") != NULL);

    if (tiers == NULL || tiers->bad) {
        return;
    }
    if (tiers->count > 0 && rules->run->conf->tenants.known_file == NULL &&
        !conf_bad_in(rules->run->root, "tenants.known_file")) {
        conf_error(rules->run->findings, tiers->key_place, hint("add tenants.known_file"),
                   "%s has tiers, and nothing says who is of them", rules->where);
    }
    for (int i = 0; i < rules->limit->tier_count && one_kind; i++) {
        check_tier(rules, &rules->limit->tiers[i], conf_node_entry(tiers, i));
    }
}

/* ---- what has no effect ---- */

static void warn_store_down(const struct rules *rules)
{
    const struct conf_node *node = conf_node_member(rules->node, "store_down");
    bool counts_here = rules->limit->local || rules->limit->concurrent > 0;

    if (node != NULL && !node->bad && counts_here && !conf_bad_in(rules->node, "by")) {
        conf_warning(rules->run->findings, node->place,
                     hint(rules->limit->local ? "a limit by address is counted in this process"
                                              : "requests at once are counted in this process"),
                     "%s.store_down has no effect", rules->where);
    }
}

static bool is_in(const int *indices, int count, int index)
{
    for (int i = 0; i < count; i++) {
        if (indices[i] == index) {
            return true;
        }
    }
    return false;
}

static bool is_used(const struct conf *conf, int index)
{
    for (int i = 0; i < conf->route_count; i++) {
        if (is_in(conf->routes[i].limits, conf->routes[i].limit_count, index)) {
            return true;
        }
    }
    for (int i = 0; i < conf->listener_count; i++) {
        if (is_in(conf->listeners[i].accept_limits, conf->listeners[i].accept_limit_count, index)) {
            return true;
        }
    }
    return false;
}

/* A list with something wrong in it may have meant this one. */
static bool lists_are_bad(const struct conf_run *run)
{
    const struct conf_node *lists[] = {conf_node_member(run->root, "routes"), conf_node_member(run->root, "listeners")};
    static const char *const paths[] = {"limits", "limits.accept"};

    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        for (const struct conf_node *entry = lists[i] != NULL ? lists[i]->first : NULL; entry != NULL;
             entry = entry->next) {
            if (conf_bad_in(entry, paths[i])) {
                return true;
            }
        }
    }
    return false;
}

static void warn_unused(const struct rules *rules)
{
    const struct conf *conf = rules->run->conf;

    if (!is_used(conf, (int)(rules->limit - conf->limits)) && !lists_are_bad(rules->run)) {
        conf_warning(rules->run->findings, rules->node->key_place, hint("name it in 'limits' of a route"),
                     "%s limits nothing", rules->where);
    }
}

/* ---- accept ---- */

/* Why a limit cannot be asked of a connection that has shown its address and no more; NULL: it can. */
static const char *unfit_for_accept(const struct conf_limit *limit)
{
    if (limit->part_count != 1 || limit->parts[0].kind != CONF_PART_CLIENT_IP) {
        return "is not by client_ip alone";
    }
    if (limit->rate.tokens == 0) {
        return "has no rate";
    }
    if (limit->charge_on == CONF_CHARGE_ON_DECLINE) {
        return "counts declines";
    }
    return limit->tier_count > 0 ? "has tiers" : NULL;
}

static bool limit_is_bad(const struct conf_node *node)
{
    return conf_bad_in(node, "by") || conf_bad_in(node, "rate") || conf_bad_in(node, "charge_on") ||
           conf_bad_in(node, "tiers");
}

static void check_accept(struct conf_run *run, const struct conf_listener *listener, const struct conf_node *node)
{
    const struct conf_node *names = conf_node_find(node, "limits.accept");
    const struct conf_node *limits = conf_node_member(run->root, "limits");

    for (int i = 0; i < listener->accept_limit_count; i++) {
        int index = listener->accept_limits[i];
        const char *why = unfit_for_accept(&run->conf->limits[index]);
        const struct conf_node *entry = names->first;

        while (!bytes_equal(entry->text, bytes_from_text(run->conf->limits[index].name))) {
            entry = entry->next;
        }
        if (why != NULL && !limit_is_bad(conf_node_entry(limits, index))) {
            conf_error(run->findings, entry->place, hint("a new connection has shown its address, and no more"),
                       "listener '%s' charges new connections to limit '%s', which %s",
                       listener->name != NULL ? listener->name : "", run->conf->limits[index].name, why);
        }
    }
}

/* ---- the whole ---- */

void conf_check_limits(struct conf_run *run)
{
    const struct conf_node *limits = conf_node_member(run->root, "limits");
    const struct conf_node *listeners = conf_node_member(run->root, "listeners");

    for (int i = 0; i < run->conf->limit_count; i++) {
        struct rules rules = {.run = run, .limit = &run->conf->limits[i], .node = conf_node_entry(limits, i)};

        if (rules.node->bad) {
            continue;
        }
        conf_append(rules.where, sizeof(rules.where), "limits.%s", rules.limit->name);
        check_by(&rules);
        check_numbers(&rules);
        check_tiers(&rules);
        warn_store_down(&rules);
        warn_unused(&rules);
    }
    for (int i = 0; i < run->conf->listener_count; i++) {
        check_accept(run, &run->conf->listeners[i], conf_node_entry(listeners, i));
    }
}
