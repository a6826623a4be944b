/*
 * A message from its first byte to its last:
 *
 *     LEAD --> HEAD --> BODY --> DONE
 *      one      |  ^      \
 *     empty     |  |       \---> FAULTED (from everywhere; final)
 *     CRLF      1xx answers
 *
 * A head is made whole first, then read three times over: by the byte check
 * (scan.c), by llhttp in strict mode (parser.c), by the rules (rules_*.c). Each
 * may refuse and none may mend.
 */
#include "body_internal.h"
#include "chars_internal.h"
#include "gather_internal.h"
#include "parser_internal.h"
#include "rules_internal.h"
#include "weir/http/message.h"
#include "weir/http/scan.h"

enum message_state {
    MESSAGE_LEAD,    /* requests only: one empty CRLF may come first (RFC 9112 2.2) */
    MESSAGE_HEAD,    /* the head is not whole yet */
    MESSAGE_BODY,    /* the head was accepted */
    MESSAGE_DONE,    /* what follows is another message's */
    MESSAGE_FAULTED,
};

struct http_message {
    struct arena *arena; /* borrowed; the message itself lives in it */
    enum http_kind kind;
    enum message_state state;
    struct http_limits limits;
    bool method_head;        /* this is the answer to a HEAD */
    bool begun;
    bool lead_cr;            /* the CR of a leading CRLF was used */
    bool line_passed;        /* the first line of a split head was checked already */
    uint8_t interim_count;   /* 1xx answers swallowed */
    struct gather gather;    /* the head, while it comes in pieces */
    struct http_head head;
    struct body body;
    struct verdict verdict;  /* set once, by the first fault */
    uint64_t wire_bytes;
};

static void enter(struct http_message *message, enum message_state state)
{
    message->state = state;
}

static enum http_event on_fault(struct http_message *message, struct verdict verdict)
{
    message->verdict = verdict;
    enter(message, MESSAGE_FAULTED);
    return HTTP_FAULTED;
}

struct http_message *http_message_new(struct arena *arena, enum http_kind kind, const struct http_limits *limits,
                                      bool request_method_head)
{
    struct http_message *message = arena_take_zeroed(arena, sizeof(*message));
    if (message == NULL)
        return NULL;
    message->arena = arena;
    message->kind = kind;
    message->limits = *limits;
    message->method_head = request_method_head;
    enter(message, kind == HTTP_REQUEST_MESSAGE ? MESSAGE_LEAD : MESSAGE_HEAD);
    return message;
}

static void use(struct http_message *message, struct bytes *data, size_t len)
{
    *data = bytes_skip(*data, len);
    message->wire_bytes += len;
}

/* --- the head --------------------------------------------------------------------------------------------------- */

/* `raw` is a whole head in the arena. */
static struct verdict read_head(struct http_message *message, struct bytes raw)
{
    struct http_head *head = &message->head;
    bool request = message->kind == HTTP_REQUEST_MESSAGE;
    struct scan_result scan =
        request ? scan_request_head(raw, message->limits.target_bytes_max) : scan_response_head(raw);
    if (scan.fault != HTTP_FAULT_NONE)
        return (struct verdict){scan.fault, scan.text};
    *head = (struct http_head){0};
    head->fields = arena_take(message->arena, (size_t)(scan.field_count + 1) * sizeof(head->fields[0]));
    if (head->fields == NULL)
        return (struct verdict){HTTP_FAULT_NO_ROOM, "no room for the fields"};
    const char *text = parser__read(head, request, raw, scan.field_count);
    if (text != NULL)
        return verdict_malformed(text);
    return request ? rules__request(head) : rules__response(head, message->method_head, scan.underscore);
}

static enum http_event on_interim(struct http_message *message)
{
    if (++message->interim_count > HTTP_INTERIM_MAX)
        return on_fault(message, verdict_malformed("too many interim answers"));
    message->gather.len = 0;
    message->line_passed = false;
    return HTTP_MORE;
}

/* HTTP_MORE: it was an interim answer, the next head follows. */
static enum http_event on_head(struct http_message *message, struct bytes raw)
{
    struct verdict verdict = read_head(message, raw);
    if (verdict_refuses(verdict))
        return on_fault(message, verdict);
    const struct http_head *head = &message->head;
    if (message->kind == HTTP_RESPONSE_MESSAGE && head->status < 200)
        return on_interim(message);
    body__init(&message->body, message->arena, message->kind, head->framing, head->content_length);
    enter(message, MESSAGE_BODY);
    return HTTP_HEAD;
}

/* The first line of a head that is not whole, once its LF is there. Garbage is refused without waiting for its end. */
static struct verdict check_first_line(struct http_message *message, size_t from)
{
    struct bytes gathered = gather_bytes(&message->gather);
    size_t lf = bytes_find(bytes_skip(gathered, from), '\n');
    if (message->line_passed || lf == SIZE_MAX)
        return VERDICT_OK;
    struct bytes line = bytes_take(gathered, from + lf + 1);
    struct scan_result result = message->kind == HTTP_REQUEST_MESSAGE
                                    ? scan_request_line(line, message->limits.target_bytes_max)
                                    : scan_status_line(line);
    message->line_passed = true;
    return (struct verdict){result.fault, result.text};
}

/* Offset of the first CR behind which something other than LF stands, or SIZE_MAX; begins near `from`. */
static size_t find_bare_cr(struct bytes gathered, size_t from)
{
    for (size_t at = from > 0 ? from - 1 : 0; at + 1 < gathered.len; at++) {
        const char *cr = memchr(gathered.at + at, '\r', gathered.len - 1 - at);
        if (cr == NULL)
            break;
        at = (size_t)(cr - gathered.at);
        if (cr[1] != '\n')
            return at;
    }
    return SIZE_MAX;
}

/*
 * A CR without LF could hide the end of a head for ever, so it is refused when it is seen: for what stands first in
 * the bytes up to it, which is what the check of the whole head would find.
 */
static struct verdict check_bare_cr(const struct http_message *message, size_t from)
{
    struct bytes gathered = gather_bytes(&message->gather);
    size_t cr = find_bare_cr(gathered, from);
    if (cr == SIZE_MAX)
        return VERDICT_OK;
    if (!message->line_passed)
        return verdict_malformed("CR without LF");
    struct bytes fields = bytes_skip(bytes_take(gathered, cr + 2), bytes_find(gathered, '\n') + 1);
    struct scan_result result = scan_fields(fields, message->kind == HTTP_REQUEST_MESSAGE);
    CHECK(result.fault != HTTP_FAULT_NONE);
    return (struct verdict){result.fault, result.text};
}

/* The head has filled its limit and is not whole. */
static struct verdict too_large(const struct http_message *message)
{
    struct bytes gathered = gather_bytes(&message->gather);
    if (message->kind == HTTP_REQUEST_MESSAGE && !message->line_passed) {
        if (bytes_find(gathered, ' ') == SIZE_MAX)
            return verdict_malformed("the request line does not begin with a method");
        return (struct verdict){HTTP_FAULT_URI_TOO_LONG, "the request line is too long"};
    }
    return (struct verdict){HTTP_FAULT_HEAD_TOO_LARGE, "the head is too large"};
}

static enum http_event gather_head(struct http_message *message, struct bytes *data)
{
    struct gather *gather = &message->gather;
    size_t before = gather->len;
    size_t len_max = message->limits.head_bytes_max;
    struct bytes part = bytes_take(*data, len_max - before);
    if (!gather__append(gather, message->arena, part, len_max))
        return on_fault(message, (struct verdict){HTTP_FAULT_NO_ROOM, "no room for the head"});
    size_t end = scan_head_end(gather_bytes(gather), before);
    if (end > 0) {
        use(message, data, end - before);
        return on_head(message, bytes_of(gather->at, end));
    }
    use(message, data, part.len);
    struct verdict verdict = check_first_line(message, before);
    if (verdict_refuses(verdict))
        return on_fault(message, verdict);
    verdict = check_bare_cr(message, before);
    if (verdict_refuses(verdict))
        return on_fault(message, verdict);
    if (gather->len == len_max)
        return on_fault(message, too_large(message));
    return HTTP_MORE;
}

/* Other protocols are told from ours by their first byte, without waiting for a line that may never end. */
static const char *first_byte_fault(const struct http_message *message, char byte)
{
    if (message->kind == HTTP_RESPONSE_MESSAGE)
        return byte == 'H' ? NULL : "the answer does not begin with HTTP";
    return chars_is(byte, CHARS_TOKEN) ? NULL : "the request line does not begin with a method";
}

static enum http_event feed_head(struct http_message *message, struct bytes *data)
{
    if (data->len == 0)
        return HTTP_MORE;
    message->begun = true;
    if (message->gather.len > 0)
        return gather_head(message, data);
    const char *text = first_byte_fault(message, data->at[0]);
    if (text != NULL)
        return on_fault(message, verdict_malformed(text));
    size_t end = scan_head_end(bytes_take(*data, message->limits.head_bytes_max), 0);
    if (end == 0)
        return gather_head(message, data);
    struct bytes raw = arena_copy(message->arena, bytes_take(*data, end));
    if (raw.at == NULL)
        return on_fault(message, (struct verdict){HTTP_FAULT_NO_ROOM, "no room for the head"});
    use(message, data, end);
    return on_head(message, raw);
}

static enum http_event feed_lead(struct http_message *message, struct bytes *data)
{
    if (data->len > 0 && !message->lead_cr && data->at[0] == '\r') {
        message->lead_cr = true;
        use(message, data, 1);
    }
    if (data->len == 0)
        return HTTP_MORE;
    if (message->lead_cr) {
        if (data->at[0] != '\n')
            return on_fault(message, verdict_malformed("CR without LF"));
        use(message, data, 1);
    }
    enter(message, MESSAGE_HEAD);
    return HTTP_MORE;
}

/* --- the body --------------------------------------------------------------------------------------------------- */

static struct verdict check_body_max(const struct http_message *message)
{
    const struct http_head *head = &message->head;
    uint64_t max = message->limits.body_bytes_max;
    if (head->framing == HTTP_FRAMING_LENGTH && head->content_length > max)
        return (struct verdict){HTTP_FAULT_BODY_TOO_LARGE, "Content-Length is longer than the body may be"};
    if (message->body.decoded > max)
        return (struct verdict){HTTP_FAULT_BODY_TOO_LARGE, "the body is longer than it may be"};
    return VERDICT_OK;
}

static enum http_event feed_body(struct http_message *message, struct bytes *data, struct bytes *body)
{
    struct verdict verdict = check_body_max(message);
    if (verdict_refuses(verdict))
        return on_fault(message, verdict);
    size_t len = data->len;
    enum http_event event = body__feed(&message->body, data, body, message->limits.body_bytes_max, &verdict);
    message->wire_bytes += len - data->len;
    if (event == HTTP_FAULTED)
        return on_fault(message, verdict);
    if (event == HTTP_END)
        enter(message, MESSAGE_DONE);
    return event;
}

enum http_event http_message_feed(struct http_message *message, struct bytes *data, struct bytes *body)
{
    *body = BYTES_NONE;
    for (;;) {
        enum http_event event;
        switch (message->state) {
        case MESSAGE_LEAD:
            event = feed_lead(message, data);
            break;
        case MESSAGE_HEAD:
            event = feed_head(message, data);
            break;
        case MESSAGE_BODY:
            return feed_body(message, data, body);
        case MESSAGE_DONE:
            return HTTP_END;
        default:
            return HTTP_FAULTED;
        }
        if (event != HTTP_MORE || data->len == 0)
            return event;
    }
}

/* No message is framed by the end of its connection, so that is the end of one that is done, or of none. */
enum http_event http_message_finish(struct http_message *message)
{
    switch (message->state) {
    case MESSAGE_LEAD:
        return HTTP_MORE;
    case MESSAGE_HEAD:
        if (!message->begun)
            return HTTP_MORE;
        return on_fault(message, verdict_malformed("the connection ended inside the head"));
    case MESSAGE_BODY:
        if (message->body.state == BODY_DONE) {
            enter(message, MESSAGE_DONE);
            return HTTP_END;
        }
        return on_fault(message, verdict_malformed("the connection ended inside the body"));
    case MESSAGE_DONE:
        return HTTP_END;
    default:
        return HTTP_FAULTED;
    }
}

const struct http_head *http_message_head(const struct http_message *message)
{
    return &message->head;
}

void http_message_set_body_max(struct http_message *message, uint64_t body_bytes_max)
{
    message->limits.body_bytes_max = body_bytes_max;
    struct verdict verdict = check_body_max(message);
    if (message->state == MESSAGE_BODY && verdict_refuses(verdict))
        on_fault(message, verdict);
}

enum http_fault http_message_fault(const struct http_message *message)
{
    return message->verdict.fault;
}

const char *http_message_fault_text(const struct http_message *message)
{
    return message->verdict.text != NULL ? message->verdict.text : "";
}

bool http_message_begun(const struct http_message *message)
{
    return message->begun;
}

uint64_t http_message_body_bytes(const struct http_message *message)
{
    return message->body.decoded;
}

uint64_t http_message_wire_bytes(const struct http_message *message)
{
    return message->wire_bytes;
}
