/*
 * Reads an idempotency key as clients spell it. Nearly all send a bare word;
 * RFC 9651 wants a String in quotes, perhaps with parameters behind it. Both
 * spellings of one key are one key, and whatever has two readings is refused:
 * a key that a processor reads otherwise than weir protects nothing.
 */
#include "weir/policy/profile.h"

const char *key_fault_text(enum key_fault fault)
{
    switch (fault) {
    case KEY_OK:
        return "";
    case KEY_EMPTY:
        return "the key is empty";
    case KEY_SHORT:
        return "the key is shorter than the processor takes";
    case KEY_LONG:
        return "the key is longer than the processor takes";
    case KEY_CHARACTER:
        return "the key has a character that a key may not have";
    case KEY_QUOTES:
        return "the key's quotes are not those of one string";
    case KEY_PARAMETERS:
        return "what follows the key are no parameters of a string in quotes";
    case KEY_FAULT_COUNT:
        break;
    }
    CHECK(false);
    return "";
}

/* ---- characters ---- */

/* `set` as operators write it: single characters and ranges (A-Z); a '-' at either end is itself. */
static bool set_holds(const char *set, char c)
{
    for (const char *at = set; *at != '\0'; at++) {
        if (at[1] == '-' && at[2] != '\0') {
            if (c >= at[0] && c <= at[2]) {
                return true;
            }
            at += 2;
        } else if (*at == c) {
            return true;
        }
    }
    return false;
}

static bool is_visible(char c)
{
    return c >= 0x21 && c <= 0x7e;
}

/* A space may stand inside of a key that came in quotes: at its ends it would be lost on the way to the processor. */
static bool characters_fit(const struct profile *profile, const char *text, size_t len, bool spaces)
{
    for (size_t i = 0; i < len; i++) {
        bool inner_space = spaces && text[i] == ' ' && i > 0 && i + 1 < len;
        if (!is_visible(text[i]) && !inner_space) {
            return false;
        }
        if (profile->key_chars != NULL && !set_holds(profile->key_chars, text[i])) {
            return false;
        }
    }
    return true;
}

static enum key_fault judge(const struct profile *profile, const char *text, size_t len, bool spaces)
{
    if (len == 0) {
        return KEY_EMPTY;
    }
    if (!characters_fit(profile, text, len, spaces)) {
        return KEY_CHARACTER;
    }
    return len < profile->key_bytes_min ? KEY_SHORT : KEY_OK;
}

static size_t longest_of(const struct profile *profile)
{
    size_t max = profile->key_bytes_max;
    return max == 0 || max > PROFILE_KEY_BYTES_MAX ? PROFILE_KEY_BYTES_MAX : max;
}

/* ---- RFC 9651 ---- */

/* Unescapes the String at the start of `value`; *rest is what follows its closing quote. */
static enum key_fault read_string(struct bytes value, size_t max, char *text, size_t *len, struct bytes *rest)
{
    bool closed = false;
    size_t at = 1;
    size_t count = 0;
    for (; at < value.len && !closed; at++) {
        char c = value.at[at];
        if (c == '"') {
            closed = true;
            continue;
        }
        if (c == '\\') {
            at++;
            if (at == value.len || (value.at[at] != '"' && value.at[at] != '\\')) {
                return KEY_QUOTES;
            }
            c = value.at[at];
        }
        if (count == max) {
            return KEY_LONG;
        }
        text[count++] = c;
    }
    if (!closed) {
        return KEY_QUOTES;
    }
    *len = count;
    *rest = bytes_skip(value, at);
    return KEY_OK;
}

static bool is_parameter_start(char c)
{
    return (c >= 'a' && c <= 'z') || c == '*';
}

static bool is_parameter_char(char c)
{
    return is_parameter_start(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* How long the value of a parameter is: a String, or all up to the next ';'. 0: there is none. */
static size_t item_len(struct bytes rest)
{
    size_t len = 0;
    if (rest.len > 0 && rest.at[0] == '"') {
        for (len = 1; len < rest.len && rest.at[len] != '"'; len++) {
            len += rest.at[len] == '\\';
        }
        return len < rest.len ? len + 1 : 0;
    }
    while (len < rest.len && rest.at[len] != ';' && rest.at[len] != '"' && rest.at[len] != ',' &&
           is_visible(rest.at[len])) {
        len++;
    }
    return len;
}

/* Whether `rest` is nothing but parameters: *( ";" *SP key [ "=" value ] ). They mean nothing here. */
static bool are_parameters(struct bytes rest)
{
    while (rest.len > 0) {
        size_t len = 0;
        if (rest.at[0] != ';') {
            return false;
        }
        rest = bytes_skip(rest, 1);
        while (rest.len > 0 && rest.at[0] == ' ') {
            rest = bytes_skip(rest, 1);
        }
        while (len < rest.len && is_parameter_char(rest.at[len])) {
            len++;
        }
        if (len == 0 || !is_parameter_start(rest.at[0])) {
            return false;
        }
        rest = bytes_skip(rest, len);
        if (rest.len > 0 && rest.at[0] == '=') {
            len = item_len(bytes_skip(rest, 1));
            if (len == 0) {
                return false;
            }
            rest = bytes_skip(rest, len + 1);
        }
    }
    return true;
}

/* ---- the spellings ---- */

static enum key_fault read_quoted(const struct profile *profile, struct bytes value, char *text, size_t *len)
{
    struct bytes rest = BYTES_NONE;
    enum key_fault fault = read_string(value, longest_of(profile), text, len, &rest);
    if (fault != KEY_OK) {
        return fault;
    }
    if (!are_parameters(rest)) {
        return rest.at[0] == ';' ? KEY_PARAMETERS : KEY_QUOTES;
    }
    return judge(profile, text, *len, true);
}

/* A ';' in a bare key may be one of its characters or the begin of a parameter: two readings. */
static enum key_fault read_bare(const struct profile *profile, struct bytes value, char *text, size_t *len)
{
    if (bytes_find(value, '"') != SIZE_MAX) {
        return KEY_QUOTES;
    }
    if (bytes_find(value, ';') != SIZE_MAX) {
        return KEY_PARAMETERS;
    }
    if (value.len > longest_of(profile)) {
        return KEY_LONG;
    }
    *len = bytes_to_text(value, text, PROFILE_KEY_BYTES_MAX + 1);
    return judge(profile, text, *len, false);
}

static enum key_fault read_json(const struct profile *profile, struct bytes value, char *text, size_t *len)
{
    if (value.len > longest_of(profile)) {
        return KEY_LONG;
    }
    *len = bytes_to_text(value, text, PROFILE_KEY_BYTES_MAX + 1);
    return judge(profile, text, *len, true);
}

enum key_fault profile_read_key(const struct profile *profile, struct bytes value, bool from_json,
                                char text[PROFILE_KEY_BYTES_MAX + 1], size_t *len)
{
    enum key_fault fault = KEY_EMPTY;
    *len = 0;
    if (from_json) {
        fault = read_json(profile, value, text, len);
    } else {
        value = bytes_trim(value);
        if (value.len > 0) {
            fault = value.at[0] == '"' ? read_quoted(profile, value, text, len) : read_bare(profile, value, text, len);
        }
    }
    if (fault != KEY_OK) {
        *len = 0;
    }
    text[*len] = '\0';
    return fault;
}
