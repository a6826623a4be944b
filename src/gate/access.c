/*
 * The one access line of an exchange: JSON, always on, without query, key,
 * credential or body; card numbers masked. Field names follow OpenTelemetry's
 * HTTP conventions where there is one, `weir.` where there is none.
 */
#include "claim.h"

#include "weir/base/clock.h"
#include "weir/base/json.h"
#include "weir/base/mask.h"

#define ACCESS_TEXT_BYTES_MAX 512 /* of a path, a user agent or a caller's request id */
/* All that is not a text of others, `weir.why` with its escapes included: 2.5 KiB when every part is at its longest. */
#define ACCESS_OWN_BYTES_MAX 3072

/*
 * A line is written straight through, without asking for room at each part: its own parts have a known maximum, and
 * the texts of others are left out when they would reach into it. Keys come with their quotes and commas as one literal,
 * which is copied by a few moves (5.3 thousand instructions a line with a JSON writer, 1.9 thousand so).
 */
#define KEY(name) BYTES(",\"" name "\":")
#define KEY_OF_TEXT(name) BYTES(",\"" name "\":\"")

static const char *const ended_names[] = {
    [ENDED_NORMAL] = "-",
    [ENDED_BY_CLIENT] = "client",
    [ENDED_BY_PROCESSOR] = "processor",
    [ENDED_BY_WEIR] = "weir",
    [ENDED_BY_TIMEOUT] = "timeout",
};

static inline char *put_number(char *at, struct bytes key, uint64_t number)
{
    at = bytes_put(at, key);
    return at + bytes_from_u64(number, at);
}

/* A text of ours, which needs no escape. `key` is a KEY_OF_TEXT. */
static inline char *put_own(char *at, struct bytes key, struct bytes text)
{
    at = bytes_put(bytes_put(at, key), text);
    *at = '"';
    return at + 1;
}

/* Escapes the `len` bytes that stand at `at`, which are followed by `size` bytes of room in all. */
static char *escape(char *at, size_t len, size_t size)
{
    WEIR_SCRATCH char copy[ACCESS_TEXT_BYTES_MAX];
    struct json json;
    memcpy(copy, at, len);
    json_init(&json, at - 1, size); /* it brings both quotes */
    json_add_string(&json, bytes_of(copy, len));
    CHECK(!json.overflow);
    return at - 1 + json.len;
}

/* Text of others: cut to a sane length, card numbers masked. Left out when it might not end before `end`. */
static char *put_foreign(char *at, const char *end, struct bytes key, struct bytes text)
{
    struct bytes shown = bytes_take(text, ACCESS_TEXT_BYTES_MAX);
    size_t size = shown.len * 6 + 2; /* 6: the longest escape of a byte */
    if (shown.len == 0 || at > end || (size_t)(end - at) < key.len + size) {
        return at;
    }
    at = bytes_put(at, key);
    (void)bytes_put(at, shown);
    (void)mask_cards(at, shown.len);
    if (!json_is_plain(bytes_of(at, shown.len))) {
        return escape(at, shown.len, size);
    }
    at[shown.len] = '"';
    return at + shown.len + 1;
}

static char *put_request(char *at, const char *end, const struct exchange *x)
{
    const struct http_head *head = x->head;
    WEIR_SCRATCH char text[ADDR_TEXT_BYTES];
    at = put_own(at, KEY_OF_TEXT("request_id"), bytes_of(x->request_id, REQUEST_ID_BYTES));
    if (head != NULL) {
        const struct http_field *given = http_head_find(head, HTTP_FIELD_X_REQUEST_ID);
        const struct http_field *agent = http_head_find(head, HTTP_FIELD_USER_AGENT);
        if (given != NULL) {
            at = put_foreign(at, end, KEY_OF_TEXT("x_request_id"), given->value);
        }
        at = put_own(at, KEY_OF_TEXT("http.request.method"), head->method);
        at = put_foreign(at, end, KEY_OF_TEXT("url.path"), head->path);
        if (agent != NULL) {
            at = put_foreign(at, end, KEY_OF_TEXT("user_agent.original"), agent->value);
        }
        at = bytes_put(at, BYTES(",\"network.protocol.version\":\"1.1\"")); /* no other is taken */
    }
    at = put_own(at, KEY_OF_TEXT("client.address"), forward_client_address(x, text));
    if (x->tls_version != NULL) {
        at = put_own(at, KEY_OF_TEXT("tls.protocol.version"), bytes_from_text(x->tls_version));
    }
    return put_own(at, KEY_OF_TEXT("weir.listener"), bytes_from_text(x->listener->name));
}

/* A record may be bound to another processor than the one that its route has now: then that one was asked. */
static char *put_route(char *at, const struct exchange *x)
{
    struct route_ready *route = x->route;
    if (x->processor_conf == route->processor_conf) {
        *at++ = ',';
        return bytes_put(at, bytes_of(route->access, route->access_len));
    }
    at = put_own(at, KEY_OF_TEXT("http.route"), bytes_from_text(route->conf->name));
    at = put_own(at, KEY_OF_TEXT("weir.route"), bytes_from_text(route->conf->name));
    return put_own(at, KEY_OF_TEXT("weir.processor"), bytes_from_text(x->processor_conf->name));
}

static char *put_routing(char *at, const struct exchange *x)
{
    if (x->route == NULL) {
        return at;
    }
    at = put_route(at, x);
    if (x->move == MOVE_DONE) {
        const struct conf *conf = generation_conf(x->generation);
        at = put_own(at, KEY_OF_TEXT("weir.failover_from"), bytes_from_text(conf->processors[x->route->conf->processor].name));
    }
    if (x->again != AGAIN_NO) {
        at = bytes_put(at, BYTES(",\"weir.sent_again\":true"));
    }
    if (x->call.state != CALL_IDLE) {
        at = put_own(at, KEY_OF_TEXT("server.address"), bytes_from_text(call_endpoint_text(&x->call)));
        at = put_number(at, KEY("weir.attempts"), (uint64_t)x->call.attempts + x->attempts);
        at = bytes_put(at, x->call.reused ? BYTES(",\"weir.link_reused\":true") : BYTES(",\"weir.link_reused\":false"));
    }
    return at;
}

/* For `weir idempotency show`. */
static char *put_record(char *at, const struct exchange *x)
{
    char text[IDEM_SHORT_BYTES + 1];
    if (x->claim == NULL) {
        return at;
    }
    idem_name_short(&x->claim->name, text);
    return put_own(at, KEY_OF_TEXT("weir.record"), bytes_of(text, IDEM_SHORT_BYTES));
}

static char *put_verdict(char *at, const char *end, const struct exchange *x)
{
    char letter = exchange_phase_letter(x->ended_in);
    at = put_number(at, KEY("http.response.status_code"), x->status);
    at = put_own(at, KEY_OF_TEXT("weir.reason"), bytes_from_text(reason_name(x->reason)));
    at = put_own(at, KEY_OF_TEXT("weir.code"), bytes_from_text(reason_code(x->reason)));
    at = put_own(at, KEY_OF_TEXT("weir.outcome"), bytes_from_text(outcome_name(x->outcome)));
    at = put_own(at, KEY_OF_TEXT("weir.ended_by"), bytes_from_text(ended_names[x->ended_by]));
    at = put_own(at, KEY_OF_TEXT("weir.phase"), bytes_of(&letter, 1));
    return put_foreign(at, end, KEY_OF_TEXT("weir.why"), bytes_from_text(x->why));
}

/* Where the time went: reading the request, the store, waiting for a link, connecting, the processor, weir itself. */
static char *put_times(char *at, const struct exchange *x)
{
    uint64_t begun_us = x->phase_at_us[PHASE_HEAD];
    uint64_t sent_us = x->phase_at_us[PHASE_SEND];
    uint64_t link_us = x->phase_at_us[PHASE_LINK];
    uint64_t admit_us = x->phase_at_us[PHASE_ADMIT];
    uint64_t commit_us = x->phase_at_us[PHASE_COMMIT];
    uint64_t total_us = x->now_us - begun_us;
    at = put_number(at, KEY("bytes_in"), x->bytes_in);
    at = put_number(at, KEY("bytes_out"), x->bytes_out);
    at = put_number(at, KEY("t_total_us"), total_us);
    if (admit_us != 0 || link_us != 0) {
        at = put_number(at, KEY("t_read_us"), (admit_us != 0 ? admit_us : link_us) - begun_us);
    }
    if (admit_us != 0) {
        at = put_number(at, KEY("t_store_us"), (link_us != 0 ? link_us : x->now_us) - admit_us);
    }
    if (commit_us != 0) {
        at = put_number(at, KEY("t_commit_us"), x->now_us - commit_us);
    }
    if (sent_us == 0) {
        return at;
    }
    at = put_number(at, KEY("t_queue_us"), sent_us - link_us);
    at = put_number(at, KEY("t_connect_us"), call_connect_us(&x->call));
    if (x->call.first_byte_us != 0) {
        at = put_number(at, KEY("t_ttfb_us"), x->call.first_byte_us - sent_us);
    }
    return put_number(at, KEY("t_overhead_us"), total_us - (x->now_us - sent_us));
}

void access_write(struct exchange *x)
{
    WEIR_SCRATCH char line[LOG_LINE_BYTES];
    const char *end = line + sizeof line;
    char *at = bytes_put(line, BYTES("{\"timestamp\":\""));
    log_time_format(clock_wall_us(), at);
    at[LOG_TIME_BYTES - 1] = '"'; /* over its NUL */
    at += LOG_TIME_BYTES;
    at = put_request(at, end - ACCESS_OWN_BYTES_MAX, x);
    at = put_routing(at, x);
    at = put_record(at, x);
    at = put_verdict(at, end, x);
    at = put_times(at, x);
    *at++ = '}';
    CHECK(at <= end);
    (void)log_line(x->gate->options.log, LOG_ACCESS, bytes_of(line, (size_t)(at - line)));
}
