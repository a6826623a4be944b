/*
 * What must hold of limits, whatever happens. What a weir did is read where it
 * stands, in its limiter and in its exchanges as they end; what it was entitled
 * to is reckoned here, from what the table was asked and said.
 *
 *   L1  a caller is let in at most B + r * (w + T) times in any window w, T being how long prepaid tokens live, and B
 *       more for each loss of the store's data and each step of its clock forward; whoever was let in without the
 *       store, at most as often as its weir's share allows; and the table reckons right (sim_house.c)
 *   L2  a payment that has a record is refused by no limit that the store keeps; one that such a limit refused has none
 *   L3  whoever is refused has sent nothing, is told when to come again, and is let in then (sim_promise.c)
 *   L4  no more of a caller's requests than `concurrent` are on their way in one weir, and nothing of them stays behind
 *   L5  a shadow refuses nobody (and is one: sim_shadow.c)
 *   L6  a declined payment is charged, and who may pass is asked anew behind it
 *   L7  payments are never shed, nor what goes on in place of one that may have been made
 *   L8  two callers have two buckets, one caller has one, in whatever weir
 *   L9  where the store says nothing, nobody waits longer for a limit than limit_timeout
 */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#include "claim.h"
#include "limits.h"

#define CALLERS_MAX 512 /* of one weir, in L4's books */
#define LOOK_EVERY 16   /* turns */
#define LATE_US (20 * SIM_MS) /* a timer may be, and a turn */
#define NO_SECRET (UINT64_C(1) << 55) /* in who a caller is */

enum how {
    HOW_STORE,   /* charged by a begin */
    HOW_TOKEN,   /* with a prepaid token */
    HOW_SHARE,   /* by the weir's share, without the store */
    HOW_PROCESS, /* by a limit that is each process's own */
    HOW_CHECK,   /* as one that counts declines had room */
    HOW_CHARGE,  /* no admission: a decline, charged */
    HOW_COUNT
};

/* Something that happened to one caller. */
struct fact {
    uint64_t at_us;
    uint64_t until_us; /* of tokens: they may be used before */
    uint64_t tokens;
    int weir;
    enum how how;
};

struct facts {
    struct fact *all;
    size_t count, size;
};

/* One caller of one limit. */
struct book {
    int limit;
    uint8_t hash[LIMIT_HASH_BYTES];
    uint16_t bucket;
    uint64_t who;                   /* 0: nobody knows yet */
    const struct sim_grade *grade;
    struct facts admitted, granted; /* granted: HOW_TOKEN and HOW_CHECK */
    uint64_t charged_us;            /* when the table charged it last */
    unsigned declined[SIM_WEIRS_MAX], charged[SIM_WEIRS_MAX];
};

static struct {
    struct book *books;
    size_t book_count, book_size;
    uint64_t *forgiven_us;          /* when the table forgot, or its clock jumped */
    size_t forgiven_count, forgiven_size;
    struct facts fleets;            /* tokens: so many weirs, as `weir` has heard */
    bool was_away[SIM_WEIRS_MAX];
} bounds;

/* ---- books ---- */

void bounds_begin(void)
{
    bounds.book_count = bounds.forgiven_count = bounds.fleets.count = 0;
    memset(bounds.was_away, 0, sizeof bounds.was_away);
}

static void add_fact(struct facts *facts, struct fact fact)
{
    if (facts->count == facts->size) {
        facts->size = facts->size * 2 + 32;
        facts->all = realloc(facts->all, facts->size * sizeof *facts->all);
        CHECK(facts->all != NULL);
    }
    facts->all[facts->count++] = fact;
}

static struct book *book_of(const struct limit_ref *ref)
{
    int limit = sim_quota_find(ref->limit);
    if (limit < 0) {
        sim_violated("a limit '%.*s' that no generation has", BYTES_ARG(ref->limit));
    }
    for (size_t i = 0; i < bounds.book_count; i++) {
        struct book *book = &bounds.books[i];
        if (book->limit == limit && book->bucket == ref->bucket && memcmp(book->hash, ref->hash, sizeof book->hash) == 0) {
            return book;
        }
    }
    if (bounds.book_count == bounds.book_size) {
        bounds.book_size = bounds.book_size * 2 + 64;
        bounds.books = realloc(bounds.books, bounds.book_size * sizeof *bounds.books);
        CHECK(bounds.books != NULL);
    }
    struct book *book = &bounds.books[bounds.book_count++];
    *book = (struct book){.limit = limit, .bucket = ref->bucket};
    memcpy(book->hash, ref->hash, sizeof book->hash);
    return book;
}

/* The caller shows itself: it must be the one that this bucket was of before. A generation without a secret has names of its own. */
static void check_who(struct book *book, const struct sim_case *about, bool secret)
{
    uint64_t who = sim_quota_who(about, book->limit, about->line_generation);
    if (who == 0) {
        sim_violated("n%" PRIu64 " is charged to l%d, and lacks what that goes by", about->nonce, book->limit);
    }
    who |= secret || sim.plans[1].limits[book->limit].by == BY_ADDRESS ? 0 : NO_SECRET;
    for (size_t i = 0; book->who == 0 && i < bounds.book_count; i++) {
        if (bounds.books[i].who == who) {
            sim_violated("L8: n%" PRIu64 " has another bucket of l%d than its caller had before", about->nonce, book->limit);
        }
    }
    if (book->who != 0 && book->who != who) {
        sim_violated("L8: n%" PRIu64 " has the bucket of l%d that another caller has", about->nonce, book->limit);
    }
    book->who = who;
    book->grade = sim_quota_grade(about, book->limit);
}

/* ---- what the table says ---- */

void bounds_charged(const struct limit_ref *ref, bool begin)
{
    struct book *book = book_of(ref);
    book->charged_us = sim.now_us;
    if (begin) {
        add_fact(&book->admitted, (struct fact){.at_us = sim.now_us, .tokens = ref->ask.cost, .weir = -1, .how = HOW_STORE});
    }
}

uint64_t bounds_charged_us(uint64_t who)
{
    for (size_t i = 0; i < bounds.book_count; i++) {
        if (bounds.books[i].who == who) {
            return bounds.books[i].charged_us;
        }
    }
    return 0;
}

void bounds_forgiven(void)
{
    if (bounds.forgiven_count == bounds.forgiven_size) {
        bounds.forgiven_size = bounds.forgiven_size * 2 + 16;
        bounds.forgiven_us = realloc(bounds.forgiven_us, bounds.forgiven_size * sizeof *bounds.forgiven_us);
        CHECK(bounds.forgiven_us != NULL);
    }
    bounds.forgiven_us[bounds.forgiven_count++] = sim.now_us;
}

void bounds_fleet(const struct sim_weir *weir, uint32_t fleet)
{
    add_fact(&bounds.fleets, (struct fact){.at_us = sim.now_us, .tokens = fleet, .weir = weir->number});
}

void bounds_asked(const struct sim_weir *weir, const struct limit_ref *ref)
{
    if ((ref->ask.flags & LIMIT_FORCE) != 0) {
        struct book *book = book_of(ref);
        book->charged[weir->number]++;
        add_fact(&book->granted, (struct fact){.at_us = sim.now_us, .weir = weir->number, .how = HOW_CHARGE});
    }
}

/* From when its question left: the weir asked no later. */
void bounds_granted(const struct sim_weir *weir, const struct limit_ref *ref, uint64_t left_us, uint64_t granted)
{
    bool check = (ref->ask.flags & LIMIT_CHECK) != 0;
    if (granted > 0) {
        add_fact(&book_of(ref)->granted, (struct fact){.at_us = left_us, .until_us = left_us + LEASE_US, .tokens = granted,
                                                       .weir = weir->number, .how = check ? HOW_CHECK : HOW_TOKEN});
        sim.counts.leased += check ? 0 : granted;
    }
}

/* ---- a line ---- */

/* It was not refused with its route: a refused one may wait there for its body to go by. */
static bool has_entered(const struct exchange *x)
{
    return x->ended_in != PHASE_ROUTE && !x->held;
}

static bool is_rate(const struct limited_one *one)
{
    return one->grade->concurrent == 0;
}

static bool is_stored(const struct limited_one *one)
{
    return is_rate(one) && !one->limit->conf->local;
}

static bool counts_declines(const struct limited_one *one)
{
    return one->limit->conf->charge_on == CONF_CHARGE_ON_DECLINE;
}

/* Its begin brought its limits along. */
static bool has_begun(const struct exchange *x)
{
    return x->claim != NULL && !x->claim->driver.unrecorded;
}

/* Who decides by the clock of the moment may have stood still since the step began: that moment is not known. */
static void note_admitted(struct book *book, uint64_t at_us, const struct sim_case *about, enum how how)
{
    if ((how == HOW_SHARE || how == HOW_PROCESS) && about->weir->thaws_at_us > at_us) {
        return;
    }
    add_fact(&book->admitted, (struct fact){.at_us = at_us, .tokens = 1, .weir = about->weir->number, .how = how});
}

/* Before a link: where a limit that the store keeps let it in without a begin. */
static void note_stored(struct book *book, const struct limited_one *one, const struct sim_case *about)
{
    const struct exchange *x = one->exchange;
    uint64_t at_us = x->phase_at_us[PHASE_LINK];
    bool judged_here = one->failed && one->limit->conf->store_down == CONF_LIMIT_LOCAL && !counts_declines(one);
    if (at_us == 0 || has_begun(x) || !one->has_told || !one->told.fits) {
        return;
    }
    if (judged_here) {
        sim.counts.judged_here++;
        note_admitted(book, at_us, about, HOW_SHARE);
    } else if (!one->failed) {
        note_admitted(book, at_us, about, counts_declines(one) ? HOW_CHECK : HOW_TOKEN);
    }
}

/* When its answer was found to be a decline; 0: it was not. What a shadow would have refused had never been declined. */
static uint64_t declined_us(const struct limited_one *one, const struct sim_case *about)
{
    const struct exchange *x = one->exchange;
    uint64_t at_us = x->phase_at_us[x->claim != NULL ? PHASE_COMMIT : PHASE_RELAY];
    bool would_not_be = one->limit->shadow && one->has_told && !one->told.fits;
    unsigned status = x->answer_head != NULL ? x->answer_head->status : about->answer_status; /* it may be another's now */
    bool declined = !x->safe_method && status == 402;
    return counts_declines(one) && declined && !would_not_be ? at_us : 0;
}

static void note_one(const struct limited_one *one, const struct sim_case *about)
{
    const struct exchange *x = one->exchange;
    struct book *book = book_of(&one->ref);
    check_who(book, about, x->generation->parts.keyring != NULL);
    if (is_stored(one)) {
        note_stored(book, one, about);
        book->declined[about->weir->number] += declined_us(one, about) != 0 ? 1 : 0;
        return;
    }
    if (is_rate(one) && one->has_told && one->told.fits && has_entered(x)) {
        note_admitted(book, x->phase_at_us[PHASE_ROUTE], about, counts_declines(one) ? HOW_CHECK : HOW_PROCESS);
    }
    if (is_rate(one) && declined_us(one, about) != 0) {
        add_fact(&book->granted, (struct fact){.at_us = declined_us(one, about), .weir = about->weir->number, .how = HOW_CHARGE});
    }
}

/* Everything that its route has and that it does not lack. */
static void check_all_apply(const struct sim_case *about, const struct exchange *x)
{
    const struct sim_plan *plan = &sim.plans[about->line_generation];
    int wanted = 0;
    for (int i = 0; i < plan->limit_count; i++) {
        bool applies = (plan->routes[about->route].limits >> i & 1u) != 0 && plan->limits[i].mode != CONF_LIMIT_OFF;
        wanted += applies && sim_quota_who(about, i, plan->number) != 0 ? 1 : 0;
    }
    int found = x->limited != NULL ? x->limited->count : 0;
    if (has_entered(x) && found != wanted) {
        sim_violated("n%" PRIu64 " is subject to %d limits, and was held to %d", about->nonce, wanted, found);
    }
}

static void check_refusal(const struct sim_case *about, const struct limited_one *one)
{
    const struct exchange *x = one->exchange;
    const struct sim_plan *plan = &sim.plans[about->line_generation];
    if (plan->limits[sim_quota_find(one->ref.limit)].mode != CONF_LIMIT_ENFORCE) {
        sim_violated("L5: n%" PRIu64 " is refused by l%d, which is a shadow", about->nonce, sim_quota_find(one->ref.limit));
    }
    bool keyed = about->payment != NULL && plan->routes[about->route].keyed;
    bool looked = x->claim != NULL && (x->claim->driver.unrecorded || x->claim->result.verdict == IDEM_LIMITED);
    if (keyed && is_stored(one) && !looked) {
        sim_violated("L2: n%" PRIu64 " has a key and is refused by l%d, and nobody looked whether it has a record", about->nonce,
                     sim_quota_find(one->ref.limit));
    }
}

static void check_refusals(const struct sim_case *about, const struct exchange *x)
{
    bool limited = about->reason == REASON_RATE_LIMITED || about->reason == REASON_CONCURRENCY_LIMITED;
    int refused = 0;
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        const struct limited_one *one = &x->limited->each[i];
        if (one->refused) {
            refused++;
            check_refusal(about, one);
        }
        sim.counts.would_limit += one->limit->shadow && one->has_told && !one->told.fits ? 1 : 0;
    }
    if ((limited && refused == 0) || (!limited && refused > 0 && !x->held)) {
        sim_violated("n%" PRIu64 " ends as %s, and %d limits refused it", about->nonce, reason_name(about->reason), refused);
    }
    if (limited) {
        sim.counts.limited++;
    }
}

/* For want of time, and not of memory. */
static void check_shed(const struct sim_case *about, const struct exchange *x)
{
    bool says_so = strstr(x->why, "its class") != NULL || strstr(x->why, "kept for payments") != NULL;
    if (x->reason != REASON_SHED || !says_so) {
        return;
    }
    sim.counts.shed++;
    if (sim_quota_class(about, about->line_generation) == SHED_PAYMENT || about->took_over) {
        sim_violated("L7: n%" PRIu64 " is a payment and was shed%s", about->nonce, about->took_over ? ", though it took over" : "");
    }
}

/* Of one that asked the store for nothing but its limits, and heard nothing. One may be asked when another has failed, and be
 * waited for yet when weir ends. */
static void check_wait(const struct sim_case *about, const struct exchange *x)
{
    uint64_t from_us = x->phase_at_us[PHASE_ADMIT];
    uint64_t until_us = x->phase_at_us[PHASE_LINK] != 0 ? x->phase_at_us[PHASE_LINK] : sim.now_us;
    unsigned most_ms = 0, failed = 0, asked = 0;
    bool answered = false;
    for (unsigned i = 1; i <= sim.plan_count; i++) {
        most_ms = sim.plans[i].limit_timeout_ms > most_ms ? sim.plans[i].limit_timeout_ms : most_ms;
    }
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        failed += x->limited->each[i].failed ? 1 : 0;
        asked += x->limited->each[i].failed || x->limited->each[i].waited ? 1 : 0;
        answered = answered || x->limited->each[i].answered;
    }
    bool stopped = about->weir->thaws_at_us >= from_us;
    if (failed > 0 && !answered && x->claim == NULL && !stopped && until_us - from_us > asked * (most_ms * SIM_MS + LATE_US)) {
        sim_violated("L9: n%" PRIu64 " waited %" PRIu64 " us for limits that nobody answered for", about->nonce, until_us - from_us);
    }
}

void bounds_line(struct sim_case *about, const struct exchange *x)
{
    if (about->line_generation == 0) {
        return; /* it had no route */
    }
    check_shed(about, x);
    check_wait(about, x);
    check_all_apply(about, x);
    for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
        note_one(&x->limited->each[i], about);
    }
    check_refusals(about, x);
    promise_line(about, x);
    if (sim.pair) {
        shadow_line(about, x);
    }
}

void bounds_accepted(const struct stream *stream, bool in)
{
    const struct sim_plan *plan = sim_plan_of(stream->weir);
    bool first = stream->port == sim_port(plan, 0, stream->weir->seat);
    bool asked = first && plan->accept_limit >= 0 && plan->limits[plan->accept_limit].mode == CONF_LIMIT_ENFORCE;
    if (!in || !asked) {
        return;
    }
    struct limit_ref ref = {.bucket = 0};
    char name[3] = {'l', (char)('0' + plan->accept_limit), '\0'};
    char room[ADDR_CUSTOMER_BYTES];
    struct bytes address = addr_customer(&stream->addr_peer, room);
    ref.limit = bytes_from_text(name);
    memcpy(ref.hash, address.at, address.len);
    struct book *book = book_of(&ref);
    book->grade = &sim.plans[1].limits[plan->accept_limit].grades[0];
    add_fact(&book->admitted,
             (struct fact){.at_us = sim.now_us, .tokens = 1, .weir = stream->weir->number, .how = HOW_PROCESS});
}

/* ---- L4: at the end of a turn, and of a run ---- */

struct tally {
    const struct caller *caller;
    uint32_t pins, slots, waiters;
    unsigned there;   /* of a limit that is enforced: between route and end */
    unsigned allowed;
};

static struct tally *tally_of(struct tally *tallies, int *count, const struct caller *caller)
{
    for (int i = 0; i < *count; i++) {
        if (tallies[i].caller == caller) {
            return &tallies[i];
        }
    }
    CHECK(*count < CALLERS_MAX);
    tallies[*count] = (struct tally){.caller = caller};
    return &tallies[(*count)++];
}

static int tally_exchanges(const struct gate *gate, struct tally tallies[CALLERS_MAX])
{
    int count = 0;
    list_each (x, after, &gate->exchanges, struct exchange, in_exchanges) {
        for (int i = 0; x->limited != NULL && i < x->limited->count; i++) {
            const struct limited_one *one = &x->limited->each[i];
            if (one->caller == NULL) {
                continue;
            }
            struct tally *tally = tally_of(tallies, &count, one->caller);
            tally->pins++;
            tally->slots += one->slot ? 1 : 0;
            tally->waiters += list_linked(&one->in_waiters) ? 1 : 0;
            tally->there += !is_rate(one) && !one->limit->shadow && !x->held ? 1 : 0;
            tally->allowed = one->grade->concurrent;
        }
    }
    return count;
}

static void check_tally(const struct tally *tally)
{
    const struct caller *caller = tally->caller;
    if (caller->pins != tally->pins || caller->in_flight != tally->slots || caller->waiter_count != tally->waiters) {
        sim_violated("L4: a caller has %u pins, %u slots and %u waiters, and %u, %u and %u requests hold it", caller->pins,
                     caller->in_flight, caller->waiter_count, tally->pins, tally->slots, tally->waiters);
    }
    if (tally->allowed > 0 && tally->there > tally->allowed) {
        sim_violated("L4: %u requests of a caller are on their way, and %u may be", tally->there, tally->allowed);
    }
}

/* Those that no exchange holds. */
static void check_left_over(const struct caller *caller)
{
    if (caller->pins != 0 || caller->in_flight != 0 || caller->waiter_count != 0 || !list_empty(&caller->waiters)) {
        sim_violated("L4: %s is left with %u pins, %u slots and %u waiters", caller->who, caller->pins, caller->in_flight,
                     caller->waiter_count);
    }
}

static void check_others(const struct list *callers, const struct tally tallies[], int count)
{
    list_each (caller, after, callers, struct caller, in_ring) {
        bool held = false;
        for (int i = 0; i < count && !held; i++) {
            held = tallies[i].caller == caller;
        }
        if (!held) {
            check_left_over(caller);
        }
    }
}

void bounds_turn(const struct sim_weir *weir)
{
    static struct tally tallies[CALLERS_MAX];
    const struct gate *gate = weir->gate;
    bounds.was_away[weir->number] = bounds.was_away[weir->number] || gate->limiter->patience.away;
    if (!sim.weather.limits || sim.step % LOOK_EVERY != 0) {
        return;
    }
    int count = tally_exchanges(gate, tallies);
    for (int i = 0; i < count; i++) {
        check_tally(&tallies[i]);
    }
    check_others(&gate->limiter->known, tallies, count);
    check_others(&gate->limiter->strangers, tallies, count);
}

void bounds_rest(const struct sim_weir *weir)
{
    check_others(&weir->gate->limiter->known, NULL, 0);
    check_others(&weir->gate->limiter->strangers, NULL, 0);
}

/* ---- L1, when the run is over ---- */

static int earlier_first(const void *a, const void *b)
{
    const struct fact *one = a, *other = b;
    return one->at_us < other->at_us ? -1 : one->at_us > other->at_us ? 1 : 0;
}

static void sort(struct facts *facts)
{
    if (facts->count > 1) {
        qsort(facts->all, facts->count, sizeof *facts->all, earlier_first);
    }
}

/* The largest of all generations: only the rate changes. */
static uint64_t tokens_of(const struct book *book)
{
    uint64_t most = 0;
    for (unsigned i = 1; i <= sim.plan_count; i++) {
        const struct sim_limit_plan *limit = &sim.plans[i].limits[book->limit];
        uint64_t tokens = limit->grades[book->grade - sim.plans[1].limits[book->limit].grades].tokens;
        most = tokens > most ? tokens : most;
    }
    return most;
}

/* A bucket that is filled with what was let in, in parts of a token that are as many as microseconds in its time. */
struct level {
    uint64_t part, drain, whole; /* of a token; a microsecond; the bucket */
    uint64_t at_us, level;
};

static struct level level_of(const struct book *book, uint64_t share, uint64_t more_us)
{
    uint64_t part = (uint64_t)book->grade->per_ms * 1000 * share;
    uint64_t burst = book->grade->burst / share > 0 ? book->grade->burst / share : 1;
    uint64_t drain = tokens_of(book);
    return (struct level){.part = part, .drain = drain, .whole = burst * part + drain * more_us};
}

static void level_drain(struct level *level, uint64_t at_us)
{
    uint64_t drained = (at_us - level->at_us) * level->drain;
    level->level = level->level > drained ? level->level - drained : 0;
    level->at_us = at_us;
}

static bool level_add(struct level *level, uint64_t at_us, uint64_t tokens)
{
    level_drain(level, at_us);
    level->level += tokens * level->part;
    return level->level <= level->whole;
}

static void check_window(const struct book *book)
{
    struct level level = level_of(book, 1, LEASE_US);
    size_t next = 0;
    for (size_t i = 0; i < book->admitted.count; i++) {
        const struct fact *fact = &book->admitted.all[i];
        if (fact->how != HOW_STORE && fact->how != HOW_TOKEN) {
            continue;
        }
        for (; next < bounds.forgiven_count && bounds.forgiven_us[next] <= fact->at_us; next++) {
            uint64_t burst = book->grade->burst * level.part;
            level.level = level.level > burst ? level.level - burst : 0;
        }
        if (!level_add(&level, fact->at_us, fact->tokens)) {
            sim_violated("L1: at %" PRIu64 " us l%d has let in more of a caller than B + r * (w + T)",
                         fact->at_us - 1000 * SIM_S, book->limit);
        }
    }
}

static void check_process(const struct book *book, int weir)
{
    struct level level = level_of(book, 1, 0);
    for (size_t i = 0; i < book->admitted.count; i++) {
        const struct fact *fact = &book->admitted.all[i];
        if (fact->weir == weir && fact->how == HOW_PROCESS && !level_add(&level, fact->at_us, fact->tokens)) {
            sim_violated("L1: at %" PRIu64 " us l%d has let in more of a caller than B + r * w in one process",
                         fact->at_us - 1000 * SIM_S, book->limit);
        }
    }
}

/* Another fleet is another share: what was owed to the last one may be forgiven. */
static void check_share(const struct book *book, int weir)
{
    struct level level = level_of(book, 1, 0);
    size_t next = 0;
    for (size_t i = 0; i < book->admitted.count; i++) {
        const struct fact *fact = &book->admitted.all[i];
        if (fact->weir != weir || fact->how != HOW_SHARE) {
            continue;
        }
        for (; next < bounds.fleets.count && bounds.fleets.all[next].at_us <= fact->at_us; next++) {
            if (bounds.fleets.all[next].weir == weir) {
                level = level_of(book, bounds.fleets.all[next].tokens, 0);
                level.at_us = bounds.fleets.all[next].at_us;
            }
        }
        if (!level_add(&level, fact->at_us, 1)) {
            sim_violated("L1: at %" PRIu64 " us l%d has let in more of a caller than a weir's share, without the store",
                         fact->at_us - 1000 * SIM_S, book->limit);
        }
    }
}

/* Each of them had a token of its own, asked for within its time. */
static void check_tokens(struct book *book, int weir)
{
    for (size_t i = 0; i < book->admitted.count; i++) {
        const struct fact *fact = &book->admitted.all[i];
        if (fact->weir != weir || fact->how != HOW_TOKEN) {
            continue;
        }
        struct fact *used = NULL;
        for (size_t j = 0; j < book->granted.count && used == NULL; j++) {
            struct fact *run = &book->granted.all[j];
            bool fits = run->weir == weir && run->how == HOW_TOKEN && run->tokens > 0 && run->at_us <= fact->at_us;
            used = fits && fact->at_us < run->until_us ? run : NULL;
        }
        if (used == NULL) {
            sim_violated("L1: at %" PRIu64 " us weir %d let a request in without a token of l%d", fact->at_us - 1000 * SIM_S, weir,
                         book->limit);
        }
        used->tokens--;
    }
}

/* ---- L6 ---- */

/* Whether this weir looked at the bucket behind the last decline that it charged before. What happens at one time has no order. */
static bool was_looked_at(const struct book *book, const struct fact *fact)
{
    uint64_t since_us = 0;
    bool looked = false;
    for (size_t i = 0; i < book->granted.count && book->granted.all[i].at_us < fact->at_us; i++) {
        const struct fact *other = &book->granted.all[i];
        since_us = other->weir == fact->weir && other->how == HOW_CHARGE ? other->at_us : since_us;
    }
    for (size_t i = 0; i < book->granted.count && !looked; i++) {
        const struct fact *other = &book->granted.all[i];
        bool fits = other->weir == fact->weir && other->how == HOW_CHECK && other->at_us >= since_us;
        looked = fits && other->at_us <= fact->at_us && fact->at_us < other->until_us;
    }
    return looked;
}

static void check_declines_stored(const struct book *book, int weir)
{
    const struct sim_weir *there = sim.weirs[weir];
    bool settled = !bounds.was_away[weir] && !there->dead;
    if (settled && book->charged[weir] != book->declined[weir]) {
        sim_violated("L6: weir %d saw %u declines of a caller of l%d, and charged %u", weir, book->declined[weir], book->limit,
                     book->charged[weir]);
    }
    for (size_t i = 0; i < book->admitted.count; i++) {
        const struct fact *fact = &book->admitted.all[i];
        if (fact->weir == weir && fact->how == HOW_CHECK && !was_looked_at(book, fact)) {
            sim_violated("L6: at %" PRIu64 " us weir %d let a caller of l%d pass, and had not asked since its last decline",
                         fact->at_us - 1000 * SIM_S, weir, book->limit);
        }
    }
}

/* Of a limit that is this process's own: after as many declines as it bears, nobody. What happens at one time has no order. */
static void check_declines_here(const struct book *book, int weir)
{
    struct level level = level_of(book, 1, 0);
    size_t next = 0;
    for (size_t i = 0; i < book->admitted.count; i++) {
        const struct fact *fact = &book->admitted.all[i];
        if (fact->weir != weir || fact->how != HOW_CHECK) {
            continue;
        }
        for (; next < book->granted.count && book->granted.all[next].at_us < fact->at_us; next++) {
            if (book->granted.all[next].weir == weir && !level_add(&level, book->granted.all[next].at_us, 1)) {
                level.level = level.whole;
            }
        }
        level_drain(&level, fact->at_us);
        if (level.level + level.part > level.whole) {
            sim_violated("L6: at %" PRIu64 " us weir %d let a caller of l%d pass, whose declines fill it",
                         fact->at_us - 1000 * SIM_S, weir, book->limit);
        }
    }
}

/* ---- the end ---- */

static void check_book(struct book *book)
{
    bool local = sim_quota_is_local(book->limit);
    bool declines = sim.plans[1].limits[book->limit].declines;
    if (book->grade == NULL || book->grade->tokens == 0) {
        return; /* nobody of it came to an end */
    }
    sort(&book->admitted);
    sort(&book->granted);
    check_window(book);
    for (int weir = 0; weir < sim.weir_count; weir++) {
        check_process(book, weir);
        check_share(book, weir);
        check_tokens(book, weir);
        if (declines && local) {
            check_declines_here(book, weir);
        } else if (declines) {
            check_declines_stored(book, weir);
        }
    }
}

void bounds_end(void)
{
    for (size_t i = 0; i < bounds.book_count; i++) {
        check_book(&bounds.books[i]);
        free(bounds.books[i].admitted.all);
        free(bounds.books[i].granted.all);
    }
}
