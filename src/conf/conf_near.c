/*
 * 'did you mean': the nearest of the names that would have been right.
 */
#include "conf_internal.h"

#define NEAR_BYTES_MAX 64 /* longer names are not compared */

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insert, delete, replace, and the swap of two neighbours each cost 1. */
int conf_near_distance(struct bytes a, struct bytes b, int most)
{
    int rows[3][NEAR_BYTES_MAX + 1];

    if (a.len > NEAR_BYTES_MAX || b.len > NEAR_BYTES_MAX) {
        return most + 1;
    }
    for (int j = 0; j <= (int)b.len; j++) {
        rows[0][j] = j;
    }
    for (int i = 1; i <= (int)a.len; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3];
        const int *two_above = rows[(i + 1) % 3];

        row[0] = i;
        for (int j = 1; j <= (int)b.len; j++) {
            int differs = lower(a.at[i - 1]) != lower(b.at[j - 1]) ? 1 : 0;

            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + differs);
            if (i > 1 && j > 1 && lower(a.at[i - 1]) == lower(b.at[j - 2]) && lower(a.at[i - 2]) == lower(b.at[j - 1])) {
                row[j] = least(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return least(rows[a.len % 3][b.len], most + 1);
}

bool conf_near_offer(struct conf_near *near, struct bytes candidate)
{
    size_t longer = near->text.len > candidate.len ? near->text.len : candidate.len;
    int most = (int)(longer / 3) + (longer < 3 ? 1 : 0);
    int distance = conf_near_distance(near->text, candidate, most);

    if (distance > most || (near->best.at != NULL && distance >= near->distance)) {
        return false;
    }
    near->best = candidate;
    near->distance = distance;
    return true;
}
