/*
 * What the tests of the gate share: a whole gate over loopback sockets in one
 * loop, with a processor that answers when it is told to and clients that write
 * down what they got; and a reader for the access line, which is JSON.
 */
#ifndef WEIR_GATE_SUPPORT_H
#define WEIR_GATE_SUPPORT_H

#include "base/unit.h"

#include <poll.h>
#include <stdio.h>

#include "exchange.h"
#include "io/io_support.h"

#define FAR_MAX 32
#define ORDER "POST /v1/payments HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 4\r\n\r\npay!"
#define ASK "GET /v1/payments/1 HTTP/1.1\r\nHost: pay.example\r\n\r\n"
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- a flat JSON object, read strictly ---- */

#define LINE_FIELDS_MAX 48

struct line {
    int count;
    char keys[LINE_FIELDS_MAX][64];
    char values[LINE_FIELDS_MAX][2048]; /* texts without their quotes, escapes undone below 0x80 */
    bool is_text[LINE_FIELDS_MAX];
};

static inline char line_escape(const char **at)
{
    static const char *const plain = "\"\"\\\\//b\bf\fn\nr\rt\t";

    for (const char *pair = plain; *pair != '\0'; pair += 2) {
        if (**at == pair[0]) {
            (*at)++;
            return pair[1];
        }
    }
    if (**at != 'u') {
        fail_msg("no escape: \\%c", **at);
    }
    uint64_t code = 0;
    assert_true(bytes_hex_to_u64(bytes_of(*at + 1, 4), &code));
    *at += 5;
    return code < 0x80 ? (char)code : '?';
}

static inline void line_text(const char **at, char *text, size_t size)
{
    size_t len = 0;

    assert_int_equal(**at, '"');
    for ((*at)++; **at != '"';) {
        char byte = *(*at)++;
        assert_true((unsigned char)byte >= 0x20); /* a control, or the end, within a text */
        assert_true(len + 1 < size);
        text[len++] = byte == '\\' ? line_escape(at) : byte;
    }
    text[len] = '\0';
    (*at)++;
}

/* Reads `{"key":value,...}`; the test fails on anything that is not that, to its last byte, or names a key twice. */
static inline void line_read(struct line *line, const char *at)
{
    line->count = 0;
    assert_int_equal(*at, '{');
    do {
        int i = line->count++;
        at++;
        assert_true(i < LINE_FIELDS_MAX);
        line_text(&at, line->keys[i], sizeof line->keys[i]);
        for (int earlier = 0; earlier < i; earlier++) {
            assert_string_not_equal(line->keys[earlier], line->keys[i]);
        }
        assert_int_equal(*at++, ':');
        line->is_text[i] = *at == '"';
        if (line->is_text[i]) {
            line_text(&at, line->values[i], sizeof line->values[i]);
            continue;
        }
        size_t len = strcspn(at, ",}");
        uint64_t number = 0;
        assert_true(bytes_to_u64(bytes_of(at, len), &number) || bytes_equal(bytes_of(at, len), BYTES("true")) ||
                    bytes_equal(bytes_of(at, len), BYTES("false")));
        (void)bytes_to_text(bytes_of(at, len), line->values[i], sizeof line->values[i]);
        at += len;
    } while (*at == ',');
    assert_string_equal(at, "}");
}

/* The value of a key; NULL: the line does not have it. */
static inline const char *line_value(const struct line *line, const char *key)
{
    for (int i = 0; i < line->count; i++) {
        if (strcmp(line->keys[i], key) == 0) {
            return line->values[i];
        }
    }
    return NULL;
}

#define assert_line(line, key, expected)                                                                               \
    do {                                                                                                               \
        const char *value_ = line_value(line, key);                                                                    \
        if (value_ == NULL || strcmp(value_, expected) != 0) {                                                         \
            fail_msg("%s is %s, not %s", key, value_ == NULL ? "missing" : value_, expected);                          \
        }                                                                                                              \
    } while (0)

/* What a caller needs to know of an end, in one: reason, outcome, who ended it and the phase's letter. */
static inline void assert_verdict(const struct line *line, const char *reason, const char *outcome, const char *ended_by,
                                  const char *phase)
{
    assert_line(line, "weir.reason", reason);
    assert_line(line, "weir.outcome", outcome);
    assert_line(line, "weir.ended_by", ended_by);
    assert_line(line, "weir.phase", phase);
}

/* ---- a log into a folder of its own ---- */

struct logbook {
    struct log *log;
    char folder[64];
    char access[96], events[96];
    int read_count; /* lines that a test has looked at */
};

static inline void logbook_open(struct logbook *book)
{
    char why[256] = "";

    *book = (struct logbook){.log = log_open()};
    assert_non_null(book->log);
    (void)snprintf(book->folder, sizeof book->folder, "%s", P_tmpdir "/weir-gate-test-XXXXXX");
    assert_non_null(mkdtemp(book->folder));
    (void)snprintf(book->access, sizeof book->access, "%s/access", book->folder);
    (void)snprintf(book->events, sizeof book->events, "%s/events", book->folder);
    const struct log_sink sinks[LOG_STREAM_COUNT] = {{book->access, LOG_JSON, LOG_DEBUG}, {book->events, LOG_JSON, LOG_DEBUG}};
    if (log_configure(book->log, sinks, why, sizeof why) != ERR_OK) {
        fail_msg("%s", why);
    }
}

/* A file's text, to be freed. */
static inline char *file_text(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    FILE *in = fopen(path, "r");

    assert_non_null(out);
    assert_non_null(in);
    for (int byte = fgetc(in); byte != EOF; byte = fgetc(in)) {
        assert_int_equal(fputc(byte, out), byte);
    }
    (void)fclose(in);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* The text of the access line of this index, to be freed; NULL: it is not written yet. */
static inline char *logbook_peek(const struct logbook *book, int index)
{
    char *text = file_text(book->access);
    char *from = text;
    char *line = NULL;

    for (char *end = strchr(from, '\n'); end != NULL && line == NULL; end = strchr(from, '\n')) {
        if (index-- == 0) {
            line = strndup(from, (size_t)(end - from));
        }
        from = end + 1;
    }
    free(text);
    return line;
}

/* Waits for the writer, a thread of its own, and returns the next line as text, to be freed. */
static inline char *logbook_next_text(struct logbook *book)
{
    uint64_t until_us = clock_now_us() + PATIENCE_US;
    char *text = logbook_peek(book, book->read_count);

    while (text == NULL) {
        if (clock_now_us() > until_us) {
            fail_msg("no access line %d", book->read_count);
        }
        (void)poll(NULL, 0, 1);
        text = logbook_peek(book, book->read_count);
    }
    book->read_count++;
    return text;
}

static inline void logbook_next(struct logbook *book, struct line *line)
{
    char *text = logbook_next_text(book);

    line_read(line, text);
    free(text);
}

/* Waits until the events log holds this text. */
static inline void logbook_wait_event(struct logbook *book, const char *part)
{
    uint64_t until_us = clock_now_us() + PATIENCE_US;

    for (bool found = false; !found;) {
        char *text = file_text(book->events);
        found = strstr(text, part) != NULL;
        if (!found && clock_now_us() > until_us) {
            fail_msg("no event: %s\nbut: %s", part, text);
        }
        free(text);
        if (!found) {
            (void)poll(NULL, 0, 1);
        }
    }
}

/* Every access line must have been looked at: a second line of one exchange does not go unseen. */
static inline void logbook_close(struct logbook *book)
{
    log_close(book->log, PATIENCE_US / 1000);
    assert_null(logbook_peek(book, book->read_count));
    (void)unlink(book->access);
    (void)unlink(book->events);
    assert_int_equal(rmdir(book->folder), 0);
}

/* ---- the processor ---- */

struct far_end {
    struct stream *stream;
    char *in; /* what came, whole, with a NUL behind */
    size_t in_bytes;
    bool ended;
};

static struct far_side {
    struct acceptor *acceptor;
    struct far_end ends[FAR_MAX];
    int accepted;
    const char *answer; /* to every read; NULL: silence */
    bool shut_after, reset_after;
} far;

static inline void far_say(int index, const char *text)
{
    struct bytes part = bytes_from_text(text);

    assert_int_equal(stream_write(far.ends[index].stream, &part, 1).err, ERR_OK);
}

static inline void far_on_read(void *owner, struct bytes data)
{
    struct far_end *end = owner;

    end->in = realloc(end->in, end->in_bytes + data.len + 1);
    assert_non_null(end->in);
    memcpy(end->in + end->in_bytes, data.at, data.len);
    end->in_bytes += data.len;
    end->in[end->in_bytes] = '\0';
    if (far.answer != NULL) {
        far_say((int)(end - far.ends), far.answer);
    }
    if (far.shut_after) {
        stream_shut(end->stream);
    } else if (far.reset_after) {
        stream_close(end->stream, true);
        end->stream = NULL;
    }
}

static inline void far_on_end(void *owner, enum err err)
{
    struct far_end *end = owner;

    (void)err;
    end->ended = true;
    stream_close(end->stream, false);
    end->stream = NULL;
}

static inline void far_on_drain(void *owner)
{
    (void)owner;
}

static const struct stream_ops far_ops = {.on_read = far_on_read, .on_end = far_on_end, .on_drain = far_on_drain};

static inline void far_on_accepted(void *owner, struct stream *stream)
{
    struct far_end *end = &far.ends[far.accepted];

    (void)owner;
    assert_true(far.accepted < FAR_MAX);
    far.accepted++;
    end->stream = stream;
    stream_attach(stream, &far_ops, end);
}

static inline size_t far_bytes(void)
{
    size_t bytes = 0;

    for (int i = 0; i < far.accepted; i++) {
        bytes += far.ends[i].in_bytes;
    }
    return bytes;
}

static inline bool far_has(int index, const char *part)
{
    return index < far.accepted && far.ends[index].in != NULL && strstr(far.ends[index].in, part) != NULL;
}

/* ---- a gate between them ---- */

static struct gate_world {
    struct loop *loop;
    struct stats *stats;
    struct upstream *upstream;
    struct gate *gate;
    struct logbook book;
    struct addr at;
} world;

/* Parts of the configuration, in YAML's flow style and with a comma in front: ", limits: {per_address: 2}". */
struct world_wishes {
    const char *listener;
    const char *processor;
    const char *pay;      /* the route /v1/payments and below */
    const char *routes;   /* more of them, in front: "{name: ...}, " */
    size_t buffers_bytes;
    uint32_t clients_max; /* 0: plenty */
};

static inline const char *wish(const char *text)
{
    return text == NULL ? "" : text;
}

static inline struct generation *world_generation(const struct world_wishes *wishes, const char *listen, uint32_t number)
{
    const struct generation_needs needs = {.upstream = world.upstream, .stats = world.stats, .log = world.book.log};
    struct conf_findings *findings = conf_findings_open();
    struct generation_parts tls;
    char text[4096];

    (void)snprintf(text, sizeof text,
                   "version: 1\n"
                   "listeners: [{name: in, address: '%s'%s}]\n"
                   "processors: {acme: {url: 'http://api.acme.example', endpoints: ['127.0.0.1:%u']%s}}\n"
                   "routes: [%s{name: pay, match: {path: /v1/payments/*}, to: acme%s}, "
                   "{name: order, match: {path: /v1/payments}, to: acme%s}]\n",
                   listen, wish(wishes->listener), (unsigned)acceptor_port(far.acceptor), wish(wishes->processor),
                   wish(wishes->routes), wish(wishes->pay), wish(wishes->pay));
    struct conf *conf = conf_load_text("weir.yaml", bytes_from_text(text), findings);
    if (conf == NULL || !generation_parts_open(&tls, conf, NULL, GENERATION_ABSENT_IS_ERROR, findings)) {
        fail_msg("%s", conf_findings_text(findings));
    }
    conf_findings_close(findings);
    struct generation *generation = generation_open(conf, &tls, &needs, number);
    assert_non_null(generation);
    return generation;
}

static inline void world_listen_far(void)
{
    struct addr_listen at;
    enum err err = ERR_OK;
    char why[200];

    assert_true(addr_listen_parse(BYTES("127.0.0.1:0"), &at));
    far.acceptor = acceptor_open(world.loop, &at, 64, far_on_accepted, NULL, &err, why, sizeof why);
    assert_non_null(far.acceptor);
}

static inline void world_open(struct world_wishes wishes)
{
    char why[400] = "";

    memset(&far, 0, sizeof far);
    memset(&world, 0, sizeof world);
    world.loop = loop_open(wishes.buffers_bytes);
    world.stats = stats_open();
    assert_non_null(world.loop);
    assert_non_null(world.stats);
    logbook_open(&world.book);
    world_listen_far();
    const struct upstream_options up = {.loop = world.loop, .stats = world.stats, .log = world.book.log};
    world.upstream = upstream_open(&up);
    const struct gate_options options = {
        .loop = world.loop,
        .log = world.book.log,
        .stats = world.stats,
        .upstream = world.upstream,
        .clients_max = wishes.clients_max != 0 ? wishes.clients_max : 1000,
    };
    world.gate = gate_open(&options);
    assert_non_null(world.gate);
    if (!gate_use(world.gate, world_generation(&wishes, "127.0.0.1:0", 1), why, sizeof why)) {
        fail_msg("%s", why);
    }
    assert_true(addr_parse(BYTES("127.0.0.1:0"), &world.at));
    addr_set_port(&world.at, gate_port(world.gate, 0));
}

/* One number of the gate's state, as status pages read it. */
static inline struct gate_state world_state(void)
{
    struct gate_state state;

    gate_state(world.gate, &state);
    return state;
}

static inline void world_close(void)
{
    assert_int_equal(gate_cut(world.gate), 0); /* a test sees its exchanges to their end */
    UNTIL(world.loop, world_state().clients == 0 && world_state().exchanges == 0 && list_empty(&world.gate->listeners));
    gate_close(world.gate);
    upstream_close(world.upstream);
    if (far.acceptor != NULL) {
        acceptor_close(far.acceptor);
    }
    for (int i = 0; i < far.accepted; i++) {
        if (far.ends[i].stream != NULL) {
            stream_close(far.ends[i].stream, false);
        }
    }
    assert_true(loop_close(world.loop)); /* every stream, timer and block was given back */
    for (int i = 0; i < far.accepted; i++) {
        free(far.ends[i].in);
    }
    stats_close(world.stats);
    logbook_close(&world.book);
}

/* What /metrics says, to be freed. */
static inline char *world_metrics(void)
{
    struct blocks blocks;
    struct buf out;

    blocks_init(&blocks, 0, 0);
    buf_init(&out, &blocks, SIZE_MAX);
    assert_int_equal(stats_print(world.stats, &out), ERR_OK);
    char *text = malloc(out.len + 1);
    assert_non_null(text);
    size_t len = 0;
    while (out.len > 0) {
        struct bytes front = buf_front(&out);
        memcpy(text + len, front.at, front.len);
        len += front.len;
        buf_consume(&out, front.len);
    }
    text[len] = '\0';
    buf_reset(&out);
    blocks_close(&blocks);
    return text;
}

static inline void assert_metric(const char *sample)
{
    char *text = world_metrics();

    if (strstr(text, sample) == NULL) {
        fail_msg("not in /metrics: %s", sample);
    }
    free(text);
}

/* ---- clients ---- */

static inline void near_connect(struct end *end)
{
    enum err err;

    memset(end, 0, sizeof *end);
    end->stream = stream_connect(world.loop, &world.at, NULL, &end_ops, end, &err);
    assert_non_null(end->stream);
}

static inline void near_open(struct end *end)
{
    near_connect(end);
    UNTIL(world.loop, end->opens == 1);
    assert_int_equal(end->open_err, ERR_OK);
}

static inline void near_say(struct end *end, const char *text)
{
    assert_int_equal(end_say(end, text).err, ERR_OK);
}

/* What it got so far holds this. */
static inline bool near_has(const struct end *end, const char *part)
{
    return end->in_bytes > 0 && bytes_find_text(bytes_of(end->in, end->in_bytes), bytes_from_text(part)) != SIZE_MAX;
}

static inline int near_count(const struct end *end, const char *part)
{
    struct bytes rest = bytes_of(end->in, end->in_bytes);
    int count = 0;

    for (size_t at = bytes_find_text(rest, bytes_from_text(part)); at != SIZE_MAX && rest.len > 0;
         at = bytes_find_text(rest, bytes_from_text(part))) {
        count++;
        rest = bytes_skip(rest, at + strlen(part));
    }
    return count;
}

static inline void near_close(struct end *end, bool reset)
{
    if (end->stream != NULL) {
        stream_close(end->stream, reset);
        UNTIL(world.loop, end->closes == 1);
    }
    end_free(end);
}

/* Sends a request and waits for what must come of it. */
static inline void near_ask(struct end *end, const char *request, const char *part)
{
    near_say(end, request);
    UNTIL(world.loop, near_has(end, part));
}

/* Waits until the connection is over, and says how it ended. */
static inline enum err near_end(struct end *end)
{
    UNTIL(world.loop, end->ends == 1);
    return end->end_err;
}

/* A connection that is reset at once may break before or after its connect is told. */
static inline bool near_refused(const struct end *end)
{
    return end->ends == 1 || (end->opens == 1 && end->open_err != ERR_OK);
}

/* The next access line; an exchange's is there once it has ended. */
static inline void next_line(struct line *line)
{
    logbook_next(&world.book, line);
}

#endif
