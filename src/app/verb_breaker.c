/*
 * `weir breaker PROCESSOR`: shows its breakers, or takes an operator's word on
 * them. What can be judged here is, before anybody is asked; the process
 * answers, also with what is wrong.
 */
#include "processors_internal.h"
#include "verbs_internal.h"
#include "weir/app/ask.h"
#include "weir/app/query.h"

static int refuse(const struct verb_args *args, const char *what)
{
    fprintf(args->err,
            "weir breaker: %s\n"
            "usage: weir breaker PROCESSOR\n"
            "       weir breaker PROCESSOR open|closed --for 30m --why TEXT\n"
            "       weir breaker PROCESSOR auto --why TEXT\n",
            what);
    return APP_EXIT_USAGE;
}

/* What is wrong with an order; NULL: nothing. */
static const char *complaint(const struct verb_args *args, char words[BREAKER_ORDER_WORDS_BYTES])
{
    struct breaker_order order;
    if (!breaker_order_read(args->word_count > 1 ? args->words[1] : NULL, args->duration, &order, words)) {
        return words;
    }
    if (args->why == NULL || args->why[0] == '\0') {
        return "--why TEXT is missing: this is written down with its reason";
    }
    if (strlen(args->why) > BREAKER_ORDER_WHY_BYTES_MAX) {
        snprintf(words, BREAKER_ORDER_WORDS_BYTES, "--why is longer than %d bytes", BREAKER_ORDER_WHY_BYTES_MAX);
        return words;
    }
    return NULL;
}

/* A name that needs no escape, or it is no processor's. */
static bool is_name(const char *text)
{
    return text[0] != '\0' &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] == '\0';
}

int verb_breaker(const struct verb_args *args)
{
    char target[ASK_TARGET_BYTES_MAX + 1], words[BREAKER_ORDER_WORDS_BYTES];
    bool orders = args->word_count > 1 || args->duration != NULL || args->why != NULL;
    const char *wrong = orders ? complaint(args, words) : NULL;
    if (wrong != NULL) {
        return refuse(args, wrong);
    }
    if (!is_name(args->words[0])) {
        return refuse(args, "that is no processor's name: letters, digits, '-' and '_'");
    }
    bool fits = snprintf(target, sizeof(target), "/api/v1/processors/%s/breaker", args->words[0]) < (int)sizeof(target);
    if (orders) {
        fits = fits && query_append(target, sizeof(target), "state", args->words[1]) &&
               (args->duration == NULL || query_append(target, sizeof(target), "for", args->duration)) &&
               query_append(target, sizeof(target), "why", args->why);
    }
    if (!fits || (!args->json && !query_append(target, sizeof(target), "as", "text"))) {
        return refuse(args, "too long");
    }
    return verb_ask_and_print(args, orders ? "POST" : "GET", target, ASK_TIMEOUT_S);
}
