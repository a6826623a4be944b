/*
 * Answers as the store keeps them: status, the headers that a replay may
 * repeat, and the body, sealed for one record and one request. Which headers
 * those are is the profile's to say; credentials, cookies and what belongs to
 * one connection or one exchange never are.
 *
 * Plain form: status (2 bytes, big endian), length of the header lines (4),
 * the lines, the body.
 */
#include "claim.h"

#include <stdlib.h>

#include "weir/base/keyring.h"

#define PREFIX_BYTES 6

static void put_number(char *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        at[i] = (char)(value & 0xff);
        value >>= 8;
    }
}

static uint64_t get_number(const char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | (uint8_t)at[i];
    }
    return value;
}

/* A stored answer opens for its own record and its own request alone. */
static struct bytes about_answer(const struct claim *claim, char about[IDEM_HASH_BYTES + IDEM_PRINT_BYTES])
{
    memcpy(about, claim->name.hash, IDEM_HASH_BYTES);
    memcpy(about + IDEM_HASH_BYTES, claim->print, IDEM_PRINT_BYTES);
    return bytes_of(about, IDEM_HASH_BYTES + IDEM_PRINT_BYTES);
}

/* Fields that are written anew with every answer. */
static bool is_own(const struct http_field *field)
{
    switch (field->id) {
    case HTTP_FIELD_CONTENT_LENGTH:
    case HTTP_FIELD_DATE:
    case HTTP_FIELD_IDEMPOTENT_REPLAYED:
    case HTTP_FIELD_TRANSFER_ENCODING:
    case HTTP_FIELD_WEIR_ANY:
    case HTTP_FIELD_X_REQUEST_ID:
        return true;
    default:
        return field->hop_by_hop;
    }
}

/* Prefix and header lines, in the gate's scratch. */
static struct bytes plain_head(const struct claim *claim)
{
    const struct exchange *x = claim->exchange;
    const struct http_head *head = x->answer_head;
    struct http_writer writer;
    char *at = x->gate->scratch;
    http_write_init(&writer, at + PREFIX_BYTES, sizeof x->gate->scratch - PREFIX_BYTES);
    for (int i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!is_own(field) && profile_keeps_field(x->route->profile, field->name)) {
            http_write_field(&writer, field->name, field->value);
        }
    }
    if (writer.overflow) {
        return BYTES_NONE;
    }
    put_number(at, head->status, 2);
    put_number(at + 2, writer.len, 4);
    return bytes_of(at, PREFIX_BYTES + writer.len);
}

#define SEAL_PARTS_MAX 320 /* the largest held answer, in blocks, and its head */

struct bytes stored_seal(const struct claim *claim)
{
    WEIR_SCRATCH struct bytes parts[SEAL_PARTS_MAX];
    WEIR_SCRATCH struct iovec vectors[SEAL_PARTS_MAX - 1];
    char about[IDEM_HASH_BYTES + IDEM_PRINT_BYTES];
    int count = buf_vectors(&claim->answer, vectors, (int)ARRAY_COUNT(vectors));
    size_t len = 0;
    parts[0] = plain_head(claim);
    for (int i = 0; i < count; i++) {
        parts[i + 1] = bytes_of(vectors[i].iov_base, vectors[i].iov_len);
        len += vectors[i].iov_len;
    }
    if (parts[0].len == 0 || len != claim->answer.len) {
        return BYTES_NONE; /* then the outcome is kept without it */
    }
    uint8_t *out = malloc(keyring_sealed_bytes(parts[0].len + len));
    if (out == NULL) {
        return BYTES_NONE;
    }
    return bytes_of(out, keyring_seal(claim->exchange->generation->parts.keyring, about_answer(claim, about), parts,
                                      count + 1, out));
}

bool stored_open(const struct claim *claim, struct bytes sealed, struct stored *stored)
{
    struct exchange *x = claim->exchange;
    char about[IDEM_HASH_BYTES + IDEM_PRINT_BYTES];
    uint8_t *plain = sealed.len > 0 ? arena_take(&x->arena, sealed.len) : NULL;
    size_t len = 0;
    if (plain == NULL ||
        !keyring_unseal(x->generation->parts.keyring, about_answer(claim, about), sealed, plain, &len) ||
        len < PREFIX_BYTES) {
        return false;
    }
    struct bytes whole = bytes_of(plain, len);
    uint64_t lines_len = get_number(whole.at + 2, 4);
    if (lines_len > len - PREFIX_BYTES) {
        return false;
    }
    *stored = (struct stored){
        .status = (uint16_t)get_number(whole.at, 2),
        .lines = bytes_of(whole.at + PREFIX_BYTES, lines_len),
        .body = bytes_skip(whole, PREFIX_BYTES + lines_len),
    };
    return true;
}

bool stored_reply(struct exchange *x, const struct stored *stored)
{
    char *lines = arena_take(&x->arena, REPLY_LINES_BYTES + stored->lines.len);
    if (lines == NULL) {
        return false;
    }
    x->status = stored->status;
    x->outcome = OUTCOME_REPLAYED;
    x->answer_head = NULL; /* what another attempt brought is not what goes out */
    if (x->client == NULL) {
        return true;
    }
    struct bytes own = reply_lines(x, lines, REPLY_LINES_BYTES);
    struct http_writer writer;
    http_write_init(&writer, lines + own.len, REPLY_LINES_BYTES + stored->lines.len - own.len);
    http_write_lines(&writer, BYTES("Idempotent-Replayed: true\r\n"));
    http_write_lines(&writer, stored->lines);
    bool bare = stored->status == 204 || stored->status == 304;
    struct answer answer = {
        .status = stored->status,
        .lines = bytes_of(lines, own.len + writer.len),
        .framing = bare ? HTTP_FRAMING_NONE : HTTP_FRAMING_LENGTH,
        .content_length = stored->body.len,
    };
    x->answer_begun = true;
    x->bytes_out = stored->body.len;
    /* A client that cannot be written to is gone; it notices by itself. */
    (void)x->client->ops->answer(x->client, &answer, &stored->body, bare || stored->body.len == 0 ? 0 : 1, true);
    return true;
}
