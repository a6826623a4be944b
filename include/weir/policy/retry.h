/*
 * How often weir may send again by itself, pure: a budget for each processor,
 * so that retries never add more than a tenth to what it has to do, and how
 * long to wait before. Who may send again at all is not decided here: only what
 * was not sent, or what the same processor de-duplicates (gate/again.c).
 *
 * Sources: Finagle's retry budgets; Amazon Builders' Library, "Exponential
 * backoff and jitter" (full jitter).
 */
#ifndef WEIR_POLICY_RETRY_H
#define WEIR_POLICY_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#define RETRY_DEPOSIT 100u           /* of each first attempt */
#define RETRY_COST_SENT 1000u        /* so one in ten */
#define RETRY_COST_UNSENT 100u       /* of one that reached nobody: it adds no load */
#define RETRY_FLOOR_PER_S 1000u      /* one a second, however few first attempts there are */
#define RETRY_BALANCE_MAX 100000u    /* a hundred at once after a long quiet time */
#define RETRY_BALANCE_START 10000u   /* ten: what may fail just after a start is not known yet */
#define RETRY_WAIT_FIRST_US UINT64_C(25000)
#define RETRY_WAIT_MAX_US UINT64_C(250000)

struct retry_budget {
    uint32_t balance;
    uint64_t filled_us; /* by the floor, until then; 0: never */
};

/* A first attempt: pays in. */
void retry_first(struct retry_budget *budget, uint64_t now_us);
/* Takes the price of one more. False: it must not be made. */
bool retry_take(struct retry_budget *budget, uint32_t cost, uint64_t now_us);
/* Before attempt number `again` (1: the first that is made again): anything up to RETRY_WAIT_FIRST_US doubled each time. */
uint64_t retry_wait_us(uint32_t again, uint64_t random);

#endif
