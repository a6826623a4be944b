/* What the files share that print for a terminal: rows of a name and its words, times, and the tables of records. */
#ifndef WEIR_APP_SHOW_INTERNAL_H
#define WEIR_APP_SHOW_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "lookup_internal.h"
#include "weir/base/buf.h"
#include "weir/base/check.h"
#include "weir/base/json.h"
#include "weir/base/log.h"

/* show_words.c */

/* One line, "generation   3 since ...". False: it did not fit; then what follows does not either, so that the last one tells. */
bool show_row(struct buf *out, const char *name, const char *format, ...) WEIR_PRINTF(3, 4);
/* "2026-11-22T10:00:00Z". Returns text. */
const char *show_time(uint64_t wall_us, char text[LOG_TIME_BYTES]);
/* The same in JSON, to the microsecond; 0: null. */
void report_time(struct json *json, const char *key, uint64_t wall_us);

/* show_records.c */

#define SHOW_AGE_BYTES 32
/* "15m 2s", "3d 4h": the two largest units. Returns text. */
const char *show_age(uint64_t age_us, char text[SHOW_AGE_BYTES]);
/* A record's whole name, bucket and hash: what an ambiguous short one is told apart by. */
#define SHOW_NAME_BYTES (4 + 2 * IDEM_HASH_BYTES + 1)
const char *show_record_name(const struct idem_name *name, char text[SHOW_NAME_BYTES]);
/* A list with one line each, whole names where short ones would not do. False: it did not fit. */
WEIR_MUSTCHECK bool show_records(const struct lookup_row *rows, size_t count, bool whole_names, struct buf *out);
/* All that is known of one. False: it did not fit. */
WEIR_MUSTCHECK bool show_record(const struct lookup_row *row, struct buf *out);
/* The same as a JSON object, where a value is due. */
void report_record(const struct lookup_row *row, struct json *json);

#endif
