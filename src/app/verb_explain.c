/*
 * `weir explain`: the manual of one word, be it a profile, a reason (name or
 * code) or a key of the configuration. An unknown word gets the nearest known.
 */
#include <stdlib.h>
#include <string.h>

#include "suggest_internal.h"
#include "verbs_internal.h"
#include "weir/conf/conf.h"
#include "weir/policy/reason.h"

#define WORD_BYTES 128

/*
 * malloc'ed; NULL: unknown. The operator's own profiles stand in a file that
 * this verb does not read; what a key of one means, it knows.
 */
static char *explain(const char *word)
{
    struct bytes text = bytes_from_text(word);
    if (bytes_starts_with(text, BYTES("profiles.")) && strchr(word + strlen("profiles."), '.') == NULL) {
        const char *profile = conf_profile_text(word + strlen("profiles."));
        if (profile != NULL || strcmp(word, "profiles.NAME") != 0) {
            return profile != NULL ? strdup(profile) : NULL;
        }
    }
    enum reason reason = reason_find(text);
    return reason != REASON_COUNT ? reason_explain(reason) : conf_explain(word);
}

/* What the first pair of backquotes of a line holds; empty: none. */
static struct bytes quoted_in(struct bytes line)
{
    struct bytes rest = bytes_skip(line, bytes_find(line, '`'));
    rest = bytes_skip(rest, 1);
    size_t end = bytes_find(rest, '`');
    return end == SIZE_MAX ? BYTES_NONE : bytes_take(rest, end);
}

/* As people type them: "processors.timeouts.connect", without the name that stands for all. */
static void drop_names(char *key)
{
    static const char NAME[] = ".NAME";
    char *at;
    while ((at = strstr(key, NAME)) != NULL) {
        memmove(at, at + strlen(NAME), strlen(at + strlen(NAME)) + 1);
    }
}

static void offer_key(struct suggest *suggest, struct bytes section, struct bytes name, char kept[WORD_BYTES])
{
    char key[WORD_BYTES];
    struct suggest with = *suggest;
    snprintf(key, sizeof(key), "%.*s%s%.*s", BYTES_ARG(section), section.len > 0 && name.len > 0 ? "." : "",
             BYTES_ARG(name));
    drop_names(key);
    suggest_offer(&with, key);
    if (with.distance >= suggest->distance) {
        return;
    }
    char *known = conf_explain(key);
    if (known != NULL) {
        bytes_to_text(bytes_from_text(key), kept, WORD_BYTES);
        with.nearest = kept;
        *suggest = with;
    }
    free(known);
}

/*
 * Keys come from the manual, which is printed from the key table: headings are
 * sections, the rows of their tables are keys. What conf_explain does not know
 * is not offered.
 */
static void offer_keys(struct suggest *suggest, const char *manual, char kept[WORD_BYTES])
{
    struct bytes rest = bytes_from_text(manual), section = BYTES("");
    while (rest.len > 0) {
        struct bytes line = bytes_take(rest, bytes_find(rest, '\n'));
        rest = bytes_skip(rest, line.len + 1);
        if (bytes_starts_with(line, BYTES("#"))) {
            section = quoted_in(line);
            offer_key(suggest, section, BYTES(""), kept);
        } else if (bytes_starts_with(line, BYTES("| `"))) {
            offer_key(suggest, section, quoted_in(line), kept);
        }
    }
}

static const char *const built_in_profiles[] = {
    "profiles.generic",  "profiles.stripe", "profiles.adyen",
    "profiles.checkout", "profiles.paypal", "profiles.square",
};

static void suggest_known(const struct verb_args *args)
{
    struct suggest suggest;
    char kept_key[WORD_BYTES];
    suggest_begin(&suggest, args->words[0]);
    for (int i = 0; i < REASON_COUNT; i++) {
        suggest_offer(&suggest, reason_name((enum reason)i));
    }
    for (size_t i = 0; i < ARRAY_COUNT(built_in_profiles); i++) {
        suggest_offer(&suggest, built_in_profiles[i]);
    }
    char *manual = conf_reference_markdown();
    if (manual != NULL) {
        offer_keys(&suggest, manual, kept_key);
    }
    fprintf(args->err, "weir explain: '%s' is no key, reason or profile", args->words[0]);
    if (suggest.nearest != NULL) {
        fprintf(args->err, ": did you mean '%s'?", suggest.nearest);
    }
    fprintf(args->err, "\n");
    free(manual);
}

int verb_explain(const struct verb_args *args)
{
    char *text = explain(args->words[0]);
    if (text == NULL) {
        suggest_known(args);
        return APP_EXIT_FINDINGS;
    }
    size_t len = strlen(text);
    fprintf(args->out, "%s%s", text, len > 0 && text[len - 1] == '\n' ? "" : "\n");
    free(text);
    return APP_EXIT_OK;
}
