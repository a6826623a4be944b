/*
 * Idle clients for measuring memory: opens COUNT connections one after another,
 * makes one request on each and reads its whole answer, prints "ready COUNT" and
 * holds them all until its standard input ends. One at a time, so that the proxy
 * needs one link and what grows is the clients alone.
 *
 * bench_idle PORT COUNT plain|tls
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_BYTES = 65536, WAIT_S = 10 };

static const char request[] = "GET /v1/payments HTTP/1.1\r\nHost: localhost\r\n\r\n";

static int connect_to(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval wait = {.tv_sec = WAIT_S};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* True when `text` is a whole answer with a Content-Length and status 200. */
static bool answer_is_whole(const char *text, size_t len)
{
    const char *head_end = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "\r\ncontent-length:");
    if (!head_end || !length || length > head_end || strncmp(text, "HTTP/1.1 200", 12) != 0)
        return false;
    size_t head_bytes = (size_t)(head_end - text) + 4;
    return len >= head_bytes + strtoul(length + 17, NULL, 10);
}

static bool exchange(int fd, SSL *ssl)
{
    static char answer[ANSWER_BYTES + 1];
    size_t len = 0;
    int request_bytes = (int)sizeof(request) - 1;
    if (ssl ? SSL_write(ssl, request, request_bytes) <= 0 : write(fd, request, sizeof(request) - 1) < 0)
        return false;
    while (len < ANSWER_BYTES) {
        ssize_t got =
            ssl ? SSL_read(ssl, answer + len, (int)(ANSWER_BYTES - len)) : read(fd, answer + len, ANSWER_BYTES - len);
        if (got <= 0)
            return false;
        len += (size_t)got;
        answer[len] = '\0';
        if (answer_is_whole(answer, len))
            return true;
    }
    return false;
}

static bool client_open(int port, SSL_CTX *tls)
{
    int fd = connect_to(port);
    if (fd < 0)
        return false;
    if (!tls)
        return exchange(fd, NULL);
    SSL *ssl = SSL_new(tls);
    return ssl && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1 && exchange(fd, ssl);
}

int main(int argc, char **argv)
{
    long port = argc == 4 ? strtol(argv[1], NULL, 10) : 0;
    long count = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    if (port <= 0 || port > 65535 || count <= 0) {
        fprintf(stderr, "usage: bench_idle PORT COUNT plain|tls\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX *tls = strcmp(argv[3], "tls") == 0 ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (tls)
        SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    for (long i = 0; i < count; i++) {
        if (!client_open((int)port, tls)) {
            fprintf(stderr, "idle: client %ld of %ld: no answer\n", i + 1, count);
            return 1;
        }
    }
    printf("ready %ld\n", count);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0; /* the kernel closes what is open */
}
