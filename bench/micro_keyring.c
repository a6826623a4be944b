/*
 * What the keys cost: nanoseconds of this thread for one hash of a request, one
 * seal and one opening of an answer of 1 KiB. A payment takes three hashes and
 * two seals. Prints the best of several rounds, since others only add to it.
 *
 *   cmake --build build --target bench_micro_keyring && build/bench/bench_micro_keyring
 */
#include <stdio.h>
#include <time.h>

#include "weir/base/check.h"
#include "weir/base/digest.h"
#include "weir/base/keyring.h"

#define ROUNDS       20
#define ROUND_COUNT  20000
#define ANSWER_BYTES 1024

static struct keyring *ring;
static char answer[ANSWER_BYTES];
static uint8_t blob[ANSWER_BYTES + KEYRING_SEAL_EXTRA_BYTES];

#define ABOUT BYTES("a name of 24 bytes and a fingerprint of 17")

/* 300 bytes in six parts, as a fingerprint is: version, method, path, query, media type, body. */
static void hash_request(void)
{
    const struct bytes parts[] = {BYTES("1"), BYTES("POST"), BYTES("/v1/payment_intents"), BYTES_NONE,
                                  BYTES("application/x-www-form-urlencoded"), bytes_of(answer, 243)};
    uint8_t hash[32];

    keyring_hash(ring, KEYRING_FINGERPRINT, parts, ARRAY_COUNT(parts), hash);
}

static void seal_answer(void)
{
    const struct bytes parts[] = {bytes_of(answer, 200), bytes_of(answer + 200, ANSWER_BYTES - 200)};

    CHECK(keyring_seal(ring, ABOUT, parts, 2, blob) == sizeof(blob));
}

static void open_answer(void)
{
    uint8_t out[sizeof(blob)];
    size_t len;

    CHECK(keyring_unseal(ring, ABOUT, bytes_of(blob, sizeof(blob)), out, &len));
}

static void draw_owner(void)
{
    uint8_t owner[16];

    digest_random(owner, sizeof(owner));
}

static double cpu_ns(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *what, void (*act)(void))
{
    double best = 0;

    for (int round = 0; round < ROUNDS; round++) {
        double begin = cpu_ns();
        double each;

        for (int i = 0; i < ROUND_COUNT; i++) {
            act();
        }
        each = (cpu_ns() - begin) / ROUND_COUNT;
        best = round == 0 || each < best ? each : best;
    }
    printf("%-24s %7.0f ns\n", what, best);
}

int main(void)
{
    char text[KEYRING_TEXT_BYTES];
    char why[256];

    keyring_new_text(text);
    ring = keyring_read(bytes_from_text(text), "new", why, sizeof(why));
    CHECK(ring != NULL);
    measure("keyring_hash, 300 bytes", hash_request);
    measure("keyring_seal, 1 KiB", seal_answer);
    measure("keyring_unseal, 1 KiB", open_answer);
    measure("digest_random, 16 bytes", draw_owner);
    keyring_release(ring);
    return 0;
}
