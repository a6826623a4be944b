/*
 * weir-sandbox, a stand-in payment processor for the quickstart, the tests and
 * the benchmarks: it executes payments into a ledger that a test can read, and
 * misbehaves on request. This file reads the options, builds in order and tears
 * down in reverse; server.c has the rest.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "server.h"

#define EXIT_USAGE 64

struct options {
    const char *listen;
    const char *name;
    const char *dedup; /* the header's name; NULL: every request executes */
    const struct dialect *dialect; /* NULL: none */
    const char *cert;
    const char *key;
};

static const char usage[] =
    "usage: weir-sandbox --listen ADDR [--name NAME] [--dedup header:NAME | --dialect PROCESSOR]\n"
    "                    [--cert FILE --key FILE]\n"
    "\n"
    "A stand-in payment processor. ADDR is 127.0.0.1:9001, [::1]:9001, unix:/path or fd:N.\n"
    "  POST /v1/payments       executes {\"amount\": 4200, \"currency\": \"eur\"}; with --dedup once per key\n"
    "  GET  /v1/payments/ID    and the same as /v1/payment_intents in the Stripe dialect\n"
    "  GET  /bytes/N           N bytes\n"
    "  GET  /_ledger           what was executed      GET /_requests  what was received\n"
    "  GET  /healthz           200\n"
    "  POST /_fault            {\"fault\": \"delay=200, reset-after\", \"count\": 1}, or {} to disarm: of payments,\n"
    "                          or of /healthz with \"on\": \"health\"\n"
    "  POST /_reset            forgets everything\n"
    "With --dialect stripe, adyen, checkout, paypal or square it plays that processor: its paths, its answers and its\n"
    "errors, and what it does with a key that it knows, or is at work on (delay=MS), or had for another request.\n"
    "Faults are also taken from a request's Sandbox-Fault header.\n";

static int fail_usage(const char *message)
{
    fprintf(stderr, "weir-sandbox: %s\n%s", message, usage);
    return EXIT_USAGE;
}

/* 0: go on; else the exit code, plus one so that --help's 0 can be told. */
static int options_read(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"listen", required_argument, NULL, 'l'},
        {"name", required_argument, NULL, 'n'},
        {"dedup", required_argument, NULL, 'd'},
        {"dialect", required_argument, NULL, 'D'},
        {"cert", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (option) {
        case 'l':
            options->listen = optarg;
            break;
        case 'n':
            options->name = optarg;
            break;
        case 'd':
            if (strncmp(optarg, "header:", 7) != 0 || optarg[7] == '\0') {
                return 1 + fail_usage("--dedup wants header:NAME");
            }
            options->dedup = optarg + 7;
            break;
        case 'D':
            options->dialect = dialect_find(optarg);
            if (options->dialect == NULL) {
                return 1 + fail_usage("--dialect wants stripe, adyen, checkout, paypal or square");
            }
            break;
        case 'c':
            options->cert = optarg;
            break;
        case 'k':
            options->key = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 1;
        default:
            return 1 + EXIT_USAGE;
        }
    }
    if (options->listen == NULL || optind != argc) {
        return 1 + fail_usage("--listen ADDR is needed, and nothing but options");
    }
    if (options->dedup != NULL && options->dialect != NULL) {
        return 1 + fail_usage("a dialect has its own place for the key: no --dedup");
    }
    if ((options->cert == NULL) != (options->key == NULL)) {
        return 1 + fail_usage("--cert and --key go together");
    }
    return 0;
}

static void on_signal(void *owner, int signum)
{
    (void)signum;
    server_stop(owner);
}

/* Port 0 was chosen by the kernel: tell which it is. */
static void say_ready(const struct options *options, const struct addr_listen *at, const struct server *server)
{
    char text[ADDR_TEXT_BYTES];
    struct addr addr = at->ip;

    if (at->kind == ADDR_LISTEN_IP) {
        addr_set_port(&addr, acceptor_port(server->acceptor));
        fprintf(stderr, "weir-sandbox %s listening on %s\n", options->name, addr_format(&addr, text));
    } else {
        fprintf(stderr, "weir-sandbox %s listening on %s\n", options->name, options->listen);
    }
}

static int serve(const struct options *options, const struct addr_listen *at, struct server *server)
{
    char why[512] = "";

    if (!server_open(server, at, why, sizeof(why))) {
        fprintf(stderr, "weir-sandbox: cannot listen on %s: %s\n", options->listen, why);
        return EXIT_FAILURE;
    }
    if (loop_on_signal(server->loop, SIGTERM, on_signal, server) &&
        loop_on_signal(server->loop, SIGINT, on_signal, server)) {
        say_ready(options, at, server);
    } else {
        fprintf(stderr, "weir-sandbox: cannot watch signals\n");
        server_stop(server);
    }
    loop_run(server->loop);
    server_close(server);
    return EXIT_SUCCESS;
}

static int open_tls(const struct options *options, struct tls_server **tls)
{
    const struct tls_certificate certificate = {options->cert, options->key};
    char why[512] = "";

    *tls = NULL;
    if (options->cert == NULL) {
        return EXIT_SUCCESS;
    }
    *tls = tls_server_open(&(struct tls_server_options){.certificates = &certificate, .certificate_count = 1}, why,
                           sizeof(why));
    if (*tls == NULL) {
        fprintf(stderr, "weir-sandbox: %s\n", why);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int run(const struct options *options, const struct addr_listen *at)
{
    struct sandbox sandbox = {
        .name = options->name,
        .key_field = bytes_from_text(options->dedup != NULL ? options->dedup : "Idempotency-Key"),
        .dialect = options->dialect,
        .ledger = ledger_open(options->dedup != NULL || options->dialect != NULL),
    };
    struct server server = {.sandbox = &sandbox, .loop = loop_open(0)};
    int code = EXIT_FAILURE;

    if (sandbox.ledger == NULL || server.loop == NULL) {
        fprintf(stderr, "weir-sandbox: out of memory\n");
    } else {
        code = open_tls(options, &server.tls);
        if (code == EXIT_SUCCESS) {
            code = serve(options, at, &server);
        }
        tls_server_release(server.tls);
    }
    if (server.loop != NULL && !loop_close(server.loop)) {
        fprintf(stderr, "weir-sandbox: something was left open\n");
        code = EXIT_FAILURE;
    }
    ledger_close(sandbox.ledger);
    return code;
}

int main(int argc, char **argv)
{
    struct options options = {.name = "sandbox"};
    struct addr_listen at;
    int early = options_read(argc, argv, &options);

    if (early != 0) {
        return early - 1;
    }
    if (!addr_listen_parse(bytes_from_text(options.listen), &at)) {
        return fail_usage("--listen wants HOST:PORT, unix:/path or fd:N");
    }
    signal(SIGPIPE, SIG_IGN);
    return run(&options, &at);
}
