/*
 * The key table as data, and finding one's way in it. The rows are in keys.def.
 */
#include <stdio.h>

#include "conf_internal.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define TIB(n) ((uint64_t)(n) << 40)
#define PERCENT(n) ((uint64_t)(n) * 10)
#define MINUTES(n) ((uint64_t)(n) * 60 * 1000)
#define HOURS(n) (MINUTES(n) * 60)
#define DAYS(n) (HOURS(n) * 24)

#define NO_FIELD {.at = SIZE_MAX}
#define FIELD(type, member)                                                                                            \
    {                                                                                                                  \
        .at = offsetof(struct type, member), .bytes = sizeof(((struct type *)0)->member)                               \
    }
#define ARRAY(type, member, count)                                                                                     \
    {                                                                                                                  \
        .at = offsetof(struct type, member), .bytes = sizeof(((struct type *)0)->member),                              \
        .count_at = offsetof(struct type, count), .entry_bytes = sizeof(*((struct type *)0)->member)                   \
    }

const struct conf_row conf_keys[] = {
#define ROW(key_path, key_kind, key_field, key_min, key_max, key_words, key_fallback, key_flags, key_help, key_more)   \
    {.path = key_path,                                                                                                 \
     .kind = CONF_##key_kind,                                                                                          \
     .field = key_field,                                                                                               \
     .min = key_min,                                                                                                   \
     .max = key_max,                                                                                                   \
     .words = key_words,                                                                                               \
     .fallback = key_fallback,                                                                                         \
     .flags = key_flags,                                                                                               \
     .help = key_help,                                                                                                 \
     .more = key_more},
#include "keys.def"
#undef ROW
};

const int conf_key_count = (int)ARRAY_COUNT(conf_keys);

/* Named and listed structs begin with their name: conf_load stores it without a row of its own. */
_Static_assert(offsetof(struct conf_listener, name) == 0, "name comes first");
_Static_assert(offsetof(struct conf_processor, name) == 0, "name comes first");
_Static_assert(offsetof(struct conf_route, name) == 0, "name comes first");
_Static_assert(offsetof(struct conf_profile, name) == 0, "name comes first");
_Static_assert(offsetof(struct conf_limit, name) == 0, "name comes first");
_Static_assert(offsetof(struct conf_limit_tier, name) == 0, "name comes first");

const char *conf_key_name(const struct conf_row *key)
{
    const char *dot = strrchr(key->path, '.');

    return dot == NULL ? key->path : dot + 1;
}

bool conf_key_is_holder(const struct conf_row *key)
{
    return key->kind == CONF_SECTION || key->kind == CONF_SECTIONS || key->kind == CONF_NAMED;
}

/* What stands between the path of a section and the names of its keys: "", ".", ".NAME." or "[].". */
static size_t skip_joint(const struct conf_row *section, const char *rest)
{
    if (section == CONF_ROOT) {
        return 0;
    }
    if (section->kind == CONF_SECTION) {
        return rest[0] == '.' ? 1 : SIZE_MAX;
    }
    if (strncmp(rest, ".NAME.", 6) == 0) {
        return 6;
    }
    return strncmp(rest, "[].", 3) == 0 ? 3 : SIZE_MAX;
}

bool conf_key_is_in(const struct conf_row *key, const struct conf_row *section)
{
    size_t len = strlen(section->path);
    size_t joint;

    if (key == CONF_ROOT || key == section || strncmp(key->path, section->path, len) != 0) {
        return false;
    }
    joint = skip_joint(section, key->path + len);
    return joint != SIZE_MAX && strchr(key->path + len + joint, '.') == NULL;
}

const struct conf_row *conf_key_find(const struct conf_row *section, struct bytes name)
{
    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_in(&conf_keys[i], section) && bytes_equal(bytes_from_text(conf_key_name(&conf_keys[i])), name)) {
            return &conf_keys[i];
        }
    }
    return NULL;
}

const char *conf_key_allowed(const struct conf_row *section, struct conf_memory *memory)
{
    char text[512] = "";

    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_in(&conf_keys[i], section)) {
            conf_append(text, sizeof(text), "%s%s", text[0] == '\0' ? "" : ", ", conf_key_name(&conf_keys[i]));
        }
    }
    return conf_memory_text(memory, bytes_from_text(text));
}
