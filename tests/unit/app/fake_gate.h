/*
 * A gate for the tests of this layer: limits and whom they hold, as the test
 * wishes. It stands in for what weir_gate says of limits; a test that includes
 * it links nothing that needs a real gate.
 */
#ifndef WEIR_FAKE_GATE_H
#define WEIR_FAKE_GATE_H

#include "base/unit.h"

#include "weir/gate/gate.h"

#define FAKE_LIMITS_MAX 4
#define FAKE_HELD_MAX   1200

static struct fake_gate {
    struct conf_limit confs[FAKE_LIMITS_MAX];
    struct gate_limit limits[FAKE_LIMITS_MAX];
    int limit_count;
    struct gate_held held[FAKE_HELD_MAX];
    int held_count;
    struct gate_limits_state state;
} fake_gate;

bool gate_limit_at(const struct gate *gate, int index, struct gate_limit *limit)
{
    (void)gate;
    if (index < 0 || index >= fake_gate.limit_count) {
        return false;
    }
    *limit = fake_gate.limits[index];
    return true;
}

int gate_held_callers(const struct gate *gate, struct gate_held *held, int max)
{
    (void)gate;
    int count = fake_gate.held_count < max ? fake_gate.held_count : max;
    memcpy(held, fake_gate.held, (size_t)count * sizeof(held[0]));
    return count;
}

void gate_limits_state(const struct gate *gate, struct gate_limits_state *state)
{
    (void)gate;
    *state = fake_gate.state;
}

/* Nothing is limited, nobody is held. */
static inline void fake_gate_reset(void)
{
    memset(&fake_gate, 0, sizeof(fake_gate));
    fake_gate.state = (struct gate_limits_state){.fleet = 1, .callers_max = 65536};
}

/* A limit by tenant, 100/s. Its conf is fake_gate.confs at the same place. */
static inline struct gate_limit *fake_limit(const char *name)
{
    static struct conf_limit_part tenant = {.kind = CONF_PART_TENANT};
    assert_true(fake_gate.limit_count < FAKE_LIMITS_MAX);
    struct conf_limit *conf = &fake_gate.confs[fake_gate.limit_count];
    struct gate_limit *limit = &fake_gate.limits[fake_gate.limit_count++];
    *conf = (struct conf_limit){.name = name, .parts = &tenant, .part_count = 1, .rate = {100, 1000000}, .burst = 200};
    *limit = (struct gate_limit){.conf = conf};
    return limit;
}

static inline struct gate_held *fake_hold(const char *limit, const char *who)
{
    assert_true(fake_gate.held_count < FAKE_HELD_MAX);
    struct gate_held *held = &fake_gate.held[fake_gate.held_count++];
    *held = (struct gate_held){.refused = 7, .since_us = 1795341600000000, .last_us = 1795341601000000};
    bytes_to_text(bytes_from_text(limit), held->limit, sizeof(held->limit));
    bytes_to_text(bytes_from_text(who), held->who, sizeof(held->who));
    return held;
}

#endif
