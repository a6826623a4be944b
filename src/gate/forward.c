/*
 * The request on its way to the processor, in runs that the link can take, and
 * the moment from which money may have moved. The processor gets it written anew from parsed values, with
 * one canonical length, and with the forwarding fields that weir vouches for.
 * What a client says of earlier hops counts only when the client is trusted.
 */
#include "claim.h"

#define DROP(NAME) (1u << HTTP_FIELD_##NAME)

static bool is_trusted(const struct exchange *x, const struct addr *addr)
{
    for (int i = 0; i < x->listener->trusted_count; i++) {
        if (addr_net_contains(&x->listener->trusted[i], addr)) {
            return true;
        }
    }
    return false;
}

/* Last element of a list field; its `rest` is what stands before. */
static struct bytes last_element(struct bytes *rest)
{
    size_t at = rest->len;
    while (at > 0 && rest->at[at - 1] != ',') {
        at--;
    }
    struct bytes element = bytes_trim(bytes_skip(*rest, at));
    *rest = bytes_take(*rest, at > 0 ? at - 1 : 0);
    return element;
}

struct bytes forward_client_address(const struct exchange *x, char text[ADDR_TEXT_BYTES])
{
    struct bytes own = bytes_from_text(addr_format_host(&x->peer, text));
    bool further = x->head != NULL && x->peer_trusted;
    /* The last line and its last element are the nearest hop; each hop vouches for the one before it while it is trusted. */
    for (int i = further ? x->head->field_count - 1 : -1; further && i >= 0; i--) {
        const struct http_field *field = &x->head->fields[i];
        struct bytes rest = bytes_equal_nocase(field->name, BYTES("x-forwarded-for")) ? field->value : BYTES_NONE;
        while (further && rest.len > 0) {
            struct addr addr;
            further = addr_parse_host(last_element(&rest), 0, &addr); /* an unreadable hop proves nothing before it */
            if (further) {
                own = bytes_from_text(addr_format_host(&addr, text));
                further = is_trusted(x, &addr);
            }
        }
    }
    return own;
}

static void write_list_with(struct http_writer *writer, const struct exchange *x, struct bytes name, struct bytes own)
{
    if (!x->peer_trusted) {
        http_write_field(writer, name, own);
        return;
    }
    http_write_lines(writer, name);
    http_write_lines(writer, BYTES(": "));
    for (int i = 0; i < x->head->field_count; i++) {
        const struct http_field *field = &x->head->fields[i];
        if (bytes_equal_nocase(field->name, name) && field->value.len > 0) {
            http_write_lines(writer, field->value);
            http_write_lines(writer, BYTES(", "));
        }
    }
    http_write_lines(writer, own);
    http_write_lines(writer, BYTES("\r\n"));
}

/* The protocol of the first hop, as the nearest trusted one tells it; only the two that there are. */
static struct bytes forwarded_proto(const struct exchange *x, struct bytes own)
{
    struct bytes proto = own;
    for (int i = 0; x->peer_trusted && i < x->head->field_count; i++) {
        const struct http_field *field = &x->head->fields[i];
        if (bytes_equal_nocase(field->name, BYTES("x-forwarded-proto"))) {
            proto = field->value;
        }
    }
    bool known = bytes_equal_nocase(proto, BYTES("http")) || bytes_equal_nocase(proto, BYTES("https"));
    return known ? proto : own;
}

static void write_forwarded(struct http_writer *writer, const struct exchange *x, struct bytes address)
{
    const struct http_head *head = x->head;
    bool v6 = bytes_find(address, ':') != SIZE_MAX;
    struct bytes proto = x->tls_version != NULL ? BYTES("https") : BYTES("http");
    write_list_with(writer, x, BYTES("X-Forwarded-For"), address);
    http_write_field(writer, BYTES("X-Forwarded-Proto"), forwarded_proto(x, proto));

    WEIR_SCRATCH char text[ADDR_TEXT_BYTES + 300];
    struct http_writer value;
    http_write_init(&value, text, sizeof text);
    http_write_lines(&value, v6 ? BYTES("for=\"[") : BYTES("for="));
    http_write_lines(&value, address);
    http_write_lines(&value, v6 ? BYTES("]\";host=\"") : BYTES(";host=\""));
    http_write_lines(&value, head->authority);
    http_write_lines(&value, BYTES("\";proto="));
    http_write_lines(&value, proto);
    write_list_with(writer, x, BYTES("Forwarded"), http_write_bytes(&value));
}

static void write_framing(struct http_writer *writer, const struct exchange *x)
{
    const struct http_head *head = x->head;
    if (x->streams_request && head->framing == HTTP_FRAMING_CHUNKED) {
        http_write_lines(writer, BYTES("Transfer-Encoding: chunked\r\n"));
    } else if (x->streams_request && head->framing == HTTP_FRAMING_LENGTH) {
        http_write_field_u64(writer, BYTES("Content-Length"), head->content_length);
    } else if (head->framing != HTTP_FRAMING_NONE || !x->safe_method) {
        /* A method that may have a body says its length even when there is none (RFC 9110 8.6). */
        http_write_field_u64(writer, BYTES("Content-Length"), x->body.len);
    }
}

/* The key that the record is bound to, in one spelling, takes the place of the client's bytes. */
static bool writes_key(const struct exchange *x)
{
    return x->claim != NULL && x->route->profile->key_place == KEY_IN_HEADER;
}

static void write_key(struct http_writer *writer, const struct exchange *x)
{
    if (writes_key(x)) {
        http_write_field(writer, x->route->profile->key, x->claim->upstream_key);
    }
}

/*
 * The client's own key fields, where a claim writes another in their place: the one that weir reads and the one that
 * the processor reads. Two of them would have two readings there. Returns how many.
 */
static int client_key_names(const struct exchange *x, struct bytes names[2])
{
    int count = 0;
    if (x->claim != NULL && x->claim->conf->key.place == CONF_KEY_HEADER) {
        names[count++] = bytes_from_text(x->claim->conf->key.at);
    }
    if (writes_key(x)) {
        names[count++] = x->route->profile->key;
    }
    return count;
}

/* Words in the body decide what a refusal proves: they must not be hidden by a coding. */
static bool wants_plain_answer(const struct exchange *x)
{
    return x->claim != NULL && x->route->profile->unproven_words[0].len > 0;
}

static struct bytes request_head(struct exchange *x)
{
    const struct http_head *head = x->head;
    struct http_writer writer;
    WEIR_SCRATCH char text[ADDR_TEXT_BYTES];
    const char *host = x->processor_conf->host_header;
    struct bytes peer = bytes_from_text(addr_format_host(&x->peer, text));
    struct bytes key_names[2];
    int key_names_count = client_key_names(x, key_names);

    http_write_init(&writer, x->gate->scratch, sizeof x->gate->scratch);
    http_write_request_line(&writer, head->method, head->target);
    http_write_field(&writer, BYTES("Host"), host != NULL ? bytes_from_text(host) : head->authority);
    http_write_passed_fields(&writer, head,
                             DROP(HOST) | DROP(CONTENT_LENGTH) | DROP(TRANSFER_ENCODING) | DROP(EXPECT) |
                                 DROP(WEIR_ANY) | DROP(FORWARDED) | DROP(X_FORWARDED_ANY) | DROP(X_REAL_IP) |
                                 DROP(IDEMPOTENT_REPLAYED) | (writes_key(x) ? DROP(IDEMPOTENCY_KEY) : 0) |
                                 (wants_plain_answer(x) ? DROP(ACCEPT_ENCODING) : 0),
                             key_names, key_names_count);
    write_key(&writer, x);
    if (wants_plain_answer(x)) {
        http_write_field(&writer, BYTES("Accept-Encoding"), BYTES("identity"));
    }
    write_forwarded(&writer, x, peer);
    if (!http_head_has(head, HTTP_FIELD_X_REQUEST_ID)) {
        http_write_field(&writer, BYTES("X-Request-Id"), bytes_of(x->request_id, REQUEST_ID_BYTES));
    }
    http_write_lines(&writer, BYTES("Via: 1.1 weir\r\n"));
    write_framing(&writer, x);
    http_write_end(&writer);
    return writer.overflow ? BYTES_NONE : http_write_bytes(&writer);
}

/* ---- on its way ---- */

void forward_mark_sent(struct exchange *x)
{
    if (!x->sent) {
        x->sent = true;
        x->arena.need = BLOCKS_MUST;
        x->gate->exchanges_sent_count++;
    }
}

static struct stream_wrote send_parts(struct exchange *x, const struct bytes *parts, int count)
{
    struct stream_wrote wrote = call_send(&x->call, parts, count);
    if (wrote.sent && !x->handed_over) {
        x->handed_over = true;
        forward_mark_sent(x);
        if (x->claim != NULL) {
            (void)idem_step(&x->claim->driver, &(struct idem_event){.kind = IDEM_ON_FIRST_BYTE});
        }
    }
    return wrote;
}

static bool sends_chunks(const struct exchange *x)
{
    return x->streams_request && x->head->framing == HTTP_FRAMING_CHUNKED;
}

/* The next run of the body as parts behind `count` others; returns the new count. `len` is what of the body they hold. */
static int body_parts(struct exchange *x, struct bytes *parts, int count, char chunk_head[HTTP_CHUNK_HEAD_BYTES],
                      size_t *len)
{
    WEIR_SCRATCH struct iovec vectors[STREAM_PARTS_MAX - 4];
    int vector_count = buf_vectors_from(&x->body, x->body_sent, vectors, (int)ARRAY_COUNT(vectors));
    int chunk_at = count;
    *len = 0;
    if (sends_chunks(x) && vector_count > 0) {
        count++;
    }
    for (int i = 0; i < vector_count; i++) {
        parts[count++] = bytes_of(vectors[i].iov_base, vectors[i].iov_len);
        *len += vectors[i].iov_len;
    }
    if (sends_chunks(x) && vector_count > 0) {
        parts[chunk_at] = bytes_of(chunk_head, http_chunk_head(chunk_head, *len));
        parts[count++] = HTTP_CHUNK_TAIL;
    }
    return count;
}

/* Writes the head, if it is still to go, and one run of the body. */
struct stream_wrote forward_some(struct exchange *x)
{
    WEIR_SCRATCH struct bytes parts[STREAM_PARTS_MAX];
    char chunk_head[HTTP_CHUNK_HEAD_BYTES];
    int count = 0;
    size_t body_len = 0;
    if (!x->head_sent) {
        parts[count] = request_head(x);
        if (parts[count++].len == 0) {
            return (struct stream_wrote){.err = ERR_FULL, .sent = false};
        }
    }
    count = body_parts(x, parts, count, chunk_head, &body_len);
    bool last = x->request_whole && x->body_sent + body_len == x->body.len;
    if (last && sends_chunks(x)) {
        parts[count++] = HTTP_LAST_CHUNK;
    }
    struct stream_wrote wrote = send_parts(x, parts, count);
    if (wrote.err == ERR_OK) {
        x->head_sent = true;
        if (again_keeps_body(x)) {
            x->body_sent += body_len;
        } else {
            buf_consume(&x->body, x->body_sent + body_len);
            x->body_sent = 0;
        }
        if (last) {
            call_request_done(&x->call);
        }
    }
    return wrote;
}
