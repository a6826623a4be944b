/* Every error has a name and a sentence, and so has a number that is none. */
#include "base/unit.h"

#include "weir/base/err.h"

static void test_names_and_sentences_belong_to_their_errors(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_OK), "OK");
    assert_string_equal(err_name(ERR_RESET), "RESET");
    assert_string_equal(err_sentence(ERR_RESET), "the peer reset the connection");
    assert_string_equal(err_name(ERR_IO), "IO");
    assert_string_equal(err_sentence(ERR_IO), "input or output failed");
}

static void test_none_is_without_words(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        assert_true(strlen(err_name((enum err)i)) > 0);
        assert_true(strlen(err_sentence((enum err)i)) > 0);
    }
    assert_non_null(err_name(ERR_COUNT));
    assert_non_null(err_sentence(ERR_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_sentences_belong_to_their_errors),
        cmocka_unit_test(test_none_is_without_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
