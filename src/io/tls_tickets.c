/*
 * The keys that seal session tickets: a ring of three, newest first. The newest
 * seals; the older two open tickets that are still about and have them renewed.
 * They never leave the process, and go when they leave the ring.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "tls_internal.h"

#include "weir/base/digest.h"

#define KEYS       3
#define NAME_BYTES 16
#define IV_BYTES   16

struct ticket_key {
    unsigned char name[NAME_BYTES];
    unsigned char cipher[32];
    unsigned char mac[32];
};

struct tls_tickets {
    struct ticket_key keys[KEYS]; /* the newest first */
    int count;
};

struct tls_tickets *tls_tickets_open(void)
{
    struct tls_tickets *tickets = calloc(1, sizeof(*tickets));

    if (tickets != NULL) {
        tls_tickets_rotate(tickets);
    }
    return tickets;
}

void tls_tickets_rotate(struct tls_tickets *tickets)
{
    memmove(&tickets->keys[1], &tickets->keys[0], (KEYS - 1) * sizeof(tickets->keys[0]));
    digest_random(&tickets->keys[0], sizeof(tickets->keys[0]));
    if (tickets->count < KEYS) {
        tickets->count++;
    }
}

void tls_tickets_close(struct tls_tickets *tickets)
{
    if (tickets != NULL) {
        OPENSSL_cleanse(tickets, sizeof(*tickets));
        free(tickets);
    }
}

static const struct ticket_key *key_find(const struct tls_tickets *tickets, const unsigned char *name)
{
    for (int i = 0; i < tickets->count; i++) {
        if (memcmp(tickets->keys[i].name, name, NAME_BYTES) == 0) {
            return &tickets->keys[i];
        }
    }
    return NULL;
}

static bool mac_start(EVP_MAC_CTX *mac, const struct ticket_key *key)
{
    /* OpenSSL's parameters are not const-correct; it copies both. */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

int tls_tickets_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                       int sealing)
{
    const struct tls_server *server = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_tickets *tickets = server->tickets;
    const struct ticket_key *key;

    if (sealing) {
        key = &tickets->keys[0];
        memcpy(name, key->name, NAME_BYTES);
        if (RAND_bytes(iv, IV_BYTES) != 1 ||
            EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1 || !mac_start(mac, key)) {
            return -1;
        }
        return 1;
    }
    key = key_find(tickets, name);
    if (key == NULL) {
        return 0; /* a full handshake follows */
    }
    if (!mac_start(mac, key) || EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1) {
        return -1;
    }
    /* 2 has the ticket replaced: an old one, or any of TLS 1.3, where a client uses each only once. */
    return key == &tickets->keys[0] && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}
