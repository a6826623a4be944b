/*
 * The exchange: one request and its answer. exchange.c is the story, its events
 * and its end stand beside it; forward.c, relay.c, reply.c and access.c are its
 * leaves. They share this struct.
 */
#ifndef WEIR_GATE_EXCHANGE_H
#define WEIR_GATE_EXCHANGE_H

#include "gate_internal.h"

#include "weir/base/digest.h"

enum exchange_phase {
#define PHASE(NAME, letter, prose) PHASE_##NAME,
#include "phase.def"
#undef PHASE
    PHASE_COUNT
};

const char *exchange_phase_name(enum exchange_phase phase);
char exchange_phase_letter(enum exchange_phase phase);

/* Who ended an exchange; the first letter of the access line's cause. */
enum ended_by { ENDED_NORMAL, ENDED_BY_CLIENT, ENDED_BY_PROCESSOR, ENDED_BY_WEIR, ENDED_BY_TIMEOUT };

/* Whether it is sent once more to the same processor. */
enum again {
    AGAIN_NO,
    AGAIN_RESTS,  /* its timer runs until it may */
    AGAIN_FRESH,  /* on its way, on a new link */
};

/* Whether it goes to its route's other processor, since nothing could be sent to the first. */
enum move {
    MOVE_NO,
    MOVE_BINDING, /* its record is being bound to the other */
    MOVE_DONE,    /* it went there: no third one is tried */
};

struct exchange {
    struct gate *gate;                /* borrowed */
    struct generation *generation;    /* held: the one it began with */
    struct client_stream *client;     /* borrowed; NULL: it left, and the exchange lives on for the answer */
    const struct conf_listener *listener; /* in the generation */
    struct addr peer;                 /* the client's address, kept for the log */
    bool peer_trusted;                /* what it says of earlier hops counts */
    const char *tls_version;          /* static; NULL: plain */
    struct list in_exchanges;
    struct deferred release;
    enum exchange_phase phase;        /* only exchange_enter() writes it */
    enum exchange_phase ended_in;     /* the phase that was left for DONE */
    bool stepping;                    /* inside exchange_step(): callbacks only record */
    uint64_t phase_at_us[PHASE_COUNT];/* when each phase was first entered; 0: never */

    /* Sticky: the kernel took, or libuv queued, a byte of this request for a processor, or this exchange took over a
     * record whose owner before may have sent. Read by exchange_sent(). */
    bool sent;

    /* the request */
    struct arena arena;
    struct http_message *message;     /* in the arena */
    const struct http_head *head;     /* NULL until it is accepted */
    struct buf body;                  /* what was read and not yet sent */
    struct route_ready *route;        /* in the generation; NULL: none yet */
    struct processor *processor;      /* whom it is sent to: the route's, or its record's. Held by the generation */
    const struct conf_processor *processor_conf;
    struct circuit *circuit;          /* the breaker of its route's calls there; NULL: no memory for one */
    struct circuit *circuit_held;     /* held for this exchange alone: of a processor that its route does not go to; NULL: none */
    struct claim *claim;              /* on the record of its key; in the arena; NULL: none */
    struct limited *limited;          /* the limits that apply; in the arena; NULL: none do */
    bool safe_method, keyed, streams_request;
    bool held;                        /* it is refused: its body is thrown away, and its answer waits for that, or longer */
    uint64_t held_until_us;
    bool asks_outcome;                /* it is a question to weir itself */
    bool known_only;                  /* it is shed, unless its key has a record: what is known costs little, and ends doubt */
    bool admitted;                    /* the way to its record is through: it has it, or needs none */
    bool head_sent;                   /* the request's head went to the link */
    size_t body_sent;                 /* of `body`, where that is kept for another attempt; else what was sent is gone from it */
    bool handed_over;                 /* a byte of this attempt was taken; `sent` may be older */
    char request_id[REQUEST_ID_BYTES + 1];

    /* what callbacks recorded, for the next step */
    bool request_whole;
    bool timed_out;
    bool link_ready;
    bool refused;
    bool failed;
    bool answer_whole;
    enum http_fault fault;
    const char *fault_text;
    enum reason refused_reason;
    enum ended_by refused_by;
    uint64_t refused_us;              /* for how long it had better wait before it comes again; 0: nothing is known */
    enum call_failure failure;
    const struct http_head *answer_head; /* in the arena */

    /* the answer */
    struct call call;
    uint8_t link_tries;               /* links that broke before a byte was taken */
    uint32_t attempts;                /* links asked for in calls that are over */
    enum again again;                 /* only again.c writes it */
    struct bytes avoid;               /* address of the endpoint that it was tried at; with NUL, in the arena */
    enum move move;                   /* to another processor; only failover.c writes it */
    bool answer_begun;                /* its head went to the client */
    bool answer_paused;               /* the processor is held back for the client's sake */
    enum idem_class answer_class;     /* what the processor's answer proves; valid once it is judged */
    bool answer_judged;               /* of this attempt */
    bool untold;                      /* its unknown outcome could not be left with the store */
    uint16_t status;                  /* what the client got, or would have */
    enum reason reason;
    enum outcome outcome;
    enum ended_by ended_by;
    char why[128];                    /* words for the log; "" */
    uint64_t bytes_in, bytes_out;     /* bodies as the client sees them */
    uint64_t now_us;                  /* when the running step began */
    struct timer timer;               /* one deadline, re-armed by phase */
    uint64_t total_due_us;
};

/* Begins with the first byte of a request. NULL: no memory. */
WEIR_MUSTCHECK struct exchange *exchange_begin(struct gate *gate, struct client_stream *client);

/* The one predicate: may a processor have seen a byte of this request? */
static inline bool exchange_sent(const struct exchange *x)
{
    return x->sent;
}

/* Events. Each records; exchange_step acts. */
void exchange_on_head(struct exchange *x);
void exchange_on_body(struct exchange *x, struct bytes body);
void exchange_on_request_end(struct exchange *x);
void exchange_on_fault(struct exchange *x);
void exchange_on_client_gone(struct exchange *x, const char *why);
void exchange_on_client_writable(struct exchange *x);
/* The process ends now. */
void exchange_on_cut(struct exchange *x);

void exchange_step(struct exchange *x);
/* Ends it: idempotent. What may be undone is decided by exchange_sent(x). Answers the client when nothing was yet. */
void exchange_end(struct exchange *x, enum reason reason, enum ended_by by, const char *why);

/*
 * The same for one that is refused with its route: a small body that is on its
 * way goes by first, so that the connection lives, and the answer waits for
 * `hold_us`. The exchange may be over then, or wait in BODY: step on.
 */
void exchange_refuse(struct exchange *x, enum reason reason, enum ended_by by, const char *why, uint64_t hold_us);
/* What is refused so and waits in BODY: waits on, or is over now. */
void exchange_hold(struct exchange *x);

/* Moves on to another phase; refuses a move that the story does not have. The only place that sets the phase. */
void exchange_enter(struct exchange *x, enum exchange_phase phase);

/* It goes on as one that has sent: an earlier attempt with its key may have been executed. */
void exchange_take_over(struct exchange *x);
/* To the processor of this name instead of its route's. False: the configuration has none that speaks the same profile. */
WEIR_MUSTCHECK bool exchange_choose_processor(struct exchange *x, const char *name);

/* exchange_events.c */
extern const struct call_ops exchange_call_ops;
void exchange_on_timer(struct timer *timer);

/* exchange_end.c */
/* The last of it: its call is closed, its memory goes at the end of the turn. */
void exchange_finish(struct exchange *x);
void exchange_on_release(struct deferred *deferred);

/* exchange_reason.c */
enum reason reason_of_fault(enum http_fault fault);
/* Want of room is weir's own doing; every other fault is the request's. */
enum ended_by ended_by_fault(enum http_fault fault);
enum reason reason_of_refusal(enum call_refusal refusal);
/* A breaker's word is weir's own. */
enum ended_by ended_by_refusal(enum call_refusal refusal);
enum reason reason_of_failure(enum call_failure failure);

/*
 * forward.c: sends the head, if it is still to go, and one run of the body.
 * ERR_FULL with nothing sent: the head does not fit with what weir adds.
 */
struct stream_wrote forward_some(struct exchange *x);
/* The client's address as the log and X-Forwarded-For's reader should see it: the last untrusted hop. */
struct bytes forward_client_address(const struct exchange *x, char text[ADDR_TEXT_BYTES]);

/* The dangerous moment. From here the answer is worth more than the memory bound. Idempotent. */
void forward_mark_sent(struct exchange *x);

/* unknown.c */
/* Tells an unknown outcome that no record tells of. */
void unknown_note(struct exchange *x);
void unknown_find_series(struct gate *gate);

/* exchange_link.c */
/* LINK. True: it has a link, and may be sent. False: it waits, or it is over. */
bool link_step(struct exchange *x);

/* exchange_events.c: no link; records. `wait_us`: for how long it had better not come again, 0: nothing is known. */
void exchange_note_refused(struct exchange *x, enum reason reason, enum ended_by by, const char *why, uint64_t wait_us);
void exchange_call_refused(struct exchange *x, const struct call_refused *refused);

/* failover.c */
enum failover {
    FAILOVER_NONE,  /* it may not go elsewhere */
    FAILOVER_GO,    /* it is another processor's now: ask that one for a link */
    FAILOVER_WAIT,  /* its record is being bound to that one */
    FAILOVER_ENDED, /* that could not be done: answered */
};
/* Nothing was sent, and the processor that was asked cannot take it. */
enum failover failover_begin(struct exchange *x);
/* MOVE_BINDING: what the store said. */
enum failover failover_step(struct exchange *x);

/* again.c */
/* Whether what was sent of the request is kept, so that it could be sent once more. */
bool again_keeps_body(const struct exchange *x);
/* It was sent, and the attempt broke without an answer. True: it goes to the same processor once more, from LINK on. */
bool again_begin(struct exchange *x);
/* AGAIN_RESTS: its time has come. */
void again_rested(struct exchange *x);
/* Its call is over and another one may follow. */
void again_drop_call(struct exchange *x);

/* relay.c */
/* Writes what has arrived of the answer to the client. */
void relay_flush(struct exchange *x, bool end);

/* Room for weir's own fields on any answer; RateLimit and RateLimit-Policy take most of it. */
#define REPLY_LINES_BYTES 4096

/* reply.c: weir's own answer. */
void reply_send(struct exchange *x);
/* weir's fields on any answer, whole lines in `text`. */
struct bytes reply_lines(const struct exchange *x, char *text, size_t size);

#endif
