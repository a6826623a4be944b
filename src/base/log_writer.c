/*
 * The thread behind one stream. While lines come it drains its ring every few
 * milliseconds, so that putting a line costs no system call; it sleeps only
 * when the ring stayed empty. Only this thread waits for a sink:
 *   - a full disk: lines stay in the ring and are tried again;
 *   - a pipe that nobody reads: it waits for room, and for a new descriptor;
 *   - a closed pipe: lines are lost and counted.
 * A descriptor of another process (stdout) is never made non-blocking, since
 * that would change it for everyone who shares it: writes to what is not a file
 * wait for POLLOUT and stay within PIPE_BUF instead.
 */
#include "log_internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define GATHER_MS   5 /* at 600 bytes a line the ring holds this of 80 000 lines a second */
#define RETRY_MS    100 /* after a full disk */
#define STACK_BYTES ((size_t)256 << 10)

enum progress {
    PROGRESS_MADE,
    PROGRESS_WAIT, /* the sink is full: try again later */
};

/* Waits for a wake, at most `wait_ms` (-1: for ever), and forgets it. */
static void wait_for_wake(struct log_writer *writer, int wait_ms)
{
    struct pollfd wake = {.fd = writer->wake_fd, .events = POLLIN};
    uint64_t count;

    if (poll(&wake, 1, wait_ms) > 0) {
        (void)!read(writer->wake_fd, &count, sizeof(count)); /* the count says nothing; the flags do */
    }
}

static void send_wake(struct log_writer *writer)
{
    const uint64_t one = 1;

    /* Fails only when the count is at its end, and then the thread is awake. */
    (void)!write(writer->wake_fd, &one, sizeof(one));
}

static void sleep_until_woken(struct log_writer *writer)
{
    atomic_store(&writer->sleeping, true);
    /* Whoever puts after this look sees `sleeping`: both sides use sequentially consistent order. */
    atomic_thread_fence(memory_order_seq_cst);
    if (log__ring_len(&writer->ring) == 0 && !atomic_load(&writer->closing) && atomic_load(&writer->next_fd) < 0) {
        wait_for_wake(writer, -1);
    }
    atomic_store(&writer->sleeping, false);
}

/* The bytes up to and with the first newline; everything when there is none. */
static size_t first_line(const char *at, size_t len)
{
    const char *end = memchr(at, '\n', len);

    return end == NULL ? len : (size_t)(end - at) + 1;
}

/* The rest of a line whose beginning was written cannot go elsewhere: it is lost. */
static void lose_line_rest(struct log_writer *writer)
{
    size_t len = log__ring_peek(&writer->ring, writer->out, sizeof(writer->out));

    if (writer->mid_line) {
        log__ring_take(&writer->ring, first_line(writer->out, len), true);
        writer->mid_line = false;
    }
}

static void adopt_next_fd(struct log_writer *writer)
{
    int fd = atomic_exchange(&writer->next_fd, -1);
    struct stat stat;

    if (fd < 0) {
        return;
    }
    lose_line_rest(writer);
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    writer->fd = fd;
    writer->is_file = fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
    writer->broken = false;
}

static bool is_interrupted(const struct log_writer *writer)
{
    return atomic_load(&writer->giving_up) || atomic_load(&writer->next_fd) >= 0;
}

/* Waits until the sink takes bytes. False: something else came up first. */
static bool wait_writable(struct log_writer *writer)
{
    struct pollfd fds[2] = {{.fd = writer->fd, .events = POLLOUT}, {.fd = writer->wake_fd, .events = POLLIN}};
    uint64_t count;

    for (;;) {
        if (is_interrupted(writer)) {
            return false;
        }
        if (poll(fds, 2, -1) < 0) {
            if (errno != EINTR) {
                return false;
            }
            continue;
        }
        if (fds[0].revents != 0) {
            return true; /* an error too: the write will name it */
        }
        (void)!read(writer->wake_fd, &count, sizeof(count)); /* as in wait_for_wake */
    }
}

/*
 * Gathers whole lines into `out`. What is not a file gets no more than PIPE_BUF
 * at a time, so that lines of others in the same pipe do not end up inside ours;
 * a line that is longer goes alone, in parts.
 */
static size_t gather(struct log_writer *writer)
{
    size_t max = writer->is_file ? sizeof(writer->out) : PIPE_BUF;
    size_t ahead = writer->broken ? 1 : 0;
    size_t len;
    const char *end;

    writer->out[0] = '\n'; /* ends the broken line, or is overwritten */
    len = ahead + log__ring_peek(&writer->ring, writer->out + ahead, max - ahead);
    end = memrchr(writer->out + ahead, '\n', len - ahead);
    return end == NULL ? len : (size_t)(end - writer->out) + 1;
}

/* After `written` bytes of `out` are with the sink. */
static void note_written(struct log_writer *writer, size_t written)
{
    if (written == 0) {
        return;
    }
    writer->mid_line = writer->out[written - 1] != '\n';
    if (writer->broken) {
        writer->broken = false;
        written--;
    }
    log__ring_take(&writer->ring, written, false);
}

static enum progress on_write_error(struct log_writer *writer, int error)
{
    switch (error) {
    case EINTR:
    case EAGAIN:
        return PROGRESS_MADE;
    case ENOSPC:
    case EDQUOT:
        atomic_fetch_add(&writer->full_count, 1);
        return PROGRESS_WAIT;
    default:
        writer->broken = writer->broken || writer->mid_line;
        writer->mid_line = false;
        log__ring_take(&writer->ring, log__ring_len(&writer->ring), true);
        return PROGRESS_MADE;
    }
}

static enum progress write_some(struct log_writer *writer)
{
    size_t len;
    ssize_t written;

    if (writer->fd < 0) {
        log__ring_take(&writer->ring, log__ring_len(&writer->ring), true);
        return PROGRESS_MADE;
    }
    if (!writer->is_file && !wait_writable(writer)) {
        return PROGRESS_WAIT;
    }
    len = gather(writer);
    written = write(writer->fd, writer->out, len);
    if (written < 0) {
        return on_write_error(writer, errno);
    }
    note_written(writer, (size_t)written);
    return PROGRESS_MADE;
}

/* Until the ring is empty or the sink is full. */
static void drain(struct log_writer *writer)
{
    while (log__ring_len(&writer->ring) > 0 && !atomic_load(&writer->giving_up)) {
        adopt_next_fd(writer);
        if (write_some(writer) == PROGRESS_WAIT && atomic_load(&writer->next_fd) < 0) {
            wait_for_wake(writer, RETRY_MS);
            return;
        }
    }
}

static void *run(void *argument)
{
    struct log_writer *writer = argument;

    while (!atomic_load(&writer->giving_up)) {
        bool closing = atomic_load(&writer->closing); /* read before the drain: what was put before it is written */

        adopt_next_fd(writer);
        drain(writer);
        if (closing && log__ring_len(&writer->ring) == 0) {
            break;
        }
        if (log__ring_len(&writer->ring) == 0) {
            sleep_until_woken(writer);
        }
        if (!atomic_load(&writer->closing)) {
            wait_for_wake(writer, GATHER_MS);
        }
    }
    atomic_store(&writer->ended, true);
    return NULL;
}

static bool start_thread(struct log_writer *writer)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int error;

    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES); /* refused: the default is larger */
    /* Signals are the loop's, and SIGPIPE of a closed pipe must come as EPIPE. */
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    error = pthread_create(&writer->thread, &attributes, run, writer);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    (void)pthread_attr_destroy(&attributes);
    if (error == 0) {
        (void)pthread_setname_np(writer->thread, writer->name); /* for top; nothing depends on it */
    }
    return error == 0;
}

/* Frees what the thread no longer uses. */
static void free_parts(struct log_writer *writer)
{
    int next = atomic_exchange(&writer->next_fd, -1);

    if (next >= 0) {
        close(next);
    }
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    if (writer->wake_fd >= 0) {
        close(writer->wake_fd);
    }
    log__ring_close(&writer->ring);
}

bool log__writer_open(struct log_writer *writer, const char *name, size_t reserve_bytes)
{
    writer->name = name;
    writer->fd = -1;
    atomic_store(&writer->next_fd, -1);
    writer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    writer->started = writer->wake_fd >= 0 && log__ring_open(&writer->ring, reserve_bytes) && start_thread(writer);
    if (!writer->started) {
        free_parts(writer);
    }
    return writer->started;
}

void log__writer_set_fd(struct log_writer *writer, int fd)
{
    int unused = atomic_exchange(&writer->next_fd, fd);

    if (unused >= 0) {
        close(unused); /* replaced before the thread came to it */
    }
    send_wake(writer);
}

void log__writer_wake(struct log_writer *writer)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in sleep_until_woken */
    if (atomic_load_explicit(&writer->sleeping, memory_order_relaxed)) {
        atomic_store_explicit(&writer->sleeping, false, memory_order_relaxed); /* one wake is enough */
        send_wake(writer);
    }
}

void log__writer_close_begin(struct log_writer *writer)
{
    atomic_store(&writer->closing, true);
    send_wake(writer);
}

bool log__writer_close_wait(struct log_writer *writer, const struct timespec *deadline)
{
    struct timespec grace;

    if (pthread_clockjoin_np(writer->thread, NULL, CLOCK_MONOTONIC, deadline) != 0) {
        atomic_store(&writer->giving_up, true);
        send_wake(writer);
        CHECK(clock_gettime(CLOCK_MONOTONIC, &grace) == 0);
        grace.tv_sec += 1;
        if (pthread_clockjoin_np(writer->thread, NULL, CLOCK_MONOTONIC, &grace) != 0) {
            (void)pthread_detach(writer->thread);
            return false;
        }
    }
    CHECK(atomic_load(&writer->ended));
    free_parts(writer);
    return true;
}
