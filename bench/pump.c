/*
 * The floor of the benchmark: bytes from a client to the backend and back, with
 * two reads and two writes for each request and nothing parsed, kept or logged.
 * One libuv loop, one read buffer for all, one backend connection for each
 * client. What a proxy costs above this is what the proxy itself adds. It is no
 * proxy to use: a write that the kernel does not take whole ends the pair.
 *
 * bench_pump PORT BACKEND_PORT
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { LISTEN_BACKLOG = 4096, READ_BYTES = 65536 };

struct pair {
    uv_tcp_t client;
    uv_tcp_t backend;
    uv_connect_t connect;
    int closed_count;
};

static uv_loop_t *loop;
static struct sockaddr_in backend_addr;
static char read_buffer[READ_BYTES];

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(read_buffer, sizeof(read_buffer));
}

static void on_closed(uv_handle_t *handle)
{
    struct pair *pair = handle->data;
    if (++pair->closed_count == 2)
        free(pair);
}

static void pair_close(struct pair *pair)
{
    if (!uv_is_closing((uv_handle_t *)&pair->client))
        uv_close((uv_handle_t *)&pair->client, on_closed);
    if (!uv_is_closing((uv_handle_t *)&pair->backend))
        uv_close((uv_handle_t *)&pair->backend, on_closed);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct pair *pair = stream->data;
    uv_stream_t *client = (uv_stream_t *)&pair->client;
    uv_stream_t *other = stream == client ? (uv_stream_t *)&pair->backend : client;
    if (count == 0)
        return;
    if (count < 0) {
        pair_close(pair);
        return;
    }
    uv_buf_t out = uv_buf_init(buf->base, (unsigned int)count);
    if (uv_try_write(other, &out, 1) != count)
        pair_close(pair);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct pair *pair = request->data;
    if (uv_is_closing((uv_handle_t *)&pair->client))
        return;
    if (status != 0 || uv_read_start((uv_stream_t *)&pair->client, on_alloc, on_read) != 0 ||
        uv_read_start((uv_stream_t *)&pair->backend, on_alloc, on_read) != 0)
        pair_close(pair);
}

static void on_client(uv_stream_t *listener, int status)
{
    struct pair *pair = status == 0 ? calloc(1, sizeof(*pair)) : NULL;
    if (!pair) {
        fprintf(stderr, "pump: accept: %s\n", status == 0 ? "out of memory" : uv_strerror(status));
        return;
    }
    uv_tcp_init(loop, &pair->client);
    uv_tcp_init(loop, &pair->backend);
    pair->client.data = pair->backend.data = pair->connect.data = pair;
    if (uv_accept(listener, (uv_stream_t *)&pair->client) != 0 ||
        uv_tcp_connect(&pair->connect, &pair->backend, (const struct sockaddr *)&backend_addr, on_connect) != 0) {
        pair_close(pair);
        return;
    }
    uv_tcp_nodelay(&pair->client, 1);
    uv_tcp_nodelay(&pair->backend, 1);
}

static bool port_read(const char *text, int *port)
{
    char *end;
    long value = strtol(text, &end, 10);
    *port = (int)value;
    return *end == '\0' && value > 0 && value < 65536;
}

int main(int argc, char **argv)
{
    int port, backend_port;
    if (argc != 3 || !port_read(argv[1], &port) || !port_read(argv[2], &backend_port)) {
        fprintf(stderr, "usage: bench_pump PORT BACKEND_PORT\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    loop = uv_default_loop();
    struct sockaddr_in addr;
    uv_ip4_addr("127.0.0.1", port, &addr);
    uv_ip4_addr("127.0.0.1", backend_port, &backend_addr);
    uv_tcp_t listener;
    uv_tcp_init(loop, &listener);
    int err = uv_tcp_bind(&listener, (const struct sockaddr *)&addr, 0);
    if (err == 0)
        err = uv_listen((uv_stream_t *)&listener, LISTEN_BACKLOG, on_client);
    if (err != 0) {
        fprintf(stderr, "pump: listen on 127.0.0.1:%d: %s\n", port, uv_strerror(err));
        return 1;
    }
    return uv_run(loop, UV_RUN_DEFAULT);
}
