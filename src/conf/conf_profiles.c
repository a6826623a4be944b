/*
 * Profiles: how processors' APIs behave. Those that come with weir are YAML
 * files in profiles/, put into the program at build and read by the same key
 * table as the operator's own, which may begin as one of them (`like`). What a
 * profile then means is policy's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "conf_internal.h"
#include "profiles.h"

static const struct {
    const char *name, *text;
} texts[] = {
#define ROW(name) {#name, embedded_##name},
    EMBEDDED_EACH(ROW)
#undef ROW
};

_Static_assert(offsetof(struct conf_profile, key_bytes_max) == offsetof(struct conf_profile, key_bytes_min) + 4,
               "the two ends of a range stand together");

const char *conf_profile_name(int index)
{
    return index >= 0 && (size_t)index < ARRAY_COUNT(texts) ? texts[index].name : NULL;
}

const char *conf_profile_text(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (strcmp(texts[i].name, name) == 0) {
            return texts[i].text;
        }
    }
    return NULL;
}

static struct conf_profile *find(struct conf_profile *profiles, int count, struct bytes name)
{
    for (int i = 0; i < count; i++) {
        if (bytes_equal(bytes_from_text(profiles[i].name), name)) {
            return &profiles[i];
        }
    }
    return NULL;
}

/* ---- methods ---- */

static bool has_entry(const struct conf_node *list, const char *text)
{
    for (const struct conf_node *entry = list->first; entry != NULL; entry = entry->next) {
        if (bytes_equal(entry->text, bytes_from_text(text))) {
            return true;
        }
    }
    return false;
}

static void settle_methods(struct conf_run *run, struct conf_profile *profile, const struct conf_node *node,
                           const char *where)
{
    const struct conf_node *methods = conf_node_member(node, "methods");

    if (methods == NULL || methods->bad) {
        return;
    }
    profile->keys_put = has_entry(methods, "PUT");
    profile->keys_delete = has_entry(methods, "DELETE");
    if (!has_entry(methods, "POST") || !has_entry(methods, "PATCH")) {
        conf_error(run->findings, methods->key_place, (struct conf_help){.hint = "POST and PATCH always carry keys"},
                   "%s.methods leaves one out that carries keys", where);
    }
}

/* ---- the rules of one profile ---- */

static void check_retention(struct conf_run *run, const struct conf_profile *profile, const struct conf_node *node,
                            const char *where)
{
    const struct conf_node *retention = conf_node_member(node, "retention");
    bool whole = false;

    if (conf_bad_in(node, "retention") || conf_bad_in(node, "deduplicates")) {
        return;
    }
    if (profile->deduplicates && profile->retention_count == 0) {
        conf_error(run->findings, conf_place_in(node, "deduplicates"),
                   (struct conf_help){.hint = "add retention: what its documentation promises"},
                   "%s de-duplicates and does not say for how long", where);
    }
    if (!profile->deduplicates && retention != NULL) {
        conf_warning(run->findings, conf_place_in(node, "retention"), (struct conf_help){.hint = "deduplicates is false"},
                     "%s.retention has no effect", where);
    }
    for (int i = 0; i < profile->retention_count && retention != NULL; i++) {
        const struct conf_node *entry = conf_node_entry(retention, i);

        if (whole) {
            conf_error(run->findings, entry->key_place, CONF_NO_HELP,
                       "%s.retention[%d] can never fit: an entry before it is for every path", where, i);
        }
        whole = whole || profile->retentions[i].path == NULL;
    }
}

static void check_not_executed(struct conf_run *run, const struct conf_profile *profile, const struct conf_node *node,
                               const char *where)
{
    const struct conf_node *codes = conf_node_member(node, "not_executed");

    for (int i = 0; codes != NULL && !codes->bad && i < profile->not_executed_count; i++) {
        if (profile->not_executed[i].low <= 299) {
            conf_error(run->findings, conf_node_entry(codes, i)->place,
                       (struct conf_help){.hint = "its key would be free for a second payment"},
                       "%s.not_executed takes a success for nothing", where);
        }
    }
}

static void check_profile(struct conf_run *run, const struct conf_profile *profile, const struct conf_node *node)
{
    char where[CONF_WHERE_BYTES] = "";

    conf_append(where, sizeof(where), "profiles.%s", profile->name);
    check_retention(run, profile, node, where);
    check_not_executed(run, profile, node, where);
}

/* ---- the built-in ones ---- */

static struct conf_node *parse_built_in(struct conf_run *run, const char *source)
{
    struct conf_text text;

    conf_text_index(&text, bytes_from_text(source), run->memory);
    run->root = conf_text_check(&text, run->findings) ? conf_tree_parse(&text, run->memory, run->findings) : NULL;
    return conf_node_member(run->root, "profiles");
}

static void read_built_in(struct conf_profile *profile, const char *name, const char *source, struct conf_memory *memory)
{
    struct conf conf = {0};
    struct conf_run run = {.conf = &conf, .memory = memory, .findings = conf_findings_open()};
    struct conf_node *node;

    conf_findings_source(run.findings, name, bytes_from_text(source));
    node = parse_built_in(&run, source);
    if (node != NULL) {
        conf_load_named(&run, conf_key_find(CONF_ROOT, BYTES("profiles")), node, (char *)&conf, "profiles");
    }
    for (int i = 0; i < conf.profile_count; i++) {
        settle_methods(&run, &conf.profiles[i], conf_node_entry(node, i), name);
        check_profile(&run, &conf.profiles[i], conf_node_entry(node, i));
    }
    if (conf_findings_count(run.findings) > 0) {
        char *shown = conf_findings_text(run.findings);

        (void)fputs(shown, stderr);
        free(shown);
    }
    CHECK(conf_findings_count(run.findings) == 0 && conf.profile_count == 1);
    CHECK(strcmp(conf.profiles[0].name, name) == 0);
    *profile = conf.profiles[0];
    profile->built_in = true;
    conf_findings_close(run.findings);
}

void conf_profiles_open(struct conf_run *run)
{
    run->built_in_count = (int)ARRAY_COUNT(texts);
    run->built_in = conf_memory_take(run->memory, sizeof(run->built_in[0]) * ARRAY_COUNT(texts));
    for (int i = 0; i < run->built_in_count; i++) {
        read_built_in(&run->built_in[i], texts[i].name, texts[i].text, run->memory);
    }
}

/* ---- the operator's ---- */

bool conf_profile_begin(struct conf_run *run, struct conf_profile *profile, struct conf_node *node)
{
    const struct conf_node *like = conf_node_member(node, "like");
    const struct conf_profile *model =
        like != NULL && like->kind == CONF_NODE_SCALAR ? find(run->built_in, run->built_in_count, like->text) : NULL;

    if (model == NULL) {
        return false; /* one that does not exist is reported when all is read */
    }
    *profile = *model;
    profile->built_in = false;
    return true;
}

/* With "did you mean 'stripe'?", and all that there are. */
static void report_unknown(struct conf_run *run, const struct conf_node *node, const struct conf_profile *profiles,
                           int count, const char *what, const char *why)
{
    struct conf_near near = {.text = node->text};
    char shown[CONF_SHOWN_BYTES];
    char hint[128] = "";
    char allowed[512] = "";

    for (int i = 0; i < count; i++) {
        conf_append(allowed, sizeof(allowed), "%s%s", i == 0 ? "" : ", ", profiles[i].name);
        (void)conf_near_offer(&near, bytes_from_text(profiles[i].name));
    }
    if (near.best.at != NULL) {
        conf_append(hint, sizeof(hint), "did you mean '%.*s'?", BYTES_ARG(near.best));
    }
    conf_error(run->findings, node->place, (struct conf_help){.hint = hint, .allowed = allowed}, "%s '%s', which is %s",
               what, conf_shown(node->text, shown), why);
}

static void finish_own(struct conf_run *run, struct conf_profile *profile, const struct conf_node *node)
{
    const struct conf_node *like = conf_node_member(node, "like");
    char where[CONF_WHERE_BYTES] = "";
    char what[CONF_WHERE_BYTES + 16] = "";

    conf_append(where, sizeof(where), "profiles.%s", profile->name);
    conf_append(what, sizeof(what), "%s is like", where);
    settle_methods(run, profile, node, where);
    if (like != NULL && !like->bad && find(run->built_in, run->built_in_count, like->text) == NULL) {
        report_unknown(run, like, run->built_in, run->built_in_count, what, "no built-in profile");
    }
    if (find(run->built_in, run->built_in_count, bytes_from_text(profile->name)) != NULL) {
        char hint[160] = "";

        conf_append(hint, sizeof(hint), "take another name, and write 'like: %s' in it", profile->name);
        conf_error(run->findings, node->key_place, (struct conf_help){.hint = hint}, "%s is a built-in profile", where);
    }
}

static void resolve(struct conf_run *run, struct conf_processor *processor, const struct conf_node *node)
{
    const struct conf_node *written = conf_node_member(node, "profile");
    struct conf *conf = run->conf;
    const struct conf_profile *found =
        find(conf->profiles, conf->profile_count, bytes_from_text(processor->profile_name));
    char what[CONF_WHERE_BYTES] = "";

    processor->profile = found != NULL ? (int)(found - conf->profiles) : -1;
    if (found == NULL && written != NULL) {
        conf_append(what, sizeof(what), "processor '%s' has the profile", processor->name);
        report_unknown(run, written, conf->profiles, conf->profile_count, what, "not defined");
    }
}

void conf_profiles_finish(struct conf_run *run)
{
    struct conf *conf = run->conf;
    const struct conf_node *profiles = conf_node_member(run->root, "profiles");
    const struct conf_node *processors = conf_node_member(run->root, "processors");
    size_t built_in = (size_t)run->built_in_count, own = (size_t)conf->profile_count;
    struct conf_profile *all = conf_memory_take(run->memory, (built_in + own) * sizeof(*all));

    memcpy(all, run->built_in, built_in * sizeof(*all));
    for (size_t i = 0; i < own; i++) {
        all[built_in + i] = conf->profiles[i];
        finish_own(run, &all[built_in + i], conf_node_entry(profiles, (int)i));
    }
    conf->profiles = all;
    conf->profile_count = (int)(built_in + own);
    for (int i = 0; i < conf->processor_count; i++) {
        resolve(run, &conf->processors[i], conf_node_entry(processors, i));
    }
}

void conf_profiles_check(struct conf_run *run)
{
    const struct conf_node *profiles = conf_node_member(run->root, "profiles");

    for (int i = run->built_in_count; i < run->conf->profile_count; i++) {
        check_profile(run, &run->conf->profiles[i], conf_node_entry(profiles, i - run->built_in_count));
    }
}
