/*
 * From a file to a struct conf: reads it, has it parsed into a tree, and walks
 * the tree by the key table, which says what each key is and where its value
 * goes. Whatever is not written gets its default from the same rows. Rules that
 * look at more than one key are conf_check's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/digest.h"

#include "conf_internal.h"

/* ---- messages ---- */

/* "'time_outs' in processors.acme"; the file itself has no name of its own. */
static const char *in_where(const char *where)
{
    return where[0] == '\0' ? "at the top level" : where;
}

static void report_unknown(struct conf_run *run, const struct conf_row *section, const struct conf_node *node,
                           const char *where)
{
    struct conf_near near = {.text = node->key};
    struct conf_help help = {.allowed = conf_key_allowed(section, run->memory)};
    char hint[128] = "";
    char shown[CONF_SHOWN_BYTES];

    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_in(&conf_keys[i], section)) {
            (void)conf_near_offer(&near, bytes_from_text(conf_key_name(&conf_keys[i])));
        }
    }
    if (near.best.at != NULL) {
        conf_append(hint, sizeof(hint), "did you mean '%.*s'?", BYTES_ARG(near.best));
    }
    help.hint = hint;
    conf_error(run->findings, node->key_place, help, "unknown key '%s' %s%s", conf_shown(node->key, shown),
               where[0] == '\0' ? "" : "in ", in_where(where));
}

static void report_missing(struct conf_run *run, const struct conf_row *key, const struct conf_node *node,
                           const char *where)
{
    struct conf_place place = node->key.at != NULL ? node->key_place : node->place;
    char hint[128] = "";

    if (key->kind == CONF_COUNT) {
        conf_append(hint, sizeof(hint), "write '%s: %llu'", conf_key_name(key), (unsigned long long)key->max);
    }
    conf_error(run->findings, where[0] == '\0' ? (struct conf_place){.line = 0} : place, (struct conf_help){.hint = hint},
               "missing key '%s' %s%s", conf_key_name(key), where[0] == '\0' ? "" : "in ", in_where(where));
}

static void report_value(struct conf_run *run, struct conf_node *node, const char *where, const struct conf_fault *fault)
{
    char shown[CONF_SHOWN_BYTES];

    conf_error(run->findings, node->place, (struct conf_help){.hint = fault->hint, .allowed = fault->allowed},
               "'%s' for %s %s", conf_shown(node->text, shown), where, fault->what);
    node->bad = true;
}

static void report_shape(struct conf_run *run, struct conf_node *node, const char *where, const char *what,
                         const char *hint)
{
    struct conf_place place = node->kind == CONF_NODE_SCALAR || node->key.at == NULL ? node->place : node->key_place;

    conf_error(run->findings, place, (struct conf_help){.hint = hint}, "%s must be %s", where, what);
    node->bad = true;
}

/* ---- walking ---- */

static void load_section(struct conf_run *run, const struct conf_row *section, struct conf_node *node, char *base,
                         const char *where);

static void *field_of(const struct conf_row *key, char *base)
{
    /* What goes nowhere (version, the name of a processor) is parsed for its errors alone. */
    static _Thread_local char nowhere[sizeof(struct addr_listen)] __attribute__((aligned(16)));

    return key->field.at == SIZE_MAX ? nowhere : base + key->field.at;
}

/* Room for `count` entries of an array, which replaces what was there. */
static char *set_array(struct conf_run *run, const struct conf_row *key, size_t count, char *base)
{
    char *entries = count > 0 ? conf_memory_take(run->memory, count * key->field.entry_bytes) : NULL;

    *(void **)(void *)(base + key->field.at) = entries;
    *(int *)(void *)(base + key->field.count_at) = (int)count;
    return entries;
}

static void set_default_list(struct conf_run *run, const struct conf_row *key, char *base)
{
    struct bytes rest = bytes_from_text(key->fallback);
    struct bytes entry;
    struct conf_fault fault;
    size_t count = 0;
    char *at;

    while (conf_list_next(&rest, &entry)) {
        count++;
    }
    rest = bytes_from_text(key->fallback);
    at = set_array(run, key, count, base);
    for (; conf_list_next(&rest, &entry); at += key->field.entry_bytes) {
        CHECK(conf_kind_parse(key, entry, run->memory, at, &fault));
    }
}

static void set_default(struct conf_run *run, const struct conf_row *key, char *base)
{
    struct conf_fault fault;

    if (key->fallback == NULL || run->keeps_absent) {
        return;
    }
    if (!conf_kind_is_list(key->kind)) {
        CHECK(conf_kind_parse(key, bytes_from_text(key->fallback), run->memory, field_of(key, base), &fault));
    } else if (key->field.at != SIZE_MAX) {
        set_default_list(run, key, base);
    }
}

static void load_scalar(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                        const char *where)
{
    char what[64] = "a ";
    char hint[128];
    struct conf_fault fault;

    set_default(run, key, base);
    if (node->kind != CONF_NODE_SCALAR || conf_node_empty(node)) {
        conf_append(what, sizeof(what), "%s", "single value");
        report_shape(run, node, where, what, conf_kind_describe(key, hint, sizeof(hint)));
        return;
    }
    if (!node->bad && !conf_kind_parse(key, node->text, run->memory, field_of(key, base), &fault)) {
        report_value(run, node, where, &fault);
    }
}

/*
 * Makes room for a list's or map's entries; what is more than the key allows is
 * reported and left out. Returns how many entries there is room for at
 * *entries; those of a list that goes nowhere share one place.
 */
static int take_entries(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                        const char *where, char **entries)
{
    uint64_t count = (uint64_t)node->count;

    if (count > key->max || count < key->min) {
        char what[48] = "";

        conf_append(what, sizeof(what), key->kind == CONF_NAMED ? "at most %llu entries" : "a list of %llu to %llu entries",
                    (unsigned long long)(key->kind == CONF_NAMED ? key->max : key->min), (unsigned long long)key->max);
        report_shape(run, node, where, what, NULL);
    }
    count = count > key->max ? key->max : count;
    *entries = key->field.at == SIZE_MAX ? field_of(key, base) : set_array(run, key, (size_t)count, base);
    return (int)count;
}

/* One of a list of values. */
static void load_entry(struct conf_run *run, const struct conf_row *key, struct conf_node *entry, char *at,
                       const char *where)
{
    struct conf_fault fault;

    if (entry->kind != CONF_NODE_SCALAR) {
        report_shape(run, entry, where, "a single value", NULL);
    } else if (!entry->bad && !conf_kind_parse(key, entry->text, run->memory, at, &fault)) {
        report_value(run, entry, where, &fault);
    }
}

/* Addresses, statuses and their like: every entry a scalar. */
static void load_values(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                        const char *where)
{
    char *entries;
    int count;

    if ((key->flags & CONF_ALONE) != 0 && node->kind == CONF_NODE_SCALAR && !conf_node_empty(node)) {
        load_entry(run, key, node, set_array(run, key, 1, base), where);
        return;
    }
    if (node->kind != CONF_NODE_LIST) {
        report_shape(run, node, where, "a list", "write [..., ...]");
        return;
    }
    count = take_entries(run, key, node, base, where, &entries);
    for (int i = 0; i < count; i++) {
        struct conf_node *entry = conf_node_entry(node, i);
        char entry_where[CONF_WHERE_BYTES] = "";

        conf_append(entry_where, sizeof(entry_where), "%s[%d]", where, i);
        load_entry(run, key, entry, entries + (size_t)i * key->field.entry_bytes, entry_where);
        node->bad = node->bad || entry->bad;
    }
}

/* "listeners.public" when the entry has a name, else "listeners[0]". */
static void entry_where(char text[CONF_WHERE_BYTES], const char *where, const struct conf_node *entry, int index)
{
    const struct conf_node *name = conf_node_member(entry, "name");
    char shown[CONF_SHOWN_BYTES];

    text[0] = '\0';
    if (name != NULL && name->kind == CONF_NODE_SCALAR && name->text.len > 0) {
        conf_append(text, CONF_WHERE_BYTES, "%s.%s", where, conf_shown(name->text, shown));
    } else {
        conf_append(text, CONF_WHERE_BYTES, "%s[%d]", where, index);
    }
}

/* One value where a list of sections may stand is its only entry's: `retention: 24h`. */
static void load_alone(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                       const char *where)
{
    char *entry = set_array(run, key, 1, base);

    load_section(run, key, NULL, entry, where);
    load_scalar(run, conf_key_find(key, bytes_from_text(key->words)), node, entry, where);
}

static void load_list(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                      const char *where)
{
    char *entries;
    int count;
    int index = 0;

    if (key->words != NULL && node->kind == CONF_NODE_SCALAR && !conf_node_empty(node)) {
        load_alone(run, key, node, base, where);
        return;
    }
    if (node->kind != CONF_NODE_LIST && !conf_node_empty(node)) {
        report_shape(run, node, where, "a list", "begin each entry with '- '");
        return;
    }
    count = take_entries(run, key, node, base, where, &entries);
    for (struct conf_node *entry = node->first; entry != NULL && index < count; entry = entry->next, index++) {
        char text[CONF_WHERE_BYTES];

        entry_where(text, where, entry, index);
        load_section(run, key, entry, entries + (size_t)index * key->field.entry_bytes, text);
    }
}

static bool entries_are_profiles(const struct conf_row *key)
{
    return key->field.entry_bytes == sizeof(struct conf_profile) && strcmp(key->path, "profiles") == 0;
}

/* The key of the entry is its name; it is checked as routes.NAME.to is, which is how others write it. */
void conf_load_named(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                     const char *where)
{
    const struct conf_row *as_name = conf_key_find(conf_key_find(CONF_ROOT, BYTES("routes")), BYTES("to"));
    char *entries;
    int count;
    int index = 0;

    if (node->kind != CONF_NODE_MAP && !conf_node_empty(node)) {
        report_shape(run, node, where, "a map from names to sections", "write NAME: and its keys below");
        return;
    }
    count = take_entries(run, key, node, base, where, &entries);
    for (struct conf_node *entry = node->first; entry != NULL && index < count; entry = entry->next, index++) {
        char *at = entries + (size_t)index * key->field.entry_bytes;
        char text[CONF_WHERE_BYTES] = "";
        char shown[CONF_SHOWN_BYTES];
        struct conf_fault fault;

        conf_append(text, sizeof(text), "%s.%s", where, conf_shown(entry->key, shown));
        if (!conf_kind_parse(as_name, entry->key, run->memory, field_of(as_name, NULL), &fault)) {
            conf_error(run->findings, entry->key_place, (struct conf_help){.hint = fault.hint}, "'%s' in %s %s", shown,
                       where, fault.what);
        }
        run->keeps_absent = entries_are_profiles(key) && conf_profile_begin(run, (struct conf_profile *)(void *)at, entry);
        *(const char **)(void *)at = conf_memory_text(run->memory, entry->key);
        load_section(run, key, entry, at, text);
        run->keeps_absent = false;
    }
}

/* A section, or the word that stands for it. */
static void load_section_or_word(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                                 const char *where)
{
    struct conf_fault fault;

    if (key->words != NULL && node->kind == CONF_NODE_SCALAR && !conf_node_empty(node)) {
        load_section(run, key, NULL, base, where);
        if (!node->bad && !conf_kind_parse(key, node->text, run->memory, field_of(key, base), &fault)) {
            report_value(run, node, where, &fault);
        }
        return;
    }
    if (key->field.at != SIZE_MAX) {
        *(bool *)field_of(key, base) = true;
    }
    load_section(run, key, node, base, where);
}

static void load_key(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                     const char *where)
{
    switch (key->kind) {
    case CONF_SECTION:
        load_section_or_word(run, key, node, base, where);
        break;
    case CONF_SECTIONS:
        load_list(run, key, node, base, where);
        break;
    case CONF_NAMED:
        conf_load_named(run, key, node, base, where);
        break;
    default:
        if (conf_kind_is_list(key->kind)) {
            load_values(run, key, node, base, where);
        } else {
            load_scalar(run, key, node, base, where);
        }
    }
}

/* What the section does not say: defaults, or a finding. With `node` NULL the whole section is absent. */
static void load_absent(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                        const char *where)
{
    if (key->kind == CONF_SECTION) {
        load_section(run, key, NULL, base, where);
    } else if (!conf_key_is_holder(key)) {
        set_default(run, key, base);
    }
    if ((key->flags & CONF_REQUIRED) != 0 && node != NULL && !node->bad) {
        report_missing(run, key, node, where);
    }
}

static void load_members(struct conf_run *run, const struct conf_row *section, struct conf_node *node, char *base,
                         const char *where)
{
    for (struct conf_node *member = node->first; member != NULL; member = member->next) {
        const struct conf_row *key = conf_key_find(section, member->key);
        char text[CONF_WHERE_BYTES] = "";

        if (key == NULL) {
            report_unknown(run, section, member, where);
            continue;
        }
        conf_append(text, sizeof(text), "%s%s%s", where, where[0] == '\0' ? "" : ".", conf_key_name(key));
        load_key(run, key, member, base, text);
    }
}

/* `base` is the struct that the section's keys belong to; NULL `node`: the section is absent. */
static void load_section(struct conf_run *run, const struct conf_row *section, struct conf_node *node, char *base,
                         const char *where)
{
    if (node != NULL && node->kind != CONF_NODE_MAP && !conf_node_empty(node)) {
        if (!node->bad) {
            report_shape(run, node, where[0] == '\0' ? "the file" : where, "a section of keys", "write KEY: VALUE");
        }
    } else if (node != NULL) {
        load_members(run, section, node, base, where);
    }
    for (int i = 0; i < conf_key_count; i++) {
        const struct conf_row *key = &conf_keys[i];

        if (conf_key_is_in(key, section) && conf_node_member(node, conf_key_name(key)) == NULL) {
            load_absent(run, key, node, base, where);
        }
    }
}

/* ---- the text ---- */

static void set_digest(struct conf *conf, struct bytes text)
{
    uint8_t digest[DIGEST_BYTES];

    digest_sha256(text, digest);
    digest_hex(digest, sizeof(digest), conf->sha256);
}

/* An editor's byte order mark says nothing: the file is UTF-8. */
static struct bytes skip_mark(struct bytes text)
{
    struct bytes mark = BYTES("\xef\xbb\xbf");

    return bytes_starts_with(text, mark) ? bytes_skip(text, mark.len) : text;
}

static struct conf *conf_new(const char *path, struct bytes text)
{
    struct conf_memory *memory = conf_memory_open();
    struct conf *conf = conf_memory_take(memory, sizeof(*conf));

    conf->memory = memory;
    conf->path = conf_memory_text(memory, bytes_from_text(path));
    set_digest(conf, text);
    return conf;
}

static void load_tree(struct conf_run *run, struct bytes source)
{
    struct conf_text text;

    conf_text_index(&text, source, run->memory);
    if (!conf_text_check(&text, run->findings)) {
        return;
    }
    run->root = conf_tree_parse(&text, run->memory, run->findings);
    if (run->root == NULL) {
        return;
    }
    run->conf->root = run->root;
    conf_profiles_open(run);
    load_section(run, CONF_ROOT, run->root, (char *)run->conf, "");
    conf_profiles_finish(run);
    conf_finish(run);
    conf_idempotency_finish(run);
    conf_limits_finish(run);
    conf_check(run);
}

struct conf *conf_load_text(const char *path, struct bytes text, struct conf_findings *findings)
{
    struct conf *conf = conf_new(path, text);
    struct conf_run run = {.conf = conf, .memory = conf->memory, .findings = findings};

    conf_findings_source(findings, path, text.len <= CONF_TEXT_BYTES_MAX ? skip_mark(text) : BYTES_NONE);
    if (text.len > CONF_TEXT_BYTES_MAX) {
        conf_error(findings, (struct conf_place){.line = 0}, CONF_NO_HELP, "larger than 1MiB");
    } else {
        load_tree(&run, skip_mark(text));
    }
    if (conf_findings_errors(findings) > 0) {
        conf_free(conf);
        return NULL;
    }
    return conf;
}

void conf_free(struct conf *conf)
{
    if (conf != NULL) {
        conf_memory_close(conf->memory);
    }
}

/* ---- the file ---- */

/* Reads at most `size` bytes. -1: errno says why. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    if (fd < 0) {
        return -1;
    }
    while (len < size) {
        ssize_t got = read(fd, text + len, size - len);

        if (got < 0 && errno != EINTR) {
            int why = errno;

            (void)close(fd);
            errno = why;
            return -1;
        }
        if (got == 0) {
            break;
        }
        len += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd); /* only read from */
    return (ssize_t)len;
}

struct conf *conf_load(const char *path, struct conf_findings *findings)
{
    size_t size = CONF_TEXT_BYTES_MAX + 1; /* one more tells what is too large */
    char *text = malloc(size);
    struct conf *conf = NULL;
    ssize_t len;

    CHECK(text != NULL); /* see conf_memory.c */
    len = read_file(path, text, size);
    if (len < 0) {
        const char *why = strerrordesc_np(errno);

        conf_findings_source(findings, path, BYTES_NONE);
        conf_error(findings, (struct conf_place){.line = 0}, CONF_NO_HELP, "cannot be read: %s",
                   why != NULL ? why : "unknown error");
    } else {
        conf = conf_load_text(path, bytes_of(text, (size_t)len), findings);
    }
    free(text);
    return conf;
}
