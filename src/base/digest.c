/*
 * Random bytes, SHA-256 and HMAC from libcrypto, and request ids. What cannot
 * fail but for a broken system aborts here, so that no caller goes on with a
 * name or a seal that is not one.
 */
#include "weir/base/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>

static const char hex_digits[] = "0123456789abcdef";

void digest_random(void *at, size_t len)
{
    CHECK(len <= INT_MAX);
    CHECK(RAND_bytes(at, (int)len) == 1);
}

void digest_sha256(struct bytes data, uint8_t out[DIGEST_BYTES])
{
    CHECK(SHA256((const unsigned char *)data.at, data.len, out) != NULL);
}

void digest_hmac_sha256(struct bytes key, struct bytes data, uint8_t out[DIGEST_BYTES])
{
    static const char none[1];
    unsigned len = 0;

    CHECK(key.len <= INT_MAX);
    /* A NULL key means something else to HMAC(): the key of the call before. */
    CHECK(HMAC(EVP_sha256(), key.at == NULL ? none : key.at, (int)key.len, (const unsigned char *)data.at, data.len,
               out, &len) != NULL);
    CHECK(len == DIGEST_BYTES);
}

void digest_hex(const void *data, size_t len, char *text)
{
    const uint8_t *at = data;

    for (size_t i = 0; i < len; i++) {
        *text++ = hex_digits[at[i] >> 4];
        *text++ = hex_digits[at[i] & 15];
    }
    *text = '\0';
}

/* One a thread, so that a worker thread may name requests without a lock. */
static _Thread_local struct {
    bool seeded;
    char prefix[REQUEST_ID_BYTES / 2]; /* hex */
    uint64_t counter;
} ids;

static void forget_seed(void)
{
    ids.seeded = false;
}

static void watch_forks(void)
{
    /* A child that kept the seed would count through its parent's ids. */
    CHECK(pthread_atfork(NULL, NULL, forget_seed) == 0);
}

static void seed_ids(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint64_t prefix;
    char text[sizeof(ids.prefix) + 1];

    CHECK(pthread_once(&once, watch_forks) == 0);
    digest_random(&prefix, sizeof(prefix));
    digest_random(&ids.counter, sizeof(ids.counter));
    digest_hex(&prefix, sizeof(prefix), text);
    memcpy(ids.prefix, text, sizeof(ids.prefix));
    ids.seeded = true;
}

/* A bijection (an odd multiplication and xor-shifts, both reversible), so that distinct counts stay distinct. */
static uint64_t mix(uint64_t count)
{
    count = (count ^ count >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return count ^ count >> 29;
}

void digest_request_id(char text[REQUEST_ID_BYTES + 1])
{
    uint64_t mixed;

    if (!ids.seeded) {
        seed_ids();
    }
    mixed = mix(ids.counter++);
    memcpy(text, ids.prefix, sizeof(ids.prefix));
    for (size_t i = sizeof(ids.prefix); i < REQUEST_ID_BYTES; i++) {
        text[i] = hex_digits[mixed >> 60];
        mixed <<= 4;
    }
    text[REQUEST_ID_BYTES] = '\0';
}
