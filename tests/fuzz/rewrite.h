/*
 * Writes an accepted message anew and reads it back: what weir would send on
 * must be read by weir as the very message that it accepted, and writing that
 * again must give the same bytes.
 */
#ifndef TESTS_FUZZ_REWRITE_H
#define TESTS_FUZZ_REWRITE_H

#include "../unit/http/reading.h"

#include "weir/http/write.h"

#define REWRITE_INPUT_MAX 16384
#define REWRITE_BYTES_MAX (4 * REWRITE_INPUT_MAX)

struct rewrite {
    char *text; /* owned */
    size_t len;
};

static void rewrite_write(struct reading *reading, const struct http_head *head, struct bytes body)
{
    struct rewrite *rewrite = reading->data;
    struct http_writer writer;
    http_write_init(&writer, rewrite->text, REWRITE_BYTES_MAX);
    bool framed = head->framing != HTTP_FRAMING_NONE;
    if (reading->kind == HTTP_REQUEST_MESSAGE)
        http_write_request_line(&writer, head->method, head->target);
    else
        http_write_status_line(&writer, head->status);
    http_write_passed_fields(&writer, head, framed ? 1u << HTTP_FIELD_CONTENT_LENGTH : 0, NULL, 0);
    if (framed)
        http_write_field_u64(&writer, BYTES("Content-Length"), body.len);
    http_write_end(&writer);
    http_write_lines(&writer, body);
    CHECK(!writer.overflow);
    rewrite->len = writer.len;
}

static void rewrite_check(struct reading *reading, const struct http_head *head, struct bytes body)
{
    struct rewrite first = {.text = malloc(REWRITE_BYTES_MAX)}, second = {.text = malloc(REWRITE_BYTES_MAX)};
    CHECK(first.text != NULL && second.text != NULL);
    struct reading copy = {
        .kind = reading->kind,
        .method_head = reading->method_head,
        .limits = {REWRITE_BYTES_MAX, HTTP_TARGET_BYTES_MAX, READING_BODY_MAX},
        .on_message = rewrite_write,
        .data = &second,
    };
    void *data = reading->data;
    reading->data = &first;
    rewrite_write(reading, head, body);
    reading->data = data;
    reading_run(&copy, bytes_of(first.text, first.len));
    CHECK(copy.fault == HTTP_FAULT_NONE && copy.messages == 1 && copy.rest == 0);
    CHECK(bytes_equal(bytes_of(first.text, first.len), bytes_of(second.text, second.len)));
    reading_close(&copy);
    free(first.text);
    free(second.text);
}

/* The first four bytes of the input are the seed of the pieces, the rest is what is read. */
static void rewrite_fuzz(enum http_kind kind, const uint8_t *data, size_t size)
{
    if (size < 4 || size > REWRITE_INPUT_MAX)
        return;
    uint32_t seed;
    memcpy(&seed, data, sizeof(seed));
    struct bytes input = bytes_of(data + sizeof(seed), size - sizeof(seed));
    struct reading whole = {
        .kind = kind, .method_head = kind == HTTP_RESPONSE_MESSAGE && (seed & 1) != 0, .limits = READING_LIMITS};
    struct reading pieces = whole;
    whole.on_message = rewrite_check;
    pieces.seed = seed | 1;
    reading_run(&whole, input);
    reading_run(&pieces, input);
    CHECK(strcmp(whole.text, pieces.text) == 0);
    reading_close(&whole);
    reading_close(&pieces);
}

#endif
