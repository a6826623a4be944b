/*
 * Merchants and processors for bench/sick.py, where a processor is stopped,
 * killed and returns.
 *
 * Callers ask at a fixed rate whatever comes back: a request falls due by the
 * clock, takes a free connection or opens one. Some are payments, the others
 * reads; each has a number that goes with it, and one of fifty credentials, so
 * that no caller is most of the traffic. Nobody asks twice. Number 0 is none of theirs.
 *
 *   bench_sick --port N --seconds N --rate PER_SECOND --payments PERCENT --run WORD
 *
 * prints one line for each: number, kind, when it was due, when it was over (0:
 * never; both in microseconds of CLOCK_MONOTONIC), status (0: the connection
 * broke), Weir-Outcome, Weir-Reason, and which endpoint answered.
 *
 * An endpoint answers after a delay, and notes what it was asked in a file that
 * outlives it: whoever is killed must not take its notes along.
 *
 *   bench_sick --endpoint PORT --name WORD --delay-us N --notes FILE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FD_MAX = 65536, EVENTS_MAX = 512, HEAD_BYTES_MAX = 4096, READ_BYTES = 65536, REQUEST_BYTES_MAX = 512 };
enum { ASKED_MAX = 1 << 20, NOTES_MAX = 1 << 20, OWED_MAX = 1 << 16, CALLERS = 50, WORD_BYTES = 32 };
static const uint64_t patience_us = 5000000; /* after the last was due */

enum kind { KIND_READ, KIND_PAYMENT, KIND_CHECK };
static const char *const kind_names[] = {"read", "payment", "check"};

/* One request, as its caller sees it. */
struct asked {
    uint64_t due_us, over_us;
    uint16_t status;
    uint8_t kind;
    char outcome[12], reason[WORD_BYTES], endpoint[WORD_BYTES];
};

/* One request, as an endpoint sees it; bench/sick.py reads the same. */
struct note {
    uint64_t received_us, answered_us; /* answered 0: not yet */
    uint32_t number, kind;
};
struct notes {
    uint64_t count;
    struct note notes[NOTES_MAX];
};

enum end_kind { END_NONE, END_LISTENER, END_CALLER, END_LINK };
struct end {
    enum end_kind kind;
    uint32_t age; /* of the descriptor: who uses it now is another than who did before */
    bool connecting, waiting, head_whole, closes;
    uint32_t number;
    uint64_t note; /* a link's: its place among the notes */
    size_t head_len, body_left_bytes;
    int status;
    char *head; /* HEAD_BYTES_MAX + 1 */
};

/* Answers that an endpoint owes, oldest first: the delay is the same for all. */
struct owed {
    uint64_t at_us, note;
    int fd;
    uint32_t age;
};

static struct {
    int port, endpoint_port, seconds;
    long rate, payments_percent;
    uint64_t delay_us;
    const char *run, *name, *notes;
} options = {.payments_percent = 20};

static struct end *ends;
static struct asked *asked;
static uint64_t asked_count, over_count;
static int *idle; /* descriptors, the one used last on top */
static size_t idle_count;
static struct notes *notes;
static struct owed *owed;
static size_t owed_first, owed_count;
static char answer[256];
static size_t answer_len;
static char read_buffer[READ_BYTES];
static int epoll;
static uint64_t seed = 88172645463325252u;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- descriptors ---- */

static struct end *end_take(int fd, enum end_kind kind, uint32_t events)
{
    if (fd >= FD_MAX) {
        fprintf(stderr, "sick: too many descriptors\n");
        exit(1);
    }
    struct end *end = &ends[fd];
    char *head = end->head ? end->head : malloc(HEAD_BYTES_MAX + 1);
    if (!head)
        fail("sick");
    *end = (struct end){.kind = kind, .age = end->age + 1, .head = head};
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("sick: epoll");
    return end;
}

static void end_drop(int fd)
{
    ends[fd].kind = END_NONE;
    ends[fd].age++;
    close(fd);
}

static void no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/*
 * Adds bytes to the head; true: it is whole, and *used of them were its. A
 * head that does not fit is never whole: the other side waits for nothing.
 */
static bool head_take(struct end *end, const char *bytes, size_t len, size_t *used)
{
    size_t held = end->head_len, room = HEAD_BYTES_MAX - held, taken = len < room ? len : room;
    memcpy(end->head + held, bytes, taken);
    end->head_len += taken;
    end->head[end->head_len] = '\0';
    char *blank = strstr(end->head, "\r\n\r\n");
    if (!blank)
        return false;
    blank[2] = '\0';
    *used = (size_t)(blank - end->head) + 4 - held;
    end->head_whole = true;
    return true;
}

/* The value of a field, "" where there is none; cut to what `word` has room for. */
static void field_read(const struct end *end, const char *name, char *word, size_t size)
{
    const char *at = strcasestr(end->head, name);
    size_t len = 0;
    if (at) {
        at += strlen(name);
        at += strspn(at, " ");
        len = strcspn(at, "\r");
        len = len < size - 1 ? len : size - 1;
        memcpy(word, at, len);
    }
    word[len] = '\0';
}

static unsigned long field_number(const struct end *end, const char *name)
{
    char word[WORD_BYTES];
    field_read(end, name, word, sizeof(word));
    return strtoul(word, NULL, 10);
}

/* ---- callers ---- */

static void caller_over(struct end *caller, int status)
{
    struct asked *one = &asked[caller->number];
    one->over_us = now_us();
    one->status = (uint16_t)status;
    caller->waiting = false;
    over_count++;
}

static void caller_fail(int fd)
{
    if (ends[fd].waiting)
        caller_over(&ends[fd], 0);
    end_drop(fd);
}

static void caller_ask(int fd)
{
    static const char body[] = "{\"amount\":1299,\"currency\":\"eur\"}";
    char request[REQUEST_BYTES_MAX];
    struct end *caller = &ends[fd];
    unsigned number = caller->number;
    bool pays = asked[number].kind == KIND_PAYMENT;
    int len = snprintf(request, sizeof(request),
                       "%s /v1/payments%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk_live_bench_%u\r\n"
                       "Bench-Number: %u\r\n",
                       pays ? "POST" : "GET", pays ? "" : "/pay_1", number % CALLERS, number + 1);
    len += snprintf(request + len, sizeof(request) - (size_t)len,
                    pays ? "Idempotency-Key: %s-%u\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s"
                         : "\r\n",
                    options.run, number + 1, sizeof(body) - 1, body);
    caller->head_len = 0;
    caller->head_whole = false;
    if (write(fd, request, (size_t)len) != len)
        caller_fail(fd);
}

static void caller_open(uint32_t number)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 && errno != EINPROGRESS))
        fail("sick: connect");
    no_delay(fd);
    struct end *caller = end_take(fd, END_CALLER, EPOLLIN | EPOLLOUT);
    caller->connecting = caller->waiting = true;
    caller->number = number;
}

static void on_due(uint64_t due_us)
{
    uint32_t number = (uint32_t)asked_count++;
    bool pays = random_next() % 100 < (uint64_t)options.payments_percent;
    asked[number].due_us = due_us;
    asked[number].kind = pays ? KIND_PAYMENT : KIND_READ;
    if (idle_count == 0) {
        caller_open(number);
        return;
    }
    int fd = idle[--idle_count];
    ends[fd].waiting = true;
    ends[fd].number = number;
    caller_ask(fd);
}

static void on_answered(int fd)
{
    struct end *caller = &ends[fd];
    struct asked *one = &asked[caller->number];
    field_read(caller, "\r\nWeir-Outcome:", one->outcome, sizeof(one->outcome));
    field_read(caller, "\r\nWeir-Reason:", one->reason, sizeof(one->reason));
    field_read(caller, "\r\nBench-Endpoint:", one->endpoint, sizeof(one->endpoint));
    caller_over(caller, caller->status);
    if (caller->closes)
        end_drop(fd);
    else
        idle[idle_count++] = fd;
}

/* Takes bytes of the answer; false: not an answer that this client understands. */
static bool answer_take(struct end *caller, const char *bytes, size_t len)
{
    size_t used = 0;
    if (!caller->head_whole) {
        if (!head_take(caller, bytes, len, &used))
            return caller->head_len < HEAD_BYTES_MAX;
        if (strncmp(caller->head, "HTTP/1.1 ", 9) != 0 || !strcasestr(caller->head, "\r\nContent-Length:"))
            return false;
        caller->status = (int)strtol(caller->head + 9, NULL, 10);
        caller->closes = strcasestr(caller->head, "\r\nConnection: close\r\n") != NULL;
        caller->body_left_bytes = field_number(caller, "\r\nContent-Length:");
    }
    if (len - used > caller->body_left_bytes)
        return false;
    caller->body_left_bytes -= len - used;
    return true;
}

static void on_connected(int fd, uint32_t events)
{
    int error = 0;
    socklen_t size = sizeof(error);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        caller_fail(fd);
        return;
    }
    epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
    ends[fd].connecting = false;
    caller_ask(fd);
}

static void idle_forget(int fd)
{
    for (size_t i = 0; i < idle_count; i++) {
        if (idle[i] == fd) {
            memmove(idle + i, idle + i + 1, (--idle_count - i) * sizeof(*idle));
            return;
        }
    }
}

static void on_caller(int fd, uint32_t events)
{
    struct end *caller = &ends[fd];
    if (caller->connecting) {
        on_connected(fd, events);
        return;
    }
    ssize_t len = read(fd, read_buffer, READ_BYTES);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (!caller->waiting) { /* closed between two requests */
        idle_forget(fd);
        end_drop(fd);
    } else if (len <= 0 || !answer_take(caller, read_buffer, (size_t)len)) {
        caller_fail(fd);
    } else if (caller->head_whole && caller->body_left_bytes == 0) {
        on_answered(fd);
    }
}

/* ---- an endpoint ---- */

static uint64_t note_add(const struct end *link)
{
    if (notes->count == NOTES_MAX || owed_count == OWED_MAX) {
        fprintf(stderr, "sick: the endpoint was asked too much\n");
        exit(1);
    }
    bool checks = strncmp(link->head, "GET /healthz ", 13) == 0;
    notes->notes[notes->count] = (struct note){
        .received_us = now_us(),
        .number = (uint32_t)field_number(link, "\r\nBench-Number:"),
        .kind = checks                                 ? KIND_CHECK
                : strncmp(link->head, "POST ", 5) == 0 ? KIND_PAYMENT
                                                       : KIND_READ,
    };
    return notes->count++;
}

static void on_link(int fd)
{
    struct end *link = &ends[fd];
    ssize_t len = read(fd, read_buffer, READ_BYTES);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        end_drop(fd);
        return;
    }
    for (size_t at = 0, used = 0; at < (size_t)len; at += used) {
        if (!link->head_whole) {
            if (!head_take(link, read_buffer + at, (size_t)len - at, &used))
                return;
            link->body_left_bytes = field_number(link, "\r\nContent-Length:");
        } else {
            used = (size_t)len - at < link->body_left_bytes ? (size_t)len - at : link->body_left_bytes;
            link->body_left_bytes -= used;
        }
        if (link->head_whole && link->body_left_bytes == 0) {
            uint64_t note = note_add(link);
            owed[(owed_first + owed_count++) % OWED_MAX] =
                (struct owed){now_us() + options.delay_us, note, fd, link->age};
            link->head_whole = false;
            link->head_len = 0;
        }
    }
}

static void owed_pay(void)
{
    while (owed_count > 0 && owed[owed_first].at_us <= now_us()) {
        struct owed one = owed[owed_first];
        owed_first = (owed_first + 1) % OWED_MAX;
        owed_count--;
        if (ends[one.fd].age != one.age)
            continue;
        if (write(one.fd, answer, answer_len) == (ssize_t)answer_len)
            notes->notes[one.note].answered_us = now_us();
        else
            end_drop(one.fd);
    }
}

static void on_listener(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        no_delay(fd);
        end_take(fd, END_LINK, EPOLLIN);
    }
}

static void notes_map(void)
{
    int fd = open(options.notes, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof(*notes)) != 0)
        fail("sick: notes");
    notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (notes == MAP_FAILED)
        fail("sick: notes");
    close(fd);
}

static void endpoint_open(void)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.endpoint_port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 4096) != 0)
        fail("sick: endpoint");
    end_take(fd, END_LISTENER, EPOLLIN);
    answer_len = (size_t)snprintf(answer, sizeof(answer),
                                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nBench-Endpoint: %s\r\n"
                                  "Content-Length: 2\r\n\r\n{}",
                                  options.name);
}

/* ---- a run ---- */

static void wait_and_see(uint64_t until_us)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t now = now_us();
    if (owed_count > 0 && owed[owed_first].at_us < until_us)
        until_us = owed[owed_first].at_us;
    uint64_t wait_us = until_us > now ? until_us - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_us / 1000000), .tv_nsec = (long)(wait_us % 1000000) * 1000};
    int count = epoll_pwait2(epoll, events, EVENTS_MAX, &wait, NULL);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (ends[fd].kind == END_CALLER)
            on_caller(fd, events[i].events);
        else if (ends[fd].kind == END_LINK)
            on_link(fd);
        else if (ends[fd].kind == END_LISTENER)
            on_listener(fd);
    }
    owed_pay();
}

static void endpoint_run(void)
{
    for (;;)
        wait_and_see(now_us() + 1000000);
}

static void callers_run(void)
{
    uint64_t start_us = now_us(), count = (uint64_t)options.seconds * (uint64_t)options.rate;
    while (asked_count < count) {
        uint64_t due_us = start_us + asked_count * 1000000 / (uint64_t)options.rate;
        if (due_us <= now_us())
            on_due(due_us);
        else
            wait_and_see(due_us);
    }
    for (uint64_t until_us = now_us() + patience_us; over_count < asked_count && now_us() < until_us;)
        wait_and_see(until_us);
}

static void asked_print(void)
{
    for (uint64_t i = 0; i < asked_count; i++) {
        const struct asked *one = &asked[i];
        printf("%llu,%s,%llu,%llu,%u,%s,%s,%s\n", (unsigned long long)i + 1, kind_names[one->kind],
               (unsigned long long)one->due_us, (unsigned long long)one->over_us, one->status, one->outcome,
               one->reason, one->endpoint);
    }
}

/* ---- options ---- */

static bool option_take(int option, const char *text)
{
    long value = strtol(text, NULL, 10);
    switch (option) {
    case 'p':
        options.port = (int)value;
        return value > 0 && value < 65536;
    case 'e':
        options.endpoint_port = (int)value;
        return value > 0 && value < 65536;
    case 's':
        options.seconds = (int)value;
        return value > 0;
    case 'r':
        options.rate = value;
        return value > 0;
    case 'P':
        options.payments_percent = value;
        return value >= 0 && value <= 100;
    case 'd':
        options.delay_us = (uint64_t)value;
        return value >= 0;
    case 'R':
        options.run = text;
        return strlen(text) < WORD_BYTES;
    case 'n':
        options.name = text;
        return strlen(text) < WORD_BYTES;
    case 'N':
        options.notes = text;
        return true;
    default:
        return false;
    }
}

static bool options_read(int argc, char **argv)
{
    static const struct option table[] = {
        {"port", required_argument, NULL, 'p'},     {"endpoint", required_argument, NULL, 'e'},
        {"seconds", required_argument, NULL, 's'},  {"rate", required_argument, NULL, 'r'},
        {"payments", required_argument, NULL, 'P'}, {"delay-us", required_argument, NULL, 'd'},
        {"run", required_argument, NULL, 'R'},      {"name", required_argument, NULL, 'n'},
        {"notes", required_argument, NULL, 'N'},    {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (option == '?' || !option_take(option, optarg))
            return false;
    }
    if (options.endpoint_port > 0)
        return options.name && options.notes;
    return options.port > 0 && options.run && options.rate > 0 && options.seconds > 0 &&
           options.seconds * options.rate <= ASKED_MAX;
}

int main(int argc, char **argv)
{
    if (!options_read(argc, argv)) {
        fprintf(stderr, "usage: bench_sick --port N --seconds N --rate N [--payments PERCENT] --run WORD | "
                        "--endpoint PORT --name WORD --delay-us N --notes FILE\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    ends = calloc(FD_MAX, sizeof(*ends));
    asked = calloc(ASKED_MAX, sizeof(*asked));
    idle = calloc(FD_MAX, sizeof(*idle));
    owed = calloc(OWED_MAX, sizeof(*owed));
    if (epoll < 0 || !ends || !asked || !idle || !owed)
        fail("sick");
    if (options.endpoint_port > 0) {
        notes_map();
        endpoint_open();
        endpoint_run();
    }
    callers_run();
    asked_print();
    return 0;
}
