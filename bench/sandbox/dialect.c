/*
 * One row per processor: its paths, the place of its key, and its three words
 * on a key that is not new. Order: the rows, errors, keys, payments, the rest.
 */
#include "dialect.h"

#include <stdio.h>

#include "dialect_internal.h"
#include "input.h"
#include "routes.h"
#include "weir/base/clock.h"
#include "weir/base/digest.h"

#define DIALECT_TEXT_BYTES 1024
#define DIALECT_LINES_BYTES 512

struct dialect {
    const char *name;
    const struct dialect_shape *shape;
    const char *pay;        /* POST; an end of the path where it begins with '*' */
    const char *read;       /* GET, before the id; NULL: payments are not read */
    const char *token;      /* POST of credentials for a token; NULL: none */
    const char *key_header; /* NULL: in the body */
    const char *key_member;
    struct dialect_error busy;   /* to a key whose first request is not answered yet */
    struct dialect_error reused; /* to a key with another request; status 0: it does not look, and tells the first answer */
    bool marks_replays;          /* Idempotent-Replayed: true */
    const char *not_executed;    /* line of an error that was none of the payment's; NULL: it has no such line */
    bool busy_is_transient;      /* `busy` carries that line, too */
};

static const struct dialect dialects[] = {
    {
        .name = "stripe",
        .shape = &dialect_shape_stripe,
        .pay = "/v1/payment_intents",
        .read = "/v1/payment_intents/",
        .key_header = "Idempotency-Key",
        .busy = {409, "idempotency_error", "idempotency_key_in_use", BYTES("another request with this key is running")},
        .reused = {400, "idempotency_error", NULL, BYTES("this key was used with other parameters")},
        .marks_replays = true,
    },
    {
        .name = "adyen",
        .shape = &dialect_shape_adyen,
        .pay = "*/payments", /* behind a version, and /checkout on live hosts */
        .key_header = "Idempotency-Key",
        .busy = {422, "validation", "704", BYTES("request already processed or in progress")},
        .not_executed = "Transient-Error: true\r\n",
        .busy_is_transient = true,
    },
    {
        .name = "checkout",
        .shape = &dialect_shape_checkout,
        .pay = "/payments",
        .read = "/payments/",
        .key_header = "Cko-Idempotency-Key",
        .busy = {429, "too_many_requests", "request_in_progress", BYTES("")},
    },
    {
        .name = "paypal",
        .shape = &dialect_shape_paypal,
        .pay = "/v2/checkout/orders",
        .read = "/v2/checkout/orders/",
        .token = "/v1/oauth2/token",
        .key_header = "PayPal-Request-Id",
        .busy = {409, "RESOURCE_CONFLICT", "PREVIOUS_REQUEST_IN_PROGRESS", BYTES("a previous request is in progress")},
    },
    {
        .name = "square",
        .shape = &dialect_shape_square,
        .pay = "/v2/payments",
        .read = "/v2/payments/",
        .key_member = "idempotency_key",
        .busy = {409, "API_ERROR", "CONFLICT", BYTES("a request with this key is running")},
        .reused = {400, "INVALID_REQUEST_ERROR", "IDEMPOTENCY_KEY_REUSED", BYTES("this key was used for another request")},
    },
};

const struct dialect *dialect_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(dialects); i++) {
        if (strcmp(dialects[i].name, name) == 0) {
            return &dialects[i];
        }
    }
    return NULL;
}

bool dialect_pays(const struct dialect *dialect, const struct http_head *head)
{
    struct bytes path = bytes_from_text(dialect->pay);

    if (!bytes_equal(head->method, BYTES("POST"))) {
        return false;
    }
    return path.at[0] == '*' ? bytes_ends_with(head->path, bytes_skip(path, 1)) : bytes_equal(head->path, path);
}

/* ---- errors ---- */

static void answer_error(const struct dialect *dialect, struct arena *arena, const struct dialect_error *error,
                         struct answer *answer)
{
    char *text = arena_take(arena, DIALECT_TEXT_BYTES);
    struct json json;

    *answer = (struct answer){.status = error->status, .body = BYTES("{}"), .type = "application/json"};
    if (text != NULL) {
        json_init(&json, text, DIALECT_TEXT_BYTES);
        dialect->shape->print_error(&json, error);
        answer->body = json_bytes(&json);
    }
}

void dialect_answer_error(const struct dialect *dialect, struct arena *arena, uint16_t status, struct bytes message,
                          struct answer *answer)
{
    struct dialect_error error = {.status = status, .message = bytes_take(message, DIALECT_TEXT_BYTES / 16)};

    answer_error(dialect, arena, &error, answer);
}

void dialect_mark_not_executed(const struct dialect *dialect, uint16_t status, struct answer *answer)
{
    if (dialect->not_executed != NULL && status >= 500) {
        answer->lines = bytes_from_text(dialect->not_executed);
    }
}

/* ---- payments ---- */

static struct bytes field_value(const struct http_head *head, const char *name)
{
    const struct http_field *field = http_head_find_name(head, bytes_from_text(name));

    return field == NULL ? BYTES_NONE : field->value;
}

static struct bytes key_of(const struct dialect *dialect, const struct request *request,
                           char text[LEDGER_KEY_BYTES_MAX + 1])
{
    if (dialect->key_header != NULL) {
        return field_value(request->head, dialect->key_header);
    }
    return input_member_read(request->body, dialect->key_member, text, LEDGER_KEY_BYTES_MAX + 1) ? bytes_from_text(text)
                                                                                                 : BYTES_NONE;
}

/* Path and body; never 0. */
static uint64_t print_of(const struct request *request)
{
    uint8_t path[DIGEST_BYTES];
    uint8_t body[DIGEST_BYTES];
    uint64_t print = 0;

    digest_sha256(request->head->path, path);
    digest_sha256(request->body, body);
    for (size_t i = 0; i < sizeof(print); i++) {
        print = print << 8 | (uint64_t)(path[i] ^ body[i]);
    }
    return print | 1;
}

static void answer_payment(const struct dialect *dialect, const struct execution *execution, struct bytes key,
                           struct arena *arena, struct answer *answer)
{
    char *text = arena_take(arena, DIALECT_TEXT_BYTES);
    char *lines = arena_take(arena, DIALECT_LINES_BYTES);
    struct http_writer writer;
    struct json json;

    if (text == NULL || lines == NULL) {
        dialect_answer_error(dialect, arena, 500, BYTES("out of memory"), answer);
        return;
    }
    json_init(&json, text, DIALECT_TEXT_BYTES);
    dialect->shape->print_payment(&json, execution);
    http_write_init(&writer, lines, DIALECT_LINES_BYTES);
    dialect->shape->write_lines(&writer, execution, key);
    CHECK(!json.overflow && !writer.overflow);
    *answer = (struct answer){
        .status = dialect->shape->paid_status,
        .body = json_bytes(&json),
        .type = "application/json",
        .lines = http_write_bytes(&writer),
    };
}

/* A key that came before: its first request is at work, was another one, or is answered again. */
static void answer_known(const struct dialect *dialect, const struct execution *execution, uint64_t print,
                         struct bytes key, struct arena *arena, struct answer *answer)
{
    if (dialect->reused.status != 0 && execution->print != print) {
        answer_error(dialect, arena, &dialect->reused, answer);
        return;
    }
    if (execution->busy_until_us > clock_now_us()) {
        answer_error(dialect, arena, &dialect->busy, answer);
        if (dialect->busy_is_transient) {
            answer->lines = bytes_from_text(dialect->not_executed);
        }
        return;
    }
    answer_payment(dialect, execution, key, arena, answer);
    answer->replayed = dialect->marks_replays;
}

static void pay(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer)
{
    const struct dialect *dialect = sandbox->dialect;
    char text[LEDGER_KEY_BYTES_MAX + 1];
    struct input_payment payment;
    struct bytes credential = field_value(request->head, "Authorization");
    struct execution_order order = {
        .key = key_of(dialect, request, text),
        .authorization = credential.len > 0 ? credential : field_value(request->head, "X-API-Key"),
        .intent = dialect->shape == &dialect_shape_stripe,
        .print = print_of(request),
        .busy_ms = request->busy_ms,
    };
    const struct execution *execution;
    bool known;

    if (!input_payment_read(request->body, &payment) || order.key.len > LEDGER_KEY_BYTES_MAX) {
        dialect_answer_error(dialect, arena, 400, BYTES("the body names no amount, or the key is too long"), answer);
        return;
    }
    order.amount = payment.amount;
    order.currency = bytes_from_text(payment.currency);
    execution = ledger_execute(sandbox->ledger, &order, &known);
    if (execution == NULL) {
        dialect_answer_error(dialect, arena, 500, BYTES("out of memory"), answer);
    } else if (known) {
        answer_known(dialect, execution, order.print, order.key, arena, answer);
    } else {
        answer_payment(dialect, execution, order.key, arena, answer);
    }
}

/* The id is the end of the path. */
static void read_payment(const struct sandbox *sandbox, const struct request *request, struct arena *arena,
                         struct answer *answer)
{
    struct bytes path = request->head->path;
    size_t len = path.len < LEDGER_NUMBER_BYTES ? path.len : LEDGER_NUMBER_BYTES;
    const struct execution *execution = ledger_find(sandbox->ledger, bytes_skip(path, path.len - len));

    if (execution == NULL) {
        dialect_answer_error(sandbox->dialect, arena, 404, BYTES("no such payment"), answer);
        return;
    }
    answer_payment(sandbox->dialect, execution, BYTES_NONE, arena, answer);
    answer->status = 200;
}

bool dialect_answer(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer)
{
    const struct dialect *dialect = sandbox->dialect;
    const struct http_head *head = request->head;

    if (dialect_pays(dialect, head)) {
        pay(sandbox, request, arena, answer);
        return true;
    }
    if (dialect->read != NULL && bytes_equal(head->method, BYTES("GET")) &&
        bytes_starts_with(head->path, bytes_from_text(dialect->read))) {
        read_payment(sandbox, request, arena, answer);
        return true;
    }
    if (dialect->token != NULL && bytes_equal(head->method, BYTES("POST")) &&
        bytes_equal(head->path, bytes_from_text(dialect->token))) {
        *answer = (struct answer){
            .status = 200,
            .body = BYTES("{\"scope\":\"\",\"access_token\":\"A21AAsandbox\",\"token_type\":\"Bearer\","
                          "\"app_id\":\"APP-1\",\"expires_in\":32400}"),
            .type = "application/json",
        };
        return true;
    }
    return false;
}
