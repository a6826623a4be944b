/*
 * `weir secret new`: the text of a new secret file, three random keys. It goes
 * to the standard output alone, so that whoever asked decides where it rests.
 */
#include <string.h>

#include "verbs_internal.h"
#include "weir/base/keyring.h"

int verb_secret(const struct verb_args *args)
{
    char text[KEYRING_TEXT_BYTES];
    if (strcmp(args->words[0], "new") != 0) {
        fprintf(args->err, "weir secret: only 'new' is known, not '%s'\nusage: weir secret new\n", args->words[0]);
        return APP_EXIT_USAGE;
    }
    keyring_new_text(text);
    fputs(text, args->out);
    explicit_bzero(text, sizeof(text));
    return APP_EXIT_OK;
}
