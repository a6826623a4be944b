/*
 * What a processor's head must say. The framing is as strict as a request's,
 * because a link that is misread hands one merchant another's answer. The rest
 * is more patient: refusing an answer leaves a payment's outcome unknown.
 */
#include "rules_internal.h"

#define FRAMING_SINGLETONS (1u << HTTP_FIELD_CONTENT_LENGTH | 1u << HTTP_FIELD_TRANSFER_ENCODING)

static struct verdict check_names(const struct http_head *head)
{
    for (int i = 0; i < head->field_count; i++) {
        if (rules__is_disguised(head->fields[i].name))
            return verdict_malformed("an underscore in the name of a field that weir decides by");
    }
    return VERDICT_OK;
}

static struct verdict read_framing_fields(struct http_head *head)
{
    const struct http_field *coding = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING);
    const struct http_field *length = http_head_find(head, HTTP_FIELD_CONTENT_LENGTH);
    head->framing = HTTP_FRAMING_NONE;
    if (coding != NULL) {
        if (length != NULL)
            return verdict_malformed("both Transfer-Encoding and Content-Length");
        if (head->minor == 0)
            return verdict_malformed("Transfer-Encoding in HTTP/1.0");
        if (!bytes_equal_nocase(coding->value, BYTES("chunked")))
            return verdict_malformed("Transfer-Encoding is not the one word chunked");
        head->framing = HTTP_FRAMING_CHUNKED;
    }
    if (length != NULL) {
        if (!rules__content_length(length->value, &head->content_length))
            return verdict_malformed("Content-Length is not a plain number");
        head->framing = HTTP_FRAMING_LENGTH;
    }
    return VERDICT_OK;
}

static struct verdict read_framing(struct http_head *head, bool method_head)
{
    struct verdict verdict = read_framing_fields(head);
    if (verdict_refuses(verdict))
        return verdict;
    bool never_length = head->status < 200 || head->status == 204;
    if (method_head || never_length || head->status == 304) {
        /* To HEAD and in 304 it tells of another answer's body and goes on (RFC 9110 8.6). */
        if (never_length)
            rules__drop(head, HTTP_FIELD_CONTENT_LENGTH);
        head->framing = HTTP_FRAMING_NONE;
        return VERDICT_OK;
    }
    if (head->framing == HTTP_FRAMING_NONE)
        return verdict_malformed("no length");
    return VERDICT_OK;
}

struct verdict rules__response(struct http_head *head, bool method_head, bool underscore)
{
    if (head->status == 101)
        return verdict_malformed("101 without having been asked");
    struct verdict verdict = rules__identify(head, FRAMING_SINGLETONS);
    if (verdict_refuses(verdict))
        return verdict;
    if (underscore) {
        verdict = check_names(head);
        if (verdict_refuses(verdict))
            return verdict;
    }
    verdict = read_framing(head, method_head);
    if (verdict_refuses(verdict))
        return verdict;
    bool close, keep_alive;
    verdict = rules__connection(head, false, &close, &keep_alive);
    if (verdict_refuses(verdict))
        return verdict;
    head->keep_alive = !close && (head->minor == 1 || keep_alive);
    return VERDICT_OK;
}
