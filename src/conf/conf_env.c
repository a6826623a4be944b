/*
 * ${env:NAME} inside double quotes takes its text from the environment, for
 * what differs between machines that share a file. It is read once, while the
 * file is loaded. Elsewhere it is an error: whoever writes it means it.
 */
#include <stdlib.h>

#include "conf_internal.h"

#define ENV_NAME_BYTES_MAX 128
#define ENV_TEXT_BYTES_MAX 65536 /* of a scalar after its variables were put in */

static bool is_name(struct bytes name)
{
    if (name.len == 0 || name.len > ENV_NAME_BYTES_MAX || (name.at[0] >= '0' && name.at[0] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.at[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');

        if (!letter && !(byte >= '0' && byte <= '9') && byte != '_') {
            return false;
        }
    }
    return true;
}

static void refuse(struct conf_node *node, struct conf_findings *findings, const char *hint, const char *why)
{
    conf_error(findings, node->place, (struct conf_help){.hint = hint}, "%s", why);
    node->bad = true;
}

/* The value of the variable whose name begins `rest`, which is cut behind its brace. */
static const char *take_variable(struct bytes *rest, struct conf_node *node, struct conf_findings *findings)
{
    size_t end = bytes_find(*rest, '}');
    struct bytes name = bytes_take(*rest, end == SIZE_MAX ? 0 : end);
    char text[ENV_NAME_BYTES_MAX + 1];
    const char *value;

    if (!is_name(name)) {
        refuse(node, findings, "write ${env:NAME}", "'${env:' without a variable's name and '}'");
        return NULL;
    }
    (void)bytes_to_text(name, text, sizeof(text));
    value = getenv(text);
    if (value == NULL) {
        conf_error(findings, node->place, CONF_NO_HELP, "the environment has no variable '%s'", text);
        node->bad = true;
        return NULL;
    }
    *rest = bytes_skip(*rest, end + 1);
    return value;
}

/* Puts the variables in; with `into` NULL it only measures. Returns the length, SIZE_MAX when something was reported. */
static size_t expand(struct conf_node *node, char *into, struct conf_findings *findings)
{
    struct bytes opening = BYTES("${env:");
    struct bytes rest = node->text;
    size_t len = 0;

    for (;;) {
        struct bytes literal = bytes_take(rest, bytes_find_text(rest, opening));
        const char *value;

        if (into != NULL && literal.len > 0) {
            memcpy(into + len, literal.at, literal.len);
        }
        len += literal.len;
        if (literal.len == rest.len) {
            return len;
        }
        rest = bytes_skip(rest, literal.len + opening.len);
        value = take_variable(&rest, node, findings);
        if (value == NULL) {
            return SIZE_MAX;
        }
        if (into != NULL) {
            memcpy(into + len, value, strlen(value));
        }
        len += strlen(value);
        if (len > ENV_TEXT_BYTES_MAX) {
            refuse(node, findings, NULL, "the variables make this value longer than 64KiB");
            return SIZE_MAX;
        }
    }
}

void conf_env_expand(struct conf_node *node, struct conf_memory *memory, struct conf_findings *findings)
{
    size_t len;
    char *text;

    if (bytes_find_text(node->text, BYTES("${env:")) == SIZE_MAX) {
        return;
    }
    if (!node->double_quoted) {
        refuse(node, findings, "write \"...\" around it", "'${env:' is only read inside double quotes");
        return;
    }
    len = expand(node, NULL, findings);
    if (len == SIZE_MAX) {
        return;
    }
    text = conf_memory_take(memory, len + 1);
    (void)expand(node, text, findings);
    node->text = bytes_of(text, len);
}
