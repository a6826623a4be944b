/*
 * Who waits for a place at a processor, in order. Bounded by `pool.queue`, and
 * on arrival by time: who could not be served before its deadline is told at
 * once. Places that come free are given out at the end of the turn; so are
 * refusals of those who wait in vain since something opened or went down.
 */
#include "upstream_internal.h"

/* The moving average of service times moves by one part in so many. */
#define SERVICE_PARTS 8u

void queue_wake(struct processor *processor)
{
    if (processor->queue_count > 0) {
        loop_defer(processor->upstream->options.loop, &processor->dispatch);
    }
}

void queue_doubt(struct processor *processor)
{
    if (processor->queue_count > 0) { /* who joins later is looked at then */
        processor->queue_doubted = true;
        queue_wake(processor);
    }
}

void queue_note_service(struct processor *processor, uint64_t service_us)
{
    uint64_t before_us = processor->service_us;
    uint64_t after_us = before_us == 0 ? service_us : (before_us * (SERVICE_PARTS - 1) + service_us) / SERVICE_PARTS;
    processor->service_us = after_us > 0 ? after_us : 1;
}

uint64_t processor_service_us(const struct processor *processor)
{
    return processor->service_us;
}

static uint64_t places_of(const struct processor *processor)
{
    const struct processor_settings *settings = &processor->settings;
    uint64_t places = 0;
    for (int i = 0; i < processor->endpoint_count; i++) {
        places += endpoint_is_closed_to_all(processor->endpoints[i]) ? 0 : settings->connections;
    }
    return places < settings->concurrency ? places : settings->concurrency;
}

/* How long `count` calls take, with all places busy. 0: nothing is known. */
static uint64_t service_of(const struct processor *processor, uint32_t count)
{
    uint64_t places = places_of(processor);
    return places == 0 ? 0 : processor->service_us * count / places;
}

bool queue_join(struct call *call, struct call_refused *refused)
{
    struct processor *processor = call->processor;
    uint64_t wait_us = service_of(processor, processor->queue_count + 1);
    uint64_t now_us = processor_now_us(processor);
    *refused = (struct call_refused){.why = CALL_QUEUE_FULL, .wait_us = wait_us};
    if (processor->queue_count >= processor->settings.queue) {
        refused->words = "too many requests wait for this processor";
        return false;
    }
    uint64_t own_us = wait_us > 0 ? processor->service_us : 0; /* in time is answered in time, not just sent */
    if (call->due_us != 0 && now_us + wait_us + own_us > call->due_us) {
        refused->words = "those that wait before it need longer than it has";
        return false;
    }
    processor->queue_count++;
    list_push_back(&processor->queue, &call->in_queue);
    return true;
}

void queue_leave(struct call *call)
{
    list_remove(&call->in_queue);
    call->processor->queue_count--;
}

/* Whoever hears that it was refused may close others that wait: each stays in a list, and counted, until its turn. */
void queue_refuse_all(struct processor *processor, enum call_refusal why, const char *words)
{
    const struct call_refused refused = {.why = why, .words = words};
    struct list waiting;
    struct call *call;
    list_init(&waiting);
    list_move_all(&waiting, &processor->queue);
    while ((call = list_first(&waiting, struct call, in_queue)) != NULL) {
        queue_leave(call);
        call_refuse(call, &refused);
    }
}

static void refuse_those_in_vain(struct processor *processor)
{
    struct call_refused refused;
    struct list in_vain;
    struct call *next;
    list_init(&in_vain);
    list_each (call, after, &processor->queue, struct call, in_queue) {
        if (call_waits_in_vain(call, &refused)) {
            list_remove(&call->in_queue);
            list_push_back(&in_vain, &call->in_queue);
        }
    }
    while ((next = list_first(&in_vain, struct call, in_queue)) != NULL) {
        if (call_waits_in_vain(next, &refused)) {
            queue_leave(next);
            call_refuse(next, &refused);
        } else { /* it changed back while the others heard of it */
            list_remove(&next->in_queue);
            list_push_back(&processor->queue, &next->in_queue);
        }
    }
}

void queue_on_dispatch(struct deferred *deferred)
{
    struct processor *processor = container_of(deferred, struct processor, dispatch);
    if (processor->queue_doubted) {
        processor->queue_doubted = false;
        refuse_those_in_vain(processor);
    }
    while (processor->queue_count > 0) {
        struct call *call = list_first(&processor->queue, struct call, in_queue);
        if (!call_unqueue(call)) {
            return; /* still no place: the next one that comes free wakes us again */
        }
    }
}
