/*
 * Where a request wants to go: its target and its Host. A target is passed on
 * byte for byte or refused; it is never decoded, merged or cleaned, because a
 * path that weir reads in one way and a processor in another is a way around
 * the routes.
 */
#include <arpa/inet.h>

#include "chars_internal.h"
#include "rules_internal.h"

#define HOST_BYTES_MAX 255
#define PORT_DIGITS_MAX 5

/* The byte that %XX at the front of `text` stands for, or -1. */
static int decode(struct bytes text)
{
    if (text.len < 3 || text.at[0] != '%')
        return -1;
    int high = chars_hex(text.at[1]);
    int low = chars_hex(text.at[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* "." and "..", also with encoded dots, also with a parameter behind (which some servers cut off first). */
static bool is_dot_segment(struct bytes segment)
{
    int dots = 0;
    size_t at = 0;
    while (at < segment.len) {
        if (segment.at[at] == '.')
            at += 1;
        else if (decode(bytes_skip(segment, at)) == '.')
            at += 3;
        else
            break;
        dots++;
    }
    return (dots == 1 || dots == 2) && (at == segment.len || segment.at[at] == ';');
}

static const char *encoded_fault(struct bytes rest)
{
    int byte = decode(rest);
    if (byte < 0)
        return "a percent sign without two hex digits in the path";
    if (byte == '/' || byte == '\\')
        return "an encoded slash or backslash in the path";
    if (byte < ' ' || byte == 0x7f)
        return "an encoded control byte in the path";
    return NULL;
}

/* NULL when the path has one reading. `path` begins with '/'. */
static const char *path_fault(struct bytes path)
{
    size_t segment = 1;
    for (size_t i = 1; i <= path.len; i++) {
        if (i < path.len && chars_is(path.at[i], CHARS_PATH))
            continue;
        if (i == path.len || path.at[i] == '/') {
            if (i == segment && i < path.len)
                return "two slashes in a row in the path";
            if (is_dot_segment(bytes_of(path.at + segment, i - segment)))
                return "a dot segment in the path";
            segment = i + 1;
        } else if (path.at[i] == '%') {
            const char *text = encoded_fault(bytes_skip(path, i));
            if (text != NULL)
                return text;
        } else if (path.at[i] != '.') {
            return "a byte in the path that must be encoded";
        }
    }
    return NULL;
}

static const char *query_fault(struct bytes query)
{
    return bytes_find_text(query, BYTES("%00")) != SIZE_MAX ? "an encoded NUL in the query" : NULL;
}

static struct verdict split_origin(struct http_head *head)
{
    size_t mark = bytes_find(head->target, '?');
    head->path = bytes_take(head->target, mark);
    head->query = BYTES_NONE;
    if (mark != SIZE_MAX)
        head->query = bytes_of(head->target.at + mark + 1, head->target.len - mark - 1);
    const char *text = path_fault(head->path);
    if (text == NULL)
        text = query_fault(head->query);
    return text == NULL ? VERDICT_OK : verdict_malformed(text);
}

static size_t scheme_len(struct bytes target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        struct bytes scheme = bytes_from_text(schemes[i]);
        if (bytes_equal_nocase(bytes_take(target, scheme.len), scheme))
            return scheme.len;
    }
    return 0;
}

/* The authority must be the Host, so that dropping it loses nothing. */
static struct verdict make_origin(struct http_head *head)
{
    size_t skipped = scheme_len(head->target);
    if (skipped == 0)
        return verdict_malformed("the request target is no path and no http URL");
    struct bytes rest = bytes_skip(head->target, skipped);
    size_t authority_len = 0;
    while (authority_len < rest.len && rest.at[authority_len] != '/' && rest.at[authority_len] != '?')
        authority_len++;
    if (!bytes_equal_nocase(bytes_take(rest, authority_len), head->authority))
        return verdict_malformed("the request target names another authority than Host");
    struct bytes origin = bytes_skip(rest, authority_len);
    if (origin.len == 0)
        origin = bytes_equal(head->method, BYTES("OPTIONS")) ? BYTES("*") : BYTES("/");
    else if (origin.at[0] == '?')
        return verdict_malformed("the request target has a query and no path");
    head->target = origin;
    return VERDICT_OK;
}

struct verdict target__split(struct http_head *head)
{
    if (head->target.len > 0 && head->target.at[0] != '/' && head->target.at[0] != '*') {
        struct verdict verdict = make_origin(head);
        if (verdict_refuses(verdict))
            return verdict;
    }
    if (head->target.len > 0 && head->target.at[0] == '/')
        return split_origin(head);
    if (!bytes_equal(head->target, BYTES("*")))
        return verdict_malformed("the request target is no path");
    if (!bytes_equal(head->method, BYTES("OPTIONS")))
        return verdict_malformed("the request target * without OPTIONS");
    head->path = head->target;
    head->query = BYTES_NONE;
    return VERDICT_OK;
}

static bool is_port(struct bytes port)
{
    uint64_t number;
    return port.len <= PORT_DIGITS_MAX && bytes_to_u64(port, &number) && number <= UINT16_MAX;
}

/* Letters, digits, '-', '_', and single dots between labels (one at the end is the root's). */
static bool is_name(struct bytes name)
{
    if (!chars_all(name, CHARS_HOST) || name.at[0] == '.')
        return false;
    for (size_t i = 1; i < name.len; i++) {
        if (name.at[i] == '.' && name.at[i - 1] == '.')
            return false;
    }
    return true;
}

static bool is_ipv6(struct bytes address)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    if (address.len == 0 || address.len >= sizeof(text))
        return false;
    bytes_to_text(address, text, sizeof(text));
    return inet_pton(AF_INET6, text, &binary) == 1;
}

struct verdict target__read_host(struct http_head *head, struct bytes value)
{
    if (value.len == 0 || value.len > HOST_BYTES_MAX)
        return verdict_malformed("Host is empty or too long");
    size_t host_len = bytes_find(value, ':');
    bool valid;
    if (value.at[0] == '[') {
        size_t end = bytes_find(value, ']');
        host_len = end == SIZE_MAX ? value.len : end + 1;
        valid = end != SIZE_MAX && is_ipv6(bytes_of(value.at + 1, end - 1));
    } else {
        valid = is_name(bytes_take(value, host_len));
    }
    struct bytes host = bytes_take(value, host_len);
    struct bytes port = bytes_skip(value, host.len);
    if (port.len > 0)
        valid = valid && port.at[0] == ':' && is_port(bytes_skip(port, 1));
    if (!valid)
        return verdict_malformed("Host is no name or address with a port");
    head->authority = value;
    head->host = host;
    return VERDICT_OK;
}
