/*
 * A client of the benchmark for what wrk cannot do: a new connection (and, over
 * TLS, a full handshake) for each request, and requests at a fixed rate whose
 * latency counts from the moment they were due, not from the moment a connection
 * was free (wrk omits the waiting that a slow answer causes to those behind it).
 * One thread, one epoll. Requests have no body, answers need a Content-Length.
 *
 * bench_load --port N --connections N --seconds N [--tls] [--new | --rate PER_SECOND]
 * prints one JSON object: answers, errors, resumed, latency percentiles in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES_MAX = 4096, READ_BYTES = 65536, EVENTS_MAX = 512, DUE_MAX = 65536, CONNECTIONS_MAX = 16384 };
enum { BUCKET_BITS = 5, BUCKET_COUNT = 32 << BUCKET_BITS }; /* 32 steps for each power of two: 3 % */

enum caller_state { CALLER_CONNECTING, CALLER_IDLE, CALLER_WAITING, CALLER_CLOSING };

struct caller {
    int fd;
    SSL *ssl; /* NULL: plain */
    enum caller_state state;
    uint64_t due_us;        /* latency counts from here */
    size_t head_len;        /* bytes of the answer's head held so far */
    size_t body_left_bytes; /* once the head is whole */
    bool head_whole;
    char head[HEAD_BYTES_MAX + 1];
};

static struct {
    int port, connections, seconds;
    long rate; /* requests a second; 0: closed loop */
    bool tls, new_connections;
} options;

static struct {
    uint64_t answers, errors, resumed;
    uint64_t buckets[BUCKET_COUNT];
    uint64_t max_us;
} result;

/* Requests that are due and have no free connection; and the connections that are free. */
static uint64_t due_us[DUE_MAX];
static size_t due_first, due_count;
static struct caller **idle;
static size_t idle_count;

static SSL_CTX *tls;
static int epoll;
static const char *request;
static char read_buffer[READ_BYTES];

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static size_t bucket_of(uint64_t us)
{
    if (us < (1U << BUCKET_BITS))
        return (size_t)us;
    unsigned int power = 63 - (unsigned int)__builtin_clzll(us);
    size_t bucket =
        ((size_t)(power - BUCKET_BITS + 1) << BUCKET_BITS) + (us >> (power - BUCKET_BITS)) - (1U << BUCKET_BITS);
    return bucket < BUCKET_COUNT ? bucket : BUCKET_COUNT - 1;
}

static uint64_t bucket_value_us(size_t bucket)
{
    size_t power = bucket >> BUCKET_BITS, step = bucket & ((1U << BUCKET_BITS) - 1);
    if (power == 0)
        return step;
    return (uint64_t)(step + (1U << BUCKET_BITS)) << (power - 1);
}

static uint64_t percentile_us(double share)
{
    uint64_t wanted = (uint64_t)((double)result.answers * share), seen = 0;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        seen += result.buckets[i];
        if (seen > wanted)
            return bucket_value_us(i);
    }
    return result.max_us;
}

static void answer_count(const struct caller *caller)
{
    uint64_t took_us = now_us() - caller->due_us;
    result.answers++;
    result.buckets[bucket_of(took_us)]++;
    if (took_us > result.max_us)
        result.max_us = took_us;
}

static void caller_open(struct caller *caller)
{
    int one = 1;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    caller->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    caller->state = CALLER_CONNECTING;
    caller->due_us = now_us();
    caller->head_len = 0;
    caller->head_whole = false;
    if (caller->fd < 0 ||
        (connect(caller->fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 && errno != EINPROGRESS)) {
        perror("load: connect");
        exit(1);
    }
    setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (tls) {
        caller->ssl = SSL_new(tls);
        if (!caller->ssl || SSL_set_fd(caller->ssl, caller->fd) != 1)
            exit(1);
        SSL_set_connect_state(caller->ssl);
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = caller};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, caller->fd, &event) != 0) {
        perror("load: epoll");
        exit(1);
    }
}

static void caller_reopen(struct caller *caller)
{
    SSL_free(caller->ssl);
    caller->ssl = NULL;
    close(caller->fd);
    caller_open(caller);
}

static void caller_fail(struct caller *caller)
{
    result.errors++;
    if (result.errors > 1000) {
        fprintf(stderr, "load: more than 1000 errors\n");
        exit(1);
    }
    caller_reopen(caller);
}

static void caller_ask(struct caller *caller)
{
    size_t len = strlen(request);
    caller->state = CALLER_WAITING;
    caller->head_len = 0;
    caller->head_whole = false;
    ssize_t wrote = caller->ssl ? SSL_write(caller->ssl, request, (int)len) : write(caller->fd, request, len);
    if (wrote != (ssize_t)len)
        caller_fail(caller);
}

/* A connection is free: it takes what is due, or waits for the next. */
static void caller_next(struct caller *caller)
{
    if (options.rate == 0) {
        if (!options.new_connections) /* a new connection is part of its request */
            caller->due_us = now_us();
        caller_ask(caller);
        return;
    }
    caller->state = CALLER_IDLE;
    if (due_count == 0) {
        idle[idle_count++] = caller;
        return;
    }
    caller->due_us = due_us[due_first];
    due_first = (due_first + 1) % DUE_MAX;
    due_count--;
    caller_ask(caller);
}

static void on_connected(struct caller *caller)
{
    if (caller->ssl) {
        int done = SSL_do_handshake(caller->ssl);
        if (done != 1) {
            int want = SSL_get_error(caller->ssl, done);
            if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
                caller_fail(caller);
            return;
        }
        result.resumed += (uint64_t)SSL_session_reused(caller->ssl);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = caller};
    epoll_ctl(epoll, EPOLL_CTL_MOD, caller->fd, &event);
    caller_next(caller);
}

/* Takes bytes of the answer; false: not an answer that this client understands. */
static bool answer_take(struct caller *caller, const char *bytes, size_t len)
{
    if (!caller->head_whole) {
        size_t held = caller->head_len, room = HEAD_BYTES_MAX - held, taken = len < room ? len : room;
        memcpy(caller->head + held, bytes, taken);
        caller->head_len += taken;
        caller->head[caller->head_len] = '\0';
        const char *end = strstr(caller->head, "\r\n\r\n");
        if (!end)
            return taken == len;
        const char *length = strcasestr(caller->head, "\r\ncontent-length:");
        if (!length || length > end || strncmp(caller->head, "HTTP/1.1 200", 12) != 0)
            return false;
        size_t used = (size_t)(end - caller->head) + 4 - held;
        caller->head_whole = true;
        caller->body_left_bytes = strtoul(length + 17, NULL, 10);
        len -= used;
    }
    if (len > caller->body_left_bytes)
        return false;
    caller->body_left_bytes -= len;
    return true;
}

static void on_answered(struct caller *caller)
{
    answer_count(caller);
    if (options.new_connections)
        caller->state = CALLER_CLOSING; /* the server said that it closes: wait for it */
    else
        caller_next(caller);
}

static void on_ended(struct caller *caller)
{
    if (caller->state == CALLER_CLOSING)
        caller_reopen(caller);
    else
        caller_fail(caller);
}

static void on_readable(struct caller *caller)
{
    for (;;) {
        ssize_t len =
            caller->ssl ? SSL_read(caller->ssl, read_buffer, READ_BYTES) : read(caller->fd, read_buffer, READ_BYTES);
        if (len <= 0) {
            bool again =
                caller->ssl ? SSL_get_error(caller->ssl, (int)len) == SSL_ERROR_WANT_READ : len < 0 && errno == EAGAIN;
            if (!again)
                on_ended(caller);
            return;
        }
        if (caller->state != CALLER_WAITING || !answer_take(caller, read_buffer, (size_t)len)) {
            caller_fail(caller);
            return;
        }
        if (caller->head_whole && caller->body_left_bytes == 0) {
            on_answered(caller);
            if (!options.new_connections)
                return;
        }
    }
}

static uint64_t request_due_us(uint64_t start_us, uint64_t made)
{
    return start_us + made * 1000000 / (uint64_t)options.rate;
}

static void ticker_set(int ticker, uint64_t at_us)
{
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(at_us / 1000000), .tv_nsec = (long)(at_us % 1000000) * 1000}};
    if (timerfd_settime(ticker, TFD_TIMER_ABSTIME, &at, NULL) != 0) {
        perror("load: timer");
        exit(1);
    }
}

static int ticker_open(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        perror("load: timer");
        exit(1);
    }
    return fd;
}

/* Requests fall due by the clock alone; a queue of them that is full is an overload, counted as errors. */
static void on_due(int ticker, uint64_t start_us, uint64_t *made)
{
    for (uint64_t now = now_us(); request_due_us(start_us, *made) <= now; *made += 1) {
        if (due_count == DUE_MAX) {
            result.errors++;
            continue;
        }
        due_us[(due_first + due_count++) % DUE_MAX] = request_due_us(start_us, *made);
        if (idle_count > 0)
            caller_next(idle[--idle_count]);
    }
    ticker_set(ticker, request_due_us(start_us, *made)); /* also clears what was readable */
}

static void on_event(const struct epoll_event *event)
{
    struct caller *caller = event->data.ptr;
    if (!caller) /* the ticker: what is due is seen to once a turn */
        return;
    if (caller->state == CALLER_CONNECTING)
        on_connected(caller);
    else if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(caller);
}

static void events_run(void)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t start_us = now_us(), made = 0, run_us = (uint64_t)options.seconds * 1000000;
    int ticker = -1;
    while (now_us() < start_us + run_us) {
        /* The rate begins once all connections stand, so that opening them is nobody's latency. */
        if (options.rate > 0 && ticker < 0 && idle_count == (size_t)options.connections) {
            ticker = ticker_open();
            start_us = now_us();
        }
        if (ticker >= 0)
            on_due(ticker, start_us, &made);
        int count = epoll_wait(epoll, events, EVENTS_MAX, 100);
        for (int i = 0; i < count; i++)
            on_event(&events[i]);
    }
}

static bool options_read(int argc, char **argv)
{
    static const struct option table[] = {
        {"port", required_argument, NULL, 'p'},
        {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},
        {"tls", no_argument, NULL, 't'},
        {"new", no_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        long value = optarg ? strtol(optarg, NULL, 10) : 0;
        switch (option) {
        case 'p':
            options.port = (int)value;
            break;
        case 'c':
            options.connections = (int)value;
            break;
        case 's':
            options.seconds = (int)value;
            break;
        case 'r':
            options.rate = value;
            break;
        case 't':
            options.tls = true;
            break;
        case 'n':
            options.new_connections = true;
            break;
        default:
            return false;
        }
    }
    return options.port > 0 && options.port < 65536 && options.connections > 0 &&
           options.connections <= CONNECTIONS_MAX && options.seconds > 0 && options.rate >= 0 &&
           !(options.rate > 0 && options.new_connections);
}

static void result_print(double seconds)
{
    printf("{\"answers\": %llu, \"errors\": %llu, \"resumed\": %llu, \"seconds\": %.3f, \"p50_us\": %llu, "
           "\"p90_us\": %llu, \"p99_us\": %llu, \"p999_us\": %llu, \"max_us\": %llu}\n",
           (unsigned long long)result.answers, (unsigned long long)result.errors, (unsigned long long)result.resumed,
           seconds, (unsigned long long)percentile_us(0.5), (unsigned long long)percentile_us(0.9),
           (unsigned long long)percentile_us(0.99), (unsigned long long)percentile_us(0.999),
           (unsigned long long)result.max_us);
}

int main(int argc, char **argv)
{
    if (!options_read(argc, argv)) {
        fprintf(stderr, "usage: bench_load --port N --connections N --seconds N [--tls] [--new | --rate N]\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    request = options.new_connections ? "GET /v1/payments HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                                      : "GET /v1/payments HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    epoll = epoll_create1(EPOLL_CLOEXEC);
    tls = options.tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (tls) /* full handshakes alone */
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    struct caller *callers = calloc((size_t)options.connections, sizeof(*callers));
    idle = calloc((size_t)options.connections, sizeof(*idle));
    if (epoll < 0 || !callers || !idle || (options.tls && !tls)) {
        perror("load");
        return 1;
    }
    for (int i = 0; i < options.connections; i++)
        caller_open(&callers[i]);
    events_run();
    result_print((double)options.seconds);
    return 0;
}
