/*
 * What a reload changes: two configurations compared, in the words that the
 * operator reads ("3 routes changed, 2 listeners kept").
 */
#ifndef WEIR_APP_CHANGES_H
#define WEIR_APP_CHANGES_H

#include <stddef.h>

#include "weir/conf/conf.h"

struct changes {
    int routes_added, routes_removed, routes_changed;
    bool routes_reordered;   /* the same routes in another order: the first match wins */
    int processors_added, processors_removed, processors_changed;
    int listeners_kept, listeners_opened, listeners_closed;
    int listeners_limited;   /* of the kept ones: new connections are charged to other limits */
    int limits_added, limits_removed, limits_changed; /* what was counted goes on by name */
    bool tenants_differ;     /* who the callers are: the keys of whoever changes name count anew */
    int listeners_renamed;   /* of the kept ones: the same address under another name */
    /* Written differently, but only a restart brings them into force. */
    bool monitor_differs, admin_differs, store_differs;
};

/* `before` may be NULL: the first generation. */
void changes_between(struct changes *changes, const struct conf *before, const struct conf *after);
/* "3 routes changed, 2 listeners kept"; at most size - 1 bytes. Returns text. */
const char *changes_text(const struct changes *changes, char *text, size_t size);

#endif
