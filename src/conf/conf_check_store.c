/*
 * The rules of tenants and the store: that somebody can be known, that a store
 * has the keys of its type and no others, and that what is secret stays so.
 */
#include <stdio.h>

#include "conf_internal.h"

static struct conf_help hint(const char *text)
{
    return (struct conf_help){.hint = text};
}

/* ---- tenants ---- */

bool conf_asks_for_certificates(const struct conf *conf)
{
    for (int i = 0; i < conf->listener_count; i++) {
        if (conf->listeners[i].tls.client_certs != CONF_CLIENT_CERTS_OFF) {
            return true;
        }
    }
    return false;
}

void conf_check_tenants(struct conf_run *run)
{
    const struct conf_node *node = conf_node_member(run->root, "tenants");
    const struct conf_tenants *tenants = &run->conf->tenants;
    bool by_certificate = tenants->by == CONF_TENANTS_BY_MTLS_SUBJECT;

    if (node == NULL || node->bad || conf_bad_in(node, "by")) {
        return;
    }
    if (by_certificate && !conf_asks_for_certificates(run->conf) && !conf_bad_in(run->root, "listeners")) {
        conf_error(run->findings, conf_place_in(node, "by"), hint("set tls.client_certs of a listener"),
                   "tenants are their client certificates, and no listener asks for one");
    }
    if (tenants->refuse_unknown && tenants->known_file == NULL && !by_certificate && !conf_bad_in(node, "known_file")) {
        conf_error(run->findings, conf_place_in(node, "unknown"), hint("add known_file, or let by be mtls_subject"),
                   "tenants that are unknown are refused, and nothing says who is known");
    }
}

/* ---- the keys of each type ---- */

static void refuse_others(struct conf_run *run, const struct conf_node *node, const char *const *keys, size_t count,
                          const char *theirs, const char *ours)
{
    for (size_t i = 0; i < count; i++) {
        const struct conf_node *written = conf_node_member(node, keys[i]);
        char text[64] = "";

        if (written != NULL) {
            conf_append(text, sizeof(text), "leave it out, or write 'type: %s'", theirs);
            conf_error(run->findings, written->key_place, hint(text), "store.%s is of the %s store, and this one is %s%s",
                       keys[i], theirs, ours, conf_node_member(node, "type") == NULL ? ", the default" : "");
        }
    }
}

/* ---- embedded ---- */

static bool needs_promise(const struct conf *conf)
{
    for (int i = 0; i < conf->route_count; i++) {
        if (conf->routes[i].idempotency.on && conf->routes[i].idempotency.mode != CONF_MODE_STICKY) {
            return true;
        }
    }
    return false;
}

static bool is_below(struct bytes path, struct bytes folder)
{
    while (folder.len > 1 && folder.at[folder.len - 1] == '/') {
        folder = bytes_take(folder, folder.len - 1);
    }
    return bytes_starts_with(path, folder) && path.len > folder.len && path.at[folder.len] == '/';
}

static void check_embedded(struct conf_run *run, const struct conf_node *node)
{
    static const char *const others[] = {"servers", "username", "password_file", "tls", "limit_timeout"};
    const struct conf_store *store = &run->conf->store;

    refuse_others(run, node, others, ARRAY_COUNT(others), "redis", "embedded");
    if (store->single_machine && !needs_promise(run->conf) && !conf_bad_in(run->root, "routes")) {
        conf_warning(run->findings, conf_place_in(node, "single_machine"), hint("only single_shot and failover do"),
                     "store.single_machine is promised and no route needs it");
    }
    if (!conf_bad_in(node, "secret_file") && !conf_bad_in(node, "path") &&
        is_below(bytes_from_text(store->secret_file), bytes_from_text(store->path))) {
        conf_warning(run->findings,
                     conf_place_in(node, conf_node_member(node, "secret_file") != NULL ? "secret_file" : "path"),
                     hint("a copy of the store would open with it: keep it elsewhere"),
                     "store.secret_file is in the directory of the records that it seals");
    }
}

/* ---- redis ---- */

static void check_servers(struct conf_run *run, const struct conf_node *node, bool *any_tls)
{
    const struct conf_store *store = &run->conf->store;
    const struct conf_node *servers = conf_node_member(node, "servers");

    if (servers == NULL) {
        conf_error(run->findings, conf_place_in(node, "type"), hint("add 'servers: [\"rediss://HOST:PORT\"]'"),
                   "store is redis and has no servers");
        return;
    }
    for (int i = 0; i < store->server_count && !servers->bad; i++) {
        *any_tls = *any_tls || store->servers[i].tls;
        if (!store->servers[i].tls && !conf_is_here(store->servers[i].host)) {
            conf_warning(run->findings, conf_node_entry(servers, i)->place, hint("write rediss"),
                         "store speaks to another machine without TLS");
        }
    }
}

static void check_store_tls(struct conf_run *run, const struct conf_node *node, bool any_tls)
{
    const struct conf_store *store = &run->conf->store;
    const struct conf_node *tls = conf_node_member(node, "tls");
    bool has_cert = store->tls_cert != NULL;

    if (tls == NULL) {
        return;
    }
    if (has_cert != (store->tls_key != NULL) && !conf_bad_in(tls, "cert") && !conf_bad_in(tls, "key")) {
        conf_error(run->findings, conf_place_in(tls, has_cert ? "cert" : "key"), CONF_NO_HELP,
                   "store.tls has a %s without a %s", has_cert ? "cert" : "key", has_cert ? "key" : "cert");
    }
    if (!any_tls && store->server_count > 0 && !conf_bad_in(node, "servers")) {
        conf_warning(run->findings, tls->key_place, hint("no server is rediss"), "store.tls has no effect");
    } else if (any_tls && !store->tls_verify) {
        conf_warning(run->findings, conf_place_in(tls, "verify"), hint("write full, and ca: where to find its authority"),
                     "store trusts whoever answers: its certificate is not verified");
    }
    conf_check_private(run, store->tls_key, conf_node_member(tls, "key"), "private key");
}

static void check_redis(struct conf_run *run, const struct conf_node *node)
{
    static const char *const others[] = {"path", "size", "single_machine"};
    const struct conf_store *store = &run->conf->store;
    bool any_tls = false;

    refuse_others(run, node, others, ARRAY_COUNT(others), "embedded", "redis");
    check_servers(run, node, &any_tls);
    check_store_tls(run, node, any_tls);
    if (store->username != NULL && store->password_file == NULL && !conf_bad_in(node, "password_file")) {
        conf_error(run->findings, conf_place_in(node, "username"), hint("add password_file"),
                   "store has a username without a password_file");
    }
    conf_check_private(run, store->password_file, conf_node_member(node, "password_file"), "password");
}

void conf_check_store(struct conf_run *run)
{
    const struct conf_node *node = conf_node_member(run->root, "store");

    if (node == NULL || node->bad || conf_bad_in(node, "type")) {
        return;
    }
    if (run->conf->store.type == CONF_STORE_EMBEDDED) {
        check_embedded(run, node);
    } else {
        check_redis(run, node);
    }
}
