/*
 * The table of the store that all weirs of a run share (sim_house.c), as the
 * way there sees it (sim_store.c).
 */
#ifndef WEIR_TESTS_SIM_HOUSE_H
#define WEIR_TESTS_SIM_HOUSE_H

#include "sim.h"

struct house_row {
    struct list in_chain;
    struct idem_name name;
    struct idem_record record;     /* its bytes are malloc'ed */
    uint64_t told_by, resolved_by; /* the questions that did: one whose reply was lost hears of it when it asks again */
};

/* The first row, or the one behind `row`; NULL: there is none. */
struct house_row *house_next(const struct house_row *row);
/* The row of this name; NULL: there is none. */
const struct house_row *house_find(const struct idem_name *name);
/* Its time is over: as good as none. */
bool house_row_is_over(const struct house_row *row);
uint64_t house_now_ms(void);

/* It answers nobody just now. */
bool house_is_away(void);
/* It has no room for new records. */
bool house_is_full(void);
/* It may lose what it acknowledged, until an operator accepts that. */
bool house_is_untrusted(void);
void house_accept_loss(void);

/* `question`: the same when it is asked again; 0: it never is. The result's bytes are malloc'ed. */
void house_apply(const struct idem_op *op, uint64_t question, struct idem_result *result);
/* A question about one limit; what is granted. */
uint64_t house_ask_limit(const struct limit_ref *ref, uint64_t want, struct limit_told *told);
/* This weir is there. How many say so, as far as it is known: who died is counted for a while. */
uint32_t house_fleet(const struct sim_weir *weir);

/* What stands in a result or an op, in memory of its own. */
struct bytes house_own(struct bytes bytes);
void house_free(struct bytes bytes);

#endif
