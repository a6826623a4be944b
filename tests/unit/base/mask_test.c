/* Card numbers do not survive, whatever stands around them; our own ids do. */
#include "base/unit.h"

#include "weir/base/mask.h"

#define CARD "4111111111111111"

static void check_mask(const char *in, const char *expected, size_t count)
{
    char text[512];
    size_t len = bytes_to_text(bytes_from_text(in), text, sizeof(text));

    assert_int_equal(mask_cards(text, len), count);
    assert_string_equal(text, expected);
}

static void test_a_card_keeps_its_first_six_and_last_four(void **state)
{
    (void)state;
    check_mask(CARD, "411111******1111", 1);
    check_mask("card=" CARD ";", "card=411111******1111;", 1);
    check_mask("x" CARD "x", "x411111******1111x", 1);
    check_mask("378282246310005", "378282*****0005", 1);         /* 15 digits */
    check_mask("4222222222222", "422222***2222", 1);             /* 13 digits */
    check_mask("6304000000000000000", "630400*********0000", 1); /* 19 digits */
    check_mask(CARD " and 5555555555554444", "411111******1111 and 555555******4444", 2);
}

static void test_blanks_and_dashes_between_digits_do_not_hide_it(void **state)
{
    (void)state;
    check_mask("4111 1111 1111 1111", "4111 11** **** 1111", 1);
    check_mask("4111-1111-1111-1111", "4111-11**-****-1111", 1);
    check_mask("4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1", "4-1-1-1-1-1-*-*-*-*-*-*-1-1-1-1", 1);
    check_mask("4111  1111  1111  1111", "4111  1111  1111  1111", 0); /* two blanks end a run */
    check_mask("4111.1111.1111.1111", "4111.1111.1111.1111", 0);
}

static void test_percent_escapes_do_not_hide_it(void **state)
{
    (void)state;
    check_mask("/c/%34111111111111111", "/c/%3411111******1111", 1);
    check_mask("/c/411111%31111111111", "/c/411111********1111", 1);
    check_mask("4111%201111%2d1111%2D1111", "4111%2011**%2d****%2D1111", 1);
    check_mask("4111+1111+1111+1111", "4111+11**+****+1111", 1);
    check_mask("41111111111111%3", "41111111111111%3", 0);
}

static void test_numbers_that_fail_the_check_stay_readable(void **state)
{
    (void)state;
    check_mask("4111111111111112", "4111111111111112", 0);
    check_mask("411111111111", "411111111111", 0); /* 12 digits */
    check_mask("", "", 0);
    check_mask("2026-11-22T10:00:00.000000Z", "2026-11-22T10:00:00.000000Z", 0);
}

static void test_a_card_is_found_among_other_numbers(void **state)
{
    (void)state;
    check_mask("order 12 4111 1111 1111 1111", "order 12 4111 11** **** 1111", 1);
    check_mask("4111 1111 1111 1111 12 27 123", "4111 11** **** 1111 12 27 123", 1);
    /* Without a gap before or behind; a shorter number inside passes by chance and is covered too. */
    check_mask("98765" CARD, "98765411111******1111", 1);
    check_mask(CARD "99991", "411111*******11199991", 1);
}

static void test_ids_of_ours_are_never_touched(void **state)
{
    (void)state;
    check_mask("a"
               "411111111111111111111111111111"
               "b",
               "a411111111111111111111111111111b", 0);
    check_mask("c0ffee00-4111-1111-1111-111111111111", "c0ffee00-4111-1111-1111-111111111111", 0);
    /* Without a letter it may as well be two cards. */
    check_mask(CARD CARD, "411111******1111411111******1111", 2);
    /* 32 hex digits inside a longer word are no id. */
    check_mask("abcdefabcdefabcd" CARD "zz", "abcdefabcdefabcd411111******1111zz", 1);
}

static size_t luhn_digit(const char *digits, size_t len)
{
    unsigned sum = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned value = (unsigned)(digits[len - 1 - i] - '0');

        value = i % 2 == 0 ? value * 2 : value; /* the check digit comes behind */
        sum += value > 9 ? value - 9 : value;
    }
    return (10 - sum % 10) % 10;
}

/* A random valid number of `len` digits. */
static void make_card(uint64_t *seed, char *digits, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        digits[i] = (char)('0' + random_next(seed) % 10);
    }
    digits[len - 1] = (char)('0' + luhn_digit(digits, len - 1));
}

static size_t put_piece(char *at, const char *piece)
{
    size_t len = strlen(piece);

    memcpy(at, piece, len);
    return len;
}

/* Writes the card with random partings and escapes; notes where each digit's last byte stands. */
static size_t write_card(uint64_t *seed, const char *digits, size_t len, char *at, size_t places[19])
{
    static const char *const partings[] = {" ", "-", "+", "%20", "%2D"};
    size_t used = 0;
    bool parted = random_next(seed) % 2 == 0;

    for (size_t i = 0; i < len; i++) {
        if (i > 0 && parted && random_next(seed) % 4 == 0) {
            used += put_piece(at + used, partings[random_next(seed) % ARRAY_COUNT(partings)]);
        }
        if (random_next(seed) % 8 == 0) {
            used += put_piece(at + used, "%3");
        }
        at[used] = digits[i];
        places[i] = used++;
    }
    return used;
}

static void test_no_valid_number_survives_in_any_surroundings(void **state)
{
    static const char *const around[] = {
        "",         "x", " ",          "-", "1 ",     " 12 34 ", "card: ", "%20", "a-",  "/c/",
        "00 00 1-", "é", "4111 1111 ", "e", " 123-4", "\xff",    "1 2 3 ", "%",   "%3x", "9999 8888 7777 "};
    uint64_t seed = 20261122;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        char digits[19];
        size_t places[19];
        char text[256];
        size_t len = 13 + random_next(&seed) % 7;
        size_t start;
        size_t used;

        make_card(&seed, digits, len);
        /* What touches the card before or behind must part it: an unparted digit makes it another number. */
        start = put_piece(text, around[random_next(&seed) % ARRAY_COUNT(around)]);
        if (start > 0 && text[start - 1] >= '0' && text[start - 1] <= '9') {
            start += put_piece(text + start, " ");
        }
        if ((start > 0 && text[start - 1] == '%') || (start > 1 && text[start - 2] == '%')) {
            continue; /* the card's first digits would be an escape's */
        }
        used = start + write_card(&seed, digits, len, text + start, places);
        used += put_piece(text + used, " ");
        used += put_piece(text + used, around[random_next(&seed) % ARRAY_COUNT(around)]);
        if (mask_cards(text, used) == 0) {
            fail_msg("%.*s is not found in %.*s", (int)len, digits, (int)used, text);
        }
        for (size_t i = 6; i + 4 < len; i++) {
            if (text[start + places[i]] != '*') {
                fail_msg("digit %zu of %.*s shows in %.*s", i, (int)len, digits, (int)used, text);
            }
        }
    }
}

static void test_text_around_cards_is_not_changed(void **state)
{
    uint64_t seed = 99;

    (void)state;
    for (int round = 0; round < 50000; round++) {
        char text[128];
        char before[128];
        size_t len = random_next(&seed) % sizeof(text);

        for (size_t i = 0; i < len; i++) {
            text[i] = "0123456789 -%%23aZ\n"[random_next(&seed) % 19];
        }
        memcpy(before, text, sizeof(text));
        mask_cards(text, len);
        for (size_t i = 0; i < len; i++) {
            bool maskable = (before[i] >= '0' && before[i] <= '9') || before[i] == '%';

            assert_true(text[i] == before[i] || (text[i] == '*' && maskable));
        }
    }
}

static void test_a_long_hostile_text_is_linear(void **state)
{
    static char text[1 << 20];
    size_t len = sizeof(text);

    (void)state;
    for (size_t i = 0; i < len; i++) {
        text[i] = i % 2 == 0 ? '4' : '-';
    }
    assert_true(mask_cards(text, len) > 0);
    memset(text, '4', len);
    assert_true(mask_cards(text, len) > 0);
    memset(text, 'a', len);
    assert_int_equal(mask_cards(text, len), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_card_keeps_its_first_six_and_last_four),
        cmocka_unit_test(test_blanks_and_dashes_between_digits_do_not_hide_it),
        cmocka_unit_test(test_percent_escapes_do_not_hide_it),
        cmocka_unit_test(test_numbers_that_fail_the_check_stay_readable),
        cmocka_unit_test(test_a_card_is_found_among_other_numbers),
        cmocka_unit_test(test_ids_of_ours_are_never_touched),
        cmocka_unit_test(test_no_valid_number_survives_in_any_surroundings),
        cmocka_unit_test(test_text_around_cards_is_not_changed),
        cmocka_unit_test(test_a_long_hostile_text_is_linear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
