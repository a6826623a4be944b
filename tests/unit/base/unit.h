/*
 * What every unit test includes: cmocka with the headers that it wants first,
 * and the few assertions that our types make worth having.
 */
#ifndef WEIR_UNIT_BASE_UNIT_H
#define WEIR_UNIT_BASE_UNIT_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "weir/base/bytes.h"

#define assert_bytes(actual, expected)                                                                                 \
    do {                                                                                                               \
        struct bytes assert_actual_ = (actual);                                                                        \
        struct bytes assert_expected_ = bytes_from_text(expected);                                                     \
        if (!bytes_equal(assert_actual_, assert_expected_)) {                                                          \
            fail_msg("\"%.*s\" is not \"%s\"", BYTES_ARG(assert_actual_), expected);                                   \
        }                                                                                                              \
    } while (0)

/* True when `act` ends its process by abort, as a failed CHECK does. Its words on stderr are dropped. */
static inline bool aborts(void (*act)(void))
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &no_core);
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        act();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* A small generator for property tests: the same numbers in every run. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
