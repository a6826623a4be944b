/*
 * Between dialect.c (paths, keys, what becomes of them) and dialect_shapes.c
 * (the five shapes of a payment and of an error).
 */
#ifndef SANDBOX_DIALECT_INTERNAL_H
#define SANDBOX_DIALECT_INTERNAL_H

#include "dialect.h"
#include "ledger.h"
#include "weir/base/json.h"
#include "weir/http/write.h"

/* What is wrong, in the dialect's own words where it has one; code and kind NULL: by the status. */
struct dialect_error {
    uint16_t status;
    const char *kind; /* Stripe's type, Adyen's errorType, PayPal's name, Square's category */
    const char *code;
    struct bytes message;
};

struct dialect_shape {
    uint16_t paid_status;
    void (*print_payment)(struct json *json, const struct execution *execution);
    /* Lines of its head; `key`: the client's, perhaps empty. */
    void (*write_lines)(struct http_writer *writer, const struct execution *execution, struct bytes key);
    void (*print_error)(struct json *json, const struct dialect_error *error);
};

extern const struct dialect_shape dialect_shape_stripe, dialect_shape_adyen, dialect_shape_checkout,
    dialect_shape_paypal, dialect_shape_square;

#endif
