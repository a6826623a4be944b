/*
 * deploy/weir.schema.json from the key table: JSON Schema draft 7, which
 * editors use to complete and underline while a file is written. It says what
 * one key at a time may be; the rules between keys are `weir check`'s.
 */
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/json.h"

#include "conf_internal.h"

#define SCHEMA_BYTES_MAX (256 * 1024)

static void put_section(struct json *json, const struct conf_row *section);

static void put_description(struct json *json, const struct conf_row *key)
{
    char text[1024] = "";

    conf_append(text, sizeof(text), "%s%s%s", key->help, key->more != NULL ? " " : "",
                key->more != NULL ? key->more : "");
    json_put_text(json, "description", text);
}

static void put_words(struct json *json, const char *words)
{
    json_key(json, "enum");
    json_array_open(json);
    while (*words != '\0') {
        size_t len = strcspn(words, "|");

        json_add_string(json, bytes_of(words, len));
        words += len + (words[len] == '|' ? 1 : 0);
    }
    json_array_close(json);
}

static void put_pattern(struct json *json, enum conf_kind kind)
{
    json_put_text(json, "type", "string");
    if (conf_kind_pattern(kind) != NULL) {
        json_put_text(json, "pattern", conf_kind_pattern(kind));
    }
}

/* A text, or one of a few words. */
static void put_text_or_word(struct json *json, const struct conf_row *key)
{
    json_key(json, "anyOf");
    json_array_open(json);
    json_object_open(json);
    put_pattern(json, key->kind);
    json_object_close(json);
    json_object_open(json);
    put_words(json, key->words);
    json_object_close(json);
    json_array_close(json);
}

static void put_integer(struct json *json, uint64_t minimum, uint64_t maximum)
{
    json_put_text(json, "type", "integer");
    json_put_u64(json, "minimum", minimum);
    json_put_u64(json, "maximum", maximum);
}

/* YAML reads 402 as a number, "402" and 200-299 as texts. */
static void put_status(struct json *json)
{
    json_key(json, "anyOf");
    json_array_open(json);
    json_object_open(json);
    put_integer(json, 200, 599);
    json_object_close(json);
    json_object_open(json);
    put_pattern(json, CONF_STATUS);
    json_object_close(json);
    json_array_close(json);
}

static void put_value(struct json *json, const struct conf_row *key)
{
    switch (key->kind) {
    case CONF_COUNT:
        put_integer(json, key->min, key->max);
        break;
    case CONF_STATUS:
        put_status(json);
        break;
    case CONF_WORD:
        put_words(json, key->words);
        break;
    case CONF_BOOL:
        json_put_text(json, "type", "boolean");
        break;
    case CONF_PATH:
    case CONF_CHARS:
        if (key->words != NULL) {
            put_text_or_word(json, key);
            break;
        }
        put_pattern(json, key->kind);
        break;
    default:
        put_pattern(json, key->kind);
    }
    if (key->fallback != NULL) {
        json_key(json, "default");
        if (key->kind == CONF_COUNT || key->kind == CONF_BOOL) {
            json_add_raw(json, bytes_from_text(key->fallback));
        } else {
            json_add_string(json, bytes_from_text(key->fallback));
        }
    }
}

static void put_entry(struct json *json, const struct conf_row *key)
{
    switch (key->kind) {
    case CONF_SECTIONS:
        put_section(json, key);
        break;
    case CONF_METHODS:
        put_words(json, key->words);
        break;
    case CONF_CODES:
        put_status(json);
        break;
    case CONF_WEIGHTS:
        put_integer(json, 1, CONF_WEIGHT_MAX);
        break;
    default:
        put_pattern(json, key->kind);
    }
}

static void put_list(struct json *json, const struct conf_row *key)
{
    json_put_text(json, "type", "array");
    json_put_u64(json, "minItems", key->min);
    json_put_u64(json, "maxItems", key->max);
    json_key(json, "items");
    json_object_open(json);
    put_entry(json, key);
    json_object_close(json);
}

/* Sections, and what may stand instead of them: words, or one value alone. */
static void put_choice(struct json *json, const struct conf_row *key)
{
    json_key(json, "anyOf");
    json_array_open(json);
    json_object_open(json);
    if (key->kind == CONF_SECTION) {
        put_words(json, key->words);
    } else {
        put_value(json, conf_key_find(key, bytes_from_text(key->words)));
    }
    json_object_close(json);
    json_object_open(json);
    if (key->kind == CONF_SECTION) {
        put_section(json, key);
    } else {
        put_list(json, key);
    }
    json_object_close(json);
    json_array_close(json);
}

/* A list of values, for which one of them may stand. */
static void put_list_or_value(struct json *json, const struct conf_row *key)
{
    json_key(json, "anyOf");
    json_array_open(json);
    json_object_open(json);
    put_entry(json, key);
    json_object_close(json);
    json_object_open(json);
    put_list(json, key);
    json_object_close(json);
    json_array_close(json);
}

static void put_named(struct json *json, const struct conf_row *key)
{
    json_put_text(json, "type", "object");
    json_put_u64(json, "maxProperties", key->max);
    json_put_bool(json, "additionalProperties", false);
    json_key(json, "patternProperties");
    json_object_open(json);
    json_key(json, conf_kind_pattern(CONF_NAME));
    json_object_open(json);
    put_section(json, key);
    json_object_close(json);
    json_object_close(json);
}

static void put_key(struct json *json, const struct conf_row *key)
{
    json_key(json, conf_key_name(key));
    json_object_open(json);
    put_description(json, key);
    if (conf_key_is_holder(key) && key->words != NULL) {
        put_choice(json, key);
    } else if (key->kind == CONF_SECTION) {
        put_section(json, key);
    } else if (key->kind == CONF_NAMED) {
        put_named(json, key);
    } else if ((key->flags & CONF_ALONE) != 0) {
        put_list_or_value(json, key);
    } else if (key->kind == CONF_SECTIONS || conf_kind_is_list(key->kind)) {
        put_list(json, key);
    } else {
        put_value(json, key);
    }
    json_object_close(json);
}

static void put_required(struct json *json, const struct conf_row *section)
{
    bool any = false;

    for (int i = 0; i < conf_key_count; i++) {
        const struct conf_row *key = &conf_keys[i];

        if (conf_key_is_in(key, section) && (key->flags & CONF_REQUIRED) != 0) {
            if (!any) {
                json_key(json, "required");
                json_array_open(json);
            }
            json_add_string(json, bytes_from_text(conf_key_name(key)));
            any = true;
        }
    }
    if (any) {
        json_array_close(json);
    }
}

static void put_section(struct json *json, const struct conf_row *section)
{
    json_put_text(json, "type", "object");
    json_put_bool(json, "additionalProperties", false);
    put_required(json, section);
    json_key(json, "properties");
    json_object_open(json);
    for (int i = 0; i < conf_key_count; i++) {
        if (conf_key_is_in(&conf_keys[i], section)) {
            put_key(json, &conf_keys[i]);
        }
    }
    json_object_close(json);
}

static void put_schema(struct json *json)
{
    json_object_open(json);
    json_put_text(json, "$schema", "http://json-schema.org/draft-07/schema#");
    json_put_text(json, "title", "weir configuration, version 1");
    put_section(json, CONF_ROOT);
    json_object_close(json);
    CHECK(!json->overflow); /* the table is ours: a larger one needs a larger SCHEMA_BYTES_MAX */
}

/* ---- for people to read a diff of it ---- */

static void print_break(FILE *out, int depth)
{
    (void)fprintf(out, "\n%*s", depth * 2, "");
}

static void print_indented(FILE *out, struct bytes json)
{
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < json.len; i++) {
        char byte = json.at[i];
        bool opens = !in_string && (byte == '{' || byte == '[');
        bool closes = !in_string && (byte == '}' || byte == ']');

        if (closes) {
            print_break(out, --depth);
        }
        (void)fputc(byte, out);
        if (in_string && byte == '\\') {
            (void)fputc(json.at[++i], out);
        } else if (byte == '"') {
            in_string = !in_string;
        } else if (opens) {
            print_break(out, ++depth);
        } else if (!in_string && byte == ',') {
            print_break(out, depth);
        } else if (!in_string && byte == ':') {
            (void)fputc(' ', out);
        }
    }
    (void)fputc('\n', out);
}

char *conf_schema_json(void)
{
    char *compact = malloc(SCHEMA_BYTES_MAX);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct json json;

    CHECK(compact != NULL && out != NULL); /* see conf_memory.c */
    json_init(&json, compact, SCHEMA_BYTES_MAX);
    put_schema(&json);
    print_indented(out, json_bytes(&json));
    CHECK(fclose(out) == 0);
    free(compact);
    return text;
}
