/*
 * Both ends of a weir in one process: callers who pay through it, and the
 * processor that they pay at. So what was executed and what the callers were
 * told stand in one table, and many thousand requests cost little CPU: one
 * thread, one epoll, no memory after the start.
 *
 * The processor either resets connections, at each byte of request and answer in
 * turn, or ends those that were idle for its keep-alive time, which is when the
 * callers' next requests come: all at once, so that each needs a connection.
 *
 * e2e-peers --to PORT --listen PORT... --callers N --requests N [--keyed] [--again]
 *           [--resets HEALTHY | --keep-alive-ms N --every-ms N [--hint-s N]]
 * prints one JSON object: what became of the requests, equal ones counted
 * together. It judges nothing: the tests do.
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
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MESSAGE_BYTES_MAX = 4096,
    EVENTS_MAX = 256,
    CALLERS_MAX = 4096,
    LINKS_MAX = 8192,
    PROCESSORS_MAX = 16,
    WORDS_MAX = 64,      /* different outcomes and reasons */
    ROWS_MAX = 512,      /* different ends of requests */
    STALL_US = 20000,    /* between two turns of the loop, which waits for less */
    STUCK_US = 20000000, /* without any event: nothing will come any more */
    QUIET_MS = 150,      /* of the end: what still arrives then belongs to the books */
};

enum kind { KIND_LISTENER, KIND_CALLER, KIND_LINK };

struct end {
    enum kind kind;
    int fd; /* -1: closed */
};

enum body { BODY_NONE, BODY_OWN, BODY_OTHERS, BODY_CUT, BODY_UNREADABLE };
static const char *const body_names[] = {"none", "own", "others", "cut", "unreadable"};

/* What a caller was told. */
struct told {
    uint16_t status;         /* 0: nothing */
    uint8_t outcome, reason; /* indices into `words` */
    uint8_t body;
    bool over;
};

/* One request: its number is its key, and its place in the table. */
struct payment {
    struct told first, again;
    uint8_t begun; /* arrivals of which at least the path was read */
    uint8_t whole; /* arrivals that were read whole */
    uint8_t executed;
    bool mixed_up; /* path, key and body told of different payments */
};

enum caller_state { CALLER_CLOSED, CALLER_RESTING, CALLER_WAITING };

struct caller {
    struct end end;
    enum caller_state state;
    uint32_t number; /* of what it waits for */
    uint64_t due_us;
    size_t len;
    char *answer; /* MESSAGE_BYTES_MAX and a NUL; apart, so that a walk over all callers touches little memory */
};

enum fault { FAULT_NONE, FAULT_IN_REQUEST, FAULT_IN_ANSWER };

struct link {
    struct end end;
    bool planned; /* what is to become of the request that comes now */
    bool kept;    /* it is not the first one here */
    bool counted; /* among the begun */
    enum fault fault;
    size_t fault_at;            /* bytes of request or answer before the reset */
    uint64_t close_us;          /* idle until then; 0: at work */
    struct link *older, *newer; /* among the idle ones */
    size_t len;
    char *request; /* MESSAGE_BYTES_MAX and a NUL */
};

static struct {
    int to, callers, requests, healthy, hint_s;
    int ports[PROCESSORS_MAX], port_count; /* each is a processor; callers are dealt to them in turn */
    uint64_t keep_alive_us, every_us;
    bool keyed, again, resets;
} options;

static struct payment *payments;
static struct caller *callers;
static struct link *links;
static struct link *oldest, *newest; /* idle links, by when they end */
static const char *words[WORDS_MAX] = {""};
static int word_count = 1;
static int epoll;
static struct end listeners[PROCESSORS_MAX];
static struct link *free_links[LINKS_MAX];
static int free_count;

/* How far it is. */
static int issued, waiting;
static bool repeating; /* what is unknown is asked for again; nothing is reset any more */
static uint64_t last_event_us;

/* Resets: which case is next, and how often each was met. */
static size_t request_bytes, answer_bytes;
static size_t case_next, plan_count;
static uint32_t *met_fresh, *met_kept;
static struct {
    uint32_t accepted, resets, ended_idle, ended_unread, behind, full;
} counts;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    int one = 1;

    if (end->kind != KIND_LISTENER) {
        setsockopt(end->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    if (fcntl(end->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, end->fd, &event) != 0) {
        die("peers: epoll");
    }
}

static void end_close(struct end *end, bool reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (reset) {
        setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(end->fd);
    end->fd = -1;
}

/* ---- the processor ---- */

static size_t case_count(void)
{
    return request_bytes + 1 + answer_bytes + 1;
}

/* Decided when the first byte of a request is there. The first requests are left alone, to learn their length. */
static void link_plan(struct link *link)
{
    link->planned = true;
    link->fault = FAULT_NONE;
    if (!options.resets || repeating || request_bytes == 0 || plan_count++ % (size_t)options.healthy == 0) {
        return;
    }
    size_t at = case_next;
    case_next = (case_next + 1) % case_count();
    link->fault = at <= request_bytes ? FAULT_IN_REQUEST : FAULT_IN_ANSWER;
    link->fault_at = at <= request_bytes ? at : at - request_bytes - 1;
    (link->kept ? met_kept : met_fresh)[at]++;
}

static void link_idle(struct link *link, uint64_t now)
{
    if (options.keep_alive_us == 0) {
        return;
    }
    link->close_us = now + options.keep_alive_us;
    link->older = newest;
    link->newer = NULL;
    *(newest ? &newest->newer : &oldest) = link;
    newest = link;
}

static void link_busy(struct link *link)
{
    if (link->close_us == 0) {
        return;
    }
    *(link->older ? &link->older->newer : &oldest) = link->newer;
    *(link->newer ? &link->newer->older : &newest) = link->older;
    link->close_us = 0;
}

static void link_close(struct link *link, bool reset)
{
    link_busy(link);
    end_close(&link->end, reset);
    free_links[free_count++] = link;
}

/*
 * At their time, and whatever has just come is not read, as servers do whose
 * timers go first. But what came while this process did not run at all is the
 * machine's doing, and is served: the race is weir's with the processor.
 */
static void idle_links_close(uint64_t now, bool stalled)
{
    while (oldest && oldest->close_us <= now) {
        int unread = 0;
        ioctl(oldest->end.fd, FIONREAD, &unread);
        if (unread > 0 && stalled) {
            link_busy(oldest);
            continue;
        }
        counts.ended_idle++;
        counts.ended_unread += unread > 0;
        link_close(oldest, false);
    }
}

/* Number behind `mark`; -1: none there. */
static long number_behind(const char *text, const char *mark)
{
    const char *at = strcasestr(text, mark);
    char *rest;

    if (!at) {
        return -1;
    }
    long number = strtol(at + strlen(mark), &rest, 10);
    return rest == at + strlen(mark) || number < 0 || number >= options.requests ? -1 : number;
}

/* The payment that this request is of, once so much of it came that it tells. */
static struct payment *payment_of(const struct link *link)
{
    long number = number_behind(link->request, "POST /pay/");
    const char *rest = number < 0 ? NULL : strchr(link->request + 10, ' ');

    return rest ? &payments[number] : NULL;
}

static size_t answer_write(char *text, long number)
{
    char body[64], hint[64] = "";
    int len = snprintf(body, sizeof(body), "{\"pay\": \"%07ld\", \"status\": \"succeeded\"}", number);

    if (options.hint_s > 0) {
        snprintf(hint, sizeof(hint), "Connection: keep-alive\r\nKeep-Alive: timeout=%d\r\n", options.hint_s);
    }
    return (size_t)snprintf(text, MESSAGE_BYTES_MAX,
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", hint,
                            len, body);
}

/* The whole request is read: the money moves, unless its key is known. */
static long payment_execute(struct link *link, struct payment *payment)
{
    long number = payment - payments, key = number_behind(link->request, "\r\nIdempotency-Key: order-"),
         body = number_behind(link->request, "\"number\": \"");

    payment->whole++;
    payment->mixed_up |= body != number || (options.keyed ? key != number : key != -1);
    if (!options.keyed || payment->executed == 0) {
        payment->executed++;
    }
    return number;
}

static void link_answer(struct link *link, uint64_t now)
{
    char text[MESSAGE_BYTES_MAX];
    size_t len = answer_write(text, payment_execute(link, payment_of(link)));
    size_t sent = link->fault == FAULT_IN_ANSWER && link->fault_at < len ? link->fault_at : len;

    if (answer_bytes == 0) {
        answer_bytes = len;
        request_bytes = link->len;
        met_fresh = calloc(case_count(), sizeof(*met_fresh));
        met_kept = calloc(case_count(), sizeof(*met_kept));
    }
    if (link->fault == FAULT_IN_REQUEST) { /* behind its last byte */
        sent = 0;
    }
    if (write(link->end.fd, text, sent) != (ssize_t)sent || link->fault != FAULT_NONE) {
        counts.resets += link->fault != FAULT_NONE;
        link_close(link, link->fault != FAULT_NONE);
        return;
    }
    link->len = 0;
    link->planned = link->counted = false;
    link->kept = true;
    link_idle(link, now);
}

/* Bytes of the whole request, once its head is there; 0: it is not. */
static size_t request_whole_bytes(const struct link *link)
{
    const char *end = strstr(link->request, "\r\n\r\n"), *length = strcasestr(link->request, "\r\ncontent-length:");

    if (!end || !length || length > end) {
        return 0;
    }
    return (size_t)(end - link->request) + 4 + strtoul(length + 17, NULL, 10);
}

static void link_read(struct link *link, uint64_t now)
{
    if (!link->planned) {
        link_plan(link);
    }
    size_t room = link->fault == FAULT_IN_REQUEST ? link->fault_at - link->len : MESSAGE_BYTES_MAX - link->len;
    ssize_t len = room == 0 ? 0 : read(link->end.fd, link->request + link->len, room);
    if (len < 0 && errno == EAGAIN) {
        return;
    }
    if (len <= 0 && room > 0) { /* weir ended it */
        link_close(link, false);
        return;
    }
    link_busy(link);
    link->len += (size_t)len;
    link->request[link->len] = '\0';
    struct payment *payment = payment_of(link);
    if (payment && !link->counted) {
        link->counted = true;
        payment->begun++;
    }
    size_t whole = request_whole_bytes(link);
    counts.behind += whole != 0 && link->len > whole;
    if (whole != 0 && link->len >= whole) {
        link_answer(link, now);
    } else if (link->fault == FAULT_IN_REQUEST && link->len == link->fault_at) {
        counts.resets++;
        link_close(link, true);
    }
}

static void links_accept(const struct end *listener)
{
    for (int fd; (fd = accept(listener->fd, NULL, NULL)) >= 0;) {
        if (free_count == 0) {
            counts.full++;
            close(fd);
            continue;
        }
        struct link *link = free_links[--free_count];
        char *request = link->request;
        counts.accepted++;
        *link = (struct link){.end = {KIND_LINK, fd}, .request = request};
        watch(&link->end);
    }
}

/* ---- the callers ---- */

static uint8_t word_number(const char *text, size_t len)
{
    for (int i = 0; i < word_count; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0) {
            return (uint8_t)i;
        }
    }
    if (word_count == WORDS_MAX) {
        return 0;
    }
    words[word_count] = strndup(text, len);
    return (uint8_t)word_count++;
}

static uint8_t field_word(const char *head, const char *end, const char *name)
{
    const char *at = strcasestr(head, name);

    return at && at < end ? word_number(at + strlen(name), strcspn(at + strlen(name), "\r")) : 0;
}

static void caller_told(struct caller *caller, struct told told)
{
    told.over = true;
    *(repeating ? &payments[caller->number].again : &payments[caller->number].first) = told;
    caller->state = CALLER_RESTING;
    waiting--;
}

static enum body body_kind(const char *body, uint32_t number)
{
    long told = number_behind(body, "\"pay\": \"");

    return told == (long)number ? BODY_OWN : told >= 0 ? BODY_OTHERS : BODY_NONE;
}

/* Reads what is there. `ended`: no more will come. False: wait for more. */
static bool caller_answer(struct caller *caller, bool ended)
{
    const char *end = strstr(caller->answer, "\r\n\r\n");
    const char *length = strcasestr(caller->answer, "\r\ncontent-length: ");
    struct told told = {.body = BODY_UNREADABLE};

    if (end && sscanf(caller->answer, "HTTP/1.1 %hu ", &told.status) == 1 && length && length < end) {
        size_t head_bytes = (size_t)(end - caller->answer) + 4, body_bytes = strtoul(length + 18, NULL, 10);
        if (caller->len < head_bytes + body_bytes && !ended) {
            return false;
        }
        told.outcome = field_word(caller->answer, end, "\r\nWeir-Outcome: ");
        told.reason = field_word(caller->answer, end, "\r\nWeir-Reason: ");
        if (caller->len <= head_bytes + body_bytes) {
            enum body body = caller->len < head_bytes + body_bytes ? BODY_CUT : body_kind(end + 4, caller->number);
            told.body = (uint8_t)body;
        }
    } else if (!end && !ended && caller->len < MESSAGE_BYTES_MAX) {
        return false;
    } else if (caller->len == 0) {
        told.body = BODY_NONE;
    }
    caller_told(caller, told);
    return true;
}

static void caller_close(struct caller *caller)
{
    end_close(&caller->end, false);
    caller->state = CALLER_CLOSED;
}

static void caller_read(struct caller *caller)
{
    ssize_t len = read(caller->end.fd, caller->answer + caller->len, MESSAGE_BYTES_MAX - caller->len);

    if (len < 0 && errno == EAGAIN) {
        return;
    }
    if (len > 0) {
        caller->len += (size_t)len;
        caller->answer[caller->len] = '\0';
    }
    if (caller->state != CALLER_WAITING) { /* the end of an idle connection, or bytes that nobody asked for */
        counts.behind += len > 0;
        caller_close(caller);
        return;
    }
    if (caller_answer(caller, len <= 0)) {
        const char *close_word = strcasestr(caller->answer, "\r\nConnection: close");
        if (len <= 0 || close_word) {
            caller_close(caller);
        }
    }
}

static void caller_open(struct caller *caller)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.to)};

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    caller->end = (struct end){KIND_CALLER, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (caller->end.fd < 0 || connect(caller->end.fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
        die("peers: connect");
    }
    watch(&caller->end);
    caller->state = CALLER_RESTING;
}

static void caller_send(struct caller *caller, uint32_t number)
{
    char text[MESSAGE_BYTES_MAX], body[64], key[64] = "";
    int body_len = snprintf(body, sizeof(body), "{\"amount\": 4200, \"number\": \"%07u\"}", number);

    if (caller->state == CALLER_CLOSED) {
        caller_open(caller);
    }
    if (options.keyed) {
        snprintf(key, sizeof(key), "Idempotency-Key: order-%07u\r\n", number);
    }
    int len = snprintf(text, sizeof(text),
                       "POST /pay/%07u HTTP/1.1\r\nHost: p%d.example.com\r\nAuthorization: Bearer sk_live_%u\r\n"
                       "Content-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
                       number, (int)(caller - callers) % options.port_count, number % 7, key, body_len, body);
    caller->number = number;
    caller->len = 0;
    caller->answer[0] = '\0';
    caller->state = CALLER_WAITING;
    waiting++;
    if (write(caller->end.fd, text, (size_t)len) != len) { /* ended meanwhile: its end is still to be read */
        caller_told(caller, (struct told){.body = BODY_NONE});
        caller_close(caller);
    }
}

/* The next request to be made; -1: there is none. */
static long next_number(void)
{
    while (issued < options.requests) {
        int number = issued++;
        if (!repeating || strcmp(words[payments[number].first.outcome], "unknown") == 0) {
            return number;
        }
    }
    return -1;
}

/* Who may, sends. Returns when the next may. */
static uint64_t callers_send(uint64_t now)
{
    uint64_t next_us = UINT64_MAX;

    for (struct caller *caller = callers; caller < callers + options.callers; caller++) {
        if (caller->state == CALLER_WAITING || issued >= options.requests) {
            continue;
        }
        if (caller->due_us > now) {
            next_us = caller->due_us < next_us ? caller->due_us : next_us;
            continue;
        }
        long number = next_number();
        if (number >= 0) {
            /* Behind a late answer the next beat of all is awaited: a crowd stays a crowd. */
            while (caller->due_us <= now && options.every_us != 0) {
                caller->due_us += options.every_us;
            }
            caller_send(caller, (uint32_t)number);
        }
    }
    return next_us;
}

/* ---- the loop ---- */

static int wait_ms(uint64_t now, uint64_t next_us)
{
    if (oldest && oldest->close_us < next_us) {
        next_us = oldest->close_us;
    }
    if (next_us <= now) {
        return 0;
    }
    return next_us - now > 10000 ? 10 : (int)((next_us - now + 999) / 1000);
}

static int events_take(int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(epoll, events, EVENTS_MAX, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct end *end = events[i].data.ptr;
        if (end->fd < 0) { /* closed by an event before this one */
            continue;
        }
        if (end->kind == KIND_LISTENER) {
            links_accept(end);
        } else if (end->kind == KIND_LINK) {
            link_read((struct link *)end, now_us());
        } else {
            caller_read((struct caller *)end);
        }
    }
    if (count > 0) {
        last_event_us = now_us();
    }
    return count;
}

/* All requests that are to be made; then a quiet time, in which what was on its way arrives. */
static void run(void)
{
    uint64_t turn_us = now_us();

    issued = 0;
    last_event_us = turn_us;
    while (issued < options.requests || waiting > 0) {
        uint64_t now = now_us();
        idle_links_close(now, now - turn_us > STALL_US);
        turn_us = now;
        uint64_t next_us = callers_send(now);
        events_take(wait_ms(now, next_us));
        if (waiting > 0 && now_us() - last_event_us > STUCK_US) {
            return;
        }
    }
    while (events_take(QUIET_MS) > 0) {
    }
}

/* ---- what is printed ---- */

struct row {
    struct payment like;
    uint32_t count, example;
};

static bool told_equal(const struct told *one, const struct told *other)
{
    return one->status == other->status && one->outcome == other->outcome && one->reason == other->reason &&
           one->body == other->body && one->over == other->over;
}

static bool payment_equal(const struct payment *one, const struct payment *other)
{
    return told_equal(&one->first, &other->first) && told_equal(&one->again, &other->again) &&
           one->begun == other->begun && one->whole == other->whole && one->executed == other->executed &&
           one->mixed_up == other->mixed_up;
}

static int rows_gather(struct row *rows)
{
    int row_count = 0;

    for (int number = 0; number < options.requests; number++) {
        int at = 0;
        while (at < row_count && !payment_equal(&rows[at].like, &payments[number])) {
            at++;
        }
        if (at == ROWS_MAX) {
            fprintf(stderr, "peers: more than %d different ends\n", ROWS_MAX);
            exit(1);
        }
        if (at == row_count) {
            rows[row_count++] = (struct row){payments[number], 0, (uint32_t)number};
        }
        rows[at].count++;
    }
    return row_count;
}

static void told_print(const char *name, const struct told *told)
{
    if (!told->over) {
        printf("\"%s\": null, ", name);
        return;
    }
    printf("\"%s\": {\"status\": %u, \"outcome\": \"%s\", \"reason\": \"%s\", \"body\": \"%s\"}, ", name, told->status,
           words[told->outcome], words[told->reason], body_names[told->body]);
}

static void cases_print(void)
{
    uint32_t least = UINT32_MAX, kept = 0, met = 0;

    for (size_t at = 0; options.resets && at < case_count(); at++) {
        uint32_t here = met_fresh[at] + met_kept[at];
        least = here < least ? here : least;
        met += here;
        kept += met_kept[at];
    }
    printf(
        "\"request_bytes\": %zu, \"answer_bytes\": %zu, \"cases_met\": %u, \"cases_least\": %u, \"cases_kept\": %u, ",
        request_bytes, answer_bytes, met, options.resets ? least : 0, kept);
}

static void result_print(double seconds)
{
    static struct row rows[ROWS_MAX];
    int row_count = rows_gather(rows);

    printf("{\"seconds\": %.3f, \"waiting\": %d, \"accepted\": %u, \"resets\": %u, \"ended_idle\": %u, "
           "\"ended_unread\": %u, \"behind\": %u, \"full\": %u, ",
           seconds, waiting, counts.accepted, counts.resets, counts.ended_idle, counts.ended_unread, counts.behind,
           counts.full);
    cases_print();
    printf("\"rows\": [");
    for (int i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];
        printf("%s{", i == 0 ? "" : ", ");
        told_print("first", &row->like.first);
        told_print("again", &row->like.again);
        printf("\"begun\": %u, \"whole\": %u, \"executed\": %u, \"mixed_up\": %s, \"count\": %u, \"example\": %u}",
               row->like.begun, row->like.whole, row->like.executed, row->like.mixed_up ? "true" : "false", row->count,
               row->example);
    }
    printf("]}\n");
}

/* ---- the start ---- */

static bool options_read(int argc, char **argv)
{
    static const struct option table[] = {
        {"to", required_argument, NULL, 't'},
        {"listen", required_argument, NULL, 'l'},
        {"callers", required_argument, NULL, 'c'},
        {"requests", required_argument, NULL, 'n'},
        {"keyed", no_argument, NULL, 'k'},
        {"again", no_argument, NULL, 'a'},
        {"resets", required_argument, NULL, 'r'},
        {"keep-alive-ms", required_argument, NULL, 'i'},
        {"every-ms", required_argument, NULL, 'e'},
        {"hint-s", required_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        int value = optarg ? (int)strtol(optarg, NULL, 10) : 0;
        switch (option) {
        case 't':
            options.to = value;
            break;
        case 'l':
            if (options.port_count == PROCESSORS_MAX) {
                return false;
            }
            options.ports[options.port_count++] = value;
            break;
        case 'c':
            options.callers = value;
            break;
        case 'n':
            options.requests = value;
            break;
        case 'k':
            options.keyed = true;
            break;
        case 'a':
            options.again = true;
            break;
        case 'r':
            options.resets = true;
            options.healthy = value;
            break;
        case 'i':
            options.keep_alive_us = (uint64_t)value * 1000;
            break;
        case 'e':
            options.every_us = (uint64_t)value * 1000;
            break;
        case 'h':
            options.hint_s = value;
            break;
        default:
            return false;
        }
    }
    return options.to > 0 && options.port_count > 0 && options.callers > 0 && options.callers <= CALLERS_MAX &&
           options.requests > 0 && options.requests <= 9999999 && (!options.resets || options.healthy > 1);
}

static void listener_open(struct end *listener, int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *listener = (struct end){KIND_LISTENER, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener->fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(listener->fd, 4096) != 0) {
        die("peers: listen");
    }
    watch(listener);
}

static void memory_take(void)
{
    payments = calloc((size_t)options.requests, sizeof(*payments));
    callers = calloc((size_t)options.callers, sizeof(*callers));
    links = calloc(LINKS_MAX, sizeof(*links));
    char *answers = calloc((size_t)options.callers, MESSAGE_BYTES_MAX + 1);
    char *requests = calloc(LINKS_MAX, MESSAGE_BYTES_MAX + 1);
    if (!payments || !callers || !links || !answers || !requests) {
        die("peers");
    }
    for (int i = 0; i < options.callers; i++) {
        callers[i].answer = answers + (size_t)i * (MESSAGE_BYTES_MAX + 1);
    }
    for (free_count = 0; free_count < LINKS_MAX; free_count++) {
        links[free_count].request = requests + (size_t)free_count * (MESSAGE_BYTES_MAX + 1);
        free_links[free_count] = &links[free_count];
    }
}

/*
 * With every beat come twice as many, as a morning begins: what one connection
 * teaches serves a crowd of them. Each processor's callers have a beat of their own.
 */
static void callers_begin(uint64_t now)
{
    int beat = 1;

    for (int i = 0; i < options.callers; i++) {
        int group = i % options.port_count;
        beat += group == 0 && i / options.port_count + 1 >= 1 << beat;
        callers[i].due_us =
            now + options.every_us * (uint64_t)beat + options.every_us * (uint64_t)group / (uint64_t)options.port_count;
    }
}

int main(int argc, char **argv)
{
    if (!options_read(argc, argv)) {
        fprintf(stderr, "usage: e2e-peers --to PORT --listen PORT... --callers N --requests N [--keyed] [--again]\n"
                        "       [--resets HEALTHY | --keep-alive-ms N --every-ms N [--hint-s N]]\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        die("peers");
    }
    memory_take();
    for (int i = 0; i < options.port_count; i++) {
        listener_open(&listeners[i], options.ports[i]);
    }
    uint64_t began_us = now_us();
    callers_begin(began_us);
    run();
    if (options.again) {
        repeating = true;
        run();
    }
    result_print((double)(now_us() - began_us) / 1e6);
    return 0;
}
