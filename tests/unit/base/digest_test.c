/* Digests against published vectors, and request ids that never repeat. */
#include "base/unit.h"

#include <pthread.h>

#include "weir/base/digest.h"
#include "weir/base/table.h"

static void assert_digest(const uint8_t digest[DIGEST_BYTES], const char *expected)
{
    char text[2 * DIGEST_BYTES + 1];

    digest_hex(digest, DIGEST_BYTES, text);
    assert_string_equal(text, expected);
}

static void test_sha256_matches_fips_180(void **state)
{
    uint8_t digest[DIGEST_BYTES];

    (void)state;
    digest_sha256(BYTES("abc"), digest);
    assert_digest(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_sha256(BYTES_NONE, digest);
    assert_digest(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_sha256(BYTES("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), digest);
    assert_digest(digest, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_hmac_matches_rfc_4231(void **state)
{
    uint8_t digest[DIGEST_BYTES];
    char key[131];
    char data[50];

    (void)state;
    memset(key, 0x0b, 20);
    digest_hmac_sha256(bytes_of(key, 20), BYTES("Hi There"), digest);
    assert_digest(digest, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    digest_hmac_sha256(BYTES("Jefe"), BYTES("what do ya want for nothing?"), digest);
    assert_digest(digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    memset(data, 0xdd, sizeof(data));
    digest_hmac_sha256(bytes_of(key, 20), bytes_of(data, sizeof(data)), digest);
    assert_digest(digest, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    /* A key longer than a block of the hash. */
    digest_hmac_sha256(bytes_of(key, sizeof(key)), BYTES("Test Using Larger Than Block-Size Key - Hash Key First"),
                       digest);
    assert_digest(digest, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    digest_hmac_sha256(BYTES_NONE, BYTES_NONE, digest);
    assert_digest(digest, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_hex_is_lower_case_and_ended(void **state)
{
    char text[9] = "xxxxxxxx";

    (void)state;
    digest_hex("\x00\x9f\xab\xff", 4, text);
    assert_string_equal(text, "009fabff");
    digest_hex("", 0, text);
    assert_string_equal(text, "");
}

static void test_random_bytes_differ_and_fill_all_of_it(void **state)
{
    uint8_t a[64] = {0};
    uint8_t b[64] = {0};
    uint8_t seen[64] = {0};

    (void)state;
    for (int i = 0; i < 64; i++) { /* a byte that stays 0 through 64 draws was never written */
        digest_random(a, sizeof(a));
        for (size_t at = 0; at < sizeof(a); at++) {
            seen[at] |= a[at];
        }
    }
    for (size_t at = 0; at < sizeof(seen); at++) {
        assert_int_not_equal(seen[at], 0);
    }
    digest_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    digest_random(a, 0);
}

static void test_small_and_large_draws_never_repeat(void **state)
{
    static uint8_t drawn[64][3000]; /* more than is drawn ahead */

    (void)state;
    for (size_t i = 0; i < 64; i++) {
        digest_random(drawn[i], i % 3 == 0 ? 3000 : i % 3 == 1 ? 2048 : 200);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(drawn[i], drawn[j], 16);
            assert_memory_not_equal(drawn[i] + 184, drawn[j] + 184, 16);
        }
    }
}

static void test_a_forked_child_draws_bytes_of_its_own(void **state)
{
    uint8_t mine[32], theirs[32] = {0};
    int pipe_fds[2];
    pid_t child;

    (void)state;
    digest_random(mine, 1); /* so that more is drawn than was given out */
    assert_int_equal(pipe(pipe_fds), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        digest_random(theirs, sizeof(theirs));
        _exit(write(pipe_fds[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
    }
    digest_random(mine, sizeof(mine));
    assert_int_equal(read(pipe_fds[0], theirs, sizeof(theirs)), sizeof(theirs));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_memory_not_equal(mine, theirs, sizeof(mine));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void put_id(struct table *seen, const char *id)
{
    struct bytes key = bytes_from_text(id);

    assert_int_equal(key.len, REQUEST_ID_BYTES);
    assert_int_equal(strspn(id, "0123456789abcdef"), REQUEST_ID_BYTES);
    assert_null(table_find(seen, key));
    assert_true(table_put(seen, key, seen));
}

static void *ids_of_thread(void *argument)
{
    char(*ids)[REQUEST_ID_BYTES + 1] = argument;

    for (int i = 0; i < 1000; i++) {
        digest_request_id(ids[i]);
    }
    return NULL;
}

static void test_request_ids_are_32_hex_digits_and_never_repeat(void **state)
{
    static char others[1000][REQUEST_ID_BYTES + 1];
    struct table *seen = table_open(0);
    char id[REQUEST_ID_BYTES + 1];
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        digest_request_id(id);
        put_id(seen, id);
    }
    assert_int_equal(pthread_create(&thread, NULL, ids_of_thread, others), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        put_id(seen, others[i]);
    }
    table_close(seen);
}

static void test_a_forked_child_makes_ids_of_its_own(void **state)
{
    char mine[REQUEST_ID_BYTES + 1];
    char theirs[REQUEST_ID_BYTES + 1] = "";
    int pipe_fds[2];
    pid_t child;

    (void)state;
    digest_request_id(mine);
    assert_int_equal(pipe(pipe_fds), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        digest_request_id(theirs);
        _exit(write(pipe_fds[1], theirs, REQUEST_ID_BYTES) == REQUEST_ID_BYTES ? 0 : 1);
    }
    assert_int_equal(read(pipe_fds[0], theirs, REQUEST_ID_BYTES), REQUEST_ID_BYTES);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_memory_not_equal(mine, theirs, REQUEST_ID_BYTES / 2);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_matches_fips_180),
        cmocka_unit_test(test_hmac_matches_rfc_4231),
        cmocka_unit_test(test_hex_is_lower_case_and_ended),
        cmocka_unit_test(test_random_bytes_differ_and_fill_all_of_it),
        cmocka_unit_test(test_small_and_large_draws_never_repeat),
        cmocka_unit_test(test_a_forked_child_draws_bytes_of_its_own),
        cmocka_unit_test(test_request_ids_are_32_hex_digits_and_never_repeat),
        cmocka_unit_test(test_a_forked_child_makes_ids_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
