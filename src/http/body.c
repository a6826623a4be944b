/*
 * The body machine. Between the chunks it takes one byte at a time, and each
 * state names the only bytes that may come; inside them it hands out runs of
 * the caller's bytes. Extensions are bounded and dropped, trailers are checked
 * as a head's fields are and dropped.
 */
#include "body_internal.h"

#include "chars_internal.h"
#include "weir/http/scan.h"

#define CHUNK_SIZE_DIGITS_MAX 8

/* What one byte of the chunk framing led to. */
enum step { STEP_ON, STEP_FAULT };

static void enter(struct body *body, enum body_state state)
{
    body->state = state;
}

void body__init(struct body *body, struct arena *arena, enum http_kind kind, enum http_framing framing, uint64_t length)
{
    *body = (struct body){.kind = kind, .arena = arena};
    switch (framing) {
    case HTTP_FRAMING_NONE:
        enter(body, BODY_DONE);
        break;
    case HTTP_FRAMING_LENGTH:
        body->left = length;
        enter(body, length > 0 ? BODY_LENGTH : BODY_DONE);
        break;
    case HTTP_FRAMING_CHUNKED:
        enter(body, BODY_SIZE);
        break;
    }
}

static enum step fault(struct verdict *verdict, const char *text)
{
    *verdict = verdict_malformed(text);
    return STEP_FAULT;
}

/* The size line is whole: a chunk follows, or the trailer behind the last. */
static enum step on_size_line(struct body *body, uint64_t decoded_max, struct verdict *verdict)
{
    if (body->left > decoded_max || body->decoded > decoded_max - body->left) {
        *verdict = (struct verdict){HTTP_FAULT_BODY_TOO_LARGE, "the chunks are longer than the body may be"};
        return STEP_FAULT;
    }
    enter(body, body->left > 0 ? BODY_CHUNK : BODY_TRAILER);
    return STEP_ON;
}

static enum step on_size_end(struct body *body, char byte, struct verdict *verdict)
{
    if (byte == '\r') {
        enter(body, BODY_SIZE_LF);
        return STEP_ON;
    }
    if (byte != ';')
        return fault(verdict, "a byte behind a chunk's size that is neither ';' nor CR");
    if (++body->extension_bytes > HTTP_CHUNK_EXTENSION_BYTES_MAX)
        return fault(verdict, "the chunk extensions are too long");
    body->token_bytes = 0;
    enter(body, BODY_EXTENSION_NAME);
    return STEP_ON;
}

static enum step on_size(struct body *body, char byte, struct verdict *verdict)
{
    int digit = chars_hex(byte);
    if (digit >= 0) {
        if (body->size_digits == CHUNK_SIZE_DIGITS_MAX)
            return fault(verdict, "a chunk's size has more than eight digits");
        body->size_digits++;
        body->left = body->left << 4 | (unsigned)digit;
        return STEP_ON;
    }
    if (body->size_digits == 0)
        return fault(verdict, "a chunk's size is missing");
    return on_size_end(body, byte, verdict);
}

/* Extensions are ;name or ;name=value of token bytes. A quoted string could hide a line end, so there is none. */
static enum step on_extension(struct body *body, char byte, struct verdict *verdict)
{
    if (chars_is(byte, CHARS_TOKEN)) {
        if (++body->extension_bytes > HTTP_CHUNK_EXTENSION_BYTES_MAX)
            return fault(verdict, "the chunk extensions are too long");
        body->token_bytes++;
        return STEP_ON;
    }
    if (body->token_bytes == 0)
        return fault(verdict, "an empty name or value in a chunk extension, or a byte that is not of a token");
    if (byte == '=' && body->state == BODY_EXTENSION_NAME) {
        if (++body->extension_bytes > HTTP_CHUNK_EXTENSION_BYTES_MAX)
            return fault(verdict, "the chunk extensions are too long");
        body->token_bytes = 0;
        enter(body, BODY_EXTENSION_VALUE);
        return STEP_ON;
    }
    if (byte != ';' && byte != '\r')
        return fault(verdict, "a byte in a chunk extension that is not of a token");
    return on_size_end(body, byte, verdict);
}

static enum step on_framing_byte(struct body *body, char byte, uint64_t decoded_max, struct verdict *verdict)
{
    switch (body->state) {
    case BODY_SIZE:
        return on_size(body, byte, verdict);
    case BODY_EXTENSION_NAME:
    case BODY_EXTENSION_VALUE:
        return on_extension(body, byte, verdict);
    case BODY_SIZE_LF:
        if (byte != '\n')
            return fault(verdict, "CR without LF behind a chunk's size");
        return on_size_line(body, decoded_max, verdict);
    case BODY_CHUNK_CR:
        if (byte != '\r')
            return fault(verdict, "a chunk is longer than its size");
        enter(body, BODY_CHUNK_LF);
        return STEP_ON;
    case BODY_CHUNK_LF:
        if (byte != '\n')
            return fault(verdict, "CR without LF behind a chunk");
        body->size_digits = 0;
        enter(body, BODY_SIZE);
        return STEP_ON;
    case BODY_LENGTH:
    case BODY_CHUNK:
    case BODY_TRAILER:
    case BODY_DONE:
        break;
    }
    check_failed(__FILE__, __LINE__, "a framing byte in a state without framing");
}

/* The section passed the byte check, so every line has a colon and ends in CR LF. */
static struct verdict check_trailer_names(struct bytes section, enum http_kind kind)
{
    while (section.len > 2) {
        struct bytes name = bytes_take(section, bytes_find(section, ':'));
        enum http_field_id id = http_field_identify(name);
        bool refused = kind == HTTP_REQUEST_MESSAGE ? rules__is_protected(name, id) : id != HTTP_FIELD_OTHER;
        if (refused || rules__is_disguised(name))
            return verdict_malformed("a field in the trailer that belongs into the head");
        section = bytes_skip(section, bytes_find(section, '\n') + 1);
    }
    return VERDICT_OK;
}

static struct verdict check_trailer(const struct body *body, size_t len)
{
    struct bytes section = bytes_of(body->trailer.at, len);
    struct scan_result result = scan_fields(section, body->kind == HTTP_REQUEST_MESSAGE);
    if (result.fault != HTTP_FAULT_NONE)
        return (struct verdict){result.fault, result.text};
    return check_trailer_names(section, body->kind);
}

/* Length of the section at the front of `gathered`: one empty line, or fields and an empty line. 0: not complete. */
static size_t trailer_end(struct bytes gathered, size_t from)
{
    if (gathered.at[0] == '\n')
        return 1;
    if (gathered.at[0] == '\r' && gathered.len > 1)
        return 2;
    return scan_head_end(gathered, from);
}

static enum step on_trailer(struct body *body, struct bytes *data, struct verdict *verdict)
{
    struct gather *trailer = &body->trailer;
    if (trailer->len == 0 && data->len > 1 && data->at[0] == '\r' && data->at[1] == '\n') {
        *data = bytes_skip(*data, 2);
        enter(body, BODY_DONE);
        return STEP_ON;
    }
    size_t before = trailer->len;
    struct bytes part = bytes_take(*data, HTTP_TRAILER_BYTES_MAX - before);
    if (!gather__append(trailer, body->arena, part, HTTP_TRAILER_BYTES_MAX)) {
        *verdict = (struct verdict){HTTP_FAULT_NO_ROOM, "no room for the trailer"};
        return STEP_FAULT;
    }
    size_t end = trailer_end(gather_bytes(trailer), before);
    if (end == 0) {
        *data = bytes_skip(*data, part.len);
        if (trailer->len == HTTP_TRAILER_BYTES_MAX)
            return fault(verdict, "the trailer is too long");
        return STEP_ON;
    }
    *data = bytes_skip(*data, end - before);
    *verdict = check_trailer(body, end);
    if (verdict_refuses(*verdict))
        return STEP_FAULT;
    enter(body, BODY_DONE);
    return STEP_ON;
}

static void on_run(struct body *body, struct bytes *data, struct bytes *run)
{
    *run = bytes_take(*data, body->left > SIZE_MAX ? SIZE_MAX : (size_t)body->left);
    *data = bytes_skip(*data, run->len);
    body->left -= run->len;
    body->decoded += run->len;
    if (body->left == 0)
        enter(body, body->state == BODY_LENGTH ? BODY_DONE : BODY_CHUNK_CR);
}

enum http_event body__feed(struct body *body, struct bytes *data, struct bytes *run, uint64_t decoded_max,
                           struct verdict *verdict)
{
    while (body->state != BODY_DONE) {
        if (data->len == 0)
            return HTTP_MORE;
        if (body->state == BODY_LENGTH || body->state == BODY_CHUNK) {
            on_run(body, data, run);
            return HTTP_BODY;
        }
        enum step step;
        if (body->state == BODY_TRAILER) {
            step = on_trailer(body, data, verdict);
        } else {
            char byte = data->at[0];
            *data = bytes_skip(*data, 1);
            step = on_framing_byte(body, byte, decoded_max, verdict);
        }
        if (step == STEP_FAULT)
            return HTTP_FAULTED;
    }
    return HTTP_END;
}
