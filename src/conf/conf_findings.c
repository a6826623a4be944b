/*
 * Findings: what is wrong with a file, in file order, and how it is shown to
 * people (source line, caret, suggestion) and to programs (JSON). Findings own
 * a copy of the file's text, so that they can be shown when the conf is gone.
 */
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/json.h"

#include "conf_internal.h"

#define FINDINGS_MAX 256        /* shown; the others are counted */
#define MESSAGE_BYTES 512       /* of one message */
#define LINE_CHARACTERS_MAX 160 /* of a source line that is shown */
#define LINE_BEFORE 60          /* characters before the caret, of a line that is cut */

struct conf_findings {
    struct conf_memory *memory;
    const char *path; /* "" until the source is known */
    struct conf_text text;
    struct conf_finding at[FINDINGS_MAX]; /* sorted */
    int count;
    int errors; /* these two count what is not kept, too */
    int warnings;
};

struct conf_findings *conf_findings_open(void)
{
    struct conf_findings *findings = calloc(1, sizeof(*findings));

    CHECK(findings != NULL); /* see conf_memory.c */
    findings->memory = conf_memory_open();
    findings->path = "";
    conf_text_index(&findings->text, BYTES_NONE, findings->memory);
    return findings;
}

void conf_findings_close(struct conf_findings *findings)
{
    if (findings == NULL) {
        return;
    }
    conf_memory_close(findings->memory);
    free(findings);
}

void conf_findings_source(struct conf_findings *findings, const char *path, struct bytes text)
{
    findings->path = conf_memory_text(findings->memory, bytes_from_text(path));
    text.at = conf_memory_text(findings->memory, text);
    conf_text_index(&findings->text, text, findings->memory);
}

int conf_findings_count(const struct conf_findings *findings)
{
    return findings->count;
}

int conf_findings_errors(const struct conf_findings *findings)
{
    return findings->errors;
}

int conf_findings_warnings(const struct conf_findings *findings)
{
    return findings->warnings;
}

const struct conf_finding *conf_findings_at(const struct conf_findings *findings, int index)
{
    return index >= 0 && index < findings->count ? &findings->at[index] : NULL;
}

/* ---- adding ---- */

/* By position; what concerns the whole file comes last; equals stay in the order of their finding. */
static bool comes_after(const struct conf_finding *a, const struct conf_finding *b)
{
    if (a->line == 0 || b->line == 0) {
        return a->line == 0 && b->line != 0;
    }
    return a->line != b->line ? a->line > b->line : a->column > b->column;
}

static const char *keep(struct conf_findings *findings, const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : conf_memory_text(findings->memory, bytes_from_text(text));
}

void conf_findings_add(struct conf_findings *findings, bool is_error, int line, int column, int width,
                       const char *message, const char *hint, const char *allowed)
{
    struct conf_finding finding = {.is_error = is_error, .line = line, .column = column};
    int place = findings->count;

    findings->errors += is_error ? 1 : 0;
    findings->warnings += is_error ? 0 : 1;
    if (findings->count == FINDINGS_MAX) {
        return;
    }
    finding.width = width < 1 ? 1 : width;
    finding.message = conf_memory_text(findings->memory, bytes_from_text(message));
    finding.hint = keep(findings, hint);
    finding.allowed = keep(findings, allowed);
    while (place > 0 && comes_after(&findings->at[place - 1], &finding)) {
        findings->at[place] = findings->at[place - 1];
        place--;
    }
    findings->at[place] = finding;
    findings->count++;
}

WEIR_PRINTF(5, 0)
static void add(struct conf_findings *findings, bool is_error, struct conf_place place, struct conf_help help,
                const char *format, va_list arguments)
{
    char message[MESSAGE_BYTES];

    (void)vsnprintf(message, sizeof(message), format, arguments);
    conf_findings_add(findings, is_error, place.line, place.column, place.width, message, help.hint, help.allowed);
}

void conf_error(struct conf_findings *findings, struct conf_place place, struct conf_help help, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add(findings, true, place, help, format, arguments);
    va_end(arguments);
}

void conf_warning(struct conf_findings *findings, struct conf_place place, struct conf_help help, const char *format,
                  ...)
{
    va_list arguments;

    va_start(arguments, format);
    add(findings, false, place, help, format, arguments);
    va_end(arguments);
}

const char *conf_shown(struct bytes text, char shown[CONF_SHOWN_BYTES])
{
    static const char cut[] = "...";
    size_t len = 0;

    while (text.len > 0) {
        size_t character = conf_text_character(text);
        bool prints = character > 1 || (character == 1 && text.at[0] >= ' ' && text.at[0] != 0x7f);

        character = character == 0 ? 1 : character;
        if (len + character + sizeof(cut) > CONF_SHOWN_BYTES) {
            memcpy(shown + len, cut, sizeof(cut));
            return shown;
        }
        memcpy(shown + len, prints ? text.at : "?", prints ? character : 1);
        len += prints ? character : 1;
        text = bytes_skip(text, character);
    }
    shown[len] = '\0';
    return shown;
}

/* ---- as text ---- */

/* The part of a source line that is shown, and how far into it the caret goes. */
struct window {
    struct bytes bytes;
    int first; /* character of the line that the window begins with, from 0 */
    bool cut;  /* something before it is left out */
};

static struct bytes skip_characters(struct bytes bytes, int count)
{
    while (bytes.len > 0 && count-- > 0) {
        size_t len = conf_text_character(bytes);

        bytes = bytes_skip(bytes, len == 0 ? 1 : len);
    }
    return bytes;
}

static struct window window_around(struct bytes line, int column)
{
    struct window window = {.bytes = line};
    struct bytes rest;

    if (skip_characters(line, LINE_CHARACTERS_MAX).len > 0 && column > LINE_BEFORE + 1) {
        window.first = column - 1 - LINE_BEFORE;
        window.cut = true;
        window.bytes = skip_characters(line, window.first);
    }
    rest = skip_characters(window.bytes, LINE_CHARACTERS_MAX);
    window.bytes = bytes_take(window.bytes, window.bytes.len - rest.len);
    return window;
}

/* What a terminal would act on, and what is not UTF-8, prints as '?'. */
static void print_safely(FILE *out, struct bytes bytes)
{
    while (bytes.len > 0) {
        size_t len = conf_text_character(bytes);
        unsigned char byte = (unsigned char)bytes.at[0];

        if (len == 0 || (byte < ' ' && byte != '\t') || byte == 0x7f) {
            (void)fputc('?', out);
        } else {
            (void)fwrite(bytes.at, 1, len, out);
        }
        bytes = bytes_skip(bytes, len == 0 ? 1 : len);
    }
}

/* Spaces as wide as what stands above them: a tab stays a tab. */
static void print_padding(FILE *out, struct bytes above, int count)
{
    for (int i = 0; i < count; i++) {
        (void)fputc(above.len > 0 && above.at[0] == '\t' ? '\t' : ' ', out);
        above = skip_characters(above, 1);
    }
}

static void print_source(FILE *out, const struct conf_findings *findings, const struct conf_finding *finding)
{
    struct window window = window_around(conf_text_line(&findings->text, finding->line), finding->column);
    int before = finding->column - 1 - window.first;
    int room = LINE_CHARACTERS_MAX - before;
    int width = finding->width < room || room < 1 ? finding->width : room;

    (void)fprintf(out, "%5d | %s", finding->line, window.cut ? "..." : "");
    print_safely(out, window.bytes);
    (void)fprintf(out, "\n      | %s", window.cut ? "   " : "");
    print_padding(out, window.bytes, before);
    (void)fputc('^', out);
    for (int i = 1; i < width; i++) {
        (void)fputc('~', out);
    }
    if (finding->hint != NULL) {
        (void)fprintf(out, " %s", finding->hint);
    }
    (void)fputc('\n', out);
}

static void print_finding(FILE *out, const struct conf_findings *findings, const struct conf_finding *finding)
{
    const char *severity = finding->is_error ? "error" : "warning";

    if (finding->line > 0) {
        (void)fprintf(out, "%s:%d:%d: %s: %s\n", findings->path, finding->line, finding->column, severity,
                      finding->message);
        print_source(out, findings, finding);
    } else {
        (void)fprintf(out, "%s: %s: %s%s%s\n", findings->path, severity, finding->message,
                      finding->hint != NULL ? ": " : "", finding->hint != NULL ? finding->hint : "");
    }
    if (finding->allowed != NULL) {
        (void)fprintf(out, "      = allowed here: %s\n", finding->allowed);
    }
}

static void print_count(FILE *out, int count, const char *noun)
{
    (void)fprintf(out, "%d %s%s", count, noun, count == 1 ? "" : "s");
}

static void print_summary(FILE *out, const struct conf_findings *findings)
{
    int hidden = findings->errors + findings->warnings - findings->count;

    if (hidden > 0) {
        (void)fprintf(out, "%s: %d more not shown\n", findings->path, hidden);
    }
    (void)fprintf(out, "%s: ", findings->path);
    if (findings->errors > 0) {
        print_count(out, findings->errors, "error");
    } else {
        (void)fputs("ok", out);
    }
    if (findings->warnings > 0) {
        (void)fputs(", ", out);
        print_count(out, findings->warnings, "warning");
    }
    (void)fputs(findings->errors > 0 ? ": not loaded\n" : "\n", out);
}

char *conf_findings_text(const struct conf_findings *findings)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    CHECK(out != NULL); /* see conf_memory.c */
    for (int i = 0; i < findings->count; i++) {
        print_finding(out, findings, &findings->at[i]);
    }
    print_summary(out, findings);
    CHECK(fclose(out) == 0);
    return text;
}

/* ---- as JSON ---- */

static void put_optional(struct json *json, const char *key, const char *value)
{
    json_key(json, key);
    if (value != NULL) {
        json_add_string(json, bytes_from_text(value));
    } else {
        json_add_null(json);
    }
}

static void put_finding(struct json *json, const struct conf_finding *finding)
{
    json_object_open(json);
    json_put_text(json, "severity", finding->is_error ? "error" : "warning");
    json_put_u64(json, "line", (uint64_t)finding->line);
    json_put_u64(json, "column", (uint64_t)finding->column);
    json_put_text(json, "message", finding->message);
    put_optional(json, "hint", finding->hint);
    put_optional(json, "allowed", finding->allowed);
    json_object_close(json);
}

static void put_findings(struct json *json, const struct conf_findings *findings)
{
    json_object_open(json);
    json_put_text(json, "file", findings->path);
    json_put_bool(json, "ok", findings->errors == 0);
    json_put_u64(json, "errors", (uint64_t)findings->errors);
    json_put_u64(json, "warnings", (uint64_t)findings->warnings);
    json_key(json, "findings");
    json_array_open(json);
    for (int i = 0; i < findings->count; i++) {
        put_finding(json, &findings->at[i]);
    }
    json_array_close(json);
    json_object_close(json);
}

char *conf_findings_json(const struct conf_findings *findings)
{
    size_t size = 4096;

    for (;;) {
        char *text = malloc(size + 1);
        struct json json;

        CHECK(text != NULL); /* see conf_memory.c */
        json_init(&json, text, size);
        put_findings(&json, findings);
        if (!json.overflow) {
            text[json_bytes(&json).len] = '\0';
            return text;
        }
        free(text);
        size *= 2;
    }
}
