/*
 * What a request's head must say to be accepted: one Host, one framing, a
 * target with one reading, nothing that asks for another protocol. What is
 * tolerated but must not go on is marked hop-by-hop.
 */
#include "rules_internal.h"

#define SINGLETON_BIT(name, text, singleton) | ((singleton) ? 1u << HTTP_FIELD_##name : 0u)
#define SINGLETONS (0u HTTP_FIELD_TABLE(SINGLETON_BIT))

static bool is_method(const struct http_head *head, struct bytes method)
{
    return bytes_equal(head->method, method);
}

static bool may_have_body(const struct http_head *head)
{
    return is_method(head, BYTES("POST")) || is_method(head, BYTES("PUT")) || is_method(head, BYTES("PATCH"));
}

static struct verdict read_host(struct http_head *head)
{
    const struct http_field *host = http_head_find(head, HTTP_FIELD_HOST);
    if (host == NULL)
        return verdict_malformed("no Host");
    return target__read_host(head, host->value);
}

static bool is_known_coding(struct bytes coding)
{
    static const char *const known[] = {"gzip", "x-gzip", "deflate", "compress", "x-compress"};
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (bytes_equal_nocase(coding, bytes_from_text(known[i])))
            return true;
    }
    return false;
}

static struct verdict check_coding(const struct http_head *head)
{
    if (http_head_has(head, HTTP_FIELD_CONTENT_LENGTH))
        return verdict_malformed("both Transfer-Encoding and Content-Length");
    struct bytes coding = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING)->value;
    if (bytes_equal_nocase(coding, BYTES("chunked")))
        return VERDICT_OK;
    if (is_known_coding(coding))
        return (struct verdict){HTTP_FAULT_NOT_IMPLEMENTED, "a transfer coding other than chunked"};
    return verdict_malformed("Transfer-Encoding is not the one word chunked");
}

static struct verdict read_framing(struct http_head *head)
{
    head->framing = HTTP_FRAMING_NONE;
    if (http_head_has(head, HTTP_FIELD_TRANSFER_ENCODING)) {
        struct verdict verdict = check_coding(head);
        if (verdict_refuses(verdict))
            return verdict;
        head->framing = HTTP_FRAMING_CHUNKED;
    }
    const struct http_field *length = http_head_find(head, HTTP_FIELD_CONTENT_LENGTH);
    if (length != NULL) {
        if (!rules__content_length(length->value, &head->content_length))
            return verdict_malformed("Content-Length is not a plain number");
        head->framing = HTTP_FRAMING_LENGTH;
    }
    if (head->framing == HTTP_FRAMING_NONE || may_have_body(head))
        return VERDICT_OK;
    if (head->framing == HTTP_FRAMING_CHUNKED || head->content_length > 0)
        return verdict_malformed("a body on a method that has none");
    /* Real clients say Content-Length: 0 on GET and DELETE. */
    head->framing = HTTP_FRAMING_NONE;
    rules__drop(head, HTTP_FIELD_CONTENT_LENGTH);
    return VERDICT_OK;
}

static struct verdict read_expectation(struct http_head *head)
{
    const struct http_field *expect = http_head_find(head, HTTP_FIELD_EXPECT);
    if (expect == NULL)
        return VERDICT_OK;
    if (!bytes_equal(expect->value, BYTES("100-continue")))
        return (struct verdict){HTTP_FAULT_EXPECTATION, "an expectation other than 100-continue"};
    head->expects_continue = head->framing == HTTP_FRAMING_CHUNKED ||
                             (head->framing == HTTP_FRAMING_LENGTH && head->content_length > 0);
    rules__drop(head, HTTP_FIELD_EXPECT);
    return VERDICT_OK;
}

/* A payment is made whole or not at all: what would make it partial or conditional does not go on. */
static void drop_conditions(struct http_head *head)
{
    if (!is_method(head, BYTES("GET")) && !is_method(head, BYTES("HEAD")))
        rules__drop(head, HTTP_FIELD_RANGE);
    if (is_method(head, BYTES("POST")))
        rules__drop(head, HTTP_FIELD_IF_ANY);
}

struct verdict rules__request(struct http_head *head)
{
    struct verdict verdict = rules__identify(head, SINGLETONS);
    if (verdict_refuses(verdict))
        return verdict;
    verdict = read_host(head);
    if (verdict_refuses(verdict))
        return verdict;
    verdict = target__split(head);
    if (verdict_refuses(verdict))
        return verdict;
    verdict = read_framing(head);
    if (verdict_refuses(verdict))
        return verdict;
    bool close, keep_alive;
    verdict = rules__connection(head, true, &close, &keep_alive);
    if (verdict_refuses(verdict))
        return verdict;
    head->keep_alive = !close;
    verdict = read_expectation(head);
    if (verdict_refuses(verdict))
        return verdict;
    drop_conditions(head);
    return VERDICT_OK;
}
