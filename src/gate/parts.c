/*
 * What a configuration names and files hold: TLS contexts, the keys of the
 * secret file, the known tenants. Read off the loop; problems become findings
 * at the place of their key.
 */
#include "gate_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tenant.h"

#include "weir/base/clock.h"

/* ---- findings ---- */

static void add_finding(struct conf_findings *findings, const struct conf *conf, const char *key, bool is_error,
                        const char *message)
{
    int line = 0;
    int column = 0;
    int width = 0;
    (void)conf_position(conf, key, &line, &column, &width);
    conf_findings_add(findings, is_error, line, column, width, message, NULL, NULL);
}

#define CERTIFICATE_SOON_S (14 * 24 * 3600)

static void warn_of_dates(struct conf_findings *findings, const struct conf *conf, int listener,
                          const struct tls_server *server)
{
    for (int i = 0; i < tls_server_certificate_count(server); i++) {
        struct tls_certificate_info info;
        char key[96];
        char message[400];
        tls_server_certificate(server, i, &info);
        int64_t left_s = info.not_after_s - (int64_t)(clock_wall_us() / CLOCK_US_PER_S);
        (void)snprintf(key, sizeof key, "listeners[%d].tls.certificates[%d].cert", listener, i);
        if (left_s <= 0) {
            (void)snprintf(message, sizeof message, "the certificate for '%s' has expired", info.name);
            add_finding(findings, conf, key, true, message);
        } else if (left_s < CERTIFICATE_SOON_S) {
            (void)snprintf(message, sizeof message, "the certificate for '%s' ends in %d days", info.name,
                           (int)(left_s / (24 * 3600)));
            add_finding(findings, conf, key, false, message);
        }
    }
}

/* A warning for a file that is not on this machine. */
static bool is_missing(struct conf_findings *findings, const struct conf *conf, const char *key, const char *path)
{
    char message[400];
    if (path == NULL || access(path, F_OK) == 0 || errno != ENOENT) {
        return false;
    }
    (void)snprintf(message, sizeof message, "%s is not on this machine: it cannot be checked here, and a start needs it",
                   path);
    add_finding(findings, conf, key, false, message);
    return true;
}

static bool server_files_missing(const struct conf *conf, int index, struct conf_findings *findings)
{
    const struct conf_listener_tls *tls = &conf->listeners[index].tls;
    bool missing = false;
    char key[96];
    for (int i = 0; i < tls->certificate_count; i++) {
        (void)snprintf(key, sizeof key, "listeners[%d].tls.certificates[%d].cert", index, i);
        missing |= is_missing(findings, conf, key, tls->certificates[i].cert);
        (void)snprintf(key, sizeof key, "listeners[%d].tls.certificates[%d].key", index, i);
        missing |= is_missing(findings, conf, key, tls->certificates[i].key);
    }
    (void)snprintf(key, sizeof key, "listeners[%d].tls.client_ca", index);
    missing |= is_missing(findings, conf, key, tls->client_ca);
    (void)snprintf(key, sizeof key, "listeners[%d].tls.client_crl", index);
    missing |= is_missing(findings, conf, key, tls->client_crl);
    return missing;
}

static bool client_files_missing(const struct conf *conf, int index, struct conf_findings *findings)
{
    const struct conf_processor *processor = &conf->processors[index];
    const struct {
        const char *name;
        const char *path;
    } files[] = {{"ca", processor->tls_ca}, {"cert", processor->tls_cert}, {"key", processor->tls_key}};
    bool missing = false;
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        char key[200];
        (void)snprintf(key, sizeof key, "processors.%s.tls.%s", processor->name, files[i].name);
        missing |= is_missing(findings, conf, key, files[i].path);
    }
    return missing;
}

static bool open_server(struct generation_parts *parts, const struct conf *conf, int index, struct tls_tickets *tickets,
                        struct conf_findings *findings)
{
    const struct conf_listener_tls *from = &conf->listeners[index].tls;
    struct tls_certificate *certificates = calloc((size_t)from->certificate_count + 1, sizeof *certificates);
    char why[400] = "out of memory";
    char key[64];
    for (int i = 0; certificates != NULL && i < from->certificate_count; i++) {
        certificates[i].cert_path = from->certificates[i].cert;
        certificates[i].key_path = from->certificates[i].key;
    }
    if (certificates != NULL) {
        struct tls_server_options options = {
            .certificates = certificates,
            .certificate_count = from->certificate_count,
            .minimum = from->minimum == CONF_TLS_1_3 ? TLS_MINIMUM_1_3 : TLS_MINIMUM_1_2,
            .client_certs = (enum tls_client_certs)from->client_certs,
            .client_ca_path = from->client_ca,
            .client_crl_path = from->client_crl,
            .tickets = tickets,
        };
        parts->servers[index] = tls_server_open(&options, why, sizeof why);
    }
    free(certificates);
    if (parts->servers[index] == NULL) {
        (void)snprintf(key, sizeof key, "listeners[%d].tls", index);
        add_finding(findings, conf, key, true, why);
        return false;
    }
    warn_of_dates(findings, conf, index, parts->servers[index]);
    return true;
}

static bool open_client(struct generation_parts *parts, const struct conf *conf, int index, struct conf_findings *findings)
{
    const struct conf_processor *from = &conf->processors[index];
    char why[400];
    char key[160];
    struct tls_client_options options = {
        .verify = from->tls_verify,
        .ca_path = from->tls_ca,
        .cert_path = from->tls_cert,
        .key_path = from->tls_key,
        .server_name = from->tls_server_name,
    };
    parts->clients[index] = tls_client_open(&options, why, sizeof why);
    if (parts->clients[index] == NULL) {
        (void)snprintf(key, sizeof key, "processors.%s.tls", from->name);
        add_finding(findings, conf, key, true, why);
        return false;
    }
    return true;
}

/* ---- secrets and tenants ---- */

/* An embedded store's secret is made with it: nobody else has to know it. */
static bool make_secret(const struct conf *conf, char *why, size_t size)
{
    const struct conf_store *store = &conf->store;
    return store->type != CONF_STORE_EMBEDDED || access(store->secret_file, F_OK) == 0 || errno != ENOENT ||
           keyring_make(store->secret_file, why, size);
}

static void open_keyring(struct generation_parts *parts, const struct conf *conf, bool may_miss,
                         struct conf_findings *findings)
{
    char why[400];
    bool is_made = conf->store.type == CONF_STORE_EMBEDDED; /* by a start, when it is not there */
    if (!conf->store_needed || (may_miss && is_made && access(conf->store.secret_file, F_OK) != 0) ||
        (may_miss && is_missing(findings, conf, "store.secret_file", conf->store.secret_file))) {
        return;
    }
    if (may_miss || make_secret(conf, why, sizeof why)) {
        parts->keyring = keyring_open(conf->store.secret_file, why, sizeof why);
    }
    if (parts->keyring == NULL) {
        add_finding(findings, conf, "store.secret_file", true, why);
    }
}

static void open_tenants(struct generation_parts *parts, const struct conf *conf, bool may_miss,
                         struct conf_findings *findings)
{
    char why[400];
    const char *path = conf->tenants.known_file;
    if (path == NULL || (may_miss && is_missing(findings, conf, "tenants.known_file", path))) {
        return;
    }
    parts->tenants = tenants_open(path, why, sizeof why);
    if (parts->tenants == NULL) {
        add_finding(findings, conf, "tenants.known_file", true, why);
    }
}

bool generation_parts_open(struct generation_parts *parts, const struct conf *conf, struct tls_tickets *tickets,
                         enum generation_absent files, struct conf_findings *findings)
{
    bool may_miss = files == GENERATION_ABSENT_IS_WARNING;
    int errors_before = conf_findings_errors(findings);
    *parts = (struct generation_parts){0};
    parts->servers = calloc((size_t)conf->listener_count + 1, sizeof(struct tls_server *));
    parts->clients = calloc((size_t)conf->processor_count + 1, sizeof(struct tls_client *));
    bool whole = parts->servers != NULL && parts->clients != NULL;
    for (int i = 0; whole && i < conf->listener_count; i++) {
        if (conf->listeners[i].tls.present && !(may_miss && server_files_missing(conf, i, findings))) {
            (void)open_server(parts, conf, i, tickets, findings); /* all are reported, and counted below */
        }
    }
    for (int i = 0; whole && i < conf->processor_count; i++) {
        if (conf->processors[i].tls && !(may_miss && client_files_missing(conf, i, findings))) {
            (void)open_client(parts, conf, i, findings);
        }
    }
    open_keyring(parts, conf, may_miss, findings);
    open_tenants(parts, conf, may_miss, findings);
    if (!whole || conf_findings_errors(findings) > errors_before) {
        generation_parts_close(parts, conf);
        return false;
    }
    return true;
}

void generation_parts_close(struct generation_parts *parts, const struct conf *conf)
{
    for (int i = 0; parts->servers != NULL && i < conf->listener_count; i++) {
        tls_server_release(parts->servers[i]);
    }
    for (int i = 0; parts->clients != NULL && i < conf->processor_count; i++) {
        tls_client_release(parts->clients[i]);
    }
    keyring_release(parts->keyring);
    tenants_close(parts->tenants);
    free(parts->servers);
    free(parts->clients);
    *parts = (struct generation_parts){0};
}
