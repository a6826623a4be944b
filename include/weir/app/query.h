/*
 * The query of a request to one of the process's own pages: NAME=VALUE joined
 * by '&', percent-encoded (RFC 3986 2.1). The verbs write it, the admin API
 * reads it; nothing of a merchant passes here.
 */
#ifndef WEIR_APP_QUERY_H
#define WEIR_APP_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/bytes.h"

enum query_found {
    QUERY_ABSENT,
    QUERY_FOUND,
    QUERY_BAD, /* twice, longer than `size`, or not what an escape may be; then `text` is empty */
};

/* The value of `name`, decoded, with a NUL; '+' is itself. A value with a control character in it is bad. */
enum query_found query_read(struct bytes query, const char *name, char *text, size_t size);
/* Whether `name` is there with this value. */
bool query_says(struct bytes query, const char *name, const char *value);

/* Appends "?NAME=VALUE" or "&NAME=VALUE" to the target in `text`. False: it does not fit, and nothing was appended. */
WEIR_MUSTCHECK bool query_append(char *text, size_t size, const char *name, const char *value);

#endif
