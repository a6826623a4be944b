/* A failed CHECK says what and where, and ends the process. */
#include "base/unit.h"

#include "weir/base/check.h"

static void fail_a_check(void)
{
    CHECK(1 + 1 == 3);
}

static void pass_a_check(void)
{
    CHECK(1 + 1 == 2);
}

static void test_a_failed_check_aborts_and_a_true_one_does_not(void **state)
{
    (void)state;
    assert_true(aborts(fail_a_check));
    assert_false(aborts(pass_a_check));
}

static void test_it_names_the_file_the_line_and_the_expression(void **state)
{
    char text[512] = "";
    int pipe_fds[2];
    pid_t child;

    (void)state;
    assert_int_equal(pipe(pipe_fds), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)dup2(pipe_fds[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        check_failed("src/gate/exchange.c", 1234, "exchange_sent(x)");
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(read(pipe_fds[0], text, sizeof(text) - 1) > 0);
    assert_string_equal(text, "weir: check failed: exchange_sent(x) (src/gate/exchange.c:1234)\n");
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void test_container_of_goes_back_to_the_whole(void **state)
{
    struct whole {
        int first;
        long member;
    } whole;

    (void)state;
    assert_ptr_equal(container_of(&whole.member, struct whole, member), &whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failed_check_aborts_and_a_true_one_does_not),
        cmocka_unit_test(test_it_names_the_file_the_line_and_the_expression),
        cmocka_unit_test(test_container_of_goes_back_to_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
