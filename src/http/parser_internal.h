/*
 * llhttp, behind one call. Its header and ours both say HTTP_HEAD, so the two
 * never meet in one file.
 */
#ifndef WEIR_HTTP_PARSER_INTERNAL_H
#define WEIR_HTTP_PARSER_INTERNAL_H

#include "weir/http/head.h"

/*
 * Reads a whole head that the byte check has passed: method and target or
 * status, minor, and the names and values of exactly `field_count` fields into
 * head->fields, which has room for them. NULL, or a static text of why not.
 */
WEIR_MUSTCHECK const char *parser__read(struct http_head *head, bool request, struct bytes raw, int field_count);

#endif
