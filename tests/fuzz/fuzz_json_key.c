/*
 * Any bytes as a JSON body: it is read to an answer, the same one however the
 * body lies in blocks, and a key that was found is text that fits. The first
 * byte picks the pointer.
 */
#include <stdint.h>

#include "weir/base/check.h"
#include "weir/http/json_key.h"

#define KEY_BYTES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct answer {
    enum json_key_result result;
    char key[KEY_BYTES];
    size_t len;
};

static const char *const POINTERS[] = {"/idempotency_key", "/k", "", "/a/0", "/a~1b/~0", "//", "/payment/key"};

/* `part`: the most bytes of one block. */
static struct answer ask(struct bytes text, struct bytes pointer, size_t part)
{
    struct answer answer = {.len = 0};
    struct blocks blocks;
    struct buf body;

    blocks_init(&blocks, 0, 0);
    buf_init(&body, &blocks, SIZE_MAX);
    while (text.len > 0) {
        struct bytes bytes = bytes_take(text, part);
        struct buf piece;

        buf_init(&piece, &blocks, SIZE_MAX);
        CHECK(buf_append(&piece, bytes, BLOCKS_MUST) == ERR_OK);
        CHECK(buf_move(&body, &piece) == ERR_OK);
        text = bytes_skip(text, bytes.len);
    }
    answer.result = json_key_find(&body, pointer, answer.key, sizeof(answer.key), &answer.len);
    buf_reset(&body);
    blocks_close(&blocks);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes pointer, text;
    struct answer whole, parts;

    if (size == 0) {
        return 0;
    }
    pointer = bytes_from_text(POINTERS[data[0] % ARRAY_COUNT(POINTERS)]);
    text = bytes_of(data + 1, size - 1);
    whole = ask(text, pointer, SIZE_MAX);
    parts = ask(text, pointer, 5);
    CHECK(whole.result == parts.result && whole.len == parts.len);
    CHECK(whole.result == JSON_KEY_FOUND || whole.len == 0);
    CHECK(whole.len <= sizeof(whole.key) && memcmp(whole.key, parts.key, whole.len) == 0);
    CHECK(memchr(whole.key, '\0', whole.len) == NULL);
    CHECK(whole.result != JSON_KEY_NO_MEMORY);
    return 0;
}
