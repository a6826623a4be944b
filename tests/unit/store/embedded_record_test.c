/* The bytes of a record: what is written is read, and nothing else is taken for a record. */
#include "base/unit.h"

#include "lmdb_internal.h"

#define SERIAL UINT64_MAX

static struct idem_name some_name(uint64_t *seed)
{
    struct idem_name name;

    name.bucket = (uint16_t)(random_next(seed) % IDEM_BUCKETS);
    for (int i = 0; i < IDEM_HASH_BYTES; i++) {
        name.hash[i] = (uint8_t)random_next(seed);
    }
    return name;
}

static void fill(uint8_t *at, size_t len, uint64_t *seed)
{
    for (size_t i = 0; i < len; i++) {
        at[i] = (uint8_t)random_next(seed);
    }
}

/* A number of any length. */
static uint64_t some_number(uint64_t *seed)
{
    return random_next(seed) >> (random_next(seed) % 64);
}

static void text_of(char *text, size_t size, uint64_t *seed)
{
    size_t len = random_next(seed) % size;

    memset(text, 0, size);
    memset(text, 'a' + (int)(random_next(seed) % 26), len);
}

static char upstream_key[LMDB_UPSTREAM_KEY_BYTES_MAX];

static struct idem_record some_record(uint64_t *seed)
{
    struct idem_record record;

    memset(&record, 0, sizeof record);
    record.state = (enum idem_state)(1 + random_next(seed) % 3);
    fill(record.owner, sizeof record.owner, seed);
    fill(record.print, sizeof record.print, seed);
    fill(record.bind, sizeof record.bind, seed);
    fill((uint8_t *)upstream_key, sizeof upstream_key, seed);
    text_of(record.processor, sizeof record.processor, seed);
    text_of(record.request_id, sizeof record.request_id, seed);
    record.upstream_key = bytes_of(upstream_key, random_next(seed) % (sizeof upstream_key + 1));
    record.lease_ms = some_number(seed);
    record.begun_ms = some_number(seed);
    record.resend_ms = some_number(seed);
    record.takeovers = (uint32_t)some_number(seed);
    record.ambiguous = (random_next(seed) & 1) != 0;
    record.told = (random_next(seed) & 1) != 0;
    record.status = (uint16_t)some_number(seed);
    record.done_ms = some_number(seed);
    record.answer.len = (uint32_t)some_number(seed);
    record.answer_expires_ms = some_number(seed);
    record.expires_ms = some_number(seed);
    return record;
}

static void assert_same(const struct idem_record *a, const struct idem_record *b)
{
    assert_int_equal(a->state, b->state);
    assert_memory_equal(a->owner, b->owner, sizeof a->owner);
    assert_memory_equal(a->print, b->print, sizeof a->print);
    assert_memory_equal(a->bind, b->bind, sizeof a->bind);
    assert_string_equal(a->processor, b->processor);
    assert_string_equal(a->request_id, b->request_id);
    assert_true(bytes_equal(a->upstream_key, b->upstream_key));
    assert_true(a->lease_ms == b->lease_ms && a->begun_ms == b->begun_ms && a->resend_ms == b->resend_ms);
    assert_int_equal(a->takeovers, b->takeovers);
    assert_int_equal(a->ambiguous, b->ambiguous);
    assert_int_equal(a->told, b->told);
    assert_int_equal(a->status, b->status);
    assert_true(a->done_ms == b->done_ms && a->expires_ms == b->expires_ms);
    assert_true(a->answer.len == b->answer.len && a->answer_expires_ms == b->answer_expires_ms);
}

static void test_what_is_written_is_read(void **state)
{
    uint64_t seed = 4101842887655102017u, serial;
    size_t longest = 0;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        struct idem_name name = some_name(&seed);
        struct idem_record record = some_record(&seed), read;
        uint8_t bytes[LMDB_RECORD_BYTES_MAX];
        size_t len = lmdb_record_write(&name, &record, SERIAL, bytes);

        longest = len > longest ? len : longest;
        assert_true(lmdb_record_read(&name, bytes_of(bytes, len), &read, &serial));
        assert_true(serial == SERIAL);
        assert_same(&record, &read);
    }
    assert_in_range(longest, 1024, LMDB_RECORD_BYTES_MAX);
}

static void test_the_longest_record_fits(void **state)
{
    uint64_t seed = 88172645463325252u, serial;
    struct idem_name name = some_name(&seed);
    struct idem_record record = some_record(&seed), read;
    uint8_t bytes[LMDB_RECORD_BYTES_MAX];

    (void)state;
    memset(record.processor, 'p', IDEM_PROCESSOR_BYTES_MAX);
    memset(record.request_id, 'r', IDEM_REQUEST_ID_BYTES);
    record.upstream_key = bytes_of(upstream_key, sizeof upstream_key);
    record.lease_ms = record.begun_ms = record.resend_ms = record.done_ms = UINT64_MAX;
    record.answer_expires_ms = record.expires_ms = UINT64_MAX;
    record.takeovers = UINT32_MAX;
    record.status = UINT16_MAX;
    record.answer.len = UINT32_MAX;
    size_t len = lmdb_record_write(&name, &record, SERIAL, bytes);
    assert_in_range(len, 1, sizeof bytes);
    assert_true(lmdb_record_read(&name, bytes_of(bytes, len), &read, &serial));
    assert_true(serial == SERIAL);
    assert_same(&record, &read);
}

/* Exactly so many bytes, so that reading one more is seen. */
static bool reads(const struct idem_name *name, const uint8_t *bytes, size_t len)
{
    struct idem_record record;
    uint64_t serial;
    uint8_t *copy = malloc(len == 0 ? 1 : len);

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    bool well = lmdb_record_read(name, bytes_of(copy, len), &record, &serial);
    free(copy);
    return well;
}

static void test_no_part_of_a_record_is_a_record(void **state)
{
    uint64_t seed = 2463534242u;

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct idem_name name = some_name(&seed);
        struct idem_record record = some_record(&seed);
        uint8_t bytes[LMDB_RECORD_BYTES_MAX + 1] = {0};
        size_t len = lmdb_record_write(&name, &record, SERIAL, bytes);

        for (size_t part = 0; part < len; part++) {
            assert_false(reads(&name, bytes, part));
        }
        assert_true(reads(&name, bytes, len));
        assert_false(reads(&name, bytes, len + 1));
    }
}

static void test_every_flipped_bit_is_seen(void **state)
{
    uint64_t seed = 362436069u;

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct idem_name name = some_name(&seed);
        struct idem_record record = some_record(&seed);
        uint8_t bytes[LMDB_RECORD_BYTES_MAX];
        size_t len = lmdb_record_write(&name, &record, SERIAL, bytes);

        for (size_t bit = 0; bit < len * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(reads(&name, bytes, len));
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_true(reads(&name, bytes, len));
    }
}

/* The CRC put right, as no accident of a disk does, so that the parser itself meets bad lengths and numbers. */
static void mend_crc(const struct idem_name *name, uint8_t *bytes, size_t len)
{
    uint8_t all[LMDB_NAME_BYTES + LMDB_RECORD_BYTES_MAX];
    uint32_t crc = ~0u;

    lmdb_name_write(name, all);
    memcpy(all + LMDB_NAME_BYTES, bytes, len - 4);
    for (size_t i = 0; i < LMDB_NAME_BYTES + len - 4; i++) {
        crc ^= all[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
        }
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++) {
        bytes[len - 4 + (size_t)i] = (uint8_t)(crc >> (8 * i));
    }
}

static void test_lengths_that_lie_are_refused_without_harm(void **state)
{
    uint64_t seed = 521288629u;
    int refused = 0;

    (void)state;
    for (int i = 0; i < 60; i++) {
        struct idem_name name = some_name(&seed);
        struct idem_record record = some_record(&seed);
        uint8_t bytes[LMDB_RECORD_BYTES_MAX], whole[LMDB_RECORD_BYTES_MAX];
        size_t len = lmdb_record_write(&name, &record, SERIAL, whole);

        for (size_t at = 0; at < len - 4; at++) {
            memcpy(bytes, whole, len);
            bytes[at] = (uint8_t)random_next(&seed);
            mend_crc(&name, bytes, len);
            refused += reads(&name, bytes, len) ? 0 : 1;
        }
        for (size_t part = 6; part < len; part += 7) {
            memcpy(bytes, whole, part);
            mend_crc(&name, bytes, part);
            assert_false(reads(&name, bytes, part));
        }
    }
    assert_in_range(refused, 1000, 1000000);
}

static void test_another_name_version_or_flag_is_refused(void **state)
{
    uint64_t seed = 88675123u;
    struct idem_name name = some_name(&seed), other = name;
    struct idem_record record = some_record(&seed);
    uint8_t bytes[LMDB_RECORD_BYTES_MAX];
    size_t len = lmdb_record_write(&name, &record, SERIAL, bytes);

    (void)state;
    other.bucket = (uint16_t)((name.bucket + 1) % IDEM_BUCKETS);
    assert_false(reads(&other, bytes, len));
    bytes[0]++;
    mend_crc(&name, bytes, len);
    assert_false(reads(&name, bytes, len));
    bytes[0]--;
    bytes[1] |= 0x80;
    mend_crc(&name, bytes, len);
    assert_false(reads(&name, bytes, len));
    bytes[1] = 0; /* absent */
    mend_crc(&name, bytes, len);
    assert_false(reads(&name, bytes, len));
}

static void test_names_and_times_sort_as_bytes(void **state)
{
    uint64_t seed = 123456789u;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t a = some_number(&seed), b = some_number(&seed);
        uint8_t x[8], y[8];
        lmdb_u64_write(a, x);
        lmdb_u64_write(b, y);
        assert_true(lmdb_u64_read(x) == a);
        assert_true((memcmp(x, y, 8) < 0) == (a < b));

        struct idem_name name = some_name(&seed), read;
        uint8_t bytes[LMDB_NAME_BYTES];
        lmdb_name_write(&name, bytes);
        lmdb_name_read(bytes, &read);
        assert_int_equal(read.bucket, name.bucket);
        assert_memory_equal(read.hash, name.hash, IDEM_HASH_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_the_longest_record_fits),
        cmocka_unit_test(test_no_part_of_a_record_is_a_record),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_lengths_that_lie_are_refused_without_harm),
        cmocka_unit_test(test_another_name_version_or_flag_is_refused),
        cmocka_unit_test(test_names_and_times_sort_as_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
