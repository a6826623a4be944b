/*
 * The phases of an exchange: their names, which may follow which, and the one
 * place that sets them. What happens in them is exchange.c.
 */
#include "exchange.h"

static const struct {
    const char *name;
    char letter;
} phases[] = {
#define PHASE(NAME, letter, prose) {#NAME, letter},
#include "phase.def"
#undef PHASE
};

const char *exchange_phase_name(enum exchange_phase phase)
{
    return phases[phase].name;
}

char exchange_phase_letter(enum exchange_phase phase)
{
    return phases[phase].letter;
}

/* The only place that sets the phase: refuses a move that is not in the table, and stamps the time. */
void exchange_enter(struct exchange *x, enum exchange_phase phase)
{
#define TO(NAME) (1u << PHASE_##NAME)
    static const uint16_t legal[PHASE_COUNT] = {
        [PHASE_HEAD] = TO(ROUTE) | TO(DONE),
        [PHASE_ROUTE] = TO(BODY) | TO(ADMIT) | TO(LINK) | TO(DONE),
        [PHASE_BODY] = TO(ADMIT) | TO(LINK) | TO(DONE),
        [PHASE_ADMIT] = TO(LINK) | TO(DONE),
        [PHASE_LINK] = TO(SEND) | TO(DONE),
        [PHASE_SEND] = TO(LINK) | TO(WAIT) | TO(RELAY) | TO(DONE),
        [PHASE_WAIT] = TO(LINK) | TO(RELAY) | TO(LATE) | TO(DONE),
        [PHASE_RELAY] = TO(LINK) | TO(COMMIT) | TO(LATE) | TO(DONE),
        [PHASE_COMMIT] = TO(RELAY) | TO(DONE),
        [PHASE_LATE] = TO(DONE),
    };
#undef TO
    CHECK((legal[x->phase] >> phase & 1u) != 0);
    x->phase = phase;
    if (x->phase_at_us[phase] == 0) {
        x->phase_at_us[phase] = x->now_us;
    }
}
