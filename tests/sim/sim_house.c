/*
 * The store that all weirs of a run share: records in one table, changed by
 * idem_apply and nothing else, and what limits owe, charged by limit_apply and
 * limit_prepay. It is away at times, full, not to be trusted with payments that
 * are sent once only, has a clock that steps, and forgets: all of it, or the last
 * of its writes. How its weirs reach it is sim_store.c's.
 *
 * Each bucket has a twin, a second account in wide numbers and simple words, and
 * every decision must be the twin's, too.
 */
#include "sim_house.h"

#include <inttypes.h>
#include <stdlib.h>

#include "store_internal.h"

#define CHAINS 64
#define PAST_US (3 * SIM_S)  /* writes younger than this may be lost */
#define FLEET_US (3 * SIM_S) /* a weir that said nothing for so long is not counted */

/* What a row was before a write. */
struct past {
    struct list in_past;
    uint64_t at_us;
    bool was_there;
    struct house_row row;
};

/* What one caller of one limit owes. */
struct owed {
    struct list in_owed;
    uint16_t number;
    char limit[STORE_LIMIT_NAME_BYTES_MAX + 1];
    uint8_t hash[LIMIT_HASH_BYTES];
    struct account {
        struct limit_bucket bucket;
        unsigned __int128 debt; /* the twin: of units, */
        uint64_t last_us;       /* then */
        struct limit_rate rate; /* of those who ask; units 0: nobody did */
    } now;
    bool mixed;                 /* who asked did not agree on the rate: the twin does not know how to convert */
};

/* What a bucket was before it was charged. */
struct owed_past {
    struct list in_owed_past;
    uint64_t at_us;
    struct owed *owed;
    struct account was;
};

static struct {
    struct list chains[CHAINS];
    struct list past;            /* newest last */
    struct list owed, owed_past; /* ditto */
    uint64_t heard_us[SIM_WEIRS_MAX]; /* when each weir said that it is there; 0: never */
    uint64_t out_until_us;       /* it answers nobody */
    bool full, untrusted;
    int64_t clock_ms;            /* how far its clock is off */
    struct sim_event weather;
} house;

uint64_t house_now_ms(void)
{
    return sim.now_us / 1000 + UINT64_C(1700000000000) + (uint64_t)house.clock_ms;
}

static uint64_t house_now_us(void)
{
    return sim.now_us + UINT64_C(1700000000000000) + (uint64_t)house.clock_ms * 1000;
}

struct bytes house_own(struct bytes bytes)
{
    char *copy = malloc(bytes.len + 1);
    CHECK(copy != NULL);
    if (bytes.len > 0) {
        memcpy(copy, bytes.at, bytes.len);
    }
    return bytes_of(copy, bytes.len);
}

void house_free(struct bytes bytes)
{
    free((char *)(uintptr_t)bytes.at);
}

/* ---- rows ---- */

static void own_record(struct idem_record *record)
{
    record->upstream_key = house_own(record->upstream_key);
    record->answer = house_own(record->answer);
}

static void free_record(struct idem_record *record)
{
    house_free(record->upstream_key);
    house_free(record->answer);
}

static size_t chain_number(const struct idem_name *name)
{
    return name->hash[0] % CHAINS;
}

static struct house_row *find_row(const struct idem_name *name)
{
    list_each (row, after, &house.chains[chain_number(name)], struct house_row, in_chain) {
        if (row->name.bucket == name->bucket && memcmp(row->name.hash, name->hash, IDEM_HASH_BYTES) == 0) {
            return row;
        }
    }
    return NULL;
}

const struct house_row *house_find(const struct idem_name *name)
{
    return find_row(name);
}

struct house_row *house_next(const struct house_row *row)
{
    size_t chain = row == NULL ? 0 : chain_number(&row->name);
    if (row != NULL && row->in_chain.next != &house.chains[chain]) {
        return container_of(row->in_chain.next, struct house_row, in_chain);
    }
    for (chain += row == NULL ? 0 : 1; chain < CHAINS; chain++) {
        if (!list_empty(&house.chains[chain])) {
            return list_first(&house.chains[chain], struct house_row, in_chain);
        }
    }
    return NULL;
}

bool house_row_is_over(const struct house_row *row)
{
    return row->record.expires_ms <= house_now_ms();
}

static void free_row(struct house_row *row)
{
    list_remove(&row->in_chain);
    free_record(&row->record);
    free(row);
}

static struct house_row *put_row(const struct idem_name *name, const struct idem_record *record)
{
    struct house_row *old = find_row(name);
    struct house_row *row = calloc(1, sizeof *row);
    CHECK(row != NULL);
    row->name = *name;
    row->record = *record;
    own_record(&row->record); /* before the old one goes: it may point there */
    if (old != NULL) {
        row->told_by = old->told_by;
        row->resolved_by = old->resolved_by;
        free_row(old);
    }
    list_init(&row->in_chain);
    list_push_back(&house.chains[chain_number(name)], &row->in_chain);
    return row;
}

/* ---- forgetting ---- */

static void free_past(struct past *past)
{
    list_remove(&past->in_past);
    if (past->was_there) {
        free_record(&past->row.record);
    }
    free(past);
}

static void remember_past(const struct idem_name *name)
{
    struct house_row *row = find_row(name);
    struct past *past;
    if (!sim.weather.store_forgets) {
        return;
    }
    while ((past = list_first(&house.past, struct past, in_past)) != NULL && past->at_us + PAST_US < sim.now_us) {
        free_past(past);
    }
    past = calloc(1, sizeof *past);
    CHECK(past != NULL);
    past->at_us = sim.now_us;
    past->was_there = row != NULL;
    past->row.name = *name;
    if (row != NULL) {
        past->row.record = row->record;
        own_record(&past->row.record);
    }
    list_init(&past->in_past);
    list_push_back(&house.past, &past->in_past);
}

static void free_owed_past(struct owed_past *past)
{
    list_remove(&past->in_owed_past);
    free(past);
}

static void remember_owed(struct owed *owed)
{
    struct owed_past *past;
    if (!sim.weather.store_forgets) {
        return;
    }
    while ((past = list_first(&house.owed_past, struct owed_past, in_owed_past)) != NULL &&
           past->at_us + PAST_US < sim.now_us) {
        free_owed_past(past);
    }
    past = calloc(1, sizeof *past);
    CHECK(past != NULL);
    *past = (struct owed_past){.at_us = sim.now_us, .owed = owed, .was = owed->now};
    list_init(&past->in_owed_past);
    list_push_back(&house.owed_past, &past->in_owed_past);
}

/* A replica that was behind became the master. */
static void lose_suffix(void)
{
    uint64_t since_us = sim.now_us - sim_below(PAST_US);
    struct past *past;
    struct owed_past *owed_past;
    while ((past = list_last(&house.past, struct past, in_past)) != NULL && past->at_us >= since_us) {
        struct house_row *row = find_row(&past->row.name);
        if (past->was_there) {
            (void)put_row(&past->row.name, &past->row.record);
        } else if (row != NULL) {
            free_row(row);
        }
        free_past(past);
    }
    while ((owed_past = list_last(&house.owed_past, struct owed_past, in_owed_past)) != NULL &&
           owed_past->at_us >= since_us) {
        owed_past->owed->now = owed_past->was;
        free_owed_past(owed_past);
    }
}

static void lose_all(void)
{
    for (int i = 0; i < CHAINS; i++) {
        list_each (row, after, &house.chains[i], struct house_row, in_chain) {
            free_row(row);
        }
    }
    list_each (past, after, &house.past, struct past, in_past) {
        free_past(past);
    }
    list_each (past, after, &house.owed_past, struct owed_past, in_owed_past) {
        free_owed_past(past);
    }
    list_each (owed, after, &house.owed, struct owed, in_owed) {
        list_remove(&owed->in_owed);
        free(owed);
    }
}

/* ---- limits: the twin ---- */

static struct owed *find_owed(const struct limit_ref *ref)
{
    list_each (owed, after, &house.owed, struct owed, in_owed) {
        if (owed->number == ref->bucket && memcmp(owed->hash, ref->hash, sizeof owed->hash) == 0 &&
            bytes_equal(bytes_from_text(owed->limit), ref->limit)) {
            return owed;
        }
    }
    struct owed *owed = calloc(1, sizeof *owed);
    CHECK(owed != NULL && bytes_to_text(ref->limit, owed->limit, sizeof owed->limit));
    owed->number = ref->bucket;
    memcpy(owed->hash, ref->hash, sizeof owed->hash);
    list_init(&owed->in_owed);
    list_push_back(&house.owed, &owed->in_owed);
    return owed;
}

/* What is owed by now, where the twin knows it. */
static unsigned __int128 twin_debt(struct owed *owed, const struct limit_rate *rate)
{
    struct account *account = &owed->now;
    uint64_t now_us = house_now_us();
    owed->mixed = owed->mixed || (account->rate.units != 0 && memcmp(&account->rate, rate, sizeof *rate) != 0);
    account->rate = *rate;
    unsigned __int128 drained = now_us > account->last_us ? (unsigned __int128)rate->drain * (now_us - account->last_us) : 0;
    return account->debt > drained ? account->debt - drained : 0;
}

/* Charged with so many tokens; 0: looked at. */
static void twin_charge(struct owed *owed, unsigned __int128 debt, uint64_t tokens)
{
    struct account *account = &owed->now;
    uint64_t now_us = house_now_us();
    unsigned __int128 whole = (unsigned __int128)account->rate.burst * account->rate.units;
    if (tokens > 0 || (debt > 0 && account->last_us > now_us)) {
        debt += (unsigned __int128)tokens * account->rate.units;
        account->debt = debt < whole ? debt : whole;
        account->last_us = now_us;
    }
}

static bool twin_fits(const struct limit_rate *rate, unsigned __int128 debt, uint64_t tokens)
{
    return debt + (unsigned __int128)tokens * rate->units <= (unsigned __int128)rate->burst * rate->units;
}

/* Waiting so long is enough, and a microsecond less is not. */
static bool twin_waits(const struct limit_rate *rate, unsigned __int128 debt, uint64_t wait_us)
{
    unsigned __int128 drained = (unsigned __int128)rate->drain * wait_us;
    unsigned __int128 less = drained - rate->drain;
    return twin_fits(rate, debt > drained ? debt - drained : 0, 1) && !twin_fits(rate, debt > less ? debt - less : 0, 1);
}

static void check_told(const struct owed *owed, const struct limit_rate *rate, unsigned __int128 debt, bool fits,
                       const struct limit_told *told)
{
    if (owed->mixed) {
        return;
    }
    if (told->fits != fits) {
        sim_violated("L1: limit %s says that one more %s, and it %s", owed->limit, told->fits ? "fits" : "does not fit",
                     fits ? "does" : "does not");
    }
    if (told->wait_us > 0 && !twin_waits(rate, debt, told->wait_us)) {
        sim_violated("L3: limit %s says that there is room in %" PRIu64 " us, which is not when there is", owed->limit,
                     told->wait_us);
    }
}

/* ---- limits: asked ---- */

/* Several at once, all of them or none. */
static bool charge_all(const struct limit_ref refs[], int count, struct limit_told told[])
{
    struct owed *owed[LIMITS_MAX];
    struct limit_bucket *buckets[LIMITS_MAX] = {NULL};
    struct limit_ask asks[LIMITS_MAX] = {{.cost = 0}};
    unsigned __int128 debts[LIMITS_MAX];
    bool fits[LIMITS_MAX];
    bool all = true, mixed = false;
    for (int i = 0; i < count; i++) {
        owed[i] = find_owed(&refs[i]);
        asks[i] = refs[i].ask;
        remember_owed(owed[i]);
        buckets[i] = &owed[i]->now.bucket;
        debts[i] = twin_debt(owed[i], &asks[i].rate);
        fits[i] = (asks[i].flags & LIMIT_FORCE) != 0 || twin_fits(&asks[i].rate, debts[i], asks[i].cost);
        all = all && (fits[i] || (asks[i].flags & LIMIT_SHADOW) != 0);
        mixed = mixed || owed[i]->mixed;
    }
    bool admitted = limit_apply(buckets, asks, count, house_now_us(), told);
    if (!mixed && admitted != all) {
        sim_violated("L1: %d limits %s a request, and they have%s room", count, admitted ? "admit" : "refuse", all ? "" : " no");
    }
    for (int i = 0; i < count; i++) {
        bool forced = (asks[i].flags & LIMIT_FORCE) != 0;
        bool charged = (asks[i].flags & LIMIT_CHECK) == 0 && (admitted || forced) && told[i].fits;
        check_told(owed[i], &asks[i].rate, debts[i], fits[i], &told[i]);
        twin_charge(owed[i], debts[i], charged ? asks[i].cost : 0);
        if (charged) {
            bounds_charged(&refs[i], !forced);
        }
    }
    return admitted;
}

static uint64_t prepay(const struct limit_ref *ref, uint64_t want, struct limit_told *told)
{
    struct owed *owed = find_owed(ref);
    const struct limit_rate *rate = &ref->ask.rate;
    remember_owed(owed);
    unsigned __int128 debt = twin_debt(owed, rate);
    uint64_t granted = limit_prepay(&owed->now.bucket, rate, want, house_now_us(), told);
    bool fits = twin_fits(rate, debt, 1);
    bool all = granted == want || !twin_fits(rate, debt, granted + 1);
    if (!owed->mixed && (!twin_fits(rate, debt, granted) || !all || granted > want)) {
        sim_violated("L1: limit %s prepays %" PRIu64 " of %" PRIu64 " tokens, and has not that room", owed->limit, granted, want);
    }
    check_told(owed, rate, debt, fits, told);
    twin_charge(owed, debt, granted);
    if (granted > 0) {
        bounds_charged(ref, false);
    }
    return granted;
}

uint64_t house_ask_limit(const struct limit_ref *ref, uint64_t want, struct limit_told *told)
{
    if ((ref->ask.flags & (LIMIT_CHECK | LIMIT_FORCE)) == 0) {
        return prepay(ref, want, told);
    }
    (void)charge_all(ref, 1, told); /* told says it, a shadow's too */
    return (ref->ask.flags & LIMIT_CHECK) != 0 && told->fits ? 1 : 0;
}

uint32_t house_fleet(const struct sim_weir *weir)
{
    uint32_t count = 0;
    house.heard_us[weir->number] = sim.now_us + 1;
    for (int i = 0; i < SIM_WEIRS_MAX; i++) {
        count += house.heard_us[i] != 0 && house.heard_us[i] + FLEET_US > sim.now_us;
    }
    return count;
}

/* ---- one operation ---- */

/* Each telling is heard once, also when its first reply was lost. */
static void tell_again(struct house_row *row, uint64_t question, struct idem_result *result)
{
    row->told_by = result->told_now ? question : row->told_by;
    row->resolved_by = result->resolved_now ? question : row->resolved_by;
    result->told_now = result->told_now || (question != 0 && row->told_by == question);
    result->resolved_now = result->resolved_now || (question != 0 && row->resolved_by == question);
}

/* Whether the limits of a new record let it in. */
static bool admit(const struct idem_op *op, struct idem_result *result)
{
    *result = (struct idem_result){.limit_count = op->limit_count};
    bool admitted = charge_all(op->limits, op->limit_count, result->limits);
    result->verdict = admitted ? IDEM_NEW : IDEM_LIMITED;
    return admitted;
}

/* As the real ones do it: what is past its time is not there. */
void house_apply(const struct idem_op *op, uint64_t question, struct idem_result *result)
{
    uint64_t now_ms = house_now_ms();
    struct house_row *row = find_row(&op->name);
    struct idem_record record = {0};
    struct idem_result limited = {0};
    if (row != NULL && house_row_is_over(row)) {
        ledger_dropped(&row->record);
        free_row(row);
        row = NULL;
    }
    if (row != NULL) {
        record = row->record;
    }
    if (row == NULL && op->kind == IDEM_BEGIN && op->limit_count > 0 && !admit(op, &limited)) {
        *result = limited;
        sim_note("limited", (uint64_t)op->limit_count, 0, 0);
        return;
    }
    enum idem_change change = idem_apply(&record, op, now_ms, result);
    result->limit_count = limited.limit_count;
    memcpy(result->limits, limited.limits, sizeof limited.limits);
    /* The result may point into the row. */
    result->upstream_key = house_own(result->upstream_key);
    result->answer = house_own(result->answer);
    sim_note("apply", (uint64_t)op->kind, (uint64_t)result->verdict, (uint64_t)result->state << 2 | (uint64_t)change);
    if (change != IDEM_KEEP) {
        remember_past(&op->name);
    }
    ledger_applied(op, result);
    if (change == IDEM_WRITE) {
        row = put_row(&op->name, &record);
    } else if (change == IDEM_DELETE && row != NULL) {
        free_row(row);
        row = NULL;
    }
    if (row != NULL) {
        tell_again(row, question, result);
    }
}

/* ---- its weather ---- */

bool house_is_away(void)
{
    return house.out_until_us > sim.now_us;
}

bool house_is_full(void)
{
    return house.full;
}

bool house_is_untrusted(void)
{
    return house.untrusted;
}

void house_accept_loss(void)
{
    house.untrusted = false;
}

static void step_clock(void)
{
    int64_t before_ms = house.clock_ms;
    house.clock_ms = (int64_t)sim_between(0, 20000) - 10000;
    sim_note("store clock", (uint64_t)(house.clock_ms + 10000), 0, 0);
    sim.troubles++;
    if (house.clock_ms > before_ms) {
        bounds_forgiven();
    }
}

static void forget(void)
{
    bool all = sim_chance(40);
    sim_note("store forgets", all, 0, 0);
    sim.counts.losses++;
    sim.troubles++;
    ledger_forgotten();
    bounds_forgiven();
    if (all) {
        lose_all();
    } else {
        lose_suffix();
    }
}

static void on_weather(struct sim_event *event)
{
    (void)event;
    if (sim.healed) {
        return;
    }
    sim_after(&house.weather, sim_between(50 * SIM_MS, 4 * SIM_S));
    house.full = sim_below(100) < sim.weather.store_out;
    house.untrusted = sim_below(100) < sim.weather.store_out;
    sim.troubles += house.full ? 1 : 0;
    if (sim_below(100) < sim.weather.store_out) {
        house.out_until_us = sim.now_us + (sim_chance(70) ? sim_below(500 * SIM_MS) : sim_below(20 * SIM_S));
        sim.counts.outages++;
        sim.troubles++;
        sim_note("store away", house.out_until_us - sim.now_us, 0, 0);
    }
    if (sim.weather.clock_steps && sim_chance(10)) {
        step_clock();
    }
    if (sim.weather.store_forgets && sim_chance(8)) {
        forget();
    }
}

void sim_house_begin(void)
{
    memset(&house, 0, sizeof house);
    for (int i = 0; i < CHAINS; i++) {
        list_init(&house.chains[i]);
    }
    list_init(&house.past);
    list_init(&house.owed);
    list_init(&house.owed_past);
    house.weather.fire = on_weather;
    sim_after(&house.weather, sim_below(2 * SIM_S));
}

void sim_house_heal(void)
{
    house.full = house.untrusted = false;
    house.out_until_us = 0;
}

void sim_house_rest(void)
{
    for (struct house_row *row = house_next(NULL); row != NULL; row = house_next(row)) {
        ledger_left(&row->name, row->record.state);
    }
}

void sim_house_end(void)
{
    lose_all();
}
