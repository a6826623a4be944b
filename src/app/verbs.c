/*
 * The command line: one table of verbs, their options and their help. A wrong
 * word is answered with what was probably meant and status 64.
 */
#include "verbs_internal.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "suggest_internal.h"
#include "version_internal.h"
#include "weir/base/check.h"

enum verb_option {
    OPTION_CONFIG = 1 << 0,
    OPTION_SOCKET = 1 << 1,
    OPTION_JSON = 1 << 2,
    OPTION_FORMAT = 1 << 3,
    OPTION_STRICT = 1 << 4,
    OPTION_UNKNOWN = 1 << 5,
    OPTION_REQUEST_ID = 1 << 6,
    OPTION_EXECUTED = 1 << 7,
    OPTION_NOT_EXECUTED = 1 << 8,
    OPTION_WHY = 1 << 9,
    OPTION_FOR = 1 << 10,
};

struct verb {
    const char *name;
    const char *usage;   /* behind the name */
    const char *summary; /* one line */
    unsigned options;    /* those it takes */
    unsigned needs;      /* of them, those it cannot do without */
    int words_min, words_max;
    int (*run)(const struct verb_args *args);
};

static int verb_run(const struct verb_args *args)
{
    return app_run(args->config, args->err);
}

static int verb_version(const struct verb_args *args)
{
    version_print(args->out, args->json);
    return APP_EXIT_OK;
}

static int verb_help(const struct verb_args *args);

static const struct verb VERBS[] = {
    {"run", "-c FILE", "serve until TERM; exit 78: the configuration is bad", OPTION_CONFIG, OPTION_CONFIG, 0, 0,
     verb_run},
    {"check", "-c FILE [--format json] [--strict]", "read FILE and all it names; exit 1: findings (warnings: --strict)",
     OPTION_CONFIG | OPTION_FORMAT | OPTION_JSON | OPTION_STRICT, OPTION_CONFIG, 0, 0, verb_check},
    {"explain", "KEY|REASON|profiles.NAME", "the manual of a key, a reason or a profile", 0, 0, 1, 1, verb_explain},
    {"route", "-c FILE METHOD URL", "dry run: which route takes a request; exit 1: none", OPTION_CONFIG, OPTION_CONFIG,
     2, 2, verb_route},
    {"secret", "new", "print a new secret file", 0, 0, 1, 1, verb_secret},
    {"status", "[-c FILE | --socket PATH] [--json]", "the running weir at a glance",
     OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON, 0, 0, 0, verb_status},
    {"reload", "[-c FILE | --socket PATH] [--json]", "take the file into use; exit 1: refused, nothing changed",
     OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON, 0, 0, 0, verb_reload},
    {"processors", "[-c FILE | --socket PATH] [--json]", "how each processor is, its endpoints and breakers",
     OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON, 0, 0, 0, verb_processors},
    {"breaker", "PROCESSOR [open|closed|auto --for 30m --why TEXT] [-c FILE | --socket PATH] [--json]",
     "its breakers; or hold them open or closed for a time (1s to 24h), or end that (auto)",
     OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON | OPTION_FOR | OPTION_WHY, 0, 1, 2, verb_breaker},
    {"limits", "[NAME] [-c FILE | --socket PATH] [--json]", "limits, what they let through, and whom they hold",
     OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON, 0, 0, 1, verb_limits},
    {"idempotency", "list [--unknown] | show RECORD | find --request-id ID | resolve RECORD --executed|--not-executed "
                    "--why TEXT | accept-loss --why TEXT [-c FILE | --socket PATH] [--json]",
     "records of payments: those whose outcome is unknown, one of them, and what became of it",
     OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON | OPTION_UNKNOWN | OPTION_REQUEST_ID | OPTION_EXECUTED |
         OPTION_NOT_EXECUTED | OPTION_WHY,
     0, 1, 2, verb_idempotency},
    {"version", "[--json]", "what weir is built from and runs on", OPTION_JSON, 0, 0, 0, verb_version},
    {"help", "", "this page", 0, 0, 0, 1, verb_help},
};

static void print_help(FILE *out)
{
    fprintf(out, "weir: an edge proxy for payments\n\nusage: weir VERB ...\n\n");
    for (size_t i = 0; i < ARRAY_COUNT(VERBS); i++) {
        fprintf(out, "  weir %s %s\n      %s\n", VERBS[i].name, VERBS[i].usage, VERBS[i].summary);
    }
    fprintf(out,
            "\nVerbs that ask a running weir use " VERB_SOCKET_DEFAULT ", the admin.socket of FILE, or PATH.\n"
            "Signals of a running weir: TERM, INT stop gracefully, a second one at once; HUP reload; USR1 open the\n"
            "logs again; USR2 write the state to the events log.\n");
}

static int verb_help(const struct verb_args *args)
{
    print_help(args->out);
    return APP_EXIT_OK;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(VERBS); i++) {
        if (strcmp(VERBS[i].name, name) == 0) {
            return &VERBS[i];
        }
    }
    return NULL;
}

static int refuse_verb(const char *name, FILE *err)
{
    struct suggest suggest;
    suggest_begin(&suggest, name);
    for (size_t i = 0; i < ARRAY_COUNT(VERBS); i++) {
        suggest_offer(&suggest, VERBS[i].name);
    }
    fprintf(err, "weir: unknown verb '%s'", name);
    if (suggest.nearest != NULL) {
        fprintf(err, ": did you mean '%s'?\n", suggest.nearest);
    } else {
        fprintf(err, ": see 'weir help'\n");
    }
    return APP_EXIT_USAGE;
}

static int refuse_usage(const struct verb *verb, FILE *err, const char *what, const char *which)
{
    fprintf(err, "weir %s: %s%s\nusage: weir %s %s\n", verb->name, what, which, verb->name, verb->usage);
    return APP_EXIT_USAGE;
}

/* getopt's codes for the options; a long one without a letter gets a number. */
enum { CODE_CONFIG = 'c', CODE_HELP = 'h', CODE_SOCKET = 256, CODE_JSON, CODE_FORMAT, CODE_STRICT, CODE_UNKNOWN,
       CODE_REQUEST_ID, CODE_EXECUTED, CODE_NOT_EXECUTED, CODE_WHY, CODE_FOR };

static const struct option LONG_OPTIONS[] = {
    {"config", required_argument, NULL, CODE_CONFIG}, {"help", no_argument, NULL, CODE_HELP},
    {"socket", required_argument, NULL, CODE_SOCKET}, {"json", no_argument, NULL, CODE_JSON},
    {"format", required_argument, NULL, CODE_FORMAT}, {"strict", no_argument, NULL, CODE_STRICT},
    {"unknown", no_argument, NULL, CODE_UNKNOWN}, {"request-id", required_argument, NULL, CODE_REQUEST_ID},
    {"executed", no_argument, NULL, CODE_EXECUTED}, {"not-executed", no_argument, NULL, CODE_NOT_EXECUTED},
    {"why", required_argument, NULL, CODE_WHY}, {"for", required_argument, NULL, CODE_FOR},
    {NULL, 0, NULL, 0},
};

static unsigned option_of(int code)
{
    switch (code) {
    case CODE_CONFIG:
        return OPTION_CONFIG;
    case CODE_SOCKET:
        return OPTION_SOCKET;
    case CODE_JSON:
        return OPTION_JSON;
    case CODE_FORMAT:
        return OPTION_FORMAT;
    case CODE_STRICT:
        return OPTION_STRICT;
    case CODE_UNKNOWN:
        return OPTION_UNKNOWN;
    case CODE_REQUEST_ID:
        return OPTION_REQUEST_ID;
    case CODE_EXECUTED:
        return OPTION_EXECUTED;
    case CODE_NOT_EXECUTED:
        return OPTION_NOT_EXECUTED;
    case CODE_WHY:
        return OPTION_WHY;
    case CODE_FOR:
        return OPTION_FOR;
    default:
        return 0;
    }
}

/* False: the value is not one. */
static bool take_option(struct verb_args *args, int code)
{
    switch (code) {
    case CODE_CONFIG:
        args->config = optarg;
        break;
    case CODE_SOCKET:
        args->socket = optarg;
        break;
    case CODE_JSON:
        args->json = true;
        break;
    case CODE_STRICT:
        args->strict = true;
        break;
    case CODE_UNKNOWN:
        args->unknown = true;
        break;
    case CODE_REQUEST_ID:
        args->request_id = optarg;
        break;
    case CODE_EXECUTED:
        args->executed = true;
        break;
    case CODE_NOT_EXECUTED:
        args->not_executed = true;
        break;
    case CODE_WHY:
        args->why = optarg;
        break;
    case CODE_FOR:
        args->duration = optarg;
        break;
    case CODE_FORMAT:
        args->json = strcmp(optarg, "json") == 0;
        return args->json || strcmp(optarg, "text") == 0;
    default:
        break;
    }
    return true;
}

/* APP_EXIT_OK: go on. `help` is set when only the usage was asked for. */
static int parse(const struct verb *verb, int argc, char **argv, struct verb_args *args, bool *help)
{
    unsigned given = 0;
    int code;
    optind = 0; /* GNU: forget an earlier command line */
    opterr = 0;
    while ((code = getopt_long(argc, argv, ":c:h", LONG_OPTIONS, NULL)) != -1) {
        if (code == CODE_HELP) {
            *help = true;
            return APP_EXIT_OK;
        }
        if (code == ':') {
            return refuse_usage(verb, args->err, "a value is missing behind ", argv[optind - 1]);
        }
        if (code == '?' || (option_of(code) & verb->options) == 0) {
            return refuse_usage(verb, args->err, "not an option here: ", argv[optind - 1]);
        }
        given |= option_of(code);
        if (!take_option(args, code)) {
            return refuse_usage(verb, args->err, "--format is json or text, not ", optarg);
        }
    }
    args->words = argv + optind;
    args->word_count = argc - optind;
    if ((verb->needs & ~given) != 0) {
        return refuse_usage(verb, args->err, "-c FILE is missing", "");
    }
    if (args->word_count < verb->words_min) {
        return refuse_usage(verb, args->err, "a word is missing", "");
    }
    if (args->word_count > verb->words_max) {
        return refuse_usage(verb, args->err, "one word too many: ", args->words[verb->words_max]);
    }
    return APP_EXIT_OK;
}

/* A full disk or a closed pipe behind `out` must not look like success. */
static int finish(const struct verb_args *args, int status)
{
    if (fflush(args->out) != 0 || ferror(args->out)) {
        fprintf(args->err, "weir: the output cannot be written\n");
        return status == APP_EXIT_OK ? APP_EXIT_FINDINGS : status;
    }
    return status;
}

int verbs_run(int argc, char **argv, FILE *out, FILE *err)
{
    struct verb_args args = {.out = out, .err = err};
    bool help = false;
    if (argc < 2) {
        print_help(err);
        return APP_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    const struct verb *verb = find_verb(name);
    if (verb == NULL) {
        return refuse_verb(name, err);
    }
    int status = parse(verb, argc - 1, argv + 1, &args, &help);
    if (status != APP_EXIT_OK) {
        return status;
    }
    if (help) {
        fprintf(out, "usage: weir %s %s\n  %s\n", verb->name, verb->usage, verb->summary);
        return finish(&args, APP_EXIT_OK);
    }
    return finish(&args, verb->run(&args));
}

int app_main(int argc, char **argv)
{
    return verbs_run(argc, argv, stdout, stderr);
}
