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

/* "42.00" are 4200 of the smallest unit: two digits or none, as PayPal writes most currencies. */
static bool decimal_read(struct bytes text, uint64_t *amount)
{
    size_t point = bytes_find(text, '.');
    struct bytes cents = point == SIZE_MAX ? BYTES("00") : bytes_skip(text, point + 1);
    uint64_t whole;
    uint64_t rest;

    if (cents.len != 2 || !bytes_to_u64(bytes_take(text, point), &whole) || !bytes_to_u64(cents, &rest) ||
        whole > UINT64_MAX / 1000) {
        return false;
    }
    *amount = whole * 100 + rest;
    return true;
}

static bool payment_in_units(const json_t *unit, struct input_payment *payment)
{
    const json_t *amount = json_object_get(unit, "amount");
    const json_t *value = json_object_get(amount, "value");

    return json_is_string(value) &&
           decimal_read(bytes_of(json_string_value(value), json_string_length(value)), &payment->amount) &&
           copy_text(json_object_get(amount, "currency_code"), payment->currency, sizeof(payment->currency));
}

/* The processors of this world disagree on where an amount stands. */
static bool payment_from_json(const json_t *root, struct input_payment *payment)
{
    const json_t *amount = json_object_get(root, "amount");
    const json_t *currency = json_object_get(root, "currency");
    const json_t *money = json_object_get(root, "amount_money");
    const json_t *units = json_object_get(root, "purchase_units");

    if (json_is_array(units)) {
        return payment_in_units(json_array_get(units, 0), payment);
    }
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

bool input_member_read(struct bytes body, const char *name, char *text, size_t size)
{
    json_t *root = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES, NULL);
    bool found = root != NULL && copy_text(json_object_get(root, name), text, size);

    json_decref(root);
    return found;
}

/* "payments", "health", or left out. */
static bool fault_place_from_json(const json_t *on, struct input_fault *fault)
{
    const char *word = on != NULL ? json_string_value(on) : "payments";

    fault->on_health = word != NULL && strcmp(word, "health") == 0;
    return fault->on_health || (word != NULL && strcmp(word, "payments") == 0);
}

static bool fault_from_json(const json_t *root, struct input_fault *fault)
{
    const json_t *list = json_object_get(root, "fault");
    const json_t *count = json_object_get(root, "count");

    if (!json_is_object(root) || !fault_place_from_json(json_object_get(root, "on"), fault)) {
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
