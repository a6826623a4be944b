/*
 * What the files of this layer share: the tree upstream > processor > endpoint
 * > link, the circuits beside it, and who may change what. Each struct is
 * written by its own file alone, but for the counts that a link moves between
 * (endpoint_count_link) and what the balancing is told of an endpoint's calls.
 *
 *   processor.c  its life, its name, its retries            settings.c   what the configuration says of it
 *   endpoint.c   addresses, which is picked, their checks   check.c      active checks
 *   circuit.c    breakers, an operator's word               circuit_events.c   what is told of breakers
 *   call.c       one request                                call_find.c  a link for it
 *   queue.c      who waits for a place                      verdict.c    how it went
 *   link.c       one connection                             show.c       what is seen of all that
 */
#ifndef WEIR_UPSTREAM_INTERNAL_H
#define WEIR_UPSTREAM_INTERNAL_H

#include "weir/base/list.h"
#include "weir/base/pool.h"
#include "weir/io/resolve.h"
#include "weir/io/timer.h"
#include "weir/policy/balance.h"
#include "weir/policy/breaker.h"
#include "weir/policy/health.h"
#include "weir/policy/idle.h"
#include "weir/policy/retry.h"
#include "weir/upstream/upstream.h"

#define ENDPOINTS_MAX RESOLVE_ADDRS_MAX
/* Links that one call may ask for, its first included; each one that failed sent nothing. */
#define CALL_ATTEMPTS_MAX 3
/* Of one processor: twice the routes that a configuration may have. Further ones share the last. */
#define CIRCUITS_MAX 4096
/* A processor that asks for more quiet than this has this much. */
#define RETRY_AFTER_US_MAX UINT64_C(30000000)
/* An address that leaves and comes back within that time is as it was: what is learnt of it, and its breaker. */
#define REMEMBERED_US  UINT64_C(300000000)
#define REMEMBERED_MAX ENDPOINTS_MAX /* of one processor: those that left last */
/* One caller's quota is not the endpoint's: so many answers in a row are 429, each another caller's, all within that time. */
#define REFUSALS_TO_REST 3
#define REFUSALS_US      UINT64_C(1000000)
#define WORDS_BYTES 200

struct upstream {
    struct upstream_options options;
    struct list processors;      /* of struct processor, in the order they were made */
    struct pool links;
    uint64_t random;             /* state of the generator for balancing */
    bool closing;                /* goes with its last processor */
};

enum link_state {
    LINK_CONNECTING, /* its TCP connection or TLS handshake is under way */
    LINK_IDLE,       /* in its endpoint's idle list, watched */
    LINK_LEASED,     /* carries a call */
    LINK_CLOSED,     /* its stream is closing; gone at the end of a later turn [transient] */
    LINK_STATE_COUNT
};

/* A breaker and what is told of it: an endpoint's, or that of a route at a processor. */
struct circuit {
    struct processor *processor; /* borrowed: the owner */
    struct endpoint *endpoint;   /* borrowed: whose it is; NULL: a route's */
    struct list in_circuits;     /* the processor's; of a route's alone */
    char *route;                 /* owned; NULL: an endpoint's */
    uint32_t holders;            /* of a route's: generations that have it, and exchanges; without any it goes with its last call */
    struct breaker breaker;
    stats_id stat_state[BREAKER_STATE_COUNT];
};

struct check;

struct endpoint {
    struct processor *processor; /* borrowed: the owner */
    struct list in_endpoints;    /* the processor's retired ones */
    struct addr addr;
    char text[ADDR_TEXT_BYTES];
    struct list idle;            /* of struct link, the most recently used first */
    struct list unclaimed;       /* of struct link: still connecting, and the call that asked for it went */
    uint32_t links[LINK_STATE_COUNT];
    struct balance_load load;
    struct circuit circuit;      /* its own */
    struct idle_limit idle_limit;
    uint64_t resting_until_us;   /* a connect failed; 0: none did lately */
    uint64_t quiet_until_us;     /* it asked for that, by Retry-After; 0: never */
    struct {
        uint32_t caller;
        uint64_t at_us;
    } refusals[REFUSALS_TO_REST]; /* its last answers, while they were 429s, the latest first */
    int refusal_count;
    struct health health;        /* UNKNOWN while there are no checks */
    char health_words[WORDS_BYTES]; /* of the last check that failed */
    struct check *check;         /* check.c's own; NULL: there are none */
    bool retired;                /* no longer an address of the processor */
    uint64_t retired_us;         /* since then */
    stats_id stat_up, stat_checks_passed, stat_checks_failed;
};

/* How endpoints are checked. */
struct check_settings {
    enum conf_health type;
    char *path;                  /* owned; NULL: not HTTP */
    char *host;                  /* of HTTP: what the processor sees as Host; owned */
    uint16_t status_min, status_max;
    uint32_t timeout_ms;
    struct health_settings health;
};

/* Copies of what the newest generation says, since a processor outlives each of them. */
struct processor_settings {
    struct tls_client *tls;      /* held; NULL: plain */
    char *identity;              /* what a link must agree with to be reused; owned */
    char *server_name;           /* owned; NULL: none */
    char *host;                  /* owned */
    uint16_t port;
    bool fixed;                  /* endpoints are written, nothing is resolved */
    uint32_t connect_ms, link_idle_ms, link_age_ms;
    uint32_t connections, queue, concurrency;
    enum balance_way balance;
    struct breaker_settings breaker; /* but for its places */
    struct check_settings check;
};

struct processor {
    struct upstream *upstream;   /* borrowed: the owner */
    struct list in_processors;
    char *name;                  /* owned */
    uint32_t holders;            /* generations that use it */
    uint32_t epoch;              /* rises when settings.identity changes; links of older epochs are not reused */
    struct processor_settings settings;
    struct processor_settings next; /* of the last hold, until it is used; host NULL: none waits */
    struct resolver *resolver;   /* NULL with fixed endpoints */
    enum { NAME_PENDING, NAME_KNOWN, NAME_FAILED } name_state;
    char name_why[160];
    struct endpoint *endpoints[ENDPOINTS_MAX]; /* in use */
    int endpoint_count;
    struct list retired;         /* endpoints whose last links are still closing, or that may come back; the longest gone first */
    struct list circuits;        /* of routes, in the order they were made */
    int circuit_count;
    struct timer circuit_timer;  /* runs while a breaker does not rest */
    enum breaker_forced forced;  /* an operator's word; it is over at forced_until_us */
    uint64_t forced_until_us;
    char forced_by[WORDS_BYTES + 1], forced_why[WORDS_BYTES + 1];
    struct list queue;           /* of struct call, oldest first */
    uint32_t queue_count;
    uint64_t service_us;         /* moving average of how long calls hold their places; 0: none did */
    bool queue_doubted;          /* something opened or went down: who waits may wait in vain */
    uint32_t in_flight;          /* counted calls */
    uint32_t lingering;          /* calls that nobody waits for; no part of in_flight */
    uint32_t turn;               /* of round robin */
    struct retry_budget retries;
    struct deferred dispatch;    /* gives freed places to queued calls, at the end of the turn */
    struct deferred burial;      /* ends what nobody needs: endpoints, circuits, the processor itself */
    stats_id stat_handshakes[2]; /* the second: resumed ones */
    stats_id stat_handshakes_failed;
    stats_id stat_connects_ok, stat_connects_failed, stat_reused, stat_desync, stat_links[LINK_STATE_COUNT], stat_queued;
    stats_id stat_resolves_ok, stat_resolves_failed;
    stats_id stat_retries[2], stat_retries_refused; /* the second: of what was sent before */
};

struct link {
    struct endpoint *endpoint;   /* borrowed: it stays while it has links */
    struct list in_idle;         /* or in unclaimed */
    struct stream *stream;       /* NULL once closed */
    struct call *call;           /* borrowed: the call that waits for it or leases it; NULL: none */
    enum link_state state;
    uint32_t epoch;
    uint32_t calls_count;        /* carried so far */
    bool spoilt;                 /* something odd was seen: not for reuse */
    uint64_t opened_us;
    uint64_t idle_since_us;
    uint64_t connect_us;         /* what the connect took */
    struct timer timer;          /* connect timeout, then idle and age limits */
    struct deferred burial;
};

/* upstream.c */
uint64_t upstream_random(struct upstream *upstream);
/* A processor went: a closing upstream goes with the last. */
void upstream_maybe_free(struct upstream *upstream);

/* processor.c */
struct stats *processor_stats(const struct processor *processor);
struct log *processor_log(const struct processor *processor);
uint64_t processor_now_us(const struct processor *processor);
/* Ends the processor when nothing needs it any more. */
void processor_maybe_bury(struct processor *processor);

/* settings.c */
void settings_free(struct processor_settings *settings);
/* Copies what `conf` says; `tls` is held. False: no memory, and nothing was. */
WEIR_MUSTCHECK bool settings_read(struct processor_settings *settings, const struct conf_processor *conf,
                                  struct tls_client *tls);

/* endpoint.c */
/* These are its addresses now; `weights` one each, NULL: all alike. Keeps who stays, adds who is new, lets the others end. */
void endpoints_set(struct processor *processor, const struct addr *addrs, const uint32_t *weights, int count);
/* Settings changed: breakers and checks follow. */
void endpoints_configure(struct processor *processor);
/* Frees retired endpoints without links, when they may be forgotten. Call at the end of a turn. */
void endpoints_sweep(struct processor *processor);
/* A connect failed: it is passed over for a while. Or did not. */
void endpoint_unreached(struct endpoint *endpoint);
void endpoint_reached(struct endpoint *endpoint);
/* Whether it is passed over while another is usable. */
bool endpoint_rests(const struct endpoint *endpoint, uint64_t now_us);
/* Its checks took it out, or its breaker is open: no call goes there. */
bool endpoint_is_closed_to_all(const struct endpoint *endpoint);
/* Its breaker changed. */
void endpoint_on_circuit(struct endpoint *endpoint);
/* Whether a call would go there now: it is open to some, and if it rests, there is no other. */
bool endpoint_takes(const struct endpoint *endpoint, uint64_t now_us);
/* An answer's head, and who asked: what it says of the endpoint and its links. */
void endpoint_heed(struct endpoint *endpoint, const struct http_head *head, uint32_t caller);
enum picked {
    PICKED,
    PICKED_NO_PLACE, /* none has a place now, or none is known yet: one may come */
    PICKED_DOWN,     /* all failed their checks */
    PICKED_OPEN,     /* the breakers of those that did not, let nobody through, or not this call now */
};
/* The endpoint to try for `call`, in *endpoint. Its breaker was asked and let it through. */
enum picked endpoint_pick(struct call *call, uint64_t now_us, struct endpoint **endpoint);
/*
 * Whether waiting for a place is in vain: PICKED_DOWN, PICKED_OPEN, else PICKED.
 * One waits for endpoints whose breakers are closed; those that are probed have
 * room or have none. Asks no breaker.
 */
enum picked endpoints_closed(const struct processor *processor);
/* The least time until a breaker of an endpoint may let a call through. */
uint64_t endpoints_wait_us(const struct processor *processor, uint64_t now_us);

/* circuit.c */
/* `route` NULL: the endpoint's own. False: no memory. */
WEIR_MUSTCHECK bool circuit_init(struct circuit *circuit, struct processor *processor, struct endpoint *endpoint,
                                 const char *route);
void circuit_configure(struct circuit *circuit);
/* Nobody gets through now, of whatever rank. Asks nothing. */
bool circuit_is_open(const struct circuit *circuit);
void circuit_begin(struct circuit *circuit, struct breaker_flight *flight, uint32_t caller);
void circuit_end(struct circuit *circuit, struct breaker_flight *flight, enum breaker_outcome outcome);
/* A call that is known only now that it is over. */
void circuit_note(struct circuit *circuit, uint32_t caller, enum breaker_outcome outcome);
void circuit_checked(struct circuit *circuit, bool passed);
/* The processor's word, of an operator, is this one's too. */
void circuit_obey(struct circuit *circuit);
/* Frees those of routes that nobody holds, and no call is in. Call at the end of a turn. */
void circuits_sweep(struct processor *processor);
void circuits_free(struct processor *processor);
void circuits_on_timer(struct timer *timer);
/* Something may come by time alone: turns until all of them rest. */
void circuits_stay_awake(struct processor *processor);

/* circuit_events.c */
void circuits_find_series(struct processor *processor);
void circuit_find_series(struct circuit *circuit);
/* Its numbers are shown as 0 from now on. */
void circuit_retire(struct circuit *circuit);
/* Its breaker changed: tells it, and has done what follows from it. */
void circuit_changed(struct circuit *circuit);
/* `for_us` 0: back to themselves. */
void circuits_audit_word(const struct processor *processor, uint64_t for_us);

/* queue.c */
/* Some place came free, or addresses changed: look at the queue at the end of this turn. */
void queue_wake(struct processor *processor);
/* Something opened or went down: whoever waits in vain is refused, at the end of this turn. */
void queue_doubt(struct processor *processor);
/* False: *refused says why not. */
WEIR_MUSTCHECK bool queue_join(struct call *call, struct call_refused *refused);
void queue_leave(struct call *call);
void queue_refuse_all(struct processor *processor, enum call_refusal why, const char *words);
/* A call held its place for so long. */
void queue_note_service(struct processor *processor, uint64_t service_us);
void queue_on_dispatch(struct deferred *deferred);

/* show.c */
/* Sets the gauges. */
void processor_collect(struct processor *processor, struct stats *stats);

/* link.c */
/* A connect or a write that failed on this machine says nothing of the endpoint. */
bool link_trouble_is_ours(enum err err);
/* Starts connecting for `call`. ERR_OK: the link is in call->link. Else nothing was left behind. */
WEIR_MUSTCHECK enum err link_connect(struct endpoint *endpoint, struct call *call);
/* Leases an idle link to `call`, into call->link. False: there is none that it may use. */
bool link_lease_idle(struct endpoint *endpoint, struct call *call, uint64_t now_us);
/* Makes room for a new link: closes the one that has been idle for longest, if the endpoint is at its limit. */
void link_evict_idle(struct endpoint *endpoint);
/* The call of a connecting link goes: the link goes on for whoever comes next. */
void link_forget_call(struct link *link);
/* After a call: into the idle list if it is fit for reuse, else closed. */
void link_return(struct link *link);
/* Idempotent. */
void link_close(struct link *link, bool reset);
void link_close_idle(struct endpoint *endpoint);

/* verdict.c */
/* Its route's breaker let it through. */
void verdict_admitted(struct call *call);
/* It goes to that endpoint. */
void verdict_begin(struct call *call, struct endpoint *endpoint);
/* The connect failed. */
void verdict_unreached(struct call *call, enum err err);
/* The head of its answer is here, the rest is not. */
void verdict_park(struct call *call);
/* What came of it at the endpoint that it was sent to is known. Once; later ones are not heard, as of all that follow. */
void verdict_settle(struct call *call, enum breaker_outcome endpoint, enum breaker_outcome route);
/* It broke on its way: not by the route's doing, nor by the endpoint's where a kept link broke before it was used. */
void verdict_broken(struct call *call);
/* No answer in time. Where the endpoint is known to be sick, that explains it. */
void verdict_timed_out(struct call *call);
/* It says nothing of anybody: given up, or refused. */
void verdict_none(struct call *call);

/* call_find.c */
enum found { FOUND_LINK, FOUND_CONNECTING, FOUND_NO_PLACE, FOUND_FAILURE };
/* A first link; the route's breaker is asked first. On a failure *refused says it. */
enum found call_find_first(struct call *call, struct call_refused *refused);
/* Tries endpoints until one gives a link or starts connecting. On a failure *refused is of the last one that was tried. */
enum found call_find_next(struct call *call, struct call_refused *refused);
/* It has its link. */
void call_leased(struct call *call);
enum call_refusal call_refusal_of(enum err err);
/* Whether a waiting call can never have a link as things are; *refused says why. */
bool call_waits_in_vain(const struct call *call, struct call_refused *refused);

/* call.c */
/* The only place that changes a call's state. */
void call_enter(struct call *call, enum call_state state);
/* Events of the call's link. */
void call_on_link_open(struct call *call);
void call_on_link_failed(struct call *call, enum err err, const char *words);
void call_on_data(struct call *call, struct bytes data);
void call_on_link_end(struct call *call, enum err err);
/* A queued call's turn has come; true when it left the queue. */
bool call_unqueue(struct call *call);
/* Ends a waiting call. */
void call_refuse(struct call *call, const struct call_refused *refused);

#endif
