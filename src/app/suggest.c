/*
 * "did you mean": the candidate at the smallest edit distance (insert, delete,
 * replace, swap of neighbours), if it is small for the word's length.
 */
#include "suggest_internal.h"

#include <stdint.h>
#include <string.h>

#define WORD_BYTES_MAX 96

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Rows of the classic table; only the last three are needed for the swap. */
static size_t distance_between(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][WORD_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], second[j - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

void suggest_begin(struct suggest *suggest, const char *word)
{
    *suggest = (struct suggest){.word = word, .distance = SIZE_MAX};
}

void suggest_offer(struct suggest *suggest, const char *candidate)
{
    size_t word_len = strlen(suggest->word), len = strlen(candidate);
    if (word_len > WORD_BYTES_MAX || len > WORD_BYTES_MAX) {
        return;
    }
    size_t distance = distance_between(suggest->word, word_len, candidate, len);
    /* A third of the word may be wrong, or one letter of a short one. */
    size_t distance_max = word_len / 3 > 1 ? word_len / 3 : 1;
    if (distance <= distance_max && distance < suggest->distance) {
        suggest->distance = distance;
        suggest->nearest = candidate;
    }
}
