/*
 * The processors that the sandbox can play, well enough for their SDKs: where a
 * payment is posted, where its key stands, what one payment and one error look
 * like, and what becomes of a key that is known, at work, or another request's.
 * Any credential is good. docs/profiles.md has the same facts as weir uses them.
 */
#ifndef SANDBOX_DIALECT_H
#define SANDBOX_DIALECT_H

#include "weir/base/arena.h"
#include "weir/http/head.h"

struct answer;
struct dialect;
struct request;
struct sandbox;

/* "stripe", "adyen", "checkout", "paypal", "square"; NULL: no such processor. */
const struct dialect *dialect_find(const char *name);

/* Whether this request is a payment in this dialect. */
bool dialect_pays(const struct dialect *dialect, const struct http_head *head);
/* False: not one of its resources. Memory comes from the arena. */
bool dialect_answer(struct sandbox *sandbox, const struct request *request, struct arena *arena, struct answer *answer);
void dialect_answer_error(const struct dialect *dialect, struct arena *arena, uint16_t status, struct bytes message,
                          struct answer *answer);
/* Says that nothing was executed, where the processor has a way to say it (Adyen). */
void dialect_mark_not_executed(const struct dialect *dialect, uint16_t status, struct answer *answer);

#endif
