/*
 * docs/configuration.md from the key table: one heading a section, one table
 * of its keys, the longer explanations below.
 */
#include <stdio.h>

#include "conf_internal.h"

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "Generated from the key table (`src/conf/keys.def`) by `weir-docgen`; a test fails when they differ.\n"
    "`deploy/weir.yaml` is a commented file to start from, `deploy/weir.schema.json` a schema for editors,\n"
    "`weir check -c FILE` says everything that is wrong with a file, `weir explain KEY` shows one key of this page.\n"
    "\n"
    "The file is YAML 1.2 without anchors, aliases, tags, merge keys, directives, duplicate keys or a second document,\n"
    "in UTF-8, without tabs outside of comments, at most 1 MiB. Every section may be left out. An unknown key is an\n"
    "error.\n"
    "\n"
    "- **Durations** are whole numbers with `ms`, `s`, `m`, `h` or `d`: `5s`. A number alone is an error.\n"
    "- **Sizes** are whole numbers with `B`, `KiB`, `MiB`, `GiB` or `TiB`: `64KiB`.\n"
    "- **Rates** are `COUNT/TIME`, TIME a unit (`ms`, `s`, `m` or `min`, `h` or `hour`, `d` or `day`) or a whole number of\n"
    "  them: `100/s`, `30/60s`, `5/min`, `1/day`.\n"
    "- **Paths** are absolute.\n"
    "- **Names** are up to 63 letters, digits, `-` and `_`, a letter or digit first.\n"
    "- `${env:VARIABLE}` inside double quotes is replaced from the environment when the file is read; a variable that\n"
    "  is not set is an error.\n"
    "\n"
    "Keys marked *restart* change with the next start, all others with a reload.\n";

/* A table's cell: '|' would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            (void)fputc('\\', out);
        }
        (void)fputc(*text, out);
    }
}

static void print_row(FILE *out, const struct conf_row *key)
{
    char text[160];

    (void)fprintf(out, "| `%s` | ", conf_key_name(key));
    print_cell(out, conf_kind_describe(key, text, sizeof(text)));
    (void)fputs(" | ", out);
    if ((key->flags & CONF_REQUIRED) != 0) {
        (void)fputs("*required*", out);
    } else if ((key->flags & CONF_FOLLOWS) != 0) {
        (void)fputs("see below", out);
    } else if (key->fallback != NULL) {
        (void)fprintf(out, "`%s`", key->fallback);
    } else {
        (void)fputs("none", out);
    }
    (void)fputs((key->flags & CONF_RESTART) != 0 ? " | *restart* " : " | ", out);
    print_cell(out, key->help);
    (void)fputs(" |\n", out);
}

static void print_explanations(FILE *out, const struct conf_row *section)
{
    bool any = false;

    for (int i = 0; i < conf_key_count; i++) {
        const struct conf_row *key = &conf_keys[i];

        if (conf_key_is_in(key, section) && !conf_key_is_holder(key) && key->more != NULL) {
            (void)fprintf(out, "%s- `%s`: %s\n", any ? "" : "\n", conf_key_name(key), key->more);
            any = true;
        }
    }
}

static bool has_values(const struct conf_row *section)
{
    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_in(&conf_keys[i], section) && !conf_key_is_holder(&conf_keys[i])) {
            return true;
        }
    }
    return false;
}

static void print_section(FILE *out, const struct conf_row *section)
{
    bool is_root = section == CONF_ROOT;

    if (!is_root) {
        char text[160];

        (void)fprintf(out, "\n%s `%s`\n\n%s%s%s\n", strchr(section->path, '.') == NULL ? "##" : "###", section->path,
                      section->help, section->more != NULL ? " " : "", section->more != NULL ? section->more : "");
        if (section->kind != CONF_SECTION || section->words != NULL) {
            (void)fprintf(out, "Value: %s.\n", conf_kind_describe(section, text, sizeof(text)));
        }
    }
    if (!has_values(section)) {
        return;
    }
    (void)fputs("\n| key | value | default | |\n|---|---|---|---|\n", out);
    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_in(&conf_keys[i], section) && !conf_key_is_holder(&conf_keys[i])) {
            print_row(out, &conf_keys[i]);
        }
    }
    print_explanations(out, section);
}

char *conf_reference_markdown(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL); /* see conf_memory.c */
    (void)fputs(introduction, out);
    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_holder(&conf_keys[i])) {
            print_section(out, &conf_keys[i]);
        }
    }
    CHECK(fclose(out) == 0);
    return text;
}
