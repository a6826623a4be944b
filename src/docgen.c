/*
 * weir-docgen: writes the files that are generated from weir's tables into a
 * tree: docs/configuration.md, docs/reasons.md and deploy/weir.schema.json. Tests
 * compare them.
 *
 *   cmake --build --preset dev --target weir-docgen && build-dev/weir-docgen .
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/conf/conf.h"
#include "weir/policy/reason.h"

/* Takes the text over. */
static bool write_text(const char *root, const char *name, char *text)
{
    char path[4096];
    int len = snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *out = len > 0 && (size_t)len < sizeof(path) ? fopen(path, "w") : NULL;
    bool good = out != NULL && fputs(text, out) >= 0;

    if (out != NULL) {
        good = fclose(out) == 0 && good;
    }
    if (!good) {
        perror(name);
    }
    free(text);
    return good;
}

int main(int count, char **arguments)
{
    const char *root = count > 1 ? arguments[1] : ".";
    bool good = write_text(root, "docs/configuration.md", conf_reference_markdown());

    good = write_text(root, "docs/reasons.md", reason_reference_markdown()) && good;
    good = write_text(root, "deploy/weir.schema.json", conf_schema_json()) && good;
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
