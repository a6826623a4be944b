/* What the files of the admin API share: how an answer is given, and which calls there are beside admin.c's own. */
#ifndef WEIR_APP_ADMIN_INTERNAL_H
#define WEIR_APP_ADMIN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/app/httpd.h"
#include "weir/io/peer.h"

struct app;
struct json;
struct records;

#define ADMIN_ACTOR_BYTES 128
#define ADMIN_JSON_TYPE "application/json"

/* admin_reply.c */

/* JSON unless a terminal asks: `?as=text`. */
bool admin_wants_text(const struct httpd_request *request);
/* Answers with what `write` says of `what`, with ever more room until it fits. */
void admin_reply_json(struct httpd_request *request, uint16_t status,
                      void (*write)(const void *what, struct json *json), const void *what);
/* Answers with the text that is in httpd_body; `fits`: all of it is. */
void admin_reply_shown(struct httpd_request *request, uint16_t status, bool fits);
/* One sentence, as JSON {"ok":false,"text":...} or for a terminal. */
void admin_reply_sentence(struct httpd_request *request, uint16_t status, const char *sentence);

/* inquiry.c */

/* Who asks. False: not known. */
WEIR_MUSTCHECK bool admin_caller(const struct httpd_request *request, struct peer_identity *peer);
/* "uid 0, pid 4711", or with a name "uid 0 (root), pid 4711". `peer` NULL: "unknown"; `user` NULL or empty: no name. */
void admin_describe_actor(const struct peer_identity *peer, const char *user, char text[ADMIN_ACTOR_BYTES]);

/* admin_limits.c: the call about limits. It answers at once. */
void admin_limits(struct app *app, struct httpd_request *request);

/* admin_breaker.c: the calls about processors. /api/v1/processors/NAME/breaker is the second, GET and POST. */
void admin_processors(struct app *app, struct httpd_request *request);
bool admin_breaker_is_meant(const struct httpd_request *request);
void admin_breaker(struct app *app, struct httpd_request *request);

/* admin_records.c and admin_acts.c: the calls about idempotency records. They answer later. */
void admin_records_list(struct app *app, struct httpd_request *request);
void admin_records_show(struct app *app, struct httpd_request *request);
void admin_records_find(struct app *app, struct httpd_request *request);
void admin_records_resolve(struct app *app, struct httpd_request *request);
void admin_records_accept_loss(struct app *app, struct httpd_request *request);
/* The process ends: answers whoever still waits and lets go of what can be; an asked resolve is still audited. */
void inquiries_stop(struct records *records);

#endif
