/*
 * The bytes of a file before libfyaml sees them: lines, places, and the check
 * that they are UTF-8 without control characters or tabs. libfyaml 0.7 accepts
 * broken UTF-8 in plain scalars, frees a key twice after "? a:<tab>|", and later
 * versions list crashes on both as fixed: it never gets to see them.
 */
#include "conf_internal.h"

/* YAML ends a line with LF, CR LF or a lone CR. */
static bool ends_line(struct bytes bytes, size_t at)
{
    return bytes.at[at] == '\n' || (bytes.at[at] == '\r' && (at + 1 == bytes.len || bytes.at[at + 1] != '\n'));
}

void conf_text_index(struct conf_text *text, struct bytes bytes, struct conf_memory *memory)
{
    int count = 1;

    for (size_t at = 0; at < bytes.len; at++) {
        count += ends_line(bytes, at) ? 1 : 0;
    }
    text->bytes = bytes;
    text->starts = conf_memory_take(memory, (size_t)count * sizeof(text->starts[0]));
    text->line_count = 1;
    for (size_t at = 0; at < bytes.len; at++) {
        if (ends_line(bytes, at)) {
            text->starts[text->line_count++] = at + 1;
        }
    }
}

struct bytes conf_text_line(const struct conf_text *text, int line)
{
    size_t start, end;

    if (line < 1 || line > text->line_count) {
        return BYTES_NONE;
    }
    start = text->starts[line - 1];
    end = line < text->line_count ? text->starts[line] : text->bytes.len;
    while (end > start && (text->bytes.at[end - 1] == '\n' || text->bytes.at[end - 1] == '\r')) {
        end--;
    }
    return bytes_of(text->bytes.at + start, end - start);
}

static int line_at(const struct conf_text *text, size_t offset)
{
    int low = 0;
    int high = text->line_count - 1;

    while (low < high) {
        int middle = (low + high + 1) / 2;

        if (text->starts[middle] <= offset) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low + 1;
}

/* A byte that is part of no well-formed character counts as one. */
static int count_characters(struct bytes bytes)
{
    int count = 0;

    while (bytes.len > 0) {
        size_t len = conf_text_character(bytes);

        bytes = bytes_skip(bytes, len == 0 ? 1 : len);
        count++;
    }
    return count;
}

struct conf_place conf_text_place(const struct conf_text *text, size_t offset, size_t len)
{
    struct conf_place place;
    struct bytes line;
    size_t before;

    offset = offset > text->bytes.len ? text->bytes.len : offset;
    place.line = line_at(text, offset);
    line = conf_text_line(text, place.line);
    before = offset - text->starts[place.line - 1];
    before = before > line.len ? line.len : before;
    place.column = count_characters(bytes_take(line, before)) + 1;
    place.width = count_characters(bytes_take(bytes_skip(line, before), len));
    place.width = place.width < 1 ? 1 : place.width;
    return place;
}

static bool continues(struct bytes at, size_t index)
{
    return index < at.len && ((unsigned char)at.at[index] & 0xc0) == 0x80;
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t conf_text_character(struct bytes at)
{
    unsigned char first = at.len > 0 ? (unsigned char)at.at[0] : 0xff;
    unsigned char second = at.len > 1 ? (unsigned char)at.at[1] : 0;

    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        return continues(at, 1) ? 2 : 0;
    }
    if (first >= 0xe0 && first <= 0xef) {
        bool overlong = first == 0xe0 && second < 0xa0;
        bool surrogate = first == 0xed && second > 0x9f;

        return continues(at, 1) && continues(at, 2) && !overlong && !surrogate ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        bool overlong = first == 0xf0 && second < 0x90;
        bool beyond = first == 0xf4 && second > 0x8f;

        return continues(at, 1) && continues(at, 2) && continues(at, 3) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

static bool is_control(unsigned char byte)
{
    return (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f;
}

/* Behind a '#' that stands alone a tab is in a comment, or in a text that no key accepts. */
static size_t find_tab(struct bytes line)
{
    for (size_t at = 0; at < line.len; at++) {
        if (line.at[at] == '\t') {
            return at;
        }
        if (line.at[at] == '#' && (at == 0 || line.at[at - 1] == ' ')) {
            return SIZE_MAX;
        }
    }
    return SIZE_MAX;
}

static bool check_tabs(const struct conf_text *text, struct conf_findings *findings)
{
    bool good = true;

    for (int line = 1; line <= text->line_count; line++) {
        size_t at = find_tab(conf_text_line(text, line));

        if (at != SIZE_MAX) {
            conf_error(findings, conf_text_place(text, text->starts[line - 1] + at, 1),
                       (struct conf_help){.hint = "write spaces"}, "a tab outside of a comment");
            good = false;
        }
    }
    return good;
}

static bool check_characters(const struct conf_text *text, struct conf_findings *findings)
{
    size_t at = 0;

    while (at < text->bytes.len) {
        unsigned char byte = (unsigned char)text->bytes.at[at];
        size_t len = conf_text_character(bytes_skip(text->bytes, at));

        if (len == 0) {
            conf_error(findings, conf_text_place(text, at, 1), CONF_NO_HELP, "byte 0x%02x is not UTF-8", byte);
            return false;
        }
        if (is_control(byte)) {
            conf_error(findings, conf_text_place(text, at, 1), CONF_NO_HELP, "control character 0x%02x", byte);
            return false;
        }
        at += len;
    }
    return true;
}

bool conf_text_check(const struct conf_text *text, struct conf_findings *findings)
{
    return check_characters(text, findings) && check_tabs(text, findings);
}
