/*
 * libfyaml's events become a tree of our own nodes, in our own memory, and
 * nothing of libfyaml outlives the parse. Only what has one reading passes:
 * maps, lists and scalars. Anchors, aliases, tags, directives, merge keys,
 * several documents and duplicate keys are findings. What a scalar means is the
 * key table's business.
 */
#include <libfyaml.h>
#include <stdlib.h>

#include "conf_internal.h"

/* One parse. */
struct tree {
    const struct conf_text *text;
    struct conf_memory *memory;
    struct conf_findings *findings;
    struct fy_diag *diag;
    struct fy_parser *parser;
    struct conf_place at; /* of the latest token */
    bool failed;          /* the rest cannot be read */
};

/* ---- places ---- */

/* An empty value has no marks: it stands where the latest token did. */
static struct conf_place place_of(struct tree *tree, struct fy_token *token)
{
    const struct fy_mark *start = token != NULL ? fy_token_start_mark(token) : NULL;
    const struct fy_mark *end = token != NULL ? fy_token_end_mark(token) : NULL;

    if (start == NULL || end == NULL || end->input_pos < start->input_pos) {
        return tree->at;
    }
    tree->at = conf_text_place(tree->text, start->input_pos, end->input_pos - start->input_pos);
    return tree->at;
}

/* Of an anchor or alias, whose token begins behind its '&' or '*'. */
static struct conf_place marked_place(struct tree *tree, struct fy_token *token)
{
    struct conf_place place = place_of(tree, token);

    if (place.column > 1) {
        place.column--;
        place.width++;
    }
    return place;
}

static void refuse(struct tree *tree, struct conf_place place, const char *hint, const char *what)
{
    conf_error(tree->findings, place, (struct conf_help){.hint = hint}, "%s", what);
}

static void refuse_properties(struct tree *tree, struct fy_token *anchor, struct fy_token *tag)
{
    if (anchor != NULL) {
        refuse(tree, marked_place(tree, anchor), NULL, "anchors are not allowed");
    }
    if (tag != NULL) {
        refuse(tree, place_of(tree, tag), NULL, "tags are not allowed: the key decides what a value is");
    }
}

/* ---- nodes ---- */

static struct bytes token_text(const struct tree *tree, struct fy_token *token)
{
    size_t len = 0;
    const char *at = fy_token_get_text(token, &len);

    return bytes_of(conf_memory_text(tree->memory, bytes_of(at, at == NULL ? 0 : len)), at == NULL ? 0 : len);
}

/* libfyaml's marks leave the quotes out; to the reader they belong to the value. */
static struct conf_place quoted_place(struct tree *tree, struct fy_token *token)
{
    const struct fy_mark *start = fy_token_start_mark(token);
    const struct fy_mark *end = fy_token_end_mark(token);
    bool quoted = start != NULL && end != NULL && start->input_pos > 0 && end->input_pos >= start->input_pos &&
                  start->input_pos <= tree->text->bytes.len &&
                  strchr("\"'", tree->text->bytes.at[start->input_pos - 1]) != NULL;

    if (!quoted) {
        return place_of(tree, token);
    }
    tree->at = conf_text_place(tree->text, start->input_pos - 1, end->input_pos - start->input_pos + 2);
    return tree->at;
}

static struct conf_node *node_new(struct tree *tree, enum conf_node_kind kind)
{
    struct conf_node *node = conf_memory_take(tree->memory, sizeof(*node));

    node->kind = kind;
    return node;
}

static struct conf_node *scalar_new(struct tree *tree, struct fy_event *event)
{
    struct conf_node *node = node_new(tree, CONF_NODE_SCALAR);
    enum fy_scalar_style style = fy_token_scalar_style(event->scalar.value);

    refuse_properties(tree, event->scalar.anchor, event->scalar.tag);
    node->text = token_text(tree, event->scalar.value);
    node->plain = style == FYSS_PLAIN;
    node->double_quoted = style == FYSS_DOUBLE_QUOTED;
    node->place = style == FYSS_DOUBLE_QUOTED || style == FYSS_SINGLE_QUOTED ? quoted_place(tree, event->scalar.value)
                                                                             : place_of(tree, event->scalar.value);
    node->key_place = node->place;
    return node;
}

static void append(struct conf_node *parent, struct conf_node *node)
{
    if (parent->last != NULL) {
        parent->last->next = node;
    } else {
        parent->first = node;
    }
    parent->last = node;
    parent->count++;
}

/* ---- events ---- */

static struct conf_node *parse_node(struct tree *tree, struct fy_event *event, int depth);

static bool has_room(struct tree *tree, const struct conf_node *parent, struct conf_place place)
{
    if (parent->count < CONF_MEMBERS_MAX) {
        return true;
    }
    refuse(tree, place, "at most 2048", "too many entries");
    tree->failed = true;
    return false;
}

/* The next event, or NULL at the end of the input and after a syntax error. */
static struct fy_event *next_event(struct tree *tree)
{
    return fy_parser_parse(tree->parser);
}

static void check_key(struct tree *tree, const struct conf_node *map, struct conf_node *key)
{
    const struct conf_node *earlier;
    char shown[CONF_SHOWN_BYTES];
    char hint[64] = "";

    for (earlier = map->first; earlier != NULL && !bytes_equal(earlier->key, key->text); earlier = earlier->next) {
    }
    if (bytes_equal(key->text, BYTES("<<")) && key->plain) {
        refuse(tree, key->place, NULL, "merge keys are not allowed");
        key->bad = true;
    } else if (earlier != NULL) {
        conf_append(hint, sizeof(hint), "the first is at line %d", earlier->key_place.line);
        conf_error(tree->findings, key->place, (struct conf_help){.hint = hint}, "duplicate key '%s'",
                   conf_shown(key->text, shown));
        key->bad = true;
    }
}

/* A key that was reported is bad: its value is read, to get behind it, and dropped. */
static struct conf_node *parse_key(struct tree *tree, struct fy_event *event, const struct conf_node *map, int depth)
{
    bool is_scalar = event->type == FYET_SCALAR;
    struct conf_node *key = parse_node(tree, event, depth);

    if (key != NULL && is_scalar) {
        check_key(tree, map, key);
    } else if (key != NULL) {
        refuse(tree, key->place, NULL, "a key must be plain text");
        key->bad = true;
    }
    return key;
}

/* Reads members up to the map's end. NULL: the input ended or is too odd to go on. */
static struct conf_node *parse_map(struct tree *tree, int depth)
{
    struct conf_node *map = node_new(tree, CONF_NODE_MAP);

    for (;;) {
        struct fy_event *event = next_event(tree);
        struct conf_node *key, *value;

        if (event == NULL) {
            return NULL;
        }
        if (event->type == FYET_MAPPING_END) {
            fy_parser_event_free(tree->parser, event);
            return map;
        }
        key = parse_key(tree, event, map, depth + 1);
        if (key == NULL || !has_room(tree, map, key->place)) {
            return NULL;
        }
        event = next_event(tree);
        value = event != NULL ? parse_node(tree, event, depth + 1) : NULL;
        if (value == NULL) {
            return NULL;
        }
        value->key = key->text;
        value->key_place = key->place;
        if (!key->bad) {
            append(map, value);
        }
    }
}

static struct conf_node *parse_list(struct tree *tree, int depth)
{
    struct conf_node *list = node_new(tree, CONF_NODE_LIST);

    for (;;) {
        struct fy_event *event = next_event(tree);
        struct conf_node *entry;

        if (event == NULL) {
            return NULL;
        }
        if (event->type == FYET_SEQUENCE_END) {
            fy_parser_event_free(tree->parser, event);
            return list;
        }
        entry = parse_node(tree, event, depth + 1);
        if (entry == NULL || !has_room(tree, list, entry->place)) {
            return NULL;
        }
        append(list, entry);
    }
}

/* Block maps and lists have no token of their own: their place is that of what they begin with. */
static void set_holder_place(struct conf_node *holder, struct conf_place start, bool is_flow)
{
    holder->place = holder->first == NULL || is_flow ? start : holder->first->key_place;
    holder->key_place = holder->place;
}

static struct conf_node *parse_holder(struct tree *tree, struct fy_event *event, int depth)
{
    bool is_map = event->type == FYET_MAPPING_START;
    struct fy_token *token = is_map ? event->mapping_start.mapping_start : event->sequence_start.sequence_start;
    struct conf_place start = place_of(tree, token);
    bool is_flow = token != NULL && (fy_token_get_type(token) == FYTT_FLOW_MAPPING_START ||
                                     fy_token_get_type(token) == FYTT_FLOW_SEQUENCE_START);
    struct conf_node *holder;

    if (is_map) {
        refuse_properties(tree, event->mapping_start.anchor, event->mapping_start.tag);
    } else {
        refuse_properties(tree, event->sequence_start.anchor, event->sequence_start.tag);
    }
    fy_parser_event_free(tree->parser, event);
    if (depth >= CONF_DEPTH_MAX) {
        refuse(tree, start, NULL, "nested too deeply");
        tree->failed = true;
        return NULL;
    }
    holder = is_map ? parse_map(tree, depth) : parse_list(tree, depth);
    if (holder != NULL) {
        set_holder_place(holder, start, is_flow);
    }
    return holder;
}

/* Takes the event over. */
static struct conf_node *parse_node(struct tree *tree, struct fy_event *event, int depth)
{
    struct conf_node *node = NULL;

    if (event->type == FYET_MAPPING_START || event->type == FYET_SEQUENCE_START) {
        return parse_holder(tree, event, depth);
    }
    if (event->type == FYET_SCALAR) {
        node = scalar_new(tree, event);
        conf_env_expand(node, tree->memory, tree->findings);
    } else if (event->type == FYET_ALIAS) {
        node = node_new(tree, CONF_NODE_SCALAR);
        node->place = node->key_place = marked_place(tree, event->alias.anchor);
        node->bad = true;
        refuse(tree, node->place, NULL, "aliases are not allowed");
    }
    fy_parser_event_free(tree->parser, event);
    return node;
}

static void check_document(struct tree *tree, struct fy_event *event, bool is_first)
{
    struct fy_document_state *state = event->document_start.document_state;
    struct conf_place place = place_of(tree, event->document_start.document_start);

    if (!is_first) {
        refuse(tree, place, NULL, "a second document: the file must hold one");
        tree->failed = true;
    } else if (state != NULL && (fy_document_state_version_explicit(state) || fy_document_state_tags_explicit(state))) {
        refuse(tree, place, NULL, "directives are not allowed");
    }
}

/* The one document of the stream; what follows it is read for syntax errors and second documents. */
static struct conf_node *parse_stream(struct tree *tree)
{
    struct conf_node *root = NULL;
    bool is_first = true;
    struct fy_event *event;

    while (!tree->failed && (event = next_event(tree)) != NULL) {
        bool starts = event->type == FYET_DOCUMENT_START;

        if (starts) {
            check_document(tree, event, is_first);
        }
        fy_parser_event_free(tree->parser, event);
        if (starts && is_first) {
            is_first = false;
            event = next_event(tree);
            root = event != NULL ? parse_node(tree, event, 0) : NULL;
        }
    }
    return root;
}

/* ---- libfyaml's own errors ---- */

/* It words its messages "did not find expected X"; they are shown as they are. Only the first is the cause. */
static void report_syntax(struct tree *tree)
{
    void *cursor = NULL;
    const struct fy_diag_error *error = fy_diag_errors_iterate(tree->diag, &cursor);
    struct conf_place place = {.line = 0};

    tree->failed = true;
    if (error == NULL) {
        conf_error(tree->findings, place, CONF_NO_HELP, "not YAML");
        return;
    }
    if (error->fyt != NULL) {
        place = quoted_place(tree, error->fyt);
    } else if (error->line > 0 && error->column > 0) {
        place = (struct conf_place){.line = error->line, .column = error->column, .width = 1};
    }
    conf_error(tree->findings, place, CONF_NO_HELP, "%s", error->msg);
}

static bool tree_open(struct tree *tree)
{
    struct fy_diag_cfg diag_cfg;
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE};

    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    tree->diag = fy_diag_create(&diag_cfg);
    CHECK(tree->diag != NULL); /* see conf_memory.c */
    fy_diag_set_collect_errors(tree->diag, true);
    cfg.diag = tree->diag;
    tree->parser = fy_parser_create(&cfg);
    CHECK(tree->parser != NULL);
    return fy_parser_set_string(tree->parser, tree->text->bytes.at, tree->text->bytes.len) == 0;
}

static void tree_close(struct tree *tree)
{
    fy_parser_destroy(tree->parser);
    fy_diag_destroy(tree->diag);
}

struct conf_node *conf_tree_parse(const struct conf_text *text, struct conf_memory *memory,
                                  struct conf_findings *findings)
{
    struct tree tree = {.text = text, .memory = memory, .findings = findings};
    struct conf_node *root = NULL;

    if (tree_open(&tree)) {
        root = parse_stream(&tree);
    }
    if (fy_diag_got_error(tree.diag)) {
        report_syntax(&tree);
    }
    tree_close(&tree);
    if (tree.failed) {
        return NULL;
    }
    return root != NULL ? root : node_new(&tree, CONF_NODE_MAP);
}

/* ---- reading the tree ---- */

struct conf_node *conf_node_member(const struct conf_node *node, const char *key)
{
    struct bytes name = bytes_from_text(key);

    if (node == NULL || node->kind != CONF_NODE_MAP) {
        return NULL;
    }
    for (struct conf_node *member = node->first; member != NULL; member = member->next) {
        if (bytes_equal(member->key, name)) {
            return member;
        }
    }
    return NULL;
}

struct conf_node *conf_node_find(const struct conf_node *node, const char *path)
{
    char part[CONF_NAME_BYTES_MAX + 1];

    for (;;) {
        size_t len = strcspn(path, ".");
        struct conf_node *member;

        (void)bytes_to_text(bytes_of(path, len), part, sizeof(part));
        member = conf_node_member(node, part);
        if (member == NULL || path[len] == '\0') {
            return member;
        }
        node = member;
        path += len + 1;
    }
}

struct conf_node *conf_node_entry(const struct conf_node *node, int index)
{
    struct conf_node *entry = node != NULL && index >= 0 ? node->first : NULL;

    while (entry != NULL && index-- > 0) {
        entry = entry->next;
    }
    return entry;
}

bool conf_node_empty(const struct conf_node *node)
{
    return node->kind == CONF_NODE_SCALAR && node->plain && node->text.len == 0;
}
