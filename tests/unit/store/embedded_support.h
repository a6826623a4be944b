/*
 * What the tests of the embedded store share: a store in a folder of its own,
 * operations that are asked and waited for, a listener that writes down what it
 * heard, and a blocker: another process that holds the file's write lock for as
 * long as a test wants its store's thread to stand still, or reads it for as
 * long as a test wants no page to be used again.
 */
#ifndef WEIR_STORE_EMBEDDED_SUPPORT_H
#define WEIR_STORE_EMBEDDED_SUPPORT_H

#include "base/unit.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "embedded_internal.h"
#include "io/io_support.h"
#include "weir/base/clock.h"

#define MINUTE_MS UINT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define ASK_MS 20000

/* ---- a folder ---- */

static inline void folder_make(char folder[96])
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(folder, 96, "%.40s/weir-store-XXXXXX", base != NULL ? base : P_tmpdir);
    assert_non_null(mkdtemp(folder));
}

/* The store's own folder in it, and what is there. */
static inline void folder_remove(const char *folder)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "weir.lock"};
    char path[160];

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(path, sizeof path, "%s/store/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/store", folder);
    (void)rmdir(path);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left behind */
}

/* ---- a blocker ---- */

struct blocker {
    pid_t pid;
    int orders, answers; /* pipes: one byte each */
};

static inline void blocker_serve(const char *path, int orders, int answers)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    char order;

    while (read(orders, &order, 1) == 1) {
        if (order != 'r') {
            if (mdb_env_create(&env) != 0 || mdb_env_open(env, path, 0, 0600) != 0 ||
                mdb_txn_begin(env, NULL, order == 'h' ? 0 : MDB_RDONLY, &txn) != 0) {
                order = '!';
            }
        } else {
            mdb_txn_abort(txn);
            mdb_env_close(env);
        }
        if (write(answers, &order, 1) != 1) {
            break;
        }
    }
    _exit(0);
}

/* Before the store is opened: a process with threads forks badly. */
static inline void blocker_start(struct blocker *blocker, const char *path)
{
    int orders[2], answers[2];

    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(answers), 0);
    blocker->pid = fork();
    assert_true(blocker->pid >= 0);
    if (blocker->pid == 0) {
        close(orders[1]);
        close(answers[0]);
        blocker_serve(path, orders[0], answers[1]);
    }
    close(orders[0]);
    close(answers[1]);
    blocker->orders = orders[1];
    blocker->answers = answers[0];
}

static inline void blocker_order(struct blocker *blocker, char order)
{
    char answer = 0;

    assert_int_equal(write(blocker->orders, &order, 1), 1);
    assert_int_equal(read(blocker->answers, &answer, 1), 1);
    assert_int_equal(answer, order);
}

static inline void blocker_hold(struct blocker *blocker)
{
    blocker_order(blocker, 'h');
}

static inline void blocker_look(struct blocker *blocker)
{
    blocker_order(blocker, 'l');
}

static inline void blocker_release(struct blocker *blocker)
{
    blocker_order(blocker, 'r');
}

static inline void blocker_end(struct blocker *blocker)
{
    int status;

    close(blocker->orders);
    assert_int_equal(waitpid(blocker->pid, &status, 0), blocker->pid);
    close(blocker->answers);
}

/* ---- a scene ---- */

/* So many are written down, all are counted. */
#define HEARD_MAX 1024

struct heard {
    enum idem_op_kind kind;
    struct idem_name name;
    enum idem_verdict verdict;
    enum idem_how how;
    bool told_now, resolved_now;
    char request_id[IDEM_REQUEST_ID_BYTES + 1];
    char processor[IDEM_PROCESSOR_BYTES_MAX + 1];
};

struct scene {
    char folder[96], path[128];
    struct conf_store conf;
    struct store_options options;
    struct loop *loop;
    struct stats *stats;
    struct store *store; /* NULL: closed */
    int heard_count;
    struct heard heard[HEARD_MAX];
    char why[512];
};

static inline void on_heard(void *owner, const struct idem_op *op, const struct idem_result *result)
{
    struct scene *scene = owner;
    struct heard *heard = &scene->heard[scene->heard_count % HEARD_MAX];

    scene->heard_count++;
    heard->kind = op->kind;
    heard->name = op->name;
    heard->verdict = result->verdict;
    heard->how = op->how;
    heard->told_now = result->told_now;
    heard->resolved_now = result->resolved_now;
    memcpy(heard->request_id, result->request_id, sizeof heard->request_id);
    (void)bytes_to_text(op->processor, heard->processor, sizeof heard->processor);
}

static inline void scene_init(struct scene *scene, uint64_t size_bytes)
{
    memset(scene, 0, sizeof *scene);
    folder_make(scene->folder);
    (void)snprintf(scene->path, sizeof scene->path, "%s/store", scene->folder);
    scene->conf.type = CONF_STORE_EMBEDDED;
    scene->conf.path = scene->path;
    scene->conf.size_bytes = size_bytes;
    scene->loop = loop_open(0);
    scene->stats = stats_open();
    assert_non_null(scene->loop);
    assert_non_null(scene->stats);
    scene->options.loop = scene->loop;
    scene->options.stats = scene->stats;
    scene->options.heard = on_heard;
    scene->options.owner = scene;
    memset(scene->options.secret_digest, 7, sizeof scene->options.secret_digest);
}

static inline void scene_open(struct scene *scene)
{
    scene->store = store_open(&scene->conf, &scene->options, scene->why, sizeof scene->why);
    if (scene->store == NULL) {
        fail_msg("not opened: %s", scene->why);
    }
}

static inline struct embedded *scene_embedded(struct scene *scene)
{
    return container_of(scene->store, struct embedded, store);
}

/* Until what an earlier process left is dealt with. */
static inline void scene_ready(struct scene *scene)
{
    UNTIL(scene->loop, scene_embedded(scene)->ready);
}

static inline void on_closed(void *owner)
{
    ((struct scene *)owner)->store = NULL;
}

static inline void scene_close(struct scene *scene)
{
    store_close(scene->store, 5000, on_closed, scene);
    UNTIL(scene->loop, scene->store == NULL);
}

static inline void scene_end(struct scene *scene)
{
    if (scene->store != NULL) {
        scene_close(scene);
    }
    assert_true(loop_close(scene->loop));
    stats_close(scene->stats);
    folder_remove(scene->folder);
}

static inline uint64_t commits(struct scene *scene)
{
    static const struct stats_family family = {.name = "weir_store_commits_total", .kind = STATS_COUNTER};
    return stats_get(scene->stats, stats_series(scene->stats, &family));
}

static inline uint64_t counter(struct scene *scene, const char *name)
{
    const struct stats_family family = {.name = name, .kind = STATS_COUNTER};
    return stats_get(scene->stats, stats_series(scene->stats, &family));
}

/* ---- operations ---- */

/* The name of the n-th key. Its bucket is n's remainder. */
static inline struct idem_name name_of(uint32_t n)
{
    struct idem_name name;
    uint64_t state = n * UINT64_C(2654435761) + 88172645463325252u;

    name.bucket = (uint16_t)(n % IDEM_BUCKETS);
    for (int i = 0; i < IDEM_HASH_BYTES; i++) {
        name.hash[i] = (uint8_t)(random_next(&state) >> 32);
    }
    name.hash[0] = (uint8_t)(n >> 24);
    name.hash[1] = (uint8_t)(n >> 16);
    name.hash[2] = (uint8_t)(n >> 8);
    name.hash[3] = (uint8_t)n;
    return name;
}

/* An operation on the n-th key, all of whose facts follow from n and the owner's letter. */
static inline struct idem_op op_of(enum idem_op_kind kind, uint32_t n, char owner)
{
    struct idem_op op = {.kind = kind, .name = name_of(n)};

    memset(op.owner, owner, sizeof op.owner);
    memset(op.print, (int)(n % 251), sizeof op.print);
    memset(op.bind, 'b', sizeof op.bind);
    op.processor = BYTES("acme");
    op.upstream_key = BYTES("sealed-upstream-key-of-some-seventy-bytes-as-they-are-in-reality-here.");
    (void)snprintf(op.request_id, sizeof op.request_id, "%032" PRIu32, n);
    op.resend_ms = 23 * HOUR_MS;
    op.keep_unknown_ms = 30 * 24 * HOUR_MS;
    op.lease_ms = 36000;
    op.status = 201;
    op.answer = BYTES("sealed answer");
    op.keep_ms = 24 * HOUR_MS;
    op.keep_receipt_ms = 72 * HOUR_MS;
    op.how = IDEM_HOW_LATE;
    op.margin_ms = 1;
    return op;
}

struct asked {
    bool done;
    enum store_status status;
    struct idem_result result; /* its bytes are gone */
    size_t answer_len;
    char answer[4096]; /* the first of it */
    char upstream_key[256];
    int *count; /* NULL: nobody counts */
};

static inline void on_asked(void *owner, enum store_status status, const struct idem_result *result)
{
    struct asked *asked = owner;

    assert_false(asked->done);
    asked->done = true;
    asked->status = status;
    if (result != NULL) {
        asked->result = *result;
        asked->answer_len = result->answer.len;
        if (result->answer.len > 0) {
            memcpy(asked->answer, result->answer.at,
                   result->answer.len < sizeof asked->answer ? result->answer.len : sizeof asked->answer);
        }
        (void)bytes_to_text(result->upstream_key, asked->upstream_key, sizeof asked->upstream_key);
    }
    if (asked->count != NULL) {
        ++*asked->count;
    }
}

static inline struct store_call *ask_start(struct scene *scene, const struct idem_op *op, struct asked *asked)
{
    struct store_call *call;

    memset(asked, 0, sizeof *asked);
    call = store_ask(scene->store, op, true, ASK_MS, on_asked, asked);
    assert_non_null(call);
    assert_false(asked->done); /* never inside */
    return call;
}

static inline struct asked ask_op(struct scene *scene, const struct idem_op *op)
{
    struct asked asked;

    (void)ask_start(scene, op, &asked);
    UNTIL(scene->loop, asked.done);
    return asked;
}

static inline struct asked ask(struct scene *scene, enum idem_op_kind kind, uint32_t n, char owner)
{
    struct idem_op op = op_of(kind, n, owner);
    return ask_op(scene, &op);
}

/* How the operations of a kind on keys [first, first + count) ended, many at a time. */
struct ends {
    uint32_t statuses[STORE_STATUS_COUNT];
    uint32_t verdicts[IDEM_VERDICT_COUNT];
};

#define ASK_WINDOW 512

static inline struct ends ask_each(struct scene *scene, const struct idem_op *like, uint32_t first, uint32_t count,
                                   uint32_t step)
{
    static struct asked asked[ASK_WINDOW];
    static int done;
    struct ends ends = {{0}, {0}};

    for (uint32_t at = 0; at < count;) {
        uint32_t window = count - at < ASK_WINDOW ? count - at : ASK_WINDOW;
        done = 0;
        for (uint32_t i = 0; i < window; i++) {
            struct idem_op op = *like, one = op_of(like->kind, first + (at + i) * step, (char)like->owner[0]);
            op.name = one.name;
            memcpy(op.print, one.print, sizeof op.print);
            memcpy(op.request_id, one.request_id, sizeof op.request_id);
            (void)ask_start(scene, &op, &asked[i]);
            asked[i].count = &done;
        }
        UNTIL(scene->loop, done == (int)window);
        for (uint32_t i = 0; i < window; i++) {
            ends.statuses[asked[i].status]++;
            if (asked[i].status == STORE_OK) {
                ends.verdicts[asked[i].result.verdict]++;
            }
        }
        at += window;
    }
    return ends;
}

#define assert_verdict(asked_, verdict_)                                                                               \
    do {                                                                                                               \
        struct asked assert_asked_ = (asked_);                                                                         \
        assert_string_equal(store_status_name(assert_asked_.status), "ok");                                            \
        assert_string_equal(idem_verdict_name(assert_asked_.result.verdict), idem_verdict_name(verdict_));             \
    } while (0)

#define assert_status(asked_, status_) assert_string_equal(store_status_name((asked_).status), store_status_name(status_))

static inline struct store_state state_of(struct scene *scene)
{
    struct store_state state;
    store_state(scene->store, &state);
    return state;
}

#endif
