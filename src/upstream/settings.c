/*
 * What the configuration says of a processor, copied, since it outlives each
 * generation. Nothing here takes effect: that is processor_use.
 */
#include "upstream_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "weir/base/clock.h"

/* All that decides whom a link talks to; links made under another identity are not reused. */
static char *identity_of(const struct conf_processor *conf, const struct tls_client *tls)
{
    char *text = NULL;
    if (asprintf(&text, "%d|%d|%s|%s", conf->tls, conf->tls_verify, conf->tls_server_name != NULL ? conf->tls_server_name : "",
                 tls != NULL ? tls_client_identity(tls) : "") < 0) {
        return NULL;
    }
    return text;
}

static enum balance_way balance_of(enum conf_balance balance)
{
    switch (balance) {
    case CONF_BALANCE_P2C:
        return BALANCE_P2C;
    case CONF_BALANCE_LEAST:
        return BALANCE_LEAST;
    case CONF_BALANCE_ROUND_ROBIN:
        return BALANCE_ROUND_ROBIN;
    }
    return BALANCE_P2C;
}

static struct breaker_settings breaker_of(const struct conf_processor *conf)
{
    const struct conf_breaker *breaker = &conf->breaker;
    return (struct breaker_settings){
        .window_us = breaker->window_ms * CLOCK_US_PER_MS,
        .min_requests = breaker->min_requests,
        .open_at_permille = breaker->open_at_permille,
        .slow_at_permille = breaker->slow_at_permille,
        .slow_us = breaker->slow_ms * CLOCK_US_PER_MS,
        .open_for_us = breaker->open_for_ms * CLOCK_US_PER_MS,
        .open_max_us = breaker->open_max_ms * CLOCK_US_PER_MS,
        .checked = conf->health.type == CONF_HEALTH_HTTP || conf->health.type == CONF_HEALTH_TLS,
        .check_us = conf->health.timeout_ms * CLOCK_US_PER_MS,
    };
}

/* Host of a check: as calls have it, or where those have their clients', that of the url. NULL: no memory. */
static char *check_host_of(const struct conf_processor *conf)
{
    bool v6 = strchr(conf->host, ':') != NULL;
    char *text = NULL;
    if (conf->host_header != NULL) {
        return strdup(conf->host_header);
    }
    if (asprintf(&text, "%s%s%s:%u", v6 ? "[" : "", conf->host, v6 ? "]" : "", (unsigned)conf->port) < 0) {
        return NULL;
    }
    if (conf->port == (conf->tls ? 443 : 80)) {
        *strrchr(text, ':') = '\0';
    }
    return text;
}

static struct check_settings check_of(const struct conf_processor *conf)
{
    const struct conf_health_checks *health = &conf->health;
    return (struct check_settings){
        .type = health->type,
        .path = health->path != NULL ? strdup(health->path) : NULL,
        .host = check_host_of(conf),
        .status_min = health->status_min,
        .status_max = health->status_max,
        .timeout_ms = health->timeout_ms,
        .health = {.every_us = health->every_ms * CLOCK_US_PER_MS,
                   .down_after = health->down_after,
                   .up_after = health->up_after},
    };
}

void settings_free(struct processor_settings *settings)
{
    tls_client_release(settings->tls);
    free(settings->identity);
    free(settings->server_name);
    free(settings->host);
    free(settings->check.path);
    free(settings->check.host);
    *settings = (struct processor_settings){0};
}

/* Every text that there is was copied. */
static bool is_whole(const struct processor_settings *settings, const struct conf_processor *conf)
{
    return settings->identity != NULL && settings->host != NULL && settings->check.host != NULL &&
           (conf->tls_server_name == NULL || settings->server_name != NULL) &&
           (conf->health.path == NULL || settings->check.path != NULL);
}

bool settings_read(struct processor_settings *settings, const struct conf_processor *conf, struct tls_client *tls)
{
    *settings = (struct processor_settings){
        .tls = tls != NULL ? tls_client_hold(tls) : NULL,
        .identity = identity_of(conf, tls),
        .host = strdup(conf->host),
        .server_name = conf->tls_server_name != NULL ? strdup(conf->tls_server_name) : NULL,
        .port = conf->port,
        .fixed = conf->endpoint_count > 0,
        .connect_ms = conf->connect_ms,
        .link_idle_ms = conf->link_idle_ms,
        .link_age_ms = conf->link_age_ms,
        .connections = conf->connections,
        .queue = conf->queue,
        .concurrency = conf->concurrency,
        .balance = balance_of(conf->balance),
        .breaker = breaker_of(conf),
        .check = check_of(conf),
    };
    if (!is_whole(settings, conf)) {
        settings_free(settings);
        return false;
    }
    return true;
}
