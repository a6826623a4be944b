/*
 * What a generation does about processors that are sick: breakers that open
 * early or late, checks of either kind, endpoints that take more than others.
 */
#include "sim.h"

/* Small, so that a few requests open it; its times short, so that it is over before the run is. */
static void plan_breaker(struct sim_care *care, unsigned response_ms)
{
    care->window_ms = sim_chance(50) ? 1000 : (unsigned)sim_between(1000, 10000);
    care->min_requests = sim.weather.storm ? 10000
                         : sim_chance(60) ? (unsigned)sim_between(1, 5) : (unsigned)sim_between(1, 30);
    care->open_at_pct = (unsigned)sim_between(1, 100);
    care->slow_ms = (unsigned)sim_between(response_ms / 3 + 10, response_ms);
    care->slow_at_pct = (unsigned)sim_between(1, 100);
    care->open_for_ms = sim_chance(60) ? (unsigned)sim_between(100, 500) : (unsigned)sim_between(100, 3000);
    care->open_max_ms = care->open_for_ms + (unsigned)sim_below(5000);
}

static void plan_checks(struct sim_care *care)
{
    care->check = sim_chance(40) ? CHECK_NONE : sim_chance(30) ? CHECK_TCP : CHECK_HTTP;
    care->every_ms = sim.money ? (unsigned)sim_between(500, 5000) : (unsigned)sim_between(100, 1000);
    care->timeout_ms = (unsigned)sim_between(10, care->every_ms - 1);
    care->down_after = sim_chance(70) ? (unsigned)sim_between(1, 4) : (unsigned)sim_between(1, 30);
    care->up_after = (unsigned)sim_between(1, 3);
}

static void plan_weights(struct sim_care *care, bool fits)
{
    care->weighted = fits && sim_chance(50);
    for (int i = 0; i < SIM_PLACES_MAX; i++) {
        care->weights[i] = sim_chance(70) ? (unsigned)sim_between(1, 5) : (unsigned)sim_between(1, 100);
    }
}

/* A route that fails over needs a total that fits the other processor, too. */
static void level_totals(struct sim_plan *plan)
{
    unsigned connect_ms = 0, response_ms = 0;
    for (int i = 0; i < plan->processor_count; i++) {
        const struct sim_processor_plan *processor = &plan->processors[i];
        connect_ms = processor->connect_ms > connect_ms ? processor->connect_ms : connect_ms;
        response_ms = processor->response_ms > response_ms ? processor->response_ms : response_ms;
    }
    for (int i = 0; i < plan->processor_count; i++) {
        plan->processors[i].total_ms = connect_ms + response_ms + (unsigned)sim_below(400);
    }
}

void sim_care_plan(struct sim_plan *plan)
{
    if (!sim.weather.care || sim.pair) {
        return;
    }
    level_totals(plan);
    for (int i = 0; i < plan->processor_count; i++) {
        struct sim_processor_plan *processor = &plan->processors[i];
        struct sim_care *care = &processor->care;
        care->written = sim_chance(90);
        plan_breaker(care, processor->response_ms);
        plan_checks(care);
        plan_weights(care, !processor->resolved);
    }
}

/* ---- YAML ---- */

static void write_weights(struct sim_bytes *text, const struct sim_care *care, int count)
{
    sim_bytes_text(text, "    weights: [");
    for (int i = 0; i < count; i++) {
        sim_bytes_text(text, "%s%u", i > 0 ? ", " : "", care->weights[i]);
    }
    sim_bytes_text(text, "]\n");
}

void sim_care_write(struct sim_bytes *text, const struct sim_processor_plan *processor)
{
    const struct sim_care *care = &processor->care;
    if (!care->written) {
        return;
    }
    if (care->weighted) {
        write_weights(text, care, processor->place_count);
    }
    sim_bytes_text(text, "    breaker: {window: %ums, min_requests: %u, open_at: \"%u%%\", slow_is: %ums, slow_at: \"%u%%\",\n"
                         "              open_for: %ums, open_max: %ums}\n",
                   care->window_ms, care->min_requests, care->open_at_pct, care->slow_ms, care->slow_at_pct, care->open_for_ms,
                   care->open_max_ms);
    if (care->check != CHECK_NONE) {
        sim_bytes_text(text, "    health: {type: %s, every: %ums, timeout: %ums, down_after: %u, up_after: %u}\n",
                       care->check == CHECK_TCP ? "tcp" : "http, path: /check", care->every_ms, care->timeout_ms,
                       care->down_after, care->up_after);
    }
}
