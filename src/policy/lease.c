/*
 * Prepaid tokens of one caller's limit: how many are worth asking for, when,
 * and how long to rest after a refusal; and whether the store is worth asking
 * at all. The limiter of the gate asks and is told; nothing here waits.
 */
#include "weir/policy/lease.h"

#include "weir/base/check.h"

#define SECOND_US UINT64_C(1000000)
/* Thousandths of a token a second into tokens, when multiplied by microseconds. */
#define DEMAND_US (1000 * SECOND_US)
/* What a request says of the demand is forgotten in about this time. */
#define SMOOTHING_US UINT64_C(100000)
/* A thousand million tokens a second: what is counted stays far from the end of a uint64_t. */
#define DEMAND_MAX UINT64_C(1000000000000)
/* Until a run is empty its successor takes so many trips at most. */
#define TRIPS_AHEAD 4u

/*
 * Less than four tokens in a run's life are asked for one by one, exactly: an
 * early run would be lost too often. It follows from the target.
 */
_Static_assert(LEASE_TARGET_US * 4 <= LEASE_US, "fewer than four tokens a run are asked for one by one");

static uint64_t sum_or_max(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- tokens in hand ---- */

static uint64_t run_tokens(const struct lease *lease, int run, uint64_t now_us)
{
    return now_us < lease->expires_us[run] ? lease->tokens[run] : 0;
}

static uint64_t tokens_held(const struct lease *lease, uint64_t now_us)
{
    return run_tokens(lease, 0, now_us) + run_tokens(lease, 1, now_us);
}

/* Drops what is expired or used; what is left of the newer run is the older then. */
static void runs_tidy(struct lease *lease, uint64_t now_us)
{
    for (int run = 0; run < 2; run++) {
        lease->tokens[run] = run_tokens(lease, run, now_us);
    }
    if (lease->tokens[0] == 0) {
        lease->tokens[0] = lease->tokens[1];
        lease->expires_us[0] = lease->expires_us[1];
        lease->tokens[1] = 0;
    }
}

/* A third run: the older two are one then, and end as the oldest does. The runs are tidy. */
static void run_append(struct lease *lease, uint64_t tokens, uint64_t expires_us)
{
    lease->tokens[0] = sum_or_max(lease->tokens[0], lease->tokens[1]);
    lease->tokens[1] = tokens;
    lease->expires_us[1] = expires_us;
}

/* ---- demand ---- */

/*
 * After dt the demand d is (d * s + 1) / (dt + s), where s is the time of
 * smoothing: one request every dt is a demand of 1 / dt, whatever dt is, and
 * several at one time add up.
 */
void lease_note(struct lease *lease, uint64_t now_us)
{
    uint64_t since_us = now_us > lease->demanded_us ? now_us - lease->demanded_us : 0;
    uint64_t over_us = sum_or_max(since_us, SMOOTHING_US);
    uint64_t demand = (lease->demand * SMOOTHING_US + DEMAND_US) / over_us;

    lease->demand = demand < DEMAND_MAX ? demand : DEMAND_MAX;
    lease->demanded_us = now_us;
    runs_tidy(lease, now_us);
}

/* A rate as demand is counted, rounded down. */
static uint64_t rate_as_demand(const struct limit_rate *rate)
{
    uint64_t demand = rate->drain / rate->units;
    uint64_t rest = rate->drain % rate->units;

    if (demand >= DEMAND_MAX / DEMAND_US) {
        return DEMAND_MAX;
    }
    for (int i = 0; i < 3; i++) { /* by 1000 each: rest * DEMAND_US would be too large a number */
        rest *= 1000;
        demand = demand * 1000 + rest / rate->units;
        rest %= rate->units;
    }
    return demand;
}

/* What a weir may hold, so that half of the burst is left to whoever needs it; may be none. */
static uint64_t hold_max(const struct limit_rate *rate, uint32_t fleet)
{
    return rate->burst / ((uint64_t)fleet * 2);
}

/* Tokens of the target's time, no faster than the fleet together may go and a quarter. */
static uint64_t tokens_wanted(const struct lease *lease, const struct limit_rate *rate)
{
    uint64_t most = rate_as_demand(rate);
    most += most / 4;
    uint64_t demand = lease->demand < most ? lease->demand : most;
    return demand * LEASE_TARGET_US / DEMAND_US;
}

/* ---- asking ---- */

enum lease_word lease_look(const struct lease *lease, uint64_t now_us)
{
    if (tokens_held(lease, now_us) > 0) {
        return LEASE_HAS;
    }
    return now_us < lease->denied_until_us ? LEASE_DENIED : LEASE_ASK;
}

void lease_use(struct lease *lease, uint64_t now_us)
{
    runs_tidy(lease, now_us);
    CHECK(lease->tokens[0] > 0);
    lease->tokens[0]--;
}

uint64_t lease_want(const struct lease *lease, const struct limit_rate *rate, uint32_t fleet, uint32_t waiting)
{
    CHECK(fleet > 0);
    uint64_t held = sum_or_max(lease->tokens[0], lease->tokens[1]); /* expired ones went when demand was noted */
    uint64_t most = hold_max(rate, fleet);
    uint64_t want = tokens_wanted(lease, rate);

    most = most > held ? most - held : 1;
    want = want < most ? want : most;
    want = want > waiting ? want : waiting; /* they are used at once and held by nobody */
    return want > 0 ? want : 1;
}

bool lease_runs_low(const struct lease *lease, uint64_t now_us, uint64_t trip_us)
{
    if (lease->asking || now_us < lease->denied_until_us || lease->low_max == 0) {
        return false;
    }
    uint64_t ahead_us = (trip_us < LEASE_US ? trip_us : LEASE_US) * TRIPS_AHEAD;
    uint64_t low = lease->demand * ahead_us / DEMAND_US;

    low = low > 1 ? low : 1;
    return tokens_held(lease, now_us) <= (low < lease->low_max ? low : lease->low_max);
}

void lease_asked(struct lease *lease)
{
    lease->asking = true;
}

/* So long the fleet takes to have one token each. */
static uint64_t turn_us(const struct limit_rate *rate, uint32_t fleet)
{
    uint64_t token_us = rate->units / rate->drain;
    if (token_us >= LEASE_REST_MAX_US) {
        return LEASE_REST_MAX_US;
    }
    uint64_t turn = rate->units <= UINT64_MAX / fleet ? rate->units * fleet / rate->drain : token_us * fleet;
    if (turn < LEASE_REST_MIN_US) {
        return LEASE_REST_MIN_US;
    }
    return turn < LEASE_REST_MAX_US ? turn : LEASE_REST_MAX_US;
}

static void on_refusal(struct lease *lease, uint64_t rest_us, uint64_t wait_us, uint64_t now_us)
{
    lease->refused_until_us = sum_or_max(now_us, wait_us);
    uint64_t denied_us = wait_us > rest_us ? wait_us : rest_us;
    lease->denied_until_us = sum_or_max(now_us, denied_us < LEASE_DENIED_MAX_US ? denied_us : LEASE_DENIED_MAX_US);
}

static void on_grant(struct lease *lease, uint64_t granted, uint64_t expires_us, uint64_t now_us)
{
    lease->refused_until_us = 0;
    lease->denied_until_us = 0;
    if (now_us < expires_us) { /* an answer may come too late to be of use */
        run_append(lease, granted, expires_us);
    }
}

void lease_hear(struct lease *lease, const struct limit_told *told, uint64_t now_us)
{
    lease->remaining = told->remaining;
    lease->reset_at_us = sum_or_max(now_us, told->reset_us);
}

void lease_told(struct lease *lease, const struct limit_rate *rate, uint32_t fleet, uint64_t sent_us, uint64_t granted,
                const struct limit_told *told, uint64_t random, uint64_t now_us)
{
    CHECK(fleet > 0);
    lease->asking = false;
    lease_hear(lease, told, now_us);
    lease->low_max = tokens_wanted(lease, rate) > 1 ? hold_max(rate, fleet) / 2 : 0;
    runs_tidy(lease, now_us);
    if (granted > 0) {
        on_grant(lease, granted, sum_or_max(sent_us, LEASE_US), now_us);
        return;
    }
    uint64_t turn = turn_us(rate, fleet);
    on_refusal(lease, turn / 2 + random % (turn + 1), told->wait_us, now_us);
}

void lease_lost(struct lease *lease)
{
    lease->asking = false;
}

uint64_t lease_remaining(const struct lease *lease, uint64_t now_us)
{
    return sum_or_max(tokens_held(lease, now_us), lease->remaining);
}

/* ---- whether the store is worth asking ---- */

bool lease_may_probe(struct lease_patience *patience, uint64_t random, uint64_t now_us)
{
    if (!patience->away || now_us < patience->probe_us) {
        return false;
    }
    uint64_t spread_us = random % (LEASE_PROBE_US * 2 / 5 + 1); /* a fifth less to a fifth more */
    patience->probe_us = sum_or_max(now_us, LEASE_PROBE_US * 4 / 5 + spread_us);
    return true;
}

static void window_begin(struct lease_patience *patience, uint64_t now_us)
{
    patience->window_us = now_us;
    patience->asked = 0;
    patience->failed = 0;
}

/* The one setter. Either way what was counted before says nothing of what comes. */
static void enter(struct lease_patience *patience, bool away, uint64_t now_us)
{
    patience->away = away;
    patience->run = 0;
    patience->probe_us = away ? sum_or_max(now_us, LEASE_PROBE_US) : 0;
    window_begin(patience, now_us);
}

static bool is_lost(const struct lease_patience *patience)
{
    return patience->run >= LEASE_PATIENCE_RUN ||
           (patience->asked >= LEASE_PATIENCE_MIN && patience->failed >= patience->asked - patience->failed);
}

bool lease_heard(struct lease_patience *patience, bool answered, uint64_t now_us)
{
    if (patience->away) {
        if (answered) {
            enter(patience, false, now_us);
        }
        return answered; /* questions from before may still fail: that is known */
    }
    if (now_us - patience->window_us >= SECOND_US) { /* a clock that stepped back ends it, too */
        window_begin(patience, now_us);
    }
    patience->asked++;
    patience->failed += !answered;
    patience->run = answered ? 0 : patience->run + 1;
    if (is_lost(patience)) {
        enter(patience, true, now_us);
    }
    return patience->away;
}
