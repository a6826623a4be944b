/*
 * The one access line of an exchange: JSON, always on, without query, key,
 * credential or body; card numbers masked. Field names follow OpenTelemetry's
 * HTTP conventions where there is one, `weir.` where there is none.
 */
#include "exchange.h"

#include "weir/base/clock.h"
#include "weir/base/mask.h"

#define ACCESS_TEXT_BYTES_MAX 512 /* of a path, a user agent or a caller's request id */
#define ACCESS_OWN_BYTES_MAX 3072  /* what the fields behind put_request() take at most, `why` with its escapes included */

static const char *const ended_names[] = {
    [ENDED_NORMAL] = "-",
    [ENDED_BY_CLIENT] = "client",
    [ENDED_BY_PROCESSOR] = "processor",
    [ENDED_BY_WEIR] = "weir",
    [ENDED_BY_TIMEOUT] = "timeout",
};

/* Words of ours, which need no escape. */
static void put_own(struct json *json, const char *key, const char *text)
{
    json_put_plain(json, key, bytes_from_text(text));
}

/* Text of others: cut to a sane length, card numbers masked. */
static void put_foreign(struct json *json, const char *key, struct bytes text)
{
    WEIR_SCRATCH char copy[ACCESS_TEXT_BYTES_MAX];
    struct bytes shown = bytes_take(text, sizeof copy);
    if (shown.len == 0 || shown.len * 6 > json->size - json->len) { /* 6: the longest escape of a byte */
        return;
    }
    memcpy(copy, shown.at, shown.len);
    (void)mask_cards(copy, shown.len);
    json_put_string(json, key, bytes_of(copy, shown.len));
}

static void put_request(struct json *json, const struct exchange *x)
{
    const struct http_head *head = x->head;
    WEIR_SCRATCH char text[ADDR_TEXT_BYTES];
    json_put_plain(json, "request_id", bytes_of(x->request_id, REQUEST_ID_BYTES));
    if (head != NULL) {
        const struct http_field *given = http_head_find(head, HTTP_FIELD_X_REQUEST_ID);
        const struct http_field *agent = http_head_find(head, HTTP_FIELD_USER_AGENT);
        if (given != NULL) {
            put_foreign(json, "x_request_id", given->value);
        }
        json_put_plain(json, "http.request.method", head->method);
        put_foreign(json, "url.path", head->path);
        if (agent != NULL) {
            put_foreign(json, "user_agent.original", agent->value);
        }
        json_put_plain(json, "network.protocol.version", BYTES("1.1")); /* no other is taken */
    }
    json_put_plain(json, "client.address", forward_client_address(x, text));
    if (x->tls_version != NULL) {
        put_own(json, "tls.protocol.version", x->tls_version);
    }
    json_put_text(json, "weir.listener", x->listener->name);
}

static void put_routing(struct json *json, const struct exchange *x)
{
    if (x->route == NULL) {
        return;
    }
    json_add_raw(json, bytes_of(x->route->access, x->route->access_len));
    if (x->call.state != CALL_IDLE) {
        put_own(json, "server.address", call_endpoint_text(&x->call));
        json_put_u64(json, "weir.attempts", (uint64_t)x->call.attempts + x->link_tries);
        json_put_bool(json, "weir.link_reused", x->call.reused);
    }
}

static void put_verdict(struct json *json, const struct exchange *x)
{
    char letter = exchange_phase_letter(x->ended_in);
    json_put_u64(json, "http.response.status_code", x->status);
    put_own(json, "weir.reason", reason_name(x->reason));
    put_own(json, "weir.code", reason_code(x->reason));
    put_own(json, "weir.outcome", outcome_name(x->outcome));
    put_own(json, "weir.ended_by", ended_names[x->ended_by]);
    json_put_plain(json, "weir.phase", bytes_of(&letter, 1));
    if (x->why[0] != '\0') {
        put_foreign(json, "weir.why", bytes_from_text(x->why));
    }
}

/* Where the time went: reading the request, waiting for a link, connecting, the processor, weir itself. */
static void put_times(struct json *json, const struct exchange *x)
{
    uint64_t begun_us = x->phase_at_us[PHASE_HEAD];
    uint64_t sent_us = x->phase_at_us[PHASE_SEND];
    uint64_t link_us = x->phase_at_us[PHASE_LINK];
    uint64_t total_us = x->now_us - begun_us;
    json_put_u64(json, "bytes_in", x->bytes_in);
    json_put_u64(json, "bytes_out", x->bytes_out);
    json_put_u64(json, "t_total_us", total_us);
    if (link_us != 0) {
        json_put_u64(json, "t_read_us", link_us - begun_us);
    }
    if (sent_us == 0) {
        return;
    }
    json_put_u64(json, "t_queue_us", sent_us - link_us);
    json_put_u64(json, "t_connect_us", call_connect_us(&x->call));
    if (x->call.first_byte_us != 0) {
        json_put_u64(json, "t_ttfb_us", x->call.first_byte_us - sent_us);
    }
    json_put_u64(json, "t_overhead_us", total_us - (x->now_us - sent_us));
}

void access_write(struct exchange *x)
{
    WEIR_SCRATCH char line[LOG_LINE_BYTES];
    char stamp[LOG_TIME_BYTES];
    struct json json;
    log_time_format(clock_wall_us(), stamp);
    /* Foreign texts may fill the line up to a rest that our own fields fit in. */
    json_init(&json, line, sizeof line - ACCESS_OWN_BYTES_MAX);
    json_object_open(&json);
    json_put_plain(&json, "timestamp", bytes_of(stamp, LOG_TIME_BYTES - 1));
    put_request(&json, x);
    json.size = sizeof line;
    put_routing(&json, x);
    put_verdict(&json, x);
    put_times(&json, x);
    json_object_close(&json);
    CHECK(!json.overflow); /* foreign texts are left out before the line is full */
    (void)log_line(x->gate->options.log, LOG_ACCESS, json_bytes(&json));
}
