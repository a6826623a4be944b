/*
 * Plain text tables for terminals: columns as wide as their widest cell, two
 * spaces between them, no lines. Small and bounded; cells are copied.
 */
#ifndef WEIR_APP_TABLES_INTERNAL_H
#define WEIR_APP_TABLES_INTERNAL_H

#include <stddef.h>

#include "weir/base/buf.h"
#include "weir/base/check.h"

#define TABLE_COLUMNS_MAX 10
#define TABLE_CELL_BYTES 96

struct text_table {
    struct buf *out;                  /* borrowed */
    int column_count;
    int column;                       /* where the next cell goes */
    size_t row_count, row_max;
    char (*cells)[TABLE_CELL_BYTES];  /* owned; row by row */
    bool failed;                      /* out of memory, or the buf is full */
};

/* The titles are the first row. */
void text_table_open(struct text_table *table, struct buf *out, const char *const *titles, int count);
/* The next cell, row after row; longer text is cut. */
void text_table_cell(struct text_table *table, const char *format, ...) WEIR_PRINTF(2, 3);
/* Prints it and lets go. False: it did not fit. */
WEIR_MUSTCHECK bool text_table_close(struct text_table *table);

#endif
