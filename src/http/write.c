/*
 * Text out. Every byte of a head that weir sends is written here, from parsed
 * values. Nothing that could end a line early gets this far: the byte check of
 * what was read sees to it, and debug builds look again.
 */
#include "weir/http/write.h"

#include <stdio.h>
#include <time.h>

#include "chars_internal.h"
#include "weir/base/clock.h"

void http_write_init(struct http_writer *writer, char *at, size_t size)
{
    *writer = (struct http_writer){.at = at, .size = size};
}

struct bytes http_write_bytes(const struct http_writer *writer)
{
    return bytes_of(writer->at, writer->len);
}

/* Room for `len` bytes, or NULL; once something did not fit nothing more does. */
static inline char *room(struct http_writer *writer, size_t len)
{
    if (writer->overflow || len > writer->size - writer->len) {
        writer->overflow = true;
        return NULL;
    }
    char *at = writer->at + writer->len;
    writer->len += len;
    return at;
}

static inline void write_line(struct http_writer *writer, struct bytes name, struct bytes value)
{
    char *at = room(writer, name.len + 2 + value.len + 2);
    if (at == NULL)
        return;
    at = bytes_put(at, name);
    *at++ = ':';
    *at++ = ' ';
    at = bytes_put(at, value);
    *at++ = '\r';
    *at = '\n';
}

void http_write_request_line(struct http_writer *writer, struct bytes method, struct bytes target)
{
    CHECK(chars_all(method, CHARS_TOKEN));
    CHECK(chars_all(target, CHARS_TARGET));
    struct bytes rest = BYTES(" HTTP/1.1\r\n");
    char *at = room(writer, method.len + 1 + target.len + rest.len);
    if (at == NULL)
        return;
    at = bytes_put(at, method);
    *at++ = ' ';
    (void)bytes_put(bytes_put(at, target), rest);
}

void http_write_status_line(struct http_writer *writer, uint16_t status)
{
    CHECK(status >= 100 && status <= 599);
    struct bytes start = BYTES("HTTP/1.1 ");
    struct bytes phrase = bytes_from_text(http_status_phrase(status));
    char *at = room(writer, start.len + 4 + phrase.len + 2);
    if (at == NULL)
        return;
    at = bytes_put(at, start);
    *at++ = (char)('0' + status / 100);
    *at++ = (char)('0' + status / 10 % 10);
    *at++ = (char)('0' + status % 10);
    *at++ = ' ';
    (void)bytes_put(bytes_put(at, phrase), BYTES("\r\n"));
}

void http_write_field(struct http_writer *writer, struct bytes name, struct bytes value)
{
    /*
     * Names and values were checked where they came in, or are ours: a second look at each byte is for debug builds.
     * That no value begins a line of its own is looked at always.
     */
    DCHECK(chars_all(name, CHARS_TOKEN));
    DCHECK(value.len == 0 || chars_all(value, CHARS_TEXT | CHARS_OBSOLETE));
    CHECK(bytes_find(value, '\n') == SIZE_MAX);
    write_line(writer, name, value);
}

void http_write_field_u64(struct http_writer *writer, struct bytes name, uint64_t value)
{
    char digits[BYTES_U64_DIGITS];
    http_write_field(writer, name, bytes_of(digits, bytes_from_u64(value, digits)));
}

void http_write_lines(struct http_writer *writer, struct bytes lines)
{
    char *at = room(writer, lines.len);
    if (at != NULL)
        (void)bytes_put(at, lines);
}

void http_write_end(struct http_writer *writer)
{
    http_write_lines(writer, BYTES("\r\n"));
}

/* The byte check saw these names and values already. */
static bool is_one_of(struct bytes name, const struct bytes *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (bytes_equal_nocase(name, names[i]))
            return true;
    }
    return false;
}

void http_write_passed_fields(struct http_writer *writer, const struct http_head *head, uint32_t drop,
                              const struct bytes *drop_names, int drop_count)
{
    for (int i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        bool dropped = (drop >> field->id & 1u) != 0 || is_one_of(field->name, drop_names, drop_count);
        if (!field->hop_by_hop && !dropped)
            write_line(writer, field->name, field->value);
    }
}

const char *http_date(uint64_t wall_us)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static _Thread_local char text[HTTP_DATE_BYTES];
    static _Thread_local uint64_t text_s = UINT64_MAX;
    uint64_t now_s = wall_us / CLOCK_US_PER_S;
    if (now_s == text_s)
        return text;
    time_t seconds = (time_t)now_s;
    struct tm tm;
    CHECK(gmtime_r(&seconds, &tm) != NULL);
    char whole[64]; /* wide enough for any struct tm, so that the compiler can see it */
    snprintf(whole, sizeof(whole), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * tm.tm_wday, tm.tm_mday,
             months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    bytes_to_text(bytes_from_text(whole), text, sizeof(text));
    text_s = now_s;
    return text;
}

const char *http_status_phrase(uint16_t status)
{
    switch (status) {
#define PHRASE(code, text) case code: return text
    PHRASE(100, "Continue");
    PHRASE(101, "Switching Protocols");
    PHRASE(102, "Processing");
    PHRASE(103, "Early Hints");
    PHRASE(200, "OK");
    PHRASE(201, "Created");
    PHRASE(202, "Accepted");
    PHRASE(203, "Non-Authoritative Information");
    PHRASE(204, "No Content");
    PHRASE(205, "Reset Content");
    PHRASE(206, "Partial Content");
    PHRASE(207, "Multi-Status");
    PHRASE(208, "Already Reported");
    PHRASE(226, "IM Used");
    PHRASE(300, "Multiple Choices");
    PHRASE(301, "Moved Permanently");
    PHRASE(302, "Found");
    PHRASE(303, "See Other");
    PHRASE(304, "Not Modified");
    PHRASE(305, "Use Proxy");
    PHRASE(307, "Temporary Redirect");
    PHRASE(308, "Permanent Redirect");
    PHRASE(400, "Bad Request");
    PHRASE(401, "Unauthorized");
    PHRASE(402, "Payment Required");
    PHRASE(403, "Forbidden");
    PHRASE(404, "Not Found");
    PHRASE(405, "Method Not Allowed");
    PHRASE(406, "Not Acceptable");
    PHRASE(407, "Proxy Authentication Required");
    PHRASE(408, "Request Timeout");
    PHRASE(409, "Conflict");
    PHRASE(410, "Gone");
    PHRASE(411, "Length Required");
    PHRASE(412, "Precondition Failed");
    PHRASE(413, "Content Too Large");
    PHRASE(414, "URI Too Long");
    PHRASE(415, "Unsupported Media Type");
    PHRASE(416, "Range Not Satisfiable");
    PHRASE(417, "Expectation Failed");
    PHRASE(421, "Misdirected Request");
    PHRASE(422, "Unprocessable Content");
    PHRASE(423, "Locked");
    PHRASE(424, "Failed Dependency");
    PHRASE(425, "Too Early");
    PHRASE(426, "Upgrade Required");
    PHRASE(428, "Precondition Required");
    PHRASE(429, "Too Many Requests");
    PHRASE(431, "Request Header Fields Too Large");
    PHRASE(451, "Unavailable For Legal Reasons");
    PHRASE(500, "Internal Server Error");
    PHRASE(501, "Not Implemented");
    PHRASE(502, "Bad Gateway");
    PHRASE(503, "Service Unavailable");
    PHRASE(504, "Gateway Timeout");
    PHRASE(505, "HTTP Version Not Supported");
    PHRASE(506, "Variant Also Negotiates");
    PHRASE(507, "Insufficient Storage");
    PHRASE(508, "Loop Detected");
    PHRASE(511, "Network Authentication Required");
#undef PHRASE
    default:
        return "";
    }
}

size_t http_chunk_head(char text[HTTP_CHUNK_HEAD_BYTES], uint64_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t count = 1;
    while (count < 16 && len >> (4 * count) != 0)
        count++;
    for (size_t i = 0; i < count; i++)
        text[i] = digits[len >> (4 * (count - 1 - i)) & 15];
    text[count] = '\r';
    text[count + 1] = '\n';
    return count + 2;
}
