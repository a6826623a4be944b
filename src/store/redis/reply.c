/*
 * Replies, read by hiredis's reader into memory of ours: one reply at a time,
 * bounded, without an allocation for each element. The reader's own buffer is
 * bounded too: a length that a broken server announces is not waited for.
 */
#include "redis_internal.h"

#include <stdlib.h>
#include <string.h>

#include <hiredis/read.h>

#define TEXT_FIRST_BYTES 4096
#define TEXT_KEPT_BYTES  (64u << 10)

/* ---- what the reader calls; NULL tells it that there is no memory ---- */

static struct reply *element_new(const redisReadTask *task, enum reply_kind kind)
{
    struct replies *replies = task->privdata;
    if (replies->count == REPLY_ELEMENTS_MAX) {
        return NULL;
    }
    struct reply *element = &replies->elements[replies->count++];
    *element = (struct reply){.kind = kind};
    return element;
}

static bool text_reserve(struct replies *replies, size_t len)
{
    size_t room = replies->text_room == 0 ? TEXT_FIRST_BYTES : replies->text_room;
    char *text;
    if (len <= replies->text_room - replies->text_len) {
        return true;
    }
    if (replies->text_len + len > REPLY_BYTES_MAX) {
        return false;
    }
    while (room - replies->text_len < len) {
        room *= 2;
    }
    text = realloc(replies->text, room);
    if (text == NULL) {
        return false;
    }
    replies->text = text;
    replies->text_room = room;
    return true;
}

static void *create_string(const redisReadTask *task, char *at, size_t len)
{
    struct replies *replies = task->privdata;
    enum reply_kind kind = task->type == REDIS_REPLY_ERROR    ? REPLY_ERROR
                           : task->type == REDIS_REPLY_STATUS ? REPLY_STATUS
                                                              : REPLY_TEXT;
    struct reply *element;
    if (!text_reserve(replies, len)) {
        return NULL;
    }
    element = element_new(task, kind);
    if (element != NULL) {
        element->offset = replies->text_len;
        element->text.len = len;
        if (len > 0) {
            memcpy(replies->text + replies->text_len, at, len);
            replies->text_len += len;
        }
    }
    return element;
}

static void *create_array(const redisReadTask *task, int elements)
{
    struct reply *element = elements > REPLY_ELEMENTS_MAX ? NULL : element_new(task, REPLY_ARRAY);
    if (element != NULL) {
        element->integer = elements;
    }
    return element;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct reply *element = element_new(task, REPLY_INTEGER);
    if (element != NULL) {
        element->integer = value;
    }
    return element;
}

static void *create_nil(const redisReadTask *task)
{
    return element_new(task, REPLY_NIL);
}

static void free_object(void *object)
{
    (void)object; /* ours, all of them at once */
}

static redisReplyObjectFunctions functions = {create_string, create_array, create_integer, create_nil, free_object};

/* ---- reading ---- */

bool replies_open(struct replies *replies)
{
    *replies = (struct replies){0};
    replies->reader = redisReaderCreateWithFunctions(&functions);
    replies->elements = malloc(REPLY_ELEMENTS_MAX * sizeof *replies->elements);
    if (replies->reader == NULL || replies->elements == NULL) {
        replies_close(replies);
        return false;
    }
    replies->reader->privdata = replies; /* the macro for this casts a pointer to int */
    return true;
}

void replies_close(struct replies *replies)
{
    if (replies->reader != NULL) {
        redisReaderFree(replies->reader);
    }
    free(replies->elements);
    free(replies->text);
    *replies = (struct replies){0};
}

bool replies_feed(struct replies *replies, struct bytes data)
{
    redisReader *reader = replies->reader;
    return reader->len - reader->pos + data.len <= REPLY_BYTES_MAX &&
           redisReaderFeed(reader, data.at, data.len) == REDIS_OK;
}

const struct reply *replies_next(struct replies *replies, const char **why)
{
    void *root = NULL;
    *why = NULL;
    if (replies->text_len == 0 && replies->text_room > TEXT_KEPT_BYTES) {
        free(replies->text);
        replies->text = NULL;
        replies->text_room = 0;
    }
    if (redisReaderGetReply(replies->reader, &root) != REDIS_OK) {
        *why = replies->reader->err == REDIS_ERR_OOM ? "a reply is larger than any should be"
                                                     : "what came is not the Redis protocol";
        return NULL;
    }
    if (root == NULL) {
        return NULL;
    }
    for (int i = 0; i < replies->count; i++) {
        struct reply *element = &replies->elements[i];
        if (element->kind <= REPLY_ERROR && element->text.len > 0) {
            element->text.at = replies->text + element->offset;
        }
    }
    replies->count = 0;
    replies->text_len = 0;
    return root;
}

/* ---- errors ---- */

enum refusal refusal_of(const struct reply *error)
{
    static const struct {
        const char *code;
        enum refusal refusal;
    } rows[] = {
        {"NOSCRIPT", REFUSAL_NO_SCRIPT},   {"OOM", REFUSAL_NO_ROOM},           {"MISCONF", REFUSAL_NO_WRITES},
        {"NOREPLICAS", REFUSAL_NO_WRITES}, {"READONLY", REFUSAL_ELSEWHERE},    {"LOADING", REFUSAL_ELSEWHERE},
        {"MASTERDOWN", REFUSAL_ELSEWHERE}, {"BUSY", REFUSAL_ELSEWHERE},        {"NOAUTH", REFUSAL_ELSEWHERE},
        {"WRONGPASS", REFUSAL_ELSEWHERE},  {"CLUSTERDOWN", REFUSAL_ELSEWHERE}, {"MOVED", REFUSAL_ELSEWHERE},
        {"ASK", REFUSAL_ELSEWHERE},        {"TRYAGAIN", REFUSAL_ELSEWHERE},
    };
    struct bytes code = bytes_take(error->text, bytes_find(error->text, ' '));
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (bytes_equal(code, bytes_from_text(rows[i].code))) {
            return rows[i].refusal;
        }
    }
    return REFUSAL_OTHER;
}
