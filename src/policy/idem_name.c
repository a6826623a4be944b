/*
 * Names: of a record as operators see and type it, and of every state, verdict
 * and end, as logs, scripts and events say them. Decides nothing.
 */
#include "weir/policy/idem.h"

#include "weir/base/digest.h"

#define BUCKET_DIGITS 3
#define SHORT_HASH_BYTES 6

void idem_name_short(const struct idem_name *name, char text[IDEM_SHORT_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";

    CHECK(name->bucket < IDEM_BUCKETS);
    text[0] = digits[name->bucket >> 8];
    text[1] = digits[(name->bucket >> 4) & 15];
    text[2] = digits[name->bucket & 15];
    text[BUCKET_DIGITS] = 'x';
    digest_hex(name->hash, SHORT_HASH_BYTES, text + BUCKET_DIGITS + 1);
}

bool idem_name_parse(struct bytes text, struct idem_name *prefix, size_t *hash_len)
{
    struct bytes hash = bytes_skip(text, BUCKET_DIGITS + 1);
    uint64_t number = 0;

    *prefix = (struct idem_name){0};
    *hash_len = hash.len / 2;
    if (hash.len % 2 != 0 || *hash_len < SHORT_HASH_BYTES || *hash_len > IDEM_HASH_BYTES || (text.at[BUCKET_DIGITS] | 0x20) != 'x' ||
        !bytes_hex_to_u64(bytes_take(text, BUCKET_DIGITS), &number) || number >= IDEM_BUCKETS) {
        return false;
    }
    prefix->bucket = (uint16_t)number;
    for (size_t i = 0; i < *hash_len; i++) {
        if (!bytes_hex_to_u64(bytes_take(bytes_skip(hash, 2 * i), 2), &number)) {
            return false;
        }
        prefix->hash[i] = (uint8_t)number;
    }
    return true;
}

const char *idem_state_name(enum idem_state state)
{
    static const char *const names[IDEM_STATE_COUNT] = {
        [IDEM_ABSENT] = "none",
        [IDEM_IN_FLIGHT] = "in_progress",
        [IDEM_UNKNOWN] = "unknown",
        [IDEM_DONE] = "done",
    };
    CHECK(state < IDEM_STATE_COUNT);
    return names[state];
}

const char *idem_how_name(enum idem_how how)
{
    static const char *const names[IDEM_HOW_COUNT] = {
        [IDEM_HOW_REPLAY] = "replay",
        [IDEM_HOW_LATE] = "late",
        [IDEM_HOW_OPERATOR] = "operator",
        [IDEM_HOW_EXPIRED] = "expired",
    };
    CHECK(how < IDEM_HOW_COUNT);
    return names[how];
}

const char *idem_verdict_name(enum idem_verdict verdict)
{
    static const char *const names[IDEM_VERDICT_COUNT] = {
        [IDEM_NEW] = "NEW",           [IDEM_TAKEN_OVER] = "TAKEN_OVER", [IDEM_REPLAY] = "REPLAY",
        [IDEM_RECEIPT] = "RECEIPT",   [IDEM_BUSY] = "BUSY",             [IDEM_STUCK] = "STUCK",
        [IDEM_LIMITED] = "LIMITED",   [IDEM_MISMATCH] = "MISMATCH",     [IDEM_OK] = "OK",
        [IDEM_LOST] = "LOST",         [IDEM_REFUSED] = "REFUSED",       [IDEM_ALREADY] = "ALREADY",
        [IDEM_REASSERTED] = "REASSERTED", [IDEM_CONFLICT] = "CONFLICT", [IDEM_NONE] = "NONE",
        [IDEM_EXPIRED] = "EXPIRED",
    };
    CHECK(verdict < IDEM_VERDICT_COUNT);
    return names[verdict];
}
