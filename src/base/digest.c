/*
 * Random bytes, SHA-256 and HMAC from libcrypto, and request ids. What cannot
 * fail but for a broken system aborts here, so that no caller goes on with a
 * name or a seal that is not one.
 */
#include "weir/base/digest.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>

static const char hex_digits[] = "0123456789abcdef";

/*
 * A draw takes libcrypto two microseconds and a system call, of 16 bytes as of 2048 nearly, so each thread draws ahead:
 * for some forty payments. What was given out is wiped here, and a forked child begins anew: else it would give out
 * what its parent does.
 */
#define AHEAD_BYTES 2048

static _Thread_local struct {
    size_t left_bytes; /* at the front of `bytes`, not given out */
    uint8_t bytes[AHEAD_BYTES];
} ahead;

/* One a thread, so that a worker thread may name requests without a lock. */
static _Thread_local struct {
    bool seeded;
    char prefix[REQUEST_ID_BYTES / 2]; /* hex */
    uint64_t counter;
} ids;

static void forget_after_fork(void)
{
    ahead.left_bytes = 0;
    ids.seeded = false;
}

static void watch_forks(void)
{
    CHECK(pthread_atfork(NULL, NULL, forget_after_fork) == 0);
}

static void watch_forks_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    CHECK(pthread_once(&once, watch_forks) == 0);
}

static void draw_ahead(void)
{
    watch_forks_once();
    CHECK(RAND_bytes(ahead.bytes, AHEAD_BYTES) == 1);
    ahead.left_bytes = AHEAD_BYTES;
}

void digest_random(void *at, size_t len)
{
    if (len > AHEAD_BYTES) {
        CHECK(len <= INT_MAX);
        CHECK(RAND_bytes(at, (int)len) == 1);
        return;
    }
    if (len > ahead.left_bytes) {
        draw_ahead();
    }
    ahead.left_bytes -= len;
    memcpy(at, ahead.bytes + ahead.left_bytes, len);
    OPENSSL_cleanse(ahead.bytes + ahead.left_bytes, len);
}

/*
 * libcrypto looks its algorithm up anew in every one-shot call, which costs
 * three times the hashing of a short text. So the algorithm is looked up once,
 * and each thread keeps one context.
 */
static EVP_MD *sha256;
static pthread_key_t context_key;
static _Thread_local EVP_MD_CTX *context;

static void free_context(void *at)
{
    EVP_MD_CTX_free(at);
    context = NULL;
}

static void find_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    CHECK(sha256 != NULL);
    CHECK(pthread_key_create(&context_key, free_context) == 0);
}

static void open_context(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    CHECK(pthread_once(&once, find_sha256) == 0);
    context = EVP_MD_CTX_new();
    CHECK(context != NULL);
    CHECK(pthread_setspecific(context_key, context) == 0);
}

/* The hash of `head` and `tail`, one behind the other. */
static void hash_two(struct bytes head, struct bytes tail, uint8_t out[DIGEST_BYTES])
{
    if (context == NULL) {
        open_context();
    }
    CHECK(EVP_DigestInit_ex2(context, sha256, NULL) == 1);
    CHECK(head.len == 0 || EVP_DigestUpdate(context, head.at, head.len) == 1);
    CHECK(tail.len == 0 || EVP_DigestUpdate(context, tail.at, tail.len) == 1);
    CHECK(EVP_DigestFinal_ex(context, out, NULL) == 1);
}

void digest_sha256(struct bytes data, uint8_t out[DIGEST_BYTES])
{
    hash_two(data, BYTES_NONE, out);
}

/* RFC 2104 over the context above; HMAC() itself takes three times as long. */
void digest_hmac_sha256(struct bytes key, struct bytes data, uint8_t out[DIGEST_BYTES])
{
    uint8_t inner[SHA256_CBLOCK] = {0};
    uint8_t outer[SHA256_CBLOCK];

    if (key.len > sizeof(inner)) {
        digest_sha256(key, inner);
    } else if (key.len > 0) {
        memcpy(inner, key.at, key.len);
    }
    for (size_t i = 0; i < sizeof(inner); i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    hash_two(bytes_of(inner, sizeof(inner)), data, out);
    hash_two(bytes_of(outer, sizeof(outer)), bytes_of(out, DIGEST_BYTES), out);
    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}

void digest_hex(const void *data, size_t len, char *text)
{
    const uint8_t *at = data;

    for (size_t i = 0; i < len; i++) {
        text[2 * i] = hex_digits[at[i] >> 4];
        text[2 * i + 1] = hex_digits[at[i] & 15];
    }
    text[2 * len] = '\0';
}

static void seed_ids(void)
{
    uint64_t prefix;
    char text[sizeof(ids.prefix) + 1];

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
