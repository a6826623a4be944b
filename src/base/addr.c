/*
 * Addresses and networks from text and back. Only the one canonical spelling
 * of each part is accepted; names are not looked up, so a scope ("%2") must be
 * a number.
 */
#include "weir/base/addr.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#define V4_BITS     32
#define V6_BITS     128
#define MAPPED_BITS (V6_BITS - V4_BITS)

static const uint8_t mapped_prefix[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff};

/* Decimal without sign or needless zero, at most `max`. */
static bool parse_number(struct bytes text, uint64_t max, uint64_t *number)
{
    if (text.len > 1 && text.at[0] == '0') {
        return false;
    }
    return bytes_to_u64(text, number) && *number <= max;
}

/* inet_pton for a run without NUL. */
static bool parse_ip(int family, struct bytes text, void *ip)
{
    char copy[INET6_ADDRSTRLEN];

    if (text.len >= sizeof(copy) || bytes_find(text, '\0') != SIZE_MAX) {
        return false;
    }
    bytes_to_text(text, copy, sizeof(copy));
    return inet_pton(family, copy, ip) == 1;
}

static bool parse_v6(struct bytes text, struct sockaddr_in6 *v6)
{
    size_t percent = bytes_find(text, '%');
    uint64_t scope = 0;

    *v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (percent != SIZE_MAX && !parse_number(bytes_skip(text, percent + 1), UINT32_MAX, &scope)) {
        return false;
    }
    v6->sin6_scope_id = (uint32_t)scope;
    return parse_ip(AF_INET6, bytes_take(text, percent), &v6->sin6_addr);
}

static bool parse_v4(struct bytes text, struct sockaddr_in *v4)
{
    *v4 = (struct sockaddr_in){.sin_family = AF_INET};
    return parse_ip(AF_INET, text, &v4->sin_addr);
}

bool addr_parse_host(struct bytes text, uint16_t port, struct addr *addr)
{
    bool is_v6 = bytes_find(text, ':') != SIZE_MAX;

    *addr = (struct addr){0};
    if (is_v6 ? !parse_v6(text, &addr->u.v6) : !parse_v4(text, &addr->u.v4)) {
        *addr = (struct addr){0};
        return false;
    }
    addr_set_port(addr, port);
    return true;
}

bool addr_parse(struct bytes text, struct addr *addr)
{
    bool bracket = text.len > 0 && text.at[0] == '[';
    size_t close = bytes_find(text, ']');
    size_t colon = bracket ? (close == SIZE_MAX ? SIZE_MAX : close + 1) : bytes_find(text, ':');
    struct bytes host;
    uint64_t port;

    *addr = (struct addr){0};
    if (colon >= text.len || text.at[colon] != ':' || !parse_number(bytes_skip(text, colon + 1), UINT16_MAX, &port)) {
        return false;
    }
    host = bracket ? bytes_skip(bytes_take(text, close), 1) : bytes_take(text, colon);
    /* Brackets are for IPv6 and only for it. */
    if (bracket != (bytes_find(host, ':') != SIZE_MAX)) {
        return false;
    }
    return addr_parse_host(host, (uint16_t)port, addr);
}

static bool is_mapped(const struct sockaddr_in6 *v6)
{
    return memcmp(&v6->sin6_addr, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

/* inet_ntop() goes through printf, and this runs twice for every request. */
static void format_v4(const void *address, char text[ADDR_TEXT_BYTES])
{
    const uint8_t *parts = address;
    size_t len = 0;

    for (int i = 0; i < 4; i++) {
        if (i > 0) {
            text[len++] = '.';
        }
        len += bytes_from_u64(parts[i], text + len);
    }
    text[len] = '\0';
}

const char *addr_format_host(const struct addr *addr, char text[ADDR_TEXT_BYTES])
{
    const struct sockaddr_in6 *v6 = &addr->u.v6;
    size_t len;

    switch (addr->u.any.sa_family) {
    case AF_INET:
        format_v4(&addr->u.v4.sin_addr, text);
        break;
    case AF_INET6:
        if (is_mapped(v6)) {
            format_v4(&v6->sin6_addr.s6_addr[sizeof(mapped_prefix)], text);
            break;
        }
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, ADDR_TEXT_BYTES);
        if (v6->sin6_scope_id != 0) {
            len = strlen(text);
            (void)snprintf(text + len, ADDR_TEXT_BYTES - len, "%%%u", (unsigned)v6->sin6_scope_id);
        }
        break;
    default:
        bytes_to_text(BYTES("unix"), text, ADDR_TEXT_BYTES);
        break;
    }
    return text;
}

const char *addr_format(const struct addr *addr, char text[ADDR_TEXT_BYTES])
{
    char host[ADDR_TEXT_BYTES];
    bool bracket;
    size_t len;

    addr_format_host(addr, host);
    bracket = strchr(host, ':') != NULL;
    len = bracket ? 1 : 0;
    if (bracket) {
        text[0] = '[';
    }
    len += bytes_to_text(bytes_from_text(host), text + len, ADDR_TEXT_BYTES - len);
    if (addr->u.any.sa_family == AF_INET || addr->u.any.sa_family == AF_INET6) {
        (void)snprintf(text + len, ADDR_TEXT_BYTES - len, "%s:%u", bracket ? "]" : "", (unsigned)addr_port(addr));
    }
    return text;
}

uint16_t addr_port(const struct addr *addr)
{
    switch (addr->u.any.sa_family) {
    case AF_INET:
        return ntohs(addr->u.v4.sin_port);
    case AF_INET6:
        return ntohs(addr->u.v6.sin6_port);
    default:
        return 0;
    }
}

void addr_set_port(struct addr *addr, uint16_t port)
{
    if (addr->u.any.sa_family == AF_INET) {
        addr->u.v4.sin_port = htons(port);
    } else if (addr->u.any.sa_family == AF_INET6) {
        addr->u.v6.sin6_port = htons(port);
    }
}

socklen_t addr_len(const struct addr *addr)
{
    switch (addr->u.any.sa_family) {
    case AF_INET:
        return sizeof(struct sockaddr_in);
    case AF_INET6:
        return sizeof(struct sockaddr_in6);
    default:
        return sizeof(sa_family_t);
    }
}

/* The address as 128 bits, IPv4 in its mapped form. False: there is none. */
static bool addr_bits(const struct addr *addr, uint8_t bits[V6_BITS / 8])
{
    switch (addr->u.any.sa_family) {
    case AF_INET:
        memcpy(bits, mapped_prefix, sizeof(mapped_prefix));
        memcpy(bits + sizeof(mapped_prefix), &addr->u.v4.sin_addr, V4_BITS / 8);
        return true;
    case AF_INET6:
        memcpy(bits, &addr->u.v6.sin6_addr, V6_BITS / 8);
        return true;
    default:
        return false;
    }
}

struct bytes addr_customer(const struct addr *addr, char key[ADDR_CUSTOMER_BYTES])
{
    uint8_t bits[V6_BITS / 8];
    if (!addr_bits(addr, bits)) {
        return BYTES_NONE;
    }
    if (memcmp(bits, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        memcpy(key, bits + sizeof(mapped_prefix), V4_BITS / 8);
        return bytes_of(key, V4_BITS / 8);
    }
    memcpy(key, bits, ADDR_CUSTOMER_BYTES - 1);
    key[ADDR_CUSTOMER_BYTES - 1] = 6; /* no key of one kind begins one of the other */
    return bytes_of(key, ADDR_CUSTOMER_BYTES);
}

static uint32_t addr_scope(const struct addr *addr)
{
    return addr->u.any.sa_family == AF_INET6 ? addr->u.v6.sin6_scope_id : 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    uint8_t a_bits[V6_BITS / 8];
    uint8_t b_bits[V6_BITS / 8];
    bool a_is_ip = addr_bits(a, a_bits);
    bool b_is_ip = addr_bits(b, b_bits);

    if (!a_is_ip || !b_is_ip) {
        return a_is_ip == b_is_ip;
    }
    return addr_port(a) == addr_port(b) && addr_scope(a) == addr_scope(b) &&
           memcmp(a_bits, b_bits, sizeof(a_bits)) == 0;
}

/* The bits of byte `i` that a prefix of `prefix` bits covers. */
static uint8_t prefix_mask(unsigned prefix, unsigned i)
{
    if (prefix >= (i + 1) * 8) {
        return 0xff;
    }
    if (prefix <= i * 8) {
        return 0;
    }
    return (uint8_t)(0xff00u >> (prefix - i * 8));
}

bool addr_net_parse(struct bytes text, struct addr_net *net)
{
    size_t slash = bytes_find(text, '/');
    unsigned family_bits;
    uint64_t prefix;
    struct addr addr;

    *net = (struct addr_net){0};
    if (bytes_equal(text, BYTES("unix"))) {
        net->is_unix = true;
        return true;
    }
    if (!addr_parse_host(bytes_take(text, slash), 0, &addr) || addr_scope(&addr) != 0) {
        return false;
    }
    family_bits = addr.u.any.sa_family == AF_INET ? V4_BITS : V6_BITS;
    prefix = family_bits;
    if (slash != SIZE_MAX && !parse_number(bytes_skip(text, slash + 1), family_bits, &prefix)) {
        return false;
    }
    net->prefix = (uint8_t)(prefix + V6_BITS - family_bits);
    (void)addr_bits(&addr, net->bits); /* it is an IP: it was just parsed */
    for (unsigned i = 0; i < sizeof(net->bits); i++) {
        if ((net->bits[i] & ~prefix_mask(net->prefix, i)) != 0) {
            return false;
        }
    }
    return true;
}

bool addr_net_contains(const struct addr_net *net, const struct addr *addr)
{
    uint8_t bits[V6_BITS / 8];
    bool is_ip = addr_bits(addr, bits);

    if (net->is_unix || !is_ip) {
        return net->is_unix && !is_ip;
    }
    for (unsigned i = 0; i < sizeof(bits); i++) {
        if ((bits[i] & prefix_mask(net->prefix, i)) != net->bits[i]) {
            return false;
        }
    }
    return true;
}

bool addr_listen_parse(struct bytes text, struct addr_listen *listen)
{
    uint64_t fd;

    memset(listen, 0, sizeof(*listen));
    if (bytes_starts_with(text, BYTES("unix:"))) {
        struct bytes path = bytes_skip(text, 5);

        listen->kind = ADDR_LISTEN_UNIX;
        return path.len > 1 && path.at[0] == '/' && bytes_find(path, '\0') == SIZE_MAX &&
               bytes_to_text(path, listen->path, sizeof(listen->path)) == path.len;
    }
    if (bytes_starts_with(text, BYTES("fd:"))) {
        listen->kind = ADDR_LISTEN_FD;
        if (!parse_number(bytes_skip(text, 3), INT_MAX, &fd)) {
            return false;
        }
        listen->fd = (int)fd;
        return true;
    }
    listen->kind = ADDR_LISTEN_IP;
    return addr_parse(text, &listen->ip);
}

bool addr_listen_equal(const struct addr_listen *a, const struct addr_listen *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case ADDR_LISTEN_IP:
        return addr_equal(&a->ip, &b->ip);
    case ADDR_LISTEN_UNIX:
        return strcmp(a->path, b->path) == 0;
    case ADDR_LISTEN_FD:
        return a->fd == b->fd;
    }
    return false;
}
