/* "did you mean": the nearest of the words that were offered, for whoever refuses a word. */
#ifndef WEIR_APP_SUGGEST_INTERNAL_H
#define WEIR_APP_SUGGEST_INTERNAL_H

#include <stddef.h>

struct suggest {
    const char *word;      /* borrowed: what was typed */
    const char *nearest;   /* borrowed from the offers; NULL: none is near */
    size_t distance;
};
void suggest_begin(struct suggest *suggest, const char *word);
void suggest_offer(struct suggest *suggest, const char *candidate);

#endif
