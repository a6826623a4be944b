/*
 * A balance in thousandths of a retry, paid into by first attempts and by time,
 * and a wait of full jitter.
 */
#include "weir/policy/retry.h"

#define SECOND_US UINT64_C(1000000)
#define FILL_US (SECOND_US / RETRY_FLOOR_PER_S) /* in which the floor pays in one */
#define FULL_US (RETRY_BALANCE_MAX * FILL_US)

_Static_assert(FILL_US * RETRY_FLOOR_PER_S == SECOND_US, "the floor pays in whole microseconds");

static void pay_in(struct retry_budget *budget, uint32_t amount)
{
    uint32_t room = RETRY_BALANCE_MAX - budget->balance;
    budget->balance += amount < room ? amount : room;
}

/* What is left of a part of FILL_US is paid in later: filled_us goes on by whole parts. */
static void fill(struct retry_budget *budget, uint64_t now_us)
{
    if (budget->filled_us == 0) {
        budget->balance = RETRY_BALANCE_START;
        budget->filled_us = now_us;
    }
    uint64_t since_us = now_us > budget->filled_us ? now_us - budget->filled_us : 0;
    if (since_us >= FULL_US) {
        budget->balance = RETRY_BALANCE_MAX;
        budget->filled_us = now_us;
        return;
    }
    pay_in(budget, (uint32_t)(since_us / FILL_US));
    budget->filled_us += since_us - since_us % FILL_US;
}

void retry_first(struct retry_budget *budget, uint64_t now_us)
{
    fill(budget, now_us);
    pay_in(budget, RETRY_DEPOSIT);
}

bool retry_take(struct retry_budget *budget, uint32_t cost, uint64_t now_us)
{
    fill(budget, now_us);
    if (budget->balance < cost) {
        return false;
    }
    budget->balance -= cost;
    return true;
}

uint64_t retry_wait_us(uint32_t again, uint64_t random)
{
    uint64_t most_us = RETRY_WAIT_FIRST_US;
    for (uint32_t i = 1; i < again && most_us < RETRY_WAIT_MAX_US; i++) {
        most_us *= 2;
    }
    return random % ((most_us < RETRY_WAIT_MAX_US ? most_us : RETRY_WAIT_MAX_US) + 1);
}
