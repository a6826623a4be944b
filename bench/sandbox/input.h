/*
 * Reads the bodies that the sandbox understands: payments, as JSON or as a
 * form, and the orders of POST /_fault. The only file that knows jansson.
 */
#ifndef SANDBOX_INPUT_H
#define SANDBOX_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"

#define INPUT_CURRENCY_BYTES 16
#define INPUT_FAULT_BYTES 512

struct input_payment {
    uint64_t amount;                     /* in the currency's smallest unit */
    char currency[INPUT_CURRENCY_BYTES]; /* "" when none is named */
};

/*
 * {"amount": 4200, "currency": "eur"}, {"amount": {"value": .., "currency": ..}},
 * {"amount_money": {"amount": .., "currency": ..}}, {"purchase_units": [{"amount":
 * {"value": "42.00", "currency_code": ..}}]} or amount=4200&currency=eur.
 * False: it is none of these, or names no amount.
 */
WEIR_MUSTCHECK bool input_payment_read(struct bytes body, struct input_payment *payment);

/* A text among the members of a JSON object, such as Square's idempotency_key. False: there is none, or it does not fit. */
WEIR_MUSTCHECK bool input_member_read(struct bytes body, const char *name, char *text, size_t size);

struct input_fault {
    char list[INPUT_FAULT_BYTES]; /* for faults_parse; "" clears */
    uint64_t count;               /* 1 when it is left out */
    bool on_health;               /* of GET /healthz; else of payments */
};

/* {"fault": "delay=100, chunked", "count": 2, "on": "payments"} or {}. False: not such an object. */
WEIR_MUSTCHECK bool input_fault_read(struct bytes body, struct input_fault *fault);

#endif
