/* Between what reads a secret file (keyring_file.c) and what works with its keys (keyring.c). */
#ifndef WEIR_BASE_KEYRING_INTERNAL_H
#define WEIR_BASE_KEYRING_INTERNAL_H

#include "weir/base/keyring.h"

#define KEYRING_KEY_BYTES 32

/* The keys of one file, as they are. Whoever fills one in wipes it. */
struct keyring_keys {
    uint8_t index[KEYRING_KEY_BYTES];
    uint8_t fingerprint[KEYRING_KEY_BYTES];
    struct keyring_seal_key {
        uint8_t number; /* N of seal.N, at least 1 */
        uint8_t key[KEYRING_KEY_BYTES];
    } seals[KEYRING_SEALS_MAX];
    int seal_count; /* at least 1 */
};

/* Makes them ready for use; `keys` is not kept. NULL: no memory. */
WEIR_MUSTCHECK struct keyring *keyring__open(const struct keyring_keys *keys);

#endif
