/*
 * What the tests of this layer share: up to three processors' ends in the same
 * loop, that answer or do not; callers that write down what they were told; and
 * the numbers of the statistics by their labels.
 */
#ifndef WEIR_UPSTREAM_SUPPORT_H
#define WEIR_UPSTREAM_SUPPORT_H

#include "base/unit.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "io/io_support.h"
#include "weir/upstream/upstream.h"

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define ANSWER_503 "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
#define ANSWER_500 "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
#define FAR_MAX 3
#define FAR_STREAMS_MAX 64

/* One end of the processor: counts connections and requests, and answers every read with `answer`. */
struct far {
    struct acceptor *acceptor;
    struct stream *streams[FAR_STREAMS_MAX];
    int accepted, requests;
    const char *answer; /* NULL: silence */
    bool shut_after;
    bool reset;         /* in place of an answer */
};

static struct far fars[FAR_MAX];
static struct far *const far = &fars[0];
static struct loop *loop;
static struct stats *stats;
static struct upstream *upstream;
static struct processor *processor;
static struct log *log_of_test; /* NULL: none */

/* What the owner of a call was told. */
struct caller {
    struct arena arena;
    struct call call;
    bool ready, refused, head, end, failed;
    struct call_refused refusal;
    enum call_failure failure;
    uint16_t status;
    size_t body_bytes;
};

/* ---- the far ends ---- */

struct far_stream {
    struct far *far;
    int index;
};
static struct far_stream far_streams[FAR_MAX][FAR_STREAMS_MAX];

static inline void far_on_read(void *owner, struct bytes data)
{
    struct far_stream *at = owner;
    struct far *end = at->far;
    (void)data;
    end->requests++;
    if (end->reset) {
        stream_close(end->streams[at->index], true);
        end->streams[at->index] = NULL;
        return;
    }
    if (end->answer != NULL) {
        struct bytes answer = bytes_from_text(end->answer);
        assert_int_equal(stream_write(end->streams[at->index], &answer, 1).err, ERR_OK);
    }
    if (end->shut_after) {
        stream_shut(end->streams[at->index]);
    }
}

static inline void far_on_end(void *owner, enum err err)
{
    struct far_stream *at = owner;
    (void)err;
    stream_close(at->far->streams[at->index], false);
    at->far->streams[at->index] = NULL;
}

static inline void far_on_drain(void *owner)
{
    (void)owner;
}

static const struct stream_ops far_ops = {.on_read = far_on_read, .on_end = far_on_end, .on_drain = far_on_drain};

static inline void far_on_accepted(void *owner, struct stream *stream)
{
    struct far *end = owner;
    int index = end->accepted++ % FAR_STREAMS_MAX; /* the first ones by their number; checks are many, and gone by then */
    struct far_stream *at = &far_streams[end - fars][index];
    assert_null(end->streams[index]);
    *at = (struct far_stream){end, index};
    end->streams[index] = stream;
    stream_attach(stream, &far_ops, at);
}

static inline void far_close_streams(struct far *end)
{
    for (int i = 0; i < FAR_STREAMS_MAX; i++) {
        if (end->streams[i] != NULL) {
            stream_close(end->streams[i], false);
            end->streams[i] = NULL;
        }
    }
}

/* Nobody listens there any more. */
static inline void far_vanish(struct far *end)
{
    acceptor_close(end->acceptor);
    end->acceptor = NULL;
    far_close_streams(end);
    turn(loop);
}

static inline void far_listen(struct far *end)
{
    struct addr_listen at;
    enum err err = ERR_OK;
    char why[200];
    *end = (struct far){.answer = ANSWER};
    assert_true(addr_listen_parse(BYTES("127.0.0.1:0"), &at));
    end->acceptor = acceptor_open(loop, &at, 64, far_on_accepted, end, &err, why, sizeof why);
    assert_non_null(end->acceptor);
}

static inline uint16_t far_port(const struct far *end)
{
    return acceptor_port(end->acceptor);
}

/* ---- callers ---- */

static inline void caller_on_ready(void *owner)
{
    ((struct caller *)owner)->ready = true;
}

static inline void caller_on_refused(void *owner, const struct call_refused *refused)
{
    struct caller *caller = owner;
    assert_true(refused->words[0] != '\0');
    caller->refused = true;
    caller->refusal = *refused;
}

static inline void caller_on_head(void *owner, const struct http_head *head)
{
    struct caller *caller = owner;
    caller->head = true;
    caller->status = head->status;
}

static inline void caller_on_body(void *owner, struct bytes body)
{
    ((struct caller *)owner)->body_bytes += body.len;
}

static inline void caller_on_end(void *owner)
{
    ((struct caller *)owner)->end = true;
}

static inline void caller_on_failed(void *owner, enum call_failure why, const char *words)
{
    struct caller *caller = owner;
    assert_true(words[0] != '\0');
    caller->failed = true;
    caller->failure = why;
}

static inline void caller_on_nothing(void *owner)
{
    (void)owner;
}

static const struct call_ops caller_ops = {
    .on_ready = caller_on_ready,
    .on_refused = caller_on_refused,
    .on_head = caller_on_head,
    .on_body = caller_on_body,
    .on_end = caller_on_end,
    .on_failed = caller_on_failed,
    .on_step = caller_on_nothing,
};

/* What most calls of the tests ask for; a test changes what it is about. Each has a caller of its own. */
static inline struct call_order order_of(bool safe)
{
    static uint32_t callers;
    return (struct call_order){
        .processor = processor,
        .safe = safe,
        .rank = safe ? BREAKER_BY_READ : BREAKER_BY_BARE,
        .caller = callers++,
        .due_us = clock_now_us() + 60 * CLOCK_US_PER_S,
    };
}

static inline enum call_start begin_order(struct caller *caller, struct call_order order)
{
    *caller = (struct caller){.refusal = {.words = ""}};
    arena_init(&caller->arena, loop_blocks(loop));
    order.arena = &caller->arena;
    order.ops = &caller_ops;
    order.owner = caller;
    enum call_start start = call_open(&caller->call, &order, &caller->refusal);
    caller->ready = start == CALL_START_READY;
    caller->refused = start == CALL_START_REFUSED;
    return start;
}

static inline enum call_start begin(struct caller *caller, bool safe)
{
    return begin_order(caller, order_of(safe));
}

static inline void send_request(struct caller *caller)
{
    struct bytes request = BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    struct stream_wrote wrote = call_send(&caller->call, &request, 1);
    assert_int_equal(wrote.err, ERR_OK);
    assert_true(wrote.sent);
    call_request_done(&caller->call);
}

static inline void finish(struct caller *caller)
{
    call_close(&caller->call, false);
    arena_reset(&caller->arena);
}

static inline void finish_timed_out(struct caller *caller)
{
    call_close(&caller->call, true);
    arena_reset(&caller->arena);
}

/* One whole call; the link goes back to the pool. */
static inline void pass_order(struct caller *caller, struct call_order order)
{
    (void)begin_order(caller, order);
    UNTIL(loop, caller->ready || caller->refused);
    if (caller->ready) {
        send_request(caller);
        UNTIL(loop, caller->end || caller->failed);
    }
    finish(caller);
}

static inline void pass(struct caller *caller, bool safe)
{
    pass_order(caller, order_of(safe));
}

/* ---- setting up ---- */

/* Of the first `count` ends. */
static inline struct conf_processor conf_of_ends(int count)
{
    static struct addr endpoints[FAR_MAX];
    char text[32];
    for (int i = 0; i < count; i++) {
        (void)snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)far_port(&fars[i]));
        assert_true(addr_parse(bytes_from_text(text), &endpoints[i]));
    }
    return (struct conf_processor){
        .name = "acme",
        .url = "http://acme.example",
        .host = "acme.example",
        .port = 80,
        .endpoints = endpoints,
        .endpoint_count = count,
        .connect_ms = 2000,
        .connections = 2,
        .link_idle_ms = 55000,
        .link_age_ms = 300000,
        .queue = 1,
        .concurrency = 8,
        .balance = CONF_BALANCE_ROUND_ROBIN,
        .breaker = {.window_ms = 10000,
                    .min_requests = 20,
                    .open_at_permille = 500,
                    .slow_ms = 24000,
                    .slow_at_permille = 800,
                    .open_for_ms = 2000,
                    .open_max_ms = 60000},
    };
}

static inline void use(const struct conf_processor *conf)
{
    struct processor *held = processor_hold(upstream, conf, NULL);
    assert_non_null(held);
    if (processor != NULL) {
        assert_ptr_equal(held, processor);
        processor_release(held); /* the first hold is enough */
    }
    processor = held;
    processor_use(processor, conf);
}

static inline int open_ends(int count)
{
    loop = loop_open(0);
    stats = stats_open();
    memset(fars, 0, sizeof fars);
    for (int i = 0; i < count; i++) {
        far_listen(&fars[i]);
    }
    const struct upstream_options options = {.loop = loop, .stats = stats, .log = log_of_test};
    upstream = upstream_open(&options);
    processor = NULL;
    return 0;
}

/* A processor of one endpoint. */
static inline int open_world(void **state)
{
    (void)state;
    (void)open_ends(1);
    const struct conf_processor conf = conf_of_ends(1);
    use(&conf);
    return 0;
}

static inline int close_world(void **state)
{
    (void)state;
    if (processor != NULL) {
        processor_release(processor);
    }
    upstream_close(upstream);
    for (int i = 0; i < FAR_MAX; i++) {
        if (fars[i].acceptor != NULL) {
            acceptor_close(fars[i].acceptor);
        }
        far_close_streams(&fars[i]);
    }
    assert_true(loop_close(loop)); /* every link, timer and block was given back */
    stats_close(stats);
    return 0;
}

/* ---- what is seen ---- */

/* True when the metrics have this line, "weir_processor_up{processor=\"acme\"} 1". */
static inline bool printed(const char *line)
{
    struct buf buf;
    char with_end[320];
    buf_init(&buf, loop_blocks(loop), (size_t)16 << 20);
    assert_int_equal(stats_print(stats, &buf), ERR_OK);
    char *text = malloc(buf.len + 1);
    assert_non_null(text);
    text[buf_copy(&buf, text)] = '\0';
    buf_reset(&buf);
    (void)snprintf(with_end, sizeof with_end, "\n%s\n", line);
    bool found = strstr(text, with_end) != NULL;
    free(text);
    return found;
}

/* Lets time go by, on the loop; for what only time brings. */
static inline void let_pass(uint64_t us)
{
    uint64_t until_us = clock_now_us() + us;
    while (clock_now_us() < until_us) {
        turn(loop);
    }
}

static inline struct processor_state now(void)
{
    struct processor_state state;
    processor_state(processor, &state);
    return state;
}

static inline struct endpoint_state endpoint_at(int index)
{
    struct endpoint_state state;
    assert_true(processor_endpoint_state(processor, index, &state));
    return state;
}

static inline struct breaker_shown breaker_at(int index)
{
    return endpoint_at(index).breaker;
}

static inline struct breaker_shown circuit_at(int index)
{
    struct circuit_state state;
    assert_true(processor_circuit_state(processor, index, &state));
    return state.breaker;
}

#endif
