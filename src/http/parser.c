/*
 * The only file that knows llhttp. It is compiled strict, sees one whole head
 * at a time, and stops where the head ends: never a body, an upgrade or a
 * second message, which are the places where it is known to be lenient.
 */
#include "parser_internal.h"

#include <llhttp.h>

#if LLHTTP_STRICT_MODE != 1
#error "llhttp must be compiled with LLHTTP_STRICT_MODE=1: loose mode is open to request smuggling"
#endif

struct reading {
    struct http_head *head;
    int field_max;
    bool in_value; /* the last span was of a value: a span of a name begins the next field */
    bool complete;
};

/* A span that continues the last one makes it longer; llhttp may cut one in two. */
static int extend(struct bytes *span, const char *at, size_t len)
{
    if (span->len == 0)
        *span = bytes_of(at, len);
    else if (span->at + span->len == at)
        span->len += len;
    else
        return HPE_USER;
    return HPE_OK;
}

static int on_method(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    return extend(&reading->head->method, at, len);
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    return extend(&reading->head->target, at, len);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    struct http_head *head = reading->head;
    if (head->field_count == 0 || reading->in_value) {
        if (head->field_count == reading->field_max)
            return HPE_USER;
        head->fields[head->field_count++] = (struct http_field){.id = HTTP_FIELD_OTHER};
        reading->in_value = false;
    }
    return extend(&head->fields[head->field_count - 1].name, at, len);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    struct http_head *head = reading->head;
    if (head->field_count == 0)
        return HPE_USER;
    reading->in_value = true;
    return extend(&head->fields[head->field_count - 1].value, at, len);
}

static int on_headers_complete(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    reading->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

const char *parser__read(struct http_head *head, bool request, struct bytes raw, int field_count)
{
    struct reading reading = {.head = head, .field_max = field_count};
    llhttp_t parser;
    llhttp_init(&parser, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = &reading;
    llhttp_errno_t error = llhttp_execute(&parser, raw.at, raw.len);
    if (error != HPE_PAUSED) {
        const char *text = llhttp_get_error_reason(&parser);
        return text != NULL && text[0] != '\0' ? text : "llhttp refused the head";
    }
    /* It pauses behind the head, if it sees the end where the byte check saw it. */
    if (!reading.complete || llhttp_get_error_pos(&parser) != raw.at + raw.len || head->field_count != field_count)
        return "two readings of the head";
    head->minor = llhttp_get_http_minor(&parser);
    head->status = (uint16_t)llhttp_get_status_code(&parser);
    return NULL;
}
