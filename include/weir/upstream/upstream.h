/*
 * The processors' side: processors by name, their endpoints, and links (one
 * connection to an endpoint each) that carry calls. It knows deadlines,
 * descriptors and pools, but nothing of clients, routes or outcomes: an
 * exchange opens a call, sends through it, and hears of the answer.
 *
 * A link is CONNECTING, IDLE, LEASED or CLOSED; a call's link returns to the
 * pool only after a whole request went out and a whole answer came in, with
 * nothing odd about either. Idle links are watched: whatever arrives on one
 * closes it. Nothing is ever sent twice here.
 *
 * Each endpoint has a breaker, and each route at a processor another, its
 * circuit; calls feed both, and are refused by both before anything is sent.
 */
#ifndef WEIR_UPSTREAM_UPSTREAM_H
#define WEIR_UPSTREAM_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/arena.h"
#include "weir/base/log.h"
#include "weir/base/stats.h"
#include "weir/conf/conf.h"
#include "weir/http/head.h"
#include "weir/http/message.h"
#include "weir/io/loop.h"
#include "weir/io/stream.h"
#include "weir/io/tls.h"
#include "weir/policy/breaker.h"
#include "weir/policy/health.h"

/* An unsafe method takes a link that has been idle for at most this long, or a new one. */
#define LINK_YOUNG_US UINT64_C(1000000)
/* An endpoint that refused a connection is passed over for this long while another is usable. */
#define ENDPOINT_REST_US UINT64_C(1000000)
#define RESPONSE_HEAD_BYTES_MAX (64 * 1024)

struct upstream;
struct processor;
struct endpoint;
struct circuit;
struct link;

struct upstream_options {
    struct loop *loop;   /* borrowed, as all here, for the upstream's life */
    struct log *log;
    struct stats *stats;
};

WEIR_MUSTCHECK struct upstream *upstream_open(const struct upstream_options *options);
/* Every hold must have been released. The upstream goes once the last link is closed: loop_close() waits for that. */
void upstream_close(struct upstream *upstream);

/*
 * The processor of this name, found or made. Every generation that uses it
 * holds it once. What `conf` says waits for processor_use: a generation that
 * is refused after all must not have sent a payment elsewhere. `tls` is held.
 */
WEIR_MUSTCHECK struct processor *processor_hold(struct upstream *upstream, const struct conf_processor *conf,
                                                struct tls_client *tls);
/*
 * What the last hold was given comes into force: addresses, pool and balancing
 * change at once, links and counters stay. Cannot fail. `conf` is that hold's.
 */
void processor_use(struct processor *processor, const struct conf_processor *conf);
/* After the last release the processor closes its links and goes. */
void processor_release(struct processor *processor);
const char *processor_name(const struct processor *processor);
/* Calls that hold a place of its `concurrency` now. */
uint32_t processor_in_flight(const struct processor *processor);

/*
 * The breaker of this route's calls there, found or made, and held: by name, so
 * that it stays over reloads while a generation has such a route. NULL: no memory.
 */
WEIR_MUSTCHECK struct circuit *processor_circuit(struct processor *processor, const char *route);
/* Gives a hold back. After the last it goes, once its calls have ended. NULL: nothing. */
void circuit_release(struct circuit *circuit);

/*
 * An operator's word on all breakers of the processor, those that are made
 * later included: for `for_us` from now (0: AUTO). Tells the audit line. Texts are copied; `why` is cut at 200 bytes.
 */
void processor_force(struct processor *processor, enum breaker_forced forced, uint64_t for_us, const char *actor,
                     const char *why);

/* How long a call usually takes there, its wait for a place not counted; 0: nothing is known. */
uint64_t processor_service_us(const struct processor *processor);

/* Whether weir may send once more by itself, and pays for it. `sent`: a byte went out before. *wait_us: for so long not yet. */
WEIR_MUSTCHECK bool processor_take_retry(struct processor *processor, bool sent, uint32_t again, uint64_t *wait_us);

/* A breaker, for status pages. Times by clock_now_us. */
struct breaker_shown {
    enum breaker_state state;
    enum breaker_forced forced;
    uint64_t forced_until_us;     /* 0: nobody forced it */
    uint64_t since_us, until_us;  /* until: OPEN alone */
    struct breaker_change change; /* the last; cause NONE: there was none */
    uint32_t calls, failed, slow; /* in the window now */
};

/* Counts for status pages. Texts are borrowed for the turn. */
struct processor_state {
    const char *name;
    int endpoint_count, endpoints_resting, endpoints_down, endpoints_open; /* open: by its breaker; half open ones are not */
    int circuit_count, circuits_open;
    uint32_t in_flight, queued, lingering;
    uint32_t links_connecting, links_idle, links_leased;
    enum breaker_forced forced;
    uint64_t forced_until_us;
    const char *forced_by, *forced_why; /* NULL: nobody did */
    const char *trouble; /* "the name does not resolve"; NULL: none */
};
void processor_state(const struct processor *processor, struct processor_state *state);

struct endpoint_state {
    const char *address;           /* "10.0.0.1:443" */
    uint32_t weight, in_flight;
    uint32_t links_connecting, links_idle, links_leased;
    uint64_t latency_us;           /* moving average, peaks first; 0: never heard of */
    uint64_t idle_limit_us;        /* for how long a link may have been idle, as learnt */
    bool resting, ramping;         /* passed over while another is usable; takes up its share slowly */
    bool checked;                  /* there are active checks */
    enum health_state health;
    const char *health_words;      /* of the last check that failed: "status 503"; "": none did */
    struct breaker_shown breaker;
};
/* Of endpoint `index`, in the order of addresses. False: there are not so many. */
bool processor_endpoint_state(const struct processor *processor, int index, struct endpoint_state *state);

struct circuit_state {
    const char *route;
    struct breaker_shown breaker;
};
/* Of circuit `index`, in the order they were made. False: there are not so many. */
bool processor_circuit_state(const struct processor *processor, int index, struct circuit_state *state);
struct processor *upstream_next(struct upstream *upstream, struct processor *after); /* NULL starts and ends */

/* Why a call has no link. Nothing was sent in any of these. */
enum call_refusal {
    CALL_QUEUE_FULL,     /* or those before it need longer than it has */
    CALL_DNS_FAILED,     /* no address is known */
    CALL_CONNECT_FAILED,
    CALL_CONNECT_TIMEOUT,
    CALL_TLS_FAILED,
    CALL_DOWN,           /* every endpoint failed its health checks; a resting endpoint is tried for want of another */
    CALL_BREAKER_OPEN,   /* the route's circuit is open, or the breaker of every endpoint that is not down */
};

/* A refusal, as call_open and on_refused tell it. */
struct call_refused {
    enum call_refusal why;
    const char *words;       /* borrowed for the turn */
    uint64_t wait_us;        /* for so long it had better not come again; 0: nothing is known */
};

/* Why an answer will not come, or not whole. Something was sent. */
enum call_failure {
    CALL_CLOSED,         /* closed or reset before the first byte of an answer */
    CALL_INCOMPLETE,     /* closed in the middle of an answer */
    CALL_MALFORMED,      /* not HTTP as weir accepts it */
};

/* Callbacks record; on_step comes last, once per event of the link (its queue having room again is one), and may do
 * anything but free. */
struct call_ops {
    void (*on_ready)(void *owner);                                    /* a link is leased; send now */
    void (*on_refused)(void *owner, const struct call_refused *refused);
    void (*on_head)(void *owner, const struct http_head *head);       /* in the call's arena */
    void (*on_body)(void *owner, struct bytes body);                  /* borrowed until on_step returned */
    void (*on_end)(void *owner);                                      /* the answer is whole */
    void (*on_failed)(void *owner, enum call_failure why, const char *words);
    void (*on_step)(void *owner);
};

enum call_state {
    CALL_IDLE,      /* not opened, or closed */
    CALL_QUEUED,    /* waits for a link to come free */
    CALL_CONNECTING,/* its link is being made */
    CALL_READY,     /* holds a link */
    CALL_ENDED,     /* answered or failed; close it */
};

/* One request on its way through a link. Embedded in the exchange; only upstream writes it. */
struct call {
    enum call_state state;
    const struct call_ops *ops;
    void *owner;
    struct processor *processor;   /* borrowed; the generation holds it */
    struct circuit *circuit;       /* borrowed; NULL: none */
    struct breaker_flight at_endpoint, at_route; /* in the breakers of both, while it is under way */
    enum breaker_rank rank;
    bool admitted;                 /* the circuit was asked, and let it through */
    bool flies_at_endpoint, flies_at_route; /* begun there and not ended */
    bool parked;                   /* the head of its answer is here and the breakers no longer wait: the rest may still break */
    uint32_t caller;
    uint64_t due_us;
    const char *avoid;             /* borrowed; NULL: none */
    struct link *link;             /* leased or connecting */
    struct endpoint *endpoint;     /* where the link goes; for the log */
    struct arena *arena;           /* the exchange's */
    struct http_message *message;  /* the answer being read */
    struct list in_queue;
    bool safe;                     /* the method moves nothing */
    bool head_request;
    bool fresh;                    /* takes no link that was kept */
    bool handed_over;              /* a byte of it was taken */
    bool broke;                    /* a write told that its link is broken */
    bool request_done;             /* call_request_done was called */
    bool answer_done;
    bool reused;                   /* the link had carried a call before */
    bool lingers;                  /* nobody waits for the answer any more: it holds no place among the calls in flight */
    bool timed_out;                /* its owner gave up on the answer */
    uint16_t status;               /* of the answer; 0: none yet */
    bool counted;                  /* counts in the processor's and endpoint's calls in flight */
    uint8_t attempts;              /* links asked for so far */
    uint64_t opened_us, placed_us, leased_us, first_byte_us; /* 0: not yet; placed: counted in */
    uint64_t kept_us;              /* for how long its link had been idle; 0: it is new */
};

enum call_start { CALL_START_READY, CALL_START_WAIT, CALL_START_REFUSED };

/* What is asked for. All is copied; what is borrowed is so until call_close. */
struct call_order {
    struct processor *processor;
    struct circuit *circuit;     /* of that processor; held by the owner; NULL: none */
    struct arena *arena;
    bool safe;                   /* the method moves nothing */
    bool head_request;
    bool fresh;                  /* on a new link: one that was kept just broke under it */
    enum breaker_rank rank;      /* what it may be the first probe for */
    uint32_t caller;             /* a hash of who calls: one caller's failures open nothing for others */
    uint64_t due_us;             /* by clock_now_us: after that it need not be sent any more */
    const char *avoid;           /* address that it was tried at before, passed over while another is usable; NULL: none */
    const struct call_ops *ops;
    void *owner;
};

/*
 * Asks for a link. READY: send at once, on_ready is not called. WAIT: on_ready
 * or on_refused will be. REFUSED: *refused says it; not called. Endpoints that
 * failed to connect are passed over while others are usable.
 */
WEIR_MUSTCHECK enum call_start call_open(struct call *call, const struct call_order *order, struct call_refused *refused);
/* Sends parts of the request; the first call that took a byte is the dangerous moment. */
WEIR_MUSTCHECK struct stream_wrote call_send(struct call *call, const struct bytes *parts, int count);
/* The whole request was given. */
void call_request_done(struct call *call);
size_t call_queued_bytes(const struct call *call);
/* Holds the processor back, and lets it go on. */
void call_pause(struct call *call);
void call_resume(struct call *call);
/*
 * Its client no longer waits, its owner listens on: the call gives up its place
 * in `concurrency`, and its link is never used again. False: no answer can come,
 * or a quarter of the processor's links lingers already; close it then.
 */
WEIR_MUSTCHECK bool call_linger(struct call *call);
/*
 * Ends the call in whatever state: leaves the queue, gives the link back when
 * both messages were whole, else closes it (with a reset when something was
 * sent). `timed_out`: the owner waited for as long as it may, which counts
 * against endpoint and route; every other way it went the call knows itself. Idempotent.
 */
void call_close(struct call *call, bool timed_out);
/* Address of the endpoint, "" when none was chosen. */
const char *call_endpoint_text(const struct call *call);
/* Time from call_open to the link, and the part of it that was spent connecting; 0 for a pooled link. */
uint64_t call_connect_us(const struct call *call);

#endif
