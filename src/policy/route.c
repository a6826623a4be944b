/* First match over the rows of a generation. Configurations have tens of routes, so a plain scan is the fastest table. */
#include "weir/policy/route.h"

static bool row_matches(const struct route_match *row, struct bytes host, struct bytes method, struct bytes path)
{
    if (row->method.at != NULL && !bytes_equal(row->method, method)) {
        return false;
    }
    if (row->path.at != NULL && !(row->path_is_prefix ? bytes_starts_with(path, row->path) : bytes_equal(path, row->path))) {
        return false;
    }
    return row->host.at == NULL || bytes_equal_nocase(row->host, host);
}

int route_find(const struct route_match *rows, int count, struct bytes host, struct bytes method, struct bytes path)
{
    for (int i = 0; i < count; i++) {
        if (row_matches(&rows[i], host, method, path)) {
            return i;
        }
    }
    return -1;
}
