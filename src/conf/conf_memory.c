/*
 * Memory with one life: everything of a conf, or of a set of findings, is taken
 * here and goes at once.
 *
 * A conf is bounded by the size of its file (1 MiB), and is loaded at start, in
 * a verb, or on the worker. Whoever cannot get these few bytes cannot hold the
 * next payment either: no memory is a CHECK here, so that the hundred places
 * that build findings and structs need no path that nobody can test.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf_internal.h"

struct conf_memory *conf_memory_open(void)
{
    struct conf_memory *memory = calloc(1, sizeof(*memory));

    CHECK(memory != NULL);
    blocks_init(&memory->blocks, 0, 0);
    arena_init(&memory->arena, &memory->blocks);
    return memory;
}

void conf_memory_close(struct conf_memory *memory)
{
    if (memory == NULL) {
        return;
    }
    arena_reset(&memory->arena);
    blocks_close(&memory->blocks);
    free(memory);
}

void *conf_memory_take(struct conf_memory *memory, size_t bytes)
{
    void *at = arena_take_zeroed(&memory->arena, bytes);

    CHECK(at != NULL);
    return at;
}

char *conf_memory_text(struct conf_memory *memory, struct bytes text)
{
    char *at = conf_memory_take(memory, text.len + 1);

    if (text.len > 0) {
        memcpy(at, text.at, text.len);
    }
    return at;
}

char *conf_memory_lower(struct conf_memory *memory, struct bytes text)
{
    char *at = conf_memory_text(memory, text);

    for (size_t i = 0; i < text.len; i++) {
        at[i] = at[i] >= 'A' && at[i] <= 'Z' ? (char)(at[i] - 'A' + 'a') : at[i];
    }
    return at;
}

void conf_append(char *text, size_t size, const char *format, ...)
{
    size_t len = strlen(text);
    va_list arguments;

    if (len + 1 >= size) {
        return;
    }
    va_start(arguments, format);
    /* A text that is cut is still a text: callers size for what they write. */
    (void)vsnprintf(text + len, size - len, format, arguments);
    va_end(arguments);
}
