/*
 * Asks a running weir over its admin socket and reads the answer with the same
 * reader that serves processors' answers.
 */
#include "weir/app/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir/base/buf.h"
#include "weir/http/message.h"

#define READ_BYTES 16384

static enum err fail(enum err err, char *why, size_t size, const char *path, const char *words)
{
    snprintf(why, size, "%s: %s", path, words);
    return err;
}

static enum err connect_to(const char *path, uint32_t patience_s, int *fd, char *why, size_t size)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = patience_s};
    if (strlen(path) >= sizeof(to.sun_path)) {
        return fail(ERR_FILE, why, size, path, "the path is too long for a socket");
    }
    memcpy(to.sun_path, path, strlen(path));
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0) {
        return fail(ERR_IO, why, size, path, strerror(errno));
    }
    if (setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
        setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
        connect(*fd, (const struct sockaddr *)&to, sizeof(to)) == 0) {
        return ERR_OK;
    }
    int error = errno;
    close(*fd);
    if (error == ENOENT || error == ECONNREFUSED) {
        return fail(ERR_REFUSED, why, size, path, "nobody listens here: is weir running, with this admin.socket?");
    }
    return fail(error == EACCES ? ERR_ACCESS : ERR_IO, why, size, path, strerror(error));
}

static enum err send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return ERR_IO;
        }
        size_t taken = sent > 0 ? (size_t)sent : 0;
        text += taken;
        len -= taken;
    }
    return ERR_OK;
}

/* ERR_OK: the answer is whole. */
static enum err feed(struct http_message *message, struct bytes data, struct buf *body, bool *whole)
{
    for (;;) {
        struct bytes part;
        switch (http_message_feed(message, &data, &part)) {
        case HTTP_HEAD:
            continue;
        case HTTP_BODY:
            if (buf_append(body, part, BLOCKS_MAY) != ERR_OK) {
                return ERR_FULL;
            }
            continue;
        case HTTP_MORE:
            return ERR_OK;
        case HTTP_END:
            *whole = true;
            return ERR_OK;
        case HTTP_FAULTED:
            return ERR_MALFORMED;
        }
    }
}

static enum err receive(int fd, struct http_message *message, struct buf *body)
{
    char data[READ_BYTES];
    bool whole = false;
    while (!whole) {
        ssize_t len = recv(fd, data, sizeof(data), 0);
        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len < 0) {
            return errno == EAGAIN ? ERR_TIMED_OUT : ERR_IO;
        }
        if (len == 0) {
            return http_message_finish(message) == HTTP_END ? ERR_OK : ERR_EOF;
        }
        enum err err = feed(message, bytes_of(data, (size_t)len), body, &whole);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err copy_answer(const struct http_message *message, struct buf *body, struct answer_text *answer)
{
    answer->status = http_message_head(message)->status;
    answer->body_len = body->len;
    answer->body = malloc(body->len + 1);
    if (answer->body == NULL) {
        return ERR_NO_MEMORY;
    }
    size_t at = 0;
    while (body->len > 0) {
        struct bytes front = buf_front(body);
        memcpy(answer->body + at, front.at, front.len);
        at += front.len;
        buf_consume(body, front.len);
    }
    answer->body[at] = '\0';
    return ERR_OK;
}

static enum err exchange(int fd, const char *method, const char *target, struct answer_text *answer)
{
    const struct http_limits limits = {
        .head_bytes_max = READ_BYTES,
        .target_bytes_max = HTTP_TARGET_BYTES_MAX,
        .body_bytes_max = ASK_ANSWER_BYTES_MAX,
    };
    char request[ASK_TARGET_BYTES_MAX + 256];
    struct blocks blocks;
    struct arena arena;
    struct buf body;
    int len = snprintf(request, sizeof(request),
                       "%s %s HTTP/1.1\r\nHost: weir\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target);
    CHECK(len > 0 && (size_t)len < sizeof(request));
    blocks_init(&blocks, 0, 0);
    arena_init(&arena, &blocks);
    buf_init(&body, &blocks, ASK_ANSWER_BYTES_MAX);
    struct http_message *message = http_message_new(&arena, HTTP_RESPONSE_MESSAGE, &limits, false);
    enum err err = message != NULL ? send_all(fd, request, (size_t)len) : ERR_NO_MEMORY;
    if (err == ERR_OK) {
        err = receive(fd, message, &body);
    }
    if (err == ERR_OK) {
        err = copy_answer(message, &body, answer);
    }
    buf_reset(&body);
    arena_reset(&arena);
    blocks_close(&blocks);
    return err;
}

enum err ask(const char *path, const char *method, const char *target, uint32_t patience_s, struct answer_text *answer,
             char *why, size_t size)
{
    int fd;
    enum err err = connect_to(path, patience_s, &fd, why, size);
    if (err != ERR_OK) {
        return err;
    }
    err = exchange(fd, method, target, answer);
    close(fd);
    return err == ERR_OK ? ERR_OK : fail(err, why, size, path, err_sentence(err));
}
