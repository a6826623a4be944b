/*
 * What the connection needs of the disk: the password file, read anew for each
 * connect and looked at every few seconds, and the certificates, read at first
 * and at a reload. All of it on a thread: while it is at work the fields that it
 * fills in are its own.
 */
#include "redis_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- on the thread ---- */

static bool read_password(struct credentials *credentials)
{
    ssize_t len = -1;
    int fd = open(credentials->path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, credentials->read, PASSWORD_BYTES_MAX);
    }
    if (len < 0) {
        (void)snprintf(credentials->why, sizeof credentials->why, "%s: %s", credentials->path, strerror(errno));
    } else if (len == PASSWORD_BYTES_MAX) {
        (void)snprintf(credentials->why, sizeof credentials->why, "%s: longer than a password", credentials->path);
        len = -1;
    }
    if (fd >= 0) {
        (void)close(fd); /* it was read only */
    }
    while (len > 0 && (credentials->read[len - 1] == '\n' || credentials->read[len - 1] == '\r')) {
        len--;
    }
    credentials->read_len = len > 0 ? (size_t)len : 0;
    return len >= 0;
}

static struct tls_client *read_client(const struct redis_store *redis, const struct redis_server *server, char *why,
                                      size_t size)
{
    struct tls_client_options options = {
        .verify = redis->tls_verify,
        .ca_path = redis->tls_ca,
        .cert_path = redis->tls_cert,
        .key_path = redis->tls_key,
        .server_name = redis->tls_server_name != NULL ? redis->tls_server_name : server->host,
    };
    return tls_client_open(&options, why, size);
}

static bool read_clients(struct redis_store *redis)
{
    struct credentials *credentials = &redis->credentials;
    for (int i = 0; i < redis->server_count; i++) {
        if (redis->servers[i].tls) {
            credentials->clients[i] = read_client(redis, &redis->servers[i], credentials->why, sizeof credentials->why);
            if (credentials->clients[i] == NULL) {
                return false;
            }
        }
    }
    return true;
}

/* Of the store it reads what does not change in its life. */
static void on_run(struct work *work)
{
    struct redis_store *redis = container_of(work, struct redis_store, credentials.work);
    struct credentials *credentials = &redis->credentials;
    credentials->why[0] = '\0';
    if ((credentials->path == NULL || read_password(credentials)) && credentials->want_tls) {
        (void)read_clients(redis); /* `why` says it */
    }
}

/* ---- on the loop ---- */

static void work_submit(struct redis_store *redis)
{
    struct credentials *credentials = &redis->credentials;
    if (credentials->next_path != NULL) {
        free(credentials->path);
        credentials->path = credentials->next_path;
        credentials->next_path = NULL;
    }
    credentials->busy = true;
    if (worker_submit(credentials->worker, &credentials->work) != ERR_OK) {
        credentials->busy = false; /* cannot be: it is the only piece of work that there is */
    }
}

static void drop_clients(struct redis_store *redis)
{
    for (int i = 0; i < redis->server_count; i++) {
        tls_client_release(redis->credentials.clients[i]);
        redis->credentials.clients[i] = NULL;
    }
}

static void use_clients(struct redis_store *redis)
{
    for (int i = 0; i < redis->server_count; i++) {
        if (redis->credentials.clients[i] != NULL) {
            tls_client_release(redis->servers[i].client);
            redis->servers[i].client = redis->credentials.clients[i];
            redis->credentials.clients[i] = NULL;
        }
    }
    redis->credentials.want_tls = false;
}

static void use_password(struct redis_store *redis)
{
    struct credentials *credentials = &redis->credentials;
    bool changed =
        credentials->path != NULL && (credentials->read_len != credentials->password_len ||
                                      memcmp(credentials->read, credentials->password, credentials->read_len) != 0);
    if (!changed) {
        return;
    }
    memcpy(credentials->password, credentials->read, credentials->read_len);
    credentials->password_len = credentials->read_len;
    if (connection_is_ready(&redis->connection)) {
        if (!credentials->told_refused) {
            log_say(redis->store.options.log, LOG_INFO, "store_password", "the password file has changed");
        }
        greeting_say_password(redis);
    }
}

static void say_unreadable(struct redis_store *redis)
{
    log_event(redis->store.options.log, LOG_WARN, "store_credentials", redis->credentials.why, LOG_T("type", "redis"));
}

static void on_done(struct work *work)
{
    struct redis_store *redis = container_of(work, struct redis_store, credentials.work);
    struct credentials *credentials = &redis->credentials;
    const char *why = credentials->why[0] == '\0' ? NULL : credentials->why;
    bool connecting = credentials->connecting;
    credentials->busy = false;
    if (redis->closing) {
        redis_maybe_gone(redis);
        return;
    }
    if (credentials->renew) {
        drop_clients(redis);
        credentials->renew = false;
        credentials->want_tls = true;
        work_submit(redis); /* what it read is of yesterday */
        return;
    }
    if (why == NULL) {
        use_clients(redis);
        use_password(redis);
    } else {
        drop_clients(redis);
        if (!connecting) {
            say_unreadable(redis);
        }
    }
    credentials->connecting = false;
    if (connecting) {
        connection_on_credentials(redis, why);
    }
}

void credentials_want(struct redis_store *redis)
{
    struct credentials *credentials = &redis->credentials;
    if (credentials->worker == NULL ||
        (credentials->path == NULL && credentials->next_path == NULL && !credentials->want_tls && !credentials->busy)) {
        connection_on_credentials(redis, NULL);
        return;
    }
    credentials->connecting = true;
    if (!credentials->busy) {
        work_submit(redis);
    }
}

void credentials_look(struct redis_store *redis)
{
    struct credentials *credentials = &redis->credentials;
    if (credentials->path != NULL && !credentials->busy) {
        work_submit(redis);
    }
}

void credentials_renew(struct redis_store *redis, const char *path)
{
    struct credentials *credentials = &redis->credentials;
    if (credentials->worker == NULL) {
        return;
    }
    if (path != NULL) {
        free(credentials->next_path);
        credentials->next_path = strdup(path);
    }
    if (credentials->busy) {
        credentials->renew = true;
        return;
    }
    credentials->want_tls = true;
    work_submit(redis);
}

/* ---- open and close ---- */

bool credentials_open(struct redis_store *redis, const struct conf_store *conf, char *why, size_t size)
{
    struct credentials *credentials = &redis->credentials;
    credentials->work = (struct work){.run = on_run, .done = on_done};
    credentials->clients = calloc((size_t)redis->server_count, sizeof *credentials->clients);
    for (int i = 0; i < redis->server_count; i++) {
        credentials->want_tls = credentials->want_tls || redis->servers[i].tls;
    }
    if (conf->password_file != NULL) {
        credentials->path = strdup(conf->password_file);
    }
    /* Always a thread: a reload may bring a password file. */
    credentials->worker = worker_open(loop_of(redis), 1);
    if (credentials->clients == NULL || (conf->password_file != NULL && credentials->path == NULL) ||
        credentials->worker == NULL) {
        (void)snprintf(why, size, "out of memory");
        return false;
    }
    return true;
}

bool credentials_are_gone(const struct redis_store *redis)
{
    return !redis->credentials.busy;
}

void credentials_free(struct redis_store *redis)
{
    struct credentials *credentials = &redis->credentials;
    CHECK(!credentials->busy);
    if (credentials->worker != NULL) {
        worker_close(credentials->worker);
    }
    if (credentials->clients != NULL) {
        drop_clients(redis);
    }
    free(credentials->clients);
    free(credentials->path);
    free(credentials->next_path);
    explicit_bzero(credentials->read, sizeof credentials->read);
    explicit_bzero(credentials->password, sizeof credentials->password);
}
