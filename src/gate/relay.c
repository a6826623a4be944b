/*
 * The processor's answer on its way to the client: what arrived in this event
 * leaves in one write, and a slow client holds the processor back. Without a
 * client the answer is only counted. Decides nothing about outcomes.
 */
#include "exchange.h"

static struct answer answer_of(struct exchange *x, char *lines, size_t size)
{
    return (struct answer){
        .status = x->answer_head->status,
        .from = x->answer_head,
        .lines = reply_lines(x, lines, size),
        .framing = x->answer_head->framing,
        .content_length = x->answer_head->content_length,
    };
}

static enum err write_out(struct exchange *x, bool end)
{
    struct gate *gate = x->gate;
    if (x->answer_begun) {
        bool nothing = gate->part_count == 0 && !end;
        return nothing ? ERR_OK : x->client->ops->body(x->client, gate->parts, gate->part_count, end);
    }
    WEIR_SCRATCH char lines[REPLY_LINES_BYTES];
    struct answer answer = answer_of(x, lines, sizeof lines);
    x->answer_begun = true;
    return x->client->ops->answer(x->client, &answer, gate->parts, gate->part_count, end);
}

/* The client cannot be written to any more. The exchange goes on: its answer is still to be known. */
static void lose_client(struct exchange *x, enum err err)
{
    struct client_stream *client = x->client;
    (void)bytes_to_text(bytes_from_text(err_sentence(err)), x->why, sizeof x->why);
    x->client = NULL;
    client->exchange = NULL;
    client->ops->finished(client, false);
    x->answer_paused = false; /* nobody is left for whose sake it would be held back */
    call_resume(&x->call);
}

void relay_flush(struct exchange *x, bool end)
{
    if (x->client == NULL) {
        return;
    }
    for (int i = 0; i < x->gate->part_count; i++) {
        x->bytes_out += x->gate->parts[i].len;
    }
    enum err err = write_out(x, end);
    if (err != ERR_OK) {
        lose_client(x, err);
        return;
    }
    if (!end && !x->answer_paused && x->client->ops->queued(x->client) > STREAM_QUEUE_HIGH_BYTES) {
        x->answer_paused = true;
        call_pause(&x->call);
    }
}
