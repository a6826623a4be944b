/*
 * Reads a byte string as messages, in pieces of any size, and writes down
 * everything that a caller of http/message.h could have noticed. Two readings
 * of the same bytes are the same when their transcripts are. Used by the unit
 * tests, the fuzz targets and the differential test.
 */
#ifndef TESTS_UNIT_HTTP_READING_H
#define TESTS_UNIT_HTTP_READING_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/http/message.h"

#define READING_NOTE_MAX 32768 /* of one note that is formatted */
#define READING_BODY_MAX 65536

struct reading {
    /* wanted */
    enum http_kind kind;
    bool method_head;
    struct http_limits limits;
    bool stop_at_close; /* as a server does: nothing behind a message that ends its connection */
    size_t piece;  /* bytes a feed; 0: all at once */
    uint32_t seed; /* not 0: pieces of 1 to 16 bytes, by this seed */
    /* called with each accepted message; may be NULL */
    void (*on_message)(struct reading *reading, const struct http_head *head, struct bytes body);
    void *data;
    /* found */
    enum http_fault fault;
    const char *fault_text;
    int messages;  /* complete ones */
    size_t rest;   /* bytes behind the last complete message */
    bool closed;   /* stopped behind a message that ends its connection */
    char *text;    /* the transcript, NUL-terminated; owned */
    size_t text_len;
    size_t text_size;
    /* while it runs */
    struct blocks blocks;
    struct arena arena;
    struct http_message *message;
    char *body;
    size_t body_len;
    size_t body_size;
};

#define READING_LIMITS ((struct http_limits){16384, HTTP_TARGET_BYTES_MAX, READING_BODY_MAX})

/* Makes room for `more` bytes behind `len`; small at first, since a fuzzer reads many short inputs. */
static void reading_grow(char **at, size_t *size, size_t len, size_t more)
{
    if (len + more <= *size)
        return;
    while (*size < len + more)
        *size = *size == 0 ? 1024 : 2 * *size;
    *at = realloc(*at, *size);
    CHECK(*at != NULL);
}

__attribute__((format(printf, 2, 3))) static void reading_note(struct reading *reading, const char *format, ...)
{
    for (size_t size = 512;; size = READING_NOTE_MAX) {
        reading_grow(&reading->text, &reading->text_size, reading->text_len, size);
        va_list arguments;
        va_start(arguments, format);
        int len = vsnprintf(reading->text + reading->text_len, size, format, arguments);
        va_end(arguments);
        CHECK(len >= 0 && (size_t)len < READING_NOTE_MAX);
        if ((size_t)len < size) {
            reading->text_len += (size_t)len;
            return;
        }
    }
}

static void reading_note_hex(struct reading *reading, struct bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    reading_grow(&reading->text, &reading->text_size, reading->text_len, 2 * bytes.len);
    for (size_t i = 0; i < bytes.len; i++) {
        reading->text[reading->text_len++] = digits[(unsigned char)bytes.at[i] >> 4];
        reading->text[reading->text_len++] = digits[(unsigned char)bytes.at[i] & 15];
    }
}

static void reading_note_head(struct reading *reading, const struct http_head *head)
{
    reading_note(reading, "[%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%u] minor %u keep %d framing %d length %llu continue %d seen %x\n",
                 BYTES_ARG(head->method), BYTES_ARG(head->target), BYTES_ARG(head->path), BYTES_ARG(head->query),
                 BYTES_ARG(head->authority), BYTES_ARG(head->host), head->status, head->minor, head->keep_alive,
                 head->framing, (unsigned long long)head->content_length, head->expects_continue, head->seen);
    for (int i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        reading_note(reading, "  %d%c %.*s: %.*s\n", field->id, field->hop_by_hop ? '-' : '+', BYTES_ARG(field->name),
                     BYTES_ARG(field->value));
    }
}

static void reading_on_body(struct reading *reading, struct bytes body)
{
    CHECK(body.len > 0 && reading->body_len + body.len <= READING_BODY_MAX);
    reading_grow(&reading->body, &reading->body_size, reading->body_len, body.len);
    memcpy(reading->body + reading->body_len, body.at, body.len);
    reading->body_len += body.len;
}

static void reading_on_end(struct reading *reading, const struct http_message *message)
{
    CHECK(http_message_body_bytes(message) == reading->body_len);
    reading->messages++;
    reading_note(reading, "body %zu of %llu wire bytes: ", reading->body_len,
                 (unsigned long long)http_message_wire_bytes(message));
    reading_note_hex(reading, bytes_of(reading->body, reading->body_len));
    reading_note(reading, "\n");
    if (reading->on_message != NULL)
        reading->on_message(reading, http_message_head(message), bytes_of(reading->body, reading->body_len));
    reading->closed = reading->stop_at_close && !http_message_head(message)->keep_alive;
    reading->body_len = 0;
    reading->message = NULL;
    arena_reset(&reading->arena);
}

/* False: faulted or closed. */
static bool reading_feed(struct reading *reading, struct bytes data)
{
    while (data.len > 0) {
        if (reading->message == NULL) {
            reading->message = http_message_new(&reading->arena, reading->kind, &reading->limits, reading->method_head);
            CHECK(reading->message != NULL);
        }
        enum http_event event;
        do {
            struct bytes body;
            event = http_message_feed(reading->message, &data, &body);
            if (event == HTTP_HEAD)
                reading_note_head(reading, http_message_head(reading->message));
            if (event == HTTP_BODY)
                reading_on_body(reading, body);
        } while (event == HTTP_HEAD || event == HTTP_BODY);
        if (event == HTTP_FAULTED)
            return false;
        if (event == HTTP_MORE)
            CHECK(data.len == 0);
        if (event == HTTP_END) {
            reading_on_end(reading, reading->message);
            reading->rest = data.len;
            if (reading->closed)
                return false;
        }
    }
    return true;
}

static size_t reading_piece(struct reading *reading, size_t left)
{
    size_t piece = reading->piece == 0 ? left : reading->piece;
    if (reading->seed != 0) {
        reading->seed = reading->seed * 1664525u + 1013904223u;
        piece = 1 + (reading->seed >> 24) % 16;
    }
    return piece < left ? piece : left;
}

/* Every piece is fed from memory of its own size, so that a read past it is found. */
static void reading_run(struct reading *reading, struct bytes input)
{
    blocks_init(&reading->blocks, 0, 4);
    arena_init(&reading->arena, &reading->blocks);
    bool going = true;
    size_t used = 0;
    while (going && used < input.len) {
        size_t len = reading_piece(reading, input.len - used);
        char *piece = malloc(len);
        CHECK(piece != NULL);
        memcpy(piece, input.at + used, len);
        used += len;
        going = reading_feed(reading, bytes_of(piece, len));
        free(piece);
        if (going && reading->message != NULL)
            reading->rest = (size_t)http_message_wire_bytes(reading->message);
    }
    if (!going && !reading->closed) {
        reading->fault = http_message_fault(reading->message);
        reading->fault_text = http_message_fault_text(reading->message);
        reading_note(reading, "fault %d: %s\n", reading->fault, reading->fault_text);
    } else {
        if (reading->message == NULL && !reading->closed)
            reading->rest = 0;
        reading_note(reading, "rest %zu\n", reading->rest);
    }
    arena_reset(&reading->arena);
    blocks_close(&reading->blocks);
    free(reading->body);
}

static void reading_close(struct reading *reading)
{
    free(reading->text);
}

#endif
