/*
 * Idempotency, pure: what may become of the record of one payment key, and what
 * the owner of that record does next. Two machines, no clock, no memory of
 * their own:
 *
 *   idem_apply   the store's transition: a record, an operation and the time
 *                in; the record as it is then, and a verdict, out. The embedded
 *                store runs it inside its write transaction; src/store/redis/
 *                says the same in Lua; a differential test compares the two.
 *   idem_step    the driver of one exchange: what happened in, what to do out.
 *
 * A lease is for liveness, never for safety: when it is over, a retry may send
 * again to the same processor under the same upstream key, and only while that
 * processor still de-duplicates it. Ambiguity is sticky: only a definite answer
 * of the same processor under the same upstream key clears it. The owner keeps
 * it in its own memory too, since a store may lose a write (tests/model).
 *
 * Reference: docs/idempotency.md; tests/model/idem.pml.
 */
#ifndef WEIR_POLICY_IDEM_H
#define WEIR_POLICY_IDEM_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"
#include "weir/policy/limit.h"
#include "weir/policy/reason.h"

/* ---- names ---- */

#define IDEM_BUCKETS 1024u /* one tenant is one bucket; all can be listed */
#define IDEM_HASH_BYTES 20
#define IDEM_OWNER_BYTES 16
#define IDEM_PRINT_BYTES 17 /* a version byte and 16 of a keyed hash */
#define IDEM_BIND_BYTES 8
#define IDEM_REQUEST_ID_BYTES 32
#define IDEM_PROCESSOR_BYTES_MAX 63

/* Which record: keyed hashes of the scope and of the key in it; neither can be read back. */
struct idem_name {
    uint16_t bucket; /* below IDEM_BUCKETS */
    uint8_t hash[IDEM_HASH_BYTES];
};

/* RECORD as operators see and type it: "1a3x9f2c44d0e1b7", the bucket and the first 6 bytes of the
 * hash in hex. An x between them, since a run of digits as long as a card number would be masked in logs. */
#define IDEM_SHORT_BYTES 16
void idem_name_short(const struct idem_name *name, char text[IDEM_SHORT_BYTES + 1]);
/*
 * Reads a RECORD, or a longer one (up to the whole hash): the bucket, the first
 * bytes of the hash, and in *hash_len how many (at least 6). False: not one.
 */
WEIR_MUSTCHECK bool idem_name_parse(struct bytes text, struct idem_name *prefix, size_t *hash_len);

/* ---- the record ---- */

enum idem_state {
    IDEM_ABSENT,    /* there is no record: the key is free */
    IDEM_IN_FLIGHT, /* an owner holds it; bytes may be out */
    IDEM_UNKNOWN,   /* bytes may be out and nobody waits for the answer */
    IDEM_DONE,      /* a definite answer is known; never changes again */
    IDEM_STATE_COUNT
};
const char *idem_state_name(enum idem_state state); /* "none", "in_progress", "unknown", "done" */

/* Times are the store's clock in ms; 0: never. Bytes are borrowed from whoever filled the record in. */
struct idem_record {
    enum idem_state state;
    uint8_t owner[IDEM_OWNER_BYTES]; /* random, one per attempt of a client; guards are equality on it */
    uint8_t print[IDEM_PRINT_BYTES]; /* fingerprint of the request: another one under this key is refused */
    uint8_t bind[IDEM_BIND_BYTES];   /* keyed hash of processor and upstream key: what the record is bound to */
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    char request_id[IDEM_REQUEST_ID_BYTES + 1]; /* of the request that made it */
    struct bytes upstream_key;       /* sealed */
    uint64_t lease_ms;               /* in flight: the owner's until then. unknown: since then nobody's */
    uint64_t begun_ms;               /* first bound to this processor */
    uint64_t resend_ms;              /* duration after begun_ms in which the processor still de-duplicates; 0: it does not */
    uint32_t takeovers;
    bool ambiguous;                  /* an earlier attempt may have been executed */
    bool told;                       /* its `unknown` event was written, its `resolved` not yet */
    uint16_t status;                 /* done: of the answer; 0: an operator said so */
    uint64_t done_ms;
    struct bytes answer;             /* done: sealed; len 0: not kept, only the outcome is */
    uint64_t answer_expires_ms;
    uint64_t expires_ms;             /* the record as a whole */
};

/* When the record stands due in the index of open records (a lease end); 0: it is not in it. */
uint64_t idem_record_due_ms(const struct idem_record *record);

/* ---- the store's transition ---- */

enum idem_op_kind {
    IDEM_BEGIN,    /* claim the key, or learn why not. Idempotent under one owner */
    IDEM_RENEW,    /* still at work: the lease anew */
    IDEM_COMPLETE, /* the definite answer; from any owner, the first one wins */
    IDEM_MARK,     /* gave up after sending: unknown, anyone may take over */
    IDEM_ABANDON,  /* nothing was sent: the key is free again */
    IDEM_RESOLVE,  /* an operator looked at the processor */
    IDEM_LAPSE,    /* the sweep: an owner that went silent; an unknown whose time is over */
    IDEM_READ,     /* look, change nothing */
    IDEM_REBIND,   /* its owner, who sent nothing: to another processor, under its upstream key. As young and leased as a
                      new one. Idempotent under one owner. Not on Redis (STORE_UNTRUSTED) */
    IDEM_OP_COUNT
};

/* How an unknown came to its end; in the `resolved` event. */
enum idem_how { IDEM_HOW_REPLAY, IDEM_HOW_LATE, IDEM_HOW_OPERATOR, IDEM_HOW_EXPIRED, IDEM_HOW_COUNT };
const char *idem_how_name(enum idem_how how); /* "replay", "late", "operator", "expired" */

/* What a store is asked. Bytes are borrowed for the call that takes the op. */
struct idem_op {
    enum idem_op_kind kind;
    struct idem_name name;
    uint8_t owner[IDEM_OWNER_BYTES];  /* all but RESOLVE, LAPSE, READ */
    /* BEGIN, COMPLETE, MARK: who the record is, should the store have lost it. REBIND: what it is bound to from now on
     * (bind, processor, upstream_key, resend_ms), its age counting from now */
    uint8_t print[IDEM_PRINT_BYTES];
    uint8_t bind[IDEM_BIND_BYTES];
    struct bytes processor;           /* at most IDEM_PROCESSOR_BYTES_MAX */
    struct bytes upstream_key;        /* sealed */
    char request_id[IDEM_REQUEST_ID_BYTES + 1];
    uint64_t resend_ms;               /* duration; 0: never send twice */
    uint64_t keep_unknown_ms;         /* BEGIN, MARK, REBIND: duration */
    uint64_t lease_ms;                /* BEGIN, RENEW, REBIND: duration */
    /*
     * BEGIN: what a new record is subject to; at most LIMITS_MAX. Charged with it or not at all: where there is a
     * record already nothing is charged, and where a limit has no room the key stays free (IDEM_LIMITED). The store
     * sees to it; idem_apply knows nothing of limits.
     */
    const struct limit_ref *limits;
    int limit_count;
    /*
     * COMPLETE, MARK: duration since the record was first bound, as its owner knows it (BEGIN's result->age_ms and the
     * time since; the store adds the time in which it tries). A record that was lost comes back that old: else the
     * time in which it may be sent again would begin anew and outlast the processor's memory.
     */
    uint64_t age_ms;
    /* COMPLETE */
    uint16_t status;
    struct bytes answer;              /* sealed; len 0: too large to keep */
    uint64_t keep_ms, keep_receipt_ms; /* durations; RESOLVE uses keep_receipt_ms */
    enum idem_how how;                /* COMPLETE: should the record have been unknown */
    /* RESOLVE */
    bool executed;
    /* LAPSE */
    uint64_t margin_ms;               /* an unknown with less than this to live is over */
};

enum idem_verdict {
    /* BEGIN */
    IDEM_NEW,       /* yours; nothing was ever sent */
    IDEM_TAKEN_OVER,/* yours; an earlier attempt may have been executed: same processor, same upstream key, or nothing */
    IDEM_REPLAY,    /* done, with its answer */
    IDEM_RECEIPT,   /* done, the answer is not kept */
    IDEM_BUSY,      /* another owner's lease runs */
    IDEM_STUCK,     /* unknown, and sending again could pay twice */
    IDEM_LIMITED,   /* a limit has no room for a new record: there is none. `limits` says which */
    IDEM_MISMATCH,  /* the key belongs to another request. Nothing else is told */
    /* the others */
    IDEM_OK,
    IDEM_LOST,      /* not this owner's any more */
    IDEM_REFUSED,   /* ABANDON or REBIND of an ambiguous record, RESOLVE of one in flight */
    IDEM_ALREADY,   /* done before: status and answer are told */
    IDEM_REASSERTED,/* the store had lost it; it is there again */
    IDEM_CONFLICT,  /* COMPLETE, MARK: the record is another request's, or bound to another processor or upstream key:
                       perhaps executed twice. Nothing is changed. Alarm */
    IDEM_NONE,      /* there is no such record */
    IDEM_EXPIRED,   /* LAPSE: an unknown's time was over; it is gone */
    IDEM_VERDICT_COUNT
};
const char *idem_verdict_name(enum idem_verdict verdict); /* "NEW", "TAKEN_OVER", ... as the scripts say them */

/* What a store says. Bytes are borrowed from the store for the callback, or from the record. */
struct idem_result {
    enum idem_verdict verdict;
    bool told_now;      /* it became unknown here, for the first time: write `unknown` */
    bool resolved_now;  /* it had been told, and this ended it: write `resolved` */
    enum idem_state state;          /* after the op */
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
    char request_id[IDEM_REQUEST_ID_BYTES + 1]; /* of the request that made the record; "" when not known */
    struct bytes upstream_key;      /* TAKEN_OVER, RECEIPT: sealed */
    uint16_t status;                /* REPLAY, RECEIPT, ALREADY, READ */
    struct bytes answer;            /* REPLAY, ALREADY: sealed; len 0: not kept */
    uint64_t age_ms;                /* since it was first bound */
    uint64_t left_ms;               /* BUSY: of the lease. RECEIPT, READ: in which it may be sent again; 0: never */
    uint64_t done_ms;               /* the store's clock; REPLAY, RECEIPT, ALREADY, READ */
    uint64_t since_ms;              /* READ: the store's clock when it was first bound */
    uint64_t unknown_ms;            /* READ of an unknown: the store's clock since when it is nobody's */
    uint32_t takeovers;
    struct limit_told limits[LIMITS_MAX]; /* NEW, LIMITED: of the limits that were asked */
    int limit_count;                /* 0: the limits were not looked at (this owner's record was there already) */
};

enum idem_change { IDEM_KEEP, IDEM_WRITE, IDEM_DELETE };

/*
 * One operation on one record at `now_ms`. An absent or expired record comes
 * as state IDEM_ABSENT. WRITE: store *record anew (its bytes may point into
 * *op now). Never fails.
 */
enum idem_change idem_apply(struct idem_record *record, const struct idem_op *op, uint64_t now_ms,
                            struct idem_result *result);

/* ---- the driver ---- */

/* How far the owner of a key is. */
enum idem_stage {
    IDEM_STAGE_NEW,      /* asked nothing yet */
    IDEM_STAGE_ASKING,   /* begin is under way */
    IDEM_STAGE_HELD,     /* the record is ours; nothing was sent by us */
    IDEM_STAGE_SENT,     /* a byte was handed over, by us or by the owner before us */
    IDEM_STAGE_SETTLING, /* complete is under way and the client waits for it */
    IDEM_STAGE_OVER,     /* nothing is left to do but a late answer */
    IDEM_STAGE_COUNT
};

/* What an answer of the processor proves (docs/idempotency.md, the classes E+, E-, E? and B). */
enum idem_class {
    IDEM_CLASS_FINAL,        /* E+: the processor's last word: stored */
    IDEM_CLASS_NOT_EXECUTED, /* E-: refused before anything was done, and not remembered */
    IDEM_CLASS_UNPROVEN,     /* E?: proves nothing */
    IDEM_CLASS_BUSY,         /* B: the processor is at work on this key */
    IDEM_CLASS_COUNT
};

/* What the driver remembers; its owner's memory, since the store may forget. */
struct idem_driver {
    enum idem_stage stage;  /* only idem_step writes */
    bool ambiguous;         /* took over, or an attempt of ours ended without a definite answer; never cleared */
    bool unrecorded;        /* begin was never acknowledged and the route passes anyway */
    bool receipt;           /* sends again under a record that is done, for the answer that was not kept */
    bool single_shot;       /* the processor does not de-duplicate: what it may have had is never sent again */
    bool pass_when_down;    /* store_down: pass */
    bool may_move;          /* mode failover: the record may yet be bound to another processor, once, while nothing was sent */
    bool rebinding;         /* a rebind was asked for and is not acknowledged: until then no byte may leave */
};

enum idem_event_kind {
    IDEM_ON_REQUEST,      /* whole, keyed, ready to ask the store */
    IDEM_ON_RESULT,       /* begin's verdict */
    IDEM_ON_STORE_DOWN,   /* begin had no reply in time, or the store may not be trusted with this route */
    IDEM_ON_WAITED,       /* the first with this key in this process is through, or its time is over: ask (again) */
    IDEM_ON_FIRST_BYTE,   /* handed over */
    IDEM_ON_ELSEWHERE,    /* nothing was sent and this processor cannot take it: may the record move to another? Once */
    IDEM_ON_REBOUND,      /* the store's verdict on that; result NULL: not in time, or store down */
    IDEM_ON_AGAIN,        /* sent, and the attempt ended without a definite answer: may it go there once more? */
    IDEM_ON_ANSWER,       /* an answer whose class is known: whole, or too large to hold */
    IDEM_ON_NO_ANSWER,    /* refused, cancelled, timed out, broken off, cut: before or after the first byte */
    IDEM_ON_SETTLED,      /* complete was acknowledged; or its 50 ms are over */
    IDEM_ON_LATE_ANSWER,  /* after the client was told that the outcome is unknown */
    IDEM_EVENT_COUNT
};

struct idem_event {
    enum idem_event_kind kind;
    const struct idem_result *result; /* ON_RESULT; ON_REBOUND, ON_SETTLED, where NULL says: not in time, or store down */
    enum idem_class class;            /* ON_ANSWER, ON_LATE_ANSWER */
};

enum idem_act {
    IDEM_DO_NOTHING,   /* ON_ELSEWHERE, ON_AGAIN: it may not */
    IDEM_DO_BEGIN,     /* ask the store for the key */
    IDEM_DO_SEND,      /* go on to the processor that was chosen */
    IDEM_DO_SEND_SAME, /* go on, as one that has already sent: to result->processor under result->upstream_key alone;
                          ON_AGAIN: to where it was sent, under the same upstream key */
    IDEM_DO_REBIND,    /* ask the store to bind the record to the other processor, then send there */
    IDEM_DO_REPLAY,    /* answer with result->answer */
    IDEM_DO_REFUSE,    /* answer with `reason` */
    IDEM_DO_COMPLETE,  /* store the answer; answer when that is acknowledged, or after 50 ms */
    IDEM_DO_MARK,      /* store that it is unknown; do not wait */
    IDEM_DO_ABANDON,   /* free the key; do not wait */
    IDEM_DO_ANSWER,    /* give the client the processor's answer */
    IDEM_DO_ANSWER_STORED, /* give the client result->answer: another's was stored first */
    IDEM_ACT_COUNT
};

struct idem_next {
    enum idem_act act;
    enum reason reason;   /* DO_REFUSE */
    /* DO_MARK, DO_ABANDON, DO_ANSWER...: what is known of the money when this is done; for Weir-Outcome. */
    enum outcome outcome;
};

/* What to do now. Total: every event has an answer in every stage; one that cannot come there is a CHECK. */
struct idem_next idem_step(struct idem_driver *driver, const struct idem_event *event);

#endif
