/* Two system calls that are made once, before the loop turns. */
#include "weir/app/dumps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

bool dumps_forbid(char *why, size_t size)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        snprintf(why, size, "core dumps cannot be switched off (RLIMIT_CORE): %s", strerror(errno));
        return false;
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        snprintf(why, size, "core dumps cannot be switched off (PR_SET_DUMPABLE): %s", strerror(errno));
        return false;
    }
    return true;
}

void dumps_allow_leak_check(void)
{
#ifdef __SANITIZE_ADDRESS__
    /* The leak check at exit traces the process and finds nothing in one that may not be traced. */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
#endif
}
