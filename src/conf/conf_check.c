/*
 * The rules between keys: what is right on its own and wrong together, and what
 * a payment engineer would raise in review (warnings). They run when every key
 * was read, and leave alone what was already reported. Health and breakers are
 * in conf_check_health.c, routes in conf_check_routes.c, idempotency in
 * conf_idempotency.c, the store and tenants in conf_check_store.c, limits in
 * conf_check_limits.c.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "conf_internal.h"

#define HEADER_SMALL_BYTES (4ull << 10)  /* SDKs with long tokens send more */
#define HEADER_LARGE_BYTES (64ull << 10) /* no SDK sends that much */
#define BODY_LARGE_BYTES (16ull << 20)   /* a payment is a few KiB */

static struct conf_help hint(const char *text)
{
    return (struct conf_help){.hint = text};
}

struct conf_place conf_place_in(const struct conf_node *section, const char *path)
{
    const struct conf_node *node = conf_node_find(section, path);

    if (node == NULL) {
        return section != NULL ? section->key_place : (struct conf_place){.line = 0};
    }
    return node->kind == CONF_NODE_SCALAR ? node->place : node->key_place;
}

bool conf_bad_in(const struct conf_node *section, const char *path)
{
    const struct conf_node *node = conf_node_find(section, path);

    return node != NULL && node->bad;
}

/* ---- names ---- */

void conf_check_names(struct conf_run *run, const struct conf_node *list, const char *noun)
{
    const struct conf_node *first = list != NULL && list->kind == CONF_NODE_LIST ? list->first : NULL;

    for (const struct conf_node *entry = first; entry != NULL; entry = entry->next) {
        const struct conf_node *name = conf_node_member(entry, "name");

        for (const struct conf_node *other = first; other != entry && name != NULL && !name->bad; other = other->next) {
            const struct conf_node *earlier = conf_node_member(other, "name");
            char text[64];

            if (earlier != NULL && !earlier->bad && bytes_equal(earlier->text, name->text)) {
                (void)snprintf(text, sizeof(text), "the first is at line %d", earlier->place.line);
                conf_error(run->findings, name->place, hint(text), "two %s have the name '%.*s'", noun,
                           BYTES_ARG(name->text));
                break;
            }
        }
    }
}

/* ---- files ---- */

void conf_check_private(struct conf_run *run, const char *path, const struct conf_node *node, const char *what)
{
    struct stat status;

    /* A file that is missing is the business of whoever opens it. */
    if (path == NULL || node == NULL || stat(path, &status) != 0 || !S_ISREG(status.st_mode)) {
        return;
    }
    if ((status.st_mode & S_IROTH) != 0) {
        conf_warning(run->findings, node->place, hint("chmod 0640"), "everyone on this machine can read the %s (mode %04o)",
                     what, (unsigned)(status.st_mode & 07777));
    }
}

/* ---- sizes ---- */

static void check_header(struct conf_run *run, const char *where, uint64_t bytes, const struct conf_node *node)
{
    char text[CONF_NUMBER_BYTES];

    if (node == NULL || node->bad) {
        return;
    }
    (void)conf_number_text(CONF_BYTES, bytes, text);
    if (bytes < HEADER_SMALL_BYTES) {
        conf_warning(run->findings, node->place, CONF_NO_HELP, "%s.limits.header (%s) is less than many clients send",
                     where, text);
    } else if (bytes > HEADER_LARGE_BYTES) {
        conf_warning(run->findings, node->place, CONF_NO_HELP, "%s.limits.header (%s) is more than any client needs",
                     where, text);
    }
}

void conf_check_body(struct conf_run *run, const char *where, uint64_t bytes, const struct conf_node *node)
{
    char text[CONF_NUMBER_BYTES], buffers[CONF_NUMBER_BYTES];

    if (node == NULL || node->bad || conf_bad_in(run->root, "memory.buffers")) {
        return;
    }
    (void)conf_number_text(CONF_BYTES, bytes, text);
    (void)conf_number_text(CONF_BYTES, run->conf->buffers_bytes, buffers);
    if (bytes > run->conf->buffers_bytes) {
        conf_error(run->findings, node->place, CONF_NO_HELP, "%s (%s) is more than memory.buffers (%s) can hold", where,
                   text, buffers);
    } else if (bytes > BODY_LARGE_BYTES) {
        conf_warning(run->findings, node->place, hint("a route with stream: request holds less"),
                     "%s (%s) is held whole in memory", where, text);
    }
}

/* ---- addresses ---- */

static bool is_loopback(const struct addr *addr)
{
    struct addr_net v4, v6;

    CHECK(addr_net_parse(BYTES("127.0.0.0/8"), &v4) && addr_net_parse(BYTES("::1"), &v6));
    return addr_net_contains(&v4, addr) || addr_net_contains(&v6, addr);
}

/* Port 0 asks the kernel for any: two of them are two addresses. */
static bool same_address(const struct addr_listen *a, const struct addr_listen *b)
{
    bool any_port = a->kind == ADDR_LISTEN_IP && addr_port(&a->ip) == 0;

    return !any_port && addr_listen_equal(a, b);
}

static void check_addresses(struct conf_run *run, const struct conf_node *listeners)
{
    const struct conf *conf = run->conf;

    for (int i = 0; i < conf->listener_count; i++) {
        const struct conf_node *node = conf_node_member(conf_node_entry(listeners, i), "address");

        for (int j = 0; j < i && node != NULL && !node->bad; j++) {
            const struct conf_node *earlier = conf_node_member(conf_node_entry(listeners, j), "address");
            char text[64];

            if (earlier != NULL && !earlier->bad && same_address(&conf->listeners[i].address, &conf->listeners[j].address)) {
                (void)snprintf(text, sizeof(text), "the first is at line %d", earlier->place.line);
                conf_error(run->findings, node->place, hint(text), "two listeners have the address '%s'",
                           conf->listeners[i].address_text);
                break;
            }
        }
    }
}

static void check_service_addresses(struct conf_run *run)
{
    const struct conf *conf = run->conf;
    const struct conf_node *monitor = conf_node_find(run->root, "monitor.address");
    const struct conf_node *admin = conf_node_find(run->root, "admin.socket");

    for (int i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        const char *name = listener->name != NULL ? listener->name : "";

        if (monitor != NULL && !monitor->bad && same_address(&conf->monitor, &listener->address)) {
            conf_error(run->findings, monitor->place, CONF_NO_HELP, "listener '%s' has this address, too", name);
        }
        if (admin != NULL && !admin->bad && listener->address.kind == ADDR_LISTEN_UNIX &&
            strcmp(listener->address.path, conf->admin_socket) == 0) {
            conf_error(run->findings, admin->place, CONF_NO_HELP, "listener '%s' has this path, too", name);
        }
    }
}

/* ---- listeners ---- */

static void check_client_certs(struct conf_run *run, const struct conf_listener *listener, const struct conf_node *node,
                               const char *where)
{
    const struct conf_listener_tls *tls = &listener->tls;
    bool asks = tls->client_certs != CONF_CLIENT_CERTS_OFF;

    if (conf_bad_in(node, "tls.client_certs") || conf_bad_in(node, "tls.client_ca")) {
        return;
    }
    if (asks && tls->client_ca == NULL) {
        conf_error(run->findings, conf_place_in(node, "tls.client_certs"), hint("add client_ca: who may sign them"),
                   "%s.tls asks for client certificates and has no client_ca", where);
    }
    if (!asks && tls->client_ca != NULL) {
        conf_warning(run->findings, conf_place_in(node, "tls.client_ca"), hint("client_certs is off"),
                     "%s.tls.client_ca has no effect", where);
    }
    if (!asks && tls->client_crl != NULL) {
        conf_warning(run->findings, conf_place_in(node, "tls.client_crl"), hint("client_certs is off"),
                     "%s.tls.client_crl has no effect", where);
    }
}

static bool is_everyone(const struct addr_net *net)
{
    static const uint8_t v4[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return !net->is_unix && (net->prefix == 0 || (net->prefix == 96 && memcmp(net->bits, v4, sizeof(v4)) == 0));
}

static void check_trust(struct conf_run *run, const struct conf_listener *listener, const struct conf_node *node,
                        const char *where)
{
    if (conf_bad_in(node, "trusted") || conf_bad_in(node, "proxy_protocol")) {
        return;
    }
    if (listener->proxy_protocol && listener->trusted_count == 0) {
        conf_error(run->findings, conf_place_in(node, "proxy_protocol"), hint("name the senders in 'trusted'"),
                   "%s requires PROXY headers and trusts nobody to send them", where);
    }
    for (int i = 0; i < listener->trusted_count; i++) {
        if (is_everyone(&listener->trusted[i])) {
            conf_warning(run->findings, conf_node_entry(conf_node_member(node, "trusted"), i)->place, CONF_NO_HELP,
                         "%s trusts everyone to say who the client is", where);
        }
    }
}

static void check_plain(struct conf_run *run, const struct conf_listener *listener, const struct conf_node *node,
                        const char *where)
{
    const struct conf_node *address = conf_node_member(node, "address");

    if (listener->tls.present || address == NULL || address->bad || listener->address.kind != ADDR_LISTEN_IP ||
        is_loopback(&listener->address.ip)) {
        return;
    }
    conf_warning(run->findings, address->place, hint("add 'tls'"),
                 "%s takes payments without TLS from other machines", where);
}

static void check_listener(struct conf_run *run, const struct conf_listener *listener, const struct conf_node *node)
{
    const struct conf_node *certificates = conf_node_find(node, "tls.certificates");
    char where[CONF_WHERE_BYTES] = "";
    char body[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "listeners.%s", listener->name != NULL ? listener->name : "?");
    conf_append(body, sizeof(body), "%s.limits.body", where);
    check_client_certs(run, listener, node, where);
    check_trust(run, listener, node, where);
    check_plain(run, listener, node, where);
    check_header(run, where, listener->header_bytes, conf_node_find(node, "limits.header"));
    conf_check_body(run, body, listener->body_bytes, conf_node_find(node, "limits.body"));
    for (int i = 0; i < listener->tls.certificate_count; i++) {
        conf_check_private(run, listener->tls.certificates[i].key,
                           conf_node_member(conf_node_entry(certificates, i), "key"), "private key");
    }
}

/* ---- processors ---- */

void conf_append_timeout(char *text, size_t size, const struct conf_timeout *timeout)
{
    char number[CONF_NUMBER_BYTES];

    conf_append(text, size, "%s (%s%s)", timeout->label, conf_number_text(CONF_DURATION, timeout->ms, number),
                timeout->node == NULL ? timeout->origin : "");
}

/* At the total where it was written, else at the part that was. */
static struct conf_place total_place(const struct conf_timeout *total, const struct conf_timeout *response,
                                     const struct conf_timeout *connect, const struct conf_node *otherwise)
{
    const struct conf_node *node = total->node != NULL      ? total->node
                                   : response->node != NULL ? response->node
                                   : connect->node != NULL  ? connect->node
                                                            : otherwise;

    return node != NULL ? node->place : (struct conf_place){.line = 0};
}

bool conf_check_total(struct conf_run *run, const char *where, const struct conf_timeout *total,
                      const struct conf_timeout *response, const struct conf_timeout *connect,
                      const struct conf_node *otherwise)
{
    struct conf_place place = total_place(total, response, connect, otherwise);
    char long_text[256] = "";
    char short_text[128] = "";

    if ((total->node != NULL && total->node->bad) || (response->node != NULL && response->node->bad) ||
        (connect->node != NULL && connect->node->bad)) {
        return false;
    }
    conf_append_timeout(short_text, sizeof(short_text), total);
    conf_append_timeout(long_text, sizeof(long_text), response);
    if (total->ms < response->ms) {
        conf_error(run->findings, place, CONF_NO_HELP, "%s is shorter than %s in %s", short_text, long_text, where);
        return false;
    }
    if (total->ms < (uint64_t)response->ms + connect->ms) {
        conf_append(long_text, sizeof(long_text), "%s", " and ");
        conf_append_timeout(long_text, sizeof(long_text), connect);
        conf_error(run->findings, place, CONF_NO_HELP, "%s is shorter than %s together in %s", short_text, long_text,
                   where);
        return false;
    }
    return true;
}

static void check_timeouts(struct conf_run *run, const struct conf_processor *processor, const struct conf_node *node,
                           const char *where)
{
    static const char origin[] = ", the default";
    struct conf_timeout total = {"timeouts.total", processor->total_ms, conf_node_find(node, "timeouts.total"), origin};
    struct conf_timeout response = {"timeouts.response", processor->response_ms,
                                    conf_node_find(node, "timeouts.response"), origin};
    struct conf_timeout connect = {"timeouts.connect", processor->connect_ms, conf_node_find(node, "timeouts.connect"),
                                   origin};

    (void)conf_check_total(run, where, &total, &response, &connect, NULL);
}

bool conf_is_here(const char *host)
{
    struct addr addr;

    return strcmp(host, "localhost") == 0 || bytes_ends_with(bytes_from_text(host), BYTES(".localhost")) ||
           (addr_parse_host(bytes_from_text(host), 1, &addr) && is_loopback(&addr));
}

/* Endpoints decide where the bytes go; without them, the url's host. */
static bool stays_here(const struct conf_processor *processor)
{
    for (int i = 0; i < processor->endpoint_count; i++) {
        if (!is_loopback(&processor->endpoints[i])) {
            return false;
        }
    }
    return processor->endpoint_count > 0 || conf_is_here(processor->host);
}

static void check_processor_tls(struct conf_run *run, const struct conf_processor *processor,
                                const struct conf_node *node, const char *where)
{
    const struct conf_node *tls = conf_node_member(node, "tls");
    const struct conf_node *url = conf_node_member(node, "url");

    if ((processor->tls_cert == NULL) != (processor->tls_key == NULL) && !conf_bad_in(tls, "cert") &&
        !conf_bad_in(tls, "key")) {
        bool has_cert = processor->tls_cert != NULL;

        conf_error(run->findings, conf_place_in(tls, has_cert ? "cert" : "key"), CONF_NO_HELP, "%s.tls has a %s without a %s",
                   where, has_cert ? "cert" : "key", has_cert ? "key" : "cert");
    }
    if (processor->host == NULL || url == NULL) {
        return;
    }
    if (!processor->tls && tls != NULL) {
        conf_warning(run->findings, tls->key_place, hint("url is http"), "%s.tls has no effect", where);
    } else if (processor->tls && !processor->tls_verify) {
        conf_warning(run->findings, conf_place_in(tls, "verify"), hint("write full, and ca: where to find its authority"),
                     "%s sends payments to whoever answers: its certificate is not verified", where);
    }
    if (!processor->tls && !conf_bad_in(node, "endpoints") && !stays_here(processor)) {
        conf_warning(run->findings, url->place, hint("write https"), "%s sends payments without TLS to another machine",
                     where);
    }
    conf_check_private(run, processor->tls_key, conf_node_member(tls, "key"), "private key");
}

static void check_endpoints(struct conf_run *run, const struct conf_processor *processor, const struct conf_node *node,
                            const char *where)
{
    const struct conf_node *endpoints = conf_node_member(node, "endpoints");

    for (int i = 1; i < processor->endpoint_count && !endpoints->bad; i++) {
        for (int j = 0; j < i; j++) {
            if (addr_equal(&processor->endpoints[i], &processor->endpoints[j])) {
                conf_error(run->findings, conf_node_entry(endpoints, i)->place, CONF_NO_HELP,
                           "%s has this endpoint twice", where);
                break;
            }
        }
    }
}

static void check_processor(struct conf_run *run, const struct conf_processor *processor, const struct conf_node *node)
{
    char where[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "processors.%s", processor->name);
    check_timeouts(run, processor, node, where);
    check_processor_tls(run, processor, node, where);
    check_endpoints(run, processor, node, where);
    conf_check_health(run, processor, node, where);
}

/* ---- the whole ---- */

/* The longest total of any processor or route, and who has it. */
struct longest {
    uint32_t ms;
    const struct conf_node *node; /* NULL: a default */
    char label[CONF_WHERE_BYTES];
};

static void offer_total(struct longest *longest, uint32_t ms, const struct conf_node *section, const char *list,
                        const char *name)
{
    const struct conf_node *node = conf_node_find(section, "timeouts.total");

    if (ms <= longest->ms || (node != NULL && node->bad)) {
        return;
    }
    longest->ms = ms;
    longest->node = node;
    longest->label[0] = '\0';
    conf_append(longest->label, sizeof(longest->label), "%s.%s.timeouts.total", list, name != NULL ? name : "?");
}

static void check_drain(struct conf_run *run)
{
    const struct conf *conf = run->conf;
    const struct conf_node *node = conf_node_find(run->root, "shutdown.drain");
    const struct conf_node *processors = conf_node_member(run->root, "processors");
    const struct conf_node *routes = conf_node_member(run->root, "routes");
    struct conf_timeout drain = {"shutdown.drain", conf->drain_ms, node, ", the default"};
    struct longest longest = {.ms = 0};
    char text[64] = "";
    char number[CONF_NUMBER_BYTES];

    for (int i = 0; i < conf->processor_count; i++) {
        offer_total(&longest, conf->processors[i].total_ms, conf_node_entry(processors, i), "processors",
                    conf->processors[i].name);
    }
    for (int i = 0; i < conf->route_count; i++) {
        offer_total(&longest, conf->routes[i].total_ms, conf_node_entry(routes, i), "routes", conf->routes[i].name);
    }
    if (conf->drain_ms >= longest.ms || (node != NULL && node->bad)) {
        return;
    }
    conf_append_timeout(text, sizeof(text), &drain);
    conf_error(run->findings, node != NULL ? node->place : longest.node != NULL ? longest.node->place : (struct conf_place){0},
               hint("a stop would cut requests that are on their way"), "%s is shorter than %s (%s)", text,
               longest.label, conf_number_text(CONF_DURATION, longest.ms, number));
}

static void check_emptiness(struct conf_run *run)
{
    struct conf_place whole = {.line = 0};

    if (run->conf->listener_count == 0 && !conf_bad_in(run->root, "listeners")) {
        conf_warning(run->findings, whole, CONF_NO_HELP, "no listeners: nobody can connect");
    }
    if (run->conf->route_count == 0 && !conf_bad_in(run->root, "routes")) {
        conf_warning(run->findings, whole, CONF_NO_HELP, "no routes: every request is answered 404 no_route");
    }
}

void conf_check(struct conf_run *run)
{
    const struct conf *conf = run->conf;
    const struct conf_node *listeners = conf_node_member(run->root, "listeners");
    const struct conf_node *processors = conf_node_member(run->root, "processors");

    for (int i = 0; i < conf->listener_count; i++) {
        check_listener(run, &conf->listeners[i], conf_node_entry(listeners, i));
    }
    conf_check_names(run, listeners, "listeners");
    check_addresses(run, listeners);
    check_service_addresses(run);
    for (int i = 0; i < conf->processor_count; i++) {
        check_processor(run, &conf->processors[i], conf_node_entry(processors, i));
    }
    conf_profiles_check(run);
    conf_check_routes(run);
    conf_idempotency_check(run);
    conf_check_tenants(run);
    conf_check_store(run);
    conf_check_limits(run);
    check_drain(run);
    check_emptiness(run);
}
