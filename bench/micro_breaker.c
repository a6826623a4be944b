/*
 * What breakers and balancing cost: nanoseconds of this thread for all that a
 * request has to do with them, from choosing among the endpoints to telling the
 * breakers of its endpoint and of its route how it went. Sixty-four requests of
 * fifty callers are in flight, nothing fails, clocks turn on. Prints the best of
 * several rounds, since others only add to it; caches are warm.
 *
 *   cmake --build build --target bench_micro_breaker && build/bench/bench_micro_breaker
 */
#include <stdio.h>
#include <time.h>

#include "weir/base/check.h"
#include "weir/policy/balance.h"
#include "weir/policy/breaker.h"

#define ROUNDS        20
#define ROUND_COUNT   50000
#define FLIGHTS       64
#define CALLERS       50
#define ENDPOINTS_MAX 3
#define APART_US      30 /* sixty-four in flight that take 2 ms */

struct request {
    struct breaker_flight at_endpoint, at_route;
    int endpoint;
    uint64_t began_us;
};

static struct breaker route, endpoints[ENDPOINTS_MAX];
static struct balance_load loads[ENDPOINTS_MAX];
static struct request requests[FLIGHTS];
static uint64_t now_us = 1, turned_us, seed = UINT64_C(88172645463325252);

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void request_begin(struct request *request, int count, uint32_t caller)
{
    const struct balance_load *asked[ENDPOINTS_MAX];
    uint32_t turn = 0;

    CHECK(breaker_admits(&route, BREAKER_BY_BARE, now_us));
    for (int i = 0; i < count; i++) {
        loads[i].usable = endpoints[i].state != BREAKER_OPEN;
        loads[i].oldest_us = breaker_oldest_us(&endpoints[i]);
        asked[i] = &loads[i];
    }
    request->endpoint = balance_pick(BALANCE_P2C, asked, count, random_next(), &turn, now_us);
    CHECK(breaker_admits(&endpoints[request->endpoint], BREAKER_BY_BARE, now_us));
    breaker_begin(&endpoints[request->endpoint], &request->at_endpoint, caller, now_us);
    breaker_begin(&route, &request->at_route, caller, now_us);
    loads[request->endpoint].in_flight++;
    request->began_us = now_us;
}

static void request_end(struct request *request)
{
    loads[request->endpoint].in_flight--;
    balance_note(&loads[request->endpoint], now_us - request->began_us, false, now_us);
    CHECK(!breaker_end(&endpoints[request->endpoint], &request->at_endpoint, BREAKER_OK, random_next(), now_us));
    CHECK(!breaker_end(&route, &request->at_route, BREAKER_OK, random_next(), now_us));
}

static void clocks_turn(int count)
{
    now_us += APART_US;
    if (now_us - turned_us < BREAKER_TURN_US) {
        return;
    }
    turned_us = now_us;
    CHECK(!breaker_turn(&route, random_next(), now_us));
    for (int i = 0; i < count; i++) {
        CHECK(!breaker_turn(&endpoints[i], random_next(), now_us));
    }
}

static double cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(int count)
{
    const struct breaker_settings settings = {.window_us = 10000000,
                                              .min_requests = 20,
                                              .open_at_permille = 500,
                                              .slow_at_permille = 800,
                                              .slow_us = 24000000,
                                              .open_for_us = 2000000,
                                              .open_max_us = 60000000,
                                              .places = 512};
    double best = 0;

    breaker_init(&route, &settings, now_us);
    for (int i = 0; i < count; i++) {
        breaker_init(&endpoints[i], &settings, now_us);
        loads[i] = (struct balance_load){.weight = 1};
    }
    for (uint32_t i = 0; i < FLIGHTS; i++) {
        request_begin(&requests[i], count, i % CALLERS);
    }
    for (int round = 0; round < ROUNDS; round++) {
        double begin = cpu_ns();
        double each;

        for (uint32_t i = 0; i < ROUND_COUNT; i++) {
            clocks_turn(count);
            request_end(&requests[i % FLIGHTS]);
            request_begin(&requests[i % FLIGHTS], count, i % CALLERS);
        }
        each = (cpu_ns() - begin) / ROUND_COUNT;
        best = round == 0 || each < best ? each : best;
    }
    for (int i = 0; i < FLIGHTS; i++) {
        request_end(&requests[i]);
    }
    printf("%d endpoint%-10s %7.0f ns\n", count, count == 1 ? "" : "s", best);
}

int main(void)
{
    measure(1);
    measure(3);
    return 0;
}
