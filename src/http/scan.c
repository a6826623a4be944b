/*
 * The byte check: one pass from the first byte to the last, deciding on each
 * by a table, and stopping at the first that has no single meaning. It keeps
 * nothing and splits nothing: the values come from llhttp, which runs only on
 * what passed here. Both must agree on how many fields there are.
 *
 * Every loop ends inside the head because its last byte is LF and no class
 * that is skipped over holds LF.
 */
#include "weir/http/scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "chars_internal.h"

static struct scan_result refuse(enum http_fault fault, const char *text)
{
    return (struct scan_result){.fault = fault, .text = text};
}

static struct scan_result malformed(const char *text)
{
    return refuse(HTTP_FAULT_MALFORMED, text);
}

static struct scan_result accept_fields(int count, bool underscore)
{
    return (struct scan_result){.fault = HTTP_FAULT_NONE, .field_count = count, .underscore = underscore};
}

/* The head ends at the first line that is empty by anyone's reading; whether it is so by ours, the check says. */
size_t scan_head_end(struct bytes data, size_t from)
{
    size_t at = from > 3 ? from - 3 : 0;
    while (at < data.len) {
        const char *line_end = memchr(data.at + at, '\n', data.len - at);
        if (line_end == NULL)
            return 0;
        size_t next = (size_t)(line_end - data.at) + 1;
        if (next < data.len && data.at[next] == '\n')
            return next + 1;
        if (next + 1 < data.len && data.at[next] == '\r' && data.at[next + 1] == '\n')
            return next + 2;
        at = next;
    }
    return 0;
}

static const char *skip(const char *at, unsigned classes)
{
    while (chars_is(*at, classes))
        at++;
    return at;
}

#ifdef __SSE2__
/*
 * Skips text sixteen bytes at a time, as long as as many are left before `end`: what may not stand in it are controls
 * but the tab, DEL, and without `obsolete` all above. Values are most of a head; by the table each byte is four
 * instructions, so it is one.
 */
static inline const char *skip_sixteens(const char *at, const char *end, bool obsolete)
{
    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        /* Signed, so that bytes above 0x7f are below zero; the other takes them for what they are. */
        __m128i low = obsolete ? _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes)
                               : _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        __m128i refused = _mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
        unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), refused));
        if (mask != 0)
            return at + __builtin_ctz(mask);
        at += 16;
    }
    return at;
}
#endif

/* Behind the text that begins at `at`; the table decides near `end`, and everywhere on other machines. */
static inline const char *skip_text(const char *at, const char *end, unsigned classes)
{
#ifdef __SSE2__
    at = skip_sixteens(at, end, (classes & CHARS_OBSOLETE) != 0);
#else
    (void)end;
#endif
    return skip(at, classes);
}

/* What a byte means that ends a line's text without being its CR LF. */
static const char *stray_text(char byte)
{
    switch (byte) {
    case '\n':
        return "a line ends in LF without CR";
    case '\r':
        return "CR without LF";
    case '\0':
        return "a NUL byte";
    default:
        return (uint8_t)byte >= 0x80 ? "a byte above 0x7f" : "a control byte";
    }
}

/* `at` is behind a line's text: its CR LF, or why it is not. */
static const char *line_fault(const char *at)
{
    if (at[0] == '\r' && at[1] == '\n')
        return NULL;
    return stray_text(at[0]);
}

/* A first line ends in CR LF and holds no other CR. Looked at first: a lone CR is refused before its LF comes. */
static const char *first_line_fault(struct bytes line)
{
    size_t cr = bytes_find(line, '\r');
    if (cr == SIZE_MAX)
        return stray_text('\n');
    return cr + 2 == line.len ? NULL : stray_text('\r');
}

static enum http_fault method_fault(struct bytes method)
{
    switch (method.len) {
    case 3:
        if (memcmp(method.at, "GET", 3) == 0 || memcmp(method.at, "PUT", 3) == 0)
            return HTTP_FAULT_NONE;
        break;
    case 4:
        if (memcmp(method.at, "POST", 4) == 0 || memcmp(method.at, "HEAD", 4) == 0)
            return HTTP_FAULT_NONE;
        break;
    case 5:
        if (memcmp(method.at, "PATCH", 5) == 0)
            return HTTP_FAULT_NONE;
        if (memcmp(method.at, "TRACE", 5) == 0)
            return HTTP_FAULT_METHOD;
        break;
    case 6:
        if (memcmp(method.at, "DELETE", 6) == 0)
            return HTTP_FAULT_NONE;
        break;
    case 7:
        if (memcmp(method.at, "OPTIONS", 7) == 0)
            return HTTP_FAULT_NONE;
        if (memcmp(method.at, "CONNECT", 7) == 0)
            return HTTP_FAULT_METHOD;
        break;
    default:
        break;
    }
    return HTTP_FAULT_NOT_IMPLEMENTED;
}

/* `at` is where the version should begin; `end` is behind the line's LF. */
static struct scan_result check_version(const char *at, const char *end)
{
    size_t len = (size_t)(end - at);
    if (len == 10 && memcmp(at, "HTTP/1.1\r\n", 10) == 0)
        return accept_fields(0, false);
    if (len >= 10 && memcmp(at, "HTTP/", 5) == 0 && chars_is(at[5], CHARS_DIGIT) && at[6] == '.' &&
        chars_is(at[7], CHARS_DIGIT)) {
        if (line_fault(at + 8) != NULL)
            return malformed("something other than CR LF behind the version");
        return refuse(HTTP_FAULT_VERSION, "an HTTP version other than 1.1");
    }
    return malformed("not an HTTP version");
}

static const char *target_fault_text(char byte)
{
    switch (byte) {
    case '#':
        return "a fragment in the request target";
    case '\r':
    case '\n':
        return "a request line without a version";
    default:
        return "a byte in the request target that must be encoded";
    }
}

struct scan_result scan_request_line(struct bytes line, uint32_t target_bytes_max)
{
    const char *text = first_line_fault(line);
    if (text != NULL)
        return malformed(text);
    const char *end = line.at + line.len;
    const char *target = skip(line.at, CHARS_TOKEN);
    struct bytes method = bytes_of(line.at, (size_t)(target - line.at));
    if (method.len == 0)
        return malformed("the request line does not begin with a method");
    if (*target != ' ')
        return malformed("no space behind the method");
    target++;
    const char *version = skip(target, CHARS_TARGET);
    if (version == target && *version == ' ')
        return malformed("more than one space in the request line");
    if ((size_t)(version - target) > target_bytes_max)
        return refuse(HTTP_FAULT_URI_TOO_LONG, "the request target is too long");
    if (version == target || *version != ' ')
        return malformed(target_fault_text(*version));
    struct scan_result result = check_version(version + 1, end);
    if (result.fault != HTTP_FAULT_NONE)
        return result;
    enum http_fault fault = method_fault(method);
    if (fault != HTTP_FAULT_NONE)
        return refuse(fault, fault == HTTP_FAULT_METHOD ? "a method that is never allowed" : "an unknown method");
    return result;
}

struct scan_result scan_status_line(struct bytes line)
{
    const char *at = line.at;
    const char *text = first_line_fault(line);
    if (text != NULL)
        return malformed(text);
    if (line.len < sizeof("HTTP/1.1 200\r\n") - 1)
        return malformed("not a status line");
    if (memcmp(at, "HTTP/1.", 7) != 0 || (at[7] != '1' && at[7] != '0') || at[8] != ' ')
        return malformed("the status line does not begin with HTTP/1.1");
    if (at[9] < '1' || at[9] > '5' || !chars_is(at[10], CHARS_DIGIT) || !chars_is(at[11], CHARS_DIGIT))
        return malformed("the status is not between 100 and 599");
    at += 12;
    if (chars_is(*at, CHARS_TOKEN))
        return malformed("the status has more than three digits");
    if (*at == ' ')
        at = skip(at, CHARS_TEXT | CHARS_OBSOLETE);
    text = line_fault(at);
    if (text != NULL)
        return malformed(text);
    return accept_fields(0, false);
}

/* The byte at `at` is where a name should go on or a colon stand. */
static struct scan_result name_fault(const char *name, const char *at)
{
    if (at == name && (*at == ' ' || *at == '\t'))
        return malformed("a line begins with white space");
    if (at == name && *at == ':')
        return malformed("an empty field name");
    switch (*at) {
    case '_':
        return malformed("an underscore in a field name");
    case ' ':
    case '\t':
        return malformed("white space in or behind a field name");
    case '\r':
        return malformed(at[1] == '\n' ? "a field line without a colon" : "CR without LF");
    case '\n':
        return malformed("a line ends in LF without CR");
    default:
        return malformed("a byte in a field name that is not of a token");
    }
}

/* From the first field line to `end`, which is behind the empty line's LF. */
static inline struct scan_result check_fields(const char *at, const char *end, unsigned name_class, unsigned text_class)
{
    int count = 0;
    bool underscore = false;
    while (*at != '\r' && *at != '\n') {
        const char *name = at;
        at = skip(at, CHARS_NAME);
        if (*at == '_' && name_class == CHARS_TOKEN) {
            underscore = true;
            at = skip(at, CHARS_TOKEN);
        }
        if (at == name || *at != ':')
            return name_fault(name, at);
        at = skip_text(at + 1, end, text_class);
        const char *text = line_fault(at);
        if (text != NULL)
            return malformed(text);
        at += 2;
        if (++count > HTTP_FIELDS_MAX)
            return refuse(HTTP_FAULT_HEAD_TOO_LARGE, "too many fields");
    }
    const char *text = line_fault(at);
    if (text != NULL)
        return malformed(text);
    CHECK(at + 2 == end);
    return accept_fields(count, underscore);
}

struct scan_result scan_fields(struct bytes fields, bool request)
{
    const char *end = fields.at + fields.len;
    if (request)
        return check_fields(fields.at, end, CHARS_NAME, CHARS_TEXT);
    return check_fields(fields.at, end, CHARS_TOKEN, CHARS_TEXT | CHARS_OBSOLETE);
}

static struct bytes first_line(struct bytes head)
{
    const char *lf = memchr(head.at, '\n', head.len);
    CHECK(lf != NULL);
    return bytes_of(head.at, (size_t)(lf - head.at) + 1);
}

struct scan_result scan_request_head(struct bytes head, uint32_t target_bytes_max)
{
    struct bytes line = first_line(head);
    struct scan_result result = scan_request_line(line, target_bytes_max);
    if (result.fault != HTTP_FAULT_NONE)
        return result;
    return scan_fields(bytes_skip(head, line.len), true);
}

struct scan_result scan_response_head(struct bytes head)
{
    struct bytes line = first_line(head);
    struct scan_result result = scan_status_line(line);
    if (result.fault != HTTP_FAULT_NONE)
        return result;
    return scan_fields(bytes_skip(head, line.len), false);
}
