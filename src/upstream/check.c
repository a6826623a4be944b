/*
 * Active checks of an endpoint: when the next one is due, and one connection
 * for each, closed as soon as it says what it was asked for. What a result comes
 * to is the endpoint's matter. It uses neither the pool nor its places
 * (docs/decisions/0042): a check must not wait behind the calls whose fate it
 * is to foretell.
 *
 *   WAITING --its time--> CONNECTING --http: a request is out--> ASKED
 *   any of both --a result--> CLOSING --closed--> WAITING, or the end when it was stopped
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"

enum check_state {
    CHECK_WAITING,    /* for the time of the next one */
    CHECK_CONNECTING, /* TCP, then TLS if that is asked for */
    CHECK_ASKED,      /* the request is out */
    CHECK_CLOSING,    /* its stream is [transient] */
    CHECK_STATE_COUNT
};

struct check {
    struct endpoint *endpoint;    /* borrowed: it stays while it has a check */
    enum check_state state;
    enum conf_health type;        /* of the one that is under way; settings may change meanwhile */
    bool begun;                   /* one was made, or tried */
    bool hurry;                   /* the next one sooner */
    bool stopped;                 /* it goes, once its stream is closed */
    struct timer timer;           /* WAITING: the time of the next; else the deadline */
    struct stream *stream;        /* NULL: WAITING */
    struct arena arena;           /* of the answer's head */
    struct http_message *message; /* in the arena; NULL: no byte of an answer yet */
    struct deferred burial;
};

static const struct stream_ops check_ops;

/* The only place that changes a check's state. */
static void check_enter(struct check *check, enum check_state state)
{
    static const uint8_t legal[CHECK_STATE_COUNT] = {
        [CHECK_WAITING] = 1 << CHECK_CONNECTING,
        [CHECK_CONNECTING] = 1 << CHECK_ASKED | 1 << CHECK_CLOSING,
        [CHECK_ASKED] = 1 << CHECK_CLOSING,
        [CHECK_CLOSING] = 1 << CHECK_WAITING,
    };
    CHECK((legal[check->state] >> state & 1) != 0);
    check->state = state;
}

static const struct check_settings *settings_of(const struct check *check)
{
    return &check->endpoint->processor->settings.check;
}

static struct loop *loop_of(const struct check *check)
{
    return check->endpoint->processor->upstream->options.loop;
}

/* ---- the next one ---- */

static uint64_t next_due_us(struct check *check)
{
    struct endpoint *endpoint = check->endpoint;
    uint64_t wait_us = health_wait_us(&endpoint->health, &settings_of(check)->health, !check->begun, check->hurry,
                                      upstream_random(endpoint->processor->upstream));
    return loop_now_us(loop_of(check)) + wait_us;
}

static void wait_for_next(struct check *check)
{
    timer_set(&check->timer, next_due_us(check));
    check->hurry = false;
}

/* Something says that it should be sooner than it was to be; later it never is. */
static void wait_less(struct check *check)
{
    uint64_t due_us = next_due_us(check);
    if (!timer_armed(&check->timer) || due_us < check->timer.due_us) {
        timer_set(&check->timer, due_us);
    }
    check->hurry = false;
}

/* ---- results ---- */

static void check_close(struct check *check, bool reset)
{
    timer_stop(&check->timer);
    check->message = NULL;
    arena_reset(&check->arena);
    check_enter(check, CHECK_CLOSING);
    stream_close(check->stream, reset);
}

/* `words` NULL: it passed. They may be the stream's own, which stays for this turn. */
static void check_finish(struct check *check, const char *words)
{
    check_close(check, words != NULL);
    endpoint_on_check(check->endpoint, words == NULL, words != NULL ? words : "");
}

/* What weir itself is short of says nothing of the endpoint: no result. */
static bool is_own_want(enum err err)
{
    return err == ERR_NO_MEMORY || err == ERR_DESCRIPTORS || err == ERR_FULL;
}

static void judge(struct check *check, const struct http_head *head)
{
    const struct check_settings *settings = settings_of(check);
    char words[32];
    if (head->status >= settings->status_min && head->status <= settings->status_max) {
        check_finish(check, NULL);
        return;
    }
    (void)snprintf(words, sizeof words, "status %u", (unsigned)head->status);
    check_finish(check, words);
}

/* ---- one check ---- */

static void on_open(void *owner, enum err err);

static void check_begin(struct check *check)
{
    struct endpoint *endpoint = check->endpoint;
    struct processor_settings *settings = &endpoint->processor->settings;
    enum err err = ERR_OK;
    check->begun = true;
    check->type = settings->check.type;
    struct tls_client *tls = check->type != CONF_HEALTH_TCP ? settings->tls : NULL;
    check->stream = stream_connect(loop_of(check), &endpoint->addr, tls, &check_ops, check, &err);
    if (check->stream == NULL) {
        if (!is_own_want(err)) {
            endpoint_on_check(endpoint, false, err_sentence(err));
        }
        wait_less(check); /* the result may have asked for a hurry */
        return;
    }
    check_enter(check, CHECK_CONNECTING);
    timer_set_after(&check->timer, settings->check.timeout_ms * CLOCK_US_PER_MS);
}

static void on_timer(struct timer *timer)
{
    struct check *check = container_of(timer, struct check, timer);
    switch (check->state) {
    case CHECK_WAITING:
        check_begin(check);
        break;
    case CHECK_CONNECTING:
        check_finish(check, "no connection in time");
        break;
    case CHECK_ASKED:
        check_finish(check, "no answer in time");
        break;
    case CHECK_CLOSING:
    case CHECK_STATE_COUNT:
        break;
    }
}

static void ask(struct check *check)
{
    const struct check_settings *settings = settings_of(check);
    if (settings->path == NULL) {
        check_close(check, false); /* what was to be asked is not asked any more */
        return;
    }
    const struct bytes parts[] = {BYTES("GET "), bytes_from_text(settings->path), BYTES(" HTTP/1.1\r\nHost: "),
                                  bytes_from_text(settings->host),
                                  BYTES("\r\nUser-Agent: weir-check\r\nAccept: */*\r\nConnection: close\r\n\r\n")};
    check_enter(check, CHECK_ASKED);
    struct stream_wrote wrote = stream_write(check->stream, parts, ARRAY_COUNT(parts));
    if (is_own_want(wrote.err)) {
        check_close(check, true);
    } else if (wrote.err != ERR_OK) {
        check_finish(check, err_sentence(wrote.err));
    }
}

static void on_open(void *owner, enum err err)
{
    struct check *check = owner;
    if (is_own_want(err)) {
        check_close(check, false);
    } else if (err != ERR_OK) {
        const char *words = stream_why(check->stream);
        check_finish(check, words[0] != '\0' ? words : err_sentence(err));
    } else if (check->type == CONF_HEALTH_HTTP) {
        ask(check);
    } else {
        check_finish(check, NULL);
    }
}

static bool begin_answer(struct check *check)
{
    const struct http_limits limits = {
        .head_bytes_max = RESPONSE_HEAD_BYTES_MAX,
        .target_bytes_max = HTTP_TARGET_BYTES_MAX,
        .body_bytes_max = UINT64_MAX,
    };
    if (check->message == NULL) {
        check->message = http_message_new(&check->arena, HTTP_RESPONSE_MESSAGE, &limits, false);
    }
    return check->message != NULL;
}

/* The head decides; whatever comes behind it is not read. */
static void on_read(void *owner, struct bytes data)
{
    struct check *check = owner;
    struct bytes body = BYTES_NONE;
    if (check->state == CHECK_CONNECTING) {
        return; /* it spoke first; tcp and tls end with on_open */
    }
    if (!begin_answer(check)) {
        check_close(check, true);
        return;
    }
    switch (http_message_feed(check->message, &data, &body)) {
    case HTTP_MORE:
        break;
    case HTTP_HEAD:
    case HTTP_BODY:
    case HTTP_END:
        judge(check, http_message_head(check->message));
        break;
    case HTTP_FAULTED:
        if (http_message_fault(check->message) == HTTP_FAULT_NO_ROOM) {
            check_close(check, true);
        } else {
            check_finish(check, http_message_fault_text(check->message));
        }
        break;
    }
}

static void on_end(void *owner, enum err err)
{
    struct check *check = owner;
    bool begun = check->message != NULL && http_message_begun(check->message);
    check_finish(check, err != ERR_EOF ? err_sentence(err) : begun ? "closed within an answer" : "closed without an answer");
}

static void on_drain(void *owner)
{
    (void)owner; /* the request was given as a whole */
}

/* ---- life ---- */

static void on_burial(struct deferred *deferred)
{
    struct check *check = container_of(deferred, struct check, burial);
    struct endpoint *endpoint = check->endpoint;
    endpoint->check = NULL;
    free(check);
    processor_maybe_bury(endpoint->processor);
}

static void on_closed(void *owner)
{
    struct check *check = owner;
    check->stream = NULL;
    check_enter(check, CHECK_WAITING);
    if (check->stopped) {
        loop_defer(loop_of(check), &check->burial);
    } else {
        wait_for_next(check);
    }
}

static struct check *check_new(struct endpoint *endpoint)
{
    struct check *check = calloc(1, sizeof *check);
    if (check == NULL) {
        return NULL;
    }
    check->endpoint = endpoint;
    timer_init(&check->timer, endpoint->processor->upstream->options.loop, on_timer);
    arena_init(&check->arena, loop_blocks(endpoint->processor->upstream->options.loop));
    deferred_init(&check->burial, on_burial);
    return check;
}

void check_start(struct endpoint *endpoint)
{
    if (endpoint->processor->settings.check.type == CONF_HEALTH_NONE) {
        check_stop(endpoint);
        return;
    }
    if (endpoint->check == NULL) {
        endpoint->check = check_new(endpoint);
    }
    struct check *check = endpoint->check;
    if (check == NULL) {
        return; /* no memory for it: its calls alone tell how it is */
    }
    if (check->stopped) {
        check->stopped = false;
        check->begun = false;
        loop_undefer(&check->burial);
    }
    if (check->state == CHECK_WAITING) {
        wait_less(check);
    }
}

void check_stop(struct endpoint *endpoint)
{
    struct check *check = endpoint->check;
    if (check == NULL || check->stopped) {
        return;
    }
    check->stopped = true;
    switch (check->state) {
    case CHECK_WAITING:
        timer_stop(&check->timer);
        loop_defer(loop_of(check), &check->burial);
        break;
    case CHECK_CONNECTING:
    case CHECK_ASKED:
        check_close(check, true);
        break;
    case CHECK_CLOSING:
    case CHECK_STATE_COUNT:
        break;
    }
}

bool check_is_over(const struct endpoint *endpoint)
{
    return endpoint->check == NULL;
}

void check_hurry(struct endpoint *endpoint)
{
    struct check *check = endpoint->check;
    if (check == NULL || check->stopped) {
        return;
    }
    check->hurry = true;
    if (check->state == CHECK_WAITING) {
        wait_less(check);
    }
}

static const struct stream_ops check_ops = {
    .on_open = on_open,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
};
