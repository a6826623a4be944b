/*
 * An upstream for the tests of this layer: processors, endpoints and circuits
 * as the test wishes. It stands in for what weir_upstream tells; a test that
 * includes it links nothing that needs a real one.
 */
#ifndef WEIR_FAKE_UPSTREAM_H
#define WEIR_FAKE_UPSTREAM_H

#include "base/unit.h"

#include "weir/upstream/upstream.h"

#define FAKE_PROCESSORS_MAX 40
#define FAKE_PARTS_MAX      8
#define FAKE_NOW_US         UINT64_C(1000000000)

struct processor {
    struct processor_state state;
    struct endpoint_state endpoints[FAKE_PARTS_MAX];
    struct circuit_state circuits[FAKE_PARTS_MAX];
    /* what processor_force was told */
    int forced_count;
    enum breaker_forced forced;
    uint64_t for_us;
    char actor[128], why[256];
};

static struct fake_upstream {
    struct processor processors[FAKE_PROCESSORS_MAX];
    int count;
} fake_upstream;

struct processor *upstream_next(struct upstream *upstream, struct processor *after)
{
    int next = after == NULL ? 0 : (int)(after - fake_upstream.processors) + 1;
    (void)upstream;
    return next < fake_upstream.count ? &fake_upstream.processors[next] : NULL;
}

const char *processor_name(const struct processor *processor)
{
    return processor->state.name;
}

void processor_state(const struct processor *processor, struct processor_state *state)
{
    *state = processor->state;
}

bool processor_endpoint_state(const struct processor *processor, int index, struct endpoint_state *state)
{
    if (index < 0 || index >= processor->state.endpoint_count) {
        return false;
    }
    *state = processor->endpoints[index];
    return true;
}

bool processor_circuit_state(const struct processor *processor, int index, struct circuit_state *state)
{
    if (index < 0 || index >= processor->state.circuit_count) {
        return false;
    }
    *state = processor->circuits[index];
    return true;
}

void processor_force(struct processor *processor, enum breaker_forced forced, uint64_t for_us, const char *actor,
                     const char *why)
{
    processor->forced_count++;
    processor->forced = forced;
    processor->for_us = for_us;
    bytes_to_text(bytes_from_text(actor), processor->actor, sizeof(processor->actor));
    bytes_to_text(bytes_from_text(why), processor->why, sizeof(processor->why));
}

static inline void fake_upstream_reset(void)
{
    memset(&fake_upstream, 0, sizeof(fake_upstream));
}

static inline struct processor *fake_processor(const char *name)
{
    assert_true(fake_upstream.count < FAKE_PROCESSORS_MAX);
    struct processor *processor = &fake_upstream.processors[fake_upstream.count++];
    processor->state.name = name;
    return processor;
}

/* One that is well: closed for ten minutes. */
static inline struct endpoint_state *fake_endpoint(struct processor *processor, const char *address)
{
    assert_true(processor->state.endpoint_count < FAKE_PARTS_MAX);
    struct endpoint_state *endpoint = &processor->endpoints[processor->state.endpoint_count++];
    *endpoint = (struct endpoint_state){.address = address, .weight = 1, .health_words = ""};
    endpoint->breaker.since_us = FAKE_NOW_US - UINT64_C(600000000);
    return endpoint;
}

static inline struct breaker_shown *fake_circuit(struct processor *processor, const char *route)
{
    assert_true(processor->state.circuit_count < FAKE_PARTS_MAX);
    struct circuit_state *circuit = &processor->circuits[processor->state.circuit_count++];
    *circuit = (struct circuit_state){.route = route};
    circuit->breaker.since_us = FAKE_NOW_US - UINT64_C(600000000);
    return &circuit->breaker;
}

/* Open for 42 s and for 3 s more, since 190 of 312 calls failed. */
static inline void fake_open(struct breaker_shown *breaker)
{
    *breaker = (struct breaker_shown){
        .state = BREAKER_OPEN,
        .since_us = FAKE_NOW_US - 42000000,
        .until_us = FAKE_NOW_US + 3000000,
        .change = {.from = BREAKER_CLOSED, .to = BREAKER_OPEN, .cause = BREAKER_CAUSE_FAILURES, .calls = 312, .failed = 190},
    };
}

#endif
