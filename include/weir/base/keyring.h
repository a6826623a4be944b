/*
 * The secret file and what is done with its keys: names of records, keyed
 * fingerprints, and the sealing of stored answers. Three uses, three keys:
 *
 *   index        HMAC-SHA256: names of records and buckets
 *   fingerprint  HMAC-SHA256: fingerprints of requests, what a record is bound to
 *   seal.N       AES-256-GCM: the highest seals, all open
 *
 * A file holds lines `NAME BASE64(32 bytes)`; `#` begins a comment; N is 1 to
 * 255. Its group may read it (0640), others may not. index and
 * fingerprint never change in one deployment: two weirs that name one key
 * differently would pay it twice. keyring_digest is how a store notices.
 */
#ifndef WEIR_BASE_KEYRING_H
#define WEIR_BASE_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/bytes.h"
#include "weir/base/err.h"

struct keyring;

#define KEYRING_SEALS_MAX 16
#define KEYRING_DIGEST_BYTES 32

/*
 * Reads the file: at start and at a reload. NULL: `why` (size bytes) says what
 * is wrong, with file and line ("/etc/weir/secret:2: 'seal.1' is not the base64
 * of 32 bytes"), and never quotes what might be a key. A file that others than
 * its owner and group may read, or others than its owner may write, is refused.
 */
WEIR_MUSTCHECK struct keyring *keyring_open(const char *path, char *why, size_t size);
/* The same from text; `path` names it in messages. */
WEIR_MUSTCHECK struct keyring *keyring_read(struct bytes text, const char *path, char *why, size_t size);
/* Makes a new file (0600, never over an old one, on disk when it returns) with index, fingerprint and seal.1. False: `why`. */
WEIR_MUSTCHECK bool keyring_make(const char *path, char *why, size_t size);
/* The text of a new secret file. At most `size` bytes with NUL; the caller wipes it. */
#define KEYRING_TEXT_BYTES 512
void keyring_new_text(char text[KEYRING_TEXT_BYTES]);
/* Counted, since exchanges outlive a reload. */
struct keyring *keyring_hold(struct keyring *ring);
/* NULL is ignored; the keys are wiped. */
void keyring_release(struct keyring *ring);
/* Of index and fingerprint; says nothing about them. */
void keyring_digest(const struct keyring *ring, uint8_t out[KEYRING_DIGEST_BYTES]);

enum keyring_use { KEYRING_INDEX, KEYRING_FINGERPRINT };
/*
 * HMAC-SHA256 over the parts, each preceded by its length (64 bits, big endian),
 * so that no two lists of parts are alike.
 */
void keyring_hash(const struct keyring *ring, enum keyring_use use, const struct bytes *parts, int count,
                  uint8_t out[32]);

/*
 * Seals `plain` for the one place that `about` names (the record's name and its
 * fingerprint): elsewhere it does not open. The blob: version, number of the
 * seal, 16 random bytes from which its own key is derived (HKDF-Expand with
 * SHA-256, RFC 5869 2.3), ciphertext, tag. `out` has room for keyring_sealed_bytes(plain.len).
 */
#define KEYRING_SEAL_EXTRA_BYTES (1 + 1 + 16 + 16)
static inline size_t keyring_sealed_bytes(size_t plain_len)
{
    return plain_len + KEYRING_SEAL_EXTRA_BYTES;
}
/* Returns the length. The parts are sealed one behind the other. */
size_t keyring_seal(const struct keyring *ring, struct bytes about, const struct bytes *parts, int count, uint8_t *out);
/*
 * Opens a blob into `out` (blob.len bytes are enough). False: another place, an
 * unknown seal, or changed bytes; then nothing is in `out`.
 */
WEIR_MUSTCHECK bool keyring_unseal(const struct keyring *ring, struct bytes about, struct bytes blob, uint8_t *out,
                                   size_t *len);

#endif
