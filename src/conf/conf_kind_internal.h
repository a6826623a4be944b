/*
 * Between conf_kind.c (numbers, words, addresses, the table of kinds),
 * conf_kind_text.c (names, paths, urls, hosts), conf_kind_head.c (fields,
 * statuses, keys, tenants) and conf_kind_limit.c (rates, callers).
 */
#ifndef WEIR_CONF_KIND_INTERNAL_H
#define WEIR_CONF_KIND_INTERNAL_H

#include "conf_internal.h"

#define CONF_KIND_PARSER(name)                                                                                         \
    bool name(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,                  \
              struct conf_fault *fault)

CONF_KIND_PARSER(conf_kind_parse_name);
CONF_KIND_PARSER(conf_kind_parse_path);
CONF_KIND_PARSER(conf_kind_parse_url);
CONF_KIND_PARSER(conf_kind_parse_host);
CONF_KIND_PARSER(conf_kind_parse_match);
CONF_KIND_PARSER(conf_kind_parse_method);
CONF_KIND_PARSER(conf_kind_parse_prefix);
CONF_KIND_PARSER(conf_kind_parse_target);
CONF_KIND_PARSER(conf_kind_parse_text);
CONF_KIND_PARSER(conf_kind_parse_entry);
CONF_KIND_PARSER(conf_kind_parse_server);
CONF_KIND_PARSER(conf_kind_parse_range);
CONF_KIND_PARSER(conf_kind_parse_code);
CONF_KIND_PARSER(conf_kind_parse_status);
CONF_KIND_PARSER(conf_kind_parse_key);
CONF_KIND_PARSER(conf_kind_parse_tenant);
CONF_KIND_PARSER(conf_kind_parse_line);
CONF_KIND_PARSER(conf_kind_parse_chars);
CONF_KIND_PARSER(conf_kind_parse_field);
CONF_KIND_PARSER(conf_kind_parse_start);
CONF_KIND_PARSER(conf_kind_parse_rate);
CONF_KIND_PARSER(conf_kind_parse_part);
CONF_KIND_PARSER(conf_kind_parse_named);

/* Fills the fault in; always false. */
bool conf_kind_fail(struct conf_fault *fault, const char *what, const char *hint_format, ...) WEIR_PRINTF(3, 4);
/* With the words that are allowed and the nearest of them; always false. */
bool conf_kind_fail_word(const struct conf_row *key, struct bytes text, const char *what, struct conf_memory *memory,
                         struct conf_fault *fault);

/* A name that a field of a head may have. */
bool conf_kind_is_field(struct bytes text);
/* Cuts the next of "a|b|c" off. */
struct bytes conf_kind_next_word(const char **words);
/* The position of `text` in "a|b|c", -1 when it is none of them; words may be NULL. */
int conf_kind_word_index(const char *words, struct bytes text);

#endif
