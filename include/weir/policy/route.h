/*
 * Which route takes a request: the first whose host, method and path match, on
 * the bytes as sent. Pure.
 */
#ifndef WEIR_POLICY_ROUTE_H
#define WEIR_POLICY_ROUTE_H

#include <stdbool.h>

#include "weir/base/bytes.h"

/* One row; a part whose `at` is NULL matches everything. Borrowed from the configuration. */
struct route_match {
    struct bytes host;   /* lower case, without port */
    struct bytes method;
    struct bytes path;   /* exact, or the prefix that ends in '/' */
    bool path_is_prefix;
};

/* Index of the first match, or -1. `path` is without the query. */
int route_find(const struct route_match *rows, int count, struct bytes host, struct bytes method, struct bytes path);

#endif
