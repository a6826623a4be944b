/*
 * `weir explain KEY`: the manual of one key from its row. A key may be written
 * as the table has it, with real names and indexes, without them, or as the
 * end of a path; when several keys end so, they are listed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "conf_internal.h"

#define PARTS_MAX 12

/* A path in parts: names, "NAME" and "[]". */
struct parts {
    struct bytes at[PARTS_MAX];
    int count;
};

/* False: longer than any key. */
static bool split(const char *path, struct parts *parts)
{
    parts->count = 0;
    while (*path != '\0') {
        size_t len;

        path += *path == '.' ? 1 : 0;
        len = strcspn(path + (*path == '[' ? 1 : 0), ".[") + (*path == '[' ? 1 : 0);
        if (parts->count == PARTS_MAX) {
            return false;
        }
        if (len > 0) {
            parts->at[parts->count++] = bytes_of(path, len);
        }
        path += len;
    }
    return parts->count > 0;
}

static bool is_index(struct bytes part)
{
    return part.len > 0 && part.at[0] == '[';
}

/* The parts of a row that stand for what an operator chose; they may be left out of a question. */
static bool is_any(struct bytes part)
{
    return is_index(part) || bytes_equal(part, BYTES("NAME"));
}

/* Whether the question from part `i` on is the row from part `j` on. */
static bool matches(const struct parts *question, int i, const struct parts *row, int j)
{
    if (j == row->count) {
        return i == question->count;
    }
    if (is_any(row->at[j]) && matches(question, i, row, j + 1)) {
        return true;
    }
    if (i == question->count) {
        return false;
    }
    if (is_any(row->at[j]) || bytes_equal(question->at[i], row->at[j])) {
        return matches(question, i + 1, row, j + 1);
    }
    return false;
}

/* "processors.acme" asks for what stands below processors. */
static bool matches_entry(const struct parts *question, const struct parts *row, const struct conf_row *key)
{
    struct parts longer = *row;

    if ((key->kind != CONF_SECTIONS && key->kind != CONF_NAMED) || longer.count == PARTS_MAX) {
        return false;
    }
    longer.at[longer.count++] = BYTES("NAME");
    return matches(question, 0, &longer, 0);
}

enum strictness { WHOLE, ENTRY, END };

static bool fits(const struct parts *question, const struct conf_row *key, enum strictness strictness)
{
    struct parts row;

    if (key == CONF_ROOT || !split(key->path, &row)) {
        return false;
    }
    switch (strictness) {
    case WHOLE:
        return matches(question, 0, &row, 0);
    case ENTRY:
        return matches_entry(question, &row, key);
    default:
        break;
    }
    for (int j = 1; j < row.count; j++) {
        if (!is_any(row.at[j]) && matches(question, 0, &row, j)) {
            return true;
        }
    }
    return false;
}

/* The first row that fits, and how many do. */
static const struct conf_row *find_first(const struct parts *question, enum strictness strictness, int *count)
{
    const struct conf_row *found = NULL;

    *count = 0;
    for (int i = 0; i < conf_key_count; i++) {
        if (fits(question, &conf_keys[i], strictness)) {
            found = found == NULL ? &conf_keys[i] : found;
            (*count)++;
        }
    }
    return found;
}

/* ---- printing ---- */

static int longest_name(const struct conf_row *section)
{
    size_t longest = 15;

    for (int i = 0; i < conf_key_count; i++) {
        size_t len = conf_key_is_in(&conf_keys[i], section) ? strlen(conf_key_name(&conf_keys[i])) : 0;

        longest = len > longest ? len : longest;
    }
    return (int)longest;
}

static void print_keys(FILE *out, const struct conf_row *section)
{
    int width = longest_name(section);

    (void)fputs("\nkeys\n", out);
    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_in(&conf_keys[i], section)) {
            (void)fprintf(out, "  %-*s %s\n", width, conf_key_name(&conf_keys[i]), conf_keys[i].help);
        }
    }
}

static void print_key(FILE *out, const struct conf_row *key)
{
    char text[160];
    bool is_section = key->kind == CONF_SECTION;

    (void)fprintf(out, "%s\n  %s\n\n", key->path, key->help);
    (void)fprintf(out, "value    %s\n", conf_kind_describe(key, text, sizeof(text)));
    if ((key->flags & CONF_REQUIRED) != 0) {
        (void)fputs("default  none: it must be written\n", out);
    } else if ((key->flags & CONF_FOLLOWS) != 0) {
        (void)fputs("default  follows from other keys\n", out);
    } else if (!is_section) {
        (void)fprintf(out, "default  %s\n", key->fallback != NULL ? key->fallback : "none");
    }
    (void)fprintf(out, "reload   %s\n",
                  (key->flags & CONF_RESTART) != 0 ? "no: a change waits for the next start" : "yes");
    if (key->more != NULL) {
        (void)fprintf(out, "\n%s\n", key->more);
    }
    if (conf_key_is_holder(key)) {
        print_keys(out, key);
    }
}

static void print_candidates(FILE *out, const struct parts *question, const char *asked)
{
    (void)fprintf(out, "%s is the end of several keys:\n", asked);
    for (int i = 0; i < conf_key_count; i++) {
        if (fits(question, &conf_keys[i], END)) {
            (void)fprintf(out, "  %-40s %s\n", conf_keys[i].path, conf_keys[i].help);
        }
    }
}

char *conf_explain(const char *key)
{
    struct parts question;
    const struct conf_row *found;
    bool several = false;
    int count;
    char *text = NULL;
    size_t size = 0;
    FILE *out;

    if (!split(key, &question)) {
        return NULL;
    }
    found = find_first(&question, WHOLE, &count);
    /* Before ENTRY: limits.body is the end of a listener's key, and no limit that somebody calls body. */
    if (found == NULL) {
        found = find_first(&question, END, &count);
        several = count > 1;
    }
    if (found == NULL) {
        found = find_first(&question, ENTRY, &count);
    }
    if (found == NULL) {
        return NULL;
    }
    out = open_memstream(&text, &size);
    CHECK(out != NULL); /* see conf_memory.c */
    if (several) {
        print_candidates(out, &question, key);
    } else {
        print_key(out, found);
    }
    CHECK(fclose(out) == 0);
    return text;
}
