/*
 * The table of resources and one function for each. Order: the table, the
 * payments, the small ones, the test's own.
 */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>

#include "input.h"
#include "weir/base/clock.h"
#include "weir/base/json.h"
#include "weir/http/write.h"

#define TYPE_JSON          "application/json"
#define PAYMENT_TEXT_BYTES 1024
#define ERROR_TEXT_BYTES   512
#define BYTES_ANSWER_MAX   (UINT64_C(1) << 30)

typedef void (*route_cb)(struct sandbox *sandbox, const struct request *request, struct arena *arena,
                         struct answer *answer);

struct route {
    const char *method;
    const char *path; /* exact, or a prefix when it ends with '/' and more follows */
    route_cb run;
};

static void answer_json(struct answer *answer, uint16_t status, struct bytes body)
{
    *answer = (struct answer){.status = status, .body = body, .type = TYPE_JSON};
}

static const char *error_type(uint16_t status)
{
    if (status == 429) {
        return "rate_limit_error";
    }
    if (status == 402) {
        return "card_error";
    }
    return status >= 500 ? "api_error" : "invalid_request_error";
}

void routes_answer_error(const struct sandbox *sandbox, struct arena *arena, uint16_t status, struct bytes message,
                         struct answer *answer)
{
    char *text = arena_take(arena, ERROR_TEXT_BYTES);
    struct json json;

    if (sandbox->dialect != NULL) {
        dialect_answer_error(sandbox->dialect, arena, status, message, answer);
        return;
    }
    if (text == NULL) {
        answer_json(answer, status, BYTES("{\"error\":{\"type\":\"api_error\",\"message\":\"out of memory\"}}"));
        return;
    }
    json_init(&json, text, ERROR_TEXT_BYTES);
    json_object_open(&json);
    json_key(&json, "error");
    json_object_open(&json);
    json_put_text(&json, "type", error_type(status));
    json_put_string(&json, "message", bytes_take(message, ERROR_TEXT_BYTES / 8));
    json_object_close(&json);
    json_object_close(&json);
    answer_json(answer, status, json_bytes(&json));
}

void routes_answer_fault(const struct sandbox *sandbox, struct arena *arena, uint16_t status, bool executed,
                         struct answer *answer)
{
    routes_answer_error(sandbox, arena, status, BYTES("as the fault asked"), answer);
    if (sandbox->dialect != NULL && !executed) {
        dialect_mark_not_executed(sandbox->dialect, status, answer);
    }
}

void routes_answer_grow(struct answer *answer, uint64_t bytes)
{
    size_t len = answer->body.len;

    if (answer->filler_bytes > 0 || len == 0 || answer->body.at[len - 1] != '}' || bytes <= len) {
        return;
    }
    /* {"id":..} becomes {"id":..,"filler":"0123.."}: the open end is ours to write, the body lies in the arena. */
    answer->filler_bytes = bytes - len;
    answer->tail = BYTES("\"}");
}

void answer_release(struct answer *answer)
{
    free(answer->owned);
    *answer = (struct answer){0};
}

static struct bytes field_value(const struct http_head *head, struct bytes name)
{
    const struct http_field *field = http_head_find_name(head, name);

    return field == NULL ? BYTES_NONE : field->value;
}

/* The stand-in answers in two dialects; an intent has a few fields more, which Stripe's SDKs read. */
static void answer_payment(const struct sandbox *sandbox, const struct execution *execution, struct arena *arena,
                           struct answer *answer)
{
    char *text = arena_take(arena, PAYMENT_TEXT_BYTES);
    char id[LEDGER_NUMBER_BYTES + 8];
    struct json json;

    if (text == NULL) {
        routes_answer_error(sandbox, arena, 500, BYTES("out of memory"), answer);
        return;
    }
    snprintf(id, sizeof(id), "%s%s", execution->intent ? "pi_" : "pay_", execution->id);
    json_init(&json, text, PAYMENT_TEXT_BYTES);
    json_object_open(&json);
    json_put_text(&json, "id", id);
    json_put_text(&json, "object", execution->intent ? "payment_intent" : "payment");
    json_put_u64(&json, "amount", execution->amount);
    json_put_text(&json, "currency", execution->currency);
    if (execution->intent) {
        json_put_u64(&json, "amount_received", execution->amount);
        json_put_u64(&json, "created", execution->at_wall_us / CLOCK_US_PER_S);
        json_put_bool(&json, "livemode", false);
    }
    json_put_text(&json, "status", "succeeded");
    json_put_text(&json, "processor", sandbox->name);
    json_put_text(&json, "tenant", execution->tenant);
    json_object_close(&json);
    if (json.overflow) {
        routes_answer_error(sandbox, arena, 500, BYTES("the payment does not fit its answer"), answer);
        return;
    }
    answer_json(answer, 200, json_bytes(&json));
}

static void pay(struct sandbox *sandbox, const struct request *request, bool intent, struct arena *arena,
                struct answer *answer)
{
    struct input_payment payment;
    const struct execution *execution;
    struct execution_order order = {
        .key = field_value(request->head, sandbox->key_field),
        .authorization = field_value(request->head, BYTES("Authorization")),
        .intent = intent,
    };
    bool replayed;

    if (!input_payment_read(request->body, &payment)) {
        routes_answer_error(sandbox, arena, 400, BYTES("the body names no amount"), answer);
        return;
    }
    if (order.key.len > LEDGER_KEY_BYTES_MAX) {
        routes_answer_error(sandbox, arena, 400, BYTES("the key is longer than 255 bytes"), answer);
        return;
    }
    order.amount = payment.amount;
    order.currency = bytes_from_text(payment.currency);
    execution = ledger_execute(sandbox->ledger, &order, &replayed);
    if (execution == NULL) {
        routes_answer_error(sandbox, arena, 500, BYTES("out of memory"), answer);
        return;
    }
    answer_payment(sandbox, execution, arena, answer);
    answer->replayed = replayed;
}

static void on_pay(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer)
{
    pay(sandbox, request, false, arena, answer);
}

static void on_pay_intent(struct sandbox *sandbox, const struct request *request, struct arena *arena,
                          struct answer *answer)
{
    pay(sandbox, request, true, arena, answer);
}

/* GET /v1/payments/pay_ID and /v1/payment_intents/pi_ID: what stands behind the last '_'. */
static void on_read_payment(struct sandbox *sandbox, const struct request *request, struct arena *arena,
                            struct answer *answer)
{
    struct bytes path = request->head->path;
    size_t len = path.len < LEDGER_NUMBER_BYTES ? path.len : LEDGER_NUMBER_BYTES;
    const struct execution *execution = ledger_find(sandbox->ledger, bytes_skip(path, path.len - len));

    if (execution == NULL) {
        routes_answer_error(sandbox, arena, 404, BYTES("no such payment"), answer);
        return;
    }
    answer_payment(sandbox, execution, arena, answer);
}

static void on_health(struct sandbox *sandbox, const struct request *request, struct arena *arena,
                      struct answer *answer)
{
    (void)sandbox;
    (void)request;
    (void)arena;
    answer_json(answer, 200, BYTES("{\"status\":\"ok\"}"));
}

/* GET /bytes/512: a body of exactly so many bytes, for benchmarks and for large answers. */
static void on_bytes(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer)
{
    uint64_t count;

    (void)sandbox;
    if (!bytes_to_u64(bytes_skip(request->head->path, strlen("/bytes/")), &count) || count > BYTES_ANSWER_MAX) {
        routes_answer_error(sandbox, arena, 400, BYTES("/bytes/N wants a number of at most 1073741824"), answer);
        return;
    }
    *answer = (struct answer){.status = 200, .filler_bytes = count, .type = "text/plain"};
}

static void answer_owned(const struct sandbox *sandbox, struct arena *arena, struct bytes text, struct answer *answer)
{
    if (text.at == NULL) {
        routes_answer_error(sandbox, arena, 500, BYTES("out of memory"), answer);
        return;
    }
    answer_json(answer, 200, text);
    answer->owned = (char *)(uintptr_t)text.at;
}

static void on_ledger(struct sandbox *sandbox, const struct request *request, struct arena *arena,
                      struct answer *answer)
{
    (void)request;
    answer_owned(sandbox, arena, ledger_print_executions(sandbox->ledger, sandbox->name), answer);
}

static void on_requests(struct sandbox *sandbox, const struct request *request, struct arena *arena,
                        struct answer *answer)
{
    (void)request;
    answer_owned(sandbox, arena, ledger_print_requests(sandbox->ledger), answer);
}

static void on_fault(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer)
{
    struct input_fault fault;
    struct faults faults;
    struct bytes bad;

    if (!input_fault_read(request->body, &fault)) {
        routes_answer_error(sandbox, arena, 400, BYTES("expected {\"fault\": \"...\", \"count\": N, \"on\": \"payments\" or \"health\"} or {}"), answer);
        return;
    }
    if (!faults_parse(bytes_from_text(fault.list), &faults, &bad)) {
        routes_answer_error(sandbox, arena, 400, bad, answer);
        return;
    }
    faults_arm(fault.on_health ? &sandbox->armed_health : &sandbox->armed, &faults, fault.count);
    answer_json(answer, 200, BYTES("{}"));
}

static void on_reset(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer)
{
    (void)request;
    (void)arena;
    ledger_reset(sandbox->ledger);
    sandbox->armed = (struct faults_armed){0};
    sandbox->armed_health = (struct faults_armed){0};
    answer_json(answer, 200, BYTES("{}"));
}

static const struct route routes[] = {
    {"POST", "/v1/payments", on_pay},
    {"GET", "/v1/payments/", on_read_payment},
    {"POST", "/v1/payment_intents", on_pay_intent},
    {"GET", "/v1/payment_intents/", on_read_payment},
    {"GET", "/bytes/", on_bytes},
    {"GET", "/healthz", on_health},
    {"GET", "/_ledger", on_ledger},
    {"GET", "/_requests", on_requests},
    {"POST", "/_fault", on_fault},
    {"POST", "/_reset", on_reset},
};

static bool path_matches(const char *pattern, struct bytes path)
{
    struct bytes text = bytes_from_text(pattern);

    if (bytes_ends_with(text, BYTES("/"))) {
        return path.len > text.len && bytes_starts_with(path, text);
    }
    return bytes_equal(path, text);
}

static bool method_matches(const char *method, struct bytes asked)
{
    return bytes_equal(asked, bytes_from_text(method)) ||
           (bytes_equal(asked, BYTES("HEAD")) && strcmp(method, "GET") == 0);
}

bool routes_target_is_control(struct bytes target)
{
    return bytes_starts_with(target, BYTES("/_"));
}

static bool request_pays(const struct sandbox *sandbox, const struct http_head *head)
{
    if (sandbox->dialect != NULL && dialect_pays(sandbox->dialect, head)) {
        return true;
    }
    return bytes_equal(head->method, BYTES("POST")) &&
           (path_matches("/v1/payments", head->path) || path_matches("/v1/payment_intents", head->path));
}

struct faults_armed *routes_armed(struct sandbox *sandbox, const struct http_head *head)
{
    if (request_pays(sandbox, head)) {
        return &sandbox->armed;
    }
    return path_matches("/healthz", head->path) && method_matches("GET", head->method) ? &sandbox->armed_health : NULL;
}

void routes_answer(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer)
{
    if (sandbox->dialect != NULL && dialect_answer(sandbox, request, arena, answer)) {
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (path_matches(routes[i].path, request->head->path) &&
            method_matches(routes[i].method, request->head->method)) {
            routes[i].run(sandbox, request, arena, answer);
            return;
        }
    }
    routes_answer_error(sandbox, arena, 404, BYTES("no such resource"), answer);
}
