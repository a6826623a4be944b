/*
 * Random bytes and keyed hashes, thin over libcrypto, which in base is known
 * here and in keyring.c alone.
 */
#ifndef WEIR_BASE_DIGEST_H
#define WEIR_BASE_DIGEST_H

#include <stdint.h>

#include "weir/base/bytes.h"

#define DIGEST_BYTES 32

/* Cryptographically strong. Aborts when the system has none: nothing safe can go on. */
void digest_random(void *at, size_t len);
void digest_sha256(struct bytes data, uint8_t out[DIGEST_BYTES]);
void digest_hmac_sha256(struct bytes key, struct bytes data, uint8_t out[DIGEST_BYTES]);
/* Lower-case hex, 2 * len bytes and a NUL. */
void digest_hex(const void *data, size_t len, char *text);

/*
 * Request ids: 32 hex digits, unique for the process's life and across
 * processes, cheap, not secret. A random 64-bit prefix and a mixed counter.
 */
#define REQUEST_ID_BYTES 32
void digest_request_id(char text[REQUEST_ID_BYTES + 1]);

#endif
