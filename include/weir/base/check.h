/*
 * Invariants and small compile-time helpers that every file may use.
 *
 * CHECK stays on in release builds and guards the seams between layers and the
 * moments where money may move; DCHECK is for hot loops and only lives in
 * builds with WEIR_DEBUG. Both are for programmer errors: an error that the
 * world can cause is handled, never checked.
 */
#ifndef WEIR_BASE_CHECK_H
#define WEIR_BASE_CHECK_H

#include <stddef.h>

/* The caller must look at the result; a deliberate ignore says why. */
#define WEIR_MUSTCHECK __attribute__((warn_unused_result))
#define WEIR_NORETURN __attribute__((noreturn))
#define WEIR_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * A large local array that is written before it is read. Release builds zero every other local first
 * (-ftrivial-auto-var-init=zero), which for kilobytes costs more than what the array is used for.
 */
#define WEIR_SCRATCH __attribute__((uninitialized))

/* The struct that embeds `member` at `pointer`. */
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* Prints file, line and the expression to stderr and aborts. Async-signal-safe, allocates nothing. */
WEIR_NORETURN void check_failed(const char *file, int line, const char *expression);

#define CHECK(expression) ((expression) ? (void)0 : check_failed(__FILE__, __LINE__, #expression))

#ifdef WEIR_DEBUG
#define DCHECK(expression) CHECK(expression)
#else
#define DCHECK(expression) ((void)sizeof(!(expression)))
#endif

#endif
