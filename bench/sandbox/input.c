/*
 * The two readings of a payment and the one of a fault order. Bodies are
 * bounded by the connection; nothing is kept after the call.
 */
#include "input.h"

#include <jansson.h>

static bool copy_text(const json_t *value, char *text, size_t size)
{
    struct bytes bytes;

    if (!json_is_string(value)) {
        return false;
    }
    bytes = bytes_of(json_string_value(value), json_string_length(value));
    return bytes_to_text(bytes, text, size) == bytes.len;
}

/* The processors of this world disagree on where an amount stands. */
static bool payment_from_json(const json_t *root, struct input_payment *payment)
{
    const json_t *amount = json_object_get(root, "amount");
    const json_t *currency = json_object_get(root, "currency");
    const json_t *money = json_object_get(root, "amount_money");

    if (json_is_object(amount)) {
        currency = json_object_get(amount, "currency");
        amount = json_object_get(amount, "value");
    } else if (json_is_object(money)) {
        currency = json_object_get(money, "currency");
        amount = json_object_get(money, "amount");
    }
    if (!json_is_integer(amount) || json_integer_value(amount) < 0) {
        return false;
    }
    payment->amount = (uint64_t)json_integer_value(amount);
    return currency == NULL || copy_text(currency, payment->currency, sizeof(payment->currency));
}

static bool payment_from_form(struct bytes body, struct input_payment *payment)
{
    bool found = false;

    while (body.len > 0) {
        size_t end = bytes_find(body, '&');
        struct bytes pair = bytes_take(body, end);
        size_t equals = bytes_find(pair, '=');
        struct bytes value = equals == SIZE_MAX ? BYTES_NONE : bytes_skip(pair, equals + 1);

        body = end == SIZE_MAX ? BYTES_NONE : bytes_skip(body, end + 1);
        if (bytes_equal(bytes_take(pair, equals), BYTES("amount"))) {
            found = bytes_to_u64(value, &payment->amount);
        } else if (bytes_equal(bytes_take(pair, equals), BYTES("currency"))) {
            bytes_to_text(value, payment->currency, sizeof(payment->currency));
        }
    }
    return found;
}

bool input_payment_read(struct bytes body, struct input_payment *payment)
{
    json_t *root;
    bool found;

    *payment = (struct input_payment){0};
    if (!bytes_starts_with(bytes_trim(body), BYTES("{"))) {
        return payment_from_form(body, payment);
    }
    root = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES, NULL);
    found = root != NULL && payment_from_json(root, payment);
    json_decref(root);
    return found;
}

static bool fault_from_json(const json_t *root, struct input_fault *fault)
{
    const json_t *list = json_object_get(root, "fault");
    const json_t *count = json_object_get(root, "count");

    if (!json_is_object(root)) {
        return false;
    }
    if (list != NULL && !copy_text(list, fault->list, sizeof(fault->list))) {
        return false;
    }
    if (count == NULL) {
        return true;
    }
    if (!json_is_integer(count) || json_integer_value(count) < 0) {
        return false;
    }
    fault->count = (uint64_t)json_integer_value(count);
    return true;
}

bool input_fault_read(struct bytes body, struct input_fault *fault)
{
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    bool found;

    *fault = (struct input_fault){.count = 1};
    found = root != NULL && fault_from_json(root, fault);
    json_decref(root);
    return found;
}
