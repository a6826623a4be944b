/*
 * How weir frames requests, for comparing with other parsers. Reads cases from
 * stdin, each a four-byte big-endian length and that many bytes as a client
 * would send them on one connection; prints a line of JSON for each.
 */
#include "../unit/http/reading.h"

#define CASE_BYTES_MAX 65536

struct frames {
    FILE *out;
    int count;
};

static const char *const fault_names[] = {
    "none", "malformed", "method", "not_implemented", "version", "uri_too_long",
    "head_too_large", "body_too_large", "expectation", "no_room",
};

/* Method and target are tokens and target bytes, which JSON takes as they are. */
static void print_request(struct reading *reading, const struct http_head *head, struct bytes body)
{
    struct frames *frames = reading->data;
    fprintf(frames->out, "%s{\"method\":\"%.*s\",\"target\":\"%.*s\",\"chunked\":%s,\"fields\":%d,\"body_hex\":\"",
            frames->count++ > 0 ? "," : "", BYTES_ARG(head->method), BYTES_ARG(head->target),
            head->framing == HTTP_FRAMING_CHUNKED ? "true" : "false", head->field_count);
    for (size_t i = 0; i < body.len; i++)
        fprintf(frames->out, "%02x", (unsigned char)body.at[i]);
    fprintf(frames->out, "\"}");
}

static void print_case(struct bytes input)
{
    char *requests = NULL;
    size_t requests_len = 0;
    struct frames frames = {.out = open_memstream(&requests, &requests_len)};
    CHECK(frames.out != NULL);
    struct reading reading = {
        .kind = HTTP_REQUEST_MESSAGE,
        .limits = READING_LIMITS,
        .stop_at_close = true,
        .on_message = print_request,
        .data = &frames,
    };
    reading_run(&reading, input);
    CHECK(fclose(frames.out) == 0);
    printf("{\"ok\":%s,\"fault\":\"%s\",\"text\":\"%s\",\"requests\":[%s],\"closed\":%s,\"rest\":%zu}\n",
           reading.fault == HTTP_FAULT_NONE ? "true" : "false", fault_names[reading.fault],
           reading.fault_text != NULL ? reading.fault_text : "", requests, reading.closed ? "true" : "false", reading.rest);
    reading_close(&reading);
    free(requests);
}

int main(void)
{
    static char input[CASE_BYTES_MAX];
    unsigned char size[4];
    while (fread(size, 1, sizeof(size), stdin) == sizeof(size)) {
        size_t len = (size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | size[3];
        if (len > sizeof(input) || fread(input, 1, len, stdin) != len) {
            fprintf(stderr, "http_frames: a case is longer than %d bytes or cut short\n", CASE_BYTES_MAX);
            return 1;
        }
        print_case(bytes_of(input, len));
    }
    return 0;
}
