/*
 * One inquiry from its request to its end, and who acts: the kernel says whose
 * process asked, the worker by what name that user is known. What is asked and
 * done is in the files that begin it.
 */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "inquiry_internal.h"
#include "weir/app/query.h"

#define PASSWD_BYTES 4096

/* ---- its life ---- */

/* Everything of it is over but its memory, which somebody further up the stack may still look at. */
static void on_burial(struct deferred *deferred)
{
    struct inquiry *inquiry = container_of(deferred, struct inquiry, burial);
    list_remove(&inquiry->in_inquiries);
    free(inquiry);
}

void inquiry_end(struct inquiry *inquiry)
{
    timer_stop(&inquiry->watch);
    lookup_close(&inquiry->lookup);
    if (!inquiry->naming_under_way && !inquiry->asked) {
        loop_defer(inquiry->app->loop, &inquiry->burial);
    }
}

struct httpd_request *inquiry_take_request(struct inquiry *inquiry)
{
    struct httpd_request *request = inquiry->request;
    inquiry->request = NULL;
    return request;
}

void inquiry_refuse(struct inquiry *inquiry, uint16_t status, const char *sentence)
{
    if (inquiry->request != NULL) {
        admin_reply_sentence(inquiry_take_request(inquiry), status, sentence);
    }
    inquiry_end(inquiry);
}

static void on_watch(struct timer *timer)
{
    struct inquiry *inquiry = container_of(timer, struct inquiry, watch);
    if (inquiry->request != NULL && httpd_caller_is_gone(inquiry->request)) {
        inquiry_refuse(inquiry, 499, "the asker left");
        return;
    }
    timer_set_after(timer, INQUIRY_WATCH_US);
}

struct inquiry *inquiry_open(struct app *app, struct httpd_request *request)
{
    struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
    if (inquiry == NULL) {
        admin_reply_sentence(request, 503, "out of memory");
        return NULL;
    }
    inquiry->app = app;
    inquiry->request = request;
    list_init(&inquiry->in_inquiries);
    list_push_back(&app->records.inquiries, &inquiry->in_inquiries);
    deferred_init(&inquiry->burial, on_burial);
    timer_init(&inquiry->watch, app->loop, on_watch);
    lookup_init(&inquiry->lookup);
    return inquiry;
}

void inquiries_stop(struct records *records)
{
    list_each(inquiry, after, &records->inquiries, struct inquiry, in_inquiries)
    {
        inquiry_refuse(inquiry, 503, "weir is stopping");
    }
}

/* ---- who acts ---- */

bool admin_caller(const struct httpd_request *request, struct peer_identity *peer)
{
    return request->stream != NULL && peer_identify(request->stream, peer);
}

/* Names are looked up by whoever reads the log, or on the worker, but never by the loop: that may block. */
void admin_describe_actor(const struct peer_identity *peer, const char *user, char text[ADMIN_ACTOR_BYTES])
{
    bool named = user != NULL && user[0] != '\0';
    if (peer == NULL) {
        snprintf(text, ADMIN_ACTOR_BYTES, "unknown");
        return;
    }
    snprintf(text, ADMIN_ACTOR_BYTES, "uid %" PRIu32 "%s%s%s, pid %" PRId32, peer->uid, named ? " (" : "",
             named ? user : "", named ? ")" : "", peer->pid);
}

/* On the worker: it may ask a directory over the network. */
static void on_run(struct work *work)
{
    struct inquiry *inquiry = container_of(work, struct inquiry, naming);
    char text[PASSWD_BYTES];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(inquiry->peer.uid, &entry, text, sizeof(text), &found) == 0 && found != NULL) {
        bytes_to_text(bytes_from_text(found->pw_name), inquiry->user, sizeof(inquiry->user));
    }
}

static void on_named(struct work *work)
{
    struct inquiry *inquiry = container_of(work, struct inquiry, naming);
    inquiry->naming_under_way = false;
    if (inquiry->request == NULL) {
        inquiry_end(inquiry); /* weir is stopping */
    } else if (httpd_caller_is_gone(inquiry->request)) {
        inquiry_refuse(inquiry, 499, "the asker left");
    } else {
        inquiry->named(inquiry);
    }
}

void inquiry_act(struct inquiry *inquiry, size_t why_bytes_max, void (*named)(struct inquiry *inquiry))
{
    char sentence[INQUIRY_SENTENCE_BYTES];
    inquiry->named = named;
    inquiry->naming = (struct work){.run = on_run, .done = on_named};
    CHECK(why_bytes_max < sizeof(inquiry->why));
    if (query_read(inquiry->request->query, "why", inquiry->why, why_bytes_max + 1) != QUERY_FOUND ||
        inquiry->why[0] == '\0') {
        snprintf(sentence, sizeof(sentence),
                 "why is missing, or longer than %zu bytes: this is written down with its reason", why_bytes_max);
        inquiry_refuse(inquiry, 400, sentence);
    } else if (!admin_caller(inquiry->request, &inquiry->peer)) {
        inquiry_refuse(inquiry, 403, "it is not known who asks");
    } else if (worker_submit(inquiry->app->worker, &inquiry->naming) == ERR_OK) {
        inquiry->naming_under_way = true;
    } else {
        named(inquiry); /* the uid alone will do */
    }
}
