/*
 * One inquiry: what an operator asked and has no answer to yet. inquiry.c
 * begins and ends it and finds out who acts, admin_records.c looks records up,
 * admin_acts.c acts on what was found, admin_breaker.c on processors. It is
 * answered once, and its memory goes when neither the worker nor the store has
 * anything more to say to it.
 */
#ifndef WEIR_APP_INQUIRY_INTERNAL_H
#define WEIR_APP_INQUIRY_INTERNAL_H

#include "admin_internal.h"
#include "app_internal.h"
#include "lookup_internal.h"
#include "processors_internal.h"
#include "weir/base/clock.h"

#define INQUIRY_RECORD_BYTES 64
#define INQUIRY_WHY_BYTES 256
#define INQUIRY_NAME_BYTES 72 /* more than a name may have: one that is cut is nobody's */
#define INQUIRY_USER_BYTES 64
#define INQUIRY_SENTENCE_BYTES 512
/* How often it is looked whether the asker is still there. */
#define INQUIRY_WATCH_US (200 * CLOCK_US_PER_MS)

struct inquiry {
    struct app *app;               /* borrowed */
    struct list in_inquiries;
    struct httpd_request *request; /* owed an answer; NULL: answered */
    struct deferred burial;
    /* what is asked */
    char record[INQUIRY_RECORD_BYTES];     /* as it was typed */
    char request_id[IDEM_REQUEST_ID_BYTES + 1];
    char why[INQUIRY_WHY_BYTES];
    bool executed;
    char processor[INQUIRY_NAME_BYTES];    /* whose breakers are meant */
    struct breaker_order order;
    /* looking up */
    struct lookup lookup;
    struct lookup_wanted wanted;
    void (*found)(struct inquiry *inquiry);
    struct timer watch;
    /* acting */
    struct peer_identity peer;
    struct work naming;
    bool naming_under_way;
    char user[INQUIRY_USER_BYTES];
    void (*named)(struct inquiry *inquiry);
    struct lookup_row row;         /* what is resolved */
    bool asked;                    /* the store was told, and its answer is still to come */
};

/* NULL, as of the next: the request was answered. */
struct inquiry *inquiry_open(struct app *app, struct httpd_request *request);
/* One about records: there must be a store. */
struct inquiry *inquiry_begin(struct app *app, struct httpd_request *request);
/* Answers with one sentence, where an answer is still owed, and ends it. */
void inquiry_refuse(struct inquiry *inquiry, uint16_t status, const char *sentence);
/* The request, to be answered; it is no longer owed one. */
struct httpd_request *inquiry_take_request(struct inquiry *inquiry);
/* Lets go of all but what the worker or the store still works at. */
void inquiry_end(struct inquiry *inquiry);

/* Reads the record that is meant into `wanted`. False: it is none, and that was answered. */
WEIR_MUSTCHECK bool inquiry_read_record(struct inquiry *inquiry);
/* Looks up what is wanted; `found` is called when all was told. */
void inquiry_look_up(struct inquiry *inquiry, void (*found)(struct inquiry *inquiry));
/* Whether there is the one record that was meant; else that was answered. */
WEIR_MUSTCHECK bool inquiry_found_one(struct inquiry *inquiry);

/* Reads why, at most `why_bytes_max` bytes of it, asks the kernel who acts and the worker for their name; then `named`. */
void inquiry_act(struct inquiry *inquiry, size_t why_bytes_max, void (*named)(struct inquiry *inquiry));

#endif
