/*
 * The keys of a deployment: hashes and seals against the RFCs' building blocks
 * put together by hand, what must not open, and every way a secret file can be
 * wrong.
 */
#include "base/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "weir/base/digest.h"
#include "weir/base/keyring.h"

/* Keys of 32 equal bytes 0x0b, 0x11, 0x22, 0x33. */
#define KEY_0B "CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws="
#define KEY_11 "ERERERERERERERERERERERERERERERERERERERERERE="
#define KEY_22 "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI="
#define KEY_33 "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM="
#define FIXED "index " KEY_0B "\nfingerprint " KEY_11 "\n"
#define ONE_SEAL FIXED "seal.1 " KEY_22 "\n"
#define TWO_SEALS FIXED "seal.2 " KEY_33 "\nseal.1 " KEY_22 "\n"

static struct keyring *ring_of(const char *text)
{
    char why[256] = "";
    struct keyring *ring = keyring_read(bytes_from_text(text), "secret", why, sizeof(why));

    if (ring == NULL) {
        fail_msg("%s", why);
    }
    return ring;
}

/* ---- hashes ---- */

/* What keyring_hash must be: RFC 2104 (digest_test.c has its vectors) over lengths and parts. */
static void hash_by_hand(uint8_t key_byte, const struct bytes *parts, int count, uint8_t out[32])
{
    static char text[70000];
    char key[32];
    size_t len = 0;

    memset(key, key_byte, sizeof(key));
    for (int i = 0; i < count; i++) {
        for (int shift = 56; shift >= 0; shift -= 8) {
            text[len++] = (char)((uint64_t)parts[i].len >> shift & 0xff);
        }
        if (parts[i].len > 0) {
            memcpy(text + len, parts[i].at, parts[i].len);
        }
        len += parts[i].len;
    }
    digest_hmac_sha256(bytes_of(key, sizeof(key)), bytes_of(text, len), out);
}

static void assert_hash(const struct keyring *ring, const struct bytes *parts, int count)
{
    uint8_t expected[32], actual[32];

    hash_by_hand(0x0b, parts, count, expected);
    keyring_hash(ring, KEYRING_INDEX, parts, count, actual);
    assert_memory_equal(actual, expected, 32);
    hash_by_hand(0x11, parts, count, expected);
    keyring_hash(ring, KEYRING_FINGERPRINT, parts, count, actual);
    assert_memory_equal(actual, expected, 32);
}

static void test_a_hash_is_hmac_over_lengths_and_parts(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL);
    const struct bytes parts[] = {BYTES("acme"), BYTES_NONE, BYTES("8e03978e-40d5-43e8-bc93-6894a57f9324")};

    (void)state;
    assert_hash(ring, parts, 3);
    assert_hash(ring, parts, 2);
    assert_hash(ring, parts, 1);
    assert_hash(ring, NULL, 0);
    keyring_release(ring);
}

static void test_parts_of_every_length_are_hashed_whole(void **state)
{
    static char data[65536];
    struct keyring *ring = ring_of(ONE_SEAL);
    uint64_t seed = 3;

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)random_next(&seed);
    }
    for (size_t len = 0; len < 1200; len++) {
        const struct bytes parts[] = {bytes_of(data, len), bytes_of(data + len, 3), bytes_of(data, 1200 - len)};

        assert_hash(ring, parts, 3);
    }
    assert_hash(ring, &(struct bytes){data, sizeof(data)}, 1);
    keyring_release(ring);
}

static void test_no_two_lists_of_parts_are_alike(void **state)
{
    static const struct bytes LISTS[][3] = {{BYTES("ab"), BYTES("c")}, {BYTES("a"), BYTES("bc")}, {BYTES("abc"), BYTES("")},
                                            {BYTES(""), BYTES("abc")}};
    struct keyring *ring = ring_of(ONE_SEAL);
    uint8_t hashes[5][32];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        keyring_hash(ring, KEYRING_INDEX, LISTS[i], 2, hashes[i]);
    }
    keyring_hash(ring, KEYRING_INDEX, LISTS[2], 1, hashes[4]);
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(hashes[i], hashes[j], 32);
        }
    }
    keyring_release(ring);
}

static void test_the_digest_is_that_of_the_keys_that_never_change(void **state)
{
    static const char *const OTHERS[] = {"index " KEY_33 "\nfingerprint " KEY_11 "\nseal.1 " KEY_22 "\n",
                                         "index " KEY_0B "\nfingerprint " KEY_33 "\nseal.1 " KEY_22 "\n",
                                         "index " KEY_11 "\nfingerprint " KEY_0B "\nseal.1 " KEY_22 "\n"};
    struct keyring *one = ring_of(ONE_SEAL);
    struct keyring *two = ring_of(TWO_SEALS);
    uint8_t a[KEYRING_DIGEST_BYTES], b[KEYRING_DIGEST_BYTES];
    char hex[2 * KEYRING_DIGEST_BYTES + 1];

    (void)state;
    keyring_digest(one, a);
    keyring_digest(two, b);
    assert_memory_equal(a, b, sizeof(a));
    /* Written down: the stores of running deployments hold it. */
    digest_hex(a, sizeof(a), hex);
    assert_string_equal(hex, "66d271b9a6960646ef8ea04c7f85f1738adb521eee57280744236033a7c0b898");
    for (size_t i = 0; i < ARRAY_COUNT(OTHERS); i++) {
        struct keyring *other = ring_of(OTHERS[i]);

        keyring_digest(other, b);
        assert_memory_not_equal(a, b, sizeof(a));
        keyring_release(other);
    }
    keyring_release(one);
    keyring_release(two);
}

/* ---- seals ---- */

/* The key of a blob, by libcrypto's own HKDF. */
static void derive_by_hand(uint8_t seal_byte, const uint8_t salt[16], uint8_t key[32])
{
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    uint8_t seal[32], info[11 + 16];
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);

    memset(seal, seal_byte, sizeof(seal));
    memcpy(info, "weir seal 1", 11);
    memcpy(info + 11, salt, 16);
    assert_int_equal(EVP_KDF_derive(context, key, 32,
                                    (OSSL_PARAM[]){OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)"SHA256", 0),
                                                   OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                                                   OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, seal, sizeof(seal)),
                                                   OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info)),
                                                   OSSL_PARAM_construct_end()}),
                     1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

/* Opens a blob without the ring, as its format says. */
static void unseal_by_hand(uint8_t seal_byte, struct bytes about, struct bytes blob, uint8_t *out)
{
    const uint8_t *at = (const uint8_t *)blob.at;
    uint8_t key[32], tag[16], nonce[12] = {0};
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int done;

    derive_by_hand(seal_byte, at + 2, key);
    memcpy(tag, at + blob.len - 16, 16);
    assert_int_equal(EVP_DecryptInit_ex2(context, EVP_aes_256_gcm(), key, nonce, NULL), 1);
    assert_int_equal(EVP_DecryptUpdate(context, NULL, &done, at, 18), 1);
    assert_int_equal(EVP_DecryptUpdate(context, NULL, &done, (const uint8_t *)about.at, (int)about.len), 1);
    assert_int_equal(EVP_DecryptUpdate(context, out, &done, at + 18, (int)blob.len - 34), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tag), 1);
    assert_int_equal(EVP_DecryptFinal_ex(context, out + blob.len - 34, &done), 1);
    EVP_CIPHER_CTX_free(context);
}

#define ABOUT BYTES("a record and its fingerprint")

static struct bytes sealed_one(const struct keyring *ring, struct bytes plain, uint8_t *out)
{
    return bytes_of(out, keyring_seal(ring, ABOUT, &plain, 1, out));
}

static void assert_opens(const struct keyring *ring, struct bytes about, struct bytes blob, const char *plain)
{
    uint8_t out[4096];
    size_t len = SIZE_MAX;

    assert_true(keyring_unseal(ring, about, blob, out, &len));
    assert_bytes(bytes_of(out, len), plain);
}

static void assert_does_not_open(const struct keyring *ring, struct bytes about, struct bytes blob)
{
    uint8_t out[4096] = {0};
    size_t len = 77;

    assert_false(keyring_unseal(ring, about, blob, out, &len));
    assert_int_equal(len, 77);
    for (size_t i = 0; i < sizeof(out); i++) {
        assert_int_equal(out[i], 0);
    }
}

static void test_a_blob_is_hkdf_and_aes_gcm_as_its_format_says(void **state)
{
    struct keyring *ring = ring_of(TWO_SEALS);
    const struct bytes parts[] = {BYTES("HTTP/1.1 201"), BYTES_NONE, BYTES("{\"id\":1}")};
    uint8_t blob[128], out[128];
    size_t len = keyring_seal(ring, ABOUT, parts, 3, blob);

    (void)state;
    assert_int_equal(len, keyring_sealed_bytes(20));
    assert_int_equal(blob[0], 1);
    assert_int_equal(blob[1], 2);
    unseal_by_hand(0x33, ABOUT, bytes_of(blob, len), out);
    assert_memory_equal(out, "HTTP/1.1 201{\"id\":1}", 20);
    assert_opens(ring, ABOUT, bytes_of(blob, len), "HTTP/1.1 201{\"id\":1}");
    keyring_release(ring);
}

/* Short or long, the place is bound as it is. */
static void test_a_place_of_any_length_is_bound(void **state)
{
    static const size_t LENGTHS[] = {0, 1, 109, 110, 111, 128, 500};
    struct keyring *ring = ring_of(ONE_SEAL);
    char place[501];

    (void)state;
    memset(place, 'a', sizeof(place));
    for (size_t i = 0; i < ARRAY_COUNT(LENGTHS); i++) {
        struct bytes about = bytes_of(place, LENGTHS[i]), plain = BYTES("an answer");
        uint8_t blob[9 + KEYRING_SEAL_EXTRA_BYTES], out[sizeof(blob)];
        size_t len = keyring_seal(ring, about, &plain, 1, blob);

        unseal_by_hand(0x22, about, bytes_of(blob, len), out);
        assert_opens(ring, about, bytes_of(blob, len), "an answer");
        assert_does_not_open(ring, bytes_of(place, LENGTHS[i] + 1), bytes_of(blob, len));
    }
    keyring_release(ring);
}

static void test_nothing_and_much_are_sealed(void **state)
{
    static uint8_t plain[100000], blob[100000 + KEYRING_SEAL_EXTRA_BYTES], out[sizeof(blob)];
    static const size_t LENGTHS[] = {0, 1, 15, 16, 17, 4096, 99999, 100000};
    struct keyring *ring = ring_of(ONE_SEAL);

    (void)state;
    memset(plain, 'p', sizeof(plain));
    for (size_t i = 0; i < ARRAY_COUNT(LENGTHS); i++) {
        struct bytes part = bytes_of(plain, LENGTHS[i]);
        size_t sealed = keyring_seal(ring, BYTES_NONE, &part, 1, blob);
        size_t len = 0;

        assert_int_equal(sealed, keyring_sealed_bytes(LENGTHS[i]));
        assert_true(keyring_unseal(ring, BYTES_NONE, bytes_of(blob, sealed), out, &len));
        assert_int_equal(len, LENGTHS[i]);
        assert_memory_equal(out, plain, len);
    }
    assert_int_equal(keyring_seal(ring, ABOUT, NULL, 0, blob), KEYRING_SEAL_EXTRA_BYTES);
    keyring_release(ring);
}

static void test_no_blob_has_the_salt_of_another(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL);
    static uint8_t blobs[300][64];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(blobs); i++) {
        (void)sealed_one(ring, BYTES("same"), blobs[i]);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(blobs[i] + 2, blobs[j] + 2, 16);
            assert_memory_not_equal(blobs[i] + 18, blobs[j] + 18, 4);
        }
    }
    keyring_release(ring);
}

static void test_a_changed_bit_anywhere_does_not_open(void **state)
{
    struct keyring *ring = ring_of(TWO_SEALS);
    uint8_t blob[128];
    struct bytes sealed = sealed_one(ring, BYTES("an answer"), blob);

    (void)state;
    for (size_t at = 0; at < sealed.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            blob[at] ^= (uint8_t)(1 << bit);
            assert_does_not_open(ring, ABOUT, sealed);
            blob[at] ^= (uint8_t)(1 << bit);
        }
    }
    assert_opens(ring, ABOUT, sealed, "an answer");
    keyring_release(ring);
}

/* What a later weir may write: as version 1, but for the number. */
static void test_a_blob_of_another_version_does_not_open(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL);
    uint8_t key[32], nonce[12] = {0};
    uint8_t blob[18 + 4 + 16] = {2, 1, 's', 'a', 'l', 't'};
    int done;

    (void)state;
    for (int version = 2; version > 0; version--) {
        EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

        blob[0] = (uint8_t)version;
        derive_by_hand(0x22, blob + 2, key);
        assert_int_equal(EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), key, nonce, NULL), 1);
        assert_int_equal(EVP_EncryptUpdate(context, NULL, &done, blob, 18), 1);
        assert_int_equal(EVP_EncryptUpdate(context, NULL, &done, (const uint8_t *)ABOUT.at, (int)ABOUT.len), 1);
        assert_int_equal(EVP_EncryptUpdate(context, blob + 18, &done, (const uint8_t *)"text", 4), 1);
        assert_int_equal(EVP_EncryptFinal_ex(context, blob + 22, &done), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, blob + 22), 1);
        EVP_CIPHER_CTX_free(context);
        if (version == 2) {
            assert_does_not_open(ring, ABOUT, bytes_of(blob, sizeof(blob)));
        } else {
            assert_opens(ring, ABOUT, bytes_of(blob, sizeof(blob)), "text");
        }
    }
    keyring_release(ring);
}

static void test_a_cut_or_longer_blob_does_not_open(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL);
    uint8_t blob[128] = {0};
    struct bytes sealed = sealed_one(ring, BYTES("an answer"), blob);

    (void)state;
    for (size_t len = 0; len < sealed.len; len++) {
        assert_does_not_open(ring, ABOUT, bytes_take(sealed, len));
    }
    assert_does_not_open(ring, ABOUT, bytes_of(blob, sealed.len + 1));
    assert_does_not_open(ring, ABOUT, BYTES_NONE);
    keyring_release(ring);
}

static void test_another_place_does_not_open(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL);
    uint8_t blob[128];
    struct bytes sealed = sealed_one(ring, BYTES("an answer"), blob);

    (void)state;
    assert_does_not_open(ring, BYTES("another record and its fingerprint"), sealed);
    assert_does_not_open(ring, bytes_take(ABOUT, ABOUT.len - 1), sealed);
    assert_does_not_open(ring, BYTES_NONE, sealed);
    assert_opens(ring, ABOUT, sealed, "an answer");
    keyring_release(ring);
}

static void test_the_newest_seal_seals_and_all_open(void **state)
{
    struct keyring *before = ring_of(ONE_SEAL);
    struct keyring *both = ring_of(TWO_SEALS);
    struct keyring *after = ring_of(FIXED "seal.2 " KEY_33 "\n");
    struct keyring *swapped = ring_of(FIXED "seal.1 " KEY_33 "\nseal.2 " KEY_22 "\n");
    uint8_t old_blob[128], new_blob[128];
    struct bytes old_sealed = sealed_one(before, BYTES("old"), old_blob);
    struct bytes new_sealed = sealed_one(both, BYTES("new"), new_blob);

    (void)state;
    assert_int_equal(old_blob[1], 1);
    assert_int_equal(new_blob[1], 2);
    assert_opens(both, ABOUT, old_sealed, "old");
    assert_opens(both, ABOUT, new_sealed, "new");
    assert_opens(after, ABOUT, new_sealed, "new");
    assert_does_not_open(after, ABOUT, old_sealed);
    assert_does_not_open(before, ABOUT, new_sealed);
    assert_does_not_open(swapped, ABOUT, old_sealed);
    keyring_release(before);
    keyring_release(both);
    keyring_release(after);
    keyring_release(swapped);
}

static void *seal_and_hash_many(void *argument)
{
    const struct keyring *ring = argument;
    uint8_t hash[32], expected[32], blob[128];

    hash_by_hand(0x0b, NULL, 0, expected);
    for (int i = 0; i < 2000; i++) {
        uint8_t out[64];
        size_t len;

        keyring_hash(ring, KEYRING_INDEX, NULL, 0, hash);
        if (memcmp(hash, expected, 32) != 0 ||
            !keyring_unseal(ring, ABOUT, sealed_one(ring, BYTES("an answer"), blob), out, &len)) {
            return argument;
        }
    }
    return NULL;
}

static void test_threads_share_a_ring(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL);
    pthread_t threads[3];
    void *failed;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, seal_and_hash_many, ring), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    keyring_release(ring);
}

static void test_a_held_ring_outlives_its_first_holder(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL);
    uint8_t hash[32];

    (void)state;
    assert_ptr_equal(keyring_hold(ring), ring);
    keyring_release(ring);
    keyring_hash(ring, KEYRING_INDEX, NULL, 0, hash);
    keyring_release(ring);
    keyring_release(NULL);
}

/* ---- text ---- */

static void test_comments_blanks_and_order_do_not_matter(void **state)
{
    struct keyring *plain = ring_of(ONE_SEAL);
    struct keyring *styled = ring_of("# of the shop\r\n\n  seal.1\t\t" KEY_22 "  # of May\r\n\t\n"
                                     "fingerprint   " KEY_11 "\nindex " KEY_0B "#x");
    uint8_t a[32], b[32], blob[128];

    (void)state;
    keyring_digest(plain, a);
    keyring_digest(styled, b);
    assert_memory_equal(a, b, 32);
    assert_opens(styled, ABOUT, sealed_one(plain, BYTES("an answer"), blob), "an answer");
    keyring_release(plain);
    keyring_release(styled);
}

static void test_each_wrong_text_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } ROWS[] = {
        {"", "secret: there is no 'index'"},
        {"# nothing\n", "secret: there is no 'index'"},
        {"index " KEY_0B "\nseal.1 " KEY_22 "\n", "secret: there is no 'fingerprint'"},
        {FIXED, "secret: there is no 'seal.1'"},
        {"fingerprint " KEY_11 "\nseal.1 " KEY_22, "secret: there is no 'index'"},
        {FIXED "\nindex " KEY_33, "secret:4: 'index' stands here for the second time"},
        {FIXED "fingerprint " KEY_33, "secret:3: 'fingerprint' stands here for the second time"},
        {ONE_SEAL "seal.1 " KEY_33, "secret:4: 'seal.1' stands here for the second time"},
        {FIXED "seal.1 " KEY_0B, "secret: two names have the same key"},
        {TWO_SEALS "seal.3 " KEY_22, "secret: two names have the same key"},
        {"index " KEY_0B "\nfingerprint " KEY_0B "\nseal.1 " KEY_22, "secret: two names have the same key"},
        {"# one\nindx " KEY_0B,
         "secret:2: unknown name 'indx': index, fingerprint and seal.1 to seal.255 are known"},
        {"seal " KEY_0B, "secret:1: unknown name 'seal': index, fingerprint and seal.1 to seal.255 are known"},
        {"seal.0 " KEY_0B, "secret:1: unknown name 'seal.0': index, fingerprint and seal.1 to seal.255 are known"},
        {"seal.01 " KEY_0B, "secret:1: unknown name 'seal.01': index, fingerprint and seal.1 to seal.255 are known"},
        {"seal.256 " KEY_0B, "secret:1: unknown name 'seal.256': index, fingerprint and seal.1 to seal.255 are known"},
        {"seal. " KEY_0B, "secret:1: unknown name 'seal.': index, fingerprint and seal.1 to seal.255 are known"},
        {"seal.1x " KEY_0B, "secret:1: unknown name 'seal.1x': index, fingerprint and seal.1 to seal.255 are known"},
        /* What might be a key is not shown. */
        {KEY_0B "\n", "secret:1: the line does not begin with index, fingerprint or seal.N"},
        {"abcdefghijklmnopqrstuvwxyz " KEY_0B, "secret:1: the line does not begin with index, fingerprint or seal.N"},
        {"Index " KEY_0B, "secret:1: the line does not begin with index, fingerprint or seal.N"},
        {"index=" KEY_0B, "secret:1: the line does not begin with index, fingerprint or seal.N"},
        {"index", "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index \n", "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index " KEY_0B KEY_0B, "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index " KEY_0B " " KEY_11, "secret:1: 'index' is not the base64 of 32 bytes"},
        {FIXED "seal.1 " KEY_22 "=", "secret:3: 'seal.1' is not the base64 of 32 bytes"},
        /* 31 and 33 bytes; no pad; the alphabet of URLs; bits to spare that are not zero. */
        {"index CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCw==", "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsL", "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws", "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index CwsLCwsLCwsL-_sLCwsLCwsLCwsLCwsLCwsLCwsLCws=", "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwt=", "secret:1: 'index' is not the base64 of 32 bytes"},
        {"index Cws=CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws=", "secret:1: 'index' is not the base64 of 32 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ROWS); i++) {
        char why[256] = "";

        assert_null(keyring_read(bytes_from_text(ROWS[i].text), "secret", why, sizeof(why)));
        assert_string_equal(why, ROWS[i].why);
    }
}

static void test_bytes_that_are_no_text_are_refused(void **state)
{
    char text[] = "index " KEY_0B;
    char why[256];

    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        struct keyring *ring;

        text[6 + 20] = (char)byte;
        why[0] = '\0';
        ring = keyring_read(bytes_of(text, sizeof(text) - 1), "secret", why, sizeof(why));
        assert_null(ring);
        assert_true(strcmp(why, "secret:1: 'index' is not the base64 of 32 bytes") == 0 ||
                    strcmp(why, "secret: there is no 'fingerprint'") == 0 || byte == '\n');
    }
    assert_null(keyring_read(bytes_of("i\0ndex " KEY_0B, 51), "secret", why, sizeof(why)));
    assert_string_equal(why, "secret:1: the line does not begin with index, fingerprint or seal.N");
}

static void test_a_short_room_for_why_is_kept_to(void **state)
{
    char why[12];

    (void)state;
    memset(why, 'x', sizeof(why));
    assert_null(keyring_read(BYTES("x"), "secret", why, 8));
    assert_string_equal(why, "secret:");
    assert_memory_equal(why + 8, "xxxx", 4);
    assert_null(keyring_read(BYTES("x"), "secret", why, 0));
}

/* `count` seals from 1 on, each with a key of its own. */
static void put_seals(char *text, int count)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQ";
    char *at = text + snprintf(text, sizeof(FIXED), "%s", FIXED);

    for (int i = 0; i < count; i++) {
        char key[] = KEY_33;

        key[0] = DIGITS[i];
        at += snprintf(at, 64, "seal.%d %s\n", i + 1, key);
    }
}

static void test_sixteen_seals_fit_and_one_more_does_not(void **state)
{
    char text[2048], why[256], expected[64];
    uint8_t blob[64];
    struct keyring *ring;

    (void)state;
    put_seals(text, KEYRING_SEALS_MAX);
    ring = ring_of(text);
    (void)sealed_one(ring, BYTES("x"), blob);
    assert_int_equal(blob[1], KEYRING_SEALS_MAX);
    keyring_release(ring);
    put_seals(text, KEYRING_SEALS_MAX + 1);
    assert_null(keyring_read(bytes_from_text(text), "secret", why, sizeof(why)));
    (void)snprintf(expected, sizeof(expected), "secret:%d: more than 16 seals", 2 + KEYRING_SEALS_MAX + 1);
    assert_string_equal(why, expected);
}

static void test_a_seal_may_have_the_highest_number(void **state)
{
    struct keyring *ring = ring_of(ONE_SEAL "seal.255 " KEY_33);
    uint8_t blob[64];

    (void)state;
    assert_opens(ring, ABOUT, sealed_one(ring, BYTES("x"), blob), "x");
    assert_int_equal(blob[1], 255);
    keyring_release(ring);
}

static void test_a_new_text_is_read_and_is_never_the_same(void **state)
{
    char a[KEYRING_TEXT_BYTES], b[KEYRING_TEXT_BYTES];
    uint8_t digest_a[32], digest_b[32];
    struct keyring *ring;

    (void)state;
    keyring_new_text(a);
    keyring_new_text(b);
    ring = ring_of(a);
    keyring_digest(ring, digest_a);
    keyring_release(ring);
    ring = ring_of(b);
    keyring_digest(ring, digest_b);
    keyring_release(ring);
    assert_memory_not_equal(digest_a, digest_b, 32);
}

/* ---- files ---- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)bytes_to_text(bytes_from_text(P_tmpdir "/keyring_test.XXXXXX"), folder, sizeof(folder));
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *path_of(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put_file(const char *path, struct bytes text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.at, text.len), text.len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void assert_not_opened(const char *path, const char *why_end)
{
    char why[256] = "";

    assert_null(keyring_open(path, why, sizeof(why)));
    assert_true(bytes_starts_with(bytes_from_text(why), bytes_from_text(path)));
    assert_string_equal(why + strlen(path), why_end);
}

static void test_a_file_is_made_once_and_read(void **state)
{
    const char *path = path_of("secret");
    char why[256] = "";
    uint8_t a[32], b[32];
    struct stat stat_of;
    struct keyring *ring;

    (void)state;
    assert_true(keyring_make(path, why, sizeof(why)));
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0600);
    assert_int_equal(stat_of.st_nlink, 1); /* the draft is gone */
    ring = keyring_open(path, why, sizeof(why));
    assert_non_null(ring);
    keyring_digest(ring, a);
    keyring_release(ring);

    assert_false(keyring_make(path, why, sizeof(why)));
    assert_string_equal(why + strlen(path), ": cannot be made: File exists");
    ring = keyring_open(path, why, sizeof(why));
    assert_non_null(ring);
    keyring_digest(ring, b);
    keyring_release(ring);
    assert_memory_equal(a, b, 32);
    assert_int_equal(unlink(path), 0); /* and remove_folder finds no draft left behind */
}

static void test_a_file_cannot_be_made_where_there_is_no_folder(void **state)
{
    const char *path = path_of("none/secret");
    char long_path[5000];
    char why[8192];

    (void)state;
    assert_false(keyring_make(path, why, sizeof(why)));
    assert_string_equal(why + strlen(path), ": cannot be made: No such file or directory");
    memset(long_path, 'a', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    assert_false(keyring_make(long_path, why, sizeof(why)));
    assert_string_equal(why + strlen(long_path), ": the path is too long");
}

static void test_only_owner_and_group_may_read(void **state)
{
    static const struct {
        mode_t mode;
        bool fine;
    } ROWS[] = {{0600, true},  {0400, true},  {0640, true},  {0440, true},  {0700, true},  {0644, false},
                {0604, false}, {0602, false}, {0601, false}, {0660, false}, {0620, false}, {0666, false}};
    const char *path = path_of("secret");
    char expected[256];
    char why[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ROWS); i++) {
        put_file(path, BYTES(ONE_SEAL), ROWS[i].mode);
        if (ROWS[i].fine) {
            struct keyring *ring = keyring_open(path, why, sizeof(why));

            assert_non_null(ring);
            keyring_release(ring);
        } else {
            (void)snprintf(expected, sizeof(expected),
                           ": its mode is %04o: others than its owner and group may use it, or its group may change "
                           "it; chmod 0640 or 0600",
                           (unsigned)ROWS[i].mode);
            assert_not_opened(path, expected);
        }
        assert_int_equal(unlink(path), 0);
    }
}

static void test_what_is_not_a_file_is_not_read(void **state)
{
    const char *path = path_of("secret");

    (void)state;
    assert_not_opened(path, ": cannot be opened: No such file or directory");
    assert_not_opened(folder, ": is not a file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_not_opened(path, ": is not a file");
    assert_int_equal(unlink(path), 0);
}

static void test_a_file_is_read_up_to_its_bound(void **state)
{
    static char text[65537];
    const char *path = path_of("secret");
    char why[256];
    struct keyring *ring;

    (void)state;
    memset(text, '#', sizeof(text));
    memcpy(text, ONE_SEAL, strlen(ONE_SEAL));
    put_file(path, bytes_of(text, 65536), 0600);
    ring = keyring_open(path, why, sizeof(why));
    assert_non_null(ring);
    keyring_release(ring);
    put_file(path, bytes_of(text, 65537), 0600);
    assert_not_opened(path, ": is larger than 65536 bytes");
    put_file(path, BYTES("index x\n"), 0600);
    assert_not_opened(path, ":1: 'index' is not the base64 of 32 bytes");
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hash_is_hmac_over_lengths_and_parts),
        cmocka_unit_test(test_parts_of_every_length_are_hashed_whole),
        cmocka_unit_test(test_no_two_lists_of_parts_are_alike),
        cmocka_unit_test(test_the_digest_is_that_of_the_keys_that_never_change),
        cmocka_unit_test(test_a_blob_is_hkdf_and_aes_gcm_as_its_format_says),
        cmocka_unit_test(test_a_place_of_any_length_is_bound),
        cmocka_unit_test(test_nothing_and_much_are_sealed),
        cmocka_unit_test(test_no_blob_has_the_salt_of_another),
        cmocka_unit_test(test_a_changed_bit_anywhere_does_not_open),
        cmocka_unit_test(test_a_blob_of_another_version_does_not_open),
        cmocka_unit_test(test_a_cut_or_longer_blob_does_not_open),
        cmocka_unit_test(test_another_place_does_not_open),
        cmocka_unit_test(test_the_newest_seal_seals_and_all_open),
        cmocka_unit_test(test_threads_share_a_ring),
        cmocka_unit_test(test_a_held_ring_outlives_its_first_holder),
        cmocka_unit_test(test_comments_blanks_and_order_do_not_matter),
        cmocka_unit_test(test_each_wrong_text_is_refused_with_its_line),
        cmocka_unit_test(test_bytes_that_are_no_text_are_refused),
        cmocka_unit_test(test_a_short_room_for_why_is_kept_to),
        cmocka_unit_test(test_sixteen_seals_fit_and_one_more_does_not),
        cmocka_unit_test(test_a_seal_may_have_the_highest_number),
        cmocka_unit_test(test_a_new_text_is_read_and_is_never_the_same),
        cmocka_unit_test_setup_teardown(test_a_file_is_made_once_and_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_file_cannot_be_made_where_there_is_no_folder, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_only_owner_and_group_may_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_what_is_not_a_file_is_not_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_file_is_read_up_to_its_bound, make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
