/*
 * What class a request is of, the turns of the controller (policy/shed.h), its
 * counts and its events. The words of a refusal are reply.c's. The timer rests
 * while nobody asks for anything and nothing is shed: an idle process does not
 * wake for it.
 */
#include "exchange.h"

#define HOLD_FULL_PERMILLE 500u

/* In microseconds; the controller's target is 5 ms. */
static const uint64_t delay_bounds_us[] = {1000,  2000,  5000,   10000,  25000,   50000,
                                           100000, 250000, 500000, 1000000, 2500000, 0};

static const struct stats_family family_level = {
    .name = "weir_shed_level",
    .help = "How much is turned away so that payments are not: 0 nothing, 100 all of test and background, 200 lists too, "
            "300 reads too, 400 all but payments.",
    .kind = STATS_GAUGE,
};
static const struct stats_family family_shed = {
    .name = "weir_shed_total",
    .help = "Requests turned away by their class: by level, or because the class had its share of a processor's concurrency.",
    .kind = STATS_COUNTER,
    .labels = {"class"},
};
/* A histogram: a gauge would show one interval of the many between two scrapes. */
static const struct stats_family family_delay = {
    .name = "weir_loop_delay_seconds",
    .help = "Standing delay of the loop in intervals of 100 ms with requests: what nine tenths of each were not better than. "
            "weir_shed_level follows it; weir_loop_lag_seconds also sees single long turns.",
    .kind = STATS_HISTOGRAM,
    .seconds = true,
    .bounds = delay_bounds_us,
};

/* ---- classes ---- */

static struct bytes field_value(const struct http_head *head, struct bytes name)
{
    const struct http_field *field = http_head_find_name(head, name);
    return field != NULL ? field->value : BYTES_NONE;
}

/* By what it says of itself, which can only lower its class. */
static bool is_test(const struct exchange *x)
{
    const struct profile *profile = x->route->profile;
    if (profile->test_keys[0].len == 0) {
        return false;
    }
    struct bytes credential = field_value(x->head, BYTES("authorization"));
    if (credential.len == 0) {
        credential = field_value(x->head, BYTES("x-api-key"));
    }
    return credential.len > 0 && profile_is_test(profile, credential);
}

static enum shed_class class_by_request(const struct exchange *x)
{
    bool may_have_record = x->route->conf->idempotency.on && profile_keys_method(x->route->profile, x->head->method);
    return shed_class_of(x->safe_method, may_have_record);
}

enum shed_class shedding_class(const struct exchange *x)
{
    if (x->asks_outcome) {
        return SHED_PAYMENT;
    }
    const struct conf_route *conf = x->route->conf;
    enum shed_class class = conf->class_written ? class_by_word(conf->class) : class_by_request(x);
    return class < SHED_TEST && is_test(x) ? SHED_TEST : class;
}

/* ---- the controller's turns ---- */

static uint32_t permille(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (uint32_t)(part * 1000 / whole);
}

static uint32_t clients_permille(const struct gate *gate)
{
    return permille(gate->clients_count, gate->options.clients_max);
}

static uint32_t full_permille(const struct gate *gate)
{
    const struct blocks *blocks = loop_blocks(gate->options.loop);
    return permille(blocks->used_bytes, blocks->limit_bytes);
}

static void tell(const struct gate *gate, const struct shed_signals *signals, const struct loop_load *load)
{
    bool begins = gate->shedding.shed.level > 0;
    log_event(gate->options.log, begins ? LOG_WARN : LOG_INFO, begins ? "shedding" : "shedding_over",
              begins ? "there is more to do than time or room: requests are turned away, payments last"
                     : "nothing is turned away any more",
              LOG_N("level", gate->shedding.shed.level), LOG_N("delay_us", signals->delay_us),
              LOG_N("busy_permille", signals->busy_permille), LOG_N("full_permille", signals->full_permille),
              LOG_N("clients_permille", signals->clients_permille), LOG_N("turn_us_max", load->work_us_max),
              LOG_N("late_us_max", load->late_us_max));
}

static void on_turn(struct timer *timer)
{
    struct gate *gate = container_of(timer, struct gate, shedding.timer);
    struct shedding *shedding = &gate->shedding;
    struct loop *loop = gate->options.loop;
    struct loop_load load;
    loop_load_take(loop, &load);
    const struct shed_signals signals = {load.delay_us, load.busy_permille, full_permille(gate), clients_permille(gate)};
    if (shed_turn(&shedding->shed, &signals, loop_now_us(loop))) {
        tell(gate, &signals, &load);
    }
    stats_set(gate->options.stats, shedding->stat_level, shedding->shed.level);
    stats_observe(gate->options.stats, shedding->stat_delay, load.delay_us);
    if (shedding->shed.level > 0) {
        timer_set_after(timer, SHED_TURN_US);
    }
}

/* Somebody wants something: an interval begins, if none runs. What the loop did before it was nobody's delay. */
static void wake(struct gate *gate)
{
    struct loop_load before;
    if (!timer_armed(&gate->shedding.timer)) {
        loop_load_take(gate->options.loop, &before);
        timer_set_after(&gate->shedding.timer, SHED_TURN_US);
    }
}

void shedding_open(struct gate *gate)
{
    struct shedding *shedding = &gate->shedding;
    struct stats *stats = gate->options.stats;
    timer_init(&shedding->timer, gate->options.loop, on_turn);
    shedding->stat_level = stats_series(stats, &family_level);
    shedding->stat_delay = stats_series(stats, &family_delay);
    for (int class = 0; class < SHED_CLASS_COUNT; class++) {
        shedding->stat_shed[class] = stats_series(stats, &family_shed, shed_class_name((enum shed_class)class));
    }
}

void shedding_close(struct gate *gate)
{
    timer_stop(&gate->shedding.timer);
}

/* ---- one request ---- */

void shedding_count(struct exchange *x)
{
    stats_add(x->gate->options.stats, x->gate->shedding.stat_shed[shedding_class(x)], 1);
}

bool shedding_refuses(struct exchange *x)
{
    struct shed *shed = &x->gate->shedding.shed;
    wake(x->gate);
    return shed->level > 0 && shed_refuses(shed, shedding_class(x), loop_waited_us(x->gate->options.loop));
}

/* Half of all connections and of all buffers at most wait like this. */
uint64_t shedding_hold_us(const struct exchange *x)
{
    if (clients_permille(x->gate) >= HOLD_FULL_PERMILLE || full_permille(x->gate) >= HOLD_FULL_PERMILLE) {
        return 0;
    }
    return shed_hold_us(&x->gate->shedding.shed, shedding_class(x), loop_waited_us(x->gate->options.loop));
}

/*
 * Where the class may have all of it, it waits in the queue as everybody does:
 * of a few there is nothing to keep. What may have been sent before is asked
 * for the truth's sake and goes on, whatever its class.
 */
bool shedding_refuses_link(struct exchange *x)
{
    uint32_t whole = x->processor_conf->concurrency;
    uint32_t used = processor_in_flight(x->processor);
    if (exchange_sent(x) || used < shed_room(SHED_BACKGROUND, whole)) {
        return false;
    }
    uint32_t room = shed_room(shedding_class(x), whole);
    bool refuses = used >= room && room < whole;
    if (refuses) {
        shedding_count(x);
    }
    return refuses;
}
