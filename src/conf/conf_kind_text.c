/*
 * Kinds of values that stay text: names, paths, urls, servers, hosts, and what
 * a route matches. Each accepts only what has one reading.
 */
#include <stdio.h>

#include "conf_kind_internal.h"

bool conf_kind_fail(struct conf_fault *fault, const char *what, const char *hint_format, ...)
{
    va_list arguments;

    fault->what = what;
    va_start(arguments, hint_format);
    (void)vsnprintf(fault->hint, sizeof(fault->hint), hint_format, arguments);
    va_end(arguments);
    return false;
}

static void store_text(const struct conf_row *key, struct bytes text, struct conf_memory *memory, void *field)
{
    if (key->field.at != SIZE_MAX) {
        *(const char **)field = conf_memory_text(memory, text);
    }
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* ---- names and paths ---- */

CONF_KIND_PARSER(conf_kind_parse_name)
{
    bool good = text.len >= 1 && text.len <= key->max && (is_letter(text.at[0]) || is_digit(text.at[0]));

    for (size_t i = 0; good && i < text.len; i++) {
        good = is_letter(text.at[i]) || is_digit(text.at[i]) || text.at[i] == '_' || text.at[i] == '-';
    }
    if (!good) {
        return conf_kind_fail(fault, "is not a name", "expected up to 63 letters, digits, '-' and '_', a letter or digit first");
    }
    store_text(key, text, memory, field);
    return true;
}

#define NAME_BYTES_MAX 63

/* An entry of a list of names, whose max is of the list. */
CONF_KIND_PARSER(conf_kind_parse_named)
{
    struct conf_row as_name = *key;

    as_name.max = NAME_BYTES_MAX;
    return conf_kind_parse_name(&as_name, text, memory, field, fault);
}

static bool parse_visible(struct bytes text, size_t most, struct conf_memory *memory, void *field,
                          struct conf_fault *fault)
{
    bool good = text.len >= 1 && text.len <= most;

    for (size_t i = 0; good && i < text.len; i++) {
        good = text.at[i] > ' ' && text.at[i] <= '~';
    }
    if (!good) {
        return conf_kind_fail(fault, "is not visible ASCII", "expected at most %zu characters without spaces", most);
    }
    *(const char **)field = conf_memory_text(memory, text);
    return true;
}

CONF_KIND_PARSER(conf_kind_parse_text)
{
    return parse_visible(text, (size_t)key->max, memory, field, fault);
}

#define ENTRY_BYTES_MAX 128

CONF_KIND_PARSER(conf_kind_parse_entry)
{
    (void)key;
    return parse_visible(text, ENTRY_BYTES_MAX, memory, field, fault);
}

/* Absolute, since a relative path means another file under systemd than in a shell. */
CONF_KIND_PARSER(conf_kind_parse_path)
{
    if (conf_kind_word_index(key->words, text) < 0) {
        if (text.len == 0 || text.at[0] != '/') {
            return key->words != NULL
                       ? conf_kind_fail_word(key, text, "is neither a path that begins with '/' nor one of its words",
                                             memory, fault)
                       : conf_kind_fail(fault, "is not an absolute path", "expected a path that begins with '/'");
        }
        if (text.len > key->max) {
            return conf_kind_fail(fault, "is too long", "expected at most %llu bytes", (unsigned long long)key->max);
        }
        for (size_t i = 0; i < text.len; i++) {
            if ((unsigned char)text.at[i] < ' ') {
                return conf_kind_fail(fault, "holds a control character", "expected a path on one line");
            }
        }
    }
    store_text(key, text, memory, field);
    return true;
}

/* ---- hosts ---- */

static bool is_label(struct bytes label)
{
    if (label.len == 0 || label.len > 63 || label.at[0] == '-' || label.at[label.len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < label.len; i++) {
        if (!is_letter(label.at[i]) && !is_digit(label.at[i]) && label.at[i] != '-' && label.at[i] != '_') {
            return false;
        }
    }
    return true;
}

static bool is_all_digits(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.at[i])) {
            return false;
        }
    }
    return true;
}

/* RFC 1123, and underscores, which internal names have. A last label of digits alone would be an address. */
static bool is_host_name(struct bytes text)
{
    struct bytes label = BYTES_NONE;

    if (text.len == 0 || text.len > 253) {
        return false;
    }
    for (;;) {
        size_t dot = bytes_find(text, '.');

        label = bytes_take(text, dot);
        if (!is_label(label)) {
            return false;
        }
        if (dot == SIZE_MAX) {
            return !is_all_digits(label);
        }
        text = bytes_skip(text, dot + 1);
    }
}

static bool is_address(struct bytes text)
{
    struct addr addr;

    return addr_parse_host(text, 1, &addr);
}

static bool is_bracketed(struct bytes text)
{
    return text.len > 2 && text.at[0] == '[' && text.at[text.len - 1] == ']';
}

/* What a Host field may hold, without its port: a name, an IPv4 address, or an IPv6 address in brackets. */
CONF_KIND_PARSER(conf_kind_parse_host)
{
    struct bytes inner = is_bracketed(text) ? bytes_of(text.at + 1, text.len - 2) : text;
    size_t colon = bytes_find(text, ':');

    (void)key;
    if (bytes_find(text, '*') != SIZE_MAX) {
        return conf_kind_fail(fault, "is a pattern", "expected one exact host");
    }
    if (colon != SIZE_MAX && is_host_name(bytes_take(text, colon))) {
        return conf_kind_fail(fault, "has a port", "expected the host alone");
    }
    if (!is_address(inner) && !(inner.len == text.len && is_host_name(text))) {
        return conf_kind_fail(fault, "is not a host", "expected a name such as pay.example.com, or an address");
    }
    *(const char **)field = conf_memory_lower(memory, text);
    return true;
}

/* ---- urls ---- */

static bool split_port(struct bytes *authority, struct conf_url *url)
{
    size_t colon = url->bracketed ? bytes_find(*authority, ']') + 1 : bytes_find(*authority, ':');
    uint64_t port;

    url->port = url->tls ? 443 : 80;
    url->port_is_default = true;
    url->port_is_written = false;
    if (colon == SIZE_MAX || colon == authority->len) {
        return true;
    }
    if (authority->at[colon] != ':' || !bytes_to_u64(bytes_skip(*authority, colon + 1), &port) || port < 1 ||
        port > 65535) {
        return false;
    }
    url->port_is_default = port == url->port;
    url->port_is_written = true;
    url->port = (uint16_t)port;
    *authority = bytes_take(*authority, colon);
    return true;
}

static bool split_host(struct bytes authority, struct conf_url *url)
{
    url->bracketed = authority.len > 0 && authority.at[0] == '[';
    if (url->bracketed && bytes_find(authority, ']') == SIZE_MAX) {
        return false;
    }
    if (!split_port(&authority, url)) {
        return false;
    }
    url->host = authority;
    if (url->bracketed) {
        url->host = bytes_of(authority.at + 1, authority.len - 2);
        return bytes_find(url->host, ':') != SIZE_MAX && is_address(url->host);
    }
    return is_host_name(authority) || (bytes_find(authority, ':') == SIZE_MAX && is_address(authority));
}

/* Behind the scheme. A user name is refused by name: it brings a password along. */
static bool split_rest(struct bytes rest, const char *shape, const char *user, struct conf_url *url,
                       struct conf_fault *fault)
{
    size_t end = 0;

    if (bytes_find(rest, '@') != SIZE_MAX) {
        return conf_kind_fail(fault, "has a user name", "%s", user);
    }
    while (end < rest.len && strchr("/?#", rest.at[end]) == NULL) {
        end++;
    }
    /* One slash is what browsers add: the same url. */
    if (end < rest.len && !(rest.at[end] == '/' && end + 1 == rest.len)) {
        return conf_kind_fail(fault, rest.at[end] == '/' ? "has a path" : "has a query", "%s", shape);
    }
    if (!split_host(bytes_take(rest, end), url)) {
        return conf_kind_fail(fault, "has no valid host and port", "%s", shape);
    }
    return true;
}

bool conf_url_split(struct bytes text, struct conf_url *url, struct conf_fault *fault)
{
    static const char shape[] = "expected https://HOST or https://HOST:PORT";

    url->tls = bytes_starts_with(text, BYTES("https://"));
    if (!url->tls && !bytes_starts_with(text, BYTES("http://"))) {
        return conf_kind_fail(fault, "is not an http or https url", "%s", shape);
    }
    return split_rest(bytes_skip(text, url->tls ? 8 : 7), shape, shape, url, fault);
}

CONF_KIND_PARSER(conf_kind_parse_url)
{
    struct conf_url url;

    if (text.len > key->max) {
        return conf_kind_fail(fault, "is too long", "expected at most %llu bytes", (unsigned long long)key->max);
    }
    if (!conf_url_split(text, &url, fault)) {
        return false;
    }
    store_text(key, text, memory, field);
    return true;
}

#define REDIS_PORT 6379

/* A database number would be a path; weir has its records in the first. */
CONF_KIND_PARSER(conf_kind_parse_server)
{
    static const char shape[] = "expected rediss://HOST or rediss://HOST:PORT";
    struct conf_server *server = field;
    struct conf_url url;

    (void)key;
    url.tls = bytes_starts_with(text, BYTES("rediss://"));
    if (!url.tls && !bytes_starts_with(text, BYTES("redis://"))) {
        return conf_kind_fail(fault, "is not a redis or rediss url", "%s", shape);
    }
    if (!split_rest(bytes_skip(text, url.tls ? 9 : 8), shape, "use username and password_file", &url, fault)) {
        return false;
    }
    *server = (struct conf_server){.text = conf_memory_text(memory, text),
                                   .tls = url.tls,
                                   .host = conf_memory_lower(memory, url.host),
                                   .port = url.port_is_written ? url.port : REDIS_PORT};
    return true;
}

/* ---- what a route matches ---- */

/* The bytes that a request's path may hold, as they are sent. */
static bool is_path_byte(char byte)
{
    return byte > ' ' && byte < 0x7f && strchr("?#*\"<>\\^`{|}", byte) == NULL;
}

CONF_KIND_PARSER(conf_kind_parse_match)
{
    struct bytes rest = text;

    if (bytes_ends_with(rest, BYTES("/*"))) {
        rest = bytes_take(rest, rest.len - 1);
    }
    if (rest.len == 0 || rest.at[0] != '/') {
        return conf_kind_fail(fault, "is not a path", "expected /path or /prefix/*");
    }
    if (rest.len > key->max) {
        return conf_kind_fail(fault, "is too long", "expected at most %llu bytes", (unsigned long long)key->max);
    }
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.at[i] == '*') {
            return conf_kind_fail(fault, "has a '*' that does not end it after '/'", "expected /path or /prefix/*");
        }
        if (!is_path_byte(rest.at[i])) {
            return conf_kind_fail(fault, "holds a character that no path has", "expected a path without query, as it is sent");
        }
    }
    store_text(key, text, memory, field);
    return true;
}

CONF_KIND_PARSER(conf_kind_parse_prefix)
{
    if (text.len == 0 || text.at[0] != '/') {
        return conf_kind_fail(fault, "is not a path", "expected the start of one, such as /v1/payments");
    }
    if (text.len > key->max) {
        return conf_kind_fail(fault, "is too long", "expected at most %llu bytes", (unsigned long long)key->max);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '*') {
            return conf_kind_fail(fault, "has a '*'", "write the start of the paths alone");
        }
        if (!is_path_byte(text.at[i])) {
            return conf_kind_fail(fault, "holds a character that no path has", "expected a path without query, as it is sent");
        }
    }
    store_text(key, text, memory, field);
    return true;
}

/* Of a request that weir makes itself. */
CONF_KIND_PARSER(conf_kind_parse_target)
{
    if (text.len == 0 || text.at[0] != '/') {
        return conf_kind_fail(fault, "is not a path", "expected one such as /healthz");
    }
    if (text.len > key->max) {
        return conf_kind_fail(fault, "is too long", "expected at most %llu bytes", (unsigned long long)key->max);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_path_byte(text.at[i]) && text.at[i] != '?' && text.at[i] != '*') {
            return conf_kind_fail(fault, "holds a character that no path or query has",
                                  "expected it as it is sent, such as /healthz");
        }
    }
    store_text(key, text, memory, field);
    return true;
}

CONF_KIND_PARSER(conf_kind_parse_method)
{
    bool good = text.len >= 1 && text.len <= key->max && is_letter(text.at[0]);
    bool upper = good;

    for (size_t i = 0; good && i < text.len; i++) {
        good = is_letter(text.at[i]) || is_digit(text.at[i]) || text.at[i] == '-' || text.at[i] == '_';
        upper = upper && !(text.at[i] >= 'a' && text.at[i] <= 'z');
    }
    if (!good) {
        return conf_kind_fail(fault, "is not a method", "expected one such as POST");
    }
    if (!upper) {
        return conf_kind_fail(fault, "is not upper case", "methods are, as in POST");
    }
    store_text(key, text, memory, field);
    return true;
}
