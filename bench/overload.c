/*
 * More than a proxy can do, in three programs.
 *
 * Clients of several classes ask at a fixed rate whatever comes back: a request
 * falls due by the clock, takes a free connection of its class, or opens one up
 * to the class's number, or waits for one, and is given up after a while, as
 * callers do. Latency counts from the moment it was due. Requests have no body,
 * answers a Content-Length. --rate 0: every connection asks again at once.
 *
 *   bench_overload --port N --seconds N --settle N --rate PER_SECOND --class NAME,SHARE,CONNECTIONS,METHOD,PATH ...
 *
 * prints one JSON object: for each class what was due, answered, shed, failed and
 * given up and how long it took, of what was due after --settle seconds once
 * more; and the first class second by second.
 *
 * The processor answers every request after the same delay, until it is killed:
 *
 *   bench_overload --processor PORT --delay-ms N
 *
 * Ballast takes part of its core, so that what the proxy has left of its own is
 * little beside the clients' core:
 *
 *   bench_overload --ballast BUSY_US,PERIOD_US
 */
#include <arpa/inet.h>
#include <errno.h>
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLASSES_MAX = 8, FD_MAX = 65536, EVENTS_MAX = 512, HEAD_BYTES_MAX = 4096, READ_BYTES = 65536 };
enum { DUE_MAX = 1 << 17, SECONDS_MAX = 600, ANSWER_BYTES = 512 };
enum { BUCKET_BITS = 5, BUCKET_COUNT = 32 << BUCKET_BITS }; /* 32 steps for each power of two: 3 % */
static const uint64_t patience_us = 2000000;

struct times {
    uint64_t count, max_us;
    uint32_t buckets[BUCKET_COUNT];
};

struct class {
    char name[32], request[512];
    unsigned share, connections_max;
    unsigned opened;                 /* connections now */
    uint64_t due_us[DUE_MAX];        /* that wait for a connection */
    size_t due_first, due_count;
    int *idle;                       /* descriptors */
    size_t idle_count;
    uint64_t due, shed, failed, given_up, outstanding;
    struct times answered, settled, refused;
};

enum kind { KIND_NONE, KIND_LISTENER, KIND_CALLER, KIND_LINK };
struct end {
    enum kind kind;
    uint32_t age;          /* of the descriptor: who uses it now is another than who did before */
    /* a caller */
    struct class *class;
    bool connecting, waiting;
    uint64_t due_us;
    size_t head_len, body_left_bytes;
    bool head_whole, closes;
    int status;
    bool is_shed;
    char *head;            /* HEAD_BYTES_MAX + 1 */
    /* a link */
    uint8_t matched;       /* bytes of the blank line seen so far */
};

/* Answers that the processor owes, oldest first: the delay is the same for all. */
struct owed {
    uint64_t at_us;
    int fd;
    uint32_t age;
};

static struct {
    int port, processor_port, seconds, settle;
    long rate;
    uint64_t delay_us;
    unsigned ballast_busy_us, ballast_period_us;
} options;

static struct class *classes[CLASSES_MAX];
static int class_count;
static unsigned shares;
static struct end *ends;
static struct owed *owed;
static size_t owed_first, owed_count;
static struct times seconds_of_first[SECONDS_MAX];
static char answer[1024 + ANSWER_BYTES];
static size_t answer_len;
static char read_buffer[READ_BYTES];
static int epoll;
static uint64_t start_us;
static bool over; /* nothing more falls due */
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

/* ---- times ---- */

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
    return power == 0 ? step : (uint64_t)(step + (1U << BUCKET_BITS)) << (power - 1);
}

static void times_add(struct times *times, uint64_t us)
{
    times->count++;
    times->buckets[bucket_of(us)]++;
    times->max_us = us > times->max_us ? us : times->max_us;
}

static uint64_t times_share_us(const struct times *times, double share)
{
    uint64_t wanted = (uint64_t)((double)times->count * share), seen = 0;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        seen += times->buckets[i];
        if (seen > wanted)
            return bucket_value_us(i);
    }
    return times->max_us;
}

/* ---- descriptors ---- */

static struct end *end_take(int fd, enum kind kind, uint32_t events)
{
    if (fd >= FD_MAX) {
        fprintf(stderr, "overload: too many descriptors\n");
        exit(1);
    }
    struct end *end = &ends[fd];
    char *head = end->head;
    uint32_t age = end->age + 1;
    *end = (struct end){.kind = kind, .age = age, .head = head};
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("overload: epoll");
    return end;
}

static void end_drop(int fd)
{
    ends[fd].kind = KIND_NONE;
    ends[fd].age++;
    close(fd);
}

static void no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* ---- clients ---- */

static void caller_drop(int fd)
{
    ends[fd].class->opened--;
    end_drop(fd);
}

static void caller_fail(int fd)
{
    struct end *caller = &ends[fd];
    if (caller->waiting) {
        caller->class->failed++;
        caller->class->outstanding--;
    }
    caller_drop(fd);
}

static void caller_ask(int fd, uint64_t due)
{
    struct end *caller = &ends[fd];
    size_t len = strlen(caller->class->request);
    caller->due_us = due;
    caller->waiting = true;
    caller->head_len = 0;
    caller->head_whole = false;
    caller->is_shed = false;
    if (!caller->connecting && write(fd, caller->class->request, len) != (ssize_t)len)
        caller_fail(fd);
}

/* With a request to send as soon as it stands; `due` 0: without. */
static void class_open(struct class *class, uint64_t due)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 && errno != EINPROGRESS))
        fail("overload: connect");
    no_delay(fd);
    struct end *caller = end_take(fd, KIND_CALLER, EPOLLIN | EPOLLOUT);
    if (!caller->head)
        caller->head = malloc(HEAD_BYTES_MAX + 1);
    if (!caller->head)
        fail("overload");
    caller->class = class;
    caller->connecting = true;
    class->opened++;
    if (due > 0)
        caller_ask(fd, due);
}

/* What is due goes out while there are connections for it. */
static void class_serve(struct class *class)
{
    uint64_t now = now_us();
    while (class->due_count > 0) {
        uint64_t due = class->due_us[class->due_first];
        bool patient = now < due + patience_us;
        if (patient && class->idle_count == 0 && class->opened >= class->connections_max)
            return;
        class->due_first = (class->due_first + 1) % DUE_MAX;
        class->due_count--;
        if (!patient) {
            class->given_up++;
            class->outstanding--;
        } else if (class->idle_count > 0) {
            caller_ask(class->idle[--class->idle_count], due);
        } else {
            class_open(class, due);
        }
    }
}

static void class_due(struct class *class, uint64_t due)
{
    class->due++;
    if (class->due_count == DUE_MAX) {
        class->given_up++;
        return;
    }
    class->outstanding++;
    class->due_us[(class->due_first + class->due_count++) % DUE_MAX] = due;
    class_serve(class);
}

static void on_answered(int fd)
{
    struct end *caller = &ends[fd];
    struct class *class = caller->class;
    uint64_t took_us = now_us() - caller->due_us;
    uint64_t second = (caller->due_us - start_us) / 1000000;
    caller->waiting = false;
    class->outstanding--;
    if (caller->status == 200) {
        times_add(&class->answered, took_us);
        if (second >= (uint64_t)options.settle)
            times_add(&class->settled, took_us);
        if (class == classes[0] && second < SECONDS_MAX)
            times_add(&seconds_of_first[second], took_us);
    } else if (caller->is_shed) {
        class->shed++;
        times_add(&class->refused, took_us);
    } else {
        class->failed++;
    }
    if (caller->closes) {
        caller_drop(fd);
    } else {
        class->idle[class->idle_count++] = fd;
    }
    if (options.rate == 0 && !over)
        class_due(class, now_us());
    else
        class_serve(class);
}

static bool head_has(const struct end *caller, const char *line)
{
    return strcasestr(caller->head, line) != NULL;
}

/* Takes bytes of the answer; false: not an answer that this client understands. */
static bool answer_take(struct end *caller, const char *bytes, size_t len)
{
    if (!caller->head_whole) {
        size_t held = caller->head_len, room = HEAD_BYTES_MAX - held, taken = len < room ? len : room;
        memcpy(caller->head + held, bytes, taken);
        caller->head_len += taken;
        caller->head[caller->head_len] = '\0';
        char *end = strstr(caller->head, "\r\n\r\n");
        if (!end)
            return taken == len;
        size_t used = (size_t)(end - caller->head) + 4 - held;
        end[2] = '\0';
        const char *length = strcasestr(caller->head, "\r\ncontent-length:");
        if (!length || strncmp(caller->head, "HTTP/1.1 ", 9) != 0)
            return false;
        caller->head_whole = true;
        caller->status = (int)strtol(caller->head + 9, NULL, 10);
        caller->is_shed = caller->status == 503 && head_has(caller, "\r\nweir-reason: shed\r\n");
        caller->closes = head_has(caller, "\r\nconnection: close\r\n");
        caller->body_left_bytes = strtoul(length + 17, NULL, 10);
        len -= used;
    }
    if (len > caller->body_left_bytes)
        return false;
    caller->body_left_bytes -= len;
    return true;
}

static void on_caller(int fd, uint32_t events)
{
    struct end *caller = &ends[fd];
    if (caller->connecting) {
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
        caller->connecting = false;
        if (caller->waiting)
            caller_ask(fd, caller->due_us);
        else
            caller->class->idle[caller->class->idle_count++] = fd;
        return;
    }
    ssize_t len = read(fd, read_buffer, READ_BYTES);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (!caller->waiting) { /* closed between two requests */
        struct class *class = caller->class;
        for (size_t i = 0; i < class->idle_count; i++) {
            if (class->idle[i] == fd) {
                class->idle[i] = class->idle[--class->idle_count];
                break;
            }
        }
        caller_drop(fd);
        return;
    }
    if (len <= 0 || !answer_take(caller, read_buffer, (size_t)len))
        caller_fail(fd);
    else if (caller->head_whole && caller->body_left_bytes == 0)
        on_answered(fd);
}

/* ---- the processor ---- */

static void on_link(int fd)
{
    static const char blank[4] = "\r\n\r\n";
    struct end *link = &ends[fd];
    ssize_t len = read(fd, read_buffer, READ_BYTES);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        end_drop(fd);
        return;
    }
    for (ssize_t i = 0; i < len; i++) {
        if (read_buffer[i] == blank[link->matched])
            link->matched++;
        else
            link->matched = read_buffer[i] == '\r';
        if (link->matched < sizeof(blank))
            continue;
        link->matched = 0;
        if (owed_count == DUE_MAX) {
            fprintf(stderr, "overload: the processor owes too many answers\n");
            exit(1);
        }
        owed[(owed_first + owed_count++) % DUE_MAX] = (struct owed){now_us() + options.delay_us, fd, link->age};
    }
}

static void owed_pay(void)
{
    uint64_t now = now_us();
    while (owed_count > 0 && owed[owed_first].at_us <= now) {
        struct owed one = owed[owed_first];
        owed_first = (owed_first + 1) % DUE_MAX;
        owed_count--;
        if (ends[one.fd].age == one.age && write(one.fd, answer, answer_len) != (ssize_t)answer_len)
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
        end_take(fd, KIND_LINK, EPOLLIN);
    }
}

static void processor_open(void)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.processor_port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 4096) != 0)
        fail("overload: processor");
    end_take(fd, KIND_LISTENER, EPOLLIN);
    int head = snprintf(answer, sizeof(answer),
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", ANSWER_BYTES);
    memset(answer + head, 'x', ANSWER_BYTES);
    answer_len = (size_t)head + ANSWER_BYTES;
}

/* ---- a run ---- */

static struct class *class_random(void)
{
    unsigned at = (unsigned)(random_next() % shares);
    for (int i = 0; i < class_count; i++) {
        if (at < classes[i]->share)
            return classes[i];
        at -= classes[i]->share;
    }
    return classes[0];
}

static uint64_t request_due_us(uint64_t number)
{
    return start_us + number * 1000000 / (uint64_t)options.rate;
}

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
        if (ends[fd].kind == KIND_CALLER)
            on_caller(fd, events[i].events);
        else if (ends[fd].kind == KIND_LINK)
            on_link(fd);
        else if (ends[fd].kind == KIND_LISTENER)
            on_listener(fd);
    }
    owed_pay();
}

static bool all_open(void)
{
    for (int i = 0; i < class_count; i++) {
        if (classes[i]->idle_count < classes[i]->connections_max)
            return false;
    }
    return true;
}

/* Connections stand before the clock runs: opening them all at once is another story. */
static void begin(void)
{
    for (int i = 0; i < class_count; i++) {
        while (classes[i]->opened < classes[i]->connections_max)
            class_open(classes[i], 0);
    }
    for (uint64_t until_us = now_us() + 10 * patience_us; !all_open();) {
        if (now_us() > until_us) {
            fprintf(stderr, "overload: the proxy does not accept\n");
            exit(1);
        }
        wait_and_see(now_us() + 100000);
    }
    start_us = now_us();
    for (int i = 0; i < class_count; i++) {
        for (unsigned n = 0; options.rate == 0 && n < classes[i]->connections_max; n++)
            class_due(classes[i], now_us());
    }
}

static uint64_t outstanding(void)
{
    uint64_t count = 0;
    for (int i = 0; i < class_count; i++)
        count += classes[i]->outstanding;
    return count;
}

static void run(void)
{
    uint64_t made = 0;
    begin();
    uint64_t stop_us = start_us + (uint64_t)options.seconds * 1000000;
    for (uint64_t now = now_us(); now < stop_us; now = now_us()) {
        for (; options.rate > 0 && request_due_us(made) <= now; made++)
            class_due(class_random(), request_due_us(made));
        uint64_t next_us = options.rate > 0 ? request_due_us(made) : now + 100000;
        wait_and_see(next_us < stop_us ? next_us : stop_us);
    }
    over = true;
    while (outstanding() > 0 && now_us() < stop_us + patience_us) {
        wait_and_see(now_us() + 10000);
        for (int i = 0; i < class_count; i++)
            class_serve(classes[i]); /* gives up what waited too long */
    }
}

static void times_print(const char *name, const struct times *times)
{
    printf("\"%s\": {\"count\": %llu, \"p50_us\": %llu, \"p99_us\": %llu, \"p999_us\": %llu, \"max_us\": %llu}", name,
           (unsigned long long)times->count, (unsigned long long)times_share_us(times, 0.5),
           (unsigned long long)times_share_us(times, 0.99), (unsigned long long)times_share_us(times, 0.999),
           (unsigned long long)times->max_us);
}

static void result_print(void)
{
    printf("{\"classes\": [");
    for (int i = 0; i < class_count; i++) {
        const struct class *class = classes[i];
        printf("%s{\"name\": \"%s\", \"due\": %llu, \"shed\": %llu, \"failed\": %llu, \"given_up\": %llu, "
               "\"unanswered\": %llu, \"connections\": %u, ",
               i > 0 ? ", " : "", class->name, (unsigned long long)class->due, (unsigned long long)class->shed,
               (unsigned long long)class->failed, (unsigned long long)class->given_up,
               (unsigned long long)class->outstanding, class->opened);
        times_print("answered", &class->answered);
        printf(", ");
        times_print("settled", &class->settled);
        printf(", ");
        times_print("refused", &class->refused);
        printf("}");
    }
    printf("], \"seconds\": [");
    for (int i = 0; i < options.seconds && i < SECONDS_MAX; i++) {
        printf("%s{", i > 0 ? ", " : "");
        times_print("answered", &seconds_of_first[i]);
        printf("}");
    }
    printf("]}\n");
}

static void processor_run(void)
{
    processor_open();
    for (;;)
        wait_and_see(now_us() + 1000000);
}

/* ---- ballast ---- */

static void ballast_run(void)
{
    uint64_t next_us = now_us();
    for (;;) {
        while (now_us() < next_us + options.ballast_busy_us)
            ;
        next_us += options.ballast_period_us;
        if (next_us < now_us()) /* it got less than it wanted: it does not catch up */
            next_us = now_us();
        struct timespec at = {.tv_sec = (time_t)(next_us / 1000000), .tv_nsec = (long)(next_us % 1000000) * 1000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
}

/* ---- options ---- */

static bool class_read(const char *text)
{
    char method[16], path[128];
    struct class *class = class_count < CLASSES_MAX ? calloc(1, sizeof(*class)) : NULL;
    if (!class || sscanf(text, "%31[^,],%u,%u,%15[^,],%127s", class->name, &class->share, &class->connections_max,
                         method, path) != 5)
        return false;
    (void)snprintf(class->request, sizeof(class->request), "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", method, path,
                   strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
    class->idle = calloc(class->connections_max, sizeof(int));
    classes[class_count++] = class;
    shares += class->share;
    return class->idle && class->share > 0 && class->connections_max > 0;
}

static bool option_take(int option, const char *text)
{
    long value = strtol(text, NULL, 10);
    switch (option) {
    case 'p':
        options.port = (int)value;
        return value > 0 && value < 65536;
    case 'o':
        options.processor_port = (int)value;
        return value > 0 && value < 65536;
    case 'd':
        options.delay_us = (uint64_t)value * 1000;
        return value >= 0;
    case 't':
        options.settle = (int)value;
        return value >= 0;
    case 's':
        options.seconds = (int)value;
        return value > 0 && value <= SECONDS_MAX;
    case 'r':
        options.rate = value;
        return value >= 0;
    case 'c':
        return class_read(text);
    case 'b':
        return sscanf(text, "%u,%u", &options.ballast_busy_us, &options.ballast_period_us) == 2 &&
               options.ballast_period_us > options.ballast_busy_us;
    default:
        return false;
    }
}

static bool options_read(int argc, char **argv)
{
    static const struct option table[] = {
        {"port", required_argument, NULL, 'p'},     {"processor", required_argument, NULL, 'o'},
        {"delay-ms", required_argument, NULL, 'd'}, {"seconds", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},     {"class", required_argument, NULL, 'c'},
        {"ballast", required_argument, NULL, 'b'},  {"settle", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (option == '?' || !option_take(option, optarg))
            return false;
    }
    return options.ballast_period_us > 0 || options.processor_port > 0 ||
           (class_count > 0 && options.port > 0 && options.seconds > 0);
}

int main(int argc, char **argv)
{
    if (!options_read(argc, argv)) {
        fprintf(stderr, "usage: bench_overload --port N --seconds N [--settle N] --rate N "
                        "--class NAME,SHARE,CONNECTIONS,METHOD,PATH ... | --processor PORT --delay-ms N | "
                        "--ballast BUSY_US,PERIOD_US\n");
        return 64;
    }
    if (options.ballast_period_us > 0)
        ballast_run();
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    ends = calloc(FD_MAX, sizeof(*ends));
    owed = calloc(DUE_MAX, sizeof(*owed));
    if (epoll < 0 || !ends || !owed)
        fail("overload");
    if (options.processor_port > 0)
        processor_run();
    run();
    result_print();
    return 0;
}
