/*
 * An exchange's claim on the record of its idempotency key: who it is, how far
 * it is with the store, and the answer that is held until it is stored. claim.c
 * makes it, admit.c asks for the key, commit.c settles it, stored.c turns
 * answers into what is stored and back. What to do next is idem_step's to say: these
 * files only carry it out.
 *
 * A claim lives in its exchange's arena. While it may own the key it stands in
 * gate->claims, so that a duplicate in this process waits instead of asking.
 */
#ifndef WEIR_GATE_CLAIM_H
#define WEIR_GATE_CLAIM_H

#include "exchange.h"
#include "tenant.h"

#include "weir/policy/idem.h"
#include "weir/store/store.h"

/* How long a client waits for its answer to be stored before it gets it anyway: the truth is worth more. */
#define CLAIM_COMMIT_US UINT64_C(50000)
/* Of a record; renewed at a third, so that a payment that is answered within 5 s never renews. */
#define CLAIM_LEASE_MS 15000u
/* Of an answer that is held and stored; a larger one is recorded as done without its body, then streamed. */
#define CLAIM_ANSWER_BYTES_MAX (1024u * 1024u)
/* Duplicates that wait for the first with their key, and in the whole gate; one more is told key_in_progress at once. */
#define CLAIM_WAITERS_MAX 32u
#define GATE_WAITERS_MAX 4096u

struct claim {
    struct exchange *exchange;       /* borrowed: the owner */
    const struct conf_idempotency *conf; /* the route's */
    struct idem_driver driver;

    /* who */
    struct idem_name name;
    uint8_t owner[IDEM_OWNER_BYTES];
    uint8_t print[IDEM_PRINT_BYTES];
    uint8_t bind[IDEM_BIND_BYTES];   /* for the processor and upstream key that it is sent with */
    struct bytes key;                /* the client's, plain; in the arena */
    struct bytes upstream_key;       /* plain; in the arena */
    struct bytes sealed_key;         /* in the arena */
    uint64_t resend_ms;              /* 0: never twice */
    bool needs_trust;                /* what the store says must be true and last: single_shot, failover */

    /* the store */
    struct store_call *call;         /* of BEGIN or COMPLETE, while we wait for it; else NULL */
    bool replied;                    /* it is through: `status` and `result` say how */
    enum store_status status;
    struct idem_result result;       /* its bytes are copied into the arena */
    uint64_t bound_us;               /* when its record was first bound, by clock_now_us */
    uint64_t lease_due_us;           /* the lease runs at least until then, by clock_now_us */
    struct timer renewal;
    struct store_call *renewing;     /* NULL: none is under way */
    uint64_t renewed_us;             /* when it was asked */
    uint64_t rebound_us;             /* when the store was asked to bind it to another processor */

    /* others in this process */
    bool listed;                     /* in gate->claims */
    struct list waiters;             /* of struct claim: who waits for this one */
    uint32_t waiter_count;
    struct claim *awaited;           /* the one that we wait for; NULL: nobody */
    struct list in_waiters;
    uint64_t wait_due_us;            /* then key_in_progress; 0: has not waited yet */
    bool elsewhere;                  /* another weir is at work on the key, as the store says */

    /* the answer */
    struct buf answer;               /* held */
    bool committing;                 /* COMMIT was begun */
    bool streaming;                  /* too large to hold: it is recorded, and streams */
    bool late;                       /* what comes is for the record alone */
};

/* claim.c */

/* Whether a request with this head may have a record here: by route, method and key field. */
bool claim_concerns(const struct exchange *x);
enum found_key { KEY_THERE, KEY_NOT_THERE, KEY_UNFIT };
/* The request's key, with NUL; of an unfit one x->why says what is wrong. */
enum found_key claim_find_key(struct exchange *x, char key[PROFILE_KEY_BYTES_MAX + 1], size_t *len);
/* The claim of a keyed request, ready to ask. NULL: no memory. */
WEIR_MUSTCHECK struct claim *claim_make(struct exchange *x, struct bytes key);
/* An empty claim, in the exchange's arena. NULL: no memory. */
WEIR_MUSTCHECK struct claim *claim_new(struct exchange *x);
/* Its name: the record of `key` in `scope`. */
void claim_name_record(struct claim *claim, const struct scope *scope, struct bytes key);
/* All that it says of the processor that it is sent to: that of this route. False: no memory. */
WEIR_MUSTCHECK bool claim_move(struct claim *claim, const struct route_ready *route);
/* What the record is bound to: this processor, and the claim's upstream key there. */
void claim_bind(struct claim *claim, const struct keyring *ring, const char *processor);
/* For whom an upstream key is sealed: this record alone. */
struct bytes claim_about_key(const struct claim *claim);
/* Fills in what every op of this claim says of itself. */
void claim_op(const struct claim *claim, enum idem_op_kind kind, struct idem_op *op);
/* A body in one piece: borrowed, or in *copy, which the caller frees. Shorter than the body: no memory. */
struct bytes claim_flat(const struct buf *buf, char **copy);

/* admit.c */

/* What an exchange does about its key. */
enum admit {
    ADMIT_GO,    /* on to the processor */
    ADMIT_WAIT,  /* for the store, or for the first with this key */
    ADMIT_ENDED, /* answered: refused or replayed */
};
/* The next step of the way to the key; makes the claim at first. */
enum admit admit_step(struct exchange *x);
/* Whether the store is being asked for the key of this request. */
bool admit_asks(const struct exchange *x);
/* The claim no longer stands for its key: waiters go on, the next one asks. Idempotent. */
void admit_unlist(struct claim *claim);
/* Its exchange ends: nothing of it may be called any more. */
void admit_forget(struct claim *claim);
/* Before the first byte. False: the lease may be over, so nothing may be sent. */
bool admit_may_send(const struct claim *claim);
void admit_on_renewal(struct timer *timer);
/* A store_done: what was asked with claim->call is through. Records and steps. */
void admit_on_reply(void *owner, enum store_status status, const struct idem_result *result);

/* commit.c */

/* Takes what has come of the answer. False: it is too large to hold. */
bool commit_hold(struct claim *claim);
enum commit {
    COMMIT_WAIT,   /* for the store, at most CLAIM_COMMIT_US */
    COMMIT_ANSWER, /* give the client the processor's answer, x->outcome says what it proves */
    COMMIT_STORED, /* another's answer was stored first: give the client that one */
};
/* An answer whose class is known: settles the record. Called again while COMMIT_WAIT. */
enum commit commit_step(struct claim *claim);
/* It ends without an answer: frees the key, or leaves it unknown. Idempotent. */
void commit_end(struct claim *claim);
/* An answer that came after its client was told that the outcome is unknown. */
void commit_late(struct claim *claim);
/* Gives the client what was held, whole or as the first part of a stream. */
void commit_answer(struct claim *claim, bool end);

/* stored.c */

/* The sealed form of the held answer (`with_body`) in malloc'ed memory; at NULL: none could be made. */
struct bytes stored_seal(const struct claim *claim);
/* A stored answer, opened. Slices are in the arena. */
struct stored {
    uint16_t status;
    struct bytes lines; /* whole header lines */
    struct bytes body;
};
WEIR_MUSTCHECK bool stored_open(const struct claim *claim, struct bytes sealed, struct stored *stored);
/* Answers the exchange's client with it, as a replay. False: no memory, and nothing went out. */
WEIR_MUSTCHECK bool stored_reply(struct exchange *x, const struct stored *stored);

/* outcome.c: GET /.well-known/weir/outcome */
bool outcome_asked(const struct exchange *x);
enum admit outcome_step(struct exchange *x);

#endif
