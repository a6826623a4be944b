/*
 * What the tests of the Redis store share: a store on a loop that is turned
 * until something holds, askers that write down what they were told, a server
 * that says what a test wants (fake_*), and a real redis-server (server_*).
 */
#ifndef WEIR_REDIS_SUPPORT_H
#define WEIR_REDIS_SUPPORT_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/io_support.h"

#include "redis/redis_internal.h"

#define TEXT_BYTES 4096

/* ---- a store and who asks it ---- */

struct bench {
    struct loop *loop;
    struct stats *stats;
    struct store *store;
    struct conf_store conf;
    struct conf_server servers[3];
    char texts[3][64];
    struct store_options options;
    int heard_told, heard_resolved;
    enum idem_op_kind heard_op;
    char heard_request_id[IDEM_REQUEST_ID_BYTES + 1];
    int closed;
};

static inline void bench_heard(void *owner, const struct idem_op *op, const struct idem_result *result)
{
    struct bench *bench = owner;
    bench->heard_told += result->told_now;
    bench->heard_resolved += result->resolved_now;
    bench->heard_op = op->kind;
    (void)snprintf(bench->heard_request_id, sizeof bench->heard_request_id, "%s", result->request_id);
}

static inline void bench_init(struct bench *bench)
{
    memset(bench, 0, sizeof *bench);
    bench->loop = loop_open(0);
    assert_non_null(bench->loop);
    bench->stats = stats_open();
    assert_non_null(bench->stats);
    bench->options = (struct store_options){
        .loop = bench->loop, .stats = bench->stats, .heard = bench_heard, .owner = bench, .secret_digest = {1, 2, 3}};
    bench->conf = (struct conf_store){
        .type = CONF_STORE_REDIS, .begin_timeout_ms = 1000, .servers = bench->servers, .tls_verify = true};
}

static inline void bench_server(struct bench *bench, uint16_t port, bool tls)
{
    int i = bench->conf.server_count++;
    (void)snprintf(bench->texts[i], sizeof bench->texts[i], "redis%s://127.0.0.1:%u", tls ? "s" : "", port);
    bench->servers[i] = (struct conf_server){bench->texts[i], tls, "127.0.0.1", port};
}

static inline void bench_start(struct bench *bench)
{
    char why[256] = "";
    bench->store = store_open(&bench->conf, &bench->options, why, sizeof why);
    if (bench->store == NULL) {
        fail_msg("%s", why);
    }
}

static inline bool bench_is_up(const struct bench *bench)
{
    struct store_state state;
    store_state(bench->store, &state);
    return state.up;
}

static inline const char *bench_trouble(const struct bench *bench)
{
    struct store_state state;
    store_state(bench->store, &state);
    return state.trouble == NULL ? "" : state.trouble;
}

static inline const char *bench_not_durable(const struct bench *bench)
{
    struct store_state state;
    store_state(bench->store, &state);
    assert_int_equal(state.durable, state.not_durable == NULL);
    return state.not_durable == NULL ? "" : state.not_durable;
}

static inline void bench_on_closed(void *owner)
{
    ((struct bench *)owner)->closed++;
}

static inline void bench_stop(struct bench *bench, uint32_t wait_ms)
{
    store_close(bench->store, wait_ms, bench_on_closed, bench);
    UNTIL(bench->loop, bench->closed == 1);
    bench->store = NULL;
}

/* The store is closed already. */
static inline void bench_close_rest(struct bench *bench)
{
    assert_true(loop_close(bench->loop));
    stats_close(bench->stats);
}

static inline void bench_close(struct bench *bench)
{
    if (bench->store != NULL) {
        bench_stop(bench, 0);
    }
    bench_close_rest(bench);
}

/* The sum of a printed family's lines that hold `part`. */
static inline uint64_t bench_metric(struct bench *bench, const char *part)
{
    struct buf out;
    char *text;
    uint64_t sum = 0;
    buf_init(&out, loop_blocks(bench->loop), 1 << 22);
    assert_int_equal(stats_print(bench->stats, &out), ERR_OK);
    text = calloc(1, out.len + 1);
    assert_non_null(text);
    for (size_t at = 0; out.len > 0;) {
        struct bytes front = buf_front(&out);
        memcpy(text + at, front.at, front.len);
        at += front.len;
        buf_consume(&out, front.len);
    }
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (line[0] != '#' && strstr(line, part) != NULL) {
            sum += strtoull(strrchr(line, ' ') + 1, NULL, 10);
        }
    }
    free(text);
    buf_reset(&out);
    return sum;
}

struct asker {
    struct bench *bench;
    struct store_call *call;
    int told;
    enum store_status status;
    struct idem_result result;
    char answer[TEXT_BYTES], upstream_key[TEXT_BYTES];
};

static inline void asker_done(void *owner, enum store_status status, const struct idem_result *result)
{
    struct asker *asker = owner;
    asker->told++;
    asker->call = NULL;
    asker->status = status;
    if (result != NULL) {
        asker->result = *result;
        (void)bytes_to_text(result->answer, asker->answer, sizeof asker->answer);
        (void)bytes_to_text(result->upstream_key, asker->upstream_key, sizeof asker->upstream_key);
    }
}

static inline struct idem_op op_of(enum idem_op_kind kind, uint8_t name, uint8_t owner)
{
    struct idem_op op = {
        .kind = kind,
        .name = {.bucket = name, .hash = {name, 2, 3}},
        .owner = {owner, 0, 7},
        .print = {1, name},
        .bind = {2, name},
        .processor = BYTES("acme"),
        .upstream_key = BYTES("sealed upstream key, long enough for two pieces of a listpack, or even more of it"),
        .request_id = "0123456789abcdef0123456789abcdef",
        .resend_ms = 3600 * 1000,
        .keep_unknown_ms = 3600 * 1000,
        .lease_ms = 60000,
        .status = 201,
        .keep_ms = 600000,
        .keep_receipt_ms = 1200000,
    };
    if (kind == IDEM_COMPLETE) {
        op.answer = BYTES("the sealed answer");
    }
    return op;
}

static inline void ask_op(struct bench *bench, struct asker *asker, const struct idem_op *op, bool durable,
                          uint32_t timeout_ms)
{
    memset(asker, 0, sizeof *asker);
    asker->bench = bench;
    asker->call = store_ask(bench->store, op, durable, timeout_ms, asker_done, asker);
    assert_non_null(asker->call);
    assert_int_equal(asker->told, 0); /* never inside */
}

static inline void ask(struct bench *bench, struct asker *asker, enum idem_op_kind kind, uint8_t name, uint8_t owner)
{
    struct idem_op op = op_of(kind, name, owner);
    ask_op(bench, asker, &op, false, 1000);
}

/* Asks, and turns the loop until it is told. */
static inline enum idem_verdict verdict_of(struct bench *bench, struct asker *asker, const struct idem_op *op)
{
    ask_op(bench, asker, op, false, 10000);
    UNTIL(bench->loop, asker->told == 1);
    assert_int_equal(asker->status, STORE_OK);
    return asker->result.verdict;
}

static inline enum idem_verdict verdict(struct bench *bench, struct asker *asker, enum idem_op_kind kind, uint8_t name,
                                        uint8_t owner)
{
    struct idem_op op = op_of(kind, name, owner);
    return verdict_of(bench, asker, &op);
}

/* ---- who asks about limits ---- */

struct limit_asker {
    struct bench *bench;
    struct store_limit_call *call;
    int told;
    enum store_status status;
    uint64_t granted;
    struct limit_told limit;
};

static inline void limit_asker_done(void *owner, enum store_status status, uint64_t granted,
                                    const struct limit_told *told)
{
    struct limit_asker *asker = owner;
    assert_int_equal(status == STORE_OK, told != NULL);
    asker->told++;
    asker->call = NULL;
    asker->status = status;
    asker->granted = granted;
    asker->limit = told != NULL ? *told : (struct limit_told){0};
}

/* `tokens` a second of caller `caller`, one of which is asked for. */
static inline struct limit_ref limit_of(const char *name, uint8_t caller, uint64_t tokens, uint64_t burst,
                                        unsigned flags)
{
    struct limit_ref ref = {
        .limit = bytes_from_text(name), .bucket = caller, .hash = {caller, 1}, .ask = {.cost = 1, .flags = flags}};
    assert_true(limit_rate_make(tokens, CLOCK_US_PER_S, burst, &ref.ask.rate));
    return ref;
}

static inline void ask_limit(struct bench *bench, struct limit_asker *asker, const struct limit_ref *ref, uint64_t want,
                             uint32_t timeout_ms)
{
    memset(asker, 0, sizeof *asker);
    asker->bench = bench;
    asker->call = store_limit(bench->store, ref, want, timeout_ms, limit_asker_done, asker);
    assert_non_null(asker->call);
    assert_int_equal(asker->told, 0); /* never inside */
}

/* Asks, and turns the loop until it is told. */
static inline uint64_t granted_of(struct bench *bench, struct limit_asker *asker, const struct limit_ref *ref,
                                  uint64_t want)
{
    ask_limit(bench, asker, ref, want, 10000);
    UNTIL(bench->loop, asker->told == 1);
    assert_int_equal(asker->status, STORE_OK);
    return asker->granted;
}

static inline struct idem_op op_with_limits(uint8_t name, uint8_t owner, const struct limit_ref *limits, int count)
{
    struct idem_op op = op_of(IDEM_BEGIN, name, owner);
    op.limits = limits;
    op.limit_count = count;
    return op;
}

/* ---- a server that says what a test wants ---- */

#define FAKE_CLIENTS_MAX 64
#define FAKE_WORDS_MAX 80

struct fake;
struct fake_client {
    struct fake *fake;
    struct stream *stream;
    char *in;
    size_t in_len, in_room;
    int reads;      /* on_read events */
    bool authenticated;
    bool owes;      /* a reply was left out: those behind it wait, for replies are in order */
    char held[TEXT_BYTES];
};

/* What a script is answered; NULL: nothing is said. `words`: EVALSHA, sha, 3, keys, arguments. */
typedef const char *(*fake_script)(struct fake *fake, const struct bytes *words, int count);

struct fake {
    struct loop *loop;
    struct acceptor *acceptor;
    uint16_t port;
    struct fake_client clients[FAKE_CLIENTS_MAX];
    int client_count, closed_count;
    char secret[80], canary[24], lost[64];
    const char *info;      /* text of INFO; NULL: a good one */
    const char *info_raw;  /* the whole reply instead */
    const char *greet;     /* said to every command of a greeting; NULL: what a good server says */
    const char *hello;     /* said when a connection is accepted, unasked */
    const char *password;  /* wanted; NULL: none */
    char auth_seen[128];   /* words of the last AUTH, joined by spaces */
    bool mute;             /* nothing is said any more */
    bool no_load, no_get;  /* SCRIPT LOAD, GET are forbidden */
    bool no_canary;        /* it is neither taken nor acknowledged */
    bool full;             /* the canary is refused */
    const char *fleet;     /* said to who tells that it is there; NULL: that it is alone */
    int fleets;            /* who told so */
    fake_script script;
    int scripts, wholes, canaries, auths, infos;
    int canary_after_scripts; /* how many scripts had come before the last canary */
    enum idem_op_kind ops[256]; /* of the scripts, by their order of loading */
    char loaded[SCRIPT_COUNT][41];
    int loads;
};

#define FAKE_INFO                                                                                                      \
    "# Server\r\nredis_version:7.0.15\r\nrun_id:aaaa\r\n# Persistence\r\nloading:0\r\naof_enabled:1\r\n"               \
    "# Memory\r\nused_memory:1000\r\nmaxmemory:2000\r\nmaxmemory_policy:noeviction\r\n# Stats\r\nevicted_keys:0\r\n"   \
    "# Replication\r\nrole:master\r\nmaster_replid:bbbb\r\n# Cluster\r\ncluster_enabled:0\r\n"

/* A result as scripts tell it; `state` is one letter. */
#define FAKE_RESULT(verdict, verdict_len, flags, state)                                                                \
    "*14\r\n$" verdict_len "\r\n" verdict "\r\n:" flags "\r\n$1\r\n" state "\r\n$4\r\nacme\r\n$2\r\nr1\r\n$0\r\n\r\n" \
    ":0\r\n$0\r\n\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n"
#define FAKE_NEW FAKE_RESULT("NEW", "3", "0", "I")
#define FAKE_OK FAKE_RESULT("OK", "2", "0", "D")
/* Three tokens granted, four left; and none, with one in 5000 us. */
#define FAKE_GRANTED "*5\r\n:3\r\n:1\r\n:4\r\n:6000\r\n:0\r\n"
#define FAKE_DENIED "*5\r\n:0\r\n:0\r\n:0\r\n:90000\r\n:5000\r\n"
/* A begin that was subject to one limit. */
#define FAKE_ADMITTED                                                                                                  \
    "*9\r\n$3\r\nNEW\r\n:0\r\n$1\r\nI\r\n$4\r\nacme\r\n$2\r\nr1\r\n:1\r\n:4\r\n:6000\r\n:0\r\n"
#define FAKE_LIMITED                                                                                                   \
    "*9\r\n$7\r\nLIMITED\r\n:0\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n:0\r\n:0\r\n:90000\r\n:5000\r\n"
#define FAKE_REPLAY                                                                                                    \
    "*14\r\n$6\r\nREPLAY\r\n:0\r\n$1\r\nD\r\n$4\r\nacme\r\n$2\r\nr1\r\n$0\r\n\r\n:201\r\n$6\r\nstored\r\n:9\r\n" \
    ":0\r\n:5\r\n:0\r\n:0\r\n:0\r\n"

static inline void fake_say(struct fake_client *client, const char *text)
{
    struct bytes part = bytes_from_text(text);
    struct stream_wrote wrote;
    if (client->owes) {
        size_t len = strlen(client->held);
        assert_true(len + part.len < sizeof client->held);
        memcpy(client->held + len, text, part.len + 1);
        return;
    }
    if (client->stream != NULL && text[0] != '\0') {
        wrote = stream_write(client->stream, &part, 1);
        (void)wrote; /* who is gone does not hear it */
    }
}

/* The reply that was left out, and what waited behind it. */
static inline void fake_pay(struct fake_client *client, const char *text)
{
    client->owes = false;
    fake_say(client, text);
    fake_say(client, client->held);
    client->held[0] = '\0';
}

static inline void fake_say_text(struct fake_client *client, const char *text)
{
    char head[32];
    (void)snprintf(head, sizeof head, "$%zu\r\n", strlen(text));
    fake_say(client, head);
    fake_say(client, text);
    fake_say(client, "\r\n");
}

/* NULL of RESP for "". */
static inline void fake_say_value(struct fake_client *client, const char *value)
{
    if (value[0] == '\0') {
        fake_say(client, "$-1\r\n");
    } else {
        fake_say_text(client, value);
    }
}

static inline bool word_is(struct bytes word, const char *text)
{
    return bytes_equal(word, bytes_from_text(text));
}

static inline void fake_load(struct fake_client *client)
{
    struct fake *fake = client->fake;
    int script = fake->loads++ % SCRIPT_COUNT;
    (void)snprintf(fake->loaded[script], sizeof fake->loaded[script], "%040d", script);
    fake_say_text(client, fake->loaded[script]);
}

/* Which script this is, by the name that fake_load gave it, or by its text. */
static inline int fake_which(const struct bytes *words)
{
    if (word_is(words[0], "EVAL")) {
        for (int i = 0; i < SCRIPT_COUNT; i++) {
            char *text = script_text(i, NULL);
            bool same = word_is(words[1], text);
            free(text);
            if (same) {
                return i;
            }
        }
        return -1;
    }
    return words[1].at[38] * 10 + words[1].at[39] - '0' * 11;
}

static inline void fake_run(struct fake_client *client, const struct bytes *words, int count)
{
    struct fake *fake = client->fake;
    int which = fake_which(words);
    const char *said;
    if (which == SCRIPT_SWEEP) {
        fake_say(client, "*3\r\n:0\r\n:0\r\n:0\r\n");
        return;
    }
    if (which == SCRIPT_FLEET) {
        fake->fleets++;
        fake_say(client, fake->fleet == NULL ? ":1\r\n" : fake->fleet);
        return;
    }
    fake->wholes += word_is(words[0], "EVAL");
    fake->ops[fake->scripts++ % 256] = (enum idem_op_kind)which;
    said = fake->script == NULL ? FAKE_OK : fake->script(fake, words, count);
    if (said != NULL) {
        fake_say(client, said);
    } else {
        client->owes = true;
    }
}

static inline void fake_auth(struct fake_client *client, const struct bytes *words, int count)
{
    struct fake *fake = client->fake;
    fake->auths++;
    fake->auth_seen[0] = '\0';
    for (int i = 1; i < count; i++) {
        size_t len = strlen(fake->auth_seen);
        (void)snprintf(fake->auth_seen + len, sizeof fake->auth_seen - len, "%s%.*s", i > 1 ? " " : "",
                       BYTES_ARG(words[i]));
    }
    client->authenticated = fake->password == NULL || word_is(words[count - 1], fake->password);
    fake_say(client, client->authenticated ? "+OK\r\n"
                                           : "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
}

static inline void fake_command(struct fake_client *client, const struct bytes *words, int count)
{
    struct fake *fake = client->fake;
    bool is_script = word_is(words[0], "EVALSHA") || word_is(words[0], "EVAL");
    if (fake->mute) {
        return;
    }
    if (word_is(words[0], "AUTH")) {
        fake_auth(client, words, count);
    } else if (fake->password != NULL && !client->authenticated) {
        fake_say(client, "-NOAUTH Authentication required.\r\n");
    } else if (is_script) {
        fake_run(client, words, count);
    } else if (fake->greet != NULL) {
        fake_say(client, fake->greet);
    } else if (word_is(words[0], "SCRIPT")) {
        if (fake->no_load) {
            fake_say(client, "-NOPERM this user has no permissions to run the 'script|load' command\r\n");
        } else {
            fake_load(client);
        }
    } else if (word_is(words[0], "INFO")) {
        fake->infos++;
        if (fake->info_raw != NULL) {
            fake_say(client, fake->info_raw);
        } else {
            fake_say_text(client, fake->info == NULL ? FAKE_INFO : fake->info);
        }
    } else if (word_is(words[0], "PING")) {
        fake_say(client, "+PONG\r\n");
    } else if (word_is(words[0], "GET") && fake->no_get) {
        fake_say(client, "-NOPERM this user has no permissions to run the 'get' command\r\n");
    } else if (word_is(words[0], "GET")) {
        const char *value = word_is(words[1], "w:secret") ? fake->secret
                            : word_is(words[1], "w:lost") ? fake->lost
                                                          : fake->canary;
        fake_say_value(client, value);
    } else if (word_is(words[0], "DEL")) {
        fake->lost[0] = '\0';
        fake_say(client, ":1\r\n");
    } else if (word_is(words[0], "SET") && word_is(words[1], "w:lost")) {
        (void)bytes_to_text(words[2], fake->lost, sizeof fake->lost);
        fake_say(client, "+OK\r\n");
    } else if (word_is(words[0], "SET") && word_is(words[1], "w:secret")) {
        if (fake->secret[0] == '\0') {
            (void)bytes_to_text(words[2], fake->secret, sizeof fake->secret);
        }
        fake_say(client, "+OK\r\n");
    } else if (word_is(words[0], "SET")) { /* the canary, which tells what stood there */
        char before[sizeof fake->canary];
        memcpy(before, fake->canary, sizeof before);
        if (fake->full) {
            fake_say(client, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
            return;
        }
        if (fake->no_canary) {
            client->owes = true;
        } else {
            fake->canaries++;
            fake->canary_after_scripts = fake->scripts;
            (void)bytes_to_text(words[2], fake->canary, sizeof fake->canary);
        }
        fake_say_value(client, before);
    } else {
        fake_say(client, "+OK\r\n");
    }
}

/* One line "*3" or "$12"; false: not whole yet. */
static inline bool fake_line(const char *in, size_t len, size_t *at, char mark, long *value)
{
    const char *end = memchr(in + *at, '\n', len - *at);
    if (*at >= len || end == NULL) {
        return false;
    }
    assert_int_equal(in[*at], mark);
    *value = strtol(in + *at + 1, NULL, 10);
    *at = (size_t)(end - in) + 1;
    return true;
}

/* The bytes of the first command; 0: not whole yet. */
static inline size_t fake_parse(const char *in, size_t len, struct bytes *words, int *count)
{
    size_t at = 0;
    long words_count, word_len;
    if (len == 0 || !fake_line(in, len, &at, '*', &words_count)) {
        return 0;
    }
    assert_true(words_count <= FAKE_WORDS_MAX);
    for (*count = 0; *count < words_count; (*count)++) {
        if (at >= len || !fake_line(in, len, &at, '$', &word_len) || at + (size_t)word_len + 2 > len) {
            return 0;
        }
        words[*count] = bytes_of(in + at, (size_t)word_len);
        at += (size_t)word_len + 2;
    }
    return at;
}

static inline void fake_on_open(void *owner, enum err err)
{
    (void)owner;
    (void)err;
}

static inline void fake_on_read(void *owner, struct bytes data)
{
    struct fake_client *client = owner;
    struct bytes words[FAKE_WORDS_MAX];
    size_t used;
    int count;
    client->reads++;
    if (client->in_len + data.len > client->in_room) {
        client->in_room = (client->in_len + data.len) * 2;
        client->in = realloc(client->in, client->in_room);
        assert_non_null(client->in);
    }
    memcpy(client->in + client->in_len, data.at, data.len);
    client->in_len += data.len;
    while (client->stream != NULL && (used = fake_parse(client->in, client->in_len, words, &count)) > 0) {
        fake_command(client, words, count);
        memmove(client->in, client->in + used, client->in_len - used);
        client->in_len -= used;
    }
}

static inline void fake_on_end(void *owner, enum err err)
{
    struct fake_client *client = owner;
    (void)err;
    if (client->stream != NULL) {
        stream_close(client->stream, false);
        client->stream = NULL;
    }
}

static inline void fake_on_drain(void *owner)
{
    (void)owner;
}

static inline void fake_on_closed(void *owner)
{
    struct fake_client *client = owner;
    client->stream = NULL;
    client->fake->closed_count++;
    free(client->in);
    client->in = NULL;
}

static const struct stream_ops fake_ops = {fake_on_open, fake_on_read, fake_on_end, fake_on_drain, fake_on_closed};

static inline void fake_on_accept(void *owner, struct stream *stream)
{
    struct fake *fake = owner;
    struct fake_client *client = &fake->clients[fake->client_count % FAKE_CLIENTS_MAX];
    assert_true(fake->client_count < FAKE_CLIENTS_MAX || client->stream == NULL);
    fake->client_count++;
    memset(client, 0, sizeof *client);
    client->fake = fake;
    client->stream = stream;
    stream_attach(stream, &fake_ops, client);
    if (fake->hello != NULL) {
        fake_say(client, fake->hello);
    }
}

static inline void fake_open(struct fake *fake, struct loop *loop)
{
    struct addr_listen at = {.kind = ADDR_LISTEN_IP};
    char why[256];
    enum err err;
    memset(fake, 0, sizeof *fake);
    fake->loop = loop;
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &at.ip));
    fake->acceptor = acceptor_open(loop, &at, 16, fake_on_accept, fake, &err, why, sizeof why);
    assert_non_null(fake->acceptor);
    fake->port = acceptor_port(fake->acceptor);
}

static inline struct fake_client *fake_last(struct fake *fake)
{
    assert_true(fake->client_count > 0);
    return &fake->clients[(fake->client_count - 1) % FAKE_CLIENTS_MAX];
}

/* Every connection ends, as when the server dies. */
static inline void fake_drop(struct fake *fake)
{
    for (int i = 0; i < FAKE_CLIENTS_MAX; i++) {
        if (fake->clients[i].stream != NULL) {
            stream_close(fake->clients[i].stream, true);
            fake->clients[i].stream = NULL;
        }
    }
}

static inline void fake_close(struct fake *fake)
{
    fake_drop(fake);
    acceptor_close(fake->acceptor);
    UNTIL(fake->loop, fake->closed_count == fake->client_count);
}

/* ---- a real redis-server ---- */

struct server {
    pid_t pid;
    uint16_t port;
    char folder[64];
    const char *options[24]; /* NULL-terminated, behind those of server_start */
};

static inline uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static inline int server_connect(const struct server *server)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(server->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One inline command on a connection of its own; its reply, as it came, in `reply`. "" when there is none. */
static inline const char *server_do(const struct server *server, const char *command, char reply[TEXT_BYTES])
{
    int fd = server_connect(server);
    size_t len = 0;
    reply[0] = '\0';
    if (fd < 0) {
        return reply;
    }
    assert_true(dprintf(fd, "%s\r\n", command) > 0);
    do {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        ssize_t got = poll(&waiting, 1, len == 0 ? 5000 : 20) > 0 ? read(fd, reply + len, TEXT_BYTES - 1 - len) : 0;
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        reply[len] = '\0';
    } while (len < TEXT_BYTES - 1);
    close(fd);
    return reply;
}

static inline void server_run(struct server *server)
{
    char port[16];
    const char *arguments[48] = {"redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir",
                                 server->folder, "--logfile", "/dev/null"};
    int count = 11;
    char reply[TEXT_BYTES];
    uint64_t until_us = clock_now_us() + PATIENCE_US;
    (void)snprintf(port, sizeof port, "%u", server->port);
    for (int i = 0; server->options[i] != NULL; i++) {
        arguments[count++] = server->options[i];
    }
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no server behind */
        execvp("redis-server", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    while (server_do(server, "PING", reply)[0] == '\0' || reply[1] == 'L') {
        assert_true(clock_now_us() < until_us);
        assert_int_equal(waitpid(server->pid, NULL, WNOHANG), 0);
        usleep(10000); /* between two looks */
    }
}

static inline void server_start(struct server *server, ...)
{
    va_list options;
    int count = 0;
    const char *option;
    memset(server, 0, sizeof *server);
    server->port = free_port();
    (void)snprintf(server->folder, sizeof server->folder, "%s/weir-redis-XXXXXX", P_tmpdir);
    assert_non_null(mkdtemp(server->folder));
    va_start(options, server);
    while ((option = va_arg(options, const char *)) != NULL) {
        server->options[count++] = option;
    }
    va_end(options);
    server_run(server);
}

static inline void server_kill(struct server *server, int signal)
{
    if (server->pid > 0) {
        assert_int_equal(kill(server->pid, signal), 0);
        assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
        server->pid = 0;
    }
}

static inline void server_remove(const char *folder)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", folder, (char *)NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
}

static inline void server_stop(struct server *server)
{
    server_kill(server, SIGKILL);
    server_remove(server->folder);
}

#endif
