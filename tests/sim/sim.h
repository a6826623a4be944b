/*
 * What the files of the simulator share: one world with one random number
 * generator, one clock, one queue of events, and everything that lives in it.
 *
 * The gate, upstream, policy, http, conf and base code is the real one, and so
 * is the frame of the store (src/store/store.c). Under the headers io/loop,
 * io/timer, io/stream, io/resolve, io/tls, base/clock, base/digest and base/log
 * other object files are linked, and another kind of store: those of this folder.
 * Their functions have no parameter for a world, so there is one, `sim`.
 *
 *   sim_world       random numbers, clock, events        sim_client     who asks, in every wrong way
 *   sim_weir        processes: begin, kill, stop, end    sim_request    what is asked
 *   sim_loop        turns, timers, names                 sim_payer      who pays, and asks again
 *   sim_stream      a connection as weir sees it         sim_caller     who asks without a key
 *   sim_wire        the same as its peer sees it         sim_processor  who answers
 *   sim_store       the way to the store that all share  sim_answer     what is answered
 *   sim_house       that store's table                   sim_bank       what is answered to payments
 *   sim_log         access lines and events              sim_conf       generations
 *   sim_oracle      what must hold, as it happens        sim_quota      the limits of generations
 *   sim_verdict     what must agree at the end           sim_table      phase x reason
 *   sim_ledger      what must hold of payments           sim_story      what happens in a run
 *   sim_bounds      what must hold of limits             sim_main       runs and counts
 *   sim_promise     ... and of what callers are told     sim_shadow     two runs that must be one
 *   sim_illness     what befalls processors              sim_sick       what must hold when they are sick
 *   sim_care        what a generation does about it
 *
 * There are two kinds of runs. A wire run has one weir and clients, links and
 * bytes that go wrong in every way. A money run has one to four weirs over one
 * store, payments that are asked for again and again, and everything else may
 * die. Both have limits, or none. (--shadow has a third, see sim_shadow.c.) A
 * sick run (--sick) is a money run of one weir whose store is its own, in which
 * processors fall ill and get well, and payments may go to another of them.
 */
#ifndef WEIR_TESTS_SIM_H
#define WEIR_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/arena.h"
#include "weir/base/buf.h"
#include "weir/base/list.h"
#include "weir/base/stats.h"
#include "weir/gate/gate.h"
#include "weir/http/message.h"
#include "weir/io/loop.h"
#include "weir/io/stream.h"
#include "weir/conf/conf.h"
#include "weir/policy/idem.h"
#include "weir/policy/limit.h"
#include "weir/policy/reason.h"
#include "weir/policy/shed.h"
#include "weir/store/store.h"
#include "weir/upstream/upstream.h"

#define SIM_MS UINT64_C(1000)
#define SIM_S UINT64_C(1000000)
#define SIM_PROCESSORS_MAX 3
#define SIM_PLACES_MAX 3   /* addresses of one processor */
#define SIM_ROUTES_MAX 4
#define SIM_LISTENERS_MAX 2
#define SIM_PLANS_MAX 8    /* generations of one run */
#define SIM_SEATS_MAX 4    /* weirs at one time */
#define SIM_WEIRS_MAX 14   /* weirs of one run, those that were killed included */
#define SIM_LIMITS_MAX 4
#define SIM_NEVER UINT64_MAX
/* Nobody asks for a payment this long after it was settled, or began. */
#define SIM_KEEP_RECEIPT_MS 800000
#define SIM_KEEP_UNKNOWN_MS 1500000
#define SIM_CLIENTS_MAX 20
#define SIM_BURST_MAX 6    /* requests that are sent without waiting for an answer */

/* ---- sim_world.c ---- */

struct sim_weir;

struct sim_event {
    struct sim_weir *weir;                  /* who sees it: not while it stands still, never once it is dead; NULL: the world */
    uint64_t due_us;
    uint64_t order;                         /* among those of one moment: random */
    size_t place;                           /* in the heap, from 1; 0: not in it */
    void (*fire)(struct sim_event *event);
};

/* A growing queue of bytes. */
struct sim_bytes {
    char *at;
    size_t from, to, size; /* what waits is [from, to) */
};

/* How rough a run is: shares in percent, unless said otherwise. */
struct sim_weather {
    unsigned refuse, silent, flap;  /* connects to processors */
    unsigned odd_answer, slow_answer;
    unsigned odd_request, leave, slow_reader, burst;
    unsigned write_breaks;          /* one write in so many breaks; 0: none */
    uint64_t latency_us;

    bool limits;                    /* there are some */
    bool rates_vary;                /* with each generation */
    unsigned overload;              /* of a loop's time: it has more to do than it can */

    /* money runs */
    unsigned kill_one_in, freeze_one_in;    /* of the moments in which a weir acts on the world; 0: never */
    unsigned restart_late;                  /* a killed weir comes back late, or not at all */
    unsigned store_slow, store_breaks;      /* letters to the store, in thousandths */
    unsigned store_late;                    /* of what was on its way when a connection broke: arrives after all */
    unsigned store_out;                     /* times in which it is away, full, or not to be trusted */
    bool store_forgets;                     /* it loses records: only where every processor de-duplicates */
    bool clock_steps;                       /* the store's */
    bool lasts;                             /* it stays so until processors have forgotten */
    unsigned sleepers;                      /* clients that come back as late */
    unsigned bad_bank;                      /* answers that prove nothing, and executions without an answer */
    unsigned unread;                        /* clients that lose their patience */
    unsigned declines;                      /* answers */
    unsigned ills;                          /* processors fall ill: milliseconds between two of them, about; 0: never */
    bool storm;                             /* all of them cut whoever asks, and breakers look away: what is sent again adds up */
    bool care;                              /* generations have breakers, checks and weights of their own */
};

/* What a generation does about endpoints that are sick. */
struct sim_care {
    bool written;            /* else all is as it is by default */
    bool weighted;
    unsigned weights[SIM_PLACES_MAX];
    unsigned window_ms, min_requests, open_at_pct, slow_ms, slow_at_pct, open_for_ms, open_max_ms;
    enum { CHECK_NONE, CHECK_TCP, CHECK_HTTP } check;
    unsigned every_ms, timeout_ms, down_after, up_after;
};

/* What tells the callers of a limit apart. */
enum sim_by {
    BY_TENANT,
    BY_MERCHANT, /* header:X-Merchant */
    BY_ADDRESS,
    BY_ROUTE,
    BY_TENANT_ROUTE,
    BY_ADDRESS_ROUTE,
    BY_MERCHANT_TENANT,
    SIM_BY_COUNT
};

/* What a limit's callers get, or those of its tier. */
struct sim_grade {
    unsigned tokens, per_ms; /* tokens 0: it limits `concurrent` */
    unsigned burst;
    unsigned concurrent;
};

struct sim_limit_plan {
    enum sim_by by;
    bool declines;           /* charge_on: decline */
    bool tiered;             /* the tenants that are known are of another tier */
    struct sim_grade grades[2]; /* [1]: of that tier */
    enum conf_limit_mode mode;
    enum conf_limit_store_down store_down;
};

/* Numbers of one generation, as the oracle and the actors need them. */
struct sim_plan {
    unsigned number;
    int listener_count, processor_count, route_count;
    struct sim_listener_plan {
        char name;
        uint16_t port;
        bool proxy;
        unsigned per_address, connections;
        unsigned header_ms, body_ms, idle_ms, write_ms;
    } listeners[SIM_LISTENERS_MAX];
    struct sim_processor_plan {
        bool bank;           /* executes one key once: of the profile "bank", else "till" */
        bool resolved;
        int place_count;
        unsigned connect_ms, response_ms, total_ms, late_ms, idle_ms, age_ms;
        unsigned connections, queue, concurrency;
        struct sim_care care;
    } processors[SIM_PROCESSORS_MAX];
    struct sim_route_plan {
        int processor;
        bool stream;
        bool keyed;      /* requests with a key have a record */
        bool required;   /* requests without one are refused */
        bool derived;    /* upstream keys */
        bool passes;     /* store_down: pass */
        bool sticky;     /* what was sent under a key may be sent again: the processor de-duplicates */
        int failover;    /* who takes what could not be sent there; -1: nobody */
        bool moves;      /* mode failover: a key may move, too */
        unsigned wait_ms;
        unsigned limits;              /* a bit for each */
        enum shed_class class;        /* SHED_CLASS_COUNT: it says none */
    } routes[SIM_ROUTES_MAX];
    struct sim_limit_plan limits[SIM_LIMITS_MAX];
    int limit_count;
    int accept_limit;                 /* of the first listener; -1: none */
    unsigned keep_ms, keep_receipt_ms, keep_unknown_ms, begin_timeout_ms, limit_timeout_ms;
    unsigned announce_ms, drain_ms;
    unsigned longest_ms; /* of any request's stay */
};

/* One process: its loop, and all that turns on it. */
struct sim_weir {
    int number;              /* in sim.weirs: who comes back after a kill is another */
    int seat;                /* its ports, of SIM_SEATS_MAX */
    struct loop *loop;
    struct gate *gate;
    struct upstream *upstream;
    struct stats *stats;
    struct store *store;
    unsigned plan_number;    /* of the generation in use; 0: none yet */
    uint64_t lines;          /* access lines */
    bool dead;               /* killed: what it still does is done to nobody */
    uint64_t killed_at_us;
    bool thaws;
    bool frozen;             /* stopped (SIGSTOP): the world goes on without it */
    uint64_t thaws_at_us;    /* and, behind that, when it last did */
    uint64_t draining_at_us, cut_at_us; /* 0: not yet */
    bool sudden;             /* a second TERM comes before the drain is over */
    bool over;               /* quiet or cut: it does not turn any more */
    bool overloaded;         /* until overload_us: then that may change */
    uint64_t overload_us;
    struct sim_word {
        enum breaker_forced said;
        uint64_t until_us;
    } words[SIM_PROCESSORS_MAX]; /* of an operator */
    uint64_t started_us, begun, again[SIM_PROCESSORS_MAX]; /* requests that reached it, and what it sent once more */
    struct sim_event reload, close, cut, thaw, kill;
};

struct sim_case;
struct sim_client;
struct sim_caller;
struct sim_payer;
struct sim_payment;
struct sim_server;
struct exchange;

struct sim_counts {
    uint64_t exchanges, reused, bursts, reloads, reloads_refused, drains, cuts, accepted, strays;
    uint64_t payments, executions, replays, takeovers, kills, freezes, unknowns, late_begins, losses, outages;
    uint64_t again, failovers, opened, words, ills, checks;
    uint64_t limited, leased, judged_here, promises, shed, would_limit;
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_us;
    uint64_t step;           /* events, timers and turns so far: where a failure is */
    uint64_t hash;           /* of everything that happened: equal for equal seeds */
    bool trace;
    bool busy;               /* a run is under way: an abort is its */
    bool money;              /* what kind of run */
    bool sick;               /* a money run, of one weir with a store of its own */
    bool pair;               /* two runs that must be one: sim_shadow.c */
    bool shadow;             /* the second of them */
    const char *program;     /* for the command that replays a run */
    uint64_t exchanges_per_run;
    char secret_path[64], tenants_path[64]; /* files that the configurations name */

    struct sim_event **heap;
    size_t heap_len, heap_size;
    uint64_t event_count;

    struct sim_weather weather;
    struct sim_plan plans[SIM_PLANS_MAX]; /* by number; 0 is none */
    unsigned plan_count;                  /* made so far */
    unsigned body_max, header_max;        /* of the run's listeners */
    uint32_t clients_max;
    size_t buffers_max;
    bool proxy[SIM_LISTENERS_MAX];        /* listeners that want a PROXY header */
    bool refuse_binds;                    /* the next acceptor_open fails */
    bool over;                            /* the gates are quiet: actors rest */
    bool healed;                          /* money runs: nothing fails any more */
    uint64_t troubles;                    /* that came so far: who wants to know whether one came in between */
    int seats;                            /* weirs at one time */

    struct sim_weir *weirs[SIM_WEIRS_MAX];
    int weir_count;
    struct sim_weir *weir;                /* whose code runs; NULL: the world's */
    struct blocks blocks;                 /* of the actors */
    struct list streams;                  /* connections that weir has */
    struct list streams_past;             /* and had */
    struct list acceptors;
    uint64_t stream_count;
    struct sim_case **cases;              /* by nonce - 1 */
    size_t case_count, case_size;
    uint64_t asked;                       /* requests that clients planned so far */
    struct sim_client *clients[SIM_CLIENTS_MAX];
    int client_count;
    struct sim_caller **callers;
    size_t caller_count, caller_size;
    struct sim_payer **payers;
    size_t payer_count, payer_size;
    struct sim_payment **payments;        /* by number - 1 */
    size_t payment_count, payment_size;
    struct sim_counts counts;             /* over all runs */
};
extern struct sim sim;

void sim_world_begin(uint64_t seed);
void sim_world_end(void);
uint64_t sim_random(void);
/* 0 to n - 1; 0 for n 0. */
uint64_t sim_below(uint64_t n);
/* low to high, both included. */
uint64_t sim_between(uint64_t low, uint64_t high);
bool sim_chance(unsigned pct);
bool sim_one_in(unsigned n);
/* Small numbers often, large ones at times. */
uint64_t sim_skewed(uint64_t high);

void sim_at(struct sim_event *event, uint64_t due_us);
void sim_after(struct sim_event *event, uint64_t delay_us);
void sim_cancel(struct sim_event *event);
void sim_cancel_all(void);
/* The next event; NULL: there is none. */
struct sim_event *sim_next(void);

void sim_bytes_add(struct sim_bytes *bytes, struct bytes more);
void sim_bytes_text(struct sim_bytes *bytes, const char *format, ...) WEIR_PRINTF(2, 3);
void sim_bytes_drop(struct sim_bytes *bytes, size_t len);
/* Keeps the first `len` bytes. */
void sim_bytes_cut(struct sim_bytes *bytes, size_t len);
void sim_bytes_free(struct sim_bytes *bytes);
static inline size_t sim_bytes_len(const struct sim_bytes *bytes)
{
    return bytes->to - bytes->from;
}
static inline struct bytes sim_bytes_all(const struct sim_bytes *bytes)
{
    return bytes_of(bytes->at + bytes->from, bytes->to - bytes->from);
}

/* `count` bytes from `offset` on of the endless text that belongs to a nonce; a request's begins with 'b', an answer's with 'a'. */
void sim_pattern(struct sim_bytes *bytes, char kind, uint64_t nonce, uint64_t offset, uint64_t count);
bool sim_pattern_is(struct bytes bytes, char kind, uint64_t nonce, uint64_t offset);

/* Goes into the hash, and with --trace onto stderr. */
void sim_note(const char *what, uint64_t id, uint64_t a, uint64_t b);
void sim_note_text(const char *what, struct bytes text);
/* A run failed: says what, where and how to replay it, and ends the program. */
WEIR_NORETURN void sim_violated(const char *format, ...) WEIR_PRINTF(1, 2);

/* ---- sim_loop.c ---- */

/* One turn of the world and of every weir in it; false: nothing is left to wait for. */
bool sim_turn(void);
size_t sim_timers_armed(const struct loop *loop);
/* What was deferred and what was closed goes, over a few turns; time must not have to pass for it. */
void sim_loop_settle(struct loop *loop);
struct sim_weir *sim_loop_weir(const struct loop *loop);
/* on_closed of `stream` comes at the end of this turn. */
void sim_loop_closing(struct loop *loop, struct list *in_closing);

/* ---- sim_weir.c: processes ---- */

/* Begins one on a seat. */
struct sim_weir *sim_weir_start(int seat);
/* The one on a seat that lives and is not at its end; NULL: there is none just now. */
struct sim_weir *sim_weir_at(int seat);
/* Takes the next generation into use. False: it could not be used. */
bool sim_weir_reload(struct sim_weir *weir);
/* SIGKILL: its connections end as the kernel ends them; what it does from now on has no effect. */
void sim_weir_kill(struct sim_weir *weir);
/* SIGSTOP and SIGCONT: the world goes on for so long before this returns. */
void sim_weir_freeze(struct sim_weir *weir, uint64_t for_us);
/* A weir is about to act on the world, or just has: the moments in which to die or to stand still matter. */
void sim_weir_falter(struct sim_weir *weir);
/* TERM. */
void sim_weir_drain(struct sim_weir *weir);
/* All of them are at their ends. */
bool sim_weirs_over(void);
/* Takes everything down; what was left over is a violation. */
void sim_weirs_end(void);

/* ---- sim_wire.c, sim_stream.c: a connection ---- */

/* What its peer, an actor, hears of it. */
struct sim_peer_ops {
    void (*on_open)(void *peer);
    void (*on_data)(void *peer, struct bytes data);
    void (*on_end)(void *peer, bool reset); /* weir ended its side, or reset the connection; at most once each */
};

enum sim_mark_kind {
    MARK_REQUEST_BEGUN,  /* the first byte of a request reached weir */
    MARK_REQUEST_WHOLE,
    MARK_ANSWER_BEGUN,
    MARK_ANSWER_WHOLE,
    MARK_SPOILT,         /* what makes the link unfit for reuse has reached weir */
};

/* Something to know once weir has been given so many bytes. */
struct sim_mark {
    uint64_t at;
    enum sim_mark_kind kind;
    struct sim_case *about; /* NULL for MARK_SPOILT */
};

struct stream {
    struct list in_streams;
    struct list in_closing;
    struct list in_backlog;
    uint64_t id;
    bool is_link;
    bool is_check;                /* a link that carries a check, and no request */
    struct loop *loop;
    struct sim_weir *weir;
    struct addr addr_peer;
    uint16_t port;                /* that a client dialled */

    /* weir's end */
    const struct stream_ops *ops; /* NULL until attached */
    void *owner;
    bool connecting, paused, ended, closing, gone, shut_asked, fin_out, was_high;
    bool keyed;                   /* a client's: answers to it may be held, and come whole */
    bool buried;                  /* closed by a weir that is dead */
    bool due_drain, due_broken;
    enum err broken;
    struct buf queue;
    uint64_t progress_us;
    struct deferred due;
    struct sim_event opened;      /* a connect comes to its end */
    enum err open_err;

    /* weir to the peer */
    struct sim_bytes out;         /* the kernel's */
    size_t room;                  /* bytes that the kernel holds at most */
    uint64_t out_given;           /* by weir so far, queued ones included */
    uint64_t out_taken;           /* by the kernel so far */
    bool reset_out, end_told;
    struct sim_event to_peer, writable;

    /* the peer to weir */
    struct sim_bytes in;
    uint64_t in_sent, in_delivered;
    uint64_t in_arrives_us;       /* when the first byte of `in` reaches weir's kernel */
    bool fin_in;                  /* the peer ended its side */
    bool reset_in;                /* its reset has reached weir's kernel */
    bool peer_gone;               /* the peer answers what comes with a reset */
    struct sim_event to_weir, reset_arrives;
    struct sim_mark *marks;
    size_t mark_count, mark_size;

    /* the peer */
    const struct sim_peer_ops *peer_ops;
    void *peer;
    size_t peer_takes;            /* bytes at a time; 0: it does not read */
    uint64_t peer_gap_us;
    int grain;                    /* 0 whole, 1 mixed, 2 tiny */
    struct sim_server *server;    /* owned; of a link */

    /* for the oracle: a link's life */
    struct sim_case *last_case;   /* whose head went out last */
    uint64_t taken_at_answer;     /* out_taken when last_case's answer was whole */
    uint64_t idle_since_us;
    unsigned heads;
    bool spoilt;
    uint64_t stray_end;           /* bytes that belong to no request end here, by in_sent's count */
};

/* A client's connect; `from` is its address. */
struct stream *sim_dial(uint16_t port, const struct addr *from, const struct sim_peer_ops *ops, void *peer);
void sim_send(struct stream *stream, struct bytes bytes);
/* When weir has been given everything up to `at`, by in_sent's count. */
void sim_mark(struct stream *stream, uint64_t at, enum sim_mark_kind kind, struct sim_case *about);
/* Forgets what was to come behind the bytes that were sent. */
void sim_marks_cut(struct stream *stream);
void sim_fin(struct stream *stream);   /* ends the peer's side, which still reads */
void sim_leave(struct stream *stream); /* closes it: what still comes is answered with a reset */
void sim_reset(struct stream *stream);
/* How the peer reads: `takes` bytes every `gap_us`; 0 stops it. */
void sim_read_rate(struct stream *stream, size_t takes, uint64_t gap_us);
void sim_streams_free(void);
/* weir is through with it; its peer may not be. */
void sim_stream_past(struct stream *stream);
/* Its weir was killed. */
void sim_stream_orphan(struct stream *stream);
/* Listening sockets of a weir that was killed. */
void sim_acceptors_orphan(const struct sim_weir *weir);

/* Between sim_stream.c and sim_wire.c: */
struct stream *sim_stream_make(struct loop *loop, bool is_link);
void sim_poke_in(struct stream *stream);
void sim_poke_out(struct stream *stream);
void sim_wire_init(struct stream *stream);
void sim_stream_break_queue(struct stream *stream);
uint64_t sim_latency(void);

/* Sends prepared bytes piece by piece, then says so. */
struct sim_sender {
    struct stream *stream;
    struct sim_bytes bytes;
    struct sim_event event;
    uint64_t gap_us;
    size_t piece;        /* at most so many bytes at a time; 0: all */
    bool running;
    void (*done)(struct sim_sender *sender);
};
void sim_sender_init(struct sim_sender *sender, struct stream *stream, void (*done)(struct sim_sender *sender));
void sim_sender_start(struct sim_sender *sender, uint64_t delay_us);
void sim_sender_stop(struct sim_sender *sender);

/* ---- sim_conf.c ---- */

/* Makes a generation for a weir, of a new plan when there is none of this number yet. */
struct generation *sim_generation_make(const struct sim_weir *weir, unsigned number);
/* The plan that a weir is on. */
const struct sim_plan *sim_plan_of(const struct sim_weir *weir);
uint16_t sim_port(const struct sim_plan *plan, int listener, int seat);
/* Files that configurations name. */
void sim_files_make(void);
void sim_files_remove(void);

/* ---- sim_processor.c ---- */

enum sim_mood { MOOD_OK, MOOD_REFUSES, MOOD_SILENT, MOOD_UNREACHABLE, MOOD_FAILS_AT_ONCE };
void sim_places_begin(void);
void sim_place_address(int processor, int place, struct addr *addr);
enum sim_mood sim_place_mood(const struct addr *addr);
/* Of a link: its processor, from 0, and which of its addresses. */
int sim_processor_of(const struct addr *addr);
int sim_place_of(const struct addr *addr);
/* A link is open: its processor's end. */
void sim_server_begin(struct stream *stream);
void sim_server_free(struct sim_server *server);

/* ---- sim_illness.c ---- */

enum sim_ill {
    ILL_NOT,
    ILL_STOPPED,   /* as by SIGSTOP: its kernel accepts, it does nothing until it goes on */
    ILL_REFUSES,   /* connections; those that there are go on */
    ILL_DROPS,     /* does not even refuse */
    ILL_RESTARTS,  /* its connections break, and for a while there are no new ones */
    ILL_CUTS,      /* ends each connection that asks something */
    ILL_FAILS,     /* 500 to all */
    ILL_GATEWAY,   /* 502, 503 or 504 to all */
    ILL_BUSY,      /* 429, with Retry-After */
    ILL_SLOW,
    ILL_CHECKED,   /* its checks fail, and nothing else */
    ILL_COUNT
};
void sim_ills_begin(void);
void sim_ills_heal(void);
enum sim_ill sim_ill_of(const struct addr *addr);
/* Its processor stands still until then; 0: it does not. */
uint64_t sim_stopped_until_us(const struct stream *link);

/* ---- sim_care.c ---- */

void sim_care_plan(struct sim_plan *plan);
void sim_care_write(struct sim_bytes *text, const struct sim_processor_plan *processor);

/* ---- sim_answer.c ---- */

enum sim_ending { ENDING_STAY, ENDING_FIN, ENDING_LEAVE, ENDING_RESET };

/* What a processor does with one request. */
struct sim_answer {
    bool early;             /* answers before the request is whole */
    bool executes;
    bool silent;
    uint64_t delay_us, gap_us;
    size_t piece;
    enum sim_ending ending;
    uint64_t stray_us;      /* then, unasked, more bytes or an end; 0: not */
};
/* What is said to a request: it counts on the link that its last attempt took. */
void sim_answer_note(struct sim_case *about, const struct stream *stream, uint16_t status, bool known);
/* Decides, and writes the answer with its marks (offsets count from the answer's first byte). */
void sim_answer_make(struct sim_answer *answer, struct sim_case *about, struct sim_bytes *out, struct stream *stream);

/* ---- sim_request.c ---- */

enum sim_kind {
    KIND_VALID,
    KIND_NO_ROUTE,
    KIND_BAD_FIELD,      /* 400 */
    KIND_TRACE,          /* 405 */
    KIND_CODING,         /* 501 */
    KIND_VERSION,        /* 505 */
    KIND_LONG_TARGET,    /* 414 */
    KIND_LARGE_HEAD,     /* 431 */
    KIND_EXPECTATION,    /* 417 */
    KIND_LARGE_LENGTH,   /* 413, known from the head */
    KIND_LARGE_CHUNKS,   /* 413, known from the body */
    KIND_BAD_CHUNK,      /* 400, in the body */
    KIND_CUT,            /* not sent whole; what follows is silence, a FIN or a reset */
    KIND_COUNT
};

/* All that is known of one request, from every side. */
struct sim_case {
    uint64_t nonce;
    enum sim_kind kind;
    const char *method;
    bool safe, keyed, chunked, expects, close;
    int route;
    int tenant, merchant, host;       /* who asks, each from 1; 0: it does not say */
    uint64_t body;                    /* whose pattern it has: the nonce, but for payments */
    uint64_t body_len;
    struct sim_payment *payment;      /* NULL: it is asked for once, and by itself */
    int variant;                      /* which of its payment's bodies it has */
    char upstream_key[64];            /* that it was sent with */
    bool took_over;                   /* the record of one that may have sent */
    size_t head_len;
    bool pipelined;                   /* sent before the answer to the one before it */
    bool lone;                        /* its client stays, reads, and behaves */
    bool half_closed;                 /* its client ended its side behind it */
    uint64_t sent_at_us;              /* the whole request was given to the network; 0: not yet */
    unsigned begun_generation;        /* in use when its first byte reached weir; 0: it has not */
    bool arrived;                     /* all of it reached weir */
    uint64_t arrived_at_us;

    /* the links */
    struct sim_weir *weir;            /* that its first byte reached; NULL: none */
    struct stream *link;              /* that took a byte of it; NULL: none did */
    uint64_t link_at_us;
    unsigned takes;                   /* links that took its head; of what follows, the last one's is told */
    bool link_kept;                   /* that link had carried another before */
    int link_processor;
    bool poisoned;                    /* strays were under way when it went out: its answer may be another's */
    unsigned executions;
    bool seen_whole;                  /* by the processor */
    bool large;                       /* its answer: too much to hold */
    uint16_t answer_status;           /* given by the processor; 0: none */
    bool answer_known;                /* a payment's: the processor knew its key, and said so */
    bool answer_begun, answer_whole;  /* reached weir */

    /* the access line */
    unsigned lines;
    char phase;
    enum reason reason;
    enum outcome outcome;
    char ended_by[12];
    unsigned status;
    char request_id[40];
    uint64_t line_at_us;
    unsigned line_generation;         /* of its route; 0: it had none */
    struct sim_promise {              /* of a request that limits refused */
        bool kept;                    /* it is one: the store said how long, to nobody but this caller */
        uint64_t due_us;              /* by when there is room for it */
        uint64_t troubles;            /* so many had come then */
        uint64_t who[SIM_LIMITS_MAX]; /* the callers that it was refused as; 0: not by this limit */
    } promise;
    const struct sim_case *promised;  /* asks again, when its promise is due; NULL: it is no such one */

    /* the client */
    struct stream *client;
    bool gone;                        /* it left, by FIN and close or by a reset, before the answer was whole */
    bool reset;                       /* its connection came to a reset that it did not ask for */
    struct sim_seen {
        bool begun, whole, own;       /* own: weir's own answer */
        bool replayed;                /* marked so */
        unsigned status;
        uint64_t nonce;               /* of the processor's answer; 0: none */
        uint64_t answer, len;         /* of a payment: its number and length */
        char request_id[40];
        enum reason reason;
        enum outcome outcome;
        enum retry retry;
        bool close;
        uint64_t retry_after_s;       /* 0: it says nothing */
        char limits[300];             /* RateLimit */
    } seen;
};

struct sim_case *sim_case_new(void);
struct sim_case *sim_case_of(uint64_t nonce); /* NULL: no such nonce */
/* "/r1/n17?x" to 17; 0: none. */
uint64_t sim_nonce_in(struct bytes text);
/* Of a request: its path says it, or for a payment, whose path is the same each time, its X-Request-Id. */
uint64_t sim_nonce_of(const struct http_head *head);
void sim_request_make(struct sim_case *about, struct sim_bytes *out, bool last);
/* The reason that a kind must be refused with; REASON_OK: it is fine. */
enum reason sim_kind_reason(enum sim_kind kind);

/* ---- sim_client.c ---- */

void sim_clients_begin(void);
/* What an answer's head says. */
void sim_seen_head(struct sim_case *about, const struct http_head *head);
/* What an answer's field says; anything else is a violation. */
enum outcome sim_outcome_of(const char *text);
enum retry sim_retry_of(const char *text);
void sim_clients_end(void);
/* Slow readers read on, so that a drain comes to its end. */
void sim_clients_hurry(void);
bool sim_clients_done(void);

/* ---- sim_story.c ---- */

/* One run, whole; its hash. */
uint64_t story_run(uint64_t seed);
/* The one on this seat was killed. */
void story_lost(int seat);
/* After every turn. */
void story_watch(void);

/* ---- sim_store.c, sim_house.c ---- */

void sim_store_begin(void);
void sim_store_end(void);
/* What is on its way back will not be read. */
void sim_store_rest(void);
void sim_house_begin(void);
void sim_house_end(void);
/* From now on it answers everything, soon. */
void sim_house_heal(void);
/* Tells the ledger what is left. */
void sim_house_rest(void);
/* No weir has a store that is not closed yet. */
bool sim_stores_closed(void);

/* ---- sim_payer.c: payments, and who asks for them ---- */

#define SIM_VARIANTS_MAX 2
#define SIM_TENANTS_MAX 5
#define SIM_KNOWN_TENANTS 2 /* the first of them stand in the file, as of tier gold */
#define SIM_TEST_TENANT 4   /* its credential is one of test traffic */
#define SIM_MERCHANTS_MAX 3

/* One key of one tenant, and all that is known of it. */
struct sim_payment {
    uint64_t number;
    int tenant;
    int merchant;                 /* from 1; 0: it says none */
    uint64_t key;
    const char *method;
    int route;
    uint64_t bodies[SIM_VARIANTS_MAX]; /* the second: somebody uses the key for something else */
    uint64_t body_lens[SIM_VARIANTS_MAX];
    uint64_t begun_us;
    uint64_t ask_until_us;        /* nobody asks for it any more */
    bool owed;                    /* somebody asks until there is an answer, and nothing fails any more */
    bool turned_away;             /* by limits, or for want of time, since then */

    struct sim_case **cases;      /* every request for it */
    size_t case_count, case_size;

    /* the ledger's */
    unsigned executions;
    struct sim_case *executed;    /* the request that it was executed for */
    bool final;                   /* somebody has its answer */
    unsigned status;
    uint64_t answer;              /* number of it */
    uint64_t answer_len;
    struct idem_name name;        /* of its record, */
    bool named;                   /* once something was sent */
};

void sim_payers_begin(void);
void sim_payers_end(void);
bool sim_payers_done(void);
/* Nothing fails any more: who has no answer yet gets the time to ask for it. */
void sim_payers_healed(void);
/* Somebody has the final answer: the others ask for some time yet. */
void sim_payment_final(struct sim_payment *payment);
/* The credential of a tenant, as a header line. */
void sim_write_credential(int tenant, struct sim_bytes *out);

/* ---- sim_caller.c: who asks without a key ---- */

void sim_callers_begin(void);
void sim_callers_end(void);
bool sim_callers_done(void);

/* ---- sim_bank.c ---- */

void sim_bank_begin(void);
void sim_bank_end(void);
/* A payment reached a processor, whole: what is done about it, and said. */
void sim_bank_take(struct sim_answer *answer, struct sim_case *about, const char *key, int processor,
                   struct sim_bytes *out, struct stream *stream);
/* What answer `number` is. False: there is none. */
struct sim_said {
    struct sim_payment *payment;
    struct sim_case *about;
    uint16_t status;
    uint64_t len;
    bool executed;        /* or declined */
};
bool sim_bank_said(uint64_t number, struct sim_said *said);
/* Its processor marked this answer to `about` as a replay of its own. */
bool sim_bank_replays(uint64_t number, const struct sim_case *about);
/* For how long its processors remember a key, where they do. */
unsigned sim_bank_retention_s(void);

/* ---- sim_ledger.c ---- */

void ledger_begin(void);
void ledger_end(void);
/* A processor executed it. */
void ledger_executed(struct sim_payment *payment, struct sim_case *about, int processor);
/* A link took the first bytes of it. */
void ledger_sent(struct sim_case *about);
/* A client read an answer to it, whole. */
void ledger_answered(struct sim_case *about);
/* The store's table: an operation was applied; a reply will never be read (op NULL: there was none); a record came to the end
 * of its time; records were lost. */
void ledger_applied(const struct idem_op *op, const struct idem_result *result);
/* A weir learned what became of its begin, in time. */
void ledger_begun(const struct idem_op *op, const struct idem_result *result);
void ledger_reply_lost(const struct idem_op *op, const struct idem_result *result);
void ledger_dropped(const struct idem_record *record);
void ledger_forgotten(void);
void ledger_left(const struct idem_name *name, enum idem_state state);
/* The line of a payment's request was written. */
void ledger_lasted(const struct sim_case *about);
/* A keyed answer is on its way to its client; the store had so much time. */
void ledger_committed(const struct sim_case *about, uint64_t commit_us);
/* The processor said that nothing was done, and weir has read it. */
bool ledger_was_refused(const struct sim_case *about);
/* The store lost records. */
bool ledger_has_forgotten(void);
/* Whether a request took over the record of one that may have sent. */
bool ledger_took_over(const char *request_id);
/* An `unknown` or a `resolved` line. */
void ledger_event(const char *event, const struct log_field *fields, int count);

/* ---- sim_quota.c: the limits of generations ---- */

void sim_quota_plan(struct sim_plan *plan);
void sim_quota_write(struct sim_bytes *text, const struct sim_plan *plan);
/* Its limits, in brackets: the names of those whose bits are set. */
void sim_quota_write_names(struct sim_bytes *text, unsigned limits);
/* Who a request is to a limit, on the route of a generation; 0: it lacks a part of that. */
uint64_t sim_quota_who(const struct sim_case *about, int limit, unsigned generation);
/* What it gets there. */
const struct sim_grade *sim_quota_grade(const struct sim_case *about, int limit);
/* Counted in each process alone. */
bool sim_quota_is_local(int limit);
/* "l2" to 2; -1: no such limit. */
int sim_quota_find(struct bytes name);
/* Of a request whose route is known. */
enum shed_class sim_quota_class(const struct sim_case *about, unsigned generation);

/* ---- sim_bounds.c ---- */

void bounds_begin(void);
void bounds_end(void);
/* The table: a bucket was charged, by a begin or else; buckets were given back what they owed, or a part of it. */
void bounds_charged(const struct limit_ref *ref, bool begin);
void bounds_forgiven(void);
/* When the table charged this caller last; 0: never. */
uint64_t bounds_charged_us(uint64_t who);
/* The way there: a weir hears how many there are; a question about a limit is asked; its answer is there. */
void bounds_fleet(const struct sim_weir *weir, uint32_t fleet);
void bounds_asked(const struct sim_weir *weir, const struct limit_ref *ref);
void bounds_granted(const struct sim_weir *weir, const struct limit_ref *ref, uint64_t left_us, uint64_t granted);
/* Its line is written; `x` is as it ends. */
void bounds_line(struct sim_case *about, const struct exchange *x);
/* A weir accepted a connection, or sent it away at once. */
void bounds_accepted(const struct stream *stream, bool in);
/* At the end of a turn. */
void bounds_turn(const struct sim_weir *weir);
/* A weir came to rest. */
void bounds_rest(const struct sim_weir *weir);

/* ---- sim_promise.c ---- */

/* The head of an answer was read; what it says of limits must be sane. */
void promise_read(struct sim_case *about);
/* The line of a request, whose limits were looked at. */
void promise_line(struct sim_case *about, const struct exchange *x);

/* ---- sim_shadow.c: --shadow ---- */

/* A run with a limit that refuses, and the same with its shadow; the hash of both. */
uint64_t shadow_run(uint64_t seed);
/* Parts of each of the two. */
void shadow_plan(struct sim_plan *plan);
void shadow_begin(void);
void shadow_line(const struct sim_case *about, const struct exchange *x);
bool shadow_done(void);
void shadow_end(void);

/* ---- sim_oracle.c ---- */

void oracle_begin(void);
/* weir wrote to a link; `sent` says whether a byte was taken, `given_before` how many bytes it had been given before. */
void oracle_write(struct stream *link, const struct bytes *parts, int count, bool sent, uint64_t given_before);
void oracle_mark(struct stream *stream, const struct sim_mark *mark);
void oracle_accepted(struct stream *stream);
void oracle_connect(struct stream *link);
/* An access line. */
void oracle_line(struct bytes line);
/* At the end of every turn. */
void oracle_turn(void);
/* Right behind gate_drain: who has nothing to say is sent away. */
void oracle_drained(const struct sim_weir *weir);
/* It was sent, and broke so that it may be sent once more: as what its processor executes once, or a safe method on a kept link. */
bool oracle_may_come_again(const struct sim_case *about);
/* Some generation that it may have run on has it executed once by its processor, under its key. */
bool oracle_is_executed_once(const struct sim_case *about);
/* weir gave up a client's connection while `about` had no answer. */
void oracle_ignored(const struct sim_case *about, const struct stream *stream);

/* ---- sim_sick.c ---- */

/* Whether weir makes this connection for a check. */
bool sick_is_check(const struct stream *link);
/* A call was let through: its link is being made, or one that was kept takes its first byte now. */
void sick_connects(const struct stream *link);
void sick_reuses(const struct stream *link);
/* It is sent, and its record is known; sent once more. */
void sick_sent(struct sim_case *about);
void sick_sent_again(const struct sim_case *about);
/* The table bound a record to another processor. */
void sick_rebound(const struct idem_op *op);
/* Its line. */
void sick_line(const struct sim_case *about, const struct exchange *x);
/* A breaker changed, or something else was told of processors. */
void sick_event(const char *event);
/* At the end of a turn. */
void sick_turn(const struct sim_weir *weir);
/* A weir came to rest. */
void sick_rest(const struct sim_weir *weir);

/* ---- sim_verdict.c ---- */

void sim_verdict_begin(void);
/* The line of a request that has no path: its head was never accepted. */
void sim_verdict_keep(const struct sim_case *line);
/* When the run is over, all sides must agree. */
void sim_verdict_end(void);

/* ---- sim_table.c: phase x reason ---- */

enum sim_sent { SENT_NO, SENT_YES, SENT_OVER, SENT_OTHER, SENT_STORED };
enum sim_reply {
    REPLY_PROCESSORS, /* the processor's answer, whole */
    REPLY_OWN,        /* weir's own answer; where the processor's had begun, the connection is cut */
    REPLY_STORED,     /* a processor's answer to another with its key */
    REPLY_NONE,       /* nobody to tell */
};
enum sim_fate {
    FATE_NO_LINK,     /* it never had one, or let go of it unused */
    FATE_KEPT,        /* may carry another request, when nothing about it was odd */
    FATE_CLOSED,
};

enum sim_needed { NEEDED_NO, NEEDED_WIRE, NEEDED_MONEY, NEEDED_BOTH };

struct table_row {
    char phase;
    enum reason reason;
    enum sim_sent sent;
    const char *ended_by[3];
    enum sim_reply reply;
    enum sim_fate fate;
    enum sim_needed needed;
};
/* NULL: a request may not end so. */
const struct table_row *row_find(char phase, enum reason reason, const char *ended_by);
void row_count(const struct table_row *row);
/* Prints the matrix; false: a needed row was never reached. */
bool rows_report(bool verbose);

#endif
