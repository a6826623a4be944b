#include "io/io_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/app/notify.h"

/* The service manager's end. */
struct manager {
    struct loop *loop;
    int fd;
    char name[64];
    char last[600];
};

static void open_manager(struct manager *manager)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memset(manager, 0, sizeof(*manager));
    manager->loop = loop_open(0);
    assert_non_null(manager->loop);
    manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(manager->name, sizeof(manager->name), "@weir-notify-test-%d", (int)getpid());
    memcpy(at.sun_path + 1, manager->name + 1, strlen(manager->name) - 1);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(manager->name));
    assert_int_equal(bind(manager->fd, (struct sockaddr *)&at, len), 0);
    setenv("NOTIFY_SOCKET", manager->name, 1);
}

static void close_manager(struct manager *manager)
{
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    close(manager->fd);
    assert_true(loop_close(manager->loop));
}

/* False: nothing was said. */
static bool hear(struct manager *manager)
{
    ssize_t len = recv(manager->fd, manager->last, sizeof(manager->last) - 1, 0);
    if (len < 0) {
        return false;
    }
    manager->last[len] = '\0';
    return true;
}

static void test_readiness_and_its_status_reach_an_abstract_socket(void **state)
{
    struct manager manager;
    struct notify notify;
    (void)state;
    open_manager(&manager);
    notify_open(&notify, manager.loop, NULL);
    notify_ready(&notify, "generation 1\nREADY=0");
    assert_true(hear(&manager));
    assert_string_equal(manager.last, "READY=1\nSTATUS=generation 1 READY=0");
    notify_reloading(&notify);
    assert_true(hear(&manager));
    assert_int_equal(strncmp(manager.last, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    notify_stopping(&notify, "draining");
    assert_true(hear(&manager));
    assert_string_equal(manager.last, "STOPPING=1\nSTATUS=draining");
    assert_false(hear(&manager));
    notify_close(&notify);
    close_manager(&manager);
}

static void test_the_watchdog_beats_at_half_its_time(void **state)
{
    struct manager manager;
    struct notify notify;
    (void)state;
    open_manager(&manager);
    setenv("WATCHDOG_USEC", "60000", 1);
    notify_open(&notify, manager.loop, NULL);
    notify_ready(&notify, "up");
    assert_true(hear(&manager));
    int beats = 0;
    uint64_t began_us = clock_now_us();
    while (beats < 4) {
        turn(manager.loop);
        while (hear(&manager)) {
            assert_string_equal(manager.last, "WATCHDOG=1");
            beats++;
        }
        assert_true(clock_now_us() - began_us < PATIENCE_US);
    }
    /* One at once, then one per 30 ms and never sooner. */
    assert_true(clock_now_us() - began_us >= 90 * CLOCK_US_PER_MS);
    notify_close(&notify);
    close_manager(&manager);
}

static void test_the_watchdog_of_another_process_is_left_alone(void **state)
{
    struct manager manager;
    struct notify notify;
    (void)state;
    open_manager(&manager);
    setenv("WATCHDOG_USEC", "60000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    notify_open(&notify, manager.loop, NULL);
    notify_ready(&notify, "up");
    assert_false(timer_armed(&notify.watchdog));
    notify_close(&notify);
    close_manager(&manager);
}

static void test_without_a_manager_nothing_happens(void **state)
{
    struct notify notify;
    struct loop *loop = loop_open(0);
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "60000", 1);
    notify_open(&notify, loop, NULL);
    notify_ready(&notify, "up");
    assert_int_equal(notify.fd, -1);
    assert_false(timer_armed(&notify.watchdog));
    notify_close(&notify);
    unsetenv("WATCHDOG_USEC");
    assert_true(loop_close(loop));
}

/* Makes descriptors 3 and up the passed ones, as the manager does, in a child whose descriptors nobody else uses. */
static int inherit_in_child(int passed, const char *names, bool ours, int (*check)(struct gate_inherited *, int))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct gate_inherited inherited[GATE_INHERITED_MAX];
        char text[32];
        for (int i = 0; i < passed; i++) {
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            if (fd != 3 + i && dup2(fd, 3 + i) >= 0) {
                close(fd);
            }
        }
        snprintf(text, sizeof(text), "%d", ours ? (int)getpid() : 1);
        setenv("LISTEN_PID", text, 1);
        snprintf(text, sizeof(text), "%d", passed);
        setenv("LISTEN_FDS", text, 1);
        setenv("LISTEN_FDNAMES", names, 1);
        _exit(check(inherited, notify_inherit(inherited, NULL)));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int check_two(struct gate_inherited *inherited, int count)
{
    bool right = count == 2 && strcmp(inherited[0].name, "public") == 0 && inherited[0].fd == 3 &&
                 strcmp(inherited[1].name, "unknown") == 0 && inherited[1].fd == 4 &&
                 (fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 && getenv("LISTEN_FDS") == NULL;
    return right ? 0 : 1;
}

static int check_none(struct gate_inherited *inherited, int count)
{
    (void)inherited;
    return count == 0 && (fcntl(3, F_GETFD) & FD_CLOEXEC) == 0 ? 0 : 1;
}

static int check_full(struct gate_inherited *inherited, int count)
{
    bool last_closed = fcntl(3 + GATE_INHERITED_MAX, F_GETFD) < 0;
    return count == GATE_INHERITED_MAX && inherited[count - 1].fd == 2 + GATE_INHERITED_MAX && last_closed ? 0 : 1;
}

static void test_passed_sockets_come_with_their_names(void **state)
{
    (void)state;
    assert_int_equal(inherit_in_child(2, "public", true, check_two), 0);
}

static void test_sockets_passed_to_another_process_are_not_touched(void **state)
{
    (void)state;
    assert_int_equal(inherit_in_child(1, "public", false, check_none), 0);
}

static void test_more_sockets_than_room_are_closed(void **state)
{
    (void)state;
    assert_int_equal(inherit_in_child(GATE_INHERITED_MAX + 1, "", true, check_full), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readiness_and_its_status_reach_an_abstract_socket),
        cmocka_unit_test(test_the_watchdog_beats_at_half_its_time),
        cmocka_unit_test(test_the_watchdog_of_another_process_is_left_alone),
        cmocka_unit_test(test_without_a_manager_nothing_happens),
        cmocka_unit_test(test_passed_sockets_come_with_their_names),
        cmocka_unit_test(test_sockets_passed_to_another_process_are_not_touched),
        cmocka_unit_test(test_more_sockets_than_room_are_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
