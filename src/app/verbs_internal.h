/* What the verbs share: their parsed command line and the helpers of their files. */
#ifndef WEIR_APP_VERBS_INTERNAL_H
#define WEIR_APP_VERBS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "weir/app/app.h"

#define VERB_SOCKET_DEFAULT "/run/weir/admin.sock"

struct verb_args {
    const char *config;  /* -c; NULL: not given */
    const char *socket;  /* --socket; NULL: not given */
    bool json;           /* --json, or --format json */
    bool strict;
    bool unknown, executed, not_executed; /* of idempotency */
    const char *request_id;
    const char *why;
    const char *duration; /* --for */
    char **words;        /* what is neither an option nor an option's value */
    int word_count;
    FILE *out, *err;
};

/* verb_conf.c */
int verb_check(const struct verb_args *args);
int verb_route(const struct verb_args *args);
/* verb_explain.c */
int verb_explain(const struct verb_args *args);
/* verb_secret.c */
int verb_secret(const struct verb_args *args);
/* verb_admin.c */
int verb_status(const struct verb_args *args);
int verb_processors(const struct verb_args *args);
int verb_limits(const struct verb_args *args);
int verb_reload(const struct verb_args *args);
/* Asks the running weir that the arguments name for `target`, and prints its answer. Returns the exit status. */
int verb_ask_and_print(const struct verb_args *args, const char *method, const char *target, uint32_t patience_s);
/* verb_breaker.c */
int verb_breaker(const struct verb_args *args);
/* verb_idempotency.c */
int verb_idempotency(const struct verb_args *args);

#endif
