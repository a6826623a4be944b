/*
 * A client of the admin socket for the verbs: one question, one answer,
 * blocking, with a deadline.
 */
#ifndef WEIR_APP_ASK_H
#define WEIR_APP_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "weir/base/check.h"
#include "weir/base/err.h"

#define ASK_TIMEOUT_S 60
#define ASK_TARGET_BYTES_MAX 2048
#define ASK_ANSWER_BYTES_MAX (32u << 20)

struct answer_text {
    uint16_t status;
    char *body;      /* malloc'ed, NUL-terminated; the caller frees */
    size_t body_len; /* in bytes */
};

/*
 * `method` and `target` (at most ASK_TARGET_BYTES_MAX) on the socket at `path`;
 * silence of `patience_s` seconds is ERR_TIMED_OUT. On an error `why` (size
 * bytes) says it in words; nothing is to be freed.
 */
WEIR_MUSTCHECK enum err ask(const char *path, const char *method, const char *target, uint32_t patience_s,
                            struct answer_text *answer, char *why, size_t size);

#endif
