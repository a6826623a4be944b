/* Lines leave whole and in order, or are dropped and counted; the loop never waits for a sink. */
#include "base/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "log_internal.h"

#define PATIENCE_MS 20000 /* for what must happen; no test passes by waiting */

struct place {
    char folder[64];
    char access[96];
    char events[96];
};

static struct place make_place(void)
{
    struct place place;

    (void)snprintf(place.folder, sizeof(place.folder), "%s", P_tmpdir "/weir-log-test-XXXXXX");
    assert_non_null(mkdtemp(place.folder));
    (void)snprintf(place.access, sizeof(place.access), "%s/access", place.folder);
    (void)snprintf(place.events, sizeof(place.events), "%s/events", place.folder);
    return place;
}

static void remove_place(const struct place *place)
{
    (void)unlink(place->access);
    (void)unlink(place->events);
    assert_int_equal(rmdir(place->folder), 0);
}

static struct log *open_at(const char *access, const char *events, enum log_format format)
{
    const struct log_sink sinks[LOG_STREAM_COUNT] = {{access, LOG_JSON, LOG_DEBUG}, {events, format, LOG_INFO}};
    struct log *log = log_open();
    char why[128] = "";

    assert_non_null(log);
    if (log_configure(log, sinks, why, sizeof(why)) != ERR_OK) {
        fail_msg("%s", why);
    }
    return log;
}

/* The file's content, to be freed. */
static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text;
    long size;

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    text[size] = '\0';
    assert_int_equal(fclose(file), 0);
    return text;
}

static void assert_file(const char *path, const char *expected)
{
    char *text = read_whole(path);

    assert_string_equal(text, expected);
    free(text);
}

static void test_lines_arrive_whole_and_in_order(void **state)
{
    enum { LINES = 40000 }; /* more than a ring holds */
    struct place place = make_place();
    struct log *log = open_at(place.access, place.events, LOG_JSON);
    int sent = 0;
    char line[64];
    char *text;
    char *at;

    (void)state;
    while (sent < LINES) {
        int len = snprintf(line, sizeof(line), "%d the rest of an access line of usual length", sent);

        if (log_line(log, LOG_ACCESS, bytes_of(line, (size_t)len))) {
            sent++;
        } else {
            (void)poll(NULL, 0, 1); /* the ring is full: the writer is on its way */
        }
    }
    log_close(log, PATIENCE_MS);
    text = read_whole(place.access);
    at = text;
    for (int i = 0; i < LINES; i++) {
        assert_int_equal(strtol(at, &at, 10), i);
        assert_memory_equal(at, " the rest of an access line of usual length\n", 44);
        at += 44;
    }
    assert_int_equal(*at, '\0');
    free(text);
    remove_place(&place);
}

static void test_new_files_are_readable_by_the_group_only(void **state)
{
    struct place place = make_place();
    mode_t mask = umask(0);
    struct log *log = open_at(place.access, place.events, LOG_JSON);
    struct stat stat_of;

    (void)state;
    umask(mask);
    log_close(log, PATIENCE_MS);
    assert_int_equal(stat(place.access, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0640);
    remove_place(&place);
}

static void test_an_existing_file_is_continued(void **state)
{
    struct place place = make_place();

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct log *log = open_at(place.access, place.events, LOG_JSON);

        assert_true(log_line(log, LOG_ACCESS, BYTES("once more")));
        log_close(log, PATIENCE_MS);
    }
    assert_file(place.access, "once more\nonce more\n");
    remove_place(&place);
}

static void test_a_sink_that_cannot_be_opened_changes_nothing(void **state)
{
    struct place place = make_place();
    const struct log_sink bad[LOG_STREAM_COUNT] = {{place.events, LOG_JSON, LOG_DEBUG},
                                                   {"/nonexistent/x.log", LOG_TEXT, LOG_ERROR}};
    struct log *log = open_at(place.access, "/dev/null", LOG_JSON);
    char why[128] = "";

    (void)state;
    assert_int_equal(log_configure(log, bad, why, sizeof(why)), ERR_FILE);
    assert_string_equal(why, "cannot open /nonexistent/x.log for the log: No such file or directory");
    assert_true(log_enabled(log, LOG_INFO));
    assert_true(log_line(log, LOG_ACCESS, BYTES("still here")));
    log_close(log, PATIENCE_MS);
    assert_file(place.access, "still here\n");
    remove_place(&place);
}

static void wait_until_written(const char *path)
{
    struct stat stat_of;

    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        if (stat(path, &stat_of) == 0 && stat_of.st_size > 0) {
            return;
        }
        (void)poll(NULL, 0, 1);
    }
    fail_msg("%s never came", path);
}

static void test_reopen_goes_on_in_a_new_file(void **state)
{
    struct place place = make_place();
    struct log *log = open_at(place.access, place.events, LOG_JSON);
    char moved[128];
    char why[128];

    (void)state;
    (void)snprintf(moved, sizeof(moved), "%s/access.1", place.folder);
    assert_true(log_line(log, LOG_ACCESS, BYTES("before")));
    wait_until_written(place.access);
    assert_int_equal(rename(place.access, moved), 0);
    assert_int_equal(log_reopen(log, why, sizeof(why)), ERR_OK);
    assert_true(log_line(log, LOG_ACCESS, BYTES("after")));
    log_close(log, PATIENCE_MS);
    assert_file(moved, "before\n");
    assert_file(place.access, "after\n");
    assert_int_equal(unlink(moved), 0);
    remove_place(&place);
}

static void test_a_failed_reopen_keeps_the_old_file(void **state)
{
    struct place place = make_place();
    struct log *log = open_at(place.access, "/dev/null", LOG_JSON);
    char moved[128];
    char why[128] = "";

    (void)state;
    (void)snprintf(moved, sizeof(moved), "%s/access.1", place.folder);
    assert_int_equal(rename(place.access, moved), 0);
    assert_int_equal(mkdir(place.access, 0700), 0); /* where the file should be */
    assert_int_equal(log_reopen(log, why, sizeof(why)), ERR_FILE);
    assert_non_null(strstr(why, "Is a directory"));
    assert_true(log_line(log, LOG_ACCESS, BYTES("kept")));
    log_close(log, PATIENCE_MS);
    assert_file(moved, "kept\n");
    assert_int_equal(unlink(moved), 0);
    assert_int_equal(rmdir(place.access), 0);
    remove_place(&place);
}

/* Makes `fd` this process's stderr and gives back the one before. */
static int swap_stderr(int fd)
{
    int before = dup(STDERR_FILENO);

    assert_true(before >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    return before;
}

/* A log whose events, and maybe access lines, go to a pipe that others share: it must not be made non-blocking. */
static struct log *open_at_pipe(const char *access, int pipe_fd)
{
    int before = swap_stderr(pipe_fd);
    struct log *log = open_at(access, "stderr", LOG_TEXT);

    close(swap_stderr(before));
    close(before);
    assert_int_equal(fcntl(pipe_fd, F_GETFL) & O_NONBLOCK, 0);
    return log;
}

static void test_a_pipe_that_nobody_reads_stops_neither_the_loop_nor_the_other_stream(void **state)
{
    struct place place = make_place();
    char line[1000];
    struct log *log;
    int pipe_fds[2];

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    log = open_at_pipe(place.access, pipe_fds[1]);
    for (int i = 0; i < 3000; i++) { /* 3 MB: the pipe and the ring are full long before */
        (void)log_line(log, LOG_EVENTS, bytes_of(line, sizeof(line)));
    }
    assert_true(log_dropped_count(log, LOG_EVENTS) > 1500);
    assert_true(log_line(log, LOG_ACCESS, BYTES("flows")));
    wait_until_written(place.access);
    assert_int_equal(log_dropped_count(log, LOG_ACCESS), 0);
    log_close(log, 50); /* gives up: nobody will ever read */
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_file(place.access, "flows\n");
    remove_place(&place);
}

static void test_a_blocked_sink_can_be_replaced(void **state)
{
    struct place place = make_place();
    const struct log_sink sinks[LOG_STREAM_COUNT] = {{place.access, LOG_JSON, LOG_DEBUG},
                                                     {place.events, LOG_TEXT, LOG_INFO}};
    char line[6000]; /* goes into a pipe in two parts */
    struct pollfd readable;
    char why[128];
    struct log *log;
    int pipe_fds[2];
    char *text;

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_true(fcntl(pipe_fds[1], F_SETPIPE_SZ, 4096) >= 0);
    log = open_at_pipe(place.access, pipe_fds[1]);
    for (int i = 0; i < 1000; i++) {
        (void)log_line(log, LOG_EVENTS, bytes_of(line, sizeof(line)));
    }
    readable = (struct pollfd){.fd = pipe_fds[0], .events = POLLIN};
    assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1); /* the first part of the first line is in it */
    assert_int_equal(log_configure(log, sinks, why, sizeof(why)), ERR_OK);
    log_close(log, PATIENCE_MS);
    text = read_whole(place.events);
    /* Only whole lines, though the writer stood in the middle of the old sink. */
    for (char *at = text; *at != '\0'; at += sizeof(line) + 1) {
        assert_memory_equal(at, line, sizeof(line));
        assert_int_equal(at[sizeof(line)], '\n');
    }
    assert_true(strlen(text) > LOG_RING_BYTES / 2);
    free(text);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    remove_place(&place);
}

static void wait_until_dropped(const struct log *log, enum log_stream stream, uint64_t count)
{
    for (int ms = 0; ms < PATIENCE_MS && log_dropped_count(log, stream) < count; ms++) {
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(log_dropped_count(log, stream), count);
}

static void test_a_closed_pipe_loses_lines_and_counts_them(void **state)
{
    struct log *log;
    int pipe_fds[2];
    char text[8];

    (void)state;
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    log = open_at_pipe("/dev/null", pipe_fds[1]);
    close(pipe_fds[1]);
    assert_true(log_line(log, LOG_EVENTS, BYTES("one")));
    assert_int_equal(read(pipe_fds[0], text, sizeof(text)), 4); /* the writer has an end of its own */
    close(pipe_fds[0]);
    assert_true(log_line(log, LOG_EVENTS, BYTES("two")));
    assert_true(log_line(log, LOG_EVENTS, BYTES("three")));
    log_audit_fields(log, "unknown", "a payment's outcome is unknown", NULL, 0);
    wait_until_dropped(log, LOG_EVENTS, 3);
    assert_int_equal(log_audit_lost_count(log), 1);
    log_close(log, PATIENCE_MS);
}

static void *close_log(void *log)
{
    log_close(log, PATIENCE_MS);
    return NULL;
}

static void test_two_streams_in_one_pipe_do_not_mix_their_lines(void **state)
{
    enum { LINES = 250 };
    static char text[2 * LINES * 702 + 1];
    char line[701];
    pthread_t closer;
    struct log *log;
    int pipe_fds[2];
    size_t len = 0;
    int before;

    (void)state;
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    before = swap_stderr(pipe_fds[1]);
    log = open_at("stderr", "stderr", LOG_TEXT);
    close(swap_stderr(before));
    close(before);
    close(pipe_fds[1]);
    for (int i = 0; i < LINES; i++) { /* both fit into their rings */
        memset(line, 'a', sizeof(line));
        assert_true(log_line(log, LOG_ACCESS, bytes_of(line, sizeof(line))));
        memset(line, 'e', sizeof(line));
        assert_true(log_line(log, LOG_EVENTS, bytes_of(line, sizeof(line))));
    }
    assert_int_equal(pthread_create(&closer, NULL, close_log, log), 0); /* waits for us to read */
    for (ssize_t got = 1; got > 0; len += (size_t)got) {
        got = read(pipe_fds[0], text + len, sizeof(text) - len);
        assert_true(got >= 0);
    }
    assert_int_equal(pthread_join(closer, NULL), 0);
    close(pipe_fds[0]);
    assert_int_equal(len, (size_t)2 * LINES * 702);
    for (char *at = text; at < text + len; at += 702) {
        assert_int_equal(at[701], '\n');
        memset(line, at[0], sizeof(line));
        assert_memory_equal(at, line, sizeof(line));
    }
}

static void test_a_full_disk_keeps_lines_until_there_is_room(void **state)
{
    struct place place = make_place();
    const struct log_sink sinks[LOG_STREAM_COUNT] = {{place.access, LOG_JSON, LOG_DEBUG},
                                                     {"/dev/null", LOG_TEXT, LOG_INFO}};
    struct log *log = open_at("/dev/full", "/dev/null", LOG_TEXT);
    char why[128];

    (void)state;
    assert_true(log_line(log, LOG_ACCESS, BYTES("patient")));
    for (int ms = 0; ms < PATIENCE_MS && atomic_load(&log->writers[LOG_ACCESS]->full_count) == 0; ms++) {
        (void)poll(NULL, 0, 1);
    }
    assert_true(atomic_load(&log->writers[LOG_ACCESS]->full_count) > 0);
    assert_int_equal(log_dropped_count(log, LOG_ACCESS), 0);
    assert_int_equal(log_configure(log, sinks, why, sizeof(why)), ERR_OK);
    log_close(log, PATIENCE_MS);
    assert_file(place.access, "patient\n");
    remove_place(&place);
}

static void test_a_disk_that_stays_full_ends_the_close_in_time(void **state)
{
    struct log *log = open_at("/dev/full", "/dev/null", LOG_TEXT);

    (void)state;
    assert_true(log_line(log, LOG_ACCESS, BYTES("lost")));
    log_close(log, 20); /* hangs here if it does not give up */
}

static void test_before_it_is_configured_lines_go_nowhere(void **state)
{
    struct log *log = log_open();

    (void)state;
    assert_non_null(log);
    for (int i = 0; i < 1000; i++) { /* more than a ring would hold */
        static const char line[4000];

        assert_true(log_line(log, LOG_ACCESS, bytes_of(line, sizeof(line))));
    }
    assert_false(log_enabled(log, LOG_ERROR));
    log_say(log, LOG_ERROR, "nothing", "nobody listens");
    assert_int_equal(log_dropped_count(log, LOG_EVENTS), 0);
    log_close(log, PATIENCE_MS);
    log_close(NULL, 0);
    assert_false(log_enabled(NULL, LOG_ERROR));
    log_say(NULL, LOG_ERROR, "nothing", "nobody listens");
}

static void test_a_line_that_is_too_long_is_dropped_and_counted(void **state)
{
    static char line[LOG_LINE_BYTES + 1];
    struct place place = make_place();
    struct log *log = open_at(place.access, place.events, LOG_JSON);
    char *text;

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_false(log_line(log, LOG_ACCESS, bytes_of(line, sizeof(line))));
    assert_int_equal(log_dropped_count(log, LOG_ACCESS), 1);
    assert_true(log_line(log, LOG_ACCESS, bytes_of(line, LOG_LINE_BYTES)));
    assert_true(log_line(log, LOG_ACCESS, BYTES_NONE));
    log_close(log, PATIENCE_MS);
    text = read_whole(place.access);
    assert_int_equal(strlen(text), LOG_LINE_BYTES + 2);
    free(text);
    remove_place(&place);
}

/* Writes one event and gives its line without the stamp's value. */
static void event_line(enum log_format format, const struct log_field *fields, int count, char *out, size_t size)
{
    struct place place = make_place();
    struct log *log = open_at(place.access, place.events, format);
    char *text;

    log_event_fields(log, LOG_DEBUG, "hidden", "below the level", NULL, 0);
    log_event_fields(log, LOG_WARN, "processor_connect_failed", "cannot connect to 4111111111111111", fields, count);
    log_close(log, PATIENCE_MS);
    text = read_whole(place.events);
    (void)snprintf(out, size, "%s", text + (format == LOG_JSON ? 36 : 25));
    free(text);
    remove_place(&place);
}

static void test_event_lines_are_json_with_cards_masked(void **state)
{
    const struct log_field fields[] = {
        LOG_T("processor", "ac\"me"),
        LOG_N("attempt", 3),
        LOG_T("why", NULL),
        LOG_B("path", BYTES("/c/4111 1111 1111 1111\n")),
    };
    char line[1024];

    (void)state;
    event_line(LOG_JSON, fields, ARRAY_COUNT(fields), line, sizeof(line));
    assert_string_equal(line, "\"level\":\"warn\",\"event\":\"processor_connect_failed\","
                              "\"message\":\"cannot connect to 411111******1111\",\"processor\":\"ac\\\"me\","
                              "\"attempt\":3,\"why\":null,\"path\":\"/c/4111 11** **** 1111\\n\"}\n");
}

static void test_event_lines_as_text_stay_one_line(void **state)
{
    const struct log_field fields[] = {
        LOG_T("processor", "acme"), LOG_N("attempt", 3), LOG_T("why", NULL),
        LOG_T("text", "a b=c\n"),   LOG_T("empty", ""),  LOG_B("card", BYTES("4111111111111111")),
    };
    char line[1024];

    (void)state;
    event_line(LOG_TEXT, fields, ARRAY_COUNT(fields), line, sizeof(line));
    assert_string_equal(line, "warn processor_connect_failed cannot connect to 411111******1111 processor=acme "
                              "attempt=3 why=null text=\"a b=c\\n\" empty=\"\" card=411111******1111\n");
}

static void test_an_escape_before_a_card_does_not_hide_it(void **state)
{
    const struct log_field fields[] = {LOG_T("x", "\x01\xff"
                                                  "4111111111111111")};
    char line[1024];

    (void)state;
    event_line(LOG_JSON, fields, 1, line, sizeof(line));
    assert_non_null(strstr(line, "\"x\":\"\\u0001\\u00ff411111******1111\"}\n"));
}

static void test_long_values_are_cut_and_too_many_fields_leave_a_whole_line(void **state)
{
    static char value[3000];
    struct log_field fields[20];
    static char line[LOG_LINE_BYTES + 100];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    memcpy(value + 1020, "4111111111111111", 16); /* the cut goes through it */
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        fields[i] = LOG_T("f", value);
    }
    event_line(LOG_JSON, fields, ARRAY_COUNT(fields), line, sizeof(line));
    assert_non_null(strstr(line, "vvv4111...\""));
    assert_non_null(strstr(line, ",\"cut\":true}\n"));
    event_line(LOG_TEXT, fields, ARRAY_COUNT(fields), line, sizeof(line));
    assert_int_equal(line[strlen(line) - 1], '\n');
}

static void test_audit_lines_have_room_when_others_have_not(void **state)
{
    struct place place = make_place();
    char line[1000];
    struct log *log;
    int pipe_fds[2];
    uint64_t dropped;

    (void)state;
    memset(line, 'x', sizeof(line));
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    log = open_at_pipe(place.access, pipe_fds[1]);
    /* Until the pipe has taken what it can, and the ring is full for ordinary lines for good. */
    for (int in_a_row = 0; in_a_row < 100;) {
        in_a_row = log_line(log, LOG_EVENTS, bytes_of(line, sizeof(line))) ? 0 : in_a_row + 1;
        if (in_a_row > 0) {
            (void)poll(NULL, 0, 1);
        }
    }
    dropped = log_dropped_count(log, LOG_EVENTS);
    for (int i = 0; i < 100; i++) {
        log_audit_fields(log, "unknown", "a payment's outcome is unknown", NULL, 0);
    }
    assert_int_equal(log_dropped_count(log, LOG_EVENTS), dropped);
    assert_int_equal(log_audit_lost_count(log), 0);
    for (int i = 0; i < 1000; i++) { /* more than the reserve */
        log_audit_fields(log, "unknown", "a payment's outcome is unknown", NULL, 0);
    }
    assert_true(log_audit_lost_count(log) > 0);
    log_close(log, 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    remove_place(&place);
}

static void test_audit_lines_are_written_at_every_level(void **state)
{
    struct place place = make_place();
    const struct log_sink sinks[LOG_STREAM_COUNT] = {{"/dev/null", LOG_JSON, LOG_DEBUG},
                                                     {place.events, LOG_JSON, LOG_ERROR}};
    struct log *log = log_open();
    char why[128];
    char *text;

    (void)state;
    assert_int_equal(log_configure(log, sinks, why, sizeof(why)), ERR_OK);
    log_say(log, LOG_WARN, "hidden", "x");
    log_audit_fields(log, "resolved", "by an operator", (const struct log_field[]){LOG_T("record", "ab12")}, 1);
    log_close(log, PATIENCE_MS);
    text = read_whole(place.events);
    assert_string_equal(text + 36, "\"level\":\"info\",\"event\":\"resolved\",\"audit\":true,"
                                   "\"message\":\"by an operator\",\"record\":\"ab12\"}\n");
    free(text);
    remove_place(&place);
}

static void test_stamps_are_rfc_3339_in_utc(void **state)
{
    char text[LOG_TIME_BYTES];

    (void)state;
    log_time_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    log_time_format(UINT64_C(1763805600000001), text);
    assert_string_equal(text, "2025-11-22T10:00:00.000001Z");
    log_time_format(UINT64_C(1763805600999999), text); /* the same second, from the cache */
    assert_string_equal(text, "2025-11-22T10:00:00.999999Z");
    log_time_format(UINT64_C(1709164799123456), text);
    assert_string_equal(text, "2024-02-28T23:59:59.123456Z");
    log_time_format(UINT64_C(1709164800000000), text);
    assert_string_equal(text, "2024-02-29T00:00:00.000000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_arrive_whole_and_in_order),
        cmocka_unit_test(test_new_files_are_readable_by_the_group_only),
        cmocka_unit_test(test_an_existing_file_is_continued),
        cmocka_unit_test(test_a_sink_that_cannot_be_opened_changes_nothing),
        cmocka_unit_test(test_reopen_goes_on_in_a_new_file),
        cmocka_unit_test(test_a_failed_reopen_keeps_the_old_file),
        cmocka_unit_test(test_a_pipe_that_nobody_reads_stops_neither_the_loop_nor_the_other_stream),
        cmocka_unit_test(test_a_blocked_sink_can_be_replaced),
        cmocka_unit_test(test_a_closed_pipe_loses_lines_and_counts_them),
        cmocka_unit_test(test_two_streams_in_one_pipe_do_not_mix_their_lines),
        cmocka_unit_test(test_a_full_disk_keeps_lines_until_there_is_room),
        cmocka_unit_test(test_a_disk_that_stays_full_ends_the_close_in_time),
        cmocka_unit_test(test_before_it_is_configured_lines_go_nowhere),
        cmocka_unit_test(test_a_line_that_is_too_long_is_dropped_and_counted),
        cmocka_unit_test(test_event_lines_are_json_with_cards_masked),
        cmocka_unit_test(test_event_lines_as_text_stay_one_line),
        cmocka_unit_test(test_an_escape_before_a_card_does_not_hide_it),
        cmocka_unit_test(test_long_values_are_cut_and_too_many_fields_leave_a_whole_line),
        cmocka_unit_test(test_audit_lines_have_room_when_others_have_not),
        cmocka_unit_test(test_audit_lines_are_written_at_every_level),
        cmocka_unit_test(test_stamps_are_rfc_3339_in_utc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
