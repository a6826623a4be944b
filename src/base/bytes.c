/*
 * The comparisons, searches and conversions of struct bytes that are more than
 * one line. Nothing here allocates, and nothing needs a terminating NUL.
 */
#include "weir/base/bytes.h"

static unsigned char fold(char c)
{
    unsigned char byte = (unsigned char)c;

    return (unsigned char)(byte - 'A') < 26 ? (unsigned char)(byte | 0x20) : byte;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool bytes__same_folded(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (a[i] != b[i] && fold(a[i]) != fold(b[i])) {
            return false;
        }
    }
    return true;
}

bool bytes_starts_with(struct bytes bytes, struct bytes prefix)
{
    return prefix.len <= bytes.len && bytes_equal(bytes_take(bytes, prefix.len), prefix);
}

bool bytes_ends_with(struct bytes bytes, struct bytes suffix)
{
    return suffix.len <= bytes.len && bytes_equal(bytes_skip(bytes, bytes.len - suffix.len), suffix);
}

size_t bytes_find_text(struct bytes bytes, struct bytes needle)
{
    const char *found;

    if (needle.len == 0) {
        return 0;
    }
    if (needle.len > bytes.len) {
        return SIZE_MAX;
    }
    found = memmem(bytes.at, bytes.len, needle.at, needle.len);
    return found == NULL ? SIZE_MAX : (size_t)(found - bytes.at);
}

struct bytes bytes_trim(struct bytes bytes)
{
    while (bytes.len > 0 && is_blank(bytes.at[0])) {
        bytes = bytes_skip(bytes, 1);
    }
    while (bytes.len > 0 && is_blank(bytes.at[bytes.len - 1])) {
        bytes.len--;
    }
    return bytes;
}

bool bytes_next_element(struct bytes *list, struct bytes *element)
{
    struct bytes rest = bytes_trim(*list);
    size_t comma;

    if (rest.len == 0) {
        *list = BYTES_NONE;
        *element = BYTES_NONE;
        return false;
    }
    comma = bytes_find(rest, ',');
    *element = bytes_trim(bytes_take(rest, comma));
    if (comma == SIZE_MAX) {
        *list = BYTES_NONE;
    } else if (comma > 0 && comma + 1 == rest.len) {
        *list = bytes_skip(rest, comma); /* a trailing comma is one more, empty element */
    } else {
        *list = bytes_skip(rest, comma + 1);
    }
    return true;
}

bool bytes_to_u64(struct bytes bytes, uint64_t *value)
{
    uint64_t sum = 0;

    if (bytes.len == 0) {
        return false;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char digit = (unsigned char)(bytes.at[i] - '0');

        if (digit > 9 || __builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
            __builtin_add_overflow(sum, (uint64_t)digit, &sum)) {
            return false;
        }
    }
    *value = sum;
    return true;
}

static int hex_value(char c)
{
    unsigned char lower = fold(c);

    if (lower >= '0' && lower <= '9') {
        return lower - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool bytes_hex_to_u64(struct bytes bytes, uint64_t *value)
{
    uint64_t sum = 0;

    if (bytes.len == 0) {
        return false;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        int digit = hex_value(bytes.at[i]);

        if (digit < 0 || sum >> 60 != 0) {
            return false;
        }
        sum = sum << 4 | (uint64_t)digit;
    }
    *value = sum;
    return true;
}

size_t bytes_to_text(struct bytes bytes, char *text, size_t size)
{
    size_t len = bytes.len;

    if (size == 0) {
        return 0;
    }
    if (len > size - 1) {
        len = size - 1;
    }
    if (len > 0) {
        memcpy(text, bytes.at, len);
    }
    text[len] = '\0';
    return len;
}

size_t bytes_from_u64(uint64_t value, char text[BYTES_U64_DIGITS])
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    size_t len = 1;
    uint64_t rest = value;

    /* Statuses, octets, lengths and times of a request: nearly all that weir ever prints. */
    if (value < 10) {
        text[0] = (char)('0' + value);
        return 1;
    }
    if (value < 100) {
        memcpy(text, pairs + 2 * value, 2);
        return 2;
    }
    if (value < 1000) {
        text[0] = (char)('0' + value / 100);
        memcpy(text + 1, pairs + 2 * (value % 100), 2);
        return 3;
    }
    if (value < 10000) {
        memcpy(text, pairs + 2 * (value / 100), 2);
        memcpy(text + 2, pairs + 2 * (value % 100), 2);
        return 4;
    }
    for (; rest >= 10000; rest /= 10000) {
        len += 4;
    }
    len += rest >= 1000 ? 3 : rest >= 100 ? 2 : rest >= 10 ? 1 : 0;
    for (size_t i = len; i > 1; i -= 2) {
        memcpy(text + i - 2, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (len % 2 != 0) {
        text[0] = (char)('0' + value);
    }
    return len;
}
