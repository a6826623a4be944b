/*
 * Signals as loop events: TERM and INT stop (a second one at once), HUP
 * reloads, USR1 opens the logs again, USR2 writes the state to the events log.
 */
#include <signal.h>

#include "app_internal.h"

static const char *signal_name(int signum)
{
    return signum == SIGINT ? "INT" : "TERM";
}

static void reopen_logs(struct app *app)
{
    char why[APP_WHY_BYTES];
    if (log_reopen(app->log, why, sizeof(why)) == ERR_OK) {
        log_say(app->log, LOG_INFO, "logs_reopened", "log files were opened again");
        return;
    }
    log_event(app->log, LOG_ERROR, "logs_not_reopened", "the old log files stay in use", LOG_T("why", why));
}

static void on_signal(void *owner, int signum)
{
    struct app *app = owner;
    switch (signum) {
    case SIGTERM:
    case SIGINT:
        drain_step(&app->drain, signal_name(signum));
        break;
    case SIGHUP:
        reload_begin(&app->reload, NULL, NULL, "signal HUP");
        break;
    case SIGUSR1:
        reopen_logs(app);
        break;
    case SIGUSR2:
        report_dump(app);
        break;
    default:
        break;
    }
}

bool signals_open(struct app *app)
{
    static const int SIGNALS[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    /* A peer that went away is an error of write, not the end of the process. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(SIGNALS); i++) {
        if (!loop_on_signal(app->loop, SIGNALS[i], on_signal, app)) {
            return false;
        }
    }
    return true;
}
