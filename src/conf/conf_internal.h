/*
 * What the files of this layer share: the tree that a file becomes, the key
 * table, the kinds of values, and the ways to report a finding. Nothing here is
 * seen outside src/conf.
 *
 * A load runs downward through these files:
 *
 *   text -> conf_text (UTF-8, size) -> conf_tree (libfyaml, our nodes)
 *        -> conf_load (tree walked by the table into structs, defaults)
 *        -> conf_check (rules between keys) -> struct conf
 */
#ifndef WEIR_CONF_INTERNAL_H
#define WEIR_CONF_INTERNAL_H

#include <stdarg.h>

#include "weir/base/arena.h"
#include "weir/conf/conf.h"

#define CONF_TEXT_BYTES_MAX (1024 * 1024) /* of a file */
#define CONF_DEPTH_MAX 16                 /* of nesting; the deepest key is at 5 */
#define CONF_MEMBERS_MAX 2048             /* of one map or list */
#define CONF_NAME_BYTES_MAX 64            /* of a listener's, processor's or route's name */
#define CONF_WEIGHT_MAX 100               /* of an endpoint */
#define CONF_WHERE_BYTES 192              /* room for "processors.NAME.timeouts.connect" with its real name */

/* Memory with the life of one conf or of one set of findings. */
struct conf_memory {
    struct blocks blocks;
    struct arena arena;
};

struct conf_memory *conf_memory_open(void);
void conf_memory_close(struct conf_memory *memory);
/* Zeroed. Never NULL: see conf_memory.c. */
void *conf_memory_take(struct conf_memory *memory, size_t bytes);
/* A NUL-terminated copy. */
char *conf_memory_text(struct conf_memory *memory, struct bytes text);
/* The same in lower case (ASCII). */
char *conf_memory_lower(struct conf_memory *memory, struct bytes text);

/* Where something stands in the file. */
struct conf_place {
    int line, column; /* from 1; 0: the whole file */
    int width;        /* characters */
};

/* ---- the text (conf_text.c) ---- */

/* Offsets of the text's lines, for turning offsets into places. */
struct conf_text {
    struct bytes bytes;
    size_t *starts; /* offset of each line's first byte */
    int line_count;
};

void conf_text_index(struct conf_text *text, struct bytes bytes, struct conf_memory *memory);
/* Columns and widths count characters, not bytes; a run that leaves its line is cut at the line's end. */
struct conf_place conf_text_place(const struct conf_text *text, size_t offset, size_t len);
/* The line without its line break; from 1. */
struct bytes conf_text_line(const struct conf_text *text, int line);
/* Reports bytes that are not UTF-8, control characters and tabs. False: the text must not go further. */
bool conf_text_check(const struct conf_text *text, struct conf_findings *findings);
/* Length of the UTF-8 character at `at`, 0 when it is malformed or cut short. */
size_t conf_text_character(struct bytes at);

/* ---- findings (conf_findings.c) ---- */

/* The file's name and text, for the lines that are shown. Copied. */
void conf_findings_source(struct conf_findings *findings, const char *path, struct bytes text);

/* What stands behind the caret and below it. Either may be NULL. */
struct conf_help {
    const char *hint;
    const char *allowed;
};
#define CONF_NO_HELP ((struct conf_help){NULL, NULL})

void conf_error(struct conf_findings *findings, struct conf_place place, struct conf_help help, const char *format, ...)
    WEIR_PRINTF(4, 5);
void conf_warning(struct conf_findings *findings, struct conf_place place, struct conf_help help, const char *format,
                  ...) WEIR_PRINTF(4, 5);

/* A file's text made fit for a message: shortened, control characters replaced. Returns `shown`. */
#define CONF_SHOWN_BYTES 80
const char *conf_shown(struct bytes text, char shown[CONF_SHOWN_BYTES]);

/* ---- the tree (conf_tree.c) ---- */

enum conf_node_kind { CONF_NODE_SCALAR, CONF_NODE_LIST, CONF_NODE_MAP };

struct conf_node {
    enum conf_node_kind kind;
    struct bytes key;            /* of a map's member; at NULL: an entry of a list, or the root */
    struct conf_place key_place; /* of the key; for others as `place` */
    struct conf_place place;     /* of the value: a scalar whole, the first key or entry of others */
    struct bytes text;           /* of a scalar, decoded; NUL-terminated behind its length */
    bool plain;                  /* a scalar without quotes */
    bool double_quoted;
    bool bad;                    /* something about it was reported; rules between keys leave it alone */
    int count;                   /* of members or entries */
    struct conf_node *first;     /* member or entry, in file order; NULL: none */
    struct conf_node *last;
    struct conf_node *next;      /* in the same map or list; NULL: the last */
};

/* The root, or NULL when anything was reported. An empty text gives an empty map. */
struct conf_node *conf_tree_parse(const struct conf_text *text, struct conf_memory *memory,
                                  struct conf_findings *findings);
/* The member of a map, or NULL: no such key, not a map, or node NULL. */
struct conf_node *conf_node_member(const struct conf_node *node, const char *key);
/* Follows a dotted path of members from `node`; NULL when it ends early. */
struct conf_node *conf_node_find(const struct conf_node *node, const char *path);
/* Entry or member number `index`, or NULL. */
struct conf_node *conf_node_entry(const struct conf_node *node, int index);
/* An empty plain scalar: `key:` with nothing behind it. */
bool conf_node_empty(const struct conf_node *node);

/* ---- environment (conf_env.c) ---- */

/* Replaces ${env:NAME} in a scalar; reports what is missing or misplaced and marks the node bad. */
void conf_env_expand(struct conf_node *node, struct conf_memory *memory, struct conf_findings *findings);

/* ---- kinds of values (conf_kind.c) ---- */

enum conf_kind {
    /* holders */
    CONF_SECTION,  /* a map with the keys of the table */
    CONF_SECTIONS, /* a list of such maps */
    CONF_NAMED,    /* a map from names of the operator's choice to such maps */
    /* scalars */
    CONF_DURATION, /* integer, in milliseconds */
    CONF_BYTES,    /* integer */
    CONF_COUNT,    /* integer */
    CONF_PERCENT,  /* integer, in permille */
    CONF_WORD,     /* one of `words`; its position in them, or a bool that is false for the first */
    CONF_NAME,
    CONF_PATH,     /* absolute, or one of `words` */
    CONF_LISTEN,   /* struct addr_listen */
    CONF_URL,
    CONF_HOST,     /* a name or address without port, lowered */
    CONF_MATCH,    /* of a route's path */
    CONF_METHOD,
    CONF_BOOL,
    CONF_RANGE,  /* two uint32_t, one behind the other */
    CONF_KEY,    /* struct conf_key */
    CONF_TENANT, /* by and header of a struct conf_tenants */
    CONF_LINE,   /* of a head, "Name: value" */
    CONF_CHARS,  /* a set of characters, or one of `words`, which is NULL */
    CONF_PREFIX, /* of paths */
    CONF_TARGET, /* a path, and a query if there is one */
    CONF_STATUS, /* or a range of them: two uint16_t, one behind the other */
    CONF_TEXT,   /* visible ASCII */
    CONF_RATE,   /* struct conf_rate */
    /* lists of scalars */
    CONF_ADDRESSES, /* struct addr */
    CONF_NETWORKS,  /* struct addr_net */
    CONF_CODES,     /* struct conf_codes */
    CONF_FIELDS,    /* names of fields of a head, const char * */
    CONF_STARTS,    /* the same, or a start of such names, which ends in '*' */
    CONF_TEXTS,     /* const char * */
    CONF_METHODS,   /* of `words`; they go nowhere: conf_profiles.c reads the tree */
    CONF_SERVERS,   /* struct conf_server */
    CONF_PARTS,     /* struct conf_limit_part */
    CONF_WEIGHTS,   /* uint32_t */
    CONF_NAMES,     /* of limits; they go nowhere: conf_limits.c reads the tree */
    CONF_KIND_COUNT
};

/* Where a key's value goes. */
struct conf_field {
    size_t at;       /* in the struct of the entry that the key belongs to; SIZE_MAX: nowhere */
    size_t bytes;    /* of the field */
    size_t count_at; /* arrays: of their int count */
    size_t entry_bytes;
};

#define CONF_REQUIRED 1u /* the section that holds it is incomplete without */
#define CONF_RESTART 2u  /* a change waits for the next start */
#define CONF_FOLLOWS 4u  /* its default follows from other keys; `more` says how */
#define CONF_ALONE 8u    /* of a list of values: one value stands for a list of it alone */

/* One row of the key table. */
struct conf_row {
    const char *path; /* "processors.NAME.timeouts.connect" */
    enum conf_kind kind;
    struct conf_field field;
    uint64_t min, max;    /* of the number, the length of a text, or the entries of a list */
    const char *words;    /* "off|required"; of SECTION: instead of it; of SECTIONS: the key that one value alone is of; NULL: none */
    const char *fallback; /* the default, as it would be written; NULL: none */
    unsigned flags;
    const char *help; /* one sentence */
    const char *more; /* a longer explanation, or NULL */
};

extern const struct conf_row conf_keys[];
extern const int conf_key_count;

/* The root of the table: the section that all top-level keys belong to. */
#define CONF_ROOT (&conf_keys[0])
/* The last part of the path: "connect". */
const char *conf_key_name(const struct conf_row *key);
bool conf_key_is_in(const struct conf_row *key, const struct conf_row *section);
/* The key of this name in a section, or NULL. */
const struct conf_row *conf_key_find(const struct conf_row *section, struct bytes name);
/* "handshake, header, body"; in the table's order. */
const char *conf_key_allowed(const struct conf_row *section, struct conf_memory *memory);
bool conf_key_is_holder(const struct conf_row *key);
/* Of scalars. */
bool conf_kind_is_list(enum conf_kind kind);

/* Why a value was refused. */
struct conf_fault {
    const char *what;    /* completes "'5' for listeners.public.limits.body ..." */
    char hint[160];      /* "" : none */
    const char *allowed; /* or NULL */
};

/*
 * Parses `text` as the key's kind and stores it at `field`. False: `fault` says
 * why, the field is as it was. Texts are copied into `memory`.
 */
bool conf_kind_parse(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                     struct conf_fault *fault);
/* "duration" */
const char *conf_kind_noun(enum conf_kind kind);
/* What a value looks like, with its range: "duration, 10ms to 1h". Returns text. */
const char *conf_kind_describe(const struct conf_row *key, char *text, size_t size);
/* A regular expression of the JSON schema (ECMA 262), or NULL. */
const char *conf_kind_pattern(enum conf_kind kind);
/* The number in its largest exact unit: "5s", "64KiB", "12". Returns text. */
#define CONF_NUMBER_BYTES 32
const char *conf_number_text(enum conf_kind kind, uint64_t number, char text[CONF_NUMBER_BYTES]);

/* The parts of a url that conf_kind_parse accepted. */
struct conf_url {
    bool tls;
    struct bytes host; /* without brackets */
    bool bracketed;
    uint16_t port;
    bool port_is_default; /* the scheme's, written or not */
    bool port_is_written;
};
bool conf_url_split(struct bytes text, struct conf_url *url, struct conf_fault *fault);
/* The next entry of a list's default, "[a, b]"; *rest begins as all of it. False: there is none. */
bool conf_list_next(struct bytes *rest, struct bytes *entry);

/* ---- suggestions (conf_near.c) ---- */

/* The edit distance with swaps, case ignored; at most `most` + 1. */
int conf_near_distance(struct bytes a, struct bytes b, int most);
/* Remembers the nearest of the candidates that are shown to it. Start with {.text = what was written}. */
struct conf_near {
    struct bytes text;
    struct bytes best; /* at NULL: nothing near enough */
    int distance;
};
/* True when the candidate is the nearest so far. */
bool conf_near_offer(struct conf_near *near, struct bytes candidate);

/* ---- loading (conf_load.c, conf_check.c) ---- */

/* One load. */
struct conf_run {
    struct conf *conf;
    struct conf_node *root;
    struct conf_memory *memory; /* conf's own */
    struct conf_findings *findings;
    struct conf_profile *built_in; /* those that come with weir */
    int built_in_count;
    bool keeps_absent; /* what a section does not say stays as it is, instead of its default */
};

/* Walks a map from names to sections, as `profiles` is one, into an array of `base`. */
void conf_load_named(struct conf_run *run, const struct conf_row *key, struct conf_node *node, char *base,
                     const char *where);

/* ---- profiles (conf_profiles.c) ---- */

/* Reads the built-in ones; they are ours, and one that is wrong is a CHECK. */
void conf_profiles_open(struct conf_run *run);
/* What an operator's profile begins as: the one that it is like, or nothing. True: what it does not say stays so. */
bool conf_profile_begin(struct conf_run *run, struct conf_profile *profile, struct conf_node *node);
/* The operator's behind the built-in ones, and what a processor's name means. */
void conf_profiles_finish(struct conf_run *run);
void conf_profiles_check(struct conf_run *run);

/* ---- idempotency and the store (conf_idempotency.c, conf_check_store.c) ---- */

/* A route's defaults depend on its processor's profile and on who the tenants are. */
void conf_idempotency_finish(struct conf_run *run);
void conf_idempotency_check(struct conf_run *run);
void conf_check_tenants(struct conf_run *run);
void conf_check_store(struct conf_run *run);

/* ---- limits (conf_limits.c, conf_check_limits.c) ---- */

/* What limits do not say, and which of them routes and listeners name; whether they need the store. */
void conf_limits_finish(struct conf_run *run);
void conf_check_limits(struct conf_run *run);
/* Some listener asks for client certificates. */
bool conf_asks_for_certificates(const struct conf *conf);

/* Fields that are made from other fields: a url's parts, a route's prefix, the processor that a route goes to. */
void conf_finish(struct conf_run *run);
/* The rules between keys. */
void conf_check(struct conf_run *run);
/* Those of routes, its part. */
void conf_check_routes(struct conf_run *run);

/* What the rules ask about one timeout: where it was written, if it was. */
struct conf_timeout {
    const char *label;            /* "timeouts.total" */
    uint32_t ms;
    const struct conf_node *node; /* NULL: not written here */
    const char *origin;           /* behind the value then: ", the default" */
};
/* "timeouts.total (35s, the default)" */
void conf_append_timeout(char *text, size_t size, const struct conf_timeout *timeout);
/*
 * Reports a total that is shorter than its parts, at one of them, or where
 * `otherwise` is (NULL: the whole file) when none is written. `where` is the
 * section that is judged. False: reported, now or before.
 */
bool conf_check_total(struct conf_run *run, const char *where, const struct conf_timeout *total,
                      const struct conf_timeout *response, const struct conf_timeout *connect,
                      const struct conf_node *otherwise);
/* A processor's health checks, breaker and weights. */
void conf_check_health(struct conf_run *run, const struct conf_processor *processor, const struct conf_node *node,
                       const char *where);
/* The same for the size of a body that is held whole. */
void conf_check_body(struct conf_run *run, const char *where, uint64_t bytes, const struct conf_node *node);
/* Reports names that occur twice in a list. */
void conf_check_names(struct conf_run *run, const struct conf_node *list, const char *noun);
/* Where the value at this path below `section` stands, or the section itself when it is not written. */
struct conf_place conf_place_in(const struct conf_node *section, const char *path);
/* A key that everyone on the machine can read; `what` it is. */
void conf_check_private(struct conf_run *run, const char *path, const struct conf_node *node, const char *what);
/* Whether a host is this machine. */
bool conf_is_here(const char *host);
/* Something at this path was reported already. */
bool conf_bad_in(const struct conf_node *section, const char *path);

/* Appends to a text of fixed size; what does not fit is cut. */
void conf_append(char *text, size_t size, const char *format, ...) WEIR_PRINTF(3, 4);

#endif
