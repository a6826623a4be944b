/*
 * The keys of one deployment at work: HMAC-SHA256 for names and fingerprints,
 * AES-256-GCM for stored answers. A ring keeps no raw key: of each it keeps the
 * two states that every HMAC under that key begins with, which saves two of the
 * blocks to be hashed. It never changes, so threads may share it; what libcrypto writes to
 * while it works is one set of contexts a thread, made once. As in digest.c,
 * what cannot fail but for a broken system aborts: no caller goes on with a
 * name that is not one.
 *
 * Every blob has a key of its own, HKDF-Expand (RFC 5869 2.3; the seal is
 * already a uniform key, so there is nothing to extract) of the seal over 16
 * random bytes: nonces cannot repeat, however many answers one seal sees, and
 * the nonce itself is zero.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* see struct mac */

#include "keyring_internal.h"

#include <endian.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>

#include "weir/base/digest.h"

#define HMAC_BLOCK_BYTES 64
#define SALT_BYTES       16
#define TAG_BYTES        16
#define HEAD_BYTES       (1 + 1 + SALT_BYTES) /* of a blob: version, number of the seal, salt */
#define VERSION          1

#define DIGEST_LABEL BYTES("weir secret digest 1")
#define SEAL_LABEL   BYTES("weir seal 1")

/*
 * What HMAC under one key begins with; copied, never written to. SHA-256 by libcrypto's own functions, which OpenSSL 3
 * calls deprecated: to copy an EVP_MD_CTX takes an allocation and a dozen calls through the provider, to copy this
 * takes 112 bytes. A payment makes six HMACs of two or three blocks, so those calls were most of what they took.
 */
struct mac {
    SHA256_CTX inner;
    SHA256_CTX outer;
};

struct seal {
    uint8_t number;
    struct mac mac;
};

struct keyring {
    struct mac index;
    struct mac fingerprint;
    struct seal seals[KEYRING_SEALS_MAX];
    int seal_count;
    int newest; /* of seals: the highest number */
    uint8_t digest[KEYRING_DIGEST_BYTES];
    uint32_t holders;
};

/* ---- libcrypto, looked up once and with one set of contexts a thread ---- */

static EVP_CIPHER *aes_256_gcm;
static pthread_key_t tools_key;

static _Thread_local struct tools {
    EVP_CIPHER_CTX *sealing;
    EVP_CIPHER_CTX *opening;
} tools;

static void free_tools(void *at)
{
    (void)at;
    EVP_CIPHER_CTX_free(tools.sealing);
    EVP_CIPHER_CTX_free(tools.opening);
    tools = (struct tools){0};
}

static void find_cipher(void)
{
    aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    CHECK(aes_256_gcm != NULL);
    CHECK(pthread_key_create(&tools_key, free_tools) == 0);
}

static void find_cipher_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    CHECK(pthread_once(&once, find_cipher) == 0);
}

static void open_tools(void)
{
    find_cipher_once();
    tools.sealing = EVP_CIPHER_CTX_new();
    tools.opening = EVP_CIPHER_CTX_new();
    CHECK(tools.sealing != NULL && tools.opening != NULL);
    /* The cipher is named once: naming it again with every key takes as long as the key itself. */
    CHECK(EVP_EncryptInit_ex2(tools.sealing, aes_256_gcm, NULL, NULL, NULL) == 1);
    CHECK(EVP_DecryptInit_ex2(tools.opening, aes_256_gcm, NULL, NULL, NULL) == 1);
    CHECK(pthread_setspecific(tools_key, &tools) == 0);
}

static const struct tools *tools_of_thread(void)
{
    if (tools.sealing == NULL) {
        open_tools();
    }
    return &tools;
}

/* ---- HMAC under a key of the ring ---- */

static void hash_pad(SHA256_CTX *state, const uint8_t key[KEYRING_KEY_BYTES], uint8_t pad_byte)
{
    uint8_t pad[HMAC_BLOCK_BYTES];

    memset(pad, pad_byte, sizeof(pad));
    for (size_t i = 0; i < KEYRING_KEY_BYTES; i++) {
        pad[i] ^= key[i];
    }
    CHECK(SHA256_Init(state) == 1 && SHA256_Update(state, pad, sizeof(pad)) == 1);
    OPENSSL_cleanse(pad, sizeof(pad));
}

static void mac_open(struct mac *mac, const uint8_t key[KEYRING_KEY_BYTES])
{
    hash_pad(&mac->inner, key, 0x36);
    hash_pad(&mac->outer, key, 0x5c);
}

static void hashing_put(SHA256_CTX *hashing, struct bytes part)
{
    CHECK(SHA256_Update(hashing, part.at, part.len) == 1);
}

/* What is left in `hashing` is what `out` holds: no state of a key can be had from it. */
static void hashing_end(SHA256_CTX *hashing, const struct mac *mac, uint8_t out[32])
{
    CHECK(SHA256_Final(out, hashing) == 1);
    *hashing = mac->outer;
    CHECK(SHA256_Update(hashing, out, 32) == 1);
    CHECK(SHA256_Final(out, hashing) == 1);
}

/* Lengths and short parts are gathered: a call of libcrypto costs more than copying them. */
#define GATHER_BYTES 512

void keyring_hash(const struct keyring *ring, enum keyring_use use, const struct bytes *parts, int count,
                  uint8_t out[32])
{
    const struct mac *mac = use == KEYRING_INDEX ? &ring->index : &ring->fingerprint;
    SHA256_CTX hashing = mac->inner;
    WEIR_SCRATCH char gathered[GATHER_BYTES];
    char *at = gathered;

    for (int i = 0; i < count; i++) {
        uint64_t len = htobe64(parts[i].len);
        bool fits = parts[i].len <= sizeof(gathered) - sizeof(len);

        if (!fits || parts[i].len + sizeof(len) > (size_t)(gathered + sizeof(gathered) - at)) {
            hashing_put(&hashing, bytes_of(gathered, (size_t)(at - gathered)));
            at = gathered;
        }
        memcpy(at, &len, sizeof(len));
        at += sizeof(len);
        if (fits) {
            at = bytes_put(at, parts[i]);
        } else {
            hashing_put(&hashing, bytes_of(gathered, sizeof(len)));
            hashing_put(&hashing, parts[i]);
            at = gathered;
        }
    }
    hashing_put(&hashing, bytes_of(gathered, (size_t)(at - gathered)));
    hashing_end(&hashing, mac, out);
}

/* ---- life ---- */

/* SHA-256 of the two keys that never change: of 64 random bytes, so it gives nothing of them away. */
static void digest_keys(const struct keyring_keys *keys, uint8_t out[KEYRING_DIGEST_BYTES])
{
    uint8_t text[64 + 2 * KEYRING_KEY_BYTES];
    char *end = bytes_put((char *)text, DIGEST_LABEL);

    end = bytes_put(end, bytes_of(keys->index, KEYRING_KEY_BYTES));
    end = bytes_put(end, bytes_of(keys->fingerprint, KEYRING_KEY_BYTES));
    digest_sha256(bytes_of(text, (size_t)(end - (char *)text)), out);
    OPENSSL_cleanse(text, sizeof(text));
}

struct keyring *keyring__open(const struct keyring_keys *keys)
{
    struct keyring *ring = calloc(1, sizeof(*ring));

    find_cipher_once();
    if (ring == NULL) {
        return NULL;
    }
    ring->holders = 1;
    digest_keys(keys, ring->digest);
    mac_open(&ring->index, keys->index);
    mac_open(&ring->fingerprint, keys->fingerprint);
    for (int i = 0; i < keys->seal_count; i++) {
        struct seal *seal = &ring->seals[i];

        ring->seal_count++;
        seal->number = keys->seals[i].number;
        mac_open(&seal->mac, keys->seals[i].key);
        if (seal->number > ring->seals[ring->newest].number) {
            ring->newest = i;
        }
    }
    return ring;
}

struct keyring *keyring_hold(struct keyring *ring)
{
    ring->holders++;
    return ring;
}

void keyring_release(struct keyring *ring)
{
    if (ring == NULL) {
        return;
    }
    CHECK(ring->holders > 0);
    if (--ring->holders > 0) {
        return;
    }
    OPENSSL_cleanse(ring, sizeof(*ring));
    free(ring);
}

void keyring_digest(const struct keyring *ring, uint8_t out[KEYRING_DIGEST_BYTES])
{
    memcpy(out, ring->digest, sizeof(ring->digest));
}

/* ---- seals ---- */

/* The key of one blob. */
static void derive_key(const struct seal *seal, const uint8_t salt[SALT_BYTES], uint8_t key[32])
{
    SHA256_CTX hashing = seal->mac.inner;
    char text[sizeof("weir seal 1") - 1 + SALT_BYTES + 1];
    char *at = bytes_put(bytes_put(text, SEAL_LABEL), bytes_of(salt, SALT_BYTES));

    *at = 1; /* the first of the blocks that HKDF-Expand could give */
    hashing_put(&hashing, bytes_of(text, sizeof(text)));
    hashing_end(&hashing, &seal->mac, key);
    OPENSSL_cleanse(&hashing, sizeof(hashing));
}

static const uint8_t no_nonce[12] = {0};

/* A place is a name and a fingerprint: both fit in here, and the blob's head with them. */
#define PLACE_BYTES 128

/* What is bound to the text but not in it: the blob's head and the place. In one call where they fit one. */
static void bind_place(int update(EVP_CIPHER_CTX *, uint8_t *, int *, const uint8_t *, int), EVP_CIPHER_CTX *context,
                       const uint8_t *head, struct bytes about)
{
    WEIR_SCRATCH char place[PLACE_BYTES];
    char *end = bytes_put(place, bytes_of(head, HEAD_BYTES));
    int done;

    if (about.len <= (size_t)(place + sizeof(place) - end)) {
        end = bytes_put(end, about);
        about = BYTES_NONE;
    }
    CHECK(update(context, NULL, &done, (const uint8_t *)place, (int)(end - place)) == 1);
    CHECK(about.len == 0 || update(context, NULL, &done, (const uint8_t *)about.at, (int)about.len) == 1);
}

static const unsigned char *unsigned_at(struct bytes bytes)
{
    return (const unsigned char *)bytes.at;
}

size_t keyring_seal(const struct keyring *ring, struct bytes about, const struct bytes *parts, int count, uint8_t *out)
{
    const struct seal *seal = &ring->seals[ring->newest];
    EVP_CIPHER_CTX *context = tools_of_thread()->sealing;
    uint8_t *at = out + HEAD_BYTES;
    uint8_t key[32];
    int done;

    out[0] = VERSION;
    out[1] = seal->number;
    digest_random(out + 2, SALT_BYTES);
    derive_key(seal, out + 2, key);
    CHECK(EVP_EncryptInit_ex2(context, NULL, key, no_nonce, NULL) == 1);
    OPENSSL_cleanse(key, sizeof(key));
    CHECK(about.len <= INT_MAX);
    bind_place(EVP_EncryptUpdate, context, out, about);
    for (int i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            CHECK(parts[i].len <= INT_MAX);
            CHECK(EVP_EncryptUpdate(context, at, &done, unsigned_at(parts[i]), (int)parts[i].len) == 1);
            at += done;
        }
    }
    CHECK(EVP_EncryptFinal_ex(context, at, &done) == 1 && done == 0);
    CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, at) == 1);
    return (size_t)(at - out) + TAG_BYTES;
}

static const struct seal *find_seal(const struct keyring *ring, uint8_t number)
{
    for (int i = 0; i < ring->seal_count; i++) {
        if (ring->seals[i].number == number) {
            return &ring->seals[i];
        }
    }
    return NULL;
}

/* Whether `text` (ciphertext, then tag) is what was sealed; the plain text is in `out` either way. */
static bool open_text(EVP_CIPHER_CTX *context, struct bytes text, uint8_t *out)
{
    size_t len = text.len - TAG_BYTES;
    uint8_t tag[TAG_BYTES];
    int done;

    memcpy(tag, text.at + len, TAG_BYTES);
    CHECK(len == 0 || EVP_DecryptUpdate(context, out, &done, unsigned_at(text), (int)len) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1);
    return EVP_DecryptFinal_ex(context, out + len, &done) == 1;
}

bool keyring_unseal(const struct keyring *ring, struct bytes about, struct bytes blob, uint8_t *out, size_t *len)
{
    EVP_CIPHER_CTX *context = tools_of_thread()->opening;
    const unsigned char *head = unsigned_at(blob);
    const struct seal *seal;
    uint8_t key[32];

    if (blob.len < KEYRING_SEAL_EXTRA_BYTES || blob.len > INT_MAX || about.len > INT_MAX || head[0] != VERSION) {
        return false;
    }
    seal = find_seal(ring, head[1]);
    if (seal == NULL) {
        return false;
    }
    derive_key(seal, head + 2, key);
    CHECK(EVP_DecryptInit_ex2(context, NULL, key, no_nonce, NULL) == 1);
    OPENSSL_cleanse(key, sizeof(key));
    bind_place(EVP_DecryptUpdate, context, head, about);
    if (!open_text(context, bytes_skip(blob, HEAD_BYTES), out)) {
        OPENSSL_cleanse(out, blob.len - KEYRING_SEAL_EXTRA_BYTES);
        return false;
    }
    *len = blob.len - KEYRING_SEAL_EXTRA_BYTES;
    return true;
}
