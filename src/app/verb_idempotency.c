/*
 * `weir idempotency`: what operators ask and say about the records of payments.
 * The words of a command line become one call of the admin API; the process
 * answers, also with what is wrong. Keys and credentials are never typed here.
 */
#include <string.h>

#include "verbs_internal.h"
#include "weir/app/ask.h"
#include "weir/app/query.h"

/* A walk through all records of a large store takes minutes. */
#define WALK_PATIENCE_S 3600

/* One of the words behind `idempotency`, and what it needs. */
struct action {
    const char *name;
    const char *usage;
    const char *method, *call;
    int word_count;   /* with its own name */
    unsigned options; /* of VERB_*, those it takes */
    unsigned needs;   /* of them, those it cannot do without */
    uint32_t patience_s;
};

enum verb_idempotency_option {
    VERB_UNKNOWN = 1 << 0,
    VERB_REQUEST_ID = 1 << 1,
    VERB_OUTCOME = 1 << 2, /* --executed or --not-executed */
    VERB_WHY = 1 << 3,
};

static const struct action ACTIONS[] = {
    {"list", "list [--unknown]", "GET", "idempotency", 1, VERB_UNKNOWN, 0, WALK_PATIENCE_S},
    {"show", "show RECORD", "GET", "idempotency/show", 2, 0, 0, WALK_PATIENCE_S},
    {"find", "find --request-id ID", "GET", "idempotency/find", 1, VERB_REQUEST_ID, VERB_REQUEST_ID, WALK_PATIENCE_S},
    {"resolve", "resolve RECORD --executed|--not-executed --why TEXT", "POST", "idempotency/resolve", 2,
     VERB_OUTCOME | VERB_WHY, VERB_OUTCOME | VERB_WHY, WALK_PATIENCE_S},
    {"accept-loss", "accept-loss --why TEXT", "POST", "idempotency/accept-loss", 1, VERB_WHY, VERB_WHY, ASK_TIMEOUT_S},
};

static unsigned options_of(const struct verb_args *args)
{
    return (args->unknown ? VERB_UNKNOWN : 0u) | (args->request_id != NULL ? VERB_REQUEST_ID : 0u) |
           (args->executed || args->not_executed ? VERB_OUTCOME : 0u) | (args->why != NULL ? VERB_WHY : 0u);
}

static int refuse_usage(const struct verb_args *args, const char *what)
{
    fprintf(args->err, "weir idempotency: %s\n", what);
    for (size_t i = 0; i < ARRAY_COUNT(ACTIONS); i++) {
        fprintf(args->err, "usage: weir idempotency %s\n", ACTIONS[i].usage);
    }
    return APP_EXIT_USAGE;
}

static int refuse_action(const struct verb_args *args, const struct action *action, const char *what)
{
    fprintf(args->err, "weir idempotency %s: %s\nusage: weir idempotency %s\n", action->name, what, action->usage);
    return APP_EXIT_USAGE;
}

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(ACTIONS); i++) {
        if (strcmp(ACTIONS[i].name, name) == 0) {
            return &ACTIONS[i];
        }
    }
    return NULL;
}

/* What the options of this action lack or have too many; NULL: nothing. */
static const char *complaint(const struct verb_args *args, const struct action *action)
{
    unsigned given = options_of(args);
    if (args->word_count < action->word_count) {
        return "RECORD is missing";
    }
    if (args->word_count > action->word_count) {
        return "a word too many";
    }
    if ((given & ~action->options) != 0) {
        return "an option that is not for this";
    }
    if (args->executed && args->not_executed) {
        return "--executed and --not-executed exclude each other";
    }
    if ((action->needs & ~given & VERB_REQUEST_ID) != 0) {
        return "--request-id ID is missing";
    }
    if ((action->needs & ~given & VERB_OUTCOME) != 0) {
        return "--executed or --not-executed is missing: what did the processor say?";
    }
    if ((action->needs & ~given & VERB_WHY) != 0) {
        return "--why TEXT is missing: this is written down with its reason";
    }
    return NULL;
}

/* False: the words do not fit into a call. */
static bool write_target(const struct verb_args *args, const struct action *action, char *text, size_t size)
{
    bool fits = snprintf(text, size, "/api/v1/%s", action->call) < (int)size;
    if (strcmp(action->name, "list") == 0) {
        fits = fits && query_append(text, size, "state", args->unknown ? "unknown" : "open");
    }
    if (action->word_count == 2) {
        fits = fits && query_append(text, size, "record", args->words[1]);
    }
    if (args->request_id != NULL) {
        fits = fits && query_append(text, size, "request_id", args->request_id);
    }
    if ((action->options & VERB_OUTCOME) != 0) {
        fits = fits && query_append(text, size, "executed", args->executed ? "true" : "false");
    }
    if (args->why != NULL) {
        fits = fits && query_append(text, size, "why", args->why);
    }
    return fits && (args->json || query_append(text, size, "as", "text"));
}

int verb_idempotency(const struct verb_args *args)
{
    char target[ASK_TARGET_BYTES_MAX + 1];
    const struct action *action = find_action(args->words[0]);
    if (action == NULL) {
        return refuse_usage(args, "list, show, find, resolve or accept-loss");
    }
    const char *wrong = complaint(args, action);
    if (wrong != NULL) {
        return refuse_action(args, action, wrong);
    }
    if (!write_target(args, action, target, sizeof(target))) {
        return refuse_action(args, action, "too long");
    }
    return verb_ask_and_print(args, action->method, target, action->patience_s);
}
