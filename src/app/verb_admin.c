/*
 * The verbs that ask a running weir: status, processors, limits and reload. The
 * process writes the words; the verbs find its socket, print, and turn the
 * status into an exit status.
 */
#include <stdlib.h>

#include "verbs_internal.h"
#include "weir/app/ask.h"
#include "weir/app/query.h"
#include "weir/conf/conf.h"

#define PATH_BYTES 256
#define WHY_BYTES 512

/* A file with errors names no socket that could be trusted; its findings are printed instead. */
static int find_in_conf(const struct verb_args *args, char path[PATH_BYTES])
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf = findings != NULL ? conf_load(args->config, findings) : NULL;
    int status = APP_EXIT_OK;
    if (conf == NULL) {
        char *text = findings != NULL ? conf_findings_text(findings) : NULL;
        fprintf(args->err, "%sweir: the running weir was not asked; --socket PATH reaches it without this file\n",
                text != NULL ? text : "");
        free(text);
        status = APP_EXIT_FINDINGS;
    } else if (conf->admin_socket == NULL) {
        fprintf(args->err, "weir: %s has no admin.socket\n", args->config);
        status = APP_EXIT_FINDINGS;
    } else {
        snprintf(path, PATH_BYTES, "%s", conf->admin_socket);
    }
    if (conf != NULL) {
        conf_free(conf);
    }
    conf_findings_close(findings);
    return status;
}

static int find_socket(const struct verb_args *args, char path[PATH_BYTES])
{
    if (args->socket == NULL && args->config != NULL) {
        return find_in_conf(args, path);
    }
    int len = snprintf(path, PATH_BYTES, "%s", args->socket != NULL ? args->socket : VERB_SOCKET_DEFAULT);
    if (len >= PATH_BYTES) {
        fprintf(args->err, "weir: the socket's path is too long\n");
        return APP_EXIT_USAGE;
    }
    return APP_EXIT_OK;
}

/* What worked goes to the output, what did not to the complaints; JSON always to the output, for its reader. */
int verb_ask_and_print(const struct verb_args *args, const char *method, const char *target, uint32_t patience_s)
{
    char path[PATH_BYTES], why[WHY_BYTES];
    struct answer_text answer;
    int status = find_socket(args, path);
    if (status != APP_EXIT_OK) {
        return status;
    }
    if (ask(path, method, target, patience_s, &answer, why, sizeof(why)) != ERR_OK) {
        fprintf(args->err, "weir: %s\n", why);
        return APP_EXIT_FINDINGS;
    }
    bool ok = answer.status == 200;
    fwrite(answer.body, 1, answer.body_len, ok || args->json ? args->out : args->err);
    free(answer.body);
    return ok ? APP_EXIT_OK : APP_EXIT_FINDINGS;
}

static int call(const struct verb_args *args, const char *method, const char *name)
{
    char target[64];
    snprintf(target, sizeof(target), "/api/v1/%s%s", name, args->json ? "" : "?as=text");
    return verb_ask_and_print(args, method, target, ASK_TIMEOUT_S);
}

int verb_status(const struct verb_args *args)
{
    return call(args, "GET", "status");
}

int verb_processors(const struct verb_args *args)
{
    return call(args, "GET", "processors");
}

int verb_limits(const struct verb_args *args)
{
    char target[ASK_TARGET_BYTES_MAX + 1] = "/api/v1/limits";
    bool fits = args->word_count == 0 || query_append(target, sizeof(target), "name", args->words[0]);
    if (!fits || (!args->json && !query_append(target, sizeof(target), "as", "text"))) {
        fprintf(args->err, "weir limits: too long for a name\n");
        return APP_EXIT_USAGE;
    }
    return verb_ask_and_print(args, "GET", target, ASK_TIMEOUT_S);
}

int verb_reload(const struct verb_args *args)
{
    return call(args, "POST", "reload");
}
