/*
 * The limits of generations: what a limit counts, by what it tells its callers
 * apart and what they get is the run's, since that is what the oracle reckons
 * with; how it is meant (enforced, in the shadow, off), what becomes of it while
 * the store is away and which routes have it may change with each generation.
 * Says who a request's caller is, in words of its own.
 */
#include "sim.h"

#include <stdio.h>

/* ---- numbers ---- */

/* From one in ten seconds to more than anybody asks for. */
static struct sim_grade some_grade(bool declines)
{
    static const struct {
        unsigned tokens, per_ms;
    } rates[] = {{1, 10000}, {1, 3000}, {1, 1000}, {7, 3000}, {5, 1000}, {20, 1000}, {300, 1000}};
    size_t which = sim_below(declines ? 3 : ARRAY_COUNT(rates));
    return (struct sim_grade){
        .tokens = rates[which].tokens,
        .per_ms = rates[which].per_ms,
        .burst = declines || sim_chance(60) ? (unsigned)sim_between(1, 5) : (unsigned)sim_between(6, 50),
    };
}

static bool has_tenant(enum sim_by by)
{
    return by == BY_TENANT || by == BY_TENANT_ROUTE || by == BY_MERCHANT_TENANT;
}

static bool has_address(enum sim_by by)
{
    return by == BY_ADDRESS || by == BY_ADDRESS_ROUTE;
}

/* What stays the same in a run. */
static void plan_nature(struct sim_limit_plan *limit)
{
    static const enum sim_by ways[] = {BY_TENANT,  BY_TENANT,  BY_TENANT,  BY_MERCHANT,     BY_MERCHANT,      BY_ADDRESS,
                                       BY_ADDRESS, BY_ROUTE, BY_TENANT_ROUTE, BY_ADDRESS_ROUTE, BY_MERCHANT_TENANT};
    bool crowd = sim_chance(25);
    limit->by = ways[sim_below(ARRAY_COUNT(ways))];
    limit->declines = !crowd && sim_chance(20);
    limit->tiered = sim.money && has_tenant(limit->by) && sim_chance(30);
    for (int i = 0; i < 2; i++) {
        limit->grades[i] = crowd ? (struct sim_grade){.concurrent = (unsigned)sim_between(1, 4)} : some_grade(limit->declines);
    }
}

static void plan_manner(struct sim_limit_plan *limit)
{
    limit->mode = sim_chance(75) ? CONF_LIMIT_ENFORCE : sim_chance(65) ? CONF_LIMIT_SHADOW : CONF_LIMIT_OFF;
    limit->store_down = sim_chance(60) ? CONF_LIMIT_LOCAL : sim_chance(50) ? CONF_LIMIT_OPEN : CONF_LIMIT_CLOSED;
}

/* Another rate, with the burst that it has: what is owed is converted, and never forgiven. */
static void vary_rate(struct sim_limit_plan *limit)
{
    for (int i = 0; i < 2; i++) {
        limit->grades[i].tokens *= (unsigned)sim_between(1, 3);
    }
}

static void plan_limits(struct sim_plan *plan)
{
    const struct sim_plan *first = &sim.plans[1];
    plan->limit_count = !sim.weather.limits ? 0 : plan == first ? (int)sim_between(1, SIM_LIMITS_MAX) : first->limit_count;
    for (int i = 0; i < plan->limit_count; i++) {
        struct sim_limit_plan *limit = &plan->limits[i];
        if (plan == first) {
            plan_nature(limit);
        } else {
            *limit = first->limits[i];
        }
        if (plan != first && sim.weather.rates_vary) {
            vary_rate(limit);
        }
        plan_manner(limit);
    }
}

static bool fits_accept(const struct sim_limit_plan *limit)
{
    return limit->by == BY_ADDRESS && limit->grades[0].tokens > 0 && !limit->declines && !limit->tiered;
}

static void plan_accept(struct sim_plan *plan)
{
    plan->accept_limit = -1;
    for (int i = 0; i < plan->limit_count; i++) {
        if (fits_accept(&plan->limits[i]) && !plan->listeners[0].proxy && sim_chance(30)) {
            plan->accept_limit = i;
        }
    }
}

void sim_quota_plan(struct sim_plan *plan)
{
    if (sim.pair) {
        plan->accept_limit = -1;
        shadow_plan(plan);
        return;
    }
    plan_limits(plan);
    plan_accept(plan);
    for (int i = 0; i < plan->route_count; i++) {
        struct sim_route_plan *route = &plan->routes[i];
        bool says = sim.weather.overload > 0 && sim_chance(30);
        route->class = says ? (enum shed_class)sim_below(SHED_CLASS_COUNT) : SHED_CLASS_COUNT;
        for (int limit = 0; limit < plan->limit_count; limit++) {
            route->limits |= sim_chance(60) ? 1u << limit : 0;
        }
    }
    plan->limit_timeout_ms = sim_chance(50) ? 20 : (unsigned)sim_between(5, 100);
}

/* ---- YAML ---- */

void sim_quota_write_names(struct sim_bytes *text, unsigned limits)
{
    const char *comma = "";
    sim_bytes_text(text, "[");
    for (int i = 0; i < SIM_LIMITS_MAX; i++) {
        if ((limits >> i & 1u) != 0) {
            sim_bytes_text(text, "%sl%d", comma, i);
            comma = ", ";
        }
    }
    sim_bytes_text(text, "]");
}

static void write_grade(struct sim_bytes *text, const struct sim_grade *grade)
{
    if (grade->tokens > 0) {
        sim_bytes_text(text, "rate: %u/%ums, burst: %u", grade->tokens, grade->per_ms, grade->burst);
    } else {
        sim_bytes_text(text, "concurrent: %u", grade->concurrent);
    }
}

static void write_limit(struct sim_bytes *text, int index, const struct sim_limit_plan *limit)
{
    static const char *const ways[SIM_BY_COUNT] = {
        [BY_TENANT] = "tenant",
        [BY_MERCHANT] = "header:X-Merchant",
        [BY_ADDRESS] = "client_ip",
        [BY_ROUTE] = "route",
        [BY_TENANT_ROUTE] = "[tenant, route]",
        [BY_ADDRESS_ROUTE] = "[client_ip, route]",
        [BY_MERCHANT_TENANT] = "[\"header:X-Merchant\", tenant]",
    };
    static const char *const modes[] = {"enforce", "shadow", "off"};
    static const char *const downs[] = {"local", "open", "closed"};
    sim_bytes_text(text, "  l%d: {by: %s, ", index, ways[limit->by]);
    write_grade(text, &limit->grades[0]);
    sim_bytes_text(text, ", mode: \"%s\", store_down: %s%s", modes[limit->mode], downs[limit->store_down],
                   limit->declines ? ", charge_on: decline" : "");
    if (limit->tiered) {
        sim_bytes_text(text, ", tiers: {gold: {");
        write_grade(text, &limit->grades[1]);
        sim_bytes_text(text, "}}");
    }
    sim_bytes_text(text, "}\n");
}

void sim_quota_write(struct sim_bytes *text, const struct sim_plan *plan)
{
    if (plan->limit_count > 0) {
        sim_bytes_text(text, "limits:\n");
    }
    for (int i = 0; i < plan->limit_count; i++) {
        write_limit(text, i, &plan->limits[i]);
    }
}

/* ---- who is who ---- */

/* A route's name has the number of its generation in it (sim_conf.c), and so has who is told apart by that name. */
uint64_t sim_quota_who(const struct sim_case *about, int limit, unsigned generation)
{
    enum sim_by by = sim.plans[1].limits[limit].by;
    bool of_tenant = has_tenant(by), of_address = has_address(by);
    bool of_merchant = by == BY_MERCHANT || by == BY_MERCHANT_TENANT;
    bool of_route = by == BY_ROUTE || by == BY_TENANT_ROUTE || by == BY_ADDRESS_ROUTE;
    if ((of_tenant && about->tenant == 0) || (of_merchant && about->merchant == 0)) {
        return 0;
    }
    return (uint64_t)(limit + 1) << 56 | (uint64_t)(of_tenant ? about->tenant : 0) << 40 |
           (uint64_t)(of_merchant ? about->merchant : 0) << 32 | (uint64_t)(of_address ? about->host : 0) << 24 |
           (of_route ? (uint64_t)(about->route + 1) << 16 | generation : 0);
}

const struct sim_grade *sim_quota_grade(const struct sim_case *about, int limit)
{
    const struct sim_limit_plan *plan = &sim.plans[1].limits[limit];
    bool known = about->tenant >= 1 && about->tenant <= SIM_KNOWN_TENANTS;
    return &plan->grades[plan->tiered && known ? 1 : 0];
}

bool sim_quota_is_local(int limit)
{
    return has_address(sim.plans[1].limits[limit].by);
}

int sim_quota_find(struct bytes name)
{
    bool fits = name.len == 2 && name.at[0] == 'l' && name.at[1] >= '0' && name.at[1] < '0' + sim.plans[1].limit_count;
    return fits ? name.at[1] - '0' : -1;
}

enum shed_class sim_quota_class(const struct sim_case *about, unsigned generation)
{
    const struct sim_route_plan *route = &sim.plans[generation].routes[about->route];
    bool carries_keys = strcmp(about->method, "POST") == 0 || strcmp(about->method, "PATCH") == 0;
    enum shed_class class = route->class != SHED_CLASS_COUNT      ? route->class
                            : about->safe                         ? SHED_READ
                            : route->keyed && carries_keys ? SHED_PAYMENT
                                                                  : SHED_WRITE;
    return class < SHED_TEST && about->tenant == SIM_TEST_TENANT + 1 ? SHED_TEST : class;
}
