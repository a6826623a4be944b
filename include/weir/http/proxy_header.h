/* The PROXY protocol header in front of a connection, versions 1 and 2 (haproxy.org proxy-protocol.txt, 2020). */
#ifndef WEIR_HTTP_PROXY_HEADER_H
#define WEIR_HTTP_PROXY_HEADER_H

#include "weir/base/addr.h"
#include "weir/base/bytes.h"

#define PROXY_HEADER_BYTES_MAX 1024 /* longer ones (TLVs) are refused */

enum proxy_header_result { PROXY_HEADER_MORE, PROXY_HEADER_DONE, PROXY_HEADER_BAD };

struct proxy_header {
    size_t len;         /* of the header, in bytes */
    bool local;         /* LOCAL or UNKNOWN: the connection's own addresses count */
    struct addr source; /* the client, when not local */
};

/* `data`: all bytes of the connection so far. */
enum proxy_header_result proxy_header_parse(struct bytes data, struct proxy_header *header);

#endif
