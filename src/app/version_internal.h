/* What weir is made of and runs on, for `weir version` and weir_build_info. */
#ifndef WEIR_APP_VERSION_INTERNAL_H
#define WEIR_APP_VERSION_INTERNAL_H

#include <stdbool.h>
#include <stdio.h>

/* "1.44.2", as built. */
const char *version_libuv(void);
/* What git said when the build was configured: "v0.1.0-3-gabc1234"; "unknown" without git. */
const char *version_commit(void);
/* Prints the table, or one JSON object. */
void version_print(FILE *out, bool json);

#endif
