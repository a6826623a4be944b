/*
 * Processors and their breakers as operators see and overrule them.
 * show_breakers.c has the words of one breaker, show_processors.c the tables,
 * report_processors.c JSON and events, breaker_order.c what an operator may
 * say, admin_breaker.c the call that does it. Facts come from upstream, in the
 * turn in which they are printed; `now_us` is by clock_now_us throughout.
 */
#ifndef WEIR_APP_PROCESSORS_INTERNAL_H
#define WEIR_APP_PROCESSORS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/buf.h"
#include "weir/base/check.h"
#include "weir/upstream/upstream.h"

struct json;
struct log;

/* ---- breaker_order.c ---- */

#define BREAKER_ORDER_WHY_BYTES_MAX 200 /* of the reason: what upstream keeps of it */
#define BREAKER_ORDER_WORDS_BYTES 256

/* What an operator says of all breakers of a processor. */
struct breaker_order {
    enum breaker_forced forced;
    uint64_t for_us; /* 0: AUTO */
};

/*
 * Reads what was typed; NULL: it was not. The same for the command line and for
 * the admin API. False: `words` say what is wrong.
 */
WEIR_MUSTCHECK bool breaker_order_read(const char *state, const char *duration, struct breaker_order *order,
                                       char words[BREAKER_ORDER_WORDS_BYTES]);

/* ---- show_breakers.c ---- */

#define SHOW_BREAKER_BYTES 96
/* Why it is as it is: "61 % of 312 calls failed". Empty: it never changed. Returns text. */
const char *show_breaker_why(const struct breaker_change *change, char text[SHOW_BREAKER_BYTES]);
/* For how long it has been so: "42s". Returns text. */
const char *show_breaker_for(const struct breaker_shown *breaker, uint64_t now_us, char text[SHOW_BREAKER_BYTES]);
/* Whether calls pass it, some at least. */
bool show_breaker_passes(const struct breaker_shown *breaker);

#define SHOW_FORCED_BYTES 512
/* "held open for 28m 2s more by uid 0 (root), pid 7: maintenance". Empty: nobody forces it. Returns text. */
const char *show_forced(const struct processor_state *state, uint64_t now_us, char text[SHOW_FORCED_BYTES]);

/* `weir breaker PROCESSOR`: who forces it, and a line for each breaker. False: it did not fit. */
WEIR_MUSTCHECK bool show_breakers(const struct processor *processor, uint64_t now_us, struct buf *out);

/* ---- show_processors.c ---- */

#define SHOW_VERDICT_BYTES 768
/* One processor in one sentence: "fine; its endpoint takes its calls; 3 in flight". Returns text. */
const char *show_verdict(const struct processor *processor, uint64_t now_us, char text[SHOW_VERDICT_BYTES]);
/* Endpoints that take calls now: not forced open, not down, not open, and not resting while another is so. */
int show_endpoints_taking(const struct processor *processor);

/* `weir processors`. False: it did not fit. */
WEIR_MUSTCHECK bool show_processors(struct upstream *upstream, uint64_t now_us, struct buf *out);
/* The rows of `weir status`: a sentence for each. False: it did not fit. */
WEIR_MUSTCHECK bool show_processor_rows(struct upstream *upstream, uint64_t now_us, struct buf *out);

/* ---- report_processors.c ---- */

/* One as a JSON object, where a value is due. `wall_us`: the wall's time of `now_us`. */
void report_processor(const struct processor *processor, uint64_t now_us, uint64_t wall_us, struct json *json);
/* A member "processors" of the object that is open. */
void report_processors(struct upstream *upstream, struct json *json);
/* For USR2: events state_processor, state_endpoint, state_circuit. */
void report_processors_dump(struct upstream *upstream, struct log *log);

#endif
