/*
 * The Redis store: one connection over weir's own stream, one script for each
 * operation. What the files own:
 *
 *   redis.c        the calls: waiting, asked, told; what is tried again and when
 *   connection.c   the stream: servers in turn, what is written in a turn, replies by position, debts
 *   greeting.c     what is said first on a new connection
 *   watch.c        whether the server is what money needs: INFO, the secret's digest, the canary
 *   credentials.c  the password file and the certificates, read off the loop
 *   command.c      commands as bytes            script.c   the scripts, and calls as commands
 *   reply.c        bytes as replies             result.c   replies as results
 *   sweep.c        owners that went silent      walk.c     records for operators
 *   limits.c       limits alone: asked once     fleet.c    how many weirs share the store
 */
#ifndef WEIR_STORE_REDIS_INTERNAL_H
#define WEIR_STORE_REDIS_INTERNAL_H

#include "store_internal.h"

#include "weir/base/addr.h"
#include "weir/io/resolve.h"
#include "weir/io/stream.h"
#include "weir/io/tls.h"
#include "weir/io/worker.h"

struct redis_store;
struct redisReader;

/* ---- commands as bytes ---- */

struct out {
    char *at; /* owned */
    size_t len, room;
    bool failed; /* no memory: what is in it is not whole */
};

void out_reset(struct out *out); /* empty; keeps at most OUT_KEPT_BYTES */
void out_close(struct out *out);
/* A command of so many arguments, its name included; they follow one by one. */
void out_command(struct out *out, int argument_count);
void out_bytes(struct out *out, struct bytes bytes);
void out_u64(struct out *out, uint64_t value);
#define out_text(out, text) out_bytes(out, bytes_from_text(text))

/* ---- replies ---- */

enum reply_kind { REPLY_TEXT, REPLY_STATUS, REPLY_ERROR, REPLY_INTEGER, REPLY_NIL, REPLY_ARRAY };

/* One reply, or an element of one: those of an array follow it, and theirs follow them. */
struct reply {
    enum reply_kind kind;
    int64_t integer;    /* of an array: how many elements */
    struct bytes text;  /* TEXT, STATUS, ERROR; valid during the callback */
    size_t offset;      /* of text, while the reply is read */
};

#define REPLY_ELEMENTS_MAX 4096
#define REPLY_BYTES_MAX (8u << 20) /* of one reply; the longest stored answer is well below */

struct replies {
    struct redisReader *reader; /* NULL: none */
    struct reply *elements;     /* REPLY_ELEMENTS_MAX */
    int count;
    char *text;                 /* bytes of the reply that is being read */
    size_t text_len, text_room;
};

WEIR_MUSTCHECK bool replies_open(struct replies *replies);
void replies_close(struct replies *replies);
/* False: no memory, or more than a reply may be. */
WEIR_MUSTCHECK bool replies_feed(struct replies *replies, struct bytes data);
/* The next whole reply, valid until the next call. NULL: not yet, or *why says what is wrong. */
const struct reply *replies_next(struct replies *replies, const char **why);

/* Element `index` of an array whose earlier elements are no arrays; NULL: there is none. */
static inline const struct reply *reply_at(const struct reply *reply, int64_t index)
{
    return reply->kind == REPLY_ARRAY && index < reply->integer ? reply + 1 + index : NULL;
}
static inline bool reply_is_text(const struct reply *reply)
{
    return reply != NULL && (reply->kind == REPLY_TEXT || reply->kind == REPLY_STATUS);
}

/* What an error of the server means for who asked. */
enum refusal {
    REFUSAL_NO_SCRIPT,  /* not done: ask with the whole script */
    REFUSAL_ELSEWHERE,  /* not done: this server, now, is of no use */
    REFUSAL_NO_ROOM,    /* not done: over maxmemory */
    REFUSAL_NO_WRITES,  /* not done: it takes no writes now */
    REFUSAL_OTHER,      /* perhaps done in part: a script ends where it fails */
};
enum refusal refusal_of(const struct reply *error);

/* ---- scripts ---- */

/* Those of the operations, but for the last, which is not asked of Redis (IDEM_REBIND); then: */
enum {
    SCRIPT_SWEEP = IDEM_REBIND,
    SCRIPT_LOOK,
    SCRIPT_ADMIT, /* begin, with limits */
    SCRIPT_LEASE, /* a limit alone */
    SCRIPT_FLEET,
    SCRIPT_COUNT
};

struct script {
    char *text; /* owned */
    char sha[41]; /* as the server names it; "": it does not say */
};

/*
 * The text of a script as the server gets it, malloc'ed; NULL: no memory. `now`
 * replaces now.lua (tests bring clocks of their own); NULL: the real one.
 */
char *script_text(int script, const char *now);
WEIR_MUSTCHECK bool scripts_open(struct script scripts[SCRIPT_COUNT]);
void scripts_close(struct script scripts[SCRIPT_COUNT]);
/* EVALSHA, or EVAL where `whole` or the server has not told the name; the keys and arguments follow. */
void script_command(struct out *out, const struct script *script, bool whole, int key_count, int argument_count);

/* "w:{5}:i:0123..." */
#define REDIS_KEY_BYTES 64
struct bytes key_record(const struct idem_name *name, char text[REDIS_KEY_BYTES]);
struct bytes key_answer(const struct idem_name *name, char text[REDIS_KEY_BYTES]);
struct bytes key_open(uint16_t bucket, char text[REDIS_KEY_BYTES]);
/* "w:{5}:l:NAME:0123..." */
#define REDIS_LIMIT_KEY_BYTES (REDIS_KEY_BYTES + STORE_LIMIT_NAME_BYTES_MAX)
struct bytes key_limit(const struct limit_ref *ref, char text[REDIS_LIMIT_KEY_BYTES]);
/* 40 hex digits. False: not a hash. */
WEIR_MUSTCHECK bool hash_parse(struct bytes text, uint8_t hash[IDEM_HASH_BYTES]);

#define ASKED_BYTES 8
/* A call as a command. `asked` tells this question from all others; `waited_ms` since it was asked first. */
void call_command(struct out *out, const struct script scripts[SCRIPT_COUNT], const struct idem_op *op, bool whole,
                  const uint8_t asked[ASKED_BYTES], uint64_t waited_ms);

/* A question about a limit alone, as a command. */
void limit_command(struct out *out, const struct script scripts[SCRIPT_COUNT], const struct limit_ref *ref, bool whole,
                   uint64_t want);

/* The letter of a record's state, "" for none. */
WEIR_MUSTCHECK bool state_read(struct bytes text, enum idem_state *state);
/* False: this is not how a script answers. */
WEIR_MUSTCHECK bool result_read(const struct reply *reply, struct idem_result *result);
/* The same of what limit_command asked. */
WEIR_MUSTCHECK bool lease_read(const struct reply *reply, uint64_t *granted, struct limit_told *told);

/* ---- the connection ---- */

/* What a reply is waited for. Told once: with the reply, or with NULL when the connection was lost before. */
struct ask;
typedef void (*ask_cb)(struct redis_store *redis, const struct ask *ask, const struct reply *reply);
struct ask {
    struct list in_asks;
    ask_cb cb;
    struct store_call *call; /* NULL: it is of the store's own, or nobody wants it any more */
    bool of_limit;           /* it is about a limit alone, and this is who asked: */
    struct store_limit_call *limit; /* NULL: nobody wants it any more */
    uint64_t number;         /* the asker's */
    uint64_t sent_us;
};

/*
 * Replies that may be outstanding: of calls; of questions about limits, those that nobody waits for any more included;
 * and of all. Neither takes the other's part.
 */
#define REDIS_ASKED_CALLS_MAX 1024
#define REDIS_ASKED_LIMITS_MAX 512
#define REDIS_ASKS_MAX (2048 + REDIS_ASKED_LIMITS_MAX)
/* Of all, kept for what the store asks for itself beside calls: the canary of a batch, the watch. */
#define REDIS_ASKS_RESERVED 16
/* A turn's commands are written in pieces of about so much, and of one piece about so much is about limits. */
#define REDIS_PIECE_BYTES (256u << 10)
#define REDIS_PIECE_LIMITS_BYTES (64u << 10)

#define REDIS_ADDRS_MAX 8 /* of one server's name */

struct redis_server {
    struct redis_store *redis;
    char *text, *host; /* owned */
    uint16_t port;
    bool tls;
    struct resolver *resolver;
    struct addr addrs[REDIS_ADDRS_MAX];
    int addr_count;
    struct tls_client *client; /* NULL: plain, or not read yet */
};

enum connection_state {
    CONNECTION_RESTING,  /* until its timer */
    CONNECTION_READING,  /* credentials, off the loop */
    CONNECTION_OPENING,  /* connect and handshake */
    CONNECTION_GREETING,
    CONNECTION_READY,
    CONNECTION_OVER,     /* the store is closing */
    CONNECTION_STATE_COUNT
};

struct connection {
    enum connection_state state; /* only connection.c's enter sets it */
    struct stream *stream;       /* NULL: none */
    int streams_open;            /* this one, and those that are still closing */
    uint64_t number;             /* of this stream: rises */
    struct list asks;            /* in the order of their replies */
    int asked_calls;             /* of these, for calls */
    int asked_limits;            /* and for limits */
    struct pool asks_pool;
    struct out out;              /* what this turn says */
    struct replies replies;
    struct deferred flush;
    struct timer timer;          /* RESTING: until the next try. OPENING, GREETING: their end */
    struct timer debt;           /* READY: when a reply is overdue */
    uint64_t heard_us, ready_us;
    uint64_t down_since_us;      /* 0: READY */
    int server, addr;            /* the one in use, or the next to be tried */
    int tries;                   /* since it was last of use */
    bool told_down;              /* the event was written */
    char why[256];               /* why it is not READY */
};

void connection_init(struct redis_store *redis);
/* False: no memory. */
WEIR_MUSTCHECK bool connection_open(struct redis_store *redis);
void connection_start(struct redis_store *redis);
/* For the last time; connection_is_gone tells when nothing of it is left. */
void connection_end(struct redis_store *redis);
bool connection_is_gone(const struct redis_store *redis);
void connection_free(struct redis_store *redis);

static inline bool connection_is_ready(const struct connection *connection)
{
    return connection->state == CONNECTION_READY;
}
/* Gives up on the stream: everything asked is told NULL. `elsewhere`: another server is tried next. */
WEIR_PRINTF(3, 4) void connection_lose(struct redis_store *redis, bool elsewhere, const char *format, ...);
/* The credentials are there, or `why` they are not. */
void connection_on_credentials(struct redis_store *redis, const char *why);
void connection_on_greeted(struct redis_store *redis);
/* At the end of this turn everything that waits is written. */
void connection_flush_soon(struct redis_store *redis);
/* A command was put into connection->out: its reply goes to cb. False: too many; the connection was lost. */
bool connection_ask(struct redis_store *redis, ask_cb cb, struct store_call *call, uint64_t number);
/* The same for a question about a limit. */
bool connection_ask_limit(struct redis_store *redis, ask_cb cb, struct store_limit_call *call);
/* Whether one more of these may be asked. */
bool connection_takes_limits(const struct connection *connection);
/* The reply to it, if one is owed, is nobody's. */
void connection_forget_limit(struct store_limit_call *call);
/* The reply to this call, if one is owed, is nobody's. */
void connection_forget(struct redis_store *redis, struct store_call *call);
/* Whether something lies there that the loop has not read. */
bool connection_has_input(const struct redis_store *redis);
/* Whether one more call may be asked. */
bool connection_takes_calls(const struct connection *connection);
/* Whether so many more replies may be waited for by the store's own work. */
bool connection_has_room(const struct redis_store *redis, int asks);

void greeting_say(struct redis_store *redis);
/* On a connection in use: the password has changed. */
void greeting_say_password(struct redis_store *redis);

/* ---- credentials ---- */

#define PASSWORD_BYTES_MAX 512

struct credentials {
    struct worker *worker;      /* NULL: nothing is to be read */
    struct work work;
    bool busy;                  /* the thread has what follows, down to the blank line */
    char *path;                 /* of the password; owned; NULL: none */
    bool want_tls;
    char read[PASSWORD_BYTES_MAX + 1];
    size_t read_len;
    struct tls_client **clients; /* one per server; owned */
    char why[256];               /* "": all is well */

    char *next_path; /* a reload's; taken when the thread is through */
    bool renew;      /* asked while busy */
    bool connecting; /* a connection waits for it */
    char password[PASSWORD_BYTES_MAX + 1];
    size_t password_len; /* 0: none */
    bool told_refused;   /* the event was written */
};

WEIR_MUSTCHECK bool credentials_open(struct redis_store *redis, const struct conf_store *conf, char *why, size_t size);
void credentials_close(struct redis_store *redis); /* of the loop; the work may still come back */
bool credentials_are_gone(const struct redis_store *redis);
void credentials_free(struct redis_store *redis);
/* For a connect: connection_on_credentials follows, at once where nothing is to be read. */
void credentials_want(struct redis_store *redis);
/* Whether the password has changed. */
void credentials_look(struct redis_store *redis);
void credentials_renew(struct redis_store *redis, const char *path);

/* ---- whether the server is what money needs ---- */

enum redis_trouble {
    TROUBLE_SECRET,      /* another weir wrote here with another secret */
    TROUBLE_INFO,        /* it does not say what it is */
    TROUBLE_KEYS,        /* the secret's digest cannot be left there, or not be read */
    TROUBLE_CANARY,      /* nor the canary */
    TROUBLE_POLICY,      /* it may evict records */
    TROUBLE_PERSISTENCE, /* a restart forgets */
    TROUBLE_LOSS,        /* acknowledged writes are gone */
    TROUBLE_COUNT
};

struct watch {
    struct timer timer;
    uint32_t troubles;          /* bits; only watch.c's set_trouble writes */
    char replid[64];            /* of the last INFO; "": none */
    uint64_t evicted;           /* as the last INFO said, of this run of the server */
    char run_id[64];
    uint64_t canary_said, canary_acked; /* numbers; 0: none */
    uint64_t canary_stored; /* the last that the server is known to hold */
    uint64_t canary_us;         /* when it was last said */
    char canary_key[48];
    char secret_hex[2 * STORE_SECRET_DIGEST_BYTES + 1];
    char refusal[256];          /* the last error of the server; "": what was asked last was done */
    stats_id stat_trouble[TROUBLE_COUNT];
};

void watch_open(struct redis_store *redis);
void watch_close(struct redis_store *redis);
/* The questions, into connection->out: with a greeting and every few seconds. */
void watch_ask(struct redis_store *redis, bool greeting);
void watch_start(struct redis_store *redis);
/* After the writes of a turn. `durable`: somebody waits for them to be safe. */
void watch_canary(struct redis_store *redis, bool durable);
/* A durable call of this canary's batch was acknowledged: then the canary must be there as well. */
void watch_expect(struct redis_store *redis, uint64_t canary);
void watch_note_refusal(struct redis_store *redis, const struct reply *error);
void watch_accept_loss(struct redis_store *redis);
/* The first trouble that counts, in words; NULL: none. */
const char *watch_trouble(const struct redis_store *redis, bool durable);

/* ---- sweep, walk ---- */

#define SWEEP_SLICE_BUCKETS 64u
#define SWEEP_SLICES (IDEM_BUCKETS / SWEEP_SLICE_BUCKETS)

struct sweep {
    struct timer timer;
    uint32_t slice;                  /* the next */
    uint32_t spin;                   /* which bucket of a slice comes first */
    int lapses;                      /* asked for in this slice */
    uint32_t offsets[IDEM_BUCKETS];  /* where the page begins */
};

void sweep_open(struct redis_store *redis);
void sweep_start(struct redis_store *redis);
void sweep_close(struct redis_store *redis);

#define WALK_SLICE_BUCKETS 64u

struct redis_walk {
    uint64_t number;     /* of this walk: replies to earlier ones are not ours */
    bool broken;         /* it cannot be whole any more */
    bool listed;         /* every name was found */
    uint32_t bucket;     /* OPEN: the first of the slice */
    uint32_t offsets[WALK_SLICE_BUCKETS]; /* OPEN: where the next page of each begins */
    char cursor[24];     /* ALL */
    struct list found;   /* names to look at */
    struct list looked;  /* names whose replies are on their way */
    int outstanding;     /* replies */
    struct deferred step;
};

void walk_open(struct redis_store *redis);
void walk_close(struct redis_store *redis);
void walk_on_lost(struct redis_store *redis);
bool redis_walk(struct store *store);
void redis_walk_stop(struct store *store);

/* ---- limits, fleet ---- */

struct limits {
    struct list waiting; /* to be written this turn or soon; empty without a connection */
};

void limits_open(struct redis_store *redis);
/* Whether something waits that may be asked. */
bool limits_want(const struct redis_store *redis);
/* Puts what waits into connection->out as far as it may. */
void limits_fill(struct redis_store *redis);
void limits_on_lost(struct redis_store *redis);
void redis_limit(struct store *store, struct store_limit_call *call);
void redis_limit_forget(struct store *store, struct store_limit_call *call);
bool redis_has_input(const struct store *store);

struct fleet {
    struct timer timer;
    uint64_t fewer_us; /* since when a smaller number than the one that counts is told; 0: it is not */
};

void fleet_open(struct redis_store *redis);
/* Now, and every second. */
void fleet_start(struct redis_store *redis);
void fleet_close(struct redis_store *redis);

/* ---- the store ---- */

struct redis_store {
    struct store store; /* first */
    struct redis_server *servers; /* owned, as all here */
    int server_count;
    char *username;               /* NULL: none */
    bool tls_verify;
    char *tls_ca, *tls_cert, *tls_key, *tls_server_name;
    uint32_t begin_timeout_ms;
    uint8_t instance[8];          /* random; of this store */

    struct list waiting;  /* calls to be written */
    struct list returned; /* calls of a connection that was lost, while it is being lost */
    struct connection connection;
    struct credentials credentials;
    struct script scripts[SCRIPT_COUNT];
    struct watch watch;
    struct sweep sweep;
    struct redis_walk walk;
    struct limits limits;
    struct fleet fleet;
    bool closing, gone;
};

static inline struct redis_store *redis_of(struct store *store)
{
    return container_of(store, struct redis_store, store);
}
static inline const struct redis_store *redis_of_const(const struct store *store)
{
    return (const struct redis_store *)(const void *)store;
}
static inline struct loop *loop_of(const struct redis_store *redis)
{
    return redis->store.options.loop;
}

/* Puts waiting calls into connection->out as far as it may. */
void redis_fill(struct redis_store *redis);
/* The connection was lost or found: calls go back, or come out. */
void redis_on_lost(struct redis_store *redis);
void redis_on_ready(struct redis_store *redis);
/* Something of the store ended: when all of it has, store_gone. */
void redis_maybe_gone(struct redis_store *redis);

#endif
