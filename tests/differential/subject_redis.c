/*
 * The Redis store's telling: its scripts in a real server, with the test's
 * clock in the place of theirs, asked by the store's own command bytes and read
 * by its own reader. A story is one run of commands and one run of replies. The
 * server is this program's, in a folder of its own, and ends with it.
 */
#include "differential.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "redis_internal.h"

#include "differential_scripts.h"

#define SUBJECT "redis"
#define START_S 20
#define REPLY_MS 30000
/* Stories between two that empty the server. */
#define FLUSH_EVERY 500

static struct {
    pid_t server;
    int fd;
    struct script scripts[SCRIPT_COUNT];
    struct script tick;
    struct out out;
    struct replies replies;
    uint64_t asked;
    bool broken;
} redis = {.fd = -1};

/* ---- the connection: blocking, with a deadline ---- */

static bool broken(const char *what)
{
    fprintf(stderr, "redis: %s\n", what);
    redis.broken = true;
    return false;
}

static bool send_out(void)
{
    size_t sent = 0;

    while (!redis.out.failed && sent < redis.out.len) {
        ssize_t count = write(redis.fd, redis.out.at + sent, redis.out.len - sent);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return broken("cannot write");
        }
        sent += (size_t)count;
    }
    bool whole = !redis.out.failed;
    out_reset(&redis.out);
    return whole || broken("no memory");
}

static bool feed(void)
{
    char bytes[65536];
    struct pollfd poll_fd = {.fd = redis.fd, .events = POLLIN};

    if (poll(&poll_fd, 1, REPLY_MS) <= 0) {
        return broken("no reply in time");
    }
    ssize_t count = read(redis.fd, bytes, sizeof bytes);
    if (count <= 0) {
        return broken("the connection is lost");
    }
    return replies_feed(&redis.replies, bytes_of(bytes, (size_t)count)) || broken("no memory for replies");
}

/* The next reply, valid until the next call. NULL: the connection is of no use any more. */
static const struct reply *next_reply(void)
{
    while (!redis.broken) {
        const char *why = NULL;
        const struct reply *reply = replies_next(&redis.replies, &why);
        if (why != NULL) {
            (void)broken(why);
        } else if (reply != NULL) {
            return reply;
        } else if (!feed()) {
            break;
        }
    }
    return NULL;
}

/* ---- the server ---- */

static void run_server(const char *folder, const char *socket_path)
{
    char log[256];
    int null = open("/dev/null", O_RDWR);

    (void)snprintf(log, sizeof log, "%s/redis.log", folder);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    (void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path, "--dir", folder, "--logfile", log,
                 "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", (char *)NULL);
    _exit(127);
}

static int connect_to(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)bytes_to_text(bytes_from_text(socket_path), address.sun_path, sizeof address.sun_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static bool start_server(const char *folder)
{
    const struct timespec between = {.tv_nsec = 20000000};
    char socket_path[100];

    (void)snprintf(socket_path, sizeof socket_path, "%s/redis.socket", folder);
    redis.server = fork();
    if (redis.server == 0) {
        run_server(folder, socket_path);
    }
    for (int i = 0; redis.server > 0 && i < START_S * 50; i++) {
        redis.fd = connect_to(socket_path);
        if (redis.fd >= 0) {
            return true;
        }
        if (waitpid(redis.server, NULL, WNOHANG) == redis.server) {
            redis.server = 0;
            return broken("redis-server did not start: is it installed?");
        }
        (void)nanosleep(&between, NULL);
    }
    return broken("redis-server cannot be reached");
}

/* The server names scripts by their SHA-1. */
static bool load(struct script *script)
{
    out_command(&redis.out, 3);
    out_text(&redis.out, "SCRIPT");
    out_text(&redis.out, "LOAD");
    out_text(&redis.out, script->text);
    const struct reply *reply = send_out() ? next_reply() : NULL;
    if (reply == NULL || !reply_is_text(reply) || reply->text.len != sizeof script->sha - 1) {
        fprintf(stderr, "redis: SCRIPT LOAD: %.*s\n", reply == NULL ? 0 : (int)reply->text.len, reply == NULL ? "" : reply->text.at);
        return false;
    }
    (void)bytes_to_text(reply->text, script->sha, sizeof script->sha);
    return true;
}

static bool load_scripts(void)
{
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        redis.scripts[i].text = script_text(i, embedded_now);
        if (redis.scripts[i].text == NULL || !load(&redis.scripts[i])) {
            return false;
        }
    }
    redis.tick.text = strdup(embedded_tick);
    return redis.tick.text != NULL && load(&redis.tick);
}

bool redis_open(const char *folder)
{
    return replies_open(&redis.replies) && start_server(folder) && load_scripts();
}

void redis_close(void)
{
    if (redis.fd >= 0) {
        (void)close(redis.fd);
    }
    if (redis.server > 0) {
        (void)kill(redis.server, SIGTERM);
        (void)waitpid(redis.server, NULL, 0);
    }
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        free(redis.scripts[i].text);
    }
    free(redis.tick.text);
    out_close(&redis.out);
    replies_close(&redis.replies);
}

/* ---- asking ---- */

static void ask_tick(const struct idem_name *name, uint64_t now_ms, uint64_t now_us)
{
    char key[REDIS_KEY_BYTES];

    script_command(&redis.out, &redis.tick, false, 2, 2);
    out_bytes(&redis.out, key_record(name, key));
    out_bytes(&redis.out, key_answer(name, key));
    out_u64(&redis.out, now_ms);
    out_u64(&redis.out, now_us);
}

static void ask_step(const struct step *step)
{
    uint8_t asked[ASKED_BYTES];
    uint64_t number = ++redis.asked;

    memcpy(asked, &number, sizeof asked);
    ask_tick(&step->op.name, step->now_ms, step->now_us);
    if (step->alone) {
        limit_command(&redis.out, redis.scripts, &step->limits[0], false, step->want);
        return;
    }
    call_command(&redis.out, redis.scripts, &step->op, false, asked, step->waited_ms);
}

static void ask_end(const struct story *story, int key)
{
    char text[REDIS_KEY_BYTES];
    char member[2 * IDEM_HASH_BYTES + 1];
    const struct idem_name *name = &story->names[key];
    struct bytes record;

    ask_tick(name, story->now_ms, story->now_us);
    out_command(&redis.out, 2);
    out_text(&redis.out, "HGETALL");
    record = key_record(name, text);
    out_bytes(&redis.out, record);
    (void)bytes_to_text(bytes_skip(record, record.len - 2 * IDEM_HASH_BYTES), member, sizeof member);
    out_command(&redis.out, 2);
    out_text(&redis.out, "HGETALL");
    out_bytes(&redis.out, key_answer(name, text));
    out_command(&redis.out, 3);
    out_text(&redis.out, "ZSCORE");
    out_bytes(&redis.out, key_open(name->bucket, text));
    out_text(&redis.out, member);
}

/* ---- what it says ---- */

static int read_tick(void)
{
    const struct reply *reply = next_reply();
    if (reply == NULL || !reply_is_text(reply)) {
        fprintf(stderr, "redis: tick: %.*s\n", reply == NULL ? 0 : (int)reply->text.len, reply == NULL ? "" : reply->text.at);
        redis.broken = true;
        return 1;
    }
    return 0;
}

static int no_result(const struct story *story, int index, const struct reply *reply)
{
    bool says = reply != NULL && reply->kind == REPLY_ERROR;
    fprintf(stderr, "redis: story %llu, step %d: no result: %.*s\n", (unsigned long long)story->number, index,
            says ? (int)reply->text.len : 0, says ? reply->text.at : "");
    return 1;
}

static int read_alone(const struct story *story, int index)
{
    const struct step *step = &story->steps[index];
    struct limit_told told;
    uint64_t granted;
    const struct reply *reply = read_tick() == 0 ? next_reply() : NULL;

    if (reply == NULL || !lease_read(reply, &granted, &told)) {
        return no_result(story, index, reply);
    }
    return differs_number(SUBJECT, story, index, "granted", step->granted, granted) +
           differs_told(SUBJECT, story, index, &step->told, &told);
}

static int read_step(const struct story *story, int index)
{
    const struct step *step = &story->steps[index];
    struct idem_result right = step->result;
    struct idem_result told;

    if (step->alone) {
        return read_alone(story, index);
    }
    const struct reply *reply = read_tick() == 0 ? next_reply() : NULL;
    if (reply == NULL || !result_read(reply, &told)) {
        return no_result(story, index, reply);
    }
    /* A record that vanished while it was open is heard of by who finds it gone: the scripts know by the index. */
    if (step->indexed && step->op.kind == IDEM_LAPSE) {
        right.resolved_now = true;
    }
    return differs_result(SUBJECT, story, index, &right, &told);
}

/* The value of a field in a reply of HGETALL; at NULL: it is not there. */
static struct bytes field_of(const struct reply *hash, const char *name)
{
    for (int64_t i = 0; i + 1 < hash->integer; i += 2) {
        if (bytes_equal(reply_at(hash, i)->text, bytes_from_text(name))) {
            return reply_at(hash, i + 1)->text;
        }
    }
    return BYTES_NONE;
}

static uint64_t number_of(const struct reply *hash, const char *name)
{
    uint64_t value = 0;
    struct bytes text = field_of(hash, name);
    return text.len == 0 || bytes_to_u64(text, &value) ? value : UINT64_MAX;
}

static int compare_record(const struct story *story, const struct idem_record *right, const struct reply *hash)
{
    static const char *const states[IDEM_STATE_COUNT] = {"", "I", "U", "D"};
    static const char *const pieces[] = {"u1", "u2", "u3", "u4", "u5"};
    const int end = STORY_STEPS;
    char upstream_key[STORY_UPSTREAM_KEY_BYTES_MAX + 64];
    char *at = upstream_key;

    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        at = bytes_put(at, bytes_take(field_of(hash, pieces[i]), 64));
    }
    bool open = right->state != IDEM_DONE;
    struct bytes owner = open ? bytes_of(right->owner, sizeof right->owner) : BYTES_NONE;
    return differs_bytes(SUBJECT, story, end, "state", bytes_from_text(states[right->state]), field_of(hash, "st")) +
           differs_bytes(SUBJECT, story, end, "owner", owner, field_of(hash, "ow")) +
           differs_bytes(SUBJECT, story, end, "print", bytes_of(right->print, sizeof right->print), field_of(hash, "fp")) +
           differs_bytes(SUBJECT, story, end, "bind", bytes_of(right->bind, sizeof right->bind), field_of(hash, "bd")) +
           differs_bytes(SUBJECT, story, end, "processor", bytes_from_text(right->processor), field_of(hash, "pr")) +
           differs_bytes(SUBJECT, story, end, "request_id", bytes_from_text(right->request_id), field_of(hash, "id")) +
           differs_bytes(SUBJECT, story, end, "upstream_key", right->upstream_key, bytes_of(upstream_key, (size_t)(at - upstream_key))) +
           differs_number(SUBJECT, story, end, "lease_ms", right->lease_ms, number_of(hash, "lu")) +
           differs_number(SUBJECT, story, end, "begun_ms", right->begun_ms, number_of(hash, "t0")) +
           differs_number(SUBJECT, story, end, "resend_ms", right->resend_ms, number_of(hash, "rs")) +
           differs_number(SUBJECT, story, end, "takeovers", right->takeovers, number_of(hash, "tk")) +
           differs_number(SUBJECT, story, end, "ambiguous", right->ambiguous, number_of(hash, "am")) +
           differs_number(SUBJECT, story, end, "told", right->told, number_of(hash, "to")) +
           differs_number(SUBJECT, story, end, "status", right->status, number_of(hash, "sc")) +
           differs_number(SUBJECT, story, end, "done_ms", right->done_ms, number_of(hash, "td")) +
           differs_number(SUBJECT, story, end, "expires_ms", right->expires_ms, number_of(hash, "over"));
}

static int read_record(const struct story *story, int key)
{
    const struct idem_record *right = &story->records[key];
    const struct reply *hash = next_reply();

    if (hash == NULL || hash->kind != REPLY_ARRAY) {
        return 1;
    }
    if (right->state == IDEM_ABSENT || hash->integer == 0) {
        return differs_number(SUBJECT, story, STORY_STEPS, "record is there", right->state != IDEM_ABSENT, hash->integer > 0);
    }
    return compare_record(story, right, hash);
}

/* An answer whose time is over is gone here, and only not told there. */
static int read_answer(const struct story *story, int key)
{
    const struct idem_record *right = &story->records[key];
    const struct reply *hash = next_reply();

    if (hash == NULL || hash->kind != REPLY_ARRAY) {
        return 1;
    }
    bool kept = right->answer.len > 0 && right->answer_expires_ms > story->now_ms;
    if (!kept || hash->integer == 0) {
        return differs_number(SUBJECT, story, STORY_STEPS, "answer is there", kept, hash->integer > 0);
    }
    return differs_bytes(SUBJECT, story, STORY_STEPS, "answer", right->answer, field_of(hash, "value")) +
           differs_number(SUBJECT, story, STORY_STEPS, "answer_expires_ms", right->answer_expires_ms, number_of(hash, "over"));
}

static int read_index(const struct story *story, int key)
{
    const struct reply *score = next_reply();
    uint64_t due_ms = 0;

    if (score == NULL) {
        return 1;
    }
    bool there = score->kind == REPLY_TEXT && bytes_to_u64(score->text, &due_ms);
    if (story->indexed[key]) { /* with the time of a record that vanished */
        return differs_number(SUBJECT, story, STORY_STEPS, "index has what vanished", 1, there);
    }
    return differs_number(SUBJECT, story, STORY_STEPS, "due_ms", idem_record_due_ms(&story->records[key]), due_ms);
}

static void ask_bucket(const struct story_limit *limit)
{
    struct limit_ref ref = {.limit = bytes_from_text(limit->name), .bucket = limit->bucket_number};
    char text[REDIS_LIMIT_KEY_BYTES];

    memcpy(ref.hash, limit->hash, sizeof ref.hash);
    out_command(&redis.out, 2);
    out_text(&redis.out, "HGETALL");
    out_bytes(&redis.out, key_limit(&ref, text));
}

static int read_bucket(const struct story *story, int index)
{
    const struct story_limit *limit = &story->limits[index];
    const struct reply *hash = next_reply();
    char right[80] = "";

    if (hash == NULL || hash->kind != REPLY_ARRAY) {
        return 1;
    }
    if (limit->over_ms > 0) {
        (void)snprintf(right, sizeof right, "%llu:%llu:%llu", (unsigned long long)limit->bucket.debt,
                       (unsigned long long)limit->bucket.last_us, (unsigned long long)limit->bucket.units);
    }
    return differs_bytes(SUBJECT, story, STORY_STEPS, "bucket", bytes_from_text(right), field_of(hash, "value")) +
           differs_number(SUBJECT, story, STORY_STEPS, "bucket's end", limit->over_ms, number_of(hash, "over"));
}

int redis_tell(const struct story *story)
{
    int differences = 0;

    if (story->moves) { /* it binds no record anew */
        return 0;
    }
    if (story->number % FLUSH_EVERY == 0) {
        out_command(&redis.out, 1);
        out_text(&redis.out, "FLUSHALL");
        if (!send_out() || next_reply() == NULL) {
            return -1;
        }
    }
    for (int i = 0; i < story->step_count; i++) {
        ask_step(&story->steps[i]);
    }
    for (int i = 0; i < STORY_KEYS; i++) {
        ask_end(story, i);
    }
    for (int i = 0; i < STORY_LIMITS && story->limited; i++) {
        ask_bucket(&story->limits[i]);
    }
    if (!send_out()) {
        return -1;
    }
    for (int i = 0; i < story->step_count && !redis.broken; i++) {
        differences += read_step(story, i);
    }
    for (int i = 0; i < STORY_KEYS && !redis.broken; i++) {
        differences += read_tick() + read_record(story, i) + read_answer(story, i) + read_index(story, i);
    }
    for (int i = 0; i < STORY_LIMITS && story->limited && !redis.broken; i++) {
        differences += read_bucket(story, i);
    }
    return redis.broken ? -1 : differences;
}
