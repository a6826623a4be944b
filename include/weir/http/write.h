/*
 * Writes heads anew from parsed values, in one canonical form, into a buffer of
 * the caller. Nothing of a received head is ever passed on as bytes.
 */
#ifndef WEIR_HTTP_WRITE_H
#define WEIR_HTTP_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/bytes.h"
#include "weir/http/head.h"

struct http_writer {
    char *at;      /* borrowed */
    size_t size;
    size_t len;
    bool overflow; /* something did not fit; the head must not be sent */
};

/* Writes to `at`, at most `size` bytes; what was written is read by http_write_bytes, borrowed. */
void http_write_init(struct http_writer *writer, char *at, size_t size);
struct bytes http_write_bytes(const struct http_writer *writer);

/* "POST /v1/payments HTTP/1.1\r\n" */
void http_write_request_line(struct http_writer *writer, struct bytes method, struct bytes target);
/* "HTTP/1.1 200 OK\r\n"; the reason phrase is ours by status. */
void http_write_status_line(struct http_writer *writer, uint16_t status);
/* name and value must hold no CR, LF or NUL: DCHECKed; that the value holds no LF is CHECKed in every build. */
void http_write_field(struct http_writer *writer, struct bytes name, struct bytes value);
void http_write_field_u64(struct http_writer *writer, struct bytes name, uint64_t value);
/* Raw text that is whole lines already ("Connection: close\r\n"). */
void http_write_lines(struct http_writer *writer, struct bytes lines);
void http_write_end(struct http_writer *writer);

/*
 * The fields of `head` that go on: not hop-by-hop, and not those whose bit (1 << id) is
 * in `drop`, and not those of one of the `drop_count` names (any case).
 */
void http_write_passed_fields(struct http_writer *writer, const struct http_head *head, uint32_t drop,
                              const struct bytes *drop_names, int drop_count);

/* IMF-fixdate (RFC 9110 5.6.7) of `wall_us`, 29 bytes and a NUL; cached per second. */
#define HTTP_DATE_BYTES 30
const char *http_date(uint64_t wall_us);
/* "OK", "Not Found"; "" when unknown. */
const char *http_status_phrase(uint16_t status);

/* The head of a chunk of `len` bytes: "1a\r\n", at most 18 bytes. Returns its length. */
#define HTTP_CHUNK_HEAD_BYTES 20
size_t http_chunk_head(char text[HTTP_CHUNK_HEAD_BYTES], uint64_t len);
#define HTTP_CHUNK_TAIL BYTES("\r\n")
#define HTTP_LAST_CHUNK BYTES("0\r\n\r\n")

#endif
