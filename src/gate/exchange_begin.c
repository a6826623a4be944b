/*
 * How an exchange comes to be, with the first byte of a request, and what later
 * changes about whom it goes to: another processor, or as one that has sent.
 */
#include "exchange.h"

#include "weir/base/clock.h"

struct exchange *exchange_begin(struct gate *gate, struct client_stream *client)
{
    struct exchange *x = pool_get(&gate->exchange_pool);
    if (x == NULL) {
        return NULL;
    }
    const struct http_limits limits = {
        .head_bytes_max = client->listener->conf->header_bytes,
        .target_bytes_max = HTTP_TARGET_BYTES_MAX,
        .body_bytes_max = client->listener->conf->body_bytes,
    };
    struct blocks *blocks = loop_blocks(gate->options.loop);
    bool full = blocks->limit_bytes != 0 && blocks->used_bytes + BLOCK_BYTES > blocks->limit_bytes;
    arena_init(&x->arena, blocks);
    x->arena.need = BLOCKS_MUST; /* one block, so that a refusal can be said and logged */
    x->message = http_message_new(&x->arena, HTTP_REQUEST_MESSAGE, &limits, false);
    if (x->message == NULL) {
        arena_reset(&x->arena);
        pool_put(&gate->exchange_pool, x);
        return NULL;
    }
    x->arena.need = BLOCKS_MAY;
    buf_init(&x->body, blocks, SIZE_MAX); /* bounded by the message's body_bytes_max */
    if (full) {
        x->fault = HTTP_FAULT_NO_ROOM;
        x->fault_text = "all of memory.buffers is in use";
    }
    x->gate = gate;
    x->generation = generation_hold(client->listener->generation); /* the gate's own, unless the listener is closing */
    x->client = client;
    x->listener = client->listener->conf;
    x->peer = *client->peer;
    x->peer_trusted = client->peer_trusted;
    x->phase = PHASE_HEAD;
    x->now_us = loop_now_us(gate->options.loop);
    x->phase_at_us[PHASE_HEAD] = x->now_us;
    deferred_init(&x->release, exchange_on_release);
    timer_init(&x->timer, gate->options.loop, exchange_on_timer);
    digest_request_id(x->request_id);
    list_init(&x->in_exchanges);
    list_push_back(&gate->exchanges, &x->in_exchanges);
    gate->exchanges_count++;
    gate->exchanges_total++;
    return x;
}

void exchange_take_over(struct exchange *x)
{
    forward_mark_sent(x);
}

bool exchange_choose_processor(struct exchange *x, const char *name)
{
    const struct conf *conf = generation_conf(x->generation);
    for (int i = 0; i < conf->processor_count; i++) {
        if (strcmp(conf->processors[i].name, name) == 0) {
            if (conf->processors[i].profile != x->route->processor_conf->profile) {
                return false; /* its key, its answers and its errors would be read in another's language */
            }
            x->processor = x->generation->processors[i];
            x->processor_conf = &conf->processors[i];
            if (x->route->failover != NULL && x->route->failover->processor == x->processor) {
                x->route = x->route->failover; /* an earlier request with its key was moved there */
            }
            x->circuit = x->route->circuit;
            if (x->route->processor != x->processor) {
                circuit_release(x->circuit_held);
                x->circuit_held = processor_circuit(x->processor, x->route->conf->name);
                x->circuit = x->circuit_held;
            }
            return true;
        }
    }
    return false;
}
