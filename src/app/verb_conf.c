/*
 * The verbs that read a configuration and serve nothing: `check` and `route`.
 * Neither opens a socket.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "limits_internal.h"
#include "verbs_internal.h"
#include "weir/conf/conf.h"
#include "weir/gate/gate.h"
#include "weir/gate/generation.h"
#include "weir/http/head.h"
#include "weir/policy/profile.h"
#include "weir/policy/reason.h"
#include "weir/policy/shed.h"

static int out_of_memory(const struct verb_args *args)
{
    fprintf(args->err, "weir: out of memory\n");
    return APP_EXIT_FINDINGS;
}

/* TLS files too: what a start would refuse, check refuses, but for files that are not on this machine. */
static void check_files(const struct conf *conf, struct conf_findings *findings)
{
    struct generation_parts tls = {0};
    if (generation_parts_open(&tls, conf, NULL, GENERATION_ABSENT_IS_WARNING, findings)) {
        generation_parts_close(&tls, conf);
    }
}

static int print_findings(const struct verb_args *args, const struct conf_findings *findings)
{
    char *text = args->json ? conf_findings_json(findings) : conf_findings_text(findings);
    if (text == NULL) {
        return out_of_memory(args);
    }
    size_t len = strlen(text);
    fprintf(args->out, "%s%s", text, len > 0 && text[len - 1] == '\n' ? "" : "\n");
    free(text);
    bool refused = conf_findings_errors(findings) > 0 || (args->strict && conf_findings_warnings(findings) > 0);
    return refused ? APP_EXIT_FINDINGS : APP_EXIT_OK;
}

int verb_check(const struct verb_args *args)
{
    struct conf_findings *findings = conf_findings_open();
    if (findings == NULL) {
        return out_of_memory(args);
    }
    struct conf *conf = conf_load(args->config, findings);
    if (conf != NULL) {
        check_files(conf, findings);
    }
    int status = print_findings(args, findings);
    if (conf != NULL) {
        conf_free(conf);
    }
    conf_findings_close(findings);
    return status;
}

/* What a URL says of a request. Borrowed from the text. */
struct target {
    struct bytes host; /* without port; empty: the URL was a path */
    struct bytes path; /* without the query */
};

/* "https://host:port/path?query#fragment", or "/path". False: neither. */
static bool parse_target(struct bytes url, struct target *target)
{
    *target = (struct target){.host = BYTES("")};
    url = bytes_take(url, bytes_find(url, '#'));
    size_t scheme = bytes_find_text(url, BYTES("://"));
    if (url.len > 0 && url.at[0] != '/' && scheme != SIZE_MAX) {
        struct bytes name = bytes_take(url, scheme);
        if (!bytes_equal_nocase(name, BYTES("https")) && !bytes_equal_nocase(name, BYTES("http"))) {
            return false;
        }
        url = bytes_skip(url, scheme + 3);
        size_t end = 0;
        while (end < url.len && url.at[end] != '/' && url.at[end] != '?') {
            end++;
        }
        target->host = bytes_take(url, end);
        url = bytes_skip(url, end);
        /* The port is not part of what routes match; the colons of [::1] are no port. */
        size_t port = target->host.len > 0 && target->host.at[0] == '[' ? bytes_find(target->host, ']')
                                                                        : bytes_find(target->host, ':');
        bool bracket = port != SIZE_MAX && target->host.at[port] == ']';
        target->host = bytes_take(target->host, bracket ? port + 1 : port);
        if (target->host.len == 0) {
            return false;
        }
    }
    url = bytes_take(url, bytes_find(url, '?'));
    target->path = url.len > 0 || target->host.len == 0 ? url : BYTES("/");
    return target->path.len > 0 && target->path.at[0] == '/';
}

static void print_ms(FILE *out, const char *name, uint32_t ms)
{
    if (ms % 1000 == 0) {
        fprintf(out, "%s %" PRIu32 "s", name, ms / 1000);
    } else {
        fprintf(out, "%s %" PRIu32 "ms", name, ms);
    }
}

static void print_size(FILE *out, uint64_t bytes)
{
    if (bytes % 1048576 == 0 && bytes > 0) {
        fprintf(out, "%" PRIu64 "MiB", bytes / 1048576);
    } else if (bytes % 1024 == 0 && bytes > 0) {
        fprintf(out, "%" PRIu64 "KiB", bytes / 1024);
    } else {
        fprintf(out, "%" PRIu64 " bytes", bytes);
    }
}

/* The route's limit, else each listener's own. */
static void print_body(FILE *out, const struct conf *conf, const struct conf_route *route)
{
    fprintf(out, "body       at most ");
    if (route->body_bytes != 0) {
        print_size(out, route->body_bytes);
    }
    for (int i = 0; route->body_bytes == 0 && i < conf->listener_count; i++) {
        fprintf(out, "%s", i > 0 ? ", " : "");
        print_size(out, conf->listeners[i].body_bytes);
        fprintf(out, " (listener %s)", conf->listeners[i].name);
    }
    fprintf(out, "%s\n", route->stream_request ? ", sent on as it comes" : ", held whole before it is sent");
}

static void print_match(FILE *out, const struct conf_route *route)
{
    fprintf(out, "match      method %s, host %s, path %s%s\n", route->method != NULL ? route->method : "any",
            route->host != NULL ? route->host : "any", route->path != NULL ? route->path : "any",
            route->path != NULL && route->path_is_prefix ? "*" : "");
}

/* By the request, where the route says nothing (gate/shedding.c has the rule). */
static enum shed_class class_by_method(const struct conf *conf, const struct conf_route *route, struct bytes method)
{
    const struct conf_profile *conf_profile = &conf->profiles[conf->processors[route->processor].profile];
    const struct profile profile = {.keys_put = conf_profile->keys_put, .keys_delete = conf_profile->keys_delete};
    return shed_class_of(http_method_is_safe(method), route->idempotency.on && profile_keys_method(&profile, method));
}

static void print_class(FILE *out, const struct conf *conf, const struct conf_route *route, struct bytes method)
{
    const struct conf_profile *profile = &conf->profiles[conf->processors[route->processor].profile];
    enum shed_class class = route->class_written ? class_by_word(route->class) : class_by_method(conf, route, method);
    fprintf(out, "class      %s%s%s\n", shed_class_name(class), route->class_written ? "" : ", by its method",
            class < SHED_TEST && profile->test_key_count > 0 ? "; test where the credential is one of test traffic"
                                                             : "");
}

/* Who takes what could not be sent to the route's processor. */
static void print_failover(FILE *out, const struct conf *conf, const struct conf_route *route)
{
    if (route->failover < 0) {
        fprintf(out, "failover   none\n");
        return;
    }
    const struct conf_processor *processor = &conf->processors[route->failover];
    fprintf(out, "failover   %s, %s, while nothing was sent\n", processor->name, processor->url);
}

static void print_limits(FILE *out, const struct conf *conf, const struct conf_route *route)
{
    char callers[SHOW_LIMIT_BYTES], room[SHOW_LIMIT_BYTES];
    fprintf(out, "limits     %s", route->limit_count == 0 ? "none\n" : "");
    for (int i = 0; i < route->limit_count; i++) {
        const struct conf_limit *limit = &conf->limits[route->limits[i]];
        fprintf(out, "%s%s: %s by %s, %s\n", i > 0 ? "           " : "", limit->name, show_limit_room(limit, NULL, room),
                show_limit_callers(limit, callers), show_limit_mode(limit->mode));
    }
}

static void print_route(FILE *out, const struct conf *conf, int index, struct bytes method)
{
    const struct conf_route *route = &conf->routes[index];
    const struct conf_processor *processor = &conf->processors[route->processor];
    fprintf(out, "route      %s (routes[%d])\n", route->name, index);
    print_match(out, route);
    fprintf(out, "processor  %s, %s\n", processor->name, processor->url);
    print_failover(out, conf, route);
    fprintf(out, "host       %s\n", processor->host_header != NULL ? processor->host_header : "as the client sent it");
    fprintf(out, "profile    %s\n", processor->profile_name);
    print_body(out, conf, route);
    fprintf(out, "timeouts   ");
    print_ms(out, "connect", processor->connect_ms);
    print_ms(out, ", response", route->response_ms != 0 ? route->response_ms : processor->response_ms);
    print_ms(out, ", total", route->total_ms != 0 ? route->total_ms : processor->total_ms);
    fprintf(out, "\n");
    print_class(out, conf, route, method);
    print_limits(out, conf, route);
}

static int dry_run(const struct verb_args *args, const struct conf *conf)
{
    struct target target;
    char host[256];
    struct bytes method = bytes_from_text(args->words[0]);
    if (!parse_target(bytes_from_text(args->words[1]), &target)) {
        fprintf(args->err, "weir route: '%s' is neither https://HOST/PATH nor /PATH\n", args->words[1]);
        return APP_EXIT_USAGE;
    }
    size_t len = bytes_to_text(target.host, host, sizeof(host));
    for (size_t i = 0; i < len; i++) {
        host[i] = (char)tolower((unsigned char)host[i]);
    }
    int index = gate_route_of(conf, bytes_of(host, len), method, target.path);
    if (index >= 0) {
        print_route(args->out, conf, index, method);
        return APP_EXIT_OK;
    }
    fprintf(args->out, "%s\n", reason_name(REASON_NO_ROUTE));
    fprintf(args->err, "weir route: no route matches %s %.*s%.*s; weir answers %u\n", args->words[0],
            BYTES_ARG(target.host), BYTES_ARG(target.path), (unsigned)reason_status(REASON_NO_ROUTE));
    if (target.host.len == 0) {
        fprintf(args->err, "(without a host no route that names one can match: give https://HOST%s)\n", args->words[1]);
    }
    return APP_EXIT_FINDINGS;
}

int verb_route(const struct verb_args *args)
{
    struct conf_findings *findings = conf_findings_open();
    if (findings == NULL) {
        return out_of_memory(args);
    }
    struct conf *conf = conf_load(args->config, findings);
    int status = APP_EXIT_FINDINGS;
    if (conf != NULL) {
        status = dry_run(args, conf);
        conf_free(conf);
    } else {
        char *text = conf_findings_text(findings);
        fprintf(args->err, "%s", text != NULL ? text : "weir: out of memory\n");
        free(text);
    }
    conf_findings_close(findings);
    return status;
}
