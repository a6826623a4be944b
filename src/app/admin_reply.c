/* How the admin API answers: JSON that fits, text for a terminal, or one sentence. It knows no call. */
#include <stdlib.h>

#include "admin_internal.h"
#include "weir/app/query.h"
#include "weir/base/json.h"

#define TEXT_TYPE "text/plain; charset=utf-8"
#define JSON_BYTES (64 * 1024)
#define JSON_BYTES_MAX (4 * 1024 * 1024)

void admin_reply_json(struct httpd_request *request, uint16_t status,
                      void (*write)(const void *what, struct json *json), const void *what)
{
    struct buf *body = httpd_body(request);
    for (size_t size = JSON_BYTES; size <= JSON_BYTES_MAX; size *= 4) {
        char *text = malloc(size);
        struct json json;
        if (text == NULL) {
            break;
        }
        json_init(&json, text, size);
        write(what, &json);
        bool fits = !json.overflow && buf_append(body, json_bytes(&json), BLOCKS_MAY) == ERR_OK &&
                    buf_append(body, BYTES("\n"), BLOCKS_MAY) == ERR_OK;
        free(text);
        if (fits) {
            httpd_reply(request, status, ADMIN_JSON_TYPE);
            return;
        }
    }
    httpd_reply_text(request, 500, ADMIN_JSON_TYPE, BYTES("{\"ok\":false,\"text\":\"the answer is too large\"}\n"));
}

bool admin_wants_text(const struct httpd_request *request)
{
    return query_says(request->query, "as", "text");
}

void admin_reply_shown(struct httpd_request *request, uint16_t status, bool fits)
{
    if (fits) {
        httpd_reply(request, status, TEXT_TYPE);
    } else {
        httpd_reply_text(request, 500, TEXT_TYPE, BYTES("the answer is too large\n"));
    }
}

static void write_sentence(const void *what, struct json *json)
{
    json_object_open(json);
    json_put_bool(json, "ok", false);
    json_put_text(json, "text", what);
    json_object_close(json);
}

void admin_reply_sentence(struct httpd_request *request, uint16_t status, const char *sentence)
{
    struct buf *body = httpd_body(request);
    if (!admin_wants_text(request)) {
        admin_reply_json(request, status, write_sentence, sentence);
        return;
    }
    bool fits = buf_append(body, BYTES("weir: "), BLOCKS_MAY) == ERR_OK &&
                buf_append(body, bytes_from_text(sentence), BLOCKS_MAY) == ERR_OK &&
                buf_append(body, BYTES("\n"), BLOCKS_MAY) == ERR_OK;
    admin_reply_shown(request, status, fits);
}
