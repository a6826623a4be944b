/* The byte queue: nothing lost, nothing reordered, nothing kept. */
#include "base/unit.h"

#include "weir/base/buf.h"

#define BIG ((size_t)1 << 20)

static char pattern[BIG];

static void fill_pattern(void)
{
    uint64_t seed = 1;

    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (char)random_next(&seed);
    }
}

static void test_bytes_come_out_in_the_order_they_went_in(void **state)
{
    struct blocks blocks;
    struct buf buf;
    uint64_t seed = 7;
    size_t in = 0;
    size_t out = 0;

    (void)state;
    fill_pattern();
    blocks_init(&blocks, 0, 4);
    buf_init(&buf, &blocks, BIG);
    while (out < BIG) {
        size_t part = random_next(&seed) % 9000;
        struct bytes front;

        part = part > BIG - in ? BIG - in : part;
        assert_int_equal(buf_append(&buf, bytes_of(pattern + in, part), BLOCKS_MAY), ERR_OK);
        in += part;
        front = buf_front(&buf);
        assert_true(front.len > 0 || buf.len == 0);
        assert_memory_equal(front.at, pattern + out, front.len);
        part = front.len == 0 ? 0 : random_next(&seed) % (buf.len + 1);
        buf_consume(&buf, part);
        out += part;
        assert_int_equal(buf.len, in - out);
        if (in == BIG) {
            break;
        }
    }
    while (buf.len > 0) {
        struct bytes front = buf_front(&buf);

        assert_memory_equal(front.at, pattern + out, front.len);
        buf_consume(&buf, front.len);
        out += front.len;
    }
    assert_int_equal(out, BIG);
    assert_int_equal(blocks.used_bytes, 0);
    blocks_close(&blocks);
}

static void test_append_beyond_the_cap_is_refused_whole(void **state)
{
    struct blocks blocks;
    struct buf buf;

    (void)state;
    blocks_init(&blocks, 0, 0);
    buf_init(&buf, &blocks, 10);
    assert_int_equal(buf_append(&buf, BYTES("12345678"), BLOCKS_MAY), ERR_OK);
    assert_int_equal(buf_append(&buf, BYTES("abc"), BLOCKS_MUST), ERR_FULL);
    assert_bytes(buf_front(&buf), "12345678");
    assert_int_equal(buf_append(&buf, BYTES("ab"), BLOCKS_MAY), ERR_OK);
    assert_bytes(buf_front(&buf), "12345678ab");
    buf.len_max = 5; /* lowered under what is there */
    assert_int_equal(buf_append(&buf, BYTES("c"), BLOCKS_MAY), ERR_FULL);
    buf_reset(&buf);
    blocks_close(&blocks);
}

static void test_a_supply_that_ends_midway_leaves_the_queue_as_it_was(void **state)
{
    struct blocks blocks;
    struct buf buf;

    (void)state;
    fill_pattern();
    blocks_init(&blocks, 3 * BLOCK_BYTES, 8);
    buf_init(&buf, &blocks, BIG);
    assert_int_equal(buf_append(&buf, BYTES("first"), BLOCKS_MAY), ERR_OK);
    assert_int_equal(buf_append(&buf, bytes_of(pattern, 4 * BLOCK_BYTES), BLOCKS_MAY), ERR_FULL);
    assert_int_equal(buf.len, 5);
    assert_int_equal(blocks.used_bytes, BLOCK_BYTES);
    assert_bytes(buf_front(&buf), "first");
    assert_int_equal(buf_append(&buf, bytes_of(pattern, 4 * BLOCK_BYTES), BLOCKS_MUST), ERR_OK);
    assert_int_equal(buf.len, 5 + 4 * BLOCK_BYTES);
    buf_reset(&buf);
    assert_int_equal(blocks.used_bytes, 0);
    blocks_close(&blocks);
}

static void test_an_empty_queue_holds_no_block(void **state)
{
    struct blocks blocks;
    struct buf buf;

    (void)state;
    blocks_init(&blocks, 0, 0);
    buf_init(&buf, &blocks, BIG);
    assert_int_equal(buf_append(&buf, BYTES_NONE, BLOCKS_MAY), ERR_OK);
    assert_int_equal(blocks.used_bytes, 0);
    assert_int_equal(buf_append(&buf, BYTES("x"), BLOCKS_MAY), ERR_OK);
    buf_consume(&buf, 1);
    assert_int_equal(blocks.used_bytes, 0);
    assert_int_equal(buf_front(&buf).len, 0);
    assert_int_equal(buf_append(&buf, BYTES("y"), BLOCKS_MAY), ERR_OK);
    assert_bytes(buf_front(&buf), "y");
    buf_reset(&buf);
    buf_reset(&buf);
    assert_int_equal(blocks.used_bytes, 0);
    blocks_close(&blocks);
}

static void test_vectors_show_the_queue_from_its_front(void **state)
{
    struct blocks blocks;
    struct iovec vectors[8];
    struct buf buf;
    size_t at = 100;

    (void)state;
    fill_pattern();
    blocks_init(&blocks, 0, 0);
    buf_init(&buf, &blocks, BIG);
    assert_int_equal(buf_vectors(&buf, vectors, 8), 0);
    assert_int_equal(buf_append(&buf, bytes_of(pattern, 10000), BLOCKS_MAY), ERR_OK);
    buf_consume(&buf, at);
    assert_int_equal(buf_vectors(&buf, vectors, 1), 1);
    assert_int_equal(buf_vectors(&buf, vectors, 8), 3);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(vectors[i].iov_base, pattern + at, vectors[i].iov_len);
        at += vectors[i].iov_len;
    }
    assert_int_equal(at, 10000);
    buf_reset(&buf);
    blocks_close(&blocks);
}

/* From every byte of the queue on, over all borders of blocks, to its end. */
static void test_vectors_from_a_byte_on_hold_the_rest(void **state)
{
    struct blocks blocks;
    struct iovec vectors[8];
    struct buf buf;

    (void)state;
    fill_pattern();
    blocks_init(&blocks, 0, 0);
    buf_init(&buf, &blocks, BIG);
    assert_int_equal(buf_append(&buf, bytes_of(pattern, 10000), BLOCKS_MAY), ERR_OK);
    buf_consume(&buf, 100);
    for (size_t from = 0; from <= 9900; from++) {
        size_t at = 100 + from;
        int count = buf_vectors_from(&buf, from, vectors, 8);
        for (int i = 0; i < count; i++) {
            assert_true(vectors[i].iov_len > 0);
            assert_memory_equal(vectors[i].iov_base, pattern + at, vectors[i].iov_len);
            at += vectors[i].iov_len;
        }
        assert_int_equal(at, 10000);
    }
    assert_int_equal(buf_vectors_from(&buf, 9900, vectors, 8), 0);
    buf_reset(&buf);
    blocks_close(&blocks);
}

static void test_a_move_appends_everything_without_a_copy(void **state)
{
    struct blocks blocks;
    struct buf from;
    struct buf to;

    (void)state;
    blocks_init(&blocks, 0, 0);
    buf_init(&from, &blocks, 100);
    buf_init(&to, &blocks, 6);
    assert_int_equal(buf_move(&to, &from), ERR_OK);
    assert_int_equal(buf_append(&to, BYTES("abc"), BLOCKS_MAY), ERR_OK);
    assert_int_equal(buf_append(&from, BYTES("defg"), BLOCKS_MAY), ERR_OK);
    assert_int_equal(buf_move(&to, &from), ERR_FULL);
    assert_int_equal(to.len, 3);
    assert_int_equal(from.len, 4);
    buf_consume(&from, 1);
    assert_int_equal(buf_move(&to, &from), ERR_OK);
    assert_int_equal(from.len, 0);
    assert_int_equal(to.len, 6);
    assert_bytes(buf_front(&to), "abc");
    buf_consume(&to, 3);
    assert_bytes(buf_front(&to), "efg");
    to.len_max = 100;
    assert_int_equal(buf_append(&to, BYTES("hi"), BLOCKS_MAY), ERR_OK);
    assert_bytes(buf_front(&to), "efghi");
    assert_int_equal(buf_append(&from, BYTES("again"), BLOCKS_MAY), ERR_OK);
    buf_reset(&from);
    buf_reset(&to);
    assert_int_equal(blocks.used_bytes, 0);
    blocks_close(&blocks);
}

static void consume_too_much(void)
{
    struct blocks blocks;
    struct buf buf;

    blocks_init(&blocks, 0, 0);
    buf_init(&buf, &blocks, 10);
    if (buf_append(&buf, BYTES("abc"), BLOCKS_MAY) == ERR_OK) {
        buf_consume(&buf, 4);
    }
}

static void test_consuming_what_is_not_there_aborts(void **state)
{
    (void)state;
    assert_true(aborts(consume_too_much));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_out_in_the_order_they_went_in),
        cmocka_unit_test(test_append_beyond_the_cap_is_refused_whole),
        cmocka_unit_test(test_a_supply_that_ends_midway_leaves_the_queue_as_it_was),
        cmocka_unit_test(test_an_empty_queue_holds_no_block),
        cmocka_unit_test(test_vectors_show_the_queue_from_its_front),
        cmocka_unit_test(test_vectors_from_a_byte_on_hold_the_rest),
        cmocka_unit_test(test_a_move_appends_everything_without_a_copy),
        cmocka_unit_test(test_consuming_what_is_not_there_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
