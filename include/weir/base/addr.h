/*
 * Socket addresses and networks, as the configuration writes them and as the
 * kernel takes them. Pure: no socket is opened and no name is resolved here.
 */
#ifndef WEIR_BASE_ADDR_H
#define WEIR_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "weir/base/bytes.h"

/* Large enough for "[ffff:...:255.255.255.255%scope]:65535" and "unix:" with a full sun_path. */
#define ADDR_TEXT_BYTES 128

/* An IP address and port. Unix sockets and inherited descriptors are struct addr_listen's business. */
struct addr {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u; /* family AF_UNSPEC: no address (a unix socket's peer) */
};

/*
 * "127.0.0.1:8443", "[::1]:8443", "[fe80::1%2]:8443". False: not one, and the
 * address is then none. Names are refused, and so are scopes by name.
 */
WEIR_MUSTCHECK bool addr_parse(struct bytes text, struct addr *addr);
/* An address without a port, "10.0.0.1" or "::1"; the port is set to `port` (host order). */
WEIR_MUSTCHECK bool addr_parse_host(struct bytes text, uint16_t port, struct addr *addr);
/* "127.0.0.1:8443", "[::1]:8443", or "unix" for no address. Returns text. IPv4-mapped IPv6 prints as IPv4. */
const char *addr_format(const struct addr *addr, char text[ADDR_TEXT_BYTES]);
/* Without the port and without brackets. Returns text. */
const char *addr_format_host(const struct addr *addr, char text[ADDR_TEXT_BYTES]);
/* In host order; 0 for no address, which has none and keeps none. */
uint16_t addr_port(const struct addr *addr);
void addr_set_port(struct addr *addr, uint16_t port);
/* For bind and connect. */
socklen_t addr_len(const struct addr *addr);
/* The same address and port; IPv4 equals its mapped form, and no address equals no address. */
bool addr_equal(const struct addr *a, const struct addr *b);

/*
 * What one customer usually has: an IPv4 address, mapped or not, or the /64 of
 * an IPv6 one. Returns `key`, or 0 bytes for no address.
 */
#define ADDR_CUSTOMER_BYTES 9
struct bytes addr_customer(const struct addr *addr, char key[ADDR_CUSTOMER_BYTES]);

/* A network such as 10.0.0.0/8, ::1/128 or unix (peers of unix sockets). */
struct addr_net {
    uint8_t bits[16];  /* IPv4 in its mapped form */
    uint8_t prefix;    /* of the 128 bits */
    bool is_unix;
};

/* "10.0.0.0/8", a bare address (its full length), or "unix". Host bits that are set are refused. */
WEIR_MUSTCHECK bool addr_net_parse(struct bytes text, struct addr_net *net);
/* ::/0 holds all of IPv4 too, in its mapped form; 0.0.0.0/0 holds nothing but IPv4. */
bool addr_net_contains(const struct addr_net *net, const struct addr *addr);

enum addr_listen_kind { ADDR_LISTEN_IP, ADDR_LISTEN_UNIX, ADDR_LISTEN_FD };

/* Where a listener listens: "0.0.0.0:8443", "unix:/path" or "fd:N". */
struct addr_listen {
    enum addr_listen_kind kind;
    struct addr ip;                                       /* ADDR_LISTEN_IP */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* ADDR_LISTEN_UNIX; NUL-terminated */
    int fd;                                               /* ADDR_LISTEN_FD */
};

/* The path is absolute and fits with its NUL. False: not one of the three. */
WEIR_MUSTCHECK bool addr_listen_parse(struct bytes text, struct addr_listen *listen);
/* Whether a reload may keep the socket. */
bool addr_listen_equal(const struct addr_listen *a, const struct addr_listen *b);

#endif
