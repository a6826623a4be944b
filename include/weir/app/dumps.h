/* No core dump: a core of a payment proxy is a file of card numbers. Strict: what is refused refuses the start. */
#ifndef WEIR_APP_DUMPS_H
#define WEIR_APP_DUMPS_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/check.h"

/* No core dumps, and no other process of this user may read our memory. False: `why` says what was refused. */
WEIR_MUSTCHECK bool dumps_forbid(char *why, size_t size);
/* Before the process ends, in builds whose leak check has to trace it; else nothing. */
void dumps_allow_leak_check(void);

#endif
