/*
 * `weir secret new`: the text of a new secret file, three random keys. It goes
 * to the standard output alone, so that whoever asked decides where it rests.
 */
#include <string.h>

#include "verbs_internal.h"
#include "weir/base/check.h"
#include "weir/base/digest.h"

#define SECRET_BYTES 32
#define BASE64_BYTES ((SECRET_BYTES + 2) / 3 * 4 + 1)

void secret_encode(const unsigned char *data, size_t len, char *text)
{
    static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        unsigned second = i + 1 < len ? data[i + 1] : 0;
        unsigned third = i + 2 < len ? data[i + 2] : 0;
        unsigned bits = (unsigned)data[i] << 16 | second << 8 | third;
        *text++ = ALPHABET[bits >> 18];
        *text++ = ALPHABET[bits >> 12 & 63];
        *text++ = i + 1 < len ? ALPHABET[bits >> 6 & 63] : '=';
        *text++ = i + 2 < len ? ALPHABET[bits & 63] : '=';
    }
    *text = '\0';
}

int verb_secret(const struct verb_args *args)
{
    static const char *const NAMES[] = {"index", "fingerprint", "seal.1"};
    unsigned char secret[SECRET_BYTES];
    char text[BASE64_BYTES];
    if (strcmp(args->words[0], "new") != 0) {
        fprintf(args->err, "weir secret: only 'new' is known, not '%s'\nusage: weir secret new\n", args->words[0]);
        return APP_EXIT_USAGE;
    }
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++) {
        digest_random(secret, sizeof(secret));
        secret_encode(secret, sizeof(secret), text);
        fprintf(args->out, "%s %s\n", NAMES[i], text);
    }
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(text, sizeof(text));
    return APP_EXIT_OK;
}
