/*
 * weir's own check of a head's bytes, in front of llhttp: every CR is followed
 * by LF and every LF preceded by CR; no NUL, control or DEL; no line begins
 * with white space; names are tokens followed at once by a colon; request line
 * is token SP target SP HTTP/1.1. What it closes is listed in SECURITY.md.
 */
#ifndef WEIR_HTTP_SCAN_H
#define WEIR_HTTP_SCAN_H

#include "weir/base/bytes.h"
#include "weir/http/message.h"

/* Length of the head at the front of `data` up to and with its empty line, or 0: not complete. Starts looking near
 * `from`, the length that was looked at before. */
size_t scan_head_end(struct bytes data, size_t from);

struct scan_result {
    enum http_fault fault;
    const char *text; /* static; what is wrong; NULL when nothing is */
    int field_count;  /* field lines, when nothing is wrong; at most HTTP_FIELDS_MAX */
    bool underscore;  /* a field's name holds one; requests' never do */
};
/* `head` is whole, as scan_head_end found it. */
struct scan_result scan_request_head(struct bytes head, uint32_t target_bytes_max);
struct scan_result scan_response_head(struct bytes head);

/* The first line alone, up to and with its LF: refuses early what no later byte can mend. */
struct scan_result scan_request_line(struct bytes line, uint32_t target_bytes_max);
struct scan_result scan_status_line(struct bytes line);
/*
 * Field lines and the empty line behind them, as in a trailer section; `request` as in scan_request_head. Instead of
 * the empty line a CR and one byte other than LF may end them: that is refused, unless something before it is.
 */
struct scan_result scan_fields(struct bytes fields, bool request);

#endif
