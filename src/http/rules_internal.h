/*
 * The policy over parsed fields, and what the steps of this layer tell each
 * other about a refusal. Nothing here sees a raw head: llhttp and the byte
 * check have said yes already.
 */
#ifndef WEIR_HTTP_RULES_INTERNAL_H
#define WEIR_HTTP_RULES_INTERNAL_H

#include "weir/http/message.h"

/* Why something is refused; text is static and NULL when it is not. */
struct verdict {
    enum http_fault fault;
    const char *text;
};

#define VERDICT_OK ((struct verdict){HTTP_FAULT_NONE, NULL})

static inline struct verdict verdict_malformed(const char *text)
{
    return (struct verdict){HTTP_FAULT_MALFORMED, text};
}

static inline bool verdict_refuses(struct verdict verdict)
{
    return verdict.fault != HTTP_FAULT_NONE;
}

/*
 * `head` has method, target, minor and the fields' names and values as llhttp
 * gave them. Sets everything else or says why not.
 */
struct verdict rules__request(struct http_head *head);
/*
 * Ditto with status. `method_head`: the answer to a HEAD. `underscore`: some name holds one. 1xx heads pass as well (101
 * does not).
 */
struct verdict rules__response(struct http_head *head, bool method_head, bool underscore);

/* Fills ids, trims values, marks hop-by-hop fields, sets `seen`; refuses a second field of an id in `singletons`. */
struct verdict rules__identify(struct http_head *head, uint32_t singletons);
/* Fields of this id do not go on. */
void rules__drop(struct http_head *head, enum http_field_id id);
/* The decimal of Content-Length: no sign, no list, no leading zero, at most 18 digits. */
WEIR_MUSTCHECK bool rules__content_length(struct bytes value, uint64_t *length);
/*
 * Reads every Connection field: what it nominates is marked hop-by-hop, a name of the framing or (when
 * `protect_all`) any end-to-end name is refused.
 */
struct verdict rules__connection(struct http_head *head, bool protect_all, bool *close, bool *keep_alive);
/* A name that takes part in framing, routing or trust: never in a trailer, never nominated by Connection. */
bool rules__is_protected(struct bytes name, enum http_field_id id);
/* With '_' read as '-', `name` would be a field that decides framing, routing or trust. */
bool rules__is_disguised(struct bytes name);

/* Splits the target of an accepted request line into path and query; an absolute form must name the Host. */
struct verdict target__split(struct http_head *head);
/* Splits Host into authority and host. */
struct verdict target__read_host(struct http_head *head, struct bytes value);

#endif
