/*
 * The processor's stand-in for the benchmark: every request head gets the same
 * answer, written in one call. It knows requests without a body only, counts
 * what it answered in a file that the measuring side maps (so that CPU time and
 * requests are read at the same two instants, in the middle of a run), and
 * closes where the request says Connection: close. It never delays and never fails.
 *
 * bench_backend PORT BODY_BYTES COUNTER_FILE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FD_MAX = 65536, EVENTS_MAX = 512, READ_BYTES = 65536, HEAD_BYTES = 512, BODY_BYTES_MAX = 1 << 20 };

struct answer {
    char bytes[HEAD_BYTES + BODY_BYTES_MAX];
    size_t len;
};

static struct answer answer_keep, answer_close;
static uint8_t head_end_matched[FD_MAX]; /* by descriptor: bytes of the blank line seen so far */
static char read_buffer[READ_BYTES];
static volatile uint64_t *answered_count;

static bool answer_build(struct answer *answer, size_t body_bytes, const char *connection)
{
    int head_bytes = snprintf(answer->bytes, HEAD_BYTES,
                              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: processor\r\n"
                              "Date: Sun, 22 Nov 2026 00:00:00 GMT\r\nX-Request-Id: 0123456789abcdef\r\n"
                              "%sContent-Length: %zu\r\n\r\n",
                              connection, body_bytes);
    if (head_bytes < 0 || head_bytes >= HEAD_BYTES || body_bytes > BODY_BYTES_MAX)
        return false;
    memset(answer->bytes + head_bytes, 'x', body_bytes);
    answer->len = (size_t)head_bytes + body_bytes;
    return true;
}

/* How many request heads ended in these bytes; a blank line may be cut between two reads. */
static int heads_end(int fd, const char *bytes, size_t len)
{
    static const char blank[4] = "\r\n\r\n";
    uint8_t matched = head_end_matched[fd];
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == blank[matched])
            matched++;
        else
            matched = bytes[i] == '\r';
        if (matched == sizeof(blank)) {
            matched = 0;
            count++;
        }
    }
    head_end_matched[fd] = matched;
    return count;
}

static void on_readable(int fd)
{
    static const char closing[] = "\r\nConnection: close";
    ssize_t len = read(fd, read_buffer, sizeof(read_buffer));
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        close(fd);
        return;
    }
    bool close_after = memmem(read_buffer, (size_t)len, closing, sizeof(closing) - 1) != NULL;
    const struct answer *answer = close_after ? &answer_close : &answer_keep;
    for (int count = heads_end(fd, read_buffer, (size_t)len); count > 0; count--) {
        *answered_count += 1;
        if (write(fd, answer->bytes, answer->len) != (ssize_t)answer->len || close_after) {
            close(fd);
            return;
        }
    }
}

static void on_listener(int epoll, int listener)
{
    int one = 1;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (fd >= FD_MAX) {
            close(fd);
            continue;
        }
        head_end_matched[fd] = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            close(fd);
    }
}

static int listener_open(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 4096) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool counter_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof(uint64_t)) != 0)
        return false;
    void *page = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    answered_count = page;
    return page != MAP_FAILED;
}

int main(int argc, char **argv)
{
    long port = argc == 4 ? strtol(argv[1], NULL, 10) : 0;
    long body_bytes = argc == 4 ? strtol(argv[2], NULL, 10) : -1;
    if (port <= 0 || port > 65535 || body_bytes < 0 || !answer_build(&answer_keep, (size_t)body_bytes, "") ||
        !answer_build(&answer_close, (size_t)body_bytes, "Connection: close\r\n")) {
        fprintf(stderr, "usage: bench_backend PORT BODY_BYTES COUNTER_FILE\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = listener_open((int)port), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS_MAX], event = {.events = EPOLLIN, .data.fd = listener};
    if (listener < 0 || epoll < 0 || !counter_map(argv[3]) || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        perror("backend");
        return 1;
    }
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                on_listener(epoll, listener);
            else
                on_readable(events[i].data.fd);
        }
    }
}
