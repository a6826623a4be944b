/*
 * Reads a PROXY header whole or not at all. The peer that sent it is trusted to
 * name the client, not to be sloppy: any deviation refuses the connection. It
 * never looks behind the header.
 */
#include "weir/http/proxy_header.h"

#include <arpa/inet.h>

#include "chars_internal.h"

#define V1_BYTES_MAX 107 /* proxy-protocol.txt 2.1, with CR LF */
#define V2_HEAD_BYTES 16
#define V2_TLV_HEAD_BYTES 3

static const struct bytes v2_signature = BYTES("\r\n\r\n\0\r\nQUIT\n");
static const struct bytes v1_signature = BYTES("PROXY ");

/* --- version 1: one line of text -------------------------------------------------------------------------------- */

/* Cuts the text up to the next single space off. */
static bool next_word(struct bytes *line, struct bytes *word)
{
    size_t space = bytes_find(*line, ' ');
    *word = bytes_take(*line, space);
    *line = space == SIZE_MAX ? BYTES_NONE : bytes_skip(*line, space + 1);
    return word->len > 0;
}

static bool read_port(struct bytes text, uint16_t *port)
{
    uint64_t number;
    if (text.len == 0 || text.len > 5 || (text.at[0] == '0' && text.len > 1))
        return false;
    if (!bytes_to_u64(text, &number) || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

static bool read_address(struct bytes text, int family, uint16_t port, struct addr *addr)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len >= sizeof(copy))
        return false;
    bytes_to_text(text, copy, sizeof(copy));
    *addr = (struct addr){0};
    if (family == AF_INET) {
        addr->u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        return inet_pton(AF_INET, copy, &addr->u.v4.sin_addr) == 1;
    }
    addr->u.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    return inet_pton(AF_INET6, copy, &addr->u.v6.sin6_addr) == 1;
}

/* `line` is what stands between "PROXY " and CR LF. */
static bool read_v1(struct bytes line, struct proxy_header *header)
{
    struct bytes family_text, source, destination, source_port, destination_port;
    uint16_t port, ignored_port;
    struct addr ignored;
    if (!next_word(&line, &family_text))
        return false;
    if (bytes_equal(family_text, BYTES("UNKNOWN"))) {
        header->local = true;
        return true; /* whatever stands behind it is to be ignored */
    }
    bool is_v4 = bytes_equal(family_text, BYTES("TCP4"));
    if (!is_v4 && !bytes_equal(family_text, BYTES("TCP6")))
        return false;
    int family = is_v4 ? AF_INET : AF_INET6;
    if (!next_word(&line, &source) || !next_word(&line, &destination) || !next_word(&line, &source_port))
        return false;
    destination_port = line; /* a further space in it makes it no number */
    return read_port(source_port, &port) && read_port(destination_port, &ignored_port) &&
           read_address(source, family, port, &header->source) &&
           read_address(destination, family, ignored_port, &ignored);
}

static enum proxy_header_result parse_v1(struct bytes data, struct proxy_header *header)
{
    size_t lf = bytes_find(bytes_take(data, V1_BYTES_MAX), '\n');
    if (lf == SIZE_MAX)
        return data.len >= V1_BYTES_MAX ? PROXY_HEADER_BAD : PROXY_HEADER_MORE;
    if (data.at[lf - 1] != '\r')
        return PROXY_HEADER_BAD;
    struct bytes line = bytes_of(data.at + v1_signature.len, lf - 1 - v1_signature.len);
    if (!chars_all(line, CHARS_TEXT) || !read_v1(line, header))
        return PROXY_HEADER_BAD;
    header->len = lf + 1;
    return PROXY_HEADER_DONE;
}

/* --- version 2: binary ------------------------------------------------------------------------------------------ */

static uint16_t read_u16(const char *at)
{
    return (uint16_t)((uint8_t)at[0] << 8 | (uint8_t)at[1]);
}

/* Type, length and value, one behind the other, to the last byte. What they say is not used. */
static bool are_tlvs(struct bytes rest)
{
    while (rest.len > 0) {
        if (rest.len < V2_TLV_HEAD_BYTES)
            return false;
        size_t len = V2_TLV_HEAD_BYTES + (size_t)read_u16(rest.at + 1);
        if (len > rest.len)
            return false;
        rest = bytes_skip(rest, len);
    }
    return true;
}

static bool read_v2_addresses(uint8_t family, struct bytes payload, struct proxy_header *header)
{
    struct addr *source = &header->source;
    switch (family) {
    case 0x11: /* TCP over IPv4: two addresses, two ports */
        if (payload.len < 12)
            return false;
        source->u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(read_u16(payload.at + 8))};
        memcpy(&source->u.v4.sin_addr, payload.at, 4);
        return are_tlvs(bytes_skip(payload, 12));
    case 0x21: /* TCP over IPv6 */
        if (payload.len < 36)
            return false;
        source->u.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(read_u16(payload.at + 32))};
        memcpy(&source->u.v6.sin6_addr, payload.at, 16);
        return are_tlvs(bytes_skip(payload, 36));
    case 0x31: /* a unix socket: it has no address that a limit or a log could use */
        header->local = true;
        return payload.len >= 216 && are_tlvs(bytes_skip(payload, 216));
    case 0x00: /* unspecified: to be skipped whole */
        header->local = true;
        return true;
    default:
        return false; /* datagrams do not come over a stream */
    }
}

static enum proxy_header_result parse_v2(struct bytes data, struct proxy_header *header)
{
    if (data.len < V2_HEAD_BYTES)
        return PROXY_HEADER_MORE;
    uint8_t version_command = (uint8_t)data.at[12];
    size_t len = V2_HEAD_BYTES + (size_t)read_u16(data.at + 14);
    if ((version_command != 0x20 && version_command != 0x21) || len > PROXY_HEADER_BYTES_MAX)
        return PROXY_HEADER_BAD;
    if (data.len < len)
        return PROXY_HEADER_MORE;
    header->local = version_command == 0x20;
    struct bytes payload = bytes_of(data.at + V2_HEAD_BYTES, len - V2_HEAD_BYTES);
    if (!header->local && !read_v2_addresses((uint8_t)data.at[13], payload, header))
        return PROXY_HEADER_BAD;
    header->len = len;
    return PROXY_HEADER_DONE;
}

/* `data` begins as `signature` does, as far as either goes. */
static bool agrees(struct bytes data, struct bytes signature)
{
    return bytes_starts_with(signature, bytes_take(data, signature.len));
}

enum proxy_header_result proxy_header_parse(struct bytes data, struct proxy_header *header)
{
    *header = (struct proxy_header){0};
    if (agrees(data, v2_signature))
        return data.len < v2_signature.len ? PROXY_HEADER_MORE : parse_v2(data, header);
    if (agrees(data, v1_signature))
        return data.len < v1_signature.len ? PROXY_HEADER_MORE : parse_v1(data, header);
    return PROXY_HEADER_BAD;
}
