/*
 * Kinds of values: how each is read, described and printed. Numbers always
 * carry their unit; a bare number where a unit belongs is refused, since 5 may
 * be seconds to one reader and milliseconds to the next. Texts are in
 * conf_kind_text.c.
 */
#include <stdio.h>

#include "conf_internal.h"
#include "conf_kind_internal.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* From small to large; a name of NULL ends them. */
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}, {"d", 24 * 60 * 60 * 1000}, {NULL, 0}};
static const struct unit bytes_units[] = {
    {"B", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40}, {NULL, 0}};
static const struct unit percent_units[] = {{"%", 10}, {NULL, 0}};

static const struct unit *units_of(enum conf_kind kind)
{
    switch (kind) {
    case CONF_DURATION:
        return duration_units;
    case CONF_BYTES:
        return bytes_units;
    case CONF_PERCENT:
        return percent_units;
    default:
        return NULL;
    }
}

/* ---- printing ---- */

const char *conf_number_text(enum conf_kind kind, uint64_t number, char text[CONF_NUMBER_BYTES])
{
    const struct unit *units = units_of(kind);
    int best = 0;

    if (units == NULL) {
        (void)snprintf(text, CONF_NUMBER_BYTES, "%llu", (unsigned long long)number);
        return text;
    }
    for (int i = 1; units[i].name != NULL; i++) {
        best = number != 0 && number % units[i].factor == 0 ? i : best;
    }
    /* "0s" reads better than "0ms". */
    best = number == 0 && kind == CONF_DURATION ? 1 : best;
    (void)snprintf(text, CONF_NUMBER_BYTES, "%llu%s", (unsigned long long)(number / units[best].factor),
                   units[best].name);
    return text;
}

/* "10ms to 1h", or "1" when there is only one. */
static const char *range_text(const struct conf_row *key, char *text, size_t size)
{
    char from[CONF_NUMBER_BYTES], to[CONF_NUMBER_BYTES];

    (void)conf_number_text(key->kind, key->min, from);
    (void)conf_number_text(key->kind, key->max, to);
    text[0] = '\0';
    if (key->min == key->max) {
        conf_append(text, size, "%s", from);
    } else {
        conf_append(text, size, "%s to %s", from, to);
    }
    return text;
}

/* "a|b" with another separator. */
static void append_words(char *text, size_t size, const char *words, const char *separator)
{
    for (const char *at = words; *at != '\0'; at++) {
        if (*at == '|') {
            conf_append(text, size, "%s", separator);
        } else {
            conf_append(text, size, "%c", *at);
        }
    }
}

/* ---- numbers ---- */

static size_t count_digits(struct bytes text)
{
    size_t count = 0;

    while (count < text.len && text.at[count] >= '0' && text.at[count] <= '9') {
        count++;
    }
    return count;
}

static const struct unit *unit_find(const struct unit *units, struct bytes name)
{
    for (; units->name != NULL; units++) {
        if (bytes_equal(bytes_from_text(units->name), name)) {
            return units;
        }
    }
    return NULL;
}

static bool fail_with_range(const struct conf_row *key, const char *what, struct conf_fault *fault)
{
    char range[80];

    return conf_kind_fail(fault, what, "expected %s", range_text(key, range, sizeof(range)));
}

static void store_number(const struct conf_row *key, uint64_t number, void *field)
{
    if (key->field.bytes == sizeof(uint16_t)) {
        *(uint16_t *)field = (uint16_t)number;
    } else if (key->field.bytes == sizeof(uint32_t)) {
        *(uint32_t *)field = (uint32_t)number;
    } else if (key->field.bytes == sizeof(uint64_t)) {
        *(uint64_t *)field = number;
    }
}

static bool fail_unit(const struct conf_row *key, struct bytes name, struct conf_fault *fault)
{
    const char *what = name.len == 0 ? "has no unit" : "has an unknown unit";

    switch (key->kind) {
    case CONF_DURATION:
        return conf_kind_fail(fault, what, "units are ms, s, m, h, d");
    case CONF_BYTES:
        return conf_kind_fail(fault, what, "units are B, KiB, MiB, GiB, TiB");
    default:
        return fail_with_range(key, "is not a percentage", fault);
    }
}

static bool parse_number(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                         struct conf_fault *fault)
{
    const struct unit *units = units_of(key->kind);
    struct bytes digits = bytes_take(text, count_digits(text));
    struct bytes name = bytes_skip(text, digits.len);
    const struct unit *unit = units != NULL ? unit_find(units, name) : NULL;
    uint64_t number;

    (void)memory;
    if (digits.len == 0) {
        return fail_with_range(key, units == NULL ? "is not a number" : "is not a number with a unit", fault);
    }
    if (name.len > 0 && name.at[0] == '.') {
        return fail_with_range(key, "is not a whole number", fault);
    }
    if (units == NULL && name.len > 0) {
        return fail_with_range(key, "is not a number", fault);
    }
    if (units != NULL && unit == NULL) {
        return fail_unit(key, name, fault);
    }
    if (!bytes_to_u64(digits, &number) || __builtin_mul_overflow(number, unit != NULL ? unit->factor : 1, &number) ||
        number < key->min || number > key->max) {
        return fail_with_range(key, "is out of range", fault);
    }
    store_number(key, number, field);
    return true;
}

/* An entry of a list of weights, whose min and max are of the list. */
static bool parse_weight(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                         struct conf_fault *fault)
{
    const struct conf_row as_number = {
        .kind = CONF_COUNT, .field = {.bytes = key->field.entry_bytes}, .min = 1, .max = CONF_WEIGHT_MAX};

    return parse_number(&as_number, text, memory, field, fault);
}

/* ---- words ---- */

struct bytes conf_kind_next_word(const char **words)
{
    size_t len = strcspn(*words, "|");
    struct bytes word = bytes_of(*words, len);

    *words += (*words)[len] == '|' ? len + 1 : len;
    return word;
}

int conf_kind_word_index(const char *words, struct bytes text)
{
    for (int i = 0; words != NULL && *words != '\0'; i++) {
        if (bytes_equal(conf_kind_next_word(&words), text)) {
            return i;
        }
    }
    return -1;
}

/* A bool is false for the first word; a text keeps the word. */
static void store_word(const struct conf_row *key, int index, struct bytes text, struct conf_memory *memory, void *field)
{
    if (key->field.bytes == sizeof(bool)) {
        *(bool *)field = index != 0;
    } else if (key->field.bytes == sizeof(const char *)) {
        *(const char **)field = conf_memory_text(memory, text);
    } else {
        *(int *)field = index;
    }
}

static bool parse_word(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                       struct conf_fault *fault)
{
    int index = conf_kind_word_index(key->words, text);

    if (index < 0) {
        return conf_kind_fail_word(key, text,
                                   key->kind == CONF_SECTION ? "is neither a section of keys nor one of its words"
                                                             : "is not one of its values",
                                   memory, fault);
    }
    if (key->field.at != SIZE_MAX) {
        store_word(key, index, text, memory, field);
    }
    return true;
}

static bool parse_bool(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                       struct conf_fault *fault)
{
    int index = conf_kind_word_index("false|true", text);

    (void)key;
    (void)memory;
    if (index < 0) {
        return conf_kind_fail(fault, "is not one of its values", "expected true or false");
    }
    *(bool *)field = index != 0;
    return true;
}

bool conf_kind_fail_word(const struct conf_row *key, struct bytes text, const char *what, struct conf_memory *memory,
                         struct conf_fault *fault)
{
    struct conf_near near = {.text = text};
    char allowed[128] = "";

    for (const char *words = key->words; *words != '\0';) {
        (void)conf_near_offer(&near, conf_kind_next_word(&words));
    }
    append_words(allowed, sizeof(allowed), key->words, ", ");
    fault->what = what;
    fault->allowed = conf_memory_text(memory, bytes_from_text(allowed));
    if (near.best.at != NULL) {
        (void)snprintf(fault->hint, sizeof(fault->hint), "did you mean '%.*s'?", BYTES_ARG(near.best));
    }
    return false;
}

/* ---- addresses ---- */

static bool parse_listen(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                         struct conf_fault *fault)
{
    struct addr_listen listen;

    (void)key;
    (void)memory;
    if (!addr_listen_parse(text, &listen)) {
        return conf_kind_fail(fault, "is not an address to listen on", "expected ADDRESS:PORT, unix:/path or fd:N");
    }
    *(struct addr_listen *)field = listen;
    return true;
}

static bool parse_address(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                          struct conf_fault *fault)
{
    struct addr addr;

    (void)key;
    (void)memory;
    if (!addr_parse(text, &addr) || addr_port(&addr) == 0) {
        return conf_kind_fail(fault, "is not a numeric address with a port",
                              "expected one such as \"10.0.0.1:443\"; names belong in url");
    }
    *(struct addr *)field = addr;
    return true;
}

static bool parse_network(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                          struct conf_fault *fault)
{
    struct addr_net net;

    (void)key;
    (void)memory;
    if (!addr_net_parse(text, &net)) {
        return conf_kind_fail(fault, "is not a network", "expected one such as 10.0.0.0/8, an address, or unix");
    }
    *(struct addr_net *)field = net;
    return true;
}

/* ---- the table of kinds ---- */

#define NUMBER_PATTERN "^[0-9]+"
#define STATUS_PATTERN "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"
#define NAME_PATTERN "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"

static const struct {
    const char *noun;
    const char *pattern;
    bool (*parse)(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                  struct conf_fault *fault);
} kinds[CONF_KIND_COUNT] = {
    [CONF_SECTION] = {"section", NULL, parse_word}, /* its words */
    [CONF_SECTIONS] = {"list of sections", NULL, NULL},
    [CONF_NAMED] = {"sections by name", NULL, NULL},
    [CONF_DURATION] = {"duration", NUMBER_PATTERN "(ms|s|m|h|d)$", parse_number},
    [CONF_BYTES] = {"size", NUMBER_PATTERN "(B|KiB|MiB|GiB|TiB)$", parse_number},
    [CONF_COUNT] = {"number", NULL, parse_number},
    [CONF_PERCENT] = {"percentage", NUMBER_PATTERN "%$", parse_number},
    [CONF_WORD] = {"word", NULL, parse_word},
    [CONF_NAME] = {"name", NAME_PATTERN, conf_kind_parse_name},
    [CONF_PATH] = {"absolute path", "^/", conf_kind_parse_path},
    [CONF_LISTEN] = {"ADDRESS:PORT, unix:/path or fd:N", NULL, parse_listen},
    [CONF_URL] = {"http or https url without path", "^https?://[^/?#@]+/?$", conf_kind_parse_url},
    [CONF_HOST] = {"host name or address", NULL, conf_kind_parse_host},
    [CONF_MATCH] = {"path, or prefix ending in /*", "^/[^?#*]*[*]?$", conf_kind_parse_match},
    [CONF_METHOD] = {"method", "^[A-Z][A-Z0-9_-]*$", conf_kind_parse_method},
    [CONF_BOOL] = {"true or false", NULL, parse_bool},
    [CONF_RANGE] = {"range", "^[0-9]+-[0-9]+$", conf_kind_parse_range},
    [CONF_KEY] = {"header:NAME or json:/POINTER", "^(header:[!-~]+|json:/.*)$", conf_kind_parse_key},
    [CONF_TENANT] = {"header:NAME, mtls_subject or client_ip", "^(header:[!-~]+|mtls_subject|client_ip)$",
                     conf_kind_parse_tenant},
    [CONF_LINE] = {"\"NAME: VALUE\"", "^[!-9;-~]+: *[ -~]+$", conf_kind_parse_line},
    [CONF_CHARS] = {"characters and ranges of them", "^[!-~]+$", conf_kind_parse_chars},
    [CONF_PREFIX] = {"start of a path", "^/[^?#*]*$", conf_kind_parse_prefix},
    [CONF_TARGET] = {"path, and query if any", "^/[^#]*$", conf_kind_parse_target},
    [CONF_STATUS] = {"status, or range of them", STATUS_PATTERN, conf_kind_parse_status},
    [CONF_TEXT] = {"text without spaces", "^[!-~]+$", conf_kind_parse_text},
    [CONF_RATE] = {"rate such as 100/s, 30/60s or 1/day", "^[0-9]+/[0-9]*(ms|s|m|min|h|hour|d|day)$",
                   conf_kind_parse_rate},
    [CONF_ADDRESSES] = {"list of ADDRESS:PORT", NULL, parse_address},
    [CONF_NETWORKS] = {"list of networks", NULL, parse_network},
    [CONF_CODES] = {"list of statuses and ranges of them", STATUS_PATTERN, conf_kind_parse_code},
    [CONF_FIELDS] = {"list of fields", "^[!-~]+$", conf_kind_parse_field},
    [CONF_STARTS] = {"list of fields, a start of their names ending in *", "^[!-~]+$", conf_kind_parse_start},
    [CONF_TEXTS] = {"list of words", "^[!-~]+$", conf_kind_parse_entry},
    [CONF_METHODS] = {"list of methods", NULL, parse_word},
    [CONF_SERVERS] = {"list of redis or rediss urls", "^rediss?://[^/?#@]+$", conf_kind_parse_server},
    [CONF_PARTS] = {"list of tenant, client_ip, mtls_subject, header:NAME and route",
                    "^(tenant|client_ip|mtls_subject|route|header:[!-~]+)$", conf_kind_parse_part},
    [CONF_WEIGHTS] = {"list of numbers from 1 to 100", NULL, parse_weight},
    [CONF_NAMES] = {"list of names", NAME_PATTERN, conf_kind_parse_named},
};

bool conf_kind_parse(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field,
                     struct conf_fault *fault)
{
    *fault = (struct conf_fault){.what = ""};
    return kinds[key->kind].parse(key, text, memory, field, fault);
}

bool conf_kind_is_list(enum conf_kind kind)
{
    return kind >= CONF_ADDRESSES;
}

bool conf_list_next(struct bytes *rest, struct bytes *entry)
{
    size_t len = 0;

    while (rest->len > 0 && strchr("[ ,]", rest->at[0]) != NULL) {
        *rest = bytes_skip(*rest, 1);
    }
    while (len < rest->len && strchr(" ,]", rest->at[len]) == NULL) {
        len++;
    }
    *entry = bytes_take(*rest, len);
    *rest = bytes_skip(*rest, len);
    return len > 0;
}

const char *conf_kind_noun(enum conf_kind kind)
{
    return kinds[kind].noun;
}

const char *conf_kind_pattern(enum conf_kind kind)
{
    return kinds[kind].pattern;
}

/* A list of sections for which one value may stand: that of its key. */
static void append_short(char *text, size_t size, const struct conf_row *key)
{
    const struct conf_row *alone = conf_key_find(key, bytes_from_text(key->words));
    char described[160];

    conf_append(text, size, "%s | %s", conf_kind_describe(alone, described, sizeof(described)),
                conf_kind_noun(key->kind));
}

/* Words, and what else a value may be. */
static void append_choice(char *text, size_t size, const struct conf_row *key)
{
    append_words(text, size, key->words, " | ");
    if (key->kind == CONF_METHODS) {
        conf_append(text, size, ", a list of them");
    } else if (key->kind != CONF_WORD) {
        conf_append(text, size, " | %s", conf_kind_noun(key->kind));
    }
}

const char *conf_kind_describe(const struct conf_row *key, char *text, size_t size)
{
    bool has_entries = key->kind == CONF_SECTIONS || key->kind == CONF_NAMED || conf_kind_is_list(key->kind);
    char range[80];

    text[0] = '\0';
    if (key->words != NULL && key->kind == CONF_SECTIONS) {
        append_short(text, size, key);
    } else if (key->words != NULL) {
        append_choice(text, size, key);
        return text;
    } else {
        conf_append(text, size, "%s", conf_kind_noun(key->kind));
    }
    if (key->kind == CONF_DURATION || key->kind == CONF_BYTES || key->kind == CONF_COUNT || key->kind == CONF_PERCENT ||
        key->kind == CONF_RANGE) {
        conf_append(text, size, ", %s", range_text(key, range, sizeof(range)));
    } else if (has_entries) {
        conf_append(text, size, ", at most %llu%s", (unsigned long long)key->max,
                    (key->flags & CONF_ALONE) != 0 ? "; or one of them" : "");
    }
    return text;
}
