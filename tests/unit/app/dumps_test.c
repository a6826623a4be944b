#include "base/unit.h"

#include <sys/prctl.h>

#include "weir/app/dumps.h"

static void test_a_core_is_neither_written_nor_read(void **state)
{
    struct rlimit limit;
    char why[512] = "";
    (void)state;
    assert_true(dumps_forbid(why, sizeof(why)));
    assert_string_equal(why, "");
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_cur, 0);
    assert_int_equal(limit.rlim_max, 0);
    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
    dumps_allow_leak_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_core_is_neither_written_nor_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
